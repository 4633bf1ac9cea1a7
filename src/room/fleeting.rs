//! What members are told as it happens and never again: who writes, where a cursor is, who came and went.
//!
//! A conflating ring: a note replaces the earlier one with the same key and goes to the end. Each member has
//! the stamp up to which it was told, so nothing is queued for anybody, a slow member gets the latest of each
//! key alone, and a visit tells it all that is newer at once. What begins also ends: a member is told of an end
//! exactly if it was told of the beginning. The channel's home gives the stamps; mirrors repeat them.
//! Absent: numbers of the channel's sequence, history, and anything that has to arrive.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::envelope::Encoding;
use crate::ids::ConnId;
use crate::limits::{
    FLEETING_AGE_MS, FLEETING_BYTES_MAX, FLEETING_BYTES_PER_USER_MAX, FLEETING_NOTES_MAX, FLEETING_NOTES_PER_USER_MAX,
    FLEETING_TURNS_MAX, LOOK_PLACES_MAX,
};
use crate::payload::Payload;
use crate::room::members::{Members, Watch};
use crate::time::Millis;

/// What a note is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// Somebody writes.
    Typing,
    /// Where somebody's cursor is.
    Cursor,
    /// Somebody edits a field.
    Editing,
    /// Somebody says that they take part.
    Company,
    /// Who came and went; each note stands for itself.
    Presence,
    /// How many are there.
    Count,
}

/// What was done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// It began, or goes on; it ends by itself after so many milliseconds, or with its author's connection.
    Begin(Option<u64>),
    /// It ended.
    End,
    /// It is so; only the latest counts.
    Show,
}

/// By what a note replaces an earlier one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// What it is about.
    pub topic: Topic,
    /// Whose it is; empty for what is nobody's.
    pub user: Arc<str>,
    /// The field, or what else tells two of the same topic apart.
    pub field: Box<str>,
}

/// One thing to be told, frozen and shared by all shards that tell it.
#[derive(Clone, Debug)]
pub struct Note {
    /// Its place among the notes of the channel.
    pub stamp: u64,
    /// By what it is replaced.
    pub key: Key,
    /// Whether it is over.
    pub ended: bool,
    /// The connection that brought it.
    pub author: Option<ConnId>,
    /// Who is told; `None` is everybody but its user.
    pub audience: Option<Watch>,
    /// The stamps at which it began, ended, began again …, oldest first: a member that was told up to a stamp
    /// believes that it goes on if an odd number of these is not later.
    turns: Vec<u64>,
    /// When it was made.
    made: Millis,
    /// When it ends by itself.
    expires: Option<Millis>,
    frames: Vec<(Encoding, Payload)>,
}

impl Note {
    /// The frame in an encoding; the first one made if it was not made in that one. Flat frames stand for nothing
    /// else, and nothing else for them.
    #[must_use]
    pub fn frame(&self, encoding: Encoding) -> Option<&Payload> {
        let exact = self.frames.iter().find(|(other, _)| *other == encoding);
        let first = self.frames.first().filter(|_| encoding.has_notices());
        exact.or(first).map(|(_, frame)| frame)
    }

    /// Bytes of its frames.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.frames.iter().map(|(_, frame)| frame.len()).sum()
    }

    /// Whether a member that was told up to `seen` is to be told this.
    #[must_use]
    pub fn concerns(&self, seen: u64, user: &str, watch: Watch) -> bool {
        if self.stamp <= seen || *self.key.user == *user {
            return false;
        }
        self.audience.is_none_or(|audience| audience == watch) && (!self.ended || self.goes_on_for(seen))
    }

    /// Whether a member that was told up to `seen` believes that it goes on.
    fn goes_on_for(&self, seen: u64) -> bool {
        self.turns.iter().filter(|turn| **turn <= seen).count() % 2 == 1
    }
}

/// The latest of a note's turns. Who was told of none after the ones that are left out is told of no end.
fn bounded(mut turns: Vec<u64>) -> Vec<u64> {
    let over = turns.len().saturating_sub(FLEETING_TURNS_MAX);
    turns.drain(..over.next_multiple_of(2));
    turns
}

/// How far a member was told.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    stamp: u64,
    /// It needs the whole of who is there before what changes.
    whole: bool,
}

/// Who is there as a whole, for those that come new or have missed changes.
#[derive(Debug)]
pub struct Whole {
    /// What is newer than this is not in it.
    pub stamp: u64,
    /// For each kind of watcher and each encoding.
    pub frames: Vec<(Watch, Encoding, Payload)>,
}

impl Whole {
    /// The frame for a watcher.
    #[must_use]
    pub fn frame(&self, watch: Watch, encoding: Encoding) -> Option<&Payload> {
        let mut ours = self.frames.iter().filter(|(other, ..)| *other == watch);
        let first = ours.clone().next();
        ours.find(|(_, other, _)| *other == encoding).or(first).map(|(_, _, frame)| frame)
    }
}

/// A channel's notes on one shard, and how far each member was told.
#[derive(Debug, Default)]
pub struct Fleeting {
    /// In the order of their stamps; at home each key once.
    notes: VecDeque<Arc<Note>>,
    /// The latest stamp.
    stamp: u64,
    /// Bytes of all notes.
    bytes: usize,
    /// By place among the members.
    seen: Vec<Seen>,
    /// The latest change of who is there that was forgotten before everybody knew it: who was told less needs
    /// the whole again.
    floor: u64,
    /// The whole, if somebody needs it.
    whole: Option<Arc<Whole>>,
    /// Somebody needs a newer whole.
    pub wanting: bool,
    /// Whether the channel waits for its next batch.
    pub soon: bool,
    /// When the wheel looks at the channel next.
    pub timer: Option<Millis>,
    /// Until when connections here may have something going on, as far as a mirror knows.
    pub going_on: Millis,
    /// When it was last tidied.
    tidied: Millis,
    /// How far the members were told, as far as a look that is under way has come.
    look: Option<Look>,
}

/// A look through the members of a channel, for how far they were told.
#[derive(Clone, Copy, Debug)]
struct Look {
    /// The place that is next.
    next: u32,
    /// The least stamp that was found.
    least: u64,
    /// Somebody may need the whole.
    lacks: bool,
}

/// A note that is about to get its stamp.
#[derive(Debug)]
pub struct Draft {
    /// By what it replaces an earlier one.
    pub key: Key,
    /// What is done.
    pub act: Act,
    /// The connection that brought it.
    pub author: Option<ConnId>,
    /// Who is told; `None` is everybody but its user.
    pub audience: Option<Watch>,
    /// At least one.
    pub frames: Vec<(Encoding, Payload)>,
}

impl Fleeting {
    /// No notes yet. The stamps begin after `micros`, so that those of a channel grow although the ring of its
    /// notes is forgotten now and then.
    #[must_use]
    pub fn after(micros: u64) -> Self {
        Self { stamp: micros, ..Self::default() }
    }

    /// The latest stamp.
    #[must_use]
    pub const fn stamp(&self) -> u64 {
        self.stamp
    }

    /// Whether there is nothing to tell anybody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.notes.is_empty()
    }

    /// Whether something with this key goes on.
    #[must_use]
    pub fn goes_on(&self, key: &Key) -> bool {
        self.notes.iter().any(|note| !note.ended && note.key == *key)
    }

    /// Whether a note with this key finds place, among all and among its user's.
    #[must_use]
    pub fn has_room(&self, key: &Key, bytes: usize) -> bool {
        let known = self.notes.iter().find(|note| note.key == *key);
        let count = self.notes.len() + usize::from(known.is_none());
        let others = self.notes.iter().filter(|note| note.key.user == key.user && note.key != *key);
        let (own_count, own_bytes) = others.fold((1, bytes), |(count, bytes), note| (count + 1, bytes + note.bytes()));
        own_count <= FLEETING_NOTES_PER_USER_MAX
            && own_bytes <= FLEETING_BYTES_PER_USER_MAX
            && count <= FLEETING_NOTES_MAX
            && self.bytes + bytes - known.map_or(0, |note| note.bytes()) <= FLEETING_BYTES_MAX
    }

    /// Adds a note at home. The caller has made sure that there is room, or that it must be told in any case.
    pub fn put(&mut self, now: Millis, draft: Draft) {
        self.stamp += 1;
        let at = self.notes.iter().position(|note| note.key == draft.key);
        let earlier = at.and_then(|at| self.notes.remove(at));
        let (ended, went_on) = (draft.act == Act::End, earlier.as_ref().is_some_and(|earlier| !earlier.ended));
        let mut turns = earlier.map_or_else(Vec::new, |earlier| {
            self.bytes -= earlier.bytes();
            earlier.turns.clone()
        });
        if draft.act != Act::Show && ended == went_on {
            turns.push(self.stamp);
            turns = bounded(turns);
        }
        let expires = match draft.act {
            Act::Begin(after) => after.map(|after| now.after(after)),
            Act::End | Act::Show => None,
        };
        let Draft { key, author, audience, frames, .. } = draft;
        self.push(Arc::new(Note {
            stamp: self.stamp,
            key,
            ended,
            author,
            audience,
            turns,
            made: now,
            expires,
            frames,
        }));
    }

    /// The latest change of who is there that was forgotten although a shard that was told up to `seen` was not
    /// told of it; 0 if there is none.
    #[must_use]
    pub const fn left_out_since(&self, seen: u64) -> u64 {
        if seen < self.floor { self.floor } else { 0 }
    }

    /// The channel's home has forgotten changes up to this stamp that were not sent here: everybody here who
    /// watches needs the whole again.
    pub fn lack(&mut self, left_out: u64) {
        if self.floor < left_out {
            (self.floor, self.wanting) = (left_out, true);
        }
    }

    /// Takes over notes from the channel's home, in their order.
    pub fn follow(&mut self, notes: Vec<Arc<Note>>) {
        for note in notes {
            if note.stamp <= self.stamp {
                continue;
            }
            self.stamp = note.stamp;
            let mut note = note;
            if let Some(at) = self.notes.iter().position(|earlier| earlier.key == note.key) {
                // The home may have forgotten what all shards know; a member here may have been told of that alone.
                let first = note.turns.first().copied().unwrap_or(note.stamp);
                let earlier = self.notes.get(at).map_or(&[][..], |earlier| &earlier.turns);
                let older = &earlier[..earlier.partition_point(|turn| *turn < first)];
                if !older.is_empty() && older.len().is_multiple_of(2) {
                    let turns = bounded([older, &note.turns].concat());
                    note = Arc::new(Note { turns, ..(*note).clone() });
                }
                self.forget(at);
            }
            self.push(note);
            while self.notes.len() > 2 * FLEETING_NOTES_MAX || self.bytes > 2 * FLEETING_BYTES_MAX {
                self.forget_unseen(0);
            }
        }
    }

    fn push(&mut self, note: Arc<Note>) {
        self.bytes += note.bytes();
        self.notes.push_back(note);
    }

    fn forget(&mut self, at: usize) {
        if let Some(note) = self.notes.remove(at) {
            self.bytes -= note.bytes();
        }
    }

    fn forget_unseen(&mut self, at: usize) {
        if let Some(note) = self.notes.get(at)
            && matches!(note.key.topic, Topic::Presence | Topic::Count)
        {
            self.floor = self.floor.max(note.stamp);
            self.wanting = true;
        }
        self.forget(at);
    }

    /// Forgets the changes of who is there: everybody who has not been told needs the whole again.
    pub fn forget_changes(&mut self) {
        while let Some(at) = self.notes.iter().position(|note| note.key.topic == Topic::Presence) {
            self.forget_unseen(at);
        }
    }

    /// Everybody who watches needs the whole again.
    pub fn renew(&mut self) {
        self.stamp += 1;
        (self.floor, self.wanting) = (self.stamp, true);
    }

    /// Ends of what has run out, or of what a connection that leaves had begun: their keys.
    pub fn over(&self, now: Millis, leaver: Option<ConnId>) -> Vec<Key> {
        let is_over = |note: &&Arc<Note>| {
            let run_out = note.expires.is_some_and(|expires| expires <= now);
            let begun = note.turns.len() % 2 == 1 && !note.ended;
            run_out && !note.ended || begun && leaver.is_some() && note.author == leaver
        };
        self.notes.iter().filter(is_over).map(|note| note.key.clone()).collect()
    }

    /// Looks at some members. Once all were looked at it returns the least stamp that anybody was told, and gives up
    /// the whole if nobody needs it. Who has come meanwhile is not told what everybody else knew before.
    pub fn look(&mut self, members: &Members) -> Option<u64> {
        let mut look = self.look.take().unwrap_or(Look { next: 0, least: u64::MAX, lacks: false });
        let places = u32::try_from(members.places()).unwrap_or(u32::MAX);
        let end = look.next.saturating_add(u32::try_from(LOOK_PLACES_MAX).unwrap_or(u32::MAX)).min(places);
        for place in look.next..end {
            if members.at(place).is_some() {
                let seen = self.seen(place);
                look.least = look.least.min(seen.stamp);
                look.lacks |= seen.whole || seen.stamp < self.floor;
            }
        }
        if end < places {
            self.look = Some(Look { next: end, ..look });
            return None;
        }
        if !look.lacks {
            self.whole = None;
        }
        Some(look.least)
    }

    /// Forgets what everybody knows or what is too old: `known` is the least stamp that anybody was told.
    pub fn tidy(&mut self, now: Millis, known: u64) {
        self.tidied = now;
        let mut at = 0;
        while let Some(note) = self.notes.get(at) {
            let goes_on = note.turns.len() % 2 == 1 && !note.ended;
            if note.stamp <= known && !goes_on {
                self.forget(at);
            } else if now.since(note.made) >= FLEETING_AGE_MS && (!goes_on || note.expires.is_some()) {
                self.forget_unseen(at);
            } else {
                at += 1;
            }
        }
    }

    /// Whether it was tidied a while ago.
    #[must_use]
    pub const fn is_untidy(&self, now: Millis) -> bool {
        now.since(self.tidied) >= TIDY_EVERY_MS
    }

    /// When to look at it next: something runs out, or something may be forgotten, at last all of it.
    #[must_use]
    pub fn next_look(&self, now: Millis) -> Millis {
        let expiries = self.notes.iter().filter(|note| !note.ended).filter_map(|note| note.expires);
        expiries.fold(now.after(LOOK_EVERY_MS), Millis::min)
    }

    /// A member came to a place: it is told what goes on.
    pub fn enter(&mut self, place: u32, watch: Watch) {
        let seen = self.seen_mut(place);
        (seen.stamp, seen.whole) = (0, watch.watches());
        if watch.watches() {
            self.want_whole();
        }
    }

    /// A member needs the whole of who is there.
    pub fn need_whole(&mut self, place: u32) {
        self.seen_mut(place).whole = true;
        self.want_whole();
    }

    /// Whoever needs a whole waits for one that is made from now on: changes since an earlier one may be forgotten,
    /// and who has just come is not in it.
    fn want_whole(&mut self) {
        self.whole = None;
        self.wanting = true;
    }

    fn seen_mut(&mut self, place: u32) -> &mut Seen {
        let index = place as usize;
        if self.seen.len() <= index {
            self.seen.resize(index + 1, Seen::default());
        }
        &mut self.seen[index]
    }

    fn seen(&self, place: u32) -> Seen {
        self.seen.get(place as usize).copied().unwrap_or_default()
    }

    /// Up to where a member was told.
    #[must_use]
    pub fn told(&self, place: u32) -> u64 {
        self.seen(place).stamp
    }

    /// Whether a member that watches has missed changes, or has come, and waits for the whole.
    #[must_use]
    pub fn lacks(&self, place: u32) -> bool {
        let seen = self.seen(place);
        seen.whole || seen.stamp < self.floor
    }

    /// Whether a visit would tell a member something, or find that it need not.
    #[must_use]
    pub fn owes(&self, place: u32) -> bool {
        let seen = self.seen(place);
        let whole = self.whole.as_ref().is_some_and(|whole| whole.stamp >= self.floor);
        seen.stamp < self.stamp || seen.whole && whole
    }

    /// A whole was made: whoever needs one gets it.
    pub fn set_whole(&mut self, whole: Arc<Whole>) {
        self.stamp = self.stamp.max(whole.stamp);
        self.whole = Some(whole);
        if let Some(look) = &mut self.look {
            look.lacks = true;
        }
        self.wanting = false;
    }

    /// All that a member is to be told now, in order, after which it is told up to the latest stamp.
    pub fn take(&mut self, place: u32, user: &str, watch: Watch, encoding: Encoding) -> Vec<Payload> {
        let seen = self.seen(place);
        let mut frames = Vec::new();
        let mut told = seen.stamp;
        let behind = watch.watches() && (seen.whole || seen.stamp < self.floor);
        let whole = self.whole.as_ref().filter(|whole| behind && whole.stamp >= self.floor);
        if let Some(whole) = whole {
            frames.extend(whole.frame(watch, encoding).cloned());
            told = told.max(whole.stamp);
        }
        let waits = behind && whole.is_none();
        // What changes since is told after the whole, and not before it.
        let from = self.notes.partition_point(|note| note.stamp <= seen.stamp);
        for note in self.notes.iter().skip(from) {
            let of_presence = matches!(note.key.topic, Topic::Presence | Topic::Count);
            if of_presence && (waits || note.stamp <= told) {
                continue;
            }
            if note.concerns(seen.stamp, user, watch) {
                frames.extend(note.frame(encoding).cloned());
            }
        }
        self.wanting |= waits;
        *self.seen_mut(place) = Seen { stamp: self.stamp, whole: waits };
        frames
    }

    /// What a shard that was told up to `seen` is to be told: `watches` says whether changes of who is there
    /// concern it.
    #[must_use]
    pub fn since(&self, seen: u64, watches: bool) -> Vec<Arc<Note>> {
        let from = self.notes.partition_point(|note| note.stamp <= seen);
        let notes = self.notes.iter().skip(from);
        notes.filter(|note| watches || note.audience.is_none()).map(Arc::clone).collect()
    }
}

/// How often it is tidied at most when there is no place.
const TIDY_EVERY_MS: u64 = 250;
/// How often it is looked at while there is one.
const LOOK_EVERY_MS: u64 = 1000;

#[cfg(test)]
mod tests;
