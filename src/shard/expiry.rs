//! The end of a token, and what a connection hears of it before.

use super::Shard;
use super::effect::Effects;
use super::timers::Timer;
use crate::code::CloseCode;
use crate::envelope::{Encoding, notice};
use crate::ids::ConnId;
use crate::limits::{PING_AFTER_MS, TOKEN_WARNING_MS};
use crate::outbox::Lane;
use crate::time::{Moment, Now};

/// How long before a token's end its connection gets an entry in the wheel: the warning's time, and more than the
/// time between two looks at the connection's liveness, which is when it is noticed.
const EXPIRY_WATCH_MS: u64 = TOKEN_WARNING_MS + 2 * PING_AFTER_MS;

impl Shard {
    /// Notes when the token ends, once that is near. Most tokens end long after the connection, and an
    /// entry in the wheel for each would be a tenth of an idle connection's memory.
    pub(super) fn watch_expiry(&mut self, now: Now, id: ConnId) {
        let Some(conn) = self.slots.find_mut(id) else { return };
        let Some(claims) = &conn.claims else { return };
        let left = ms_until(claims.expires_at, now);
        if left > EXPIRY_WATCH_MS {
            return;
        }
        let due = now.millis().after(if conn.expiry_told { left } else { left.saturating_sub(TOKEN_WARNING_MS) });
        // A refresh may bring a token that ends sooner than the one that is watched. Ends are whole seconds, so one
        // connection has at most as many entries as the watch has seconds.
        if conn.expiry_due.is_none_or(|earlier| due < earlier.millis()) {
            conn.expiry_due = Some(Moment::of(due));
            self.wheel.insert(due, Timer::Expiry(id));
        }
    }

    /// A new token: its end is told again.
    pub(super) fn watch_anew(&mut self, now: Now, id: ConnId) {
        if let Some(conn) = self.slots.find_mut(id) {
            conn.expiry_told = false;
        }
        self.watch_expiry(now, id);
    }

    /// The token may be about to end, or have ended, unless it was refreshed.
    pub(super) fn on_expiry(&mut self, now: Now, id: ConnId, effects: &mut Effects) {
        let Some(conn) = self.slots.find_mut(id) else { return };
        // An entry of a token that was replaced: the one that counts is still to come.
        if conn.expiry_due.is_none_or(|due| due.millis() > now.millis()) {
            return;
        }
        conn.expiry_due = None;
        let Some(claims) = &conn.claims else { return };
        let left = ms_until(claims.expires_at, now);
        if left == 0 {
            return self.close(now, id, CloseCode::TOKEN, "the token has expired", effects);
        }
        if left <= TOKEN_WARNING_MS && !conn.expiry_told {
            conn.expiry_told = true;
            if conn.takes_notices() {
                let write = |stamp, out: &mut Vec<u8>| notice::write_token_expiring(stamp, left, out);
                let frame = self.pen.notice(now, Encoding::TRIPSAGE, write);
                self.queue(now, id, Lane::Critical, frame, effects);
            }
        }
        self.watch_expiry(now, id);
    }
}

fn ms_until(expires_at_s: u64, now: Now) -> u64 {
    expires_at_s.saturating_mul(1000).saturating_sub(now.unix_ms)
}
