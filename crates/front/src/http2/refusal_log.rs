//! How many lines the log gets for the refused requests of one connection.
//!
//! A client can have requests refused faster than anybody reads of them: each costs it a few bytes. So a connection writes
//! ten lines in a minute, and counts the rest; the next line, or the end of the connection, tells their number. A pure rule
//! over numbers: no clock.

use std::fmt;

/// Enough to see what is wrong with a client.
const LINES: u32 = 10;

const MINUTE_MS: u64 = 60_000;

/// One connection's.
#[derive(Default)]
pub(super) struct RefusalLog {
    began_ms: u64,
    written: u32,
    untold: u64,
}

impl RefusalLog {
    /// One more request was refused. What its line ends with, if it has one.
    pub(super) fn admit(&mut self, now_ms: u64) -> Option<Untold> {
        if self.written == 0 || now_ms >= self.began_ms + MINUTE_MS {
            (self.began_ms, self.written) = (now_ms, 0);
        }
        if self.written == LINES {
            self.untold += 1;
            return None;
        }
        self.written += 1;
        Some(Untold(std::mem::take(&mut self.untold)))
    }

    /// How many have had no line, if any.
    pub(super) fn untold(&self) -> Option<u64> {
        Some(self.untold).filter(|untold| *untold > 0)
    }
}

/// So many others have had no line; written as the end of one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Untold(u64);

impl fmt::Display for Untold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            count => write!(f, " (and {count} more of this connection before it)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_lines_in_a_minute_are_written_and_the_others_counted() {
        let mut lines = RefusalLog::default();
        let admitted = |lines: &mut RefusalLog, now| lines.admit(now).map(|untold| untold.to_string());
        for _ in 0..10 {
            assert_eq!(admitted(&mut lines, 5_000).as_deref(), Some(""));
        }
        assert_eq!(lines.untold(), None);
        for now in 5_000..5_300 {
            assert_eq!(admitted(&mut lines, now), None);
        }
        assert_eq!(admitted(&mut lines, 64_999), None);
        assert_eq!(lines.untold(), Some(301));
        let told = admitted(&mut lines, 65_000);
        assert_eq!(
            told.as_deref(),
            Some(" (and 301 more of this connection before it)")
        );
        assert_eq!(lines.untold(), None);
    }
}
