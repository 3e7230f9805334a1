//! The front's door into the engine, called on the front's thread: it puts a request into the queue and wakes the loop,
//! nothing more.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

use fairlead_front::{Answered, EventSink, Exchange, Handoff, LogLevel};
use fairlead_http::Request as Head;
use fairlead_worker::Event;

use crate::request::{Request, Shared};
use crate::settings::{AnsweredSink, Delivery};

/// An application that has been away for this long is held up: a new connection had better go to another process. It must
/// not be so soon that a storm of connections looks like that, for then processes would not be compared by their numbers: a
/// thousand WebSockets at once, over two processes, kept each away for up to 42 ms.
const HELD_UP_AFTER: Duration = Duration::from_millis(100);

pub(crate) struct EngineHandoff {
    shared: Arc<Shared>,
    answered: AnsweredSink,
    /// The front has put requests into the queue since the last wake-up; only the front's thread touches it.
    arrived: AtomicBool,
}

impl EngineHandoff {
    pub(crate) fn new(shared: Arc<Shared>, answered: AnsweredSink) -> Self {
        Self {
            shared,
            answered,
            arrived: AtomicBool::new(false),
        }
    }
}

impl Handoff for EngineHandoff {
    fn request(&self, request: Head, exchange: Arc<Exchange>) {
        exchange.wait_for_slot();
        let request = Request::new(request, Arc::clone(&exchange), Arc::clone(&self.shared));
        if self
            .shared
            .queue
            .put(Box::new(request), |request| request.take_slot())
        {
            exchange.admit();
            self.arrived.store(true, Ordering::Relaxed);
        }
    }

    fn has_place(&self, limit: usize) -> bool {
        self.shared.queue.has_place(limit, |request| request.is_over())
    }

    fn some_are_over(&self) {
        self.shared.queue.waiting(|request| request.is_over());
    }

    fn has_room(&self) -> bool {
        self.shared.queue.has_room()
    }

    fn connections(&self) -> usize {
        self.shared.worker.connections()
    }

    fn is_held_up(&self) -> bool {
        // Threads are switched by their language, however long one of them computes.
        self.shared.delivery == Delivery::Loop && self.shared.worker.app_away_for() >= HELD_UP_AFTER
    }
}

impl EventSink for EngineHandoff {
    fn wake(&self, token: u64) {
        match self.shared.delivery {
            Delivery::Loop => self.shared.worker.report(Event::Wake(token)),
            Delivery::Threads => self.shared.parking.wake(token),
        }
    }

    fn turn_ended(&self) {
        // One wake-up for all requests of the front's turn.
        if self.arrived.swap(false, Ordering::Relaxed) {
            match self.shared.delivery {
                Delivery::Loop => self.shared.worker.wake(),
                Delivery::Threads => self.shared.queue.announce(),
            }
        }
    }

    fn answered(&self, about: Answered) {
        (self.answered)(about);
    }

    fn log(&self, level: LogLevel, line: &str) {
        (self.shared.log)(level, line);
    }
}
