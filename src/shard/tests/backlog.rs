//! Those who are behind: what a turn spends on them, in which order they have their turns, and what goes before them.

use super::keeping::{epoch_of, join, start};
use super::*;
use crate::limits::{
    BATCH_BYTES_MAX, MESSAGE_BYTES_MAX, PROBE_MS, REPLAY_BYTES_PER_TURN, REPLAY_WRITES_PER_TURN, VISITS_PER_TURN_MAX,
};

/// What one write may have beyond the bytes after which it takes no further frame: the frame that goes over them.
const FRAME_BYTES: usize = MESSAGE_BYTES_MAX + 1024;

/// The writes of one turn: to whom, and how many bytes.
struct Turn {
    live: Vec<(Who, usize)>,
    behind: Vec<(Who, usize)>,
}

impl Turn {
    /// Bytes of those who are behind, which are bounded whoever comes.
    fn spent(&self) -> usize {
        let spent: usize = self.behind.iter().map(|(_, bytes)| bytes).sum();
        let before = spent - self.behind.last().map_or(0, |(_, bytes)| *bytes);
        assert!(before < REPLAY_BYTES_PER_TURN, "a write began although {before} bytes were spent");
        assert!(spent < REPLAY_BYTES_PER_TURN + BATCH_BYTES_MAX + FRAME_BYTES, "{spent}");
        assert!(self.behind.len() <= REPLAY_WRITES_PER_TURN, "{} writes", self.behind.len());
        spent
    }

    fn wrote_live(&self, who: Who) -> bool {
        self.live.iter().any(|(other, _)| *other == who)
    }
}

/// One turn of the first host, as the host has it: what writes bring about is for the next one.
fn turn(world: &mut World) -> Turn {
    let (shard, effects) = &mut world.hosts[0];
    shard.fan_out(world.now, false, effects);
    flush(world)
}

/// The writes alone, as they are for those who are let in when the visits are made.
fn flush(world: &mut World) -> Turn {
    world.writes.clear();
    for effect in std::mem::take(&mut world.hosts[0].1.list) {
        world.perform(0, effect);
    }
    let taken = |world: &mut World| world.writes.drain(..).map(|(who, _, bytes)| (who, bytes)).collect();
    let live: Vec<(Who, usize)> = taken(world);
    while let Some(id) = world.hosts[0].0.next_behind() {
        world.write(0, id);
    }
    let behind: Vec<(Who, usize)> = taken(world);
    let mut all: Vec<Who> = live.iter().chain(&behind).map(|(who, _)| *who).collect();
    all.sort_unstable();
    assert!(all.windows(2).all(|two| two[0] != two[1]), "a connection is written to at most once a turn: {all:?}");
    Turn { live, behind }
}

/// Publishes so many large events of so many bytes.
fn fill_up(world: &mut World, author: Who, (count, bytes): (usize, usize)) {
    for id in 0..count {
        world.say(author, &publish("chat:s", &format!("{bytes} {id}"), &json!({ "pad": "x".repeat(bytes) })));
    }
    world.heard(author);
}

/// A room with so many events of so many bytes, in which nobody is any more, and its epoch.
fn room(world: &mut World, events: (usize, usize)) -> String {
    let author = world.known("/ws", "ann");
    let epoch = epoch_of(&join(world, author, "chat:s", None));
    fill_up(world, author, events);
    world.say(author, r#"{"type":"unsubscribe","channels":["chat:s"]}"#);
    epoch
}

/// A client comes back to the room, of which it has missed everything. Nothing is done about it yet.
fn come_back(world: &mut World, who: Who, epoch: &str) {
    let since = json!({ "chat:s": { "epoch": epoch, "seq": 0 } });
    world.put(who, &text(&json!({ "type": "subscribe", "channels": ["chat:s"], "since": since }).to_string()));
}

/// Clients that come back together to a room with so many events of so many bytes.
fn storm(world: &mut World, readers: usize, events: (usize, usize)) -> Vec<Who> {
    let epoch = room(world, events);
    let readers: Vec<Who> = (0..readers).map(|_| world.known("/ws", "bob")).collect();
    for who in &readers {
        world.heard(*who);
        come_back(world, *who, &epoch);
    }
    readers
}

#[test]
fn a_turn_spends_so_many_bytes_on_those_who_are_behind_and_the_others_stand_in_line() {
    let mut world = World::new();
    let readers = storm(&mut world, 100, (2, 30_000));
    let (mut served, mut first) = (Vec::new(), 0);
    while served.len() < readers.len() {
        let turn = turn(&mut world);
        let spent = turn.spent();
        served.extend(turn.behind.iter().map(|(who, _)| *who));
        first = if first == 0 { served.len() } else { first };
        assert!(spent >= REPLAY_BYTES_PER_TURN || served.len() == readers.len(), "{spent}: bytes are left");
    }
    served.sort_unstable();
    assert_eq!(served, readers, "each once");
    assert!(readers.iter().all(|who| seqs(&world.heard(*who), "note") == [1, 2]));
    assert!(!world.hosts[0].0.has_behind());
    assert_eq!(world.read(Metric::ReplaysLate), (readers.len() - first) as u64, "once for each");
}

#[test]
fn a_turn_begins_so_many_writes_to_those_who_are_behind_however_small_they_are() {
    for (readers, left) in
        [(REPLAY_WRITES_PER_TURN - 1, false), (REPLAY_WRITES_PER_TURN, false), (REPLAY_WRITES_PER_TURN + 1, true)]
    {
        let mut world = World::new();
        let readers = storm(&mut world, readers, (1, 10));
        assert_eq!(turn(&mut world).behind.len(), readers.len().min(REPLAY_WRITES_PER_TURN));
        assert_eq!(world.hosts[0].0.has_behind(), left);
        assert_eq!(turn(&mut world).behind.len(), usize::from(left));
    }
}

#[test]
fn one_alone_that_comes_back_is_served_in_its_turn_with_one_write() {
    let mut world = World::new();
    let readers = storm(&mut world, 1, (3, 100));
    let turn = turn(&mut world);
    assert_eq!((turn.live.len(), turn.behind.len()), (0, 1));
    assert_eq!(world.heard_words(readers[0]), ["subscribe_response", "subscribed", "note", "note", "note"]);
    assert_eq!(world.read(Metric::ReplaysLate), 0);
}

#[test]
fn who_is_let_in_behind_the_visits_gets_its_answer_with_what_it_has_missed_as_long_as_its_turn_is_sure() {
    let sure = REPLAY_BYTES_PER_TURN / (2 * BATCH_BYTES_MAX);
    for count in [1, sure, sure + 1, sure + 5] {
        let mut world = World::new();
        let readers = storm(&mut world, count, (3, 1000));
        let turn = flush(&mut world);
        assert_eq!((turn.behind.len(), turn.live.len()), (count.min(sure), count.saturating_sub(sure)));
        assert!(turn.behind.iter().all(|(_, bytes)| *bytes > 3000), "all in one write");
        assert!(turn.live.iter().all(|(_, bytes)| *bytes < 1000), "the others are answered at once");
        world.run();
        for who in readers {
            assert_eq!(world.heard_words(who), ["subscribe_response", "subscribed", "note", "note", "note"]);
        }
    }
}

#[test]
fn who_is_owed_more_waits_until_everybody_had_a_turn() {
    for kept in [false, true] {
        let mut world =
            if kept { start(Memory::default(), None, |options| options.retention.count = 1) } else { World::new() };
        let readers = storm(&mut world, 20, (14, 60_000));
        let mut counts = HashMap::new();
        for _ in 0..1000 {
            let turn = turn(&mut world);
            turn.spent();
            for (who, _) in turn.behind.iter().filter(|(_, bytes)| *bytes > 50_000) {
                *counts.entry(*who).or_insert(0) += 1;
            }
            let all = || readers.iter().map(|who| counts.get(who).copied().unwrap_or(0));
            // Who waits for the store stands in no line meanwhile.
            let ahead = if kept { 2 } else { 1 };
            assert!(all().max().unwrap() <= all().min().unwrap() + ahead, "{kept}: somebody was passed by: {counts:?}");
            world.turn_of_the_store();
        }
        for who in readers {
            assert_eq!(seqs(&world.heard(who), "note"), (1..=14).collect::<Vec<_>>(), "{kept}");
        }
    }
}

#[test]
fn a_live_event_goes_out_in_its_turn_before_a_thousand_who_are_behind() {
    let mut world = World::new();
    let (listener, speaker) = (world.known("/ws/chat/live", "eve"), world.known("/ws/chat/live", "sam"));
    let readers = storm(&mut world, 1000, (1, 20_000));
    world.heard(listener);
    for round in 0..10 {
        world.put(speaker, &text(&publish("chat:live", &round.to_string(), &json!({ "round": round }))));
        let turn = turn(&mut world);
        turn.spent();
        assert_eq!(seqs(&world.heard(listener), "note"), [round + 1], "in the turn in which it was sent");
        assert!(turn.wrote_live(listener) && turn.wrote_live(speaker));
        assert!(!turn.live.iter().any(|(who, bytes)| readers.contains(who) && *bytes > 20_000));
    }
    world.run();
    assert!(readers.iter().all(|who| seqs(&world.heard(*who), "note") == [1]));
}

/// Whatever storms there are, between two writes to somebody who is up to date lie at most a turn's bytes of what others
/// have missed, and all get all of it in its order.
#[test]
fn between_two_events_of_a_live_member_lies_a_bounded_part_of_any_storm() {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |end: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random % end as u64).unwrap()
    };
    for _ in 0..12 {
        let mut world = World::with(|options| (options.retention.count, options.retention.bytes) = (1000, 1 << 30));
        let (count, bytes) = (1 + below(80), [10, 3_000, 60_000][below(3)]);
        let count = count.min(1_500_000 / bytes);
        let (listener, speaker) = (world.known("/ws/chat/live", "eve"), world.known("/ws/chat/s", "sam"));
        let epoch = room(&mut world, (count, bytes));
        let mut outside: Vec<Who> = (0..20 + below(100)).map(|_| world.known("/ws", "bob")).collect();
        let mut readers = Vec::new();
        outside.iter().chain([&listener, &speaker]).for_each(|who| drop(world.heard(*who)));
        let (mut said, mut heard) = (0, 0);
        for _ in 0..300 {
            for _ in 0..below(40).min(outside.len()) {
                let who = outside.swap_remove(below(outside.len()));
                come_back(&mut world, who, &epoch);
                // Some of them read little at a time.
                if below(4) == 0 {
                    world.sockets[who].room = below(2 * BATCH_BYTES_MAX);
                }
                readers.push(who);
            }
            for channel in ["chat:live", "chat:s"] {
                said += 1;
                let id = said.to_string();
                world.put(speaker, &text(&publish(channel, &id, &json!({}))));
            }
            let turn = turn(&mut world);
            turn.spent();
            assert!(turn.wrote_live(listener) && turn.wrote_live(speaker), "nobody is in their way");
            heard += seqs(&world.heard(listener), "note").len();
            assert_eq!(heard * 2, said);
            for who in &readers {
                if std::mem::take(&mut world.sockets[*who].full) {
                    world.sockets[*who].room = usize::MAX;
                    let id = world.sockets[*who].id;
                    world.handle(0, Input::Writable(id));
                }
            }
        }
        world.run();
        let last = world.heard(speaker).iter().filter_map(|frame| frame["seq"].as_u64()).max().unwrap();
        for who in readers {
            assert_eq!(seqs(&world.heard(who), "note"), (1..=last).collect::<Vec<_>>());
        }
    }
}

#[test]
fn what_was_missed_waits_for_its_turn_also_where_its_room_was_not_visited_yet() {
    let mut world = World::new();
    let epoch = room(&mut world, (1, 20_000));
    let speaker = world.legacy("/ws", "sam");
    let crowd: Vec<Who> = (0..2 * VISITS_PER_TURN_MAX).map(|_| world.legacy("/ws/chat/crowd", "eve")).collect();
    let who = world.known("/ws", "bob");
    let message = json!({ "type": "publish", "payload": { "channel": "chat:crowd", "type": "note", "payload": {} } });
    world.put(speaker, &text(&message.to_string()));
    come_back(&mut world, who, &epoch);
    let turns: Vec<Turn> = (0..4).map(|_| turn(&mut world)).collect();
    let place = |writes: &[(Who, usize)]| writes.iter().find(|(other, _)| *other == who).map(|(_, bytes)| *bytes);
    let behind = turns.iter().position(|turn| place(&turn.behind).is_some()).unwrap();
    assert!(turns.iter().filter_map(|turn| place(&turn.live)).all(|bytes| bytes < 1000), "it was answered before");
    assert!(place(&turns[behind].behind).unwrap() > 20_000);
    assert_eq!(world.heard_words(who), ["subscribe_response", "subscribed", "note"]);
    assert!(crowd.into_iter().all(|who| seqs(&world.heard(who), "note") == [1]));
}

#[test]
fn who_goes_or_is_closed_in_line_is_in_nobodys_way() {
    let mut world = World::new();
    let readers = storm(&mut world, 200, (2, 60_000));
    turn(&mut world);
    let waiting: Vec<Who> = readers.iter().copied().filter(|who| world.heard(*who).is_empty()).collect();
    for who in waiting.iter().step_by(2) {
        let id = world.sockets[*who].id;
        world.handle(0, Input::Gone(id));
    }
    world.put(waiting[1], &masked(8, &1000_u16.to_be_bytes()));
    let last = waiting.iter().copied().skip(3).step_by(2);
    world.run();
    assert!(waiting.iter().step_by(2).all(|who| world.heard(*who).is_empty()));
    assert_eq!(world.heard_words(waiting[1]), ["subscribe_response", "close 1000"]);
    last.for_each(|who| assert_eq!(seqs(&world.heard(who), "note"), [1, 2]));
    assert!(!world.hosts[0].0.has_behind());
}

/// The readers of a storm who have not had their turn yet, after the first one.
fn who_waits(world: &mut World) -> Vec<Who> {
    let readers = storm(world, 200, (2, 60_000));
    turn(world);
    let waiting: Vec<Who> = readers.into_iter().filter(|who| world.sockets[*who].taken.is_empty()).collect();
    assert!(waiting.len() > 100);
    waiting
}

#[test]
fn who_is_closed_hears_so_in_the_next_turn_however_long_the_line_is() {
    let mut world = World::new();
    let mut waiting = who_waits(&mut world);
    let closed = waiting.pop().unwrap();
    world.put(closed, &masked(8, &1000_u16.to_be_bytes()));
    let next = turn(&mut world);
    assert!(next.wrote_live(closed) && !next.behind.is_empty());
    assert_eq!(world.heard_words(closed), ["subscribe_response", "close 1000"]);
    world.run();
    waiting.iter().for_each(|who| assert_eq!(seqs(&world.heard(*who), "note"), [1, 2]));
    assert!(!world.hosts[0].0.has_behind());
}

#[test]
fn who_could_not_be_asked_yet_whether_it_lives_is_not_given_up() {
    let mut world = World::new();
    let last = who_waits(&mut world).pop().unwrap();
    let id = world.sockets[last].id;
    let (shard, effects) = &mut world.hosts[0];
    shard.on_probe(world.now, id, effects);
    let late_ms = PROBE_MS + 2 * WHEEL_SLOT_MS;
    (world.now.micros, world.now.unix_ms) = (world.now.micros + late_ms * 1000, world.now.unix_ms + late_ms);
    shard.on_time(world.now, effects);
    assert!(world.is_open(last));
    world.run();
    assert!(world.heard_words(last).contains(&"ping frame".to_owned()));
    world.wait(late_ms);
    assert!(!world.is_open(last), "it was asked and says nothing");
}

#[test]
fn sockets_that_take_bytes_again_together_are_written_to_in_turns() {
    let mut world = World::new();
    let author = world.known("/ws", "ann");
    let readers: Vec<Who> = (0..40).map(|_| world.known("/ws/chat/s", "bob")).collect();
    readers.iter().for_each(|who| world.sockets[*who].room = 0);
    fill_up(&mut world, author, (4, 50_000));
    for who in &readers {
        let id = world.sockets[*who].id;
        (world.sockets[*who].room, world.sockets[*who].full) = (usize::MAX, false);
        world.handle(0, Input::Writable(id));
    }
    let mut turns = 0;
    while readers.iter().any(|who| world.sockets[*who].taken.len() < 4 * 50_000) {
        let turn = turn(&mut world);
        assert!(turn.spent() > 0 && turn.live.is_empty());
        turns += 1;
    }
    assert!(turns >= 40 * 4 * 50_000 / (REPLAY_BYTES_PER_TURN + BATCH_BYTES_MAX), "{turns}");
    assert!(readers.iter().all(|who| seqs(&world.heard(*who), "note") == [1, 2, 3, 4]));
}
