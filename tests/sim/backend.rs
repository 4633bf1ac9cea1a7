//! Services: they subscribe to patterns, alone or in a group, acknowledge what they get or do not, answer
//! requests or do not, and die. What they see is held against what the ledger knows of each group.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::counts::{Counts, Kind};
use super::invariants::{Ledger, Seen};

/// A channel that a service is in.
#[derive(Debug)]
struct Held {
    epoch: String,
    /// The next position; `None` before the first event.
    expected: Option<u64>,
    /// What came before the first event is lost, and that was told.
    told_lost: bool,
    /// The last event that was not acknowledged yet.
    unacked: Option<u64>,
}

/// A service's part beyond that of a client.
#[derive(Debug, Default)]
pub(crate) struct Backend {
    /// The group that it shares its pattern with.
    pub(crate) group: Option<&'static str>,
    /// Whether it has asked for its pattern on this connection.
    pub(crate) subscribed: bool,
    channels: BTreeMap<String, Held>,
    /// Acknowledges nothing before this time.
    pub(crate) lazy_until: u64,
    /// Requests that are not answered yet: the id, and what is to be repeated.
    pub(crate) work: Vec<(String, String)>,
}

/// What the ledger knows of a group in one run of a channel, or in a channel that outlives the process.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Nothing after this was acknowledged by anybody.
    pub(crate) acked: Option<u64>,
    /// What some consumer was sent, or told that it is lost.
    pub(crate) covered: BTreeSet<u64>,
    /// Some consumer was told that what lies before this is lost, perhaps before another one read its first event.
    lost_before: u64,
}

impl Backend {
    pub(crate) fn new(group: Option<&'static str>) -> Self {
        Self { group, ..Self::default() }
    }

    pub(crate) fn reset(&mut self) {
        *self = Self::new(self.group);
    }

    /// Who it shares with; a service alone is a group of this connection.
    pub(crate) fn key(&self, serial: u64) -> String {
        self.group.map_or_else(|| format!("alone {serial}"), str::to_owned)
    }

    pub(crate) fn on_subscribed(&mut self, payload: &Value) {
        let channel = text(payload, "channel").to_owned();
        let told_lost = payload["recovered"] != Value::Bool(true);
        assert!(!told_lost || payload["reason"] == "trimmed", "an automatic membership starts within: {payload}");
        let epoch = text(payload, "epoch").to_owned();
        // What is lost is acknowledged like what is there.
        let lost = told_lost.then(|| number(payload, "oldest_seq") - 1);
        self.channels.insert(channel, Held { epoch, expected: None, told_lost, unacked: lost });
    }

    pub(crate) fn on_unsubscribed(&mut self, payload: &Value, counts: &mut Counts) {
        if payload["reason"] == "ack_deadline" {
            counts.count(Kind::ConsumerLate);
        }
        self.channels.remove(text(payload, "channel"));
    }

    pub(crate) fn on_gap(&mut self, payload: &Value, serial: u64, ledger: &mut Ledger) {
        let channel = text(payload, "channel");
        let (from, to) = (number(payload, "from_seq"), number(payload, "to_seq"));
        let key = self.key(serial);
        let held = self.channels.get_mut(channel).unwrap_or_else(|| panic!("a gap for a non-member: {payload}"));
        let follows = |expected: u64| expected <= from && ledger.numbers_owed(channel, expected..from).is_empty();
        assert!(held.expected.is_none_or(follows), "a gap elsewhere: {held:?} {payload}");
        let progress = ledger.group(&key, channel, &held.epoch);
        if held.expected.replace(to + 1).is_none() && held.told_lost {
            progress.cover_up_to(from);
        }
        progress.covered.extend(from..=to);
    }

    pub(crate) fn on_event(&mut self, seen: &Seen<'_>, ledger: &mut Ledger, counts: &mut Counts) {
        let key = self.key(seen.serial);
        let held = self.channels.get_mut(seen.channel).unwrap_or_else(|| panic!("an event for a non-member: {seen:?}"));
        let one_run = held.epoch == seen.epoch || ledger.was_stored(seen.channel, seen.epoch, seen.seq);
        assert!(one_run, "one run: {held:?} {seen:?}");
        let acked = ledger.group(&key, seen.channel, seen.epoch).acked;
        let before = held.expected.or_else(|| acked.map(|acked| acked + 1)).unwrap_or(seen.seq);
        let left_out = ledger.numbers_owed(seen.channel, before..seen.seq.max(before));
        let progress = ledger.group(&key, seen.channel, seen.epoch);
        match held.expected {
            Some(expected) => {
                let follows = expected <= seen.seq && left_out.is_empty();
                assert!(follows, "in order, none left out: {held:?} {seen:?}");
            }
            None if held.told_lost => progress.cover_up_to(seen.seq),
            None => {
                // Whoever takes over starts after what was acknowledged, not later.
                let acked = *progress.acked.get_or_insert(seen.seq - 1);
                assert!(left_out.is_empty(), "{key} goes on at {} after {acked}: {seen:?}", seen.seq);
                counts.add(Kind::Redelivered, u64::from(progress.covered.contains(&seen.seq)));
            }
        }
        progress.covered.insert(seen.seq);
        held.expected = Some(seen.seq + 1);
        held.unacked = Some(seen.seq);
        if self.group.is_none() {
            // Alone, an event counts as done once it has come.
            progress.acked = progress.acked.max(Some(seen.seq));
        }
        counts.count(Kind::Consumed);
    }

    /// Acknowledges the latest event of a channel, in the words of the protocol.
    pub(crate) fn ack(&mut self, pick: usize, serial: u64, ledger: &mut Ledger) -> Option<String> {
        let key = self.key(serial);
        let mut owed: Vec<_> = self.channels.iter_mut().filter(|(_, held)| held.unacked.is_some()).collect();
        let count = owed.len();
        let (channel, held) = owed.get_mut(pick % count.max(1))?;
        let seq = held.unacked.take()?;
        let progress = ledger.group(&key, channel, &held.epoch);
        if held.told_lost && held.expected.is_none() {
            progress.cover_up_to(seq + 1);
        }
        progress.acked = progress.acked.max(Some(seq));
        let epoch = &held.epoch;
        Some(format!(r#"{{"type":"ack","payload":{{"channel":"{channel}","epoch":"{epoch}","seq":{seq}}}}}"#))
    }

    /// Will never acknowledge what it has got so far, unless more comes.
    pub(crate) fn forget(&mut self) {
        self.channels.values_mut().for_each(|held| held.unacked = None);
    }

    /// Whether it is in its channels on this connection and owes nothing.
    pub(crate) fn is_done(&self) -> bool {
        self.work.is_empty() && self.channels.values().all(|held| held.unacked.is_none())
    }
}

impl Progress {
    /// What lies before `seq` and after all that came is lost.
    fn cover_up_to(&mut self, seq: u64) {
        let from = self.covered.last().map_or(seq, |last| last + 1);
        self.covered.extend(from..seq);
        self.lost_before = self.lost_before.max(seq);
    }

    /// What somebody must have been sent: from the first event on.
    pub(crate) fn owed(&self, last: u64) -> std::ops::Range<u64> {
        self.covered.first().map_or(0..0, |first| (*first).max(self.lost_before)..last + 1)
    }

    /// At the end, with a consumer there: every number that is owed was sent to some consumer.
    pub(crate) fn check(&self, name: &str, mut owed: Vec<u64>) {
        owed.retain(|seq| !self.covered.contains(seq));
        assert!(owed.is_empty(), "nobody of the group got {owed:?} of {name}");
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} is a text in {value}"))
}

fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_else(|| panic!("{key} is a number in {value}"))
}
