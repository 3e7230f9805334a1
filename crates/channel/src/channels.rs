//! Channels by name, over one region: publish, join, look back.
//!
//! One object for each process and region. Publishing takes the region's lock for the length of one append; reading takes
//! none.

use std::collections::HashMap;
use std::io;
use std::sync::{OnceLock, PoisonError, RwLock};

use crate::directory::ChannelId;
use crate::error::ChannelError;
use crate::history::{History, Joined, Missed};
use crate::layout::{channel, header, worker, Layout, LONGEST_NAME, WORKERS};
use crate::lock::Held;
use crate::log::{Kind, Record};
use crate::region::{this_process, Region};
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
    pub(crate) fn over(region: Region, longest: usize) -> Channels {
        let longest = longest.min(region.layout().longest_payload());
        Channels {
            region,
            longest,
            known: RwLock::default(),
            own: OnceLock::new(),
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
    /// A bad name, a message that is too long, a full directory, a lock that is not to be had: nothing was published.
    pub fn publish(&self, name: &str, kind: Kind, payload: &[u8]) -> Result<u64, ChannelError> {
        let known = self.check(name, payload)?;
        let held = self.region.lock()?;
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
        let offset = self.region.writer(&held).append(id.index(), kind, payload);
        let mask = self.mask(id);
        drop(held);
        self.wake(mask);
        Ok(offset)
    }

    fn known(&self, name: &str) -> Result<Option<ChannelId>, ChannelError> {
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
                if sleep::has_to_be_woken(self.region.words(), place) {
                    match self.own.get() {
                        Some((own, wake)) if *own == place => wake(),
                        _ => self.wake_place(place),
                    }
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

    /// Counts one more member of this worker.
    pub(crate) fn join(&self, place: usize, name: &str) -> Result<Joined, ChannelError> {
        let known = self.known(name)?;
        let _held = self.region.lock()?;
        let id = self.current(name, known)?;
        let directory = self.region.directory();
        let members = directory.members_of(id.index(), place);
        directory.set_members(id.index(), place, members + 1);
        Ok(self.facts_of(id))
    }

    fn facts_of(&self, id: ChannelId) -> Joined {
        let (words, entry) = (self.region.words(), self.region.layout().channel(id.index()));
        let newest = words.get_acquire(entry + channel::NEWEST).checked_sub(1);
        Joined {
            id,
            offset: words.get(entry + channel::OFFSET),
            base: words.get(entry + channel::BASE),
            newest,
        }
    }

    /// Counts one member less.
    pub(crate) fn leave(&self, place: usize, id: ChannelId) -> io::Result<()> {
        let _held = self.region.lock()?;
        let directory = self.region.directory();
        let members = directory.members_of(id.index(), place);
        if directory.is_current(id) && members > 0 {
            directory.set_members(id.index(), place, members - 1);
        }
        Ok(())
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
        let found = {
            let _held = self.region.lock()?;
            self.region.directory().find(name)
        };
        let Some(id) = found else {
            return Ok(Vec::new());
        };
        let joined = self.facts_of(id);
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
        let joined = {
            let _held = self.region.lock()?;
            self.region.directory().find(name).map(|id| self.facts_of(id))
        };
        let Some(joined) = joined else {
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
        let mut records = Vec::new();
        let mut position = joined.newest;
        while let Some(record) = position.and_then(|position| log.record(position)) {
            if !record.is_of(joined.id) || record.offset <= since || records.len() == most {
                break;
            }
            position = record.previous;
            records.push(record);
        }
        records.reverse();
        let missed = Missed::between(since, joined, records.first());
        History { records, missed }
    }

    /// How many members the channel has, in all processes.
    ///
    /// # Errors
    /// A bad name; a lock that is not to be had.
    pub fn members(&self, name: &str) -> Result<u64, ChannelError> {
        self.known(name)?;
        let _held = self.region.lock()?;
        let Some(id) = self.region.directory().find(name) else {
            return Ok(0);
        };
        let entry = self.region.layout().channel(id.index());
        Ok(self.region.words().get(entry + channel::MEMBERS))
    }

    /// All channels.
    ///
    /// # Errors
    /// A lock that is not to be had.
    pub fn list(&self) -> Result<Vec<ChannelFacts>, ChannelError> {
        let _held = self.region.lock()?;
        let (words, directory) = (self.region.words(), self.region.directory());
        let facts = |index: usize| {
            let entry = self.region.layout().channel(index);
            let get = |at| words.get(entry + at);
            Some(ChannelFacts {
                name: directory.name(index)?,
                members: get(channel::MEMBERS),
                messages: get(channel::OFFSET) - get(channel::BASE),
                bytes: get(channel::BYTES),
                offset: get(channel::OFFSET),
            })
        };
        Ok(directory.used().filter_map(facts).collect())
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
                lag: tail.saturating_sub(words.get(at + worker::CURSOR)) * 8,
                overtaken: words.get(at + worker::OVERTAKEN),
                delivered: words.get(at + worker::DELIVERED),
                dropped: words.get(at + worker::DROPPED),
            })
        };
        (0..WORKERS).filter_map(facts).collect()
    }

    /// Lets go of the members of processes that have ended. Answers how many processes there were.
    ///
    /// # Errors
    /// A lock that is not to be had.
    pub fn forget_dead(&self) -> Result<usize, ChannelError> {
        let own = this_process();
        let mut count = 0;
        for place in 0..WORKERS {
            let at = Layout::worker(place) + worker::PROCESS;
            let process = self.region.words().get(at);
            if process == 0 || process == own || self.region.is_held_elsewhere(place) {
                continue;
            }
            let _held = self.region.lock()?;
            // Somebody else may have come first, and somebody new may have it.
            if self.region.words().get(at) == process && !self.region.is_held_elsewhere(place) {
                self.region.directory().clear_worker(place);
                count += 1;
            }
        }
        Ok(count)
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
            log.tail().saturating_sub(head) * 8,
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
