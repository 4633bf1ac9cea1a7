//! Proves that what `tune` changes it can take back, on machines that are directories: written once, the same a second
//! time, and as it was after a revert; and that nothing leads out of the machine.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Output};

use crate::doctor::machine::{Change, Machine};
use crate::gateway::{Directory, command};

const SYSCTL: &str = "etc/sysctl.d/60-waystation.conf";
const LIMITS: &str = "etc/security/limits.d/60-waystation.conf";
const RULES: &str = "etc/udev/rules.d/60-waystation.rules";
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
    assert_eq!(added, [LIMITS, &format!("{SYSCTL}.before-waystation"), RULES]);
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
    for (connections, send_buffer) in [("200000", "4194304"), ("90000", "16777216"), ("10000", "65536")] {
        applied_settings_mend(connections, &format!("4096\t16384\t{send_buffer}"));
    }
}

fn applied_settings_mend(connections: &str, send_buffers: &str) {
    let machine = Machine::with(&[
        ("proc/sys/net/core/somaxconn", Change::Is("128")),
        ("proc/sys/net/ipv4/tcp_mem", Change::Is("10\t20\t30")),
        ("proc/sys/net/netfilter/nf_conntrack_max", Change::Is("65536")),
        ("proc/meminfo", Change::Is("MemTotal: 98304000 kB\n")),
    ]);
    machine.write("proc/sys/net/ipv4/tcp_wmem", send_buffers);
    let root = machine.root();
    let apply = ["tune", "apply", "--connections", connections, "--root", root.to_str().unwrap()];
    text(&command(&apply).output().unwrap());
    let settings = fs::read_to_string(machine.root().join(SYSCTL)).unwrap();
    for line in settings.lines().filter(|line| line.contains(" = ") && !line.starts_with('#')) {
        let (key, value) = line.trim_start_matches('-').split_once(" = ").unwrap();
        machine.write(&format!("proc/sys/{}", key.replace('.', "/")), value);
    }
    let args = ["tune", "check", "--strict", "--connections", connections, "--root", root.to_str().unwrap()];
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
    for path in [SYSCTL, LIMITS, RULES] {
        assert!(script.contains(&fs::read_to_string(machine.root().join(path)).unwrap()), "{path}: {script}");
    }
    let place = Directory::new();
    let path = place.path().join("script");
    fs::write(&path, script).unwrap();
    assert!(Command::new("sh").arg("-n").arg(path).status().unwrap().success());
}

/// Everything below `etc`: which file it is, its mode, owner and bytes, or where a link leads.
fn standing(root: &Path) -> BTreeMap<String, (u64, u32, u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.join("etc")];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            if meta.is_dir() {
                open.push(path);
                continue;
            }
            let link = || fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes();
            let bytes = if meta.is_symlink() { link() } else { fs::read(&path).unwrap_or_default() };
            let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            found.insert(name, (meta.ino(), meta.mode(), meta.uid(), bytes));
        }
    }
    found
}

fn refused(output: &Output, words: &str) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(78) && error.contains(words), "{words}: {error}");
}

#[test]
fn the_very_file_that_was_there_comes_back_with_its_mode_and_owner() {
    for (mode, bytes) in [(0o600, &b"secret = 1\n\xff\0"[..]), (0o444, b""), (0o000, b"nobody reads it")] {
        let machine = Machine::with(&[]);
        for path in [SYSCTL, LIMITS, RULES] {
            machine.write(path, "");
            let path = machine.root().join(path);
            fs::write(&path, bytes).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let before = standing(&machine.root());
        text(&tune(&machine, &["apply"]));
        text(&tune(&machine, &["apply"]));
        assert_eq!(standing(&machine.root()).len(), 6);
        text(&tune(&machine, &["revert"]));
        assert_eq!(standing(&machine.root()), before, "{mode:o}");
    }
}

#[test]
fn what_is_written_can_be_read_by_those_for_whom_it_is_whatever_the_mask() {
    let machine = Machine::with(&[]);
    let root = machine.root();
    let apply = command(&["tune", "apply", "--root", root.to_str().unwrap()]);
    let mut shell = Command::new("sh");
    shell.args(["-c", "umask 077; exec \"$@\"", "sh"]).arg(apply.get_program()).args(apply.get_args());
    text(&shell.output().unwrap());
    let modes: Vec<u32> = standing(&root).values().map(|(_, mode, ..)| mode & 0o7777).collect();
    assert_eq!(modes, [0o644; 3]);
}

#[test]
fn a_second_file_of_the_operators_is_not_written_over_the_first() {
    let machine = Machine::with(&[]);
    machine.write(RULES, "first");
    text(&tune(&machine, &["apply"]));
    fs::remove_file(machine.root().join(RULES)).unwrap();
    machine.write(RULES, "second");
    fs::remove_file(machine.root().join(SYSCTL)).unwrap();
    let before = standing(&machine.root());
    refused(&tune(&machine, &["apply"]), "move one of them away");
    assert_eq!(standing(&machine.root()), before, "nothing is done, nor in the other places");
    assert!(text(&tune(&machine, &["revert"])).contains("is still beside it"));
    let after = standing(&machine.root());
    assert_eq!(after.keys().collect::<Vec<_>>(), [RULES, &format!("{RULES}.before-waystation")]);
}

#[test]
fn what_somebody_has_changed_in_a_file_of_ours_is_kept_as_his() {
    let machine = Machine::with(&[]);
    text(&tune(&machine, &["apply"]));
    let path = machine.root().join(SYSCTL);
    let changed = fs::read_to_string(&path).unwrap().replace("vm.swappiness = 10", "vm.swappiness = 1");
    fs::write(&path, &changed).unwrap();
    assert!(text(&tune(&machine, &["revert", "--dry-run"])).contains("has been changed since"));
    assert!(text(&tune(&machine, &["apply"])).contains("is kept beside it"));
    assert_ne!(fs::read_to_string(&path).unwrap(), changed);
    text(&tune(&machine, &["revert"]));
    assert_eq!(fs::read_to_string(&path).unwrap(), changed);
    text(&tune(&machine, &["revert"]));
    assert_eq!(standing(&machine.root()).keys().collect::<Vec<_>>(), [SYSCTL], "left alone");
}

#[test]
fn a_link_or_a_directory_in_the_place_of_a_file_is_refused_and_left_alone() {
    for target in ["/dev/null", "nowhere", "../60-other.conf", ""] {
        let machine = Machine::with(&[]);
        let path = machine.root().join(LIMITS);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if target.is_empty() { fs::create_dir(&path) } else { symlink(target, &path) }.unwrap();
        let before = standing(&machine.root());
        refused(&tune(&machine, &["apply"]), "a link or no file");
        refused(&tune(&machine, &["apply", "--dry-run"]), "a link or no file");
        assert_eq!(standing(&machine.root()), before, "{target}: nor in the other places");
        assert!(text(&tune(&machine, &["revert"])).contains("left alone"));
        assert_eq!(standing(&machine.root()), before, "{target}");
    }
}

/// States in which a stop of the machine can leave a place, each from what was there, by the names that the files have then.
#[test]
fn whatever_a_stop_in_the_middle_leaves_is_finished_or_taken_back() {
    let (new, before) = (format!("{SYSCTL}.new-waystation"), format!("{SYSCTL}.before-waystation"));
    let whole = {
        let machine = Machine::with(&[]);
        text(&tune(&machine, &["apply"]));
        fs::read_to_string(machine.root().join(SYSCTL)).unwrap()
    };
    let begun = &whole[..whole.len() / 2];
    for (name, steps) in [
        ("the new file is empty", &[(new.as_str(), "")][..]),
        ("it is begun", &[(&new, begun)]),
        ("it is whole", &[(&new, &whole)]),
        ("what was there is kept", &[(&new, &whole), (&before, "link")]),
        ("ours is there", &[(&before, "link"), (SYSCTL, &whole)]),
    ] {
        for had in [true, false] {
            let machine = Machine::with(&[]);
            let root = machine.root();
            fs::create_dir_all(root.join(SYSCTL).parent().unwrap()).unwrap();
            if had {
                fs::write(root.join(SYSCTL), "vm.swappiness = 1\n").unwrap();
            }
            let at_first = standing(&root);
            let stop = || {
                for (path, bytes) in steps {
                    match (*bytes, had) {
                        ("link", true) => fs::hard_link(root.join(SYSCTL), root.join(path)).unwrap(),
                        ("link", false) => {}
                        _ => {
                            fs::write(root.join("aside"), bytes).unwrap();
                            fs::rename(root.join("aside"), root.join(path)).unwrap();
                        }
                    }
                }
            };
            stop();
            text(&tune(&machine, &["revert"]));
            assert_eq!(standing(&root), at_first, "{name}, {had}: taken back");
            stop();
            text(&tune(&machine, &["apply"]));
            assert_eq!(fs::read_to_string(root.join(SYSCTL)).unwrap(), whole, "{name}, {had}: finished");
            assert_eq!(root.join(&before).exists(), had, "{name}, {had}");
            assert!(!root.join(&new).exists(), "{name}, {had}");
            text(&tune(&machine, &["revert"]));
            assert_eq!(standing(&root), at_first, "{name}, {had}: finished and taken back");
        }
    }
    let machine = Machine::with(&[]);
    machine.write(&new, "somebody's");
    refused(&tune(&machine, &["apply"]), "is in the way");
    text(&tune(&machine, &["revert"]));
    assert_eq!(fs::read_to_string(machine.root().join(&new)).unwrap(), "somebody's\n");
}

#[test]
fn an_image_without_a_kernel_gets_the_values_for_any_kernel() {
    let place = Directory::new();
    let root = place.path().join("an image");
    fs::create_dir(&root).unwrap();
    let on_image = |args: &[&str]| text(&command(&["tune"]).args(args).arg("--root").arg(&root).output().unwrap());
    on_image(&["apply", "--connections", "300000", "--shards", "8"]);
    let settings = fs::read_to_string(root.join(SYSCTL)).unwrap();
    for line in ["net.core.somaxconn = 4096", "vm.swappiness = 10", "-net.netfilter.nf_conntrack_max = 360000"] {
        assert!(settings.lines().any(|found| found == line), "{line}: {settings}");
    }
    assert!(!settings.contains("tcp_mem =") && settings.contains("nothing is known"), "{settings}");
    assert!(fs::read_to_string(root.join(RULES)).unwrap().contains("KERNEL==\"nf_conntrack\""));
    assert!(on_image(&["apply", "--connections", "300000", "--shards", "8"]).contains("is as it should be"));
    assert!(on_image(&["--script", "--connections", "300000", "--shards", "8"]).contains(&settings));
    on_image(&["revert"]);
    assert_eq!(standing(&root).len(), 0);
}

#[test]
fn conntrack_is_set_when_it_is_loaded_after_the_settings_were_made() {
    let machine = Machine::with(&[("proc/sys/net/netfilter/nf_conntrack_max", Change::Gone)]);
    text(&tune(&machine, &["apply"]));
    let settings = fs::read_to_string(machine.root().join(SYSCTL)).unwrap();
    assert!(settings.contains("\n-net.netfilter.nf_conntrack_max = 262144\n"), "{settings}");
    let rule = fs::read_to_string(machine.root().join(RULES)).unwrap();
    assert!(rule.contains("SUBSYSTEM==\"module\"") && rule.contains("--prefix=/net/netfilter"), "{rule}");
}

/// The part of the script that writes files, run on a machine.
fn run_script(machine: &Machine) -> Output {
    let script = text(&tune(machine, &["--script"]));
    let files = script.split("\n# The running kernel.").next().unwrap();
    Command::new("sh").args(["-c", files]).env("ROOT", machine.root()).output().unwrap()
}

#[test]
fn the_script_keeps_and_refuses_what_apply_does_and_revert_takes_it_back() {
    let machine = Machine::with(&[]);
    machine.write(SYSCTL, "vm.swappiness = 1");
    let before = standing(&machine.root());
    for _ in 0..2 {
        text(&run_script(&machine));
        assert!(text(&tune(&machine, &["apply"])).matches("is as it should be").count() == 3);
    }
    text(&tune(&machine, &["revert"]));
    assert_eq!(standing(&machine.root()), before);

    text(&run_script(&machine));
    machine.write(SYSCTL, "vm.swappiness = 2");
    let output = run_script(&machine);
    assert!(!output.status.success());
    assert_eq!(fs::read_to_string(machine.root().join(SYSCTL)).unwrap(), "vm.swappiness = 2\n");
    assert!(String::from_utf8_lossy(&output.stderr).contains("before-waystation"), "{output:?}");

    let machine = Machine::with(&[]);
    fs::create_dir_all(machine.root().join(SYSCTL).parent().unwrap()).unwrap();
    symlink("/dev/null", machine.root().join(SYSCTL)).unwrap();
    let output = run_script(&machine);
    assert!(!output.status.success() && standing(&machine.root()).len() == 1, "{output:?}");
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
