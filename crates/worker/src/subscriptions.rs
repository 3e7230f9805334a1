//! Who in this process is a member of which channel, and how the log's records come to them.
//!
//! The driver reads the log in its turns, whatever the app does. A record becomes a frame once, for all members that see it
//! alike; all frames of a turn that belong to one channel leave in one write for each member.
//!
//! # Locks
//! The table's, which the driver has while it delivers and who joins or leaves has for that; then a connection's, or a
//! subscription's; then the leaf queues. Who has a connection locked must not come here: what leaves then goes through
//! [`Subscriptions::depart`]. For the lock of the region, which a process that does not move may have, nobody waits in here
//! with any of these: a join fails and is tried again with nothing locked ([`Subscriptions::patiently`]), and a member that
//! leaves is counted out by the listener once the lock is free.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use fairlead_channel::{ChannelError, Cursor, Joined, Missed, Next, Place, Replay, BRIEFLY};

use crate::backlog::SlowConsumer;
use crate::frames::{Form, Style};
use crate::inbox::{lock, Shared};
use crate::members::{Local, Membership, Recipient, BATCH};
use crate::settings::ChannelSettings;
use crate::subscription::{Drops, Subscription};

/// How often a join that finds the region's lock taken waits for it, briefly.
const TRIES: u32 = 5;
/// How often the listener looks whether the lock is free again, while members wait to be counted out.
const SETTLE_EVERY: Duration = Duration::from_millis(50);

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

/// Who is a member of what. `C` are the members that get frames.
pub(crate) struct Subscriptions<C> {
    shared: Arc<Shared>,
    place: Place,
    backlog: usize,
    slow_consumer: SlowConsumer,
    heartbeat: Duration,
    table: Mutex<Table<C>>,
    /// There is a member: the driver reads the log.
    is_live: AtomicBool,
    /// The thread that waits for wake-ups; made for the first member.
    listener: Mutex<Option<JoinHandle<()>>>,
    is_stopped: AtomicBool,
    /// No thread is to be had.
    #[cfg(test)]
    pub(crate) is_short_of_threads: AtomicBool,
    /// Memberships of connections that are over: the driver, which has found that, has them locked and must not come here.
    departed: Mutex<Vec<Membership>>,
}

/// The channels with members here, and how far the log was read for them.
pub(crate) struct Table<C> {
    cursor: Cursor,
    /// By the channel's index.
    channels: Vec<Option<Box<Local<C>>>>,
    count: usize,
    /// Channels with news in this turn.
    touched: Vec<usize>,
    payload: Vec<u8>,
    scratch: Vec<u8>,
}

/// A channel that a member is about to enter: it counts already, and is not in the table yet.
pub(crate) struct Entered {
    joined: Joined,
    /// The channel's name, as its members share it.
    pub(crate) name: Arc<str>,
    pub(crate) answer: JoinAnswer,
    /// What it asked for of the past.
    pub(crate) replay: Option<Replay>,
}

impl<C> Table<C> {
    fn local(&mut self, index: usize) -> Option<&mut Local<C>> {
        self.channels.get_mut(index)?.as_deref_mut()
    }

    fn channel_of(&self, membership: &Membership) -> Option<&Local<C>> {
        self.channels.get(membership.id.index())?.as_deref()
    }

    /// Which of these memberships is of the channel with this name.
    pub(crate) fn position(&self, memberships: &[Membership], name: &str) -> Option<usize> {
        memberships
            .iter()
            .position(|one| self.channel_of(one).is_some_and(|local| &*local.name == name))
    }

    /// The newest message of the channel that a member has seen, or could have.
    pub(crate) fn newest(&self, membership: &Membership) -> u64 {
        self.channel_of(membership).map_or(0, |local| local.last)
    }
}

impl<C: Recipient + Send + Sync + 'static> Subscriptions<C> {
    pub(crate) fn new(shared: &Arc<Shared>, settings: &ChannelSettings) -> Result<Self, ChannelError> {
        let place = Place::claim(Arc::clone(&settings.channels))?;
        let cursor = place.cursor();
        // The channels may outlive this worker, so they do not keep its loop.
        let held = Arc::downgrade(shared);
        place.wake_with(move || {
            if let Some(shared) = held.upgrade() {
                shared.wake_driver();
            }
        });
        Ok(Self {
            shared: Arc::clone(shared),
            place,
            backlog: settings.backlog,
            slow_consumer: settings.slow_consumer,
            heartbeat: settings.heartbeat,
            table: Mutex::new(Table {
                cursor,
                channels: Vec::new(),
                count: 0,
                touched: Vec::new(),
                payload: Vec::new(),
                scratch: Vec::new(),
            }),
            is_live: AtomicBool::new(false),
            listener: Mutex::default(),
            is_stopped: AtomicBool::new(false),
            #[cfg(test)]
            is_short_of_threads: AtomicBool::new(false),
            departed: Mutex::default(),
        })
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    pub(crate) fn heartbeat(&self) -> Duration {
        self.heartbeat
    }

    /// For joining and leaving, in several steps.
    pub(crate) fn table(&self) -> MutexGuard<'_, Table<C>> {
        lock(&self.table)
    }

    /// Before [`Subscriptions::enter`], with nothing locked: the way back to what a member asks for may be long.
    pub(crate) fn prepare(&self, name: &str, since: Option<u64>) {
        if let Some(since) = since {
            self.place.channels().prepare_replay(name, since);
        }
    }

    /// Counts a member in the region, makes its channel known here, and finds what it asked for: what came after `since`,
    /// at most `most` messages. The cursor stands before what is for it.
    pub(crate) fn enter(
        self: &Arc<Self>,
        table: &mut Table<C>,
        name: &str,
        since: Option<u64>,
        most: usize,
    ) -> Result<Entered, ChannelError> {
        if table.count == 0 {
            self.place.skip(&mut table.cursor);
            self.listen()?;
        }
        let joined = self.place.try_join(name)?.ok_or(ChannelError::Busy(None))?;
        table.count += 1;
        self.is_live.store(true, Ordering::SeqCst);
        let index = joined.id.index();
        if table.channels.len() <= index {
            table.channels.resize_with(index + 1, || None);
        }
        let local = table.channels[index].get_or_insert_with(|| Box::new(Local::new(&joined, name)));
        let mut entered = Entered {
            joined,
            name: Arc::clone(&local.name),
            answer: JoinAnswer {
                offset: joined.offset,
                replayed: 0,
                missed: Missed::Nothing,
            },
            replay: None,
        };
        if let Some(since) = since {
            let (replay, missed) = self.place.channels().replay(&joined, since, most);
            entered.answer.missed = missed;
            entered.answer.replayed = replay.remaining() as usize;
            if replay.remaining() > 0 {
                entered.answer.offset = replay.offset() - 1;
                entered.replay = Some(replay);
            }
        }
        Ok(entered)
    }

    /// Joins; while somebody has the region's lock, waits a little for it with nothing locked that others need.
    pub(crate) fn patiently<T>(
        &self,
        mut join: impl FnMut() -> Result<T, JoinError>,
    ) -> Result<T, JoinError> {
        for _ in 0..TRIES {
            match join() {
                Err(JoinError::Channel(ChannelError::Busy(_))) => {
                    self.place.channels().wait_free(BRIEFLY)?;
                }
                other => return other,
            }
        }
        join()
    }

    /// The member that has entered gets frames from now on. `slow_consumer` as the settings say, if it does not.
    pub(crate) fn add(
        &self,
        table: &mut Table<C>,
        entered: &Entered,
        recipient: &Arc<C>,
        form: Form,
        slow_consumer: Option<SlowConsumer>,
    ) -> Option<Membership> {
        let Joined { id, offset, .. } = entered.joined;
        let slow_consumer = slow_consumer.unwrap_or(self.slow_consumer);
        let local = table.local(id.index())?;
        Some(local.add_recipient(Arc::clone(recipient), form, slow_consumer, offset + 1))
    }

    /// Hands over what was published for these members up to now: who publishes and leaves right behind it, or closes, has
    /// published as a member.
    pub(crate) fn settle(&self, table: &mut Table<C>, memberships: &[Membership]) {
        for membership in memberships {
            let Some(local) = table.local(membership.id.index()) else {
                continue;
            };
            let records = self.place.behind(local.id, local.last);
            if records.is_empty() {
                continue;
            }
            let (delivered, dropped) = local.settle(&self.shared, membership, &records, self.backlog);
            self.place.count_deliveries(delivered, dropped);
        }
    }

    /// Ends a membership.
    pub(crate) fn leave(&self, table: &mut Table<C>, membership: Membership) {
        let index = membership.id.index();
        let Some(local) = table.local(index) else { return };
        if !local.remove(membership) {
            return;
        }
        if local.is_empty() {
            table.channels[index] = None;
        }
        table.count -= 1;
        if table.count == 0 {
            self.is_live.store(false, Ordering::SeqCst);
        }
        self.place.leave(membership.id);
    }

    /// Ends memberships of a connection that is over.
    pub(crate) fn leave_all(&self, memberships: Vec<Membership>) {
        if memberships.is_empty() {
            return;
        }
        let mut table = lock(&self.table);
        for membership in memberships {
            self.leave(&mut table, membership);
        }
    }

    /// Notes memberships of a connection that is over, and locked; [`Subscriptions::let_go`] ends them.
    pub(crate) fn depart(&self, memberships: Vec<Membership>) {
        if !memberships.is_empty() {
            lock(&self.departed).extend(memberships);
        }
    }

    /// Ends the memberships of connections that are over.
    pub(crate) fn let_go(&self, table: &mut Table<C>) {
        let departed = std::mem::take(&mut *lock(&self.departed));
        for membership in departed {
            self.leave(table, membership);
        }
    }

    /// Makes a task a member: it takes the messages itself.
    pub(crate) fn subscribe(
        self: &Arc<Self>,
        name: &str,
        since: Option<u64>,
        limit: usize,
        drops: Drops,
    ) -> Result<(Arc<Subscription>, Membership, JoinAnswer), JoinError> {
        self.prepare(name, since);
        self.patiently(|| self.subscribe_once(name, since, limit, drops))
    }

    fn subscribe_once(
        self: &Arc<Self>,
        name: &str,
        since: Option<u64>,
        limit: usize,
        drops: Drops,
    ) -> Result<(Arc<Subscription>, Membership, JoinAnswer), JoinError> {
        let mut table = self.table();
        let entered = self.enter(&mut table, name, since, limit)?;
        let Joined { id, offset, .. } = entered.joined;
        let subscription = Arc::new(Subscription::new(entered.name, limit, drops, entered.replay));
        let Some(local) = table.local(id.index()) else {
            return Err(JoinError::Closed); // `enter` has just made it
        };
        let membership = local.add_task(Arc::clone(&subscription), offset + 1);
        drop(table);
        self.shared.wake_driver();
        Ok((subscription, membership, entered.answer))
    }

    /// True while there is nobody to deliver to.
    #[inline]
    fn is_idle(&self) -> bool {
        !self.is_live.load(Ordering::SeqCst)
    }

    /// Delivers what the log has for members here, up to a batch. True if there is more.
    #[inline]
    pub(crate) fn serve(&self) -> bool {
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
                let (some, missed) = local.deliver(&self.shared, self.backlog);
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
    fn read(&self, table: &mut Table<C>) -> bool {
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
                local.count_lost(lost);
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

    /// Starts the thread that waits for other processes' wake-ups: no poller can. It counts out members as well whose
    /// leaving had to wait for the region's lock.
    fn listen(self: &Arc<Self>) -> Result<(), ChannelError> {
        let mut listener = lock(&self.listener);
        if listener.is_some() {
            return Ok(());
        }
        let for_thread = Arc::downgrade(self);
        let newest = self.place.wakes();
        let listen = move || {
            let mut seen = newest;
            while let Some(subscriptions) = for_thread.upgrade() {
                if subscriptions.is_stopped.load(Ordering::SeqCst) {
                    return;
                }
                let limit = (!subscriptions.place.settle()).then_some(SETTLE_EVERY);
                let newest = subscriptions.place.wait_for_wake(seen, limit);
                if newest != seen {
                    seen = newest;
                    subscriptions.shared.wake_driver();
                }
            }
        };
        let thread = std::thread::Builder::new().name("fairlead-wakes".into());
        #[cfg(test)]
        let thread = match self.is_short_of_threads.load(Ordering::SeqCst) {
            true => thread.stack_size(isize::MAX as usize / 2),
            false => thread,
        };
        // Without it the loop would sleep through its channels.
        *listener = Some(thread.spawn(listen).map_err(ChannelError::System)?);
        Ok(())
    }

    /// Ends the thread.
    pub(crate) fn stop(&self) {
        self.is_stopped.store(true, Ordering::SeqCst);
        if let Some(listener) = lock(&self.listener).take() {
            self.place.wake_self();
            let _ = listener.join();
        }
        // Connections hold the shared part, and members hold connections.
        let mut table = lock(&self.table);
        table.channels.clear();
        table.count = 0;
        self.is_live.store(false, Ordering::SeqCst);
    }
}
