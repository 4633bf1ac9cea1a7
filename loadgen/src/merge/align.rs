//! Timelines of several processes on one: by the wall clock of each, which must agree as clocks of one network do.
//!
//! The longest timeline gives the points; a point of another counts to the one its middle lies in. What lies outside
//! stands by itself, so that nothing is lost.

use crate::report::{Point, Timeline};
use crate::stats::rounded_fine;

/// Puts timelines together, each with the time its run began at, in seconds of one clock.
pub(super) fn align(all: &[(f64, &Timeline)]) -> Timeline {
    let zero_s = all.iter().map(|(began_s, _)| *began_s).fold(f64::INFINITY, f64::min);
    let mut shifted: Vec<Vec<Point>> = all.iter().map(|(began_s, of)| shift(of, began_s - zero_s)).collect();
    let Some(longest) = (0..shifted.len()).max_by_key(|&number| (shifted[number].len(), usize::MAX - number)) else {
        return Timeline::default();
    };
    let mut frame = shifted.swap_remove(longest);
    let mut outside = Vec::new();
    for points in shifted {
        add(&mut frame, points, &mut outside);
    }
    frame.append(&mut outside);
    frame.sort_by(|one, other| one.at_s.total_cmp(&other.at_s));
    Timeline { points: frame }
}

fn shift(timeline: &Timeline, by_s: f64) -> Vec<Point> {
    let moved = |point: &Point| Point { at_s: rounded_fine(point.at_s + by_s), ..point.clone() };
    timeline.points.iter().map(moved).collect()
}

/// Adds the points of one other timeline to those of the frame.
fn add(frame: &mut [Point], points: Vec<Point>, outside: &mut Vec<Point>) {
    let mut beside: Vec<Option<Point>> = vec![None; frame.len()];
    for point in points {
        let middle_s = point.at_s + point.span_s / 2.0;
        let after = frame.partition_point(|of| of.at_s <= middle_s);
        let within = after.checked_sub(1).filter(|&at| middle_s < frame[at].at_s + frame[at].span_s);
        match within.map(|at| &mut beside[at]) {
            Some(Some(earlier)) => earlier.merge(&point),
            Some(place) => *place = Some(point),
            None => outside.push(point),
        }
    }
    // A second in which this process closed no point of its own has its connections and faults all the same.
    let mut last: Option<Point> = None;
    let ends = beside.iter().rposition(Option::is_some);
    for (at, (of, point)) in frame.iter_mut().zip(beside).enumerate() {
        match point {
            Some(point) => {
                of.add(&point);
                last = Some(point);
            }
            None => {
                if let Some(last) = &last {
                    of.faults += last.faults;
                    if ends.is_some_and(|ends| at < ends) {
                        (of.open, of.connecting) = (of.open + last.open, of.connecting + last.connecting);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(at_s: f64, count: u64) -> Point {
        Point { at_s, span_s: 1.0, open: 10, published: count, delivered: 3 * count, faults: count, ..Point::default() }
    }

    fn line(seconds: &[(f64, u64)]) -> Timeline {
        Timeline { points: seconds.iter().map(|&(at_s, count)| second(at_s, count)).collect() }
    }

    fn check(all: &[(f64, &Timeline)], expected: &[(f64, u64, u64, u64)]) {
        let found = align(all).points;
        let found: Vec<_> = found.iter().map(|point| (point.at_s, point.published, point.open, point.faults)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn points_of_one_time_are_added_up() {
        let (one, other) = (line(&[(0.0, 1), (1.0, 2)]), line(&[(0.0, 10), (1.0, 20)]));
        check(&[(100.0, &one), (100.0, &other)], &[(0.0, 11, 20, 11), (1.0, 22, 20, 22)]);
        check(&[(100.4, &one), (100.0, &other)], &[(0.4, 11, 20, 11), (1.4, 22, 20, 22)]);
    }

    #[test]
    fn a_later_beginning_moves_a_timeline_and_nothing_is_lost_outside() {
        let (one, other) = (line(&[(0.0, 1), (1.0, 2), (2.0, 4)]), line(&[(0.0, 10), (1.0, 20)]));
        let expected = [(0.0, 1, 10, 1), (1.0, 2, 10, 2), (2.0, 14, 20, 14), (3.0, 20, 10, 20)];
        check(&[(100.0, &one), (102.0, &other)], &expected);
        check(&[(102.0, &other), (100.0, &one)], &expected);
    }

    #[test]
    fn a_process_without_a_point_in_a_second_keeps_its_connections_until_its_last() {
        let (one, other) = (line(&[(0.0, 1), (1.0, 1), (2.0, 1), (3.0, 1)]), line(&[(0.0, 10), (2.0, 20)]));
        check(
            &[(5.0, &one), (5.0, &other)],
            &[(0.0, 11, 20, 11), (1.0, 1, 20, 11), (2.0, 21, 20, 21), (3.0, 1, 10, 21)],
        );
    }

    #[test]
    fn two_points_of_one_process_in_one_second_are_one_after_the_other() {
        let mut halves = line(&[(0.0, 1), (0.5, 2)]);
        halves.points.iter_mut().for_each(|point| point.span_s = 0.5);
        let whole = line(&[(0.0, 10), (1.0, 10), (2.0, 10)]);
        check(&[(0.0, &whole), (0.0, &halves)], &[(0.0, 13, 20, 12), (1.0, 10, 10, 12), (2.0, 10, 10, 12)]);
    }

    #[test]
    fn nothing_gives_nothing() {
        assert_eq!(align(&[]), Timeline::default());
        assert_eq!(align(&[(1.0, &Timeline::default()), (2.0, &Timeline::default())]), Timeline::default());
    }
}
