//! One stream: a request's task, from the handing over to the last byte of the answer, or to the end of its tunnel.
//!
//! It does for HTTP/2 what `connection` and `response` do for HTTP/1.1, over the same exchange: it moves the body of the
//! request at the pace of the application, takes the answer, and tells everyone who waits when the client is gone. The
//! client's window is joined to the application: what that has not taken, the client may not send again. What goes wrong
//! with a stream resets that stream; its neighbours do not notice. The file stays whole: it is one task.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use hyper::http::request::Parts;
use hyper::http::{Response, StatusCode};
use hyper::Method;

use crate::body::End;
use crate::deadline::{deadline, millis, Situation};
use crate::drain::Registration;
use crate::error::{BodyError, Refusal};
use crate::events::LogLevel;
use crate::exchange::{Answer, BodyPlan, Core, Exchange};
use crate::http2::head::{self, Admitted};
use crate::http2::lingering::{linger, LINGER_MS};
use crate::http2::sending::{Progress, Sending};
use crate::http2::state::Http2State;
use crate::http2::stream_errors::StreamError;
use crate::http2::tunnel::{self, Tunnel};
use crate::pipeline::Pipeline;
use crate::response_head::{may_have_body, HeadOf};
use crate::upgrade::Upgrade;

pub(super) struct StreamTask {
    core: Arc<Core>,
    body: Option<Body>,
    /// The same, once nobody reads it any more.
    unread: Option<Body>,
    way: Way,
    is_head: bool,
    /// The client waits for an answer to the key that it sent.
    has_key: bool,
    /// The client has no room for what waits since then, and so many bytes had left by then.
    blocked_since_ms: Option<(u64, u64)>,
    /// The status of the answer.
    status: StatusCode,
    /// All of that was given to h2.
    is_answered: bool,
    /// A WebSocket whose end the client was told then, and that is read on.
    ending_since_ms: Option<u64>,
    number: u32,
    http2: Arc<Http2State>,
    registration: Registration,
}

/// The request's body.
struct Body {
    recv: RecvStream,
    /// The client waits for permission to send it.
    owes_continue: bool,
    is_tunnel: bool,
    total: u64,
    /// What the application has not taken, as far as h2 knows.
    held: usize,
    /// When bytes came last.
    came_ms: u64,
}

enum Way {
    /// The application has not answered.
    Answering(SendResponse<Bytes>),
    Sending(Sending),
    Tunnel(Tunnel),
    Done,
}

/// Hands a request over, or refuses it.
pub(super) fn begin(
    http2: &Arc<Http2State>,
    registration: &Registration,
    pipeline: &Pipeline,
    request: hyper::http::Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) {
    let (head, recv) = request.into_parts();
    http2.connection.shared().counters.request();
    match http2.stream_error(respond.stream_id().into()) {
        None => {}
        Some(StreamError::WindowUpdateOfZero) => return respond.send_reset(Reason::PROTOCOL_ERROR),
        Some(StreamError::Fragment) => {
            let target = head.uri.path_and_query().map_or("", |target| target.as_str());
            return refuse(http2, &Refusal::Fragment(format!("{target}#...")), respond, recv);
        }
    }
    match head::admit(&head, !recv.is_end_stream(), &http2.connection) {
        Ok(admitted) => hand_over(http2, registration, pipeline, &head, admitted, recv, respond),
        Err(rule) => refuse(http2, &rule, respond, recv),
    }
}

fn hand_over(
    http2: &Arc<Http2State>,
    registration: &Registration,
    pipeline: &Pipeline,
    head: &Parts,
    admitted: Admitted,
    recv: RecvStream,
    respond: SendResponse<Bytes>,
) {
    let number = respond.stream_id().into();
    let connection = http2.begin_stream(number);
    let core = Arc::new(Core::new(
        Arc::clone(&connection),
        admitted.is_websocket,
        admitted.plan,
    ));
    let body = Body {
        recv,
        owes_continue: admitted.plan == BodyPlan::OnDemand,
        is_tunnel: admitted.is_websocket,
        total: 0,
        held: 0,
        came_ms: connection.shared().now_ms(),
    };
    let mut stream = StreamTask {
        core: Arc::clone(&core),
        body: (admitted.is_websocket || admitted.plan != BodyPlan::None).then_some(body),
        unread: None,
        way: Way::Answering(respond),
        is_head: head.method == Method::HEAD,
        has_key: admitted.has_key,
        blocked_since_ms: None,
        status: StatusCode::OK,
        is_answered: false,
        ending_since_ms: None,
        number,
        http2: Arc::clone(http2),
        registration: registration.beside(Arc::clone(&connection)),
    };
    let exchange = Arc::new(Exchange::new(core));
    pipeline.enter(&connection, admitted.request, exchange);
    tokio::spawn(async move { poll_fn(|cx| stream.turn(cx)).await });
}

/// The front's own answer. It fits the smallest window that a client may have, or waits in h2.
fn refuse(http2: &Http2State, rule: &Refusal, mut respond: SendResponse<Bytes>, recv: RecvStream) {
    let status = rule.status();
    http2.note_refusal(format_args!("a request was refused with {status}: {rule}"));
    let (response, text) = head::plain(status, &rule.to_string());
    let status = response.status();
    // A client that is gone needs no answer.
    if let Ok(mut send) = respond.send_response(response, false) {
        let _ = send.send_data(Bytes::from(text), true);
    }
    linger(status, recv, 0);
}

impl StreamTask {
    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.registration.connection().enlist(cx);
        if self.http2.stream_error(self.number).is_some() {
            self.reset(Reason::PROTOCOL_ERROR);
            return self.end(true);
        }
        loop {
            let moved = self.pump(cx);
            let went_on = match &mut self.way {
                Way::Answering(respond) => {
                    if respond.poll_reset(cx).is_ready() {
                        return self.end(true);
                    }
                    self.answer()
                }
                Way::Sending(sending) => match sending.poll(&self.core, &self.http2, cx) {
                    Progress::Done => {
                        self.is_answered = true;
                        return self.end(false);
                    }
                    Progress::Lost => return self.end(true),
                    progress => self.note(&progress),
                },
                Way::Tunnel(tunnel) => match tunnel.poll(cx) {
                    Progress::Done => return self.end(false),
                    progress => self.note(&progress),
                },
                Way::Done => return self.end(false),
            };
            if !moved && !went_on {
                break;
            }
        }
        self.keep_deadline()
    }

    /// Begins or ends the client's time to make room, which is of progress: whoever takes something has it anew. False: what
    /// waits will be woken.
    fn note(&mut self, progress: &Progress) -> bool {
        if matches!(progress, Progress::Ending) {
            let now = self.core.connection.shared().now_ms();
            self.ending_since_ms.get_or_insert(now);
        }
        self.blocked_since_ms = match (progress, self.blocked_since_ms) {
            (Progress::Owing(sent), Some(since)) if since.1 == *sent => Some(since),
            (Progress::Owing(sent), _) => Some((self.core.connection.shared().now_ms(), *sent)),
            _ => None,
        };
        false
    }

    fn end(&mut self, lost: bool) -> Poll<()> {
        self.way = Way::Done;
        self.core.close(lost);
        Poll::Ready(())
    }

    /// Resets the stream.
    fn reset(&mut self, why: Reason) {
        match &mut self.way {
            Way::Answering(respond) => respond.send_reset(why),
            Way::Sending(sending) => sending.reset(why),
            Way::Tunnel(tunnel) => tunnel.reset(why),
            Way::Done => {}
        }
    }

    /// Moves one piece of the request's body; true if there may be more.
    fn pump(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(body) = self.body.as_mut().filter(|body| !body.is_tunnel) else {
            return false;
        };
        let connection = &self.core.connection;
        let settings = connection.settings();
        let mut state = self.core.lock();
        if state.closed {
            // Nobody reads the rest; see `lingering`.
            drop(state);
            self.unread = self.body.take();
            return false;
        }
        let taken = body.held.saturating_sub(state.incoming.waiting());
        if taken > 0 {
            body.held -= taken;
            // Cannot fail: no more is released than came.
            let _ = body.recv.flow_control().release_capacity(taken);
        }
        if !state.incoming.wanted {
            return false;
        }
        if state.incoming.is_full(settings.body_high_water) {
            state.incoming.paused = true;
            return false;
        }
        drop(state);
        if std::mem::take(&mut body.owes_continue) {
            if let Way::Answering(respond) = &mut self.way {
                let mut response = Response::new(());
                *response.status_mut() = StatusCode::CONTINUE;
                let _ = respond.send_informational(response);
            }
        }
        let frame = body.recv.poll_data(cx);
        let mut state = self.core.lock();
        let mut size = 0;
        let (waiter, ended) = match frame {
            Poll::Pending => {
                // Whoever takes something now makes room.
                state.incoming.paused = body.held > 0;
                return false;
            }
            Poll::Ready(Some(Ok(piece))) => {
                body.came_ms = connection.shared().now_ms();
                size = piece.len() as u64;
                body.total += size;
                body.held += piece.len();
                match settings.max_body {
                    Some(limit) if body.total > limit => {
                        state.incoming.end = End::Failed(BodyError::TooLarge(limit));
                    }
                    _ if piece.is_empty() => return true,
                    _ => state.incoming.push(piece, true),
                }
                (state.incoming.waiter.take(), state.incoming.end != End::Open)
            }
            Poll::Ready(Some(Err(error))) => {
                state.incoming.end = End::Failed(if error.is_library() && error.is_reset() {
                    let why = "its length is not that of its Content-Length, or its stream broke a rule of RFC 9113";
                    BodyError::Malformed(why.into())
                } else {
                    BodyError::Gone
                });
                (state.incoming.waiter.take(), true)
            }
            // Trailers: WSGI has no place for them.
            Poll::Ready(None) => {
                state.incoming.end = End::Complete;
                (state.incoming.waiter.take(), true)
            }
        };
        state.incoming.awaited_since_ms = None;
        let now = || connection.shared().now_ms();
        state.incoming.rate.came(size, settings.body_minimum_rate, now);
        drop(state);
        if ended {
            self.body = None;
        }
        if let Some(waiter) = waiter {
            self.core.wake(waiter);
        }
        !ended
    }

    /// Takes the answer's head, if it is there; true if the way goes on.
    fn answer(&mut self) -> bool {
        let core = Arc::clone(&self.core);
        let connection = &core.connection;
        let mut state = core.lock();
        if matches!(state.answer, Answer::Waiting) {
            return false;
        }
        let answer = std::mem::replace(&mut state.answer, Answer::Taken);
        if matches!(answer, Answer::Streaming(_)) {
            state.answer = Answer::TakenStreaming;
        }
        drop(state);
        let (head, body) = match answer {
            Answer::Whole(head, body) => (head, Some(body)),
            Answer::Streaming(head) => (head, None),
            Answer::Upgrade(head, taker) => {
                // Whatever fails, it is lost with this.
                let upgrade = Upgrade::new(taker);
                core.close(false);
                match head::answer(head, &core, HeadOf::Upgrade, self.has_key) {
                    Ok(composed) => self.open_tunnel(composed.response, upgrade),
                    Err(why) => {
                        connection.log(LogLevel::Error, format_args!("{why}; the handshake is given up"));
                        self.reset(Reason::INTERNAL_ERROR);
                        self.way = Way::Done;
                    }
                }
                return true;
            }
            Answer::Abandoned => {
                self.answer_plainly("the application ended without a response");
                return true;
            }
            Answer::Aborted | Answer::Waiting | Answer::Taken | Answer::TakenStreaming => {
                self.reset(Reason::INTERNAL_ERROR);
                self.way = Way::Done;
                return true;
            }
        };
        let head::StreamHead { mut response, length } =
            match head::answer(head, &core, HeadOf::Answer, self.has_key) {
                Ok(composed) => composed,
                Err(why) => {
                    connection.log(LogLevel::Error, format_args!("{why}; the client gets 500"));
                    core.mute();
                    self.answer_plainly("the application gave an invalid response head");
                    return true;
                }
            };
        if self.is_head || !may_have_body(response.status()) {
            core.mute();
            self.begin_response(response, Bytes::new(), Some(0), true);
            return true;
        }
        match body {
            Some(piece) => {
                core.close(false);
                let length = length.unwrap_or_else(|| {
                    let name = hyper::header::CONTENT_LENGTH;
                    response.headers_mut().insert(name, piece.len().into());
                    piece.len() as u64
                });
                self.begin_response(response, piece, Some(length), true);
            }
            None => self.begin_response(response, Bytes::new(), length, false),
        }
        true
    }

    fn answer_plainly(&mut self, why: &str) {
        self.core.close(false);
        self.core.told(500);
        let (response, text) = head::plain(500, why);
        let length = text.len() as u64;
        self.begin_response(response, Bytes::from(text), Some(length), true);
    }

    fn begin_response(
        &mut self,
        response: Response<()>,
        mut piece: Bytes,
        left: Option<u64>,
        is_whole: bool,
    ) {
        let Way::Answering(respond) = &mut self.way else {
            return;
        };
        self.status = response.status();
        // An application's Content-Length that is less than the body cuts it, as over HTTP/1.1.
        let promised = left.map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX));
        piece.truncate(promised);
        let is_short = is_whole && !self.is_head && left.is_some_and(|left| left > piece.len() as u64);
        // Never with END_STREAM, so that a head that ends its stream is known for h2's own (`wire`).
        self.way = match respond.send_response(response, false) {
            Ok(mut send) if is_whole && piece.is_empty() && !is_short => {
                let _ = send.send_data(piece, true);
                self.is_answered = true;
                Way::Done
            }
            Ok(send) => Way::Sending(Sending::begin(send, piece, left, is_whole)),
            // The client is gone.
            Err(_) => Way::Done,
        };
    }

    fn open_tunnel(&mut self, response: Response<()>, upgrade: Upgrade) {
        let connection = Arc::clone(&self.core.connection);
        let (here, there) = match tunnel::pair() {
            Ok(pair) => pair,
            Err(error) => {
                connection.log(
                    LogLevel::Error,
                    format_args!(
                        "no sockets for a WebSocket: {error}; raise the limit on open files (ulimit -n)"
                    ),
                );
                self.reset(Reason::INTERNAL_ERROR);
                self.way = Way::Done;
                return;
            }
        };
        let (Way::Answering(respond), Some(body)) = (&mut self.way, self.body.take()) else {
            return;
        };
        let Ok(send) = respond.send_response(response, false) else {
            self.way = Way::Done;
            return;
        };
        self.way = Way::Tunnel(Tunnel::new(body.recv, send, here));
        upgrade.hand_over_pair(&connection, there);
    }

    /// Stores the deadline that counts now; ready if it has passed, and the stream is reset.
    fn keep_deadline(&mut self) -> Poll<()> {
        let connection = Arc::clone(&self.core.connection);
        if let Some(since) = self.ending_since_ms {
            // Node never ends its side, and tells of the end when it is reset.
            let when = since + millis(connection.settings().close_timeout).min(LINGER_MS);
            if when > connection.shared().now_ms() {
                connection.set_deadline(Some(when));
                return Poll::Pending;
            }
            return self.end(false); // h2 tells the client, with NO_ERROR
        }
        if self.body.is_none() && self.blocked_since_ms.is_none() {
            // Nobody is waited for but the application. No look at the clock for each message of a tunnel.
            connection.set_deadline(None);
            return Poll::Pending;
        }
        let awaited = self.body.as_ref().map(|_| self.core.awaited_body());
        let (body_awaited_since_ms, body_rate) = awaited.unwrap_or_default();
        let situation = Situation {
            write_blocked_since_ms: self.blocked_since_ms.map(|(since, _)| since),
            in_flight: true,
            body_awaited_since_ms,
            body_rate,
            waiting_since_ms: self.body.as_ref().map_or(0, |body| body.came_ms),
            ..Situation::default()
        };
        let when = deadline(&situation, connection.settings()).map(|(when, _)| when);
        let now = connection.shared().now_ms();
        if when.is_none_or(|when| when > now) {
            connection.set_deadline(when);
            return Poll::Pending;
        }
        if let Way::Tunnel(tunnel) = &self.way {
            if !tunnel.is_session_gone() {
                self.blocked_since_ms = self.blocked_since_ms.map(|(_, sent)| (now, sent));
                return self.keep_deadline();
            }
        }
        connection.shared().counters.timed_out();
        self.core.stall_body();
        self.reset(Reason::CANCEL);
        self.end(true)
    }
}

impl Drop for StreamTask {
    fn drop(&mut self) {
        // Also when the connection is lost, or the front stops.
        self.core.close(true);
        self.http2.end_stream(self.number);
        let unread = self.unread.take().or(self.body.take());
        if let Some(body) = unread.filter(|_| self.is_answered) {
            linger(self.status, body.recv, body.held);
        }
    }
}
