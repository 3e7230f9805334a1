//! A request head: the facts of an HTTP request as plain data, whoever parsed it.
//!
//! All bytes lie in one arena and everything else is a range of it, so a request costs two allocations, is `Send`
//! and can be handed from thread to thread. A front fills it through `RequestBuilder`, after it has refused what is
//! not HTTP; this file does not parse a head, it only cuts the target. Header names are lower-case from here on. It stays whole,
//! because nobody else may touch the arena.

use std::fmt;
use std::sync::Arc;

use crate::address::{Address, Scheme};
use crate::client_certificate::ClientCertificate;
use crate::target::{cut_target, origin_form, Span};

/// The HTTP version of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
    /// HTTP/2
    Http2,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Version {
    /// As in CGI's `SERVER_PROTOCOL`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
            Version::Http2 => "HTTP/2",
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Field {
    name: Span,
    value: Span,
}

/// A request head.
#[derive(Clone, Debug)]
pub struct Request {
    arena: Vec<u8>,
    fields: Vec<Field>,
    method: Span,
    target: Span,
    /// The authority of a target in absolute form.
    authority: Option<Span>,
    path: Span,
    query: Span,
    version: Version,
    scheme: Scheme,
    peer: Address,
    local: Address,
    /// CGI variables that somebody has set on the way, in order.
    variables_set: Vec<Field>,
    /// What a route wants of whoever writes the log.
    notes: Vec<Field>,
    /// The host that a trusted proxy says its client named.
    forwarded_host: Option<Span>,
    /// The port that a trusted proxy says its client connected to.
    forwarded_port: Option<u16>,
    /// Its peer is trusted in what it says of its client.
    vouched_for: bool,
    router: bool,
    announced: bool,
    /// CGI variables that came instead of an HTTP head; names are UTF-8.
    given: Option<Vec<Field>>,
    client: Option<Arc<ClientCertificate>>,
}

impl Request {
    /// Begins a request head. `target` is the raw request target.
    pub fn builder(method: &[u8], target: &[u8], version: Version) -> RequestBuilder {
        // Most heads of WebSocket requests fit without growing.
        let mut arena = Vec::with_capacity(1024);
        let method = append(&mut arena, method);
        let sent = append(&mut arena, target);
        let (authority, target) = origin_form(&mut arena, sent);
        let (path, query) = cut_target(&arena, target);
        RequestBuilder(Request {
            arena,
            fields: Vec::with_capacity(16),
            method,
            target,
            authority,
            path,
            query,
            version,
            scheme: Scheme::Http,
            peer: Address::Unknown,
            local: Address::Unknown,
            variables_set: Vec::new(),
            notes: Vec::new(),
            forwarded_host: None,
            forwarded_port: None,
            vouched_for: false,
            router: false,
            announced: false,
            given: None,
            client: None,
        })
    }

    /// Sets a CGI variable, whatever the client has sent; the last one of a name counts. `REQUEST_SCHEME` also changes
    /// [`Request::scheme`].
    pub fn set_variable(&mut self, name: &str, value: &[u8]) {
        if name == "REQUEST_SCHEME" {
            self.scheme = if value == b"https" {
                Scheme::Https
            } else {
                Scheme::Http
            };
        }
        let name = append(&mut self.arena, name.as_bytes());
        let value = append(&mut self.arena, value);
        self.variables_set.push(Field { name, value });
    }

    /// What [`Request::set_variable`] has set this variable to, if it has.
    pub fn variable_set(&self, name: &str) -> Option<&[u8]> {
        let mut variables_set = self.variables_set().rev();
        variables_set
            .find(|(other, _)| *other == name.as_bytes())
            .map(|(_, value)| value)
    }

    /// Leaves a note for whoever serves the request. No client can: it is no variable.
    pub fn note(&mut self, name: &str, value: &[u8]) {
        let name = append(&mut self.arena, name.as_bytes());
        let value = append(&mut self.arena, value);
        self.notes.push(Field { name, value });
    }

    /// What [`Request::note`] has left, the first one first.
    pub fn notes(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.notes
            .iter()
            .map(|field| (self.bytes(field.name), self.bytes(field.value)))
    }

    /// What [`Request::set_variable`] has set, the first one first.
    pub(crate) fn variables_set(&self) -> impl DoubleEndedIterator<Item = (&[u8], &[u8])> + Clone {
        self.variables_set
            .iter()
            .map(|field| (self.bytes(field.name), self.bytes(field.value)))
    }

    /// The method, as it was sent.
    pub fn method(&self) -> &[u8] {
        self.bytes(self.method)
    }

    /// The request target, as it was sent, but without scheme and authority if it came in absolute form.
    pub fn target(&self) -> &[u8] {
        self.bytes(self.target)
    }

    /// The path of the target, not decoded; `/` when an absolute target has none, `*` for the asterisk form.
    pub fn path(&self) -> &[u8] {
        self.bytes(self.path)
    }

    /// What follows the first `?` of the target, not decoded.
    pub fn query(&self) -> &[u8] {
        self.bytes(self.query)
    }

    /// The HTTP version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// With or without TLS.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The client's end.
    pub fn peer(&self) -> &Address {
        &self.peer
    }

    /// Our end.
    pub fn local(&self) -> &Address {
        &self.local
    }

    /// The port that the client connected to: ours, or that of a trusted proxy.
    pub fn server_port(&self) -> u16 {
        match (self.forwarded_port, self.local()) {
            (Some(port), _) => port,
            (None, Address::Inet(address)) => address.port(),
            (None, Address::Unix(_) | Address::Unknown) => self.scheme().default_port(),
        }
    }

    /// The port that the client connected to, if anybody has told.
    pub(crate) fn known_port(&self) -> Option<u16> {
        self.given_port().or(self.forwarded_port).or(match self.local() {
            Address::Inet(address) => Some(address.port()),
            Address::Unix(_) | Address::Unknown => None,
        })
    }

    /// A trusted proxy sent it, and has been taken at its word.
    pub(crate) fn is_vouched_for(&self) -> bool {
        self.vouched_for
    }

    /// See [`is_vouched_for`](Request::is_vouched_for).
    pub(crate) fn vouch_for(&mut self) {
        self.vouched_for = true;
    }

    /// It shall look as behind uWSGI's HTTP router (`UWSGI_ROUTER`).
    pub fn is_routed(&self) -> bool {
        self.router
    }

    /// Peer and local are what a proxy has told by the PROXY protocol.
    pub fn is_announced(&self) -> bool {
        self.announced
    }

    /// The certificate that the client has shown.
    pub fn client(&self) -> Option<&ClientCertificate> {
        self.client.as_deref()
    }

    /// The first value of a header; the name in any case.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers()
            .find(|(other, _)| other.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }

    /// All headers in order, names in lower case.
    pub fn headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
        self.fields
            .iter()
            .map(|field| (self.bytes(field.name), self.bytes(field.value)))
    }

    /// The values of all lines of a header.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> + Clone {
        self.headers()
            .filter(move |(other, _)| other.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }

    /// The elements of a comma list over all lines of a header, without empty ones (RFC 9110 §5.6.1.2).
    pub fn list<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.values(name)
            .flat_map(|value| value.split(|byte| *byte == b','))
            .map(trim)
            .filter(|element| !element.is_empty())
    }

    /// Whether a comma list has a token, in any case.
    pub fn has_token(&self, header: &str, token: &str) -> bool {
        self.list(header)
            .any(|element| element.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// Whether a body follows: there is a Transfer-Encoding, or a Content-Length other than 0 (RFC 9112 §6.3).
    pub fn has_body(&self) -> bool {
        self.header("transfer-encoding").is_some()
            || self
                .values("content-length")
                .any(|length| length.is_empty() || length.iter().any(|d| *d != b'0'))
    }

    /// The number of a Content-Length that is one. A front has refused others.
    pub fn content_length(&self) -> Option<u64> {
        std::str::from_utf8(self.header("content-length")?)
            .ok()?
            .parse()
            .ok()
    }

    /// The request came as CGI variables, from a server in front: they count as they were sent.
    pub fn is_given(&self) -> bool {
        self.given.is_some()
    }

    /// The variables of a request that [is given](Request::is_given).
    pub(crate) fn given(&self) -> Option<impl Iterator<Item = (&str, &[u8])>> {
        let fields = self.given.as_ref()?;
        Some(fields.iter().map(|field| {
            // `RequestBuilder::variable` writes nothing else.
            let name = std::str::from_utf8(self.bytes(field.name)).unwrap_or_default();
            (name, self.bytes(field.value))
        }))
    }

    /// The port that the client connected to, of a request that [is given](Request::is_given).
    pub fn given_port(&self) -> Option<u16> {
        let mut given = self.given()?;
        let (_, port) = given.find(|(name, _)| *name == "SERVER_PORT")?;
        std::str::from_utf8(port).ok()?.parse().ok()
    }

    /// The host that the client meant: as a trusted proxy says, of an absolute target, else of the Host header.
    pub fn authority(&self) -> Option<&[u8]> {
        self.overriding_authority().or_else(|| self.header("host"))
    }

    /// What counts instead of the Host header.
    pub(crate) fn overriding_authority(&self) -> Option<&[u8]> {
        // RFC 9112 §3.2.2: with an absolute target the Host header is ignored.
        self.forwarded_host
            .or(self.authority)
            .map(|span| self.bytes(span))
    }

    /// What a trusted proxy says of its client, where it says something.
    pub(crate) fn take_over(
        &mut self,
        client: Option<Address>,
        scheme: Option<Scheme>,
        host: Option<&[u8]>,
        port: Option<u16>,
    ) {
        if let Some(client) = client {
            self.peer = client;
        }
        self.scheme = scheme.unwrap_or(self.scheme);
        if let Some(host) = host {
            self.forwarded_host = Some(append(&mut self.arena, host));
        }
        self.forwarded_port = port;
    }

    fn bytes(&self, span: Span) -> &[u8] {
        &self.arena[span.start..span.end]
    }
}

/// Fills a [`Request`].
#[derive(Clone, Debug)]
pub struct RequestBuilder(Request);

impl RequestBuilder {
    /// Adds a header line.
    #[must_use]
    pub fn header(mut self, name: &[u8], value: &[u8]) -> RequestBuilder {
        let arena = &mut self.0.arena;
        let name = append(arena, name);
        arena[name.start..name.end].make_ascii_lowercase();
        // RFC 9112 §5: white space around a value is not part of it.
        let value = append(arena, trim(value));
        self.0.fields.push(Field { name, value });
        self
    }

    /// With or without TLS; without, unless told otherwise.
    #[must_use]
    pub fn scheme(mut self, scheme: Scheme) -> RequestBuilder {
        self.0.scheme = scheme;
        self
    }

    /// The request comes as CGI variables, which [`variable`](RequestBuilder::variable) adds: none are made of the head.
    #[must_use]
    pub fn given(mut self) -> RequestBuilder {
        self.0.given = Some(Vec::with_capacity(48));
        self
    }

    /// Adds a variable to a request that is [given](RequestBuilder::given). A name is bytes, each a character of Latin-1.
    #[must_use]
    pub fn variable(mut self, name: &[u8], value: &[u8]) -> RequestBuilder {
        let arena = &mut self.0.arena;
        let name = if name.is_ascii() {
            append(arena, name)
        } else {
            let text: String = name.iter().map(|byte| char::from(*byte)).collect();
            append(arena, text.as_bytes())
        };
        let value = append(arena, value);
        self.0
            .given
            .get_or_insert_with(Vec::new)
            .push(Field { name, value });
        self
    }

    /// The client's end.
    #[must_use]
    pub fn peer(mut self, address: Address) -> RequestBuilder {
        self.0.peer = address;
        self
    }

    /// Our end.
    #[must_use]
    pub fn local(mut self, address: Address) -> RequestBuilder {
        self.0.local = address;
        self
    }

    /// It shall look as behind uWSGI's HTTP router; not so, unless told otherwise.
    #[must_use]
    pub fn router(mut self, router: bool) -> RequestBuilder {
        self.0.router = router;
        self
    }

    /// Peer and local are what a proxy has told by the PROXY protocol; not so, unless told otherwise.
    #[must_use]
    pub fn announced(mut self, announced: bool) -> RequestBuilder {
        self.0.announced = announced;
        self
    }

    /// The certificate that the client has shown; none, unless told otherwise.
    #[must_use]
    pub fn client(mut self, certificate: Option<Arc<ClientCertificate>>) -> RequestBuilder {
        self.0.client = certificate;
        self
    }

    /// The finished head.
    pub fn finish(self) -> Request {
        self.0
    }
}

fn append(arena: &mut Vec<u8>, bytes: &[u8]) -> Span {
    let start = arena.len();
    arena.extend_from_slice(bytes);
    Span {
        start,
        end: arena.len(),
    }
}

/// Without spaces and tabs at both ends.
pub(crate) fn trim(bytes: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = bytes.iter().position(|byte| !blank(byte)).unwrap_or(bytes.len());
    let end = bytes
        .iter()
        .rposition(|byte| !blank(byte))
        .map_or(start, |last| last + 1);
    &bytes[start..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_names_are_lower_case_and_values_are_trimmed() {
        let request = Request::builder(b"GET", b"/", Version::Http11)
            .header(b"X-One", b" \t1 ")
            .header(b"x-ONE", b"2")
            .header(b"Empty", b"  ")
            .finish();
        let headers: Vec<_> = request.headers().collect();
        assert_eq!(
            headers,
            [(&b"x-one"[..], &b"1"[..]), (b"x-one", b"2"), (b"empty", b"")]
        );
        assert_eq!(request.header("X-One"), Some(&b"1"[..]));
        assert_eq!(request.header("missing"), None);
    }

    #[test]
    fn tokens_are_found_over_all_lines_and_in_any_case() {
        let request = Request::builder(b"GET", b"/", Version::Http11)
            .header(b"Connection", b"keep-alive,, te")
            .header(b"Connection", b" UPGRADE ")
            .finish();
        assert!(request.has_token("connection", "upgrade"));
        assert!(request.has_token("Connection", "te"));
        assert!(!request.has_token("connection", "keep"));
        assert!(!request.has_token("upgrade", "websocket"));
    }

    #[test]
    fn a_body_is_announced_by_either_header() {
        let with = |name: &[u8], value: &[u8]| {
            Request::builder(b"GET", b"/", Version::Http11)
                .header(name, value)
                .finish()
                .has_body()
        };
        assert!(with(b"Transfer-Encoding", b"chunked"));
        assert!(with(b"Content-Length", b"10"));
        assert!(with(b"Content-Length", b""));
        assert!(!with(b"Content-Length", b"0"));
        assert!(!with(b"Accept", b"*/*"));
    }
}
