//! Policy rows of the configuration file over the wire.

use std::fs;

use serde_json::json;

use crate::client::Client;
use crate::gateway::{Directory, Gateway};

const CONFIG: &str = r#"
    [[policy]]
    pattern = "chat:*"
    allowed_events = ["note"]

    [[policy]]
    pattern = "chat:archive-*"
    verbs = ["subscribe", "history"]

    [[policy]]
    pattern = "news:{user}"
    verbs = ["subscribe", "publish"]
    rate = 6
    burst = 2
"#;

fn configured(config: &str) -> Gateway {
    let place = Directory::new();
    let file = place.path().join("gateway.toml");
    fs::write(&file, config).unwrap();
    Gateway::within(&place, &["--shards", "1", "--config", file.to_str().unwrap()])
}

fn publish(client: &mut Client, channel: &str, kind: &str) -> serde_json::Value {
    client.send(&json!({
        "type": "publish", "id": format!("{channel}{kind}"), "ack": true,
        "payload": { "channel": channel, "type": kind, "payload": {} },
    }));
    loop {
        let event = client.event();
        if event["type"] == "ack" || event["type"] == "nack" {
            return event["payload"]["code"].clone();
        }
    }
}

#[test]
fn rows_of_the_file_say_what_users_may_do_where() {
    let gateway = configured(CONFIG);
    let mut ada = Client::join_known(&gateway, "/ws/chat/s", &gateway.token("ada"));
    let (done, denied) = (json!(null), json!("PERMISSION_DENIED"));
    for (channel, kind, expected) in [
        ("chat:s", "note", &done),
        ("chat:s", "reaction", &denied),
        ("chat:archive-1", "note", &denied),
        ("trip:1", "reaction", &done),
        ("news:ada", "reaction", &done),
        ("news:bob", "reaction", &denied),
    ] {
        assert_eq!(publish(&mut ada, channel, kind), *expected, "{channel} {kind}");
    }
    assert_eq!(publish(&mut ada, "news:ada", "second"), done);
    assert_eq!(publish(&mut ada, "news:ada", "third"), "RATE_LIMIT_EXCEEDED");
    ada.subscribe(&["chat:archive-1", "news:ada"]);
    let backend = gateway.token_with("backend", &["--role", "service"]);
    let mut backend = Client::join_known(&gateway, "/ws/chat/s", &backend);
    assert_eq!(publish(&mut backend, "chat:s", "reaction"), done, "a service may publish any event");
}

#[test]
fn with_require_caps_a_user_may_do_what_its_token_says_and_nothing_else() {
    let gateway = configured("[auth]\nrequire_caps = true\n");
    let plain = gateway.token("ada");
    assert_eq!(Client::try_open(&gateway, &format!("/ws/chat/s?token={plain}"), &[]).unwrap_err().0, 403);
    let caps = gateway.token_with("ada", &["--caps", r#"{"chat:s":["subscribe"]}"#]);
    let mut ada = Client::join_known(&gateway, "/ws/chat/s", &caps);
    assert_eq!(publish(&mut ada, "chat:s", "note"), "PERMISSION_DENIED");
}
