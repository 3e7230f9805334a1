//! A file that was made shorter while it is mapped: touching what is no longer there is SIGBUS, which kills the process.
//!
//! The handler puts zeros in its place, from the fault to the end of the map, and notes that. Everybody who looks into the
//! region sees then that it is none any more ([`crate::region::Region::check`]). A SIGBUS elsewhere goes to whoever handled it
//! before. Memory that is sealed against shrinking needs none of this.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Maps at a time. A process has one; tests have some.
const MAPS: usize = 64;

/// One map, as the handler finds it. Free while `start` is zero.
struct Map {
    start: AtomicUsize,
    length: AtomicUsize,
    is_cut_short: AtomicBool,
}

static MAPPED: [Map; MAPS] = [const {
    Map {
        start: AtomicUsize::new(0),
        length: AtomicUsize::new(0),
        is_cut_short: AtomicBool::new(false),
    }
}; MAPS];

/// Who handled the signal before.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();
static PAGE: AtomicUsize = AtomicUsize::new(4096);
static CHANGING: Mutex<()> = Mutex::new(());

/// A map that the handler looks after, until it is dropped: before the memory is unmapped.
pub(crate) struct Guard(&'static Map);

impl Guard {
    /// Looks after these bytes of mapped memory. The first one of a process installs the handler.
    pub(crate) fn new(start: *const u8, length: usize) -> io::Result<Guard> {
        let _changing = CHANGING.lock().unwrap_or_else(PoisonError::into_inner);
        install()?;
        let free = MAPPED.iter().find(|map| map.start.load(Ordering::SeqCst) == 0);
        let map = free.ok_or_else(|| io::Error::other("this process has too many channels files open"))?;
        map.is_cut_short.store(false, Ordering::SeqCst);
        map.length.store(length, Ordering::SeqCst);
        map.start.store(start as usize, Ordering::SeqCst);
        Ok(Guard(map))
    }

    /// Somebody has touched what was no longer there.
    #[inline]
    pub(crate) fn is_cut_short(&self) -> bool {
        self.0.is_cut_short.load(Ordering::Relaxed)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.start.store(0, Ordering::SeqCst);
    }
}

fn install() -> io::Result<()> {
    if BEFORE.get().is_some() {
        return Ok(());
    }
    // SAFETY: sysconf(3) has no conditions.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    PAGE.store(usize::try_from(page).unwrap_or(4096), Ordering::SeqCst);
    let mut before = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: asks only; the structure has room for the answer, which is there if the call succeeds.
    let before = unsafe {
        check(libc::sigaction(libc::SIGBUS, ptr::null(), before.as_mut_ptr()))?;
        before.assume_init()
    };
    let _ = BEFORE.set(before);
    // SAFETY: all zero bytes are a structure with an empty mask.
    let mut own: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    own.sa_sigaction = handle as *const () as usize;
    // On the other stack, where a thread has one: the fault may be an overflow of its own, which is for `before`.
    own.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: the handler touches atomics and calls mmap(2), sigaction(2) and raise(3) only.
    check(unsafe { libc::sigaction(libc::SIGBUS, &own, ptr::null_mut()) })
}

extern "C" fn handle(signal: i32, about: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: the kernel gives a whole structure with SA_SIGINFO; SIGBUS has an address unless a process has sent it.
    let (code, address) = unsafe { ((*about).si_code, (*about).si_addr() as usize) };
    if code > 0 && put_zeros(address) {
        return; // the access is made again
    }
    if let Some(before) = BEFORE.get() {
        // SAFETY: it is what sigaction(2) gave; the access is made again and finds that handler, or the default.
        unsafe { libc::sigaction(signal, before, ptr::null_mut()) };
    }
    if code <= 0 {
        // SAFETY: as kill(2) had it, for whoever handled it before.
        unsafe { libc::raise(signal) };
    }
}

/// True if the address is one of ours, and has memory now.
fn put_zeros(address: usize) -> bool {
    for map in &MAPPED {
        let start = map.start.load(Ordering::SeqCst);
        let end = start + map.length.load(Ordering::SeqCst);
        if start == 0 || !(start..end).contains(&address) {
            continue;
        }
        let page = address & !(PAGE.load(Ordering::SeqCst) - 1);
        // SAFETY: errno is this thread's; what it was about to look at stays.
        let errno = unsafe { libc::__errno_location() };
        // SAFETY: as above; the pages belong to our map, whose words are atomics to everybody who knows them.
        let is_mapped = unsafe {
            let before = *errno;
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
            let access = libc::PROT_READ | libc::PROT_WRITE;
            let found = libc::mmap(page as *mut libc::c_void, end - page, access, flags, -1, 0);
            *errno = before;
            found != libc::MAP_FAILED
        };
        if is_mapped {
            map.is_cut_short.store(true, Ordering::SeqCst);
        }
        return is_mapped;
    }
    false
}

fn check(status: i32) -> io::Result<()> {
    if status < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
