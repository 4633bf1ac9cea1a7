//! Which operations of a channel were already sequenced, for a while and up to a number.
//!
//! An operation is known by user and id, through a keyed 128-bit hash: two of them meet with a
//! probability of 2^-118 at the bound, and a client cannot aim at it without the key.
//!
//! At the bound the operations of whoever has most go first, as long as that is more than a share: members that publish id
//! after id push out their own and each other's, and the retry of a quiet one is recognised all the same.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use siphasher::sip128::{Hasher128, SipHasher13};

use crate::ids::Seq;
use crate::limits::{DEDUP_ENTRIES_MAX, DEDUP_SHARE_MAX, DEDUP_WINDOW_MS};
use crate::time::Millis;

/// A key for hashes that clients must not be able to foresee.
pub type HashKey = [u8; 16];

/// An operation's identity and its content, hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    identity: u128,
    content: u64,
    /// Whose it is, hashed.
    author: u64,
}

impl Operation {
    /// The operation `id` of `user`, an event of type `kind` for which the client wrote `parts`.
    #[must_use]
    pub fn new(key: &HashKey, user: &str, id: &str, kind: &str, parts: &[&[u8]]) -> Self {
        let mut identity = SipHasher13::new_with_key(key);
        identity.write_usize(user.len());
        identity.write(user.as_bytes());
        identity.write(id.as_bytes());
        let mut content = SipHasher13::new_with_key(key);
        content.write_usize(kind.len());
        content.write(kind.as_bytes());
        for part in parts {
            content.write_usize(part.len());
            content.write(part);
        }
        let author = author_of(key, user);
        Self { identity: identity.finish128().as_u128(), content: content.finish128().h1, author }
    }
}

/// A user as the author of operations.
#[must_use]
pub fn author_of(key: &HashKey, user: &str) -> u64 {
    let mut author = SipHasher13::new_with_key(key);
    author.write(user.as_bytes());
    author.finish128().h1
}

/// The parts of an operation as they are stored.
impl From<Operation> for (u128, u64, u64) {
    fn from(Operation { identity, content, author }: Operation) -> Self {
        (identity, content, author)
    }
}

impl From<(u128, u64, u64)> for Operation {
    fn from((identity, content, author): (u128, u64, u64)) -> Self {
        Self { identity, content, author }
    }
}

/// What is known of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It was not seen, or too long ago.
    New,
    /// It was sequenced at this position.
    Done(Seq),
    /// Its id was used for something else.
    Reused,
}

/// An operation in the order of time.
#[derive(Clone, Copy, Debug)]
struct Place {
    at: Millis,
    identity: u128,
    author: u64,
}

/// The hash of what is a hash: a part of it. The keys come out of a keyed one, so nobody can aim at a place in the tables,
/// and each operation is spared four hashes more.
#[derive(Debug, Default)]
struct Part(u64);

impl Hasher for Part {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        let (parts, _) = bytes.as_chunks();
        self.0 = parts.iter().fold(self.0, |sum, part| sum ^ u64::from_ne_bytes(*part));
    }
}

/// A table of what is told by its hash.
type Table<K, V> = HashMap<K, V, BuildHasherDefault<Part>>;

/// The operations of one channel.
#[derive(Debug, Default)]
pub struct Dedup {
    done: Table<u128, (u64, Seq)>,
    /// In the order of their time, so that the oldest go first.
    order: VecDeque<Place>,
    /// How many each author has.
    authors: Table<u64, u16>,
    /// The authors that have more than a share; so few that they are looked through.
    heavy: Vec<u64>,
}

impl Dedup {
    /// Looks an operation up, after forgetting what is older than the window.
    pub fn find(&mut self, now: Millis, operation: Operation) -> Known {
        self.expire(now);
        match self.done.get(&operation.identity) {
            Some((content, seq)) if *content == operation.content => Known::Done(*seq),
            Some(_) => Known::Reused,
            None => Known::New,
        }
    }

    /// Notes that an operation was sequenced.
    pub fn insert(&mut self, now: Millis, operation: Operation, seq: Seq) {
        while self.order.len() >= DEDUP_ENTRIES_MAX {
            self.make_place(operation.author);
        }
        let Operation { identity, content, author } = operation;
        self.done.insert(identity, (content, seq));
        self.order.push_back(Place { at: now, identity, author });
        let count = self.authors.entry(author).or_default();
        *count += 1;
        if *count == DEDUP_SHARE_MAX + 1 {
            self.heavy.push(author);
        }
    }

    /// Forgets what is older than the window, and gives the memory back once nothing is left.
    pub fn expire(&mut self, now: Millis) {
        while self.order.front().is_some_and(|first| now.since(first.at) > DEDUP_WINDOW_MS) {
            self.forget(0);
        }
        if self.order.is_empty() && self.order.capacity() > 0 {
            *self = Self::default();
        }
    }

    /// Forgets those of an author's that were sequenced before a position. Returns how many.
    pub fn forget_author(&mut self, author: u64, before: Seq) -> usize {
        let Some(known) = self.authors.get(&author).copied() else { return 0 };
        let Self { order, done, .. } = self;
        let all = order.len();
        order.retain(|place| {
            let stays = place.author != author || done.get(&place.identity).is_some_and(|(_, seq)| *seq >= before);
            if !stays {
                done.remove(&place.identity);
            }
            stays
        });
        let count = all - order.len();
        let left = known.saturating_sub(u16::try_from(count).unwrap_or(u16::MAX));
        if left <= DEDUP_SHARE_MAX {
            self.heavy.retain(|heavy| *heavy != author);
        }
        if left == 0 {
            self.authors.remove(&author);
        } else {
            self.authors.insert(author, left);
        }
        count
    }

    /// Operations known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Memory that they account for: their places in both tables.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.order.len() * ENTRY_BYTES
    }

    /// Whether none is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Forgets the oldest of whoever has most, if anybody has more than a share; else of the author who would be the
    /// first, else of all.
    fn make_place(&mut self, author: u64) {
        let count = |author: &u64| self.authors.get(author).copied().unwrap_or(0);
        let heaviest = self.heavy.iter().max_by_key(|heavy| count(heavy)).copied();
        let whose = heaviest.or_else(|| (count(&author) >= DEDUP_SHARE_MAX).then_some(author));
        let oldest = whose.and_then(|whose| self.order.iter().position(|place| place.author == whose));
        self.forget(oldest.unwrap_or(0));
    }

    fn forget(&mut self, index: usize) {
        let Some(Place { identity, author, .. }) = self.order.remove(index) else { return };
        self.done.remove(&identity);
        if let Entry::Occupied(mut count) = self.authors.entry(author) {
            *count.get_mut() -= 1;
            if *count.get() == DEDUP_SHARE_MAX {
                self.heavy.retain(|heavy| *heavy != author);
            }
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// What one operation takes, with the room that growing tables leave.
const ENTRY_BYTES: usize = 2 * (size_of::<(u128, (u64, Seq))>() + size_of::<Place>() + size_of::<(u64, u16)>());

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::BuildHasher;

    use super::*;

    fn operation(user: &str, id: &str, payload: &str) -> Operation {
        Operation::new(&[3; 16], user, id, "note", &[payload.as_bytes()])
    }

    #[test]
    fn an_operation_is_done_once_and_its_id_stands_for_its_content() {
        let mut dedup = Dedup::default();
        let (now, first) = (Millis(1000), operation("ann", "1", "{}"));
        assert_eq!(dedup.find(now, first), Known::New);
        dedup.insert(now, first, Seq(5));
        assert_eq!(dedup.find(now, first), Known::Done(Seq(5)));
        assert_eq!(dedup.find(now, operation("ann", "1", "{\"a\":1}")), Known::Reused);
        assert_eq!(dedup.find(now, operation("bob", "1", "{}")), Known::New);
        assert_eq!(dedup.find(now, operation("an", "n1", "{}")), Known::New, "user and id are told apart");
    }

    #[test]
    fn all_of_an_author_is_forgotten_and_nothing_of_others() {
        let mut dedup = Dedup::default();
        publish(&mut dedup, "eve", 0..2 * usize::from(DEDUP_SHARE_MAX));
        publish(&mut dedup, "ann", 0..3);
        let author = author_of(&[3; 16], "eve");
        assert_eq!(dedup.forget_author(author, Seq(u64::MAX)), 2 * usize::from(DEDUP_SHARE_MAX));
        assert_eq!((known(&mut dedup, "eve", 9), known(&mut dedup, "ann", 3), dedup.len()), (0, 3, 3));
        assert!(dedup.heavy.is_empty() && dedup.done.len() == 3 && dedup.authors.len() == 1);
        assert_eq!(dedup.forget_author(author, Seq(u64::MAX)), 0);
    }

    #[test]
    fn what_an_author_did_from_a_position_on_stays_known() {
        let share = usize::from(DEDUP_SHARE_MAX);
        for stay in [1, share, share + 1] {
            let mut dedup = Dedup::default();
            for id in 0..share + 2 {
                dedup.insert(Millis(1), operation("eve", &id.to_string(), "{}"), Seq(id as u64));
            }
            let author = author_of(&[3; 16], "eve");
            assert_eq!(dedup.forget_author(author, Seq((share + 2 - stay) as u64)), share + 2 - stay);
            assert_eq!((known(&mut dedup, "eve", share + 2), dedup.len(), dedup.done.len()), (stay, stay, stay));
            assert_eq!(dedup.authors.get(&author).copied().map(usize::from), Some(stay));
            assert_eq!(dedup.heavy.contains(&author), stay > share);
        }
    }

    #[test]
    fn the_tables_spread_what_is_hashed_already() {
        let places = |hash: fn(&Operation) -> u64, bits: u32| {
            let operations = (0..4096).map(|index| operation(&format!("u{index}"), &index.to_string(), "{}"));
            operations.map(|it| hash(&it) >> (64 - bits)).collect::<HashSet<_>>().len()
        };
        let hash = BuildHasherDefault::<Part>::default();
        assert_eq!(hash.hash_one(7_u64 << 40), 7 << 40);
        assert_eq!(hash.hash_one((3_u128 << 64) | 5), 3 ^ 5);
        // Of 65,536 places 4,096 take some 3,970 by chance, at either end of the hash.
        let identity: fn(&Operation) -> u64 = |it| BuildHasherDefault::<Part>::default().hash_one(it.identity);
        let author: fn(&Operation) -> u64 = |it| BuildHasherDefault::<Part>::default().hash_one(it.author);
        for hash in [identity, author] {
            assert_eq!(places(hash, 7), 128);
            assert!(places(hash, 16) > 3_900);
            let low = (0..4096).map(|index| hash(&operation(&format!("u{index}"), "1", "{}")) & 0xffff);
            assert!(low.collect::<HashSet<_>>().len() > 3_900);
        }
    }

    #[test]
    fn the_window_closes_on_time() {
        let mut dedup = Dedup::default();
        let first = operation("ann", "1", "{}");
        dedup.insert(Millis(1000), first, Seq(5));
        dedup.insert(Millis(2000), operation("ann", "2", "{}"), Seq(6));
        let edge = Millis(1000 + DEDUP_WINDOW_MS);
        assert_eq!(dedup.find(edge, first), Known::Done(Seq(5)));
        assert_eq!(dedup.find(edge.after(1), first), Known::New);
        assert_eq!(dedup.find(edge.after(1), operation("ann", "2", "{}")), Known::Done(Seq(6)));
        assert_eq!(dedup.len(), 1);
        dedup.expire(edge.after(1001));
        assert!(dedup.is_empty() && dedup.done.is_empty());
    }

    #[test]
    fn at_the_bound_the_oldest_is_forgotten() {
        for (inserted, oldest_known) in [(DEDUP_ENTRIES_MAX, true), (DEDUP_ENTRIES_MAX + 1, false)] {
            let mut dedup = Dedup::default();
            for index in 0..inserted {
                dedup.insert(Millis(1), operation("ann", &index.to_string(), "{}"), Seq(index as u64 + 1));
            }
            assert_eq!(dedup.len(), DEDUP_ENTRIES_MAX);
            let known = dedup.find(Millis(1), operation("ann", "0", "{}"));
            assert_eq!(known, if oldest_known { Known::Done(Seq(1)) } else { Known::New });
        }
    }

    /// How many of an author's operations `0..count` are known.
    fn known(dedup: &mut Dedup, user: &str, count: usize) -> usize {
        (0..count).filter(|id| dedup.find(Millis(1), operation(user, &id.to_string(), "{}")) != Known::New).count()
    }

    fn publish(dedup: &mut Dedup, user: &str, ids: std::ops::Range<usize>) {
        for id in ids {
            dedup.insert(Millis(1), operation(user, &id.to_string(), "{}"), Seq(1));
        }
    }

    #[test]
    fn who_publishes_many_pushes_out_its_own_and_those_of_nobody_with_less_than_a_share() {
        let share = usize::from(DEDUP_SHARE_MAX);
        for (quiet, kept) in [(1, 1), (share - 1, share - 1), (share, share)] {
            let mut dedup = Dedup::default();
            publish(&mut dedup, "ann", 0..quiet);
            publish(&mut dedup, "eve", 0..10 * DEDUP_ENTRIES_MAX);
            assert_eq!(known(&mut dedup, "ann", quiet), kept, "{quiet}");
            assert_eq!(dedup.len(), DEDUP_ENTRIES_MAX);
            let last = operation("eve", &(10 * DEDUP_ENTRIES_MAX - 1).to_string(), "{}");
            assert_eq!(dedup.find(Millis(1), last), Known::Done(Seq(1)));
        }
    }

    #[test]
    fn who_has_less_than_a_share_takes_the_place_of_who_has_most() {
        let share = usize::from(DEDUP_SHARE_MAX);
        let mut dedup = Dedup::default();
        publish(&mut dedup, "bob", 0..share);
        publish(&mut dedup, "eve", 0..DEDUP_ENTRIES_MAX - share);
        publish(&mut dedup, "ann", 0..share);
        assert_eq!((known(&mut dedup, "ann", share), known(&mut dedup, "bob", share)), (share, share));
        assert_eq!(known(&mut dedup, "eve", DEDUP_ENTRIES_MAX), DEDUP_ENTRIES_MAX - 2 * share);
    }

    #[test]
    fn many_who_fill_it_together_push_out_nothing_of_a_quiet_one() {
        let share = usize::from(DEDUP_SHARE_MAX);
        // As many as could each have more than a share beside the quiet one's.
        let most = (DEDUP_ENTRIES_MAX - share) / (share + 1);
        for many in [1, 8, most] {
            let mut dedup = Dedup::default();
            for round in 0..3 * DEDUP_ENTRIES_MAX / many {
                for one in 0..many {
                    publish(&mut dedup, &one.to_string(), round..round + 1);
                }
                if (DEDUP_ENTRIES_MAX / many..).take(share).any(|at| at == round) {
                    let id = round - DEDUP_ENTRIES_MAX / many;
                    publish(&mut dedup, "ann", id..id + 1);
                }
            }
            assert_eq!((known(&mut dedup, "ann", share), dedup.len()), (share, DEDUP_ENTRIES_MAX), "{many}");
        }
    }

    #[test]
    fn among_many_with_little_the_oldest_goes() {
        let mut dedup = Dedup::default();
        for user in 0..=DEDUP_ENTRIES_MAX {
            publish(&mut dedup, &user.to_string(), 0..1);
        }
        assert_eq!((known(&mut dedup, "0", 1), known(&mut dedup, "1", 1)), (0, 1));
        assert_eq!(dedup.authors.len(), DEDUP_ENTRIES_MAX);
    }

    #[test]
    fn the_counts_of_authors_are_those_of_their_operations_at_every_step() {
        let mut dedup = Dedup::default();
        for step in 0..3000_usize {
            let user = if step % 7 < 4 { "eve" } else { ["ann", "bob", "cat"][step % 3] };
            let now = Millis(1 + step as u64 * 200);
            dedup.expire(now);
            dedup.insert(now, operation(user, &step.to_string(), "{}"), Seq(1));
            let count = |author: u64| dedup.order.iter().filter(|place| place.author == author).count();
            assert!(dedup.authors.iter().all(|(author, known)| count(*author) == usize::from(*known)), "{step}");
            let mut heavy: Vec<u64> =
                dedup.authors.iter().filter(|(_, n)| **n > DEDUP_SHARE_MAX).map(|(a, _)| *a).collect();
            let mut noted = dedup.heavy.clone();
            heavy.sort_unstable();
            noted.sort_unstable();
            assert_eq!(heavy, noted, "{step}");
            assert_eq!(dedup.done.len(), dedup.order.len());
        }
        dedup.expire(Millis(10_000_000));
        assert!(dedup.authors.is_empty() && dedup.heavy.is_empty() && dedup.is_empty());
    }
}
