//! The front: from the listening socket to a request in the hands of the worker.
//!
//! A connection is accepted here, its HTTP is read and written here, and each request crosses one [`Handoff`]. The
//! way back of a request is its [`Exchange`]. After an accepted WebSocket handshake the socket itself leaves to an
//! [`UpgradeReceiver`], with every byte that was already read. This is the only crate that knows tokio, hyper and h2, and
//! none of their types is part of its interface. It must never know the worker, a channel, an application or a language:
//! all it needs of them is the [`Handoff`] trait, and the [`EventSink`] that it tells what happens.
//!
//! # Floors
//!
//! From the lowest to the highest. A part uses parts of lower floors only, never one beside it.
//!
//! 1. `body_rate` (how slow a body is), `error` (by whose fault), `events` (what the application's side is told),
//!    `file_range` (bytes of a file on their way), `nonce`, `scoreboard` (how full each process is), `static_files` (what
//!    needs no app), `upstream` (other servers, as data), `wake_queue` (how other threads wake this one)
//! 2. `body` (what lies between client and app, in each direction), `routes` (rules that look at requests and answers),
//!    `socket` (TCP or UNIX)
//! 3. `lingering_close` (the last bytes), `settings`
//! 4. `deadline` (how long a client may take), `front_shared` (what all connections share)
//! 5. `access_log` (what is kept of a request), `connection` (who is at its ends, and how its task is woken)
//! 6. `drain` (who is here, and the order in which everything ends), `tls` (handshake, records)
//! 7. `upgrade` (the socket leaves)
//! 8. `exchange` (the way back of a request)
//! 9. `handoff` (the border to the app), `proxy` (the way to another server and back), `response_head` (what an answer may
//!    say)
//! 10. `pipeline` (what every request passes, in order)
//! 11. `http1`, `http2` (what is spoken)
//! 12. `uwsgi` (a packet in place of a head, then HTTP/1.1's way)
//! 13. `accept` (listeners, which process takes a connection, the PROXY header, what is spoken at which listener)
//! 14. `front` (the handle that others hold, and the thread)

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod accept;
mod access_log;
mod body;
mod body_rate;
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
pub use tls::{ClientCa, KeyPair, PemFile, TicketKey, TicketKeys, Tls, TlsError, TlsSettings};
pub use upgrade::UpgradeReceiver;
pub use upstream::Router;
