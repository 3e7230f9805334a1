//! The server behind this one: where it is, what it is sent, and what of its answer goes on.
//!
//! hyper's client writes an HTTP head; for the uwsgi protocol (spec §6.1) [`Link`] takes that head out again and puts the
//! packet in its place, because all that follows, bodies and responses, is the same.

use std::collections::HashSet;
use std::io;
use std::pin::Pin;
use std::task::{ready, Context, Poll};

use fairlead_http::{Address, Request, ResponseHead, Scheme, Version};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::rt::ReadBufCursor;
use tokio::io::ReadBuf;
use tokio::net::{TcpStream, UnixStream};

use super::{failure, Failure};
use crate::http1::transport::Stream;

/// A server to which requests are relayed.
#[derive(Debug)]
pub(crate) struct Backend {
    /// `host:port`, a path, or `@abstract`.
    pub(crate) address: String,
    pub(crate) style: Style,
    /// Replaces the Host.
    pub(crate) host: Option<Vec<u8>>,
    /// Replaces the request target.
    pub(crate) target: Option<Vec<u8>>,
}

/// What a backend is spoken to in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// The uwsgi protocol.
    Uwsgi { modifier1: u8, modifier2: u8 },
    /// HTTP/1.1, without what concerns one connection only, and with `X-Forwarded-For`.
    Http,
    /// HTTP/1.1 with the client's headers as they are.
    HttpDumb,
}

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

impl Backend {
    /// Whether an address can be one at all.
    pub(crate) fn check(address: &str) -> Result<(), String> {
        if address.starts_with('@') && address.len() > 1 || address.contains('/') {
            return Ok(());
        }
        let port = address
            .rsplit_once(':')
            .map(|(host, port)| (host, port.parse::<u16>()));
        match port {
            Some((_, Ok(port))) if port > 0 => Ok(()),
            _ => Err(format!(
                "{address:?} is no address of a server; write host:port, a path, or @name of an abstract socket"
            )),
        }
    }

    pub(super) fn label(&self) -> String {
        let kind = match self.style {
            Style::Uwsgi { .. } => "uwsgi",
            Style::Http | Style::HttpDumb => "http",
        };
        format!("the {kind} server at {}", self.address)
    }

    pub(super) fn needs_length(&self) -> bool {
        matches!(self.style, Style::Uwsgi { .. })
    }

    pub(super) async fn connect(&self) -> io::Result<Pin<Box<dyn Stream>>> {
        let address = self.address.as_str();
        if let Some(name) = address.strip_prefix('@') {
            use std::os::linux::net::SocketAddrExt;
            let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
            let stream = std::os::unix::net::UnixStream::connect_addr(&address)?;
            stream.set_nonblocking(true)?;
            return Ok(Box::pin(UnixStream::from_std(stream)?));
        }
        if address.contains('/') {
            return Ok(Box::pin(UnixStream::connect(address).await?));
        }
        let full;
        let address = if address.starts_with(':') {
            full = format!("127.0.0.1{address}");
            &full
        } else {
            address
        };
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Box::pin(stream))
    }

    /// What goes out: the packet, if it is the uwsgi protocol, and hyper's head. `length`: of a body that is here already.
    pub(super) fn head(
        &self,
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
            hyper::Method::from_bytes(request.amended("REQUEST_METHOD").unwrap_or(request.method()))
                .map_err(|_| bad("method"))?;
        let target = self.target.as_deref().or(request.amended("REQUEST_URI"));
        let target = target.unwrap_or(request.target());
        *head.uri_mut() = hyper::Uri::try_from(target).map_err(|_| bad("target"))?;
        let headers = head.headers_mut();
        if let Style::Uwsgi { modifier1, modifier2 } = self.style {
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
            if always || self.style == Style::Http && is_hop {
                continue;
            }
            let name = HeaderName::from_bytes(name).map_err(|_| bad("header"))?;
            headers.append(name, HeaderValue::from_bytes(value).map_err(|_| bad("header"))?);
        }
        let host = self.host.as_deref().or(request.authority());
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
        if self.style == Style::Http {
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
}

/// The names in Connection headers.
fn connection_options<'a>(values: impl Iterator<Item = &'a [u8]>) -> HashSet<String> {
    values
        .flat_map(|value| value.split(|byte| *byte == b','))
        .map(|name| String::from_utf8_lossy(name.trim_ascii()).to_ascii_lowercase())
        .filter(|name| name != "close" && name != "upgrade")
        .collect()
}

/// A packet of the uwsgi protocol (spec §6.1): modifier, size, modifier, and the variables.
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
    // Spec §3.1: the router names itself.
    if request.is_routed() && request.amended("UWSGI_ROUTER").is_none() {
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

/// The connection to a backend, as hyper's client sees it.
pub(super) struct Link {
    stream: Pin<Box<dyn Stream>>,
    packet: Option<Packet>,
}

/// Takes the place of hyper's head.
struct Packet {
    bytes: Vec<u8>,
    sent: usize,
    /// How much of the line ends that end a head was seen last.
    seen: usize,
    is_head_over: bool,
}

impl Link {
    pub(super) fn new(stream: Pin<Box<dyn Stream>>, packet: Option<Vec<u8>>) -> Link {
        let packet = packet.map(|bytes| Packet {
            bytes,
            sent: 0,
            seen: 0,
            is_head_over: false,
        });
        Link { stream, packet }
    }

    pub(super) fn into_stream(self) -> Pin<Box<dyn Stream>> {
        self.stream
    }

    /// Writes what is left of the packet.
    fn poll_packet(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(packet) = &mut self.packet {
            while packet.sent < packet.bytes.len() {
                let written = ready!(self.stream.as_mut().poll_write(cx, &packet.bytes[packet.sent..]))?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                packet.sent += written;
            }
            if packet.is_head_over {
                self.packet = None;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Packet {
    /// How many of these bytes belong to the head.
    fn swallow(&mut self, bytes: &[u8]) -> usize {
        const END: &[u8; 4] = b"\r\n\r\n";
        for (index, byte) in bytes.iter().enumerate() {
            self.seen = if *byte == END[self.seen] {
                self.seen + 1
            } else {
                usize::from(*byte == END[0])
            };
            if self.seen == END.len() {
                self.is_head_over = true;
                return index + 1;
            }
        }
        bytes.len()
    }
}

impl hyper::rt::Read for Link {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        const READ: usize = 16 * 1024;
        let mut scratch = [std::mem::MaybeUninit::<u8>::uninit(); READ];
        let room = buf.remaining().min(READ);
        let mut read = ReadBuf::uninit(&mut scratch[..room]);
        ready!(self.get_mut().stream.as_mut().poll_read(cx, &mut read))?;
        buf.put_slice(read.filled());
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for Link {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let link = self.get_mut();
        if let Some(packet) = link.packet.as_mut().filter(|packet| !packet.is_head_over) {
            return Poll::Ready(Ok(packet.swallow(buf)));
        }
        ready!(link.poll_packet(cx))?;
        link.stream.as_mut().poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let link = self.get_mut();
        if link.packet.as_ref().is_some_and(|packet| packet.is_head_over) {
            ready!(link.poll_packet(cx))?;
        }
        link.stream.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().stream.as_mut().poll_shutdown(cx)
    }
}
