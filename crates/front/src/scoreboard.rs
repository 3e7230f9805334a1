//! Connections spread evenly over the processes that share a listener.
//!
//! The kernel wakes all of them for a new connection and the first one gets it, which can be the same one every time:
//! one process has been seen with 199 of 200 WebSockets. So each process writes how many connections it has into its
//! cell of a small file, the *tally*, and one that has more than the mean gives way: it pauses before it accepts, and
//! another, awake for the same connection, comes first. The next connection ends the pause for another look, so while
//! connections come no time is lost.
//!
//! A cell is a hint, and nobody depends on its owner, who may be stopped or dead. A connection that nobody has taken
//! after a few milliseconds is accepted all the same; and when many wait behind a process that does not move, each
//! further pause buys twice as many accepts. Only the front's own thread writes, after each accept and before it sleeps;
//! since each new connection wakes every front, a cell is out of date for one connection at most. A process alone has no
//! tally and does nothing of all this.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What stands in the cell of a process that wants no connection: it is full, leaves, is not ready or does not exist.
const ABSENT: u64 = u64::MAX;

/// Added to the number of connections while the application is held up: more than anybody has.
const HELD_UP: u64 = 1 << 63;

/// A cell: a number of connections, least significant byte first.
const CELL: usize = 8;

/// Cells that one read takes; more take several.
const CELLS_PER_READ: usize = 64;

/// A pause: how long a connection is left to processes that have fewer. It is cut into steps, because on a machine with too
/// much to do each sleep lasts longer than it should, and so do those of the process that is waited for.
const PAUSE: Steps = Steps {
    of: Duration::from_millis(2),
    count: 2,
};

/// The same where the application is held up. The connection would have to wait for it anyway, so it may wait as long as is
/// already certain (the engine's `HELD_UP_AFTER`) for another process.
const PAUSE_HELD_UP: Steps = Steps {
    of: Duration::from_millis(10),
    count: 10,
};

struct Steps {
    of: Duration,
    count: u32,
}

/// Connections that follow each other more quickly than this are a storm, or requests with a connection for each. Then one
/// more than the mean is no reason to give way: where processes share a processor, strict turns made such requests cost two
/// thirds more. Connections that come at leisure are spread strictly, so that two busy clients have a process each.
const CALM: Duration = Duration::from_millis(10);

/// Pauses for a process that has not moved since the first of them, before it is believed to be stuck: from then on each
/// buys twice as many accepts, up to this power of two.
const PATIENCE: u32 = 10;
const LARGEST_GRANT: u32 = 10;

/// Where the processes that share listeners tell each other how many connections they have, and which cell is ours.
///
/// The file holds one number of 8 bytes, little-endian, for each process: its connections, plus 2^63 while its application
/// is held up; 2^64 - 1 stands for a process that wants no connection. Whoever starts the processes makes the file, gives
/// each a cell of its own and clears the cell of one that has died.
#[derive(Clone, Debug)]
pub struct Tally {
    file: Arc<File>,
    cell: u64,
}

impl Tally {
    /// `file` is open for reading and writing, and the same for all; `cell` counts from 0.
    pub fn new(file: OwnedFd, cell: u32) -> Tally {
        Tally {
            file: Arc::new(File::from(file)),
            cell: u64::from(cell),
        }
    }

    fn write(&self, count: u64) -> io::Result<()> {
        self.file
            .write_all_at(&count.to_le_bytes(), self.cell * CELL as u64)
    }

    /// What the others tell. When the file cannot be read nobody else is there: connections are accepted all the same.
    fn others(&self) -> Others {
        let mut others = Others::default();
        let mut first = 0;
        loop {
            let mut bytes = [0; CELLS_PER_READ * CELL];
            let Ok(length) = self.file.read_at(&mut bytes, first * CELL as u64) else {
                return Others::default();
            };
            for (cell, bytes) in (first..).zip(bytes[..length].chunks_exact(CELL)) {
                if cell != self.cell {
                    others.add(number(bytes));
                }
            }
            if length < bytes.len() {
                return others;
            }
            first += CELLS_PER_READ as u64;
        }
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The other processes that want connections: those whose application is not held up, or if it is everywhere, all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Others {
    processes: u64,
    connections: u64,
    /// The fewest connections of one of them.
    fewest: u64,
    are_held_up: bool,
}

impl Others {
    fn add(&mut self, standing: u64) {
        if standing == ABSENT {
            return;
        }
        let (connections, is_held_up) = (standing & !HELD_UP, standing >= HELD_UP);
        if self.processes == 0 || (self.are_held_up && !is_held_up) {
            *self = Others {
                processes: 1,
                connections,
                fewest: connections,
                are_held_up: is_held_up,
            };
        } else if self.are_held_up == is_held_up {
            self.processes += 1;
            self.connections = self.connections.saturating_add(connections);
            self.fewest = self.fewest.min(connections);
        }
    }

    /// Whether one of them should have the next connection rather than a process with this standing. `slack`: how many more
    /// than the mean are no reason to give way; a sixteenth is none either, for taking turns slows a storm down.
    fn come_before(&self, own: u64, slack: u64) -> bool {
        let (connections, is_held_up) = (own & !HELD_UP, own >= HELD_UP);
        if self.processes == 0 || is_held_up != self.are_held_up {
            return self.processes > 0 && is_held_up;
        }
        // Compared with the mean, not with the fewest: of several that have few none should wait for another.
        let mean = self.connections.saturating_add(connections) / (self.processes + 1);
        connections > mean + slack.max(mean / 16)
    }
}

/// What a process tells of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing(u64);

impl Standing {
    pub(crate) const ABSENT: Standing = Standing(ABSENT);

    pub(crate) fn new(connections: usize, is_held_up: bool) -> Standing {
        Standing(connections as u64 + if is_held_up { HELD_UP } else { 0 })
    }
}

/// This process's part in the tally. Written by the front's thread only.
pub(crate) struct Share {
    tally: Option<Tally>,
    written: AtomicU64,
}

impl Share {
    pub(crate) fn new(tally: Option<Tally>) -> Share {
        Share {
            tally,
            // Cells are clear when they are given away.
            written: AtomicU64::new(ABSENT),
        }
    }

    /// Tells the others. `own` is asked only if there are any.
    pub(crate) fn tell(&self, own: impl FnOnce() -> Standing) {
        let Some(tally) = &self.tally else { return };
        let Standing(own) = own();
        if self.written.load(Ordering::Relaxed) != own && tally.write(own).is_ok() {
            self.written.store(own, Ordering::Relaxed);
        }
    }

    /// How long to leave a connection that seems to wait to others, until they are looked at again.
    pub(crate) fn pause(&self, courtesy: &mut Courtesy, own: impl FnOnce() -> Standing) -> Option<Duration> {
        let tally = self.tally.as_ref()?;
        courtesy.pause(own().0, tally.others(), Instant::now())
    }
}

/// How far one listener goes in giving way: not so far that connections pile up behind a process that does not come.
#[derive(Debug, Default)]
pub(crate) struct Courtesy {
    /// The fewest connections of another process at the last look.
    fewest: u64,
    /// The steps of the present pause, and when the last of them ends.
    steps: u32,
    until: Option<Instant>,
    /// When we last had no reason to give way.
    took: Option<Instant>,
    /// Pauses in vain since that process moved, and the accepts that the last of them bought.
    pauses: u32,
    grant: u32,
}

impl Courtesy {
    /// How long to wait before the next look; `None`: accept.
    fn pause(&mut self, own: u64, others: Others, now: Instant) -> Option<Duration> {
        if self.fewest != others.fewest {
            // It is coming; a storm of connections takes it more than one pause.
            self.fewest = others.fewest;
            self.pauses = 0;
            self.grant = 0;
        }
        let is_storm = self.took.is_some_and(|took| now - took < CALM);
        if !others.come_before(own, u64::from(is_storm)) {
            self.end_pause();
            self.took = Some(now);
            return None;
        }
        if self.grant > 0 {
            self.grant -= 1;
            return None;
        }
        if let Some(until) = self.until.filter(|until| now < *until) {
            return Some(until - now);
        }
        let pause = if own < HELD_UP { PAUSE } else { PAUSE_HELD_UP };
        if self.steps < pause.count {
            self.steps += 1;
            self.until = Some(now + pause.of);
            return Some(pause.of);
        }
        self.end_pause();
        self.pauses += 1;
        // This one and, if the other does not move at all, soon many more.
        self.grant = (1 << self.pauses.saturating_sub(PATIENCE).min(LARGEST_GRANT)) - 1;
        None
    }

    /// Nothing waits. The next connection is left to the others again, who may be quicker now.
    pub(crate) fn settle(&mut self) {
        self.end_pause();
        self.grant = 0;
    }

    fn end_pause(&mut self) {
        self.steps = 0;
        self.until = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn others(cells: &[u64]) -> Others {
        let mut others = Others::default();
        cells.iter().for_each(|cell| others.add(*cell));
        others
    }

    /// A tally with these cells.
    fn tally(cells: &[u64], cell: u32, name: &str) -> Tally {
        let path = std::env::temp_dir().join(format!("fairlead-{name}-{}", std::process::id()));
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .unwrap();
        std::fs::remove_file(path).unwrap();
        let bytes: Vec<u8> = cells.iter().flat_map(|cell| cell.to_le_bytes()).collect();
        file.write_all_at(&bytes, 0).unwrap();
        Tally::new(file.into(), cell)
    }

    #[test]
    fn all_cells_count_but_our_own_and_those_of_the_absent() {
        let mut cells = vec![ABSENT; 3 * CELLS_PER_READ];
        cells[1] = 1000;
        assert_eq!(tally(&cells, 1, "alone").others(), Others::default());
        for (cell, connections) in [(0, 7), (CELLS_PER_READ, 300), (3 * CELLS_PER_READ - 1, 5)] {
            cells[cell] = connections;
        }
        let found = tally(&cells, 1, "some").others();
        assert_eq!((found.processes, found.connections, found.fewest), (3, 312, 5));
    }

    #[test]
    fn a_cell_is_written_when_its_number_changes() {
        let tally = tally(&[ABSENT; 2], 1, "written");
        let share = Share::new(Some(tally.clone()));
        let cell = || {
            let mut bytes = [0; CELL];
            tally.file.read_exact_at(&mut bytes, CELL as u64).unwrap();
            u64::from_le_bytes(bytes)
        };
        share.tell(|| Standing::ABSENT);
        share.tell(|| Standing::new(258, false));
        assert_eq!(cell(), 258);
        tally.write(0).unwrap();
        share.tell(|| Standing::new(258, false));
        assert_eq!(cell(), 0, "a system call for nothing");
        share.tell(|| Standing::new(258, true));
        assert_eq!(cell(), HELD_UP + 258);
        share.tell(|| Standing::ABSENT);
        assert_eq!(cell(), ABSENT);
        Share::new(None).tell(|| panic!("nobody wants to know"));
    }

    #[test]
    fn who_has_more_than_the_mean_and_its_slack_gives_way() {
        for (own, cells, gives_way) in [
            (0, &[0][..], false),
            (1, &[0], true),
            (1, &[1], false),
            (100, &[90], false),
            (112, &[100], false),
            (114, &[100], true),
            (50, &[10, 100], false),
            // Two that have few do not wait for one another.
            (16, &[14, 60], false),
            (60, &[14, 16], true),
            (1000, &[], false),
            (1000, &[ABSENT, ABSENT], false),
            (1000, &[ABSENT, 5], true),
        ] {
            assert_eq!(
                others(cells).come_before(own, 0),
                gives_way,
                "{own} against {cells:?}"
            );
        }
    }

    #[test]
    fn few_connections_are_spread_strictly_unless_they_come_in_a_storm() {
        let mut courtesy = Courtesy::default();
        let now = Instant::now();
        assert_eq!(courtesy.pause(1, others(&[0]), now), Some(PAUSE.of), "calm");
        assert_eq!(courtesy.pause(0, others(&[0]), now), None);
        assert_eq!(courtesy.pause(1, others(&[0]), now + MS), None, "a storm");
        assert_eq!(courtesy.pause(2, others(&[0]), now + MS), None);
        assert_eq!(courtesy.pause(3, others(&[0]), now + MS), Some(PAUSE.of));
        courtesy.settle();
        assert_eq!(
            courtesy.pause(2, others(&[0]), now + MS + CALM),
            Some(PAUSE.of),
            "calm again"
        );
    }

    #[test]
    fn who_is_held_up_gives_way_to_all_that_are_not_and_shares_with_those_that_are() {
        for (own, cells, gives_way) in [
            (HELD_UP, &[100][..], true),
            (100, &[HELD_UP], false),
            (HELD_UP + 100, &[HELD_UP], true),
            (HELD_UP, &[HELD_UP + 100], false),
            (HELD_UP, &[HELD_UP + 100, 100], true),
            (100, &[HELD_UP, 10], true),
            (100, &[HELD_UP, 100, HELD_UP], false),
            (HELD_UP, &[ABSENT], false),
            // Full at another door.
            (ABSENT, &[100], true),
        ] {
            assert_eq!(
                others(cells).come_before(own, 0),
                gives_way,
                "{own:x} against {cells:x?}"
            );
        }
    }

    #[test]
    fn a_connection_that_nobody_took_is_accepted_after_the_pause() {
        let mut courtesy = Courtesy::default();
        let mut now = Instant::now();
        let light = others(&[3]);
        for _ in 0..PAUSE.count {
            assert_eq!(courtesy.pause(10, light, now), Some(PAUSE.of));
            // Woken by another connection.
            assert_eq!(courtesy.pause(10, light, now + MS), Some(PAUSE.of - MS));
            // However long it slept, it is one step.
            now += 3 * PAUSE.of;
        }
        assert_eq!(courtesy.pause(10, light, now), None);
        assert_eq!(courtesy.pause(11, light, now), Some(PAUSE.of), "the next one");
        // Somebody took it: another time begins anew.
        courtesy.settle();
        for _ in 0..PAUSE.count {
            assert_eq!(courtesy.pause(11, light, now), Some(PAUSE.of));
            now += PAUSE.of;
        }
        assert_eq!(courtesy.pause(11, others(&[11]), now), None, "as many as here");
    }

    #[test]
    fn a_pause_ends_when_the_application_is_back() {
        let mut courtesy = Courtesy::default();
        let now = Instant::now();
        assert_eq!(
            courtesy.pause(HELD_UP + 3, others(&[11]), now),
            Some(PAUSE_HELD_UP.of)
        );
        assert_eq!(courtesy.pause(3, others(&[11]), now + PAUSE_HELD_UP.of), None);
    }

    /// Sleeps and accepts in this many looks at a process that stands still, or moves at each look.
    fn sleeps_in(looks: u32, moves: bool) -> u32 {
        let (mut courtesy, mut now, mut sleeps) = (Courtesy::default(), Instant::now(), 0);
        for look in 0..looks {
            let fewest = if moves { u64::from(look % 2) } else { 0 };
            if let Some(pause) = courtesy.pause(1000, others(&[fewest]), now) {
                sleeps += 1;
                now += pause;
            }
        }
        sleeps
    }

    #[test]
    fn a_process_that_does_not_move_costs_fewer_and_fewer_pauses() {
        // At first each connection costs one, then half as many, and so on.
        let first = PATIENCE * (PAUSE.count + 1);
        assert_eq!(sleeps_in(first, false), PATIENCE * PAUSE.count);
        assert!(sleeps_in(10_000, false) < (PATIENCE + 25) * PAUSE.count);
        // One that moves is alive: it gets its chance each time.
        assert_eq!(sleeps_in(30_000, true), 30_000 / (PAUSE.count + 1) * PAUSE.count);
    }

    #[test]
    fn a_process_that_moves_again_is_given_its_chance_at_once() {
        let (mut courtesy, mut now) = (Courtesy::default(), Instant::now());
        let mut accepts = 0;
        while accepts < 200 {
            match courtesy.pause(1000, others(&[0]), now) {
                Some(pause) => now += pause,
                None => accepts += 1,
            }
        }
        assert_eq!(
            courtesy.pause(1000, others(&[0]), now),
            None,
            "it is thought stuck"
        );
        assert_eq!(courtesy.pause(1000, others(&[1]), now), Some(PAUSE.of));
    }

    #[test]
    fn a_new_storm_begins_with_one_pause_and_no_more() {
        let (mut courtesy, mut now) = (Courtesy::default(), Instant::now());
        for _ in 0..1000 {
            now += courtesy.pause(1000, others(&[0]), now).unwrap_or_default();
        }
        courtesy.settle();
        for _ in 0..PAUSE.count {
            assert_eq!(courtesy.pause(1000, others(&[0]), now), Some(PAUSE.of));
            now += PAUSE.of;
        }
        for _ in 0..100 {
            assert_eq!(courtesy.pause(1000, others(&[0]), now), None);
        }
    }
}
