//! What one worker is started with: plain values, already checked, and whom it tells of what.

use std::sync::Arc;
use std::time::Duration;

use fairlead_channel::Channels;
use fairlead_websocket::{Closure, SessionSettings};

use crate::absence::Absence;
use crate::backlog::SlowConsumer;
use crate::event::Token;

/// Where ended connections are told: label and closure.
pub type Journal = Arc<dyn Fn(&str, &Closure) + Send + Sync>;

/// The bounds of one worker's loop. Every number has its reason.
#[derive(Clone)]
pub struct WorkerSettings {
    /// Limits and time-outs of each session.
    pub session: Arc<SessionSettings>,
    /// `send` waits from this many unsent bytes on, and the peer is no longer read. 256 KiB: four times a usual
    /// socket buffer, so that a healthy peer never meets it.
    pub outbox_high: usize,
    /// `send` goes on below this. Half of the high water, so that a slow peer wakes the app seldom.
    pub outbox_low: usize,
    /// A peer that takes nothing of a waiting outbox for this long is dropped: without it, a reader that stopped
    /// would hold its memory for ever.
    pub stall_timeout: Duration,
    /// The loop thread becomes the driver when nobody drove for this long, and reads for a thread that is away for
    /// this long. 2 ms: twice that stays below the promised 5 ms; 500 checks a second cost 0.2 % of a core.
    pub takeover_after: Duration,
    /// True if each app thread reads its own socket (the threads host): then the loop thread always drives.
    pub threads_read: bool,
    /// Called when the loop thread takes over, because nobody has driven for a while: what the driver would have
    /// done at its next turn and others wait for. It must not block.
    pub on_takeover: Arc<dyn Fn() + Send + Sync>,
    /// `on_absence` is told when no app thread has driven for this long. 1 s: long beyond a slow request of a busy worker,
    /// and soon enough for somebody who wonders why nothing answers.
    pub absence_after: Duration,
    /// Told, by the loop thread, as the driver, that all units wait for one of the app's; it may note that,
    /// nothing else. Never where threads read.
    pub on_absence: Arc<dyn Fn(Absence) + Send + Sync>,
    /// Told of each event whose token carries [`THREAD_TOKEN`](crate::THREAD_TOKEN); as `journal`, it runs with a connection locked.
    pub wake_thread: Arc<dyn Fn(Token) + Send + Sync>,
    /// The channels that connections and units can be members of; `None`: there are none.
    pub channels: Option<ChannelSettings>,
    /// Told of each connection that ends: its label and its closure. Runs on the driver's thread, with the
    /// connection locked: it may count and write a log line, nothing else.
    pub journal: Journal,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self {
            session: Arc::default(),
            outbox_high: 256 * 1024,
            outbox_low: 128 * 1024,
            stall_timeout: Duration::from_secs(60),
            takeover_after: Duration::from_millis(2),
            threads_read: false,
            on_takeover: Arc::new(|| {}),
            absence_after: Duration::from_secs(1),
            on_absence: Arc::new(|_| {}),
            wake_thread: Arc::new(|_| {}),
            channels: None,
            journal: Arc::new(|_, _| {}),
        }
    }
}

/// Channels as a worker uses them.
#[derive(Clone)]
pub struct ChannelSettings {
    /// Where messages come from.
    pub channels: Arc<Channels>,
    /// A member is slow from this many waiting bytes on. 1 MiB: some seconds of a busy channel on a usual line.
    pub backlog: usize,
    /// What becomes of a slow member if it did not say.
    pub slow_consumer: SlowConsumer,
}
