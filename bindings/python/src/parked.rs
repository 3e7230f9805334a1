//! Who waits in a hub, by token.
//!
//! A token is a slot and the number of its use. An event of an earlier wait finds another number and is dropped, so a kill
//! or a time-out needs no clean-up elsewhere. The lock is held for single steps only, never across a switch or a call.

use std::sync::{Mutex, MutexGuard, PoisonError};

use fairlead_engine::Token;
use pyo3::prelude::*;

/// Who waits, and so how it is told.
pub(crate) enum Unit {
    /// Switched to.
    Greenlet(Py<PyAny>),
    /// Called, on the hub, with True if the deadline passed.
    Callback(Py<PyAny>),
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
}

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
        u64::from(slot.count) << 32 | u64::from(index)
    }

    /// Its wait is over; `None` if it was before.
    pub(crate) fn take(&self, token: Token, deadline: bool) -> Option<Unit> {
        let mut table = self.lock();
        let slot = table.slot(token)?;
        let unit = slot.unit.take()?;
        slot.deadline_passed = deadline;
        table.free.push(token as u32);
        Some(unit)
    }

    /// How the last wait under this token ended. Asked before anyone else waits in the slot.
    pub(crate) fn deadline_passed(&self, token: Token) -> bool {
        self.lock().slot(token).is_some_and(|slot| slot.deadline_passed)
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
