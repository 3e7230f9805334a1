//! Why a request could not be carried to another server and back.

use std::fmt;

/// The status that the client gets, if it can still get one, and the reason for the log.
pub(super) struct Failure {
    pub(super) status: u16,
    pub(super) why: String,
}

pub(super) fn failure(status: u16, why: impl fmt::Display) -> Failure {
    Failure {
        status,
        why: why.to_string(),
    }
}
