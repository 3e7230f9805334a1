//! The region: memory that several processes map, a file in memory or one with a name.
//!
//! This is the only file that knows pages, descriptors and file locks. The rest of the crate sees words ([`Region::words`])
//! and the lock ([`Region::lock`]).
#![allow(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::{FlockOperation, MemfdFlags, OFlags, SealFlags};
use rustix::io::Errno;

use crate::directory::Directory;
use crate::error::{ChannelError, RegionError};
use crate::files::{lock_file, reserve};
use crate::layout::{header, worker, Layout, LARGEST_REGION, MAGIC, SMALLEST_REGION, VERSION, WORKERS};
use crate::lock::{Held, RobustLock};
use crate::log::{Log, Writer};
use crate::owner::LockOwner;
use crate::signal::Guard;
use crate::words::Words;
use crate::{sleep, wake};

/// For how long a writer waits for another one who can do nothing else meanwhile. An append takes a microsecond: who has
/// the lock for so long is stopped.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// For how long somebody waits who has something better to do, or others to look after.
pub const BRIEFLY: Duration = Duration::from_millis(2);

/// Why nothing is read or written any more, in the header.
const DAMAGED: u64 = 1;
const ABANDONED: u64 = 2;

/// How long at most somebody waits for a wake-up in one go if the file can be made shorter: the system wakes nobody then.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Places of workers are locked at these bytes of the file, far behind its end: the system lets go when a process dies.
const PLACES: i64 = 1 << 40;

/// Mapped shared memory.
pub(crate) struct Region {
    /// `None`: nobody can make it shorter. Before the map, since it goes first.
    guard: Option<Guard>,
    map: MmapRaw,
    file: File,
    layout: Layout,
    lock: RobustLock,
    /// This process has found it damaged. The header says so too, to all, unless that is gone as well.
    damaged: AtomicBool,
    /// The log's own number: another one there is another log, made in a file that was emptied under us.
    epoch: u64,
}

impl Region {
    /// New memory without a name; other processes get it by inheriting the descriptor.
    pub(crate) fn in_memory(size: usize) -> Result<Region, RegionError> {
        check_size(size)?;
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = File::from(rustix::fs::memfd_create("fairlead-channels", flags).map_err(io::Error::from)?);
        file.set_len(size as u64)?;
        // Nobody can make it shorter: touching what is no longer there would kill every process that maps it.
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&file, seals).map_err(io::Error::from)?;
        Region::initialise(file, size)
    }

    /// The file of this name, which is made if there is none; one that is there keeps its own size.
    pub(crate) fn in_file(path: &Path, size: usize) -> Result<Region, RegionError> {
        check_size(size)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags((OFlags::NOFOLLOW | OFlags::CLOEXEC).bits() as i32)
            .open(path)?;
        let facts = file.metadata()?;
        if !facts.is_file() {
            return Err(RegionError::NotAFile);
        }
        // Who may write it may make us read anything: only our own, and root's.
        let user = rustix::process::geteuid().as_raw();
        if facts.uid() != user && facts.uid() != 0 {
            return Err(RegionError::OtherOwner {
                owner: facts.uid(),
                user,
            });
        }
        // No exception for a user's private group, as Debian's sshd has one: who is in a group changes without a word
        // here, and nobody needs it, since we make the file for its owner alone. Other users have --channels-socket.
        if facts.mode() & 0o022 != 0 {
            return Err(RegionError::Writable {
                mode: facts.mode() & 0o777,
            });
        }
        // Two instances that start at once: one makes it, the other finds it made.
        lock_file(&file, PATIENCE)?;
        let length = file.metadata()?.len() as usize;
        let region = if length == 0 {
            if let Err(error) = reserve(&file, size, true) {
                let _ = file.set_len(0); // what it took, it gives back
                return Err(error);
            }
            Region::initialise(file, size)
        } else {
            reserve(&file, length, false)?;
            Region::map(file).and_then(|region| {
                region.renew_lock_after_reboot()?;
                Ok(region)
            })
        }?;
        let _ = rustix::fs::flock(&region.file, FlockOperation::Unlock);
        Ok(region)
    }

    /// What another process has made.
    pub(crate) fn inherited(descriptor: OwnedFd) -> Result<Region, RegionError> {
        Region::map(File::from(descriptor))
    }

    fn initialise(file: File, size: usize) -> Result<Region, RegionError> {
        let map = MmapOptions::new().len(size).map_raw(&file)?;
        // SAFETY: the memory is new and ours alone; it has room for the lock and lives as long as the region.
        unsafe { RobustLock::initialise(lock_in(&map)?)? };
        let layout = Layout::for_size(size);
        let mut region = Region::with(map, file, layout)?;
        region.epoch = new_epoch()?;
        let words = region.words();
        words.put(header::VERSION, version());
        words.put(header::SIZE, size as u64);
        words.put(header::CHANNELS, layout.channels as u64);
        words.put(header::CAPACITY, layout.capacity as u64);
        words.put(header::EPOCH, region.epoch);
        words.put(header::BOOT, boot_id());
        // Last: without it the region is none.
        words.put_release(header::MAGIC, MAGIC);
        Ok(region)
    }

    fn map(file: File) -> Result<Region, RegionError> {
        let length = file.metadata()?.len() as usize;
        if length < SMALLEST_REGION {
            return Err(RegionError::NotARegion);
        }
        let map = MmapOptions::new().len(length).map_raw(&file)?;
        let mut region = Region::with(map, file, Layout::for_size(length))?;
        region.epoch = region.words().get(header::EPOCH);
        let words = region.words();
        if words.get_acquire(header::MAGIC) != MAGIC {
            return Err(RegionError::NotARegion);
        }
        let found = words.get(header::VERSION);
        if found != version() {
            return Err(RegionError::OtherVersion {
                found: found & 0xffff_ffff,
                ours: VERSION,
            });
        }
        let layout = region.layout;
        let told = [header::SIZE, header::CHANNELS, header::CAPACITY].map(|at| words.get(at));
        if told != [length, layout.channels, layout.capacity].map(|fact| fact as u64) {
            return Err(RegionError::NotARegion);
        }
        if region.check().is_err() {
            return Err(RegionError::Damaged);
        }
        Ok(region)
    }

    fn with(map: MmapRaw, file: File, layout: Layout) -> io::Result<Region> {
        let memory = lock_in(&map)?;
        let is_sealed =
            rustix::fs::fcntl_get_seals(&file).is_ok_and(|seals| seals.contains(SealFlags::SHRINK));
        let guard = if is_sealed {
            None
        } else {
            Some(Guard::new(map.as_ptr(), map.len())?)
        };
        Ok(Region {
            guard,
            epoch: 0,
            // SAFETY: whoever made the region has made the lock (`initialise`); it is mapped as long as we are.
            lock: unsafe { RobustLock::at(memory) },
            map,
            file,
            layout,
            damaged: AtomicBool::new(false),
        })
    }

    /// A lock that was held when the machine went down is held by nobody, and the system cannot know.
    fn renew_lock_after_reboot(&self) -> Result<(), RegionError> {
        let words = self.words();
        if words.get(header::BOOT) == boot_id() {
            return Ok(());
        }
        // SAFETY: no process of this run of the machine has used it: each looks here first, under the file's lock.
        unsafe { RobustLock::initialise(lock_in(&self.map)?)? };
        for place in 0..WORKERS {
            self.directory().clear_worker(place);
        }
        self.put_in_order();
        words.put(header::BOOT, boot_id());
        Ok(())
    }

    pub(crate) fn words(&self) -> Words<'_> {
        let words = self.map.len() / 8;
        // SAFETY: the map is page-aligned, so many words long, and lives as long as `self`; atomics may be shared with other
        // processes, and the lock's words are touched by nobody through this slice.
        Words::new(unsafe { std::slice::from_raw_parts(self.map.as_ptr().cast::<AtomicU64>(), words) })
    }

    /// The word that a worker's waiting thread sleeps on.
    pub(crate) fn wakes(&self, place: usize) -> &AtomicU32 {
        let word = self.words().atomic(Layout::worker(place) + worker::WAKES);
        // SAFETY: half of a word that is never used as a whole.
        unsafe { AtomicU32::from_ptr(word.as_ptr().cast::<u32>()) }
    }

    /// How long at most to wait there without looking.
    pub(crate) fn longest_wait(&self) -> Option<Duration> {
        self.guard.as_ref().map(|_| LONGEST_WAIT)
    }

    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    pub(crate) fn log(&self) -> Log<'_> {
        Log {
            words: self.words(),
            layout: self.layout,
        }
    }

    /// Nothing can be read or written there any more, whatever [`Region::check`] says is the reason.
    #[inline]
    pub(crate) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
            || self.words().get(header::DAMAGED) != 0
            || self.words().get(header::EPOCH) != self.epoch
            || self.guard.as_ref().is_some_and(Guard::is_cut_short)
    }

    /// Says that somebody has found what no writer of ours leaves there: to all processes, and for good.
    #[cold]
    pub(crate) fn mark_damaged(&self) {
        if !self.is_damaged() {
            self.words().put(header::DAMAGED, DAMAGED);
        }
        self.damaged.store(true, Ordering::Relaxed);
    }

    /// Says that the file is no longer the one of its name, so that no two halves of an instance go on apart.
    pub(crate) fn abandon(&self) {
        if !self.is_damaged() {
            self.words().put(header::DAMAGED, ABANDONED);
        }
    }

    /// Fails if nothing can be read or written there any more.
    #[inline]
    pub(crate) fn check(&self) -> Result<(), ChannelError> {
        if self.is_damaged() {
            return Err(self.why_damaged());
        }
        Ok(())
    }

    /// Fails if what was written just now may have gone nowhere.
    #[inline]
    pub(crate) fn check_memory(&self) -> Result<(), ChannelError> {
        if self.guard.as_ref().is_some_and(Guard::is_cut_short) {
            return Err(ChannelError::Lost);
        }
        Ok(())
    }

    #[cold]
    fn why_damaged(&self) -> ChannelError {
        let words = self.words();
        if words.get(header::DAMAGED) == ABANDONED
            || words.get(header::EPOCH) != self.epoch
            || self.guard.as_ref().is_some_and(Guard::is_cut_short)
        {
            return ChannelError::Lost;
        }
        ChannelError::Damaged
    }

    /// Only for who has the lock, or is alone.
    pub(crate) fn directory(&self) -> Directory<'_> {
        Directory {
            words: self.words(),
            layout: self.layout,
        }
    }

    /// Takes the lock, waiting at most so long; what a holder that died has left is in order again.
    #[inline]
    pub(crate) fn lock(&self, patience: Duration) -> Result<Held<'_>, ChannelError> {
        self.check()?;
        match self.lock.lock(patience) {
            Ok(held) => Ok(self.in_order(held)),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(self.busy()),
            Err(error) => Err(error.into()),
        }
    }

    /// The same if nobody has it.
    #[inline]
    pub(crate) fn try_lock(&self) -> Result<Option<Held<'_>>, ChannelError> {
        self.check()?;
        let held = self.lock.try_lock()?;
        Ok(held.map(|held| self.in_order(held)))
    }

    /// The thread that has the lock; zero if none has, or it cannot be known.
    pub(crate) fn holder(&self) -> u32 {
        self.lock.holder().unwrap_or(0)
    }

    /// The error that names who has the lock.
    #[cold]
    pub(crate) fn busy(&self) -> ChannelError {
        ChannelError::Busy(self.lock.holder().and_then(LockOwner::of_thread))
    }

    #[inline]
    fn in_order<'a>(&'a self, held: Held<'a>) -> Held<'a> {
        if held.was_abandoned {
            self.put_in_order();
        }
        held
    }

    pub(crate) fn writer(&self, _held: &Held<'_>) -> Writer<'_> {
        Writer::new(self.log())
    }

    pub(crate) fn put_in_order(&self) {
        self.put_lists_in_order();
        self.wake_sleepers();
    }

    /// Wakes the loops that sleep and have not read everything: a publisher that has died may have owed them that.
    pub(crate) fn wake_sleepers(&self) {
        let (words, tail) = (self.words(), self.log().tail());
        sleep::before_waking();
        for place in 0..WORKERS {
            let cursor = words.get(Layout::worker(place) + worker::CURSOR);
            let Some(sleep) = sleep::sleep_of(words, place).filter(|_| cursor < tail) else {
                continue;
            };
            wake::wake(self.wakes(place));
            sleep::is_over(words, place, sleep);
        }
    }

    fn put_lists_in_order(&self) {
        self.directory().repair();
        if Writer::new(self.log()).enter_last().is_err() {
            self.mark_damaged();
        }
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Marks a worker's place as this process's, until it ends; false if another process has it.
    ///
    /// A record lock: it belongs to the process, not to the descriptor that its children inherit, and it ends with the
    /// process whatever ends that. No process may close another descriptor of the same file, or it lets go too.
    pub(crate) fn hold_place(&self, place: usize) -> io::Result<bool> {
        match self.record_lock(place, libc::F_SETLK, libc::F_WRLCK) {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.raw_os_error(), Some(libc::EACCES | libc::EAGAIN)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn let_go_of_place(&self, place: usize) {
        let _ = self.record_lock(place, libc::F_SETLK, libc::F_UNLCK);
    }

    /// Whether another process holds the place.
    pub(crate) fn is_held_elsewhere(&self, place: usize) -> bool {
        // When it cannot be known it is better to let a dead one count than to drop a living one.
        self.record_lock(place, libc::F_GETLK, libc::F_WRLCK)
            .map_or(true, |kind| kind != libc::F_UNLCK)
    }

    fn record_lock(&self, place: usize, command: i32, kind: i32) -> io::Result<i32> {
        let mut lock = libc::flock {
            l_type: kind as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: PLACES + place as i64,
            l_len: 1,
            l_pid: 0,
        };
        // SAFETY: the descriptor is ours and open; the structure is complete and outlives the call.
        let status = unsafe { libc::fcntl(self.file.as_raw_fd(), command, &mut lock) };
        if status < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(i32::from(lock.l_type))
    }
}

fn check_size(size: usize) -> Result<(), RegionError> {
    if !(SMALLEST_REGION..=LARGEST_REGION).contains(&size) {
        return Err(RegionError::Size(size));
    }
    Ok(())
}

fn lock_in(map: &MmapRaw) -> io::Result<NonNull<libc::pthread_mutex_t>> {
    const { assert!(size_of::<libc::pthread_mutex_t>() <= 64) };
    // SAFETY: every region is larger than its header.
    let at = unsafe { map.as_mut_ptr().add(header::LOCK * 8) };
    NonNull::new(at.cast()).ok_or_else(|| io::Error::other("the region is mapped at address zero"))
}

/// The layout's version and what else two processes must have in common: the lock's size and the order of bytes.
fn version() -> u64 {
    let order = u64::from(cfg!(target_endian = "big"));
    VERSION | order << 32 | (size_of::<libc::pthread_mutex_t>() as u64) << 40
}

/// Where a log's offsets begin: at a random number, so that no two logs share any, whatever clocks do between them. Two
/// logs of a million messages each meet once in a billion. Above all that releases with version 1 gave (microseconds since
/// 1970), and so far below 2^53 that no log ever counts to there.
fn new_epoch() -> io::Result<u64> {
    let mut bytes = [0; 8];
    let mut left = &mut bytes[..];
    while !left.is_empty() {
        match rustix::rand::getrandom(&mut *left, rustix::rand::GetRandomFlags::empty()) {
            Ok(count) => left = &mut left[count..],
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(u64::from_ne_bytes(bytes) >> 13 | 1 << 51)
}

/// A number for this run of the machine; zero where it cannot be known.
fn boot_id() -> u64 {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .unwrap_or_default()
        .bytes()
        .filter_map(|digit| char::from(digit).to_digit(16))
        .fold(0, |number, digit| number.rotate_left(4) ^ u64::from(digit))
}

/// Names this process in the region.
pub(crate) fn this_process() -> u64 {
    u64::from(std::process::id())
}
