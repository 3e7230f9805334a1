//! The answer as hyper takes it: a future for the head, a body for the rest.
//!
//! [`Answering`] and [`ResponseBody`] poll the state of an exchange directly; no channel lies between the application's call
//! and hyper's write. Dropping either before the answer is complete means that the client is gone, and whoever waits on the
//! exchange is told.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};

use crate::body::{BodyPart, End};
use crate::events::LogLevel;
use crate::exchange::{Answer, Core};
use crate::http1::sendfile::{Block, Data, BLOCK};
use crate::http1::state::Http1State;
use crate::response_head::{compose, may_have_body, Composed, HeadOf};
use crate::upgrade::Upgrade;

/// The error that makes hyper close a connection in the middle of a response.
#[derive(Debug)]
pub(crate) struct Cut;

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the application cut the connection")
    }
}

impl std::error::Error for Cut {}

/// Waits for the head of one answer.
pub(crate) struct Answering(Option<Waiting>);

enum Waiting {
    /// `headers` is the map of the request, kept for the response: it has its memory already.
    Application {
        core: Arc<Core>,
        state: Arc<Http1State>,
        headers: HeaderMap,
        is_head: bool,
    },
    /// The front's own answer.
    Refused(Arc<Http1State>, Response<ResponseBody>),
}

impl Answering {
    pub(crate) fn new(
        core: Arc<Core>,
        state: Arc<Http1State>,
        mut headers: HeaderMap,
        is_head: bool,
    ) -> Answering {
        headers.clear();
        Answering(Some(Waiting::Application {
            core,
            state,
            headers,
            is_head,
        }))
    }

    pub(crate) fn refused(state: Arc<Http1State>, status: u16, why: &str) -> Answering {
        let mut response = plain(status, why);
        close_behind(&mut response);
        Answering(Some(Waiting::Refused(state, response)))
    }

    /// RFC 9110 §15.4.2.
    pub(crate) fn moved(state: Arc<Http1State>, location: &[u8]) -> Answering {
        let Ok(location) = HeaderValue::from_bytes(location) else {
            return Answering::refused(state, 400, "the address of this request cannot be sent back");
        };
        let mut response = plain(301, "use https");
        let headers = response.headers_mut();
        headers.insert(header::LOCATION, location);
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        Answering(Some(Waiting::Refused(state, response)))
    }
}

impl Future for Answering {
    type Output = Result<Response<ResponseBody>, Cut>;

    /// The context is not kept: it is the one of the connection's task, which the connection knows since its first turn.
    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        let state = match &self.0 {
            Some(Waiting::Application { core, state, .. }) => {
                if matches!(core.lock().answer, Answer::Waiting) {
                    return Poll::Pending;
                }
                state
            }
            Some(Waiting::Refused(state, _)) => state,
            None => return Poll::Pending,
        };
        // The task that polls this sees to it in the same turn, and polls again.
        if !state.may_answer() {
            return Poll::Pending;
        }
        match self.0.take() {
            Some(Waiting::Application {
                core,
                state,
                headers,
                is_head,
            }) => {
                let mut response = take(&core, &state, headers, is_head)?;
                // The client may have sent frames behind its handshake, which must not be read as a request; and nobody
                // knows where the next request begins behind a body that broke off.
                let was_refused =
                    core.upgrade_requested && response.status() != StatusCode::SWITCHING_PROTOCOLS;
                if was_refused || matches!(core.lock().incoming.end, End::Failed(_)) {
                    close_behind(&mut response);
                    state.expect_unread();
                }
                if response.status() != StatusCode::SWITCHING_PROTOCOLS {
                    settle(&mut response, &state);
                }
                Poll::Ready(Ok(response))
            }
            Some(Waiting::Refused(state, mut response)) => {
                settle(&mut response, &state);
                state.end_request();
                Poll::Ready(Ok(response))
            }
            None => Poll::Pending,
        }
    }
}

/// Says whether the connection is kept, where hyper would not say it or say two things.
fn settle(response: &mut Response<ResponseBody>, state: &Http1State) {
    let terms = state.terms();
    if state.is_uwsgi {
        // hyper chunks nothing in HTTP/1.0. The peer writes the version of the request instead.
        *response.version_mut() = hyper::Version::HTTP_10;
        return;
    }
    let is_endless = matches!(response.body(), ResponseBody::Streaming { left: None, .. });
    // In HTTP/1.0 nothing else delimits such a body.
    let ends_body = terms.is_http10 && is_endless;
    if is_endless && !terms.is_http10 {
        state.begin_chunks();
    }
    let closes = terms.closes || ends_body || says(response.headers(), b"close");
    // A rest is not waited for where the connection closes anyway.
    let is_streaming = matches!(response.body(), ResponseBody::Streaming { .. });
    let is_error = response.status().is_client_error() || response.status().is_server_error();
    if closes || !state.settle_body(is_streaming && !is_error) {
        close_behind(response);
    }
    if terms.is_http10 && says(response.headers(), b"close") {
        // To an answer in HTTP/1.1 hyper adds that the connection is kept, as the client has asked.
        *response.version_mut() = hyper::Version::HTTP_10;
    }
}

fn close_behind(response: &mut Response<ResponseBody>) {
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(header::CONNECTION, close);
}

/// Whether this option is among those of Connection, in one line or in several (RFC 9110 §7.6.1).
pub(super) fn says(headers: &HeaderMap, wanted: &[u8]) -> bool {
    let mut options = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    options.any(|option| option.trim_ascii().eq_ignore_ascii_case(wanted))
}

impl Drop for Answering {
    fn drop(&mut self) {
        if let Some(Waiting::Application { core, .. }) = &self.0 {
            core.close(true);
        }
    }
}

/// Turns the answer that has arrived into hyper's response.
fn take(
    core: &Arc<Core>,
    state: &Arc<Http1State>,
    headers: HeaderMap,
    is_head: bool,
) -> Result<Response<ResponseBody>, Cut> {
    let connection = &core.connection;
    let mut locked = core.lock();
    let answer = std::mem::replace(&mut locked.answer, Answer::Taken);
    if matches!(answer, Answer::Streaming(_)) {
        locked.answer = Answer::TakenStreaming;
    }
    drop(locked);
    let (head, body) = match answer {
        Answer::Whole(head, body) => (head, Some(body)),
        Answer::Streaming(head) => (head, None),
        Answer::Upgrade(head, taker) => {
            state.begin_upgrade(Upgrade::new(taker));
            core.close(false);
            let composed = compose(head, headers, core, HeadOf::Upgrade).map_err(|why| {
                connection.log(LogLevel::Error, format_args!("{why}; the handshake is given up"));
                Cut
            })?;
            return Ok(with_body(composed, ResponseBody::EMPTY));
        }
        Answer::Abandoned => {
            end(core, state);
            core.told(500);
            return Ok(plain(500, "the application ended without a response"));
        }
        Answer::Aborted | Answer::Waiting | Answer::Taken | Answer::TakenStreaming => {
            core.close(false);
            return Err(Cut);
        }
    };
    let composed = match compose(head, headers, core, HeadOf::Answer) {
        Ok(composed) => composed,
        Err(why) => {
            connection.log(LogLevel::Error, format_args!("{why}; the client gets 500"));
            core.mute();
            core.told(500);
            state.end_request();
            return Ok(plain(500, "the application gave an invalid response head"));
        }
    };
    let body = match body {
        _ if is_head || !may_have_body(composed.status) => {
            core.mute();
            state.end_request();
            ResponseBody::EMPTY
        }
        Some(piece) => {
            end(core, state);
            core.sent(piece.len());
            // An application's Content-Length that differs from the body: hyper keeps to the header, cuts what is too
            // long and closes the connection after what is too short.
            let exact = composed.length.is_none_or(|length| length == piece.len() as u64);
            let piece = if exact && piece.is_empty() {
                None
            } else {
                Some(piece)
            };
            ResponseBody::Whole { piece, exact }
        }
        None => ResponseBody::Streaming {
            core: Arc::clone(core),
            state: Arc::clone(state),
            left: composed.length,
            unflushed: true,
        },
    };
    Ok(with_body(composed, body))
}

fn end(core: &Core, state: &Http1State) {
    core.close(false);
    state.end_request();
}

/// A response of the front itself.
fn plain(status: u16, why: &str) -> Response<ResponseBody> {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let text = format!(
        "{} {}: {why}\n",
        status.as_str(),
        status.canonical_reason().unwrap_or("Error")
    );
    let mut response = Response::new(ResponseBody::Whole {
        piece: Some(Bytes::from(text)),
        exact: true,
    });
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn with_body(head: Composed, body: ResponseBody) -> Response<ResponseBody> {
    let mut response = Response::new(body);
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    if let Some(reason) = head.reason {
        response.extensions_mut().insert(reason);
    }
    response
}

/// The body of an answer.
pub(crate) enum ResponseBody {
    /// `exact`: the piece is as long as the Content-Length says, or there is none.
    Whole { piece: Option<Bytes>, exact: bool },
    /// `left`: what the Content-Length still promises. `unflushed`: hyper may hold pieces that are not in the socket yet.
    Streaming {
        core: Arc<Core>,
        state: Arc<Http1State>,
        left: Option<u64>,
        unflushed: bool,
    },
}

impl ResponseBody {
    const EMPTY: ResponseBody = ResponseBody::Whole {
        piece: None,
        exact: true,
    };
}

impl Body for ResponseBody {
    type Data = Data;
    type Error = Cut;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Data>, Cut>>> {
        match self.get_mut() {
            ResponseBody::Whole { piece, .. } => Poll::Ready(
                piece
                    .take()
                    .filter(|piece| !piece.is_empty())
                    .map(|piece| Ok(Frame::data(Data::Bytes(piece)))),
            ),
            ResponseBody::Streaming {
                core,
                state: http1,
                left,
                unflushed,
            } => {
                let low_water = core.connection.settings().response_high_water;
                let mut state = core.lock();
                let Some(part) = state.outgoing.pop(left.unwrap_or(u64::MAX).min(BLOCK as u64)) else {
                    return match state.outgoing.end {
                        End::Open => Poll::Pending,
                        End::Complete => Poll::Ready(None),
                        End::Failed(()) => {
                            drop(state);
                            // An error makes hyper drop what it holds, but the application was told that it had been
                            // sent. Pending once makes hyper flush; a blocked socket wakes the task when it takes more.
                            if std::mem::take(unflushed) {
                                core.connection.wake();
                                return Poll::Pending;
                            }
                            if http1.is_write_blocked() {
                                return Poll::Pending;
                            }
                            Poll::Ready(Some(Err(Cut)))
                        }
                    };
                };
                let waiter = if state.outgoing.is_full(low_water) {
                    None
                } else {
                    state.outgoing.waiter.take()
                };
                drop(state);
                *unflushed = true;
                let data = match part {
                    BodyPart::Bytes(bytes) => Data::Bytes(bytes),
                    BodyPart::File(part) => {
                        let block = Block::standing_for(part, http1.trust().clone());
                        http1.enqueue(block.range());
                        Data::File(block)
                    }
                };
                core.sent(data.remaining());
                if let Some(left) = left {
                    *left = left.saturating_sub(data.remaining() as u64);
                }
                if let Some(waiter) = waiter {
                    core.wake(waiter);
                }
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            ResponseBody::Whole { piece, .. } => piece.is_none(),
            ResponseBody::Streaming { core, .. } => core.lock().outgoing.is_complete(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            ResponseBody::Whole { piece, exact: true } => {
                SizeHint::with_exact(piece.as_ref().map_or(0, Bytes::len) as u64)
            }
            _ => SizeHint::default(),
        }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        if let ResponseBody::Streaming {
            core, state, left, ..
        } = self
        {
            let complete = core.lock().outgoing.is_complete();
            if complete || *left == Some(0) {
                core.mute();
                state.end_request();
            } else {
                core.close(true);
            }
        }
    }
}
