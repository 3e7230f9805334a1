//! How long a verb may wait: seconds from Python, and the moment they end.

use std::time::{Duration, Instant};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// A limit that is counted once for all waits of one verb.
#[derive(Clone, Copy)]
pub(crate) struct Limit(Option<Instant>);

impl Limit {
    pub(crate) fn new(limit: Option<Duration>) -> Self {
        // A limit beyond what the clock can name is none.
        Self(limit.and_then(|limit| Instant::now().checked_add(limit)))
    }

    /// From Python; `None` is no limit.
    ///
    /// # Errors
    /// `ValueError` if it is negative or not a number.
    pub(crate) fn seconds(value: Option<f64>) -> PyResult<Self> {
        value.map(seconds).transpose().map(Self::new)
    }

    pub(crate) fn deadline(self) -> Option<Instant> {
        self.0
    }

    pub(crate) fn left(self) -> Option<Duration> {
        self.0.map(|at| at.saturating_duration_since(Instant::now()))
    }

    pub(crate) fn has_passed(self) -> bool {
        self.left() == Some(Duration::ZERO)
    }
}

/// A number of seconds from Python, refused if it is negative or not a number.
pub(crate) fn seconds(value: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(value)
        .map_err(|_| PyValueError::new_err(format!("{value} is not a number of seconds; give 0 or more")))
}
