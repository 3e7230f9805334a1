//! What the front refuses, as a table: bytes in, status out, and whether the application saw the request.
//!
//! A refused request never reaches the application, its connection is closed, and one line names the peer and the rule. The
//! rows that are served stand here too: they are the border of each rule.

mod support;

use fairlead_front::{BodyError, FrontSettings};
use support::{head, Stage, GET, HANDSHAKE};

/// A request that shows up behind a refused one would be the smuggled one.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

struct Row {
    name: &'static str,
    bytes: String,
    status: u16,
}

fn row(name: &'static str, bytes: impl Into<String>, status: u16) -> Row {
    Row {
        name,
        bytes: bytes.into(),
        status,
    }
}

/// A POST with these header lines and this body.
fn post(lines: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n{body}")
}

fn get(lines: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
}

fn table() -> Vec<Row> {
    let chunked = "0\r\n\r\n";
    vec![
        // Two ways to say where the body ends (RFC 9112 §6.1, §6.3).
        row(
            "length and coding",
            post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", chunked),
            400,
        ),
        row(
            "coding and length",
            post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", chunked),
            400,
        ),
        row(
            "coding and length, other case",
            post("tRANSFER-eNCODING: chunked\r\ncONTENT-lENGTH: 5\r\n", chunked),
            400,
        ),
        row(
            "two different lengths",
            post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello!"),
            400,
        ),
        row(
            "two equal lengths",
            post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"),
            400,
        ),
        row(
            "a list of lengths",
            post("Content-Length: 5, 5\r\n", "hello"),
            400,
        ),
        row("one length", post("Content-Length: 5\r\n", "hello"), 200),
        // A length that is no number.
        row("negative length", post("Content-Length: -1\r\n", ""), 400),
        row("signed length", post("Content-Length: +5\r\n", "hello"), 400),
        row(
            "hexadecimal length",
            post("Content-Length: 0x5\r\n", "hello"),
            400,
        ),
        row("empty length", post("Content-Length: \r\n", ""), 400),
        row(
            "length with a space inside",
            post("Content-Length: 5 5\r\n", "hello"),
            400,
        ),
        row(
            "length beyond 64 bits",
            post("Content-Length: 99999999999999999999\r\n", ""),
            400,
        ),
        row(
            "length with white space around",
            post("Content-Length: \t5 \t\r\n", "hello"),
            200,
        ),
        // Transfer codings.
        row("unknown coding", post("Transfer-Encoding: gzip\r\n", ""), 400),
        row(
            "unknown coding, then chunked",
            post("Transfer-Encoding: gzip, chunked\r\n", chunked),
            400,
        ),
        row(
            "chunked, then unknown",
            post("Transfer-Encoding: chunked, gzip\r\n", chunked),
            400,
        ),
        row(
            "chunked twice",
            post("Transfer-Encoding: chunked, chunked\r\n", chunked),
            400,
        ),
        row(
            "chunked on two lines",
            post(
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                chunked,
            ),
            400,
        ),
        row("identity", post("Transfer-Encoding: identity\r\n", ""), 400),
        row(
            "quoted chunked",
            post("Transfer-Encoding: \"chunked\"\r\n", chunked),
            400,
        ),
        row(
            "chunked after a vertical tab",
            post("Transfer-Encoding: \x0bchunked\r\n", chunked),
            400,
        ),
        row("xchunked", post("Transfer-Encoding: xchunked\r\n", chunked), 400),
        row(
            "chunked in HTTP/1.0",
            format!("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}"),
            400,
        ),
        row("chunked", post("Transfer-Encoding: chunked\r\n", chunked), 200),
        row(
            "chunked in capitals",
            post("Transfer-Encoding: CHUNKED\r\n", chunked),
            200,
        ),
        // Lines (RFC 9112 §2.2, §5).
        row("folded line", get("X: a\r\n b\r\n"), 400),
        row("folded first line", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
        row("space before the colon", get("X : a\r\n"), 400),
        row("tab before the colon", get("X\t: a\r\n"), 400),
        row("no colon", get("X\r\n"), 400),
        row("no name", get(": a\r\n"), 400),
        row("bare CR in a value", get("X: a\rb\r\n"), 400),
        row(
            "bare CR ends a line",
            "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
            400,
        ),
        row(
            "bare LF ends the request line",
            "GET / HTTP/1.1\nHost: a\r\n\r\n",
            400,
        ),
        row(
            "bare LF ends a header",
            "GET / HTTP/1.1\r\nX: a\nHost: a\r\n\r\n",
            400,
        ),
        row("bare LF ends the head", "GET / HTTP/1.1\r\nHost: a\r\n\n", 400),
        row(
            "LF hides a coding",
            post(
                "X: a\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n",
                chunked,
            ),
            400,
        ),
        row("NUL in a value", get("X: a\0b\r\n"), 400),
        row("escape in a value", get("X: a\x1bb\r\n"), 400),
        row("vertical tab in a value", get("X: a\x0bb\r\n"), 400),
        row("file separator in a value", get("X: a\x1cb\r\n"), 400),
        row("DEL in a value", get("X: a\x7fb\r\n"), 400),
        row("NUL in a name", get("X\0: a\r\n"), 400),
        row("letter beyond ASCII in a name", get("\u{e4}: a\r\n"), 400),
        row("tab and UTF-8 in a value", get("X: a\t\u{20ac}\r\n"), 200),
        row(
            "empty lines before the request line",
            format!("\r\n\r\n{GET}"),
            200,
        ),
        // The request line.
        row(
            "two spaces in the request line",
            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            400,
        ),
        row("no version", "GET /\r\nHost: a\r\n\r\n", 400),
        row(
            "minor version above ours",
            "GET / HTTP/1.9\r\nHost: a\r\n\r\n",
            200,
        ),
        row(
            "minor version of two digits",
            "GET / HTTP/1.20\r\nHost: a\r\n\r\n",
            400,
        ),
        row("fragment", "GET /x#y HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        row(
            "user in an absolute target",
            "GET http://u@evil/ HTTP/1.1\r\nHost: a\r\n\r\n",
            400,
        ),
        row("version 2 in words", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 400),
        row(
            "control byte in the target",
            "GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
            400,
        ),
        row("space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        row(
            "method that is no token",
            "G(T / HTTP/1.1\r\nHost: a\r\n\r\n",
            400,
        ),
        row("TLS on a plain port", "\x16\x03\x01\x02\0\x01\0\x01\r\n\r\n", 400),
        row("CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 501),
        row("unusual method", "BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        // Host (RFC 9112 §3.2).
        row("no host", "GET / HTTP/1.1\r\n\r\n", 400),
        row("two hosts", get("Host: b\r\n"), 400),
        row(
            "two hosts in HTTP/1.0",
            "GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n",
            400,
        ),
        row("no host in HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", 200),
        row("empty host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", 200),
        // Upgrades (CVE-2026-69243).
        row(
            "upgrade with a length",
            HANDSHAKE.replace("\r\n\r\n", "\r\nContent-Length: 5\r\n\r\nhello"),
            400,
        ),
        row(
            "upgrade with chunks",
            HANDSHAKE.replace("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            400,
        ),
        row(
            "upgrade to something else with a body",
            post("Upgrade: h2c\r\nContent-Length: 5\r\n", "hello"),
            200,
        ),
        row(
            "upgrade in HTTP/1.0 with a body",
            "POST / HTTP/1.0\r\nUpgrade: websocket\r\nContent-Length: 5\r\n\r\nhello",
            200,
        ),
    ]
}

#[test]
fn every_row_gets_its_status_and_nothing_is_smuggled() {
    for row in table() {
        let stage = Stage::new();
        let mut client = stage.client_sending(row.bytes.clone() + SMUGGLED);
        if row.status == 200 {
            stage.exchange().respond(head(200, &[]), "").expect("a client");
            assert_eq!(client.reply().status(), 200, "{}", row.name);
            // The front would wait for an answer to what follows.
            support::reset(client);
            continue;
        }
        let reply = client.reply();
        assert_eq!(reply.status(), row.status, "{}", row.name);
        assert_eq!(reply.header("connection"), Some("close"), "{}", row.name);
        client.assert_closed();
        assert!(
            stage.requests.try_recv().is_err(),
            "{}: the application saw a request",
            row.name
        );
        let line = stage.line("refused");
        let peer = client
            .stream
            .get_ref()
            .local_addr()
            .expect("an address")
            .to_string();
        assert!(line.starts_with(&peer), "{}: {line}", row.name);
        assert_eq!(stage.front.statistics().refused, 1, "{}", row.name);
    }
}

#[test]
fn the_second_request_of_a_connection_keeps_the_same_rules() {
    for row in table().into_iter().filter(|row| row.status == 400) {
        let stage = Stage::new();
        let first = post("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n");
        let mut client = stage.client_sending(first + &row.bytes + SMUGGLED);
        let exchange = stage.exchange();
        assert_eq!(stage.body(&exchange), Ok(b"hello".to_vec()), "{}", row.name);
        exchange.respond(head(200, &[]), "").expect("a client");
        assert_eq!(client.reply().status(), 200, "{}", row.name);
        assert_eq!(client.reply().status(), 400, "{}", row.name);
        client.assert_closed();
        assert!(stage.requests.try_recv().is_err(), "{}", row.name);
    }
}

#[test]
fn a_broken_chunk_fails_the_body_and_ends_the_connection() {
    for chunks in [
        "5\r\nhelloX",
        "5\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n",
        "\r\n",
        "5;a\nb\r\nhello\r\n",
        "fffffffffffffffff\r\n",
    ] {
        let stage = Stage::new();
        let mut client = stage.client_sending(post("Transfer-Encoding: chunked\r\n", chunks) + SMUGGLED);
        let exchange = stage.exchange();
        let why = stage.body(&exchange).expect_err(chunks);
        assert_eq!(why.status(), Some(400), "{chunks:?}: {why}");
        exchange.respond(head(400, &[]), "bad body").expect("a client");
        let reply = client.reply();
        assert_eq!(reply.status(), 400, "{chunks:?}");
        assert_eq!(reply.header("connection"), Some("close"), "{chunks:?}");
        client.assert_closed();
        assert!(stage.requests.try_recv().is_err(), "{chunks:?}");
    }
}

#[test]
fn a_line_feed_alone_among_the_trailers_breaks_the_body_although_hyper_takes_it() {
    for trailers in ["X: 1\n\r\n", "X: 1\n\n", "X: 1\r\n\n"] {
        let stage = Stage::new();
        let body = format!("3\r\nabc\r\n0\r\n{trailers}{SMUGGLED}");
        let mut client = stage.client_sending(post("Transfer-Encoding: chunked\r\n", &body));
        let exchange = stage.exchange();
        let why = stage.body(&exchange).expect_err(trailers);
        assert_eq!(why.status(), Some(400), "{trailers:?}: {why}");
        exchange.respond(head(400, &[]), "bad body").expect("a client");
        assert_eq!(client.reply().status(), 400, "{trailers:?}");
        client.assert_closed();
        assert!(stage.requests.try_recv().is_err(), "{trailers:?}");
    }
}

#[test]
fn behind_a_broken_body_that_nobody_read_no_request_is_served() {
    let stage = Stage::new();
    // So short that hyper skips all of it and goes on to the next request.
    let body = format!("0\r\nX: 1\n\r\n\r\n{SMUGGLED}");
    let expecting = "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n";
    let mut client = stage.client_sending(post(expecting, &body));
    stage.exchange().respond(head(200, &[]), "").expect("a client");
    assert_eq!(client.reply().status(), 200);
    let rest = String::from_utf8_lossy(&client.rest()).into_owned();
    assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 400"), "{rest}");
    assert!(stage.requests.try_recv().is_err());
}

#[test]
fn an_http_2_preface_where_http_2_is_off_is_closed_with_one_line() {
    let stage = Stage::with(FrontSettings {
        http2: false,
        ..support::front_settings()
    });
    let mut client = stage.client_sending("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    client.assert_closed();
    stage.line("refused");
}

#[test]
fn a_head_that_is_too_large_gets_431() {
    let settings = FrontSettings {
        max_header_bytes: 8192,
        max_headers: 20,
        ..support::front_settings()
    };
    for (lines, status) in [
        ("X: a\r\n".repeat(19), 200),
        ("X: a\r\n".repeat(20), 431),
        (format!("X: {}\r\n", "a".repeat(8000)), 200),
        (format!("X: {}\r\n", "a".repeat(8192)), 431),
        (format!("X: {}\r\n", "a".repeat(1_000_000)), 431),
    ] {
        let stage = Stage::with(settings.clone());
        let mut client = stage.client();
        let mut writer = support::Client {
            stream: std::io::BufReader::new(client.stream.get_ref().try_clone().expect("a clone")),
        };
        let sender = std::thread::spawn(move || {
            use std::io::Write;
            // The front may close before it has read all of it.
            let _ = writer.stream.get_mut().write_all(get(&lines).as_bytes());
        });
        if status == 200 {
            stage.exchange().respond(head(200, &[]), "").expect("a client");
        }
        assert_eq!(client.reply().status(), status);
        drop(client);
        sender.join().expect("the sender ends");
    }
}

#[test]
fn a_body_beyond_the_limit_gets_413_or_fails() {
    let stage = Stage::with(FrontSettings {
        max_body: Some(4),
        ..support::front_settings()
    });
    let mut client = stage.client_sending(post("Content-Length: 5\r\n", "hello"));
    assert_eq!(client.reply().status(), 413);
    client.assert_closed();
    assert!(stage.requests.try_recv().is_err());

    let mut client = stage.client_sending(post("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"));
    let exchange = stage.exchange();
    let why = stage.body(&exchange).expect_err("too long");
    assert_eq!(why, BodyError::TooLarge(4));
    exchange.respond(head(413, &[]), "").expect("a client");
    let reply = client.reply();
    assert_eq!((reply.status(), reply.header("connection")), (413, Some("close")));

    let _client = stage.client_sending(post("Content-Length: 4\r\n", "four"));
    assert_eq!(stage.body(&stage.exchange()), Ok(b"four".to_vec()));
}
