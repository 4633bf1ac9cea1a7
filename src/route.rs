//! Station 6: which shard is a channel's home.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use crate::ids::ShardId;

/// A key for hashes that clients must not be able to foresee.
pub type HashKey = [u8; 16];

/// The home of a channel among `shards` shards: a keyed hash of its name, so that nobody can choose names
/// that all fall on one shard. The same key and name always give the same home.
#[must_use]
pub fn home(key: &HashKey, channel: &str, shards: u16) -> ShardId {
    let mut hasher = SipHasher13::new_with_key(key);
    hasher.write(channel.as_bytes());
    let scaled = (u128::from(hasher.finish()) * u128::from(shards)) >> 64;
    ShardId(u16::try_from(scaled).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_spread_evenly_and_stay_where_they_are() {
        for shards in [1, 2, 3, 7, 64] {
            let mut counts = vec![0_u32; usize::from(shards)];
            for index in 0..10_000 {
                let name = format!("trip:{index}");
                assert_eq!(home(&[1; 16], &name, shards), home(&[1; 16], &name, shards));
                counts[home(&[1; 16], &name, shards).index()] += 1;
            }
            let fair = 10_000 / u32::from(shards);
            assert!(counts.iter().all(|count| count.abs_diff(fair) < fair / 2 + 10), "{counts:?}");
        }
    }

    #[test]
    fn another_key_gives_other_homes() {
        let names: Vec<String> = (0..100).map(|index| format!("trip:{index}")).collect();
        let homes = |key: u8| names.iter().map(move |name| home(&[key; 16], name, 64));
        assert!(homes(1).zip(homes(2)).any(|(one, other)| one != other));
    }
}
