//! Where durable channels are kept: what kind of disk that is, what it has left, how long it takes to sync.

use super::{Answer, Check, Row, Severity};
use crate::limits::{DISK_SYNC_SLOW_MS, DISK_SYNC_WAIT_MS, STORE_JOURNALS_BYTES, STORE_SPACE_BYTES_MIN};
use crate::tune::disk::Sync;
use crate::tune::words::size;
use crate::tune::{Host, Plan, parse};

const MOUNTS: &str = "/proc/self/mountinfo";

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "store-file-system",
        reads: "/proc/self/mountinfo, for the data directory",
        wanted: "a disk of this machine, as with ext4 or xfs, that can be written and passes syncs on",
        severity: Severity::Error,
        why: "an acknowledged event is on the disk: in memory, in a container's own layer or behind barriers that are off it is gone with them, and a file server may stall or lose what it said it had",
        cost: "none",
        undo: "another store.directory",
        check: Check::Look(file_system),
        setting: None,
    },
    Row {
        name: "store-space",
        reads: "store.directory, by statvfs(2), on the running machine",
        wanted: "2 GiB left",
        severity: Severity::Error,
        why: "a full disk refuses what is new in durable channels; journals take 128 MiB, and tables are written anew before the old ones go",
        cost: "the space",
        undo: "another store.directory",
        check: Check::Look(space),
        setting: None,
    },
    Row {
        name: "store-sync",
        reads: "store.directory, by fdatasync(2) of a file without a name, on the running machine",
        wanted: "20 ms, the longest window that a commit waits for",
        severity: Severity::Warning,
        why: "who publishes to a durable channel waits for a sync before the acknowledgement; deliveries do not wait",
        cost: "maybe a disk of its own",
        undo: "another store.directory",
        check: Check::Look(sync),
        setting: None,
    },
];

/// What is wrong with a kind of file system, and what to do.
fn unfit(kind: &str) -> Option<(&'static str, &'static str)> {
    match kind {
        "tmpfs" | "ramfs" | "devtmpfs" => Some(("memory: gone with the next boot", "give store.directory on a disk")),
        "overlay" | "aufs" => Some(("a container's own layer: gone with the container", "mount a volume there")),
        "nfs" | "nfs4" | "cifs" | "smb3" | "ceph" | "glusterfs" | "9p" | "virtiofs" => {
            Some(("another machine's: it may stall, and decides what is kept", "give store.directory on a disk here"))
        }
        _ if kind == "fuse" || kind.starts_with("fuse.") => {
            Some(("a program's: it decides what is kept", "give store.directory on a disk here"))
        }
        _ => None,
    }
}

fn file_system(host: &Host, _: &Plan) -> Option<Answer> {
    let data = host.data.as_deref()?;
    let mounts = host.read(MOUNTS)?;
    let mount = parse::mount(&mounts, data)?;
    let is_set = |option: &str| mount.options.iter().any(|set| set == option);
    let bare = ["nobarrier", "barrier=0"].into_iter().find(|option| is_set(option));
    let mut seen = format!("{} at {}, for {}", mount.kind, mount.at, data.display());
    let mut fault = None;
    if is_set("ro") {
        seen.push_str(", read-only");
        fault = Some((Severity::Error, format!("mount {} to be written, or give another --data", mount.at)));
    } else if let Some((what, fix)) = unfit(&mount.kind) {
        seen.push_str(&format!(": {what}"));
        fault = Some((Severity::Warning, fix.to_owned()));
    } else if let Some(option) = bare {
        seen.push_str(&format!(", {option}: a sync does not reach the disk"));
        fault = Some((Severity::Warning, format!("mount {} without {option}", mount.at)));
    }
    Some(Answer { place: MOUNTS.to_owned(), seen, wanted: "a disk of this machine".to_owned(), fault })
}

fn space(host: &Host, _: &Plan) -> Option<Answer> {
    let data = host.data.as_deref()?;
    let free = host.live.as_ref()?.disk?.free_bytes?;
    let wanted =
        format!("at least {}, of which journals take {}", size(STORE_SPACE_BYTES_MIN), size(STORE_JOURNALS_BYTES));
    let severity = if free < STORE_JOURNALS_BYTES { Severity::Error } else { Severity::Warning };
    let answer = Answer::new(data.display().to_string(), format!("{} left", size(free)), wanted);
    Some(answer.fault_if(free < STORE_SPACE_BYTES_MIN, severity, || {
        "make space, give store.directory on another disk, or keep less: history.events, bytes, age".to_owned()
    }))
}

fn sync(host: &Host, _: &Plan) -> Option<Answer> {
    let data = host.data.as_deref()?;
    let (seen, slow) = match host.live.as_ref()?.disk?.sync? {
        Sync::Took(took) => (
            format!("{}.{:02} ms", took.as_millis(), took.subsec_micros() % 1000 / 10),
            took.as_millis() > u128::from(DISK_SYNC_SLOW_MS),
        ),
        Sync::Late => (format!("no end within {} s", DISK_SYNC_WAIT_MS / 1000), true),
    };
    let answer =
        Answer::new(data.display().to_string(), seen, format!("at most {DISK_SYNC_SLOW_MS} ms for an fdatasync"));
    Some(answer.fault_if(slow, Severity::Warning, || {
        "see who else writes to that disk; give store.directory on one with a cache that keeps its power".to_owned()
    }))
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::time::Duration;

    use super::*;
    use crate::tune::disk::Disk;
    use crate::tune::{Live, examine};

    const PLAN: Plan = Plan { connections: 16, shards: 1, memory_bytes: 1 << 40, send_buffer_bytes: 4 << 20 };

    /// What is found of a row where the disk told this.
    fn found(row: &str, disk: Disk) -> Option<Option<Severity>> {
        let live = Live { ring: Ok(()), clock_is_kept: None, disk: Some(disk) };
        let host = Host::new(Path::new("/proc"), Some(live)).unwrap().with_data(Some(PathBuf::from("/srv/w")));
        let findings = examine(&host, PLAN).findings;
        let finding = findings.into_iter().find(|finding| finding.row.name == row).unwrap();
        finding.answer.as_ref().map(|_| finding.severity())
    }

    #[test]
    fn a_disk_has_so_much_left_or_is_told_of() {
        for (free_bytes, expected) in [
            (None, None),
            (Some(STORE_SPACE_BYTES_MIN), Some(None)),
            (Some(STORE_SPACE_BYTES_MIN - 1), Some(Some(Severity::Warning))),
            (Some(STORE_JOURNALS_BYTES), Some(Some(Severity::Warning))),
            (Some(STORE_JOURNALS_BYTES - 1), Some(Some(Severity::Error))),
        ] {
            assert_eq!(found("store-space", Disk { free_bytes, sync: None }), expected, "{free_bytes:?}");
        }
    }

    #[test]
    fn a_sync_takes_so_long_or_is_told_of() {
        let took = |ms| Some(Sync::Took(Duration::from_millis(ms)));
        for (sync, expected) in [
            (None, None),
            (took(DISK_SYNC_SLOW_MS), Some(None)),
            (took(DISK_SYNC_SLOW_MS + 1), Some(Some(Severity::Warning))),
            (Some(Sync::Late), Some(Some(Severity::Warning))),
        ] {
            assert_eq!(found("store-sync", Disk { free_bytes: None, sync }), expected, "{sync:?}");
        }
    }

    #[test]
    fn the_words_of_the_table_have_the_numbers_of_the_limits() {
        assert!(ROWS[1].wanted.starts_with(&size(STORE_SPACE_BYTES_MIN)));
        assert!(ROWS[1].why.contains(&size(STORE_JOURNALS_BYTES)));
        assert!(ROWS[2].wanted.starts_with(&format!("{DISK_SYNC_SLOW_MS} ms")));
        assert_eq!(DISK_SYNC_SLOW_MS, crate::limits::STORE_WINDOW_MS_MAX);
    }
}
