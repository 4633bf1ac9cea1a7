//! Everything that lies on a disk is seen, and what was changed there is told.

use super::*;
use crate::ledger::survey::{Survey, channels, survey};
use crate::limits::{SURVEY_PAGE_BYTES, SURVEY_PAGE_EVENTS, SURVEY_PAGE_LINES};

fn told(log: &Log) -> (Survey, Vec<String>) {
    let mut texts = Vec::new();
    let found = survey(&log.disk, &mut |text| texts.push(text.to_owned())).unwrap();
    assert_eq!(usize::try_from(found.faults).unwrap(), texts.len());
    (found, texts)
}

fn filled() -> (Log, Past, Past) {
    let mut log = Log::new();
    let one = log.try_open("chat:a", Keep { count: 1, ..KEEP }).unwrap();
    for seq in 1..=100 {
        log.append_one(&one, seq, (seq % 2 == 0).then_some(u128::from(seq)));
    }
    let other = log.open("trip:b");
    // Several pages.
    log.append(&other, 1..=2 * SURVEY_PAGE_EVENTS as u64 + 88);
    const { assert!(SURVEY_PAGE_BYTES > 100 * SURVEY_PAGE_EVENTS) };
    log.take(Request::Cursor { channel: other.channel, user: Arc::from("ann"), seq: Some(Seq(5)) });
    log.take(Request::Position { channel: other.channel, group: Arc::from("g"), seq: Some(Seq(5)) });
    log.settle();
    (log, one, other)
}

#[test]
fn everything_is_counted_and_nothing_is_wrong_with_what_was_written() {
    let (log, one, other) = filled();
    let (found, texts) = told(&log);
    assert_eq!(texts, Vec::<String>::new());
    let retained = log.seqs(&one).len() as u64 + log.seqs(&other).len() as u64;
    assert_eq!((found.channels, found.events, found.stubs), (2, retained, 49));
    assert_eq!((found.cursors, found.positions), (1, 1));
    assert!(found.bytes > 0);
    assert_eq!(listed(&log), [Ok("chat:a".into()), Ok("trip:b".into())]);
}

/// The channels that there are, and those that cannot be read.
fn listed(log: &Log) -> Vec<Result<Box<str>, String>> {
    let mut names = Vec::new();
    let seen = channels(&log.disk, &mut |found| {
        names.push(found.map(|(_, line)| line.name));
        Ok::<(), DiskFault>(())
    });
    assert_eq!(seen, Ok(()));
    names
}

#[test]
fn however_many_channels_there_are_each_is_seen_once() {
    let mut log = Log::new();
    let mut expected: Vec<Result<Box<str>, String>> = Vec::new();
    for number in 1..=SURVEY_PAGE_LINES + 1 {
        let name = format!("chat:{number}");
        let past = log.open(&name);
        log.append(&past, 1..=1);
        expected.push(Ok(name.into()));
        if number + 1 >= SURVEY_PAGE_LINES {
            log.settle();
            assert_eq!(listed(&log), expected, "{number}");
        }
    }
}

#[test]
fn a_channel_whose_line_is_broken_is_told_and_not_left_out() {
    let (mut log, one, _) = filled();
    log.disk.damage(Space::Rows, &key::line(one.channel), |value| value[12] ^= 1);
    let [Err(why), Ok(name)] = &listed(&log)[..] else { panic!("{:?}", listed(&log)) };
    assert!(why.contains("channel number 1") && &**name == "trip:b", "{why} {name}");
    assert!(told(&log).1.iter().any(|text| text == why));
}

#[test]
fn what_was_changed_is_told_with_its_place() {
    let check = |change: &dyn Fn(&mut Log, &Past), expected: &str| {
        let (mut log, _, other) = filled();
        change(&mut log, &other);
        let (_, texts) = told(&log);
        assert!(texts.iter().any(|text| text.contains(expected)), "{expected}: {texts:?}");
    };
    check(
        &|log, past| log.disk.damage(Space::Events, &key::event(past.channel, Seq(590)), |value| value[30] ^= 1),
        "\"trip:b\": events 590 to 590",
    );
    check(
        &|log, past| {
            let place = (Space::Events, key::event(past.channel, Seq(595)).into());
            log.disk.commit(&Batch::from([(place, None)]));
        },
        "events 595 to 595",
    );
    check(
        &|log, past| log.disk.damage(Space::Rows, &key::cursor(past.channel, "ann"), |value| value[12] ^= 1),
        "ann: wrong checksum",
    );
    check(&|log, _| log.disk.damage(Space::Rows, &key::number("trip:b"), |value| value[12] ^= 1), "row ctrip:b");
    check(
        &|log, past| log.disk.commit(&Batch::from([((Space::Rows, key::line(past.channel).into()), None)])),
        "events without a line",
    );
    check(
        &|log, _| log.disk.commit(&Batch::from([((Space::Rows, Box::from(&b"x"[..])), Some(Box::from(&b"y"[..])))])),
        "row x: none of ours",
    );
}
