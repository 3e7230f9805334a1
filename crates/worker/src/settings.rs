//! What one worker is started with: plain values, already checked, and whom it tells of what.

use std::sync::Arc;
use std::time::Duration;

use fairlead_channel::Channels;
use fairlead_websocket::{Closure, SessionSettings};

use crate::backlog::SlowConsumer;
use crate::event::Token;
use crate::watchdog::Stall;

/// Where ended connections are told: label and closure.
pub type SessionLog = Arc<dyn Fn(&str, &Closure) + Send + Sync>;

/// The numbers of one worker's loop. What each usually is, and why, stands in the engine's table of settings; the `Default`
/// is zero throughout.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoopLimits {
    /// `send` waits from this many unsent bytes on, and the peer is no longer read.
    pub outbox_high: usize,
    /// A peer that takes nothing of a waiting outbox for this long is dropped.
    pub stall_timeout: Duration,
    /// The loop thread becomes the driver when nobody drove for this long, and reads for a thread that is away for this
    /// long.
    pub takeover_after: Duration,
    /// `on_stall` is told when no app thread has driven for this long.
    pub stall_after: Duration,
}

impl LoopLimits {
    /// `send` goes on at this many unsent bytes. Half of the high water, so that a slow peer wakes the app seldom.
    pub(crate) fn outbox_low(&self) -> usize {
        self.outbox_high / 2
    }
}

/// What one worker is started with.
#[derive(Clone)]
pub struct WorkerSettings {
    /// Limits and time-outs of each session.
    pub session: Arc<SessionSettings>,
    /// Limits and time-outs of the loop.
    pub limits: LoopLimits,
    /// True if each app thread reads its own socket (the threads runner): then the loop thread always drives.
    pub threads_read: bool,
    /// Called when the loop thread takes over, because nobody has driven for a while: what the driver would have
    /// done at its next turn and others wait for. It must not block.
    pub on_takeover: Arc<dyn Fn() + Send + Sync>,
    /// Told, by the loop thread, as the driver, that all tasks wait for one of the app's; it may note that,
    /// nothing else. Never where threads read.
    pub on_stall: Arc<dyn Fn(Stall) + Send + Sync>,
    /// Told of each event whose token carries [`THREAD_TOKEN`](crate::THREAD_TOKEN); as `session_log`, it runs with a connection locked.
    pub wake_thread: Arc<dyn Fn(Token) + Send + Sync>,
    /// The channels that connections and tasks can be members of; `None`: there are none.
    pub channels: Option<ChannelSettings>,
    /// Told of each connection that ends: its label and its closure. Runs on the driver's thread, with the
    /// connection locked: it may count and write a log line, nothing else.
    pub session_log: SessionLog,
}

/// Channels as a worker uses them.
#[derive(Clone)]
pub struct ChannelSettings {
    /// Where messages come from.
    pub channels: Arc<Channels>,
    /// A member is slow from this many waiting bytes on.
    pub backlog: usize,
    /// What becomes of a slow member if it did not say.
    pub slow_consumer: SlowConsumer,
    /// How often a client that sees offsets is told that its connection is alive; zero: never.
    pub heartbeat: Duration,
}
