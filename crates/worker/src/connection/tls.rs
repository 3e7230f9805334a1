//! A connection whose socket carries TLS: the same steps as in `state`, through its layer.
//!
//! Plaintext reaches the session as soon as its record is complete, so nothing ever waits inside the layer while the socket
//! is quiet, and a poller's word about the socket is the whole truth. The other way, records wait in the layer only while
//! the socket takes none, and at most [`MAX_SEALED`](fairlead_websocket::MAX_SEALED) bytes of plaintext are in them: what
//! waits behind them lies in the outbox, whose marks mean what they mean without TLS.

use fairlead_websocket::{Lost, Time, TlsRecordLayer, Transport};
use rustix::io::Errno;
use rustix::net::SendFlags;

use super::state::{Socket, State};

/// How far the socket took what there was.
enum Progress {
    All,
    Some,
    Nothing,
    Broken,
}

impl State {
    /// The socket has come, with what was read behind the handshake. What its layer holds already was said before.
    pub(crate) fn begin(&mut self, read_ahead: &[u8], layer: Option<Box<dyn TlsRecordLayer>>, now: Time) {
        if !read_ahead.is_empty() {
            self.session.receive(read_ahead, now, self.outbox.buffer());
        }
        self.layer = layer;
        self.see_end(now);
    }

    /// Lets the session have the plaintext of what came from the socket.
    pub(super) fn open(&mut self, records: &[u8], now: Time) {
        let Self {
            layer,
            session,
            outbox,
            ..
        } = self;
        let Some(layer) = layer else { return };
        // A part of a record is a sign of life as well.
        session.heard(now);
        let opened = layer.open(records, &mut |plaintext| {
            session.receive(plaintext, now, outbox.buffer());
        });
        match opened {
            Ok(()) => self.see_end(now),
            Err(_) => {
                // The alert leaves when the connection is retired.
                self.lose(Lost::BrokenTls, now);
            }
        }
    }

    fn see_end(&mut self, now: Time) {
        if self.layer.as_ref().is_some_and(|layer| layer.has_ended()) {
            self.see_eof(now);
        }
    }

    /// Bytes wait for the socket, sealed or not.
    pub(super) fn has_unsent(&self) -> bool {
        !self.outbox.is_empty()
            || self
                .layer
                .as_ref()
                .is_some_and(|layer| !layer.pending().is_empty())
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.layer.is_some()
    }

    /// Seals and writes what waits, as far as the socket takes it.
    pub(super) fn flush_tls(&mut self, now: Time) {
        let Self {
            socket: Some(socket),
            layer: Some(layer),
            outbox,
            ..
        } = self
        else {
            return;
        };
        loop {
            match write(socket, &mut **layer) {
                Progress::All => {}
                Progress::Some => {
                    self.blocked = true;
                    self.stalled_since = Some(now);
                    return;
                }
                Progress::Nothing => return self.is_held_up(now),
                Progress::Broken => return self.lose(Lost::Reset, now),
            }
            let count = layer.seal_some(&[outbox.pending()]);
            outbox.advance(count);
            if count == 0 && self.session.transport() != Transport::Open {
                // RFC 8446 §6.1: the last of our records says that it is the last. Again it says nothing.
                layer.end();
            }
            if layer.pending().is_empty() {
                break;
            }
        }
        self.all_is_gone(now);
    }

    /// The same for the header and the payload of a large message, behind what waits.
    pub(super) fn write_through_tls(&mut self, header: &[u8], payload: &[u8]) {
        let Self {
            socket: Some(socket),
            layer: Some(layer),
            outbox,
            ..
        } = self
        else {
            return;
        };
        let parts = [outbox.pending(), header, payload];
        let (sealed, is_gone) = seal_and_write(socket, &mut **layer, parts);
        self.blocked = !is_gone;
        self.keep_rest(sealed, header, payload);
    }

    /// Seals and writes bytes while nothing waits. Answers how many were sealed, and whether the socket took all.
    pub(crate) fn write_tls(&mut self, bytes: &[u8]) -> (usize, bool) {
        match (&self.socket, &mut self.layer) {
            (Some(socket), Some(layer)) => seal_and_write(socket, &mut **layer, [bytes, b"", b""]),
            _ => (0, false),
        }
    }
}

/// An error is met again, and dealt with, by the driver's flush.
fn seal_and_write(socket: &Socket, layer: &mut dyn TlsRecordLayer, parts: [&[u8]; 3]) -> (usize, bool) {
    let total = parts.iter().map(|part| part.len()).sum::<usize>();
    let mut sealed = 0;
    while matches!(write(socket, layer), Progress::All) {
        if sealed == total {
            return (sealed, true);
        }
        let mut skip = sealed;
        let rest = parts.map(|part| {
            let skipped = skip.min(part.len());
            skip -= skipped;
            &part[skipped..]
        });
        sealed += layer.seal_some(&rest);
    }
    (sealed, false)
}

/// Writes the records that wait.
fn write(socket: &Socket, layer: &mut dyn TlsRecordLayer) -> Progress {
    let mut progress = Progress::Nothing;
    while !layer.pending().is_empty() {
        match rustix::net::send(socket, layer.pending(), SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(count) => {
                layer.advance(count);
                progress = Progress::Some;
            }
            Err(Errno::AGAIN) => return progress,
            Err(Errno::INTR) => {}
            Err(_) => return Progress::Broken,
        }
    }
    Progress::All
}
