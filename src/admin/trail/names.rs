//! What those are called that records know by number, as far as it is known. A bounded memory, asked for again when full.

use std::collections::HashMap;
use std::sync::Arc;

use crate::admin::asking::Asker;
use crate::ids::{ConnId, ConnectionName, ShardId};
use crate::limits::{RECORD_NAMES_KEPT, RECORD_NAMES_MAX};
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

/// What is known of a channel: a hash of its name, the name.
type Channel = (Option<u64>, Option<Arc<str>>);

/// Names by number.
#[derive(Debug)]
pub(super) struct Names {
    key: HashKey,
    connections: HashMap<ConnId, Known>,
    /// With a hash of the name where a record told it: another name is another channel's.
    channels: HashMap<(ShardId, u32), Channel>,
}

impl Names {
    pub(super) fn new(key: HashKey) -> Self {
        Self { key, connections: HashMap::new(), channels: HashMap::new() }
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
                self.channels.insert((shard, number), (Some(record.number), None));
            }
            (Kind::Authenticated, _, Some(id)) => {
                if let Some(known) = self.connections.get_mut(&id) {
                    known.asked = false;
                }
            }
            _ => {}
        }
    }

    /// Asks the shards for what is not known of these records.
    ///
    /// # Cancel safety
    /// What was asked for is asked for again.
    pub(super) async fn ask(&mut self, asker: &Asker, records: &[(ShardId, Record)]) {
        let (mut connections, mut channels): (Vec<ConnId>, Vec<(ShardId, u32)>) = (Vec::new(), Vec::new());
        for (shard, record) in records {
            connections.extend(
                record
                    .connection(*shard)
                    .filter(|id| id.ticket().is_none() && !self.connections.get(id).is_some_and(|known| known.asked)),
            );
            let place = record.channel().map(|number| (*shard, number));
            channels.extend(place.filter(|place| self.channels.get(place).is_none_or(|(_, name)| name.is_none())));
        }
        connections.sort_unstable();
        connections.dedup();
        channels.sort_unstable();
        channels.dedup();
        for shard in asker.shards() {
            let of_shard: Vec<ConnId> = connections.iter().copied().filter(|id| id.shard == shard).collect();
            let numbers: Vec<u32> = channels.iter().filter(|place| place.0 == shard).map(|place| place.1).collect();
            let parts = of_shard.len().max(numbers.len()).div_ceil(RECORD_NAMES_MAX);
            for part in 0..parts {
                let range = |len: usize| (part * RECORD_NAMES_MAX).min(len)..((part + 1) * RECORD_NAMES_MAX).min(len);
                self.ask_part(asker, shard, &of_shard[range(of_shard.len())], &numbers[range(numbers.len())]).await;
            }
        }
    }

    /// # Cancel safety
    /// As [`Self::ask`].
    async fn ask_part(&mut self, asker: &Asker, shard: ShardId, ids: &[ConnId], numbers: &[u32]) {
        let connections = ids.iter().map(|id| (id.slot, id.generation)).collect();
        let ask = Ask::Names { connections, channels: numbers.to_vec() };
        // A shard that does not answer is shown by its numbers.
        let Ok(Reply::Names { connections, channels }) = asker.ask_one(shard, ask).await else { return };
        for (id, found) in ids.iter().zip(connections) {
            let known = self.connections.entry(*id).or_default();
            known.asked = true;
            // What was known of one that is gone stays known.
            if let Some((name, user)) = found {
                (known.name, known.user) = (Some(name), user.or_else(|| known.user.take()));
            }
        }
        for (number, name) in numbers.iter().zip(channels) {
            let entry = self.channels.entry((shard, *number)).or_default();
            entry.1 = name.filter(|name| entry.0.is_none_or(|hash| hash == hash_of(&self.key, name)));
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
        self.channels.get(&(shard, number))?.1.as_deref()
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
                names.channels.insert((ShardId(0), u32::try_from(number).unwrap()), (None, None));
            }
            names.make_room();
            assert_eq!(names.connections.len() + names.channels.len(), kept, "{owned} {others}");
        }
    }
}
