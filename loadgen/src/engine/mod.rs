//! The turn: open what the ramp allows, send what is due, wait, read what came.
//!
//! One thread, one poll, one receive buffer, and rooms that nobody else touches; nothing is allocated per message. A
//! connection keeps bytes of its own only while a frame is not whole or its socket is full. `wave` says which
//! connections come and go, `opening` brings one up and down, `traffic` publishes and books deliveries, `messages`
//! tells what came, `answers` what came back to who asked, `recovery` who has what it missed, `closed` is the closed loop, `slow` reads slowly, `slices` takes
//! turns with another generator.

mod answers;
mod closed;
mod messages;
mod opening;
mod recovery;
mod slices;
mod slow;
mod traffic;
mod wave;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use crate::adapter::{Adapter, Delivered};
use crate::checker::{Checker, Faults, Finding, Promise, RoomShape};
use crate::clock::Clock;
use crate::connection::{Connection, Phase};
use crate::deal::{RoomPlace, Share};
use crate::frame::{self, FrameHead, Masks};
use crate::limits::{EVENTS_PER_SEND, RECEIVE_BYTES, UNSENT_BYTES_MAX, WAIT_NS_MAX};
use crate::live::{Gauges, Recorder};
use crate::marker::SENTINEL;
use crate::plan::Setting;
use crate::report::RestReport;
use crate::scenario::Scenario;
use crate::socket::{self, Interest, Poll, Progress, Readiness};
use crate::stats::Names;

use answers::Answers;
use closed::Lacking;
use recovery::Storms;
use slices::Slices;
use wave::Waves;

pub(crate) use recovery::{Live, Moment, Recovery};
pub use slow::SlowTraffic;
pub use traffic::{GroupTraffic, KindTraffic, PhaseTraffic, Traffic};
pub use wave::Opening;

/// What stands in the poll for all members that stay in storms.
const STEADY: usize = usize::MAX;
/// What the mask keys begin with.
const SEED: u64 = 0x5eed;

/// Where the server is.
#[derive(Debug, Clone)]
pub struct Target {
    /// Address to connect to.
    pub address: SocketAddr,
    /// What stands in the request's `Host`.
    pub host: String,
}

/// The generator at work.
#[derive(Debug)]
pub struct Engine<'a> {
    pub(crate) scenario: &'a Scenario,
    pub(crate) target: &'a Target,
    pub(crate) adapter: &'a Adapter,
    pub(crate) tokens: &'a [String],
    pub(crate) clock: Clock,
    pub(crate) checker: Checker,
    /// The books of questions and their answers.
    answers: Answers,
    pub(crate) groups: Vec<GroupTraffic<'a>>,
    /// The wave that is being opened.
    pub(crate) opening: Opening,
    /// Those before it.
    pub(crate) openings: Vec<Opening>,
    /// Connections that may publish and be delivered to.
    pub(crate) joined: usize,
    /// Phases so far.
    pub(crate) phases: Vec<PhaseTraffic>,
    /// What concerns slow readers.
    pub(crate) slow: SlowTraffic,
    /// Events other than deliveries, by type.
    pub(crate) events: Names,
    /// Ends that the run did not ask for, by code or reason.
    pub(crate) closes: Names,
    /// Ends that a group's `expect_close` asked for.
    pub(crate) closes_expected: u64,
    /// Frames that break the protocol.
    pub(crate) protocol_faults: Names,
    /// The first refusals, as the server worded them.
    pub(crate) refusals: Vec<String>,
    /// What the server says it is.
    pub(crate) server_version: Option<String>,
    /// What concerns connections that say nothing.
    pub(crate) idle: Idle,
    /// Time spent waiting for something to do.
    pub(crate) idle_ns: u64,
    /// What the mask keys begin with.
    pub(crate) seed: u64,
    /// The course of the run.
    pub(crate) recorder: Recorder,
    /// Turns with another generator.
    pub(crate) slices: Slices<'a>,
    /// Storms that members come back from to where they were.
    pub(crate) storms: Storms,
    poll: Poll,
    masks: Masks,
    connections: Vec<Connection>,
    rooms: Vec<Room>,
    waves: Waves,
    /// Connections being opened at the same time, at most.
    connecting_max: usize,
    /// When slow readers are read, in the order of time.
    slow_reads: VecDeque<(u64, usize)>,
    /// Closed loop: members that still lack a publish, by room, publisher and number modulo the outstanding ones.
    lacking: Vec<Lacking>,
    /// Connections with `publishes_owed` above 0.
    owing: Vec<usize>,
    publishing: bool,
    /// Whether connections come back to where they were.
    resumes: bool,
    /// When the closed loop ends.
    end_ns: u64,
    deliveries_count: u64,
    receive: Vec<u8>,
    scratch: Vec<u8>,
    ready: Vec<Readiness>,
    finder: memchr::memmem::Finder<'static>,
}

/// Connections that say nothing.
#[derive(Debug, Default)]
pub(crate) struct Idle {
    /// Pings of the server that were answered.
    pub(crate) pings: u64,
    /// What it was like while all were idle.
    pub(crate) rest: Option<RestReport>,
}

/// A fault, and where the room is that it is in.
#[derive(Debug)]
pub(crate) struct Found {
    /// Group of the room.
    pub(crate) group: usize,
    /// Number of the room in its group.
    pub(crate) number: u32,
    pub(crate) subject: Subject,
    pub(crate) finding: Finding,
}

/// What a fault is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    /// What goes to a room.
    Delivery,
    /// What goes back to who asked.
    Answer,
}

/// One room of this engine.
#[derive(Debug)]
struct Room {
    group: usize,
    /// Number over all engines, which stands in the bodies.
    id: u32,
    /// Number in its group, which stands in its path.
    number: u32,
    /// What adapters call it: different from every other room of the run.
    name: String,
    /// First connection; the members follow one another.
    first: usize,
    /// The same over all engines.
    first_of_run: u32,
    shape: RoomShape,
    /// Where its part of `lacking` begins.
    lacking_at: usize,
}

impl<'a> Engine<'a> {
    /// An engine with no connection yet, for the rooms of one share.
    ///
    /// # Errors
    /// The adapter does not speak what the scenario publishes, or the kernel has no descriptor for the poll.
    pub fn new(scenario: &'a Scenario, setting: &'a Setting, share: &Share, clock: Clock) -> Result<Self, String> {
        let (mut rooms, mut connections, mut lacking_count) = (Vec::new(), Vec::new(), 0);
        for place in &share.rooms {
            let group = &scenario.group[place.group];
            let RoomPlace { id, number, members, .. } = *place;
            let shape = RoomShape { members, publishers: group.publishers_count(members) };
            let room = u32::try_from(rooms.len()).unwrap_or(u32::MAX);
            let (first, first_of_run) = (connections.len(), place.first);
            let name = format!("room-{id:05}");
            let lacking_at = lacking_count;
            rooms.push(Room { group: place.group, id, number, name, first, first_of_run, shape, lacking_at });
            connections.extend((0..members).map(|member| {
                let slow = group.is_slow(place.first_in_group + member);
                Connection { slow, ..Connection::new(room, member) }
            }));
            lacking_count += index(shape.publishers) * index(group.limit().unwrap_or(0));
        }
        let adapter = &setting.adapter;
        let groups = groups(scenario, adapter)?;
        let (checker, answers) = books(&rooms, &connections, &groups);
        let (poll, storms) = polls(scenario).map_err(|error| format!("cannot make a poll: {error}"))?;
        let slow_count = connections.iter().filter(|connection| connection.slow).count();
        Ok(Self {
            scenario,
            target: &setting.target,
            adapter,
            tokens: &setting.tokens,
            clock,
            checker,
            answers,
            groups,
            opening: Opening::default(),
            openings: Vec::new(),
            joined: 0,
            phases: Vec::new(),
            slow: SlowTraffic { connections: slow_count, ..SlowTraffic::default() },
            events: Names::default(),
            closes: Names::default(),
            closes_expected: 0,
            protocol_faults: Names::default(),
            refusals: Vec::new(),
            server_version: None,
            idle: Idle::default(),
            idle_ns: 0,
            seed: SEED,
            recorder: Recorder::unseen(),
            slices: Slices::new(setting.baton.as_ref()),
            storms,
            poll,
            masks: Masks::new(SEED),
            connections,
            rooms,
            waves: Waves::default(),
            connecting_max: share.of_at_least_one(scenario.connecting_max),
            slow_reads: VecDeque::new(),
            lacking: vec![Lacking::default(); lacking_count],
            owing: Vec::new(),
            publishing: false,
            resumes: scenario.resumes(),
            end_ns: 0,
            deliveries_count: 0,
            receive: vec![0; RECEIVE_BYTES],
            scratch: Vec::with_capacity(RECEIVE_BYTES),
            ready: Vec::new(),
            finder: memchr::memmem::Finder::new(SENTINEL),
        })
    }

    /// Connections of this engine's rooms.
    #[must_use]
    pub fn connections_count(&self) -> usize {
        self.connections.len()
    }

    /// Goes on until `until_ns` on the run's clock, or until somebody wants the run to end.
    ///
    /// # Errors
    /// The poll failed.
    pub fn run_until(&mut self, until_ns: u64) -> io::Result<()> {
        while self.clock.now_ns() < until_ns && !self.stopped() {
            self.turn(until_ns)?;
        }
        Ok(())
    }

    /// Goes on until `until_ns` or until nothing is missing any more.
    ///
    /// # Errors
    /// The poll failed.
    pub fn settle_until(&mut self, until_ns: u64) -> io::Result<()> {
        while self.unsettled() {
            let now = self.clock.now_ns();
            if now >= until_ns {
                break;
            }
            self.turn(until_ns.min(now + WAIT_NS_MAX))?;
        }
        Ok(())
    }

    /// Whether somebody wants the run to end early.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.recorder.stopped()
    }

    /// Begins a stage of the run, which is to end at `until_ns` if that is known. `measured` says whether what is
    /// delivered in it was, but for stragglers, to be sent in the measured time.
    pub(crate) fn enter(&mut self, name: &'static str, measured: bool, until_ns: Option<u64>) {
        let (now, gauges) = (self.clock.now_ns(), self.gauges());
        self.recorder.enter(name, measured, until_ns, now, gauges);
    }

    /// Hands in the last second of the run.
    pub(crate) fn finish_recording(&mut self) {
        let (now, gauges) = (self.clock.now_ns(), self.gauges());
        self.recorder.finish(now, gauges);
    }

    /// Closes the checker's book: what it found, and the first of each kind with the room's group and its number there.
    pub(crate) fn close_checker(&mut self) -> (Faults, Vec<Found>) {
        let (faults, findings) = std::mem::replace(&mut self.checker, Checker::new(&[])).finish();
        let (of_answers, found) = self.answers.finish();
        let deliveries = findings.into_iter().map(|finding| (Subject::Delivery, finding));
        let answers = found.into_iter().map(|finding| {
            let Connection { room, member, .. } = self.connections[index(finding.room)];
            (Subject::Answer, Finding { room, member, what: finding.what.of_member(member) })
        });
        let named = deliveries.chain(answers).map(|(subject, finding)| {
            let Room { group, id, number, .. } = self.rooms[index(finding.room)];
            Found { group, number, subject, finding: Finding { room: id, ..finding } }
        });
        (faults.plus(of_answers), named.collect())
    }

    fn gauges(&self) -> Gauges {
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        Gauges {
            wanted: count(self.waves.target()),
            open: count(self.joined),
            connecting: count(self.waves.in_flight),
            faults: self.checker.faults().plus(self.answers.faults()).sum()
                + self.closes.sum()
                + self.protocol_faults.sum(),
        }
    }

    fn turn(&mut self, until_ns: u64) -> io::Result<()> {
        let mut now = self.clock.now_ns();
        if now >= self.slices.ends_ns() {
            self.hand_over()?;
            now = self.clock.now_ns();
        }
        if self.recorder.is_due(now) {
            self.recorder.cut(now, self.gauges());
        }
        self.step_opening(now);
        self.read_slow(now);
        self.send_due();
        self.send_owed();
        let before = self.clock.now_ns();
        let due = self.next_due_ns().into_iter().chain(self.next_slow_ns()).min().unwrap_or(u64::MAX);
        let until = until_ns.min(due).min(self.slices.ends_ns()).saturating_sub(before);
        let spin = self.scenario.spin && self.publishing;
        let timeout = if spin { 0 } else { until.min(WAIT_NS_MAX) };
        let mut ready = std::mem::take(&mut self.ready);
        self.poll.wait(&mut ready, timeout)?;
        if timeout > 0 || ready.is_empty() {
            self.idle_ns += self.clock.now_ns().saturating_sub(before);
        }
        for batch in ready.chunks(EVENTS_PER_SEND) {
            for readiness in batch.iter().filter(|readiness| readiness.number != STEADY) {
                self.on_ready(*readiness);
            }
            // A burst of deliveries must not make the sends late.
            self.send_due();
            self.read_steady()?;
        }
        self.ready = ready;
        self.send_owed();
        Ok(())
    }

    /// Reads what is there for members that stay.
    fn read_steady(&mut self) -> io::Result<()> {
        let Some(steady) = &mut self.storms.steady else { return Ok(()) };
        let mut ready = std::mem::take(&mut self.storms.steady_ready);
        steady.wait(&mut ready, 0)?;
        for readiness in &ready {
            self.on_ready(*readiness);
        }
        self.storms.steady_ready = ready;
        Ok(())
    }

    /// The poll of a connection.
    fn poll_of(&self, number: usize) -> &Poll {
        let Connection { room, member, .. } = self.connections[number];
        self.storms.steady.as_ref().filter(|_| self.stays(room, member)).unwrap_or(&self.poll)
    }

    fn on_ready(&mut self, readiness: Readiness) {
        let number = readiness.number;
        if self.connections[number].phase == Phase::Connecting {
            if readiness.write {
                self.on_connected(number);
            }
            return;
        }
        if readiness.write && !self.connections[number].unsent.is_empty() {
            self.flush(number);
        }
        if readiness.read {
            self.read(number, RECEIVE_BYTES);
        }
    }

    /// Reads what is there, at most `bytes_max`.
    fn read(&mut self, number: usize, bytes_max: usize) {
        let connection = &mut self.connections[number];
        let Some(fd) = &connection.fd else { return };
        let kept = connection.partial.len();
        self.receive[..kept].copy_from_slice(&connection.partial);
        let end = self.receive.len().min(kept + bytes_max);
        match socket::read(fd, &mut self.receive[kept..end]) {
            Progress::Blocked => {}
            Progress::Gone(reason) => self.on_gone(number, reason),
            Progress::Bytes(fresh) => {
                connection.partial.clear();
                let receive = std::mem::take(&mut self.receive);
                let now = self.clock.now_ns();
                let used = self.consume(number, &receive[..kept + fresh], now);
                if let Some(rest) = receive.get(used..kept + fresh)
                    && self.connections[number].fd.is_some()
                {
                    self.connections[number].partial.extend_from_slice(rest);
                }
                self.receive = receive;
            }
        }
    }

    /// Takes everything that is whole; returns how many bytes that was.
    fn consume(&mut self, number: usize, bytes: &[u8], now: u64) -> usize {
        let mut at = 0;
        if self.connections[number].phase == Phase::Upgrading {
            match self.on_response(number, bytes, now) {
                Some(head_bytes) => at = head_bytes,
                None => return 0,
            }
        }
        while self.connections[number].fd.is_some() {
            match frame::decode_head(&bytes[at..]) {
                Ok(None) => break,
                Ok(Some(head)) => {
                    let from = at + head.head_bytes;
                    let Some(payload) = bytes.get(from..from + head.payload_bytes) else { break };
                    at = from + head.payload_bytes;
                    self.on_frame(number, head, payload, now);
                }
                Err(fault) => {
                    self.protocol_faults.add(&format!("{fault:?}"));
                    self.on_gone(number, "protocol fault");
                }
            }
        }
        at
    }

    fn on_frame(&mut self, number: usize, head: FrameHead, payload: &[u8], now: u64) {
        match head.opcode {
            frame::OPCODE_TEXT | frame::OPCODE_BINARY => self.on_messages(number, head.opcode, payload, now),
            frame::OPCODE_PING => {
                // RFC 6455 section 5.5.3: a pong carries the ping's data.
                self.send_frame(number, frame::OPCODE_PONG, payload);
                self.idle.pings += 1;
            }
            frame::OPCODE_CLOSE => {
                let code = payload.get(..2).and_then(|raw| <[u8; 2]>::try_from(raw).ok()).map(u16::from_be_bytes);
                self.on_close(number, code);
            }
            // A pong nobody asked for; other opcodes are refused with the head.
            _ => {}
        }
    }

    /// Sends one frame of its own, behind whatever waits.
    fn send_frame(&mut self, number: usize, opcode: u8, payload: &[u8]) {
        let mask = self.masks.next_key();
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        frame::encode(opcode, payload.len(), mask, &mut scratch, |out| out.extend_from_slice(payload));
        self.send(number, &scratch);
        self.scratch = scratch;
    }

    /// Sends bytes, keeping what the socket does not take.
    fn send(&mut self, number: usize, bytes: &[u8]) {
        let connection = &mut self.connections[number];
        let Some(fd) = &connection.fd else { return };
        let mut rest = bytes;
        if connection.unsent.is_empty() {
            match socket::write(fd, bytes) {
                Progress::Bytes(sent) => rest = &bytes[sent..],
                Progress::Blocked => {}
                Progress::Gone(reason) => return self.on_gone(number, reason),
            }
            if rest.is_empty() {
                return;
            }
        }
        let first = connection.unsent.is_empty();
        connection.unsent.extend_from_slice(rest);
        if connection.unsent.len() > 2 * UNSENT_BYTES_MAX {
            self.on_gone(number, "server does not read");
        } else if first {
            self.watch(number);
        }
    }

    /// Tells the poll what a connection waits for now.
    fn watch(&mut self, number: usize) {
        let connection = &self.connections[number];
        let Some(fd) = &connection.fd else { return };
        // A slow reader that is up is read by the clock.
        let reads = !(connection.slow && connection.phase == Phase::Ready);
        let interest = match (reads, connection.unsent.is_empty()) {
            (true, true) => Interest::Read,
            (true, false) => Interest::ReadWrite,
            (false, true) => Interest::Nothing,
            (false, false) => Interest::Write,
        };
        if self.poll_of(number).change(fd, number, interest).is_err() {
            self.on_gone(number, "poll error");
        }
    }

    fn flush(&mut self, number: usize) {
        let connection = &mut self.connections[number];
        let Some(fd) = &connection.fd else { return };
        match socket::write(fd, &connection.unsent) {
            Progress::Bytes(sent) => drop(connection.unsent.drain(..sent)),
            Progress::Blocked => {}
            Progress::Gone(reason) => return self.on_gone(number, reason),
        }
        if connection.unsent.is_empty() {
            self.watch(number);
        }
    }
}

/// What is owed to rooms and to who asks; who reads slowly on purpose may miss some of it.
fn books(rooms: &[Room], connections: &[Connection], groups: &[GroupTraffic<'_>]) -> (Checker, Answers) {
    let promises: Vec<(RoomShape, Promise)> =
        rooms.iter().map(|room| (room.shape, groups[room.group].promise())).collect();
    let loose = groups.iter().flat_map(|group| &group.outgoing).any(|kind| kind.delivered == Delivered::Some);
    let mut checker = Checker::with_promises(&promises, loose);
    let mut answers = Answers::new(rooms, groups);
    for (number, connection) in connections.iter().enumerate().filter(|(_, connection)| connection.slow) {
        checker.exempt(connection.room, connection.member);
        answers.exempt(number);
    }
    (checker, answers)
}

/// The poll for all connections, and in it one for members that stay in storms.
fn polls(scenario: &Scenario) -> io::Result<(Poll, Storms)> {
    let poll = Poll::new()?;
    let steady = scenario.resumes().then(|| poll.nested(STEADY)).transpose()?;
    Ok((poll, Storms::new(steady)))
}

/// What the groups publish, and who speaks it.
fn groups<'a>(scenario: &Scenario, adapter: &'a Adapter) -> Result<Vec<GroupTraffic<'a>>, String> {
    let mut groups: Vec<GroupTraffic<'a>> = Vec::with_capacity(scenario.group.len());
    for group in &scenario.group {
        let kinds_at = groups.last().map_or(0, |last| last.kinds_at + last.kinds.len());
        groups.push(GroupTraffic::new(group, adapter, kinds_at)?);
    }
    match groups.iter().find(|group| scenario.resumes() && group.adapter.resume.is_none()) {
        Some(group) => Err(format!("resume: adapter {}: must have [resume]", group.adapter.name)),
        None => Ok(groups),
    }
}

/// The kinds of messages that are told apart, with their groups, in the order that the recorder has them in.
///
/// # Errors
/// The adapter does not speak what the scenario publishes.
pub(crate) fn kinds(scenario: &Scenario, adapter: &Adapter) -> Result<Vec<String>, String> {
    let groups = groups(scenario, adapter)?;
    let named = scenario.group.iter().zip(&groups).filter(|(_, traffic)| !traffic.kinds.is_empty());
    Ok(named.flat_map(|(group, _)| group.shares().into_iter().map(|s| format!("{} {}", group.name, s.kind))).collect())
}

pub(crate) fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
