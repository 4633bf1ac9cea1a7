//! A copy has everything, and goes on where the store that it was taken from cannot have come.

use super::*;
use crate::ledger::copy::{batch_of, pages};
use crate::limits::{COPY_GENERATIONS, COPY_PAGE_BYTES, UNCOMMITTED_EVENTS_MAX};

fn pages_of(disk: &Memory) -> (Vec<Vec<u8>>, u64) {
    let mut all = Vec::new();
    let count = pages(disk, &mut |page| {
        all.push(page.to_vec());
        Ok::<(), DiskFault>(())
    });
    (all, count.unwrap())
}

fn copied(disk: &Memory) -> Memory {
    let mut copy = Memory::default();
    pages_of(disk).0.iter().for_each(|page| copy.commit(&batch_of(page).unwrap()));
    copy
}

fn filled(events: u64) -> (Log, Past) {
    let mut log = Log::new();
    let past = log.open("chat:a");
    log.append(&past, 1..=events);
    log.take(Request::Cursor { channel: past.channel, user: Arc::from("ann"), seq: Some(Seq(3)) });
    log.settle();
    (log, past)
}

#[test]
fn a_copy_has_every_record_and_only_the_state_differs() {
    let (log, _) = filled(20);
    let copy = copied(&log.disk);
    assert_eq!(pages_of(&log.disk).1, log.disk.records().count() as u64);
    let differ: Vec<&[u8]> =
        log.disk.records().zip(copy.records()).filter(|(one, other)| one != other).map(|(one, _)| one.1).collect();
    assert_eq!((copy.records().count(), differ), (log.disk.records().count(), vec![key::STATE]));
}

#[test]
fn a_copy_goes_on_beyond_all_that_can_have_been_given_out_since_in_another_epoch() {
    let check = |log: Log, past: Past| {
        let mut restored = Log::on(copied(&log.disk));
        let again = restored.open("chat:a");
        assert_eq!(again.start.next, Seq(20 + UNCOMMITTED_EVENTS_MAX * (COPY_GENERATIONS + 1) + 1));
        assert_ne!(again.start.epoch, past.start.epoch);
        assert_eq!(restored.seqs(&again), log.seqs(&past));
        // And from then on as any other.
        restored.append(&again, again.start.next.0..=again.start.next.0 + 2);
        let mut restored = restored.stop();
        assert_eq!(restored.open("chat:a").start.next, again.start.next.next().next().next());
    };
    let (log, past) = filled(20);
    check(log, past);
    // Of a store that was stopped in order too: it may be started again.
    let (mut log, past) = filled(20);
    log.ledger.stop();
    log.commit();
    check(log, past);
}

#[test]
fn pages_are_about_as_long_as_the_bound_says_and_what_is_none_is_told() {
    let mut log = Log::new();
    let past = log.try_open("chat:a", Keep { count: 1 << 40, bytes: 1 << 40, age_ms: 1 << 40 }).unwrap();
    let each = 50_000;
    for seq in 1..=COPY_PAGE_BYTES / each + 2 {
        let payload = vec![b' '; each];
        let (user, op_id, kind, payload) = ("ann", "", "note", &payload[..]);
        let mut body = Vec::new();
        write_body(&Event { unix_ms: 1, id: 1, operation: None, user, op_id, kind, payload }, &mut body);
        let (channel, epoch, body) = (past.channel, past.start.epoch, Payload::copy_of(&body));
        log.take(Request::Append(Append { channel, epoch, seq: Seq(seq as u64), unix_ms: 1, body }));
    }
    log.settle();
    let (all, _) = pages_of(&log.disk);
    assert_eq!(all.len(), 2);
    assert!((COPY_PAGE_BYTES..COPY_PAGE_BYTES + 2 * each).contains(&all[0].len()), "{}", all[0].len());
    let page = &all[1];
    assert!(batch_of(page).is_some() && batch_of(&[]).is_some_and(|batch| batch.is_empty()));
    assert!((1..40).all(|cut| batch_of(&page[..page.len() - cut]).is_none()));
    assert!(batch_of(&[&[3], &page[1..]].concat()).is_none(), "there is no such space");
    let refused = pages(&log.disk, &mut |_| Err(DiskFault::Failed("full".to_owned())));
    assert_eq!(refused, Err(DiskFault::Failed("full".to_owned())));
}
