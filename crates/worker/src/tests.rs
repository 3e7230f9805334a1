//! The loop on real sockets, with a poller and a clock that the test moves: nothing here waits for time to pass.

mod channels;
mod connections;
mod heartbeats;
mod lock;
mod memberships;
mod outside;
mod replays;
mod subscriptions;
mod support;
mod threads;
mod tls;
mod turn;
