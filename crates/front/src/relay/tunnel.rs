//! Two sockets joined: what comes from one goes to the other, until both have ended.
//!
//! An end of one direction is passed on as such and the other goes on; an error ends both. Nothing is read that cannot be
//! written, so a slow end slows the other down.

use bytes::Bytes;
use tokio::io::{copy_bidirectional_with_sizes, AsyncWriteExt};

use crate::peer::{Socket, Stream};
use std::pin::Pin;

/// Per direction. More than one frame of most applications, and small enough for ten thousand tunnels.
const BUFFER: usize = 16 * 1024;

/// Joins them; what was read ahead from either goes first.
pub(super) async fn join(
    client: Socket,
    from_client: Bytes,
    mut backend: Pin<Box<dyn Stream>>,
    from_backend: Bytes,
) {
    let mut client = client.into_stream();
    // Errors are how such connections end; the peers have their own word for it.
    if !from_client.is_empty() && backend.write_all(&from_client).await.is_err() {
        return;
    }
    if !from_backend.is_empty() && client.write_all(&from_backend).await.is_err() {
        return;
    }
    let _ = copy_bidirectional_with_sizes(&mut client, &mut backend, BUFFER, BUFFER).await;
}
