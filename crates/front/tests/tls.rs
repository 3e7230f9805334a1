//! TLS at the front: who is greeted, with what, and what goes over.

mod support;
use support::tls::*;
use support::*;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use fairlead_front::{
    BoundListener, ClientCa, FrontSettings, KeyPair, Listener, ListenerConfig, PemFile, TicketKey,
    TicketKeys, Tls, TlsSettings,
};
use fairlead_websocket::TlsRecordLayer;

#[test]
fn a_request_over_tls_is_answered_and_the_connection_kept() {
    let (_folder, pair, stage) = one("plain-request");
    let mut client = connect(&stage, config(&[&pair], None), "localhost");
    for _ in 0..3 {
        client.send(GET);
        answer(&stage);
        assert_eq!(client.reply().body, b"hello");
    }
    assert_eq!(stage.front.statistics().accepted, 1);
}

#[test]
fn http_1_1_is_agreed_on_for_clients_that_ask() {
    let (_folder, pair, stage) = one("alpn");
    let mut with_alpn = config(&[&pair], None);
    with_alpn.alpn_protocols = vec![b"http/1.1".to_vec()];
    let mut client = connect(&stage, with_alpn, "localhost");
    client.send(GET);
    answer(&stage);
    client.reply();
    assert_eq!(
        client.stream.get_ref().conn.alpn_protocol(),
        Some(&b"http/1.1"[..])
    );
}

#[test]
fn a_large_body_and_a_large_response_arrive_whole() {
    let (_folder, pair, stage) = one("large");
    let mut client = connect(&stage, config(&[&pair], None), "localhost");
    let body: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    let head_text = format!(
        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let sent = body.clone();
    let sender = std::thread::spawn(move || {
        client.send(head_text);
        client.send(sent);
        client
    });
    let exchange = stage.exchange();
    let got = stage.body(&exchange).expect("a body");
    assert!(got == body);
    exchange
        .respond(head(200, &[]), bytes::Bytes::from(got))
        .expect("a client");
    let mut client = sender.join().expect("the sender");
    assert!(client.reply().body == body);
}

#[test]
fn a_file_goes_through_the_records() {
    let (folder, pair, stage) = one("file");
    let content: Vec<u8> = (0..700_000u32).map(|n| (n % 241) as u8).collect();
    let path = folder.0.join("file");
    std::fs::write(&path, &content).expect("a file");
    let mut client = connect(&stage, config(&[&pair], None), "localhost");
    client.send(GET);
    let exchange = stage.exchange();
    let length = content.len().to_string();
    exchange
        .start_response(head(200, &[("content-length", &length)]))
        .expect("a client");
    exchange
        .write_file(
            std::fs::File::open(&path).expect("a file"),
            0,
            content.len() as u64,
        )
        .expect("a client");
    exchange.finish();
    assert!(client.reply().body == content);
}

#[test]
fn http_without_tls_is_told_to_use_it() {
    let (_folder, _, stage) = one("http");
    let mut client = stage.client_sending(GET);
    let reply = client.reply();
    assert_eq!((reply.status(), reply.header("connection")), (400, Some("close")));
    assert!(String::from_utf8_lossy(&reply.body).contains("speaks TLS"));
    client.assert_closed();
    stage.line("without TLS");
    assert_eq!(stage.front.statistics().refused, 1);
}

#[test]
fn a_broken_hello_gets_an_alert_and_one_line() {
    let (_folder, _, stage) = one("garbage");
    // A handshake record whose message is no hello.
    let mut client = stage.client_sending(b"\x16\x03\x01\x00\x05\x63\x00\x00\x01\x00");
    let rest = client.rest();
    // RFC 8446 §5.1: 21 is an alert; §6: 2 is fatal.
    assert_eq!((rest[0], rest[5]), (21, 2), "{rest:?}");
    stage.line("the TLS handshake failed");
    assert_eq!(stage.front.statistics().refused, 1);
}

#[test]
fn a_client_that_never_finishes_its_handshake_is_dropped_in_time() {
    let folder = Certificates::new("slow");
    let pair = folder.make("localhost", "2");
    let front = FrontSettings {
        header_timeout: Duration::from_millis(100),
        ..support::front_settings()
    };
    let (stage, _) = stage(&settings(vec![pair]), front);
    for begun in [&b""[..], b"\x16\x03\x01\x02\x00\x01"] {
        let mut client = stage.client_sending(begun);
        client.assert_closed();
    }
    while stage.front.statistics().active_connections > 0 {
        std::thread::yield_now();
    }
    assert_eq!(stage.front.statistics().timed_out, 2);
}

#[test]
fn a_slow_head_and_a_silent_connection_end_in_order() {
    let folder = Certificates::new("late");
    let pair = folder.make("localhost", "2");
    let front = FrontSettings {
        header_timeout: Duration::from_millis(300),
        keep_alive_timeout: Duration::from_millis(300),
        ..support::front_settings()
    };
    let (stage, _) = stage(&settings(vec![pair.clone()]), front);
    let mut slow = connect(&stage, config(&[&pair], None), "localhost");
    slow.send("GET / HT");
    assert_eq!(slow.reply().status(), 408);
    assert_eq!(
        slow.rest(),
        b"",
        "a clean end, or rustls complains of a truncated stream"
    );
    let mut silent = connect(&stage, config(&[&pair], None), "localhost");
    silent.send(GET);
    answer(&stage);
    assert_eq!(silent.reply().status(), 200);
    assert_eq!(silent.rest(), b"");
}

#[test]
fn a_request_that_is_refused_is_told_so_through_tls() {
    let (_folder, pair, stage) = one("refused");
    for (bad, status) in [("GET / HTTP/1.1\r\n\r\n", 400), ("no request\r\n\r\n", 400)] {
        let mut client = connect(&stage, config(&[&pair], None), "localhost");
        client.send(bad);
        assert_eq!(client.reply().status(), status);
        assert_eq!(client.rest(), b"");
    }
}

#[test]
fn a_client_that_reads_nothing_is_given_up() {
    let folder = Certificates::new("stalled");
    let pair = folder.make("localhost", "2");
    let front = FrontSettings {
        stall_timeout: Duration::from_millis(300),
        ..support::front_settings()
    };
    let (stage, _) = stage(&settings(vec![pair.clone()]), front);
    let mut client = connect(&stage, config(&[&pair], None), "localhost");
    client.send(GET);
    let body = bytes::Bytes::from(vec![7; 32 << 20]);
    stage.exchange().respond(head(200, &[]), body).expect("a client");
    while stage.front.statistics().active_connections > 0 {
        std::thread::yield_now();
    }
    assert_eq!(stage.front.statistics().timed_out, 1);
}

#[test]
fn requests_are_sent_to_https() {
    let listener = Listener::bind("127.0.0.1:0").expect("a free port");
    let config = ListenerConfig {
        to_https: Some(443),
        ..ListenerConfig::default()
    };
    let stage = Stage::on(
        BoundListener { listener, config },
        support::front_settings(),
        true,
    );
    for (request, location) in [
        (
            "GET /a?b HTTP/1.1\r\nHost: one.test:80\r\n\r\n",
            "https://one.test/a?b",
        ),
        ("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "https://[::1]/"),
        (
            "GET http://two.test:80/c HTTP/1.1\r\nHost: one.test\r\n\r\n",
            "https://two.test/c",
        ),
        (
            "OPTIONS * HTTP/1.1\r\nHost: one.test\r\n\r\n",
            "https://one.test/",
        ),
        (HANDSHAKE, "https://test/chat"),
    ] {
        let reply = stage.client_sending(request).reply();
        assert_eq!((reply.status(), reply.header("location")), (301, Some(location)));
    }
    assert_eq!(
        stage.client_sending("GET / HTTP/1.0\r\n\r\n").reply().status(),
        400
    );
}

#[test]
fn the_certificate_is_chosen_by_the_name_that_is_asked_for() {
    let folder = Certificates::new("sni");
    let (first, second) = (folder.make("one.test", "2"), folder.make("two.test", "2"));
    let (stage, _) = stage(
        &settings(vec![first.clone(), second.clone()]),
        support::front_settings(),
    );
    for (asked, expected) in [("one.test", &first), ("two.test", &second)] {
        let mut client = connect(&stage, config(&[&first, &second], None), asked);
        client.send(GET);
        answer(&stage);
        client.reply();
        assert!(subject(&client) == der(expected), "{asked}");
    }
    // No name fits: the first is shown, and a client that checks it leaves.
    let mut client = connect(&stage, config(&[&first, &second], None), "three.test");
    let error = client
        .stream
        .get_mut()
        .write_all(GET.as_bytes())
        .expect_err("another name");
    assert!(error.to_string().contains("not valid for name"), "{error}");
    stage.line("the TLS handshake failed");
}

#[test]
fn a_client_s_certificate_may_be_demanded_or_only_looked_at() {
    let folder = Certificates::new("mtls");
    let (server, client_pair, stranger) = (
        folder.make("localhost", "2"),
        folder.make("client", "2"),
        folder.make("stranger", "2"),
    );
    let with_ca = |is_required| TlsSettings {
        client_ca: Some(ClientCa {
            file: client_pair.certificate.clone(),
            is_required,
        }),
        ..settings(vec![server.clone()])
    };
    for (is_required, shown, is_served) in [
        (true, Some(&client_pair), true),
        (true, None, false),
        (true, Some(&stranger), false),
        (false, Some(&client_pair), true),
        (false, None, true),
        (false, Some(&stranger), false),
    ] {
        let (stage, _) = stage(&with_ca(is_required), support::front_settings());
        let mut client = connect(&stage, config(&[&server], shown), "localhost");
        // With TLS 1.3 a client has sent its request before it learns that it is refused.
        let sent = client.stream.get_mut().write_all(GET.as_bytes());
        if is_served {
            answer(&stage);
            assert_eq!(client.reply().status(), 200);
        } else {
            let mut one = [0];
            assert!(sent.is_err() || client.stream.get_mut().read_exact(&mut one).is_err());
            stage.line("the TLS handshake failed");
        }
    }
}

#[test]
fn a_new_certificate_is_shown_from_the_next_handshake_on() {
    let folder = Certificates::new("renew");
    let old = folder.make("localhost", "2");
    let (stage, tls) = stage(&settings(vec![old.clone()]), support::front_settings());
    let mut before = connect(&stage, config(&[&old], None), "localhost");
    before.send(GET);
    answer(&stage);
    before.reply();
    let new = folder.make("localhost", "2");
    tls.renew(&Tls::new(&settings(vec![new.clone()])).expect("good settings"));
    let mut after = connect(&stage, config(&[&new], None), "localhost");
    for client in [&mut before, &mut after] {
        client.send(GET);
        answer(&stage);
        client.reply();
    }
    assert!(subject(&before) == der(&old) && subject(&after) == der(&new));
}

#[test]
fn settings_that_cannot_work_are_errors_that_name_the_file() {
    let folder = Certificates::new("errors");
    let (good, other) = (folder.make("good", "2"), folder.make("other", "2"));
    let expired = folder.make("expired", "-1");
    let error = |settings: &TlsSettings| Tls::new(settings).expect_err("bad settings").to_string();
    let mixed = KeyPair {
        key: other.key.clone(),
        ..good.clone()
    };
    let no_key = KeyPair {
        key: good.certificate.clone(),
        ..good.clone()
    };
    let garbage = PemFile {
        name: "garbage.pem".into(),
        content: b"no PEM at all".to_vec(),
    };
    let cut = PemFile {
        name: "cut.pem".into(),
        content: good.certificate.content[..200].to_vec(),
    };
    for (certificate, part) in [
        (mixed, "other.key does not belong to the certificate good.crt"),
        (no_key, "good.crt holds no private key"),
        (
            KeyPair {
                certificate: garbage,
                ..good.clone()
            },
            "garbage.pem holds no certificate",
        ),
        (
            KeyPair {
                certificate: cut,
                ..good.clone()
            },
            "cut.pem is broken PEM text",
        ),
    ] {
        let text = error(&settings(vec![certificate]));
        assert!(text.contains(part), "{text}");
    }
    assert!(error(&settings(Vec::new())).contains("no certificate"));
    let strict = TlsSettings {
        refuses_expired: true,
        ..settings(vec![expired.clone()])
    };
    assert!(error(&strict).contains("expired.crt has expired"));
    let lenient = Tls::new(&settings(vec![expired])).expect("a warning only");
    assert!(lenient.warnings()[0].contains("expired.crt has expired"));
}

/// What a client and a layer say to each other, as a worker would carry it.
fn pump(layer: &mut dyn TlsRecordLayer, client: &mut TcpStream) -> Vec<u8> {
    let mut received = [0; 4096];
    let count = client.read(&mut received).expect("bytes");
    let mut plain = Vec::new();
    layer
        .open(&received[..count], &mut |piece| plain.extend_from_slice(piece))
        .expect("good records");
    plain
}

#[test]
fn an_upgrade_takes_the_session_and_the_plaintext_that_was_read_along() {
    let (_folder, pair, stage) = one("upgrade");
    let mut client = connect(&stage, config(&[&pair], None), "localhost");
    client.send([HANDSHAKE.as_bytes(), b"read ahead"].concat());
    let exchange = stage.exchange();
    stage.accept_upgrade(&exchange, switching()).expect("an upgrade");
    let departed = stage.departed.recv_timeout(PATIENCE).expect("the socket leaves");
    let (socket, read_ahead) = departed.socket.expect("a socket");
    let mut layer = departed.layer.expect("a layer");
    let mut socket = TcpStream::from(socket);
    socket.set_nonblocking(false).expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    assert_eq!(client.head().status(), 101);
    let mut ahead = read_ahead;
    while ahead.len() < 10 {
        ahead.extend(pump(&mut *layer, &mut socket));
    }
    assert_eq!(ahead, b"read ahead");
    client.send(b"from the client");
    assert_eq!(pump(&mut *layer, &mut socket), b"from the client");
    layer.seal(&[b"from ", b"", b"the worker"]);
    let count = layer.pending().len();
    layer.trim();
    assert_eq!(layer.pending().len(), count, "what waits is no idle memory");
    socket.write_all(layer.pending()).expect("a client");
    layer.advance(count);
    layer.trim();
    let mut answer = [0; 15];
    client.stream.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"from the worker");
    assert!(!layer.has_ended());
    client.stream.get_mut().conn.send_close_notify();
    client.stream.get_mut().flush().expect("a server");
    assert_eq!(pump(&mut *layer, &mut socket), b"");
    assert!(layer.has_ended());
    layer.end();
    layer.end();
    socket.write_all(layer.pending()).expect("a client");
    socket.shutdown(Shutdown::Write).expect("a client");
    assert_eq!(
        client.rest(),
        b"",
        "a clean end, or rustls complains of a truncated stream"
    );
}

fn speaking(version: &'static rustls::SupportedProtocolVersion, trusted: &KeyPair) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(der(trusted).into()).expect("a root");
    rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[version])
        .expect("a version")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// Whether the handshake with this front resumed a session that `client` keeps.
fn resumes(stage: &Stage, client: &rustls::ClientConfig) -> bool {
    let mut connection = connect(stage, client.clone(), "localhost");
    connection.send(GET);
    answer(stage);
    connection.reply(); // a ticket comes before it
    connection.stream.get_ref().conn.handshake_kind() == Some(rustls::HandshakeKind::Resumed)
}

#[test]
fn a_session_is_resumed_by_whoever_has_the_key_of_its_ticket_and_no_longer() {
    let folder = Certificates::new("tickets");
    let pair = folder.make("localhost", "2");
    let (one, two, three) = ([1; 32], [2; 32], [3; 32]);
    let with = |keys: &[TicketKey]| {
        let keys = Arc::new(TicketKeys::new(keys, 60));
        let settings = TlsSettings {
            ticket_keys: Some(Arc::clone(&keys)),
            ..settings(vec![pair.clone()])
        };
        (stage(&settings, support::front_settings()).0, keys)
    };
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let (first, first_keys) = with(&[one, two]);
        let (second, second_keys) = with(&[one, two]);
        // A new client, with a ticket of this front.
        let given_by = |stage: &Stage| {
            let client = speaking(version, &pair);
            assert!(!resumes(stage, &client));
            client
        };
        assert!(resumes(&second, &given_by(&first)));
        // One has heard of the new keys, the other has not.
        let old = given_by(&second);
        first_keys.renew(&[two, three, one]);
        assert!(resumes(&first, &old));
        assert!(resumes(&second, &given_by(&first)));
        let oldest = given_by(&second);
        second_keys.renew(&[three, two]);
        assert!(!resumes(&second, &oldest));
    }
}
