//! Bytes to a connected socket. Receiving is the ring's part.
//!
//! A send is made directly and never waits. One part goes with `send`, several small ones are put together for it,
//! and several large ones go with one `sendmsg`.
//! Absent: retries. What a socket did not take is the shard's to keep.

use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags, Shutdown, send, sendmsg, shutdown};

use crate::limits::{BATCH_JOINED_BYTES_MAX, BATCH_PARTS_MAX};
use crate::mesh::Transport;
use crate::shard::effect::Batch;

/// Never wait, and report a closed peer as an error instead of a signal.
const FLAGS: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);

/// What is said to a connection for which there is no room. It goes out at most in part, which
/// nobody can mistake for more than it is.
const NO_ROOM: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n";

impl Transport {
    /// Sends as much of a batch as the socket takes now, and returns how many bytes that was. `joined` is where small
    /// parts are put together.
    pub(super) fn send(&self, batch: &Batch, joined: &mut Vec<u8>) -> Result<usize, Errno> {
        let mut parts = batch.slices();
        let Some(first) = parts.next() else { return Ok(0) };
        let Some(second) = parts.next() else { return unless_full(send(self, first, FLAGS)) };
        if batch.bytes() <= BATCH_JOINED_BYTES_MAX {
            joined.clear();
            [first, second].into_iter().chain(parts).for_each(|part| joined.extend_from_slice(part));
            return unless_full(send(self, joined, FLAGS));
        }
        let mut slices = [IoSlice::new(&[]); BATCH_PARTS_MAX];
        let mut count = 0;
        for (slice, part) in slices.iter_mut().zip([first, second].into_iter().chain(parts)) {
            *slice = IoSlice::new(part);
            count += 1;
        }
        unless_full(sendmsg(self, &slices[..count], &mut SendAncillaryBuffer::default(), FLAGS))
    }

    /// Tells the peer that nothing more will come. It fails when the peer is gone, which the next
    /// receive says too.
    pub(super) fn finish_writing(&self) {
        let _peer_is_gone = shutdown(self, Shutdown::Write);
    }

    /// Says that there is no room, as far as that can be done at once.
    pub(super) fn refuse(&self) {
        let _best_effort = send(self, NO_ROOM, FLAGS);
        self.finish_writing();
    }
}

impl AsFd for Transport {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Plain(socket) => socket.as_fd(),
        }
    }
}

/// A socket without room took nothing, and so did one for which the kernel has no memory now: both
/// say when to try again.
fn unless_full(sent: Result<usize, Errno>) -> Result<usize, Errno> {
    match sent {
        Err(Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM | Errno::INTR) => Ok(0),
        sent => sent,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::payload::Payload;

    #[test]
    fn a_batch_of_any_size_arrives_whole_and_in_order_from_where_it_was_begun() {
        let joined_parts_max = BATCH_JOINED_BYTES_MAX / (BATCH_PARTS_MAX / 2);
        let mut joined = Vec::new();
        for (count, len) in [(1, 3), (2, 3), (BATCH_PARTS_MAX, 3), (BATCH_PARTS_MAX / 2, joined_parts_max)] {
            for (skip, len) in [(0, len), (1, len), (2, len), (0, len + 1), (BATCH_PARTS_MAX / 2, len + 1)] {
                if skip >= len {
                    continue;
                }
                let (near, mut far) = UnixStream::pair().unwrap();
                let mut batch = Batch::default();
                for index in 0..count {
                    let part = vec![b'a'.wrapping_add(u8::try_from(index).unwrap()); len];
                    batch.push(Payload::copy_of(&part), if index == 0 { skip } else { 0 });
                }
                let expected = batch.slices().collect::<Vec<_>>().concat();
                let transport = Transport::Plain(near.into());
                assert_eq!(transport.send(&batch, &mut joined), Ok(expected.len()));
                transport.finish_writing();
                let mut arrived = Vec::new();
                far.read_to_end(&mut arrived).unwrap();
                assert_eq!(arrived, expected, "{count} parts of {len}, {skip} bytes before");
            }
        }
    }

    #[test]
    fn a_full_socket_takes_nothing_and_a_closed_one_is_an_error() {
        let (near, far) = UnixStream::pair().unwrap();
        let transport = Transport::Plain(near.into());
        let mut batch = Batch::default();
        batch.push(Payload::copy_of(&vec![0; 100_000]), 0);
        let mut joined = Vec::new();
        while transport.send(&batch, &mut joined).unwrap() > 0 {}
        drop(far);
        assert_eq!(transport.send(&batch, &mut joined), Err(Errno::PIPE));
    }
}
