//! `MasterWatch`: a thread without Python that ends the worker when its master has gone and Python does not.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use fairlead_engine as fl;
use pyo3::prelude::*;

use crate::descriptors;
use crate::engine::Engine;
use crate::limit::seconds;

/// Watches the control socket for its end.
#[pyclass(frozen, module = "fairlead._engine")]
pub(crate) struct MasterWatch {
    watch: fl::MasterWatch,
    descriptor: RawFd,
}

#[pymethods]
impl MasterWatch {
    /// `control` is the control socket, and is duplicated: the watch lasts to the end, whatever becomes of the number. When
    /// its other end is gone before `serves`, the process ends at once.
    ///
    /// Raises `OSError`.
    #[new]
    fn new(control: i32) -> PyResult<Self> {
        let control = OwnedFd::from(descriptors::duplicate(control)?);
        let descriptor = control.as_raw_fd();
        let watch = fl::MasterWatch::start(control)?;
        Ok(Self { watch, descriptor })
    }

    /// The duplicate, which a process that the application forks gives up.
    fn fileno(&self) -> i32 {
        self.descriptor
    }

    /// From now on connections are served: when the master is gone, they get 1001, and have `mercy` seconds.
    fn serves(&self, engine: &Bound<'_, Engine>, mercy: f64) -> PyResult<()> {
        self.watch.serves(&engine.get().inner()?, seconds(mercy)?);
        Ok(())
    }

    /// Descriptors of the server were closed in this process: ends it, with one line.
    #[staticmethod]
    fn descriptors_are_lost() {
        fl::descriptors_are_lost();
    }

    /// The worker was told to leave within so many seconds.
    fn leaves_within(&self, time: f64) -> PyResult<()> {
        self.watch.leaves_within(seconds(time)?);
        Ok(())
    }
}
