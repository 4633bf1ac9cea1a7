//! The journals: every cut and every flipped bit.

use std::fs::OpenOptions;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use super::*;
use crate::limits::STORE_JOURNAL_BYTES_MAX;
use crate::store::journal::{Mended, batch_bytes, end_of_data, mend};

/// A directory that was left running with four commits, of which the last three have an event of `chat:a` each; and its one
/// journal, without the space to spare.
fn left(name: &str) -> (Place, PathBuf, Vec<u8>, u128) {
    let (place, running) = (Place::new(name), Place::new(&format!("{name}-running")));
    let mut store = Played::on(&running.0, 1);
    let past = store.open(0, "chat:a");
    for seq in 1..=3 {
        let ticket = store.append(0, &past, seq);
        store.committed(0, ticket);
    }
    copy(&running.0, &place.0);
    store.stop().unwrap();
    let journal = place.0.join("log").join("0.jnl");
    let mut bytes = fs::read(&journal).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    bytes.truncate(end);
    fs::write(&journal, &bytes).unwrap();
    let id = Directory::take(&place.0).unwrap().id();
    (place, journal, bytes, id)
}

/// Where each batch of a journal begins, and where the last one ends.
fn batches(bytes: &[u8], id: u128) -> Vec<usize> {
    let mut ends = vec![0];
    while let Some(length) = batch_bytes(&bytes[ends[ends.len() - 1]..], id) {
        ends.push(ends[ends.len() - 1] + length);
    }
    assert_eq!((ends.len(), ends[ends.len() - 1]), (5, bytes.len()), "the start and three events");
    ends
}

fn events(place: &Path) -> Vec<u64> {
    let mut store = Played::on(place, 1);
    let past = store.open(0, "chat:a");
    let found = store.read(0, past.channel, 1000).unwrap();
    store.stop().unwrap();
    found
}

#[test]
fn a_batch_that_is_cut_at_any_byte_is_gone_as_a_whole_and_the_others_are_there() {
    let (place, journal, bytes, id) = left("cuts");
    let log = place.0.join("log");
    let ends = batches(&bytes, id);
    let again = Place::new("cuts-again");
    let (begin, end) = (ends[3], ends[4]);
    for length in begin..=end {
        let whole = length == end;
        for zeros in [0, 5000] {
            fs::write(&journal, [&bytes[..length], &vec![0; zeros]].concat()).unwrap();
            let mended = mend(&log, id, None).unwrap();
            let cut_bytes = if whole { 0 } else { mended.cut_bytes };
            assert_eq!(mended, Mended { last: Some(if whole { 4 } else { 3 }), cut_bytes }, "{length}");
            let kept = fs::read(&journal).unwrap();
            assert_eq!(kept[..kept.len().min(begin)], bytes[..begin]);
        }
        if length % 40 == 0 || whole {
            fs::write(&journal, &bytes[..length]).unwrap();
            copy(&place.0, &again.0);
            assert_eq!(events(&again.0), if whole { vec![1, 2, 3] } else { vec![1, 2] }, "{length}");
        }
    }
}

/// Zeros from some place to the end of its sector: as a disk leaves one that was written before the rest was there.
fn tear(bytes: &mut [u8], from: usize) {
    let end = bytes.len().min((from / 512 + 1) * 512);
    bytes[from..end].fill(0);
}

#[test]
fn sectors_of_the_last_batch_that_did_not_reach_the_disk_make_it_none() {
    let (place, journal, bytes, id) = left("sectors");
    let begin = batches(&bytes, id)[3];
    let ways: Vec<Vec<usize>> =
        (begin..bytes.len()).flat_map(|from| [vec![from], vec![from, begin], vec![from, bytes.len() - 1]]).collect();
    for places in ways {
        let mut torn = bytes.clone();
        places.iter().for_each(|from| tear(&mut torn, *from));
        if torn == bytes {
            continue;
        }
        fs::write(&journal, &torn).unwrap();
        let mended = mend(&place.0.join("log"), id, None).unwrap();
        assert_eq!(mended.last, Some(3), "{places:?}");
    }
    assert_eq!(events(&place.0), [1, 2]);
}

#[test]
fn a_flipped_bit_before_the_last_batch_is_told_and_nothing_is_touched() {
    let (place, journal, bytes, id) = left("flips");
    let ends = batches(&bytes, id);
    for at in 0..ends[3] {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        fs::write(&journal, &flipped).unwrap();
        // The library's number of the very first batch has none before it to be held against.
        let in_seqno = (5..13).contains(&at);
        match mend(&place.0.join("log"), id, None) {
            Err(fault) => assert!(fault.damaged, "{at}: {fault:?}"),
            Ok(_) => assert!(in_seqno, "byte {at} of {ends:?}"),
        }
        assert_eq!(fs::read(&journal).unwrap(), flipped);
    }
    let mut flipped = bytes.clone();
    flipped[ends[2] + 40] ^= 1;
    fs::write(&journal, &flipped).unwrap();
    let fault = Played::try_on(&place.0, 1).map(|_| ()).unwrap_err();
    assert!(matches!(&fault, StartFault::Damaged { what, .. } if what.contains("0.jnl")), "{fault}");
}

#[test]
fn a_flipped_bit_in_the_last_batch_is_told_unless_it_may_be_torn() {
    let (place, journal, bytes, id) = left("last");
    let log = place.0.join("log");
    let ends = batches(&bytes, id);
    // The last of several, and the only one.
    for (count, begin, end) in [(4, ends[3], ends[4]), (1, 0, ends[1])] {
        let (mut told, mut taken_for_torn) = (0, 0);
        for at in begin..end {
            let mut flipped = bytes[..end].to_vec();
            flipped[at] ^= 1 << (at % 8);
            fs::write(&journal, &flipped).unwrap();
            match mend(&log, id, None) {
                Err(fault) => {
                    assert!(fault.damaged, "{at}: {fault:?}");
                    assert_eq!(fs::read(&journal).unwrap(), flipped, "nothing is touched");
                    told += 1;
                }
                // The library's number is not under its checksum; what a batch ends with is what tells its end.
                Ok(mended) if mended.last == Some(count) => assert!((begin + 5..begin + 13).contains(&at), "{at}"),
                Ok(_) => {
                    assert!(at >= end - 13 || flipped[at] == 0, "{at} of {begin} to {end}");
                    taken_for_torn += 1;
                }
            }
        }
        assert!(told >= end - begin - 8 - 13 - 1 && taken_for_torn <= 5 + 1, "{told} {taken_for_torn}");
    }
}

#[test]
fn a_batch_that_is_missing_between_two_is_told() {
    let (place, journal, bytes, id) = left("missing");
    let ends = batches(&bytes, id);
    fs::write(&journal, [&bytes[..ends[2]], &bytes[ends[3]..]].concat()).unwrap();
    let fault = mend(&place.0.join("log"), id, None).unwrap_err();
    assert!(fault.damaged && fault.what.contains("commit 4 follows commit 2"), "{fault:?}");
    fs::write(&journal, [&bytes[..ends[2]], &vec![0; ends[3] - ends[2]], &bytes[ends[3]..]].concat()).unwrap();
    assert!(mend(&place.0.join("log"), id, None).unwrap_err().damaged);
}

#[test]
fn an_older_journal_may_end_in_the_middle_of_a_batch_if_nothing_is_committed_behind_it() {
    let (place, journal, bytes, id) = left("older");
    let (log, ends) = (place.0.join("log"), batches(&bytes, id));
    let newer = log.join("1.jnl");
    for through in [None, Some(3)] {
        // The write failed, the library began the next journal all the same, and maybe the batch went there again.
        for behind in [&[][..], &[0; 5000], &bytes[ends[3]..ends[4] - 1]] {
            fs::write(&journal, &bytes[..ends[3] + 5]).unwrap();
            fs::write(&newer, behind).unwrap();
            assert_eq!(mend(&log, id, through).unwrap().last, Some(3), "{through:?}");
            assert_eq!(fs::read(&journal).unwrap(), bytes[..ends[3]]);
        }
    }
    assert_eq!(events(&place.0), [1, 2]);
    fs::write(&journal, &bytes[..ends[2] + 5]).unwrap();
    fs::write(&newer, &bytes[ends[2]..]).unwrap();
    for through in [None, Some(4)] {
        let fault = mend(&log, id, through).unwrap_err();
        assert!(fault.damaged && fault.what.contains("0.jnl"), "{through:?} {fault:?}");
    }
    // What comes behind is to go anyway.
    assert_eq!(mend(&log, id, Some(2)).unwrap().last, Some(2));
}

#[test]
fn what_comes_behind_the_last_acknowledged_commit_is_cut_off_if_asked() {
    let (place, journal, bytes, id) = left("through");
    let ends = batches(&bytes, id);
    for (through, kept) in [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (9, 4)] {
        fs::write(&journal, &bytes).unwrap();
        let mended = mend(&place.0.join("log"), id, Some(through)).unwrap();
        let cut_bytes = (bytes.len() - ends[kept]) as u64;
        assert_eq!(mended, Mended { last: (kept > 0).then_some(kept as u64), cut_bytes }, "{through}");
        assert_eq!(fs::read(&journal).unwrap(), bytes[..ends[kept]]);
    }
    // A hole where a page of the failed commit was lost, and a whole batch behind it that nobody was told of.
    fs::write(&journal, [&bytes[..ends[2]], &vec![0; ends[3] - ends[2]], &bytes[ends[3]..]].concat()).unwrap();
    assert_eq!(mend(&place.0.join("log"), id, Some(2)).unwrap().last, Some(2));
    assert_eq!(fs::metadata(&journal).unwrap().len(), ends[2] as u64);
}

#[test]
fn batches_of_another_store_are_no_commits_of_ours() {
    let (place, journal, bytes, id) = left("other");
    let ends = batches(&bytes, id);
    // A torn batch in which somebody's payload looks like a whole batch of another store.
    fs::write(&journal, [&bytes[..ends[2]], &[1, 9], &bytes[ends[2]..], b"more"].concat()).unwrap();
    assert!(mend(&place.0.join("log"), id, None).is_err());
    assert_eq!(mend(&place.0.join("log"), id + 1, None).unwrap().last, None);
    assert_eq!(fs::metadata(&journal).unwrap().len(), ends[2] as u64, "what is torn is cut off");
}

#[test]
fn a_journal_of_any_size_is_not_read_and_no_journal_is_no_fault() {
    let (place, journal, bytes, id) = left("size");
    let file = OpenOptions::new().write(true).open(&journal).unwrap();
    // The holes take no space.
    file.set_len(STORE_JOURNAL_BYTES_MAX).unwrap();
    assert_eq!(mend(&place.0.join("log"), id, None).unwrap().last, Some(4));
    file.set_len(STORE_JOURNAL_BYTES_MAX + 1).unwrap();
    assert!(mend(&place.0.join("log"), id, None).unwrap_err().damaged);
    assert!(!bytes.is_empty());
    assert_eq!(mend(&place.0.join("nothing"), id, None), Ok(Mended::default()));
    fs::write(place.0.join("log").join("x.jnl"), b"").unwrap();
    assert!(mend(&place.0.join("log"), id, None).unwrap_err().damaged);
}

#[test]
fn only_where_no_data_is_left_does_a_journal_end() {
    // Data in 0..10 and 100..120, and maybe a part that the disk does not tell of.
    let file = |fails: Option<(u64, Errno)>| {
        move |from| match from {
            SeekFrom::Data(at) if fails.is_some_and(|(from, _)| at >= from) => Err(fails.unwrap().1),
            SeekFrom::Data(at) if at < 10 => Ok(at),
            SeekFrom::Data(at) if at < 120 => Ok(at.max(100)),
            SeekFrom::Hole(at) if at < 10 => Ok(10),
            SeekFrom::Hole(_) => Ok(120),
            _ => Err(Errno::NXIO),
        }
    };
    assert_eq!(end_of_data(file(None)).unwrap(), 120);
    for error in [Errno::IO, Errno::INVAL] {
        for from in [0, 10, 120] {
            let outcome = end_of_data(file(Some((from, error)))).unwrap_err();
            assert_eq!(outcome.raw_os_error(), Some(error.raw_os_error()), "{from}");
        }
    }
}
