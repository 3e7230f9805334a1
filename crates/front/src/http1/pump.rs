//! Carries a request's body from hyper to its exchange, at the pace of the application.

use std::error::Error;
use std::io::ErrorKind;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::body::{Body, Incoming};

use crate::body::{End, Waiter};
use crate::body_rate::BodyRate;
use crate::error::BodyError;
use crate::exchange::Core;
use crate::http1::framing::Framing;
use crate::settings::FrontSettings;

/// One body on its way.
pub(super) struct Pump {
    body: Incoming,
    core: Arc<Core>,
    /// The number of its head.
    ordinal: u64,
    total: u64,
    /// So much of what the application leaves of it is read and forgotten.
    skips: u64,
}

/// The longest rest of a body that is read for nothing, so that its connection can be kept. A new connection costs about
/// as much as this takes at 10 Mbit/s.
const SKIPPED_REST: u64 = 64 * 1024;

/// What one step of a pump did.
pub(super) enum Pumped {
    /// Nothing: it waits for the client or for the application.
    Nothing,
    /// The exchange takes no more. hyper reads the rest if it is already there, else closes after the response.
    Closed,
    /// The last of what nobody wanted has come.
    Skipped,
    /// It moved a piece, or learnt of the end; whoever waits for it is to be woken.
    Moved {
        waiter: Option<Waiter>,
        core: Arc<Core>,
        is_over: bool,
        has_failed: bool,
    },
}

impl Pump {
    pub(super) fn new(body: Incoming, core: Arc<Core>, ordinal: u64) -> Pump {
        Pump {
            body,
            core,
            ordinal,
            total: 0,
            skips: 0,
        }
    }

    /// The answer's head goes out: will the connection be of use behind it, whatever the application leaves of the body?
    /// False: the rest is long, or nobody knows how long, or the client waits for permission to send it. One that reads
    /// while it answers in pieces, and not because it refuses, is trusted to read all.
    pub(super) fn settle(&mut self, is_streaming: bool) -> bool {
        let (wanted, is_read) = {
            let state = self.core.lock();
            (state.incoming.wanted, state.incoming.is_read)
        };
        let rest = self.body.size_hint().exact();
        if wanted && rest.is_some_and(|rest| rest <= SKIPPED_REST) || is_streaming && is_read {
            self.skips = SKIPPED_REST;
        }
        self.skips > 0 || self.body.is_end_stream()
    }

    /// Nobody waits for the rest any more.
    pub(super) fn is_skipping(&self) -> bool {
        self.skips > 0 && self.core.lock().closed
    }

    /// Reads what nobody wants.
    fn skip(&mut self, framing: &Framing, context: &mut Context<'_>) -> Pumped {
        loop {
            let frame = Pin::new(&mut self.body).poll_frame(context);
            if framing.is_body_broken(self.ordinal) {
                return Pumped::Closed;
            }
            match frame {
                Poll::Ready(Some(Ok(frame))) => {
                    let size = frame.data_ref().map_or(0, |data| data.len() as u64);
                    let Some(left) = self.skips.checked_sub(size) else {
                        return Pumped::Closed;
                    };
                    self.skips = left.max(1);
                }
                Poll::Ready(Some(Err(_))) => return Pumped::Closed,
                Poll::Ready(None) => return Pumped::Skipped,
                Poll::Pending => return Pumped::Nothing,
            }
        }
    }

    /// Since when the application waits for bytes, and how slowly they have come.
    pub(super) fn awaited(&self) -> (Option<u64>, BodyRate) {
        self.core.awaited_body()
    }

    /// The client stands still: whoever waits for the body learns that it was too slow.
    pub(super) fn stall(&self) {
        self.core.stall_body();
    }

    /// Moves one piece.
    pub(super) fn step(
        &mut self,
        framing: &mut Framing,
        settings: &FrontSettings,
        context: &mut Context<'_>,
    ) -> Pumped {
        let state = self.core.lock();
        if state.closed {
            drop(state);
            return if self.skips > 0 {
                self.skip(framing, context)
            } else {
                Pumped::Closed
            };
        }
        if !state.incoming.wanted {
            return Pumped::Nothing;
        }
        let mut state = state;
        if state.incoming.is_full(settings.body_high_water) {
            state.incoming.paused = true;
            return Pumped::Nothing;
        }
        drop(state);
        let frame = Pin::new(&mut self.body).poll_frame(context);
        // hyper overlooks some of what breaks a body. What came before it is whole and goes to the application first.
        let is_broken = framing.is_body_broken(self.ordinal);
        let frame = match frame {
            Poll::Ready(frame) => frame,
            Poll::Pending if is_broken => None,
            Poll::Pending => return Pumped::Nothing,
        };
        let mut state = self.core.lock();
        let mut size = 0;
        match frame.map(|frame| frame.map(hyper::body::Frame::into_data)) {
            Some(Ok(Ok(piece))) => {
                size = piece.len() as u64;
                self.total += size;
                let ends_chunk = framing.chunk_ends(self.ordinal, size);
                match settings.max_body {
                    Some(limit) if self.total > limit => {
                        state.incoming.end = End::Failed(BodyError::TooLarge(limit));
                    }
                    _ => state.incoming.push(piece, ends_chunk),
                }
            }
            // Trailers: WSGI has no place for them.
            Some(Ok(Err(_))) => {}
            Some(Err(error)) => state.incoming.end = End::Failed(body_error(&error)),
            None if is_broken => {
                let why = "a line of its chunks or trailers ends with LF alone";
                state.incoming.end = End::Failed(BodyError::Malformed(why.into()));
            }
            None => state.incoming.end = End::Complete,
        }
        state.incoming.awaited_since_ms = None;
        let now = || self.core.connection.shared().now_ms();
        state.incoming.rate.came(size, settings.body_minimum_rate, now);
        Pumped::Moved {
            waiter: state.incoming.waiter.take(),
            core: Arc::clone(&self.core),
            is_over: state.incoming.end != End::Open,
            has_failed: matches!(state.incoming.end, End::Failed(_)),
        }
    }
}

/// hyper tells by the kind of its inner error whether the bytes were wrong or did not come.
fn body_error(error: &hyper::Error) -> BodyError {
    let inner = error
        .source()
        .and_then(|inner| inner.downcast_ref::<std::io::Error>());
    match inner.map(|inner| (inner.kind(), inner)) {
        Some((ErrorKind::InvalidData | ErrorKind::InvalidInput, inner)) => {
            BodyError::Malformed(inner.to_string())
        }
        _ => BodyError::Gone,
    }
}
