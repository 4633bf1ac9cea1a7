//! Rows of single stations that need no shard: bytes to messages to commands, who may what, and the event.

use std::hint::black_box;

use waystation::auth::caps::{Holder, Policy, Verb};
use waystation::envelope::{self, EventHead, Parser, event, write_event};
use waystation::ids::{Epoch, Seq};
use waystation::payload::Payload;
use waystation::room::dedup::{Dedup, Operation};
use waystation::room::history::{Event, History, Retention};
use waystation::route;
use waystation::time::Millis;
use waystation::wire::assembler::{Assembler, Incoming, Rules};
use waystation::wire::encoder::{FrameBuffer, Opcode};

use super::rows::Work;
use super::{START_UNIX_MS, text_frame, update};

/// Bytes of an update's value.
pub(crate) const UPDATE_BYTES: usize = 128;
const KEY: [u8; 16] = [5; 16];
const CHANNEL: &str = "trip:bench-0";
const USER: &str = "load-0000-00000";

/// Station 2: frames to text that is known to be UTF-8.
pub(crate) struct Assembling {
    assembler: Assembler,
    frames: Vec<u8>,
    received: Vec<u8>,
    count: u32,
}

impl Assembling {
    /// So many messages of one frame, with so many bytes in each, read at once.
    pub(crate) fn new(count: u32, bytes: usize) -> Self {
        let frames = text_frame(&update(bytes)).repeat(count as usize);
        Self { assembler: Assembler::default(), received: Vec::new(), frames, count }
    }
}

impl Work for Assembling {
    fn prepare(&mut self) {
        self.received.clone_from(&self.frames);
    }

    fn run(&mut self) {
        let rules = Rules { message_bytes_max: 65_536, fragments_max: Some(1024), binary: false };
        let (mut at, mut texts) = (0, 0);
        while let Ok(Some(Incoming::Text(text))) = self.assembler.next(&rules, &mut self.received, &mut at) {
            black_box(text);
            texts += 1;
        }
        assert_eq!(texts, self.count);
    }
}

/// Station 3: text to command.
pub(crate) struct Parsing {
    parser: Parser,
    text: String,
    count: u32,
}

impl Parsing {
    pub(crate) fn new(count: u32) -> Self {
        let mut parsing = Self { parser: Parser::default(), text: update(UPDATE_BYTES), count };
        parsing.run();
        parsing
    }
}

impl Work for Parsing {
    fn run(&mut self) {
        for _ in 0..self.count {
            assert!(black_box(self.parser.parse(black_box(&self.text))).is_ok());
        }
    }
}

/// Stations 5 and 6 of a message to a channel that is not the connection's own, where both are remembered.
pub(crate) struct Authorising {
    policy: Policy,
    count: u32,
}

impl Authorising {
    pub(crate) fn new(count: u32) -> Self {
        Self { policy: Policy::default(), count }
    }
}

impl Work for Authorising {
    fn run(&mut self) {
        let holder = Holder { user: USER, service: false, caps: None };
        for _ in 0..self.count {
            assert!(self.policy.allows(black_box(&holder), black_box(CHANNEL), Verb::Edit));
            black_box(route::home(black_box(&KEY), CHANNEL, 4));
        }
    }
}

/// Station 7: is it new, which number does it get, and what is forgotten for it.
pub(crate) struct Sequencing {
    history: History,
    dedup: Dedup,
    frame: Payload,
    content: String,
    ids: Vec<String>,
    operations: u64,
}

impl Sequencing {
    pub(crate) fn new(count: u32) -> Self {
        let mut sequencing = Self {
            history: History::new(Epoch(7), Seq(1)),
            dedup: Dedup::default(),
            frame: Payload::copy_of(update(UPDATE_BYTES).as_bytes()),
            content: update(UPDATE_BYTES),
            ids: vec![String::new(); count as usize],
            operations: 0,
        };
        for _ in 0..16 {
            sequencing.prepare();
            sequencing.run();
        }
        sequencing
    }
}

impl Work for Sequencing {
    fn prepare(&mut self) {
        for id in &mut self.ids {
            self.operations += 1;
            *id = format!("op-{:08}", self.operations);
        }
    }

    fn run(&mut self) {
        for id in &self.ids {
            let operation =
                Operation::new(&KEY, USER, id, "trip_update_broadcast", &[black_box(self.content.as_bytes())]);
            black_box(self.dedup.find(Millis(1), operation));
            let seq = self.history.next();
            self.dedup.insert(Millis(1), operation, seq);
            let event = Event::new(seq, START_UNIX_MS, 0, None, self.frame.clone(), Vec::new());
            let most = event.displaces();
            self.history.push(event);
            self.history.trim(&Retention::default(), (seq, Seq(u64::MAX)), START_UNIX_MS, most);
        }
    }
}

/// The first half of station 8: an event to the frame that all members share.
pub(crate) struct Encoding {
    out: FrameBuffer,
    payload: String,
    count: u32,
}

impl Encoding {
    pub(crate) fn new(count: u32) -> Self {
        let mut encoding = Self { out: FrameBuffer::default(), payload: update(UPDATE_BYTES), count };
        encoding.run();
        encoding
    }
}

impl Work for Encoding {
    fn run(&mut self) {
        for number in 0..self.count {
            let head = EventHead {
                id: event::event_id(START_UNIX_MS, u128::from(number)),
                kind: "trip_update_broadcast",
                unix_ms: START_UNIX_MS,
                channel: Some(CHANNEL),
                seq: Some(Seq(u64::from(number) + 1)),
                epoch: Some(Epoch(7)),
                user_id: Some(USER),
                encoding: envelope::Encoding::TRIPSAGE,
                ..EventHead::default()
            };
            self.out.clear();
            write_event(black_box(&head), self.payload.as_bytes(), self.out.body());
            black_box(self.out.finish(Opcode::Text));
        }
    }
}
