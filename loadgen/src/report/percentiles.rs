//! `.hgrm`: the percentile text that HdrHistogram prints and its plotters read, in milliseconds.

use std::fmt::Write as _;

use crate::stats::Latency;

/// Rows for each halving of what is left above: HdrHistogram's usual number.
const TICKS_PER_HALF: u32 = 5;
const NS_PER_MS: f64 = 1e6;

/// A histogram as percentile text.
pub(super) fn page(latency: &Latency) -> String {
    let histogram = latency.histogram();
    let mut text = format!("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    let mut total = 0;
    for row in histogram.iter_quantiles(TICKS_PER_HALF) {
        total += row.count_since_last_iteration();
        let (value, quantile) = (row.value_iterated_to() as f64 / NS_PER_MS, row.quantile_iterated_to());
        let _ = write!(text, "{value:>12.6} {quantile:>2.12} {total:>10}");
        let _ = if quantile < 1.0 { writeln!(text, " {:>14.2}", 1.0 / (1.0 - quantile)) } else { writeln!(text) };
    }
    let (mean, deviation) = (histogram.mean() / NS_PER_MS, histogram.stdev() / NS_PER_MS);
    let (max, count) = (histogram.max() as f64 / NS_PER_MS, histogram.len());
    let _ = writeln!(text, "#[Mean    = {mean:>12.6}, StdDeviation   = {deviation:>12.6}]");
    let _ = writeln!(text, "#[Max     = {max:>12.6}, Total count    = {count:>12}]");
    let (buckets, halves) = (histogram.buckets(), 2048);
    let _ = writeln!(text, "#[Buckets = {buckets:>12}, SubBuckets     = {halves:>12}]");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    type Footer = Vec<(String, f64)>;

    /// What a plotter takes from such a text: rows of value, percentile and count, and the footer's figures.
    fn parse(text: &str) -> (Vec<[f64; 3]>, Footer) {
        let mut lines = text.lines();
        let titles: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
        assert_eq!(titles, ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]);
        assert_eq!(lines.next(), Some(""));
        let (mut rows, mut footer) = (Vec::new(), Vec::new());
        for line in lines {
            if let Some(inside) = line.strip_prefix("#[").and_then(|line| line.strip_suffix(']')) {
                for pair in inside.split(',') {
                    let (name, value) = pair.split_once('=').unwrap();
                    footer.push((name.trim().to_owned(), value.trim().parse().unwrap()));
                }
                continue;
            }
            let fields: Vec<f64> = line.split_whitespace().map(|field| field.parse().unwrap()).collect();
            if let Some(&inverse) = fields.get(3) {
                assert!((inverse * (1.0 - fields[1]) - 1.0).abs() < 0.01 * inverse.max(1.0), "{line}");
            }
            rows.push([fields[0], fields[1], fields[2]]);
        }
        (rows, footer)
    }

    #[test]
    fn the_text_is_read_as_the_histogram_it_is_from() {
        let mut latency = Latency::new();
        for value in 1..=10_000u64 {
            latency.record(value * 1000);
        }
        let (rows, footer) = parse(&page(&latency));
        assert!(rows.len() > 30 && rows.is_sorted_by(|a, b| a.iter().zip(b).all(|(a, b)| a <= b)));
        let [value, percentile, count] = *rows.last().unwrap();
        assert!((value / 10.0 - 1.0).abs() < 0.001 && percentile == 1.0 && count == 10_000.0);
        let half = rows.iter().find(|row| row[1] >= 0.5).unwrap();
        assert!((half[0] / 5.0 - 1.0).abs() < 0.001, "{half:?}");
        let named = |name: &str| footer.iter().find(|(found, _)| found == name).unwrap().1;
        assert_eq!((named("Total count"), named("SubBuckets")), (10_000.0, 2048.0));
        assert!((named("Mean") / 5.0005 - 1.0).abs() < 0.001 && (named("Max") / 10.0 - 1.0).abs() < 0.001);
        assert!((named("StdDeviation") / 2.8868 - 1.0).abs() < 0.01);
    }

    #[test]
    fn nothing_measured_is_a_text_without_rows() {
        let (_, footer) = parse(&page(&Latency::new()));
        assert!(footer.contains(&("Total count".to_owned(), 0.0)));
    }
}
