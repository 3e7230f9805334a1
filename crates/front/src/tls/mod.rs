//! TLS by rustls, which no other folder names.
//!
//! `config` is what a listener shows its clients (with `ciphers`, `certificate` and `tickets`), `session` one connection's TLS without
//! IO, `records` the same between a socket and whoever reads plaintext, `handshake` how that begins.

mod certificate;
mod ciphers;
mod config;
mod handshake;
mod records;
mod session;
mod tickets;

pub use config::{ClientCa, KeyPair, PemFile, Tls, TlsError, TlsSettings};
pub(crate) use handshake::handshake;
pub(crate) use records::{into_stream, RecordLayer};
pub use tickets::{TicketKey, TicketKeys};
