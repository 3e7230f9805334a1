/*
 * harness.h - what the programs that ask the C interface for its promises share: checks, and a client on plain sockets.
 *
 * One process is server and client. The client's sockets block; the engine's own threads answer them meanwhile.
 */
#ifndef HARNESS_H
#define HARNESS_H

#define _POSIX_C_SOURCE 200809L
#include <arpa/inet.h>
#include <fairlead.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define CHECK(condition)                                                                            \
    do {                                                                                            \
        if (!(condition)) {                                                                         \
            fprintf(stderr, "line %d: not so: %s (%s)\n", __LINE__, #condition, fl_last_error());   \
            exit(1);                                                                                \
        }                                                                                           \
    } while (0)
#define REFUSED(call) CHECK((call) == FL_ERR_USAGE && fl_last_error()[0] != '\0')

static inline int dial(const fl_engine *engine) {
    struct sockaddr_in address = {0};
    const struct timeval limit = {10, 0};
    int s = socket(AF_INET, SOCK_STREAM, 0);
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)fl_engine_port(engine, 0));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(connect(s, (const struct sockaddr *)&address, sizeof address) == 0);
    setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    return s;
}

static inline void say(int s, const void *bytes, size_t size) { CHECK(write(s, bytes, size) == (ssize_t)size); }
static inline void ask(int s, const char *text) { say(s, text, strlen(text)); }

static inline void hear(int s, void *into, size_t size) {
    size_t have = 0;
    while (have < size) {
        ssize_t got = read(s, (char *)into + have, size - have);
        CHECK(got > 0);
        have += (size_t)got;
    }
}

/* Reads a response head, or whatever ends like one. */
static inline const char *hear_until(int s, const char *end) {
    static char text[4096];
    size_t have = 0;
    memset(text, 0, sizeof text);
    while (strstr(text, end) == NULL) {
        CHECK(have < sizeof text - 1);
        hear(s, text + have++, 1);
    }
    return text;
}

static inline fl_event next_event(fl_engine *engine, int kind) {
    fl_event event;
    int tries;
    for (tries = 0; tries < 10000; tries++) {
        int count = fl_engine_poll(engine, &event, 1, 1000);
        CHECK(count >= 0);
        if (count == 1) {
            CHECK(event.kind == kind);
            return event;
        }
    }
    CHECK(!"an event in time");
    return event;
}

static inline int is(fl_bytes bytes, const char *text) {
    return bytes.data != NULL && bytes.size == strlen(text) && memcmp(bytes.data, text, bytes.size) == 0;
}


#endif
