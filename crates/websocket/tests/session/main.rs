//! The session from outside, through its public API only: a scripted client, a clock that tests move, no socket. The
//! fuzz targets' seeds are replayed here too.

#[allow(
    unreachable_pub,
    reason = "public in the fuzz crate, to which the file belongs"
)]
#[path = "../../../../fuzz/src/handshake.rs"]
mod handshake_property;
#[allow(
    unreachable_pub,
    reason = "public in the fuzz crate, to which the file belongs"
)]
#[path = "../../../../fuzz/src/session.rs"]
mod session_property;
mod support;

mod closing;
mod framing;
mod liveness;
mod messages;
mod rules;
mod seeds;
mod splits;
