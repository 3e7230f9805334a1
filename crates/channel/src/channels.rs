//! Channels by name, over one region: publish.
//!
//! One object for each process and region. Publishing takes the region's lock for the length of one append; `reading` looks
//! without it, and `memberships` counts who is a member. Whoever waits for the lock says for how long.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use crate::directory::ChannelId;
use crate::error::ChannelError;
use crate::forked::is_forked;
use crate::history::Joined;
use crate::layout::{channel, header, LONGEST_NAME, WORKERS};
use crate::lock::Held;
use crate::log::{Damaged, Kind};
use crate::region::{Region, PATIENCE};
use crate::replay::Index;
use crate::{sleep, wake};

/// The channels of one instance, or of several that share a region.
pub struct Channels {
    pub(crate) region: Region,
    longest: usize,
    /// Where names were last found. May be out of date, which the entry's generation tells.
    known: RwLock<HashMap<Box<str>, ChannelId>>,
    /// Where the messages of the past stand.
    pub(crate) index: Index,
    /// The place of this process's loop, and what wakes it without a detour through the system.
    own: OnceLock<(usize, Box<dyn Fn() + Send + Sync>)>,
    /// Members of this process's places that have left, and were not counted out yet: somebody else had the lock.
    pub(crate) departed: Mutex<Vec<(usize, ChannelId)>>,
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
            index: Index::default(),
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
        // The memory may have gone while it was written to.
        self.region.check_memory()?;
        let mask = self.mask(id);
        drop(held);
        self.wake(mask);
        Ok(offset)
    }

    /// Says to all that somebody has scribbled in the region.
    #[cold]
    pub(crate) fn damaged(&self) -> ChannelError {
        self.region.mark_damaged();
        self.region.check().err().unwrap_or(ChannelError::Damaged)
    }

    pub(crate) fn known(&self, name: &str) -> Result<Option<ChannelId>, ChannelError> {
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
    pub(crate) fn current(&self, name: &str, known: Option<ChannelId>) -> Result<ChannelId, ChannelError> {
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

    /// Says to all processes that their file is no longer the one of its name: every call fails from now on.
    pub fn abandon(&self) {
        self.region.abandon();
    }

    /// Somebody has scribbled in the region, or its file is gone: every call fails.
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
