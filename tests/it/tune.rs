//! Proves that what `tune` changes it can take back, on machines that are directories: written once, the same a second
//! time, and as it was after a revert; and that nothing leads out of the machine.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use crate::doctor::machine::{Change, Machine};
use crate::gateway::{Directory, command};

const SYSCTL: &str = "etc/sysctl.d/60-waystation.conf";
const LIMITS: &str = "etc/security/limits.d/60-waystation.conf";
const MARK: &str = "# Written by `waystation tune apply`";

fn tune(machine: &Machine, args: &[&str]) -> Output {
    let root = machine.root();
    let planned = if args == ["revert"] { [].as_slice() } else { &["--connections", "200000"] };
    command(&["tune"]).args(args).args(planned).args(["--root", root.to_str().unwrap()]).output().unwrap()
}

pub(crate) fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Every file below a directory with its text.
pub(crate) fn files(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
                found.insert(name, fs::read_to_string(&path).unwrap_or_default());
            }
        }
    }
    found
}

#[test]
fn what_is_applied_is_written_once_and_taken_back_whole() {
    let machine = Machine::with(&[("proc/sys/net/core/somaxconn", Change::Is("65535"))]);
    machine.write(SYSCTL, "vm.swappiness = 1");
    let before = files(&machine.root());
    let dry = text(&tune(&machine, &["apply", "--dry-run"]));
    assert!(dry.contains(MARK) && dry.contains("nothing is changed"), "{dry}");
    assert_eq!(files(&machine.root()), before, "a dry run writes nothing");

    let told = text(&tune(&machine, &["apply"]));
    assert!(told.contains("what was there is kept") && told.ends_with("then: sysctl --system\n"), "{told}");
    let after = files(&machine.root());
    let added: Vec<&str> = after.keys().filter(|path| !before.contains_key(*path)).map(String::as_str).collect();
    assert_eq!(added, [LIMITS, &format!("{SYSCTL}.before-waystation")]);
    assert_eq!(after[&format!("{SYSCTL}.before-waystation")], before[SYSCTL]);
    let settings = &after[SYSCTL];
    assert!(settings.starts_with(MARK) && after[LIMITS].starts_with(MARK), "{settings}");
    for line in ["net.core.somaxconn = 65535", "net.ipv4.tcp_wmem = 4096 16384 262144", "vm.swappiness = 10"] {
        assert!(settings.lines().any(|found| found == line), "{line}: {settings}");
    }

    assert!(text(&tune(&machine, &["apply"])).contains("is as it should be"));
    assert_eq!(files(&machine.root()), after, "a second time changes nothing");
    assert!(text(&tune(&machine, &["revert", "--dry-run"])).contains("is back"));
    assert_eq!(files(&machine.root()), after);
    text(&tune(&machine, &["revert"]));
    assert_eq!(files(&machine.root()), before, "as if nothing had been");
    let again = text(&tune(&machine, &["revert"]));
    assert!(again.contains("not ours") && again.contains("not there"), "{again}");
    assert_eq!(files(&machine.root()), before);
}

#[test]
fn applied_settings_leave_the_doctor_nothing_that_they_could_mend() {
    let machine = Machine::with(&[
        ("proc/sys/net/core/somaxconn", Change::Is("128")),
        ("proc/sys/net/ipv4/tcp_mem", Change::Is("10\t20\t30")),
        ("proc/sys/net/netfilter/nf_conntrack_max", Change::Is("65536")),
    ]);
    text(&tune(&machine, &["apply"]));
    let settings = fs::read_to_string(machine.root().join(SYSCTL)).unwrap();
    for line in settings.lines().filter(|line| line.contains(" = ") && !line.starts_with('#')) {
        let (key, value) = line.trim_start_matches('-').split_once(" = ").unwrap();
        machine.write(&format!("proc/sys/{}", key.replace('.', "/")), value);
    }
    let root = machine.root();
    let args = ["tune", "check", "--strict", "--connections", "200000", "--root", root.to_str().unwrap()];
    let output = command(&args).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn links_of_an_image_are_followed_inside_it_and_what_cannot_be_written_is_told() {
    let (machine, outside) = (Machine::with(&[]), Directory::new());
    fs::create_dir(machine.root().join("etc")).unwrap();
    symlink(outside.path(), machine.root().join("etc/sysctl.d")).unwrap();
    let output = tune(&machine, &["apply"]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(78) && error.contains("/etc/sysctl.d"), "{error}");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0, "nothing outside");
    fs::remove_file(machine.root().join("etc/sysctl.d")).unwrap();
    symlink("/usr/settings", machine.root().join("etc/sysctl.d")).unwrap();
    fs::create_dir_all(machine.root().join("usr/settings")).unwrap();
    text(&tune(&machine, &["apply"]));
    assert!(machine.root().join("usr/settings/60-waystation.conf").exists());
}

#[test]
fn the_script_is_a_shell_script_with_the_same_files_and_the_old_values() {
    let machine = Machine::with(&[
        ("proc/sys/net/core/somaxconn", Change::Is("128")),
        ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", Change::Is("powersave")),
    ]);
    let script = text(&tune(&machine, &["--script"]));
    assert!(script.contains("# Before: 128\nsysctl -w net.core.somaxconn='4096'\n"), "{script}");
    assert!(script.contains("# warning governor:"), "{script}");
    text(&tune(&machine, &["apply"]));
    for path in [SYSCTL, LIMITS] {
        assert!(script.contains(&fs::read_to_string(machine.root().join(path)).unwrap()), "{path}: {script}");
    }
    let place = Directory::new();
    let path = place.path().join("script");
    fs::write(&path, script).unwrap();
    assert!(Command::new("sh").arg("-n").arg(path).status().unwrap().success());
}

#[test]
fn rows_are_listed_and_explained_and_a_name_that_is_not_there_has_a_nearest() {
    let list = text(&command(&["tune", "list"]).output().unwrap());
    assert!(list.lines().any(|line| line.starts_with("net.core.somaxconn ") && line.ends_with("applied")), "{list}");
    let told = text(&command(&["tune", "explain", "memlock"]).output().unwrap());
    assert!(told.starts_with("memlock\n") && told.contains("LimitMEMLOCK"), "{told}");
    let output = command(&["tune", "explain", "somaxcon"]).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(78) && error.contains("net.core.somaxconn"), "{error}");
    assert_eq!(command(&["tune"]).output().unwrap().status.code(), Some(2));
}
