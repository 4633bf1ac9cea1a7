//! The administration executor: answers the HTTP requests that are no business of a shard's turn.
//!
//! One unpinned executor of its own. Shards hand it sockets whose request they have read; it writes one
//! answer, waits for the peer's end and closes. It reads the shards' numbers and never talks back to them,
//! so nothing that happens here can hold a message up. Absent: everything that changes state; health and
//! readiness, which a shard answers itself, as only a shard that turns can.

mod answer;
mod exposition;

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_lite::{AsyncReadExt as _, AsyncWriteExt as _, FutureExt as _};
use glommio::net::TcpStream;
use glommio::sync::Semaphore;
use glommio::timer::Timer;
use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, Placement};

use crate::limits::{
    ADMIN_IO_MEMORY_BYTES, ADMIN_LINGER_BYTES_MAX, ADMIN_LINGER_MS, ADMIN_OPEN_COUNT_MAX, ADMIN_RING_ENTRIES,
    ADMIN_WRITE_DEADLINE_MS,
};
use crate::mesh::{AdminJob, Hatch, Transport};
use crate::metrics::Metrics;
use crate::shard::message::AdminRequest;

/// What the answers are made of.
#[derive(Debug)]
pub struct Options {
    /// Every shard's numbers, by shard.
    pub metrics: Vec<Arc<Metrics>>,
}

/// Starts the executor on a thread of its own. It ends when no sender of `inbox` is left and every
/// answer is written or cut.
///
/// # Errors
/// When the executor's rings cannot be made.
pub fn spawn(inbox: Hatch<AdminJob>, options: Options) -> io::Result<ExecutorJoinHandle<()>> {
    LocalExecutorBuilder::new(Placement::Unbound)
        .name("admin")
        .ring_depth(ADMIN_RING_ENTRIES)
        .io_memory(ADMIN_IO_MEMORY_BYTES)
        .spawn(move || run(inbox, options))
        .map_err(io::Error::other)
}

/// Answers until the senders are gone.
///
/// # Cancel safety
/// Dropping the future drops the sockets that wait; answers under way end with their executor.
async fn run(inbox: Hatch<AdminJob>, options: Options) {
    let Hatch { queue, wake } = inbox;
    // A ring's receive on a nonblocking descriptor answers at once that nothing is there; on a blocking
    // one it waits in the ring.
    if wake.set_nonblocking(false).is_err() {
        return;
    }
    // The executor library makes its stream from any connected socket; this one is a Unix pair.
    let mut wake = TcpStream::from(socket2::Socket::from(OwnedFd::from(wake)));
    let options = Rc::new(options);
    let open = Rc::new(Semaphore::new(ADMIN_OPEN_COUNT_MAX as u64));
    let mut bytes = [0; 64];
    loop {
        // Ended or failed: nobody is left to wake us. What was put before is still taken.
        let more = wake.read(&mut bytes).await.is_ok_and(|count| count > 0);
        while let Ok(job) = queue.try_recv() {
            let Ok(permit) = open.acquire_static_permit(1).await else { return };
            let options = Rc::clone(&options);
            glommio::spawn_local(async move {
                serve(job, &options).await;
                drop(permit);
            })
            .detach();
        }
        if !more {
            break;
        }
    }
    // Every permit back: every answer is done. Each is bounded by its deadlines, and so is this.
    let _all_done = open.acquire(ADMIN_OPEN_COUNT_MAX as u64).await;
}

/// Writes one answer and closes.
///
/// # Cancel safety
/// Not to be resumed: what was written of the answer is lost with the future, as is the socket.
async fn serve(job: AdminJob, options: &Options) {
    let AdminRequest { request, allowed_origin, .. } = &*job.request;
    let answer = answer::answer(&request.method, &request.path, allowed_origin.as_deref(), options);
    let Transport::Plain(socket) = job.transport;
    let mut socket = TcpStream::from(socket2::Socket::from(socket));
    let written = async {
        socket.write_all(&answer).await?;
        socket.shutdown(std::net::Shutdown::Write).await.map_err(io::Error::other)
    };
    if within(ADMIN_WRITE_DEADLINE_MS, written).await.is_none() {
        return;
    }
    // RFC 9112 section 9.6: closing while the peer still sends resets the connection, and the answer may
    // be lost with it. So read until the peer ends, within bounds.
    let drained = async {
        let (mut bytes, mut dropped) = ([0; 1024], 0);
        loop {
            let count = socket.read(&mut bytes).await?;
            dropped += count;
            if count == 0 || dropped > ADMIN_LINGER_BYTES_MAX {
                return Ok(());
            }
        }
    };
    within(ADMIN_LINGER_MS, drained).await;
}

/// The outcome of `work`, or `None` if it failed or took longer than `ms`.
///
/// # Cancel safety
/// As `work`, which is dropped at the deadline.
async fn within(ms: u64, work: impl Future<Output = io::Result<()>>) -> Option<()> {
    let late = async {
        Timer::new(Duration::from_millis(ms)).await;
        Err(io::ErrorKind::TimedOut.into())
    };
    work.or(late).await.ok()
}

#[cfg(test)]
mod tests;
