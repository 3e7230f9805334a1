//! HTTP/1.1: the task of one connection.
//!
//! hyper drives the HTTP of a connection; the task around it ([`Http1::serve`]) adds what hyper does not do: it moves request
//! bodies at the pace of the application (`pump`), keeps three deadlines, obeys the drain, and decides what becomes of the
//! socket at the end. There is one task per connection and no task per request.
//!
//! The parts: `framing` (a second opinion on where a message ends), `sendfile` (what the kernel writes for hyper), `state`
//! (what the parts share), `transport` (bytes), `service` (requests), `response` (answers).

mod framing;
mod pump;
mod response;
mod sendfile;
mod service;
mod state;
mod transport;

use std::borrow::Cow;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::server::conn::http1;

use crate::deadline::Overdue;
use crate::drain::Registration;
use crate::events::LogLevel;
use crate::lingering_close::{linger, send_last};
use crate::pipeline::Pipeline;
use crate::settings::FrontSettings;
use crate::socket::Socket;
use crate::tls::RecordLayer;
use service::Service;
use state::Rest;

pub(crate) use state::Http1State;
pub(crate) use transport::Transport;

/// Why the task of a connection ends.
enum Ending {
    Complete,
    Broken(hyper::Error),
    Overdue(Overdue),
}

/// HTTP/1.1, set up once for all connections.
pub(crate) struct Http1 {
    hyper: http1::Builder,
    pipeline: Arc<Pipeline>,
}

impl Http1 {
    pub(crate) fn new(settings: &FrontSettings, pipeline: Arc<Pipeline>) -> Http1 {
        Http1 {
            hyper: service::builder(settings),
            pipeline,
        }
    }

    /// Serves one connection until it closes, is cut or leaves the front. If it turns out to be HTTP/2: its registration, the
    /// socket, and all that was read from it. `to_https`: all requests are sent to this port of https.
    pub(crate) async fn serve(
        &self,
        registration: Registration,
        state: Arc<Http1State>,
        transport: Transport,
        to_https: Option<u16>,
    ) -> Option<(Registration, Socket, Bytes)> {
        let service = Service::new(Arc::clone(&state), Arc::clone(&self.pipeline), to_https);
        let mut http = self.hyper.serve_connection(transport, service);
        let ending = poll_fn(|context| turn(&state, &mut http, context)).await;
        let mut parts = http.into_parts();
        if let Some(opening) = parts.io.take_http2() {
            let (socket, ..) = parts.io.into_parts();
            return Some((registration, socket, opening));
        }
        let connection = &state.connection;
        let (socket, records, unread) = parts.io.into_parts();
        match ending {
            Ending::Complete => match state.take_upgrade() {
                Some(upgrade) => {
                    let mut read_ahead = Vec::from(parts.read_buf);
                    read_ahead.extend_from_slice(&unread);
                    upgrade.hand_over(connection, socket, records, read_ahead);
                }
                None if state.has_unread() => linger(socket, &sealed(records, b"")).await,
                None => {
                    if let Some(records) = records {
                        send_last(socket, &records.into_last_words(b"")).await;
                    }
                }
            },
            Ending::Broken(error) => {
                if error.is_parse() || error.is_parse_too_large() || error.is_parse_version_h2() {
                    connection.note_refusal(format_args!("a request was refused: {error}"));
                    linger(socket, &sealed(records, b"")).await;
                }
            }
            Ending::Overdue(Overdue::SlowHead) => {
                connection.shared().counters.timed_out();
                connection.log(
                    LogLevel::Warning,
                    format_args!("a request head was not complete in time; answered with 408"),
                );
                // RFC 9110 §15.5.9. hyper has written nothing yet, so this is the first word.
                let answer =
                    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
                linger(socket, &sealed(records, answer)).await;
            }
            Ending::Overdue(Overdue::Silent) => {
                connection.shared().counters.timed_out();
                if let Some(records) = records {
                    send_last(socket, &records.into_last_words(b"")).await;
                }
            }
            Ending::Overdue(Overdue::Stalled) => connection.shared().counters.timed_out(),
        }
        // Before the socket closes: who sees that finds the connection counted no more.
        drop(registration);
        None
    }
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
    state: &Http1State,
    http: &mut http1::Connection<Transport, Service>,
    context: &mut Context<'_>,
) -> Poll<Ending> {
    state.connection.enlist(context);
    loop {
        match http.poll_without_shutdown(context) {
            Poll::Ready(Ok(())) => return Poll::Ready(Ending::Complete),
            Poll::Ready(Err(error)) => return Poll::Ready(Ending::Broken(error)),
            Poll::Pending => {}
        }
        let leaves = state.begin_leaving();
        if leaves {
            // The answer gets `Connection: close`. Not before there is a request to answer: a silent connection would be
            // closed, and the request that its client has sent meanwhile would be lost.
            Pin::new(&mut *http).graceful_shutdown();
        }
        if state.pump(context) || leaves {
            continue;
        }
        match state.rest_behind_end() {
            Rest::Some => break,
            Rest::Unknown => {}
            Rest::None => return Poll::Ready(Ending::Complete),
        }
    }
    match state.check_deadline() {
        Some(overdue) => {
            if overdue == Overdue::Stalled {
                state.stall();
            }
            Poll::Ready(Ending::Overdue(overdue))
        }
        None => Poll::Pending,
    }
}
