//! The envelope of every record: a checksum over where it stands and what it says, the version, the kind.
//!
//! The first ten bytes are laid out so in every version, so that a record of a later release is told from a broken one.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::disk::Space;

/// The version that this release writes, and the only one it reads.
pub const VERSION: u8 = 1;
/// Bytes of the envelope.
pub const ENVELOPE_BYTES: usize = 10;

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// An event with its payload.
    Event = 1,
    /// The operation of an event that was trimmed.
    Stub = 2,
    /// A channel's number.
    Number = 3,
    /// A channel's epochs and bounds.
    Line = 4,
    /// How far a user has acknowledged.
    Cursor = 5,
    /// How far a group has acknowledged.
    Position = 6,
    /// The store's own state.
    State = 7,
    /// The number of a commit.
    Commit = 8,
}

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// They end before the envelope does.
    Short,
    /// They are not those that were written here.
    Checksum,
    /// They were written by another release.
    Version(u8),
    /// They are whole, and of another kind than what belongs here.
    Kind(u8),
    /// They are whole, and say what cannot be.
    Content,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Short => f.write_str("cut off"),
            Self::Checksum => f.write_str("wrong checksum"),
            Self::Version(version) => write!(f, "of version {version}, which this release does not read"),
            Self::Kind(kind) => write!(f, "of kind {kind}, which does not belong there"),
            Self::Content => f.write_str("contents that cannot be"),
        }
    }
}

/// Writes a record into an empty buffer: `write` its body behind the envelope.
pub fn seal(space: Space, key: &[u8], kind: Kind, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    out.clear();
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&[VERSION, kind as u8]);
    write(out);
    let sum = checksum(space, key, &out[8..]);
    out[..8].copy_from_slice(&sum.to_le_bytes());
}

/// The kind and the body of a record.
///
/// # Errors
/// The bytes are no record of this release, or not the one that was written under this key.
pub fn unseal<'a>(space: Space, key: &[u8], bytes: &'a [u8]) -> Result<(u8, &'a [u8]), Broken> {
    let (sum, rest) = bytes.split_first_chunk::<8>().ok_or(Broken::Short)?;
    let [version, kind, body @ ..] = rest else { return Err(Broken::Short) };
    if u64::from_le_bytes(*sum) != checksum(space, key, rest) {
        return Err(Broken::Checksum);
    }
    if *version != VERSION {
        return Err(Broken::Version(*version));
    }
    Ok((*kind, body))
}

/// The body of a record that must be of one kind.
///
/// # Errors
/// As [`unseal`], or it is of another kind.
pub fn unseal_as<'a>(space: Space, key: &[u8], kind: Kind, bytes: &'a [u8]) -> Result<&'a [u8], Broken> {
    match unseal(space, key, bytes)? {
        (found, body) if found == kind as u8 => Ok(body),
        (found, _) => Err(Broken::Kind(found)),
    }
}

/// Over the place too: a record that stands where another belongs is found.
fn checksum(space: Space, key: &[u8], rest: &[u8]) -> u64 {
    xxh3_64_with_seed(rest, xxh3_64(key) ^ (space as u64))
}
