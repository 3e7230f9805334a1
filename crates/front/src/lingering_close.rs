//! The last bytes on a connection that nobody serves any more, and nginx's lingering close behind them.
//!
//! They come as they shall go out: whoever speaks TLS has sealed them.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::socket::Socket;

/// How long a closed connection is still read: a close with unread bytes is a reset, which may destroy the last response
/// before the client has seen it. nginx lingers 30 s; here the client has already been refused or answered.
const LINGER: Duration = Duration::from_secs(2);

/// Sends `last` and closes.
pub(crate) async fn send_last(socket: Socket, last: &[u8]) {
    let _ = tokio::time::timeout(LINGER, socket.into_stream().write_all(last)).await;
}

/// Sends `last`, ends our side and reads until the client ends its own.
pub(crate) async fn linger(socket: Socket, last: &[u8]) {
    let mut socket = socket.into_stream();
    let _ = tokio::time::timeout(LINGER, async {
        socket.write_all(last).await?;
        socket.shutdown().await?;
        let mut waste = [0; 4096];
        while socket.read(&mut waste).await? > 0 {}
        std::io::Result::Ok(())
    })
    .await;
}
