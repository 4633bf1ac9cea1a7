//! The store on a real directory: what it takes over, what it refuses, what it tells.

mod backups;
mod full;
mod journals;
mod kills;
mod manifests;

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use crossbeam_channel::{Receiver, unbounded};
use rustix::process::geteuid;

use super::*;
use crate::ids::{Epoch, Seq};
use crate::ledger::disk::Order;
use crate::ledger::event::read_event;
use crate::ledger::{
    Append, ChannelNumber, Event, Keep, Notice, Open, Past, Read, Refusal, Request, Ticket, write_body,
};
use crate::limits::{
    STORE_COMMIT_BYTES_MAX, STORE_COMMIT_EARLY, STORE_COMMIT_WRITES_MAX, STORE_DIRECTORIES_MAX, STORE_FORMAT_BYTES_MAX,
};
use crate::metrics::store::StoreNumber;
use crate::payload::Payload;

const KEEP: Keep = Keep { count: 1_000_000, bytes: 1 << 40, age_ms: 1 << 40 };
/// Far more than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A directory of a test's own, gone at its end.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("waystation-store-{}-{name}", std::process::id()));
        let _none_yet = fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.0);
    }
}

/// Copies a directory with everything in it, as it is now.
fn copy(from: &Path, to: &Path) {
    let _none_yet = fs::remove_dir_all(to);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A store with its shards played by the test.
struct Played {
    links: Vec<StoreLink>,
    /// The last one of each shard.
    tickets: Vec<u64>,
    ending: Option<Ending>,
    numbers: Arc<StoreNumbers>,
    backups: Backups,
    state: State,
    woken: Receiver<ShardId>,
}

impl Played {
    fn try_on(path: &Path, shards: u16) -> Result<Self, StartFault> {
        let (wake, woken) = unbounded();
        let options = Options {
            directory: path.to_owned(),
            window: Duration::from_millis(1),
            cache_bytes: 1 << 20,
            readers: 2,
            shards,
            bounds: KEEP.into(),
        };
        let store = start(&options, Arc::new(move |shard| wake.send(shard).unwrap_or_default()))?;
        let (numbers, backups, state) = (Arc::clone(&store.numbers), store.backups.clone(), store.state);
        let (links, ending) = store.split();
        let tickets = vec![0; links.len()];
        Ok(Self { links, tickets, ending: Some(ending), numbers, backups, state, woken })
    }

    fn on(path: &Path, shards: u16) -> Self {
        Self::try_on(path, shards).unwrap()
    }

    /// The next answer for a shard.
    fn next(&mut self, shard: usize) -> Notice {
        loop {
            if let Some(notice) = self.links[shard].try_take() {
                return notice;
            }
            self.woken.recv_timeout(PATIENCE).expect("an answer in time");
        }
    }

    fn ticket(&mut self, shard: usize) -> Ticket {
        self.tickets[shard] += 1;
        Ticket(self.tickets[shard])
    }

    fn put(&mut self, shard: usize, request: Request) -> Ticket {
        let ticket = self.ticket(shard);
        self.links[shard].try_put(ticket, request).unwrap();
        self.links[shard].wake();
        ticket
    }

    fn open(&mut self, shard: usize, channel: &str) -> Past {
        let fresh = Epoch(self.state.generation + 100);
        let open = Open { channel: Arc::from(channel), fresh, tail_bytes: 1 << 16, tail_count: 5 };
        let ticket = self.put(shard, Request::Open(open));
        loop {
            match self.next(shard) {
                Notice::Opened(of, past) if of == ticket => return *past.unwrap(),
                Notice::Committed(_) | Notice::Trouble(_) | Notice::Working => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn append(&mut self, shard: usize, past: &Past, seq: u64) -> Ticket {
        self.put(shard, append(past, seq, "ann"))
    }

    /// Waits until everything up to a ticket is on the disk.
    fn committed(&mut self, shard: usize, ticket: Ticket) {
        while !matches!(self.next(shard), Notice::Committed(through) if through >= ticket) {}
    }

    fn read(&mut self, shard: usize, channel: ChannelNumber, through: u64) -> Result<Vec<u64>, Refusal> {
        let (after, through) = (Seq(0), Seq(through));
        let read = Read { channel, after, through, order: Order::Forward, count: 100_000, bytes: 1 << 30 };
        let ticket = self.ticket(shard);
        self.links[shard].try_read(ticket, read).unwrap();
        loop {
            if let Notice::Page(of, page) = self.next(shard)
                && of == ticket
            {
                let page = page?;
                assert_eq!((&page.damaged[..], page.more), (&[][..], false));
                return Ok(page.records.iter().map(|(seq, record)| check(channel, *seq, record)).collect());
            }
        }
    }

    fn stop(mut self) -> Result<(), Stopped> {
        self.links.clear();
        self.ending.take().unwrap().wait()
    }
}

/// The request to store an event whose content says which one it is.
fn append(past: &Past, seq: u64, user: &str) -> Request {
    let payload = format!("{{\"seq\":{seq},\"epoch\":{}}}", past.start.epoch.0);
    let event = Event {
        unix_ms: 1,
        id: u128::from(seq),
        operation: None,
        user,
        op_id: "",
        kind: "note",
        payload: payload.as_bytes(),
    };
    let mut body = Vec::new();
    write_body(&event, &mut body);
    let (channel, epoch) = (past.channel, past.start.epoch);
    let unix_ms = super::sleep::unix_ms();
    Request::Append(Append { channel, epoch, seq: Seq(seq), unix_ms, body: Payload::copy_of(&body) })
}

/// The seq of a record that says what was written for it.
fn check(channel: ChannelNumber, seq: Seq, record: &[u8]) -> u64 {
    let (epoch, event) = read_event(channel, seq, record).unwrap();
    let expected = format!("{{\"seq\":{seq},\"epoch\":{}}}", epoch.0);
    assert_eq!((event.id, event.payload), (u128::from(seq.0), expected.as_bytes()));
    seq.0
}

#[test]
fn what_was_acknowledged_is_there_after_a_clean_stop_and_the_epoch_goes_on() {
    let place = Place::new("clean");
    let mut store = Played::on(&place.0, 2);
    let (one, other) = (store.open(0, "chat:a"), store.open(1, "chat:b"));
    assert_ne!(one.channel, other.channel);
    for seq in 1..=20 {
        store.append(0, &one, seq);
    }
    let ticket = store.append(1, &other, 1);
    store.committed(1, ticket);
    let ticket = store.put(0, Request::Cursor { channel: one.channel, user: Arc::from("ann"), seq: Some(Seq(7)) });
    store.committed(0, ticket);
    assert_eq!(store.links[0].unwritten(), (0, 0));
    assert_eq!(store.read(1, one.channel, 5), Ok(vec![1, 2, 3, 4, 5]), "any shard may read any channel");
    store.stop().unwrap();
    // The next start has another number of shards.
    let mut store = Played::on(&place.0, 1);
    let again = store.open(0, "chat:a");
    assert_eq!((again.channel, again.start.epoch, again.start.next), (one.channel, one.start.epoch, Seq(21)));
    assert_eq!(again.cursors.iter().map(|(user, seq, _)| (&**user, seq.0)).collect::<Vec<_>>(), [("ann", 7)]);
    assert_eq!(again.tail.records.iter().map(|(seq, _)| seq.0).collect::<Vec<_>>(), [16, 17, 18, 19, 20]);
    assert_eq!(store.read(0, again.channel, 100), Ok((1..=20).collect()));
    assert_eq!(store.open(0, "chat:b").start.next, Seq(2));
    assert_eq!(store.state.generation, 0);
    store.stop().unwrap();
}

#[test]
fn a_copy_at_any_moment_has_what_was_acknowledged_and_goes_on_beyond_it() {
    let (place, other) = (Place::new("moments"), Place::new("moments-copy"));
    let mut store = Played::on(&place.0, 1);
    let past = store.open(0, "chat:a");
    let mut last = 0;
    for round in 0..4 {
        for seq in last + 1..=last + 10 {
            let ticket = store.append(0, &past, seq);
            if seq == last + 5 {
                store.committed(0, ticket);
            }
        }
        // The last five are on their way.
        copy(&place.0, &other.0);
        let ticket = store.append(0, &past, last + 11);
        store.committed(0, ticket);
        let mut copied = Played::on(&other.0, 1);
        assert_eq!(copied.state.generation, 1);
        let found = copied.open(0, "chat:a");
        let seqs = copied.read(0, found.channel, 1000).unwrap();
        let count = seqs.len() as u64;
        assert_eq!(seqs, (1..=count).collect::<Vec<_>>());
        assert!((last + 5..=last + 10).contains(&count), "{round}: {count} of {last}");
        assert_eq!(found.start.next, Seq(count + 65_536 + 1));
        copied.stop().unwrap();
        last += 11;
    }
    store.stop().unwrap();
}

#[test]
fn a_directory_is_had_by_one_and_only_if_it_is_ours() {
    let place = Place::new("lock");
    let store = Played::on(&place.0, 1);
    let Err(fault) = Played::try_on(&place.0, 1) else { panic!("it is in use") };
    assert_eq!(fault, StartFault::InUse { path: place.0.clone(), by: format!("process {}", std::process::id()) });
    store.stop().unwrap();
    let format = place.0.join("format");
    let text = fs::read_to_string(&format).unwrap();
    fs::write(&format, text.replace("version 1", "version 2")).unwrap();
    let fault = Played::try_on(&place.0, 1).map(|_| ()).unwrap_err();
    assert_eq!(fault, StartFault::Version { path: place.0.clone(), version: "2".to_owned() });
    assert!(fault.to_string().contains("reads version 1"), "{fault}");
    let long = "x".repeat(usize::try_from(STORE_FORMAT_BYTES_MAX).unwrap() + 1);
    let signed = format!("waystation store\nversion 1\nid +{:031x}\n", 5);
    for broken in ["", "waystation store\nversion 1\nid 5\n", &signed, "something\nversion 1\n", &long] {
        fs::write(&format, broken).unwrap();
        let fault = Played::try_on(&place.0, 1).map(|_| ()).unwrap_err();
        assert!(matches!(fault, StartFault::Damaged { .. }), "{broken:?} {fault}");
    }
    fs::remove_file(&format).unwrap();
    let fault = Played::try_on(&place.0, 1).map(|_| ()).unwrap_err();
    assert_eq!(fault, StartFault::Foreign { path: place.0.clone() }, "a log without its format is not begun anew");
    fs::write(&format, &text).unwrap();
    Played::on(&place.0, 1).stop().unwrap();
    fs::write(place.0.join("damaged"), "commit 9 was acknowledged").unwrap();
    let fault = Played::try_on(&place.0, 1).map(|_| ()).unwrap_err();
    assert!(fault.to_string().contains("commit 9 was acknowledged"), "{fault}");
}

#[test]
fn a_log_that_is_gone_is_told_and_none_is_begun_in_its_place() {
    let place = Place::new("gone");
    let log = place.0.join("log");
    let gone = |place: &Place| match Played::try_on(&place.0, 1).map(|_| ()) {
        Err(StartFault::Damaged { what, .. }) => assert!(what.contains("its log is gone"), "{what}"),
        other => panic!("{other:?}"),
    };
    let mut store = Played::on(&place.0, 1);
    let past = store.open(0, "chat:a");
    let ticket = store.append(0, &past, 1);
    store.committed(0, ticket);
    store.stop().unwrap();
    let kept = Place::new("gone-kept");
    fs::rename(&log, &kept.0).unwrap();
    gone(&place);
    assert!(!log.exists(), "nothing is begun");
    let fault = Offline::open(&place.0, 1 << 20).map(|_| ()).unwrap_err();
    assert!(matches!(&fault, StartFault::Damaged { .. }), "{fault}");
    // One that somebody has made, and what the library makes of it, has nothing of what was committed.
    fs::create_dir(&log).unwrap();
    gone(&place);
    drop(Tables::open(&log, 1 << 20).unwrap());
    gone(&place);
    fs::remove_dir_all(&log).unwrap();
    fs::rename(&kept.0, &log).unwrap();
    let mut store = Played::on(&place.0, 1);
    let past = store.open(0, "chat:a");
    assert_eq!(store.read(0, past.channel, 100), Ok(vec![1]));
    store.stop().unwrap();
    // A start that was cut short before there was a log left nothing that could be lost, and an earlier release no mark.
    fs::remove_file(place.0.join("begun")).unwrap();
    Played::on(&place.0, 1).stop().unwrap();
    assert!(place.0.join("begun").exists());
    fs::remove_file(place.0.join("begun")).unwrap();
    fs::remove_dir_all(&log).unwrap();
    Played::on(&place.0, 1).stop().unwrap();
}

#[test]
fn a_store_is_its_owners_alone() {
    let place = Place::new("owner");
    Played::on(&place.0, 1).stop().unwrap();
    let mode = |mode| fs::set_permissions(&place.0, fs::Permissions::from_mode(mode)).unwrap();
    let refused = || Played::try_on(&place.0, 1).map(|_| ()).unwrap_err();
    for open in [0o701, 0o710, 0o755, 0o770, 0o1777] {
        mode(open);
        assert_eq!(refused(), StartFault::Exposed { path: place.0.clone(), mode: open });
        assert_eq!(Offline::open(&place.0, 1 << 20).map(|_| ()).unwrap_err(), refused());
        let (text, may_pass) = (refused().to_string(), refused().may_pass());
        assert!(text.contains(&format!("(mode {open:04o})")) && text.contains("chmod 700") && !may_pass, "{text}");
    }
    mode(0o700);
    let user = geteuid().as_raw();
    assert_eq!(directory::check_access(&place.0, user), Ok(()));
    let fault = directory::check_access(&place.0, user + 1).unwrap_err();
    assert_eq!(fault, StartFault::Owned { path: place.0.clone(), owner: user, user: user + 1 });
    let (text, may_pass) = (fault.to_string(), fault.may_pass());
    assert!(text.contains(&format!("setpriv --reuid {user} --regid {user}")) && !may_pass, "{text}");
    assert!(text.contains("-p DynamicUser=yes -p User=waystation -p StateDirectory=waystation waystation"), "{text}");
    fs::remove_file(place.0.join("format")).unwrap();
    assert_eq!(directory::check_access(&place.0, user + 1), Ok(()), "where none is yet, one is made");
    mode(0o755);
    assert_eq!(refused(), StartFault::Foreign { path: place.0.clone() }, "nobody is told to close another's directory");
}

#[test]
fn a_mark_of_damage_that_cannot_be_read_is_none_to_be_passed_over() {
    let place = Place::new("mark");
    Played::on(&place.0, 1).stop().unwrap();
    let (mark, fault) = (place.0.join("damaged"), || Played::try_on(&place.0, 1).map(|_| ()).unwrap_err());
    // Nobody reads what leads to itself, and no text is read from a directory.
    std::os::unix::fs::symlink(&mark, &mark).unwrap();
    assert!(matches!(fault(), StartFault::Unreadable { .. }), "{}", fault());
    fs::remove_file(&mark).unwrap();
    fs::create_dir(&mark).unwrap();
    assert!(matches!(fault(), StartFault::Unreadable { .. }), "{}", fault());
    fs::remove_dir(&mark).unwrap();
    for what in [&b""[..], b"\xff", &[b'x'; 1 << 20]] {
        fs::write(&mark, what).unwrap();
        assert!(matches!(fault(), StartFault::Damaged { .. }), "{}", fault());
        assert!(fault().to_string().len() < usize::try_from(STORE_FORMAT_BYTES_MAX).unwrap() + 200);
    }
    fs::remove_file(&mark).unwrap();
    Played::on(&place.0, 1).stop().unwrap();
}

#[test]
fn a_directory_that_cannot_be_marked_is_told_at_the_end() {
    let place = Place::new("unmarked");
    let directory = Directory::take(&place.0).unwrap();
    let mark = place.0.join("damaged");
    fs::create_dir(&mark).unwrap();
    let unmarked = directory.mark_damaged("commit 9").err().map(|error| error.to_string());
    let told = Stopped::Lost { unmarked: unmarked.clone() }.to_string();
    assert!(told.contains(&unmarked.unwrap()) && told.contains("backup"), "{told}");
    fs::remove_dir(&mark).unwrap();
    directory.mark_damaged("commit 9").unwrap();
    drop(directory);
    let fault = Directory::take(&place.0).unwrap_err();
    assert!(fault.to_string().contains("commit 9"), "{fault}");
}

/// Appends to a channel without a pause until told that it is enough, or up to a number of events. Returns how many.
fn append_steadily(link: &mut StoreLink, past: &Past, enough: &AtomicBool, most: u64) -> u64 {
    let (mut seq, mut committed) = (0, Ticket(1));
    while seq < most && !enough.load(SeqCst) {
        // More than two commits take, so that some are there whenever the store looks.
        while seq < most && seq - (committed.0 - 1) < 2 * STORE_COMMIT_WRITES_MAX as u64 {
            seq += 1;
            link.try_put(Ticket(seq + 1), append(past, seq, "ann")).unwrap();
        }
        link.wake();
        while let Some(notice) = link.try_take() {
            let Notice::Committed(through) = notice else { panic!("{notice:?}") };
            committed = through;
        }
        std::thread::yield_now();
    }
    seq
}

#[test]
fn a_channel_is_opened_while_others_are_written_without_a_pause() {
    let place = Place::new("steady");
    let mut store = Played::on(&place.0, 2);
    let past = store.open(1, "chat:busy");
    let (mut link, enough, most) = (store.links.remove(1), Arc::new(AtomicBool::new(false)), 300_000);
    let thread = std::thread::spawn({
        let enough = Arc::clone(&enough);
        move || append_steadily(&mut link, &past, &enough, most)
    });
    for channel in 0..5 {
        store.open(0, &format!("chat:{channel}"));
    }
    enough.store(true, SeqCst);
    let count = thread.join().unwrap();
    assert!(count < most, "they were opened only when nothing was written any more");
    store.stop().unwrap();
}

#[test]
fn every_directory_of_the_log_is_written_down_and_too_many_are_told() {
    let place = Place::new("directories");
    Played::on(&place.0, 1).stop().unwrap();
    let log = place.0.join("log");
    let mut synced = directory::sync_tree(&log).unwrap();
    synced.sort();
    let trees = ["0", "1", "2"].map(|tree| log.join("keyspaces").join(tree));
    let mut expected = vec![log.clone(), log.join("keyspaces")];
    expected.extend(trees.iter().cloned().chain(trees.iter().map(|tree| tree.join("tables"))));
    expected.sort();
    assert_eq!(synced, expected);
    for more in 1..=STORE_DIRECTORIES_MAX - expected.len() {
        fs::create_dir(log.join(format!("other-{more}"))).unwrap();
    }
    assert_eq!(directory::sync_tree(&log).unwrap().len(), STORE_DIRECTORIES_MAX);
    fs::create_dir(log.join("other")).unwrap();
    assert!(directory::sync_tree(&log).is_err());
    let fault = Played::try_on(&place.0, 1).map(|_| ()).unwrap_err();
    assert!(fault.to_string().contains("directories"), "{fault}");
}

#[test]
fn a_store_of_which_a_shard_left_something_behind_stops_uncleanly() {
    let place = Place::new("unfinished");
    let mut store = Played::on(&place.0, 1);
    let past = store.open(0, "chat:a");
    let ticket = store.append(0, &past, 1);
    store.committed(0, ticket);
    assert_eq!(store.numbers.read(StoreNumber::Channels), 1);
    assert!(store.numbers.read(StoreNumber::Commits) > 0 && store.numbers.commit().counts().sum::<u64>() > 0);
    assert!(store.numbers.read(StoreNumber::FreeBytes) > 0, "told from the first commit on");
    store.links[0].leave_unfinished();
    assert_eq!(store.stop(), Err(Stopped::Unfinished));
    let mut store = Played::on(&place.0, 1);
    assert_eq!(store.state.generation, 1);
    assert_eq!(store.open(0, "chat:a").start.next, Seq(65_536 + 2));
    store.stop().unwrap();
}

#[test]
fn a_directory_is_made_with_all_above_it() {
    let place = Place::new("above");
    let deep = place.0.join("a").join("b").join("c");
    Played::on(&deep, 1).stop().unwrap();
    assert_eq!(Played::on(&deep, 1).state.generation, 0);
}

#[test]
fn a_log_of_another_directory_is_refused() {
    let (one, other) = (Place::new("swap-a"), Place::new("swap-b"));
    for place in [&one, &other] {
        Played::on(&place.0, 1).stop().unwrap();
    }
    copy(&other.0.join("log"), &one.0.join("log"));
    let fault = Played::try_on(&one.0, 1).map(|_| ()).unwrap_err();
    assert!(matches!(fault, StartFault::Damaged { .. }), "{fault}");
}

#[test]
fn a_commit_waits_for_its_window_unless_there_is_enough() {
    for (writes, bytes, over, expected) in [
        (0, 0, true, false),
        (1, 0, true, true),
        (1, 0, false, false),
        (STORE_COMMIT_EARLY - 1, STORE_COMMIT_BYTES_MAX - 1, false, false),
        (STORE_COMMIT_EARLY, 0, false, true),
        (1, STORE_COMMIT_BYTES_MAX, false, true),
    ] {
        assert_eq!(writer::is_worth_it((writes, bytes), over), expected, "{writes} {bytes} {over}");
    }
    let (shortest, longest) = (STORE_WINDOW_MS_MIN, STORE_WINDOW_MS_MAX);
    for (wanted, expected) in [(0, shortest), (shortest, shortest), (5, 5), (longest, longest), (longest + 1, longest)]
    {
        assert_eq!(within_bounds(Duration::from_millis(wanted)), Duration::from_millis(expected), "{wanted}");
    }
}
