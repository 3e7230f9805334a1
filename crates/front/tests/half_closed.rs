//! Clients that have ended their side: what they have asked for whole is answered, as the last answer of the connection.
//! Only a client that is gone altogether is gone for the application.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use fairlead_front::{BodyError, BoundListener, Exchange, Gone, Listener, ListenerConfig, Protocol};
use support::{head, reset, Client, Stage, GET, HANDSHAKE, PATIENCE};

const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody";

/// A client that has said all it will say.
fn having_sent(stage: &Stage, bytes: impl AsRef<[u8]>) -> Client<TcpStream> {
    let mut client = stage.client_sending(bytes);
    client.end_sending();
    client
}

/// Waits until the front has had a turn for what lies in its sockets: whole requests of others are through.
fn let_the_front_read(stage: &Stage) {
    for _ in 0..2 {
        let mut other = stage.client_sending(GET);
        stage.exchange().respond(head(200, &[]), "").expect("a client");
        assert_eq!(other.reply().status(), 200);
    }
}

fn wait_gone(exchange: &Exchange) {
    let until = std::time::Instant::now() + PATIENCE;
    while !exchange.is_gone() {
        assert!(std::time::Instant::now() < until, "nobody noticed");
        std::thread::yield_now();
    }
}

#[test]
fn a_request_behind_which_the_client_has_ended_its_side_is_answered_as_the_last() {
    let stage = Stage::new();
    for (sent, body) in [(GET, ""), (POST, "body")] {
        let mut client = having_sent(&stage, sent);
        let exchange = stage.exchange();
        let_the_front_read(&stage);
        assert!(!exchange.is_gone());
        assert_eq!(stage.body(&exchange), Ok(body.as_bytes().to_vec()));
        exchange.respond(head(200, &[]), "answer").expect("a client");
        let reply = client.reply();
        assert_eq!((reply.status(), reply.header("connection")), (200, Some("close")));
        assert_eq!(reply.body, b"answer");
        client.assert_closed();
    }
}

#[test]
fn every_request_that_came_before_the_end_is_answered_and_only_the_last_closes() {
    let stage = Stage::new();
    let mut client = having_sent(&stage, GET.repeat(3));
    for last in [None, None, Some("close")] {
        stage.exchange().respond(head(200, &[]), "one").expect("a client");
        let reply = client.reply();
        assert_eq!(
            (reply.body.as_slice(), reply.header("connection")),
            (&b"one"[..], last)
        );
    }
    client.assert_closed();
}

#[test]
fn an_end_behind_the_head_of_an_answer_lets_the_rest_of_it_through() {
    let stage = Stage::new();
    let mut client = stage.client_sending(GET);
    let exchange = stage.exchange();
    exchange.start_response(head(200, &[])).expect("a client");
    exchange.write("begun").expect("a client");
    assert_eq!(client.head().status(), 200);
    client.end_sending();
    let_the_front_read(&stage);
    let large = vec![b'x'; 4 << 20];
    exchange.write(large.clone()).expect("a client");
    exchange.finish();
    let rest = client.rest();
    // With the zero that has asked whether the client is there.
    assert!(rest.starts_with(b"5\r\nbegun\r\n0400000\r\nxx") && rest.ends_with(b"x\r\n0\r\n\r\n"));
    assert!(rest.len() > large.len());
}

#[test]
fn a_whole_answer_that_the_client_takes_slowly_is_not_cut_by_the_end_of_its_side() {
    let stage = Stage::new();
    let mut client = stage.client_sending("GET / HTTP/1.0\r\n\r\n");
    let large = vec![b'x'; 16 << 20];
    stage
        .exchange()
        .respond(head(200, &[]), large.clone())
        .expect("a client");
    assert_eq!(client.head().status(), 200);
    client.end_sending();
    let_the_front_read(&stage);
    assert!(client.rest() == large);
}

#[test]
fn an_end_inside_a_body_fails_the_body_and_the_application_may_answer() {
    let stage = Stage::new();
    let mut client = having_sent(&stage, &POST[..POST.len() - 2]);
    let exchange = stage.exchange();
    assert_eq!(stage.body(&exchange), Err(BodyError::Gone));
    exchange.respond(head(400, &[]), "half").expect("a client");
    let reply = client.reply();
    assert_eq!((reply.status(), reply.header("connection")), (400, Some("close")));
    client.assert_closed();
}

#[test]
fn a_reset_behind_the_end_of_its_side_is_a_client_that_is_gone() {
    let stage = Stage::new();
    for streams in [false, true] {
        let client = having_sent(&stage, GET);
        let exchange = stage.exchange();
        let_the_front_read(&stage);
        if streams {
            exchange.start_response(head(200, &[])).expect("a client");
        }
        reset(client);
        wait_gone(&exchange);
        assert_eq!(exchange.write("late"), Err(Gone));
    }
}

#[test]
fn a_client_that_has_closed_between_two_chunks_is_gone_although_nothing_is_sent() {
    let stage = Stage::new();
    let mut client = stage.client_sending(GET);
    let exchange = stage.exchange();
    exchange.start_response(head(200, &[])).expect("a client");
    exchange.write("begun").expect("a client");
    assert_eq!(client.head().status(), 200);
    assert_eq!(client.exactly(10), b"5\r\nbegun\r\n");
    drop(client);
    wait_gone(&exchange);
}

#[test]
fn a_client_that_has_ended_its_side_between_two_chunks_gets_a_whole_body() {
    let stage = Stage::new();
    for pieces in [&[][..], &["and goes on"]] {
        let mut client = stage.client_sending(GET);
        let exchange = stage.exchange();
        exchange.start_response(head(200, &[])).expect("a client");
        exchange.write("begun").expect("a client");
        assert_eq!(client.head().status(), 200);
        assert_eq!(client.exactly(10), b"5\r\nbegun\r\n");
        client.end_sending();
        // The front has asked whether it is there.
        assert_eq!(client.exactly(1), b"0");
        let mut rest = String::new();
        for piece in pieces {
            exchange.write(*piece).expect("a client");
            rest = format!("{:X}\r\n{piece}\r\n", piece.len());
        }
        exchange.finish();
        rest.push_str("0\r\n\r\n");
        assert_eq!(String::from_utf8_lossy(&client.rest()), rest);
    }
}

#[test]
fn a_client_of_a_unix_socket_that_has_closed_is_gone_and_one_that_has_ended_its_side_is_not() {
    let name = format!("@fairlead-half-closed-{}", std::process::id());
    let stage = Stage::on(
        Listener::bind(&name).expect("a name"),
        support::front_settings(),
        true,
    );
    let connect = || {
        let mut client = stage.unix_client();
        client.write_all(GET.as_bytes()).expect("the front reads");
        (client, stage.exchange())
    };
    let (client, exchange) = connect();
    drop(client);
    wait_gone(&exchange);

    let (mut client, exchange) = connect();
    client.shutdown(std::net::Shutdown::Write).expect("open");
    let (other, others) = connect();
    others.respond(head(200, &[]), "").expect("a client");
    drop(other);
    assert!(!exchange.is_gone());
    exchange.respond(head(200, &[]), "answer").expect("a client");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("an end");
    assert!(answer.ends_with("answer"), "{answer}");

    let (client, exchange) = connect();
    client.shutdown(std::net::Shutdown::Write).expect("open");
    drop(client);
    wait_gone(&exchange);
}

#[test]
fn a_handshake_without_a_way_back_is_no_client() {
    let stage = Stage::new();
    let _client = having_sent(&stage, HANDSHAKE);
    wait_gone(&stage.exchange());
}

#[test]
fn a_uwsgi_packet_behind_which_the_peer_has_ended_its_side_is_answered() {
    let listener = Listener::bind("127.0.0.1:0").expect("a free port");
    let config = ListenerConfig {
        protocol: Protocol::Uwsgi,
        ..ListenerConfig::default()
    };
    let stage = Stage::on(
        BoundListener { listener, config },
        support::front_settings(),
        true,
    );
    let mut block = Vec::new();
    for text in [
        "REQUEST_METHOD",
        "POST",
        "REQUEST_URI",
        "/",
        "PATH_INFO",
        "/",
        "CONTENT_LENGTH",
        "4",
    ] {
        block.extend_from_slice(&(text.len() as u16).to_le_bytes());
        block.extend_from_slice(text.as_bytes());
    }
    let mut packet = vec![0];
    packet.extend_from_slice(&(block.len() as u16).to_le_bytes());
    packet.push(0);
    packet.extend_from_slice(&block);
    packet.extend_from_slice(b"body");
    let mut client = having_sent(&stage, packet);
    let exchange: Arc<Exchange> = stage.exchange();
    assert_eq!(stage.body(&exchange), Ok(b"body".to_vec()));
    exchange.respond(head(200, &[]), "answer").expect("a client");
    assert!(client.rest().ends_with(b"answer"));
}

#[test]
fn a_client_that_ends_its_side_while_it_waits_for_a_slot_is_gone() {
    let stage = Stage::new();
    let mut client = stage.client_sending(GET);
    let exchange = stage.exchange();
    exchange.wait_for_slot();
    client.end_sending();
    wait_gone(&exchange);
    client.assert_closed();

    // One that has got a slot is answered, whether anybody has begun with it or not.
    for begins in [false, true] {
        let mut client = stage.client_sending(GET);
        let exchange = stage.exchange();
        exchange.wait_for_slot();
        exchange.admit();
        if begins {
            exchange.begin();
        }
        client.end_sending();
        let_the_front_read(&stage);
        exchange.respond(head(200, &[]), "answer").expect("a client");
        assert_eq!(client.reply().body, b"answer");
    }
}

#[test]
fn a_client_that_has_left_before_there_was_room_to_accept_it_is_gone() {
    let listener = Listener::bind("127.0.0.1:0").expect("a free port");
    let stage = Stage::on(listener, support::front_settings(), false);
    let mut left = having_sent(&stage, GET);
    let mut here = stage.client_sending(GET);
    assert_eq!(stage.room_questions.recv_timeout(PATIENCE), Ok(false));
    assert_eq!(stage.room_questions.recv_timeout(PATIENCE), Ok(false));
    stage.room.store(true, std::sync::atomic::Ordering::SeqCst);
    stage.front.room_available();
    wait_gone(&stage.exchange());
    left.assert_closed();
    stage
        .exchange()
        .respond(head(200, &[]), "answer")
        .expect("a client");
    assert_eq!(here.reply().body, b"answer");
    // Whoever comes now has not waited; nor has a second request.
    here.send(GET);
    let exchange = stage.exchange();
    here.end_sending();
    let mut quick = having_sent(&stage, GET);
    stage
        .exchange()
        .respond(head(200, &[]), "quick")
        .expect("a client");
    assert_eq!(quick.reply().body, b"quick");
    exchange.respond(head(200, &[]), "again").expect("a client");
    assert_eq!(here.reply().body, b"again");
}
