//! The body of a Close frame: what it must look like, and how a reason is cut to fit, RFC 6455 §5.5.1.
//!
//! Who closes when is the session's business (`closing.rs`), not this file's.

use crate::close_code::CloseCode;
use crate::error::PeerError;

/// RFC 6455 §5.5: a control frame carries at most 125 bytes.
pub(crate) const MAX_CONTROL_PAYLOAD: usize = 125;

/// A reason has what the two bytes of the code leave of a control frame.
pub(crate) const MAX_REASON: usize = MAX_CONTROL_PAYLOAD - 2;

/// The longest start of `reason` that fits a Close frame and ends between two characters.
pub fn fit_reason(reason: &str) -> &str {
    // RFC 6455 §5.5.1: the reason is UTF-8, so a cut inside a character would make the frame invalid.
    let mut end = reason.len().min(MAX_REASON);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    &reason[..end]
}

/// Reads the payload of a received Close frame: nothing, or a code and a reason.
pub(crate) fn parse_body(payload: &[u8]) -> Result<Option<(CloseCode, &str)>, PeerError> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        // RFC 6455 §5.5.1: a body, if there is one, begins with a two-byte code.
        return if payload.is_empty() {
            Ok(None)
        } else {
            Err(PeerError::CloseBodyTooShort)
        };
    };
    let code = CloseCode(u16::from_be_bytes(*code));
    if !code.is_valid_on_wire() {
        return Err(PeerError::InvalidCloseCode(code.0));
    }
    match std::str::from_utf8(reason) {
        Ok(reason) => Ok(Some((code, reason))),
        Err(_) => Err(PeerError::CloseReasonNotUtf8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_reason_is_cut_between_two_characters() {
        assert_eq!(fit_reason("short"), "short");
        assert_eq!(fit_reason(&"a".repeat(200)).len(), 123);
        let euros = "€".repeat(50);
        assert_eq!(fit_reason(&euros), "€".repeat(41));
        assert_eq!(fit_reason(&format!("a{euros}")).len(), 1 + 40 * 3);
    }

    #[test]
    fn a_body_is_empty_or_begins_with_a_valid_code() {
        assert_eq!(parse_body(b""), Ok(None));
        assert_eq!(parse_body(b"\x03\xe8"), Ok(Some((CloseCode::NORMAL, ""))));
        assert_eq!(
            parse_body(b"\x03\xe9bye"),
            Ok(Some((CloseCode::GOING_AWAY, "bye")))
        );
        assert_eq!(parse_body(b"\x03"), Err(PeerError::CloseBodyTooShort));
        assert_eq!(parse_body(b"\x03\xed"), Err(PeerError::InvalidCloseCode(1005)));
        assert_eq!(parse_body(b"\x03\xe8\xff"), Err(PeerError::CloseReasonNotUtf8));
    }
}
