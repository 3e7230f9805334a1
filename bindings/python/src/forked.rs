//! A process that the application has forked from its worker: its copies of connections and requests are of no use.

use fairlead_engine as fl;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

const REFUSAL: &str =
    "this process was forked from a worker, whose connections stay the worker's; publish to a channel, or \
                       send the worker what it is to send";

/// To be called in a process that was forked, before anything else. Publishing and looking back go on working; other verbs
/// raise RuntimeError with the text that this answers. What is dropped is left to the parent.
#[pyfunction]
pub(crate) fn note_fork() -> &'static str {
    fl::note_fork();
    REFUSAL
}

/// One load: for verbs that an application may hold by themselves.
///
/// # Errors
/// `RuntimeError` in a process that was forked: another thread may have held any lock at that moment, so none is taken.
#[inline]
pub(crate) fn check() -> PyResult<()> {
    if fl::is_forked() {
        return Err(PyRuntimeError::new_err(REFUSAL));
    }
    Ok(())
}
