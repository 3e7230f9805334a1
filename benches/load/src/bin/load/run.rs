//! What the parts of a run speak of: what its connections share, how far one has come, and why one ended.

use std::fmt;
use std::io;
use std::sync::Arc;

use fairlead_bench_load::sys::Epoll;
use rustls::ClientConfig;

use crate::args::Options;
use crate::frames::FrameRing;
use crate::reader::Violation;

/// What all connections of a run share and none changes.
pub struct Shared<'a> {
    pub options: &'a Options,
    pub epoll: Epoll,
    pub frames: FrameRing,
    /// One key for all handshakes, so that the expected answer is computed once.
    pub key: String,
    pub accept: String,
    /// How TLS is spoken, when it is.
    pub tls: Option<Arc<ClientConfig>>,
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Closed,
    Connecting,
    /// The TLS handshake.
    Securing,
    /// The WebSocket handshake.
    Handshake,
    Open,
    /// Our Close is sent; whatever ends the connection now is an orderly end.
    Closing,
}

/// Why a connection ended.
#[derive(Debug)]
pub enum Fault {
    Io(io::Error),
    EndOfStream,
    Refused(String),
    ClosedByServer,
    Violation(&'static str),
    /// The HTTP/2 session ended that carried this and others.
    Session(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Io(error) => write!(f, "a connection failed: {error}"),
            Fault::EndOfStream => f.write_str("the server ended a connection without a Close"),
            Fault::Refused(head) => write!(f, "the server refused a handshake: {head:?}"),
            Fault::ClosedByServer => f.write_str("the server closed a connection"),
            Fault::Violation(rule) => write!(f, "the server sent {rule}"),
            Fault::Session(why) => write!(f, "a session of HTTP/2 ended: {why}"),
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Fault::Io(error)
    }
}

impl From<Violation> for Fault {
    fn from(Violation(rule): Violation) -> Self {
        Fault::Violation(rule)
    }
}
