//! Station 6: which shard is a channel's home.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;
use siphasher::sip128::{Hasher128 as _, SipHasher13 as SipHasher128};

use crate::ids::ShardId;

/// A key for hashes that clients must not be able to foresee.
pub type HashKey = [u8; 16];

/// The home of a channel among `shards` shards: a keyed hash of its name, so that nobody can choose names
/// that all fall on one shard. The same key and name always give the same home.
#[must_use]
pub fn home(key: &HashKey, channel: &str, shards: u16) -> ShardId {
    home_of(key, &[channel.as_bytes()], shards)
}

/// The shard that counts a user's connections: the home of the channel `user:{id}`.
#[must_use]
pub fn user_home(key: &HashKey, user: &str, shards: u16) -> ShardId {
    home_of(key, &[b"user:", user.as_bytes()], shards)
}

/// The shard that counts what comes from an address.
#[must_use]
pub fn address_home(key: &HashKey, address: [u8; 8], shards: u16) -> ShardId {
    home_of(key, &[b"address:", &address], shards)
}

/// A hash of a name that stands for it: 128 bits under a key that clients do not know, so that nobody can find
/// two names with one hash.
#[must_use]
pub fn digest(key: &HashKey, name: &str) -> u128 {
    let mut hasher = SipHasher128::new_with_key(key);
    hasher.write(name.as_bytes());
    hasher.finish128().as_u128()
}

fn home_of(key: &HashKey, parts: &[&[u8]], shards: u16) -> ShardId {
    let mut hasher = SipHasher13::new_with_key(key);
    parts.iter().for_each(|part| hasher.write(part));
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
    fn a_user_is_counted_where_the_users_channel_is_at_home() {
        for index in 0..100 {
            let user = format!("ann-{index}");
            assert_eq!(user_home(&[1; 16], &user, 64), home(&[1; 16], &format!("user:{user}"), 64));
        }
        assert_ne!(digest(&[1; 16], "ann"), digest(&[1; 16], "bob"));
        assert_ne!(digest(&[1; 16], "ann"), digest(&[2; 16], "ann"));
        let homes: std::collections::HashSet<_> =
            (0..100_u64).map(|address| address_home(&[1; 16], address.to_be_bytes(), 64)).collect();
        assert!(homes.len() > 30, "addresses spread");
    }

    #[test]
    fn another_key_gives_other_homes() {
        let names: Vec<String> = (0..100).map(|index| format!("trip:{index}")).collect();
        let homes = |key: u8| names.iter().map(move |name| home(&[key; 16], name, 64));
        assert!(homes(1).zip(homes(2)).any(|(one, other)| one != other));
    }
}
