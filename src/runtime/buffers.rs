//! The receive buffers that a shard lends to the kernel, through one provided-buffer ring.
//!
//! A buffer is either the kernel's or ours. It becomes ours with the completion that names it, and
//! goes back exactly once, as soon as its bytes were handled; the ledger asserts that in builds with
//! debug assertions. Idle connections hold no buffer.
//!
//! The kernel takes buffers in the order in which they were given, so it walks through all that it has, and what it has
//! walks through the caches. So it has few, which stay near, and the others are spare until a receive finds none.
//! Absent: growth of the memory, and buffers of several sizes.
#![expect(unsafe_code, reason = "the kernel reads and writes this memory behind the compiler's back")]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

/// The only buffer group of a ring.
pub(super) const GROUP: u16 = 0;

/// What the kernel asks of the address of a buffer ring.
const PAGE_BYTES: usize = 4096;

/// Zeroed memory at a fixed address.
#[derive(Debug)]
struct Region {
    start: NonNull<u8>,
    layout: Layout,
}

impl Region {
    fn new(bytes: usize) -> io::Result<Self> {
        let layout = Layout::from_size_align(bytes.max(1), PAGE_BYTES).map_err(io::Error::other)?;
        // JUSTIFICATION: no safe collection gives memory that is aligned to a page and zeroed without being touched.
        // SAFETY: the layout's size is not zero.
        let start = unsafe { alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
        Ok(Self { start, layout })
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // JUSTIFICATION: the counterpart of the allocation above.
        // SAFETY: allocated with this layout, and freed here only.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}

/// The buffers and the ring that offers them. The owner must keep it until the io_uring it was
/// registered with is closed.
#[derive(Debug)]
pub(super) struct Buffers {
    ring: Region,
    memory: Region,
    count: u16,
    bytes_each: u32,
    /// Position in the ring of the next buffer that is given back; wraps at 2^16, as the kernel's copy does.
    tail: u16,
    /// Buffers that the kernel has, and as many as it is to have.
    offered: u16,
    wanted: u16,
    /// As many as it is to have where that is enough.
    usual: u16,
    /// The others, the one that was used last on top.
    spare: Vec<u16>,
    /// Whether the kernel has each buffer. Empty without debug assertions.
    lent: Vec<bool>,
}

impl Buffers {
    /// `count` buffers, a power of two of at most 32,768, of which the kernel usually has `usual`.
    pub(super) fn new(count: u16, bytes_each: u32, usual: u16) -> io::Result<Self> {
        assert!(count.is_power_of_two() && count <= 1 << 15, "{count} is no size of a buffer ring");
        assert!(bytes_each > 0, "a receive into an empty buffer looks like the end of the stream");
        let ring = Region::new(usize::from(count) * size_of::<BufRingEntry>())?;
        let memory = Region::new(usize::from(count) * index_of(bytes_each))?;
        let lent = if cfg!(debug_assertions) { vec![false; usize::from(count)] } else { Vec::new() };
        let usual = usual.clamp(1, count);
        let spare = (0..count).rev().collect();
        let mut buffers =
            Self { ring, memory, count, bytes_each, tail: 0, offered: 0, wanted: usual, usual, spare, lent };
        buffers.offer();
        Ok(buffers)
    }

    /// A receive found no buffer: from now on the kernel has twice as many, as far as there are.
    pub(super) fn widen(&mut self) {
        self.wanted = self.wanted.saturating_mul(2).min(self.count);
        self.offer();
    }

    /// Nothing is under way: from now on the kernel has as few as usual. What it has more goes when it comes back.
    pub(super) fn narrow(&mut self) {
        self.wanted = self.usual;
    }

    fn offer(&mut self) {
        while self.offered < self.wanted
            && let Some(id) = self.spare.pop()
        {
            self.lend(id);
        }
    }

    /// Address of the ring, to register it.
    pub(super) fn address(&self) -> u64 {
        self.ring.start.as_ptr().addr() as u64
    }

    /// Buffers in the ring.
    pub(super) const fn count(&self) -> u16 {
        self.count
    }

    /// Notes that a completion handed buffer `id` to us, and shows the `len` bytes that came in it.
    pub(super) fn take(&mut self, id: u16, len: u32) -> &mut [u8] {
        assert!(id < self.count && len <= self.bytes_each, "the kernel named a buffer that it was not given");
        if let Some(lent) = self.lent.get_mut(usize::from(id)) {
            assert!(std::mem::replace(lent, false), "buffer {id} came twice");
        }
        self.offered -= 1;
        let start = self.buffer(id);
        // JUSTIFICATION: the bytes are handled where the kernel put them; a copy would be one per receive.
        // SAFETY: in bounds and initialised, since the region was zeroed; the kernel gave the buffer up with its
        // completion, and the borrow of `self` keeps it from being given back while the slice lives.
        unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), index_of(len)) }
    }

    /// Takes a buffer back whose bytes were handled: for the kernel, unless it has as many as it is to have.
    pub(super) fn give_back(&mut self, id: u16) {
        if self.offered < self.wanted {
            return self.lend(id);
        }
        debug_assert!(!self.lent[usize::from(id)] && !self.spare.contains(&id), "buffer {id} went back twice");
        self.spare.push(id);
    }

    fn lend(&mut self, id: u16) {
        if let Some(lent) = self.lent.get_mut(usize::from(id)) {
            assert!(!std::mem::replace(lent, true), "buffer {id} went back twice");
        }
        self.offered += 1;
        let address = self.buffer(id).as_ptr().addr() as u64;
        let entry = self.entry(self.tail & (self.count - 1));
        // JUSTIFICATION: the ring is memory shared with the kernel; there is no call for this.
        // SAFETY: within the ring and aligned; the kernel reads no entry from the tail on. Its last field,
        // which overlaps the tail in entry 0, is not touched.
        let entry = unsafe { &mut *entry };
        entry.set_addr(address);
        entry.set_len(self.bytes_each);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
        self.publish();
    }

    /// Shows the kernel the entries below the tail.
    fn publish(&self) {
        let first = self.ring.start.as_ptr().cast::<BufRingEntry>();
        // JUSTIFICATION: only the crate knows where the shared tail lies.
        // SAFETY: `first` is the address of the ring's first entry, which was zeroed.
        let tail = unsafe { BufRingEntry::tail(first) };
        // JUSTIFICATION: the kernel reads the tail concurrently, so it is written as an atomic.
        // SAFETY: aligned, alive as long as `self`, and nobody else writes it.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }

    fn buffer(&self, id: u16) -> NonNull<u8> {
        // JUSTIFICATION: the address of a buffer within the region.
        // SAFETY: `id` is below the count, as every caller made sure, so the offset is within the region.
        unsafe { self.memory.start.add(usize::from(id) * index_of(self.bytes_each)) }
    }

    fn entry(&self, index: u16) -> *mut BufRingEntry {
        // JUSTIFICATION: the address of an entry within the ring.
        // SAFETY: `index` was masked to the count, so it is within the ring.
        unsafe { self.ring.start.as_ptr().cast::<BufRingEntry>().add(usize::from(index)) }
    }
}

/// A length as an index; `usize` has at least 32 bits where io_uring runs.
const fn index_of(bytes: u32) -> usize {
    bytes as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_shows_as_many_bytes_as_came_and_goes_around() {
        let mut buffers = Buffers::new(2, 8, 2).unwrap();
        for round in 0..70_000_u32 {
            let id = u16::try_from(round % 2).unwrap();
            assert_eq!(buffers.take(id, round % 9).len(), index_of(round % 9));
            buffers.give_back(id);
        }
        assert_eq!(buffers.tail, u16::try_from(70_002 % 65_536).unwrap());
    }

    /// What the kernel has, as the ledger says.
    fn lent(buffers: &Buffers) -> Vec<u16> {
        (0..buffers.count).filter(|id| buffers.lent[usize::from(*id)]).collect()
    }

    #[test]
    fn the_kernel_has_few_more_where_they_are_too_few_and_few_again() {
        let mut buffers = Buffers::new(8, 8, 2).unwrap();
        assert_eq!(lent(&buffers), [0, 1]);
        for (wanted, has) in [(4, 4), (8, 8), (8, 8)] {
            buffers.widen();
            assert_eq!((buffers.wanted, lent(&buffers).len()), (wanted, has));
        }
        // What it has goes back to it until there is less to do.
        buffers.take(5, 1);
        buffers.give_back(5);
        assert_eq!(lent(&buffers).len(), 8);
        buffers.narrow();
        for id in 0..8 {
            buffers.take(id, 1);
            buffers.give_back(id);
        }
        assert_eq!(
            (lent(&buffers).as_slice(), buffers.spare.as_slice()),
            ([6, 7].as_slice(), [0, 1, 2, 3, 4, 5].as_slice())
        );
        // The one that was used last, which is near, is the first that goes.
        buffers.widen();
        assert_eq!(lent(&buffers), [4, 5, 6, 7]);
        // All are taken at once, and all are back.
        lent(&buffers).into_iter().for_each(|id| _ = buffers.take(id, 1));
        buffers.widen();
        assert_eq!(lent(&buffers), [0, 1, 2, 3]);
        (4..8).for_each(|id| buffers.give_back(id));
        assert_eq!(lent(&buffers).len(), 8);
    }

    #[test]
    #[should_panic(expected = "went back twice")]
    fn a_buffer_that_goes_back_twice_is_found() {
        let mut buffers = Buffers::new(2, 8, 2).unwrap();
        buffers.take(1, 1);
        buffers.give_back(0);
    }

    #[test]
    #[should_panic(expected = "went back twice")]
    fn a_spare_buffer_that_goes_back_is_found_too() {
        Buffers::new(2, 8, 1).unwrap().give_back(1);
    }

    #[test]
    #[should_panic(expected = "came twice")]
    fn a_buffer_that_comes_twice_is_found() {
        let mut buffers = Buffers::new(2, 8, 2).unwrap();
        buffers.take(1, 1);
        buffers.take(1, 1);
    }
}
