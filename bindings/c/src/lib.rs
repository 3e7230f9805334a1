//! The C ABI: the engine for every language that can call C.
//!
//! Thin on purpose. A file per handle (`engine` with its `statistics`, `request` with its `answer`, `session`, `channels` with
//! `history` and `membership`, `tls`), two for the settings (`front` for what is no plain value), one for the lines of the
//! log, the folder `worker` for programs that a master starts, and four that keep the border: `status` (codes, the last error, panics stop here), `handle` and `arguments` (what
//! comes from C is checked before it is used) and `signals`. The header `include/fairlead.h` is written by hand, for people;
//! `tests/c_binding` compares it with the declarations here, name by name and type by type, so the two cannot drift apart.
//! No rule of WebSocket or HTTP lives here, and nothing calls up: a program polls.
//!
//! All exported names begin with `fl_`, and are spelled in Rust as in C.

#![allow(non_camel_case_types)] // the names are those of the header

mod answer;
mod arguments;
mod channels;
mod engine;
mod front;
mod handle;
mod history;
mod log;
mod membership;
mod request;
mod session;
mod settings;
mod signals;
mod statistics;
mod status;
mod tls;
mod worker;

pub use answer::*;
pub use arguments::fl_header;
pub use channels::*;
pub use engine::*;
pub use front::*;
pub use handle::fl_bytes;
pub use history::*;
pub use membership::*;
pub use request::*;
pub use session::*;
pub use settings::*;
pub use statistics::*;
pub use status::*;
pub use tls::*;
pub use worker::*;
