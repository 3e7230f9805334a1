//! The settings of the front: plain values, already checked.
//!
//! Nothing here parses text or reads the environment; whoever starts the front passes a finished value. A limit exists
//! for every thing that a stranger can make grow: the head, its number of lines, the waiting time, the buffered bytes. What
//! each number usually is, and why, stands in the engine's table of settings and not here: the `Default` of this struct is
//! zero throughout, and a front that runs on it serves nobody.

use std::sync::Arc;
use std::time::Duration;

use fairlead_http::TrustedProxies;

use crate::routes::Routes;
use crate::scoreboard::Scoreboard;
use crate::static_files::StaticFiles;
use crate::upstream::Router;

/// What the front allows a client, and how long.
#[derive(Clone, Debug, Default)]
pub struct FrontSettings {
    /// How long a client may take for one request head in all, counted from its first byte (from the accept for the first
    /// request of a connection). After it: 408, or a plain close when not a single byte came.
    pub header_timeout: Duration,
    /// How long a connection may stay silent between two requests.
    pub keep_alive_timeout: Duration,
    /// How long a transfer may stand still: the client takes no byte of a response that is waiting for it, or sends no byte
    /// of a body that the application asked for. Time in the application does not count.
    pub stall_timeout: Duration,
    /// Bytes a second that a body must come with while the application waits for it: who is `stall_timeout` behind is as
    /// late as who sends nothing for that long. 0: any.
    pub body_minimum_rate: u64,
    /// The size of a request head: request line and headers. More is answered with 431.
    pub max_header_bytes: usize,
    /// The number of header lines. More is answered with 431.
    pub max_headers: usize,
    /// The number of variables in a packet of the uwsgi protocol. More closes the connection. The size counts as that of a
    /// head.
    pub max_variables: usize,
    /// Bytes of a request body that are kept for the application before the front stops reading from the client.
    pub body_high_water: usize,
    /// Bytes of a response that wait for the client before [`Exchange::wait_writable`](crate::Exchange::wait_writable)
    /// says no. hyper and the kernel buffer a further part on top.
    pub response_high_water: usize,
    /// The largest request body. A longer `Content-Length` is answered with 413 before the application sees the request; a
    /// chunked body that grows beyond it fails while it is read. `None`: any.
    pub max_body: Option<u64>,
    /// The `Server` header of responses that have none.
    pub server_header: Option<String>,
    /// Serve a connection that begins with HTTP/2's preface as HTTP/2 (RFC 9113 §3.3).
    pub http2: bool,
    /// Streams that an HTTP/2 connection may have open. A request that was reset counts until the application has ended it,
    /// up to as many again.
    pub http2_max_streams: u32,
    /// Bytes that a client may send on one HTTP/2 stream before the application, or its session, has taken any. The window
    /// of the connection is this for every stream, so that one that is not read holds up no other; 8 MiB at most lie here
    /// for one connection.
    pub http2_window: u32,
    /// How long a dropped [`Front`](crate::Front) lets requests in flight finish; [`Front::stop`](crate::Front::stop) takes
    /// its own deadline.
    pub shutdown_grace: Duration,
    /// What this process and others that share its listeners tell each other, so that connections spread evenly. `None`: a
    /// process alone takes every connection.
    pub scoreboard: Option<Scoreboard>,
    /// Rules that look at each request before the application gets it.
    pub routes: Arc<Routes>,
    /// Servers that get what comes to the listeners of the router, instead of the application, and variables that are added
    /// to it.
    pub router: Arc<Router>,
    /// Folders whose files are served without the application.
    pub static_files: Arc<StaticFiles>,
    /// How long another server, to which a route or the router leads, may take to accept a connection.
    pub connect_timeout: Duration,
    /// How long a proxied upgraded connection may be silent in both directions; zero: for ever.
    pub tunnel_timeout: Duration,
    /// How long a WebSocket inside HTTP/2 is read on behind its end, for its client to end its side; two seconds at most.
    pub close_timeout: Duration,
    /// Tell the handoff of each request that is answered without the application ([`Handoff::answered`]).
    ///
    /// [`Handoff::answered`]: crate::Handoff::answered
    pub request_lines: bool,
    /// Requests that may wait for a slot; further ones get 503. `None`: as many as the pipeline says where connections
    /// are accepted although all slots are taken, else any, for then only those can come that are on open connections.
    pub queue_limit: Option<usize>,
    /// How long a request may wait for a slot; then it gets 503. `None`: as long as its client waits.
    pub queue_timeout: Option<Duration>,
    /// Whose `Forwarded` and `X-Forwarded-*` headers are trusted.
    pub trusted_proxies: TrustedProxies,
}

impl FrontSettings {
    /// Connections are accepted although all slots are taken: what comes may need none (it is for another server, a rule
    /// answers it, or a file does), or shall be told that there is none.
    pub(crate) fn accepts_when_full(&self) -> bool {
        self.routes.answer()
            || self.router.has_servers()
            || self.static_files.are_any()
            || self.bounds_queue()
    }

    fn bounds_queue(&self) -> bool {
        self.queue_limit.is_some() || self.queue_timeout.is_some()
    }
}
