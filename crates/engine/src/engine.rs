//! Start, poll, stop: the life of one process's engine.
//!
//! [`Hall`] is what requests, the front's handoff and the engine share. The front calls into it (as its `Handoff`) on the
//! front's thread: it puts the request on the desk and rings the loop, nothing more.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use fairlead_front::{Answered, Entrance, Exchange, Front, FrontStatistics, Handoff, LogLevel};
use fairlead_http::Request as Head;
use fairlead_websocket::{CloseCode, ClosedBy, Closure, Lost, OriginPolicy, SecureLayer};
use fairlead_worker::{
    Connection, Drops, Interest, JoinAnswer, JoinError, Subscriber, Token, Watch, Worker, WorkerSettings,
};

use crate::desk::{Desk, Released, Taken};
use crate::parking::Parking;
use crate::request::Request;
use crate::settings::{AnsweredSink, Delivery, LogSink, Settings};

/// An application that has been away for this long is held up: a new connection had better go to another process. It must
/// not be so soon that a storm of connections looks like that, for then processes would not be compared by their numbers: a
/// thousand WebSockets at once, over two processes, kept each away for up to 42 ms.
const HELD_UP_AFTER: Duration = Duration::from_millis(100);

/// What the host is told. Closed: nothing else ever happens to a unit.
pub enum Event {
    /// Start a unit for this request.
    Request(Box<Request>),
    /// What the unit with this token waits for has changed.
    Wake(Token),
    /// The deadline that the unit set has passed.
    Deadline(Token),
}

/// One snapshot of all counters.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)] // the parts document themselves
pub struct Statistics {
    pub front: FrontStatistics,
    pub worker: fairlead_worker::Statistics,
    /// Units that run now.
    pub running: usize,
}

/// The engine of one process.
pub struct Engine {
    hall: Arc<Hall>,
    front: Mutex<Option<Arc<Front>>>,
    events: Mutex<Vec<fairlead_worker::Event>>,
}

pub(crate) struct Hall {
    pub(crate) worker: Worker,
    pub(crate) origin: OriginPolicy,
    pub(crate) extra_headers: Vec<(String, String)>,
    pub(crate) log: LogSink,
    answered: AnsweredSink,
    pub(crate) parking: Arc<Parking>,
    delivery: Delivery,
    pub(crate) desk: Desk<Box<Request>>,
    /// The front has put requests on the desk since it last rang; only the front's thread touches it.
    arrived: AtomicBool,
    front: Arc<OnceLock<Weak<Front>>>,
    this: OnceLock<Weak<Hall>>,
}

impl Engine {
    /// Starts the loop and the front; connections are accepted from now on.
    ///
    /// # Errors
    /// The system's, when a thread or a descriptor cannot be had.
    pub fn start(settings: Settings, listeners: Vec<impl Into<Entrance>>) -> std::io::Result<Self> {
        let log = Arc::clone(&settings.log);
        let front: Arc<OnceLock<Weak<Front>>> = Arc::default();
        let held = Arc::clone(&front);
        let parking = Arc::<Parking>::default();
        let parked = Arc::clone(&parking);
        let worker = Worker::start(WorkerSettings {
            session: Arc::new(settings.session),
            outbox_high: settings.outbox_high,
            outbox_low: settings.outbox_high / 2,
            threads_read: settings.delivery == Delivery::Threads,
            // The app computes: the answers of its batch so far must not wait for the rest.
            on_takeover: Arc::new(move || {
                if let Some(front) = held.get().and_then(Weak::upgrade) {
                    front.let_go();
                }
            }),
            on_absence: settings.absence,
            wake_thread: Arc::new(move |token| parked.wake(token)),
            channels: settings.channels,
            journal: Arc::new(move |label, closure| journal(&log, label, closure)),
            ..WorkerSettings::default()
        })?;
        let hall = Arc::new(Hall {
            worker,
            origin: settings.origin,
            extra_headers: settings.extra_headers,
            log: settings.log,
            answered: settings.answered,
            delivery: settings.delivery,
            parking,
            desk: Desk::new(settings.slots, settings.runners),
            arrived: AtomicBool::new(false),
            front,
            this: OnceLock::new(),
        });
        let _ = hall.this.set(Arc::downgrade(&hall));
        let handoff: Arc<dyn Handoff> = Arc::clone(&hall) as Arc<dyn Handoff>;
        let front = Arc::new(Front::start(listeners, settings.front, handoff)?);
        let _ = hall.front.set(Arc::downgrade(&front));
        Ok(Self {
            hall,
            front: Mutex::new(Some(front)),
            events: Mutex::default(),
        })
    }

    /// One turn of the loop by the calling thread, which waits at most `limit` (`None`: until something happens), and
    /// all that happened since the last. For hosts with [`Delivery::Loop`].
    pub fn poll(&self, into: &mut Vec<Event>, limit: Option<Duration>) {
        let front = self.front();
        if let Some(front) = &front {
            front.let_go();
        }
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        self.hall.worker.drive(&mut events, limit);
        into.extend(events.drain(..).map(|event| match event {
            fairlead_worker::Event::Wake(token) => Event::Wake(token),
            fairlead_worker::Event::Deadline(token) => Event::Deadline(token),
        }));
        while let Some(request) = self.hall.desk.take() {
            into.push(Event::Request(request));
        }
        // The answers of this batch wake the front once, with the next poll, or when the loop thread finds that it takes
        // longer.
        if let (Some(front), false) = (front, into.is_empty()) {
            front.hold();
            if self.hall.worker.loop_thread_drives() {
                // It took over between the turn and the hold: nobody else would let go.
                front.let_go();
            }
        }
    }

    /// Blocks until there is a request, at most `limit`. `None` after the limit, and always once the engine is stopping
    /// and no request waits. For hosts with [`Delivery::Threads`].
    pub fn wait_request(&self, limit: Option<Duration>) -> Option<Box<Request>> {
        let front = self.front();
        if let Some(front) = &front {
            // What was answered before this thread may sleep.
            if !self.hall.desk.has_more() {
                front.let_go();
            }
        }
        let (request, how) = self.hall.desk.wait(limit)?;
        Some(self.hand_over(front.as_deref(), request, how))
    }

    /// The same without a wait: `None` too when it is not this thread's turn. What was answered before goes on waiting for
    /// the last one, so ask [`Engine::wait_request`] next.
    pub fn try_request(&self) -> Option<Box<Request>> {
        let request = self.hall.desk.take_in_turn()?;
        Some(self.hand_over(self.front().as_deref(), request, Taken::InTurn))
    }

    fn hand_over(&self, front: Option<&Front>, request: Box<Request>, how: Taken) -> Box<Request> {
        request.is_at_work();
        // While requests lie on the desk, answers are gathered; the last one taken lets them go before it runs. When
        // things do not move the desk's guard comes, and lets them go too.
        match front {
            Some(front) if how == Taken::InTurn && self.hall.desk.has_more() => front.hold(),
            Some(front) => front.let_go(),
            None => {}
        }
        request
    }

    /// Blocks until `ask`, given the token to register, says that the wait is over; false when `limit` passed. For threads
    /// beside the host's own: they are woken whatever the host does.
    pub fn wait_on_thread(&self, limit: Option<Duration>, ask: impl FnMut(Token) -> bool) -> bool {
        self.hall.parking.wait(limit, ask)
    }

    /// Ends the current or the next wait of [`Engine::poll`]. From any thread.
    pub fn ring(&self) {
        self.hall.worker.ring();
    }

    /// Reports [`Event::Deadline`] with this token once `after` has passed.
    pub fn wake_at(&self, after: Duration, token: Token) {
        self.hall.worker.wake_at(after, token);
    }

    /// For hosts on a foreign loop: descriptors of which at least one polls readable, level-triggered, while
    /// [`Engine::poll`] has something to do. They stay the engine's; [`Engine::leave_to_foreign_loop`] before each wait.
    ///
    /// # Errors
    /// The system's, when no descriptor is free.
    pub fn descriptors(&self) -> std::io::Result<[RawFd; 2]> {
        Ok(self
            .hall
            .worker
            .descriptors()?
            .map(|descriptor| descriptor.as_raw_fd()))
    }

    /// Call it when all that an [`Engine::poll`] without a wait told is dealt with: what was sent leaves, and from here on
    /// a change makes a descriptor readable.
    pub fn leave_to_foreign_loop(&self) {
        if let Some(front) = self.front() {
            front.let_go();
        }
        self.hall.worker.leave_to_foreign_loop();
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
        self.hall.worker.watch(descriptor, interest, token)
    }

    /// Makes a unit a member of a channel; it takes the messages itself, and at most `limit` of them wait for it.
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
        self.hall.worker.subscribe(name, since, limit, drops)
    }

    /// No new connections, and a Close with `code` on every open WebSocket. Requests in flight go on.
    pub fn drain(&self, code: CloseCode, reason: &str) {
        if let Some(front) = self.front() {
            front.stop_accepting();
        }
        self.hall.worker.close_all(code, reason);
    }

    /// Units that run now, and WebSockets that are still closing: both 0 when a drain is complete.
    pub fn busy(&self) -> (usize, usize) {
        (self.hall.desk.running(), self.hall.worker.connections())
    }

    /// True once a drain is complete: no unit runs, no request can come any more, no connection is closing.
    pub fn is_quiet(&self) -> bool {
        self.front().is_none_or(|front| front.is_empty()) && self.busy() == (0, 0)
    }

    /// Lets waiting threads go, ends the front within `deadline` and stops the loop. Idempotent.
    pub fn stop(&self, deadline: Duration) {
        self.hall.desk.close();
        let front = self.front.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(front) = front {
            front.stop(deadline);
        }
        // Requests hold the hall, and the hall holds the desk: what was never served must not keep both alive.
        drop(self.hall.desk.clear());
        self.hall.worker.stop();
    }

    /// No more requests for threads that wait in [`Engine::wait_request`]; they get `None`.
    pub fn dismiss(&self) {
        self.hall.desk.close();
    }

    /// True while the host's thread is away from [`Engine::poll`], and the loop thread stands in for it. Means nothing with
    /// [`Delivery::Threads`].
    pub fn host_is_away(&self) -> bool {
        self.hall.worker.loop_thread_drives()
    }

    /// A snapshot of the counters.
    pub fn statistics(&self) -> Statistics {
        Statistics {
            front: self.front().map(|front| front.statistics()).unwrap_or_default(),
            worker: self.hall.worker.statistics(),
            running: self.hall.desk.running(),
        }
    }

    fn front(&self) -> Option<Arc<Front>> {
        self.front.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Hall {
    /// A request is done with its slot.
    pub(crate) fn slot_is_free(&self) {
        match self.desk.release() {
            Released::Passed => self.worker.ring(),
            Released::Free => {
                if let Some(front) = self.front.get().and_then(Weak::upgrade) {
                    front.room_available();
                }
            }
        }
    }
}

impl Handoff for Hall {
    fn request(&self, request: Head, exchange: Arc<Exchange>) {
        let Some(hall) = self.this.get().and_then(Weak::upgrade) else {
            return;
        };
        if self.desk.put(Box::new(Request::new(request, exchange, hall))) {
            self.arrived.store(true, Ordering::Relaxed);
        }
    }

    fn turn_ended(&self) {
        // One wake-up for all requests of the front's turn.
        if self.arrived.swap(false, Ordering::Relaxed) {
            match self.delivery {
                Delivery::Loop => self.worker.ring(),
                Delivery::Threads => self.desk.announce(),
            }
        }
    }

    fn upgraded(
        &self,
        exchange: &Arc<Exchange>,
        socket: OwnedFd,
        read_ahead: Vec<u8>,
        layer: Option<Box<dyn SecureLayer>>,
    ) {
        if let Some(connection) = attached(exchange) {
            self.worker.join_secure(connection, socket, read_ahead, layer);
        }
    }

    fn upgrade_lost(&self, exchange: &Arc<Exchange>, _why: String) {
        if let Some(connection) = attached(exchange) {
            connection.abandon(Lost::Reset);
        }
    }

    fn wake(&self, token: u64) {
        match self.delivery {
            Delivery::Loop => self.worker.report(fairlead_worker::Event::Wake(token)),
            Delivery::Threads => self.parking.wake(token),
        }
    }

    fn has_room(&self) -> bool {
        self.desk.has_room()
    }

    fn connections(&self) -> usize {
        self.worker.connections()
    }

    fn is_held_up(&self) -> bool {
        // Threads are switched by their language, however long one of them computes.
        self.delivery == Delivery::Loop && self.worker.app_away_for() >= HELD_UP_AFTER
    }

    fn answered(&self, about: Answered) {
        (self.answered)(about);
    }

    fn log(&self, level: LogLevel, line: &str) {
        (self.log)(level, line);
    }
}

fn attached(exchange: &Arc<Exchange>) -> Option<&Arc<Connection>> {
    exchange
        .attachment()
        .and_then(|any| any.downcast_ref::<Arc<Connection>>())
}

/// One line for each connection that did not end in good order.
fn journal(log: &LogSink, label: &str, closure: &Closure) {
    if let Some(error) = &closure.error {
        log(
            LogLevel::Warning,
            &format!("{label}: closed with {}: {error}", closure.code),
        );
    } else if closure.code == CloseCode::TRY_AGAIN_LATER.0 && closure.by == ClosedBy::Local {
        log(
            LogLevel::Info,
            &format!("{label}: closed with {}: {}", closure.code, closure.reason),
        );
    } else if let ClosedBy::Lost(
        why @ (Lost::PingTimeout | Lost::SlowConsumer | Lost::SendTimeout | Lost::BrokenTls),
    ) = closure.by
    {
        log(LogLevel::Info, &format!("{label}: dropped: {why}"));
    }
}
