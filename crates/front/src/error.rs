//! What can go wrong, by whose fault.
//!
//! [`Gone`] is for the application's side: the way back is closed, which is nobody's fault. [`BodyError`] too: why the rest
//! of a request's body will not come. [`Refusal`] is the client's
//! fault: a request that breaks a rule which hyper does not check; the front answers it without asking the application. One
//! sentence each, with the value. What hyper itself refuses (it answers before the front sees a request) is only logged.

use std::fmt;

/// The way back is closed: the client has left, the response has ended, or the front has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing can be sent: the client has left or the response has already ended")
    }
}

impl std::error::Error for Gone {}

/// Why the rest of a request's body will not come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// The client has left.
    Gone,
    /// The client sent nothing for longer than `stall_timeout`, or fell that far behind `body_minimum_rate`, so the connection
    /// is closed.
    Stalled,
    /// The framing is broken (RFC 9112 §7.1): nobody can tell where the body ends.
    Malformed(String),
    /// Longer than `max_body`.
    TooLarge(u64),
    /// The response is complete, so the rest of the body is not read.
    TooLate,
}

impl BodyError {
    /// The HTTP status for a client whose fault it is and that may still read one.
    pub fn status(&self) -> Option<u16> {
        match self {
            BodyError::Malformed(_) => Some(400),
            BodyError::Stalled => Some(408),
            BodyError::TooLarge(_) => Some(413),
            BodyError::Gone | BodyError::TooLate => None,
        }
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BodyError::Gone => f.write_str("the client has left before the end of its body"),
            BodyError::Stalled => {
                f.write_str("the client stopped sending before the end of its body, or sent too slowly")
            }
            BodyError::Malformed(why) => write!(f, "the request body broke off: {why}"),
            BodyError::TooLarge(limit) => {
                write!(
                    f,
                    "the request body is longer than the {limit} bytes that are accepted"
                )
            }
            BodyError::TooLate => {
                f.write_str("the response is complete, so the rest of the body is not read")
            }
        }
    }
}

impl std::error::Error for BodyError {}

/// Why the front answers a request itself, with `Connection: close`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// RFC 9112 §6.1: the classic of request smuggling.
    LengthAndCoding,
    /// RFC 9112 §6.3: even when both say the same, one hop may read the other.
    LengthRepeated,
    /// RFC 9112 §2.2 allows to accept it; who does disagrees with who does not about where a header ends.
    BareLineFeed,
    /// RFC 9112 §7.1: the body before it broke off in a way that hyper overlooks, so this may not be a request at all.
    BodyBefore,
    /// RFC 9112 §6.1: only `chunked`, once.
    TransferCoding(String),
    /// RFC 9112 §3.2.
    HostMissing,
    /// RFC 9112 §3.2.
    HostRepeated(usize),
    /// RFC 9112 §3.2: neither name nor address.
    Host(String),
    /// RFC 9113 §8.3.1: one hop would go by the one, another by the other.
    HostDiffers { host: String, authority: String },
    /// RFC 8441 §4: a protocol for a tunnel that is not spoken here.
    Tunnel(String),
    /// More header lines than are accepted.
    ManyHeaders { count: usize, limit: usize },
    /// RFC 9112 §3.2: the target's form does not fit the method.
    Target(String),
    /// RFC 9112 §3.2 has none in a target; hyper would drop it.
    Fragment(String),
    /// RFC 9110 §7.8 leaves the order of body and new protocol to chance (CVE-2026-69243 made use of it).
    UpgradeWithBody,
    /// RFC 9110 §9.3.6: only a proxy can do this.
    Connect(String),
    /// Longer than `max_body`.
    BodyTooLarge { length: u64, limit: u64 },
}

impl Refusal {
    /// The status of the answer.
    pub(crate) fn status(&self) -> u16 {
        match self {
            Refusal::BodyTooLarge { .. } => 413,
            Refusal::Connect(_) | Refusal::Tunnel(_) => 501,
            Refusal::ManyHeaders { .. } => 431,
            _ => 400,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::LengthAndCoding => {
                f.write_str("the request has both Content-Length and Transfer-Encoding; send one of them")
            }
            Refusal::LengthRepeated => f.write_str("the request has more than one Content-Length; send one"),
            Refusal::BareLineFeed => {
                f.write_str("a line of the request head ends with LF alone; end it with CR LF")
            }
            Refusal::BodyBefore => {
                f.write_str("the body of the request before has a broken chunk; use a new connection")
            }
            Refusal::TransferCoding(value) => {
                write!(
                    f,
                    "the Transfer-Encoding {value:?} is not known; send \"chunked\""
                )
            }
            Refusal::HostMissing => f.write_str("the request has no Host; send one"),
            Refusal::HostRepeated(count) => {
                write!(f, "the request has {count} Host headers; send one")
            }
            Refusal::Host(value) => {
                write!(
                    f,
                    "the Host {value:?} is no host name or address with an optional port"
                )
            }
            Refusal::HostDiffers { host, authority } => {
                write!(
                    f,
                    "the request has Host {host:?} and :authority {authority:?}; send one of them, or the same"
                )
            }
            Refusal::Tunnel(protocol) => {
                write!(
                    f,
                    "CONNECT with :protocol {protocol:?} was asked for; only \"websocket\" is spoken here"
                )
            }
            Refusal::ManyHeaders { count, limit } => {
                write!(
                    f,
                    "the request has {count} header lines; at most {limit} are accepted"
                )
            }
            Refusal::Target(target) => {
                write!(
                    f,
                    "the request target {target:?} does not fit its method; send a path that begins with /"
                )
            }
            Refusal::Fragment(target) => {
                write!(
                    f,
                    "the request target {target:?} has a fragment; send it without # and what follows"
                )
            }
            Refusal::UpgradeWithBody => {
                f.write_str("the WebSocket handshake has a body; send it without one")
            }
            Refusal::Connect(target) => {
                write!(f, "CONNECT {target} was asked for, but this is not a proxy")
            }
            Refusal::BodyTooLarge { length, limit } => {
                write!(
                    f,
                    "the request body has {length} bytes; at most {limit} are accepted"
                )
            }
        }
    }
}
