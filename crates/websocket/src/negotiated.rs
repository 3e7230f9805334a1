//! What an opening handshake agreed on for one session, beside the settings that all sessions share.
//!
//! [`Handshake::response`](crate::Handshake::response) makes the value together with the answer that says the same to the
//! client, and it travels with the connection to [`Session::new`](crate::Session::new). Whatever a handshake may agree on
//! in future enters a session here and nowhere else.

use crate::frame::Encoding;

/// What an opening handshake agreed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Negotiated {
    /// The subprotocol, RFC 6455 §4.2.2, in the client's spelling; `None` for none.
    pub subprotocol: Option<Box<str>>,
    /// How messages to this client become frames.
    pub encoding: Encoding,
}
