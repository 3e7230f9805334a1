/*
 * fairlead.h - the C interface of Fairlead's engine: an HTTP and WebSocket server that a program polls.
 *
 * Written by hand, to be read. Tests compare it with the library, declaration by declaration. README.md has the whole
 * picture with an example; here stands what each call does.
 *
 * Rules that hold everywhere
 *   Handles   fl_engine, fl_request and fl_session belong to the program from the call that gives them, until it calls
 *             their _free. Not after that.
 *   Results   Most functions answer an enum fl_status as int: 0 done, positive an everyday outcome, negative an
 *             error, for which fl_last_error() has a sentence. Some answer a count or a descriptor instead of 0.
 *   Misuse    NULL, a handle of another kind, a number out of range: FL_ERR_USAGE, and nothing has changed.
 *   Bytes     fl_bytes and `data` with a size: no NUL behind them unless it says so; never freed by the program.
 *   Threads   Any thread may call anything, unless a call says "one thread at a time". _free comes last of all.
 *   Waiting   With FL_DELIVERY_LOOP one thread polls and never blocks elsewhere: what it waits for, it names with a token
 *             of its choice, and that comes back in an event. A wake-up is a hint: ask again. With FL_DELIVERY_THREADS each
 *             request has a thread, which blocks. A call of the other delivery answers FL_ERR_USAGE.
 *   Callbacks There are none.
 */
#ifndef FAIRLEAD_H
#define FAIRLEAD_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Changes when something that worked before does not any more. */
#define FL_ABI_VERSION 1

/* "The engine's own rule" in fields that say so. */
#define FL_DEFAULT UINT64_MAX

enum fl_status {
    FL_OK = 0,
    FL_PENDING = 1,         /* nothing now; a token that was given will be woken */
    FL_FULL = 2,            /* the peer is behind: nothing was taken, wait for room and send again */
    FL_CLOSED = 3,          /* the WebSocket is closed or closing */
    FL_TIMEOUT = 4,         /* the time-out passed first */
    FL_END = 5,             /* there is no more: of a body, of a list, of requests */
    FL_ERR_USAGE = -1,      /* the caller's mistake; nothing was changed */
    FL_ERR_PANIC = -2,      /* a fault of Fairlead: please report it */
    FL_ERR_SYSTEM = -3,     /* the system refused something */
    FL_ERR_GONE = -4,       /* the client is gone */
    FL_ERR_ANSWERED = -5,   /* a response or a handshake was sent before */
    FL_ERR_HANDSHAKE = -6,  /* the client's WebSocket handshake breaks RFC 6455 */
    FL_ERR_ORIGIN = -7,     /* a browser page of a foreign origin asked for a WebSocket */
    FL_ERR_BODY = -8        /* the request's body broke off */
};

enum fl_delivery {
    FL_DELIVERY_LOOP = 0,    /* one thread polls and runs all units: fl_engine_poll */
    FL_DELIVERY_THREADS = 1  /* a thread for each unit: fl_engine_wait_request */
};

enum fl_log_level {
    FL_LOG_DEBUG = 0,
    FL_LOG_INFO = 1,
    FL_LOG_WARNING = 2,  /* somebody sent something that was refused */
    FL_LOG_ERROR = 3     /* the server cannot do its work */
};

enum fl_event_kind {
    FL_EVENT_REQUEST = 1,  /* a request has arrived; event.request belongs to the program */
    FL_EVENT_WAKE = 2,     /* what the unit with event.token waits for has changed: it asks again */
    FL_EVENT_DEADLINE = 3  /* the time set for event.token with fl_engine_wake_at has come */
};

enum fl_message_kind {
    FL_MESSAGE_TEXT = 1,  /* UTF-8, already checked */
    FL_MESSAGE_BINARY = 2
};

enum fl_closed_by {
    FL_BY_PEER = 1,   /* the peer sent the first Close */
    FL_BY_LOCAL = 2,  /* we did: the program, a limit, or because the peer broke a rule */
    FL_BY_LOST = 3    /* the connection was lost without a close handshake */
};

typedef struct fl_engine fl_engine;
typedef struct fl_request fl_request;
typedef struct fl_session fl_session;

/* Bytes that belong to somebody else. data is NULL where there is nothing, and not NULL for what is empty. */
typedef struct fl_bytes {
    const char *data;
    size_t size;
} fl_bytes;

/* A header of a response: NUL-terminated; the value may have any bytes but control characters. */
typedef struct fl_header {
    const char *name;
    const char *value;
} fl_header;

/* Fill it with fl_settings_init, then change what you like. All that it points to is the program's, and needed only
 * until fl_engine_start returns. Grows at its end. */
typedef struct fl_settings {
    size_t size;                    /* set by fl_settings_init */
    const char *const *listen;      /* ":8080", "127.0.0.1:0", "[::1]:80", "/path" or "@abstract" */
    size_t listen_count;
    const int *inherited;           /* listening sockets; duplicated: close your own, or a drain leaves them open */
    size_t inherited_count;
    int delivery;                   /* enum fl_delivery; FL_DELIVERY_LOOP */
    uint32_t slots;                 /* requests at once (a WebSocket is one); 1024. Without a free one nothing is accepted */
    int log_fd;                     /* where lines are written; 2. Duplicated. -1: nowhere. Must not block for long */
    int log_level;                  /* the least that is logged, enum fl_log_level; FL_LOG_INFO */
    const char *const *origins;     /* pages that may open a WebSocket besides our own: "https://a.org", "*.a.org", "*" */
    size_t origin_count;
    const fl_header *extra_headers; /* added to every response and to the 101; UTF-8 */
    size_t extra_header_count;
    size_t max_message;             /* bytes, all fragments together; 1 MiB. More closes with 1009 */
    size_t outbox_high;             /* unsent bytes at which a send answers FL_FULL; 256 KiB */
    uint64_t ping_every_ms;         /* silence after which a ping goes out; 30 s. 0: never */
    uint64_t pong_tolerance_ms;     /* what a peer may take for a sign of life after it; 3 s */
    uint64_t pong_every_ms;         /* unasked pongs; FL_DEFAULT: midway between two pings. 0: never */
    uint64_t idle_timeout_ms;       /* without a message for so long: 1001; 0: never */
    uint64_t close_timeout_ms;      /* for the peer's half of the close handshake; 5 s */
    uint64_t header_timeout_ms;     /* for a request head; 10 s */
    uint64_t keep_alive_timeout_ms; /* silence between two requests of a connection; 75 s */
    uint64_t stall_timeout_ms;      /* a transfer that stands still; 60 s */
    size_t max_header_bytes;        /* of a request head; 32 KiB. More is answered with 431 */
    uint64_t max_body;              /* of a request; FL_DEFAULT: any. More is answered with 413 */
} fl_settings;

typedef struct fl_event {
    int kind;            /* enum fl_event_kind */
    uint64_t token;      /* of a wake or a deadline */
    fl_request *request; /* of a request, else NULL */
} fl_event;

typedef struct fl_message {
    int kind;         /* enum fl_message_kind */
    const char *data; /* good until the next receive of this session */
    size_t size;
} fl_message;

typedef struct fl_closure {
    int code;        /* 1005 when the peer gave none, 1006 when the connection was lost (RFC 6455 7.1.5) */
    int by;          /* enum fl_closed_by */
    fl_bytes reason; /* or what happened; with a NUL behind it, lives as long as the session */
} fl_closure;

typedef struct fl_counters {
    uint64_t messages_in;
    uint64_t messages_out;
    uint64_t bytes_in; /* with frame headers */
    uint64_t bytes_out;
    uint64_t pings_in;
    uint64_t pings_out;
    uint64_t pongs_in;
    uint64_t pongs_out;
} fl_counters;

/* ---- The library ------------------------------------------------------------------------------------------------ */

/* FL_ABI_VERSION of the library; another than the header's means that the two do not fit. */
int fl_abi_version(void);

/* What the calling thread's last negative status meant; "" before the first, never NULL. Good until the thread's next. */
const char *fl_last_error(void);

/* ---- The engine ------------------------------------------------------------------------------------------------- */

/* Fills in the defaults; size is sizeof(fl_settings). */
int fl_settings_init(fl_settings *settings, size_t size);

/* Accepts connections from now on. *engine is NULL after an error. The engine's two threads take no signals. */
int fl_engine_start(const fl_settings *settings, fl_engine **engine);

/* LOOP. One turn: waits at most timeout_ms (negative: no limit) until something happens, answers the number of events
 * written, at most capacity. 0 may come before the time-out (a ring, a signal, the engine's own affairs): loop. What did
 * not fit comes first the next time. One thread at a time. */
int fl_engine_poll(fl_engine *engine, fl_event *events, size_t capacity, int timeout_ms);

/* THREADS. Blocks until there is a request: FL_OK, FL_TIMEOUT, or FL_END once the engine is dismissed or stopped. */
int fl_engine_wait_request(fl_engine *engine, int timeout_ms, fl_request **request);

/* LOOP, on a foreign event loop: two descriptors, of which at least one polls readable while fl_engine_poll has something
 * to do. Watch both, level-triggered, and only poll them. When one is readable: fl_engine_poll with time-out 0, deal with
 * its events, then fl_engine_leave, which lets go what was sent and arms the descriptors. Begin with fl_engine_leave. */
int fl_engine_descriptors(const fl_engine *engine, int *descriptors);
int fl_engine_leave(fl_engine *engine);

/* LOOP. Ends the current or the next wait of fl_engine_poll. Not from a signal handler: use a thread in sigwait(3). */
int fl_engine_ring(fl_engine *engine);

/* LOOP. FL_EVENT_DEADLINE with token comes after after_ms. Cannot be taken back: ignore what is no longer awaited. */
int fl_engine_wake_at(fl_engine *engine, uint64_t after_ms, uint64_t token);

/* No new connections; a Close with code and reason (NULL: none) on every WebSocket (RFC 6455 7.1.2). Requests in flight
 * go on. Call it again while fl_engine_busy finds some: one that is just being accepted may miss its Close. */
int fl_engine_drain(fl_engine *engine, int code, const char *reason);

/* Requests that hold a slot, and WebSockets that are not quite closed: both 0 when a drain is complete. */
int fl_engine_busy(const fl_engine *engine, size_t *requests, size_t *sessions);

/* THREADS. No more requests: fl_engine_wait_request answers FL_END. */
int fl_engine_dismiss(fl_engine *engine);

/* Ends all within deadline_ms, and the engine's threads; blocks as long. Idempotent. */
int fl_engine_stop(fl_engine *engine, uint64_t deadline_ms);

/* Stops at once if need be, and frees. Free requests and sessions before: those that are left stay valid handles, of
 * connections that are over, but some memory may stay behind. */
int fl_engine_free(fl_engine *engine);

/* Listener index as it is bound, `listen` first, then `inherited`: "127.0.0.1:8080", "unix:/path"; NULL beyond the last.
 * Lives as long as the engine. */
const char *fl_engine_address(const fl_engine *engine, size_t index);

/* Its TCP port (the one the system chose, for port 0); 0 for a UNIX socket. */
int fl_engine_port(const fl_engine *engine, size_t index);

/* ---- A request: what the client asked. Bytes live as long as the request. --------------------------------------- */

fl_bytes fl_request_method(const fl_request *request);
fl_bytes fl_request_target(const fl_request *request); /* as it was sent */
fl_bytes fl_request_path(const fl_request *request);   /* not decoded */
fl_bytes fl_request_query(const fl_request *request);  /* not decoded, without the "?" */
fl_bytes fl_request_scheme(const fl_request *request); /* "http" or "https" */

/* The first value of a header, name in any case; data is NULL if it was not sent. */
fl_bytes fl_request_header(const fl_request *request, const char *name);

/* CGI variable index (RFC 3875 4.1), from 0: FL_OK or FL_END. A NUL follows name and value. */
int fl_request_variable(const fl_request *request, size_t index, fl_bytes *name, fl_bytes *value);

/* Peer and target, as the log names them. */
const char *fl_request_label(const fl_request *request);

/* 1 if the client asks for a WebSocket, rightly or not; else 0. */
int fl_request_wants_websocket(const fl_request *request);

/* The client's subprotocol index, the most welcome first; NULL beyond the last. */
const char *fl_request_subprotocol(const fl_request *request, size_t index);

/* 1 once the client has gone, else 0. */
int fl_request_is_gone(const fl_request *request);

/* ---- A request: answers. All is copied, nothing blocks. --------------------------------------------------------- */

/* A whole response. reason NULL: the usual phrase. Content-Length is added. FL_ERR_GONE, FL_ERR_ANSWERED. */
int fl_request_respond(fl_request *request, int status, const char *reason, const fl_header *headers,
                       size_t header_count, const char *body, size_t body_size);

/* The same in pieces: start, write (as often as you like, while wait_writable says FL_OK), finish; or abort, which cuts
 * the connection so that the client knows. */
int fl_request_start(fl_request *request, int status, const char *reason, const fl_header *headers,
                     size_t header_count);
int fl_request_write(fl_request *request, const char *piece, size_t size);
int fl_request_finish(fl_request *request);
int fl_request_abort(fl_request *request, const char *why);

/* LOOP. Room for the next piece now: FL_OK; else FL_PENDING, and token is woken. */
int fl_request_wait_writable(fl_request *request, uint64_t token);

/* THREADS. Blocks for it: FL_OK or FL_TIMEOUT. */
int fl_request_wait_writable_blocking(fl_request *request, int timeout_ms);

/* Takes what is there of the request's body, at most capacity: FL_OK and *size > 0, FL_PENDING, FL_END, FL_ERR_BODY. One
 * thread at a time. */
int fl_request_read_body(fl_request *request, char *buffer, size_t capacity, size_t *size);

/* LOOP. read_body has something to say now: FL_OK; else FL_PENDING, and token is woken. */
int fl_request_wait_body(fl_request *request, uint64_t token);

/* THREADS. Blocks for it: FL_OK or FL_TIMEOUT. */
int fl_request_wait_body_blocking(fl_request *request, int timeout_ms);

/* Completes the WebSocket handshake (RFC 6455 4.2.2) with one of the client's subprotocols or none (NULL). *session is
 * the program's and usable at once; NULL after an error. The request goes on holding the slot AND the WebSocket: keep it
 * until that is over. After FL_ERR_HANDSHAKE or FL_ERR_ORIGIN just free the request: the client is told why. */
int fl_request_accept(fl_request *request, const char *subprotocol, fl_session **session);

/* A descriptor that polls readable while there is a message to receive; silent before the handshake. Only poll it. */
int fl_request_fileno(const fl_request *request);

/* Done with the WebSocket: closes it with code and reason (NULL: none) if nobody did, and the engine sees the close
 * handshake through. FL_OK, or FL_END if there is none. */
int fl_request_release(fl_request *request, int code, const char *reason);

/* Gives the slot back; the handle stays valid. A WebSocket left open is closed with 1011. Idempotent. */
int fl_request_complete(fl_request *request);

/* Completes and frees. A request that was not answered gets 500. */
int fl_request_free(fl_request *request);

/* ---- A session: one WebSocket ----------------------------------------------------------------------------------- */

/* Takes the next message: FL_OK, FL_PENDING, FL_CLOSED when it is over and all was taken. One thread at a time. */
int fl_session_receive_nowait(fl_session *session, fl_message *message);

/* LOOP. The same, and after FL_PENDING token is woken once there is something: one step, nothing is missed between. */
int fl_session_receive_or_wake(fl_session *session, uint64_t token, fl_message *message);

/* THREADS. Blocks for the next message: FL_OK, FL_TIMEOUT, FL_CLOSED. One thread at a time; others may send. */
int fl_session_receive(fl_session *session, int timeout_ms, fl_message *message);

/* The unit with token no longer waits, neither for a message nor for room. */
int fl_session_forget(fl_session *session, uint64_t token);

/* Sends a message, whole or not at all: FL_OK, FL_FULL, FL_CLOSED; never blocks. data may be a received message's.
 * Text must be UTF-8 (RFC 6455 5.6), else FL_ERR_USAGE. */
int fl_session_send_text(fl_session *session, const char *data, size_t size);
int fl_session_send_binary(fl_session *session, const char *data, size_t size);

/* LOOP. Room for a send now, or closed: FL_OK; else FL_PENDING, and token is woken. */
int fl_session_wait_room(fl_session *session, uint64_t token);

/* THREADS. Blocks for it: FL_OK or FL_TIMEOUT. */
int fl_session_wait_room_blocking(fl_session *session, int timeout_ms);

/* Starts the close handshake. Codes: 1000 to 1003, 1007 to 1014, 3000 to 4999 (RFC 6455 7.4). Harmless when closing. */
int fl_session_close(fl_session *session, int code, const char *reason);

/* Drops the connection at once, without a Close. */
int fl_session_disconnect(fl_session *session);

/* A ping of the program's own, at most 125 bytes; the engine's go out by themselves. FL_OK or FL_CLOSED. */
int fl_session_ping(fl_session *session, const char *data, size_t size);

/* How it ended: FL_OK and *closure; FL_PENDING while it is open. */
int fl_session_closed(const fl_session *session, fl_closure *closure);

int fl_session_counters(const fl_session *session, fl_counters *counters);

/* Polls readable exactly while a receive would not wait. Only poll it. */
int fl_session_fileno(const fl_session *session);

/* Frees the handle and the message it holds. The WebSocket goes with its request, not with this. */
int fl_session_free(fl_session *session);

#ifdef __cplusplus
}
#endif

#endif
