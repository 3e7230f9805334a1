//! Where a member begins, what was published before that, and whether that is everything.

use crate::directory::ChannelId;
use crate::log::Record;

/// What a new member has to know.
#[derive(Clone, Copy, Debug)]
pub struct Joined {
    /// Names the channel from now on.
    pub id: ChannelId,
    /// The newest message that came before: the member's first one has the next number.
    pub offset: u64,
    /// Before the first of these there was nothing.
    pub base: u64,
    /// Where the newest message begins.
    pub(crate) newest: Option<u64>,
}

/// What somebody who comes back has missed for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missed {
    /// Nothing.
    Nothing,
    /// So many messages, which the log no longer has.
    Messages(u64),
    /// The offset is not one of this log's: from before a restart, or from another channel. Nobody can say.
    Unknown,
}

/// The answer to a look back.
#[derive(Debug)]
pub struct History {
    /// Oldest first, without a hole.
    pub records: Vec<Record>,
    /// What lies between the given offset and the first of them.
    pub missed: Missed,
}

impl Joined {
    /// Where somebody begins who knows `since`: an offset that is not given yet is another log's, so with all there is, as
    /// with one from before the first.
    pub(crate) fn begin(&self, since: u64) -> u64 {
        if since > self.offset {
            0
        } else {
            since
        }
    }
}

impl Missed {
    /// `oldest`: the first record after `since` that is still there.
    pub(crate) fn between(since: u64, joined: &Joined, oldest: Option<&Record>) -> Missed {
        Missed::up_to(
            since,
            joined,
            oldest.map_or(joined.offset.saturating_add(1), |record| record.offset),
        )
    }

    /// `next`: the first offset after `since` that is still there, or will be. Offset 0 is before everything.
    pub(crate) fn up_to(since: u64, joined: &Joined, next: u64) -> Missed {
        if since == 0 || since == joined.offset {
            return Missed::Nothing;
        }
        if since < joined.base || since > joined.offset {
            return Missed::Unknown;
        }
        match next.saturating_sub(since).saturating_sub(1) {
            0 => Missed::Nothing,
            count => Missed::Messages(count),
        }
    }
}
