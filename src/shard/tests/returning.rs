//! Channels of a pattern that a consumer leaves, or cannot have: its home brings it back, or another.

use super::consumers::{ack, pattern, shards, user_on};
use super::service::{service, service_with};
use super::*;

#[test]
fn who_leaves_a_channel_of_its_pattern_while_it_is_behind_is_brought_back_to_where_it_was() {
    for (home, group) in [(0, None), (1, None), (0, Some("g")), (1, Some("g"))] {
        let mut world = shards(2);
        let (author, backend) = (user_on(&mut world, 0, "ann"), service(&mut world, 0, "svc"));
        let channel = at_home("chat:", home, 2);
        world.say(backend, &pattern("chat:*", group));
        world.say(author, &publish(&channel, "1", &json!({})));
        let heard = world.heard(backend);
        assert_eq!(seqs(&heard, "note"), [1]);
        ack(&mut world, backend, of_type(&heard, "note")[0]);
        world.open(backend, 0);
        for index in 2..=4 {
            world.say(author, &publish(&channel, &index.to_string(), &json!({})));
        }
        world.say(backend, &json!({ "type": "unsubscribe", "channels": [channel] }).to_string());
        world.open(backend, usize::MAX);
        // One was on its way. A member by itself goes on after it, and a group with what nobody has acknowledged.
        let expected: &[u64] = if group.is_none() { &[2, 3, 4] } else { &[2, 2, 3, 4] };
        assert_eq!(seqs(&world.heard(backend), "note"), expected, "home {home}, group {group:?}");
        world.say(author, &publish(&channel, "5", &json!({})));
        assert_eq!(seqs(&world.heard(backend), "note"), [5], "home {home}, group {group:?}");
    }
}

#[test]
fn a_channel_that_a_consumers_token_does_not_permit_goes_to_another_of_the_group() {
    for home in 0..2 {
        let mut world = shards(2);
        let author = user_on(&mut world, 0, "ann");
        let channel = at_home("chat:", home, 2);
        let caps = json!({ "caps": { "chat:*": ["subscribe"], channel.as_str(): [] } });
        let narrow = service_with(&mut world, 0, "narrow", caps);
        world.say(narrow, &pattern("chat:*", Some("g")));
        world.say(author, &publish(&channel, "1", &json!({})));
        let wide = service(&mut world, 1, "svc");
        world.say(wide, &pattern("chat:*", Some("g")));
        world.wait(3000);
        let heard = world.heard(wide);
        assert_eq!(seqs(&heard, "note"), [1], "home {home}");
        ack(&mut world, wide, of_type(&heard, "note")[0]);
        world.say(author, &publish(&channel, "2", &json!({})));
        assert_eq!(seqs(&world.heard(wide), "note"), [2], "home {home}");
        let told = world.heard(narrow);
        assert!(of_type(&told, "note").is_empty() && of_type(&told, "unsubscribed").is_empty(), "{told:?}");
    }
}
