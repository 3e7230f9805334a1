//! A response head, checked once so that no later writer has to look for smuggled line breaks.
//!
//! Names are tokens and values have no control bytes (RFC 9110 §5.5, §5.6.2), which rules out response splitting.
//! Serialising it, and headers such as Date, are for the front.

use crate::error::UsageError;

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
    pub fn new(status: u16, headers: Vec<(String, Vec<u8>)>) -> Result<ResponseHead, UsageError> {
        if !(100..=999).contains(&status) {
            return Err(UsageError::InvalidStatus(status));
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

/// Refuses a header that would break the framing of a response.
pub(crate) fn check_header(name: &str, value: &[u8]) -> Result<(), UsageError> {
    if !is_token(name.as_bytes()) {
        return Err(UsageError::InvalidHeaderName(name.to_owned()));
    }
    // RFC 9110 §5.5: visible characters, bytes from 0x80 on, space and tab.
    if value
        .iter()
        .any(|byte| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f)
    {
        return Err(UsageError::InvalidHeaderValue(name.to_owned()));
    }
    Ok(())
}

/// RFC 9110 §5.6.2
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty()
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(name: &str, value: &[u8]) -> Result<ResponseHead, UsageError> {
        ResponseHead::new(200, vec![(name.to_owned(), value.to_vec())])
    }

    #[test]
    fn a_header_cannot_split_a_response() {
        for value in [&b"a\r\nX: y"[..], b"a\n", b"a\rb", b"a\0b", b"\x7f"] {
            assert_eq!(
                head("X-A", value),
                Err(UsageError::InvalidHeaderValue("X-A".into()))
            );
        }
        for name in ["", "X A", "X:", "X\r\n", "Ä"] {
            assert_eq!(head(name, b"v"), Err(UsageError::InvalidHeaderName(name.into())));
        }
        assert!(head("X-A", b"tab\t space \xe4 \"quoted\"").is_ok());
    }

    #[test]
    fn a_status_has_three_digits() {
        assert_eq!(ResponseHead::new(99, vec![]), Err(UsageError::InvalidStatus(99)));
        assert_eq!(
            ResponseHead::new(1000, vec![]),
            Err(UsageError::InvalidStatus(1000))
        );
        assert!(ResponseHead::new(101, vec![]).is_ok());
    }
}
