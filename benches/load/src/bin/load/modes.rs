//! The four ways a connection can behave. A mode decides what to send and what a message counts for; it does no IO of
//! its own and holds per connection only what its own counting needs. The client is compiled once per mode, so the
//! choice costs nothing per message.

mod echo;
mod fanout;

use crate::connection::{Connection, Mode};
use crate::report::Counts;
use crate::run::{Fault, Shared};

pub use echo::Echo;
pub use fanout::Fanout;

/// Connect, handshake, Close, again. What counts is the time from the connect to the complete response.
pub struct Connect;

impl Mode for Connect {
    const REOPENS: bool = true;

    fn opened(
        &mut self,
        connection: &mut Connection,
        shared: &Shared,
        now_ns: u64,
        counts: &mut Counts,
    ) -> Result<(), Fault> {
        counts.record(now_ns - connection.began_ns(), 0);
        connection.close(shared)
    }
}

/// Open and say nothing (pings are answered): for the memory that a connection takes.
pub struct Idle;

impl Mode for Idle {}
