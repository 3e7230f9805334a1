//! A task of the app as a member of a channel: it takes messages when it likes, in order, and waits for the next.

use std::sync::{Arc, Mutex};

use fairlead_channel::is_forked;

use crate::connection::Connection;
use crate::event::{Token, Waiting};
use crate::inbox::{lock, Shared};
use crate::members::Membership;
use crate::subscription::{Drops, Subscription, Taken};
use crate::subscriptions::{JoinAnswer, JoinError, Subscriptions};

/// A member of a channel that reads by itself, until it is dropped; see [`crate::Worker::subscribe`].
pub struct Subscriber {
    shared: Arc<Shared>,
    subscriptions: Arc<Subscriptions<Connection>>,
    subscription: Arc<Subscription>,
    membership: Mutex<Option<Membership>>,
}

impl Subscriber {
    pub(crate) fn start(
        shared: &Arc<Shared>,
        subscriptions: &Arc<Subscriptions<Connection>>,
        name: &str,
        since: Option<u64>,
        limit: usize,
        drops: Drops,
    ) -> Result<(Subscriber, JoinAnswer), JoinError> {
        let (subscription, membership, answer) = subscriptions.subscribe(name, since, limit, drops)?;
        let subscriber = Subscriber {
            shared: Arc::clone(shared),
            subscriptions: Arc::clone(subscriptions),
            subscription,
            membership: Mutex::new(Some(membership)),
        };
        Ok((subscriber, answer))
    }

    /// Takes the next message. If there is none and a token is given, that task is woken once there is.
    pub fn receive(&self, waiter: Option<Token>) -> Taken {
        self.subscription.receive(self.subscriptions.place(), waiter)
    }

    /// Asks that the task be woken when there is something.
    pub fn wait(&self, token: Token) -> Waiting {
        self.subscription.wait(token)
    }

    /// The task no longer waits.
    pub fn forget(&self, token: Token) {
        self.subscription.forget(token);
    }

    /// The channel.
    pub fn name(&self) -> &str {
        self.subscription.name()
    }

    /// Messages that it did not get: it was full, or they were overwritten before it took them.
    pub fn missed(&self) -> u64 {
        self.subscription.missed()
    }

    /// Messages that wait.
    pub fn queued(&self) -> usize {
        self.subscription.queued()
    }

    /// [`Subscriber::close`] was called.
    pub fn is_closed(&self) -> bool {
        self.subscription.is_closed()
    }

    /// Ends the membership. What was published before can still be taken.
    pub fn close(&self) {
        let membership = lock(&self.membership).take();
        if let Some(membership) = membership {
            let mut table = self.subscriptions.table();
            self.subscriptions.settle(&mut table, &[membership]);
            self.subscriptions.leave(&mut table, membership);
        }
        self.subscription.close(&self.shared);
        self.shared.wake_driver();
    }

    /// Ends the membership and forgets what has come.
    pub fn discard(&self) {
        self.close();
        self.subscription.clear();
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        if is_forked() {
            return; // the membership is the parent's
        }
        self.close();
    }
}
