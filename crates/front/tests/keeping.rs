//! Which connections are kept behind an answer, and that those which are not say so (RFC 9112 §9.6): a client that sends its
//! next request into a close nobody told it of has lost it.

mod support;

use std::net::TcpStream;
use std::time::Duration;

use fairlead_front::{BodyRead, FrontSettings};
use support::{head, Client, Reply, Stage, GET, PATIENCE};

/// All that a reply says about its connection.
fn persistence(reply: &Reply) -> Vec<&str> {
    reply
        .headers
        .iter()
        .filter(|(name, _)| name == "connection")
        .map(|(_, value)| value.as_str())
        .collect()
}

/// Answers one request at once, whatever came of its body.
fn answer(stage: &Stage, client: &mut Client<TcpStream>) -> Reply {
    stage.exchange().respond(head(401, &[]), "no").expect("a client");
    let reply = client.reply();
    assert_eq!((reply.status(), reply.body.as_slice()), (401, &b"no"[..]));
    reply
}

fn post(lines: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
}

#[test]
fn a_short_rest_of_a_body_that_nobody_reads_is_skipped() {
    let stage = Stage::new();
    let mut client = stage.client();
    for body in ["x".repeat(10), "x".repeat(60_000)] {
        // Before the answer, behind it, and in two parts around it.
        for before in [body.len(), 0, body.len() / 2] {
            client.send(post(&format!("Content-Length: {}\r\n", body.len())));
            client.send(&body[..before]);
            assert_eq!(persistence(&answer(&stage, &mut client)), [""; 0], "{before}");
            client.send(&body[before..]);
        }
    }
    client.send(GET);
    assert_eq!(persistence(&answer(&stage, &mut client)), [""; 0]);
    assert_eq!(stage.front.statistics().accepted, 1);
}

#[test]
fn what_the_application_has_left_of_a_body_behind_the_head_of_its_answer_is_skipped_too() {
    let stage = Stage::new();
    let mut client = stage.client_sending(post("Content-Length: 10\r\n"));
    let exchange = stage.exchange();
    exchange.start_response(head(200, &[])).expect("a client");
    exchange.write("begun ").expect("a client");
    client.send("01234");
    while exchange.received() < 5 {
        if !exchange.wait_more(3, exchange.received()) {
            assert_eq!(stage.wakes.recv_timeout(PATIENCE), Ok(3));
        }
    }
    exchange.write("and ended").expect("a client");
    exchange.finish();
    assert_eq!(client.reply().body, b"begun and ended");
    client.send("56789");
    client.send(GET);
    answer(&stage, &mut client);
}

#[test]
fn a_long_rest_an_unknown_one_and_one_that_waits_for_permission_end_the_connection_with_a_word() {
    let stage = Stage::new();
    for lines in [
        "Content-Length: 1000000\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Content-Length: 4\r\nExpect: 100-continue\r\n",
    ] {
        let mut client = stage.client_sending(post(lines));
        assert_eq!(persistence(&answer(&stage, &mut client)), ["close"], "{lines}");
        // Whatever the client still sends is read, so that no reset takes the answer back.
        client.send("body");
        client.assert_closed();
    }
}

#[test]
fn an_application_that_reads_while_it_answers_keeps_its_connection_if_it_reads_all() {
    let stage = Stage::new();
    for (rest, is_kept) in [("", true), ("6\r\nunread\r\n", true), ("", false)] {
        let mut client = stage.client_sending(post("Transfer-Encoding: chunked\r\n") + "4\r\nread\r\n");
        let exchange = stage.exchange();
        while exchange.read_body(4) == BodyRead::Pending {
            if !exchange.wait_body(3) {
                assert_eq!(stage.wakes.recv_timeout(PATIENCE), Ok(3));
            }
        }
        exchange.start_response(head(200, &[])).expect("a client");
        exchange.write("heard").expect("a client");
        assert_eq!(persistence(&client.head()), [""; 0]);
        if is_kept {
            exchange.finish();
            client.send(format!("{rest}0\r\n\r\n"));
            assert_eq!(client.exactly(15), b"5\r\nheard\r\n0\r\n\r\n");
            client.send(GET);
            answer(&stage, &mut client);
        } else {
            exchange.finish();
            assert_eq!(client.exactly(15), b"5\r\nheard\r\n0\r\n\r\n");
            client.send([&b"20000\r\n"[..], &[b'x'; 0x20000], b"\r\n0\r\n\r\n"].concat());
            client.assert_closed();
        }
    }
}

#[test]
fn no_rest_is_waited_for_where_the_connection_closes_anyway() {
    let stage = Stage::new();
    for (request, says) in [
        (post("Content-Length: 10\r\nConnection: close\r\n"), ""),
        (post("Content-Length: 10\r\n"), "close"),
        ("POST / HTTP/1.0\r\nContent-Length: 10\r\n\r\n".to_owned(), ""),
    ] {
        let mut client = stage.client_sending(&request);
        let extra = [("Connection", says)];
        let extra = &extra[..usize::from(!says.is_empty())];
        stage
            .exchange()
            .respond(head(401, extra), "no")
            .expect("a client");
        assert_eq!(persistence(&client.reply()), ["close"], "{request}");
        client.assert_closed();
    }
}

#[test]
fn a_body_in_chunks_that_has_come_whole_keeps_its_connection() {
    let stage = Stage::new();
    let mut client = stage.client_sending(post("Transfer-Encoding: chunked\r\n") + "4\r\nbody\r\n0\r\n\r\n");
    let exchange = stage.exchange();
    assert_eq!(stage.body(&exchange), Ok(b"body".to_vec()));
    exchange.respond(head(401, &[]), "no").expect("a client");
    assert_eq!(persistence(&client.reply()), [""; 0]);
    client.send(GET);
    answer(&stage, &mut client);
}

#[test]
fn a_rest_that_does_not_come_has_the_time_of_a_silent_connection() {
    let stage = Stage::with(FrontSettings {
        keep_alive_timeout: Duration::from_millis(200),
        ..support::front_settings()
    });
    let mut client = stage.client_sending(post("Content-Length: 50000\r\n"));
    answer(&stage, &mut client);
    assert_eq!(client.trickle(b"x"), b"", "in all, and not from byte to byte");
    assert_eq!(stage.front.statistics().timed_out, 1);
}

#[test]
fn an_http_1_0_client_is_told_that_the_end_of_the_connection_ends_its_body() {
    let stage = Stage::new();
    for extra in [&[][..], &[("Connection", "keep-alive")]] {
        let mut client = stage.client_sending("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        let exchange = stage.exchange();
        exchange.start_response(head(200, extra)).expect("a client");
        exchange.write("one").expect("a client");
        exchange.finish();
        let reply = client.reply();
        assert_eq!(
            (persistence(&reply), reply.body.as_slice()),
            (vec!["close"], &b"one"[..])
        );
    }
}

#[test]
fn an_http_1_0_client_hears_one_word_and_no_contradiction() {
    let stage = Stage::new();
    let request = "POST / HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 1000000\r\n\r\n";
    let mut client = stage.client_sending(request);
    assert_eq!(persistence(&answer(&stage, &mut client)), ["close"]);
    client.assert_closed();
    let mut client = stage.client_sending("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let closing = head(200, &[("Connection", "close")]);
    stage.exchange().respond(closing, "").expect("a client");
    assert_eq!(persistence(&client.reply()), ["close"]);
    client.assert_closed();
    let mut client = stage.client_sending("GET * HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let refused = client.reply();
    assert_eq!((refused.status(), persistence(&refused)), (400, vec!["close"]));
    client.assert_closed();
}

#[test]
fn whoever_says_close_among_other_words_means_it() {
    let stage = Stage::new();
    for (version, lines) in [
        ("1.1", "Connection: close, keep-alive\r\n"),
        ("1.1", "Connection: keep-alive, close\r\n"),
        ("1.1", "Connection: close\r\nConnection: keep-alive\r\n"),
        ("1.0", "Connection: close, keep-alive\r\n"),
        ("1.0", "Connection: keep-alive\r\nConnection: close\r\n"),
        ("1.0", "Connection: close\r\nConnection: keep-alive\r\n"),
    ] {
        let mut client = stage.client_sending(format!("GET / HTTP/{version}\r\nHost: a\r\n{lines}\r\n"));
        assert_eq!(
            persistence(&answer(&stage, &mut client)),
            ["close"],
            "{version} {lines}"
        );
        client.assert_closed();
    }
}
