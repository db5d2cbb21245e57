//! The memory of an array that a program reads: whoever has the array's descriptor may map it, without privilege.

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// An array of words in memory that is shared with the kernel.
#[derive(Debug)]
pub struct SharedArray {
    start: NonNull<AtomicU32>,
    words: usize,
}

// SAFETY: the memory stays mapped as long as this lives, and all of it is accessed by atomic operations.
unsafe impl Send for SharedArray {}

impl SharedArray {
    /// Maps the first `words` words of an array that was made to be mapped ([`Map::shared`](super::Map::shared)).
    ///
    /// # Errors
    /// Those of mmap(2).
    pub fn map(array: &impl AsFd, words: usize) -> io::Result<Self> {
        let len = NonZeroUsize::new(words * size_of::<u32>()).ok_or(io::ErrorKind::InvalidInput)?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping, at an address that the kernel chooses.
        let start = unsafe { mmap(None, len, protection, MapFlags::MAP_SHARED, array, 0) }?;
        Ok(Self {
            start: start.cast(),
            words,
        })
    }

    fn words(&self) -> &[AtomicU32] {
        // SAFETY: so many words are mapped, at the beginning of a page, until this is dropped.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.words) }
    }

    /// Stores words from the word with the number `first` on, the last one last: a program that takes that one for
    /// a sign finds all of them, or no sign. What is out of range is left out.
    pub fn store(&self, first: usize, words: &[u32]) {
        let targets = self.words().get(first..).unwrap_or_default();
        for (target, word) in targets.iter().zip(words) {
            target.store(*word, Ordering::Release);
        }
    }

    /// Stores a number that is not 0 in a word that is 0; false if the word was not 0, or is out of range.
    pub fn claim(&self, number: usize, value: u32) -> bool {
        let word = self.words().get(number);
        word.is_some_and(|word| {
            let claimed = word.compare_exchange(0, value, Ordering::AcqRel, Ordering::Acquire);
            claimed.is_ok()
        })
    }

    /// The word with this number; 0 out of range.
    pub fn load(&self, number: usize) -> u32 {
        let word = self.words().get(number);
        word.map_or(0, |word| word.load(Ordering::Acquire))
    }
}

impl Drop for SharedArray {
    fn drop(&mut self) {
        // SAFETY: this is the mapping that was made, and nobody has a reference into it any more.
        let unmapped = unsafe { munmap(self.start.cast(), self.words * size_of::<u32>()) };
        debug_assert!(unmapped.is_ok());
    }
}
