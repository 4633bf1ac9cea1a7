//! What a client writes as a payload arrives byte for byte, also where common parsers change or refuse it:
//! read from the text on the wire, not from a parsed value.

use crate::client::Client;
use crate::gateway::Gateway;

/// The payload of an event as it stands in the text.
fn payload(event: &str) -> &str {
    let (_, rest) = event.split_once(r#","payload":"#).unwrap();
    rest.strip_suffix('}').unwrap()
}

const ODD: &[&str] = &[
    r"{}",
    r#"{"n":1e400}"#,
    r#"{"n":-1E-9999}"#,
    r#"{"n":12345678901234567890}"#,
    r#"{"n":123456789012345678901234567890.5e+3}"#,
    r#"{"n":1.10,"m":-0,"o":1E2}"#,
    r#"{"s":"\ud83d"}"#,
    r#"{"s":"\udc00\ud800"}"#,
    r#"{"s":"\u0041\/\b\u0000é\"\\"}"#,
    r#"{ "spaces" :	[ 1 ,2 ] }"#,
    r#"{"a":1,"a":2}"#,
    r#"{"":null,"x":{"payload":{"seq":7},"channel":"chat:other"}}"#,
    r#"{"s":"😀 \ud83d\ude00"}"#,
];

#[test]
fn a_published_payload_arrives_byte_for_byte() {
    let gateway = Gateway::start();
    let mut ada = Client::join(&gateway, "/ws/chat/s", &gateway.token("ada"));
    let mut old = Client::join(&gateway, "/ws", &gateway.token("bob"));
    old.subscribe(&["session:s"]);
    for odd in ODD {
        ada.send_text(&format!(
            r#"{{"type":"publish","payload":{{"channel":"chat:s","type":"note","payload":{odd}}}}}"#
        ));
        assert_eq!(payload(&ada.text()), *odd);
        assert_eq!(payload(&old.text()), *odd, "under the other name of the channel");
    }
}

#[test]
fn values_of_trip_fields_and_metadata_arrive_byte_for_byte() {
    let gateway = Gateway::start();
    let mut ada = Client::join(&gateway, "/ws/trips/7/collab", &gateway.token("ada"));
    ada.subscribe(&["chat:s"]);
    for odd in ODD {
        ada.send_text(&format!(r#"{{"type":"trip_update","payload":{{"field":"f","value":{odd}}}}}"#));
        let text = ada.text();
        assert!(text.contains(&format!(r#""new_value":{odd}}}"#)), "{odd}: {text}");
        ada.send_text(&format!(
            r#"{{"type":"chat_message","channel":"chat:s","payload":{{"content":"\ud83d","x":{odd}}}}}"#
        ));
        let text = ada.text();
        assert!(text.contains(&format!(r#""metadata":{{"x":{odd}}}"#)), "{odd}: {text}");
        assert!(text.contains(r#""content":"\ud83d""#), "{text}");
    }
}

#[test]
fn what_is_no_json_is_refused_however_odd_the_rest() {
    let gateway = Gateway::start();
    let mut ada = Client::join(&gateway, "/ws/chat/s", &gateway.token("ada"));
    for wrong in [
        r#"{"n":1e400,}"#,
        r#"{"n":012}"#,
        r#"{"s":"\ud83"}"#,
        r#"{"s":"\x"}"#,
        r#"{"n":1e}"#,
        r#"{"n":NaN}"#,
        "{'n':1}",
    ] {
        ada.send_text(&format!(
            r#"{{"type":"publish","payload":{{"channel":"chat:s","type":"note","payload":{wrong}}}}}"#
        ));
        assert_eq!(ada.event()["payload"]["code"], "INVALID_JSON", "{wrong}");
    }
}
