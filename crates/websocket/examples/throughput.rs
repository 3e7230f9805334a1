//! How fast one session takes and makes messages, on one core, without IO: a bound for everything built on it.
//!
//! `cargo run --release -p fairlead-websocket --example throughput`. Each line is the best of several rounds, because
//! what disturbs a measurement only ever makes it slower.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use fairlead_websocket::{MessageKind, Negotiated, Session, Time};

const ROUNDS: usize = 9;

fn main() {
    let read = 64 * 1024;
    for (name, first, size) in [
        ("binary", 0x82, 64),
        ("text  ", 0x81, 64),
        ("binary", 0x82, 125),
        ("binary", 0x82, 126),
        ("binary", 0x82, 1024),
        ("text  ", 0x81, 1024),
    ] {
        let frame = client_frame(first, size);
        let stream = frame.repeat(read / frame.len());
        receive(name, size, &stream, read, 2000);
    }
    for (name, first, size) in [
        ("binary", 0x82, 64 << 10),
        ("text  ", 0x81, 64 << 10),
        ("binary", 0x82, 1 << 20),
    ] {
        receive(name, size, &client_frame(first, size), read, 1000);
    }
    echo(64, read);
    send(64);
    send(64 << 10);
}

fn client_frame(first: u8, size: usize) -> Vec<u8> {
    let key = [0x12, 0x34, 0x56, 0x78];
    let mut frame = vec![first];
    match size {
        0..=125 => frame.push(0x80 | size as u8),
        126..=65_535 => {
            frame.push(0x80 | 126);
            frame.extend((size as u16).to_be_bytes());
        }
        _ => {
            frame.push(0x80 | 127);
            frame.extend((size as u64).to_be_bytes());
        }
    }
    frame.extend(key);
    frame.extend((0..size).map(|i| b'a' ^ key[i % 4]));
    frame
}

/// The best time of several rounds, in seconds.
fn best(mut round: impl FnMut()) -> f64 {
    (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            round();
            start.elapsed().as_secs_f64()
        })
        .fold(f64::MAX, f64::min)
}

fn session() -> Session {
    Session::new(Arc::default(), Negotiated::default(), Time::from_millis(0))
}

fn receive(name: &str, size: usize, stream: &[u8], read: usize, repeats: usize) {
    let (mut session, mut out, now) = (session(), Vec::new(), Time::from_millis(0));
    let mut messages = 0u64;
    let time = best(|| {
        messages = 0;
        for _ in 0..repeats {
            for piece in black_box(stream).chunks(read) {
                session.receive(piece, now, &mut out);
            }
            while let Some(message) = session.message() {
                black_box(message);
                session.consume_message();
                messages += 1;
            }
        }
    });
    report(&format!("receive {name} {size:>7} B"), messages, size, time);
}

fn echo(size: usize, read: usize) {
    let (mut session, mut out, now) = (session(), Vec::new(), Time::from_millis(0));
    let frame = client_frame(0x82, size);
    let stream = frame.repeat(read / frame.len());
    let mut payload = Vec::new();
    let mut messages = 0u64;
    let time = best(|| {
        messages = 0;
        for _ in 0..2000 {
            session.receive(black_box(&stream), now, &mut out);
            while let Some((kind, message)) = session.message() {
                payload.clear();
                payload.extend_from_slice(message);
                session.consume_message();
                session
                    .send(kind, &payload, &mut out)
                    .expect("the session is open");
                messages += 1;
            }
            black_box(&out);
            out.clear();
        }
    });
    report(&format!("echo    binary {size:>7} B"), messages, size, time);
}

fn send(size: usize) {
    let (mut session, mut out) = (session(), Vec::new());
    let payload = vec![b'x'; size];
    let messages = (1 << 28) / size as u64;
    let time = best(|| {
        for _ in 0..messages {
            if out.len() > 64 << 10 {
                out.clear();
            }
            session
                .send(MessageKind::Binary, black_box(&payload), &mut out)
                .expect("the session is open");
        }
    });
    report(&format!("send    binary {size:>7} B"), messages, size, time);
}

fn report(what: &str, messages: u64, size: usize, seconds: f64) {
    let rate = messages as f64 / seconds;
    println!(
        "{what}: {:>7.2} M messages/s  {:>6.2} GB/s  {:>8.1} ns",
        rate / 1e6,
        rate * size as f64 / 1e9,
        1e9 / rate
    );
}
