//! The beginning and the end: the accept gate, inherited listeners, and the drain in its written order.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fairlead_front::{Front, FrontSettings, Gone, Listener};
use support::{head, Stage, GET, HANDSHAKE, PATIENCE};

fn assert_refuses(stage: &Stage) {
    // The listener is closed by the front's own thread, soon after.
    let end = Instant::now() + PATIENCE;
    loop {
        match TcpStream::connect(stage.tcp_address()) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => return,
            _ => assert!(Instant::now() < end, "the front still listens"),
        }
        std::thread::yield_now();
    }
}

#[test]
fn without_room_nothing_is_accepted() {
    let stage = Stage::on(
        Listener::bind("127.0.0.1:0").expect("a free port"),
        support::front_settings(),
        false,
    );
    let mut client = stage.client_sending(GET);
    assert_eq!(stage.room_questions.recv_timeout(PATIENCE), Ok(false));
    assert_eq!(
        stage.room_questions.recv_timeout(PATIENCE),
        Ok(false),
        "asked again after the announcement"
    );
    // A false alarm is one question, not an accept.
    stage.front.room_available();
    assert_eq!(stage.room_questions.recv_timeout(PATIENCE), Ok(false));
    assert_eq!(stage.front.statistics().accepted, 0);
    stage.room.store(true, Ordering::SeqCst);
    let end = Instant::now() + PATIENCE;
    while stage.front.statistics().accepted == 0 {
        stage.front.room_available();
        assert!(Instant::now() < end, "the gate stays shut");
        std::thread::yield_now();
    }
    stage.exchange().respond(head(200, &[]), "in").expect("a client");
    assert_eq!(client.reply().body, b"in");
}

#[test]
fn room_is_asked_for_before_each_accept() {
    let stage = Stage::new();
    for accepted in 1..=3 {
        while stage.room_questions.try_recv().is_ok() {}
        let mut client = stage.client_sending(GET);
        assert_eq!(stage.room_questions.recv_timeout(PATIENCE), Ok(true));
        stage.exchange().respond(head(200, &[]), "").expect("a client");
        assert_eq!(client.reply().status(), 200);
        assert_eq!(stage.front.statistics().accepted, accepted);
    }
}

#[test]
fn a_connection_is_not_accepted_when_the_room_went_while_the_front_waited_for_one() {
    let stage = Stage::new();
    let mut first = stage.client_sending(GET);
    let exchange = stage.exchange();
    // The front has asked for room after this accept and sleeps until the next connection. Now the slot is taken.
    stage.room.store(false, Ordering::SeqCst);
    while stage.room_questions.try_recv().is_ok() {}
    let mut second = stage.client_sending(GET);
    assert_eq!(stage.room_questions.recv_timeout(PATIENCE), Ok(false));
    exchange.respond(head(200, &[]), "first").expect("a client");
    assert_eq!(first.reply().body, b"first");
    assert_eq!(
        stage.front.statistics().accepted,
        1,
        "another process could take it"
    );
    stage.room.store(true, Ordering::SeqCst);
    stage.front.room_available();
    stage
        .exchange()
        .respond(head(200, &[]), "second")
        .expect("a client");
    assert_eq!(second.reply().body, b"second");
}

#[test]
fn an_inherited_listener_is_recognised() {
    let tcp = std::net::TcpListener::bind("[::1]:0").or_else(|_| std::net::TcpListener::bind("127.0.0.1:0"));
    let listener = Listener::from_fd(OwnedFd::from(tcp.expect("a free port"))).expect("a listener");
    assert!(matches!(listener, Listener::Tcp(_)));
    let stage = Stage::on(listener, support::front_settings(), true);
    let mut client = stage.client_sending(GET);
    stage
        .exchange()
        .respond(head(200, &[]), "heir")
        .expect("a client");
    assert_eq!(client.reply().body, b"heir");

    let Listener::Unix(unix) =
        Listener::bind(&format!("@fairlead-heir-{}", std::process::id())).expect("a listener")
    else {
        panic!("not a UNIX listener");
    };
    assert!(matches!(
        Listener::from_fd(OwnedFd::from(unix)),
        Ok(Listener::Unix(_))
    ));

    let (not_listening, _) = std::os::unix::net::UnixStream::pair().expect("a pair");
    let error = Listener::from_fd(OwnedFd::from(not_listening)).expect_err("not a listener");
    assert!(error.to_string().contains("does not listen"), "{error}");
}

#[test]
fn two_fronts_share_one_listener() {
    let first = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let second = Listener::Tcp(first.try_clone().expect("a copy"));
    let one = Stage::on(Listener::Tcp(first), support::front_settings(), true);
    let other = Stage::on(second, support::front_settings(), true);
    let mut clients: Vec<_> = (0..50).map(|_| one.client_sending(GET)).collect();
    let mut served = 0;
    while served < 50 {
        for stage in [&one, &other] {
            while let Ok((_, exchange)) = stage.requests.try_recv() {
                exchange.respond(head(200, &[]), "").expect("a client");
                served += 1;
            }
        }
        std::thread::yield_now();
    }
    for client in &mut clients {
        assert_eq!(client.reply().status(), 200);
    }
    // One leaves; its copy is closed and the other goes on.
    one.front.stop(PATIENCE);
    let mut client = other.client_sending(GET);
    other
        .exchange()
        .respond(head(200, &[]), "still here")
        .expect("a client");
    assert_eq!(client.reply().body, b"still here");
}

#[test]
fn an_address_that_cannot_be_bound_is_named() {
    let taken = Stage::new();
    let address = taken.tcp_address().to_string();
    for address in [
        address.as_str(),
        "no port",
        "256.0.0.1:80",
        "/no/such/directory/socket",
    ] {
        let error = Listener::bind(address).expect_err(address).to_string();
        assert!(error.contains(&format!("{address:?}")), "{error}");
    }
}

#[test]
fn a_drain_closes_silent_connections_after_a_second_and_answers_those_in_flight() {
    let stage = Stage::new();
    let mut idle = stage.client_sending(GET);
    stage.exchange().respond(head(200, &[]), "").expect("a client");
    assert_eq!(idle.reply().header("connection"), None);
    let mut fresh = stage.client();
    let mut busy = stage.client_sending(GET);
    let in_flight = stage.exchange();
    let mut streaming = stage.client_sending(GET);
    let stream = stage.exchange();
    stream.start_response(head(200, &[])).expect("a client");
    stream.write("begun").expect("a client");
    assert_eq!(streaming.head().header("transfer-encoding"), Some("chunked"));

    stage.front.stop_accepting();
    assert_refuses(&stage);
    idle.assert_closed();
    fresh.assert_closed();
    assert_eq!(stage.front.statistics().active_connections, 2);
    in_flight.respond(head(200, &[]), "finished").expect("a client");
    let reply = busy.reply();
    assert_eq!(
        (reply.header("connection"), reply.body.as_slice()),
        (Some("close"), &b"finished"[..])
    );
    busy.assert_closed();
    stream.finish();
    assert_eq!(streaming.rest(), b"5\r\nbegun\r\n0\r\n\r\n");
    stage.front.stop(PATIENCE);
    assert_eq!(stage.front.statistics().active_connections, 0);
}

#[test]
fn a_request_that_crosses_a_drain_on_an_idle_connection_is_answered_as_the_last() {
    let stage = Stage::new();
    let mut idle = stage.client_sending(GET);
    stage.exchange().respond(head(200, &[]), "").expect("a client");
    assert_eq!(idle.reply().header("connection"), None);
    stage.front.stop_accepting();
    assert_refuses(&stage);
    idle.send(GET);
    stage
        .exchange()
        .respond(head(200, &[]), "last")
        .expect("a client");
    let reply = idle.reply();
    assert_eq!(
        (reply.header("connection"), reply.body.as_slice()),
        (Some("close"), &b"last"[..])
    );
    idle.assert_closed();
}

#[test]
fn an_answer_that_began_before_a_drain_is_not_the_last_because_it_could_not_say_so() {
    let stage = Stage::new();
    let mut client = stage.client_sending(GET);
    let stream = stage.exchange();
    stream
        .start_response(head(200, &[("Content-Length", "5")]))
        .expect("a client");
    stream.write("be").expect("a client");
    assert_eq!(client.head().header("connection"), None);
    stage.front.stop_accepting();
    assert_refuses(&stage);
    stream.write("gun").expect("a client");
    stream.finish();
    assert_eq!(client.exactly(5), b"begun");
    client.send(GET);
    stage
        .exchange()
        .respond(head(200, &[]), "last")
        .expect("a client");
    assert_eq!(client.reply().header("connection"), Some("close"));
    client.assert_closed();
}

#[test]
fn the_fronts_own_answers_in_a_drain_are_the_last_as_well() {
    let stage = Stage::new();
    let mut clients = [stage.client_sending(GET), stage.client_sending(GET)];
    for client in &mut clients {
        stage.exchange().respond(head(200, &[]), "").expect("a client");
        assert_eq!(client.reply().header("connection"), None);
    }
    stage.front.stop_accepting();
    assert_refuses(&stage);
    let [refused, abandoned] = &mut clients;
    refused.send("GET / HTTP/1.1\r\n\r\n");
    let reply = refused.reply();
    assert_eq!((reply.status(), reply.header("connection")), (400, Some("close")));
    abandoned.send(GET);
    drop(stage.exchange());
    let reply = abandoned.reply();
    assert_eq!((reply.status(), reply.header("connection")), (500, Some("close")));
    for client in &mut clients {
        client.assert_closed();
    }
}

#[test]
fn a_drain_is_not_over_while_a_connection_is_just_being_accepted() {
    /// Holds the front's thread up between the look at a listener and the accept.
    struct Slow {
        asked: Mutex<Sender<()>>,
        answer: Mutex<Receiver<()>>,
    }
    impl fairlead_front::Handoff for Slow {
        fn request(&self, _: fairlead_http::Request, exchange: Arc<fairlead_front::Exchange>) {
            exchange.respond(head(200, &[]), "served").expect("a client");
        }
        fn has_room(&self) -> bool {
            let _ = self.asked.lock().expect("no panic").send(());
            // Disconnected: no more holding up.
            let _ = self.answer.lock().expect("no panic").recv();
            true
        }
    }
    impl fairlead_front::EventSink for Slow {
        fn wake(&self, _: u64) {}
        fn log(&self, _: fairlead_front::LogLevel, _: &str) {}
    }
    let (asked, questions) = channel();
    let (answers, answer) = channel();
    let listener = Listener::bind("127.0.0.1:0").expect("a free port");
    let Listener::Tcp(ours) = &listener else {
        unreachable!()
    };
    let address = ours.local_addr().expect("an address");
    let slow = Slow {
        asked: Mutex::new(asked),
        answer: Mutex::new(answer),
    };
    let front = Front::start(vec![listener], support::front_settings(), Arc::new(slow)).expect("a front");
    questions.recv_timeout(PATIENCE).expect("the first look");
    let mut client = TcpStream::connect(address).expect("it listens");
    front.stop_accepting();
    assert_eq!(front.statistics().active_connections, 0);
    assert!(!front.is_empty(), "the client will be accepted");
    drop(answers);
    client.write_all(GET.as_bytes()).expect("it reads");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("an answer");
    assert!(answer.ends_with("served"), "{answer}");
    drop(client);
    let end = Instant::now() + PATIENCE;
    while !front.is_empty() {
        assert!(Instant::now() < end, "nobody is left");
        std::thread::yield_now();
    }
}

#[test]
fn stop_waits_for_a_request_in_flight() {
    let stage = Stage::new();
    let mut client = stage.client_sending(GET);
    let exchange = stage.exchange();
    std::thread::scope(|scope| {
        let stopping = scope.spawn(|| stage.front.stop(PATIENCE));
        assert_refuses(&stage);
        assert!(!stopping.is_finished());
        exchange.respond(head(200, &[]), "finished").expect("a client");
        assert_eq!(client.reply().body, b"finished");
    });
}

#[test]
fn an_upgrade_still_leaves_during_the_drain() {
    let stage = Stage::new();
    let mut client = stage.client_sending(HANDSHAKE);
    let exchange = stage.exchange();
    stage.front.stop_accepting();
    assert_refuses(&stage);
    stage
        .accept_upgrade(&exchange, support::switching())
        .expect("a client");
    let departed = stage.departed.recv_timeout(PATIENCE).expect("the socket leaves");
    assert!(departed.socket.is_ok());
    assert_eq!(client.head().status(), 101);
}

#[test]
fn stop_cuts_what_is_left_at_the_deadline() {
    let stage = Stage::new();
    let mut client = stage.client_sending(GET);
    let exchange = stage.exchange();
    let mut reading = stage.client_sending("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n");
    let body = stage.exchange();
    assert!(!body.wait_body(4));
    stage.front.stop(Duration::ZERO);
    client.assert_closed();
    reading.assert_closed();
    assert_eq!(stage.wakes.recv_timeout(PATIENCE), Ok(4), "whoever waits is told");
    assert!(exchange.is_gone() && body.is_gone());
    assert_eq!(exchange.respond(head(200, &[]), ""), Err(Gone));
    stage.front.stop(Duration::ZERO);
    stage.front.stop_accepting();
    stage.front.room_available();
}

#[test]
fn a_dropped_front_stops() {
    let stage = Stage::with(FrontSettings {
        shutdown_grace: Duration::ZERO,
        ..support::front_settings()
    });
    let address = stage.tcp_address();
    let mut client = stage.client_sending(GET);
    let exchange = stage.exchange();
    drop(stage);
    client.assert_closed();
    assert!(exchange.is_gone());
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn a_header_that_cannot_be_sent_stops_the_start() {
    let settings = FrontSettings {
        server_header: Some("a\nb".into()),
        ..support::front_settings()
    };
    struct Nobody;
    impl fairlead_front::Handoff for Nobody {
        fn request(&self, _: fairlead_http::Request, _: std::sync::Arc<fairlead_front::Exchange>) {}
        fn has_room(&self) -> bool {
            true
        }
    }
    impl fairlead_front::EventSink for Nobody {
        fn wake(&self, _: u64) {}
        fn log(&self, _: fairlead_front::LogLevel, _: &str) {}
    }
    let error = fairlead_front::Front::start(Vec::<Listener>::new(), settings, std::sync::Arc::new(Nobody))
        .expect_err("a line end");
    assert!(error.to_string().contains("\"a\\nb\""), "{error}");
}
