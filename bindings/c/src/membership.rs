//! Members of channels: a session, whose client gets what is published, and `fl_subscription`, which the program reads.

use std::ffi::{c_char, c_int};
use std::sync::{Arc, Mutex, Weak};

use fairlead_engine as fl;
use fl::{Delivery, Drops, JoinError, SlowConsumer, Style, Taken, Token, Waiting};

use crate::arguments::{free, only_thread, only_with};
use crate::channels::{failure, fl_published, missed, number_of, optional_offset, patience, published};
use crate::engine::fl_engine;
use crate::handle::{check_place, give, live, put, text, Handle, Tag};
use crate::session::fl_session;
use crate::status::{guarded, Failure, FL_CLOSED, FL_END, FL_OK, FL_PENDING, FL_TIMEOUT};

/// Of a session: what the setting `channel_slow_consumer` says. Of a subscription: its oldest messages are dropped.
pub const FL_SLOW_USUAL: c_int = 0;
/// It is closed with 1013. Sessions only.
pub const FL_SLOW_CLOSE: c_int = 1;
/// What is published is dropped for it.
pub const FL_SLOW_DROP_NEWEST: c_int = 2;
/// What has waited longest is dropped.
pub const FL_SLOW_DROP_OLDEST: c_int = 3;

/// How a membership has begun.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fl_joined {
    /// The first message that it gets has a larger one.
    pub offset: u64,
    /// Messages after `since` that it gets first.
    pub replayed: u64,
    /// How many are lost between `since` and the first; `FL_MISSED_UNKNOWN`.
    pub missed: u64,
}

/// What became of a subscription so far.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fl_subscription_facts {
    /// Messages that wait.
    pub queued: usize,
    /// Messages that it did not get: it was full, or they were overwritten.
    pub missed: u64,
    /// 1: `fl_subscription_close` was called.
    pub is_closed: c_int,
}

/// A membership that the program reads.
#[repr(C)]
pub struct fl_subscription {
    tag: Tag,
    subscriber: fl::Subscriber,
    engine: Weak<fl::Engine>,
    delivery: Delivery,
    /// The message that C looks at.
    taken: Mutex<Vec<u8>>,
}

// SAFETY: `repr(C)`, the tag comes first, the number is used once.
unsafe impl Handle for fl_subscription {
    const TAG: u32 = 0x464c_0008;
    const NAME: &'static str = "fl_subscription";
}

/// The session's client gets what is published in the channel from now on, and before that what was after the offset
/// `*since` (NULL: nothing). With `with_offsets` each message has its offset in front, as the page's `channels.js` reads
/// it. `slow_consumer`: `FL_SLOW_*`. A session that is a member already goes on as this call says. `FL_CLOSED`; `FL_ERR_USAGE`
/// for a bad name, and where the engine has no channels. From any thread.
///
/// # Safety
/// `session` is NULL or live; `name` is NULL or NUL-terminated; `since` is NULL or readable; `joined` is NULL or writable.
#[no_mangle]
pub unsafe extern "C" fn fl_session_join(
    session: *mut fl_session,
    name: *const c_char,
    since: *const u64,
    with_offsets: c_int,
    slow_consumer: c_int,
    joined: *mut fl_joined,
) -> c_int {
    guarded(|| {
        check_place(joined)?;
        // SAFETY: the caller's promise.
        let (session, name, since) = unsafe {
            (
                live(session)?,
                text(name, "the channel's name")?,
                optional_offset(since)?,
            )
        };
        let slow_consumer = match slow_consumer {
            FL_SLOW_USUAL => None,
            FL_SLOW_CLOSE => Some(SlowConsumer::Close),
            FL_SLOW_DROP_NEWEST => Some(SlowConsumer::DropNewest),
            FL_SLOW_DROP_OLDEST => Some(SlowConsumer::DropOldest),
            other => return Err(no_policy(other)),
        };
        let style = match with_offsets {
            0 => Style::Plain,
            _ => Style::Numbered,
        };
        let options = fl::JoinOptions {
            since,
            style,
            slow_consumer,
        };
        let answer = match session.connection().join(name, options) {
            Ok(answer) => answer,
            Err(JoinError::Closed) => return Ok(FL_CLOSED),
            Err(error) => return Err(join_failure(&error)),
        };
        // SAFETY: checked above.
        unsafe { put(joined, joined_of(&answer)) }?;
        Ok(FL_OK)
    })
}

/// The session's client gets no more of the channel: `FL_OK`, or `FL_END` if it was no member. From any thread.
///
/// # Safety
/// `session` is NULL or live; `name` is NULL or NUL-terminated.
#[no_mangle]
pub unsafe extern "C" fn fl_session_leave(session: *mut fl_session, name: *const c_char) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        let (session, name) = unsafe { (live(session)?, text(name, "the channel's name")?) };
        Ok(if session.connection().leave_channel(name) {
            FL_OK
        } else {
            FL_END
        })
    })
}

/// Messages of its channels that the session's client did not get, since it was slow. From any thread.
///
/// # Safety
/// `session` is NULL or live; `messages` is NULL or writable.
#[no_mangle]
pub unsafe extern "C" fn fl_session_missed(session: *const fl_session, messages: *mut u64) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        unsafe { put(messages, live(session)?.connection().missed()) }?;
        Ok(FL_OK)
    })
}

/// A membership that the program reads itself: of what is published from now on, and before that what was after the offset
/// `*since` (NULL: nothing). At most `capacity` messages wait; then `slow_consumer` says which are dropped.
/// `*subscription` is the caller's, to be freed with `fl_subscription_free`; NULL after an error. From any thread.
///
/// # Safety
/// `engine` is NULL or live; `name` is NULL or NUL-terminated; `since` is NULL or readable; `joined` and `subscription` are NULL
/// or writable.
#[no_mangle]
pub unsafe extern "C" fn fl_engine_subscribe(
    engine: *mut fl_engine,
    name: *const c_char,
    since: *const u64,
    capacity: usize,
    slow_consumer: c_int,
    joined: *mut fl_joined,
    subscription: *mut *mut fl_subscription,
) -> c_int {
    guarded(|| {
        check_place(joined)?;
        // SAFETY: the caller's promise.
        let (engine, name, since) = unsafe {
            put(subscription, std::ptr::null_mut())?;
            (
                live(engine)?,
                text(name, "the channel's name")?,
                optional_offset(since)?,
            )
        };
        if capacity == 0 {
            return Err(Failure::usage(
                "a subscription has room for one message at least; give a capacity of 1 or more",
            ));
        }
        let drops = match slow_consumer {
            FL_SLOW_USUAL | FL_SLOW_DROP_OLDEST => Drops::Oldest,
            FL_SLOW_DROP_NEWEST => Drops::Newest,
            other => return Err(no_policy(other)),
        };
        let (subscriber, answer) = engine
            .inner()
            .subscribe(name, since, capacity, drops)
            .map_err(|error| join_failure(&error))?;
        let handle = give(fl_subscription {
            tag: Tag::of::<fl_subscription>(),
            subscriber,
            engine: Arc::downgrade(engine.inner()),
            delivery: engine.delivery(),
            taken: Mutex::default(),
        });
        // SAFETY: checked above.
        unsafe {
            put(joined, joined_of(&answer))?;
            put(subscription, handle)?;
        }
        Ok(FL_OK)
    })
}

/// Takes the next message if one is there: `FL_OK`, `FL_PENDING`, or `FL_CLOSED` when it was closed and all was taken. Its
/// bytes are good until the next receive of this subscription. One thread at a time.
///
/// # Safety
/// `subscription` is NULL or live; `message` is NULL or writable.
#[no_mangle]
pub unsafe extern "C" fn fl_subscription_receive_nowait(
    subscription: *mut fl_subscription,
    message: *mut fl_published,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { receive(subscription, None, message) }
}

/// The same, and after `FL_PENDING` `token` is woken once there is something (`FL_DELIVERY_LOOP`). The last token counts.
///
/// # Safety
/// As for `fl_subscription_receive_nowait`.
#[no_mangle]
pub unsafe extern "C" fn fl_subscription_receive_or_wake(
    subscription: *mut fl_subscription,
    token: u64,
    message: *mut fl_published,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { receive(subscription, Some(token), message) }
}

/// Blocks for the next message (`FL_DELIVERY_THREADS`), at most `timeout_ms` (negative: no limit): `FL_OK`, `FL_TIMEOUT`, or
/// `FL_CLOSED`, also once the engine was freed. One thread at a time.
///
/// # Safety
/// As for `fl_subscription_receive_nowait`.
#[no_mangle]
pub unsafe extern "C" fn fl_subscription_receive(
    subscription: *mut fl_subscription,
    timeout_ms: c_int,
    message: *mut fl_published,
) -> c_int {
    guarded(|| {
        check_place(message)?;
        // SAFETY: the caller's promise.
        let subscription = unsafe { live(subscription) }?;
        only_with(subscription.delivery, Delivery::Threads)?;
        let mut buffer = only_thread(&subscription.taken)?;
        let until = std::time::Instant::now() + patience(timeout_ms);
        loop {
            match subscription.take(&mut buffer, None) {
                Ok(None) => {}
                // SAFETY: checked above.
                Ok(Some(taken)) => return unsafe { put(message, taken) }.map(|()| FL_OK),
                Err(closed) => return Ok(closed),
            }
            let Some(engine) = subscription.engine.upgrade() else {
                return Ok(FL_CLOSED);
            };
            let left = until.saturating_duration_since(std::time::Instant::now());
            let mut registered = None;
            let in_time = engine.wait_on_thread(Some(left), |token| {
                registered = Some(token);
                subscription.subscriber.wait(token) != Waiting::Registered
            });
            // Each wait has a token of its own: one that stayed would pass for another thread that waits.
            if let Some(token) = registered {
                subscription.subscriber.forget(token);
            }
            if !in_time && left.is_zero() {
                return Ok(FL_TIMEOUT);
            }
        }
    })
}

/// The task with `token` no longer waits. From any thread.
///
/// # Safety
/// `subscription` is NULL or live.
#[no_mangle]
pub unsafe extern "C" fn fl_subscription_forget(subscription: *mut fl_subscription, token: u64) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        unsafe { live(subscription) }?.subscriber.forget(token);
        Ok(FL_OK)
    })
}

/// What waits in it, and what it has missed. From any thread.
///
/// # Safety
/// `subscription` is NULL or live; `facts` is NULL or writable.
#[no_mangle]
pub unsafe extern "C" fn fl_subscription_about(
    subscription: *const fl_subscription,
    facts: *mut fl_subscription_facts,
) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        let subscriber = &unsafe { live(subscription) }?.subscriber;
        let now = fl_subscription_facts {
            queued: subscriber.queued(),
            missed: subscriber.missed(),
            is_closed: c_int::from(subscriber.is_closed()),
        };
        // SAFETY: the caller's promise.
        unsafe { put(facts, now) }?;
        Ok(FL_OK)
    })
}

/// Ends the membership; what has come can still be taken, and whoever waits is woken. Idempotent. From any thread.
///
/// # Safety
/// `subscription` is NULL or live.
#[no_mangle]
pub unsafe extern "C" fn fl_subscription_close(subscription: *mut fl_subscription) -> c_int {
    guarded(|| {
        // SAFETY: the caller's promise.
        unsafe { live(subscription) }?.subscriber.close();
        Ok(FL_OK)
    })
}

/// Ends the membership and frees the handle with the message it holds. NULL is no error. From any thread, but no other call
/// may use it.
///
/// # Safety
/// `subscription` is NULL or live, and used by nobody else.
#[no_mangle]
pub unsafe extern "C" fn fl_subscription_free(subscription: *mut fl_subscription) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { free(subscription) }
}

impl fl_subscription {
    fn take(&self, buffer: &mut Vec<u8>, waiter: Option<Token>) -> Result<Option<fl_published>, c_int> {
        match self.subscriber.receive(waiter) {
            Taken::Message(message) => {
                *buffer = message.payload;
                Ok(Some(published(message.offset, number_of(message.kind), buffer)))
            }
            Taken::Empty => {
                *buffer = Vec::new();
                Ok(None)
            }
            Taken::Closed => Err(FL_CLOSED),
        }
    }
}

/// # Safety
/// As for `fl_subscription_receive_nowait`.
unsafe fn receive(
    subscription: *mut fl_subscription,
    waiter: Option<Token>,
    message: *mut fl_published,
) -> c_int {
    guarded(|| {
        // First: a message that has no place to go must not be taken.
        check_place(message)?;
        // SAFETY: the caller's promise.
        let subscription = unsafe { live(subscription) }?;
        if waiter.is_some() {
            only_with(subscription.delivery, Delivery::Loop)?;
        }
        let mut buffer = only_thread(&subscription.taken)?;
        match subscription.take(&mut buffer, waiter) {
            // SAFETY: checked above.
            Ok(Some(taken)) => unsafe { put(message, taken) }.map(|()| FL_OK),
            Ok(None) => Ok(FL_PENDING),
            Err(closed) => Ok(closed),
        }
    })
}

fn joined_of(answer: &fl::JoinAnswer) -> fl_joined {
    fl_joined {
        offset: answer.offset,
        replayed: answer.replayed as u64,
        missed: missed(answer.missed),
    }
}

fn join_failure(error: &JoinError) -> Failure {
    match error {
        JoinError::Channel(error) => failure(error),
        JoinError::Closed => Failure::usage("the connection is closed"),
        JoinError::NoChannels => {
            Failure::usage("this engine has no channels; give it some with fl_settings_channels")
        }
    }
}

fn no_policy(given: c_int) -> Failure {
    Failure::usage(format!(
        "{given} says nothing about a slow consumer that is possible here; use one of FL_SLOW_*"
    ))
}
