//! What an operator may change while the shard runs: the policy, the pages that may connect, the limits, what histories
//! keep.
//!
//! Rules come whole and are in force from the next input on. Nobody is closed for them: who is in stays in, over a limit
//! that is lower now as well, and only memberships and registrations that the policy no longer allows are ended, some
//! connections a turn. What was not counted while it had no limit is counted when it has one, some connections a turn as
//! well: what is off keeps nothing. Shards hear of them one after the other, so what one counts for another must be right under either
//! of two rules.

use std::sync::Arc;

use super::Shard;
use super::connection::Stage;
use super::effect::Effects;
use super::rooms::{Role, RoomId};
use super::strangers;
use crate::auth::{Policy, Verb};
use crate::census::limits::Limits;
use crate::ids::ConnId;
use crate::metrics::Metric;
use crate::room::history::{Held, Retention};
use crate::time::Now;
use crate::wire::upgrade::Origins;

/// What may change.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Counts them, from 2: the first are those that the shard was started with.
    pub generation: u32,
    /// Who may do what.
    pub policy: Arc<Policy>,
    /// Which web pages may connect.
    pub origins: Arc<Origins>,
    /// Limits of connections and rates.
    pub limits: Limits,
    /// Whether they are lifted, whatever they are.
    pub unlimited: bool,
    /// Connections in the process.
    pub connections_max: usize,
    /// What a channel's history keeps, where the policy says nothing else.
    pub retention: Retention,
    /// What of a channel that is stored is held in memory.
    pub held: Held,
}

impl Shard {
    /// Other rules from now on. Older ones than those that hold are passed over.
    pub(super) fn on_rules(&mut self, rules: &Rules) {
        if rules.generation <= self.rules {
            return;
        }
        let Rules { generation, policy, origins, limits, unlimited, connections_max, retention, held } = rules;
        self.rules = *generation;
        let stricter = *self.options.policy != **policy;
        // What is left of rates that stay is not given anew: who has used them up waits on.
        if !policy.has_rates_of(&self.options.policy) {
            self.rates = *generation;
        }
        let before = self.options.limits;
        self.options.policy = Arc::clone(policy);
        self.options.origins = Arc::clone(origins);
        self.options.limits = if *unlimited { Limits::UNLIMITED } else { *limits };
        self.options.unlimited = *unlimited;
        self.options.connections_max = *connections_max;
        (self.options.retention, self.options.held) = (*retention, *held);
        self.begin_to_retain_anew();
        self.registry.set_limits(&self.options.limits);
        let off = |before: u32, now: u32| before == 0 && now > 0;
        let now = &self.options.limits;
        let begun = off(before.connections_per_address, now.connections_per_address)
            || off(before.connections_per_resource, now.connections_per_resource)
            || off(before.strangers_per_address, now.strangers_per_address);
        self.strangers.set_max(strangers::most(&self.options));
        self.metrics.set(Metric::RulesGeneration, u64::from(*generation));
        self.metrics.set(Metric::ConnectionsLimit, u64::try_from(*connections_max).unwrap_or(u64::MAX));
        if stricter {
            self.begin_to_permit_anew();
            self.begin_to_deliver_anew();
        }
        if begun {
            self.begin_to_count();
        }
    }

    /// Delivers in a channel at home here as the policy says now. The shards that follow it hear of it with the next
    /// event, or when they ask where somebody is to begin.
    pub(super) fn deliver_anew(&mut self, room: RoomId) {
        let Some(room) = self.rooms.at_mut(room).filter(|room| matches!(room.role, Role::Home { .. })) else { return };
        let until_acked = self.options.policy.until_acked(&room.name);
        room.deliver(until_acked);
    }

    /// Lets a connection do what the policy allows it now, and ends what it no longer does, looking at its memberships
    /// below one of them, or at all. Returns below which it has to go on when there are no `looks` left.
    ///
    /// From the last to the first: what is left takes the last one to its place, which was looked at, and what is
    /// joined meanwhile was permitted by the same policy.
    pub(super) fn permit_anew(
        &mut self,
        now: Now,
        slot: u32,
        below: Option<u32>,
        looks: &mut u32,
        effects: &mut Effects,
    ) -> Option<u32> {
        let (id, conn) = self.slots.tenant_mut(slot).filter(|(_, conn)| matches!(conn.stage, Stage::Open))?;
        if below.is_none() {
            let own = conn.claims.clone().zip(conn.own.clone());
            if let Some(verbs) = own.map(|(claims, own)| self.verbs(&claims, &own))
                && let Some(conn) = self.slots.find_mut(id)
            {
                conn.set_own_verbs(verbs);
            }
            self.end_forbidden_patterns(now, id, effects);
            self.end_forbidden_methods(now, id, effects);
        }
        let count = self.slots.find(id).map_or(0, |conn| conn.memberships.len());
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        for below in (0..below.map_or(count, |below| below.min(count))).rev() {
            if *looks == 0 {
                return Some(below + 1);
            }
            *looks -= 1;
            self.permit_membership(now, id, below as usize, effects);
        }
        None
    }

    /// Ends a membership that the policy no longer allows.
    fn permit_membership(&mut self, now: Now, id: ConnId, index: usize, effects: &mut Effects) {
        let Some(conn) = self.slots.find(id) else { return };
        let Some(at) = conn.memberships.at(index) else { return };
        let room = self.rooms.at(at.room).zip(conn.claims.as_ref());
        if room.is_some_and(|(room, claims)| self.permits(claims, &room.name, Verb::Subscribe)) {
            self.attend_one_anew(now, id, at, effects);
        } else {
            self.leave_with_notice(now, id, index, Some("permission_denied"), effects);
        }
    }
}
