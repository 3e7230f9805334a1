//! A request's variables as a WSGI environ (PEP 3333): native strings that hold Latin-1.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use fairlead_engine::{Head, Scheme};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

/// Variable names that are kept as Python strings. They repeat from request to request, and making each anew took 4 %
/// of a small request; the bound is there because clients choose header names.
const NAMES: usize = 512;

/// What the server itself says begins so.
const OURS: [&str; 4] = ["wsgi.", "uwsgi.", "fairlead.", "x-wsgiorg."];

static KNOWN: Mutex<Option<HashMap<String, Py<PyString>>>> = Mutex::new(None);

/// Adds the CGI variables to `environ`.
pub(crate) fn fill(environ: &Bound<'_, PyDict>, head: &Head) -> PyResult<()> {
    let py = environ.py();
    let mut outcome = Ok(());
    // Storing strings in a dict runs no Python code, so nothing can come back here while the lock is held.
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let known = known.get_or_insert_with(HashMap::new);
    head.for_each_cgi_variable(|name, value| {
        if outcome.is_err() {
            return;
        }
        // Only a peer of the uwsgi protocol can send such a name.
        if name.contains('.') && OURS.iter().any(|prefix| name.starts_with(prefix)) {
            return;
        }
        let value = latin1(py, value);
        outcome = match known.get(name) {
            Some(name) => environ.set_item(name, value),
            None => {
                let interned = PyString::intern(py, name);
                if known.len() < NAMES {
                    known.insert(name.to_owned(), interned.clone().unbind());
                }
                environ.set_item(interned, value)
            }
        };
    });
    outcome?;
    for (name, value) in head.notes() {
        let name = format!("fairlead.{}", String::from_utf8_lossy(name));
        environ.set_item(name, latin1(py, value))?;
    }
    // Spec §3.1. The base environ says http.
    if head.scheme() == Scheme::Https {
        environ.set_item(intern!(py, "wsgi.url_scheme"), intern!(py, "https"))?;
        environ.set_item(intern!(py, "HTTPS"), intern!(py, "on"))?;
    }
    if head.is_routed() {
        environ.set_item(intern!(py, "UWSGI_ROUTER"), intern!(py, "http"))?;
    }
    Ok(())
}

/// Each byte one character, as PEP 3333 wants it.
pub(crate) fn latin1<'py>(py: Python<'py>, bytes: &[u8]) -> Bound<'py, PyString> {
    if let Ok(ascii) = std::str::from_utf8(bytes) {
        if ascii.is_ascii() {
            return PyString::new(py, ascii);
        }
    }
    let text: String = bytes.iter().map(|&byte| char::from(byte)).collect();
    PyString::new(py, &text)
}
