//! What a client is told of its channels: joined, left, events in order, gaps, acknowledgements; and whether each of
//! them is true.

use serde_json::Value;

use super::{Client, Joined, number, own_name, text};
use crate::counts::{Counts, Kind};
use crate::invariants::{Ledger, Place, Seen};

impl Client {
    pub(super) fn on_subscribe_response(&mut self, payload: &Value, counts: &mut Counts) {
        if self.backend.is_some() {
            return;
        }
        let names = self.requests.pop_front().expect("an answer to a subscribe");
        let failures = payload["failures"].as_array().expect("failures");
        for failure in failures {
            if text(failure, "code") == "PERMISSION_DENIED" {
                counts.count(Kind::PermissionDenied);
            }
            let channel = own_name(text(failure, "channel"), &self.user);
            self.part(&channel).ask = None;
        }
        let joined = payload["subscribed_channels"].as_array().expect("subscribed_channels");
        assert_eq!(joined.len() + failures.len(), names.len(), "each name is answered");
    }

    pub(super) fn on_subscribed(&mut self, payload: &Value, ledger: &mut Ledger, counts: &mut Counts) {
        if let Some(backend) = &mut self.backend {
            return backend.on_subscribed(payload);
        }
        let name = text(payload, "channel");
        let channel = own_name(name, &self.user);
        let (epoch, seq, oldest) = (text(payload, "epoch"), number(payload, "seq"), number(payload, "oldest_seq"));
        let named = self.requests.iter().any(|names| names.contains(&channel));
        assert!(!named, "subscribe_response precedes subscribed: {channel}");
        let part = self.parts.entry(channel.clone()).or_default();
        let ask = part.ask.take().unwrap_or_else(|| panic!("subscribed to {channel} without having asked"));
        assert!(!ask.after_leave, "subscribed before unsubscribed: {channel}");
        counts.count(Kind::Subscribed);
        let recovered = payload.get("recovered").map(|value| value.as_bool().expect("a truth value"));
        assert_eq!(recovered.is_some(), ask.position.is_some(), "a position is answered: {payload}");
        let channel_is_unread = channel.starts_with("notifications:") && (part.joined.is_none() || part.leaving);
        let expected = match (&ask.position, recovered) {
            (Some((old, at)), Some(true)) => {
                let across = ledger.was_stored(&channel, old, *at);
                assert!(old == epoch || across, "recovered from {old} {at}: {payload}");
                assert!(*at <= seq && (oldest <= at + 1 || across), "recovered from {old} {at}: {payload}");
                counts.count(if old == epoch { Kind::ResumedExactly } else { Kind::ResumedAcross });
                at + 1
            }
            (Some(position), _) => {
                let stored = ledger.was_stored(&channel, &position.0, position.1);
                check_lost(position, (ask.truthful, stored), payload, counts);
                let kept = ["chat:", "trip:", "notifications:"].iter().any(|prefix| channel.starts_with(prefix));
                if kept { oldest } else { seq.max(oldest) }
            }
            // Delivered until acknowledged: nothing after that is left out.
            (None, _) if channel_is_unread => ledger.acked_by(&self.user, &channel, epoch).saturating_add(1),
            (None, _) => {
                if let Some(joined) = part.joined.as_ref().filter(|_| !part.leaving) {
                    counts.count(Kind::JoinAgain);
                    // While an operator erases the channel, nobody knows what it is owed.
                    let unknown = joined.expected == u64::MAX;
                    let same = joined.epoch == epoch && (joined.expected <= seq + 1 || unknown);
                    assert!(same, "joining again goes back: had {joined:?}, told {payload}");
                    for hole in ledger.numbers(&channel, joined.expected..seq + 1) {
                        let lacks = ledger.may_lack(&channel, epoch, hole, self.serial);
                        assert!(lacks, "joining again skips events: had {joined:?}, told {payload}");
                        ledger.hole(&channel, epoch, hole, self.serial);
                    }
                }
                seq + 1
            }
        };
        if expected <= seq {
            counts.count(Kind::Replayed);
        }
        if name != channel {
            counts.count(Kind::Alias);
        }
        self.memory.insert(channel, (epoch.to_owned(), seq.min(expected - 1)));
        let unread = channel_is_unread && ask.position.is_none();
        let (epoch, name) = (epoch.to_owned(), name.to_owned());
        part.joined = Some(Joined { epoch, expected, name, unread });
    }

    pub(super) fn on_unsubscribed(&mut self, payload: &Value, counts: &mut Counts) {
        if let Some(backend) = &mut self.backend {
            return backend.on_unsubscribed(payload, counts);
        }
        let channel = own_name(text(payload, "channel"), &self.user);
        let part = self.parts.entry(channel.clone()).or_default();
        assert!(part.leaving || payload.get("reason").is_some(), "unsubscribed from {channel} without having asked");
        counts.count(Kind::Unsubscribed);
        if payload["reason"] == "permission_denied" {
            let left_out = ["trip:", "user:"].iter().any(|prefix| channel.starts_with(prefix));
            assert!(self.narrow && left_out, "its token permits it: {payload}");
            counts.count(Kind::ForbiddenLeft);
        }
        (part.joined, part.leaving) = (None, false);
        self.company.leave(&channel);
        match &mut part.ask {
            Some(ask) if ask.after_leave => ask.after_leave = false,
            ask => *ask = None,
        }
    }

    pub(super) fn on_gap(&mut self, payload: &Value, ledger: &mut Ledger, counts: &mut Counts) {
        let channel = own_name(text(payload, "channel"), &self.user);
        let (from, to) = (number(payload, "from_seq"), number(payload, "to_seq"));
        counts.count(Kind::Gap);
        if let Some(backend) = &mut self.backend {
            return backend.on_gap(payload, self.serial, ledger);
        }
        assert!(from <= to, "{payload}");
        let serial = self.serial;
        let joined = self.parts.get_mut(&channel).and_then(|part| part.joined.as_mut());
        let joined = joined.unwrap_or_else(|| panic!("a gap in {channel} for a non-member"));
        if std::mem::take(&mut joined.unread) {
            joined.expected = joined.expected.min(from);
        }
        assert!(joined.expected <= from, "a gap over what was sent: {joined:?} {payload}");
        for seq in ledger.numbers(&channel, joined.expected..from) {
            ledger.hole(&channel, &joined.epoch, seq, serial);
        }
        joined.expected = to + 1;
        self.memory.insert(channel, (joined.epoch.clone(), to));
    }

    pub(super) fn on_event(&mut self, value: &Value, ledger: &mut Ledger, counts: &mut Counts) {
        let name = text(value, "channel");
        let channel = own_name(name, &self.user);
        let (epoch, seq) = (text(value, "epoch"), number(value, "seq"));
        let seen =
            Seen { is_late: self.read >= self.given, asked: false, ..seen(value, &channel, self.serial, counts) };
        counts.count(Kind::Delivered);
        counts.add(Kind::LargeEvent, u64::from(seen.text.is_some_and(|said| said.len() > 4096)));
        if let Some(backend) = &mut self.backend {
            backend.on_event(&seen, ledger, counts);
            ledger.see(&seen);
            return;
        }
        let part = self.parts.get_mut(&channel);
        let settled = part.as_ref().is_some_and(|part| part.ask.is_none());
        let joined = part.and_then(|part| part.joined.as_mut());
        let joined = joined.unwrap_or_else(|| panic!("an event for a non-member {}: {seen:?}", self.serial));
        assert!(!settled || joined.name == name, "the channel's name changes: {joined:?} {seen:?}");
        if std::mem::take(&mut joined.unread) {
            // What its user has acknowledged may not have been known everywhere: it starts there, or earlier.
            joined.expected = joined.expected.min(seq);
        }
        let known = joined.epoch == epoch || ledger.was_stored(&channel, epoch, seq);
        assert!(known && joined.expected <= seq, "twice or out of order: {joined:?} {seen:?}");
        for hole in ledger.numbers(&channel, joined.expected..seq) {
            counts.count(Kind::Hole);
            ledger.hole(&channel, epoch, hole, self.serial);
            assert!(ledger.may_lack(&channel, epoch, hole, self.serial), "silent gap: {joined:?} {seen:?}");
        }
        joined.expected = seq + 1;
        self.memory.insert(channel.clone(), (epoch.to_owned(), seq));
        ledger.see(&seen);
        if channel.starts_with("notifications:") {
            counts.count(Kind::Notified);
            if self.known && seq.is_multiple_of(2) {
                ledger.user_acked(&self.user, &channel, epoch, seq);
                let place = format!(r#""channel":"{channel}","epoch":"{epoch}","seq":{seq}"#);
                self.replies.push(format!(r#"{{"type":"ack","payload":{{{place}}}}}"#));
            }
        }
    }

    /// A part of a channel's history: in order from either end, and nothing left out.
    pub(super) fn on_history(&self, result: &Value, serial: u64, ledger: &mut Ledger, counts: &mut Counts) {
        let Some(events) = result["events"].as_array() else { return };
        let channel = text(result, "channel");
        let mut before: Option<u64> = None;
        for event in events {
            let seq = number(event, "seq");
            let is_late = ledger.is_after_erasures(serial);
            let seen = Seen { is_late, asked: true, ..seen(event, channel, self.serial, counts) };
            ledger.see(&seen);
            let between = before.map_or(seq..seq, |before| before.min(seq) + 1..before.max(seq));
            let missing = ledger.numbers(channel, between);
            assert!(missing.is_empty() && before != Some(seq), "{missing:?} left out: {result}");
            before = Some(seq);
        }
    }

    pub(super) fn on_ack(&mut self, payload: &Value, ledger: &mut Ledger, counts: &mut Counts) {
        let channel = own_name(text(payload, "channel"), &self.user);
        let id = text(payload, "id");
        let duplicate = payload.get("duplicate").is_some();
        self.answered(id);
        counts.count(if duplicate { Kind::Duplicate } else { Kind::Ack });
        let Some(seq) = payload.get("seq").map(|_| number(payload, "seq")) else {
            counts.count(Kind::AckUnplaced);
            assert!(payload.get("epoch").is_none(), "{payload}");
            return ledger.acked_somewhere(&channel, &self.user, id, duplicate);
        };
        let place = (text(payload, "epoch").to_owned(), seq);
        ledger.acked(&channel, &self.user, id, &place, duplicate);
        let Some(part) = self.parts.get_mut(&channel) else { return };
        let settled = part.ask.is_none() && !part.leaving;
        let Some(joined) = part.joined.as_mut().filter(|joined| settled && joined.epoch == place.0) else { return };
        // Whoever it comes to has everything up to there, but for its own events that it is not to get: it resumes from
        // there, also if its connection ends now.
        for seq in ledger.numbers(&channel, joined.expected..place.1 + 1) {
            let lacks = ledger.may_lack(&channel, &place.0, seq, self.serial);
            assert!(lacks, "acknowledged before it was delivered: {joined:?} {payload}");
            ledger.hole(&channel, &place.0, seq, self.serial);
        }
        joined.expected = joined.expected.max(place.1 + 1);
        self.memory.insert(channel, (place.0, joined.expected - 1));
    }
}

/// A position could not be resumed from: the reason is a true one.
fn check_lost(position: &Place, (truthful, stored): (bool, bool), payload: &Value, counts: &mut Counts) {
    let (epoch, at) = position;
    let same = epoch == text(payload, "epoch");
    match text(payload, "reason") {
        "epoch_changed" => {
            // Of an epoch of which nothing is retained nothing is remembered.
            let forgotten = at + 1 < number(payload, "oldest_seq");
            assert!(!same && (!stored || forgotten), "the position is known: {position:?} {payload}");
            counts.count(Kind::EpochChanged);
        }
        "trimmed" => {
            assert!((same || stored) && at + 1 < number(payload, "oldest_seq"), "not trimmed at {at}: {payload}");
            counts.count(Kind::Trimmed);
        }
        "too_far" => {
            assert!(same && *at > number(payload, "seq") && !truthful, "not too far at {at}: {payload}");
            counts.count(Kind::TooFar);
        }
        other => panic!("a reason {other}"),
    }
}

/// An event as it is told.
fn seen<'a>(value: &'a Value, channel: &'a str, serial: u64, counts: &mut Counts) -> Seen<'a> {
    let is_erased = text(value, "type") == "erased";
    if is_erased {
        counts.count(Kind::TombstoneRead);
        let is_empty = value["payload"].as_object().is_some_and(serde_json::Map::is_empty);
        let says = ["user_id", "op_id", "traceparent"].iter().any(|key| value.get(key).is_some());
        assert!(is_empty && !says, "an erased event says something: {value}");
    }
    Seen {
        channel,
        epoch: text(value, "epoch"),
        seq: number(value, "seq"),
        event_id: text(value, "id"),
        op_id: value.get("op_id").and_then(Value::as_str),
        user: if is_erased { "" } else { text(value, "user_id") },
        text: (!is_erased).then(|| said(value)),
        serial,
        asked: false,
        is_late: false,
    }
}

/// What an event says, whatever its type.
fn said(value: &Value) -> &str {
    let payload = &value["payload"];
    match text(value, "type") {
        "chat_message" => {
            assert_eq!(payload["message"]["content"], payload["content"]);
            text(payload, "content")
        }
        "trip_update_broadcast" => text(&payload["changes"]["budget.total"], "new_value"),
        "sim_note" => text(payload, "text"),
        other => panic!("an event of type {other}"),
    }
}
