//! The disk: the store's rules over one in memory, slow, failing for a while, and with nothing left of what was not
//! committed when the process ends.

use std::collections::BTreeMap;

use waystation::ids::{Seq, ShardId};
use waystation::ledger::disk::Order;
use waystation::ledger::{Bounds, Memory, Model, Notice, Read, State, Trouble, event, page, past};
use waystation::shard::Input;

use super::counts::Kind;
use super::rng::Rng;
use super::world::World;

/// A store, and how it behaves in this seed.
#[derive(Debug)]
pub(crate) struct Storage {
    pub(crate) model: Model,
    /// How often it commits in a step.
    commit_percent: usize,
    /// What it told and did not bring yet.
    told: Vec<(ShardId, Notice)>,
    /// Steps until it works again.
    fails_for: usize,
}

impl Storage {
    pub(crate) fn new(disk: Memory, bounds: Bounds, rng: &mut Rng) -> Self {
        let fresh = State { generation: 0, stopped: None, key: [3; 16], id: 42 };
        let model = Model::start(disk, fresh, bounds).expect("a disk in memory is read");
        Self { model, commit_percent: rng.pick(&[5, 30, 90]), told: Vec::new(), fails_for: 0 }
    }

    /// Whether nobody waits for it.
    pub(crate) fn is_idle(&self) -> bool {
        self.told.is_empty() && self.model.is_idle()
    }
}

impl World {
    /// The store reads and commits, or does not.
    pub(crate) fn store_turn(&mut self) {
        let (calm, shards) = (self.calm, self.hosts.len());
        let Some(storage) = &mut self.storage else { return };
        if storage.fails_for > 0 {
            storage.fails_for = if calm { 0 } else { storage.fails_for - 1 };
            if storage.fails_for == 0 {
                storage.model.set_failing(false);
                storage.told.extend(all(shards).map(|shard| (shard, Notice::Working)));
            }
        } else if !calm && self.rng.below(400) == 0 {
            self.counts.count(Kind::StoreFailed);
            storage.fails_for = self.rng.within(1..=60);
            storage.model.set_failing(true);
            storage.told.extend(all(shards).map(|shard| (shard, Notice::Trouble(Trouble::Failing))));
        }
        if calm || self.rng.chance(60) {
            storage.told.extend(storage.model.serve());
        }
        if calm || self.rng.chance(storage.commit_percent) {
            let count = if calm { usize::MAX } else { self.rng.within(1..=40) };
            storage.told.extend(storage.model.commit(count, self.now.unix_ms));
        }
        if !(calm || self.rng.chance(70)) {
            return;
        }
        for (shard, notice) in std::mem::take(&mut storage.told) {
            match notice {
                Notice::Committed(_) => self.counts.count(Kind::Committed),
                Notice::Opened(_, Ok(ref past)) => {
                    self.counts.count(Kind::Opened);
                    self.ledger.opened(&past.line.name);
                }
                Notice::Page(..) => self.counts.count(Kind::Paged),
                _ => {}
            }
            self.input(shard.index(), Input::Store(notice));
        }
    }
}

fn all(shards: usize) -> impl Iterator<Item = ShardId> {
    (0..shards).map(|shard| ShardId(u16::try_from(shard).expect("a few shards")))
}

/// Whether a channel outlives the process, by the shipped policy.
pub(crate) fn is_durable(channel: &str) -> bool {
    ["chat:", "trip:", "notifications:"].iter().any(|prefix| channel.starts_with(prefix))
}

/// What is on the disk of a channel.
#[derive(Debug, Default)]
pub(crate) struct OnDisk {
    /// By position: the epoch, the user, and the operation's id.
    pub(crate) events: BTreeMap<u64, (String, String, String)>,
    /// Everything before it is trimmed.
    pub(crate) oldest: u64,
    /// When the first that is not was sequenced.
    pub(crate) oldest_ms: Option<u64>,
    /// Its epochs with their first and last event, trimmed or not.
    pub(crate) spans: Vec<(String, u64, u64)>,
}

impl OnDisk {
    pub(crate) fn read(disk: &Memory, channel: &str) -> Self {
        let Some((number, line)) = past::find_line(disk, channel).expect("a disk in memory is read") else {
            return Self::default();
        };
        let all = Read {
            channel: number,
            after: Seq(0),
            through: Seq(u64::MAX),
            order: Order::Forward,
            count: usize::MAX,
            bytes: usize::MAX,
        };
        let page = page::read_page(disk, &line, &all).expect("a disk in memory is read");
        assert!(page.damaged.is_empty(), "{channel} has holes: {:?}", page.damaged);
        let events = page.records.iter().map(|(seq, record)| {
            let (epoch, event) = event::read_event(number, *seq, record).expect("an event");
            (seq.0, (format!("{:016x}", epoch.0), event.user.to_owned(), event.op_id.to_owned()))
        });
        let oldest = line.oldest.map_or_else(|| line.last().0 + 1, |oldest| oldest.seq.0);
        let spans = line.spans.iter().map(|span| (format!("{:016x}", span.epoch.0), span.first.0, span.last.0));
        let oldest_ms = line.oldest.map(|oldest| oldest.unix_ms);
        Self { events: events.collect(), oldest, oldest_ms, spans: spans.collect() }
    }
}

impl World {
    /// Now and then the process ends at once: what was not committed is gone, and another starts on what is left.
    pub(crate) fn maybe_crash(&mut self) {
        if self.storage.is_none() || self.crashes == 0 || self.rng.below(150) != 0 {
            return;
        }
        self.crashes -= 1;
        self.counts.count(Kind::Crashed);
        let again = self.interrupt_erasure();
        let storage = self.storage.take().expect("it was there");
        let disk = storage.model.crash();
        for channel in self.ledger.channels() {
            let on_disk = if is_durable(&channel) { OnDisk::read(&disk, &channel) } else { OnDisk::default() };
            self.check_kept(&channel, &on_disk);
            self.ledger.forget_lost(&channel, on_disk, is_durable(&channel));
        }
        self.ledger.forget_progress();
        self.storage = Some(Storage::new(disk, self.retaining.bounds(), &mut self.rng));
        self.lose_sockets();
        self.start_shards();
        self.erase_again(again);
    }
}
