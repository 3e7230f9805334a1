//! Plain values, already checked: what an engine is started with. Parsing is the business of whoever starts it.

use std::sync::Arc;

use fairlead_front::{Answered, FrontSettings, LogLevel};
use fairlead_websocket::{OriginPolicy, SessionSettings};
use fairlead_worker::{Absence, ChannelSettings};

/// Where log lines go. Called from any thread, possibly with a connection locked: it writes the line and returns.
pub type LogSink = Arc<dyn Fn(LogLevel, &str) + Send + Sync>;

/// Where requests are told that were answered without the application. Called from any thread: it notes that and returns.
pub type AnsweredSink = Arc<dyn Fn(Answered) + Send + Sync>;

/// Where it is told that all units wait for one. Called by the loop thread: it notes that and returns.
pub type AbsenceSink = Arc<dyn Fn(Absence) + Send + Sync>;

/// How the host takes its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// One thread polls the loop and runs all units ([`crate::Engine::poll`]).
    Loop,
    /// Each unit is a thread that asks for its next request ([`crate::Engine::wait_request`]) and reads its own socket.
    Threads,
}

/// Everything an engine needs to know.
#[derive(Clone)]
pub struct Settings {
    /// Limits and time-outs of each WebSocket session.
    pub session: SessionSettings,
    /// Limits and time-outs of HTTP.
    pub front: FrontSettings,
    /// Which browser pages may open a WebSocket.
    pub origin: OriginPolicy,
    /// How the host polls.
    pub delivery: Delivery,
    /// Units that run at once. While all are taken no connection is accepted; requests on connections that are
    /// open already wait.
    pub slots: usize,
    /// Threads that run at once before further ones are left asleep: 1 for a language with a global lock. Only with
    /// [`Delivery::Threads`].
    pub runners: usize,
    /// Bytes from which on a WebSocket `send` waits for the peer; see the worker's `outbox_high`.
    pub outbox_high: usize,
    /// Headers that are added to every response and to the 101 (`--add-header`).
    pub extra_headers: Vec<(String, String)>,
    /// What sessions and units can be members of, if anything.
    pub channels: Option<ChannelSettings>,
    /// The log.
    pub log: LogSink,
    /// Lines for requests that never reached a unit, with [`FrontSettings::request_lines`].
    pub answered: AnsweredSink,
    /// With [`Delivery::Loop`]: told when the host's thread has stayed away from [`crate::Engine::poll`] for a second.
    pub absence: AbsenceSink,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            session: SessionSettings::default(),
            front: FrontSettings::default(),
            origin: OriginPolicy::SameOrigin,
            delivery: Delivery::Loop,
            slots: 1,
            runners: usize::MAX,
            outbox_high: 256 * 1024,
            extra_headers: Vec::new(),
            channels: None,
            log: Arc::new(|_, _| {}),
            answered: Arc::new(drop),
            absence: Arc::new(|_| {}),
        }
    }
}
