//! The request packet of the uwsgi protocol, as uWSGI's own workers and nginx's `uwsgi_pass` speak it, without IO.
//!
//! Four bytes (modifier1, the size of the block as 16 bits in little endian, modifier2), then a block of variables, each
//! with the length of its key and that of its value before it. [`PacketReader`] takes bytes as they come and gives a
//! [`Packet`], whose block is checked from end to end; [`Packet::request`] makes a [`Request`] of its variables. What
//! follows the packet, a body or WebSocket frames, is not looked at. The sender is a server of the operator's and is
//! trusted in what it says of the client, but nothing is built upon a number that it sends before the bytes are there.
//!
//! Source: <https://uwsgi-docs.readthedocs.io/en/latest/Protocol.html>; the texts of the errors that uWSGI has as well are
//! its own.

use std::borrow::Cow;
use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::address::{Address, Scheme};
use crate::request::{Request, Version};
use crate::target::Span;

/// The bytes before the block.
const HEADER: usize = 4;

/// modifier1 of a question whether this server is alive, and of the answer.
const PING: u8 = 100;

/// The answer to a [`Packet::is_ping`]: an empty packet of modifier1 100 and modifier2 1.
pub const PONG_PACKET: [u8; 4] = [PING, 0, 0, 1];

/// modifier1 of a WSGI request whose `PATH_INFO` still begins with `SCRIPT_NAME`.
const MANAGE_PATH_INFO: u8 = 30;

/// Variables that come to stand in a line of the log, where a line end would begin another. No server that read an HTTP
/// request has one in them; `PATH_INFO` is decoded and may.
const LOGGED: [&str; 3] = ["REQUEST_URI", "REMOTE_ADDR", "SERVER_PROTOCOL"];

/// What a packet may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketLimits {
    /// Bytes of the block; the format itself allows 65535.
    pub max_block: usize,
    /// Variables in the block.
    pub max_variables: usize,
}

/// Takes a packet from a stream of bytes.
#[derive(Debug)]
pub struct PacketReader {
    limits: PacketLimits,
    /// What has arrived of the packet, and never more than it.
    bytes: Vec<u8>,
}

impl PacketReader {
    /// A reader of one packet.
    pub fn new(limits: PacketLimits) -> PacketReader {
        PacketReader {
            limits,
            bytes: Vec::new(),
        }
    }

    /// Takes the next bytes. Once the packet is complete: itself, and how many of `bytes` belong to it. An error is final.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<Option<(Packet, usize)>, PacketError> {
        let mut taken = self.take(bytes, HEADER);
        let &[modifier1, low, high, modifier2, ..] = &self.bytes[..] else {
            return Ok(None);
        };
        let size = usize::from(u16::from_le_bytes([low, high]));
        if self.bytes.len() == HEADER {
            if let Some(what) = other_protocol([modifier1, low, high, modifier2]) {
                return Err(PacketError::OtherProtocol(what));
            }
            if size > self.limits.max_block {
                let max = self.limits.max_block;
                return Err(PacketError::BlockTooLarge { size, max });
            }
        }
        taken += self.take(&bytes[taken..], HEADER + size);
        if self.bytes.len() < HEADER + size {
            return Ok(None);
        }
        let bytes = std::mem::take(&mut self.bytes);
        let fields = cut(&bytes, self.limits.max_variables)?;
        let packet = Packet {
            modifier1,
            modifier2,
            bytes,
            fields,
        };
        Ok(Some((packet, taken)))
    }

    /// Bytes that have arrived of a packet that is not complete.
    pub fn received(&self) -> usize {
        self.bytes.len()
    }

    /// Adds what `bytes` has until there are `size` in all.
    fn take(&mut self, bytes: &[u8], size: usize) -> usize {
        let count = size.saturating_sub(self.bytes.len()).min(bytes.len());
        self.bytes.extend_from_slice(&bytes[..count]);
        count
    }
}

/// What else than a packet these first bytes are. modifier1 of none of them is served, so nobody is turned away by it.
fn other_protocol(first: [u8; 4]) -> Option<&'static str> {
    match &first {
        b"GET " | b"HEAD" | b"POST" | b"PUT " | b"DELE" | b"OPTI" | b"PATC" | b"CONN" | b"TRAC" => {
            Some("an HTTP request")
        }
        b"PRI " => Some("an HTTP/2 connection"),
        // RFC 8446 §5.1: a record of the type handshake, of the version 3.x
        [22, 3, ..] => Some("a TLS handshake"),
        _ => None,
    }
}

/// Finds the variables of a whole packet.
fn cut(bytes: &[u8], max: usize) -> Result<Vec<(Span, Span)>, PacketError> {
    let mut fields = Vec::with_capacity(32);
    let mut at = HEADER;
    while at < bytes.len() {
        if fields.len() == max {
            return Err(PacketError::TooManyVariables { max });
        }
        let number = fields.len() + 1;
        let key = text(bytes, &mut at, number, "key")?;
        if key.start == key.end {
            return Err(PacketError::EmptyKey { number });
        }
        fields.push((key, text(bytes, &mut at, number, "value")?));
    }
    Ok(fields)
}

/// One text with its length before it.
fn text(bytes: &[u8], at: &mut usize, number: usize, what: &'static str) -> Result<Span, PacketError> {
    let rest = &bytes[*at..];
    let &[low, high, ..] = rest else {
        return Err(PacketError::LengthCut { number, what });
    };
    let length = usize::from(u16::from_le_bytes([low, high]));
    let left = rest.len() - 2;
    if length > left {
        return Err(PacketError::BeyondBlock {
            number,
            what,
            length,
            left,
        });
    }
    let start = *at + 2;
    *at = start + length;
    Ok(Span { start, end: *at })
}

/// A whole packet.
#[derive(Clone, Debug)]
pub struct Packet {
    modifier1: u8,
    modifier2: u8,
    bytes: Vec<u8>,
    fields: Vec<(Span, Span)>,
}

impl Packet {
    /// What kind of request it is; 0 is WSGI.
    pub fn modifier1(&self) -> u8 {
        self.modifier1
    }

    /// A further distinction, 0 for requests.
    pub fn modifier2(&self) -> u8 {
        self.modifier2
    }

    /// The question whether this server is alive, to be answered with [`PONG_PACKET`].
    pub fn is_ping(&self) -> bool {
        (self.modifier1, self.modifier2) == (PING, 0)
    }

    /// A request for a WSGI application.
    pub fn is_wsgi(&self) -> bool {
        matches!(self.modifier1, 0 | MANAGE_PATH_INFO)
    }

    /// All variables in order, as they were sent.
    pub fn variables(&self) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
        self.fields.iter().map(|(key, value)| {
            (
                &self.bytes[key.start..key.end],
                &self.bytes[value.start..value.end],
            )
        })
    }

    /// The request that the variables describe, with the variables as its CGI variables.
    ///
    /// Of a repeated variable the last one counts. `HTTP_*` become headers too, unless that name cannot be a header's or
    /// the value has a control byte; but not the lengths and codings of the client's message, which the sender has
    /// unpacked: the body has `CONTENT_LENGTH` bytes. `HTTP_PROXY` is left out (CVE-2016-5385).
    pub fn request(&self) -> Result<Request, PacketRequestError> {
        let last = self.last_values();
        let of = |name: &str| last.get(name.as_bytes()).map(|(_, value)| *value);
        let method = of("REQUEST_METHOD").ok_or(PacketRequestError::MethodMissing)?;
        if !is_token(method) {
            return Err(PacketRequestError::Method(text_of(method)));
        }
        let length = of("CONTENT_LENGTH").unwrap_or_default();
        if !length.iter().all(u8::is_ascii_digit) || length.len() > 18 {
            return Err(PacketRequestError::Length(text_of(length)));
        }
        for name in LOGGED {
            if of(name).is_some_and(has_control) {
                let value = text_of(of(name).unwrap_or_default());
                return Err(PacketRequestError::ControlByte { name, value });
            }
        }
        let target = of("REQUEST_URI")
            .or_else(|| of("PATH_INFO").filter(|path| !has_control(path)))
            .unwrap_or_default();
        let mut request = Request::builder(method, target, version(of("SERVER_PROTOCOL")))
            .scheme(scheme(&of))
            .peer(end(of("REMOTE_ADDR"), of("REMOTE_PORT")))
            .local(end(of("SERVER_ADDR"), of("SERVER_PORT")))
            .given();
        for (place, (name, value)) in self.variables().enumerate() {
            let is_last = last.get(name).is_some_and(|(last, _)| *last == place);
            if !is_last || name == b"HTTP_PROXY" {
                continue;
            }
            let mut value = value;
            if name == b"PATH_INFO" && self.modifier1 == MANAGE_PATH_INFO {
                value = of("SCRIPT_NAME")
                    .and_then(|script| value.strip_prefix(script))
                    .unwrap_or(value);
            }
            request = request.variable(name, value);
            if let Some(header) = header(name, value) {
                request = request.header(&header, value);
            }
        }
        Ok(request.finish())
    }

    /// The place and value of each name's last variable.
    fn last_values(&self) -> HashMap<&[u8], (usize, &[u8])> {
        let places = self.variables().enumerate();
        places
            .map(|(place, (name, value))| (name, (place, value)))
            .collect()
    }
}

/// HTTP/1.0 and older, or nothing said, is answered as HTTP/1.0. Above that HTTP/1.1: what the client speaks with a proxy,
/// such as HTTP/2, does not change what is spoken here.
fn version(protocol: Option<&[u8]>) -> Version {
    match protocol {
        None | Some(b"" | b"HTTP/1.0" | b"HTTP/0.9") => Version::Http10,
        Some(_) => Version::Http11,
    }
}

/// `UWSGI_SCHEME` before `HTTPS` (uWSGI's order) before `REQUEST_SCHEME`. Never a header: that is the client's word.
fn scheme<'a>(of: &impl Fn(&str) -> Option<&'a [u8]>) -> Scheme {
    let secure = |value: &[u8]| value.starts_with(b"https") || value.starts_with(b"wss");
    let is_https = match (of("UWSGI_SCHEME"), of("HTTPS")) {
        (Some(scheme), _) if !scheme.is_empty() => secure(scheme),
        (_, Some(https)) if !https.is_empty() => https.starts_with(b"on") || https.starts_with(b"1"),
        _ => of("REQUEST_SCHEME").is_some_and(secure),
    };
    if is_https {
        Scheme::Https
    } else {
        Scheme::Http
    }
}

/// One end of the client's connection, as the sender knows it.
fn end(address: Option<&[u8]>, port: Option<&[u8]>) -> Address {
    let parse = |bytes| std::str::from_utf8(bytes).ok();
    let Some(address) = address else {
        return Address::Unknown;
    };
    // nginx's $remote_addr of a client at its UNIX socket
    if address.is_empty() || address.starts_with(b"unix:") {
        return Address::Unix(String::new());
    }
    let port = port.and_then(parse).and_then(|port| port.parse().ok());
    parse(address)
        .and_then(|address| address.parse::<IpAddr>().ok())
        .map_or(Address::Unknown, |ip| {
            Address::Inet(SocketAddr::new(ip, port.unwrap_or(0)))
        })
}

/// What no `HTTP_` variable becomes, however it writes the name: `HTTP_TRAnSFER-ENCODING` would be the same header.
const NO_HEADERS: [&[u8]; 4] = [b"content-length", b"content-type", b"proxy", b"transfer-encoding"];

/// The header of a variable, if it can be one; its name in lower case.
fn header<'a>(name: &'a [u8], value: &[u8]) -> Option<Cow<'a, [u8]>> {
    if has_control(value) {
        return None;
    }
    match name {
        b"CONTENT_LENGTH" | b"CONTENT_TYPE" if value.is_empty() => None,
        b"CONTENT_LENGTH" => Some(Cow::Borrowed(b"content-length")),
        b"CONTENT_TYPE" => Some(Cow::Borrowed(b"content-type")),
        _ => {
            let name = name.strip_prefix(b"HTTP_")?;
            let dashed = |byte: &u8| {
                if *byte == b'_' {
                    b'-'
                } else {
                    byte.to_ascii_lowercase()
                }
            };
            let name: Vec<u8> = name.iter().map(dashed).collect();
            (is_token(&name) && !NO_HEADERS.contains(&&name[..])).then_some(Cow::Owned(name))
        }
    }
}

/// RFC 9110 §5.5: what may not stand in a header's value.
fn has_control(value: &[u8]) -> bool {
    let is_control = |byte: &u8| *byte < b' ' && *byte != b'\t' || *byte == 0x7f;
    value.iter().any(is_control)
}

/// RFC 9110 §5.6.2
fn is_token(bytes: &[u8]) -> bool {
    let of_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !bytes.is_empty() && bytes.iter().all(of_token)
}

/// For an error's sentence: no longer than a line.
fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(64)]).into_owned()
}

/// Why bytes are no packet. The connection closes without an answer, because nobody can say where the next byte belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PacketError {
    /// The first bytes are of another protocol, which is named.
    OtherProtocol(&'static str),
    /// The block is larger than is accepted; known before its bytes are there.
    BlockTooLarge {
        /// Bytes announced.
        size: usize,
        /// [`PacketLimits::max_block`].
        max: usize,
    },
    /// More variables than are accepted.
    TooManyVariables {
        /// [`PacketLimits::max_variables`].
        max: usize,
    },
    /// A variable without a name.
    EmptyKey {
        /// Its place, from 1.
        number: usize,
    },
    /// The block ends inside the two bytes of a length.
    LengthCut {
        /// The place of the variable, from 1.
        number: usize,
        /// "key" or "value".
        what: &'static str,
    },
    /// A key or value is said to be longer than what is left of the block.
    BeyondBlock {
        /// The place of the variable, from 1.
        number: usize,
        /// "key" or "value".
        what: &'static str,
        /// Bytes announced.
        length: usize,
        /// Bytes left.
        left: usize,
    },
}

impl fmt::Display for PacketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PacketError::OtherProtocol(what) => write!(f, "{what} came where the uwsgi protocol is spoken"),
            PacketError::BlockTooLarge { size, max } => {
                write!(f, "invalid request block size: {size} (max {max})...skip")
            }
            PacketError::TooManyVariables { max } => {
                write!(
                    f,
                    "max vec size reached. skip this var. (the packet has more than {max} variables)"
                )
            }
            PacketError::EmptyKey { number } => {
                write!(
                    f,
                    "the packet's variable number {number} has a key of length 0; a key needs a name"
                )
            }
            PacketError::LengthCut { number, what } => {
                write!(
                    f,
                    "the packet's block ends inside the length of the {what} of variable number {number}"
                )
            }
            PacketError::BeyondBlock {
                number,
                what,
                length,
                left,
            } => write!(
                f,
                "the {what} of the packet's variable number {number} is said to have {length} bytes, and the block has \
                 {left} left"
            ),
        }
    }
}

impl Error for PacketError {}

/// Why a whole packet is no request. It can be answered, with 400.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PacketRequestError {
    /// There is no `REQUEST_METHOD`.
    MethodMissing,
    /// `REQUEST_METHOD` is no token (RFC 9110 §9.1).
    Method(String),
    /// A value that has a control byte, in a variable where none can be.
    ControlByte {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
    },
    /// `CONTENT_LENGTH` is no number, or one that no body can have.
    Length(String),
}

impl fmt::Display for PacketRequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PacketRequestError::MethodMissing => {
                f.write_str("the packet has no REQUEST_METHOD; send one (nginx: include uwsgi_params)")
            }
            PacketRequestError::Method(value) => {
                write!(f, "the packet's REQUEST_METHOD {value:?} is no method")
            }
            PacketRequestError::ControlByte { name, value } => {
                write!(f, "the packet's {name} {value:?} has a control byte")
            }
            PacketRequestError::Length(value) => {
                write!(f, "the packet's CONTENT_LENGTH {value:?} is no number of bytes")
            }
        }
    }
}

impl Error for PacketRequestError {}
