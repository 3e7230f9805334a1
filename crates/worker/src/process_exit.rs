//! The ends that nobody else can bring about: of a process whose interpreter, or whose descriptors, are out of order.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{getpid, kill_process, Signal};

/// Blocks until the other end of a stream socket is gone. Takes nothing of what was sent.
///
/// # Errors
/// The system's; among them EBADF when the descriptor has been closed before.
pub fn wait_for_hang_up(socket: impl AsFd) -> io::Result<()> {
    loop {
        let mut one = [PollFd::new(&socket, PollFlags::RDHUP)];
        match poll(&mut one, None) {
            Ok(_) if one[0].revents().contains(PollFlags::NVAL) => return Err(Errno::BADF.into()),
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// What a process says whose application has closed descriptors that were not its own. Nothing can go on without them, and
/// what else would be said, a panic of each thread that meets one, explains nothing.
pub const DESCRIPTORS_ARE_LOST: &str =
    "descriptors of the server have been closed in this process (by os.closerange over \
    numbers that are not the application's own?): this worker ends, and its connections with it";

/// From now on a panic over a lost descriptor ends the process, with that line in the place of a backtrace.
pub fn explain_lost_descriptors() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        // One with a value in its text comes as a String; a literal has none to tell.
        if panic
            .payload()
            .downcast_ref::<String>()
            .is_some_and(|text| is_of_a_lost_descriptor(text))
        {
            end_this_process(DESCRIPTORS_ARE_LOST);
        }
        usual(panic);
    }));
}

/// As `io::Error` says it in `Debug`: tokio's loop panics with it.
fn is_of_a_lost_descriptor(text: &str) -> bool {
    text.contains("Bad file descriptor")
}

/// Writes one line to standard error and kills this process: with a signal that no handler, lock or exit hook can hold up.
pub fn end_this_process(why: &str) -> ! {
    let line = format!("[{}] error: {why}\n", std::process::id());
    // A pipe that has room takes a line that is shorter than PIPE_BUF at once.
    let _ = write_nowait(io::stderr().as_fd(), line.as_bytes());
    let _ = kill_process(getpid(), Signal::KILL);
    std::process::abort()
}

fn write_nowait(to: BorrowedFd<'_>, line: &[u8]) -> io::Result<usize> {
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let mut one = [PollFd::new(&to, PollFlags::OUT)];
    if poll(&mut one, Some(&at_once))? == 0 {
        return Ok(0); // nobody reads the log, and the end waits for nobody
    }
    Ok(rustix::io::write(to, line)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_hang_up_is_told_and_what_was_said_before_is_still_there() {
        let (mut ours, mut theirs) = UnixStream::pair().expect("a pair");
        theirs.write_all(b"last words").expect("room");
        let waiting = ours.try_clone().expect("a twin");
        let told = std::thread::spawn(move || wait_for_hang_up(waiting));
        drop(theirs);
        told.join().expect("no panic").expect("a hang-up");
        let mut heard = String::new();
        ours.read_to_string(&mut heard).expect("the rest");
        assert_eq!(heard, "last words");
    }
}
