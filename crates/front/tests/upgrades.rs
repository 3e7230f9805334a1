//! The joint where sockets leave the front, under stress: every byte, in order, exactly once.
//!
//! A client's bytes may sit in three places when its handshake is answered: in hyper's buffer, in the kernel, or still with
//! the client. Whatever the cut, `read_ahead` followed by the socket must give the whole stream, over TCP and over UNIX
//! sockets, and the socket must be ready for the worker: non-blocking, without delay, open.

mod support;

use std::collections::HashMap;
use std::io::{BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use fairlead_front::{Gone, Listener};
use fairlead_http::Address;
use fairlead_websocket::Handshake;
use support::{head, switching, Client, Departed, Stage, GET, HANDSHAKE, PATIENCE};

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

fn connect(stage: &Stage) -> Box<dyn Stream> {
    match &stage.address {
        Address::Inet(address) => {
            let stream = TcpStream::connect(address).expect("the front accepts");
            stream.set_nodelay(true).expect("no delay");
            stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
            Box::new(stream)
        }
        Address::Unix(name) => {
            let address = std::os::unix::net::SocketAddr::from_abstract_name(&name[1..]).expect("a name");
            let stream = UnixStream::connect_addr(&address).expect("the front accepts");
            stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
            Box::new(stream)
        }
        Address::Unknown => panic!("the listener has an address"),
    }
}

/// One stage over TCP, one over a UNIX socket.
fn both(test: &str) -> [Stage; 2] {
    let name = format!("@fairlead-front-{}-{test}", std::process::id());
    let unix = Listener::bind(&name).expect("a UNIX listener");
    [Stage::new(), Stage::on(unix, support::front_settings(), true)]
}

fn depart(stage: &Stage) -> Departed {
    stage.departed.recv_timeout(PATIENCE).expect("the socket leaves")
}

/// Takes one upgrade: answers the handshake and gives the socket as a blocking stream, with the bytes before it.
fn accept(stage: &Stage) -> (Vec<u8>, std::fs::File) {
    let (request, exchange) = stage.request();
    assert!(Handshake::is_requested(&request));
    assert_eq!(stage.accept_upgrade(&exchange, switching()), Ok(()));
    let departed = depart(stage);
    assert!(std::ptr::eq(&*departed.exchange, &*exchange));
    let (socket, read_ahead) = departed.socket.expect("the client is there");
    (read_ahead, blocking(socket))
}

fn blocking(socket: OwnedFd) -> std::fs::File {
    let socket = socket2::Socket::from(socket);
    assert!(
        socket.nonblocking().expect("a flag"),
        "the worker's loop needs a non-blocking socket"
    );
    if socket.domain().expect("a family") != socket2::Domain::UNIX {
        assert!(
            socket.tcp_nodelay().expect("a flag"),
            "a frame must not wait for an acknowledgement"
        );
    }
    socket.set_nonblocking(false).expect("a flag");
    socket.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    std::fs::File::from(OwnedFd::from(socket))
}

/// Checks the server's end against the client's: `sent` arrives, and an echo goes through.
fn verify(client: Box<dyn Stream>, read_ahead: &[u8], mut server: std::fs::File, sent: &[u8], what: &str) {
    let mut received = read_ahead.to_vec();
    let before = received.len();
    assert!(before <= sent.len(), "{what}: more than was sent");
    received.resize(sent.len(), 0);
    server
        .read_exact(&mut received[before..])
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(received, sent, "{what}");
    let mut client = Client {
        stream: BufReader::new(client),
    };
    assert_eq!(client.head().status(), 101, "{what}");
    server.write_all(b"ping").expect("an open socket");
    let mut echo = [0; 4];
    client.stream.read_exact(&mut echo).expect("an open socket");
    assert_eq!(&echo, b"ping", "{what}");
    client.send(b"pong");
    server.read_exact(&mut echo).expect("an open socket");
    assert_eq!(&echo, b"pong", "{what}");
    drop(server);
    let mut rest = Vec::new();
    client.stream.read_to_end(&mut rest).expect("a clean close");
    assert_eq!(
        rest, b"",
        "{what}: the front kept no copy of the socket and wrote nothing"
    );
}

#[test]
fn a_socket_leaves_with_nothing_behind_the_handshake() {
    for stage in both("plain") {
        for round in 0..200 {
            let mut client = connect(&stage);
            client.write_all(HANDSHAKE.as_bytes()).expect("the front reads");
            let (read_ahead, server) = accept(&stage);
            assert_eq!(read_ahead, b"");
            verify(client, &read_ahead, server, b"", &format!("round {round}"));
        }
        assert_eq!(stage.front.statistics().upgraded, 200);
    }
}

#[test]
fn bytes_in_the_same_segment_as_the_handshake_come_first() {
    for stage in both("same") {
        for length in [1, 2, 100, 5_000, 20_000, 60_000, 100_000] {
            let tail: Vec<u8> = (0..length).map(|at: u32| (at % 251) as u8).collect();
            let mut client = connect(&stage);
            let bytes = [HANDSHAKE.as_bytes(), &tail].concat();
            client.write_all(&bytes).expect("the front reads");
            let (read_ahead, server) = accept(&stage);
            verify(client, &read_ahead, server, &tail, &format!("{length} bytes"));
        }
    }
}

#[test]
fn every_cut_around_the_end_of_the_head_gives_the_same_stream() {
    let tail = b"0123456789abcdef";
    let bytes = [HANDSHAKE.as_bytes(), tail].concat();
    for stage in both("cut") {
        for cut in HANDSHAKE.len() - 20..bytes.len() {
            for late in [false, true] {
                let mut client = connect(&stage);
                client.write_all(&bytes[..cut]).expect("the front reads");
                let is_whole = cut >= HANDSHAKE.len();
                if !late || !is_whole {
                    // The kernel may or may not deliver both parts at once; either must do.
                    client.write_all(&bytes[cut..]).expect("the front reads");
                }
                let (read_ahead, server) = accept(&stage);
                if late && is_whole {
                    client.write_all(&bytes[cut..]).expect("the worker reads");
                }
                verify(
                    client,
                    &read_ahead,
                    server,
                    tail,
                    &format!("cut at {cut}, late: {late}"),
                );
            }
        }
    }
}

#[test]
fn bytes_that_arrive_while_the_application_decides_are_kept() {
    for stage in both("decide") {
        let mut client = connect(&stage);
        client.write_all(HANDSHAKE.as_bytes()).expect("the front reads");
        let (_, exchange) = stage.request();
        client.write_all(b"eager").expect("the front reads");
        // A request on another connection is answered in between, so the front has had its turns.
        let mut other = connect(&stage);
        other.write_all(GET.as_bytes()).expect("the front reads");
        stage.exchange().respond(head(200, &[]), "").expect("a client");
        assert_eq!(
            Client {
                stream: BufReader::new(other)
            }
            .reply()
            .status(),
            200
        );
        stage.accept_upgrade(&exchange, switching()).expect("a client");
        drop(exchange);
        let (socket, read_ahead) = depart(&stage).socket.expect("the client is there");
        verify(client, &read_ahead, blocking(socket), b"eager", "while deciding");
    }
}

#[test]
fn hundreds_of_clients_at_once_keep_their_bytes_apart() {
    for stage in both("many") {
        let count = 400;
        let mut clients = Vec::new();
        for number in 0..count {
            let mut client = connect(&stage);
            let handshake = HANDSHAKE.replace("/chat", &format!("/{number}"));
            let tail = if number % 3 == 0 {
                String::new()
            } else {
                format!("first frame of {number}")
            };
            client
                .write_all((handshake + &tail).as_bytes())
                .expect("the front reads");
            clients.push(Some((client, tail)));
        }
        let mut numbers = HashMap::new();
        for _ in 0..count {
            let (request, exchange) = stage.request();
            let number: usize = String::from_utf8_lossy(&request.target()[1..])
                .parse()
                .expect("a number");
            numbers.insert(Arc::as_ptr(&exchange), number);
            stage.accept_upgrade(&exchange, switching()).expect("a client");
        }
        for _ in 0..count {
            let departed = depart(&stage);
            let number = numbers[&Arc::as_ptr(&departed.exchange)];
            let (socket, read_ahead) = departed.socket.expect("the client is there");
            let (client, tail) = clients[number].take().expect("each once");
            verify(
                client,
                &read_ahead,
                blocking(socket),
                tail.as_bytes(),
                &format!("client {number}"),
            );
        }
        assert!(stage.departed.try_recv().is_err());
    }
}

#[test]
fn a_handshake_behind_an_ordinary_request_is_upgraded_too() {
    let stage = Stage::new();
    let mut client = connect(&stage);
    client
        .write_all(format!("{GET}{HANDSHAKE}tail").as_bytes())
        .expect("the front reads");
    stage
        .exchange()
        .respond(head(200, &[]), "page")
        .expect("a client");
    let (read_ahead, server) = accept(&stage);
    let mut client = Client {
        stream: BufReader::new(client),
    };
    assert_eq!(client.reply().body, b"page");
    let (inner, buffered) = (client.stream.buffer().to_vec(), client.stream.into_inner());
    verify(
        Box::new(Rewound {
            first: inner,
            inner: buffered,
        }),
        &read_ahead,
        server,
        b"tail",
        "pipelined",
    );
}

/// A stream with some bytes put back.
struct Rewound {
    first: Vec<u8>,
    inner: Box<dyn Stream>,
}

impl Read for Rewound {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.first.is_empty() {
            return self.inner.read(buffer);
        }
        let count = buffer.len().min(self.first.len());
        buffer[..count].copy_from_slice(&self.first[..count]);
        self.first.drain(..count);
        Ok(count)
    }
}

impl Write for Rewound {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        self.inner.write(buffer)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

#[test]
fn a_refused_upgrade_ends_the_connection() {
    let stage = Stage::new();
    let mut client = stage.client_sending(format!("{HANDSHAKE}{GET}"));
    stage.exchange().respond(head(403, &[]), "no").expect("a client");
    let reply = client.reply();
    assert_eq!((reply.status(), reply.header("connection")), (403, Some("close")));
    client.assert_closed();
    assert!(
        stage.requests.try_recv().is_err(),
        "frames were read as a request"
    );

    let mut client = stage.client_sending(format!("{HANDSHAKE}{GET}"));
    drop(stage.exchange());
    assert_eq!(client.reply().status(), 500);
    client.assert_closed();
    assert!(
        stage.requests.try_recv().is_err(),
        "frames were read as a request"
    );
}

#[test]
fn other_upgrades_are_plain_requests() {
    for (handshake, version) in [
        (HANDSHAKE.replace("websocket", "h2c"), "HTTP/1.1"),
        (HANDSHAKE.replace("HTTP/1.1", "HTTP/1.0"), "HTTP/1.0"),
    ] {
        let stage = Stage::new();
        let mut client = stage.client_sending(handshake);
        let exchange = stage.exchange();
        assert_eq!(
            stage.accept_upgrade(&exchange, switching()),
            Err(Gone),
            "{version}"
        );
        stage.line("did not ask for");
        exchange.respond(head(200, &[]), "plain").expect("a client");
        assert_eq!(client.reply().body, b"plain", "{version}");
    }
    let stage = Stage::new();
    let mut client = stage.client_sending(HANDSHAKE.replace("websocket", "h2c") + GET);
    stage.exchange().respond(head(200, &[]), "one").expect("a client");
    stage.exchange().respond(head(200, &[]), "two").expect("a client");
    assert_eq!(client.reply().body, b"one");
    assert_eq!(client.reply().body, b"two");
}

#[test]
fn an_upgrade_whose_client_has_left_is_lost_once() {
    let stage = Stage::new();
    let client = stage.client_sending(HANDSHAKE);
    let exchange = stage.exchange();
    drop(client);
    // Either the front has noticed already, or it notices while it writes, or the socket leaves and reads end of file.
    if stage.accept_upgrade(&exchange, switching()).is_ok() {
        if let Ok((socket, _)) = depart(&stage).socket {
            let mut buffer = [0];
            let _ = blocking(socket).read(&mut buffer);
        }
    }
    assert!(stage.departed.try_recv().is_err());
}

#[test]
fn an_upgrade_that_is_caught_by_the_end_is_lost_once() {
    let stage = Stage::new();
    let _client = stage.client_sending(HANDSHAKE);
    let exchange = stage.exchange();
    stage.front.stop(std::time::Duration::ZERO);
    assert_eq!(stage.accept_upgrade(&exchange, switching()), Err(Gone));
    assert!(exchange.is_gone());
    assert!(stage.departed.try_recv().is_err());
}

#[test]
fn a_socket_that_has_left_outlives_its_front() {
    // The socket must keep working when its front is gone: nothing of it may depend on the runtime.
    let stage = Stage::new();
    let mut client = connect(&stage);
    client
        .write_all(format!("{HANDSHAKE}abc").as_bytes())
        .expect("the front reads");
    let (read_ahead, server) = accept(&stage);
    stage.front.stop(PATIENCE);
    verify(client, &read_ahead, server, b"abc", "after the end of the front");
    let error = TcpStream::connect(stage.tcp_address()).expect_err("nobody listens");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}
