//! Heads towards a backend and back: what of a request it is sent, and what of its answer goes on.
//!
//! Pure: no IO. For the uwsgi protocol (compat §6.1) the request is a packet, and the HTTP head beside it only tells hyper how
//! long the body is ([`Link`](super::link::Link)).

use fairlead_http::{connection_options, encode_target, is_hop_by_hop, is_host, Request, ResponseHead};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::proxy::failure::{failure, Failure};
use crate::upstream::{Backend, Style};

/// What goes out: the packet, if it is the uwsgi protocol, and hyper's head. `length`: of a body that is here already.
pub(super) fn outgoing(
    backend: &Backend,
    request: &Request,
    is_upgrade: bool,
    length: Option<usize>,
) -> Result<(Option<Vec<u8>>, hyper::Request<()>), Failure> {
    let bad = |what: &str| {
        failure(
            400,
            format_args!("cannot be sent this request: its {what} is not valid"),
        )
    };
    let mut head = hyper::Request::new(());
    *head.method_mut() =
        hyper::Method::from_bytes(request.variable_set("REQUEST_METHOD").unwrap_or(request.method()))
            .map_err(|_| bad("method"))?;
    if let Style::Uwsgi { modifier1, modifier2 } = backend.style {
        // Of this head only what delimits the body matters; see `Link`.
        let length = match length {
            Some(length) => Some(HeaderValue::from(length)),
            None => request
                .header("content-length")
                .map(HeaderValue::from_bytes)
                .transpose()
                .map_err(|_| bad("Content-Length"))?,
        };
        let packet = request
            .proxy_packet(modifier1, modifier2, length.as_ref().map(HeaderValue::as_bytes))
            .map_err(|size| {
                failure(
                    431,
                    format_args!("cannot be sent a request head of {size} bytes; its protocol ends at 65535"),
                )
            })?;
        if let Some(length) = length {
            head.headers_mut().insert(header::CONTENT_LENGTH, length);
        }
        return Ok((Some(packet), head));
    }
    let target = backend.target.as_deref().or(request.variable_set("REQUEST_URI"));
    let target = encode_target(target.unwrap_or(request.target()));
    *head.uri_mut() = hyper::Uri::try_from(target).map_err(|_| bad("target"))?;
    let headers = head.headers_mut();
    for (name, value) in request.proxy_headers(backend.style == Style::HttpDumb) {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad("header"))?;
        headers.append(name, HeaderValue::from_bytes(&value).map_err(|_| bad("header"))?);
    }
    // A packet may have brought any text.
    if request.proxy_host().is_some_and(|host| !is_host(host)) {
        return Err(bad("Host"));
    }
    let host = backend.host.as_deref().or(request.proxy_host());
    if let Some(host) = host {
        headers.insert(
            header::HOST,
            HeaderValue::from_bytes(host).map_err(|_| bad("Host"))?,
        );
    }
    let connection = if is_upgrade { "Upgrade" } else { "close" };
    headers.insert(header::CONNECTION, HeaderValue::from_static(connection));
    if is_upgrade {
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    }
    Ok((None, head))
}

/// What of a backend's head goes to the client.
pub(super) fn response_head(
    status: u16,
    headers: &HeaderMap,
    is_upgrade: bool,
) -> Result<ResponseHead, Failure> {
    let named = connection_options(
        headers
            .get_all(header::CONNECTION)
            .iter()
            .map(HeaderValue::as_bytes),
    );
    let kept = headers
        .iter()
        .filter(|(name, _)| {
            let name = name.as_str();
            let is_hop = is_hop_by_hop(name) || named.contains(name);
            !is_hop || is_upgrade && matches!(name, "connection" | "upgrade")
        })
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
        .collect();
    ResponseHead::new(status, kept)
        .map_err(|error| failure(502, format_args!("gave an invalid response head: {error}")))
}
