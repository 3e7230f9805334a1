//! Connections spread evenly over the processes that share a listener.
//!
//! The kernel wakes all of them for a new connection and the first one gets it, which can be the same one every time:
//! one process has been seen with 199 of 200 WebSockets. So one that has more than the mean, by the scoreboard, gives way: it
//! pauses before it accepts, and another, awake for the same connection, comes first. The next connection ends the pause for
//! another look, so while connections come no time is lost.
//!
//! Nobody depends on the others, who may be stopped or dead. A connection that nobody has taken after a few milliseconds is
//! accepted all the same; and when many wait behind a process that does not move, each further pause buys twice as many
//! accepts.

use std::time::{Duration, Instant};

use crate::scoreboard::{Load, Others, OwnCell, HELD_UP};

/// A pause: how long a connection is left to processes that have fewer. It is cut into steps, because on a machine with too
/// much to do each sleep lasts longer than it should, and so do those of the process that is waited for.
const PAUSE: Steps = Steps {
    of: Duration::from_millis(2),
    count: 2,
};

/// The same where the application is held up. The connection would have to wait for it anyway, so it may wait as long as is
/// already certain (the engine's `HELD_UP_AFTER`) for another process.
const PAUSE_HELD_UP: Steps = Steps {
    of: Duration::from_millis(10),
    count: 10,
};

/// The same where this process has no slot free, and accepts for the sake of what needs none. What needs one would wait here
/// for as long as the slots are taken, which can be hours for WebSockets, though another process may have one in a moment:
/// they are all left the time that a usual request takes.
const PAUSE_FULL: Steps = Steps {
    of: Duration::from_millis(5),
    count: 50,
};

struct Steps {
    of: Duration,
    count: u32,
}

/// Connections that follow each other more quickly than this are a storm, or requests with a connection for each. Then one
/// more than the mean is no reason to give way: where processes share a processor, strict turns made such requests cost two
/// thirds more. Connections that come at leisure are spread strictly, so that two busy clients have a process each.
const CALM: Duration = Duration::from_millis(10);

/// Pauses for a process that has not moved since the first of them, before it counts as stuck: from then on each
/// buys twice as many accepts, up to this power of two.
const PATIENCE: u32 = 10;
const LARGEST_GRANT: u32 = 10;

/// How far one listener goes in giving way: not so far that connections pile up behind a process that does not come.
#[derive(Debug, Default)]
pub(crate) struct Balancing {
    /// The fewest connections of another process at the last look.
    fewest: u64,
    /// The steps of the present pause, and when the last of them ends.
    steps: u32,
    until: Option<Instant>,
    /// When we last had no reason to give way.
    took: Option<Instant>,
    /// Pauses in vain since that process moved, and the accepts that the last of them bought.
    pauses: u32,
    grant: u32,
}

impl Balancing {
    /// How long to leave a connection that seems to wait to others, until they are looked at again. `is_full`: no slot is
    /// free here.
    pub(crate) fn pause_beside(
        &mut self,
        cell: &OwnCell,
        is_full: impl FnOnce() -> bool,
        own: impl FnOnce() -> Load,
    ) -> Option<Duration> {
        let (Load(own), others) = cell.compare(own)?;
        self.pause(own, is_full(), others, Instant::now())
    }

    /// How long to wait before the next look; `None`: accept.
    fn pause(&mut self, own: u64, is_full: bool, others: Others, now: Instant) -> Option<Duration> {
        if self.fewest != others.fewest {
            // It is coming; a storm of connections takes it more than one pause.
            self.fewest = others.fewest;
            self.pauses = 0;
            self.grant = 0;
        }
        let is_storm = self.took.is_some_and(|took| now - took < CALM);
        let leaves_it = is_full && others.are_any();
        if !leaves_it && !others.come_before(own, u64::from(is_storm)) {
            self.end_pause();
            self.took = Some(now);
            return None;
        }
        if self.grant > 0 {
            self.grant -= 1;
            return None;
        }
        if let Some(until) = self.until.filter(|until| now < *until) {
            return Some(until - now);
        }
        let pause = match (is_full, own < HELD_UP) {
            (true, _) => PAUSE_FULL,
            (false, true) => PAUSE,
            (false, false) => PAUSE_HELD_UP,
        };
        if self.steps < pause.count {
            self.steps += 1;
            self.until = Some(now + pause.of);
            return Some(pause.of);
        }
        self.end_pause();
        self.pauses += 1;
        // This one and, if the other does not move at all, soon many more.
        self.grant = (1 << self.pauses.saturating_sub(PATIENCE).min(LARGEST_GRANT)) - 1;
        None
    }

    /// Nothing waits. The next connection is left to the others again, who may be quicker now.
    pub(crate) fn settle(&mut self) {
        self.end_pause();
        self.grant = 0;
    }

    fn end_pause(&mut self) {
        self.steps = 0;
        self.until = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn others(cells: &[u64]) -> Others {
        let mut others = Others::default();
        cells.iter().for_each(|cell| others.add(*cell));
        others
    }

    #[test]
    fn few_connections_are_spread_strictly_unless_they_come_in_a_storm() {
        let mut balancing = Balancing::default();
        let now = Instant::now();
        assert_eq!(
            balancing.pause(1, false, others(&[0]), now),
            Some(PAUSE.of),
            "calm"
        );
        assert_eq!(balancing.pause(0, false, others(&[0]), now), None);
        assert_eq!(balancing.pause(1, false, others(&[0]), now + MS), None, "a storm");
        assert_eq!(balancing.pause(2, false, others(&[0]), now + MS), None);
        assert_eq!(balancing.pause(3, false, others(&[0]), now + MS), Some(PAUSE.of));
        balancing.settle();
        assert_eq!(
            balancing.pause(2, false, others(&[0]), now + MS + CALM),
            Some(PAUSE.of),
            "calm again"
        );
    }

    #[test]
    fn a_connection_that_nobody_took_is_accepted_after_the_pause() {
        let mut balancing = Balancing::default();
        let mut now = Instant::now();
        let light = others(&[3]);
        for _ in 0..PAUSE.count {
            assert_eq!(balancing.pause(10, false, light, now), Some(PAUSE.of));
            // Woken by another connection.
            assert_eq!(balancing.pause(10, false, light, now + MS), Some(PAUSE.of - MS));
            // However long it slept, it is one step.
            now += 3 * PAUSE.of;
        }
        assert_eq!(balancing.pause(10, false, light, now), None);
        assert_eq!(
            balancing.pause(11, false, light, now),
            Some(PAUSE.of),
            "the next one"
        );
        // Somebody took it: another time begins anew.
        balancing.settle();
        for _ in 0..PAUSE.count {
            assert_eq!(balancing.pause(11, false, light, now), Some(PAUSE.of));
            now += PAUSE.of;
        }
        assert_eq!(
            balancing.pause(11, false, others(&[11]), now),
            None,
            "as many as here"
        );
    }

    #[test]
    fn a_pause_ends_when_the_application_is_back() {
        let mut balancing = Balancing::default();
        let now = Instant::now();
        assert_eq!(
            balancing.pause(HELD_UP + 3, false, others(&[11]), now),
            Some(PAUSE_HELD_UP.of)
        );
        assert_eq!(
            balancing.pause(3, false, others(&[11]), now + PAUSE_HELD_UP.of),
            None
        );
    }

    /// Sleeps and accepts in this many looks at a process that stands still, or moves at each look.
    fn sleeps_in(looks: u32, moves: bool) -> u32 {
        let (mut balancing, mut now, mut sleeps) = (Balancing::default(), Instant::now(), 0);
        for look in 0..looks {
            let fewest = if moves { u64::from(look % 2) } else { 0 };
            if let Some(pause) = balancing.pause(1000, false, others(&[fewest]), now) {
                sleeps += 1;
                now += pause;
            }
        }
        sleeps
    }

    #[test]
    fn a_process_that_does_not_move_costs_fewer_and_fewer_pauses() {
        // At first each connection costs one, then half as many, and so on.
        let first = PATIENCE * (PAUSE.count + 1);
        assert_eq!(sleeps_in(first, false), PATIENCE * PAUSE.count);
        assert!(sleeps_in(10_000, false) < (PATIENCE + 25) * PAUSE.count);
        // One that moves is alive: it gets its chance each time.
        assert_eq!(sleeps_in(30_000, true), 30_000 / (PAUSE.count + 1) * PAUSE.count);
    }

    #[test]
    fn a_process_that_moves_again_is_given_its_chance_at_once() {
        let (mut balancing, mut now) = (Balancing::default(), Instant::now());
        let mut accepts = 0;
        while accepts < 200 {
            match balancing.pause(1000, false, others(&[0]), now) {
                Some(pause) => now += pause,
                None => accepts += 1,
            }
        }
        assert_eq!(
            balancing.pause(1000, false, others(&[0]), now),
            None,
            "it is thought stuck"
        );
        assert_eq!(balancing.pause(1000, false, others(&[1]), now), Some(PAUSE.of));
    }

    #[test]
    fn a_new_storm_begins_with_one_pause_and_no_more() {
        let (mut balancing, mut now) = (Balancing::default(), Instant::now());
        for _ in 0..1000 {
            now += balancing
                .pause(1000, false, others(&[0]), now)
                .unwrap_or_default();
        }
        balancing.settle();
        for _ in 0..PAUSE.count {
            assert_eq!(balancing.pause(1000, false, others(&[0]), now), Some(PAUSE.of));
            now += PAUSE.of;
        }
        for _ in 0..100 {
            assert_eq!(balancing.pause(1000, false, others(&[0]), now), None);
        }
    }

    #[test]
    fn a_full_process_leaves_a_connection_to_the_others_for_longer_and_accepts_it_then() {
        let (mut balancing, mut now) = (Balancing::default(), Instant::now());
        // Whatever the others have: one that is full too may have a slot in a moment.
        let full = others(&[HELD_UP + 70]);
        for _ in 0..PAUSE_FULL.count {
            assert_eq!(balancing.pause(HELD_UP + 3, true, full, now), Some(PAUSE_FULL.of));
            now += PAUSE_FULL.of;
        }
        assert_eq!(balancing.pause(HELD_UP + 3, true, full, now), None);
        // A slot is free here meanwhile.
        assert!(balancing.pause(HELD_UP + 3, true, full, now).is_some());
        assert_eq!(balancing.pause(3, false, full, now), None);
        // A process alone has nobody to leave it to.
        assert_eq!(balancing.pause(HELD_UP + 3, true, others(&[]), now), None);
    }
}
