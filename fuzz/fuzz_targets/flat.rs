//! Whatever a client of the flat dialect writes: no panic, payloads that are JSON, and frames that say of their
//! author, trip and time what the server knows, once each, however the client spelt its own.

#![no_main]

use std::fmt;

use libfuzzer_sys::fuzz_target;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use waystation::envelope::globetrotter::outgoing::{UPDATE_KIND, relay_kind, write_relay, write_update};
use waystation::envelope::globetrotter::shown::{Facts, write_shown, write_shown_again};
use waystation::envelope::globetrotter::{FlatMessage, Written};
use waystation::envelope::{EventHead, Parser, write_event};

/// The names of an object's members, as often as they stand there.
struct Names(Vec<String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Names;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Names, A::Error> {
                let mut names = Vec::new();
                while let Some((name, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
                    names.push(name);
                }
                Ok(Names(names))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// What a room is shown of an event, the same at once and later.
fn shown(kind: &str, channel: &str, payload: &[u8]) -> String {
    let (mut now, mut later, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    assert!(write_shown(&Facts { kind, channel, user: "the author", unix_ms: 7 }, payload, &mut now));
    let head = EventHead { kind, unix_ms: 7, user_id: Some("the author"), ..EventHead::default() };
    write_event(&head, payload, &mut plain);
    assert!(write_shown_again(channel, 7, std::str::from_utf8(&plain).unwrap(), &mut later));
    assert_eq!(now, later);
    String::from_utf8(now).unwrap()
}

/// Each of these stands in the frame once; names with a lone surrogate are nobody's.
fn check(frame: &str, names: &[&str]) {
    assert!(serde_json::from_str::<&serde_json::value::RawValue>(frame).is_ok(), "{frame}");
    let Ok(found) = serde_json::from_str::<Names>(frame) else { return };
    for name in names {
        assert_eq!(found.0.iter().filter(|other| other == name).count(), 1, "{name}: {frame}");
    }
    for word in ["\"the author\"", "\"1970-01-01T00:00:00.007Z\""] {
        assert!(frame.contains(word), "{frame}");
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut parser = Parser::default();
    if let Ok(relay) = parser.parse_relay(text) {
        let mut payload = Vec::new();
        write_relay(&relay, &mut payload);
        check(&shown(relay_kind(&relay), "trip:t", &payload), &["user_id", "trip_id", "timestamp"]);
    }
    if let Ok(FlatMessage::Update { trip, area, data }) = parser.parse_flat(text) {
        let mut payload = Vec::new();
        write_update(trip, "the author", area, &data, &mut payload);
        let frame = shown(UPDATE_KIND, &["trip:", trip.id].concat(), &payload);
        check(&frame, &["type", "trip_id", "data", "updated_by", "timestamp"]);
        assert!(frame.contains(area.updated()), "{frame}");
        if let Written::Whole(raw) | Written::Opaque(raw) = data {
            assert!(frame.contains(&format!("\"data\":{raw},")), "{frame}");
        }
    }
});
