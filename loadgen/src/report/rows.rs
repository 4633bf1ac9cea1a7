//! `timeline.csv`: a row for each point of the timeline, for spreadsheets (RFC 4180, but with plain line ends).

use std::fmt::Write as _;

use crate::report::{Point, Timeline};

/// The columns, named with their units.
const TITLES: &str = "at_s,span_s,stage,measured,open,connecting,published,delivered,bytes,p50_us,p99_us,max_us,\
                      uncorrected_p50_us,uncorrected_p99_us,uncorrected_max_us,lateness_p99_us,faults,server_busy,\
                      server_anonymous_bytes";

/// The whole file.
pub(super) fn page(timeline: &Timeline) -> String {
    let mut text = format!("{TITLES}\n");
    for point in &timeline.points {
        row(&mut text, point);
    }
    text
}

fn row(text: &mut String, point: &Point) {
    let Point { at_s, span_s, measured, open, connecting, published, delivered, bytes, faults, .. } = point;
    let stage = quoted(&point.stage);
    let _ = write!(text, "{at_s},{span_s},{stage},{measured},{open},{connecting},{published},{delivered},{bytes}");
    for slice in [&point.latency, &point.latency_uncorrected] {
        let _ = write!(text, ",{},{},{}", slice.p50_us, slice.p99_us, slice.max_us);
    }
    let (busy, memory) = (filled(point.server_busy), filled(point.server_anonymous_bytes));
    let _ = writeln!(text, ",{},{faults},{busy},{memory}", point.lateness_p99_us);
}

fn filled(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// A field that may hold anything.
fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Slice;

    #[test]
    fn a_known_timeline_is_a_known_table() {
        let latency = Slice { p50_us: 43.5, p99_us: 2100.0, max_us: 9000.25, histogram: String::new() };
        let point = Point {
            at_s: 1.5,
            span_s: 1.0,
            stage: "hold, \"long\"".to_owned(),
            measured: true,
            open: 10,
            connecting: 2,
            published: 30,
            delivered: 90,
            bytes: 36_000,
            latency,
            lateness_p99_us: 12.5,
            faults: 3,
            server_busy: Some(0.25),
            ..Point::default()
        };
        let bare = Point { server_anonymous_bytes: Some(5), ..Point::default() };
        let text = page(&Timeline { points: vec![point, bare] });
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0].split(',').count(), 19);
        assert_eq!(lines[1], "1.5,1,\"hold, \"\"long\"\"\",true,10,2,30,90,36000,43.5,2100,9000.25,0,0,0,12.5,3,0.25,");
        assert_eq!(lines[2], "0,0,,false,0,0,0,0,0,0,0,0,0,0,0,0,0,,5");
        assert_eq!(lines.len(), 3);
    }
}
