use super::*;
use crate::crash::faults::{Counts, What};

const RUN: u64 = 7;

/// A book of two publishers, one reader and two channels, and what a server would have kept of it.
struct Trial {
    book: Book,
    epoch: &'static str,
    /// By channel: epoch, number and operation.
    kept: [Vec<(&'static str, u64, u32)>; 2],
}

impl Trial {
    fn new() -> Self {
        let channels = ["chat:a".to_owned(), "chat:b".to_owned()];
        Self { book: Book::new(RUN, 2, 1, &channels), epoch: "e", kept: [Vec::new(), Vec::new()] }
    }

    /// Operations of these publishers are sent, kept, seen by the reader, and acknowledged.
    fn done(publishers: &[usize]) -> Self {
        let mut trial = Self::new();
        trial.book.on_subscribed(0, 0, "e", 0);
        for &publisher in publishers {
            let number = trial.send(publisher, 0);
            let seq = trial.keep(0, number);
            trial.see(0, seq, number);
            trial.ack(number, seq, false);
        }
        trial
    }

    fn send(&mut self, publisher: usize, channel: usize) -> u32 {
        let number = self.book.begin(publisher, channel, 64);
        self.book.send(number);
        number
    }

    fn keep(&mut self, channel: usize, number: u32) -> u64 {
        let seq = self.kept[channel].last().map_or(0, |last| last.1) + 1;
        self.kept[channel].push((self.epoch, seq, number));
        seq
    }

    fn ack(&mut self, number: u32, seq: u64, duplicate: bool) {
        self.book.on_ack(number, &Ack { place: Some((self.epoch, seq)), duplicate });
    }

    fn event(&mut self, epoch: &str, seq: u64, number: u32) -> Event {
        let (id, content) = (self.book.id(number), self.book.content(number, 64));
        self.book.event(&Told { epoch, seq, id: Some(&id), content: &content })
    }

    fn see(&mut self, channel: usize, seq: u64, number: u32) {
        let event = self.event(self.epoch, seq, number);
        self.book.on_live(0, channel, event);
    }

    fn history(&mut self, channel: usize) -> Vec<Event> {
        let kept = self.kept[channel].clone();
        kept.into_iter().map(|(epoch, seq, number)| self.event(epoch, seq, number)).collect()
    }

    fn read(&mut self) {
        for channel in 0..2 {
            let history = self.history(channel);
            self.book.on_history(channel, history);
        }
    }

    fn back(&mut self, recovered: bool, reason: &str, after: u64) {
        let events: Vec<Event> = self.history(0).into_iter().filter(|event| Book::seq_of(event) > after).collect();
        let back = Return { epoch: "f", seq: 900, recovered, reason, events };
        self.book.on_return(0, 0, &back);
    }

    /// Whatever is read again is no new fault.
    fn check(&mut self, expected: Counts) {
        assert_eq!(self.book.faults.counts, expected, "{:?}", self.book.faults.findings);
        self.read();
        self.read();
        assert_eq!(self.book.faults.counts, expected, "{:?}", self.book.faults.findings);
        let named: u64 = expected.named().iter().map(|(_, count)| *count.min(&8)).sum();
        assert_eq!(self.book.faults.findings.len(), usize::try_from(named).unwrap());
    }
}

#[test]
fn a_server_that_keeps_what_it_said_has_no_faults() {
    let mut trial = Trial::done(&[0, 1, 0, 1, 0]);
    // One more is kept and its answer lost, one is lost, and one was seen and is lost.
    let kept = trial.send(0, 1);
    trial.keep(1, kept);
    let gone = trial.send(1, 1);
    let seen = trial.send(0, 0);
    trial.see(0, 6, seen);
    let again = trial.book.on_kill();
    // Four that have answers and those that have none, each in its publisher's order.
    assert_eq!(again, [vec![0, 2, 4, kept, seen], vec![1, 3, gone]]);
    trial.read();
    trial.back(false, "epoch_changed", 0);
    trial.epoch = "f";
    for number in [0, 2, 4, kept, seen, 1, 3, gone] {
        trial.book.send(number);
        let found = trial.kept.iter().flatten().find(|kept| kept.2 == number).copied();
        if let Some((epoch, seq, _)) = found {
            trial.book.on_ack(number, &Ack { place: Some((epoch, seq)), duplicate: true });
        } else {
            let channel = trial.book.channel_of(number).unwrap();
            // A new epoch begins far above all that may have been used.
            let seq = trial.kept[channel].last().unwrap().1.max(70_000) + 1;
            trial.kept[channel].push(("f", seq, number));
            trial.ack(number, seq, false);
        }
    }
    trial.book.end_of_patience();
    trial.read();
    let Sums { sent, acked, unanswered, kept, again, duplicates, refused, .. } = trial.book.sums;
    assert_eq!((sent, acked, unanswered, kept, again, duplicates, refused), (8, 8, 3, 1, 8, 6, 0));
    trial.check(Counts::default());
}

#[test]
fn what_was_acknowledged_and_is_gone_is_lost_each_once() {
    for count in 1..=3 {
        let mut trial = Trial::done(&[0, 1, 0]);
        trial.book.on_kill();
        trial.kept[0].truncate(3 - count);
        trial.read();
        trial.check(Counts { lost: u64::try_from(count).unwrap(), ..Counts::default() });
        assert_eq!((0..3).filter(|&number| trial.book.is_lost(number)).count(), count);
        // It would only come back elsewhere.
        let again: usize = trial.book.on_kill().iter().map(Vec::len).sum();
        assert_eq!(again, 3 - count);
    }
    let mut trial = Trial::done(&[0]);
    trial.kept[0].clear();
    trial.read();
    let What::Lost { operation: 0, history: None, .. } = &trial.book.faults.findings[0].what else { panic!() };
}

#[test]
fn an_acknowledgement_without_a_place_counts_and_is_found_by_its_id() {
    let placeless = |duplicate| Ack { place: None, duplicate };
    let sent = || {
        let mut trial = Trial::done(&[1]);
        let number = trial.send(0, 0);
        trial.book.on_ack(number, &placeless(false));
        (trial, number)
    };
    let again = |trial: &mut Trial, number, ack: &Ack<'_>| {
        trial.book.on_kill();
        trial.book.send(number);
        trial.book.on_ack(number, ack);
    };
    // It is there, wherever that is, and from then on it stays there.
    let (mut trial, number) = sent();
    let seq = trial.keep(0, number);
    trial.read();
    assert_eq!(trial.book.sums.acked, 2);
    trial.check(Counts::default());
    again(&mut trial, number, &placeless(true));
    again(&mut trial, number, &Ack { place: Some(("e", seq)), duplicate: true });
    trial.check(Counts::default());
    again(&mut trial, number, &placeless(false));
    trial.check(Counts { duplicate_as_first: 1, ..Counts::default() });
    trial.book.on_history(0, Vec::new());
    assert_eq!(trial.book.faults.counts.lost, 2, "it is not there any more, and neither is the other");
    // Nobody has read it yet: what is sent again is a duplicate all the same.
    let (mut trial, number) = sent();
    again(&mut trial, number, &placeless(true));
    trial.keep(0, number);
    trial.check(Counts::default());
    let (mut trial, number) = sent();
    again(&mut trial, number, &placeless(false));
    trial.keep(0, number);
    trial.check(Counts { duplicate_as_first: 1, ..Counts::default() });
    // It is not there.
    let (mut trial, number) = sent();
    trial.read();
    trial.check(Counts { lost: 1, ..Counts::default() });
    let What::Lost { acked: None, .. } = &trial.book.faults.findings[0].what else { panic!() };
    assert!(trial.book.is_lost(number));
    // Another has the place that it is found at.
    let (mut trial, number) = sent();
    trial.kept[0].push(("e", 1, number));
    trial.kept[0].remove(0);
    trial.read();
    assert_eq!((trial.book.faults.counts.reused, trial.book.faults.counts.lost), (1, 1));
}

#[test]
fn a_second_copy_is_a_doubled_operation_once() {
    let mut trial = Trial::done(&[0, 1]);
    trial.keep(0, 1);
    trial.read();
    trial.keep(0, 1);
    trial.read();
    trial.check(Counts { doubled: 1, ..Counts::default() });
}

#[test]
fn a_publisher_s_operations_keep_their_order_and_others_need_not() {
    let mut trial = Trial::new();
    let numbers = [trial.send(0, 0), trial.send(1, 0), trial.send(0, 0)];
    for number in [numbers[2], numbers[1], numbers[0]] {
        let seq = trial.keep(0, number);
        trial.ack(number, seq, false);
    }
    trial.read();
    trial.check(Counts { reordered: 1, ..Counts::default() });
    let mut trial = Trial::new();
    let numbers = [trial.send(0, 0), trial.send(1, 0)];
    for number in numbers.into_iter().rev() {
        let seq = trial.keep(0, number);
        trial.ack(number, seq, false);
    }
    trial.check(Counts::default());
}

#[test]
fn numbers_fall_or_leap_within_an_epoch_only_by_fault() {
    let check = |places: &[(&'static str, u64)], expected: Counts| {
        let mut trial = Trial::new();
        for &(epoch, seq) in places {
            let number = trial.send(0, 0);
            trial.kept[0].push((epoch, seq, number));
        }
        trial.read();
        trial.check(expected);
    };
    check(&[("e", 1), ("e", 2), ("f", 70_000)], Counts::default());
    check(&[("e", 1), ("e", 3)], Counts { holes: 1, ..Counts::default() });
    check(&[("e", 2), ("e", 1)], Counts { reordered: 1, ..Counts::default() });
    // Whoever has the number, two have it.
    check(&[("e", 1), ("f", 1)], Counts { reordered: 1, reused: 1, ..Counts::default() });
}

#[test]
fn a_number_has_one_content_wherever_it_was_seen() {
    // Seen by a reader only, and never kept: its number is still its own.
    let mut trial = Trial::done(&[0]);
    let seen = trial.send(0, 0);
    trial.see(0, 2, seen);
    trial.book.on_kill();
    trial.read();
    let other = trial.send(1, 0);
    trial.keep(0, other);
    trial.ack(other, 2, false);
    trial.check(Counts { reused: 1, ..Counts::default() });
    let first_and_then = (Some(seen), Some(other));
    let What::Reused { seq: 2, first, then } = trial.book.faults.findings[0].what else { panic!() };
    assert_eq!((first, then), first_and_then);
    // Two answers with one number.
    let mut trial = Trial::new();
    let numbers = [trial.send(0, 0), trial.send(1, 0)];
    numbers.into_iter().for_each(|number| trial.ack(number, 1, false));
    assert_eq!(trial.book.faults.counts, Counts { reused: 1, ..Counts::default() });
    // The same number of two channels is two numbers.
    let mut trial = Trial::new();
    for channel in 0..2 {
        let number = trial.send(0, channel);
        let seq = trial.keep(channel, number);
        trial.ack(number, seq, false);
    }
    trial.check(Counts::default());
}

#[test]
fn contents_and_places_are_what_was_sent_and_said() {
    let mut trial = Trial::done(&[0, 1]);
    let id = trial.book.id(1);
    let altered = trial.book.event(&Told { epoch: "e", seq: 2, id: Some(&id), content: "other" });
    let history = vec![trial.event("e", 1, 0), altered];
    trial.book.on_history(0, history.clone());
    trial.book.on_history(0, history);
    assert_eq!(trial.book.faults.counts, Counts { altered: 1, ..Counts::default() });
    // Elsewhere: another number, or the same in another epoch.
    for place in [("e", 3), ("f", 2)] {
        let mut trial = Trial::done(&[0, 1]);
        trial.kept[0][1] = (place.0, place.1, 1);
        trial.read();
        let holes = u64::from(place.1 == 3);
        trial.check(Counts { moved: 1, holes, ..Counts::default() });
    }
    // Of another channel, of another run, and of nobody.
    let mut trial = Trial::done(&[0]);
    let elsewhere = trial.event("e", 1, 0);
    trial.book.on_history(1, vec![elsewhere]);
    let foreign = trial.book.event(&Told { epoch: "e", seq: 2, id: Some("8-1"), content: "x" });
    let nameless = trial.book.event(&Told { epoch: "e", seq: 3, id: None, content: "x" });
    let first = trial.event("e", 1, 0);
    trial.book.on_history(0, vec![first, foreign, nameless]);
    trial.book.on_history(0, vec![first, foreign, nameless]);
    assert_eq!(trial.book.faults.counts, Counts { unknown: 3, ..Counts::default() });
}

#[test]
fn what_is_sent_again_gets_the_one_answer_that_is_true() {
    let again = |stored: bool| {
        let mut trial = Trial::done(&[]);
        let number = trial.send(0, 0);
        if stored {
            trial.keep(0, number);
        }
        trial.book.on_kill();
        trial.read();
        trial.book.send(number);
        (trial, number)
    };
    let check = |stored, seq, duplicate, expected: Counts| {
        let (mut trial, number) = again(stored);
        trial.ack(number, seq, duplicate);
        assert_eq!(trial.book.faults.counts, expected, "{stored} {seq} {duplicate}");
    };
    check(true, 1, true, Counts::default());
    check(true, 1, false, Counts { duplicate_as_first: 1, ..Counts::default() });
    check(true, 2, true, Counts { moved: 1, ..Counts::default() });
    check(false, 1, false, Counts::default());
    check(false, 1, true, Counts { first_as_duplicate: 1, ..Counts::default() });
    let (mut trial, number) = again(true);
    trial.ack(number, 1, true);
    trial.ack(number, 1, true);
    trial.book.on_nack(number, true);
    trial.check(Counts { answered_twice: 2, ..Counts::default() });
    let (mut trial, _) = again(true);
    trial.book.end_of_patience();
    trial.book.end_of_patience();
    trial.check(Counts { unanswered: 1, ..Counts::default() });
}

#[test]
fn what_was_refused_is_not_kept_unless_it_was_kept_before() {
    let mut trial = Trial::new();
    let number = trial.send(0, 0);
    trial.book.on_nack(number, true);
    assert_eq!(trial.book.on_kill(), [Vec::<u32>::new(), Vec::new()], "what was answered is not sent again");
    trial.read();
    trial.keep(0, number);
    trial.read();
    trial.check(Counts { refused_kept: 1, ..Counts::default() });
    let mut trial = Trial::new();
    let number = trial.send(0, 0);
    trial.keep(0, number);
    trial.book.on_kill();
    trial.read();
    trial.book.send(number);
    trial.book.on_nack(number, true);
    trial.check(Counts::default());
    trial.book.send(number);
    trial.book.on_nack(number, false);
    trial.check(Counts { duplicate_refused: 1, ..Counts::default() });
}

#[test]
fn who_comes_back_gets_what_the_history_has_behind_its_place() {
    let check = |kept: usize, recovered, after, expected: Counts| {
        let mut trial = Trial::done(&[0, 0, 1]);
        trial.kept[0].truncate(kept);
        trial.kept[0].push(("f", 80_000, 3));
        let fourth = trial.book.begin(1, 0, 64);
        assert_eq!(fourth, 3);
        trial.read();
        let lost = trial.book.faults.counts.lost;
        trial.back(recovered, "epoch_changed", after);
        assert_eq!(trial.book.faults.counts, Counts { lost, ..expected }, "{kept} {recovered} {after}");
        assert_eq!(trial.book.position(0, 0), Some(("f".to_owned(), 80_000)));
    };
    // It had number 3, which is kept.
    check(3, true, 3, Counts::default());
    check(3, false, 0, Counts { not_recovered: 1, ..Counts::default() });
    check(3, true, 2, Counts { resume_differs: 1, ..Counts::default() });
    // Which is not.
    check(2, false, 0, Counts::default());
    check(2, true, 3, Counts { wrongly_recovered: 1, ..Counts::default() });
    check(2, false, 2, Counts { resume_differs: 1, ..Counts::default() });
    // More than the history has.
    let mut trial = Trial::done(&[0]);
    trial.book.on_history(0, vec![]);
    trial.back(false, "epoch_changed", 0);
    assert_eq!(trial.book.faults.counts, Counts { lost: 1, resume_differs: 1, ..Counts::default() });
    // Who was only told a number may be told anything about it.
    let mut trial = Trial::new();
    trial.book.on_subscribed(0, 0, "e", 0);
    trial.read();
    trial.back(false, "epoch_changed", 0);
    trial.check(Counts::default());
}

#[test]
fn who_reads_all_the_time_misses_nothing_and_gets_nothing_twice() {
    let check = |seqs: &[u64], live| {
        let mut trial = Trial::new();
        trial.book.on_subscribed(0, 0, "e", 0);
        for &seq in seqs {
            let number = trial.book.begin(0, 0, 64);
            trial.see(0, seq, number);
        }
        assert_eq!(trial.book.faults.counts.live, live, "{seqs:?}");
    };
    check(&[1, 2, 3], 0);
    check(&[2], 1);
    check(&[1, 3, 4], 1);
    check(&[1, 1], 1);
    let mut trial = Trial::done(&[0]);
    trial.book.on_gap(0, 0, 5);
    let number = trial.send(0, 0);
    trial.see(0, 6, number);
    assert_eq!(trial.book.faults.counts, Counts { live: 1, ..Counts::default() });
}

#[test]
fn epochs_over_the_bound_are_taken_for_the_last() {
    let mut book = Book::new(RUN, 1, 0, &["chat:a".to_owned()]);
    for number in 0..CRASH_EPOCHS_COUNT_MAX - 1 {
        book.epochs.push(number.to_string());
    }
    let told = |book: &mut Book, epoch: &str| book.event(&Told { epoch, seq: 1, id: None, content: "" }).spot;
    let last = told(&mut book, "the last");
    assert_eq!(book.epochs.len(), CRASH_EPOCHS_COUNT_MAX);
    assert_eq!(told(&mut book, "one more"), last);
    assert_ne!(told(&mut book, "0"), last);
}

#[test]
fn of_what_has_answers_the_last_few_are_sent_again() {
    let answered = CRASH_SENT_AGAIN_COUNT + 3;
    let publishers = vec![0; index(answered)];
    let mut trial = Trial::done(&publishers);
    let expected: Vec<u32> = (3..answered).collect();
    assert_eq!(trial.book.on_kill(), [expected, Vec::new()]);
}

#[test]
fn ids_of_other_runs_are_nobody_s() {
    let mut trial = Trial::new();
    let number = trial.send(0, 0);
    let id = trial.book.id(number);
    assert_eq!(trial.book.operation(&id), Some(number));
    for id in ["", "x", "0000000000000007-00000001", "0000000000000008-00000000", "0000000000000007-", "-00000000"] {
        assert_eq!(trial.book.operation(id), None, "{id}");
    }
    assert_eq!(trial.book.content(number, 64).len(), 64);
    assert_eq!(trial.book.content(number, 1), id);
    assert_ne!(trial.book.content(number, 64), Book::new(RUN + 1, 1, 0, &[]).content(number, 64));
}
