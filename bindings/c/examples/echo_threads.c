/*
 * echo_threads.c - the same server with a thread for each request: plain blocking code.
 *
 *     cc -std=c99 -I../include echo_threads.c -L../../../target/debug -lfairlead -lpthread -o echo_threads
 */
#define _POSIX_C_SOURCE 200809L
#include <fairlead.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

#define THREADS 64

static fl_engine *engine;

static void complain(const char *what) { fprintf(stderr, "%s: %s\n", what, fl_last_error()); }

static void echo(fl_session *session) {
    fl_message message;
    while (fl_session_receive(session, -1, &message) == FL_OK) {
        int status;
        do {
            status = message.kind == FL_MESSAGE_TEXT ? fl_session_send_text(session, message.data, message.size)
                                                     : fl_session_send_binary(session, message.data, message.size);
        } while (status == FL_FULL && fl_session_wait_room_blocking(session, 10000) == FL_OK);
        if (status == FL_FULL) fl_session_disconnect(session); /* it took nothing for ten seconds */
        if (status != FL_OK) return;
    }
}

static void *serve(void *unused) {
    fl_request *request;
    while (fl_engine_wait_request(engine, -1, &request) == FL_OK) {
        fl_session *session;
        if (!fl_request_wants_websocket(request)) {
            const fl_header headers[] = {{"Content-Type", "text/plain; charset=utf-8"}};
            const char body[] = "Hello. Open a WebSocket here, and I repeat what you say.\n";
            fl_request_respond(request, 200, NULL, headers, 1, body, sizeof body - 1);
        } else if (fl_request_accept(request, NULL, &session) == FL_OK) {
            echo(session);
            fl_session_free(session);
            fl_request_release(request, 1000, NULL);
        } else {
            complain("accept");
        }
        fl_request_free(request);
    }
    return unused;
}

int main(int argc, char **argv) {
    const char *address = argc > 1 ? argv[1] : "127.0.0.1:8080";
    fl_settings *settings;
    pthread_t threads[THREADS];
    sigset_t ends;
    size_t requests, sessions;
    int i, signal_number;

    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    pthread_sigmask(SIG_BLOCK, &ends, NULL); /* inherited by the threads below */

    if (fl_settings_new(&settings) != FL_OK || fl_settings_listen(settings, address) != FL_OK ||
        fl_settings_set_text(settings, FL_SETTING_DELIVERY, FL_DELIVERY_THREADS) != FL_OK ||
        fl_settings_set_number(settings, FL_SETTING_SLOTS, THREADS) != FL_OK ||
        fl_engine_start(settings, &engine) != FL_OK) {
        complain("start");
        return 1;
    }
    fl_settings_free(settings);
    for (i = 0; i < THREADS; i++) {
        if (pthread_create(&threads[i], NULL, serve, NULL) != 0) return 1;
    }
    printf("listening on %s\n", fl_engine_address(engine, 0));
    fflush(stdout);

    sigwait(&ends, &signal_number);
    fl_engine_dismiss(engine);
    do { /* again and again, for those that were just being accepted */
        const struct timespec pause = {0, 20 * 1000 * 1000};
        fl_engine_drain(engine, 1001, "the server stops");
        nanosleep(&pause, NULL);
        fl_engine_busy(engine, &requests, &sessions);
    } while (requests + sessions > 0);
    for (i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    fl_engine_stop(engine, 1000);
    fl_engine_free(engine);
    puts("stopped");
    return 0;
}
