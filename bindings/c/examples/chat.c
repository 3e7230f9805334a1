/*
 * chat.c - a complete server: a page, a chat over channels, what it does as JSON; over TLS if it is given a certificate.
 *
 *     cc -std=c99 -I../include chat.c -L../../../target/debug -lfairlead -lpthread -o chat
 *     ./chat 127.0.0.1:8080
 *     ./chat 127.0.0.1:8443 --certificate cert.pem key.pem --channels /run/user/1000/chat
 *
 * One thread polls. A client that has joined the channel "room" needs no more of it: the engine delivers what is
 * published, and the thread only takes what clients say and publishes that. Servers that name the same file with
 * --channels share the room, whatever language they are written in.
 */
#define _POSIX_C_SOURCE 200809L
#include <fairlead.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define SLOTS 1024
#define EVENTS 64
#define ROOM "room"

typedef struct client {
    fl_request *request; /* NULL: the slot is free */
    fl_session *session;
    uint32_t count;
} client;

static client clients[SLOTS];
static fl_channels *channels;
static fl_engine *engine;
static volatile int stopping; /* written by the signal thread before it wakes the engine */

static const char page[] =
    "<!doctype html><meta charset=utf-8><title>Chat</title><h1>Chat</h1>\n"
    "<form><input autofocus placeholder='say something'></form><ul></ul>\n"
    "<script>\n"
    "const socket = new WebSocket(location.href.replace(/^http/, 'ws'));\n"
    "socket.onmessage = event => {\n"
    "  const line = document.createElement('li');\n"
    "  line.textContent = event.data;\n"
    "  document.querySelector('ul').prepend(line);\n"
    "};\n"
    "document.querySelector('form').onsubmit = event => {\n"
    "  event.preventDefault();\n"
    "  socket.send(event.target[0].value);\n"
    "  event.target.reset();\n"
    "};\n"
    "</script>\n";

static void complain(const char *what) { fprintf(stderr, "%s: %s\n", what, fl_last_error()); }

static void respond(fl_request *request, int status, const char *type, const char *body, size_t size) {
    const fl_header headers[] = {{"Content-Type", type}};
    /* FL_ERR_GONE is the client's affair. */
    if (fl_request_respond(request, status, NULL, headers, 1, body, size) == FL_ERR_USAGE) complain("respond");
    fl_request_free(request);
}

static void respond_status(fl_request *request) {
    char body[256];
    fl_statistics now;
    uint64_t members = 0;
    int size;
    fl_engine_statistics(engine, &now);
    fl_channels_members(channels, ROOM, &members);
    size = snprintf(body, sizeof body, "{\"requests\": %llu, \"members\": %llu}\n", (unsigned long long)now.requests,
                    (unsigned long long)members);
    respond(request, 200, "application/json", body, (size_t)size);
}

static int path_is(const fl_request *request, const char *path) {
    const fl_bytes found = fl_request_path(request);
    return found.size == strlen(path) && memcmp(found.data, path, found.size) == 0;
}

static void leave(client *c) {
    fl_session_free(c->session);
    fl_request_release(c->request, 1000, NULL);
    fl_request_free(c->request);
    c->session = NULL;
    c->request = NULL;
    c->count++;
}

/* Publishes what the client has said until there is nothing to take. */
static void listen_to(client *c) {
    const uint64_t token = (uint64_t)c->count << 32 | (uint64_t)(c - clients);
    fl_message message;
    int status;
    while ((status = fl_session_receive_or_wake(c->session, token, &message)) == FL_OK) {
        /* A moment is enough: somebody who holds the channels' lock for longer has been stopped. */
        const int published =
            fl_channels_publish(channels, ROOM, message.kind, message.data, message.size, 100, NULL);
        if (published != FL_OK) {
            complain("publish");
            fl_session_close(c->session, published == FL_ERR_USAGE ? 1009 : 1011, NULL);
        }
    }
    if (status != FL_PENDING) leave(c); /* FL_CLOSED, or an error */
}

static void begin(fl_request *request) {
    client *c = clients;
    fl_joined joined;
    if (!fl_request_wants_websocket(request)) {
        if (path_is(request, "/")) respond(request, 200, "text/html; charset=utf-8", page, sizeof page - 1);
        else if (path_is(request, "/status")) respond_status(request);
        else respond(request, 404, "text/plain", "There is no such page.\n", 23);
        return;
    }
    while (c->request != NULL) c++; /* the engine gives no more requests than slots */
    if (fl_request_accept(request, NULL, &c->session) != FL_OK) {
        complain("accept");
        fl_request_free(request); /* the client is told why */
        return;
    }
    c->request = request;
    if (fl_session_join(c->session, ROOM, NULL, 0, FL_SLOW_USUAL, &joined) < 0) {
        complain("join");
        fl_session_close(c->session, 1011, NULL);
    }
    listen_to(c);
}

static void wake(uint64_t token) {
    client *c = &clients[(uint32_t)token];
    if (c->request != NULL && c->count == (uint32_t)(token >> 32)) listen_to(c);
}

/* Waits for the signals that end the server: the engine's threads block them, and so do we. */
static void *wait_signal(void *set) {
    int signal_number;
    sigwait((sigset_t *)set, &signal_number);
    stopping = 1;
    fl_engine_wake(engine);
    return NULL;
}

static int usage(const char *program) {
    fprintf(stderr, "usage: %s ADDRESS [--certificate CERT.PEM KEY.PEM] [--channels FILE]\n", program);
    return 2;
}

static int failed(const char *what) {
    complain(what);
    return 1;
}

int main(int argc, char **argv) {
    const char *shared = NULL;
    fl_key_pair pair = {{NULL, NULL, 0}, {NULL, NULL, 0}};
    fl_listener listener = {NULL, 0, NULL, NULL, 0, 0};
    fl_settings *settings;
    fl_tls *tls = NULL;
    sigset_t ends;
    pthread_t thread;
    int i;

    if (argc < 2 || argv[1][0] == '-') return usage(argv[0]);
    listener.address = argv[1];
    for (i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--certificate") == 0 && i + 2 < argc) {
            pair.certificate.name = argv[++i];
            pair.key.name = argv[++i];
        } else if (strcmp(argv[i], "--channels") == 0 && i + 1 < argc) {
            shared = argv[++i];
        } else {
            return usage(argv[0]);
        }
    }
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    pthread_sigmask(SIG_BLOCK, &ends, NULL);

    if (fl_abi_version() != FL_ABI_VERSION) {
        fprintf(stderr, "the library has version %d of the interface, not %d\n", fl_abi_version(), FL_ABI_VERSION);
        return 1;
    }
    if ((shared != NULL ? fl_channels_in_file(shared, 16 << 20, 1 << 20, &channels)
                        : fl_channels_in_memory(16 << 20, 1 << 20, &channels)) != FL_OK) return failed("channels");
    if (pair.key.name != NULL) {
        fl_tls_options options;
        memset(&options, 0, sizeof options);
        options.certificates = &pair;
        options.certificate_count = 1;
        if (fl_tls_new(&options, &tls) != FL_OK) return failed("TLS");
        for (i = 0; fl_tls_warning(tls, (size_t)i) != NULL; i++) fprintf(stderr, "%s\n", fl_tls_warning(tls, (size_t)i));
        listener.tls = tls;
    }
    if (fl_settings_new(&settings) != FL_OK || fl_settings_add_listener(settings, &listener) != FL_OK ||
        fl_settings_set_number(settings, FL_SETTING_SLOTS, SLOTS) != FL_OK ||
        fl_settings_channels(settings, channels) != FL_OK ||
        fl_engine_start(settings, &engine) != FL_OK) return failed("start");
    fl_settings_free(settings);
    fl_tls_free(tls);
    if (pthread_create(&thread, NULL, wait_signal, &ends) != 0) return 1;
    printf("listening on %s\n", fl_engine_address(engine, 0));
    fflush(stdout);

    while (!stopping || !fl_engine_is_quiet(engine)) {
        fl_event events[EVENTS];
        const int count = fl_engine_poll(engine, events, EVENTS, stopping ? 20 : -1);
        if (count < 0) return failed("poll");
        for (i = 0; i < count; i++) {
            if (events[i].kind == FL_EVENT_REQUEST) begin(events[i].request);
            if (events[i].kind == FL_EVENT_WAKE) wake(events[i].token);
        }
        /* Said in every round: a WebSocket that is just being accepted may miss it. */
        if (stopping) fl_engine_drain(engine, 1001, "the server stops");
    }
    fl_engine_stop(engine, 1000);
    fl_engine_free(engine);
    fl_channels_free(channels);
    pthread_join(thread, NULL);
    puts("stopped");
    return 0;
}
