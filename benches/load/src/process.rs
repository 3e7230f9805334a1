//! What a process has used: CPU time and resident memory, of this process or of another one. CPU time comes from the
//! process's CPU clock (clock_getcpuclockid(3)): user and system time of all its threads, ended ones included, in
//! nanoseconds, where `/proc/PID/stat` counts the same in hundredths of a second.

use std::fs;

/// No process has this number or a higher one (PID_MAX_LIMIT of Linux); beyond it the clock's name would wrap around.
pub const MAX_PID: i32 = 4_194_304;

/// CPU seconds of this process.
pub fn own_cpu_s() -> f64 {
    clock_s(libc::CLOCK_PROCESS_CPUTIME_ID).unwrap_or(0.0)
}

/// CPU seconds of all of `pids`; one that is gone counts nothing.
pub fn cpu_s(pids: &[i32]) -> f64 {
    pids.iter()
        .filter_map(|pid| process_clock(*pid).and_then(clock_s))
        .sum()
}

/// Resident bytes of all of `pids`; one that is gone counts nothing.
pub fn resident_bytes(pids: &[i32]) -> u64 {
    pids.iter().filter_map(|pid| resident_pages(*pid)).sum::<u64>() * page_size()
}

fn process_clock(pid: i32) -> Option<libc::clockid_t> {
    let mut clock = 0;
    // SAFETY: `clock` is valid for writing.
    let error = unsafe { libc::clock_getcpuclockid(pid, &mut clock) };
    (error == 0).then_some(clock)
}

fn clock_s(clock: libc::clockid_t) -> Option<f64> {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is valid for writing; an unknown clock is reported as an error.
    let result = unsafe { libc::clock_gettime(clock, &mut time) };
    (result == 0).then(|| time.tv_sec as f64 + time.tv_nsec as f64 / 1e9)
}

/// The second field of `/proc/PID/statm`, proc(5).
fn resident_pages(pid: i32) -> Option<u64> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    statm.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn page_size() -> u64 {
    // SAFETY: no pointers; every Linux knows its page size.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_cpu_and_memory() {
        let pid = std::process::id() as i32;
        assert!(cpu_s(&[pid]) > 0.0);
        assert!(resident_bytes(&[pid]) > 100_000);
    }

    #[test]
    fn a_process_that_is_gone_counts_nothing() {
        assert_eq!(cpu_s(&[MAX_PID]), 0.0);
        assert_eq!(resident_bytes(&[MAX_PID]), 0);
    }
}
