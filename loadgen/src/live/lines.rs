//! The run as lines: one a second on standard error, for logs and for terminals that are not to be drawn on.

use std::fmt::Write as _;
use std::io::Write as _;

use crate::live::watcher::Picture;

/// Prints a line for each second.
#[derive(Debug)]
pub(super) struct Lines {
    stage: Option<usize>,
}

impl Lines {
    pub(super) fn new() -> Self {
        Self { stage: None }
    }

    /// The line of the last second, and one before it when a stage begins.
    pub(super) fn show(&mut self, picture: &Picture) {
        let mut text = String::new();
        let Some(stage) = picture.stage else { return };
        if self.stage != Some(stage.number) {
            self.stage = Some(stage.number);
            let _ = writeln!(text, "-- {}{}", stage.name, if stage.measured { ", measured" } else { "" });
        }
        text.push_str(&line(picture));
        tell(&text);
    }
}

/// Something to be known at once.
pub(super) fn tell(text: &str) {
    // Progress that nobody can read is no reason to stop.
    let _ = std::io::stderr().write_all(format!("{text}\n").as_bytes());
}

/// The last second in one line.
pub(super) fn line(picture: &Picture) -> String {
    let point = &picture.point;
    let mut text = format!("{:>7.1}s  {}", point.at_s + point.span_s, point.stage);
    let (open, wanted, connecting) = (point.open, picture.wanted, point.connecting);
    let _ = write!(text, "  open {open}/{wanted}");
    if connecting > 0 {
        let _ = write!(text, " connecting {connecting}");
    }
    if point.published + point.delivered > 0 {
        let (published, delivered) = (point.published_per_s(), point.delivered_per_s());
        let _ = write!(text, "  published {published:.0}/s  delivered {delivered:.0}/s");
        let (p50, p99, max) = (point.latency.p50_us, point.latency.p99_us, point.latency.max_us);
        let _ = write!(text, "  latency p50 {} p99 {} max {}", time(p50), time(p99), time(max));
        let _ = write!(text, "  late p99 {}", time(point.lateness_p99_us));
    }
    let _ = write!(text, "  faults {}", point.faults);
    if let Some(busy) = point.server_busy {
        let _ = write!(text, "  server {:.0} %", 100.0 * busy);
    }
    if let Some(bytes) = point.server_anonymous_bytes {
        let _ = write!(text, " {:.0} MiB", bytes as f64 / 1_048_576.0);
    }
    text
}

/// A time in the unit that leaves one to three digits before the point.
pub(super) fn time(us: f64) -> String {
    if us < 1000.0 {
        format!("{us:.0}us")
    } else if us < 1e6 {
        format!("{:.1}ms", us / 1e3)
    } else {
        format!("{:.2}s", us / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_unit_they_are_read_in() {
        for (us, expected) in
            [(0.0, "0us"), (999.4, "999us"), (1000.0, "1.0ms"), (99_960.0, "100.0ms"), (2_345_678.0, "2.35s")]
        {
            assert_eq!(time(us), expected);
        }
    }
}
