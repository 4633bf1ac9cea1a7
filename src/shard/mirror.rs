//! A channel whose home is another shard: its history is fed in order, and members here read from it as if
//! it were at home.

use std::sync::Arc;

use super::Shard;
use super::effect::Effects;
use super::joining::{fallback, settle};
use super::message::Tail;
use super::rooms::{Role, Room, RoomId};
use crate::ids::Seq;
use crate::metrics::Metric;
use crate::time::Now;

impl Shard {
    /// Events from the channel's home.
    pub(super) fn on_tail(&mut self, now: Now, tail: Tail, effects: &mut Effects) {
        let Some(id) = self.rooms.find(&tail.channel) else { return };
        let Some(room) = self.rooms.at_mut(id) else { return };
        let Role::Mirror { attachment, goal, answers, .. } = &mut room.role else { return };
        if *attachment != tail.attachment {
            return; // Sent before the home knew that the members here had left.
        }
        if tail.goal.is_some() {
            *goal = tail.goal;
            *answers += 1;
        }
        if tail.epoch != room.history.epoch() || tail.first != room.history.next() {
            // The first tail gives the position to start from. A later jump says that this shard fell off
            // the home's history: members that needed what lies between find out by their positions.
            let freed = room.history.restart(tail.epoch, tail.first);
            self.metrics.subtract(Metric::HistoryBytes, freed as u64);
        }
        for event in tail.events {
            self.append(now, id, Arc::clone(&event));
        }
        self.settle_members(id, effects);
        self.line_up(id);
    }

    /// Once the mirror holds what the channel held when its home answered, everybody who joined meanwhile
    /// starts from there: what came after is live to them. Who names a position beyond waits for an answer
    /// that was asked for after it joined.
    fn settle_members(&mut self, id: RoomId, effects: &mut Effects) {
        let Some(room) = self.rooms.at_mut(id).filter(|room| room.is_live()) else { return };
        let Room { role: Role::Mirror { goal: Some(goal), answers, unsettled, .. }, history, members, name, .. } = room
        else {
            return;
        };
        if !std::mem::replace(unsettled, false) {
            return;
        }
        let fallback = fallback(name);
        for member in members.iter_mut() {
            let Some(pending) = member.start.as_deref() else { continue };
            if pending.position.is_some_and(|position| history.is_behind(position)) && *answers <= pending.after {
                *unsettled = true;
                continue;
            }
            let seen = pending.position.map_or(Seq(0), |position| position.seq).min(history.last());
            settle(history, seen.max(*goal), fallback, member);
        }
        if *unsettled {
            room.ask_home(effects);
        }
    }
}
