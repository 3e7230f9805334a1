//! `Head`: the head of a response, made and checked in one step.

use std::sync::{Mutex, PoisonError};

use fairlead_engine::ResponseHead;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString, PyTuple};

/// `Head("200 OK", [("Content-Type", "text/plain")])`; it is sent once.
///
/// Raises `TypeError` for what is no status or header, with uWSGI's texts, `ValueError` for what cannot be sent.
#[pyclass(frozen, module = "fairlead._engine")]
pub(crate) struct Head {
    #[pyo3(get)]
    status: u16,
    head: Mutex<Option<ResponseHead>>,
}

impl Head {
    pub(crate) fn take(&self) -> PyResult<ResponseHead> {
        self.lock()
            .take()
            .ok_or_else(|| PyValueError::new_err("this head was sent already"))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<ResponseHead>> {
        self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Head {
    #[new]
    fn new(status: &Bound<'_, PyAny>, headers: &Bound<'_, PyAny>) -> PyResult<Self> {
        let line = status
            .cast::<PyString>()
            .map_err(|_| PyTypeError::new_err("http status must be a string"))?;
        let headers = headers
            .cast::<PyList>()
            .map_err(|_| PyTypeError::new_err("http headers must be in a python list"))?;
        let (status, reason) = match line.to_str()?.split_once(' ') {
            Some((code, reason)) => (code, reason),
            None => (line.to_str()?, ""),
        };
        let code = three_digits(status).ok_or_else(|| {
            PyValueError::new_err(format!("{line:?} is no HTTP status; give one like '200 OK'"))
        })?;
        // Room for what the server adds.
        let mut pairs = Vec::with_capacity(headers.len() + 2);
        for pair in headers.iter() {
            pairs.push(header(&pair)?);
        }
        let head = ResponseHead::new(code, pairs)
            .and_then(|head| head.with_reason(reason))
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok(Self {
            status: code,
            head: Mutex::new(Some(head)),
        })
    }

    /// The first header of this name (any case), or `None`; that too once the head was sent.
    fn header(&self, name: &str) -> Option<String> {
        let head = self.lock();
        let (_, value) = head
            .as_ref()?
            .headers
            .iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(name))?;
        Some(value.iter().map(|&byte| char::from(byte)).collect())
    }

    /// Adds a `Content-Length`.
    fn set_length(&self, length: u64) {
        if let Some(head) = &mut *self.lock() {
            head.headers
                .push(("Content-Length".into(), length.to_string().into_bytes()));
        }
    }
}

/// RFC 9110 §15: three digits, the first of which is not 0.
fn three_digits(text: &str) -> Option<u16> {
    match text.as_bytes() {
        [b'1'..=b'9', b'0'..=b'9', b'0'..=b'9'] => text.parse().ok(),
        _ => None,
    }
}

fn header(pair: &Bound<'_, PyAny>) -> PyResult<(String, Vec<u8>)> {
    let pair = pair
        .cast::<PyTuple>()
        .map_err(|_| PyTypeError::new_err("http header must be defined in a tuple"))?;
    let two_strings = || PyTypeError::new_err("http header must be a tuple of two strings");
    if pair.len() != 2 {
        return Err(two_strings());
    }
    let (name, value) = (pair.get_borrowed_item(0)?, pair.get_borrowed_item(1)?);
    let name = name.cast::<PyString>().map_err(|_| two_strings())?;
    let value = value.cast::<PyString>().map_err(|_| two_strings())?;
    Ok((name.to_str()?.to_owned(), latin1_bytes(value.to_str()?)?))
}

/// PEP 3333: each character of a native string is one byte.
fn latin1_bytes(text: &str) -> PyResult<Vec<u8>> {
    if text.is_ascii() {
        return Ok(text.as_bytes().to_vec());
    }
    text.chars()
        .map(|character| {
            u8::try_from(u32::from(character)).map_err(|_| {
                PyValueError::new_err(format!(
                    "{character:?} in the header value {text:?} is not Latin-1"
                ))
            })
        })
        .collect()
}
