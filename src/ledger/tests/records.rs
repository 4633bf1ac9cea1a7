//! Records as bytes: there and back, and everything that may have happened to them meanwhile.

use super::*;
use crate::ledger::event::{Place, Stored, read, read_event, seal_event, seal_stub};
use crate::ledger::line::{Line, Oldest, Span};
use crate::ledger::record::{Broken, ENVELOPE_BYTES, Kind, VERSION, seal, unseal_as};
use crate::ledger::rewritten::rewritten;
use crate::ledger::rows;
use crate::limits::STORED_NUMBER_MAX;

const CHANNEL: ChannelNumber = ChannelNumber(0x0102_0304);

fn record(event: &Event<'_>) -> ([u8; 16], Vec<u8>) {
    let key = key::event(CHANNEL, Seq(9));
    let (mut body, mut out) = (Vec::new(), Vec::new());
    write_body(event, &mut body);
    seal_event(&key, Place { epoch: Epoch(11), offset: 1234 }, &body, &mut out);
    (key, out)
}

fn plain() -> Event<'static> {
    Event { unix_ms: 5, id: 6, operation: None, user: "ann", op_id: "", kind: "note", payload: b"{}" }
}

#[test]
fn an_event_is_read_as_it_was_written() {
    let long = vec![b'x'; 65_536];
    for event in [
        plain(),
        Event { operation: Some(operation(u128::MAX)), op_id: "a-1", ..plain() },
        Event { unix_ms: u64::MAX, id: u128::MAX, user: "", kind: "", payload: b"", ..plain() },
        Event { user: "zo\u{eb}", kind: "\u{1f600}", payload: &long, ..plain() },
    ] {
        let (key, bytes) = record(&event);
        assert_eq!(read_event(CHANNEL, Seq(9), &bytes), Ok((Epoch(11), event)));
        assert_eq!(read(&key, &bytes).unwrap().place(), Place { epoch: Epoch(11), offset: 1234 });
    }
}

#[test]
fn every_flipped_bit_of_a_record_is_found() {
    let event = Event { operation: Some(operation(77)), op_id: "op", payload: b"{\"text\":\"hello\"}", ..plain() };
    let (key, mut bytes) = record(&event);
    let mut stub = Vec::new();
    seal_stub(&key, Place { epoch: Epoch(1), offset: 2 }, 3, operation(4), &mut stub);
    for bytes in [&mut bytes, &mut stub] {
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read(&key, bytes).map(|_| ()), Err(Broken::Checksum), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        assert!(read(&key, bytes).is_ok());
    }
}

#[test]
fn a_record_that_is_cut_off_or_longer_or_elsewhere_is_found() {
    let (key, bytes) = record(&plain());
    for length in 0..bytes.len() {
        let expected = if length < ENVELOPE_BYTES { Broken::Short } else { Broken::Checksum };
        assert_eq!(read(&key, &bytes[..length]).map(|_| ()), Err(expected), "{length}");
    }
    assert_eq!(read(&key, &[&bytes[..], &[0]].concat()).map(|_| ()), Err(Broken::Checksum));
    for elsewhere in [key::event(CHANNEL, Seq(10)), key::event(ChannelNumber(1), Seq(9))] {
        assert_eq!(read(&elsewhere, &bytes).map(|_| ()), Err(Broken::Checksum));
    }
    assert_eq!(unseal_as(Space::Rows, &key, Kind::Event, &bytes), Err(Broken::Checksum), "the other space");
    assert_eq!(unseal_as(Space::Events, &key, Kind::Stub, &bytes), Err(Broken::Kind(Kind::Event as u8)));
}

#[test]
fn a_record_of_another_release_is_told_from_a_broken_one() {
    let key = key::event(CHANNEL, Seq(9));
    let mut bytes = Vec::new();
    seal(Space::Events, &key, Kind::Event, &mut bytes, |_| {});
    bytes[8] = VERSION + 1;
    assert_eq!(read(&key, &bytes).map(|_| ()), Err(Broken::Checksum), "not only the version changed");
    let sum = xxhash_rust::xxh3::xxh3_64_with_seed(&bytes[8..], xxhash_rust::xxh3::xxh3_64(&key) ^ 1);
    bytes[..8].copy_from_slice(&sum.to_le_bytes());
    assert_eq!(read(&key, &bytes).map(|_| ()), Err(Broken::Version(VERSION + 1)));
}

#[test]
fn contents_that_cannot_be_are_refused() {
    let key = key::event(CHANNEL, Seq(9));
    let behind = |more: &[u8]| [&[0; 40], more].concat();
    for (kind, body) in [
        (Kind::Event, Vec::new()),
        (Kind::Event, behind(&[])),
        (Kind::Event, behind(&[2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])),
        (Kind::Event, behind(&[0, 9, 0, 0, 0, b'a'])),
        (Kind::Event, behind(&[0, 1, 0, 0, 0, 0xff, 0, 0, 0, 0, 0, 0, 0, 0])),
        (Kind::Stub, vec![0; 57]),
        (Kind::Line, vec![0; 56]),
    ] {
        let mut bytes = Vec::new();
        seal(Space::Events, &key, kind, &mut bytes, |out| out.extend_from_slice(&body));
        assert!(matches!(read(&key, &bytes), Err(Broken::Content | Broken::Kind(_))), "{kind:?} {body:?}");
    }
}

#[test]
fn a_stub_says_the_operation_and_is_no_event() {
    let key = key::event(CHANNEL, Seq(9));
    let mut bytes = Vec::new();
    let place = Place { epoch: Epoch(1), offset: 2 };
    seal_stub(&key, place, 3, operation(4), &mut bytes);
    assert_eq!(read(&key, &bytes), Ok(Stored::Stub(place, 3, operation(4))));
    assert_eq!(read_event(CHANNEL, Seq(9), &bytes).map(|_| ()), Err(Broken::Kind(Kind::Stub as u8)));
}

fn line() -> Line {
    Line {
        name: "chat:a".into(),
        generation: 3,
        spans: vec![
            Span { epoch: Epoch(1), first: Seq(1), last: Seq(9) },
            Span { epoch: Epoch(2), first: Seq(65_546), last: Seq(65_546) },
        ],
        oldest: Some(Oldest { seq: Seq(4), offset: 400, unix_ms: 5 }),
        end: 999,
        keep: KEEP,
    }
}

#[test]
fn rows_are_read_as_they_were_written() {
    for line in [line(), Line { oldest: None, ..line() }, Line::new("", KEEP)] {
        let (mut batch, mut disk) = (Batch::new(), Memory::default());
        rows::put_line(&mut batch, CHANNEL, &line);
        disk.commit(&batch);
        let place = key::line(CHANNEL);
        assert_eq!(rows::find(&disk, &place, Kind::Line, rows::read_line), Ok(Some(line.clone())));
        let cut = |value: &mut Box<[u8]>| *value = value[..value.len() - 1].into();
        disk.damage(Space::Rows, &place, cut);
        let found = rows::find(&disk, &place, Kind::Line, rows::read_line);
        assert!(matches!(found, Err(DiskFault::Damaged(_))), "{found:?}");
    }
    for stopped in [None, Some(0), Some(STORED_NUMBER_MAX)] {
        let state = State { generation: 9, stopped, key: [1; 16], id: u128::MAX };
        let (mut batch, mut disk) = (Batch::new(), Memory::default());
        rows::put_state(&mut batch, &state);
        rows::put_commit(&mut batch, 5, 6);
        disk.commit(&batch);
        assert_eq!(rows::find(&disk, key::STATE, Kind::State, rows::read_state), Ok(Some(state)));
        assert_eq!(rows::find(&disk, key::COMMIT, Kind::Commit, rows::read_commit), Ok(Some((5, 6))));
    }
}

#[test]
fn spans_that_do_not_ascend_are_no_line() {
    let span = |first, last| Span { epoch: Epoch(1), first: Seq(first), last: Seq(last) };
    for spans in [vec![span(2, 1)], vec![span(1, 5), span(5, 6)], vec![span(7, 9), span(1, 2)]] {
        let (mut batch, mut disk) = (Batch::new(), Memory::default());
        rows::put_line(&mut batch, CHANNEL, &Line { spans, ..line() });
        disk.commit(&batch);
        let found = rows::find(&disk, &key::line(CHANNEL), Kind::Line, rows::read_line);
        assert!(matches!(found, Err(DiskFault::Damaged(_))), "{found:?}");
    }
}

#[test]
fn a_number_that_nobody_has_counted_to_is_damage() {
    for (number, good) in [(STORED_NUMBER_MAX - 1, true), (STORED_NUMBER_MAX, true), (STORED_NUMBER_MAX + 1, false)] {
        let mut batch = Batch::new();
        let (cursor, oldest) = (key::cursor(CHANNEL, "ann"), Oldest { seq: Seq(1), offset: number, unix_ms: 1 });
        rows::put_number(&mut batch, "chat:a", ChannelNumber(number));
        rows::put_place(&mut batch, &cursor, Kind::Cursor, Seq(number), 1);
        rows::put_commit(&mut batch, 42, number);
        rows::put_state(&mut batch, &State { stopped: Some(number), ..fresh() });
        let lines = [
            Line { end: number, ..line() },
            Line { oldest: Some(oldest), ..line() },
            Line { oldest: Some(Oldest { seq: Seq(number), offset: 1, ..oldest }), ..line() },
            Line { spans: vec![Span { epoch: Epoch(1), first: Seq(1), last: Seq(number) }], ..line() },
        ];
        for (channel, line) in lines.iter().enumerate() {
            rows::put_line(&mut batch, ChannelNumber(channel as u64), line);
        }
        for ((space, place), value) in &batch {
            let found = rewritten(*space, place, value.as_ref().unwrap());
            assert_eq!(found.as_deref(), if good { Ok(&**value.as_ref().unwrap()) } else { Err(&Broken::Content) });
        }
        let mut bytes = Vec::new();
        let (event, mut body) = (key::event(CHANNEL, Seq(9)), Vec::new());
        write_body(&plain(), &mut body);
        seal_event(&event, Place { epoch: Epoch(11), offset: number }, &body, &mut bytes);
        assert_eq!(rewritten(Space::Events, &event, &bytes).is_ok(), good);
        assert_eq!(key::of_event(&key::event(CHANNEL, Seq(number))).is_some(), good);
        assert_eq!(key::of_line(&key::line(ChannelNumber(number))).is_some(), good);
    }
    for (generation, good) in [(STORED_NUMBER_MAX >> 16, true), ((STORED_NUMBER_MAX >> 16) + 1, false)] {
        let mut batch = Batch::new();
        rows::put_state(&mut batch, &State { generation, ..fresh() });
        rows::put_line(&mut batch, CHANNEL, &Line { generation, ..line() });
        for ((space, place), value) in batch {
            assert_eq!(rewritten(space, &place, &value.unwrap()).is_ok(), good);
        }
    }
    // A channel whose bytes end before its oldest event, and a line that nobody could have numbered, end nothing.
    let mut disk = Memory::default();
    let mut batch = Batch::new();
    let oldest = Oldest { seq: Seq(1), offset: 9, unix_ms: 1 };
    let odd = Line { end: 5, oldest: Some(oldest), ..line() };
    assert_eq!(odd.retained_bytes(), 0);
    rows::put_line(&mut batch, ChannelNumber(u64::MAX), &line());
    disk.commit(&batch);
    let found = Ledger::start(&disk, fresh(), KEEP.into()).map(drop);
    assert!(matches!(found, Err(DiskFault::Damaged(_))), "{found:?}");
}

#[test]
fn a_row_says_nothing_in_two_ways() {
    let state = |stopped: u8, commit: u64| {
        let mut bytes = Vec::new();
        seal(Space::Rows, key::STATE, Kind::State, &mut bytes, |out| {
            out.extend_from_slice(&1_u64.to_le_bytes());
            out.push(stopped);
            out.extend_from_slice(&commit.to_le_bytes());
            out.extend_from_slice(&[3; 32]);
        });
        rewritten(Space::Rows, key::STATE, &bytes).map(|again| *again == *bytes)
    };
    assert_eq!([state(0, 0), state(1, 0), state(1, 7)], [Ok(true); 3]);
    assert_eq!([state(0, 7), state(2, 7)], [Err(Broken::Content); 2]);
}

#[test]
fn the_mark_of_a_commit_is_known_by_its_store_only() {
    let mut batch = Batch::new();
    rows::put_commit(&mut batch, 42, 7);
    let ((_, place), value) = batch.pop_first().unwrap();
    let value = value.unwrap();
    assert_eq!(rows::commit_of(42, &place, &value), Some(7));
    assert_eq!(rows::commit_of(43, &place, &value), None);
    assert_eq!(rows::commit_of(42, b"s", &value), None);
    assert_eq!(rows::commit_of(42, &place, &value[1..]), None);
}
