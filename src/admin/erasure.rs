//! `DELETE /api/users/{user_id}`: what a user has left goes, out of memory on every shard and out of the store.
//!
//! The user's own channels are erased as channels are. Then every shard goes through the channels in its memory, the store
//! through all that it has, whether somebody has it open or not, and the shards once more, for what they had read from
//! the store before. What the user sends behind the first of these rounds is not of the erasure. All of it in portions
//! that are asked for one after another: an answer says where the next one begins, and nothing is remembered between
//! them, so that who was interrupted asks again. Absent: the connections of the user, which stay; what others have said
//! about the user.

use std::sync::Arc;

use glommio::sync::Semaphore;
use serde_json::json;

use super::api::{erase_channel, json_response};
use super::asking::{Asker, Outcome};
use super::refusal::Refusal;
use crate::code::ErrorCode;
use crate::ids::ShardId;
use crate::ledger::{Forgotten, Spot};
use crate::shard::message::outside::{Ask, Reply, Round, Traces};
use crate::wire::http::Response;

/// What stands before a user's id in the names of its own channels.
const OWN: [&str; 3] = ["user:", "agent:", "notifications:"];

/// Erases a user; one at a time.
///
/// # Cancel safety
/// What is done stays done; the rest is done when it is asked again.
pub(super) async fn erase(asker: &Asker, erasing: &Semaphore, user: &str) -> Result<Response, Refusal> {
    let Ok(_alone) = erasing.try_acquire_permit(1) else { return Err(Refusal::from(ErrorCode::Overloaded)) };
    let user: Arc<str> = Arc::from(user);
    let channels = OWN.map(|prefix| Arc::<str>::from([prefix, &user].concat()));
    let (mut erased, mut damaged) = (Vec::new(), 0);
    for channel in &channels {
        if is_erased(erase_channel(asker, channel).await)? {
            erased.push(&**channel);
        } else {
            damaged += 1;
        }
    }
    let mut traces = in_memory(asker, &user, Round::First).await?;
    let (stored, lost) = in_store(asker, &user).await?;
    traces.add(stored);
    traces.add(in_memory(asker, &user, Round::Last).await?);
    let Traces { events, operations, cursors } = traces;
    let unreadable = lost + damaged;
    let mut answer = json!({
        "user_id": &*user,
        "erased": unreadable == 0,
        "channels": erased,
        "events": events,
        "operations": operations,
        "cursors": cursors,
    });
    if unreadable > 0 {
        answer["unreadable"] = json!(unreadable);
        tracing::warn!(unreadable, "what cannot be read in the store may be of a user who was erased");
    }
    tracing::info!(events, operations, cursors, "a user was erased");
    Ok(json_response(&answer))
}

/// Whether an own channel was erased. One that the store has refused may be damaged, and asking again would not help: the
/// rest goes all the same. Where the disk does not answer at all the rest is refused, too.
fn is_erased(outcome: Result<(), Refusal>) -> Result<bool, Refusal> {
    match outcome {
        Ok(()) => Ok(true),
        Err(refusal) if refusal == Refusal::from(ErrorCode::StoreUnavailable) => Ok(false),
        Err(refusal) => Err(refusal),
    }
}

/// What all shards have in memory, a portion of each at a time.
///
/// # Cancel safety
/// As [`erase`].
async fn in_memory(asker: &Asker, user: &Arc<str>, round: Round) -> Result<Traces, Refusal> {
    let mut sum = Traces::default();
    let mut open: Vec<(ShardId, u32)> = asker.shards().map(|shard| (shard, 0)).collect();
    while !open.is_empty() {
        let ask = |(shard, from): &(ShardId, u32)| (*shard, Ask::Forget { user: Arc::clone(user), from: *from, round });
        let outcomes: Vec<Outcome> = asker.ask(open.iter().map(ask).collect()).await;
        let mut left = Vec::new();
        for ((shard, _), outcome) in open.into_iter().zip(outcomes) {
            let Reply::Forgotten { traces, next } = outcome? else {
                return Err(Refusal::from(ErrorCode::ServerError));
            };
            sum.add(traces);
            left.extend(next.map(|next| (shard, next)));
        }
        open = left;
    }
    Ok(sum)
}

/// What the store has, and how much of it cannot be read. The shard that asks is any.
///
/// # Cancel safety
/// As [`erase`].
async fn in_store(asker: &Asker, user: &Arc<str>) -> Result<(Traces, u64), Refusal> {
    let (mut sum, mut lost, mut spot) = (Traces::default(), 0, Some(Spot::BEGIN));
    while let Some(from) = spot {
        let ask = Ask::ForgetStored { user: Arc::clone(user), from };
        let Reply::ForgottenStored(forgotten) = asker.ask_one(ShardId(0), ask).await? else {
            return Err(Refusal::from(ErrorCode::ServerError));
        };
        let Forgotten { events, operations, cursors, unreadable, next } = forgotten;
        sum.add(Traces { events, operations, cursors });
        lost += unreadable;
        spot = next;
    }
    Ok((sum, lost))
}

#[cfg(test)]
mod tests {
    use glommio::{LocalExecutorBuilder, Placement};

    use super::*;
    use crate::mesh::{Capacities, Mesh, Parcel};

    #[test]
    fn an_own_channel_that_the_store_refuses_does_not_end_the_rest() {
        assert_eq!(is_erased(Ok(())), Ok(true));
        assert_eq!(is_erased(Err(Refusal::from(ErrorCode::StoreUnavailable))), Ok(false));
        let busy = Refusal::from(ErrorCode::Overloaded);
        assert_eq!(is_erased(Err(busy)), Err(Refusal::from(ErrorCode::Overloaded)));
    }

    #[test]
    fn one_user_is_erased_at_a_time() {
        let executor = LocalExecutorBuilder::new(Placement::Unbound).make().unwrap();
        executor.run(async {
            let mesh = Mesh::<Parcel>::new(1, Capacities { control: 1, data: 1 }).unwrap();
            let asker = Asker::new(mesh.post(ShardId::OUTSIDE), [0; 16]);
            let erasing = Semaphore::new(1);
            let permit = erasing.try_acquire_permit(1).unwrap();
            let outcome = erase(&asker, &erasing, "ann").await;
            assert_eq!(outcome.map(drop), Err(Refusal::from(ErrorCode::Overloaded)));
            drop(permit);
            assert!(erasing.try_acquire_permit(1).is_ok(), "who was refused has taken nothing");
        });
    }
}
