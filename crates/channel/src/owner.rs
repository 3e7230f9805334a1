//! Which process has the lock and does not move: for the error that says so, and for nothing else.

use std::fmt;
use std::fs;

/// A process that holds the region's lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockOwner {
    /// Its id.
    pub process: u32,
    /// What its program is called.
    pub name: String,
    /// It was stopped, by a signal, a debugger or a freezer.
    pub is_stopped: bool,
}

impl LockOwner {
    /// The process of this thread; `None` if it has ended, or cannot be seen from here.
    pub(crate) fn of_thread(thread: u32) -> Option<LockOwner> {
        let status = fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
        let field = |name: &str| {
            let mut lines = status.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim))
        };
        Some(LockOwner {
            process: field("Tgid")?.parse().ok()?,
            name: field("Name")?.to_owned(),
            is_stopped: field("State")?.starts_with(['T', 't']),
        })
    }
}

impl fmt::Display for LockOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { process, name, .. } = self;
        if self.is_stopped {
            return write!(
                f,
                "process {process} ({name}) was stopped while it held the channels' lock; let it go on (kill -CONT \
                 {process}), or end it"
            );
        }
        write!(
            f,
            "process {process} ({name}) holds the channels' lock and does not move: it is frozen, or the machine is \
             overloaded; let it go on, or end it"
        )
    }
}
