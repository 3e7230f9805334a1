//! Requests and responses as a client sees them: lengths, chunks, keep-alive, pipelining, and what an application may not
//! say. Limits are in `limits.rs`, what the front refuses in `refusals.rs`. It stays whole: one subject, many short tests.

mod support;

use std::os::unix::net::UnixStream;

use fairlead_front::{BodyRead, FrontSettings, Gone, Listener};
use fairlead_http::{Address, Scheme, Version};
use support::{head, Client, Stage, GET, PATIENCE};

#[test]
fn a_request_arrives_with_all_its_parts() {
    let stage = Stage::new();
    let client = stage.client_sending(
        "GET /a%20b?x=1 HTTP/1.1\r\nHost: test\r\nX-One:  1 \r\nx-two: a\r\nX-Two: b\r\nX-Latin: \u{e4}\r\n\r\n",
    );
    let (request, _exchange) = stage.request();
    assert_eq!(request.method(), b"GET");
    assert_eq!(request.target(), b"/a%20b?x=1");
    assert_eq!(request.version(), Version::Http11);
    assert_eq!(request.scheme(), Scheme::Http);
    let headers: Vec<_> = request.headers().collect();
    let expected: [(&[u8], &[u8]); 5] = [
        (b"host", b"test"),
        (b"x-one", b"1"),
        (b"x-two", b"a"),
        (b"x-two", b"b"),
        (b"x-latin", "\u{e4}".as_bytes()),
    ];
    assert_eq!(headers, expected);
    let here = client.stream.get_ref().local_addr().expect("an address");
    assert_eq!(request.peer(), &Address::Inet(here));
    assert_eq!(request.local(), &stage.address);
}

#[test]
fn targets_reach_the_application_as_they_were_sent() {
    let stage = Stage::new();
    for (target, seen) in [
        ("/", "/"),
        ("/?", "/?"),
        ("//a//b", "//a//b"),
        ("/%2e%2e/", "/%2e%2e/"),
        ("*", "*"),
        // RFC 9112 §3.2.2: its host is the request's.
        ("http://other/path?q", "/path?q"),
        ("/a;b=c,d", "/a;b=c,d"),
        ("/\u{e4}", "/\u{e4}"),
    ] {
        let mut client = stage.client_sending(format!("OPTIONS {target} HTTP/1.1\r\nHost: test\r\n\r\n"));
        let (request, exchange) = stage.request();
        assert_eq!(String::from_utf8_lossy(request.target()), seen);
        exchange.respond(head(204, &[]), "").expect("a client");
        assert_eq!(client.reply().status(), 204);
    }
}

#[test]
fn a_whole_response_gets_its_length_and_a_date() {
    let stage = Stage::new();
    let mut client = stage.client_sending(GET);
    stage
        .exchange()
        .respond(head(200, &[("x-app", "1")]), "hello")
        .expect("a client");
    let reply = client.reply();
    assert_eq!(reply.status_line, "HTTP/1.1 200 OK");
    assert_eq!(reply.header("content-length"), Some("5"));
    assert_eq!(reply.header("x-app"), Some("1"));
    assert!(reply.header("date").is_some());
    assert_eq!(reply.header("server"), None);
    assert_eq!(reply.body, b"hello");
}

#[test]
fn the_server_header_and_a_reason_phrase_are_sent_when_given() {
    let stage = Stage::with(FrontSettings {
        server_header: Some("fairlead".into()),
        ..support::front_settings()
    });
    let mut client = stage.client_sending(GET.repeat(2));
    let mut own_reason = head(200, &[]);
    own_reason.reason = Some("Fine".into());
    stage.exchange().respond(own_reason, "").expect("a client");
    let reply = client.reply();
    assert_eq!(
        (reply.status_line.as_str(), reply.header("server")),
        ("HTTP/1.1 200 Fine", Some("fairlead"))
    );
    stage
        .exchange()
        .respond(head(200, &[("Server", "mine")]), "")
        .expect("a client");
    assert_eq!(client.reply().header("server"), Some("mine"));
}

#[test]
fn a_connection_serves_one_request_after_the_other() {
    let stage = Stage::new();
    let mut client = stage.client();
    for round in 0..5 {
        client.send(GET);
        stage
            .exchange()
            .respond(head(200, &[]), format!("{round}"))
            .expect("a client");
        assert_eq!(client.reply().body, format!("{round}").into_bytes());
    }
    assert_eq!(stage.front.statistics().accepted, 1);
    assert_eq!(stage.front.statistics().requests, 5);
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let stage = Stage::new();
    let mut client = stage.client_sending(GET.repeat(20));
    for round in 0..20 {
        let exchange = stage.exchange();
        assert!(
            stage.requests.try_recv().is_err(),
            "the next request waits for this answer"
        );
        exchange
            .respond(head(200, &[]), format!("{round}"))
            .expect("a client");
        assert_eq!(client.reply().body, format!("{round}").into_bytes());
    }
}

#[test]
fn a_streamed_response_without_length_is_chunked() {
    let stage = Stage::new();
    let mut client = stage.client_sending(GET.repeat(2));
    let exchange = stage.exchange();
    exchange.start_response(head(200, &[])).expect("a client");
    for piece in ["one", "", "two"] {
        exchange.write(piece).expect("a client");
    }
    let reply = client.head();
    assert_eq!(reply.header("transfer-encoding"), Some("chunked"));
    exchange.write("three").expect("a client");
    exchange.finish();
    assert_eq!(exchange.write("late"), Err(Gone));
    let mut body = Client {
        stream: client.stream,
    };
    let mut all = String::new();
    while !all.ends_with("0\r\n\r\n") {
        use std::io::Read;
        let mut byte = [0];
        body.stream.read_exact(&mut byte).expect("the body");
        all.push(char::from(byte[0]));
    }
    assert_eq!(all, "3\r\none\r\n3\r\ntwo\r\n5\r\nthree\r\n0\r\n\r\n");
    stage
        .exchange()
        .respond(head(200, &[]), "next")
        .expect("a client");
    assert_eq!(body.reply().body, b"next");
}

#[test]
fn a_streamed_response_with_length_keeps_to_it() {
    let stage = Stage::new();
    let mut client = stage.client_sending(GET.repeat(2));
    let exchange = stage.exchange();
    exchange
        .start_response(head(200, &[("Content-Length", "6")]))
        .expect("a client");
    exchange.write("abc").expect("a client");
    exchange.write("def-and-too-much").expect("a client");
    exchange.finish();
    assert_eq!(client.reply().body, b"abcdef");
    stage
        .exchange()
        .respond(head(200, &[]), "next")
        .expect("a client");
    assert_eq!(client.reply().body, b"next");
}

#[test]
fn a_response_shorter_than_its_length_ends_with_the_connection() {
    let stage = Stage::new();
    for whole in [true, false] {
        let mut client = stage.client_sending(GET);
        let exchange = stage.exchange();
        let promised = head(200, &[("Content-Length", "6")]);
        if whole {
            exchange.respond(promised, "abc").expect("a client");
        } else {
            exchange.start_response(promised).expect("a client");
            exchange.write("abc").expect("a client");
            exchange.finish();
        }
        assert_eq!(client.head().header("content-length"), Some("6"));
        assert_eq!(client.rest(), b"abc", "whole: {whole}");
    }
}

#[test]
fn a_whole_response_longer_than_its_length_is_cut_to_it() {
    let stage = Stage::new();
    let mut client = stage.client_sending(GET.repeat(2));
    stage
        .exchange()
        .respond(head(200, &[("Content-Length", "3")]), "abcdef")
        .expect("a client");
    assert_eq!(client.reply().body, b"abc");
    stage
        .exchange()
        .respond(head(200, &[]), "next")
        .expect("a client");
    assert_eq!(client.reply().body, b"next");
}

#[test]
fn a_head_request_gets_the_length_and_no_body() {
    let stage = Stage::new();
    let ask = "HEAD / HTTP/1.1\r\nHost: test\r\n\r\n";
    let mut client = stage.client_sending(ask.repeat(3));
    stage
        .exchange()
        .respond(head(200, &[("content-length", "5")]), "hello")
        .expect("a client");
    assert_eq!(client.head().header("content-length"), Some("5"));
    stage
        .exchange()
        .respond(head(200, &[("content-length", "5")]), "")
        .expect("a client");
    assert_eq!(client.head().header("content-length"), Some("5"));
    let exchange = stage.exchange();
    exchange.start_response(head(200, &[])).expect("a client");
    client.head();
    assert_eq!(exchange.write("not for this client"), Ok(()));
    exchange.finish();
    assert!(!exchange.is_gone());
    client.send(GET);
    stage
        .exchange()
        .respond(head(200, &[]), "next")
        .expect("a client");
    assert_eq!(client.reply().body, b"next");
}

#[test]
fn a_status_without_body_has_none() {
    let stage = Stage::new();
    let mut client = stage.client_sending(GET.repeat(3));
    stage
        .exchange()
        .respond(head(204, &[("content-length", "4")]), "body")
        .expect("a client");
    let reply = client.head();
    assert_eq!((reply.status(), reply.header("content-length")), (204, None));
    let exchange = stage.exchange();
    exchange.start_response(head(304, &[])).expect("a client");
    exchange.finish();
    assert_eq!(client.head().status(), 304);
    stage
        .exchange()
        .respond(head(200, &[]), "next")
        .expect("a client");
    assert_eq!(client.reply().body, b"next");
}

#[test]
fn a_205_says_that_it_has_no_body() {
    let stage = Stage::new();
    let mut client = stage.client_sending(GET.repeat(3));
    stage
        .exchange()
        .respond(head(205, &[("content-length", "4")]), "body")
        .expect("a client");
    let exchange = stage.exchange();
    exchange.start_response(head(205, &[])).expect("a client");
    let _ = exchange.write("body");
    exchange.finish();
    stage
        .exchange()
        .respond(head(200, &[]), "next")
        .expect("a client");
    for _ in 0..2 {
        let reply = client.reply();
        let framing = (reply.header("content-length"), reply.header("transfer-encoding"));
        assert_eq!((reply.status(), framing), (205, (Some("0"), None)));
    }
    assert_eq!(client.reply().body, b"next");
}

const IN_CHUNKS: &[(&str, &str)] = &[("Transfer-Encoding", "Chunked"), ("Content-Length", "99")];

#[test]
fn a_body_that_came_in_chunks_is_framed_once() {
    let stage = Stage::new();
    let mut client = stage.client_sending(GET.repeat(3));
    stage
        .exchange()
        .respond(head(200, IN_CHUNKS), "3\r\none\r\n0\r\n\r\n")
        .expect("a client");
    let exchange = stage.exchange();
    exchange.start_response(head(200, IN_CHUNKS)).expect("a client");
    for piece in ["3\r\non", "e\r\n3;x=", "y\r\ntwo\r", "\n0\r\n", "\r\n", "dropped"] {
        exchange.write(piece).expect("a client");
    }
    // The last chunk was the end, whatever the application still does.
    for body in ["one", "onetwo"] {
        assert_eq!(client.reply().body, body.as_bytes());
    }
    exchange.finish();
    drop(exchange);
    let exchange = stage.exchange();
    exchange.start_response(head(200, IN_CHUNKS)).expect("a client");
    exchange.write("no chunk").expect("a client");
    exchange.finish();
    assert_eq!(client.reply().body, b"no chunk");
    assert!(stage.lines.try_recv().is_err(), "nothing to complain of");
}

#[test]
fn chunks_that_break_off_or_lie_cut_the_connection() {
    let stage = Stage::new();
    for (pieces, rest) in [
        (&["3\r\none\r\n", "and no size\r\n"][..], "3\r\none\r\n"),
        (&["3\r\non"], "2\r\non\r\n"),
    ] {
        let mut client = stage.client_sending(GET);
        let exchange = stage.exchange();
        exchange.start_response(head(200, IN_CHUNKS)).expect("a client");
        for piece in pieces {
            let _ = exchange.write(*piece);
        }
        exchange.finish();
        assert_eq!(client.head().status(), 200);
        assert_eq!(String::from_utf8_lossy(&client.rest()), rest);
        stage.line("is not in chunks");
    }
    let mut client = stage.client_sending(GET);
    stage
        .exchange()
        .respond(head(200, IN_CHUNKS), "3\r\none\r\nfive\r\n")
        .expect("a client");
    assert_eq!(client.reply().body, b"3\r\none\r\nfive\r\n");
    stage.line("sent as it is");
}

#[test]
fn an_http_1_0_client_gets_a_body_that_ends_with_the_connection() {
    let stage = Stage::new();
    let mut client = stage.client_sending("GET / HTTP/1.0\r\n\r\n");
    let (request, exchange) = stage.request();
    assert_eq!(request.version(), Version::Http10);
    exchange.start_response(head(200, &[])).expect("a client");
    exchange.write("one").expect("a client");
    exchange.write("two").expect("a client");
    exchange.finish();
    let reply = client.head();
    assert!(reply.status_line.starts_with("HTTP/1.0 200"));
    assert_eq!(reply.header("transfer-encoding"), None);
    assert_eq!(client.rest(), b"onetwo");
}

#[test]
fn an_http_1_0_client_may_keep_the_connection() {
    let stage = Stage::new();
    let mut client = stage.client();
    for _ in 0..2 {
        client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        stage.exchange().respond(head(200, &[]), "ten").expect("a client");
        let reply = client.reply();
        assert_eq!(
            (reply.header("connection"), reply.body.as_slice()),
            (Some("keep-alive"), &b"ten"[..])
        );
    }
}

#[test]
fn connection_close_is_obeyed_from_either_side() {
    let stage = Stage::new();
    let mut client = stage.client_sending("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stage.exchange().respond(head(200, &[]), "bye").expect("a client");
    let reply = client.reply();
    assert_eq!(
        (reply.header("connection"), reply.body.as_slice()),
        (Some("close"), &b"bye"[..])
    );
    client.assert_closed();

    let mut client = stage.client_sending(GET);
    stage
        .exchange()
        .respond(head(200, &[("Connection", "close")]), "bye")
        .expect("a client");
    assert_eq!(client.reply().body, b"bye");
    client.assert_closed();
}

#[test]
fn bodies_arrive_whole_however_they_are_sent() {
    let stage = Stage::new();
    let large = "x".repeat(1_000_000);
    for body in ["", "hello", &large] {
        let length = format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
        for piece in body.as_bytes().chunks(70_001) {
            chunked += &format!(
                "{:x};ext=1\r\n{}\r\n",
                piece.len(),
                std::str::from_utf8(piece).expect("ASCII")
            );
        }
        chunked += "0\r\nTrailer: 1\r\n\r\n";
        let mut client = stage.client();
        let mut writer = Client {
            stream: std::io::BufReader::new(client.stream.get_ref().try_clone().expect("a clone")),
        };
        let sender = std::thread::spawn(move || writer.send(length + &chunked + GET));
        for _ in 0..2 {
            let exchange = stage.exchange();
            let received = stage.body(&exchange).expect("a whole body");
            assert_eq!(received.len(), body.len());
            assert!(received == body.as_bytes());
            assert_eq!(exchange.read_body(1), BodyRead::End);
            exchange.respond(head(200, &[]), "").expect("a client");
            assert_eq!(client.reply().status(), 200);
        }
        assert_eq!(stage.body(&stage.exchange()), Ok(Vec::new()));
        sender.join().expect("all was sent");
    }
}

#[test]
fn a_body_is_read_in_the_pieces_that_are_asked_for() {
    let stage = Stage::new();
    let _client = stage.client_sending("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
    let exchange = stage.exchange();
    if !exchange.wait_body(3) {
        assert_eq!(stage.wakes.recv_timeout(PATIENCE), Ok(3));
    }
    assert_eq!(exchange.read_body(2), BodyRead::Data("he".into()));
    assert_eq!(exchange.read_body(2), BodyRead::Data("ll".into()));
    assert_eq!(exchange.read_body(9), BodyRead::Data("o".into()));
}

#[test]
fn a_client_is_asked_to_continue_only_when_the_application_reads() {
    let stage = Stage::new();
    let ask = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    let mut client = stage.client_sending(ask);
    let exchange = stage.exchange();
    assert_eq!(exchange.read_body(100), BodyRead::Pending);
    assert_eq!(client.head().status_line, "HTTP/1.1 100 Continue");
    client.send("hello");
    assert_eq!(stage.body(&exchange), Ok(b"hello".to_vec()));
    exchange.respond(head(200, &[]), "read").expect("a client");
    assert_eq!(client.reply().body, b"read");

    // Not read: the final answer comes first, and the connection ends because the body may still follow.
    client.send(ask);
    stage.exchange().respond(head(403, &[]), "no").expect("a client");
    assert_eq!(client.reply().status(), 403);
    client.assert_closed();
}

#[test]
fn an_application_that_ends_without_an_answer_gives_500() {
    let stage = Stage::new();
    let mut client = stage.client_sending(GET.repeat(2));
    drop(stage.exchange());
    let reply = client.reply();
    assert_eq!(reply.status(), 500);
    assert!(String::from_utf8_lossy(&reply.body).contains("ended without a response"));
    stage.line("ended without a response");
    stage
        .exchange()
        .respond(head(200, &[]), "next")
        .expect("a client");
    assert_eq!(client.reply().body, b"next");
}

#[test]
fn an_application_that_ends_in_mid_response_cuts_the_connection() {
    let stage = Stage::new();
    let mut client = stage.client_sending(GET);
    let exchange = stage.exchange();
    exchange.start_response(head(200, &[])).expect("a client");
    exchange.write("begun").expect("a client");
    client.head();
    drop(exchange);
    assert_eq!(
        client.rest(),
        b"5\r\nbegun\r\n",
        "no last chunk pretends that this was all"
    );
    stage.line("in the middle of its response");
}

#[test]
fn abort_cuts_the_connection() {
    let stage = Stage::new();
    let mut client = stage.client_sending(GET);
    let exchange = stage.exchange();
    exchange.start_response(head(200, &[])).expect("a client");
    exchange.write("begun").expect("a client");
    client.head();
    exchange.abort("the database is down");
    assert_eq!(client.rest(), b"5\r\nbegun\r\n");
    stage.line("the database is down");
    assert_eq!(exchange.write("more"), Err(Gone));

    let mut client = stage.client_sending(GET);
    stage.exchange().abort("before the head");
    client.assert_closed();
}

#[test]
fn what_was_written_before_a_cut_still_arrives() {
    let stage = Stage::new();
    let large = "x".repeat(2_000_000);
    for (round, piece) in ["begun"; 100].into_iter().chain([large.as_str(); 3]).enumerate() {
        let mut client = stage.client_sending(GET);
        let exchange = stage.exchange();
        exchange
            .start_response(head(200, &[("Content-Length", "3000000")]))
            .expect("a client");
        // The head has left, so the piece and the cut meet the front in one turn, or nearly.
        client.head();
        exchange.write(piece.to_owned()).expect("a client");
        exchange.abort("on purpose");
        assert_eq!(client.rest().len(), piece.len(), "round {round}");
    }
}

#[test]
fn an_invalid_response_head_becomes_500_and_one_line() {
    let stage = Stage::new();
    for (status, name, value, complaint) in [
        (200, "x-split", "a\r\nset-cookie: b", "\"x-split\""),
        (200, "x split", "a", "\"x split\""),
        (200, "content-length", "many", "not a number"),
        (42, "x", "y", "status 42"),
        (101, "x", "y", "status 101"),
        (103, "x", "y", "status 103"),
    ] {
        let mut client = stage.client_sending(GET);
        stage
            .exchange()
            .respond(head(status, &[(name, value)]), "body")
            .expect("a client");
        assert_eq!(client.reply().status(), 500, "{complaint}");
        stage.line(complaint);
    }
}

#[test]
fn an_answer_with_101_is_no_handshake_whatever_the_client_has_asked_for() {
    let stage = Stage::new();
    let mut client = stage.client_sending(support::HANDSHAKE);
    stage
        .exchange()
        .respond(support::switching(), "")
        .expect("a client");
    assert_eq!(client.reply().status(), 500);
    stage.line("accept the handshake instead");
}

#[test]
fn only_the_first_answer_counts() {
    let stage = Stage::new();
    let mut client = stage.client_sending(GET);
    let exchange = stage.exchange();
    assert_eq!(exchange.write("too early"), Err(Gone));
    exchange.respond(head(200, &[]), "first").expect("a client");
    assert_eq!(exchange.respond(head(200, &[]), "second"), Err(Gone));
    assert_eq!(exchange.start_response(head(200, &[])), Err(Gone));
    assert_eq!(client.reply().body, b"first");
    assert!(!exchange.is_gone(), "the client has got its answer");
}

#[test]
fn a_unix_socket_speaks_the_same() {
    let directory = std::env::temp_dir().join(format!("fairlead-front-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let path = directory.join("http.sock");
    let path = path.to_str().expect("UTF-8");
    for name in [path, "@fairlead-front-test", path] {
        // The second turn at the same path replaces the file that the first one left behind.
        let stage = Stage::on(
            Listener::bind(name).expect("a UNIX listener"),
            support::front_settings(),
            true,
        );
        assert_eq!(stage.address, Address::Unix(name.to_owned()));
        let stream = if let Some(name) = name.strip_prefix('@') {
            use std::os::linux::net::SocketAddrExt;
            let address = std::os::unix::net::SocketAddr::from_abstract_name(name).expect("a name");
            UnixStream::connect_addr(&address)
        } else {
            UnixStream::connect(name)
        };
        let mut client = Client {
            stream: std::io::BufReader::new(stream.expect("the front accepts")),
        };
        client.send(GET);
        let (request, exchange) = stage.request();
        assert_eq!(request.peer(), &Address::Unix(String::new()));
        exchange.respond(head(200, &[]), "unix").expect("a client");
        assert_eq!(client.reply().body, b"unix");
    }
    let busy = Listener::bind(path).expect("the file is stale");
    let error = Listener::bind(path).expect_err("somebody listens").to_string();
    assert!(error.contains(path), "{error}");
    drop(busy);
    std::fs::remove_dir_all(&directory).expect("an own directory");
}
