//! What lies behind a channel's history while it moves: it goes, is erased, or is another's before it was read.

use super::erasing::publish_some;
use super::keeping::{KEEP, epoch_of, join, start};
use super::*;
use crate::limits::HISTORY_COUNT_DEFAULT;

#[test]
fn who_waits_for_a_stretch_of_which_nothing_is_retained_any_more_is_told_so() {
    // The store keeps less than the shards remember, so all that lies behind the history is gone.
    for shards in [1, 2] {
        let mut world = start(Memory::default(), None, |options| {
            (options.shards, options.keep) = (shards, Some(Keep { count: 1, ..KEEP }));
        });
        let ann = world.client_on(0, true, "/ws", "ann");
        let epoch = epoch_of(&join(&mut world, ann, "chat:s", None));
        let count = 3 * HISTORY_COUNT_DEFAULT as u64;
        publish_some(&mut world, ann, 1..=count);
        for at in 0..usize::from(shards) {
            let bob = world.client_on(at, true, "/ws", "bob");
            let heard = join(&mut world, bob, "chat:s", Some((&epoch, 5)));
            let told = &of_type(&heard, "subscribed")[0]["payload"];
            assert_eq!((&told["recovered"], &told["reason"]), (&json!(false), &json!("trimmed")), "{shards} {at}");
            let kept = count - HISTORY_COUNT_DEFAULT as u64;
            assert_eq!(seqs(&heard, "note"), (kept + 1..=count).collect::<Vec<_>>(), "{shards} {at}");
        }
    }
}
