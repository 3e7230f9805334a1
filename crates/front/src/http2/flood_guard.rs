//! How much a client may send that carries nothing: an account that is charged for such frames and credited for real ones.
//!
//! HTTP/2 lets a client make a server work without asking for anything: PING, SETTINGS, PRIORITY, WINDOW_UPDATE, unknown
//! frames, empty DATA, requests that are reset at once (RFC 9113 §10.5, CVE-2023-44487, CVE-2019-9511 to 9518). The h2 crate
//! bounds the memory of each, but works on for as long as they come. So each costs, and what honest clients do earns it
//! back: DATA in either direction, a response, time. A pure rule over numbers: no clock, no socket.

/// What an account can hold, and begins with.
const FULL: i64 = 1000;

/// Credits for each second. Twenty resets or a hundred pings a second are nothing to a server, for ever.
const PER_SECOND: u64 = 100;

/// Something that a client did or got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FrameCost {
    /// PING, PRIORITY, WINDOW_UPDATE, an unknown frame, DATA without bytes, a stream too many.
    Idle,
    /// SETTINGS: each is applied to all streams and answered.
    Settings,
    /// RST_STREAM: a request that was read, checked and perhaps begun for nothing. A browser that leaves a page may reset
    /// all the streams that it is allowed, 128, at once.
    Reset,
    /// We reset a stream, because the client broke a rule of it. Most have cost no more than to be read.
    Refused,
    /// DATA with bytes came.
    Data,
    /// DATA with so many bytes went: a client may answer each with a WINDOW_UPDATE for the stream and one for the connection,
    /// and large ones with as many for each part that it reads (Go's does for every 4 KiB).
    Sent(usize),
    /// The head of a response went.
    Response,
}

/// One connection's account.
pub(super) struct FloodGuard {
    balance: i64,
    /// When time was last credited.
    credited_ms: u64,
}

impl FloodGuard {
    pub(super) fn new(now_ms: u64) -> FloodGuard {
        FloodGuard {
            balance: FULL,
            credited_ms: now_ms,
        }
    }

    /// False if the account is overdrawn: this is a flood. `now_ms` is asked for only where it matters.
    pub(super) fn note(&mut self, cost: FrameCost, now_ms: impl FnOnce() -> u64) -> bool {
        self.balance += match cost {
            FrameCost::Idle => -1,
            FrameCost::Settings => -5,
            FrameCost::Reset => -5,
            FrameCost::Refused => -2,
            FrameCost::Data => 1,
            FrameCost::Sent(size) => 3 + i64::try_from(size / 512).unwrap_or(FULL),
            FrameCost::Response => 10,
        };
        self.balance = self.balance.min(FULL);
        if self.balance < 0 {
            let now = now_ms();
            let earned = now.saturating_sub(self.credited_ms).saturating_mul(PER_SECOND) / 1000;
            self.credited_ms = now;
            self.balance = self
                .balance
                .saturating_add(i64::try_from(earned).unwrap_or(FULL))
                .min(FULL);
        }
        self.balance >= 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of these a new client may send within `ms`.
    fn allowed(deeds: &[FrameCost], ms: u64) -> usize {
        let mut guard = FloodGuard::new(0);
        let limit = 100_000;
        for round in 0..limit {
            for cost in deeds {
                if !guard.note(*cost, || ms) {
                    return round;
                }
            }
        }
        limit
    }

    #[test]
    fn a_flood_of_anything_idle_ends_soon() {
        assert_eq!(allowed(&[FrameCost::Idle], 0), 1000);
        assert_eq!(allowed(&[FrameCost::Settings], 0), 200);
        assert_eq!(allowed(&[FrameCost::Reset], 0), 200);
        assert_eq!(allowed(&[FrameCost::Refused], 0), 500);
    }

    #[test]
    fn time_earns_and_not_without_end() {
        assert_eq!(allowed(&[FrameCost::Idle], 1000), 1100);
        assert_eq!(allowed(&[FrameCost::Idle], 3_600_000), 2001);
        let mut guard = FloodGuard::new(0);
        for second in 0..100_000 {
            for _ in 0..99 {
                assert!(guard.note(FrameCost::Idle, || second * 1000), "second {second}");
            }
        }
    }

    #[test]
    fn what_honest_clients_do_is_never_a_flood() {
        let echo = [
            FrameCost::Data,
            FrameCost::Sent(10),
            FrameCost::Idle,
            FrameCost::Idle,
        ];
        assert_eq!(allowed(&echo, 0), 100_000, "small messages, each acknowledged");
        let mut download = vec![FrameCost::Sent(16_384)];
        download.extend([FrameCost::Idle; 32]);
        assert_eq!(allowed(&download, 0), 100_000, "an update for each KiB, twice");
        assert_eq!(
            allowed(&[FrameCost::Response, FrameCost::Reset], 0),
            100_000,
            "ended after the response began"
        );
        let mut proxy = vec![FrameCost::Refused; 5];
        proxy.push(FrameCost::Response);
        assert_eq!(
            allowed(&proxy, 0),
            100_000,
            "a proxy, one of whose clients sends nonsense"
        );
    }
}
