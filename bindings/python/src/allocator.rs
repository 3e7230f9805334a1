//! Where the extension's memory comes from: small blocks from mimalloc, others from the C library.
//!
//! The front allocates a request and the host's thread frees it, which is what glibc does worst. But mimalloc rounds sizes
//! up and copies what grows, which is dear for the buffers of connections (decision 0016).

use std::alloc::{GlobalAlloc, Layout, System};

use mimalloc::MiMalloc;

pub(crate) struct Mixed;

/// The largest block that mimalloc gets. What a request is made of is smaller; a connection's buffers are not.
const SMALL: usize = 1024;

// SAFETY: each block goes back to the allocator that its size led to.
unsafe impl GlobalAlloc for Mixed {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are passed on.
        unsafe {
            if layout.size() <= SMALL {
                MiMalloc.alloc(layout)
            } else {
                System.alloc(layout)
            }
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe {
            if layout.size() <= SMALL {
                MiMalloc.alloc_zeroed(layout)
            } else {
                System.alloc_zeroed(layout)
            }
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe {
            if layout.size() <= SMALL {
                MiMalloc.dealloc(block, layout);
            } else {
                System.dealloc(block, layout);
            }
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above; a block that changes its allocator is copied, no more of it than both sizes have.
        unsafe {
            match (layout.size() <= SMALL, size <= SMALL) {
                (true, true) => MiMalloc.realloc(block, layout, size),
                (false, false) => System.realloc(block, layout, size),
                _ => {
                    let other = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
                    if !other.is_null() {
                        std::ptr::copy_nonoverlapping(block, other, size.min(layout.size()));
                        self.dealloc(block, layout);
                    }
                    other
                }
            }
        }
    }
}
