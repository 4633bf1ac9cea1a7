//! The sockets of one shard: what is in flight on each, and when its slot is free again.
//!
//! [`Sockets::settle`] is the only place that begins or cancels an operation: it compares what runs
//! with what the phase wants. So whatever happens to a connection is a change of its phase, followed
//! by settling it. A socket is closed only after the last completion of each of its operations.
//!
//! Absent: bytes, and what they mean.

use std::collections::{BTreeMap, VecDeque};
use std::hint::black_box;
use std::os::fd::AsFd;

use super::ring::{Kind, Ring, Token};
use crate::ids::{ConnId, ShardId};
use crate::limits::{HELD_BYTES, LINGER_MS};
use crate::mesh::Transport;
use crate::time::Millis;

/// How far a connection has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nobody has the slot.
    #[default]
    Free,
    /// The head is being read, a receive at a time, so that the socket can be handed over between two.
    Opening,
    /// Receives as it comes.
    Streaming,
    /// Receives nothing for now.
    Paused,
    /// Nothing more is written; what comes is dropped until the peer closes too or the time is over.
    Lingering,
    /// Closes with the last completion.
    Closing,
}

/// An operation of which a connection has at most one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Flight {
    #[default]
    None,
    Running,
    Cancelling,
}

/// What became of a connection that was settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    Kept,
    /// The socket is closed and nothing is in flight: the slot may be given out again.
    Released,
}

/// What came of a connection that waits in line.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) bytes: Vec<u8>,
    /// The peer closed its side behind them, or the socket failed.
    pub(super) ended: bool,
}

/// One connection's socket.
#[derive(Debug, Default)]
struct Socket {
    /// `None` exactly if the phase is free.
    transport: Option<Transport>,
    generation: u32,
    phase: Phase,
    receive: Flight,
    room: Flight,
    /// The peer closed its side or the socket failed; the shard was told, or had closed before.
    ended: bool,
    /// A receive found no buffer and waits for the end of the batch that has them.
    starved: bool,
    /// In the list of connections to be written to.
    dirty: bool,
    /// What came of it is held.
    waits: bool,
}

/// All sockets of a shard, by slot.
#[derive(Debug)]
pub(super) struct Sockets {
    shard: ShardId,
    table: Vec<Socket>,
    open: usize,
    /// In the order of their deadlines, since the time is the same for all. One entry for each close within
    /// the linger time.
    lingering: VecDeque<(Millis, ConnId)>,
    starved: Vec<ConnId>,
    /// By slot, what came of connections that wait in line.
    held: BTreeMap<u32, Held>,
    /// Connections to be written to in the next flush, each once.
    pub(super) dirty: Vec<ConnId>,
}

impl Sockets {
    pub(super) const fn new(shard: ShardId) -> Self {
        Self {
            shard,
            table: Vec::new(),
            open: 0,
            lingering: VecDeque::new(),
            starved: Vec::new(),
            held: BTreeMap::new(),
            dirty: Vec::new(),
        }
    }

    /// Slots in use.
    pub(super) const fn open(&self) -> usize {
        self.open
    }

    /// Seats a socket in a free slot, also one that was just taken out of it. It must be settled.
    pub(super) fn insert(&mut self, conn: ConnId, transport: Transport) {
        if self.table.len() <= conn.index() {
            self.table.resize_with(conn.index() + 1, Socket::default);
        }
        let socket = &mut self.table[conn.index()];
        assert!(socket.phase == Phase::Free, "slot {} was given out twice", conn.slot);
        let (generation, phase) = (conn.generation, Phase::Opening);
        *socket = Socket { transport: Some(transport), generation, phase, ..Socket::default() };
        self.open += 1;
    }

    /// Reads ahead for completions of these slots. Changes nothing.
    pub(super) fn look_ahead(&self, slots: impl Iterator<Item = u32>) {
        for slot in slots {
            black_box(self.table.get(slot as usize).map(|socket| socket.phase));
        }
    }

    /// The connection that an operation belongs to, once its completion is noted: its last one ends its flight.
    pub(super) fn on_completion(&mut self, token: Token, more: bool) -> Option<ConnId> {
        let socket = self.table.get_mut(usize::try_from(token.slot).ok()?)?;
        let known = socket.phase != Phase::Free && token.is_of(socket.generation);
        debug_assert!(known, "a slot was freed with {token:?} in flight");
        if !known {
            return None;
        }
        if !more {
            let flight = if token.kind == Kind::Room { &mut socket.room } else { &mut socket.receive };
            *flight = Flight::None;
        }
        Some(ConnId { shard: self.shard, slot: token.slot, generation: socket.generation })
    }

    /// Whether the shard still deals with the connection and its peer is there.
    pub(super) fn is_live(&self, conn: ConnId) -> bool {
        self.find(conn).is_some_and(|socket| {
            !socket.ended && matches!(socket.phase, Phase::Opening | Phase::Streaming | Phase::Paused)
        })
    }

    /// Moves on to another phase, to be settled. Nothing leads back from closing, nor from lingering to life.
    pub(super) fn set_phase(&mut self, conn: ConnId, phase: Phase) {
        let Some(socket) = self.find_mut(conn) else { return };
        let allowed = match socket.phase {
            Phase::Free | Phase::Closing => false,
            Phase::Lingering => phase == Phase::Closing,
            Phase::Opening | Phase::Streaming | Phase::Paused => true,
        };
        if allowed {
            socket.phase = phase;
        }
    }

    /// Nothing more is written; begins to linger, to be settled.
    pub(super) fn linger(&mut self, conn: ConnId, now: Millis) {
        if let Some(transport) = self.transport(conn) {
            transport.finish_writing();
            self.set_phase(conn, Phase::Lingering);
            self.lingering.push_back((now.after(LINGER_MS), conn));
        }
    }

    /// When the next linger time is over.
    pub(super) fn linger_until(&self) -> Option<Millis> {
        self.lingering.front().map(|(until, _)| *until)
    }

    /// Takes a connection whose linger time is over and that is still open, to be settled.
    pub(super) fn take_overdue(&mut self, now: Millis) -> Option<ConnId> {
        while let Some((_, conn)) = self.lingering.pop_front_if(|(until, _)| *until <= now) {
            if self.find(conn).is_some_and(|socket| socket.phase == Phase::Lingering) {
                self.set_phase(conn, Phase::Closing);
                return Some(conn);
            }
        }
        None
    }

    /// Notes the end of the peer's bytes. Returns whether the shard must be told.
    pub(super) fn end(&mut self, conn: ConnId) -> bool {
        let live = self.is_live(conn);
        if let Some(socket) = self.find_mut(conn) {
            socket.ended = true;
        }
        live
    }

    /// Whether something of the connection waits in line.
    pub(super) fn is_held(&self, conn: ConnId) -> bool {
        self.find(conn).is_some_and(|socket| socket.waits)
    }

    /// Keeps bytes until it is their turn, and reads little more before. Returns whether nothing was held so far.
    pub(super) fn hold(&mut self, conn: ConnId, bytes: &[u8]) -> bool {
        self.hold_more(conn, |held| held.bytes.extend_from_slice(bytes))
    }

    /// The same for the end of the peer's bytes.
    pub(super) fn hold_end(&mut self, conn: ConnId) -> bool {
        self.hold_more(conn, |held| held.ended = true)
    }

    fn hold_more(&mut self, conn: ConnId, more: impl FnOnce(&mut Held)) -> bool {
        let Some(socket) = self.find_mut(conn) else { return false };
        let came = !std::mem::replace(&mut socket.waits, true);
        more(self.held.entry(conn.slot).or_default());
        came
    }

    /// Whether so much is held of it that no more is read.
    fn holds_enough(&self, conn: ConnId) -> bool {
        self.is_held(conn) && self.held.get(&conn.slot).is_some_and(|held| held.bytes.len() >= HELD_BYTES)
    }

    /// Takes what was held, which is to be handled and then settled.
    pub(super) fn take_held(&mut self, conn: ConnId) -> Option<Held> {
        let socket = self.find_mut(conn)?;
        if std::mem::take(&mut socket.waits) { self.held.remove(&conn.slot) } else { None }
    }

    /// Notes that a receive found no buffer.
    pub(super) fn starve(&mut self, conn: ConnId) {
        if let Some(socket) = self.find_mut(conn) {
            socket.starved = true;
            self.starved.push(conn);
        }
    }

    /// Takes a connection that found no buffer, to be settled.
    pub(super) fn take_starved(&mut self) -> Option<ConnId> {
        let conn = self.starved.pop()?;
        if let Some(socket) = self.find_mut(conn) {
            socket.starved = false;
        }
        Some(conn)
    }

    /// Puts a connection on the list to be written to, unless it is there or waits for room.
    pub(super) fn mark_dirty(&mut self, conn: ConnId) {
        if !self.is_live(conn) {
            return;
        }
        let Some(socket) = self.find_mut(conn) else { return };
        if socket.room == Flight::None && !std::mem::replace(&mut socket.dirty, true) {
            self.dirty.push(conn);
        }
    }

    /// The socket of a connection that is taken off the list to be written to, if it can be.
    pub(super) fn take_dirty(&mut self, conn: ConnId) -> bool {
        if let Some(socket) = self.find_mut(conn) {
            socket.dirty = false;
        }
        self.is_live(conn)
    }

    /// The socket itself.
    pub(super) fn transport(&self, conn: ConnId) -> Option<&Transport> {
        self.find(conn)?.transport.as_ref()
    }

    /// Asks to be told when the socket takes bytes again.
    pub(super) fn await_room(&mut self, conn: ConnId, ring: &mut Ring) {
        let Some(socket) = self.find_mut(conn) else { return };
        if let (Some(transport), Flight::None) = (&socket.transport, socket.room) {
            ring.poll_room(transport.as_fd(), Token::new(Kind::Room, conn.slot, conn.generation));
            socket.room = Flight::Running;
        }
    }

    /// Takes the socket out and frees the slot, if nothing is in flight on it.
    pub(super) fn take_out(&mut self, conn: ConnId) -> Option<Transport> {
        let socket = self.find_mut(conn)?;
        if (socket.receive, socket.room) != (Flight::None, Flight::None) {
            return None;
        }
        let transport = socket.transport.take()?;
        socket.phase = Phase::Free;
        if std::mem::take(&mut socket.waits) {
            self.held.remove(&conn.slot);
        }
        self.open -= 1;
        Some(transport)
    }

    /// Begins and cancels what the connection's phase wants.
    pub(super) fn settle(&mut self, conn: ConnId, ring: &mut Ring) -> Settled {
        let full = self.holds_enough(conn);
        let Some(socket) = self.find_mut(conn) else { return Settled::Kept };
        let Some(transport) = &socket.transport else { return Settled::Kept };
        if socket.phase == Phase::Lingering && socket.ended {
            socket.phase = Phase::Closing;
        }
        let reads = matches!(socket.phase, Phase::Opening | Phase::Streaming | Phase::Lingering) && !socket.ended;
        let token = Token::new(Kind::Receive, conn.slot, conn.generation);
        match socket.receive {
            Flight::None if reads && !socket.starved && !socket.waits => {
                if socket.phase == Phase::Opening {
                    ring.receive_once(transport.as_fd(), token);
                } else {
                    ring.receive_on(transport.as_fd(), token);
                }
                socket.receive = Flight::Running;
            }
            Flight::Running if !reads || full => {
                ring.cancel(token);
                socket.receive = Flight::Cancelling;
            }
            _ => {}
        }
        if socket.phase != Phase::Closing {
            return Settled::Kept;
        }
        if socket.room == Flight::Running {
            ring.cancel(Token { kind: Kind::Room, ..token });
            socket.room = Flight::Cancelling;
        }
        match self.take_out(conn) {
            // A plain close. Forcing a reset would throw away what the kernel has yet to send, and a peer that
            // is gone is answered with a reset anyway.
            Some(transport) => {
                drop(transport);
                Settled::Released
            }
            None => Settled::Kept,
        }
    }

    fn find(&self, conn: ConnId) -> Option<&Socket> {
        self.table
            .get(conn.index())
            .filter(|socket| socket.phase != Phase::Free && socket.generation == conn.generation)
    }

    fn find_mut(&mut self, conn: ConnId) -> Option<&mut Socket> {
        let socket = self.table.get_mut(conn.index())?;
        (socket.phase != Phase::Free && socket.generation == conn.generation).then_some(socket)
    }
}

#[cfg(test)]
mod tests;
