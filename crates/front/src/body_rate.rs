//! How far a request's body is behind the minimum rate.
//!
//! Pure arithmetic: no clock, no socket. What counts is the time for which somebody waits for bytes, summed up over all
//! waits; in between the client owes nothing, and what comes then counts for it all the same. Invariant: nobody is ever
//! ahead, so that a client cannot buy hours of trickling with one fast megabyte.

/// One body's.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BodyRate {
    /// Somebody waits for bytes since then.
    awaited_since_ms: Option<u64>,
    /// Thousandths of bytes that should have come in the waits before, and have not.
    owed: u64,
}

impl BodyRate {
    #[cfg(test)]
    pub(crate) const NEW: BodyRate = BodyRate {
        awaited_since_ms: None,
        owed: 0,
    };

    pub(crate) fn begin_wait(&mut self, now_ms: u64) {
        self.awaited_since_ms.get_or_insert(now_ms);
    }

    pub(crate) fn is_awaited(&self) -> bool {
        self.awaited_since_ms.is_some()
    }

    /// So many bytes have come, and end a wait. `minimum`: bytes a second.
    pub(crate) fn came(&mut self, bytes: u64, minimum: u64, now_ms: impl FnOnce() -> u64) {
        if let Some(since) = self.awaited_since_ms.take() {
            let awaited_ms = now_ms().saturating_sub(since);
            self.owed = self.owed.saturating_add(awaited_ms.saturating_mul(minimum));
        }
        self.owed = self.owed.saturating_sub(bytes.saturating_mul(1000));
    }

    /// When the present wait has lasted so long that the client is `patience_ms` behind; 0 as `minimum`: never.
    pub(crate) fn due_ms(&self, minimum: u64, patience_ms: u64) -> Option<u64> {
        let since = self.awaited_since_ms?;
        let behind_ms = self.owed.checked_div(minimum)?;
        Some(since.saturating_add(patience_ms.saturating_sub(behind_ms)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMUM: u64 = 250;
    const PATIENCE_MS: u64 = 60_000;

    /// After such waits, each of which so many bytes have ended.
    fn after(waits: &[(u64, u64)]) -> BodyRate {
        let mut rate = BodyRate::default();
        for (awaited_ms, bytes) in waits {
            rate.begin_wait(1000);
            rate.came(*bytes, MINIMUM, || 1000 + awaited_ms);
        }
        rate.begin_wait(5000);
        rate
    }

    fn left_ms(rate: BodyRate) -> Option<u64> {
        rate.due_ms(MINIMUM, PATIENCE_MS).map(|due| due - 5000)
    }

    #[test]
    fn a_byte_in_each_wait_does_not_renew_the_patience() {
        assert_eq!(left_ms(after(&[])), Some(60_000));
        assert_eq!(left_ms(after(&[(59_000, 1)])), Some(1_004));
        assert_eq!(left_ms(after(&[(59_000, 1), (1_000, 1)])), Some(8));
        assert_eq!(left_ms(after(&[(70_000, 1)])), Some(0));
    }

    #[test]
    fn whoever_keeps_the_rate_is_never_behind() {
        assert_eq!(left_ms(after(&[(1000, 250); 1000])), Some(60_000));
    }

    #[test]
    fn what_came_fast_is_no_credit() {
        assert_eq!(left_ms(after(&[(10, 1 << 30), (59_000, 1)])), Some(1_004));
    }

    #[test]
    fn bytes_that_nobody_waited_for_count_for_the_client_and_the_time_does_not() {
        let mut rate = after(&[(50_000, 0)]);
        rate.came(0, MINIMUM, || 5000);
        rate.came(6_000, MINIMUM, || unreachable!("nobody waits"));
        assert!(!rate.is_awaited());
        assert_eq!(rate.due_ms(MINIMUM, PATIENCE_MS), None);
        rate.begin_wait(5000);
        assert_eq!(left_ms(rate), Some(34_000));
    }

    #[test]
    fn no_rate_and_endless_numbers_end_nobody() {
        assert_eq!(after(&[(59_000, 1)]).due_ms(0, PATIENCE_MS), None);
        let mut rate = after(&[]);
        rate.came(u64::MAX, u64::MAX, || u64::MAX);
        rate.begin_wait(5000);
        assert_eq!(rate.due_ms(1, u64::MAX), Some(u64::MAX));
    }
}
