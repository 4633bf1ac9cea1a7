//! The server seen from outside: what the kernel says about its processor time and memory.

use std::fs;

use serde::Serialize;

/// A process that is watched.
#[derive(Debug, Clone, Copy)]
pub struct Process {
    pid: u32,
}

/// Memory and descriptors at one time.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Weight {
    /// Resident bytes.
    pub rss_bytes: u64,
    /// Bytes of its own that no file backs.
    pub anonymous_bytes: u64,
    /// Open descriptors.
    pub descriptors: u64,
}

impl Process {
    /// Watches `pid`.
    ///
    /// # Errors
    /// There is no such process, or it may not be seen.
    pub fn new(pid: u32) -> Result<Self, String> {
        let process = Self { pid };
        process.cpu_ns().map(|_| process).ok_or_else(|| format!("cannot read the processor time of process {pid}"))
    }

    /// Our own process.
    #[must_use]
    pub fn own() -> Self {
        Self { pid: std::process::id() }
    }

    /// Processor time of all its living threads, user and system. The scheduler's own nanoseconds, since the ticks of
    /// `stat` are 10 ms; a thread that ends between two calls takes its time with it.
    #[must_use]
    pub fn cpu_ns(&self) -> Option<u64> {
        let mut sum = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.pid)).ok()? {
            // A thread may end between the listing and the reading.
            let text = task.ok().and_then(|task| fs::read_to_string(task.path().join("schedstat")).ok());
            sum += text.as_deref().and_then(first_number).unwrap_or(0);
        }
        Some(sum)
    }

    /// Memory and descriptors. Slow for a large process: not while measuring.
    #[must_use]
    pub fn weight(&self) -> Option<Weight> {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid)).ok()?;
        let descriptors = fs::read_dir(format!("/proc/{}/fd", self.pid)).map_or(0, Iterator::count);
        Some(Weight {
            rss_bytes: kibibytes(&rollup, "Rss:")?,
            anonymous_bytes: kibibytes(&rollup, "Anonymous:")?,
            descriptors: u64::try_from(descriptors).unwrap_or(u64::MAX),
        })
    }
}

fn first_number(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

fn kibibytes(rollup: &str, key: &str) -> Option<u64> {
    rollup.lines().find_map(|line| line.strip_prefix(key)).and_then(first_number).map(|kib| kib * 1024)
}

/// The slope of a straight line through the points, by least squares; `None` for fewer than two.
#[must_use]
pub fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let count = f64::from(u32::try_from(points.len()).ok().filter(|&count| count >= 2)?);
    let mean_x = points.iter().map(|point| point.0).sum::<f64>() / count;
    let mean_y = points.iter().map(|point| point.1).sum::<f64>() / count;
    let spread: f64 = points.iter().map(|point| (point.0 - mean_x).powi(2)).sum();
    let joint: f64 = points.iter().map(|point| (point.0 - mean_x) * (point.1 - mean_y)).sum();
    (spread > 0.0).then_some(joint / spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_time_rises_and_own_weight_is_there() {
        let own = Process::own();
        let before = own.cpu_ns().unwrap();
        // The kernel brings the figure up to date at its ticks, so work goes on until one has come.
        let risen = (0..1000).any(|_| {
            let sum: u64 = (0..1_000_000_u64).map(std::hint::black_box).sum();
            std::hint::black_box(sum);
            own.cpu_ns().unwrap() > before
        });
        assert!(risen);
        let weight = own.weight().unwrap();
        assert!(weight.rss_bytes >= weight.anonymous_bytes && weight.descriptors > 0);
    }

    #[test]
    fn slope_of_a_line_is_found() {
        assert_eq!(slope(&[(0.0, 5.0)]), None);
        assert_eq!(slope(&[(1.0, 5.0), (1.0, 6.0)]), None);
        assert!((slope(&[(0.0, 5.0), (10.0, 25.0), (20.0, 45.0)]).unwrap() - 2.0).abs() < 1e-9);
    }
}
