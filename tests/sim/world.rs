//! One seed's world: shards, links, sockets, clients, and the clock that they share.

use waystation::auth::token::{Key, Keys, Verifier};
use waystation::ids::ShardId;
use waystation::ledger::Memory;
use waystation::limits::{OUTBOX_BYTES_MAX, REPLAY_BYTES_PER_TURN};
use waystation::metrics::{Metric, Metrics};
use waystation::shard::effect::Closing;
use waystation::shard::{Input, Options, Shard};
use waystation::time::Now;

use super::backend::Backend;
use super::client::{Client, Phase};
use super::counts::{Counts, Kind};
use super::invariants::{Ledger, Op};
use super::network::{Host, Link, Socket};
use super::operator::Operator;
use super::retention::Retaining;
use super::rng::{Rng, Trace};
use super::storage::Storage;

/// The secret that the clients' tokens are signed with.
pub(crate) const SECRET: &[u8] = b"a secret of the simulator, 32 bytes or more";

/// What differs between seeds besides chance.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) shards: usize,
    pub(crate) clients: usize,
    pub(crate) steps: usize,
    /// Messages on a link from which it counts as full.
    pub(crate) mesh_max: usize,
    /// Hand-overs on a link beyond which they are refused.
    pub(crate) control_max: usize,
    /// How often a link delivers in a step.
    pub(crate) link_percent: usize,
    pub(crate) unlimited: bool,
    /// A drain meets clients that go on as before.
    pub(crate) drain: Option<bool>,
    /// One big room instead of many.
    pub(crate) crowd: bool,
    /// The key of the hashes that place channels.
    pub(crate) key: [u8; 16],
    hot_members: usize,
    /// Bytes that a turn spends on those who are behind.
    pub(crate) replay_bytes: usize,
}

impl Config {
    fn new(seed: u64, rng: &mut Rng) -> Self {
        let crowd = seed % 4 == 3;
        Self {
            shards: rng.within(2..=4),
            clients: if crowd { rng.within(80..=110) } else { rng.within(12..=26) },
            steps: if crowd { 400 } else { 1100 },
            mesh_max: rng.pick(&[3, 8, 64]),
            control_max: rng.pick(&[1, 2, 16]),
            link_percent: rng.pick(&[12, 40, 80]),
            unlimited: !seed.is_multiple_of(3),
            drain: rng.pick(&[None, Some(false), Some(true)]),
            crowd,
            key: [seed.to_le_bytes()[0]; 16],
            hot_members: if crowd { rng.pick(&[20, 200]) } else { rng.pick(&[4, 8]) },
            replay_bytes: [300, 5_000, REPLAY_BYTES_PER_TURN][usize::try_from(seed / 4 % 3).unwrap_or(0)],
        }
    }
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) now: Now,
    pub(crate) config: Config,
    pub(crate) key: Key,
    pub(crate) hosts: Vec<Host>,
    pub(crate) links: Vec<Link>,
    pub(crate) sockets: Vec<Socket>,
    /// Sockets whose client is still there.
    pub(crate) live: Vec<usize>,
    pub(crate) clients: Vec<Client>,
    pub(crate) ledger: Ledger,
    pub(crate) counts: Counts,
    pub(crate) trace: Trace,
    /// The store, if there is one.
    pub(crate) storage: Option<Storage>,
    /// Who erases.
    pub(crate) operator: Operator,
    /// How often the process may still end at once.
    pub(crate) crashes: usize,
    pub(crate) options: Options,
    /// How much is kept.
    pub(crate) retaining: Retaining,
    /// Faults have stopped: links deliver, sockets take everything, clients read.
    pub(crate) calm: bool,
    pub(crate) serials: u64,
    /// Connections that were open when the drain began.
    draining: Vec<u64>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let config = Config::new(seed, &mut rng);
        let key = Key::hs256(None, SECRET);
        let keys = Keys::new(vec![key.clone()]).expect("one key");
        let now = Now { micros: 0, unix_ms: START_UNIX_MS };
        let verifier = Verifier { keys, ..Verifier::default() };
        let mut retaining = Retaining::new(&mut rng);
        let bounds = retaining.bounds();
        let storage = (!seed.is_multiple_of(3)).then(|| Storage::new(Memory::default(), bounds, &mut rng));
        let mut options = Options {
            operations: [3; 16],
            stores: storage.is_some(),
            shards: u16::try_from(config.shards).expect("a few shards"),
            unlimited: config.unlimited,
            connections_max: 1000,
            sockets_max: 1000,
            channels_max: 1 << 10,
            history_bytes_max: 1 << 30,
            hot_members: config.hot_members,
            replay_bytes_per_turn: config.replay_bytes,
            ..Options::embedded(config.key, verifier)
        };
        retaining.begin_anew(&mut options);
        let crashes = if storage.is_some() { rng.below(8) } else { 0 };
        let shard = |index: u16| Shard::new(ShardId(index), options.clone(), Metrics::shared(), now);
        let hosts = (0..options.shards).map(|index| Host::new(shard(index), config.shards)).collect();
        let service = |index: usize| {
            let group = [None, Some("g"), Some("g")][index];
            let mut client = Client::new(format!("svc{index}"), false);
            client.backend = Some(Box::new(Backend::new(group)));
            client
        };
        let client = |index: usize| Client::new(format!("u{}", index / 2), index.is_multiple_of(3));
        Self {
            rng,
            now,
            key,
            hosts,
            links: (0..config.shards * config.shards).map(|_| Link::default()).collect(),
            sockets: Vec::new(),
            live: Vec::new(),
            clients: (0..config.clients).map(client).chain((0..SERVICES).map(service)).collect(),
            ledger: Ledger::new(storage.is_some()),
            counts: Counts::default(),
            trace: Trace::default(),
            storage,
            operator: Operator::default(),
            crashes,
            options,
            retaining,
            calm: false,
            serials: 0,
            draining: Vec::new(),
            config,
        }
    }

    /// Another process, with a key of its own for what need not be the same.
    pub(crate) fn start_shards(&mut self) {
        self.config.shards = self.rng.within(2..=4);
        self.config.key = std::array::from_fn(|_| self.rng.below(256).to_le_bytes()[0]);
        self.options.key = self.config.key;
        self.retaining.begin_anew(&mut self.options);
        self.options.shards = u16::try_from(self.config.shards).expect("a few shards");
        let (options, now, shards) = (&self.options, self.now, self.config.shards);
        let shard = |index: u16| Shard::new(ShardId(index), options.clone(), Metrics::shared(), now);
        self.hosts = (0..options.shards).map(|index| Host::new(shard(index), shards)).collect();
        self.links = (0..shards * shards).map(|_| Link::default()).collect();
    }

    /// Lives the seed through: chaos, calm, end.
    pub(crate) fn run(&mut self) {
        for _ in 0..self.config.steps {
            let micros = match self.rng.below(100) {
                0..=79 => self.rng.below(2_000),
                80..=97 => self.rng.below(50_000),
                _ => self.rng.below(3_000_000),
            };
            self.work();
            self.maybe_erase();
            self.step(micros as u64);
            self.maybe_crash();
        }
        self.settle();
        self.finish();
        self.tally();
        self.check_disk();
    }

    /// Everything moves once.
    pub(crate) fn step(&mut self, micros: u64) {
        self.now.micros += micros;
        self.now.unix_ms = START_UNIX_MS + self.now.micros / 1000;
        self.deliver_bytes();
        self.deliver_mesh();
        self.reload();
        self.store_turn();
        self.operate();
        self.turn();
        self.read();
        for host in &self.hosts {
            let metrics = host.shard.metrics();
            let bound = metrics.read(Metric::Connections) * (OUTBOX_BYTES_MAX as u64 + 4096);
            assert!(metrics.read(Metric::OutboxBytes) <= bound, "the outboxes are bounded");
        }
    }

    /// Clients take what has come, as far as they read at all.
    fn read(&mut self) {
        for number in self.live.clone() {
            let socket = &mut self.sockets[number];
            let client = &mut self.clients[socket.client];
            let asleep = client.never_reads || client.asleep_until > self.now.micros;
            if !self.calm && (asleep || self.rng.chance(15)) && socket.ended != Some(Closing::Abort) {
                continue;
            }
            let some = if self.calm || self.rng.chance(60) { usize::MAX } else { self.rng.below(2000) };
            let take = socket.to_client.len().min(some);
            let rest = socket.to_client.split_off(take);
            client.input.append(&mut std::mem::replace(&mut socket.to_client, rest));
            client.read(&mut self.ledger, &mut self.counts);
            let mut sent = Vec::new();
            for payload in client.pongs.drain(..) {
                super::wire::write_frame(0x8a, &payload, &mut self.rng, &mut sent);
            }
            for reply in client.replies.drain(..) {
                super::wire::write_text(&reply, &mut self.rng, &mut sent);
            }
            if let Some(backend) = client.backend.as_mut().filter(|_| self.calm) {
                while backend.lazy_until <= self.now.micros
                    && let Some(ack) = backend.ack(0, client.serial, &mut self.ledger)
                {
                    super::wire::write_text(&ack, &mut self.rng, &mut sent);
                }
                for (id, echo) in backend.work.drain(..) {
                    let text = super::workload::response_text(&id, &echo);
                    super::wire::write_text(&text, &mut self.rng, &mut sent);
                }
            }
            if !socket.closed {
                socket.to_server.extend(sent);
            }
            socket.closed |= matches!(client.phase, Phase::Over | Phase::Refused);
            if socket.ended.is_some() && socket.to_client.is_empty() {
                self.hang_up(number);
            }
        }
        let sockets = &self.sockets;
        self.live.retain(|number| !sockets[*number].left || sockets[*number].ended.is_none());
    }

    /// The connection is over for its client.
    fn hang_up(&mut self, number: usize) {
        let wait = self.rng.below(2_000_000) as u64;
        let socket = &mut self.sockets[number];
        if std::mem::replace(&mut socket.left, true) {
            return;
        }
        let client = &mut self.clients[socket.client];
        if self.draining.contains(&client.serial) && self.calm {
            let excused = client.refreshed || client.expires_ms <= self.now.unix_ms;
            assert!(excused || client.told_draining, "closed in a drain without a word: {client:?}");
        }
        client.reset();
        client.wake_micros = self.now.micros + wait;
    }

    /// A client goes away without a word, or after its close frame.
    pub(crate) fn drop_connection(&mut self, client: usize) {
        let Some(number) = self.clients[client].socket else { return };
        let wait = self.rng.below(1_500_000) as u64;
        let socket = &mut self.sockets[number];
        (socket.closed, socket.left) = (true, true);
        socket.to_client.clear();
        let client = &mut self.clients[client];
        client.reset();
        client.wake_micros = self.now.micros + wait;
    }

    /// After the faults everything pending completes within a bound.
    fn settle(&mut self) {
        self.calm = true;
        for client in &mut self.clients {
            (client.never_reads, client.asleep_until) = (false, 0);
            if let Some(backend) = client.backend.as_mut().filter(|_| self.rng.chance(85)) {
                backend.lazy_until = self.now.micros + 36_000_000;
            }
        }
        for _ in 0..60 {
            self.step(20_000);
        }
        for second in 0..300 {
            let sockets = &self.sockets;
            let unread = |number: &usize| {
                let client = &self.clients[sockets[*number].client];
                let done = client.backend.as_ref().is_none_or(|backend| backend.is_done());
                let waits =
                    !(client.awaited.is_empty() && client.requests.is_empty() && client.asked.is_empty() && done);
                let socket = &sockets[*number];
                !socket.to_server.is_empty() || socket.paused || client.phase == Phase::Open && waits
            };
            // Long enough in any case for the silent to be pinged, and for a group's consumer to be late.
            if second > 40 && self.operator.is_idle() && !self.live.iter().any(unread) {
                break;
            }
            self.step(1_000_000);
        }
        // Until nobody is missed any more who was cut off, or whose token ended in the last moment.
        for _ in 0..20 {
            let open = self.live.len();
            (0..7).for_each(|_| self.step(1_000_000));
            (0..20).for_each(|_| self.step(20_000));
            if self.live.len() == open {
                break;
            }
        }
        // Memberships of services that have been quiet for long end at any time; what that brings is soon over. Between
        // two messages the store may read for somebody, whose answer comes some steps later.
        let mut quiet = 0;
        for _ in 0..100 {
            let is_quiet = self.links.iter().all(Link::is_empty) && self.storage.as_ref().is_none_or(Storage::is_idle);
            quiet = if is_quiet { quiet + 1 } else { 0 };
            if quiet > 5 {
                break;
            }
            self.step(20_000);
        }
        assert!(self.operator.is_idle(), "every erasure is answered: {:?}", self.operator);
        assert!(!self.hosts.iter().any(|host| host.shard.has_behind()), "nobody waits for a turn for ever");
        for client in self.clients.iter().filter(|client| client.phase == Phase::Open) {
            self.check_settled(client);
        }
        let full: Vec<&Link> = self.links.iter().filter(|link| !link.is_empty()).collect();
        assert!(full.is_empty(), "the mesh is empty: {full:?}");
        self.ledger.check_holes();
        let services = self.clients.iter().filter(|client| client.phase == Phase::Open);
        let present: Vec<String> = services
            .filter_map(|client| client.backend.as_ref().filter(|one| one.subscribed).map(|one| one.key(client.serial)))
            .collect();
        self.ledger.check_groups(&present.iter().map(String::as_str).collect::<Vec<_>>());
    }

    fn check_settled(&self, client: &Client) {
        let late = self.now.unix_ms.saturating_sub(client.expires_ms);
        assert!(late <= 1500, "a token has been over for {late} ms: {client:?}");
        let unanswered = |op: &&Op| op.id.as_ref().is_some_and(|id| client.awaited.contains_key(id));
        let unanswered: Vec<&Op> = self.ledger.ops.iter().filter(unanswered).collect();
        assert!(client.awaited.is_empty(), "never answered: {unanswered:?} {client:?}");
        let pings = &client.pings;
        assert!(!pings.unanswered(self.sum(Metric::OutboxDropped)), "never answered: {pings:?}");
        assert!(client.requests.is_empty(), "never answered: {:?}", client.requests);
        assert!(client.asked.is_empty(), "never answered: {:?} {client:?}", client.asked);
        for (channel, part) in &client.parts {
            assert!(part.ask.is_none(), "asked for {channel}, never told: {part:?} {}", client.serial);
            let Some(joined) = &part.joined else { continue };
            assert!(!(client.narrow && channel.starts_with("trip:")), "in {channel} although its token forbids it");
            self.check_company(client, channel);
            for seq in self.ledger.numbers(channel, joined.expected..self.ledger.last(channel, &joined.epoch) + 1) {
                let lacks = self.ledger.may_lack(channel, &joined.epoch, seq, client.serial);
                assert!(lacks, "{channel} {seq} never came: {joined:?} {}", client.serial);
            }
        }
    }

    /// What a client was told of the others in a channel is what is so.
    fn check_company(&self, client: &Client, channel: &str) {
        assert!(client.company.writers().is_empty(), "nobody writes any more: {:?}", client.company);
        let is_in = |other: &&Client| {
            let joined = other.parts.get(channel).is_some_and(|part| part.joined.is_some());
            other.phase == Phase::Open && joined
        };
        let mut users: Vec<&str> = self.clients.iter().filter(is_in).map(|other| other.user.as_str()).collect();
        users.sort_unstable();
        let may_see = ["chat:", "trip:"].iter().any(|prefix| channel.starts_with(prefix));
        if client.named && may_see {
            assert_eq!(client.company.users(channel), Some(users), "{channel}: {client:?}");
        } else if channel.starts_with("trip:") && may_see {
            users.dedup();
            assert_eq!(client.company.collaborators(channel), Some(users), "{channel}: {client:?}");
        }
    }

    /// A drain, or everybody leaves; then nothing may be left.
    fn finish(&mut self) {
        let open = |client: &Client| client.phase == Phase::Open;
        if let Some(busy) = self.config.drain {
            self.draining = self.clients.iter().filter(|client| open(client)).map(|client| client.serial).collect();
            self.calm = !busy;
            for host in 0..self.hosts.len() {
                self.input(host, Input::Drain(2000));
                self.step(30_000);
            }
            for _ in 0..if busy { 60 } else { 0 } {
                self.work();
                self.step(10_000);
            }
            self.calm = true;
        }
        for _ in 0..200 {
            if self.config.drain.is_none() {
                (0..self.clients.len()).for_each(|client| self.drop_connection(client));
            }
            self.step(50_000);
        }
        for host in &self.hosts {
            assert_eq!(host.shard.sockets(), 0, "no socket is left");
            assert_eq!(host.shard.drained(), self.config.drain.is_some());
            for gauge in [Metric::Connections, Metric::Sockets, Metric::Memberships, Metric::OutboxBytes] {
                assert_eq!(host.shard.metrics().read(gauge), 0, "{gauge:?} is back at nothing");
            }
        }
    }

    fn tally(&mut self) {
        let rate = self.sum(Metric::RefusedRate);
        let full = self.sum(Metric::MeshFull);
        let slow = self.sum(Metric::ClosedSlow);
        let late = self.sum(Metric::ReplaysLate);
        self.counts.add(Kind::ReplayLate, late);
        self.counts.add(Kind::CutOff, slow);
        self.counts.add(Kind::RateRefused, rate);
        self.counts.add(Kind::MeshFull, full);
    }
}

/// Services beside the clients.
const SERVICES: usize = 3;

const START_UNIX_MS: u64 = 1_795_000_000_000;
