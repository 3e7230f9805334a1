//! Request bodies as an application reads them: by bytes, lines and whole chunks, at its own pace. What a broken body does
//! to its connection is in `refusals.rs`, times in general in `limits.rs`.

mod support;

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use fairlead_front::{BodyError, BodyRead, Exchange, FrontSettings};
use support::{head, Client, Stage, GET, PATIENCE};

const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
const LIMIT: usize = 1 << 20;

fn chunk(data: impl AsRef<[u8]>) -> Vec<u8> {
    let data = data.as_ref();
    let mut chunk = format!("{:x}\r\n", data.len()).into_bytes();
    chunk.extend_from_slice(data);
    chunk.extend_from_slice(b"\r\n");
    chunk
}

/// The next chunk, however long it takes.
fn read_chunk(stage: &Stage, exchange: &Exchange, limit: usize) -> BodyRead {
    loop {
        let seen = exchange.received();
        match exchange.read_chunk(limit) {
            BodyRead::Pending if exchange.wait_more(3, seen) => {}
            BodyRead::Pending => assert_eq!(stage.wakes.recv_timeout(PATIENCE), Ok(3)),
            other => return other,
        }
    }
}

fn begin(stage: &Stage) -> (Client<TcpStream>, std::sync::Arc<Exchange>) {
    let client = stage.client_sending(CHUNKED);
    let exchange = stage.exchange();
    (client, exchange)
}

#[test]
fn a_chunk_that_is_sent_alone_arrives_alone_and_before_the_next_is_sent() {
    let stage = Stage::new();
    let (mut client, exchange) = begin(&stage);
    for text in ["one", "two\ntwo", "3"] {
        client.send(chunk(text));
        assert_eq!(read_chunk(&stage, &exchange, LIMIT), BodyRead::Data(text.into()));
        assert_eq!(exchange.read_chunk(LIMIT), BodyRead::Pending);
    }
    client.send("0\r\n\r\n");
    assert_eq!(read_chunk(&stage, &exchange, LIMIT), BodyRead::End);
    exchange.respond(head(200, &[]), "").expect("a client");
    assert_eq!(client.reply().status(), 200);
}

#[test]
fn chunks_of_one_segment_come_apart_and_a_chunk_of_many_segments_comes_whole() {
    let stage = Stage::new();
    let (mut client, exchange) = begin(&stage);
    let mut all = [chunk("a"), chunk("bc"), chunk("def")].concat();
    all.extend_from_slice(&chunk("in five parts")[..4]);
    client.send(&all);
    for text in ["a", "bc", "def"] {
        assert_eq!(read_chunk(&stage, &exchange, LIMIT), BodyRead::Data(text.into()));
    }
    for byte in &chunk("in five parts")[4..] {
        client.send([*byte]);
    }
    assert_eq!(
        read_chunk(&stage, &exchange, LIMIT),
        BodyRead::Data("in five parts".into())
    );
}

#[test]
fn a_chunk_beyond_the_high_water_still_comes_whole_up_to_the_limit() {
    let stage = Stage::with(FrontSettings {
        body_high_water: 4096,
        ..support::front_settings()
    });
    let (mut client, exchange) = begin(&stage);
    let data: Vec<u8> = (0..700_000u32).map(|at| at as u8).collect();
    let large = [chunk(&data), chunk("after"), b"0\r\n\r\n".to_vec()].concat();
    // The client comes back, so that it does not leave before all was read.
    let sender = std::thread::spawn(move || {
        client.send(large);
        client
    });
    let BodyRead::Data(whole) = read_chunk(&stage, &exchange, LIMIT) else {
        panic!("no chunk")
    };
    assert!(whole == data);
    assert_eq!(
        read_chunk(&stage, &exchange, LIMIT),
        BodyRead::Data("after".into())
    );
    assert_eq!(read_chunk(&stage, &exchange, LIMIT), BodyRead::End);
    sender.join().expect("all was sent");
}

#[test]
fn a_chunk_beyond_the_limit_comes_in_pieces_of_the_limit_and_nothing_is_lost() {
    let stage = Stage::new();
    let (mut client, exchange) = begin(&stage);
    client.send([chunk("x".repeat(2500)), chunk("y"), b"0\r\n\r\n".to_vec()].concat());
    let mut sizes = Vec::new();
    while let BodyRead::Data(piece) = read_chunk(&stage, &exchange, 1000) {
        sizes.push(piece.len());
    }
    assert_eq!(sizes, [1000, 1000, 500, 1]);
}

#[test]
fn a_body_with_a_length_has_no_chunks_and_comes_as_it_arrives() {
    let stage = Stage::new();
    let mut client = stage.client_sending("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n");
    let exchange = stage.exchange();
    for text in ["abc", "def"] {
        client.send(text);
        assert_eq!(read_chunk(&stage, &exchange, LIMIT), BodyRead::Data(text.into()));
    }
    assert_eq!(read_chunk(&stage, &exchange, LIMIT), BodyRead::End);

    let _client = stage.client_sending(GET);
    assert_eq!(stage.exchange().read_chunk(LIMIT), BodyRead::End);
}

#[test]
fn bytes_lines_and_chunks_can_be_read_in_turn() {
    let stage = Stage::new();
    let (mut client, exchange) = begin(&stage);
    client.send(
        [
            chunk("one\ntwo"),
            chunk("three\n"),
            chunk("four"),
            b"0\r\nX-Trailer: 1\r\n\r\n".to_vec(),
        ]
        .concat(),
    );
    while exchange.received() < 17 {
        if !exchange.wait_more(3, exchange.received()) {
            assert_eq!(stage.wakes.recv_timeout(PATIENCE), Ok(3));
        }
    }
    assert_eq!(exchange.read_body(2), BodyRead::Data("on".into()));
    assert_eq!(exchange.read_line(usize::MAX), BodyRead::Data("e\n".into()));
    assert_eq!(read_chunk(&stage, &exchange, LIMIT), BodyRead::Data("two".into()));
    assert_eq!(exchange.read_line(usize::MAX), BodyRead::Data("three\n".into()));
    assert_eq!(
        read_chunk(&stage, &exchange, LIMIT),
        BodyRead::Data("four".into())
    );
    assert_eq!(
        read_chunk(&stage, &exchange, LIMIT),
        BodyRead::End,
        "trailers are no data"
    );
}

#[test]
fn chunks_of_a_body_that_was_not_read_do_not_cut_those_of_the_next() {
    let stage = Stage::new();
    let first = [CHUNKED.as_bytes(), &chunk("unread"), b"0\r\n\r\n"].concat();
    let second = [CHUNKED.as_bytes(), &chunk("read"), b"0\r\n\r\n"].concat();
    let mut client = stage.client_sending([first, second].concat());
    let exchange = stage.exchange();
    assert_eq!(stage.body(&exchange), Ok(b"unread".to_vec()));
    exchange.respond(head(200, &[]), "").expect("a client");
    assert_eq!(client.reply().status(), 200);
    assert_eq!(
        read_chunk(&stage, &stage.exchange(), LIMIT),
        BodyRead::Data("read".into())
    );
}

#[test]
fn whoever_waits_for_chunks_says_how_long_and_not_the_front() {
    let short = Duration::from_millis(50);
    let stage = Stage::with(FrontSettings {
        stall_timeout: short,
        header_timeout: short,
        ..support::front_settings()
    });
    let (mut client, exchange) = begin(&stage);
    assert!(!exchange.wait_more(3, 0));
    // The whole life of others, ended by a time-out as long as that of the body, passes meanwhile.
    for _ in 0..3 {
        stage.client().assert_closed();
    }
    client.send(chunk("late"));
    assert_eq!(stage.wakes.recv_timeout(PATIENCE), Ok(3));
    assert_eq!(exchange.read_chunk(LIMIT), BodyRead::Data("late".into()));

    assert!(!exchange.wait_body(4));
    assert_eq!(stage.wakes.recv_timeout(PATIENCE), Ok(4));
    assert_eq!(exchange.read_body(9), BodyRead::Failed(BodyError::Stalled));
    client.assert_closed();
}

#[test]
fn whoever_waits_for_a_whole_chunk_does_not_wait_for_a_byte_now_and_then() {
    let stall = Duration::from_millis(500);
    let stage = Stage::with(FrontSettings {
        stall_timeout: stall,
        header_timeout: Duration::from_millis(50),
        body_minimum_rate: 1000,
        ..support::front_settings()
    });
    let (mut client, exchange) = begin(&stage);
    client.send("fffff\r\n");
    let began = std::time::Instant::now();
    let mut seen = 0;
    let rest = loop {
        assert!(began.elapsed() < 8 * stall, "it is waited for without end");
        let _ = client.stream.get_mut().write(b"x");
        if !exchange.wait_more(3, seen) {
            // The wake-up of the round before may come first.
            while stage.wakes.recv_timeout(PATIENCE).expect("a wake-up") != 3 {}
        }
        seen = exchange.received();
        match exchange.read_chunk(LIMIT) {
            BodyRead::Pending if !exchange.wait_more(4, seen) => stage.client().assert_closed(),
            BodyRead::Pending => {}
            other => break other,
        }
    };
    // What has come of it is not lost.
    assert!(matches!(rest, BodyRead::Data(_)), "{rest:?}");
    assert_eq!(exchange.read_chunk(LIMIT), BodyRead::Failed(BodyError::Stalled));
    client.assert_closed();
}

#[test]
fn a_client_that_leaves_inside_a_chunk_is_gone_and_its_bytes_are_not_lost() {
    let stage = Stage::new();
    let (mut client, exchange) = begin(&stage);
    client.send("8\r\nhalf");
    drop(client);
    assert_eq!(
        read_chunk(&stage, &exchange, LIMIT),
        BodyRead::Data("half".into())
    );
    assert_eq!(
        read_chunk(&stage, &exchange, LIMIT),
        BodyRead::Failed(BodyError::Gone)
    );
}

/// Sends an endless body of such pieces that nobody reads until no more of it is taken.
fn assert_held_back(stage: &Stage, piece: &[u8], payload: usize) {
    let (client, exchange) = begin(stage);
    let mut socket = client.stream.get_ref();
    let timeout = Some(Duration::from_millis(200));
    socket.set_write_timeout(timeout).expect("a time-out");
    assert!(!exchange.wait_more(3, 0));
    let mut sent = 0;
    while let Ok(size) = socket.write(piece) {
        sent += size;
        // The kernel's buffers on both sides take a few MiB of it.
        assert!(
            sent < 64 << 20,
            "{sent} bytes were taken of a body that nobody reads"
        );
    }
    let held = exchange.received();
    assert!(held <= payload as u64, "{held} bytes of payload lie in the front");
    // It was only held back: what is read makes room for more.
    let mut read = 0;
    while read <= held {
        match exchange.read_body(usize::MAX) {
            BodyRead::Data(piece) => read += piece.len() as u64,
            BodyRead::Pending if exchange.wait_body(5) => {}
            BodyRead::Pending => while stage.wakes.recv_timeout(PATIENCE) != Ok(5) {},
            other => panic!("{other:?} after {read} bytes"),
        }
    }
}

#[test]
fn a_body_that_nobody_reads_is_held_back() {
    // The high water and one read of hyper's.
    assert_held_back(&Stage::new(), &chunk(vec![b'x'; 65536]), (256 + 128) << 10);
}

#[test]
fn a_body_in_chunks_of_one_byte_is_held_back_before_its_bookkeeping_outgrows_it() {
    assert_held_back(&Stage::new(), &chunk("x").repeat(10_000), (256 << 10) / 64);
}
