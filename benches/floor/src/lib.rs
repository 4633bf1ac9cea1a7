//! The floor: the least a WebSocket room server can do on one core, as a measuring stick for the gateway.
//!
//! One thread, one level-triggered epoll, one `recv` per readable socket and turn. An event is encoded once into its
//! room's log of the turn; at the end of the turn each member gets that log in one `send`, without a copy per
//! recipient, so events that arrive together leave together. Level-triggered is the cheaper form here: edge-triggered
//! would need a second `recv` to see the socket empty. Only a short `send` copies, into the connection's own backlog.
//!
//! A room keeps events for those who come back only if the path that opens it asks for it (`?keep=100`).
//!
//! Absent on purpose: tokens, JSON, limits, presence, timers, fragments. The sockets' descriptors are the
//! connections' indices, so there is no slab either.

mod codec;
mod kept;
mod server;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;

pub use server::Floor;

/// What a floor did between its start and its end.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Connections upgraded.
    pub connections: u64,
    /// Messages received.
    pub messages: u64,
    /// Messages delivered, one per recipient.
    pub deliveries: u64,
    /// `send` calls that carried deliveries.
    pub sends: u64,
    /// Deliveries dropped because the recipient's backlog was full.
    pub dropped: u64,
    /// Turns of the loop.
    pub turns: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connections, messages, deliveries, sends, dropped, turns } = self;
        write!(
            f,
            "floor: connections {connections} messages {messages} deliveries {deliveries} sends {sends} dropped \
             {dropped} turns {turns}"
        )
    }
}

/// Binds the calling thread to one core.
///
/// # Errors
/// The core does not exist or is not ours.
pub fn pin(cpu: usize) -> io::Result<()> {
    let mut set = rustix::thread::CpuSet::new();
    set.set(cpu);
    Ok(rustix::thread::sched_setaffinity(None, &set)?)
}

impl Floor {
    /// Serves until `stop` is set.
    ///
    /// # Errors
    /// The poll itself failed; a connection's failure only ends that connection.
    pub fn run(&mut self, stop: &AtomicBool) -> io::Result<Counts> {
        while !stop.load(std::sync::atomic::Ordering::Relaxed) {
            self.turn()?;
        }
        Ok(self.counts())
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let address = rustix::net::getsockname(self.listener())?;
        SocketAddr::try_from(address).map_err(io::Error::from)
    }
}
