//! The PROXY protocol at the beginning of a connection: whom it comes from, as the proxy in front says.
//!
//! Only the header's bytes are taken from the socket: they are looked at before they are read, so whatever is spoken next
//! begins on a socket that looks untouched. A connection that begins otherwise is closed without an answer, because nobody
//! knows what it speaks, and because a client that could leave the header out could come as if it were the proxy. The
//! header and the first request head have the time of one head together.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use fairlead_http::{ProxyHeader, ProxyHeaderError};
use rustix::net::{recv, RecvFlags};
use tokio::io::Interest;
use tokio::time::{timeout, Instant};

use crate::drain::{Drain, Registration};
use crate::events::LogLevel;
use crate::front_shared::FrontShared;
use crate::socket::{inet, Socket};

/// How often a connection that waits looks whether the front is leaving, which it then need not wait for.
const LOOK: Duration = Duration::from_secs(1);

/// Why no header was read.
enum NoHeader {
    /// Nothing came at all, as when a proxy tries whether somebody listens.
    Silent,
    Broken(ProxyHeaderError),
    /// The client ended the stream, or it broke, inside the header.
    Cut(usize),
}

/// Reads the header; the connection goes on, as one of whom the header names, with the registration that is answered.
/// `None`: it ends.
pub(super) async fn read(
    drain: &Arc<Drain>,
    registration: Registration,
    socket: &Socket,
) -> Option<Registration> {
    let connection = registration.connection();
    let shared = connection.shared();
    let Some(outcome) = in_time(receive_header(socket), shared).await else {
        shared.counters.timed_out();
        if !shared.is_draining() {
            let line = "the PROXY header was not complete in time; closed";
            connection.log(LogLevel::Warning, format_args!("{line}"));
        }
        return None;
    };
    match outcome {
        Ok(ProxyHeader::Own) => return Some(registration),
        Ok(ProxyHeader::Announced { client, server }) => {
            let announced = Arc::new(connection.announced(inet(client), inet(server)));
            // The new registration before the old one is left, or a drain could take the room for empty.
            return Some(Registration::take(drain, announced));
        }
        Err(NoHeader::Silent) => {}
        Err(NoHeader::Broken(why)) => {
            let advice = "let the proxy send one, or leave the option for it out; closed";
            connection.note_refusal(format_args!(
                "the connection has no PROXY header: {why}; {advice}"
            ));
        }
        Err(NoHeader::Cut(size)) => connection.note_refusal(format_args!(
            "the connection ended {size} bytes into its PROXY header"
        )),
    }
    None
}

/// What `reading` gives within the time for a head; `None` after it, or when the front leaves.
async fn in_time<T>(reading: impl Future<Output = T>, shared: &FrontShared) -> Option<T> {
    let began = Instant::now();
    let mut reading = std::pin::pin!(reading);
    loop {
        let left = shared.settings.header_timeout.checked_sub(began.elapsed())?;
        if let Ok(done) = timeout(left.min(LOOK), &mut reading).await {
            return Some(done);
        }
        if shared.is_draining() {
            return None;
        }
    }
}

async fn receive_header(socket: &Socket) -> Result<ProxyHeader, NoHeader> {
    let mut bytes = vec![0; ProxyHeader::LONGEST];
    let mut size = 0;
    loop {
        // Peeked, judged, and only what belongs to the header is read.
        let ahead = match receive(socket, &mut bytes[size..], RecvFlags::PEEK).await {
            Ok(0) | Err(_) if size == 0 => return Err(NoHeader::Silent),
            Ok(0) | Err(_) => return Err(NoHeader::Cut(size)),
            Ok(ahead) => ahead,
        };
        let found = ProxyHeader::parse(&bytes[..size + ahead]).map_err(NoHeader::Broken)?;
        // What is not complete is part of the header to its last byte.
        let end = found.map_or(size + ahead, |(_, end)| end);
        while size < end {
            match receive(socket, &mut bytes[size..end], RecvFlags::empty()).await {
                Ok(0) | Err(_) => return Err(NoHeader::Cut(size)),
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
                .async_io(Interest::READABLE, || Ok(recv(&**stream, &mut *buffer, flags)?.0))
                .await
        }
        Socket::Unix(stream) => {
            stream
                .async_io(Interest::READABLE, || Ok(recv(&**stream, &mut *buffer, flags)?.0))
                .await
        }
    }
}
