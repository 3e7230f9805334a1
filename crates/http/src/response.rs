//! A response head, checked once so that no later writer has to look for smuggled line breaks.
//!
//! Names are tokens and values have no control bytes (RFC 9110 §5.5, §5.6.2), which rules out response splitting.
//! Serialising it, and headers such as Date, are for the front.

use std::error::Error;
use std::fmt;

/// A response head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// The status code.
    pub status: u16,
    /// The reason phrase; `None` for the usual one.
    pub reason: Option<String>,
    /// Names and values in the order in which they are sent.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl ResponseHead {
    /// A head whose parts have been checked.
    ///
    /// # Errors
    /// A status outside 100 to 999, what [`check_header`] refuses, a `Content-Length` that is no number, or two that differ.
    pub fn new(status: u16, headers: Vec<(String, Vec<u8>)>) -> Result<ResponseHead, HeadError> {
        if !(100..=999).contains(&status) {
            return Err(HeadError::InvalidStatus(status));
        }
        let mut length = None;
        for (name, value) in &headers {
            check_header(name, value)?;
            if name.eq_ignore_ascii_case("content-length") {
                let number = length_of(value)?;
                if length.replace(number).is_some_and(|earlier| earlier != number) {
                    return Err(HeadError::TwoLengths(number));
                }
            }
        }
        Ok(ResponseHead {
            status,
            reason: None,
            headers,
        })
    }

    /// The same with a reason phrase.
    ///
    /// # Errors
    /// The phrase has a control byte (RFC 9112 §4).
    pub fn with_reason(self, reason: &str) -> Result<ResponseHead, HeadError> {
        if !is_text(reason.as_bytes()) {
            return Err(HeadError::InvalidReason(reason.to_owned()));
        }
        Ok(ResponseHead {
            reason: Some(reason.to_owned()),
            ..self
        })
    }
}

/// RFC 9110 §8.6.
fn length_of(value: &[u8]) -> Result<u64, HeadError> {
    let digits = std::str::from_utf8(value)
        .ok()
        .filter(|text| !text.starts_with('+'));
    digits
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| HeadError::InvalidLength(String::from_utf8_lossy(value).into_owned()))
}

/// A response head that cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeadError {
    /// A status outside 100 to 999.
    InvalidStatus(u16),
    /// A header name that is not a token.
    InvalidHeaderName(String),
    /// A header, named here, whose value has a control byte.
    InvalidHeaderValue(String),
    /// A reason phrase with a control byte.
    InvalidReason(String),
    /// A `Content-Length` that is not a number.
    InvalidLength(String),
    /// A second `Content-Length`, which says something else than the first.
    TwoLengths(u64),
}

impl HeadError {
    /// A short name that stays the same when the wording changes.
    pub fn code(&self) -> &'static str {
        match self {
            HeadError::InvalidStatus(_) => "invalid-status",
            HeadError::InvalidHeaderName(_) => "invalid-header-name",
            HeadError::InvalidHeaderValue(_) => "invalid-header-value",
            HeadError::InvalidReason(_) => "invalid-reason",
            HeadError::InvalidLength(_) => "invalid-content-length",
            HeadError::TwoLengths(_) => "two-content-lengths",
        }
    }
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HeadError::InvalidStatus(status) => write!(f, "{status} is not an HTTP status"),
            HeadError::InvalidHeaderName(name) => {
                write!(f, "{name:?} is not a header name, use letters, digits and dashes")
            }
            HeadError::InvalidHeaderValue(name) => {
                write!(f, "the value of the header {name:?} has a control character")
            }
            HeadError::InvalidReason(reason) => {
                write!(f, "the reason phrase {reason:?} has a control character")
            }
            HeadError::InvalidLength(value) => {
                write!(
                    f,
                    "the Content-Length {value:?} is not a number, give the body's size in bytes or leave it out"
                )
            }
            HeadError::TwoLengths(second) => {
                write!(
                    f,
                    "there are two Content-Lengths, the second is {second}; give one"
                )
            }
        }
    }
}

impl Error for HeadError {}

/// Refuses a header that would break the framing of a response.
///
/// # Errors
/// The name is not a token (RFC 9110 §5.6.2), or the value has a control byte (RFC 9110 §5.5).
pub fn check_header(name: &str, value: &[u8]) -> Result<(), HeadError> {
    if !is_token(name.as_bytes()) {
        return Err(HeadError::InvalidHeaderName(name.to_owned()));
    }
    if !is_text(value) {
        return Err(HeadError::InvalidHeaderValue(name.to_owned()));
    }
    Ok(())
}

/// RFC 9110 §5.5: visible characters, bytes from 0x80 on, space and tab.
fn is_text(bytes: &[u8]) -> bool {
    !bytes
        .iter()
        .any(|byte| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f)
}

/// Whether the bytes are a token, RFC 9110 §5.6.2.
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty()
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(name: &str, value: &[u8]) -> Result<ResponseHead, HeadError> {
        ResponseHead::new(200, vec![(name.to_owned(), value.to_vec())])
    }

    #[test]
    fn a_header_cannot_split_a_response() {
        for value in [&b"a\r\nX: y"[..], b"a\n", b"a\rb", b"a\0b", b"\x7f"] {
            assert_eq!(
                head("X-A", value),
                Err(HeadError::InvalidHeaderValue("X-A".into()))
            );
        }
        for name in ["", "X A", "X:", "X\r\n", "Ä"] {
            assert_eq!(head(name, b"v"), Err(HeadError::InvalidHeaderName(name.into())));
        }
        assert!(head("X-A", b"tab\t space \xe4 \"quoted\"").is_ok());
    }

    #[test]
    fn a_length_is_one_number() {
        for value in [
            &b""[..],
            b"+5",
            b"-5",
            b"5, 5",
            b"five",
            b"5 ",
            b"18446744073709551616",
        ] {
            let text = String::from_utf8_lossy(value).into_owned();
            assert_eq!(head("content-length", value), Err(HeadError::InvalidLength(text)));
        }
        let two = |first: &str, second: &str| {
            let pair = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
            ResponseHead::new(
                200,
                vec![pair("Content-Length", first), pair("content-length", second)],
            )
        };
        assert_eq!(two("5", "6"), Err(HeadError::TwoLengths(6)));
        assert!(two("5", "05").is_ok());
    }

    #[test]
    fn a_reason_phrase_ends_no_line() {
        let phrase = |text: &str| ResponseHead::new(200, vec![]).and_then(|head| head.with_reason(text));
        for text in ["a\r\nX: y", "a\n", "\u{7f}", "\0"] {
            assert_eq!(phrase(text), Err(HeadError::InvalidReason(text.into())));
        }
        for text in ["", "Fine\tIndeed", "\u{e4}h"] {
            assert_eq!(phrase(text).expect(text).reason.as_deref(), Some(text));
        }
    }

    #[test]
    fn a_status_has_three_digits() {
        assert_eq!(ResponseHead::new(99, vec![]), Err(HeadError::InvalidStatus(99)));
        assert_eq!(
            ResponseHead::new(1000, vec![]),
            Err(HeadError::InvalidStatus(1000))
        );
        assert!(ResponseHead::new(101, vec![]).is_ok());
    }
}
