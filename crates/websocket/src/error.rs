//! Errors by whose fault: `PeerError` when the other side broke a rule, `UsageError` when our own caller did.
//!
//! A peer error ends the session with the close code that belongs to its rule; a usage error changes nothing and
//! leaves the session as it was. Each has one variant per rule, so that a counter per rule needs no text matching,
//! and a `Display` of one sentence with the value that was wrong. A refused handshake has its own type, because it
//! is answered in HTTP (`handshake_error.rs`).

use std::error::Error;
use std::fmt;
use std::time::Duration;

use fairlead_http::HeadError;

use crate::close_code::CloseCode;

/// A rule that the peer broke. The session answers with `close_code` and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerError {
    /// A reserved bit is set though no extension was negotiated; the value has the three bits, RSV1 first.
    ReservedBits(u8),
    /// A reserved opcode.
    ReservedOpcode(u8),
    /// A frame without a mask.
    Unmasked,
    /// A control frame without FIN.
    FragmentedControl,
    /// A control frame with more than 125 bytes.
    LongControl,
    /// A length that fits a shorter form.
    LengthNotMinimal(u64),
    /// A 64-bit length whose most significant bit is set.
    LengthTopBit,
    /// A continuation frame while no message is open.
    NothingToContinue,
    /// A new message inside a fragmented one.
    MessageNotFinished,
    /// Text that is not UTF-8.
    TextNotUtf8,
    /// A Close frame whose body has a single byte.
    CloseBodyTooShort,
    /// A close code that must not travel.
    InvalidCloseCode(u16),
    /// A close reason that is not UTF-8.
    CloseReasonNotUtf8,
    /// A message over the limit, known from the header, before its bytes arrive.
    MessageTooBig {
        /// The bytes announced so far.
        length: u64,
        /// `Limits::max_message`.
        limit: usize,
    },
    /// A message of too many frames.
    TooManyFragments {
        /// `Limits::max_fragments`.
        limit: u32,
    },
    /// Pings and pongs without end, and no data.
    ControlFlood {
        /// `Limits::max_control_frames_without_progress`.
        limit: u32,
        /// `Limits::control_window`.
        window: Duration,
    },
}

impl PeerError {
    /// The code of the Close frame that answers this error.
    pub fn close_code(&self) -> CloseCode {
        match self {
            PeerError::TextNotUtf8 | PeerError::CloseReasonNotUtf8 => CloseCode::INVALID_DATA,
            PeerError::MessageTooBig { .. } => CloseCode::MESSAGE_TOO_BIG,
            PeerError::TooManyFragments { .. } | PeerError::ControlFlood { .. } => {
                CloseCode::POLICY_VIOLATION
            }
            _ => CloseCode::PROTOCOL_ERROR,
        }
    }

    /// The rule that was broken, with its section.
    pub fn rule(&self) -> &'static str {
        match self {
            PeerError::ReservedBits(_) => "RFC 6455 §5.2: RSV bits are 0 unless an extension defines them",
            PeerError::ReservedOpcode(_) => "RFC 6455 §5.2: opcodes 3 to 7 and 11 to 15 are reserved",
            PeerError::Unmasked => "RFC 6455 §5.1: a client masks all frames",
            PeerError::FragmentedControl => "RFC 6455 §5.5: control frames are not fragmented",
            PeerError::LongControl => "RFC 6455 §5.5: control frames carry at most 125 bytes",
            PeerError::LengthNotMinimal(_) => "RFC 6455 §5.2: a length uses the fewest bytes",
            PeerError::LengthTopBit => "RFC 6455 §5.2: the top bit of a 64-bit length is 0",
            PeerError::NothingToContinue => "RFC 6455 §5.4: a continuation follows a fragment",
            PeerError::MessageNotFinished => "RFC 6455 §5.4: fragments of two messages do not mix",
            PeerError::TextNotUtf8 => "RFC 6455 §8.1: text is UTF-8",
            PeerError::CloseBodyTooShort => "RFC 6455 §5.5.1: a close body begins with a two-byte code",
            PeerError::InvalidCloseCode(_) => "RFC 6455 §7.4: this close code is not for the wire",
            PeerError::CloseReasonNotUtf8 => "RFC 6455 §5.5.1: a close reason is UTF-8",
            PeerError::MessageTooBig { .. } => "RFC 6455 §10.4: an endpoint limits the size of a message",
            PeerError::TooManyFragments { .. } => {
                "RFC 6455 §10.4: an endpoint limits the frames of a message"
            }
            PeerError::ControlFlood { .. } => {
                "RFC 6455 §10.4: an endpoint limits control frames without data"
            }
        }
    }
}

impl fmt::Display for PeerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PeerError::ReservedBits(bits) => write!(f, "frame with reserved bits {bits:03b}"),
            PeerError::ReservedOpcode(opcode) => write!(f, "frame with reserved opcode {opcode}"),
            PeerError::Unmasked => f.write_str("frame without a mask"),
            PeerError::FragmentedControl => f.write_str("fragmented control frame"),
            PeerError::LongControl => f.write_str("control frame with more than 125 bytes"),
            PeerError::LengthNotMinimal(length) => write!(f, "length {length} not in its shortest form"),
            PeerError::LengthTopBit => f.write_str("frame length of 2^63 or more"),
            PeerError::NothingToContinue => f.write_str("continuation frame without a message to continue"),
            PeerError::MessageNotFinished => f.write_str("new message inside a fragmented one"),
            PeerError::TextNotUtf8 => f.write_str("text message is not UTF-8"),
            PeerError::CloseBodyTooShort => f.write_str("close frame with a body of one byte"),
            PeerError::InvalidCloseCode(code) => write!(f, "close code {code} must not be sent"),
            PeerError::CloseReasonNotUtf8 => f.write_str("close reason is not UTF-8"),
            PeerError::MessageTooBig { length, limit } => {
                write!(f, "message of {length} bytes, at most {limit} are allowed")
            }
            PeerError::TooManyFragments { limit } => {
                write!(f, "message of more than {limit} frames")
            }
            PeerError::ControlFlood { limit, window } => {
                write!(
                    f,
                    "more than {limit} control frames in {} s without a message",
                    window.as_secs_f64()
                )
            }
        }
    }
}

impl Error for PeerError {}

/// A call that our own side must not make. Nothing has been sent or changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UsageError {
    /// The WebSocket is closed or closing: no data after a Close (RFC 6455 §5.5.1).
    Closed,
    /// A close code that must not be sent.
    InvalidCloseCode(u16),
    /// A ping payload of more than 125 bytes.
    LongPing(usize),
    /// A subprotocol that the client did not offer.
    SubprotocolNotOffered(String),
    /// A header of the answer that cannot be sent.
    Head(HeadError),
    /// A header that the handshake itself sets, or that a 101 response must not have.
    ReservedHeader(String),
}

impl UsageError {
    /// A short name that stays the same when the wording changes.
    pub fn code(&self) -> &'static str {
        match self {
            UsageError::Closed => "closed",
            UsageError::InvalidCloseCode(_) => "invalid-close-code",
            UsageError::LongPing(_) => "long-ping",
            UsageError::SubprotocolNotOffered(_) => "subprotocol-not-offered",
            UsageError::Head(error) => error.code(),
            UsageError::ReservedHeader(_) => "reserved-header",
        }
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UsageError::Closed => f.write_str("the WebSocket is closed, nothing more can be sent"),
            UsageError::InvalidCloseCode(code) => {
                write!(
                    f,
                    "close code {code} must not be sent, use 1000 to 1003, 1007 to 1014 or 3000 to 4999"
                )
            }
            UsageError::LongPing(length) => {
                write!(f, "a ping carries at most 125 bytes, not {length}")
            }
            UsageError::SubprotocolNotOffered(name) => {
                write!(
                    f,
                    "the client did not offer the subprotocol {name:?}, choose one that it offers or none"
                )
            }
            UsageError::Head(error) => error.fmt(f),
            UsageError::ReservedHeader(name) => {
                write!(
                    f,
                    "the header {name:?} is set by the handshake itself, leave it out"
                )
            }
        }
    }
}

impl Error for UsageError {}

impl From<HeadError> for UsageError {
    fn from(error: HeadError) -> UsageError {
        UsageError::Head(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_cites_its_section_and_fits_a_close_frame() {
        let window = Duration::from_secs(10);
        let errors = [
            PeerError::ReservedBits(4),
            PeerError::ReservedOpcode(3),
            PeerError::Unmasked,
            PeerError::FragmentedControl,
            PeerError::LongControl,
            PeerError::LengthNotMinimal(5),
            PeerError::LengthTopBit,
            PeerError::NothingToContinue,
            PeerError::MessageNotFinished,
            PeerError::TextNotUtf8,
            PeerError::CloseBodyTooShort,
            PeerError::InvalidCloseCode(1005),
            PeerError::CloseReasonNotUtf8,
            PeerError::MessageTooBig {
                length: u64::MAX,
                limit: usize::MAX,
            },
            PeerError::TooManyFragments { limit: u32::MAX },
            PeerError::ControlFlood {
                limit: u32::MAX,
                window,
            },
        ];
        for error in errors {
            assert!(error.rule().starts_with("RFC 6455 §"), "{error}");
            assert!(error.to_string().len() <= crate::close::MAX_REASON, "{error}");
            assert!(error.close_code().is_valid_on_wire(), "{error}");
        }
    }
}
