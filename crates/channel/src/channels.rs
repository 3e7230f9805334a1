//! Channels by name, over one region: publish, join, look back.
//!
//! One object for each process and region. Publishing, joining and leaving take the region's lock for the length of one
//! append or one change of a count; looking takes none. Whoever waits for it says for how long, and who leaves never waits.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use crate::directory::ChannelId;
use crate::error::ChannelError;
use crate::forked::is_forked;
use crate::history::{History, Joined, Missed};
use crate::layout::{channel, header, worker, Layout, LONGEST_NAME, WORKERS};
use crate::lock::Held;
use crate::log::{Damaged, Kind, Record};
use crate::region::{this_process, Region, PATIENCE};
use crate::{sleep, wake};

/// What a message counts for in a page besides its payload, in bytes, so that empty ones are bounded too.
const PAGE_EACH: usize = 64;

/// The channels of one instance, or of several that share a region.
pub struct Channels {
    pub(crate) region: Region,
    longest: usize,
    /// Where names were last found. May be out of date, which the entry's generation tells.
    known: RwLock<HashMap<Box<str>, ChannelId>>,
    /// The place of this process's loop, and what wakes it without a detour through the system.
    own: OnceLock<(usize, Box<dyn Fn() + Send + Sync>)>,
    /// Members of this process's places that have left, and were not counted out yet: somebody else had the lock.
    departed: Mutex<Vec<(usize, ChannelId)>>,
}

/// One channel, as it was when it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelFacts {
    /// Its name.
    pub name: String,
    /// Members in all processes.
    pub members: u64,
    /// Messages since it was made.
    pub messages: u64,
    /// Their payload, in bytes.
    pub bytes: u64,
    /// The number of the newest message.
    pub offset: u64,
}

/// Some messages of a channel, one behind the other.
#[derive(Debug)]
pub struct Page {
    /// Oldest first.
    pub messages: Vec<(Record, Vec<u8>)>,
    /// The number of the newest message there is, in the page or behind it.
    pub offset: u64,
    /// What lies between `since` and the first of them.
    pub missed: Missed,
    /// Nothing that was asked for is left behind the page.
    pub is_all: bool,
}

/// One process that reads the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerFacts {
    /// Its id as a process.
    pub process: u64,
    /// How many bytes of the log it has yet to read.
    pub lag: u64,
    /// Times it came too late and found records overwritten.
    pub overtaken: u64,
    /// Messages delivered to its members, and messages that slow members missed.
    pub delivered: u64,
    /// See `delivered`.
    pub dropped: u64,
}

impl Channels {
    /// Processes that can have members at a time.
    pub const PLACES: usize = WORKERS;

    pub(crate) fn over(region: Region, longest: usize) -> Channels {
        let longest = longest.min(region.layout().longest_payload());
        Channels {
            region,
            longest,
            known: RwLock::default(),
            own: OnceLock::new(),
            departed: Mutex::default(),
        }
    }

    /// The most bytes that a message may have.
    pub fn longest_message(&self) -> usize {
        self.longest
    }

    /// Appends a message and wakes the loops that sleep and have a member of the channel. Text is valid UTF-8, by the
    /// caller's word. Answers the message's offset in the channel.
    ///
    /// # Errors
    /// A bad name, a message that is too long, a full directory, a lock that is not to be had within five seconds: nothing
    /// was published.
    pub fn publish(&self, name: &str, kind: Kind, payload: &[u8]) -> Result<u64, ChannelError> {
        self.publish_within(name, kind, payload, PATIENCE)
    }

    /// [`Channels::publish`] with another patience.
    ///
    /// # Errors
    /// As there.
    pub fn publish_within(
        &self,
        name: &str,
        kind: Kind,
        payload: &[u8],
        patience: Duration,
    ) -> Result<u64, ChannelError> {
        let known = self.check(name, payload)?;
        let held = self.region.lock(patience)?;
        self.append(held, name, known, kind, payload)
    }

    /// [`Channels::publish`] without waiting; `None` if somebody has the lock, for callers who have something to let go of
    /// first.
    ///
    /// # Errors
    /// As there.
    #[inline]
    pub fn try_publish(&self, name: &str, kind: Kind, payload: &[u8]) -> Result<Option<u64>, ChannelError> {
        let known = self.check(name, payload)?;
        match self.region.try_lock()? {
            None => Ok(None),
            Some(held) => self.append(held, name, known, kind, payload).map(Some),
        }
    }

    #[inline]
    fn check(&self, name: &str, payload: &[u8]) -> Result<Option<ChannelId>, ChannelError> {
        if payload.len() > self.longest {
            return Err(ChannelError::TooLong {
                length: payload.len(),
                longest: self.longest,
            });
        }
        self.known(name)
    }

    #[inline]
    fn append(
        &self,
        held: Held<'_>,
        name: &str,
        known: Option<ChannelId>,
        kind: Kind,
        payload: &[u8],
    ) -> Result<u64, ChannelError> {
        let id = self.current(name, known)?;
        let appended = self.region.writer(&held).append(id.index(), kind, payload);
        let offset = appended.map_err(|Damaged| self.damaged())?;
        let mask = self.mask(id);
        drop(held);
        self.wake(mask);
        Ok(offset)
    }

    /// Says to all that somebody has scribbled in the region.
    #[cold]
    pub(crate) fn damaged(&self) -> ChannelError {
        self.region.mark_damaged();
        ChannelError::Damaged
    }

    fn known(&self, name: &str) -> Result<Option<ChannelId>, ChannelError> {
        if is_forked() {
            return check_name(name).map(|()| None);
        }
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        match known.get(name) {
            Some(id) => Ok(Some(*id)),
            None => check_name(name).map(|()| None),
        }
    }

    /// The entry of a channel, which is made if need be. The caller has the lock.
    fn current(&self, name: &str, known: Option<ChannelId>) -> Result<ChannelId, ChannelError> {
        let directory = self.region.directory();
        if let Some(id) = known.filter(|id| directory.is_current(*id)) {
            return Ok(id);
        }
        let channels = self.region.layout().channels;
        let id = directory
            .find_or_create(name)
            .ok_or(ChannelError::DirectoryFull { channels })?;
        if is_forked() {
            return Ok(id);
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= channels * 2 {
            known.clear(); // names of channels that are long gone
        }
        known.insert(name.into(), id);
        Ok(id)
    }

    fn mask(&self, id: ChannelId) -> [u64; WORKERS / 64] {
        let at = self.region.layout().channel(id.index()) + channel::MASK;
        std::array::from_fn(|word| self.region.words().get(at + word))
    }

    /// Wakes the loops of these workers, as far as they sleep.
    #[inline]
    fn wake(&self, mask: [u64; WORKERS / 64]) {
        if mask == [0; WORKERS / 64] {
            return;
        }
        sleep::before_waking();
        for (word, mut bits) in mask.into_iter().enumerate() {
            while bits != 0 {
                let place = word * 64 + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                if let Some(sleep) = sleep::sleep_of(self.region.words(), place) {
                    match self.own.get() {
                        Some((own, wake)) if *own == place && !is_forked() => wake(),
                        _ => self.wake_place(place),
                    }
                    sleep::is_over(self.region.words(), place, sleep);
                }
            }
        }
    }

    /// Wakes the thread that waits at this place.
    pub(crate) fn wake_place(&self, place: usize) {
        wake::wake(self.region.wakes(place));
    }

    pub(crate) fn set_own(&self, place: usize, wake: Box<dyn Fn() + Send + Sync>) {
        let _ = self.own.set((place, wake));
    }

    /// Holds the lock, as a process does that is stopped with it: for tests of those who must not wait for it.
    #[doc(hidden)]
    pub fn hold(&self) -> impl Drop + '_ {
        loop {
            if let Ok(held) = self.region.lock(PATIENCE) {
                return held;
            }
        }
    }

    /// Waits until nobody has the lock, at most so long. Whoever has something locked that others need lets go of it, comes
    /// here, and tries again.
    ///
    /// # Errors
    /// [`ChannelError::Busy`]; the system's.
    pub fn wait_free(&self, patience: Duration) -> Result<(), ChannelError> {
        self.region.lock(patience).map(drop)
    }

    /// The thread that has the lock, zero if none has, and how far the log is: while both stay as they are nobody but it has
    /// come to the lock.
    pub fn lock_state(&self) -> (u32, u64) {
        (self.region.holder(), self.region.log().tail())
    }

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

    pub(crate) fn facts_of(&self, id: ChannelId) -> Joined {
        let (words, entry) = (self.region.words(), self.region.layout().channel(id.index()));
        let newest = words.get_acquire(entry + channel::NEWEST).checked_sub(1);
        Joined {
            id,
            offset: words.get(entry + channel::OFFSET),
            base: words.get(entry + channel::BASE),
            newest,
        }
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

    fn departed(&self) -> MutexGuard<'_, Vec<(usize, ChannelId)>> {
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

    /// The channel of this name, and how far it is, without the lock.
    fn find(&self, name: &str) -> Result<Option<Joined>, ChannelError> {
        self.region.check()?;
        let directory = self.region.directory();
        loop {
            let found = directory.find_unlocked(name).or_else(|| {
                // Somebody who changes the lists may have led us astray. Without the lock, look at every entry.
                match self.region.try_lock() {
                    Ok(Some(_held)) => directory.find(name),
                    _ => directory.find_in_all(name),
                }
            });
            let Some(id) = found else { return Ok(None) };
            let mut found = self.facts_of(id);
            // The number is written before the position: without the lock, the one that belongs to the position counts.
            let log = self.region.log();
            let newest = found.newest.map(|newest| log.record(newest, log.tail()));
            match newest.unwrap_or(Ok(None)) {
                Ok(Some(newest)) if newest.is_of(id) => found.offset = newest.offset,
                // Another one's: the entry has changed its tenant.
                Ok(_) => {}
                Err(Damaged) => return Err(self.damaged()),
            }
            // Its entry may have become another channel's meanwhile.
            if directory.is_still(id) {
                return Ok(Some(found));
            }
        }
    }

    /// What was published after `since` and is still there, oldest first; without `since` all that is there. At most
    /// `limit` messages: the first ones after `since`, or the newest ones.
    ///
    /// # Errors
    /// A bad name.
    pub fn history(
        &self,
        name: &str,
        since: Option<u64>,
        limit: usize,
    ) -> Result<Vec<(Record, Vec<u8>)>, ChannelError> {
        self.known(name)?;
        let Some(joined) = self.find(name)? else {
            return Ok(Vec::new());
        };
        let most = if since.is_some() { usize::MAX } else { limit };
        let history = self.look_back(&joined, since.unwrap_or(0), most);
        let mut messages = Vec::new();
        for record in history.records.into_iter().take(limit) {
            let mut payload = Vec::new();
            // Overwritten since: the older ones go first, so what follows may be there still.
            if self.region.log().payload(&record, &mut payload) {
                messages.push((record, payload));
            } else {
                messages.clear();
            }
        }
        Ok(messages)
    }

    /// What came after `since`, oldest first, until there are `limit` messages or `bytes` of them, each with 64 bytes
    /// more than its payload (one always fits); without `since` the newest `limit`. For readers outside, who come back
    /// for the next page by themselves.
    /// `None`: no such channel, so far.
    ///
    /// # Errors
    /// A bad name; a lock that is not to be had.
    pub fn page(
        &self,
        name: &str,
        since: Option<u64>,
        limit: usize,
        bytes: usize,
    ) -> Result<Option<Page>, ChannelError> {
        self.known(name)?;
        let Some(joined) = self.find(name)? else {
            return Ok(None);
        };
        let most = if since.is_some() { usize::MAX } else { limit };
        let found = self.look_back(&joined, since.unwrap_or(0), most);
        let (mut messages, mut used, mut is_all) = (Vec::new(), 0, true);
        for record in found.records {
            let mut payload = Vec::new();
            if !messages.is_empty() && used + record.length + PAGE_EACH > bytes || messages.len() == limit {
                is_all = false;
                break;
            }
            if self.region.log().payload(&record, &mut payload) {
                used += payload.len() + PAGE_EACH;
                messages.push((record, payload));
            } else {
                // Overwritten since, and all that is older with it.
                (messages, used) = (Vec::new(), 0);
            }
        }
        let first = messages.first().map(|(record, _)| record);
        Ok(Some(Page {
            missed: since.map_or(Missed::Nothing, |since| Missed::between(since, &joined, first)),
            offset: joined.offset,
            messages,
            is_all,
        }))
    }

    /// The records of a channel after `since` up to the moment of the join, at most the newest `most`.
    pub fn look_back(&self, joined: &Joined, since: u64, most: usize) -> History {
        let log = self.region.log();
        let mut records: Vec<Record> = Vec::new();
        let (mut position, mut end) = (joined.newest, log.tail());
        while let Some(newest) = position {
            // Each ends before the one behind it begins, so there are no circles, and no more bytes than the log has.
            let record = match log.record(newest, end) {
                Ok(Some(record)) => record,
                Ok(None) => break,
                Err(Damaged) => {
                    self.damaged();
                    break;
                }
            };
            if !record.is_of(joined.id) || record.offset <= since || records.len() == most {
                break;
            }
            if records.last().is_some_and(|newer| newer.offset <= record.offset) {
                self.damaged();
                break;
            }
            (position, end) = (record.previous, record.position);
            records.push(record);
        }
        records.reverse();
        let missed = Missed::between(since, joined, records.first());
        History { records, missed }
    }

    /// How many members the channel has, in all processes.
    ///
    /// # Errors
    /// A bad name.
    pub fn members(&self, name: &str) -> Result<u64, ChannelError> {
        self.known(name)?;
        let Some(Joined { id, .. }) = self.find(name)? else {
            return Ok(0);
        };
        let entry = self.region.layout().channel(id.index());
        // Those of ours that have left are none, counted out or not.
        let departed = self.departed();
        let gone = departed.iter().filter(|(_, of)| *of == id).count() as u64;
        Ok(self
            .region
            .words()
            .get(entry + channel::MEMBERS)
            .saturating_sub(gone))
    }

    /// All channels.
    pub fn list(&self) -> Vec<ChannelFacts> {
        let (words, directory) = (self.region.words(), self.region.directory());
        let facts = |index: usize| {
            let id = directory.id_unlocked(index);
            let entry = self.region.layout().channel(index);
            let get = |at| words.get(entry + at);
            let facts = ChannelFacts {
                name: directory.name(index)?,
                members: get(channel::MEMBERS),
                messages: get(channel::OFFSET).saturating_sub(get(channel::BASE)),
                bytes: get(channel::BYTES),
                offset: get(channel::OFFSET),
            };
            // Left out when it became another one meanwhile.
            directory.is_still(id).then_some(facts)
        };
        directory.used().filter_map(facts).collect()
    }

    /// All processes that have members, or could.
    pub fn workers(&self) -> Vec<WorkerFacts> {
        let words = self.region.words();
        let tail = self.region.log().tail();
        let facts = |place: usize| {
            let at = Layout::worker(place);
            let process = words.get(at + worker::PROCESS);
            (process != 0).then(|| WorkerFacts {
                process,
                lag: tail
                    .saturating_sub(words.get(at + worker::CURSOR))
                    .saturating_mul(8),
                overtaken: words.get(at + worker::OVERTAKEN),
                delivered: words.get(at + worker::DELIVERED),
                dropped: words.get(at + worker::DROPPED),
            })
        };
        (0..WORKERS).filter_map(facts).collect()
    }

    /// Lets go of the members of processes that have ended, and wakes the loops that sleep through messages. Answers how many processes there were.
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

    /// Somebody has scribbled in the region: every call fails.
    pub fn is_damaged(&self) -> bool {
        self.region.is_damaged()
    }

    /// Offsets of new channels begin above this: a random number, from 2^51 to 2^52, that no other log has.
    pub fn epoch(&self) -> u64 {
        self.region.words().get(header::EPOCH)
    }

    /// Bytes of the log, and how many of them are in use.
    pub fn log_size(&self) -> (u64, u64) {
        let log = self.region.log();
        let head = log.head();
        (
            self.region.layout().capacity as u64 * 8,
            log.tail().saturating_sub(head).saturating_mul(8),
        )
    }
}

/// A name that a channel can have: 1 to [`LONGEST_NAME`] bytes, no control characters.
///
/// # Errors
/// [`ChannelError::Name`].
pub fn check_name(name: &str) -> Result<(), ChannelError> {
    if name.is_empty() || name.len() > LONGEST_NAME || name.chars().any(char::is_control) {
        return Err(ChannelError::Name(name.into()));
    }
    Ok(())
}
