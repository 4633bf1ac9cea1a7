//! What a user has left: what of it goes, what stays in its place, and how much at a time.

use std::cell::Cell;

use super::pages::Holed;
use super::*;
use crate::ledger::books::Opening;
use crate::ledger::contract::{Forget, Forgotten, Spot};
use crate::ledger::event::read_event;
use crate::ledger::forget::{self, ERASED_KIND};
use crate::ledger::survey::survey;
use crate::limits::{FORGET_BYTES_MAX, FORGET_RECORDS_MAX, TRIM_EVENTS_MAX};

const ANN: u64 = 6;
const BOB: u64 = 8;

impl Log {
    /// Stores an event of a user with an operation.
    fn store_of(&mut self, past: &Past, seq: u64, (user, author): (&str, u64), payload: &str) {
        let operation = Operation { identity: u128::from(seq), content: 5, author };
        let event = Event {
            unix_ms: self.unix_ms,
            id: u128::from(seq),
            operation: Some(operation),
            user,
            op_id: "op",
            kind: "note",
            payload: payload.as_bytes(),
        };
        let mut out = Vec::new();
        write_body(&event, &mut out);
        let (channel, epoch, body) = (past.channel, past.start.epoch, Payload::copy_of(&out));
        self.take(Request::Append(Append { channel, epoch, seq: Seq(seq), unix_ms: self.unix_ms, body }));
    }

    /// The shard has gone through all channels.
    fn pass(&mut self) {
        self.take(Request::Passed { begins: true, channels: (0..100).map(ChannelNumber).collect() });
    }

    /// One portion.
    fn forget_from(&mut self, user: &str, author: u64, from: Spot) -> Forgotten {
        let ticket = self.take(Request::Forget(Box::new(Forget { user: Arc::from(user), author, from })));
        let mut notices = self.settle();
        let job = self.ledger.take_forget_job().unwrap();
        let planned = forget::plan(&self.disk, &job);
        notices.extend(self.ledger.on_forgetting(planned).map(|(_, notice)| notice));
        notices.extend(self.commit());
        match notices.pop() {
            Some(Notice::Forgotten(told, Ok(forgotten))) if told == ticket => forgotten,
            other => panic!("{other:?}"),
        }
    }

    /// All portions: their sum, and how many there were.
    fn forget(&mut self, user: &str, author: u64) -> (Forgotten, usize) {
        let (mut sum, mut count, mut spot) = (Forgotten::default(), 0, Some(Spot::BEGIN));
        self.pass();
        while let Some(from) = spot {
            let one = self.forget_from(user, author, from);
            sum.add(&one);
            spot = one.next;
            count += 1;
        }
        (sum, count)
    }

    /// Type, user, operation id and payload of each event.
    fn told(&self, past: &Past) -> Vec<(String, String, String, String)> {
        let line = line_of(&self.disk, past.channel).unwrap();
        let page = page::read_page(&self.disk, &line, &everything(past.channel)).unwrap();
        assert_eq!((page.damaged, page.more), (vec![], false));
        let event = |(seq, record): &(Seq, Payload)| {
            let (epoch, event) = read_event(past.channel, *seq, record).unwrap();
            assert_eq!((epoch, event.unix_ms, event.id), (past.start.epoch, self.unix_ms, u128::from(seq.0)));
            let payload = String::from_utf8(event.payload.to_vec()).unwrap();
            (event.kind.to_owned(), event.user.to_owned(), event.op_id.to_owned(), payload)
        };
        page.records.iter().map(event).collect()
    }

    fn holds(&self, text: &str) -> bool {
        let mut records = self.disk.records();
        records.any(|(_, key, value)| {
            [key, value].iter().any(|bytes| memchr::memmem::find(bytes, text.as_bytes()).is_some())
        })
    }
}

#[test]
fn a_users_events_become_empty_ones_under_their_numbers_and_all_others_stay() {
    let mut log = Log::new();
    let (open, closed) = (log.open("chat:a"), log.open("chat:b"));
    for seq in 1..=4 {
        let who = if seq % 2 == 0 { ("annabel", ANN) } else { ("bob", BOB) };
        let said = if seq % 2 == 0 { "{\"secret\":1}" } else { "{}" };
        log.store_of(&open, seq, who, said);
        log.store_of(&closed, seq, who, said);
    }
    for (past, user) in [(&open, "annabel"), (&closed, "annabel"), (&closed, "annabella")] {
        log.take(Request::Cursor { channel: past.channel, user: Arc::from(user), seq: Some(Seq(2)) });
    }
    log.take(Request::Close(closed.channel));
    log.commit();
    let (sum, _) = log.forget("annabel", ANN);
    assert_eq!(sum, Forgotten { events: 4, operations: 4, cursors: 2, unreadable: 0, next: None });
    let text = str::to_owned;
    let (erased, bobs) =
        ((text(ERASED_KIND), text(""), text(""), text("{}")), (text("note"), text("bob"), text("op"), text("{}")));
    assert_eq!(log.told(&closed), [bobs.clone(), erased.clone(), bobs, erased]);
    assert_eq!(log.told(&open).len(), 4, "no number is missing");
    assert!(log.holds("bob") && log.holds("annabella") && !log.holds("secret"));
    assert_eq!(log.forget("annabel", ANN).0, Forgotten::default(), "asked again it finds nothing");
    let found = survey(&log.disk, &mut |told| panic!("{told}")).unwrap();
    assert_eq!(found.faults, 0);
    // After a stop of any kind the channel goes on behind an empty event as behind any other.
    let mut log = log.stop();
    let past = log.open("chat:b");
    assert_eq!((past.start.next, past.cursors.len(), past.operations.len()), (Seq(5), 1, 2));
    log.store_of(&past, 5, ("bob", BOB), "{}");
    let mut log = {
        log.commit();
        log.crash()
    };
    assert_eq!(log.open("chat:b").line.last(), Seq(5));
}

#[test]
fn what_came_after_the_shard_had_gone_through_a_channel_stays() {
    let mut log = Log::new();
    let (past, closed) = (log.open("chat:a"), log.open("chat:b"));
    let (channel, user) = (past.channel, || Arc::<str>::from("ann"));
    log.store_of(&past, 1, ("ann", ANN), "{}");
    log.store_of(&closed, 1, ("ann", ANN), "{}");
    log.take(Request::Cursor { channel, user: user(), seq: Some(Seq(1)) });
    log.take(Request::Cursor { channel: closed.channel, user: user(), seq: Some(Seq(1)) });
    log.pass();
    // In one batch with what is to go, and behind it.
    log.store_of(&past, 2, ("ann", ANN), "{}");
    log.take(Request::Close(closed.channel));
    log.commit();
    log.store_of(&past, 3, ("ann", ANN), "{}");
    log.take(Request::Cursor { channel, user: user(), seq: Some(Seq(3)) });
    log.commit();
    // What is stored when a channel is opened was there before.
    let opened = log.open("chat:b");
    log.store_of(&opened, 2, ("ann", ANN), "{}");
    log.commit();
    let (mut sum, mut spot) = (Forgotten::default(), Some(Spot::BEGIN));
    while let Some(from) = spot {
        let one = log.forget_from("ann", ANN, from);
        sum.add(&one);
        spot = one.next;
    }
    assert_eq!(sum, Forgotten { events: 2, operations: 2, cursors: 1, unreadable: 0, next: None });
    let kinds = |past| log.told(past).into_iter().map(|(kind, ..)| kind).collect::<Vec<_>>();
    assert_eq!(kinds(&past), [ERASED_KIND, "note", "note"]);
    assert_eq!(kinds(&opened), [ERASED_KIND, "note"]);
    let cursors = |log: &mut Log, name| log.open(name).cursors.into_iter().map(|(_, seq, _)| seq).collect::<Vec<_>>();
    assert_eq!((cursors(&mut log, "chat:a"), cursors(&mut log, "chat:b")), (vec![Seq(3)], vec![]));
}

#[test]
fn what_came_behind_the_pass_stays_while_its_channel_is_closed_until_its_shard_begins_anew() {
    // How often the channel is opened and closed again, and whether it is opened to be trimmed.
    for (again, trimmed) in [(0, false), (1, false), (2, false), (0, true), (1, true)] {
        let case = format!("{again} {trimmed}");
        let mut log = Log::new();
        let past = log.open("chat:a");
        let close = |log: &mut Log| {
            log.take(Request::Close(past.channel));
            log.settle();
            assert_eq!(log.ledger.open_channels(), 0, "{case}");
        };
        log.store_of(&past, 1, ("ann", ANN), "{}");
        log.pass();
        log.store_of(&past, 2, ("ann", ANN), "{}");
        log.take(Request::Cursor { channel: past.channel, user: Arc::from("ann"), seq: Some(Seq(2)) });
        close(&mut log);
        for _ in 0..again {
            let opened = log.open("chat:a");
            assert_eq!((opened.passed, opened.line.last(), opened.operations.len()), (Seq(1), Seq(2), 2), "{case}");
            close(&mut log);
        }
        if trimmed {
            assert!(log.ledger.open_to_trim("chat:a"));
            let open = Open { channel: Arc::from("chat:a"), fresh: Epoch(5), tail_bytes: 0, tail_count: 0 };
            let found = find_past(&log.disk, "chat:a", (0, 0), log.unix_ms);
            assert_eq!(log.ledger.on_opened(&Opening { asked: None, open }, found), None);
            log.settle();
            assert_eq!(log.ledger.open_channels(), 0, "{case}");
        }
        // Another shard that begins says nothing of it.
        log.ledger.take(ShardId(SHARD.0 + 1), Ticket(1), Request::Passed { begins: true, channels: [].into() }, 0);
        log.disk.commit(log.ledger.seal().unwrap());
        log.ledger.on_committed();
        let portion = |log: &mut Log| {
            let one = log.forget_from("ann", ANN, Spot::BEGIN);
            let other = log.forget_from("ann", ANN, one.next.unwrap());
            (one.events, other.cursors)
        };
        assert_eq!(portion(&mut log), (1, 0), "{case}");
        let opened = log.open("chat:a");
        assert_eq!((opened.passed, opened.operations.len(), opened.cursors.len()), (Seq(1), 1, 1), "{case}");
        close(&mut log);
        // Who was interrupted begins anew, and nothing is known of what came then.
        log.take(Request::Passed { begins: true, channels: [].into() });
        log.commit();
        assert_eq!(portion(&mut log), (1, 1), "{case}");
    }
}

#[test]
fn a_cursor_that_is_written_while_its_portion_is_planned_stays() {
    let mut log = Log::new();
    let past = log.open("chat:a");
    log.append(&past, 1..=2);
    let cursor = |log: &mut Log, user: &str, seq| {
        log.take(Request::Cursor { channel: past.channel, user: Arc::from(user), seq: Some(Seq(seq)) });
    };
    cursor(&mut log, "ann", 1);
    log.pass();
    log.commit();
    for seq in [1, 2] {
        let forget = Forget { user: Arc::from("ann"), author: ANN, from: Spot::Cursor(ChannelNumber(0)) };
        log.take(Request::Forget(Box::new(forget)));
        let job = log.ledger.take_forget_job().unwrap();
        let planned = forget::plan(&log.disk, &job);
        cursor(&mut log, "ann", seq);
        cursor(&mut log, "annabel", seq);
        let told = log.ledger.on_forgetting(planned).map(|(_, notice)| notice);
        assert!(matches!(told, Some(Notice::Forgotten(_, Ok(Forgotten { cursors: 0, next: None, .. })))), "{told:?}");
        log.commit();
    }
    assert_eq!(log.open("chat:a").cursors.len(), 2);
}

#[test]
fn what_is_left_of_a_users_trimmed_events_goes_too() {
    let mut log = Log::new();
    let past = log.try_open("chat:a", Keep { count: 0, ..KEEP }).unwrap();
    for seq in 1..=100 {
        log.store_of(&past, seq, if seq == 7 { ("ann", ANN) } else { ("bob", BOB) }, "{}");
    }
    log.settle();
    assert_eq!((log.seqs(&past).len(), log.open("chat:a").operations.len()), (0, 100));
    let (sum, _) = log.forget("ann", ANN);
    assert_eq!((sum.events, sum.operations), (0, 1));
    assert_eq!(log.open("chat:a").operations.len(), 99);
}

#[test]
fn a_portion_looks_at_so_many_records_of_so_many_bytes_and_changes_so_many() {
    let mut log = Log::new();
    for (events, bytes, mine) in
        [(FORGET_RECORDS_MAX + 1, 2, false), (5, FORGET_BYTES_MAX / 4, false), (TRIM_EVENTS_MAX + 1, 2, true)]
    {
        let past = log.try_open(&format!("chat:{events}"), Keep { count: 1 << 20, bytes: 1 << 30, ..KEEP }).unwrap();
        let payload = format!("\"{}\"", "x".repeat(bytes - 2));
        for seq in 1..=events as u64 {
            log.store_of(&past, seq, if mine { ("ann", ANN) } else { ("bob", BOB) }, &payload);
        }
        log.pass();
        log.commit();
        let first = log.forget_from("ann", ANN, Spot::Event(past.channel, Seq(1)));
        assert_eq!(first.next, Some(Spot::Event(past.channel, Seq(events as u64))), "{events}");
        let last = log.forget_from("ann", ANN, first.next.unwrap());
        assert_eq!(last.next, Some(Spot::Cursor(ChannelNumber(0))), "{events}");
        assert_eq!(first.events + last.events, if mine { events as u64 } else { 0 });
    }
}

#[test]
fn nothing_is_opened_or_trimmed_while_a_portion_is_planned_and_one_is_at_a_time() {
    let mut log = Log::new();
    let past = log.open("chat:a");
    log.append(&past, 1..=3);
    log.pass();
    log.commit();
    let ask = |log: &mut Log| {
        let forget = Forget { user: Arc::from("ann"), author: ANN, from: Spot::BEGIN };
        log.take(Request::Forget(Box::new(forget)))
    };
    let open = Open { channel: Arc::from("chat:b"), fresh: Epoch(5), tail_bytes: 100, tail_count: 1 };
    log.take(Request::Open(open.clone()));
    let opening = log.ledger.take_openings(5).pop().unwrap();
    let (first, second) = (ask(&mut log), ask(&mut log));
    assert_eq!(log.ledger.take_forget_job(), None, "a channel is being read");
    log.take(Request::Open(open));
    let notices = log.commit();
    assert!(matches!(&notices[..], [Notice::Forgotten(ticket, Err(_))] if *ticket == second), "{notices:?}");
    assert_eq!(log.ledger.take_openings(5), [], "the portion has waited");
    let found = find_past(&log.disk, "chat:b", (10, 1000), log.unix_ms);
    assert!(log.ledger.on_opened(&opening, found).is_some());
    let job = log.ledger.take_forget_job().unwrap();
    assert_eq!((log.ledger.take_openings(5), log.ledger.take_forget_job()), (vec![], None));
    let planned = forget::plan(&log.disk, &job);
    log.take(Request::Erase { channel: past.channel, through: Seq(3) });
    assert_eq!(log.ledger.on_forgetting(planned), None);
    let notices = log.commit();
    assert!(matches!(&notices[..], [Notice::Forgotten(ticket, Ok(_))] if *ticket == first), "{notices:?}");
    assert_eq!(log.ledger.take_openings(5).len(), 1);
    assert!(matches!(&log.settle()[..], [Notice::Erased(..)]));
    assert_eq!(log.seqs(&past), [0; 0]);
}

#[test]
fn a_portion_that_cannot_be_written_is_refused_and_holds_nobody() {
    for is_planned in [false, true] {
        let mut log = Log::new();
        let past = log.open("chat:a");
        log.append(&past, 1..=3);
        log.pass();
        log.commit();
        let ticket =
            log.take(Request::Forget(Box::new(Forget { user: Arc::from("ann"), author: ANN, from: Spot::BEGIN })));
        let job = is_planned.then(|| log.ledger.take_forget_job().unwrap());
        log.append(&past, 4..=4);
        assert!(log.ledger.seal().is_some());
        let told = if job.is_some() { log.ledger.refuse_planned() } else { log.ledger.refuse_waiting() };
        assert!(matches!(&told, Some((SHARD, Notice::Forgotten(of, Err(Refusal::Failed(_))))) if *of == ticket));
        assert_eq!((log.ledger.refuse_planned(), log.ledger.refuse_waiting()), (None, None));
        log.commit();
        assert_eq!(log.open("chat:b").start.next, Seq(1));
        assert_eq!(log.forget("ann", ANN).0.events, 4, "asked again");
    }
}

#[test]
fn what_goes_in_the_same_batch_does_not_come_back() {
    let mut log = Log::new();
    let past = log.open("chat:a");
    log.append(&past, 1..=3);
    log.pass();
    log.commit();
    log.take(Request::Erase { channel: past.channel, through: Seq(2) });
    let job = log.ledger.take_trim_jobs(1).pop().unwrap();
    let planned = trim::plan_job(&log.disk, &job, log.unix_ms);
    assert_eq!(log.ledger.on_trimming(&job, planned), None);
    log.take(Request::Forget(Box::new(Forget { user: Arc::from("ann"), author: ANN, from: Spot::BEGIN })));
    let job = log.ledger.take_forget_job().unwrap();
    assert_eq!(log.ledger.on_forgetting(forget::plan(&log.disk, &job)), None);
    log.settle();
    assert_eq!(log.seqs(&past), [3]);
    assert_eq!(log.disk.records().filter(|(space, ..)| *space == Space::Events).count(), 1);
}

#[test]
fn what_cannot_be_read_is_counted_and_what_lies_behind_it_is_erased() {
    let mut log = Log::new();
    let past = log.open("chat:a");
    for seq in 1..=3 {
        log.store_of(&past, seq, ("ann", ANN), "{}");
    }
    log.commit();
    log.disk.damage(Space::Events, &key::event(past.channel, Seq(2)), |value| value[20] ^= 1);
    let (sum, _) = log.forget("ann", ANN);
    assert_eq!((sum.events, sum.unreadable), (2, 1));
}

/// All that one finds of Ann on a disk: the numbers of her events, her cursors' channels, and what cannot be read.
fn found(disk: &impl Disk) -> (Vec<(u64, u64)>, Vec<u64>, u64) {
    let (mut events, mut cursors, mut lost, mut spot) = (Vec::new(), Vec::new(), 0, Some(Spot::BEGIN));
    for _ in 0..20 {
        let Some(from) = spot else { return (events, cursors, lost) };
        let portion = forget::plan(disk, &Forget { user: Arc::from("ann"), author: ANN, from }).unwrap();
        for change in portion.changes {
            let (channel, seq) = change.at;
            if change.place.0 == Space::Events { events.push((channel.0, seq.0)) } else { cursors.push(channel.0) }
        }
        lost += portion.forgotten.unreadable;
        spot = portion.forgotten.next;
    }
    panic!("it comes to no end");
}

#[test]
fn behind_a_block_that_cannot_be_read_everything_is_erased() {
    let mut log = Log::new();
    let channels: Vec<Past> = (0..4).map(|index| log.open(&format!("chat:{index}"))).collect();
    for past in &channels {
        (1..=20).for_each(|seq| log.store_of(past, seq, ("ann", ANN), "{}"));
        log.take(Request::Cursor { channel: past.channel, user: Arc::from("ann"), seq: Some(Seq(1)) });
    }
    log.commit();
    let numbers: Vec<u64> = channels.iter().map(|past| past.channel.0).collect();
    let all: Vec<(u64, u64)> = numbers.iter().flat_map(|channel| (1..=20).map(|seq| (*channel, seq))).collect();
    let second = numbers[1];
    for (from, to) in [(5, 7), (1, 1), (20, 20), (1, 20), (3, 19)] {
        let disk = Holed::of_events(&log.disk, ChannelNumber(second), (from, to));
        let is_hit = |(channel, seq): &(u64, u64)| *channel == second && (from..=to).contains(seq);
        let expected = all.iter().copied().filter(|place| !is_hit(place)).collect();
        assert_eq!(found(&disk), (expected, numbers.clone(), 1), "{from} {to}");
    }
    // A block of lines: the cursors of these channels stand elsewhere.
    for (from, to) in [(1, 2), (0, 0), (0, 3), (3, 3)] {
        let hole = key::line(ChannelNumber(numbers[from])).to_vec()..=key::line(ChannelNumber(numbers[to])).to_vec();
        let disk = Holed { disk: &log.disk, space: Space::Rows, hole, scans: Cell::new(0) };
        assert_eq!(found(&disk), (all.clone(), numbers.clone(), 1), "lines {from} {to}");
    }
    // Where it goes on to the end nothing is left to be found.
    let hole = key::event(ChannelNumber(second), Seq(3)).to_vec()..=vec![0xff; 16];
    let disk = Holed { disk: &log.disk, space: Space::Events, hole, scans: Cell::new(0) };
    assert_eq!(found(&disk).0, all[..22]);
}
