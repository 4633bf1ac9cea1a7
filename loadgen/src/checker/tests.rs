use super::*;
use crate::frame::Masks;
use crate::limits::FINDINGS_COUNT_MAX;

pub(super) const NONE: Faults = Faults {
    lost: 0,
    duplicated: 0,
    out_of_order: 0,
    corrupted: 0,
    wrong_room: 0,
    seq_gaps: 0,
    json: 0,
    order_unchecked: 0,
    owed_to_closed: 0,
};

/// The counts alone.
fn finish(checker: Checker) -> Faults {
    checker.finish().0
}

/// Numbers below a bound, by chance and the same for the same seed.
pub(super) fn draws(seed: u64) -> impl FnMut(usize) -> usize {
    let mut masks = Masks::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    move |bound| usize::try_from(u32::from_le_bytes(masks.next_key())).unwrap() % bound
}

/// One room whose members are all there.
pub(super) fn joined(members: u32, publishers: u32) -> Checker {
    let mut checker = Checker::new(&[RoomShape { members, publishers }]);
    (0..members).for_each(|member| checker.on_joined(0, member));
    checker
}

/// One room of three, all publish; `sent` publishes in turn by publisher 0, 1, 2; then `(member, publisher, seq)`.
fn check(sent: u32, deliveries: &[(u32, u32, u32)], expected: Faults) {
    let mut checker = joined(3, 3);
    for number in 0..sent {
        checker.publish(0, number % 3);
    }
    for &(member, publisher, seq) in deliveries {
        checker.deliver(0, member, publisher, seq);
    }
    assert_eq!(finish(checker), expected, "{deliveries:?}");
}

/// The same order for all three members.
fn all(order: &[(u32, u32)]) -> Vec<(u32, u32, u32)> {
    (0..3).flat_map(|member| order.iter().map(move |&(publisher, seq)| (member, publisher, seq))).collect()
}

const ORDER: [(u32, u32); 6] = [(0, 1), (1, 1), (2, 1), (0, 2), (1, 2), (2, 2)];

#[test]
fn a_faultless_run_has_no_faults_whatever_the_order_of_publishers() {
    check(6, &all(&ORDER), NONE);
    check(6, &all(&[(2, 1), (0, 1), (1, 1), (1, 2), (0, 2), (2, 2)]), NONE);
}

#[test]
fn a_faultless_run_in_step_has_no_faults() {
    let deliveries: Vec<_> = ORDER.iter().flat_map(|&(p, s)| (0..3).map(move |m| (m, p, s))).collect();
    check(6, &deliveries, NONE);
}

#[test]
fn each_single_loss_is_found_with_its_count() {
    for lost in 0..18 {
        let mut deliveries = all(&ORDER);
        deliveries.remove(lost);
        check(6, &deliveries, Faults { lost: 1, ..NONE });
    }
    check(6, &[], Faults { lost: 18, ..NONE });
}

#[test]
fn each_single_duplicate_is_found_wherever_it_comes() {
    for which in 0..18 {
        for place in which + 1..=18 {
            let mut deliveries = all(&ORDER);
            deliveries.insert(place, deliveries[which]);
            check(6, &deliveries, Faults { duplicated: 1, ..NONE });
        }
    }
}

#[test]
fn a_publish_behind_the_same_publishers_next_is_out_of_order_once() {
    let mut deliveries = all(&[(0, 1), (0, 2), (0, 3)]);
    deliveries.swap(4, 5);
    let mut checker = joined(3, 1);
    for _ in 0..3 {
        checker.publish(0, 0);
    }
    for (member, publisher, seq) in deliveries {
        assert_eq!(checker.deliver(0, member, publisher, seq), Verdict::Fresh);
    }
    assert_eq!(checker.pending(), 0);
    assert_eq!(finish(checker), Faults { out_of_order: 1, ..NONE });
}

#[test]
fn a_turned_pair_is_one_fault_whoever_is_read_first() {
    for who in 0..3usize {
        for at in 0..2 {
            let mut deliveries = all(&[(0, 1), (0, 2), (0, 3)]);
            deliveries.swap(3 * who + at, 3 * who + at + 1);
            let mut checker = joined(3, 1);
            for _ in 0..3 {
                checker.publish(0, 0);
            }
            for (member, publisher, seq) in deliveries {
                checker.deliver(0, member, publisher, seq);
            }
            assert_eq!(finish(checker), Faults { out_of_order: 1, ..NONE }, "{who} {at}");
        }
    }
}

#[test]
fn members_that_disagree_on_two_publishers_are_found() {
    for member in 0..3usize {
        for at in 0..5 {
            let mut deliveries = all(&ORDER);
            deliveries.swap(6 * member + at, 6 * member + at + 1);
            check(6, &deliveries, Faults { out_of_order: 1, ..NONE });
        }
    }
}

#[test]
fn what_was_never_published_is_corruption() {
    let mut deliveries = all(&ORDER);
    deliveries.extend([(0, 0, 3), (0, 3, 1), (0, 0, 0)]);
    check(6, &deliveries, Faults { corrupted: 3, ..NONE });
}

#[test]
fn a_gap_in_the_servers_numbers_is_found() {
    let mut checker = joined(1, 1);
    checker.on_subscribed(0, 0, 41);
    for seq in [42, 43, 45, 46, 46] {
        checker.on_server_seq(0, 0, seq);
    }
    assert_eq!(finish(checker), Faults { seq_gaps: 2, ..NONE });
}

#[test]
fn a_closed_member_is_owed_but_nothing_is_lost() {
    let mut checker = joined(2, 1);
    checker.publish(0, 0);
    checker.on_closed(0, 1);
    checker.on_closed(0, 1);
    checker.publish(0, 0);
    checker.deliver(0, 0, 0, 1);
    assert_eq!(checker.pending(), 1);
    checker.deliver(0, 0, 0, 2);
    assert_eq!(checker.pending(), 0);
    assert_eq!(finish(checker), Faults { owed_to_closed: 1, ..NONE });
}

#[test]
fn the_order_log_is_bounded_and_says_what_it_could_not_check() {
    let mut checker = joined(2, 1);
    let count = u32::try_from(ORDER_LOG_COUNT_MAX).unwrap() + 1;
    for seq in 1..=count {
        checker.publish(0, 0);
        checker.deliver(0, 0, 0, seq);
    }
    for seq in 1..=count {
        checker.deliver(0, 1, 0, seq);
    }
    let faults = finish(checker);
    assert!(faults.none(), "{faults:?}");
    assert_eq!(faults.order_unchecked, 1);
}

#[test]
fn a_member_is_owed_what_is_published_after_it_joined() {
    let mut checker = Checker::new(&[RoomShape { members: 2, publishers: 1 }]);
    checker.on_joined(0, 0);
    for _ in 0..3 {
        checker.publish(0, 0);
    }
    checker.on_joined(0, 1);
    checker.publish(0, 0);
    assert_eq!(checker.pending(), 5);
    (1..=4).for_each(|seq| assert_eq!(checker.deliver(0, 0, 0, seq), Verdict::Fresh));
    assert_eq!(checker.pending(), 1);
    assert_eq!(finish(checker), Faults { lost: 1, ..NONE });
}

#[test]
fn what_was_under_way_at_a_join_may_come_but_then_whole() {
    for (got, lost) in [(&[4][..], 0), (&[2, 3, 4], 0), (&[3, 4], 0), (&[2, 4], 1), (&[2, 3], 1), (&[], 1), (&[1], 3)] {
        let mut checker = Checker::new(&[RoomShape { members: 2, publishers: 1 }]);
        checker.on_joined(0, 0);
        (0..3).for_each(|_| {
            checker.publish(0, 0);
        });
        checker.on_joined(0, 1);
        checker.publish(0, 0);
        for &seq in got {
            assert_eq!(checker.deliver(0, 1, 0, seq), Verdict::Fresh);
        }
        (1..=4).for_each(|seq| {
            checker.deliver(0, 0, 0, seq);
        });
        assert_eq!(checker.pending(), lost, "{got:?}");
        assert_eq!(finish(checker), Faults { lost, ..NONE }, "{got:?}");
    }
}

#[test]
fn a_member_that_comes_back_begins_anew() {
    let mut checker = joined(2, 2);
    (0..4).for_each(|number| {
        checker.publish(0, number % 2);
    });
    checker.deliver(0, 1, 0, 1);
    checker.on_closed(0, 1);
    checker.on_joined(0, 1);
    checker.publish(0, 0);
    checker.deliver(0, 1, 0, 3);
    for (publisher, seq) in [(0, 1), (1, 1), (0, 2), (1, 2), (0, 3)] {
        checker.deliver(0, 0, publisher, seq);
    }
    assert_eq!(checker.pending(), 0);
    assert_eq!(finish(checker), Faults { owed_to_closed: 3, ..NONE });
}

/// A member reads what the server has for it; `None` is its join.
fn read_all(checker: &mut Checker, member: u32, queue: &mut VecDeque<Option<(u32, u32)>>) {
    for event in queue.drain(..) {
        match event {
            Some((publisher, seq)) => {
                checker.deliver(0, member, publisher, seq);
            }
            None => checker.on_joined(0, member),
        }
    }
}

/// A server with one order, links with delays of their own, members that come and go: whatever the interleaving, there is
/// no fault, and at the end nothing is kept.
#[test]
fn members_that_come_and_go_see_no_fault_in_any_interleaving() {
    const MEMBERS: u32 = 4;
    let (mut settled, mut unchecked) = (0, 0);
    for seed in 1..2000u64 {
        let mut below = draws(seed);
        let mut checker = joined(MEMBERS, MEMBERS);
        // Publishes on their way to the server per publisher; what the server has for each member, `None` is its join.
        let mut up: Vec<VecDeque<u32>> = vec![VecDeque::new(); 4];
        let mut down: Vec<VecDeque<Option<(u32, u32)>>> = vec![VecDeque::new(); 4];
        let (mut in_room, mut joined) = ([true; 4], [true; 4]);
        for step in 0..600 {
            let who = below(4);
            let member = u32::try_from(who).unwrap();
            match below(if step < 500 { 12 } else { 8 }) {
                0..=3 => {
                    if let Some(seq) = up[who].pop_front() {
                        (0..4).filter(|&to| in_room[to]).for_each(|to| down[to].push_back(Some((member, seq))));
                    }
                }
                4..=7 => match down[who].pop_front() {
                    Some(Some((publisher, seq))) => {
                        assert_eq!(checker.deliver(0, member, publisher, seq), Verdict::Fresh, "{seed}");
                    }
                    Some(None) => {
                        joined[who] = true;
                        checker.on_joined(0, member);
                    }
                    None => {}
                },
                8..=10 if joined[who] => up[who].push_back(checker.publish(0, member)),
                11 if joined[who] && below(4) == 0 => {
                    (in_room[who], joined[who]) = (false, false);
                    down[who].clear();
                    checker.on_closed(0, member);
                }
                11 if !in_room[who] => {
                    in_room[who] = true;
                    down[who].push_back(None);
                }
                _ => {}
            }
        }
        for (publisher, queue) in (0..).zip(&mut up) {
            while let Some(seq) = queue.pop_front() {
                (0..4).filter(|&to| in_room[to]).for_each(|to| down[to].push_back(Some((publisher, seq))));
            }
        }
        (0..).zip(&mut down).for_each(|(member, queue)| read_all(&mut checker, member, queue));
        assert_eq!(checker.pending(), 0, "{seed}");
        // What every member passed is forgotten: only what a member's next delivery will settle stays.
        if checker.members.iter().all(|member| !member.joined || member.cursor.is_some()) {
            settled += 1;
            assert!(checker.rooms[0].log.len() < 8, "{seed}: {:?}", (&checker.rooms[0].log, &checker.members));
        }
        let faults = finish(checker);
        let Faults { owed_to_closed, order_unchecked, .. } = faults;
        assert_eq!(faults, Faults { owed_to_closed, order_unchecked, ..NONE }, "{seed}");
        unchecked += order_unchecked;
    }
    assert!(settled > 100 && unchecked < 100, "{settled} {unchecked}");
}

#[test]
fn a_slow_reader_may_miss_but_gets_nothing_twice() {
    let mut checker = Checker::new(&[RoomShape { members: 2, publishers: 1 }]);
    checker.exempt(0, 1);
    (0..2).for_each(|member| checker.on_joined(0, member));
    (0..5).for_each(|_| {
        checker.publish(0, 0);
    });
    assert_eq!((checker.pending(), checker.members_open(0)), (5, 1));
    (1..=5).for_each(|seq| {
        checker.deliver(0, 0, 0, seq);
    });
    for (seq, verdict) in [(2, Verdict::Fresh), (5, Verdict::Fresh), (5, Verdict::Faulty), (4, Verdict::Faulty)] {
        assert_eq!(checker.deliver(0, 1, 0, seq), verdict, "{seq}");
    }
    checker.on_server_seq(0, 1, 7);
    checker.on_server_seq(0, 1, 70);
    checker.on_closed(0, 1);
    assert_eq!(finish(checker), Faults { duplicated: 2, ..NONE });
}

/// A room of three in which publishers do not get their own, with such an order.
fn silent(order: Order) -> Checker {
    let shape = RoomShape { members: 3, publishers: 3 };
    let mut checker = Checker::with_promises(&[(shape, Promise { to_sender: false, order })], false);
    (0..3).for_each(|member| checker.on_joined(0, member));
    checker
}

/// As `check`, where publishers do not get their own.
fn check_silent(order: Order, sent: u32, deliveries: &[(u32, u32, u32)], expected: Faults) {
    let mut checker = silent(order);
    for number in 0..sent {
        checker.publish(0, number % 3);
    }
    let expected_count = u64::from(2 * sent);
    assert_eq!(checker.pending(), expected_count);
    for &(member, publisher, seq) in deliveries {
        checker.deliver(0, member, publisher, seq);
    }
    assert_eq!(finish(checker), expected, "{order:?} {deliveries:?}");
}

/// What reaches each member when nobody gets its own.
fn to_others(order: &[(u32, u32)]) -> Vec<(u32, u32, u32)> {
    all(order).into_iter().filter(|(member, publisher, _)| member != publisher).collect()
}

#[test]
fn publishers_without_their_own_lack_nothing_and_each_loss_is_still_found() {
    for order in [Order::Room, Order::Publisher, Order::None] {
        check_silent(order, 6, &to_others(&ORDER), NONE);
        for lost in 0..12 {
            let mut deliveries = to_others(&ORDER);
            deliveries.remove(lost);
            check_silent(order, 6, &deliveries, Faults { lost: 1, ..NONE });
        }
        check_silent(order, 6, &[], Faults { lost: 12, ..NONE });
    }
}

#[test]
fn ones_own_that_comes_nevertheless_is_a_duplicate() {
    let mut deliveries = to_others(&ORDER);
    deliveries.push((0, 0, 1));
    check_silent(Order::Room, 6, &deliveries, Faults { duplicated: 1, ..NONE });
}

#[test]
fn members_without_their_own_may_come_and_go() {
    let mut checker = silent(Order::Room);
    let round = |checker: &mut Checker, seq: u32, members: &[u32]| {
        for &publisher in members {
            assert_eq!(checker.publish(0, publisher), seq);
            assert_eq!(checker.receivers(0, publisher), u32::try_from(members.len()).unwrap() - 1);
        }
        for &member in members {
            for &publisher in members.iter().filter(|&&publisher| publisher != member) {
                assert_eq!(checker.deliver(0, member, publisher, seq), Verdict::Fresh);
            }
        }
    };
    round(&mut checker, 1, &[0, 1, 2]);
    checker.on_closed(0, 2);
    round(&mut checker, 2, &[0, 1]);
    checker.on_joined(0, 2);
    for publisher in [0, 1] {
        assert_eq!(checker.publish(0, publisher), 3);
    }
    // Its own goes on where it ended.
    assert_eq!(checker.publish(0, 2), 2);
    for (member, publisher, seq) in [(0, 1, 3), (0, 2, 2), (1, 0, 3), (1, 2, 2), (2, 0, 3), (2, 1, 3)] {
        assert_eq!(checker.deliver(0, member, publisher, seq), Verdict::Fresh);
    }
    assert_eq!((checker.pending(), checker.rooms[0].log.len()), (0, 0));
    assert_eq!(finish(checker), NONE);
}

#[test]
fn an_order_that_is_not_promised_is_not_asked_for() {
    let swapped: Vec<_> = {
        let mut deliveries = all(&ORDER);
        // Two publishers' for one member, and one publisher's two for another.
        deliveries.swap(0, 1);
        deliveries.swap(6, 9);
        deliveries
    };
    for (order, out_of_order) in [(Order::None, 0), (Order::Publisher, 1)] {
        let shape = RoomShape { members: 3, publishers: 3 };
        let mut checker = Checker::with_promises(&[(shape, Promise { to_sender: true, order })], false);
        (0..3).for_each(|member| checker.on_joined(0, member));
        for number in 0..6 {
            checker.publish(0, number % 3);
        }
        for &(member, publisher, seq) in &swapped {
            checker.deliver(0, member, publisher, seq);
        }
        assert_eq!(finish(checker), Faults { out_of_order, ..NONE }, "{order:?}");
    }
}

#[test]
fn what_may_be_left_out_is_never_lost_but_comes_once_and_forwards() {
    let shape = RoomShape { members: 2, publishers: 1 };
    let book = || {
        let mut checker = Checker::with_promises(&[(shape, Promise::default())], true);
        (0..2).for_each(|member| checker.on_joined(0, member));
        (1..=5).for_each(|seq| assert_eq!(checker.publish_loose(0, 0), seq));
        checker
    };
    for (deliveries, duplicated) in [(&[][..], 0), (&[2, 5], 0), (&[1, 2, 3, 4, 5], 0), (&[2, 2], 1), (&[3, 2], 1)] {
        let mut checker = book();
        assert_eq!(checker.pending(), 0);
        for &seq in deliveries {
            checker.deliver_loose(0, 1, 0, seq);
        }
        assert_eq!(finish(checker), Faults { duplicated, ..NONE }, "{deliveries:?}");
    }
    let mut checker = book();
    checker.deliver_loose(0, 0, 0, 6);
    assert_eq!(checker.faults(), Faults { corrupted: 1, ..NONE });
    // The two books do not mix.
    assert_eq!(checker.publish(0, 0), 1);
    assert_eq!(checker.pending(), 2);
}

/// Three members that are read in any interleaving, of whom one never gets one publish: that is one loss, whatever else.
#[test]
fn a_loss_is_no_disorder_in_any_interleaving() {
    for seed in 1..500u64 {
        let mut below = draws(seed);
        let mut checker = joined(3, 1);
        let (who, what) = (below(3), u32::try_from(below(12)).unwrap() + 1);
        let mut queues: Vec<VecDeque<u32>> = (0..3).map(|_| (1..=12).collect()).collect();
        queues[who].retain(|&seq| seq != what);
        for _ in 0..12 {
            checker.publish(0, 0);
        }
        let mut trace = Vec::new();
        while queues.iter().any(|queue| !queue.is_empty()) {
            let member = u32::try_from(below(3)).unwrap();
            if let Some(seq) = queues[index(member)].pop_front() {
                checker.deliver(0, member, 0, seq);
                trace.push((member, seq, checker.faults().out_of_order));
            }
        }
        assert_eq!(finish(checker), Faults { lost: 1, ..NONE }, "{seed} {who} {what} {trace:?}");
    }
}

#[test]
fn faults_are_named_by_member_publisher_and_number() {
    let mut checker = joined(2, 2);
    for number in 0..12 {
        checker.publish(0, number % 2);
    }
    // The first gets everything; of publisher 0 the second lacks 2, 3 and 6, gets 4 twice and 5 not before 6.
    for seq in 1..=6 {
        for publisher in 0..2 {
            checker.deliver(0, 0, publisher, seq);
        }
    }
    for (publisher, seq) in [(0, 1), (1, 1), (1, 2), (0, 4), (0, 4), (1, 4), (1, 3), (0, 5), (1, 5)] {
        checker.deliver(0, 1, publisher, seq);
    }
    checker.on_corrupt(0, 1);
    checker.on_wrong_room(0, 0, 77, 3);
    checker.on_server_seq(0, 1, 5);
    checker.on_server_seq(0, 1, 7);
    checker.on_bad_json(0, 0);
    assert_eq!(checker.deliver(0, 1, 0, 7), Verdict::Faulty);
    let (faults, findings) = checker.finish();
    assert_eq!(
        faults,
        Faults { lost: 4, duplicated: 1, out_of_order: 1, corrupted: 2, wrong_room: 1, seq_gaps: 1, json: 1, ..NONE }
    );
    let named: Vec<(u32, What)> = findings.iter().map(|finding| (finding.member, finding.what)).collect();
    let publish = |publisher, number| Publish { publisher, number };
    assert_eq!(
        named,
        [
            (1, What::Duplicated(publish(0, 4))),
            (1, What::OutOfOrder { late: publish(1, 3), after: 4 }),
            (1, What::Corrupted),
            (0, What::WrongRoom { connection: 77, number: 3 }),
            (1, What::SeqGap { before: 5, came: 7 }),
            (0, What::Json),
            (1, What::NeverSent(publish(0, 7))),
            (1, What::Lost { publisher: 0, first: 2, last: 3 }),
            (1, What::Lost { publisher: 0, first: 6, last: 6 }),
            (1, What::Lost { publisher: 1, first: 6, last: 6 }),
        ]
    );
}

#[test]
fn only_the_first_of_each_kind_are_named() {
    let mut checker = joined(1, 1);
    let count = u32::try_from(FINDINGS_COUNT_MAX).unwrap() + 1;
    for seq in 1..=count {
        checker.publish(0, 0);
        checker.deliver(0, 0, 0, seq);
        checker.deliver(0, 0, 0, seq);
        checker.publish_loose(0, 0);
    }
    checker.on_corrupt(0, 0);
    let (faults, findings) = checker.finish();
    assert_eq!(faults, Faults { duplicated: u64::from(count), corrupted: 1, ..NONE });
    assert_eq!(findings.len(), FINDINGS_COUNT_MAX + 1);
    assert_eq!(findings[0].what, What::Duplicated(Publish { publisher: 0, number: 1 }));
    assert_eq!(findings[FINDINGS_COUNT_MAX].what, What::Corrupted);
}

#[test]
fn what_is_over_the_bound_of_missing_numbers_is_counted_and_named_once() {
    let most = u32::try_from(MISSING_COUNT_MAX).unwrap();
    for (last, over) in
        [(most + 1, None), (most + 2, Some((most + 1, most + 1))), (most + 4, Some((most + 1, most + 3)))]
    {
        let mut checker = joined(1, 1);
        for _ in 0..last {
            checker.publish(0, 0);
        }
        checker.deliver(0, 0, 0, last);
        assert_eq!(checker.pending(), u64::from(most));
        let (faults, findings) = checker.finish();
        assert_eq!(faults, Faults { lost: u64::from(last - 1), ..NONE });
        let named: Vec<What> = findings.iter().map(|finding| finding.what).collect();
        let lost = |(first, last)| What::Lost { publisher: 0, first, last };
        let expected: Vec<What> = over.into_iter().chain([(1, most)]).map(lost).collect();
        assert_eq!(named, expected);
    }
}
