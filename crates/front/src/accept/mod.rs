//! Accepting: when the front takes connections from its listeners, and what becomes of them first.
//!
//! Several processes may hold the same listener, so "nothing to accept after all" is no error. When a connection seems to
//! wait, a process that has more of them than another gives way for a moment (`balancing`), and the handoff is asked for
//! room (`admission`). An accept that fails for lack of descriptors or memory is tried again after a pause: the listener is
//! never lost and the loop never spins. An accepted connection is registered for the drain, then the header of the PROXY
//! protocol is read where the listener asks for it (`proxy_header`), then it speaks (`serving`). Connections leave some
//! descriptors for other needs (`open_files`).

mod admission;
mod balancing;
mod config;
mod listener;
mod open_files;
mod proxy_header;
mod server;
mod serving;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fairlead_http::Address;
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::connection::{Connection, Ends};
use crate::drain::{AcceptTask, Registration};
use crate::events::LogLevel;
use crate::socket::Socket;
use balancing::Balancing;
use open_files::Reserve;

pub use config::{BoundListener, ListenerConfig, Protocol};
pub use listener::Listener;
pub(crate) use server::Server;

/// Accepts in a row before the other tasks get a turn.
const BATCH: u32 = 64;

/// The pause after an accept failed for lack of something; also how often the lack is looked at again.
const PAUSE: Duration = Duration::from_millis(100);

/// A listener registered with tokio.
pub(crate) struct AcceptingListener {
    listener: Listener,
    /// The same socket once more, as a stream. Nothing is read from it: tokio tells the readiness of a stream, that of a
    /// listener only by an accept, and before the accept there are questions to ask.
    readiness: TcpStream,
    address: Address,
    config: Arc<ListenerConfig>,
}

impl AcceptingListener {
    /// Must be called inside the runtime.
    pub(crate) fn new(bound: BoundListener) -> io::Result<AcceptingListener> {
        let BoundListener { listener, config } = bound;
        let address = listener.local_address();
        let twin = match &listener {
            Listener::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                // Linux hands this on to every accepted socket, which saves a system call for each.
                socket2::SockRef::from(listener).set_tcp_nodelay(true)?;
                OwnedFd::from(listener.try_clone()?)
            }
            Listener::Unix(listener) => {
                listener.set_nonblocking(true)?;
                OwnedFd::from(listener.try_clone()?)
            }
        };
        Ok(AcceptingListener {
            listener,
            readiness: TcpStream::from_std(twin.into())?,
            address,
            config: Arc::new(config),
        })
    }

    /// The next connection, if this process shall have it.
    /// `has_waited`: since when none was left to accept, there was no room for one.
    async fn accept(
        &self,
        balancing: &mut Balancing,
        reserve: &mut Reserve,
        has_waited: &mut bool,
        server: &Server,
    ) -> io::Result<(Socket, Address)> {
        loop {
            while !reserve.has_room(&self.readiness)? {
                tokio::time::sleep(PAUSE).await;
            }
            // First this, then the look: what comes after it is noticed, by the look or by the wait for readiness.
            self.forget_readiness();
            while let Some(pause) =
                balancing.pause_beside(&server.cell, || server.is_full(), || server.load())
            {
                // Another connection may change who should have this one.
                let _ = tokio::time::timeout(pause, self.readiness.readable()).await;
                self.forget_readiness();
            }
            if server.gate.wait_for_room(|| server.has_room(&self.config)).await {
                *has_waited = true;
                continue;
            }
            match self.listener.accept_nowait() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    balancing.settle();
                    *has_waited = false;
                    self.readiness.readable().await?;
                }
                Err(error) => return Err(error),
                Ok((socket, address)) => {
                    reserve.note(&socket);
                    return Ok((socket, address));
                }
            }
        }
    }

    fn forget_readiness(&self) {
        let nothing = || io::Result::<()>::Err(io::ErrorKind::WouldBlock.into());
        let _ = self.readiness.try_io(Interest::READABLE, nothing);
    }
}

/// Accepts for ever; aborted by the drain, which closes the listener.
pub(crate) async fn accept(listener: AcceptingListener, server: Arc<Server>, _task: AcceptTask) {
    let mut complained: Option<Instant> = None;
    let mut balancing = Balancing::default();
    let mut reserve = Reserve::new();
    let mut has_waited = false;
    loop {
        for _ in 0..BATCH {
            match listener
                .accept(&mut balancing, &mut reserve, &mut has_waited, &server)
                .await
            {
                Ok((socket, peer)) => {
                    admit(socket, peer, has_waited, &listener, &server);
                    server.tell_load();
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    if complained.is_none_or(|when| when.elapsed() >= Duration::from_secs(1)) {
                        complained = Some(Instant::now());
                        let line = format!("no connection can be accepted: {error}{}", advice(&error));
                        server.shared.events.log(LogLevel::Error, &line);
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        tokio::task::yield_now().await;
    }
}

fn admit(
    socket: Socket,
    peer: Address,
    has_waited: bool,
    listener: &AcceptingListener,
    server: &Arc<Server>,
) {
    let config = Arc::clone(&listener.config);
    server.shared.counters.accepted();
    let ends = Ends {
        peer,
        local: socket.local_address(&listener.address),
        is_announced: false,
        scheme: config.scheme,
        is_routed: config.router,
    };
    let connection = Connection::new(Arc::clone(&server.shared), ends);
    let connection = Arc::new(if has_waited {
        connection.having_waited()
    } else {
        connection
    });
    let registration = Registration::take(&server.drain, connection);
    if !config.proxy_protocol {
        return serving::start(Arc::clone(server), config, registration, socket);
    }
    let server = Arc::clone(server);
    tokio::spawn(async move {
        if let Some(registration) = proxy_header::read(&server.drain, registration, &socket).await {
            serving::start(server, config, registration, socket);
        }
    });
}

/// accept(2): the client left while it was queued, or its network failed. The next one may be fine.
fn is_of_one_connection(error: &io::Error) -> bool {
    let of_one = [
        Errno::AGAIN,
        Errno::INTR,
        Errno::CONNABORTED,
        Errno::CONNRESET,
        Errno::PROTO,
        Errno::NETDOWN,
        Errno::NETUNREACH,
        Errno::HOSTDOWN,
        Errno::HOSTUNREACH,
        Errno::NOPROTOOPT,
        Errno::NONET,
        Errno::OPNOTSUPP,
    ];
    Errno::from_io_error(error).is_some_and(|errno| of_one.contains(&errno))
}

/// What an operator can do about a shortage.
fn advice(error: &io::Error) -> &'static str {
    match Errno::from_io_error(error) {
        Some(Errno::MFILE | Errno::NFILE) => "; raise the limit on open files (ulimit -n)",
        _ => "; it is tried again",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_network_of_one_client_does_is_no_shortage() {
        for errno in [Errno::PROTO, Errno::HOSTUNREACH, Errno::NETDOWN, Errno::NONET] {
            assert!(is_of_one_connection(&errno.into()), "{errno}");
        }
        for errno in [Errno::MFILE, Errno::NOBUFS, Errno::PERM] {
            assert!(!is_of_one_connection(&errno.into()), "{errno}");
        }
    }
}
