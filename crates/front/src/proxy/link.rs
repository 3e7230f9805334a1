//! The connection to a backend, as hyper's client sees it.
//!
//! hyper's client writes an HTTP head; for the uwsgi protocol (compat §6.1) [`Link`] takes that head out again and puts the
//! packet in its place, because all that follows, bodies and responses, is the same.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::task::{ready, Context, Poll};
use std::time::Duration;

use hyper::rt::ReadBufCursor;
use tokio::io::ReadBuf;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::sleep;

use crate::socket::{BoxStream, Shut};

/// Connects to a server at `address`: `host:port`, a path, or `@abstract`.
pub(super) async fn connect(address: &str) -> io::Result<BoxStream> {
    if let Some(name) = address.strip_prefix('@') {
        // As unix(7) writes an abstract name.
        return connect_unix(&[b"\0", name.as_bytes()].concat()).await;
    }
    if address.contains('/') {
        return connect_unix(address.as_bytes()).await;
    }
    let full;
    let address = if address.starts_with(':') {
        full = format!("127.0.0.1{address}");
        &full
    } else {
        address
    };
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(Box::pin(Shut::new(stream)))
}

/// How long to wait before a full queue is tried again: nothing tells when there is room.
const QUEUE_IS_FULL: Duration = Duration::from_millis(5);

/// Where a connect over TCP would wait for room in the listener's queue, one over a UNIX socket fails (EAGAIN in connect(2)),
/// or blocks the thread.
async fn connect_unix(address: &[u8]) -> io::Result<BoxStream> {
    loop {
        match UnixStream::connect(OsStr::from_bytes(address)).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(QUEUE_IS_FULL).await,
            connected => return Ok(Box::pin(Shut::new(connected?))),
        }
    }
}

/// A stream to a backend.
///
/// A backend may answer before it has read the request, and close. Then a write fails while the answer lies here, and hyper
/// would give both up: so it does not hear of that, and what it reads decides.
pub(super) struct Link {
    stream: BoxStream,
    packet: Option<Packet>,
    takes_no_more: TakesNoMore,
}

/// Set when a backend takes no more bytes; nothing need be fetched for it then.
#[derive(Clone, Default)]
pub(super) struct TakesNoMore(Arc<AtomicBool>);

impl TakesNoMore {
    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Sets it, if that is what the error means.
    fn learn(&self, error: &io::Error) -> bool {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
        let is_so = matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset);
        self.0.fetch_or(is_so, Ordering::Relaxed);
        is_so
    }
}

/// Takes the place of hyper's head.
struct Packet {
    bytes: Vec<u8>,
    sent: usize,
    /// How much of the line ends that end a head was seen last.
    seen: usize,
    is_head_over: bool,
}

impl Link {
    pub(super) fn new(stream: BoxStream, packet: Option<Vec<u8>>) -> Link {
        let packet = packet.map(|bytes| Packet {
            bytes,
            sent: 0,
            seen: 0,
            is_head_over: false,
        });
        Link {
            stream,
            packet,
            takes_no_more: TakesNoMore::default(),
        }
    }

    pub(super) fn takes_no_more(&self) -> TakesNoMore {
        self.takes_no_more.clone()
    }

    pub(super) fn into_stream(self) -> BoxStream {
        self.stream
    }

    /// Writes what is left of the packet.
    fn poll_packet(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(packet) = &mut self.packet {
            while packet.sent < packet.bytes.len() {
                let written = ready!(self.stream.as_mut().poll_write(cx, &packet.bytes[packet.sent..]))?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                packet.sent += written;
            }
            if packet.is_head_over {
                self.packet = None;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Packet {
    /// How many of these bytes belong to the head.
    fn swallow(&mut self, bytes: &[u8]) -> usize {
        const END: &[u8; 4] = b"\r\n\r\n";
        for (index, byte) in bytes.iter().enumerate() {
            self.seen = if *byte == END[self.seen] {
                self.seen + 1
            } else {
                usize::from(*byte == END[0])
            };
            if self.seen == END.len() {
                self.is_head_over = true;
                return index + 1;
            }
        }
        bytes.len()
    }
}

impl hyper::rt::Read for Link {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        const READ: usize = 16 * 1024;
        let mut scratch = [std::mem::MaybeUninit::<u8>::uninit(); READ];
        let room = buf.remaining().min(READ);
        let mut read = ReadBuf::uninit(&mut scratch[..room]);
        ready!(self.get_mut().stream.as_mut().poll_read(cx, &mut read))?;
        buf.put_slice(read.filled());
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for Link {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let link = self.get_mut();
        if let Some(packet) = link.packet.as_mut().filter(|packet| !packet.is_head_over) {
            return Poll::Ready(Ok(packet.swallow(buf)));
        }
        if link.takes_no_more.is_set() {
            return Poll::Ready(Ok(buf.len()));
        }
        let written = match ready!(link.poll_packet(cx)) {
            Ok(()) => ready!(link.stream.as_mut().poll_write(cx, buf)),
            Err(error) => Err(error),
        };
        Poll::Ready(match written {
            Err(error) if link.takes_no_more.learn(&error) => Ok(buf.len()),
            written => written,
        })
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let link = self.get_mut();
        if link.takes_no_more.is_set() {
            return Poll::Ready(Ok(()));
        }
        if link.packet.as_ref().is_some_and(|packet| packet.is_head_over) {
            if let Err(error) = ready!(link.poll_packet(cx)) {
                return Poll::Ready(if link.takes_no_more.learn(&error) {
                    Ok(())
                } else {
                    Err(error)
                });
            }
        }
        link.stream.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().stream.as_mut().poll_shutdown(cx)
    }
}
