//! The control socket: lines of JSON to the master and from it, and the thread that obeys.
//!
//! A message leaves whole or not at all. A master that takes nothing for a second is treated as gone: what half left could be
//! followed by nothing that it understands.

use std::io::{BufRead, BufReader, Error, ErrorKind, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use fairlead_engine as fl;
use fl::CloseCode;
use serde_json::{json, Value};

use crate::engine::Shared;
use crate::signals::Blocked;
use crate::status::{Failure, FL_ERR_SYSTEM};

/// The variable that tells a worker the number of its control socket (`control_protocol.py`).
const CONTROL_FD: &str = "FAIRLEAD_CONTROL_FD";
const MASTER_READS: Duration = Duration::from_secs(1);
/// WebSockets that are closed in a second, as in `worker/drain.py`.
const CLOSED_A_SECOND: f64 = 2000.0;
const LOOK_EVERY: Duration = Duration::from_millis(20);

pub(super) struct Control {
    /// `None` once the master is gone.
    sending: Mutex<Option<UnixStream>>,
    /// The thread's, once it runs.
    reading: Mutex<Option<BufReader<UnixStream>>>,
    engine: Mutex<Option<Weak<Shared>>>,
    ended: AtomicBool,
    /// When the process leaves, whatever it does.
    deadline: Mutex<Option<Instant>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Control {
    pub(super) fn from_environment() -> Result<Option<Self>, Failure> {
        let Ok(number) = std::env::var(CONTROL_FD) else {
            return Ok(None);
        };
        let descriptor: i32 = number
            .parse()
            .ok()
            // SAFETY: it asks only; a number that is not open is refused.
            .filter(|&fd| fd > 2 && unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } == 0)
            .ok_or_else(|| {
                Failure::usage(format!(
                    "{CONTROL_FD} is {number}, and that is no open descriptor"
                ))
            })?;
        // What the program starts is no worker. SAFETY: before the program has threads, as `fl_worker_join` says.
        unsafe { libc::unsetenv(c"FAIRLEAD_CONTROL_FD".as_ptr()) };
        // SAFETY: open, and inherited for this one purpose.
        let socket = UnixStream::from(unsafe { OwnedFd::from_raw_fd(descriptor) });
        let system = |error| Failure::system(&error);
        socket.set_write_timeout(Some(MASTER_READS)).map_err(system)?;
        let reading = BufReader::new(socket.try_clone().map_err(system)?);
        Ok(Some(Self {
            sending: Mutex::new(Some(socket)),
            reading: Mutex::new(Some(reading)),
            engine: Mutex::default(),
            ended: AtomicBool::new(false),
            deadline: Mutex::default(),
        }))
    }

    pub(super) fn first_line(&self) -> Result<Value, Failure> {
        let mut reading = locked(&self.reading);
        let line = reading.as_mut().and_then(|reading| read(reading).ok());
        line.ok_or_else(|| Failure::new(FL_ERR_SYSTEM, "the master has gone before it said what to do"))
    }

    pub(super) fn tell(&self, message: &Value) {
        let mut sending = locked(&self.sending);
        let line = format!("{message}\n");
        if sending
            .as_mut()
            .is_some_and(|socket| socket.write_all(line.as_bytes()).is_err())
        {
            *sending = None;
        }
    }

    pub(super) fn serves(&self, engine: &Arc<Shared>) {
        *locked(&self.engine) = Some(Arc::downgrade(engine));
    }

    pub(super) fn has_engine(&self) -> bool {
        locked(&self.engine).is_some()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    fn shared(&self) -> Option<Arc<Shared>> {
        locked(&self.engine).as_ref()?.upgrade()
    }

    pub(super) fn leave(&self, within: Duration) {
        if let Some(shared) = self.shared() {
            shared.dismiss();
            shared.engine.stop(within);
        }
        self.ended.store(true, Ordering::SeqCst);
    }

    /// A stop may come again with less time; the first one drains, and a later "stop" closes those whose turn has yet to come.
    fn stop(self: &Arc<Self>, reason: &str, left_s: f64, spread_s: Option<f64>) {
        let left = Duration::try_from_secs_f64(left_s)
            .unwrap_or(Duration::ZERO)
            .min(Duration::from_secs(1 << 30));
        let ends = Instant::now() + left;
        let is_first = {
            let mut deadline = locked(&self.deadline);
            let is_first = deadline.is_none();
            *deadline = Some(deadline.map_or(ends, |before| before.min(ends)));
            is_first
        };
        let Some(shared) = self.shared() else { return };
        if reason == "reload" && is_first {
            #[allow(clippy::cast_precision_loss)] // far below 2^53
            let sessions = shared.engine.busy().1 as f64;
            let spread_s = spread_s.map_or((sessions / CLOSED_A_SECOND).min(left_s / 2.0), |wanted| {
                wanted.min(left_s)
            });
            let spread = Duration::try_from_secs_f64(spread_s).unwrap_or(Duration::ZERO);
            // 1012: the service comes back, 1001: it goes away (RFC 6455 §7.4.1, IANA).
            shared.engine.drain(CloseCode(1012), "", spread);
        } else if is_first || reason == "stop" {
            shared.engine.drain(CloseCode(1001), "", Duration::ZERO);
        }
        drop(shared);
        if is_first {
            let own = Arc::clone(self);
            if std::thread::Builder::new()
                .name("fairlead-end".into())
                .spawn(move || own.end_when_quiet())
                .is_err()
            {
                self.end_when_quiet();
            }
        }
    }

    fn end_when_quiet(&self) {
        while !self.has_ended() {
            let Some(shared) = self.shared() else { return };
            if shared.engine.is_quiet() {
                self.ended.store(true, Ordering::SeqCst);
                shared.dismiss();
                shared.engine.wake();
                return;
            }
            drop(shared);
            if locked(&self.deadline).is_some_and(|deadline| deadline <= Instant::now()) {
                eprintln!("the time to leave is over; this worker leaves without what has not ended");
                // SAFETY: it does not return; nothing of the program's may hold up the end.
                unsafe { libc::_exit(0) };
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

/// Starts the thread that obeys the master.
pub(super) fn obey(control: &Arc<Control>, mercy_s: f64, spread_s: Option<f64>) -> std::io::Result<()> {
    let Some(mut reading) = locked(&control.reading).take() else {
        return Err(Error::new(ErrorKind::AlreadyExists, "this worker obeys already"));
    };
    let own = Arc::clone(control);
    let _blocked = Blocked::all()?; // the threads of this worker take no signals
    std::thread::Builder::new()
        .name("fairlead-control".into())
        .spawn(move || {
            while let Ok(message) = read(&mut reading) {
                match message["command"].as_str() {
                    Some("ping") => own.tell(&json!({"event": "pong"})),
                    Some("stop") => {
                        let left_s = message["deadline_s"].as_f64().unwrap_or(0.0);
                        own.stop(message["reason"].as_str().unwrap_or("stop"), left_s, spread_s);
                    }
                    _ => {}
                }
            }
            if !own.has_ended() && locked(&own.deadline).is_none() {
                eprintln!("the master is gone; this worker leaves too");
                own.stop("stop", mercy_s, None);
            }
        })?;
    Ok(())
}

fn read(reading: &mut BufReader<UnixStream>) -> std::io::Result<Value> {
    let mut line = String::new();
    if reading.read_line(&mut line)? == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_str(&line)?)
}
