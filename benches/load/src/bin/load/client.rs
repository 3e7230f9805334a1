//! The loop of the load generator: open the connections, warm up, measure, report. It knows when, the [`Mode`] knows
//! what. Invariant: between `count_from_here` and the last sample nothing is done but the load itself, so the client's
//! CPU is spent on it alone.

use fairlead_bench_load::accept::{accept_value, base64};
use fairlead_bench_load::process;
use fairlead_bench_load::sys::{monotonic_ns, random_bytes, Epoll, Events, Ready};

use crate::args::{Options, Protocol};
use crate::connection::{Connection, Mode};
use crate::frames::FrameRing;
use crate::http2::{Session, StreamEvent};
use crate::report::{Counts, Report, Sample};
use crate::run::{Fault, Phase, Shared};
use crate::transport;

/// As much as one read may bring; larger than what the kernel holds for a socket, so one read suffices.
const READ_BYTES: usize = 1 << 20;
/// A server that has not opened all connections by then is measured with those it has.
const OPENING_NS: u64 = 40_000_000_000;
/// With this many errors, connections are no longer opened again: the server is not there.
const MOST_ERRORS: u64 = 10_000;
/// The loop turns at least this often, to keep to its times.
const TURN_MS: u64 = 50;

/// A run in progress.
pub struct Client<'a, M> {
    shared: Shared<'a>,
    mode: M,
    connections: Vec<Connection>,
    /// HTTP/2: what carries them; then events are those of sessions.
    sessions: Vec<Session>,
    /// How many of the connections have been opened for the first time.
    begun: usize,
    counts: Counts,
    buffer: Vec<u8>,
}

/// What the run is doing, and until when.
#[derive(Clone, Copy)]
enum Stage {
    Opening { until_ns: u64 },
    Warmup { until_ns: u64 },
    Measuring { until_ns: u64, first: Sample },
}

impl<'a, M: Mode> Client<'a, M> {
    /// Runs the whole load; the error is one sentence.
    pub fn run(options: &'a Options, mode: M) -> Result<Report, String> {
        let key = base64(&random_bytes::<16>());
        let shared = Shared {
            options,
            epoll: Epoll::new().map_err(|error| format!("no epoll instance: {error}"))?,
            frames: FrameRing::new(options.size, options.in_flight, options.text),
            accept: accept_value(key.as_bytes()),
            key,
            tls: options
                .tls
                .then(|| transport::client_config(options.protocol == Protocol::Http2)),
        };
        let connections = (0..mode.total(&shared)).map(Connection::new).collect();
        let sessions = match options.protocol {
            Protocol::Http2 => (0..options.sessions)
                .map(|token| Session::connect(token, &shared))
                .collect::<Result<_, _>>()
                .map_err(|error| format!("the server cannot be reached: {error}"))?,
            _ => Vec::new(),
        };
        let client = Client {
            shared,
            mode,
            connections,
            sessions,
            begun: 0,
            counts: Counts::new(),
            buffer: Vec::with_capacity(READ_BYTES),
        };
        client.turn_until_done()
    }

    fn turn_until_done(mut self) -> Result<Report, String> {
        let pids = &self.shared.options.pids;
        let rss_before = process::resident_bytes(pids);
        let mut events = Events::with_capacity(1024);
        let mut now_ns = monotonic_ns();
        let mut stage = match M::REOPENS {
            true => Stage::Warmup {
                until_ns: now_ns + in_ns(self.shared.options.warmup),
            },
            false => Stage::Opening {
                until_ns: now_ns + OPENING_NS,
            },
        };
        loop {
            self.open_more(now_ns);
            self.flush_sessions();
            let timeout_ms = stage
                .until_ns()
                .saturating_sub(now_ns)
                .div_ceil(1_000_000)
                .min(TURN_MS);
            self.shared
                .epoll
                .wait(&mut events, timeout_ms as i32)
                .map_err(|error| format!("epoll: {error}"))?;
            for ready in events.iter() {
                if self.sessions.is_empty() {
                    self.serve(ready);
                } else {
                    self.serve_session(ready.token, |session, _, buffer, tell| {
                        session.serve(ready, buffer, tell);
                    });
                }
            }
            now_ns = monotonic_ns();

            match stage {
                Stage::Opening { until_ns } => {
                    if self.all_settled() || now_ns >= until_ns {
                        if self.counts.open() == 0 {
                            return Err("no connection could be opened".into());
                        }
                        self.mode.start(&mut self.connections, &self.shared, now_ns);
                        stage = Stage::Warmup {
                            until_ns: now_ns + in_ns(self.shared.options.warmup),
                        };
                    }
                    continue;
                }
                Stage::Warmup { until_ns } if now_ns >= until_ns => {
                    self.counts.count_from_here();
                    let first = Sample::take(now_ns, self.shared.options);
                    stage = Stage::Measuring {
                        until_ns: now_ns + in_ns(self.shared.options.seconds),
                        first,
                    };
                }
                Stage::Measuring { until_ns, first } if now_ns >= until_ns || self.all_lost() => {
                    let last = Sample::take(now_ns, self.shared.options);
                    let rss_after = process::resident_bytes(pids);
                    return Ok(Report {
                        counts: self.counts,
                        first,
                        last,
                        rss_before,
                        rss_after,
                    });
                }
                _ => {}
            }
            let turned = self
                .mode
                .turn(&mut self.connections, &self.shared, now_ns, &mut self.counts);
            turned.map_err(|fault| fault.to_string())?;
        }
    }

    fn open_more(&mut self, now_ns: u64) {
        let at_once = if M::REOPENS {
            usize::MAX
        } else {
            self.shared.options.opening
        };
        while self.begun < self.connections.len()
            && self.counts.opening() < at_once
            && self.mode.may_open(self.begun, self.counts.open())
        {
            self.begun += 1;
            self.open(self.begun - 1, now_ns);
        }
    }

    fn open(&mut self, index: usize, now_ns: u64) {
        self.counts.begins_to_open();
        if !self.sessions.is_empty() {
            let token = index % self.sessions.len();
            let path = self.mode.path(index, &self.shared).to_owned();
            self.connections[index].begin(&self.shared, now_ns);
            return self.serve_session(token, |session, shared, _, tell| {
                session.open(index, &path, shared, tell);
            });
        }
        if let Err(fault) = self.connections[index].open(&self.shared, now_ns) {
            self.end(index, &fault);
        }
    }

    fn serve(&mut self, ready: Ready) {
        let connection = &mut self.connections[ready.token];
        if connection.phase() == Phase::Closed {
            return;
        }
        let mut outcome = Ok(());
        if ready.writable {
            outcome = connection.writable(&self.shared, self.mode.path(ready.token, &self.shared));
        }
        if outcome.is_ok() && ready.readable {
            outcome = connection.readable(&self.shared, &mut self.mode, &mut self.counts, &mut self.buffer);
        }
        if let Err(fault) = outcome {
            self.end(ready.token, &fault);
            if M::REOPENS && self.counts.errors() < MOST_ERRORS {
                self.open(ready.token, monotonic_ns());
            }
        }
    }

    /// Lets a session do something, and its connections hear of what happens.
    fn serve_session(
        &mut self,
        token: usize,
        act: impl FnOnce(&mut Session, &Shared, &mut Vec<u8>, &mut dyn FnMut(usize, StreamEvent)),
    ) {
        let (shared, mode, counts) = (&self.shared, &mut self.mode, &mut self.counts);
        let connections = &mut self.connections;
        let mut tell = |index: usize, event: StreamEvent| {
            let connection: &mut Connection = &mut connections[index];
            if connection.phase() == Phase::Closed {
                return;
            }
            if let Err(fault) = connection.hears(event, shared, mode, counts) {
                counts.ended(connection.drop_socket(), &fault);
            }
        };
        act(&mut self.sessions[token], shared, &mut self.buffer, &mut tell);
    }

    /// What the connections have put down in this turn goes out with one send per session.
    fn flush_sessions(&mut self) {
        for token in 0..self.sessions.len() {
            self.serve_session(token, |session, shared, _, tell| session.flush(shared, tell));
        }
    }

    fn end(&mut self, index: usize, fault: &Fault) {
        let phase = self.connections[index].drop_socket();
        self.counts.ended(phase, fault);
    }

    /// No connection is on its way any more, nor will another one be opened.
    fn all_settled(&self) -> bool {
        let waiting =
            self.begun < self.connections.len() && self.mode.may_open(self.begun, self.counts.open());
        !waiting && self.counts.opening() == 0
    }

    fn all_lost(&self) -> bool {
        self.counts.open() == 0 && self.counts.opening() == 0
    }
}

impl Stage {
    fn until_ns(self) -> u64 {
        match self {
            Stage::Opening { until_ns } | Stage::Warmup { until_ns } | Stage::Measuring { until_ns, .. } => {
                until_ns
            }
        }
    }
}

fn in_ns(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}
