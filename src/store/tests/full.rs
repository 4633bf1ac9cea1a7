//! A disk that is full for a while, and one that loses what was acknowledged.
//!
//! In a process of its own, whose files may not grow beyond a size: what is written beyond it fails as on a full disk.

use std::process::Command;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::*;
use crate::ledger::{Forget, Spot, Trouble};

const DIRECTORY: &str = "WAYSTATION_STORE_FULL";

/// Runs a test of this file again, in a process that takes no harm from writing too much.
fn again(name: &str, path: &Path) {
    let exe = std::env::current_exe().unwrap();
    let status = Command::new("sh")
        .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
        .arg(exe)
        .args(["--exact", &format!("store::tests::full::{name}"), "--nocapture", "--test-threads", "1"])
        .env(DIRECTORY, path)
        .status()
        .unwrap();
    assert!(status.success());
}

fn limit_files(bytes: Option<u64>) {
    let maximum = getrlimit(Resource::Fsize).maximum;
    setrlimit(Resource::Fsize, Rlimit { current: bytes, maximum }).unwrap();
}

/// Appends until the store says that the disk is full. Returns the last seq that was put, and the last one acknowledged.
fn fill(store: &mut Played, past: &Past, acked: &mut Vec<(Ticket, u64)>) -> (u64, u64) {
    let (mut seq, mut last) = (past.start.next.0, 0);
    limit_files(Some(32 * 1024));
    loop {
        let ticket = store.append(0, past, seq);
        acked.push((ticket, seq));
        seq += 1;
        match store.next(0) {
            Notice::Committed(through) => {
                last = acked.iter().rev().find(|(ticket, _)| *ticket <= through).map_or(last, |(_, seq)| *seq);
            }
            Notice::Trouble(trouble) => {
                assert_eq!(trouble, Trouble::Full);
                return (seq - 1, last);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_full_disk_is_told_and_everything_is_written_when_there_is_space() {
    let Ok(path) = std::env::var(DIRECTORY) else {
        return again("a_full_disk_is_told_and_everything_is_written_when_there_is_space", &Place::new("full").0);
    };
    let path = Path::new(&path);
    let mut store = Played::on(path, 2);
    let past = store.open(0, "chat:a");
    let (left, moved) = (store.open(1, "chat:left"), store.open(1, "chat:moved"));
    for channel in [&left, &moved] {
        let ticket = store.append(1, channel, 1);
        store.committed(1, ticket);
    }
    let (last, acknowledged) = fill(&mut store, &past, &mut Vec::new());
    assert!(acknowledged < last && acknowledged > 10);
    // What comes meanwhile waits.
    let ticket = store.append(0, &past, last + 1);
    assert!(store.links[0].unwritten().0 >= 2);
    // What needs no space goes on, however often the log is opened again.
    for channel in 0..20 {
        store.open(1, &format!("chat:{channel}"));
        assert_eq!(store.read(1, past.channel, acknowledged), Ok((1..=acknowledged).collect()));
    }
    // Who left comes back.
    store.put(1, Request::Close(left.channel));
    assert_eq!(store.open(1, "chat:left").start.next, Seq(2));
    // Of this one something waits to be written that its opening has to tell of.
    store.put(1, Request::Cursor { channel: moved.channel, user: Arc::from("ann"), seq: Some(Seq(1)) });
    store.put(1, Request::Close(moved.channel));
    let open = Open { channel: Arc::from("chat:moved"), fresh: Epoch(9), tail_bytes: 0, tail_count: 0 };
    let opening = store.put(1, Request::Open(open));
    limit_files(None);
    let (mut works, mut written) = (false, false);
    while !works || !written {
        match store.next(0) {
            Notice::Working => works = true,
            Notice::Committed(through) => written |= through >= ticket,
            // It tries again and again, and says so when it is for another reason.
            Notice::Trouble(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(store.numbers.read(StoreNumber::Failures) > 0);
    let mut works = false;
    loop {
        match store.next(1) {
            Notice::Opened(of, found) => {
                let found = found.unwrap();
                assert_eq!((of, &*found.cursors[0].0, found.cursors[0].1, works), (opening, "ann", Seq(1), true));
                break;
            }
            notice => works |= notice == Notice::Working,
        }
    }
    let ticket = store.append(0, &past, last + 2);
    store.committed(0, ticket);
    assert_eq!(store.read(0, past.channel, u64::MAX - 1), Ok((1..=last + 2).collect()));
    store.stop().unwrap();
    let mut store = Played::on(path, 1);
    assert_eq!(store.state.generation, 0, "the stop was clean");
    let past = store.open(0, "chat:a");
    assert_eq!(store.read(0, past.channel, u64::MAX - 1), Ok((1..=last + 2).collect()));
    store.stop().unwrap();
}

#[test]
fn an_erasure_that_meets_a_full_disk_is_refused_and_channels_are_opened_all_the_same() {
    let Ok(path) = std::env::var(DIRECTORY) else {
        let name = "an_erasure_that_meets_a_full_disk_is_refused_and_channels_are_opened_all_the_same";
        return again(name, &Place::new("erasing").0);
    };
    let path = Path::new(&path);
    let mut store = Played::on(path, 2);
    let past = store.open(0, "chat:a");
    limit_files(Some(32 * 1024));
    let mut seq = past.start.next.0;
    let asked = loop {
        // The portion comes just before the event, and as a rule waits for its commit.
        let forget = Forget { user: Arc::from("nobody"), author: 1, from: Spot::BEGIN };
        let asked = store.put(1, Request::Forget(Box::new(forget)));
        let ticket = store.append(0, &past, seq);
        seq += 1;
        let is_full = loop {
            match store.next(0) {
                Notice::Committed(through) if through >= ticket => break false,
                Notice::Trouble(trouble) => break trouble == Trouble::Full,
                _ => {}
            }
        };
        if is_full {
            break asked;
        }
        while !matches!(store.next(1), Notice::Forgotten(of, Ok(_)) if of == asked) {}
    };
    loop {
        if let Notice::Forgotten(of, outcome) = store.next(1) {
            assert!(of == asked && matches!(outcome, Ok(_) | Err(Refusal::Failed(_))), "{outcome:?}");
            break;
        }
    }
    // While the disk is full still.
    store.open(1, "chat:b");
    limit_files(None);
    while !matches!(store.next(1), Notice::Working) {}
    let ticket = store.append(0, &past, seq);
    store.committed(0, ticket);
    store.stop().unwrap();
}

#[test]
fn a_log_that_cannot_be_opened_again_refuses_what_is_asked_until_it_can() {
    let Ok(path) = std::env::var(DIRECTORY) else {
        return again("a_log_that_cannot_be_opened_again_refuses_what_is_asked_until_it_can", &Place::new("shut").0);
    };
    let path = Path::new(&path);
    let mut store = Played::on(path, 1);
    let past = store.open(0, "chat:a");
    let stray = path.join("log").join("no-number.jnl");
    fs::write(&stray, b"").unwrap();
    let (last, _) = fill(&mut store, &past, &mut Vec::new());
    // Until the first try to open it again it is read as it was.
    let refused = (1..).find_map(|channel| {
        let channel = Arc::from(format!("chat:{channel}"));
        let open = Open { channel, fresh: Epoch(9), tail_bytes: 0, tail_count: 0 };
        let ticket = store.put(0, Request::Open(open));
        loop {
            if let Notice::Opened(of, outcome) = store.next(0)
                && of == ticket
            {
                break outcome.err();
            }
        }
    });
    let refused = refused.unwrap();
    assert!(matches!(refused, Refusal::Failed(_)), "{refused:?}");
    assert!(matches!(store.read(0, past.channel, 5), Err(Refusal::Failed(_))));
    fs::remove_file(&stray).unwrap();
    limit_files(None);
    while !matches!(store.next(0), Notice::Working) {}
    store.open(0, "chat:b");
    let ticket = store.append(0, &past, last + 1);
    store.committed(0, ticket);
    assert_eq!(store.read(0, past.channel, u64::MAX - 1), Ok((1..=last + 1).collect()));
    store.stop().unwrap();
}

#[test]
fn a_store_that_cannot_write_its_last_events_ends_uncleanly() {
    let Ok(path) = std::env::var(DIRECTORY) else {
        return again("a_store_that_cannot_write_its_last_events_ends_uncleanly", &Place::new("farewell").0);
    };
    let path = Path::new(&path);
    let mut store = Played::on(path, 1);
    let past = store.open(0, "chat:a");
    let (last, acknowledged) = fill(&mut store, &past, &mut Vec::new());
    assert_eq!(store.stop(), Err(Stopped::Unwritten(Trouble::Full)));
    limit_files(None);
    let mut store = Played::on(path, 1);
    assert_eq!(store.state.generation, 1);
    let past = store.open(0, "chat:a");
    let found = store.read(0, past.channel, u64::MAX - 1).unwrap();
    assert_eq!(found, (1..=found.len() as u64).collect::<Vec<_>>());
    assert!((acknowledged..=last).contains(&(found.len() as u64)), "{acknowledged} {last} {}", found.len());
    assert!(past.start.next.0 > 65_536);
    store.stop().unwrap();
}

#[test]
fn a_log_that_lacks_what_was_acknowledged_is_written_no_more_and_not_started_again() {
    let Ok(path) = std::env::var(DIRECTORY) else {
        let name = "a_log_that_lacks_what_was_acknowledged_is_written_no_more_and_not_started_again";
        return again(name, &Place::new("lost").0);
    };
    let path = Path::new(&path);
    let mut store = Played::on(path, 1);
    let past = store.open(0, "chat:a");
    fill(&mut store, &past, &mut Vec::new());
    // Its journal loses what was acknowledged, and nothing can be written in its place.
    limit_files(Some(1024));
    let journal = fs::OpenOptions::new().write(true).open(path.join("log").join("0.jnl")).unwrap();
    journal.set_len(16 * 1024).unwrap();
    assert_eq!(store.ending.take().unwrap().wait(), Err(Stopped::Lost { unmarked: None }));
    assert!(store.links[0].try_put(Ticket(u64::MAX), append(&past, 9999, "ann")).is_err(), "nobody takes it");
    limit_files(None);
    let fault = Played::try_on(path, 1).map(|_| ()).unwrap_err();
    assert!(matches!(&fault, StartFault::Damaged { what, .. } if what.contains("was acknowledged")), "{fault}");
}

#[test]
fn a_compaction_on_a_full_disk_ends_and_everything_is_there_still() {
    let Ok(path) = std::env::var(DIRECTORY) else {
        return again("a_compaction_on_a_full_disk_ends_and_everything_is_there_still", &Place::new("compaction").0);
    };
    let path = Path::new(&path);
    let mut store = Played::on(path, 1);
    let past = store.open(0, "chat:a");
    for seq in 1..=50 {
        store.append(0, &past, seq);
    }
    store.stop().unwrap();
    let offline = Offline::open(path, 1 << 20).unwrap();
    limit_files(Some(512));
    let fault = offline.compact().unwrap_err();
    assert!(matches!(fault, StartFault::Unreadable { .. }), "{fault}");
    drop(offline);
    limit_files(None);
    Offline::open(path, 1 << 20).unwrap().compact().unwrap();
    let mut store = Played::on(path, 1);
    assert_eq!(store.read(0, past.channel, 1000), Ok((1..=50).collect()));
    store.stop().unwrap();
}
