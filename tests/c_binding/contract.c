/*
 * contract.c - what the C interface promises, asked of it from C: misuse, carried events, waits, back-pressure, the end.
 *
 * One process is server and client. The client's sockets block; the engine's own threads answer them meanwhile. Nothing sleeps:
 * every wait is for an event, with a limit that only a failure reaches. Exit status 0 and "ok" when all holds.
 */
#include "harness.h"

static fl_engine *start(const char *delivery, size_t outbox_bytes) {
    const fl_header extra[] = {{"X-Server", "contract"}};
    fl_settings *settings;
    fl_engine *engine;
    CHECK(fl_settings_new(&settings) == FL_OK && fl_settings_listen(settings, "127.0.0.1:0") == FL_OK);
    CHECK(fl_settings_log(settings, -1, FL_LOG_INFO) == FL_OK);
    CHECK(fl_settings_set_text(settings, FL_SETTING_DELIVERY, delivery) == FL_OK);
    CHECK(fl_settings_set_pairs(settings, FL_SETTING_RESPONSE_HEADERS, extra, 1) == FL_OK);
    if (outbox_bytes != 0) {
        CHECK(fl_settings_set_number(settings, FL_SETTING_WEBSOCKET_OUTBOX_BYTES, outbox_bytes) == FL_OK);
    }
    CHECK(fl_engine_start(settings, &engine) == FL_OK && fl_settings_free(settings) == FL_OK);
    return engine;
}

/* Turns until nothing is to be done. A slow machine may need a few: the engine's own thread looks as well. */
static void settle(fl_engine *engine, struct pollfd both[2]) {
    fl_event event;
    int turns = 0;
    do {
        CHECK(turns++ < 1000 && fl_engine_poll(engine, &event, 1, 0) == 0 && fl_engine_leave(engine) == FL_OK);
    } while (poll(both, 2, 0) != 0);
}

/* Waits outside of the engine; a ring, a timer and a time-out each make a descriptor readable, and a poll takes it back. */
static void foreign_loops_are_told(fl_engine *engine, const int descriptors[2]) {
    struct pollfd both[] = {{descriptors[0], POLLIN, 0}, {descriptors[1], POLLIN, 0}};
    fl_event event;
    settle(engine, both);
    CHECK(fl_engine_wake(engine) == FL_OK && poll(both, 2, 10000) >= 1);
    settle(engine, both);
    CHECK(fl_engine_wake_at(engine, 20, 77) == FL_OK && poll(both, 2, 10000) >= 1);
    for (;;) { /* first the arrival of the timer, then its end */
        int count = fl_engine_poll(engine, &event, 1, 0);
        if (count == 1) break;
        CHECK(count == 0 && fl_engine_leave(engine) == FL_OK && poll(both, 2, 10000) >= 1);
    }
    CHECK(event.kind == FL_EVENT_DEADLINE && event.token == 77);
}

static void misuse_is_answered_and_changes_nothing(void) {
    fl_settings *settings = NULL;
    fl_engine *engine = (fl_engine *)&settings;
    fl_engine *running;
    int descriptors[2];
    fl_request *request;
    fl_session *session;
    fl_message message;
    fl_closure closure;
    fl_counters counters;
    fl_event event;
    fl_bytes bytes;
    size_t size;
    char byte;
    const char *nowhere = "256.0.0.1:0", *origins[] = {"https://a.org", NULL};
    const fl_header crooked[] = {{"X-Server", "a\nb"}};
    int no_socket = 0, closed = 9999;

    CHECK(fl_abi_version() == FL_ABI_VERSION);
    CHECK(fl_last_error() != NULL && fl_last_error()[0] == '\0');

    REFUSED(fl_settings_new(NULL));
    REFUSED(fl_settings_listen(NULL, nowhere));
    REFUSED(fl_settings_free(NULL));
    REFUSED(fl_engine_start(NULL, &engine));
    CHECK(engine == NULL);

    CHECK(fl_settings_new(&settings) == FL_OK);
    REFUSED(fl_engine_start(settings, NULL));
    REFUSED(fl_engine_start(settings, &engine)); /* nothing to listen on */
    CHECK(strstr(fl_last_error(), "fl_settings_listen") != NULL);
    REFUSED(fl_settings_listen(settings, NULL));
    REFUSED(fl_settings_set_number(settings, NULL, 1));
    REFUSED(fl_settings_set_number(settings, "slot", 1));
    CHECK(strstr(fl_last_error(), "\"slot\"") != NULL);
    REFUSED(fl_settings_set_number(settings, FL_SETTING_SLOTS, 0));
    CHECK(strcmp(fl_last_error(), "slots is 0, and it must be from 1 to 1000000") == 0);
    REFUSED(fl_settings_set_number(settings, FL_SETTING_HTTP_HEAD_TIMEOUT, UINT64_MAX));
    REFUSED(fl_settings_set_number(settings, FL_SETTING_HTTP2, 2));
    REFUSED(fl_settings_set_number(settings, FL_SETTING_DELIVERY, 1)); /* it is a word */
    REFUSED(fl_settings_set_text(settings, FL_SETTING_DELIVERY, "both"));
    REFUSED(fl_settings_set_text(settings, FL_SETTING_DELIVERY, NULL));
    REFUSED(fl_settings_set_texts(settings, FL_SETTING_WEBSOCKET_ORIGINS, NULL, 1)); /* announced, and not there */
    REFUSED(fl_settings_set_texts(settings, FL_SETTING_WEBSOCKET_ORIGINS, origins, 2));
    REFUSED(fl_settings_set_pairs(settings, FL_SETTING_RESPONSE_HEADERS, crooked, 1));
    CHECK(fl_settings_set_number(settings, FL_SETTING_HTTP2, 0) == FL_OK);
    CHECK(fl_settings_set_texts(settings, FL_SETTING_WEBSOCKET_ORIGINS, origins, 1) == FL_OK);
    REFUSED(fl_settings_log(settings, 2, 9));
    CHECK(fl_settings_log(settings, closed, FL_LOG_INFO) == FL_ERR_SYSTEM);
    CHECK(fl_settings_log(settings, -1, FL_LOG_INFO) == FL_OK);
    CHECK(fl_settings_inherit(settings, -1) == FL_ERR_SYSTEM);
    CHECK(fl_settings_listen(settings, nowhere) == FL_OK);
    CHECK(fl_engine_start(settings, &engine) == FL_ERR_SYSTEM && strstr(fl_last_error(), nowhere) != NULL);
    CHECK(fl_settings_free(settings) == FL_OK && fl_settings_new(&settings) == FL_OK);
    CHECK(fl_settings_inherit(settings, no_socket) == FL_OK);
    CHECK(fl_engine_start(settings, &engine) == FL_ERR_SYSTEM); /* standard input is no listener */
    CHECK(engine == NULL && fl_settings_free(settings) == FL_OK);

    REFUSED(fl_engine_poll(NULL, &event, 1, 0));
    REFUSED(fl_engine_wait_request(NULL, 0, &request));
    REFUSED(fl_engine_descriptors(NULL, descriptors));
    REFUSED(fl_engine_leave(NULL));
    REFUSED(fl_engine_wake(NULL));
    REFUSED(fl_engine_wake_at(NULL, 0, 0));
    REFUSED(fl_engine_drain(NULL, 1001, NULL));
    REFUSED(fl_engine_busy(NULL, NULL, NULL));
    REFUSED(fl_engine_dismiss(NULL));
    REFUSED(fl_engine_stop(NULL, 0));
    REFUSED(fl_engine_port(NULL, 0));
    CHECK(fl_engine_free(NULL) == FL_OK && fl_engine_address(NULL, 0) == NULL);

    CHECK(fl_request_method(NULL).data == NULL && fl_request_header(NULL, "host").data == NULL);
    CHECK(fl_request_label(NULL) == NULL && fl_request_subprotocol(NULL, 0) == NULL);
    REFUSED(fl_request_variable(NULL, 0, &bytes, &bytes));
    REFUSED(fl_request_wants_websocket(NULL));
    REFUSED(fl_request_is_gone(NULL));
    REFUSED(fl_request_respond(NULL, 200, NULL, NULL, 0, NULL, 0));
    REFUSED(fl_request_start(NULL, 200, NULL, NULL, 0));
    REFUSED(fl_request_write(NULL, "", 0));
    REFUSED(fl_request_finish(NULL));
    REFUSED(fl_request_abort(NULL, NULL));
    REFUSED(fl_request_wait_writable(NULL, 0));
    REFUSED(fl_request_wait_writable_blocking(NULL, 0));
    REFUSED(fl_request_read_body(NULL, &byte, 1, &size));
    REFUSED(fl_request_wait_body(NULL, 0));
    REFUSED(fl_request_wait_body_blocking(NULL, 0));
    REFUSED(fl_request_accept(NULL, NULL, &session));
    REFUSED(fl_request_fileno(NULL));
    REFUSED(fl_request_release(NULL, 1000, NULL));
    REFUSED(fl_request_complete(NULL));
    CHECK(fl_request_free(NULL) == FL_OK);

    REFUSED(fl_session_receive_nowait(NULL, &message));
    REFUSED(fl_session_receive_or_wake(NULL, 0, &message));
    REFUSED(fl_session_receive(NULL, 0, &message));
    REFUSED(fl_session_forget(NULL, 0));
    REFUSED(fl_session_send_text(NULL, "", 0));
    REFUSED(fl_session_send_binary(NULL, "", 0));
    REFUSED(fl_session_wait_room(NULL, 0));
    REFUSED(fl_session_wait_room_blocking(NULL, 0));
    REFUSED(fl_session_close(NULL, 1000, NULL));
    REFUSED(fl_session_disconnect(NULL));
    REFUSED(fl_session_ping(NULL, NULL, 0));
    REFUSED(fl_session_closed(NULL, &closure));
    REFUSED(fl_session_counters(NULL, &counters));
    REFUSED(fl_session_fileno(NULL));
    CHECK(fl_session_free(NULL) == FL_OK);

    running = start(FL_DELIVERY_LOOP, 0);
    REFUSED(fl_session_close((fl_session *)running, 1000, NULL)); /* another kind of handle */
    REFUSED(fl_request_free((fl_request *)running));
    REFUSED(fl_engine_poll(running, NULL, 1, 0));
    REFUSED(fl_engine_poll(running, &event, 0, 0));
    REFUSED(fl_engine_wait_request(running, 0, &request)); /* the other delivery */
    REFUSED(fl_engine_drain(running, 1005, NULL));         /* RFC 6455 7.4.1 */
    REFUSED(fl_engine_drain(running, 66536, NULL));
    REFUSED(fl_engine_drain(running, 1000, "\xff"));
    REFUSED(fl_engine_port(running, 1));
    CHECK(fl_engine_address(running, 1) == NULL && strncmp(fl_engine_address(running, 0), "127.0.0.1:", 10) == 0);
    CHECK(fl_engine_descriptors(running, descriptors) == FL_OK);
    CHECK(descriptors[0] >= 0 && descriptors[1] >= 0 && descriptors[0] != descriptors[1]);
    foreign_loops_are_told(running, descriptors);
    CHECK(fl_engine_free(running) == FL_OK);
}

static void requests_are_read_and_answered(fl_engine *engine) {
    const fl_header split[] = {{"X-A", "a\r\nX-B: b"}}, nothing[] = {{"X-A", NULL}}, plain[] = {{"X-A", "\xe4"}};
    int clients[3], i;
    fl_request *request;
    fl_bytes name, value;
    fl_event event;
    size_t requests = 0, seen = 0, size;
    char body[16];

    /* Three at once, taken one by one. */
    for (i = 0; i < 3; i++) {
        clients[i] = dial(engine);
        ask(clients[i], "GET /a%20b?c=d HTTP/1.1\r\nHost: x\r\nX-Twice: 1\r\nX-Twice: 2\r\n\r\n");
    }
    while (requests < 3) CHECK(fl_engine_busy(engine, &requests, NULL) == FL_OK);
    for (i = 0; i < 3; i++) {
        request = next_event(engine, FL_EVENT_REQUEST).request;
        CHECK(is(fl_request_method(request), "GET") && is(fl_request_target(request), "/a%20b?c=d"));
        CHECK(is(fl_request_path(request), "/a%20b") && is(fl_request_query(request), "c=d"));
        CHECK(is(fl_request_scheme(request), "http") && is(fl_request_header(request, "HOST"), "x"));
        CHECK(fl_request_header(request, "x-none").data == NULL && fl_request_header(request, NULL).data == NULL);
        CHECK(strstr(fl_request_label(request), "127.0.0.1:") != NULL);
        CHECK(fl_request_wants_websocket(request) == 0 && fl_request_is_gone(request) == 0);
        for (seen = 0, size = 0; fl_request_variable(request, size, &name, &value) == FL_OK; size++) {
            CHECK(name.data[name.size] == '\0' && value.data[value.size] == '\0');
            seen += (is(name, "PATH_INFO") && is(value, "/a b")) || (is(name, "HTTP_X_TWICE") && is(value, "1, 2")) ||
                    (is(name, "SCRIPT_NAME") && is(value, ""));
        }
        CHECK(seen == 3 && fl_request_variable(request, size, &name, &value) == FL_END);
        REFUSED(fl_request_variable(request, 0, &name, NULL));
        REFUSED(fl_request_respond(request, 99, NULL, NULL, 0, NULL, 0));
        REFUSED(fl_request_respond(request, 70000, NULL, NULL, 0, NULL, 0));
        REFUSED(fl_request_respond(request, 200, NULL, split, 1, NULL, 0));
        REFUSED(fl_request_respond(request, 200, NULL, nothing, 1, NULL, 0));
        REFUSED(fl_request_respond(request, 200, NULL, NULL, 1, NULL, 0));
        REFUSED(fl_request_respond(request, 200, NULL, NULL, 0, NULL, 5));
        CHECK(fl_request_respond(request, 404, "Not Here", plain, 1, "no\n", 3) == FL_OK);
        CHECK(fl_request_respond(request, 200, NULL, NULL, 0, NULL, 0) == FL_ERR_ANSWERED);
        CHECK(fl_request_write(request, "x", 1) == FL_ERR_ANSWERED);
        CHECK(fl_request_release(request, 1000, NULL) == FL_END);
        CHECK(fl_request_complete(request) == FL_OK && fl_request_complete(request) == FL_OK);
        CHECK(is(fl_request_method(request), "GET")); /* the handle outlives the slot */
        CHECK(fl_request_free(request) == FL_OK);
    }
    for (i = 0; i < 3; i++) {
        const char *head = hear_until(clients[i], "\r\n\r\n");
        CHECK(strncmp(head, "HTTP/1.1 404 Not Here\r\n", 23) == 0 && strstr(head, "\xe4") != NULL);
        CHECK(strstr(head, "contract") != NULL);
        hear(clients[i], body, 3);
        close(clients[i]);
    }

    /* A body in two parts, and a response in pieces. */
    clients[0] = dial(engine);
    ask(clients[0], "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\n");
    request = next_event(engine, FL_EVENT_REQUEST).request;
    REFUSED(fl_request_read_body(request, body, 0, &size));
    REFUSED(fl_request_read_body(request, body, 1, NULL));
    REFUSED(fl_request_wait_body_blocking(request, 0));
    for (i = 0; i < 2; i++) {
        CHECK(fl_request_read_body(request, body, sizeof body, &size) == FL_PENDING && size == 0);
        CHECK(fl_request_wait_body(request, 40 + (uint64_t)i) == FL_PENDING);
        ask(clients[0], i == 0 ? "abc" : "def");
        CHECK(next_event(engine, FL_EVENT_WAKE).token == 40 + (uint64_t)i);
        CHECK(fl_request_read_body(request, body, 2, &size) == FL_OK && size == 2);
        CHECK(fl_request_read_body(request, body + 2, 2, &size) == FL_OK && size == 1);
        CHECK(memcmp(body, i == 0 ? "abc" : "def", 3) == 0);
    }
    while (fl_request_read_body(request, body, sizeof body, &size) == FL_PENDING) { /* the end may need a look more */
        if (fl_request_wait_body(request, 42) == FL_PENDING) CHECK(next_event(engine, FL_EVENT_WAKE).token == 42);
    }
    CHECK(fl_request_read_body(request, body, sizeof body, &size) == FL_END);
    CHECK(fl_request_start(request, 200, NULL, NULL, 0) == FL_OK);
    CHECK(fl_request_wait_writable(request, 1) == FL_OK);
    CHECK(fl_request_write(request, "one", 3) == FL_OK && fl_request_write(request, "two", 3) == FL_OK);
    CHECK(fl_request_finish(request) == FL_OK);
    CHECK(fl_request_free(request) == FL_OK);
    CHECK(strstr(hear_until(clients[0], "0\r\n\r\n"), "two") != NULL); /* the last chunk */
    close(clients[0]);

    /* Nobody answers: 500. */
    clients[0] = dial(engine);
    ask(clients[0], "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    event = next_event(engine, FL_EVENT_REQUEST);
    CHECK(fl_request_free(event.request) == FL_OK);
    CHECK(strncmp(hear_until(clients[0], "\r\n\r\n"), "HTTP/1.1 500 ", 13) == 0);
    close(clients[0]);
}

static const char HANDSHAKE[] =
    "GET /chat HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: b, a\r\n\r\n";

static fl_session *open_websocket(fl_request *request, int client) {
    fl_session *session;
    CHECK(fl_request_wants_websocket(request) == 1);
    CHECK(strcmp(fl_request_subprotocol(request, 0), "b") == 0 && fl_request_subprotocol(request, 2) == NULL);
    CHECK(fl_request_accept(request, "c", &session) == FL_ERR_USAGE && session == NULL); /* not offered */
    REFUSED(fl_request_accept(request, "a", NULL));
    CHECK(fl_request_accept(request, "a", &session) == FL_OK && session != NULL);
    /* RFC 6455 1.3: the answer to that key */
    CHECK(strstr(hear_until(client, "\r\n\r\n"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") != NULL);
    return session;
}

static void a_websocket_lives_and_ends(fl_engine *engine) {
    static char block[1000];
    int client = dial(engine), status;
    fl_request *request;
    fl_session *session, *second;
    fl_message message;
    fl_closure closure;
    fl_counters counters;
    fl_event later;
    struct pollfd readable = {0};
    size_t sent = 0, heard = 0;
    unsigned char frame[4 + sizeof block];

    ask(client, HANDSHAKE);
    request = next_event(engine, FL_EVENT_REQUEST).request;
    session = open_websocket(request, client);
    CHECK(fl_request_accept(request, NULL, &second) < 0 && second == NULL);
    CHECK(fl_session_closed(session, &closure) == FL_PENDING);
    REFUSED(fl_session_closed(session, NULL));
    REFUSED(fl_session_receive(session, 0, &message)); /* the other delivery */
    REFUSED(fl_session_wait_room_blocking(session, 0));
    REFUSED(fl_session_send_text(session, "\xff", 1)); /* RFC 6455 5.6 */
    REFUSED(fl_session_send_text(session, NULL, 1));
    REFUSED(fl_session_ping(session, block, 126)); /* RFC 6455 5.5 */
    REFUSED(fl_session_close(session, 1006, NULL)); /* RFC 6455 7.4.1 */

    /* A message is announced by the token, and a turn later by the descriptor if it lies there still. The mask is zero,
     * RFC 6455 5.3. */
    readable.fd = fl_session_fileno(session);
    readable.events = POLLIN;
    CHECK(readable.fd >= 0 && poll(&readable, 1, 0) == 0);
    CHECK(fl_session_receive_nowait(session, &message) == FL_PENDING);
    CHECK(fl_session_receive_or_wake(session, 77, &message) == FL_PENDING);
    say(client, "\x81\x82\0\0\0\0hi\x82\x80\0\0\0\0", 14);
    CHECK(next_event(engine, FL_EVENT_WAKE).token == 77);
    CHECK(fl_engine_poll(engine, &later, 1, 0) == 0);
    CHECK(poll(&readable, 1, 0) == 1);
    REFUSED(fl_session_receive_nowait(session, NULL)); /* takes nothing */
    CHECK(fl_session_receive_nowait(session, &message) == FL_OK && message.kind == FL_MESSAGE_TEXT);
    CHECK(message.size == 2 && memcmp(message.data, "hi", 2) == 0);
    do { /* the second frame may come with a later read */
        status = fl_session_receive_or_wake(session, 78, &message);
        if (status == FL_PENDING) CHECK(next_event(engine, FL_EVENT_WAKE).token == 78);
    } while (status == FL_PENDING);
    CHECK(status == FL_OK && message.kind == FL_MESSAGE_BINARY && message.size == 0 && message.data != NULL);
    CHECK(poll(&readable, 1, 0) == 0);

    /* A peer that does not read fills the outbox; the task waits for room. */
    do { /* until the kernel's buffers are full as well, if the engine was quick to use them */
        while ((status = fl_session_send_binary(session, block, sizeof block)) == FL_OK) sent++;
        CHECK(status == FL_FULL && sent > 0);
    } while (fl_session_wait_room(session, 79) == FL_OK);
    for (; heard < sent; heard++) {
        hear(client, frame, sizeof frame);
        CHECK(frame[0] == 0x82 && frame[1] == 126 && frame[2] * 256 + frame[3] == (int)sizeof block);
    }
    CHECK(next_event(engine, FL_EVENT_WAKE).token == 79);
    CHECK(fl_session_wait_room(session, 79) == FL_OK);
    CHECK(fl_session_forget(session, 79) == FL_OK);

    CHECK(fl_session_ping(session, "p", 1) == FL_OK);
    hear(client, frame, 3);
    CHECK(memcmp(frame, "\x89\x01p", 3) == 0);

    /* The peer closes; the reason has a NUL. */
    say(client, "\x88\x89\0\0\0\0\x0f\xa1" "bye\0bye", 15);
    do {
        status = fl_session_receive_or_wake(session, 80, &message);
        if (status == FL_PENDING) CHECK(next_event(engine, FL_EVENT_WAKE).token == 80);
    } while (status == FL_PENDING);
    CHECK(status == FL_CLOSED);
    CHECK(fl_session_closed(session, &closure) == FL_OK && closure.code == 4001 && closure.by == FL_BY_PEER);
    CHECK(is(closure.reason, "bye") && closure.reason.data[3] == '\0');
    CHECK(fl_session_send_text(session, "x", 1) == FL_CLOSED && fl_session_ping(session, NULL, 0) == FL_CLOSED);
    CHECK(fl_session_wait_room(session, 81) == FL_OK);
    CHECK(fl_session_close(session, 1000, NULL) == FL_OK);
    hear(client, frame, 4);
    CHECK(memcmp(frame, "\x88\x02\x0f\xa1", 4) == 0);
    CHECK(fl_session_counters(session, &counters) == FL_OK);
    CHECK(counters.messages_in == 2 && counters.messages_out == sent && counters.pings_out == 1);
    CHECK(fl_request_release(request, 1000, NULL) == FL_OK);
    CHECK(fl_request_free(request) == FL_OK);
    CHECK(fl_session_receive_nowait(session, &message) == FL_CLOSED); /* the handle outlives its request */
    CHECK(fl_session_free(session) == FL_OK);
    close(client);

    /* A handshake that breaks a rule is refused when the request is freed. */
    client = dial(engine);
    ask(client, "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 12\r\n\r\n");
    request = next_event(engine, FL_EVENT_REQUEST).request;
    CHECK(fl_request_accept(request, NULL, &session) == FL_ERR_HANDSHAKE && strstr(fl_last_error(), "12") != NULL);
    CHECK(fl_request_free(request) == FL_OK);
    CHECK(strncmp(hear_until(client, "\r\n\r\n"), "HTTP/1.1 426 ", 13) == 0);
    close(client);
}

static void time_and_rings_end_a_wait(fl_engine *engine) {
    fl_event event;
    CHECK(fl_engine_poll(engine, &event, 1, 0) == 0);
    CHECK(fl_engine_wake(engine) == FL_OK);
    CHECK(fl_engine_poll(engine, &event, 1, -1) == 0); /* for ever, but for the ring */
    CHECK(fl_engine_wake_at(engine, 1, 5) == FL_OK);
    CHECK(fl_engine_wake_at(engine, UINT64_MAX, 6) == FL_OK);
    CHECK(next_event(engine, FL_EVENT_DEADLINE).token == 5);
}

/* What the program still holds when the engine goes stays a handle, and a request that nobody took goes with it. */
static void handles_outlive_their_engine(void) {
    fl_engine *engine = start(FL_DELIVERY_LOOP, 0);
    int client = dial(engine), other;
    size_t requests = 0, sessions;
    fl_request *request;
    fl_session *session;
    fl_message message;

    ask(client, HANDSHAKE);
    request = next_event(engine, FL_EVENT_REQUEST).request;
    session = open_websocket(request, client);
    other = dial(engine);
    ask(other, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    while (requests < 2) CHECK(fl_engine_busy(engine, &requests, &sessions) == FL_OK);
    CHECK(fl_engine_stop(engine, 0) == FL_OK && fl_engine_stop(engine, 0) == FL_OK);
    CHECK(fl_engine_free(engine) == FL_OK);
    CHECK(fl_session_send_text(session, "x", 1) != FL_ERR_PANIC);
    CHECK(fl_session_receive_nowait(session, &message) != FL_ERR_PANIC);
    CHECK(is(fl_request_path(request), "/chat"));
    CHECK(fl_request_free(request) == FL_OK && fl_session_free(session) == FL_OK);
    close(client);
    close(other);
}

static void a_thread_blocks_for_requests_bodies_and_messages(void) {
    fl_engine *engine = start(FL_DELIVERY_THREADS, 20000);
    int client = dial(engine);
    static char block[1000];
    char body[8];
    size_t size;
    fl_event event;
    fl_request *request;
    fl_session *session;
    fl_message message;

    REFUSED(fl_engine_poll(engine, &event, 1, 0));
    REFUSED(fl_engine_wake_at(engine, 0, 0));
    CHECK(fl_engine_wait_request(engine, 1, &request) == FL_TIMEOUT && request == NULL);
    ask(client, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n");
    CHECK(fl_engine_wait_request(engine, -1, &request) == FL_OK);
    REFUSED(fl_request_wait_body(request, 1));
    CHECK(fl_request_wait_body_blocking(request, 1) == FL_TIMEOUT);
    ask(client, "abc");
    CHECK(fl_request_wait_body_blocking(request, -1) == FL_OK);
    CHECK(fl_request_read_body(request, body, sizeof body, &size) == FL_OK && size > 0);
    CHECK(fl_request_wait_writable_blocking(request, 1000) == FL_OK);
    CHECK(fl_request_respond(request, 204, NULL, NULL, 0, NULL, 0) == FL_OK && fl_request_free(request) == FL_OK);
    CHECK(strncmp(hear_until(client, "\r\n\r\n"), "HTTP/1.1 204 ", 13) == 0);

    ask(client, HANDSHAKE);
    CHECK(fl_engine_wait_request(engine, 10000, &request) == FL_OK);
    session = open_websocket(request, client);
    REFUSED(fl_session_receive_or_wake(session, 1, &message));
    REFUSED(fl_session_wait_room(session, 1));
    CHECK(fl_session_receive(session, 1, &message) == FL_TIMEOUT);
    say(client, "\x81\x82\0\0\0\0hi", 8);
    CHECK(fl_session_receive(session, -1, &message) == FL_OK && message.size == 2);
    do { /* the peer reads nothing: once the kernel's buffers are full, there is no room any more */
        while (fl_session_send_binary(session, block, sizeof block) == FL_OK) continue;
    } while (fl_session_wait_room_blocking(session, 1) == FL_OK);
    CHECK(fl_session_disconnect(session) == FL_OK);
    CHECK(fl_session_wait_room_blocking(session, -1) == FL_OK);
    CHECK(fl_session_receive(session, -1, &message) == FL_CLOSED);
    CHECK(fl_session_free(session) == FL_OK && fl_request_free(request) == FL_OK);
    close(client);

    CHECK(fl_engine_dismiss(engine) == FL_OK);
    CHECK(fl_engine_wait_request(engine, -1, &request) == FL_END);
    CHECK(fl_engine_free(engine) == FL_OK);
}

int main(int argc, char **argv) {
    fl_engine *engine;
    size_t requests = 1, sessions = 1;
    fl_event event;

    misuse_is_answered_and_changes_nothing();
    engine = start(FL_DELIVERY_LOOP, 20000);
    requests_are_read_and_answered(engine);
    a_websocket_lives_and_ends(engine);
    time_and_rings_end_a_wait(engine);
    CHECK(fl_engine_drain(engine, 1001, "done") == FL_OK);
    while (requests + sessions > 0) {
        CHECK(fl_engine_poll(engine, &event, 1, 20) == 0);
        CHECK(fl_engine_busy(engine, &requests, &sessions) == FL_OK);
    }
    CHECK(fl_engine_free(engine) == FL_OK);
    /* Not where leaks are looked for: it ends in an order that the header advises against. */
    if (argc < 2 || strcmp(argv[1], "orderly") != 0) handles_outlive_their_engine();
    a_thread_blocks_for_requests_bodies_and_messages();
    puts("ok");
    return 0;
}
