//! `latency.hlog`: the run's latencies second by second, as HdrHistogram's log tools read them.
//!
//! Lines without a tag are the measured ones, from the intended send: together they have the counts of `latency.hgrm`.
//! `uncorrected` are the same from the actual send; other tags are stages that were not measured. Values are rounded to
//! a hundredth, as in the timeline.

use std::time::Duration;

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use crate::report::{Report, Slice};

/// The log of a run.
pub(super) fn log(report: &Report) -> Result<String, String> {
    let started = humantime::parse_rfc3339(&report.environment.started);
    let started = started.map_err(|error| format!("latency.hlog: start time: {error}"))?;
    let mut out = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    let mut log = IntervalLogWriterBuilder::new()
        .add_comment("loadgen: nanoseconds; Interval_Max in milliseconds")
        .with_start_time(started)
        .with_base_time(started)
        .with_max_value_divisor(1e6)
        .begin_log_with(&mut out, &mut serializer)
        .map_err(|error| format!("latency.hlog: {error}"))?;
    for point in &report.timeline.points {
        let (at, span) = (seconds(point.at_s), seconds(point.span_s));
        let mut write = |slice: &Slice, tag: Option<&str>| -> Result<(), String> {
            let Some(histogram) = slice.decode()? else { return Ok(()) };
            // A stage's name that no tag may have is left out; the tool then shows it as measured, which it is not.
            let tag = tag.map(|tag| Tag::new(tag).or_else(|| Tag::new("unnamed"))).unwrap_or_default();
            log.write_histogram(&histogram, at, span, tag).map_err(|error| format!("latency.hlog: {error:?}"))
        };
        write(&point.latency, (!point.measured).then_some(point.stage.as_str()))?;
        if point.measured {
            write(&point.latency_uncorrected, Some("uncorrected"))?;
        }
    }
    String::from_utf8(out).map_err(|error| format!("latency.hlog: {error}"))
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;
    use crate::stats;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    #[test]
    fn the_log_is_read_back_by_the_library() {
        let report = sample();
        let text = log(&report).unwrap();
        let (mut found, mut times) = (Vec::new(), 0);
        for entry in IntervalLogIterator::new(text.as_bytes()) {
            match entry.unwrap() {
                LogEntry::Interval(interval) => {
                    let histogram = stats::decode::<u64>(interval.encoded_histogram()).unwrap();
                    let tag = interval.tag().map(|tag| tag.as_str().to_owned()).unwrap_or_default();
                    let max_ms = histogram.max() as f64 / 1e6;
                    assert!((interval.max() - max_ms).abs() < 0.01, "{} {max_ms}", interval.max());
                    found.push((tag, interval.start_timestamp().as_secs(), histogram.len()));
                    assert_eq!(interval.duration(), Duration::from_secs(1));
                }
                LogEntry::BaseTime(time) | LogEntry::StartTime(time) => {
                    let started = humantime::parse_rfc3339(&report.environment.started).unwrap();
                    let since = started.duration_since(std::time::UNIX_EPOCH).unwrap();
                    assert_eq!(time.as_secs(), since.as_secs());
                    times += 1;
                }
            }
        }
        let expected = [
            ("connect", 0, 1000),
            ("warm-up", 1, 2000),
            ("", 2, 3000),
            ("uncorrected", 2, 3000),
            ("", 3, 4000),
            ("uncorrected", 3, 4000),
            ("", 4, 5000),
            ("uncorrected", 4, 5000),
        ];
        let found: Vec<_> = found.iter().map(|(tag, at, count)| (tag.as_str(), *at, *count)).collect();
        assert_eq!((&found[..], times), (&expected[..], 2));
    }

    #[test]
    fn a_stage_whose_name_is_no_tag_is_not_taken_for_measured() {
        let mut report = sample();
        report.timeline.points[0].stage = "a, b".to_owned();
        assert!(log(&report).unwrap().contains("Tag=unnamed,"));
        report.environment.started = "yesterday".to_owned();
        assert!(log(&report).unwrap_err().contains("start time"));
    }
}
