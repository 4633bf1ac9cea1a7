use std::collections::VecDeque;

use crate::checker::tests::{NONE, draws, joined};
use crate::checker::{Faults, Finding, Publish, Verdict, What, index};

/// Members that are read in any interleaving of an order that all have, but that one of them gets one publish later than
/// it should: that is one fault, whoever is read first, and it names what it is.
#[test]
fn a_publish_that_one_member_gets_late_is_one_fault_in_any_interleaving() {
    let mut unchecked = 0;
    for seed in 1..2000u64 {
        let mut below = draws(seed);
        let mut checker = joined(3, 3);
        let order: Vec<(u32, u32)> = (1..=6).flat_map(|seq| (0..3).map(move |publisher| (publisher, seq))).collect();
        for &(publisher, seq) in &order {
            assert_eq!(checker.publish(0, publisher), seq);
        }
        let mut queues = vec![VecDeque::from(order.clone()); 3];
        let (who, from) = (below(3), below(12));
        let to = from + 1 + below(5);
        let late = queues[who].remove(from).unwrap();
        queues[who].insert(to, late);
        while queues.iter().any(|queue| !queue.is_empty()) {
            let member = below(3);
            if let Some((publisher, seq)) = queues[member].pop_front() {
                let verdict = checker.deliver(0, u32::try_from(member).unwrap(), publisher, seq);
                assert_eq!(verdict, Verdict::Fresh);
            }
        }
        let (faults, findings) = checker.finish();
        let Faults { order_unchecked, .. } = faults;
        unchecked += order_unchecked;
        let expected = Faults { out_of_order: 1, order_unchecked, ..NONE };
        assert_eq!(faults, expected, "{seed}: {late:?} at {to} of {who}");
        let publish = Publish { publisher: late.0, number: late.1 };
        match findings[..] {
            [Finding { member, what: What::OutOfOrder { late, .. }, .. }] => {
                assert_eq!((index(member), late), (who, publish), "{seed}");
            }
            // Members that disagree are one as good as the other: one of the two publishes is the one.
            [Finding { what: What::Disputed { late, after }, .. }] => {
                assert!(late == publish || after == publish, "{seed}: {late:?} {after:?}");
            }
            ref other => panic!("{seed}: {other:?}"),
        }
    }
    // Of 54 deliveries of each.
    assert!(unchecked < 1000, "{unchecked}");
}

/// Members that are read in any interleaving of one order, of whom two never get one publish each: those are two losses,
/// and nobody is out of order, though nobody knew of a loss until the publisher's next came.
#[test]
fn losses_among_several_publishers_are_no_disorder_in_any_interleaving() {
    let mut unchecked = 0;
    for seed in 1..2000u64 {
        let mut below = draws(seed);
        let mut checker = joined(4, 3);
        let order: Vec<(u32, u32)> = (1..=6).flat_map(|seq| (0..3).map(move |publisher| (publisher, seq))).collect();
        for &(publisher, _) in &order {
            checker.publish(0, publisher);
        }
        let mut queues = vec![VecDeque::from(order.clone()); 4];
        let who = below(4);
        let lost = [(who, below(18)), ((who + 1 + below(3)) % 4, below(18))];
        let mut lost = lost.map(|(member, at)| (member, queues[member].remove(at).unwrap()));
        while queues.iter().any(|queue| !queue.is_empty()) {
            let member = below(4);
            if let Some((publisher, seq)) = queues[member].pop_front() {
                checker.deliver(0, u32::try_from(member).unwrap(), publisher, seq);
            }
        }
        let (faults, findings) = checker.finish();
        unchecked += faults.order_unchecked;
        assert_eq!(faults, Faults { lost: 2, order_unchecked: faults.order_unchecked, ..NONE }, "{seed}: {lost:?}");
        let named = findings.iter().map(|finding| match finding.what {
            What::Lost { publisher, first, last } if first == last => (index(finding.member), (publisher, first)),
            other => panic!("{seed}: {other:?}"),
        });
        lost.sort_unstable();
        let mut named: Vec<_> = named.collect();
        named.sort_unstable();
        assert_eq!(named, lost, "{seed}");
    }
    // Of 70 deliveries of each.
    assert!(unchecked < 1000, "{unchecked}");
}
