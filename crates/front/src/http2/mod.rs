//! HTTP/2: one connection, whatever carries it.
//!
//! [`serve`] takes a connection that begins with HTTP/2's preface (RFC 9113 §3.4) and drives the h2 crate on it; each stream is
//! a request with a task of its own (`stream`), which crosses the same handoff as any other, and a WebSocket inside a stream
//! (RFC 8441) leaves by the same way (`tunnel`). Here are the limits, the accepting, the deadlines of the connection, its
//! floods and its end. h2 and not hyper's server above it, because hyper hides what is needed: when a client's window grows
//! again (hyper: as soon as it has read), how small DATA frames are bounded, and a stream's bytes without a channel and two
//! tasks between them.
//!
//! The parts: `wire` (what h2 reads and writes), `filter` (what it does not get to see as it came, with `hpack`,
//! `hpack_table` and `huffman`), `state` (what the connection and its streams share), `frames` (how it is followed),
//! `flood_guard` (how much of nothing a client may send), `stream_errors` (rules that h2 does not know), `refusal_log` (how
//! many lines they get), `head` (heads, to and fro), `stream`, `sending`, `lingering`, `tunnel`. No push: RFC 9113 §8.4 made
//! it a choice.

mod filter;
#[cfg(test)]
mod filter_tests;
mod flood_guard;
mod frames;
mod head;
mod hpack;
mod hpack_table;
mod huffman;
mod lingering;
mod refusal_log;
mod sending;
mod state;
mod stream;
mod stream_errors;
mod tunnel;
mod wire;

use std::future::{poll_fn, Future};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::server;
use h2::Reason;

use crate::deadline::{deadline, Overdue, Situation};
use crate::drain::Registration;
use crate::events::LogLevel;
use crate::pipeline::Pipeline;
use crate::settings::FrontSettings;
use crate::socket::BoxStream;
use lingering::LINGER_MS;
use state::Http2State;
use wire::Wire;

/// The most that a header list may have, whatever the settings say: h2's own default is 16 MiB, which a flood of
/// CONTINUATION frames can make a server hold (RUSTSEC-2024-0332).
const HEADER_LIST: usize = 64 * 1024;

/// Streams that were reset before they were even accepted; h2's number, its answer to CVE-2023-44487.
const RESET_UNACCEPTED: usize = 20;

/// Bytes of a response that lie in h2 beyond what the application was told; each stream has as many.
const SEND_BUFFER: usize = 64 * 1024;

/// How long a drain waits for requests that crossed its GOAWAY; the client's answer to a PING ends it sooner.
const LEAVING_MS: u64 = 1000;

/// Serves HTTP/2 on `stream` for the connection of `registration` until it closes. `read_ahead` precedes what will be read from
/// it; the preface has not been taken off. Give TLS's stream once ALPN says "h2" (RFC 9113 §3.2).
pub(crate) async fn serve(
    registration: Registration,
    pipeline: Arc<Pipeline>,
    stream: BoxStream,
    read_ahead: Bytes,
) {
    let connection = Arc::clone(registration.connection());
    let state = Arc::new(Http2State::new(Arc::clone(&connection)));
    let wire = Wire::new(stream, read_ahead, Arc::clone(&state));
    let mut driver = Driver {
        phase: Phase::Opening(builder(connection.settings()).handshake(wire)),
        registration,
        pipeline,
        state,
        leaving_since_ms: None,
        lingering_since_ms: None,
    };
    poll_fn(|cx| driver.turn(cx)).await;
    // First h2, which tells all streams; the registration goes last.
    driver.phase = Phase::Ended;
}

fn builder(settings: &FrontSettings) -> server::Builder {
    let streams = settings.http2_max_streams.max(1);
    // Windows have 31 bits (RFC 9113 §6.9.1), and the connection's begins at 65,535.
    let stream_window = settings.http2_window.clamp(1, i32::MAX.unsigned_abs());
    let window = stream_window
        .saturating_mul(streams)
        .clamp(65_535, i32::MAX.unsigned_abs());
    let header_list = settings.max_header_bytes.min(HEADER_LIST);
    let mut builder = server::Builder::new();
    builder
        .max_concurrent_streams(streams)
        .initial_window_size(stream_window)
        .initial_connection_window_size(window)
        .max_header_list_size(u32::try_from(header_list).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(RESET_UNACCEPTED)
        // h2 counts streams that it has reset or refused itself over the life of the connection, and a proxy keeps its
        // connection for days. The flood guard charges for them, and `wire` reads on when they are out (RUSTSEC-2024-0003).
        .max_local_error_reset_streams(None)
        .max_send_buffer_size(SEND_BUFFER)
        // What small frames may cost beside their bytes while they lie in h2. Tunnels leave none there, so this is about
        // bodies that nobody reads: an eighth of the window, 1 MiB, is four thousand frames of one byte.
        .data_frame_budget((window as usize / 8).max(64 * 1024))
        .enable_connect_protocol();
    builder
}

enum Phase {
    Opening(server::Handshake<Wire, Bytes>),
    Open(server::Connection<Wire, Bytes>),
    Ended,
}

/// Drives one connection.
struct Driver {
    phase: Phase,
    state: Arc<Http2State>,
    pipeline: Arc<Pipeline>,
    /// The GOAWAY of a drain went out then.
    leaving_since_ms: Option<u64>,
    /// A GOAWAY that ends the connection goes out since then.
    lingering_since_ms: Option<u64>,
    registration: Registration,
}

impl Driver {
    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.state.connection.enlist(cx);
        loop {
            let progress = match &mut self.phase {
                Phase::Opening(handshake) => match Pin::new(handshake).poll(cx) {
                    Poll::Ready(Ok(open)) => {
                        self.phase = Phase::Open(open);
                        continue;
                    }
                    Poll::Ready(Err(_)) => return Poll::Ready(()),
                    Poll::Pending => Poll::Pending,
                },
                Phase::Open(open) => {
                    let shared = self.state.connection.shared();
                    if self.leaving_since_ms.is_none() && shared.is_draining() {
                        self.leaving_since_ms = Some(shared.now_ms());
                        open.graceful_shutdown();
                    }
                    open.poll_accept(cx)
                }
                Phase::Ended => return Poll::Ready(()),
            };
            match progress {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    stream::begin(&self.state, &self.registration, &self.pipeline, request, respond);
                    // RFC 9113 §10.5: what was reset is no stream any more, but the application still works on it.
                    let limit = 2 * self.state.connection.settings().http2_max_streams as usize;
                    if self.state.load() > limit {
                        self.state
                            .note_flood("requests that are reset before they are answered");
                    }
                }
                // `wire` has seen the GOAWAY that h2 sent, and said why.
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(()),
                Poll::Pending if self.state.is_flooded() && self.lingering_since_ms.is_none() => {
                    self.end_with(Reason::ENHANCE_YOUR_CALM);
                }
                Poll::Pending => break,
            }
        }
        self.keep_deadline()
    }

    /// Ends the connection with a GOAWAY, and all its streams.
    fn end_with(&mut self, why: Reason) {
        self.lingering_since_ms = Some(self.state.connection.shared().now_ms());
        if let Phase::Open(open) = &mut self.phase {
            open.abrupt_shutdown(why);
        }
    }

    /// Stores the deadline that counts now; ready if it has passed and nothing is left to say.
    fn keep_deadline(&mut self) -> Poll<()> {
        let connection = Arc::clone(&self.state.connection);
        let activity = self.state.activity();
        if activity.is_at_work() && self.lingering_since_ms.is_none() {
            // What streams wait for is theirs to tell; no look at the clock for each frame.
            connection.set_deadline(None);
            return Poll::Pending;
        }
        let now = connection.shared().now_ms();
        if activity.is_lingering {
            self.lingering_since_ms.get_or_insert(now);
        }
        let due = if let Some(since) = self.lingering_since_ms {
            Some((since + LINGER_MS, None))
        } else if let (Some(since), 0) = (self.leaving_since_ms, activity.open) {
            Some((activity.waiting_since_ms.max(since) + LEAVING_MS, None))
        } else {
            let situation = Situation {
                write_blocked_since_ms: activity.write_blocked_since_ms,
                in_flight: activity.open > 0 && !activity.inside_head,
                inside_head: activity.inside_head,
                is_first: activity.is_first,
                draining_since_ms: connection.shared().draining_since_ms(),
                waiting_since_ms: activity.waiting_since_ms,
                ..Situation::default()
            };
            deadline(&situation, connection.settings()).map(|(when, what)| (when, Some(what)))
        };
        connection.set_deadline(due.map(|(when, _)| when));
        let Some((_, overdue)) = due.filter(|(when, _)| *when <= now) else {
            return Poll::Pending;
        };
        match overdue {
            // It has had its time to read our last words.
            None => return Poll::Ready(()),
            Some(Overdue::Stalled) => {
                connection.shared().counters.timed_out();
                return Poll::Ready(());
            }
            Some(Overdue::SlowHead) => {
                connection.shared().counters.timed_out();
                connection.log(
                    LogLevel::Warning,
                    format_args!("a request head was not complete in time; the HTTP/2 connection ends"),
                );
                self.end_with(Reason::NO_ERROR);
            }
            Some(Overdue::Silent) => {
                connection.shared().counters.timed_out();
                if matches!(self.phase, Phase::Opening(_)) {
                    return Poll::Ready(());
                }
                self.end_with(Reason::NO_ERROR);
            }
        }
        // The GOAWAY goes out with the next turn.
        connection.wake();
        connection.set_deadline(Some(now + LINGER_MS));
        Poll::Pending
    }
}
