//! Out of descriptors: the listener survives, the operator is told, and work goes on when there is room again.
//!
//! A test binary of its own, because it takes every descriptor of its process.

mod support;

use std::fs::File;
use std::process::Command;
use std::sync::atomic::Ordering;

use fairlead_front::Listener;
use support::{head, Stage, GET};

#[test]
fn a_shortage_of_descriptors_does_not_lose_the_listener() {
    // A low limit, so that a few files use it up. The limit is this process's own.
    let limited = Command::new("prlimit")
        .args(["--pid", &std::process::id().to_string(), "--nofile=256:256"])
        .status()
        .expect("prlimit of util-linux");
    assert!(limited.success());
    let listener = Listener::bind("127.0.0.1:0").expect("a free port");
    let stage = Stage::on(listener, support::front_settings(), false);
    // The client's own descriptors come first; the front does not accept yet.
    let mut client = stage.client_sending(GET);
    let mut hoard = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        hoard.push(file);
    }
    assert!(hoard.len() < 256, "the limit did not take");
    stage.room.store(true, Ordering::SeqCst);
    stage.front.room_available();
    let line = stage.line("no connection can be accepted");
    assert!(line.contains("Too many open files"), "{line}");
    assert!(stage.requests.try_recv().is_err());
    drop(hoard);
    stage
        .exchange()
        .respond(head(200, &[]), "late but served")
        .expect("a client");
    assert_eq!(client.reply().body, b"late but served");
    assert!(stage.lines.try_iter().count() <= 1, "at most one line a second");
}
