//! What a session allows and how long it waits.
//!
//! These are plain values; where each one is enforced stands in `receiving.rs`, `session.rs` and `pings.rs`. One
//! `SessionSettings` is shared by all sessions of an application behind an `Arc`, so a session pays eight bytes for
//! it. A limit that is broken always ends the session with a close code that says so; nothing is cut or dropped
//! without a word. What each number usually is, and why, stands in the engine's table of settings and not here: the
//! `Default` of these structs is zero throughout, which allows nothing.

use std::time::Duration;

/// The settings that sessions share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionSettings {
    /// How much a peer may send.
    pub limits: Limits,
    /// Pings, pongs and time-outs.
    pub timing: Timing,
}

/// How much a peer may send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes in one message, all fragments together; more closes with 1009.
    pub max_message: usize,
    /// Frames in one message; more closes with 1008. See [`Limits::fragments_of`].
    pub max_fragments: u32,
    /// Pings and pongs accepted within `control_window` while no data message is completed; more closes with 1008.
    pub max_control_frames_without_progress: u32,
    /// The window of `max_control_frames_without_progress`.
    pub control_window: Duration,
    /// Bytes of complete, unread messages at which the session asks not to be read any more. Every message counts eight
    /// bytes beside its payload, so that empty messages are not free.
    pub inbox_mark: usize,
}

impl Limits {
    /// The frames that a message of up to `max_message` bytes may have if nobody chose: 1024, and one more for every 32
    /// bytes. Fragments of at least 32 bytes always fit, while an endless message of empty fragments, which no byte limit
    /// would catch, ends.
    pub fn fragments_of(max_message: usize) -> u32 {
        u32::try_from(max_message / 32)
            .unwrap_or(u32::MAX)
            .saturating_add(1024)
    }
}

/// Pings, pongs and time-outs. Zero switches a period off, except `pong_tolerance` and `close_timeout`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// A ping goes out when nothing has been received for this long.
    pub ping_every: Duration,
    /// How long after a ping any sign of life may take.
    pub pong_tolerance: Duration,
    /// How long after the last sign of life, or our last ping or pong, an unasked pong goes out, if that is before
    /// the next ping. `None`: midway between two pings.
    pub pong_every: Option<Duration>,
    /// Without a data message for this long the session closes with 1001.
    pub idle_timeout: Duration,
    /// How long a closing connection may linger for the peer's Close and its end of TCP.
    pub close_timeout: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fragment_limit_follows_the_message_limit() {
        assert_eq!(Limits::fragments_of(1 << 20), 1024 + 32 * 1024);
        assert_eq!(Limits::fragments_of(0), 1024);
        assert_eq!(Limits::fragments_of(usize::MAX), u32::MAX);
    }
}
