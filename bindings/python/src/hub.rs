//! The greenlet host's innermost loop: poll the engine, switch to each unit that has something to do.
//!
//! It stands here and not in Python because a hub in Python costs 10–25 % with many connections. A unit parks with a
//! token (slot and count); the hub keeps its greenlet in the slot until the event with this token comes. An event
//! of an earlier wait finds another count and is dropped, so a kill or a time-out needs no clean-up elsewhere.
//!
//! Greenlets are used again: a unit that has ended rests in the hub until the next request comes. A new greenlet costs
//! CPython an `mmap` and an `munmap` of its data stack, a quarter of a small request in a profile.
//!
//! Switch safety: the table is locked for single steps only; the greenlet to switch to is taken out of it first.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fairlead_engine as fl;
use fl::{Event, Token};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyTuple;

use crate::engine::Engine;
use crate::greenlet;
use crate::request::Request;
use crate::waiting::Waiter;

/// Greenlets that may rest at once. Each keeps its data stack; more would seldom be needed at the same time.
const RESTING: usize = 256;

/// Runs all units of one thread. `Hub(engine)`; `run(start)` calls `start(request)` in a greenlet of its own for each
/// request, until `stop()` and the last unit's end.
#[pyclass(frozen, module = "fairlead._engine")]
pub(crate) struct Hub {
    core: Arc<HubCore>,
}

pub(crate) struct HubCore {
    engine: Arc<fl::Engine>,
    greenlet: PyOnceLock<Py<PyAny>>,
    parked: Mutex<Parked>,
    resting: Mutex<Vec<Py<PyAny>>>,
    spawned: Mutex<Vec<Py<PyAny>>>,
    stopping: AtomicBool,
    killing: AtomicBool,
}

#[derive(Default)]
struct Parked {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

#[derive(Default)]
struct Slot {
    count: u32,
    unit: Option<Py<PyAny>>,
    deadline_passed: bool,
}

/// Why a parked unit runs again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// Its event came (or something else switched to it): ask again.
    Event,
    /// Its deadline passed.
    Deadline,
}

impl HubCore {
    fn lock(&self) -> MutexGuard<'_, Parked> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the current greenlet a token to wait under.
    pub(crate) fn prepare(&self, py: Python<'_>) -> PyResult<Token> {
        let unit = greenlet::current(py)?;
        if self.greenlet.get(py).is_none_or(|hub| hub.is(&unit)) {
            return Err(PyRuntimeError::new_err(
                "this call waits, and only a request's greenlet can wait: the hub itself must not stop",
            ));
        }
        let mut parked = self.lock();
        let index = parked.free.pop().unwrap_or_else(|| {
            parked.slots.push(Slot::default());
            (parked.slots.len() - 1) as u32
        });
        let slot = &mut parked.slots[index as usize];
        slot.count = slot.count.wrapping_add(1);
        slot.unit = Some(unit.unbind());
        slot.deadline_passed = false;
        Ok(u64::from(slot.count) << 32 | u64::from(index))
    }

    /// The unit does not wait after all. True if it still stood in the table.
    pub(crate) fn cancel(&self, token: Token) -> bool {
        self.take(token, false).is_some()
    }

    /// Switches to the hub until the token's event or the limit.
    pub(crate) fn park(&self, py: Python<'_>, token: Token, limit: Option<Duration>) -> PyResult<Woken> {
        if let Some(limit) = limit {
            self.engine.wake_at(limit, token);
        }
        let hub = self.greenlet.get(py).map(|hub| hub.bind(py).clone());
        let Some(hub) = hub else {
            return Err(PyRuntimeError::new_err("the hub does not run"));
        };
        let outcome = greenlet::switch(&hub, None);
        // Whoever switched here may not have been the hub (a kill, or the app's own switch).
        self.cancel(token);
        outcome?;
        let slot = token as u32 as usize;
        let deadline = self
            .lock()
            .slots
            .get(slot)
            .is_some_and(|s| s.count == (token >> 32) as u32 && s.deadline_passed);
        Ok(if deadline { Woken::Deadline } else { Woken::Event })
    }

    fn take(&self, token: Token, deadline: bool) -> Option<Py<PyAny>> {
        let index = token as u32;
        let mut parked = self.lock();
        let slot = parked.slots.get_mut(index as usize)?;
        if slot.count != (token >> 32) as u32 {
            return None;
        }
        let unit = slot.unit.take()?;
        slot.deadline_passed = deadline;
        parked.free.push(index);
        Some(unit)
    }

    fn handle(
        self: &Arc<Self>,
        py: Python<'_>,
        event: Event,
        start: &Bound<'_, PyAny>,
        hub: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let outcome = match event {
            Event::Wake(token) => self
                .take(token, false)
                .map(|unit| greenlet::switch(unit.bind(py), None)),
            Event::Deadline(token) => self
                .take(token, true)
                .map(|unit| greenlet::switch(unit.bind(py), None)),
            Event::Request(request) => {
                let request = Request::wrap(py, request, Waiter::Hub(Arc::clone(self)))?;
                let resting = self.resting().pop();
                let unit = match resting {
                    Some(unit) => {
                        // The next request begins with an empty context, as in a new greenlet.
                        let unit = unit.into_bound(py);
                        unit.setattr(pyo3::intern!(py, "gr_context"), py.None())?;
                        unit
                    }
                    None => greenlet::new(start, hub)?,
                };
                let arguments = PyTuple::new(py, [request])?;
                Some(greenlet::switch(&unit, Some(&arguments)))
            }
        };
        // `start` lets no exception of the app through; what comes here is the host's own trouble, or a unit's that was
        // killed before it began. One unit's trouble is not the hub's.
        if let Some(Err(error)) = outcome {
            if error.is_instance_of::<pyo3::exceptions::PyKeyboardInterrupt>(py) {
                return Err(error);
            }
            error.write_unraisable(py, Some(start));
        }
        Ok(())
    }

    fn resting(&self) -> MutexGuard<'_, Vec<Py<PyAny>>> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start_spawned(&self, py: Python<'_>, hub: &Bound<'_, PyAny>) -> PyResult<bool> {
        let spawned = std::mem::take(&mut *self.spawned.lock().unwrap_or_else(PoisonError::into_inner));
        let any = !spawned.is_empty();
        for run in spawned {
            let unit = greenlet::new(run.bind(py), hub)?;
            if let Err(error) = greenlet::switch(&unit, None) {
                error.write_unraisable(py, Some(run.bind(py)));
            }
        }
        Ok(any)
    }

    fn kill_all(&self, py: Python<'_>) {
        let units: Vec<_> = {
            let mut parked = self.lock();
            let Parked { slots, free } = &mut *parked;
            slots
                .iter_mut()
                .enumerate()
                .filter_map(|(index, slot)| {
                    let unit = slot.unit.take()?;
                    free.push(index as u32);
                    Some(unit)
                })
                .collect()
        };
        for unit in units {
            let unit = unit.bind(py);
            if greenlet::is_active(unit) {
                if let Err(error) = greenlet::kill(unit) {
                    error.write_unraisable(py, Some(unit));
                }
            }
        }
    }
}

#[pymethods]
impl Hub {
    #[new]
    fn new(py: Python<'_>, engine: &Bound<'_, Engine>) -> PyResult<Self> {
        greenlet::load(py)?;
        Ok(Self {
            core: Arc::new(HubCore {
                engine: engine.get().inner()?,
                greenlet: PyOnceLock::new(),
                parked: Mutex::default(),
                resting: Mutex::default(),
                spawned: Mutex::default(),
                stopping: AtomicBool::new(false),
                killing: AtomicBool::new(false),
            }),
        })
    }

    /// Runs until stopped: `start(request)` in a new greenlet for each request. Call it once, from the thread whose
    /// greenlets the units are to be.
    fn run(&self, py: Python<'_>, start: Bound<'_, PyAny>) -> PyResult<()> {
        let core = &self.core;
        let hub = greenlet::current(py)?;
        if core.greenlet.set(py, hub.clone().unbind()).is_err() {
            return Err(PyRuntimeError::new_err("this hub runs already, or has run"));
        }
        let mut events = Vec::new();
        loop {
            // Without releasing the GIL if something is there: under load that saves a contended lock per turn.
            core.engine.poll(&mut events, Some(Duration::ZERO));
            if events.is_empty() && !core.start_spawned(py, &hub)? {
                if core.stopping.load(Ordering::SeqCst) && core.engine.is_quiet() {
                    // Dropping a resting greenlet ends it, by GreenletExit inside its `rest`.
                    let resting = std::mem::take(&mut *core.resting());
                    drop(resting);
                    return Ok(());
                }
                if core.killing.swap(false, Ordering::SeqCst) {
                    core.kill_all(py);
                    continue;
                }
                // While stopping, the end of a closing connection is no event: look at it again soon.
                let limit = core
                    .stopping
                    .load(Ordering::SeqCst)
                    .then_some(Duration::from_millis(20));
                py.detach(|| core.engine.poll(&mut events, limit));
                py.check_signals()?;
            }
            for event in events.drain(..) {
                core.handle(py, event, &start, &hub)?;
            }
        }
    }

    /// Starts `run()` in a greenlet of its own with the hub's next turn. It holds no slot: `run` of the hub does not wait
    /// for it. From any thread.
    fn spawn(&self, run: Py<PyAny>) {
        self.core
            .spawned
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(run);
        self.core.engine.ring();
    }

    /// The calling unit has ended: rests until the hub has another request for it, and returns that; `None` when
    /// enough greenlets rest already, and this one should end.
    fn rest<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let unit = greenlet::current(py)?;
        let hub = self.core.greenlet.get(py).map(|hub| hub.bind(py).clone());
        let Some(hub) = hub.filter(|hub| !hub.is(&unit)) else {
            return Err(PyRuntimeError::new_err("only a unit of this hub can rest"));
        };
        {
            let mut resting = self.core.resting();
            if resting.len() >= RESTING {
                return Ok(None);
            }
            resting.push(unit.unbind());
        }
        greenlet::switch(&hub, None).map(Some)
    }

    /// `run` returns once no unit runs and no connection is closing any more.
    fn stop(&self) {
        self.core.stopping.store(true, Ordering::SeqCst);
        self.core.engine.ring();
    }

    /// Raises `GreenletExit` in every parked unit.
    fn kill(&self) {
        self.core.killing.store(true, Ordering::SeqCst);
        self.core.engine.ring();
    }

    /// Parks the calling unit for `seconds`.
    fn sleep(&self, py: Python<'_>, seconds: f64) -> PyResult<()> {
        let limit = crate::waiting::seconds(seconds)?;
        let deadline = std::time::Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            let token = self.core.prepare(py)?;
            if self.core.park(py, token, Some(left))? == Woken::Deadline || left.is_zero() {
                return Ok(());
            }
        }
    }
}
