//! Echo: each connection keeps a fixed number of messages in flight and sends the next one for each that comes back
//! whole. All that one read completes is answered with one write, as any client with something to say would do.

use crate::args::Options;
use crate::connection::{Connection, Mode};
use crate::reader::Piece;
use crate::report::Counts;
use crate::run::{Fault, Phase, Shared};

/// The state of all connections.
pub struct Echo {
    in_flight: usize,
    verify: bool,
    flows: Vec<Flow>,
}

/// Messages come back in order, so a ring of times is enough to know each one's age.
struct Flow {
    sent_at_ns: Box<[u64]>,
    newest: usize,
    oldest: usize,
    /// The slot of the frame ring that comes back next.
    slot: usize,
    /// Messages completed by the current read.
    completed: usize,
    /// The message that is arriving differs from what was sent.
    differs: bool,
}

impl Echo {
    pub fn new(options: &Options) -> Self {
        Echo {
            in_flight: options.in_flight,
            verify: options.verify,
            flows: Vec::new(),
        }
    }
}

impl Mode for Echo {
    fn start(&mut self, connections: &mut [Connection], shared: &Shared, now_ns: u64) {
        self.flows = connections
            .iter()
            .map(|connection| Flow::new(connection, self.in_flight, shared))
            .collect();
        for connection in connections
            .iter_mut()
            .filter(|connection| connection.phase() == Phase::Open)
        {
            self.flows[connection.index()].sent(self.in_flight, now_ns);
            // A connection that fails here reports it as an event, where it is counted.
            let _ = connection.send_messages(self.in_flight, shared);
        }
    }

    #[inline]
    fn data(&mut self, index: usize, piece: &Piece, shared: &Shared, now_ns: u64, counts: &mut Counts) {
        // A server that speaks first is at fault, but a message before the start has no flow yet.
        let Some(flow) = self.flows.get_mut(index) else {
            return counts.bad_message();
        };
        let frames = &shared.frames;
        if self.verify {
            let end = piece.offset + piece.bytes.len();
            flow.differs |= frames.payload(flow.slot).get(piece.offset..end) != Some(piece.bytes);
        }
        if piece.last {
            let size = piece.offset + piece.bytes.len();
            if flow.differs || size != frames.size() || piece.opcode != frames.opcode() {
                counts.bad_message();
            }
            flow.differs = false;
            flow.slot = frames.next_slot(flow.slot);
            flow.completed += 1;
            counts.record(now_ns - flow.oldest_sent_ns(), size);
        }
    }

    #[inline]
    fn read_done(&mut self, connection: &mut Connection, shared: &Shared, now_ns: u64) -> Result<(), Fault> {
        let Some(flow) = self.flows.get_mut(connection.index()) else {
            return Ok(());
        };
        if flow.completed == 0 {
            return Ok(());
        }
        let count = std::mem::take(&mut flow.completed);
        flow.sent(count, now_ns);
        connection.send_messages(count, shared)
    }
}

impl Flow {
    fn new(connection: &Connection, in_flight: usize, shared: &Shared) -> Self {
        Flow {
            sent_at_ns: vec![0; in_flight].into(),
            newest: 0,
            oldest: 0,
            slot: connection.first_slot(&shared.frames),
            completed: 0,
            differs: false,
        }
    }

    #[inline]
    fn sent(&mut self, count: usize, now_ns: u64) {
        for _ in 0..count {
            self.sent_at_ns[self.newest] = now_ns;
            self.newest = if self.newest + 1 == self.sent_at_ns.len() {
                0
            } else {
                self.newest + 1
            };
        }
    }

    #[inline]
    fn oldest_sent_ns(&mut self) -> u64 {
        let sent_ns = self.sent_at_ns[self.oldest];
        self.oldest = if self.oldest + 1 == self.sent_at_ns.len() {
            0
        } else {
            self.oldest + 1
        };
        sent_ns
    }
}
