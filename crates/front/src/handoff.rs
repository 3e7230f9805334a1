//! The one door of the front: what it needs from whoever runs the applications.
//!
//! The engine implements [`Handoff`]; the tests implement it too, and nothing in the front knows which. Every method is
//! called on the front's own thread (`wake` also on the thread that caused the change), never with a lock of the front
//! held, so an implementation may call any method of [`Exchange`] from inside. It must not block: all connections of the
//! process wait meanwhile. Requests go towards the application, commands come back through the exchange; there is no third
//! kind of traffic.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use fairlead_http::Request;
use fairlead_websocket::SecureLayer;

use crate::access_log::Answered;
use crate::Exchange;

/// How much a log line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Of use only to whoever looks for a fault of the front.
    Debug,
    /// A change that an operator may want to see.
    Info,
    /// Somebody sent something that was refused, or an application broke a rule.
    Warning,
    /// The server itself cannot do its work.
    Error,
}

/// The receiver of requests and sockets.
pub trait Handoff: Send + Sync + 'static {
    /// A request has arrived. Dropping `exchange` without an answer answers 500.
    fn request(&self, request: Request, exchange: Arc<Exchange>);

    /// All requests that have arrived were passed on and the front is about to sleep, or to do something long. A receiver on another thread may leave
    /// it to this call to wake that thread, so that one wake-up serves a whole batch. Called often: be quick when there is
    /// nothing to do.
    fn turn_ended(&self) {}

    /// The 101 response went out and the socket leaves the front: non-blocking, with `TCP_NODELAY` if it is one of TCP. Of
    /// a WebSocket inside HTTP/2 it is one end of a pair, whose other end stays in the front. `read_ahead` is what the
    /// client sent behind its handshake; it precedes everything that will be read from the socket. With a `layer` the socket carries TLS:
    /// `read_ahead` is plaintext, and the layer may have records that the socket has not taken yet.
    fn upgraded(
        &self,
        exchange: &Arc<Exchange>,
        socket: OwnedFd,
        read_ahead: Vec<u8>,
        layer: Option<Box<dyn SecureLayer>>,
    );

    /// The upgrade was accepted but the socket was lost before the 101 response had left.
    fn upgrade_lost(&self, exchange: &Arc<Exchange>, why: String);

    /// What a unit waits for has changed; `token` is the one it gave to `wait_writable` or `wait_body`. A wake-up is a
    /// hint: ask again.
    fn wake(&self, token: u64);

    /// May one more connection be accepted? Asked before each accept. After a `false` the front waits for
    /// [`Front::room_available`](crate::Front::room_available).
    fn has_room(&self) -> bool;

    /// Sockets that have left by [`upgraded`](Handoff::upgraded) and are open still: connections of this process, when
    /// several share a listener. It must only read a counter.
    fn connections(&self) -> usize {
        0
    }

    /// The applications have taken no request for a while, so another process that shares the listener had better accept. It
    /// must not wait.
    fn is_held_up(&self) -> bool {
        false
    }

    /// A request that never came here is over, and wants its line in the log. Called by whoever held the last part of it; it
    /// must only note that.
    fn answered(&self, about: Answered) {
        drop(about);
    }

    /// One line for the operator, without a line end.
    fn log(&self, level: LogLevel, line: &str);
}
