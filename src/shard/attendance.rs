//! Who is in a channel: noted while somebody wants to know, told in batches.
//!
//! The channel's home keeps the roll. It is opened when the first member that wants to know comes, here or on a
//! shard that follows; then the home asks the following shards who is there, and they report as it changes.
//! Without such a member nothing is kept and nobody is asked.

use std::sync::Arc;

use super::Shard;
use super::connection::Membership;
use super::effect::{Effect, Effects};
use super::gestures::forms;
use super::message::{MeshMessage, Notes, Report as ReportMessage};
use super::rooms::{Attendance, Report, Role, RoomId};
use crate::auth::caps::Verb;
use crate::envelope::Encoding;
use crate::envelope::company::{self, Person, Roll, write_collaborator, write_collaborators, write_presence};
use crate::ids::{ConnId, ShardId};
use crate::limits::{PRESENCE_BATCH_MS, PRESENCE_LISTED_MAX, PRESENCE_REPORT_MAX, TIMERS_PER_TURN_MAX};
use crate::payload::Payload;
use crate::room::fleeting::{Act, Draft, Key, Topic, Whole};
use crate::room::members::Watch;
use crate::room::presence::{Arrival, Batch, Change, Parting, Presence};
use crate::time::Now;

impl Shard {
    /// What a connection is to be told of who else is in a channel.
    pub(super) fn watch_of(&self, id: ConnId, room: RoomId) -> Watch {
        let Some((conn, room)) = self.slots.find(id).zip(self.rooms.at(room)) else { return Watch::Nothing };
        let may = conn.claims.as_ref().is_some_and(|claims| self.permits(claims, &room.name, Verb::Presence));
        if conn.door.is_flat() {
            return Watch::Nothing;
        }
        match (may, conn.known) {
            (true, true) => Watch::Presence,
            (true, false) if room.name.starts_with("trip:") => Watch::Collaborators,
            _ => Watch::Nothing,
        }
    }

    /// A connection has come into a channel.
    pub(super) fn attend(&mut self, now: Now, id: ConnId, at: Membership, effects: &mut Effects) {
        let arrival = self.arrival(id);
        let Some(room) = self.rooms.at_mut(at.room) else { return };
        let Some(watch) = room.members.at(at.place).map(|member| member.watch) else { return };
        if watch.watches() && room.attendance.is_none() {
            self.open_attendance(now, at.room, effects);
        }
        let Some(room) = self.rooms.at_mut(at.room) else { return };
        if room.attendance.is_some() || room.fleeting.is_some() {
            room.fleeting(now).enter(at.place, watch);
            self.line_up(at.room);
        }
        let Some(room) = self.rooms.at_mut(at.room) else { return };
        match (room.attendance.as_deref_mut(), arrival) {
            (Some(Attendance::Roll(presence)), Some(arrival)) => presence.join(arrival),
            (Some(Attendance::Report(report)), Some(arrival)) if report.wanted => report.joined.push(arrival),
            (Some(Attendance::Report(_)), _) => {}
            _ => return,
        }
        self.gather(now, at.room);
    }

    /// A member that a pattern had brought has joined by name: from now on it is there for everybody.
    pub(super) fn attend_by_name(&mut self, now: Now, id: ConnId, at: Membership, effects: &mut Effects) {
        let watch = self.watch_of(id, at.room);
        if self.rooms.at_mut(at.room).is_some_and(|room| room.members.set_watch(at.place, watch)) {
            self.attend(now, id, at, effects);
        }
    }

    /// A member starts again from a position: it gets the whole anew.
    pub(super) fn attend_again(&mut self, now: Now, at: Membership) {
        let Some(room) = self.rooms.at_mut(at.room) else { return };
        let watches = room.members.at(at.place).is_some_and(|member| member.watch.watches());
        if watches && room.attendance.is_some() {
            room.fleeting(now).need_whole(at.place);
            self.gather(now, at.room);
        }
    }

    /// A client has made itself known, or has another token: it may be told more or less from now on.
    pub(super) fn attend_anew(&mut self, now: Now, id: ConnId, effects: &mut Effects) {
        let count = self.slots.find(id).map_or(0, |conn| conn.memberships.len());
        for index in 0..count {
            let Some(at) = self.slots.find(id).and_then(|conn| conn.memberships.at(index)) else { break };
            self.attend_one_anew(now, id, at, effects);
        }
    }

    /// The same in one channel.
    pub(super) fn attend_one_anew(&mut self, now: Now, id: ConnId, at: Membership, effects: &mut Effects) {
        let watch = self.watch_of(id, at.room);
        let changed = self.rooms.at_mut(at.room).is_some_and(|room| {
            let apart = room.members.at(at.place).is_some_and(|member| member.watch == Watch::Apart);
            !apart && room.members.set_watch(at.place, watch)
        });
        if changed {
            self.attend(now, id, at, effects);
            self.close_attendance(at.room, effects);
        }
    }

    /// A connection has left a channel.
    pub(super) fn part(&mut self, now: Now, id: ConnId, room_id: RoomId, parting: Parting, effects: &mut Effects) {
        self.end_gestures(now, room_id, id, effects);
        let Some(room) = self.rooms.at_mut(room_id) else { return };
        match room.attendance.as_deref_mut() {
            Some(Attendance::Roll(presence)) => presence.leave(now.millis(), id, parting),
            Some(Attendance::Report(report)) if report.wanted => {
                let before = report.joined.len();
                report.joined.retain(|arrival| arrival.id != id);
                if before == report.joined.len() {
                    report.left.push((id, parting));
                }
            }
            _ => return,
        }
        self.gather(now, room_id);
        self.watch_notes(now, room_id);
        self.close_attendance(room_id, effects);
    }

    fn arrival(&self, id: ConnId) -> Option<Arrival> {
        let conn = self.slots.find(id)?;
        let claims = conn.claims.as_ref()?;
        Some(Arrival { id, user: Arc::clone(&claims.user), name: conn.name, info: claims.info() })
    }

    /// All members here.
    fn arrivals(&mut self, id: RoomId) -> Vec<Arrival> {
        let Some(room) = self.rooms.at_mut(id) else { return Vec::new() };
        let members = room.members.iter_mut().filter(|member| member.watch != Watch::Apart);
        let slots: Vec<u32> = members.map(|member| member.slot).collect();
        let ids: Vec<ConnId> =
            slots.into_iter().filter_map(|slot| self.slots.tenant_mut(slot).map(|(id, _)| id)).collect();
        ids.into_iter().filter_map(|id| self.arrival(id)).collect()
    }

    /// Somebody wants to know who is in a channel: at home the roll is opened, elsewhere the home will be asked.
    pub(super) fn open_attendance(&mut self, now: Now, id: RoomId, effects: &mut Effects) {
        let arrivals = self.arrivals(id);
        let Some(room) = self.rooms.at_mut(id) else { return };
        let Role::Home { followers, .. } = &room.role else {
            // The first report opens the home's roll, so it says who is here: they are in the whole that follows.
            room.attendance = Some(Box::new(Attendance::Report(Report { whole: true, ..Report::default() })));
            return;
        };
        let mut presence = Presence::default();
        arrivals.into_iter().for_each(|arrival| presence.join(arrival));
        // Who wants to know gets the whole.
        presence.take(now.millis());
        for follower in followers {
            let (channel, attachment) = (Arc::clone(&room.name), follower.attachment);
            let call = MeshMessage::CallRoll { channel, attachment, wanted: true };
            effects.list.push(Effect::Mesh(follower.shard, call));
        }
        room.attendance = Some(Box::new(Attendance::Roll(presence)));
        self.gather(now, id);
    }

    /// Forgets the roll when nobody wants to know any more.
    pub(super) fn close_attendance(&mut self, id: RoomId, effects: &mut Effects) {
        let Some(room) = self.rooms.at_mut(id) else { return };
        let Role::Home { followers, .. } = &room.role else { return };
        if self.roll_calls.iter().any(|call| call.is_about(&room.name)) {
            return; // It is closed once that is answered.
        }
        let watched = room.members.watchers() > 0 || followers.iter().any(|follower| follower.watches);
        if watched || room.attendance.take().is_none() {
            return;
        }
        for follower in followers {
            let (channel, attachment) = (Arc::clone(&room.name), follower.attachment);
            let call = MeshMessage::CallRoll { channel, attachment, wanted: false };
            effects.list.push(Effect::Mesh(follower.shard, call));
        }
    }

    /// A shard follows a channel at home here from now on.
    pub(super) fn call_follower(&self, id: RoomId, to: ShardId, attachment: u32, effects: &mut Effects) {
        let Some(room) = self.rooms.at(id).filter(|room| room.attendance.is_some()) else { return };
        let call = MeshMessage::CallRoll { channel: Arc::clone(&room.name), attachment, wanted: true };
        effects.list.push(Effect::Mesh(to, call));
    }

    /// A shard follows a channel at home here no more.
    pub(super) fn release_follower(&mut self, now: Now, id: RoomId, from: ShardId, effects: &mut Effects) {
        let Some(room) = self.rooms.at_mut(id) else { return };
        if let Some(Attendance::Roll(presence)) = room.attendance.as_deref_mut() {
            presence.replace(now.millis(), from, Vec::new());
            self.gather(now, id);
            self.watch_notes(now, id);
            self.close_attendance(id, effects);
        }
    }

    /// The home of a channel that has members here wants to know who they are, or no more.
    pub(super) fn on_call_roll(&mut self, now: Now, channel: &str, attachment: u32, wanted: bool) {
        let Some(id) = self.rooms.find(channel) else { return };
        let Some(room) = self.rooms.at_mut(id) else { return };
        if !matches!(&room.role, Role::Mirror { attachment: ours, .. } if *ours == attachment) {
            return;
        }
        room.attendance = Some(Box::new(Attendance::Report(Report { wanted, whole: wanted, ..Report::default() })));
        self.gather(now, id);
    }

    /// Who came and went on a shard that follows.
    pub(super) fn on_attendance(&mut self, now: Now, from: ShardId, report: ReportMessage, effects: &mut Effects) {
        let Some(follower) = self.follower_mut(from, &report.channel, report.attachment) else { return };
        follower.watches |= report.wanting;
        follower.whole |= report.wanting;
        let Some(id) = self.rooms.find(&report.channel) else { return };
        if report.wanting && self.rooms.at(id).is_some_and(|room| room.attendance.is_none()) {
            self.open_attendance(now, id, effects);
        }
        let Some(room) = self.rooms.at_mut(id) else { return };
        let Some(Attendance::Roll(presence)) = room.attendance.as_deref_mut() else { return };
        for (leaver, parting) in report.left {
            presence.leave(now.millis(), leaver, parting);
        }
        if report.whole {
            presence.replace(now.millis(), from, report.joined);
        } else {
            report.joined.into_iter().for_each(|arrival| presence.join(arrival));
        }
        self.gather(now, id);
        self.watch_notes(now, id);
    }

    /// Puts a channel among those whose batch is told soon.
    pub(super) fn gather(&mut self, now: Now, id: RoomId) {
        let Some(room) = self.rooms.at_mut(id) else { return };
        if room.attendance.is_some() && !std::mem::replace(&mut room.fleeting(now).soon, true) {
            self.soon.push_back((now.millis().after(PRESENCE_BATCH_MS), id));
        }
    }

    /// Tells the batches that are due, as far as a turn goes: a crowd that came together is due together.
    pub(super) fn on_soon(&mut self, now: Now, effects: &mut Effects) {
        for _ in 0..TIMERS_PER_TURN_MAX {
            let Some((_, id)) = self.soon.pop_front_if(|(at, _)| *at <= now.millis()) else { break };
            let Some(room) = self.rooms.at_mut(id) else { continue };
            let Some(fleeting) = &mut room.fleeting else { continue };
            if !std::mem::take(&mut fleeting.soon) {
                continue;
            }
            match room.attendance.as_deref() {
                Some(Attendance::Roll(_)) => self.tell_roll(now, id, effects),
                Some(Attendance::Report(_)) => self.send_report(now, id, effects),
                None => {}
            }
            self.watch_notes(now, id);
        }
    }

    /// A mirror tells its home who came and went, as soon as the mesh takes it.
    fn send_report(&mut self, now: Now, id: RoomId, effects: &mut Effects) {
        let Some(Role::Mirror { home, .. }) = self.rooms.at(id).map(|room| &room.role) else { return };
        if !effects.congested(*home) {
            return self.send_report_now(id, effects);
        }
        if let Some(Attendance::Report(report)) = self.rooms.at_mut(id).and_then(|room| room.attendance.as_deref_mut())
            && report.joined.len() + report.left.len() > PRESENCE_REPORT_MAX
        {
            (report.whole, report.joined, report.left) = (true, Vec::new(), Vec::new());
        }
        self.gather(now, id);
    }

    /// The same whatever the mesh says: the last report before the shard follows no more.
    pub(super) fn send_report_now(&mut self, id: RoomId, effects: &mut Effects) {
        let whole = match self.rooms.at(id).and_then(|room| room.attendance.as_deref()) {
            Some(Attendance::Report(report)) => report.whole,
            _ => return,
        };
        let all = if whole { self.arrivals(id) } else { Vec::new() };
        let Some(room) = self.rooms.at_mut(id) else { return };
        let (Some(Attendance::Report(report)), Role::Mirror { home, attachment, .. }) =
            (room.attendance.as_deref_mut(), &room.role)
        else {
            return;
        };
        let wanting = room.fleeting.as_mut().is_some_and(|fleeting| std::mem::take(&mut fleeting.wanting))
            && room.members.watchers() > 0;
        let joined = std::mem::take(&mut report.joined);
        report.whole = false;
        let message = ReportMessage {
            channel: Arc::clone(&room.name),
            attachment: *attachment,
            whole,
            joined: if whole { all } else { joined },
            left: std::mem::take(&mut report.left),
            wanting,
        };
        if whole || wanting || !message.joined.is_empty() || !message.left.is_empty() {
            effects.list.push(Effect::Mesh(*home, MeshMessage::Report(Box::new(message))));
        }
    }

    /// The broken connections of a channel at home here whose time is over are gone.
    pub(super) fn expire_broken(&mut self, now: Now, id: RoomId) {
        let Some(room) = self.rooms.at_mut(id) else { return };
        if let Some(Attendance::Roll(presence)) = room.attendance.as_deref_mut() {
            presence.expire(now.millis());
            if presence.has_changed() {
                self.gather(now, id);
            }
        }
    }

    /// Tells what has changed, and the whole to those that need it.
    fn tell_roll(&mut self, now: Now, id: RoomId, effects: &mut Effects) {
        self.expire_broken(now, id);
        let Some(room) = self.rooms.at_mut(id) else { return };
        let Some(Attendance::Roll(presence)) = room.attendance.as_deref_mut() else { return };
        match presence.take(now.millis()) {
            Batch::Nothing => {}
            Batch::Change(change) => self.tell_change(now, id, &change),
            Batch::Count => {
                let frames = self.encode_presence(now, id, company::Attendance::Count);
                self.forget_changes(id);
                let key = Key { topic: Topic::Count, user: Arc::from(""), field: Box::default() };
                let audience = Some(Watch::Presence);
                self.note(now, id, Draft { key, act: Act::Show, author: None, audience, frames });
            }
            Batch::Whole => {
                self.forget_changes(id);
                if let Some(fleeting) = self.rooms.at_mut(id).and_then(|room| room.fleeting.as_mut()) {
                    fleeting.renew();
                }
            }
        }
        self.tell_whole(now, id, effects);
        let Some(room) = self.rooms.at(id) else { return };
        if matches!(room.attendance.as_deref(), Some(Attendance::Roll(presence)) if presence.has_changed()) {
            self.gather(now, id);
        }
        self.watch_notes(now, id);
    }

    fn forget_changes(&mut self, id: RoomId) {
        if let Some(fleeting) = self.rooms.at_mut(id).and_then(|room| room.fleeting.as_mut()) {
            fleeting.forget_changes();
        }
    }

    fn tell_change(&mut self, now: Now, id: RoomId, change: &Change) {
        let Change { joined, left } = change;
        let attendance = company::Attendance::Change { joined, left };
        let known = self.encode_presence(now, id, attendance);
        let legacy = self.encode_collaborators(now, id, change);
        let Some(version) = self.roll_version(id) else { return };
        for (watch, name, frames) in [(Watch::Presence, "p", known), (Watch::Collaborators, "c", legacy)] {
            let key = Key { topic: Topic::Presence, user: Arc::from(""), field: format!("{name}{version}").into() };
            let bytes: usize = frames.iter().map(|(_, frame)| frame.len()).sum();
            if frames.is_empty() {
                continue;
            }
            if let Some(fleeting) = self.rooms.at_mut(id).and_then(|room| room.fleeting.as_mut())
                && !fleeting.has_room(&key, bytes)
            {
                fleeting.forget_changes();
            }
            self.note(now, id, Draft { key, act: Act::Show, author: None, audience: Some(watch), frames });
        }
    }

    fn roll_version(&self, id: RoomId) -> Option<u64> {
        match self.rooms.at(id)?.attendance.as_deref()? {
            Attendance::Roll(presence) => Some(presence.version()),
            Attendance::Report(_) => None,
        }
    }

    fn encode_presence(&mut self, now: Now, id: RoomId, who: company::Attendance<'_>) -> Vec<(Encoding, Payload)> {
        let Some(room) = self.rooms.at(id) else { return Vec::new() };
        let Some(Attendance::Roll(presence)) = room.attendance.as_deref() else { return Vec::new() };
        let roll = Roll {
            channel: &room.name,
            version: presence.version(),
            after: room.history.last(),
            count: presence.count(),
        };
        let mut frames = Vec::new();
        for encoding in forms(&room.name) {
            let stamp = self.pen.stamp(now, encoding);
            frames.push((encoding, self.pen.text(|out| write_presence(stamp, &roll, who, out))));
        }
        frames
    }

    /// For the seeds' clients in a trip: one event for each user that came or went, as one stretch of bytes.
    fn encode_collaborators(&mut self, now: Now, id: RoomId, change: &Change) -> Vec<(Encoding, Payload)> {
        let Some(room) = self.rooms.at(id).filter(|room| room.name.starts_with("trip:")) else { return Vec::new() };
        let came = change.joined.iter().map(|person| ("collaborator_joined", person));
        let went = change.left.iter().map(|person| ("collaborator_left", person));
        let mut events = Vec::new();
        for (kind, person) in came.chain(went).filter(|(_, person)| person.edge) {
            let stamp = self.pen.stamp(now, Encoding::TRIPSAGE);
            events.push(self.pen.text(|out| write_collaborator(stamp, kind, &room.name, &person.user, out)));
        }
        let stretch = (!events.is_empty()).then(|| self.pen.stretch(&events));
        stretch.into_iter().map(|frames| (Encoding::TRIPSAGE, frames)).collect()
    }

    /// Makes the whole, if somebody needs it.
    fn tell_whole(&mut self, now: Now, id: RoomId, effects: &mut Effects) {
        let Some(room) = self.rooms.at(id) else { return };
        let Role::Home { followers, .. } = &room.role else { return };
        let there = followers.iter().any(|follower| follower.whole);
        let Some(fleeting) = room.fleeting.as_ref().filter(|fleeting| fleeting.wanting || there) else { return };
        let Some(Attendance::Roll(presence)) = room.attendance.as_deref() else { return };
        let stamp = fleeting.stamp();
        let crowded = presence.is_crowded();
        let everybody: Vec<Person> = if crowded { Vec::new() } else { presence.everybody() };
        let who = if crowded { company::Attendance::Count } else { company::Attendance::Whole(&everybody) };
        let known = self.encode_presence(now, id, who);
        let mut frames: Vec<_> =
            known.into_iter().map(|(encoding, frame)| (Watch::Presence, encoding, frame)).collect();
        let Some(room) = self.rooms.at(id) else { return };
        if let Some(Attendance::Roll(presence)) = room.attendance.as_deref()
            && room.name.starts_with("trip:")
            && !crowded
        {
            let users: Vec<&str> = presence.users().collect();
            let of = self.pen.stamp(now, Encoding::TRIPSAGE);
            let frame = self.pen.text(|out| write_collaborators(of, &room.name, &users, out));
            frames.push((Watch::Collaborators, Encoding::TRIPSAGE, frame));
        }
        let whole = Arc::new(Whole { stamp, frames });
        let Some(room) = self.rooms.at_mut(id) else { return };
        let (Some(fleeting), Role::Home { followers, .. }) = (&mut room.fleeting, &mut room.role) else { return };
        fleeting.set_whole(Arc::clone(&whole));
        let mut behind = false;
        for follower in followers.iter_mut().filter(|follower| follower.whole) {
            if effects.congested(follower.shard) {
                behind = true;
                continue;
            }
            // What is not in the whole was told before it or follows.
            let notes = fleeting.since(follower.told, follower.watches);
            let left_out = fleeting.left_out_since(follower.told);
            (follower.told, follower.whole) = (fleeting.stamp(), false);
            let (channel, attachment) = (Arc::clone(&room.name), follower.attachment);
            let notes = Notes { channel, attachment, notes, left_out, whole: Some(Arc::clone(&whole)) };
            effects.list.push(Effect::Mesh(follower.shard, MeshMessage::Notes(Box::new(notes))));
        }
        if behind {
            self.gather(now, id);
        }
        self.line_up(id);
    }

    /// Who is in a channel at home here, as the payload of `presence` has it: what `request presence` is
    /// answered. While nobody else wants to know, only the members on this shard are known. A crowd is counted and not
    /// gathered: many may ask at once.
    pub fn presence_of(&mut self, now: Now, channel: &str) -> Vec<u8> {
        let id = self.rooms.find(channel);
        let gathered = id.map_or_else(Default::default, |id| self.gather_members(id));
        let room = id.and_then(|id| self.rooms.at(id));
        let (presence, count) = match room.and_then(|room| room.attendance.as_deref()) {
            Some(Attendance::Roll(presence)) => (presence, presence.count()),
            _ => (&gathered.0, gathered.1),
        };
        let after = room.map_or_else(Default::default, |room| room.history.last());
        let roll = Roll { channel, version: presence.version(), after, count };
        let everybody = (count <= PRESENCE_LISTED_MAX).then(|| presence.everybody());
        let who = everybody.as_deref().map_or(company::Attendance::Count, company::Attendance::Whole);
        let mut out = Vec::new();
        company::write_presence_result(self.pen.stamp(now, Encoding::TRIPSAGE), &roll, who, &mut out);
        out
    }

    /// The members here and how many they are, where nobody keeps a roll; of a crowd only how many.
    fn gather_members(&mut self, id: RoomId) -> (Presence, usize) {
        let mut gathered = Presence::default();
        let Some(room) = self.rooms.at(id) else { return (gathered, 0) };
        if matches!(room.attendance.as_deref(), Some(Attendance::Roll(_))) {
            return (gathered, 0);
        }
        let count = room.members.iter().filter(|member| member.watch != Watch::Apart).count();
        if count <= PRESENCE_LISTED_MAX {
            self.arrivals(id).into_iter().for_each(|arrival| gathered.join(arrival));
        }
        (gathered, count)
    }
}
