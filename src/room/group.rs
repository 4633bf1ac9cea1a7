//! Pattern subscriptions of services: who wants the events of which channels, and how far a group has got.
//!
//! Every shard knows all [`Subscription`]s, for any channel that is at home there may match. Of a subscription
//! with a group exactly one consumer at a time has a channel; the group's position is what was acknowledged.
//! When that consumer is gone, or late, the next one starts after the position: nothing is lost, and what was
//! not acknowledged may come twice.

use std::sync::Arc;

use crate::ids::{ConnId, Seq};
use crate::limits::{CONSUMERS_PER_GROUP_MAX, GROUP_ACK_MS, GROUPS_PER_SHARD_MAX, PATTERNS_PER_SHARD_MAX};
use crate::time::Millis;

/// One pattern of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Consumer {
    /// The connection.
    pub conn: ConnId,
    /// Tells its patterns apart; never used again on that connection.
    pub number: u32,
}

/// A group on this shard; never used again for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GroupId(u32);

/// What a connection wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Whose it is.
    pub consumer: Consumer,
    /// What the names of the channels begin with: the pattern without its star.
    pub prefix: Box<str>,
    /// The group that shares the events; without one every subscription gets all.
    pub group: Option<Box<str>>,
}

#[derive(Debug)]
struct Group {
    id: GroupId,
    prefix: Box<str>,
    name: Box<str>,
    /// May be empty: the group's positions outlive its consumers.
    consumers: Vec<Consumer>,
    next: usize,
}

/// All subscriptions to patterns.
#[derive(Debug, Default)]
pub struct Patterns {
    single: Vec<(Consumer, Box<str>)>,
    groups: Vec<Group>,
    last_group: u32,
    /// Raised by every change, so that a channel knows whether it has seen the present ones.
    version: u32,
}

/// A bound is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl Patterns {
    /// Raised by every change; 0 while there never was a subscription.
    #[must_use]
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// A connection subscribes.
    ///
    /// # Errors
    /// There are too many subscriptions or groups, or the group has too many consumers.
    pub fn add(&mut self, subscription: Subscription) -> Result<(), Full> {
        let Subscription { consumer, prefix, group } = subscription;
        let Some(name) = group else {
            if self.single.len() >= PATTERNS_PER_SHARD_MAX {
                return Err(Full);
            }
            self.single.push((consumer, prefix));
            self.version = self.version.checked_add(1).unwrap_or(1);
            return Ok(());
        };
        let known = self.groups.iter_mut().find(|group| group.prefix == prefix && group.name == name);
        if let Some(group) = known {
            if group.consumers.len() >= CONSUMERS_PER_GROUP_MAX {
                return Err(Full);
            }
            group.consumers.push(consumer);
        } else {
            if self.groups.len() >= GROUPS_PER_SHARD_MAX {
                // The position of a group that nobody is in gives way, the oldest first.
                let empty = self.groups.iter().position(|group| group.consumers.is_empty()).ok_or(Full)?;
                self.groups.remove(empty);
            }
            self.last_group += 1;
            let id = GroupId(self.last_group);
            self.groups.push(Group { id, prefix, name, consumers: vec![consumer], next: 0 });
        }
        self.version = self.version.checked_add(1).unwrap_or(1);
        Ok(())
    }

    /// A connection no longer subscribes, or is gone.
    pub fn remove(&mut self, consumer: Consumer) {
        self.single.retain(|(one, _)| *one != consumer);
        for group in &mut self.groups {
            if let Some(index) = group.consumers.iter().position(|one| *one == consumer) {
                group.consumers.remove(index);
                group.next -= usize::from(index < group.next);
            }
        }
        self.version = self.version.checked_add(1).unwrap_or(1);
    }

    /// The subscriptions without a group to a channel.
    pub fn single(&self, channel: &str) -> impl Iterator<Item = Consumer> {
        self.single.iter().filter(move |(_, prefix)| channel.starts_with(&**prefix)).map(|(consumer, _)| *consumer)
    }

    /// The groups that a channel belongs to.
    pub fn groups(&self, channel: &str) -> impl Iterator<Item = GroupId> {
        self.groups.iter().filter(move |group| channel.starts_with(&*group.prefix)).map(|group| group.id)
    }

    /// The text by which a group is known to those who keep its positions: its name and its pattern.
    #[must_use]
    pub fn label(&self, id: GroupId) -> Option<Arc<str>> {
        let group = self.groups.iter().find(|group| group.id == id)?;
        Some(Arc::from(format!("{}\n{}", group.name, group.prefix)))
    }

    /// The group that a text names. A pattern has no line break, whatever a name has.
    #[must_use]
    pub fn labelled(&self, label: &str) -> Option<GroupId> {
        let (name, prefix) = label.rsplit_once('\n')?;
        self.groups.iter().find(|group| *group.name == *name && *group.prefix == *prefix).map(|group| group.id)
    }

    /// Whether a subscription without a group is still there.
    #[must_use]
    pub fn has_single(&self, consumer: Consumer) -> bool {
        self.single.iter().any(|(one, _)| *one == consumer)
    }

    /// Whether a group is still known.
    #[must_use]
    pub fn has_group(&self, id: GroupId) -> bool {
        self.groups.iter().any(|group| group.id == id)
    }

    /// Whether somebody consumes for a group.
    #[must_use]
    pub fn has_consumer(&self, id: GroupId) -> bool {
        self.groups.iter().any(|group| group.id == id && !group.consumers.is_empty())
    }

    /// The consumer of a group whose turn it is, if it can be not the one that was late.
    pub fn pick(&mut self, id: GroupId, late: Option<Consumer>) -> Option<Consumer> {
        let group = self.groups.iter_mut().find(|group| group.id == id)?;
        let count = group.consumers.len();
        for _ in 0..count {
            let index = if group.next < count { group.next } else { 0 };
            group.next = index + 1;
            let consumer = group.consumers.get(index).copied()?;
            if count == 1 || late != Some(consumer) {
                return Some(consumer);
            }
        }
        None
    }
}

/// One group's part in one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Everything up to here was acknowledged.
    acked: Seq,
    /// Who has the channel.
    consumer: Option<Consumer>,
    /// Since when the consumer owes an acknowledgement; meaningless while it owes none.
    since: Millis,
    /// The last consumer that was to have it could not.
    refused: bool,
}

impl Share {
    /// A group that is owed everything after `acked`.
    #[must_use]
    pub const fn new(acked: Seq) -> Self {
        Self { acked, consumer: None, since: Millis(0), refused: false }
    }

    /// What was acknowledged.
    #[must_use]
    pub const fn acked(&self) -> Seq {
        self.acked
    }

    /// Who has the channel.
    #[must_use]
    pub const fn consumer(&self) -> Option<Consumer> {
        self.consumer
    }

    /// The channel's event `seq` is there: the consumer's time begins, unless it owes an earlier one.
    pub fn on_event(&mut self, now: Millis, seq: Seq) {
        if self.acked.next() >= seq {
            self.since = now;
        }
    }

    /// A consumer gets the channel. Returns the position that it starts after.
    pub const fn assign(&mut self, now: Millis, consumer: Consumer) -> Seq {
        self.consumer = Some(consumer);
        self.since = now;
        self.acked
    }

    /// An acknowledgement by a connection. Only who has the channel can move the position. Returns whether it
    /// did.
    pub fn ack(&mut self, now: Millis, by: ConnId, seq: Seq) -> bool {
        let moves = self.consumer.is_some_and(|consumer| consumer.conn == by) && seq > self.acked;
        if moves {
            self.acked = seq;
            self.since = now;
            self.refused = false;
        }
        moves
    }

    /// When the consumer is late, if the channel's last event is `last`; `None` while it owes nothing.
    #[must_use]
    pub fn deadline(&self, last: Seq) -> Option<Millis> {
        (self.consumer.is_some() && self.acked < last).then(|| self.since.after(GROUP_ACK_MS))
    }

    /// Takes the channel away from its consumer.
    pub const fn release(&mut self) -> Option<Consumer> {
        self.consumer.take()
    }

    /// Takes it from a consumer that could not have it.
    pub const fn refuse(&mut self) -> Option<Consumer> {
        self.refused = true;
        self.consumer.take()
    }

    /// Whether the last consumer could not have it.
    #[must_use]
    pub const fn was_refused(&self) -> bool {
        self.refused
    }

    /// Whether not everything up to the channel's last event was acknowledged.
    #[must_use]
    pub fn is_owed(&self, last: Seq) -> bool {
        self.acked < last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ShardId;

    fn consumer(slot: u32) -> Consumer {
        Consumer { conn: ConnId { shard: ShardId(0), slot, generation: 1 }, number: 0 }
    }

    fn subscription(slot: u32, prefix: &str, group: Option<&str>) -> Subscription {
        Subscription { consumer: consumer(slot), prefix: prefix.into(), group: group.map(Into::into) }
    }

    #[test]
    fn a_channel_finds_the_patterns_that_it_begins_with() {
        let mut patterns = Patterns::default();
        assert_eq!(patterns.version(), 0);
        for (slot, prefix, group) in [
            (1, "chat:", None),
            (2, "", None),
            (3, "chat:", Some("g")),
            (4, "chat:", Some("g")),
            (5, "trip:", Some("g")),
        ] {
            assert_eq!(patterns.add(subscription(slot, prefix, group)), Ok(()));
        }
        let single = |patterns: &Patterns, name| patterns.single(name).map(|one| one.conn.slot).collect::<Vec<_>>();
        assert_eq!((single(&patterns, "chat:a"), single(&patterns, "trip:a")), (vec![1, 2], vec![2]));
        let groups: Vec<GroupId> = patterns.groups("chat:a").collect();
        assert_eq!((groups.len(), patterns.groups("trip:a").count(), patterns.groups("x").count()), (1, 1, 0));
        patterns.remove(consumer(1));
        assert!(!patterns.has_single(consumer(1)) && patterns.has_single(consumer(2)));
        assert_eq!((single(&patterns, "chat:a"), patterns.version()), (vec![2], 6));
    }

    #[test]
    fn a_group_is_known_by_its_name_and_its_pattern() {
        let mut patterns = Patterns::default();
        for (slot, prefix, name) in [(1, "chat:", "g"), (2, "", "g"), (3, "chat:", "a\nb")] {
            assert_eq!(patterns.add(subscription(slot, prefix, Some(name))), Ok(()));
        }
        for id in patterns.groups("chat:a").collect::<Vec<_>>() {
            let label = patterns.label(id).unwrap();
            assert_eq!(patterns.labelled(&label), Some(id), "{label:?}");
        }
        assert_eq!(
            (patterns.labelled("g\ntrip:"), patterns.labelled("g"), patterns.label(GroupId(9))),
            (None, None, None)
        );
    }

    #[test]
    fn consumers_take_turns_and_the_late_one_is_passed_over_while_there_is_another() {
        let mut patterns = Patterns::default();
        for slot in [1, 2, 3] {
            assert_eq!(patterns.add(subscription(slot, "chat:", Some("g"))), Ok(()));
        }
        let group = patterns.groups("chat:").next().unwrap();
        let mut pick = |late: Option<u32>| patterns.pick(group, late.map(consumer)).map(|one| one.conn.slot);
        assert_eq!([pick(None), pick(None), pick(Some(3)), pick(None)], [Some(1), Some(2), Some(1), Some(2)]);
        for slot in [1, 2] {
            patterns.remove(consumer(slot));
        }
        assert_eq!(patterns.pick(group, Some(consumer(3))), Some(consumer(3)), "there is nobody else");
        patterns.remove(consumer(3));
        assert!(patterns.pick(group, None).is_none() && patterns.has_group(group), "its positions stay");
    }

    #[test]
    fn everything_is_bounded_and_an_empty_group_gives_way() {
        let mut patterns = Patterns::default();
        for index in 0..=PATTERNS_PER_SHARD_MAX {
            let fits = patterns.add(subscription(u32::try_from(index).unwrap(), "a", None)).is_ok();
            assert_eq!(fits, index < PATTERNS_PER_SHARD_MAX, "{index}");
        }
        for index in 0..=CONSUMERS_PER_GROUP_MAX {
            let fits = patterns.add(subscription(u32::try_from(index).unwrap(), "a", Some("0"))).is_ok();
            assert_eq!(fits, index < CONSUMERS_PER_GROUP_MAX, "{index}");
        }
        for index in 1..=GROUPS_PER_SHARD_MAX {
            let slot = u32::try_from(1000 + index).unwrap();
            let fits = patterns.add(subscription(slot, "a", Some(&index.to_string()))).is_ok();
            assert_eq!(fits, index < GROUPS_PER_SHARD_MAX, "{index}");
        }
        patterns.remove(consumer(1001));
        assert_eq!(patterns.add(subscription(5000, "a", Some("new"))), Ok(()));
        assert_eq!(patterns.groups.len(), GROUPS_PER_SHARD_MAX);
        assert!(patterns.groups.iter().all(|group| &*group.name != "1"));
    }

    #[test]
    fn only_who_has_the_channel_moves_the_position_and_its_time_starts_with_what_it_owes() {
        let mut share = Share::new(Seq(4));
        share.on_event(Millis(100), Seq(5));
        assert_eq!((share.deadline(Seq(5)), share.is_owed(Seq(5))), (None, true), "nobody has it");
        assert_eq!(share.assign(Millis(200), consumer(1)), Seq(4));
        assert_eq!(share.deadline(Seq(5)), Some(Millis(200 + GROUP_ACK_MS)));
        share.on_event(Millis(300), Seq(6));
        assert_eq!(share.deadline(Seq(6)), Some(Millis(200 + GROUP_ACK_MS)), "the first one is owed longest");
        assert!(!share.ack(Millis(400), consumer(2).conn, Seq(6)), "another's acknowledgement");
        assert!(share.ack(Millis(400), consumer(1).conn, Seq(5)) && !share.ack(Millis(400), consumer(1).conn, Seq(5)));
        assert_eq!((share.acked(), share.deadline(Seq(6))), (Seq(5), Some(Millis(400 + GROUP_ACK_MS))));
        assert!(share.ack(Millis(500), consumer(1).conn, Seq(6)));
        assert_eq!((share.deadline(Seq(6)), share.is_owed(Seq(6))), (None, false));
        share.on_event(Millis(900), Seq(7));
        assert_eq!(share.deadline(Seq(7)), Some(Millis(900 + GROUP_ACK_MS)));
        assert_eq!((share.release(), share.consumer()), (Some(consumer(1)), None));
        assert_eq!(share.assign(Millis(1000), consumer(2)), Seq(6), "the next one starts after what was acknowledged");
    }
}
