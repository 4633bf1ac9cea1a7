//! How much is kept of which channel: two patterns with bounds of different kinds, other ones now and then, which each
//! shard and the store hear of when it suits them, and what is on the disk is held against all that ever held.

use std::sync::Arc;

use waystation::auth::{Extent, Pattern, Policy, PolicyRow};
use waystation::ids::ShardId;
use waystation::ledger::Bounds;
use waystation::limits::TRIM_SLACK_EVENTS_MIN;
use waystation::room::history::{Held, Retention};
use waystation::shard::message::MeshMessage;
use waystation::shard::retaining::bounds_of;
use waystation::shard::rules::Rules;
use waystation::shard::{Input, Options};

use super::counts::Kind;
use super::rng::Rng;
use super::storage::OnDisk;
use super::world::World;

/// What the operator says, and who has not heard of it.
#[derive(Debug)]
pub(crate) struct Retaining {
    /// Events of a chat.
    count: usize,
    /// Age of what is in a trip.
    age_ms: u64,
    pub(crate) usual: Retention,
    pub(crate) held: Held,
    /// The least that ever was said of either.
    least: (usize, u64),
    generation: u32,
    untold: Vec<usize>,
    untold_store: bool,
}

impl Retaining {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let mut new = Self {
            count: 0,
            age_ms: 0,
            usual: Retention { count: 0, bytes: 1 << 20, age_ms: rng.pick(&[15_000, DAY_MS]) },
            held: Held { count: 0, bytes: 1 << 20 },
            least: (usize::MAX, u64::MAX),
            generation: 1,
            untold: Vec::new(),
            untold_store: false,
        };
        new.choose(rng);
        new
    }

    fn choose(&mut self, rng: &mut Rng) {
        (self.count, self.age_ms) = (rng.pick(&[5, 20, 60]), rng.pick(&[8_000, 30_000, DAY_MS]));
        (self.usual.count, self.held.count) = (rng.pick(&[3, 12, 100]), rng.pick(&[3, 12, 100]));
        self.least = (self.least.0.min(self.count), self.least.1.min(self.age_ms));
    }

    pub(crate) fn policy(&self) -> Arc<Policy> {
        let row = |pattern: &str, count, age_ms| {
            let extent = Extent { count: Some(count), bytes: Some(1 << 30), age_ms: Some(age_ms) };
            PolicyRow { extent, ..PolicyRow::new(Pattern::parse(pattern).expect("a pattern")) }
        };
        let rows = [
            row("chat:*", self.count, DAY_MS),
            row("trip:*", 100_000, self.age_ms),
            row("notifications:*", 50, DAY_MS),
        ];
        Arc::new(Policy::with_rows(&rows).expect("rows"))
    }

    pub(crate) fn bounds(&self) -> Bounds {
        bounds_of(self.policy(), self.usual)
    }

    /// Another process has read what is said now.
    pub(crate) fn begin_anew(&mut self, options: &mut Options) {
        (self.generation, self.untold_store) = (1, false);
        self.untold.clear();
        (options.policy, options.retention, options.held) = (self.policy(), self.usual, self.held);
    }
}

const DAY_MS: u64 = 86_400_000;

impl World {
    /// Now and then other bounds are said, and somebody hears of the latest.
    pub(crate) fn reload(&mut self) {
        if !self.calm && self.rng.below(200) == 0 {
            self.counts.count(Kind::Reloaded);
            self.retaining.choose(&mut self.rng);
            self.retaining.generation += 1;
            (self.retaining.untold, self.retaining.untold_store) = ((0..self.hosts.len()).collect(), true);
        }
        for host in self.retaining.untold.clone() {
            if self.calm || self.rng.chance(20) {
                self.retaining.untold.retain(|other| *other != host);
                let rules = MeshMessage::Rules(Arc::new(self.rules()));
                self.input(host, Input::Mesh(ShardId(u16::MAX), rules));
            }
        }
        let (bounds, now) = (self.retaining.bounds(), self.now.unix_ms);
        let Some(storage) = &mut self.storage else { return };
        if self.retaining.untold_store && (self.calm || self.rng.chance(20)) {
            self.retaining.untold_store = false;
            storage.model.set_bounds(bounds);
        }
        if self.rng.chance(2) {
            storage.model.sweep(now).expect("a disk in memory is read");
        }
    }

    fn rules(&self) -> Rules {
        Rules {
            generation: self.retaining.generation,
            policy: self.retaining.policy(),
            origins: Arc::clone(&self.options.origins),
            limits: self.options.limits,
            unlimited: self.options.unlimited,
            connections_max: self.options.connections_max,
            retention: self.retaining.usual,
            held: self.retaining.held,
        }
    }

    /// Nothing of a channel has gone that lay within all bounds that ever were.
    pub(crate) fn check_kept(&mut self, channel: &str, on_disk: &OnDisk) {
        // The epoch of what has gone last is remembered.
        let has_trimmed = on_disk.spans.first().is_some_and(|(_, first, _)| *first < on_disk.oldest);
        if !has_trimmed || self.ledger.was_ever_erased(channel) {
            return;
        }
        self.counts.count(Kind::TrimmedOnDisk);
        let (count, age_ms) = self.retaining.least;
        if channel.starts_with("chat:") {
            let kept = on_disk.events.len();
            assert!(kept >= count, "{channel} has {kept} events, never less than {count} were to be kept");
        } else if channel.starts_with("trip:") {
            let since = self.now.micros.saturating_sub(age_ms * 1000);
            let gone = self.ledger.acked_before(channel, on_disk.oldest, since);
            assert!(gone.is_empty(), "{channel} from {}: gone before {age_ms} ms: {gone:?}", on_disk.oldest);
        }
    }

    /// At the end, when everything over its bounds was looked at: nothing is left that lies well beyond them.
    pub(crate) fn check_disk(&mut self) {
        let Some(mut storage) = self.storage.take() else { return };
        storage.model.set_failing(false);
        storage.model.sweep(self.now.unix_ms).expect("a disk in memory is read");
        (0..100).for_each(|_| drop(storage.model.commit(usize::MAX, self.now.unix_ms)));
        let disk = storage.model.crash();
        for channel in self.ledger.channels() {
            let on_disk = OnDisk::read(&disk, &channel);
            self.check_kept(&channel, &on_disk);
            let kept = on_disk.events.len();
            if channel.starts_with("chat:") {
                let slack = (self.retaining.count / 4).max(usize::try_from(TRIM_SLACK_EVENTS_MIN).expect("a few"));
                assert!(kept <= self.retaining.count + slack, "{channel} has {kept} of {}", self.retaining.count);
            } else if channel.starts_with("trip:") {
                let age_ms = on_disk.oldest_ms.map_or(0, |unix_ms| self.now.unix_ms - unix_ms);
                let most = self.retaining.age_ms + self.retaining.age_ms / 8;
                assert!(age_ms <= most, "{channel} reaches back {age_ms} ms of {most}");
            }
        }
    }
}
