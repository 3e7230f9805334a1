//! Close codes, and which of them may travel: RFC 6455 §7.4.
//!
//! A `CloseCode` may hold any number, because 1005 and 1006 are real answers for an application although they must never be
//! sent.

use std::fmt;

/// A close code, RFC 6455 §7.4 and IANA's "WebSocket Close Code Number Registry".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// 1000: the purpose of the connection has been fulfilled.
    pub const NORMAL: CloseCode = CloseCode(1000);
    /// 1001: the server goes down, or the peer has been idle for too long, or a browser left the page.
    pub const GOING_AWAY: CloseCode = CloseCode(1001);
    /// 1002: the peer broke a rule of the protocol.
    pub const PROTOCOL_ERROR: CloseCode = CloseCode(1002);
    /// 1003: a kind of data that this endpoint cannot accept, for example binary.
    pub const UNSUPPORTED_DATA: CloseCode = CloseCode(1003);
    /// 1005: the Close frame carried no code. Never sent.
    pub const NO_STATUS: CloseCode = CloseCode(1005);
    /// 1006: the connection was lost without a Close frame. Never sent.
    pub const ABNORMAL: CloseCode = CloseCode(1006);
    /// 1007: the data does not fit its type, for example text that is not UTF-8.
    pub const INVALID_DATA: CloseCode = CloseCode(1007);
    /// 1008: a policy was violated.
    pub const POLICY_VIOLATION: CloseCode = CloseCode(1008);
    /// 1009: the message is too big.
    pub const MESSAGE_TOO_BIG: CloseCode = CloseCode(1009);
    /// 1010: a client misses an extension. A server never sends it, but may receive it.
    pub const MANDATORY_EXTENSION: CloseCode = CloseCode(1010);
    /// 1011: the server met a condition that it did not expect.
    pub const INTERNAL_ERROR: CloseCode = CloseCode(1011);
    /// 1012: the service restarts (IANA).
    pub const SERVICE_RESTART: CloseCode = CloseCode(1012);
    /// 1013: try again later (IANA).
    pub const TRY_AGAIN_LATER: CloseCode = CloseCode(1013);
    /// 1014: a gateway got a bad answer from upstream (IANA).
    pub const BAD_GATEWAY: CloseCode = CloseCode(1014);

    /// Whether a Close frame may carry this code.
    ///
    /// RFC 6455 §7.4.1: 1005, 1006 and 1015 are for local use; 1004 is reserved and 1016 to 2999 are unassigned.
    /// RFC 6455 §7.4.2: 3000 to 3999 belong to libraries, 4000 to 4999 to applications.
    pub const fn is_valid_on_wire(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> u16 {
        code.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_for_local_use_and_unassigned_codes_never_travel() {
        for code in 0..=u16::MAX {
            let travels = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
            assert_eq!(CloseCode(code).is_valid_on_wire(), travels, "{code}");
        }
    }
}
