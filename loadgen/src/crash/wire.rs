//! What is said to the server and what it says: Waystation's own messages (docs/PROTOCOL.md), as far as a trial needs
//! them.
//!
//! Other than a load, a trial reads every message whole: what it looks for is in all of them, and a thousand a second
//! are few.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::json;

use super::book::{Ack, Told};

/// The type of the events that a trial publishes.
const EVENT: &str = "crash";

/// A text frame of the server.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Message<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    channel: Cow<'a, str>,
    #[serde(borrow)]
    epoch: Cow<'a, str>,
    seq: u64,
    #[serde(borrow)]
    op_id: Option<Cow<'a, str>>,
    success: Option<bool>,
    #[serde(borrow)]
    payload: Payload<'a>,
}

/// All that payloads have that is looked at, and of each message only some.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Payload<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    channel: Cow<'a, str>,
    #[serde(borrow)]
    epoch: Cow<'a, str>,
    seq: u64,
    to_seq: u64,
    duplicate: bool,
    retryable: bool,
    lost: bool,
    recovered: Option<bool>,
    #[serde(borrow)]
    reason: Cow<'a, str>,
    #[serde(borrow)]
    code: Cow<'a, str>,
    success: Option<bool>,
    #[serde(borrow)]
    server_version: Option<Cow<'a, str>>,
    #[serde(borrow)]
    value: Option<Cow<'a, str>>,
    #[serde(borrow)]
    result: Option<Page<'a>>,
}

/// A part of a history, as a request and a GET get it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Page<'a> {
    pub(super) more: bool,
    #[serde(borrow)]
    events: Vec<Message<'a>>,
}

/// What a message says.
#[derive(Debug)]
pub(super) enum Heard<'a> {
    /// The token is good.
    LetIn { version: Option<String> },
    /// An event of a channel.
    Event { channel: &'a str, told: Told<'a> },
    /// A channel is entered.
    Subscribed { channel: &'a str, epoch: &'a str, seq: u64, recovered: Option<bool>, reason: &'a str },
    /// Whether all channels that were asked for were entered.
    Joined(bool),
    /// An operation is kept.
    Ack { id: &'a str, ack: Ack<'a> },
    /// An operation is refused, for now or for good.
    Nack { id: &'a str, code: &'a str, retryable: bool },
    /// Events up to this number will not come; what is not lost is sent after it.
    Gap { channel: &'a str, to_seq: u64, lost: bool },
    /// A part of a history; none where the request was refused.
    History { page: Option<&'a Page<'a>> },
    /// The server objects to something.
    Error { code: &'a str },
    /// What a trial does not need.
    Other,
}

impl<'a> Message<'a> {
    /// Reads a frame.
    ///
    /// # Errors
    /// It is no JSON, or a member has another type than the protocol gives it.
    pub(super) fn parse(text: &'a [u8]) -> Result<Self, String> {
        serde_json::from_slice(text).map_err(|error| error.to_string())
    }

    /// What it says.
    pub(super) fn heard(&'a self) -> Heard<'a> {
        let payload = &self.payload;
        match &*self.kind {
            "" if self.success == Some(false) => Heard::Error { code: "AUTH_FAILED" },
            "connection_established" => Heard::LetIn { version: payload.server_version.as_deref().map(str::to_owned) },
            "subscribed" => Heard::Subscribed {
                channel: &payload.channel,
                epoch: &payload.epoch,
                seq: payload.seq,
                recovered: payload.recovered,
                reason: &payload.reason,
            },
            "subscribe_response" => Heard::Joined(payload.success == Some(true)),
            "ack" => Heard::Ack {
                id: &payload.id,
                ack: Ack {
                    // Numbers begin at 1.
                    place: (payload.seq > 0).then_some((&*payload.epoch, payload.seq)),
                    duplicate: payload.duplicate,
                },
            },
            "nack" => Heard::Nack { id: &payload.id, code: &payload.code, retryable: payload.retryable },
            "gap" => Heard::Gap { channel: &payload.channel, to_seq: payload.to_seq, lost: payload.lost },
            "response" => Heard::History { page: payload.result.as_ref() },
            "connection_error" | "connection_close" => Heard::Error { code: &payload.code },
            EVENT => Heard::Event { channel: &self.channel, told: self.told() },
            _ => Heard::Other,
        }
    }

    fn told(&self) -> Told<'_> {
        let content = self.payload.value.as_deref().unwrap_or_default();
        Told { epoch: &self.epoch, seq: self.seq, id: self.op_id.as_deref(), content }
    }
}

impl<'a> Page<'a> {
    /// Reads the body of an answer to a GET.
    ///
    /// # Errors
    /// It is no JSON of that form.
    pub(super) fn parse(text: &'a [u8]) -> Result<Self, String> {
        serde_json::from_slice(text).map_err(|error| error.to_string())
    }

    /// Its events, whatever their type: nobody else is to be in the channels of a trial.
    pub(super) fn events(&self) -> impl Iterator<Item = Told<'_>> {
        self.events.iter().map(Message::told)
    }
}

/// A publish that asks for its answer.
pub(super) fn publish(channel: &str, id: &str, content: &str) -> String {
    let payload = json!({ "channel": channel, "type": EVENT, "payload": { "value": content } });
    json!({ "type": "publish", "id": id, "ack": true, "payload": payload }).to_string()
}

/// Enters channels, or comes back to those of which a position is known.
pub(super) fn subscribe<'a>(channels: impl Iterator<Item = (&'a str, Option<(String, u64)>)>) -> String {
    let (mut names, mut since) = (Vec::new(), serde_json::Map::new());
    for (name, position) in channels {
        names.push(name);
        if let Some((epoch, seq)) = position {
            since.insert(name.to_owned(), json!({ "epoch": epoch, "seq": seq }));
        }
    }
    json!({ "type": "subscribe", "payload": { "channels": names, "since": since } }).to_string()
}

/// Asks for the part of a history behind a number, or for its beginning.
pub(super) fn history(channel: &str, since: Option<u64>, limit: u32) -> String {
    let mut params = json!({ "channel": channel, "limit": limit });
    if let Some(since) = since {
        params["since"] = since.into();
    }
    json!({ "type": "request", "id": "history", "payload": { "method": "history", "params": params } }).to_string()
}

/// The same as the target of a GET.
pub(super) fn history_path(channel: &str, since: Option<u64>, limit: u32) -> String {
    let since = since.map_or_else(String::new, |since| format!("&since_seq={since}"));
    format!("/api/history/{channel}?limit={limit}{since}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let message = Message::parse(text.as_bytes()).unwrap();
        assert_eq!(format!("{:?}", message.heard()), expected, "{text}");
    }

    #[test]
    fn every_message_of_a_trial_is_understood() {
        check(r#"{"success":true,"connectionId":"c"}"#, "Other");
        check(r#"{"success":false,"code":"AUTH_FAILED"}"#, r#"Error { code: "AUTH_FAILED" }"#);
        check(
            r#"{"type":"connection_established","payload":{"server_version":"1.2","available_channels":[]}}"#,
            r#"LetIn { version: Some("1.2") }"#,
        );
        check(
            r#"{"type":"crash","channel":"chat:a","seq":7,"epoch":"e","op_id":"x-1","payload":{"value":"text"}}"#,
            r#"Event { channel: "chat:a", told: Told { epoch: "e", seq: 7, id: Some("x-1"), content: "text" } }"#,
        );
        check(
            r#"{"type":"subscribed","payload":{"channel":"c","epoch":"e","seq":3,"recovered":false,"reason":"trimmed"}}"#,
            r#"Subscribed { channel: "c", epoch: "e", seq: 3, recovered: Some(false), reason: "trimmed" }"#,
        );
        check(r#"{"type":"subscribe_response","payload":{"success":false}}"#, "Joined(false)");
        check(
            r#"{"type":"ack","payload":{"id":"x-1","epoch":"e","seq":9,"duplicate":true}}"#,
            r#"Ack { id: "x-1", ack: Ack { place: Some(("e", 9)), duplicate: true } }"#,
        );
        check(
            r#"{"type":"ack","payload":{"id":"x-1"}}"#,
            r#"Ack { id: "x-1", ack: Ack { place: None, duplicate: false } }"#,
        );
        check(
            r#"{"type":"nack","payload":{"id":"x-1","code":"OVERLOADED","retryable":true}}"#,
            r#"Nack { id: "x-1", code: "OVERLOADED", retryable: true }"#,
        );
        check(
            r#"{"type":"gap","payload":{"channel":"c","from_seq":1,"to_seq":4,"lost":true}}"#,
            r#"Gap { channel: "c", to_seq: 4, lost: true }"#,
        );
        check(r#"{"type":"response","payload":{"id":"history","error":{"code":"X"}}}"#, "History { page: None }");
        check(r#"{"type":"presence","payload":{"channel":"c","count":2,"joined":[]}}"#, "Other");
        assert!(Message::parse(b"{").is_err() && Message::parse(br#"{"seq":"7"}"#).is_err());
    }

    #[test]
    fn a_page_of_history_has_its_events_in_order() {
        let page = r#"{"channel":"c","epoch":"e","more":true,"events":[{"seq":1,"epoch":"d","op_id":"x","payload":
            {"value":"one"}},{"seq":2,"epoch":"e","type":"crash","payload":{"value":"t\u0077o"}}]}"#;
        let told = |page: &Page<'_>| {
            let of = |told: Told<'_>| format!("{} {} {:?} {}", told.epoch, told.seq, told.id, told.content);
            page.events().map(of).collect::<Vec<_>>()
        };
        let read = Page::parse(page.as_bytes()).unwrap();
        assert!(read.more);
        assert_eq!(told(&read), ["d 1 Some(\"x\") one", "e 2 None two"]);
        let response = format!("{{\"type\":\"response\",\"payload\":{{\"result\":{page}}}}}");
        let message = Message::parse(response.as_bytes()).unwrap();
        let Heard::History { page: Some(page) } = message.heard() else { panic!("{message:?}") };
        assert_eq!(told(page).len(), 2);
    }

    #[test]
    fn what_is_said_is_the_protocol_s() {
        let value = |text: String| serde_json::from_str::<serde_json::Value>(&text).unwrap();
        let expected = json!({ "type": "publish", "id": "i", "ack": true,
            "payload": { "channel": "chat:a", "type": "crash", "payload": { "value": "v" } } });
        assert_eq!(value(publish("chat:a", "i", "v")), expected);
        let all = [("chat:a", None), ("chat:b", Some(("e".to_owned(), 4)))];
        let expected = json!({ "type": "subscribe",
            "payload": { "channels": ["chat:a", "chat:b"], "since": { "chat:b": { "epoch": "e", "seq": 4 } } } });
        assert_eq!(value(subscribe(all.into_iter())), expected);
        let expected = json!({ "type": "request", "id": "history",
            "payload": { "method": "history", "params": { "channel": "chat:a", "limit": 5, "since": 9 } } });
        assert_eq!(value(history("chat:a", Some(9), 5)), expected);
        assert_eq!(history_path("chat:a", None, 5), "/api/history/chat:a?limit=5");
        assert_eq!(history_path("chat:a", Some(9), 5), "/api/history/chat:a?limit=5&since_seq=9");
    }
}
