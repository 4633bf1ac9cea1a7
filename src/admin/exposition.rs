//! The shards' numbers in the Prometheus text format.
//!
//! Each family stands once, with its help and type, then one line for each shard: the label `shard` is on
//! every line of a shard, and on none of the process and of the store, so a sum is the reader's to make and a
//! lame shard is seen. Histograms are kept in microseconds and shown in seconds, with the same bounds whatever
//! was reached: a power of two each.

use std::fmt::Write as _;
use std::sync::Arc;

use super::process::Number;
use crate::ids::ShardId;
use crate::mesh::{Traffic, depth};
use crate::metrics::store::{STORE_COMMIT, StoreNumber, StoreNumbers};
use crate::metrics::{BUILD_INFO, Histogram, Kind, MESH_DEPTH, Metric, Metrics, Timing};

/// Renders every family: the process's, then the shards'. Writing to a string cannot fail.
pub(super) fn render(
    process: &[Number],
    shards: &[Arc<Metrics>],
    (traffic, store): (&[Arc<Traffic>], Option<&StoreNumbers>),
) -> String {
    let mut out = String::with_capacity(64 * 1024);
    let _infallible = build(&mut out, process, shards, traffic);
    if let Some(store) = store {
        let _infallible = of_store(&mut out, store);
    }
    out
}

/// The store's numbers, of which there is one each.
fn of_store(out: &mut String, store: &StoreNumbers) -> std::fmt::Result {
    for &number in StoreNumber::ALL {
        let row = number.describe();
        family(out, row.family, row.help, kind_of(row.kind))?;
        writeln!(out, "{} {}", row.family, store.read(number))?;
    }
    let (name, help) = STORE_COMMIT;
    family(out, name, help, "histogram")?;
    histogram(out, name, "", store.commit())
}

const fn kind_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "counter",
        Kind::Gauge | Kind::State => "gauge",
    }
}

fn build(out: &mut String, process: &[Number], shards: &[Arc<Metrics>], traffic: &[Arc<Traffic>]) -> std::fmt::Result {
    for number in process {
        family(out, number.family, number.help, number.kind)?;
        writeln!(out, "{} {}", number.family, number.value)?;
    }
    family(out, BUILD_INFO.family, BUILD_INFO.help, kind_of(BUILD_INFO.kind))?;
    writeln!(out, "{}{{version=\"{}\"}} 1", BUILD_INFO.family, env!("CARGO_PKG_VERSION"))?;
    let mut before = "";
    for &metric in Metric::ALL {
        let row = metric.describe();
        if row.family != before {
            family(out, row.family, row.help, kind_of(row.kind))?;
            before = row.family;
        }
        let comma = if row.labels.is_empty() { "" } else { "," };
        for (shard, metrics) in shards.iter().enumerate() {
            writeln!(out, "{}{{shard=\"{shard}\"{comma}{}}} {}", row.family, row.labels, metrics.read(metric))?;
        }
    }
    family(out, MESH_DEPTH.family, MESH_DEPTH.help, "gauge")?;
    let numbers = || (0..).map(ShardId).take(traffic.len());
    for to in numbers() {
        let waits: u64 = numbers().map(|from| depth(traffic, from, to)).sum();
        writeln!(out, "{}{{shard=\"{}\"}} {waits}", MESH_DEPTH.family, to.0)?;
    }
    for &timing in Timing::ALL {
        let (name, help) = timing.describe();
        let name = name.replace("_micros", "_seconds");
        family(out, &name, help, "histogram")?;
        for (shard, metrics) in shards.iter().enumerate() {
            histogram(out, &name, &format!("shard=\"{shard}\""), metrics.timing(timing))?;
        }
    }
    Ok(())
}

fn family(out: &mut String, name: &str, help: &str, kind: &str) -> std::fmt::Result {
    writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

/// A histogram, with the labels of who counts it. Buckets are cumulative; the last one, without bound, equals the count even while
/// the shard goes on counting, because both come from the same reading.
fn histogram(out: &mut String, name: &str, labels: &str, histogram: &Histogram) -> std::fmt::Result {
    let (mut total, comma) = (0, if labels.is_empty() { "" } else { "," });
    let all = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
    for (index, count) in histogram.counts().enumerate() {
        total += count;
        // Four buckets to a power of two. Microseconds are whole, with what is begun left off: 3 is less than 4.
        if index % 4 == 3 && index / 4 < POWERS_SHOWN {
            let bound = Seconds(Histogram::upper_bound(index) + 1);
            writeln!(out, "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {total}")?;
        }
    }
    writeln!(out, "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {total}")?;
    writeln!(out, "{name}_sum{all} {}", Seconds(histogram.sum()))?;
    writeln!(out, "{name}_count{all} {total}")
}

/// Bounds that are shown, from 4 microseconds to 67 seconds: enough for a percentile within a factor of two, and few
/// enough for a hundred shards. Samples in `system:stats` tell it four times as well.
const POWERS_SHOWN: usize = 25;

/// Microseconds printed as seconds, exactly.
struct Seconds(u64);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::process::numbers;

    fn two_shards() -> Vec<Arc<Metrics>> {
        let shards = vec![Metrics::shared(), Metrics::shared()];
        shards[0].add(Metric::Connections, 3);
        shards[1].add(Metric::RefusedRate, 2);
        for micros in [1, 1, 900, u64::from(u32::MAX)] {
            shards[1].timing(Timing::Turn).record(micros);
        }
        shards
    }

    #[test]
    fn a_family_has_one_head_and_a_line_for_each_shard() {
        let text = render(&[], &two_shards(), (&[], None));
        for family in Metric::ALL.iter().map(|metric| metric.describe().family) {
            assert_eq!(text.matches(&format!("# TYPE {family} ")).count(), 1, "{family}");
            assert_eq!(text.matches(&format!("# HELP {family} ")).count(), 1, "{family}");
        }
        assert!(text.contains("# TYPE waystation_connections gauge\n"));
        assert!(text.contains("\nwaystation_connections{shard=\"0\"} 3\nwaystation_connections{shard=\"1\"} 0\n"));
        assert!(text.contains("\nwaystation_refused_total{shard=\"1\",reason=\"rate\"} 2\n"));
    }

    #[test]
    fn histograms_are_cumulative_in_seconds_with_the_same_bounds_whatever_was_reached() {
        let text = render(&[], &two_shards(), (&[], None));
        let of = |shard: &str| -> Vec<&str> {
            let lines = text.lines().filter(|line| line.starts_with("waystation_turn_seconds_"));
            lines.filter(|line| line.contains(shard)).collect()
        };
        let turns = of("\"1\"");
        assert_eq!(turns.len(), POWERS_SHOWN + 3);
        for line in [
            r#"waystation_turn_seconds_bucket{shard="1",le="0.000004"} 2"#,
            r#"waystation_turn_seconds_bucket{shard="1",le="0.000512"} 2"#,
            r#"waystation_turn_seconds_bucket{shard="1",le="0.001024"} 3"#,
            r#"waystation_turn_seconds_bucket{shard="1",le="67.108864"} 3"#,
            r#"waystation_turn_seconds_bucket{shard="1",le="+Inf"} 4"#,
            r#"waystation_turn_seconds_sum{shard="1"} 4294.968197"#,
            r#"waystation_turn_seconds_count{shard="1"} 4"#,
        ] {
            assert!(turns.contains(&line), "{line}: {turns:#?}");
        }
        assert_eq!(of("\"0\"").len(), turns.len());
        assert!(text.contains("waystation_turn_seconds_count{shard=\"0\"} 0\n"));
    }

    #[test]
    fn a_line_names_its_shard_but_for_the_process_the_version_and_the_store() {
        let text = render(&numbers(), &two_shards(), (&[], Some(&StoreNumbers::default())));
        let without: Vec<&str> =
            text.lines().filter(|line| !line.starts_with("# ") && !line.contains("{shard=\"")).collect();
        let of_none = |line: &&str| {
            let known = ["process_", "waystation_build_info{version=", "waystation_store_"];
            !known.iter().any(|family| line.starts_with(family))
        };
        assert_eq!(without.iter().copied().filter(|line| of_none(line)).collect::<Vec<_>>(), Vec::<&str>::new());
        assert!(without.iter().any(|line| line.starts_with("waystation_build_info{")), "{without:?}");
        let trouble = "\nwaystation_store_trouble{shard=\"1\"} 0\n";
        assert!(text.contains(trouble), "what shards count of the store has their label");
    }

    /// A quantile between two bounds is made up by Prometheus: what is alerted on is the share above one that there is.
    #[test]
    fn alerts_ask_for_bounds_that_are_shown() {
        let alerts = include_str!("../../tuning/monitoring/alerts.yml");
        assert!(!alerts.contains("histogram_quantile("), "ask for the share above a bound");
        let text = render(&[], &two_shards(), (&[], Some(&StoreNumbers::default())));
        let mut asked = 0;
        for (at, _) in alerts.match_indices("le=") {
            let bound = alerts[at..].split('"').nth(1).unwrap();
            let family = alerts[..at].rsplit('(').next().unwrap().split('{').next().unwrap();
            let shown = |line: &str| line.starts_with(family) && line.contains(&format!("le=\"{bound}\"}} "));
            assert!(family.ends_with("_bucket") && text.lines().any(shown), "{family} has no bound {bound}");
            asked += 1;
        }
        assert!(asked >= 2, "of deliveries and of commits");
    }

    #[test]
    fn the_store_has_its_numbers_without_a_shard_and_none_if_there_is_no_store() {
        let store = StoreNumbers::shared();
        store.add(StoreNumber::Commits, 3);
        store.set(StoreNumber::Queued, 7);
        store.commit().record(900);
        let text = render(&[], &two_shards(), (&[], Some(&store)));
        for line in [
            "waystation_store_commits_total 3",
            "waystation_store_queue_depth 7",
            r#"waystation_store_commit_seconds_bucket{le="0.000512"} 0"#,
            r#"waystation_store_commit_seconds_bucket{le="+Inf"} 1"#,
            "waystation_store_commit_seconds_sum 0.000900",
            "waystation_store_commit_seconds_count 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}");
        }
        assert!(!render(&[], &two_shards(), (&[], None)).contains("waystation_store_commits_total"));
    }

    #[test]
    fn every_line_is_a_comment_or_a_name_with_labels_and_a_number() {
        for line in render(&[], &two_shards(), (&[], None)).lines().filter(|line| !line.starts_with("# ")) {
            let (series, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
            let (name, labels) = series.split_once('{').unwrap();
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') && labels.ends_with('}'), "{line}");
        }
    }
}
