//! What a start needs: io_uring, locked memory, descriptors, threads.

use super::{Answer, Check, Row, Setting, Severity, at_least};
use crate::limits::{THREADS_BESIDE, THREADS_PER_SHARD};
use crate::runtime::probe::{Capability, KERNEL_MIN};
use crate::tune::words::{counted as number_of, grouped, limited, size};
use crate::tune::{Host, Plan, parse};

/// What the kernel allows for one process unless it is told otherwise.
const NR_OPEN_DEFAULT: u64 = 1 << 20;

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "kernel",
        reads: "/proc/sys/kernel/osrelease",
        wanted: "Linux 6.1 or later",
        severity: Severity::Error,
        why: "the shards' rings use deferred completions, which came with 6.1",
        cost: "none",
        undo: "boot the older kernel",
        check: Check::Look(kernel),
        setting: None,
    },
    Row {
        name: "io_uring",
        reads: "/proc/sys/kernel/io_uring_disabled, io_uring_group; /proc/self/status; a ring built and dropped",
        wanted: "a ring can be built",
        severity: Severity::Error,
        why: "every shard reads its connections through a ring of its own; there is no other way in",
        cost: "io_uring is open to every program of the machine, or to one group with the value 1",
        undo: "sysctl -w kernel.io_uring_disabled=2",
        check: Check::Look(io_uring),
        setting: None,
    },
    Row {
        name: "memlock",
        reads: "/proc/self/limits, Max locked memory; CapEff of /proc/self/status, uid_map",
        wanted: "what the shards' rings lock, at least 512 KiB; in the unit: infinity",
        severity: Severity::Error,
        why: "the kernel counts rings against this limit unless the process has CAP_IPC_LOCK on the machine itself, as root of most containers has not, and the executor library asks everybody for 512 KiB",
        cost: "the user may lock as much memory as the limit says",
        undo: "take LimitMEMLOCK= or the memlock line out",
        check: Check::Look(memlock),
        setting: None,
    },
    Row {
        name: "descriptors",
        reads: "/proc/self/limits, Max open files",
        wanted: "one for each connection, an eighth (at most 1,024) to answer those who find no place, 16 for each shard, 64",
        severity: Severity::Error,
        why: "a connection is a descriptor; over the limit nobody is let in",
        cost: "none until they are used",
        undo: "take LimitNOFILE= or the nofile line out",
        check: Check::Look(descriptors),
        setting: None,
    },
    Row {
        name: "fs.nr_open",
        reads: "/proc/sys/fs/nr_open",
        wanted: "at least the descriptors of the process",
        severity: Severity::Error,
        why: "no process gets more descriptors than this, whatever its limit says",
        cost: "8 bytes for each descriptor that is used",
        undo: "sysctl -w fs.nr_open=1048576, the kernel's default",
        check: Check::Setting,
        setting: Some(Setting { key: "fs.nr_open", value: nr_open, optional: false }),
    },
    Row {
        name: "fs.file-max",
        reads: "/proc/sys/fs/file-max, file-nr",
        wanted: "the descriptors of the process beside those that others have open",
        severity: Severity::Error,
        why: "all programs together open no more files than this",
        cost: "none until they are used",
        undo: "the value before; recent kernels have no practical limit",
        check: Check::Look(file_max),
        setting: None,
    },
    Row {
        name: "threads",
        reads: "pids.max of the control groups, pids.current",
        wanted: "a thread for each shard and 16 more",
        severity: Severity::Error,
        why: "a shard whose thread cannot be started ends the start",
        cost: "none",
        undo: "take TasksMax= or --pids-limit back",
        check: Check::Look(threads),
        setting: None,
    },
];

fn kernel(host: &Host, _: &Plan) -> Option<Answer> {
    let place = "/proc/sys/kernel/osrelease";
    let wanted = format!("Linux {}.{} or later", KERNEL_MIN.0, KERNEL_MIN.1);
    let Some(seen) = host.read(place) else {
        let answer = Answer::new(place, "nothing", wanted);
        return Some(
            answer.fault_if(true, Severity::Error, || "give the root of a machine, with its /proc".to_owned()),
        );
    };
    let old = parse::release(&seen).is_none_or(|version| version < KERNEL_MIN);
    Some(Answer::new(place, seen, wanted).fault_if(old, Severity::Error, || "install a newer kernel".to_owned()))
}

fn io_uring(host: &Host, _: &Plan) -> Option<Answer> {
    let place = "/proc/sys/kernel/io_uring_disabled";
    let value = host.number(place);
    if value.is_none() && host.live.is_none() && !host.has("/proc/sys/kernel") {
        return None;
    }
    let seen = value.map_or_else(|| "not there, as before Linux 6.6".to_owned(), |value| value.to_string());
    let member = || {
        let group = host.read("/proc/sys/kernel/io_uring_group").unwrap_or_default();
        let ids = ["Gid", "Groups"].map(|name| host.status(name).unwrap_or_default());
        host.is_capable(Capability::SysAdmin) || ids.iter().any(|ids| ids.split_whitespace().any(|id| id == group))
    };
    let allowed = match value {
        None | Some(0) => true,
        Some(1) => member(),
        Some(_) => false,
    };
    let answer = Answer::new(place, seen, "0, or 1 and this user in kernel.io_uring_group");
    if !allowed {
        return Some(answer.fault_if(true, Severity::Error, || "sysctl -w kernel.io_uring_disabled=0".to_owned()));
    }
    let Some(live) = &host.live else { return Some(answer) };
    let tried = Answer::new(
        format!("{place}, and a ring that was tried"),
        match &live.ring {
            Ok(()) => "a ring can be built".to_owned(),
            Err(why) => why.split_once(": ").map_or(why.as_str(), |(what, _)| what).to_owned(),
        },
        answer.wanted,
    );
    let remedy = live.ring.as_ref().err().map(|why| why.split_once(": ").map_or(why.as_str(), |(_, fix)| fix));
    Some(tried.fault_if(remedy.is_some(), Severity::Error, || remedy.unwrap_or_default().to_owned()))
}

fn memlock(host: &Host, plan: &Plan) -> Option<Answer> {
    let (soft, hard) = host.limit("Max locked memory")?;
    let free = host.is_capable(Capability::IpcLock);
    let needed = plan.memlock(free);
    let seen = if hard == u64::MAX {
        "unlimited".to_owned()
    } else {
        format!("hard limit {} ({} bytes)", size(hard), grouped(hard))
    };
    let counted =
        if free { "the library's minimum: CAP_IPC_LOCK is not counted" } else { "what is counted of this user" };
    let wanted = format!("{} bytes for {}, {counted}", grouped(needed), number_of(plan.shards, "shard"));
    let answer = Answer::new("/proc/self/limits", seen, wanted);
    Some(answer.fault_if(hard.max(soft) < needed, Severity::Error, || {
        format!("LimitMEMLOCK=infinity in the unit, --ulimit memlock={needed} for a container, or start fewer shards")
    }))
}

fn descriptors(host: &Host, plan: &Plan) -> Option<Answer> {
    let (soft, hard) = host.limit("Max open files")?;
    let needed = plan.descriptors();
    let seen = format!("hard limit {}, soft {} (raised to the hard one at the start)", limited(hard), limited(soft));
    let answer = Answer::new("/proc/self/limits", seen, format!("at least {}", plan.descriptors_told()));
    Some(answer.fault_if(hard < needed, Severity::Error, || {
        format!("LimitNOFILE={needed} in the unit, --ulimit nofile={needed} for a container, or ulimit -Hn {needed}")
    }))
}

fn nr_open(plan: &Plan, current: &[u64]) -> Option<Vec<u64>> {
    let needed =
        if plan.descriptors() <= NR_OPEN_DEFAULT { plan.descriptors() } else { plan.descriptors().next_power_of_two() };
    at_least(current, if current.is_empty() { needed.max(NR_OPEN_DEFAULT) } else { needed })
}

fn file_max(host: &Host, plan: &Plan) -> Option<Answer> {
    let place = "/proc/sys/fs/file-max";
    let most = host.number(place)?;
    let open = host.number("/proc/sys/fs/file-nr").unwrap_or(0);
    let needed = plan.descriptors() + open;
    let wanted =
        format!("{} of the process + {} open now = {}", grouped(plan.descriptors()), grouped(open), grouped(needed));
    let answer = Answer::new(place, grouped(most), wanted);
    Some(
        answer.fault_if(most < needed, Severity::Error, || {
            format!("sysctl -w fs.file-max={}", needed.next_power_of_two())
        }),
    )
}

fn threads(host: &Host, plan: &Plan) -> Option<Answer> {
    let levels = [host.control("pids.max", None), host.control("pids.max", Some("pids"))].into_iter().flatten();
    let limits = levels.filter_map(|(path, text)| {
        let there = host.number(&path.replace("pids.max", "pids.current")).unwrap_or(0);
        Some((path, text.parse::<u64>().ok()?, there))
    });
    // A group above may be fuller than the own one.
    let (place, most, there) = limits.min_by_key(|(_, most, there)| most.saturating_sub(*there))?;
    let needed = THREADS_PER_SHARD * plan.shards + THREADS_BESIDE + there;
    let answer = Answer::new(
        place,
        grouped(most),
        format!(
            "at least {needed}: {THREADS_PER_SHARD} for each of {} shards, {THREADS_BESIDE} beside them, {there} there now",
            plan.shards
        ),
    );
    Some(answer.fault_if(most < needed, Severity::Error, || {
        format!("TasksMax={needed} in the unit, or --pids-limit {needed} for a container")
    }))
}
