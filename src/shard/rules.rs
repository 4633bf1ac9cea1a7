//! What an operator may change while the shard runs: the policy, the pages that may connect, the limits.
//!
//! Rules come whole and are in force from the next input on. Nobody is closed for them: who is in stays in, over a limit
//! that is lower now as well, and only memberships and registrations that the policy no longer allows are ended, some
//! connections a turn. Shards hear of them one after the other, so what one counts for another must be right under either
//! of two rules.

use std::sync::Arc;

use super::Shard;
use super::connection::Stage;
use super::effect::Effects;
use super::strangers;
use crate::auth::Policy;
use crate::census::limits::Limits;
use crate::metrics::Metric;
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
}

impl Shard {
    /// Other rules from now on. Older ones than those that hold are passed over.
    pub(super) fn on_rules(&mut self, rules: &Rules) {
        if rules.generation <= self.rules {
            return;
        }
        let Rules { generation, policy, origins, limits, unlimited, connections_max } = rules;
        self.rules = *generation;
        let stricter = *self.options.policy != **policy;
        self.options.policy = Arc::clone(policy);
        self.options.origins = Arc::clone(origins);
        self.options.limits = if *unlimited { Limits::UNLIMITED } else { *limits };
        self.options.unlimited = *unlimited;
        self.options.connections_max = *connections_max;
        self.registry.set_limits(&self.options.limits);
        self.strangers.set_max(strangers::most(&self.options));
        self.metrics.set(Metric::RulesGeneration, u64::from(*generation));
        if stricter {
            self.begin_to_permit_anew();
        }
    }

    /// Lets a connection do what the policy allows it now, and ends what it no longer does.
    pub(super) fn permit_anew(&mut self, now: Now, slot: u32, effects: &mut Effects) {
        let Some((id, conn)) = self.slots.tenant_mut(slot) else { return };
        if matches!(conn.stage, Stage::Open) {
            let own = conn.claims.clone().zip(conn.own.clone());
            if let Some(verbs) = own.map(|(claims, own)| self.verbs(&claims, &own))
                && let Some(conn) = self.slots.find_mut(id)
            {
                conn.set_own_verbs(verbs);
            }
            self.end_forbidden_patterns(now, id, effects);
            self.end_forbidden_methods(now, id, effects);
            self.leave_forbidden(now, id, effects);
            self.attend_anew(now, id, effects);
        }
    }
}
