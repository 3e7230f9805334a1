//! What becomes of a request besides its answer: what the tables behind the application want, and its line in the log.
//!
//! An [`AccessRecord`] is made only if somebody wants one: rules that look at answers or at the end (compat §5.1), a header that a rule
//! has changed, or a request that never reaches the application, whose line nobody else would write. It sees each answer on
//! its way out, on the thread that gives it, so that whoever has answered knows what came of it. It ends with the last part
//! that holds it; the line is written then, because then all has been sent that will be. The lock is a leaf, and rules and
//! the event sink are called without it.

use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fairlead_http::{Request, ResponseHead};

use crate::events::{Answered, LogLevel};
use crate::front_shared::FrontShared;
use crate::routes::{Effects, HeaderChange, Verdict};

/// One request, from the rules on.
pub struct AccessRecord {
    shared: Arc<FrontShared>,
    request: Request,
    began: Instant,
    /// The front writes its line.
    is_ours: AtomicBool,
    is_concluded: AtomicBool,
    /// Of the answer; 0 if there is none.
    status: AtomicU16,
    /// Bytes of its body.
    sent: AtomicU64,
    wishes: Mutex<Wishes>,
}

#[derive(Default)]
struct Wishes {
    headers: Vec<HeaderChange>,
    variables: Vec<(String, Vec<u8>)>,
    no_line: bool,
    instead: Option<(u16, u64)>,
}

/// What the tables want of the line in the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// To be added to it, in order.
    pub variables: Vec<(String, Vec<u8>)>,
    /// There shall be none.
    pub no_line: bool,
    /// Another answer than the application's has gone out: its status, 0 for none, and the size of its body.
    pub instead: Option<(u16, u64)>,
}

/// What an answer is replaced by.
pub(crate) enum Instead {
    Answer(ResponseHead, Bytes),
    /// The connection closes without an answer.
    Cut,
}

impl AccessRecord {
    /// `effects`: of the table of requests. `is_ours`: the request never reaches the application.
    pub(crate) fn new(
        shared: Arc<FrontShared>,
        request: Request,
        effects: Effects,
        is_ours: bool,
    ) -> AccessRecord {
        AccessRecord {
            shared,
            request,
            began: Instant::now(),
            is_ours: AtomicBool::new(is_ours),
            is_concluded: AtomicBool::new(false),
            status: AtomicU16::new(0),
            sent: AtomicU64::new(0),
            wishes: Mutex::new(Wishes {
                headers: effects.headers,
                // Else the request takes them along to whoever writes the line.
                variables: if is_ours {
                    effects.log_variables
                } else {
                    Vec::new()
                },
                no_line: effects.no_log_line,
                instead: None,
            }),
        }
    }

    /// An answer with this status is on its way. What the table of errors wants instead; the table of responses sees what
    /// comes of it.
    pub(crate) fn see(&self, status: u16) -> Option<Instead> {
        let routes = &self.shared.settings.routes;
        let mut effects = Effects::default();
        let instead = match routes.judge(&self.request, status, &mut effects) {
            Verdict::Answer(head, body) => Some(Instead::Answer(head, body.into())),
            Verdict::Cut => Some(Instead::Cut),
            Verdict::Run | Verdict::Proxy(_) => None,
        };
        let replaced = match &instead {
            None => None,
            Some(Instead::Answer(head, body)) => Some((head.status, body.len() as u64)),
            Some(Instead::Cut) => Some((0, 0)),
        };
        let status = replaced.map_or(status, |(status, _)| status);
        self.lock().instead = replaced;
        if status != 0 {
            routes.respond(&self.request, status, &mut effects);
        }
        self.status.store(status, Ordering::Relaxed);
        self.take(effects);
        instead
    }

    /// The application will not answer it, as it had seemed.
    pub(crate) fn becomes_ours(&self) {
        self.is_ours.store(true, Ordering::Relaxed);
    }

    /// The front has answered by itself.
    pub(crate) fn told(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    /// So many bytes of the body went out.
    pub(crate) fn sent(&self, count: u64) {
        self.sent.fetch_add(count, Ordering::Relaxed);
    }

    /// What the rules want of the response's headers, in order.
    pub(crate) fn header_changes(&self) -> Vec<HeaderChange> {
        self.lock().headers.clone()
    }

    /// The response is complete: the last table sees the request, once, and what all of them want of its line is told.
    pub fn conclude(&self) -> Outcome {
        if !self.is_concluded.swap(true, Ordering::Relaxed) {
            let mut effects = Effects::default();
            let status = self.status.load(Ordering::Relaxed);
            self.shared
                .settings
                .routes
                .conclude(&self.request, status, &mut effects);
            self.take(effects);
        }
        let wishes = self.lock();
        Outcome {
            variables: wishes.variables.clone(),
            no_line: wishes.no_line,
            instead: wishes.instead,
        }
    }

    fn take(&self, effects: Effects) {
        for line in &effects.log {
            let line = format!("{}: {line}", self.request.peer());
            self.shared.events.log(LogLevel::Info, &line);
        }
        let mut wishes = self.lock();
        wishes.headers.extend(effects.headers);
        wishes.variables.extend(effects.log_variables);
        wishes.no_line |= effects.no_log_line;
    }

    fn lock(&self) -> MutexGuard<'_, Wishes> {
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The line of a request for which nobody has worked: its client has left before. `outcome`: what the rules for the end want
/// of it; what those before wanted stands in its notes.
pub(crate) fn write_unserved(shared: &FrontShared, request: &Request, outcome: Outcome, took: Duration) {
    let mut variables = Vec::new();
    let mut no_line = outcome.no_line;
    for (name, value) in request.notes() {
        if name == b"donotlog" {
            no_line = true;
        } else if let Some(name) = name.strip_prefix(b"logvar.") {
            variables.push((String::from_utf8_lossy(name).into_owned(), value.to_vec()));
        }
    }
    variables.extend(outcome.variables);
    if shared.settings.request_lines && !no_line {
        shared.events.answered(answered(request, 0, 0, took, variables));
    }
}

fn answered(
    request: &Request,
    status: u16,
    sent: u64,
    took: Duration,
    variables: Vec<(String, Vec<u8>)>,
) -> Answered {
    let mut about = Answered {
        peer: String::new(),
        method: String::new(),
        target: String::new(),
        protocol: String::new(),
        status,
        sent,
        took,
        variables,
    };
    request.for_each_cgi_variable(|name, value| {
        let field = match name {
            "REMOTE_ADDR" => &mut about.peer,
            "REQUEST_METHOD" => &mut about.method,
            "REQUEST_URI" => &mut about.target,
            "SERVER_PROTOCOL" => &mut about.protocol,
            _ => return,
        };
        *field = value.iter().map(|byte| char::from(*byte)).collect();
    });
    about
}

impl std::fmt::Debug for AccessRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessRecord")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

impl Drop for AccessRecord {
    fn drop(&mut self) {
        let outcome = self.conclude();
        if self.is_ours.load(Ordering::Relaxed) && self.shared.settings.request_lines && !outcome.no_line {
            let status = self.status.load(Ordering::Relaxed);
            let sent = self.sent.load(Ordering::Relaxed);
            let took = self.began.elapsed();
            let about = answered(&self.request, status, sent, took, outcome.variables);
            self.shared.events.answered(about);
        }
    }
}
