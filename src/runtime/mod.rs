//! The host of a shard: one pinned thread, one io_uring, and the loop that drives the rules.
//!
//! Stations 1 and 10 of the walk. [`spawn`] starts a thread with a glommio executor that runs exactly
//! one task, the loop of `turn`; the executor places and pins the thread, and nothing here waits on
//! it. The shard is built on its own thread, so that its memory is that core's.
//!
//! Invariants: everything a loop holds is its own; a socket is closed and its slot given out again
//! only after the last completion of each of its operations; a receive buffer goes back exactly once;
//! each connection is written to at most once a turn, and once more where it is let in behind the
//! flush. A panic aborts the process: half a gateway is worse than a restart. `unsafe` is confined to
//! `buffers`, `ring`, a question of `probe` to the kernel's clock, and the one line that owns an
//! accepted descriptor. Absent: protocol, rules, other shards' state.

mod accept;
pub mod address;
mod apply;
mod buffers;
mod clock;
mod crowd;
mod kept;
pub mod listen;
pub mod probe;
pub mod ring;
mod send;
mod socket_file;
mod sockets;
mod storing;
mod transport;
mod turn;

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use glommio::{LocalExecutor, LocalExecutorBuilder, Placement};

use crate::ids::ShardId;
use crate::limits::{BATCH_JOINED_BYTES_MAX, EXECUTOR_IO_BYTES, EXECUTOR_RING_DEPTH};
use crate::mesh::{AdminJob, HatchPost, LogPost, MeshEnd, Parcel, StoreLink, Transport};
use crate::metrics::Metrics;
use crate::shard::Shard;
use crate::shard::effect::{Batch, Effects};
use crate::shard::message::outside::Answered;
use accept::Door;
use clock::Clock;
use crowd::Crowd;
use kept::Kept;
use listen::{Listener, Sharing};
use ring::{Ring, RingSizes};
use sockets::Sockets;
use storing::Storing;
use turn::Host;

/// What a shard's thread is told.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The shard.
    pub shard: ShardId,
    /// The core it is pinned to; `None` leaves that to the scheduler.
    pub cpu: Option<usize>,
    /// How long it looks out for work before it sleeps, in microseconds: 0 on shared cores.
    pub spin_us: u32,
    /// Sizes of its ring.
    pub sizes: RingSizes,
    /// The process's start, from which all shards count time.
    pub started: Instant,
    /// Who else listens on its addresses: where others do, a drain leaves who comes to them at once.
    pub sharing: Sharing,
}

/// What a shard's thread owns from the start.
#[derive(Debug)]
pub struct Seat {
    /// What it is told.
    pub options: Options,
    /// Its listeners, one for each address.
    pub listeners: Vec<Listener>,
    /// Its end of the mesh.
    pub mesh: MeshEnd<Parcel>,
    /// The way to the administration executor; without it, such requests are refused.
    pub admin: Option<HatchPost<AdminJob>>,
    /// The way for answers to who asks from outside the shards; without it they are dropped.
    pub answers: Option<HatchPost<Answered>>,
    /// The way for what is kept of who came and went; without it that is dropped.
    pub audit: Option<LogPost>,
    /// The way to the store, if there is one.
    pub store: Option<StoreLink>,
    /// Its numbers.
    pub metrics: Arc<Metrics>,
}

/// Starts a shard's thread and waits until it is ready to accept. `build` makes the shard there. The
/// thread ends when a drain is over, or with the error that made its ring unusable.
///
/// # Errors
/// No thread, executor or ring could be made; what to do about a ring is in the text.
pub fn spawn(seat: Seat, build: impl FnOnce() -> Shard + Send + 'static) -> io::Result<JoinHandle<io::Result<()>>> {
    let (ready, started) = crossbeam_channel::bounded(1);
    let name = format!("shard-{}", seat.options.shard.0);
    let thread = std::thread::Builder::new().name(name).spawn(move || {
        let _guard = AbortOnPanic;
        let made = executor(seat.options.cpu).and_then(|executor| Ok((executor, host(seat, build())?)));
        let (executor, mut host) = match made {
            Ok(made) => made,
            Err(error) => {
                // The starter waits for this, so it is there to take it.
                let _taken = ready.send(Err(error));
                return Ok(());
            }
        };
        let _taken = ready.send(Ok(()));
        executor.run(async move { host.turn_until_drained() })
    })?;
    started.recv().map_err(io::Error::other)??;
    Ok(thread)
}

/// Runs a shard on the calling thread until a drain is over.
///
/// # Errors
/// The ring could not be made or became unusable.
pub fn run(seat: Seat, shard: Shard) -> io::Result<()> {
    let _guard = AbortOnPanic;
    host(seat, shard)?.turn_until_drained()
}

fn executor(cpu: Option<usize>) -> io::Result<LocalExecutor> {
    LocalExecutorBuilder::new(cpu.map_or(Placement::Unbound, Placement::Fixed))
        .ring_depth(EXECUTOR_RING_DEPTH)
        .io_memory(EXECUTOR_IO_BYTES)
        .make()
        .map_err(|error| io::Error::other(format!("the executor cannot be made: {error}")))
}

fn host(seat: Seat, shard: Shard) -> io::Result<Host> {
    let mut ring = Ring::new(seat.options.sizes).map_err(io::Error::other)?;
    let doors = (0..).zip(seat.listeners).map(|(index, listener)| Door::open(index, listener, &mut ring)).collect();
    let clock = Clock::new(seat.options.started);
    let shards = seat.mesh.outbox.shards();
    Ok(Host {
        ring,
        sockets: Sockets::new(seat.options.shard),
        crowd: Crowd::default(),
        shard,
        effects: Effects::new(shards),
        doing: Vec::new(),
        doors,
        inbox: seat.mesh.inbox,
        outbox: seat.mesh.outbox,
        kept: Kept::new(shards),
        admin: seat.admin,
        answers: seat.answers,
        audit: seat.audit,
        storing: Storing::new(seat.store),
        metrics: seat.metrics,
        clock,
        now: clock.now(),
        spin_us: seat.options.spin_us,
        completions: Vec::new(),
        scarce: false,
        batch: Batch::default(),
        joined: Vec::with_capacity(BATCH_JOINED_BYTES_MAX),
        flushing: Vec::new(),
        drain_end: None,
        untold: (0..).map(ShardId).take(shards).filter(|peer| *peer != seat.options.shard).collect(),
        peers_open: shards.saturating_sub(1),
        doors_close: None,
        sharing: seat.options.sharing,
    })
}

/// Owns a descriptor that the ring accepted.
#[expect(unsafe_code, reason = "an accepted socket arrives as a bare number")]
fn accepted(descriptor: u32) -> Transport {
    let descriptor = RawFd::try_from(descriptor).unwrap_or(RawFd::MAX);
    // JUSTIFICATION: completions carry numbers; somebody must say that this one is a descriptor of ours.
    // SAFETY: the result of an accept is a new descriptor that nobody else owns.
    Transport::Plain(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Ends the process when the thread that holds it panics, whatever the profile says of panics.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}
