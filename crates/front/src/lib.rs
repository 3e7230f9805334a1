//! The front: from the listening socket to a request in the hands of the worker.
//!
//! A connection is accepted here, its HTTP is read and written here, and each request crosses one [`Handoff`]. The
//! way back of a request is its [`Exchange`]. After an accepted WebSocket handshake the socket itself leaves through
//! [`Handoff::upgraded`], with every byte that was already read. This is the only crate that knows tokio, hyper and h2, and
//! none of their types is part of its interface. It must never know the worker, a channel, an application or a language:
//! all it needs of them is the [`Handoff`] trait.
//!
//! The parts in the order in which a connection meets them: `accept` (listeners, which process shall accept, by
//! `scoreboard`, and who a proxy says that a client is), `tls` (what clients are shown, and the records of one
//! connection), `http1`, `http2` and `uwsgi` (what is spoken), `connection` (what the parts of one connection share),
//! `deadline` (how long a client may take), `exchange` (the way back), `body` (what it holds in each direction),
//! `access_log` (what is to be said of a request), `routes` (rules that look at it first), `proxy` (where they send it, if
//! not to the app), `static_files` (what needs no app), `upgrade` (the socket leaves), `lingering_close` (last words),
//! `drain` (the order in which everything ends). `front` holds them together, `wake_queue` wakes the thread, `settings`,
//! `error` and `handoff` are what others see.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod accept;
mod access_log;
mod body;
mod connection;
mod deadline;
mod drain;
mod error;
mod events;
mod exchange;
mod file_range;
mod front;
mod front_shared;
mod handoff;
mod http1;
mod http2;
mod lingering_close;
mod nonce;
mod pipeline;
mod proxy;
mod response_head;
mod routes;
mod scoreboard;
mod settings;
mod socket;
mod static_files;
mod tls;
mod upgrade;
mod upstream;
mod uwsgi;
mod wake_queue;

pub use accept::{BoundListener, Listener, ListenerConfig, Protocol};
pub use access_log::{AccessRecord, Outcome};
pub use error::{BodyError, Gone};
pub use events::{Answered, EventSink, LogLevel};
pub use exchange::{BodyRead, Exchange};
pub use front::Front;
pub use front_shared::FrontStatistics;
pub use handoff::Handoff;
pub use routes::Routes;
pub use scoreboard::Scoreboard;
pub use settings::FrontSettings;
pub use static_files::StaticFiles;
pub use tls::{ClientCa, KeyPair, PemFile, Tls, TlsError, TlsSettings};
pub use upgrade::UpgradeReceiver;
pub use upstream::Router;
