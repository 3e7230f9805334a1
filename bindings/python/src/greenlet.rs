//! greenlet's C API, as safe functions.
//!
//! The table of pointers comes from the capsule `greenlet._C_API`; its order is fixed by greenlet's header and has not
//! changed since 1.0 (entries were only added at the end). It is looked up when the first hub is made, so that the
//! module can be used without greenlet installed.

use std::ffi::{c_int, c_void};

use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi::{PyCapsule_Import, PyObject};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyTuple;

type New = unsafe extern "C" fn(*mut PyObject, *mut PyObject) -> *mut PyObject;
type Current = unsafe extern "C" fn() -> *mut PyObject;
type Throw =
    unsafe extern "C" fn(*mut PyObject, *mut PyObject, *mut PyObject, *mut PyObject) -> *mut PyObject;
type Switch = unsafe extern "C" fn(*mut PyObject, *mut PyObject, *mut PyObject) -> *mut PyObject;
type Ask = unsafe extern "C" fn(*mut PyObject) -> c_int;

struct Api {
    exit: Py<PyAny>,
    new: New,
    current: Current,
    throw: Throw,
    switch: Switch,
    active: Ask,
}

static API: PyOnceLock<Api> = PyOnceLock::new();

/// Loads the API.
///
/// # Errors
/// `ImportError` when greenlet is not installed.
pub(crate) fn load(py: Python<'_>) -> PyResult<()> {
    API.get_or_try_init(py, || {
        py.import("greenlet")?;
        // SAFETY: the name is greenlet's documented capsule; the table has at least twelve entries of the types that
        // greenlet.h gives, and lives as long as the module, which is never unloaded.
        unsafe {
            let table = PyCapsule_Import(c"greenlet._C_API".as_ptr(), 0).cast::<*mut c_void>();
            if table.is_null() {
                return Err(PyErr::fetch(py));
            }
            Ok(Api {
                exit: Bound::from_borrowed_ptr(py, (*table.add(2)).cast()).unbind(),
                new: std::mem::transmute::<*mut c_void, New>(*table.add(3)),
                current: std::mem::transmute::<*mut c_void, Current>(*table.add(4)),
                throw: std::mem::transmute::<*mut c_void, Throw>(*table.add(5)),
                switch: std::mem::transmute::<*mut c_void, Switch>(*table.add(6)),
                active: std::mem::transmute::<*mut c_void, Ask>(*table.add(10)),
            })
        }
    })
    .map(|_| ())
}

fn api(py: Python<'_>) -> PyResult<&'static Api> {
    API.get(py)
        .ok_or_else(|| PyRuntimeError::new_err("greenlet's C API is not loaded; make a Hub first"))
}

/// The greenlet that runs now.
pub(crate) fn current(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    // SAFETY: returns a new reference, or null with an error set.
    unsafe { Bound::from_owned_ptr_or_err(py, (api(py)?.current)()) }
}

/// The contexts of the greenlets that the calling one descends from, nearest first; none where nobody uses greenlets.
#[pyfunction]
pub(crate) fn ancestors(py: Python<'_>) -> PyResult<Vec<Bound<'_, PyAny>>> {
    let mut contexts = Vec::new();
    let loaded = py.import("sys")?.getattr("modules")?.contains("greenlet")?;
    if !loaded {
        return Ok(contexts);
    }
    load(py)?;
    let mut task = current(py)?.getattr(pyo3::intern!(py, "parent"))?;
    while !task.is_none() {
        let context = task.getattr(pyo3::intern!(py, "gr_context"))?;
        if !context.is_none() {
            contexts.push(context);
        }
        task = task.getattr(pyo3::intern!(py, "parent"))?;
    }
    Ok(contexts)
}

/// A greenlet that will call `run` and then return to `parent`.
pub(crate) fn new<'py>(run: &Bound<'py, PyAny>, parent: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = run.py();
    // SAFETY: both are borrowed for the call; returns a new reference, or null with an error set.
    unsafe { Bound::from_owned_ptr_or_err(py, (api(py)?.new)(run.as_ptr(), parent.as_ptr())) }
}

/// Switches to `target`; returns when somebody switches back. Whatever runs in between may be anything: the caller
/// holds no lock and no borrow.
pub(crate) fn switch<'py>(
    target: &Bound<'py, PyAny>,
    arguments: Option<&Bound<'py, PyTuple>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = target.py();
    let arguments = arguments.map_or(std::ptr::null_mut(), Bound::as_ptr);
    // SAFETY: as above; `target` is kept alive by the caller's reference across the switch, a null pointer stands for
    // no arguments.
    unsafe {
        Bound::from_owned_ptr_or_err(
            py,
            (api(py)?.switch)(target.as_ptr(), arguments, std::ptr::null_mut()),
        )
    }
}

/// The class `GreenletExit`.
pub(crate) fn exit<'py>(py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
    Ok(api(py)?.exit.bind(py).clone())
}

/// Raises `GreenletExit` inside `target`, which is parked.
pub(crate) fn kill<'py>(target: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = target.py();
    let api = api(py)?;
    let null = std::ptr::null_mut();
    // SAFETY: as above; value and traceback may be null.
    unsafe { Bound::from_owned_ptr_or_err(py, (api.throw)(target.as_ptr(), api.exit.as_ptr(), null, null)) }
}

/// True if somebody besides greenlet itself and who switched to it holds the running greenlet.
pub(crate) fn is_kept_by_others(running: &Bound<'_, PyAny>) -> bool {
    // Counted with greenlet 3.5: the thread's state, the reference in the hand of who switched to it, and the caller's.
    const ITS_OWN: isize = 3;
    // SAFETY: reads a number of a living object.
    unsafe { pyo3::ffi::Py_REFCNT(running.as_ptr()) > ITS_OWN }
}

/// True while the greenlet has begun and not ended.
pub(crate) fn is_active(target: &Bound<'_, PyAny>) -> bool {
    // SAFETY: only reads the greenlet's state.
    api(target.py()).is_ok_and(|api| unsafe { (api.active)(target.as_ptr()) } != 0)
}
