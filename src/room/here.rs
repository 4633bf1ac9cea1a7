//! A table of the connections in a channel, as small as they are few.
//!
//! Nearly every channel has a handful: their entries stand one after another in the order of their ids, with no more
//! room than they take. A crowd stands in a tree, in the same order. Between the two bounds the table stays what it
//! is, so that one who comes and goes does not move a crowd.

use std::collections::BTreeMap;

use crate::ids::ConnId;
use crate::limits::HERE_LISTED_MAX;

/// What is known of each connection.
#[derive(Debug)]
pub(super) enum Here<T> {
    /// In the order of their ids.
    Few(Vec<(ConnId, T)>),
    /// Too many to be moved for one that comes.
    Many(BTreeMap<ConnId, T>),
}

impl<T> Default for Here<T> {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl<T> Here<T> {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Few(few) => few.len(),
            Self::Many(many) => many.len(),
        }
    }

    /// Whether a connection is there.
    pub(super) fn contains(&self, id: ConnId) -> bool {
        match self {
            Self::Few(few) => place(few, id).is_ok(),
            Self::Many(many) => many.contains_key(&id),
        }
    }

    /// Puts in a connection that is not there.
    pub(super) fn insert(&mut self, id: ConnId, value: T) {
        if let Self::Few(few) = self
            && few.len() >= HERE_LISTED_MAX
        {
            *self = Self::Many(std::mem::take(few).into_iter().collect());
        }
        match self {
            Self::Few(few) => {
                if few.len() == few.capacity() {
                    few.reserve_exact(few.len().div_ceil(4).max(1));
                }
                let Err(at) = place(few, id) else { return };
                few.insert(at, (id, value));
            }
            Self::Many(many) => {
                many.insert(id, value);
            }
        }
    }

    /// Takes a connection out.
    pub(super) fn remove(&mut self, id: ConnId) -> Option<T> {
        match self {
            Self::Few(few) => {
                let (_, value) = few.remove(place(few, id).ok()?);
                if few.len() <= few.capacity() / 2 {
                    few.shrink_to_fit();
                }
                Some(value)
            }
            Self::Many(many) => {
                let value = many.remove(&id)?;
                if many.len() <= HERE_LISTED_MAX / 2 {
                    *self = Self::Few(std::mem::take(many).into_iter().collect());
                }
                Some(value)
            }
        }
    }

    /// All of them in the order of their ids.
    pub(super) fn iter(&self) -> impl Iterator<Item = (ConnId, &T)> {
        let (few, many) = match self {
            Self::Few(few) => (Some(few), None),
            Self::Many(many) => (None, Some(many)),
        };
        let few = few.into_iter().flatten().map(|(id, value)| (*id, value));
        few.chain(many.into_iter().flatten().map(|(id, value)| (*id, value)))
    }
}

fn place<T>(few: &[(ConnId, T)], id: ConnId) -> Result<usize, usize> {
    few.binary_search_by_key(&id, |(other, _)| *other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ShardId;

    fn id(number: usize) -> ConnId {
        ConnId { shard: ShardId(0), slot: u32::try_from(number).unwrap(), generation: 1 }
    }

    fn check(count: usize) {
        let mut here = Here::default();
        // In an order that is neither of the two.
        for step in 0..count {
            let number = (step * 7 + 3) % count;
            here.insert(id(number), number);
            assert!(here.contains(id(number)) && here.len() == step + 1);
        }
        assert!(here.iter().map(|(_, value)| *value).eq(0..count), "{count}");
        assert_eq!(matches!(here, Here::Many(_)), count > HERE_LISTED_MAX, "{count}");
        for number in 0..count {
            assert_eq!((here.remove(id(number)), here.remove(id(number))), (Some(number), None));
            assert!(!here.contains(id(number)) && here.iter().map(|(_, value)| *value).eq(number + 1..count));
        }
        assert!(matches!(&here, Here::Few(few) if few.capacity() == 0), "nothing is kept for nobody");
    }

    #[test]
    fn a_table_is_the_same_for_few_and_for_many() {
        // None of these is divided by seven.
        for count in [1, 2, 3, 4, 9, HERE_LISTED_MAX - 1, HERE_LISTED_MAX, HERE_LISTED_MAX + 1, 10 * HERE_LISTED_MAX] {
            check(count);
        }
    }

    #[test]
    fn a_crowd_that_shrinks_is_a_list_only_when_it_is_small() {
        let mut here = Here::default();
        (0..=HERE_LISTED_MAX).for_each(|number| here.insert(id(number), ()));
        for number in 0..=HERE_LISTED_MAX {
            here.remove(id(number));
            assert_eq!(matches!(here, Here::Many(_)), here.len() > HERE_LISTED_MAX / 2, "{number}");
        }
    }

    #[test]
    fn three_take_no_more_room_than_three() {
        let mut here = Here::default();
        (0..3).for_each(|number| here.insert(id(number), ()));
        assert!(matches!(&here, Here::Few(few) if few.capacity() == 3));
    }
}
