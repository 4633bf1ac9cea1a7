//! Journals as a crash or a disk may leave them: whatever stands in them, they are mended or refused without a panic. What
//! is refused stays as it is; what is mended has lost nothing but its end, and is good when it is looked at again.
//!
//! Input: what is written one after another into up to four journals: whole batches of ours, the same with something wrong,
//! any bytes, zeros.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use waystation::ledger::COMMIT_KEY;
use waystation::ledger::disk::Space;
use waystation::ledger::record::{Kind, seal};
use waystation::store::journal::mend;
use xxhash_rust::xxh3::xxh3_64;

const ID: u128 = 42;
const JOURNALS_MAX: usize = 4;
const PARTS_MAX: usize = 64;

/// A directory of this check's own, gone with it.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        // In memory, where there is such a place: a fuzzer makes thousands a second.
        let memory = Path::new("/dev/shm");
        let above = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let path = above.join(format!("waystation-journal-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed)));
        fs::create_dir(&path).expect("a directory");
        Self(path)
    }

    fn journals(&self, count: usize) -> Vec<Vec<u8>> {
        (0..count).map(|number| fs::read(self.0.join(format!("{number}.jnl"))).expect("a journal")).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.0);
    }
}

/// Whatever is there, nothing panics, and nothing is lost but an end.
pub(crate) fn check(bytes: &[u8]) {
    let before = journals(bytes);
    for through in [None, Some(2)] {
        let place = Place::new();
        for (number, journal) in before.iter().enumerate() {
            fs::write(place.0.join(format!("{number}.jnl")), journal).expect("written");
        }
        let Ok(mended) = mend(&place.0, ID, through) else {
            assert_eq!(place.journals(before.len()), before, "what is refused stays as it is");
            continue;
        };
        let after = place.journals(before.len());
        for (was, is) in before.iter().zip(&after) {
            assert!(was.starts_with(is), "only an end is cut off");
        }
        let whole: u64 = before.iter().zip(&after).map(|(was, is)| (was.len() - is.len()) as u64).sum();
        assert!(mended.cut_bytes <= whole, "as much as is said, and zeros");
        assert!(through.is_none_or(|through| mended.last.is_none_or(|last| last <= through)));
        let again = mend(&place.0, ID, through).expect("what is mended is good");
        assert_eq!((again.last, again.cut_bytes), (mended.last, 0));
    }
}

/// What the input asks for.
fn journals(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let (mut written, mut commit) = (vec![Vec::new()], 0);
    for _ in 0..PARTS_MAX {
        let Some(([what, at, len], rest)) = bytes.split_first_chunk() else { break };
        let (given, rest) = rest.split_at(usize::from(*len).min(rest.len()));
        bytes = rest;
        let last = written.len() - 1;
        let journal = &mut written[last];
        let from = journal.len();
        match what % 8 {
            // A whole one, twice as often as the others.
            0 | 1 => {
                commit += 1;
                batch(commit, (commit, ID), given, journal);
            }
            2 => batch(u64::from(*at), (u64::from(*at), ID + u128::from(*len)), given, journal),
            3 => {
                commit += 1;
                batch(commit, (commit, ID), given, journal);
                let flipped = from + usize::from(*at) % (journal.len() - from);
                journal[flipped] ^= len | 1;
            }
            4 => {
                commit += 1;
                batch(commit, (commit, ID), given, journal);
                journal.truncate(from + usize::from(*at) % (journal.len() - from));
            }
            5 => journal.extend_from_slice(given),
            6 => journal.resize(from + usize::from(*at) * 8, 0),
            _ if written.len() < JOURNALS_MAX => written.push(Vec::new()),
            _ => {}
        }
    }
    written
}

/// A batch as the library of the log writes it in its format 3, with the number of its commit and one more item.
fn batch(seqno: u64, (commit, id): (u64, u128), value: &[u8], out: &mut Vec<u8>) {
    let mut number = Vec::new();
    seal(Space::Rows, COMMIT_KEY, Kind::Commit, &mut number, |out| {
        out.extend_from_slice(&id.to_le_bytes());
        out.extend_from_slice(&commit.to_le_bytes());
    });
    out.push(1);
    out.extend_from_slice(&2_u32.to_le_bytes());
    out.extend_from_slice(&seqno.to_le_bytes());
    let inside = out.len();
    for (key, value) in [(COMMIT_KEY, number.as_slice()), (&b"key"[..], value)] {
        out.extend_from_slice(&[2, 0, 0]);
        out.extend_from_slice(&1_u64.to_le_bytes());
        out.extend_from_slice(&(key.len() as u16).to_le_bytes());
        out.extend_from_slice(&(value.len() as u32).to_le_bytes());
        out.extend_from_slice(&(value.len() as u32).to_le_bytes());
        out.extend_from_slice(key);
        out.extend_from_slice(value);
    }
    let sum = xxh3_64(&out[inside..]);
    out.push(3);
    out.extend_from_slice(&sum.to_le_bytes());
    out.extend_from_slice(b"FJL\x03");
}
