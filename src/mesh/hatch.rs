//! The hatch: shards hand rare work out to a thread that waits on descriptors, not on a bell.
//!
//! A bounded queue and a socket pair. A byte in the pair says that the queue has something; a full
//! pair needs no further byte. The receiver reads until the pair is empty, then takes until the queue
//! is empty, in that order, so that nothing is left behind.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

/// The sending side, one clone a shard.
#[derive(Debug)]
pub struct HatchPost<T> {
    queue: Sender<T>,
    wake: Arc<UnixStream>,
}

/// The receiving side.
#[derive(Debug)]
pub struct Hatch<T> {
    /// What was put and not taken yet.
    pub queue: Receiver<T>,
    /// Nonblocking; readable once something was put.
    pub wake: UnixStream,
}

/// Opens a hatch with room for `capacity` items.
///
/// # Errors
/// No descriptor is left.
pub fn hatch<T>(capacity: usize) -> io::Result<(HatchPost<T>, Hatch<T>)> {
    let (near, far) = UnixStream::pair()?;
    near.set_nonblocking(true)?;
    far.set_nonblocking(true)?;
    let (sender, receiver) = bounded(capacity);
    Ok((HatchPost { queue: sender, wake: Arc::new(near) }, Hatch { queue: receiver, wake: far }))
}

impl<T> HatchPost<T> {
    /// Puts an item and wakes the receiver.
    ///
    /// # Errors
    /// The item, when the queue is full or its receiver is gone.
    pub fn try_put(&self, item: T) -> Result<(), T> {
        match self.queue.try_send(item) {
            Ok(()) => {}
            Err(TrySendError::Full(item) | TrySendError::Disconnected(item)) => return Err(item),
        }
        // Refused only when the pair is full of earlier bytes or the receiver is gone; both are fine.
        let _full_is_awake = (&*self.wake).write(&[1]);
        Ok(())
    }
}

impl<T> Clone for HatchPost<T> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), wake: Arc::clone(&self.wake) }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_hatch_takes_as_many_as_it_has_room_for_and_gives_the_next_back() {
        let (post, mut hatch) = hatch(2).unwrap();
        assert_eq!((post.try_put(1), post.clone().try_put(2), post.try_put(3)), (Ok(()), Ok(()), Err(3)));
        let mut bytes = [0; 8];
        assert_eq!(hatch.wake.read(&mut bytes).unwrap(), 2, "one byte for each that was put");
        assert_eq!(hatch.queue.try_iter().collect::<Vec<_>>(), [1, 2]);
        drop(hatch);
        assert_eq!(post.try_put(4), Err(4), "nobody is there to take it");
    }
}
