//! Where a session is between its handshake and its end, and what is told of the end. Plain data; how a session gets from one
//! phase to the next stands in `closing.rs`.

use crate::error::PeerError;
use crate::time::Time;

/// Why and how a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closure {
    /// The close code; 1005 when the peer gave none, 1006 when the connection was lost.
    pub code: u16,
    /// The reason that came with the code, often empty.
    pub reason: String,
    /// Whose doing it was.
    pub by: ClosedBy,
    /// The rule that the peer broke, if it did.
    pub error: Option<PeerError>,
}

/// Whose doing the end of a session was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClosedBy {
    /// The peer sent a Close frame.
    Peer,
    /// We sent the first Close frame.
    Local(Cause),
    /// The connection ended without a close handshake.
    Lost(Lost),
}

/// Why our side sent the first Close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The application wanted it, or has ended.
    Application,
    /// Everybody is to leave.
    Drain,
    /// No message came for too long.
    Idle,
    /// Too much waited for the peer, which does not read.
    Backlog,
    /// The peer broke a rule.
    Violation,
}

/// How a connection was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lost {
    /// The peer ended the TCP stream without a Close frame.
    Eof,
    /// The connection was reset, or another error of the transport.
    Reset,
    /// Its TLS records could not be read: somebody has changed them, or never knew the keys.
    BrokenTls,
    /// No sign of life came after a ping.
    PingTimeout,
    /// The peer took too little from us for the application's next message to be sent in time.
    SendTimeout,
    /// The peer has taken nothing of what waits for it for too long; a ping waits behind that and cannot be answered.
    NotReading,
    /// Our side dropped the connection on purpose, without a close handshake.
    Dropped,
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Lost::Eof => "the peer ended the connection without a Close",
            Lost::Reset => "the connection was reset",
            Lost::BrokenTls => "its TLS records could not be read",
            Lost::PingTimeout => "no sign of life came after a ping",
            Lost::SendTimeout => "the client does not read: a message has waited for it for too long",
            Lost::NotReading => "the client does not read: its connection takes nothing of what waits for it",
            Lost::Dropped => "this side dropped the connection",
        })
    }
}

/// What the owner of the connection should do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Read and write.
    Open,
    /// Send what is left, shut the sending side down, then read and discard until the peer's end or `deadline()`.
    Closing,
    /// Drop the connection now. What is left may be written once, if that needs no waiting.
    Gone,
}

/// Where a session is between its handshake and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Both directions work.
    Open,
    /// We closed first, and read on until the peer's Close.
    CloseSent { deadline: Time },
    /// No frame will be read or written any more.
    Closing { deadline: Time },
    /// The connection is of no use.
    Gone,
}
