//! A run: its rooms dealt to threads, every thread through the same steps, the server watched by the first of them.
//!
//! Threads meet only at gates. Each has its own engine, checker and histograms; what they found is put together when all
//! have ended.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::thread::ScopedJoinHandle;
use std::time::{Duration, UNIX_EPOCH};

use crate::adapter::Adapter;
use crate::baton::Baton;
use crate::clock::{Clock, seconds};
use crate::course::{self, Step, StepKind, Weigh};
use crate::deal::{self, Part, Share};
use crate::engine::{self, Engine, Target};
use crate::gate::Gates;
use crate::launch::Door;
use crate::limits::{THREADS_COUNT_MAX, WAIT_NS_MAX};
use crate::live::{Recorder, Scene, Stop, View, Watcher};
use crate::merge;
use crate::process::Process;
use crate::report::{Doctor, Environment, MachineTicks, Report, RestReport};
use crate::scenario::Scenario;
use crate::slo::Watch;
use crate::socket;

mod observer;

use observer::Observer;
pub(crate) use observer::Own;

/// Why a run that somebody ended says nothing.
pub const ENDED_EARLY: &str = "ended early";

/// What a run needs besides its scenario.
#[derive(Debug)]
pub struct Setting {
    /// The server.
    pub target: Target,
    /// How the server is spoken to.
    pub adapter: Adapter,
    /// Tokens, given out by connection number.
    pub tokens: Vec<String>,
    /// The server's process.
    pub server: Option<Process>,
    /// How the run is shown while it goes on.
    pub view: View,
    /// The wish to end it early.
    pub stop: Stop,
    /// Objectives that end it early when they are broken for long.
    pub watch: Option<Watch>,
    /// Threads, each with whole rooms of its own.
    pub threads: usize,
    /// Their cores, in turn; empty leaves them to the kernel.
    pub cpus: Vec<usize>,
    /// Which share of the run this process drives.
    pub part: Part,
    /// Second of the day's clock, since 1970, at which the run begins.
    pub start_at: Option<u64>,
    /// The gateway's program, whose doctor is asked about this machine.
    pub doctor: Option<PathBuf>,
    /// The right to run, if another generator runs in turn with this one.
    pub baton: Option<Baton>,
}

impl Setting {
    /// A server that speaks as Waystation does, without tokens, its process unknown; one thread drives all of it at once.
    #[must_use]
    pub fn new(target: Target) -> Self {
        Self {
            target,
            adapter: Adapter::waystation(),
            tokens: Vec::new(),
            server: None,
            view: View::default(),
            stop: Stop::default(),
            watch: None,
            threads: 1,
            cpus: Vec::new(),
            part: Part::WHOLE,
            start_at: None,
            doctor: None,
            baton: None,
        }
    }
}

impl Setting {
    /// Where a server that is started for it is waited for.
    #[must_use]
    pub fn door(&self) -> Door<'_> {
        Door { address: self.target.address, ready: self.adapter.open.ready.as_deref() }
    }
}

impl Target {
    /// Reads `ws://host:port`.
    ///
    /// # Errors
    /// It is no such address, or the host is unknown.
    pub fn parse(url: &str) -> Result<Self, String> {
        let host = url.strip_prefix("ws://").ok_or_else(|| format!("{url}: must start with ws://"))?;
        let host = host.trim_end_matches('/');
        let mut addresses = host.to_socket_addrs().map_err(|error| format!("{url}: {error}"))?;
        let address: SocketAddr = addresses.next().ok_or_else(|| format!("{url}: no address"))?;
        Ok(Self { address, host: host.to_owned() })
    }
}

/// Runs a scenario, or this process's part of it.
///
/// # Errors
/// The machine refuses something the run needs; what the server does wrong stands in the report.
pub fn run(scenario: &Scenario, setting: &Setting) -> Result<Report, String> {
    if !(1..=THREADS_COUNT_MAX).contains(&setting.threads) {
        return Err(format!("{} threads: must be 1 to {THREADS_COUNT_MAX}", setting.threads));
    }
    if setting.baton.is_some() && setting.threads > 1 {
        return Err(format!("{} threads: must be 1 to run in turn with another generator", setting.threads));
    }
    let shares = deal::shares(scenario, setting.part, setting.threads);
    let connections = shares.iter().map(Share::connections_count).sum();
    if connections == 0 {
        return Err(format!("part {}/{}: there are not so many rooms", setting.part.number, setting.part.of));
    }
    check_source(scenario, setting.target.address.ip())?;
    socket::make_room(connections)?;
    if let Some(&cpu) = setting.cpus.first() {
        socket::pin(cpu)?;
    }
    setting.baton.as_ref().map(Baton::begin).transpose()?;
    let (mut environment, ticks) = (Environment::new(&setting.target.host, connections), MachineTicks::now());
    environment.doctor = setting.doctor.as_ref().map(|program| Doctor::ask(program, scenario.connections_count()));
    let mut observer = Observer::new(setting.server);
    wait_until(setting.start_at)?;
    environment.note_start();
    let (steps, clock) = (course::steps(scenario), Clock::start());
    let gates = Gates::new(shares.len(), steps.len() + 1);
    let course = Course { scenario, setting, clock, gates, steps };
    let Setting { view, stop, watch, .. } = setting;
    // The watcher's clock does not stand still between slices: a share of it would be of the wrong time.
    let server = setting.server.filter(|_| setting.baton.is_none());
    let title = format!("{} on {}", scenario.name, setting.target.host);
    let scene = Scene { title, kinds: engine::kinds(scenario, &setting.adapter)? };
    let (watcher, recorders) = Watcher::start(scene, clock, shares.len(), server, *view, stop, watch.clone())?;
    let reports = course.run_all(&shares, recorders, &mut observer);
    // Whatever is said from here on is said on a terminal that was given back.
    let (timeline, broken) = watcher.finish();
    // What went wrong first says why; that others ended because of it says nothing.
    if let Some(Err(error)) = reports.iter().find(|report| report.as_ref().is_err_and(|error| error != ENDED)) {
        return Err(error.clone());
    }
    let mut report = merge::threads(reports.into_iter().collect::<Result<_, _>>()?)?;
    report.parts = vec![setting.part];
    observer.tell(&mut report);
    environment.note_steal(ticks);
    report.environment = environment;
    report.timeline = timeline;
    // What ended for a broken objective has been judged; what somebody ended has not.
    if setting.stop.requested() && broken.is_none() {
        report.invalid = Some(ENDED_EARLY.to_owned());
    }
    report.slos.extend(broken);
    setting.baton.as_ref().map(Baton::rest).transpose()?;
    Ok(report)
}

/// What a thread says that ended because another one did.
const ENDED: &str = "another thread ended";

/// What all threads go through.
struct Course<'a> {
    scenario: &'a Scenario,
    setting: &'a Setting,
    clock: Clock,
    gates: Gates,
    steps: Vec<Step>,
}

impl Course<'_> {
    /// Runs all threads, the first of them here.
    fn run_all(
        &self,
        shares: &[Share],
        recorders: Vec<Recorder>,
        observer: &mut Observer,
    ) -> Vec<Result<Report, String>> {
        let mut shares = (0..).zip(shares).zip(recorders).map(|((thread, share), recorder)| (thread, share, recorder));
        let first = shares.next();
        std::thread::scope(|scope| {
            let start = |(thread, share, recorder)| {
                let name = format!("load-{thread}");
                let run = move || self.run(thread, share, recorder, None);
                let started = std::thread::Builder::new().name(name).spawn_scoped(scope, run);
                if started.is_err() {
                    self.gates.fail();
                }
                started
            };
            let others: Vec<_> = shares.map(start).collect();
            let first = first.map(|(thread, share, recorder)| self.run(thread, share, recorder, Some(observer)));
            let others = others.into_iter().map(|other| match other.map(ScopedJoinHandle::join) {
                Ok(Ok(report)) => report,
                Ok(Err(_)) => Err("a thread panicked".to_owned()),
                Err(error) => Err(format!("cannot start a thread: {error}")),
            });
            first.into_iter().chain(others).collect()
        })
    }

    fn run(
        &self,
        thread: usize,
        share: &Share,
        recorder: Recorder,
        observer: Option<&mut Observer>,
    ) -> Result<Report, String> {
        let outcome = self.run_steps(thread, share, recorder, observer);
        if outcome.is_err() {
            self.gates.fail();
        }
        outcome
    }

    fn run_steps(
        &self,
        thread: usize,
        share: &Share,
        recorder: Recorder,
        mut observer: Option<&mut Observer>,
    ) -> Result<Report, String> {
        let cpu = self.setting.cpus.get(thread % self.setting.cpus.len().max(1)).copied();
        if let Some(cpu) = cpu {
            socket::pin(cpu)?;
        }
        let mut engine = Engine::new(self.scenario, self.setting, share, self.clock)?;
        engine.recorder = recorder;
        let mut own = Own::default();
        // The gate behind the last is the start.
        let mut from_ns = self.pass(self.steps.len(), engine.clock.now_ns(), &mut engine)?;
        for (number, step) in self.steps.iter().enumerate() {
            let measured = step.phase.as_ref().is_some_and(|phase| phase.measured);
            if step.phase.is_some() {
                engine.begin_slices().map_err(|error| error.to_string())?;
            }
            own.begin(&engine);
            let (begin_ns, pings) = (engine.clock.now_ns(), engine.idle.pings);
            if let Some(observer) = &mut observer {
                observer.begin();
            }
            let end_ns = self.take(step, share, &mut engine, from_ns).map_err(|error| format!("poll: {error}"))?;
            if let (Some(observer), Some(weigh)) = (&mut observer, step.weigh) {
                observer.weigh(weigh, self.gates.joined(number.saturating_sub(1)));
            }
            from_ns = match step.has_gate() {
                _ if engine.stopped() => engine.clock.now_ns(),
                true => self.pass(number, from_ns.saturating_add(step.at_least_ns), &mut engine)?,
                false => end_ns,
            };
            own.end(&engine, measured);
            if let Some(observer) = &mut observer {
                observer.end(step);
            }
            if step.weigh == Some(Weigh::Rest) {
                let took_ns = engine.clock.now_ns().saturating_sub(begin_ns);
                engine.idle.rest = Some(RestReport::new(engine.joined, took_ns, engine.idle.pings - pings));
            }
            if engine.stopped() {
                break;
            }
        }
        self.finish(&mut engine, from_ns).map_err(|error| format!("poll: {error}"))?;
        Ok(Report::new(engine, thread, cpu, &own))
    }

    /// Takes one step; when it ended.
    fn take(&self, step: &Step, share: &Share, engine: &mut Engine<'_>, from_ns: u64) -> std::io::Result<u64> {
        let mut end_ns = u64::MAX;
        if let StepKind::Hold { ns } = step.kind {
            end_ns = from_ns.saturating_add(ns);
        }
        let measured = step.phase.as_ref().is_some_and(|phase| phase.measured);
        engine.enter(step.stage, measured, (end_ns < u64::MAX).then_some(end_ns));
        if let Some(phase) = &step.phase {
            engine.begin_phase(phase, (from_ns, end_ns));
        }
        match step.kind {
            StepKind::Hold { .. } => engine.run_until(end_ns)?,
            StepKind::Ramp { to, per_s, more } => {
                engine.begin_ramp(share.of_connections(to), share.of_rate(per_s), more);
            }
            StepKind::Storm(storm) => engine.begin_storm(&storm),
            StepKind::Close => {
                engine.close_all()?;
                engine.reset();
            }
        }
        while !engine.wave_is_over() && !engine.stopped() {
            engine.run_until(engine.clock.now_ns() + WAIT_NS_MAX / 10)?;
        }
        Ok(end_ns)
    }

    /// Waits for the others while traffic goes on; when all go on.
    fn pass(&self, gate: usize, not_before_ns: u64, engine: &mut Engine<'_>) -> Result<u64, String> {
        self.gates.arrive(gate, engine.clock.now_ns(), not_before_ns, engine.joined);
        while !engine.stopped() {
            let now = engine.clock.now_ns();
            let until = match self.gates.opens_ns(gate) {
                Some(opens_ns) if opens_ns <= now => return Ok(opens_ns),
                Some(opens_ns) => opens_ns,
                None if self.gates.failed() => return Err(ENDED.to_owned()),
                None => now + WAIT_NS_MAX / 10,
            };
            engine.run_until(until).map_err(|error| format!("poll: {error}"))?;
        }
        Ok(engine.clock.now_ns())
    }

    /// Waits for what is still owed, and closes.
    fn finish(&self, engine: &mut Engine<'_>, end_ns: u64) -> std::io::Result<()> {
        engine.end_slices();
        engine.stop_traffic(end_ns);
        if let Some(measured) = engine.last_phase_measured() {
            let deadline = engine.clock.now_ns() + seconds(self.scenario.drain_s);
            engine.enter("drain", measured, Some(deadline));
            engine.settle_until(deadline)?;
        }
        engine.enter("close", false, None);
        engine.close_all()
    }
}

/// A list of source addresses that does not reach the server is told before ten thousand connects fail.
fn check_source(scenario: &Scenario, target: IpAddr) -> Result<(), String> {
    match scenario.sources.of(0, target) {
        Some(source) if source.is_ipv4() != target.is_ipv4() => {
            Err(format!("sources: {source} cannot reach {target}: must be of the same kind"))
        }
        _ => Ok(()),
    }
}

fn wait_until(start_at: Option<u64>) -> Result<(), String> {
    let Some(start_at) = start_at else { return Ok(()) };
    let left = (UNIX_EPOCH + Duration::from_secs(start_at)).duration_since(Clock::today());
    let left = left.map_err(|_| format!("start at {start_at}: that second is over"))?;
    if left > START_AHEAD_MAX {
        return Err(format!("start at {start_at}: must be at most {} s ahead", START_AHEAD_MAX.as_secs()));
    }
    Clock::sleep(left);
    Ok(())
}

/// A start further away is a mistake in the number rather than patience.
const START_AHEAD_MAX: Duration = Duration::from_secs(3600);
