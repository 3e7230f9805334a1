//! Message payloads between Python and the engine.

use fairlead_engine::MessageKind;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyMemoryView, PyString};

/// A message as Python sees it: `str` for text, `bytes` for binary.
pub(crate) fn typed<'py>(py: Python<'py>, kind: MessageKind, payload: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    match kind {
        MessageKind::Binary => Ok(PyBytes::new(py, payload).into_any()),
        // The session has checked it; CPython checks again while it decodes, so nothing rests on that.
        MessageKind::Text => PyString::from_bytes(py, payload).map(Bound::into_any),
    }
}

/// What the app wants to send: bytes that stay where they are, for as long as the object is held.
pub(crate) enum Payload<'a, 'py> {
    Text(&'a str),
    Bytes(&'a Bound<'py, PyBytes>),
    Copy(Vec<u8>),
}

impl<'a, 'py> Payload<'a, 'py> {
    /// # Errors
    /// `TypeError` for anything but `str` and bytes-like objects, `UnicodeEncodeError` for lone surrogates.
    pub(crate) fn of(data: &'a Bound<'py, PyAny>) -> PyResult<Self> {
        if let Ok(bytes) = data.cast::<PyBytes>() {
            Ok(Self::Bytes(bytes))
        } else if let Ok(text) = data.cast::<PyString>() {
            Ok(Self::Text(text.to_str()?))
        } else if data.is_instance_of::<PyByteArray>() || data.is_instance_of::<PyMemoryView>() {
            Ok(Self::Copy(PyBuffer::<u8>::get(data)?.to_vec(data.py())?))
        } else {
            let kind = data.get_type().name()?;
            Err(PyTypeError::new_err(format!(
                "a message is str or bytes-like, not {kind}"
            )))
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes.as_bytes(),
            Self::Copy(bytes) => bytes,
        }
    }

    /// The kind that fits the type: `str` is text, bytes are binary.
    pub(crate) fn kind(&self) -> MessageKind {
        match self {
            Self::Text(_) => MessageKind::Text,
            _ => MessageKind::Binary,
        }
    }
}
