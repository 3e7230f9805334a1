//! The front as a whole: the handle that others hold, and its thread.
//!
//! One thread with a single-threaded tokio runtime does all the work, because a process serves one application and HTTP is
//! not its bottleneck; more processes give more fronts.

use std::io;
use std::sync::{mpsc, Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::accept::{self, AcceptingListener, BoundListener, Server};
use crate::drain::AcceptTask;
use crate::events::EventSink;
use crate::front_shared::{FrontShared, FrontStatistics};
use crate::handoff::Handoff;
use crate::settings::FrontSettings;

/// The running front.
pub struct Front {
    server: Arc<Server>,
    stop: Arc<Stop>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Front {
    /// Starts the thread `fairlead-front` and accepts from `listeners`.
    pub fn start<H: Handoff>(
        listeners: Vec<impl Into<BoundListener>>,
        settings: FrontSettings,
        handoff: Arc<H>,
    ) -> io::Result<Front> {
        let events: Arc<dyn EventSink> = Arc::<H>::clone(&handoff);
        let shared = Arc::new(FrontShared::new(settings, events)?);
        let server = Arc::new(Server::new(shared, handoff));
        // Weak: wakers of tasks that wait there keep the runtime, and with it this.
        let parking = Arc::downgrade(&server);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .on_thread_park(move || {
                if let Some(server) = parking.upgrade() {
                    server.shared.events.turn_ended();
                    server.tell_load();
                }
            })
            .build()?;
        let inside = runtime.enter();
        let listeners = listeners
            .into_iter()
            .map(|bound| AcceptingListener::new(bound.into()))
            .collect::<io::Result<Vec<_>>>()?;
        drop(inside);
        let stop = Arc::<Stop>::default();
        let (here, stopping) = (Arc::clone(&server), Arc::clone(&stop));
        let (ready, started) = mpsc::channel();
        let run = move || {
            runtime.block_on(async {
                for listener in listeners {
                    let mark = AcceptTask::new(&here.drain);
                    let task = tokio::spawn(accept::accept(listener, Arc::clone(&here), mark));
                    here.drain.add_acceptor(task.abort_handle());
                }
                let _ = ready.send(());
                run(&here, &stopping).await;
            });
            // Step 5 of the drain: what is left is dropped with the runtime.
            drop(runtime);
            here.tell_left();
        };
        let thread = std::thread::Builder::new()
            .name("fairlead-front".into())
            .spawn(run)?;
        // The acceptors must be on the roster before a drain can be asked for.
        let _ = started.recv();
        Ok(Front {
            server,
            stop,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// The handoff may have room again. From any thread; one atomic load when the front is not waiting for it.
    pub fn room_available(&self) {
        self.server.gate.open();
    }

    /// Gathers the wake-ups of the commands that follow, for a worker that is about to run a batch of units on one thread.
    /// [`Front::uncork`] must follow, from this thread or another, within the time that a client may wait.
    pub fn cork(&self) {
        self.server.shared.wakes.cork();
    }

    /// Wakes the front for what was gathered since [`Front::cork`], and ends the gathering. From any thread.
    pub fn uncork(&self) {
        self.server.shared.wakes.uncork();
    }

    /// Closes the listeners. Requests in flight, and those that come within a second, get `Connection: close`; then the
    /// connections close.
    pub fn stop_accepting(&self) {
        self.server.drain.begin();
    }

    /// Stops accepting, waits for connections in flight for at most `deadline`, cuts the rest and joins the thread.
    ///
    /// Must not be called from inside a [`Handoff`] method: those run on the thread that is joined.
    pub fn stop(&self, deadline: Duration) {
        self.stop_accepting();
        self.stop.after(deadline);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }

    /// True once a drain is complete: no connection is here, and none can be accepted any more.
    pub fn is_empty(&self) -> bool {
        self.server.drain.is_over()
    }

    /// The clients whose connections are here, as the log names them.
    pub fn peers(&self) -> Vec<String> {
        self.server.drain.peers()
    }

    /// The figures of this moment.
    pub fn statistics(&self) -> FrontStatistics {
        let active = self.server.drain.active() as u64;
        self.server.shared.counters.statistics(active)
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.stop(self.server.shared.settings.shutdown_grace);
    }
}

impl std::fmt::Debug for Front {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Front")
            .field("statistics", &self.statistics())
            .finish_non_exhaustive()
    }
}

/// When the thread shall end.
#[derive(Default)]
struct Stop {
    deadline: Mutex<Option<Instant>>,
    asked: Notify,
}

impl Stop {
    fn after(&self, deadline: Duration) {
        let mut stop = self.deadline.lock().unwrap_or_else(PoisonError::into_inner);
        if stop.is_none() {
            // A deadline beyond what the clock can express is one that is never reached.
            let now = Instant::now();
            *stop = Some(
                now.checked_add(deadline)
                    .unwrap_or(now + Duration::from_secs(86_400 * 365)),
            );
            self.asked.notify_one();
        }
    }
}

/// The main task: starts the helpers, waits for the stop and then for the connections.
async fn run(server: &Arc<Server>, stop: &Stop) {
    let helper = Arc::clone(server);
    tokio::spawn(async move { helper.shared.wakes.run().await });
    let helper = Arc::clone(server);
    tokio::spawn(async move { helper.drain.sweep().await });
    stop.asked.notified().await;
    let deadline = *stop.deadline.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(deadline) = deadline {
        let _ = tokio::time::timeout_at(deadline.into(), server.drain.wait_empty()).await;
    }
}
