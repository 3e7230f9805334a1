//! `fairlead._engine`: the engine for CPython. Thin: it converts, it holds or releases the GIL, nothing else.
//!
//! Rules for code that may run in a greenlet: a function that can switch (see `hub`) holds no lock and no borrow of a
//! class across the switch, and nothing on its Rust stack is known to another thread; all classes are frozen; Python is
//! never entered from inside `detach`. `unsafe` stands where tests/architecture lists it.

mod awaiting;
mod channels;
mod client_time;
mod current;
mod descriptors;
mod engine;
mod environ;
mod forked;
mod gil_queue;
mod greenlet;
mod head;
mod hub;
mod limit;
mod log_queue;
mod master_watch;
mod methods;
mod parked;
mod parker;
mod payload;
mod pending;
mod request;
mod rows;
mod running_loop;
mod session;
mod settings;
mod subscription;
mod tls;
mod waiting;

use pyo3::prelude::*;

#[pymodule]
fn _engine(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<awaiting::Awaiting>()?;
    module.add_class::<awaiting::Messages>()?;
    module.add_class::<pending::Pending>()?;
    module.add_class::<channels::Channels>()?;
    module.add_class::<subscription::Subscription>()?;
    module.add_class::<log_queue::Answered>()?;
    module.add_class::<engine::Engine>()?;
    rows::add_to(module)?;
    module.add_class::<settings::EngineSettings>()?;
    module.add_class::<settings::Listener>()?;
    module.add_class::<settings::Routes>()?;
    module.add_class::<settings::StaticFiles>()?;
    module.add_class::<current::CurrentSession>()?;
    module.add_class::<head::Head>()?;
    module.add_class::<hub::Hub>()?;
    module.add_class::<master_watch::MasterWatch>()?;
    module.add_class::<request::Request>()?;
    module.add_class::<session::Session>()?;
    module.add_class::<tls::TicketKeys>()?;
    module.add_class::<tls::Tls>()?;
    module.add_function(wrap_pyfunction!(greenlet::ancestors, module)?)?;
    module.add_function(wrap_pyfunction!(settings::settings_table, module)?)?;
    module.add_function(wrap_pyfunction!(forked::note_fork, module)?)?;
    Ok(())
}
