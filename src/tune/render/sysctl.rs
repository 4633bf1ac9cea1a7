//! Settings in the forms of sysctl.d, limits.d and tuned.

use std::fmt::Write as _;

use super::USUAL;
use crate::tune::check::spaced;
use crate::tune::words::wrapped;
use crate::tune::{Plan, Row, Setting, TABLE};

/// Columns that a comment's mark takes.
const MARK: usize = 2;

pub(super) const USUAL_HEAD: &str = "Settings of the kernel for up to 100,000 connections. Put it into /etc/sysctl.d and \
    run `sysctl --system`. It sets what it says, also where a machine has more already; `waystation tune apply` writes it \
    for one machine and lowers nothing.";
pub(super) const MILLION_HEAD: &str = "Settings of the kernel for a million connections on a machine with 128 GiB, beside \
    those in 60-waystation.conf, whose values this replaces. `waystation tune apply --connections 1000000` writes it for \
    the memory that a machine has.";
pub(super) const LIMITS_HEAD: &str = "Limits for sessions of the user waystation, put into /etc/security/limits.d. \
    systemd does not read it: what holds for a service is in its unit.";

/// A comment over as many lines as it takes.
pub(super) fn comment(text: &str) -> String {
    wrapped(text, MARK).iter().map(|line| format!("# {line}\n")).collect()
}

/// Every row that is a setting, with its value on a machine whose values are `now` (`None`: it does not have it).
fn settings(plan: &Plan, now: &dyn Fn(&Setting) -> Option<Vec<u64>>) -> Vec<(&'static Row, Setting, String)> {
    let rows = TABLE.iter().copied().flatten();
    rows.filter_map(|row| {
        let setting = row.setting?;
        let value = (setting.value)(plan, &now(&setting)?)?;
        Some((row, setting, spaced(&value)))
    })
    .collect()
}

/// A file for sysctl.d.
pub(in crate::tune) fn sysctl(plan: &Plan, now: &dyn Fn(&Setting) -> Option<Vec<u64>>, head: &str) -> String {
    let mut out = comment(head);
    for (row, setting, value) in settings(plan, now) {
        let told = [format!("Why: {}.", row.why), format!("Costs: {}.", row.cost), format!("To undo: {}.", row.undo)];
        let dash = if setting.optional { "-" } else { "" };
        let _infallible =
            write!(out, "\n{}{dash}{} = {value}\n", told.map(|text| comment(&text)).concat(), setting.key);
    }
    out
}

/// A file for limits.d.
pub(in crate::tune) fn limits(plan: &Plan, head: &str) -> String {
    let mut out = comment(head);
    out.push('\n');
    for name in ["descriptors", "memlock"] {
        let Some(row) = crate::tune::row(name) else { continue };
        out.push_str(&comment(&format!("{name}: {}.", row.why)));
    }
    // A session that asks for more than fs.nr_open is refused: the settings beside this raise it where it is less.
    let files = plan.descriptors();
    for (item, value) in [("nofile", files.to_string()), ("memlock", "unlimited".to_owned())] {
        let _infallible = write!(out, "waystation soft {item} {value}\nwaystation hard {item} {value}\n");
    }
    out
}

/// A rule for udev: conntrack may be loaded long after the settings are made, with the first rule of a firewall, and
/// brings its own defaults.
pub(in crate::tune) fn conntrack_rule() -> String {
    let mut out = comment(
        "Makes the settings in sysctl.d for conntrack once more when it is loaded, which is often after they were made at \
         boot: until then there is nothing to set.",
    );
    out.push_str(
        "ACTION==\"add\", SUBSYSTEM==\"module\", KERNEL==\"nf_conntrack\", \
         RUN+=\"/lib/systemd/systemd-sysctl --prefix=/net/netfilter\"\n",
    );
    out
}

/// A profile for tuned.
pub(super) fn tuned() -> String {
    let mut out = comment(
        "A profile of tuned: put the directory into /etc/tuned and run `tuned-adm profile waystation`. It leaves deep sleep \
         of idle processors on, which network-latency turns off: that costs power and is worth it only where the highest \
         percentiles are measured and found to need it.",
    );
    out.push_str("[main]\nsummary=Many connections with few and small messages, and low latency\n\n");
    for (section, name, lines) in [
        ("cpu", "governor", "governor=performance\nenergy_perf_bias=performance\n"),
        ("vm", "huge-pages", "transparent_hugepages=madvise\n"),
    ] {
        let why = crate::tune::row(name).map_or("", |row| row.why);
        let _infallible = write!(out, "{}[{section}]\n{lines}\n", comment(&format!("{why}.")));
    }
    out.push_str("[sysctl]\n");
    for (_, setting, value) in settings(&USUAL, &|setting| (!setting.optional).then(Vec::new)) {
        let _infallible = writeln!(out, "{}={value}", setting.key);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::CONFIGURED_CONNECTIONS_MAX;
    use crate::tune::render::MILLION;

    #[test]
    fn a_setting_stands_once_with_the_value_of_its_plan() {
        let unknown = |_: &Setting| Some(Vec::new());
        let usual = sysctl(&USUAL, &unknown, "head");
        let million = sysctl(&MILLION, &unknown, "head");
        for (text, line, count) in [
            (&usual, "net.core.somaxconn = 4096", 1),
            (&usual, "fs.nr_open = 1048576", 1),
            (&million, "fs.nr_open = 1048576", 1),
            (&million, "net.ipv4.tcp_wmem = 4096 16384 262144", 1),
            (&usual, "net.ipv4.tcp_mem", 0),
            (&million, "net.ipv4.tcp_mem = 1980000 2640000 3960000", 1),
            (&usual, "-net.netfilter.nf_conntrack_max = 262144", 1),
        ] {
            assert_eq!(text.lines().filter(|found| found.starts_with(line)).count(), count, "{line}\n{text}");
        }
        let two = |_: &Setting| None;
        assert_eq!(sysctl(&USUAL, &two, "head"), "# head\n", "a machine that has none of them");
    }

    #[test]
    fn limits_hold_what_is_planned_and_stay_within_what_the_settings_make_the_kernel_allow() {
        for connections in [1, 100_000, 1_000_000, u64::from(CONFIGURED_CONNECTIONS_MAX)] {
            let plan = Plan { connections, ..MILLION };
            let text = limits(&plan, "head");
            let value =
                |line: &str, sign: &str| line.rsplit(sign).next().and_then(|word| word.trim().parse::<u64>().ok());
            let files = text.lines().find(|line| line.starts_with("waystation hard nofile")).unwrap();
            let settings = sysctl(&plan, &|_| Some(Vec::new()), "head");
            let most = settings.lines().find(|line| line.starts_with("fs.nr_open")).unwrap();
            assert_eq!(value(files, " "), Some(plan.descriptors()), "{connections}");
            assert!(value(most, "=") >= Some(plan.descriptors()), "{connections}: {most}");
        }
    }
}
