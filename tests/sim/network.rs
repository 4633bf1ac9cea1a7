//! The host's half: sockets, the mesh, and the effects done in order, with everything that may go wrong.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use waystation::ids::{ConnId, ShardId};
use waystation::limits::REPLAY_WRITES_PER_TURN;
use waystation::metrics::Metric;
use waystation::shard::effect::{Batch, Closing, Effect, Effects};
use waystation::shard::message::{Lane, MeshMessage, Passport};
use waystation::shard::{Input, Shard};

use super::counts::Kind;
use super::replays::{Reader, Spent};
use super::world::World;

/// A shard with its host.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) shard: Shard,
    pub(crate) effects: Effects,
    /// Which socket a connection is.
    sockets: BTreeMap<(u32, u32), usize>,
    /// Connections that are owed something, for this turn's flush.
    writes: Vec<ConnId>,
    /// Slots to be released, with the time.
    releases: Vec<(u64, ConnId)>,
    /// The fan-out has more to do.
    pub(crate) busy: bool,
}

impl Host {
    pub(crate) fn new(shard: Shard, shards: usize) -> Self {
        Self {
            shard,
            effects: Effects::new(shards),
            sockets: BTreeMap::new(),
            writes: Vec::new(),
            releases: Vec::new(),
            busy: false,
        }
    }
}

/// Both ends' buffers of a socket.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) client: usize,
    /// The shard and the connection, while a shard has it.
    place: Option<(usize, ConnId)>,
    streaming: bool,
    pub(crate) paused: bool,
    blocked: bool,
    pub(crate) to_server: Vec<u8>,
    /// The client closed its side after what is in `to_server`.
    pub(crate) closed: bool,
    pub(crate) to_client: Vec<u8>,
    capacity: usize,
    reader: Reader,
    /// Bytes that it has taken.
    taken: u64,
    /// Bytes that a short write has left over.
    left_over: usize,
    /// How the gateway ended it.
    pub(crate) ended: Option<Closing>,
    /// The client is done with it.
    pub(crate) left: bool,
}

impl Socket {
    /// Bytes that its shard has let go of: what they say cannot be taken back.
    pub(crate) const fn given(&self) -> u64 {
        self.taken + self.left_over as u64
    }
}

/// What waits on the way from one shard to another. Order holds within each lane.
#[derive(Debug, Default)]
pub(crate) struct Link {
    data: VecDeque<MeshMessage>,
    control: VecDeque<Control>,
}

#[derive(Debug)]
enum Control {
    Adopt(Box<Passport>, usize),
    Message(MeshMessage),
}

impl Link {
    pub(crate) fn is_empty(&self) -> bool {
        self.data.is_empty() && self.control.is_empty()
    }
}

impl World {
    /// Every socket is gone at once, as when the process at its other end is.
    pub(crate) fn lose_sockets(&mut self) {
        for number in std::mem::take(&mut self.live) {
            let socket = &mut self.sockets[number];
            (socket.closed, socket.left, socket.place) = (true, true, None);
            socket.ended = Some(Closing::Abort);
            socket.to_client.clear();
            socket.to_server.clear();
            let wait = self.rng.below(1_500_000) as u64;
            let client = &mut self.clients[socket.client];
            if client.socket == Some(number) {
                client.reset();
                client.wake_micros = self.now.micros + wait;
            }
        }
    }

    /// A client connects to a random shard. Returns the socket, if it was accepted.
    pub(crate) fn connect(&mut self, client: usize) -> Option<usize> {
        let host = self.rng.below(self.hosts.len());
        let address = SocketAddr::from(([127, 0, 0, 1], 1000));
        let at = &mut self.hosts[host];
        let id = at.shard.on_accept(self.now, address, &mut at.effects)?;
        self.counts.count(Kind::Accepted);
        let socket = self.sockets.len();
        at.sockets.insert((id.slot, id.generation), socket);
        let capacity = self.rng.pick(&[300, 4096, 65536]);
        self.sockets.push(Socket {
            client,
            place: Some((host, id)),
            streaming: false,
            paused: false,
            blocked: false,
            to_server: Vec::new(),
            closed: false,
            to_client: Vec::new(),
            capacity,
            reader: Reader::default(),
            taken: 0,
            left_over: 0,
            ended: None,
            left: false,
        });
        self.live.push(socket);
        self.apply(host);
        Some(socket)
    }

    pub(crate) fn input(&mut self, host: usize, input: Input<'_>) {
        let at = &mut self.hosts[host];
        at.shard.handle(self.now, input, &mut at.effects);
        self.apply(host);
    }

    /// Does what a shard asks for, in order; writes wait for the flush.
    pub(crate) fn apply(&mut self, host: usize) {
        let mut refused = Vec::new();
        for effect in std::mem::take(&mut self.hosts[host].effects.list) {
            self.trace.add(&[host.to_le_bytes()[0]]);
            match effect {
                Effect::Write(id) => self.hosts[host].writes.push(id),
                Effect::Stream(id) => self.stream(host, id),
                Effect::Pause(id) => {
                    self.counts.count(Kind::ReadingPaused);
                    self.change(host, id, |socket| socket.paused = true);
                }
                Effect::Resume(id) => self.change(host, id, |socket| socket.paused = false),
                Effect::Close(id, closing) => self.end(host, id, closing),
                Effect::HandOver(id, to, passport) => {
                    if let Err(id) = self.hand_over(host, id, to, passport) {
                        refused.push(id);
                    }
                }
                Effect::Admin(id, _) => {
                    let answer = b"HTTP/1.1 404 Not Found\r\n\r\n";
                    self.change(host, id, |socket| socket.to_client.extend(answer));
                    self.end(host, id, Closing::Linger);
                }
                Effect::Answer(answered) => self.operator.on_answer(*answered),
                Effect::Mesh(to, message) => self.put(host, to, message),
                Effect::Store(ticket, request) => {
                    let storage = self.storage.as_mut().expect("a store is asked where there is one");
                    storage.model.ask(shard_of(host), ticket, *request);
                }
                Effect::Read(ticket, read) => {
                    let storage = self.storage.as_mut().expect("a store is asked where there is one");
                    storage.model.read(shard_of(host), ticket, *read);
                }
            }
        }
        for id in refused {
            self.counts.count(Kind::HandOverRefused);
            self.input(host, Input::HandOverRefused(id));
        }
    }

    /// The connection stays here; away from its channel's home that is a spread.
    fn stream(&mut self, host: usize, id: ConnId) {
        let socket = self.hosts[host].sockets[&(id.slot, id.generation)];
        let own = self.clients[self.sockets[socket].client].own.as_deref();
        let shards = u16::try_from(self.hosts.len()).expect("a few shards");
        if own.is_some_and(|own| waystation::route::home(&self.config.key, own, shards).index() != host) {
            self.counts.count(Kind::SpreadJoin);
        }
        self.change(host, id, |socket| (socket.streaming, socket.paused) = (true, false));
    }

    fn change(&mut self, host: usize, id: ConnId, change: impl FnOnce(&mut Socket)) {
        let socket = self.hosts[host].sockets.get(&(id.slot, id.generation));
        change(&mut self.sockets[*socket.expect("an effect for a socket that is here")]);
    }

    /// The socket leaves its shard; the slot is released a little later.
    fn detach(&mut self, host: usize, id: ConnId) -> usize {
        let at = &mut self.hosts[host];
        let socket = at.sockets.remove(&(id.slot, id.generation)).expect("a socket that is here");
        let delay = self.rng.below(if self.calm { 1000 } else { 200_000 }) as u64;
        at.releases.push((self.now.micros + delay, id));
        self.sockets[socket].place = None;
        socket
    }

    fn end(&mut self, host: usize, id: ConnId, closing: Closing) {
        let socket = self.detach(host, id);
        let socket = &mut self.sockets[socket];
        socket.ended = Some(closing);
        socket.to_server.clear();
        if closing == Closing::Abort {
            socket.to_client.clear();
        }
    }

    fn hand_over(&mut self, host: usize, id: ConnId, to: ShardId, passport: Box<Passport>) -> Result<(), ConnId> {
        let link = self.link(host, to.index());
        if self.links[link].control.len() >= self.config.control_max && !self.calm {
            return Err(id);
        }
        self.counts.count(Kind::HandedOver);
        let socket = self.detach(host, id);
        self.links[link].control.push_back(Control::Adopt(passport, socket));
        Ok(())
    }

    pub(crate) fn link(&self, from: usize, to: usize) -> usize {
        from * self.hosts.len() + to
    }

    fn put(&mut self, host: usize, to: ShardId, message: MeshMessage) {
        assert_ne!(host, to.index(), "a message to oneself");
        match &message {
            MeshMessage::Attach { .. } => self.counts.count(Kind::Attached),
            MeshMessage::Answer(_) => self.counts.count(Kind::CrossShardAck),
            _ => {}
        }
        let link = self.link(host, to.index());
        match message.lane() {
            Lane::Control => self.links[link].control.push_back(Control::Message(message)),
            Lane::Data => self.links[link].data.push_back(message),
        }
        self.note_congestion(host, to.index());
        let bound = self.config.mesh_max * 4 + 256;
        assert!(self.links[link].data.len() <= bound, "the mesh is bounded: {}", self.links[link].data.len());
    }

    fn note_congestion(&mut self, from: usize, to: usize) {
        let full = self.links[self.link(from, to)].data.len() >= self.config.mesh_max;
        self.hosts[from].effects.set_congested(ShardId(u16::try_from(to).expect("a shard")), full);
    }

    /// Some links deliver, others wait.
    pub(crate) fn deliver_mesh(&mut self) {
        for link in 0..self.links.len() {
            let (from, to) = (link / self.hosts.len(), link % self.hosts.len());
            if self.links[link].is_empty() || !(self.calm || self.rng.chance(self.config.link_percent)) {
                continue;
            }
            let many = if self.calm { usize::MAX } else { self.rng.within(1..=12) };
            for _ in 0..many {
                let Some(control) = self.links[link].control.pop_front() else { break };
                self.deliver_control(from, to, control);
            }
            for _ in 0..many {
                let Some(message) = self.links[link].data.pop_front() else { break };
                self.note_congestion(from, to);
                let from = ShardId(u16::try_from(from).expect("a shard"));
                self.input(to, Input::Mesh(from, message));
            }
        }
    }

    fn deliver_control(&mut self, from: usize, to: usize, control: Control) {
        match control {
            Control::Message(message) => {
                let from = ShardId(u16::try_from(from).expect("a shard"));
                self.input(to, Input::Mesh(from, message));
            }
            Control::Adopt(passport, socket) => {
                let at = &mut self.hosts[to];
                match at.shard.on_adopt(self.now, passport, &mut at.effects) {
                    Ok(id) => {
                        at.sockets.insert((id.slot, id.generation), socket);
                        (self.sockets[socket].place, self.sockets[socket].paused) = (Some((to, id)), false);
                        self.apply(to);
                    }
                    Err(_) => self.sockets[socket].ended = Some(Closing::Abort),
                }
            }
        }
    }

    /// Bytes, closes and writability of every socket that a shard has.
    pub(crate) fn deliver_bytes(&mut self) {
        for index in 0..self.live.len() {
            let number = self.live[index];
            let socket = &mut self.sockets[number];
            let Some((host, id)) = socket.place else { continue };
            if socket.blocked && socket.to_client.len() * 2 <= socket.capacity && self.rng.chance(70) {
                socket.blocked = false;
                self.input(host, Input::Writable(id));
            }
            self.receive(number);
            let socket = &self.sockets[number];
            if socket.closed && socket.to_server.is_empty() && !socket.paused && socket.place == Some((host, id)) {
                self.input(host, Input::Gone(id));
            }
        }
    }

    fn receive(&mut self, number: usize) {
        let socket = &mut self.sockets[number];
        let Some((host, id)) = socket.place else { return };
        // What was in flight when reading was paused may still arrive.
        let open = !socket.paused || self.rng.chance(2);
        if socket.to_server.is_empty() || !open || !(self.calm || self.rng.chance(70)) {
            return;
        }
        let all = socket.to_server.len();
        let take = match self.rng.below(10) {
            0 => 1,
            1..=4 => self.rng.within(1..=all.min(100)),
            _ => all,
        };
        let rest = socket.to_server.split_off(take);
        let mut bytes = std::mem::replace(&mut socket.to_server, rest);
        self.input(host, Input::Bytes(id, &mut bytes));
        let socket = &self.sockets[number];
        if socket.to_server.is_empty() && !socket.paused && !self.config.crowd {
            let client = &mut self.clients[socket.client];
            let under_way = [client.input.as_slice(), &socket.to_client].concat();
            let under_way = if client.pings.wait() { frames_in(under_way) } else { 0 };
            client.pings.read_by_gateway(under_way);
        }
    }

    /// One turn of every shard: deadlines, visits, writes, releases.
    pub(crate) fn turn(&mut self) {
        for host in 0..self.hosts.len() {
            let at = &mut self.hosts[host];
            if at.shard.next_deadline().is_some_and(|deadline| deadline <= self.now.millis()) {
                at.shard.on_time(self.now, &mut at.effects);
            }
            let others_wait = self.rng.chance(50);
            at.busy = at.shard.fan_out(self.now, others_wait, &mut at.effects);
            self.apply(host);
            self.flush(host);
            // A host does not sleep while somebody waits for a turn.
            for _ in 0..if self.calm { TURNS_AT_ONCE } else { 0 } {
                let at = &mut self.hosts[host];
                if !at.shard.has_behind() {
                    break;
                }
                at.busy = at.shard.fan_out(self.now, false, &mut at.effects);
                self.apply(host);
                self.flush(host);
            }
            let now = self.now.micros;
            let due = |(at, _): &mut (u64, ConnId)| *at <= now;
            let released: Vec<_> = self.hosts[host].releases.extract_if(.., due).collect();
            for (_, id) in released {
                self.input(host, Input::Released(id));
            }
        }
    }

    /// One fill and one send for each connection that is owed something, and then for those who are behind.
    fn flush(&mut self, host: usize) {
        for id in std::mem::take(&mut self.hosts[host].writes) {
            let begun = self.left_over(host, id);
            if let Some((socket, all, taken)) = self.write(host, id) {
                let reader = &mut self.sockets[socket].reader;
                if begun > 0 { reader.last(&all[..taken]) } else { reader.live(&all, taken) }
            }
        }
        let mut spent = Spent::default();
        while let Some(id) = self.hosts[host].shard.next_behind() {
            if let Some((socket, all, taken)) = self.write(host, id) {
                spent.write(all.len(), (self.config.replay_bytes, REPLAY_WRITES_PER_TURN));
                self.sockets[socket].reader.behind(&all[..taken]);
            }
        }
        self.hosts[host].busy |= self.hosts[host].shard.has_behind();
        self.apply(host);
    }

    /// How many bytes of the last write to a connection were not taken.
    fn left_over(&self, host: usize, id: ConnId) -> usize {
        let number = self.hosts[host].sockets.get(&(id.slot, id.generation));
        number.map_or(0, |number| self.sockets[*number].left_over)
    }

    /// Returns the socket, what was to be written to it and how much it took; `None` if nothing was.
    fn write(&mut self, host: usize, id: ConnId) -> Option<(usize, Vec<u8>, usize)> {
        let at = &mut self.hosts[host];
        let number = at.sockets.get(&(id.slot, id.generation)).copied()?;
        let socket = &mut self.sockets[number];
        let mut batch = Batch::default();
        at.shard.fill(self.now, id, &mut batch);
        if batch.is_empty() {
            return None;
        }
        assert!(!socket.blocked, "a blocked socket is not written to");
        let capacity = if self.calm { usize::MAX } else { socket.capacity };
        let room = capacity.saturating_sub(socket.to_client.len()).min(batch.bytes());
        let take = match self.rng.below(100) {
            0..=7 if !self.calm => self.rng.below(room + 1),
            8..=9 if !self.calm => 0,
            _ => room,
        };
        let all = batch.slices().collect::<Vec<_>>().concat();
        assert_eq!(all.len(), batch.bytes());
        self.trace.add(&all[..take]);
        if !socket.left {
            socket.to_client.extend_from_slice(&all[..take]);
        }
        socket.blocked = take < all.len();
        socket.taken += take as u64;
        socket.left_over = all.len() - take;
        if socket.blocked {
            self.counts.count(if take == 0 { Kind::NothingTaken } else { Kind::ShortWrite });
        }
        at.shard.written(self.now, id, &mut batch, take, &mut at.effects);
        assert!(batch.is_empty(), "what was not taken is kept");
        Some((number, all, take))
    }

    /// The sum of a number over all shards.
    pub(crate) fn sum(&self, metric: Metric) -> u64 {
        self.hosts.iter().map(|host| host.shard.metrics().read(metric)).sum()
    }
}

/// Turns that a host makes in a step once the faults have stopped: more than any backlog takes.
const TURNS_AT_ONCE: usize = 100_000;

fn shard_of(host: usize) -> ShardId {
    ShardId(u16::try_from(host).expect("a few shards"))
}

/// How many frames these bytes hold or begin.
fn frames_in(mut bytes: Vec<u8>) -> u64 {
    let whole = std::iter::from_fn(|| super::wire::take_frame(&mut bytes)).count();
    whole as u64 + 1
}
