//! The manifests of the log's trees, looked at before the library opens them.
//!
//! A tree's directory has a file for each of its last versions, which says what tables there are, and `current`, which says
//! which of them counts and what its checksum is. The library does not hold the one against the other: a flipped bit in
//! `current` would open the version before, without the tables that came since. A directory without `current` was being made
//! when the power was cut; the library makes it anew.
//!
//! The layout is that of the library's format 3, which the version in `Cargo.toml` pins.

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use xxhash_rust::xxh3::Xxh3;

use super::fault::LogFault;

/// Bytes of `current`: the version's number, its checksum, and of which kind that is.
const CURRENT_BYTES: usize = 8 + 16 + 1;
/// The one kind that there is.
const XXH3: u8 = 0;
/// Bytes that are read at once.
const CHUNK_BYTES: usize = 4096;

/// Holds each tree's manifest against its checksum.
///
/// # Errors
/// One is not what was written, or cannot be read.
pub(super) fn check(log: &Path) -> Result<(), LogFault> {
    let trees = match fs::read_dir(log.join("keyspaces")) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        trees => trees?,
    };
    for tree in trees {
        let tree = tree?.path();
        match fs::read(tree.join("current")) {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(error) => return Err(error.into()),
            Ok(current) => check_tree(&tree, &current)?,
        }
    }
    Ok(())
}

fn check_tree(tree: &Path, current: &[u8]) -> Result<(), LogFault> {
    let name = tree.file_name().unwrap_or_default().to_string_lossy();
    let damaged = |what: &str| LogFault::damaged(format!("tree {name}: {what}"));
    let Some((version, checksum)) = read(current) else { return Err(damaged("its file current is not as written")) };
    let sum = match checksum_of(&tree.join(format!("v{version}"))) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(damaged(&format!("its version {version} is not there")));
        }
        sum => sum?,
    };
    if sum == checksum { Ok(()) } else { Err(damaged(&format!("its version {version} has another checksum"))) }
}

/// The version that counts, and its checksum.
fn read(current: &[u8]) -> Option<(u64, u128)> {
    let current: &[u8; CURRENT_BYTES] = current.try_into().ok()?;
    let (version, rest) = current.split_first_chunk::<8>()?;
    let (checksum, kind) = rest.split_first_chunk::<16>()?;
    (kind == [XXH3]).then_some((u64::from_le_bytes(*version), u128::from_le_bytes(*checksum)))
}

fn checksum_of(path: &Path) -> std::io::Result<u128> {
    let (mut file, mut sum, mut chunk) = (File::open(path)?, Xxh3::new(), [0; CHUNK_BYTES]);
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(sum.digest128()),
            count => sum.update(&chunk[..count]),
        }
    }
}
