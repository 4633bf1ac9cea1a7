//! Walks through all connections or many channels, some steps a turn: what everybody is due must not make everybody
//! else wait. One walk after another, so that who is told of a drain is told before being closed; and with the timers,
//! after the turn has written, so that who is closed has what was sent before.

use super::Shard;
use super::effect::Effects;
use super::rooms::RoomId;
use crate::limits::{
    CHANNEL_SWEEP_COUNT, DELIVER_LOOKS_PER_TURN, PERMIT_LOOKS_PER_TURN, SWEEPS_PER_TURN_MAX, WALK_SLOTS_PER_TURN_MAX,
};
use crate::payload::Payload;
use crate::time::Now;

/// A walk that is under way.
#[derive(Debug)]
pub(super) enum Walk {
    /// Tells every connection from this slot on that the server drains.
    Tell(Payload, u32),
    /// Closes the connections of a wave from this slot on.
    Wave(u64, u32),
    /// Counts connections from this slot on in what there is a limit on now.
    Count(u32),
    /// Delivers in channels from this place on as the policy says now.
    Deliver(u32),
    /// Keeps of channels from this place on what the rules say now.
    Retain(u32),
    /// Sweeps so many channels more.
    Sweep(usize),
    /// Ends from this slot on what the policy no longer allows, and of its connection below this membership.
    Permit(u32, Option<u32>),
    /// Looks at automatic memberships that may have been quiet for long.
    Quiet,
    /// Looks from this place on for channels in which a group goes on that has a consumer now.
    Claim(u32),
}

impl Shard {
    /// Begins a walk, once those before it are done.
    pub(super) fn begin_walk(&mut self, walk: Walk) {
        match walk {
            // Nobody waits for these.
            Walk::Sweep(_) | Walk::Quiet => self.walks.push_back(walk),
            walk => {
                let last = self.walks.iter().rposition(|walk| !matches!(walk, Walk::Sweep(_) | Walk::Quiet));
                self.walks.insert(last.map_or(0, |last| last + 1), walk);
            }
        }
    }

    /// Begins to sweep channels, unless the last sweep is not done yet.
    pub(super) fn begin_sweep(&mut self) {
        if !self.walks.iter().any(|walk| matches!(walk, Walk::Sweep(_))) {
            self.begin_walk(Walk::Sweep(CHANNEL_SWEEP_COUNT));
        }
    }

    /// Begins to look for automatic memberships that are quiet, unless that is under way.
    pub(super) fn begin_to_end_quiet(&mut self) {
        if !self.walks.iter().any(|walk| matches!(walk, Walk::Quiet)) {
            self.begin_walk(Walk::Quiet);
        }
    }

    /// Begins to end what the policy no longer allows; from the start, if that is under way for an older one.
    pub(super) fn begin_to_permit_anew(&mut self) {
        self.walks.retain(|walk| !matches!(walk, Walk::Permit(..)));
        self.begin_walk(Walk::Permit(0, None));
    }

    /// Begins to deliver as the policy says now; from the start, if that is under way for an older one.
    pub(super) fn begin_to_deliver_anew(&mut self) {
        self.walks.retain(|walk| !matches!(walk, Walk::Deliver(_)));
        self.begin_walk(Walk::Deliver(0));
    }

    /// Whether channels are being settled by the present rules of how much is kept.
    pub(super) fn is_retaining_anew(&self) -> bool {
        self.walks.iter().any(|walk| matches!(walk, Walk::Retain(_)))
    }

    /// Begins to look for channels in which groups go on; from the start, if that is under way.
    pub(super) fn begin_to_claim(&mut self) {
        self.walks.retain(|walk| !matches!(walk, Walk::Claim(_)));
        self.begin_walk(Walk::Claim(0));
    }

    /// Begins to count who came while there was no limit; from the start, if that is under way.
    pub(super) fn begin_to_count(&mut self) {
        self.walks.retain(|walk| !matches!(walk, Walk::Count(_)));
        self.begin_walk(Walk::Count(0));
    }

    /// One turn's steps.
    pub(super) fn walk(&mut self, now: Now, effects: &mut Effects) {
        let mut slots = WALK_SLOTS_PER_TURN_MAX;
        while slots > 0
            && let Some(walk) = self.walks.pop_front()
        {
            let rest = match walk {
                Walk::Tell(frame, from) => {
                    let to = self.stretch(from, &mut slots);
                    (from..to).for_each(|slot| self.tell_draining(now, slot, &frame, effects));
                    (to < self.slots.count()).then_some(Walk::Tell(frame, to))
                }
                Walk::Wave(wave, from) => {
                    let to = self.stretch(from, &mut slots);
                    (from..to).for_each(|slot| self.on_wave_reaches(now, slot, wave, effects));
                    (to < self.slots.count()).then_some(Walk::Wave(wave, to))
                }
                Walk::Permit(from, below) => self.permit(now, (from, below), &mut slots, effects),
                Walk::Count(from) => self.count_all(now, from, &mut slots, effects),
                Walk::Deliver(from) => {
                    slots = 0;
                    let to = from.saturating_add(DELIVER_LOOKS_PER_TURN).min(self.rooms.places());
                    (from..to).for_each(|place| self.deliver_anew(RoomId::of(place)));
                    (to < self.rooms.places()).then_some(Walk::Deliver(to))
                }
                Walk::Retain(from) => {
                    slots = 0;
                    self.retain_anew(now, from).map(Walk::Retain)
                }
                Walk::Claim(from) => {
                    slots = 0;
                    let to = from.saturating_add(DELIVER_LOOKS_PER_TURN).min(self.rooms.places());
                    (from..to).for_each(|place| self.serve_claimants(RoomId::of(place)));
                    (to < self.rooms.places()).then_some(Walk::Claim(to))
                }
                Walk::Sweep(left) => {
                    let count = left.min(SWEEPS_PER_TURN_MAX);
                    slots = 0;
                    let swept = self.sweep(now, count);
                    (left > swept).then_some(Walk::Sweep(left - swept))
                }
                Walk::Quiet => {
                    slots = 0;
                    self.end_quiet_memberships(now, effects).then_some(Walk::Quiet)
                }
            };
            if let Some(rest) = rest {
                self.walks.push_front(rest);
            }
        }
    }

    /// One turn's steps of counting who is in. A shard that takes no messages is waited for.
    fn count_all(&mut self, now: Now, from: u32, slots: &mut u32, effects: &mut Effects) -> Option<Walk> {
        let to = self.stretch(from, slots);
        let stopped = (from..to).find(|slot| self.count_late(now, *slot, effects));
        if stopped.is_some() {
            *slots = 0;
        }
        let next = stopped.unwrap_or(to);
        (next < self.slots.count()).then_some(Walk::Count(next))
    }

    /// One turn's steps of holding everybody against the policy. Memberships bound them as well as slots do.
    fn permit(
        &mut self,
        now: Now,
        (mut slot, mut below): (u32, Option<u32>),
        slots: &mut u32,
        effects: &mut Effects,
    ) -> Option<Walk> {
        let mut looks = PERMIT_LOOKS_PER_TURN;
        let to = self.stretch(slot, slots);
        while slot < to {
            below = self.permit_anew(now, slot, below, &mut looks, effects);
            if below.is_some() {
                *slots = 0;
                return Some(Walk::Permit(slot, below));
            }
            slot += 1;
        }
        (to < self.slots.count()).then_some(Walk::Permit(to, None))
    }

    /// Where a walk from this slot on ends in this turn, and what is left of the turn's steps then.
    fn stretch(&self, from: u32, left: &mut u32) -> u32 {
        let to = from.saturating_add(*left).min(self.slots.count());
        *left -= to.saturating_sub(from);
        to
    }
}
