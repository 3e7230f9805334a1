//! The uwsgi protocol: how a packet becomes a request that hyper carries.
//!
//! One request per connection: the packet, the body, a raw HTTP response, the end. The packet is read here, under the time
//! for a head. Then hyper serves the connection as any other, so that bodies, sendfile, deadlines, the drain and the upgrade
//! have one way; what it reads first is a head of this file's own making. That head says only what hyper has to know: has
//! the answer a body, how long is that of the request, may it be an upgrade. No byte of the packet gets into it. What the
//! application sees comes from the packet alone. A response is never chunked, because nobody in front would join the chunks:
//! `response` makes it HTTP/1.0 for hyper, which then delimits by the end, and `transport` writes the request's version instead.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use fairlead_http::{Packet, PacketError, PacketLimits, PacketReader, Request, Version, PONG_PACKET};
use fairlead_websocket::Handshake;

use crate::connection::Connection;
use crate::drain::Registration;
use crate::events::LogLevel;
use crate::http1::{Http1, Http1State, Transport};
use crate::lingering_close::linger;
use crate::settings::FrontSettings;
use crate::socket::Socket;

/// What the format can say.
const MAX_BLOCK: usize = 65_535;

/// Serves one accepted socket until it closes, is cut or leaves the front.
pub(crate) async fn serve(http1: &Http1, registration: Registration, mut socket: Socket) {
    let connection = registration.connection();
    let mut reader = PacketReader::new(limits(connection.settings()));
    let heard = poll_fn(|context| hear(connection, &mut socket, &mut reader, context)).await;
    match heard {
        Heard::Packet(packet, behind) => match understand(&packet) {
            Ok(Meaning::Request(request)) => {
                let (state, transport) = stand_in(connection, socket, *request, &behind);
                // Never HTTP/2: the head is ours.
                http1.serve(registration, state, transport, None).await;
                return;
            }
            Ok(Meaning::Ping) => linger(socket, &PONG_PACKET).await,
            Err(complaint) => {
                connection.note_refusal(format_args!("{}", complaint.line));
                linger(socket, complaint.answer.as_bytes()).await;
            }
        },
        Heard::Nonsense(error) => {
            let complaint = complain(&error);
            connection.note_refusal(format_args!("{}", complaint.line));
            linger(socket, complaint.answer.as_bytes()).await;
        }
        Heard::End(0) => {}
        Heard::End(count) => connection.note_refusal(format_args!(
            "a uwsgi packet ended after {count} bytes, before it was complete"
        )),
        Heard::Late(count) => {
            connection.shared().counters.timed_out();
            if count > 0 {
                connection.log(
                    LogLevel::Warning,
                    format_args!("a uwsgi packet was not complete in time; closed after {count} bytes of it"),
                );
            }
        }
    }
    // Before the socket closes: who sees that finds the connection counted no more.
    drop(registration);
}

fn limits(settings: &FrontSettings) -> PacketLimits {
    PacketLimits {
        max_block: settings.max_header_bytes.min(MAX_BLOCK),
        max_variables: settings.max_variables,
    }
}

/// What came.
enum Heard {
    /// A packet, and what was read behind it.
    Packet(Packet, Bytes),
    Nonsense(PacketError),
    /// The end of the stream or a lost connection, after so many bytes of a packet.
    End(usize),
    /// So many bytes of a packet in the time for a whole one.
    Late(usize),
}

fn hear(
    connection: &Connection,
    socket: &mut Socket,
    reader: &mut PacketReader,
    context: &mut Context<'_>,
) -> Poll<Heard> {
    connection.enlist(context);
    loop {
        let read = socket.poll_read(context, |bytes| {
            if bytes.is_empty() {
                return Some(Heard::End(reader.received()));
            }
            match reader.receive(bytes) {
                Ok(None) => None,
                Ok(Some((packet, taken))) => {
                    Some(Heard::Packet(packet, Bytes::copy_from_slice(&bytes[taken..])))
                }
                Err(error) => Some(Heard::Nonsense(error)),
            }
        });
        match read {
            Poll::Ready(Ok(None)) => {}
            Poll::Ready(Ok(Some(heard))) => return Poll::Ready(heard),
            Poll::Ready(Err(_)) => return Poll::Ready(Heard::End(reader.received())),
            Poll::Pending => break,
        }
    }
    if connection.is_opening_overdue(0) {
        Poll::Ready(Heard::Late(reader.received()))
    } else {
        Poll::Pending
    }
}

/// What a packet wants.
enum Meaning {
    Request(Box<Request>),
    Ping,
}

/// Why nothing comes of it: for the log, and for the other side.
struct Complaint {
    line: String,
    answer: String,
}

impl Complaint {
    /// Closed without an answer, as uWSGI does.
    fn silent(line: impl Into<String>) -> Complaint {
        Complaint {
            line: line.into(),
            answer: String::new(),
        }
    }

    fn answered(line: String, to_client: &str) -> Complaint {
        let text = format!("400 Bad Request: {to_client}\n");
        let answer = format!(
            "HTTP/1.0 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\n\r\n{text}",
            text.len()
        );
        Complaint { line, answer }
    }
}

fn understand(packet: &Packet) -> Result<Meaning, Complaint> {
    if packet.is_ping() {
        return Ok(Meaning::Ping);
    }
    if !packet.is_wsgi() {
        return Err(Complaint::silent(format!(
            "a uwsgi packet with modifier1 {} and modifier2 {} came, which is not served; send modifier1 0 (WSGI), or 30 \
             (WSGI, SCRIPT_NAME taken off PATH_INFO)",
            packet.modifier1(),
            packet.modifier2()
        )));
    }
    if packet.variables().next().is_none() {
        return Err(Complaint::silent("Empty python request. skip."));
    }
    let request = packet
        .request()
        .map(|request| Meaning::Request(Box::new(request)));
    request.map_err(|error| {
        Complaint::answered(
            format!("a request was refused with 400: {error}"),
            &error.to_string(),
        )
    })
}

fn complain(error: &PacketError) -> Complaint {
    match error {
        PacketError::OtherProtocol(what) => {
            let line =
                format!("{error}; --http or --http-socket serve HTTP (or --socket with --protocol http)");
            if *what == "an HTTP request" {
                Complaint::answered(line, "this socket speaks the uwsgi protocol, not HTTP")
            } else {
                Complaint::silent(line)
            }
        }
        PacketError::BlockTooLarge { size, .. } if *size <= MAX_BLOCK => {
            Complaint::silent(format!("{error}; raise --buffer-size to {size} or more"))
        }
        PacketError::TooManyVariables { .. } => Complaint::silent(format!("{error}; raise --max-vars")),
        _ => Complaint::silent(format!("a uwsgi packet was refused: {error}")),
    }
}

/// Lets hyper read a head that stands for the packet, then what came behind it.
fn stand_in(
    connection: &Arc<Connection>,
    socket: Socket,
    request: Request,
    behind: &[u8],
) -> (Arc<Http1State>, Transport) {
    let length = request.content_length().unwrap_or(0);
    let may_upgrade =
        request.version() == Version::Http11 && length == 0 && Handshake::is_requested(&request);
    let head = if may_upgrade {
        // hyper lets a socket go for HTTP/1.1 alone, and `http1::service` wants a Host there.
        "GET / HTTP/1.1\r\nHost:\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n".to_owned()
    } else {
        let method = if request.method() == b"HEAD" {
            "HEAD"
        } else {
            "POST"
        };
        format!("{method} / HTTP/1.0\r\nContent-Length: {length}\r\n\r\n")
    };
    let version = match request.version() {
        Version::Http10 => b"HTTP/1.0",
        Version::Http11 | Version::Http2 => b"HTTP/1.1",
    };
    let first = [head.as_bytes(), behind].concat();
    let state = Arc::new(Http1State::for_uwsgi(Arc::clone(connection), request));
    let transport = Transport::with_head(socket, Arc::clone(&state), first.into(), version);
    (state, transport)
}
