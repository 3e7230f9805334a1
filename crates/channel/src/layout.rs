//! Where everything lies in the region, counted in words of eight bytes.
//!
//! ```text
//! header │ workers: 128 × 64 B │ buckets │ channels: n × 1 KiB │ log
//! ```
//! The processes of one region must agree on this file to the bit; [`VERSION`] changes with it.

/// "FAIRLEAD" as a number: no other file begins so by accident.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"FAIRLEAD");
/// Of this layout and of what the fields mean.
pub(crate) const VERSION: u64 = 2;

/// Below this a region has no room for a directory and a log worth the name.
pub const SMALLEST_REGION: usize = 1 << 20;
/// Beyond this a record's size would not fit its field, and nobody wants it.
pub const LARGEST_REGION: usize = 16 << 30;

/// Words of the header, each named by what it holds.
pub(crate) mod header {
    pub(crate) const MAGIC: usize = 0;
    pub(crate) const VERSION: usize = 1;
    /// Bytes of the whole region.
    pub(crate) const SIZE: usize = 2;
    /// Entries of the directory.
    pub(crate) const CHANNELS: usize = 3;
    /// Words of the log.
    pub(crate) const CAPACITY: usize = 4;
    /// A random number of this log; offsets begin above it.
    pub(crate) const EPOCH: usize = 5;
    /// The robust lock, up to eight words.
    pub(crate) const LOCK: usize = 8;
    /// The position of the oldest record. Moved on before its bytes are overwritten.
    pub(crate) const HEAD: usize = 16;
    /// The position behind the newest record. Moved on when that is complete: this makes it visible.
    pub(crate) const TAIL: usize = 17;
    /// The directory knows all records before this position; it lags behind the tail only inside an append.
    pub(crate) const RECORDED: usize = 18;
    /// The largest offset of a channel that was taken out of the directory.
    pub(crate) const EVICTED: usize = 19;
    /// The first free entry of the directory, plus one.
    pub(crate) const FREE: usize = 20;
    /// Channels in the directory.
    pub(crate) const COUNT: usize = 21;
    /// Where the search for an entry to free goes on.
    pub(crate) const HAND: usize = 22;
    /// Entries from here on were never used: a region that is hardly used costs hardly any memory.
    pub(crate) const FRESH: usize = 24;
    /// Which run of the machine the lock belongs to: one held when the power went is held by nobody.
    pub(crate) const BOOT: usize = 23;
    /// Not zero when nothing is written or read any more: somebody has found what no writer of ours leaves, or the file has
    /// lost its name.
    pub(crate) const DAMAGED: usize = 25;
    pub(crate) const WORDS: usize = 32;
}

/// Words of a worker's place: one cache line for each.
pub(crate) mod worker {
    /// The process, zero if the place is free.
    pub(crate) const PROCESS: usize = 0;
    /// Odd while its loop sleeps, or is about to; the rest counts its sleeps.
    pub(crate) const ASLEEP: usize = 1;
    /// Wake-ups so far: what its waiting thread sleeps on, a futex.
    pub(crate) const WAKES: usize = 2;
    /// How far it has read.
    pub(crate) const CURSOR: usize = 3;
    /// Records that were overwritten before it came to them, and messages that its slow members missed.
    pub(crate) const OVERTAKEN: usize = 4;
    pub(crate) const DROPPED: usize = 5;
    pub(crate) const DELIVERED: usize = 6;
    pub(crate) const WORDS: usize = 8;
}

/// Processes that can have members at a time. Twice what a machine of 64 cores runs; 64 bytes and four in each channel.
#[cfg(not(loom))]
pub(crate) const WORKERS: usize = 128;
/// The model is searched exhaustively: as few words as there can be.
#[cfg(loom)]
pub(crate) const WORKERS: usize = 64;

/// Words of a channel's entry.
pub(crate) mod channel {
    /// Changes when the entry changes its tenant.
    pub(crate) const GENERATION: usize = 0;
    /// Bytes of the name; zero if the entry is free. Written last when a channel is made, first when it goes.
    pub(crate) const NAME_LENGTH: usize = 1;
    /// The next entry of the bucket or of the free list, plus one.
    pub(crate) const NEXT: usize = 2;
    /// The offset of the newest message, or what the first one's will be minus one.
    pub(crate) const OFFSET: usize = 3;
    /// What `OFFSET` was when the channel was made.
    pub(crate) const BASE: usize = 4;
    /// The position of the newest message plus one; zero if there was none.
    pub(crate) const NEWEST: usize = 5;
    /// Payload bytes of all messages.
    pub(crate) const BYTES: usize = 6;
    /// Sum of all members.
    pub(crate) const MEMBERS: usize = 7;
    /// A bit for each worker that has members. Made of the counts; two words.
    pub(crate) const MASK: usize = 8;
    /// How many members each worker has: two in each word.
    pub(crate) const COUNTS: usize = 16;
    /// The name in UTF-8, 32 words.
    pub(crate) const NAME: usize = COUNTS + crate::layout::WORKERS / 2;
    pub(crate) const WORDS: usize = 128;
}

/// The longest name of a channel, in bytes of UTF-8. Its length fits into one byte, its entry into 1 KiB.
pub const LONGEST_NAME: usize = 255;

/// Words of a record before its payload.
pub(crate) mod record {
    /// Where the record begins: who reads it elsewhere was overtaken.
    pub(crate) const POSITION: usize = 0;
    /// All its words, and in the upper half what it is.
    pub(crate) const SIZE: usize = 1;
    /// The channel's entry, and in the upper half the bytes of the payload.
    pub(crate) const CHANNEL: usize = 2;
    pub(crate) const GENERATION: usize = 3;
    pub(crate) const OFFSET: usize = 4;
    /// The position of the channel's message before it plus one; zero if there was none.
    pub(crate) const PREVIOUS: usize = 5;
    pub(crate) const WORDS: usize = 6;
    /// Records begin at multiples of this, so that what is left at the end of the log has room for a padding's two words.
    pub(crate) const ALIGNMENT: usize = 2;
}

/// The sizes of one region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) channels: usize,
    pub(crate) buckets: usize,
    /// Words of the log.
    pub(crate) capacity: usize,
}

impl Layout {
    /// What fits into so many bytes: an eighth for the directory, at most 16,384 channels.
    pub(crate) fn for_size(bytes: usize) -> Layout {
        let words = bytes / 8;
        let channels = (words / 8 / (channel::WORDS + 1)).clamp(16, 16_384);
        let mut layout = Layout {
            channels,
            buckets: channels,
            capacity: 0,
        };
        let left = words.saturating_sub(layout.log_at());
        layout.capacity = left - left % record::ALIGNMENT;
        layout
    }

    pub(crate) fn worker(index: usize) -> usize {
        debug_assert!(index < WORKERS);
        header::WORDS + index * worker::WORDS
    }

    pub(crate) fn bucket(&self, index: usize) -> usize {
        debug_assert!(index < self.buckets);
        Layout::worker(0) + WORKERS * worker::WORDS + index
    }

    pub(crate) fn channel(&self, index: usize) -> usize {
        debug_assert!(index < self.channels);
        // Rounded up to a cache line.
        let at = Layout::worker(0) + WORKERS * worker::WORDS + self.buckets;
        at.next_multiple_of(8) + index * channel::WORDS
    }

    pub(crate) fn log_at(&self) -> usize {
        self.channel(self.channels - 1) + channel::WORDS
    }

    /// Words of the whole region.
    #[cfg(any(test, loom))]
    pub(crate) fn words(&self) -> usize {
        self.log_at() + self.capacity
    }

    /// The longest payload of one message in bytes: a quarter of the log, so that one giant does not displace all history.
    pub(crate) fn longest_payload(&self) -> usize {
        (self.capacity / 4 - record::WORDS) * 8
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn nothing_overlaps() {
        let layout = Layout::for_size(1 << 20);
        assert!(Layout::worker(WORKERS - 1) + worker::WORDS <= layout.bucket(0));
        assert!(layout.bucket(layout.buckets - 1) < layout.channel(0));
        assert!(layout.words() * 8 <= 1 << 20);
        assert!(layout.words() * 8 > (1 << 20) - 16);
        assert!(channel::NAME + LONGEST_NAME.div_ceil(8) <= channel::WORDS);
        const { assert!(channel::MASK + WORKERS / 64 <= channel::COUNTS) };
    }

    #[test]
    fn the_usual_size_has_room_for_many_channels() {
        let layout = Layout::for_size(64 << 20);
        assert!(layout.channels > 8000, "{layout:?}");
        assert!(layout.capacity * 8 > 55 << 20, "{layout:?}");
    }
}
