//! What a seed keeps of what is pending. All that is durable stays in every case.
//!
//! The first five seeds are the plain cases. The others draw for each file one of: nothing kept, all kept, only the size
//! (zeros, as a file system leaves them that allocates late), or sectors torn from each other: each sector of 512 or
//! 4,096 bytes is as it was after some number of the writes that touched it, regardless of the others, as a disk writes
//! them in any order. Names are kept all, not at all, up to a moment, or each by itself.

use std::collections::BTreeMap;
use std::io;

use crate::content::{Content, PAGE};
use crate::replay::{Change, Naming, Pending};

/// A stream of numbers from a seed (`SplitMix64`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut dice = Self(seed);
        Self(dice.next() ^ stream.wrapping_mul(0xD6E8_FEB8_6659_FD93))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    /// One of the numbers from 0 to `end`, without it.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }
}

/// What becomes of the pending bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bytes {
    Lost,
    Kept,
    /// As long as it was, with zeros for what is not durable.
    Zeros,
    /// Torn into sectors of so many bytes. `grown`: the size is kept even where the bytes are not.
    Torn {
        sector: u64,
        grown: bool,
    },
}

/// What becomes of the pending names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Lost,
    Kept,
    UpTo(u64),
    Each,
}

/// What becomes of the bytes of this file.
pub(crate) fn bytes(seed: u64, node: u64) -> Bytes {
    let mut dice = Dice::new(seed, node + 1);
    match (seed, dice.below(8)) {
        (0 | 2, _) => Bytes::Lost,
        (1 | 4, _) => Bytes::Kept,
        (3, _) => Bytes::Zeros,
        (_, 0) => Bytes::Lost,
        (_, 1) => Bytes::Kept,
        (_, 2) => Bytes::Zeros,
        _ => Bytes::Torn { sector: if seed.is_multiple_of(2) { 512 } else { PAGE }, grown: dice.below(2) == 0 },
    }
}

/// Which of the pending changes of names are kept.
pub(crate) fn names(seed: u64, namings: &[Naming]) -> Vec<bool> {
    let mut dice = Dice::new(seed, 0);
    let end = namings.last().map_or(0, |last| last.index + 1);
    let order = match (seed, dice.below(5)) {
        (0 | 4, _) => Order::Lost,
        (1..=3, _) => Order::Kept,
        (_, 0) => Order::Lost,
        (_, 1) => Order::Kept,
        (_, 2) => Order::UpTo(dice.below(end + 1)),
        _ => Order::Each,
    };
    let keep = |naming: &Naming| match order {
        Order::Lost => false,
        Order::Kept => true,
        Order::UpTo(index) => naming.index < index,
        Order::Each => dice.below(2) == 0,
    };
    namings.iter().map(keep).collect()
}

/// The pending changes of a file, as the fate of its bytes has it.
pub(crate) fn settle(content: &mut Content, pending: &[Pending], fate: Bytes, mut dice: Dice) -> io::Result<()> {
    let limits = match fate {
        Bytes::Torn { sector, .. } => limits(pending, sector, &mut dice),
        _ => BTreeMap::new(),
    };
    let mut seen: BTreeMap<u64, u64> = BTreeMap::new();
    for one in pending {
        match (fate, &one.change) {
            _ if one.durable => {
                one.change.apply(content)?;
                count(&one.change, fate, |sector| _ = seen.entry(sector).and_modify(|n| *n += 1).or_insert(1));
            }
            (Bytes::Lost, _) => {}
            (Bytes::Kept, change) => change.apply(content)?,
            (Bytes::Zeros, Change::Write(at, bytes)) => content.reach(at + bytes.len() as u64),
            (Bytes::Zeros, change) => change.apply(content)?,
            (Bytes::Torn { sector, grown }, Change::Write(at, bytes)) => {
                for (number, place, part) in sectors(*at, bytes, sector) {
                    let seen = seen.entry(number).or_default();
                    *seen += 1;
                    if limits.get(&number).is_some_and(|limit| *seen <= *limit) {
                        content.write(place, part)?;
                    }
                }
                if grown {
                    content.reach(at + bytes.len() as u64);
                }
            }
            (Bytes::Torn { .. }, change) => {
                if dice.below(2) == 0 {
                    change.apply(content)?;
                }
            }
        }
    }
    Ok(())
}

/// How many of the writes that touch each sector have reached it.
fn limits(pending: &[Pending], sector: u64, dice: &mut Dice) -> BTreeMap<u64, u64> {
    let mut touched: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for one in pending {
        count(&one.change, Bytes::Torn { sector, grown: false }, |number| {
            let (times, least) = touched.entry(number).or_default();
            *times += 1;
            if one.durable {
                *least = *times;
            }
        });
    }
    let draw = |(number, (times, least)): (u64, (u64, u64))| {
        let limit = match dice.below(3) {
            0 => 0,
            1 => times,
            _ => dice.below(times + 1),
        };
        (number, limit.max(least))
    };
    touched.into_iter().map(draw).collect()
}

/// Looks at each sector that a change writes to.
fn count(change: &Change, fate: Bytes, mut look: impl FnMut(u64)) {
    if let (Change::Write(at, bytes), Bytes::Torn { sector, .. }) = (change, fate) {
        sectors(*at, bytes, sector).for_each(|(number, ..)| look(number));
    }
}

/// The bytes of a write by sector: the sector's number, where its part begins, and the part.
fn sectors(at: u64, bytes: &[u8], sector: u64) -> impl Iterator<Item = (u64, u64, &[u8])> {
    let (mut place, mut rest) = (at, bytes);
    std::iter::from_fn(move || {
        let room = usize::try_from(sector - place % sector).unwrap_or(usize::MAX).min(rest.len());
        let (now, later) = rest.split_at(room);
        let part = (place / sector, place, now);
        place += room as u64;
        rest = later;
        (!now.is_empty()).then_some(part)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// What 200 seeds make of writes to an empty file, of 1,024 bytes at most.
    fn outcomes(writes: &[(u64, &[u8], bool)]) -> BTreeSet<Vec<u8>> {
        let pending: Vec<Pending> = writes
            .iter()
            .map(|(at, bytes, durable)| Pending {
                index: 0,
                durable: *durable,
                spoiled: false,
                change: Change::Write(*at, bytes.to_vec()),
            })
            .collect();
        let place = std::env::temp_dir().join(format!("powercut-fate-{}-{}", std::process::id(), writes.len()));
        let outcome = |seed| {
            let mut content = Content::default();
            let fate = Bytes::Torn { sector: 512, grown: false };
            settle(&mut content, &pending, fate, Dice::new(seed, 1)).expect("settled");
            drop(std::fs::remove_file(&place));
            content.save(&place, 0o600).expect("saved");
            std::fs::read(&place).expect("saved")
        };
        let found = (0..200).map(outcome).collect();
        drop(std::fs::remove_file(&place));
        found
    }

    #[test]
    fn a_sector_is_as_it_was_at_some_moment_and_never_has_a_later_write_alone() {
        let expected = [&b""[..], b"one", b"onetwo"].map(<[u8]>::to_vec);
        assert_eq!(outcomes(&[(0, b"one", false), (3, b"two", false)]), expected.into());
    }

    #[test]
    fn sectors_are_kept_in_any_order_and_a_write_across_them_is_torn() {
        let both = [[b'a'; 512], [b'b'; 512]].concat();
        let second = [[0; 512], [b'b'; 512]].concat();
        assert_eq!(outcomes(&[(0, &both, false)]), [vec![], vec![b'a'; 512], second, both.clone()].into());
    }

    #[test]
    fn a_write_that_is_durable_by_itself_is_there_with_what_its_sector_had_before() {
        let writes: [(u64, &[u8], bool); 3] = [(0, b"one", false), (3, b"two", true), (6, b"six", false)];
        assert_eq!(outcomes(&writes), [b"onetwo".to_vec(), b"onetwosix".to_vec()].into());
    }
}
