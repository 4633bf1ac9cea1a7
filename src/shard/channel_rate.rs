//! Rates of channels: what an operator's policy lets one connection send to a pattern's channels, beside the
//! connection's own rate.
//!
//! A bucket is made with the first message that such a row counts, so connections without one keep nothing. Services
//! are not held to them. A legacy client is slowed as by its own rate, as it could not tell a refusal from a loss.

use super::Shard;
use super::effect::Effects;
use super::paying::Fee;
use crate::auth::ChannelRate;
use crate::code::ErrorCode;
use crate::envelope::{Command, Inbound, notice};
use crate::ids::ConnId;
use crate::session::admit::{Bucket, Rate};
use crate::time::Now;

impl Shard {
    /// Takes a message out of what a connection may send to a channel.
    ///
    /// # Errors
    /// The rate, and the milliseconds after which there is one.
    pub(super) fn spend(&mut self, now: Now, id: ConnId, channel: &str, user: &str) -> Result<(), (Rate, u64)> {
        let Some((row, rate)) = self.channel_rate(id, channel, user) else { return Ok(()) };
        let rates = self.rates;
        let Some(conn) = self.slots.find_mut(id) else { return Ok(()) };
        let spent = conn.spent.get_or_insert_default().rows_of(rates);
        let at = spent.iter().position(|(other, _)| *other == row).unwrap_or_else(|| {
            spent.push((row, Bucket::full(rate, now.millis())));
            spent.len() - 1
        });
        spent[at].1.try_take(rate, now.millis()).map_err(|retry_ms| (rate, retry_ms))
    }

    /// Pauses a legacy connection whose message is over a channel's rate, until it is not. Returns whether it did.
    pub(super) fn pause_for_channel(
        &mut self,
        now: Now,
        id: ConnId,
        inbound: &Inbound<'_>,
        text: &str,
        effects: &mut Effects,
    ) -> bool {
        let goes_to_channel = matches!(
            inbound.command,
            Command::Chat(_) | Command::TripUpdate { .. } | Command::Publish(_) | Command::Report { .. }
        );
        let Some(conn) = self.slots.find(id).filter(|conn| goes_to_channel && !conn.known) else { return false };
        let Some(user) = conn.user() else { return false };
        let named = inbound.channel.map(|name| super::admission::full_name(name, user));
        let Some(channel) = named.as_deref().or(conn.own.as_deref()) else { return false };
        let Some((row, rate)) = self.channel_rate(id, channel, user) else { return false };
        let rates = self.rates;
        let Some(spent) = self.slots.find_mut(id).and_then(|conn| conn.spent.as_mut()) else { return false };
        let Some((_, bucket)) = spent.rows_of(rates).iter().find(|(other, _)| *other == row) else { return false };
        let mut bucket = *bucket;
        // On a copy: nothing is taken.
        let Err(retry_ms) = bucket.try_take(rate, now.millis()) else { return false };
        self.pause(now, id, Fee::Late(rate, retry_ms), text, effects);
        true
    }

    /// The rate that a policy row sets for a channel, with the row's number.
    fn channel_rate(&self, id: ConnId, channel: &str, user: &str) -> Option<(usize, Rate)> {
        if self.options.unlimited || !self.options.policy.has_rates() {
            return None;
        }
        let conn = self.slots.find(id)?;
        if conn.claims.as_ref().is_some_and(|claims| claims.service) {
            return None;
        }
        let (row, ChannelRate { per_minute, burst }) = self.options.policy.rate(channel, user)?;
        Some((row, Rate { per_minute, burst }))
    }

    /// Refuses a message for a rate: a `nack` for each operation that wants one, else an error once a second.
    pub(super) fn refuse_for_rate(
        &mut self,
        now: Now,
        id: ConnId,
        inbound: Option<&Inbound<'_>>,
        (rate, retry_ms): (Rate, u64),
        effects: &mut Effects,
    ) {
        let Some(conn) = self.slots.find_mut(id) else { return };
        let told = &mut conn.spent.get_or_insert_default().told;
        let tell = told.is_none_or(|told| now.millis().since(told) >= 1000);
        if tell {
            *told = Some(now.millis());
        }
        let mut answered = false;
        for operation in inbound.into_iter().flat_map(Inbound::operations) {
            answered = true;
            self.refuse_operation(now, id, operation, ErrorCode::RateLimitExceeded, Some(retry_ms), effects);
        }
        if tell && !answered {
            let mut details = Vec::new();
            notice::write_rate_details(u64::from(rate.per_minute), retry_ms.div_ceil(1000), 60, &mut details);
            let details = String::from_utf8(details).unwrap_or_default();
            self.error(now, id, ErrorCode::RateLimitExceeded, "too many messages", Some(&details), effects);
        }
    }
}
