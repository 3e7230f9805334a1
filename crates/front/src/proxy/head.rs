//! Heads towards a backend and back: what of a request it is sent, and what of its answer goes on.
//!
//! Pure: no IO. For the uwsgi protocol (compat §6.1) the request is a packet, and the HTTP head beside it only tells hyper how
//! long the body is ([`Link`](super::link::Link)).

use std::collections::HashSet;

use fairlead_http::{Address, Request, ResponseHead, Scheme, Version};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::proxy::failure::{failure, Failure};
use crate::upstream::{Backend, Style};

/// RFC 9110 §7.6.1: these concern one connection.
const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
];

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
    let target = backend.target.as_deref().or(request.variable_set("REQUEST_URI"));
    let target = target.unwrap_or(request.target());
    *head.uri_mut() = hyper::Uri::try_from(target).map_err(|_| bad("target"))?;
    let headers = head.headers_mut();
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
        let packet = packet(request, modifier1, modifier2, length.as_ref())?;
        if let Some(length) = length {
            headers.insert(header::CONTENT_LENGTH, length);
        }
        return Ok((Some(packet), head));
    }
    let named = connection_options(request.values("connection"));
    for (name, value) in request.headers() {
        let text = std::str::from_utf8(name).unwrap_or_default();
        let is_hop = HOP_BY_HOP.contains(&text) || named.contains(text);
        let always = matches!(text, "transfer-encoding" | "expect" | "connection" | "host");
        if always || backend.style == Style::Http && is_hop {
            continue;
        }
        let name = HeaderName::from_bytes(name).map_err(|_| bad("header"))?;
        headers.append(name, HeaderValue::from_bytes(value).map_err(|_| bad("header"))?);
    }
    let host = backend.host.as_deref().or(request.authority());
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
    if backend.style == Style::Http {
        if let Address::Inet(peer) = request.peer() {
            let mut list: Vec<u8> = request
                .values("x-forwarded-for")
                .collect::<Vec<_>>()
                .join(&b", "[..]);
            if !list.is_empty() {
                list.extend_from_slice(b", ");
            }
            list.extend_from_slice(peer.ip().to_canonical().to_string().as_bytes());
            headers.insert(
                "x-forwarded-for",
                HeaderValue::from_bytes(&list).map_err(|_| bad("X-Forwarded-For"))?,
            );
        }
        headers.insert(
            "x-forwarded-proto",
            HeaderValue::from_static(request.scheme().as_str()),
        );
    }
    Ok((None, head))
}

/// The names in Connection headers.
fn connection_options<'a>(values: impl Iterator<Item = &'a [u8]>) -> HashSet<String> {
    values
        .flat_map(|value| value.split(|byte| *byte == b','))
        .map(|name| String::from_utf8_lossy(name.trim_ascii()).to_ascii_lowercase())
        .filter(|name| name != "close" && name != "upgrade")
        .collect()
}

/// A packet of the uwsgi protocol (compat §6.1): modifier, size, modifier, and the variables.
fn packet(
    request: &Request,
    modifier1: u8,
    modifier2: u8,
    length: Option<&HeaderValue>,
) -> Result<Vec<u8>, Failure> {
    let mut block = vec![modifier1, 0, 0, modifier2];
    let mut fits = true;
    let mut add = |name: &str, value: &[u8]| {
        let sizes = (u16::try_from(name.len()), u16::try_from(value.len()));
        let (Ok(name_size), Ok(value_size)) = sizes else {
            fits = false;
            return;
        };
        block.extend_from_slice(&name_size.to_le_bytes());
        block.extend_from_slice(name.as_bytes());
        block.extend_from_slice(&value_size.to_le_bytes());
        block.extend_from_slice(value);
    };
    let host = request.authority().unwrap_or_default();
    let name = host.strip_suffix(b"]").unwrap_or_else(|| {
        let end = host.iter().rposition(|byte| *byte == b':').unwrap_or(host.len());
        &host[..end]
    });
    add("SERVER_NAME", name);
    add("REQUEST_SCHEME", request.scheme().as_str().as_bytes());
    if request.scheme() == Scheme::Https {
        add("HTTPS", b"on");
    }
    // compat §3.1: the router names itself.
    if request.is_routed() && request.variable_set("UWSGI_ROUTER").is_none() {
        add("UWSGI_ROUTER", b"http");
    }
    request.for_each_cgi_variable(|name, value| {
        let is_said = name == "REQUEST_SCHEME";
        // What the other server answers is HTTP/1.1, whatever the client speaks.
        let value = match (name, request.version()) {
            ("SERVER_PROTOCOL", Version::Http2) => Version::Http11.as_str().as_bytes(),
            _ => value,
        };
        if !is_said && name != "CONTENT_LENGTH" && name != "HTTP_TRANSFER_ENCODING" {
            add(name, value);
        }
    });
    add("CONTENT_LENGTH", length.map_or(&b""[..], HeaderValue::as_bytes));
    let size = u16::try_from(block.len() - 4).ok().filter(|_| fits);
    let Some(size) = size else {
        let why = format!(
            "cannot be sent a request head of {} bytes; its protocol ends at 65535",
            block.len()
        );
        return Err(failure(431, why));
    };
    block[1..3].copy_from_slice(&size.to_le_bytes());
    Ok(block)
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
            let is_hop = HOP_BY_HOP.contains(&name) || named.contains(name);
            !is_hop || is_upgrade && matches!(name, "connection" | "upgrade")
        })
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
        .collect();
    ResponseHead::new(status, kept)
        .map_err(|error| failure(502, format_args!("gave an invalid response head: {error}")))
}
