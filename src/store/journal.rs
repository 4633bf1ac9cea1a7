//! The log's journals, looked at before the library opens them.
//!
//! The library ends its replay at the first bytes of a journal that it does not understand, and cuts off the rest. That is
//! right for the last batch of an unclean stop and wrong for anything else: a flipped bit in the middle would silently
//! take away all that was acknowledged after it. And a torn batch whose pages reached the disk out of order has a wrong
//! checksum, at which it refuses to open at all. So this goes through the journals first. Every batch of ours carries the
//! number of its commit, each one more than the one before; what follows from that:
//!
//! - bytes that are no batch, with no whole batch of ours behind them, were never acknowledged: they are cut off;
//! - in the last journal, or in one with nothing of ours in those behind it;
//! - unless all of their sectors were written, up to the end of a batch: then they were whole once, and have changed since;
//! - bytes that are no batch, with a whole one behind them, or numbers that do not follow, are damage: nothing is touched.
//!   The library's own numbers count too: they are not under its checksum, and decide which of two values is the later;
//! - after a failed commit everything behind the last one that was acknowledged is cut off.
//!
//! The layout is that of the library's format 3, which the version in `Cargo.toml` pins.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::path::{Path, PathBuf};

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;
use xxhash_rust::xxh3::xxh3_64;

use super::directory::sync_directory;
use super::fault::LogFault;
use crate::ledger::commit_of;
use crate::limits::STORE_JOURNAL_BYTES_MAX;

/// What was found, and done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mended {
    /// The last commit in the journals; older ones may be in tables only.
    pub last: Option<u64>,
    /// Bytes that were cut off.
    pub cut_bytes: u64,
}

/// Goes through the journals of the log `id` and cuts off what was never acknowledged; with `through` everything behind
/// that commit.
///
/// # Errors
/// Something is damaged, and nothing was touched; or a file cannot be read or written.
pub fn mend(log: &Path, id: u128, through: Option<u64>) -> Result<Mended, LogFault> {
    let mut mended = Mended::default();
    let (mut cut, mut before) = (Vec::new(), None);
    let mut torn = None;
    let journals = journals(log)?;
    for path in &journals {
        let name = || path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let size = fs::metadata(path)?.len();
        if size > STORE_JOURNAL_BYTES_MAX {
            return Err(LogFault::damaged(format!("journal {} has {size} bytes", name())));
        }
        let bytes = read_written(path)?;
        let scan = scan(&bytes, id, before, through)
            .map_err(|what| LogFault::damaged(format!("journal {}: {what}", name())))?;
        // The library may begin another journal behind a batch that it could not write, and nothing is committed there.
        if let Some(what) = torn.take_if(|_| scan.last != before) {
            return Err(LogFault::damaged(what));
        }
        if scan.rest == Rest::Torn {
            let what = format!("journal {}: it ends at byte {} in the middle of a batch", name(), scan.end);
            torn.get_or_insert(what);
        }
        (mended.last, before) = (scan.last.map(|last| last.commit), scan.last);
        if scan.rest != Rest::Zeros {
            mended.cut_bytes += written(&bytes) - scan.end;
            cut.push((path, scan.end));
        }
    }
    for (path, end) in &cut {
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(*end)?;
        file.sync_all()?;
    }
    if !cut.is_empty() {
        sync_directory(log)?;
    }
    Ok(mended)
}

/// The journals, the oldest first.
fn journals(log: &Path) -> Result<Vec<PathBuf>, LogFault> {
    let mut found = Vec::new();
    let entries = match fs::read_dir(log) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "jnl") {
            let number = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
            let number = number.ok_or_else(|| LogFault::damaged(format!("no journal's name: {}", path.display())))?;
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// A journal up to where something was written: it is made with 64 MB to spare, which are a hole in the file.
fn read_written(path: &Path) -> Result<Vec<u8>, LogFault> {
    let mut file = File::open(path)?;
    let end = end_of_data(|from| seek(&file, from))?;
    seek(&file, SeekFrom::Start(0)).map_err(std::io::Error::from)?;
    let mut bytes = Vec::new();
    Read::by_ref(&mut file).take(end).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Where the last data of a file ends, by its `seek`. An error other than that there is no more of it is no end: what lies
/// behind would be taken for never written, and cut off.
pub(super) fn end_of_data(mut seek: impl FnMut(SeekFrom) -> Result<u64, Errno>) -> std::io::Result<u64> {
    let mut end = 0;
    loop {
        let data = match seek(SeekFrom::Data(end)) {
            Ok(data) => data,
            Err(Errno::NXIO) => return Ok(end),
            Err(error) => return Err(error.into()),
        };
        // Where the file system knows no holes, the first one is the end.
        let hole = seek(SeekFrom::Hole(data))?;
        if hole <= end {
            return Ok(end);
        }
        end = hole;
    }
}

/// What comes behind the last batch that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// Nothing, or what is kept free.
    Zeros,
    /// A batch that was not finished.
    Torn,
    /// Batches behind the last one that is to stay.
    Dropped,
}

/// What a batch says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    /// The number of the commit.
    commit: u64,
    /// The library's number.
    seqno: u64,
}

#[derive(Debug)]
struct Scan {
    last: Option<Mark>,
    end: u64,
    rest: Rest,
}

/// Goes through the batches of one journal. `before` is the last one of the journal before.
fn scan(bytes: &[u8], id: u128, before: Option<Mark>, through: Option<u64>) -> Result<Scan, String> {
    let (mut at, mut last) = (0, before);
    while let Some((length, mark)) = batch(&bytes[at..], id) {
        if let Some(mark) = mark {
            if through.is_some_and(|through| mark.commit > through) {
                return Ok(Scan { last, end: at as u64, rest: Rest::Dropped });
            }
            if let Some(Mark { commit, .. }) = last.filter(|last| mark.commit != last.commit + 1) {
                return Err(format!("at byte {at} commit {} follows commit {commit}", mark.commit));
            }
            if let Some(Mark { seqno, .. }) = last.filter(|last| mark.seqno <= last.seqno) {
                return Err(format!("at byte {at} the library's number {} follows {seqno}", mark.seqno));
            }
            last = Some(mark);
        }
        at += length;
    }
    let rest = &bytes[at..];
    if written(rest) == 0 {
        return Ok(Scan { last, end: at as u64, rest: Rest::Zeros });
    }
    // A batch begins with this byte; what is not one is seen at once.
    let begins = memchr::memchr_iter(START, rest);
    let behind = begins.skip_while(|from| *from == 0).find_map(|from| Some((from, batch(&rest[from..], id)?.1?)));
    match behind {
        // Only what nobody was told of, if that was to go anyway.
        Some((_, mark)) if through.is_some_and(|through| mark.commit > through) => {}
        Some((from, mark)) => {
            let (whole, commit) = (at + from, mark.commit);
            return Err(format!("bytes {at} to {whole} are no batch, and commit {commit} comes behind them"));
        }
        // After a failed commit whoever opens the log sees what is missing.
        None if through.is_none() && were_written_whole(bytes, at) => {
            return Err(format!("bytes {at} and following were a batch, and have changed since"));
        }
        None => {}
    }
    Ok(Scan { last, end: at as u64, rest: Rest::Torn })
}

/// Whether bytes from one on were all written, and end as a batch does. A journal is only appended to, in a file that is
/// zero there: of a batch that a power cut tore, each sector is as it was after some of the writes, so it is whole if its
/// last byte is not zero. One that is zero may belong to either.
fn were_written_whole(bytes: &[u8], from: usize) -> bool {
    let end = from + bytes[from..].iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let ends = bytes[from..end].last_chunk::<END_BYTES>().is_some_and(|last| last[0] == END && last.ends_with(TRAILER));
    let mut sectors = (from / SECTOR + 1..).map(|sector| sector * SECTOR).take_while(|sector| *sector < end);
    ends && sectors.all(|sector| bytes[sector - 1] != 0)
}

/// Bytes up to the last that is not zero.
fn written(bytes: &[u8]) -> u64 {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1)
}

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
const TRAILER: &[u8; 4] = b"FJL\x03";
/// The end's byte, the checksum, the trailer.
const END_BYTES: usize = 1 + 8 + TRAILER.len();
/// What a disk writes whole or not at all; larger ones consist of these.
const SECTOR: usize = 512;

/// How long the batch at the beginning of some bytes is; `None` if there is no whole one.
#[cfg(test)]
pub(super) fn batch_bytes(bytes: &[u8], id: u128) -> Option<usize> {
    batch(bytes, id).map(|(length, _)| length)
}

/// The batch at the beginning of some bytes: how long it is, and what it says of itself if it is ours; `None` if there is
/// no whole one.
fn batch(bytes: &[u8], id: u128) -> Option<(usize, Option<Mark>)> {
    let mut rest = Cursor(bytes);
    if rest.byte()? != START {
        return None;
    }
    let items = u32::from_le_bytes(rest.take()?);
    let seqno = u64::from_le_bytes(rest.take()?);
    let (inside, mut commit) = (rest.0, None);
    for _ in 0..items {
        match rest.byte()? {
            ITEM => {
                let [_kind, compression] = rest.take()?;
                let _keyspace: [u8; 8] = rest.take()?;
                let key = usize::from(u16::from_le_bytes(rest.take()?));
                let (value, stored) = (u32::from_le_bytes(rest.take()?), u32::from_le_bytes(rest.take()?));
                if compression != 0 || value != stored {
                    return None;
                }
                let (key, value) = (rest.slice(key)?, rest.slice(usize::try_from(stored).ok()?)?);
                commit = commit.or_else(|| commit_of(id, key, value));
            }
            CLEAR => drop::<[u8; 8]>(rest.take()?),
            _ => return None,
        }
    }
    let sum = xxh3_64(&inside[..inside.len() - rest.0.len()]);
    let ends = rest.byte()? == END && u64::from_le_bytes(rest.take()?) == sum && rest.take::<4>()? == *TRAILER;
    ends.then_some((bytes.len() - rest.0.len(), commit.map(|commit| Mark { commit, seqno })))
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn slice(&mut self, length: usize) -> Option<&'a [u8]> {
        let (slice, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(slice)
    }
}
