//! What the gateway says of itself once a second, in the channel `system:stats`.
//!
//! Made here, off the shards, of the numbers that they publish anyway: a shard that hangs is seen to hang, and none of
//! them does more for it than to publish one event, at the channel's home. Only while somebody watches are the shards
//! asked for something, which of their channels are the busiest; who does not answer in time is left out. Absent: who
//! may watch, which is the policy's to say.

mod reading;
mod sample;
mod spread;

use std::sync::Arc;
use std::time::{Duration, Instant};

use glommio::timer::Timer;

use super::asking::{Asker, Outcome};
use super::clock::unix_ms;
use crate::limits::{BUSY_ANSWER_MS, SAMPLE_EVERY_MS, SHARD_SILENT_MS};
use crate::mesh::Traffic;
use crate::metrics::store::StoreNumbers;
use crate::metrics::{Metric, Metrics};
use crate::shard::STATS_CHANNEL;
use crate::shard::message::outside::{Ask, Busiest, Reply};
use reading::Reading;
pub use sample::Finding;
use sample::Sample;

/// What holds as long as the process runs.
#[derive(Clone, Debug)]
pub struct Known {
    /// From when on the shards count their time.
    pub started: Instant,
    /// The core of each shard, where it is pinned.
    pub cpus: Vec<Option<usize>>,
    /// What goes between them.
    pub traffic: Vec<Arc<Traffic>>,
    /// What the doctor found at the start, the worst first.
    pub findings: Vec<Finding>,
    /// What the store counts, if there is one.
    pub store: Option<Arc<StoreNumbers>>,
}

impl Known {
    /// Microseconds since the start, as the shards' numbers have it.
    pub(super) fn micros(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// Whether a shard that turned at `ticked` answers at `micros`, both since the start.
pub(super) const fn answers(ticked: u64, micros: u64) -> bool {
    micros.saturating_sub(ticked) <= SHARD_SILENT_MS * 1000
}

/// Publishes samples as long as the executor runs.
///
/// # Cancel safety
/// A sample that is under way may be published or not.
pub(super) async fn run(asker: &Asker, all: &[Arc<Metrics>], known: &Known) {
    let take = || Reading::take(all, &known.traffic, known.micros()).with_store(known.store.as_deref());
    let mut before = take();
    let mut watched = false;
    loop {
        let passed = known.micros().saturating_sub(before.micros);
        Timer::new(Duration::from_micros((SAMPLE_EVERY_MS * 1000).saturating_sub(passed))).await;
        let busiest = if watched { Some(busiest(asker, all, known).await) } else { None };
        let reading = take();
        let sample = Sample::between((&before, &reading), unix_ms(), known, busiest.as_deref());
        before = reading;
        let announce = Ask::Announce(sample.encode().into_boxed_slice());
        // A home that does not take it or does not answer has the sample lost: the next one says so.
        watched = match asker.ask_one(asker.home(STATS_CHANNEL), announce).await {
            Ok(Reply::Announced { watched }) => watched,
            _ => false,
        };
    }
}

/// The busiest channels of the shards that turn. One that hangs is not asked: nothing piles up in its inbox.
async fn busiest(asker: &Asker, all: &[Arc<Metrics>], known: &Known) -> Vec<Busiest> {
    let micros = known.micros();
    let turning = asker.shards().zip(all).filter(|(_, metrics)| answers(metrics.read(Metric::TickedAt), micros));
    let questions = turning.map(|(shard, _)| (shard, Ask::Busiest)).collect();
    together(asker.ask_within(BUSY_ANSWER_MS, questions).await)
}

/// One row for each channel, whichever shards its members are on.
fn together(outcomes: Vec<Outcome>) -> Vec<Busiest> {
    let mut all: Vec<Busiest> = Vec::new();
    for outcome in outcomes {
        let Ok(Reply::Busiest(rows)) = outcome else { continue };
        for row in rows {
            match all.iter_mut().find(|known| known.channel == row.channel) {
                Some(known) => (known.members, known.per_s) = (known.members + row.members, known.per_s + row.per_s),
                None => all.push(row),
            }
        }
    }
    all.sort_by(|a, b| b.per_s.cmp(&a.per_s).then_with(|| a.channel.cmp(&b.channel)));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code::ErrorCode;

    #[test]
    fn a_channel_with_members_on_several_shards_is_one_row_and_the_busiest_comes_first() {
        let row = |channel: &str, members, per_s| Busiest { channel: Arc::from(channel), members, per_s };
        let outcomes = vec![
            Ok(Reply::Busiest(vec![row("trip:a", 3, 30), row("trip:b", 1, 10)])),
            Err(ErrorCode::DeadlineExceeded),
            Ok(Reply::Busiest(vec![row("trip:b", 4, 40), row("trip:c", 2, 30)])),
        ];
        assert_eq!(together(outcomes), [row("trip:b", 5, 50), row("trip:a", 3, 30), row("trip:c", 2, 30)]);
    }

    #[test]
    fn a_shard_that_has_not_turned_for_longer_than_the_bound_does_not_answer() {
        for (after_ms, expected) in
            [(0, true), (SHARD_SILENT_MS - 1, true), (SHARD_SILENT_MS, true), (SHARD_SILENT_MS + 1, false)]
        {
            assert_eq!(answers(5_000_000, 5_000_000 + after_ms * 1000), expected, "{after_ms} ms");
        }
        assert!(answers(5_000_000, 0), "a clock that was read before the turn");
    }
}
