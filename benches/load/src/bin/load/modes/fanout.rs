//! Fan-out: one publisher, many subscribers. Messages are numbered, so a lost, doubled or reordered one is seen; the
//! publisher sends the next as soon as fewer than `--in-flight` are on their way to all. What counts is a delivery.

use fairlead_bench_load::wire::{BINARY, TEXT};

use crate::args::Options;
use crate::connection::{Connection, Mode};
use crate::reader::Piece;
use crate::report::Counts;
use crate::run::{Fault, Phase, Shared};

/// A message's number, in hexadecimal digits, so that it is text as well.
const NUMBER_LEN: usize = 16;
/// A server may join a connection to the channel only after it has answered the handshake.
const JOIN_NS: u64 = 300_000_000;
/// Without any delivery for this long, what is missing counts as lost and the publisher goes on.
const STALL_NS: u64 = 1_000_000_000;

/// The state of the publisher and all subscribers.
pub struct Fanout {
    subscribers: Vec<Subscriber>,
    in_flight: usize,
    /// When each message went out, by its number modulo the length.
    published_at_ns: Vec<u64>,
    published: u64,
    /// Deliveries that are no longer waited for: arrived or given up.
    settled: u64,
    /// The first message may go out then; the warm-up begins when all are open.
    first_at_ns: u64,
    last_progress_ns: u64,
}

#[derive(Clone, Default)]
struct Subscriber {
    next: u64,
    number: [u8; NUMBER_LEN],
}

impl Fanout {
    pub fn new(options: &Options) -> Self {
        Fanout {
            subscribers: vec![Subscriber::default(); options.connections],
            in_flight: options.in_flight,
            // Twice the window: a message that was given up may still arrive and must find its own time.
            published_at_ns: vec![0; 2 * options.in_flight],
            published: 0,
            settled: 0,
            first_at_ns: u64::MAX,
            last_progress_ns: 0,
        }
    }

    fn publish(&mut self, publisher: &mut Connection, shared: &Shared, now_ns: u64) -> Result<(), Fault> {
        let mut payload = shared.frames.payload(0).to_vec();
        payload[..NUMBER_LEN].copy_from_slice(format!("{:016x}", self.published).as_bytes());
        let times = self.published_at_ns.len() as u64;
        self.published_at_ns[(self.published % times) as usize] = now_ns;
        self.published += 1;
        publisher.send_frame(if shared.options.text { TEXT } else { BINARY }, &payload, shared)
    }

    fn outstanding(&self) -> u64 {
        (self.published * self.subscribers.len() as u64).saturating_sub(self.settled)
    }
}

impl Mode for Fanout {
    fn total(&self, _: &Shared) -> usize {
        self.subscribers.len() + 1
    }

    fn path<'s>(&self, index: usize, shared: &'s Shared) -> &'s str {
        if index < self.subscribers.len() {
            &shared.options.sub_path
        } else {
            &shared.options.pub_path
        }
    }

    /// The publisher comes last.
    fn may_open(&self, index: usize, open: usize) -> bool {
        index < self.subscribers.len() || open == self.subscribers.len()
    }

    fn start(&mut self, _: &mut [Connection], _: &Shared, now_ns: u64) {
        self.first_at_ns = now_ns + JOIN_NS;
        self.last_progress_ns = self.first_at_ns;
    }

    fn data(&mut self, index: usize, piece: &Piece, shared: &Shared, now_ns: u64, counts: &mut Counts) {
        // Only the publisher's own connection lies beyond: a server may echo to it, which is not a delivery.
        let Some(subscriber) = self.subscribers.get_mut(index) else {
            return;
        };
        if let Some(room) = subscriber.number.get_mut(piece.offset..) {
            let count = room.len().min(piece.bytes.len());
            room[..count].copy_from_slice(&piece.bytes[..count]);
        }
        if !piece.last {
            return;
        }
        self.last_progress_ns = now_ns;
        let size = piece.offset + piece.bytes.len();
        let number = std::str::from_utf8(&subscriber.number)
            .ok()
            .and_then(|hex| u64::from_str_radix(hex, 16).ok());
        match number {
            Some(number)
                if size == shared.frames.size() && (subscriber.next..self.published).contains(&number) =>
            {
                self.settled += 1;
                counts.lost_messages(number - subscriber.next);
                subscriber.next = number + 1;
                let times = self.published_at_ns.len() as u64;
                counts.record(
                    now_ns.saturating_sub(self.published_at_ns[(number % times) as usize]),
                    size,
                );
            }
            _ => counts.bad_message(),
        }
    }

    fn turn(
        &mut self,
        connections: &mut [Connection],
        shared: &Shared,
        now_ns: u64,
        _: &mut Counts,
    ) -> Result<(), Fault> {
        if now_ns < self.first_at_ns {
            return Ok(());
        }
        let Some(publisher) = connections.last_mut().filter(|last| last.phase() == Phase::Open) else {
            return Err(Fault::Refused("the publisher is not connected".into()));
        };
        if now_ns.saturating_sub(self.last_progress_ns) > STALL_NS {
            self.settled += self.outstanding();
            self.last_progress_ns = now_ns;
        }
        let window = self.in_flight as u64 * self.subscribers.len() as u64;
        while self.outstanding() + self.subscribers.len() as u64 <= window {
            self.publish(publisher, shared, now_ns)?;
        }
        Ok(())
    }
}
