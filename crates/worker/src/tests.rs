//! The loop on real sockets, with a poller and a clock that the test moves: nothing here waits for time to pass.

mod connections;
mod outside;
mod support;
mod threads;
mod turn;
