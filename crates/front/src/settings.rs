//! The settings of the front: each with its default and the reason for it.
//!
//! Nothing here parses text or reads the environment; whoever starts the front passes a finished value. A limit exists
//! for every thing that a stranger can make grow: the head, its number of lines, the waiting time, the buffered bytes.

use std::sync::Arc;
use std::time::Duration;

use fairlead_http::TrustedProxies;

use crate::routes::Routes;
use crate::scoreboard::Scoreboard;
use crate::static_files::StaticFiles;
use crate::upstream::Router;

/// What the front allows a client, and how long.
#[derive(Clone, Debug)]
pub struct FrontSettings {
    /// How long a client may take for one request head, counted from its first byte (from the accept for the first
    /// request of a connection). After it: 408, or a plain close when not a single byte came. Default 10 s: a head fits
    /// one packet, so even a phone in a tunnel needs a second, and a slow-loris attack holds a slot no longer than this.
    pub header_timeout: Duration,
    /// How long a connection may stay silent between two requests. Default 75 s: longer than the 60 s for which proxies
    /// keep their side open, so that the proxy closes first and no request is lost on a connection that just closed.
    pub keep_alive_timeout: Duration,
    /// How long a transfer may stand still: the client takes no byte of a response that is waiting for it, or sends no byte
    /// of a body that the application asked for. Default 60 s, uWSGI's `--http-timeout`. Time in the application does
    /// not count.
    pub stall_timeout: Duration,
    /// The size of a request head: request line and headers. More is answered with 431. Default 32 KiB: room for large
    /// cookies and tokens; nginx allows the same (4 buffers of 8 KiB).
    pub max_header_bytes: usize,
    /// The number of header lines. More is answered with 431. Default 100, the number that hyper keeps without allocating;
    /// browsers send under 30.
    pub max_headers: usize,
    /// The number of variables in a packet of the uwsgi protocol. More closes the connection. Default 256: the 100 header
    /// lines that HTTP may have, each of which nginx passes on, the 16 of its `uwsgi_params`, and as many again of the
    /// operator's own; uWSGI's 64 are exceeded by browsers with many client hints. The size counts as that of a head.
    pub max_variables: usize,
    /// Bytes of a request body that are kept for the application before the front stops reading from the client.
    /// Default 256 KiB: enough to cover a round trip of 20 ms at 100 Mbit/s.
    pub body_high_water: usize,
    /// Bytes of a response that wait for the client before [`Exchange::wait_writable`](crate::Exchange::wait_writable)
    /// says no. Default 256 KiB, for the same reason. hyper and the kernel buffer a further part on top.
    pub response_high_water: usize,
    /// The largest request body. A longer `Content-Length` is answered with 413 before the application sees the request; a
    /// chunked body that grows beyond it fails while it is read. Default `None`: applications differ too much.
    pub max_body: Option<u64>,
    /// The `Server` header of responses that have none. Default `None`: no need to tell a stranger what runs here.
    pub server_header: Option<String>,
    /// Serve a connection that begins with HTTP/2's preface as HTTP/2 (RFC 9113 §3.3). Default `true`: no HTTP/1.1 client can
    /// mean anything else by those bytes.
    pub http2: bool,
    /// Streams that an HTTP/2 connection may have open. Default 128, nginx's number; RFC 9113 §6.5.2 recommends at least 100.
    /// A request that was reset counts until the application has ended it, up to as many again.
    pub http2_max_streams: u32,
    /// Bytes that a client may send on one HTTP/2 stream before the application, or its session, has taken any: RFC 9113's
    /// default of 64 KiB, as nginx and Node have it. The window of the connection is this for every stream, so that one
    /// that is not read holds up no other; 8 MiB at most lie here for one connection.
    pub http2_window: u32,
    /// How long a dropped [`Front`](crate::Front) lets requests in flight finish. Default 5 s;
    /// [`Front::stop`](crate::Front::stop) takes its own deadline.
    pub shutdown_grace: Duration,
    /// What this process and others that share its listeners tell each other, so that connections spread evenly. Default
    /// `None`: a process alone takes every connection.
    pub scoreboard: Option<Scoreboard>,
    /// Rules that look at each request before the application gets it. Default: none.
    pub routes: Arc<Routes>,
    /// Servers that get what comes to the listeners of the router, instead of the application, and variables that are added
    /// to it. Default: none.
    pub router: Arc<Router>,
    /// Folders whose files are served without the application. Default: none.
    pub static_files: Arc<StaticFiles>,
    /// How long another server, to which a route or the router leads, may take to accept a connection. Default 60 s, as `stall_timeout`.
    pub connect_timeout: Duration,
    /// How long a relayed upgraded connection may be silent in both directions. Default `None`: its ends have pings for that.
    pub tunnel_timeout: Option<Duration>,
    /// Tell the handoff of each request that is answered without the application ([`Handoff::answered`]). Default `false`.
    ///
    /// [`Handoff::answered`]: crate::Handoff::answered
    pub request_lines: bool,
    /// Whose `Forwarded` and `X-Forwarded-*` headers are believed. Default: nobody's, because whoever connects can write
    /// them.
    pub trusted_proxies: TrustedProxies,
}

impl Default for FrontSettings {
    fn default() -> Self {
        FrontSettings {
            header_timeout: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(75),
            stall_timeout: Duration::from_secs(60),
            max_header_bytes: 32 * 1024,
            max_headers: 100,
            max_variables: 256,
            body_high_water: 256 * 1024,
            response_high_water: 256 * 1024,
            max_body: None,
            server_header: None,
            http2: true,
            http2_max_streams: 128,
            http2_window: 65_535,
            shutdown_grace: Duration::from_secs(5),
            scoreboard: None,
            routes: Arc::default(),
            router: Arc::default(),
            static_files: Arc::default(),
            connect_timeout: Duration::from_secs(60),
            tunnel_timeout: None,
            request_lines: false,
            trusted_proxies: TrustedProxies::default(),
        }
    }
}
