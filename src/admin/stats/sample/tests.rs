//! Samples of numbers that tests have written.

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};

use super::*;
use crate::ids::ShardId;
use crate::limits::{
    MATRIX_SHARDS_MAX, MESSAGE_BYTES_MAX, SAMPLES_BYTES_MAX, SAMPLES_KEPT, SHARD_SILENT_MS, SHARDS_COUNT_MAX,
};
use crate::mesh::{Capacities, Mesh, Traffic, depth};
use crate::metrics::Metrics;
use crate::metrics::store::{StoreNumber, StoreNumbers};
use crate::shard::message::Lane;

const STEP: u64 = 2_000_000;

#[expect(clippy::disallowed_methods, reason = "nothing looks at it here")]
fn known(findings: usize) -> Known {
    let finding =
        |index| Finding { id: format!("row-{index}"), severity: "note", title: String::new(), remedy: String::new() };
    Known {
        started: Instant::now(),
        cpus: vec![Some(3), None],
        traffic: Vec::new(),
        findings: (0..findings).map(finding).collect(),
        store: None,
    }
}

/// The sample of two shards between what they were and what they become in two seconds.
fn sample(before: impl Fn(&[Arc<Metrics>]), between: impl Fn(&[Arc<Metrics>]), busiest: Option<&[Busiest]>) -> Value {
    let shards: Vec<Arc<Metrics>> = (0..2).map(|_| Metrics::shared()).collect();
    before(&shards);
    let first = Reading::take(&shards, &[], 10 * STEP);
    between(&shards);
    let second = Reading::take(&shards, &[], 11 * STEP);
    let known = known(FINDINGS_TOLD_MAX + 1);
    let sample = Sample::between((&first, &second), 1_795_000_000_000, &known, busiest);
    serde_json::from_slice(&sample.encode()).unwrap()
}

fn ticked(shards: &[Arc<Metrics>]) {
    shards.iter().for_each(|metrics| metrics.set(Metric::TickedAt, 11 * STEP));
}

/// A sample with every field that there is.
fn full() -> Value {
    let mut mesh = Mesh::<u8>::new(2, Capacities { control: 8, data: 8 }).unwrap();
    let mut ends: Vec<_> = (0..2).map(|shard| mesh.take_end(ShardId(shard)).unwrap()).collect();
    let traffic = mesh.traffic();
    let shards: Vec<Arc<Metrics>> = (0..2).map(|_| Metrics::shared()).collect();
    let store = StoreNumbers::default();
    let before = Reading { cpu_s: Some(1.0), ..Reading::take(&shards, &traffic, 10 * STEP) }.with_store(Some(&store));
    (1..=1000).for_each(|micros| store.commit().record(micros));
    store.set(StoreNumber::Queued, 7);
    store.set(StoreNumber::DiskBytes, 5_000_000);
    (0..3).for_each(|item| ends[0].outbox.try_put(ShardId(1), Lane::Data, item).unwrap());
    ticked(&shards);
    Metric::ALL.iter().filter(|metric| **metric != Metric::TickedAt).for_each(|metric| shards[1].add(*metric, 1));
    for timing in Timing::ALL {
        (1..=1000).for_each(|micros| shards[1].timing(*timing).record(micros));
    }
    let rss_bytes = Some(20_000_000.0);
    let after = Reading { cpu_s: Some(1.5), rss_bytes, ..Reading::take(&shards, &traffic, 11 * STEP) };
    let after = after.with_store(Some(&store));
    let known = known(1);
    let busiest = [Busiest { channel: Arc::from("trip:lisbon"), members: 3, per_s: 9 }];
    let sample = Sample::between((&before, &after), 1_795_000_000_000, &known, Some(&busiest));
    let mut sample: Value = serde_json::from_slice(&sample.encode()).unwrap();
    sample["version"] = json!("0.0.0");
    while ends[1].inbox.try_take(Lane::Data).is_some() {}
    sample
}

/// The schema's tests hold it to the schema, field by field. `UPDATE_EXPECT=1` writes it anew.
#[test]
fn a_sample_with_every_field_is_the_golden_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/stats.json");
    let full = full();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(path, serde_json::to_string_pretty(&full).unwrap() + "\n").unwrap();
    }
    let golden: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(full, golden);
}

#[test]
fn totals_are_sums_and_rates_are_for_a_second() {
    let before = |shards: &[Arc<Metrics>]| {
        shards.iter().for_each(|metrics| metrics.add(Metric::MessagesIn, 500));
        shards[1].add(Metric::Connections, 4);
    };
    let between = |shards: &[Arc<Metrics>]| {
        shards[0].add(Metric::MessagesIn, 999);
        shards[1].add(Metric::MessagesIn, 1);
        shards[1].add(Metric::Delivered, 3);
        shards[0].add(Metric::Connections, 2);
    };
    let sample = sample(before, between, None);
    let totals = &sample["totals"];
    assert_eq!((&totals["received"], &totals["sent"]), (&json!(2000), &json!(3)));
    assert_eq!((&totals["received_per_s"], &totals["sent_per_s"]), (&json!(500.0), &json!(1.5)));
    assert_eq!((&sample["interval_ms"], &sample["uptime_s"]), (&json!(2000), &json!(22)));
    assert_eq!((&sample["at_ms"], &totals["connections"]), (&json!(1_795_000_000_000_u64), &json!(6)));
    let of = |shard: usize, field: &str| sample["shards"][shard][field].clone();
    assert_eq!((of(0, "received_per_s"), of(1, "received_per_s")), (json!(499.5), json!(0.5)));
    assert_eq!((of(0, "cpu"), sample["shards"][1].get("cpu")), (json!(3), None));
}

#[test]
fn times_are_of_the_interval_alone_and_absent_without_any() {
    let before = |shards: &[Arc<Metrics>]| (0..1000).for_each(|_| shards[0].timing(Timing::Delivery).record(1_000_000));
    let quiet = sample(before, |_| {}, None);
    assert_eq!(quiet["delivery"], json!({ "count": 0 }));
    let between = |shards: &[Arc<Metrics>]| {
        (0..99).for_each(|_| shards[0].timing(Timing::Delivery).record(3));
        shards[1].timing(Timing::Delivery).record(70);
        shards[1].timing(Timing::Turn).record(1_000_000);
    };
    let sample = sample(before, between, None);
    let expected = json!({ "count": 100, "p50_us": 3, "p90_us": 3, "p99_us": 3, "p999_us": 79, "max_us": 79 });
    assert_eq!(sample["delivery"], expected);
    assert_eq!((&sample["shards"][0]["busy"], &sample["shards"][1]["busy"]), (&json!(0.0), &json!(0.5)));
    assert_eq!(
        (sample["shards"][0].get("turn_max_us"), &sample["shards"][1]["turn_max_us"]),
        (None, &json!(1_048_575))
    );
}

#[test]
fn a_shard_that_hangs_does_not_answer_and_the_others_do() {
    for (late, answering) in [(0, true), (SHARD_SILENT_MS * 1000, true), (SHARD_SILENT_MS * 1000 + 1, false)] {
        let late = |shards: &[Arc<Metrics>]| {
            ticked(shards);
            shards[0].set(Metric::TickedAt, 11 * STEP - late);
        };
        let sample = sample(|_| {}, late, None);
        assert_eq!(
            [&sample["shards"][0]["answering"], &sample["shards"][1]["answering"]],
            [&json!(answering), &json!(true)]
        );
    }
}

#[test]
fn one_shard_that_drains_is_a_server_that_drains() {
    assert_eq!(sample(|_| {}, |_| {}, None)["state"], "serving");
    assert_eq!(sample(|_| {}, |shards| shards[1].set(Metric::Draining, 1), None)["state"], "draining");
}

#[test]
fn the_store_is_told_of_where_there_is_one_and_commits_are_of_the_interval_alone() {
    let (shards, store) = ([Metrics::shared(), Metrics::shared()], StoreNumbers::default());
    let reading = |micros| Reading::take(&shards, &[], micros).with_store(Some(&store));
    let told = |before: &Reading, after: &Reading| -> Value {
        serde_json::from_slice(&Sample::between((before, after), 0, &known(0), None).encode()).unwrap()
    };
    store.commit().record(1_000_000);
    let before = reading(STEP);
    store.set(StoreNumber::Queued, 3);
    let quiet = reading(2 * STEP);
    assert_eq!(told(&before, &quiet)["store"], json!({ "trouble": false, "queue": 3, "disk_bytes": 0 }));
    store.commit().record(3000);
    store.set(StoreNumber::DiskBytes, 9);
    shards[1].set(Metric::StoreTrouble, 1);
    let expected = json!({ "trouble": true, "queue": 3, "commit_p99_ms": 3.071, "disk_bytes": 9 });
    assert_eq!(told(&quiet, &reading(3 * STEP))["store"], expected);
    assert_eq!(sample(|_| {}, |_| {}, None).get("store"), None, "without a store nothing is made up");
}

#[test]
fn refusals_are_told_by_reason_the_most_frequent_first() {
    let before = |shards: &[Arc<Metrics>]| shards[0].add(Metric::RefusedRate, 10);
    let between = |shards: &[Arc<Metrics>]| {
        shards[0].add(Metric::RefusedRate, 4);
        shards[1].add(Metric::RefusedRate, 2);
        shards[1].add(Metric::RefusedInvalid, 20);
    };
    let expected = json!([
        { "reason": "invalid", "total": 20, "per_s": 10.0 },
        { "reason": "rate", "total": 16, "per_s": 3.0 },
    ]);
    assert_eq!(sample(before, between, None)["refusals"], expected);
    let all = |shards: &[Arc<Metrics>]| Metric::ALL.iter().for_each(|metric| shards[0].add(*metric, 1));
    assert!(sample(|_| {}, all, None)["refusals"].as_array().unwrap().len() <= REASONS_TOLD_MAX);
}

#[test]
fn ends_are_told_by_code_and_what_is_slow_by_how() {
    let between = |shards: &[Arc<Metrics>]| {
        shards[0].add(Metric::Closed1000, 3);
        shards[1].add(Metric::Closed4013, 1);
        shards[1].add(Metric::ClosedOther, 1);
        shards[0].add(Metric::Blocked, 2);
        shards[1].add(Metric::ClosedSlow, 1);
        shards[1].add(Metric::Gaps, 10);
    };
    let sample = sample(|_| {}, between, None);
    let expected = json!([{ "code": 1000, "total": 3, "per_s": 1.5 }, { "code": 4013, "total": 1, "per_s": 0.5 }]);
    assert_eq!(sample["closes"], expected);
    assert_eq!(sample["slow"], json!({ "gaps_per_s": 5.0, "paused": 2, "closed": 1 }));
}

#[test]
fn channels_are_told_while_somebody_watches_and_no_more_than_the_bound() {
    assert_eq!(sample(|_| {}, |_| {}, None).get("top_channels"), None);
    assert_eq!(sample(|_| {}, |_| {}, Some(&[]))["top_channels"], json!([]));
    let row = |index: usize| Busiest { channel: Arc::from(format!("trip:{index}")), members: 3, per_s: 9 };
    let rows: Vec<Busiest> = (0..=BUSY_CHANNELS_TOLD).map(row).collect();
    let told = &sample(|_| {}, |_| {}, Some(&rows))["top_channels"];
    assert_eq!(told.as_array().unwrap().len(), BUSY_CHANNELS_TOLD);
    assert_eq!(told[0], json!({ "channel": "trip:0", "members": 3, "per_s": 9 }));
}

#[test]
fn so_many_findings_are_told() {
    assert_eq!(sample(|_| {}, |_| {}, None)["findings"].as_array().unwrap().len(), FINDINGS_TOLD_MAX);
}

#[test]
fn what_goes_between_shards_is_a_row_for_who_puts_and_a_column_for_who_takes() {
    let mut mesh = Mesh::<u8>::new(3, Capacities { control: 8, data: 8 }).unwrap();
    let traffic = mesh.traffic();
    let mut ends: Vec<_> = (0..3).map(|shard| mesh.take_end(ShardId(shard)).unwrap()).collect();
    let before = Reading::take(&[], &traffic, 0);
    (0..4).for_each(|item| ends[0].outbox.try_put(ShardId(2), Lane::Data, item).unwrap());
    ends[1].outbox.try_put(ShardId(2), Lane::Control, 0).unwrap();
    mesh.post(ShardId::OUTSIDE).try_put(ShardId(2), Lane::Data, 9).unwrap();
    (0..3).for_each(|item| assert_eq!(ends[2].inbox.try_take(Lane::Data), Some((ShardId(0), item))));
    let after = Reading::take(&[], &traffic, STEP);
    let known = known(0);
    let sample = Sample::between((&before, &after), 0, &known, None);
    let sample: Value = serde_json::from_slice(&sample.encode()).unwrap();
    let (none, two) = (json!([0.0, 0.0, 0.0]), json!([0.0, 0.0, 2.0]));
    assert_eq!(sample["mesh"]["messages_per_s"], json!([two, json!([0.0, 0.0, 0.5]), none]));
    assert_eq!(sample["mesh"]["depth"], json!([[0, 0, 1], [0, 0, 1], [0, 0, 0]]));
    while ends[2].inbox.try_take(Lane::Data).is_some() {}
    assert_eq!(depth(&traffic, ShardId(0), ShardId(2)), 0, "who is no shard is in nobody's row");
}

#[test]
fn a_matrix_of_very_many_shards_is_left_out() {
    for (shards, there) in [(MATRIX_SHARDS_MAX - 1, true), (MATRIX_SHARDS_MAX, true), (MATRIX_SHARDS_MAX + 1, false)] {
        let traffic: Vec<Arc<Traffic>> = (0..shards).map(|_| Arc::new(Traffic::among(shards))).collect();
        let reading = Reading::take(&[], &traffic, 1);
        let known = known(0);
        let sample: Value =
            serde_json::from_slice(&Sample::between((&reading, &reading), 0, &known, None).encode()).unwrap();
        assert_eq!(sample["mesh"].get("depth").is_some(), there, "{shards}");
    }
}

#[test]
fn what_is_kept_of_samples_fits_its_bound_however_many_shards_there_are() {
    let shards: Vec<Arc<Metrics>> = (0..SHARDS_COUNT_MAX).map(|_| Metrics::shared()).collect();
    let reading = |micros| Reading::take(&shards, &[], micros);
    let before = reading(1);
    for metrics in &shards {
        Metric::ALL.iter().for_each(|metric| metrics.add(*metric, 1 << 32));
        metrics.timing(Timing::Turn).record(1 << 30);
    }
    let known = known(FINDINGS_TOLD_MAX);
    let sample = Sample::between((&before, &reading(3_000_001)), 1, &known, None).encode();
    assert!(sample.len() < MESSAGE_BYTES_MAX, "{}", sample.len());
    assert!(sample.len() * SAMPLES_KEPT <= SAMPLES_BYTES_MAX, "{}", sample.len());
}
