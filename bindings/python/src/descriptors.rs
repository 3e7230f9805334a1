//! The application's own descriptors, by number, as Python names them.

use std::fs::File;
use std::os::fd::BorrowedFd;

use fairlead_engine as fl;
use fl::{Interest, Token, Watch};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;

/// errno(3); the same on all of Linux's architectures.
const EBADF: i32 = 9;

/// Watches all of them under one token, as long as the answer is kept.
///
/// # Errors
/// `OSError` for a descriptor that is not open or cannot be polled; nothing is watched then.
pub(crate) fn watch(
    engine: &fl::Engine,
    token: Token,
    readable: &[i32],
    writable: &[i32],
) -> PyResult<Vec<(i32, Watch)>> {
    let both = [(readable, true), (writable, false)];
    both.into_iter()
        .flat_map(|(descriptors, read)| descriptors.iter().map(move |descriptor| (*descriptor, read)))
        .map(|(descriptor, read)| {
            let interest = Interest { read, write: !read };
            if descriptor < 0 {
                return Err(PyOSError::new_err((EBADF, "Bad file descriptor")));
            }
            // SAFETY: not negative, and used for one call that duplicates it; the kernel refuses one that is not open.
            let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
            Ok((descriptor, engine.watch(borrowed, interest, token)?))
        })
        .collect()
}

/// A duplicate of an open file; Python keeps its own and may close it at any time.
///
/// # Errors
/// `OSError` for a number that names no open file, `ValueError` for a negative one.
pub(crate) fn duplicate(number: i32) -> PyResult<File> {
    if number < 0 {
        return Err(PyValueError::new_err(format!("{number} is no file descriptor")));
    }
    // SAFETY: as above; the kernel answers EBADF for a number that names no open file.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    Ok(File::from(borrowed.try_clone_to_owned()?))
}
