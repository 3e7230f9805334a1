//! The front as a whole: its thread, what all its connections share, and its figures.
//!
//! [`Front`] is the handle that others hold; [`House`] is what every part inside can reach: the handoff, the settings and
//! what there is one of (bell, gate, drain, share, counters, tunnels). One thread with a single-threaded tokio runtime does all the
//! work, because a process serves one application and HTTP is not its bottleneck; more processes give more fronts.

use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hyper::header::HeaderValue;
use hyper::server::conn::http1;
use tokio::sync::Notify;

use crate::accept::{self, Door, Entrance, Gate};
use crate::drain::{Acceptor, Drain};
use crate::handoff::Handoff;
use crate::http1::service;
use crate::scoreboard::{Share, Standing};
use crate::settings::FrontSettings;
use crate::wake_queue::Bell;

/// The running front.
pub struct Front {
    house: Arc<House>,
    thread: Mutex<Option<JoinHandle<()>>>,
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

impl Front {
    /// Starts the thread `fairlead-front` and accepts from `listeners`.
    pub fn start(
        listeners: Vec<impl Into<Entrance>>,
        settings: FrontSettings,
        handoff: Arc<dyn Handoff>,
    ) -> io::Result<Front> {
        let house = Arc::new(House::new(settings, handoff)?);
        // Weak: wakers of tasks that wait in the house keep the runtime, and with it this.
        let parking = Arc::downgrade(&house);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .on_thread_park(move || {
                if let Some(house) = parking.upgrade() {
                    house.turn_ended();
                }
            })
            .build()?;
        let inside = runtime.enter();
        let doors = listeners
            .into_iter()
            .map(|entrance| Door::new(entrance.into()))
            .collect::<io::Result<Vec<_>>>()?;
        drop(inside);
        let shared = Arc::clone(&house);
        let (ready, started) = mpsc::channel();
        let run = move || {
            runtime.block_on(async {
                for door in doors {
                    let task = tokio::spawn(accept::accept(door, Acceptor::new(&shared)));
                    shared.drain.add_acceptor(task.abort_handle());
                }
                let _ = ready.send(());
                shared.run().await;
            });
            // Step 5 of the drain: what is left is dropped with the runtime.
            drop(runtime);
            shared.share.tell(|| Standing::ABSENT);
        };
        let thread = std::thread::Builder::new()
            .name("fairlead-front".into())
            .spawn(run)?;
        // The acceptors must be on the roster before a drain can be asked for.
        let _ = started.recv();
        Ok(Front {
            house,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// The handoff may have room again. From any thread; one atomic load when the front is not waiting for it.
    pub fn room_available(&self) {
        self.house.gate.open();
    }

    /// Gathers the wake-ups of the commands that follow, for a worker that is about to run a batch of units on one thread.
    /// [`Front::let_go`] must follow, from this thread or another, within the time that a client may wait.
    pub fn hold(&self) {
        self.house.bell.hold();
    }

    /// Wakes the front for what was gathered since [`Front::hold`], and ends the gathering. From any thread.
    pub fn let_go(&self) {
        self.house.bell.let_go();
    }

    /// Closes the listeners. Requests in flight, and those that come within a second, get `Connection: close`; then the
    /// connections close.
    pub fn stop_accepting(&self) {
        self.house.drain.begin(self.house.now_ms());
    }

    /// Stops accepting, waits for connections in flight for at most `deadline`, cuts the rest and joins the thread.
    ///
    /// Must not be called from inside a [`Handoff`] method: those run on the thread that is joined.
    pub fn stop(&self, deadline: Duration) {
        self.stop_accepting();
        self.house.stop_after(deadline);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }

    /// True once a drain is complete: no connection is here, and none can be accepted any more.
    pub fn is_empty(&self) -> bool {
        self.house.drain.is_over()
    }

    /// The figures of this moment.
    pub fn statistics(&self) -> FrontStatistics {
        let counters = &self.house.counters;
        FrontStatistics {
            accepted: counters.accepted.load(Ordering::Relaxed),
            active_connections: self.house.drain.active() as u64,
            requests: counters.requests.load(Ordering::Relaxed),
            refused: counters.refused.load(Ordering::Relaxed),
            upgraded: counters.upgraded.load(Ordering::Relaxed),
            timed_out: counters.timed_out.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.stop(self.house.settings.shutdown_grace);
    }
}

impl std::fmt::Debug for Front {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Front")
            .field("statistics", &self.statistics())
            .finish_non_exhaustive()
    }
}

/// What all connections of a front share.
pub(crate) struct House {
    pub(crate) handoff: Arc<dyn Handoff>,
    pub(crate) settings: FrontSettings,
    pub(crate) server_header: Option<HeaderValue>,
    pub(crate) http: http1::Builder,
    pub(crate) bell: Bell,
    pub(crate) gate: Gate,
    pub(crate) drain: Drain,
    pub(crate) share: Share,
    pub(crate) counters: Counters,
    pub(crate) tunnels: Tunnels,
    started: Instant,
    stop: Mutex<Option<Instant>>,
    stop_asked: Notify,
}

impl House {
    fn new(settings: FrontSettings, handoff: Arc<dyn Handoff>) -> io::Result<House> {
        let server_header = match &settings.server_header {
            Some(text) => Some(HeaderValue::from_str(text).map_err(|_| {
                let why = format!("the server header {text:?} has a control byte; use printable characters");
                io::Error::new(io::ErrorKind::InvalidInput, why)
            })?),
            None => None,
        };
        Ok(House {
            handoff,
            server_header,
            http: service::builder(&settings),
            share: Share::new(settings.tally.clone()),
            settings,
            bell: Bell::default(),
            gate: Gate::default(),
            drain: Drain::default(),
            counters: Counters::default(),
            tunnels: Tunnels::default(),
            started: Instant::now(),
            stop: Mutex::new(None),
            stop_asked: Notify::new(),
        })
    }

    /// Milliseconds since the start.
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The thread is about to sleep.
    fn turn_ended(&self) {
        self.handoff.turn_ended();
        self.share.tell(|| self.standing());
    }

    /// What the other processes are told of this one.
    pub(crate) fn standing(&self) -> Standing {
        if self.drain.is_draining() || self.gate.is_shut() {
            return Standing::ABSENT;
        }
        let connections = self.drain.active() + self.handoff.connections() + self.tunnels.count();
        Standing::new(connections, self.handoff.is_held_up())
    }

    /// May one more connection be accepted? What a route or the router sends elsewhere needs none of the application's
    /// room, and nobody knows before the head is read.
    pub(crate) fn has_room(&self) -> bool {
        self.settings.routes.relays() || self.settings.router.has_servers() || self.handoff.has_room()
    }

    fn stop_after(&self, deadline: Duration) {
        let mut stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner);
        if stop.is_none() {
            // A deadline beyond what the clock can express is one that is never reached.
            let now = Instant::now();
            *stop = Some(
                now.checked_add(deadline)
                    .unwrap_or(now + Duration::from_secs(86_400 * 365)),
            );
            self.stop_asked.notify_one();
        }
    }

    /// The main task: starts the helpers, waits for the stop and then for the connections.
    async fn run(self: &Arc<Self>) {
        let helper = Arc::clone(self);
        tokio::spawn(async move { helper.bell.answer().await });
        let helper = Arc::clone(self);
        tokio::spawn(async move { helper.drain.sweep(&helper).await });
        self.stop_asked.notified().await;
        let deadline = *self.stop.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(deadline) = deadline {
            let _ = tokio::time::timeout_at(deadline.into(), self.drain.wait_empty()).await;
        }
    }
}

/// Upgraded connections that are relayed to another server.
#[derive(Default)]
pub(crate) struct Tunnels(AtomicUsize);

/// One of them, for as long as it lives.
pub(crate) struct Tunnel<'a>(&'a AtomicUsize);

impl Tunnels {
    pub(crate) fn one_more(&self) -> Tunnel<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Tunnel(&self.0)
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Tunnel<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
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
}
