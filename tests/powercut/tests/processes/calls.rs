//! Each call by itself: what it does may be lost until it is synced, and not afterwards.

use std::fs;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use powercut::{Call, Cut, Failing, Metadata, Stall};

use crate::place::{Place, State, state};

/// A file of three pages, one of its names, a directory with a file, and one without.
fn prepare(place: &Place) {
    let data = place.data();
    fs::write(data.join("file"), vec![b'o'; 12_288]).expect("a file");
    fs::write(data.join("other"), b"other").expect("a file");
    for folder in ["folder", "empty"] {
        fs::create_dir(data.join(folder)).expect("a directory");
    }
    fs::write(data.join("folder/inner"), b"inner").expect("a file");
    fs::write(place.beside("outside"), vec![b's'; 9_000]).expect("a file");
}

/// The states before and after a call, and the cut.
fn run(order: &str) -> (Place, State, Output) {
    let place = Place::new(&order.replace(' ', "-"));
    prepare(&place);
    let before = state(&place.data());
    let output = place.driver(order).output().expect("it runs");
    (place, before, output)
}

/// A call whose effect is lost by some seeds without a sync, and by none after one.
fn check(call: &str) {
    let (place, before, output) = run(&format!("call {call}"));
    assert!(output.status.success(), "{call}: {output:?}");
    let now = state(&place.data());
    assert!(before != now, "{call} changes something");
    let cut = place.cut();
    assert!(place.after(&cut, 0) == before, "{call} without a sync may be lost");
    assert!(place.after(&cut, 1) == now, "{call} without a sync may be kept");
    let (place, before, output) = run(&format!("call {call} sync"));
    assert!(output.status.success(), "{call}: {output:?}");
    let cut = place.cut();
    let now = state(&place.data());
    assert!(before != now, "{call} changes something");
    for seed in 0..8 {
        assert!(place.after(&cut, seed) == now, "{call} with a sync, seed {seed}");
    }
}

#[test]
fn what_a_call_writes_may_be_lost_until_it_is_synced() {
    for call in
        ["write", "append", "pwrite", "writev", "pwritev", "pwritev2", "sendfile", "splice", "copy_file_range", "copy"]
    {
        check(call);
    }
}

#[test]
fn what_a_call_does_to_a_size_may_be_lost_until_it_is_synced() {
    for call in ["shorter", "longer", "truncate", "open-truncate", "fallocate", "punch", "zero-range"] {
        check(call);
    }
}

#[test]
fn what_a_call_does_to_names_may_be_lost_until_their_directory_is_synced() {
    for call in ["create", "mkdir", "rename", "raw-rename", "replace", "across", "link", "unlink", "rmdir"] {
        check(call);
    }
}

#[test]
fn a_write_that_is_durable_by_itself_is_never_lost_and_makes_nothing_else_durable() {
    for call in ["o-sync", "o-dsync", "rwf-dsync"] {
        let (place, before, output) = run(&format!("call {call}"));
        assert!(output.status.success(), "{call}: {output:?}");
        let (cut, now) = (place.cut(), state(&place.data()));
        let (old, new) = (before["file"].clone().expect("a file"), now["file"].clone().expect("a file"));
        for seed in 0..20 {
            let after = place.after(&cut, seed)["file"].clone().expect("a file");
            assert!(after[4096..8192] == new[4096..8192], "{call} is durable, seed {seed}");
            assert!(seed != 0 || after[..4096] == old[..4096], "{call}: the write before it is not");
        }
        assert!(old[..4096] != new[..4096], "{call}: there is one before it");
    }
}

#[test]
fn a_sync_of_everything_is_one_of_each() {
    for call in ["sync", "syncfs"] {
        let (place, before, output) = run(&format!("call {call}"));
        assert!(output.status.success(), "{call}: {output:?}");
        let now = state(&place.data());
        assert!(before != now, "{call} changes something");
        assert!(place.after(&place.cut(), 0) == now, "{call}");
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "what another process does is waited for by the real clock")]
fn a_sync_hangs_with_the_disk_and_nothing_else_does() {
    let place = Place::new("hangs");
    prepare(&place);
    let mut driver = place.driver("call write sync");
    let stall = Stall::begin(&place.data()).expect("it is prepared");
    assert!(Stall::begin(&place.data()).is_err(), "it hangs already");
    let before = state(&place.data());
    let mut child = driver.spawn().expect("it runs");
    let since = Instant::now();
    while stall.count().expect("a file") == 0 {
        assert!(since.elapsed() < Duration::from_secs(60), "no sync has begun");
        std::thread::park_timeout(Duration::from_millis(1));
    }
    assert!(before != state(&place.data()), "the write before it has not waited");
    assert!(child.try_wait().expect("it is ours").is_none(), "the sync does");
    drop(stall);
    assert!(child.wait().expect("it ends").success());
    assert!(place.after(&place.cut(), 0) == state(&place.data()), "what it waited for is durable");
}

/// A call on a disk that fails; how many calls have failed there.
fn run_failing(order: &str, (calls, error, part): (&[Call], i32, &str)) -> (Place, State, u64) {
    let place = Place::new(&order.replace(' ', "-"));
    prepare(&place);
    let before = state(&place.data());
    let mut driver = place.driver(order);
    let failing = Failing::begin(&place.data(), calls, error, part).expect("it is prepared");
    assert!(Failing::begin(&place.data(), calls, error, part).is_err(), "it fails already");
    let output = driver.env("POWERCUT_READS", "1").output().expect("it runs");
    assert!(output.status.success(), "{order}: {output:?}");
    // The program may have ended it itself.
    let count = failing.count().unwrap_or(0);
    (place, before, count)
}

#[test]
fn what_a_failed_sync_was_to_keep_is_never_durable_and_what_comes_later_is() {
    let (place, before, _) = run_failing("call sync-fails", (&[Call::Sync], libc::EIO, "file"));
    let (cut, now) = (place.cut(), state(&place.data()));
    let (old, new) = (before["file"].clone().expect("a file"), now["file"].clone().expect("a file"));
    assert!(old[..8_192] != new[..8_192], "two pages were written");
    let mut kept = 0;
    for seed in 0..40 {
        let after = place.after(&cut, seed)["file"].clone().expect("a file");
        assert!(after[4_096..] == new[4_096..], "what was synced later is durable, seed {seed}");
        kept += u32::from(after[..4_096] == new[..4_096]);
        assert!(seed != 0 || after[..4_096] == old[..4_096], "what was synced in vain is not");
    }
    assert!((1..40).contains(&kept), "nobody knows: {kept} of 40");
}

#[test]
fn calls_fail_of_the_kinds_and_on_the_files_that_are_asked_for_and_change_nothing() {
    let (place, before, count) = run_failing("call writes-fail", (&[Call::Write, Call::Create], libc::ENOSPC, "file"));
    assert_eq!(count, 4);
    let (cut, now) = (place.cut(), state(&place.data()));
    assert!(now["other"] == Some(b"is written".to_vec()) && now["file"] == Some(Vec::new()), "others succeed");
    assert!(!now.contains_key("new-file") && place.after(&cut, 0) == before, "nothing else has changed");
    let (place, before, count) = run_failing("call reads-fail", (&[Call::Read], libc::EIO, "file"));
    assert_eq!((count, state(&place.data()) == before), (2, true));
}

#[test]
fn a_sync_of_another_file_makes_names_durable_where_metadata_is_ordered() {
    let (place, before, output) = run("call rename-beside");
    assert!(output.status.success(), "{output:?}");
    let now = state(&place.data());
    let ordered = Cut::read(&place.data(), Metadata::Ordered).expect("all of it was seen");
    assert!(before != now && place.after(&place.cut(), 0) == before, "strictly, the name may be lost");
    assert!(place.after(&ordered, 0) == now, "in order, it may not");
}

#[test]
fn a_rename_across_directories_is_durable_by_halves() {
    let (place, before, output) = run("call across-new sync");
    assert!(output.status.success(), "{output:?}");
    let (cut, now) = (place.cut(), state(&place.data()));
    let after = place.after(&cut, 0);
    assert!(after["folder/file"] == before["file"] && after["file"] == before["file"], "only the new name is durable");
    assert!(place.after(&cut, 1) == now, "the old one may be gone");
}

#[test]
fn a_directory_is_cut_again_and_again_by_the_program_and_no_log_is_taken_for_another() {
    let powercut = |words: &[&str], place: &Place| {
        let output = Command::new(env!("CARGO_BIN_EXE_powercut")).args(words).arg(place.data()).output();
        let output = output.expect("it runs");
        (output.status.success(), format!("{output:?}"))
    };
    let place = Place::new("again");
    assert!(powercut(&["apply", "--seed", "0"], &place).1.contains("not prepared"), "nothing is known of it");
    prepare(&place);
    let before = state(&place.data());
    let run = |order: &str| place.command(order).output().expect("it runs");
    assert!(String::from_utf8_lossy(&run("call write").stderr).contains("run `powercut begin`"), "it is not prepared");
    assert!(powercut(&["begin"], &place).0, "now it is");
    assert!(run("call write").status.success(), "so it runs");
    assert!(
        String::from_utf8_lossy(&run("call write").stderr).contains("run `powercut apply` first"),
        "a log is there"
    );
    let (cut, said) = powercut(&["apply", "--seed", "0"], &place);
    assert!(cut && said.contains("of 1 pending changes in 1 files, 1 files lost all"), "{said}");
    assert!(state(&place.data()) == before, "what was not synced is gone");
    assert!(run("call unlink").status.success(), "and the next one runs");
    let (cut, said) = powercut(&["apply", "--seed", "1"], &place);
    assert!(cut && said.contains("of 1 pending names 0 lost"), "{said}");
    assert!(!state(&place.data()).contains_key("file"), "it is kept, and durable");
    assert!(powercut(&["apply", "--seed", "0"], &place).0, "a cut of what is idle");
    assert!(!state(&place.data()).contains_key("file"), "it stays");
}

#[test]
fn what_promises_nothing_makes_nothing_durable() {
    let (place, before, output) = run("call sync-file-range");
    assert!(output.status.success(), "{output:?}");
    assert!(before != state(&place.data()), "it changes something");
    assert!(place.after(&place.cut(), 0) == before, "nothing is durable");
}

#[test]
fn what_cannot_be_followed_ends_the_program_and_is_told_again_afterwards() {
    for (call, told) in [
        ("map", "a writable shared mapping"),
        ("symlink", "a symbolic link"),
        ("mknod", "a special file"),
        ("exchange", "a rename that exchanges"),
        ("move-out", "a rename into the directory or out of it"),
        ("collapse", "fallocate that moves"),
    ] {
        let (place, _, output) = run(&format!("call {call}"));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(&format!("powercut: {told}")), "{call}: {output:?}");
        let error = Cut::read(&place.data(), Metadata::Strict).expect_err("nothing is known");
        assert!(error.to_string().contains(told), "{call}: {error}");
    }
}

#[test]
fn what_is_not_seen_is_noticed() {
    // A mapping that becomes writable later, and a file written by a process that nobody watches.
    let (place, _, output) = run("call map-later");
    assert!(output.status.success(), "{output:?}");
    let error = Cut::read(&place.data(), Metadata::Strict).expect_err("nothing is known");
    assert!(error.to_string().contains("\"file\" has other bytes"), "{error}");
    for (name, told) in [("other", "has other bytes"), ("strange", "is there")] {
        let (place, _, output) = run("call write");
        assert!(output.status.success(), "{output:?}");
        fs::write(place.data().join(name), b"strange").expect("a file");
        let error = Cut::read(&place.data(), Metadata::Strict).expect_err("nothing is known");
        assert!(error.to_string().contains(told), "{error}");
    }
}

#[test]
fn ways_without_a_name_or_a_copy_are_answered_as_if_there_were_none() {
    let (_, _, output) = run("call absent");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn calls_elsewhere_and_children_are_left_alone() {
    let (place, before, output) = run("call elsewhere");
    assert!(output.status.success(), "{output:?}");
    assert!(place.after(&place.cut(), 0) == before, "nothing has changed");
    assert_eq!(place.cut().records(), 4, "two changes were asked for there, and failed");
}
