//! What flat clients send, as payloads of events that both dialects understand.
//!
//! An update is a `trip_update_broadcast` whose fields stand under the name of the part that it writes to; beside
//! what the other dialect reads it says what is needed to show it in the sender's own form again. An object of a
//! trip's endpoint goes out under its own type, or as a `trip_message` where that type is not for everybody.

use super::{Area, IdForm, Relay, TripRef, Written};
use crate::envelope::event::{write_field, write_key, write_number, write_number_field, write_string};
use crate::envelope::tree::{KEY_BYTES_MAX, Object};
use crate::envelope::tripsage::{is_attributed, is_reserved};

/// The type of the event that an update becomes.
pub const UPDATE_KIND: &str = "trip_update_broadcast";
/// The type of an object whose own type is missing, or tells something that not everybody may say.
pub const MESSAGE_KIND: &str = "trip_message";
/// The member of a payload that tells an object of this dialect, and its value.
pub(super) const VIA: (&str, &str) = ("via", "\"globetrotter\"");
/// Members that the gateway writes itself, whatever a client wrote there.
const OURS: [&str; 4] = ["user_id", "trip_id", "timestamp", "updated_by"];

/// Appends a trip's id in the form that the client used.
pub fn write_trip_id(trip: TripRef<'_>, out: &mut Vec<u8>) {
    match trip.form {
        IdForm::Text => write_string(trip.id, out),
        IdForm::Number => out.extend_from_slice(trip.id.as_bytes()),
    }
}

/// Appends the payload of an update.
pub fn write_update(trip: TripRef<'_>, updated_by: &str, area: Area, data: &Written<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"trip_id\":");
    write_string(trip.id, out);
    write_field("updated_by", updated_by, out);
    write_field("update_type", "field_change", out);
    write_field("area", area.root(), out);
    if trip.form == IdForm::Number {
        write_key("trip_ref", out);
        write_trip_id(trip, out);
    }
    write_key("changes", out);
    out.push(b'{');
    match data {
        Written::Fields(changes) => {
            for (index, change) in changes.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                out.push(b'"');
                out.extend_from_slice(area.root().as_bytes());
                out.push(b'.');
                out.extend_from_slice(change.field.get(1..).unwrap_or("\"").as_bytes());
                write_new_value(change.value, out);
            }
        }
        Written::Whole(raw) => {
            write_string(area.root(), out);
            write_new_value(raw, out);
        }
        Written::Opaque(_) => {}
    }
    out.push(b'}');
    if let Written::Opaque(raw) = data {
        write_key("data", out);
        out.extend_from_slice(raw.as_bytes());
    }
    out.push(b'}');
}

fn write_new_value(raw: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b":{\"new_value\":");
    out.extend_from_slice(raw.as_bytes());
    out.push(b'}');
}

/// The type of the event that an object becomes.
#[must_use]
pub fn relay_kind<'a>(relay: &Relay<'a>) -> &'a str {
    let plain =
        |kind: &&str| !(is_reserved(kind) || is_attributed(kind) || *kind == MESSAGE_KIND || relay.object.has(VIA.0));
    relay.kind.filter(plain).unwrap_or(MESSAGE_KIND)
}

/// Appends the payload of the event that an object becomes.
pub fn write_relay(relay: &Relay<'_>, out: &mut Vec<u8>) {
    out.push(b'{');
    write_string(VIA.0, out);
    out.push(b':');
    out.extend_from_slice(VIA.1.as_bytes());
    if relay_kind(relay) == MESSAGE_KIND {
        write_key("message", out);
        let start = out.len();
        write_members(relay.object, &[], out);
        match out.get_mut(start) {
            Some(comma) => *comma = b'{',
            None => out.push(b'{'),
        }
        out.push(b'}');
    } else {
        write_members(relay.object, &["type"], out);
    }
    out.push(b'}');
}

/// Appends the members of an object, each with a comma before it, but those with one of these names and those that
/// are ours.
pub(super) fn write_members(object: Object<'_>, but: &[&str], out: &mut Vec<u8>) {
    for (key, value) in object.members() {
        let mut scratch = [0; KEY_BYTES_MAX];
        let name = key.name(&mut scratch);
        if !(OURS.contains(&name) || but.contains(&name)) {
            out.push(b',');
            out.extend_from_slice(key.raw().as_bytes());
            out.push(b':');
            out.extend_from_slice(value.raw().as_bytes());
        }
    }
}

/// A trip's sockets, and how many users there are in all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Users with a socket.
    pub active_users: u64,
    /// Trips with a socket.
    pub active_rooms: u64,
    /// Trips by id, with their sockets.
    pub rooms: Vec<(Box<str>, u64)>,
}

/// Appends the body of the answer about who is there.
pub fn write_stats(stats: &Stats, out: &mut Vec<u8>) {
    out.push(b'{');
    write_string("active_users", out);
    out.push(b':');
    write_number(stats.active_users, out);
    write_number_field("active_rooms", stats.active_rooms, out);
    write_key("rooms", out);
    out.push(b'{');
    for (index, (trip, sockets)) in stats.rooms.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_string(&["trip_", trip].concat(), out);
        out.push(b':');
        write_number(*sockets, out);
    }
    out.extend_from_slice(b"}}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::globetrotter::FlatMessage;
    use crate::envelope::json::Parser;

    fn payload(text: &str) -> String {
        let mut parser = Parser::default();
        let Ok(FlatMessage::Update { trip, area, data }) = parser.parse_flat(text) else { panic!("{text}") };
        let mut out = Vec::new();
        write_update(trip, "ada", area, &data, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_update_writes_under_the_name_of_its_part() {
        let head = |trip: &str, area: &str| {
            format!(r#"{{"trip_id":"{trip}","updated_by":"ada","update_type":"field_change","area":"{area}","#)
        };
        for (text, expected) in [
            (
                r#"{"type":"itinerary_update","trip_id":"t","data":{"day":1,"a.b":"\u00e9"}}"#,
                head("t", "itinerary")
                    + r#""changes":{"itinerary.day":{"new_value":1},"itinerary.a.b":{"new_value":"\u00e9"}}}"#,
            ),
            (
                r#"{"type":"trip_update","trip_id":7,"data":{"title":null}}"#,
                head("7", "trip") + r#""trip_ref":7,"changes":{"trip.title":{"new_value":null}}}"#,
            ),
            (
                r#"{"type":"budget_update","trip_id":"t","data":[1]}"#,
                head("t", "budget") + r#""changes":{"budget":{"new_value":[1]}}}"#,
            ),
            (r#"{"type":"activity_update","trip_id":"t"}"#, head("t", "activities") + r#""changes":{},"data":null}"#),
            (
                r#"{"type":"activity_update","trip_id":"t","data":{"":1}}"#,
                head("t", "activities") + r#""changes":{},"data":{"":1}}"#,
            ),
        ] {
            assert_eq!(payload(text), expected, "{text}");
        }
    }

    #[test]
    fn an_object_keeps_its_type_unless_not_everybody_may_say_it() {
        for (text, kind, expected) in [
            (r#"{"type":"note","x":1,"user_id":"bob"}"#, "note", r#"{"via":"globetrotter","x":1}"#),
            (r#"{"type":"note"}"#, "note", r#"{"via":"globetrotter"}"#),
            ("{}", "trip_message", r#"{"via":"globetrotter","message":{}}"#),
            (
                r#"{"x":1,"timestamp":5,"trip_id":"u","updated_by":"bob"}"#,
                "trip_message",
                r#"{"via":"globetrotter","message":{"x":1}}"#,
            ),
            (
                r#"{"type":"chat_message","content":"x"}"#,
                "trip_message",
                r#"{"via":"globetrotter","message":{"type":"chat_message","content":"x"}}"#,
            ),
            (r#"{"type":"ack"}"#, "trip_message", r#"{"via":"globetrotter","message":{"type":"ack"}}"#),
            (r#"{"type":7}"#, "trip_message", r#"{"via":"globetrotter","message":{"type":7}}"#),
            (
                r#"{"type":"note","via":"x"}"#,
                "trip_message",
                r#"{"via":"globetrotter","message":{"type":"note","via":"x"}}"#,
            ),
        ] {
            let mut parser = Parser::default();
            let relay = parser.parse_relay(text).unwrap();
            let mut out = Vec::new();
            write_relay(&relay, &mut out);
            assert_eq!((relay_kind(&relay), String::from_utf8(out).unwrap().as_str()), (kind, expected), "{text}");
        }
    }

    #[test]
    fn stats_have_the_names_of_the_dialect() {
        let rooms = vec![(Box::from("t1"), 5), (Box::from("a\"b"), 1)];
        let mut out = Vec::new();
        write_stats(&Stats { active_users: 3, active_rooms: 2, rooms }, &mut out);
        let expected = r#"{"active_users":3,"active_rooms":2,"rooms":{"trip_t1":5,"trip_a\"b":1}}"#;
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
