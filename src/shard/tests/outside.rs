//! Questions from outside: judged as messages of a connection are, answered once, a portion at a time.

use std::sync::Arc;

use super::*;
use crate::auth::Claims;
use crate::code::{CloseCode, ErrorCode};
use crate::ids::ConnectionName;
use crate::limits::{CHANNELS_LISTED_MAX, RECORD_NAMES_MAX, SWEEP_SLOTS_MAX};
use crate::route;
use crate::shard::message::Committed;
use crate::shard::message::outside::{Act, Ask, Publishing, Question, Reply, Row, Whose};
use crate::shard::message::service::Stretch;

fn claims(user: &str, service: bool) -> Arc<Claims> {
    Arc::new(Claims { user: Arc::from(user), service, caps: None, expires_at: 0, ties: None })
}

fn event(channel: &str, kind: &str, id: Option<&str>) -> Publishing {
    Publishing {
        claims: claims("svc", true),
        channel: Arc::from(channel),
        kind: Arc::from(kind),
        payload: Arc::from(&b"{\"v\":1}"[..]),
        id: id.map(Arc::from),
        exclude: None,
        priority: None,
        traceparent: None,
    }
}

pub(super) fn question(ticket: u64, ask: Ask) -> MeshMessage {
    MeshMessage::Question(Box::new(Question { ticket, ask }))
}

impl World {
    /// Asks a shard, and waits for the one answer.
    pub(super) fn ask(&mut self, host: usize, ask: Ask) -> Result<Reply, ErrorCode> {
        self.answered.clear();
        self.handle(host, Input::Mesh(ShardId::OUTSIDE, question(77, ask)));
        self.run();
        let answered = self.answered.pop().unwrap();
        assert!(self.answered.is_empty() && answered.ticket == 77);
        answered.outcome
    }

    fn ask_home(&mut self, publishing: Publishing) -> Result<Reply, ErrorCode> {
        let shards = u16::try_from(self.hosts.len()).unwrap();
        let home = route::home(&[5; 16], &publishing.channel, shards);
        self.ask(home.index(), Ask::Publish(publishing))
    }

    fn rows(&mut self, host: usize) -> Vec<Row> {
        match self.ask(host, Ask::Connections { from: 0, limit: 1000 }) {
            Ok(Reply::Connections { rows, next: None }) => rows,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_event_from_outside_is_sequenced_deduplicated_and_delivered() {
    for shards in [1, 2] {
        let mut world = World::with(|options| options.shards = shards);
        let ann = world.legacy("/ws/chat/1", "ann");
        let first = world.ask_home(event("chat:1", "note", Some("op")));
        let Ok(Reply::Sequenced(place)) = first else { panic!("{first:?}") };
        assert_eq!((place.seq.0, place.duplicate), (1, false));
        let again = world.ask_home(event("chat:1", "note", Some("op")));
        assert_eq!(again, Ok(Reply::Sequenced(Committed { duplicate: true, ..place })));
        let other = event("chat:1", "other", Some("op"));
        assert_eq!(world.ask_home(other), Err(ErrorCode::IdReused));
        let heard = world.heard(ann);
        let notes = of_type(&heard, "note");
        assert_eq!(notes.len(), 1);
        assert_eq!((&notes[0]["user_id"], &notes[0]["op_id"]), (&json!("svc"), &json!("op")));
    }
}

#[test]
fn an_event_from_outside_is_judged_as_one_of_a_connection() {
    let mut world = World::new();
    let user = |channel: &str, kind: &str| Publishing { claims: claims("ann", false), ..event(channel, kind, None) };
    for (publishing, expected) in [
        (event("chat:1", "ack", None), Err(ErrorCode::InvalidMessageFormat)),
        (event("chat:1", "chat_message", None), Ok(())),
        (event("user:bob", "note", None), Ok(())),
        (user("chat:1", "note"), Ok(())),
        (user("chat:1", "chat_message"), Err(ErrorCode::PermissionDenied)),
        (user("user:bob", "note"), Err(ErrorCode::PermissionDenied)),
        (user("*", "note"), Err(ErrorCode::PermissionDenied)),
        (event("*", "note", None), Ok(())),
        (event("*", "ack", None), Err(ErrorCode::InvalidMessageFormat)),
        (event("connection:7", "note", None), Err(ErrorCode::ChannelNotFound)),
        (event("", "note", None), Err(ErrorCode::ChannelNotFound)),
    ] {
        let name = format!("{} {} by {}", publishing.channel, publishing.kind, publishing.claims.user);
        assert_eq!(world.ask_home(publishing).map(drop), expected, "{name}");
    }
}

#[test]
fn an_event_from_outside_reaches_one_connection_all_or_all_but_one() {
    let mut world = World::with(|options| options.shards = 2);
    let people = [world.legacy("/ws/chat/1", "ann"), world.legacy("/ws/chat/2", "bob")];
    let names: Vec<(String, ConnectionName)> =
        (0..2).flat_map(|host| world.rows(host)).map(|row| (row.user.unwrap().to_string(), row.name)).collect();
    let name_of = |user: &str| names.iter().find(|(other, _)| other == user).unwrap().1;
    for (channel, exclude, expected) in [
        (format!("connection:{}", name_of("ann")), None, [1, 0]),
        ("*".to_owned(), None, [1, 1]),
        ("*".to_owned(), Some(name_of("ann")), [0, 1]),
        ("chat:1".to_owned(), None, [1, 0]),
        ("chat:1".to_owned(), Some(name_of("ann")), [0, 0]),
        ("chat:1".to_owned(), Some(name_of("bob")), [1, 0]),
    ] {
        let asked = world.ask_home(Publishing { exclude, ..event(&channel, "note", None) });
        assert!(asked.is_ok(), "{channel}: {asked:?}");
        let heard = people.map(|who| of_type(&world.heard(who), "note").len());
        assert_eq!(heard, expected, "{channel} without {exclude:?}");
    }
}

#[test]
fn history_and_members_are_for_those_who_may_see_them() {
    let mut world = World::new();
    world.legacy("/ws/chat/1", "ann");
    world.ask_home(event("chat:1", "note", None)).unwrap();
    let stretch = |channel: &str| Stretch {
        channel: Box::from(channel),
        since: None,
        until: None,
        limit: 10,
        reverse: false,
        known: true,
    };
    for (channel, user, service, may) in [
        ("chat:1", "svc", true, true),
        ("chat:none", "svc", true, true),
        ("chat:1", "bob", false, true),
        ("user:ann", "bob", false, false),
        ("user:ann", "svc", true, true),
    ] {
        let history = Ask::History { claims: claims(user, service), stretch: stretch(channel), epoch: None };
        assert_eq!(world.ask(0, history).is_ok(), may, "{channel} for {user}");
        let members = Ask::Members { claims: claims(user, service), channel: Arc::from(channel), limit: 10 };
        assert_eq!(world.ask(0, members).is_ok(), may, "{channel} for {user}");
    }
    let page = |world: &mut World, epoch, since| {
        let stretch = Stretch { since, ..stretch("chat:1") };
        let ask = Ask::History { claims: claims("svc", true), stretch, epoch };
        let Ok(Reply::History(page)) = world.ask(0, ask) else { panic!("no page") };
        serde_json::from_slice::<Value>(&page).unwrap()
    };
    let whole = page(&mut world, None, None);
    assert_eq!((whole["events"].as_array().unwrap().len(), &whole["more"]), (1, &json!(false)));
    let epoch = crate::ids::Epoch::parse(whole["epoch"].as_str().unwrap());
    let (one, other) = (Some(crate::ids::Seq(1)), Some(crate::ids::Epoch(1)));
    assert_eq!(page(&mut world, epoch, one)["events"], json!([]));
    assert_eq!(page(&mut world, other, one)["events"].as_array().unwrap().len(), 1, "of another run it says nothing");
    let ask = Ask::Members { claims: claims("svc", true), channel: Arc::from("chat:1"), limit: 0 };
    assert_eq!(world.ask(0, ask), Ok(Reply::Members { members: vec![], count: 1 }));
}

#[test]
fn connections_are_listed_counted_and_closed_a_portion_at_a_time() {
    let mut world = World::new();
    let count = SWEEP_SLOTS_MAX as usize + 2;
    for index in 0..count {
        world.legacy("/ws/chat/1", if index % 2 == 0 { "ann" } else { "bob" });
    }
    world.try_accept(0).unwrap();
    for (from, limit, rows, then) in [
        (0, 10, 10, Some(10)),
        (0, usize::MAX, SWEEP_SLOTS_MAX as usize, Some(SWEEP_SLOTS_MAX)),
        (SWEEP_SLOTS_MAX, usize::MAX, 2, None),
        (u32::MAX, 1, 0, None),
    ] {
        let Ok(Reply::Connections { rows: listed, next }) = world.ask(0, Ask::Connections { from, limit }) else {
            panic!("no list");
        };
        assert_eq!((listed.len(), next), (rows, then), "from {from}");
    }
    let Ok(Reply::Tally(first, next)) = world.ask(0, Ask::Tally { from: 0 }) else { panic!("no tally") };
    assert_eq!((first.users.len(), first.channels, next), (SWEEP_SLOTS_MAX as usize, 1, Some(SWEEP_SLOTS_MAX)));
    assert_eq!(first.queued, 0);
    let Ok(Reply::Tally(last, None)) = world.ask(0, Ask::Tally { from: SWEEP_SLOTS_MAX }) else { panic!("no tally") };
    let users: std::collections::HashSet<u64> = first.users.into_iter().chain(last.users).collect();
    let sessions: std::collections::HashSet<u64> = first.sessions.into_iter().chain(last.sessions).collect();
    assert_eq!((users.len(), sessions.len(), last.channels), (2, 1, 0));
    let sweep = |from| Ask::Sweep { from, whose: Whose::User(Arc::from("ann")), act: Act::Close(CloseCode(4000)) };
    let half = SWEEP_SLOTS_MAX as usize / 2;
    assert_eq!(world.ask(0, sweep(0)), Ok(Reply::Swept { count: half, next: Some(SWEEP_SLOTS_MAX) }));
    assert_eq!(world.ask(0, sweep(SWEEP_SLOTS_MAX)), Ok(Reply::Swept { count: 1, next: None }));
    assert_eq!(world.ask(0, sweep(0)), Ok(Reply::Swept { count: 0, next: Some(SWEEP_SLOTS_MAX) }), "once");
    assert!(words(&world.heard(0)).ends_with(&["connection_close 4000".to_owned(), "close 4000".to_owned()]));
    assert!(words(&world.heard(1)).is_empty(), "another user hears nothing");
    assert_eq!(world.hosts[0].0.metrics.read(Metric::ClosedAdmin), count as u64 / 2);
}

#[test]
fn one_connection_is_closed_by_its_name_and_taken_out_of_channels() {
    let mut world = World::new();
    let ann = world.legacy("/ws/chat/1", "ann");
    let bob = world.legacy("/ws/chat/1", "bob");
    world.say(ann, &subscribe(&["chat:2".to_owned(), "general".to_owned()]));
    world.heard(ann);
    let name = world.rows(0).into_iter().find(|row| row.user.as_deref() == Some("ann")).unwrap().name;
    let leave = |names: &[&str]| Act::Leave(names.iter().copied().map(Box::from).collect());
    let sweep = |whose: Whose, act: Act| Ask::Sweep { from: 0, whose, act };
    let asked = world.ask(0, sweep(Whose::Connection(name), leave(&["session:2", "chat:9"])));
    assert_eq!(asked, Ok(Reply::Swept { count: 1, next: None }));
    let heard = world.heard(ann);
    let gone = of_type(&heard, "unsubscribed");
    assert_eq!(gone[0]["payload"], json!({ "channel": "chat:2", "reason": "removed" }));
    let asked = world.ask(0, sweep(Whose::User(Arc::from("ann")), leave(&["chat:9"])));
    assert_eq!(asked, Ok(Reply::Swept { count: 0, next: None }));
    for (name, expected) in [(ConnectionName(name.0 ^ 1), 0), (name, 1), (name, 0)] {
        let asked = world.ask(0, sweep(Whose::Connection(name), Act::Close(CloseCode::RESTART)));
        assert_eq!(asked, Ok(Reply::Swept { count: expected, next: None }));
    }
    assert!(words(&world.heard(ann)).contains(&"close 1012".to_owned()));
    assert!(words(&world.heard(bob)).is_empty());
}

#[test]
fn no_more_channels_are_listed_than_may_be() {
    let mut world = World::new();
    let ann = world.legacy("/ws", "ann");
    let names: Vec<String> = (0..CHANNELS_LISTED_MAX).map(|index| format!("chat:{index}")).collect();
    for names in names.chunks(50) {
        world.say(ann, &subscribe(names));
    }
    assert_eq!(world.rows(0)[0].channels.len(), CHANNELS_LISTED_MAX);
    assert_eq!(world.rows(0)[0].state, "connected");
}

#[test]
fn names_are_told_by_place_and_places_by_name_so_many_at_a_time() {
    let mut world = World::new();
    world.legacy("/ws/chat/1", "ann");
    let row = world.rows(0).remove(0);
    let places = Ask::Places { connection: Some(row.name), channel: Some(Arc::from("chat:1")) };
    let Ok(Reply::Places { connection: Some(place), channel: Some(number) }) = world.ask(0, places) else {
        panic!("no places");
    };
    let known = Some((row.name, Some(Arc::from("ann"))));
    let gone = (place.slot, place.generation + 1);
    let ask = Ask::Names { connections: vec![(place.slot, place.generation), gone], channels: vec![number, u32::MAX] };
    let names =
        Reply::Names { connections: vec![known.clone(), None], channels: vec![Some(Arc::from("chat:1")), None] };
    assert_eq!(world.ask(0, ask), Ok(names));
    for (count, expected) in [
        (RECORD_NAMES_MAX - 1, RECORD_NAMES_MAX - 1),
        (RECORD_NAMES_MAX, RECORD_NAMES_MAX),
        (RECORD_NAMES_MAX + 1, RECORD_NAMES_MAX),
    ] {
        let connections = vec![(place.slot, place.generation); count];
        let Ok(Reply::Names { connections, .. }) = world.ask(0, Ask::Names { connections, channels: Vec::new() })
        else {
            panic!("no names");
        };
        assert_eq!(connections, vec![known.clone(); expected]);
    }
    let nowhere = Ask::Places { connection: None, channel: Some(Arc::from("chat:2")) };
    assert_eq!(world.ask(0, nowhere), Ok(Reply::Places { connection: None, channel: None }));
}

#[test]
fn a_drain_waits_for_the_disk_where_somebody_outside_waits_for_it() {
    let mut world = keeping::start(Memory::default(), None, |_| {});
    let ask = |world: &mut World, id: &str| {
        let publishing = event("chat:1", "note", Some(id));
        world.handle(0, Input::Mesh(ShardId::OUTSIDE, question(77, Ask::Publish(publishing))));
        world.run();
    };
    for opened in [false, true] {
        world.commits = false;
        ask(&mut world, if opened { "second" } else { "first" });
        world.handle(0, Input::Drain(0));
        world.run();
        assert!(world.answered.is_empty() && !world.hosts[0].0.drained(), "{opened}");
        world.commits = true;
        world.run();
        let answered = world.answered.pop().unwrap();
        assert!(matches!(answered.outcome, Ok(Reply::Sequenced(_))) && world.hosts[0].0.drained(), "{opened}");
    }
}

#[test]
fn a_drain_waits_for_a_history_that_somebody_outside_has_asked_for() {
    let stretch =
        Stretch { channel: Box::from("chat:1"), since: None, until: None, limit: 10, reverse: false, known: true };
    // Its channel is not open yet; it is, and the store is read.
    for opened in [false, true] {
        let mut world = keeping::start(Memory::default(), None, |options| options.retention.count = 0);
        if opened {
            for id in ["1", "2"] {
                world.ask(0, Ask::Publish(event("chat:1", "note", Some(id)))).unwrap();
            }
            world.jump(1000);
        }
        (world.commits, world.reads) = (false, false);
        let history = Ask::History { claims: claims("svc", true), stretch: stretch.clone(), epoch: None };
        world.handle(0, Input::Mesh(ShardId::OUTSIDE, question(77, history)));
        world.handle(0, Input::Drain(0));
        world.run();
        assert!(world.answered.is_empty() && !world.hosts[0].0.drained(), "{opened}");
        (world.commits, world.reads) = (true, true);
        world.run();
        let answered = world.answered.pop().unwrap();
        assert!(matches!(answered.outcome, Ok(Reply::History(_))) && world.hosts[0].0.drained(), "{opened}");
    }
}

#[test]
fn a_drain_does_not_wait_for_channels_that_only_who_is_gone_wanted() {
    let mut world = keeping::start(Memory::default(), None, |_| {});
    let ann = world.known("/ws", "ann");
    world.commits = false;
    world.say(ann, &subscribe(&["chat:1".into()]));
    world.say(ann, &publish("chat:1", "1", &json!({})));
    world.say(ann, &service::request("history", "q", &json!({ "channel": "chat:1" })));
    let id = world.sockets[ann].id;
    world.handle(0, Input::Gone(id));
    world.handle(0, Input::Drain(0));
    world.run();
    assert!(world.hosts[0].0.drained(), "the store was asked for a channel, and nobody is there to be told");
}
