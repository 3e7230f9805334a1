//! The channels by their names: in the region for all processes, changed under the lock.
//!
//! A channel is made when it is first named, and goes when its entry is needed, it has no member and nobody was silent for
//! longer. An entry is a channel if its name has a length; lists, buckets and masks only lead to it and are made again from
//! the entries when a writer has died ([`Directory::repair`]).

use crate::layout::{channel, header, worker, Layout, LONGEST_NAME, WORKERS};
use crate::sync::{fence, Ordering};
use crate::words::Words;

/// The directory in the hands of who has the lock.
#[derive(Clone, Copy)]
pub(crate) struct Directory<'a> {
    pub(crate) words: Words<'a>,
    pub(crate) layout: Layout,
}

/// Entries that are compared when one has to go. All of them would be a cache miss each, under the lock.
const EVICTION_SAMPLE: usize = 64;

/// A channel's entry, and whose it was when it was looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChannelId {
    pub(crate) index: u32,
    pub(crate) generation: u64,
}

impl ChannelId {
    /// The channel's number in the directory, which another channel may have had before.
    #[inline]
    pub fn index(self) -> usize {
        self.index as usize
    }
}

/// FNV-1a: the same in every process, and names are short.
fn hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

impl Directory<'_> {
    fn bucket(&self, name: &str) -> usize {
        self.layout
            .bucket((hash(name) % self.layout.buckets as u64) as usize)
    }

    fn entry(&self, index: usize) -> usize {
        self.layout.channel(index)
    }

    fn id(&self, index: usize) -> ChannelId {
        ChannelId {
            index: index as u32,
            generation: self.words.get(self.entry(index) + channel::GENERATION),
        }
    }

    pub(crate) fn is_current(&self, id: ChannelId) -> bool {
        let entry = self.entry(id.index());
        self.words.get(entry + channel::GENERATION) == id.generation
            && self.words.get(entry + channel::NAME_LENGTH) != 0
    }

    fn is_named(&self, index: usize, name: &str) -> bool {
        let entry = self.entry(index);
        if self.words.get(entry + channel::NAME_LENGTH) != name.len() as u64 {
            return false;
        }
        let mut bytes = Vec::with_capacity(name.len());
        self.words
            .get_bytes(entry + channel::NAME, name.len(), &mut bytes);
        bytes == name.as_bytes()
    }

    /// The channel's name; `None` for a free entry.
    pub(crate) fn name(&self, index: usize) -> Option<String> {
        let entry = self.entry(index);
        let length = self.words.get(entry + channel::NAME_LENGTH) as usize;
        if length == 0 || length > LONGEST_NAME {
            return None;
        }
        let mut bytes = Vec::with_capacity(length);
        self.words.get_bytes(entry + channel::NAME, length, &mut bytes);
        String::from_utf8(bytes).ok()
    }

    /// Entries that are or were used.
    fn touched(&self) -> usize {
        (self.words.get(header::FRESH) as usize).min(self.layout.channels)
    }

    /// All channels there are.
    pub(crate) fn used(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.touched()).filter(|index| self.words.get(self.entry(*index) + channel::NAME_LENGTH) != 0)
    }

    /// The entry's tenant, for a later [`Directory::is_still`].
    pub(crate) fn id_unlocked(&self, index: usize) -> ChannelId {
        ChannelId {
            index: index as u32,
            generation: self.words.get_acquire(self.entry(index) + channel::GENERATION),
        }
    }

    /// Whether all that was read of the entry, without the lock, since its id was known is this channel's.
    pub(crate) fn is_still(&self, id: ChannelId) -> bool {
        fence(Ordering::Acquire);
        self.is_current(id)
    }

    /// The id of the entry's channel if it has this name, without the lock.
    fn id_if_named(&self, index: usize, name: &str) -> Option<ChannelId> {
        let id = self.id_unlocked(index);
        (self.is_named(index, name) && self.is_still(id)).then_some(id)
    }

    /// [`Directory::find`] without the lock. `None` may be wrong: somebody who changes the lists leads astray.
    pub(crate) fn find_unlocked(&self, name: &str) -> Option<ChannelId> {
        let mut next = self.words.get_acquire(self.bucket(name));
        for _ in 0..self.layout.channels {
            let index = (next.checked_sub(1)? as usize).min(self.layout.channels - 1);
            if let Some(id) = self.id_if_named(index, name) {
                return Some(id);
            }
            next = self.words.get_acquire(self.entry(index) + channel::NEXT);
        }
        None
    }

    /// The same without the lists: one look at each entry.
    pub(crate) fn find_in_all(&self, name: &str) -> Option<ChannelId> {
        (0..self.touched()).find_map(|index| self.id_if_named(index, name))
    }

    pub(crate) fn find(&self, name: &str) -> Option<ChannelId> {
        let mut next = self.words.get(self.bucket(name));
        // Bounded: a chain that somebody has scribbled in must not hold us for ever.
        for _ in 0..self.layout.channels {
            let index = (next.checked_sub(1)? as usize).min(self.layout.channels - 1);
            if self.is_named(index, name) {
                return Some(self.id(index));
            }
            next = self.words.get(self.entry(index) + channel::NEXT);
        }
        None
    }

    /// The channel of this name, which is made if there is none. `None`: all entries have members.
    pub(crate) fn find_or_create(&self, name: &str) -> Option<ChannelId> {
        if let Some(id) = self.find(name) {
            return Some(id);
        }
        let index = self.free_entry()?;
        let entry = self.entry(index);
        let generation = self.words.get(entry + channel::GENERATION).wrapping_add(1);
        // Above every offset that this name, or another log of this machine, can have given before.
        let base = self.words.get(header::EPOCH).max(self.words.get(header::EVICTED));
        self.words.put(entry + channel::GENERATION, generation);
        // Before all else that changes, for who reads without the lock.
        fence(Ordering::Release);
        for at in channel::OFFSET..channel::NAME {
            self.words.put(entry + at, 0);
        }
        self.words.put(entry + channel::OFFSET, base);
        self.words.put(entry + channel::BASE, base);
        self.words.put_bytes(entry + channel::NAME, name.as_bytes());
        let bucket = self.bucket(name);
        self.words.put(entry + channel::NEXT, self.words.get(bucket));
        self.words
            .put_release(entry + channel::NAME_LENGTH, name.len() as u64);
        self.words.put(bucket, index as u64 + 1);
        self.words
            .put(header::COUNT, self.words.get(header::COUNT).wrapping_add(1));
        Some(self.id(index))
    }

    /// Takes an entry that nobody has.
    fn free_entry(&self) -> Option<usize> {
        let touched = self.touched();
        if self.words.get(header::FREE) == 0 && touched < self.layout.channels {
            self.words.put(header::FRESH, touched as u64 + 1);
            return Some(touched);
        }
        if self.words.get(header::FREE) == 0 {
            self.evict()?;
        }
        let is_free = |index: usize| {
            index < self.layout.channels && self.words.get(self.entry(index) + channel::NAME_LENGTH) == 0
        };
        let mut index = (self.words.get(header::FREE) as usize).checked_sub(1)?;
        if !is_free(index) {
            // Somebody has scribbled in the lists. They only lead to the entries: make them again.
            self.link();
            index = (self.words.get(header::FREE) as usize).checked_sub(1)?;
        }
        let next = self.words.get(self.entry(index) + channel::NEXT);
        self.words.put(header::FREE, next);
        Some(index)
    }

    /// Frees the entry of a channel without members: of the next few, the one that was silent for longest.
    fn evict(&self) -> Option<()> {
        let hand = self.words.get(header::HAND) as usize % self.layout.channels;
        let mut oldest: Option<(u64, usize)> = None;
        for step in 0..self.layout.channels {
            if step >= EVICTION_SAMPLE && oldest.is_some() {
                break;
            }
            let index = (hand + step) % self.layout.channels;
            let entry = self.entry(index);
            self.words.put(header::HAND, index as u64 + 1);
            let newest = self.words.get(entry + channel::NEWEST);
            if self.words.get(entry + channel::MEMBERS) == 0
                && self.words.get(entry + channel::NAME_LENGTH) != 0
                && oldest.is_none_or(|(other, _)| newest < other)
            {
                oldest = Some((newest, index));
            }
        }
        let (_, index) = oldest?;
        let entry = self.entry(index);
        let offset = self.words.get(entry + channel::OFFSET);
        if offset > self.words.get(header::EVICTED) {
            self.words.put(header::EVICTED, offset);
        }
        self.unlink(index);
        self.words.put_release(entry + channel::NAME_LENGTH, 0);
        self.words.put(
            entry + channel::GENERATION,
            self.words.get(entry + channel::GENERATION).wrapping_add(1),
        );
        self.words
            .put(entry + channel::NEXT, self.words.get(header::FREE));
        self.words.put(header::FREE, index as u64 + 1);
        self.words
            .put(header::COUNT, self.words.get(header::COUNT).wrapping_sub(1));
        Some(())
    }

    /// Takes an entry out of its bucket.
    fn unlink(&self, index: usize) {
        let Some(name) = self.name(index) else { return };
        let mut link = self.bucket(&name);
        for _ in 0..self.layout.channels {
            match self.words.get(link) {
                0 => return,
                next if next == index as u64 + 1 => {
                    let behind = self.words.get(self.entry(index) + channel::NEXT);
                    return self.words.put(link, behind);
                }
                next if next as usize > self.layout.channels => return,
                next => link = self.entry(next as usize - 1) + channel::NEXT,
            }
        }
    }

    fn count_at(&self, index: usize, worker: usize) -> (usize, u32) {
        (
            self.entry(index) + channel::COUNTS + worker / 2,
            (worker % 2 * 32) as u32,
        )
    }

    /// Members that a worker has in a channel.
    pub(crate) fn members_of(&self, index: usize, worker: usize) -> u64 {
        let (at, shift) = self.count_at(index, worker);
        self.words.get(at) >> shift & 0xffff_ffff
    }

    /// Changes how many members a worker has in a channel.
    pub(crate) fn set_members(&self, index: usize, worker: usize, members: u64) {
        let (at, shift) = self.count_at(index, worker);
        let before = self.members_of(index, worker);
        let others = self.words.get(at) & !(0xffff_ffff << shift);
        self.words.put(at, others | (members & 0xffff_ffff) << shift);
        let entry = self.entry(index);
        let sum = self.words.get(entry + channel::MEMBERS);
        let sum = sum.wrapping_add(members).wrapping_sub(before);
        self.words.put(entry + channel::MEMBERS, sum);
        if (before == 0) != (members == 0) {
            let (at, bit) = (entry + channel::MASK + worker / 64, 1 << (worker % 64));
            let mask = self.words.get(at);
            let mask = if members == 0 { mask & !bit } else { mask | bit };
            self.words.put(at, mask);
        }
    }

    /// The worker has gone, and its members with it.
    pub(crate) fn clear_worker(&self, worker: usize) {
        let bit = 1 << (worker % 64);
        for index in self.used() {
            if self.words.get(self.entry(index) + channel::MASK + worker / 64) & bit != 0 {
                self.set_members(index, worker, 0);
            }
        }
        let place = Layout::worker(worker);
        for at in worker::CURSOR..worker::WORDS {
            self.words.put(place + at, 0);
        }
        // The numbers of sleeps and wake-ups go on: a late publisher may know one.
        let asleep = self.words.get(place + worker::ASLEEP);
        self.words.put(place + worker::ASLEEP, asleep & !1);
        // Last: from here on somebody else may take the place, who needs no lock for it.
        self.words.put_release(place + worker::PROCESS, 0);
    }

    /// Makes again what leads to the entries: after a writer has died, at any moment of a change.
    pub(crate) fn repair(&self) {
        for index in self.used() {
            let entry = self.entry(index);
            let mut sum = 0;
            let mut mask = [0; WORKERS / 64];
            for worker in 0..WORKERS {
                let members = self.members_of(index, worker);
                sum += members;
                mask[worker / 64] |= u64::from(members != 0) << (worker % 64);
            }
            self.words.put(entry + channel::MEMBERS, sum);
            for (at, mask) in mask.into_iter().enumerate() {
                self.words.put(entry + channel::MASK + at, mask);
            }
        }
        self.link();
    }

    /// Puts all entries into their buckets, or onto the free list.
    pub(crate) fn link(&self) {
        for bucket in 0..self.layout.buckets {
            self.words.put(self.layout.bucket(bucket), 0);
        }
        let (mut free, mut count) = (0, 0);
        for index in (0..self.touched()).rev() {
            let entry = self.entry(index);
            match self.name(index) {
                None => {
                    self.words.put(entry + channel::NEXT, free);
                    free = index as u64 + 1;
                }
                Some(name) => {
                    let bucket = self.bucket(&name);
                    self.words.put(entry + channel::NEXT, self.words.get(bucket));
                    self.words.put(bucket, index as u64 + 1);
                    count += 1;
                }
            }
        }
        self.words.put(header::FREE, free);
        self.words.put(header::COUNT, count);
    }
}
