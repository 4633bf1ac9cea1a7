//! A channel whose home is another shard: its history is fed in order, and members here read from it as if
//! it were at home.

use std::sync::Arc;

use super::Shard;
use super::joining::{fallback, settle};
use super::message::Tail;
use super::rooms::{Role, Room, RoomId};
use crate::metrics::Metric;
use crate::time::Now;

impl Shard {
    /// Events from the channel's home.
    pub(super) fn on_tail(&mut self, now: Now, tail: Tail) {
        let Some(id) = self.rooms.find(&tail.channel) else { return };
        let Some(room) = self.rooms.at_mut(id) else { return };
        let Role::Mirror { attachment, goal, .. } = &mut room.role else { return };
        if *attachment != tail.attachment {
            return; // Sent before the home knew that the members here had left.
        }
        *goal = tail.goal.or(*goal);
        if tail.epoch != room.history.epoch() || tail.first != room.history.next() {
            // The first tail gives the position to start from. A later jump says that this shard fell off
            // the home's history: members that needed what lies between find out by their positions.
            let freed = room.history.restart(tail.epoch, tail.first);
            self.metrics.subtract(Metric::HistoryBytes, freed as u64);
        }
        for event in tail.events {
            self.append(now, id, Arc::clone(&event));
        }
        self.settle_members(id);
        self.line_up(id);
    }

    /// Once the mirror holds what the channel held when it attached, everybody who joined meanwhile starts
    /// from there: what came after is live to them.
    fn settle_members(&mut self, id: RoomId) {
        let Some(room) = self.rooms.at_mut(id).filter(|room| room.is_live()) else { return };
        let Room { role: Role::Mirror { goal: Some(goal), unsettled, .. }, history, members, name, .. } = room else {
            return;
        };
        if std::mem::replace(unsettled, false) {
            let fallback = fallback(name);
            members.iter_mut().for_each(|member| settle(history, *goal, fallback, member));
        }
    }
}
