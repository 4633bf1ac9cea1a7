//! Sockets from which nobody is known yet, bounded for each address.
//!
//! From accept until a token was good, the administration has the socket, or another shard does. A trusted proxy's
//! sockets are its clients', and count as theirs once it has said whose they are.

use super::Shard;
use super::effect::{Closing, Effects};
use crate::census::addresses::AddressKey;
use crate::ids::ConnId;
use crate::limits::STRANGERS_MIN;
use crate::metrics::Metric;
use crate::shard::Options;
use crate::wire::peer::Peer;

/// How many an address may have on one shard. Where there are few sockets, one address shall not have most of them.
pub(super) fn most(options: &Options) -> usize {
    match usize::try_from(options.limits.strangers_per_address) {
        Ok(0) => 0,
        Ok(most) => most.min((options.sockets_max / 2).max(STRANGERS_MIN)),
        Err(_) => usize::MAX,
    }
}

impl Shard {
    /// Nobody knows yet who this is. One too many of an address, and the oldest of them goes: it keeps silent. If it does
    /// not, and what it said lies in the host's line, this one goes.
    pub(super) fn meet(&mut self, id: ConnId, effects: &mut Effects) {
        let Some(conn) = self.slots.find_mut(id) else { return };
        if self.options.proxies.trusts(conn.peer) {
            return;
        }
        conn.stranger = true;
        let (address, since) = (AddressKey::of(conn.peer), conn.accepted);
        if let Some(oldest) = self.strangers.enter(address, since, id) {
            self.metrics.count(Metric::RefusedCrowded);
            let waiting = self.slots.find(oldest).filter(|conn| conn.in_line).map(|conn| conn.accepted);
            let goes = if let Some(accepted) = waiting {
                self.strangers.note(address, accepted, oldest);
                self.strangers.leave(address, since, id);
                id
            } else {
                oldest
            };
            if let Some(conn) = self.slots.find_mut(goes) {
                conn.stranger = false;
            }
            self.forget(goes, Closing::Abort, Metric::ClosedLimit, effects);
        }
    }

    /// It is known who this is, or it is here no more.
    pub(super) fn know(&mut self, id: ConnId) {
        let Some(conn) = self.slots.find_mut(id) else { return };
        if std::mem::take(&mut conn.stranger) {
            self.strangers.leave(AddressKey::of(conn.peer), conn.accepted, id);
        }
    }

    /// A proxy has told whose socket this is.
    pub(super) fn on_client(&mut self, id: ConnId, client: Peer, effects: &mut Effects) {
        let Some(conn) = self.slots.find(id).filter(|conn| conn.peer != client) else { return };
        let stranger = conn.stranger || self.options.proxies.trusts(conn.peer);
        self.know(id);
        if let Some(conn) = self.slots.find_mut(id) {
            conn.peer = client;
        }
        if stranger {
            self.meet(id, effects);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::census::limits::Limits;
    use crate::limits::STRANGERS_PER_ADDRESS_DEFAULT;

    use super::*;

    #[test]
    fn an_address_has_what_is_configured_and_never_most_of_what_there_is() {
        let default = STRANGERS_PER_ADDRESS_DEFAULT as usize;
        for (configured, sockets, expected) in [
            (None, 1 << 20, default),
            (None, 2 * default, default),
            (None, 2 * default - 2, default - 1),
            (None, 40, STRANGERS_MIN),
            (Some(4), 40, 4),
            (Some(4), 1 << 20, 4),
            (Some(0), 40, 0),
        ] {
            let mut options = crate::shard::tests::options();
            options.sockets_max = sockets;
            let limits = Limits::default();
            options.limits.strangers_per_address = configured.unwrap_or(limits.strangers_per_address);
            assert_eq!(most(&options), expected, "{configured:?} of {sockets}");
        }
    }
}
