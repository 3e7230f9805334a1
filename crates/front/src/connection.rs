//! One connection: who is at its ends, and how its task is woken.
//!
//! This is what an exchange, the log and the drain need of it, whatever it speaks; what only the task of HTTP/1.1 or HTTP/2
//! knows stands in those folders. A stream of HTTP/2 has one of its own. A deadline is a number that the sweep in `drain`
//! looks at, not a timer, so a request costs no timer operation.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Waker};

use fairlead_http::{Address, ClientCertificate, Request, RequestBuilder, Scheme};

use crate::deadline::{deadline, Overdue, Situation};
use crate::events::LogLevel;
use crate::front_shared::FrontShared;
use crate::settings::FrontSettings;

/// No deadline at present.
const NEVER: u64 = u64::MAX;

/// Somebody works on the request, if there is one.
const BEGUN: u8 = 0;
/// It waits for a slot.
const WAITS: u8 = 1;
/// It has one, and nobody has taken it yet.
const ADMITTED: u8 = 2;

/// Who speaks with whom, as requests are told.
#[derive(Clone, Debug)]
pub(crate) struct Ends {
    pub(crate) peer: Address,
    pub(crate) local: Address,
    /// Peer and local are those that a PROXY header has told.
    pub(crate) is_announced: bool,
    pub(crate) scheme: Scheme,
    /// Requests look as behind uWSGI's HTTP router.
    pub(crate) is_routed: bool,
}

/// What the parts of one connection share.
pub(crate) struct Connection {
    pub(crate) ends: Ends,
    shared: Arc<FrontShared>,
    accepted_ms: u64,
    /// What the client has shown in its handshake.
    client: OnceLock<Arc<ClientCertificate>>,
    task: OnceLock<Waker>,
    deadline_ms: AtomicU64,
    /// How far the present request has come, one of [`BEGUN`] and the two behind it.
    way: AtomicU8,
    /// It was accepted only when a slot was free, and may have waited long for that.
    waited_outside: bool,
    /// Shared by the streams of one HTTP/2 connection, which counts by it.
    load: Option<Arc<()>>,
}

impl Connection {
    pub(crate) fn new(shared: Arc<FrontShared>, ends: Ends) -> Connection {
        Connection {
            ends,
            accepted_ms: shared.now_ms(),
            shared,
            client: OnceLock::new(),
            task: OnceLock::new(),
            deadline_ms: AtomicU64::new(NEVER),
            way: AtomicU8::new(BEGUN),
            waited_outside: false,
            load: None,
        }
    }

    /// A stream of this connection, which is an HTTP/2 one: what its task and its exchange share. `load` is dropped with it.
    pub(crate) fn stream(&self, load: Arc<()>) -> Connection {
        Connection {
            load: Some(load),
            client: self.client.clone(),
            ..Connection::new(Arc::clone(&self.shared), self.ends.clone())
        }
    }

    /// It is a stream of an HTTP/2 connection, which is here as well.
    pub(crate) fn is_stream(&self) -> bool {
        self.load.is_some()
    }

    /// The same connection, now that a PROXY header has told whose it is. Its time for the first head goes on.
    pub(crate) fn announced(&self, peer: Address, local: Address) -> Connection {
        let ends = Ends {
            peer,
            local,
            is_announced: true,
            ..self.ends.clone()
        };
        Connection {
            accepted_ms: self.accepted_ms,
            waited_outside: self.waited_outside,
            ..Connection::new(Arc::clone(&self.shared), ends)
        }
    }

    /// It was accepted only when a slot was free.
    pub(crate) fn having_waited(self) -> Connection {
        Connection {
            waited_outside: true,
            ..self
        }
    }

    /// The present request waits for a slot.
    pub(crate) fn wait_for_slot(&self) {
        self.way.store(WAITS, Ordering::Release);
    }

    /// It has got one.
    pub(crate) fn admit(&self) {
        let (from, to) = (WAITS, ADMITTED);
        // Whoever was quicker to take it has the last word.
        let _ = self
            .way
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// Somebody works on it from now on.
    pub(crate) fn begin(&self) {
        self.way.store(BEGUN, Ordering::Release);
    }

    /// Has its client waited in vain, if it ends its side now? `is_first`: of the connection, which may have waited outside.
    pub(crate) fn is_still_waiting(&self, is_first: bool) -> bool {
        match self.way.load(Ordering::Acquire) {
            WAITS => true,
            ADMITTED => is_first && self.waited_outside,
            _ => false,
        }
    }

    pub(crate) fn shared(&self) -> &Arc<FrontShared> {
        &self.shared
    }

    pub(crate) fn settings(&self) -> &FrontSettings {
        &self.shared.settings
    }

    /// When it was accepted, in milliseconds since the front's start.
    pub(crate) fn accepted_ms(&self) -> u64 {
        self.accepted_ms
    }

    /// Logs a line that begins with the peer.
    pub(crate) fn log(&self, level: LogLevel, line: fmt::Arguments<'_>) {
        let line = format!("{}: {line}", self.ends.peer);
        self.shared.events.log(level, &line);
    }

    /// Somebody broke a rule: one more refusal, with its line.
    pub(crate) fn note_refusal(&self, line: fmt::Arguments<'_>) {
        self.shared.counters.refused();
        self.log(LogLevel::Warning, line);
    }

    /// The client has shown this certificate.
    pub(crate) fn know_client(&self, certificate: ClientCertificate) {
        let _ = self.client.set(Arc::new(certificate));
    }

    /// A request of this connection: what its head says, with what the connection knows of the client.
    pub(crate) fn complete(&self, head: RequestBuilder) -> Request {
        let mut request = head
            .scheme(self.ends.scheme)
            .peer(self.ends.peer.clone())
            .local(self.ends.local.clone())
            .router(self.ends.is_routed)
            .announced(self.ends.is_announced)
            .client(self.client.get().cloned())
            .finish();
        if let Err(why) = request.apply_forwarded(&self.settings().trusted_proxies) {
            self.log(LogLevel::Warning, format_args!("{why}"));
        }
        request
    }

    /// The task of this connection is the present one, for its whole life.
    pub(crate) fn enlist(&self, context: &Context<'_>) {
        // The waker of a tokio task is always the same.
        self.task.get_or_init(|| context.waker().clone());
    }

    /// Lets the connection's task take a turn. From any thread.
    pub(crate) fn wake(&self) {
        if let Some(task) = self.task.get() {
            self.shared.wakes.wake(task);
        }
    }

    /// Lets the task take a turn if its deadline has passed.
    pub(crate) fn wake_if_due(&self, now_ms: u64) {
        if self.deadline_ms.load(Ordering::Relaxed) <= now_ms {
            self.wake();
        }
    }

    /// The deadline that counts now, for the sweep.
    pub(crate) fn set_deadline(&self, when_ms: Option<u64>) {
        self.deadline_ms
            .store(when_ms.unwrap_or(NEVER), Ordering::Relaxed);
    }

    /// Stores the deadline that counts in this situation; tells what is overdue already.
    pub(crate) fn keep_deadline(&self, situation: &Situation) -> Option<Overdue> {
        let deadline = deadline(situation, self.settings());
        self.set_deadline(deadline.map(|(when, _)| when));
        deadline
            .filter(|(when, _)| *when <= self.shared.now_ms())
            .map(|(_, overdue)| overdue)
    }

    /// The same while no request was begun: has the client had its time for one? `handshake_ms`: when it last went on with a
    /// handshake of TLS.
    pub(crate) fn is_opening_overdue(&self, handshake_ms: u64) -> bool {
        let situation = Situation {
            is_first: true,
            draining_since_ms: self.shared.draining_since_ms(),
            waiting_since_ms: self.accepted_ms,
            handshake_ms,
            ..Situation::default()
        };
        self.keep_deadline(&situation).is_some()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::events::EventSink;

    /// Hears nothing.
    struct Deaf;

    impl EventSink for Deaf {
        fn wake(&self, _: u64) {}
        fn log(&self, _: LogLevel, _: &str) {}
    }

    /// A connection that was accepted then.
    pub(crate) fn accepted_at(accepted_ms: u64) -> Connection {
        let shared = FrontShared::new(FrontSettings::default(), Arc::new(Deaf)).expect("a front");
        let ends = Ends {
            peer: Address::Unknown,
            local: Address::Unknown,
            is_announced: false,
            scheme: Scheme::Http,
            is_routed: false,
        };
        Connection {
            accepted_ms,
            ..Connection::new(Arc::new(shared), ends)
        }
    }

    #[test]
    fn a_proxy_header_and_the_first_head_share_one_time() {
        let announced = accepted_at(7_000).announced(Address::Unknown, Address::Unknown);
        assert!(announced.ends.is_announced);
        assert_eq!(announced.accepted_ms(), 7_000);
    }
}
