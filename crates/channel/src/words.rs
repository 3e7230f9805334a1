//! The region as words: the only way in which shared memory is read and written.
//!
//! Every word is an atomic, since other processes may write it at any moment; what that costs against a plain copy is a
//! few nanoseconds for a small message. The test build can stop a writer after any of its stores, which is how it is
//! shown that no moment is a bad one to die.

use crate::sync::{AtomicU64, Ordering};

/// All words of a region, or of a part.
#[derive(Clone, Copy)]
pub(crate) struct Words<'a>(&'a [AtomicU64]);

impl<'a> Words<'a> {
    pub(crate) fn new(words: &'a [AtomicU64]) -> Words<'a> {
        Words(words)
    }

    #[inline]
    pub(crate) fn get(self, at: usize) -> u64 {
        self.0[at].load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn get_acquire(self, at: usize) -> u64 {
        self.0[at].load(Ordering::Acquire)
    }

    #[inline]
    pub(crate) fn put(self, at: usize, value: u64) {
        #[cfg(all(test, not(loom)))]
        crash::point();
        self.0[at].store(value, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn put_release(self, at: usize, value: u64) {
        #[cfg(all(test, not(loom)))]
        crash::point();
        self.0[at].store(value, Ordering::Release);
    }

    /// Puts a word in the place of another; the one that is there if it is not that.
    #[inline]
    pub(crate) fn put_if(self, at: usize, old: u64, new: u64) -> Result<(), u64> {
        #[cfg(all(test, not(loom)))]
        crash::point();
        self.0[at]
            .compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst)
            .map(drop)
    }

    #[inline]
    pub(crate) fn add(self, at: usize, more: u64) {
        self.0[at].fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn atomic(self, at: usize) -> &'a AtomicU64 {
        &self.0[at]
    }

    /// Bytes into words; the last one is filled up with zeros.
    #[inline]
    pub(crate) fn put_bytes(self, at: usize, bytes: &[u8]) {
        let room = &self.0[at..at + bytes.len().div_ceil(8)];
        let mut chunks = bytes.chunks_exact(8);
        for (word, chunk) in room.iter().zip(&mut chunks) {
            #[cfg(all(test, not(loom)))]
            crash::point();
            let value = u64::from_ne_bytes(chunk.try_into().unwrap_or_default());
            word.store(value, Ordering::Relaxed);
        }
        let rest = chunks.remainder();
        if let (false, Some(word)) = (rest.is_empty(), room.last()) {
            #[cfg(all(test, not(loom)))]
            crash::point();
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            word.store(u64::from_ne_bytes(last), Ordering::Relaxed);
        }
    }

    /// Appends `count` bytes.
    #[inline]
    pub(crate) fn get_bytes(self, at: usize, count: usize, into: &mut Vec<u8>) {
        let start = into.len();
        into.resize(start + count, 0);
        let words = &self.0[at..at + count.div_ceil(8)];
        let mut chunks = into[start..].chunks_exact_mut(8);
        for (word, chunk) in words.iter().zip(&mut chunks) {
            chunk.copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
        }
        let rest = chunks.into_remainder();
        if let (false, Some(word)) = (rest.is_empty(), words.last()) {
            rest.copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes()[..rest.len()]);
        }
    }
}

/// A writer's death, for tests: the store after the last allowed one panics, and nothing after it happens.
#[cfg(all(test, not(loom)))]
pub(crate) mod crash {
    use std::cell::Cell;

    thread_local! {
        static LEFT: Cell<Option<u32>> = const { Cell::new(None) };
    }

    pub(crate) struct Died;

    pub(crate) fn point() {
        match LEFT.get() {
            None => {}
            Some(0) => {
                LEFT.set(None);
                std::panic::resume_unwind(Box::new(Died));
            }
            Some(left) => LEFT.set(Some(left - 1)),
        }
    }

    /// Runs `work`, which dies after so many stores; `None` if it did, with its answer if it had fewer.
    pub(crate) fn after<R>(stores: u32, work: impl FnOnce() -> R) -> Option<R> {
        LEFT.set(Some(stores));
        let answer = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        LEFT.set(None);
        match answer {
            Ok(answer) => Some(answer),
            Err(why) if why.is::<Died>() => None,
            Err(why) => std::panic::resume_unwind(why),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_as_they_were_put() {
        let memory: Vec<AtomicU64> = (0..8).map(|_| AtomicU64::new(u64::MAX)).collect();
        let words = Words::new(&memory);
        for length in 0..=40u8 {
            let bytes: Vec<u8> = (1..=length).collect();
            words.put_bytes(1, &bytes);
            let mut back = vec![9];
            words.get_bytes(1, bytes.len(), &mut back);
            assert_eq!(back[1..], bytes);
            assert_eq!(words.get(6), u64::MAX);
        }
    }
}
