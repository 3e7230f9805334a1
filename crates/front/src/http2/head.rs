//! Heads: from HTTP/2's to a `Request`, and from an answer to HTTP/2's.
//!
//! h2 and the filter before it have already refused (RST_STREAM with PROTOCOL_ERROR, logged by `wire`): pseudo headers that
//! are missing, repeated, unknown or in the wrong place, names, values and methods that are none, connection-specific headers
//! (RFC 9113 §8.2.2), a Content-Length that is no number or differs from another, or from the body; and, with 431, a header
//! list that is too long. [`admit`] adds what it accepts. A WebSocket handshake of RFC 8441 becomes one of RFC 6455 here,
//! and its answer goes the other way, so that nothing behind the front knows a difference. RFC 8441 §5 has no use for
//! Sec-WebSocket-Key; a client that sends one all the same, and may insist on the answer, gets it.

use std::borrow::Cow;
use std::cell::RefCell;
use std::time::{Duration, SystemTime};

use fairlead_http::{is_host, Request, ResponseHead, Version};
use fairlead_websocket::Handshake;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::http::Response;
use hyper::{Method, StatusCode};

use crate::connection::Connection;
use crate::error::Refusal;
use crate::exchange::{BodyPlan, Core};
use crate::nonce::nonce;
use crate::response_head::{compose, HeadOf};

/// A request that may go to the application.
pub(super) struct Admitted {
    pub(super) request: Request,
    pub(super) is_websocket: bool,
    /// The client has sent a key for its handshake, and whoever accepts that answers it.
    pub(super) has_key: bool,
    pub(super) plan: BodyPlan,
}

/// Checks and converts a head. `has_body`: it did not end its stream.
pub(super) fn admit(head: &Parts, has_body: bool, connection: &Connection) -> Result<Admitted, Refusal> {
    let settings = connection.settings();
    let is_websocket = match head.extensions.get::<h2::ext::Protocol>() {
        // RFC 8441 §4, and RFC 6455 §4.2.1 for the letters' case.
        Some(protocol) if protocol.as_str().eq_ignore_ascii_case("websocket") => true,
        Some(other) => return Err(Refusal::Tunnel(other.as_str().to_owned())),
        None if head.method == Method::CONNECT => return Err(Refusal::Connect(head.uri.to_string())),
        None => false,
    };
    let target = head.uri.path_and_query().map_or("", |target| target.as_str());
    // RFC 9113 §8.3.1: a path, or `*` for OPTIONS.
    let is_asterisk = target == "*" && head.method == Method::OPTIONS;
    if !is_asterisk && !target.starts_with('/') {
        return Err(Refusal::Target(target.to_owned()));
    }
    let host = host(head)?;
    // Cookies may come as one line each (RFC 9113 §8.2.3), and count as the one that they become.
    let crumbs = head.headers.get_all(header::COOKIE).iter().count();
    let count = head.headers.len() - crumbs.saturating_sub(1);
    if count > settings.max_headers {
        let limit = settings.max_headers;
        return Err(Refusal::ManyHeaders { count, limit });
    }
    if let (Some(limit), Some(length)) = (settings.max_body, content_length(&head.headers)) {
        if length > limit {
            return Err(Refusal::BodyTooLarge { length, limit });
        }
    }
    let plan = if is_websocket || !has_body {
        BodyPlan::None
    } else if head.headers.contains_key(header::EXPECT) {
        BodyPlan::OnDemand
    } else {
        BodyPlan::Eager
    };
    let key = client_key(&head.headers).filter(|_| is_websocket);
    let handshake = is_websocket.then(|| match key {
        Some(key) => Cow::Borrowed(key),
        None => Cow::Owned(Handshake::key(nonce()).into_bytes()),
    });
    Ok(Admitted {
        request: convert(head, target, host, handshake.as_deref(), connection),
        is_websocket,
        has_key: key.is_some(),
        plan,
    })
}

/// RFC 9113 §8.3.1: `:authority`, or a Host; both only if they say the same.
fn host(head: &Parts) -> Result<&[u8], Refusal> {
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let (host, more) = (hosts.next(), hosts.count());
    if more > 0 {
        return Err(Refusal::HostRepeated(more + 1));
    }
    let host = host.map(HeaderValue::as_bytes);
    let authority = head
        .uri
        .authority()
        .map(|authority| authority.as_str().as_bytes());
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    match (authority, host) {
        (None, None) => Err(Refusal::HostMissing),
        (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => Err(Refusal::HostDiffers {
            host: text(host),
            authority: text(authority),
        }),
        (Some(value), _) | (None, Some(value)) if !is_host(value) => Err(Refusal::Host(text(value))),
        (Some(value), _) | (None, Some(value)) => Ok(value),
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The key that a client sent although RFC 8441 §5 has no use for it. What is none, or more than one, is nothing that could
/// be answered, and, since no client need send any, nothing to refuse.
fn client_key(headers: &HeaderMap) -> Option<&[u8]> {
    let mut keys = headers.get_all(header::SEC_WEBSOCKET_KEY).iter();
    let key = keys.next()?.as_bytes();
    (keys.next().is_none() && Handshake::is_key(key)).then_some(key)
}

/// `key`: of a WebSocket handshake.
fn convert(head: &Parts, target: &str, host: &[u8], key: Option<&[u8]>, connection: &Connection) -> Request {
    let is_websocket = key.is_some();
    let method = if is_websocket { "GET" } else { head.method.as_str() };
    let mut request =
        Request::builder(method.as_bytes(), target.as_bytes(), Version::Http2).header(b"host", host);
    if let Some(key) = key {
        // What RFC 8441 §5 leaves out of the handshake, for applications that look at it.
        request = request
            .header(b"upgrade", b"websocket")
            .header(b"connection", b"Upgrade")
            .header(b"sec-websocket-key", key);
    }
    for name in head.headers.keys() {
        if name == header::HOST || is_websocket && name == header::SEC_WEBSOCKET_KEY {
            continue;
        }
        let mut values = head.headers.get_all(name).iter();
        if name == header::COOKIE {
            let crumbs: Vec<_> = values.map(HeaderValue::as_bytes).collect();
            request = request.header(b"cookie", &crumbs.join(&b"; "[..]));
        } else if name == header::CONTENT_LENGTH {
            // All the same, or h2 had refused them.
            if let Some(length) = values.next() {
                request = request.header(b"content-length", length.as_bytes());
            }
        } else {
            for value in values {
                request = request.header(name.as_str().as_bytes(), value.as_bytes());
            }
        }
    }
    connection.complete(request)
}

/// A response head as it goes out, and the Content-Length that the application gave.
pub(super) struct StreamHead {
    pub(super) response: Response<()>,
    pub(super) length: Option<u64>,
}

/// Checks an answer's head. A 101, of a handshake as the application sees it, becomes the 200 of RFC 8441 §5. `has_key`: that
/// answers a key of the client's own.
pub(super) fn answer(
    head: ResponseHead,
    core: &Core,
    of: HeadOf,
    has_key: bool,
) -> Result<StreamHead, String> {
    let is_upgrade = of == HeadOf::Upgrade;
    let composed = compose(head, HeaderMap::new(), core, of)?;
    let mut headers = composed.headers;
    // RFC 9113 §8.2.2: they are about a connection of HTTP/1.1.
    for name in [
        header::CONNECTION,
        header::UPGRADE,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
    ] {
        headers.remove(name);
    }
    if is_upgrade && !has_key {
        headers.remove(header::SEC_WEBSOCKET_ACCEPT);
    }
    let mut response = Response::new(());
    *response.status_mut() = if is_upgrade {
        StatusCode::OK
    } else {
        composed.status
    };
    *response.headers_mut() = headers;
    add_date(response.headers_mut());
    Ok(StreamHead {
        response,
        length: composed.length,
    })
}

/// A response of the front itself, and its body.
pub(super) fn plain(status: u16, why: &str) -> (Response<()>, String) {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let text = format!(
        "{} {}: {why}\n",
        status.as_str(),
        status.canonical_reason().unwrap_or("Error")
    );
    let mut response = Response::new(());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(text.len()));
    add_date(headers);
    (response, text)
}

/// RFC 9110 §6.6.1. Made once in a second.
fn add_date(headers: &mut HeaderMap) {
    thread_local! {
        static DATE: RefCell<(u64, HeaderValue)> = const { RefCell::new((0, HeaderValue::from_static(""))) };
    }
    if headers.contains_key(header::DATE) {
        return;
    }
    let now = SystemTime::now();
    let second = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs();
    let date = DATE.with_borrow_mut(|(made, date)| {
        if *made != second {
            if let Ok(value) = HeaderValue::from_str(&httpdate::fmt_http_date(now)) {
                (*made, *date) = (second, value);
            }
        }
        date.clone()
    });
    headers.insert(header::DATE, date);
}
