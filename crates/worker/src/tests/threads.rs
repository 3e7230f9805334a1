//! Who drives, and the threads that read their own sockets, with real threads and real time.
//!
//! Nothing sleeps: each test waits for what it wants to see, under a limit that only a failure reaches.

use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fairlead_websocket::{MessageKind, Negotiated};

use super::support::{frame, settings, BINARY};
use crate::settings::WorkerSettings;
use crate::{Connection, Event, IsReceiving, Received, Sent, Worker};

const LIMIT: Duration = Duration::from_secs(20);

fn join(worker: &Worker) -> (Arc<Connection>, UnixStream) {
    let (ours, client) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    let connection = worker.connection(Negotiated::default(), "peer".into(), None);
    worker.join(&connection, ours.into(), Vec::new());
    (connection, client)
}

fn read_exactly(client: &mut UnixStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    std::io::Read::read_exact(client, &mut bytes).unwrap();
    bytes
}

fn write(client: &mut UnixStream, bytes: &[u8]) {
    std::io::Write::write_all(client, bytes).unwrap();
}

#[test]
fn the_loop_thread_answers_pings_while_nobody_drives() {
    let worker = Worker::start(settings()).unwrap();
    let (_connection, mut client) = join(&worker);
    let started = Instant::now();
    write(&mut client, &frame(0x89, b"ping"));
    assert_eq!(read_exactly(&mut client, 6), b"\x8a\x04ping");
    // 5 ms is promised; a busy machine may add its own.
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn the_driver_changes_thousands_of_times_without_a_lost_wake_up() {
    // Joint (c): the app drives, goes away, the loop thread takes over and gives back. The client counts: every message
    // is echoed by the app's thread, so one lost wake-up hangs the test.
    let worker = Arc::new(Worker::start(settings()).unwrap());
    let (connection, mut client) = join(&worker);
    let rounds = 3000;
    let app = {
        let (worker, connection) = (Arc::clone(&worker), Arc::clone(&connection));
        std::thread::spawn(move || {
            let mut events = Vec::new();
            let mut echoed = 0;
            while echoed < rounds {
                let mut message = None;
                match connection.receive(Some(1), |_, payload| message = Some(payload.to_vec())) {
                    Received::Message(()) => {
                        connection.send(MessageKind::Binary, &message.unwrap());
                        echoed += 1;
                        if echoed % 10 == 0 {
                            // Computes for longer than the loop thread's patience.
                            let until = Instant::now() + Duration::from_millis(echoed as u64 / 10 % 8);
                            while Instant::now() < until {
                                std::hint::spin_loop();
                            }
                        }
                    }
                    Received::Empty => {
                        let mut woken = false;
                        while !woken {
                            worker.drive(&mut events, Some(LIMIT));
                            woken = events.drain(..).any(|event| event == Event::Wake(1));
                        }
                    }
                    Received::Closed(closure) => panic!("{closure:?}"),
                }
            }
            while worker.connections() > 0 {
                worker.drive(&mut events, Some(Duration::from_millis(50)));
            }
        })
    };
    for round in 0..rounds {
        let payload = (round as u32).to_be_bytes();
        write(&mut client, &frame(BINARY, &payload));
        assert_eq!(read_exactly(&mut client, 6)[2..], payload);
    }
    drop(client);
    app.join().unwrap();
    assert!(
        worker.statistics().takeovers > 0,
        "the loop thread never took over"
    );
}

#[test]
fn a_ring_from_another_thread_ends_a_wait_every_time() {
    let worker = Arc::new(Worker::start(settings()).unwrap());
    let seen = Arc::new(AtomicUsize::new(0));
    let rounds = 5000;
    let ringer = {
        let (worker, seen) = (Arc::clone(&worker), Arc::clone(&seen));
        std::thread::spawn(move || {
            for round in 0..rounds {
                worker.report(Event::Wake(round as u64));
                while seen.load(Ordering::SeqCst) <= round {
                    std::thread::yield_now();
                }
            }
        })
    };
    let mut events = Vec::new();
    let started = Instant::now();
    while seen.load(Ordering::SeqCst) < rounds {
        worker.drive(&mut events, Some(LIMIT));
        seen.fetch_add(events.drain(..).count(), Ordering::SeqCst);
        assert!(started.elapsed() < LIMIT, "a wake-up was lost");
    }
    ringer.join().unwrap();
}

#[test]
fn the_loop_thread_sleeps_while_the_app_waits() {
    let worker = Worker::start(settings()).unwrap();
    let before = worker.statistics().takeovers;
    let mut events = Vec::new();
    worker.drive(&mut events, Some(Duration::from_millis(60)));
    assert_eq!(worker.statistics().takeovers, before, "nobody had to take over");
}

#[test]
fn an_app_counts_as_away_from_the_takeover_until_it_drives_again() {
    let worker = Worker::start(settings()).unwrap();
    let mut events = Vec::new();
    let away = Duration::from_millis(20);
    for _ in 0..3 {
        let started = Instant::now();
        while worker.app_away_for() < away {
            assert!(started.elapsed() < LIMIT, "nobody noticed that the app is away");
            std::thread::yield_now();
        }
        assert!(started.elapsed() >= away, "counted before it was away");
        worker.drive(&mut events, Some(Duration::ZERO));
        // The loop thread has let the app drive when the turn ends, or does so next.
        while worker.app_away_for() >= away {
            assert!(
                started.elapsed() < LIMIT,
                "the app is back and still counts as away"
            );
            worker.drive(&mut events, Some(Duration::ZERO));
        }
    }
}

#[test]
fn a_connection_on_its_way_to_the_loop_is_counted() {
    let worker = Worker::without_thread(Box::new(crate::EpollPoller::new().unwrap()), settings()).unwrap();
    let (_connection, client) = join(&worker);
    assert_eq!(worker.connections(), 1, "no turn has been taken yet");
    drop(client);
    let mut events = Vec::new();
    while worker.connections() > 0 {
        worker.drive(&mut events, Some(LIMIT));
    }
}

fn direct() -> WorkerSettings {
    WorkerSettings {
        threads_read: true,
        ..settings()
    }
}

/// Echoes until the connection ends, the way a thread of the threads runner does.
fn echo_loop(connection: &Arc<Connection>) -> usize {
    let mut echoed = 0;
    loop {
        let mut message = None;
        match connection.receive(None, |kind, payload| message = Some((kind, payload.to_vec()))) {
            Received::Message(()) => {
                let (kind, payload) = message.unwrap();
                while matches!(connection.send(kind, &payload), Sent::Full) {
                    assert!(connection.wait_room_blocking(LIMIT));
                }
                echoed += 1;
            }
            Received::Empty => assert_eq!(connection.wait_message(Some(LIMIT)), Ok(true)),
            Received::Closed(_) => return echoed,
        }
    }
}

#[test]
fn a_thread_reads_its_own_socket_and_answers_leave_together() {
    let worker = Worker::start(direct()).unwrap();
    let (connection, mut client) = join(&worker);
    let app = std::thread::spawn(move || echo_loop(&connection));
    for _ in 0..200 {
        let sixteen: Vec<u8> = (0..16u8).flat_map(|n| frame(BINARY, &[n])).collect();
        write(&mut client, &sixteen);
        let expected: Vec<u8> = (0..16u8).flat_map(|n| [0x82, 1, n]).collect();
        assert_eq!(read_exactly(&mut client, 48), expected);
    }
    drop(client);
    assert_eq!(app.join().unwrap(), 3200);
}

#[test]
fn the_loop_reads_for_a_thread_that_is_away_and_gives_the_socket_back() {
    let worker = Worker::start(direct()).unwrap();
    let (connection, mut client) = join(&worker);
    let go = Arc::new(AtomicBool::new(false));
    let app = {
        let go = Arc::clone(&go);
        std::thread::spawn(move || {
            for _ in 0..50 {
                // Away until the client has its pong: only the loop can have sent it.
                while !go.swap(false, Ordering::SeqCst) {
                    std::hint::spin_loop();
                }
                assert_eq!(connection.wait_message(Some(LIMIT)), Ok(true));
                let Received::Message(payload) = connection.receive(None, |_, payload| payload.to_vec())
                else {
                    panic!("no message")
                };
                connection.send(MessageKind::Binary, &payload);
            }
            echo_loop(&connection)
        })
    };
    for round in 0..50u8 {
        let asked = Instant::now();
        write(&mut client, &frame(0x89, &[round]));
        assert_eq!(read_exactly(&mut client, 3), [0x8a, 1, round]);
        // Milliseconds, on a quiet machine; the session's own timers would come only after 15 s.
        assert!(
            asked.elapsed() < Duration::from_secs(5),
            "round {round}: {:?}",
            asked.elapsed()
        );
        write(&mut client, &frame(BINARY, &[round]));
        go.store(true, Ordering::SeqCst);
        assert_eq!(read_exactly(&mut client, 3), [0x82, 1, round]);
    }
    drop(client);
    assert_eq!(app.join().unwrap(), 0);
}

#[test]
fn a_corked_answer_leaves_though_the_thread_never_comes_back() {
    let worker = Worker::start(direct()).unwrap();
    let (connection, mut client) = join(&worker);
    let mut two = frame(BINARY, b"a");
    two.extend(frame(BINARY, b"b"));
    write(&mut client, &two);
    assert_eq!(connection.wait_message(Some(LIMIT)), Ok(true));
    let Received::Message(()) = connection.receive(None, |_, _| ()) else {
        panic!()
    };
    connection.send(MessageKind::Binary, b"answer to a"); // corked: b waits
    assert_eq!(read_exactly(&mut client, 13)[2..], *b"answer to a");
}

#[test]
fn a_thread_that_waits_learns_that_the_worker_dropped_its_connection() {
    let worker = Worker::start(direct()).unwrap();
    let (connection, _client) = join(&worker);
    let waiting = Arc::clone(&connection);
    let app = std::thread::spawn(move || echo_loop(&waiting));
    connection.abandon(fairlead_websocket::Lost::Dropped);
    assert_eq!(app.join().unwrap(), 0);
}

#[test]
fn a_thread_that_waits_before_the_socket_is_there_gets_its_messages() {
    let worker = Worker::start(direct()).unwrap();
    let connection = worker.connection(Negotiated::default(), "peer".into(), None);
    let waiting = Arc::clone(&connection);
    let app = std::thread::spawn(move || echo_loop(&waiting));
    let (ours, mut client) = UnixStream::pair().unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    worker.join(&connection, ours.into(), frame(BINARY, b"ahead"));
    assert_eq!(read_exactly(&mut client, 7)[2..], *b"ahead");
    drop(client);
    assert_eq!(app.join().unwrap(), 1);
}

#[test]
fn the_second_thread_that_waits_for_a_connection_s_message_is_told_so() {
    let worker = Worker::start(direct()).unwrap();
    let (connection, mut client) = join(&worker);
    let done = Arc::new(AtomicBool::new(false));
    let waits = |connection: &Arc<Connection>| {
        let (connection, done) = (Arc::clone(connection), Arc::clone(&done));
        std::thread::spawn(move || {
            let found = connection.wait_message(Some(LIMIT));
            if found.is_err() {
                done.store(true, Ordering::SeqCst);
            }
            found
        })
    };
    let (one, other) = (waits(&connection), waits(&connection));
    let started = Instant::now();
    while !done.load(Ordering::SeqCst) {
        assert!(started.elapsed() < LIMIT, "both wait");
        std::thread::yield_now();
    }
    write(&mut client, &frame(BINARY, b"one"));
    let mut found = [one.join().unwrap(), other.join().unwrap()];
    found.sort_by_key(Result::is_err);
    assert_eq!(found, [Ok(true), Err(IsReceiving)]);
    // What is there may be taken by anyone, and who waits next may.
    assert_eq!(connection.wait_message(None), Ok(true));
    assert!(matches!(
        connection.receive(None, |_, _| ()),
        Received::Message(())
    ));
    assert_eq!(connection.wait_message(Some(Duration::ZERO)), Ok(false));
}
