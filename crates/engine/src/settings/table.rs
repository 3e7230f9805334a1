//! The one table of settings: name, kind, default, range and reason of each stand here and nowhere else.
//!
//! A row reads `name: kind => field = default, range;`, under a comment that says what the setting means and, behind an
//! empty line, why its default is what it is. Each group names the struct that it fills, in the crate that uses the values;
//! a field without a row, and a row without a field, do not compile. The default passes the same check as what a program
//! sets. Ranges of times are in milliseconds. The options of the Python package, the types of its extension, the C header
//! and the reference page take all this from here (`make generate`), so a new setting is a row here and the code that uses
//! its field.
//!
//! The file stays whole however long it grows: it is read as a table.

use std::sync::Arc;

use fairlead_front::FrontSettings;
use fairlead_websocket::{Limits, Timing};
use fairlead_worker::LoopLimits;

use super::convert::{put, start};
use super::model::{AppSettings, ChannelLimits, ProxySettings};
use super::setting::{Kind, Setting, Value};

use Kind::{Bytes, Choice, Count, Duration, Flag, Pairs, Text, Texts};
use Value::{Number, Unset};

/// For kinds that have no range.
const NO_RANGE: (u64, u64) = (0, u64::MAX);
/// The longest time, in milliseconds: 31 years, nine digits of seconds, which every clock can add.
const LONGEST: u64 = 999_999_999_000;
/// Any time, none included.
const TIME: (u64, u64) = (0, LONGEST);
/// A time that must pass before something ends: with 0 nobody would be served.
const PATIENCE: (u64, u64) = (1, LONGEST);
/// The most bytes that a signed 32-bit number counts: 2 GiB.
const SIZE: (u64, u64) = (1, i32::MAX as u64);

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

macro_rules! table {
    ($(
        $group:ident: $filled:ident, |$all:ident| $place:expr => {
            $(
                $(#[doc = $about:literal])+
                $name:ident: $kind:expr => $field:ident = $default:expr $(, $range:expr)?;
            )+
            $(beside $($other:ident: $initial:expr),+;)?
        }
    )+) => {
        /// All rows, in the order of their groups.
        pub(super) static TABLE: &[Setting] = &[$($(
            Setting {
                name: stringify!($name),
                kind: $kind,
                default: $default,
                range: table!(@range $($range)?),
                comment: concat!($($about, "\n"),+),
                put: |$all, value| put(&mut $place.$field, value),
            },
        )+)+];

        $(
            /// The group's struct, with the defaults.
            pub(super) fn $group() -> $filled {
                $filled {
                    $($field: start(stringify!($name), $default),)+
                    $($($other: $initial,)+)?
                }
            }
        )+
    };
    (@range) => { NO_RANGE };
    (@range $range:expr) => { $range };
}

table! {
    app: AppSettings, |all| all.app => {
        /// How requests reach the program: one thread polls a loop and runs all tasks, or each task is a thread that asks
        /// for its next request and reads its own socket.
        ///
        /// The loop: it needs no thread for a client that waits.
        delivery: Choice(&["loop", "threads"]) => delivery = Value::word("loop");

        /// Requests that run at once; a WebSocket is one. Without a free slot nothing is accepted, and requests on
        /// connections that are open already wait.
        ///
        /// 1024: a task that waits costs a program a few kilobytes, so this is a bound against running away, and no tuning.
        slots: Count => slots = Number(1024), (1, 1_000_000);

        /// Pages whose origin is listed may open a WebSocket, besides those of the same origin: `https://example.org`,
        /// `*.example.org`, or `*` for all.
        ///
        /// None: browsers send cookies with a handshake to any host, so a foreign page would act as its visitor.
        websocket_origins: Texts => origin = Value::Texts(Vec::new());

        /// Headers that are added to every response, and to the 101 of a handshake.
        ///
        /// None: they are the operator's.
        response_headers: Pairs => extra_headers = Value::Pairs(Vec::new());

        /// Frames that one message may have; more closes with 1008.
        ///
        /// Unset: 1024, and one more for every 32 bytes of `websocket_max_message`. Fragments of at least 32 bytes always
        /// fit, while an endless message of empty fragments, which no limit of bytes would catch, ends.
        websocket_max_fragments: Count => max_fragments = Unset, (1, u32::MAX as u64);
    }

    http: FrontSettings, |all| all.front => {
        /// The time that a client has for one request head in all, from its first byte; the first head of a connection from
        /// the accept, the handshake of TLS included. After it: 408, or a plain close when not a single byte came.
        ///
        /// 20 s: a head fits one packet, so that even a phone in a tunnel needs a second, and a client that sends a byte a
        /// second (slow loris) holds its connection no longer than this.
        http_head_timeout: Duration => header_timeout = Value::seconds(20), PATIENCE;

        /// The time for which a connection may stay silent between two requests; 0 closes it after each response.
        ///
        /// 75 s: longer than the 60 s for which proxies keep their side open, so that the proxy closes first and no request
        /// is lost on a connection that just closed.
        http_keep_alive_timeout: Duration => keep_alive_timeout = Value::seconds(75), TIME;

        /// The time for which a transfer may stand still: the client takes no byte of a response that waits for it, or sends
        /// none of a body that the application has asked for. Time in the application does not count.
        ///
        /// 60 s, uWSGI's `--http-timeout`.
        http_stall_timeout: Duration => stall_timeout = Value::seconds(60), PATIENCE;

        /// Bytes a second with which a request's body has to come while the application waits for it. Whoever falls
        /// `http_stall_timeout` behind, over all such waits, has stalled; 0: a byte within that time is enough. A wait for a
        /// whole chunk counts from the chunk's first byte.
        ///
        /// 240, Kestrel's number: GPRS carries ten times as much, and a client that sends a byte a minute holds its request
        /// for one minute, and not for as many as it has bytes.
        http_body_minimum_rate: Bytes => body_minimum_rate = Number(240), (0, i32::MAX as u64);

        /// Bytes of a request head: request line and headers. More is answered with 431.
        ///
        /// 32 KiB: room for large cookies and tokens; nginx allows the same (4 buffers of 8 KiB).
        http_head_bytes: Bytes => max_header_bytes = Number(32 * KIB), (1, 16 * MIB);

        /// Header lines of a request. More is answered with 431.
        ///
        /// 100, the number that hyper keeps without allocating; browsers send under 30.
        http_header_lines: Count => max_headers = Number(100), (1, 10_000);

        /// Bytes of a request body. A longer `Content-Length` is answered with 413 before the application sees the request;
        /// a chunked body that grows beyond it fails while it is read.
        ///
        /// Unset, which is no limit: applications differ too much.
        http_max_body: Bytes => max_body = Unset, NO_RANGE;

        /// Bytes of a request body that are kept for the application before its client is read no further.
        ///
        /// 256 KiB: enough to cover a round trip of 20 ms at 100 Mbit/s.
        http_body_buffer: Bytes => body_high_water = Number(256 * KIB), SIZE;

        /// Bytes of a response that wait for the client before its application has to wait. HTTP's own buffers and the
        /// kernel's come on top.
        ///
        /// 256 KiB, as `http_body_buffer`.
        http_response_buffer: Bytes => response_high_water = Number(256 * KIB), SIZE;

        /// The `Server` header of responses that have none.
        ///
        /// Unset: no need to tell a stranger what runs here.
        http_server_header: Text => server_header = Unset;

        /// Serve a connection that begins with HTTP/2's preface as HTTP/2 (RFC 9113 §3.3).
        ///
        /// On: no client of HTTP/1.1 can mean anything else by those bytes.
        http2: Flag => http2 = Value::Flag(true);

        /// Streams that an HTTP/2 connection may have open. A request that was reset counts until the application has ended
        /// it, up to as many again.
        ///
        /// 128, nginx's number; RFC 9113 §6.5.2 recommends at least 100.
        http2_max_streams: Count => http2_max_streams = Number(128), (1, i32::MAX as u64);

        /// Bytes that a client may send on one HTTP/2 stream before the application, or its session, has taken any. The
        /// window of the connection is this for every stream, so that one that is not read holds up no other; 8 MiB at most
        /// lie here for one connection.
        ///
        /// RFC 9113's 64 KiB, as nginx and Node have it.
        http2_window: Bytes => http2_window = Number(65_535), SIZE;

        /// Variables that a packet of the uwsgi protocol may have. More closes the connection. Its size counts as that of a
        /// head.
        ///
        /// 256: the 100 header lines that HTTP may have, each of which nginx passes on, the 16 of its `uwsgi_params`, and as
        /// many again of the operator's own; uWSGI's 64 are exceeded by browsers with many client hints.
        uwsgi_max_variables: Count => max_variables = Number(256), (1, 16_383);

        /// Whose `Forwarded` and `X-Forwarded-*` headers are trusted: an address, a network such as `10.0.0.0/8`, `unix`
        /// for whoever connects to a UNIX socket, `*` for everybody.
        ///
        /// Nobody's: whoever connects can write them.
        trusted_proxies: Texts => trusted_proxies = Value::Texts(Vec::new());

        /// The time that another server, to which a route or `proxy_servers` leads, has to accept a connection.
        ///
        /// 60 s, as `http_stall_timeout`.
        proxy_connect_timeout: Duration => connect_timeout = Value::seconds(60), PATIENCE;

        /// The time for which a proxied WebSocket may be silent in both directions; 0: for ever.
        ///
        /// 0: its ends have pings for that.
        proxy_idle_timeout: Duration => tunnel_timeout = Value::seconds(0), TIME;

        /// Requests that may wait for a slot; further ones get 503 with `Retry-After`. With a number connections are
        /// accepted although all slots are taken; 0: nobody waits.
        ///
        /// Unset: 1024 where routes, files or other servers answer some requests, for then connections are accepted
        /// whatever the slots do; elsewhere what comes waits in the kernel's queue, where another process can take it.
        request_queue_size: Count => queue_limit = Unset, (0, 1_000_000);

        /// The time for which a request may wait for a slot; then it gets 503 with `Retry-After`. With a time connections
        /// are accepted although all slots are taken.
        ///
        /// Unset: a request waits for as long as its client does, for a burst that ends within seconds is answered.
        request_queue_timeout: Duration => queue_timeout = Unset, PATIENCE;

        /// Tell the program of each request that is answered without it, for its log.
        ///
        /// Off: not every program keeps a log of requests.
        log_answered: Flag => request_lines = Value::Flag(false);

        /// The time for which an engine that is dropped lets requests in flight finish; a stop has a deadline of its own.
        ///
        /// 5 s: who drops an engine waits for this.
        shutdown_grace: Duration => shutdown_grace = Value::seconds(5), TIME;

        beside scoreboard: None, routes: Arc::default(), router: Arc::default(), static_files: Arc::default(),
            close_timeout: std::time::Duration::ZERO;
    }

    proxy: ProxySettings, |all| all.proxy => {
        /// Servers that get what comes to the listeners of the router instead of the application, in turn, by the uwsgi
        /// protocol: `host:port`, `[ipv6]:port`, a path, or `@name`.
        ///
        /// None: the application is here.
        proxy_servers: Texts => servers = Value::Texts(Vec::new());

        /// The modifier1 of the packets for `proxy_servers`.
        ///
        /// 0: WSGI.
        proxy_modifier1: Count => modifier1 = Number(0), (0, 255);

        /// The modifier2 of the packets for `proxy_servers`.
        ///
        /// 0: none.
        proxy_modifier2: Count => modifier2 = Number(0), (0, 255);

        /// The time for which a server of `proxy_servers` that does not accept is left out.
        ///
        /// 30 s, uWSGI's `--http-gracetime`: a restart takes less, and one request in thirty seconds waits for a dead server.
        proxy_retry_after: Duration => retry_after = Value::seconds(30), TIME;

        /// Variables that are added to each request that comes to the listeners of the router.
        ///
        /// None: they are the operator's.
        router_variables: Pairs => variables = Value::Pairs(Vec::new());
    }

    limits: Limits, |all| all.session.limits => {
        /// Bytes in one message of a WebSocket, all fragments together; more closes with 1009.
        ///
        /// 1 MiB, uWSGI's default for a frame. It bounds what one peer can make this process hold.
        websocket_max_message: Bytes => max_message = Number(MIB), SIZE;

        /// Pings and pongs that a peer may send within `websocket_control_window` while no data message is completed; more
        /// closes with 1008.
        ///
        /// 500 in ten seconds is far above any keep-alive, and bounds the pongs that a peer can make us write.
        websocket_max_control_frames: Count => max_control_frames_without_progress = Number(500), (1, u32::MAX as u64);

        /// The window of `websocket_max_control_frames`.
        ///
        /// 10 s; see there.
        websocket_control_window: Duration => control_window = Value::seconds(10), PATIENCE;

        /// Bytes of complete, unread messages at which a session is read no further. Every message counts eight bytes beside
        /// its payload, so that empty messages are not free.
        ///
        /// 256 KiB: enough that a fast peer never waits for a working application, small enough that a thousand stuck ones
        /// fit into memory. The peer then feels TCP's back-pressure.
        websocket_inbox_bytes: Bytes => inbox_mark = Number(256 * KIB), SIZE;

        // Follows the largest message when the engine starts.
        beside max_fragments: 0;
    }

    timing: Timing, |all| all.session.timing => {
        /// The silence after which a ping goes out; 0: never.
        ///
        /// 30 s, uWSGI's `--websockets-ping-freq`, and below the 60 s after which common proxies drop a silent connection.
        websocket_ping_interval: Duration => ping_every = Value::seconds(30), TIME;

        /// The time that a peer has for any sign of life after a ping, before it counts as gone.
        ///
        /// 3 s, uWSGI's `--websockets-pong-tolerance`.
        websocket_pong_tolerance: Duration => pong_tolerance = Value::seconds(3), TIME;

        /// The time after the last sign of life, or our last ping or pong, after which an unasked pong goes out, if that is
        /// before the next ping; 0: never.
        ///
        /// Unset: midway between two pings. It keeps middleboxes awake without asking for an answer.
        websocket_pong_interval: Duration => pong_every = Unset, TIME;

        /// The time without a data message after which a session closes with 1001; 0: never.
        ///
        /// 0: many applications only send.
        websocket_idle_timeout: Duration => idle_timeout = Value::seconds(0), TIME;

        /// The time for which a closing connection may linger for the peer's Close and its end of TCP.
        ///
        /// 5 s: many round trips on a bad network, yet soon enough that a dead peer does not hold a slot.
        websocket_close_timeout: Duration => close_timeout = Value::seconds(5), TIME;
    }

    event_loop: LoopLimits, |all| all.event_loop => {
        /// Bytes that wait for a peer at which a `send` has to wait, and the peer is no longer read. The `send` goes on at
        /// half of them, so that a slow peer wakes the application seldom.
        ///
        /// 256 KiB: four times a usual socket buffer, so that a healthy peer never meets it.
        websocket_outbox_bytes: Bytes => outbox_high = Number(256 * KIB), SIZE;

        /// The time after which a peer that takes nothing of what waits for it is dropped.
        ///
        /// 60 s, as `http_stall_timeout`: without it, a reader that stopped would hold its memory for ever.
        websocket_stall_timeout: Duration => stall_timeout = Value::seconds(60), PATIENCE;

        /// The time without a turn after which the loop thread takes over, and after which it reads for a thread that is
        /// away.
        ///
        /// 2 ms: twice that stays below the promised 5 ms; 500 checks a second cost 0.2 % of a core.
        loop_takeover_after: Duration => takeover_after = Value::millis(2), PATIENCE;

        /// The time for which the application's thread may stay away from the loop before the program is told.
        ///
        /// 1 s: long beyond a slow request of a busy worker, and soon enough for somebody who wonders why nothing answers.
        loop_stall_after: Duration => stall_after = Value::seconds(1), PATIENCE;
    }

    channels: ChannelLimits, |all| all.channel_limits => {
        /// Bytes that wait for a member of a channel at which it is a slow consumer.
        ///
        /// 1 MiB: some seconds of a busy channel on a usual line.
        channel_backlog: Bytes => backlog = Number(MIB), SIZE;

        /// What becomes of a slow consumer that did not say: closed with 1013, or messages are dropped for it.
        ///
        /// Closed: its client sees that something is missing, and can come again for it.
        channel_slow_consumer: Choice(&["close", "drop-newest", "drop-oldest"]) => slow_consumer = Value::word("close");

        /// The time between two heartbeats, by which a client that joined with offsets knows that its connection is alive:
        /// a page sees no pings. Behind two and a half without a frame it connects again. 0: there is none.
        ///
        /// 25 s, as Socket.IO has it: a dead path is noticed after a minute, and a phone's radio is woken seldom.
        channel_heartbeat: Duration => heartbeat = Value::seconds(25), TIME;
    }
}
