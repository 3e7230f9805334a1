//! How many connections each process has that shares a listener, in cells of a small file.
//!
//! Each process writes its load into its own cell and reads those of the others; what it makes of them is decided where
//! connections are accepted (`accept/balancing`). A cell is a hint, and nobody depends on its owner, who may be stopped or
//! dead. Only the front's own thread writes, after each accept and before it sleeps; since each new connection wakes every
//! front, a cell is out of date for one connection at most. A process alone has no scoreboard.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

/// What stands in the cell of a process that wants no connection: it is full, leaves, is not ready or does not exist.
const ABSENT: u64 = u64::MAX;

/// Added to the number of connections while the application is held up: more than anybody has.
pub(crate) const HELD_UP: u64 = 1 << 63;

/// A cell: a number of connections, least significant byte first.
const CELL: usize = 8;

/// Cells that one read takes; more take several.
const CELLS_PER_READ: usize = 64;

/// Where the processes that share listeners tell each other how many connections they have, and which cell is ours.
///
/// The file holds one number of 8 bytes, little-endian, for each process: its connections, plus 2^63 while its application
/// is held up; 2^64 - 1 stands for a process that wants no connection. Whoever starts the processes makes the file, gives
/// each a cell of its own and clears the cell of one that has died.
#[derive(Clone, Debug)]
pub struct Scoreboard {
    file: Arc<File>,
    cell: u64,
}

impl Scoreboard {
    /// `file` is open for reading and writing, and the same for all; `cell` counts from 0.
    pub fn new(file: OwnedFd, cell: u32) -> Scoreboard {
        Scoreboard {
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
pub(crate) struct Others {
    processes: u64,
    connections: u64,
    /// The fewest connections of one of them.
    pub(crate) fewest: u64,
    are_held_up: bool,
}

impl Others {
    pub(crate) fn add(&mut self, load: u64) {
        if load == ABSENT {
            return;
        }
        let (connections, is_held_up) = (load & !HELD_UP, load >= HELD_UP);
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

    /// There is another process that wants connections.
    pub(crate) fn are_any(&self) -> bool {
        self.processes > 0
    }

    /// Whether one of them should have the next connection rather than a process with this load. `slack`: how many more
    /// than the mean are no reason to give way; a sixteenth is none either, for taking turns slows a storm down.
    pub(crate) fn come_before(&self, own: u64, slack: u64) -> bool {
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
pub(crate) struct Load(pub(crate) u64);

impl Load {
    pub(crate) const ABSENT: Load = Load(ABSENT);

    pub(crate) fn new(connections: usize, is_held_up: bool) -> Load {
        Load(connections as u64 + if is_held_up { HELD_UP } else { 0 })
    }
}

/// This process's part in the scoreboard. Written by the front's thread only.
pub(crate) struct OwnCell {
    scoreboard: Option<Scoreboard>,
    written: AtomicU64,
}

impl OwnCell {
    pub(crate) fn new(scoreboard: Option<Scoreboard>) -> OwnCell {
        OwnCell {
            scoreboard,
            // Cells are clear when they are given away.
            written: AtomicU64::new(ABSENT),
        }
    }

    /// Tells the others. `own` is asked only if there are any.
    pub(crate) fn tell(&self, own: impl FnOnce() -> Load) {
        let Some(scoreboard) = &self.scoreboard else {
            return;
        };
        let Load(own) = own();
        if self.written.load(Ordering::Relaxed) != own && scoreboard.write(own).is_ok() {
            self.written.store(own, Ordering::Relaxed);
        }
    }

    /// Its load and what the others have; `None` if there is no scoreboard.
    pub(crate) fn compare(&self, own: impl FnOnce() -> Load) -> Option<(Load, Others)> {
        let scoreboard = self.scoreboard.as_ref()?;
        Some((own(), scoreboard.others()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn others(cells: &[u64]) -> Others {
        let mut others = Others::default();
        cells.iter().for_each(|cell| others.add(*cell));
        others
    }

    /// A scoreboard with these cells.
    fn scoreboard(cells: &[u64], cell: u32, name: &str) -> Scoreboard {
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
        Scoreboard::new(file.into(), cell)
    }

    #[test]
    fn all_cells_count_but_our_own_and_those_of_the_absent() {
        let mut cells = vec![ABSENT; 3 * CELLS_PER_READ];
        cells[1] = 1000;
        assert_eq!(scoreboard(&cells, 1, "alone").others(), Others::default());
        for (cell, connections) in [(0, 7), (CELLS_PER_READ, 300), (3 * CELLS_PER_READ - 1, 5)] {
            cells[cell] = connections;
        }
        let found = scoreboard(&cells, 1, "some").others();
        assert_eq!((found.processes, found.connections, found.fewest), (3, 312, 5));
    }

    #[test]
    fn a_cell_is_written_when_its_number_changes() {
        let scoreboard = scoreboard(&[ABSENT; 2], 1, "written");
        let share = OwnCell::new(Some(scoreboard.clone()));
        let cell = || {
            let mut bytes = [0; CELL];
            scoreboard.file.read_exact_at(&mut bytes, CELL as u64).unwrap();
            u64::from_le_bytes(bytes)
        };
        share.tell(|| Load::ABSENT);
        share.tell(|| Load::new(258, false));
        assert_eq!(cell(), 258);
        scoreboard.write(0).unwrap();
        share.tell(|| Load::new(258, false));
        assert_eq!(cell(), 0, "a system call for nothing");
        share.tell(|| Load::new(258, true));
        assert_eq!(cell(), HELD_UP + 258);
        share.tell(|| Load::ABSENT);
        assert_eq!(cell(), ABSENT);
        OwnCell::new(None).tell(|| panic!("nobody wants to know"));
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
            // Full at another listener.
            (ABSENT, &[100], true),
        ] {
            assert_eq!(
                others(cells).come_before(own, 0),
                gives_way,
                "{own:x} against {cells:x?}"
            );
        }
    }
}
