//! One request as the host and the app see it: its head, its way back, and the step to a WebSocket.
//!
//! A [`Request`] holds its slot until it is dropped. Dropped without an answer it is answered: with the refusal of its
//! handshake if there was one, else by the front's 500. All its methods are callable from any thread and none blocks;
//! what has to be waited for is named by a token (see [`crate::Event::Wake`]).

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use fairlead_front::{BodyRead, Exchange, LogLevel};
use fairlead_protocol::{CloseCode, Handshake, HandshakeError, Request as Head, ResponseHead, UsageError};
use fairlead_worker::{Connection, Doorbell, Token};

use crate::engine::Hall;

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
            Self::AlreadyAnswered => f.write_str("a response or a handshake was sent before; one is possible"),
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
    exchange: Arc<Exchange>,
    hall: Arc<Hall>,
    doorbell: Mutex<Option<Box<Doorbell>>>,
    connection: OnceLock<Arc<Connection>>,
    refusal: Mutex<Option<Refusal>>,
    has_slot: AtomicBool,
}

struct Refusal {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    text: String,
}

impl Request {
    pub(crate) fn new(head: Head, exchange: Arc<Exchange>, hall: Arc<Hall>) -> Self {
        Self {
            head,
            exchange,
            hall,
            doorbell: Mutex::default(),
            connection: OnceLock::new(),
            refusal: Mutex::default(),
            has_slot: AtomicBool::new(true),
        }
    }

    /// The request's head.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Peer, method and path as the log names them.
    pub fn label(&self) -> String {
        format!("{} {}", self.head.peer(), String::from_utf8_lossy(self.head.target()))
    }

    /// Sends a whole response. `Content-Length` is set if the head has none.
    ///
    /// # Errors
    /// [`Gone`].
    pub fn respond(&self, head: ResponseHead, body: Vec<u8>) -> Result<(), Gone> {
        self.exchange.respond(self.with_extra_headers(head), body).map_err(|_| Gone)
    }

    /// Begins a response whose body follows in pieces.
    ///
    /// # Errors
    /// [`Gone`].
    pub fn start_response(&self, head: ResponseHead) -> Result<(), Gone> {
        self.exchange.start_response(self.with_extra_headers(head)).map_err(|_| Gone)
    }

    /// Adds to the body. Ask [`Request::wait_writable`] before the next.
    ///
    /// # Errors
    /// [`Gone`].
    pub fn write(&self, piece: Vec<u8>) -> Result<(), Gone> {
        self.exchange.write(bytes::Bytes::from(piece)).map_err(|_| Gone)
    }

    /// Ends the body.
    pub fn finish(&self) {
        self.exchange.finish();
    }

    /// The response was begun and cannot be completed: the connection is cut, so that the client knows.
    pub fn abort(&self, why: &str) {
        self.exchange.abort(why);
    }

    /// True if the body's buffer has room now; else the unit is woken when it has.
    pub fn wait_writable(&self, token: Token) -> bool {
        self.exchange.wait_writable(token)
    }

    /// Takes up to `max` bytes of the request's body that are there.
    pub fn read_body(&self, max: usize) -> BodyRead {
        self.exchange.read_body(max)
    }

    /// True if [`Request::read_body`] has something to say now; else the unit is woken when it has.
    pub fn wait_body(&self, token: Token) -> bool {
        self.exchange.wait_body(token)
    }

    /// Blocks the thread until the body has more to say, at most `limit`; for hosts with a thread per unit.
    pub fn wait_body_blocking(&self, limit: std::time::Duration) -> bool {
        self.hall.parking.wait(limit, |token| self.exchange.wait_body(token))
    }

    /// Blocks the thread until the response has room, at most `limit`; for hosts with a thread per unit.
    pub fn wait_writable_blocking(&self, limit: std::time::Duration) -> bool {
        self.hall.parking.wait(limit, |token| self.exchange.wait_writable(token))
    }

    /// True once the client has gone.
    pub fn is_gone(&self) -> bool {
        self.exchange.is_gone()
    }

    /// Completes the WebSocket handshake, RFC 6455 §4.2.2. Checks the client's side of it and the origin. A subprotocol
    /// must be one that the client offered; `key` replaces the client's (uWSGI lets the app pass it).
    ///
    /// The connection is usable at once: messages wait until the socket has left the front.
    ///
    /// # Errors
    /// [`AcceptError`]; the log has a line with peer, path and rule, and the client gets the fitting status if
    /// the app sends no other response.
    pub fn accept(&self, key: Option<&str>, subprotocol: Option<&str>) -> Result<Arc<Connection>, AcceptError> {
        let handshake = Handshake::validate(&self.head)
            .map_err(|error| self.refuse(error.status(), error.headers(), AcceptError::Handshake(error)))?;
        if !self.hall.origin.allows(&self.head) {
            let origin = self.head.header("origin").unwrap_or_default();
            let origin = String::from_utf8_lossy(origin).into_owned();
            return Err(self.refuse(403, Vec::new(), AcceptError::Origin(origin)));
        }
        let handshake = match key {
            Some(key) => handshake.with_key(key),
            None => handshake,
        };
        let response =
            handshake.response(subprotocol, &self.hall.extra_headers).map_err(AcceptError::Usage)?;
        if self.connection.get().is_some() {
            return Err(AcceptError::AlreadyAnswered);
        }
        let doorbell = self.lock_doorbell().take();
        let connection = self.hall.worker.connection(self.label().into_boxed_str(), doorbell);
        self.exchange.attach(Box::new(Arc::clone(&connection)));
        if self.exchange.accept_upgrade(response).is_err() {
            return Err(AcceptError::Gone);
        }
        // The check above and the front's own state let only one call come here.
        let _ = self.connection.set(Arc::clone(&connection));
        Ok(connection)
    }

    /// The subprotocols that the client offers, in its order of preference; empty if the handshake is not valid.
    pub fn offered_subprotocols(&self) -> Vec<String> {
        Handshake::validate(&self.head).map(|handshake| handshake.subprotocols().to_vec()).unwrap_or_default()
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
        let mut doorbell = self.lock_doorbell();
        if doorbell.is_none() {
            *doorbell = Some(Box::new(Doorbell::new()?));
        }
        Ok(doorbell.as_ref().map_or(-1, |bell| bell.descriptor()))
    }

    /// The app has ended without a response of its own: answers for it, with the refused handshake if that is the
    /// reason. False if there was no refusal; then the host answers 500.
    pub fn answer_refusal(&self) -> bool {
        let Some(refusal) = self.refusal.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return false;
        };
        let mut headers = refusal.headers;
        headers.push(("content-type".into(), b"text/plain; charset=utf-8".to_vec()));
        headers.push(("connection".into(), b"close".to_vec()));
        let head = ResponseHead { status: refusal.status, reason: None, headers };
        // A client that is gone needs no answer.
        let _ = self.respond(head, format!("{}\n", refusal.text).into_bytes());
        true
    }

    /// Ends a WebSocket from the app's side, if there is one, and says whether there was.
    pub fn release(&self, code: CloseCode, reason: &str) -> bool {
        let Some(connection) = self.connection.get() else { return false };
        connection.release(code, reason);
        true
    }

    /// The unit has ended: gives the slot back, whoever still holds the request. Hosts release and answer before; what
    /// they left open is closed as an error of the app.
    pub fn complete(&self) {
        if !self.has_slot.swap(false, Ordering::SeqCst) {
            return;
        }
        self.release(CloseCode::INTERNAL_ERROR, "");
        self.answer_refusal();
        self.hall.slot_is_free();
    }

    fn refuse(&self, status: u16, headers: Vec<(String, Vec<u8>)>, error: AcceptError) -> AcceptError {
        (self.hall.log)(LogLevel::Warning, &format!("{}: handshake refused: {error}", self.label()));
        // The client learns the rule it broke, not how this server is configured.
        let text = match &error {
            AcceptError::Origin(_) => "This page's origin may not open a WebSocket here.".into(),
            other => other.to_string(),
        };
        let refusal = Refusal { status, headers, text };
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal);
        error
    }

    fn with_extra_headers(&self, mut head: ResponseHead) -> ResponseHead {
        for (name, value) in &self.hall.extra_headers {
            head.headers.push((name.clone(), value.clone().into_bytes()));
        }
        head
    }

    fn lock_doorbell(&self) -> std::sync::MutexGuard<'_, Option<Box<Doorbell>>> {
        self.doorbell.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.complete();
    }
}
