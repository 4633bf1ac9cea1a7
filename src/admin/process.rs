//! What the kernel says of this process, under the names that every Prometheus client library uses; and what no shard
//! counts.
//!
//! Read when somebody asks, by the thread that answers. What cannot be read is left out, so that a container which hides
//! a file of `/proc` costs one family and not the answer.

use procfs::process::{LimitValue, Process};
use procfs::{boot_time_secs, page_size, ticks_per_second};

use crate::mesh::Lost;

/// One number of the process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Number {
    /// Family name, unit last.
    pub family: &'static str,
    /// `counter` or `gauge`.
    pub kind: &'static str,
    /// One line of help.
    pub help: &'static str,
    /// Its value now, as Prometheus writes it.
    pub value: f64,
}

/// Name, kind and help of each, in the order in which they are shown.
pub const FAMILIES: [(&str, &str, &str); 9] = [
    ("process_cpu_seconds_total", "counter", "Processor time of the process, user and system, in seconds"),
    ("process_resident_memory_bytes", "gauge", "Memory of the process that is in RAM"),
    ("process_virtual_memory_bytes", "gauge", "Addresses that the process has mapped"),
    ("process_threads", "gauge", "Threads of the process"),
    ("process_open_fds", "gauge", "Descriptors that are open"),
    ("process_max_fds", "gauge", "Descriptors that may be open"),
    ("process_start_time_seconds", "gauge", "When the process began, in seconds since 1970"),
    ("waystation_log_lost_total", "counter", "Lines that were said to the log and not written"),
    ("waystation_audit_lost_total", "counter", "Entries that were made for the audit and not written"),
];

/// What can be read now.
#[must_use]
pub fn numbers() -> Vec<Number> {
    let process = Process::myself().ok();
    let process = process.as_ref();
    let stat = process.and_then(|process| process.stat().ok());
    let ticks = float(ticks_per_second());
    let limit = || match process?.limits().ok()?.max_open_files.soft_limit {
        LimitValue::Value(count) => Some(float(count)),
        LimitValue::Unlimited => None,
    };
    let stat = stat.as_ref();
    let values = [
        stat.map(|stat| float(stat.utime + stat.stime) / ticks),
        stat.map(|stat| float(stat.rss.saturating_mul(page_size()))),
        stat.map(|stat| float(stat.vsize)),
        stat.map(|stat| float(u64::try_from(stat.num_threads).unwrap_or(0))),
        process.and_then(open_descriptors).map(float),
        limit(),
        stat.zip(boot_time_secs().ok()).map(|(stat, boot)| float(boot) + float(stat.starttime) / ticks),
    ];
    let rows = FAMILIES.iter().zip(values);
    rows.filter_map(|(&(family, kind, help), value)| Some(Number { family, kind, help, value: value? })).collect()
}

/// What was said and not written: of the log and of the audit, the last two families.
#[must_use]
pub fn lost(lost: &Lost) -> [Number; 2] {
    let [.., log, audit] = FAMILIES;
    [(log, &lost.lines), (audit, &lost.entries)].map(|((family, kind, help), losses)| {
        let value = float(losses.count());
        Number { family, kind, help, value }
    })
}

/// Since Linux 6.2 the directory's size is their number; before, they are counted, which takes a step for each.
fn open_descriptors(process: &Process) -> Option<u64> {
    let size = std::fs::metadata("/proc/self/fd").map_or(0, |directory| directory.len());
    if size > 0 { Some(size) } else { process.fd_count().ok().and_then(|count| u64::try_from(count).ok()) }
}

/// Prometheus counts in floats: above 2^53 the last digits are lost, which are 9 PB or 285 years.
#[expect(clippy::cast_precision_loss, reason = "as the format has it")]
const fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(family: &str) -> f64 {
        numbers().into_iter().find(|number| number.family == family).map(|number| number.value).unwrap()
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the wall clock is what the number is held against")]
    fn a_process_knows_itself() {
        assert_eq!(numbers().len() + 2, FAMILIES.len());
        assert!(value("process_resident_memory_bytes") > 1_000_000.0);
        assert!(value("process_virtual_memory_bytes") >= value("process_resident_memory_bytes"));
        assert!(value("process_threads") >= 1.0 && value("process_max_fds") >= value("process_open_fds"));
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        let age = now - value("process_start_time_seconds");
        assert!((-2.0..86_400.0).contains(&age), "{age} s");
    }

    #[test]
    fn what_was_lost_is_told_of_the_log_and_of_the_audit() {
        let both = Lost::default();
        both.lines.add(3);
        both.entries.add(4);
        let told = lost(&both).map(|number| (number.family, number.value));
        assert_eq!(told, [("waystation_log_lost_total", 3.0), ("waystation_audit_lost_total", 4.0)]);
    }

    #[test]
    fn what_is_opened_is_counted() {
        let before = value("process_open_fds");
        let opened: Vec<_> = (0..100).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
        let after = value("process_open_fds");
        assert!(after - before > 60.0, "{before} and then {after}, other tests aside");
        assert_eq!(opened.len(), 100);
    }
}
