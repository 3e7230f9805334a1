//! The TLS handshake of a connection that was just accepted.
//!
//! It counts as the wait for the first request: one time-out from the accept to the head, and the same patience of a drain.

use std::future::poll_fn;
use std::task::{ready, Context, Poll};

use fairlead_websocket::TlsRecordLayer;

use crate::connection::Connection;
use crate::events::LogLevel;
use crate::lingering_close::linger;
use crate::socket::Socket;
use crate::tls::config::Tls;
use crate::tls::records::{Received, RecordLayer};

/// Why there is no session.
enum Trouble {
    /// The client left, or the connection broke.
    Gone,
    /// It speaks HTTP without TLS.
    Plain,
    /// It says what it must not, or refuses what we say.
    Broken(String),
    Late,
}

/// A connection whose handshake is complete.
pub(crate) struct Established {
    pub(crate) socket: Socket,
    pub(crate) records: RecordLayer,
    /// When the client last went on with it, in milliseconds since the front's start.
    pub(crate) last_ms: u64,
}

/// Completes the handshake on a connection that was just accepted. `None` if that did not succeed: it is over then.
pub(crate) async fn handshake(connection: &Connection, tls: &Tls, mut socket: Socket) -> Option<Established> {
    let mut records = match tls.session() {
        Ok(session) => RecordLayer::new(session),
        Err(error) => {
            connection.log(LogLevel::Error, format_args!("TLS cannot be offered: {error}"));
            return None;
        }
    };
    let mut last_ms = 0;
    let outcome = poll_fn(|context| {
        connection.enlist(context);
        if let Poll::Ready(outcome) =
            poll_handshake(&mut records, &mut socket, context, connection, &mut last_ms)
        {
            return Poll::Ready(outcome);
        }
        if connection.is_opening_overdue(last_ms) {
            Poll::Ready(Err(Trouble::Late))
        } else {
            Poll::Pending
        }
    })
    .await;
    let trouble = match outcome {
        Ok(()) => {
            if let Some(client) = tls.client(&records.session) {
                connection.know_client(client);
            }
            return Some(Established {
                socket,
                records,
                last_ms,
            });
        }
        Err(trouble) => trouble,
    };
    match trouble {
        Trouble::Gone => {}
        Trouble::Late => connection.shared().counters.timed_out(),
        Trouble::Plain => {
            connection.note_refusal(format_args!(
                "a request without TLS came to a port for TLS; answered with 400"
            ));
            linger(socket, PLAIN_ANSWER).await;
        }
        Trouble::Broken(why) => {
            connection.note_refusal(format_args!("the TLS handshake failed: {why}"));
            let alert = records.session.pending().to_vec();
            linger(socket, &alert).await;
        }
    }
    None
}

/// RFC 9110 §15.5.1.
const PLAIN_ANSWER: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: text/plain; charset=utf-8\r\n\
    content-length: 54\r\n\r\nThis port speaks TLS; use https:// (or wss://) here.\r\n";

fn poll_handshake(
    records: &mut RecordLayer,
    socket: &mut Socket,
    context: &mut Context<'_>,
    connection: &Connection,
    last_ms: &mut u64,
) -> Poll<Result<(), Trouble>> {
    loop {
        if ready!(records.poll_flush(socket, context)).is_err() {
            return Poll::Ready(Err(Trouble::Gone));
        }
        if !records.session.is_handshaking() {
            return Poll::Ready(Ok(()));
        }
        let outcome = ready!(records.poll_receive(socket, context));
        match outcome {
            Ok(0) => return Poll::Ready(Err(Trouble::Gone)),
            Ok(_) => *last_ms = connection.shared().now_ms(),
            Err(Received::Plain) => return Poll::Ready(Err(Trouble::Plain)),
            Err(Received::Broken(why)) => return Poll::Ready(Err(Trouble::Broken(why))),
            Err(Received::Io(_)) => return Poll::Ready(Err(Trouble::Gone)),
        }
    }
}
