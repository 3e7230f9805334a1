//! What a client still sends behind its answer is read on for a while, for nobody.
//!
//! A server that has answered and does not want the rest of a body resets the stream with NO_ERROR (RFC 9113 §8.1), as h2
//! does once nobody holds the stream. There are clients that then give up the answer too if they have not taken it out yet:
//! curl 7.88 does. It stops sending by itself when it sees an answer other than a 2xx, so behind one of those a client has
//! the time of a lingering close to end its body, and is stopped then. Behind a 2xx curl would go on sending without ever
//! looking for room again, so that only a reset ends it: there it comes at once.

use std::time::Duration;

use h2::RecvStream;
use hyper::StatusCode;
use tokio::time::timeout;

/// How long a client has to end its side behind our last words, a GOAWAY or an answer; as over HTTP/1.1.
pub(super) const LINGER_MS: u64 = 2000;

/// Reads on behind an answer of this status, in a task of its own. `held`: bytes that were taken out and whose room the
/// client has not got back.
pub(super) fn linger(status: StatusCode, mut recv: RecvStream, held: usize) {
    if status.is_success() || recv.is_end_stream() {
        return;
    }
    // Cannot fail: no more is released than came.
    let _ = recv.flow_control().release_capacity(held);
    tokio::spawn(timeout(Duration::from_millis(LINGER_MS), async move {
        while let Some(Ok(piece)) = recv.data().await {
            let _ = recv.flow_control().release_capacity(piece.len());
        }
    }));
}
