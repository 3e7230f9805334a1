//! Channels: what one process publishes reaches the members in all, through one log in shared memory.
//!
//! # How it fits together
//! `region` maps the memory and `layout` says where what lies in it. `directory` has the channels by name and who has
//! members; `log` has the messages of all channels one behind the other. [`Channels`] publishes; a [`Place`] is one
//! process's loop as a reader, with a [`Cursor`] of its own; `sleep` and `wake` are how it is woken. Whoever delivers to
//! members is not known here. The system is met in `region`, `files`, `lock`, `wake`, `open`, `owner` and `signal` only.
//!
//! # The lock
//! There is one (`lock`), for all processes: held by whoever appends or changes the directory, never by who reads or looks
//! back, never across a wait. It is robust: when its holder dies, the next one puts the directory in order and goes on. When
//! its holder is stopped, publishing and joining fail after the caller's patience, with the holder's name ([`LockOwner`]); a
//! member that leaves is noted, and counted out later ([`Place::settle`]).
//!
//! # What a crash leaves
//! Everything that was published before. A record that was being written is invisible, since the tail moves last; what the
//! directory did not hear of it is told by the next writer. The members of a dead process count until somebody notices
//! ([`Channels::forget_dead`]).
//!
//! # Offsets
//! Each message has a number in its channel, one more than the one before. The first number of a channel is above a random
//! one, the log's epoch: so an offset of yesterday's log is not mistaken for one of today's, whatever the clock did in
//! between, and it still fits into the 53 bits that JavaScript counts with.

#![deny(unsafe_code)]
#![cfg_attr(loom, allow(dead_code, unused_imports))]

#[cfg(not(loom))]
mod channels;
mod directory;
#[cfg(not(loom))]
mod error;
#[cfg(not(loom))]
mod files;
#[cfg(not(loom))]
mod forked;
#[cfg(not(loom))]
mod history;
mod layout;
#[cfg(not(loom))]
mod lock;
mod log;
#[cfg(not(loom))]
mod memberships;
#[cfg(not(loom))]
mod open;
#[cfg(not(loom))]
mod owner;
#[cfg(not(loom))]
mod reader;
#[cfg(not(loom))]
mod reading;
#[cfg(not(loom))]
mod region;
#[cfg(not(loom))]
mod replay;
#[cfg(not(loom))]
mod signal;
mod sleep;
mod sync;
#[cfg(not(loom))]
mod wake;
mod words;

#[cfg(all(test, loom))]
mod model;
#[cfg(all(test, not(loom)))]
mod tests;

pub use directory::ChannelId;
pub use layout::{LARGEST_REGION, LONGEST_NAME, SMALLEST_REGION};
pub use log::{Kind, Record};

#[cfg(not(loom))]
pub use self::{
    channels::{check_name, Channels},
    error::{ChannelError, RegionError},
    forked::{is_forked, note_fork},
    history::{History, Joined, Missed},
    owner::LockOwner,
    reader::{Cursor, Next, Place},
    reading::{ChannelFacts, Page, WorkerFacts},
    region::BRIEFLY,
    replay::{Past, Replay},
};
