//! What the accept tasks of a front share, and how full this process is.
//!
//! [`Server`] holds one of each thing that a connection needs to be accepted and served; the parts below get only theirs.

use std::sync::Arc;

use crate::accept::admission::Gate;
use crate::accept::config::ListenerConfig;
use crate::drain::Drain;
use crate::front_shared::FrontShared;
use crate::handoff::Handoff;
use crate::http1::Http1;
use crate::pipeline::Pipeline;
use crate::scoreboard::{Load, OwnCell};

/// One per front.
pub(crate) struct Server {
    pub(crate) shared: Arc<FrontShared>,
    pub(crate) drain: Arc<Drain>,
    pub(crate) gate: Gate,
    pub(crate) handoff: Arc<dyn Handoff>,
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) http1: Http1,
    pub(super) cell: OwnCell,
}

impl Server {
    pub(crate) fn new(shared: Arc<FrontShared>, handoff: Arc<dyn Handoff>) -> Server {
        let pipeline = Arc::new(Pipeline::new(Arc::clone(&handoff)));
        Server {
            drain: Arc::new(Drain::new(Arc::clone(&shared))),
            gate: Gate::default(),
            handoff,
            http1: Http1::new(&shared.settings, Arc::clone(&pipeline)),
            pipeline,
            cell: OwnCell::new(shared.settings.scoreboard.clone()),
            shared,
        }
    }

    /// May one more connection be accepted? What a rule or a file answers, or the router sends elsewhere, needs none of
    /// the application's room, and nobody knows before the head is read.
    pub(super) fn has_room(&self, config: &ListenerConfig) -> bool {
        config.to_https.is_some() || self.shared.settings.accepts_when_full() || self.handoff.has_room()
    }

    /// Connections are accepted although what needs the application has to wait.
    pub(super) fn is_full(&self) -> bool {
        self.shared.settings.accepts_when_full() && !self.handoff.has_room()
    }

    /// What the other processes are told of this one.
    pub(super) fn load(&self) -> Load {
        if self.shared.is_draining() || self.gate.is_shut() {
            return Load::ABSENT;
        }
        let connections = self.drain.active() + self.handoff.connections() + self.shared.tunnels.count();
        Load::new(connections, self.handoff.is_held_up() || self.is_full())
    }

    /// Tells the other processes of this one's load.
    pub(crate) fn tell_load(&self) {
        self.cell.tell(|| self.load());
    }

    /// Tells the other processes that this one wants no connection any more.
    pub(crate) fn tell_left(&self) {
        self.cell.tell(|| Load::ABSENT);
    }
}
