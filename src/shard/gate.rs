//! The gate before the upgrade: what other connections have to do with this one.
//!
//! An upgrade that is good in itself is held here while the shard of its address is asked, and for a while if
//! all places are taken. The socket is not read meanwhile, so that it can still be handed over. What holds
//! here is the connection's address; the limits of its user are kept once it is in.

use super::Shard;
use super::connection::{Connection, Stage};
use super::effect::{Effect, Effects};
use super::message::census::{CensusMessage, Dismissal};
use super::message::{MeshMessage, Passport, Reserved};
use super::timers::Timer;
use crate::census::addresses::{AddressKey, Question, Verdict};
use crate::census::users::UserKey;
use crate::ids::{ConnId, ShardId};
use crate::limits::{HEAD_BYTES_MAX, HELD_COUNT_MAX, HOLD_MS, HOLD_RETRY_MS};
use crate::metrics::Metric;
use crate::route;
use crate::session::endpoint::Door;
use crate::time::{Millis, Now};
use crate::wire::http::HttpError;
use crate::wire::peer::Peer;

/// Who stands at the gate.
#[derive(Debug)]
pub(super) struct Gate {
    /// What the connection goes on with; `None` if its token was bad, and only the answer's kind is open.
    passport: Option<Box<Passport>>,
    /// The page that may read an answer.
    pub(super) page: Option<Box<str>>,
    since: Millis,
    /// The socket is not read any more.
    paused: bool,
    /// It waits for a place, and counts among those who do.
    held: bool,
}

impl Gate {
    /// Bytes that came early. Returns whether there was room for them.
    pub(super) fn keep(&mut self, bytes: &[u8]) -> bool {
        let Some(passport) = &mut self.passport else { return true };
        passport.leftover.extend_from_slice(bytes);
        passport.leftover.len() <= HEAD_BYTES_MAX
    }
}

impl Shard {
    /// An upgrade that may pass as far as it alone is concerned, or (`None`) one whose token is bad.
    pub(super) fn knock(
        &mut self,
        now: Now,
        id: ConnId,
        passport: Option<Box<Passport>>,
        page: Option<Box<str>>,
        effects: &mut Effects,
    ) {
        let seat = self.options.limits.connections_per_address > 0;
        let question = match &passport {
            None => Question::BadToken,
            Some(passport) => match &passport.claims {
                Some(claims) if claims.are_proven() => Question::Upgrade { user: self.user_key(&claims.user), seat },
                // Whom somebody claims to be tells nothing: a name for each upgrade would get around every rate.
                Some(_) | None => Question::Anonymous { seat },
            },
        };
        let is_echo = passport.as_ref().is_some_and(|passport| passport.endpoint.door == Door::Echo);
        if passport.as_ref().is_some_and(|passport| passport.claims.is_some()) {
            self.know(id);
        }
        let Some(conn) = self.slots.find_mut(id) else { return };
        conn.stage = Stage::Gate;
        let gate = Gate { passport, page, since: now.millis(), paused: false, held: false };
        conn.opening.get_or_insert_default().gate = Some(gate);
        if is_echo || !question.concerns(&self.options.limits) {
            self.judge_at_gate(now, id, Verdict::Pass, effects);
        } else {
            self.ask_address(now, id, question, effects);
        }
    }

    /// Asks the shard of a connection's address.
    pub(super) fn ask_address(&mut self, now: Now, id: ConnId, question: Question, effects: &mut Effects) {
        let Some(conn) = self.slots.find_mut(id) else { return };
        let address = AddressKey::of(conn.peer);
        let home = route::address_home(&self.options.key, address.bytes(), self.options.shards);
        if home != self.id {
            if matches!(conn.stage, Stage::Gate) {
                if effects.congested(home) {
                    return self.refuse(now, id, HttpError::UNAVAILABLE, Metric::RefusedOverload, effects);
                }
                pause(id, conn, effects);
            }
            let message = CensusMessage::Ask { conn: id, address, question };
            return effects.list.push(Effect::Mesh(home, MeshMessage::Census(Box::new(message))));
        }
        let verdict = self.registry.addresses.judge(address, question, now.millis());
        self.on_verdict(now, id, (address, question), verdict, effects);
    }

    /// The shard of a connection's address has answered.
    pub(super) fn on_verdict(
        &mut self,
        now: Now,
        id: ConnId,
        (address, question): (AddressKey, Question),
        verdict: Verdict,
        effects: &mut Effects,
    ) {
        // Whoever was asked has counted it, whatever the limit is by now.
        let seated = verdict == Verdict::Pass && question.wants_seat();
        let stage = self.slots.find_mut(id).map(|conn| {
            conn.counted.at_address |= seated;
            conn.stage
        });
        match (stage, verdict) {
            (Some(Stage::Gate), verdict) => self.judge_at_gate(now, id, verdict, effects),
            // The token came after the upgrade, which cannot be taken back.
            (Some(Stage::Open), Verdict::Late(_)) => self.dismiss(now, id, Dismissal::TooOften, effects),
            (None, _) if seated => self.post_to_address(now, address, effects),
            _ => {}
        }
    }

    fn judge_at_gate(&mut self, now: Now, id: ConnId, verdict: Verdict, effects: &mut Effects) {
        let Some(gate) = self.slots.find(id).and_then(Connection::gate) else { return };
        let may_be_good = gate.passport.is_some();
        match verdict {
            Verdict::Pass if may_be_good => self.enter_gate(now, id, effects),
            Verdict::Pass | Verdict::Full if !may_be_good => {
                self.refuse(now, id, HttpError::UNAUTHORIZED, Metric::RefusedToken, effects);
            }
            Verdict::Pass | Verdict::Full => self.hold(now, id, effects),
            Verdict::Late(wait_ms) => {
                let metric = if may_be_good { Metric::RefusedUpgradeRate } else { Metric::RefusedTokenRate };
                self.refuse_until(now, id, (wait_ms, metric), effects);
            }
        }
    }

    /// The address lets it pass. Where its user and the process have a place too, the connection goes where it will
    /// live.
    fn enter_gate(&mut self, now: Now, id: ConnId, effects: &mut Effects) {
        if let Some(message) = self.reservation(id) {
            return self.reserve(now, id, message, effects);
        }
        let counted = self.slots.find(id).is_some_and(|conn| conn.counted.in_all);
        if !counted && !self.options.population.connections.try_enter(self.options.connections_max) {
            return self.hold(now, id, effects);
        }
        let Some(conn) = self.slots.find_mut(id) else { return };
        conn.counted.in_all = true;
        let counted = conn.counted.clone();
        let Some(mut passport) = self.take_gate(id).and_then(|gate| gate.passport) else { return };
        passport.counted = counted;
        self.settle_in(now, id, passport, effects);
    }

    /// What to ask the user's shard for, where a place has to be known of before the upgrade and is not had yet.
    fn reservation(&self, id: ConnId) -> Option<(ShardId, CensusMessage)> {
        let conn = self.slots.find(id).filter(|conn| conn.counted.at_user.is_none())?;
        let gate = conn.gate()?;
        let Passport { endpoint, claims, .. } = &**gate.passport.as_ref()?;
        let claims = claims.as_ref().filter(|claims| endpoint.door.is_refused_before() && claims.are_proven())?;
        let at_most = endpoint.door.limits(&self.options.limits).connections;
        if at_most == 0 && self.options.limits.connections_per_user == 0 {
            return None;
        }
        let resource = self.seat_key(endpoint.door, endpoint.channel.as_deref().unwrap_or_default());
        let home = route::user_home(&self.options.key, &claims.user, self.options.shards);
        let user = self.user_key(&claims.user);
        // Once is enough, however long it is held.
        let probe = !gate.held;
        Some((home, CensusMessage::Reserve { conn: id, user, resource, at_most, probe }))
    }

    fn reserve(&mut self, now: Now, id: ConnId, (home, message): (ShardId, CensusMessage), effects: &mut Effects) {
        if home != self.id {
            if effects.congested(home) {
                return self.refuse(now, id, HttpError::UNAVAILABLE, Metric::RefusedOverload, effects);
            }
            if let Some(conn) = self.slots.find_mut(id) {
                pause(id, conn, effects);
            }
        }
        self.post_census(now, home, message, effects);
    }

    /// The user's shard has answered.
    pub(super) fn on_reserved(&mut self, now: Now, reserved: Reserved, granted: bool, effects: &mut Effects) {
        let Reserved { user, conn: id, home } = reserved;
        match self.slots.find_mut(id).filter(|conn| matches!(conn.stage, Stage::Gate)) {
            Some(conn) if granted => {
                conn.counted.at_user = Some(Box::new(reserved));
                self.enter_gate(now, id, effects);
            }
            Some(_) => self.hold(now, id, effects),
            None if granted => self.post_census(now, home, CensusMessage::Leave { conn: id, user, unused: 0 }, effects),
            None => {}
        }
    }

    /// All places are taken: somebody may leave within the time that is waited.
    fn hold(&mut self, now: Now, id: ConnId, effects: &mut Effects) {
        let full = self.metrics.read(Metric::Held) >= HELD_COUNT_MAX;
        let Some(conn) = self.slots.find_mut(id) else { return };
        let Some(gate) = conn.gate_mut() else { return };
        if now.millis().since(gate.since) >= HOLD_MS || full && !gate.held {
            return self.refuse(now, id, HttpError::UNAVAILABLE, Metric::RefusedFull, effects);
        }
        if !std::mem::replace(&mut gate.held, true) {
            self.metrics.add(Metric::Held, 1);
        }
        pause(id, conn, effects);
        self.wheel.insert(now.millis().after(HOLD_RETRY_MS), Timer::Gate(id));
    }

    /// A held upgrade asks again.
    pub(super) fn on_gate_timer(&mut self, now: Now, id: ConnId, effects: &mut Effects) {
        let Some(conn) = self.slots.find(id).filter(|conn| matches!(conn.stage, Stage::Gate)) else { return };
        let wants_seat = self.options.limits.connections_per_address > 0 && !conn.counted.at_address;
        let is_echo = conn.gate().and_then(|gate| gate.passport.as_ref()).map(|passport| passport.endpoint.door)
            == Some(Door::Echo);
        if wants_seat && !is_echo {
            self.ask_address(now, id, Question::Seat, effects);
        } else {
            self.enter_gate(now, id, effects);
        }
    }

    /// Takes a connection away from the gate.
    pub(super) fn take_gate(&mut self, id: ConnId) -> Option<Gate> {
        let gate = self.slots.find_mut(id)?.opening.take()?.gate?;
        self.metrics.subtract(Metric::Held, u64::from(gate.held));
        Some(gate)
    }

    /// A connection that was counted is over.
    pub(super) fn discount(&mut self, peer: Peer, counted: super::message::Counted, effects: &mut Effects) {
        if counted.in_all {
            self.options.population.connections.leave();
        }
        if counted.at_address {
            self.post_to_address(self.latest, AddressKey::of(peer), effects);
        }
        if let Some(reserved) = counted.at_user {
            let Reserved { user, conn, home } = *reserved;
            self.post_census(self.latest, home, CensusMessage::Leave { conn, user, unused: 0 }, effects);
        }
    }

    fn post_to_address(&mut self, now: Now, address: AddressKey, effects: &mut Effects) {
        let home = route::address_home(&self.options.key, address.bytes(), self.options.shards);
        self.post_census(now, home, CensusMessage::LeaveAddress { address }, effects);
    }

    /// What a user is called in the tables of counts.
    pub(super) fn user_key(&self, user: &str) -> UserKey {
        let digest = route::digest(&self.options.key, user);
        UserKey([(digest >> 64) as u64, (digest << 64 >> 64) as u64])
    }
}

/// Reads no more of a socket for the time being, so that nothing is in flight when it is handed over.
fn pause(id: ConnId, conn: &mut Connection, effects: &mut Effects) {
    if let Some(gate) = conn.gate_mut()
        && !std::mem::replace(&mut gate.paused, true)
    {
        effects.list.push(Effect::Pause(id));
    }
}
