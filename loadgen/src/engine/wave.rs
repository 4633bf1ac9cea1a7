//! Waves of openings: a ramp, the return after a storm, slow readers that come back; and the end of all.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;

use crate::clock::seconds;
use crate::connection::{Connection, Phase};
use crate::course::Storm;
use crate::engine::{Engine, index};
use crate::frame;
use crate::limits::{CLOSING_DEADLINE_NS, SLOW_RECEIVE_BYTES, WAIT_NS_MAX};
use crate::socket::{self, Interest};
use crate::stats::{Latency, Names};

/// The openings of one wave.
#[derive(Debug, Default)]
pub struct Opening {
    /// From connect to connected.
    pub connect: Latency,
    /// From the request to the response.
    pub upgrade: Latency,
    /// From the response to joined.
    pub join: Latency,
    /// From connect to joined.
    pub total: Latency,
    /// Connections the wave is to bring up.
    pub wanted: usize,
    /// Those of them that joined.
    pub ready: usize,
    /// Those that failed, by reason.
    pub failures: Names,
    /// From the wave's beginning to the last joined.
    pub took_ns: u64,
}

/// What is being opened.
#[derive(Debug, Default)]
pub(super) struct Waves {
    /// The first so many connections are to have been begun.
    target: usize,
    /// So many have been.
    started: usize,
    /// Connections that were up and come back, by time.
    returns: BinaryHeap<Reverse<(u64, usize)>>,
    /// Connections of the wave that neither joined nor failed, of those that were begun or come back.
    pub(super) awaited: usize,
    /// Connections between connect and joined, of the wave or not.
    pub(super) in_flight: usize,
    per_s: f64,
    from_ns: u64,
    started_before: usize,
    /// Openings begun and ended when something last went on.
    progress: usize,
    deadline_ns: u64,
    /// Storms so far: each cuts others.
    storms: u64,
    /// Whether `opening` is a wave's record.
    begun: bool,
}

impl Waves {
    /// Connections that are to be up in the end.
    pub(super) fn target(&self) -> usize {
        self.target
    }
}

impl Engine<'_> {
    /// Begins a wave that brings up the first `target` connections, `per_s` each second; with `more` it is booked with
    /// the wave before.
    pub fn begin_ramp(&mut self, target: usize, per_s: f64, more: bool) {
        let now = self.clock.now_ns();
        let target = target.min(self.connections.len());
        if !more {
            self.end_wave();
        }
        self.waves.begun = true;
        self.opening.wanted += target.saturating_sub(self.waves.started);
        self.waves.target = target.max(self.waves.started);
        self.waves.started_before = self.waves.started;
        (self.waves.per_s, self.waves.from_ns) = (per_s, now);
        self.waves.deadline_ns = now + seconds(self.scenario.opening_s);
    }

    /// Cuts a share of the connections that are up; they come back when they were away long enough, each at a moment of
    /// its own.
    pub(crate) fn begin_storm(&mut self, storm: &Storm) {
        let Storm { share, away_ns, over_ns, resume } = *storm;
        let now = self.clock.now_ns();
        self.end_wave();
        self.waves.storms += 1;
        let salt = self.waves.storms.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let goes = |number: &usize| {
            let Connection { room, member, phase, .. } = self.connections[*number];
            phase == Phase::Ready && !(resume && self.stays(room, member))
        };
        let ready = (0..self.connections.len()).filter(goes);
        let mut by_chance: Vec<(u64, usize)> = ready.map(|number| (mixed(self.global(number), salt), number)).collect();
        by_chance.sort_unstable();
        let wanted = share * by_chance.len() as f64;
        by_chance.truncate((0..by_chance.len()).take_while(|&count| count as f64 + 0.5 <= wanted).count());
        self.waves.begun = true;
        self.opening.wanted = by_chance.len();
        self.waves.deadline_ns = now + away_ns + over_ns + seconds(self.scenario.opening_s);
        self.waves.from_ns = now;
        if resume {
            self.storms.begin(
                now,
                now + away_ns,
                by_chance.iter().filter(|(_, number)| !self.connections[*number].slow).count(),
            );
        }
        for (_, number) in by_chance {
            let chance = mixed(self.global(number), !salt);
            let after_ns = u64::try_from((u128::from(chance) * u128::from(over_ns)) >> 64).unwrap_or(0);
            if resume && !self.connections[number].slow {
                self.go_away(number);
            } else {
                self.leave(number);
            }
            self.connections[number].awaited = true;
            self.waves.awaited += 1;
            self.waves.returns.push(Reverse((now + away_ns + after_ns, number)));
        }
    }

    /// A connection that is up ends without a word, and will be opened anew.
    fn leave(&mut self, number: usize) {
        if self.cut(number).phase == Phase::Ready {
            self.leave_room(number);
        }
    }

    /// The same, but it comes back to where it was: what is published meanwhile is owed to it as if it were there.
    fn go_away(&mut self, number: usize) {
        let old = self.cut(number);
        let connection = &mut self.connections[number];
        (connection.returning, connection.whereabouts) = (true, old.whereabouts);
    }

    /// Cuts a connection, and puts a new one in its place; the one that was.
    fn cut(&mut self, number: usize) -> Connection {
        let connection = &mut self.connections[number];
        let fresh = connection.afresh();
        let mut old = std::mem::replace(connection, fresh);
        if let Some(fd) = old.fd.take() {
            socket::cut(fd);
        }
        self.joined -= usize::from(old.phase == Phase::Ready);
        old
    }

    /// A connection that ended comes back at `at_ns`, outside of any wave.
    pub(super) fn come_back(&mut self, number: usize, at_ns: u64) {
        self.leave(number);
        self.waves.returns.push(Reverse((at_ns, number)));
    }

    /// Whether everything of the wave has joined or failed. What makes no progress for too long fails here.
    pub fn wave_is_over(&mut self) -> bool {
        let now = self.clock.now_ns();
        let patience_ns = seconds(self.scenario.opening_s);
        let waves = &mut self.waves;
        if waves.started >= waves.target && waves.awaited == 0 {
            if self.opening.took_ns == 0 {
                self.opening.took_ns = now.saturating_sub(waves.from_ns).max(1);
            }
            if !self.storms.goes_on() {
                return true;
            }
        }
        let progress = self.storms.progress()
            + waves.started
            + self.opening.ready
            + usize::try_from(self.opening.failures.sum()).unwrap_or(0);
        if progress != waves.progress {
            waves.progress = progress;
            waves.deadline_ns = waves.deadline_ns.max(now + patience_ns);
        }
        if now > waves.deadline_ns {
            waves.target = waves.started;
            self.give_up_on_those_behind();
            for number in 0..self.connections.len() {
                if self.connections[number].is_opening() {
                    let reason = format!("timed out {:?}", self.connections[number].phase).to_lowercase();
                    self.on_gone(number, &reason);
                }
            }
        }
        false
    }

    /// The wave's record is complete.
    pub(super) fn end_wave(&mut self) {
        let opening = std::mem::take(&mut self.opening);
        if std::mem::take(&mut self.waves.begun) {
            self.openings.push(opening);
        }
        self.waves.progress = 0;
    }

    /// Closes everything with a closing handshake; what does not end in time is cut.
    ///
    /// # Errors
    /// The poll failed.
    pub fn close_all(&mut self) -> io::Result<()> {
        self.publishing = false;
        self.waves.returns.clear();
        for number in 0..self.connections.len() {
            if self.connections[number].fd.is_some() {
                self.connections[number].phase = Phase::Leaving;
                self.watch(number);
                self.send_frame(number, frame::OPCODE_CLOSE, &1000u16.to_be_bytes());
            }
        }
        let deadline = self.clock.now_ns() + CLOSING_DEADLINE_NS;
        while self.connections.iter().any(|connection| connection.fd.is_some()) {
            let now = self.clock.now_ns();
            if now >= deadline {
                break;
            }
            self.turn((now + WAIT_NS_MAX).min(deadline))?;
        }
        for number in 0..self.connections.len() {
            if let Some(fd) = self.connections[number].fd.take() {
                socket::cut(fd);
            }
        }
        self.end_wave();
        self.joined = 0;
        Ok(())
    }

    /// Forgets the ended connections, so that a ramp brings them up once more.
    pub fn reset(&mut self) {
        for connection in &mut self.connections {
            let fresh = connection.afresh();
            *connection = fresh;
        }
        self.waves = Waves::default();
    }

    pub(super) fn step_opening(&mut self, now: u64) {
        let waves = &self.waves;
        if waves.started < waves.target {
            let since_s = now.saturating_sub(waves.from_ns) as f64 / seconds(1.0) as f64;
            let mut due = waves.started - waves.started_before;
            while self.waves.started < self.waves.target
                && due as f64 <= since_s * self.waves.per_s
                && self.waves.in_flight < self.connecting_max
            {
                let number = self.waves.started;
                self.waves.started += 1;
                due += 1;
                self.waves.awaited += 1;
                self.connections[number].awaited = true;
                self.begin(number);
            }
        }
        while self.waves.in_flight < self.connecting_max
            && let Some(&Reverse((at_ns, number))) = self.waves.returns.peek()
            && at_ns <= now
        {
            self.waves.returns.pop();
            self.begin(number);
        }
    }

    fn begin(&mut self, number: usize) {
        self.waves.in_flight += 1;
        let source = self.scenario.sources.of(self.global(number), self.target.address.ip());
        let connection = &mut self.connections[number];
        connection.phase = Phase::Connecting;
        connection.since_ns = self.clock.now_ns();
        connection.opened_ns = connection.since_ns;
        let receive_bytes = connection.slow.then_some(SLOW_RECEIVE_BYTES);
        let fd = socket::connect(self.target.address, source, receive_bytes)
            .and_then(|fd| self.poll_of(number).add(&fd, number, Interest::ReadWrite).map(|()| fd));
        match fd {
            Ok(fd) => self.connections[number].fd = Some(fd),
            Err(error) => self.on_gone(number, &error.kind().to_string()),
        }
    }

    /// An opening came to its end, one way or the other; whether it was one of the wave.
    pub(super) fn is_opened(&mut self, number: usize) -> bool {
        self.waves.in_flight -= 1;
        let awaited = std::mem::take(&mut self.connections[number].awaited);
        self.waves.awaited -= usize::from(awaited);
        awaited
    }

    /// The run's number of a connection.
    pub(super) fn global(&self, number: usize) -> u32 {
        let connection = &self.connections[number];
        self.rooms[index(connection.room)].first_of_run + connection.member
    }
}

/// A number that looks like chance, the same for the same arguments (the finisher of splitmix64).
fn mixed(number: u32, salt: u64) -> u64 {
    let mut value = u64::from(number).wrapping_add(salt).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
