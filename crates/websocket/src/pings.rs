//! The schedule of pings and unasked pongs, and the verdict that a peer is gone. RFC 6455 §5.5.2 and §5.5.3.
//!
//! A peer is alive when any byte of it arrives; a ping is only sent into silence, and only one at a time. The
//! schedule says what is due and when, it writes no frame. Hearing from the peer is two stores and never needs a
//! timer to be set again: a timer that fires too early finds nothing due.

use std::time::Duration;

use crate::limits::Timing;
use crate::time::Time;

/// What has to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Ping,
    Pong,
    /// Nothing was heard since the ping.
    PeerLost,
}

/// When something was last heard and said.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    heard: Time,
    /// The last ping or unasked pong, at first the start.
    said: Time,
    /// A ping went out and nothing has been heard since.
    awaiting: bool,
}

impl Schedule {
    pub(crate) fn new(now: Time) -> Schedule {
        Schedule {
            heard: now,
            said: now,
            awaiting: false,
        }
    }

    /// The peer showed that it lives.
    #[inline]
    pub(crate) fn heard(&mut self, now: Time) {
        self.heard = now;
        self.awaiting = false;
    }

    /// What is due at `now`; a ping or pong counts as sent from here on.
    pub(crate) fn due(&mut self, now: Time, timing: &Timing) -> Option<Due> {
        let (_, due) = self.next(timing).filter(|(time, _)| *time <= now)?;
        self.said = now;
        self.awaiting |= due == Due::Ping;
        Some(due)
    }

    /// What comes next.
    pub(crate) fn next(&self, timing: &Timing) -> Option<(Time, Due)> {
        if self.awaiting {
            return Some((self.said + timing.pong_tolerance, Due::PeerLost));
        }
        let ping = after(self.heard, timing.ping_every).map(|time| (time, Due::Ping));
        let pong = after(self.heard.max(self.said), pong_period(timing)).map(|time| (time, Due::Pong));
        match (ping, pong) {
            // At the same moment a ping does all that a pong would do.
            (Some(ping), Some(pong)) => Some(if pong.0 < ping.0 { pong } else { ping }),
            (ping, pong) => ping.or(pong),
        }
    }
}

fn after(start: Time, period: Duration) -> Option<Time> {
    (!period.is_zero()).then(|| start + period)
}

fn pong_period(timing: &Timing) -> Duration {
    // Half, rounded up to the clock's step, or a second pong would slip in just before the ping.
    let midway = || Duration::from_millis((timing.ping_every.as_millis() as u64).div_ceil(2));
    timing.pong_every.unwrap_or_else(midway)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(count: u64) -> Time {
        Time::from_millis(count * 1000)
    }

    fn timing(ping: u64, pong: Option<u64>) -> Timing {
        Timing {
            ping_every: Duration::from_secs(ping),
            pong_tolerance: Duration::from_secs(3),
            pong_every: pong.map(Duration::from_secs),
            ..Timing::default()
        }
    }

    /// Lets the peer be silent and answers what happened at which second.
    fn silence(timing: &Timing, until: u64) -> Vec<(u64, Due)> {
        let mut schedule = Schedule::new(seconds(0));
        let mut events = Vec::new();
        for second in 0..=until {
            if let Some(due) = schedule.due(seconds(second), timing) {
                events.push((second, due));
                if due == Due::PeerLost {
                    break;
                }
            }
        }
        events
    }

    #[test]
    fn silence_brings_a_pong_midway_then_a_ping_then_the_end() {
        let expected = [(15, Due::Pong), (30, Due::Ping), (33, Due::PeerLost)];
        assert_eq!(silence(&timing(30, None), 100), expected);
    }

    #[test]
    fn unasked_pongs_repeat_until_the_next_ping() {
        let expected = [
            (10, Due::Pong),
            (20, Due::Pong),
            (30, Due::Ping),
            (33, Due::PeerLost),
        ];
        assert_eq!(silence(&timing(30, Some(10)), 100), expected);
        assert_eq!(
            silence(&timing(0, Some(40)), 100),
            [(40, Due::Pong), (80, Due::Pong)]
        );
    }

    #[test]
    fn pings_and_pongs_can_be_switched_off() {
        assert_eq!(
            silence(&timing(30, Some(0)), 100),
            [(30, Due::Ping), (33, Due::PeerLost)]
        );
        assert_eq!(silence(&timing(0, None), 100), []);
        assert_eq!(Schedule::new(seconds(0)).next(&timing(0, None)), None);
    }

    #[test]
    fn life_puts_off_everything() {
        let timing = timing(30, None);
        let mut schedule = Schedule::new(seconds(0));
        schedule.heard(seconds(14));
        assert_eq!(schedule.due(seconds(28), &timing), None);
        assert_eq!(schedule.due(seconds(29), &timing), Some(Due::Pong));
        assert_eq!(schedule.due(seconds(44), &timing), Some(Due::Ping));
        schedule.heard(seconds(46));
        assert_eq!(schedule.due(seconds(47), &timing), None);
        assert_eq!(schedule.next(&timing), Some((seconds(61), Due::Pong)));
    }

    #[test]
    fn tolerance_counts_from_the_moment_the_ping_was_sent() {
        let timing = timing(30, Some(0));
        let mut schedule = Schedule::new(seconds(0));
        assert_eq!(schedule.due(seconds(50), &timing), Some(Due::Ping));
        assert_eq!(schedule.due(seconds(52), &timing), None);
        assert_eq!(schedule.due(seconds(53), &timing), Some(Due::PeerLost));
    }

    #[test]
    fn an_odd_ping_period_still_brings_one_pong() {
        let timing = Timing {
            ping_every: Duration::from_millis(5),
            pong_tolerance: Duration::from_secs(3),
            ..Timing::default()
        };
        let mut schedule = Schedule::new(Time::from_millis(0));
        assert_eq!(schedule.due(Time::from_millis(3), &timing), Some(Due::Pong));
        assert_eq!(schedule.next(&timing), Some((Time::from_millis(5), Due::Ping)));
    }
}
