//! Who waits in a hub, by token.
//!
//! A token is a key of a slab. An event of an earlier wait finds nothing under it and is dropped, so a kill or a time-out
//! needs no clean-up elsewhere. The lock is held for single steps only, never across a switch or a call.
//!
//! Time-outs are the place's, not the wait's: a timer that is set stays until it is due and is asked then what it is for, so
//! that a task which waits for each message with a time-out sets one timer in that time, not one for each message.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fairlead_engine::{Slab, Token};
use pyo3::prelude::*;

/// Who waits, and so how it is told.
pub(crate) enum Task {
    /// Switched to.
    Greenlet(Py<PyAny>),
    /// Called, on the hub, with True if the deadline passed.
    Callback(Py<PyAny>),
}

/// Why a parked task runs again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// Its event came: ask again.
    Event,
    /// Its deadline passed.
    Deadline,
    /// It was not the hub that switched to it, but the app: what it waits for still has its token.
    Other,
}

#[derive(Default)]
pub(crate) struct Parked {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    tasks: Slab<Task>,
    /// By the place in the slab.
    clocks: Vec<Clock>,
}

/// The time-outs of one place, whoever waits in it.
#[derive(Default)]
struct Clock {
    /// Until when its task waits, if not for ever.
    deadline: Option<Instant>,
    /// The earliest timer that is set.
    timer: Option<Instant>,
    /// The last task whose deadline passed.
    late: Option<Token>,
}

/// What a timer that came due is for.
pub(crate) enum Due {
    /// The task's time is over.
    Over(Task),
    /// Its time is over later: set the timer for that long again.
    Later(Duration),
    /// Nobody waits there any more, or without a limit.
    Nothing,
}

/// The engine's timers count whole milliseconds and may be this much early.
const EARLY: Duration = Duration::from_millis(1);

impl Parked {
    /// The task waits from now on, under the token.
    pub(crate) fn enter(&self, task: Task) -> Token {
        let mut table = self.lock();
        let token = table.tasks.insert(task);
        let place = Slab::<Task>::place_of(token);
        match table.clocks.get_mut(place) {
            Some(clock) => clock.deadline = None,
            None => table.clocks.resize_with(place + 1, Clock::default),
        }
        token
    }

    /// Its wait is over; `None` if it was before.
    pub(crate) fn take(&self, token: Token) -> Option<Task> {
        self.lock().tasks.remove(token)
    }

    /// The task waits until `deadline` at most. True if a timer has to be set for then, with [`Parked::timer_of`]'s token.
    pub(crate) fn limit(&self, token: Token, deadline: Instant) -> bool {
        let mut table = self.lock();
        if table.tasks.get(token).is_none() {
            return false;
        }
        let clock = &mut table.clocks[Slab::<Task>::place_of(token)];
        clock.deadline = Some(deadline);
        if clock.timer.is_some_and(|timer| timer <= deadline) {
            return false;
        }
        clock.timer = Some(deadline);
        true
    }

    /// The token of the timers of this token's place.
    pub(crate) fn timer_of(token: Token) -> Token {
        Slab::<Task>::place_of(token) as Token
    }

    /// A place's timer has come due.
    pub(crate) fn due(&self, timer: Token) -> Due {
        let mut table = self.lock();
        let Table { tasks, clocks } = &mut *table;
        let Some(clock) = clocks.get_mut(timer as usize) else {
            return Due::Nothing;
        };
        clock.timer = None;
        let (Some(token), Some(deadline)) = (tasks.key_at(timer as usize), clock.deadline) else {
            return Due::Nothing;
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if left > EARLY {
            clock.timer = Some(deadline);
            return Due::Later(left);
        }
        clock.late = Some(token);
        tasks.remove(token).map_or(Due::Nothing, Due::Over)
    }

    /// The task runs again. Asked before anyone else waits in the place.
    pub(crate) fn leave(&self, token: Token) -> Woken {
        let mut table = self.lock();
        let task = table.tasks.remove(token);
        let woken = match &task {
            Some(_) => Woken::Other,
            None if table.clocks[Slab::<Task>::place_of(token)].late == Some(token) => Woken::Deadline,
            None => Woken::Event,
        };
        drop(table); // before the task, whose last reference this could be
        woken
    }

    /// Takes all greenlets. Callbacks are their makers' affair.
    pub(crate) fn take_greenlets(&self) -> Vec<Py<PyAny>> {
        let taken = self
            .lock()
            .tasks
            .extract(|task| matches!(task, Task::Greenlet(_)));
        let greenlet = |task| match task {
            Task::Greenlet(task) => Some(task),
            Task::Callback(_) => None,
        };
        taken.into_iter().filter_map(greenlet).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
