//! What waits, and what the loop says to it: the words that all parts of the worker share.

/// Names a waiting task. The runner chooses it; by convention a slot and a count of waits, so that a late event of
/// an earlier wait is recognised.
pub type Token = u64;

/// Set in the tokens of waiting threads: they are told at once, by [`WorkerSettings::wake_thread`](crate::WorkerSettings),
/// and not by an event. Runners' own tokens have it not.
pub const THREAD_TOKEN: Token = 1 << 63;

/// What the loop reports to the runner. A closed list: nothing else ever wakes a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// What the task with this token waited for has changed: look again.
    Wake(Token),
    /// The deadline set with [`Worker::wake_at`](crate::Worker::wake_at) has passed.
    Deadline(Token),
}

/// The answer to a task that wants to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Something is there already.
    Ready,
    /// The task will be woken.
    Registered,
    /// Another task waits already; one at a time can.
    Taken,
}
