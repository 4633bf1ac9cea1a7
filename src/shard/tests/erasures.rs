//! Erasures of a user and of channels among everything else, by chance: whatever comes between two of their questions, a
//! number says one thing to everybody, before a stop and after it.

use std::collections::BTreeMap;

use super::erasing::erase;
use super::keeping::{acks, crash, join, start};
use super::*;
use crate::ledger::Spot;
use crate::shard::message::outside::{Ask, Reply, Round};

const CHANNELS: [&str; 3] = ["chat:a", "chat:b", "chat:c"];
const SEEDS: u64 = 40;
const ACTIONS: usize = 60;

/// Numbers by chance, the same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }
}

/// What is asked next for the erasure of Ann.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Next {
    Memory(Round, usize, u32),
    Store(Spot),
    Done,
}

impl Next {
    fn ask(self, world: &mut World) -> Self {
        let user = Arc::from("ann");
        match self {
            Self::Memory(round, shard, from) => {
                let reply = world.ask(shard, Ask::Forget { user, from, round });
                let Ok(Reply::Forgotten { next, .. }) = reply else { panic!("{reply:?}") };
                match (next, round) {
                    (Some(from), _) => Self::Memory(round, shard, from),
                    (None, _) if shard + 1 < world.hosts.len() => Self::Memory(round, shard + 1, 0),
                    (None, Round::First) => Self::Store(Spot::BEGIN),
                    (None, Round::Last) => Self::Done,
                }
            }
            Self::Store(from) => {
                let reply = world.ask(0, Ask::ForgetStored { user, from });
                let Ok(Reply::ForgottenStored(found)) = reply else { panic!("{reply:?}") };
                assert_eq!(found.unreadable, 0);
                found.next.map_or(Self::Memory(Round::Last, 0, 0), Self::Store)
            }
            Self::Done => Self::Done,
        }
    }

    /// Whether all shards have gone through their memory once.
    fn is_past_first(self) -> bool {
        !matches!(self, Self::Memory(Round::First, ..))
    }
}

/// What is shown under each number of a channel: the operation's id, or nothing.
type Shown = BTreeMap<u64, Option<String>>;

/// What stands there as far as is known.
#[derive(Clone, Debug)]
struct Said {
    id: String,
    by_ann: bool,
    /// Erased or not, once that is settled.
    erased: Option<bool>,
    /// It was there when the erasure began that runs, or came when all memory had been gone through for it.
    before: bool,
    late: bool,
}

struct Run {
    world: World,
    shards: u16,
    /// Channels are forgotten while they are not used.
    is_narrow: bool,
    people: [Who; 2],
    said: Vec<BTreeMap<u64, Said>>,
    /// Bob's operations whose events were erased with their channel.
    gone: Vec<(usize, String, u64)>,
    erasure: Option<Next>,
    /// No erasure has been begun and not ended.
    settled: bool,
    count: usize,
}

impl Run {
    fn new(seed: u64) -> Self {
        let (shards, is_narrow) = (1 + u16::from(seed % 2 == 1), seed.is_multiple_of(3));
        let mut world = start(Memory::default(), None, Self::options(shards, is_narrow));
        let people = ["ann", "bob"].map(|user| world.client_on(0, true, "/ws", user));
        Self::stay(&mut world, is_narrow);
        let said = CHANNELS.map(|_| BTreeMap::new()).into();
        let (gone, erasure, settled, count) = (Vec::new(), None, true, 0);
        Self { world, shards, is_narrow, people, said, gone, erasure, settled, count }
    }

    /// Somebody stays in all channels on the last shard, so that what it has of other shards' lives as long. Not where
    /// channels are to be forgotten.
    fn stay(world: &mut World, is_narrow: bool) {
        if !is_narrow {
            let who = world.client_on(world.hosts.len() - 1, true, "/ws", "stays");
            world.say(who, &subscribe(&CHANNELS.map(str::to_owned)));
        }
    }

    fn options(shards: u16, is_narrow: bool) -> impl Fn(&mut Options) {
        move |options| {
            options.shards = shards;
            // Most is read from the store.
            options.retention.count = 2;
            if is_narrow {
                options.channels_max = 2;
            }
        }
    }

    /// Publishes; the number, and whether it is a retry's.
    fn publish(&mut self, (by_ann, channel): (bool, usize), id: &str) -> Option<(u64, bool)> {
        let who = self.people[usize::from(!by_ann)];
        self.world.say(who, &publish(CHANNELS[channel], id, &json!({ "said": id })));
        let heard = self.world.heard(who);
        acks(&heard).into_iter().find(|(of, ..)| of == id).map(|(_, seq, again)| (seq, again))
    }

    fn publish_new(&mut self, by_ann: bool, channel: usize) {
        self.count += 1;
        let id = self.count.to_string();
        // A shard that knows no more channels refuses.
        let Some((seq, again)) = self.publish((by_ann, channel), &id) else { return };
        assert!(!again, "{id} was never said");
        let late = self.erasure.is_some_and(Next::is_past_first);
        let erased = (self.settled || !by_ann).then_some(false);
        let known = self.said[channel].insert(seq, Said { id, by_ann, erased, before: false, late });
        assert!(known.is_none(), "a number is used twice: {seq} {known:?}");
    }

    /// What a member is shown that joins on a shard and asks for everything.
    fn shown(&mut self, shard: usize, channel: usize) -> Shown {
        let who = self.world.client_on(shard, true, "/ws", "reader");
        // In an epoch that never was, so that all that is retained comes.
        let heard = join(&mut self.world, who, CHANNELS[channel], Some(("00000000000000aa", 0)));
        leave(&mut self.world, who);
        let events = heard.iter().filter(|frame| frame["type"] == "note" || frame["type"] == "erased");
        let one = |event: &Value| {
            let id = event["payload"]["said"].as_str().map(str::to_owned);
            assert_eq!(id.is_none(), event["type"] == "erased", "{event}");
            (event["seq"].as_u64().unwrap(), id)
        };
        events.map(one).collect()
    }

    /// Everybody is shown what is known to stand there, and nothing else.
    fn check(&mut self, shard: usize, channel: usize) {
        let shown = self.shown(shard, channel);
        let seqs: Vec<u64> = self.said[channel].keys().copied().collect();
        assert_eq!(shown.keys().copied().collect::<Vec<_>>(), seqs, "{}", CHANNELS[channel]);
        for (seq, id) in shown {
            let said = &self.said[channel][&seq];
            assert!(id.as_ref().is_none_or(|id| *id == said.id), "{seq} {id:?} {said:?}");
            assert!(said.erased.is_none_or(|erased| erased == id.is_none()), "{seq} {id:?} {said:?}");
        }
    }

    fn go_on(&mut self) {
        let next = self.erasure.unwrap_or_else(|| {
            let all = self.said.iter_mut().flat_map(BTreeMap::values_mut).filter(|said| said.by_ann);
            for said in all {
                (said.before, said.late) = (true, false);
                said.erased = said.erased.filter(|erased| *erased);
            }
            self.settled = false;
            Next::Memory(Round::First, 0, 0)
        });
        let next = next.ask(&mut self.world);
        self.erasure = Some(next).filter(|next| *next != Next::Done);
        if self.erasure.is_none() {
            self.settle();
        }
    }

    /// The erasure was answered: from now on it is settled what is erased.
    fn settle(&mut self) {
        for channel in 0..CHANNELS.len() {
            let shown = self.shown(usize::from(self.shards) - 1, channel);
            for (seq, said) in &mut self.said[channel] {
                let erased = shown[seq].is_none();
                assert!(said.by_ann || !erased, "another's event: {said:?}");
                assert!(erased || !said.before, "it was there before: {said:?}");
                assert!(!erased || !said.late || said.erased == Some(true), "it came later: {said:?}");
                said.erased = Some(erased);
            }
        }
        self.settled = true;
    }

    fn retry(&mut self, dice: &mut Dice) {
        let channel = dice.below(CHANNELS.len());
        let all: Vec<(u64, Said)> = self.said[channel].iter().map(|(seq, said)| (*seq, said.clone())).collect();
        if let Some((channel, id, seq)) = self.gone.get(dice.below(self.gone.len() + 1)).cloned() {
            let answered = self.publish((false, channel), &id);
            return assert!(answered.is_none_or(|answered| answered == (seq, true)), "{id} {answered:?}");
        }
        if all.is_empty() {
            return;
        }
        let (seq, said) = all[dice.below(all.len())].clone();
        if said.erased == Some(false) {
            let answered = self.publish((said.by_ann, channel), &said.id);
            assert!(answered.is_none_or(|answered| answered == (seq, true)), "{said:?} {answered:?}");
        }
    }

    fn crash(mut self) -> Self {
        self.world = crash(self.world, Self::options(self.shards, self.is_narrow));
        self.people = ["ann", "bob"].map(|user| self.world.client_on(0, true, "/ws", user));
        Self::stay(&mut self.world, self.is_narrow);
        self.erasure = None;
        self
    }

    fn erase_channel(&mut self, channel: usize) {
        if erase(&mut self.world, CHANNELS[channel]) == Ok(Reply::Erased) {
            let gone = std::mem::take(&mut self.said[channel]).into_iter().filter(|(_, said)| !said.by_ann);
            self.gone.extend(gone.map(|(seq, said)| (channel, said.id, seq)));
        }
    }
}

fn leave(world: &mut World, who: Who) {
    let id = world.sockets[who].id;
    world.handle(id.shard.index(), Input::Gone(id));
    world.run();
}

#[test]
fn whatever_comes_between_its_questions_an_erasure_leaves_one_content_under_each_number() {
    for seed in 0..SEEDS {
        let (mut run, mut dice) = (Run::new(seed), Dice(seed));
        for _ in 0..ACTIONS {
            let (channel, shard) = (dice.below(CHANNELS.len()), dice.below(usize::from(run.shards)));
            match dice.below(20) {
                0..=7 => run.publish_new(dice.below(3) > 0, channel),
                8..=9 => run.retry(&mut dice),
                10..=15 => run.go_on(),
                16 => run = run.crash(),
                // Whoever asked is gone.
                17 => run.erasure = None,
                18 => run.erase_channel(channel),
                _ => {}
            }
            run.check(shard, channel);
        }
        // Asked until it is answered, after a stop, too.
        let mut run = run.crash();
        run.go_on();
        while run.erasure.is_some() {
            run.go_on();
        }
        for _ in 0..2 {
            for channel in 0..CHANNELS.len() {
                run.check(usize::from(run.shards) - 1, channel);
            }
            run = run.crash();
        }
    }
}
