//! What the limit server and the load generator share: the handshake's accept value, frames on the wire, and the few
//! system calls both need. Neither program may use a module of the engine: a fault there would then hide in both
//! sides of a comparison. All `unsafe` of this crate stands in `sys` and `process`.

pub mod accept;
pub mod process;
pub mod sys;
pub mod wire;
