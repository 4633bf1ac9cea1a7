//! The server API: what a backend does without a socket of its own, by the verbs of the socket.

use std::sync::Arc;

use serde_json::{Value, json};

use super::asking::{Asker, Outcome};
use super::refusal::Refusal;
use super::written::{self, Addressed};
use crate::auth::Claims;
use crate::code::ErrorCode;
use crate::ids::ConnectionName;
use crate::limits::ADMIN_MEMBERS_MAX;
use crate::shard::message::outside::{Act, Ask, Publishing, Reply, Whose};
use crate::wire::http::Response;

/// `POST /api/publish`.
///
/// # Cancel safety
/// The event may be published all the same, as with everything here that changes something.
pub(super) async fn publish(
    asker: &Asker,
    (channel, publishing): (String, Publishing),
    trace: Option<Arc<str>>,
) -> Result<Response, Refusal> {
    let publishing = belonging(publishing, trace);
    let id = publishing.id.clone();
    let to = asker.home(&publishing.channel);
    let reply = asker.ask_one(to, Ask::Publish(publishing)).await?;
    let mut answer = place(&channel, &reply)?;
    if let Some(id) = id {
        answer["id"] = json!(&*id);
    }
    Ok(json_response(&answer))
}

/// `POST /api/broadcast` and `/api/batch`: each message for itself, in order.
///
/// # Cancel safety
/// As [`publish`].
pub(super) async fn publish_all(asker: &Asker, messages: Vec<Addressed>, trace: Option<Arc<str>>) -> Response {
    let (mut names, mut questions) = (Vec::new(), Vec::new());
    for (channel, message) in messages {
        let asked = message.map(|publishing| {
            let id = publishing.id.clone();
            let publishing = belonging(publishing, trace.clone());
            questions.push((asker.home(&publishing.channel), Ask::Publish(publishing)));
            id
        });
        names.push((channel, asked));
    }
    let mut outcomes = asker.ask(questions).await.into_iter();
    let results: Vec<Value> = names
        .into_iter()
        .map(|(channel, asked)| {
            let (id, outcome) = match asked {
                Ok(id) => (id, outcomes.next().unwrap_or(Err(ErrorCode::ServerError)).map_err(Refusal::from)),
                Err(refusal) => (None, Err(refusal)),
            };
            let mut result = match outcome.and_then(|reply| place(&channel, &reply)) {
                Ok(mut place) => {
                    place["status"] = json!(200);
                    place
                }
                Err(refusal) => fault(&channel, &refusal),
            };
            if let Some(id) = id {
                result["id"] = json!(&*id);
            }
            result
        })
        .collect();
    json_response(&json!({ "results": results }))
}

/// A message belongs to the trace that it names, else to the request's.
fn belonging(publishing: Publishing, trace: Option<Arc<str>>) -> Publishing {
    Publishing { traceparent: publishing.traceparent.or(trace), ..publishing }
}

/// Where an event stands.
fn place(channel: &str, reply: &Reply) -> Result<Value, Refusal> {
    let (mut answer, duplicate) = match reply {
        Reply::Sequenced(place) => {
            let epoch = place.epoch.to_string();
            (json!({ "channel": channel, "epoch": epoch, "seq": place.seq.0 }), place.duplicate)
        }
        Reply::Sent(duplicate) => (json!({ "channel": channel }), *duplicate),
        _ => return Err(Refusal::from(ErrorCode::ServerError)),
    };
    if duplicate {
        answer["duplicate"] = json!(true);
    }
    Ok(answer)
}

fn fault(channel: &str, refusal: &Refusal) -> Value {
    let mut fault = json!({
        "status": refusal.status,
        "code": refusal.code.name(),
        "message": refusal.detail,
        "retryable": refusal.code.retryable(),
    });
    if !channel.is_empty() {
        fault["channel"] = json!(channel);
    }
    fault
}

/// `GET /api/history/{channel}`.
///
/// # Cancel safety
/// Nothing is changed.
pub(super) async fn history(
    asker: &Asker,
    channel: &str,
    query: &str,
    claims: &Arc<Claims>,
) -> Result<Response, Refusal> {
    let channel = written::channel(channel, claims)?;
    let (stretch, epoch) = written::history(&channel, query)?;
    let ask = Ask::History { claims: Arc::clone(claims), stretch, epoch };
    match asker.ask_one(asker.home(&channel), ask).await? {
        Reply::History(page) => Ok(Response::json(200, page)),
        _ => Err(Refusal::from(ErrorCode::ServerError)),
    }
}

/// `DELETE /api/history/{channel}`.
///
/// # Cancel safety
/// It is erased all the same.
pub(super) async fn erase(asker: &Asker, channel: &str) -> Result<Response, Refusal> {
    let channel = written::named(channel)?;
    erase_channel(asker, &channel).await?;
    Ok(json_response(&json!({ "channel": &*channel, "erased": true })))
}

/// Erases a channel by its full name.
///
/// # Cancel safety
/// It is erased all the same.
pub(super) async fn erase_channel(asker: &Asker, channel: &Arc<str>) -> Result<(), Refusal> {
    match asker.ask_one(asker.home(channel), Ask::Erase(Arc::clone(channel))).await? {
        Reply::Erased => Ok(()),
        _ => Err(Refusal::from(ErrorCode::ServerError)),
    }
}

/// `GET /api/presence/{channel}`: members may live on any shard.
///
/// # Cancel safety
/// Nothing is changed.
pub(super) async fn presence(asker: &Asker, channel: &str, claims: &Arc<Claims>) -> Result<Response, Refusal> {
    let name = written::channel(channel, claims)?;
    let ask = |shard| {
        let channel = Arc::clone(&name);
        (shard, Ask::Members { claims: Arc::clone(claims), channel, limit: ADMIN_MEMBERS_MAX })
    };
    let outcomes = asker.ask(asker.shards().map(ask).collect()).await;
    let (mut all, mut total) = (Vec::new(), 0);
    for outcome in outcomes {
        let Reply::Members { members, count } = outcome? else { continue };
        total += count;
        all.extend(members);
    }
    Ok(json_response(&listed(channel, &all, total)))
}

fn listed(channel: &str, members: &[(Arc<str>, ConnectionName)], total: usize) -> Value {
    let members = members.iter().take(ADMIN_MEMBERS_MAX);
    let members: Vec<Value> =
        members.map(|(user, name)| json!({ "user_id": &**user, "connection_id": name.to_string() })).collect();
    let mut answer = json!({ "channel": channel, "count": total, "members": members });
    if total > ADMIN_MEMBERS_MAX {
        answer["truncated"] = json!(true);
    }
    answer
}

/// Does something to connections, portion by portion on all shards. Returns to how many.
///
/// # Cancel safety
/// What was done stays done.
pub(super) async fn sweep(asker: &Asker, whose: &Whose, act: &Act) -> Result<usize, Refusal> {
    let mut done = 0;
    let mut open: Vec<_> = asker.shards().map(|shard| (shard, 0)).collect();
    while !open.is_empty() {
        let ask =
            |(shard, from): &(_, u32)| (*shard, Ask::Sweep { from: *from, whose: whose.clone(), act: act.clone() });
        let outcomes: Vec<Outcome> = asker.ask(open.iter().map(ask).collect()).await;
        let mut left = Vec::new();
        for ((shard, _), outcome) in open.into_iter().zip(outcomes) {
            let Reply::Swept { count, next } = outcome? else { continue };
            done += count;
            left.extend(next.map(|next| (shard, next)));
        }
        open = left;
    }
    Ok(done)
}

/// `POST /api/disconnect` and `/api/unsubscribe`.
///
/// # Cancel safety
/// As [`sweep`].
pub(super) async fn apply(asker: &Asker, (whose, act): (Whose, Act)) -> Result<Response, Refusal> {
    let count = sweep(asker, &whose, &act).await?;
    let found = match (&whose, &act) {
        (Whose::Connection(_), Act::Close(_)) => count > 0,
        _ => true,
    };
    if !found {
        return Err(NO_CONNECTION);
    }
    let answer = match act {
        Act::Close(_) => json!({ "disconnected": count }),
        Act::Leave(_) => json!({ "unsubscribed": count }),
        Act::Count => json!({ "counted": count }),
    };
    Ok(json_response(&answer))
}

/// The connection is none that is open.
pub(super) const NO_CONNECTION: Refusal = Refusal { detail: "there is no such connection", ..Refusal::NOT_FOUND };

pub(super) fn json_response(answer: &Value) -> Response {
    Response::json(200, answer.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_crowd_a_part_is_listed() {
        for (total, expected) in [
            (ADMIN_MEMBERS_MAX - 1, ADMIN_MEMBERS_MAX - 1),
            (ADMIN_MEMBERS_MAX, ADMIN_MEMBERS_MAX),
            (ADMIN_MEMBERS_MAX + 1, ADMIN_MEMBERS_MAX),
        ] {
            let members: Vec<_> = (0..total).map(|_| (Arc::from("ann"), ConnectionName(7))).collect();
            let answer = listed("chat:1", &members, total);
            assert_eq!(answer["members"].as_array().unwrap().len(), expected);
            assert_eq!((&answer["count"], answer.get("truncated").is_some()), (&json!(total), total > expected));
        }
    }
}
