//! Who counts as a member: joining, leaving, and the members of processes that have ended.
//!
//! Joining takes the region's lock and waits for it as long as its caller likes. Leaving never waits: while somebody has
//! the lock it is noted, and done with the next [`Channels::settle`].

use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use crate::channels::Channels;
use crate::directory::ChannelId;
use crate::error::ChannelError;
use crate::forked::is_forked;
use crate::history::Joined;
use crate::layout::{worker, Layout, WORKERS};
use crate::lock::Held;
use crate::region::this_process;

impl Channels {
    /// Counts one more member of this worker.
    pub(crate) fn join(&self, place: usize, name: &str, patience: Duration) -> Result<Joined, ChannelError> {
        let known = self.known(name)?;
        let held = self.region.lock(patience)?;
        self.add_member(&held, place, name, known)
    }

    /// [`Channels::join`] without waiting; `None` if somebody has the lock.
    pub(crate) fn try_join(&self, place: usize, name: &str) -> Result<Option<Joined>, ChannelError> {
        let known = self.known(name)?;
        match self.region.try_lock()? {
            None => Ok(None),
            Some(held) => self.add_member(&held, place, name, known).map(Some),
        }
    }

    fn add_member(
        &self,
        _held: &Held<'_>,
        place: usize,
        name: &str,
        known: Option<ChannelId>,
    ) -> Result<Joined, ChannelError> {
        let id = self.current(name, known)?;
        let directory = self.region.directory();
        let members = directory.members_of(id.index(), place);
        directory.set_members(id.index(), place, members + 1);
        Ok(self.facts_of(id))
    }

    /// Counts one member less, now or, if somebody has the lock, with the next [`Channels::settle`]. False if that is needed.
    pub(crate) fn leave(&self, place: usize, id: ChannelId) -> bool {
        if is_forked() {
            return true;
        }
        {
            let mut departed = self.departed();
            // Behind those that wait already, so that a crowd costs one look at a lock that is not to be had.
            let held = if departed.is_empty() {
                self.region.try_lock()
            } else {
                Ok(None)
            };
            match held {
                Ok(Some(_held)) => self.take_member(place, id),
                Ok(None) => {
                    departed.push((place, id));
                    return false;
                }
                // Nothing can be counted in such a region any more.
                Err(_) => {}
            }
        }
        true
    }

    /// Counts out the members that have left while somebody had the lock. False if somebody still has.
    pub(crate) fn settle(&self) -> bool {
        if self.departed().is_empty() {
            return true;
        }
        let Ok(Some(_held)) = self.region.try_lock() else {
            return false;
        };
        let mut departed = self.departed();
        for (place, id) in departed.iter() {
            self.take_member(*place, *id);
        }
        departed.clear();
        true
    }

    /// The place is given back, and all its members with it.
    pub(crate) fn forget_departed(&self, place: usize) {
        self.departed().retain(|(of, _)| *of != place);
    }

    pub(crate) fn departed(&self) -> MutexGuard<'_, Vec<(usize, ChannelId)>> {
        self.departed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one member less. The caller has the lock.
    fn take_member(&self, place: usize, id: ChannelId) {
        let directory = self.region.directory();
        let members = directory.members_of(id.index(), place);
        if directory.is_current(id) && members > 0 {
            directory.set_members(id.index(), place, members - 1);
        }
    }

    /// Lets go of the members of processes that have ended, and wakes the loops that sleep through messages. Answers how
    /// many processes there were.
    ///
    /// # Errors
    /// A lock that is not to be had within `patience`: they still count.
    pub fn forget_dead(&self, patience: Duration) -> Result<usize, ChannelError> {
        // Whoever has died may have owed somebody a wake-up.
        self.region.wake_sleepers();
        let own = this_process();
        let mut count = 0;
        for place in 0..WORKERS {
            let at = Layout::worker(place) + worker::PROCESS;
            let process = self.region.words().get(at);
            if process == 0 || process == own || self.region.is_held_elsewhere(place) {
                continue;
            }
            let _held = self.region.lock(patience)?;
            // Somebody else may have come first, and somebody new may have it.
            if self.region.words().get(at) == process && !self.region.is_held_elsewhere(place) {
                self.region.directory().clear_worker(place);
                count += 1;
            }
        }
        Ok(count)
    }
}
