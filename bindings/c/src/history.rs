//! What can be looked up in channels: `fl_history`, messages of one, and `fl_channel_list`, all there are.
//!
//! It is copied into a handle of its own, so that C gets pointers that no publisher changes.

use std::ffi::{c_char, c_int, CString};

use fairlead_engine as fl;

use crate::arguments::free;
use crate::channels::{
    failure, fl_channels, fl_published, missed, number_of, optional_offset, published, FL_MISSED_UNKNOWN,
};
use crate::handle::{check_place, fl_bytes, give, live, put, text, Handle, Tag};
use crate::status::{guarded, FL_END, FL_OK};

/// What a history is, beside its messages.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fl_history_facts {
    /// How many messages it has.
    pub messages: usize,
    /// The channel's newest offset, in it or behind it; 0 for a channel that does not exist.
    pub offset: u64,
    /// How many are lost between `since` and the first; `FL_MISSED_UNKNOWN`.
    pub missed: u64,
    /// 1: nothing that was asked for lies behind it.
    pub is_all: c_int,
}

/// A channel.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fl_channel_facts {
    /// Its name, with a NUL behind it. Lives as long as the list.
    pub name: fl_bytes,
    /// Of all processes.
    pub members: u64,
    /// Messages that were published.
    pub messages: u64,
    /// Their payloads.
    pub bytes: u64,
    /// The newest offset.
    pub offset: u64,
}

/// Messages that were looked up.
#[repr(C)]
pub struct fl_history {
    tag: Tag,
    facts: fl_history_facts,
    messages: Vec<(u64, c_int, Vec<u8>)>,
}

/// Channels that were looked up.
#[repr(C)]
pub struct fl_channel_list {
    tag: Tag,
    channels: Vec<(CString, fl::ChannelFacts)>,
}

// SAFETY: `repr(C)`, the tag comes first, the number is used once.
unsafe impl Handle for fl_history {
    const TAG: u32 = 0x464c_0006;
    const NAME: &'static str = "fl_history";
}

// SAFETY: as above.
unsafe impl Handle for fl_channel_list {
    const TAG: u32 = 0x464c_0007;
    const NAME: &'static str = "fl_channel_list";
}

/// The messages of a channel, oldest first: the first after the offset `*since`, or without one (NULL) the newest; at most
/// `messages` of them and about `bytes` of payload, 0 for no such limit. `*history` is the caller's, to be freed with
/// `fl_history_free`; NULL after an error. From any thread.
///
/// # Safety
/// `channels` is NULL or live; `name` is NULL or NUL-terminated; `since` is NULL or readable; `history` is NULL or writable.
#[no_mangle]
pub unsafe extern "C" fn fl_channels_history(
    channels: *const fl_channels,
    name: *const c_char,
    since: *const u64,
    messages: usize,
    bytes: usize,
    history: *mut *mut fl_history,
) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        let (channels, name, since) = unsafe {
            put(history, std::ptr::null_mut())?;
            (
                live(channels)?,
                text(name, "the channel's name")?,
                optional_offset(since)?,
            )
        };
        let most = |given: usize| if given == 0 { usize::MAX } else { given };
        let page = channels
            .inner()
            .page(name, since, most(messages), most(bytes))
            .map_err(|error| failure(&error))?;
        let made = match page {
            Some(page) => fl_history {
                tag: Tag::of::<fl_history>(),
                facts: fl_history_facts {
                    messages: page.messages.len(),
                    offset: page.offset,
                    missed: missed(page.missed),
                    is_all: c_int::from(page.is_all),
                },
                messages: page
                    .messages
                    .into_iter()
                    .map(|(record, payload)| (record.offset, number_of(record.kind), payload))
                    .collect(),
            },
            None => fl_history {
                tag: Tag::of::<fl_history>(),
                facts: fl_history_facts {
                    messages: 0,
                    offset: 0,
                    missed: if since.unwrap_or(0) == 0 {
                        0
                    } else {
                        FL_MISSED_UNKNOWN
                    },
                    is_all: 1,
                },
                messages: Vec::new(),
            },
        };
        // SAFETY: as above.
        unsafe { put(history, give(made)) }?;
        Ok(FL_OK)
    })
}

/// How many messages a history has, and what is missing. From any thread.
///
/// # Safety
/// `history` is NULL or live; `facts` is NULL or writable.
#[no_mangle]
pub unsafe extern "C" fn fl_history_about(history: *const fl_history, facts: *mut fl_history_facts) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        unsafe { put(facts, live(history)?.facts) }?;
        Ok(FL_OK)
    })
}

/// Message `index` of a history, from 0: `FL_OK`, or `FL_END` beyond the last. Its bytes live as long as the history. From
/// any thread.
///
/// # Safety
/// `history` is NULL or live; `message` is NULL or writable.
#[no_mangle]
pub unsafe extern "C" fn fl_history_message(
    history: *const fl_history,
    index: usize,
    message: *mut fl_published,
) -> c_int {
    guarded(|| {
        check_place(message)?;
        // SAFETY: the caller's promise.
        let Some((offset, kind, payload)) = unsafe { live(history) }?.messages.get(index) else {
            return Ok(FL_END);
        };
        // SAFETY: checked above.
        unsafe { put(message, published(*offset, *kind, payload)) }?;
        Ok(FL_OK)
    })
}

/// Frees a history. NULL is no error. From any thread, but no other call may use it.
///
/// # Safety
/// `history` is NULL or live, and used by nobody else.
#[no_mangle]
pub unsafe extern "C" fn fl_history_free(history: *mut fl_history) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { free(history) }
}

/// All channels, as they are now. `*list` is the caller's, to be freed with `fl_channel_list_free`; NULL after an error.
/// From any thread.
///
/// # Safety
/// `channels` is NULL or live; `list` is NULL or writable.
#[no_mangle]
pub unsafe extern "C" fn fl_channels_list(
    channels: *const fl_channels,
    list: *mut *mut fl_channel_list,
) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        let channels = unsafe {
            put(list, std::ptr::null_mut())?;
            live(channels)?
        };
        let all = channels.inner().list().into_iter();
        let made = fl_channel_list {
            tag: Tag::of::<fl_channel_list>(),
            // A name has no control characters.
            channels: all
                .map(|facts| (CString::new(facts.name.as_str()).unwrap_or_default(), facts))
                .collect(),
        };
        // SAFETY: as above.
        unsafe { put(list, give(made)) }?;
        Ok(FL_OK)
    })
}

/// Channel `index` of a list, from 0: `FL_OK`, or `FL_END` beyond the last. From any thread.
///
/// # Safety
/// `list` is NULL or live; `channel` is NULL or writable.
#[no_mangle]
pub unsafe extern "C" fn fl_channel_list_item(
    list: *const fl_channel_list,
    index: usize,
    channel: *mut fl_channel_facts,
) -> c_int {
    guarded(|| {
        check_place(channel)?;
        // SAFETY: the caller's promise.
        let Some((name, facts)) = unsafe { live(list) }?.channels.get(index) else {
            return Ok(FL_END);
        };
        let found = fl_channel_facts {
            name: fl_bytes::of(name.as_bytes()),
            members: facts.members,
            messages: facts.messages,
            bytes: facts.bytes,
            offset: facts.offset,
        };
        // SAFETY: checked above.
        unsafe { put(channel, found) }?;
        Ok(FL_OK)
    })
}

/// Frees a list. NULL is no error. From any thread, but no other call may use it.
///
/// # Safety
/// `list` is NULL or live, and used by nobody else.
#[no_mangle]
pub unsafe extern "C" fn fl_channel_list_free(list: *mut fl_channel_list) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { free(list) }
}
