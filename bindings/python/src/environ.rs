//! A request's variables as a WSGI environ (PEP 3333): native strings that hold Latin-1.

use std::sync::{Mutex, PoisonError};

use fairlead_engine::{Head, Scheme};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use rustc_hash::FxHashMap;

/// Variable names that are kept as Python strings. They repeat from request to request, and making each anew took 4 %
/// of a small request; the bound is there because clients choose header names.
const NAMES: usize = 512;

/// What the server itself says begins so.
const OURS: [&str; 4] = ["wsgi.", "uwsgi.", "fairlead.", "x-wsgiorg."];

static KNOWN: Mutex<Option<FxHashMap<String, Py<PyString>>>> = Mutex::new(None);

/// Adds the CGI variables to `environ`.
pub(crate) fn fill(environ: &Bound<'_, PyDict>, head: &Head) -> PyResult<()> {
    let py = environ.py();
    let mut outcome = Ok(());
    // compat §3.1: the router tells the client's port, a worker's own socket does not, unless the PROXY protocol told both
    // ends. What came as variables counts as it was sent.
    let hides_port = !head.is_given() && !head.is_routed() && !head.is_announced();
    // Storing strings in a dict runs no Python code, and allocates nothing that could set off the garbage collector, which
    // does: while the lock is held, nothing may come back here or give the GIL to who waits for the lock with it.
    let mut table = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let known = table.get_or_insert_with(FxHashMap::default);
    head.for_each_cgi_variable(|name, value| {
        if outcome.is_err() {
            return;
        }
        if hides_port && name == "REMOTE_PORT" {
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
    drop(table);
    outcome?;
    for (name, value) in head.notes() {
        let name = format!("fairlead.{}", String::from_utf8_lossy(name));
        environ.set_item(name, latin1(py, value))?;
    }
    if head.is_given() {
        // What PEP 3333 lets a server leave out, applications rely on.
        environ.call_method1(intern!(py, "setdefault"), (intern!(py, "PATH_INFO"), ""))?;
    }
    // compat §3.1. The base environ says http.
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
