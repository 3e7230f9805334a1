//! One connection's TLS session: rustls as a [`TlsRecordLayer`], without IO.
//!
//! rustls' buffered interface is used, and all that it holds is taken out after each call, so that its own limits stay out of
//! play.

use std::io::{BufRead, IoSlice, Write};
use std::sync::Arc;

use fairlead_http::ClientCertificate;
use fairlead_websocket::TlsRecordLayer;
use rustls::{ServerConfig, ServerConnection};

use crate::tls::certificate::Facts;

/// Capacity that a session keeps for records when none wait. Above it the memory goes back at once.
const KEEP: usize = 128 * 1024;

/// Parts of plaintext that are sealed together.
const PARTS: usize = 16;

/// RFC 9113 §3.2.
pub(super) const HTTP2: &[u8] = b"h2";

/// One connection's TLS.
pub(super) struct TlsSession {
    session: ServerConnection,
    /// What no socket has taken yet, from `sent` on.
    records: Vec<u8>,
    sent: usize,
    has_ended: bool,
    is_closed: bool,
}

impl TlsSession {
    /// For a connection that was just accepted.
    pub(super) fn new(config: Arc<ServerConfig>) -> Result<TlsSession, String> {
        let mut session = ServerConnection::new(config).map_err(|error| error.to_string())?;
        // All is taken out after each call; a limit could only cut what was given.
        session.set_buffer_limit(None);
        Ok(TlsSession {
            session,
            records: Vec::new(),
            sent: 0,
            has_ended: false,
            is_closed: false,
        })
    }

    /// The certificate that the client has shown in a handshake that is complete. `is_exported`: requests carry all of it.
    pub(super) fn client(&self, is_exported: bool) -> Option<ClientCertificate> {
        let certificate = self.session.peer_certificates()?.first()?;
        let subject = Facts::of(certificate).map_or(String::new(), |facts| facts.subject);
        Some(ClientCertificate::new(certificate, subject, is_exported))
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.session.is_handshaking()
    }

    /// The handshake ended with HTTP/2 agreed on.
    pub(super) fn is_for_http2(&self) -> bool {
        self.session.alpn_protocol() == Some(HTTP2)
    }

    /// Takes out what rustls wants to write.
    fn collect(&mut self) {
        while self.session.wants_write() {
            // A vector takes all.
            if self.session.write_tls(&mut self.records).is_err() {
                break;
            }
        }
    }
}

impl TlsRecordLayer for TlsSession {
    fn open(&mut self, mut received: &[u8], take: &mut dyn FnMut(&[u8])) -> Result<(), String> {
        let mut outcome = Ok(());
        while !received.is_empty() {
            match self.session.read_tls(&mut received) {
                // What follows the peer's close_notify is none of ours.
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => {
                    outcome = Err(error.to_string());
                    break;
                }
            }
            match self.session.process_new_packets() {
                Ok(state) => {
                    if state.plaintext_bytes_to_read() > 0 {
                        let mut reader = self.session.reader();
                        while let Ok(piece @ [_, ..]) = reader.fill_buf() {
                            let size = piece.len();
                            take(piece);
                            reader.consume(size);
                        }
                    }
                    self.has_ended |= state.peer_has_closed();
                }
                Err(error) => {
                    outcome = Err(error.to_string());
                    break;
                }
            }
        }
        self.collect();
        outcome
    }

    fn has_ended(&self) -> bool {
        self.has_ended
    }

    fn seal(&mut self, plaintext: &[&[u8]]) {
        for parts in plaintext.chunks(PARTS) {
            let mut slices = [IoSlice::new(&[]); PARTS];
            for (slice, part) in slices.iter_mut().zip(parts) {
                *slice = IoSlice::new(part);
            }
            // Without a limit all is taken.
            let _ = self.session.writer().write_vectored(&slices[..parts.len()]);
        }
        self.collect();
    }

    fn end(&mut self) {
        if !self.is_closed {
            self.is_closed = true;
            self.session.send_close_notify();
            self.collect();
        }
    }

    fn pending(&self) -> &[u8] {
        &self.records[self.sent..]
    }

    fn advance(&mut self, count: usize) {
        self.sent += count;
        if self.sent == self.records.len() {
            self.sent = 0;
            if self.records.capacity() > KEEP {
                self.records = Vec::new();
            } else {
                self.records.clear();
            }
        }
    }

    fn trim(&mut self) {
        if self.pending().is_empty() {
            self.records = Vec::new();
        }
    }
}
