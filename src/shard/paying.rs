//! Station 4: what a message costs, and who lends it.
//!
//! A message is paid for twice: from the connection's own bucket, and from what the connection was lent of its
//! user's messages. The loan comes in blocks from the user's shard, asked for ahead of need, so that a message
//! costs no hop. Where it runs out before the answer is there, the message is kept and reading pauses for that
//! moment, whatever the client; only a refusal is a refusal.

use super::Shard;
use super::connection::{Awaits, Connection};
use super::effect::Effects;
use super::message::census::CensusMessage;
use crate::census::users::UserKey;
use crate::ids::{ConnId, ShardId};
use crate::limits::LEASE_MESSAGES_LOW;
use crate::rate::Rate;
use crate::route;
use crate::time::Now;

/// What became of the price of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fee {
    /// It is paid.
    Paid,
    /// This rate is used up for so many milliseconds.
    Late(Rate, u64),
    /// The user's shard is asked; its answer wakes the connection.
    Awaited,
}

impl Shard {
    /// Takes the price of a message.
    pub(super) fn charge(&mut self, now: Now, id: ConnId, tokens: u32, effects: &mut Effects) -> Fee {
        let fee = self.borrow_messages(now, id, tokens, effects);
        if fee != Fee::Paid {
            return fee;
        }
        let Some(conn) = self.slots.find_mut(id) else { return Fee::Awaited };
        let rate = conn.door.limits(&self.options.limits).messages;
        if let Err(wait_ms) = conn.bucket.try_take_many(rate, tokens, now.millis()) {
            return Fee::Late(rate, wait_ms);
        }
        if !self.options.limits.user_messages.is_unlimited() && conn.checked_in {
            conn.lease.left = conn.lease.left.saturating_sub(u16::try_from(tokens).unwrap_or(u16::MAX));
            if conn.lease.runs_low() && now.millis() >= conn.lease.none_before {
                self.ask_to_lend(now, id, effects);
            }
        }
        Fee::Paid
    }

    /// Makes sure that so many messages are lent to the connection; nothing is taken yet.
    fn borrow_messages(&mut self, now: Now, id: ConnId, tokens: u32, effects: &mut Effects) -> Fee {
        let rate = self.options.limits.user_messages;
        // Who came without a token has no share in its user's messages.
        let unproven = |conn: &Connection| conn.claims.as_ref().is_some_and(|claims| !claims.are_proven());
        if rate.is_unlimited() || self.slots.find(id).is_some_and(unproven) {
            return Fee::Paid;
        }
        // More than may come at once cost as much as that, or they would never be affordable.
        let tokens = tokens.min(rate.burst.max(1));
        loop {
            let Some(lease) = self.slots.find(id).map(|conn| conn.lease) else { return Fee::Awaited };
            if u32::from(lease.left) >= tokens {
                return Fee::Paid;
            }
            if now.millis() < lease.none_before {
                return Fee::Late(rate, lease.none_before.since(now.millis()));
            }
            if lease.asked {
                return Fee::Awaited;
            }
            // A shard that asks itself is answered before this returns.
            self.ask_to_lend(now, id, effects);
        }
    }

    fn ask_to_lend(&mut self, now: Now, id: ConnId, effects: &mut Effects) {
        let Some(conn) = self.slots.find_mut(id) else { return };
        let Some(user) = conn.claims.as_ref().map(|claims| claims.user.clone()) else { return };
        conn.lease.asked = true;
        let home = route::user_home(&self.options.key, &user, self.options.shards);
        let user = self.user_key(&user);
        self.post_census(now, home, CensusMessage::Lend { conn: id, user }, effects);
    }

    /// The user's shard has answered.
    pub(super) fn on_lent(
        &mut self,
        now: Now,
        lender: ShardId,
        (id, user): (ConnId, UserKey),
        lent: Result<u16, u32>,
        effects: &mut Effects,
    ) {
        let Some(conn) = self.slots.find_mut(id).filter(|conn| conn.checked_in) else {
            // It is gone, and what it left unused went back without this.
            if let Ok(unused) = lent {
                let message = CensusMessage::GiveBack { user, unused, was_asked: false };
                self.post_census(now, lender, message, effects);
            }
            return;
        };
        conn.lease.asked = false;
        match lent {
            Ok(count) => {
                conn.lease.left = conn.lease.left.saturating_add(count);
                conn.lease.scarce = count < LEASE_MESSAGES_LOW;
            }
            Err(wait_ms) => conn.lease.none_before = now.millis().after(wait_ms.into()),
        }
        if conn.paused.as_ref().is_some_and(|paused| paused.awaits == Awaits::Loan) {
            self.on_resume(now, id, effects);
        }
    }

    /// The user's shard wants back what a connection has not used.
    pub(super) fn on_recall(
        &mut self,
        now: Now,
        lender: ShardId,
        (id, user): (ConnId, UserKey),
        effects: &mut Effects,
    ) {
        let unused = self.slots.find_mut(id).map_or(0, |conn| std::mem::take(&mut conn.lease.left));
        self.post_census(now, lender, CensusMessage::GiveBack { user, unused, was_asked: true }, effects);
    }

    /// A silent connection needs no messages.
    pub(super) fn return_loan(&mut self, now: Now, id: ConnId, effects: &mut Effects) {
        let Some(conn) = self.slots.find_mut(id).filter(|conn| conn.checked_in && conn.lease.left > 0) else { return };
        let Some(user) = conn.claims.as_ref().map(|claims| claims.user.clone()) else { return };
        let unused = std::mem::take(&mut conn.lease.left);
        let home = route::user_home(&self.options.key, &user, self.options.shards);
        let user = self.user_key(&user);
        self.post_census(now, home, CensusMessage::GiveBack { user, unused, was_asked: false }, effects);
    }
}
