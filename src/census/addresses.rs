//! What is counted by the address that a connection comes from.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;

use super::limits::Limits;
use super::paces::Paces;
use super::users::UserKey;
use crate::limits::ADDRESSES_PER_SHARD_MAX;
use crate::time::Millis;
use crate::wire::peer::Peer;

/// What counts as one address: an IPv4 address, or the 64 bits of an IPv6 address that a provider gives to one
/// household. Who has one address of such a network has all of them. Unix sockets, which have none, are one together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressKey {
    /// The whole address.
    V4(u32),
    /// The upper half.
    V6(u64),
    /// All that connect to a Unix socket and of whom no proxy says whose they are.
    Unix,
}

impl AddressKey {
    /// The key of a peer. An IPv4 address in IPv6's clothes is the IPv4 address.
    #[must_use]
    pub fn of(peer: impl Into<Peer>) -> Self {
        match peer.into().to_canonical() {
            Peer::Ip(IpAddr::V4(address)) => Self::V4(address.to_bits()),
            Peer::Ip(IpAddr::V6(address)) => Self::V6((address.to_bits() >> 64) as u64),
            Peer::Unix => Self::Unix,
        }
    }

    /// Bytes to find the shard by.
    #[must_use]
    pub const fn bytes(self) -> [u8; 8] {
        match self {
            Self::V4(bits) => (bits as u64).to_be_bytes(),
            Self::V6(bits) => bits.to_be_bytes(),
            Self::Unix => [0; 8],
        }
    }
}

/// What a shard asks about an address, once for each upgrade unless it says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// A user with a good token wants to come in; with `seat`, also a place among the address's connections.
    Upgrade {
        /// Who.
        user: UserKey,
        /// Whether a place is wanted too.
        seat: bool,
    },
    /// Somebody without a token wants to come in; with `seat`, also a place.
    Anonymous {
        /// Whether a place is wanted too.
        seat: bool,
    },
    /// A token was bad.
    BadToken,
    /// A place is wanted, once more.
    Seat,
}

impl Question {
    /// Whether the limits leave anything to be asked.
    #[must_use]
    pub const fn concerns(self, limits: &Limits) -> bool {
        let counts = match self {
            Self::Upgrade { .. } => !limits.upgrades.is_unlimited(),
            Self::Anonymous { .. } => !limits.anonymous_upgrades.is_unlimited(),
            Self::BadToken => !limits.bad_tokens.is_unlimited(),
            Self::Seat => false,
        };
        counts || self.wants_seat() && limits.connections_per_address > 0
    }

    /// Whether a place is wanted.
    #[must_use]
    pub const fn wants_seat(self) -> bool {
        match self {
            Self::Upgrade { seat, .. } | Self::Anonymous { seat } => seat,
            Self::Seat => true,
            Self::BadToken => false,
        }
    }
}

/// What the address's shard says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Pass,
    /// Not before so many milliseconds.
    Late(u32),
    /// The address has all its places; one may become free.
    Full,
}

/// The addresses that are at home on one shard.
#[derive(Debug)]
pub struct Addresses {
    seats_max: u32,
    seats: HashMap<AddressKey, u32>,
    upgrades: Paces<(AddressKey, UserKey)>,
    anonymous_upgrades: Paces<AddressKey>,
    bad_tokens: Paces<AddressKey>,
}

impl Addresses {
    /// No address yet.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            seats_max: limits.connections_per_address,
            seats: HashMap::new(),
            upgrades: Paces::new(limits.upgrades, ADDRESSES_PER_SHARD_MAX),
            anonymous_upgrades: Paces::new(limits.anonymous_upgrades, ADDRESSES_PER_SHARD_MAX),
            bad_tokens: Paces::new(limits.bad_tokens, ADDRESSES_PER_SHARD_MAX),
        }
    }

    /// Other limits from now on. Who has a place keeps it.
    pub const fn set_limits(&mut self, limits: &Limits) {
        self.seats_max = limits.connections_per_address;
        self.upgrades.set_rate(limits.upgrades);
        self.anonymous_upgrades.set_rate(limits.anonymous_upgrades);
        self.bad_tokens.set_rate(limits.bad_tokens);
    }

    /// Answers a question, and counts what it is about.
    pub fn judge(&mut self, address: AddressKey, question: Question, now: Millis) -> Verdict {
        let rate = match question {
            Question::Upgrade { user, .. } => self.upgrades.try_take((address, user), now),
            Question::BadToken => self.bad_tokens.try_take(address, now),
            // The bad tokens of an address say nothing about who brings none yet: behind one address there are many.
            Question::Anonymous { .. } => self.anonymous_upgrades.try_take(address, now),
            Question::Seat => Ok(()),
        };
        match rate {
            Err(wait_ms) => Verdict::Late(u32::try_from(wait_ms).unwrap_or(u32::MAX)),
            Ok(()) if question.wants_seat() && !self.try_sit(address) => Verdict::Full,
            Ok(()) => Verdict::Pass,
        }
    }

    /// A place that is asked for is counted even if any number may be had here: who asks knows of a limit, of which
    /// this shard may hear a moment later, and will give the place back.
    fn try_sit(&mut self, address: AddressKey) -> bool {
        let seats = self.seats.entry(address).or_default();
        let free = self.seats_max == 0 || *seats < self.seats_max;
        *seats += u32::from(free);
        free
    }

    /// A connection is in that had to ask nobody. It counts, and nobody has to go for it.
    pub fn sit(&mut self, address: AddressKey) {
        *self.seats.entry(address).or_default() += 1;
    }

    /// A connection that had a place is gone.
    pub fn leave(&mut self, address: AddressKey) {
        if let Entry::Occupied(mut seats) = self.seats.entry(address) {
            match *seats.get() {
                0 | 1 => drop(seats.remove()),
                more => *seats.get_mut() = more - 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rate::Rate;

    const NOW: Millis = Millis(5000);
    const USER: UserKey = UserKey([1, 2]);
    const ANYBODY: Question = Question::Anonymous { seat: true };

    fn addresses(change: impl FnOnce(&mut Limits)) -> Addresses {
        let mut limits = Limits::default();
        change(&mut limits);
        Addresses::new(&limits)
    }

    fn key(text: &str) -> AddressKey {
        AddressKey::of(if text == "unix" { Peer::Unix } else { Peer::Ip(text.parse().unwrap()) })
    }

    #[test]
    fn a_household_is_one_address_and_others_are_others() {
        for (one, other, same) in [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff", true),
            ("2001:db8:0:1::1", "2001:db8:0:2::1", false),
            ("::1", "0.0.0.0", false),
            ("unix", "unix", true),
            ("unix", "127.0.0.1", false),
            ("unix", "0.0.0.0", false),
            ("unix", "::", false),
        ] {
            assert_eq!(key(one) == key(other), same, "{one} {other}");
        }
    }

    #[test]
    fn upgrades_are_counted_by_user_and_address() {
        for (upgrades, expected) in [(59, Verdict::Pass), (60, Verdict::Pass), (61, Verdict::Late(1000))] {
            let mut all = addresses(|_| {});
            let question = Question::Upgrade { user: USER, seat: true };
            let last = (0..upgrades).map(|_| all.judge(key("192.0.2.1"), question, NOW)).last();
            assert_eq!(last, Some(expected), "{upgrades}");
            let other = Question::Upgrade { user: UserKey([1, 3]), seat: true };
            assert_eq!(all.judge(key("192.0.2.1"), other, NOW), Verdict::Pass, "another user");
            assert_eq!(all.judge(key("192.0.2.2"), question, NOW), Verdict::Pass, "another address");
        }
    }

    #[test]
    fn upgrades_without_a_token_are_counted_by_address() {
        for (upgrades, expected) in [(2, Verdict::Pass), (3, Verdict::Pass), (4, Verdict::Late(20_000))] {
            let mut all = addresses(|limits| limits.anonymous_upgrades = Rate::a_minute(3));
            let at = key("2001:db8::1");
            let last = (0..upgrades).map(|_| all.judge(at, ANYBODY, NOW)).last();
            assert_eq!(last, Some(expected), "{upgrades}");
            for other in [Question::BadToken, Question::Seat, Question::Upgrade { user: USER, seat: true }] {
                assert_eq!(all.judge(at, other, NOW), Verdict::Pass, "{other:?}");
            }
            assert_eq!(all.judge(key("192.0.2.1"), ANYBODY, NOW), Verdict::Pass, "another address");
        }
    }

    #[test]
    fn after_too_many_bad_tokens_bad_ones_come_too_early_and_nobody_else_does() {
        for bad in [59, 60, 61, 600] {
            let mut all = addresses(|_| {});
            let at = key("2001:db8::1");
            let late = (0..bad).filter(|_| all.judge(at, Question::BadToken, NOW) != Verdict::Pass).count();
            assert_eq!(late, usize::saturating_sub(bad, 60), "{bad}");
            for other in [ANYBODY, Question::Seat, Question::Upgrade { user: USER, seat: true }] {
                assert_eq!(all.judge(at, other, NOW), Verdict::Pass, "{bad} {other:?}");
            }
            assert_eq!(all.judge(key("192.0.2.1"), Question::BadToken, NOW), Verdict::Pass, "another address");
        }
    }

    #[test]
    fn an_address_has_its_places_and_they_are_given_out_again() {
        let mut all = addresses(|limits| limits.connections_per_address = 2);
        let at = key("192.0.2.1");
        let first: Vec<Verdict> = (0..3).map(|_| all.judge(at, ANYBODY, NOW)).collect();
        assert_eq!(first, [Verdict::Pass, Verdict::Pass, Verdict::Full]);
        assert_eq!(all.judge(at, Question::Upgrade { user: USER, seat: false }, NOW), Verdict::Pass);
        assert_eq!(all.judge(at, Question::BadToken, NOW), Verdict::Pass, "no place is wanted");
        all.leave(at);
        assert_eq!(all.judge(at, Question::Seat, NOW), Verdict::Pass);
        assert_eq!(all.judge(at, Question::Seat, NOW), Verdict::Full);
        all.leave(at);
        all.leave(at);
        all.leave(at);
        assert!(all.seats.is_empty(), "nobody is left, and one leaving too many counts for nothing");
    }

    #[test]
    fn without_limits_everything_passes_and_nothing_is_kept() {
        let mut all = Addresses::new(&Limits::UNLIMITED);
        let at = key("192.0.2.1");
        for question in [Question::BadToken, Question::Upgrade { user: USER, seat: false }] {
            assert!((0..1000).all(|_| all.judge(at, question, NOW) == Verdict::Pass));
        }
        assert!(all.seats.is_empty());
    }

    #[test]
    fn places_are_counted_across_a_change_of_their_limit() {
        let mut all = Addresses::new(&Limits::UNLIMITED);
        let at = key("192.0.2.1");
        assert_eq!([0; 3].map(|_| all.judge(at, Question::Seat, NOW)), [Verdict::Pass; 3]);
        all.set_limits(&Limits { connections_per_address: 3, ..Limits::UNLIMITED });
        assert_eq!(all.judge(at, Question::Seat, NOW), Verdict::Full);
        all.leave(at);
        assert_eq!(all.judge(at, Question::Seat, NOW), Verdict::Pass);
        all.set_limits(&Limits { connections_per_address: 2, ..Limits::UNLIMITED });
        all.leave(at);
        assert_eq!(all.judge(at, Question::Seat, NOW), Verdict::Full, "who has a place keeps it");
        (0..2).for_each(|_| all.leave(at));
        assert!(all.seats.is_empty());
        all.set_limits(&Limits { bad_tokens: Rate::a_minute(1), ..Limits::UNLIMITED });
        let bad = [0; 2].map(|_| all.judge(at, Question::BadToken, NOW));
        assert_eq!(bad, [Verdict::Pass, Verdict::Late(60_000)]);
    }

    #[test]
    fn who_is_in_already_counts_over_the_limit_as_well() {
        let mut all = addresses(|limits| limits.connections_per_address = 2);
        let at = key("192.0.2.1");
        (0..3).for_each(|_| all.sit(at));
        for _ in 0..2 {
            assert_eq!(all.judge(at, Question::Seat, NOW), Verdict::Full);
            all.leave(at);
        }
        assert_eq!(all.judge(at, Question::Seat, NOW), Verdict::Pass);
    }

    #[test]
    fn an_address_is_asked_about_only_where_a_limit_could_answer() {
        let upgrade = |seat| Question::Upgrade { user: USER, seat };
        let all = [upgrade(true), upgrade(false), ANYBODY, Question::BadToken, Question::Seat];
        let one = Rate::a_minute(1);
        for (limits, expected) in [
            (Limits::UNLIMITED, [false; 5]),
            (Limits { upgrades: one, ..Limits::UNLIMITED }, [true, true, false, false, false]),
            (Limits { anonymous_upgrades: one, ..Limits::UNLIMITED }, [false, false, true, false, false]),
            (Limits { bad_tokens: one, ..Limits::UNLIMITED }, [false, false, false, true, false]),
            (Limits { connections_per_address: 1, ..Limits::UNLIMITED }, [true, false, true, false, true]),
        ] {
            assert_eq!(all.map(|question| question.concerns(&limits)), expected, "{limits:?}");
        }
    }

    #[test]
    fn more_addresses_than_a_shard_remembers_make_it_forget_the_oldest() {
        for (others, forgotten) in [(ADDRESSES_PER_SHARD_MAX, false), (2 * ADDRESSES_PER_SHARD_MAX, true)] {
            let mut all = addresses(|_| {});
            (0..60).for_each(|_| assert_eq!(all.judge(AddressKey::V6(0), Question::BadToken, NOW), Verdict::Pass));
            for at in 1..=others as u64 {
                all.judge(AddressKey::V6(at), Question::BadToken, NOW);
            }
            let verdict = all.judge(AddressKey::V6(0), Question::BadToken, NOW);
            assert_eq!(verdict == Verdict::Pass, forgotten, "{others}");
        }
    }
}
