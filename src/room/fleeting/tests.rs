//! What a member is told, whenever it is visited.

use super::*;
use crate::ids::ShardId;
use crate::room::members::Member;

const ANN: ConnId = ConnId { shard: ShardId(0), slot: 1, generation: 1 };
const TYPING_MS: u64 = 5000;

fn key(user: &str) -> Key {
    Key { topic: Topic::Typing, user: user.into(), field: "".into() }
}

fn draft(user: &str, act: Act, text: &str) -> Draft {
    let frames = vec![(Encoding::TRIPSAGE, Payload::copy_of(text.as_bytes()))];
    Draft { key: key(user), act, author: Some(ANN), audience: None, frames }
}

fn change(number: u64) -> Draft {
    let key = Key { topic: Topic::Presence, user: "".into(), field: number.to_string().into() };
    let frames = vec![(Encoding::TRIPSAGE, Payload::copy_of(format!("change {number}").as_bytes()))];
    Draft { key, act: Act::Show, author: None, audience: Some(Watch::Presence), frames }
}

fn told(fleeting: &mut Fleeting, place: u32, user: &str, watch: Watch) -> Vec<String> {
    let frames = fleeting.take(place, user, watch, Encoding::TRIPSAGE);
    frames.iter().map(|frame| String::from_utf8(frame.to_vec()).unwrap()).collect()
}

fn begin() -> Act {
    Act::Begin(Some(TYPING_MS))
}

/// Whatever was done between a member's visits, it is told of an end exactly after a beginning.
#[test]
fn an_end_is_told_to_those_who_were_told_of_the_beginning_and_to_nobody_else() {
    let acts = [begin(), begin(), Act::End, begin(), Act::End, begin(), Act::End, begin(), begin(), Act::End];
    for visits in 0..1_u32 << acts.len() {
        let mut fleeting = Fleeting::after(7);
        let mut goes_on = false;
        for (step, act) in acts.into_iter().enumerate() {
            fleeting.put(Millis(0), draft("ann", act, if act == Act::End { "stop" } else { "start" }));
            if visits & 1 << step == 0 {
                continue;
            }
            for word in told(&mut fleeting, 3, "bob", Watch::Nothing) {
                assert!(word == "start" || goes_on, "{visits:b} at {step}");
                goes_on = word == "start";
            }
            assert_eq!(goes_on, act != Act::End, "{visits:b} at {step}");
        }
        told(&mut fleeting, 3, "bob", Watch::Nothing);
        assert!(!fleeting.owes(3));
    }
}

/// The same for a member of another shard, whatever of it comes together: the home forgets what it has sent.
#[test]
fn an_end_is_told_on_another_shard_as_well() {
    let acts = [begin(), Act::End, begin(), begin(), Act::End, begin(), Act::End];
    for choices in 0..1_u32 << (2 * acts.len()) {
        let (mut home, mut mirror) = (Fleeting::after(7), Fleeting::default());
        let (mut sent, mut goes_on) = (0, false);
        for (step, act) in acts.into_iter().enumerate() {
            home.put(Millis(0), draft("ann", act, if act == Act::End { "stop" } else { "start" }));
            let last = step + 1 == acts.len();
            if last || choices & 1 << (2 * step) != 0 {
                mirror.follow(home.since(sent, false));
                sent = home.stamp();
                home.tidy(Millis(0), sent);
            }
            if last || choices & 2 << (2 * step) != 0 {
                for word in told(&mut mirror, 3, "bob", Watch::Nothing) {
                    assert!(word == "start" || goes_on, "{choices:b} at {step}");
                    goes_on = word == "start";
                }
            }
        }
        assert!(!goes_on, "{choices:b}");
    }
}

#[test]
fn the_latest_of_each_key_is_told_and_nothing_to_its_own_user() {
    let mut fleeting = Fleeting::default();
    for text in ["1", "2"] {
        fleeting.put(Millis(0), draft("ann", Act::Show, text));
        fleeting.put(Millis(0), draft("bob", Act::Show, text));
    }
    assert_eq!(told(&mut fleeting, 0, "eve", Watch::Nothing), ["2", "2"]);
    assert_eq!(told(&mut fleeting, 0, "eve", Watch::Nothing), [""; 0]);
    assert_eq!(told(&mut fleeting, 1, "ann", Watch::Nothing), ["2"]);
    assert_eq!(told(&mut fleeting, 2, "bob", Watch::Nothing), ["2"]);
}

#[test]
fn what_begins_runs_out_or_ends_with_its_connection() {
    let mut fleeting = Fleeting::default();
    fleeting.put(Millis(10), draft("ann", begin(), "start"));
    for (at, over) in [(10 + TYPING_MS - 1, false), (10 + TYPING_MS, true)] {
        assert_eq!(fleeting.over(Millis(at), None), if over { vec![key("ann")] } else { Vec::new() });
    }
    assert_eq!(fleeting.next_look(Millis(TYPING_MS)), Millis(10 + TYPING_MS));
    assert_eq!(fleeting.over(Millis(10), Some(ANN)), [key("ann")]);
    assert!(fleeting.over(Millis(10), Some(ConnId { slot: 2, ..ANN })).is_empty());
    fleeting.put(Millis(20), draft("ann", Act::End, "stop"));
    assert!(fleeting.over(Millis(99_999), Some(ANN)).is_empty());
}

#[test]
fn so_many_things_go_on_at_a_time_and_so_many_bytes() {
    let mut fleeting = Fleeting::default();
    for count in 0..FLEETING_NOTES_MAX {
        assert!(fleeting.has_room(&key(&count.to_string()), 1), "{count}");
        fleeting.put(Millis(0), draft(&count.to_string(), begin(), "x"));
    }
    assert!(!fleeting.has_room(&key("one more"), 1) && fleeting.has_room(&key("0"), 1));
    let mut fleeting = Fleeting::default();
    let users = FLEETING_BYTES_MAX / FLEETING_BYTES_PER_USER_MAX;
    for user in 1..users {
        fleeting.put(Millis(0), draft(&user.to_string(), begin(), &"x".repeat(FLEETING_BYTES_PER_USER_MAX)));
    }
    fleeting.put(Millis(0), draft("0", begin(), "x"));
    assert!(fleeting.has_room(&key("one more"), FLEETING_BYTES_PER_USER_MAX - 1));
    assert!(!fleeting.has_room(&key("one more"), FLEETING_BYTES_PER_USER_MAX));
}

#[test]
fn of_these_so_many_and_so_many_bytes_are_one_users() {
    let field = |number: usize| Key { field: number.to_string().into(), ..key("ann") };
    let mut fleeting = Fleeting::default();
    for number in 0..FLEETING_NOTES_PER_USER_MAX {
        assert!(fleeting.has_room(&field(number), 1), "{number}");
        fleeting.put(Millis(0), Draft { key: field(number), ..draft("ann", begin(), "x") });
    }
    assert!(!fleeting.has_room(&field(FLEETING_NOTES_PER_USER_MAX), 1), "one more of the same user");
    assert!(fleeting.has_room(&field(0), 1) && fleeting.has_room(&key("bob"), 1), "what goes on, and another user");
    let rest = FLEETING_BYTES_PER_USER_MAX - FLEETING_NOTES_PER_USER_MAX + 1;
    assert!(fleeting.has_room(&field(0), rest) && !fleeting.has_room(&field(0), rest + 1));
}

#[test]
fn what_everybody_knows_is_forgotten_and_what_is_too_old() {
    let mut fleeting = Fleeting::default();
    fleeting.put(Millis(0), draft("ann", Act::End, "stop"));
    fleeting.put(Millis(0), draft("bob", Act::Begin(None), "start"));
    fleeting.put(Millis(1), draft("eve", Act::Show, "cursor"));
    fleeting.tidy(Millis(1), 2);
    assert_eq!(told(&mut fleeting, 0, "joe", Watch::Nothing), ["start", "cursor"]);
    fleeting.tidy(Millis(FLEETING_AGE_MS), 2);
    assert_eq!(told(&mut fleeting, 1, "joe", Watch::Nothing), ["start", "cursor"]);
    fleeting.tidy(Millis(FLEETING_AGE_MS + 1), 2);
    assert_eq!(told(&mut fleeting, 2, "joe", Watch::Nothing), ["start"], "what goes on is not forgotten");
    assert!(!fleeting.is_empty());
}

#[test]
fn many_turns_are_told_apart_and_the_oldest_forgotten() {
    let mut fleeting = Fleeting::default();
    for _ in 0..=FLEETING_TURNS_MAX / 2 {
        fleeting.put(Millis(0), draft("ann", begin(), "start"));
        let place = u32::try_from(fleeting.stamp()).unwrap();
        told(&mut fleeting, place, "bob", Watch::Nothing);
        fleeting.put(Millis(0), draft("ann", Act::End, "stop"));
    }
    assert_eq!(told(&mut fleeting, 1, "bob", Watch::Nothing), [""; 0]);
    assert_eq!(told(&mut fleeting, 3, "bob", Watch::Nothing), ["stop"]);
}

fn whole(stamp: u64) -> Arc<Whole> {
    let frame = Payload::copy_of(format!("whole {stamp}").as_bytes());
    Arc::new(Whole { stamp, frames: vec![(Watch::Presence, Encoding::TRIPSAGE, frame)] })
}

#[test]
fn who_comes_gets_the_whole_and_then_what_changes_since() {
    let mut fleeting = Fleeting::default();
    fleeting.enter(0, Watch::Presence);
    fleeting.enter(1, Watch::Nothing);
    fleeting.put(Millis(0), change(1));
    assert_eq!(told(&mut fleeting, 0, "ann", Watch::Presence), [""; 0], "it waits for the whole");
    fleeting.put(Millis(0), change(2));
    fleeting.set_whole(whole(fleeting.stamp()));
    fleeting.put(Millis(0), change(3));
    assert_eq!(told(&mut fleeting, 0, "ann", Watch::Presence), ["whole 2", "change 3"]);
    assert_eq!(told(&mut fleeting, 1, "bob", Watch::Nothing), [""; 0]);
    fleeting.enter(2, Watch::Presence);
    assert_eq!(told(&mut fleeting, 2, "eve", Watch::Presence), [""; 0], "an earlier whole lacks it");
    assert!(fleeting.wanting);
}

#[test]
fn who_has_missed_a_change_gets_the_whole_again() {
    let mut fleeting = Fleeting::default();
    fleeting.enter(0, Watch::Presence);
    fleeting.set_whole(whole(0));
    assert_eq!(told(&mut fleeting, 0, "ann", Watch::Presence), ["whole 0"]);
    (1..=3).for_each(|number| fleeting.put(Millis(0), change(number)));
    fleeting.forget_changes();
    fleeting.put(Millis(0), change(4));
    assert!(fleeting.wanting);
    assert_eq!(told(&mut fleeting, 0, "ann", Watch::Presence), [""; 0]);
    fleeting.set_whole(whole(fleeting.stamp()));
    assert_eq!(told(&mut fleeting, 0, "ann", Watch::Presence), ["whole 4"]);
}

#[test]
fn a_follower_that_has_missed_a_change_waits_for_the_whole_again() {
    let (mut home, mut mirror) = (Fleeting::after(100), Fleeting::default());
    mirror.enter(0, Watch::Presence);
    mirror.set_whole(whole(home.stamp()));
    assert_eq!(told(&mut mirror, 0, "ann", Watch::Presence), ["whole 100"]);
    for (forgotten, expected) in [(false, vec!["change 1", "change 2"]), (true, vec![])] {
        let sent = home.stamp();
        home.put(Millis(0), change(1));
        if forgotten {
            home.forget_changes();
        }
        home.put(Millis(0), change(2));
        mirror.lack(home.left_out_since(sent));
        mirror.follow(home.since(sent, true));
        assert_eq!(told(&mut mirror, 0, "ann", Watch::Presence), expected);
        assert_eq!(mirror.wanting, forgotten);
    }
    home.renew();
    mirror.lack(home.left_out_since(home.stamp() - 1));
    assert!(mirror.wanting, "although nothing comes with it");
    mirror.set_whole(whole(home.stamp()));
    assert_eq!(told(&mut mirror, 0, "ann", Watch::Presence), [format!("whole {}", home.stamp())]);
    assert!(!mirror.owes(0));
}

#[test]
fn a_follower_tells_the_same_as_the_home() {
    let (mut home, mut mirror) = (Fleeting::after(100), Fleeting::default());
    let mut told_mirror = 0;
    for act in [begin(), Act::End, begin(), Act::End] {
        home.put(Millis(0), draft("ann", act, if act == Act::End { "stop" } else { "start" }));
        home.put(Millis(0), change(home.stamp()));
        let notes = home.since(told_mirror, true);
        assert!(home.since(told_mirror, false).len() < notes.len());
        told_mirror = home.stamp();
        mirror.follow(notes);
        assert_eq!(told(&mut mirror, 0, "bob", Watch::Nothing), told(&mut home, 0, "bob", Watch::Nothing));
    }
    (0..3 * FLEETING_NOTES_MAX as u64).for_each(|number| home.put(Millis(0), change(1000 + number)));
    mirror.follow(home.since(told_mirror, true));
    assert!(mirror.notes.len() <= 2 * FLEETING_NOTES_MAX && mirror.wanting);
}

#[test]
fn a_crowd_is_looked_at_in_parts_and_what_everybody_knows_is_forgotten_at_the_end() {
    for (members, parts) in [(LOOK_PLACES_MAX - 1, 1), (LOOK_PLACES_MAX, 1), (LOOK_PLACES_MAX + 1, 2)] {
        let mut all = Members::default();
        (0..members).for_each(|_| _ = all.enter(Member::new(0)));
        let mut fleeting = Fleeting::after(7);
        fleeting.put(Millis(0), draft("ann", Act::Show, "there"));
        let last = u32::try_from(members).unwrap() - 1;
        (0..last).for_each(|place| _ = fleeting.take(place, "bob", Watch::Nothing, Encoding::TRIPSAGE));
        let look = |fleeting: &mut Fleeting| (0..parts).map(|_| fleeting.look(&all)).collect::<Vec<_>>();
        let found = look(&mut fleeting);
        assert!(found[..parts - 1].iter().all(Option::is_none), "{members}: {found:?}");
        assert_eq!(found[parts - 1], Some(0), "{members}: the last one was told nothing");
        fleeting.take(last, "bob", Watch::Nothing, Encoding::TRIPSAGE);
        assert_eq!(look(&mut fleeting)[parts - 1], Some(8), "{members}");
        fleeting.tidy(Millis(1), 8);
        assert!(fleeting.is_empty());
    }
}

#[test]
fn a_whole_that_is_made_while_a_crowd_is_looked_at_waits_for_who_has_just_come() {
    let mut all = Members::default();
    let member = || Member { watch: Watch::Presence, ..Member::new(0) };
    (0..=LOOK_PLACES_MAX).for_each(|_| _ = all.enter(member()));
    let mut fleeting = Fleeting::after(7);
    (0..=LOOK_PLACES_MAX).for_each(|place| _ = told(&mut fleeting, u32::try_from(place).unwrap(), "b", Watch::Nothing));
    assert_eq!(fleeting.look(&all), None);
    fleeting.enter(0, Watch::Presence);
    fleeting.set_whole(whole(fleeting.stamp()));
    assert!(fleeting.look(&all).is_some());
    assert!(fleeting.owes(0), "it has not been told");
    assert_eq!(told(&mut fleeting, 0, "b", Watch::Presence).len(), 1);
    assert_eq!((fleeting.look(&all), fleeting.look(&all).is_some()), (None, true));
    assert!(fleeting.whole.is_none(), "nobody needs it any more");
}
