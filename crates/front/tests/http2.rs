//! HTTP/2 at the handoff: what a request and an exchange are when the client speaks HTTP/2, how windows are joined to the
//! application, and how streams and connections end. The client is the h2 crate's, on a thread of its own; what it would
//! not send, and everything with an application behind it, is in tests/end_to_end/test_http2.py. It stays whole: one client
//! for many short tests.

mod support;

use std::fs::File;
use std::future::Future;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use fairlead_front::{BodyError, BodyRead, FrontSettings, Gone};
use fairlead_http::Version;
use fairlead_websocket::Handshake;
use h2::client::{Builder, SendRequest};
use h2::{ext::Protocol, Reason, RecvStream};
use hyper::{Method, Request, Response};
use support::{head, switching, Stage, PATIENCE};
use tokio::net::TcpStream;

type Sender = SendRequest<Bytes>;

/// Runs a client on a thread of its own.
fn client<F, R>(stage: &Stage, talk: impl FnOnce(Sender) -> F + Send + 'static) -> JoinHandle<R>
where
    F: Future<Output = R>,
    R: Send + 'static,
{
    client_with(stage, Builder::new(), talk)
}

fn client_with<F, R>(
    stage: &Stage,
    builder: Builder,
    talk: impl FnOnce(Sender) -> F + Send + 'static,
) -> JoinHandle<R>
where
    F: Future<Output = R>,
    R: Send + 'static,
{
    let address = stage.tcp_address();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let socket = TcpStream::connect(address).await.expect("the front accepts");
            socket.set_nodelay(true).expect("no delay");
            let (sender, connection) = builder.handshake(socket).await.expect("HTTP/2");
            tokio::spawn(connection);
            tokio::time::timeout(PATIENCE, talk(sender))
                .await
                .expect("no test waits so long")
        })
    })
}

fn get(path: &str) -> Request<()> {
    request(Method::GET, path)
}

fn request(method: Method, path: &str) -> Request<()> {
    let uri = format!("http://test{path}");
    Request::builder()
        .method(method)
        .uri(uri)
        .body(())
        .expect("a request")
}

fn websocket(path: &str) -> Request<()> {
    let mut request = request(Method::CONNECT, path);
    request
        .extensions_mut()
        .insert(Protocol::from_static("websocket"));
    let version = hyper::header::HeaderValue::from_static("13");
    request.headers_mut().insert("sec-websocket-version", version);
    request
}

async fn ready(sender: Sender) -> Sender {
    sender.ready().await.expect("an open connection")
}

/// After the server's settings have come, which allow CONNECT with a protocol.
async fn with_settings(mut sender: Sender) -> Sender {
    while !sender.is_extended_connect_protocol_enabled() {
        sender = ready(sender).await;
        tokio::task::yield_now().await;
    }
    sender
}

async fn body(recv: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut body = Vec::new();
    while let Some(piece) = recv.data().await {
        let piece = piece?;
        recv.flow_control()
            .release_capacity(piece.len())
            .expect("it came");
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

fn join<R>(client: JoinHandle<R>) -> R {
    client.join().expect("the client is content")
}

fn short(change: impl FnOnce(&mut FrontSettings)) -> Stage {
    let mut settings = support::front_settings();
    change(&mut settings);
    Stage::with(settings)
}

/// What a client takes on a stream before it has given anything back (RFC 9113 §6.9.2).
const WINDOW: usize = 65_535;

const SHORT: Duration = Duration::from_millis(300);

#[test]
fn a_request_arrives_with_all_its_parts() {
    let stage = Stage::new();
    let client = client(&stage, |sender| async {
        let mut request = get("/a%20b?x=1");
        for (name, value) in [
            ("x-one", " 1"),
            ("cookie", "a=b"),
            ("x-one", "2"),
            ("cookie", "c=d"),
        ] {
            request
                .headers_mut()
                .append(name, value.trim().parse().expect("a value"));
        }
        let (response, _) = ready(sender).await.send_request(request, true).expect("sent");
        response.await.expect("a response")
    });
    let (request, exchange) = stage.request();
    assert_eq!(request.method(), b"GET");
    assert_eq!(request.target(), b"/a%20b?x=1");
    assert_eq!(request.version(), Version::Http2);
    let headers: Vec<_> = request
        .headers()
        .map(|(name, value)| (String::from_utf8_lossy(name), String::from_utf8_lossy(value)))
        .collect();
    let expected = [
        ("host", "test"),
        ("x-one", "1"),
        ("x-one", "2"),
        ("cookie", "a=b; c=d"),
    ];
    assert_eq!(headers, expected.map(|(name, value)| (name.into(), value.into())));
    exchange
        .respond(
            head(
                200,
                &[
                    ("x", "y"),
                    ("connection", "close"),
                    ("keep-alive", "5"),
                    ("transfer-encoding", "chunked"),
                ],
            ),
            "hello",
        )
        .expect("a client");
    let response = join(client);
    assert_eq!(response.status(), 200);
    let mut names: Vec<_> = response.headers().keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["content-length", "date", "x"]);
}

#[test]
fn streams_are_no_connections_and_every_one_is_answered_for_itself() {
    let stage = Stage::new();
    let client = client(&stage, |mut sender| async move {
        let mut responses = Vec::new();
        for number in 0..50 {
            sender = ready(sender).await;
            responses.push(
                sender
                    .send_request(get(&format!("/{number}")), true)
                    .expect("sent")
                    .0,
            );
        }
        for (number, response) in responses.into_iter().enumerate() {
            let (_, mut recv) = response.await.expect("a response").into_parts();
            assert_eq!(
                body(&mut recv).await.expect("a body"),
                format!("/{number}").as_bytes()
            );
        }
    });
    let mut taken: Vec<_> = (0..50).map(|_| stage.request()).collect();
    assert_eq!(stage.front.statistics().active_connections, 1);
    assert_eq!(stage.front.statistics().requests, 50);
    for (request, exchange) in taken.drain(..).rev() {
        exchange
            .respond(head(200, &[]), request.target().to_vec())
            .expect("a client");
    }
    join(client);
}

#[test]
fn a_body_in_chunks_loses_them_and_a_205_has_no_body() {
    let stage = Stage::new();
    let client = client(&stage, |mut sender| async move {
        let mut answers = Vec::new();
        for path in ["/chunks", "/reset"] {
            sender = ready(sender).await;
            let response = sender.send_request(get(path), true).expect("sent").0;
            let (head, mut recv) = response.await.expect("a response").into_parts();
            assert!(!head.headers.contains_key("transfer-encoding"));
            answers.push((head.status.as_u16(), body(&mut recv).await.expect("a body")));
        }
        answers
    });
    let exchange = stage.exchange();
    exchange
        .start_response(head(200, &[("transfer-encoding", "chunked")]))
        .expect("a client");
    exchange.write("3\r\none\r\n0\r\n\r\n").expect("a client");
    stage
        .exchange()
        .respond(head(205, &[("content-length", "4")]), "body")
        .expect("a client");
    assert_eq!(join(client), [(200, b"one".to_vec()), (205, Vec::new())]);
}

#[test]
fn a_body_that_is_not_read_waits_at_the_client() {
    let stage = Stage::new();
    let size = 1 << 20;
    let client = client(&stage, move |sender| async move {
        let mut sender = ready(sender).await;
        let (response, mut send) = sender
            .send_request(request(Method::POST, "/"), false)
            .expect("sent");
        send.send_data(Bytes::from(vec![b'x'; size]), true).expect("sent");
        response.await.expect("a response").status()
    });
    let exchange = stage.exchange();
    // All that the window lets in, and no more until somebody takes it.
    let mut seen = 0;
    while seen < 65_535 {
        if !exchange.wait_more(1, seen) {
            stage.wakes.recv_timeout(PATIENCE).expect("more comes");
        }
        seen = exchange.received();
    }
    assert_eq!(exchange.received(), 65_535);
    assert_eq!(stage.body(&exchange).map(|body| body.len()), Ok(size));
    exchange.respond(head(204, &[]), "").expect("a client");
    assert_eq!(join(client), 204);
}

#[test]
fn a_response_that_is_not_taken_waits_at_the_application() {
    let stage = Stage::new();
    let (go, may_read) = tokio::sync::oneshot::channel();
    let client = client(&stage, move |sender| async move {
        let (response, _) = ready(sender).await.send_request(get("/"), true).expect("sent");
        let (_, mut recv) = response.await.expect("a response").into_parts();
        may_read.await.expect("a word");
        body(&mut recv).await.expect("a body").len()
    });
    let exchange = stage.exchange();
    exchange.start_response(head(200, &[])).expect("a client");
    let mut written = 0;
    let piece = Bytes::from(vec![b'y'; 16 * 1024]);
    // Its window, what lies in the exchange, and one piece on the way.
    while exchange.wait_writable(5) {
        exchange.write(piece.clone()).expect("a client");
        written += piece.len();
        assert!(
            written <= 65_535 + 256 * 1024 + 2 * piece.len(),
            "{written} bytes"
        );
    }
    go.send(()).expect("the client waits");
    assert_eq!(stage.wakes.recv_timeout(PATIENCE), Ok(5));
    while written < 4 << 20 {
        if exchange.wait_writable(5) {
            exchange.write(piece.clone()).expect("a client");
            written += piece.len();
        } else {
            assert_eq!(stage.wakes.recv_timeout(PATIENCE), Ok(5));
        }
    }
    exchange.finish();
    assert_eq!(join(client), written);
}

#[test]
fn a_reset_stream_is_a_client_that_is_gone_and_wakes_who_waits() {
    let stage = Stage::new();
    let (go, may_go) = tokio::sync::oneshot::channel();
    let client = client(&stage, move |sender| async move {
        let mut sender = ready(sender).await;
        let (_gone, mut send) = sender
            .send_request(request(Method::POST, "/gone"), false)
            .expect("sent");
        may_go.await.expect("a word");
        send.send_reset(Reason::CANCEL);
        let (response, _) = ready(sender)
            .await
            .send_request(get("/next"), true)
            .expect("sent");
        response.await.expect("a response").status()
    });
    let exchange = stage.exchange();
    assert!(!exchange.wait_body(9));
    go.send(()).expect("the client waits");
    assert_eq!(stage.wakes.recv_timeout(PATIENCE), Ok(9));
    assert_eq!(exchange.read_body(1), BodyRead::Failed(BodyError::Gone));
    stage.exchange().respond(head(200, &[]), "").expect("a client");
    assert_eq!(join(client), 200);
    assert!(exchange.is_gone());
    assert_eq!(exchange.respond(head(200, &[]), ""), Err(Gone));
}

#[test]
fn a_response_that_is_cut_arrives_as_far_as_it_was_written() {
    let stage = Stage::new();
    let client = client(&stage, |sender| async {
        let mut sender = ready(sender).await;
        let mut codes = Vec::new();
        for path in ["/abort", "/drop", "/short", "/before"] {
            let (response, _) = sender.send_request(get(path), true).expect("sent");
            let Ok(response) = response.await else {
                codes.push((path, 0, "no response"));
                continue;
            };
            let mut recv = response.into_body();
            let mut came = 0;
            while let Some(Ok(piece)) = recv.data().await {
                came += piece.len();
            }
            codes.push((path, came, "cut"));
            sender = ready(sender).await;
        }
        codes
    });
    let exchange = stage.exchange();
    exchange.start_response(head(200, &[])).expect("a client");
    exchange.write("12345").expect("a client");
    exchange.abort("the test wants it");
    let exchange = stage.exchange();
    exchange.start_response(head(200, &[])).expect("a client");
    exchange.write("123456").expect("a client");
    drop(exchange);
    let exchange = stage.exchange();
    exchange
        .respond(head(200, &[("content-length", "10")]), "1234567")
        .expect("a client");
    drop(exchange);
    stage.exchange().abort("at once");
    assert_eq!(
        join(client),
        [
            ("/abort", 5, "cut"),
            ("/drop", 6, "cut"),
            ("/short", 7, "cut"),
            ("/before", 0, "no response")
        ]
    );
    stage.line("3 bytes less than its Content-Length");
}

#[test]
fn a_file_is_sent_whole_and_one_that_shrinks_cuts_its_stream() {
    let stage = Stage::new();
    let path = std::env::temp_dir().join(format!("fairlead-http2-{}", std::process::id()));
    let content: Vec<u8> = (0..1_000_000_u32).map(|number| number.to_le_bytes()[1]).collect();
    std::fs::write(&path, &content).expect("a file");
    let client = client(&stage, |sender| async {
        let mut sender = ready(sender).await;
        let (response, _) = sender.send_request(get("/whole"), true).expect("sent");
        let whole = body(response.await.expect("a response").body_mut()).await;
        let (response, _) = ready(sender)
            .await
            .send_request(get("/shrunk"), true)
            .expect("sent");
        let shrunk = body(response.await.expect("a response").body_mut()).await;
        (whole.expect("a body"), shrunk.map_err(|error| error.reason()))
    });
    for extra in [0, 10] {
        let exchange = stage.exchange();
        exchange.start_response(head(200, &[])).expect("a client");
        exchange
            .write_file(
                File::open(&path).expect("a file"),
                7,
                content.len() as u64 - 7 + extra,
            )
            .expect("a client");
        exchange.finish();
    }
    let (whole, shrunk) = join(client);
    std::fs::remove_file(&path).expect("a file");
    assert!(whole == content[7..]);
    assert_eq!(shrunk, Err(Some(Reason::INTERNAL_ERROR)));
    stage.line("the file ended too early");
}

/// Accepts the next handshake; the session's socket, blocking.
fn accept(stage: &Stage) -> UnixStream {
    let (request, exchange) = stage.request();
    assert!(Handshake::validate(&request).is_ok(), "{request:?}");
    assert_eq!(request.method(), b"GET");
    stage.accept_upgrade(&exchange, switching()).expect("a client");
    let departed = stage.departed.recv_timeout(PATIENCE).expect("the socket leaves");
    let (socket, read_ahead) = departed.socket.expect("the client is there");
    assert!(read_ahead.is_empty());
    let socket = socket2::Socket::from(socket);
    assert!(socket.nonblocking().expect("a flag"));
    socket.set_nonblocking(false).expect("a flag");
    socket.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    socket.set_write_timeout(Some(PATIENCE)).expect("a time-out");
    UnixStream::from(socket)
}

async fn dial(sender: Sender) -> (Response<RecvStream>, h2::SendStream<Bytes>, Sender) {
    let mut sender = with_settings(sender).await;
    let (response, send) = sender.send_request(websocket("/chat"), false).expect("sent");
    let response = response.await.expect("a response");
    assert_eq!(response.status(), 200);
    (response, send, sender)
}

#[test]
fn a_websocket_leaves_by_a_pair_of_sockets() {
    let stage = Stage::new();
    let client = client(&stage, |sender| async {
        let (response, mut send, _sender) = dial(sender).await;
        let names: Vec<_> = response.headers().keys().map(|name| name.as_str()).collect();
        assert_eq!(names, ["date"]);
        send.send_data(Bytes::from_static(b"to the session"), false)
            .expect("sent");
        send.send_data(Bytes::new(), true).expect("sent");
        body(&mut response.into_body()).await.expect("to its end")
    });
    let mut session = accept(&stage);
    let mut all = Vec::new();
    session.read_to_end(&mut all).expect("its end of the stream");
    assert_eq!(all, b"to the session");
    // Half closed: the other direction goes on.
    session.write_all(b"to the client").expect("an open stream");
    drop(session);
    assert_eq!(join(client), b"to the client");
    assert_eq!(stage.front.statistics().upgraded, 1);
}

#[test]
fn megabytes_pass_a_tunnel_unchanged_in_both_directions_at_once() {
    let stage = Stage::new();
    let size = 8 << 20;
    let content: Vec<u8> = (0..size).map(|at: u32| (at ^ at >> 9).to_le_bytes()[0]).collect();
    let sent = content.clone();
    let client = client(&stage, move |sender| async move {
        let (response, mut send, _sender) = dial(sender).await;
        let mut recv = response.into_body();
        let sending = tokio::spawn(async move {
            let mut left = Bytes::from(sent);
            while !left.is_empty() {
                send.reserve_capacity(left.len());
                let room = std::future::poll_fn(|cx| send.poll_capacity(cx)).await;
                let room = room.expect("an open stream").expect("an open stream");
                let piece = left.split_to(room.min(left.len()));
                send.send_data(piece, left.is_empty()).expect("sent");
            }
        });
        let echo = body(&mut recv).await.expect("to its end");
        sending.await.expect("sent");
        echo
    });
    let mut session = accept(&stage);
    let mut writer = session.try_clone().expect("a descriptor");
    let (pass, passed) = mpsc::channel::<Vec<u8>>();
    let writing = std::thread::spawn(move || {
        for piece in passed {
            writer.write_all(&piece).expect("an open stream");
        }
        writer
            .shutdown(std::net::Shutdown::Write)
            .expect("an open stream");
    });
    let mut buffer = vec![0; 100_000];
    loop {
        let count = session.read(&mut buffer).expect("an open stream");
        if count == 0 {
            break;
        }
        pass.send(buffer[..count].to_vec()).expect("a writer");
    }
    drop(pass);
    writing.join().expect("written");
    assert!(join(client) == content);
}

#[test]
fn what_waits_in_a_tunnel_is_bounded_in_both_directions() {
    let stage = Stage::new();
    let (go, may_go) = tokio::sync::oneshot::channel::<()>();
    let (tell, told) = mpsc::channel();
    let client = client(&stage, move |sender| async move {
        let (_response, mut send, _sender) = dial(sender).await;
        let mut sent = 0;
        // Until the window is shut, and stays so: the session takes nothing.
        loop {
            send.reserve_capacity(16_384);
            let room = tokio::time::timeout(
                Duration::from_secs(1),
                std::future::poll_fn(|cx| send.poll_capacity(cx)),
            );
            let Ok(Some(Ok(room))) = room.await else { break };
            let room = room.min(16_384);
            send.send_data(Bytes::from(vec![0; room]), false).expect("sent");
            sent += room;
        }
        tell.send(sent).expect("the test waits");
        let _ = may_go.await;
    });
    let session = accept(&stage);
    session.set_nonblocking(true).expect("a flag");
    let mut written = 0;
    let mut still = 0;
    while still < 100 {
        match (&session).write(&[0; 16_384]) {
            Ok(count) => {
                written += count;
                still = 0;
            }
            Err(_) => {
                still += 1;
                std::thread::park_timeout(Duration::from_millis(5));
            }
        }
    }
    // The client's window, a read that waits, and the pair's own buffer.
    assert!(
        written < 65_535 + 64 * 1024 + 600_000,
        "{written} bytes to the client"
    );
    let sent = told.recv_timeout(PATIENCE).expect("the client is stopped");
    assert!(sent < 65_535 + 600_000, "{sent} bytes from the client");
    assert!(sent >= 65_535);
    drop(go);
    join(client);
}

#[test]
fn a_reset_and_a_lost_connection_close_the_session() {
    let stage = Stage::new();
    let (go, may_go) = tokio::sync::oneshot::channel::<()>();
    let client = client(&stage, |sender| async {
        let (_response, mut first, sender) = dial(sender).await;
        let (_response, _second, _sender) = dial(sender).await;
        first.send_reset(Reason::CANCEL);
        may_go.await.expect("a word");
    });
    let mut first = accept(&stage);
    let mut second = accept(&stage);
    assert_eq!(first.read(&mut [0; 10]).expect("an end"), 0);
    second.set_nonblocking(true).expect("a flag");
    assert!(second.read(&mut [0; 10]).is_err(), "it goes on");
    second.set_nonblocking(false).expect("a flag");
    go.send(()).expect("the client waits");
    join(client);
    assert_eq!(second.read(&mut [0; 10]).expect("an end"), 0);
}

#[test]
fn requests_that_are_reset_count_until_the_application_has_ended_them() {
    let stage = short(|settings| settings.http2_max_streams = 4);
    let (tell, told) = tokio::sync::mpsc::unbounded_channel::<()>();
    let client = client(&stage, |mut sender| async move {
        let mut told = told;
        for number in 0..9 {
            sender = ready(sender).await;
            let (_, mut send) = sender
                .send_request(request(Method::POST, &format!("/{number}")), false)
                .expect("sent");
            told.recv().await.expect("it has arrived");
            send.send_reset(Reason::CANCEL);
        }
        loop {
            match sender.ready().await {
                Ok(still) => sender = still,
                Err(error) => break error.reason(),
            }
            tokio::task::yield_now().await;
        }
    });
    let mut held = Vec::new();
    for _ in 0..9 {
        held.push(stage.exchange());
        tell.send(()).expect("the client waits");
    }
    assert_eq!(join(client), Some(Reason::ENHANCE_YOUR_CALM));
    stage.line("ended with ENHANCE_YOUR_CALM: too many requests that are reset before they are answered");
    drop(held);
}

#[test]
fn a_client_that_takes_nothing_of_a_response_is_reset_in_time_and_alone() {
    let stage = short(|settings| settings.stall_timeout = SHORT);
    let client = client(&stage, |sender| async {
        let mut sender = ready(sender).await;
        let (slow, _) = sender.send_request(get("/slow"), true).expect("sent");
        let mut slow = slow.await.expect("a response").into_body();
        // Its window is never given back.
        let mut came = 0;
        let error = loop {
            match slow.data().await {
                Some(Ok(piece)) => came += piece.len(),
                Some(Err(error)) => break error,
                None => panic!("the response is not complete"),
            }
        };
        assert_eq!(came, 65_535);
        // The connection's window is shut, but a head needs none.
        let (next, _) = ready(sender)
            .await
            .send_request(get("/next"), true)
            .expect("sent");
        (error.reason(), next.await.expect("a response").status())
    });
    let exchange = stage.exchange();
    exchange
        .respond(head(200, &[]), vec![0; 1 << 20])
        .expect("a client");
    stage.exchange().respond(head(204, &[]), "").expect("a client");
    let (reason, status) = join(client);
    assert_eq!(reason, Some(Reason::CANCEL));
    assert_eq!(status, 204);
    assert_eq!(stage.front.statistics().timed_out, 1);
}

/// A stage whose application waits for a body that comes in such pieces; what the waits find, and the client's end of it.
fn slow_body(minimum: u64, piece: &'static [u8], is_over: impl Fn(&BodyRead) -> bool) -> Option<Reason> {
    let stage = short(|settings| {
        settings.header_timeout = Duration::from_millis(50);
        settings.stall_timeout = Duration::from_secs(1);
        settings.body_minimum_rate = minimum;
    });
    let (go_on, mut steps) = tokio::sync::mpsc::unbounded_channel();
    let client = client(&stage, move |sender| async move {
        let (response, mut send) = ready(sender)
            .await
            .send_request(request(Method::POST, "/slow"), false)
            .expect("sent");
        while steps.recv().await.is_some() {
            // Fails once the stream is reset.
            let _ = send.send_data(Bytes::from_static(piece), false);
        }
        let _ = send.send_data(Bytes::new(), true);
        match response.await {
            Ok(response) => {
                assert_eq!(response.status(), 200);
                None
            }
            Err(error) => error.reason(),
        }
    });
    let exchange = stage.exchange();
    let began = std::time::Instant::now();
    loop {
        assert!(began.elapsed() < PATIENCE, "it is waited for without end");
        let read = stage.slow_piece(&exchange, || go_on.send(()).expect("a client"));
        if is_over(&read) {
            break;
        }
        assert!(matches!(read, BodyRead::Data(_)), "{read:?}");
    }
    drop(go_on);
    // Gone, if it was too slow.
    let _ = exchange.respond(head(200, &[]), "");
    join(client)
}

#[test]
fn a_body_of_a_byte_now_and_then_is_reset() {
    let ended = slow_body(1000, b"x", |read| *read == BodyRead::Failed(BodyError::Stalled));
    assert_eq!(ended, Some(Reason::CANCEL));
}

#[test]
fn a_slow_body_that_keeps_the_minimum_rate_is_read_to_its_end() {
    let began = std::time::Instant::now();
    let ended = slow_body(100, &[b'x'; 200], |_| {
        began.elapsed() > Duration::from_millis(1500)
    });
    assert_eq!(ended, None);
}

#[test]
fn a_client_that_takes_a_little_at_a_time_has_its_time_anew_with_each() {
    const STEP: usize = 10_000;
    const STEPS: usize = 6;
    let stage = short(|settings| {
        settings.stall_timeout = Duration::from_secs(1);
        settings.header_timeout = SHORT;
    });
    let (go_on, mut steps) = tokio::sync::mpsc::unbounded_channel();
    let mut builder = Builder::new();
    // The streams' windows bound what is sent, and that of the connection does not.
    builder.initial_connection_window_size(1 << 24);
    let client = client_with(&stage, builder, |mut sender| async move {
        let mut bodies = Vec::new();
        for path in ["/whole", "/pieces", "/file"] {
            sender = ready(sender).await;
            let (response, _) = sender.send_request(get(path), true).expect("sent");
            bodies.push((response.await.expect("a response").into_body(), 0));
        }
        while steps.recv().await.is_some() {
            for (body, came) in &mut bodies {
                let wanted = if *came == 0 { WINDOW } else { *came + STEP };
                while *came < wanted {
                    *came += body.data().await.expect("more").expect("no reset").len();
                }
                let mut flow = body.flow_control().clone();
                flow.release_capacity(STEP).expect("it came");
            }
        }
        bodies.iter().map(|(_, came)| *came).collect::<Vec<_>>()
    });
    let large = vec![0; 1 << 20];
    let path = std::env::temp_dir().join(format!("fairlead-http2-steady-{}", std::process::id()));
    std::fs::write(&path, &large).expect("a file");
    for _ in 0..3 {
        let (request, exchange) = stage.request();
        if request.target() == b"/whole" {
            exchange.respond(head(200, &[]), large.clone()).expect("a client");
            continue;
        }
        exchange.start_response(head(200, &[])).expect("a client");
        if request.target() == b"/file" {
            let file = File::open(&path).expect("a file");
            exchange
                .write_file(file, 0, large.len() as u64)
                .expect("a client");
        } else {
            exchange.write(large.clone()).expect("a client");
        }
        exchange.finish();
    }
    std::fs::remove_file(&path).expect("a file");
    for _ in 0..STEPS {
        // A whole life of another connection passes.
        stage.client().assert_closed();
        go_on.send(()).expect("a client");
    }
    drop(go_on);
    assert_eq!(join(client), [WINDOW + (STEPS - 1) * STEP; 3]);
}

#[test]
fn a_connection_that_says_nothing_is_closed_in_time() {
    let stage = short(|settings| settings.header_timeout = SHORT);
    let mut raw =
        stage.client_sending(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00");
    let rest = raw.rest();
    let goaway = b"\x00\x00\x08\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00";
    assert!(rest.ends_with(goaway), "{rest:?}");
    assert!(stage.requests.try_recv().is_err());
}

#[test]
fn a_stop_lets_streams_finish_and_takes_no_new_ones() {
    let stage = Stage::new();
    let client = client(&stage, |sender| async {
        let mut sender = ready(sender).await;
        let (response, _) = sender.send_request(get("/"), true).expect("sent");
        let mut response = response.await.expect("a response");
        let whole = body(response.body_mut()).await.expect("a whole body");
        let after = match sender.ready().await {
            Ok(mut sender) => match sender.send_request(get("/late"), true) {
                Ok((response, _)) => response.await.is_err(),
                Err(_) => true,
            },
            Err(_) => true,
        };
        (whole, after)
    });
    let exchange = stage.exchange();
    exchange.start_response(head(200, &[])).expect("a client");
    exchange.write("before ").expect("a client");
    stage.front.stop_accepting();
    exchange.write("after").expect("a client");
    exchange.finish();
    assert_eq!(join(client), (b"before after".to_vec(), true));
    stage.front.stop(PATIENCE);
    assert_eq!(stage.front.statistics().active_connections, 0);
}

#[test]
fn a_front_that_stops_tells_the_units_of_open_streams() {
    let stage = Stage::new();
    let client = client(&stage, |sender| async {
        let mut sender = ready(sender).await;
        let (response, _) = sender.send_request(get("/"), true).expect("sent");
        response.await.is_err()
    });
    let exchange = stage.exchange();
    assert!(exchange.wait_writable(3));
    stage.front.stop(Duration::ZERO);
    assert!(exchange.is_gone());
    assert!(join(client));
}
