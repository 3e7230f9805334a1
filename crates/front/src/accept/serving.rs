//! A connection begins to speak what is spoken at its listener.
//!
//! Here the ways part: TLS or none, HTTP/1.1 or HTTP/2, the uwsgi protocol. None of them knows the others.

use std::sync::Arc;

use bytes::Bytes;

use crate::accept::config::{ListenerConfig, Protocol};
use crate::accept::server::Server;
use crate::drain::Registration;
use crate::http1::{Http1State, Transport};
use crate::socket::Socket;
use crate::{http2, tls, uwsgi};

/// Starts the task of an accepted connection.
pub(super) fn start(
    server: Arc<Server>,
    config: Arc<ListenerConfig>,
    registration: Registration,
    socket: Socket,
) {
    match config.protocol {
        Protocol::Http => tokio::spawn(serve(server, config, registration, socket)),
        Protocol::Uwsgi => tokio::spawn(serve_uwsgi(server, registration, socket)),
    };
}

/// Serves one accepted socket until it closes, is cut or leaves the front.
async fn serve(server: Arc<Server>, config: Arc<ListenerConfig>, registration: Registration, socket: Socket) {
    let connection = Arc::clone(registration.connection());
    let (state, transport) = match &config.tls {
        None => {
            let state = Arc::new(Http1State::new(connection, 0));
            let transport = Transport::new(socket, Arc::clone(&state));
            (state, transport)
        }
        Some(tls) => {
            let Some(established) = tls::handshake(&connection, tls, socket).await else {
                return drop(registration);
            };
            if established.records.is_for_http2() {
                let stream = tls::into_stream(established.socket, Some(established.records), &connection);
                let pipeline = Arc::clone(&server.pipeline);
                // In a box: this task would else be as large as that one, for every connection.
                return Box::pin(http2::serve(registration, pipeline, stream, Bytes::new())).await;
            }
            let state = Arc::new(Http1State::new(connection, established.last_ms));
            let transport = Transport::with_tls(established.socket, established.records, Arc::clone(&state));
            (state, transport)
        }
    };
    let turned = server
        .http1
        .serve(registration, state, transport, config.to_https)
        .await;
    if let Some((registration, socket, opening)) = turned {
        let pipeline = Arc::clone(&server.pipeline);
        Box::pin(http2::serve(
            registration,
            pipeline,
            socket.into_stream(),
            opening,
        ))
        .await;
    }
}

async fn serve_uwsgi(server: Arc<Server>, registration: Registration, socket: Socket) {
    uwsgi::serve(&server.http1, registration, socket).await;
}
