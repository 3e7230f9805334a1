//! A WebSocket between its handshake and its socket: the front writes the 101, then the loop takes the socket over.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use fairlead_front::UpgradeReceiver;
use fairlead_websocket::{Lost, TlsRecordLayer};
use fairlead_worker::Connection;

use crate::engine_shared::EngineShared;

/// Waits for the socket of `connection`, which the app uses already.
pub(crate) struct Arriving<R> {
    pub(crate) shared: Arc<EngineShared<R>>,
    pub(crate) connection: Arc<Connection>,
}

impl<R: Send + 'static> UpgradeReceiver for Arriving<R> {
    fn upgraded(
        self: Box<Self>,
        socket: OwnedFd,
        read_ahead: Vec<u8>,
        layer: Option<Box<dyn TlsRecordLayer>>,
    ) {
        self.shared
            .worker
            .join_tls(&self.connection, socket, read_ahead, layer);
    }

    fn lost(self: Box<Self>, _why: String) {
        self.connection.abandon(Lost::Reset);
    }
}
