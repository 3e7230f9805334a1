//! The socket leaves: what follows an accepted WebSocket handshake.
//!
//! The 101 response is out and nobody reads any more; the bytes that were read beyond the handshake are the first of the
//! WebSocket. The socket is taken from tokio, stays non-blocking and open, and goes to the receiver that came with the answer
//! together with those bytes, and with its TLS session if it has one. From here on the front knows nothing of the
//! connection. Each receiver is told exactly once: an [`Upgrade`] that is dropped before it is handed over is lost.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::Bytes;
use fairlead_websocket::TlsRecordLayer;
use tokio::net::UnixStream;
use tokio::sync::oneshot;

use crate::connection::Connection;
use crate::socket::{BoxStream, Shut, Socket};
use crate::tls::{self, RecordLayer};

/// Takes a socket that leaves the front. One for each accepted handshake; exactly one of its methods is called, on the front's
/// own thread and with none of its locks held. It must not block.
pub trait UpgradeReceiver: Send + 'static {
    /// The 101 response went out and the socket leaves the front: non-blocking, with `TCP_NODELAY` if it is one of TCP. Of
    /// a WebSocket inside HTTP/2 it is one end of a pair, whose other end stays in the front. `read_ahead` is what the
    /// client sent behind its handshake; it precedes everything that will be read from the socket. With a `layer` the socket
    /// carries TLS: `read_ahead` is plaintext, and the layer may have records that the socket has not taken yet.
    fn upgraded(
        self: Box<Self>,
        socket: OwnedFd,
        read_ahead: Vec<u8>,
        layer: Option<Box<dyn TlsRecordLayer>>,
    );

    /// The socket was lost before the 101 response had left.
    fn lost(self: Box<Self>, why: String);
}

/// Who gets the socket.
pub(crate) enum Taker {
    Application(Box<dyn UpgradeReceiver>),
    /// A task of the front, which proxies the connection. Dropped, it tells that the socket was lost.
    Proxy(oneshot::Sender<(BoxStream, Bytes)>),
}

impl Taker {
    pub(crate) fn lost(self, why: &str) {
        if let Taker::Application(receiver) = self {
            receiver.lost(why.to_owned());
        }
    }
}

/// An upgrade whose 101 response goes out.
pub(crate) struct Upgrade(Option<Taker>);

impl Upgrade {
    pub(crate) fn new(taker: Taker) -> Upgrade {
        Upgrade(Some(taker))
    }

    /// The connection itself leaves.
    pub(crate) fn hand_over(
        mut self,
        connection: &Arc<Connection>,
        socket: Socket,
        records: Option<RecordLayer>,
        mut read_ahead: Vec<u8>,
    ) {
        let counters = &connection.shared().counters;
        match self.0.take() {
            Some(Taker::Application(receiver)) => match socket.into_fd() {
                Ok(socket) => {
                    counters.upgraded();
                    let layer = records.map(|records| records.leave(&mut read_ahead));
                    receiver.upgraded(socket, read_ahead, layer);
                }
                Err(error) => receiver.lost(format!(
                    "the socket could not be taken from the event loop: {error}"
                )),
            },
            Some(Taker::Proxy(taker)) => {
                counters.upgraded();
                let stream = tls::into_stream(socket, records, connection);
                // An error: the client was given up meanwhile.
                let _ = taker.send((stream, Bytes::from(read_ahead)));
            }
            None => {}
        }
    }

    /// The connection stays, and one end of a pair of sockets leaves in its place.
    pub(crate) fn hand_over_pair(mut self, connection: &Connection, end: OwnedFd) {
        connection.shared().counters.upgraded();
        match self.0.take() {
            Some(Taker::Application(receiver)) => receiver.upgraded(end, Vec::new(), None),
            Some(Taker::Proxy(taker)) => {
                // A failure here is a socket that cannot be watched: the upgrade is lost with it.
                if let Ok(stream) = UnixStream::from_std(end.into()) {
                    let _ = taker.send((Box::pin(Shut::new(stream)), Bytes::new()));
                }
            }
            None => {}
        }
    }
}

impl Drop for Upgrade {
    fn drop(&mut self) {
        if let Some(taker) = self.0.take() {
            taker.lost("the connection was lost before the 101 response had left");
        }
    }
}
