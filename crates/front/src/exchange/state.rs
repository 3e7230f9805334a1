//! The state of one exchange, and what the side that speaks HTTP does with it.
//!
//! A [`Core`] is shared by two owners that live apart: the [`Exchange`](super::Exchange) of the application's side, and the
//! protocol's side, whose drop means that the client is gone. Lock rule: no event sink, no taker of an upgrade and no waiter
//! is ever called while the state is locked.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use fairlead_http::ResponseHead;

use crate::access_log::AccessRecord;
use crate::body::{End, Incoming, Outgoing, Waiter};
use crate::body_rate::BodyRate;
use crate::connection::Connection;
use crate::error::BodyError;
use crate::exchange::chunked::ChunkedBody;
use crate::upgrade::Taker;

/// The state that both sides of an exchange share.
pub(crate) struct Core {
    pub(crate) connection: Arc<Connection>,
    pub(crate) upgrade_requested: bool,
    record: OnceLock<Arc<AccessRecord>>,
    state: Mutex<State>,
}

impl Core {
    /// `body`: a request without one, one to be read at once, or one for which the client waits for permission.
    pub(crate) fn new(connection: Arc<Connection>, upgrade_requested: bool, body: BodyPlan) -> Core {
        let mut incoming = Incoming::default();
        match body {
            BodyPlan::None => incoming.end = End::Complete,
            BodyPlan::Eager => incoming.wanted = true,
            BodyPlan::OnDemand => {}
        }
        let state = State {
            answer: Answer::Waiting,
            outgoing: Outgoing::default(),
            chunked: None,
            incoming,
            closed: false,
            muted: false,
            is_overruled: false,
            lost: false,
            slot: Slot::Taken,
        };
        Core {
            connection,
            upgrade_requested,
            record: OnceLock::new(),
            state: Mutex::new(state),
        }
    }

    /// A body comes or has come; asked before anybody has read of it. HTTP/2 needs no header that says so.
    pub(crate) fn has_body(&self) -> bool {
        let incoming = &self.lock().incoming;
        incoming.end != End::Complete || !incoming.is_empty()
    }

    /// From now on `record` sees the answer. Before anybody can give one.
    pub(crate) fn keep(&self, record: AccessRecord) {
        let _ = self.record.set(Arc::new(record));
    }

    pub(crate) fn record(&self) -> Option<&Arc<AccessRecord>> {
        self.record.get()
    }

    /// The front answers by itself, with this status.
    pub(crate) fn told(&self, status: u16) {
        if let Some(record) = self.record() {
            record.told(status);
        }
    }

    /// So many bytes of the response's body went out.
    pub(crate) fn sent(&self, count: usize) {
        if let Some(record) = self.record() {
            record.sent(count as u64);
        }
    }

    /// What this one waits for has changed.
    pub(crate) fn wake(&self, waiter: Waiter) {
        match waiter {
            Waiter::Token(token) => self.connection.shared().events.wake(token),
            Waiter::Task(task) => task.wake(),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under this lock can only come from an allocation failure; the state is plain data and stays usable.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The body stands still although the application waits for it, and the connection ends for that.
    pub(crate) fn stall_body(&self) {
        let mut state = self.lock();
        let incoming = &state.incoming;
        let is_awaited = incoming.awaited_since_ms.is_some() || incoming.rate.is_awaited();
        if is_awaited && incoming.end == End::Open {
            state.incoming.end = End::Failed(BodyError::Stalled);
        }
    }

    /// Since when the application waits for bytes of the body, and how slowly they have come.
    pub(crate) fn awaited_body(&self) -> (Option<u64>, BodyRate) {
        let incoming = &self.lock().incoming;
        (incoming.awaited_since_ms, incoming.rate)
    }

    /// The answer is complete as far as the client is concerned: what the application still writes is swallowed.
    pub(crate) fn mute(&self) {
        self.lock().muted = true;
        self.close(false);
    }

    /// The answer is complete, or the connection is `lost` before that: everyone who waits is told.
    pub(crate) fn close(&self, lost: bool) {
        let mut state = self.lock();
        if std::mem::replace(&mut state.closed, true) {
            return;
        }
        state.lost = lost;
        let waiting = [state.outgoing.waiter.take(), state.incoming.waiter.take()];
        let last = if state.began_streaming() {
            Answer::TakenStreaming
        } else {
            Answer::Taken
        };
        let answer = std::mem::replace(&mut state.answer, last);
        drop(state);
        if let Answer::Upgrade(_, taker) = answer {
            taker.lost("the client left before the 101 response");
        }
        for waiter in waiting.into_iter().flatten() {
            self.wake(waiter);
        }
    }
}

/// How the body of a request will be read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyPlan {
    None,
    Eager,
    OnDemand,
}

/// Guarded by the mutex of [`Core`].
pub(crate) struct State {
    pub(crate) answer: Answer,
    pub(crate) outgoing: Outgoing,
    /// The application says that it puts its body into chunks by itself.
    pub(super) chunked: Option<ChunkedBody>,
    pub(crate) incoming: Incoming,
    /// Nothing is taken any more: the answer is complete or the client is lost.
    pub(crate) closed: bool,
    /// Further pieces have no place (HEAD, 204, a Content-Length that is used up) and that is no mistake.
    pub(crate) muted: bool,
    /// A rule has given another answer, and what the application writes is swallowed.
    pub(super) is_overruled: bool,
    /// The client left before its answer was complete.
    pub(crate) lost: bool,
    pub(super) slot: Slot,
}

/// The right to run the application for this request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    /// It has one, or needs none.
    Taken,
    Awaited,
    /// It was awaited for too long, and the client is told so.
    GivenUp,
}

impl State {
    pub(super) fn began_streaming(&self) -> bool {
        matches!(self.answer, Answer::Streaming(_) | Answer::TakenStreaming)
    }

    /// Nothing of the answer is still owed by the application's side.
    pub(super) fn is_answered(&self) -> bool {
        match self.answer {
            Answer::Waiting => false,
            Answer::Streaming(_) | Answer::TakenStreaming => self.outgoing.end != End::Open,
            _ => true,
        }
    }
}

/// The answer on its way to the connection's task.
pub(crate) enum Answer {
    Waiting,
    Whole(ResponseHead, Bytes),
    Streaming(ResponseHead),
    /// Taken by whoever writes the 101, who tells the taker of its end.
    Upgrade(ResponseHead, Taker),
    Aborted,
    Abandoned,
    TakenStreaming,
    Taken,
}
