//! A machine as its files show it: one that is well set, and what a test changes of it.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use crate::gateway::Directory;

/// What becomes of one file.
#[derive(Clone, Copy)]
pub(crate) enum Change {
    /// It has this text.
    Is(&'static str),
    /// It is not there, nor its directory if it was the only file in it.
    Gone,
}

/// Four processors, 16 GiB, one card with four queues; a plain user in a systemd service.
const WELL: &[(&str, &str)] = &[
    ("proc/sys/kernel/osrelease", "6.12.5-amd64"),
    ("proc/sys/kernel/io_uring_disabled", "0"),
    ("proc/sys/kernel/io_uring_group", "-1"),
    (
        "proc/self/limits",
        "Limit                     Soft Limit           Hard Limit           Units     \n\
         Max open files            1024                 1048576              files     \n\
         Max locked memory         unlimited            unlimited            bytes     \n",
    ),
    (
        "proc/self/status",
        "Name:\twaystation\nUid:\t998\t998\t998\t998\nGid:\t998\t998\t998\t998\nGroups:\t998 \nCpus_allowed_list:\t0-3\n",
    ),
    ("proc/self/cgroup", "0::/system.slice\n"),
    ("proc/meminfo", "MemTotal:       16384000 kB\nMemFree:        12000000 kB\n"),
    ("proc/swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"),
    ("proc/sys/vm/swappiness", "60"),
    ("proc/sys/fs/nr_open", "1048576"),
    ("proc/sys/fs/file-max", "9223372036854775807"),
    ("proc/sys/fs/file-nr", "1504\t0\t9223372036854775807"),
    ("sys/fs/cgroup/pids.current", "100"),
    ("sys/fs/cgroup/system.slice/pids.max", "4915"),
    ("sys/fs/cgroup/system.slice/pids.current", "9"),
    ("sys/fs/cgroup/system.slice/cpu.max", "max 100000"),
    ("sys/fs/cgroup/system.slice/memory.max", "max"),
    ("sys/devices/system/cpu/online", "0-3"),
    ("sys/devices/system/cpu/cpu0/topology/thread_siblings_list", "0"),
    ("sys/devices/system/cpu/cpu1/topology/thread_siblings_list", "1"),
    ("sys/devices/system/cpu/cpu2/topology/thread_siblings_list", "2"),
    ("sys/devices/system/cpu/cpu3/topology/thread_siblings_list", "3"),
    ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance"),
    ("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "performance"),
    ("sys/devices/system/cpu/cpu2/cpufreq/scaling_governor", "performance"),
    ("sys/devices/system/cpu/cpu3/cpufreq/scaling_governor", "performance"),
    ("sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc"),
    ("sys/devices/system/clocksource/clocksource0/available_clocksource", "tsc hpet acpi_pm"),
    ("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never"),
    ("sys/class/net/lo/queues/rx-0/rps_cpus", "0"),
    ("sys/class/net/eth0/device/msi_irqs/30", "msix"),
    ("sys/class/net/eth0/device/msi_irqs/31", "msix"),
    ("sys/class/net/eth0/device/msi_irqs/32", "msix"),
    ("sys/class/net/eth0/device/msi_irqs/33", "msix"),
    ("proc/irq/30/effective_affinity_list", "0"),
    ("proc/irq/31/effective_affinity_list", "1"),
    ("proc/irq/32/effective_affinity_list", "2"),
    ("proc/irq/33/effective_affinity_list", "3"),
    ("sys/class/net/eth0/queues/rx-0/rps_cpus", "0"),
    ("sys/class/net/eth0/queues/rx-1/rps_cpus", "0"),
    ("sys/class/net/eth0/queues/rx-2/rps_cpus", "0"),
    ("sys/class/net/eth0/queues/rx-3/rps_cpus", "0"),
    ("run/systemd/timesync/synchronized", ""),
    ("proc/sys/net/core/somaxconn", "4096"),
    ("proc/sys/net/ipv4/tcp_max_syn_backlog", "4096"),
    ("proc/sys/net/ipv4/tcp_slow_start_after_idle", "0"),
    ("proc/sys/net/ipv4/tcp_wmem", "4096\t16384\t4194304"),
    ("proc/sys/net/ipv4/tcp_mem", "188000\t250000\t376000"),
    ("proc/sys/net/netfilter/nf_conntrack_max", "262144"),
    ("proc/sys/net/ipv4/ip_local_port_range", "32768\t60999"),
    (
        "proc/self/mountinfo",
        "22 1 259:1 / / rw,relatime shared:1 - ext4 /dev/root rw,discard\n\
         23 22 0:21 / /proc rw,nosuid - proc proc rw\n\
         40 22 259:3 / /var/lib/waystation rw,relatime shared:9 - xfs /dev/nvme0n1p3 rw,attr2",
    ),
];

/// A machine's files, gone with it.
pub(crate) struct Machine(Arc<Directory>);

impl Machine {
    /// The well set machine with these changes.
    pub(crate) fn with(changes: &[(&str, Change)]) -> Self {
        let machine = Self(Directory::new());
        for (path, text) in WELL {
            machine.write(path, text);
        }
        for (path, change) in changes {
            match change {
                Change::Is(text) => machine.write(path, text),
                Change::Gone => {
                    let path = machine.root().join(path);
                    fs::remove_file(&path).unwrap();
                    let _others_are_there = fs::remove_dir(path.parent().unwrap());
                }
            }
        }
        machine
    }

    /// Its root.
    pub(crate) fn root(&self) -> PathBuf {
        self.0.path().to_owned()
    }

    /// Puts a file there.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("{text}\n")).unwrap();
    }
}
