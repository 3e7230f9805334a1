//! HTTP/1.1: how hyper is set up, the rules a request must keep, and its way from a header map to a `Request`.
//!
//! hyper and httparse already refuse (400, logged by the task): obsolete line folding, bare CR, NUL and other control
//! bytes in values, spaces around a name, a Content-Length that is no number or that differs from another, a
//! Transfer-Encoding in HTTP/1.0 or not ending in `chunked`. [`admit`] adds what they accept. A request that breaks a rule
//! never reaches the application, and its connection is closed, because nobody can be sure where the next request begins.

use std::sync::Arc;

use fairlead_http::{is_host, Request, Version};
use fairlead_websocket::Handshake;
use hyper::body::{Body, Incoming};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::{header, Method};

use crate::connection::Connection;
use crate::error::Refusal;
use crate::exchange::{BodyPlan, Core, Exchange};
use crate::http1::response::{says, Answering, ResponseBody};
use crate::http1::state::{Http1State, Terms};
use crate::pipeline::Pipeline;
use crate::settings::FrontSettings;

/// hyper's own default, for which it has a path without allocation.
const HYPER_MAX_HEADERS: usize = 100;

/// hyper's read and write buffers grow up to this; it also bounds what hyper buffers of a response.
const BUFFER: usize = 64 * 1024;

/// hyper, set up once for all connections.
pub(crate) fn builder(settings: &FrontSettings) -> http1::Builder {
    let mut http = http1::Builder::new();
    // No timer: hyper's header time-out counts the silence between two requests as a slow head. the task keeps both.
    http.header_read_timeout(None)
        // hyper looks for a client that is gone while an answer is made. Of one that has only ended its side it does not
        // hear (`transport`).
        .half_close(false)
        // Flushing late would join pipelined responses, but it also buffers without a bound.
        .pipeline_flush(false)
        .max_header_size(settings.max_header_bytes)
        .max_buf_size(BUFFER.max(settings.max_header_bytes + 4096));
    if settings.max_headers != HYPER_MAX_HEADERS {
        http.max_headers(settings.max_headers);
    }
    http
}

/// hyper's view of one connection: takes its requests.
pub(crate) struct Service {
    state: Arc<Http1State>,
    pipeline: Arc<Pipeline>,
    /// All requests are sent to this port of https.
    to_https: Option<u16>,
}

impl Service {
    pub(crate) fn new(state: Arc<Http1State>, pipeline: Arc<Pipeline>, to_https: Option<u16>) -> Service {
        Service {
            state,
            pipeline,
            to_https,
        }
    }

    fn hand_over(&self, head: Parts, body: Incoming) -> Answering {
        let connection = &self.state.connection;
        let request = self
            .state
            .take_given()
            .unwrap_or_else(|| convert(&head, connection));
        // RFC 9110 §7.8: an Upgrade in HTTP/1.0 is to be ignored.
        let is_upgrade = request.version() == Version::Http11 && Handshake::is_requested(&request);
        if is_upgrade {
            self.state.expect_upgrade();
        }
        let plan = if body.is_end_stream() {
            BodyPlan::None
        } else if is_upgrade {
            return self.refuse(&Refusal::UpgradeWithBody);
        } else if head.headers.contains_key(header::EXPECT) {
            BodyPlan::OnDemand
        } else {
            BodyPlan::Eager
        };
        let core = Arc::new(Core::new(Arc::clone(connection), is_upgrade, plan));
        if plan != BodyPlan::None {
            self.state.begin_body(body, Arc::clone(&core));
        }
        let exchange = Arc::new(Exchange::new(Arc::clone(&core)));
        self.pipeline.enter(connection, request, exchange);
        Answering::new(
            core,
            Arc::clone(&self.state),
            head.headers,
            head.method == Method::HEAD,
        )
    }

    /// Answers with the same address over TLS.
    fn send_to_https(&self, head: &Parts, port: u16) -> Answering {
        let host = head.uri.host().map(str::as_bytes).or_else(|| {
            let host = head.headers.get(header::HOST)?.as_bytes();
            // The port behind it is this listener's. An IPv6 address has colons of its own.
            let end = match host.iter().position(|&byte| byte == b']') {
                Some(end) => end + 1,
                None => host.iter().position(|&byte| byte == b':').unwrap_or(host.len()),
            };
            Some(&host[..end])
        });
        let Some(host) = host.filter(|host| !host.is_empty()) else {
            return self.refuse(&Refusal::HostMissing);
        };
        let mut location = [b"https://", host].concat();
        if port != 443 {
            location.extend_from_slice(format!(":{port}").as_bytes());
        }
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
        // `OPTIONS *` means the server.
        location.extend_from_slice(if target == "*" { b"/" } else { target.as_bytes() });
        self.state.expect_unread();
        Answering::moved(Arc::clone(&self.state), &location)
    }

    fn refuse(&self, rule: &Refusal) -> Answering {
        let status = rule.status();
        self.state
            .connection
            .note_refusal(format_args!("a request was refused with {status}: {rule}"));
        self.state.expect_unread();
        Answering::refused(Arc::clone(&self.state), status, &rule.to_string())
    }
}

impl hyper::service::Service<hyper::Request<Incoming>> for Service {
    type Response = hyper::Response<ResponseBody>;
    type Error = crate::http1::response::Cut;
    type Future = Answering;

    fn call(&self, request: hyper::Request<Incoming>) -> Answering {
        let (head, body) = request.into_parts();
        let connection = &self.state.connection;
        connection.shared().counters.request();
        match self
            .state
            .begin_request(terms(&head))
            .map_or_else(|| admit(&head, &body, connection.settings()), Err)
        {
            Ok(()) => match self.to_https {
                Some(port) => self.send_to_https(&head, port),
                None => self.hand_over(head, body),
            },
            Err(rule) => self.refuse(&rule),
        }
    }
}

/// What a head says of its connection. hyper goes by the last word of several, or by the one it looks for.
fn terms(head: &Parts) -> Terms {
    let is_http10 = head.version == hyper::Version::HTTP_10;
    Terms {
        is_http10,
        may_upgrade: false,
        closes: says(&head.headers, b"close") || is_http10 && !says(&head.headers, b"keep-alive"),
    }
}

/// The rules that hyper does not check.
fn admit(head: &Parts, body: &Incoming, settings: &FrontSettings) -> Result<(), Refusal> {
    if head.method == Method::CONNECT {
        return Err(Refusal::Connect(head.uri.to_string()));
    }
    // RFC 9112 §3.2: origin form, absolute form, or `*` for OPTIONS; the authority alone is CONNECT's.
    let is_asterisk = head.uri.path() == "*";
    if is_asterisk && head.method != Method::OPTIONS || !is_asterisk && !head.uri.path().starts_with('/') {
        return Err(Refusal::Target(head.uri.to_string()));
    }
    // The host of the absolute form is one like the header's: no user, no list.
    if let Some(authority) = head.uri.authority().map(|authority| authority.as_str()) {
        if !is_host(authority.as_bytes()) {
            return Err(Refusal::Host(authority.to_owned()));
        }
    }
    // HTTP/1.0 may come without a Host, but two are wrong in every version.
    let mut hosts = head.headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.count()) {
        (None, _) if head.version != hyper::Version::HTTP_10 => return Err(Refusal::HostMissing),
        (None, _) => {}
        (Some(host), 0) if is_host(host.as_bytes()) => {}
        (Some(host), 0) => {
            return Err(Refusal::Host(
                String::from_utf8_lossy(host.as_bytes()).into_owned(),
            ))
        }
        (Some(_), more) => return Err(Refusal::HostRepeated(more + 1)),
    }
    if head.headers.contains_key(header::TRANSFER_ENCODING) {
        let mut codings = head.headers.get_all(header::TRANSFER_ENCODING).iter();
        let only = codings
            .next()
            .filter(|value| value.as_bytes().eq_ignore_ascii_case(b"chunked"));
        if only.is_none() || codings.next().is_some() {
            let all: Vec<_> = head.headers.get_all(header::TRANSFER_ENCODING).iter().collect();
            let all = all
                .iter()
                .map(|value| String::from_utf8_lossy(value.as_bytes()))
                .collect::<Vec<_>>()
                .join(", ");
            return Err(Refusal::TransferCoding(all));
        }
    }
    if let (Some(limit), Some(length)) = (settings.max_body, body.size_hint().exact()) {
        if length > limit {
            return Err(Refusal::BodyTooLarge { length, limit });
        }
    }
    Ok(())
}

/// One pass from hyper's head to ours.
fn convert(head: &Parts, connection: &Connection) -> Request {
    let version = if head.version == hyper::Version::HTTP_10 {
        Version::Http10
    } else {
        Version::Http11
    };
    let absolute;
    let target = match head.uri.path_and_query() {
        Some(target) if head.uri.authority().is_none() => target.as_str(),
        _ => {
            // Absolute form (RFC 9112 §3.2.2), rare enough to be put together again.
            absolute = head.uri.to_string();
            &absolute
        }
    };
    let mut request = Request::builder(head.method.as_str().as_bytes(), target.as_bytes(), version);
    for (name, value) in &head.headers {
        request = request.header(name.as_str().as_bytes(), value.as_bytes());
    }
    connection.complete(request)
}
