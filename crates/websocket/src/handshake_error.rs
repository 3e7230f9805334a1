//! Why an opening handshake is refused, and how that is said in HTTP: RFC 6455 §4.2.1 and §4.4.
//!
//! One variant per rule. `code()` is for programs and stays; `Display` is for people, carries the value and may be
//! reworded. The status follows HTTP: 405 for a method, 426 when another protocol or version is needed, else 400.

use std::error::Error;
use std::fmt;

use fairlead_http::Version;

/// Why an opening handshake is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandshakeError {
    /// The method is not GET.
    Method(String),
    /// The version is not HTTP/1.1.
    HttpVersion(Version),
    /// There is no Host header.
    NoHost,
    /// There are several Host headers.
    ManyHosts,
    /// No Upgrade header names websocket.
    NoUpgrade,
    /// The Connection header does not name upgrade.
    ConnectionNotUpgrade,
    /// There is no Sec-WebSocket-Version.
    NoVersion,
    /// Sec-WebSocket-Version is not 13.
    WebSocketVersion(String),
    /// There is no Sec-WebSocket-Key.
    NoKey,
    /// There are several Sec-WebSocket-Key headers.
    ManyKeys,
    /// Sec-WebSocket-Key is not 16 bytes in base64.
    InvalidKey(String),
    /// The request has a body.
    Body,
    /// An offered subprotocol is not a token.
    InvalidSubprotocol(String),
    /// A subprotocol is offered twice.
    RepeatedSubprotocol(String),
}

impl HandshakeError {
    /// The status of the answer.
    pub fn status(&self) -> u16 {
        match self {
            HandshakeError::Method(_) => 405,
            HandshakeError::HttpVersion(_) => 505,
            // RFC 6455 §4.4 and RFC 9110 §15.5.22
            HandshakeError::NoUpgrade | HandshakeError::NoVersion | HandshakeError::WebSocketVersion(_) => {
                426
            }
            _ => 400,
        }
    }

    /// The headers that the status demands.
    pub fn headers(&self) -> Vec<(String, Vec<u8>)> {
        let header = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
        match self.status() {
            // RFC 9110 §15.5.6
            405 => vec![header("Allow", "GET")],
            // RFC 9110 §15.5.22: name the protocol; RFC 6455 §4.4: and the version we speak.
            426 => vec![
                header("Upgrade", "websocket"),
                header("Connection", "Upgrade"),
                header("Sec-WebSocket-Version", "13"),
            ],
            _ => vec![],
        }
    }

    /// A short name that stays the same when the wording changes.
    pub fn code(&self) -> &'static str {
        match self {
            HandshakeError::Method(_) => "method",
            HandshakeError::HttpVersion(_) => "http-version",
            HandshakeError::NoHost => "no-host",
            HandshakeError::ManyHosts => "many-hosts",
            HandshakeError::NoUpgrade => "no-upgrade",
            HandshakeError::ConnectionNotUpgrade => "connection-not-upgrade",
            HandshakeError::NoVersion => "no-websocket-version",
            HandshakeError::WebSocketVersion(_) => "websocket-version",
            HandshakeError::NoKey => "no-key",
            HandshakeError::ManyKeys => "many-keys",
            HandshakeError::InvalidKey(_) => "invalid-key",
            HandshakeError::Body => "body",
            HandshakeError::InvalidSubprotocol(_) => "invalid-subprotocol",
            HandshakeError::RepeatedSubprotocol(_) => "repeated-subprotocol",
        }
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HandshakeError::Method(method) => {
                write!(f, "a WebSocket handshake is a GET request, not {method:?}")
            }
            HandshakeError::HttpVersion(version) => {
                write!(f, "a WebSocket handshake needs HTTP/1.1, this request came as {version}; if a proxy stands in between, let it speak HTTP/1.1")
            }
            HandshakeError::NoHost => f.write_str("the Host header is missing"),
            HandshakeError::ManyHosts => f.write_str("there is more than one Host header"),
            HandshakeError::NoUpgrade => {
                f.write_str("no Upgrade header names websocket; a proxy in between must pass it on")
            }
            HandshakeError::ConnectionNotUpgrade => {
                f.write_str("the Connection header does not name upgrade; a proxy in between must pass it on")
            }
            HandshakeError::NoVersion => {
                f.write_str("the Sec-WebSocket-Version header is missing, 13 is spoken here")
            }
            HandshakeError::WebSocketVersion(version) => {
                write!(f, "Sec-WebSocket-Version is {version:?}, 13 is spoken here")
            }
            HandshakeError::NoKey => f.write_str("the Sec-WebSocket-Key header is missing"),
            HandshakeError::ManyKeys => f.write_str("there is more than one Sec-WebSocket-Key header"),
            HandshakeError::InvalidKey(key) => {
                write!(f, "Sec-WebSocket-Key {key:?} is not the base64 form of 16 bytes")
            }
            HandshakeError::Body => f.write_str("a WebSocket handshake has no body, but one is announced"),
            HandshakeError::InvalidSubprotocol(name) => write!(f, "subprotocol {name:?} is not a token"),
            HandshakeError::RepeatedSubprotocol(name) => write!(f, "subprotocol {name:?} is offered twice"),
        }
    }
}

impl Error for HandshakeError {}
