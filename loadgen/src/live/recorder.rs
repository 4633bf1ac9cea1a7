//! What a thread of the engine notes while it works, by the second.
//!
//! A `Second` is filled in place: a delivery costs a few additions and no allocation. At its end it goes to the watching
//! thread through a bounded queue and an empty one comes back the same way; the engine never waits for either. If the
//! watcher is behind and has given none back, the present one goes on and becomes a longer one: nothing is lost.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use hdrhistogram::Histogram;

use crate::limits::{SECOND_NS, SECONDS_QUEUED_MAX, SECONDS_SPARE_COUNT};
use crate::live::Stop;
use crate::report::slice_histogram;

/// What happened in one second of one thread.
#[derive(Debug)]
pub(crate) struct Second {
    /// Which thread.
    pub(super) thread: usize,
    pub(super) stage: Stage,
    /// Which second of its stage, from 0.
    pub(super) number: u64,
    pub(super) from_ns: u64,
    pub(super) until_ns: u64,
    pub(super) gauges: Gauges,
    pub(super) published: u64,
    pub(super) delivered: u64,
    pub(super) bytes: u64,
    pub(super) corrected: Histogram<u32>,
    pub(super) uncorrected: Histogram<u32>,
    pub(super) lateness: Histogram<u32>,
    /// By kind, those of all groups one after the other.
    pub(super) kinds: Vec<KindSecond>,
}

/// What came of one kind in one second.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct KindSecond {
    /// Deliveries or answers.
    pub(super) came: u64,
    /// The longest that one of them took, from its intended send.
    pub(super) slowest_ns: u64,
}

impl KindSecond {
    fn merge(&mut self, other: Self) {
        self.came += other.came;
        self.slowest_ns = self.slowest_ns.max(other.slowest_ns);
    }
}

/// What the run is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stage {
    /// Which one, from 0.
    pub(crate) number: usize,
    /// As it stands in the report.
    pub(crate) name: &'static str,
    /// Whether latencies now come from publishes of the measured time: others are then left out, and else only they.
    pub(crate) measured: bool,
    /// When it is to end, if that is known.
    pub(crate) until_ns: Option<u64>,
}

/// What stands at one moment.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gauges {
    /// Connections that the run wants.
    pub(crate) wanted: u64,
    /// Connections that may publish and be delivered to.
    pub(crate) open: u64,
    /// Connections on the way there.
    pub(crate) connecting: u64,
    /// Faults of any kind since the run's beginning.
    pub(crate) faults: u64,
}

/// The engine's end of the queues.
#[derive(Debug)]
pub(crate) struct Recorder {
    second: Box<Second>,
    /// When the present stage began.
    stage_from_ns: u64,
    /// When the present second ends.
    next_ns: u64,
    queues: Option<Queues>,
    stop: Stop,
}

#[derive(Debug)]
struct Queues {
    filled: SyncSender<Box<Second>>,
    empty: Receiver<Box<Second>>,
}

impl Second {
    fn new(thread: usize, kinds: usize) -> Box<Self> {
        let stage = Stage { number: 0, name: "start", measured: false, until_ns: None };
        Box::new(Self {
            thread,
            stage,
            number: 0,
            from_ns: 0,
            until_ns: 0,
            gauges: Gauges::default(),
            published: 0,
            delivered: 0,
            bytes: 0,
            corrected: slice_histogram(),
            uncorrected: slice_histogram(),
            lateness: slice_histogram(),
            kinds: vec![KindSecond::default(); kinds],
        })
    }

    /// Takes in the same second of another thread, or the next one.
    pub(super) fn merge(&mut self, other: &Self) {
        self.from_ns = self.from_ns.min(other.from_ns);
        self.until_ns = self.until_ns.max(other.until_ns);
        self.gauges.wanted += other.gauges.wanted;
        self.gauges.open += other.gauges.open;
        self.gauges.connecting += other.gauges.connecting;
        self.gauges.faults += other.gauges.faults;
        self.published += other.published;
        self.delivered += other.delivered;
        self.bytes += other.bytes;
        for (own, others) in [
            (&mut self.corrected, &other.corrected),
            (&mut self.uncorrected, &other.uncorrected),
            (&mut self.lateness, &other.lateness),
        ] {
            // All have the same bounds, and so nothing can be refused.
            let _ = own.add(others);
        }
        self.kinds.iter_mut().zip(&other.kinds).for_each(|(own, others)| own.merge(*others));
    }

    /// Makes it an empty one.
    pub(super) fn clear(&mut self) {
        (self.published, self.delivered, self.bytes) = (0, 0, 0);
        self.corrected.reset();
        self.uncorrected.reset();
        self.lateness.reset();
        self.kinds.fill(KindSecond::default());
    }
}

impl Recorder {
    /// One whose seconds nobody sees: the first one never ends.
    pub(crate) fn unseen() -> Self {
        Self { second: Second::new(0, 0), stage_from_ns: 0, next_ns: u64::MAX, queues: None, stop: Stop::default() }
    }

    /// One for a thread, with so many kinds of messages, and the queue by which it is given empty seconds.
    pub(crate) fn new(
        (thread, kinds): (usize, usize),
        filled: SyncSender<Box<Second>>,
        stop: Stop,
    ) -> (Self, SyncSender<Box<Second>>) {
        let (give, empty) = sync_channel(SECONDS_QUEUED_MAX);
        for _ in 0..SECONDS_SPARE_COUNT {
            // The queue is new and holds more than the spare ones.
            let _ = give.try_send(Second::new(thread, kinds));
        }
        let second = Second::new(thread, kinds);
        (Self { second, stage_from_ns: 0, next_ns: u64::MAX, queues: Some(Queues { filled, empty }), stop }, give)
    }

    /// Whether somebody wants the run to end now.
    pub(crate) fn stopped(&self) -> bool {
        self.stop.requested()
    }

    /// Whether the present second is over.
    pub(crate) fn is_due(&self, now_ns: u64) -> bool {
        now_ns >= self.next_ns
    }

    /// Ends the present second, if there is an empty one to go on with.
    pub(crate) fn cut(&mut self, now_ns: u64, gauges: Gauges) {
        let stage = self.second.stage;
        let number = now_ns.saturating_sub(self.stage_from_ns) / SECOND_NS;
        self.next_ns = self.stage_from_ns.saturating_add(SECOND_NS.saturating_mul(number + 1));
        let Some(Queues { empty, .. }) = &self.queues else { return };
        if let Ok(next) = empty.try_recv() {
            self.exchange(next, now_ns, gauges);
            (self.second.stage, self.second.number) = (stage, number);
        }
    }

    /// Begins a stage. Stages change between measurements, so an empty second may be made here if none came back.
    pub(crate) fn enter(
        &mut self,
        name: &'static str,
        measured: bool,
        until_ns: Option<u64>,
        now_ns: u64,
        gauges: Gauges,
    ) {
        let Second { thread, ref kinds, .. } = *self.second;
        let (number, kinds) = (self.second.stage.number + 1, kinds.len());
        let Some(Queues { empty, .. }) = &self.queues else { return };
        let next = empty.try_recv().unwrap_or_else(|_| Second::new(thread, kinds));
        self.exchange(next, now_ns, gauges);
        self.second.stage = Stage { number, name, measured, until_ns };
        self.second.number = 0;
        self.stage_from_ns = now_ns;
        self.next_ns = now_ns.saturating_add(SECOND_NS);
    }

    /// Hands in the last second.
    pub(crate) fn finish(&mut self, now_ns: u64, gauges: Gauges) {
        self.enter("end", false, None, now_ns, gauges);
        self.queues = None;
    }

    fn exchange(&mut self, next: Box<Second>, now_ns: u64, gauges: Gauges) {
        let mut full = std::mem::replace(&mut self.second, next);
        (full.until_ns, full.gauges) = (now_ns, gauges);
        self.second.from_ns = now_ns;
        let Some(Queues { filled, .. }) = &self.queues else { return };
        match filled.try_send(full) {
            Ok(()) => {}
            // There are fewer seconds than places, but for one more at each change of stage: to wait is right there.
            Err(TrySendError::Full(full)) => drop(filled.send(full)),
            // The watcher is gone: what it would have shown is lost, the run is not.
            Err(TrySendError::Disconnected(_)) => self.queues = None,
        }
    }

    /// A publish left, so late if it had a time to leave at.
    pub(crate) fn on_publish(&mut self, lateness_ns: Option<u64>) {
        self.second.published += 1;
        if let Some(lateness_ns) = lateness_ns {
            self.second.lateness.saturating_record(lateness_ns);
        }
    }

    /// A delivery came; `measured` says whether its publish was to be sent in the measured time.
    pub(crate) fn on_delivery(&mut self, bytes: usize, measured: bool, latency_ns: u64, uncorrected_ns: Option<u64>) {
        let second = &mut *self.second;
        second.delivered += 1;
        second.bytes += u64::try_from(bytes).unwrap_or(0);
        if measured == second.stage.measured {
            second.corrected.saturating_record(latency_ns);
            if let Some(uncorrected_ns) = uncorrected_ns {
                second.uncorrected.saturating_record(uncorrected_ns);
            }
        }
    }

    /// What came was of this kind, and took so long from its intended send.
    pub(crate) fn on_kind(&mut self, kind: usize, latency_ns: u64) {
        if let Some(kind) = self.second.kinds.get_mut(kind) {
            kind.merge(KindSecond { came: 1, slowest_ns: latency_ns });
        }
    }

    /// A delivery came of what a member had missed.
    pub(crate) fn on_replay(&mut self, bytes: usize) {
        self.second.delivered += 1;
        self.second.bytes += u64::try_from(bytes).unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorder() -> (Recorder, Receiver<Box<Second>>, SyncSender<Box<Second>>) {
        let (filled, out) = sync_channel(SECONDS_QUEUED_MAX);
        let (recorder, give) = Recorder::new((3, 2), filled, Stop::default());
        (recorder, out, give)
    }

    fn gauges(open: u64) -> Gauges {
        Gauges { open, ..Gauges::default() }
    }

    #[test]
    fn a_second_holds_what_happened_in_it() {
        let (mut recorder, out, _give) = recorder();
        recorder.enter("steady", true, Some(9), 100, gauges(1));
        assert!(!recorder.is_due(SECOND_NS + 99) && recorder.is_due(SECOND_NS + 100));
        recorder.on_publish(Some(5000));
        recorder.on_publish(None);
        recorder.on_delivery(400, true, 2_000_000, Some(1_000_000));
        recorder.on_delivery(300, false, 9_000_000, None);
        recorder.on_replay(100);
        recorder.on_kind(1, 7);
        recorder.on_kind(1, 5);
        recorder.on_kind(2, 9);
        recorder.cut(SECOND_NS + 107, gauges(2));
        // The grid stays where the stage began.
        assert!(!recorder.is_due(2 * SECOND_NS + 99) && recorder.is_due(2 * SECOND_NS + 100));
        recorder.finish(2 * SECOND_NS, gauges(3));
        let start = out.recv().unwrap();
        assert_eq!((start.stage.name, start.until_ns, start.gauges.open), ("start", 100, 1));
        let steady = out.recv().unwrap();
        assert_eq!((steady.thread, steady.stage.name, steady.stage.number, steady.number), (3, "steady", 1, 0));
        assert_eq!((steady.from_ns, steady.until_ns, steady.gauges.open), (100, SECOND_NS + 107, 2));
        assert_eq!((steady.published, steady.delivered, steady.bytes), (2, 3, 800));
        // What was not measured is counted, but has no part in the latencies of a measured second.
        let of_kinds = [KindSecond::default(), KindSecond { came: 2, slowest_ns: 7 }];
        assert_eq!(steady.kinds, of_kinds, "a kind that nobody knows is not counted");
        let lengths = (steady.corrected.len(), steady.uncorrected.len(), steady.lateness.len());
        assert_eq!(lengths, (1, 1, 1));
        let last = out.recv().unwrap();
        assert_eq!((last.stage.name, last.number, last.delivered, last.gauges.open), ("steady", 1, 0, 3));
        assert!(out.recv().is_err(), "the queue is closed");
    }

    #[test]
    fn without_an_empty_second_the_present_one_goes_on() {
        let (mut recorder, out, give) = recorder();
        recorder.enter("steady", false, None, 0, gauges(0));
        let seconds = u64::try_from(SECONDS_SPARE_COUNT).unwrap() + 5;
        for second in 1..=seconds {
            recorder.on_delivery(1, false, 1000, None);
            assert!(recorder.is_due(second * SECOND_NS));
            recorder.cut(second * SECOND_NS, gauges(0));
        }
        let mut had: Vec<Box<Second>> = out.try_iter().collect();
        assert_eq!(had.len(), SECONDS_SPARE_COUNT);
        let mut back = had.pop().unwrap();
        back.clear();
        give.try_send(back).unwrap();
        recorder.cut((seconds + 1) * SECOND_NS, gauges(0));
        let long = out.recv().unwrap();
        assert_eq!(had.iter().map(|second| second.delivered).sum::<u64>() + 1 + long.delivered, seconds);
        assert!(long.until_ns - long.from_ns > SECOND_NS);
    }

    #[test]
    fn a_stage_begins_even_if_no_empty_second_is_left() {
        let (mut recorder, out, _give) = recorder();
        for _ in 0..SECONDS_SPARE_COUNT + 3 {
            recorder.enter("steady", false, None, 5, gauges(0));
        }
        assert_eq!(out.try_iter().count(), SECONDS_SPARE_COUNT + 3);
    }

    #[test]
    fn a_watcher_that_is_gone_does_not_stop_the_engine() {
        let (mut recorder, out, _give) = recorder();
        drop(out);
        recorder.enter("steady", false, None, 5, gauges(0));
        recorder.on_publish(None);
        recorder.cut(SECOND_NS, gauges(0));
        let mut unseen = Recorder::unseen();
        unseen.enter("steady", false, None, 5, gauges(0));
        unseen.on_delivery(1, true, 1, None);
        assert!(!unseen.is_due(u64::MAX - 1) && !unseen.stopped());
    }

    #[test]
    fn threads_add_up() {
        let (mut one, mut other) = (Second::new(0, 1), Second::new(1, 1));
        (one.from_ns, one.until_ns, one.delivered, one.gauges.open) = (5, 10, 3, 7);
        (other.from_ns, other.until_ns, other.delivered, other.gauges.open) = (4, 9, 4, 1);
        other.corrected.record(77).unwrap();
        (one.kinds[0], other.kinds[0]) = (KindSecond { came: 2, slowest_ns: 5 }, KindSecond { came: 1, slowest_ns: 4 });
        one.merge(&other);
        assert_eq!(one.kinds, [KindSecond { came: 3, slowest_ns: 5 }]);
        assert_eq!((one.from_ns, one.until_ns, one.delivered, one.gauges.open), (4, 10, 7, 8));
        assert_eq!(one.corrected.len(), 1);
        one.clear();
        assert_eq!((one.delivered, one.corrected.len(), one.kinds[0].came), (0, 0, 0));
    }
}
