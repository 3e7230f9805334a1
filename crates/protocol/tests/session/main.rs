//! The session from outside, through its public API only: a scripted client, a clock that tests move, no socket. And the
//! packets of the uwsgi protocol (`packets`), because the fuzz targets' seeds are replayed here.

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
#[allow(
    unreachable_pub,
    reason = "public in the fuzz crate, to which the file belongs"
)]
#[path = "../../../../fuzz/src/uwsgi_packet.rs"]
mod uwsgi_packet_property;

mod closing;
mod framing;
mod liveness;
mod messages;
mod packets;
mod rules;
mod seeds;
mod splits;
