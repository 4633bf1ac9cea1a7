//! What is acknowledged, and what is there after any stop.

use super::*;
use crate::ledger::past::find_line;
use crate::limits::{CURSORS_PER_CHANNEL_MAX, LINES_OPEN_MAX, OPERATIONS_LOOKED_AT_MAX, UNCOMMITTED_EVENTS_MAX};

#[test]
fn nothing_is_acknowledged_before_its_commit_and_everything_after() {
    let mut log = Log::new();
    let past = log.open("chat:a");
    assert_eq!(past.start.next, Seq(1));
    log.append(&past, 1..=3);
    let last = log.take(Request::Cursor { channel: past.channel, user: Arc::from("ann"), seq: Some(Seq(2)) });
    let batch = log.ledger.seal().unwrap().clone();
    assert_eq!(log.ledger.seal(), Some(&batch), "a batch that failed is tried again as it is");
    log.disk.commit(&batch);
    assert_eq!(log.ledger.on_committed(), [(SHARD, Notice::Committed(last))]);
    assert_eq!(log.ledger.seal(), None);
    assert_eq!(log.seqs(&past), [1, 2, 3]);
}

#[test]
fn a_channel_is_read_only_behind_what_was_written_to_it() {
    let mut log = Log::new();
    let past = log.open("chat:a");
    log.append(&past, 1..=3);
    log.take(Request::Close(past.channel));
    let open = Open { channel: Arc::from("chat:a"), fresh: Epoch(5), tail_bytes: 100, tail_count: 1 };
    log.take(Request::Open(open));
    assert_eq!(log.ledger.take_openings(5), [], "its events are not on the disk");
    log.commit();
    assert_eq!(log.ledger.take_openings(5).len(), 1);
}

#[test]
fn while_a_batch_is_not_committed_channels_are_read_that_have_nothing_in_it() {
    let mut log = Log::new();
    let (open, closed, idle) = (log.open("chat:open"), log.open("chat:closed"), log.open("chat:idle"));
    log.append(&open, 1..=1);
    log.take(Request::Cursor { channel: closed.channel, user: Arc::from("ann"), seq: Some(Seq(0)) });
    log.take(Request::Close(closed.channel));
    let batch = log.ledger.seal().unwrap().clone();
    assert_eq!(log.ledger.take_sealed(), batch);
    for channel in ["chat:open", "chat:closed", "chat:other"] {
        let open = Open { channel: Arc::from(channel), fresh: Epoch(5), tail_bytes: 0, tail_count: 0 };
        log.take(Request::Open(open));
    }
    let names = |openings: Vec<crate::ledger::Opening>| -> Vec<Arc<str>> {
        openings.into_iter().map(|opening| opening.open.channel).collect()
    };
    assert_eq!(log.ledger.take_openings(5), []);
    assert_eq!(log.ledger.take_openings_apart(0), []);
    assert_eq!(names(log.ledger.take_openings_apart(5)), [Arc::from("chat:other")]);
    assert!(log.ledger.is_known("chat:closed") && !log.ledger.is_known("chat:other"));
    // One of which nothing is in it may be closed and opened meanwhile, one of which something is may be closed.
    log.take(Request::Close(idle.channel));
    log.take(Request::Close(open.channel));
    assert!(!log.ledger.is_known("chat:idle") && log.ledger.is_known("chat:open"));
    log.disk.commit(&batch);
    log.ledger.on_committed();
    assert!(!log.ledger.is_known("chat:closed"));
    assert_eq!(names(log.ledger.take_openings(5)), [Arc::from("chat:open"), Arc::from("chat:closed")]);
}

#[test]
fn a_clean_stop_goes_on_in_the_same_epoch_and_an_unclean_one_does_not() {
    let mut log = Log::new();
    let first = log.open("chat:a");
    log.append(&first, 1..=3);
    log.commit();
    let mut log = log.stop();
    let second = log.open("chat:a");
    assert_eq!((second.start.epoch, second.start.next), (first.start.epoch, Seq(4)));
    assert_eq!(second.channel, first.channel);
    log.append(&second, 4..=4);
    log.commit();
    log.append(&second, 5..=9);
    let mut log = log.crash();
    let third = log.open("chat:a");
    assert_ne!(third.start.epoch, first.start.epoch);
    assert_eq!(third.start.next, Seq(4 + UNCOMMITTED_EVENTS_MAX + 1));
    assert_eq!(log.seqs(&third), [1, 2, 3, 4]);
    assert_eq!(third.tail.records.len(), 4);
}

#[test]
fn no_number_is_used_twice_however_often_the_store_stops() {
    // Each round: some events are committed, some are only given out, then the store stops one way or the other.
    let mut log = Log::new();
    let mut given = std::collections::BTreeMap::new();
    let mut rng = 12_345_u64;
    let mut random = |below: u64| {
        rng = rng.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (rng >> 33) % below
    };
    for round in 0..200 {
        let (channel, trimmed) = (["chat:a", "chat:b", "trip:c"][usize::try_from(random(3)).unwrap()], random(4) == 0);
        let keep = Keep { count: if trimmed { 0 } else { 50 }, ..KEEP };
        let past = log.try_open(channel, keep).unwrap();
        let (stored, lost) = (random(70), if random(3) == 0 { UNCOMMITTED_EVENTS_MAX - 70 } else { random(5) });
        let next = past.start.next.0;
        let before = given.insert(channel, next + stored + lost);
        assert!(before.is_none_or(|end| next >= end), "round {round}: {channel} {next} stood for something else");
        if stored > 0 {
            log.append(&past, next..=next + stored - 1);
        }
        log.settle();
        if lost == 0 && random(2) == 0 {
            log = log.stop();
        } else {
            log = log.crash();
        }
        let last = find_line(&log.disk, channel).unwrap().map_or(Seq(0), |(_, line)| line.last());
        assert!(stored == 0 || last == Seq(next + stored - 1));
    }
}

#[test]
fn numbers_of_channels_stay_and_are_never_given_twice() {
    let mut log = Log::new();
    let numbers: Vec<ChannelNumber> = (0..50)
        .map(|index| {
            let past = log.open(&format!("chat:{index}"));
            // Every other one is never stored, and does not use its number up.
            if index % 2 == 0 {
                log.append(&past, 1..=1);
            }
            past.channel
        })
        .collect();
    let mut log = log.stop();
    for index in (0..50).step_by(2) {
        assert_eq!(log.open(&format!("chat:{index}")).channel, numbers[index]);
    }
    let new = log.open("chat:new").channel;
    assert!(!numbers.iter().step_by(2).any(|number| *number == new));
    assert_eq!(log.open("chat:1").start.next, Seq(1));
}

#[test]
fn cursors_and_positions_survive_and_go_when_they_are_forgotten() {
    let mut log = Log::new();
    let past = log.open("notifications:ann");
    log.append(&past, 1..=3);
    let mut cursor = |user: &str, seq: Option<u64>| {
        log.unix_ms += 1;
        log.take(Request::Cursor { channel: past.channel, user: Arc::from(user), seq: seq.map(Seq) });
    };
    cursor("", Some(1));
    for user in 0..CURSORS_PER_CHANNEL_MAX + 2 {
        cursor(&user.to_string(), Some(2));
    }
    cursor("1", Some(3));
    cursor("5", None);
    for (group, seq) in [("a", Some(1)), ("b", Some(2)), ("a", Some(3)), ("b", None)] {
        let (group, seq) = (Arc::from(group), seq.map(Seq));
        log.take(Request::Position { channel: past.channel, group, seq });
    }
    log.commit();
    let mut log = log.crash();
    let past = log.open("notifications:ann");
    assert_eq!(past.positions, [("a".into(), Seq(3))]);
    assert_eq!(past.cursors.len(), CURSORS_PER_CHANNEL_MAX + 1, "as many as a channel remembers, and the floor");
    let of = |user: &str| past.cursors.iter().find(|(name, ..)| &**name == user).map(|(_, seq, _)| seq.0);
    assert_eq!((of(""), of("0"), of("1"), of("2"), of("5")), (Some(1), None, Some(3), Some(2), None));
    assert!(past.cursors.is_sorted_by_key(|(user, _, unix_ms)| (user.is_empty(), *unix_ms)), "the latest is the last");
}

#[test]
fn who_acknowledges_in_a_channel_without_events_is_not_taken_for_somebody_in_another() {
    let mut log = Log::new();
    let past = log.open("notifications:ann");
    log.take(Request::Cursor { channel: past.channel, user: Arc::from(""), seq: Some(Seq(0)) });
    log.take(Request::Position { channel: past.channel, group: Arc::from("g"), seq: Some(Seq(0)) });
    log.commit();
    let mut log = log.crash();
    let other = log.open("notifications:bob");
    assert_ne!(other.channel, past.channel);
    assert_eq!((&other.cursors[..], &other.positions[..]), (&[][..], &[][..]));
    let again = log.open("notifications:ann");
    assert_eq!((again.channel, again.cursors.len(), again.positions.len()), (past.channel, 1, 1));
    assert_eq!(again.start.next, Seq(UNCOMMITTED_EVENTS_MAX + 1), "numbers that can have been given out are not used");
    log.append(&again, again.start.next.0..=again.start.next.0);
    log.commit();
    assert_eq!(log.stop().open("notifications:ann").start.next, again.start.next.next());
}

#[test]
fn as_many_records_are_looked_through_for_operations_as_the_bound_says() {
    let mut log = Log::new();
    let past = log.try_open("chat:a", Keep { count: 1 << 20, ..KEEP }).unwrap();
    log.append_one(&past, 1, Some(1));
    log.append_one(&past, 2, Some(2));
    log.append(&past, 3..=OPERATIONS_LOOKED_AT_MAX as u64 + 1);
    log.commit();
    let operations = log.open("chat:a").operations;
    assert_eq!(operations.iter().map(|(seq, ..)| seq.0).collect::<Vec<_>>(), [2]);
}

#[test]
fn a_store_without_its_own_state_or_without_its_last_commit_does_not_start() {
    let mut log = Log::new();
    let past = log.open("chat:a");
    log.append(&past, 1..=1);
    log.commit();
    let mut stateless = log.disk.clone();
    stateless.commit(&Batch::from([((Space::Rows, key::STATE.into()), None)]));
    assert!(matches!(Ledger::start(&stateless, fresh(), KEEP.into()), Err(DiskFault::Damaged(_))));
    let before = log.disk.clone();
    let log = log.stop();
    assert!(Ledger::start(&before, fresh(), KEEP.into()).is_ok(), "it looks like an unclean stop");
    let mut cut = log.disk.clone();
    // The state says that more was committed than is there.
    let mut batch = Batch::new();
    let state = State { stopped: Some(log.ledger.commit() + 5), ..*log.ledger.state() };
    crate::ledger::rows::put_state(&mut batch, &state);
    cut.commit(&batch);
    assert!(matches!(Ledger::start(&cut, fresh(), KEEP.into()), Err(DiskFault::Damaged(_))));
}

#[test]
fn a_channel_whose_line_is_broken_is_refused_and_the_others_are_not() {
    let mut log = Log::new();
    let (one, other) = (log.open("chat:a"), log.open("chat:b"));
    log.append(&one, 1..=1);
    log.append(&other, 1..=1);
    log.commit();
    let mut log = log.stop();
    log.disk.damage(Space::Rows, &key::line(one.channel), |value| value[12] ^= 4);
    assert!(matches!(log.try_open("chat:a", KEEP), Err(Refusal::Damaged(_))));
    assert_eq!(log.open("chat:b").start.next, Seq(2));
    log.disk.damage(Space::Rows, &key::number("chat:b"), |value| value[3] ^= 4);
    let mut log = log.stop();
    assert!(matches!(log.try_open("chat:b", KEEP), Err(Refusal::Damaged(_))));
}

#[test]
fn a_broken_last_event_still_counts_as_given_out() {
    let mut log = Log::new();
    let past = log.open("chat:a");
    log.append(&past, 1..=5);
    log.commit();
    let mut log = log.stop();
    log.disk.damage(Space::Events, &key::event(past.channel, Seq(5)), |value| value[40] ^= 1);
    let past = log.open("chat:a");
    assert_eq!(past.start.next, Seq(6));
    assert_eq!((past.tail.records.len(), &past.tail.damaged[..]), (4, &[(Seq(5), Seq(5))][..]));
}

#[test]
#[should_panic(expected = "does not follow")]
fn an_event_that_does_not_follow_is_never_acknowledged() {
    let mut log = Log::new();
    let past = log.open("chat:a");
    log.append(&past, 1..=1);
    log.append(&past, 3..=3);
}

#[test]
fn more_channels_than_the_store_keeps_open_are_refused() {
    let mut log = Log::new();
    let kept = log.open("chat:kept");
    let open = |name: String| crate::ledger::Opening {
        asked: Some((SHARD, Ticket(1))),
        open: Open { channel: name.into(), fresh: Epoch(1), tail_bytes: 0, tail_count: 0 },
    };
    for index in 1..LINES_OPEN_MAX {
        let answer = log.ledger.on_opened(&open(index.to_string()), Ok(None));
        assert!(matches!(answer, Some((SHARD, Notice::Opened(_, Ok(_))))), "{index}");
    }
    let answer = log.ledger.on_opened(&open("more".to_owned()), Ok(None));
    assert_eq!(answer, Some((SHARD, Notice::Opened(Ticket(1), Err(Refusal::Full)))));
    log.take(Request::Close(kept.channel));
    let answer = log.ledger.on_opened(&open("more".to_owned()), Ok(None));
    assert!(matches!(answer, Some((SHARD, Notice::Opened(_, Ok(_))))));
}
