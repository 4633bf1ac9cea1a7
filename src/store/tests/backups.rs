//! Backups: of a store that goes on meanwhile, cut short by either side, and what is in their way.

use std::io::Write as _;
use std::os::unix::net::UnixStream;

use super::*;
use crate::ledger::survey::survey;
use crate::limits::{COPY_GENERATIONS, UNCOMMITTED_EVENTS_MAX};

/// Asks until the thread listens.
fn ask(store: &Played) -> UnixStream {
    loop {
        let (near, far) = UnixStream::pair().unwrap();
        match store.backups.begin(near) {
            Ok(()) => return far,
            Err(why) => assert_eq!(why, "another backup is under way"),
        }
        std::thread::yield_now();
    }
}

/// Appends large events until a socket cannot hold them, as far as a log of so many may have them.
fn fill(store: &mut Played, past: &Past, seqs: std::ops::RangeInclusive<u64>) {
    for seq in seqs {
        let ticket = store.put(0, append(past, seq, &"x".repeat(60_000)));
        store.committed(0, ticket);
    }
}

#[test]
fn a_backup_has_what_was_committed_when_it_began_and_is_a_store_itself() {
    let (place, other) = (Place::new("backup"), Place::new("backup-copy"));
    let mut store = Played::on(&place.0, 1);
    let past = store.open(0, "chat:a");
    fill(&mut store, &past, 1..=60);
    let (mut given, head) = Given::begin(ask(&store)).unwrap();
    assert_eq!((&*head.id, &*head.version), (&*format!("{:032x}", store.state.id), "1"));
    // More than the socket holds is on its way: these come behind the beginning, and before the end.
    fill(&mut store, &past, 61..=80);
    let mut copy = Copy::begin(&other.0, store.state.id, head.disk_bytes).unwrap();
    let mut count = 0;
    while let Some(page) = given.next_page().unwrap() {
        copy.take(page).unwrap();
        count += 1;
    }
    assert!(count > 1 && !other.0.exists(), "it has its name when it is whole");
    copy.finish().unwrap();
    store.append(0, &past, 81);
    store.stop().unwrap();

    let offline = Offline::open(&other.0, 1 << 20).unwrap();
    let found = survey(offline.tables(), &mut |fault| panic!("{fault}")).unwrap();
    assert_eq!((found.channels, found.events, found.faults), (1, 60, 0));
    drop(offline);
    for restart in 0..2 {
        let mut copied = Played::on(&other.0, 1);
        let again = copied.open(0, "chat:a");
        let next = 60 + UNCOMMITTED_EVENTS_MAX * (COPY_GENERATIONS + 1) + 1 + restart;
        assert_eq!(again.start.next, Seq(next));
        let read = copied.read(0, again.channel, next).unwrap();
        assert_eq!(read[..60], (1..=60).collect::<Vec<_>>());
        let ticket = copied.append(0, &again, next);
        copied.committed(0, ticket);
        copied.stop().unwrap();
    }
}

#[test]
fn one_backup_is_given_at_a_time_and_a_store_that_stops_waits_for_none() {
    let (place, other) = (Place::new("backup-stop"), Place::new("backup-stop-copy"));
    let mut store = Played::on(&place.0, 1);
    let past = store.open(0, "chat:a");
    fill(&mut store, &past, 1..=60);
    let (mut given, head) = Given::begin(ask(&store)).unwrap();
    assert_eq!(store.backups.begin(UnixStream::pair().unwrap().0), Err("another backup is under way"));
    let backups = store.backups.clone();
    store.stop().unwrap();
    assert_eq!(backups.begin(UnixStream::pair().unwrap().0), Err("the store has ended"));
    let mut copy = Copy::begin(&other.0, 1, head.disk_bytes).unwrap();
    let why = loop {
        match given.next_page() {
            Ok(Some(page)) => copy.take(page).unwrap(),
            Ok(None) => panic!("it was cut short"),
            Err(why) => break why,
        }
    };
    assert!(why.contains("ends too soon"), "{why}");
    drop(copy);
    let left = fs::read_dir(other.0.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
    let name = other.0.file_name().unwrap().to_str().unwrap();
    assert_eq!(left.filter(|path| path.to_str().unwrap().contains(name)).count(), 0, "nothing is left of it");
    // The next one that is started gives one again.
    let store = Played::on(&place.0, 1);
    let (mut given, _) = Given::begin(ask(&store)).unwrap();
    while given.next_page().unwrap().is_some() {}
    // And goes on behind one whose reader has gone.
    drop(Given::begin(ask(&store)).unwrap());
    Given::begin(ask(&store)).unwrap();
    store.stop().unwrap();
}

#[test]
fn a_log_that_is_opened_again_is_let_go_of_and_given_from_anew() {
    let place = Place::new("backup-reopened");
    let mut store = Played::on(&place.0, 1);
    let past = store.open(0, "chat:a");
    fill(&mut store, &past, 1..=60);
    store.stop().unwrap();
    let tables = Arc::new(Tables::open(&place.0.join("log"), 1 << 20).unwrap());
    let (backups, reader) = backup::spawn(7, &tables).unwrap();
    let begin = || {
        loop {
            let (near, far) = UnixStream::pair().unwrap();
            if backups.begin(near).is_ok() {
                return far;
            }
            std::thread::yield_now();
        }
    };
    let (mut given, _) = Given::begin(begin()).unwrap();
    assert_eq!(Arc::strong_count(&tables), 2);
    reader.release();
    assert_eq!(Arc::strong_count(&tables), 1, "who closes the log has it alone");
    while given.next_page().is_ok_and(|page| page.is_some()) {}
    let why = Given::begin(begin()).map(|_| ()).unwrap_err();
    assert!(why.contains("opened again"), "{why}");
    reader.give(&tables);
    let (mut given, _) = Given::begin(begin()).unwrap();
    while given.next_page().unwrap().is_some() {}
    reader.end();
}

#[test]
fn what_is_in_the_way_of_a_backup_is_told_and_stays_as_it_is() {
    let place = Place::new("backup-way");
    fs::create_dir(&place.0).unwrap();
    let (to, unfinished) = (place.0.join("copy"), place.0.join("copy.unfinished"));
    let refused = |bytes| Copy::begin(&to, 1, bytes).map(|_| ()).unwrap_err();
    for taken in [&to, &unfinished] {
        fs::create_dir(taken).unwrap();
        assert_eq!(refused(0), StartFault::Taken { path: taken.clone() });
        assert!(!refused(0).may_pass() && refused(0).to_string().contains("remove it"));
        fs::remove_dir(taken).unwrap();
    }
    assert!(matches!(refused(u64::MAX / 2), StartFault::Room { .. }) && refused(u64::MAX / 2).may_pass());
    assert!(matches!(Copy::begin(Path::new("/"), 1, 0), Err(StartFault::Unreadable { .. })));
    let away = place.0.join("none").join("copy");
    assert!(matches!(Copy::begin(&away, 1, 0), Err(StartFault::Unreadable { .. })));
    let mut copy = Copy::begin(&to, 1, 0).unwrap();
    let fault = copy.take(b"no page").unwrap_err();
    assert!(fault.to_string().contains("did not arrive as it was sent"), "{fault}");
    assert!(unfinished.exists());
    drop(copy);
    assert_eq!(fs::read_dir(&place.0).unwrap().count(), 0);
}

#[test]
fn what_is_told_instead_of_a_backup_reaches_who_asks() {
    let begin = |text: &str| {
        let (mut near, far) = UnixStream::pair().unwrap();
        near.write_all(text.as_bytes()).unwrap();
        drop(near);
        Given::begin(far)
    };
    let refused = |text: &str| begin(text).map(|_| ()).unwrap_err();
    assert_eq!(refused("{\"error\":\"another backup is under way\"}\n"), "another backup is under way");
    assert_eq!(refused(""), "it has ended");
    let head = |version: &str| format!("{{\"version\":\"{version}\",\"id\":\"0a\",\"disk_bytes\":5}}\n");
    assert!(refused(&head("7")).contains("of version 7"));
    let (mut near, far) = UnixStream::pair().unwrap();
    near.write_all(head("1").as_bytes()).unwrap();
    let (mut given, found) = Given::begin(far).unwrap();
    assert_eq!((&*found.id, found.disk_bytes), ("0a", 5));
    near.write_all(b"\x03\0\0\0abc").unwrap();
    assert_eq!(given.next_page(), Ok(Some(&b"abc"[..])));
    near.write_all(&u32::try_from(STORE_COMMIT_BYTES_MAX + 1).unwrap().to_le_bytes()).unwrap();
    assert!(given.next_page().unwrap_err().contains("is none"));
    near.write_all(b"\xff\xff\xff\xffdamaged: a block").unwrap();
    drop(near);
    assert_eq!(given.next_page(), Err("damaged: a block".to_owned()));
    assert!(given.next_page().unwrap_err().contains("ends too soon"));
}
