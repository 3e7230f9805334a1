//! The socket leaves: what follows an accepted WebSocket handshake.
//!
//! hyper has written the 101 response and stopped reading; the bytes it read beyond the handshake are the first of the
//! WebSocket. The socket is taken from tokio, stays non-blocking and open, and goes to the worker together with those
//! bytes, and with its TLS session if it has one. From here on the front knows nothing of the connection. Either
//! `upgraded` or `upgrade_lost` is called for each accepted upgrade, never both: [`Seat`](crate::drain::Seat) reports
//! as lost whatever did not come this far.

use std::sync::Arc;

use bytes::Bytes;

use crate::connection::Connection;
use crate::exchange::Exchange;
use crate::socket::Socket;
use crate::tls::{self, RecordLayer};

/// Hands the socket over.
pub(crate) fn leave(
    connection: &Arc<Connection>,
    exchange: &Arc<Exchange>,
    socket: Socket,
    secure: Option<RecordLayer>,
    mut read_ahead: Vec<u8>,
) {
    if let Some(errand) = exchange.core().errand() {
        connection.house().counters.upgraded();
        return errand.upgraded(
            tls::into_stream(socket, secure, connection),
            Bytes::from(read_ahead),
        );
    }
    match socket.into_fd() {
        Ok(socket) => {
            connection.house().counters.upgraded();
            let layer = secure.map(|secure| secure.leave(&mut read_ahead));
            connection.handoff().upgraded(exchange, socket, read_ahead, layer);
        }
        Err(error) => {
            let why = format!("the socket could not be taken from the event loop: {error}");
            connection.handoff().upgrade_lost(exchange, why);
        }
    }
}
