//! One core's whole state: connections, channels, deadlines. Synchronous, without sockets.

pub mod effect;
pub mod message;

use std::net::SocketAddr;

use crate::ids::{ConnId, ShardId};
use crate::time::{Millis, Now};
use effect::{Batch, Effects};
use message::{MeshMessage, Passport};

/// What the host tells a shard.
#[derive(Debug)]
pub enum Input<'a> {
    /// Bytes came from the peer. The shard may overwrite them.
    Bytes(ConnId, &'a mut [u8]),
    /// The peer closed its side, or the socket failed.
    Gone(ConnId),
    /// After a short write, the socket takes bytes again.
    Writable(ConnId),
    /// Nothing of this slot's socket is in flight any more: the slot may be used again.
    Released(ConnId),
    /// The other shard's inbox is full; the socket is still here.
    HandOverRefused(ConnId),
    /// A message from another shard.
    Mesh(ShardId, MeshMessage),
    /// Say good-bye to everybody within this many milliseconds.
    Drain(u64),
}

/// One core's whole state.
#[derive(Debug, Default)]
pub struct Shard;

impl Shard {
    /// A socket was accepted. `None`: no slot is free, close it.
    pub fn on_accept(&mut self, _now: Now, _peer: SocketAddr, _effects: &mut Effects) -> Option<ConnId> {
        None
    }

    /// A socket was handed over. The passport comes back if no slot is free.
    ///
    /// # Errors
    /// The passport, when the shard is full.
    pub fn on_adopt(
        &mut self,
        _now: Now,
        passport: Box<Passport>,
        _effects: &mut Effects,
    ) -> Result<ConnId, Box<Passport>> {
        Err(passport)
    }

    /// Anything else that happened.
    pub fn handle(&mut self, _now: Now, _input: Input<'_>, _effects: &mut Effects) {}

    /// Fires what is due.
    pub fn on_time(&mut self, _now: Now, _effects: &mut Effects) {}

    /// When `on_time` wants to be called next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Millis> {
        None
    }

    /// One pass of the fan-out. `others_wait` halves nothing but the pass: true while input is waiting.
    /// Returns whether more is to be visited.
    pub fn fan_out(&mut self, _now: Now, _others_wait: bool, _effects: &mut Effects) -> bool {
        false
    }

    /// Takes what is to be written to `conn` next, as far as `batch` has room.
    pub fn fill(&mut self, _now: Now, _conn: ConnId, _batch: &mut Batch) {}

    /// The socket took `bytes` of `batch`; the rest is kept. If it took less than all, the host sends
    /// `Input::Writable` when it takes bytes again.
    pub fn written(&mut self, _now: Now, _conn: ConnId, _batch: &mut Batch, _bytes: usize, _effects: &mut Effects) {}

    /// Whether a drain is over: no connection is left.
    #[must_use]
    pub fn drained(&self) -> bool {
        true
    }
}
