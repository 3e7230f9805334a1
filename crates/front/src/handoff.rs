//! The one border of the front: what it needs from whoever runs the applications.
//!
//! The engine implements [`Handoff`]; the tests implement it too, and nothing in the front knows which. The rules of
//! [`EventSink`] hold for its methods too, so an implementation may call any method of [`Exchange`] from inside. Requests go
//! towards the application, commands come back through the exchange; there is no third kind of traffic.

use std::sync::Arc;

use fairlead_http::Request;

use crate::events::EventSink;
use crate::exchange::Exchange;

/// The receiver of requests.
pub trait Handoff: EventSink {
    /// A request has arrived. Dropping `exchange` without an answer answers 500.
    fn request(&self, request: Request, exchange: Arc<Exchange>);

    /// May one more connection be accepted? Asked before each accept. After a `false` the front waits for
    /// [`Front::room_available`](crate::Front::room_available).
    fn has_room(&self) -> bool;

    /// Is a slot free, or do fewer than `limit` requests wait for one? Asked only where connections are accepted whatever
    /// [`has_room`](Handoff::has_room) says. After a `false` the client gets 503.
    fn has_place(&self, limit: usize) -> bool {
        let _ = limit;
        true
    }

    /// Requests that wait for a slot were answered without one and can be dropped.
    fn some_are_over(&self) {}

    /// Sockets that have left by [`UpgradeReceiver::upgraded`](crate::UpgradeReceiver::upgraded) and are open still:
    /// connections of this process, when several share a listener. It must only read a counter.
    fn connections(&self) -> usize {
        0
    }

    /// The applications have taken no request for a while, so another process that shares the listener had better accept. It
    /// must not wait.
    fn is_held_up(&self) -> bool {
        false
    }
}
