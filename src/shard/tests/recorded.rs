//! What the flight recorder is told: how many records, since that says how far back it reaches.

use super::*;
use crate::recorder::Ring;

#[test]
fn a_published_message_is_two_records_whoever_hears_it_and_silence_is_none() {
    let mut world = World::new();
    let ring = Ring::with_bytes(1 << 20).unwrap();
    world.hosts[0].0.set_recorder(Some(Arc::clone(&ring)));
    let members = ["ann", "bob", "cat"].map(|user| world.known("/ws", user));
    for who in members {
        world.say(who, &subscribe(&["trip:lisbon".into()]));
    }
    let before = ring.head();
    for operation in 0..10 {
        world.say(members[0], &publish("trip:lisbon", &operation.to_string(), &json!({})));
    }
    assert_eq!(seqs(&world.heard(members[2]), "note").len(), 10);
    assert_eq!(ring.head() - before, 20, "received and sequenced");
    let before = ring.head();
    world.wait(30_000);
    assert!(members.iter().all(|who| world.is_open(*who)));
    assert_eq!(ring.head(), before, "pings are none");
}
