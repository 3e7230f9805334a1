//! How long the app's thread has been away from the loop, and when to tell.
//!
//! A runner that runs all tasks in one thread serves nobody while one of them computes, or waits in a call that the runner does
//! not know. The loop thread keeps the connections alive meanwhile; an operator wants to hear of it.

use std::time::Duration;

use fairlead_websocket::Time;

/// The app's thread is away from the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stall {
    /// For so long already.
    Lasts(Duration),
    /// It came back after so long; only after a [`Stall::Lasts`].
    Ended(Duration),
}

/// The second and each later time that a long stall is told of: often enough for a log that somebody watches.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// One stall, from the loop thread's takeover to the app's return.
pub(crate) struct Watchdog {
    since: Time,
    tell_at: Time,
    told: bool,
}

impl Watchdog {
    pub(crate) fn since(since: Time, first_after: Duration) -> Self {
        Self {
            since,
            tell_at: since + first_after,
            told: false,
        }
    }

    /// Until when nothing is to be told.
    pub(crate) fn quiet_for(&self, now: Time) -> Duration {
        self.tell_at.saturating_since(now)
    }

    /// What to tell now, if the app is still away.
    pub(crate) fn look(&mut self, now: Time) -> Option<Stall> {
        if now < self.tell_at {
            return None;
        }
        self.tell_at = now + AGAIN_AFTER;
        self.told = true;
        Some(Stall::Lasts(now.saturating_since(self.since)))
    }

    /// What to tell of its end.
    pub(crate) fn end(&self, now: Time) -> Option<Stall> {
        self.told.then(|| Stall::Ended(now.saturating_since(self.since)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    #[test]
    fn a_stall_is_told_after_its_time_then_every_ten_seconds_and_at_its_end() {
        let mut watch = Watchdog::since(at(500), Duration::from_secs(1));
        assert_eq!(watch.quiet_for(at(600)), Duration::from_millis(900));
        assert_eq!(watch.look(at(1499)), None);
        assert_eq!(watch.look(at(1500)), Some(Stall::Lasts(Duration::from_secs(1))));
        assert_eq!(watch.look(at(11_499)), None);
        assert_eq!(
            watch.look(at(11_500)),
            Some(Stall::Lasts(Duration::from_secs(11)))
        );
        assert_eq!(watch.end(at(12_500)), Some(Stall::Ended(Duration::from_secs(12))));
    }

    #[test]
    fn a_short_stall_is_not_told() {
        let mut watch = Watchdog::since(at(0), Duration::from_secs(1));
        assert_eq!(watch.look(at(999)), None);
        assert_eq!(watch.end(at(999)), None);
    }
}
