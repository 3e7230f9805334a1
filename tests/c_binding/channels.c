/*
 * channels.c - what the C interface promises of channels: publishing, looking back, members that are sessions, and members
 * that the program reads, under both deliveries. Nothing sleeps. Exit status 0 and "ok" when all holds.
 */
#include "harness.h"

#include <pthread.h>

#define HANDSHAKE                                                                               \
    "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

static fl_channels *channels_of(size_t size, size_t longest) {
    fl_channels *channels;
    CHECK(fl_channels_in_memory(size, longest, &channels) == FL_OK && channels != NULL);
    return channels;
}

static fl_engine *start(const char *delivery, const fl_channels *channels) {
    fl_settings *settings;
    fl_engine *engine;
    CHECK(fl_settings_new(&settings) == FL_OK && fl_settings_listen(settings, "127.0.0.1:0") == FL_OK);
    CHECK(fl_settings_log(settings, -1, FL_LOG_INFO) == FL_OK);
    CHECK(fl_settings_set_text(settings, FL_SETTING_DELIVERY, delivery) == FL_OK);
    CHECK(fl_settings_channels(settings, channels) == FL_OK);
    CHECK(fl_engine_start(settings, &engine) == FL_OK && fl_settings_free(settings) == FL_OK);
    return engine;
}

static uint64_t publish(const fl_channels *channels, const char *name, const char *text) {
    uint64_t offset;
    CHECK(fl_channels_publish(channels, name, FL_MESSAGE_TEXT, text, strlen(text), -1, &offset) == FL_OK);
    return offset;
}

static int says(const fl_published *message, int kind, const char *text) {
    return message->kind == kind && message->size == strlen(text) && memcmp(message->data, text, message->size) == 0;
}

static void what_cannot_be_is_refused(void) {
    fl_channels *channels = (fl_channels *)&channels, *none = NULL;
    fl_history *history;
    fl_channel_list *list;
    uint64_t count;
    static char longer[65];

    REFUSED(fl_channels_in_memory(1, 64, &channels));
    CHECK(channels == NULL);
    REFUSED(fl_channels_in_memory(1 << 20, 64, NULL));
    CHECK(fl_channels_inherit(-1, 64, &channels) == FL_ERR_SYSTEM && channels == NULL);
    CHECK(fl_channels_inherit(0, 64, &channels) == FL_ERR_CHANNELS && fl_last_error()[0] != '\0');
    REFUSED(fl_channels_in_file(NULL, 1 << 20, 64, &channels));
    CHECK(fl_channels_in_file("/nowhere/at/all", 1 << 20, 64, &channels) == FL_ERR_SYSTEM);

    channels = channels_of(1 << 20, 64);
    REFUSED(fl_channels_publish(channels, "", FL_MESSAGE_TEXT, "x", 1, -1, NULL));
    REFUSED(fl_channels_publish(channels, NULL, FL_MESSAGE_TEXT, "x", 1, -1, NULL));
    REFUSED(fl_channels_publish(channels, "a\nb", FL_MESSAGE_TEXT, "x", 1, -1, NULL));
    REFUSED(fl_channels_publish(channels, "room", 3, "x", 1, -1, NULL));
    REFUSED(fl_channels_publish(channels, "room", FL_MESSAGE_TEXT, "\xff", 1, -1, NULL)); /* RFC 6455 5.6 */
    REFUSED(fl_channels_publish(channels, "room", FL_MESSAGE_BINARY, longer, sizeof longer, -1, NULL));
    CHECK(strstr(fl_last_error(), "65") != NULL && strstr(fl_last_error(), "64") != NULL);
    REFUSED(fl_channels_publish(channels, "room", FL_MESSAGE_BINARY, NULL, 1, -1, NULL));
    REFUSED(fl_channels_members(channels, "room", NULL));
    REFUSED(fl_channels_history(channels, "room", NULL, 0, 0, NULL));
    REFUSED(fl_channels_list(channels, NULL));
    REFUSED(fl_channels_publish((fl_channels *)&none, "room", FL_MESSAGE_TEXT, "x", 1, -1, NULL));
    REFUSED(fl_settings_channels((fl_settings *)channels, channels)); /* a handle of another kind */

    /* Nothing of it has come into being. */
    CHECK(fl_channels_members(channels, "room", &count) == FL_OK && count == 0);
    CHECK(fl_channels_list(channels, &list) == FL_OK);
    CHECK(fl_channel_list_item(list, 0, &(fl_channel_facts){0}) == FL_END && fl_channel_list_free(list) == FL_OK);
    CHECK(fl_channels_history(channels, "room", NULL, 0, 0, &history) == FL_OK);
    CHECK(fl_history_message(history, 0, &(fl_published){0}) == FL_END && fl_history_free(history) == FL_OK);
    CHECK(fl_channels_free(channels) == FL_OK && fl_channels_free(NULL) == FL_OK);
}

static void what_was_published_is_looked_at(void) {
    fl_channels *channels = channels_of(1 << 20, 64), *same;
    fl_history *history;
    fl_history_facts facts;
    fl_published message;
    fl_channel_list *list;
    fl_channel_facts about;
    uint64_t first = publish(channels, "room", "one"), foreign = first + 1000000;

    CHECK(publish(channels, "room", "") == first + 1);
    CHECK(fl_channels_publish(channels, "room", FL_MESSAGE_BINARY, "a\0b", 3, 0, NULL) == FL_OK);

    /* Another process would inherit it just so. */
    CHECK(fl_channels_inherit(fl_channels_fileno(channels), 64, &same) == FL_OK);
    CHECK(fl_channels_history(same, "room", &first, 0, 0, &history) == FL_OK);
    CHECK(fl_history_about(history, &facts) == FL_OK);
    CHECK(facts.messages == 2 && facts.offset == first + 2 && facts.missed == 0 && facts.is_all == 1);
    CHECK(fl_history_message(history, 0, &message) == FL_OK && message.offset == first + 1);
    CHECK(says(&message, FL_MESSAGE_TEXT, "") && message.data != NULL);
    CHECK(fl_history_message(history, 1, &message) == FL_OK && message.kind == FL_MESSAGE_BINARY);
    CHECK(message.size == 3 && memcmp(message.data, "a\0b", 3) == 0);
    CHECK(fl_history_message(history, 2, &message) == FL_END);
    REFUSED(fl_history_message(history, 0, NULL));
    REFUSED(fl_history_about(history, NULL));
    CHECK(fl_history_free(history) == FL_OK);

    CHECK(fl_channels_history(channels, "room", NULL, 1, 0, &history) == FL_OK);
    CHECK(fl_history_about(history, &facts) == FL_OK && facts.messages == 1 && facts.offset == first + 2);
    CHECK(fl_history_message(history, 0, &message) == FL_OK && message.offset == first + 2);
    CHECK(fl_history_free(history) == FL_OK);
    CHECK(fl_channels_history(channels, "room", &foreign, 0, 0, &history) == FL_OK);
    CHECK(fl_history_about(history, &facts) == FL_OK && facts.missed == FL_MISSED_UNKNOWN && facts.messages == 3);
    CHECK(fl_history_free(history) == FL_OK);

    CHECK(fl_channels_list(channels, &list) == FL_OK && fl_channel_list_item(list, 0, &about) == FL_OK);
    CHECK(is(about.name, "room") && about.messages == 3 && about.bytes == 6 && about.members == 0);
    CHECK(about.offset == first + 2 && fl_channel_list_item(list, 1, &about) == FL_END);
    CHECK(fl_channel_list_free(list) == FL_OK && fl_channels_free(same) == FL_OK);
    CHECK(fl_channels_free(channels) == FL_OK);
}

static void a_session_is_a_member(void) {
    fl_channels *channels = channels_of(1 << 20, 64);
    fl_engine *engine = start(FL_DELIVERY_LOOP, channels);
    int client = dial(engine);
    uint64_t before = publish(channels, "room", "earlier"), count;
    fl_request *request;
    fl_session *session;
    fl_joined joined;
    char frame[16];

    before -= 1;
    ask(client, HANDSHAKE);
    request = next_event(engine, FL_EVENT_REQUEST).request;
    CHECK(fl_request_accept(request, NULL, &session) == FL_OK);
    hear_until(client, "\r\n\r\n");
    REFUSED(fl_session_join(session, "room", NULL, 0, 4, &joined));
    REFUSED(fl_session_join(session, "", NULL, 0, FL_SLOW_USUAL, &joined));
    REFUSED(fl_session_join(session, "room", NULL, 0, FL_SLOW_USUAL, NULL));
    CHECK(fl_channels_members(channels, "room", &count) == FL_OK && count == 0);
    CHECK(fl_session_join(session, "room", &before, 0, FL_SLOW_DROP_OLDEST, &joined) == FL_OK);
    CHECK(joined.replayed == 1 && joined.missed == 0 && joined.offset == before);
    publish(channels, "room", "now");
    CHECK(fl_engine_poll(engine, &(fl_event){0}, 1, 0) == 0 && fl_engine_leave(engine) == FL_OK);
    hear(client, frame, 9);
    CHECK(memcmp(frame, "\x81\x07" "earlier", 9) == 0); /* RFC 6455 5.2: one text frame */
    hear(client, frame, 5);
    CHECK(memcmp(frame, "\x81\x03now", 5) == 0);
    CHECK(fl_channels_members(channels, "room", &count) == FL_OK && count == 1);
    CHECK(fl_session_missed(session, &count) == FL_OK && count == 0);
    CHECK(fl_session_leave(session, "room") == FL_OK && fl_session_leave(session, "room") == FL_END);
    CHECK(fl_channels_members(channels, "room", &count) == FL_OK && count == 0);
    CHECK(fl_session_disconnect(session) == FL_OK);
    CHECK(fl_session_join(session, "room", NULL, 0, FL_SLOW_USUAL, &joined) == FL_CLOSED);
    CHECK(fl_session_free(session) == FL_OK && fl_request_free(request) == FL_OK);
    close(client);
    CHECK(fl_channels_free(channels) == FL_OK && fl_engine_free(engine) == FL_OK);
}

static void a_loop_reads_a_subscription(void) {
    fl_channels *channels = channels_of(1 << 20, 64);
    fl_engine *engine = start(FL_DELIVERY_LOOP, channels), *without = start(FL_DELIVERY_LOOP, NULL);
    fl_subscription *subscription;
    fl_subscription_facts facts;
    fl_joined joined;
    fl_published message;

    REFUSED(fl_engine_subscribe(without, "room", NULL, 1, FL_SLOW_USUAL, &joined, &subscription));
    CHECK(subscription == NULL && strstr(fl_last_error(), "fl_settings_channels") != NULL);
    CHECK(fl_engine_free(without) == FL_OK);
    REFUSED(fl_engine_subscribe(engine, "room", NULL, 0, FL_SLOW_USUAL, &joined, &subscription));
    REFUSED(fl_engine_subscribe(engine, "room", NULL, 1, FL_SLOW_CLOSE, &joined, &subscription));
    CHECK(fl_engine_subscribe(engine, "room", NULL, 2, FL_SLOW_DROP_NEWEST, &joined, &subscription) == FL_OK);
    REFUSED(fl_subscription_receive(subscription, 0, &message)); /* the other delivery */
    REFUSED(fl_subscription_receive_nowait(subscription, NULL));
    CHECK(fl_subscription_receive_nowait(subscription, &message) == FL_PENDING);
    CHECK(fl_subscription_receive_or_wake(subscription, 7, &message) == FL_PENDING);
    publish(channels, "room", "one");
    CHECK(next_event(engine, FL_EVENT_WAKE).token == 7);
    CHECK(fl_subscription_receive_or_wake(subscription, 8, &message) == FL_OK && says(&message, FL_MESSAGE_TEXT, "one"));
    CHECK(message.offset == joined.offset + 1);
    CHECK(fl_subscription_receive_or_wake(subscription, 9, &message) == FL_PENDING);
    CHECK(fl_subscription_forget(subscription, 9) == FL_OK);

    publish(channels, "room", "two");
    publish(channels, "room", "three");
    publish(channels, "room", "lost");
    do {
        CHECK(fl_engine_poll(engine, &(fl_event){0}, 1, 10) == 0); /* nobody waits */
        CHECK(fl_subscription_about(subscription, &facts) == FL_OK);
    } while (facts.missed == 0);
    CHECK(facts.queued == 2 && facts.missed == 1 && facts.is_closed == 0);
    CHECK(fl_subscription_receive_nowait(subscription, &message) == FL_OK && says(&message, FL_MESSAGE_TEXT, "two"));
    CHECK(fl_subscription_close(subscription) == FL_OK && fl_subscription_close(subscription) == FL_OK);
    CHECK(fl_subscription_receive_nowait(subscription, &message) == FL_OK && says(&message, FL_MESSAGE_TEXT, "three"));
    CHECK(fl_subscription_receive_nowait(subscription, &message) == FL_CLOSED);
    CHECK(fl_subscription_about(subscription, &facts) == FL_OK && facts.is_closed == 1);
    CHECK(fl_subscription_free(subscription) == FL_OK && fl_subscription_free(NULL) == FL_OK);
    CHECK(fl_channels_free(channels) == FL_OK && fl_engine_free(engine) == FL_OK);
}

static void *publish_from_elsewhere(void *channels) {
    publish(channels, "room", "one");
    return NULL;
}

static void *close_from_elsewhere(void *subscription) {
    CHECK(fl_subscription_close(subscription) == FL_OK);
    return NULL;
}

static void a_thread_reads_a_subscription(void) {
    fl_channels *channels = channels_of(1 << 20, 64);
    fl_engine *engine = start(FL_DELIVERY_THREADS, channels);
    fl_subscription *subscription;
    fl_joined joined;
    fl_published message;
    pthread_t other;

    CHECK(fl_engine_subscribe(engine, "room", NULL, 10, FL_SLOW_USUAL, &joined, &subscription) == FL_OK);
    REFUSED(fl_subscription_receive_or_wake(subscription, 1, &message));
    CHECK(fl_subscription_receive(subscription, 1, &message) == FL_TIMEOUT);
    CHECK(pthread_create(&other, NULL, publish_from_elsewhere, channels) == 0);
    CHECK(fl_subscription_receive(subscription, -1, &message) == FL_OK && says(&message, FL_MESSAGE_TEXT, "one"));
    CHECK(pthread_join(other, NULL) == 0);
    CHECK(pthread_create(&other, NULL, close_from_elsewhere, subscription) == 0);
    CHECK(fl_subscription_receive(subscription, -1, &message) == FL_CLOSED);
    CHECK(pthread_join(other, NULL) == 0);
    CHECK(fl_subscription_free(subscription) == FL_OK);
    CHECK(fl_channels_free(channels) == FL_OK && fl_engine_free(engine) == FL_OK);
}

int main(void) {
    what_cannot_be_is_refused();
    what_was_published_is_looked_at();
    a_session_is_a_member();
    a_loop_reads_a_subscription();
    a_thread_reads_a_subscription();
    puts("ok");
    return 0;
}
