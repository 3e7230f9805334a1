//! The task of one connection of HTTP/1.1, and where one of HTTP/2 branches off.
//!
//! hyper drives the HTTP of a connection; the task around it ([`serve`]) adds what hyper does not do: it moves request
//! bodies at the pace of the application, keeps three deadlines, obeys the drain, and decides what becomes of the socket at
//! the end. There is one task per connection and no task per request.

pub(crate) mod framing;
pub(crate) mod response;
pub(crate) mod sendfile;
pub(crate) mod service;
pub(crate) mod transport;

use std::borrow::Cow;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::server::conn::http1;

use crate::connection::Connection;
use crate::deadline::Overdue;
use crate::drain::Seat;
use crate::handoff::LogLevel;
use crate::http1::service::Service;
use crate::http1::transport::Peer;
use crate::http2;
use crate::lingering_close::{linger, say};
use crate::socket::Socket;
use crate::tls::{self, RecordLayer};
use crate::upgrade;

/// Why the task of a connection ends.
enum Ending {
    Complete,
    Broken(hyper::Error),
    Overdue(Overdue),
}

/// Serves one accepted socket until it closes, is cut or leaves the front.
pub(crate) async fn serve(seat: Seat, socket: Socket) {
    let connection = Arc::clone(seat.connection());
    let peer = match &connection.manner.tls {
        None => Peer::new(socket, Arc::clone(&connection)),
        Some(tls) => match tls::greet(&connection, tls, socket).await {
            Some((socket, records)) if records.is_for_http2() => {
                let stream = tls::into_stream(socket, Some(records), &connection);
                return Box::pin(http2::serve(seat, stream, Bytes::new())).await;
            }
            Some((socket, records)) => Peer::secure(socket, records, Arc::clone(&connection)),
            None => return drop(seat),
        },
    };
    serve_peer(seat, peer).await;
}

/// The same for a socket from which something may have been read.
pub(crate) async fn serve_peer(seat: Seat, peer: Peer) {
    let connection = Arc::clone(seat.connection());
    let mut http = connection
        .house()
        .http
        .serve_connection(peer, Service::new(Arc::clone(&connection)));
    let ending = poll_fn(|context| turn(&connection, &mut http, context)).await;
    let mut parts = http.into_parts();
    if let Some(opening) = parts.io.take_http2() {
        let (socket, ..) = parts.io.into_parts();
        // In a box: this task would else be as large as that one, for every connection.
        return Box::pin(http2::serve(seat, socket.into_stream(), opening)).await;
    }
    let (socket, records, unread) = parts.io.into_parts();
    match ending {
        Ending::Complete => match connection.take_upgrade() {
            Some(exchange) => {
                let mut read_ahead = Vec::from(parts.read_buf);
                read_ahead.extend_from_slice(&unread);
                upgrade::leave(&connection, &exchange, socket, records, read_ahead);
            }
            None if connection.has_unread() => linger(socket, &sealed(records, b"")).await,
            None => {
                if let Some(records) = records {
                    say(socket, &records.into_last_words(b"")).await;
                }
            }
        },
        Ending::Broken(error) => {
            if error.is_parse() || error.is_parse_too_large() || error.is_parse_version_h2() {
                connection.house().counters.refused();
                connection.log(LogLevel::Warning, format_args!("a request was refused: {error}"));
                linger(socket, &sealed(records, b"")).await;
            }
        }
        Ending::Overdue(Overdue::SlowHead) => {
            connection.house().counters.timed_out();
            connection.log(
                LogLevel::Warning,
                format_args!("a request head was not complete in time; answered with 408"),
            );
            // RFC 9110 §15.5.9. hyper has written nothing yet, so this is the first word.
            linger(
                socket,
                &sealed(
                    records,
                    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
                ),
            )
            .await;
        }
        Ending::Overdue(Overdue::Silent) => {
            connection.house().counters.timed_out();
            if let Some(records) = records {
                say(socket, &records.into_last_words(b"")).await;
            }
        }
        Ending::Overdue(Overdue::Stalled) => connection.house().counters.timed_out(),
    }
    drop(seat);
}

/// The last bytes of a connection as they go out: with TLS in records, and with its end.
fn sealed(records: Option<RecordLayer>, last: &[u8]) -> Cow<'_, [u8]> {
    match records {
        Some(records) => Cow::Owned(records.into_last_words(last)),
        None => Cow::Borrowed(last),
    }
}

/// One turn of the task: hyper, then the request body, until neither has anything to do.
fn turn(
    connection: &Arc<Connection>,
    http: &mut http1::Connection<Peer, Service>,
    context: &mut Context<'_>,
) -> Poll<Ending> {
    connection.enlist(context);
    loop {
        match http.poll_without_shutdown(context) {
            Poll::Ready(Ok(())) => return Poll::Ready(Ending::Complete),
            Poll::Ready(Err(error)) => return Poll::Ready(Ending::Broken(error)),
            Poll::Pending => {}
        }
        let leaves = connection.begin_leaving();
        if leaves {
            // The answer gets `Connection: close`. Not before there is a request to answer: a silent connection would be
            // closed, and the request that its client has sent meanwhile would be lost.
            Pin::new(&mut *http).graceful_shutdown();
        }
        if !connection.pump(context) && !leaves {
            break;
        }
    }
    match connection.check_deadline() {
        Some(overdue) => {
            if overdue == Overdue::Stalled {
                connection.stall();
            }
            Poll::Ready(Ending::Overdue(overdue))
        }
        None => Poll::Pending,
    }
}
