//! The past of a channel, read forward and a piece at a time.
//!
//! A record names the one before it, so a past can only be found from its end. Every [`STRIDE`]-th position on that way is
//! kept as a mark, for all who ask, so that nobody goes it twice; a [`Replay`] then goes from mark to mark, and reads what
//! lies before each of them when its reader is there. It costs a reader that has asked for a million messages some KiB,
//! however slow that is, and nobody else a lock.
//!
//! Whoever goes the way back goes it by [`WayBack`]: it ends, whatever somebody has scribbled there.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::directory::ChannelId;
use crate::forked::is_forked;
use crate::history::{Joined, Missed};
use crate::log::{Damaged, Log, Record};

/// Messages from one mark to the next. A replay keeps the positions of so many, and a mark for each so many that are left.
const STRIDE: u64 = 512;

/// Channels whose marks are kept. With more all are dropped, and found again by who asks.
const KEPT: usize = 4096;

/// Where a message begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    offset: u64,
    position: u64,
}

/// The marks of one channel.
#[derive(Default)]
struct Marks {
    /// Whose they are: the entry may have another tenant since.
    generation: u64,
    /// Oldest first.
    list: VecDeque<Mark>,
}

/// The marks of all channels that somebody asked about.
#[derive(Default)]
pub(crate) struct Index {
    channels: Mutex<HashMap<usize, Arc<Mutex<Marks>>>>,
}

/// Messages of a channel from an offset up to the newest at the time of a join, to be taken one after the other.
#[derive(Debug)]
pub struct Replay {
    id: ChannelId,
    /// The next one's offset, and the last one's.
    next: u64,
    last: u64,
    /// Newest first; the first of them is the last message.
    marks: Vec<Mark>,
    /// Positions of the next ones, newest first.
    near: Vec<u64>,
}

/// What a replay has next.
#[derive(Debug, PartialEq, Eq)]
pub enum Past {
    /// A message.
    Record(Record),
    /// So many messages that were overwritten before their turn came.
    Lost(u64),
    /// Nothing more.
    End,
}

fn lock<T>(marks: &Mutex<T>) -> MutexGuard<'_, T> {
    marks.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The messages of a channel from one of them back to the oldest that is there.
pub(crate) struct WayBack<'a> {
    log: Log<'a>,
    id: ChannelId,
    position: Option<u64>,
    /// Where the next one ends at the latest, and what its offset is.
    end: u64,
    offset: Option<u64>,
}

impl<'a> WayBack<'a> {
    pub(crate) fn new(log: &Log<'a>, id: ChannelId, position: Option<u64>) -> WayBack<'a> {
        let (log, end) = (*log, log.tail());
        WayBack {
            log,
            id,
            position,
            end,
            offset: None,
        }
    }

    /// The one before. Each ends before the one behind it begins and has the number before its, so there are no circles, and
    /// no more of them than the log has room for.
    pub(crate) fn next(&mut self) -> Result<Option<Record>, Damaged> {
        let Some(position) = self.position else {
            return Ok(None);
        };
        let Some(record) = self
            .log
            .record(position, self.end)?
            .filter(|one| one.is_of(self.id))
        else {
            self.position = None;
            return Ok(None);
        };
        if self.offset.is_some_and(|offset| offset != record.offset) {
            return Err(Damaged);
        }
        (self.position, self.end) = (record.previous, record.position);
        self.offset = Some(record.offset.checked_sub(1).ok_or(Damaged)?);
        Ok(Some(record))
    }

    /// The one before, unless its offset is smaller than `least`.
    fn next_from(&mut self, least: u64) -> Result<Option<Record>, Damaged> {
        Ok(self.next()?.filter(|record| record.offset >= least))
    }
}

impl Index {
    /// What is known of a channel. A forked process has to find it by itself: a thread of its parent's may have had the lock.
    fn of(&self, id: ChannelId) -> Arc<Mutex<Marks>> {
        if is_forked() {
            return Arc::default();
        }
        let mut channels = lock(&self.channels);
        if channels.len() >= KEPT && !channels.contains_key(&id.index()) {
            channels.clear();
        }
        Arc::clone(channels.entry(id.index()).or_default())
    }

    /// What was published behind `since` before a join, at most the newest `most`, and what lies before them.
    pub(crate) fn replay(
        &self,
        log: &Log<'_>,
        joined: &Joined,
        since: u64,
        most: usize,
    ) -> Result<(Replay, Missed), Damaged> {
        let end = joined.offset.checked_add(1).ok_or(Damaged)?;
        let mut next = (joined.begin(since) + 1).max(end.saturating_sub(most as u64));
        let mut replay = Replay::nothing(joined);
        if is_near(joined, next) {
            let mut oldest = end;
            let mut way = WayBack::new(log, joined.id, joined.newest);
            while let Some(record) = way.next_from(next)? {
                replay.near.push(record.position);
                oldest = record.offset;
            }
            next = next.max(oldest);
        } else if let Some(position) = joined.newest {
            let known = self.of(joined.id);
            let mut known = lock(&known);
            next = next.max(known.refresh(log, joined)?);
            if next < end {
                let offset = joined.offset;
                replay.marks.push(Mark { offset, position });
                let before = known.list.iter().rev().skip_while(|mark| mark.offset >= offset);
                replay.marks.extend(before.take_while(|mark| mark.offset >= next));
            }
        } else {
            next = next.max(end);
        }
        replay.next = next;
        Ok((replay, Missed::up_to(since, joined, next.min(end))))
    }

    /// Finds the marks of a channel, so that [`Index::replay`] need not.
    pub(crate) fn prepare(&self, log: &Log<'_>, joined: &Joined, since: u64) -> Result<(), Damaged> {
        if !is_near(joined, joined.begin(since).saturating_add(1)) {
            lock(&self.of(joined.id)).refresh(log, joined)?;
        }
        Ok(())
    }
}

impl Marks {
    /// Adds the marks up to the newest message, forgets those of messages that are gone, and answers the offset of the
    /// oldest message that is there; one behind the newest if there is none.
    fn refresh(&mut self, log: &Log<'_>, joined: &Joined) -> Result<u64, Damaged> {
        if self.generation != joined.id.generation {
            (self.generation, self.list) = (joined.id.generation, VecDeque::new());
        }
        let head = log.head();
        while self.list.front().is_some_and(|mark| mark.position < head) {
            self.list.pop_front();
        }
        let known = self.list.back().map_or(0, |mark| mark.offset);
        let mut oldest = joined.offset.saturating_add(1);
        let mut found = Vec::new();
        let mut way = WayBack::new(log, joined.id, joined.newest);
        while let Some(record) = way.next_from(known.saturating_add(1))? {
            if record.offset.is_multiple_of(STRIDE) {
                found.push(Mark {
                    offset: record.offset,
                    position: record.position,
                });
            }
            oldest = record.offset;
        }
        // What is before the oldest mark, less than a stride. It may be overwritten under us, and the next one with it.
        while let Some(mark) = self.list.front() {
            let mut way = WayBack::new(log, joined.id, Some(mark.position));
            let mut is_there = false;
            while let Some(record) = way.next()? {
                (oldest, is_there) = (record.offset, true);
            }
            if is_there {
                break;
            }
            self.list.pop_front();
        }
        self.list.extend(found.into_iter().rev());
        Ok(oldest)
    }
}

/// From here on a replay goes the way once, and needs no marks.
fn is_near(joined: &Joined, next: u64) -> bool {
    joined.offset.saturating_add(1).saturating_sub(next) <= STRIDE
}

impl Replay {
    /// One of no messages, behind a join.
    pub(crate) fn nothing(joined: &Joined) -> Replay {
        Replay {
            id: joined.id,
            next: joined.offset.saturating_add(1),
            last: joined.offset,
            marks: Vec::new(),
            near: Vec::new(),
        }
    }

    /// The offset of the next one.
    pub fn offset(&self) -> u64 {
        self.next
    }

    /// How many are left.
    pub fn remaining(&self) -> u64 {
        self.last.saturating_add(1).saturating_sub(self.next)
    }

    /// Leaves the next one out.
    pub fn skip(&mut self) {
        self.next = self.next.saturating_add(1);
        self.near.pop();
    }

    /// Takes the next one.
    pub(crate) fn next(&mut self, log: &Log<'_>) -> Result<Past, Damaged> {
        while self.remaining() > 0 {
            if let Some(position) = self.near.pop() {
                let found = WayBack::new(log, self.id, Some(position)).next()?;
                self.next += 1;
                return Ok(found.map_or(Past::Lost(1), Past::Record));
            }
            let Some(mark) = self.marks.pop() else {
                return Ok(self.lose_all());
            };
            let mut oldest = mark.offset + 1;
            let mut way = WayBack::new(log, self.id, Some(mark.position));
            while let Some(record) = way.next_from(self.next)? {
                self.near.push(record.position);
                oldest = record.offset;
            }
            if oldest > self.next && mark.offset >= self.next {
                return Ok(self.lose_up_to(oldest));
            }
        }
        Ok(Past::End)
    }

    /// Gives up all that is left.
    pub(crate) fn lose_all(&mut self) -> Past {
        (self.marks, self.near) = (Vec::new(), Vec::new());
        self.lose_up_to(self.last.saturating_add(1))
    }

    fn lose_up_to(&mut self, offset: u64) -> Past {
        let lost = offset.saturating_sub(self.next);
        self.next = offset;
        Past::Lost(lost)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::layout::record;
    use crate::{Channels, Kind, Place, BRIEFLY};

    fn all(replay: &mut Replay, channels: &Channels) -> (Vec<u64>, u64) {
        let (mut offsets, mut lost) = (Vec::new(), 0);
        loop {
            assert!(replay.near.len() <= STRIDE as usize);
            match replay.next(&channels.region.log()).unwrap() {
                Past::Record(record) => offsets.push(record.offset),
                Past::Lost(count) => lost += count,
                Past::End => return (offsets, lost),
            }
        }
    }

    /// What another way finds: from the end, all at once.
    fn expected(channels: &Channels, joined: &Joined, since: u64, most: usize) -> (Vec<u64>, Missed) {
        let found = channels.look_back(joined, since, most);
        let offsets = found.records.iter().map(|record| record.offset);
        (offsets.collect(), found.missed)
    }

    #[test]
    fn a_replay_finds_what_a_look_back_finds_whatever_was_asked_before() {
        let channels = Arc::new(Channels::in_memory(1 << 20, 1 << 16).unwrap());
        let place = Place::claim(Arc::clone(&channels)).unwrap();
        let mut dice = 6455_u64;
        let mut roll = |sides: u64| {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (dice >> 33) % sides
        };
        for round in 0..40 {
            for _ in 0..roll(if round % 10 == 0 { 8000 } else { 700 }) {
                let name = if roll(4) == 0 { "other" } else { "room" };
                channels
                    .publish(name, Kind::Text, &[b'x'; 40][..roll(40) as usize])
                    .unwrap();
            }
            let joined = place.join("room", BRIEFLY).unwrap();
            let ago = [0, 1, 10, 600, 100_000][roll(5) as usize];
            for since in [
                0,
                joined.base,
                joined.offset.saturating_sub(ago),
                joined.offset,
                joined.offset + 5,
            ] {
                for most in [usize::MAX, 1000, 100, 0] {
                    let (mut replay, missed) = channels.replay(&joined, since, most);
                    let (offsets, should_miss) = expected(&channels, &joined, since, most);
                    assert_eq!(missed, should_miss, "{round} since {since}");
                    assert_eq!(replay.remaining(), offsets.len() as u64);
                    assert_eq!(all(&mut replay, &channels), (offsets, 0), "{round} since {since}");
                }
            }
        }
    }

    #[test]
    fn what_is_overwritten_on_the_way_is_counted_and_what_follows_comes() {
        let channels = Arc::new(Channels::in_memory(1 << 20, 1 << 16).unwrap());
        let place = Place::claim(Arc::clone(&channels)).unwrap();
        for _ in 0..5000 {
            channels.publish("room", Kind::Text, &[b'x'; 64]).unwrap();
        }
        let joined = place.join("room", BRIEFLY).unwrap();
        let (mut replay, _) = channels.replay(&joined, joined.base, usize::MAX);
        for _ in 0..1000 {
            assert!(matches!(replay.next(&channels.region.log()), Ok(Past::Record(_))));
        }
        // The log has room for some eight thousand.
        for _ in 0..6000 {
            channels.publish("other", Kind::Text, &[b'x'; 64]).unwrap();
        }
        let (seen, lost) = all(&mut replay, &channels);
        assert_eq!(seen.len() as u64 + lost, 4000);
        assert!(lost > 1000 && seen.len() > 1000, "{lost} lost");
        assert!(seen.iter().copied().eq(joined.base + 1001 + lost..=joined.offset));
    }

    #[test]
    fn a_past_that_somebody_has_scribbled_in_comes_to_an_end() {
        let channels = Arc::new(Channels::in_memory(1 << 20, 1 << 16).unwrap());
        let place = Place::claim(Arc::clone(&channels)).unwrap();
        for _ in 0..3000 {
            channels.publish("room", Kind::Text, b"x").unwrap();
        }
        let joined = place.join("room", BRIEFLY).unwrap();
        let records = channels.look_back(&joined, 0, usize::MAX).records;
        let (mut replay, _) = channels.replay(&joined, 0, usize::MAX);
        assert!(matches!(place.next_past(&mut replay), Past::Record(_)));
        // One in the middle names one that is not the one before it.
        let region = &channels.region;
        let at = region.layout().log_at() + records[2000].position as usize + record::PREVIOUS;
        region.words().put(at, records[1000].position + 1);
        let (mut seen, mut lost) = (1, 0);
        loop {
            match place.next_past(&mut replay) {
                Past::Record(_) => seen += 1,
                Past::Lost(count) => lost += count,
                Past::End => break,
            }
        }
        assert_eq!(seen + lost, 3000);
        assert!((1000..2001).contains(&seen), "{seen}");
        assert!(channels.is_damaged());
        assert!(channels.history("room", None, usize::MAX).is_err());
    }

    #[test]
    fn a_long_replay_is_small_and_skips() {
        let channels = Arc::new(Channels::in_memory(8 << 20, 1 << 16).unwrap());
        let place = Place::claim(Arc::clone(&channels)).unwrap();
        for _ in 0..50_000 {
            channels.publish("room", Kind::Text, b"x").unwrap();
        }
        let joined = place.join("room", BRIEFLY).unwrap();
        let (mut replay, missed) = channels.replay(&joined, joined.base, usize::MAX);
        assert_eq!((replay.remaining(), missed), (50_000, Missed::Nothing));
        assert!(replay.marks.len() <= 50_000 / STRIDE as usize + 2);
        for _ in 0..600 {
            replay.skip();
        }
        let Ok(Past::Record(record)) = replay.next(&channels.region.log()) else {
            panic!()
        };
        assert_eq!(record.offset, joined.base + 601);
        replay.skip();
        assert_eq!(all(&mut replay, &channels).0.len(), 50_000 - 602);
    }
}
