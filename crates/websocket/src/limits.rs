//! What a session allows and how long it waits: every number with its default and the reason for it.
//!
//! These are plain values; where each one is enforced stands in `receiving.rs`, `session.rs` and `pings.rs`. One
//! `SessionSettings` is shared by all sessions of an application behind an `Arc`, so a session pays eight bytes for
//! it. A limit that is broken always ends the session with a close code that says so; nothing is cut or dropped
//! without a word.

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes in one message, all fragments together; more closes with 1009.
    ///
    /// 1 MiB, uWSGI's default for a frame. It bounds what one peer can make this process hold.
    pub max_message: usize,
    /// Frames in one message; more closes with 1008.
    ///
    /// 1024 and one more for every 32 bytes of `max_message`: fragments of at least 32 bytes always fit, while an
    /// endless message of empty fragments, which no byte limit would catch, ends.
    pub max_fragments: u32,
    /// Pings and pongs accepted within `control_window` while no data message is completed; more closes with 1008.
    ///
    /// 500 in ten seconds is far above any keep-alive, and bounds the pongs that a peer can make us write.
    pub max_control_frames_without_progress: u32,
    /// The window of `max_control_frames_without_progress`: ten seconds.
    pub control_window: Duration,
    /// Bytes of complete, unread messages at which the session asks not to be read any more.
    ///
    /// 256 KiB: enough that a fast peer never waits for a working application, small enough that a thousand stuck
    /// ones fit into memory. The peer then feels TCP's back-pressure. Every message counts eight bytes beside its
    /// payload, so that empty messages are not free.
    pub inbox_mark: usize,
}

impl Limits {
    /// The defaults, for messages of up to `max_message` bytes; `max_fragments` follows it.
    pub fn for_messages_up_to(max_message: usize) -> Limits {
        Limits {
            max_message,
            max_fragments: u32::try_from(max_message / 32)
                .unwrap_or(u32::MAX)
                .saturating_add(1024),
            max_control_frames_without_progress: 500,
            control_window: Duration::from_secs(10),
            inbox_mark: 256 * 1024,
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits::for_messages_up_to(1024 * 1024)
    }
}

/// Pings, pongs and time-outs. Zero switches a period off, except `pong_tolerance` and `close_timeout`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timing {
    /// A ping goes out when nothing has been received for this long: 30 s, uWSGI's `--websockets-ping-freq`, and
    /// below the 60 s after which common proxies drop a silent connection.
    pub ping_every: Duration,
    /// How long after a ping any sign of life may take: 3 s, uWSGI's `--websockets-pong-tolerance`.
    pub pong_tolerance: Duration,
    /// How long after the last sign of life, or our last ping or pong, an unasked pong goes out, if that is before
    /// the next ping. `None`: midway between two pings. It keeps middleboxes awake without asking for an answer.
    pub pong_every: Option<Duration>,
    /// Without a data message for this long the session closes with 1001. Off: many applications only send.
    pub idle_timeout: Duration,
    /// How long a closing connection may linger for the peer's Close and its end of TCP: 5 s, many round trips on
    /// a bad network, yet soon enough that a dead peer does not hold a slot.
    pub close_timeout: Duration,
}

impl Default for Timing {
    fn default() -> Timing {
        Timing {
            ping_every: Duration::from_secs(30),
            pong_tolerance: Duration::from_secs(3),
            pong_every: None,
            idle_timeout: Duration::ZERO,
            close_timeout: Duration::from_secs(5),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fragment_limit_follows_the_message_limit() {
        assert_eq!(Limits::default().max_message, 1 << 20);
        assert_eq!(Limits::default().max_fragments, 1024 + 32 * 1024);
        assert_eq!(Limits::for_messages_up_to(0).max_fragments, 1024);
        assert_eq!(Limits::for_messages_up_to(usize::MAX).max_fragments, u32::MAX);
    }
}
