//! Files as bodies: what arrives is what lies in the file, whatever stands around it, and however it ends.
//!
//! Each file has bytes that tell their position, so that a range of another file or of nothing would be seen.

mod support;

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use fairlead_front::{Exchange, FrontSettings, Gone, Listener};
use support::{head, Client, Stage, GET, PATIENCE};

/// Bytes of which no two ranges of some length are the same.
fn content(size: usize, seed: u32) -> Vec<u8> {
    (0..size as u32 / 4 + 1)
        .flat_map(|at| (at ^ seed).wrapping_mul(2_654_435_761).to_le_bytes())
        .take(size)
        .collect()
}

/// A file without a name.
fn file(content: &[u8]) -> File {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("fairlead-{}-{number}", std::process::id()));
    let mut file = File::options()
        .create_new(true)
        .read(true)
        .write(true)
        .open(&path)
        .expect("a file");
    std::fs::remove_file(&path).expect("its name goes");
    file.write_all(content).expect("its content");
    file
}

fn wait_sent(stage: &Stage, exchange: &Exchange) {
    while !exchange.wait_writable(9) {
        assert_eq!(stage.wakes.recv_timeout(PATIENCE), Ok(9));
    }
}

#[test]
fn a_range_of_a_file_is_sent_from_its_offset_and_the_connection_lives_on() {
    let stage = Stage::new();
    let all = content(3_000_000, 1);
    let mut client = stage.client();
    for (offset, length) in [
        (0, 3_000_000),
        (1, 1_000_000),
        (2_999_999, 1),
        (5, 262_144),
        (7, 262_145),
    ] {
        client.send(GET);
        let exchange = stage.exchange();
        let length_text = length.to_string();
        let head = head(200, &[("content-length", &length_text)]);
        exchange.start_response(head).expect("a client");
        let mut file = file(&all);
        // The position of the descriptor, which others may share, plays no part.
        file.seek(SeekFrom::Start(42)).expect("a file");
        exchange
            .write_file(file.try_clone().expect("a duplicate"), offset, length)
            .expect("a client");
        exchange.finish();
        let reply = client.reply();
        assert!(
            reply.body == all[offset as usize..][..length as usize],
            "{offset} {length}"
        );
        assert_eq!(file.stream_position().expect("a file"), 42);
    }
}

#[test]
fn bytes_and_files_keep_their_order_under_every_framing() {
    let all = content(700_000, 2);
    let other = content(300_000, 3);
    let expected = [
        b"before",
        &all[10..],
        b"between",
        &other[..],
        &all[..100],
        b"after",
    ]
    .concat();
    let stage = Stage::new();
    for (request, headers) in [
        (GET, vec![]),
        (GET, vec![("content-length", expected.len().to_string())]),
        ("GET / HTTP/1.0\r\n\r\n", vec![]),
    ] {
        let mut client = stage.client_sending(request);
        let exchange = stage.exchange();
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        exchange.start_response(head(200, &headers)).expect("a client");
        exchange.write("before").expect("a client");
        exchange
            .write_file(file(&all), 10, all.len() as u64 - 10)
            .expect("a client");
        exchange.write("between").expect("a client");
        exchange
            .write_file(file(&other), 0, other.len() as u64)
            .expect("a client");
        exchange.write_file(file(&all), 0, 100).expect("a client");
        exchange.write("after").expect("a client");
        exchange.finish();
        let reply = client.reply();
        assert!(reply.body == expected, "{request:?} {headers:?}");
    }
}

#[test]
fn a_unix_socket_takes_files_too() {
    let path = std::env::temp_dir().join(format!("fairlead-files-{}.sock", std::process::id()));
    let stage = Stage::on(
        Listener::bind(path.to_str().expect("a path")).expect("a listener"),
        support::front_settings(),
        true,
    );
    let all = content(1_000_000, 4);
    let mut client = Client {
        stream: BufReader::new(UnixStream::connect(&path).expect("the front accepts")),
    };
    client.send(GET);
    let exchange = stage.exchange();
    exchange.start_response(head(200, &[])).expect("a client");
    exchange.write_file(file(&all), 0, 1_000_000).expect("a client");
    exchange.finish();
    assert!(client.reply().body == all);
}

#[test]
fn a_file_that_the_kernel_cannot_send_by_itself_is_read() {
    // This process's own memory: sendfile(2) refuses it, read(2) does not.
    let all = content(500_000, 5);
    let memory = File::open("/proc/self/mem").expect("a file");
    let stage = Stage::new();
    let mut client = stage.client_sending(GET);
    let exchange = stage.exchange();
    exchange.start_response(head(200, &[])).expect("a client");
    exchange
        .write_file(memory, all.as_ptr() as u64, all.len() as u64)
        .expect("a client");
    exchange.finish();
    assert!(client.reply().body == all);
}

#[test]
fn a_file_longer_than_the_content_length_is_cut_to_it_and_the_next_is_not_taken_for_its_rest() {
    let stage = Stage::new();
    let mut client = stage.client();
    let (first, second) = (content(600_000, 6), content(600_000, 7));
    for all in [&first, &second] {
        client.send(GET);
        let exchange = stage.exchange();
        exchange
            .start_response(head(200, &[("content-length", "300000")]))
            .expect("a client");
        exchange.write_file(file(all), 0, 600_000).expect("a client");
        wait_sent(&stage, &exchange);
        exchange.finish();
        assert!(client.reply().body == all[..300_000]);
    }
}

#[test]
fn a_file_shorter_than_the_content_length_ends_the_connection() {
    let stage = Stage::new();
    let mut client = stage.client_sending(GET);
    let exchange = stage.exchange();
    let head = head(200, &[("content-length", "100")]);
    exchange.start_response(head).expect("a client");
    exchange.write_file(file(b"short"), 0, 5).expect("a client");
    exchange.finish();
    client.head();
    assert_eq!(client.rest(), b"short");
}

#[test]
fn a_file_that_shrinks_while_it_is_sent_cuts_the_connection_with_a_line() {
    let stage = Stage::new();
    let mut client = stage.client_sending(GET);
    let exchange = stage.exchange();
    let all = content(64 << 20, 8);
    let file = file(&all);
    let size = all.len().to_string();
    exchange
        .start_response(head(200, &[("content-length", &size)]))
        .expect("a client");
    exchange
        .write_file(file.try_clone().expect("a duplicate"), 0, all.len() as u64)
        .expect("a client");
    exchange.finish();
    // The client has the beginning, and the kernel's buffers do not hold the rest.
    client.head();
    let mut begin = vec![0; 100_000];
    client.stream.read_exact(&mut begin).expect("the beginning");
    file.set_len(200_000).expect("a file");
    let mut rest = Vec::new();
    let _ = client.stream.read_to_end(&mut rest);
    assert!(rest.len() < all.len() - begin.len());
    begin.append(&mut rest);
    assert!(begin[..200_000] == all[..200_000]);
    // sendfile(2) gives the socket the file's own pages; where one of those was cut, the kernel has zeroed it since.
    let as_it_was = |(seen, was): (&u8, &u8)| seen == was || *seen == 0;
    assert!(begin.iter().zip(&all).skip(200_000).all(as_it_was));
    let line = stage.line("the response was cut");
    assert!(line.contains("too early"), "{line}");
    while !exchange.wait_writable(9) {
        assert_eq!(stage.wakes.recv_timeout(PATIENCE), Ok(9));
    }
    assert!(exchange.is_gone());
    assert_eq!(exchange.write("more"), Err(Gone));
}

#[test]
fn there_is_room_again_only_when_the_whole_file_was_taken() {
    let stage = Stage::new();
    let mut client = stage.client_sending(GET);
    let exchange = stage.exchange();
    let all = content(32 << 20, 9);
    exchange.start_response(head(200, &[])).expect("a client");
    exchange
        .write_file(file(&all), 0, all.len() as u64)
        .expect("a client");
    assert!(!exchange.is_writable());
    assert!(!exchange.wait_writable(9));
    // Others are served meanwhile.
    let mut other = stage.client_sending(GET);
    stage.exchange().respond(head(200, &[]), "").expect("a client");
    assert_eq!(other.reply().status(), 200);
    assert!(stage.wakes.try_recv().is_err());
    let reader = std::thread::spawn(move || client.reply().body);
    wait_sent(&stage, &exchange);
    exchange.finish();
    assert!(reader.join().expect("a whole reply") == all);
}

#[test]
fn a_response_to_head_has_no_file_in_it() {
    let stage = Stage::new();
    let mut client = stage.client_sending(format!("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n{GET}"));
    let exchange = stage.exchange();
    exchange
        .start_response(head(200, &[("content-length", "5")]))
        .expect("a client");
    exchange.write_file(file(b"hello"), 0, 5).expect("nobody minds");
    wait_sent(&stage, &exchange);
    exchange.finish();
    assert_eq!(client.head().header("content-length"), Some("5"));
    stage
        .exchange()
        .respond(head(200, &[]), "next")
        .expect("a client");
    assert_eq!(client.reply().body, b"next");
}

#[test]
fn a_client_that_leaves_or_stops_reading_wakes_whoever_sends_it_a_file() {
    let stage = Stage::with(FrontSettings {
        stall_timeout: Duration::from_millis(50),
        ..support::front_settings()
    });
    let all = content(32 << 20, 10);
    for leaves in [true, false] {
        let client = stage.client_sending(GET);
        let exchange = stage.exchange();
        exchange.start_response(head(200, &[])).expect("a client");
        exchange
            .write_file(file(&all), 0, all.len() as u64)
            .expect("a client");
        let kept = (!leaves).then_some(client);
        wait_sent(&stage, &exchange);
        assert!(exchange.is_gone());
        if let Some(mut client) = kept {
            let _ = std::io::copy(&mut client.stream, &mut std::io::sink());
        }
    }
    assert_eq!(stage.front.statistics().timed_out, 1);
}
