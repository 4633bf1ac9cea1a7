//! What a client sends: its form, its size, its rate.

use super::*;
use crate::limits::{
    BATCH_BYTES_MAX, BATCH_MESSAGES_PER_TOKEN, ECHO_MESSAGE_BYTES_MAX, FLOOD_IN_A_ROW_MAX, INVALID_IN_A_ROW_MAX,
    MESSAGE_BYTES_MAX, OUTBOX_BYTES_MAX, PAUSED_BYTES_MAX,
};
use crate::outbox::FRAME_OVERHEAD_BYTES;

const CHAT: &str = r#"{"type":"chat_message","content":"hello"}"#;
/// What a chat connection may send at once.
const BURST: usize = 20;

#[test]
fn only_known_clients_are_closed_for_invalid_messages_in_a_row() {
    let max = usize::from(INVALID_IN_A_ROW_MAX);
    for (known, count, closed) in [
        (true, max - 1, false),
        (true, max, true),
        (true, max + 1, true),
        (false, max, false),
        (false, max + 1, false),
        (false, 300, false),
    ] {
        let mut world = World::new();
        let who = world.client(known, "/ws", "ann");
        for _ in 0..count {
            world.say(who, "{");
        }
        let mut expected = vec!["connection_error INVALID_JSON"; if closed { max } else { count }];
        expected.extend(if closed { &["connection_close 1008", "close 1008"][..] } else { &[] });
        assert_eq!(world.heard_words(who), expected, "known: {known}, {count} messages");
    }
}

#[test]
fn a_valid_message_breaks_the_row_and_an_unknown_type_is_not_in_it() {
    let mut world = World::new();
    let who = world.known("/ws", "ann");
    for index in 0..4 * INVALID_IN_A_ROW_MAX {
        let breaks = index % INVALID_IN_A_ROW_MAX == INVALID_IN_A_ROW_MAX - 1;
        world.say(who, if breaks { r#"{"type":"pong"}"# } else { "[]" });
        world.say(who, if breaks { r#"{"type":"no such type"}"# } else { r#"{"type":"pong" "# });
        if index % 4 == 3 {
            world.say(who, r#"{"type":"no such type"}"#);
        }
    }
    assert!(world.is_open(who));
}

#[test]
fn a_known_client_over_its_rate_is_refused_and_closed_when_it_goes_on() {
    let max = usize::from(FLOOD_IN_A_ROW_MAX);
    for (over, closed) in [(max - 1, false), (max, true), (max + 1, true)] {
        let mut world = World::with(|options| options.unlimited = false);
        let who = world.known("/ws/chat/s", "ann");
        for _ in 0..BURST + over {
            world.say(who, CHAT);
        }
        let mut expected = vec!["chat_message"; BURST];
        expected.push("connection_error RATE_LIMIT_EXCEEDED");
        expected.extend(if closed { &["connection_close 4029", "close 4029"][..] } else { &[] });
        assert_eq!(world.heard_words(who), expected, "{over} over the rate");
    }
}

#[test]
fn what_is_malformed_costs_as_much_as_what_is_not() {
    let mut world = World::with(|options| options.unlimited = false);
    let who = world.legacy("/ws/chat/s", "ann");
    world.send(who, &text("{").repeat(BURST + 1));
    assert_eq!(world.heard_words(who), vec!["connection_error INVALID_JSON"; BURST]);
    assert!(!world.sockets[who].reads, "it is read later");
    world.wait(1000);
    assert_eq!(world.heard_words(who), ["connection_error INVALID_JSON"]);
    assert!(world.sockets[who].reads && world.is_open(who));
}

#[test]
fn a_known_client_over_its_rate_is_closed_for_rubbish_as_for_anything_else() {
    let over = usize::from(FLOOD_IN_A_ROW_MAX);
    let mut world = World::with(|options| options.unlimited = false);
    let who = world.known("/ws/chat/s", "ann");
    world.send(who, &text(CHAT).repeat(BURST - 1));
    world.heard(who);
    world.send(who, &text("{").repeat(over + 1));
    let expected = [
        "connection_error INVALID_JSON",
        "connection_error RATE_LIMIT_EXCEEDED",
        "connection_close 4029",
        "close 4029",
    ];
    assert_eq!(world.heard_words(who), expected);
}

#[test]
fn an_operation_that_is_malformed_is_answered_under_its_id() {
    let mut world = World::new();
    let who = world.legacy("/ws/chat/s", "ann");
    for (text, expected) in [
        (r#"{"type":"chat_message","id":"1","ack":true}"#, "nack INVALID_MESSAGE_FORMAT"),
        (r#"{"ack":true,"priority":9,"id":"1","type":"chat_message"}"#, "nack INVALID_MESSAGE_FORMAT"),
        (r#"{"type":"chat_message","id":"1","ack":false}"#, "connection_error INVALID_MESSAGE_FORMAT"),
        (r#"{"type":"chat_message","id":"1","ack":"yes"}"#, "connection_error INVALID_MESSAGE_FORMAT"),
        (r#"{"type":"chat_message","id":"","ack":true}"#, "connection_error INVALID_MESSAGE_FORMAT"),
        (r#"{"type":"chat_message","ack":true}"#, "connection_error INVALID_MESSAGE_FORMAT"),
    ] {
        world.say(who, text);
        let heard = world.heard(who);
        assert_eq!(words(&heard), [expected], "{text}");
        assert!(!expected.starts_with("nack") || heard[0]["payload"]["id"] == "1");
    }
    world.say(who, &batch(&[r#"{"type":"batch","id":"2","ack":true,"payload":{"messages":[]}}"#]));
    assert_eq!(world.heard_words(who), ["nack INVALID_MESSAGE_FORMAT"]);
}

/// A batch of these messages.
fn batch(messages: &[&str]) -> String {
    format!(r#"{{"type":"batch","payload":{{"messages":[{}]}}}}"#, messages.join(","))
}

#[test]
fn the_messages_of_a_batch_are_done_in_order_and_one_that_fails_fails_alone() {
    for known in [false, true] {
        let mut world = World::new();
        let who = world.client(known, "/ws/chat/s", "ann");
        let ping = r#"{"type":"ping","timestamp":7}"#;
        world.say(who, &batch(&[CHAT, "7", r#"{"type":"wink"}"#, ping, &publish("general", "1", &json!({})), CHAT]));
        let heard = world.heard(who);
        let expected = [
            "connection_error INVALID_MESSAGE_FORMAT",
            "connection_error UNKNOWN_TYPE",
            "nack PERMISSION_DENIED",
            "chat_message",
            "chat_message",
            "pong",
        ];
        assert_eq!(words(&heard), expected, "known: {known}");
        assert_eq!(seqs(&heard, "chat_message"), [1, 2]);
    }
}

#[test]
fn a_batch_ends_with_the_message_that_ends_the_connection() {
    let max = usize::from(INVALID_IN_A_ROW_MAX);
    let mut world = World::new();
    let who = world.known("/ws/chat/s", "ann");
    let mut messages = vec!["{}"; max];
    messages.push(CHAT);
    world.say(who, &batch(&messages));
    let mut expected = vec!["connection_error INVALID_MESSAGE_FORMAT"; max];
    expected.extend(["connection_close 1008", "close 1008"]);
    assert_eq!(world.heard_words(who), expected);
    assert_eq!(world.read(Metric::Published), 0);
}

#[test]
fn a_batch_costs_a_token_for_ten_and_waits_whole() {
    let per_token = BATCH_MESSAGES_PER_TOKEN;
    for (count, left) in [(per_token, BURST - 1), (per_token + 1, BURST - 2)] {
        let mut world = World::with(|options| options.unlimited = false);
        let who = world.legacy("/ws/chat/s", "ann");
        world.say(who, &batch(&vec![CHAT; count]));
        assert_eq!(world.heard(who).len(), count);
        world.send(who, &text(CHAT).repeat(left));
        assert!(world.sockets[who].reads, "{count}");
        world.say(who, &batch(&[CHAT, CHAT]));
        assert_eq!(world.heard(who).len(), left);
        assert!(!world.sockets[who].reads, "{count}");
        world.wait(1000);
        assert_eq!(world.heard_words(who), ["chat_message", "chat_message"]);
        assert!(world.sockets[who].reads, "{count}");
    }
}

#[test]
fn each_operation_in_a_batch_that_is_refused_for_its_rate_is_answered() {
    let mut world = World::with(|options| options.unlimited = false);
    let who = world.known("/ws/chat/s", "ann");
    world.send(who, &text(CHAT).repeat(BURST));
    world.heard(who);
    world.say(who, &batch(&[&publish("chat:s", "1", &json!({})), CHAT, "7", &publish("chat:s", "2", &json!({}))]));
    let heard = world.heard(who);
    assert_eq!(words(&heard), ["nack RATE_LIMIT_EXCEEDED"; 2]);
    assert_eq!([&heard[0]["payload"]["id"], &heard[1]["payload"]["id"]], ["1", "2"]);
}

#[test]
fn a_known_client_is_told_its_rate_once_a_second_and_each_operation_is_answered() {
    let mut world = World::with(|options| options.unlimited = false);
    let who = world.known("/ws/chat/s", "ann");
    world.send(who, &text(CHAT).repeat(BURST));
    world.heard(who);
    world.say(who, &publish("chat:s", "1", &json!({})));
    world.say(who, CHAT);
    let heard = world.heard(who);
    assert_eq!(words(&heard), ["nack RATE_LIMIT_EXCEEDED"], "the refused operation has told it");
    assert_eq!(heard[0]["payload"]["retryable"], true);
    assert_eq!(heard[0]["payload"]["retry_after_ms"], 500);
    world.wait(1000);
    assert_eq!(world.heard_words(who), ["presence"]);
    world.send(who, &text(CHAT).repeat(3));
    let heard = world.heard(who);
    assert_eq!(words(&heard), ["connection_error RATE_LIMIT_EXCEEDED", "chat_message", "chat_message"]);
    let expected = json!({ "limit": 120, "remaining": 0, "retry_after": 1, "window_seconds": 60 });
    assert_eq!(heard[0]["payload"]["details"], expected);
}

#[test]
fn a_legacy_client_over_its_rate_is_read_later_and_loses_nothing() {
    for count in [BURST - 1, BURST, BURST + 1, BURST + 200] {
        let mut world = World::with(|options| options.unlimited = false);
        let who = world.legacy("/ws/chat/s", "ann");
        let all: Vec<u8> =
            (0..count).flat_map(|index| text(&format!(r#"{{"type":"chat_message","content":"{index}"}}"#))).collect();
        world.send(who, &all);
        assert_eq!(world.sockets[who].reads, count <= BURST, "{count}");
        // Its silence is of our making, so it is not given up, however long it takes.
        world.wait(500 * (count.saturating_sub(BURST) as u64) + 500);
        assert!(world.sockets[who].reads && world.is_open(who), "{count}");
        let heard = world.heard(who);
        let said: Vec<&str> = of_type(&heard, "chat_message").iter().map(|frame| text_of(frame)).collect();
        assert_eq!(said, (0..count).map(|index| index.to_string()).collect::<Vec<_>>());
        assert_eq!(world.read(Metric::MessagesIn), count as u64, "a message that waited is counted once");
    }
}

fn text_of(frame: &Value) -> &str {
    frame["payload"]["content"].as_str().unwrap()
}

#[test]
fn what_a_paused_client_may_have_under_way_is_bounded() {
    for (bytes, closed) in [(PAUSED_BYTES_MAX - 1, false), (PAUSED_BYTES_MAX, false), (PAUSED_BYTES_MAX + 1, true)] {
        let mut world = World::with(|options| options.unlimited = false);
        let who = world.legacy("/ws/chat/s", "ann");
        world.send(who, &text(CHAT).repeat(BURST + 1));
        world.heard(who);
        for chunk in vec![0; bytes].chunks(4096) {
            world.put(who, chunk);
        }
        world.run();
        let expected: &[&str] = if closed { &["connection_close 4029", "close 4029"] } else { &[] };
        assert_eq!(world.heard_words(who), expected, "{bytes} bytes");
    }
}

#[test]
fn a_message_of_the_limit_passes_and_one_byte_more_ends_the_connection() {
    let over: &[&str] = &["connection_error MESSAGE_TOO_LARGE", "close 1009"];
    for known in [false, true] {
        for (len, expected) in
            [(MESSAGE_BYTES_MAX - 1, &["note"][..]), (MESSAGE_BYTES_MAX, &["note"]), (MESSAGE_BYTES_MAX + 1, over)]
        {
            let mut world = World::new();
            let who = world.client(known, "/ws/chat/s", "ann");
            world.say(who, &publish_of("chat:s", len));
            assert_eq!(world.heard_words(who), expected, "known: {known}, {len} bytes");
        }
    }
}

#[test]
fn an_echo_of_the_limit_passes_and_one_byte_more_ends_the_connection() {
    for (len, expected) in [
        (ECHO_MESSAGE_BYTES_MAX - 1, "binary"),
        (ECHO_MESSAGE_BYTES_MAX, "binary"),
        (ECHO_MESSAGE_BYTES_MAX + 1, "close 1009"),
    ] {
        let mut world = World::new();
        let who = world.upgrade("/echo");
        world.send(who, &masked(2, &vec![7; len]));
        let heard = world.heard(who);
        assert_eq!(heard.last().map(word).unwrap(), expected, "{len} bytes");
        assert!(expected != "binary" || heard[0]["bytes"] == len);
    }
}

#[test]
fn a_client_that_does_not_read_its_echoes_is_not_read_until_it_does() {
    const HEADER_BYTES: usize = 4;
    let echo_of = |cost: usize| text(&"x".repeat(cost - FRAME_OVERHEAD_BYTES - HEADER_BYTES));
    let quarter = OUTBOX_BYTES_MAX / 4;
    for (last, reads) in [(quarter - 1, true), (quarter, true), (quarter + 1, false)] {
        let mut world = World::new();
        let who = world.upgrade("/echo");
        world.heard(who);
        world.sockets[who].room = 0;
        // The first is taken up by a write; those after it are queued.
        world.say(who, "first");
        (0..3).for_each(|_| world.send(who, &echo_of(quarter)));
        world.send(who, &echo_of(last));
        assert_eq!(world.sockets[who].reads, reads, "{last} bytes after three quarters");
        world.open(who, usize::MAX);
        assert!(world.sockets[who].reads && world.is_open(who));
        assert_eq!(world.heard(who).len(), 5);
    }
}

#[test]
fn echoes_and_what_is_none_leave_in_the_order_in_which_they_were_asked_for() {
    let mut world = World::new();
    let who = world.upgrade("/echo");
    let (mut bytes, large) = (Vec::new(), vec![7; BATCH_BYTES_MAX]);
    for frame in [
        text("a"),
        masked(2, b"b"),
        masked(9, b"c"),
        text("d"),
        masked(2, &large),
        text("e"),
        masked(8, &1000_u16.to_be_bytes()),
    ] {
        bytes.extend_from_slice(&frame);
    }
    world.writes.clear();
    world.send(who, &bytes);
    assert_eq!(world.heard_words(who), ["text", "binary", "pong frame", "text", "binary", "text", "close 1000"]);
    let parts: usize = world.writes.iter().map(|(_, parts, _)| *parts).sum();
    assert_eq!(parts, 5, "a with b, the pong, d with what fills a write, e, the close");
}
