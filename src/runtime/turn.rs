//! The turn: what a shard's thread does over and over.
//!
//! Completions, mesh, rules, fan-out, flush, who is behind, newcomers and their answers, time, wakes, sleep: in this
//! order, each with its bound, so that no source of work can starve another. Every input is handled and its effects are done
//! before the next, so that the shard never hears of a connection that it has just closed.
//!
//! In steady traffic a turn allocates nothing and makes two kinds of system call: one entry into the
//! ring, and one send for each connection that is owed something.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::getpeername;

use super::accept::Door;
use super::clock::Clock;
use super::crowd::Crowd;
use super::kept::Kept;
use super::listen::Sharing;
use super::ring::{Completion, Kind, Ring, Token};
use super::sockets::{Settled, Sockets};
use super::storing::Storing;
use crate::ids::{ConnId, ShardId};
use crate::limits::{
    DRAIN_GRACE_MS, LOOK_AHEAD_COUNT, MESH_RETRY_MS, PARK_MS_MAX, TURN_ARRIVALS_MAX, TURN_COMPLETIONS_MAX,
    TURN_MESH_ITEMS_MAX, TURN_STORE_ITEMS_MAX,
};
use crate::mesh::{AdminJob, HatchPost, Inbox, LogPost, Outbox, Parcel, Transport};
use crate::metrics::{Metric, Metrics, Timing};
use crate::shard::arrivals::Weight;
use crate::shard::effect::{Batch, Effect, Effects};
use crate::shard::message::Lane;
use crate::shard::message::outside::Answered;
use crate::shard::{Input, Shard};
use crate::time::{Millis, Now};
use crate::wire::peer::Peer;

/// A shard and all that its thread holds for it.
#[derive(Debug)]
pub(super) struct Host {
    // Closed before the sockets, so that no operation outlives its descriptor.
    pub(super) ring: Ring,
    pub(super) sockets: Sockets,
    pub(super) crowd: Crowd,
    pub(super) shard: Shard,
    pub(super) effects: Effects,
    /// Emptied and swapped with the list of effects while they are done.
    pub(super) doing: Vec<Effect>,
    pub(super) doors: Vec<Door>,
    pub(super) inbox: Inbox<Parcel>,
    pub(super) outbox: Outbox<Parcel>,
    pub(super) kept: Kept,
    pub(super) admin: Option<HatchPost<AdminJob>>,
    pub(super) answers: Option<HatchPost<Answered>>,
    pub(super) audit: Option<LogPost>,
    pub(super) storing: Storing,
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: Clock,
    pub(super) now: Now,
    pub(super) spin_us: u32,
    pub(super) completions: Vec<Completion>,
    /// Whether a receive of this turn found no buffer.
    pub(super) scarce: bool,
    pub(super) batch: Batch,
    /// Where the small parts of a batch are put together.
    pub(super) joined: Vec<u8>,
    /// Swapped with the list of dirty connections while it is flushed.
    pub(super) flushing: Vec<ConnId>,
    /// When a drain ends, whoever is left.
    pub(super) drain_end: Option<Millis>,
    /// The other shards that were not told yet that this one's connections are gone.
    pub(super) untold: Vec<ShardId>,
    /// How many of the others may still have connections, which need the channels at home here.
    pub(super) peers_open: usize,
    /// When the doors close. Until then a drain answers: a probe has to hear that the server is not ready.
    pub(super) doors_close: Option<Millis>,
    pub(super) sharing: Sharing,
}

impl Host {
    /// Turns until a drain is over.
    ///
    /// # Errors
    /// The ring is unusable.
    pub(super) fn turn_until_drained(&mut self) -> io::Result<()> {
        let bell = Token::new(Kind::Bell, 0, 0);
        self.ring.poll_bell(self.inbox.bell().as_fd(), bell);
        loop {
            let busy = self.turn()?;
            if self.is_over() {
                return Ok(());
            }
            if !busy {
                self.rest()?;
            }
        }
    }

    /// One turn. Returns whether anything was done or is left to do.
    pub(super) fn turn(&mut self) -> io::Result<bool> {
        let began = self.now.micros;
        self.metrics.count(Metric::Turns);
        self.metrics.set(Metric::TickedAt, began);
        let sent = self.kept.retry(&mut self.outbox, &mut self.effects);
        self.metrics.add(Metric::MeshSent, sent);
        self.storing.retry();
        let (collected, waiting) = self.on_completions()?;
        let taken = self.on_mesh() + self.on_store();
        let others = waiting || !self.inbox.is_empty() || !self.storing.is_empty();
        let unvisited = self.shard.fan_out(self.now, others, &mut self.effects);
        self.apply();
        let behind = self.flush();
        let crowded = self.on_crowd(began);
        let timed = self.on_time();
        if self.shard.audit().has_some() {
            self.keep_audit();
        }
        self.tell_drained();
        let woken = self.outbox.wake_all();
        self.metrics.add(Metric::Wakes, woken);
        self.storing.wake();
        self.metrics.add(Metric::StoreForgotten, self.storing.take_forgotten());
        self.now = self.clock.now();
        self.shard.flushed(self.now);
        self.metrics.timing(Timing::Turn).record(self.now.micros.saturating_sub(began));
        // What was written, and who came, may have given channels something to tell.
        let left =
            others || unvisited || behind || crowded || self.shard.wants_turn() || !self.sockets.dirty.is_empty();
        Ok(left || timed || collected > 0 || taken > 0 || sent > 0)
    }

    /// Hands on what is to be kept of who came and went.
    fn keep_audit(&mut self) {
        let (entries, lost) = self.shard.audit().take();
        let Some(post) = &self.audit else { return };
        entries.for_each(|entry| post.keep(entry));
        post.losses().add(lost);
    }

    /// Handles what the ring completed. Returns how many, and whether more wait.
    pub(super) fn on_completions(&mut self) -> io::Result<(usize, bool)> {
        let mut completions = std::mem::take(&mut self.completions);
        let collected = self.ring.collect(&mut completions, TURN_COMPLETIONS_MAX)?;
        self.metrics.add(Metric::RingOverflows, u64::from(collected.overflowed));
        let count = completions.len();
        for (place, completion) in completions.iter().enumerate() {
            if place % LOOK_AHEAD_COUNT == 0 {
                self.look_ahead(&completions[place..]);
            }
            self.on_completion(*completion);
        }
        // Each is handled once: what the next turn collects is put behind what is left here.
        completions.clear();
        self.completions = completions;
        // Once for all that found none, since they did so together.
        if std::mem::take(&mut self.scarce) {
            self.ring.buffers.widen();
        }
        // Every buffer of the batch is back by now.
        while let Some(conn) = self.sockets.take_starved() {
            self.settle(conn);
        }
        Ok((count, collected.more))
    }

    /// What the next completions are about is read from memory together, not one after another.
    fn look_ahead(&self, completions: &[Completion]) {
        let next = &completions[..completions.len().min(LOOK_AHEAD_COUNT)];
        let slots = next.iter().filter(|next| next.token.kind == Kind::Receive).map(|next| next.token.slot);
        self.sockets.look_ahead(slots.clone());
        self.shard.look_ahead(slots);
    }

    fn on_completion(&mut self, completion: Completion) {
        match completion.token.kind {
            Kind::Accept => self.on_accept(completion),
            Kind::Bell if !completion.more => {
                self.ring.poll_bell(self.inbox.bell().as_fd(), completion.token);
            }
            Kind::Receive => self.on_receive(completion),
            Kind::Room => self.on_room(completion),
            Kind::Bell | Kind::Cancel => {}
        }
    }

    fn on_accept(&mut self, completion: Completion) {
        if let Ok(descriptor) = completion.result {
            self.admit(super::accepted(descriptor));
        }
        if completion.more {
            return;
        }
        let index = completion.token.slot as usize;
        let lacking = self.doors[index].on_end(completion.result.err(), self.now.millis(), &mut self.ring);
        self.metrics.add(Metric::AcceptFailures, u64::from(lacking));
    }

    /// Shows an accepted socket to the shard. One whose peer is gone already is closed.
    fn admit(&mut self, transport: Transport) {
        let Ok(Some(peer)) = getpeername(&transport) else { return };
        let peer = match SocketAddr::try_from(peer) {
            Ok(address) => Peer::from(address),
            Err(_no_address) => Peer::Unix,
        };
        if let Some(conn) = self.shard.on_accept(self.now, peer, &mut self.effects) {
            self.sockets.insert(conn, transport);
            self.apply();
            self.settle(conn);
        }
    }

    fn on_receive(&mut self, completion: Completion) {
        let Some(conn) = self.sockets.on_completion(completion.token, completion.more) else {
            self.give_back(completion.buffer, 0);
            return;
        };
        match (completion.result, completion.buffer) {
            (Ok(len), Some(buffer)) if len > 0 && self.sockets.is_live(conn) => self.take_bytes(conn, buffer, len),
            (Ok(len), Some(buffer)) if len > 0 => self.give_back(Some(buffer), len),
            (Err(Errno::NOBUFS), _) => {
                self.metrics.count(Metric::BuffersExhausted);
                self.scarce = true;
                self.sockets.starve(conn);
            }
            (Err(Errno::CANCELED | Errno::INTR | Errno::AGAIN), buffer) => self.give_back(buffer, 0),
            (_, buffer) => {
                self.give_back(buffer, 0);
                self.part(conn);
            }
        }
        self.apply();
        self.settle(conn);
    }

    /// Acts on what a connection sent, or keeps it until it is its turn.
    fn take_bytes(&mut self, conn: ConnId, buffer: u16, len: u32) {
        let bytes = self.ring.buffers.take(buffer, len);
        let weight = self.shard.weigh(conn, bytes);
        let waits = self.sockets.is_held(conn) || !self.crowd.admits(weight);
        if waits {
            let came = self.sockets.hold(conn, bytes);
            self.ring.buffers.give_back(buffer);
            if came {
                self.line_up(conn, weight);
            }
            return;
        }
        let wanted = (weight != Weight::Live).then(|| self.shard.wanted(conn));
        self.shard.handle(self.now, Input::Bytes(conn, bytes), &mut self.effects);
        self.ring.buffers.give_back(buffer);
        if wanted.is_some_and(|wanted| wanted != self.shard.wanted(conn)) {
            self.crowd.note(weight);
        }
    }

    /// The socket takes bytes again, or failed, which the next send will say.
    fn on_room(&mut self, completion: Completion) {
        let Some(conn) = self.sockets.on_completion(completion.token, completion.more) else { return };
        if self.sockets.is_live(conn) {
            self.sockets.mark_dirty(conn);
            self.shard.handle(self.now, Input::Writable(conn), &mut self.effects);
        }
        self.apply();
        self.settle(conn);
    }

    /// Tells the shard once that a connection's peer is gone.
    pub(super) fn lose(&mut self, conn: ConnId) {
        if self.sockets.end(conn) {
            self.shard.handle(self.now, Input::Gone(conn), &mut self.effects);
        }
    }

    /// Returns a buffer whose bytes nobody wants.
    fn give_back(&mut self, buffer: Option<u16>, len: u32) {
        if let Some(buffer) = buffer {
            self.ring.buffers.take(buffer, len);
            self.ring.buffers.give_back(buffer);
        }
    }

    /// Brings the ring in line with a connection's phase, and tells the shard if that freed its slot.
    pub(super) fn settle(&mut self, conn: ConnId) {
        if self.sockets.settle(conn, &mut self.ring) == Settled::Released {
            self.shard.handle(self.now, Input::Released(conn), &mut self.effects);
            self.apply();
        }
    }

    /// Handles what other threads put. Returns how many. Verdicts of another shard let in whoever waited for them, which is
    /// dear: behind so many of these the rest is the next turn's.
    fn on_mesh(&mut self) -> usize {
        let mut taken = 0;
        let upgraded = self.metrics.read(Metric::Upgraded);
        for lane in [Lane::Control, Lane::Data] {
            for _ in 0..TURN_MESH_ITEMS_MAX {
                if self.metrics.read(Metric::Upgraded) - upgraded >= TURN_ARRIVALS_MAX as u64 {
                    break;
                }
                let Some((from, parcel)) = self.inbox.try_take(lane) else { break };
                self.on_parcel(from, parcel);
                taken += 1;
            }
        }
        self.metrics.add(Metric::MeshReceived, taken as u64);
        taken
    }

    /// Handles what the store told. Returns how much.
    fn on_store(&mut self) -> usize {
        for taken in 0..TURN_STORE_ITEMS_MAX {
            let Some(notice) = self.storing.try_take() else { return taken };
            self.shard.handle(self.now, Input::Store(notice), &mut self.effects);
            self.apply();
        }
        TURN_STORE_ITEMS_MAX
    }

    fn on_parcel(&mut self, from: ShardId, parcel: Parcel) {
        match parcel {
            Parcel::Message(message) => {
                self.shard.handle(self.now, Input::Mesh(from, message), &mut self.effects);
            }
            Parcel::Adopt(passport, transport) => self.take_over(passport, transport),
            Parcel::Drain { window_ms } => self.drain(window_ms),
            Parcel::Drained => self.peers_open = self.peers_open.saturating_sub(1),
        }
        self.apply();
    }

    pub(super) fn drain(&mut self, window_ms: u64) {
        if self.drain_end.is_some() {
            return;
        }
        self.drain_end = Some(self.now.millis().after(window_ms.saturating_add(DRAIN_GRACE_MS)));
        let open_ms = match self.sharing {
            Sharing::Alone => window_ms,
            Sharing::WithOthers => 0,
        };
        self.doors_close = Some(self.now.millis().after(open_ms));
        self.shard.handle(self.now, Input::Drain(window_ms), &mut self.effects);
    }

    /// Whether everybody left in a drain.
    fn is_drained(&self) -> bool {
        let nobody = self.sockets.open() == 0 && self.crowd.adoptions() == 0;
        self.drain_end.is_some() && self.shard.drained() && nobody
    }

    /// Tells the others, each once, that nobody is left here. Who cannot be told now is told in a later turn.
    fn tell_drained(&mut self) {
        if self.is_drained() {
            let outbox = &mut self.outbox;
            self.untold.retain(|peer| outbox.try_put(*peer, Lane::Control, Parcel::Drained).is_err());
        }
    }

    /// Whether a drain is over: everybody left, here and on the other shards, or its time passed. Until then
    /// the channels at home here are served, since connections elsewhere are in them.
    fn is_over(&self) -> bool {
        let all_left =
            || self.is_drained() && self.untold.is_empty() && self.peers_open == 0 && self.storing.is_settled();
        self.drain_end.is_some_and(|end| self.now.millis() >= end || all_left())
    }

    /// Does what is due. Returns whether something was.
    pub(super) fn on_time(&mut self) -> bool {
        let now = self.now.millis();
        if self.deadline().is_none_or(|at| at > now) {
            return false;
        }
        if self.shard.next_deadline().is_some_and(|at| at <= now) {
            self.shard.on_time(self.now, &mut self.effects);
            self.apply();
        }
        while let Some(conn) = self.sockets.take_overdue(now) {
            self.settle(conn);
        }
        let closing = self.doors_close.take_if(|at| *at <= now).is_some();
        for door in &mut self.doors {
            door.on_time(now, &mut self.ring);
            if closing {
                door.close(&mut self.ring);
            }
        }
        true
    }

    /// When something is due next.
    fn deadline(&self) -> Option<Millis> {
        let doors = self.doors.iter().filter_map(Door::retry_at);
        [self.shard.next_deadline(), self.sockets.linger_until(), self.doors_close, self.drain_end]
            .into_iter()
            .flatten()
            .chain(doors)
            .min()
    }

    /// Sleeps until somebody has something for this shard or a deadline comes. Whoever puts something
    /// after the announcement wakes it, see [`crate::mesh::wake`].
    fn rest(&mut self) -> io::Result<()> {
        if self.spin_us > 0 && self.spin()? {
            self.now = self.clock.now();
            return Ok(());
        }
        let at_most =
            if self.kept.is_empty() && self.storing.is_settled() { PARK_MS_MAX } else { MESH_RETRY_MS } * 1000;
        let due = self.deadline().map_or(u64::MAX, |at| at.0.saturating_mul(1000));
        let micros = due.saturating_sub(self.now.micros).min(at_most);
        self.inbox.bell().announce();
        let parked = if self.inbox.is_empty() && self.storing.is_empty() && micros > 0 {
            self.metrics.count(Metric::Parks);
            self.ring.buffers.narrow();
            self.ring.park(Duration::from_micros(micros))
        } else {
            Ok(())
        };
        self.inbox.bell().rise();
        self.now = self.clock.now();
        parked
    }

    /// Looks out for work for a while before it sleeps. Returns whether there is any.
    fn spin(&mut self) -> io::Result<bool> {
        self.ring.submit()?;
        let until = self.now.micros + u64::from(self.spin_us);
        while self.clock.micros() < until {
            if self.ring.has_completions() || !self.inbox.is_empty() || !self.storing.is_empty() {
                return Ok(true);
            }
            std::hint::spin_loop();
        }
        Ok(false)
    }
}
