//! Connections whose socket carries TLS, with a layer of the tests' own: what it holds can never be missed. The file stays
//! whole because that layer, and the client's side of it, serve every test.

use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use fairlead_websocket::{
    CloseCode, ClosedBy, Encoding, Lost, MessageKind, Negotiated, TlsRecordLayer, MAX_SEALED,
};

use super::channels;
use super::support::*;
use crate::settings::{LoopLimits, WorkerSettings};
use crate::{Connection, Event, Received, Sent, Worker};

const DATA: u8 = 1;
const END: u8 = 2;
/// Asks the other side to say something of its own, as a KeyUpdate does.
const QUESTION: u8 = 3;
const ANSWER: u8 = 4;
const ALERT: u8 = 5;

/// The longest record's content.
const LONGEST: usize = 1000;

/// Records are a kind, a length in two bytes, and the content with all bits turned.
#[derive(Default)]
struct Layer {
    incomplete: Vec<u8>,
    pending: Vec<u8>,
    has_ended: bool,
    is_closed: bool,
    /// The most plaintext that was pending at a time.
    most: Arc<AtomicUsize>,
    waiting: usize,
    trims: Arc<AtomicUsize>,
}

fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let mut record = vec![kind];
    record.extend((content.len() as u16).to_be_bytes());
    record.extend(content.iter().map(|byte| !byte));
    record
}

fn records(content: &[u8]) -> Vec<u8> {
    content
        .chunks(LONGEST)
        .flat_map(|part| record(DATA, part))
        .collect()
}

impl TlsRecordLayer for Layer {
    fn open(&mut self, received: &[u8], take: &mut dyn FnMut(&[u8])) -> Result<(), String> {
        self.incomplete.extend_from_slice(received);
        while let [kind, high, low, rest @ ..] = &self.incomplete[..] {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            if rest.len() < length {
                break;
            }
            match *kind {
                DATA => take(&rest[..length].iter().map(|byte| !byte).collect::<Vec<_>>()),
                END => self.has_ended = true,
                QUESTION => self.pending.extend(record(ANSWER, b"")),
                other => {
                    self.pending.extend(record(ALERT, b""));
                    return Err(format!("there is no record of kind {other}"));
                }
            }
            self.incomplete.drain(..3 + length);
        }
        Ok(())
    }

    fn has_ended(&self) -> bool {
        self.has_ended
    }

    fn seal(&mut self, plaintext: &[&[u8]]) {
        let plaintext = plaintext.concat();
        if self.pending.is_empty() {
            self.waiting = 0;
        }
        self.waiting += plaintext.len();
        self.most.fetch_max(self.waiting, Ordering::SeqCst);
        self.pending.extend(records(&plaintext));
    }

    fn end(&mut self) {
        if !std::mem::replace(&mut self.is_closed, true) {
            self.pending.extend(record(END, b""));
        }
    }

    fn pending(&self) -> &[u8] {
        &self.pending
    }

    fn advance(&mut self, count: usize) {
        self.pending.drain(..count);
    }

    fn trim(&mut self) {
        self.trims.fetch_add(1, Ordering::SeqCst);
    }
}

/// A client's side of it: the kinds that came, and the plaintext.
#[derive(Default)]
struct Wire {
    bytes: Vec<u8>,
    kinds: Vec<u8>,
    plain: Vec<u8>,
}

impl Wire {
    fn read(&mut self, client: &mut UnixStream) {
        self.bytes.extend(received(client));
        while let [kind, high, low, rest @ ..] = &self.bytes[..] {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            if rest.len() < length {
                break;
            }
            if *kind != DATA || self.kinds.last() != Some(&DATA) {
                self.kinds.push(*kind);
            }
            self.plain.extend(rest[..length].iter().map(|byte| !byte));
            self.bytes.drain(..3 + length);
        }
    }
}

fn join(bench: &Bench) -> (Arc<Connection>, UnixStream) {
    bench.join_through(Vec::new(), Some(Box::<Layer>::default()))
}

fn wire(client: &mut UnixStream) -> Wire {
    let mut wire = Wire::default();
    wire.read(client);
    assert!(wire.bytes.is_empty(), "a record is cut");
    wire
}

#[test]
fn records_may_be_cut_anywhere() {
    let bench = Bench::new(settings());
    let (connection, mut client) = join(&bench);
    let bytes = records(&frame(BINARY, b"a message in three records"))
        .into_iter()
        .chain(record(DATA, &frame(BINARY, b"two")))
        .collect::<Vec<_>>();
    for cut in 0..bytes.len() {
        send(&mut client, &bytes[..cut]);
        bench.turn();
        send(&mut client, &bytes[cut..]);
        bench.turn();
        assert_eq!(
            take(&connection).as_deref(),
            Some(&b"a message in three records"[..])
        );
        assert_eq!(take(&connection).as_deref(), Some(&b"two"[..]));
    }
    connection.send(MessageKind::Binary, b"answer");
    bench.turn();
    assert_eq!(wire(&mut client).plain, b"\x82\x06answer");
}

#[test]
fn what_was_read_ahead_is_plaintext_and_comes_before_an_incomplete_record() {
    let bench = Bench::new(settings());
    let message = frame(BINARY, b"half and half");
    let rest = record(DATA, &message[5..]);
    let mut layer = Layer::default();
    layer.open(&rest[..4], &mut |_| unreachable!()).unwrap();
    let (connection, mut client) = bench.join_through(message[..5].to_vec(), Some(Box::new(layer)));
    assert_eq!(take(&connection), None);
    send(&mut client, &rest[4..]);
    bench.turn();
    assert_eq!(take(&connection).as_deref(), Some(&b"half and half"[..]));
}

#[test]
fn records_that_the_front_could_not_write_leave_first() {
    let bench = Bench::new(settings());
    let mut layer = Layer::default();
    layer.seal(&[b"HTTP/1.1 101"]);
    let (connection, mut client) = bench.join_through(Vec::new(), Some(Box::new(layer)));
    connection.send(MessageKind::Text, b"x");
    bench.turn();
    assert_eq!(wire(&mut client).plain, b"HTTP/1.1 101\x81\x01x");
}

#[test]
fn a_quiet_connection_s_layer_gives_its_memory_back_when_its_timer_is_due() {
    let bench = Bench::new(settings());
    let layer = Layer::default();
    let trims = Arc::clone(&layer.trims);
    let (_connection, _client) = bench.join_through(Vec::new(), Some(Box::new(layer)));
    bench.after(Duration::from_secs(1));
    assert_eq!(trims.load(Ordering::SeqCst), 0);
    bench.after(Duration::from_secs(30));
    assert!(trims.load(Ordering::SeqCst) > 0);
}

#[test]
fn a_layer_goes_with_its_connection_though_the_app_keeps_that() {
    let bench = Bench::new(settings());
    let layer = Layer::default();
    let held = Arc::clone(&layer.trims);
    let (connection, client) = bench.join_through(Vec::new(), Some(Box::new(layer)));
    assert_eq!(Arc::strong_count(&held), 2);
    drop(client);
    bench.turn();
    assert_eq!(bench.worker.connections(), 0);
    assert_eq!(Arc::strong_count(&held), 1);
    drop(connection);
}

#[test]
fn what_the_layer_has_to_say_itself_leaves_without_the_app() {
    let bench = Bench::new(settings());
    let (_connection, mut client) = join(&bench);
    send(&mut client, &record(QUESTION, b""));
    bench.turn();
    bench.turn();
    assert_eq!(wire(&mut client).kinds, [ANSWER]);
}

#[test]
fn a_sender_that_is_stopped_loses_and_reorders_nothing_and_little_is_sealed() {
    let bench = Bench::new(settings());
    let layer = Layer::default();
    let most = Arc::clone(&layer.most);
    let (connection, mut client) = bench.join_through(Vec::new(), Some(Box::new(layer)));
    let mut expected = Vec::new();
    let mut wire = Wire::default();
    let mut was_full = false;
    for round in 0..300u32 {
        // Both sides of the write-through threshold, and some that are sealed in several steps.
        let payload = vec![round as u8; 1 + (round as usize * 7919) % 150_000];
        while !matches!(connection.send(MessageKind::Binary, &payload), Sent::Done) {
            was_full = true;
            wire.read(&mut client);
            bench.turn();
        }
        Encoding::Identity.append_message(MessageKind::Binary, b"", &payload, &mut expected);
        if round % 3 == 0 {
            bench.turn();
        }
    }
    while wire.plain.len() < expected.len() {
        bench.turn();
        wire.read(&mut client);
    }
    assert!(was_full, "the outbox's mark was never reached");
    assert!(wire.plain == expected, "the stream differs");
    assert!(most.load(Ordering::SeqCst) <= MAX_SEALED);
}

#[test]
fn a_sender_that_waits_for_room_is_woken_when_the_peer_reads() {
    let bench = Bench::new(settings());
    let (connection, mut client) = join(&bench);
    let mut wire = Wire::default();
    let mut accepted = 0;
    while matches!(connection.send(MessageKind::Binary, &[7; 50_000]), Sent::Done) {
        accepted += 50_000;
        bench.turn();
        assert!(accepted < 16 << 20, "send never stopped");
    }
    assert!(!connection.wait_room(5));
    let mut woken = Vec::new();
    while wire.plain.len() < accepted {
        wire.read(&mut client);
        woken.extend(bench.turn());
    }
    assert_eq!(woken, [Event::Wake(5)]);
}

#[test]
fn a_peer_that_takes_nothing_is_dropped_even_if_all_is_sealed() {
    let bench = Bench::new(WorkerSettings {
        limits: LoopLimits {
            stall_timeout: Duration::from_secs(1),
            ..loop_limits()
        },
        ..settings()
    });
    let (connection, client) = join(&bench);
    // More than the socket takes, less than what is sealed at once lies behind it.
    let mut sent = 0;
    while connection.lock().is_blocked() || sent < 1 << 20 {
        if !matches!(connection.send(MessageKind::Binary, &[1; 1000]), Sent::Done) {
            break;
        }
        sent += 1000;
        bench.turn();
    }
    bench.after(Duration::from_secs(2));
    assert_eq!(connection.closure().unwrap().by, ClosedBy::Lost(Lost::NotReading));
    drop(client);
}

#[test]
fn an_app_that_does_not_receive_stops_the_peer_and_gets_all_of_it_later() {
    let bench = Bench::new(settings());
    let (connection, mut client) = join(&bench);
    let bytes = records(&frame(BINARY, &[3; 30_000]));
    let (mut messages, mut got) = (0, 0);
    let mut rest: &[u8] = &[];
    // Until the socket is full although the loop has had its turns.
    let mut refusals = 0;
    while refusals < 3 {
        if rest.is_empty() {
            rest = &bytes;
            messages += 1;
        }
        match client.write(rest) {
            Ok(count) => (rest, refusals) = (&rest[count..], 0),
            Err(_) => refusals += 1,
        }
        bench.turn();
        assert!(messages < 1000, "the peer was never stopped");
    }
    while got < messages {
        // Taking one is what sets the loop going again: nobody else wakes it.
        let before = got;
        while let Some(message) = take(&connection) {
            assert!(message == [3; 30_000]);
            got += 1;
        }
        bench.turn();
        if let Ok(count) = client.write(rest) {
            rest = &rest[count..];
        }
        bench.turn();
        assert!(
            got > before || take_is_near(&connection, &bench),
            "{got} of {messages} messages came"
        );
    }
}

/// A message is there, or comes with some further turns.
fn take_is_near(connection: &Arc<Connection>, bench: &Bench) -> bool {
    (0..100).any(|_| {
        bench.turn();
        connection.has_something()
    })
}

#[test]
fn a_close_is_followed_by_the_end_of_tls_and_then_of_the_stream() {
    let bench = Bench::new(settings());
    let (connection, mut client) = join(&bench);
    send(&mut client, &record(DATA, &frame(0x88, &1000u16.to_be_bytes())));
    bench.turn();
    bench.turn();
    let wire = wire(&mut client);
    assert_eq!(wire.plain, b"\x88\x02\x03\xe8");
    assert_eq!(wire.kinds, [DATA, END]);
    assert_eq!(connection.closure().unwrap().by, ClosedBy::Peer);
    // The end of the stream, without a reset.
    client.set_nonblocking(false).unwrap();
    assert_eq!(std::io::Read::read(&mut client, &mut [0; 8]).unwrap(), 0);
}

#[test]
fn a_peer_that_says_all_at_once_gets_its_close_and_the_end_of_tls() {
    let bench = Bench::new(settings());
    let (connection, mut client) = join(&bench);
    let close = record(DATA, &frame(0x88, &1000u16.to_be_bytes()));
    send(&mut client, &[close, record(END, b"")].concat());
    client.shutdown(Shutdown::Write).unwrap();
    bench.turn();
    bench.turn();
    let wire = wire(&mut client);
    assert_eq!(
        (wire.plain, wire.kinds),
        (b"\x88\x02\x03\xe8".to_vec(), vec![DATA, END])
    );
    assert_eq!(connection.closure().unwrap().by, ClosedBy::Peer);
    assert_eq!(bench.worker.connections(), 0);
}

#[test]
fn the_end_of_tls_is_the_end_of_the_stream() {
    let bench = Bench::new(settings());
    let (connection, mut client) = join(&bench);
    send(
        &mut client,
        &[record(DATA, &frame(BINARY, b"last")), record(END, b"")].concat(),
    );
    bench.turn();
    assert_eq!(take(&connection).as_deref(), Some(&b"last"[..]));
    assert_eq!(connection.closure().unwrap().by, ClosedBy::Lost(Lost::Eof));
    assert_eq!(wire(&mut client).kinds, [END]);
}

#[test]
fn records_that_cannot_be_read_end_the_connection_with_an_alert() {
    let bench = Bench::new(settings());
    let (connection, mut client) = join(&bench);
    send(&mut client, &record(99, b"garbage"));
    bench.turn();
    assert_eq!(connection.closure().unwrap().by, ClosedBy::Lost(Lost::BrokenTls));
    assert_eq!(wire(&mut client).kinds.first(), Some(&ALERT));
    assert_eq!(bench.worker.connections(), 0);
}

#[test]
fn our_own_close_waits_for_the_peer_s_before_tls_ends() {
    let bench = Bench::new(settings());
    let (connection, mut client) = join(&bench);
    connection.close(CloseCode::NORMAL, "bye").unwrap();
    bench.turn();
    assert_eq!(wire(&mut client).kinds, [DATA]);
    send(&mut client, &record(DATA, &frame(0x88, &1000u16.to_be_bytes())));
    bench.turn();
    bench.turn();
    assert_eq!(wire(&mut client).kinds, [END]);
}

#[test]
fn what_is_published_is_sealed_for_each_member() {
    let ground = channels::channels();
    let bench = channels::bench_on(&ground, 1 << 20, crate::SlowConsumer::Close);
    let (one, mut one_client) = join(&bench);
    let (two, mut two_client) = bench.join();
    channels::join(&one, "room");
    channels::join(&two, "room");
    channels::publish(&ground, "room", "to both");
    bench.turn();
    assert_eq!(wire(&mut one_client).plain, b"\x81\x07to both");
    assert_eq!(received(&mut two_client), b"\x81\x07to both");
}

#[test]
fn a_member_that_reads_late_gets_what_was_published_in_order() {
    let ground = channels::channels();
    let bench = channels::bench_on(&ground, 2 << 20, crate::SlowConsumer::Close);
    let (connection, mut client) = join(&bench);
    channels::join(&connection, "room");
    let mut expected = Vec::new();
    for number in 0..1500 {
        let text = format!("{number}: {}", "x".repeat(1000));
        channels::publish(&ground, "room", &text);
        Encoding::Identity.append_message(MessageKind::Text, b"", text.as_bytes(), &mut expected);
        bench.turn();
    }
    let mut wire = Wire::default();
    for _ in 0..100_000 {
        wire.read(&mut client);
        if wire.plain.len() >= expected.len() {
            break;
        }
        bench.turn();
    }
    assert!(
        wire.plain == expected,
        "{} of {}",
        wire.plain.len(),
        expected.len()
    );
}

#[test]
fn a_thread_that_reads_its_own_socket_reads_through_the_layer() {
    let worker = Worker::start(WorkerSettings {
        threads_read: true,
        ..settings()
    })
    .unwrap();
    let (ours, mut client) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let connection = worker.connection(Negotiated::default(), "peer".into(), None);
    worker.join_tls(
        &connection,
        ours.into(),
        Vec::new(),
        Some(Box::<Layer>::default()),
    );
    let app = {
        let connection = Arc::clone(&connection);
        std::thread::spawn(move || loop {
            assert_eq!(connection.wait_message(Some(Duration::from_secs(20))), Ok(true));
            let mut message = Vec::new();
            match connection.receive(None, |_, payload| message.extend_from_slice(payload)) {
                Received::Message(()) => {
                    while !matches!(connection.send(MessageKind::Binary, &message), Sent::Done) {
                        assert!(connection.wait_room_blocking(Duration::from_secs(20)));
                    }
                }
                Received::Closed(_) => break,
                Received::Empty => {}
            }
        })
    };
    let mut wire = Wire::default();
    let mut expected = Vec::new();
    for round in 0..200usize {
        let payload = vec![round as u8; 1 + round * 331 % 40_000];
        let bytes = records(&frame(BINARY, &payload));
        let (first, second) = bytes.split_at(bytes.len() / 2);
        client.write_all(first).unwrap();
        client.write_all(second).unwrap();
        Encoding::Identity.append_message(MessageKind::Binary, b"", &payload, &mut expected);
        while wire.plain.len() < expected.len() {
            let mut buffer = [0; 65536];
            let count = std::io::Read::read(&mut client, &mut buffer).unwrap();
            assert!(count > 0);
            wire.bytes.extend_from_slice(&buffer[..count]);
            client.set_nonblocking(true).unwrap();
            wire.read(&mut client);
            client.set_nonblocking(false).unwrap();
        }
        assert!(wire.plain == expected);
    }
    client
        .write_all(&record(DATA, &frame(0x88, &1000u16.to_be_bytes())))
        .unwrap();
    app.join().unwrap();
}
