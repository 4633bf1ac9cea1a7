//! All shards' numbers, read at one time.

use std::sync::Arc;

use super::spread::Spread;
use crate::admin::process;
use crate::ids::ShardId;
use crate::limits::MATRIX_SHARDS_MAX;
use crate::mesh::{Traffic, depth};
use crate::metrics::store::{StoreNumber, StoreNumbers};
use crate::metrics::{Metric, Metrics, Timing};

/// One reading.
#[derive(Clone, Debug, Default)]
pub(super) struct Reading {
    /// When, in microseconds since the start.
    pub(super) micros: u64,
    pub(super) shards: Vec<OfShard>,
    /// What each has put to each, and how much of it lies there.
    pub(super) mesh: Vec<Vec<(u64, u64)>>,
    /// Seconds of processor time of the process.
    pub(super) cpu_s: Option<f64>,
    /// Its memory.
    pub(super) rss_bytes: Option<f64>,
    /// The store's numbers, if there is one.
    pub(super) store: Option<OfStore>,
}

/// The store's numbers.
#[derive(Clone, Debug)]
pub(super) struct OfStore {
    pub(super) queue: u64,
    pub(super) disk_bytes: u64,
    /// How long commits took.
    pub(super) commit: Spread,
}

/// One shard's numbers.
#[derive(Clone, Debug)]
pub(super) struct OfShard {
    values: Vec<u64>,
    timings: Vec<Spread>,
    /// Microseconds that its turns took together.
    pub(super) busy_micros: u64,
}

impl Reading {
    pub(super) fn take(all: &[Arc<Metrics>], traffic: &[Arc<Traffic>], micros: u64) -> Self {
        let process = process::numbers();
        let named = |family: &str| process.iter().find(|number| number.family == family).map(|number| number.value);
        Self {
            micros,
            shards: all.iter().map(|metrics| OfShard::take(metrics)).collect(),
            mesh: if traffic.len() <= MATRIX_SHARDS_MAX { matrix(traffic) } else { Vec::new() },
            cpu_s: named("process_cpu_seconds_total"),
            rss_bytes: named("process_resident_memory_bytes"),
            store: None,
        }
    }

    /// With what the store counts.
    pub(super) fn with_store(self, store: Option<&StoreNumbers>) -> Self {
        Self { store: store.map(OfStore::take), ..self }
    }

    /// Of all shards together.
    pub(super) fn sum(&self, metric: Metric) -> u64 {
        self.shards.iter().map(|shard| shard.value(metric)).sum()
    }

    /// Of all shards together.
    pub(super) fn spread(&self, timing: Timing) -> Spread {
        let mut all = Spread::default();
        self.shards.iter().for_each(|shard| all.add(shard.timing(timing)));
        all
    }
}

fn matrix(traffic: &[Arc<Traffic>]) -> Vec<Vec<(u64, u64)>> {
    let shards = || (0..).map(ShardId).take(traffic.len());
    let between = |from: ShardId, to: ShardId| (traffic[from.index()].put(to), depth(traffic, from, to));
    shards().map(|from| shards().map(|to| between(from, to)).collect()).collect()
}

impl OfStore {
    fn take(numbers: &StoreNumbers) -> Self {
        Self {
            queue: numbers.read(StoreNumber::Queued),
            disk_bytes: numbers.read(StoreNumber::DiskBytes),
            commit: Spread::of(numbers.commit()),
        }
    }
}

impl OfShard {
    fn take(metrics: &Metrics) -> Self {
        Self {
            values: Metric::ALL.iter().map(|&metric| metrics.read(metric)).collect(),
            timings: Timing::ALL.iter().map(|&timing| Spread::of(metrics.timing(timing))).collect(),
            busy_micros: metrics.timing(Timing::Turn).sum(),
        }
    }

    pub(super) fn value(&self, metric: Metric) -> u64 {
        self.values[metric as usize]
    }

    pub(super) fn timing(&self, timing: Timing) -> &Spread {
        &self.timings[timing as usize]
    }
}
