//! Who is in a channel, for somebody who asks once: what `request presence` is answered.
//!
//! While somebody in the channel wants to know, its home has the roll and answers at once. Else the shards that follow
//! are called first, and the answer waits for their reports; with the last answer the roll is forgotten again.

use std::sync::Arc;

use super::Shard;
use super::effect::Effects;
use super::message::service::RequestMessage;
use super::rooms::Role;
use super::timers::Timer;
use crate::ids::ShardId;
use crate::limits::{ROLL_CALL_MS, ROLL_CALLS_MAX};
use crate::request::Ticket;
use crate::time::{Millis, Now};

/// An answer that waits for reports.
#[derive(Debug)]
pub(super) struct RollCall {
    at: Millis,
    channel: Arc<str>,
    from: ShardId,
    ticket: Ticket,
}

impl RollCall {
    /// Whether it is about this channel.
    pub(super) fn is_about(&self, channel: &str) -> bool {
        *self.channel == *channel
    }
}

impl Shard {
    /// Somebody asks who is in a channel at home here.
    pub(super) fn on_presence_asked(
        &mut self,
        now: Now,
        from: ShardId,
        (ticket, channel): (Ticket, &str),
        effects: &mut Effects,
    ) {
        let room = self.rooms.find(channel).and_then(|id| Some((id, self.rooms.at(id)?)));
        let unknown = room.filter(|(_, room)| {
            let followed = matches!(&room.role, Role::Home { followers, .. } if !followers.is_empty());
            followed && (room.attendance.is_none() || self.roll_calls.iter().any(|call| call.is_about(channel)))
        });
        let Some((id, room)) = unknown.filter(|_| self.roll_calls.len() < ROLL_CALLS_MAX) else {
            let set = self.presence_of(now, channel).into_boxed_slice();
            return self.send_request(now, from, RequestMessage::Reply(ticket, Ok(set)), effects);
        };
        let (channel, is_open) = (Arc::clone(&room.name), room.attendance.is_some());
        let at = now.millis().after(ROLL_CALL_MS);
        self.roll_calls.push_back(RollCall { at, channel, from, ticket });
        self.wheel.insert(at, Timer::RollCall);
        if !is_open {
            self.open_attendance(now, id, effects);
        }
    }

    /// The shards have had the time to report.
    pub(super) fn on_roll_call(&mut self, now: Now, effects: &mut Effects) {
        while let Some(RollCall { channel, from, ticket, .. }) =
            self.roll_calls.pop_front_if(|call| call.at <= now.millis())
        {
            let set = self.presence_of(now, &channel).into_boxed_slice();
            self.send_request(now, from, RequestMessage::Reply(ticket, Ok(set)), effects);
            if let Some(id) = self.rooms.find(&channel) {
                self.close_attendance(id, effects);
            }
        }
    }
}
