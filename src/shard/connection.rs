//! What a shard keeps of one connection.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::auth::caps::{Verb, Verbs};
use crate::auth::token::Claims;
use crate::envelope::globetrotter::IdForm;
use crate::envelope::notice::Answered;
use crate::ids::{ConnectionName, Seq};
use crate::limits::{ANSWERS_BYTES_MAX, ANSWERS_HELD_MAX, OUTBOX_BYTES_MAX};
use crate::outbox::{Lane, Outbox};
use crate::payload::Payload;
use crate::session::admit::{Bucket, Lease};
use crate::session::endpoint::Door;
use crate::session::liveness::Liveness;
use crate::shard::gate::Gate;
use crate::shard::message::Counted;
use crate::shard::rooms::RoomId;
use crate::shard::service::Service;
use crate::time::{Millis, Moment};
use crate::wire::assembler::Assembler;
use crate::wire::peer::Peer;

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Reading the request head.
    Head,
    /// Other shards are asked for what the answer says.
    Asking,
    /// The request is good; others are asked whether there is a place.
    Gate,
    /// Upgraded, and waiting for the first frame's token.
    Auth,
    /// Authenticated.
    Open,
    /// On `/echo`.
    Echo,
    /// It is closed, and answers to what it sent are under way: they go before the last frame. Nothing more is read of it,
    /// and it is in no channel any more.
    Parting,
    /// The last frame or response is queued; once it is written the socket is closed.
    Ending,
    /// The host has been told to give the socket away; nothing is done until it answers.
    Leaving,
}

/// Whether a connection is about to be written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    /// The host knows that it is; to say it again would be a second send in one turn.
    Write,
    /// The same for one that has just come and is behind: what answers it goes with what it has missed, if this turn surely
    /// has that left.
    Missed,
    /// It is behind, and waits for its turn.
    Turn,
}

/// A question whether the client lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probe {
    /// Not asked.
    None,
    /// Asked, and nothing was heard since. The wheel holds a look at it.
    Asked,
    /// Something was heard, and the wheel has yet to look.
    Answered,
}

/// A connection's part in a channel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Membership {
    pub(super) room: RoomId,
    /// The place among the room's members.
    pub(super) place: u32,
    /// How the client writes a trip's id, if it speaks flat frames.
    pub(super) form: IdForm,
}

/// A connection's channels. Nearly every connection is in one, which stands here; the others are elsewhere.
#[derive(Debug, Default)]
pub(super) struct Memberships {
    first: Option<Membership>,
    #[expect(clippy::box_collection, reason = "a word in every connection instead of three")]
    more: Option<Box<Vec<Membership>>>,
}

impl Memberships {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.more.as_ref().map_or(0, |more| more.len())
    }

    /// The one at a place in their order.
    pub(super) fn at(&self, index: usize) -> Option<Membership> {
        match index.checked_sub(1) {
            None => self.first,
            Some(index) => self.more.as_ref()?.get(index).copied(),
        }
    }

    /// The only one, if there is one alone.
    pub(super) fn only(&self) -> Option<Membership> {
        self.first.filter(|_| self.more.is_none())
    }

    /// All of them in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Membership> {
        self.first.into_iter().chain(self.more.iter().flat_map(|more| more.iter().copied()))
    }

    /// Notes how the client writes the id of a trip.
    pub(super) fn set_form(&mut self, room: RoomId, form: IdForm) {
        let more = self.more.iter_mut().flat_map(|more| more.iter_mut());
        let mut all = self.first.iter_mut().chain(more);
        if let Some(membership) = all.find(|membership| membership.room == room) {
            membership.form = form;
        }
    }

    /// Adds one as the last.
    pub(super) fn push(&mut self, membership: Membership) {
        match self.first {
            None => self.first = Some(membership),
            Some(_) => self.more.get_or_insert_default().push(membership),
        }
    }

    /// Takes one out; the last takes its place in the order.
    pub(super) fn remove(&mut self, index: usize) -> Option<Membership> {
        let removed = self.at(index)?;
        let last = self.more.as_mut().and_then(|more| more.pop());
        if self.more.as_ref().is_some_and(|more| more.is_empty()) {
            self.more = None;
        }
        match (last, index.checked_sub(1)) {
            (None, _) => self.first = None,
            (last, None) => self.first = last,
            (Some(last), Some(index)) => {
                if let Some(place) = self.more.as_mut().and_then(|more| more.get_mut(index)) {
                    *place = last;
                }
            }
        }
        Some(removed)
    }
}

/// An acknowledgement that waits until its author has been sent everything up to the event.
#[derive(Debug)]
pub(super) struct HeldAnswer {
    pub(super) room: RoomId,
    /// The author's place among the room's members: what is held is released before the author leaves it.
    pub(super) place: u32,
    pub(super) seq: Seq,
    pub(super) frame: Payload,
    /// The operation, for one who leaves before that.
    pub(super) id: Option<Box<str>>,
    pub(super) answered: Answered,
}

/// What a connection waits for before it is read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaits {
    /// Its rate has recovered, which the clock says.
    Clock,
    /// The user's shard lends it messages.
    Loan,
    /// It has been given the answers that it is owed.
    Answers,
}

/// Reading is paused because the client's rate is used up, or because it is owed too many answers: what is still to
/// be read.
#[derive(Debug)]
pub(super) struct Paused {
    /// The message that was not to be acted on yet.
    pub(super) message: String,
    /// Bytes that came after it.
    pub(super) rest: Vec<u8>,
    /// How many of them were read. What was read stays until it is half of all: taking it away for each message
    /// would copy the rest for each.
    pub(super) read: usize,
    pub(super) awaits: Awaits,
}

impl Paused {
    /// Adds bytes behind the others. Returns how many wait.
    pub(super) fn keep(&mut self, bytes: &[u8]) -> usize {
        if self.read * 2 >= self.rest.len() {
            self.rest.drain(..std::mem::take(&mut self.read));
        }
        self.rest.extend_from_slice(bytes);
        self.rest.len() - self.read
    }
}

/// What a connection has spent where few are limited.
#[derive(Debug, Default)]
pub(super) struct Spent {
    /// Of which rates the rows are.
    rates: u32,
    /// What is left of the rates of channels, by the policy's row.
    rows: Vec<(usize, Bucket)>,
    /// When the client was last told that its rate is used up.
    pub(super) told: Option<Millis>,
}

impl Spent {
    /// What is left of these rates. Rows of other rates are others, and are forgotten.
    pub(super) fn rows_of(&mut self, rates: u32) -> &mut Vec<(usize, Bucket)> {
        if self.rates != rates {
            self.rates = rates;
            self.rows.clear();
        }
        &mut self.rows
    }
}

/// What there is of a connection only until it is upgraded.
#[derive(Debug, Default)]
pub(super) struct Opening {
    /// Bytes of the request head that have come; empty after it.
    pub(super) head: Vec<u8>,
    /// What it waits with before its upgrade.
    pub(super) gate: Option<Gate>,
}

/// One connection. The order of the fields is theirs in memory: what every delivery looks at comes first
/// and shares a cache line, down to the outbox's count; then what every message that comes in looks at.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Connection {
    pub(super) memberships: Memberships,
    /// What waits for events, in their order; never empty.
    #[expect(clippy::box_collection, reason = "a word in every connection instead of four")]
    pub(super) answers: Option<Box<VecDeque<HeldAnswer>>>,
    /// Its part in requests, acknowledgements and patterns, if it has one.
    pub(super) service: Option<Box<Service>>,
    /// Since when the socket takes no bytes.
    pub(super) blocked: Option<Moment>,
    pub(super) due: Due,
    /// The last fill stopped for lack of room, or before what was missed.
    pub(super) owed: bool,
    pub(super) stage: Stage,
    /// Whether the client told its name: it knows more than the seeds' clients.
    pub(super) known: bool,
    /// Whether it asked for several events in one frame.
    pub(super) bundles: bool,
    /// Reading is paused until less waits to be written: echoes, or answers, and then `paused` says so too. What every write
    /// asks is told by what is at hand.
    pub(super) choked: bool,
    /// How many of the memberships have the high share.
    pub(super) highs: u16,
    pub(super) outbox: Outbox,
    pub(super) door: Door,
    /// What its token permits in its own channel: what nearly every message asks.
    own_verbs: Verbs,
    pub(super) invalid_in_a_row: u8,
    pub(super) refused_in_a_row: u8,
    /// How many answers are under way from other shards or from the disk: to operations, events for connections and
    /// offers.
    pub(super) unanswered: u16,
    /// Which membership is visited first, so that a busy channel does not keep the others waiting.
    pub(super) turn: u8,
    pub(super) assembler: Assembler,
    pub(super) bucket: Bucket,
    pub(super) lease: Lease,
    pub(super) live: Liveness,
    /// The channel that the endpoint is about.
    pub(super) own: Option<Arc<str>>,
    /// Who this is; `None` until a token was good.
    pub(super) claims: Option<Claims>,
    pub(super) paused: Option<Box<Paused>>,
    /// What it has spent of rates that are not its own.
    pub(super) spent: Option<Box<Spent>>,
    /// What there is of it before its upgrade.
    pub(super) opening: Option<Box<Opening>>,
    pub(super) name: ConnectionName,
    pub(super) accepted: Millis,
    /// When the wheel next looks at the token's end.
    pub(super) expiry_due: Option<Moment>,
    pub(super) peer: Peer,
    /// It counts among those of its address from which nobody is known.
    pub(super) stranger: bool,
    /// A header of the PROXY protocol has to come before the request.
    pub(super) proxied: bool,
    /// What it sent waits for its turn at the host: it has spoken, whatever is here of it.
    pub(super) in_line: bool,
    pub(super) counted: Counted,
    /// Its user's shard was told of it.
    pub(super) checked_in: bool,
    /// It counts on its resource.
    pub(super) occupies: bool,
    /// While it leaves: for another shard, with all that it counts in.
    pub(super) moved: bool,
    /// Whether it counts among the open connections.
    pub(super) upgraded: bool,
    /// Whether its user's shard counts it among those who speak flat frames.
    pub(super) travels: bool,
    /// Whether the wheel holds a look at `blocked`.
    pub(super) stuck_timer: bool,
    /// Whether it was asked for a sign of life.
    pub(super) probe: Probe,
    /// Whether the client was told that its token ends soon.
    pub(super) expiry_told: bool,
}

impl Connection {
    pub(super) fn new(now: Millis, peer: Peer) -> Self {
        Self {
            stage: Stage::Head,
            door: Door::Open,
            peer,
            accepted: now,
            name: ConnectionName(0),
            service: None,
            own: None,
            claims: None,
            known: false,
            own_verbs: Verbs::NONE,
            bundles: false,
            assembler: Assembler::default(),
            bucket: Bucket::default(),
            lease: Lease::default(),
            proxied: false,
            in_line: false,
            opening: None,
            stranger: false,
            counted: Counted::default(),
            checked_in: false,
            occupies: false,
            moved: false,
            live: Liveness::new(now),
            memberships: Memberships::default(),
            answers: None,
            outbox: Outbox::default(),
            paused: None,
            spent: None,
            due: Due::Nothing,
            blocked: None,
            stuck_timer: false,
            probe: Probe::None,
            expiry_told: false,
            expiry_due: None,
            choked: false,
            upgraded: false,
            travels: false,
            owed: false,
            invalid_in_a_row: 0,
            refused_in_a_row: 0,
            unanswered: 0,
            highs: 0,
            turn: 0,
        }
    }

    /// What the same claims permit in the connection's own channel under another policy.
    pub(super) const fn set_own_verbs(&mut self, own_verbs: Verbs) {
        self.own_verbs = own_verbs;
    }

    /// Takes a token's claims, with what they permit in the connection's own channel.
    pub(super) fn take_claims(&mut self, claims: Claims, own_verbs: Verbs) {
        self.claims = Some(claims);
        self.own_verbs = own_verbs;
    }

    /// Whether the connection may do something in its own channel; `None` if `channel` is not that very name.
    pub(super) fn may_in_own(&self, channel: &str, verb: Verb) -> Option<bool> {
        let own = self.own.as_ref().is_some_and(|own| std::ptr::eq(&raw const **own, &raw const *channel));
        own.then(|| self.own_verbs.contains(verb))
    }

    /// What it waits with before its upgrade.
    pub(super) fn gate(&self) -> Option<&Gate> {
        self.opening.as_ref()?.gate.as_ref()
    }

    /// The same, to be changed.
    pub(super) fn gate_mut(&mut self) -> Option<&mut Gate> {
        self.opening.as_mut()?.gate.as_mut()
    }

    /// The authenticated user.
    pub(super) fn user(&self) -> Option<&Arc<str>> {
        self.claims.as_ref().map(|claims| &claims.user)
    }

    /// Whether it waits for its turn when it is behind. Of an echo there is no history, and nobody else has any part in
    /// it; who is closed is owed its last answers and a close frame, and no history any more.
    pub(super) const fn waits_when_behind(&self) -> bool {
        match self.stage {
            Stage::Echo => false,
            Stage::Ending => !self.upgraded,
            _ => true,
        }
    }

    /// How many acknowledgements it is owed that are not queued yet.
    fn acks_owed(&self) -> usize {
        self.answers.as_ref().map_or(0, |answers| answers.len()) + usize::from(self.unanswered)
    }

    /// Whether as many answers as may wait are owed to it. A batch is one message, so it may be owed some more.
    pub(super) fn is_owed_too_many_answers(&self) -> bool {
        self.outbox.bytes() > ANSWERS_BYTES_MAX || self.acks_owed() >= ANSWERS_HELD_MAX
    }

    /// Whether no more than half of what it was paused for still waits.
    pub(super) fn may_go_on(&self) -> bool {
        if !self.choked {
            return false;
        }
        if self.paused.is_none() {
            return self.outbox.bytes() <= OUTBOX_BYTES_MAX / 2;
        }
        self.outbox.bytes() <= ANSWERS_BYTES_MAX / 2 && self.acks_owed() <= ANSWERS_HELD_MAX / 2
    }

    /// Its channel, if it is in one alone and gets nothing but what happens there, with the normal share.
    pub(super) fn only_channel(&self) -> Option<Membership> {
        let plain = self.highs == 0 && self.answers.is_none() && self.service.is_none();
        self.memberships.only().filter(|_| plain)
    }

    /// How many channels it has joined itself.
    pub(super) fn manual_memberships(&self) -> usize {
        self.memberships.len() - self.service.as_ref().map_or(0, |service| service.automatic.len())
    }

    /// Whether only a pattern has brought it into a channel.
    pub(super) fn is_automatic(&self, room: RoomId) -> bool {
        self.service.as_ref().is_some_and(|service| service.automatic.contains_key(&room))
    }

    /// Whether the connection is authenticated and takes events that are no channel's.
    pub(super) const fn takes_notices(&self) -> bool {
        matches!(self.stage, Stage::Open) && !self.door.is_flat()
    }

    /// Whether a lane takes more. Nothing follows a close frame or a response that ends the connection (RFC 6455 section
    /// 5.5.1), and before it come answers alone.
    pub(super) fn takes(&self, lane: Lane) -> bool {
        match self.stage {
            Stage::Ending => false,
            Stage::Parting => lane == Lane::Critical,
            _ => true,
        }
    }

    /// Whether the connection speaks WebSocket and has not begun to end.
    pub(super) const fn is_upgraded(&self) -> bool {
        matches!(self.stage, Stage::Auth | Stage::Open | Stage::Echo)
    }
}

const _: () = assert!(size_of::<Option<Membership>>() <= 12, "what a membership is costs no more for the form");
const _: () = assert!(std::mem::offset_of!(Connection, outbox) <= 56, "a delivery looks at one cache line");
const _: () = assert!(size_of::<Connection>() <= 384, "a size that the allocator has, and most of what is idle");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memberships_keep_what_was_put_in_whatever_is_taken_out() {
        for count in 0..5_u32 {
            for removed in 0..=count as usize {
                let mut memberships = Memberships::default();
                let mut expected = Vec::new();
                for place in 0..count {
                    let membership = Membership { room: RoomId::default(), place, form: IdForm::Text };
                    memberships.push(membership);
                    expected.push(place);
                }
                let taken = memberships.remove(removed).map(|membership| membership.place);
                assert_eq!(taken, expected.get(removed).copied());
                if removed < expected.len() {
                    expected.swap_remove(removed);
                }
                assert_eq!(memberships.iter().map(|membership| membership.place).collect::<Vec<_>>(), expected);
                let only = memberships.only().map(|membership| membership.place);
                assert_eq!(only, expected.first().copied().filter(|_| expected.len() == 1));
                let by_index = (0..memberships.len()).filter_map(|index| memberships.at(index));
                assert_eq!(by_index.map(|membership| membership.place).collect::<Vec<_>>(), expected);
            }
        }
    }
}
