//! The object itself: which parts of the engine it holds values for, and what is no plain value.
//!
//! Nothing here has a default or a name for programs; those are the table's.

use std::sync::Arc;
use std::time::Duration;

use fairlead_channel::Channels;
use fairlead_front::{Answered, FrontSettings, LogLevel, Routes, Scoreboard, StaticFiles};
use fairlead_websocket::{OriginPolicy, SessionSettings};
use fairlead_worker::{LoopLimits, SlowConsumer, Stall};

/// Where log lines go. Called from any thread, possibly with a connection locked: it writes the line and returns. The engine
/// gives it lines in which nothing can pass for another line or speak to a terminal, whatever a client has sent.
pub type LogSink = Arc<dyn Fn(LogLevel, &str) + Send + Sync>;

/// `sink`, with what clients have sent made harmless before it comes there.
pub(super) fn escaping(sink: LogSink) -> LogSink {
    Arc::new(move |level, line| {
        if line.contains(is_unsafe) {
            let mut escaped = String::with_capacity(line.len() + 16);
            for character in line.chars() {
                if is_unsafe(character) {
                    escaped.extend(character.escape_default());
                } else {
                    escaped.push(character);
                }
            }
            sink(level, &escaped);
        } else {
            sink(level, line);
        }
    })
}

/// Control characters, line and paragraph separators, and what turns the direction of writing (Unicode Standard Annex 9).
fn is_unsafe(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Where requests are told that were answered without the application. Called from any thread: it notes that and returns.
pub type AnsweredSink = Arc<dyn Fn(Answered) + Send + Sync>;

/// Where it is told that all tasks wait for one. Called by the loop thread: it notes that and returns.
pub type StallSink = Arc<dyn Fn(Stall) + Send + Sync>;

/// How requests reach the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// One thread polls the loop and runs all tasks ([`crate::Engine::poll`]).
    Loop,
    /// Each task is a thread that asks for its next request ([`crate::Engine::wait_request`]) and reads its own socket.
    Threads,
}

/// Everything an engine needs to know. [`Settings::default`] has the table's defaults, no channels and a log that nobody
/// reads.
#[derive(Clone)]
pub struct Settings {
    /// What sessions and tasks can be members of, if anything.
    pub channels: Option<Arc<Channels>>,
    /// Rules that look at each request before the application gets it.
    pub routes: Arc<Routes>,
    /// Folders whose files are served without the application.
    pub static_files: Arc<StaticFiles>,
    /// What this process and others that share its listeners tell each other, so that connections spread evenly. `None`: a
    /// process alone takes every connection.
    pub scoreboard: Option<Scoreboard>,
    /// Threads that run at once before further ones are left asleep: 1 for a language with a global lock. Only with
    /// [`Delivery::Threads`].
    pub parallel: usize,
    /// The log.
    pub log: LogSink,
    /// Told of requests that never reached a task, with the setting `log_answered`.
    pub answered: AnsweredSink,
    /// With [`Delivery::Loop`]: told when the runner's thread has stayed away from [`crate::Engine::poll`] for as long as
    /// the setting `loop_stall_after` says.
    pub stall: StallSink,
    pub(super) app: AppSettings,
    pub(super) session: SessionSettings,
    pub(super) front: FrontSettings,
    pub(super) event_loop: LoopLimits,
    pub(super) proxy: ProxySettings,
    pub(super) channel_limits: ChannelLimits,
}

/// What concerns the application: how it is given its requests, and what is added to its answers.
#[derive(Clone, Debug)]
pub(crate) struct AppSettings {
    pub(crate) delivery: Delivery,
    pub(crate) slots: usize,
    pub(crate) origin: OriginPolicy,
    pub(crate) extra_headers: ResponseHeaders,
    pub(super) max_fragments: Option<u32>,
}

/// The servers behind the router, from which the front's [`Router`] is made.
#[derive(Clone, Debug)]
pub(super) struct ProxySettings {
    pub(super) servers: Servers,
    pub(super) modifier1: u8,
    pub(super) modifier2: u8,
    pub(super) retry_after: Duration,
    pub(super) variables: Vec<(String, String)>,
}

/// Headers that may stand in a response.
#[derive(Clone, Debug)]
pub(crate) struct ResponseHeaders(pub(crate) Vec<(String, String)>);

/// Addresses that the router can send to.
#[derive(Clone, Debug)]
pub(super) struct Servers(pub(super) Vec<String>);

/// When a member of a channel is slow, and what becomes of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChannelLimits {
    pub(super) backlog: usize,
    pub(super) slow_consumer: SlowConsumer,
    pub(super) heartbeat: Duration,
}
