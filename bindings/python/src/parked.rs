//! Who waits in a hub, by token.
//!
//! A token is a slot and the number of its use. An event of an earlier wait finds another number and is dropped, so a kill
//! or a time-out needs no clean-up elsewhere. The lock is held for single steps only, never across a switch or a call.
//!
//! Time-outs are the slot's, not the wait's: a timer that is set stays until it is due and is asked then what it is for, so
//! that a unit which waits for each message with a time-out sets one timer in that time, not one for each message.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fairlead_engine::Token;
use pyo3::prelude::*;

/// Who waits, and so how it is told.
pub(crate) enum Unit {
    /// Switched to.
    Greenlet(Py<PyAny>),
    /// Called, on the hub, with True if the deadline passed.
    Callback(Py<PyAny>),
}

/// Why a parked unit runs again.
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
    slots: Vec<Slot>,
    free: Vec<u32>,
}

#[derive(Default)]
struct Slot {
    count: u32,
    unit: Option<Unit>,
    deadline_passed: bool,
    /// Until when the unit waits, if not for ever.
    deadline: Option<Instant>,
    /// The earliest timer that is set for the slot.
    timer: Option<Instant>,
}

/// What a timer that came due is for.
pub(crate) enum Due {
    /// The unit's time is over.
    Over(Unit),
    /// Its time is over later: set the timer for that long again.
    Later(Duration),
    /// Nobody waits there any more, or without a limit.
    Nothing,
}

/// The engine's timers count whole milliseconds and may be this much early.
const EARLY: Duration = Duration::from_millis(1);

impl Parked {
    /// The unit waits from now on, under the token.
    pub(crate) fn enter(&self, unit: Unit) -> Token {
        let mut table = self.lock();
        let index = table.free.pop().unwrap_or_else(|| {
            table.slots.push(Slot::default());
            (table.slots.len() - 1) as u32
        });
        let slot = &mut table.slots[index as usize];
        // The highest bit marks the tokens of threads.
        slot.count = slot.count.wrapping_add(1) & 0x7fff_ffff;
        slot.unit = Some(unit);
        slot.deadline_passed = false;
        slot.deadline = None;
        u64::from(slot.count) << 32 | u64::from(index)
    }

    /// Its wait is over; `None` if it was before.
    pub(crate) fn take(&self, token: Token) -> Option<Unit> {
        let mut table = self.lock();
        let unit = table.slot(token)?.unit.take()?;
        table.free.push(token as u32);
        Some(unit)
    }

    /// The unit waits until `deadline` at most. True if a timer has to be set for then, with [`Parked::timer_of`]'s token.
    pub(crate) fn limit(&self, token: Token, deadline: Instant) -> bool {
        let mut table = self.lock();
        let Some(slot) = table.slot(token) else {
            return false;
        };
        slot.deadline = Some(deadline);
        if slot.timer.is_some_and(|timer| timer <= deadline) {
            return false;
        }
        slot.timer = Some(deadline);
        true
    }

    /// The token of the timers of this token's slot.
    pub(crate) fn timer_of(token: Token) -> Token {
        u64::from(token as u32)
    }

    /// A slot's timer has come due.
    pub(crate) fn due(&self, timer: Token) -> Due {
        let mut table = self.lock();
        let Some(slot) = table.slots.get_mut(timer as usize) else {
            return Due::Nothing;
        };
        slot.timer = None;
        let (Some(_), Some(deadline)) = (&slot.unit, slot.deadline) else {
            return Due::Nothing;
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if left > EARLY {
            slot.timer = Some(deadline);
            return Due::Later(left);
        }
        slot.deadline_passed = true;
        let unit = slot.unit.take();
        table.free.push(timer as u32);
        unit.map_or(Due::Nothing, Due::Over)
    }

    /// The unit runs again. Asked before anyone else waits in the slot.
    pub(crate) fn leave(&self, token: Token) -> Woken {
        let mut table = self.lock();
        let Some(slot) = table.slot(token) else {
            return Woken::Event;
        };
        let unit = slot.unit.take();
        if unit.is_none() {
            return if slot.deadline_passed {
                Woken::Deadline
            } else {
                Woken::Event
            };
        }
        table.free.push(token as u32);
        drop(table); // before the unit, whose last reference this could be
        Woken::Other
    }

    /// Takes all greenlets. Callbacks are their makers' affair.
    pub(crate) fn take_greenlets(&self) -> Vec<Py<PyAny>> {
        let mut table = self.lock();
        let Table { slots, free } = &mut *table;
        let mut greenlets = Vec::new();
        for (index, slot) in slots.iter_mut().enumerate() {
            match slot.unit.take() {
                Some(Unit::Greenlet(unit)) => {
                    free.push(index as u32);
                    greenlets.push(unit);
                }
                other => slot.unit = other,
            }
        }
        greenlets
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn slot(&mut self, token: Token) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(token as u32 as usize)?;
        (slot.count == (token >> 32) as u32).then_some(slot)
    }
}
