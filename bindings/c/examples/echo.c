/*
 * echo.c - a whole server with one application thread: WebSockets are echoed, other requests get a hello.
 *
 *     cc -std=c99 -I../include echo.c -L../../../target/debug -lfairlead -lpthread -o echo && ./echo 127.0.0.1:8080
 *
 * Each WebSocket is a task: a small state machine that runs until it would have to wait, and goes on when its token is
 * woken. A token is the task's slot and a count, so that a late wake-up for an earlier task of the same slot is recognised.
 */
#define _POSIX_C_SOURCE 200809L
#include <fairlead.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>

#define SLOTS 1024
#define EVENTS 64

typedef struct task {
    fl_request *request; /* NULL: the slot is free */
    fl_session *session;
    fl_message unsent; /* a message that waits for room; its bytes are good until the next receive */
    int has_unsent;
    uint32_t count;
} task;

static task tasks[SLOTS];
static fl_engine *engine;
static volatile int stopping; /* written by the signal thread before it wakes the engine */

static void complain(const char *what) { fprintf(stderr, "%s: %s\n", what, fl_last_error()); }

static void end_task(task *t) {
    fl_session_free(t->session);
    fl_request_release(t->request, 1000, NULL);
    fl_request_free(t->request);
    t->session = NULL;
    t->request = NULL;
    t->has_unsent = 0;
    t->count++;
}

/* Echoes until there is something to wait for. */
static void run_task(task *t) {
    const uint64_t token = (uint64_t)t->count << 32 | (uint64_t)(t - tasks);
    for (;;) {
        int status;
        if (t->has_unsent) {
            const fl_message *m = &t->unsent;
            status = m->kind == FL_MESSAGE_TEXT ? fl_session_send_text(t->session, m->data, m->size)
                                                : fl_session_send_binary(t->session, m->data, m->size);
            if (status == FL_FULL) {
                if (fl_session_wait_room(t->session, token) == FL_PENDING) return;
                continue;
            }
            t->has_unsent = 0;
        } else {
            status = fl_session_receive_or_wake(t->session, token, &t->unsent);
            if (status == FL_PENDING) return;
            t->has_unsent = status == FL_OK;
        }
        if (status != FL_OK) { /* FL_CLOSED, or an error */
            if (status < 0) complain("session");
            end_task(t);
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
    task *t = tasks;
    if (!fl_request_wants_websocket(request)) {
        hello(request);
        return;
    }
    while (t->request != NULL) t++; /* the engine gives no more requests than slots */
    if (fl_request_accept(request, NULL, &t->session) != FL_OK) {
        complain("accept");
        fl_request_free(request); /* the client is told why */
        return;
    }
    t->request = request;
    run_task(t);
}

static void wake(uint64_t token) {
    task *t = &tasks[(uint32_t)token];
    if (t->request != NULL && t->count == (uint32_t)(token >> 32)) run_task(t);
}

/* Waits for the signals that end the server: the engine's threads block them, and so do we. */
static void *wait_signal(void *set) {
    int signal_number;
    sigwait((sigset_t *)set, &signal_number);
    stopping = 1;
    fl_engine_wake(engine);
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
