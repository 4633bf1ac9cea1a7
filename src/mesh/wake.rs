//! The bell: wakes a thread that sleeps, and costs a load when it does not.
//!
//! The owner announces its sleep, looks into its inbox once more, and only then sleeps. A sender puts
//! its item, then looks whether the owner announced a sleep. Each side writes first and reads second,
//! with a sequentially consistent fence between the two. Of two such fences one is the earlier: if it
//! is the owner's, the sender reads the announcement and rings; if it is the sender's, the owner finds
//! the item. So an item is never left with a sleeping owner.
//!
//! The announcement is taken with an exchange, so several senders ring once. The descriptor's count
//! is never read back: the owner watches it with an edge-triggered poll, which fires for every write,
//! and the count would need 2^64 of them to fill.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering, fence};

use rustix::event::{EventfdFlags, eventfd};

/// One thread's bell.
#[derive(Debug)]
pub struct Bell {
    /// True from the owner's announcement until it rises or somebody rings.
    asleep: AtomicBool,
    descriptor: OwnedFd,
}

impl Bell {
    /// A bell whose owner is awake.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn new() -> io::Result<Self> {
        let descriptor = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { asleep: AtomicBool::new(false), descriptor })
    }

    /// The owner is about to sleep. It must look for work once more before it does.
    pub fn announce(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The owner is awake.
    pub fn rise(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// Wakes the owner if it sleeps, after something was put for it. Returns whether it did.
    pub fn ring_if_asleep(&self) -> bool {
        fence(Ordering::SeqCst);
        if !self.asleep.load(Ordering::Relaxed) || !self.asleep.swap(false, Ordering::Relaxed) {
            return false;
        }
        self.ring();
        true
    }

    /// Writes to the descriptor. It cannot block, and fails only when the count is full, in which
    /// case the owner has a wake-up waiting.
    fn ring(&self) {
        let rung = rustix::io::write(&self.descriptor, &1_u64.to_ne_bytes());
        debug_assert!(rung.is_ok(), "an eventfd that nobody filled takes a write: {rung:?}");
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
