//! The PROXY protocol at the beginning of a connection: whom it comes from, as the proxy in front says.
//!
//! Only the header's bytes are taken from the socket: they are looked at before they are read, so whatever is spoken next
//! begins on a socket that looks untouched. A connection that begins otherwise is closed without an answer, because nobody
//! knows what it speaks, and because a client that could leave the header out could come as if it were the proxy. The
//! header has the time of a request head.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use fairlead_http::{ProxyHeader, ProxyHeaderError};
use rustix::net::{recv, RecvFlags};
use tokio::io::Interest;
use tokio::time::{timeout, Instant};

use crate::accept;
use crate::connection::Connection;
use crate::drain::Seat;
use crate::front::House;
use crate::handoff::LogLevel;
use crate::socket::{inet, Socket};

/// How often a connection that waits looks whether the front is leaving, which it then need not wait for.
const LOOK: Duration = Duration::from_secs(1);

/// Why no header was read.
enum Failure {
    /// Nothing came at all, as when a proxy tries whether somebody listens.
    Silent,
    Broken(ProxyHeaderError),
    /// The client ended the stream, or it broke, inside the header.
    Cut(usize),
}

/// Reads the header, then lets the connection go on as one of whom the header names.
pub(crate) async fn greet(seat: Seat, socket: Socket, house: Arc<House>) {
    let connection = Arc::clone(seat.connection());
    let Some(outcome) = in_time(read(&socket), &house).await else {
        house.counters.timed_out();
        if !house.drain.is_draining() {
            let line = "the PROXY header was not complete in time; closed";
            connection.log(LogLevel::Warning, format_args!("{line}"));
        }
        return;
    };
    match outcome {
        Ok(ProxyHeader::Own) => accept::enter(seat, socket),
        Ok(ProxyHeader::Announced { client, server }) => {
            let manner = Arc::clone(&connection.manner);
            let mut announced = Connection::new(Arc::clone(&house), manner, inet(client), inet(server));
            announced.is_announced = true;
            // The new seat before the old one is left, or a drain could take the room for empty.
            let announced = Seat::take(&house, Arc::new(announced));
            drop(seat);
            accept::enter(announced, socket);
        }
        Err(Failure::Silent) => {}
        Err(Failure::Broken(why)) => {
            house.counters.refused();
            let advice = "let the proxy send one, or leave the option for it out; closed";
            connection.log(
                LogLevel::Warning,
                format_args!("the connection has no PROXY header: {why}; {advice}"),
            );
        }
        Err(Failure::Cut(size)) => {
            house.counters.refused();
            let line = format_args!("the connection ended {size} bytes into its PROXY header");
            connection.log(LogLevel::Warning, line);
        }
    }
}

/// What `reading` gives within the time for a head; `None` after it, or when the front leaves.
async fn in_time<T>(reading: impl Future<Output = T>, house: &House) -> Option<T> {
    let began = Instant::now();
    let mut reading = std::pin::pin!(reading);
    loop {
        let left = house.settings.header_timeout.checked_sub(began.elapsed())?;
        if let Ok(done) = timeout(left.min(LOOK), &mut reading).await {
            return Some(done);
        }
        if house.drain.is_draining() {
            return None;
        }
    }
}

async fn read(socket: &Socket) -> Result<ProxyHeader, Failure> {
    let mut bytes = vec![0; ProxyHeader::LONGEST];
    let mut size = 0;
    loop {
        // Peeked, judged, and only what belongs to the header is read.
        let ahead = match receive(socket, &mut bytes[size..], RecvFlags::PEEK).await {
            Ok(0) | Err(_) if size == 0 => return Err(Failure::Silent),
            Ok(0) | Err(_) => return Err(Failure::Cut(size)),
            Ok(ahead) => ahead,
        };
        let found = ProxyHeader::parse(&bytes[..size + ahead]).map_err(Failure::Broken)?;
        // What is not complete is part of the header to its last byte.
        let end = found.map_or(size + ahead, |(_, end)| end);
        while size < end {
            match receive(socket, &mut bytes[size..end], RecvFlags::empty()).await {
                Ok(0) | Err(_) => return Err(Failure::Cut(size)),
                Ok(count) => size += count,
            }
        }
        if let Some((header, _)) = found {
            return Ok(header);
        }
    }
}

async fn receive(socket: &Socket, buffer: &mut [u8], flags: RecvFlags) -> io::Result<usize> {
    match socket {
        Socket::Tcp(stream) => {
            stream
                .async_io(Interest::READABLE, || Ok(recv(stream, &mut *buffer, flags)?.0))
                .await
        }
        Socket::Unix(stream) => {
            stream
                .async_io(Interest::READABLE, || Ok(recv(stream, &mut *buffer, flags)?.0))
                .await
        }
    }
}
