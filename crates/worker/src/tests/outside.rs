//! Runners that wait in a loop of their own, on the worker's descriptors; and descriptors of the app's own.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fairlead_websocket::{MessageKind, Negotiated};
use rustix::event::{poll, PollFd, PollFlags, Timespec};

use super::support::*;
use crate::poller::Interest;
use crate::{Connection, Event, LoopLimits, Received, Sent, Stall, Worker, WorkerSettings};

const LONG: Duration = Duration::from_secs(20);
const READ: Interest = Interest {
    read: true,
    write: false,
};

/// True once the worker has something for its runner, false after `limit`.
fn is_readable(worker: &Worker, limit: Duration) -> bool {
    let limit = Timespec {
        tv_sec: limit.as_secs() as i64,
        tv_nsec: i64::from(limit.subsec_nanos()),
    };
    let [readiness, waker] = worker.descriptors().unwrap();
    let mut fds = [
        PollFd::new(&readiness, PollFlags::IN),
        PollFd::new(&waker, PollFlags::IN),
    ];
    poll(&mut fds, Some(&limit)).unwrap() > 0
}

/// What a foreign loop calls: a turn without a wait, then back outside.
fn call(worker: &Worker) -> Vec<Event> {
    let mut events = Vec::new();
    worker.drive(&mut events, Some(Duration::ZERO));
    worker.leave_to_foreign_loop();
    events
}

/// The foreign loop runs until an event comes.
fn wait(worker: &Worker) -> Vec<Event> {
    let began = Instant::now();
    while began.elapsed() < LONG {
        assert!(is_readable(worker, LONG), "nothing became readable");
        let events = call(worker);
        if !events.is_empty() {
            return events;
        }
    }
    panic!("readable again and again, and no event");
}

fn join(worker: &Worker) -> (Arc<Connection>, UnixStream) {
    let (ours, client) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    client.set_read_timeout(Some(LONG)).unwrap();
    let connection = worker.connection(Negotiated::default(), "peer /path".into(), None);
    worker.join(&connection, ours.into(), Vec::new());
    (connection, client)
}

#[test]
fn the_descriptors_are_readable_exactly_while_there_is_something_to_do() {
    let bench = Bench::new(settings());
    let (connection, mut client) = bench.join();
    let worker = &bench.worker;
    call(worker);
    assert!(!is_readable(worker, Duration::ZERO));
    assert!(matches!(connection.receive(Some(3), |_, _| ()), Received::Empty));
    send(&mut client, &frame(BINARY, b"a message"));
    assert!(is_readable(worker, LONG));
    assert_eq!(call(worker), [Event::Wake(3)]);
    assert!(!is_readable(worker, Duration::ZERO));

    // Sent from outside a turn: it leaves with the next one.
    assert!(matches!(connection.send(MessageKind::Binary, b"x"), Sent::Done));
    assert!(is_readable(worker, LONG));
    assert_eq!(call(worker), []);
    assert_eq!(received(&mut client), b"\x82\x01x");
    assert!(!is_readable(worker, Duration::ZERO));

    worker.wake();
    assert!(is_readable(worker, LONG));
    assert_eq!(call(worker), []);
    assert!(!is_readable(worker, Duration::ZERO));
}

#[test]
fn what_was_sent_in_a_turn_leaves_when_the_host_goes() {
    let bench = Bench::new(settings());
    let (connection, mut client) = bench.join();
    let mut events = Vec::new();
    bench.worker.drive(&mut events, Some(Duration::ZERO));
    for _ in 0..2 {
        assert!(matches!(connection.send(MessageKind::Binary, b"x"), Sent::Done));
    }
    assert_eq!(received(&mut client), b"");
    bench.worker.leave_to_foreign_loop();
    assert_eq!(received(&mut client), b"\x82\x01x\x82\x01x");
    assert!(!is_readable(&bench.worker, Duration::ZERO));
}

#[test]
fn the_next_timer_is_the_alarm() {
    let bench = Bench::new(settings());
    call(&bench.worker);
    bench.worker.wake_at(Duration::from_millis(700), 5);
    call(&bench.worker);
    assert_eq!(bench.dials.alarm.load(Ordering::SeqCst), 700);
    bench.dials.advance(Duration::from_millis(700));
    assert_eq!(call(&bench.worker), [Event::Deadline(5)]);
    assert_eq!(bench.dials.alarm.load(Ordering::SeqCst), u64::MAX);
}

#[test]
fn a_timer_for_now_is_due_though_the_alarm_of_this_moment_has_gone_off() {
    let bench = Bench::new(settings());
    bench.worker.wake_at(Duration::from_millis(700), 5);
    call(&bench.worker);
    bench.dials.advance(Duration::from_millis(700));
    assert_eq!(call(&bench.worker), [Event::Deadline(5)]);
    // As a task does that lets others run: it sleeps for no time.
    for token in 0..3 {
        let mut events = Vec::new();
        bench.worker.drive(&mut events, Some(Duration::ZERO));
        bench.worker.wake_at(Duration::ZERO, token);
        bench.worker.leave_to_foreign_loop();
        assert!(is_readable(&bench.worker, Duration::ZERO));
        assert_eq!(call(&bench.worker), [Event::Deadline(token)]);
    }
    assert!(!is_readable(&bench.worker, Duration::ZERO));
}

#[test]
fn real_timers_wake_a_foreign_loop() {
    let worker = Worker::start(settings()).unwrap();
    call(&worker);
    worker.wake_at(Duration::from_millis(30), 8);
    let began = Instant::now();
    assert_eq!(wait(&worker), [Event::Deadline(8)]);
    assert!(began.elapsed() >= Duration::from_millis(29));
}

#[test]
fn an_app_that_computes_outside_loses_no_peer_and_no_event() {
    let worker = Worker::start(settings()).unwrap();
    let (connection, mut client) = join(&worker);
    call(&worker);
    for round in 0..20u8 {
        assert!(matches!(
            connection.receive(Some(u64::from(round)), |_, _| ()),
            Received::Empty
        ));
        client.write_all(&frame(0x89, &[round])).unwrap();
        // The app computes and never looks at the descriptors: the loop thread answers the ping.
        let mut pong = [0u8; 3];
        client.read_exact(&mut pong).unwrap();
        assert_eq!(pong, [0x8a, 1, round]);
        client.write_all(&frame(BINARY, &[round])).unwrap();
        // Taken by the loop thread or not yet: the runner is told either way.
        assert_eq!(wait(&worker), [Event::Wake(u64::from(round))]);
        assert_eq!(take(&connection).as_deref(), Some(&[round][..]));
    }
    assert!(worker.statistics().takeovers > 0);
}

#[test]
fn an_app_that_computes_in_a_turn_loses_no_peer_and_keeps_no_answer() {
    let worker = Worker::start(settings()).unwrap();
    let (connection, mut client) = join(&worker);
    for round in 0..20u8 {
        call(&worker);
        // Long enough for the loop thread to find that nothing is ready, and to sleep on the descriptor.
        assert!(!is_readable(&worker, Duration::from_millis(8)));
        worker.drive(&mut Vec::new(), Some(Duration::ZERO));
        // A task of this turn sends, and computes.
        assert!(matches!(
            connection.send(MessageKind::Binary, &[round]),
            Sent::Done
        ));
        let mut message = [0u8; 3];
        client.read_exact(&mut message).unwrap();
        assert_eq!(message, [0x82, 1, round]);
    }
}

#[test]
fn an_app_that_stays_away_for_long_is_told_of_and_so_is_its_return() {
    let (tell, told) = std::sync::mpsc::channel();
    let worker = Worker::start(WorkerSettings {
        limits: LoopLimits {
            stall_after: Duration::from_millis(50),
            ..loop_limits()
        },
        on_stall: Arc::new(move |stall| tell.send(stall).unwrap()),
        ..settings()
    })
    .unwrap();
    for is_outside in [false, true] {
        let mut events = Vec::new();
        let began = Instant::now();
        worker.drive(&mut events, Some(Duration::ZERO));
        if is_outside {
            // Left, and something is ready that it does not come for.
            worker.leave_to_foreign_loop();
            worker.wake();
        }
        let Stall::Lasts(so_far) = told.recv_timeout(LONG).unwrap() else {
            panic!("it came back before it was told to be away");
        };
        assert!(so_far >= Duration::from_millis(50) && so_far <= began.elapsed());
        worker.drive(&mut events, Some(Duration::ZERO));
        let Stall::Ended(after) = told.recv_timeout(LONG).unwrap() else {
            panic!("it was away once and is told of twice");
        };
        assert!(after >= so_far && after <= began.elapsed());
    }
}

#[test]
fn the_driver_changes_with_a_foreign_loop_without_a_lost_wake_up() {
    let worker = Worker::start(settings()).unwrap();
    let (connection, mut client) = join(&worker);
    call(&worker);
    let echo = std::thread::spawn(move || {
        for number in 0..3000u16 {
            client.write_all(&frame(BINARY, &number.to_be_bytes())).unwrap();
            let mut answer = [0u8; 4];
            client.read_exact(&mut answer).unwrap();
            assert_eq!(answer[2..], number.to_be_bytes());
        }
    });
    for number in 0..3000u64 {
        let message = loop {
            match connection.receive(Some(number), |_, payload| payload.to_vec()) {
                Received::Message(message) => break message,
                Received::Empty => assert_eq!(wait(&worker), [Event::Wake(number)]),
                Received::Closed(closure) => panic!("{closure:?}"),
            }
        };
        if number % 100 == 0 {
            // Something is ready and the runner does not come: the loop thread does.
            let before = worker.statistics().takeovers;
            worker.wake();
            while worker.statistics().takeovers == before {
                std::thread::yield_now();
            }
        }
        assert!(matches!(
            connection.send(MessageKind::Binary, &message),
            Sent::Done
        ));
        if number % 3 == 0 {
            worker.leave_to_foreign_loop();
        }
    }
    while !echo.is_finished() {
        is_readable(&worker, Duration::from_millis(10));
        call(&worker);
    }
    echo.join().unwrap();
}

#[test]
fn a_watched_descriptor_wakes_its_unit_once() {
    let bench = Bench::new(settings());
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let first = bench.worker.watch(ours.as_fd(), READ, 1).unwrap();
    let second = bench.worker.watch(ours.as_fd(), READ, 2).unwrap();
    assert_eq!(bench.turn(), []);
    theirs.write_all(b"x").unwrap();
    let mut events = bench.turn();
    events.sort_by_key(|event| format!("{event:?}"));
    assert_eq!(events, [Event::Wake(1), Event::Wake(2)]);
    assert!(first.has_fired() && second.has_fired());
    assert_eq!(bench.turn(), [], "once, though the byte still lies there");
    drop((first, second));
    let again = bench.worker.watch(ours.as_fd(), READ, 3).unwrap();
    assert_eq!(bench.turn(), [Event::Wake(3)]);
    drop(again);
}

#[test]
fn a_watch_that_is_dropped_wakes_nobody_and_leaves_nothing_watched() {
    let bench = Bench::new(settings());
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    for _ in 0..100 {
        drop(bench.worker.watch(ours.as_fd(), READ, 1).unwrap());
    }
    theirs.write_all(b"x").unwrap();
    assert_eq!(bench.turn(), []);
    assert!(!is_readable(&bench.worker, Duration::ZERO));
}

#[test]
fn a_file_cannot_be_watched() {
    let bench = Bench::new(settings());
    let file = std::fs::File::open("Cargo.toml").unwrap();
    assert!(bench.worker.watch(file.as_fd(), READ, 1).is_err());
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let watch = bench.worker.watch(ours.as_fd(), READ, 1).unwrap();
    assert!(!watch.has_fired());
}
