//! Processors: how many there are, who else is on them, how fast they run, and the clocks.

use std::collections::BTreeSet;

use super::{Answer, Check, Row, Severity};
use crate::tune::{Host, Plan, counted, parse};

/// Clock sources that are read without a system call or a trap.
const FAST_CLOCKS: [&str; 5] =
    ["tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter", "riscv_clocksource"];
/// What is there while something keeps the clock right, if this user may see it.
const CLOCK_KEEPERS: [&str; 6] = [
    "/run/systemd/timesync/synchronized",
    "/run/chrony/chronyd.pid",
    "/run/chronyd.pid",
    "/run/ntpd.pid",
    "/run/ntpsec/ntpd.pid",
    "/run/openntpd.pid",
];

/// The card's script, where the package has it.
const SCRIPT: &str = "/usr/lib/waystation/nic-affinity.sh";

/// Processes that do. That of systemd says by a file whether it has succeeded.
const CLOCK_PROCESSES: [&str; 4] = ["chronyd", "ntpd", "phc2sys", "ptp4l"];

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "processors",
        reads: "/proc/self/status, Cpus_allowed_list",
        wanted: "one for each shard",
        severity: Severity::Warning,
        why: "a shard never waits for another, but two on one processor wait for each other's turns",
        cost: "none",
        undo: "none needed",
        check: Check::Look(processors),
        setting: None,
    },
    Row {
        name: "quota",
        reads: "cpu.max or cpu.cfs_quota_us of the control groups",
        wanted: "none",
        severity: Severity::Warning,
        why: "over the quota every shard stands still until the period ends, up to 100 ms",
        cost: "the machine's other users are held back by weights only",
        undo: "set CPUQuota= or --cpus again",
        check: Check::Look(quota),
        setting: None,
    },
    Row {
        name: "siblings",
        reads: "/sys/devices/system/cpu/cpu*/topology/thread_siblings_list",
        wanted: "shards on different cores",
        severity: Severity::Note,
        why: "two threads of one core share its caches and units: two shards there do less than two shards' work",
        cost: "half of the threads are left to the kernel and others",
        undo: "leave --cpus out",
        check: Check::Look(siblings),
        setting: None,
    },
    Row {
        name: "interrupts",
        reads: "/sys/class/net/*/device/msi_irqs, /proc/irq/*/effective_affinity_list",
        wanted: "the card's interrupts on more than one processor",
        severity: Severity::Warning,
        why: "one processor that takes every packet slows the shard on it and bounds all others",
        cost: "none",
        undo: "/usr/lib/waystation/nic-affinity.sh --revert",
        check: Check::Look(interrupts),
        setting: None,
    },
    Row {
        name: "receive-queues",
        reads: "/sys/class/net/*/queues/rx-*, rps_cpus",
        wanted: "a receive queue for each shard, or RPS",
        severity: Severity::Note,
        why: "with fewer queues than shards, packets of many shards are handled on the few processors of the queues",
        cost: "RPS costs an interrupt between processors for each batch of packets",
        undo: "/usr/lib/waystation/nic-affinity.sh --revert",
        check: Check::Look(receive_queues),
        setting: None,
    },
    Row {
        name: "clock-source",
        reads: "/sys/devices/system/clocksource/clocksource0/current_clocksource",
        wanted: "tsc, or the hypervisor's page",
        severity: Severity::Warning,
        why: "every turn reads the clock; another source takes a microsecond and more for it",
        cost: "none where the processor's counter is stable",
        undo: "write the other name into the file",
        check: Check::Look(clock_source),
        setting: None,
    },
    Row {
        name: "governor",
        reads: "/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",
        wanted: "performance",
        severity: Severity::Warning,
        why: "a shard that sleeps between messages is woken on a slow clock, which is seen in the highest percentiles",
        cost: "power and heat while idle",
        undo: "write the other name into the files, or leave the tuned profile",
        check: Check::Look(governor),
        setting: None,
    },
    Row {
        name: "time-sync",
        reads: "/run/systemd/timesync/synchronized, /run/chrony, /run/ntpd.pid and others; /proc/*/comm; the kernel's own word",
        wanted: "something that keeps the clock right",
        severity: Severity::Warning,
        why: "tokens begin and end by the wall clock: one that is wrong lets nobody in, or somebody too long",
        cost: "none",
        undo: "none needed",
        check: Check::Look(time_sync),
        setting: None,
    },
];

fn processors(host: &Host, plan: &Plan) -> Option<Answer> {
    let cpus = host.cpus()?.len();
    let few = plan.shards > cpus as u64;
    let answer =
        Answer::new("/proc/self/status", format!("{cpus} may be used"), format!("{}, one for each shard", plan.shards));
    Some(
        answer
            .fault_if(few, Severity::Warning, || format!("--shards {cpus}, or widen AllowedCPUs=, cpuset or taskset")),
    )
}

fn quota(host: &Host, plan: &Plan) -> Option<Answer> {
    let Some((place, share)) = host.quota() else {
        let groups = "/proc/self/cgroup";
        return host.read(groups).map(|_| Answer::new(groups, "no quota", "none"));
    };
    let seen = format!("{}.{:03} processors' time in a period", share / 1000, share % 1000);
    let tight = share < plan.shards * 1000;
    let severity = if tight { Severity::Warning } else { Severity::Note };
    let answer =
        Answer::new(place, seen, format!("none, or well over {} for {}", plan.shards, counted(plan.shards, "shard")));
    Some(answer.fault_if(true, severity, || {
        "give whole processors instead: AllowedCPUs= in the unit, --cpuset-cpus for a container".to_owned()
    }))
}

fn siblings(host: &Host, plan: &Plan) -> Option<Answer> {
    let cpus = host.cpus()?;
    let cores: Option<BTreeSet<Vec<usize>>> = cpus
        .iter()
        .map(|cpu| {
            let list = host.read(&format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"))?;
            parse::cpu_list(&list)
        })
        .collect();
    let cores = cores?;
    let shared = plan.shards > cores.len() as u64;
    let firsts: Vec<String> =
        cores.iter().filter_map(|core| core.iter().find(|cpu| cpus.contains(cpu))).map(ToString::to_string).collect();
    let seen = format!("{} processors on {} cores", cpus.len(), cores.len());
    let answer = Answer::new(
        "/sys/devices/system/cpu/cpu*/topology",
        seen,
        format!("a core for each of {}", counted(plan.shards, "shard")),
    );
    Some(answer.fault_if(shared, Severity::Note, || format!("measure --cpus {} against all of them", firsts.join(","))))
}

/// Interfaces of real cards: the others have no device.
fn cards(host: &Host) -> Vec<String> {
    let mut names = host.names("/sys/class/net");
    names.retain(|name| host.has(&format!("/sys/class/net/{name}/device")));
    names
}

fn interrupts(host: &Host, plan: &Plan) -> Option<Answer> {
    let mut last = None;
    for card in cards(host) {
        // A paravirtual card is a device on the one that has the interrupts.
        let places = ["device/msi_irqs", "device/../msi_irqs"].map(|place| format!("/sys/class/net/{card}/{place}"));
        let irqs = places.iter().map(|place| host.names(place)).find(|irqs| !irqs.is_empty()).unwrap_or_default();
        let cpus_of = |irq: &String| {
            let list = ["effective_affinity_list", "smp_affinity_list"];
            list.iter().find_map(|name| host.read(&format!("/proc/irq/{irq}/{name}")).filter(|list| !list.is_empty()))
        };
        let cpus: BTreeSet<String> = irqs.iter().filter_map(cpus_of).collect();
        if cpus.is_empty() {
            continue;
        }
        let list = cpus.iter().cloned().collect::<Vec<_>>().join(" ");
        let seen = format!("{card}: {} interrupts on processors {list}", irqs.len());
        let wanted = "spread over the shards' processors";
        let answer = Answer::new(format!("/sys/class/net/{card}/device, /proc/irq"), seen, wanted);
        // A card with one queue has several interrupts and needs no more than a processor for them.
        let queues = receive_queues_of(host, &card).len();
        let alone = queues > 1
            && plan.shards > 1
            && cpus.len() == 1
            && parse::cpu_list(&list).is_some_and(|cpus| cpus.len() == 1);
        if alone {
            return Some(answer.fault_if(true, Severity::Warning, || format!("{SCRIPT} {card}")));
        }
        last = Some(answer);
    }
    last
}

/// Names of a card's receive queues.
fn receive_queues_of(host: &Host, card: &str) -> Vec<String> {
    let mut names = host.names(&format!("/sys/class/net/{card}/queues"));
    names.retain(|name| name.starts_with("rx-"));
    names
}

fn receive_queues(host: &Host, plan: &Plan) -> Option<Answer> {
    let mut last = None;
    for card in cards(host) {
        let queues = format!("/sys/class/net/{card}/queues");
        let receive = receive_queues_of(host, &card);
        if receive.is_empty() {
            continue;
        }
        let spread = |queue: &String| {
            let mask = host.read(&format!("{queues}/{queue}/rps_cpus")).unwrap_or_default();
            mask.chars().any(|digit| digit != '0' && digit != ',')
        };
        let spread = receive.iter().all(spread);
        let seen = format!("{card}: {} queues, RPS {}", receive.len(), if spread { "on" } else { "off" });
        let answer = Answer::new(queues, seen, format!("{} queues, or RPS", plan.shards));
        if (receive.len() as u64) < plan.shards && !spread {
            return Some(answer.fault_if(true, Severity::Note, || format!("{SCRIPT} {card}")));
        }
        last = Some(answer);
    }
    last
}

fn clock_source(host: &Host, _: &Plan) -> Option<Answer> {
    let place = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    let seen = host.read(place)?;
    let slow = !FAST_CLOCKS.contains(&seen.as_str());
    let others = host.read("/sys/devices/system/clocksource/clocksource0/available_clocksource").unwrap_or_default();
    let better = FAST_CLOCKS.iter().find(|name| others.split_whitespace().any(|other| other == **name));
    Some(Answer::new(place, seen, FAST_CLOCKS.join(", ")).fault_if(slow, Severity::Warning, || {
        match better {
            Some(name) => format!("echo {name} > {place}"),
            None => {
                "see dmesg for why the processor's counter was given up; boot with tsc=reliable only if that is wrong"
                    .to_owned()
            }
        }
    }))
}

fn governor(host: &Host, _: &Plan) -> Option<Answer> {
    let place = "/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor";
    let governors: BTreeSet<String> =
        host.cpus()?.iter().filter_map(|cpu| host.read(&place.replace('*', &cpu.to_string()))).collect();
    if governors.is_empty() {
        return None;
    }
    let seen = governors.iter().cloned().collect::<Vec<_>>().join(", ");
    let slow = governors.iter().any(|name| name != "performance");
    let fix = || format!("echo performance | tee {place}, or tuned-adm profile waystation");
    Some(Answer::new(place, seen, "performance").fault_if(slow, Severity::Warning, fix))
}

fn time_sync(host: &Host, _: &Plan) -> Option<Answer> {
    let wanted = "systemd-timesyncd, chrony or ntpd";
    if let Some(found) = CLOCK_KEEPERS.iter().find(|path| host.has(path)) {
        return Some(Answer::new(*found, "it is there", wanted));
    }
    // Whoever keeps it may be hidden from this user, or outside of a container that has its host's clock.
    let kept = host.live.as_ref().and_then(|live| live.clock_is_kept);
    if kept == Some(true) {
        return Some(Answer::new("the kernel's clock, by adjtimex", "it is kept right", wanted));
    }
    if let Some((place, name)) = clock_process(host) {
        return Some(Answer::new(place, format!("{name} runs"), wanted));
    }
    let waits = host.has("/run/systemd/timesync");
    let (place, seen) = match kept {
        None if waits => ("/run/systemd/timesync", "systemd-timesyncd runs and has not set the clock since the boot"),
        None => return None,
        Some(_) => ("the kernel's clock, by adjtimex", "nothing keeps it right, or has succeeded yet"),
    };
    let fix =
        || "apt-get install chrony, or timedatectl set-ntp true; timedatectl timesync-status says more".to_owned();
    Some(Answer::new(place, seen, wanted).fault_if(true, Severity::Warning, fix))
}

/// A process that keeps the clock right, where its name can be seen.
fn clock_process(host: &Host) -> Option<(String, String)> {
    let ids = host.names("/proc").into_iter().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    let mut named = ids.filter_map(|id| {
        let place = format!("/proc/{id}/comm");
        let name = host.read(&place)?;
        Some((place, name))
    });
    named.find(|(_, name)| CLOCK_PROCESSES.contains(&name.as_str()))
}
