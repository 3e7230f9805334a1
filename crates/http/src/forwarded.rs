//! What a trusted proxy says of its client: `Forwarded` (RFC 7239) or `X-Forwarded-For`, `-Proto`, `-Host`, `-Port`.
//!
//! Each proxy adds to the right what it knows, so a list is read from the right: the first address that is no trusted
//! proxy is the client, and nothing left of it is looked at, because the client may have written it. Scheme and host
//! are those of the same hop. What a trusted proxy wrote and cannot be read makes its whole kind of header worthless;
//! the request is then what its connection says.
//!
//! A proxy that writes one kind of header lets the other pass as the client sent it. So if both kinds are there they have
//! to say the same in all they say, or nothing of either is trusted: neither kind can be known to be the proxy's.

use std::fmt;

use crate::address::{Address, Scheme};
use crate::host::is_host;
use crate::request::{trim, Request};
use crate::trusted::{parse_address, TrustedProxies};

/// Why the headers of a trusted proxy changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardedError {
    /// `Forwarded` and `X-Forwarded-*` are both there and differ.
    Contradiction,
    /// What the proxy wrote into this header cannot be read.
    Unreadable(&'static str),
}

impl fmt::Display for ForwardedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ForwardedError::Contradiction => f.write_str(
                "Forwarded and X-Forwarded-* do not say the same, so neither is trusted; let the proxy delete the kind \
                 that it does not write",
            ),
            ForwardedError::Unreadable(header) => write!(
                f,
                "the {header} of a trusted proxy cannot be read, so nothing of its kind is trusted; let the proxy set it"
            ),
        }
    }
}

impl std::error::Error for ForwardedError {}

/// What one kind of header says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Facts {
    client: Option<Address>,
    scheme: Option<Scheme>,
    host: Option<Vec<u8>>,
    port: Option<u16>,
}

impl Facts {
    /// The same in what both kinds can say; a port of the client's is a detail.
    fn agree(&self, other: &Facts) -> bool {
        let ip = |facts: &Facts| match &facts.client {
            Some(Address::Inet(address)) => Some(Some(address.ip())),
            Some(_) => Some(None),
            None => None,
        };
        ip(self) == ip(other) && self.scheme == other.scheme && self.host == other.host
    }
}

impl Request {
    /// Takes over what a trusted proxy says: the client's address and port, the scheme, the host if it says one, and the
    /// server's port. Without a trusted peer, or without such headers, nothing happens.
    ///
    /// # Errors
    /// Nothing was taken over, although the peer is trusted and there are headers.
    pub fn apply_forwarded(&mut self, trusted: &TrustedProxies) -> Result<(), ForwardedError> {
        if trusted.is_empty() || !trusted.trusts(self.peer()) {
            return Ok(());
        }
        let facts = match (standard(self, trusted)?, customary(self, trusted)?) {
            (None, None) => Facts::default(),
            (Some(facts), None) | (None, Some(facts)) => facts,
            (Some(standard), Some(customary)) if standard.agree(&customary) => Facts {
                port: customary.port,
                ..standard
            },
            _ => return Err(ForwardedError::Contradiction),
        };
        self.vouch_for();
        self.take_over(facts.client, facts.scheme, facts.host.as_deref(), facts.port);
        Ok(())
    }
}

/// RFC 7239.
fn standard(request: &Request, trusted: &TrustedProxies) -> Result<Option<Facts>, ForwardedError> {
    const UNREADABLE: ForwardedError = ForwardedError::Unreadable("Forwarded");
    let mut lines: Vec<&[u8]> = request.values("forwarded").collect();
    lines.reverse();
    let mut facts = None;
    for element in lines.into_iter().flat_map(|line| FromTheRight(Some(line), b',')) {
        if element.is_empty() {
            continue;
        }
        let hop = read_hop(element).ok_or(UNREADABLE)?;
        let goes_on = is_proxy(hop.client.as_ref(), trusted);
        facts = Some(hop);
        if !goes_on {
            break;
        }
    }
    Ok(facts)
}

/// One element: `for=192.0.2.60;proto=http;by=203.0.113.43`.
fn read_hop(element: &[u8]) -> Option<Facts> {
    let mut facts = Facts::default();
    for pair in FromTheRight(Some(element), b';').filter(|pair| !pair.is_empty()) {
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (&pair[..equals], unquote(&pair[equals + 1..])?);
        match name.to_ascii_lowercase().as_slice() {
            b"for" => put(&mut facts.client, read_node(&value))?,
            b"proto" => put(&mut facts.scheme, read_scheme(&value))?,
            b"host" => {
                let host = Some(value).filter(|value| !value.is_empty() && is_host(value));
                put(&mut facts.host, host)?;
            }
            _ => {}
        }
    }
    Some(facts)
}

/// A parameter comes at most once (RFC 7239 §4).
fn put<T>(place: &mut Option<T>, value: Option<T>) -> Option<()> {
    place.replace(value?).is_none().then_some(())
}

/// `X-Forwarded-For` and its companions, which no standard describes.
fn customary(request: &Request, trusted: &TrustedProxies) -> Result<Option<Facts>, ForwardedError> {
    let addresses: Vec<&[u8]> = request.list("x-forwarded-for").collect();
    let mut facts = Facts::default();
    let mut place = addresses.len();
    for (index, text) in addresses.iter().enumerate().rev() {
        let text = unquote(text).ok_or(ForwardedError::Unreadable("X-Forwarded-For"))?;
        let node = read_node(&text).ok_or(ForwardedError::Unreadable("X-Forwarded-For"))?;
        place = index;
        let goes_on = is_proxy(Some(&node), trusted);
        facts.client = Some(node);
        if !goes_on {
            break;
        }
    }
    // A companion with one value for each address: that of the client's hop. Otherwise its last one, which is the only one
    // that is sure to be the peer's.
    let companion = |name: &'static str| {
        let values: Vec<&[u8]> = request.list(name).collect();
        let one_each = values.len() == addresses.len() && place < values.len();
        if one_each {
            Some(values[place])
        } else {
            values.last().copied()
        }
    };
    if let Some(value) = companion("x-forwarded-proto") {
        facts.scheme = Some(read_scheme(value).ok_or(ForwardedError::Unreadable("X-Forwarded-Proto"))?);
    }
    if let Some(value) = companion("x-forwarded-port") {
        let port = std::str::from_utf8(value).ok().and_then(read_port);
        facts.port = Some(
            port.filter(|port| *port > 0)
                .ok_or(ForwardedError::Unreadable("X-Forwarded-Port"))?,
        );
    }
    if let Some(value) = companion("x-forwarded-host") {
        if !is_host(value) {
            return Err(ForwardedError::Unreadable("X-Forwarded-Host"));
        }
        facts.host = Some(value.to_vec());
    }
    Ok((facts != Facts::default()).then_some(facts))
}

/// The client of a hop may be one more proxy, which has said something of its own client.
fn is_proxy(client: Option<&Address>, trusted: &TrustedProxies) -> bool {
    matches!(client, Some(Address::Inet(address)) if trusted.trusts_ip(address.ip()))
}

/// RFC 7239 §6: an address, `unknown`, or a name that hides one. What is hidden stays so: a hop without an address is
/// nobody whom a list could trust, and its client is not known. Nor is who came to nginx at a UNIX socket: `unix:`.
fn read_node(value: &[u8]) -> Option<Address> {
    let text = std::str::from_utf8(value).ok()?;
    if let Some(address) = parse_address(text) {
        return Some(Address::Inet(address));
    }
    if text == "unix:" {
        return Some(Address::Unknown);
    }
    let of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let is_hidden = |text: &str| text.len() > 1 && text.starts_with('_') && text.bytes().all(of_name);
    let (name, port) = text.rsplit_once(':').unwrap_or((text, "0"));
    if is_hidden(port) {
        // An IPv6 address with a port has brackets.
        let is_plain = !name.contains(':') || name.starts_with('[');
        if let Some(address) = parse_address(name).filter(|address| is_plain && address.port() == 0) {
            return Some(Address::Inet(address));
        }
    }
    let port_is_good = is_hidden(port) || read_port(port).is_some();
    ((name.eq_ignore_ascii_case("unknown") || is_hidden(name)) && port_is_good).then_some(Address::Unknown)
}

fn read_port(text: &str) -> Option<u16> {
    // Rust's own parser takes a sign.
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

/// Some proxies name the schemes of WebSockets.
fn read_scheme(value: &[u8]) -> Option<Scheme> {
    match value.to_ascii_lowercase().as_slice() {
        b"http" | b"ws" => Some(Scheme::Http),
        b"https" | b"wss" => Some(Scheme::Https),
        _ => None,
    }
}

/// The text of a quoted string, or the value as it is (RFC 9110 §5.6.4). `None` if a quote is where none can be.
fn unquote(value: &[u8]) -> Option<Vec<u8>> {
    let Some(inner) = value.strip_prefix(b"\"") else {
        return (!value.contains(&b'"')).then(|| value.to_vec());
    };
    let inner = inner.strip_suffix(b"\"")?;
    let mut text = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return None,
            b'\\' => text.push(*bytes.next()?),
            _ => text.push(*byte),
        }
    }
    Some(text)
}

/// The elements of a list from the last to the first, without blanks around them; a separator inside quotes is none. From
/// the right, so that a quote which a client left open cannot swallow what the proxy added behind it.
struct FromTheRight<'a>(Option<&'a [u8]>, u8);

impl<'a> Iterator for FromTheRight<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.0?;
        let mut is_quoted = false;
        for (index, byte) in rest.iter().enumerate().rev() {
            if *byte == b'"' {
                let escapes = rest[..index]
                    .iter()
                    .rev()
                    .take_while(|byte| **byte == b'\\')
                    .count();
                is_quoted ^= escapes % 2 == 0;
            } else if *byte == self.1 && !is_quoted {
                self.0 = Some(&rest[..index]);
                return Some(trim(&rest[index + 1..]));
            }
        }
        self.0 = None;
        Some(trim(rest))
    }
}
