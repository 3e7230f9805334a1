//! A scripted client: builds frames by the letter of RFC 6455 §5.2, without a line of the crate under test, and a
//! session with a clock that only moves when a test says so.

use std::sync::Arc;
use std::time::Duration;

use fairlead_websocket::{
    Closure, Limits, MessageKind, Negotiated, Session, SessionSettings, Time, Timing, Transport,
};

pub(crate) const CONTINUATION: u8 = 0;
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;
pub(crate) const FIN: u8 = 0x80;

/// A masked frame; `first` has FIN, the reserved bits and the opcode.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = payload.len();
    let mut bytes = vec![first];
    match length {
        0..=125 => bytes.push(0x80 | length as u8),
        126..=65_535 => {
            bytes.push(0x80 | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    let key = [0x12 ^ length as u8, 0x34, 0xc5, 0xf8 ^ first];
    bytes.extend(key);
    bytes.extend(
        payload
            .iter()
            .zip(key.iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
    bytes
}

/// Only the header of a frame that claims `length` bytes, in eight bytes.
pub(crate) fn long_header(first: u8, length: u64) -> Vec<u8> {
    let mut bytes = vec![first, 0x80 | 127];
    bytes.extend(length.to_be_bytes());
    bytes.extend([0; 4]);
    bytes
}

pub(crate) fn text(payload: &str) -> Vec<u8> {
    frame(FIN | TEXT, payload.as_bytes())
}

pub(crate) fn binary(payload: &[u8]) -> Vec<u8> {
    frame(FIN | BINARY, payload)
}

pub(crate) fn close(code: u16, reason: &str) -> Vec<u8> {
    let mut body = code.to_be_bytes().to_vec();
    body.extend(reason.as_bytes());
    frame(FIN | CLOSE, &body)
}

/// The frames of a server: first byte and payload. Panics if they are not well formed.
pub(crate) fn server_frames(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        assert_eq!(bytes[1] & 0x80, 0, "a server does not mask");
        let (length, header) = match bytes[1] {
            126 => (u16::from_be_bytes([bytes[2], bytes[3]]).into(), 4),
            127 => (
                u64::from_be_bytes(bytes[2..10].try_into().expect("eight bytes")) as usize,
                10,
            ),
            short => (usize::from(short), 2),
        };
        frames.push((bytes[0], bytes[header..header + length].to_vec()));
        bytes = &bytes[header + length..];
    }
    frames
}

/// Limits that no test meets by accident.
pub(crate) fn limits() -> Limits {
    limits_of(1 << 20)
}

/// The same for messages of up to `max_message` bytes.
pub(crate) fn limits_of(max_message: usize) -> Limits {
    Limits {
        max_message,
        max_fragments: Limits::fragments_of(max_message),
        max_control_frames_without_progress: 500,
        control_window: Duration::from_secs(10),
        inbox_mark: 256 * 1024,
    }
}

/// Times that the tests' comments reckon with.
pub(crate) fn timing() -> Timing {
    Timing {
        ping_every: Duration::from_secs(30),
        pong_tolerance: Duration::from_secs(3),
        pong_every: None,
        idle_timeout: Duration::ZERO,
        close_timeout: Duration::from_secs(5),
    }
}

pub(crate) fn settings() -> SessionSettings {
    SessionSettings {
        limits: limits(),
        timing: timing(),
    }
}

/// A session, its output and its clock.
pub(crate) struct Peer {
    pub(crate) session: Session,
    pub(crate) out: Vec<u8>,
    pub(crate) now: Time,
}

impl Peer {
    pub(crate) fn new() -> Peer {
        Peer::with(settings())
    }

    pub(crate) fn with_limits(limits: Limits) -> Peer {
        Peer::with(SessionSettings { limits, ..settings() })
    }

    pub(crate) fn with_timing(timing: Timing) -> Peer {
        Peer::with(SessionSettings { timing, ..settings() })
    }

    pub(crate) fn with(settings: SessionSettings) -> Peer {
        let now = Time::from_millis(1_000_000);
        Peer {
            session: Session::new(Arc::new(settings), Negotiated::default(), now),
            out: Vec::new(),
            now,
        }
    }

    pub(crate) fn sends(&mut self, bytes: impl AsRef<[u8]>) -> &mut Peer {
        self.session.receive(bytes.as_ref(), self.now, &mut self.out);
        self
    }

    pub(crate) fn waits(&mut self, milliseconds: u64) -> &mut Peer {
        self.now = self.now + Duration::from_millis(milliseconds);
        self.session.tick(self.now, &mut self.out);
        self
    }

    pub(crate) fn closes(&mut self, code: u16, reason: &str) -> &mut Peer {
        let code = fairlead_websocket::CloseCode(code);
        self.session
            .close(code, reason, self.now, &mut self.out)
            .expect("a valid code");
        self
    }

    /// What the session has said since the last question.
    pub(crate) fn hears(&mut self) -> Vec<(u8, Vec<u8>)> {
        server_frames(&std::mem::take(&mut self.out))
    }

    /// The code of the Close frame that must be the only thing said.
    pub(crate) fn hears_close(&mut self) -> u16 {
        let frames = self.hears();
        assert_eq!(frames.len(), 1, "{frames:?}");
        assert_eq!(frames[0].0, FIN | CLOSE);
        let body = &frames[0].1;
        assert!(std::str::from_utf8(&body[2..]).is_ok());
        u16::from_be_bytes([body[0], body[1]])
    }

    pub(crate) fn messages(&mut self) -> Vec<(MessageKind, Vec<u8>)> {
        let mut all = Vec::new();
        while let Some((kind, payload)) = self.session.message() {
            all.push((kind, payload.to_vec()));
            self.session.consume_message();
        }
        all
    }

    pub(crate) fn closure(&self) -> &Closure {
        self.session.closed().expect("the session has ended")
    }

    pub(crate) fn transport(&self) -> Transport {
        self.session.transport()
    }
}
