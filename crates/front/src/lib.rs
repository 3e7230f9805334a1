//! The front: from the listening socket to a request in the hands of the worker.
//!
//! A connection is accepted here, its HTTP is read and written here, and each request crosses one [`Handoff`]. The
//! way back of a request is its [`Exchange`]. After an accepted WebSocket handshake the socket itself leaves through
//! [`Handoff::upgraded`], with every byte that was already read. This is the only crate that knows tokio, hyper and h2, and
//! none of their types is part of its interface. It must never know the worker, a channel, an application or a language:
//! all it needs of them is the [`Handoff`] trait.
//!
//! The files in the order in which a connection meets them: `listen` (accept, and when not to), `tally` (which process
//! shall accept), `tls`, `ciphers` and `certificate` (what clients are shown), `secure` (the TLS of one connection),
//! `peer` (the socket and who is at the other end), `proxy_protocol` (who a proxy says that is), `framing` (a second
//! opinion on where a message ends), `serving` (one task per connection) and `connection` (what its parts share),
//! `deadline` (how long a client may take), `http` (the rules a request must keep), `http2` (the same for HTTP/2, and
//! its streams), `exchange` (the way back), `account` (what is to be said of it), `route` (rules that look at a request
//! first), `relay` (where they send it, if not to the app), `static_files` (what needs no app), `flow` (the bodies it
//! holds), `response` (what hyper writes), `file` (what the kernel writes for it), `upgrade` (the socket leaves),
//! `uwsgi_protocol` (a packet instead of a head), `parting` (last words), `drain` (the order in which everything ends).
//! `front` holds them together, `bell` wakes the thread, `settings`, `error` and `handoff` are what others see.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod account;
mod bell;
mod certificate;
mod ciphers;
mod connection;
mod deadline;
mod drain;
mod error;
mod exchange;
mod file;
mod flow;
mod framing;
mod front;
mod handoff;
mod http;
mod http2;
mod listen;
mod parting;
mod peer;
mod proxy_protocol;
mod relay;
mod response;
mod route;
mod secure;
mod serving;
mod settings;
mod static_files;
mod tally;
mod tls;
mod upgrade;
mod uwsgi_protocol;

pub use account::{Account, Answered, Conclusion};
pub use error::{BodyError, Gone};
pub use exchange::{BodyRead, Exchange};
pub use front::{Front, FrontStatistics};
pub use handoff::{Handoff, LogLevel};
pub use listen::{Entrance, Listener, Manner, Protocol};
pub use relay::Router;
pub use route::Routes;
pub use settings::FrontSettings;
pub use static_files::StaticFiles;
pub use tally::Tally;
pub use tls::{ClientCa, KeyPair, PemFile, Tls, TlsError, TlsSettings};
