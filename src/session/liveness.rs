//! When a connection is pinged, sent a heartbeat, or given up; and how well it answers.

use crate::limits::{IDLE_MS, PING_AFTER_MS, ROUND_TRIPS_KEPT};
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
    /// Round trips of our latest pings in milliseconds, the largest number for anything longer; a ring.
    trips: [u16; ROUND_TRIPS_KEPT],
    /// How many of these were measured.
    measured: u8,
    /// Where the next goes; less than there are places.
    next: u8,
    /// Messages that were refused, no further than the counter goes.
    errors: u8,
    /// Whether the ping that went with the last heartbeat is not answered.
    pinged: bool,
}

/// How well a connection does, by its round trips and by what was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quality {
    /// Nothing to be said against it.
    Excellent,
    /// Over half a second, or more than one error.
    Good,
    /// Over a second, or more than five errors.
    Poor,
    /// Over two seconds, or more than ten errors.
    Critical,
}

impl Quality {
    /// All, from the best.
    pub const ALL: [Self; 4] = [Self::Excellent, Self::Good, Self::Poor, Self::Critical];

    /// The name that goes over the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Excellent => "excellent",
            Self::Good => "good",
            Self::Poor => "poor",
            Self::Critical => "critical",
        }
    }

    /// Of a round trip and a number of errors: whichever is worse.
    #[must_use]
    pub const fn of(trip_ms: u16, errors: u8) -> Self {
        match (trip_ms, errors) {
            (2001.., _) | (_, 11..) => Self::Critical,
            (1001.., _) | (_, 6..) => Self::Poor,
            (501.., _) | (_, 2..) => Self::Good,
            _ => Self::Excellent,
        }
    }
}

impl Liveness {
    /// A connection that has just opened.
    #[must_use]
    pub const fn new(now: Millis) -> Self {
        Self { heard: now, spoke: now, trips: [0; ROUND_TRIPS_KEPT], measured: 0, next: 0, errors: 0, pinged: false }
    }

    /// The client said something.
    pub const fn on_heard(&mut self, now: Millis) {
        self.heard = now;
    }

    /// A pong came. Returns the round trip in milliseconds if it answers our latest ping: a pong that nobody asked
    /// for says nothing (RFC 6455 section 5.5.3).
    pub fn on_pong(&mut self, now: Millis) -> Option<u64> {
        if !std::mem::take(&mut self.pinged) {
            return None;
        }
        let trip = now.since(self.spoke);
        self.trips[usize::from(self.next)] = u16::try_from(trip).unwrap_or(u16::MAX);
        self.next = if usize::from(self.next) + 1 == ROUND_TRIPS_KEPT { 0 } else { self.next + 1 };
        self.measured = if usize::from(self.measured) < ROUND_TRIPS_KEPT { self.measured + 1 } else { self.measured };
        Some(trip)
    }

    /// A message of the client was refused.
    pub const fn on_refused(&mut self) {
        self.errors = self.errors.saturating_add(1);
    }

    /// The mean of the latest round trips in milliseconds, if any was measured.
    #[must_use]
    pub fn round_trip_ms(&self) -> Option<u16> {
        let count = usize::from(self.measured);
        let sum: usize = self.trips.iter().take(count).map(|trip| usize::from(*trip)).sum();
        u16::try_from(sum.checked_div(count)?).ok()
    }

    /// How well the connection does.
    #[must_use]
    pub fn quality(&self) -> Quality {
        Quality::of(self.round_trip_ms().unwrap_or(0), self.errors)
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
        self.pinged = silent >= PING_AFTER_MS;
        Verdict::Speak { ping: self.pinged, again }
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

    /// Pings at 0 s, answered after so many milliseconds each.
    fn answered(trips: &[u64]) -> Liveness {
        let mut live = Liveness::new(Millis(0));
        let mut at = Millis(0);
        for trip in trips {
            at = at.after(PING_AFTER_MS);
            assert!(matches!(live.look(at), Verdict::Speak { ping: true, .. }));
            live.on_heard(at.after(*trip));
            assert_eq!(live.on_pong(at.after(*trip)), Some(*trip));
            assert_eq!(live.on_pong(at.after(*trip)), None, "nobody asked for a second one");
            at = at.after(*trip);
        }
        live
    }

    #[test]
    fn the_latest_round_trips_are_kept_and_no_others() {
        assert_eq!(Liveness::new(Millis(0)).round_trip_ms(), None);
        assert_eq!(answered(&[100, 200]).round_trip_ms(), Some(150));
        for before in [0, 1, ROUND_TRIPS_KEPT - 1, ROUND_TRIPS_KEPT, 245, 600] {
            let trips = [vec![9000; before], vec![30; ROUND_TRIPS_KEPT]].concat();
            assert_eq!(answered(&trips).round_trip_ms(), Some(30), "{before}");
            let trips = [vec![9000; before + 1], vec![0; ROUND_TRIPS_KEPT - 1]].concat();
            assert_eq!(answered(&trips).round_trip_ms(), u16::try_from(9000 / ROUND_TRIPS_KEPT).ok(), "{before}");
        }
        assert_eq!(answered(&[70_000]).round_trip_ms(), Some(u16::MAX));
    }

    #[test]
    fn quality_is_the_worse_of_round_trip_and_errors() {
        use Quality::{Critical, Excellent, Good, Poor};
        for (trip, errors, expected) in [
            (0, 0, Excellent),
            (500, 1, Excellent),
            (501, 0, Good),
            (0, 2, Good),
            (1000, 5, Good),
            (1001, 0, Poor),
            (0, 6, Poor),
            (2000, 10, Poor),
            (2001, 0, Critical),
            (0, 11, Critical),
        ] {
            assert_eq!(Quality::of(trip, errors), expected, "{trip} {errors}");
        }
        let mut live = answered(&[501]);
        assert_eq!(live.quality().name(), "good");
        (0..300).for_each(|_| live.on_refused());
        assert_eq!(live.quality().name(), "critical");
        assert_eq!(Quality::ALL.map(Quality::name), ["excellent", "good", "poor", "critical"]);
    }

    #[test]
    fn a_client_that_speaks_gets_heartbeats_and_no_ping() {
        let mut live = Liveness::new(Millis(0));
        live.on_heard(Millis(15_000));
        assert_eq!(live.look(Millis(10_000)), Verdict::Fine(Millis(20_000)));
        assert_eq!(live.look(Millis(20_000)), Verdict::Speak { ping: false, again: Millis(40_000) });
    }
}
