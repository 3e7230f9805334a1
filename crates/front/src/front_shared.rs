//! What all connections of a front share: settings, clock, counters, and the thread's wake queue.
//!
//! Only what every part needs stands here. Who accepts, who is here and where requests go is known above, to `drain` and
//! `accept`.

use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Instant;

use hyper::header::HeaderValue;

use crate::events::EventSink;
use crate::settings::FrontSettings;
use crate::wake_queue::WakeQueue;

/// The phase before a drain; else it is the moment when it began.
const OPEN: u64 = u64::MAX;

/// One per front.
pub(crate) struct FrontShared {
    pub(crate) events: Arc<dyn EventSink>,
    pub(crate) settings: FrontSettings,
    pub(crate) server_header: Option<HeaderValue>,
    pub(crate) wakes: WakeQueue,
    pub(crate) counters: Counters,
    pub(crate) tunnels: Tunnels,
    started: Instant,
    /// In milliseconds since the start.
    draining_since_ms: AtomicU64,
}

impl FrontShared {
    pub(crate) fn new(settings: FrontSettings, events: Arc<dyn EventSink>) -> io::Result<FrontShared> {
        let server_header = match &settings.server_header {
            Some(text) => Some(HeaderValue::from_str(text).map_err(|_| {
                let why = format!("the server header {text:?} has a control byte; use printable characters");
                io::Error::new(io::ErrorKind::InvalidInput, why)
            })?),
            None => None,
        };
        Ok(FrontShared {
            events,
            settings,
            server_header,
            wakes: WakeQueue::default(),
            counters: Counters::default(),
            tunnels: Tunnels::default(),
            started: Instant::now(),
            draining_since_ms: AtomicU64::new(OPEN),
        })
    }

    /// Milliseconds since the start.
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// From now on nothing goes back to *open*. False if it had begun before.
    pub(crate) fn begin_drain(&self) -> bool {
        self.draining_since_ms
            .compare_exchange(OPEN, self.now_ms(), Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining_since_ms().is_some()
    }

    /// When the drain began, in milliseconds since the start.
    pub(crate) fn draining_since_ms(&self) -> Option<u64> {
        Some(self.draining_since_ms.load(Ordering::Acquire)).filter(|&since| since != OPEN)
    }
}

/// Upgraded connections that are proxied to another server.
#[derive(Default)]
pub(crate) struct Tunnels(AtomicUsize);

/// One of them, for as long as it lives.
pub(crate) struct CountedTunnel<'a>(&'a AtomicUsize);

impl Tunnels {
    pub(crate) fn one_more(&self) -> CountedTunnel<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        CountedTunnel(&self.0)
    }

    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for CountedTunnel<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counted since the start, except where a field says "now".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrontStatistics {
    /// Connections taken from the listeners.
    pub accepted: u64,
    /// Connections that the front holds now; an upgraded socket no longer counts.
    pub active_connections: u64,
    /// Requests with a complete head, refused ones included, unless hyper refused them itself.
    pub requests: u64,
    /// Requests that the front or hyper refused.
    pub refused: u64,
    /// Sockets that left through an upgrade.
    pub upgraded: u64,
    /// Connections closed because a time-out passed.
    pub timed_out: u64,
}

/// Written by the front's thread, read by any.
#[derive(Default)]
pub(crate) struct Counters {
    accepted: AtomicU64,
    requests: AtomicU64,
    refused: AtomicU64,
    upgraded: AtomicU64,
    timed_out: AtomicU64,
}

impl Counters {
    pub(crate) fn accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn upgraded(&self) {
        self.upgraded.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn timed_out(&self) {
        self.timed_out.fetch_add(1, Ordering::Relaxed);
    }

    /// All of them, with the connections that somebody else has counted.
    pub(crate) fn statistics(&self, active_connections: u64) -> FrontStatistics {
        FrontStatistics {
            accepted: self.accepted.load(Ordering::Relaxed),
            active_connections,
            requests: self.requests.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            upgraded: self.upgraded.load(Ordering::Relaxed),
            timed_out: self.timed_out.load(Ordering::Relaxed),
        }
    }
}
