//! When a connection is pinged, sent a heartbeat, or given up.

use crate::limits::{IDLE_MS, PING_AFTER_MS};
use crate::time::Millis;

/// What a look at a connection's clock says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Look again then.
    Fine(Millis),
    /// Say something (a heartbeat; a ping too if it was silent), and look again then.
    Speak {
        /// Whether the client has been silent long enough to be pinged.
        ping: bool,
        /// When to look again.
        again: Millis,
    },
    /// Nothing was heard for too long.
    Dead,
}

/// When each side last said something.
#[derive(Clone, Copy, Debug)]
pub struct Liveness {
    /// Any frame of the client counts.
    heard: Millis,
    /// Our last heartbeat.
    spoke: Millis,
}

impl Liveness {
    /// A connection that has just opened.
    #[must_use]
    pub const fn new(now: Millis) -> Self {
        Self { heard: now, spoke: now }
    }

    /// The client said something.
    pub const fn on_heard(&mut self, now: Millis) {
        self.heard = now;
    }

    /// When the client last said something.
    #[must_use]
    pub const fn heard(&self) -> Millis {
        self.heard
    }

    /// The first time to look.
    #[must_use]
    pub const fn first_look(&self) -> Millis {
        self.spoke.after(PING_AFTER_MS)
    }

    /// Looks at the clock. A heartbeat goes out every 20 s whether the client speaks or not, because
    /// shipped clients count only what they receive; the ping rides in the same write.
    pub fn look(&mut self, now: Millis) -> Verdict {
        let silent = now.since(self.heard);
        if silent >= IDLE_MS {
            return Verdict::Dead;
        }
        if now.since(self.spoke) < PING_AFTER_MS {
            return Verdict::Fine(self.first_look());
        }
        self.spoke = now;
        let again = self.first_look().min(self.heard.after(IDLE_MS));
        Verdict::Speak { ping: silent >= PING_AFTER_MS, again }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_client_is_pinged_every_twenty_seconds_and_given_up_after_seventy_five() {
        let mut live = Liveness::new(Millis(0));
        let (mut at, mut seen) = (live.first_look(), Vec::new());
        loop {
            match live.look(at) {
                Verdict::Speak { ping, again } => {
                    seen.push((at.0, ping));
                    at = again;
                }
                Verdict::Fine(again) => at = again,
                Verdict::Dead => break,
            }
        }
        assert_eq!(seen, [(20_000, true), (40_000, true), (60_000, true)]);
        assert_eq!(at, Millis(75_000));
    }

    #[test]
    fn a_client_that_speaks_gets_heartbeats_and_no_ping() {
        let mut live = Liveness::new(Millis(0));
        live.on_heard(Millis(15_000));
        assert_eq!(live.look(Millis(10_000)), Verdict::Fine(Millis(20_000)));
        assert_eq!(live.look(Millis(20_000)), Verdict::Speak { ping: false, again: Millis(40_000) });
    }
}
