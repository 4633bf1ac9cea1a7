//! Lines: where a channel goes on, what can be resumed, what is counted.

use super::*;
use crate::ledger::line::{Line, Oldest, Span, Standing, Start};
use crate::limits::{LINE_SPANS_MAX, UNCOMMITTED_EVENTS_MAX};

fn line(spans: &[(u64, u64, u64)], oldest: u64) -> Line {
    let spans: Vec<Span> = spans
        .iter()
        .map(|&(epoch, first, last)| Span { epoch: Epoch(epoch), first: Seq(first), last: Seq(last) })
        .collect();
    let oldest = (oldest > 0).then_some(Oldest { seq: Seq(oldest), offset: 0, unix_ms: 0 });
    Line { spans, oldest, ..Line::new("chat:a", KEEP) }
}

#[test]
fn a_channel_goes_on_behind_everything_that_can_have_been_given_out() {
    let new = line(&[], 0);
    let used = Line { generation: 2, ..line(&[(1, 1, 10)], 1) };
    for (line, generation, epoch, next) in [
        (&new, 0, 9, 1),
        (&new, 1, 9, UNCOMMITTED_EVENTS_MAX + 1),
        (&new, 5, 9, 5 * UNCOMMITTED_EVENTS_MAX + 1),
        (&used, 2, 1, 11),
        (&used, 3, 9, 10 + UNCOMMITTED_EVENTS_MAX + 1),
        (&used, 7, 9, 10 + 5 * UNCOMMITTED_EVENTS_MAX + 1),
    ] {
        assert_eq!(line.start(generation, Epoch(9)), Start { epoch: Epoch(epoch), next: Seq(next) }, "{generation}");
    }
}

#[test]
fn positions_resume_where_everything_after_them_is_retained() {
    let line = line(&[(1, 1, 10), (2, 100, 105), (3, 200, 201)], 103);
    for (epoch, seq, expected) in [
        (3, 201, Standing::Resumes),
        (3, 199, Standing::Resumes),
        (3, 202, Standing::Changed),
        (3, 198, Standing::Changed),
        (2, 105, Standing::Resumes),
        (2, 106, Standing::Changed),
        (2, 102, Standing::Resumes),
        (2, 101, Standing::Trimmed),
        (2, 99, Standing::Trimmed),
        (1, 10, Standing::Trimmed),
        (1, 0, Standing::Trimmed),
        (1, 11, Standing::Changed),
        (4, 201, Standing::Changed),
    ] {
        assert_eq!(line.judge(Epoch(epoch), Seq(seq)), expected, "{epoch} {seq}");
    }
    let whole = self::line(&[(1, 1, 10), (2, 100, 105)], 100);
    assert_eq!(whole.judge(Epoch(1), Seq(10)), Standing::Resumes, "nothing was missed");
    assert_eq!(whole.judge(Epoch(1), Seq(9)), Standing::Trimmed);
    let erased = self::line(&[(1, 1, 10)], 0);
    assert_eq!(erased.judge(Epoch(1), Seq(10)), Standing::Resumes);
    assert_eq!(erased.judge(Epoch(1), Seq(9)), Standing::Trimmed);
    assert_eq!(self::line(&[], 0).judge(Epoch(1), Seq(0)), Standing::Changed);
}

#[test]
fn events_are_counted_across_epochs() {
    let line = line(&[(1, 1, 10), (2, 100, 105)], 4);
    for (first, last, count) in
        [(1, 10, 10), (10, 100, 2), (11, 99, 0), (4, 105, 13), (0, u64::MAX - 1, 16), (105, 4, 0)]
    {
        assert_eq!(line.count(Seq(first), Seq(last)), count, "{first} {last}");
    }
    assert_eq!(line.retained(), 13);
    for (count, oldest) in [(0, 106), (1, 105), (6, 100), (7, 10), (16, 1), (17, 1), (u64::MAX, 1)] {
        assert_eq!(line.oldest_of(count), Seq(oldest), "{count}");
    }
    let around =
        |seq| (line.preceding(Seq(seq)).map_or(0, |seq| seq.0), line.following(Seq(seq)).map_or(0, |seq| seq.0));
    for (seq, expected) in [(0, (0, 1)), (1, (0, 2)), (10, (9, 100)), (50, (10, 100)), (105, (104, 0)), (200, (105, 0))]
    {
        assert_eq!(around(seq), expected, "{seq}");
    }
}

#[test]
fn only_what_follows_is_appended() {
    let mut line = Line::new("chat:a", KEEP);
    let mut append = |epoch, seq| line.append((Epoch(epoch), Seq(seq)), 10, 5, 0);
    assert_eq!(append(1, 1), Some((0, true)), "the first is written with the line");
    assert_eq!(append(1, 2), Some((10, false)));
    for (epoch, seq) in [(1, 2), (1, 4), (1, 1), (2, 2), (2, 1)] {
        assert_eq!(append(epoch, seq), None, "{epoch} {seq}");
    }
    assert_eq!(append(2, 70_000), Some((20, true)), "an epoch begins");
    assert_eq!((line.last(), line.end, line.retained()), (Seq(70_000), 30, 3));
}

#[test]
fn so_many_epochs_are_remembered() {
    let mut line = Line::new("chat:a", KEEP);
    for epoch in 1..=LINE_SPANS_MAX as u64 {
        assert!(line.append((Epoch(epoch), Seq(epoch * 100)), 1, 5, epoch).is_some());
    }
    assert_eq!((line.spans.len(), line.retained()), (LINE_SPANS_MAX, LINE_SPANS_MAX as u64));
    assert!(line.append((Epoch(u64::MAX), Seq(1_000_000)), 1, 5, 5000).is_some());
    assert_eq!((line.spans.len(), line.spans[0].epoch), (LINE_SPANS_MAX, Epoch(2)));
}

#[test]
fn epochs_are_forgotten_with_their_events_but_for_the_one_before() {
    for (oldest, spans) in [(5, 3), (10, 3), (100, 3), (101, 2), (200, 2), (201, 1)] {
        let mut line = line(&[(1, 1, 10), (2, 100, 105), (3, 200, 201)], 1);
        line.retain_from(Some(Oldest { seq: Seq(oldest), offset: 0, unix_ms: 0 }));
        assert_eq!(line.spans.len(), spans, "{oldest}");
    }
    let mut line = line(&[(1, 1, 10), (2, 100, 105)], 1);
    line.retain_from(None);
    assert_eq!((line.spans.len(), line.last(), line.retained()), (1, Seq(105), 0));
}
