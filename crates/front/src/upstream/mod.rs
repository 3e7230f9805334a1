//! Servers behind this one, as plain data: where each is and what it is spoken to in (`backend`), and whose turn it is
//! (`router`). Nothing here does IO; routes name a backend, and `proxy` sends requests to it.

mod backend;
mod router;

pub(crate) use backend::{Backend, Style};
pub use router::Router;
