//! What outlives a stop besides events, and what does not outlive an erasure.

use super::consumers::{ack, pattern};
use super::keeping::{acks, crash, epoch_of, history, join, nacks, world};
use super::service::service;
use super::*;
use crate::code::ErrorCode;
use crate::ids::Seq;
use crate::ledger::{Notice, Page, Refusal};
use crate::route;
use crate::shard::message::outside::{Ask, Reply};

pub(super) fn publish_some(world: &mut World, who: Who, ids: std::ops::RangeInclusive<u64>) {
    for id in ids {
        world.say(who, &publish("chat:s", &id.to_string(), &json!({ "n": id })));
    }
}

pub(super) fn erase(world: &mut World, channel: &str) -> Result<Reply, ErrorCode> {
    let shards = u16::try_from(world.hosts.len()).unwrap();
    let home = route::home(&world.hosts[0].0.options.key, channel, shards);
    world.ask(home.index(), Ask::Erase(channel.into()))
}

#[test]
fn a_group_goes_on_after_a_stop_behind_what_it_acknowledged() {
    // Who comes first after the stop: the consumer, or the channel's next event.
    for (shards, consumer_first) in [(1, true), (1, false), (2, true), (2, false)] {
        let mut world = world();
        let ann = world.known("/ws", "ann");
        let worker = service(&mut world, 0, "svc");
        world.say(worker, &pattern("chat:*", Some("g")));
        publish_some(&mut world, ann, 1..=4);
        let heard = world.heard(worker);
        assert_eq!(seqs(&heard, "note"), [1, 2, 3, 4]);
        ack(&mut world, worker, of_type(&heard, "note")[1]);

        let mut world = crash(world, |options| options.shards = shards);
        let ann = world.client_on(0, true, "/ws", "ann");
        if !consumer_first {
            publish_some(&mut world, ann, 5..=5);
        }
        let worker = service(&mut world, usize::from(shards) - 1, "svc");
        world.say(worker, &pattern("chat:*", Some("g")));
        if consumer_first {
            publish_some(&mut world, ann, 5..=5);
        }
        world.wait(2000);
        let heard = world.heard(worker);
        let found = seqs(&heard, "note");
        assert!(found.len() == 3 && found[..2] == [3, 4] && found[2] > 65_536, "{shards} {consumer_first}: {found:?}");
    }
}

#[test]
fn what_a_group_was_never_sent_before_a_stop_it_is_sent_after_it() {
    let mut world = world();
    let ann = world.known("/ws", "ann");
    let worker = service(&mut world, 0, "svc");
    world.say(worker, &pattern("chat:*", Some("g")));
    world.heard(worker);
    let room = std::mem::replace(&mut world.sockets[worker].room, 0);
    publish_some(&mut world, ann, 1..=2);
    assert!(room > 0 && acks(&world.heard(ann)).len() == 2);

    let mut world = crash(world, |_| {});
    let worker = service(&mut world, 0, "svc");
    world.say(worker, &pattern("chat:*", Some("g")));
    let bob = world.known("/ws", "bob");
    join(&mut world, bob, "chat:s", None);
    assert_eq!(seqs(&world.heard(worker), "note"), [1, 2]);
}

#[test]
fn an_erased_channel_has_no_past_and_goes_on_with_its_numbers() {
    for shards in [1, 2] {
        let mut world = super::keeping::start(Memory::default(), None, |options| options.shards = shards);
        let ann = world.client_on(0, true, "/ws", "ann");
        let bob = world.client_on(usize::from(shards) - 1, true, "/ws", "bob");
        let epoch = epoch_of(&join(&mut world, ann, "chat:s", None));
        join(&mut world, bob, "chat:s", None);
        publish_some(&mut world, ann, 1..=300);
        world.heard(ann);
        world.heard(bob);
        world.sockets[bob].room = 0;
        publish_some(&mut world, ann, 301..=302);
        assert_eq!(erase(&mut world, "chat:s"), Ok(Reply::Erased), "{shards}");
        let page = history(&mut world, ann, &json!({ "channel": "chat:s" }))["result"].clone();
        assert_eq!((&page["events"], &page["seq"], &page["oldest_seq"]), (&json!([]), &json!(302), &json!(303)));
        // A retry of what was erased brings nothing back.
        publish_some(&mut world, ann, 302..=303);
        let heard = world.heard(ann);
        assert_eq!(acks(&heard)[acks(&heard).len() - 2..], [("302".into(), 302, true), ("303".into(), 303, false)]);
        world.open(bob, usize::MAX);
        let heard = world.heard(bob);
        let lost = of_type(&heard, "gap").iter().all(|gap| gap["payload"]["lost"] == true);
        assert!(lost && seqs(&heard, "note").last() == Some(&303), "{shards}: {:?}", words(&heard));
        for (user, at) in [("cid", 0), ("dora", usize::from(shards) - 1)] {
            let who = world.client_on(at, true, "/ws", user);
            let heard = join(&mut world, who, "chat:s", Some((&epoch, 7)));
            assert_eq!(of_type(&heard, "subscribed")[0]["payload"]["reason"], "trimmed", "{shards} {user}");
            assert_eq!(seqs(&heard, "note"), [303], "{shards} {user}");
        }

        let mut world = crash(world, |options| options.shards = shards);
        let ann = world.client_on(0, true, "/ws", "ann");
        assert_eq!(seqs(&join(&mut world, ann, "chat:s", Some((&epoch, 7))), "note"), [303], "{shards}");
        // Nor does one after a stop, as long as its id counts.
        publish_some(&mut world, ann, 302..=302);
        assert_eq!(acks(&world.heard(ann)), [("302".into(), 302, true)], "{shards}");
        assert_eq!(erase(&mut world, "chat:s"), Ok(Reply::Erased));
        assert_eq!(erase(&mut world, "chat:unknown"), Ok(Reply::Erased));
        assert_eq!(erase(&mut world, "general"), Ok(Reply::Erased));
    }
}

#[test]
fn a_group_that_nobody_has_come_back_for_is_owed_what_comes_behind_an_erasure() {
    let mut world = world();
    let ann = world.known("/ws", "ann");
    let worker = service(&mut world, 0, "svc");
    world.say(worker, &pattern("chat:*", Some("g")));
    publish_some(&mut world, ann, 1..=4);
    let heard = world.heard(worker);
    ack(&mut world, worker, of_type(&heard, "note")[1]);

    let mut world = crash(world, |_| {});
    assert_eq!(erase(&mut world, "chat:s"), Ok(Reply::Erased));
    let ann = world.client_on(0, true, "/ws", "ann");
    publish_some(&mut world, ann, 5..=6);

    let mut world = crash(world, |_| {});
    let worker = service(&mut world, 0, "svc");
    world.say(worker, &pattern("chat:*", Some("g")));
    let bob = world.known("/ws", "bob");
    join(&mut world, bob, "chat:s", None);
    world.wait(2000);
    let heard = world.heard(worker);
    assert_eq!((seqs(&heard, "note").len(), of_type(&heard, "gap").len()), (2, 0), "{:?}", words(&heard));
}

#[test]
fn who_has_acknowledged_nothing_is_told_of_no_erased_notifications_after_a_stop() {
    let mut world = world();
    let svc = service(&mut world, 0, "svc");
    world.say(svc, &publish("notifications:ann", "1", &json!({})));
    assert_eq!(erase(&mut world, "notifications:ann"), Ok(Reply::Erased));
    for _ in 0..2 {
        let ann = world.client_on(0, true, "/ws", "ann");
        let heard = join(&mut world, ann, "notifications:ann", None);
        assert_eq!((of_type(&heard, "gap").len(), seqs(&heard, "note").len()), (0, 0));
        world = crash(world, |_| {});
    }
}

#[test]
fn an_erasure_that_the_store_refuses_is_told_and_one_waits_until_the_channel_is_open() {
    let mut world = world();
    world.commits = false;
    let question = |world: &mut World, ticket| {
        let question = super::outside::question(ticket, Ask::Erase("chat:s".into()));
        world.handle(0, Input::Mesh(ShardId::OUTSIDE, question));
        world.run();
    };
    question(&mut world, 1);
    assert!(world.answered.is_empty());
    world.commits = true;
    world.run();
    assert_eq!(world.answered.pop().unwrap().outcome, Ok(Reply::Erased));
    let ann = world.known("/ws", "ann");
    publish_some(&mut world, ann, 1..=3);
    world.commits = false;
    question(&mut world, 2);
    question(&mut world, 3);
    let busy = world.answered.pop().unwrap();
    assert_eq!((busy.ticket, busy.outcome), (3, Err(ErrorCode::Overloaded)));
    let asked = *world.hosts[0].0.keeping.as_ref().unwrap().erasures.keys().next().unwrap();
    let refusal = Refusal::Failed("for this test".to_owned());
    world.handle(0, Input::Store(Notice::Erased(asked, Err(refusal))));
    world.run();
    let refused = world.answered.pop().unwrap();
    assert_eq!((refused.ticket, refused.outcome), (2, Err(ErrorCode::StoreUnavailable)));
    assert_eq!(nacks(&world.heard(ann)), [""; 0]);
}

#[test]
fn events_that_cannot_be_read_are_told_as_lost_and_those_around_them_come() {
    let mut world = super::keeping::start(Memory::default(), None, |options| options.retention.count = 1);
    let ann = world.known("/ws", "ann");
    let epoch = epoch_of(&join(&mut world, ann, "chat:s", None));
    publish_some(&mut world, ann, 1..=9);
    world.heard(ann);
    world.damaged = Some((Seq(3), Seq(4)));
    let bob = world.known("/ws", "bob");
    let heard = join(&mut world, bob, "chat:s", Some((&epoch, 1)));
    let gaps: Vec<&Value> = of_type(&heard, "gap").into_iter().map(|gap| &gap["payload"]).collect();
    assert_eq!(gaps, [&json!({ "channel": "chat:s", "from_seq": 3, "to_seq": 4, "reason": "trimmed", "lost": true })]);
    assert_eq!(seqs(&heard, "note"), [2, 5, 6, 7, 8, 9]);
    for reverse in [false, true] {
        let page = history(&mut world, bob, &json!({ "channel": "chat:s", "reverse": reverse }))["result"].clone();
        assert_eq!(page["lost"], json!([{ "from_seq": 3, "to_seq": 4 }]), "{page}");
        assert_eq!(page["events"].as_array().unwrap().len(), 7, "{page}");
    }
    assert!(world.read(Metric::StoreDamaged) >= 3);
}

#[test]
fn a_channel_of_which_nothing_can_be_read_any_more_tells_so_and_goes_on() {
    let mut world = super::keeping::start(Memory::default(), None, |options| options.retention.count = 1);
    let ann = world.known("/ws", "ann");
    let epoch = epoch_of(&join(&mut world, ann, "chat:s", None));
    publish_some(&mut world, ann, 1..=4);
    world.heard(ann);
    world.damaged = Some((Seq(0), Seq(0)));
    let bob = world.known("/ws", "bob");
    let heard = join(&mut world, bob, "chat:s", Some((&epoch, 1)));
    assert_eq!((of_type(&heard, "gap").len(), seqs(&heard, "note").last()), (1, Some(&4)), "{heard:?}");
}

/// A page from which a stretch is missing; for one that begins with nothing, the refusal of a damaged channel.
pub(super) fn damage(notice: Notice, (first, last): (Seq, Seq)) -> Notice {
    let Notice::Page(ticket, Ok(page)) = notice else { return notice };
    if first == Seq(0) {
        return Notice::Page(ticket, Err(Refusal::Damaged("for this test".to_owned())));
    }
    let Page { mut records, oldest, mut damaged, more } = *page;
    let (before, hit) = (records.len(), |seq: Seq| first <= seq && seq <= last);
    records.retain(|(seq, _)| !hit(*seq));
    if records.len() < before {
        damaged.push((first, last));
    }
    Notice::Page(ticket, Ok(Box::new(Page { records, oldest, damaged, more })))
}
