//! What can go wrong, and what to do about it.

use std::fmt;
use std::io;

use crate::layout::{LARGEST_REGION, LONGEST_NAME, SMALLEST_REGION};
use crate::owner::LockOwner;

/// Why there is no region.
#[derive(Debug)]
pub enum RegionError {
    /// A size in bytes that no region has.
    Size(usize),
    /// A folder, a device or a pipe.
    NotAFile,
    /// Not made by us, or not completely.
    NotARegion,
    /// Somebody else has written into it.
    Damaged,
    /// Another process has begun to make or open it, and does not move.
    BeingMade,
    /// Its file system has no room for so many bytes.
    NoRoom(usize),
    /// Made by another release.
    #[allow(missing_docs)]
    OtherVersion { found: u64, ours: u64 },
    /// It belongs to somebody else.
    #[allow(missing_docs)]
    OtherOwner { owner: u32, user: u32 },
    /// Others than its owner may write it.
    #[allow(missing_docs)]
    Writable { mode: u32 },
    /// The system's.
    System(io::Error),
}

impl fmt::Display for RegionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MIB: usize = 1 << 20;
        match self {
            Self::Size(bytes) => write!(
                f,
                "{bytes} bytes are no size for channels; choose {} MiB to {} MiB",
                SMALLEST_REGION / MIB,
                LARGEST_REGION / MIB
            ),
            Self::NotAFile => f.write_str("it is no regular file; name one, or a path where none is"),
            Self::NotARegion => f.write_str(
                "it is no file of channels, or its making was interrupted; remove it if it is not used otherwise",
            ),
            Self::BeingMade => f.write_str(
                "another process has begun to open it and does not move: let that one go on, or end it, and start again",
            ),
            Self::NoRoom(bytes) => write!(
                f,
                "there is no room for its {} MiB; make some, choose less with --channels-memory if the file is new, or \
                 name one in another place",
                bytes.div_ceil(MIB)
            ),
            Self::Damaged => f.write_str(
                "it is damaged: a program that is none of ours has written into it; stop all instances that share it and \
                 remove it",
            ),
            Self::OtherVersion { found, ours } => write!(
                f,
                "it has version {found} of the format and this release uses version {ours}; stop all instances that \
                 share it and remove it"
            ),
            Self::OtherOwner { owner, user } => write!(
                f,
                "it belongs to user {owner} and this process runs as user {user}; start all instances that share it as \
                 the same user"
            ),
            Self::Writable { mode } => write!(
                f,
                "others than its owner may write it (its mode is {mode:03o}), and with it what clients get; chmod go-w, and \
                 let programs of other users publish by --channels-socket"
            ),
            Self::System(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RegionError {}

impl From<io::Error> for RegionError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

/// Why a channel cannot be used so. Nothing was changed.
#[derive(Debug)]
pub enum ChannelError {
    /// Empty, longer than [`LONGEST_NAME`] bytes, or with a control character.
    Name(String),
    /// The message is longer than allowed.
    #[allow(missing_docs)]
    TooLong { length: usize, longest: usize },
    /// All entries of the directory are channels with members.
    #[allow(missing_docs)]
    DirectoryFull { channels: usize },
    /// All places are taken by living processes.
    #[allow(missing_docs)]
    TooManyWorkers { workers: usize },
    /// A process that holds the lock does not move; which one, where that can be known.
    Busy(Option<LockOwner>),
    /// Somebody has scribbled in the region: nothing is written there any more, nor read.
    Damaged,
    /// The region's file was removed, or made shorter, while it was in use.
    Lost,
    /// The system's.
    System(io::Error),
}

impl fmt::Display for ChannelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) if name.is_empty() => f.write_str("a channel's name is not empty"),
            Self::Name(name) if name.len() > LONGEST_NAME => write!(
                f,
                "a channel's name has at most {LONGEST_NAME} bytes of UTF-8; this one has {}",
                name.len()
            ),
            Self::Name(name) => write!(f, "a channel's name has no control characters: {name:?}"),
            Self::TooLong { length, longest } => write!(
                f,
                "the message has {length} bytes, and {longest} are allowed; send less at a time, or raise \
                 --channels-max-message (and --channels-memory to at least five times that)"
            ),
            Self::DirectoryFull { channels } => write!(
                f,
                "all {channels} channels have members, and there is no room for another; raise --channels-memory"
            ),
            Self::TooManyWorkers { workers } => {
                write!(f, "{workers} processes share these channels already, which is all that can")
            }
            Self::Busy(Some(holder)) => holder.fmt(f),
            Self::Damaged => f.write_str(
                "the channels are damaged: a program that is none of ours has written into their memory; reload to \
                 begin with new ones, or where a file is shared, stop all its instances and remove it",
            ),
            Self::Lost => f.write_str(
                "the channels' file was removed or cut short while it was in use; an instance notices that and begins \
                 with a new one",
            ),
            Self::Busy(None) => f.write_str(
                "another process holds the channels' lock and does not move: it is stopped, or the machine is overloaded",
            ),
            Self::System(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ChannelError {}

impl From<io::Error> for ChannelError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}
