//! Start, poll, stop: the life of one process's engine.
//!
//! What a runner asks for is here; what is shared with requests is in `engine_shared`, and the front's side of it in `handoff`.

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use fairlead_front::{BoundListener, Front, FrontStatistics, LogLevel};
use fairlead_websocket::{Cause, CloseCode, ClosedBy, Closure, Lost};
use fairlead_worker::{
    Drops, Event, Interest, JoinAnswer, JoinError, Subscriber, Token, Watch, Worker, WorkerSettings,
};

use crate::admission_queue::{AdmissionQueue, Taken};
use crate::engine_shared::EngineShared;
use crate::handoff::EngineHandoff;
use crate::parking::Parking;
use crate::request::{Request, Shared};
use crate::settings::{Delivery, LogSink, Parts, Settings};

/// What one poll has brought, to be taken out by the runner; used again it keeps its memory.
#[derive(Default)]
pub struct Batch {
    /// Tasks that may go on.
    pub events: Vec<Event>,
    /// Requests that have got a slot: each starts a task.
    pub requests: Vec<Box<Request>>,
}

impl Batch {
    /// True if nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.requests.is_empty()
    }
}

/// One snapshot of all counters.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)] // the parts document themselves
pub struct Statistics {
    pub front: FrontStatistics,
    pub worker: fairlead_worker::Statistics,
    /// Tasks that run now.
    pub running: usize,
}

/// The engine of one process.
pub struct Engine {
    shared: Arc<Shared>,
    front: Arc<Front>,
    /// With [`Delivery::Loop`]: the front gathers the answers of the last batch.
    gathers: AtomicBool,
}

impl Engine {
    /// Starts the loop and the front; connections are accepted from now on.
    ///
    /// # Errors
    /// The system's, when a thread or a descriptor cannot be had; `InvalidInput` for settings that do not go together.
    pub fn start(settings: Settings, listeners: Vec<impl Into<BoundListener>>) -> std::io::Result<Self> {
        let Parts {
            app,
            session,
            front: front_settings,
            event_loop,
            channels,
            parallel,
            log,
            answered,
            stall,
        } = settings
            .into_parts()
            .map_err(|why| std::io::Error::new(std::io::ErrorKind::InvalidInput, why))?;
        let line_log = Arc::clone(&log);
        let front: Arc<OnceLock<Weak<Front>>> = Arc::default();
        let held = Arc::clone(&front);
        let parking = Arc::<Parking>::default();
        let parked = Arc::clone(&parking);
        let worker = Worker::start(WorkerSettings {
            session: Arc::new(session),
            limits: event_loop,
            threads_read: app.delivery == Delivery::Threads,
            // The app computes: the answers of its batch so far must not wait for the rest.
            on_takeover: Arc::new(move || {
                if let Some(front) = held.get().and_then(Weak::upgrade) {
                    front.uncork();
                }
            }),
            on_stall: stall,
            wake_thread: Arc::new(move |token| parked.wake(token)),
            channels,
            session_log: Arc::new(move |label, closure| session_log(&line_log, label, closure)),
        })?;
        let shared = Arc::new(EngineShared {
            worker,
            origin: app.origin,
            extra_headers: app.extra_headers.0,
            log,
            delivery: app.delivery,
            parking,
            queue: AdmissionQueue::new(app.slots, parallel),
            trimmer: Arc::default(),
            front,
        });
        let handoff = Arc::new(EngineHandoff::new(Arc::clone(&shared), answered));
        let front = Arc::new(Front::start(listeners, front_settings, handoff)?);
        let _ = shared.front.set(Arc::downgrade(&front));
        Ok(Self {
            shared,
            front,
            gathers: AtomicBool::new(false),
        })
    }

    /// One turn of the loop by the calling thread, which waits at most `limit` (`None`: until something happens), and
    /// all that happened since the last. For runners with [`Delivery::Loop`].
    pub fn poll(&self, into: &mut Batch, limit: Option<Duration>) {
        self.uncork_front();
        self.shared.worker.drive(&mut into.events, limit);
        self.shared.queue.take_all(&mut into.requests);
        // Dropped, the others give their slots back.
        into.requests.retain(|request| request.begin());
        // The answers of this batch wake the front once, with the next poll, or when the loop thread finds that it takes
        // longer.
        if !into.is_empty() {
            self.front.cork();
            if self.shared.worker.loop_thread_drives() {
                // It took over between the turn and the cork: nobody else would uncork.
                self.front.uncork();
            } else {
                self.gathers.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Wakes the front for the answers of the last batch, if there was one. By the thread that polls.
    fn uncork_front(&self) {
        if self.gathers.load(Ordering::Relaxed) {
            self.gathers.store(false, Ordering::Relaxed);
            self.front.uncork();
        }
    }

    /// Blocks until there is a request, at most `limit`. `None` after the limit, and always once the engine is stopping
    /// and no request waits. For runners with [`Delivery::Threads`].
    pub fn wait_request(&self, limit: Option<Duration>) -> Option<Box<Request>> {
        // What was answered before this thread may sleep.
        if !self.shared.queue.has_more() {
            self.front.uncork();
        }
        loop {
            let (request, how) = self.shared.queue.wait(limit)?;
            let request = self.hand_over(request, how);
            if request.begin() {
                return Some(request);
            }
        }
    }

    /// The same without a wait: `None` too when it is not this thread's turn. What was answered before goes on waiting for
    /// the last one, so ask [`Engine::wait_request`] next.
    pub fn try_request(&self) -> Option<Box<Request>> {
        loop {
            let request = self.shared.queue.take_in_turn()?;
            let request = self.hand_over(request, Taken::InTurn);
            if request.begin() {
                return Some(request);
            }
        }
    }

    fn hand_over(&self, request: Box<Request>, how: Taken) -> Box<Request> {
        request.is_at_work();
        // While admitted requests wait, answers are gathered; the last one taken lets them go before it runs. When
        // things do not move the queue's guard comes, and lets them go too.
        if how == Taken::InTurn && self.shared.queue.has_more() {
            self.front.cork();
        } else {
            self.front.uncork();
        }
        request
    }

    /// Blocks until `ask`, given the token to register, says that the wait is over; false when `limit` passed. For threads
    /// beside the runner's own: they are woken whatever the runner does.
    pub fn wait_on_thread(&self, limit: Option<Duration>, ask: impl FnMut(Token) -> bool) -> bool {
        self.shared.parking.wait(limit, ask)
    }

    /// Ends the current or the next wait of [`Engine::poll`]. From any thread.
    pub fn wake(&self) {
        self.shared.worker.wake();
    }

    /// Reports [`Event::Deadline`] with this token once `after` has passed.
    pub fn wake_at(&self, after: Duration, token: Token) {
        self.shared.worker.wake_at(after, token);
    }

    /// For runners on a foreign loop: descriptors of which at least one polls readable, level-triggered, while
    /// [`Engine::poll`] has something to do. They stay the engine's; [`Engine::leave_to_foreign_loop`] before each wait.
    ///
    /// # Errors
    /// The system's, when no descriptor is free.
    pub fn descriptors(&self) -> std::io::Result<[RawFd; 2]> {
        Ok(self
            .shared
            .worker
            .descriptors()?
            .map(|descriptor| descriptor.as_raw_fd()))
    }

    /// What loop and runner wait for. A process that is forked from this one shares it, and must give it up: what it
    /// changes there changes here.
    pub fn own_descriptors(&self) -> impl Iterator<Item = RawFd> + '_ {
        self.shared
            .worker
            .own_descriptors()
            .map(|descriptor| descriptor.as_raw_fd())
    }

    /// Call it when all that an [`Engine::poll`] without a wait told is dealt with: what was sent leaves, and from here on
    /// a change makes a descriptor readable.
    pub fn leave_to_foreign_loop(&self) {
        self.uncork_front();
        self.shared.worker.leave_to_foreign_loop();
    }

    /// Reports [`Event::Wake`] with this token once a descriptor of the app's own is ready, as long as the answer is kept.
    ///
    /// # Errors
    /// The system's: not open, not pollable (a regular file), or too many descriptors.
    pub fn watch(
        &self,
        descriptor: BorrowedFd<'_>,
        interest: Interest,
        token: Token,
    ) -> std::io::Result<Watch> {
        self.shared.worker.watch(descriptor, interest, token)
    }

    /// Makes a task a member of a channel; it takes the messages itself, and at most `limit` of them wait for it.
    ///
    /// # Errors
    /// There are no channels; a bad name; no room for another channel.
    pub fn subscribe(
        &self,
        name: &str,
        since: Option<u64>,
        limit: usize,
        drops: Drops,
    ) -> Result<(Subscriber, JoinAnswer), JoinError> {
        self.shared.worker.subscribe(name, since, limit, drops)
    }

    /// No new connections, and a Close with `code` on every open WebSocket, evenly spread over a time. Requests in flight
    /// go on. Called again, it is for the WebSockets that are left.
    pub fn drain(&self, code: CloseCode, reason: &str, spread: Duration) {
        self.front.stop_accepting();
        self.shared.worker.close_all(code, reason, spread);
    }

    /// Tasks that run now, and WebSockets that are still closing: both 0 when a drain is complete.
    pub fn busy(&self) -> (usize, usize) {
        (self.shared.queue.running(), self.shared.worker.connections())
    }

    /// The clients whose connections speak HTTP, the idle ones included, as the log names them.
    pub fn http_peers(&self) -> Vec<String> {
        self.front.peers()
    }

    /// Requests that wait for a slot and whose clients are there.
    pub fn waiting(&self) -> usize {
        self.shared.queue.waiting(|request| request.is_over())
    }

    /// True once a drain is complete: no task runs, no request can come any more, no connection is closing.
    pub fn is_quiet(&self) -> bool {
        self.front.is_empty() && self.busy() == (0, 0)
    }

    /// Lets waiting threads go, ends the front within `deadline` and stops the loop. Idempotent.
    pub fn stop(&self, deadline: Duration) {
        self.shared.queue.close();
        self.front.stop(deadline);
        // Requests hold what is shared, and that holds the queue: what was never served must not keep both alive.
        drop(self.shared.queue.clear());
        self.shared.worker.stop();
    }

    /// No more requests for threads that wait in [`Engine::wait_request`]; they get `None`.
    pub fn dismiss(&self) {
        self.shared.queue.close();
    }

    /// True while the runner's thread is away from [`Engine::poll`], and the loop thread stands in for it. Means nothing with
    /// [`Delivery::Threads`].
    pub fn runner_is_stalled(&self) -> bool {
        self.shared.worker.loop_thread_drives()
    }

    /// A snapshot of the counters.
    pub fn statistics(&self) -> Statistics {
        Statistics {
            front: self.front.statistics(),
            worker: self.shared.worker.statistics(),
            running: self.shared.queue.running(),
        }
    }
}

/// One line for each connection that did not end in good order.
fn session_log(log: &LogSink, label: &str, closure: &Closure) {
    if let Some(error) = &closure.error {
        log(
            LogLevel::Warning,
            &format!("{label}: closed with {}: {error}", closure.code),
        );
    } else if closure.by == ClosedBy::Local(Cause::Backlog) {
        log(
            LogLevel::Info,
            &format!("{label}: closed with {}: {}", closure.code, closure.reason),
        );
    } else if let ClosedBy::Lost(
        why @ (Lost::PingTimeout | Lost::NotReading | Lost::SendTimeout | Lost::BrokenTls),
    ) = closure.by
    {
        log(LogLevel::Info, &format!("{label}: dropped: {why}"));
    }
}
