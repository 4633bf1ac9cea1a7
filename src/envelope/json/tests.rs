//! The parser as a whole: what each text asks for, what is refused and why.

use super::*;
use crate::envelope::Command;

/// What a text asks for, as text.
fn seen(parser: &mut Parser, text: &str) -> String {
    match parser.parse(text) {
        Ok(inbound) => {
            let command = match &inbound.command {
                Command::Chat(chat) => {
                    let metadata: Vec<_> = chat.metadata.members().collect();
                    format!("Chat({}, {:?}, {:?}, {metadata:?})", chat.content, chat.role, chat.attachments)
                }
                Command::TripUpdate { changes } => {
                    let all = changes.as_slice().iter().map(|c| format!("{}={}", c.field, c.value));
                    format!("TripUpdate({})", all.collect::<Vec<_>>().join(", "))
                }
                other => format!("{other:?}"),
            };
            let flags = [(inbound.ack, " ack"), (inbound.exclude_sender, " exclude")];
            let flags: String = flags.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect();
            let id = inbound.id.map(|id| format!(" id={id:?}")).unwrap_or_default();
            let channel = inbound.channel.map(|channel| format!(" channel={channel:?}")).unwrap_or_default();
            format!("{command}{id}{channel}{flags}")
        }
        Err(no) => format!("{} {:?} {:?}: {}", no.code.name(), no.kind, no.id, no.message),
    }
}

fn check(text: &str, expected: &str) {
    assert_eq!(seen(&mut Parser::default(), text), expected, "{text}");
}

#[test]
fn every_message_type_is_read() {
    for (text, expected) in [
        (r#"{"type":"heartbeat"}"#, "Heartbeat"),
        (r#"{"type":"connection_heartbeat","payload":{"timestamp":"x"}}"#, "Heartbeat"),
        (r#"{"type":"ping","timestamp":17}"#, r#"Ping { timestamp: Some("17") }"#),
        (
            r#"{"type":"ping","payload":{"timestamp":"a\u0041"},"timestamp":1}"#,
            r#"Ping { timestamp: Some("\"a\\u0041\"") }"#,
        ),
        (r#"{"type":"ping","payload":{},"timestamp":1}"#, r#"Ping { timestamp: Some("1") }"#),
        (r#"{"type":"ping","timestamp":[1]}"#, "Ping { timestamp: None }"),
        (r#"{"type":"pong"}"#, "Pong"),
        (r#"{"type":"wink"}"#, r#"Unknown { kind: "wink" }"#),
        (r#"{"type":"chat_message","content":"hi"}"#, r#"Chat("hi", None, None, [])"#),
    ] {
        check(text, expected);
    }
}
