//! What a flat text asks for.
//!
//! What the dialect passes over in silence (an unknown type, a trip that is not named) is
//! [`FlatMessage::Nothing`]; a refusal is for what cannot be read or breaks a bound.

use super::{Area, IdForm};
use crate::code::ErrorCode;
use crate::envelope::command::Change;
use crate::envelope::field::{self, Fault, Strings, malformed};
use crate::envelope::json::Parser;
use crate::envelope::tree::{Kind, Object, Value};
use crate::limits::{CHANGES_PER_UPDATE_MAX, ECHOED_TIMESTAMP_BYTES_MAX, FIELD_NAME_BYTES_MAX, RESOURCE_ID_BYTES_MAX};

/// A trip as a client names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TripRef<'a> {
    /// Its id.
    pub id: &'a str,
    /// How it was written.
    pub form: IdForm,
}

/// A message on the endpoint of a user.
#[derive(Clone, Debug)]
pub enum FlatMessage<'a> {
    /// Asks for a `pong`.
    Ping {
        /// Raw JSON to be repeated; `null` if there is none.
        timestamp: &'a str,
    },
    /// Enter a trip's room.
    Join(TripRef<'a>),
    /// Leave it.
    Leave(TripRef<'a>),
    /// Write to a part of a trip.
    Update {
        /// Which trip.
        trip: TripRef<'a>,
        /// Which part.
        area: Area,
        /// What.
        data: Written<'a>,
    },
    /// Somebody writes.
    Typing {
        /// In which trip.
        trip: TripRef<'a>,
        /// In which field: raw JSON, `null` if none is named.
        field: &'a str,
    },
    /// What is passed over.
    Nothing,
}

/// The `data` of an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written<'a> {
    /// Fields and their values, each once; at least one.
    Fields(Vec<Change<'a>>),
    /// One value for the whole part: raw JSON, not an object and not `null`.
    Whole(&'a str),
    /// What writes to no field: nothing, no members, or names that are no fields. Raw JSON.
    Opaque(&'a str),
}

/// An object on the endpoint of a trip, which goes to the whole room whatever it says.
#[derive(Clone, Copy, Debug)]
pub struct Relay<'a> {
    /// Its `type`, if that is a name.
    pub kind: Option<&'a str>,
    /// All of it.
    pub object: Object<'a>,
}

const NO_OBJECT: Fault = (ErrorCode::InvalidMessageFormat, "a message must be a JSON object");
const TRIP_ID: field::Bound = field::Bound::new(
    RESOURCE_ID_BYTES_MAX,
    malformed("trip_id must be a number or a string of 1 to 128 bytes without control characters"),
);
const FIELD_TOO_LONG: Fault = malformed("a field name may have 256 bytes");

impl Parser {
    /// Reads a text of the endpoint of a user.
    ///
    /// # Errors
    ///
    /// The code and what is wrong, if the text is no JSON object or breaks a bound.
    pub fn parse_flat<'a>(&'a mut self, text: &'a str) -> Result<FlatMessage<'a>, Fault> {
        let (scratch, root) = self.read(text)?;
        let mut strings = Strings::new(scratch);
        message(root.object().ok_or(NO_OBJECT)?, &mut strings)
    }

    /// Reads a text of the endpoint of a trip.
    ///
    /// # Errors
    ///
    /// The code and what is wrong, if the text is no JSON object.
    pub fn parse_relay<'a>(&'a mut self, text: &'a str) -> Result<Relay<'a>, Fault> {
        let (scratch, root) = self.read(text)?;
        let object = root.object().ok_or(NO_OBJECT)?;
        let [kind] = object.find([&["type"]]);
        let kind = kind.and_then(|kind| Strings::new(scratch).name(kind, field::TYPE).ok());
        Ok(Relay { kind, object })
    }
}

fn message<'a>(root: Object<'a>, strings: &mut Strings<'a>) -> Result<FlatMessage<'a>, Fault> {
    let [kind, trip, data, name, timestamp] =
        root.find([&["type"], &["trip_id"], &["data"], &["field"], &["timestamp"]]);
    let Some(kind) = kind.and_then(|kind| strings.name(kind, field::TYPE).ok()) else {
        return Ok(FlatMessage::Nothing);
    };
    if kind == "ping" {
        let timestamp = timestamp.map_or("null", |value| value.raw());
        let repeated = timestamp.len() <= ECHOED_TIMESTAMP_BYTES_MAX;
        return Ok(FlatMessage::Ping { timestamp: if repeated { timestamp } else { "null" } });
    }
    let Some(trip) = trip_ref(trip, strings)? else { return Ok(FlatMessage::Nothing) };
    Ok(match kind {
        "join_trip" => FlatMessage::Join(trip),
        "leave_trip" => FlatMessage::Leave(trip),
        "typing" => {
            let field = name.map_or("null", |value| value.raw());
            // As everywhere, the quotes of a text are no part of its length.
            let bare = name.and_then(|value| value.escaped()).unwrap_or(field);
            if bare.len() > FIELD_NAME_BYTES_MAX {
                return Err(FIELD_TOO_LONG);
            }
            FlatMessage::Typing { trip, field }
        }
        _ => match Area::ALL.into_iter().find(|area| area.update() == kind) {
            Some(area) => FlatMessage::Update { trip, area, data: written(area, data, strings) },
            None => FlatMessage::Nothing,
        },
    })
}

/// The trip that a message names; `None` if it names none.
fn trip_ref<'a>(value: Option<Value<'a>>, strings: &mut Strings<'a>) -> Result<Option<TripRef<'a>>, Fault> {
    let Some(value) = value else { return Ok(None) };
    match value.kind() {
        Kind::String if value.escaped() == Some("") => Ok(None),
        Kind::String => strings.name(value, TRIP_ID).map(|id| Some(TripRef { id, form: IdForm::Text })),
        Kind::Number => strings.check(value.raw(), TRIP_ID).map(|id| Some(TripRef { id, form: IdForm::Number })),
        _ => Ok(None),
    }
}

fn written<'a>(area: Area, data: Option<Value<'a>>, strings: &mut Strings<'a>) -> Written<'a> {
    let Some(data) = data else { return Written::Opaque("null") };
    let Some(object) = data.object() else { return Written::Whole(data.raw()) };
    fields(area, object, strings)
        .filter(|changes| !changes.is_empty())
        .map_or_else(|| Written::Opaque(data.raw()), Written::Fields)
}

/// The members as fields of a part, of two with one name the later; `None` if there are too many, or one has a name
/// that is no field's.
fn fields<'a>(area: Area, object: Object<'a>, strings: &mut Strings<'a>) -> Option<Vec<Change<'a>>> {
    let mut names: Vec<&str> = Vec::new();
    let mut changes: Vec<Change<'a>> = Vec::new();
    for (key, value) in object.members() {
        let raw = key.raw();
        let name = strings.check(raw.get(1..raw.len() - 1)?, field::FIELD).ok()?;
        let change = Change { field: raw, value: value.raw() };
        match names.iter().position(|earlier| *earlier == name) {
            Some(index) => *changes.get_mut(index)? = change,
            None if changes.len() == CHANGES_PER_UPDATE_MAX => return None,
            // With the part's name and a dot before it.
            None if area.root().len() + 1 + name.len() > FIELD_NAME_BYTES_MAX => return None,
            None => {
                names.push(name);
                changes.push(change);
            }
        }
    }
    Some(changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let mut parser = Parser::default();
        let said = match parser.parse_flat(text) {
            Ok(FlatMessage::Ping { timestamp }) => format!("ping {timestamp}"),
            Ok(FlatMessage::Join(trip)) => format!("join {} {:?}", trip.id, trip.form),
            Ok(FlatMessage::Leave(trip)) => format!("leave {} {:?}", trip.id, trip.form),
            Ok(FlatMessage::Typing { trip, field }) => format!("typing {} {:?} {field}", trip.id, trip.form),
            Ok(FlatMessage::Update { trip, area, data }) => {
                let data = match data {
                    Written::Fields(changes) => {
                        changes.iter().map(|change| format!("{}={}", change.field, change.value)).collect::<Vec<_>>()
                    }
                    Written::Whole(raw) => vec![format!("whole {raw}")],
                    Written::Opaque(raw) => vec![format!("opaque {raw}")],
                };
                format!("{} {} {:?} {}", area.root(), trip.id, trip.form, data.join(" "))
            }
            Ok(FlatMessage::Nothing) => "nothing".to_owned(),
            Err((code, _)) => code.name().to_owned(),
        };
        assert_eq!(said, expected, "{text}");
    }

    #[test]
    fn every_message_of_the_dialect_is_read() {
        check(r#"{"type":"ping"}"#, "ping null");
        check(r#"{"type":"ping","timestamp":null}"#, "ping null");
        check(r#"{"type":"ping","timestamp":"2026-01-03T12:00:00Z"}"#, r#"ping "2026-01-03T12:00:00Z""#);
        check(r#"{"type":"ping","timestamp":{"a":[1]}}"#, r#"ping {"a":[1]}"#);
        check(r#"{"type":"join_trip","trip_id":"trip123"}"#, "join trip123 Text");
        check(r#"{"type":"join_trip","trip_id":7}"#, "join 7 Number");
        check(r#"{"type":"join_trip","trip_id":-1.5e3}"#, "join -1.5e3 Number");
        check(r#"{"type":"leave_trip","trip_id":"caf\u00e9"}"#, "leave café Text");
        check(r#"{"type":"typing","trip_id":"t","field":"day 1"}"#, r#"typing t Text "day 1""#);
        check(r#"{"type":"typing","trip_id":"t"}"#, "typing t Text null");
        check(r#"{"type":"trip_update","trip_id":"t","data":{"title":"x"}}"#, r#"trip t Text "title"="x""#);
        check(
            r#"{"type":"itinerary_update","trip_id":"t","data":{"day":1,"a.b":{}}}"#,
            r#"itinerary t Text "day"=1 "a.b"={}"#,
        );
        check(r#"{"type":"budget_update","trip_id":1,"data":[1,2]}"#, "budget 1 Number whole [1,2]");
        check(r#"{"type":"activity_update","trip_id":"t"}"#, "activities t Text opaque null");
        check(r#"{"type":"activity_update","trip_id":"t","data":null}"#, "activities t Text opaque null");
        check(r#"{"type":"trip_update","trip_id":"t","data":{}}"#, "trip t Text opaque {}");
    }

    #[test]
    fn what_the_dialect_passes_over_is_nothing_and_what_cannot_be_read_is_refused() {
        for text in [
            "{}",
            r#"{"type":"join_trip"}"#,
            r#"{"type":"join_trip","trip_id":""}"#,
            r#"{"type":"join_trip","trip_id":null}"#,
            r#"{"type":"join_trip","trip_id":true}"#,
            r#"{"type":"join_trip","trip_id":["t"]}"#,
            r#"{"type":"no such type","trip_id":"t"}"#,
            r#"{"type":7,"trip_id":"t"}"#,
            r#"{"type":"join_trips","trip_id":"t"}"#,
            r#"{"type":"subscribe","channels":["trip:t"]}"#,
        ] {
            check(text, "nothing");
        }
        for text in ["", "{", "nul", "{\"a\":}", "\"\\"] {
            check(text, "INVALID_JSON");
        }
        for text in ["[]", "null", "7", "\"text\"", r#"{"type":"join_trip","trip_id":"a\u0000b"}"#] {
            check(text, "INVALID_MESSAGE_FORMAT");
        }
    }

    #[test]
    fn lengths_are_held_at_their_limits() {
        for (len, good) in
            [(RESOURCE_ID_BYTES_MAX - 1, true), (RESOURCE_ID_BYTES_MAX, true), (RESOURCE_ID_BYTES_MAX + 1, false)]
        {
            let id = "1".repeat(len);
            let expected = |form| if good { format!("join {id} {form}") } else { "INVALID_MESSAGE_FORMAT".to_owned() };
            check(&format!(r#"{{"type":"join_trip","trip_id":"{id}"}}"#), &expected("Text"));
            check(&format!(r#"{{"type":"join_trip","trip_id":{id}}}"#), &expected("Number"));
        }
        for (len, good) in [(ECHOED_TIMESTAMP_BYTES_MAX, true), (ECHOED_TIMESTAMP_BYTES_MAX + 1, false)] {
            let digits = "1".repeat(len);
            let expected = if good { &digits } else { "null" };
            check(&format!(r#"{{"type":"ping","timestamp":{digits}}}"#), &format!("ping {expected}"));
        }
        for (len, good) in [(FIELD_NAME_BYTES_MAX, true), (FIELD_NAME_BYTES_MAX + 1, false)] {
            let field = "1".repeat(len);
            for field in [field.clone(), format!(r#""{field}""#)] {
                let expected =
                    if good { format!("typing t Text {field}") } else { "INVALID_MESSAGE_FORMAT".to_owned() };
                check(&format!(r#"{{"type":"typing","trip_id":"t","field":{field}}}"#), &expected);
            }
        }
    }

    #[test]
    fn data_is_fields_only_if_every_name_can_be_one() {
        let update = |data: &str| format!(r#"{{"type":"trip_update","trip_id":"t","data":{data}}}"#);
        check(&update(r#"{"a":1,"b":2,"\u0061":3}"#), r#"trip t Text "\u0061"=3 "b"=2"#);
        for data in [r#"{"":1}"#, r#"{"a\n":1}"#, r#"{"a":1,"\u0000":2}"#] {
            check(&update(data), &format!("trip t Text opaque {data}"));
        }
        let longest = FIELD_NAME_BYTES_MAX - "trip.".len();
        for (len, good) in [(longest, true), (longest + 1, false)] {
            let name = "n".repeat(len);
            let data = format!(r#"{{"{name}":1}}"#);
            let expected =
                if good { format!(r#"trip t Text "{name}"=1"#) } else { format!("trip t Text opaque {data}") };
            check(&update(&data), &expected);
        }
        for (count, good) in [(CHANGES_PER_UPDATE_MAX, true), (CHANGES_PER_UPDATE_MAX + 1, false)] {
            let members: Vec<String> = (0..count).map(|n| format!(r#""f{n}":{n}"#)).collect();
            let data = format!("{{{}}}", members.join(","));
            let mut parser = Parser::default();
            let text = update(&data);
            let Ok(FlatMessage::Update { data: written, .. }) = parser.parse_flat(&text) else { panic!("{text}") };
            assert_eq!(matches!(written, Written::Fields(fields) if fields.len() == count), good, "{count}");
        }
    }

    #[test]
    fn a_trip_endpoint_takes_any_object() {
        for (text, kind) in [
            ("{}", None),
            (r#"{"type":"note"}"#, Some("note")),
            (r#"{"type":"n\u006fte"}"#, Some("note")),
            (r#"{"type":7}"#, None),
            (r#"{"type":""}"#, None),
            (r#"{"type":null,"x":1}"#, None),
        ] {
            let mut parser = Parser::default();
            let relay = parser.parse_relay(text).unwrap();
            assert_eq!((relay.kind, relay.object.raw()), (kind, text));
        }
        for text in ["", "[]", "7", "{"] {
            assert!(Parser::default().parse_relay(text).is_err(), "{text}");
        }
    }
}
