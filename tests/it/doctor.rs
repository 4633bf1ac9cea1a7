//! Proves what the doctor finds: a machine that is well set has no finding, and each fault that is put into its files is
//! found, and nothing else. The machines are directories with the files that the kernel would show.

pub(crate) mod machine;

use serde_json::{Value, json};

use crate::gateway::{Directory, command};
use machine::{Change, Machine};

use Change::{Gone, Is};

const LIMITS_LOW: &str = "Max open files            1024                 4096                 files     \n\
                          Max locked memory         8388608              8388608              bytes     \n";

/// Root of the machine itself, of a container as Docker leaves it, and of a user namespace.
const ROOT: &str = "Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nCpus_allowed_list:\t0-3\nCapEff:\t000001ffffffffff\n";
const ROOT_OF_CONTAINER: &str =
    "Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nCpus_allowed_list:\t0-3\nCapEff:\t00000000a80425fb\n";
const WHOLE: &str = "         0          0 4294967295";
/// Too little for the rings of four shards, enough for who is not counted.
const LOCK_ONE_MIB: &str = "Max open files 1048576 1048576 files\nMax locked memory 1048576 1048576 bytes\n";

/// A fault, what is asked besides, and every finding that it leads to.
type Case =
    (&'static str, &'static [(&'static str, Change)], &'static [&'static str], &'static [(&'static str, &'static str)]);

const CASES: &[Case] = &[
    ("all is well", &[], &[], &[]),
    ("old kernel", &[("proc/sys/kernel/osrelease", Is("6.0.19-generic"))], &[], &[("kernel", "error")]),
    ("no kernel", &[("proc/sys/kernel/osrelease", Gone)], &[], &[("kernel", "error")]),
    ("first kernel", &[("proc/sys/kernel/osrelease", Is("6.1.0-9-amd64"))], &[], &[]),
    ("io_uring off", &[("proc/sys/kernel/io_uring_disabled", Is("2"))], &[], &[("io_uring", "error")]),
    ("io_uring for others", &[("proc/sys/kernel/io_uring_disabled", Is("1"))], &[], &[("io_uring", "error")]),
    (
        "io_uring for our group",
        &[("proc/sys/kernel/io_uring_disabled", Is("1")), ("proc/sys/kernel/io_uring_group", Is("998"))],
        &[],
        &[],
    ),
    (
        "little to lock",
        &[("proc/self/limits", Is("Max open files 1048576 1048576 files\nMax locked memory 65536 65536 bytes\n"))],
        &[],
        &[("memlock", "error")],
    ),
    (
        "little to lock for root, who is not counted",
        &[("proc/self/limits", Is(LOCK_ONE_MIB)), ("proc/self/status", Is(ROOT)), ("proc/self/uid_map", Is(WHOLE))],
        &[],
        &[],
    ),
    (
        "little to lock for root of a container",
        &[
            ("proc/self/limits", Is(LOCK_ONE_MIB)),
            ("proc/self/status", Is(ROOT_OF_CONTAINER)),
            ("proc/self/uid_map", Is(WHOLE)),
        ],
        &[],
        &[("memlock", "error")],
    ),
    (
        "little to lock for root of a user namespace",
        &[
            ("proc/self/limits", Is(LOCK_ONE_MIB)),
            ("proc/self/status", Is(ROOT)),
            ("proc/self/uid_map", Is("         0     100000      65536")),
        ],
        &[],
        &[("memlock", "error")],
    ),
    (
        "io_uring for root",
        &[
            ("proc/sys/kernel/io_uring_disabled", Is("1")),
            ("proc/self/status", Is(ROOT)),
            ("proc/self/uid_map", Is(WHOLE)),
        ],
        &[],
        &[],
    ),
    (
        "io_uring for root of a container",
        &[
            ("proc/sys/kernel/io_uring_disabled", Is("1")),
            ("proc/self/status", Is(ROOT_OF_CONTAINER)),
            ("proc/self/uid_map", Is(WHOLE)),
        ],
        &[],
        &[("io_uring", "error")],
    ),
    ("few descriptors", &[("proc/self/limits", Is(LIMITS_LOW))], &[], &[("descriptors", "error")]),
    ("few descriptors for few", &[("proc/self/limits", Is(LIMITS_LOW))], &["--connections", "3000"], &[]),
    ("descriptors capped", &[("proc/sys/fs/nr_open", Is("8192"))], &[], &[("fs.nr_open", "error")]),
    (
        "few files in all",
        &[("proc/sys/fs/file-max", Is("12000")), ("proc/sys/fs/file-nr", Is("2000\t0\t12000"))],
        &[],
        &[("fs.file-max", "error")],
    ),
    ("few threads", &[("sys/fs/cgroup/system.slice/pids.max", Is("16"))], &[], &[("threads", "error")]),
    (
        "few threads left in the group above",
        &[("sys/fs/cgroup/pids.max", Is("5000")), ("sys/fs/cgroup/pids.current", Is("4990"))],
        &[],
        &[("threads", "error")],
    ),
    (
        "processors that are allowed and not there",
        &[("proc/self/status", Is("Uid:\t998\t998\t998\t998\nCpus_allowed_list:\t0-127\n"))],
        &[],
        &[],
    ),
    (
        "a card with one queue on one processor",
        &[
            ("sys/class/net/eth0/queues/rx-0/rps_cpus", Is("f")),
            ("sys/class/net/eth0/queues/rx-1/rps_cpus", Gone),
            ("sys/class/net/eth0/queues/rx-2/rps_cpus", Gone),
            ("sys/class/net/eth0/queues/rx-3/rps_cpus", Gone),
            ("proc/irq/31/effective_affinity_list", Is("0")),
            ("proc/irq/32/effective_affinity_list", Is("0")),
            ("proc/irq/33/effective_affinity_list", Is("0")),
        ],
        &[],
        &[],
    ),
    (
        "many shards",
        &[],
        &["--shards", "5"],
        &[("processors", "warning"), ("receive-queues", "note"), ("siblings", "note")],
    ),
    (
        "a quota",
        &[("sys/fs/cgroup/system.slice/cpu.max", Is("150000 100000"))],
        &["--shards", "4"],
        &[("quota", "warning")],
    ),
    ("a wide quota", &[("sys/fs/cgroup/cpu.max", Is("800000 100000"))], &[], &[("quota", "note")]),
    (
        "a quota of the first version",
        &[
            ("proc/self/cgroup", Is("3:cpu,cpuacct:/box\n")),
            ("sys/fs/cgroup/cpu/box/cpu.cfs_quota_us", Is("50000")),
            ("sys/fs/cgroup/cpu/box/cpu.cfs_period_us", Is("100000")),
        ],
        &["--shards", "2"],
        &[("quota", "warning")],
    ),
    (
        "two threads of a core",
        &[
            ("sys/devices/system/cpu/cpu0/topology/thread_siblings_list", Is("0,2")),
            ("sys/devices/system/cpu/cpu2/topology/thread_siblings_list", Is("0,2")),
        ],
        &[],
        &[("siblings", "note")],
    ),
    (
        "one processor for all packets",
        &[
            ("proc/irq/30/effective_affinity_list", Is("0")),
            ("proc/irq/31/effective_affinity_list", Is("0")),
            ("proc/irq/32/effective_affinity_list", Is("0")),
            ("proc/irq/33/effective_affinity_list", Is("0")),
        ],
        &[],
        &[("interrupts", "warning")],
    ),
    (
        "few queues",
        &[("sys/class/net/eth0/queues/rx-2/rps_cpus", Gone), ("sys/class/net/eth0/queues/rx-3/rps_cpus", Gone)],
        &[],
        &[("receive-queues", "note")],
    ),
    (
        "few queues and RPS",
        &[
            ("sys/class/net/eth0/queues/rx-0/rps_cpus", Is("f")),
            ("sys/class/net/eth0/queues/rx-1/rps_cpus", Is("f")),
            ("sys/class/net/eth0/queues/rx-2/rps_cpus", Gone),
            ("sys/class/net/eth0/queues/rx-3/rps_cpus", Gone),
        ],
        &[],
        &[],
    ),
    (
        "a slow clock",
        &[("sys/devices/system/clocksource/clocksource0/current_clocksource", Is("hpet"))],
        &[],
        &[("clock-source", "warning")],
    ),
    (
        "a sleepy processor",
        &[("sys/devices/system/cpu/cpu3/cpufreq/scaling_governor", Is("powersave"))],
        &[],
        &[("governor", "warning")],
    ),
    (
        "a clock that was never set",
        &[("run/systemd/timesync/beside", Is("")), ("run/systemd/timesync/synchronized", Gone)],
        &[],
        &[("time-sync", "warning")],
    ),
    ("a clock of which nobody tells", &[("run/systemd/timesync/synchronized", Gone)], &[], &[]),
    (
        "a keeper of the clock whose files are hidden",
        &[
            ("run/systemd/timesync/beside", Is("")),
            ("run/systemd/timesync/synchronized", Gone),
            ("proc/812/comm", Is("chronyd")),
        ],
        &[],
        &[],
    ),
    ("little memory", &[("proc/meminfo", Is("MemTotal: 150000 kB\n"))], &[], &[("memory", "error")]),
    ("a small container", &[("sys/fs/cgroup/system.slice/memory.max", Is("100000000"))], &[], &[("memory", "error")]),
    (
        "swap",
        &[("proc/swaps", Is("Filename Type Size Used Priority\n/dev/sda2 partition 999 0 -2\n"))],
        &[],
        &[("vm.swappiness", "warning")],
    ),
    (
        "huge pages for all",
        &[("sys/kernel/mm/transparent_hugepage/enabled", Is("[always] madvise never"))],
        &[],
        &[("huge-pages", "note")],
    ),
    ("a short queue", &[("proc/sys/net/core/somaxconn", Is("4095"))], &[], &[("net.core.somaxconn", "warning")]),
    (
        "few handshakes",
        &[("proc/sys/net/ipv4/tcp_max_syn_backlog", Is("512"))],
        &[],
        &[("net.ipv4.tcp_max_syn_backlog", "warning")],
    ),
    (
        "slow after a rest",
        &[("proc/sys/net/ipv4/tcp_slow_start_after_idle", Is("1"))],
        &[],
        &[("net.ipv4.tcp_slow_start_after_idle", "warning")],
    ),
    (
        "little for buffers",
        &[("proc/sys/net/ipv4/tcp_mem", Is("90000\t122399\t180000"))],
        &[],
        &[("net.ipv4.tcp_mem", "warning")],
    ),
    (
        "little for buffers that may grow large",
        &[("proc/sys/net/ipv4/tcp_wmem", Is("4096\t16384\t16777216"))],
        &[],
        &[("net.ipv4.tcp_mem", "warning")],
    ),
    (
        "enough for the buffers of many, once they are cut",
        &[
            ("proc/sys/net/ipv4/tcp_mem", Is("300000\t528000\t900000")),
            ("proc/sys/net/netfilter/nf_conntrack_max", Is("262144")),
        ],
        &["--connections", "200000"],
        &[("local-ports", "note"), ("net.ipv4.tcp_wmem", "warning")],
    ),
    ("enough for buffers", &[("proc/sys/net/ipv4/tcp_mem", Is("90000\t122400\t180000"))], &[], &[]),
    (
        "few tracked",
        &[("proc/sys/net/netfilter/nf_conntrack_max", Is("11999"))],
        &[],
        &[("net.netfilter.nf_conntrack_max", "warning")],
    ),
    (
        "too few tracked",
        &[("proc/sys/net/netfilter/nf_conntrack_max", Is("9999"))],
        &[],
        &[("net.netfilter.nf_conntrack_max", "error")],
    ),
    ("few ports", &[("proc/sys/net/ipv4/ip_local_port_range", Is("50000\t59998"))], &[], &[("local-ports", "note")]),
    (
        "large send buffers for many",
        &[],
        &["--connections", "200000"],
        &[("local-ports", "note"), ("net.ipv4.tcp_mem", "warning"), ("net.ipv4.tcp_wmem", "warning")],
    ),
    (
        "a store in memory",
        &[("proc/self/mountinfo", Is("22 1 0:1 / / rw - ext4 /dev/a rw\n40 22 0:2 / /var rw - tmpfs tmpfs rw"))],
        &[],
        &[("store-file-system", "warning")],
    ),
    (
        "a store in a container's layer",
        &[("proc/self/mountinfo", Is("22 1 0:1 / / rw - overlay overlay rw,lowerdir=/a"))],
        &[],
        &[("store-file-system", "warning")],
    ),
    (
        "a store in a container's volume",
        &[(
            "proc/self/mountinfo",
            Is("22 1 0:1 / / rw - overlay overlay rw\n40 22 8:1 /v /var/lib/waystation rw - ext4 /dev/sda1 rw"),
        )],
        &[],
        &[],
    ),
    (
        "a store on a file server",
        &[("proc/self/mountinfo", Is("22 1 0:1 / / rw - nfs4 server:/root rw,vers=4.2"))],
        &[],
        &[("store-file-system", "warning")],
    ),
    (
        "a store in a program's file system",
        &[("proc/self/mountinfo", Is("22 1 0:1 / / rw - fuse.sshfs host: rw"))],
        &[],
        &[("store-file-system", "warning")],
    ),
    (
        "a store that cannot be written",
        &[("proc/self/mountinfo", Is("22 1 0:1 / / ro,relatime - ext4 /dev/a rw"))],
        &[],
        &[("store-file-system", "error")],
    ),
    (
        "a disk that is not told of syncs",
        &[("proc/self/mountinfo", Is("22 1 0:1 / / rw,relatime - ext4 /dev/a rw,barrier=0"))],
        &[],
        &[("store-file-system", "warning")],
    ),
    (
        "a store that is somewhere else",
        &[("proc/self/mountinfo", Is("22 1 0:1 / / rw - ext4 /dev/a rw\n40 22 0:2 / /srv rw - tmpfs tmpfs rw"))],
        &["--data", "/srv/waystation"],
        &[("store-file-system", "warning")],
    ),
    ("no store", &[("proc/self/mountinfo", Is("22 1 0:1 / / ro - overlay overlay rw"))], &["--data", "none"], &[]),
];

/// Rows about which only the running machine can be asked; `src/tune/table/store.rs` has their cases.
const LIVE: [&str; 2] = ["store-space", "store-sync"];

/// What the doctor says of a machine, as a program reads it, and the exit code.
fn doctor(machine: &Machine, args: &[&str]) -> (Value, i32) {
    let root = machine.root();
    let output = command(&["doctor", "--json", "--root", root.to_str().unwrap()]).args(args).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let said = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    (said, output.status.code().unwrap())
}

fn findings(said: &Value) -> Vec<(&str, &str)> {
    let checks = said["checks"].as_array().unwrap().iter();
    let mut found: Vec<(&str, &str)> = checks
        .map(|check| (check["name"].as_str().unwrap(), check["severity"].as_str().unwrap()))
        .filter(|(_, severity)| *severity != "ok")
        .collect();
    found.sort_unstable();
    found
}

#[test]
fn every_fault_of_a_machine_is_found_and_nothing_else() {
    for (name, changes, args, expected) in CASES {
        let machine = Machine::with(changes);
        let (said, code) = doctor(&machine, args);
        assert_eq!(findings(&said), *expected, "{name}");
        let has = |severity| expected.iter().any(|(_, found)| *found == severity);
        assert_eq!(code, if has("error") { 2 } else { 0 }, "{name}");
        let (_, strict) = doctor(&machine, &[args, ["--strict"].as_slice()].concat());
        assert_eq!(strict, if has("error") { 2 } else { i32::from(has("warning")) }, "{name}");
        for check in said["checks"].as_array().unwrap() {
            for key in ["place", "seen", "wanted", "why"] {
                assert!(check[key].as_str().is_some_and(|text| !text.is_empty()), "{name}: {check}");
            }
            let fix = check["fix"].as_str();
            assert_eq!(
                fix.is_some_and(|fix| !fix.is_empty() && !fix.contains('\n')),
                check["severity"] != "ok",
                "{check}"
            );
            let place = check["place"].as_str().unwrap();
            assert!(place.starts_with('/') && !place.contains(&*machine.root().to_string_lossy()), "{name}: {check}");
        }
    }
}

#[test]
fn every_row_of_the_table_is_told_of_a_machine_that_has_it_and_found_wrong_in_some_case() {
    let (said, _) = doctor(&Machine::with(&[]), &[]);
    assert_eq!(
        said["absent"],
        json!(LIVE),
        "the machine of the tests has everything but what only a running one tells"
    );
    let found: Vec<&str> = CASES.iter().flat_map(|(.., expected)| expected.iter().map(|(name, _)| *name)).collect();
    for row in waystation::tune::TABLE.iter().copied().flatten() {
        assert!(found.contains(&row.name) != LIVE.contains(&row.name), "no case for {}", row.name);
    }
}

#[test]
fn what_is_told_fits_a_terminal_and_shows_the_arithmetic() {
    for (name, changes, args, _) in CASES {
        let machine = Machine::with(changes);
        let root = machine.root();
        let output = command(&["doctor", "--root", root.to_str().unwrap()]).args(*args).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{name}: {text}");
        assert!(!text.contains('\u{1b}'), "{name}: colours only for a terminal");
    }
    let (said, _) = doctor(&Machine::with(&[("proc/self/limits", Is(LIMITS_LOW))]), &[]);
    let checks = said["checks"].as_array().unwrap();
    let wanted = |name: &str| checks.iter().find(|check| check["name"] == name).unwrap()["wanted"].as_str().unwrap();
    assert_eq!(
        wanted("descriptors"),
        "at least 10,000 connections + 1,024 spare sockets + 4 shards x 16 + 64 = 11,152"
    );
    assert!(wanted("net.ipv4.tcp_mem").contains("+ 100 slow readers x 1,024 = 122,400 pages (478 MiB)"));
    assert!(
        wanted("memory").ends_with("+ 4 shards x 64 MiB + 144 MiB of the store + 128 MiB = 586 MiB"),
        "{}",
        wanted("memory")
    );
}

#[test]
fn this_machine_is_examined_with_a_ring_that_is_tried() {
    let output = command(&["doctor", "--connections", "16", "--json"]).output().unwrap();
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    let ring = said["checks"].as_array().unwrap().iter().find(|check| check["name"] == "io_uring").unwrap();
    assert_eq!((&ring["seen"], &ring["severity"]), (&"a ring can be built".into(), &"ok".into()), "{ring}");
    assert_eq!(said["errors"], 0, "the gateway starts here, as the other tests show: {said:#}");
}

#[test]
fn the_disk_of_this_machines_store_is_asked_and_memory_is_no_disk() {
    let place = Directory::new();
    let asked = |data: &str| -> Vec<Value> {
        let output = command(&["doctor", "--connections", "16", "--json", "--data", data]).output().unwrap();
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        let checks = said["checks"].as_array().unwrap().iter();
        checks.filter(|check| check["name"].as_str().unwrap().starts_with("store-")).cloned().collect()
    };
    // What is not there yet will be made where something is.
    let data = place.path().join("not/there/yet");
    let rows = asked(data.to_str().unwrap());
    assert_eq!(rows.len(), 3, "{rows:#?}");
    assert!(rows[1]["seen"].as_str().unwrap().ends_with(" left"), "{rows:#?}");
    let sync = rows[2]["seen"].as_str().unwrap();
    assert!(sync.ends_with(" ms") || sync.starts_with("no end"), "{rows:#?}");
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0, "nothing is made and nothing is left");
    let rows = asked("/dev/shm/waystation");
    assert!(rows[0]["seen"].as_str().unwrap().starts_with("tmpfs at /dev/shm"), "{rows:#?}");
    assert_eq!(rows[0]["severity"], "warning");
    assert_eq!(asked("none"), Vec::<Value>::new());
}

#[test]
fn of_an_image_without_files_nothing_is_told_but_that() {
    let place = Directory::new();
    let root = place.path().join("an image");
    std::fs::create_dir(&root).unwrap();
    let output = command(&["doctor", "--json", "--root", root.to_str().unwrap()]).output().unwrap();
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((findings(&said), said["checks"].as_array().unwrap().len()), (vec![("kernel", "error")], 1), "{said:#}");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_link_in_an_image_does_not_lead_out_of_it() {
    let machine = Machine::with(&[("proc/sys/kernel/osrelease", Gone)]);
    let inside = machine.root().join("proc/sys/kernel/osrelease");
    std::os::unix::fs::symlink("/proc/sys/kernel/osrelease-of-the-image", &inside).unwrap();
    assert_eq!(findings(&doctor(&machine, &[]).0), [("kernel", "error")], "nowhere");
    std::fs::write(machine.root().join("proc/sys/kernel/osrelease-of-the-image"), "6.9.1\n").unwrap();
    assert_eq!(findings(&doctor(&machine, &[]).0), [], "the image's own");
}

#[test]
fn a_root_that_is_no_directory_is_refused() {
    let output = command(&["doctor", "--root", "/proc/nothing"]).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(78) && error.contains("--root /proc/nothing"), "{error}");
}
