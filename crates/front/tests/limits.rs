//! Time and pressure: slow clients, silent clients, clients that leave, clients that do not read.
//!
//! Time-outs are set to a few milliseconds and the tests wait for their effect, never for the time itself.

mod support;

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use fairlead_front::{BodyError, BodyRead, FrontSettings, Gone};
use support::{head, Stage, GET, PATIENCE};

const SHORT: Duration = Duration::from_millis(50);

#[test]
fn a_slow_head_gets_408() {
    let stage = Stage::with(FrontSettings {
        header_timeout: SHORT,
        ..support::front_settings()
    });
    let mut client = stage.client_sending("GET / HTTP/1.1\r\nHo");
    assert_eq!(client.reply().status(), 408);
    client.assert_closed();

    let mut client = stage.client_sending(GET);
    stage.exchange().respond(head(200, &[]), "").expect("a client");
    assert_eq!(client.reply().status(), 200);
    client.send("G");
    assert_eq!(
        client.reply().status(),
        408,
        "the second head has the same limit, not that of a silent connection"
    );
    client.assert_closed();
    assert_eq!(stage.front.statistics().timed_out, 2);
}

#[test]
fn a_head_that_comes_byte_by_byte_has_no_more_time_than_another() {
    let stage = Stage::with(FrontSettings {
        header_timeout: SHORT,
        ..support::front_settings()
    });
    let mut first = stage.client_sending("GET / HTTP/1.1\r\nX: ");
    assert!(first.trickle(b"x").starts_with(b"HTTP/1.1 408 "));

    let mut later = stage.client_sending(GET);
    stage.exchange().respond(head(200, &[]), "").expect("a client");
    assert_eq!(later.reply().status(), 200);
    later.send("GET / HTTP/1.1\r\nX: ");
    assert!(later.trickle(b"x").starts_with(b"HTTP/1.1 408 "));
    assert_eq!(stage.front.statistics().timed_out, 2);
}

#[test]
fn empty_lines_between_two_requests_keep_no_connection_alive() {
    let stage = Stage::with(FrontSettings {
        // Far above the pace of the lines, so that none of them can be late by accident.
        keep_alive_timeout: SHORT * 10,
        ..support::front_settings()
    });
    let mut client = stage.client_sending(GET);
    stage.exchange().respond(head(200, &[]), "").expect("a client");
    assert_eq!(client.reply().status(), 200);
    assert_eq!(client.trickle(b"\r\n"), b"");
    assert_eq!(stage.front.statistics().timed_out, 1);
}

#[test]
fn a_client_that_never_speaks_is_closed_without_a_word() {
    let stage = Stage::with(FrontSettings {
        header_timeout: SHORT,
        ..support::front_settings()
    });
    stage.client().assert_closed();
}

#[test]
fn a_silent_connection_is_closed_after_the_keep_alive_time() {
    let stage = Stage::with(FrontSettings {
        keep_alive_timeout: SHORT,
        ..support::front_settings()
    });
    let mut client = stage.client_sending(GET);
    stage.exchange().respond(head(200, &[]), "").expect("a client");
    assert_eq!(client.reply().status(), 200);
    client.assert_closed();
    assert_eq!(stage.front.statistics().timed_out, 1);
}

#[test]
fn an_application_may_take_longer_than_every_time_out() {
    let settings = FrontSettings {
        header_timeout: SHORT,
        keep_alive_timeout: SHORT,
        stall_timeout: SHORT,
        ..support::front_settings()
    };
    let stage = Stage::with(settings);
    let mut patient = stage.client_sending(GET);
    let exchange = stage.exchange();
    // A whole life of another connection, ended by the same time-out, passes meanwhile.
    for _ in 0..3 {
        stage.client().assert_closed();
    }
    exchange.respond(head(200, &[]), "at last").expect("a client");
    assert_eq!(patient.reply().body, b"at last");
}

#[test]
fn a_body_that_stops_coming_is_given_up() {
    let stage = Stage::with(FrontSettings {
        stall_timeout: SHORT,
        ..support::front_settings()
    });
    let mut client = stage.client_sending("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe");
    let exchange = stage.exchange();
    assert!(stage.body(&exchange).is_err());
    assert!(exchange.is_gone());
    client.assert_closed();
}

/// A client has a second in all to be behind, and other connections live for 50 ms.
fn with_minimum_rate(body_minimum_rate: u64) -> Stage {
    Stage::with(FrontSettings {
        header_timeout: SHORT,
        stall_timeout: STALL,
        body_minimum_rate,
        ..support::front_settings()
    })
}

const STALL: Duration = Duration::from_secs(1);
const LONG_BODY: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n";

#[test]
fn a_body_of_a_byte_now_and_then_is_given_up() {
    let stage = with_minimum_rate(1000);
    let mut client = stage.client_sending(LONG_BODY);
    let exchange = stage.exchange();
    let began = Instant::now();
    // Each byte comes long before the time for silence has passed.
    while stage.slow_piece(&exchange, || drop(client.stream.get_mut().write(b"x")))
        != BodyRead::Failed(BodyError::Stalled)
    {
        assert!(began.elapsed() < 4 * STALL, "it is waited for without end");
    }
    assert!(exchange.is_gone());
    client.assert_closed();
    assert!(stage.front.statistics().timed_out > 0);
}

#[test]
fn a_body_of_chunk_extensions_that_go_on_and_on_is_given_up() {
    let stage = with_minimum_rate(1000);
    let mut client =
        stage.client_sending("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;");
    let exchange = stage.exchange();
    assert!(!exchange.wait_body(1));
    let began = Instant::now();
    while stage.wakes.try_recv() != Ok(1) {
        assert!(began.elapsed() < 4 * STALL, "it is waited for without end");
        stage.client().assert_closed();
        let _ = client.stream.get_mut().write(b"x");
    }
    assert_eq!(exchange.read_body(9), BodyRead::Failed(BodyError::Stalled));
    client.assert_closed();
}

#[test]
fn a_slow_body_that_keeps_the_minimum_rate_is_read_to_its_end() {
    let stage = with_minimum_rate(100);
    let mut client = stage.client_sending(LONG_BODY);
    let exchange = stage.exchange();
    let (began, piece) = (Instant::now(), vec![b'x'; 200]);
    let mut left = 1_000_000;
    // The waits together are longer than a client may be behind.
    while began.elapsed() < STALL * 3 / 2 {
        match stage.slow_piece(&exchange, || client.send(&piece)) {
            BodyRead::Data(bytes) => left -= bytes.len(),
            other => panic!("{other:?}"),
        }
    }
    client.send(vec![b'x'; left]);
    assert_eq!(stage.body(&exchange).expect("the rest").len(), left);
    exchange.respond(head(200, &[]), "").expect("a client");
    assert_eq!(client.reply().status(), 200);
}

#[test]
fn the_time_in_which_an_application_reads_nothing_is_not_the_clients() {
    let stage = with_minimum_rate(1_000_000);
    let mut client = stage.client_sending(LONG_BODY);
    let exchange = stage.exchange();
    let began = Instant::now();
    while began.elapsed() < STALL * 3 / 2 {
        client.send("x");
        // It computes, and finds then what has come meanwhile.
        stage.client().assert_closed();
        assert!(exchange.wait_body(1));
        assert_eq!(exchange.read_body(9), BodyRead::Data("x".into()));
    }
    exchange.respond(head(200, &[]), "").expect("a client");
    assert_eq!(client.reply().status(), 200);
}

#[test]
fn without_a_minimum_rate_a_byte_now_and_then_is_enough() {
    let stage = with_minimum_rate(0);
    let mut client = stage.client_sending(LONG_BODY);
    let exchange = stage.exchange();
    let began = Instant::now();
    while began.elapsed() < STALL * 3 / 2 {
        let read = stage.slow_piece(&exchange, || client.send("x"));
        assert_eq!(read, BodyRead::Data("x".into()));
    }
}

#[test]
fn a_body_that_stops_after_a_part_was_read_is_given_up() {
    let stage = Stage::with(FrontSettings {
        stall_timeout: SHORT,
        ..support::front_settings()
    });
    let mut client = stage.client_sending("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe");
    let exchange = stage.exchange();
    if !exchange.wait_body(1) {
        assert_eq!(stage.wakes.recv_timeout(PATIENCE), Ok(1));
    }
    // A round trip on another connection: the turn that brought the bytes has ended before they are read, so only the
    // application's own call can tell the front that somebody waits.
    let mut other = stage.client_sending(GET);
    stage.exchange().respond(head(200, &[]), "").expect("a client");
    assert_eq!(other.reply().status(), 200);
    assert_eq!(exchange.read_body(9), BodyRead::Data("he".into()));
    assert!(!exchange.wait_body(2));
    assert_eq!(
        stage.wakes.recv_timeout(PATIENCE),
        Ok(2),
        "the waiting application is told"
    );
    assert!(exchange.is_gone());
    client.assert_closed();
}

#[test]
fn a_client_that_does_not_read_stops_the_writer_and_a_reading_one_wakes_it() {
    let stage = Stage::new();
    let mut client = stage.client_sending(GET);
    let exchange = stage.exchange();
    exchange.start_response(head(200, &[])).expect("a client");
    let piece = vec![b'x'; 64 * 1024];
    let mut written = 0;
    let fill = |written: &mut usize| {
        while exchange.wait_writable(5) {
            exchange.write(piece.clone()).expect("a client");
            *written += piece.len();
            assert!(*written < 100_000_000, "nothing stops the writer");
        }
    };
    fill(&mut written);
    // The wake-up may have come from the kernel's buffers; the writer ends stopped all the same.
    let mut received = 0;
    let reader = std::thread::spawn({
        let mut stream = client.stream.get_ref().try_clone().expect("a clone");
        move || {
            let mut buffer = vec![0; 1 << 16];
            while received < 20_000_000 {
                received += stream.read(&mut buffer).expect("more");
            }
        }
    });
    while written < 20_500_000 {
        assert_eq!(stage.wakes.recv_timeout(PATIENCE), Ok(5));
        fill(&mut written);
    }
    reader.join().expect("all was received");
    exchange.finish();
    client.stream.get_mut().set_nonblocking(false).expect("blocking");
    let mut rest = Vec::new();
    let mut chunk = [0; 4096];
    while !rest.ends_with(b"\r\n0\r\n\r\n") {
        let count = client.stream.read(&mut chunk).expect("more");
        rest.extend_from_slice(&chunk[..count]);
    }
}

#[test]
fn a_client_that_takes_nothing_for_too_long_is_cut_and_the_writer_told() {
    let stage = Stage::with(FrontSettings {
        stall_timeout: SHORT,
        ..support::front_settings()
    });
    let _client = stage.client_sending(GET);
    let exchange = stage.exchange();
    exchange.start_response(head(200, &[])).expect("a client");
    let piece = vec![b'x'; 64 * 1024];
    let mut written = 0;
    loop {
        if !exchange.wait_writable(5) {
            assert_eq!(stage.wakes.recv_timeout(PATIENCE), Ok(5));
        }
        match exchange.write(piece.clone()) {
            Ok(()) => written += piece.len(),
            Err(Gone) => break,
        }
        assert!(written < 100_000_000, "nothing stops the writer");
    }
    assert!(exchange.is_gone());
    assert!(exchange.wait_writable(6), "nothing to wait for");
}

#[test]
fn a_client_that_takes_a_part_at_a_time_has_its_time_anew_with_each() {
    let stage = Stage::with(FrontSettings {
        stall_timeout: SHORT * 20,
        header_timeout: SHORT * 5,
        ..support::front_settings()
    });
    // More than the kernel keeps back before it tells that there is room again.
    let mut part = vec![0; 4 << 20];
    let large = vec![b'x'; 40 << 20];
    let path = std::env::temp_dir().join(format!("fairlead-limits-{}", std::process::id()));
    std::fs::write(&path, &large).expect("a file");
    let file = std::fs::File::open(&path).expect("a file");
    std::fs::remove_file(&path).expect("a file");
    let mut clients = Vec::new();
    for is_file in [false, true] {
        clients.push(stage.client_sending(GET));
        let exchange = stage.exchange();
        if is_file {
            exchange.start_response(head(200, &[])).expect("a client");
            let file = file.try_clone().expect("a file");
            exchange
                .write_file(file, 0, large.len() as u64)
                .expect("a client");
            exchange.finish();
        } else {
            exchange.respond(head(200, &[]), large.clone()).expect("a client");
        }
    }
    for _ in 0..6 {
        // A whole life of another connection passes.
        stage.client().assert_closed();
        for client in &mut clients {
            client.stream.read_exact(&mut part).expect("more");
        }
    }
}

#[test]
fn the_front_stops_reading_a_body_that_nobody_takes() {
    let stage = Stage::with(FrontSettings {
        body_high_water: 10_000,
        ..support::front_settings()
    });
    let size: usize = 30_000_000;
    let client = stage.client_sending(format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n"
    ));
    let mut stream = client.stream.get_ref().try_clone().expect("a clone");
    stream.set_nonblocking(true).expect("non-blocking");
    let exchange = stage.exchange();
    // Fill everything between the client and the high-water mark.
    let piece = vec![b'x'; 100_000];
    let mut sent = 0;
    let mut taken = 0;
    let mut blocked = 0;
    while sent < size && blocked < 100 {
        match std::io::Write::write(&mut stream, &piece[..piece.len().min(size - sent)]) {
            Ok(count) => {
                sent += count;
                blocked = 0;
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                blocked += 1;
                std::thread::yield_now();
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(
        sent < size,
        "the client could send {sent} bytes that nobody had asked for"
    );
    stream.set_nonblocking(false).expect("blocking");
    let sender = std::thread::spawn(move || {
        while sent < size {
            sent += std::io::Write::write(&mut stream, &piece[..piece.len().min(size - sent)])
                .expect("the front reads");
        }
    });
    loop {
        match exchange.read_body(8192) {
            BodyRead::Data(piece) => taken += piece.len(),
            BodyRead::End => break,
            BodyRead::Failed(why) => panic!("{why}"),
            BodyRead::Pending => {
                if !exchange.wait_body(9) {
                    assert_eq!(stage.wakes.recv_timeout(PATIENCE), Ok(9));
                }
            }
        }
    }
    assert_eq!(taken, size);
    sender.join().expect("all was sent");
}

#[test]
fn a_client_that_leaves_is_noticed() {
    let stage = Stage::new();
    // While the application waits for a body ...
    let client = stage.client_sending("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n");
    let exchange = stage.exchange();
    assert!(!exchange.wait_body(1));
    assert!(!exchange.is_gone());
    drop(client);
    assert_eq!(stage.wakes.recv_timeout(PATIENCE), Ok(1));
    assert!(matches!(exchange.read_body(1), BodyRead::Failed(_)));
    // ... and while it computes: then its next call says so.
    let client = stage.client_sending(GET);
    let exchange = stage.exchange();
    support::reset(client);
    let after = std::time::Instant::now() + PATIENCE;
    while !exchange.is_gone() {
        assert!(std::time::Instant::now() < after, "nobody noticed");
        std::thread::yield_now();
    }
    assert_eq!(exchange.respond(head(200, &[]), "too late"), Err(Gone));
}

#[test]
fn many_idle_connections_cost_no_activity() {
    let stage = Stage::new();
    let mut clients: Vec<_> = (0..200).map(|_| stage.client_sending(GET)).collect();
    for _ in 0..200 {
        stage.exchange().respond(head(200, &[]), "").expect("a client");
    }
    for client in &mut clients {
        assert_eq!(client.reply().status(), 200);
    }
    assert_eq!(stage.front.statistics().active_connections, 200);
}
