//! What those are called that records know by number, as far as it is known. A bounded memory, asked for again when full.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::admin::asking::{Asker, Outcome};
use crate::code::ErrorCode;
use crate::ids::{ConnId, ConnectionName, ShardId};
use crate::limits::{RECORD_NAMES_KEPT, RECORD_NAMES_MAX, RECORD_SILENT_LOOKS};
use crate::recorder::{Kind, Record};
use crate::route::HashKey;
use crate::shard::message::outside::{Ask, Reply};
use crate::shard::recording::hash_of;

/// What is known of a connection.
#[derive(Clone, Debug, Default)]
struct Known {
    /// `None` once it is gone, or was not asked for yet.
    name: Option<ConnectionName>,
    user: Option<Arc<str>>,
    /// A record says that the wanted user's it is.
    owned: bool,
    /// The shard was asked after it was known whose it is.
    asked: bool,
}

/// What is known of a channel.
#[derive(Clone, Debug, Default)]
struct Channel {
    /// A hash of its name where a record told it: another name is another channel's.
    hash: Option<u64>,
    name: Option<Arc<str>>,
    /// The shard was asked since the number is this channel's.
    asked: bool,
}

/// Names by number.
#[derive(Debug)]
pub(super) struct Names {
    key: HashKey,
    connections: HashMap<ConnId, Known>,
    channels: HashMap<(ShardId, u32), Channel>,
    /// Shards that have not answered, with the looks for which they are not asked again.
    silent: HashMap<ShardId, u32>,
}

impl Names {
    pub(super) fn new(key: HashKey) -> Self {
        Self { key, connections: HashMap::new(), channels: HashMap::new(), silent: HashMap::new() }
    }

    /// Forgets what is known when it is too much. Connections that are the wanted user's are kept as long as they are few:
    /// one that comes again and again has as many as it likes.
    pub(super) fn make_room(&mut self) {
        if self.connections.len() + self.channels.len() <= RECORD_NAMES_KEPT {
            return;
        }
        self.channels.clear();
        self.connections.retain(|_, known| known.owned);
        if self.connections.len() > RECORD_NAMES_KEPT / 2 {
            self.connections.clear();
        }
    }

    /// Forgets what numbers were: records are lost that may have said what has become of them.
    pub(super) fn forget_channels(&mut self) {
        self.channels.clear();
    }

    /// A shard has not answered: for some looks its numbers are shown.
    pub(super) fn note_silent(&mut self, shard: ShardId) {
        self.silent.insert(shard, RECORD_SILENT_LOOKS);
    }

    /// Notes which connections records give to the user with a hash.
    pub(super) fn learn_owners(&mut self, records: &[(ShardId, Record)], user: u64) {
        let owners = records.iter().filter(|(_, record)| record.kind == Kind::Authenticated && record.number == user);
        for id in owners.filter_map(|(shard, record)| record.connection(*shard)) {
            self.connections.entry(id).or_default().owned = true;
        }
    }

    /// Notes what a record changes: a number has another channel from here on, a connection a user.
    pub(super) fn follow(&mut self, shard: ShardId, record: &Record) {
        match (record.kind, record.channel(), record.connection(shard)) {
            (Kind::Channel, Some(number), _) => {
                let begun = Channel { hash: Some(record.number), ..Channel::default() };
                self.channels.insert((shard, number), begun);
            }
            (Kind::Authenticated, _, Some(id)) => {
                if let Some(known) = self.connections.get_mut(&id) {
                    known.asked = false;
                }
            }
            _ => {}
        }
    }

    /// Asks the shards for what is not known of these records, all at once.
    ///
    /// # Cancel safety
    /// What was asked for is asked for again.
    pub(super) async fn ask(&mut self, asker: &Asker, records: &[(ShardId, Record)]) {
        let mut parts = self.parts(records);
        // An author may be none of the shards' connections.
        parts.retain(|part| asker.shards().any(|shard| shard == part.shard));
        if parts.is_empty() {
            return;
        }
        let outcomes = asker.ask(parts.iter().map(|part| (part.shard, part.question())).collect()).await;
        for (part, outcome) in parts.iter().zip(outcomes) {
            self.learn(part, outcome);
        }
    }

    /// What is to be asked. Counts as a look.
    fn parts(&mut self, records: &[(ShardId, Record)]) -> Vec<Part> {
        self.silent.retain(|_, looks| {
            *looks -= 1;
            *looks > 0
        });
        let mut unknown: BTreeMap<ShardId, (BTreeSet<ConnId>, BTreeSet<u32>)> = BTreeMap::new();
        for (shard, record) in records {
            // An author may live on another shard than its event's channel.
            if let Some(id) = record.connection(*shard).filter(|id| id.ticket().is_none())
                && !self.connections.get(&id).is_some_and(|known| known.asked)
            {
                unknown.entry(id.shard).or_default().0.insert(id);
            }
            if let Some(number) = record.channel()
                && !self.channels.get(&(*shard, number)).is_some_and(|known| known.asked)
            {
                unknown.entry(*shard).or_default().1.insert(number);
            }
        }
        let mut parts = Vec::new();
        for (shard, (ids, numbers)) in unknown.into_iter().filter(|(shard, _)| !self.silent.contains_key(shard)) {
            let (mut ids, mut numbers) = (ids.into_iter().peekable(), numbers.into_iter().peekable());
            while ids.peek().is_some() || numbers.peek().is_some() {
                let ids = ids.by_ref().take(RECORD_NAMES_MAX).collect();
                parts.push(Part { shard, ids, numbers: numbers.by_ref().take(RECORD_NAMES_MAX).collect() });
            }
        }
        parts
    }

    /// What a shard said. One that says nothing in time is shown by its numbers; one that is asked too much at the moment
    /// is asked again.
    fn learn(&mut self, part: &Part, outcome: Outcome) {
        let (connections, channels) = match outcome {
            Ok(Reply::Names { connections, channels }) => (connections, channels),
            Err(ErrorCode::DeadlineExceeded) => return self.note_silent(part.shard),
            _ => return,
        };
        for (id, found) in part.ids.iter().zip(connections) {
            let known = self.connections.entry(*id).or_default();
            known.asked = true;
            // What was known of one that is gone stays known.
            if let Some((name, user)) = found {
                (known.name, known.user) = (Some(name), user.or_else(|| known.user.take()));
            }
        }
        for (number, name) in part.numbers.iter().zip(channels) {
            let known = self.channels.entry((part.shard, *number)).or_default();
            known.asked = true;
            known.name = name.filter(|name| known.hash.is_none_or(|hash| hash == hash_of(&self.key, name)));
        }
    }

    /// Whether a connection is a user's.
    pub(super) fn is_of(&self, id: ConnId, user: &str) -> bool {
        let known = self.connections.get(&id);
        known.is_some_and(|known| known.owned || known.user.as_deref() == Some(user))
    }

    pub(super) fn connection(&self, id: ConnId) -> Option<ConnectionName> {
        self.connections.get(&id)?.name
    }

    pub(super) fn user(&self, id: ConnId) -> Option<&str> {
        self.connections.get(&id)?.user.as_deref()
    }

    pub(super) fn channel(&self, shard: ShardId, number: u32) -> Option<&str> {
        self.channels.get(&(shard, number))?.name.as_deref()
    }
}

/// One question: names of a shard, at most so many of either kind.
#[derive(Debug)]
struct Part {
    shard: ShardId,
    ids: Vec<ConnId>,
    numbers: Vec<u32>,
}

impl Part {
    fn question(&self) -> Ask {
        let connections = self.ids.iter().map(|id| (id.slot, id.generation)).collect();
        Ask::Names { connections, channels: self.numbers.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn came(slot: usize, user: u64) -> (ShardId, Record) {
        let place = u64::try_from(slot).unwrap() << 32;
        (ShardId(0), Record { micros: 0, kind: Kind::Authenticated, detail: 0, place, number: user })
    }

    #[test]
    fn what_is_known_is_bounded_also_of_a_user_who_comes_again_and_again() {
        for (owned, others, kept) in [
            (3, RECORD_NAMES_KEPT - 4, RECORD_NAMES_KEPT - 1),
            (3, RECORD_NAMES_KEPT - 3, RECORD_NAMES_KEPT),
            (3, RECORD_NAMES_KEPT - 2, 3),
            (RECORD_NAMES_KEPT / 2, RECORD_NAMES_KEPT, RECORD_NAMES_KEPT / 2),
            (RECORD_NAMES_KEPT / 2 + 1, RECORD_NAMES_KEPT, 0),
        ] {
            let mut names = Names::new(HashKey::default());
            names.learn_owners(&(0..owned).map(|slot| came(slot, 7)).collect::<Vec<_>>(), 7);
            for number in 0..others {
                names.channels.insert((ShardId(0), u32::try_from(number).unwrap()), Channel::default());
            }
            names.make_room();
            assert_eq!(names.connections.len() + names.channels.len(), kept, "{owned} {others}");
        }
    }

    /// Somebody joined a channel.
    fn joined(shard: u16, slot: u64, number: u64) -> (ShardId, Record) {
        (ShardId(shard), Record { micros: 0, kind: Kind::Joined, detail: 0, place: slot << 32, number })
    }

    #[test]
    fn a_shard_that_does_not_answer_is_left_alone_for_so_many_looks_and_the_others_are_asked() {
        let mut names = Names::new(HashKey::default());
        let records = [joined(0, 1, 5), joined(1, 1, 5), joined(1, 2, 6)];
        let asked = |names: &mut Names| names.parts(&records).iter().map(|part| part.shard.0).collect::<Vec<_>>();
        let parts = names.parts(&records);
        assert_eq!(parts.iter().map(|part| (part.ids.len(), part.numbers.len())).collect::<Vec<_>>(), [(1, 1), (2, 2)]);
        names.learn(&parts[0], Err(ErrorCode::Overloaded));
        names.learn(&parts[1], Err(ErrorCode::DeadlineExceeded));
        for look in 1..RECORD_SILENT_LOOKS {
            assert_eq!(asked(&mut names), [0], "look {look}");
        }
        assert_eq!(asked(&mut names), [0, 1]);
    }

    #[test]
    fn what_a_shard_knows_no_name_of_is_asked_for_once_until_a_record_gives_it_a_new_one() {
        let mut names = Names::new(HashKey::default());
        let records: Vec<_> = (0..=RECORD_NAMES_MAX as u64).map(|n| joined(0, n, n + 1)).collect();
        let parts = names.parts(&records);
        let sizes: Vec<_> = parts.iter().map(|part| (part.ids.len(), part.numbers.len())).collect();
        assert_eq!(sizes, [(RECORD_NAMES_MAX, RECORD_NAMES_MAX), (1, 1)]);
        for part in &parts {
            let reply =
                Reply::Names { connections: vec![None; part.ids.len()], channels: vec![None; part.numbers.len()] };
            names.learn(part, Ok(reply));
        }
        assert!(names.parts(&records).is_empty());
        let begun = Record { micros: 0, kind: Kind::Channel, detail: 0, place: 0, number: 99 };
        names.follow(ShardId(0), &begun);
        let number = begun.channel().unwrap();
        assert_eq!(names.parts(&[joined(0, 0, number.into())]).len(), 1);
        names.forget_channels();
        assert_eq!(names.parts(&records).len(), 2, "records were lost: the numbers may be others' by now");
    }
}
