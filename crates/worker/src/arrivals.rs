//! The changes that only the driver can make, on their way to it: sockets that join, alarms, the end of all connections.
//!
//! Whoever brings one wakes the driver afterwards ([`Shared::wake_driver`](crate::inbox::Shared::wake_driver)): push first, then wake.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fairlead_websocket::{CloseCode, Time, TlsRecordLayer};

use crate::connection::Connection;
use crate::event::Token;
use crate::inbox::lock;

/// A change that only the driver can make.
pub(crate) enum Arrival {
    /// A socket whose handshake is done, with the bytes that were read behind it, and its TLS if it has any.
    Join {
        connection: Arc<Connection>,
        socket: OwnedFd,
        read_ahead: Vec<u8>,
        layer: Option<Box<dyn TlsRecordLayer>>,
    },
    /// A task that wants to be woken at a time.
    Timer { at: Time, token: Token },
    /// Every connection is to be closed, evenly spread over a time; those that join later too.
    CloseAll {
        code: CloseCode,
        reason: String,
        spread: Duration,
    },
}

/// Those that have come since the driver looked.
#[derive(Default)]
pub(crate) struct Arrivals {
    queue: Mutex<Vec<Arrival>>,
    /// The queue is not empty, or was not a moment ago: most turns find nothing, and need no lock for that.
    has_some: AtomicBool,
}

impl Arrivals {
    pub(crate) fn push(&self, arrival: Arrival) {
        let mut queue = lock(&self.queue);
        queue.push(arrival);
        self.has_some.store(true, Ordering::Release);
    }

    pub(crate) fn take(&self) -> Vec<Arrival> {
        if !self.has_some.load(Ordering::Acquire) {
            return Vec::new();
        }
        let mut queue = lock(&self.queue);
        self.has_some.store(false, Ordering::Relaxed);
        std::mem::take(&mut *queue)
    }
}
