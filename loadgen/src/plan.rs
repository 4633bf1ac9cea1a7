//! The courses a run can take, on the engine.

use std::net::{SocketAddr, ToSocketAddrs};

use crate::adapter::Adapter;
use crate::clock::{Clock, seconds};
use crate::engine::{Engine, Target};
use crate::live::{Stop, View, Watcher};
use crate::process::{self, CpuTimes, Process};
use crate::report::{Environment, MachineTicks, OpeningReport, Report, ServerReport};
use crate::scenario::{Plan, Scenario};
use crate::slo::Watch;
use crate::socket;
use crate::stats::{rounded, rounded_fine};

/// Time between the last join and the first publish, so that the two do not mix.
const SETTLE_S: f64 = 0.2;

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
}

impl Setting {
    /// A server that speaks as Waystation does, without tokens, its process unknown.
    #[must_use]
    pub fn new(target: Target) -> Self {
        let adapter = Adapter::waystation();
        Self {
            target,
            adapter,
            tokens: Vec::new(),
            server: None,
            view: View::default(),
            stop: Stop::default(),
            watch: None,
        }
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

/// Runs a scenario.
///
/// # Errors
/// The machine refuses something the run needs; what the server does wrong stands in the report.
pub fn run(scenario: &Scenario, setting: &Setting) -> Result<Report, String> {
    socket::make_room(scenario.connections_count())?;
    let (mut environment, ticks) =
        (Environment::new(&setting.target.host, scenario.connections_count()), MachineTicks::now());
    let clock = Clock::start();
    let mut engine = Engine::new(scenario, &setting.target, &setting.adapter, &setting.tokens, clock)?;
    let (watcher, recorders) =
        Watcher::start(clock, 1, setting.server, setting.view, &setting.stop, setting.watch.clone())?;
    for recorder in recorders {
        engine.recorder = recorder;
    }
    let outcome = match scenario.plan {
        Plan::Traffic => traffic(engine, setting),
        Plan::Storm => storm(engine, setting),
        Plan::Idle => idle(engine, setting),
    };
    let mut report = outcome.map_err(|error| format!("the poll failed: {error}"))?;
    environment.note_steal(ticks);
    report.environment = environment;
    let (timeline, broken) = watcher.finish();
    report.timeline = timeline;
    // What ended for a broken objective has been judged; what somebody ended has not.
    if setting.stop.requested() && broken.is_none() {
        report.invalid = Some(ENDED_EARLY.to_owned());
    }
    report.slos.extend(broken);
    Ok(report)
}

fn traffic(mut engine: Engine<'_>, setting: &Setting) -> std::io::Result<Report> {
    let (scenario, clock) = (engine.scenario, engine.clock);
    let wanted = scenario.connections_count();
    let mut server = ServerReport { weight_before: setting.server.and_then(|server| server.weight()), ..empty() };
    engine.enter("connect", false, None);
    let cost = open(&mut engine, wanted, setting)?;
    let opening = OpeningReport::new(wanted, &engine.opening, cost);
    server.weight_connected = setting.server.and_then(|server| server.weight());
    engine.enter("settle", false, None);
    engine.run_until(clock.now_ns() + seconds(SETTLE_S))?;

    let start_ns = clock.now_ns();
    let from_ns = start_ns + seconds(scenario.warmup_s);
    let end_ns = from_ns + seconds(scenario.duration_s);
    engine.start_traffic(start_ns, (from_ns, end_ns));
    if from_ns > start_ns {
        engine.enter("warm-up", false, Some(from_ns));
        engine.run_until(from_ns)?;
    }
    engine.enter("measure", true, Some(end_ns));
    let cpu = || setting.server.and_then(|server| server.cpu_ns());
    let own = || Process::own().cpu_ns().unwrap_or(0);
    let (cpu_from, own_from, idle_from, time_from) = (cpu(), own(), engine.idle_ns, clock.now_ns());
    engine.set_window(true);
    engine.run_until(end_ns)?;
    let deliveries = engine.set_window(false);
    let (cpu_end, own_end, idle_end, time_end) = (cpu(), own(), engine.idle_ns, clock.now_ns());
    engine.stop_traffic();
    let deadline = clock.now_ns() + seconds(scenario.drain_s);
    engine.enter("drain", true, Some(deadline));
    engine.settle_until(deadline)?;
    engine.enter("close", false, None);
    engine.close_all()?;

    let window_ns = time_end.saturating_sub(time_from);
    let own_busy = 1.0 - idle_end.saturating_sub(idle_from) as f64 / window_ns.max(1) as f64;
    let mut report = Report::new(engine, window_ns as f64 / 1e9);
    report.openings.push(opening);
    report.own_busy = rounded_fine(own_busy);
    report.own_cpu = rounded_fine(own_end.saturating_sub(own_from) as f64 / window_ns.max(1) as f64);
    if let (Some(from), Some(end)) = (cpu_from, cpu_end) {
        let cpu_ns = end.saturating_sub(from) as f64;
        server.cpu_s = rounded_fine(cpu_ns / 1e9);
        server.busy = rounded_fine(cpu_ns / window_ns.max(1) as f64);
        server.cpu_us_per_delivery = rounded_fine(cpu_ns / 1e3 / deliveries.max(1) as f64);
        server.weight_after = setting.server.and_then(|server| server.weight());
        report.server = Some(server);
    }
    Ok(report)
}

fn storm(mut engine: Engine<'_>, setting: &Setting) -> std::io::Result<Report> {
    let (scenario, clock) = (engine.scenario, engine.clock);
    let wanted = scenario.connections_count();
    let weigh = || setting.server.and_then(|server| server.weight());
    let mut server = ServerReport { weight_before: weigh(), ..empty() };
    let mut openings = Vec::new();
    for _ in 0..2 {
        engine.enter("connect", false, None);
        let cost = open(&mut engine, wanted, setting)?;
        let hold_ns = clock.now_ns() + seconds(scenario.hold_s);
        engine.enter("hold", false, Some(hold_ns));
        engine.run_until(hold_ns)?;
        openings.push(OpeningReport::new(wanted, &engine.opening, cost));
        server.weight_connected = weigh();
        engine.enter("close", false, None);
        engine.close_all()?;
        engine.reset();
        engine.run_until(clock.now_ns() + seconds(scenario.hold_s))?;
    }
    server.weight_after = weigh();
    let mut report = Report::new(engine, 0.0);
    report.openings = openings;
    report.server = setting.server.map(|_| server);
    Ok(report)
}

fn idle(mut engine: Engine<'_>, setting: &Setting) -> std::io::Result<Report> {
    let (scenario, clock) = (engine.scenario, engine.clock);
    let weigh = || setting.server.and_then(|server| server.weight());
    let mut server = ServerReport { weight_before: weigh(), ..empty() };
    let (mut last, mut cost) = (0, setting.server.map(|_| CpuTimes::default()));
    for &step in &scenario.steps {
        engine.enter("connect", false, None);
        let step_cost = open(&mut engine, step, setting)?;
        cost = cost.zip(step_cost).map(|(sum, step)| sum.plus(step));
        let hold_ns = clock.now_ns() + seconds(scenario.hold_s);
        engine.enter("idle", false, Some(hold_ns));
        engine.run_until(hold_ns)?;
        server.steps.extend(weigh().map(|weight| (engine.opening.ready, weight)));
        last = step;
    }
    let opening = OpeningReport::new(last, &engine.opening, cost);
    engine.enter("close", false, None);
    engine.close_all()?;
    engine.run_until(clock.now_ns() + seconds(scenario.hold_s))?;
    server.weight_after = weigh();
    let points: Vec<(f64, f64)> =
        server.steps.iter().map(|(count, weight)| (*count as f64, weight.anonymous_bytes as f64)).collect();
    server.bytes_per_connection = process::slope(&points).map(rounded);
    let mut report = Report::new(engine, 0.0);
    report.openings.push(opening);
    report.server = setting.server.map(|_| server);
    Ok(report)
}

/// Opens connections; what that cost the server, from before the first connect to after the last join.
fn open(engine: &mut Engine<'_>, wanted: usize, setting: &Setting) -> std::io::Result<Option<CpuTimes>> {
    let times = || setting.server.and_then(|server| server.cpu_times());
    let before = times();
    engine.open(wanted)?;
    Ok(before.zip(times()).map(|(before, after)| after.since(before)))
}

fn empty() -> ServerReport {
    ServerReport::default()
}
