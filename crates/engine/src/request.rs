//! One request as the runner and the app see it: its head, its way back, and the step to a WebSocket.
//!
//! A [`Request`] holds its slot until it is dropped. Dropped without an answer it is answered: with the refusal of its
//! handshake if there was one, else by the front's 500. All its methods are callable from any thread and none blocks;
//! what has to be waited for is named by a token (see [`crate::Event::Wake`]). The file stays whole: a verb each, of one type.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use fairlead_channel::is_forked;
use fairlead_front::{AccessRecord, BodyRead, Exchange, LogLevel, Outcome};
use fairlead_http::{Request as Head, ResponseHead};
use fairlead_websocket::{CloseCode, Handshake, HandshakeError, UsageError};
use fairlead_worker::{Connection, ReadinessDescriptor, Token};

use crate::arriving::Arriving;
use crate::engine_shared::{Admitted, EngineShared};

/// What all requests of a process share.
pub(crate) type Shared = EngineShared<Box<Request>>;

/// The client is no longer there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the client closed the connection before the response was complete")
    }
}

impl std::error::Error for Gone {}

/// Why a WebSocket handshake was not completed.
#[derive(Debug)]
pub enum AcceptError {
    /// The client's handshake breaks RFC 6455 §4.2.1.
    Handshake(HandshakeError),
    /// A browser page of another origin asked, and the settings do not allow it.
    Origin(String),
    /// The app asked for something that cannot be sent.
    Usage(UsageError),
    /// A response was begun, or a handshake completed, before.
    AlreadyAnswered,
    /// The client is no longer there.
    Gone,
}

impl fmt::Display for AcceptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handshake(error) => error.fmt(f),
            Self::Origin(origin) => write!(
                f,
                "the page's origin {origin:?} is not this server's; allow it with \
                 --websockets-origin {origin}, or all with --websockets-origin '*'"
            ),
            Self::Usage(error) => error.fmt(f),
            Self::AlreadyAnswered => {
                f.write_str("a response or a handshake was sent before; one is possible")
            }
            Self::Gone => Gone.fmt(f),
        }
    }
}

impl std::error::Error for AcceptError {}

impl AcceptError {
    /// The HTTP status that a client gets for it, if the app sends no other response.
    pub fn status(&self) -> u16 {
        match self {
            Self::Handshake(error) => error.status(),
            Self::Origin(_) => 403,
            Self::Usage(_) | Self::AlreadyAnswered | Self::Gone => 500,
        }
    }
}

/// A request that holds a slot.
pub struct Request {
    head: Head,
    /// The way back through the front; gone once the socket has left it, so that a session of days does not keep what
    /// the handshake needed.
    exchange: Mutex<Option<Arc<Exchange>>>,
    /// What routes want to know of the request, to its end.
    record: Option<Arc<AccessRecord>>,
    shared: Arc<Shared>,
    readiness: Mutex<Option<ReadinessDescriptor>>,
    connection: OnceLock<Arc<Connection>>,
    handshake: Mutex<Option<Result<Handshake, HandshakeError>>>,
    refusal: Mutex<Option<Refusal>>,
    has_slot: AtomicBool,
    /// Somebody works on it, or has.
    has_begun: AtomicBool,
    arrived: Instant,
    /// It counts as at work in the admission queue.
    at_work: AtomicBool,
}

/// The verbs of the front's exchange that are a request's too, each with its answer when the exchange is gone: of a
/// WebSocket, which has no body (a handshake with one is refused), and of a request that is complete.
macro_rules! exchange_verbs {
    ($($(#[$doc:meta])* fn $verb:ident(&self $(, $argument:ident: $kind:ty)*) -> $answer:ty, or $gone:expr;)*) => {
        impl Request {
            $($(#[$doc])*
            pub fn $verb(&self $(, $argument: $kind)*) -> $answer {
                self.with_exchange($gone, |exchange| exchange.$verb($($argument),*))
            })*
        }
    };
}

exchange_verbs! {
    /// True if the body's buffer has room now.
    fn is_writable(&self) -> bool, or true;

    /// True if the body's buffer has room now; else the task is woken when it has.
    fn wait_writable(&self, token: Token) -> bool, or true;

    /// Takes up to `max` bytes of the request's body that are there.
    fn read_body(&self, max: usize) -> BodyRead, or BodyRead::End;

    /// Takes a line of the request's body with its line feed, but at most `max` bytes, or what is there of it.
    fn read_line(&self, max: usize) -> BodyRead, or BodyRead::End;

    /// Takes a whole chunk of a chunked body, or `limit` bytes of a longer one; [`Request::wait_more`] tells when to ask
    /// again. A body without chunks comes as it arrives.
    fn read_chunk(&self, limit: usize) -> BodyRead, or BodyRead::End;

    /// True if [`Request::read_body`] has something to say now; else the task is woken when it has.
    fn wait_body(&self, token: Token) -> bool, or true;

    /// All bytes of the body that have come so far, read or not.
    fn received(&self) -> u64, or 0;

    /// True if more than `seen` bytes of the body have come, or its end or a failure; else the task is woken when it has.
    /// How long a silent client is waited for is the caller's business.
    fn wait_more(&self, token: Token, seen: u64) -> bool, or true;
}

struct Refusal {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    text: String,
}

impl Request {
    pub(crate) fn new(head: Head, exchange: Arc<Exchange>, shared: Arc<Shared>) -> Self {
        Self {
            head,
            record: exchange.record(),
            exchange: Mutex::new(Some(exchange)),
            shared,
            readiness: Mutex::default(),
            connection: OnceLock::new(),
            handshake: Mutex::default(),
            refusal: Mutex::default(),
            has_slot: AtomicBool::new(false),
            has_begun: AtomicBool::new(false),
            arrived: Instant::now(),
            at_work: AtomicBool::new(false),
        }
    }

    /// The request's head.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Peer, method and path as the log names them.
    pub fn label(&self) -> String {
        format!(
            "{} {}",
            self.head.peer(),
            String::from_utf8_lossy(self.head.target())
        )
    }

    /// Sends a whole response. `Content-Length` is set if the head has none.
    ///
    /// # Errors
    /// [`Gone`].
    pub fn respond(&self, head: ResponseHead, body: Vec<u8>) -> Result<(), Gone> {
        let head = self.with_extra_headers(head);
        self.with_exchange(Err(Gone), |exchange| {
            exchange.respond(head, body).map_err(|_| Gone)
        })
    }

    /// Begins a response whose body follows in pieces.
    ///
    /// # Errors
    /// [`Gone`].
    pub fn start_response(&self, head: ResponseHead) -> Result<(), Gone> {
        let head = self.with_extra_headers(head);
        self.with_exchange(Err(Gone), |exchange| {
            exchange.start_response(head).map_err(|_| Gone)
        })
    }

    /// Adds to the body. Ask [`Request::wait_writable`] before the next.
    ///
    /// # Errors
    /// [`Gone`].
    pub fn write(&self, piece: Vec<u8>) -> Result<(), Gone> {
        self.with_exchange(Err(Gone), |exchange| exchange.write(piece).map_err(|_| Gone))
    }

    /// Adds a range of a regular file to the body; [`Request::wait_writable`] says no until all of it was sent.
    ///
    /// # Errors
    /// [`Gone`].
    pub fn write_file(&self, file: std::fs::File, offset: u64, length: u64) -> Result<(), Gone> {
        self.with_exchange(Err(Gone), |exchange| {
            exchange.write_file(file, offset, length).map_err(|_| Gone)
        })
    }

    /// Ends the body.
    pub fn finish(&self) {
        self.with_exchange((), Exchange::finish);
    }

    /// The response was begun and cannot be completed: the connection is cut, so that the client knows.
    pub fn abort(&self, why: &str) {
        self.with_exchange((), |exchange| exchange.abort(why));
    }

    /// Blocks the thread until `ask` says that the wait is over, at most `limit` (`None`: for ever); false when that passed.
    /// `ask` is one of the verbs that wait for a token. For runners with a thread per task.
    pub fn wait_blocking(&self, limit: Option<Duration>, mut ask: impl FnMut(&Self, Token) -> bool) -> bool {
        self.resting(|| self.shared.parking.wait(limit, |token| ask(self, token)))
    }

    /// While it waits for a slot: nobody needs the app for it any more. Its client is gone, or was told that none was free.
    pub(crate) fn is_over(&self) -> bool {
        self.with_exchange(true, Exchange::is_over)
    }

    /// True once the client has gone.
    pub fn is_gone(&self) -> bool {
        match self.connection.get() {
            Some(connection) => connection.closure().is_some(),
            None => self.with_exchange(true, Exchange::is_gone),
        }
    }

    /// Completes the WebSocket handshake, RFC 6455 §4.2.2. Checks the client's side of it and the origin. A subprotocol
    /// must be one that the client offered; `key` replaces the client's (uWSGI lets the app pass it).
    ///
    /// The connection is usable at once: messages wait until the socket has left the front.
    ///
    /// # Errors
    /// [`AcceptError`]; the log has a line with peer, path and rule, and the client gets the fitting status if
    /// the app sends no other response.
    pub fn accept(
        &self,
        key: Option<&str>,
        subprotocol: Option<&str>,
    ) -> Result<Arc<Connection>, AcceptError> {
        let handshake = self
            .handshake()
            .map_err(|error| self.refuse(error.status(), error.headers(), AcceptError::Handshake(error)))?;
        if !self.shared.origin.allows(&self.head) {
            let origin = self.head.header("origin").unwrap_or_default();
            let origin = String::from_utf8_lossy(origin).into_owned();
            return Err(self.refuse(403, Vec::new(), AcceptError::Origin(origin)));
        }
        let extra = &self.shared.extra_headers;
        let (response, negotiated) = match key {
            Some(key) => handshake.with_key(key).response(subprotocol, extra),
            None => handshake.response(subprotocol, extra),
        }
        .map_err(AcceptError::Usage)?;
        // Taken out: a second call finds none, and the front holds its own until the socket has left it.
        let Some(exchange) = self.lock_exchange().take() else {
            return Err(if self.connection.get().is_some() {
                AcceptError::AlreadyAnswered
            } else {
                AcceptError::Gone
            });
        };
        let readiness = self.lock_readiness().take();
        let connection = self
            .shared
            .worker
            .connection(negotiated, self.label().into_boxed_str(), readiness);
        let arriving = Box::new(Arriving {
            shared: Arc::clone(&self.shared),
            connection: Arc::clone(&connection),
        });
        if exchange.accept_upgrade(response, arriving).is_err() {
            let was_answered = !exchange.is_gone();
            *self.lock_exchange() = Some(exchange);
            return Err(if was_answered {
                AcceptError::AlreadyAnswered
            } else {
                AcceptError::Gone
            });
        }
        // Only one call has had the exchange.
        let _ = self.connection.set(Arc::clone(&connection));
        // From here on the task mostly waits, for as long as the connection lives.
        self.rest();
        Ok(connection)
    }

    /// The subprotocols that the client offers, in its order of preference; empty if the handshake is not valid.
    pub fn offered_subprotocols(&self) -> Vec<String> {
        let handshake = Handshake::validate(&self.head);
        let offered = handshake
            .as_ref()
            .map(|handshake| handshake.subprotocols().to_vec())
            .unwrap_or_default();
        *self.lock_handshake() = Some(handshake);
        offered
    }

    /// The WebSocket connection, once accepted.
    pub fn connection(&self) -> Option<&Arc<Connection>> {
        self.connection.get()
    }

    /// A descriptor that polls readable while there is something to receive; before the handshake it is silent, and
    /// the handshake takes it over.
    ///
    /// # Errors
    /// The system's, when no descriptors are free.
    pub fn notify_descriptor(&self) -> std::io::Result<std::os::fd::RawFd> {
        if let Some(connection) = self.connection.get() {
            return connection.notify_descriptor();
        }
        let mut readiness = self.lock_readiness();
        if readiness.is_none() {
            *readiness = Some(ReadinessDescriptor::new()?);
        }
        Ok(readiness.as_ref().map_or(-1, ReadinessDescriptor::descriptor))
    }

    /// The app has ended without a response of its own: answers for it, with the refused handshake if that is the
    /// reason; returns its status. `None` if there was no refusal; then the runner answers 500.
    pub fn answer_refusal(&self) -> Option<u16> {
        let refusal = self
            .refusal
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()?;
        let mut headers = refusal.headers;
        headers.push(("content-type".into(), b"text/plain; charset=utf-8".to_vec()));
        headers.push(("connection".into(), b"close".to_vec()));
        let head = ResponseHead {
            status: refusal.status,
            reason: None,
            headers,
        };
        // A client that is gone needs no answer.
        let _ = self.respond(head, format!("{}\n", refusal.text).into_bytes());
        Some(refusal.status)
    }

    /// Ends a WebSocket from the app's side, if there is one, and says whether there was.
    pub fn release(&self, code: CloseCode, reason: &str) -> bool {
        let Some(connection) = self.connection.get() else {
            return false;
        };
        connection.release(code, reason);
        true
    }

    /// The response, or the session, is over: rules for the end see it, once. What they and those before them want of the
    /// request's line in the log.
    pub fn conclude(&self) -> Outcome {
        self.record
            .as_ref()
            .map(|record| record.conclude())
            .unwrap_or_default()
    }

    /// The task has ended: gives the slot back, whoever still holds the request. Runners release and answer before; what
    /// they left open is closed as an error of the app.
    pub fn complete(&self) {
        if !self.has_slot.swap(false, Ordering::SeqCst) {
            return;
        }
        if self.at_work.swap(false, Ordering::SeqCst) {
            self.shared.queue.done();
        }
        self.release(CloseCode::INTERNAL_ERROR, "");
        self.answer_refusal();
        self.conclude();
        // Dropped here and not with the request, which the app may keep: an exchange without an answer answers 500.
        drop(self.lock_exchange().take());
        self.shared.slot_is_free();
    }

    /// True once the task has ended.
    pub fn is_complete(&self) -> bool {
        !self.has_slot.load(Ordering::SeqCst)
    }

    /// Validates, unless [`Request::offered_subprotocols`] has just done so.
    fn handshake(&self) -> Result<Handshake, HandshakeError> {
        self.lock_handshake()
            .take()
            .unwrap_or_else(|| Handshake::validate(&self.head))
    }

    fn lock_handshake(&self) -> std::sync::MutexGuard<'_, Option<Result<Handshake, HandshakeError>>> {
        self.handshake.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It has got a slot at once. Under the queue's lock, so no more than this.
    pub(crate) fn take_slot(&self) {
        self.has_slot.store(true, Ordering::SeqCst);
    }

    /// Somebody is about to run it; false if its client is gone, and nobody should.
    pub(crate) fn begin(&self) -> bool {
        let is_there = self.with_exchange(false, |exchange| {
            exchange.begin();
            !exchange.is_gone()
        });
        self.has_begun.store(is_there, Ordering::Relaxed);
        is_there
    }

    pub(crate) fn is_at_work(&self) {
        self.at_work.store(true, Ordering::SeqCst);
    }

    /// The task waits in the engine, from now on or for a while. True if it counted as at work.
    fn rest(&self) -> bool {
        let was = self.at_work.swap(false, Ordering::SeqCst);
        if was {
            self.shared.queue.rest();
        }
        was
    }

    fn resting<R>(&self, wait: impl FnOnce() -> R) -> R {
        let was = self.rest();
        let outcome = wait();
        if was {
            self.shared.queue.resume();
            self.is_at_work();
        }
        outcome
    }

    /// Calls the exchange with nothing locked; `gone` is the answer without one.
    fn with_exchange<R>(&self, gone: R, call: impl FnOnce(&Exchange) -> R) -> R {
        let exchange = self.lock_exchange().clone();
        exchange.map_or(gone, |exchange| call(&exchange))
    }

    fn lock_exchange(&self) -> std::sync::MutexGuard<'_, Option<Arc<Exchange>>> {
        self.exchange.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refuse(&self, status: u16, headers: Vec<(String, Vec<u8>)>, error: AcceptError) -> AcceptError {
        (self.shared.log)(
            LogLevel::Warning,
            &format!("{}: handshake refused: {error}", self.label()),
        );
        // The client learns the rule it broke, not how this server is configured.
        let text = match &error {
            AcceptError::Origin(_) => "This page's origin may not open a WebSocket here.".into(),
            other => other.to_string(),
        };
        let refusal = Refusal {
            status,
            headers,
            text,
        };
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal);
        error
    }

    fn with_extra_headers(&self, mut head: ResponseHead) -> ResponseHead {
        for (name, value) in &self.shared.extra_headers {
            head.headers.push((name.clone(), value.clone().into_bytes()));
        }
        head
    }

    fn lock_readiness(&self) -> std::sync::MutexGuard<'_, Option<ReadinessDescriptor>> {
        self.readiness.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admitted for Box<Request> {
    fn admit(&self) -> bool {
        let is_there = self.with_exchange(false, Exchange::admit);
        self.has_slot.store(is_there, Ordering::SeqCst);
        is_there
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        if is_forked() {
            return; // it is the parent's
        }
        let has_begun = self.has_begun.load(Ordering::Relaxed);
        let left = self
            .lock_exchange()
            .clone()
            .filter(|exchange| !has_begun && exchange.is_gone());
        self.complete();
        // Of one that never had a slot as well.
        let outcome = self.conclude();
        if let Some(exchange) = left {
            exchange.note_unserved(&self.head, outcome, self.arrived.elapsed());
        }
    }
}
