//! What members of a channel are told of each other: who writes, who is there, who came and went.
//!
//! None of these has a number of the channel's; `presence` has a version of its own.

use std::sync::Arc;

use super::event::{EventHead, close_event, open_event, write_key, write_number_field, write_string};
use super::notice::{Stamp, write_channel_field, write_list, write_object};
use crate::ids::{ConnectionName, Seq};

/// Somebody in a channel, as others are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The authenticated user.
    pub user: Arc<str>,
    /// The connection, or the one whose place it took within the grace.
    pub name: ConnectionName,
    /// The user's first connection here, or the last one to leave.
    pub edge: bool,
    /// What its token says of the user: a raw JSON object.
    pub info: Option<Arc<str>>,
}

/// Who is there, or what has changed.
#[derive(Clone, Copy, Debug)]
pub enum Attendance<'a> {
    /// Everybody.
    Whole(&'a [Person]),
    /// Who came and who went.
    Change {
        /// Came.
        joined: &'a [Person],
        /// Went.
        left: &'a [Person],
    },
    /// Too many to be listed.
    Count,
}

/// The payload of `presence` but who is there.
#[derive(Clone, Copy, Debug)]
pub struct Roll<'a> {
    /// The channel.
    pub channel: &'a str,
    /// Counts the changes.
    pub version: u64,
    /// The channel's last event by then.
    pub after: Seq,
    /// How many are there.
    pub count: usize,
}

/// Appends `presence`.
pub fn write_presence(stamp: Stamp, roll: &Roll<'_>, attendance: Attendance<'_>, out: &mut Vec<u8>) {
    let head = EventHead { channel: Some(roll.channel), ..stamp.head("presence") };
    let start = open_event(&head, out);
    write_object(start, out, |out| write_roll(stamp, roll, attendance, out));
    close_event(out);
}

/// Appends the same as an object alone: what `request presence` is answered.
pub fn write_presence_result(stamp: Stamp, roll: &Roll<'_>, attendance: Attendance<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    write_object(start, out, |out| write_roll(stamp, roll, attendance, out));
}

fn write_roll(stamp: Stamp, roll: &Roll<'_>, attendance: Attendance<'_>, out: &mut Vec<u8>) {
    write_channel_field(stamp, roll.channel, out);
    write_number_field("version", roll.version, out);
    write_number_field("after_seq", roll.after.0, out);
    match attendance {
        Attendance::Whole(all) => {
            out.extend_from_slice(b",\"full\":true");
            write_people("joined", "first", all, out);
            write_people("left", "last", &[], out);
        }
        Attendance::Change { joined, left } => {
            write_people("joined", "first", joined, out);
            write_people("left", "last", left, out);
        }
        Attendance::Count => {}
    }
    write_number_field("count", roll.count as u64, out);
}

fn write_people(key: &str, edge: &str, people: &[Person], out: &mut Vec<u8>) {
    write_list(key, people, out, |person, out| {
        out.extend_from_slice(b"{\"user_id\":");
        write_string(&person.user, out);
        out.extend_from_slice(format!(",\"connection_id\":\"{}\"", person.name).as_bytes());
        if person.edge {
            write_key(edge, out);
            out.extend_from_slice(b"true");
        }
        if let Some(info) = &person.info {
            write_key("info", out);
            out.extend_from_slice(info.as_bytes());
        }
        out.push(b'}');
    });
}

/// Appends `collaborator_joined` or `collaborator_left`: one user, in top-level `data` and in `payload`.
pub fn write_collaborator(stamp: Stamp, kind: &str, channel: &str, user: &str, out: &mut Vec<u8>) {
    let mut body = Vec::from(&b"{\"user\":{\"id\":"[..]);
    write_string(user, &mut body);
    body.extend_from_slice(b",\"user_id\":");
    write_string(user, &mut body);
    body.extend_from_slice(b"},\"user_id\":");
    write_string(user, &mut body);
    write_trip_id(channel, &mut body);
    body.push(b'}');
    let head = EventHead { channel: Some(channel), user_id: Some(user), ..stamp.head(kind) };
    open_event(&head, out);
    out.extend_from_slice(&body);
    write_key("data", out);
    out.extend_from_slice(&body);
    close_event(out);
}

/// Appends `trip_collaborator_presence`: all users in a trip.
pub fn write_collaborators(stamp: Stamp, channel: &str, users: &[&str], out: &mut Vec<u8>) {
    let head = EventHead { channel: Some(channel), ..stamp.head("trip_collaborator_presence") };
    let start = open_event(&head, out);
    write_object(start, out, |out| {
        write_trip_id(channel, out);
        write_list("collaborators", users, out, |user, out| {
            out.extend_from_slice(b"{\"user_id\":");
            write_string(user, out);
            out.extend_from_slice(b",\"status\":\"active\"}");
        });
    });
    close_event(out);
}

fn write_trip_id(channel: &str, out: &mut Vec<u8>) {
    write_key("trip_id", out);
    write_string(channel.strip_prefix("trip:").unwrap_or(channel), out);
}

/// What somebody does in a channel.
#[derive(Clone, Copy, Debug)]
pub struct Doing<'a> {
    /// The event's type.
    pub kind: &'a str,
    /// The channel.
    pub channel: &'a str,
    /// Who.
    pub user: &'a str,
    /// The field's path under this name, if one is named.
    pub field: Option<(&'a str, &'a str)>,
    /// A raw JSON object with what else is passed on; empty if nothing is.
    pub body: &'a [u8],
}

/// Appends an event that says what somebody does: who and where first, then what the client wrote.
pub fn write_doing(stamp: Stamp, doing: &Doing<'_>, out: &mut Vec<u8>) {
    let session = doing.channel.strip_prefix("chat:");
    let head = EventHead {
        channel: Some(doing.channel),
        user_id: Some(doing.user),
        session_id: session,
        ..stamp.head(doing.kind)
    };
    let start = open_event(&head, out);
    write_object(start, out, |out| {
        match session {
            Some(session) => {
                write_key("session_id", out);
                write_string(session, out);
            }
            None => write_trip_id(doing.channel, out),
        }
        write_key("user_id", out);
        write_string(doing.user, out);
        if let Some((key, field)) = doing.field {
            write_key(key, out);
            write_string(field, out);
        }
        let inner = doing.body.strip_prefix(b"{").and_then(|body| body.strip_suffix(b"}")).unwrap_or(b"");
        if !inner.trim_ascii().is_empty() {
            out.push(b',');
            out.extend_from_slice(inner);
        }
    });
    close_event(out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::Encoding;
    use serde_json::{Value, json};

    const STAMP: Stamp = Stamp { id: 1, unix_ms: 0, encoding: Encoding::TRIPSAGE };

    fn read(write: impl FnOnce(&mut Vec<u8>)) -> Value {
        let mut out = Vec::new();
        write(&mut out);
        serde_json::from_slice(&out).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&out)))
    }

    fn person(user: &str, name: u128, edge: bool) -> Person {
        Person { user: user.into(), name: ConnectionName(name), edge, info: None }
    }

    #[test]
    fn presence_says_who_came_and_went_or_who_is_there_or_how_many() {
        let roll = Roll { channel: "chat:s", version: 3, after: Seq(9), count: 2 };
        let check = |attendance: Attendance<'_>, expected: Value| {
            let event = read(|out| write_presence(STAMP, &roll, attendance, out));
            assert_eq!((&event["type"], &event["channel"]), (&json!("presence"), &json!("chat:s")));
            assert_eq!(event["payload"], expected);
            assert_eq!(read(|out| write_presence_result(STAMP, &roll, attendance, out)), expected);
        };
        let (ann, bob) = (person("ann", 1, true), person("b\"b", 2, false));
        let named = |name: u128| format!("{name:032x}");
        check(
            Attendance::Change { joined: std::slice::from_ref(&ann), left: std::slice::from_ref(&bob) },
            json!({ "channel": "chat:s", "version": 3, "after_seq": 9, "count": 2,
                "joined": [{ "user_id": "ann", "connection_id": named(1), "first": true }],
                "left": [{ "user_id": "b\"b", "connection_id": named(2) }] }),
        );
        check(
            Attendance::Whole(&[ann, bob]),
            json!({ "channel": "chat:s", "version": 3, "after_seq": 9, "count": 2, "full": true, "left": [],
                "joined": [{ "user_id": "ann", "connection_id": named(1), "first": true },
                    { "user_id": "b\"b", "connection_id": named(2) }] }),
        );
        check(Attendance::Count, json!({ "channel": "chat:s", "version": 3, "after_seq": 9, "count": 2 }));
    }

    #[test]
    fn collaborators_are_told_in_both_places_that_clients_look_at() {
        let event = read(|out| write_collaborator(STAMP, "collaborator_joined", "trip:7", "ann", out));
        assert_eq!(event["data"], event["payload"]);
        assert_eq!(event["data"]["user"], json!({ "id": "ann", "user_id": "ann" }));
        let event = read(|out| write_collaborators(STAMP, "trip:7", &["ann", "bob"], out));
        let expected = json!({ "trip_id": "7", "collaborators": [
            { "user_id": "ann", "status": "active" }, { "user_id": "bob", "status": "active" }] });
        assert_eq!(event["payload"], expected);
    }

    #[test]
    fn what_somebody_does_is_told_with_who_and_where_first() {
        for (channel, field, body, expected) in [
            ("chat:s", None, "", json!({ "session_id": "s", "user_id": "ann" })),
            ("chat:s", None, "{ }", json!({ "session_id": "s", "user_id": "ann" })),
            ("trip:7", Some(("field", "a.b")), "", json!({ "trip_id": "7", "user_id": "ann", "field": "a.b" })),
            ("trip:7", None, r#"{"x":1,"y":[2]}"#, json!({ "trip_id": "7", "user_id": "ann", "x": 1, "y": [2] })),
        ] {
            let doing = Doing { kind: "k", channel, user: "ann", field, body: body.as_bytes() };
            let event = read(|out| write_doing(STAMP, &doing, out));
            assert_eq!(event["payload"], expected);
            assert_eq!((&event["type"], &event["user_id"]), (&json!("k"), &json!("ann")));
        }
    }
}
