//! What Python calls on the classes whose verbs can be awaited.
//!
//! Each class stands in a file of its own beneath (`session`, `request`, `subscription`), where `awaiting` finds it; the
//! methods stand above `awaiting`, since some of them make an awaitable.

mod request;
mod session;
mod subscription;
