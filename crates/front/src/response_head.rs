//! The head of an answer on its way out, whatever version of HTTP carries it.
//!
//! What an application may not say (a header with a line end, a second length) is caught here, because behind this only
//! hyper or h2 follow, which trust us. How a body is delimited is decided elsewhere.

use bytes::Bytes;
use fairlead_http::ResponseHead;
use hyper::ext::ReasonPhrase;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::StatusCode;

use crate::access_log::AccessRecord;
use crate::exchange::Core;

/// A checked response head.
pub(crate) struct Composed {
    pub(crate) status: StatusCode,
    pub(crate) reason: Option<ReasonPhrase>,
    pub(crate) headers: HeaderMap,
    /// The Content-Length that the application gave.
    pub(crate) length: Option<u64>,
}

/// What a head is of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeadOf {
    /// An accepted handshake: its 101.
    Upgrade,
    Answer,
}

/// Checks what the application answers, and adds what the routes and the settings want.
pub(crate) fn compose(
    head: ResponseHead,
    mut headers: HeaderMap,
    core: &Core,
    of: HeadOf,
) -> Result<Composed, String> {
    let code = head.status;
    let is_upgrade = of == HeadOf::Upgrade && core.upgrade_requested && code == 101;
    let status = StatusCode::from_u16(code)
        .ok()
        .filter(|status| !status.is_informational() || is_upgrade)
        .ok_or_else(|| {
            let remedy = match code {
                101 => "accept the handshake instead: the server sends the 101, and hands the socket over",
                _ => "use one from 200 to 999",
            };
            format!("the application answered with status {code}; {remedy}")
        })?;
    let reason = match head.reason {
        Some(reason) if status.canonical_reason() != Some(&reason) => {
            Some(ReasonPhrase::try_from(reason.into_bytes()).map_err(|_| {
                format!("the reason phrase of status {code} has a line end or control byte; remove it")
            })?)
        }
        _ => None,
    };
    let mut length = None;
    headers.reserve(head.headers.len() + 2);
    for (name, value) in head.headers {
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
            format!("the response header {name:?} is no valid name; use letters, digits and hyphens")
        })?;
        let value = HeaderValue::from_maybe_shared(Bytes::from(value)).map_err(|_| {
            format!("the value of the response header {name:?} has a line end or control byte; remove it")
        })?;
        // How the body is delimited is the front's business.
        if key == header::TRANSFER_ENCODING {
            continue;
        }
        if key == header::CONTENT_LENGTH {
            let number = value.to_str().ok().and_then(|text| text.parse::<u64>().ok());
            let number = number
                .ok_or_else(|| format!("the Content-Length {value:?} of the response is not a number"))?;
            if length.replace(number).is_some_and(|earlier| earlier != number) {
                return Err(format!(
                    "the response has two Content-Lengths, the second is {number}; give one"
                ));
            }
            // RFC 9110 §8.6: never with 204, and §15.3.6: a 205 has none. A repetition adds nothing.
            if matches!(code, 204 | 205) || headers.contains_key(&key) {
                continue;
            }
        }
        headers.append(key, value);
    }
    if let Some(record) = core.record() {
        change(record, &mut headers)?;
    }
    if let Some(server) = &core.connection.shared().server_header {
        headers.entry(header::SERVER).or_insert_with(|| server.clone());
    }
    Ok(Composed {
        status,
        reason,
        headers,
        length,
    })
}

/// Whether a response with this status has a body at all, RFC 9110 §6.4.1 and §15.3.6.
pub(crate) fn may_have_body(status: StatusCode) -> bool {
    !matches!(status.as_u16(), 204 | 205 | 304)
}

/// What the routes want of the response's headers.
fn change(record: &AccessRecord, headers: &mut HeaderMap) -> Result<(), String> {
    for change in record.header_changes() {
        let bad = |what| {
            format!(
                "a route gives the response header {:?} a {what} that is not valid",
                change.name
            )
        };
        let key = HeaderName::from_bytes(change.name.as_bytes()).map_err(|_| bad("name"))?;
        // What delimits a body is not for routes to change.
        if key == header::CONTENT_LENGTH || key == header::TRANSFER_ENCODING {
            continue;
        }
        if change.removes {
            headers.remove(&key);
        }
        if let Some(value) = &change.value {
            headers.append(key, HeaderValue::from_bytes(value).map_err(|_| bad("value"))?);
        }
    }
    Ok(())
}
