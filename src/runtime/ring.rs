//! One shard's io_uring: submissions, completions, and sleep.
//!
//! The ring is for what waits: accepts, receives, polls, cancels. Sends are made directly. Only the
//! thread that built a ring enters it (`SINGLE_ISSUER`), completions are made when that thread enters
//! (`DEFER_TASKRUN`), and a flag in shared memory says when there are any to make (`TASKRUN_FLAG`).
//!
//! Every operation carries a `Token`: what it is, the slot it belongs to and the slot's generation.
//! Interrupted and refused entries, an overflown completion queue and multishots that ended are
//! ordinary and are retried or reported; completions that the kernel lost are an error that ends the
//! shard. Absent: any knowledge of connections.
#![expect(unsafe_code, reason = "pushing an operation hands addresses and descriptors to the kernel")]

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use rustix::io::Errno;

use super::buffers::{Buffers, GROUP};
use super::probe::ProbeError;
use crate::limits::RING_ENTRIES_PER_TURN_MAX;

/// Sizes of a ring and its buffers; each is a limit of its own name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingSizes {
    /// Entries of the submission queue.
    pub submissions: u32,
    /// Entries of the completion queue.
    pub completions: u32,
    /// Receive buffers, a power of two.
    pub buffers: u16,
    /// As many of these as the kernel usually has.
    pub offered: u16,
    /// Bytes of each.
    pub buffer_bytes: u32,
}

impl Default for RingSizes {
    fn default() -> Self {
        use crate::limits::{
            RECEIVE_BUFFER_BYTES, RECEIVE_BUFFERS, RECEIVE_BUFFERS_OFFERED, RING_COMPLETIONS, RING_SUBMISSIONS,
        };
        Self {
            submissions: RING_SUBMISSIONS,
            completions: RING_COMPLETIONS,
            buffers: RECEIVE_BUFFERS,
            offered: RECEIVE_BUFFERS_OFFERED,
            buffer_bytes: RECEIVE_BUFFER_BYTES,
        }
    }
}

/// What an operation is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Accept, of one or multishot; the slot is the listener's index.
    Accept,
    /// Multishot poll of the mesh's bell.
    Bell,
    /// Receive, once or multishot.
    Receive,
    /// One-shot poll for room to write.
    Room,
    /// Cancellation; its own result says nothing that the cancelled operation's does not.
    Cancel,
}

/// Names an operation in its completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) slot: u32,
    /// The low 28 bits of the slot's generation. A slot is not freed while an operation is in flight, so this
    /// is a second lock on that door.
    pub(super) generation: u32,
}

const GENERATION_BITS: u32 = 28;

impl Token {
    pub(super) const fn new(kind: Kind, slot: u32, generation: u32) -> Self {
        Self { kind, slot, generation: generation & ((1 << GENERATION_BITS) - 1) }
    }

    /// Whether a completion with this token belongs to the tenant of its slot with `generation`.
    pub(super) const fn is_of(self, generation: u32) -> bool {
        Self::new(self.kind, self.slot, generation).generation == self.generation
    }

    const fn pack(self) -> u64 {
        let kind = match self.kind {
            Kind::Accept => 0,
            Kind::Bell => 1,
            Kind::Receive => 2,
            Kind::Room => 3,
            Kind::Cancel => 4,
        };
        (kind << 60) | ((self.generation as u64) << 32) | self.slot as u64
    }

    fn unpack(data: u64) -> Self {
        let kind = match data >> 60 {
            0 => Kind::Accept,
            1 => Kind::Bell,
            2 => Kind::Receive,
            3 => Kind::Room,
            _ => Kind::Cancel,
        };
        let low = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).unwrap_or(0);
        Self::new(kind, low(data), low(data >> 32))
    }
}

/// One completion.
#[derive(Clone, Copy, Debug)]
pub(super) struct Completion {
    pub(super) token: Token,
    /// What the system call would have returned.
    pub(super) result: Result<u32, Errno>,
    /// The buffer that now is ours and must be given back.
    pub(super) buffer: Option<u16>,
    /// Whether the operation goes on. The last completion of an operation has none.
    pub(super) more: bool,
}

impl Completion {
    fn read(entry: &cqueue::Entry) -> Self {
        let result = u32::try_from(entry.result()).map_err(|_| Errno::from_raw_os_error(-entry.result()));
        Self {
            token: Token::unpack(entry.user_data()),
            result,
            buffer: cqueue::buffer_select(entry.flags()),
            more: cqueue::more(entry.flags()),
        }
    }
}

/// What came of collecting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Collected {
    /// Whether the completion queue overflowed since the last time.
    pub(super) overflowed: bool,
    /// Whether more completions wait.
    pub(super) more: bool,
}

/// The ring and the buffers it receives into.
pub(super) struct Ring {
    // Closed before the buffers are freed: fields are dropped in their order.
    io: IoUring,
    pub(super) buffers: Buffers,
    /// Operations that found the submission queue full while the kernel took none; FIFO before new ones. At
    /// most a few for each socket that opened or closed in this turn.
    waiting: VecDeque<squeue::Entry>,
    overflowing: bool,
}

impl Ring {
    /// Builds a ring that only the calling thread may use.
    pub(super) fn new(sizes: RingSizes) -> Result<Self, ProbeError> {
        let io = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_clamp()
            .setup_cqsize(sizes.completions)
            .build(sizes.submissions)
            .map_err(ProbeError::of_setup)?;
        let buffers = Buffers::new(sizes.buffers, sizes.buffer_bytes, sizes.offered).map_err(ProbeError::Other)?;
        let registered = {
            // JUSTIFICATION: the only way to lend buffers.
            // SAFETY: the ring of buffers lives in `self` behind the io_uring, so it is freed after that is closed.
            unsafe { io.submitter().register_buf_ring_with_flags(buffers.address(), buffers.count(), GROUP, 0) }
        };
        registered.map_err(ProbeError::of_setup)?;
        Ok(Self { io, buffers, waiting: VecDeque::new(), overflowing: false })
    }

    /// Accepts until cancelled. The sockets are in blocking mode: the ring waits for a socket only if it is.
    pub(super) fn accept(&mut self, listener: BorrowedFd<'_>, token: Token) {
        let flags = libc::SOCK_CLOEXEC;
        self.push(opcode::AcceptMulti::new(Fd(listener.as_raw_fd())).flags(flags).build(), token);
    }

    /// Accepts one.
    pub(super) fn accept_one(&mut self, listener: BorrowedFd<'_>, token: Token) {
        let accept = opcode::Accept::new(Fd(listener.as_raw_fd()), std::ptr::null_mut(), std::ptr::null_mut());
        self.push(accept.flags(libc::SOCK_CLOEXEC).build(), token);
    }

    /// Receives once.
    pub(super) fn receive_once(&mut self, socket: BorrowedFd<'_>, token: Token) {
        let entry = opcode::Recv::new(Fd(socket.as_raw_fd()), std::ptr::null_mut(), 0).buf_group(GROUP).build();
        self.push(entry.flags(squeue::Flags::BUFFER_SELECT), token);
    }

    /// Receives until cancelled, ended, or out of buffers.
    pub(super) fn receive_on(&mut self, socket: BorrowedFd<'_>, token: Token) {
        self.push(opcode::RecvMulti::new(Fd(socket.as_raw_fd()), GROUP).build(), token);
    }

    /// Reports once that the socket takes bytes, or failed.
    pub(super) fn poll_room(&mut self, socket: BorrowedFd<'_>, token: Token) {
        self.push(opcode::PollAdd::new(Fd(socket.as_raw_fd()), poll_bits(libc::POLLOUT)).build(), token);
    }

    /// Reports every write to the bell.
    pub(super) fn poll_bell(&mut self, bell: BorrowedFd<'_>, token: Token) {
        self.push(opcode::PollAdd::new(Fd(bell.as_raw_fd()), poll_bits(libc::POLLIN)).multi(true).build(), token);
    }

    /// Cancels the operation with this token, if it still runs; it completes in any case.
    pub(super) fn cancel(&mut self, token: Token) {
        let cancel = Token { kind: Kind::Cancel, ..token };
        self.push(opcode::AsyncCancel::new(token.pack()).build(), cancel);
    }

    /// Whether a look at the completions would find any, without entering the kernel.
    pub(super) fn has_completions(&mut self) -> bool {
        !self.io.completion().is_empty() || self.io.submission().taskrun()
    }

    /// Submits what is queued and moves completions into `into` until it has `max` or none is left.
    ///
    /// One entry makes only some twenty completions of those that are due, so it is repeated while the
    /// kernel says that there are more.
    ///
    /// # Errors
    /// The ring is unusable.
    pub(super) fn collect(&mut self, into: &mut Vec<Completion>, max: usize) -> io::Result<Collected> {
        let mut collected = Collected::default();
        for _ in 0..RING_ENTRIES_PER_TURN_MAX {
            self.refill();
            let (taskrun, overflow, queued) = {
                let queue = self.io.submission();
                (queue.taskrun(), queue.cq_overflow(), !queue.is_empty())
            };
            collected.overflowed |= overflow && !self.overflowing;
            self.overflowing = overflow;
            let entered = taskrun || overflow || queued;
            if entered {
                settle(self.io.submit())?;
            }
            let room = max - into.len();
            into.extend(self.io.completion().take(room).map(|entry| Completion::read(&entry)));
            collected.more = self.has_completions();
            if into.len() >= max || !collected.more {
                break;
            }
        }
        Ok(collected)
    }

    /// Submits what is queued without waiting.
    ///
    /// # Errors
    /// The ring is unusable.
    pub(super) fn submit(&mut self) -> io::Result<()> {
        self.refill();
        if self.io.submission().is_empty() { Ok(()) } else { settle(self.io.submit()) }
    }

    /// Sleeps until there is a completion, or for `at_most`.
    ///
    /// # Errors
    /// The ring is unusable.
    pub(super) fn park(&mut self, at_most: Duration) -> io::Result<()> {
        self.refill();
        let time = Timespec::from(at_most);
        settle(self.io.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&time)))
    }

    /// Queues an operation.
    fn push(&mut self, entry: squeue::Entry, token: Token) {
        self.waiting.push_back(entry.user_data(token.pack()));
        self.refill();
    }

    /// Moves operations into the submission queue, and that into the kernel when it is full. What the kernel
    /// refuses for now stays for the next entry.
    fn refill(&mut self) {
        while let Some(entry) = self.waiting.front() {
            // JUSTIFICATION: there is no other way to submit.
            // SAFETY: the operations name no memory of ours but the registered buffers, and each descriptor stays
            // open until its operation's last completion, which is the rule that `Sockets` keeps.
            let pushed = unsafe { self.io.submission().push(entry) };
            if pushed.is_ok() {
                self.waiting.pop_front();
                continue;
            }
            let refused = self.io.submit().is_err();
            if refused || self.io.submission().is_full() {
                return;
            }
        }
    }
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").field("waiting", &self.waiting.len()).finish_non_exhaustive()
    }
}

/// Sorts the outcomes of an entry: signals, a passed deadline and passing shortages are no errors, the
/// loop comes back to them. `EBADR` says that completions were lost for good.
fn settle(entered: io::Result<usize>) -> io::Result<()> {
    match entered {
        Ok(_) => Ok(()),
        Err(error) => match error.raw_os_error() {
            Some(libc::EINTR | libc::ETIME | libc::EAGAIN | libc::EBUSY | libc::ENOBUFS | libc::ENOMEM) => Ok(()),
            _ => Err(error),
        },
    }
}

const fn poll_bits(bits: i16) -> u32 {
    bits.cast_unsigned() as u32
}

#[cfg(test)]
mod tests;
