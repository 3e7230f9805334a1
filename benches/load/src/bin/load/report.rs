//! What a run has counted, and the one line that says so. Only what happens inside the measured window counts, except
//! errors: those of the whole run are shown, because a run with errors proves nothing.

use fairlead_bench_load::process;

use crate::args::{ModeName, Options};
use crate::histogram::Histogram;
use crate::run::{Fault, Phase};

/// After this many faults the next ones are counted but no longer described.
const DESCRIBED_FAULTS: u64 = 3;

/// The counters of a run.
pub struct Counts {
    counting: bool,
    messages: u64,
    bytes: u64,
    latencies: Histogram,
    bad_messages: u64,
    lost_messages: u64,
    errors: u64,
    opening: usize,
    open: usize,
}

impl Counts {
    pub fn new() -> Self {
        Counts {
            counting: false,
            messages: 0,
            bytes: 0,
            latencies: Histogram::new(),
            bad_messages: 0,
            lost_messages: 0,
            errors: 0,
            opening: 0,
            open: 0,
        }
    }

    /// The measured window begins.
    pub fn count_from_here(&mut self) {
        self.counting = true;
    }

    /// A message (echo), a delivery (fan-out) or a handshake (connect).
    #[inline]
    pub fn record(&mut self, latency_ns: u64, bytes: usize) {
        if self.counting {
            self.messages += 1;
            self.bytes += bytes as u64;
            self.latencies.record(latency_ns);
        }
    }

    /// A message with the wrong bytes, length, kind or number.
    pub fn bad_message(&mut self) {
        self.bad_messages += 1;
    }

    /// Messages that were passed over.
    pub fn lost_messages(&mut self, count: u64) {
        self.lost_messages += count;
    }

    pub fn begins_to_open(&mut self) {
        self.opening += 1;
    }

    pub fn opened(&mut self) {
        self.opening -= 1;
        self.open += 1;
    }

    /// A connection has ended in `phase`.
    pub fn ended(&mut self, phase: Phase, fault: &Fault) {
        match phase {
            Phase::Closed => {}
            Phase::Connecting | Phase::Securing | Phase::Handshake => self.opening -= 1,
            Phase::Open | Phase::Closing => self.open -= 1,
        }
        if phase != Phase::Closing {
            self.errors += 1;
            if self.errors <= DESCRIBED_FAULTS {
                eprintln!("load: {fault}");
            }
        }
    }

    pub fn opening(&self) -> usize {
        self.opening
    }

    pub fn open(&self) -> usize {
        self.open
    }

    pub fn errors(&self) -> u64 {
        self.errors
    }
}

/// A moment at an end of the measured window.
#[derive(Clone, Copy)]
pub struct Sample {
    pub at_ns: u64,
    client_cpu_s: f64,
    server_cpu_s: f64,
}

impl Sample {
    pub fn take(at_ns: u64, options: &Options) -> Self {
        Sample {
            at_ns,
            client_cpu_s: process::own_cpu_s() + process::cpu_s(&options.beside),
            server_cpu_s: process::cpu_s(&options.pids),
        }
    }
}

/// A finished run.
pub struct Report {
    pub counts: Counts,
    pub first: Sample,
    pub last: Sample,
    /// Before the first connect.
    pub rss_before: u64,
    /// At the end of the window, with all connections still open.
    pub rss_after: u64,
}

impl Report {
    /// One JSON object on one line. All values are numbers except the mode, so nothing needs escaping.
    pub fn to_json(&self, options: &Options) -> String {
        let counts = &self.counts;
        let seconds = (self.last.at_ns - self.first.at_ns) as f64 / 1e9;
        let server_cpu_s = self.last.server_cpu_s - self.first.server_cpu_s;
        let client_cpu_s = self.last.client_cpu_s - self.first.client_cpu_s;
        let per = |amount: f64, count: f64| if count > 0.0 { amount / count } else { 0.0 };
        let us = |ns: u64| format!("{:.1}", ns as f64 / 1e3);
        let mode = match options.mode {
            ModeName::Echo => "echo",
            ModeName::Connect => "connect",
            ModeName::Idle => "idle",
            ModeName::Fanout => "fanout",
        };
        let fields = [
            ("mode", format!("\"{mode}\"")),
            ("connections", options.connections.to_string()),
            ("open", counts.open.to_string()),
            ("size", options.size.to_string()),
            ("in_flight", options.in_flight.to_string()),
            ("seconds", format!("{seconds:.3}")),
            ("messages", counts.messages.to_string()),
            ("rate", format!("{:.1}", per(counts.messages as f64, seconds))),
            (
                "mb_per_s",
                format!("{:.1}", per(counts.bytes as f64 / 1e6, seconds)),
            ),
            ("p50_us", us(counts.latencies.quantile_ns(0.5))),
            ("p90_us", us(counts.latencies.quantile_ns(0.9))),
            ("p99_us", us(counts.latencies.quantile_ns(0.99))),
            ("p999_us", us(counts.latencies.quantile_ns(0.999))),
            ("max_us", us(counts.latencies.max_ns())),
            ("errors", counts.errors.to_string()),
            ("bad_messages", counts.bad_messages.to_string()),
            ("lost_messages", counts.lost_messages.to_string()),
            ("client_cpu_share", format!("{:.3}", per(client_cpu_s, seconds))),
            ("server_cpu_share", format!("{:.3}", per(server_cpu_s, seconds))),
            ("server_cpu_s", format!("{server_cpu_s:.4}")),
            (
                "server_cpu_us_per_message",
                format!("{:.4}", per(server_cpu_s * 1e6, counts.messages as f64)),
            ),
            ("rss_before", self.rss_before.to_string()),
            ("rss_after", self.rss_after.to_string()),
        ];
        let members: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("\"{name}\":{value}"))
            .collect();
        format!("{{{}}}", members.join(","))
    }
}
