//! The smallest application behind the front: a second thread answers every request with "Hello, World!" and every
//! WebSocket handshake by taking the socket and closing it. It is the yardstick for what the front itself costs, and it shows
//! how to take requests: one lock for a whole batch, one wake-up when the queue was empty.
//!
//! `cargo run --release -p fairlead-front --example hello -- 127.0.0.1:8080`, then `wrk -c 64 http://127.0.0.1:8080/`. With a
//! second argument `inline` the front's own thread answers, which shows what the hand-over between threads costs.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use fairlead_front::{
    EventSink, Exchange, Front, FrontSettings, Handoff, Listener, LogLevel, UpgradeReceiver,
};
use fairlead_http::{Request, ResponseHead};
use fairlead_websocket::{Handshake, TlsRecordLayer};

type Call = (Request, Arc<Exchange>);

#[derive(Default)]
struct Queue {
    calls: Mutex<Vec<Call>>,
    filled: Condvar,
    is_inline: bool,
}

impl Queue {
    fn wait_batch(&self, batch: &mut Vec<Call>) {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let mut calls = self
            .filled
            .wait_while(calls, |calls| calls.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut *calls, batch);
    }
}

impl Handoff for Queue {
    fn request(&self, request: Request, exchange: Arc<Exchange>) {
        if self.is_inline {
            return answer(&request, &exchange);
        }
        self.calls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((request, exchange));
    }

    fn has_room(&self) -> bool {
        true
    }
}

impl EventSink for Queue {
    fn wake(&self, _: u64) {}

    fn turn_ended(&self) {
        if !self
            .calls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_empty()
        {
            self.filled.notify_one();
        }
    }

    fn log(&self, level: LogLevel, line: &str) {
        eprintln!("{level:?}: {line}");
    }
}

/// Takes the socket of a WebSocket, and closes it.
struct Closing;

impl UpgradeReceiver for Closing {
    fn upgraded(self: Box<Self>, socket: OwnedFd, _: Vec<u8>, _: Option<Box<dyn TlsRecordLayer>>) {
        drop(socket);
    }

    fn lost(self: Box<Self>, why: String) {
        eprintln!("upgrade lost: {why}");
    }
}

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8080".into());
    let is_inline = arguments.next().is_some_and(|how| how == "inline");
    let listener = Listener::bind(&address)?;
    println!("listening on {}", listener.local_address());
    let queue = Arc::new(Queue {
        is_inline,
        ..Queue::default()
    });
    let settings = FrontSettings {
        header_timeout: Duration::from_secs(20),
        keep_alive_timeout: Duration::from_secs(75),
        stall_timeout: Duration::from_secs(60),
        max_header_bytes: 32 * 1024,
        max_headers: 100,
        response_high_water: 256 * 1024,
        ..FrontSettings::default()
    };
    let _front = Front::start(vec![listener], settings, queue.clone())?;
    let mut batch = Vec::new();
    loop {
        queue.wait_batch(&mut batch);
        for (request, exchange) in batch.drain(..) {
            answer(&request, &exchange);
        }
    }
}

fn answer(request: &Request, exchange: &Arc<Exchange>) {
    let handshake = Handshake::validate(request).ok();
    let sent = match handshake.and_then(|handshake| handshake.response(None, &[]).ok()) {
        Some((switching, _)) => exchange.accept_upgrade(switching, Box::new(Closing)),
        None => exchange.respond(hello(), Bytes::from_static(b"Hello, World!")),
    };
    if let Err(gone) = sent {
        eprintln!("{gone}");
    }
}

fn hello() -> ResponseHead {
    let headers = vec![("content-type".to_owned(), b"text/plain".to_vec())];
    ResponseHead {
        status: 200,
        reason: None,
        headers,
    }
}
