//! The proxy: a request that a route, or the router, sends to another server instead of the app.
//!
//! It stands where the application's side stands: it reads the request's body and writes the response through
//! the same [`Exchange`], so it works for every kind of connection that has one. It lives on the front's thread and
//! takes no slot of the app. hyper's client speaks to the other server (`head`, `link`), in HTTP or behind the packet of the
//! uwsgi protocol. After a 101 both sockets leave hyper and their bytes are copied both ways until both have ended
//! (`tunnel`), without any limit but the peers' own and that of silence, if there is one. A backend that cannot be
//! reached is a 502, one that says nothing for `stall_timeout` a 504; a response that breaks off is cut, so that the
//! client does not take it for whole.

mod expectation;
mod failure;
mod head;
mod link;
mod tunnel;

use std::future::{poll_fn, Future};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use fairlead_http::{Request, ResponseHead};
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http1;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::{timeout, Instant};

use crate::connection::Connection;
use crate::events::LogLevel;
use crate::exchange::{BodyRead, Exchange};
use crate::socket::BoxStream;
use crate::upstream::Backend;
use expectation::Expectation;
use failure::{failure, Failure};
use link::{Link, TakesNoMore};

/// How much of a body is taken at once.
const PIECE: usize = 64 * 1024;

/// Who gets a request instead of the app.
pub(crate) enum Destination {
    /// A rule's.
    Server(Backend),
    /// One of the router's.
    Router,
}

/// One request, to the other server and back.
pub(crate) async fn carry(
    connection: Arc<Connection>,
    request: Request,
    exchange: Arc<Exchange>,
    to: Destination,
) {
    let mut label = String::new();
    let ended = {
        let mut way = std::pin::pin!(exchange_with(&connection, &request, &exchange, to, &mut label));
        // Whatever it waits for there: for a client that has left, nobody need go on.
        poll_fn(|context| match exchange.poll_lost(context) {
            Poll::Ready(()) => Poll::Ready(Ok(())),
            Poll::Pending => way.as_mut().poll(context),
        })
        .await
    };
    let Err(failure) = ended else {
        return;
    };
    let line = format!("{label}: {}", failure.why);
    connection.log(LogLevel::Error, format_args!("{line}"));
    let text = format!("{} the server behind this one does not answer\n", failure.status);
    let kind = vec![("Content-Type".to_owned(), b"text/plain; charset=utf-8".to_vec())];
    let answered = ResponseHead::new(failure.status, kind)
        .map(|head| exchange.respond(head, text))
        .is_ok_and(|done| done.is_ok());
    if !answered {
        // The head is out: what follows is missing, and the client must see that.
        exchange.abort("the server behind this one broke off");
    }
}

/// A server that has accepted a connection. `label`: of the one that was tried last.
async fn reach(
    connection: &Connection,
    to: &Destination,
    label: &mut String,
) -> Result<(Backend, BoxStream), Failure> {
    let patience = connection.settings().connect_timeout;
    let router = &connection.settings().router;
    let round = match to {
        Destination::Server(backend) => {
            *label = backend.label();
            let stream = connect(backend, patience).await?;
            return Ok((backend.clone(), stream));
        }
        Destination::Router => router.round(Instant::now()),
    };
    // Servers of which none is known to live share the time that one of them would have.
    let tried = u32::try_from(round.members.len()).unwrap_or(u32::MAX).max(1);
    let patience = if round.is_last_resort {
        patience / tried
    } else {
        patience
    };
    let mut last = failure(502, "there is none");
    for member in round.members {
        let backend = router.backend(member);
        *label = backend.label();
        match connect(&backend, patience).await {
            Ok(stream) => {
                if router.is_back(member) {
                    connection.log(LogLevel::Info, format_args!("{label} is back"));
                }
                return Ok((backend, stream));
            }
            Err(failure) => {
                let grace = router.leave_out(member, Instant::now()).as_secs_f32();
                if !round.is_last_resort {
                    let why = &failure.why;
                    connection.log(
                        LogLevel::Warning,
                        format_args!("{label}: {why}; left out for {grace} s"),
                    );
                }
                last = failure;
            }
        }
    }
    Err(last)
}

async fn connect(backend: &Backend, patience: Duration) -> Result<BoxStream, Failure> {
    match timeout(patience, link::connect(&backend.address)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(failure(502, format_args!("cannot be reached: {error}"))),
        Err(_) => Err(failure(504, "does not accept the connection in time")),
    }
}

/// The request's way there and the answer's way back; `label`: of the server that was tried last.
async fn exchange_with(
    connection: &Arc<Connection>,
    request: &Request,
    exchange: &Arc<Exchange>,
    to: Destination,
    label: &mut String,
) -> Result<(), Failure> {
    let patience = connection.settings().stall_timeout;
    let is_upgrade = exchange.core().upgrade_requested;
    let has_body = exchange.core().has_body();
    let needs_length = match &to {
        Destination::Server(backend) => {
            *label = backend.label();
            backend.needs_length()
        }
        Destination::Router => {
            "the router".clone_into(label);
            true
        }
    };
    // The uwsgi protocol has no chunks: a body whose length nobody told has to be here before the packet can be written.
    let whole = if needs_length && has_body && request.header("content-length").is_none() {
        if Expectation::is_of(request) {
            // Whoever reads the body lets the client send it: not for a server that is not there. While the body comes this
            // connection would wait longer for its packet than servers do, so it is another's turn then.
            drop(reach(connection, &to, label).await?);
        }
        Some(whole_body(exchange, connection.settings().body_high_water).await?)
    } else {
        None
    };
    let (backend, stream) = reach(connection, &to, label).await?;
    let (packet, mut head) = head::outgoing(&backend, request, is_upgrade, whole.as_ref().map(Vec::len))?;
    // The uwsgi protocol has no word for it.
    let expectation = (packet.is_none() && has_body && Expectation::is_of(request))
        .then(|| Expectation::pass_on(&mut head));
    let link = Link::new(stream, packet);
    let body = Outward {
        exchange: Arc::clone(exchange),
        whole: whole.map(Bytes::from),
        expectation,
        has_body,
        moved: Arc::new(Mutex::new(Instant::now())),
        takes_no_more: link.takes_no_more(),
    };
    let moved = Arc::clone(&body.moved);
    let (mut sender, talk) = http1::handshake(link)
        .await
        .map_err(|error| failure(502, format_args!("cannot be spoken to: {error}")))?;
    let talk = tokio::spawn(talk.without_shutdown());
    let _cut_off = CutOff(talk.abort_handle());
    let answer = while_it_moves(patience, &moved, sender.send_request(head.map(|()| body))).await;
    match answer {
        Some(Ok(response)) if response.status().as_u16() == 101 => {
            if !is_upgrade {
                return Err(failure(502, "answers with 101 where no upgrade was asked for"));
            }
            let (taker, given) = oneshot::channel();
            let head = head::response_head(response.status().as_u16(), response.headers(), true)?;
            let Ok(Ok(parts)) = talk.await else {
                return Err(failure(502, "broke off behind its 101"));
            };
            if exchange.proxy_upgrade(head, taker).is_err() {
                return Ok(()); // the client has left
            }
            let Ok((client, read_ahead)) = given.await else {
                return Ok(());
            };
            let _counted = connection.shared().tunnels.one_more();
            let (backend, from_backend) = (parts.io.into_stream(), parts.read_buf);
            let limit = Some(connection.settings().tunnel_timeout).filter(|limit| !limit.is_zero());
            let ended = tunnel::join(client, read_ahead, backend, from_backend, limit).await;
            if let (true, Some(limit)) = (ended.by_silence, limit) {
                let limit = limit.as_secs_f32();
                connection.log(
                    LogLevel::Info,
                    format_args!("{label}: a proxied connection was silent for {limit} s and is closed"),
                );
            }
            if let Some(record) = exchange.core().record() {
                record.sent(ended.to_client);
            }
            Ok(())
        }
        Some(Ok(response)) => forward(exchange, response, patience, &moved).await,
        Some(Err(error)) => Err(failure(502, format_args!("gave no valid response: {error}"))),
        None => Err(failure(
            504,
            format_args!("said nothing for {} s", patience.as_secs_f32()),
        )),
    }
}

/// Ends the task that speaks to a backend, and closes its connection, when the request is over there.
struct CutOff(AbortHandle);

impl Drop for CutOff {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The response, piece by piece, as fast as the client takes it.
async fn forward(
    exchange: &Exchange,
    response: hyper::Response<Incoming>,
    patience: Duration,
    moved: &Mutex<Instant>,
) -> Result<(), Failure> {
    let (head, mut body) = response.into_parts();
    let mut to_client = head::response_head(head.status.as_u16(), &head.headers, false)?;
    to_client.reason = head
        .extensions
        .get::<hyper::ext::ReasonPhrase>()
        .map(|reason| String::from_utf8_lossy(reason.as_bytes()).into_owned());
    if exchange.start_response(to_client).is_err() {
        return Ok(()); // the client has left
    }
    loop {
        poll_fn(|context| exchange.poll_writable(context)).await;
        let next = poll_fn(|context| Pin::new(&mut body).poll_frame(context));
        match while_it_moves(patience, moved, next).await {
            Some(None) => {
                exchange.finish();
                return Ok(());
            }
            Some(Some(Ok(frame))) => {
                let Ok(data) = frame.into_data() else { continue };
                if exchange.write(data).is_err() {
                    return Ok(());
                }
            }
            Some(Some(Err(error))) => {
                return Err(failure(
                    502,
                    format_args!("broke off in the middle of its response: {error}"),
                ))
            }
            None => return Err(failure(504, "stopped in the middle of its response")),
        }
    }
}

/// `None` if nothing moved for `patience`, in either direction.
async fn while_it_moves<T>(
    patience: Duration,
    moved: &Mutex<Instant>,
    future: impl Future<Output = T>,
) -> Option<T> {
    let mut future = std::pin::pin!(future);
    let began = Instant::now();
    loop {
        let last = (*moved.lock().unwrap_or_else(PoisonError::into_inner)).max(began);
        let left = (last + patience).saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        if let Ok(done) = timeout(left, future.as_mut()).await {
            return Some(done);
        }
    }
}

/// A body of which nobody told the length.
async fn whole_body(exchange: &Exchange, limit: usize) -> Result<Vec<u8>, Failure> {
    let mut whole = Vec::new();
    loop {
        match poll_fn(|context| poll_piece(exchange, context)).await {
            Ok(Some(piece)) if whole.len() + piece.len() > limit => {
                let size = format!("a request body without Content-Length has more than {limit} bytes");
                return Err(failure(413, size));
            }
            Ok(Some(piece)) => whole.extend_from_slice(&piece),
            Ok(None) => return Ok(whole),
            Err(why) => return Err(failure(400, why)),
        }
    }
}

fn poll_piece(exchange: &Exchange, context: &Context<'_>) -> Poll<Result<Option<Bytes>, String>> {
    exchange.poll_body(PIECE, context).map(|read| match read {
        BodyRead::Data(piece) => Ok(Some(piece)),
        BodyRead::End | BodyRead::Pending => Ok(None),
        BodyRead::Failed(why) => Err(why.to_string()),
    })
}

/// The request's body on its way out.
struct Outward {
    exchange: Arc<Exchange>,
    whole: Option<Bytes>,
    /// The client waits to be told that its body is wanted.
    expectation: Option<Expectation>,
    has_body: bool,
    moved: Arc<Mutex<Instant>>,
    takes_no_more: TakesNoMore,
}

impl Body for Outward {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let body = self.get_mut();
        if body.takes_no_more.is_set() {
            return Poll::Pending;
        }
        if let Some(whole) = body.whole.take() {
            body.has_body = false;
            return Poll::Ready(Some(Ok(Frame::data(whole))));
        }
        if !body.has_body {
            return Poll::Ready(None);
        }
        if let Some(expectation) = &mut body.expectation {
            std::task::ready!(expectation.poll_met(context));
            body.expectation = None;
        }
        let piece = std::task::ready!(poll_piece(&body.exchange, context));
        *body.moved.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        Poll::Ready(match piece {
            Ok(Some(piece)) => Some(Ok(Frame::data(piece))),
            Ok(None) => None,
            Err(why) => Some(Err(std::io::Error::other(why))),
        })
    }

    fn is_end_stream(&self) -> bool {
        !self.has_body
    }
}
