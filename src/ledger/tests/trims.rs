//! What goes, when, and what stays of it.

use super::pages::Holed;
use super::*;
use crate::ledger::trim::{is_due, sweep};
use crate::limits::{
    CURSORS_PER_CHANNEL_MAX, DEDUP_ENTRIES_MAX, DEDUP_WINDOW_MS, PLACES_SLACK, POSITIONS_PER_CHANNEL_MAX,
    STORE_COMMIT_WRITES_MAX, SWEEP_LINES_MAX, TRIM_BYTES_MAX, TRIM_EVENTS_MAX, TRIM_EVENTS_PER_BATCH,
    TRIM_SLACK_EVENTS_MIN,
};

fn log(keep: Keep) -> (Log, Past) {
    let mut log = Log::new();
    let past = log.try_open("chat:a", keep).unwrap();
    (log, past)
}

fn records(log: &Log) -> usize {
    log.disk.records().filter(|(space, ..)| *space == Space::Events).count()
}

#[test]
fn events_go_by_count_once_so_many_are_over() {
    let (mut log, past) = log(Keep { count: 10, ..KEEP });
    let kept = 10 + TRIM_SLACK_EVENTS_MIN;
    log.append(&past, 1..=kept);
    log.settle();
    assert_eq!(log.seqs(&past).len() as u64, kept);
    log.append(&past, kept + 1..=kept + 1);
    log.settle();
    assert_eq!(log.seqs(&past), (kept - 8..=kept + 1).collect::<Vec<_>>());
    assert_eq!(records(&log), 10);
}

#[test]
fn events_go_by_bytes_and_the_sum_is_right() {
    let one = crate::ledger::event::record_bytes(body(1_000_000, 1, None).len());
    let (mut log, past) = log(Keep { bytes: 4 * one, ..KEEP });
    log.append(&past, 1..=5);
    log.settle();
    assert_eq!(log.seqs(&past), [1, 2, 3, 4, 5]);
    log.append(&past, 6..=6);
    log.settle();
    assert_eq!(log.seqs(&past), [3, 4, 5, 6]);
    let line = line_of(&log.disk, past.channel).unwrap();
    assert_eq!((line.retained_bytes(), line.end), (4 * one, 6 * one));
}

#[test]
fn events_go_by_age_whether_the_channel_is_open_or_not() {
    let (mut log, past) = log(Keep { age_ms: 800, ..KEEP });
    log.append(&past, 1..=3);
    log.settle();
    log.unix_ms += 500;
    log.append(&past, 4..=4);
    log.settle();
    log.unix_ms += 401;
    assert_eq!(log.seqs(&past), [1, 2, 3, 4]);
    log.append(&past, 5..=5);
    log.settle();
    assert_eq!(log.seqs(&past), [4, 5]);
    log.take(Request::Close(past.channel));
    assert_eq!(log.ledger.open_channels(), 0);
    log.unix_ms += 901;
    let (due, next) = sweep(&log.disk, ChannelNumber(0), log.ledger.bounds(), log.unix_ms).unwrap();
    assert_eq!((&due[..], next), (&[Box::from("chat:a")][..], None));
    assert!(log.ledger.open_to_trim("chat:a"));
    let open = Open { channel: Arc::from("chat:a"), fresh: Epoch(1), tail_bytes: 0, tail_count: 0 };
    let opening = crate::ledger::Opening { asked: None, open };
    let found = find_past(&log.disk, "chat:a", (0, 0), log.unix_ms);
    assert_eq!(log.ledger.on_opened(&opening, found), None);
    log.settle();
    assert_eq!((log.seqs(&past), log.ledger.open_channels()), (vec![], 0));
    assert_eq!(log.open("chat:a").start.next, Seq(6), "the numbers go on");
}

/// Looks at every channel and opens what is over its bounds. Returns which were.
fn open_due(log: &mut Log) -> Vec<Box<str>> {
    let (due, next) = sweep(&log.disk, ChannelNumber(0), log.ledger.bounds(), log.unix_ms).unwrap();
    assert_eq!(next, None);
    for name in &due {
        if !log.ledger.open_to_trim(name) {
            continue;
        }
        let open = Open { channel: Arc::from(&**name), fresh: Epoch(1), tail_bytes: 0, tail_count: 0 };
        let found = find_past(&log.disk, name, (0, 0), log.unix_ms);
        assert_eq!(log.ledger.on_opened(&crate::ledger::Opening { asked: None, open }, found), None);
    }
    due
}

/// The same, and trims them.
fn sweep_all(log: &mut Log) -> Vec<Box<str>> {
    let due = open_due(log);
    log.settle();
    due
}

#[test]
fn other_bounds_reach_channels_that_nobody_has_open_and_each_once() {
    let one = crate::ledger::event::record_bytes(body(1_000_000, 30, None).len());
    let narrower = [Keep { count: 5, ..KEEP }, Keep { bytes: 5 * one, ..KEEP }, Keep { age_ms: 80, ..KEEP }];
    for (keep, restarts) in narrower.into_iter().flat_map(|keep| [(keep, false), (keep, true)]) {
        let mut log = Log::new();
        let pasts = ["chat:a", "trip:a"].map(|channel| {
            let past = log.open(channel);
            log.append(&past, 1..=25);
            log.settle();
            past
        });
        log.unix_ms += 100;
        for past in &pasts {
            log.append(past, 26..=30);
            log.settle();
            log.take(Request::Close(past.channel));
        }
        assert_eq!((sweep_all(&mut log), log.ledger.open_channels()), (vec![], 0));
        log.keep("chat:a", keep);
        let mut log = if restarts { log.stop() } else { log };
        assert_eq!(sweep_all(&mut log), [Box::from("chat:a")], "{keep:?}");
        assert_eq!(pasts.each_ref().map(|past| log.seqs(past).len()), [5, 30], "{keep:?}");
        assert_eq!(sweep_all(&mut log), [], "{keep:?} is known to its line");
        log.keep("chat:a", KEEP);
        assert_eq!((sweep_all(&mut log), log.seqs(&pasts[0])), (vec![], (26..=30).collect()), "{keep:?}");
        assert_eq!(log.open("chat:a").start.next, Seq(31), "the numbers go on");
    }
}

#[test]
fn an_open_channel_goes_by_other_bounds_at_once_when_it_is_looked_at_and_by_wider_ones_before_anything_goes() {
    let (mut log, past) = log(Keep { count: 10, ..KEEP });
    let most = 10 + TRIM_SLACK_EVENTS_MIN;
    log.append(&past, 1..=most);
    log.settle();
    log.keep("chat:a", Keep { count: 1000, ..KEEP });
    log.append(&past, most + 1..=most + 50);
    log.settle();
    assert_eq!(log.seqs(&past).len() as u64, most + 50, "nothing goes that lies within what is retained now");
    log.keep("chat:a", Keep { count: 20, ..KEEP });
    assert_eq!(sweep_all(&mut log), [Box::from("chat:a")]);
    assert_eq!(log.seqs(&past), (most + 31..=most + 50).collect::<Vec<_>>());
    assert_eq!(sweep_all(&mut log), []);
}

#[test]
fn a_channel_that_grew_by_wider_bounds_and_is_closed_goes_by_narrower_ones() {
    let mut log = Log::new();
    let past = log.try_open("chat:a", Keep { count: 10, ..KEEP }).unwrap();
    log.append(&past, 1..=5);
    log.settle();
    log.take(Request::Close(past.channel));
    let past = log.try_open("chat:a", Keep { count: 1000, ..KEEP }).unwrap();
    log.append(&past, 6..=500);
    log.settle();
    log.take(Request::Close(past.channel));
    log.keep("chat:a", Keep { count: 20, ..KEEP });
    assert_eq!(sweep_all(&mut log), [Box::from("chat:a")], "its line knows what it may have");
    assert_eq!(log.seqs(&past), (481..=500).collect::<Vec<_>>());
}

#[test]
fn a_channel_whose_trimming_was_cut_short_is_trimmed_after_a_restart_though_nobody_opens_it() {
    let mut log = Log::new();
    let past = log.open("chat:a");
    log.append(&past, 1..=100);
    log.settle();
    log.take(Request::Close(past.channel));
    log.keep("chat:a", Keep { count: 10, ..KEEP });
    assert_eq!(open_due(&mut log), [Box::from("chat:a")]);
    let mut jobs = log.ledger.take_trim_jobs(1);
    jobs[0].events_max = 5;
    let planned = trim::plan_job(&log.disk, &jobs[0], log.unix_ms);
    assert_eq!(log.ledger.on_trimming(&jobs[0], planned), None);
    log.commit();
    let mut log = log.crash();
    assert_eq!(log.seqs(&past), (6..=100).collect::<Vec<_>>());
    assert_eq!(sweep_all(&mut log), [Box::from("chat:a")]);
    assert_eq!(log.seqs(&past), (91..=100).collect::<Vec<_>>());
}

#[test]
fn what_comes_while_a_trimming_is_planned_does_not_stay_beyond_the_bounds() {
    let (mut log, past) = log(Keep { count: 10, ..KEEP });
    let most = 10 + TRIM_SLACK_EVENTS_MIN;
    log.append(&past, 1..=most + 1);
    log.commit();
    let [job] = &log.ledger.take_trim_jobs(10)[..] else { panic!("one is due") };
    let planned = trim::plan_job(&log.disk, job, log.unix_ms);
    log.append(&past, most + 2..=3 * most);
    assert_eq!(log.ledger.on_trimming(job, planned), None);
    log.settle();
    assert_eq!(log.seqs(&past), (3 * most - 9..=3 * most).collect::<Vec<_>>());
}

#[test]
fn a_sweep_goes_on_where_the_last_one_ended() {
    let mut log = Log::new();
    for channel in 1..=SWEEP_LINES_MAX as u64 + 1 {
        let past = log.try_open(&format!("chat:{channel}"), Keep { age_ms: 8, ..KEEP }).unwrap();
        log.append(&past, 1..=1);
    }
    log.settle();
    log.unix_ms += 10;
    let (due, next) = sweep(&log.disk, ChannelNumber(0), log.ledger.bounds(), log.unix_ms).unwrap();
    assert_eq!((due.len(), next), (SWEEP_LINES_MAX, Some(ChannelNumber(SWEEP_LINES_MAX as u64))));
    let (due, next) = sweep(&log.disk, next.unwrap(), log.ledger.bounds(), log.unix_ms).unwrap();
    assert_eq!((due.len(), next), (1, None));
}

#[test]
fn so_many_go_in_one_batch_and_the_rest_in_the_next() {
    let (mut log, past) = log(Keep { count: 1, ..KEEP });
    let all = 2 * TRIM_EVENTS_MAX as u64 + 10;
    log.append(&past, 1..=all);
    log.commit();
    let mut left = Vec::new();
    while let Some(job) = log.ledger.take_trim_jobs(10).pop() {
        assert_eq!(job.events_max, TRIM_EVENTS_PER_BATCH, "it is the only one");
        let job = crate::ledger::books::TrimJob { events_max: TRIM_EVENTS_MAX, ..job };
        let planned = trim::plan_job(&log.disk, &job, log.unix_ms);
        assert_eq!(log.ledger.on_trimming(&job, planned), None);
        log.commit();
        left.push(log.seqs(&past).len() as u64);
    }
    assert_eq!(left, [all - TRIM_EVENTS_MAX as u64, 10, 1]);
}

#[test]
fn channels_that_are_trimmed_together_share_what_goes_in_one_batch() {
    let mut log = Log::new();
    let pasts: Vec<Past> =
        (0..4).map(|n| log.try_open(&format!("chat:{n}"), Keep { count: 1, ..KEEP }).unwrap()).collect();
    pasts.iter().for_each(|past| log.append(past, 1..=100));
    log.commit();
    let jobs = log.ledger.take_trim_jobs(10);
    assert!(jobs.len() == 4 && jobs.iter().all(|job| job.events_max == TRIM_EVENTS_PER_BATCH / 4));
}

#[test]
fn events_of_many_bytes_are_not_all_looked_at_for_one_batch() {
    let (mut log, past) = log(Keep { count: 1, ..KEEP });
    let (epoch, body) =
        (past.start.epoch, crate::payload::Payload::copy_of(&vec![b'x'; TRIM_BYTES_MAX / TRIM_EVENTS_MAX]));
    let all = TRIM_EVENTS_MAX as u64 + 50;
    for seq in 1..=all {
        let body = body.clone();
        log.take(Request::Append(Append { channel: past.channel, epoch, seq: Seq(seq), unix_ms: 1_000_000, body }));
    }
    log.commit();
    let job = log.ledger.take_trim_jobs(10).pop().unwrap();
    let planned = trim::plan_job(&log.disk, &job, log.unix_ms).unwrap();
    assert!(planned.more && planned.events.len() == TRIM_EVENTS_MAX, "{}", planned.events.len());
}

#[test]
fn a_channel_is_trimmed_as_fast_as_the_largest_batches_fill_it() {
    let (mut log, past) = log(Keep { count: 100, ..KEEP });
    let mut planned = std::collections::VecDeque::new();
    let batch = STORE_COMMIT_WRITES_MAX as u64;
    for round in 0..12 {
        // What was planned behind a commit joins only the second batch after it, and it is planned again behind the third.
        if planned.len() > 1
            && let Some(Some((job, trimming))) = planned.pop_front()
        {
            assert_eq!(log.ledger.on_trimming(&job, Ok(trimming)), None);
        }
        log.append(&past, round * batch + 1..=(round + 1) * batch);
        log.commit();
        let job = log.ledger.take_trim_jobs(10).pop();
        planned.push_back(job.map(|job| {
            let trimming = trim::plan_job(&log.disk, &job, log.unix_ms).unwrap();
            (job, trimming)
        }));
        assert!(records(&log) as u64 <= 5 * batch, "{round}: {}", records(&log));
    }
}

#[test]
fn what_is_appended_while_a_trimming_is_planned_stays() {
    let (mut log, past) = log(Keep { age_ms: 8, ..KEEP });
    log.append(&past, 1..=3);
    log.settle();
    log.unix_ms += 10;
    log.append(&past, 4..=4);
    log.commit();
    let job = log.ledger.take_trim_jobs(10).pop().unwrap();
    log.unix_ms += 10;
    let planned = trim::plan_job(&log.disk, &job, log.unix_ms);
    log.append(&past, 5..=6);
    assert_eq!(log.ledger.on_trimming(&job, planned), None);
    log.commit();
    assert_eq!(log.seqs(&past), [5, 6]);
    log.append(&past, 7..=7);
    log.settle();
    assert_eq!(log.seqs(&past), [5, 6, 7]);
}

#[test]
fn an_operation_outlives_its_event_within_the_window_and_no_longer() {
    let (mut log, past) = log(Keep { count: 1, ..KEEP });
    for seq in 1..=100 {
        log.append_one(&past, seq, (seq % 2 == 0).then_some(u128::from(seq)));
    }
    log.settle();
    assert_eq!((log.seqs(&past).len(), records(&log)), (1, 1 + 49));
    let operations = |log: &mut Log| -> Vec<u64> {
        let past = log.try_open("chat:a", Keep { count: 1, ..KEEP }).unwrap();
        past.operations
            .iter()
            .map(|(seq, _, of, _)| (of.identity == u128::from(seq.0)).then_some(seq.0).unwrap())
            .collect()
    };
    assert_eq!(operations(&mut log), (1..=50).map(|half| half * 2).collect::<Vec<_>>());
    log.unix_ms += DEDUP_WINDOW_MS;
    assert_eq!(operations(&mut log).len(), 50);
    log.unix_ms += 1;
    assert_eq!(operations(&mut log).len(), 0);
    log.append(&past, 101..=200);
    log.settle();
    assert_eq!(records(&log), 1, "stubs go with the next events");
}

#[test]
fn so_many_stubs_stay() {
    let (mut log, past) = log(Keep { count: 1, ..KEEP });
    for seq in 1..=2 * DEDUP_ENTRIES_MAX as u64 {
        log.append_one(&past, seq, Some(u128::from(seq)));
        if seq % 100 == 0 {
            log.settle();
        }
    }
    log.settle();
    assert!(records(&log) <= DEDUP_ENTRIES_MAX + 1 + usize::try_from(TRIM_SLACK_EVENTS_MIN).unwrap());
    let past = log.open("chat:a");
    assert_eq!(past.operations.len(), DEDUP_ENTRIES_MAX);
    assert_eq!(past.operations.last().unwrap().0, Seq(2 * DEDUP_ENTRIES_MAX as u64));
}

#[test]
fn a_channel_is_erased_and_its_numbers_stay_used() {
    let (mut log, past) = log(KEEP);
    for seq in 1..=300 {
        log.append_one(&past, seq, Some(u128::from(seq)));
    }
    let (user, group) = (Arc::from("ann"), Arc::from("chat:*\0workers"));
    log.take(Request::Cursor { channel: past.channel, user, seq: Some(Seq(5)) });
    log.take(Request::Position { channel: past.channel, group: Arc::clone(&group), seq: Some(Seq(5)) });
    log.settle();
    let ticket = log.take(Request::Erase { channel: past.channel, through: Seq(300) });
    log.append(&past, 301..=301);
    let notices = log.settle();
    assert!(notices.contains(&Notice::Erased(ticket, Ok(()))), "{notices:?}");
    assert_eq!((log.seqs(&past), records(&log)), (vec![301], 1 + 300));
    let mut log = log.crash();
    let past = log.open("chat:a");
    let known: Vec<u64> = past.operations.iter().map(|(seq, ..)| seq.0).collect();
    assert_eq!(known, (1..=300).collect::<Vec<_>>(), "a retry brings nothing back");
    // Nobody is owed what has gone.
    let nobody = (Box::from(""), Seq(300), log.unix_ms);
    assert_eq!((&past.cursors[..], &past.positions[..]), (&[nobody][..], &[(Box::from(&*group), Seq(300))][..]));
    assert!(past.start.next > Seq(301));
    // They go when their window is over.
    log.unix_ms += DEDUP_WINDOW_MS + 1;
    log.take(Request::Erase { channel: past.channel, through: Seq(301) });
    log.settle();
    assert_eq!((log.seqs(&past), records(&log)), (vec![], 0));
    let ticket = log.take(Request::Erase { channel: ChannelNumber(99), through: Seq(1) });
    assert_eq!(log.settle(), [Notice::Erased(ticket, Ok(()))], "nothing is there");
}

#[test]
fn who_is_farther_than_what_is_erased_stays_there() {
    let (mut log, past) = log(KEEP);
    let channel = past.channel;
    let tell = |log: &mut Log, who: &str, seq| {
        log.take(Request::Cursor { channel, user: Arc::from(who), seq: Some(Seq(seq)) });
        log.take(Request::Position { channel, group: Arc::from(who), seq: Some(Seq(seq)) });
    };
    log.append(&past, 1..=15);
    tell(&mut log, "ann", 9);
    tell(&mut log, "bob", 11);
    log.commit();
    log.take(Request::Erase { channel, through: Seq(10) });
    tell(&mut log, "cid", 12);
    log.commit();
    let job = log.ledger.take_trim_jobs(1).pop().unwrap();
    let planned = trim::plan_job(&log.disk, &job, log.unix_ms);
    tell(&mut log, "dan", 8);
    tell(&mut log, "eve", 13);
    assert_eq!(log.ledger.on_trimming(&job, planned), None);
    assert!(matches!(&log.commit()[..], [Notice::Committed(_), Notice::Erased(_, Ok(()))]));
    // In the very batch with which the events went.
    let mut log = log.crash();
    let past = log.open("chat:a");
    let mut cursors: Vec<(&str, u64)> = past.cursors.iter().map(|(user, seq, _)| (&**user, seq.0)).collect();
    cursors.sort_unstable();
    assert_eq!(cursors, [("", 10), ("bob", 11), ("cid", 12), ("dan", 8), ("eve", 13)]);
    let positions: Vec<(&str, u64)> = past.positions.iter().map(|(group, seq)| (&**group, seq.0)).collect();
    assert_eq!(positions, [("ann", 10), ("bob", 11), ("cid", 12), ("dan", 10), ("eve", 13)]);
}

#[test]
fn damage_where_the_oldest_stand_stops_no_trimming() {
    let (mut log, past) = log(Keep { count: 10, ..KEEP });
    log.append(&past, 1..=50);
    log.settle();
    log.disk.damage(Space::Events, &key::event(past.channel, Seq(2)), |value| value[20] ^= 1);
    log.append(&past, 51..=100);
    log.settle();
    assert_eq!(log.seqs(&past), (91..=100).collect::<Vec<_>>());
    let line = line_of(&log.disk, past.channel).unwrap();
    assert!(!is_due(&line, log.unix_ms));
}

#[test]
fn a_channel_is_erased_around_a_block_that_cannot_be_read() {
    for (from, to) in [(5, 7), (1, 1), (1, 20), (20, 20), (12, 20), (17, 18), (18, 20), (19, 20)] {
        for through in [18, 20] {
            let (mut log, past) = log(KEEP);
            log.append(&past, 1..=20);
            log.take(Request::Cursor { channel: past.channel, user: Arc::from("ann"), seq: Some(Seq(5)) });
            log.settle();
            let ticket = log.take(Request::Erase { channel: past.channel, through: Seq(through) });
            log.commit();
            let mut told = Vec::new();
            // Few at a time, so that a batch ends within the block, too.
            while let Some(job) = log.ledger.take_trim_jobs(1).pop() {
                let job = crate::ledger::books::TrimJob { events_max: 6, ..job };
                let holed = Holed::of_events(&log.disk, past.channel, (from, to));
                let planned = trim::plan_job(&holed, &job, log.unix_ms);
                assert_eq!(log.ledger.on_trimming(&job, planned), None);
                told.extend(log.commit());
            }
            assert_eq!(told, [Notice::Erased(ticket, Ok(()))], "{from} {to} {through}");
            let left: Vec<u64> = (through + 1..=20).collect();
            assert_eq!((log.seqs(&past), records(&log)), (left.clone(), left.len()), "{from} {to} {through}");
            assert_eq!(log.open("chat:a").cursors.len(), 1);
        }
    }
    // What only is over the bounds stays where it cannot be read.
    let (mut log, past) = log(Keep { count: 1, ..KEEP });
    log.append(&past, 1..=100);
    log.commit();
    let job = log.ledger.take_trim_jobs(1).pop().unwrap();
    let holed = Holed::of_events(&log.disk, past.channel, (5, 7));
    assert!(matches!(trim::plan_job(&holed, &job, log.unix_ms), Err(DiskFault::Damaged(_))));
}

#[test]
fn an_erasure_that_cannot_be_is_told_and_one_at_a_time_is_done() {
    let (mut log, past) = log(KEEP);
    log.append(&past, 1..=3);
    log.settle();
    let first = log.take(Request::Erase { channel: past.channel, through: Seq(3) });
    let second = log.take(Request::Erase { channel: past.channel, through: Seq(3) });
    let busy = log.commit();
    assert!(matches!(&busy[..], [Notice::Erased(ticket, Err(Refusal::Failed(_)))] if *ticket == second), "{busy:?}");
    let job = log.ledger.take_trim_jobs(1).pop().unwrap();
    let told = log.ledger.on_trimming(&job, Err(DiskFault::Damaged("a block".to_owned())));
    let expected = Notice::Erased(first, Err(Refusal::Damaged("a block".to_owned())));
    assert_eq!(told, Some((SHARD, expected)));
    assert_eq!(log.seqs(&past), [1, 2, 3]);
    let again = log.take(Request::Erase { channel: past.channel, through: Seq(3) });
    assert_eq!(log.settle(), [Notice::Erased(again, Ok(()))]);
    assert_eq!(log.seqs(&past), Vec::<u64>::new());
}

/// Users and groups of which there are rows, without the one for nobody.
fn places(log: &Log) -> (usize, usize) {
    let count = |tag: u8| log.disk.records().filter(|(_, key, _)| key.len() > 9 && key[0] == tag).count();
    (count(b'u'), count(b'g'))
}

fn told(log: &mut Log, past: &Past, who: usize) {
    log.unix_ms += 1;
    let (channel, seq) = (past.channel, Some(Seq(1)));
    log.take(Request::Cursor { channel, user: Arc::from(format!("user {who:04}")), seq });
    log.take(Request::Position { channel, group: Arc::from(format!("group {who:04}")), seq });
}

#[test]
fn cursors_and_positions_over_their_bounds_go_and_those_told_of_last_stay() {
    let (mut log, past) = log(KEEP);
    log.take(Request::Cursor { channel: past.channel, user: Arc::from(""), seq: Some(Seq(0)) });
    let most = CURSORS_PER_CHANNEL_MAX.max(POSITIONS_PER_CHANNEL_MAX);
    let all = 3 * most;
    for who in 0..all {
        told(&mut log, &past, who);
        // The first one is told of again and again.
        told(&mut log, &past, 0);
        log.settle();
        let (users, groups) = places(&log);
        assert!(users <= CURSORS_PER_CHANNEL_MAX + PLACES_SLACK && groups <= POSITIONS_PER_CHANNEL_MAX + PLACES_SLACK);
    }
    let found = log.open("chat:a");
    let (users, groups) = (found.cursors.len() - 1, found.positions.len());
    assert_eq!((users, groups), (CURSORS_PER_CHANNEL_MAX, POSITIONS_PER_CHANNEL_MAX));
    assert!(found.cursors.iter().any(|(user, ..)| user.is_empty()));
    let names = |who: usize| (format!("user {who:04}"), format!("group {who:04}"));
    for who in [0, all - 1, all - POSITIONS_PER_CHANNEL_MAX.min(CURSORS_PER_CHANNEL_MAX) + 1] {
        let (user, group) = names(who);
        assert!(found.cursors.iter().any(|(name, ..)| **name == *user), "{user}");
        assert!(found.positions.iter().any(|(name, _)| **name == *group), "{group}");
    }
    assert!(!found.positions.iter().any(|(name, _)| **name == *names(1).1));
}

#[test]
fn what_is_told_while_a_trimming_is_planned_stays() {
    let (mut log, past) = log(KEEP);
    for who in 0..2 * POSITIONS_PER_CHANNEL_MAX {
        told(&mut log, &past, who);
    }
    log.commit();
    let job = log.ledger.take_trim_jobs(1).pop().unwrap();
    let planned = trim::plan_job(&log.disk, &job, log.unix_ms);
    told(&mut log, &past, 0);
    log.commit();
    told(&mut log, &past, 1);
    assert_eq!(log.ledger.on_trimming(&job, planned), None);
    log.commit();
    let found = log.open("chat:a");
    for group in ["group 0000", "group 0001"] {
        assert!(found.positions.iter().any(|(name, _)| **name == *group), "{group}");
    }
    assert_eq!(places(&log), (CURSORS_PER_CHANNEL_MAX + 2, POSITIONS_PER_CHANNEL_MAX + 2));
    // Too many to remember: nothing goes this time, and the next time it does.
    for who in 0..=PLACES_SLACK {
        told(&mut log, &past, who);
    }
    log.commit();
    let job = log.ledger.take_trim_jobs(1).pop().unwrap();
    let planned = trim::plan_job(&log.disk, &job, log.unix_ms);
    for who in 0..=PLACES_SLACK {
        told(&mut log, &past, 5000 + who);
    }
    assert_eq!(log.ledger.on_trimming(&job, planned), None);
    log.commit();
    assert!(places(&log).0 > 2 * CURSORS_PER_CHANNEL_MAX);
    log.settle();
    assert_eq!(places(&log), (CURSORS_PER_CHANNEL_MAX, POSITIONS_PER_CHANNEL_MAX));
}
