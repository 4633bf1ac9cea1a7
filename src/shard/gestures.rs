//! What somebody does in a channel, told to the others as it happens: who writes, where a cursor is, who edits
//! which field. It goes to the channel's home, becomes a note there, and visits tell it.
//!
//! Nothing here is retried or answered. A refusal is told only where a client could mend it; what finds no
//! place is counted and dropped, but never the end of what has begun.

use std::sync::Arc;

use super::Shard;
use super::effect::{Effect, Effects};
use super::message::{Gesture, MeshMessage, Notes};
use super::rooms::{Attendance, Role, RoomId};
use super::timers::Timer;
use crate::auth::caps::Verb;
use crate::code::ErrorCode;
use crate::envelope::company::{Doing, write_doing};
use crate::envelope::event::write_string;
use crate::envelope::globetrotter::notice::write_typing;
use crate::envelope::globetrotter::{IdForm, TripRef};
use crate::envelope::tripsage::alias_of;
use crate::envelope::{Encoding, Fields, Inbound, Typing};
use crate::ids::ConnId;
use crate::limits::{FIELD_NAME_BYTES_MAX, FLEETING_BODY_BYTES_MAX, TYPING_MS};
use crate::metrics::Metric;
use crate::payload::Payload;
use crate::room::fleeting::{Act, Draft, Key, Topic};
use crate::route;
use crate::time::{Millis, Now};

/// Fields of a relayed message that the gateway writes itself.
const OURS: [&str; 6] = ["user_id", "userId", "trip_id", "tripId", "session_id", "sessionId"];

/// What a client does, before it is known where.
struct Wish<'a> {
    topic: Topic,
    act: Act,
    field: &'a str,
    body: &'a [u8],
}

impl Shard {
    /// Somebody writes, or writes no more.
    pub(super) fn on_typing(
        &mut self,
        now: Now,
        id: ConnId,
        inbound: &Inbound<'_>,
        typing: Typing<'_>,
        effects: &mut Effects,
    ) {
        let (act, field) = match typing {
            Typing::Start { field } => (Act::Begin(Some(TYPING_MS)), field),
            Typing::Stop { field } => (Act::End, field),
        };
        let wish = Wish { topic: Topic::Typing, act, field: field.unwrap_or(""), body: &[] };
        self.wish(now, id, inbound, (Verb::Publish, &["chat:", "trip:"]), &wish, effects);
    }

    /// A cursor, or what else goes to the others in a trip as it is.
    pub(super) fn on_relay(
        &mut self,
        now: Now,
        id: ConnId,
        inbound: &Inbound<'_>,
        (kind, fields): (&str, &Fields<'_>),
        effects: &mut Effects,
    ) {
        let mut body = Vec::new();
        fields.write_but(&OURS, &mut body);
        if body.len() > FLEETING_BODY_BYTES_MAX {
            return self.refuse_message(now, id, inbound, ErrorCode::InvalidMessageFormat, effects);
        }
        let [field] = fields.object().find([&["field_name", "fieldName", "field"]]);
        let field = field.and_then(|field| field.escaped()).filter(|field| field.len() <= FIELD_NAME_BYTES_MAX);
        let field = field.unwrap_or("");
        let (topic, act, field) = match kind {
            "trip_field_editing_start" => (Topic::Editing, Act::Begin(None), field),
            "trip_field_editing_stop" => (Topic::Editing, Act::End, field),
            "trip_collaboration_join" => (Topic::Company, Act::Begin(None), ""),
            "trip_collaboration_leave" => (Topic::Company, Act::End, ""),
            _ => (Topic::Cursor, Act::Show, ""),
        };
        self.wish(now, id, inbound, (Verb::Edit, &["trip:"]), &Wish { topic, act, field, body: &body }, effects);
    }

    /// To the channel's home, if it is a channel in which such things are done.
    fn wish(
        &mut self,
        now: Now,
        id: ConnId,
        inbound: &Inbound<'_>,
        (verb, prefixes): (Verb, &[&str]),
        wish: &Wish<'_>,
        effects: &mut Effects,
    ) {
        let Some((channel, user)) = self.target(now, id, inbound, verb, effects) else { return };
        if !prefixes.iter().any(|prefix| channel.starts_with(prefix)) {
            return self.refuse_message(now, id, inbound, ErrorCode::ChannelNotFound, effects);
        }
        if wish.act == Act::Begin(None) && self.membership_index(id, &channel).is_none() {
            // It ends when its author leaves the channel, so the author has to be in it.
            return self.refuse_message(now, id, inbound, ErrorCode::NotAMember, effects);
        }
        let home = route::home(&self.options.key, &channel, self.options.shards);
        let gesture = Gesture {
            author: Some(id),
            channel,
            user,
            topic: wish.topic,
            act: wish.act,
            field: Box::from(wish.field),
            body: Box::from(wish.body),
        };
        if home == self.id {
            return self.on_gesture(now, &gesture, effects);
        }
        let here = self.rooms.find(&gesture.channel).and_then(|room| self.rooms.at(room));
        let goes_on = here.and_then(|room| room.fleeting.as_ref()).is_some_and(|one| one.going_on > now.millis());
        if effects.congested(home) && !(wish.act == Act::End && goes_on) {
            return self.metrics.count(Metric::FleetingDropped);
        }
        let lasts = match wish.act {
            Act::Begin(None) => Some(Millis(u64::MAX)),
            Act::Begin(Some(ms)) => Some(now.millis().after(ms)),
            Act::End | Act::Show => None,
        };
        if let Some(until) = lasts
            && let Some(here) = self.rooms.find(&gesture.channel)
            && let Some(room) = self.rooms.at_mut(here)
        {
            let fleeting = room.fleeting(now);
            fleeting.going_on = fleeting.going_on.max(until);
            self.watch_notes(now, here);
        }
        effects.list.push(Effect::Mesh(home, MeshMessage::Gesture(Box::new(gesture))));
    }

    /// Somebody does something in a channel at home here.
    pub(super) fn on_gesture(&mut self, now: Now, gesture: &Gesture, _effects: &mut Effects) {
        let Some(id) = self.rooms.find(&gesture.channel) else { return };
        let Some(room) = self.rooms.at_mut(id).filter(|room| !room.is_deserted()) else { return };
        let key = Key { topic: gesture.topic, user: Arc::clone(&gesture.user), field: gesture.field.clone() };
        if gesture.act == Act::End && !room.fleeting.as_ref().is_some_and(|fleeting| fleeting.goes_on(&key)) {
            return; // Nobody was told that it began.
        }
        room.fleeting(now);
        let mut frames = self.encode_doing(now, &key, gesture.act, &gesture.channel, &gesture.body);
        if gesture.author.is_some() {
            frames.extend(self.encode_flat(now, &key, gesture.act, &gesture.channel));
        }
        let bytes = frames.iter().map(|(_, frame)| frame.len()).sum();
        if gesture.act != Act::End && !self.find_place(now, id, &key, bytes) {
            self.watch_notes(now, id);
            return self.metrics.count(Metric::FleetingDropped);
        }
        self.note(now, id, Draft { key, act: gesture.act, author: gesture.author, audience: None, frames });
    }

    /// Whether there is place for a note, if need be after what everybody knows is forgotten.
    fn find_place(&mut self, now: Now, id: RoomId, key: &Key, bytes: usize) -> bool {
        let has_room = |shard: &Self| {
            let fleeting = shard.rooms.at(id).and_then(|room| room.fleeting.as_ref());
            fleeting.is_some_and(|fleeting| fleeting.has_room(key, bytes))
        };
        if has_room(self) {
            return true;
        }
        let fleeting = self.rooms.at(id).and_then(|room| room.fleeting.as_ref());
        if fleeting.is_some_and(|fleeting| fleeting.is_untidy(now.millis())) {
            self.tidy_notes(now, id);
        }
        has_room(self)
    }

    /// Adds a note to a channel at home here, and lets everybody be visited.
    pub(super) fn note(&mut self, now: Now, id: RoomId, draft: Draft) {
        #[cfg(feature = "planted-faults")]
        let draft = match draft.act {
            Act::End if super::fault::is(super::fault::Fault::EndUnasked) => Draft { act: Act::Show, ..draft },
            _ => draft,
        };
        if let Some(fleeting) = self.rooms.at_mut(id).and_then(|room| room.fleeting.as_mut()) {
            fleeting.put(now.millis(), draft);
            self.metrics.count(Metric::Fleeting);
        }
        self.watch_notes(now, id);
        self.line_up(id);
    }

    /// What is told, in every form of the channel's name.
    fn encode_doing(&mut self, now: Now, key: &Key, act: Act, channel: &str, body: &[u8]) -> Vec<(Encoding, Payload)> {
        let begins = act != Act::End;
        let kind = match (key.topic, begins) {
            (Topic::Typing, true) if channel.starts_with("chat:") => "chat_typing_start",
            (Topic::Typing, false) if channel.starts_with("chat:") => "chat_typing_stop",
            (Topic::Typing, true) => "user_typing",
            (Topic::Typing, false) => "user_stop_typing",
            (Topic::Editing, true) => "trip_field_editing_start",
            (Topic::Editing, false) => "trip_field_editing_stop",
            (Topic::Company, true) => "trip_collaboration_join",
            (Topic::Company, false) => "trip_collaboration_leave",
            (Topic::Cursor | Topic::Presence | Topic::Count, _) => "cursor_update",
        };
        let name = if key.topic == Topic::Typing { "field" } else { "field_name" };
        let named = !key.field.is_empty() && body.is_empty();
        let doing = Doing { kind, channel, user: &key.user, field: named.then_some((name, &*key.field)), body };
        let mut frames = Vec::new();
        for encoding in forms(channel) {
            let stamp = self.pen.stamp(now, encoding);
            frames.push((encoding, self.pen.text(|out| write_doing(stamp, &doing, out))));
        }
        frames
    }

    /// What those are told who speak flat frames: that somebody writes in their trip.
    fn encode_flat(&mut self, now: Now, key: &Key, act: Act, channel: &str) -> Option<(Encoding, Payload)> {
        let id = channel.strip_prefix("trip:").filter(|_| key.topic == Topic::Typing && act != Act::End)?;
        let mut field = Vec::new();
        if key.field.is_empty() {
            field.extend_from_slice(b"null");
        } else {
            write_string(&key.field, &mut field);
        }
        let field = String::from_utf8(field).unwrap_or_default();
        let trip = TripRef { id, form: IdForm::Text };
        let frame = self.pen.text(|out| write_typing(&key.user, trip, &field, now.unix_ms, out));
        Some((Encoding::GLOBETROTTER, frame))
    }

    /// A connection leaves a channel here: what it had begun there ends.
    pub(super) fn end_gestures(&mut self, now: Now, id: RoomId, leaver: ConnId, effects: &mut Effects) {
        let Some(room) = self.rooms.at(id) else { return };
        let Some(fleeting) = &room.fleeting else { return };
        match &room.role {
            Role::Home { .. } => {
                let over = fleeting.over(now.millis(), Some(leaver));
                self.end_all(now, id, over);
            }
            Role::Mirror { home, .. } if fleeting.going_on > now.millis() => {
                let message = MeshMessage::Parted(Arc::clone(&room.name), leaver);
                effects.list.push(Effect::Mesh(*home, message));
            }
            Role::Mirror { .. } => {}
        }
    }

    /// A connection left a channel there that is at home here.
    pub(super) fn on_parted(&mut self, now: Now, channel: &str, leaver: ConnId) {
        let Some(id) = self.rooms.find(channel) else { return };
        let fleeting = self.rooms.at(id).and_then(|room| room.fleeting.as_ref());
        let over = fleeting.map_or_else(Vec::new, |fleeting| fleeting.over(now.millis(), Some(leaver)));
        self.end_all(now, id, over);
    }

    fn end_all(&mut self, now: Now, id: RoomId, keys: Vec<Key>) {
        let Some(channel) = self.rooms.at(id).map(|room| Arc::clone(&room.name)) else { return };
        for key in keys {
            let frames = self.encode_doing(now, &key, Act::End, &channel, &[]);
            self.note(now, id, Draft { key, act: Act::End, author: None, audience: None, frames });
        }
    }

    /// Notes from the home of a channel that has members here.
    pub(super) fn on_notes(&mut self, now: Now, notes: Notes, _effects: &mut Effects) {
        let Some(id) = self.rooms.find(&notes.channel) else { return };
        let Some(room) = self.rooms.at_mut(id) else { return };
        match &room.role {
            Role::Mirror { attachment, .. } if *attachment == notes.attachment => {}
            _ => return, // Sent before the home knew that the members here had left.
        }
        let fleeting = room.fleeting(now);
        fleeting.lack(notes.left_out);
        fleeting.follow(notes.notes);
        if let Some(whole) = notes.whole {
            fleeting.set_whole(whole);
        }
        let wanting = fleeting.wanting;
        if wanting {
            self.gather(now, id);
        }
        self.watch_notes(now, id);
        self.line_up(id);
    }

    /// Sees to it that a channel is looked at when something runs out or may be forgotten.
    pub(super) fn watch_notes(&mut self, now: Now, id: RoomId) {
        let Some(room) = self.rooms.at_mut(id) else { return };
        let gone = match room.attendance.as_deref() {
            Some(Attendance::Roll(presence)) => presence.next_gone(),
            _ => None,
        };
        let Some(fleeting) = &mut room.fleeting else { return };
        let next = gone.into_iter().fold(fleeting.next_look(now.millis()), Millis::min);
        if fleeting.timer.is_none_or(|timer| next < timer) {
            fleeting.timer = Some(next);
            self.wheel.insert(next, Timer::Room(id));
        }
    }

    /// Something may have run out, or is known to everybody.
    pub(super) fn on_room_timer(&mut self, now: Now, id: RoomId) {
        let Some(room) = self.rooms.at_mut(id) else { return };
        let Some(fleeting) = &mut room.fleeting else { return };
        if fleeting.timer.is_none_or(|timer| timer > now.millis()) {
            return; // An entry that a nearer one has replaced.
        }
        fleeting.timer = None;
        if matches!(room.role, Role::Home { .. }) {
            let over = fleeting.over(now.millis(), None);
            self.end_all(now, id, over);
        }
        self.expire_broken(now, id);
        self.tidy_notes(now, id);
        if let Some(room) = self.rooms.at_mut(id) {
            room.end_fleeting(now.millis());
        }
        self.watch_notes(now, id);
    }

    /// Forgets the notes that everybody knows.
    fn tidy_notes(&mut self, now: Now, id: RoomId) {
        let Some(room) = self.rooms.at_mut(id) else { return };
        let Some(fleeting) = &mut room.fleeting else { return };
        let here = fleeting.look(&room.members);
        let there = match &room.role {
            Role::Home { followers, .. } => followers.iter().map(|follower| follower.told).min(),
            Role::Mirror { .. } => None,
        };
        // While not all were looked at, only what is too old is forgotten.
        let known = here.map_or(0, |here| here.min(there.unwrap_or(u64::MAX)));
        fleeting.tidy(now.millis(), known);
        if fleeting.wanting {
            self.gather(now, id);
        }
    }

    /// Sends the following shards the notes that they were not told, as far as the mesh takes them. Returns
    /// whether one of them is behind.
    pub(super) fn feed_notes(&mut self, id: RoomId, effects: &mut Effects) -> bool {
        let Some(room) = self.rooms.at_mut(id) else { return false };
        let (Some(fleeting), Role::Home { followers, .. }) = (&room.fleeting, &mut room.role) else { return false };
        let mut behind = false;
        for follower in followers.iter_mut().filter(|follower| follower.told < fleeting.stamp()) {
            if effects.congested(follower.shard) {
                behind = true;
                continue;
            }
            let notes = fleeting.since(follower.told, follower.watches);
            let left_out = if follower.watches { fleeting.left_out_since(follower.told) } else { 0 };
            follower.told = fleeting.stamp();
            if notes.is_empty() && left_out == 0 {
                continue;
            }
            let (channel, attachment) = (Arc::clone(&room.name), follower.attachment);
            let notes = Notes { channel, attachment, notes, left_out, whole: None };
            effects.list.push(Effect::Mesh(follower.shard, MeshMessage::Notes(Box::new(notes))));
        }
        behind
    }
}

/// The encodings in which a channel is named differently.
pub(super) fn forms(channel: &str) -> impl Iterator<Item = Encoding> {
    let alias = alias_of(channel).map(|_| Encoding::TRIPSAGE_ALIAS);
    std::iter::once(Encoding::TRIPSAGE).chain(alias)
}
