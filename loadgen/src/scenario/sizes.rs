//! Sizes that differ: of rooms and of bodies. Always the same ones for the same scenario, so that runs compare.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::limits::{CONNECTIONS_COUNT_MAX, SIZES_COUNT_MAX};

/// Members of a group's rooms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Members {
    /// So many in each of `rooms` rooms.
    Each(u32),
    /// Few big rooms and many small ones.
    Zipf {
        /// How they fall off.
        zipf: Zipf,
    },
    /// So many rooms of a size, one line for each size.
    List(Vec<Rooms>),
}

/// The rank-size rule: the k-th largest room has `max / k^exponent` members, until `total` connections have a room.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Zipf {
    /// Members of the largest room.
    pub max: u32,
    /// How fast they get smaller: 0 for not at all; 1 is what towns and channels are like.
    pub exponent: f64,
    /// Connections of all rooms.
    pub total: u32,
    /// Members of the smallest rooms.
    #[serde(default = "one")]
    pub min: u32,
}

/// Rooms of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rooms {
    /// How many.
    pub rooms: u32,
    /// Members of each.
    pub members: u32,
}

/// Bytes of bodies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Sizes {
    /// All alike.
    Fixed(usize),
    /// Any from the one to the other, equally often.
    Range(SizeRange),
    /// Some of these.
    Weighted(Vec<Weighted>),
}

/// Bodies from one size to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SizeRange {
    /// Smallest.
    pub min: usize,
    /// Largest.
    pub max: usize,
}

/// One size among others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weighted {
    /// Bytes of the body.
    pub bytes: usize,
    /// How often, beside the others' weights.
    pub weight: u32,
}

fn one() -> u32 {
    1
}

impl fmt::Display for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Each(members) => write!(f, "{members}"),
            _ => write!(f, "up to {}", self.count(1).1),
        }
    }
}

impl Members {
    /// The size of each room, in the order of their numbers; `rooms` counts for rooms of one size only.
    #[must_use]
    pub fn sizes(&self, rooms: u32) -> Vec<u32> {
        match self {
            Self::Each(members) => vec![*members; usize::try_from(rooms).unwrap_or(usize::MAX)],
            Self::Zipf { zipf } => zipf.sizes(),
            Self::List(list) => {
                let of = |entry: &Rooms| std::iter::repeat_n(entry.members, usize::try_from(entry.rooms).unwrap_or(0));
                list.iter().flat_map(of).collect()
            }
        }
    }

    /// Connections and largest room, without listing the rooms.
    #[must_use]
    pub fn count(&self, rooms: u32) -> (u64, u32) {
        match self {
            Self::Each(members) => (u64::from(rooms) * u64::from(*members), *members),
            Self::Zipf { zipf } => (u64::from(zipf.total), zipf.max.min(zipf.total)),
            Self::List(list) => {
                let sum = list.iter().map(|entry| u64::from(entry.rooms) * u64::from(entry.members)).sum();
                (sum, list.iter().map(|entry| entry.members).max().unwrap_or(0))
            }
        }
    }

    pub(super) fn check(&self, rooms: u32) -> Result<(), String> {
        match self {
            Self::Each(_) if rooms == 0 => Err("rooms: must be above 0".to_owned()),
            Self::Each(0) => Err("members: must be above 0".to_owned()),
            Self::Each(_) => Ok(()),
            _ if rooms != 1 => Err(format!("rooms {rooms}: must be left out where members is a distribution")),
            Self::Zipf { zipf } => zipf.check(),
            Self::List(list) if list.is_empty() || list.len() > SIZES_COUNT_MAX => {
                Err(format!("members: {} sizes: must be 1 to {SIZES_COUNT_MAX}", list.len()))
            }
            Self::List(list) => match list.iter().find(|entry| entry.rooms == 0 || entry.members == 0) {
                Some(_) => Err("members: rooms and members of each size must be above 0".to_owned()),
                None => Ok(()),
            },
        }
    }
}

impl Zipf {
    fn sizes(self) -> Vec<u32> {
        let (mut sizes, mut left, mut rank) = (Vec::new(), self.total, 1.0f64);
        while left > 0 {
            let wanted = (f64::from(self.max) / rank.powf(self.exponent)).round();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to max, which is a u32")]
            let wanted = wanted as u32;
            let size = wanted.max(self.min).min(left);
            sizes.push(size);
            left -= size;
            rank += 1.0;
        }
        sizes
    }

    fn check(self) -> Result<(), String> {
        let Self { max, exponent, total, min } = self;
        let most = u32::try_from(CONNECTIONS_COUNT_MAX).unwrap_or(u32::MAX);
        if !(1..=most).contains(&total) {
            return Err(format!("members: zipf.total {total}: must be 1 to {most}"));
        }
        if !(min..=total).contains(&max) || min == 0 {
            return Err(format!("members: zipf.max {max} and zipf.min {min}: must be 1 <= min <= max <= total"));
        }
        if !(0.0..=10.0).contains(&exponent) {
            return Err(format!("members: zipf.exponent {exponent}: must be 0 to 10"));
        }
        Ok(())
    }
}

impl Sizes {
    /// The size of a publisher's body with this number.
    #[must_use]
    pub fn of(&self, publisher: u32, seq: u32) -> usize {
        // Multiples of the golden ratio are spread evenly, so that even a short run has its sizes in proportion.
        let turn = u64::from(publisher) + u64::from(seq);
        let turn = turn.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let below = |count: u64| u64::try_from((u128::from(turn) * u128::from(count)) >> 64).unwrap_or(0);
        match self {
            Self::Fixed(bytes) => *bytes,
            Self::Range(SizeRange { min, max }) => {
                let count = u64::try_from(max.saturating_sub(*min)).unwrap_or(u64::MAX).saturating_add(1);
                min + usize::try_from(below(count)).unwrap_or(0)
            }
            Self::Weighted(list) => {
                let mut place = below(list.iter().map(|size| u64::from(size.weight)).sum());
                for size in list {
                    if place < u64::from(size.weight) {
                        return size.bytes;
                    }
                    place -= u64::from(size.weight);
                }
                0
            }
        }
    }

    /// Smallest and largest.
    #[must_use]
    pub fn range(&self) -> (usize, usize) {
        match self {
            Self::Fixed(bytes) => (*bytes, *bytes),
            Self::Range(SizeRange { min, max }) => (*min, *max),
            Self::Weighted(list) => {
                let sizes = list.iter().filter(|size| size.weight > 0).map(|size| size.bytes);
                (sizes.clone().min().unwrap_or(0), sizes.max().unwrap_or(0))
            }
        }
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        match self {
            Self::Range(SizeRange { min, max }) if min > max => {
                return Err(format!("payload_bytes: min {min} must not be above max {max}"));
            }
            Self::Weighted(list) if list.is_empty() || list.len() > SIZES_COUNT_MAX => {
                return Err(format!("payload_bytes: {} sizes: must be 1 to {SIZES_COUNT_MAX}", list.len()));
            }
            _ => {}
        }
        let (min, max) = self.range();
        super::check_body(min).and_then(|()| super::check_body(max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zipf(max: u32, exponent: f64, total: u32, min: u32) -> Zipf {
        Zipf { max, exponent, total, min }
    }

    #[test]
    fn zipf_rooms_get_smaller_by_rank_and_use_all_connections() {
        assert_eq!(zipf(10, 1.0, 30, 1).sizes(), [10, 5, 3, 3, 2, 2, 1, 1, 1, 1, 1]);
        assert_eq!(zipf(10, 0.0, 25, 1).sizes(), [10, 10, 5]);
        assert_eq!(zipf(8, 2.0, 17, 3).sizes(), [8, 3, 3, 3]);
        assert_eq!(zipf(1, 1.0, 3, 1).sizes(), [1, 1, 1]);
        let sizes = zipf(500, 0.9, 10_000, 2).sizes();
        assert_eq!(sizes.iter().sum::<u32>(), 10_000);
        assert!(sizes.is_sorted_by(|one, next| one >= next) && sizes[0] == 500);
        // By the rule the tenth room is an eighth of the first.
        assert_eq!(sizes[9], 63);
    }

    #[test]
    fn wrong_distributions_are_refused_with_their_key() {
        let check = |members: Members, rooms, word: &str| {
            let error = members.check(rooms).unwrap_err();
            assert!(error.contains(word), "{error}");
        };
        check(Members::Each(0), 1, "members");
        check(Members::Each(1), 0, "rooms");
        check(Members::Zipf { zipf: zipf(10, 1.0, 30, 1) }, 2, "rooms 2");
        check(Members::Zipf { zipf: zipf(31, 1.0, 30, 1) }, 1, "zipf.max 31");
        check(Members::Zipf { zipf: zipf(10, 1.0, 30, 11) }, 1, "zipf.min 11");
        check(Members::Zipf { zipf: zipf(10, 1.0, 30, 0) }, 1, "zipf.min 0");
        check(Members::Zipf { zipf: zipf(10, -0.1, 30, 1) }, 1, "zipf.exponent");
        check(Members::Zipf { zipf: zipf(10, f64::NAN, 30, 1) }, 1, "zipf.exponent");
        check(Members::Zipf { zipf: zipf(10, 1.0, 0, 1) }, 1, "zipf.total 0");
        check(Members::List(vec![]), 1, "0 sizes");
        check(Members::List(vec![Rooms { rooms: 1, members: 0 }]), 1, "above 0");
        let most = vec![Rooms { rooms: 1, members: 1 }; SIZES_COUNT_MAX];
        assert_eq!(Members::List(most.clone()).check(1), Ok(()));
        check(Members::List([&most[..], &most[..1]].concat()), 1, "sizes: must be");
        assert_eq!(Members::Zipf { zipf: zipf(30, 1.0, 30, 30) }.check(1), Ok(()));
    }

    #[test]
    fn the_count_is_that_of_the_rooms() {
        let list = Members::List(vec![Rooms { rooms: 2, members: 3 }, Rooms { rooms: 1, members: 9 }]);
        for (members, rooms) in [(Members::Each(4), 6), (Members::Zipf { zipf: zipf(10, 1.0, 33, 1) }, 1), (list, 1)] {
            let sizes = members.sizes(rooms);
            let sum: u32 = sizes.iter().sum();
            assert_eq!(members.count(rooms), (u64::from(sum), *sizes.iter().max().unwrap()));
        }
    }

    #[test]
    fn bodies_have_their_sizes_in_proportion() {
        let range = Sizes::Range(SizeRange { min: 100, max: 199 });
        let sizes: Vec<usize> = (1..=1000).map(|seq| range.of(7, seq)).collect();
        assert!(sizes.iter().all(|size| (100..200).contains(size)));
        let low = sizes.iter().filter(|&&size| size < 150).count();
        assert!((480..=520).contains(&low), "{low}");
        assert!(sizes.contains(&100) && sizes.contains(&199));
        let weighted = Sizes::Weighted(vec![Weighted { bytes: 100, weight: 3 }, Weighted { bytes: 4000, weight: 1 }]);
        let big = (1..=1000).filter(|&seq| weighted.of(3, seq) == 4000).count();
        assert!((240..=260).contains(&big), "{big}");
        assert_eq!((weighted.range(), Sizes::Fixed(77).of(1, 1)), ((100, 4000), 77));
    }

    #[test]
    fn wrong_sizes_are_refused() {
        let check = |sizes: Sizes, word: &str| {
            let error = sizes.check().unwrap_err();
            assert!(error.contains(word), "{error}");
        };
        check(Sizes::Fixed(73), "73");
        check(Sizes::Range(SizeRange { min: 200, max: 199 }), "min 200");
        check(Sizes::Range(SizeRange { min: 73, max: 199 }), "73");
        check(Sizes::Weighted(vec![]), "0 sizes");
        check(Sizes::Weighted(vec![Weighted { bytes: 100, weight: 0 }]), "0 bytes");
        let most = vec![Weighted { bytes: 100, weight: 1 }; SIZES_COUNT_MAX + 1];
        check(Sizes::Weighted(most.clone()), "sizes: must be");
        assert_eq!(Sizes::Weighted(most[1..].to_vec()).check(), Ok(()));
        assert_eq!(Sizes::Range(SizeRange { min: 74, max: 74 }).check(), Ok(()));
    }
}
