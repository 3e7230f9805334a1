//! What the tests of the front share: a handoff that passes everything on to the test's thread, and a raw client.
//!
//! The test is the application: it takes a request from a queue and answers it, so every test decides its own order of
//! events and waits for a thing itself, never for time to pass. Every wait ends after [`PATIENCE`], which only a failing
//! test ever reaches.

#![allow(dead_code, reason = "every test binary uses a part of this")]

pub(crate) mod tls;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fairlead_front::{
    BodyError, BoundListener, EventSink, Exchange, Front, FrontSettings, Gone, Handoff, Listener, LogLevel,
    UpgradeReceiver,
};
use fairlead_http::{Address, Request, ResponseHead};
use fairlead_websocket::TlsRecordLayer;

/// How long a test waits for something that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A socket that has left the front.
pub(crate) struct Departed {
    pub(crate) exchange: Arc<Exchange>,
    pub(crate) socket: Result<(OwnedFd, Vec<u8>), String>,
    pub(crate) layer: Option<Box<dyn TlsRecordLayer>>,
}

struct Queues {
    requests: Sender<(Request, Arc<Exchange>)>,
    wakes: Sender<u64>,
    lines: Sender<(LogLevel, String)>,
    room: Arc<AtomicBool>,
    room_questions: Sender<bool>,
    held_up: Arc<AtomicBool>,
    places: Arc<AtomicBool>,
}

impl EventSink for Queues {
    fn wake(&self, token: u64) {
        let _ = self.wakes.send(token);
    }

    fn log(&self, level: LogLevel, line: &str) {
        let _ = self.lines.send((level, line.to_owned()));
    }
}

impl Handoff for Queues {
    fn request(&self, request: Request, exchange: Arc<Exchange>) {
        // It has a slot, and nobody has begun with it before a test says so.
        exchange.wait_for_slot();
        exchange.admit();
        let _ = self.requests.send((request, exchange));
    }

    fn has_place(&self, _: usize) -> bool {
        self.places.load(Ordering::SeqCst)
    }

    fn has_room(&self) -> bool {
        let room = self.room.load(Ordering::SeqCst);
        let _ = self.room_questions.send(room);
        room
    }

    fn is_held_up(&self) -> bool {
        self.held_up.load(Ordering::SeqCst)
    }
}

/// Waits for the socket of an accepted handshake.
struct Departing {
    exchange: Arc<Exchange>,
    departed: Sender<Departed>,
}

impl UpgradeReceiver for Departing {
    fn upgraded(
        self: Box<Self>,
        socket: OwnedFd,
        read_ahead: Vec<u8>,
        layer: Option<Box<dyn TlsRecordLayer>>,
    ) {
        let _ = self.departed.send(Departed {
            exchange: self.exchange,
            socket: Ok((socket, read_ahead)),
            layer,
        });
    }

    fn lost(self: Box<Self>, why: String) {
        let _ = self.departed.send(Departed {
            exchange: self.exchange,
            socket: Err(why),
            layer: None,
        });
    }
}

/// A running front and the far ends of its handoff.
pub(crate) struct Stage {
    pub(crate) front: Front,
    pub(crate) address: Address,
    pub(crate) requests: Receiver<(Request, Arc<Exchange>)>,
    pub(crate) departed: Receiver<Departed>,
    departing: Sender<Departed>,
    pub(crate) wakes: Receiver<u64>,
    pub(crate) lines: Receiver<(LogLevel, String)>,
    pub(crate) room: Arc<AtomicBool>,
    pub(crate) room_questions: Receiver<bool>,
    pub(crate) held_up: Arc<AtomicBool>,
    pub(crate) places: Arc<AtomicBool>,
}

/// Limits and times that no test meets by accident; each test changes those that it is about.
pub(crate) fn front_settings() -> FrontSettings {
    FrontSettings {
        header_timeout: Duration::from_secs(10),
        keep_alive_timeout: Duration::from_secs(75),
        stall_timeout: Duration::from_secs(60),
        connect_timeout: Duration::from_secs(60),
        max_header_bytes: 32 * 1024,
        max_headers: 100,
        max_variables: 256,
        body_high_water: 256 * 1024,
        response_high_water: 256 * 1024,
        http2: true,
        http2_max_streams: 128,
        http2_window: 65_535,
        shutdown_grace: Duration::from_secs(5),
        ..FrontSettings::default()
    }
}

impl Stage {
    pub(crate) fn new() -> Stage {
        Stage::with(front_settings())
    }

    pub(crate) fn with(settings: FrontSettings) -> Stage {
        Stage::on(
            Listener::bind("127.0.0.1:0").expect("a free port"),
            settings,
            true,
        )
    }

    pub(crate) fn on(entrance: impl Into<BoundListener>, settings: FrontSettings, has_room: bool) -> Stage {
        let entrance = entrance.into();
        let address = entrance.listener.local_address();
        let (requests, requests_here) = channel();
        let (departed, departed_here) = channel();
        let (wakes, wakes_here) = channel();
        let (lines, lines_here) = channel();
        let (room_questions, room_questions_here) = channel();
        let room = Arc::new(AtomicBool::new(has_room));
        let held_up = Arc::new(AtomicBool::new(false));
        let places = Arc::new(AtomicBool::new(true));
        let queues = Queues {
            requests,
            wakes,
            lines,
            room: Arc::clone(&room),
            room_questions,
            held_up: Arc::clone(&held_up),
            places: Arc::clone(&places),
        };
        let front = Front::start(vec![entrance], settings, Arc::new(queues)).expect("the front starts");
        Stage {
            front,
            address,
            requests: requests_here,
            departed: departed_here,
            departing: departed,
            wakes: wakes_here,
            lines: lines_here,
            room,
            room_questions: room_questions_here,
            held_up,
            places,
        }
    }

    pub(crate) fn tcp_address(&self) -> SocketAddr {
        match &self.address {
            Address::Inet(address) => *address,
            other => panic!("not a TCP address: {other}"),
        }
    }

    pub(crate) fn client(&self) -> Client<TcpStream> {
        let stream = TcpStream::connect(self.tcp_address()).expect("the front accepts");
        stream.set_nodelay(true).expect("no delay");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        Client {
            stream: BufReader::new(stream),
        }
    }

    /// A client that has sent `bytes`.
    pub(crate) fn client_sending(&self, bytes: impl AsRef<[u8]>) -> Client<TcpStream> {
        let mut client = self.client();
        client.send(bytes);
        client
    }

    /// A client of a front that listens at an abstract name.
    pub(crate) fn unix_client(&self) -> UnixStream {
        use std::os::linux::net::SocketAddrExt;
        let name = match &self.address {
            Address::Unix(name) => name.strip_prefix('@').expect("an abstract name"),
            other => panic!("not a UNIX socket: {other}"),
        };
        let address = std::os::unix::net::SocketAddr::from_abstract_name(name).expect("a name");
        let stream = UnixStream::connect_addr(&address).expect("the front accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    }

    pub(crate) fn request(&self) -> (Request, Arc<Exchange>) {
        self.requests.recv_timeout(PATIENCE).expect("a request arrives")
    }

    pub(crate) fn exchange(&self) -> Arc<Exchange> {
        self.request().1
    }

    /// Accepts a handshake; the socket comes to `departed`.
    pub(crate) fn accept_upgrade(&self, exchange: &Arc<Exchange>, head: ResponseHead) -> Result<(), Gone> {
        let departing = Departing {
            exchange: Arc::clone(exchange),
            departed: self.departing.clone(),
        };
        exchange.accept_upgrade(head, Box::new(departing))
    }

    /// The next log line that contains `text`.
    pub(crate) fn line(&self, text: &str) -> String {
        loop {
            let (_, line) = self
                .lines
                .recv_timeout(PATIENCE)
                .unwrap_or_else(|_| panic!("a line with {text:?}"));
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Waits for a body while the whole life of another connection passes, which a short `header_timeout` ends; then for
    /// what `send` sends.
    pub(crate) fn slow_piece(&self, exchange: &Exchange, send: impl FnOnce()) -> fairlead_front::BodyRead {
        assert!(!exchange.wait_body(8));
        self.client().assert_closed();
        send();
        assert_eq!(self.wakes.recv_timeout(PATIENCE), Ok(8));
        exchange.read_body(usize::MAX)
    }

    /// Reads the request body to its end.
    pub(crate) fn body(&self, exchange: &Exchange) -> Result<Vec<u8>, BodyError> {
        use fairlead_front::BodyRead;
        let mut body = Vec::new();
        loop {
            match exchange.read_body(usize::MAX) {
                BodyRead::Data(piece) => body.extend_from_slice(&piece),
                BodyRead::End => return Ok(body),
                BodyRead::Failed(why) => return Err(why),
                BodyRead::Pending => {
                    if !exchange.wait_body(7) {
                        assert_eq!(self.wakes.recv_timeout(PATIENCE), Ok(7));
                    }
                }
            }
        }
    }
}

/// A client that knows just enough HTTP to read a response.
pub(crate) struct Client<S> {
    pub(crate) stream: BufReader<S>,
}

/// What a client got.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status_line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn status(&self) -> u16 {
        self.status_line[9..12].parse().expect("a status")
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(other, _)| other == name)
            .map(|(_, value)| value.as_str())
    }
}

impl Client<TcpStream> {
    /// Sends `bytes` one at a time, over and over, until the front closes; answers what it wrote before.
    pub(crate) fn trickle(&mut self, bytes: &[u8]) -> Vec<u8> {
        // Each byte waits this long for an answer, which is what paces the next.
        let pace = Duration::from_millis(2);
        self.stream
            .get_ref()
            .set_read_timeout(Some(pace))
            .expect("a socket");
        let began = Instant::now();
        let mut heard = Vec::new();
        for byte in bytes.iter().cycle() {
            assert!(began.elapsed() < PATIENCE, "bytes are taken without an end");
            // A front that has closed takes none, which the read below finds out.
            let _ = self.stream.get_mut().write(&[*byte]);
            let mut piece = [0; 1024];
            match self.stream.get_mut().read(&mut piece) {
                Ok(0) => break,
                Ok(count) => heard.extend_from_slice(&piece[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
        }
        heard
    }

    pub(crate) fn end_sending(&mut self) {
        match self.stream.get_ref().shutdown(Shutdown::Write) {
            Ok(()) => {}
            // Refused with bytes unread, which is a reset: there is nothing left to end.
            Err(error) if error.kind() == std::io::ErrorKind::NotConnected => {}
            Err(error) => panic!("the connection is broken: {error}"),
        }
    }
}

impl<S: Read + Write> Client<S> {
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream
            .get_mut()
            .write_all(bytes.as_ref())
            .expect("the front reads");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("a line of the response");
        assert!(line.ends_with("\r\n"), "the response broke off at {line:?}");
        line.truncate(line.len() - 2);
        line
    }

    /// Reads a response head.
    pub(crate) fn head(&mut self) -> Reply {
        let status_line = self.line();
        let mut headers = Vec::new();
        loop {
            let line = self.line();
            if line.is_empty() {
                return Reply {
                    status_line,
                    headers,
                    body: Vec::new(),
                };
            }
            let (name, value) = line.split_once(": ").expect("a header");
            headers.push((name.to_owned(), value.to_owned()));
        }
    }

    /// Reads a response and its body.
    pub(crate) fn reply(&mut self) -> Reply {
        let mut reply = self.head();
        if let Some(length) = reply.header("content-length") {
            reply.body = vec![0; length.parse().expect("a length")];
            self.stream.read_exact(&mut reply.body).expect("the whole body");
        } else if reply.header("transfer-encoding") == Some("chunked") {
            loop {
                let size = usize::from_str_radix(&self.line(), 16).expect("a chunk size");
                let mut chunk = vec![0; size];
                self.stream.read_exact(&mut chunk).expect("the whole chunk");
                reply.body.append(&mut chunk);
                assert_eq!(self.line(), "");
                if size == 0 {
                    break;
                }
            }
        } else if reply.status() != 304 && reply.status() != 204 {
            reply.body = self.rest();
        }
        reply
    }

    /// So many bytes of what comes next.
    pub(crate) fn exactly(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).expect("so many bytes");
        bytes
    }

    /// Everything until the server closes.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).expect("a clean close");
        rest
    }

    /// Waits until the server closes, cleanly or not, and asserts that nothing comes before.
    pub(crate) fn assert_closed(&mut self) {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            Err(error) => panic!("the connection is still open: {error}"),
        }
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }
}

/// Ends the connection with a reset: the client is gone, and not only silent from now on.
pub(crate) fn reset(client: Client<TcpStream>) {
    let stream = client.stream.into_inner();
    let linger = Some(Duration::ZERO);
    socket2::SockRef::from(&stream)
        .set_linger(linger)
        .expect("a socket");
}

pub(crate) fn head(status: u16, headers: &[(&str, &str)]) -> ResponseHead {
    let headers = headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
        .collect();
    ResponseHead {
        status,
        reason: None,
        headers,
    }
}

pub(crate) fn switching() -> ResponseHead {
    head(
        101,
        &[
            ("upgrade", "websocket"),
            ("connection", "Upgrade"),
            ("sec-websocket-accept", "x"),
        ],
    )
}

pub(crate) const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";

pub(crate) const HANDSHAKE: &str =
    "GET /chat HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
