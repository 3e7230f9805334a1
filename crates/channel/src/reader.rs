//! One process's loop as a reader of the log: its place among the workers, and its cursor.

use std::sync::Arc;
use std::time::Duration;

use crate::channels::Channels;
use crate::directory::ChannelId;
use crate::error::ChannelError;
use crate::forked::is_forked;
use crate::history::Joined;
use crate::layout::{worker, Layout, WORKERS};
use crate::log::{Damaged, Look, Record};
use crate::region::{this_process, BRIEFLY, PATIENCE};
use crate::replay::{Past, Replay};
use crate::{sleep, wake};

/// A place among the workers of a region. Dropping it takes the worker's members along.
pub struct Place {
    channels: Arc<Channels>,
    index: usize,
}

/// What a reader found.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing new.
    Nothing,
    /// The next record.
    Record(Record),
    /// Records were overwritten before they were read; reading goes on with the oldest there is.
    Overtaken,
}

/// How far a loop has read.
#[derive(Debug)]
pub struct Cursor(u64);

impl Place {
    /// Takes a free place; those of processes that have died are free. Needs no lock, unless all free ones are such: a new
    /// worker can start while somebody who has it does not move.
    ///
    /// # Errors
    /// None is free; the system's.
    pub fn claim(channels: Arc<Channels>) -> Result<Place, ChannelError> {
        // Not to be had? Then the next one does it.
        let _ = channels.forget_dead(BRIEFLY);
        if let Some(index) = Place::take(&channels)? {
            return Ok(Place { channels, index });
        }
        channels.forget_dead(PATIENCE)?;
        match Place::take(&channels)? {
            Some(index) => Ok(Place { channels, index }),
            None => Err(ChannelError::TooManyWorkers { workers: WORKERS }),
        }
    }

    /// The number of a place that is this process's now.
    fn take(channels: &Channels) -> Result<Option<usize>, ChannelError> {
        let (region, own) = (&channels.region, this_process());
        for index in 0..WORKERS {
            let at = Layout::worker(index) + worker::PROCESS;
            // The system's lock keeps other processes away, and the exchange our other threads.
            if region.words().get_acquire(at) != 0 || !region.hold_place(index)? {
                continue;
            }
            match region.words().put_if(at, 0, own) {
                Ok(()) => {
                    let cursor = Layout::worker(index) + worker::CURSOR;
                    region.words().put(cursor, region.log().tail());
                    return Ok(Some(index));
                }
                Err(other) if other == own => {}
                // Somebody had it for a moment, and has died: it is to be found dead.
                Err(_) => region.let_go_of_place(index),
            }
        }
        Ok(None)
    }

    /// The channels it is a place in.
    pub fn channels(&self) -> &Arc<Channels> {
        &self.channels
    }

    /// `wake` ends the loop's sleep when this process publishes something for itself.
    pub fn wake_with(&self, wake: impl Fn() + Send + Sync + 'static) {
        self.channels.set_own(self.index, Box::new(wake));
    }

    /// One member more; its messages are those after the offset in the answer.
    ///
    /// # Errors
    /// A bad name, a full directory, a lock that is not to be had within `patience`: nothing was changed.
    pub fn join(&self, name: &str, patience: Duration) -> Result<Joined, ChannelError> {
        self.channels.join(self.index, name, patience)
    }

    /// [`Place::join`] without waiting; `None` if somebody has the lock.
    ///
    /// # Errors
    /// As there.
    pub fn try_join(&self, name: &str) -> Result<Option<Joined>, ChannelError> {
        self.channels.try_join(self.index, name)
    }

    /// One member less. Waits for nothing: if somebody has the lock it is noted, who waits for wake-ups is woken, and has to
    /// [`Place::settle`].
    pub fn leave(&self, id: ChannelId) {
        if !self.channels.leave(self.index, id) {
            self.wake_self();
        }
    }

    /// Counts out the members that have left while somebody had the lock. False if somebody still has: then it is to be tried
    /// again after a while.
    pub fn settle(&self) -> bool {
        self.channels.settle()
    }

    /// The records of a channel behind `offset`, oldest first.
    pub fn behind(&self, id: ChannelId, offset: u64) -> Vec<Record> {
        let joined = self.channels.facts_of(id);
        if joined.offset <= offset {
            return Vec::new();
        }
        self.channels.look_back(&joined, offset, usize::MAX).records
    }

    /// A cursor behind the newest record.
    pub fn cursor(&self) -> Cursor {
        Cursor(self.channels.region.log().tail())
    }

    /// Leaves out what is there: the loop has no member.
    pub fn skip(&self, cursor: &mut Cursor) {
        cursor.0 = self.channels.region.log().tail();
        self.tell(cursor);
    }

    /// The next record.
    #[inline]
    pub fn next(&self, cursor: &mut Cursor) -> Next {
        match self.channels.region.log().look(cursor.0) {
            Look::Nothing => Next::Nothing,
            Look::Record(record) => {
                cursor.0 = record.next;
                Next::Record(record)
            }
            Look::Overtaken(head) => {
                cursor.0 = head;
                self.count(worker::OVERTAKEN, 1);
                Next::Overtaken
            }
            Look::Damaged => {
                self.channels.damaged();
                Next::Nothing
            }
        }
    }

    /// True if there is something to read.
    #[inline]
    pub fn has_news(&self, cursor: &Cursor) -> bool {
        self.channels.region.log().tail() > cursor.0 && !self.channels.region.is_damaged()
    }

    /// Appends a record's payload; false if it was overwritten.
    #[inline]
    pub fn payload(&self, record: &Record, into: &mut Vec<u8>) -> bool {
        self.channels.region.log().payload(record, into)
    }

    /// Takes the next one of a replay.
    pub fn next_past(&self, replay: &mut Replay) -> Past {
        let next = replay.next(&self.channels.region.log());
        next.unwrap_or_else(|Damaged| {
            self.channels.damaged();
            replay.lose_all()
        })
    }

    /// The record at a position that was one; `None` if it was overwritten.
    pub fn record(&self, position: u64) -> Option<Record> {
        let log = self.channels.region.log();
        log.record(position, log.tail()).unwrap_or_else(|Damaged| {
            self.channels.damaged();
            None
        })
    }

    /// The record at a position that was one, with its payload; `None` if it was overwritten.
    pub fn read_at(&self, position: u64, into: &mut Vec<u8>) -> Option<Record> {
        let record = self.record(position)?;
        self.payload(&record, into).then_some(record)
    }

    /// Says for all to see how far it has read.
    pub fn tell(&self, cursor: &Cursor) {
        let at = Layout::worker(self.index) + worker::CURSOR;
        self.channels.region.words().put(at, cursor.0);
    }

    /// Counts deliveries, and messages that slow members missed.
    pub fn count_deliveries(&self, delivered: u64, dropped: u64) {
        if delivered > 0 {
            self.count(worker::DELIVERED, delivered);
        }
        if dropped > 0 {
            self.count(worker::DROPPED, dropped);
        }
    }

    fn count(&self, what: usize, more: u64) {
        self.channels
            .region
            .words()
            .add(Layout::worker(self.index) + what, more);
    }

    /// The loop wants to sleep, and be woken for its channels. False if there is something to read: then it must not.
    #[inline]
    pub fn fall_asleep(&self, cursor: &Cursor) -> bool {
        // Nothing is read of a damaged one any more, whatever its tail says.
        sleep::fall_asleep(self.channels.region.log(), self.index, cursor.0)
            || self.channels.region.is_damaged()
    }

    /// The loop is awake: nobody need wake it.
    #[inline]
    pub fn wake_up(&self) {
        sleep::wake_up(self.channels.region.words(), self.index);
    }

    /// Blocks until somebody wakes this place, or has since the wake-up with the number `seen`. Answers the newest one's number.
    /// For a thread that does nothing else, because no poller can wait for this. Answers `seen` when `limit` has passed.
    pub fn wait_for_wake(&self, seen: u32, limit: Option<Duration>) -> u32 {
        let region = &self.channels.region;
        wake::wait(region.wakes(self.index), seen, limit, region.longest_wait())
    }

    /// The number of the newest wake-up.
    pub fn wakes(&self) -> u32 {
        wake::newest(self.channels.region.wakes(self.index))
    }

    /// Wakes the thread that waits here.
    pub fn wake_self(&self) {
        self.channels.wake_place(self.index);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if is_forked() {
            return;
        }
        self.channels.forget_departed(self.index);
        // Without the lock the members stay until somebody finds that nobody holds the place.
        let held = self.channels.region.lock(BRIEFLY);
        if held.is_ok() {
            self.channels.region.directory().clear_worker(self.index);
        }
        self.channels.region.let_go_of_place(self.index);
    }
}
