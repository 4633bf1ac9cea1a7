//! The log between the shim, which appends to it, and what reads it: one record after another, each a head of six
//! numbers and what belongs to it. The number of a record is its place in the log, from 0.
//!
//! A change has two records: `Begin` before the kernel is asked, and what was done after it answered. A process that is
//! killed in between has not been told of the change, so it counts as lost, and whoever compares the log with the
//! directory leaves out what was begun. The shim lets one change happen at a time, so only the last can be unfinished.

/// Bytes of a head.
pub const HEAD_BYTES: usize = 48;
const MARK: u64 = 0x7077_7263_7574_0000;

/// What a record says. Paths are relative to the directory that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Something is about to change: this inode, or the paths, one or two with a zero byte between them.
    Begin,
    /// What was begun has changed nothing.
    Nothing,
    /// The bytes were written at offset `a`; `b` is 1 if they were durable when the call returned.
    Write,
    /// The size has become `a`.
    Resize,
    /// `b` bytes from `a` have become zero, without a change of size.
    Zero,
    /// The size is at least `a`.
    Reach,
    /// A file with the mode `a` has appeared at the path.
    Create,
    /// A directory with the mode `a` has appeared at the path.
    MakeDirectory,
    /// The inode has this path too.
    Link,
    /// The path is gone.
    Unlink,
    /// The inode has moved from the first path to the second.
    Rename,
    /// What records before `a` say of this inode is durable: of a file its bytes, of a directory its entries.
    Sync,
    /// What records before `a` say of anything is durable.
    SyncAll,
    /// A sync failed: what records before `a` say was written to this inode, or to any if it is 0, may be on the disk or
    /// not, and no later sync changes that.
    Spoil,
    /// The program did what the shim cannot follow: the text says what. Nothing after it can be trusted.
    Unsupported,
}

impl Kind {
    const ALL: [Self; 15] = [
        Self::Begin,
        Self::Nothing,
        Self::Write,
        Self::Resize,
        Self::Zero,
        Self::Reach,
        Self::Create,
        Self::MakeDirectory,
        Self::Link,
        Self::Unlink,
        Self::Rename,
        Self::Sync,
        Self::SyncAll,
        Self::Spoil,
        Self::Unsupported,
    ];
}

/// The head of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// What the record says.
    pub kind: Kind,
    /// The inode it is about; 0 where there is none.
    pub inode: u64,
    /// See the kind.
    pub a: u64,
    /// See the kind.
    pub b: u64,
    /// Bytes that follow the head.
    pub len: u64,
}

impl Head {
    /// As it stands in the log.
    #[must_use]
    pub fn encode(self) -> [u8; HEAD_BYTES] {
        let kind = Kind::ALL.iter().zip(0..).find_map(|(kind, number)| (*kind == self.kind).then_some(number));
        let numbers = [MARK | kind.unwrap_or(0), self.inode, self.a, self.b, self.len, !self.len];
        let mut bytes = [0; HEAD_BYTES];
        for (place, number) in bytes.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    /// What stands in the log, or nothing if that is no head.
    #[must_use]
    pub fn decode(bytes: &[u8; HEAD_BYTES]) -> Option<Self> {
        let mut numbers = [0; 6];
        for (number, place) in numbers.iter_mut().zip(bytes.chunks_exact(8)) {
            *number = u64::from_le_bytes(place.try_into().ok()?);
        }
        let [kind, inode, a, b, len, check] = numbers;
        let kind = *Kind::ALL.get(usize::try_from(kind ^ MARK).ok()?)?;
        (len == !check).then_some(Self { kind, inode, a, b, len })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_record_is_read_as_it_was_written() {
        for kind in Kind::ALL {
            let head = Head { kind, inode: 1, a: u64::MAX, b: 3, len: 4 };
            assert_eq!(Head::decode(&head.encode()), Some(head));
        }
    }

    #[test]
    fn what_is_no_head_is_not_read_as_one() {
        let good = Head { kind: Kind::Write, inode: 1, a: 2, b: 3, len: 4 }.encode();
        for at in [0, 3, 7, 33, 45] {
            let mut bad = good;
            bad[at] ^= 0x40;
            assert_eq!(Head::decode(&bad), None, "byte {at}");
        }
    }
}
