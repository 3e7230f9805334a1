//! What requests, the front's handoff and the engine share: one of each for a process.
//!
//! `R` is what waits in the admission queue: requests, which stand above this file and hold it.

use std::sync::{Arc, OnceLock, Weak};

use fairlead_front::Front;
use fairlead_websocket::OriginPolicy;
use fairlead_worker::Worker;

use crate::admission_queue::{AdmissionQueue, Released};
use crate::memory::Trimmer;
use crate::parking::Parking;
use crate::settings::{Delivery, LogSink};

/// What waits in the admission queue.
pub(crate) trait Admitted {
    /// It gets a slot, unless that is of no use any more: its client is gone.
    fn admit(&self) -> bool;
}

pub(crate) struct EngineShared<R> {
    pub(crate) worker: Worker,
    pub(crate) origin: OriginPolicy,
    pub(crate) extra_headers: Vec<(String, String)>,
    pub(crate) log: LogSink,
    pub(crate) parking: Arc<Parking>,
    pub(crate) delivery: Delivery,
    pub(crate) queue: AdmissionQueue<R>,
    pub(crate) trimmer: Arc<Trimmer>,
    /// The front holds its handoff, and the handoff this: it must not hold the front.
    pub(crate) front: Arc<OnceLock<Weak<Front>>>,
}

impl<R: Admitted> EngineShared<R> {
    /// A request is done with its slot.
    pub(crate) fn slot_is_free(&self) {
        self.trimmer.count_end();
        match self.queue.release(R::admit) {
            Released::Passed => self.worker.wake(),
            Released::Free => {
                if let Some(front) = self.front.get().and_then(Weak::upgrade) {
                    front.room_available();
                }
            }
        }
    }
}
