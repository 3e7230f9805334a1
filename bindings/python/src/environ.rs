//! A request's variables as a WSGI environ (PEP 3333): native strings that hold Latin-1.

use fairlead_engine::Head;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

/// Adds the CGI variables to `environ`.
pub(crate) fn fill(environ: &Bound<'_, PyDict>, head: &Head) -> PyResult<()> {
    let py = environ.py();
    let mut outcome = Ok(());
    head.for_each_cgi_variable(|name, value| {
        if outcome.is_ok() {
            // Names repeat from request to request; interning makes them one object for all environs.
            outcome = environ.set_item(PyString::intern(py, name), latin1(py, value));
        }
    });
    outcome
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
