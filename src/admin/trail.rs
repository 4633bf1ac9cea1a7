//! The flight recorders, read: what somebody wants to see of them, in the order of time and with names.
//!
//! The rings are copied in portions while their shards go on writing. Records have numbers; the shards are asked for
//! names, and where one does not answer, or something is gone, the number is shown. Absent: who looks, and how it is
//! shown.

mod names;
mod portion;

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::asking::Asker;
use crate::code::ErrorCode;
use crate::ids::{ConnId, ConnectionName, ShardId};
use crate::limits::TAIL_RECORDS_MAX;
use crate::mesh::Value;
use crate::metrics::Metric;
use crate::recorder::{Kind, Record, Ring, Watching};
use crate::route::HashKey;
use crate::shard::message::outside::{Ask, Reply};
use crate::shard::recording::{AWAITED, MESSAGES, hash_of};
use names::Names;
use portion::Portion;

/// What somebody wants to see. What is not said is all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) connection: Option<ConnectionName>,
    pub(super) user: Option<Arc<str>>,
    pub(super) channel: Option<Arc<str>>,
    pub(super) kind: Option<Kind>,
}

/// One record as it is shown.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shown {
    pub(super) micros: u64,
    pub(super) shard: ShardId,
    pub(super) kind: Kind,
    pub(super) fields: Vec<(&'static str, Value)>,
}

impl Shown {
    /// As JSON.
    pub(super) fn object(&self) -> Map<String, Json> {
        let mut object = Map::new();
        object.insert("micros".into(), self.micros.into());
        object.insert("shard".into(), self.shard.0.into());
        object.insert("kind".into(), self.kind.name().into());
        for (name, value) in &self.fields {
            let value = match value {
                Value::Text(text) => Json::from(&**text),
                Value::Number(number) => Json::from(*number),
                Value::Signed(number) => Json::from(*number),
                Value::Real(number) => Json::from(*number),
                Value::Flag(flag) => Json::from(*flag),
            };
            object.insert((*name).into(), value);
        }
        object
    }
}

/// Writes all that the recorders hold, by number alone: nobody is asked, so this can be done whatever the shards do.
///
/// # Errors
/// What `out` says.
pub fn dump(rings: &Arc<[Arc<Ring>]>, out: &mut impl Write) -> io::Result<()> {
    let heads: Vec<u64> = rings.iter().map(|ring| ring.head()).collect();
    let mut trail = Trail {
        wanted: Wanted::default(),
        connection: None,
        rings: Arc::clone(rings),
        _watching: Vec::new(),
        next: vec![0; rings.len()],
        names: Names::new(HashKey::default()),
        channel: None,
        user: None,
    };
    // What comes meanwhile is not waited for.
    while !trail.has_passed(&heads) {
        let Portion { mut records, .. } = Portion::take(rings, &mut trail.next);
        records.sort_by_key(|(_, record)| record.micros);
        for (shard, record) in records {
            let shown = trail.shown(shard, &record, &Renamed::new());
            writeln!(out, "{}", Json::Object(shown.object()))?;
        }
    }
    Ok(())
}

/// What one look brought.
#[derive(Debug)]
pub(super) struct Look {
    /// In the order of time.
    pub(super) shown: Vec<Shown>,
    /// Records that were overwritten before they were looked at.
    pub(super) lost: u64,
    /// Whether there is more already.
    pub(super) more: bool,
}

/// Somebody who looks.
#[derive(Debug)]
pub(super) struct Trail {
    wanted: Wanted,
    /// The place of the wanted connection.
    connection: Option<ConnId>,
    rings: Arc<[Arc<Ring>]>,
    /// Held by who looks at what comes.
    _watching: Vec<Watching>,
    /// For each ring, the count from which to go on.
    next: Vec<u64>,
    names: Names,
    /// A hash of the wanted channel's name and its number on each shard, as far as is known.
    channel: Option<(u64, Vec<Option<u32>>)>,
    user: Option<u64>,
}

impl Trail {
    /// Looks from the oldest record on, or from now on.
    ///
    /// # Cancel safety
    /// Nothing is changed.
    pub(super) async fn begin(
        asker: &Asker,
        key: &HashKey,
        rings: &Arc<[Arc<Ring>]>,
        wanted: Wanted,
        from_now: bool,
    ) -> Self {
        let (mut connection, mut names) = (None, Names::new(*key));
        let mut numbers = vec![None; rings.len()];
        let hash = wanted.channel.as_ref().map(|name| hash_of(key, name));
        if wanted.connection.is_some() || hash.is_some() {
            let ask = |shard| (shard, Ask::Places { connection: wanted.connection, channel: wanted.channel.clone() });
            let outcomes = asker.ask(asker.shards().map(ask).collect()).await;
            for ((shard, number), outcome) in asker.shards().zip(&mut numbers).zip(outcomes) {
                if outcome == Err(ErrorCode::DeadlineExceeded) {
                    names.note_silent(shard);
                }
                let Ok(Reply::Places { connection: place, channel }) = outcome else { continue };
                (connection, *number) = (connection.or(place), channel);
            }
        }
        let next: Vec<u64> = rings.iter().map(|ring| if from_now { ring.head() } else { 0 }).collect();
        if let (Some(hash), false) = (hash, from_now) {
            // Where the ring still has the channel's beginning, what was before it was another's.
            for (number, ring) in numbers.iter_mut().zip(rings.iter()) {
                *number = if number.is_some() && has_begun(ring, hash).await { None } else { *number };
            }
        }
        let _watching = rings.iter().filter(|_| from_now).map(Ring::watch).collect();
        let user = wanted.user.as_ref().map(|user| hash_of(key, user));
        let channel = hash.map(|hash| (hash, numbers));
        Self { wanted, connection, rings: Arc::clone(rings), _watching, next, names, channel, user }
    }

    /// What there is since the last look, up to a bound.
    ///
    /// # Cancel safety
    /// What was copied is lost.
    pub(super) async fn look(&mut self, asker: &Asker) -> Look {
        let Portion { records: found, lost, more } = Portion::take(&self.rings, &mut self.next);
        self.names.make_room();
        if lost > 0 {
            self.names.forget_channels();
        }
        if let Some(user) = self.user {
            self.names.learn_owners(&found, user);
        }
        let mut wanted = Vec::new();
        for (shard, record) in &found {
            if self.is_wanted(*shard, record) {
                wanted.push((*shard, *record));
            }
        }
        let renamed = renamed(&found);
        self.names.ask(asker, &wanted).await;
        if let Some(user) = self.wanted.user.clone() {
            wanted.retain(|(shard, record)| record.connection(*shard).is_some_and(|id| self.names.is_of(id, &user)));
        }
        let shown = wanted.iter().map(|(shard, record)| self.shown(*shard, record, &renamed));
        let mut shown: Vec<Shown> = shown.collect();
        shown.sort_by_key(|shown| shown.micros);
        Look { shown, lost, more }
    }

    /// Whether a record is wanted as far as it tells itself; whose it is, is looked at later.
    fn is_wanted(&mut self, shard: ShardId, record: &Record) -> bool {
        self.names.follow(shard, record);
        let mut is_wanted = true;
        if let Some((hash, numbers)) = &mut self.channel {
            let Some(number) = numbers.get_mut(shard.index()) else { return false };
            if record.kind == Kind::Channel {
                if record.number == *hash {
                    *number = record.channel();
                } else if *number == record.channel() {
                    *number = None;
                }
            }
            is_wanted = number.is_some() && record.channel() == *number;
        }
        is_wanted
            && self.wanted.kind.is_none_or(|kind| kind == record.kind)
            && (self.wanted.connection.is_none()
                || record.connection(shard).is_some_and(|id| Some(id) == self.connection))
            && (self.user.is_none() || record.connection(shard).is_some())
    }

    /// Whether everything up to these counts was looked at.
    pub(super) fn has_passed(&self, heads: &[u64]) -> bool {
        self.next.iter().zip(heads).all(|(next, head)| next >= head)
    }

    fn shown(&self, shard: ShardId, record: &Record, renamed: &Renamed) -> Shown {
        let mut fields = Vec::new();
        if let Some(id) = record.connection(shard) {
            if id.ticket().is_some() {
                fields.push(("connection", "outside".into()));
            } else {
                let wanted = self.wanted.connection.filter(|_| Some(id) == self.connection);
                let name = self.names.connection(id).or(wanted).map(|name| name.to_string());
                let place = || format!("{}-{}-{}", id.shard.0, id.slot, id.generation);
                fields.push(("connection", name.unwrap_or_else(place).into()));
                fields.extend(self.names.user(id).map(|user| ("user", Value::from(user))));
            }
        }
        if let Some(number) = record.channel() {
            // Before a number has become this channel's it was another's, whose name nobody knows any more.
            let is_older = renamed.get(&(shard, number)).is_some_and(|since| record.micros < *since);
            let name = self.names.channel(shard, number).filter(|_| !is_older);
            fields.push(("channel", name.map_or_else(|| Value::from(u64::from(number)), Value::from)));
        }
        fields.extend(details(record));
        Shown { micros: record.micros, shard, kind: record.kind, fields }
    }
}

/// Whether a ring still has a channel's beginning. Looked for in portions, between which others have their turn.
///
/// # Cancel safety
/// Nothing is changed.
async fn has_begun(ring: &Ring, hash: u64) -> bool {
    let (mut next, head) = (0, ring.head());
    while next < head {
        let copied = ring.copy(next, TAIL_RECORDS_MAX);
        if copied.records.iter().any(|record| record.kind == Kind::Channel && record.number == hash) {
            return true;
        }
        next = copied.next;
        glommio::executor().yield_now().await;
    }
    false
}

/// Since when numbers are those of the channels that have them now.
type Renamed = HashMap<(ShardId, u32), u64>;

fn renamed(records: &[(ShardId, Record)]) -> Renamed {
    let begun = records.iter().filter(|(_, record)| record.kind == Kind::Channel);
    begun.filter_map(|(shard, record)| Some(((*shard, record.channel()?), record.micros))).collect()
}

/// What a kind says besides.
fn details(record: &Record) -> Vec<(&'static str, Value)> {
    let Record { detail, number, .. } = *record;
    let named = |names: &[&'static str], index: u64| {
        let name = usize::try_from(index).ok().and_then(|index| names.get(index));
        Value::from(name.copied().unwrap_or("?"))
    };
    match record.kind {
        Kind::Channel | Kind::Opened | Kind::Authenticated | Kind::Joined | Kind::Left => Vec::new(),
        Kind::Received => vec![("type", named(&MESSAGES, detail)), ("bytes", number.into())],
        Kind::Paused => vec![("awaits", named(&AWAITED, detail))],
        Kind::Sequenced => vec![("seq", number.into())],
        Kind::Written => vec![("bytes", number.into()), ("frames", detail.into())],
        Kind::Blocked => vec![("bytes", number.into()), ("left", detail.into())],
        Kind::Gap => vec![("missed", detail.into())],
        Kind::Refused if detail >= 100 => vec![("status", detail.into()), ("reason", reason(number).into())],
        Kind::Refused => {
            let code = usize::try_from(detail).ok().and_then(|index| ErrorCode::ALL.get(index));
            vec![("code", code.map_or("?", |code| code.name()).into())]
        }
        Kind::Closed => vec![("code", detail.into()), ("reason", reason(number).into())],
    }
}

/// The reason of a count, which is its label.
fn reason(number: u64) -> &'static str {
    let metric = usize::try_from(number).ok().and_then(|index| Metric::ALL.get(index));
    metric.map_or("?", |metric| metric.describe().label_value())
}

const _: () = assert!(ErrorCode::ALL.len() < 100, "a status is told from a code");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_says_what_belongs_to_it() {
        let text = |kind, detail, number| {
            let record = Record { micros: 0, kind, detail, place: 0, number };
            let fields = details(&record);
            let fields = fields.into_iter().map(|(name, value)| match value {
                Value::Text(text) => format!("{name}={text}"),
                Value::Number(number) => format!("{name}={number}"),
                other => panic!("{other:?}"),
            });
            fields.collect::<Vec<_>>().join(" ")
        };
        for (kind, detail, number, expected) in [
            (Kind::Opened, 0, 0, ""),
            (Kind::Received, 6, 12, "type=publish bytes=12"),
            (Kind::Received, 99, 12, "type=? bytes=12"),
            (Kind::Paused, 1, 0, "awaits=its user's rate"),
            (Kind::Sequenced, 7, 41, "seq=41"),
            (Kind::Written, 3, 900, "bytes=900 frames=3"),
            (Kind::Blocked, 3, 900, "bytes=900 left=3"),
            (Kind::Gap, 17, 4, "missed=17"),
            (Kind::Refused, ErrorCode::PermissionDenied as u64, 0, "code=PERMISSION_DENIED"),
            (Kind::Refused, 401, Metric::RefusedToken as u64, "status=401 reason=token"),
            (Kind::Closed, 4013, Metric::ClosedSlow as u64, "code=4013 reason=slow"),
            (Kind::Closed, 1000, u64::MAX, "code=1000 reason=?"),
        ] {
            assert_eq!(text(kind, detail, number), expected);
        }
        for (index, code) in ErrorCode::ALL.iter().enumerate() {
            assert_eq!(*code as usize, index);
        }
        for (index, metric) in Metric::ALL.iter().enumerate() {
            assert_eq!(*metric as usize, index);
        }
    }
}
