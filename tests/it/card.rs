//! Proves what the card's script does, on machines that are directories: every interrupt goes where its queue belongs,
//! whatever the driver calls it and however the kernel numbers it, nothing is written twice, and all of it is taken back.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use crate::doctor::machine::{Change, Machine};
use crate::gateway::Directory;
use crate::tune::{files, text};

use Change::Gone;

/// The script as it is in the sources.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tuning/scripts/nic-affinity.sh");

fn run(root: &Path, args: &[&str]) -> Output {
    Command::new("bash").arg(SCRIPT).arg("--root").arg(root).args(args).output().unwrap()
}

fn spread(machine: &Machine, args: &[&str]) -> Output {
    run(&machine.root(), args)
}

fn error(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn value(machine: &Machine, path: &str) -> String {
    fs::read_to_string(machine.root().join(path)).unwrap_or_default().trim().to_owned()
}

/// A machine whose `eth0` has the interrupts from 30 on under these names, each on all of four processors.
fn named(names: &[&str]) -> Machine {
    numbered(30, names)
}

fn numbered(first: usize, names: &[&str]) -> Machine {
    let machine = Machine::with(&[]);
    fs::remove_dir_all(machine.root().join("sys/class/net/eth0/device/msi_irqs")).unwrap();
    number(&machine, first, names);
    machine
}

/// Gives the card's interrupts other numbers, as a driver does that is loaded again.
fn number(machine: &Machine, first: usize, names: &[&str]) {
    let _none_yet = fs::remove_dir_all(machine.root().join("sys/class/net/eth0/device/msi_irqs"));
    let mut table = "           CPU0       CPU1       CPU2       CPU3       \n   1:          0          9          0          0   IO-APIC   1-edge      i8042\n".to_owned();
    for (irq, name) in names.iter().enumerate().map(|(index, name)| (first + index, name)) {
        machine.write(&format!("sys/class/net/eth0/device/msi_irqs/{irq}"), "msix");
        machine.write(&format!("proc/irq/{irq}/smp_affinity_list"), "0-3");
        table += &format!(
            " {irq:>3}:          0     123456          0          0  PCI-MSIX-0000:00:03.0   1-edge      {name}\n"
        );
    }
    table += " NMI:          0          0          0          0   Non-maskable interrupts\n";
    machine.write("proc/interrupts", &table);
}

/// Where each of these interrupts is.
fn places(machine: &Machine, first: usize, count: usize) -> Vec<String> {
    (first..first + count).map(|irq| value(machine, &format!("proc/irq/{irq}/smp_affinity_list"))).collect()
}

/// Names as drivers give them, and the processor of four that each belongs to; `0-3` where it is left alone.
const DRIVERS: &[(&str, &[(&str, &str)])] = &[
    (
        "virtio_net: an even count of vectors, the receiving ones all at odd places",
        &[
            ("virtio0-config", "0-3"),
            ("virtio0-input.0", "0"),
            ("virtio0-output.0", "0"),
            ("virtio0-input.1", "1"),
            ("virtio0-output.1", "1"),
            ("virtio0-input.2", "2"),
            ("virtio0-output.2", "2"),
            ("virtio0-input.3", "3"),
            ("virtio0-output.3", "3"),
        ],
    ),
    ("igb, ixgbe, igc, bnxt", &[("eth0", "0-3"), ("eth0-TxRx-0", "0"), ("eth0-TxRx-1", "1"), ("eth0-TxRx-10", "2")]),
    ("e1000e, tg3", &[("eth0-rx-1", "1"), ("eth0-tx-1", "1"), ("eth0-txrx-2", "2"), ("eth0", "0-3")]),
    (
        "i40e",
        &[
            ("i40e-0000:3d:00.0:misc", "0-3"),
            ("i40e-eth0-TxRx-0", "0"),
            ("i40e-eth0-TxRx-3", "3"),
            ("i40e-0000:3d:00.0:fdir-TxRx-0", "0-3"),
        ],
    ),
    (
        "ice and its remote memory",
        &[("ice-eth0-TxRx-2", "2"), ("irdma-0000:3d:00.0-CEQ-1", "0-3"), ("ice-0000:3d:00.0:misc", "0-3")],
    ),
    ("iavf", &[("iavf-eth0-TxRx-1", "1"), ("iavf-0000:00:06.0:mbx", "0-3")]),
    (
        "mlx5",
        &[
            ("mlx5_async0@pci:0000:3b:00.0", "0-3"),
            ("mlx5_comp0@pci:0000:3b:00.0", "0"),
            ("mlx5_comp3@pci:0000:3b:00.0", "3"),
        ],
    ),
    ("mlx4", &[("mlx4-async@pci:0000:03:00.0", "0-3"), ("mlx4-5@0000:03:00.0", "1")]),
    ("ena", &[("ena-mgmnt@pci:0000:00:05.0", "0-3"), ("eth0-Tx-Rx-0", "0"), ("eth0-Tx-Rx-6", "2")]),
    (
        "gve",
        &[
            ("gve-ntfy-blk0@pci:0000:00:04.0", "0"),
            ("gve-ntfy-blk5@pci:0000:00:04.0", "1"),
            ("gve-mgmnt@pci:0000:00:04.0", "0-3"),
        ],
    ),
    (
        "mana",
        &[("mana_hwc@pci:7870:00:00.0", "0-3"), ("mana_q0@pci:7870:00:00.0", "0"), ("mana_q7@pci:7870:00:00.0", "3")],
    ),
    ("vmxnet3", &[("eth0-rxtx-0", "0"), ("eth0-rxtx-1", "1"), ("eth0-event-2", "0-3")]),
    ("sfc", &[("eth0-0", "0"), ("eth0-1", "1"), ("eth0-ptp", "0-3")]),
    (
        "bnx2x, be2net, cxgb4",
        &[
            ("eth0-fp-1", "1"),
            ("eth0-q2", "2"),
            ("eth0 (queue 3)", "3"),
            ("eth0-Rx1", "1"),
            ("0000:01:00.4-FWeventq", "0-3"),
        ],
    ),
    ("stmmac, enetc", &[("eth0:mac", "0-3"), ("eth0:rx-1", "1"), ("eth0:tx-1", "1"), ("eth0-rxtx3", "3")]),
    ("xen", &[("eth0-q0-tx", "0"), ("eth0-q0-rx", "0"), ("eth0-q1-tx", "1"), ("eth0-q1-rx", "1")]),
    ("thunderx", &[("eth0-rxtx-9", "1"), ("nicvf0-qs-err-0", "0-3")]),
    ("a disk beside it", &[("nvme0q0", "0-3"), ("nvme0q1", "0-3"), ("eth0-rx-0", "0")]),
];

#[test]
fn an_interrupt_goes_to_the_processor_of_its_queue_whatever_the_driver_calls_it() {
    let all: Vec<&(&str, &str)> = DRIVERS.iter().flat_map(|(_, table)| table.iter()).collect();
    let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
    let machine = named(&names);
    assert_eq!(error(&spread(&machine, &[])), "");
    for (place, (name, wanted)) in places(&machine, 30, names.len()).iter().zip(&all) {
        assert_eq!(place, wanted, "{name}");
    }
    text(&spread(&machine, &["--revert"]));
    assert_eq!(places(&machine, 30, names.len()), vec!["0-3"; names.len()]);
}

#[test]
fn interrupts_whose_names_tell_no_queue_are_dealt_in_order() {
    for names in [["eth0", "eth0", "eth0"], ["virtio0-config", "virtio0-virtqueues", ""]] {
        let machine = named(&names);
        text(&spread(&machine, &[]));
        assert_eq!(places(&machine, 30, 3), ["0", "1", "2"], "{names:?}");
        machine.write("proc/irq/32/smp_affinity_list", "3");
        text(&spread(&machine, &["--revert"]));
        assert_eq!(places(&machine, 30, 3), ["0-3", "0-3", "0-3"], "{names:?}");
    }
}

#[test]
fn a_paravirtual_card_and_one_without_messages_have_their_interrupts_found() {
    let names = ["virtio0-config", "virtio0-input.0", "virtio0-output.0"];
    let machine = named(&names);
    let net = machine.root().join("sys/class/net/eth0/device");
    fs::create_dir_all(machine.root().join("sys/devices/pci/virtio0")).unwrap();
    fs::rename(net.join("msi_irqs"), machine.root().join("sys/devices/pci/msi_irqs")).unwrap();
    fs::remove_dir_all(&net).unwrap();
    symlink("../../../devices/pci/virtio0", &net).unwrap();
    text(&spread(&machine, &["--cpus", "2"]));
    assert_eq!(places(&machine, 30, 3), ["0-3", "2", "2"]);

    let machine = named(&["eth0-q0-tx", "eth0-q1-rx", "eth01-q0-rx"]);
    fs::remove_dir_all(machine.root().join("sys/class/net/eth0/device/msi_irqs")).unwrap();
    text(&spread(&machine, &[]));
    assert_eq!(places(&machine, 30, 3), ["0", "1", "0-3"]);
}

#[test]
fn interrupts_that_have_other_numbers_are_put_back_by_their_names() {
    let names = ["virtio0-config", "virtio0-input.0", "virtio0-output.0"];
    let machine = named(&names);
    machine.write("sys/class/net/eth0/ifindex", "2");
    machine.write("proc/irq/31/smp_affinity_list", "3");
    text(&spread(&machine, &[]));
    // The queues were made anew: 31 is somebody else's now.
    number(&machine, 40, &names);
    machine.write("proc/irq/31/smp_affinity_list", "2");
    machine.write("proc/irq/41/smp_affinity_list", "0");
    text(&spread(&machine, &["--revert"]));
    assert_eq!(places(&machine, 31, 1), ["2"], "not the card's any more");
    assert_eq!(places(&machine, 40, 3), ["0-3", "3", "0-3"]);
}

#[test]
fn nothing_is_put_back_into_a_card_that_came_after() {
    let names = ["eth0-TxRx-0", "eth0-TxRx-1"];
    let machine = named(&names);
    machine.write("sys/class/net/eth0/ifindex", "2");
    machine.write("proc/irq/31/smp_affinity_list", "3");
    text(&spread(&machine, &[]));
    machine.write("sys/class/net/eth0/ifindex", "7");
    let output = spread(&machine, &["--revert"]);
    assert!(output.status.success() && error(&output).contains("not the card that it was"), "{}", error(&output));
    assert_eq!(places(&machine, 31, 1), ["1"]);
    assert!(!machine.root().join("run/waystation-nic/eth0").exists());

    // A second run before any revert keeps what the new card had.
    number(&machine, 30, &names);
    text(&spread(&machine, &[]));
    number(&machine, 30, &names);
    machine.write("sys/class/net/eth0/ifindex", "8");
    machine.write("proc/irq/31/smp_affinity_list", "2");
    assert!(error(&spread(&machine, &[])).contains("dropped"));
    text(&spread(&machine, &["--revert"]));
    assert_eq!(places(&machine, 31, 1), ["2"]);
    assert_eq!(error(&spread(&machine, &["--revert"])), "");

    // A card that is taken out takes its settings with it.
    text(&spread(&machine, &[]));
    fs::remove_dir_all(machine.root().join("sys/class/net/eth0")).unwrap();
    for args in [&["--revert"][..], &["--revert", "eth0"]] {
        machine.write("run/waystation-nic/eth0", "card\t8");
        let output = spread(&machine, args);
        assert!(output.status.success() && error(&output).contains("eth0 is gone"), "{}", error(&output));
        assert!(!machine.root().join("run/waystation-nic/eth0").exists());
    }
    assert_eq!(spread(&machine, &["--revert", "eth0"]).status.code(), Some(2), "nothing was kept of it");
}

#[test]
fn a_running_irqbalance_is_found_in_the_process_table_unless_it_leaves_these_alone() {
    let machine = named(&["eth0-TxRx-0", "eth0-TxRx-1", "eth0"]);
    machine.write("proc/77/comm", "bash");
    assert_eq!(error(&spread(&machine, &[])), "");
    machine.write("proc/812/comm", "irqbalance");
    for (args, told) in [
        ("/usr/sbin/irqbalance\x00", Some("'--banirq=30 --banirq=31'")),
        ("/usr/sbin/irqbalance\x00--foreground\x00--banirq=30\x00", Some("'--banirq=31'")),
        ("/usr/sbin/irqbalance\x00--banirq=30\x00--banirq=31\x00", None),
        ("/usr/sbin/irqbalance\x00-i\x0031\x00--banirq\x0030\x00", None),
        ("/usr/sbin/irqbalance\x00--banirq=300\x00-i31\x00", Some("'--banirq=30'")),
    ] {
        fs::write(machine.root().join("proc/812/cmdline"), args).unwrap();
        let said = error(&spread(&machine, &[]));
        assert_eq!(said.contains("irqbalance runs"), told.is_some(), "{args:?}: {said}");
        assert!(told.is_none_or(|told| said.contains(told)), "{args:?}: {said}");
    }
}

#[test]
fn a_cards_work_is_spread_once_and_put_back() {
    let machine = Machine::with(&[
        ("sys/class/net/eth0/queues/rx-2/rps_cpus", Gone),
        ("sys/class/net/eth0/queues/rx-3/rps_cpus", Gone),
    ]);
    for irq in 30..34 {
        machine.write(&format!("proc/irq/{irq}/smp_affinity_list"), "0-3");
    }
    for queue in 0..3 {
        machine.write(&format!("sys/class/net/eth0/queues/tx-{queue}/xps_cpus"), "00000000,00000000");
    }
    let before = files(&machine.root());
    let dry = text(&spread(&machine, &["--dry-run"]));
    assert!(dry.contains("/proc/irq/31/smp_affinity_list: 0-3 -> 1\n"), "{dry}");
    assert_eq!(files(&machine.root()), before);
    text(&spread(&machine, &[]));
    assert_eq!(places(&machine, 30, 4), ["0", "1", "2", "3"]);
    let sending: Vec<String> =
        (0..3).map(|tx| value(&machine, &format!("sys/class/net/eth0/queues/tx-{tx}/xps_cpus"))).collect();
    assert_eq!(sending, ["9", "2", "4"], "every processor has a queue");
    assert_eq!(value(&machine, "sys/class/net/eth0/queues/rx-0/rps_cpus"), "f", "two queues for four processors");
    let once = files(&machine.root());
    assert_eq!(text(&spread(&machine, &[])), "", "it is so already");
    assert_eq!(files(&machine.root()), once);
    text(&spread(&machine, &["--cpus", "1,3"]));
    assert_eq!(value(&machine, "proc/irq/30/smp_affinity_list"), "1");
    let dry = text(&spread(&machine, &["--revert", "--dry-run"]));
    assert!(dry.contains("/proc/irq/31/smp_affinity_list: 0-3 again\n"), "{dry}");
    text(&spread(&machine, &["--revert"]));
    assert_eq!(files(&machine.root()), before, "as it was before the first run");
    assert!(text(&spread(&machine, &["--revert", "eth0"])).contains("nothing to put back"));
}

/// How the threads of a core are numbered; `Single` has one each.
#[derive(Clone, Copy)]
enum Threads {
    Single,
    /// Beside each other.
    Adjacent,
    /// So many after.
    After(usize),
}

impl Threads {
    fn of(self, cpu: usize) -> Option<String> {
        match self {
            Self::Single => None,
            Self::Adjacent => Some(format!("{}-{}", cpu / 2 * 2, cpu / 2 * 2 + 1)),
            Self::After(count) => Some(format!("{},{}", cpu % count, cpu % count + count)),
        }
    }
}

/// Processors that are online, isolated and asked for; which threads share a core; and where eight queues go.
type Layout = (&'static str, &'static str, &'static [&'static str], Threads, &'static str);

const LAYOUTS: &[Layout] = &[
    ("0", "", &[], Threads::Single, "0 0 0 0 0 0 0 0"),
    ("0-7", "", &[], Threads::Single, "0 1 2 3 4 5 6 7"),
    ("0-7", "", &[], Threads::Adjacent, "0 2 4 6 1 3 5 7"),
    ("0-127", "", &[], Threads::After(64), "0 1 2 3 4 5 6 7"),
    ("0-5", "", &[], Threads::After(3), "0 1 2 3 4 5 0 1"),
    ("0,2-3,9", "", &[], Threads::Single, "0 2 3 9 0 2 3 9"),
    ("0-7", "2-7", &[], Threads::Single, "0 1 0 1 0 1 0 1"),
    ("0-1", "0-1", &[], Threads::Single, "0 1 0 1 0 1 0 1"),
    ("0-7", "2-7", &["--cpus", "4-5"], Threads::Single, "4 5 4 5 4 5 4 5"),
    ("0-3", "", &["--cpus", "3,3,2,8"], Threads::Single, "2 3 2 3 2 3 2 3"),
    ("0-255", "", &["--cpus", "248-255"], Threads::Single, "248 249 250 251 252 253 254 255"),
];

#[test]
fn queues_are_dealt_to_cores_that_are_there_and_not_set_apart() {
    let names: Vec<String> = (0..8).map(|queue| format!("eth0-TxRx-{queue}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let machine = named(&names);
    for (online, isolated, args, threads, expected) in LAYOUTS {
        fs::remove_dir_all(machine.root().join("sys/devices/system/cpu")).unwrap();
        machine.write("sys/devices/system/cpu/online", online);
        machine.write("sys/devices/system/cpu/isolated", isolated);
        for (cpu, siblings) in (0..128).filter_map(|cpu| Some((cpu, threads.of(cpu)?))) {
            machine.write(&format!("sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"), &siblings);
        }
        let output = spread(&machine, args);
        let absent = args.contains(&"3,3,2,8");
        assert_eq!(error(&output).contains("processor 8 is not online"), absent, "{online} {args:?}");
        assert_eq!(places(&machine, 30, 8).join(" "), *expected, "{online} {isolated} {args:?}");
    }
}

#[test]
fn masks_of_many_processors_are_written_and_read_as_the_kernel_does() {
    let machine = named(&["eth0-TxRx-0"]);
    machine.write("sys/devices/system/cpu/online", "0-255");
    let zeros = ["00000000"; 8].join(",");
    for path in ["rx-0/rps_cpus", "tx-0/xps_cpus", "tx-1/xps_cpus"] {
        machine.write(&format!("sys/class/net/eth0/queues/{path}"), &zeros);
    }
    text(&spread(&machine, &["--cpus", "0,31,32,255"]));
    let value = |path: &str| value(&machine, &format!("sys/class/net/eth0/queues/{path}"));
    assert_eq!(value("rx-0/rps_cpus"), zeros, "as many queues as processors");
    assert_eq!(value("tx-0/xps_cpus"), "1,00000001");
    assert_eq!(value("tx-1/xps_cpus"), format!("80000000,{},80000000", ["00000000"; 6].join(",")));
    text(&spread(&machine, &["--cpus", "0,31,32,254,255"]));
    let all = format!("c0000000,{},00000001,80000001", ["00000000"; 5].join(","));
    assert_eq!(value("rx-0/rps_cpus"), all, "fewer queues than processors");
    assert_eq!(text(&spread(&machine, &["--cpus", "0,31,32,254,255"])), "");
    text(&spread(&machine, &["--revert"]));
    assert_eq!((value("rx-0/rps_cpus"), value("tx-1/xps_cpus")), (zeros.clone(), zeros));
}

#[test]
fn what_is_not_taken_back_stays_kept() {
    let machine = named(&["eth0-TxRx-0", "eth0-TxRx-1"]);
    text(&spread(&machine, &[]));
    // A file that says something and takes nothing.
    symlink("/proc/version", machine.root().join("proc/refused")).unwrap();
    let kept = "card\t-\nfile\t/proc/refused\t5\nfile\t/proc/irq/31/smp_affinity_list\t0-3\n";
    fs::write(machine.root().join("run/waystation-nic/eth0"), kept).unwrap();
    let output = spread(&machine, &["--revert"]);
    assert!(!output.status.success() && error(&output).contains("takes no 5"), "{}", error(&output));
    assert_eq!(places(&machine, 31, 1), ["0-3"], "the rest is put back");
    assert!(machine.root().join("run/waystation-nic/eth0").exists(), "it can be tried again");
}

#[test]
fn a_root_with_spaces_and_cards_with_strange_names_are_read_as_they_are() {
    let place = Directory::new();
    let root = place.path().join("a b * $(c)");
    let names = ["enp1s0f0np0", "eth0.100", "eth*", "-x", "eth#1", "a'b", "ens%1"];
    let mut table = String::new();
    for (index, card) in names.iter().enumerate() {
        let irq = 30 + index;
        for (path, text) in [
            (format!("sys/class/net/{card}/device/msi_irqs/{irq}"), "msix"),
            (format!("proc/irq/{irq}/smp_affinity_list"), "0-3\n"),
            (format!("sys/class/net/{card}/queues/rx-0/rps_cpus"), "0\n"),
        ] {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        table += &format!(" {irq}:  1  2  3  4  PCI-MSI 5-edge      {card}-TxRx-2\n");
    }
    fs::write(root.join("proc/interrupts"), table).unwrap();
    fs::create_dir_all(root.join("sys/devices/system/cpu")).unwrap();
    fs::write(root.join("sys/devices/system/cpu/online"), "0-3\n").unwrap();
    let before = files(&root);
    for how in [&["--"][..], &["--", "enp1s0f0np0", "eth0.100", "eth*", "-x", "eth#1", "a'b", "ens%1"]] {
        text(&run(&root, how));
        for (index, card) in names.iter().enumerate() {
            let value = |path: String| fs::read_to_string(root.join(path)).unwrap();
            assert_eq!(value(format!("proc/irq/{}/smp_affinity_list", 30 + index)), "2\n", "{card}");
            assert_eq!(value(format!("sys/class/net/{card}/queues/rx-0/rps_cpus")), "f\n", "{card}");
        }
        text(&run(&root, &["--revert"]));
        let _empty = fs::remove_dir(root.join("run/waystation-nic"));
        assert_eq!(files(&root), before);
    }
}

/// A setting of the card's unit with what systemd puts in for the instance: `%i` as it is, `%f` the path that it stands for.
fn of_unit(key: &str, instance: &str, path: &str) -> String {
    let unit = include_str!("../../tuning/systemd/waystation-nic@.service");
    let line = unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).unwrap();
    line.replace("%i", instance).replace("%f", path)
}

#[test]
fn the_unit_that_a_card_starts_names_its_device_and_the_script_its_path_whatever_it_is_called() {
    let rule = include_str!("../../tuning/udev/70-waystation-nic.rules");
    assert!(
        rule.ends_with("ENV{SYSTEMD_WANTS}+=\"waystation-nic@.service\"\n"),
        "systemd fills in the instance: {rule}"
    );
    for (card, escaped) in [("eth0", "eth0"), ("my-card", "my\\x2dcard"), ("eth0.100", "eth0.100"), ("-x", "\\x2dx")] {
        let machine = named(&["eth0-TxRx-3"]);
        let net = machine.root().join("sys/class/net");
        fs::rename(net.join("eth0"), net.join(card)).unwrap_or_default();
        let path = format!("/sys/devices/pci0000:00/0000:00:03.0/net/{card}");
        let instance = format!("sys-devices-pci0000:00-0000:00:03.0-net-{escaped}");
        assert_eq!(of_unit("BindsTo", &instance, &path), format!("{instance}.device"));
        for (key, place) in [("ExecStart", "3"), ("ExecStop", "0-3")] {
            let line = of_unit(key, &instance, &path);
            let args: Vec<&str> = line.split(' ').skip(1).collect();
            text(&spread(&machine, &args));
            assert_eq!(places(&machine, 30, 1), [place], "{line}");
        }
    }
}

#[test]
fn bad_usage_changes_nothing() {
    let machine = Machine::with(&[]);
    let before = files(&machine.root());
    for args in [
        &["--cpus", "x"][..],
        &["--cpus", ""],
        &["--cpus", "3-1"],
        &["--cpus", "0-99999999"],
        &["--cpus", "9"],
        &["--cpus"],
        &["--what"],
        &["eth7"],
        &["eth0", "eth7"],
        &[""],
        &[".."],
        &["../net/eth0"],
        &["/sys/devices/net/"],
        &["/sys/devices/net/a/b"],
        &["/etc/eth0"],
        &["--revert", "eth7"],
    ] {
        let output = spread(&machine, args);
        assert!(output.status.code() == Some(2) && !output.stderr.is_empty(), "{args:?}: {output:?}");
    }
    fs::remove_file(machine.root().join("sys/devices/system/cpu/online")).unwrap();
    let said = error(&spread(&machine, &[]));
    assert!(said.contains("/sys/devices/system/cpu/online cannot be read"), "{said}");
    machine.write("sys/devices/system/cpu/online", "0-3");
    assert_eq!(files(&machine.root()), before);
}
