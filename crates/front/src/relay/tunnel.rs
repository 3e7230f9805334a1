//! Two sockets joined: what comes from one goes to the other, until both have ended.
//!
//! An end of one direction is passed on as such and the other goes on; an error ends both. Nothing is read that cannot be
//! written, so a slow end slows the other down. All tunnels read into one buffer and keep only what the other socket did not
//! take, so an idle one costs no memory: of ten thousand tunnels most are idle.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{ready, Context, Poll};

use bytes::Bytes;
use tokio::io::ReadBuf;

use crate::peer::Stream;

/// The most that one read takes: a large message in a few calls.
const BUFFER: usize = 64 * 1024;

/// Reads of one direction in a row before other connections have their turn.
const TURN: u32 = 8;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; BUFFER]);
}

/// One of the two, with TLS or without.
pub(crate) type End = Pin<Box<dyn Stream>>;

/// Joins them; what was read ahead from either goes first.
pub(super) async fn join(mut client: End, from_client: Bytes, mut backend: End, from_backend: Bytes) {
    let mut out = Direction::new(from_client);
    let mut back = Direction::new(from_backend);
    poll_fn(|cx| {
        let one = out.poll(cx, &mut client, &mut backend);
        let other = back.poll(cx, &mut backend, &mut client);
        match (one, other) {
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(()),
            // Errors are how such connections end; the peers have their own word for it.
            (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) => Poll::Ready(()),
            _ => Poll::Pending,
        }
    })
    .await;
}

struct Direction {
    /// What was read and not taken yet.
    left: Vec<u8>,
    taken: usize,
    /// The other end has taken what it cannot get rid of yet: TLS has records that wait.
    is_held: bool,
    is_read_out: bool,
    is_over: bool,
}

impl Direction {
    fn new(first: Bytes) -> Direction {
        Direction {
            left: Vec::from(first),
            taken: 0,
            is_held: false,
            is_read_out: false,
            is_over: false,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, from: &mut End, to: &mut End) -> Poll<io::Result<()>> {
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
        from: &mut End,
        to: &mut End,
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
            tunnel.await.expect("both have ended");
        });
    }

    #[test]
    fn the_end_of_one_direction_leaves_the_other_open() {
        run(async {
            let (mut client, one) = duplex(64);
            let (mut backend, other) = duplex(64);
            let tunnel = tokio::spawn(join(Box::pin(one), Bytes::new(), Box::pin(other), Bytes::new()));
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
