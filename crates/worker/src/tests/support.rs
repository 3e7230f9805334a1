//! A poller whose clock the test sets, and a client's end of a socket.

use std::io::{Read, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fairlead_websocket::{Limits, Negotiated, SessionSettings, Time, Timing, TlsRecordLayer};

use crate::poller::{EpollPoller, Interest, Poller, Readiness};
use crate::settings::{LoopLimits, WorkerSettings};
use crate::{Connection, Event, Worker};

/// Readiness is the kernel's, time is the test's, and a wait never blocks.
pub(super) struct FakePoller {
    real: EpollPoller,
    dials: Arc<Dials>,
}

type Meanwhile = (Duration, Box<dyn FnOnce() + Send>);

#[derive(Default)]
pub(super) struct Dials {
    now: AtomicU64,
    pub(super) changes: AtomicUsize,
    /// The last time-out that the loop asked for, in milliseconds; `u64::MAX` for none.
    pub(super) asked: AtomicU64,
    /// When the alarm is set to, in milliseconds; `u64::MAX` for never.
    pub(super) alarm: AtomicU64,
    /// What happens in the next wait, and how long that lasts.
    meanwhile: Mutex<Option<Meanwhile>>,
}

impl Dials {
    pub(super) fn advance(&self, by: Duration) {
        self.now.fetch_add(by.as_millis() as u64, Ordering::SeqCst);
    }

    /// The next wait lasts so long, and this happens meanwhile.
    pub(super) fn in_next_wait(&self, lasts: Duration, what: impl FnOnce() + Send + 'static) {
        *self.meanwhile.lock().unwrap() = Some((lasts, Box::new(what)));
    }
}

impl Poller for FakePoller {
    fn add(&self, fd: BorrowedFd<'_>, key: u64, interest: Interest) -> std::io::Result<()> {
        self.dials.changes.fetch_add(1, Ordering::SeqCst);
        self.real.add(fd, key, interest)
    }
    fn modify(&self, fd: BorrowedFd<'_>, key: u64, interest: Interest) -> std::io::Result<()> {
        self.dials.changes.fetch_add(1, Ordering::SeqCst);
        self.real.modify(fd, key, interest)
    }
    fn remove(&self, fd: BorrowedFd<'_>) -> std::io::Result<()> {
        self.dials.changes.fetch_add(1, Ordering::SeqCst);
        self.real.remove(fd)
    }
    fn wait(&self, ready: &mut Vec<Readiness>, timeout: Option<Duration>) -> std::io::Result<()> {
        let asked = timeout.map_or(u64::MAX, |limit| limit.as_millis() as u64);
        self.dials.asked.store(asked, Ordering::SeqCst);
        if let Some((lasts, what)) = self.dials.meanwhile.lock().unwrap().take() {
            self.dials.advance(lasts);
            what();
        }
        self.real.wait(ready, Some(Duration::ZERO))
    }
    fn wake(&self) {
        self.real.wake();
    }
    fn now(&self) -> Time {
        Time::from_millis(self.dials.now.load(Ordering::SeqCst))
    }
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.real.descriptor()
    }
    fn alarm(&self, at: Option<Time>) -> std::io::Result<()> {
        self.dials
            .alarm
            .store(at.map_or(u64::MAX, Time::as_millis), Ordering::SeqCst);
        Ok(())
    }
    fn is_ready(&self) -> bool {
        self.real.is_ready()
    }
    fn wait_ready_or(&self, other: BorrowedFd<'_>) {
        self.real.wait_ready_or(other);
    }
}

/// A worker that moves only when the test drives it.
pub(super) struct Bench {
    pub(super) worker: Worker,
    pub(super) dials: Arc<Dials>,
}

pub(super) fn settings() -> WorkerSettings {
    let limits = Limits {
        max_message: 1 << 20,
        max_fragments: Limits::fragments_of(1 << 20),
        max_control_frames_without_progress: 500,
        control_window: Duration::from_secs(10),
        inbox_mark: 256 * 1024,
    };
    let timing = Timing {
        ping_every: Duration::from_secs(30),
        pong_tolerance: Duration::from_secs(3),
        pong_every: None,
        idle_timeout: Duration::ZERO,
        close_timeout: Duration::from_secs(5),
    };
    WorkerSettings {
        session: Arc::new(SessionSettings { limits, timing }),
        limits: loop_limits(),
        threads_read: false,
        on_takeover: Arc::new(|| {}),
        on_stall: Arc::new(|_| {}),
        wake_thread: Arc::new(|_| {}),
        channels: None,
        session_log: Arc::new(|_, _| {}),
    }
}

pub(super) fn loop_limits() -> LoopLimits {
    LoopLimits {
        outbox_high: 256 * 1024,
        stall_timeout: Duration::from_secs(60),
        takeover_after: Duration::from_millis(2),
        stall_after: Duration::from_secs(1),
    }
}

impl Bench {
    pub(super) fn new(settings: WorkerSettings) -> Self {
        let dials = Arc::new(Dials::default());
        let poller = FakePoller {
            real: EpollPoller::new().unwrap(),
            dials: Arc::clone(&dials),
        };
        Self {
            worker: Worker::without_thread(Box::new(poller), settings).unwrap(),
            dials,
        }
    }

    pub(super) fn join(&self) -> (Arc<Connection>, UnixStream) {
        self.join_with(Vec::new())
    }

    pub(super) fn join_with(&self, read_ahead: Vec<u8>) -> (Arc<Connection>, UnixStream) {
        self.join_through(read_ahead, None)
    }

    pub(super) fn join_through(
        &self,
        read_ahead: Vec<u8>,
        layer: Option<Box<dyn TlsRecordLayer>>,
    ) -> (Arc<Connection>, UnixStream) {
        let (ours, client) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let connection = self
            .worker
            .connection(Negotiated::default(), "peer /path".into(), None);
        self.worker.join_tls(&connection, ours.into(), read_ahead, layer);
        self.turn();
        client.set_nonblocking(true).unwrap();
        (connection, client)
    }

    pub(super) fn turn(&self) -> Vec<Event> {
        let mut events = Vec::new();
        self.worker.drive(&mut events, None);
        events
    }

    pub(super) fn after(&self, by: Duration) -> Vec<Event> {
        self.dials.advance(by);
        self.turn()
    }
}

/// A masked client frame with a short payload.
pub(super) fn frame(first_byte: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x11, 0x22, 0x33, 0x44];
    let mut frame = vec![first_byte];
    match payload.len() {
        len @ 0..=125 => frame.push(0x80 | len as u8),
        len @ 126..=65535 => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&mask);
    frame.extend(payload.iter().enumerate().map(|(i, byte)| byte ^ mask[i % 4]));
    frame
}

pub(super) const BINARY: u8 = 0x82;

/// What the client has received by now.
pub(super) fn received(client: &mut UnixStream) -> Vec<u8> {
    let mut all = Vec::new();
    let mut buffer = [0u8; 65536];
    while let Ok(count @ 1..) = client.read(&mut buffer) {
        all.extend_from_slice(&buffer[..count]);
    }
    all
}

pub(super) fn send(client: &mut UnixStream, bytes: &[u8]) {
    client.write_all(bytes).unwrap();
}

/// The next message as owned bytes, if one is there.
pub(super) fn take(connection: &Arc<Connection>) -> Option<Vec<u8>> {
    match connection.receive(None, |_, payload| payload.to_vec()) {
        crate::Received::Message(message) => Some(message),
        _ => None,
    }
}
