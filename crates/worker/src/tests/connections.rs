//! The life of a connection: back-pressure both ways, every way to end, and what stays behind (nothing).

use std::io::Write;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::time::Duration;

use fairlead_websocket::{CloseCode, ClosedBy, Lost, MessageKind, Negotiated};
use rustix::event::{poll, PollFd, PollFlags, Timespec};

use super::support::*;
use crate::settings::{LoopLimits, WorkerSettings};
use crate::{Connection, Event, Received, Sent, Waiting};

#[test]
fn a_peer_that_does_not_read_stops_the_sender_and_wakes_it_later() {
    let bench = Bench::new(settings());
    let (connection, mut client) = bench.join();
    let message = vec![7u8; 60_000];
    let mut accepted = 0usize;
    while matches!(connection.send(MessageKind::Binary, &message), Sent::Done) {
        accepted += message.len();
        bench.turn();
        assert!(accepted < 16 << 20, "send never stopped");
    }
    assert!(!connection.wait_room(5));
    assert_eq!(bench.turn(), []);
    let mut got = 0;
    let mut woken = Vec::new();
    while got < accepted {
        got += received(&mut client).len();
        woken.extend(bench.turn());
    }
    assert_eq!(woken, [Event::Wake(5)]);
    assert!(matches!(
        connection.send(MessageKind::Binary, b"again"),
        Sent::Done
    ));
}

#[test]
fn a_sender_that_is_stopped_loses_and_reorders_nothing() {
    let bench = Bench::new(settings());
    let (connection, mut client) = bench.join();
    let mut expected = Vec::new();
    let mut got = Vec::new();
    for round in 0..200u32 {
        // Sizes on both sides of the write-through threshold, so that both ways mix.
        let payload = vec![round as u8; 1 + (round as usize * 7919) % 40_000];
        while !matches!(connection.send(MessageKind::Binary, &payload), Sent::Done) {
            got.extend(received(&mut client));
            bench.turn();
        }
        let mut header = vec![0x82];
        if payload.len() < 126 {
            header.push(payload.len() as u8);
        } else {
            header.push(126);
            header.extend_from_slice(&(payload.len() as u16).to_be_bytes());
        }
        expected.extend(header);
        expected.extend(payload);
        if round % 3 == 0 {
            bench.turn();
        }
    }
    while got.len() < expected.len() {
        bench.turn();
        got.extend(received(&mut client));
    }
    assert!(got == expected, "the stream differs");
}

#[test]
fn an_app_that_does_not_receive_stops_the_peer_and_reading_goes_on_later() {
    let bench = Bench::new(settings());
    let (connection, mut client) = bench.join();
    let message = frame(BINARY, &[1u8; 30_000]);
    let mut sent = 0;
    'fill: loop {
        let mut rest = &message[..];
        let mut idle_turns = 0;
        while !rest.is_empty() {
            match client.write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(_) if idle_turns > 10 => {
                    // Finish this message later: the rest follows once there is room.
                    let rest = rest.to_vec();
                    let mut taken = 0;
                    while take(&connection).is_some() {
                        taken += 1;
                    }
                    assert!(taken > 0 && taken <= sent);
                    let mut rest = &rest[..];
                    while !rest.is_empty() {
                        bench.turn();
                        if let Ok(count) = client.write(rest) {
                            rest = &rest[count..];
                        }
                        while take(&connection).is_some() {
                            taken += 1;
                        }
                    }
                    sent += 1;
                    while taken < sent {
                        bench.turn();
                        while take(&connection).is_some() {
                            taken += 1;
                        }
                    }
                    break 'fill;
                }
                Err(_) => {
                    bench.turn();
                    idle_turns += 1;
                }
            }
        }
        sent += 1;
        assert!(sent < 1000, "the peer was never stopped");
    }
    assert!(connection.queued_messages() == 0);
}

#[test]
fn the_close_handshake_ends_with_the_socket_gone_and_the_slot_free() {
    let bench = Bench::new(settings());
    let (connection, mut client) = bench.join();
    assert!(matches!(connection.receive(Some(1), |_, _| ()), Received::Empty));
    send(&mut client, &frame(0x88, &[0x0f, 0xa0]));
    assert_eq!(bench.turn(), [Event::Wake(1)]);
    bench.turn();
    assert_eq!(received(&mut client), b"\x88\x02\x0f\xa0");
    let Received::Closed(closure) = connection.receive(None, |_, _| ()) else {
        panic!()
    };
    assert_eq!((closure.code, &closure.by), (4000, &ClosedBy::Peer));
    assert!(matches!(
        connection.send(MessageKind::Text, b"late"),
        Sent::Closed
    ));
    client.shutdown(Shutdown::Both).unwrap();
    bench.turn();
    bench.turn();
    assert_eq!(bench.worker.connections(), 0);
}

/// More than the socket takes, less than stops the loop's reading.
fn fill(bench: &Bench, connection: &Connection) {
    for _ in 0..5 {
        assert!(matches!(
            connection.send(MessageKind::Binary, &[7; 60_000]),
            Sent::Done
        ));
        bench.turn();
    }
}

#[test]
fn a_peer_that_ends_its_side_behind_its_close_still_gets_ours_and_all_before_it() {
    let bench = Bench::new(settings());
    let (connection, mut client) = bench.join();
    fill(&bench, &connection);
    send(&mut client, &frame(0x88, &[0x0f, 0xa0]));
    client.shutdown(Shutdown::Write).unwrap();
    // The end is read while much waits.
    bench.turn();
    bench.turn();
    let mut got = Vec::new();
    for _ in 0..100 {
        assert_eq!(bench.turn(), []);
        got.extend(received(&mut client));
        if bench.worker.connections() == 0 {
            break;
        }
    }
    assert!(got.ends_with(b"\x07\x07\x88\x02\x0f\xa0"), "{} bytes", got.len());
    let Received::Closed(closure) = connection.receive(None, |_, _| ()) else {
        panic!()
    };
    assert_eq!((closure.code, &closure.by), (4000, &ClosedBy::Peer));
    assert_eq!(bench.worker.connections(), 0, "nothing more is waited for");
}

#[test]
fn a_peer_that_ends_its_side_behind_its_close_and_reads_nothing_is_not_waited_for_for_ever() {
    let bench = Bench::new(settings());
    let (connection, mut client) = bench.join();
    fill(&bench, &connection);
    send(&mut client, &frame(0x88, &[0x0f, 0xa0]));
    client.shutdown(Shutdown::Write).unwrap();
    bench.turn();
    bench.turn();
    assert_eq!(bench.worker.connections(), 1);
    bench.after(Duration::from_secs(6));
    bench.turn();
    assert_eq!(bench.worker.connections(), 0);
}

#[test]
fn messages_before_the_close_can_still_be_received() {
    let bench = Bench::new(settings());
    let (connection, mut client) = bench.join();
    let mut bytes = frame(BINARY, b"last words");
    bytes.extend(frame(0x88, b""));
    send(&mut client, &bytes);
    bench.turn();
    assert_eq!(take(&connection).as_deref(), Some(&b"last words"[..]));
    assert!(matches!(connection.receive(None, |_, _| ()), Received::Closed(_)));
}

#[test]
fn a_released_connection_is_closed_by_the_loop_alone() {
    let bench = Bench::new(settings());
    let (connection, mut client) = bench.join();
    connection.release(CloseCode::NORMAL, "");
    drop(connection);
    bench.turn();
    assert_eq!(received(&mut client), b"\x88\x02\x03\xe8");
    assert_eq!(bench.worker.connections(), 1, "waits for the peer's Close");
    bench.after(Duration::from_secs(6));
    bench.turn();
    assert_eq!(bench.worker.connections(), 0, "but not for ever");
}

#[test]
fn a_vanished_peer_is_reported_as_lost() {
    let bench = Bench::new(settings());
    let (connection, client) = bench.join();
    assert!(matches!(connection.receive(Some(2), |_, _| ()), Received::Empty));
    drop(client);
    assert_eq!(bench.turn(), [Event::Wake(2)]);
    let Received::Closed(closure) = connection.receive(None, |_, _| ()) else {
        panic!()
    };
    assert_eq!(closure.by, ClosedBy::Lost(Lost::Eof));
    assert_eq!(bench.worker.connections(), 0);
}

#[test]
fn abandoning_wakes_the_waiting_unit_and_sends_no_close() {
    let bench = Bench::new(settings());
    let (connection, mut client) = bench.join();
    assert!(matches!(connection.receive(Some(2), |_, _| ()), Received::Empty));
    connection.abandon(Lost::Dropped);
    assert_eq!(bench.turn(), [Event::Wake(2)]);
    assert_eq!(received(&mut client), b"");
    assert_eq!(bench.worker.connections(), 0);
}

#[test]
fn a_reader_that_stopped_is_dropped_when_patience_ends() {
    let patience = Duration::from_secs(20);
    let bench = Bench::new(WorkerSettings {
        limits: LoopLimits {
            stall_timeout: patience,
            ..loop_limits()
        },
        ..settings()
    });
    let (connection, client) = bench.join();
    while matches!(connection.send(MessageKind::Binary, &[0; 60_000]), Sent::Done) {
        bench.turn();
    }
    bench.after(Duration::from_secs(19));
    assert_eq!(bench.worker.connections(), 1);
    bench.after(Duration::from_secs(2));
    bench.turn();
    assert_eq!(bench.worker.connections(), 0);
    assert_eq!(connection.closure().unwrap().by, ClosedBy::Lost(Lost::NotReading));
    drop(client);
}

#[test]
fn a_reader_that_stopped_is_not_said_to_be_silent_because_its_ping_waits_behind_the_rest() {
    let bench = Bench::new(settings());
    let (connection, client) = bench.join();
    while matches!(connection.send(MessageKind::Binary, &[0; 60_000]), Sent::Done) {
        bench.turn();
    }
    for _ in 0..40 {
        bench.after(Duration::from_secs(1));
        bench.turn();
    }
    let closure = connection.closure().unwrap();
    assert_eq!(
        closure.by,
        ClosedBy::Lost(Lost::NotReading),
        "33 s are less than 60"
    );
    drop(client);
}

#[test]
fn a_key_of_the_last_tenant_does_not_reach_the_next_one() {
    let bench = Bench::new(settings());
    let (first, client) = bench.join();
    drop(client);
    bench.turn();
    let (second, mut client) = bench.join();
    // The first one's ping was due long before the second one's.
    send(&mut client, &frame(BINARY, b"for the second"));
    bench.turn();
    assert_eq!(take(&first), None);
    assert_eq!(take(&second).as_deref(), Some(&b"for the second"[..]));
}

#[test]
fn fragments_of_a_hundred_connections_never_mix() {
    let bench = Bench::new(settings());
    let mut all: Vec<_> = (0..100).map(|_| bench.join()).collect();
    for part in 0..10u8 {
        for (n, (_, client)) in all.iter_mut().enumerate() {
            let first_byte = match part {
                0 => 0x02,
                9 => 0x80,
                _ => 0x00,
            };
            send(client, &frame(first_byte, &[n as u8, part]));
        }
        // More than one batch of the poller.
        bench.turn();
        bench.turn();
    }
    for (n, (connection, _)) in all.iter().enumerate() {
        let expected: Vec<u8> = (0..10u8).flat_map(|part| [n as u8, part]).collect();
        assert_eq!(take(connection), Some(expected));
    }
}

#[test]
fn the_descriptor_polls_readable_exactly_while_there_is_something_to_receive() {
    let bench = Bench::new(settings());
    let (connection, mut client) = bench.join();
    let descriptor = connection.notify_descriptor().unwrap();
    let ready = || polls_readable(&connection, descriptor);
    assert!(!ready());
    let mut two = frame(BINARY, b"a");
    two.extend(frame(BINARY, b"b"));
    send(&mut client, &two);
    bench.turn();
    assert!(ready());
    take(&connection);
    assert!(ready(), "the second frame of the segment waits");
    take(&connection);
    assert!(!ready());
    drop(client);
    bench.turn();
    assert!(ready(), "the end is something to receive");
}

#[test]
fn the_descriptor_of_a_waiting_unit_is_readable_one_turn_later_if_the_unit_takes_nothing() {
    let bench = Bench::new(settings());
    let (connection, mut client) = bench.join();
    let descriptor = connection.notify_descriptor().unwrap();
    let ready = || polls_readable(&connection, descriptor);
    assert_eq!(connection.wait_receive(4), Waiting::Registered);
    send(&mut client, &frame(BINARY, b"a"));
    assert_eq!(bench.turn(), [Event::Wake(4)]);
    assert!(!ready(), "the task was told; most take the message at once");
    bench.turn();
    assert!(ready());
    take(&connection);
    assert!(!ready());

    assert_eq!(connection.wait_receive(5), Waiting::Registered);
    drop(client);
    assert_eq!(bench.turn(), [Event::Wake(5)]);
    bench.turn();
    assert!(ready(), "the end is something to receive");
}

#[test]
fn the_descriptor_of_a_waiting_unit_tells_an_abandoned_connection_at_once() {
    let bench = Bench::new(settings());
    let connection = bench
        .worker
        .connection(Negotiated::default(), "peer".into(), None);
    let descriptor = connection.notify_descriptor().unwrap();
    assert_eq!(connection.wait_receive(4), Waiting::Registered);
    connection.abandon(Lost::Dropped);
    assert!(polls_readable(&connection, descriptor));
}

fn polls_readable(connection: &std::sync::Arc<crate::Connection>, descriptor: i32) -> bool {
    // Opened anew through /proc would not work for sockets; a duplicate polls the same.
    let copy = rustix::io::dup(borrowed(connection, descriptor).as_fd()).unwrap();
    let mut fds = [PollFd::new(&copy, PollFlags::IN)];
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(&mut fds, Some(&at_once)).unwrap() == 1
}

/// The descriptor, found again through the process's own table so that the test needs no raw descriptor.
fn borrowed(_owner: &std::sync::Arc<crate::Connection>, descriptor: i32) -> std::fs::File {
    // A socket cannot be opened through /proc; `pidfd_getfd` gives a duplicate without unsafe code.
    let own =
        rustix::process::pidfd_open(rustix::process::getpid(), rustix::process::PidfdFlags::empty()).unwrap();
    let copy = rustix::process::pidfd_getfd(own, descriptor, rustix::process::PidfdGetfdFlags::empty());
    std::fs::File::from(copy.unwrap())
}
