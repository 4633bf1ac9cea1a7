//! A log's records as a disk may give them back: whatever stands there, sealed by a good checksum or not, everything that
//! reads it comes to an end without a panic, what is read is what would be written for it, and what is delivered is whole.
//!
//! Input: a list of changes to a good log. Each is a byte for what is done, one for the record (even ones are rows, odd ones
//! events), one for the place in it, one for a length, and so many bytes.

use std::cell::OnceCell;
use std::sync::Arc;

use waystation::ids::{Epoch, Seq, ShardId};
use waystation::ledger::disk::Order;
use waystation::ledger::event::read_event;
use waystation::ledger::record::{ENVELOPE_BYTES, Kind, seal};
use waystation::ledger::survey::survey;
use waystation::ledger::{
    Append, Batch, COMMIT_KEY, ChannelNumber, DiskFault, Event, Forget, Keep, Memory, Model, Notice, Open, Operation,
    Past, Read, Request, Space, Spot, State, Ticket, commit_of, copy, rewritten, write_body,
};
use waystation::payload::Payload;
use xxhash_rust::xxh3::xxh3_64;

const SHARD: ShardId = ShardId(1);
const NAMES: [&str; 3] = ["chat:a", "chat:b", "chat:new"];
const FRESH: State = State { generation: 0, stopped: None, key: [7; 16], id: 42 };
const KINDS: [Kind; 8] =
    [Kind::Event, Kind::Stub, Kind::Number, Kind::Line, Kind::Cursor, Kind::Position, Kind::State, Kind::Commit];
/// Changes of one input; the others are left out.
const CHANGES_MAX: usize = 64;
/// Commits until everything that was asked for is answered.
const COMMITS: usize = 3;
const UNIX_MS: u64 = 1_795_000_000_000;

/// Whatever is there, nothing panics.
pub(crate) fn check(bytes: &[u8]) {
    thread_local! {
        static GOOD: OnceCell<Memory> = const { OnceCell::new() };
    }
    let mut disk = GOOD.with(|good| good.get_or_init(good_log).clone());
    disk.commit(&changes(&disk, bytes));
    for (space, key, value) in disk.records() {
        if let Ok(again) = rewritten(space, key, value) {
            assert_eq!(*again, *value, "what {key:?} says is written otherwise");
        }
    }
    let surveyed = survey(&disk, &mut |_| {}).expect("a disk in memory answers");
    assert!(surveyed.events <= disk.records().count() as u64);
    copies(&disk, bytes);
    let _ = commit_of(42, COMMIT_KEY, bytes);
    // As good as random: no epoch that the input could name.
    let fresh = Epoch(xxh3_64(bytes));
    // Events are trimmed, or none is.
    let keep = if bytes.len().is_multiple_of(2) { u64::MAX } else { 2 };
    if let Ok(model) = Model::start(disk, FRESH, keep_of(keep)) {
        let left = Played { model, ticket: 0, fresh }.play(keep);
        Model::start(left, FRESH, keep_of(keep)).expect("what was good when it was opened is so after a crash");
    }
}

/// What the bytes ask for.
fn changes(disk: &Memory, mut bytes: &[u8]) -> Batch {
    let (rows, events): (Vec<_>, Vec<_>) = disk.records().partition(|(space, ..)| *space == Space::Rows);
    let record = |number: usize| {
        let of = if number.is_multiple_of(2) { &rows } else { &events };
        of[number / 2 % of.len()]
    };
    let mut batch = Batch::new();
    for _ in 0..CHANGES_MAX {
        let Some(([what, which, at, len], rest)) = bytes.split_first_chunk() else { break };
        let (given, rest) = rest.split_at(usize::from(*len).min(rest.len()));
        bytes = rest;
        let (space, key, value) = record(usize::from(*which));
        let (kind, body) = (value[ENVELOPE_BYTES - 1], &value[ENVELOPE_BYTES..]);
        let at = usize::from(*at);
        let sealed = |kind: u8, body: &[u8]| Some(sealed(space, key, kind, body));
        let now = match what % 8 {
            0 => sealed(kind, &patched(body, at, given)),
            1 => sealed(at as u8 % 10, &patched(body, 0, given)),
            2 => Some(patched(value, at, given)),
            3 => Some(value[..at.min(value.len())].into()),
            4 => sealed(kind, given),
            5 => None,
            6 => {
                let (key, body) = given.split_at(at.min(given.len()));
                let space = if *which % 2 == 0 { Space::Rows } else { Space::Events };
                batch.insert((space, key.into()), Some(self::sealed(space, key, *which / 2 % 10, body)));
                continue;
            }
            _ => Some(record(at).2.into()),
        };
        batch.insert((space, key.into()), now);
    }
    batch
}

/// Bytes with others in the place of some, from a place on.
fn patched(bytes: &[u8], at: usize, given: &[u8]) -> Box<[u8]> {
    let mut bytes = bytes.to_vec();
    let at = at.min(bytes.len());
    bytes.resize(bytes.len().max(at + given.len()), 0);
    bytes[at..at + given.len()].copy_from_slice(given);
    bytes.into()
}

/// A record with a good checksum, of a kind that may be none.
fn sealed(space: Space, key: &[u8], kind: u8, body: &[u8]) -> Box<[u8]> {
    let known = KINDS.iter().find(|known| **known as u8 == kind).copied();
    let mut out = Vec::new();
    seal(space, key, known.unwrap_or(Kind::Event), &mut out, |out| out.extend_from_slice(body));
    if known.is_none() {
        out[ENVELOPE_BYTES - 1] = kind;
    }
    out.into()
}

/// A copy of the log is the log; any bytes are pages, or none.
fn copies(disk: &Memory, bytes: &[u8]) {
    let mut copied = Batch::new();
    let mut whole = true;
    let pages = copy::pages(disk, &mut |page: &[u8]| {
        match copy::batch_of(page) {
            Some(batch) => copied.extend(batch),
            None => whole = false,
        }
        Ok::<(), DiskFault>(())
    });
    pages.expect("a disk in memory answers");
    if whole {
        for (space, key, value) in disk.records().filter(|(space, key, _)| (*space, *key) != (Space::Rows, &b"s"[..])) {
            let found = copied.get(&(space, key.into())).and_then(Option::as_deref);
            // Behind what any key of ours can be.
            assert!(found == Some(value) || key.is_empty() || key.len() > 16 && key.starts_with(&[0xff; 16]));
        }
    }
    let _ = copy::batch_of(bytes);
}

/// So many events of each channel are retained, whatever they weigh.
const fn keep_of(count: u64) -> Keep {
    Keep { count, bytes: 1 << 30, age_ms: u64::MAX }
}

/// A log, driven by one shard.
struct Played {
    model: Model,
    ticket: u64,
    /// The epoch to go on in.
    fresh: Epoch,
}

impl Played {
    fn ask(&mut self, request: Request) -> Vec<Notice> {
        self.ticket += 1;
        self.model.ask(SHARD, Ticket(self.ticket), request);
        let notices = (0..COMMITS).flat_map(|_| self.model.commit(100, UNIX_MS)).collect::<Vec<_>>();
        notices.into_iter().map(|(_, notice)| notice).collect()
    }

    fn open(&mut self, name: &str, count: u64) -> Option<Past> {
        self.model.set_bounds(keep_of(count));
        let open = Open { channel: Arc::from(name), fresh: self.fresh, tail_bytes: 1 << 16, tail_count: 8 };
        self.ask(Request::Open(open)).into_iter().find_map(|notice| match notice {
            Notice::Opened(_, past) => past.ok().map(|past| *past),
            _ => None,
        })
    }

    fn read(&mut self, past: &Past, order: Order) {
        self.ticket += 1;
        let read = Read {
            channel: past.channel,
            after: Seq(0),
            through: Seq(u64::MAX - 1),
            order,
            count: 100,
            bytes: 1 << 20,
        };
        self.model.read(SHARD, Ticket(self.ticket), read);
        for (_, notice) in self.model.serve() {
            let Notice::Page(_, Ok(page)) = notice else { continue };
            let ascends = page.records.iter().map(|(seq, _)| *seq).is_sorted_by(|one, other| one < other);
            let descends = page.records.iter().map(|(seq, _)| *seq).is_sorted_by(|one, other| one > other);
            assert!(if order == Order::Forward { ascends } else { descends });
            for (seq, record) in &page.records {
                read_event(past.channel, *seq, record).expect("what is given out is whole");
            }
        }
    }

    /// Everything that a shard may do with what it finds.
    fn play(mut self, count: u64) -> Memory {
        for name in NAMES {
            let Some(past) = self.open(name, count) else { continue };
            assert!(past.start.next > past.line.last(), "no number is given twice");
            self.read(&past, Order::Forward);
            self.read(&past, Order::Backward);
            let seq = past.start.next;
            self.ask(Request::Append(append(past.channel, past.start.epoch, seq)));
            for user in ["ann", ""] {
                self.ask(Request::Cursor { channel: past.channel, user: Arc::from(user), seq: Some(seq) });
            }
            self.ask(Request::Position { channel: past.channel, group: Arc::from("g"), seq: Some(seq) });
            self.read(&past, Order::Backward);
            let forget = Forget { user: Arc::from("ann"), author: 3, from: Spot::BEGIN };
            self.ask(Request::Forget(Box::new(forget)));
            self.ask(Request::Forget(Box::new(Forget {
                user: Arc::from("ann"),
                author: 3,
                from: Spot::Cursor(past.channel),
            })));
            if name == "chat:b" {
                self.ask(Request::Erase { channel: past.channel, through: seq });
            }
            self.ask(Request::Close(past.channel));
        }
        self.model.crash()
    }
}

fn append(channel: ChannelNumber, epoch: Epoch, seq: Seq) -> Append {
    let operation = Operation { identity: u128::from(seq.0), content: 2, author: 3 };
    let event = Event {
        unix_ms: UNIX_MS,
        id: 5,
        operation: seq.0.is_multiple_of(2).then_some(operation),
        user: if seq.0.is_multiple_of(3) { "bea" } else { "ann" },
        op_id: "op",
        kind: "note",
        payload: br#"{"a":1}"#,
    };
    let mut body = Vec::new();
    write_body(&event, &mut body);
    Append { channel, epoch, seq, unix_ms: UNIX_MS, body: Payload::copy_of(&body) }
}

/// A log with every kind of record: two channels, one with two epochs and stubs of what is trimmed.
fn good_log() -> Memory {
    let mut disk = Memory::default();
    for fresh in [Epoch(98), Epoch(99)] {
        let mut played =
            Played { model: Model::start(disk, FRESH, keep_of(1000)).expect("a good log"), ticket: 0, fresh };
        // Enough of one that something is trimmed.
        for (name, keep, count) in [("chat:a", 4, 72), ("chat:b", 1000, 6)] {
            let past = played.open(name, keep).expect("a good log");
            for further in 0..count {
                played.ask(Request::Append(append(past.channel, past.start.epoch, Seq(past.start.next.0 + further))));
            }
            let channel = past.channel;
            played.ask(Request::Cursor { channel, user: Arc::from("ann"), seq: Some(past.start.next) });
            played.ask(Request::Cursor { channel, user: Arc::from(""), seq: Some(past.start.next) });
            played.ask(Request::Position { channel, group: Arc::from("g"), seq: Some(past.start.next) });
        }
        disk = played.model.crash();
    }
    for kind in KINDS {
        assert!(disk.records().any(|(_, _, value)| value[ENVELOPE_BYTES - 1] == kind as u8), "{kind:?}");
    }
    disk
}
