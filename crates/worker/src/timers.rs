//! Deadlines: of sessions (pings, time-outs) and of parked tasks (a `receive` with a limit, a sleep).
//!
//! A heap with lazy removal. An entry is never taken out early: a session that is lively keeps the entry it has,
//! and when that comes due it is asked for its next deadline. So a message costs the timers nothing.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use fairlead_websocket::Time;

use crate::event::Token;

/// Whose deadline it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    /// The session in this slot, if the slot still has this key.
    Session(u64),
    /// The heartbeat of the client in this slot. Apart from its session's deadline, which is asked for whenever that is
    /// served: so only who has a heartbeat pays for one.
    Heartbeat(u64),
    /// A parked task of a runner.
    Task(Token),
    /// The session in this slot is to be closed, since all are.
    Close(u64),
}

#[derive(Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<(Time, Due)>>,
}

impl Timers {
    pub(crate) fn add(&mut self, at: Time, due: Due) {
        self.heap.push(Reverse((at, due)));
    }

    /// When to look again.
    pub(crate) fn next(&self) -> Option<Time> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes one entry that is due.
    pub(crate) fn pop_due(&mut self, now: Time) -> Option<(Time, Due)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_due_in_order_of_time_and_not_before() {
        let mut timers = Timers::default();
        for ms in [30, 10, 20] {
            timers.add(Time::from_millis(ms), Due::Session(ms));
        }
        assert_eq!(timers.next(), Some(Time::from_millis(10)));
        assert_eq!(timers.pop_due(Time::from_millis(9)), None);
        let due: Vec<_> = std::iter::from_fn(|| timers.pop_due(Time::from_millis(25)))
            .map(|(_, d)| d)
            .collect();
        assert_eq!(due, [Due::Session(10), Due::Session(20)]);
        assert_eq!(timers.next(), Some(Time::from_millis(30)));
    }
}
