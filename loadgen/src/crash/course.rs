//! A trial from its first start to its last: rounds of load, kill, start, reading back, sending again.
//!
//! Whatever the server does wrong ends in the book. What keeps a round from going on, such as a server that does not
//! come back, ends the trial and is its gravest fault.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::link::{self, Link};
use super::links::Links;
use super::report::{CrashReport, RoundReport};
use super::state::{Coming, Part, State};
use super::wire::{self, Page};
use super::{Moment, Trial};
use crate::clock::{Clock, nanoseconds, seconds};
use crate::launch::{Door, Launched};
use crate::limits::{
    CRASH_ANSWER_NS, CRASH_CUT_NS, CRASH_DRAIN_NS, CRASH_OPERATIONS_COUNT_MAX, CRASH_PAGE_EVENTS_COUNT,
    CRASH_PAGES_COUNT_MAX, CRASH_ROUND_NS_MAX, WAIT_NS_MAX,
};
use crate::report::Environment;
use crate::stats::{Latency, rounded_fine};

/// A trial that goes on.
struct Course<'a> {
    trial: &'a Trial,
    /// The channels' names.
    names: Vec<String>,
    clock: Clock,
    chance: fastrand::Rng,
    links: Links,
    state: State,
    server: Option<Launched>,
    restarts: Latency,
    rounds: Vec<RoundReport>,
    /// By publisher: when it publishes next, and how many operations it began.
    due: Vec<(u64, usize)>,
}

/// Runs a trial.
pub(super) fn run(trial: &Trial, progress: &mut dyn Write) -> Result<CrashReport, String> {
    let mut environment = Environment::new(&trial.target.host, trial.connections_count());
    environment.note_start();
    let state = State::new(trial);
    let links = Links::new(state.links_count()).map_err(|error| format!("cannot make a poll: {error}"))?;
    let mut course = Course {
        trial,
        names: trial.channel_names(),
        clock: Clock::start(),
        chance: fastrand::Rng::with_seed(trial.seed),
        links,
        state,
        server: None,
        restarts: Latency::new(),
        rounds: Vec::new(),
        due: vec![(0, 0); trial.publishers],
    };
    course.begin()?;
    let mut broken = None;
    while broken.is_none() && course.kills() < trial.kills && !trial.stop.requested() {
        broken = course.round(progress).err();
    }
    if broken.is_none() {
        broken = course.finish().err();
    }
    let Course { state, restarts, rounds, clock, .. } = course;
    let took_s = rounded_fine(clock.now_ns() as f64 / 1e9);
    Ok(CrashReport::new(trial, environment, state, &restarts, rounds, broken, took_s))
}

impl Course<'_> {
    fn kills(&self) -> u32 {
        u32::try_from(self.rounds.len()).unwrap_or(u32::MAX)
    }

    /// The first start. Whatever goes wrong here is no finding.
    fn begin(&mut self) -> Result<(), String> {
        self.start()?;
        self.connect()?;
        self.enter(false)?;
        self.read_all()?;
        let found: usize = (0..self.trial.channels).map(|channel| self.state.book.history_count(channel)).sum();
        if found > 0 {
            return Err(format!("the channels of seed {} have {found} events: take another seed", self.trial.seed));
        }
        Ok(())
    }

    fn round(&mut self, progress: &mut dyn Write) -> Result<(), String> {
        let before = self.state.book.sums;
        self.load()?;
        if self.trial.stop.requested() {
            return Ok(());
        }
        self.kill()?;
        let again = self.state.book.on_kill();
        self.cut_power()?;
        let from_ns = self.clock.now_ns();
        let started = self.start();
        let restart_ns = self.clock.now_ns().saturating_sub(from_ns);
        self.restarts.record(restart_ns);
        let killed = self.state.book.sums;
        let mut round = RoundReport {
            acked: killed.acked - before.acked,
            unanswered: killed.unanswered - before.unanswered,
            restart_s: rounded_fine(restart_ns as f64 / 1e9),
            ..RoundReport::default()
        };
        let back = started.and_then(|()| self.come_back(&again));
        let sums = self.state.book.sums;
        (round.kept, round.events) = (sums.kept - before.kept, sums.read - before.read);
        round.faults = self.state.book.faults.counts.sum();
        self.rounds.push(round);
        // Progress that cannot be written is no reason to stop.
        let _ =
            writeln!(progress, "kill {} of {}: {}", self.kills(), self.trial.kills, self.rounds[self.rounds.len() - 1]);
        back
    }

    /// After a start: everything is read back and held against the book, then what had no answer is sent again.
    fn come_back(&mut self, again: &[Vec<u32>]) -> Result<(), String> {
        self.connect()?;
        self.read_all()?;
        self.enter(true)?;
        self.send_again(again)
    }

    /// The last answers must be in the history too, and the server ends when it is asked to.
    fn finish(&mut self) -> Result<(), String> {
        self.settle()?;
        self.state.book.end_of_patience();
        self.read_all()?;
        self.state.ending = true;
        self.links.clear();
        self.server.take().map_or(Ok(()), Launched::end)
    }

    fn start(&mut self) -> Result<(), String> {
        let Trial { command, cpu, target, adapter, .. } = self.trial;
        let door = Door { address: target.address, ready: adapter.open.ready.as_deref() };
        let started = Launched::start_apart(command, *cpu, door);
        self.server = Some(started.map_err(|error| format!("the server did not start: {error}"))?);
        Ok(())
    }

    /// Kills the server, and reads what it had sent before.
    fn kill(&mut self) -> Result<(), String> {
        self.state.ending = true;
        self.server.take().map_or(Ok(()), Launched::kill)?;
        let deadline = self.clock.now_ns() + CRASH_DRAIN_NS;
        while self.links.count() > 0 && self.clock.now_ns() < deadline {
            self.wait(WAIT_NS_MAX)?;
        }
        self.links.clear();
        self.state.on_all_gone();
        self.state.ending = false;
        Ok(())
    }

    fn cut_power(&mut self) -> Result<(), String> {
        let Some(command) = &self.trial.power_cut else { return Ok(()) };
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(command).env("LOADGEN_KILL", (self.kills() + 1).to_string()).stdin(Stdio::null());
        let child = shell.spawn().map_err(|error| format!("power cut: cannot start {command:?}: {error}"))?;
        self.await_cut(child).map_err(|error| format!("power cut: {command:?} {error}"))
    }

    fn await_cut(&self, mut child: Child) -> Result<(), String> {
        let deadline = self.clock.now_ns() + CRASH_CUT_NS;
        loop {
            match child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(format!("failed: {status}")),
                Ok(None) if self.clock.now_ns() < deadline => Clock::sleep(Duration::from_nanos(WAIT_NS_MAX)),
                Ok(None) => {
                    // It is ours, and what cannot be killed has ended.
                    let _ = child.kill().and_then(|()| child.wait());
                    return Err(format!("took longer than {} s", CRASH_CUT_NS / 1_000_000_000));
                }
                Err(error) => return Err(format!("cannot be waited for: {error}")),
            }
        }
    }

    /// Opens all connections and waits until they are let in.
    fn connect(&mut self) -> Result<(), String> {
        for number in 0..self.state.links_count() {
            let token = self.trial.tokens.get(number % self.trial.tokens.len().max(1)).map_or("", String::as_str);
            let seed = self.trial.seed ^ u64::try_from(number).unwrap_or(0);
            let link = Link::open(&self.trial.target, &self.trial.adapter, token, seed)?;
            self.links.put(number, link).map_err(|error| format!("poll: {error}"))?;
        }
        self.wait_for("to be let in", |state, _| state.let_in.iter().all(|&let_in| let_in))
    }

    /// Members enter the channels; readers that come back say where they were and get what they missed.
    fn enter(&mut self, back: bool) -> Result<(), String> {
        let Trial { readers, channels, .. } = *self.trial;
        if back {
            let coming = || std::iter::repeat_with(Coming::default).take(channels).collect();
            self.state.coming = std::iter::repeat_with(coming).take(readers).collect();
        }
        let members: Vec<usize> = (0..self.state.links_count()).filter(|&link| self.state.is_member(link)).collect();
        for &link in &members {
            let reader = (0..readers).find(|&reader| self.state.link_of(reader) == link);
            let position = |channel| self.state.book.position(reader?, channel);
            let text = wire::subscribe(
                self.names.iter().enumerate().map(|(channel, name)| (name.as_str(), position(channel))),
            );
            self.send(link, &text)?;
        }
        self.wait_for("to join", |state, _| members.iter().all(|&link| state.joined[link]))?;
        let is_back =
            |state: &State, _| (0..readers).all(|reader| (0..channels).all(|channel| state.is_back(reader, channel)));
        // Who does not get all in time is told by what it lacks.
        let _ = self.wait_for("to come back", is_back);
        self.state.end_of_return();
        Ok(())
    }

    /// Publishes until the kill is due.
    fn load(&mut self) -> Result<(), String> {
        let (least, most) = self.trial.chance;
        let put_off_ns = self.chance.u64(nanoseconds(least)..=nanoseconds(most));
        let (left, kills_left) = (self.acked_left(), u64::from(self.trial.kills - self.kills()).max(1));
        let wanted = self.state.book.sums.acked + left.div_ceil(kills_left);
        let begin_ns = self.clock.now_ns();
        self.due.iter_mut().for_each(|due| due.0 = begin_ns);
        let mut kill_ns = None;
        loop {
            let now = self.clock.now_ns();
            let full = self.state.book.sums.acked >= wanted;
            if kill_ns.is_none() && (full || now > begin_ns + CRASH_ROUND_NS_MAX) {
                kill_ns = Some(now + put_off_ns);
            }
            if kill_ns.is_some_and(|at_ns| at_ns <= now) || self.trial.stop.requested() {
                break;
            }
            if let Some(status) = self.server.as_mut().and_then(Launched::ended) {
                return Err(format!("the server ended by itself: {status}"));
            }
            self.publish_due(now)?;
            let next_ns = self.due.iter().map(|due| due.0).chain(kill_ns).min().unwrap_or(now);
            self.wait(next_ns.saturating_sub(now).clamp(100_000, WAIT_NS_MAX))?;
        }
        if self.trial.moment == Moment::Idle || self.trial.stop.requested() { self.settle() } else { Ok(()) }
    }

    fn acked_left(&self) -> u64 {
        self.trial.acked.saturating_sub(self.state.book.sums.acked)
    }

    fn publish_due(&mut self, now: u64) -> Result<(), String> {
        let interval_ns = seconds(1.0 / self.trial.rate).max(1);
        for publisher in 0..self.trial.publishers {
            let room = usize::try_from(self.state.book.sums.sent).unwrap_or(usize::MAX) < CRASH_OPERATIONS_COUNT_MAX;
            while room && self.due[publisher].0 <= now && self.state.outstanding[publisher] < self.trial.window {
                let (at_ns, count) = self.due[publisher];
                self.due[publisher] = (at_ns + interval_ns, count + 1);
                let channel = (publisher + count) % self.trial.channels;
                let number = self.state.book.begin(publisher, channel, self.trial.content_bytes);
                self.state.sent_ns.push(self.clock.now_ns().max(1));
                self.publish(publisher, number)?;
            }
            // What could not leave in time leaves when it can, and nothing is caught up with.
            self.due[publisher].0 = self.due[publisher].0.max(now.saturating_sub(interval_ns));
        }
        Ok(())
    }

    fn publish(&mut self, publisher: usize, number: u32) -> Result<(), String> {
        let book = &mut self.state.book;
        let Some(name) = book.channel_of(number).and_then(|channel| self.names.get(channel)) else { return Ok(()) };
        let text = wire::publish(name, &book.id(number), &book.content(number, self.trial.content_bytes));
        book.send(number);
        self.state.outstanding[publisher] += 1;
        self.send(publisher, &text)
    }

    /// Sends a second time what had no answer, and of what had one the last.
    fn send_again(&mut self, again: &[Vec<u32>]) -> Result<(), String> {
        for (publisher, numbers) in again.iter().enumerate() {
            for &number in numbers {
                if let Some(sent_ns) = self.state.sent_ns.get_mut(usize::try_from(number).unwrap_or(usize::MAX)) {
                    *sent_ns = 0;
                }
                if !self.state.book.is_lost(number) {
                    self.publish(publisher, number)?;
                }
            }
        }
        self.settle()?;
        self.state.book.end_of_patience();
        self.state.outstanding.fill(0);
        Ok(())
    }

    /// Waits until everything has its answer, or for as long as an answer may take.
    fn settle(&mut self) -> Result<(), String> {
        match self
            .wait_for("for answers", |state, links| links == 0 || state.outstanding.iter().all(|&sends| sends == 0))
        {
            Err(late) if late.starts_with(LATE) => Ok(()),
            other => other,
        }
    }

    /// Reads the whole history of each channel: by requests, or by GET at every other restart.
    fn read_all(&mut self) -> Result<(), String> {
        let by_get = self.trial.service_token.as_deref().filter(|_| self.rounds.len() % 2 == 1);
        for channel in 0..self.names.len() {
            let (mut events, mut since) = (Vec::new(), None);
            for parts in 1.. {
                let part = match by_get {
                    Some(token) => self.get(channel, since, token)?,
                    None => self.request(channel, since)?,
                };
                since = part.events.last().map(super::book::Book::seq_of).or(since);
                let (more, none) = (part.more, part.events.is_empty());
                events.extend(part.events);
                if !more {
                    break;
                }
                if none || parts >= CRASH_PAGES_COUNT_MAX {
                    let name = &self.names[channel];
                    return Err(format!("history of {name}: part {parts} behind {since:?} says that there is more"));
                }
            }
            self.state.book.on_history(channel, events);
        }
        Ok(())
    }

    fn request(&mut self, channel: usize, since: Option<u64>) -> Result<Part, String> {
        self.state.part = None;
        let text = wire::history(&self.names[channel], since, CRASH_PAGE_EVENTS_COUNT);
        self.send(self.state.asker(), &text)?;
        self.wait_for("for a history", |state, links| links == 0 || state.part.is_some())?;
        let part = self.state.part.take().flatten();
        part.ok_or_else(|| format!("history of {}: the request was refused", self.names[channel]))
    }

    fn get(&mut self, channel: usize, since: Option<u64>, token: &str) -> Result<Part, String> {
        let path = wire::history_path(&self.names[channel], since, CRASH_PAGE_EVENTS_COUNT);
        let body = link::get(&self.trial.target, &path, token)?;
        let page = Page::parse(&body).map_err(|error| format!("GET {path}: {error}"))?;
        let events = page.events().map(|told| self.state.book.event(&told)).collect();
        Ok(Part { more: page.more, events })
    }

    fn send(&mut self, link: usize, text: &str) -> Result<(), String> {
        self.links.send(link, text).map_err(|error| format!("connection {link} cannot send: {error}"))
    }

    /// Waits for something, as long as an answer may take. It is asked with the number of connections that there are.
    fn wait_for(&mut self, what: &str, is_there: impl Fn(&State, usize) -> bool) -> Result<(), String> {
        let deadline = self.clock.now_ns() + CRASH_ANSWER_NS;
        while !is_there(&self.state, self.links.count()) {
            if self.clock.now_ns() >= deadline {
                return Err(format!("{LATE} {what}"));
            }
            self.wait(WAIT_NS_MAX)?;
        }
        Ok(())
    }

    fn wait(&mut self, timeout_ns: u64) -> Result<(), String> {
        let (state, clock) = (&mut self.state, self.clock);
        let waited = self.links.wait(timeout_ns, &mut |link, came| state.on_came(link, &came, clock.now_ns()));
        waited.map_err(|error| format!("poll: {error}"))
    }
}

/// What a wait says that was in vain.
const LATE: &str = "waited in vain";
