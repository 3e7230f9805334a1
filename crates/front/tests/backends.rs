//! Requests that are proxied to another server, where it matters who waits for whom: a backend that does not accept, one
//! that answers before it has read, a client that leaves meanwhile. The test is the backend. What the proxy says, in heads and
//! packets, is in tests/end_to_end/test_routes.py.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fairlead_front::{FrontSettings, Routes};
use support::{head, reset, Stage, GET, PATIENCE};

const PROXIED: &str = "GET /proxied HTTP/1.1\r\nHost: test\r\n\r\n";

/// A front that proxies what begins with `/proxied` to `address`.
fn stage(address: &str, change: impl FnOnce(&mut FrontSettings)) -> Stage {
    let rule = ("route".to_owned(), format!("^/proxied http:{address}"));
    let mut settings = support::front_settings();
    settings.routes = Arc::new(Routes::compile(&[rule], 1).expect("a rule"));
    change(&mut settings);
    Stage::with(settings)
}

fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    (listener, address)
}

/// The next connection to a backend, behind the head of its request.
fn accept(listener: &TcpListener) -> TcpStream {
    let (mut connection, _) = listener.accept().expect("a connection");
    connection.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    read_head(&mut connection);
    connection
}

fn read_head(connection: &mut impl Read) {
    let mut came = Vec::new();
    let mut piece = [0; 4096];
    while !came.windows(4).any(|four| four == b"\r\n\r\n") {
        let count = connection.read(&mut piece).expect("a head");
        assert!(count > 0, "the front has closed");
        came.extend_from_slice(&piece[..count]);
    }
}

fn assert_others_are_served(stage: &Stage) {
    let began = Instant::now();
    let mut other = stage.client_sending(GET);
    stage
        .exchange()
        .respond(head(200, &[]), "other")
        .expect("a client");
    assert_eq!(other.reply().body, b"other");
    assert!(began.elapsed() < Duration::from_secs(2), "the front stood still");
}

/// Both ways in which a UNIX socket has an address.
fn unix_addresses(test: &str) -> [(String, SocketAddr); 2] {
    let name = format!("fairlead-backends-{test}-{}", std::process::id());
    let path = std::env::temp_dir().join(&name);
    let _ = std::fs::remove_file(&path);
    let at_path = SocketAddr::from_pathname(&path).expect("a path");
    let abstractly = SocketAddr::from_abstract_name(&name).expect("a name");
    [
        (format!("@{name}"), abstractly),
        (path.to_str().expect("UTF-8").to_owned(), at_path),
    ]
}

/// Connections that fill the backlog of a listener, as many as it takes.
fn fill(address: &SocketAddr) -> Vec<UnixStream> {
    let mut filled = Vec::new();
    loop {
        let socket =
            socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).expect("a socket");
        socket.set_nonblocking(true).expect("a socket");
        let address = match (address.as_pathname(), address.as_abstract_name()) {
            (Some(path), _) => socket2::SockAddr::unix(path),
            (_, name) => socket2::SockAddr::unix(
                std::str::from_utf8(&[b"\0", name.expect("a name")].concat()).expect("UTF-8"),
            ),
        };
        match socket.connect(&address.expect("an address")) {
            Ok(()) => filled.push(socket.into()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return filled,
            Err(error) => panic!("{error}"),
        }
    }
}

fn listen_at(address: &SocketAddr) -> UnixListener {
    let listener = UnixListener::bind_addr(address).expect("an address");
    // The shortest queue, so that few connections fill it.
    rustix::net::listen(&listener, 0).expect("a listener");
    listener
}

#[test]
fn a_unix_backend_whose_queue_is_full_delays_nobody_else_and_is_given_up_in_time() {
    for (address, bound) in unix_addresses("full") {
        let _listener = listen_at(&bound);
        let _filled = fill(&bound);
        let patience = Duration::from_millis(500);
        let stage = stage(&address, |settings| settings.connect_timeout = patience);
        let mut client = stage.client_sending(PROXIED);
        assert_others_are_served(&stage);
        assert_eq!(client.reply().status(), 504, "{address}");
        stage.line("does not accept the connection in time");
        if let Some(path) = bound.as_pathname() {
            std::fs::remove_file(path).expect("a socket");
        }
    }
}

#[test]
fn a_unix_backend_whose_queue_has_room_again_gets_the_request() {
    for (address, bound) in unix_addresses("room") {
        let listener = listen_at(&bound);
        let filled = fill(&bound);
        let stage = stage(&address, |_| {});
        let mut client = stage.client_sending(PROXIED);
        assert_others_are_served(&stage);
        for _ in &filled {
            listener.accept().expect("one of those that filled the queue");
        }
        let (mut backend, _) = listener.accept().expect("the front");
        read_head(&mut backend);
        backend
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhere")
            .expect("the front reads");
        assert_eq!(client.reply().body, b"here", "{address}");
        if let Some(path) = bound.as_pathname() {
            std::fs::remove_file(path).expect("a socket");
        }
    }
}

#[test]
fn an_answer_that_a_backend_gives_before_it_has_read_the_body_reaches_the_client() {
    let (listener, address) = listen();
    let stage = stage(&address, |_| {});
    let size = 32 << 20;
    // Closed with unread bytes, which is a reset, and ended in order.
    for resets in [true, false] {
        let request = format!("POST /proxied HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n");
        let mut client = stage.client_sending(request);
        let mut sender = client.stream.get_ref().try_clone().expect("a clone");
        let sending = std::thread::spawn(move || {
            // The front stops reading at some point, and closes.
            let _ = sender.write_all(&vec![b'x'; size]);
        });
        let mut backend = accept(&listener);
        backend
            .write_all(
                b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 8\r\nConnection: close\r\n\r\ntoo long",
            )
            .expect("the front reads");
        if resets {
            drop(backend);
        } else {
            backend.shutdown(Shutdown::Write).expect("open");
        }
        let reply = client.reply();
        assert_eq!(
            (reply.status(), reply.body.as_slice()),
            (413, &b"too long"[..]),
            "{resets}"
        );
        assert_eq!(reply.header("connection"), Some("close"));
        client.stream.get_ref().shutdown(Shutdown::Both).expect("open");
        sending.join().expect("the client has ended");
    }
}

#[test]
fn a_backend_that_closes_inside_the_body_without_an_answer_is_a_502() {
    let (listener, address) = listen();
    let stage = stage(&address, |_| {});
    let mut client =
        stage.client_sending("POST /proxied HTTP/1.1\r\nHost: a\r\nContent-Length: 33554432\r\n\r\n");
    let backend = accept(&listener);
    drop(backend);
    let _ = client.stream.get_mut().write_all(&vec![b'x'; 1 << 20]);
    assert_eq!(client.reply().status(), 502);
}

#[test]
fn a_client_that_leaves_while_the_backend_thinks_ends_the_request_behind() {
    let (listener, address) = listen();
    let stage = stage(&address, |_| {});
    for sent in ["", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun"] {
        let client = stage.client_sending(PROXIED);
        let mut backend = accept(&listener);
        backend.write_all(sent.as_bytes()).expect("the front reads");
        reset(client);
        let mut rest = Vec::new();
        match backend.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{sent}"),
        }
        assert_eq!(rest, b"");
    }
}

#[test]
fn a_request_for_the_application_is_refused_where_too_many_wait_and_one_for_a_backend_is_not() {
    let (listener, address) = listen();
    let stage = stage(&address, |_| {});
    stage.places.store(false, std::sync::atomic::Ordering::SeqCst);
    let mut client = stage.client_sending(GET);
    let reply = client.reply();
    assert_eq!((reply.status(), reply.header("retry-after")), (503, Some("1")));
    client.send(PROXIED);
    accept(&listener)
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhere")
        .expect("the front reads");
    assert_eq!(client.reply().body, b"here");
    assert!(stage.requests.try_recv().is_err());
}

#[test]
fn where_nothing_is_proxied_requests_wait_however_many_there_are() {
    let stage = Stage::new();
    stage.places.store(false, std::sync::atomic::Ordering::SeqCst);
    let mut client = stage.client_sending(GET);
    stage
        .exchange()
        .respond(head(200, &[]), "waited")
        .expect("a client");
    assert_eq!(client.reply().body, b"waited");
}
