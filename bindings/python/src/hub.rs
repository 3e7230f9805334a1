//! The greenlet runner's innermost loop: poll the engine, switch to each task that has something to do. It stays whole,
//! since all of it is one state: who waits, who rests, and which greenlet is the hub.
//!
//! It stands here and not in Python because a hub in Python costs 10–25 % with many connections. A task parks with a
//! token (`parker`); the table keeps its greenlet until the event with this token comes (`parked`).
//!
//! The hub may be the loop itself ([`Hub::run`]), or live on another one's (gevent's hub, a greenlet that runs asyncio):
//! then [`Hub::turn`] is that loop's callback whenever a descriptor of the engine is ready. Threads that a task
//! has started do not wait here: the hub may be waiting for them.
//!
//! Greenlets are used again: a task that has ended rests in the hub until the next request comes. A new greenlet costs
//! CPython an `mmap` and an `munmap` of its data stack, a quarter of a small request in a profile.
//!
//! Switch safety: the table is locked for single steps only; the greenlet to switch to is taken out of it first.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fairlead_engine as fl;
use fl::{Batch, Event};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::channels::offset;
use crate::descriptors;
use crate::engine::Engine;
use crate::greenlet;
use crate::limit::Limit;
use crate::parked::{Due, Task, Woken};
use crate::parker::Parker;
use crate::request::Request;
use crate::session::Session;
use crate::subscription::Subscription;
use crate::waiting::Waiter;

/// Greenlets that may rest at once. Each keeps its data stack; more would seldom be needed at the same time.
const RESTING: usize = 256;

/// Runs all tasks of one thread. `Hub(engine)`; `run(start)` calls `start(request)` in a greenlet of its own for each
/// request, until `stop()` and the last task's end.
#[pyclass(frozen, module = "fairlead._engine")]
pub(crate) struct Hub {
    parker: Arc<Parker>,
    resting: Mutex<Vec<Py<PyAny>>>,
    spawned: Mutex<Vec<Py<PyAny>>>,
    ending: Mutex<Vec<(Py<PyAny>, Py<Request>)>>,
    stopping: AtomicBool,
    killing: AtomicBool,
    /// The batch of the last [`Hub::turn`], empty, for its memory.
    spare: Mutex<Batch>,
    /// `start(request)` is called on the hub and returns soon, instead of being a greenlet's life.
    starts_itself: bool,
}

impl Hub {
    fn engine(&self) -> &fl::Engine {
        self.parker.engine()
    }

    fn waiter(&self) -> Waiter {
        Waiter::Hub(Arc::clone(&self.parker))
    }

    /// Goes on with the tasks that a poll has told of, and starts one for each request. Leaves the batch empty, unless an
    /// exception ends the hub.
    fn handle(
        &self,
        py: Python<'_>,
        batch: &mut Batch,
        start: &Bound<'_, PyAny>,
        hub: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        for event in batch.events.drain(..) {
            report(py, self.go_on(py, event), start);
        }
        for request in batch.requests.drain(..) {
            let request = Request::wrap(py, request, self.waiter())?;
            report(py, self.begin(py, request, start, hub), start);
        }
        Ok(())
    }

    fn go_on(&self, py: Python<'_>, event: Event) -> PyResult<()> {
        let parked = &self.parker.parked;
        let (task, late) = match event {
            Event::Wake(token) => match parked.take(token) {
                Some(task) => (task, false),
                None => return Ok(()),
            },
            Event::Deadline(timer) => match parked.due(timer) {
                Due::Over(task) => (task, true),
                Due::Later(left) => {
                    self.engine().wake_at(left, timer);
                    return Ok(());
                }
                Due::Nothing => return Ok(()),
            },
        };
        match task {
            Task::Greenlet(task) => self
                .parker
                .enter(py, || greenlet::switch(task.bind(py), None))
                .map(drop),
            Task::Callback(callback) => callback.bind(py).call1((late,)).map(drop),
        }
    }

    fn begin<'py>(
        &self,
        py: Python<'py>,
        request: Bound<'py, Request>,
        start: &Bound<'py, PyAny>,
        hub: &Bound<'py, PyAny>,
    ) -> PyResult<()> {
        if self.starts_itself {
            return start.call1((request,)).map(drop);
        }
        let resting = self.resting().pop();
        let task = match resting {
            Some(task) => {
                // The next request begins with an empty context, as in a new greenlet.
                let task = task.into_bound(py);
                task.setattr(pyo3::intern!(py, "gr_context"), py.None())?;
                task
            }
            None => greenlet::new(start, hub)?,
        };
        let arguments = PyTuple::new(py, [request])?;
        self.parker
            .enter(py, || greenlet::switch(&task, Some(&arguments)))
            .map(drop)
    }

    fn resting(&self) -> MutexGuard<'_, Vec<Py<PyAny>>> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spare(&self) -> MutexGuard<'_, Batch> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn attached<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let hub = self.parker.hub(py).cloned();
        hub.ok_or_else(|| PyRuntimeError::new_err("the hub has no loop yet; attach it first"))
    }

    /// Stopped, and nothing is left to do. Ends the greenlets that rest.
    fn is_over(&self) -> bool {
        let over = self.stopping.load(Ordering::SeqCst) && self.engine().is_quiet();
        if over {
            // Dropping a resting greenlet ends it, by GreenletExit inside its `rest`.
            let resting = std::mem::take(&mut *self.resting());
            drop(resting);
        }
        over
    }

    /// Ends the tasks of `end`, unless their requests are over: a greenlet serves others then.
    fn end_tasks(&self, py: Python<'_>) {
        let ending = std::mem::take(&mut *self.ending.lock().unwrap_or_else(PoisonError::into_inner));
        for (task, request) in ending {
            let task = task.bind(py);
            // Whose request goes on elsewhere, in a coroutine, rests here already.
            let rests = self.resting().iter().any(|resting| resting.is(task));
            if !rests && !request.get().request.is_complete() && greenlet::is_active(task) {
                if let Err(error) = greenlet::kill(task) {
                    error.write_unraisable(py, Some(task));
                }
            }
        }
    }

    fn start_spawned(&self, py: Python<'_>, hub: &Bound<'_, PyAny>) -> PyResult<()> {
        self.end_tasks(py);
        if self.nothing_spawned() {
            return Ok(());
        }
        let spawned = std::mem::take(&mut *self.spawned.lock().unwrap_or_else(PoisonError::into_inner));
        for run in spawned {
            let task = greenlet::new(run.bind(py), hub)?;
            if let Err(error) = self.parker.enter(py, || greenlet::switch(&task, None)) {
                error.write_unraisable(py, Some(run.bind(py)));
            }
        }
        Ok(())
    }

    fn nothing_spawned(&self) -> bool {
        self.spawned
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_empty()
    }

    fn kill_all(&self, py: Python<'_>) {
        for task in self.parker.parked.take_greenlets() {
            let task = task.bind(py);
            if greenlet::is_active(task) {
                if let Err(error) = self.parker.enter(py, || greenlet::kill(task)) {
                    error.write_unraisable(py, Some(task));
                }
            }
        }
    }
}

/// What a task ended with, seen from the hub. `start` lets no exception of the app through; what comes here is the
/// runner's own trouble, a task's that was killed before it began, that of a greenlet of the app's own, whose parent is the
/// hub, or of a signal handler of the app's. One task's trouble is not the hub's, whatever it is: an exit or an interrupt
/// would end the worker with everybody's connections.
fn report(py: Python<'_>, outcome: PyResult<()>, start: &Bound<'_, PyAny>) {
    if let Err(error) = outcome {
        error.write_unraisable(py, Some(start));
    }
}

#[pymethods]
impl Hub {
    /// `starts_itself`: `start(request)` begins the task in its own way and returns at once.
    #[new]
    #[pyo3(signature = (engine, *, starts_itself=false))]
    fn new(py: Python<'_>, engine: &Bound<'_, Engine>, starts_itself: bool) -> PyResult<Self> {
        greenlet::load(py)?;
        Ok(Self {
            parker: Arc::new(Parker::new(engine.get().inner()?)),
            resting: Mutex::default(),
            spawned: Mutex::default(),
            ending: Mutex::default(),
            stopping: AtomicBool::new(false),
            killing: AtomicBool::new(false),
            spare: Mutex::default(),
            starts_itself,
        })
    }

    /// What ends a task from outside: the class `greenlet.GreenletExit`.
    #[getter]
    fn task_exit<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        greenlet::exit(py)
    }

    /// A membership of a channel, whose messages this hub's tasks take. `since`: an offset to begin behind, with what the
    /// log has. At most `limit` messages wait; then the "oldest" or the "newest" one is dropped.
    fn subscribe(
        &self,
        py: Python<'_>,
        name: &str,
        #[pyo3(from_py_with = offset)] since: Option<u64>,
        limit: &Bound<'_, PyAny>,
        drops: &str,
    ) -> PyResult<Subscription> {
        let engine = Arc::clone(self.parker.engine());
        Subscription::start(py, engine, self.waiter(), name, since, limit, drops)
    }

    /// Runs until stopped: `start(request)` in a new greenlet for each request. Call it once, from the thread whose
    /// greenlets the tasks are to be.
    fn run(&self, py: Python<'_>, start: Bound<'_, PyAny>) -> PyResult<()> {
        let hub = greenlet::current(py)?;
        self.parker.live_in(py, &hub)?;
        let mut batch = Batch::default();
        loop {
            // Without releasing the GIL if something is there: under load that saves a contended lock per turn.
            self.engine().poll(&mut batch, Some(Duration::ZERO));
            self.start_spawned(py, &hub)?;
            if batch.is_empty() {
                if self.killing.swap(false, Ordering::SeqCst) {
                    self.kill_all(py);
                    continue;
                }
                if self.is_over() {
                    return Ok(());
                }
                // While stopping, the end of a closing connection is no event: look at it again soon.
                let limit = self
                    .stopping
                    .load(Ordering::SeqCst)
                    .then_some(Duration::from_millis(20));
                py.detach(|| self.engine().poll(&mut batch, limit));
                report(py, py.check_signals(), &start);
                if fl::is_forked() {
                    // A task of the parent's that came back here: the parent goes on with it, and nobody here does.
                    return Ok(());
                }
            }
            self.handle(py, &mut batch, &start, &hub)?;
        }
    }

    /// For a hub on another loop: tasks switch to `greenlet`, the one that runs that loop (the calling one if none is
    /// given), when they park. Answers the descriptors to watch for reading, level-triggered; a first `turn` has to follow.
    /// `asyncio_loop` is that loop if it is asyncio's: verbs can be awaited then.
    #[pyo3(signature = (greenlet=None, *, asyncio_loop=None))]
    fn attach(
        &self,
        py: Python<'_>,
        greenlet: Option<Bound<'_, PyAny>>,
        asyncio_loop: Option<Py<PyAny>>,
    ) -> PyResult<(i32, i32)> {
        if let Some(asyncio_loop) = asyncio_loop {
            self.parker.tasks.run_on(py, asyncio_loop)?;
        }
        let greenlet = greenlet.map_or_else(|| greenlet::current(py), Ok)?;
        self.parker.live_in(py, &greenlet)?;
        let [readiness, waker] = self.engine().descriptors()?;
        Ok((readiness, waker))
    }

    /// One turn, to be called on the attached greenlet when a descriptor is readable: starts tasks by `start(request)` and
    /// goes on with those whose wait is over. False once stopped and all tasks have ended. After it, and after what it
    /// woke has run, `leave`.
    fn turn(&self, py: Python<'_>, start: &Bound<'_, PyAny>) -> PyResult<bool> {
        let hub = self.attached(py)?;
        let mut batch = std::mem::take(&mut *self.spare());
        self.engine().poll(&mut batch, Some(Duration::ZERO));
        self.start_spawned(py, &hub)?;
        self.handle(py, &mut batch, start, &hub)?;
        *self.spare() = batch;
        if self.killing.swap(false, Ordering::SeqCst) {
            self.kill_all(py);
        }
        Ok(!self.is_over())
    }

    /// True if a turn has ended the waits of tasks: `resume_tasks` in the loop's next round, and `leave` after it.
    #[getter]
    fn has_woken_tasks(&self) -> bool {
        self.parker.tasks.has_woken()
    }

    /// Tasks whose waits are over go on, in here.
    fn resume_tasks(&self, py: Python<'_>) {
        self.parker.tasks.resume(py);
    }

    /// The loop goes on with something else: what was sent leaves, and from here on a change makes a descriptor readable.
    fn leave(&self) {
        self.engine().leave_to_foreign_loop();
    }

    /// Parks the calling task until a descriptor is ready, for at most `timeout` seconds: `readable` and `writable` hold
    /// descriptors of the application's own, `session` waits for a message too. Answers the first descriptor found ready, -1
    /// for the session, None after the time-out.
    ///
    /// Raises OSError for a descriptor that cannot be polled.
    #[pyo3(signature = (readable, writable, session=None, timeout=None))]
    fn wait_descriptors(
        &self,
        py: Python<'_>,
        readable: Vec<i32>,
        writable: Vec<i32>,
        session: Option<&Bound<'_, Session>>,
        timeout: Option<f64>,
    ) -> PyResult<Option<i32>> {
        let limit = Limit::seconds(timeout)?;
        let parker = &*self.parker;
        if parker.is_elsewhere() {
            return Err(PyRuntimeError::new_err(
                "tasks wait like this on the hub's thread only; a thread of its own can use select or poll",
            ));
        }
        let connection = session.map(|session| session.get().connection());
        let token = parker.prepare(py)?;
        let watches = descriptors::watch(parker.engine(), token, &readable, &writable).inspect_err(|_| {
            parker.cancel(token);
        })?;
        match connection.map(|connection| connection.wait_receive(token)) {
            None | Some(fl::Waiting::Registered) => {}
            Some(fl::Waiting::Ready) => {
                parker.cancel(token);
                return Ok(connection
                    .filter(|connection| connection.shows_something())
                    .map(|_| -1));
            }
            Some(fl::Waiting::Taken) => {
                parker.cancel(token);
                return Err(Session::taken());
            }
        }
        let outcome = parker.park(py, token, limit);
        if let Some(connection) = connection {
            connection.forget(token);
        }
        // However the wait has ended, by another descriptor or an exception: the connection's own says what is there.
        let message = connection.is_some_and(|connection| connection.shows_something());
        outcome?;
        let ready = watches.iter().find(|(_, watch)| watch.has_fired());
        Ok(ready.map(|(descriptor, _)| *descriptor).or(message.then_some(-1)))
    }

    /// Starts `run()` in a greenlet of its own with the hub's next turn. It holds no slot: `run` of the hub does not wait
    /// for it. From any thread.
    fn spawn(&self, run: Py<PyAny>) {
        self.spawned
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(run);
        self.engine().wake();
    }

    /// The calling task has ended: rests until the hub has another request for it, and returns that; `None` when this
    /// greenlet should end: enough rest already, or the application has kept it, to switch to it some day. Such a late
    /// switch must find a dead greenlet, and not the next request's.
    fn rest<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let task = greenlet::current(py)?;
        let Some(hub) = self.parker.hub(py).filter(|hub| !hub.is(&task)) else {
            return Err(PyRuntimeError::new_err("only a task of this hub can rest"));
        };
        if greenlet::is_kept_by_others(&task) {
            return Ok(None);
        }
        {
            let mut resting = self.resting();
            if resting.len() >= RESTING {
                return Ok(None);
            }
            resting.push(task.unbind());
        }
        greenlet::switch(hub, None).map(Some)
    }

    /// The calling greenlet.
    #[staticmethod]
    fn current(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        greenlet::current(py)
    }

    /// Raises `GreenletExit` in the greenlet `task` where it waits, with the hub's next turn, if `request` is not over by
    /// then. From any thread.
    fn end(&self, task: Py<PyAny>, request: Py<Request>) {
        self.ending
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((task, request));
        self.engine().wake();
    }

    /// `run` returns once no task runs and no connection is closing any more.
    fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.engine().wake();
    }

    /// Raises `GreenletExit` in every parked task.
    fn kill(&self) {
        self.killing.store(true, Ordering::SeqCst);
        self.engine().wake();
    }

    /// Parks the calling task for `seconds`.
    fn sleep(&self, py: Python<'_>, seconds: f64) -> PyResult<()> {
        let limit = Limit::seconds(Some(seconds))?;
        loop {
            let token = self.parker.prepare(py)?;
            if self.parker.park(py, token, limit)? == Woken::Deadline || limit.has_passed() {
                return Ok(());
            }
        }
    }
}
