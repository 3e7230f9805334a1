//! The end of the master, noticed by a thread that nothing of the application can hold up.
//!
//! A worker whose master has gone must leave, or it keeps the port taken and serves the old code for ever. Its own control
//! thread sees to that in good order; but it is a thread of the language, and the application may sit in C code with the
//! interpreter's lock. So this one stops accepting and closes the sessions at once, and ends the process when the time for
//! leaving in order is over. Before there is an engine nothing is served, and it ends the process without a wait.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use fairlead_websocket::CloseCode;
use fairlead_worker::{end_this_process, explain_lost_descriptors, wait_for_hang_up, DESCRIPTORS_ARE_LOST};

use crate::engine::Engine;

/// What a process that leaves by itself needs beyond its time: its tasks are killed, and get a second for that.
const GRACE: Duration = Duration::from_secs(2);

/// Watches from [`MasterWatch::start`] on, to the end of the process.
#[derive(Clone, Default)]
pub struct MasterWatch(Arc<Mutex<Option<Served>>>);

struct Served {
    engine: Weak<Engine>,
    /// The time for leaving in order.
    mercy: Duration,
    /// The process is leaving already, until then.
    until: Option<Instant>,
}

impl MasterWatch {
    /// `control` is a stream socket whose other end the master has. The process is a worker's from now on: a panic over a
    /// descriptor that somebody has closed ends it, with one line.
    ///
    /// # Errors
    /// The system's, when no thread is to be had.
    pub fn start(control: OwnedFd) -> std::io::Result<MasterWatch> {
        explain_lost_descriptors();
        let watch = MasterWatch::default();
        let here = watch.clone();
        std::thread::Builder::new()
            .name("fairlead-watch".into())
            .spawn(move || {
                if wait_for_hang_up(&control).is_ok() {
                    here.leave();
                }
            })?;
        Ok(watch)
    }

    /// Connections are served from now on; when the master goes they have `mercy` to end.
    pub fn serves(&self, engine: &Arc<Engine>, mercy: Duration) {
        *self.lock() = Some(Served {
            engine: Arc::downgrade(engine),
            mercy,
            until: None,
        });
    }

    /// The process has been told to leave, and has so much time.
    pub fn leaves_within(&self, time: Duration) {
        if let Some(served) = &mut *self.lock() {
            served.until = Some(Instant::now() + time);
        }
    }

    fn leave(&self) {
        let Some(engine) = self.lock().as_ref().map(|served| served.engine.upgrade()) else {
            end_this_process("the master is gone before this worker was ready: it ends");
        };
        if let Some(engine) = engine {
            engine.drain(CloseCode::GOING_AWAY, "", Duration::ZERO);
        }
        loop {
            // Asked again: the control thread may only now have heard of it, and set the time.
            let left = self.lock().as_mut().map_or(Duration::ZERO, |served| {
                let until = *served.until.get_or_insert_with(|| Instant::now() + served.mercy);
                (until + GRACE).saturating_duration_since(Instant::now())
            });
            if left.is_zero() {
                break;
            }
            std::thread::sleep(left.min(Duration::from_millis(100)));
        }
        end_this_process(
            "the master is gone, and this worker does not come to its own end (a call into C that keeps the interpreter's \
             lock?): it is cut",
        );
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Served>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Descriptors of the server were closed in this process: ends it, with one line.
pub fn descriptors_are_lost() -> ! {
    end_this_process(DESCRIPTORS_ARE_LOST)
}
