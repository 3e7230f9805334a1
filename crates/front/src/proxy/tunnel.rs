//! Two sockets joined: what comes from one goes to the other, until both have ended.
//!
//! An end of one direction is passed on as such and the other goes on; an error ends both, and so does silence in both
//! directions for as long as the settings allow. Nothing is read that cannot be
//! written, so a slow end slows the other down. All tunnels read into one buffer and keep only what the other socket did not
//! take, so an idle one costs no memory: of ten thousand tunnels most are idle.

use std::cell::RefCell;
use std::future::{poll_fn, Future};
use std::io;
use std::pin::Pin;
use std::task::{ready, Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::ReadBuf;
use tokio::time::{sleep, Instant, Sleep};

use crate::socket::BoxStream;

/// The most that one read takes: a large message in a few calls.
const BUFFER: usize = 64 * 1024;

/// Reads of one direction in a row before other connections have their turn.
const TURN: u32 = 8;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; BUFFER]);
}

/// How a tunnel has ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ended {
    /// Nothing moved for too long.
    pub(super) by_silence: bool,
    /// Bytes that the client's socket has taken.
    pub(super) to_client: u64,
}

/// Joins them; what was read ahead from either goes first. `patience`: how long both may be silent, if not for ever.
pub(super) async fn join(
    mut client: BoxStream,
    from_client: Bytes,
    mut backend: BoxStream,
    from_backend: Bytes,
    patience: Option<Duration>,
) -> Ended {
    let mut out = Direction::new(from_client);
    let mut back = Direction::new(from_backend);
    let mut watch = patience.map(Watch::new);
    let by_silence = poll_fn(|cx| {
        let one = out.poll(cx, &mut client, &mut backend);
        let other = back.poll(cx, &mut backend, &mut client);
        match (one, other) {
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(false),
            // Errors are how such connections end; the peers have their own word for it.
            (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) => Poll::Ready(false),
            _ => match &mut watch {
                Some(watch) => watch.poll(cx, out.moved + back.moved).map(|()| true),
                None => Poll::Pending,
            },
        }
    })
    .await;
    Ended {
        by_silence,
        to_client: back.moved,
    }
}

/// Waits for silence. Its timer is set anew only when it has run out, so a busy tunnel pays a look at the clock for a turn.
struct Watch {
    patience: Duration,
    timer: Pin<Box<Sleep>>,
    moved: u64,
    since: Instant,
}

impl Watch {
    fn new(patience: Duration) -> Watch {
        Watch {
            patience,
            timer: Box::pin(sleep(patience)),
            moved: 0,
            since: Instant::now(),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, moved: u64) -> Poll<()> {
        if moved != self.moved {
            self.moved = moved;
            self.since = Instant::now();
        }
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let end = self.since + self.patience;
            if end <= Instant::now() {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(end);
        }
    }
}

struct Direction {
    /// What was read and not taken yet.
    left: Vec<u8>,
    taken: usize,
    /// The other end has taken what it cannot get rid of yet: TLS has records that wait.
    is_held: bool,
    is_read_out: bool,
    is_over: bool,
    /// Bytes that the other socket has taken.
    moved: u64,
}

impl Direction {
    fn new(first: Bytes) -> Direction {
        Direction {
            left: Vec::from(first),
            taken: 0,
            is_held: false,
            is_read_out: false,
            is_over: false,
            moved: 0,
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut BoxStream,
        to: &mut BoxStream,
    ) -> Poll<io::Result<()>> {
        for _ in 0..TURN {
            if self.is_over {
                return Poll::Ready(Ok(()));
            }
            while self.taken < self.left.len() {
                let count = ready!(to.as_mut().poll_write(cx, &self.left[self.taken..]))?;
                if count == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.taken += count;
                self.moved += count as u64;
            }
            if self.taken > 0 {
                self.left = Vec::new();
                self.taken = 0;
                self.is_held = true;
            }
            if self.is_held {
                ready!(to.as_mut().poll_flush(cx))?;
                self.is_held = false;
            }
            if self.is_read_out {
                ready!(to.as_mut().poll_shutdown(cx))?;
                self.is_over = true;
                return Poll::Ready(Ok(()));
            }
            ready!(SCRATCH.with_borrow_mut(|scratch| self.poll_once(cx, from, to, scratch)))?;
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// One read and, if the other socket takes it, one write.
    fn poll_once(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut BoxStream,
        to: &mut BoxStream,
        scratch: &mut [u8],
    ) -> Poll<io::Result<()>> {
        let mut read = ReadBuf::new(scratch);
        ready!(from.as_mut().poll_read(cx, &mut read))?;
        let read = read.filled();
        if read.is_empty() {
            self.is_read_out = true;
            return Poll::Ready(Ok(()));
        }
        let taken = match to.as_mut().poll_write(cx, read) {
            Poll::Ready(taken) => taken?,
            Poll::Pending => 0,
        };
        self.moved += taken as u64;
        if taken < read.len() {
            self.left = read[taken..].to_vec();
            return Poll::Ready(Ok(()));
        }
        // Nothing for a socket without TLS, and that is said at once.
        self.is_held = true;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{duplex, AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn run(test: impl std::future::Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime")
            .block_on(test);
    }

    #[test]
    fn bytes_pass_both_ways_in_order_through_narrow_ends() {
        run(async {
            let (mut client, one) = duplex(7);
            let (mut backend, other) = duplex(5);
            let tunnel = tokio::spawn(join(
                Box::pin(one),
                Bytes::from_static(b"ahead of "),
                Box::pin(other),
                Bytes::from_static(b"early "),
                None,
            ));
            let writes = tokio::spawn(async move {
                client.write_all(b"the rest").await.expect("a write");
                let mut heard = vec![0; 10];
                client.read_exact(&mut heard).await.expect("a read");
                (client, heard)
            });
            let mut heard = vec![0; 17];
            backend.read_exact(&mut heard).await.expect("a read");
            assert_eq!(heard, b"ahead of the rest");
            backend.write_all(b"late").await.expect("a write");
            let (client, heard) = writes.await.expect("a task");
            assert_eq!(heard, b"early late");
            drop(client);
            let mut end = Vec::new();
            backend.read_to_end(&mut end).await.expect("the end");
            assert_eq!(end, b"");
            drop(backend);
            let ended = tunnel.await.expect("both have ended");
            assert_eq!(
                ended,
                Ended {
                    by_silence: false,
                    to_client: 10
                }
            );
        });
    }

    #[test]
    fn silence_in_both_directions_ends_a_tunnel_and_a_byte_in_either_keeps_it() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build();
        runtime.expect("a runtime").block_on(async {
            let (mut client, one) = duplex(64);
            let (mut backend, other) = duplex(64);
            let patience = Some(Duration::from_secs(10));
            let began = Instant::now();
            let tunnel = tokio::spawn(join(
                Box::pin(one),
                Bytes::new(),
                Box::pin(other),
                Bytes::new(),
                patience,
            ));
            // The clock of the test goes on when nobody has anything to do.
            for from_client in [true, false, true] {
                sleep(Duration::from_secs(9)).await;
                let (writer, reader) = if from_client {
                    (&mut client, &mut backend)
                } else {
                    (&mut backend, &mut client)
                };
                writer.write_all(b".").await.expect("a write");
                reader.read_exact(&mut [0]).await.expect("a read");
            }
            let ended = tunnel.await.expect("a task");
            assert!(ended.by_silence);
            assert_eq!(began.elapsed().as_secs(), 27 + 10);
        });
    }

    #[test]
    fn the_end_of_one_direction_leaves_the_other_open() {
        run(async {
            let (mut client, one) = duplex(64);
            let (mut backend, other) = duplex(64);
            let tunnel = tokio::spawn(join(
                Box::pin(one),
                Bytes::new(),
                Box::pin(other),
                Bytes::new(),
                None,
            ));
            client.shutdown().await.expect("a shutdown");
            let mut end = Vec::new();
            backend.read_to_end(&mut end).await.expect("the end");
            backend.write_all(b"still here").await.expect("a write");
            drop(backend);
            client.read_to_end(&mut end).await.expect("the end");
            assert_eq!(end, b"still here");
            tunnel.await.expect("both have ended");
        });
    }
}
