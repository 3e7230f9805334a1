//! Requests that come as packets of the uwsgi protocol: the way in, the answer on the wire, upgrades, and what is refused.
//! It stays whole: one protocol, by one way of making its packets.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use fairlead_front::{
    BodyError, BodyRead, BoundListener, FrontSettings, Listener, ListenerConfig, LogLevel, Protocol,
};
use fairlead_http::{Address, Request, Scheme, Version};
use fairlead_websocket::Handshake;
use support::{head, switching, Client, Stage, PATIENCE};

fn stage() -> Stage {
    stage_with(support::front_settings())
}

fn stage_with(settings: FrontSettings) -> Stage {
    on(Listener::bind("127.0.0.1:0").expect("a free port"), settings)
}

fn on(listener: Listener, settings: FrontSettings) -> Stage {
    let config = ListenerConfig {
        protocol: Protocol::Uwsgi,
        ..ListenerConfig::default()
    };
    Stage::on(BoundListener { listener, config }, settings, true)
}

fn packet_of(modifier1: u8, variables: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for text in variables.iter().flat_map(|(key, value)| [key, value]) {
        block.extend_from_slice(&u16::try_from(text.len()).expect("a short text").to_le_bytes());
        block.extend_from_slice(text.as_bytes());
    }
    let [low, high] = u16::try_from(block.len()).expect("a short block").to_le_bytes();
    [&[modifier1, low, high, 0], &block[..]].concat()
}

/// A packet as nginx would send it, with `more`, which counts where it repeats something.
fn packet(method: &str, protocol: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let usual = [
        ("REQUEST_METHOD", method),
        ("REQUEST_URI", "/a%20b?c=d"),
        ("PATH_INFO", "/a b"),
        ("QUERY_STRING", "c=d"),
        ("SERVER_PROTOCOL", protocol),
        ("CONTENT_LENGTH", ""),
        ("REMOTE_ADDR", "192.0.2.7"),
        ("REMOTE_PORT", "4711"),
        ("HTTP_HOST", "example.org"),
    ];
    packet_of(0, &[&usual, more].concat())
}

const WEBSOCKET: [(&str, &str); 4] = [
    ("HTTP_UPGRADE", "websocket"),
    ("HTTP_CONNECTION", "Upgrade"),
    ("HTTP_SEC_WEBSOCKET_KEY", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("HTTP_SEC_WEBSOCKET_VERSION", "13"),
];

fn handshake() -> Vec<u8> {
    packet("GET", "HTTP/1.1", &WEBSOCKET)
}

fn variable(request: &Request, wanted: &str) -> Option<String> {
    let mut found = None;
    request.for_each_cgi_variable(|name, value| {
        if name == wanted {
            found = Some(String::from_utf8_lossy(value).into_owned());
        }
    });
    found
}

#[test]
fn a_packet_is_a_request_with_its_own_variables() {
    let stage = stage();
    let more = [("HTTPS", "on"), ("MY_OWN", "x"), ("HTTP_X_ONE", "1")];
    let mut client = stage.client_sending(packet("PATCH", "HTTP/1.1", &more));
    let (request, exchange) = stage.request();
    assert_eq!(
        (request.method(), request.target()),
        (&b"PATCH"[..], &b"/a%20b?c=d"[..])
    );
    assert_eq!(
        (request.version(), request.scheme()),
        (Version::Http11, Scheme::Https)
    );
    let peer = "192.0.2.7:4711".parse().expect("an address");
    assert_eq!(request.peer(), &Address::Inet(peer));
    let mut count = 0;
    request.for_each_cgi_variable(|_, _| count += 1);
    assert_eq!(count, 9 + more.len(), "none is made up");
    assert_eq!(variable(&request, "PATH_INFO").as_deref(), Some("/a b"));
    assert_eq!(variable(&request, "MY_OWN").as_deref(), Some("x"));
    assert_eq!(request.header("x-one"), Some(&b"1"[..]));
    assert_eq!(stage.body(&exchange), Ok(Vec::new()));
    exchange.respond(head(200, &[]), "done").expect("a client");
    let reply = client.reply();
    assert_eq!(reply.status_line, "HTTP/1.1 200 OK");
    assert_eq!(reply.body, b"done");
    client.assert_closed();
}

#[test]
fn the_status_line_has_the_version_of_the_request() {
    let stage = stage();
    for (protocol, wanted) in [
        ("HTTP/1.0", "HTTP/1.0 404 Not Found"),
        ("HTTP/1.1", "HTTP/1.1 404 Not Found"),
        ("HTTP/2.0", "HTTP/1.1 404 Not Found"),
        ("", "HTTP/1.0 404 Not Found"),
    ] {
        let mut client = stage.client_sending(packet("GET", protocol, &[]));
        stage.exchange().respond(head(404, &[]), "no").expect("a client");
        let reply = client.reply();
        assert_eq!(
            (reply.status_line.as_str(), &reply.body[..]),
            (wanted, &b"no"[..])
        );
        client.assert_closed();
    }
}

#[test]
fn a_packet_octet_by_octet_is_read_as_one() {
    let stage = stage();
    let mut client = stage.client();
    for byte in packet("POST", "HTTP/1.1", &[("CONTENT_LENGTH", "3")]) {
        client.send([byte]);
    }
    client.send("abc");
    let (request, exchange) = stage.request();
    assert_eq!(request.content_length(), Some(3));
    assert_eq!(stage.body(&exchange), Ok(b"abc".to_vec()));
    exchange.respond(head(200, &[]), "").expect("a client");
    assert_eq!(client.reply().status(), 200);
    client.assert_closed();
}

#[test]
fn a_body_of_any_size_comes_through_and_ends_at_its_length() {
    let stage = stage();
    for size in [1, 65_536, 3_000_000] {
        let body: Vec<u8> = (0..size).map(|at: usize| at.to_le_bytes()[at % 3]).collect();
        let mut client = stage.client();
        let mut writer = client.stream.get_ref().try_clone().expect("a socket");
        let sent = [
            packet("POST", "HTTP/1.1", &[("CONTENT_LENGTH", &size.to_string())]),
            body.clone(),
        ]
        .concat();
        let sender = std::thread::spawn(move || writer.write_all(&sent).expect("the front reads"));
        let exchange = stage.exchange();
        assert_eq!(stage.body(&exchange), Ok(body));
        sender.join().expect("the sender");
        exchange.respond(head(200, &[]), "").expect("a client");
        assert_eq!(client.reply().status(), 200);
        client.assert_closed();
    }
}

#[test]
fn a_response_in_pieces_is_never_chunked() {
    let stage = stage();
    for protocol in ["HTTP/1.0", "HTTP/1.1"] {
        for (what, more) in [("plain", &[][..]), ("refused upgrade", &WEBSOCKET[..])] {
            let mut client = stage.client_sending(packet("GET", protocol, more));
            let exchange = stage.exchange();
            let chunked = [("transfer-encoding", "chunked")];
            exchange.start_response(head(200, &chunked)).expect("a client");
            for piece in ["one ", "two ", "three"] {
                exchange.write(piece).expect("a client");
            }
            exchange.finish();
            let reply = client.head();
            assert_eq!(reply.status_line, format!("{protocol} 200 OK"), "{what}");
            assert_eq!(reply.header("transfer-encoding"), None, "{what}");
            assert_eq!(reply.header("content-length"), None, "{what}");
            assert_eq!(client.rest(), b"one two three", "{what}, {protocol}");
        }
    }
}

#[test]
fn the_answer_to_head_has_a_length_and_no_body() {
    let stage = stage();
    let mut client = stage.client_sending(packet("HEAD", "HTTP/1.1", &[]));
    let (request, exchange) = stage.request();
    assert_eq!(request.method(), b"HEAD");
    exchange
        .respond(head(200, &[("content-length", "5")]), "hello")
        .expect("a client");
    let reply = client.head();
    assert_eq!(reply.header("content-length"), Some("5"));
    assert_eq!(client.rest(), b"");
}

#[test]
fn a_file_goes_out_behind_the_right_version() {
    let stage = stage();
    let path = std::env::temp_dir().join(format!("fairlead-uwsgi-{}", std::process::id()));
    let content: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
    std::fs::write(&path, &content).expect("a file");
    let mut client = stage.client_sending(packet("GET", "HTTP/1.1", &[]));
    let exchange = stage.exchange();
    let file = std::fs::File::open(&path).expect("the file");
    std::fs::remove_file(&path).expect("the file");
    exchange.start_response(head(200, &[])).expect("a client");
    exchange
        .write_file(file, 0, content.len() as u64)
        .expect("a client");
    exchange.finish();
    assert_eq!(client.head().status_line, "HTTP/1.1 200 OK");
    assert!(client.rest() == content, "the file and nothing else");
}

#[test]
fn nothing_behind_a_request_is_taken_for_another_one() {
    let stage = stage();
    let one = packet("POST", "HTTP/1.1", &[("CONTENT_LENGTH", "2")]);
    let smuggled = b"hiPOST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
    let mut client = stage.client_sending([&one[..], smuggled, &one].concat());
    let exchange = stage.exchange();
    assert_eq!(stage.body(&exchange), Ok(b"hi".to_vec()));
    exchange.respond(head(200, &[]), "one").expect("a client");
    let mut answer = Vec::new();
    // The bytes that nobody read may turn the end into a reset.
    let _ = client.stream.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).expect("text");
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    assert!(stage.requests.try_recv().is_err());
    assert_eq!(stage.front.statistics().requests, 1);
}

#[test]
fn an_upgrade_leaves_with_what_was_sent_behind_the_packet() {
    for stage in [
        stage(),
        on(
            Listener::bind("127.0.0.1:0").expect("a free port"),
            FrontSettings {
                max_header_bytes: 500,
                ..support::front_settings()
            },
        ),
    ] {
        let frames: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
        for cut in [0, 1, 4, 100, handshake().len(), handshake().len() + 1] {
            let stream = [&handshake()[..], &frames].concat();
            let mut client = stage.client();
            let mut writer = client.stream.get_ref().try_clone().expect("a socket");
            let sender = std::thread::spawn(move || {
                let (left, right) = stream.split_at(cut);
                writer.write_all(left).expect("the front reads");
                writer.write_all(right).expect("the front reads");
            });
            let (request, exchange) = stage.request();
            assert!(Handshake::validate(&request).is_ok());
            assert_eq!(stage.accept_upgrade(&exchange, switching()), Ok(()));
            let departed = stage.departed.recv_timeout(PATIENCE).expect("the socket leaves");
            let (socket, read_ahead) = departed.socket.expect("the client is there");
            let mut server = TcpStream::from(socket);
            server.set_nonblocking(false).expect("a flag");
            server.set_read_timeout(Some(PATIENCE)).expect("a time-out");
            let mut received = read_ahead;
            let before = received.len();
            received.resize(frames.len(), 0);
            server.read_exact(&mut received[before..]).expect("the rest");
            assert!(received == frames, "cut at {cut}");
            sender.join().expect("the sender");
            let reply = client.head();
            assert_eq!(reply.status_line, "HTTP/1.1 101 Switching Protocols");
            assert_eq!(reply.header("upgrade"), Some("websocket"));
            server.write_all(b"frames").expect("an open socket");
            drop(server);
            assert_eq!(client.rest(), b"frames");
        }
    }
}

#[test]
fn a_websocket_with_a_body_or_of_http_1_0_is_none() {
    let stage = stage();
    let with_body = [&WEBSOCKET[..], &[("CONTENT_LENGTH", "1")]].concat();
    let mut client = stage.client_sending(packet("GET", "HTTP/1.1", &with_body));
    client.send("x");
    let reply = client.reply();
    assert_eq!(reply.status_line, "HTTP/1.1 400 Bad Request");
    assert!(String::from_utf8_lossy(&reply.body).contains("handshake has a body"));
    let mut client = stage.client_sending(packet("GET", "HTTP/1.0", &WEBSOCKET));
    let exchange = stage.exchange();
    assert!(stage.accept_upgrade(&exchange, switching()).is_err());
    exchange.respond(head(400, &[]), "").expect("a client");
    assert_eq!(client.reply().status_line, "HTTP/1.0 400 Bad Request");
}

#[test]
fn an_application_learns_that_its_client_has_left() {
    let stage = stage();
    for (length, body) in [("", ""), ("4", "body")] {
        let mut client = stage.client_sending(packet("POST", "HTTP/1.1", &[("CONTENT_LENGTH", length)]));
        client.send(body);
        let exchange = stage.exchange();
        assert_eq!(stage.body(&exchange), Ok(body.as_bytes().to_vec()));
        exchange.start_response(head(200, &[])).expect("a client");
        support::reset(client);
        while !exchange.is_gone() {
            std::thread::yield_now();
        }
        assert!(exchange.write("late").is_err());
    }
}

#[test]
fn a_ping_is_answered_and_closed() {
    let stage = stage();
    let mut client = stage.client_sending([100, 0, 0, 0]);
    assert_eq!(client.rest(), [100, 0, 0, 1]);
}

/// Sends and gives what the log says and what comes back.
fn refused(stage: &Stage, bytes: &[u8]) -> (String, String) {
    let mut client = stage.client_sending(bytes);
    let (level, line) = stage.lines.recv_timeout(PATIENCE).expect("a line");
    assert_eq!(level, LogLevel::Warning);
    let answer = String::from_utf8(client.rest()).expect("text");
    (line, answer)
}

#[test]
fn what_is_no_request_is_refused_with_a_line_and_harms_nobody() {
    let stage = stage();
    let mut other = stage.client_sending(packet("GET", "HTTP/1.1", &[]));
    let exchange = stage.exchange();
    let http = "HTTP/1.0 400 Bad Request\r\n";
    let many: Vec<_> = (0..257).map(|_| ("K", "")).collect();
    let mut beyond = packet("GET", "HTTP/1.1", &[]);
    beyond[4..6].copy_from_slice(&[0xff, 0xff]);
    for (bytes, wanted, answer) in [
        (
            &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
            "an HTTP request came where the uwsgi protocol is spoken; --http or",
            http,
        ),
        (b"\x16\x03\x01\x02\x00\x01\x00", "a TLS handshake came where", ""),
        (
            &[0, 1, 0x80, 0],
            "invalid request block size: 32769 (max 32768)...skip; raise --buffer-size to 32769",
            "",
        ),
        (
            &packet_of(0, &many),
            "max vec size reached. skip this var. (the packet has more than 256 variables); raise",
            "",
        ),
        (&packet_of(0, &[]), "Empty python request. skip.", ""),
        (
            &packet_of(0, &[("", "x")]),
            "variable number 1 has a key of length 0",
            "",
        ),
        (
            &beyond,
            "the key of the packet's variable number 1 is said to have 65535 bytes",
            "",
        ),
        (
            &packet_of(5, &[("REQUEST_METHOD", "GET")]),
            "modifier1 5 and modifier2 0 came, which is not served",
            "",
        ),
        (
            &packet_of(0, &[("A", "b")]),
            "refused with 400: the packet has no REQUEST_METHOD",
            http,
        ),
        (
            &packet("GET", "HTTP/1.1", &[("CONTENT_LENGTH", "12a")]),
            "CONTENT_LENGTH \"12a\" is no number",
            http,
        ),
        (
            &packet("G T", "HTTP/1.1", &[]),
            "REQUEST_METHOD \"G T\" is no method",
            http,
        ),
    ] {
        let (line, found) = refused(&stage, bytes);
        assert!(line.contains(wanted), "{line}");
        assert!(line.starts_with("127.0.0.1:"), "{line}");
        assert!(
            found.starts_with(answer) && found.is_empty() == answer.is_empty(),
            "{found}"
        );
    }
    assert_eq!(stage.front.statistics().refused, 11);
    exchange.respond(head(200, &[]), "unharmed").expect("a client");
    assert_eq!(other.reply().body, b"unharmed");
}

#[test]
fn a_packet_that_breaks_off_is_noted_and_a_mere_connection_is_not() {
    let stage = stage();
    drop(stage.client());
    let whole = packet("GET", "HTTP/1.1", &[]);
    for cut in [1, 3, 4, whole.len() - 1] {
        drop(stage.client_sending(&whole[..cut]));
        let line = stage.lines.recv_timeout(PATIENCE).expect("a line").1;
        assert!(
            line.ends_with(&format!("ended after {cut} bytes, before it was complete")),
            "{line}"
        );
    }
}

#[test]
fn a_packet_that_is_not_complete_in_time_is_given_up() {
    let stage = stage_with(FrontSettings {
        header_timeout: Duration::from_millis(100),
        ..support::front_settings()
    });
    let mut silent = stage.client();
    silent.assert_closed();
    let mut slow = stage.client_sending(&packet("GET", "HTTP/1.1", &[])[..7]);
    slow.assert_closed();
    assert!(stage
        .line("not complete in time")
        .ends_with("closed after 7 bytes of it"));
    assert_eq!(stage.front.statistics().timed_out, 2);
}

#[test]
fn a_drain_serves_what_has_come_and_waits_for_no_packet() {
    let stage = stage();
    let mut asked = stage.client_sending(packet("GET", "HTTP/1.1", &[]));
    let exchange = stage.exchange();
    let mut half = stage.client_sending([0, 9]);
    while stage.front.statistics().active_connections < 2 {
        std::thread::yield_now();
    }
    stage.front.stop_accepting();
    half.assert_closed();
    exchange.respond(head(200, &[]), "served").expect("a client");
    assert_eq!(asked.reply().body, b"served");
    while stage.front.statistics().active_connections > 0 {
        std::thread::yield_now();
    }
}

#[test]
fn a_body_beyond_the_limit_is_answered_with_413() {
    let stage = stage_with(FrontSettings {
        max_body: Some(10),
        ..support::front_settings()
    });
    let mut client = stage.client_sending(packet("POST", "HTTP/1.1", &[("CONTENT_LENGTH", "11")]));
    assert_eq!(client.reply().status_line, "HTTP/1.1 413 Payload Too Large");
}

#[test]
fn a_unix_socket_serves_packets_too() {
    use std::os::linux::net::SocketAddrExt;
    let name = format!("@fairlead-uwsgi-{}", std::process::id());
    let stage = on(
        Listener::bind(&name).expect("a UNIX listener"),
        support::front_settings(),
    );
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name[1..]).expect("a name");
    let stream = std::os::unix::net::UnixStream::connect_addr(&address).expect("the front accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    let mut client = Client {
        stream: std::io::BufReader::new(stream),
    };
    client.send(packet("GET", "HTTP/1.1", &[]));
    let (request, exchange) = stage.request();
    assert_eq!(request.peer().to_string(), "192.0.2.7:4711");
    exchange.respond(head(200, &[]), "unix").expect("a client");
    assert_eq!(client.reply().body, b"unix");
}

#[test]
fn a_body_behind_a_packet_has_the_minimum_rate_too() {
    let stage = stage_with(FrontSettings {
        header_timeout: Duration::from_millis(50),
        stall_timeout: Duration::from_millis(500),
        body_minimum_rate: 1000,
        ..support::front_settings()
    });
    let length = [("CONTENT_LENGTH", "100000")];
    let mut client = stage.client_sending(packet("POST", "HTTP/1.1", &length));
    let exchange = stage.exchange();
    let began = std::time::Instant::now();
    while stage.slow_piece(&exchange, || drop(client.stream.get_mut().write(b"x")))
        != BodyRead::Failed(BodyError::Stalled)
    {
        assert!(
            began.elapsed() < 10 * Duration::from_millis(500),
            "it is waited for without end"
        );
    }
    client.assert_closed();
}
