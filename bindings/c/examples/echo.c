/*
 * echo.c - a whole server with one application thread: WebSockets are echoed, other requests get a hello.
 *
 *     cc -std=c99 -I../include echo.c -L../../../target/debug -lfairlead -lpthread -o echo && ./echo 127.0.0.1:8080
 *
 * Each WebSocket is a unit: a small state machine that runs until it would have to wait, and goes on when its token is
 * woken. A token is the unit's slot and a count, so that a late wake-up for an earlier unit of the same slot is recognised.
 */
#define _POSIX_C_SOURCE 200809L
#include <fairlead.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>

#define SLOTS 1024
#define EVENTS 64

typedef struct unit {
    fl_request *request; /* NULL: the slot is free */
    fl_session *session;
    fl_message unsent; /* a message that waits for room; its bytes are good until the next receive */
    int has_unsent;
    uint32_t count;
} unit;

static unit units[SLOTS];
static fl_engine *engine;
static volatile int stopping; /* written by the signal thread before it rings */

static void complain(const char *what) { fprintf(stderr, "%s: %s\n", what, fl_last_error()); }

static void end_unit(unit *u) {
    fl_session_free(u->session);
    fl_request_release(u->request, 1000, NULL);
    fl_request_free(u->request);
    u->session = NULL;
    u->request = NULL;
    u->has_unsent = 0;
    u->count++;
}

/* Echoes until there is something to wait for. */
static void run_unit(unit *u) {
    const uint64_t token = (uint64_t)u->count << 32 | (uint64_t)(u - units);
    for (;;) {
        int status;
        if (u->has_unsent) {
            const fl_message *m = &u->unsent;
            status = m->kind == FL_MESSAGE_TEXT ? fl_session_send_text(u->session, m->data, m->size)
                                                : fl_session_send_binary(u->session, m->data, m->size);
            if (status == FL_FULL) {
                if (fl_session_wait_room(u->session, token) == FL_PENDING) return;
                continue;
            }
            u->has_unsent = 0;
        } else {
            status = fl_session_receive_or_wake(u->session, token, &u->unsent);
            if (status == FL_PENDING) return;
            u->has_unsent = status == FL_OK;
        }
        if (status != FL_OK) { /* FL_CLOSED, or an error */
            if (status < 0) complain("session");
            end_unit(u);
            return;
        }
    }
}

static void hello(fl_request *request) {
    const fl_header headers[] = {{"Content-Type", "text/plain; charset=utf-8"}};
    const char body[] = "Hello. Open a WebSocket here, and I repeat what you say.\n";
    if (fl_request_respond(request, 200, NULL, headers, 1, body, sizeof body - 1) < 0) complain("respond");
    fl_request_free(request);
}

static void begin(fl_request *request) {
    unit *u = units;
    if (!fl_request_wants_websocket(request)) {
        hello(request);
        return;
    }
    while (u->request != NULL) u++; /* the engine gives no more requests than slots */
    if (fl_request_accept(request, NULL, &u->session) != FL_OK) {
        complain("accept");
        fl_request_free(request); /* the client is told why */
        return;
    }
    u->request = request;
    run_unit(u);
}

static void wake(uint64_t token) {
    unit *u = &units[(uint32_t)token];
    if (u->request != NULL && u->count == (uint32_t)(token >> 32)) run_unit(u);
}

/* Waits for the signals that end the server: the engine's threads block them, and so do we. */
static void *wait_signal(void *set) {
    int signal_number;
    sigwait((sigset_t *)set, &signal_number);
    stopping = 1;
    fl_engine_ring(engine);
    return NULL;
}

int main(int argc, char **argv) {
    const char *address = argc > 1 ? argv[1] : "127.0.0.1:8080";
    fl_settings *settings;
    sigset_t ends;
    pthread_t thread;
    size_t requests = 1, sessions = 1;

    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    pthread_sigmask(SIG_BLOCK, &ends, NULL);

    if (fl_abi_version() != FL_ABI_VERSION || fl_settings_new(&settings) != FL_OK ||
        fl_settings_listen(settings, address) != FL_OK ||
        fl_settings_set_number(settings, FL_SETTING_SLOTS, SLOTS) != FL_OK ||
        fl_engine_start(settings, &engine) != FL_OK) {
        complain("start");
        return 1;
    }
    fl_settings_free(settings);
    if (pthread_create(&thread, NULL, wait_signal, &ends) != 0) return 1;
    printf("listening on %s\n", fl_engine_address(engine, 0));
    fflush(stdout);

    while (requests + sessions > 0) {
        fl_event events[EVENTS];
        int i, count = fl_engine_poll(engine, events, EVENTS, stopping ? 20 : -1);
        if (count < 0) {
            complain("poll");
            return 1;
        }
        for (i = 0; i < count; i++) {
            if (events[i].kind == FL_EVENT_REQUEST) begin(events[i].request);
            if (events[i].kind == FL_EVENT_WAKE) wake(events[i].token);
        }
        if (stopping) {
            fl_engine_drain(engine, 1001, "the server stops");
            fl_engine_busy(engine, &requests, &sessions);
        }
    }
    fl_engine_stop(engine, 1000);
    fl_engine_free(engine);
    pthread_join(thread, NULL);
    puts("stopped");
    return 0;
}
