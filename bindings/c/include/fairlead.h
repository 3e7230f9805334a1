/*
 * fairlead.h - the C interface of Fairlead's engine: an HTTP and WebSocket server that a program polls.
 *
 * Written by hand, to be read, but for the list of settings, which is made from the engine's table. Tests compare it with
 * the library, declaration by declaration. README.md has the whole picture with an example; here stands what each call does.
 *
 * Rules that hold everywhere
 *   Handles   What has a _free belongs to the program from the call that gives it until it calls that. Not after that.
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
#define FL_ABI_VERSION 2

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
    FL_ERR_BODY = -8,       /* the request's body broke off */
    FL_ERR_CHANNELS = -9    /* the channels cannot: full, damaged, removed, of another version, or their lock is not to be had */
};

enum fl_log_level {
    FL_LOG_DEBUG = 0,
    FL_LOG_INFO = 1,
    FL_LOG_WARNING = 2,  /* somebody sent something that was refused */
    FL_LOG_ERROR = 3     /* the server cannot do its work */
};

enum fl_event_kind {
    FL_EVENT_REQUEST = 1,  /* a request has arrived; event.request belongs to the program */
    FL_EVENT_WAKE = 2,     /* what the task with event.token waits for has changed: it asks again */
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

enum fl_slow_consumer {
    FL_SLOW_USUAL = 0,       /* as FL_SETTING_CHANNEL_SLOW_CONSUMER says; of a subscription: the oldest are dropped */
    FL_SLOW_CLOSE = 1,       /* the session is closed with 1013; not for subscriptions */
    FL_SLOW_DROP_NEWEST = 2, /* what is published is dropped for it */
    FL_SLOW_DROP_OLDEST = 3  /* what has waited longest is dropped */
};

typedef struct fl_settings fl_settings;
typedef struct fl_engine fl_engine;
typedef struct fl_worker fl_worker;
typedef struct fl_request fl_request;
typedef struct fl_session fl_session;
typedef struct fl_channels fl_channels;
typedef struct fl_history fl_history;
typedef struct fl_channel_list fl_channel_list;
typedef struct fl_subscription fl_subscription;
typedef struct fl_tls fl_tls;
typedef struct fl_ticket_keys fl_ticket_keys;

/* Bytes that belong to somebody else. data is NULL where there is nothing, and not NULL for what is empty. */
typedef struct fl_bytes {
    const char *data;
    size_t size;
} fl_bytes;

/* A header of a response: NUL-terminated; the value may have any bytes but control characters. Also a name with its value
 * in the settings, where both are UTF-8. */
typedef struct fl_header {
    const char *name;
    const char *value;
} fl_header;

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

/* A PEM file: its name, as messages show it, and what is in it. content NULL: it is read. name NULL, where it may be: none. */
typedef struct fl_pem {
    const char *name;
    const char *content;
    size_t size;
} fl_pem;

typedef struct fl_key_pair {
    fl_pem certificate; /* the server's first, then its chain */
    fl_pem key;         /* PKCS#8, PKCS#1 or SEC1, without a pass phrase */
} fl_key_pair;

/* All zeros but the certificates is what most programs want. */
typedef struct fl_tls_options {
    const fl_key_pair *certificates; /* chosen by the name that the client asks for (RFC 6066 3); the first for no name */
    size_t certificate_count;
    const char *ciphers;             /* an OpenSSL list; NULL: the usual ones */
    fl_pem client_ca;                /* whose certificates clients may show; no name: nobody is asked for one */
    int client_ca_required;          /* 1: a client without one is refused */
    int export_certificate;          /* 1: requests carry the client's as a variable */
    int refuse_expired;              /* 1: an expired certificate is an error, where it is a warning */
    int without_http2;               /* 1: HTTP/2 is not offered (RFC 7301) */
    const fl_ticket_keys *ticket_keys; /* shared with other processes; NULL: this handle's own */
} fl_tls_options;

/* A place where connections come from, and how they are treated. */
typedef struct fl_listener {
    const char *address; /* as for fl_settings_listen; NULL: the descriptor is meant */
    int descriptor;      /* a listening socket, which is duplicated */
    const char *kind;    /* "http" or "https": requests look as behind a router; "http-socket" or "https-socket": as they come;
                          * "http-to-https": each is sent to https_port; "socket": the uwsgi protocol. NULL: "http-socket" */
    const fl_tls *tls;   /* NULL: none begins here */
    int proxy_protocol;  /* 1: connections begin with a header of the PROXY protocol */
    int https_port;      /* 0: 443 */
} fl_listener;

/* Since the engine's start; messages and bytes are those of WebSockets that have ended. */
typedef struct fl_statistics {
    uint64_t accepted;        /* connections */
    uint64_t requests;        /* that the program got or will get */
    uint64_t refused;         /* that broke a rule */
    uint64_t running;         /* that hold a slot now */
    uint64_t turns;           /* of the loop */
    uint64_t takeovers;       /* of the loop, by the engine's own thread */
    uint64_t sessions_joined; /* WebSockets */
    uint64_t sessions_left;   /* with a close handshake */
    uint64_t sessions_lost;   /* without one */
    uint64_t sessions_failed; /* whose peers broke a rule or a limit */
    uint64_t messages_in;
    uint64_t messages_out;
    uint64_t bytes_in; /* with frame headers */
    uint64_t bytes_out;
} fl_statistics;

/* In place of a number of lost messages: it cannot be told, because they were counted from an offset of another run. */
#define FL_MISSED_UNKNOWN 18446744073709551615ULL

/* A message of a channel. */
typedef struct fl_published {
    uint64_t offset; /* its number in the channel */
    int kind;        /* enum fl_message_kind */
    const char *data;
    size_t size;
} fl_published;

/* How a membership has begun. */
typedef struct fl_joined {
    uint64_t offset;   /* the first message that it gets has a larger one */
    uint64_t replayed; /* messages after `since` that it gets first */
    uint64_t missed;   /* lost between `since` and the first, or FL_MISSED_UNKNOWN */
} fl_joined;

typedef struct fl_history_facts {
    size_t messages;
    uint64_t offset; /* the channel's newest, in the history or behind it; 0 for a channel that does not exist */
    uint64_t missed; /* lost between `since` and the first, or FL_MISSED_UNKNOWN */
    int is_all;      /* 1: nothing that was asked for lies behind it */
} fl_history_facts;

typedef struct fl_channel_facts {
    fl_bytes name;     /* with a NUL behind it, lives as long as the list */
    uint64_t members;  /* of all processes */
    uint64_t messages; /* that were published */
    uint64_t bytes;    /* their payloads */
    uint64_t offset;   /* the newest */
} fl_channel_facts;

typedef struct fl_subscription_facts {
    size_t queued;   /* messages that wait */
    uint64_t missed; /* that it did not get: it was full, or they were overwritten */
    int is_closed;
} fl_subscription_facts;

/* ---- The library ------------------------------------------------------------------------------------------------ */

/* FL_ABI_VERSION of the library; another than the header's means that the two do not fit. */
int fl_abi_version(void);

/* What the calling thread's last negative status meant; "" before the first, never NULL. Good until the thread's next. */
const char *fl_last_error(void);

/* ---- The settings ----------------------------------------------------------------------------------------------- */

/* All settings at their defaults, and nothing to listen on. */
int fl_settings_new(fl_settings **settings);

/* One more address: ":8080", "127.0.0.1:0", "[::1]:80", "/path" or "@abstract". It is bound by fl_engine_start. */
int fl_settings_listen(fl_settings *settings, const char *address);

/* One more listening socket. It is duplicated: close your own, and free the settings, or a drain leaves it open. */
int fl_settings_inherit(fl_settings *settings, int descriptor);

/* One more listener, of any kind. */
int fl_settings_add_listener(fl_settings *settings, const fl_listener *listener);

/* Rules that each request passes before the program sees it: pairs of an option of Fairlead's command line ("route",
 * "route-host", "route-label" ...) and its value; `worker` is the number that they know. In place of those before. */
int fl_settings_routes(fl_settings *settings, const fl_header *rules, size_t count, uint32_t worker);

/* Files that are served without the program: pairs of a path's prefix and a folder (or a path and a file), the names of files
 * that stand for a folder, pairs of a name's ending (".css") and a media type. In place of those before. */
int fl_settings_static_files(fl_settings *settings, const fl_header *maps, size_t map_count, const char *const *index,
                             size_t index_count, const fl_header *types, size_t type_count);

/* Processes on the same listeners tell each other how many connections they have, so that these spread evenly: a file of zeros
 * with 8 bytes for each (memfd_create(2) makes one), and this process's cell of it, from 0. The descriptor is duplicated. */
int fl_settings_scoreboard(fl_settings *settings, int descriptor, uint32_t cell);

/* The channels that sessions and subscriptions of the engine may join; NULL: none, as at first. They may be freed then. */
int fl_settings_channels(fl_settings *settings, const fl_channels *channels);

/* Where lines of the log are written, standard error unless told otherwise, and the least that is logged (enum fl_log_level,
 * FL_LOG_INFO). The descriptor is duplicated; -1: nowhere. A thread of the engine writes them, so one that nobody reads
 * holds up nobody: 4 MiB wait, further lines are lost and counted. */
int fl_settings_log(fl_settings *settings, int descriptor, int least_level);

/* A setting by its name, one of FL_SETTING_*: a count, bytes, milliseconds or a flag (0 or 1); a text; texts; names with
 * values. All is copied. FL_ERR_USAGE for a name that is no setting, and a value that it cannot have. */
int fl_settings_set_number(fl_settings *settings, const char *name, uint64_t value);
int fl_settings_set_text(fl_settings *settings, const char *name, const char *value);
int fl_settings_set_texts(fl_settings *settings, const char *name, const char *const *values, size_t count);
int fl_settings_set_pairs(fl_settings *settings, const char *name, const fl_header *pairs, size_t count);

/* Engines that were started with them go on. */
int fl_settings_free(fl_settings *settings);

/* The names of the settings, each with its kind, its default and its range.
 * Made by `make generate` from crates/engine/src/settings/table.rs. Change the text there. */

/* Text, "loop" by default. How requests reach the program: one thread polls a loop and runs all tasks, or each task
 * is a thread that asks for its next request and reads its own socket. The loop: it needs no thread for a client
 * that waits. */
#define FL_SETTING_DELIVERY "delivery"
#define FL_DELIVERY_LOOP "loop"
#define FL_DELIVERY_THREADS "threads"
/* Number, from 1 to 1000000, 1024 by default. Requests that run at once; a WebSocket is one. Without a free slot
 * nothing is accepted, and requests on connections that are open already wait. 1024: a task that waits costs a
 * program a few kilobytes, so this is a bound against running away, and no tuning. */
#define FL_SETTING_SLOTS "slots"
/* Texts. Pages whose origin is listed may open a WebSocket, besides those of the same origin: https://example.org,
 * *.example.org, or * for all. None: browsers send cookies with a handshake to any host, so a foreign page would
 * act as its visitor. */
#define FL_SETTING_WEBSOCKET_ORIGINS "websocket_origins"
/* Pairs. Headers that are added to every response, and to the 101 of a handshake. None: they are the operator's. */
#define FL_SETTING_RESPONSE_HEADERS "response_headers"
/* Number, from 1 to 4294967295. Frames that one message may have; more closes with 1008. Unset: 1024, and one more
 * for every 32 bytes of websocket_max_message. Fragments of at least 32 bytes always fit, while an endless message
 * of empty fragments, which no limit of bytes would catch, ends. */
#define FL_SETTING_WEBSOCKET_MAX_FRAGMENTS "websocket_max_fragments"
/* Milliseconds, from 1 to 999999999000, 20000 by default. The time that a client has for one request head in all,
 * from its first byte; the first head of a connection from the accept, the handshake of TLS included. After it:
 * 408, or a plain close when not a single byte came. 20 s: a head fits one packet, so that even a phone in a tunnel
 * needs a second, and a client that sends a byte a second (slow loris) holds its connection no longer than this. */
#define FL_SETTING_HTTP_HEAD_TIMEOUT "http_head_timeout"
/* Milliseconds, from 0 to 999999999000, 75000 by default. The time for which a connection may stay silent between
 * two requests; 0 closes it after each response. 75 s: longer than the 60 s for which proxies keep their side open,
 * so that the proxy closes first and no request is lost on a connection that just closed. */
#define FL_SETTING_HTTP_KEEP_ALIVE_TIMEOUT "http_keep_alive_timeout"
/* Milliseconds, from 1 to 999999999000, 60000 by default. The time for which a transfer may stand still: the client
 * takes no byte of a response that waits for it, or sends none of a body that the application has asked for. Time
 * in the application does not count. 60 s, uWSGI's --http-timeout. */
#define FL_SETTING_HTTP_STALL_TIMEOUT "http_stall_timeout"
/* Bytes, from 0 to 2147483647, 240 by default. Bytes a second with which a request's body has to come while the
 * application waits for it. Whoever falls http_stall_timeout behind, over all such waits, has stalled; 0: a byte
 * within that time is enough. A wait for a whole chunk counts from the chunk's first byte. 240, Kestrel's number:
 * GPRS carries ten times as much, and a client that sends a byte a minute holds its request for one minute, and not
 * for as many as it has bytes. */
#define FL_SETTING_HTTP_BODY_MINIMUM_RATE "http_body_minimum_rate"
/* Bytes, from 1 to 16777216, 32768 by default. Bytes of a request head: request line and headers. More is answered
 * with 431. 32 KiB: room for large cookies and tokens; nginx allows the same (4 buffers of 8 KiB). */
#define FL_SETTING_HTTP_HEAD_BYTES "http_head_bytes"
/* Number, from 1 to 10000, 100 by default. Header lines of a request. More is answered with 431. 100, the number
 * that hyper keeps without allocating; browsers send under 30. */
#define FL_SETTING_HTTP_HEADER_LINES "http_header_lines"
/* Bytes, from 0 to 18446744073709551616. Bytes of a request body. A longer Content-Length is answered with 413
 * before the application sees the request; a chunked body that grows beyond it fails while it is read. Unset, which
 * is no limit: applications differ too much. */
#define FL_SETTING_HTTP_MAX_BODY "http_max_body"
/* Bytes, from 1 to 2147483647, 262144 by default. Bytes of a request body that are kept for the application before
 * its client is read no further. 256 KiB: enough to cover a round trip of 20 ms at 100 Mbit/s. */
#define FL_SETTING_HTTP_BODY_BUFFER "http_body_buffer"
/* Bytes, from 1 to 2147483647, 262144 by default. Bytes of a response that wait for the client before its
 * application has to wait. HTTP's own buffers and the kernel's come on top. 256 KiB, as http_body_buffer. */
#define FL_SETTING_HTTP_RESPONSE_BUFFER "http_response_buffer"
/* Text. The Server header of responses that have none. Unset: no need to tell a stranger what runs here. */
#define FL_SETTING_HTTP_SERVER_HEADER "http_server_header"
/* Flag (0 or 1), 1 by default. Serve a connection that begins with HTTP/2's preface as HTTP/2 (RFC 9113 §3.3). On:
 * no client of HTTP/1.1 can mean anything else by those bytes. */
#define FL_SETTING_HTTP2 "http2"
/* Number, from 1 to 2147483647, 128 by default. Streams that an HTTP/2 connection may have open. A request that was
 * reset counts until the application has ended it, up to as many again. 128, nginx's number; RFC 9113 §6.5.2
 * recommends at least 100. */
#define FL_SETTING_HTTP2_MAX_STREAMS "http2_max_streams"
/* Bytes, from 1 to 2147483647, 65535 by default. Bytes that a client may send on one HTTP/2 stream before the
 * application, or its session, has taken any. The window of the connection is this for every stream, so that one
 * that is not read holds up no other; 8 MiB at most lie here for one connection. RFC 9113's 64 KiB, as nginx and
 * Node have it. */
#define FL_SETTING_HTTP2_WINDOW "http2_window"
/* Number, from 1 to 16383, 256 by default. Variables that a packet of the uwsgi protocol may have. More closes the
 * connection. Its size counts as that of a head. 256: the 100 header lines that HTTP may have, each of which nginx
 * passes on, the 16 of its uwsgi_params, and as many again of the operator's own; uWSGI's 64 are exceeded by
 * browsers with many client hints. */
#define FL_SETTING_UWSGI_MAX_VARIABLES "uwsgi_max_variables"
/* Texts. Whose Forwarded and X-Forwarded-* headers are trusted: an address, a network such as 10.0.0.0/8, unix for
 * whoever connects to a UNIX socket, * for everybody. Nobody's: whoever connects can write them. */
#define FL_SETTING_TRUSTED_PROXIES "trusted_proxies"
/* Milliseconds, from 1 to 999999999000, 60000 by default. The time that another server, to which a route or
 * proxy_servers leads, has to accept a connection. 60 s, as http_stall_timeout. */
#define FL_SETTING_PROXY_CONNECT_TIMEOUT "proxy_connect_timeout"
/* Milliseconds, from 0 to 999999999000, 0 by default. The time for which a proxied WebSocket may be silent in both
 * directions; 0: for ever. 0: its ends have pings for that. */
#define FL_SETTING_PROXY_IDLE_TIMEOUT "proxy_idle_timeout"
/* Number, from 0 to 1000000. Requests that may wait for a slot; further ones get 503 with Retry-After. With a
 * number connections are accepted although all slots are taken; 0: nobody waits. Unset: 1024 where routes, files or
 * other servers answer some requests, for then connections are accepted whatever the slots do; elsewhere what comes
 * waits in the kernel's queue, where another process can take it. */
#define FL_SETTING_REQUEST_QUEUE_SIZE "request_queue_size"
/* Milliseconds, from 1 to 999999999000. The time for which a request may wait for a slot; then it gets 503 with
 * Retry-After. With a time connections are accepted although all slots are taken. Unset: a request waits for as
 * long as its client does, for a burst that ends within seconds is answered. */
#define FL_SETTING_REQUEST_QUEUE_TIMEOUT "request_queue_timeout"
/* Flag (0 or 1), 0 by default. Tell the program of each request that is answered without it, for its log. Off: not
 * every program keeps a log of requests. */
#define FL_SETTING_LOG_ANSWERED "log_answered"
/* Milliseconds, from 0 to 999999999000, 5000 by default. The time for which an engine that is dropped lets requests
 * in flight finish; a stop has a deadline of its own. 5 s: who drops an engine waits for this. */
#define FL_SETTING_SHUTDOWN_GRACE "shutdown_grace"
/* Texts. Servers that get what comes to the listeners of the router instead of the application, in turn, by the
 * uwsgi protocol: host:port, [ipv6]:port, a path, or @name. None: the application is here. */
#define FL_SETTING_PROXY_SERVERS "proxy_servers"
/* Number, from 0 to 255, 0 by default. The modifier1 of the packets for proxy_servers. 0: WSGI. */
#define FL_SETTING_PROXY_MODIFIER1 "proxy_modifier1"
/* Number, from 0 to 255, 0 by default. The modifier2 of the packets for proxy_servers. 0: none. */
#define FL_SETTING_PROXY_MODIFIER2 "proxy_modifier2"
/* Milliseconds, from 0 to 999999999000, 30000 by default. The time for which a server of proxy_servers that does
 * not accept is left out. 30 s, uWSGI's --http-gracetime: a restart takes less, and one request in thirty seconds
 * waits for a dead server. */
#define FL_SETTING_PROXY_RETRY_AFTER "proxy_retry_after"
/* Pairs. Variables that are added to each request that comes to the listeners of the router. None: they are the
 * operator's. */
#define FL_SETTING_ROUTER_VARIABLES "router_variables"
/* Bytes, from 1 to 2147483647, 1048576 by default. Bytes in one message of a WebSocket, all fragments together;
 * more closes with 1009. 1 MiB, uWSGI's default for a frame. It bounds what one peer can make this process hold. */
#define FL_SETTING_WEBSOCKET_MAX_MESSAGE "websocket_max_message"
/* Number, from 1 to 4294967295, 500 by default. Pings and pongs that a peer may send within
 * websocket_control_window while no data message is completed; more closes with 1008. 500 in ten seconds is far
 * above any keep-alive, and bounds the pongs that a peer can make us write. */
#define FL_SETTING_WEBSOCKET_MAX_CONTROL_FRAMES "websocket_max_control_frames"
/* Milliseconds, from 1 to 999999999000, 10000 by default. The window of websocket_max_control_frames. 10 s; see
 * there. */
#define FL_SETTING_WEBSOCKET_CONTROL_WINDOW "websocket_control_window"
/* Bytes, from 1 to 2147483647, 262144 by default. Bytes of complete, unread messages at which a session is read no
 * further. Every message counts eight bytes beside its payload, so that empty messages are not free. 256 KiB:
 * enough that a fast peer never waits for a working application, small enough that a thousand stuck ones fit into
 * memory. The peer then feels TCP's back-pressure. */
#define FL_SETTING_WEBSOCKET_INBOX_BYTES "websocket_inbox_bytes"
/* Milliseconds, from 0 to 999999999000, 30000 by default. The silence after which a ping goes out; 0: never. 30 s,
 * uWSGI's --websockets-ping-freq, and below the 60 s after which common proxies drop a silent connection. */
#define FL_SETTING_WEBSOCKET_PING_INTERVAL "websocket_ping_interval"
/* Milliseconds, from 0 to 999999999000, 3000 by default. The time that a peer has for any sign of life after a
 * ping, before it counts as gone. 3 s, uWSGI's --websockets-pong-tolerance. */
#define FL_SETTING_WEBSOCKET_PONG_TOLERANCE "websocket_pong_tolerance"
/* Milliseconds, from 0 to 999999999000. The time after the last sign of life, or our last ping or pong, after which
 * an unasked pong goes out, if that is before the next ping; 0: never. Unset: midway between two pings. It keeps
 * middleboxes awake without asking for an answer. */
#define FL_SETTING_WEBSOCKET_PONG_INTERVAL "websocket_pong_interval"
/* Milliseconds, from 0 to 999999999000, 0 by default. The time without a data message after which a session closes
 * with 1001; 0: never. 0: many applications only send. */
#define FL_SETTING_WEBSOCKET_IDLE_TIMEOUT "websocket_idle_timeout"
/* Milliseconds, from 0 to 999999999000, 5000 by default. The time for which a closing connection may linger for the
 * peer's Close and its end of TCP. 5 s: many round trips on a bad network, yet soon enough that a dead peer does
 * not hold a slot. */
#define FL_SETTING_WEBSOCKET_CLOSE_TIMEOUT "websocket_close_timeout"
/* Bytes, from 1 to 2147483647, 262144 by default. Bytes that wait for a peer at which a send has to wait, and the
 * peer is no longer read. The send goes on at half of them, so that a slow peer wakes the application seldom. 256
 * KiB: four times a usual socket buffer, so that a healthy peer never meets it. */
#define FL_SETTING_WEBSOCKET_OUTBOX_BYTES "websocket_outbox_bytes"
/* Milliseconds, from 1 to 999999999000, 60000 by default. The time after which a peer that takes nothing of what
 * waits for it is dropped. 60 s, as http_stall_timeout: without it, a reader that stopped would hold its memory for
 * ever. */
#define FL_SETTING_WEBSOCKET_STALL_TIMEOUT "websocket_stall_timeout"
/* Milliseconds, from 1 to 999999999000, 2 by default. The time without a turn after which the loop thread takes
 * over, and after which it reads for a thread that is away. 2 ms: twice that stays below the promised 5 ms; 500
 * checks a second cost 0.2 % of a core. */
#define FL_SETTING_LOOP_TAKEOVER_AFTER "loop_takeover_after"
/* Milliseconds, from 1 to 999999999000, 1000 by default. The time for which the application's thread may stay away
 * from the loop before the program is told. 1 s: long beyond a slow request of a busy worker, and soon enough for
 * somebody who wonders why nothing answers. */
#define FL_SETTING_LOOP_STALL_AFTER "loop_stall_after"
/* Bytes, from 1 to 2147483647, 1048576 by default. Bytes that wait for a member of a channel at which it is a slow
 * consumer. 1 MiB: some seconds of a busy channel on a usual line. */
#define FL_SETTING_CHANNEL_BACKLOG "channel_backlog"
/* Text, "close" by default. What becomes of a slow consumer that did not say: closed with 1013, or messages are
 * dropped for it. Closed: its client sees that something is missing, and can come again for it. */
#define FL_SETTING_CHANNEL_SLOW_CONSUMER "channel_slow_consumer"
#define FL_CHANNEL_SLOW_CONSUMER_CLOSE "close"
#define FL_CHANNEL_SLOW_CONSUMER_DROP_NEWEST "drop-newest"
#define FL_CHANNEL_SLOW_CONSUMER_DROP_OLDEST "drop-oldest"
/* Milliseconds, from 0 to 999999999000, 25000 by default. The time between two heartbeats, by which a client that
 * joined with offsets knows that its connection is alive: a page sees no pings. Behind two and a half without a
 * frame it connects again. 0: there is none. 25 s, as Socket.IO has it: a dead path is noticed after a minute, and
 * a phone's radio is woken seldom. */
#define FL_SETTING_CHANNEL_HEARTBEAT "channel_heartbeat"

/* Until here. */

/* ---- TLS --------------------------------------------------------------------------------------------------------- */

/* Reads and checks certificates and keys: FL_ERR_USAGE with a sentence that names the file. All is copied; *tls is the
 * program's, NULL after an error. Listeners keep what a freed handle stands for. */
int fl_tls_new(const fl_tls_options *options, fl_tls **tls);
const char *fl_tls_warning(const fl_tls *tls, size_t index); /* for the operator; NULL beyond the last */

/* New connections to listeners with `tls` are greeted as `other` would from now on: for certificates that were renewed. */
int fl_tls_renew(const fl_tls *tls, const fl_tls *other);
int fl_tls_free(fl_tls *tls);

/* Keys for session tickets (RFC 5077), 32 secret bytes each, one behind the other: the first seals, all open. */
int fl_ticket_keys_new(const char *keys, size_t size, uint32_t lifetime_s, fl_ticket_keys **ticket_keys);
int fl_ticket_keys_renew(const fl_ticket_keys *ticket_keys, const char *keys, size_t size);
int fl_ticket_keys_free(fl_ticket_keys *ticket_keys);

/* ---- The engine ------------------------------------------------------------------------------------------------- */

/* Accepts connections from now on. *engine is NULL after an error. The engine's two threads take no signals. The settings
 * are not needed afterwards, and may serve for another engine. */
int fl_engine_start(const fl_settings *settings, fl_engine **engine);

/* LOOP. One turn: waits at most timeout_ms (negative: no limit) until something happens, answers the number of events
 * written, at most capacity. 0 may come before the time-out (a wake-up, a signal, the engine's own affairs): loop. What did
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
int fl_engine_wake(fl_engine *engine);

/* LOOP. FL_EVENT_DEADLINE with token comes after after_ms. Cannot be taken back: ignore what is no longer awaited. */
int fl_engine_wake_at(fl_engine *engine, uint64_t after_ms, uint64_t token);

/* No new connections; a Close with code and reason (NULL: none) on every WebSocket (RFC 6455 7.1.2). Requests in flight
 * go on. Call it again while fl_engine_busy finds some: one that is just being accepted may miss its Close. */
int fl_engine_drain(fl_engine *engine, int code, const char *reason);

/* The same, with the Closes evenly spread over spread_ms: clients that come back do not come in one wave. */
int fl_engine_drain_over(fl_engine *engine, int code, const char *reason, uint64_t spread_ms);

/* 1 once a drain is complete: no request runs or can come, no connection is closing; else 0. */
int fl_engine_is_quiet(const fl_engine *engine);

int fl_engine_statistics(const fl_engine *engine, fl_statistics *statistics);

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
fl_bytes fl_request_target(const fl_request *request); /* as it was sent, without scheme and host */
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

/* The task with token no longer waits, neither for a message nor for room. */
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

/* ---- Channels: messages to all members in all processes --------------------------------------------------------- */

/* New ones of `size` bytes, for this process and those that inherit the descriptor; those in a file, made if there is none,
 * which all share that name it; those behind an inherited descriptor, which is duplicated. A message has at most `longest`
 * bytes. *channels is the program's; NULL after an error. */
int fl_channels_in_memory(size_t size, size_t longest, fl_channels **channels);
int fl_channels_in_file(const char *path, size_t size, size_t longest, fl_channels **channels);
int fl_channels_inherit(int descriptor, size_t longest, fl_channels **channels);
int fl_channels_fileno(const fl_channels *channels);
int fl_channels_free(fl_channels *channels);

/* Publishes a message of a kind (enum fl_message_kind); needs no engine. *offset, unless NULL, is its number in the channel.
 * Waits for others that publish, at most timeout_ms (negative: five seconds): FL_TIMEOUT then, fl_last_error() says who it is,
 * and nothing was published. */
int fl_channels_publish(const fl_channels *channels, const char *name, int kind, const char *data, size_t size,
                        int timeout_ms, uint64_t *offset);

/* Members in all processes; 0 for a channel that does not exist. */
int fl_channels_members(const fl_channels *channels, const char *name, uint64_t *members);

/* What was published, oldest first: the first after the offset *since, or without one (NULL) the newest; at most `messages` of
 * them and about `bytes` of payload, where 0 is no limit. *history is the program's; messages live as long. */
int fl_channels_history(const fl_channels *channels, const char *name, const uint64_t *since, size_t messages,
                        size_t bytes, fl_history **history);
int fl_history_about(const fl_history *history, fl_history_facts *facts);
int fl_history_message(const fl_history *history, size_t index, fl_published *message); /* FL_OK or FL_END */
int fl_history_free(fl_history *history);

/* All channels, as they are now. */
int fl_channels_list(const fl_channels *channels, fl_channel_list **list);
int fl_channel_list_item(const fl_channel_list *list, size_t index, fl_channel_facts *channel); /* FL_OK or FL_END */
int fl_channel_list_free(fl_channel_list *list);

/* The session's client gets what is published from now on, and before that what was after the offset *since (NULL: nothing);
 * with_offsets 1: with its offset in front, as the page's channels.js reads it. A member that joins again goes on as the new
 * call says. FL_CLOSED. The other way: FL_OK, or FL_END if it was no member. The client's end is an end of all of it. */
int fl_session_join(fl_session *session, const char *name, const uint64_t *since, int with_offsets,
                    int slow_consumer, fl_joined *joined);
int fl_session_leave(fl_session *session, const char *name);

/* Messages of its channels that the client did not get, since it was slow. */
int fl_session_missed(const fl_session *session, uint64_t *messages);

/* A membership that the program reads itself; at most `capacity` messages wait. *subscription is the program's. */
int fl_engine_subscribe(fl_engine *engine, const char *name, const uint64_t *since, size_t capacity, int slow_consumer,
                        fl_joined *joined, fl_subscription **subscription);

/* Takes the next message, whose bytes are good until the next receive: FL_OK, FL_PENDING, FL_CLOSED when it was closed and all
 * was taken. One thread at a time. LOOP: after FL_PENDING token is woken. THREADS: blocks, FL_TIMEOUT. */
int fl_subscription_receive_nowait(fl_subscription *subscription, fl_published *message);
int fl_subscription_receive_or_wake(fl_subscription *subscription, uint64_t token, fl_published *message);
int fl_subscription_receive(fl_subscription *subscription, int timeout_ms, fl_published *message);
int fl_subscription_forget(fl_subscription *subscription, uint64_t token);

int fl_subscription_about(const fl_subscription *subscription, fl_subscription_facts *facts);

/* Ends the membership; what has come can still be taken, and whoever waits is woken. Free it before the engine. */
int fl_subscription_close(fl_subscription *subscription);
int fl_subscription_free(fl_subscription *subscription);

/* ---- A worker: a program that the command `fairlead` starts, stops and reloads. In this order: join, loading, start, ready,
 * requests, leave. TLS, routes and static files are refused in a sentence so far. */

/* Takes up what the master left in the environment. FL_END if no master started this program. Once, before there are
 * threads. */
int fl_worker_join(fl_worker **worker);

/* An option of the command line by its name, with _ for -. *value is NULL if it is not given, and lives as long as the worker. */
int fl_worker_text(const fl_worker *worker, const char *name, const char **value);

/* A number or a flag (0, 1) of the command line, or "worker_id", "master_pid", "generation". FL_END if there is none. */
int fl_worker_number(const fl_worker *worker, const char *name, uint64_t *value);

int fl_worker_loading(fl_worker *worker);

/* One sentence why this worker cannot serve. Exit with 2 then. */
int fl_worker_failed(fl_worker *worker, const char *message);

/* The engine with all that the master gives. delivery is "loop" or "threads". Once. */
int fl_worker_start(fl_worker *worker, const char *delivery, fl_engine **engine);

/* From now on the master is obeyed. After a stop, when all is quiet, fl_engine_wait_request answers FL_END, and a poll
 * returns with fl_worker_has_ended at 1. At the stop's deadline the process ends. Once. */
int fl_worker_ready(fl_worker *worker);

int fl_worker_has_ended(const fl_worker *worker);

/* Ends the engine within half a second and frees the worker. Exit with 0 then. */
int fl_worker_leave(fl_worker *worker);

#ifdef __cplusplus
}
#endif

#endif
