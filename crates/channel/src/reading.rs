//! Looking at channels without the lock: history, pages, members, facts. What somebody changes meanwhile is left out, or
//! looked at again.

use crate::channels::Channels;
use crate::error::ChannelError;
use crate::forked::is_forked;
use crate::history::{History, Joined, Missed};
use crate::layout::{channel, worker, Layout, WORKERS};
use crate::log::{Damaged, Record};
use crate::replay::{Past, Replay, WayBack};

/// What a message counts for in a page besides its payload, in bytes, so that empty ones are bounded too.
const PAGE_EACH: usize = 64;

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
        let Some(joined) = self.look_up(name)? else {
            return Ok(Vec::new());
        };
        let (mut replay, _) = self.replay_for(&joined, since, limit)?;
        let mut messages = Vec::new();
        while messages.len() < limit {
            let mut payload = Vec::new();
            match self.next_of(&mut replay)? {
                Past::Record(record) if self.region.log().payload(&record, &mut payload) => {
                    messages.push((record, payload));
                }
                Past::End => break,
                // Overwritten since: the older ones go first, so what follows may be there still.
                Past::Record(_) | Past::Lost(_) => messages.clear(),
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
        let Some(joined) = self.look_up(name)? else {
            return Ok(None);
        };
        let (mut replay, _) = self.replay_for(&joined, since, limit)?;
        let (mut messages, mut used, mut is_all) = (Vec::new(), 0, true);
        loop {
            let record = match self.next_of(&mut replay)? {
                Past::Record(record) => record,
                Past::Lost(_) => {
                    // And all that is older with it.
                    (messages, used) = (Vec::new(), 0);
                    continue;
                }
                Past::End => break,
            };
            let mut payload = Vec::new();
            if !messages.is_empty() && used + record.length + PAGE_EACH > bytes || messages.len() == limit {
                is_all = false;
                break;
            }
            if self.region.log().payload(&record, &mut payload) {
                used += payload.len() + PAGE_EACH;
                messages.push((record, payload));
            } else {
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

    /// What was published behind `since` before a join, at most the newest `most`, and what lies before them. If
    /// somebody has scribbled on the way there it is nothing, and the region counts as damaged.
    pub fn replay(&self, joined: &Joined, since: u64, most: usize) -> (Replay, Missed) {
        let found = self.index.replay(&self.region.log(), joined, since, most);
        found.unwrap_or_else(|Damaged| {
            self.damaged();
            (Replay::nothing(joined), Missed::Unknown)
        })
    }

    /// Finds what [`Channels::replay`] will want to know, so that it can be called under a lock.
    pub fn prepare_replay(&self, name: &str, since: u64) {
        // A bad name, no channel yet, a damaged region: nothing is prepared, and the join tells.
        if let Ok(Some(joined)) = self.look_up(name) {
            if let Err(Damaged) = self.index.prepare(&self.region.log(), &joined, since) {
                self.damaged();
            }
        }
    }

    /// The channel of this name as it is now, if there is one.
    fn look_up(&self, name: &str) -> Result<Option<Joined>, ChannelError> {
        self.known(name)?;
        self.find(name)
    }

    /// What came after `since`; without it the newest `limit`.
    fn replay_for(
        &self,
        joined: &Joined,
        since: Option<u64>,
        limit: usize,
    ) -> Result<(Replay, Missed), ChannelError> {
        let most = if since.is_some() { usize::MAX } else { limit };
        let found = self
            .index
            .replay(&self.region.log(), joined, since.unwrap_or(0), most);
        found.map_err(|Damaged| self.damaged())
    }

    fn next_of(&self, replay: &mut Replay) -> Result<Past, ChannelError> {
        replay.next(&self.region.log()).map_err(|Damaged| self.damaged())
    }

    /// The records of a channel after `since` up to the moment of the join, at most the newest `most`.
    pub fn look_back(&self, joined: &Joined, since: u64, most: usize) -> History {
        let log = self.region.log();
        let mut records: Vec<Record> = Vec::new();
        let mut way = WayBack::new(&log, joined.id, joined.newest);
        let begin = joined.begin(since);
        while records.len() < most {
            match way.next() {
                Ok(Some(record)) if record.offset > begin => records.push(record),
                Ok(_) => break,
                Err(Damaged) => {
                    self.damaged();
                    break;
                }
            }
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
        // Those of ours that have left are none, counted out or not. A forked process has none, and must not take the lock.
        let gone = if is_forked() {
            0
        } else {
            self.departed().iter().filter(|(_, of)| *of == id).count() as u64
        };
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
}
