//! Asking shards: a question goes into a shard's inbox, its answer comes back through a bounded channel.
//!
//! Whoever asks waits, up to a deadline; no shard does. A question that finds an inbox full fails at once, an
//! answer that comes too late is dropped.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use glommio::sync::Semaphore;

use super::within;
use crate::code::ErrorCode;
use crate::ids::ShardId;
use crate::limits::{ADMIN_ANSWER_DEADLINE_MS, ADMIN_QUESTIONS_MAX};
use crate::mesh::{Parcel, Post};
use crate::route::{self, HashKey};
use crate::shard::message::outside::{Answered, Ask, Question, Reply};
use crate::shard::message::{Lane, MeshMessage};

/// What became of a question.
pub(super) type Outcome = Result<Reply, ErrorCode>;

/// Puts questions and brings the answers back to who asked.
#[derive(Debug)]
pub(super) struct Asker {
    post: Post<Parcel>,
    key: HashKey,
    shards: u16,
    /// By the number of the question: who waits, and the place of the answer there.
    waiting: RefCell<HashMap<u64, (Rc<Gathering>, usize)>>,
    next: Cell<u64>,
    room: Semaphore,
}

/// The answers to questions that were asked together.
#[derive(Debug)]
struct Gathering {
    outcomes: RefCell<Vec<Option<Outcome>>>,
    left: Cell<usize>,
    waker: RefCell<Option<Waker>>,
}

impl Gathering {
    fn settle(&self, index: usize, outcome: Outcome) {
        if let Some(place) = self.outcomes.borrow_mut().get_mut(index).filter(|place| place.is_none()) {
            *place = Some(outcome);
            self.left.set(self.left.get() - 1);
        }
        if self.left.get() == 0
            && let Some(waker) = self.waker.take()
        {
            waker.wake();
        }
    }
}

impl Asker {
    pub(super) fn new(post: Post<Parcel>, key: HashKey) -> Self {
        let shards = u16::try_from(post.shards()).unwrap_or(u16::MAX);
        let room = Semaphore::new(ADMIN_QUESTIONS_MAX as u64);
        Self { post, key, shards, waiting: RefCell::default(), next: Cell::new(0), room }
    }

    /// All shards.
    pub(super) fn shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..self.shards).map(ShardId)
    }

    /// The shard that knows most of a channel.
    pub(super) fn home(&self, channel: &str) -> ShardId {
        route::home(&self.key, channel, self.shards)
    }

    /// Asks one shard.
    ///
    /// # Cancel safety
    /// As [`Self::ask`].
    pub(super) async fn ask_one(&self, to: ShardId, ask: Ask) -> Outcome {
        self.ask(vec![(to, ask)]).await.pop().unwrap_or(Err(ErrorCode::ServerError))
    }

    /// Asks shards, at most [`ADMIN_QUESTIONS_MAX`] questions at once. The outcomes are in the questions' order, and
    /// a shard gets its questions in it.
    ///
    /// # Cancel safety
    /// What was asked is done all the same; the answers are lost, and their places until the executor ends.
    pub(super) async fn ask(&self, questions: Vec<(ShardId, Ask)>) -> Vec<Outcome> {
        self.ask_within(ADMIN_ANSWER_DEADLINE_MS, questions).await
    }

    /// The same, with a deadline of its own.
    ///
    /// # Cancel safety
    /// As [`Self::ask`].
    pub(super) async fn ask_within(&self, ms: u64, questions: Vec<(ShardId, Ask)>) -> Vec<Outcome> {
        let count = questions.len();
        let Ok(_permit) = self.room.acquire_permit(count as u64).await else {
            return (0..count).map(|_| Err(ErrorCode::Overloaded)).collect();
        };
        let gathering = Rc::new(Gathering {
            outcomes: RefCell::new((0..count).map(|_| None).collect()),
            left: Cell::new(count),
            waker: RefCell::default(),
        });
        let first = self.next.get();
        self.next.set(first + count as u64);
        for ((index, (to, ask)), ticket) in questions.into_iter().enumerate().zip(first..) {
            let question = Question { ticket, ask };
            let parcel = Parcel::Message(MeshMessage::Question(Box::new(question)));
            if self.post.try_put(to, Lane::Data, parcel).is_ok() {
                self.waiting.borrow_mut().insert(ticket, (Rc::clone(&gathering), index));
                self.post.wake(to);
            } else {
                gathering.settle(index, Err(ErrorCode::Overloaded));
            }
        }
        let all = poll_fn(|context| {
            if gathering.left.get() == 0 {
                return Poll::Ready(Ok(()));
            }
            gathering.waker.replace(Some(context.waker().clone()));
            Poll::Pending
        });
        within(ms, all).await;
        let mut waiting = self.waiting.borrow_mut();
        for ticket in first..first + count as u64 {
            waiting.remove(&ticket);
        }
        let outcomes = gathering.outcomes.take();
        outcomes.into_iter().map(|outcome| outcome.unwrap_or(Err(ErrorCode::DeadlineExceeded))).collect()
    }

    /// An answer has come.
    pub(super) fn on_answer(&self, answered: Answered) {
        let waiter = self.waiting.borrow_mut().remove(&answered.ticket);
        if let Some((gathering, index)) = waiter {
            gathering.settle(index, answered.outcome);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::{Capacities, Mesh};
    use glommio::{LocalExecutorBuilder, Placement};

    #[test]
    fn what_has_no_room_fails_at_once_what_is_answered_has_its_place_and_the_rest_is_late() {
        let executor = LocalExecutorBuilder::new(Placement::Unbound).make().unwrap();
        executor.run(async {
            let mut mesh = Mesh::<Parcel>::new(1, Capacities { control: 1, data: 3 }).unwrap();
            let end = mesh.take_end(ShardId(0)).unwrap();
            let asker = Rc::new(Asker::new(mesh.post(ShardId::OUTSIDE), [0; 16]));
            let questions = (0..4).map(|from| (ShardId(0), Ask::Tally { from })).collect();
            let asking = Rc::clone(&asker);
            let outcomes = glommio::spawn_local(async move { asking.ask(questions).await });
            glommio::executor().yield_now().await;
            let mut tickets = Vec::new();
            while let Some((_, Parcel::Message(MeshMessage::Question(question)))) = end.inbox.try_take(Lane::Data) {
                tickets.push(question.ticket);
            }
            assert_eq!(tickets.len(), 3);
            for ticket in [tickets[1], tickets[1], tickets[2] + 100] {
                asker.on_answer(Answered { ticket, outcome: Ok(Reply::Sent(true)) });
            }
            let late = Err(ErrorCode::DeadlineExceeded);
            let expected = [&late, &Ok(Reply::Sent(true)), &late, &Err(ErrorCode::Overloaded)];
            assert_eq!(outcomes.await.iter().collect::<Vec<_>>(), expected);
            assert!(asker.waiting.borrow().is_empty(), "nobody waits for what comes later");
            asker.on_answer(Answered { ticket: tickets[0], outcome: Ok(Reply::Sent(false)) });
        });
    }
}
