//! What the front tells whoever runs the applications, beside the requests themselves.
//!
//! An [`EventSink`] is told of changes, of access records and of log lines. It stands below everything that has something to
//! tell; the requests that it is told about cross the [`Handoff`](crate::Handoff), which stands above all that serves them.

use std::time::Duration;

/// How much a log line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Of use only to whoever looks for a fault of the front.
    Debug,
    /// A change that an operator may want to see.
    Info,
    /// Somebody sent something that was refused, or an application broke a rule.
    Warning,
    /// The server itself cannot do its work.
    Error,
}

/// A request that was answered without the application, for its line in the log. Text of a client is Latin-1: a character
/// for each byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The client's address, without its port.
    pub peer: String,
    /// As it was sent, or as a rule has set it.
    pub method: String,
    /// The same of the request target.
    pub target: String,
    /// As in CGI's `SERVER_PROTOCOL`.
    pub protocol: String,
    /// Of the answer; 0 if the connection was closed without one.
    pub status: u16,
    /// Bytes of the response's body that were handed to the connection.
    pub sent: u64,
    /// From the head's arrival to the end of the answer.
    pub took: Duration,
    /// What rules have added.
    pub variables: Vec<(String, Vec<u8>)>,
}

/// Is told what happens. Called on the front's own thread, `wake` also on the thread that caused the change, never with a
/// lock of the front held. It must not block: all connections of the process wait meanwhile.
pub trait EventSink: Send + Sync + 'static {
    /// What a unit waits for has changed; `token` is the one it gave to `wait_writable` or `wait_body`. A wake-up is a
    /// hint: ask again.
    fn wake(&self, token: u64);

    /// All requests that have arrived were passed on and the front is about to sleep, or to do something long. A receiver on
    /// another thread may leave it to this call to wake that thread, so that one wake-up serves a whole batch. Called often:
    /// be quick when there is nothing to do.
    fn turn_ended(&self) {}

    /// A request that never reached the application is over, and wants its line in the log. Called by whoever held the last
    /// part of it; it must only note that.
    fn answered(&self, about: Answered) {
        drop(about);
    }

    /// One line for the operator, without a line end.
    fn log(&self, level: LogLevel, line: &str);
}
