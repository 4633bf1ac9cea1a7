use super::*;
use crate::ids::ShardId;

const ANN: UserKey = UserKey([1, 1]);
const BOB: UserKey = UserKey([1, 2]);
const NOW: Millis = Millis(1_000_000);

fn conn(slot: u32) -> ConnId {
    ConnId { shard: ShardId(0), slot, generation: 1 }
}

fn seat(slot: u32, resource: u64) -> Seat {
    Seat { conn: conn(slot), since_s: slot, resource }
}

fn users(change: impl FnOnce(&mut Limits)) -> Users {
    let mut limits = Limits::default();
    change(&mut limits);
    Users::new(&limits)
}

fn slots(users: &Users, key: UserKey) -> Vec<u32> {
    users.seats(key).map(|seat| seat.conn.slot).collect()
}

#[test]
fn over_the_count_on_a_resource_the_oldest_there_goes_and_no_other() {
    for (count, expected) in [(2, None), (3, None), (4, Some(1)), (5, Some(2))] {
        let mut users = users(|_| {});
        assert_eq!(users.check_in(ANN, seat(100, 7), 3, NOW), CheckedIn::In, "on another resource");
        assert_eq!(users.check_in(BOB, seat(200, 8), 3, NOW), CheckedIn::In, "another user");
        let last = (1..=count).map(|slot| users.check_in(ANN, seat(slot, 8), 3, NOW)).last();
        assert_eq!(last, Some(expected.map_or(CheckedIn::In, |slot| CheckedIn::InPlaceOf(conn(slot)))));
        assert_eq!(slots(&users, ANN).len(), 1 + count.min(3) as usize);
        assert_eq!((slots(&users, ANN)[0], slots(&users, BOB)), (100, vec![200]));
    }
}

#[test]
fn the_oldest_of_all_may_be_the_one_that_goes() {
    let mut users = users(|_| {});
    for slot in 1..=2 {
        users.check_in(ANN, seat(slot, 8), 1, NOW);
    }
    assert_eq!(slots(&users, ANN), [2]);
    assert_eq!(users.check_in(ANN, seat(3, 8), 1, NOW), CheckedIn::InPlaceOf(conn(2)));
}

#[test]
fn over_the_count_of_a_user_the_new_one_is_refused_unless_it_takes_the_place_of_another() {
    for (count, expected) in [(1, CheckedIn::In), (2, CheckedIn::In), (3, CheckedIn::Full)] {
        let mut users = users(|limits| limits.connections_per_user = 2);
        let last = (1..=count).map(|slot| users.check_in(ANN, seat(slot, slot.into()), 1, NOW)).last();
        assert_eq!(last, Some(expected));
        assert_eq!(users.check_in(ANN, seat(9, 1), 1, NOW), CheckedIn::InPlaceOf(conn(1)));
    }
}

#[test]
fn who_leaves_makes_room_and_the_last_takes_the_entry_along() {
    let mut users = users(|limits| limits.connections_per_user = 3);
    for slot in 1..=3 {
        users.check_in(ANN, seat(slot, 0), 0, NOW);
    }
    users.leave(ANN, conn(1), 0, NOW);
    users.leave(ANN, conn(9), 0, NOW);
    assert_eq!(slots(&users, ANN), [2, 3]);
    assert_eq!(users.check_in(ANN, seat(4, 0), 0, NOW), CheckedIn::In);
    for slot in 2..=4 {
        users.leave(ANN, conn(slot), 0, NOW);
    }
    assert!(users.users.is_empty());
    users.leave(ANN, conn(4), 0, NOW);
}

/// How many messages a connection is lent until it is told to wait.
fn drain(users: &mut Users, key: UserKey, conn: ConnId, now: Millis) -> (u32, Lent) {
    let mut all = 0;
    loop {
        match users.lend(key, conn, now) {
            Lent::Messages(count) => all += u32::from(count),
            other => return (all, other),
        }
    }
}

#[test]
fn a_user_gets_exactly_the_minutes_worth_and_then_what_time_earns() {
    let mut users = users(|_| {});
    users.check_in(ANN, seat(1, 0), 0, NOW);
    assert_eq!(users.lend(ANN, conn(1), NOW), Lent::Messages(LEASE_MESSAGES_MAX));
    let (rest, last) = drain(&mut users, ANN, conn(1), NOW);
    assert_eq!((u32::from(LEASE_MESSAGES_MAX) + rest, last), (600, Lent::Late(100)));
    assert_eq!(users.lend(ANN, conn(1), Millis(NOW.0 + 99)), Lent::Late(1));
    assert_eq!(drain(&mut users, ANN, conn(1), Millis(NOW.0 + 1000)).0, 10);
    assert_eq!(users.lend(BOB, conn(1), NOW), Lent::Late(UNKNOWN_WAIT_MS), "who is not checked_in gets none");
}

#[test]
fn leaving_gives_unused_messages_back_and_coming_back_does_not_renew_the_used() {
    let mut users = users(|_| {});
    users.check_in(ANN, seat(1, 0), 0, NOW);
    assert_eq!(drain(&mut users, ANN, conn(1), NOW).0, 600);
    users.leave(ANN, conn(1), 40, NOW);
    users.check_in(ANN, seat(2, 0), 0, NOW);
    assert_eq!(drain(&mut users, ANN, conn(2), NOW).0, 40);
    users.leave(ANN, conn(2), 0, NOW);
    users.check_in(ANN, seat(3, 0), 0, Millis(NOW.0 + 60_000));
    assert_eq!(drain(&mut users, ANN, conn(3), Millis(NOW.0 + 60_000)).0, 600);
}

#[test]
fn what_lies_unused_on_other_connections_is_recalled_before_anybody_is_refused() {
    let mut users = users(|_| {});
    for slot in 1..=3 {
        users.check_in(ANN, seat(slot, 0), 0, NOW);
    }
    let held = drain(&mut users, ANN, conn(1), NOW);
    assert_eq!(held, (600, Lent::Recall(vec![conn(2), conn(3)])));
    assert_eq!(users.give_back(ANN, 0, true, NOW), []);
    // Somebody else is out too, and waits for the same answers.
    assert_eq!(users.lend(ANN, conn(2), NOW), Lent::Recall(vec![]));
    let answered = users.give_back(ANN, 5, true, NOW);
    assert_eq!(answered, [(conn(1), Lent::Messages(1)), (conn(2), Lent::Messages(1))]);
    assert_eq!(drain(&mut users, ANN, conn(2), NOW), (3, Lent::Late(100)), "nobody is asked again so soon");
    let later = Millis(NOW.0 + LEASE_RECALL_EVERY_MS);
    let (_, last) = drain(&mut users, ANN, conn(2), later);
    assert_eq!(last, Lent::Recall(vec![conn(1), conn(3)]));
    // The one who waited leaves meanwhile, and is not answered.
    users.leave(ANN, conn(2), 0, later);
    users.give_back(ANN, 1, true, later);
    assert_eq!(users.give_back(ANN, 1, true, later), []);
}

#[test]
fn as_many_connections_are_asked_in_a_round_as_the_bound_says() {
    for others in [LEASE_RECALL_COUNT_MAX - 1, LEASE_RECALL_COUNT_MAX, LEASE_RECALL_COUNT_MAX + 1] {
        let mut users = users(|_| {});
        for slot in (0..).take(others + 1) {
            users.check_in(ANN, seat(slot, 0), 0, NOW);
        }
        let (_, Lent::Recall(asked)) = drain(&mut users, ANN, conn(0), NOW) else { panic!("{others}") };
        assert_eq!(asked.len(), others.min(LEASE_RECALL_COUNT_MAX));
    }
}

#[test]
fn an_idle_connection_gives_back_without_being_asked() {
    let mut users = users(|_| {});
    users.check_in(ANN, seat(1, 0), 0, NOW);
    drain(&mut users, ANN, conn(1), NOW);
    assert_eq!(users.give_back(ANN, 30, false, NOW), []);
    assert_eq!(drain(&mut users, ANN, conn(1), NOW).0, 30);
    assert_eq!(users.give_back(BOB, 30, false, NOW), [], "who is unknown gives nothing");
}

#[test]
fn as_many_absent_users_are_remembered_as_the_bound_says() {
    for (others, forgotten) in [(USERS_ABSENT_PER_SHARD_MAX - 1, false), (2 * USERS_ABSENT_PER_SHARD_MAX, true)] {
        let mut users = users(|limits| limits.user_messages = Rate { per_minute: 1, burst: 1 });
        let pass = |users: &mut Users, key| {
            users.check_in(key, seat(1, 0), 0, NOW);
            let lent = users.lend(key, conn(1), NOW);
            users.leave(key, conn(1), 0, NOW);
            lent == Lent::Messages(1)
        };
        assert!(pass(&mut users, ANN) && !pass(&mut users, ANN));
        (0..others as u64).for_each(|other| assert!(pass(&mut users, UserKey([2, other]))));
        assert_eq!(pass(&mut users, ANN), forgotten, "{others}");
    }
}

#[test]
fn a_place_is_reserved_while_there_is_one_and_else_the_oldest_that_have_them_are_named() {
    for (count, granted) in [(1, true), (2, true), (3, true), (4, false), (5, false)] {
        let mut users = users(|_| {});
        assert_eq!(users.reserve(ANN, seat(100, 7), 3, NOW), Ok(()), "on another resource");
        let last = (1..=count).map(|slot| users.reserve(ANN, seat(slot, 8), 3, NOW)).last().unwrap();
        assert_eq!(last, if granted { Ok(()) } else { Err(vec![conn(1), conn(2), conn(3)]) }, "{count}");
        assert_eq!(slots(&users, ANN).len(), 1 + count.min(3) as usize, "nobody had to go");
    }
    let mut users = users(|limits| limits.connections_per_user = 20);
    assert!((0..20).all(|slot| users.reserve(ANN, seat(slot, slot.into()), 0, NOW).is_ok()));
    let oldest: Vec<ConnId> = (0..20).take(PROBES_MAX).map(conn).collect();
    assert_eq!(users.reserve(ANN, seat(20, 20), 0, NOW), Err(oldest), "so many of all and no more");
    users.leave(ANN, conn(3), 0, NOW);
    assert_eq!(users.reserve(ANN, seat(20, 20), 0, NOW), Ok(()));
    assert_eq!(users.check_in(ANN, seat(21, 21), 3, NOW), CheckedIn::Full, "a reserved place is taken");
}

#[test]
fn a_reserved_place_goes_along_with_its_connection_or_is_given_back() {
    let mut users = users(|_| {});
    for slot in 1..=3 {
        assert_eq!(users.reserve(ANN, seat(slot, 8), 3, NOW), Ok(()));
    }
    users.settle(ANN, conn(1), conn(11));
    users.settle(ANN, conn(3), conn(13));
    users.settle(ANN, conn(9), conn(19));
    users.settle(BOB, conn(2), conn(12));
    assert_eq!(slots(&users, ANN), [11, 2, 13]);
    for slot in [11, 2, 13] {
        users.leave(ANN, conn(slot), 0, NOW);
    }
    assert!(slots(&users, ANN).is_empty());
}
