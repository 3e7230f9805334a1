//! The clock of this crate: a number that the caller hands in.
//!
//! A `Time` counts milliseconds since an epoch which only the caller knows (usually a monotonic clock's start).
//! Nothing here reads a clock, so every schedule and every time-out can be tested without waiting. Arithmetic
//! saturates: a deadline that cannot be represented is one that is never reached.

use std::ops::Add;
use std::time::Duration;

/// A moment, in milliseconds since an arbitrary epoch that stays the same for the life of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// The moment `millis` milliseconds after the caller's epoch.
    pub const fn from_millis(millis: u64) -> Time {
        Time(millis)
    }

    /// Milliseconds since the caller's epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this moment lies; zero if it does not.
    pub const fn saturating_since(self, earlier: Time) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Time;

    fn add(self, length: Duration) -> Time {
        // Rounded up: a deadline may be late by a fraction of a millisecond, never early.
        let fraction = u64::from(length.subsec_nanos().div_ceil(1_000_000));
        Time(
            self.0
                .saturating_add(length.as_secs().saturating_mul(1000))
                .saturating_add(fraction),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_never_early() {
        let start = Time::from_millis(10);
        assert_eq!(start + Duration::from_micros(1), Time::from_millis(11));
        assert_eq!(start + Duration::from_millis(1500), Time::from_millis(1510));
        assert_eq!(start + Duration::MAX, Time::from_millis(u64::MAX));
    }

    #[test]
    fn a_clock_that_steps_back_gives_no_time_instead_of_a_panic() {
        assert_eq!(
            Time::from_millis(5).saturating_since(Time::from_millis(9)),
            Duration::ZERO
        );
        assert_eq!(
            Time::from_millis(9).saturating_since(Time::from_millis(5)),
            Duration::from_millis(4)
        );
    }
}
