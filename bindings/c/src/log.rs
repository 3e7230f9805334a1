//! Lines of the log on their way to the program's descriptor: nobody in the engine waits for whoever reads it.
//!
//! The engine calls the sink on the threads that accept and read for everybody, with a connection locked at times. So a line
//! goes into a queue, and a thread of this file writes it. What finds no room, or cannot be written, is lost; how many is
//! said by the next line that can be. The lock is a leaf, held for a push or a swap.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fairlead_engine::{LogLevel, LogSink};

/// Bytes that wait for the reader: some 25,000 lines, as in the Python package.
const MOST_BYTES: usize = 4 << 20;

/// What a line takes besides its bytes, so that many short ones find an end as well.
const LINE: usize = 64;

/// Lines on their way.
#[derive(Default)]
pub(crate) struct LogQueue {
    state: Mutex<State>,
    changed: Condvar,
}

/// What the thread has to write.
enum Entry {
    Line(String),
    /// So many lines are missing here.
    Lost(u64),
}

#[derive(Default)]
struct State {
    lines: VecDeque<Entry>,
    bytes: usize,
    lost: u64,
    /// The thread has taken lines that it has yet to write.
    is_writing: bool,
    /// Nobody puts lines any more.
    is_over: bool,
}

impl LogQueue {
    /// A sink for lines of this level and above, and its queue. The thread that writes them inherits the caller's signal
    /// mask, and ends when the sink is dropped and all is written.
    pub(crate) fn start(file: File, least: LogLevel) -> std::io::Result<(LogSink, Arc<LogQueue>)> {
        let queue = Arc::<LogQueue>::default();
        let (writing, sender) = (Arc::clone(&queue), Sender(Arc::clone(&queue)));
        std::thread::Builder::new()
            .name("fairlead-log".into())
            .spawn(move || writing.write_all(&file))?;
        let sink: LogSink = Arc::new(move |level, line| {
            if level >= least {
                sender.0.put(as_line(level, line));
            }
        });
        Ok((sink, queue))
    }

    /// Waits until all lines are written, or given up, but not for longer than this.
    pub(crate) fn flush(&self, patience: Duration) {
        let state = self.lock();
        let waits = |state: &mut State| state.is_writing || !state.lines.is_empty();
        drop(self.changed.wait_timeout_while(state, patience, waits));
    }

    fn put(&self, line: String) {
        let mut state = self.lock();
        let size = line.len() + LINE;
        if state.bytes + size > MOST_BYTES {
            state.lost += 1;
            return;
        }
        state.note_lost();
        state.bytes += size;
        state.lines.push_back(Entry::Line(line));
        drop(state);
        self.changed.notify_all();
    }

    /// The life of the thread.
    fn write_all(&self, file: &File) {
        loop {
            let mut state = self.lock();
            state.is_writing = false;
            self.changed.notify_all();
            while state.lines.is_empty() {
                if state.is_over {
                    return;
                }
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            let lines = std::mem::take(&mut state.lines);
            state.bytes = 0;
            state.is_writing = true;
            drop(state);
            // They leave one by one, each in one write(2) if the reader takes it whole.
            for entry in lines {
                let (line, stands_for) = match entry {
                    Entry::Line(line) => (line, 1),
                    Entry::Lost(count) => (lost_line(count), count),
                };
                if write(file, line.as_bytes()).is_err() {
                    self.lock().lost += stands_for;
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn note_lost(&mut self) {
        let lost = std::mem::take(&mut self.lost);
        if lost > 0 {
            self.lines.push_back(Entry::Lost(lost));
        }
    }
}

/// The engine's end.
struct Sender(Arc<LogQueue>);

impl Drop for Sender {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.note_lost();
        state.is_over = true;
        drop(state);
        self.0.changed.notify_all();
    }
}

fn lost_line(count: u64) -> String {
    let what = if count == 1 { "line" } else { "lines" };
    as_line(
        LogLevel::Warning,
        &format!("{count} {what} before this one could not be written"),
    )
}

fn as_line(level: LogLevel, line: &str) -> String {
    let name = match level {
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warning => "warning",
        LogLevel::Error => "error",
    };
    format!("fairlead: {name}: {}\n", line.replace(['\n', '\r'], " "))
}

/// Writes all, and waits for room where the program has made its descriptor one that does not block.
fn write(mut file: &File, mut rest: &[u8]) -> std::io::Result<()> {
    while !rest.is_empty() {
        match file.write(rest) {
            Ok(0) => return Err(std::io::ErrorKind::WriteZero.into()),
            Ok(count) => rest = &rest[count..],
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => wait_for_room(file),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn wait_for_room(file: &File) {
    let mut one = libc::pollfd {
        fd: file.as_raw_fd(),
        events: libc::POLLOUT,
        revents: 0,
    };
    // SAFETY: one entry, which lives as long as the call. Whatever it answers, the caller tries again.
    unsafe { libc::poll(&mut one, 1, 1000) };
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::{BufRead, BufReader};
    use std::os::fd::OwnedFd;
    use std::time::Instant;

    use super::*;

    fn pipe() -> (BufReader<File>, File) {
        let (reader, writer) = std::io::pipe().unwrap();
        (
            BufReader::new(File::from(OwnedFd::from(reader))),
            File::from(OwnedFd::from(writer)),
        )
    }

    fn next(reader: &mut impl BufRead) -> String {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        line
    }

    #[test]
    fn lines_of_the_level_are_written_in_their_order_and_all_before_the_end() {
        let (mut reader, writer) = pipe();
        let (sink, queue) = LogQueue::start(writer, LogLevel::Info).unwrap();
        sink(LogLevel::Debug, "not this one");
        sink(LogLevel::Warning, "one\nor two?");
        sink(LogLevel::Info, "two");
        drop(sink);
        queue.flush(Duration::from_secs(20));
        assert_eq!(next(&mut reader), "fairlead: warning: one or two?\n");
        assert_eq!(next(&mut reader), "fairlead: info: two\n");
        assert_eq!(next(&mut reader), "", "the thread has let go of the descriptor");
    }

    #[test]
    fn nobody_waits_for_a_reader_and_what_is_lost_is_counted() {
        let (mut reader, writer) = pipe();
        let (sink, queue) = LogQueue::start(writer, LogLevel::Info).unwrap();
        let long = "x".repeat(10_000);
        let began = Instant::now();
        let put = 1000;
        for _ in 0..put {
            sink(LogLevel::Info, &long);
        }
        queue.flush(Duration::from_millis(1));
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        assert!(queue.lock().bytes <= MOST_BYTES);
        drop(sink);
        let (mut whole, mut lost) = (0, 0);
        loop {
            let line = next(&mut reader);
            if line.is_empty() {
                break;
            }
            match line.strip_prefix("fairlead: warning: ") {
                Some(count) => lost += count.split(' ').next().unwrap().parse::<usize>().unwrap(),
                None => whole += usize::from(line.ends_with("x\n")),
            }
        }
        assert!(lost > 0 && whole > 0);
        assert_eq!(whole + lost, put);
    }

    #[test]
    fn a_disk_that_is_full_stops_nobody() {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let (sink, queue) = LogQueue::start(full, LogLevel::Info).unwrap();
        for _ in 0..3 {
            sink(LogLevel::Info, "lost");
            queue.flush(Duration::from_secs(20));
        }
        assert_eq!(queue.lock().lost, 3);
    }

    #[test]
    fn a_descriptor_that_does_not_block_is_waited_for_by_the_thread_alone() {
        let (mut reader, writer) = pipe();
        // SAFETY: the descriptor is open, and the flag is a number.
        unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
        let (sink, _queue) = LogQueue::start(writer, LogLevel::Info).unwrap();
        let long = "y".repeat(200_000);
        sink(LogLevel::Info, &long);
        assert_eq!(next(&mut reader), format!("fairlead: info: {long}\n"));
    }
}
