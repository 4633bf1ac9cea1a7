//! Which events flat clients see, and how.
//!
//! Changes of fields are shown as the update of the part that they belong to, objects of a trip's endpoint as they
//! came, events of the dialect's own types flat; everything else is not for these clients. A pure function of what
//! every encoding of an event says, so that a frame can be made at any time from the plain one.

use super::outgoing::{MESSAGE_KIND, UPDATE_KIND, VIA, write_members, write_trip_id};
use super::{Area, IdForm, TripRef};
use crate::envelope::event::{write_field, write_instant, write_key, write_string};
use crate::envelope::marks::settle_valid;
use crate::envelope::tree::{Kind, Nodes, Object, Value};

/// What is known of an event beside its payload.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Its type.
    pub kind: &'a str,
    /// The channel's own name.
    pub channel: &'a str,
    /// The authenticated sender.
    pub user: &'a str,
    /// When it was sequenced.
    pub unix_ms: u64,
}

/// Types of the dialect that others may send too.
const OWN_KINDS: [&str; 9] = [
    "trip_updated",
    "itinerary_updated",
    "budget_updated",
    "activity_updated",
    "user_typing",
    "user_joined",
    "user_left",
    "user_joined_trip",
    "user_left_trip",
];

/// Appends the event as flat clients see it. Returns whether they do.
pub fn write_shown(facts: &Facts<'_>, payload: &[u8], out: &mut Vec<u8>) -> bool {
    let Ok(text) = std::str::from_utf8(payload) else { return false };
    let mut nodes = Nodes::default();
    let payload = settle_valid(text, &mut nodes).and_then(|()| nodes.root(text)).and_then(Value::object);
    let Some(payload) = payload else { return false };
    write_object(facts, payload, out)
}

/// The same from the text of the event's plain frame.
pub fn write_shown_again(channel: &str, unix_ms: u64, plain: &str, out: &mut Vec<u8>) -> bool {
    let mut nodes = Nodes::default();
    let event = settle_valid(plain, &mut nodes).and_then(|()| nodes.root(plain)).and_then(Value::object);
    let Some(event) = event else { return false };
    let [kind, user, payload] = event.find([&["type"], &["user_id"], &["payload"]]);
    let text = |value: Option<Value<'_>>| value.and_then(|value| serde_json::from_str::<String>(value.raw()).ok());
    let (Some(kind), Some(payload)) = (text(kind), payload.and_then(Value::object)) else { return false };
    let facts = Facts { kind: &kind, channel, user: &text(user).unwrap_or_default(), unix_ms };
    write_object(&facts, payload, out)
}

fn write_object(facts: &Facts<'_>, payload: Object<'_>, out: &mut Vec<u8>) -> bool {
    if facts.kind == UPDATE_KIND {
        return write_change(facts, payload, out);
    }
    let [via, message] = payload.find([&[VIA.0], &["message"]]);
    let came_flat = via.is_some_and(|via| via.raw() == VIA.1);
    let start = out.len();
    match message.and_then(Value::object) {
        Some(message) if came_flat && facts.kind == MESSAGE_KIND => write_members(message, &[], out),
        _ if came_flat || OWN_KINDS.contains(&facts.kind) => {
            write_key("type", out);
            write_string(facts.kind, out);
            write_members(payload, &["type", VIA.0], out);
        }
        _ => return false,
    }
    write_field("user_id", facts.user, out);
    if let Some(id) = facts.channel.strip_prefix("trip:") {
        write_field("trip_id", id, out);
    }
    if Area::ALL.iter().any(|area| area.updated() == facts.kind) {
        write_field("updated_by", facts.user, out);
    }
    write_key("timestamp", out);
    write_instant(facts.unix_ms, out);
    // Every member was written with a comma before it.
    if let Some(comma) = out.get_mut(start) {
        *comma = b'{';
    }
    out.push(b'}');
    true
}

/// A change of fields, in whichever dialect it was made.
fn write_change(facts: &Facts<'_>, payload: Object<'_>, out: &mut Vec<u8>) -> bool {
    let [area, number, data, changes] = payload.find([&["area"], &["trip_ref"], &["data"], &["changes"]]);
    let Some(id) = facts.channel.strip_prefix("trip:") else { return false };
    let Some(changes) = changes.and_then(Value::object) else { return false };
    let named = area.and_then(|area| Area::ALL.into_iter().find(|known| area.escaped() == Some(known.root())));
    let (area, cut) = part_of(changes).unwrap_or_else(|| (named.unwrap_or(Area::Trip), Cut::Nothing));
    let number = number.filter(|number| number.kind() == Kind::Number && number.raw() == id);
    out.extend_from_slice(b"{\"type\":");
    write_string(area.updated(), out);
    write_key("trip_id", out);
    write_trip_id(TripRef { id, form: number.map_or(IdForm::Text, |_| IdForm::Number) }, out);
    write_key("data", out);
    let opaque = named.is_some() && changes.members().next().is_none();
    if opaque {
        out.extend_from_slice(data.map_or("null", |data| data.raw()).as_bytes());
    } else {
        write_values(changes, area, cut, out);
    }
    write_field("updated_by", facts.user, out);
    write_key("timestamp", out);
    write_instant(facts.unix_ms, out);
    out.push(b'}');
    true
}

/// What of the paths of fields is said by the type already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    Nothing,
    /// The part's name and the dot.
    Root,
    /// All: the one field is the whole part.
    All,
}

/// The part to which all fields belong; `None` if they belong to several or to none.
fn part_of(changes: Object<'_>) -> Option<(Area, Cut)> {
    let mut found = None;
    for (index, (key, _)) in changes.members().enumerate() {
        let path = key.raw().get(1..key.raw().len() - 1)?;
        let here = Area::ALL.into_iter().find_map(|area| match path.strip_prefix(area.root())? {
            "" => Some((area, Cut::All)),
            rest => rest.starts_with('.').then_some((area, Cut::Root)),
        })?;
        let fits = index == 0 || found == Some(here) && here.1 == Cut::Root;
        if !fits {
            return None;
        }
        found = Some(here);
    }
    found
}

fn write_values(changes: Object<'_>, area: Area, cut: Cut, out: &mut Vec<u8>) {
    let mut first = true;
    if cut != Cut::All {
        out.push(b'{');
    }
    for (key, change) in changes.members() {
        let value = new_value(change);
        if cut == Cut::All {
            out.extend_from_slice(value.as_bytes());
            return;
        }
        if !std::mem::replace(&mut first, false) {
            out.push(b',');
        }
        let path = key.raw();
        let kept = if cut == Cut::Root { path.get(area.root().len() + 2..).unwrap_or("\"") } else { &path[1..] };
        out.push(b'"');
        out.extend_from_slice(kept.as_bytes());
        out.push(b':');
        out.extend_from_slice(value.as_bytes());
    }
    out.push(b'}');
}

/// The new value of a change. `null` where it has none: the field was cleared.
fn new_value<'a>(change: Value<'a>) -> &'a str {
    let [value] = change.object().map_or([None], |change| change.find([&["new_value"]]));
    value.map_or("null", |value| value.raw())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::command::Change;
    use crate::envelope::event::{EventHead, write_event};
    use crate::envelope::globetrotter::{FlatMessage, outgoing};
    use crate::envelope::json::Parser;

    const AT: u64 = 1_767_441_600_000;
    const STAMP: &str = "2026-01-03T12:00:00.000Z";

    /// What flat clients see of an event; the same whether it is made at once or later from the plain frame.
    fn shown(kind: &str, channel: &str, payload: &str) -> Option<String> {
        let mut out = Vec::new();
        let seen = write_shown(&Facts { kind, channel, user: "ada", unix_ms: AT }, payload.as_bytes(), &mut out);
        let (mut plain, mut again) = (Vec::new(), Vec::new());
        let head =
            EventHead { kind, unix_ms: AT, channel: Some(channel), user_id: Some("ada"), ..EventHead::default() };
        write_event(&head, payload.as_bytes(), &mut plain);
        let plain = String::from_utf8(plain).unwrap();
        assert_eq!(write_shown_again(channel, AT, &plain, &mut again), seen);
        assert!(again == out && seen != out.is_empty(), "{payload}");
        seen.then(|| String::from_utf8(out).unwrap())
    }

    #[test]
    fn an_update_comes_back_as_its_author_wrote_it() {
        for (text, expected) in [
            (
                r#"{"type":"trip_update","trip_id":"t","data":{"title":"x","n":[1, 2]}}"#,
                r#"{"type":"trip_updated","trip_id":"t","data":{"title":"x","n":[1, 2]},"updated_by":"ada""#,
            ),
            (
                r#"{"type":"itinerary_update","trip_id":7,"data":{"day":1}}"#,
                r#"{"type":"itinerary_updated","trip_id":7,"data":{"day":1},"updated_by":"ada""#,
            ),
            (
                r#"{"type":"budget_update","trip_id":"7","data":{"a.b":null,"c\u00e9":1e400}}"#,
                r#"{"type":"budget_updated","trip_id":"7","data":{"a.b":null,"c\u00e9":1e400},"updated_by":"ada""#,
            ),
            (
                r#"{"type":"activity_update","trip_id":"t"}"#,
                r#"{"type":"activity_updated","trip_id":"t","data":null,"updated_by":"ada""#,
            ),
            (
                r#"{"type":"activity_update","trip_id":"t","data":{}}"#,
                r#"{"type":"activity_updated","trip_id":"t","data":{},"updated_by":"ada""#,
            ),
            (
                r#"{"type":"budget_update","trip_id":"t","data":{"":1}}"#,
                r#"{"type":"budget_updated","trip_id":"t","data":{"":1},"updated_by":"ada""#,
            ),
            (
                r#"{"type":"trip_update","trip_id":"t","data":[1]}"#,
                r#"{"type":"trip_updated","trip_id":"t","data":[1],"updated_by":"ada""#,
            ),
            (
                r#"{"type":"trip_update","trip_id":"t","data":false}"#,
                r#"{"type":"trip_updated","trip_id":"t","data":false,"updated_by":"ada""#,
            ),
        ] {
            let mut parser = Parser::default();
            let Ok(FlatMessage::Update { trip, area, data }) = parser.parse_flat(text) else { panic!("{text}") };
            let mut payload = Vec::new();
            outgoing::write_update(trip, "ada", area, &data, &mut payload);
            let seen = shown(UPDATE_KIND, &["trip:", trip.id].concat(), std::str::from_utf8(&payload).unwrap());
            assert_eq!(seen, Some(format!(r#"{expected},"timestamp":"{STAMP}"}}"#)), "{text}");
        }
    }

    #[test]
    fn a_change_of_the_other_dialect_is_an_update_of_the_part_it_belongs_to() {
        for (changes, kind, data) in [
            (&[("name", "1")][..], "trip_updated", r#"{"name":1}"#),
            (&[("trip.name", "1")], "trip_updated", r#"{"name":1}"#),
            (&[("itinerary.day.1", "1"), ("itinerary.x", "{}")], "itinerary_updated", r#"{"day.1":1,"x":{}}"#),
            (&[("budget", "[1]")], "budget_updated", "[1]"),
            (&[("activities.a", "null")], "activity_updated", r#"{"a":null}"#),
            (&[("budget.a", "1"), ("name", "2")], "trip_updated", r#"{"budget.a":1,"name":2}"#),
            (&[("budget.a", "1"), ("itinerary.b", "2")], "trip_updated", r#"{"budget.a":1,"itinerary.b":2}"#),
            (&[("budget", "1"), ("budget.b", "2")], "trip_updated", r#"{"budget":1,"budget.b":2}"#),
            (&[("budgets.a", "1")], "trip_updated", r#"{"budgets.a":1}"#),
        ] {
            let fields: Vec<String> = changes.iter().map(|(field, _)| format!("{field:?}")).collect();
            let changes: Vec<Change<'_>> =
                fields.iter().zip(changes).map(|(field, (_, value))| Change { field, value }).collect();
            let mut payload = Vec::new();
            crate::envelope::body::write_trip_update("7", "ada", &changes, &mut payload);
            let expected =
                format!(r#"{{"type":"{kind}","trip_id":"7","data":{data},"updated_by":"ada","timestamp":"{STAMP}"}}"#);
            assert_eq!(shown(UPDATE_KIND, "trip:7", std::str::from_utf8(&payload).unwrap()), Some(expected));
        }
    }

    #[test]
    fn an_object_of_a_trips_endpoint_comes_back_with_what_is_known_better() {
        let tail = format!(r#""user_id":"ada","trip_id":"t","timestamp":"{STAMP}"}}"#);
        for (text, expected) in [
            ("{}", r"{"),
            (r#"{"type":"note","x":[1],"user_id":"bob"}"#, r#"{"type":"note","x":[1],"#),
            (r#"{"x":1,"trip_id":5,"timestamp":0}"#, r#"{"x":1,"#),
            (r#"{"type":"chat_message","content":"hi"}"#, r#"{"type":"chat_message","content":"hi","#),
            (r#"{"type":7}"#, r#"{"type":7,"#),
            (r#"{"type":"error","code":"x"}"#, r#"{"type":"error","code":"x","#),
            (r#"{"type":"note","via":"x","\u0075ser_id":"bob"}"#, r#"{"type":"note","via":"x","#),
        ] {
            let mut parser = Parser::default();
            let relay = parser.parse_relay(text).unwrap();
            let mut payload = Vec::new();
            outgoing::write_relay(&relay, &mut payload);
            let kind = outgoing::relay_kind(&relay);
            let seen = shown(kind, "trip:t", std::str::from_utf8(&payload).unwrap());
            assert_eq!(seen.as_deref(), Some([expected, &tail].concat().as_str()), "{text}");
        }
    }

    #[test]
    fn events_of_the_dialects_types_are_shown_and_no_others() {
        for (kind, channel, payload, expected) in [
            (
                "budget_updated",
                "trip:t",
                r#"{"data":{"a":1},"updated_by":"bob","trip_id":"u"}"#,
                Some(format!(
                    r#"{{"type":"budget_updated","data":{{"a":1}},"user_id":"ada","trip_id":"t","updated_by":"ada","timestamp":"{STAMP}"}}"#
                )),
            ),
            (
                "user_typing",
                "user:ada",
                r#"{"type":"x","field":"f"}"#,
                Some(format!(r#"{{"type":"user_typing","field":"f","user_id":"ada","timestamp":"{STAMP}"}}"#)),
            ),
            ("chat_message", "trip:t", r#"{"message":{"content":"x"}}"#, None),
            ("note", "trip:t", r#"{"x":1}"#, None),
            ("trip_message", "trip:t", r#"{"message":{"x":1}}"#, None),
            ("notification", "user:ada", "{}", None),
            (UPDATE_KIND, "trip:t", "{}", None),
            (UPDATE_KIND, "user:ada", r#"{"changes":{"a":{"new_value":1}}}"#, None),
        ] {
            assert_eq!(shown(kind, channel, payload), expected, "{kind} {payload}");
        }
    }
}
