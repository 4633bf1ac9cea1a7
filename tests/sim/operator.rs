//! An operator who erases users and channels while all else goes on, in the order in which the administration does it: the
//! own channels, memory on every shard, the store in portions, memory once more. A question takes its time; who gets no
//! answer, or a bad one, begins anew.

use std::collections::BTreeMap;
use std::sync::Arc;

use waystation::auth::token::Claims;
use waystation::code::ErrorCode;
use waystation::ids::ShardId;
use waystation::ledger::Spot;
use waystation::route;
use waystation::shard::Input;
use waystation::shard::message::MeshMessage;
use waystation::shard::message::outside::{Answered, Ask, Question, Reply, Round};
use waystation::shard::message::service::Stretch;

use super::counts::Kind;
use super::world::World;

/// A question to a shard.
#[derive(Clone, Debug)]
enum Want {
    Erase(Arc<str>),
    /// What is left of a channel that was erased.
    Rest(Arc<str>),
    Memory(Round, usize, u32),
    Store(Spot),
}

/// How far an erasure has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Begin,
    Channels,
    First,
    Store,
    Last,
}

/// An erasure that was begun and not answered yet.
#[derive(Debug)]
struct Erasure {
    user: Option<Arc<str>>,
    channels: Vec<Arc<str>>,
    stage: Stage,
    /// Steps until it goes on after a bad answer.
    waits: usize,
}

/// What was begun and is to be asked for once more.
#[derive(Debug)]
pub(crate) struct Again {
    user: Option<Arc<str>>,
    channels: Vec<Arc<str>>,
}

/// What the operator does.
#[derive(Debug, Default)]
pub(crate) struct Operator {
    erasure: Option<Erasure>,
    tickets: u64,
    /// By ticket: what was asked, and whether it is on its way yet.
    asked: BTreeMap<u64, (Want, bool)>,
    answers: Vec<Answered>,
}

impl Operator {
    /// A shard answers.
    pub(crate) fn on_answer(&mut self, answered: Answered) {
        self.answers.push(answered);
    }

    /// Whether nothing is asked.
    pub(crate) fn is_idle(&self) -> bool {
        self.erasure.is_none()
    }

    fn ask(&mut self, want: Want) {
        self.tickets += 1;
        self.asked.insert(self.tickets, (want, false));
    }
}

impl World {
    /// Now and then a user or a channel is to be erased.
    pub(crate) fn maybe_erase(&mut self) {
        if !self.operator.is_idle() || self.rng.below(200) != 0 {
            return;
        }
        let (user, channels) = if self.rng.chance(60) {
            let client = self.rng.below(self.clients.len());
            let user = self.clients[client].user.clone();
            let own = OWN.map(|prefix| Arc::from([prefix, &user].concat()));
            (Some(user), own.to_vec())
        } else {
            let all: Vec<String> = self.ledger.channels().into_iter().collect();
            if all.is_empty() {
                return;
            }
            (None, vec![Arc::from(all[self.rng.below(all.len())].as_str())])
        };
        self.begin_erasure(user.map(Arc::from), channels);
    }

    fn begin_erasure(&mut self, user: Option<Arc<str>>, channels: Vec<Arc<str>>) {
        self.ledger.erasing(user.as_deref(), &channels);
        self.operator.erasure = Some(Erasure { user, channels, stage: Stage::Begin, waits: 0 });
    }

    /// The process has ended: nobody answers. Most operators ask again, once another one runs.
    pub(crate) fn interrupt_erasure(&mut self) -> Option<Again> {
        let erasure = self.operator.erasure.take()?;
        (self.operator.asked, self.operator.answers) = (BTreeMap::new(), Vec::new());
        self.ledger.interrupted(erasure.user.as_deref(), self.now.micros);
        self.rng.chance(70).then_some(Again { user: erasure.user, channels: erasure.channels })
    }

    /// It does.
    pub(crate) fn erase_again(&mut self, again: Option<Again>) {
        if let Some(Again { user, channels }) = again {
            self.begin_erasure(user, channels);
        }
    }

    /// Answers come, questions go out.
    pub(crate) fn operate(&mut self) {
        for Answered { ticket, outcome } in std::mem::take(&mut self.operator.answers) {
            // One that comes after a bad one finds nobody.
            if let Some((want, _)) = self.operator.asked.remove(&ticket) {
                self.on_outcome(&want, outcome);
            }
        }
        let Some(erasure) = &mut self.operator.erasure else { return };
        if erasure.waits > 0 {
            erasure.waits -= 1;
            return;
        }
        if self.operator.asked.is_empty() {
            self.go_on_erasing();
        }
        let user = self.operator.erasure.as_ref().and_then(|erasure| erasure.user.clone());
        let user = user.unwrap_or_else(|| "".into());
        let waiting = self.operator.asked.iter().filter(|(_, (_, is_sent))| !is_sent);
        for ticket in waiting.map(|(ticket, _)| *ticket).collect::<Vec<_>>() {
            if !(self.calm || self.rng.chance(50)) {
                continue;
            }
            let Some((want, is_sent)) = self.operator.asked.get_mut(&ticket) else { continue };
            *is_sent = true;
            let (host, ask) = question(want, Arc::clone(&user), (&self.config.key, self.hosts.len()));
            let question = MeshMessage::Question(Box::new(Question { ticket, ask }));
            self.input(host, Input::Mesh(ShardId::OUTSIDE, question));
        }
    }

    /// The next of its stages.
    fn go_on_erasing(&mut self) {
        let (shards, operator) = (self.hosts.len(), &mut self.operator);
        let Some(erasure) = &mut operator.erasure else { return };
        let is_user = erasure.user.is_some();
        erasure.stage = match erasure.stage {
            Stage::Begin => Stage::Channels,
            Stage::Channels if is_user => Stage::First,
            Stage::First => Stage::Store,
            Stage::Store => Stage::Last,
            Stage::Channels | Stage::Last => return self.end_erasure(),
        };
        let memory = |round| (0..shards).map(|shard| Want::Memory(round, shard, 0)).collect();
        let wants: Vec<Want> = match erasure.stage {
            Stage::Begin => Vec::new(),
            Stage::Channels => erasure.channels.iter().cloned().map(Want::Erase).collect(),
            Stage::First => memory(Round::First),
            Stage::Store => vec![Want::Store(Spot::BEGIN)],
            Stage::Last => memory(Round::Last),
        };
        wants.into_iter().for_each(|want| operator.ask(want));
    }

    fn on_outcome(&mut self, want: &Want, outcome: Result<Reply, ErrorCode>) {
        let operator = &mut self.operator;
        match (want, outcome) {
            (Want::Erase(channel), Ok(Reply::Erased)) => operator.ask(Want::Rest(Arc::clone(channel))),
            (Want::Rest(channel), Ok(Reply::History(page))) => {
                let page: serde_json::Value = serde_json::from_slice(&page).expect("a history is JSON");
                // Of a channel that nobody knows nothing is left.
                self.ledger.erased_up_to(channel, page["oldest_seq"].as_u64().unwrap_or(1) - 1);
            }
            (Want::Memory(round, shard, _), Ok(Reply::Forgotten { next, .. })) => {
                next.into_iter().for_each(|from| operator.ask(Want::Memory(*round, *shard, from)));
            }
            (Want::Store(_), Ok(Reply::ForgottenStored(found))) => {
                assert_eq!(found.unreadable, 0, "nothing is damaged: {found:?}");
                found.next.into_iter().for_each(|from| operator.ask(Want::Store(from)));
            }
            (_, Err(ErrorCode::StoreUnavailable | ErrorCode::Overloaded)) => {
                operator.asked.clear();
                let waits = self.rng.below(if self.calm { 1 } else { 20 });
                if let Some(erasure) = &mut operator.erasure {
                    (erasure.stage, erasure.waits) = (Stage::Begin, waits);
                }
            }
            (want, outcome) => panic!("{want:?} is answered {outcome:?}"),
        }
    }

    /// It is answered: nothing of it can be read any more but what sockets have been given.
    fn end_erasure(&mut self) {
        let Some(erasure) = self.operator.erasure.take() else { return };
        self.counts.count(if erasure.user.is_some() { Kind::UserErased } else { Kind::ChannelErased });
        for number in &self.live {
            let socket = &self.sockets[*number];
            let client = &mut self.clients[socket.client];
            if client.socket == Some(*number) {
                client.given = socket.given();
            }
        }
        self.ledger.erased(erasure.user.as_deref(), &erasure.channels, (self.now.micros, self.serials));
    }
}

fn question(want: &Want, user: Arc<str>, (key, shards): (&[u8; 16], usize)) -> (usize, Ask) {
    let home = |channel: &str| route::home(key, channel, u16::try_from(shards).expect("a few shards")).index();
    match want {
        Want::Erase(channel) => (home(channel), Ask::Erase(Arc::clone(channel))),
        Want::Rest(channel) => {
            let claims =
                Claims { user: "operator".into(), service: true, caps: None, expires_at: u64::MAX, ties: None };
            let stretch = Stretch {
                channel: (**channel).into(),
                since: None,
                until: None,
                limit: 1,
                reverse: false,
                known: true,
            };
            (home(channel), Ask::History { claims: Arc::new(claims), stretch, epoch: None })
        }
        Want::Memory(round, shard, from) => (*shard, Ask::Forget { user, from: *from, round: *round }),
        Want::Store(from) => (0, Ask::ForgetStored { user, from: *from }),
    }
}

/// What stands before a user's id in the names of its own channels.
const OWN: [&str; 3] = ["user:", "agent:", "notifications:"];
