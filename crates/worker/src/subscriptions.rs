//! Who in this process is a member of which channel, and how the log's records come to them.
//!
//! The driver reads the log in its turns, whatever the app does. A record becomes a frame once, for all members that see it
//! alike; all frames of a turn that belong to one channel leave in one write for each member.
//!
//! # Locks
//! The table's, which the driver has while it delivers and who joins or leaves has for that; then a connection's, or a
//! subscription's; then the leaf queues. Who has a connection locked must not come here: what leaves then goes through
//! [`crate::connection::State::take_memberships`].

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use fairlead_channel::{ChannelError, ChannelId, Channels, Cursor, Joined, Missed, Next, Place};

use crate::backlog::{SlowConsumer, Style};
use crate::connection::Connection;
use crate::inbox::{lock, Shared};
use crate::members::{count_lost, deliver, Local, Member, Target};
use crate::subscription::{Drops, Subscription};

/// The driver delivers at most this much payload, and one message, before it looks at its sockets again.
pub(crate) const BATCH: usize = 256 * 1024;

/// Channels as a worker uses them.
#[derive(Clone)]
pub struct ChannelSettings {
    /// Where messages come from.
    pub channels: Arc<Channels>,
    /// A member is slow from this many waiting bytes on. 1 MiB: some seconds of a busy channel on a usual line.
    pub backlog: usize,
    /// What becomes of a slow member if it did not say.
    pub slow_consumer: SlowConsumer,
}

/// How a connection becomes a member.
#[derive(Clone, Copy, Debug, Default)]
pub struct JoinOptions {
    /// Begin behind this offset, with what the log has; `None`: with what comes.
    pub since: Option<u64>,
    /// What the client sees.
    pub style: Style,
    /// `None`: as the settings say.
    pub slow_consumer: Option<SlowConsumer>,
}

/// Where a member begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinAnswer {
    /// The first message of this member has a larger offset than this.
    pub offset: u64,
    /// Messages of the past that it will get first.
    pub replayed: usize,
    /// What lies between the `since` it asked for and that, and is lost.
    pub missed: Missed,
}

/// Why a connection is no member.
#[derive(Debug)]
pub enum JoinError {
    /// The connection is over.
    Closed,
    /// The worker has no channels.
    NoChannels,
    /// See there.
    Channel(ChannelError),
}

impl From<ChannelError> for JoinError {
    fn from(error: ChannelError) -> Self {
        Self::Channel(error)
    }
}

/// A member's place in the table; it is given back to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Membership {
    pub(crate) id: ChannelId,
    pub(crate) slot: usize,
}

pub(crate) struct Subscriptions {
    place: Place,
    backlog: usize,
    slow_consumer: SlowConsumer,
    table: Mutex<Table>,
    /// There is a member: the driver reads the log.
    is_live: AtomicBool,
    /// The thread that waits for calls; made for the first member.
    caller: Mutex<Option<JoinHandle<()>>>,
    is_stopped: AtomicBool,
    /// Memberships of connections that are over: the driver, which has found that, has them locked and must not come here.
    departed: Mutex<Vec<Membership>>,
}

struct Table {
    cursor: Cursor,
    /// By the channel's index.
    channels: Vec<Option<Box<Local>>>,
    count: usize,
    /// Channels with news in this turn.
    touched: Vec<usize>,
    payload: Vec<u8>,
    scratch: Vec<u8>,
}

impl Table {
    fn local(&mut self, index: usize) -> Option<&mut Local> {
        self.channels.get_mut(index)?.as_deref_mut()
    }

    fn name_of(&self, membership: &Membership) -> Option<&Arc<str>> {
        let local = self.channels.get(membership.id.index())?.as_ref()?;
        Some(&local.name)
    }
}

impl Subscriptions {
    pub(crate) fn new(settings: &ChannelSettings) -> Result<Subscriptions, ChannelError> {
        let place = Place::claim(Arc::clone(&settings.channels))?;
        let cursor = place.cursor();
        Ok(Subscriptions {
            place,
            backlog: settings.backlog,
            slow_consumer: settings.slow_consumer,
            table: Mutex::new(Table {
                cursor,
                channels: Vec::new(),
                count: 0,
                touched: Vec::new(),
                payload: Vec::new(),
                scratch: Vec::new(),
            }),
            is_live: AtomicBool::new(false),
            caller: Mutex::default(),
            is_stopped: AtomicBool::new(false),
            departed: Mutex::default(),
        })
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Counts a member in the region, and makes its channel known here. The cursor stands before what is for it.
    fn enter(&self, table: &mut Table, shared: &Arc<Shared>, name: &str) -> Result<Joined, ChannelError> {
        if table.count == 0 {
            self.place.skip(&mut table.cursor);
        }
        let joined = self.place.join(name)?;
        if table.count == 0 {
            self.listen(shared);
        }
        table.count += 1;
        self.is_live.store(true, Ordering::SeqCst);
        let index = joined.id.index();
        if table.channels.len() <= index {
            table.channels.resize_with(index + 1, || None);
        }
        table.channels[index].get_or_insert_with(|| Box::new(Local::new(&joined, name)));
        Ok(joined)
    }

    fn leave_one(&self, table: &mut Table, membership: Membership) {
        let index = membership.id.index();
        let Some(local) = table.local(index) else { return };
        if !local.remove(membership.slot) {
            return;
        }
        if local.is_empty() {
            table.channels[index] = None;
        }
        table.count -= 1;
        if table.count == 0 {
            self.is_live.store(false, Ordering::SeqCst);
        }
        // Refused only when the lock is not to be had; then a member too much is counted until this process ends.
        let _ = self.place.leave(membership.id);
    }

    /// Makes a connection a member. One that is a member already stays what it is.
    pub(crate) fn join(
        &self,
        shared: &Arc<Shared>,
        connection: &Arc<Connection>,
        name: &str,
        options: JoinOptions,
    ) -> Result<JoinAnswer, JoinError> {
        let mut table = lock(&self.table);
        {
            let state = connection.lock();
            if state.is_over() {
                return Err(JoinError::Closed);
            }
            let memberships = state.memberships();
            if memberships
                .iter()
                .any(|one| table.name_of(one).is_some_and(|other| &**other == name))
            {
                return Ok(JoinAnswer {
                    offset: self.newest(&mut table, name, memberships),
                    replayed: 0,
                    missed: Missed::Nothing,
                });
            }
        }
        let joined = self.enter(&mut table, shared, name)?;
        let mut answer = JoinAnswer {
            offset: joined.offset,
            replayed: 0,
            missed: Missed::Nothing,
        };
        let mut records = Vec::new();
        if let Some(since) = options.since {
            let history = self.place.channels().look_back(&joined, since, usize::MAX);
            answer.missed = history.missed;
            answer.replayed = history.records.len();
            answer.offset = history
                .records
                .first()
                .map_or(joined.offset, |first| first.offset - 1);
            records = history.records;
        }
        let Some(local) = table.local(joined.id.index()) else {
            return Err(JoinError::Closed); // `enter` has just made it
        };
        let channel = Arc::clone(&local.name);
        let membership = local.add(Member {
            target: Target::Connection {
                connection: Arc::clone(connection),
                style: options.style,
                slow_consumer: options.slow_consumer.unwrap_or(self.slow_consumer),
            },
            next: joined.offset + 1,
        });
        if !connection.enter_channel(membership, options.style, &channel, &answer, &records) {
            self.leave_one(&mut table, membership);
            return Err(JoinError::Closed);
        }
        drop(table);
        shared.ring();
        Ok(answer)
    }

    fn newest(&self, table: &mut Table, name: &str, memberships: &[Membership]) -> u64 {
        let found = memberships.iter().find_map(|one| {
            let local = table.channels.get(one.id.index())?.as_ref()?;
            (&*local.name == name).then_some(local.last)
        });
        found.unwrap_or(0)
    }

    /// Ends a connection's membership; false if it is no member.
    pub(crate) fn leave(&self, connection: &Arc<Connection>, name: &str) -> bool {
        let mut table = lock(&self.table);
        let found = {
            let mut state = connection.lock();
            let place = state
                .memberships()
                .iter()
                .position(|one| table.name_of(one).is_some_and(|other| &**other == name));
            place.map(|index| state.leave_channel(index, name))
        };
        if let Some(membership) = found {
            self.leave_one(&mut table, membership);
        }
        // An app that sees a connection end, leaves and counts who is left, counts without it. The driver may have taken
        // the membership from the connection up to the moment in which we looked, so this comes behind.
        self.let_go(&mut table);
        found.is_some()
    }

    /// Ends memberships of a connection that is over.
    pub(crate) fn leave_all(&self, memberships: Vec<Membership>) {
        if memberships.is_empty() {
            return;
        }
        let mut table = lock(&self.table);
        for membership in memberships {
            self.leave_one(&mut table, membership);
        }
    }

    /// Notes memberships of a connection that is over, and locked; `serve` and `leave` end them.
    pub(crate) fn depart(&self, memberships: Vec<Membership>) {
        if !memberships.is_empty() {
            lock(&self.departed).extend(memberships);
        }
    }

    /// Ends the memberships of connections that are over.
    fn let_go(&self, table: &mut Table) {
        let departed = std::mem::take(&mut *lock(&self.departed));
        for membership in departed {
            self.leave_one(table, membership);
        }
    }

    /// Makes a unit a member: it takes the messages itself.
    pub(crate) fn subscribe(
        &self,
        shared: &Arc<Shared>,
        name: &str,
        since: Option<u64>,
        limit: usize,
        drops: Drops,
    ) -> Result<(Arc<Subscription>, Membership, JoinAnswer), ChannelError> {
        let mut table = lock(&self.table);
        let joined = self.enter(&mut table, shared, name)?;
        let mut answer = JoinAnswer {
            offset: joined.offset,
            replayed: 0,
            missed: Missed::Nothing,
        };
        let local =
            table.channels[joined.id.index()].get_or_insert_with(|| Box::new(Local::new(&joined, name)));
        let subscription = Arc::new(Subscription::new(Arc::clone(&local.name), limit, drops));
        if let Some(since) = since {
            let history = self.place.channels().look_back(&joined, since, limit);
            answer.missed = history.missed;
            answer.replayed = history.records.len();
            answer.offset = history
                .records
                .first()
                .map_or(joined.offset, |first| first.offset - 1);
            subscription.begin_with(&history.records);
        }
        let membership = local.add(Member {
            target: Target::Unit(Arc::clone(&subscription)),
            next: joined.offset + 1,
        });
        drop(table);
        shared.ring();
        Ok((subscription, membership, answer))
    }

    /// True while there is nobody to deliver to.
    #[inline]
    fn is_idle(&self) -> bool {
        !self.is_live.load(Ordering::SeqCst)
    }

    /// Delivers what the log has for members here, up to a batch. True if there is more.
    #[inline]
    pub(crate) fn serve(&self, shared: &Shared) -> bool {
        if self.is_idle() {
            return false;
        }
        let mut table = lock(&self.table);
        let table = &mut *table;
        self.let_go(table);
        if !self.place.has_news(&table.cursor) {
            return false;
        }
        let more = self.read(table);
        let (mut delivered, mut dropped) = (0, 0);
        let mut touched = std::mem::take(&mut table.touched);
        for index in touched.drain(..) {
            if let Some(local) = table.local(index) {
                let (some, missed) = deliver(local, shared, self.backlog);
                delivered += some;
                dropped += missed;
                local.forget_news();
            }
        }
        table.touched = touched;
        self.place.tell(&table.cursor);
        self.place.count_deliveries(delivered, dropped);
        more
    }

    /// Reads the log into the channels' news. True if there is more.
    fn read(&self, table: &mut Table) -> bool {
        let mut bytes = 0;
        while bytes < BATCH {
            let record = match self.place.next(&mut table.cursor) {
                Next::Nothing => return false,
                Next::Overtaken => continue,
                Next::Record(record) => record,
            };
            bytes += 64; // so that many small ones for others end a batch as well
            let Some(Some(local)) = table.channels.get_mut(record.channel_index()) else {
                continue;
            };
            if !record.is_of(local.id) || record.offset <= local.last {
                continue;
            }
            table.payload.clear();
            if !self.place.payload(&record, &mut table.payload) {
                continue; // the next one shows that it is missing
            }
            let lost = record.offset - local.last - 1;
            if lost > 0 {
                count_lost(local, lost);
                self.place.count_deliveries(0, lost);
            }
            local.last = record.offset;
            bytes += record.length;
            if local.records.is_empty() {
                table.touched.push(record.channel_index());
            }
            local.push(record, &table.payload, &mut table.scratch);
        }
        true
    }

    /// The driver wants to sleep; false if there is something to deliver.
    #[inline]
    pub(crate) fn fall_asleep(&self) -> bool {
        self.is_idle() || self.place.fall_asleep(&lock(&self.table).cursor)
    }

    #[inline]
    pub(crate) fn wake_up(&self) {
        self.place.wake_up();
    }

    /// Starts the thread that waits for other processes' calls: no poller can.
    fn listen(&self, shared: &Arc<Shared>) {
        let mut caller = lock(&self.caller);
        if caller.is_some() {
            return;
        }
        let for_thread = Arc::downgrade(shared);
        let calls = self.place.calls();
        let listen = move || {
            let mut seen = calls;
            while let Some(shared) = for_thread.upgrade() {
                let Some(subscriptions) = &shared.subscriptions else {
                    return;
                };
                if subscriptions.is_stopped.load(Ordering::SeqCst) {
                    return;
                }
                seen = subscriptions.place.wait_for_call(seen);
                shared.ring();
            }
        };
        // Without it the loop would sleep through its channels: better to find that here, and at every join, than nowhere.
        *caller = std::thread::Builder::new()
            .name("fairlead-calls".into())
            .spawn(listen)
            .ok();
    }

    /// Ends the thread.
    pub(crate) fn stop(&self) {
        self.is_stopped.store(true, Ordering::SeqCst);
        if let Some(caller) = lock(&self.caller).take() {
            self.place.call_self();
            let _ = caller.join();
        }
        // Connections hold the shared part, and members hold connections.
        let mut table = lock(&self.table);
        table.channels.clear();
        table.count = 0;
        self.is_live.store(false, Ordering::SeqCst);
    }
}
