//! Streams that broke a rule to which h2 does not hold them, until somebody tells their client.
//!
//! The filter sees a breach in the bytes, before h2 has read them: the stream may have a task, may have none yet, or may have
//! come to its end. Each stream is listed here while it has a task; what concerns one to come waits for it. A pure list: no
//! socket, and its lock is the connection's.

use std::sync::Arc;

use crate::connection::Connection;

/// A rule that a stream broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamError {
    /// A WINDOW_UPDATE of 0: an error of the stream, PROTOCOL_ERROR (RFC 9113 §6.9).
    WindowUpdateOfZero,
    /// `:path` has a `#` (RFC 9113 §8.3.1: path and query alone), which h2 cuts off with all behind it.
    Fragment,
}

/// The most that wait for streams to come: nobody has as many at a time.
const WAITING: usize = 256;

/// Of one connection.
#[derive(Default)]
pub(super) struct StreamErrors {
    /// The streams that have a task.
    begun: Vec<(u32, Arc<Connection>)>,
    /// The last that has got one.
    last_begun: u32,
    waiting: Vec<(u32, StreamError)>,
}

impl StreamErrors {
    /// A stream breaks a rule. Whose task shall look, if it has one already.
    pub(super) fn note(&mut self, stream: u32, error: StreamError) -> Option<Arc<Connection>> {
        let task = self.begun.iter().find(|(begun, _)| *begun == stream);
        let task = task.map(|(_, connection)| Arc::clone(connection));
        // One that had a task is over, but for what h2 still has to send.
        let is_over = task.is_none() && stream <= self.last_begun;
        if !is_over && self.waiting.len() < WAITING {
            self.waiting.push((stream, error));
        }
        task
    }

    /// Nobody waits to be told.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// What the stream has done, asked by its task, or before it has one.
    pub(super) fn take(&mut self, stream: u32) -> Option<StreamError> {
        let place = self.waiting.iter().position(|(other, _)| *other == stream)?;
        Some(self.waiting.remove(place).1)
    }

    /// The stream has a task.
    pub(super) fn begin(&mut self, stream: u32, connection: &Arc<Connection>) {
        self.begun.push((stream, Arc::clone(connection)));
        self.last_begun = self.last_begun.max(stream);
    }

    /// It has none any more.
    pub(super) fn end(&mut self, stream: u32) {
        if let Some(place) = self.begun.iter().position(|(other, _)| *other == stream) {
            self.begun.swap_remove(place);
        }
        // Streams get their tasks in order: one before the last that is not listed was refused by h2.
        let (begun, last) = (&self.begun, self.last_begun);
        self.waiting
            .retain(|(other, _)| *other > last || begun.iter().any(|(listed, _)| listed == other));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::tests::accepted_at;

    #[test]
    fn an_offence_waits_for_its_stream_and_is_taken_once() {
        let (mut errors, connection) = (StreamErrors::default(), Arc::new(accepted_at(0)));
        assert!(errors.note(1, StreamError::Fragment).is_none() && !errors.is_empty());
        assert_eq!(errors.take(3), None);
        assert_eq!(errors.take(1), Some(StreamError::Fragment));
        assert!(errors.take(1).is_none() && errors.is_empty());
        errors.begin(1, &connection);
        let task = errors.note(1, StreamError::WindowUpdateOfZero);
        assert!(task.is_some_and(|task| Arc::ptr_eq(&task, &connection)));
        assert_eq!(errors.take(1), Some(StreamError::WindowUpdateOfZero));
    }

    #[test]
    fn nothing_is_kept_of_streams_that_are_over_or_were_never_begun() {
        let (mut errors, connection) = (StreamErrors::default(), Arc::new(accepted_at(0)));
        errors.note(3, StreamError::WindowUpdateOfZero);
        for stream in [1, 5] {
            errors.begin(stream, &connection);
        }
        errors.note(1, StreamError::WindowUpdateOfZero);
        errors.end(1);
        assert!(errors.is_empty(), "3 was refused, 1 is over");
        assert!(errors.note(1, StreamError::WindowUpdateOfZero).is_none() && errors.is_empty());
        for stream in (7..9000).step_by(2) {
            errors.note(stream, StreamError::WindowUpdateOfZero);
        }
        assert_eq!(errors.waiting.len(), WAITING);
    }
}
