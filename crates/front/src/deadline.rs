//! Which time-out applies to a connection now, and when it passes.
//!
//! A pure rule over plain numbers: no clock, no socket. Time is milliseconds since the front's start. A connection has at
//! most one deadline at a time. The application's own time never counts: while a request is in flight only a client that
//! takes nothing, or that owes bytes for which the application waits *now*, can be late. Every change of a [`Situation`] must
//! be followed by a turn of the connection's task, or the sweep would look at an outdated deadline.

use std::time::Duration;

use crate::body_rate::BodyRate;
use crate::settings::FrontSettings;

/// What a deadline depends on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Situation {
    /// The client takes no bytes since then.
    pub(crate) write_blocked_since_ms: Option<u64>,
    pub(crate) in_flight: bool,
    /// The application waits for bytes of the body since then.
    pub(crate) body_awaited_since_ms: Option<u64>,
    /// How slowly it has come so far.
    pub(crate) body_rate: BodyRate,
    pub(crate) inside_head: bool,
    /// No head was complete yet.
    pub(crate) is_first: bool,
    /// The front is draining since then.
    pub(crate) draining_since_ms: Option<u64>,
    /// When the last wait for the client began: for a head, for the next request, or for more of a body.
    pub(crate) waiting_since_ms: u64,
    /// When the client last went on with a handshake of TLS.
    pub(crate) handshake_ms: u64,
}

/// How long a drain waits for a request on a connection that is silent. Its client could not know, and may have sent the
/// request already: closing at once would lose it (RFC 9112 §9.3.1 lets a client repeat what is idempotent, and no more).
/// A second covers a slow network and whoever asks often, and no stop has to wait longer.
const DRAIN_PATIENCE_MS: u64 = 1000;

/// What a client did not do in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overdue {
    Silent,
    SlowHead,
    Stalled,
}

/// The deadline that counts in this situation, if any.
pub(crate) fn deadline(now: &Situation, settings: &FrontSettings) -> Option<(u64, Overdue)> {
    let patience_ms = millis(settings.stall_timeout);
    let stalled = if now.write_blocked_since_ms.is_some() {
        now.write_blocked_since_ms
    } else if now.in_flight {
        // Bytes that came before the application asked prove nothing about the time in which it did not.
        now.body_awaited_since_ms
            .map(|since| since.max(now.waiting_since_ms))
    } else {
        return Some(idle_deadline(now, settings));
    };
    let due = stalled.map(|since| since.saturating_add(patience_ms));
    // A client that takes its response slowly owes its body no less.
    let slow = now
        .body_rate
        .due_ms(settings.body_minimum_rate, patience_ms)
        .filter(|_| now.in_flight);
    let first = due.into_iter().chain(slow).min()?;
    Some((first, Overdue::Stalled))
}

/// The deadline while no request is in flight.
fn idle_deadline(now: &Situation, settings: &FrontSettings) -> (u64, Overdue) {
    let (allowed, overdue) = match (now.inside_head, now.is_first) {
        (true, _) => (settings.header_timeout, Overdue::SlowHead),
        (false, true) => (settings.header_timeout, Overdue::Silent),
        (false, false) => (settings.keep_alive_timeout, Overdue::Silent),
    };
    let due = now.waiting_since_ms.saturating_add(millis(allowed));
    let leaves = now
        .draining_since_ms
        .map(|since| since.max(now.waiting_since_ms).max(now.handshake_ms))
        .map(|since| since.saturating_add(DRAIN_PATIENCE_MS));
    (leaves.map_or(due, |leaves| leaves.min(due)), overdue)
}

pub(crate) fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds() -> FrontSettings {
        FrontSettings {
            header_timeout: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(75),
            stall_timeout: Duration::from_secs(60),
            ..FrontSettings::default()
        }
    }

    fn at(now: Situation) -> Option<(u64, Overdue)> {
        let settings = FrontSettings {
            header_timeout: Duration::from_millis(10),
            keep_alive_timeout: Duration::from_millis(75),
            stall_timeout: Duration::from_millis(60),
            ..FrontSettings::default()
        };
        deadline(&now, &settings)
    }

    const IDLE: Situation = Situation {
        write_blocked_since_ms: None,
        in_flight: false,
        body_awaited_since_ms: None,
        body_rate: BodyRate::NEW,
        inside_head: false,
        is_first: false,
        draining_since_ms: None,
        waiting_since_ms: 1000,
        handshake_ms: 0,
    };

    #[test]
    fn a_head_and_the_silence_between_two_have_different_times() {
        assert_eq!(at(IDLE), Some((1075, Overdue::Silent)));
        assert_eq!(
            at(Situation {
                inside_head: true,
                ..IDLE
            }),
            Some((1010, Overdue::SlowHead))
        );
        assert_eq!(
            at(Situation {
                is_first: true,
                ..IDLE
            }),
            Some((1010, Overdue::Silent))
        );
    }

    #[test]
    fn a_drain_waits_a_second_for_a_request_that_may_be_on_its_way() {
        let settings = seconds();
        for (is_first, inside_head, overdue) in [
            (true, false, Overdue::Silent),
            (false, false, Overdue::Silent),
            (false, true, Overdue::SlowHead),
        ] {
            let waiting_since = |waiting_since_ms| Situation {
                is_first,
                inside_head,
                draining_since_ms: Some(5000),
                waiting_since_ms,
                ..IDLE
            };
            assert_eq!(deadline(&waiting_since(4000), &settings), Some((6000, overdue)));
            assert_eq!(deadline(&waiting_since(5500), &settings), Some((6500, overdue)));
        }
    }

    #[test]
    fn a_drain_gives_each_step_of_a_tls_handshake_a_second_within_the_time_for_a_head() {
        let established = |handshake_ms| Situation {
            is_first: true,
            draining_since_ms: Some(5000),
            waiting_since_ms: 4000,
            handshake_ms,
            ..IDLE
        };
        let settings = seconds();
        assert_eq!(
            deadline(&established(5900), &settings),
            Some((6900, Overdue::Silent))
        );
        assert_eq!(
            deadline(&established(13_900), &settings),
            Some((14_000, Overdue::Silent))
        );
    }

    #[test]
    fn an_application_that_computes_is_never_late() {
        assert_eq!(
            at(Situation {
                in_flight: true,
                ..IDLE
            }),
            None
        );
        assert_eq!(
            at(Situation {
                in_flight: true,
                inside_head: true,
                ..IDLE
            }),
            None
        );
    }

    #[test]
    fn the_time_for_a_body_runs_from_the_later_of_asking_and_the_last_bytes() {
        let asked = |since| Situation {
            in_flight: true,
            body_awaited_since_ms: Some(since),
            ..IDLE
        };
        assert_eq!(
            at(asked(90_000)),
            Some((90_060, Overdue::Stalled)),
            "computed first, asked then"
        );
        assert_eq!(
            at(asked(10)),
            Some((1060, Overdue::Stalled)),
            "asked first, bytes came since"
        );
    }

    #[test]
    fn a_slow_body_has_its_time_whatever_the_client_takes_meanwhile() {
        let settings = FrontSettings {
            body_minimum_rate: 1000,
            ..seconds()
        };
        let mut body_rate = BodyRate::NEW;
        body_rate.begin_wait(0);
        body_rate.came(1, settings.body_minimum_rate, || 50_001);
        body_rate.begin_wait(70_000);
        let slow = Situation {
            in_flight: true,
            body_awaited_since_ms: Some(70_000),
            body_rate,
            // Bytes that are none of the body's came since.
            waiting_since_ms: 75_000,
            ..IDLE
        };
        let blocked = Situation {
            write_blocked_since_ms: Some(72_000),
            ..slow
        };
        let answered = Situation {
            in_flight: false,
            ..blocked
        };
        let unlimited = FrontSettings {
            body_minimum_rate: 0,
            ..seconds()
        };
        for (now, settings, due) in [
            (slow, &settings, 80_000),
            (blocked, &settings, 80_000),
            (answered, &settings, 132_000),
            (slow, &unlimited, 135_000),
        ] {
            assert_eq!(deadline(&now, settings), Some((due, Overdue::Stalled)));
        }
    }

    #[test]
    fn a_client_that_does_not_read_is_late_even_after_the_request() {
        let blocked = Situation {
            write_blocked_since_ms: Some(500),
            ..IDLE
        };
        assert_eq!(at(blocked), Some((560, Overdue::Stalled)));
        assert_eq!(
            at(Situation {
                in_flight: true,
                ..blocked
            }),
            Some((560, Overdue::Stalled))
        );
    }

    #[test]
    fn an_endless_time_out_never_passes() {
        let settings = FrontSettings {
            keep_alive_timeout: Duration::MAX,
            ..FrontSettings::default()
        };
        assert_eq!(deadline(&IDLE, &settings), Some((u64::MAX, Overdue::Silent)));
    }
}
