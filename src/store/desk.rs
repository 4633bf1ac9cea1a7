//! The writer's dealings with shards and readers: what it takes from them and tells them, what readers look up for it.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TryRecvError};

use super::Wake;
use super::commit::Witness;
use super::reader::{Done, Job};
use super::sleep::{now, sleep, unix_ms};
use crate::ids::{Epoch, ShardId};
use crate::ledger::{Bounds, ChannelNumber, Ledger, Notice, Open, Opening, Request, Ticket, Trouble};
use crate::limits::{
    STORE_COMMIT_BYTES_MAX, STORE_COMMIT_WRITES_MAX, STORE_JOBS_MAX, STORE_LOOK_MS, STORE_QUEUE_ITEMS, STORE_SWEEP_MS,
};
use crate::mesh::Bell;
use crate::mesh::store::StoreEnd;
use crate::metrics::store::{StoreNumber, StoreNumbers};

/// What the writer has of others.
pub(super) struct Desk {
    pub(super) ledger: Ledger,
    pub(super) told: Told,
    jobs: Sender<Job>,
    done: Receiver<Done>,
    /// Jobs that were given out and whose results were not taken.
    jobs_open: usize,
    /// What was taken of each shard while a commit did not succeed, for the batch after it.
    held: Vec<VecDeque<(Ticket, Request)>>,
    /// Channels that these are about.
    concerned: HashSet<ChannelNumber>,
    /// What readers planned meanwhile.
    planned: Vec<Done>,
    /// Channels to be trimmed that wait to be opened.
    old: VecDeque<Box<str>>,
    sweep: Sweep,
    /// A part of it has come to its end.
    swept: bool,
    /// Other bounds, when there are some.
    news: Receiver<Bounds>,
    /// What a reader is at was begun with bounds that hold no longer.
    anew: bool,
    bell: Arc<Bell>,
    numbers: Arc<StoreNumbers>,
}

/// Where the search for old events is.
#[derive(Clone, Copy, Debug)]
enum Sweep {
    /// It goes on behind this channel, from then on.
    From(ChannelNumber, Instant),
    /// A reader is at it.
    Running,
}

/// The other ends of the links.
pub(super) struct Told {
    ends: Vec<StoreEnd>,
    /// Shards that ended.
    gone: Vec<bool>,
    wake: Wake,
    /// Whether commits go on, for those who have not taken it yet.
    owed: Vec<Option<Notice>>,
}

impl Told {
    pub(super) fn tell(&mut self, shard: ShardId, notice: Notice) {
        let Some(end) = self.ends.get(shard.index()) else { return };
        let placed = end.answers.try_send(notice);
        debug_assert!(!placed.is_err_and(|error| error.is_full()), "every answer that is owed has its place");
        (self.wake)(shard);
    }

    /// Tells all shards how commits go. Who has no place now is told the latest later.
    pub(super) fn tell_all(&mut self, notice: &Notice) {
        self.owed.fill(Some(notice.clone()));
        self.tell_owed();
    }

    pub(super) fn tell_owed(&mut self) {
        for (index, owed) in self.owed.iter_mut().enumerate() {
            let Some(notice) = owed.take() else { continue };
            let spare = self.ends[index].answers.capacity().is_some_and(|all| self.ends[index].answers.len() < all / 2);
            if !spare || self.ends[index].answers.try_send(notice.clone()).is_err_and(|error| error.is_full()) {
                *owed = Some(notice);
            } else if let Ok(shard) = u16::try_from(index) {
                (self.wake)(ShardId(shard));
            }
        }
    }
}

impl Desk {
    pub(super) fn new(
        ledger: Ledger,
        (ends, jobs, done, news): (Vec<StoreEnd>, Sender<Job>, Receiver<Done>, Receiver<Bounds>),
        (bell, wake, numbers): (Arc<Bell>, Wake, Arc<StoreNumbers>),
    ) -> Self {
        let (gone, owed) = (vec![false; ends.len()], vec![None; ends.len()]);
        Self {
            ledger,
            held: ends.iter().map(|_| VecDeque::new()).collect(),
            concerned: HashSet::new(),
            told: Told { ends, gone, wake, owed },
            jobs,
            done,
            jobs_open: 0,
            planned: Vec::new(),
            old: VecDeque::new(),
            sweep: Sweep::From(ChannelNumber(0), now() + Duration::from_millis(STORE_SWEEP_MS)),
            swept: false,
            news,
            anew: false,
            bell,
            numbers,
        }
    }

    /// Whether all shards have ended and everything that they put was taken.
    pub(super) fn is_over(&self) -> bool {
        self.told.gone.iter().all(|gone| *gone)
    }

    /// Whether no reader looks up anything.
    pub(super) const fn is_idle(&self) -> bool {
        self.jobs_open == 0
    }

    /// Whether a shard ended with something sequenced that it did not put.
    pub(super) fn is_unfinished(&self) -> bool {
        self.told.ends.iter().any(StoreEnd::is_unfinished)
    }

    /// Takes what shards and readers have put, as far as it fits the batch. Returns whether anything came.
    pub(super) fn collect(&mut self) -> bool {
        let mut any = self.take_news();
        for planned in std::mem::take(&mut self.planned) {
            any = true;
            self.on_done(planned);
        }
        while let Ok(done) = self.done.try_recv() {
            any = true;
            self.jobs_open -= 1;
            self.on_done(done);
        }
        let unix_ms = unix_ms();
        for (index, end) in self.told.ends.iter().enumerate() {
            let Ok(shard) = u16::try_from(index).map(ShardId) else { continue };
            // An equal share of the batch, so that no shard fills it alone.
            for _ in 0..STORE_COMMIT_WRITES_MAX / self.told.ends.len() {
                if self.ledger.weight().1 >= STORE_COMMIT_BYTES_MAX {
                    break;
                }
                match self.held[index].pop_front().map_or_else(|| end.requests.try_recv(), Ok) {
                    Ok((ticket, request)) => {
                        any = true;
                        self.ledger.take(shard, ticket, request, unix_ms);
                    }
                    Err(TryRecvError::Disconnected) => {
                        self.told.gone[index] = true;
                        break;
                    }
                    Err(TryRecvError::Empty) => break,
                }
            }
        }
        if self.held.iter().all(VecDeque::is_empty) {
            self.concerned.clear();
        }
        any
    }

    /// Takes other bounds, if there are some: all channels are looked at for what is over them, from the first one on.
    fn take_news(&mut self) -> bool {
        let Ok(bounds) = self.news.try_recv() else { return false };
        self.ledger.set_bounds(bounds);
        match self.sweep {
            Sweep::From(..) => self.sweep = Sweep::From(ChannelNumber(0), now()),
            Sweep::Running => self.anew = true,
        }
        true
    }

    /// Whether a part of a search for old events has come to its end since the last call.
    pub(super) const fn take_swept(&mut self) -> bool {
        std::mem::replace(&mut self.swept, false)
    }

    /// Writes that wait, in the batch or before it.
    pub(super) fn count_queue(&self) {
        let queued: usize = self.told.ends.iter().map(|end| end.requests.len()).sum();
        let held: usize = self.held.iter().map(VecDeque::len).sum();
        self.numbers.set(StoreNumber::Queued, (self.ledger.weight().0 + queued + held) as u64);
    }

    fn on_done(&mut self, done: Done) {
        match done {
            Done::Opened(opening, found) => {
                if let Some((shard, notice)) = self.ledger.on_opened(&opening, found) {
                    self.told.tell(shard, notice);
                }
            }
            Done::Trimmed(job, planned) => {
                if let Err(fault) = &planned {
                    tracing::warn!(channel = &*job.line.name, %fault, "events over the bounds cannot be removed");
                }
                if let Some((shard, notice)) = self.ledger.on_trimming(&job, planned) {
                    self.told.tell(shard, notice);
                }
            }
            Done::Forgotten(planned) => {
                if let Some((shard, notice)) = self.ledger.on_forgetting(planned) {
                    self.told.tell(shard, notice);
                }
            }
            Done::Swept(found) => {
                let anew = std::mem::take(&mut self.anew);
                let next = found.as_ref().ok().and_then(|(_, next)| *next).filter(|_| !anew);
                // A look that found its end begins again after a while, one that did not goes on at once.
                let pause = if next.is_some() || anew { STORE_LOOK_MS } else { STORE_SWEEP_MS };
                self.sweep = Sweep::From(next.unwrap_or(ChannelNumber(0)), now() + Duration::from_millis(pause));
                self.old.extend(found.map(|(due, _)| due).unwrap_or_default());
                self.swept = true;
            }
        }
    }

    /// Gives readers what is to be looked up, as far as there is room.
    pub(super) fn dispatch(&mut self) {
        let all = STORE_JOBS_MAX.saturating_sub(self.jobs_open);
        let mut jobs: Vec<Job> = self.ledger.take_openings(all).into_iter().map(Job::Open).collect();
        let room = (all - jobs.len()) / 2;
        jobs.extend(self.ledger.take_trim_jobs(room).into_iter().map(Job::Trim));
        for name in self.old.drain(..room.min(self.old.len())) {
            if self.ledger.open_to_trim(&name) {
                let open = Open { channel: name.into(), fresh: Epoch(0), tail_bytes: 0, tail_count: 0 };
                jobs.push(Job::Open(Opening { asked: None, open }));
            }
        }
        if let Sweep::From(after, at) = self.sweep
            && jobs.len() < all
            && self.old.is_empty()
            && now() >= at
        {
            self.sweep = Sweep::Running;
            jobs.push(Job::Sweep(after, self.ledger.bounds().clone()));
        }
        if jobs.len() < all {
            jobs.extend(self.ledger.take_forget_job().map(Job::Forget));
        }
        self.give(jobs);
    }

    fn give(&mut self, jobs: Vec<Job>) {
        self.jobs_open += jobs.len();
        for job in jobs {
            let placed = self.jobs.try_send(job);
            debug_assert!(placed.is_ok(), "there is a place for each job");
        }
    }

    /// Sleeps until somebody puts something, or it is time for a search.
    pub(super) fn rest(&self) {
        let until = match self.sweep {
            Sweep::From(_, at) => at.saturating_duration_since(now()),
            Sweep::Running => Duration::from_millis(STORE_SWEEP_MS),
        };
        self.bell.announce();
        let mut ends = self.told.ends.iter().zip(&self.told.gone);
        let quiet = |(end, gone): (&StoreEnd, &bool)| end.requests.is_empty() && (*gone || !end.is_abandoned());
        if self.done.is_empty() && self.news.is_empty() && ends.all(quiet) {
            sleep(&self.bell, until.min(Duration::from_millis(STORE_SWEEP_MS)));
        }
        self.bell.rise();
    }

    /// Sleeps for a part of a window.
    pub(super) fn nap(&self, left: Duration) {
        sleep(&self.bell, left.min(Duration::from_millis(STORE_LOOK_MS)));
    }

    /// What is asked while a commit does not succeed: channels of which nothing waits to be written are opened from what
    /// is committed, everything else waits in its order.
    fn open_apart(&mut self) {
        while let Ok(done) = self.done.try_recv() {
            self.jobs_open -= 1;
            match done {
                // It would join the batch, which stays as it is.
                Done::Trimmed(..) => self.planned.push(done),
                Done::Forgotten(..) => {
                    if let Some((shard, notice)) = self.ledger.refuse_planned() {
                        self.told.tell(shard, notice);
                    }
                }
                Done::Opened(..) | Done::Swept(..) => self.on_done(done),
            }
        }
        if let Some((shard, notice)) = self.ledger.refuse_waiting() {
            self.told.tell(shard, notice);
        }
        for (index, (end, held)) in self.told.ends.iter().zip(&mut self.held).enumerate() {
            let Ok(shard) = u16::try_from(index).map(ShardId) else { continue };
            while held.len() < STORE_QUEUE_ITEMS
                && let Ok((ticket, request)) = end.requests.try_recv()
            {
                match request {
                    // A shard closes a channel before it opens it again, so this is nobody's who waits before it.
                    Request::Open(open) if !self.ledger.is_known(&open.channel) => {
                        self.ledger.take(shard, ticket, Request::Open(open), 0);
                    }
                    // Who left a full disk's channel comes back to it, maybe hours later.
                    Request::Close(channel) if !self.concerned.contains(&channel) => {
                        self.ledger.take(shard, ticket, Request::Close(channel), 0);
                    }
                    request => {
                        self.concerned.extend(request.channel());
                        held.push_back((ticket, request));
                    }
                }
            }
        }
        let room = STORE_JOBS_MAX.saturating_sub(self.jobs_open);
        let jobs = self.ledger.take_openings_apart(room).into_iter().map(Job::Open).collect();
        self.give(jobs);
    }
}

impl Witness for Desk {
    fn on_trouble(&mut self, trouble: Trouble) {
        self.told.tell_all(&Notice::Trouble(trouble));
    }

    fn is_alone(&self) -> bool {
        self.told.ends.iter().all(StoreEnd::is_abandoned)
    }

    fn attend(&mut self, at_most: Duration) {
        self.bell.announce();
        self.told.tell_owed();
        self.open_apart();
        self.count_queue();
        sleep(&self.bell, at_most);
        self.bell.rise();
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::bounded;

    use super::*;
    use crate::ids::Seq;
    use crate::ledger::{Append, Keep, Memory, State};
    use crate::limits::TRIM_SLACK_EVENTS_MIN;
    use crate::mesh::store_links;
    use crate::payload::Payload;

    /// A channel that is to be trimmed.
    fn overfill(ledger: &mut Ledger, name: &str) {
        let open = Open { channel: Arc::from(name), fresh: Epoch(1), tail_bytes: 0, tail_count: 0 };
        let opening = Opening { asked: Some((ShardId(0), Ticket(1))), open };
        let opened = ledger.on_opened(&opening, Ok(None));
        let Some((_, Notice::Opened(_, Ok(past)))) = opened else { panic!("{opened:?}") };
        for seq in 1..=TRIM_SLACK_EVENTS_MIN + 1 {
            let body = Payload::copy_of(b"");
            let append = Append { channel: past.channel, epoch: Epoch(1), seq: Seq(seq), unix_ms: 0, body };
            ledger.take(ShardId(0), Ticket(seq), Request::Append(append), 0);
        }
    }

    #[test]
    fn no_more_is_given_out_than_there_is_a_place_for() {
        let bell = Arc::new(Bell::new().unwrap());
        let (_links, ends, _asked) = store_links(1, &bell);
        let fresh = State { generation: 0, stopped: None, key: [0; 16], id: 1 };
        let none = Keep { count: 0, bytes: u64::MAX / 2, age_ms: u64::MAX / 2 };
        let mut ledger = Ledger::start(&Memory::default(), fresh, none.into()).unwrap();
        for channel in 0..STORE_JOBS_MAX {
            overfill(&mut ledger, &format!("chat:{channel}"));
        }
        ledger.seal();
        ledger.on_committed();
        let ((jobs, to_do), (_done, done)) = (bounded(2 * STORE_JOBS_MAX), bounded(0));
        let wake: Wake = Arc::new(|_| {});
        let (_bounds, news) = bounded(1);
        let mut desk = Desk::new(ledger, (ends, jobs, done, news), (bell, wake, StoreNumbers::shared()));
        desk.sweep = Sweep::From(ChannelNumber(0), now());
        desk.old.extend((0..STORE_JOBS_MAX / 2).map(|channel| format!("trip:{channel}").into()));
        desk.dispatch();
        assert_eq!((to_do.len(), desk.jobs_open), (STORE_JOBS_MAX, STORE_JOBS_MAX));
        assert!(desk.old.is_empty() && matches!(desk.sweep, Sweep::From(..)), "it begins when there is room");
    }

    #[test]
    fn a_search_that_is_under_way_begins_anew_with_other_bounds() {
        let bell = Arc::new(Bell::new().unwrap());
        let (_links, ends, _asked) = store_links(1, &bell);
        let fresh = State { generation: 0, stopped: None, key: [0; 16], id: 1 };
        let keep = |count| Keep { count, bytes: 1, age_ms: 1 };
        let ledger = Ledger::start(&Memory::default(), fresh, keep(1).into()).unwrap();
        let ((jobs, _to_do), (_done, done), (bounds, news)) = (bounded(1), bounded(1), bounded(1));
        let wake: Wake = Arc::new(|_| {});
        let mut desk = Desk::new(ledger, (ends, jobs, done, news), (bell, wake, StoreNumbers::shared()));
        desk.sweep = Sweep::Running;
        bounds.send(keep(2).into()).unwrap();
        assert!(desk.collect());
        assert_eq!(desk.ledger.bounds().of("chat:a"), keep(2));
        desk.on_done(Done::Swept(Ok((Vec::new(), Some(ChannelNumber(7))))));
        assert!(matches!(desk.sweep, Sweep::From(ChannelNumber(0), _)), "{:?}", desk.sweep);
        desk.sweep = Sweep::Running;
        desk.on_done(Done::Swept(Ok((Vec::new(), Some(ChannelNumber(7))))));
        assert!(matches!(desk.sweep, Sweep::From(ChannelNumber(7), _)), "{:?}", desk.sweep);
    }
}
