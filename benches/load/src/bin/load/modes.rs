//! The four ways a connection can behave. A mode decides what to send and what a message counts for; it does no IO of
//! its own and holds per connection only what its own counting needs. The client is compiled once per mode, so the
//! choice costs nothing per message.

mod echo;
mod fanout;

use crate::connection::{Connection, Fault, Shared};
use crate::reader::Piece;
use crate::report::Tally;

pub use echo::Echo;
pub use fanout::Fanout;

/// What the client asks a mode.
pub trait Mode {
    /// A connection that ends is opened again, and the run starts with the first connect instead of waiting until
    /// all are open.
    const REOPENS: bool = false;

    /// How many connections the mode wants.
    fn total(&self, shared: &Shared) -> usize {
        shared.options.connections
    }

    /// What connection `index` asks for.
    fn path<'s>(&self, _index: usize, shared: &'s Shared) -> &'s str {
        &shared.options.path
    }

    /// Whether connection `index` may be opened while `open` are.
    fn may_open(&self, _index: usize, _open: usize) -> bool {
        true
    }

    /// A handshake is complete.
    fn opened(&mut self, _: &mut Connection, _: &Shared, _now_ns: u64, _: &mut Tally) -> Result<(), Fault> {
        Ok(())
    }

    /// All connections are open, the warm-up begins.
    fn start(&mut self, _: &mut [Connection], _: &Shared, _now_ns: u64) {}

    /// A piece of a message has arrived on connection `index`.
    fn data(&mut self, _index: usize, _: &Piece, _: &Shared, _now_ns: u64, _: &mut Tally) {}

    /// All that one read brought has been handed over.
    fn read_done(&mut self, _: &mut Connection, _: &Shared, _now_ns: u64) -> Result<(), Fault> {
        Ok(())
    }

    /// All that was ready in this turn of the loop has been served.
    fn turn(&mut self, _: &mut [Connection], _: &Shared, _now_ns: u64, _: &mut Tally) -> Result<(), Fault> {
        Ok(())
    }
}

/// Connect, handshake, Close, again. What counts is the time from the connect to the complete response.
pub struct Connect;

impl Mode for Connect {
    const REOPENS: bool = true;

    fn opened(
        &mut self,
        connection: &mut Connection,
        shared: &Shared,
        now_ns: u64,
        tally: &mut Tally,
    ) -> Result<(), Fault> {
        tally.record(now_ns - connection.began_ns(), 0);
        connection.close(shared)
    }
}

/// Open and say nothing (pings are answered): for the memory that a connection takes.
pub struct Idle;

impl Mode for Idle {}
