//! How a session ends: the close handshake, a broken rule, a lost connection. RFC 6455 §5.5.1 and §7.
//!
//! The phases only ever go forward: open, Close sent, closing, gone. The first cause of the end is the one that the
//! application is told, and it is told once. After our Close frame nothing is written any more, whatever happens.

use crate::close::{self, MAX_CONTROL_PAYLOAD};
use crate::close_code::CloseCode;
use crate::closure::{Cause, ClosedBy, Closure, Lost, Phase};
use crate::error::{PeerError, UsageError};
use crate::frame::Opcode;
use crate::session::Session;
use crate::time::Time;

impl Session {
    /// Begins the close handshake for the application. On a session that is closing already, nothing happens.
    ///
    /// A reason of more than 123 bytes is cut between two characters. Messages that were complete stay readable.
    pub fn close(
        &mut self,
        code: CloseCode,
        reason: &str,
        now: Time,
        out: &mut Vec<u8>,
    ) -> Result<(), UsageError> {
        self.close_because(Cause::Application, code, reason, now, out)
    }

    /// The same for another cause.
    pub fn close_because(
        &mut self,
        cause: Cause,
        code: CloseCode,
        reason: &str,
        now: Time,
        out: &mut Vec<u8>,
    ) -> Result<(), UsageError> {
        if !matches!(self.phase, Phase::Open) {
            return Ok(());
        }
        // RFC 6455 §7.4
        if !code.is_valid_on_wire() {
            return Err(UsageError::InvalidCloseCode(code.0));
        }
        self.close_now(cause, code, reason, now, out);
        Ok(())
    }

    /// The peer ended its stream.
    pub fn receive_eof(&mut self, now: Time) {
        self.lost(Lost::Eof, now);
    }

    /// The connection is lost, or must be dropped. After a close handshake this only confirms the end.
    pub fn lost(&mut self, why: Lost, _now: Time) {
        self.phase = Phase::Gone;
        self.inbox.end();
        self.end(Closure {
            // RFC 6455 §7.1.5: without a Close frame the code is 1006.
            code: CloseCode::ABNORMAL.0,
            reason: String::new(),
            by: ClosedBy::Lost(why),
            error: None,
        });
    }

    /// Closes from our side; the session is open and the code is valid.
    pub(crate) fn close_now(
        &mut self,
        cause: Cause,
        code: CloseCode,
        reason: &str,
        now: Time,
        out: &mut Vec<u8>,
    ) {
        let reason = close::fit_reason(reason);
        self.append_close(Some(code), reason, out);
        self.inbox.end();
        self.phase = Phase::CloseSent {
            deadline: self.close_deadline(now),
        };
        self.end(Closure {
            code: code.0,
            reason: reason.to_owned(),
            by: ClosedBy::Local(cause),
            error: None,
        });
    }

    /// The peer's Close frame has arrived.
    pub(crate) fn receive_close(&mut self, payload: &[u8], now: Time, out: &mut Vec<u8>) {
        if let Phase::CloseSent { deadline } = self.phase {
            // RFC 6455 §5.5.1: both have sent one, the handshake is complete; a second of ours must not follow.
            self.phase = Phase::Closing { deadline };
            return;
        }
        let (code, reason, error) = match close::parse_body(payload) {
            Ok(Some((code, reason))) => (Some(code), reason, None),
            Ok(None) => (None, "", None),
            Err(error) => (Some(error.close_code()), "", Some(error)),
        };
        // RFC 6455 §5.5.1: the answer typically echoes the code.
        self.append_close(code, "", out);
        self.inbox.end();
        // RFC 6455 §7.1.1: the server closes TCP first.
        self.phase = Phase::Closing {
            deadline: self.close_deadline(now),
        };
        // RFC 6455 §7.1.5: without a code it is 1005.
        let code = code.unwrap_or(CloseCode::NO_STATUS).0;
        self.end(Closure {
            code,
            reason: reason.to_owned(),
            by: ClosedBy::Peer,
            error,
        });
    }

    /// RFC 6455 §7.1.7: fails the connection. The peer is told why, and nothing of it is read any more.
    pub(crate) fn fail(&mut self, error: PeerError, now: Time, out: &mut Vec<u8>) {
        self.inbox.end();
        if let Phase::CloseSent { deadline } = self.phase {
            self.phase = Phase::Closing { deadline };
            return;
        }
        let (code, reason) = (error.close_code(), error.to_string());
        let reason = close::fit_reason(&reason);
        self.append_close(Some(code), reason, out);
        self.phase = Phase::Closing {
            deadline: self.close_deadline(now),
        };
        self.end(Closure {
            code: code.0,
            reason: reason.to_owned(),
            by: ClosedBy::Local(Cause::Violation),
            error: Some(error),
        });
    }

    fn append_close(&mut self, code: Option<CloseCode>, reason: &str, out: &mut Vec<u8>) {
        let mut body = [0; MAX_CONTROL_PAYLOAD];
        let length = match code {
            Some(code) => {
                let length = 2 + reason.len();
                body[..2].copy_from_slice(&code.0.to_be_bytes());
                body[2..length].copy_from_slice(reason.as_bytes());
                length
            }
            None => 0,
        };
        self.append_control(Opcode::Close, &body[..length], out);
    }

    fn close_deadline(&self, now: Time) -> Time {
        now + self.settings.timing.close_timeout
    }

    /// Keeps the first cause.
    fn end(&mut self, closure: Closure) {
        self.closure.get_or_insert_with(|| Box::new(closure));
    }
}
