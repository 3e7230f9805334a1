//! `fl_channels`: the channels of one instance in this process: made or found, and published to.
//!
//! Members are `membership`'s, what was published `history`'s.

use std::ffi::{c_char, c_int};
use std::os::fd::AsRawFd;
use std::sync::Arc;

use fairlead_engine as fl;
use fl::{ChannelError, Kind, Missed, RegionError};

use crate::arguments::{duplicate, free, guarded_handle, FOR_EVER};
use crate::handle::{check_place, fl_bytes, limit, live, put, slice, text, Handle, Tag};
use crate::session::{FL_MESSAGE_BINARY, FL_MESSAGE_TEXT};
use crate::status::{guarded, Failure, FL_ERR_CHANNELS, FL_OK, FL_TIMEOUT};

/// In place of a number of messages: it cannot be told, since what they were counted from is of another run.
pub const FL_MISSED_UNKNOWN: u64 = 18_446_744_073_709_551_615;

/// A message of a channel.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fl_published {
    /// Its number in the channel.
    pub offset: u64,
    /// `FL_MESSAGE_TEXT` or `FL_MESSAGE_BINARY`.
    pub kind: c_int,
    /// What was published, without a NUL behind it.
    pub data: *const c_char,
    /// Its length.
    pub size: usize,
}

/// The channels of one instance.
#[repr(C)]
pub struct fl_channels {
    tag: Tag,
    channels: Arc<fl::Channels>,
}

// SAFETY: `repr(C)`, the tag comes first, the number is used once.
unsafe impl Handle for fl_channels {
    const TAG: u32 = 0x464c_0005;
    const NAME: &'static str = "fl_channels";
}

impl fl_channels {
    pub(crate) fn inner(&self) -> Arc<fl::Channels> {
        Arc::clone(&self.channels)
    }
}

/// New channels of `size` bytes, for this process and whoever inherits `fl_channels_fileno`; `longest` is the most bytes
/// that a message may have. `*channels` is the caller's, to be freed with `fl_channels_free`; NULL after an error. From any
/// thread.
///
/// # Safety
/// `channels` is NULL or writable.
#[no_mangle]
pub unsafe extern "C" fn fl_channels_in_memory(
    size: usize,
    longest: usize,
    channels: *mut *mut fl_channels,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe {
        guarded_handle(channels, || {
            made(fl::Channels::in_memory(size, longest)).map(handle)
        })
    }
}

/// The channels in the file at `path`, made if there is none; instances that name the same file share them. One that is
/// there keeps its size. Else as `fl_channels_in_memory`.
///
/// # Safety
/// `channels` is NULL or writable; `path` is NULL or NUL-terminated.
#[no_mangle]
pub unsafe extern "C" fn fl_channels_in_file(
    path: *const c_char,
    size: usize,
    longest: usize,
    channels: *mut *mut fl_channels,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe {
        guarded_handle(channels, || {
            let path = text(path, "the path")?;
            made(fl::Channels::in_file(path.as_ref(), size, longest)).map(handle)
        })
    }
}

/// The channels behind `descriptor`, which another process has made and this one inherited. It is duplicated. Else as
/// `fl_channels_in_memory`.
///
/// # Safety
/// `channels` is NULL or writable.
#[no_mangle]
pub unsafe extern "C" fn fl_channels_inherit(
    descriptor: c_int,
    longest: usize,
    channels: *mut *mut fl_channels,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe {
        guarded_handle(channels, || {
            let own = duplicate(descriptor).map_err(|error| Failure::system(&error))?;
            made(fl::Channels::inherited(own, longest)).map(handle)
        })
    }
}

/// The descriptor that other processes are to inherit, for `fl_channels_inherit`. It belongs to the handle. From any
/// thread.
///
/// # Safety
/// `channels` is NULL or live.
#[no_mangle]
pub unsafe extern "C" fn fl_channels_fileno(channels: *const fl_channels) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        Ok(unsafe { live(channels) }?.channels.descriptor().as_raw_fd())
    })
}

/// Publishes a message, `FL_MESSAGE_*`; `*offset` (unless NULL) is its number in the channel. Waits at most `timeout_ms`
/// (negative: five seconds) for whoever is publishing: `FL_TIMEOUT` then, for which `fl_last_error` says who that is, and
/// nothing was published. `FL_ERR_USAGE` for a name or a message that cannot be. Needs no engine. From any thread.
///
/// # Safety
/// `channels` is NULL or live; `name` is NULL or NUL-terminated; `data` has `size` bytes; `offset` is NULL or writable.
#[no_mangle]
pub unsafe extern "C" fn fl_channels_publish(
    channels: *const fl_channels,
    name: *const c_char,
    kind: c_int,
    data: *const c_char,
    size: usize,
    timeout_ms: c_int,
    offset: *mut u64,
) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        let (channels, name, data) = unsafe {
            (
                live(channels)?,
                text(name, "the channel's name")?,
                slice(data.cast::<u8>(), size, "the message's bytes")?,
            )
        };
        if !offset.is_null() {
            check_place(offset)?;
        }
        let kind = kind_of(kind, data)?;
        let channels = &channels.channels;
        let published = match limit(timeout_ms) {
            Some(patience) => channels.publish_within(name, kind, data, patience),
            None => channels.publish(name, kind, data),
        };
        let published = match published {
            Ok(published) => published,
            Err(error @ ChannelError::Busy(_)) => return Err(Failure::new(FL_TIMEOUT, error)),
            Err(error) => return Err(failure(&error)),
        };
        if !offset.is_null() {
            // SAFETY: checked above.
            unsafe { put(offset, published) }?;
        }
        Ok(FL_OK)
    })
}

/// How many members a channel has in all processes; 0 for one that does not exist. From any thread.
///
/// # Safety
/// `channels` is NULL or live; `name` is NULL or NUL-terminated; `members` is NULL or writable.
#[no_mangle]
pub unsafe extern "C" fn fl_channels_members(
    channels: *const fl_channels,
    name: *const c_char,
    members: *mut u64,
) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        let (channels, name) = unsafe { (live(channels)?, text(name, "the channel's name")?) };
        let count = channels.channels.members(name).map_err(|error| failure(&error))?;
        // SAFETY: as above.
        unsafe { put(members, count) }?;
        Ok(FL_OK)
    })
}

/// Frees the handle; engines that were started with these channels keep them. NULL is no error. From any thread, but no
/// other call may use it.
///
/// # Safety
/// `channels` is NULL or live, and used by nobody else.
#[no_mangle]
pub unsafe extern "C" fn fl_channels_free(channels: *mut fl_channels) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { free(channels) }
}

fn handle(channels: fl::Channels) -> fl_channels {
    fl_channels {
        tag: Tag::of::<fl_channels>(),
        channels: Arc::new(channels),
    }
}

fn made(channels: Result<fl::Channels, RegionError>) -> Result<fl::Channels, Failure> {
    channels.map_err(|error| match error {
        RegionError::System(error) => Failure::system(&error),
        RegionError::Size(_) => Failure::usage(error),
        error => Failure::new(FL_ERR_CHANNELS, error),
    })
}

/// # Safety
/// `since` is NULL or readable.
pub(crate) unsafe fn optional_offset(since: *const u64) -> Result<Option<u64>, Failure> {
    if since.is_null() {
        return Ok(None);
    }
    check_place(since)?;
    // SAFETY: neither NULL nor crooked, and the caller's promise.
    Ok(Some(unsafe { since.read() }))
}

fn kind_of(kind: c_int, data: &[u8]) -> Result<Kind, Failure> {
    match kind {
        FL_MESSAGE_TEXT if !fl::is_utf8(data) => Err(Failure::usage(
            "a text message must be UTF-8 (RFC 6455 §5.6); publish it as binary",
        )),
        FL_MESSAGE_TEXT => Ok(Kind::Text),
        FL_MESSAGE_BINARY => Ok(Kind::Binary),
        other => Err(Failure::usage(format!(
            "{other} is no kind of message; use FL_MESSAGE_TEXT or FL_MESSAGE_BINARY"
        ))),
    }
}

pub(crate) fn number_of(kind: Kind) -> c_int {
    match kind {
        Kind::Text => FL_MESSAGE_TEXT,
        Kind::Binary => FL_MESSAGE_BINARY,
    }
}

pub(crate) fn published(offset: u64, kind: c_int, payload: &[u8]) -> fl_published {
    let fl_bytes { data, size } = fl_bytes::of(payload);
    fl_published {
        offset,
        kind,
        data,
        size,
    }
}

pub(crate) fn missed(missed: Missed) -> u64 {
    match missed {
        Missed::Nothing => 0,
        Missed::Messages(count) => count,
        Missed::Unknown => FL_MISSED_UNKNOWN,
    }
}

/// What a call on channels failed of.
pub(crate) fn failure(error: &ChannelError) -> Failure {
    match error {
        ChannelError::Name(_) | ChannelError::TooLong { .. } => Failure::usage(error),
        _ => Failure::new(FL_ERR_CHANNELS, error),
    }
}

/// A time-out of a call that may block for as long as it likes.
pub(crate) fn patience(timeout_ms: c_int) -> std::time::Duration {
    limit(timeout_ms).unwrap_or(FOR_EVER)
}
