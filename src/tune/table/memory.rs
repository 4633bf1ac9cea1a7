//! Memory: whether there is enough, and what may take it away for a while.

use super::{Answer, Check, Row, Setting, Severity};
use crate::tune::words::size;
use crate::tune::{Host, Plan, parse};

/// Swappiness up to which anonymous memory is swapped only when files are nearly gone.
const SWAPPINESS_MAX: u64 = 10;

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "memory",
        reads: "/proc/meminfo, MemTotal; memory.max of the control groups",
        wanted: "what the connections need, history aside",
        severity: Severity::Error,
        why: "who runs out of memory is killed with every connection",
        cost: "none",
        undo: "set MemoryMax= or --memory again",
        check: Check::Look(memory),
        setting: None,
    },
    Row {
        name: "vm.swappiness",
        reads: "/proc/swaps, /proc/sys/vm/swappiness",
        wanted: "no swap, or a swappiness of at most 10",
        severity: Severity::Warning,
        why: "a shard that waits for one swapped page keeps all its connections waiting",
        cost: "file caches are given up before idle programs are",
        undo: "sysctl -w vm.swappiness=60, the kernel's default",
        check: Check::Look(swap),
        setting: Some(Setting { key: "vm.swappiness", value: swappiness, optional: false }),
    },
    Row {
        name: "huge-pages",
        reads: "/sys/kernel/mm/transparent_hugepage/enabled",
        wanted: "madvise or never",
        severity: Severity::Note,
        why: "the server turns them off for itself, since each of many size classes would take 2 MiB; other programs' make the kernel move memory, which stalls all",
        cost: "programs that gain by them have to ask",
        undo: "write always into the file, or leave the tuned profile",
        check: Check::Look(huge_pages),
        setting: None,
    },
];

fn memory(host: &Host, plan: &Plan) -> Option<Answer> {
    let (place, bytes) = host.memory()?;
    let few = bytes < plan.memory();
    let answer = Answer::new(place, size(bytes), plan.memory_told());
    Some(answer.fault_if(few, Severity::Error, || {
        "plan fewer connections, or give more: MemoryMax= in the unit, --memory for a container".to_owned()
    }))
}

fn swap(host: &Host, plan: &Plan) -> Option<Answer> {
    let swaps = host.read("/proc/swaps")?.lines().skip(1).count();
    let place = "/proc/sys/vm/swappiness";
    let now = host.number(place)?;
    let seen = if swaps == 0 { format!("{now}, and no swap") } else { format!("{now}, and swap is on") };
    let bad = swaps > 0 && swappiness(plan, &[now]).is_some_and(|wanted| wanted != [now]);
    let answer = Answer::new(place, seen, format!("no swap, or at most {SWAPPINESS_MAX}"));
    Some(answer.fault_if(bad, Severity::Warning, || format!("sysctl -w vm.swappiness={SWAPPINESS_MAX}, or swapoff -a")))
}

fn swappiness(_: &Plan, current: &[u64]) -> Option<Vec<u64>> {
    Some(vec![current.first().map_or(SWAPPINESS_MAX, |&now| now.min(SWAPPINESS_MAX))])
}

fn huge_pages(host: &Host, _: &Plan) -> Option<Answer> {
    let place = "/sys/kernel/mm/transparent_hugepage/enabled";
    let text = host.read(place)?;
    let seen = parse::chosen(&text)?.to_owned();
    let always = seen == "always";
    Some(
        Answer::new(place, seen, "madvise or never")
            .fault_if(always, Severity::Note, || format!("echo madvise > {place}")),
    )
}
