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
    /// A status outside 100 to 999, or what [`check_header`] refuses.
    pub fn new(status: u16, headers: Vec<(String, Vec<u8>)>) -> Result<ResponseHead, HeadError> {
        if !(100..=999).contains(&status) {
            return Err(HeadError::InvalidStatus(status));
        }
        for (name, value) in &headers {
            check_header(name, value)?;
        }
        Ok(ResponseHead {
            status,
            reason: None,
            headers,
        })
    }
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
}

impl HeadError {
    /// A short name that stays the same when the wording changes.
    pub fn code(&self) -> &'static str {
        match self {
            HeadError::InvalidStatus(_) => "invalid-status",
            HeadError::InvalidHeaderName(_) => "invalid-header-name",
            HeadError::InvalidHeaderValue(_) => "invalid-header-value",
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
    // RFC 9110 §5.5: visible characters, bytes from 0x80 on, space and tab.
    if value
        .iter()
        .any(|byte| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f)
    {
        return Err(HeadError::InvalidHeaderValue(name.to_owned()));
    }
    Ok(())
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
    fn a_status_has_three_digits() {
        assert_eq!(ResponseHead::new(99, vec![]), Err(HeadError::InvalidStatus(99)));
        assert_eq!(
            ResponseHead::new(1000, vec![]),
            Err(HeadError::InvalidStatus(1000))
        );
        assert!(ResponseHead::new(101, vec![]).is_ok());
    }
}
