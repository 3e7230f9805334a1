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
    *head.uri_mut() = uri(target.unwrap_or(request.target())).map_err(|_| bad("target"))?;
    let headers = head.headers_mut();
    for (name, value) in request.proxy_headers(backend.style == Style::HttpDumb) {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad("header"))?;
        headers.append(name, HeaderValue::from_bytes(&value).map_err(|_| bad("header"))?);
    }
    let host = backend.host.as_deref().or(request.proxy_host());
    // A packet may have brought any text, and a rule may have made it of one.
    if host.is_some_and(|host| !is_host(host)) {
        return Err(bad("Host"));
    }
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

/// A target as it is, or with that encoded which has no place in one.
fn uri(target: &[u8]) -> Result<hyper::Uri, hyper::http::uri::InvalidUri> {
    // Behind a # hyper would drop the rest.
    if !target.contains(&b'#') {
        if let Ok(uri) = hyper::Uri::try_from(target) {
            return Ok(uri);
        }
    }
    hyper::Uri::try_from(encode_target(target))
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

#[cfg(test)]
mod tests {
    use fairlead_http::{Address, Version};

    use super::*;

    fn sent(target: &str, host: &str, rule_s_host: Option<&[u8]>) -> Result<hyper::Request<()>, u16> {
        let backend = Backend {
            address: String::new(),
            style: Style::Http,
            host: rule_s_host.map(<[u8]>::to_vec),
            target: None,
        };
        let request = Request::builder(b"GET", target.as_bytes(), Version::Http11)
            .header(b"Host", host.as_bytes())
            .peer(Address::Inet("192.0.2.1:9".parse().expect("an address")))
            .finish();
        let sent = outgoing(&backend, &request, false, None);
        sent.map(|(_, head)| head).map_err(|failure| failure.status)
    }

    #[test]
    fn a_target_goes_on_as_a_path_and_with_no_byte_that_has_no_place_there() {
        for (target, path) in [
            ("http://b.example/x?y", "/x?y"),
            ("http://b.example?y", "/?y"),
            ("/\u{e4}|{}", "/\u{e4}|{}"),
            ("/a b#c", "/a%20b%23c"),
            ("/a%20b", "/a%20b"),
            ("//a/./b", "//a/./b"),
            ("*", "*"),
        ] {
            let head = sent(target, "a", None).expect(target);
            assert_eq!(head.uri().to_string(), path, "{target}");
        }
        let head = sent("http://b.example/x", "a", None).expect("a head");
        assert_eq!(head.headers()["host"], "b.example");
    }

    #[test]
    fn what_is_no_host_goes_to_nobody() {
        for host in ["u@evil", "a,b", "a b", "a/b"] {
            assert_eq!(sent("/", host, None).err(), Some(400), "{host}");
            assert_eq!(sent("/", "a", Some(host.as_bytes())).err(), Some(400), "{host}");
            assert!(sent("/", host, Some(b"inner")).is_ok());
        }
    }
}
