//! The thread that makes the timeline of the engine's seconds, looks at the server once a second, and shows both.
//!
//! The seconds of several engine threads are put together by stage and number; one is over when all threads have handed
//! theirs in, or when some thread is two ahead.

use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use hdrhistogram::{Counter, Histogram};
use rustix::thread::CpuSet;

use crate::clock::Clock;
use crate::limits::{GRAPH_POINTS_MAX, SECONDS_QUEUED_MAX, WATCH_NS};
use crate::live::recorder::{Recorder, Second, Stage};
use crate::live::show::Show;
use crate::live::{Stop, View};
use crate::process::Process;
use crate::report::{Growing, Point, Slice, SloReport, Timeline};
use crate::slo::Watch;
use crate::stats::{rounded, rounded_fine};

/// The running thread.
#[derive(Debug)]
pub(crate) struct Watcher {
    thread: JoinHandle<(Timeline, Option<SloReport>)>,
}

/// What is watched, for people.
#[derive(Debug, Default)]
pub(crate) struct Scene {
    /// What runs, and against whom.
    pub(crate) title: String,
    /// Kinds of messages that are told apart, with their groups.
    pub(crate) kinds: Vec<String>,
}

/// One kind of messages in the last second.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct KindPicture {
    pub(super) name: String,
    /// Deliveries or answers.
    pub(super) per_s: f64,
    /// The slowest of them.
    pub(super) slowest_us: f64,
}

/// What there is to show.
#[derive(Debug)]
pub(super) struct Picture {
    /// What runs, and against whom.
    pub(super) title: String,
    pub(super) stage: Option<Stage>,
    /// When the present stage began.
    pub(super) stage_from_ns: u64,
    pub(super) wanted: u64,
    /// The last second.
    pub(super) point: Point,
    /// Latencies of the last second, from the intended send.
    pub(super) last: Option<Latencies>,
    /// Those of all measured seconds.
    total: Histogram<u64>,
    /// The same from the actual send.
    total_uncorrected: Histogram<u64>,
    /// 99 % of each of the last seconds, in microseconds.
    pub(super) graph: VecDeque<u64>,
    pub(super) published: u64,
    pub(super) delivered: u64,
    /// Kinds of messages, in the order of the groups.
    pub(super) kinds: Vec<KindPicture>,
}

/// 50, 90, 99 and 99.9 % and the longest, in microseconds.
pub(super) type Latencies = [f64; 5];

struct Watching {
    clock: Clock,
    filled: Receiver<Box<Second>>,
    give: Vec<SyncSender<Box<Second>>>,
    /// Seconds that not all threads have handed in, by stage and number, and how many have.
    pending: BTreeMap<(usize, u64), (Box<Second>, usize)>,
    timeline: Growing,
    picture: Picture,
    server: Option<Process>,
    /// Processor time of the server, and when it was read.
    server_cpu: Option<(u64, u64)>,
    /// Objectives that end the run when they are broken for long.
    watch: Option<Watch>,
    /// The one that did.
    broken: Option<SloReport>,
    stop: Stop,
}

impl Watcher {
    /// Starts it for so many engine threads; returns what each of them records into.
    ///
    /// # Errors
    /// The kernel has no thread left.
    pub(crate) fn start(
        Scene { title, kinds }: Scene,
        clock: Clock,
        threads: usize,
        server: Option<Process>,
        view: View,
        stop: &Stop,
        watch: Option<Watch>,
    ) -> Result<(Self, Vec<Recorder>), String> {
        let (fill, filled) = sync_channel(SECONDS_QUEUED_MAX);
        let (recorders, give): (Vec<_>, Vec<_>) =
            (0..threads).map(|thread| Recorder::new((thread, kinds.len()), fill.clone(), stop.clone())).unzip();
        let mut picture = Picture::new(title);
        picture.kinds = kinds.into_iter().map(|name| KindPicture { name, ..KindPicture::default() }).collect();
        let watching = Watching {
            clock,
            filled,
            give,
            pending: BTreeMap::new(),
            timeline: Growing::new(),
            picture,
            server_cpu: server.and_then(|server| Some((server.cpu_ns()?, clock.now_ns()))),
            server,
            watch,
            broken: None,
            stop: stop.clone(),
        };
        let thread = Builder::new().name("watcher".to_owned()).spawn(move || watching.run(view));
        let thread = thread.map_err(|error| format!("cannot start the watching thread: {error}"))?;
        Ok((Self { thread }, recorders))
    }

    /// Waits for the last seconds, after all recorders are finished; with the timeline comes the objective that ended
    /// the run, if one did.
    pub(crate) fn finish(self) -> (Timeline, Option<SloReport>) {
        // A watcher that panicked has said so; the run's figures do not come from it.
        self.thread.join().unwrap_or_default()
    }
}

impl Picture {
    pub(super) fn new(title: String) -> Self {
        let empty = || Histogram::new_from(&crate::report::slice_histogram());
        Self {
            title,
            stage: None,
            stage_from_ns: 0,
            wanted: 0,
            point: Point::default(),
            last: None,
            total: empty(),
            total_uncorrected: empty(),
            graph: VecDeque::new(),
            published: 0,
            delivered: 0,
            kinds: Vec::new(),
        }
    }

    /// Latencies of all that was measured so far.
    pub(super) fn measured(&self) -> Option<Latencies> {
        latencies(&self.total)
    }

    /// The same from the actual send; none in the closed loop.
    pub(super) fn measured_uncorrected(&self) -> Option<Latencies> {
        latencies(&self.total_uncorrected)
    }

    /// Takes in a second that is over.
    fn add(&mut self, second: &Second, point: Point) {
        if self.stage.is_none_or(|stage| stage.number != second.stage.number) {
            (self.stage, self.stage_from_ns) = (Some(second.stage), second.from_ns);
        }
        self.wanted = second.gauges.wanted;
        self.last = latencies(&second.corrected);
        self.published += second.published;
        self.delivered += second.delivered;
        for (kind, came) in self.kinds.iter_mut().zip(&second.kinds) {
            kind.per_s = if point.span_s > 0.0 { came.came as f64 / point.span_s } else { 0.0 };
            kind.slowest_us = came.slowest_ns as f64 / 1e3;
        }
        if second.stage.measured {
            add(&mut self.total, &second.corrected);
            add(&mut self.total_uncorrected, &second.uncorrected);
        }
        if self.graph.len() == GRAPH_POINTS_MAX {
            self.graph.pop_front();
        }
        self.graph.push_back(second.corrected.value_at_quantile(0.99) / 1000);
        self.point = point;
    }
}

impl Watching {
    fn run(mut self, view: View) -> (Timeline, Option<SloReport>) {
        step_aside();
        let mut show = Show::new(view);
        loop {
            match self.filled.recv_timeout(Duration::from_nanos(WATCH_NS)) {
                Ok(second) => self.take(second),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.close_seconds(false, &mut show);
            show.look(&self.picture, self.clock.now_ns(), &self.stop);
        }
        self.close_seconds(true, &mut show);
        (self.timeline.finish(), self.broken)
    }

    fn take(&mut self, second: Box<Second>) {
        let key = (second.stage.number, second.number);
        match self.pending.get_mut(&key) {
            Some((sum, count)) => {
                sum.merge(&second);
                *count += 1;
                self.give_back(second);
            }
            None => drop(self.pending.insert(key, (second, 1))),
        }
    }

    /// Makes points of the seconds that are over, or of all.
    fn close_seconds(&mut self, all: bool, show: &mut Show) {
        let Some(&newest) = self.pending.keys().next_back() else { return };
        while let Some(entry) = self.pending.first_entry() {
            let (stage, number) = *entry.key();
            let behind = stage + 1 < newest.0 || (stage == newest.0 && number + 2 <= newest.1);
            if !(all || behind || entry.get().1 >= self.give.len()) {
                break;
            }
            let (second, _) = entry.remove();
            let point = self.point(&second);
            // What ran before the first stage and between the last one and the end is nobody's.
            if point.span_s > 0.0 {
                self.picture.add(&second, point.clone());
                show.on_second(&self.picture);
                if let (Some(watch), None) = (&mut self.watch, &self.broken) {
                    self.broken = watch.look(&point).inspect(|_| self.stop.request());
                }
                self.timeline.push(point);
            }
            self.give_back(second);
        }
    }

    fn give_back(&self, mut second: Box<Second>) {
        second.clear();
        if let Some(give) = self.give.get(second.thread) {
            // Seconds made at a change of stage may find the queue full; they are not needed.
            let _ = give.try_send(second);
        }
    }

    fn point(&mut self, second: &Second) -> Point {
        let seconds = |ns: u64| rounded_fine(ns as f64 / 1e9);
        Point {
            at_s: seconds(second.from_ns),
            span_s: if second.stage.number == 0 { 0.0 } else { seconds(second.until_ns - second.from_ns) },
            stage: second.stage.name.to_owned(),
            measured: second.stage.measured,
            open: second.gauges.open,
            connecting: second.gauges.connecting,
            published: second.published,
            delivered: second.delivered,
            bytes: second.bytes,
            latency: Slice::new(&second.corrected),
            latency_uncorrected: Slice::new(&second.uncorrected),
            lateness_p99_us: rounded(second.lateness.value_at_quantile(0.99) as f64 / 1000.0),
            faults: second.gauges.faults,
            server_busy: self.server_busy(),
            server_anonymous_bytes: self.server.and_then(|server| server.anonymous_bytes()),
        }
    }

    /// Share of one core that the server had since this was last told.
    fn server_busy(&mut self) -> Option<f64> {
        let (cpu_ns, now_ns) = (self.server?.cpu_ns()?, self.clock.now_ns());
        // The kernel brings the figure up to date at its ticks: over a shorter time it is chance.
        if self.server_cpu.is_some_and(|(_, before)| now_ns.saturating_sub(before) < WATCH_NS) {
            return None;
        }
        let (cpu_before, before) = self.server_cpu.replace((cpu_ns, now_ns))?;
        let (cpu, time) = (cpu_ns.saturating_sub(cpu_before), now_ns.saturating_sub(before));
        (time > 0).then(|| rounded_fine(cpu as f64 / time as f64))
    }
}

fn latencies<T: Counter>(histogram: &Histogram<T>) -> Option<Latencies> {
    let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
    (!histogram.is_empty()).then(|| [0.5, 0.9, 0.99, 0.999, 1.0].map(at))
}

/// A second's counts have fewer bits than a run's.
fn add(total: &mut Histogram<u64>, second: &Histogram<u32>) {
    for value in second.iter_recorded() {
        total.saturating_record_n(value.value_iterated_to(), value.count_since_last_iteration());
    }
}

/// Lowest priority, and off the one core that the starting thread is bound to, if it is bound to one: the watcher would
/// else hold up sends or, elsewhere, the server.
fn step_aside() {
    // Neither is needed for anything but quiet; a machine that refuses gives noisier figures.
    let _ = rustix::process::nice(19);
    let Ok(bound) = rustix::thread::sched_getaffinity(None) else { return };
    if bound.count() == 1 {
        let mut others = CpuSet::new();
        for core in (0..CpuSet::MAX_CPU).filter(|&core| !bound.is_set(core)) {
            others.set(core);
        }
        let _ = rustix::thread::sched_setaffinity(None, &others);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::SECOND_NS;
    use crate::live::Gauges;

    #[test]
    fn the_seconds_of_two_threads_are_one_point() {
        let clock = Clock::start();
        let (watcher, recorders) =
            Watcher::start(Scene::default(), clock, 2, None, View::Nothing, &Stop::default(), None).unwrap();
        for (mut recorder, open) in recorders.into_iter().zip([10, 20]) {
            let gauges = Gauges { open, wanted: 15, faults: 1, ..Gauges::default() };
            recorder.enter("warm-up", false, None, 0, gauges);
            recorder.on_delivery(100, false, 1_000_000, None);
            recorder.enter("measure", true, None, SECOND_NS, gauges);
            recorder.on_publish(Some(open * 1000));
            recorder.on_delivery(100, true, 2_000_000, Some(1_000_000));
            recorder.cut(2 * SECOND_NS, gauges);
            recorder.on_delivery(100, true, 4_000_000, Some(3_000_000));
            recorder.finish(2 * SECOND_NS + SECOND_NS / 2, gauges);
        }
        let points = watcher.finish().0.points;
        let found: Vec<_> = points.iter().map(|point| (point.stage.as_str(), point.at_s, point.span_s)).collect();
        assert_eq!(found, [("warm-up", 0.0, 1.0), ("measure", 1.0, 1.0), ("measure", 2.0, 0.5)]);
        assert!(points.iter().all(|point| (point.open, point.faults, point.delivered) == (30, 2, 2)), "{points:?}");
        let counts = points.iter().map(|point| point.latency.decode().unwrap().unwrap().len());
        assert_eq!(counts.collect::<Vec<_>>(), [2, 2, 2]);
        assert_eq!((points[0].measured, points[1].measured, points[1].published), (false, true, 2));
        assert!((points[1].lateness_p99_us / 20.0 - 1.0).abs() < 0.01 && points[1].server_busy.is_none());
    }

    #[test]
    fn a_thread_that_is_behind_holds_nothing_up_for_long() {
        let clock = Clock::start();
        let (watcher, mut recorders) =
            Watcher::start(Scene::default(), clock, 2, None, View::Nothing, &Stop::default(), None).unwrap();
        let mut late = recorders.pop().unwrap();
        late.enter("measure", true, None, 0, Gauges::default());
        let mut one = recorders.pop().unwrap();
        one.enter("measure", true, None, 0, Gauges::default());
        for second in 1..=200 {
            one.on_delivery(1, true, 1000, None);
            one.cut(second * SECOND_NS, Gauges::default());
            if second % 50 == 0 {
                Clock::sleep(Duration::from_millis(5));
            }
        }
        one.finish(201 * SECOND_NS, Gauges::default());
        late.on_delivery(1, true, 1000, None);
        late.finish(201 * SECOND_NS, Gauges::default());
        let points = watcher.finish().0.points;
        assert_eq!(points.iter().map(|point| point.delivered).sum::<u64>(), 201);
    }
}
