//! The seeds' clients at what their documents describe: they authenticate, chat in a session of two, send batches, and
//! understand everything that they are told.

use serde_json::json;

use super::guide::{self, Guide, Priority, State};
use super::shipped::{Setup, Shipped};
use super::wire::drive;
use crate::client::has_null;
use crate::gateway::{Gateway, SOON};

fn connected(gateway: &Gateway, session: &str, user: &str) -> Shipped {
    let mut client = Shipped::connect(Setup::chat(gateway.address, session, &gateway.token(user)));
    drive(&mut [&mut client], SOON, |all| all[0].is_connected());
    client
}

#[test]
fn the_exchange_of_seed_001_gives_what_its_page_shows() {
    let gateway = Gateway::start();
    let setup = guide::Setup::chat(gateway.address, "session-123", &gateway.token("user-789"));
    let mut client = Guide::connect(setup);
    drive(&mut [&mut client], SOON, |all| all[0].is_connected());
    let reply = &client.reply;
    assert!(!has_null(reply), "{reply}");
    assert_eq!(
        (&reply["success"], &reply["userId"], &reply["sessionId"]),
        (&json!(true), &json!("user-789"), &json!("session-123"))
    );
    assert!(reply["connectionId"].as_str().is_some_and(|id| !id.is_empty()));
    // Seed 002 adds these two.
    assert_eq!(reply["permissions"], json!(["read", "write"]));
    assert!(reply["availableChannels"].as_array().unwrap().contains(&json!("chat:session-123")));
}

#[test]
fn two_shipped_clients_chat_in_a_session() {
    let gateway = Gateway::start();
    let (mut ada, mut bob) = (connected(&gateway, "s", "ada"), connected(&gateway, "s", "bob"));
    for word in ["one", "two", "three"] {
        ada.send("chat_message", &json!({ "content": word, "attachments": [] }));
    }
    drive(&mut [&mut ada, &mut bob], SOON, |all| all.iter().all(|client| client.contents().len() == 3));
    bob.send("chat_message", &json!({ "content": "four", "attachments": ["a.pdf"], "temperature": 0.7 }));
    drive(&mut [&mut ada, &mut bob], SOON, |all| all.iter().all(|client| client.contents().len() == 4));
    for client in [&ada, &bob] {
        assert_eq!(client.contents(), ["one", "two", "three", "four"]);
        assert_eq!(client.events_of("connection_established").len(), 1);
        assert_eq!(client.dropped_types(), ["subscribed"], "what it knows no name for");
        assert!(!client.hook_fooled && client.errors.is_empty() && client.sockets == 1);
        let message = &client.events_of("chat_message")[3]["payload"]["message"];
        assert_eq!((&message["role"], &message["user_id"]), (&json!("user"), &json!("bob")), "{message}");
        assert_eq!((&message["session_id"], &message["attachments"]), (&json!("s"), &json!(["a.pdf"])));
        assert!(message["id"].is_string() && message["timestamp"].is_string());
    }
}

#[test]
fn twenty_five_messages_at_default_limits_all_arrive_in_batches_and_one_by_one() {
    let gateway = Gateway::start();
    for batches in [true, false] {
        let session = format!("s-{batches}");
        let setup = Setup::chat(gateway.address, &session, &gateway.token("ada"));
        let mut ada = Shipped::connect(if batches { setup.batching() } else { setup });
        let mut bob = connected(&gateway, &session, "bob");
        drive(&mut [&mut ada], SOON, |all| all[0].is_connected());
        let contents: Vec<String> = (0..25).map(|number| number.to_string()).collect();
        for content in &contents {
            ada.send("chat_message", &json!({ "content": content }));
        }
        drive(&mut [&mut ada, &mut bob], SOON, |all| all.iter().all(|client| client.contents().len() == 25));
        for client in [&ada, &bob] {
            assert_eq!(client.contents(), contents, "in batches: {batches}");
            assert!(client.errors.is_empty() && client.events_of("connection_error").is_empty());
            assert_eq!(client.sockets, 1);
        }
    }
}

#[test]
fn the_shipped_clients_requests_are_answered_in_a_way_that_does_not_hurt_it() {
    let gateway = Gateway::start();
    let mut ada = connected(&gateway, "s", "ada");
    ada.send("subscribe", &json!({ "channels": ["notifications", "user:bob"], "unsubscribe_channels": [] }));
    ada.send("start_agent", &json!({ "type": "budget", "name": "b", "config": {} }));
    ada.send("resource_usage", &json!({ "agent_id": "a", "cpu": 1, "memory": 2, "tokens": 3 }));
    ada.send("subscribe_status", &json!({}));
    ada.send("chat_message", &json!({ "content": "" }));
    ada.send("heartbeat", &json!({ "timestamp": "2026-01-01T00:00:00.000Z" }));
    drive(&mut [&mut ada], SOON, |all| !all[0].events_of("connection_heartbeat").is_empty());
    assert!(ada.is_connected() && !ada.hook_fooled, "{:?}", ada.events);
    let errors = ada.events_of("connection_error");
    let codes: Vec<&str> = errors.iter().map(|event| event["payload"]["code"].as_str().unwrap()).collect();
    assert!(codes.contains(&"UNKNOWN_TYPE"), "{codes:?}");
    for error in errors {
        let payload = &error["payload"];
        assert_eq!((&payload["error_code"], &payload["error_message"]), (&payload["code"], &payload["message"]));
    }
    ada.disconnect();
    drive(&mut [&mut ada], SOON, |all| all[0].has_stopped());
    assert_eq!((ada.sockets, &ada.closes[..]), (1, &[1000][..]));
}

#[test]
fn the_agent_status_client_is_shown_what_its_users_agents_do() {
    let gateway = Gateway::start();
    let mut ada = Shipped::connect(Setup::agent(gateway.address, "ada", &gateway.token("ada")));
    drive(&mut [&mut ada], SOON, |all| all[0].is_connected());
    assert_eq!(ada.reply.get("session_id"), None, "{}", ada.reply);
    let service = gateway.token_with("backend", &["--role", "service"]);
    let mut backend = crate::client::Client::join_with(&gateway, "/ws/chat/x", &json!({ "token": service }));
    let status = json!({ "is_active": true, "progress": 40, "agentId": "a", "status": "thinking" });
    for kind in ["agent_status_update", "task_start", "tool_call_progress", "agent_error"] {
        backend.send(&json!({ "type": kind, "channel": "agent:ada", "payload": status }));
    }
    drive(&mut [&mut ada], SOON, |all| !all[0].events_of("agent_error").is_empty());
    for kind in ["agent_status_update", "agent_task_start", "tool_call_progress", "agent_error"] {
        let events = ada.events_of(kind);
        assert_eq!(events.len(), 1, "{kind}");
        assert_eq!(events[0]["payload"]["progress"], 40);
    }
}

#[test]
fn the_guides_class_goes_through_its_states_and_its_queue_empties_by_priority() {
    let gateway = Gateway::start();
    let mut ada = Guide::connect(guide::Setup::chat(gateway.address, "s", &gateway.token("ada")));
    let chat = |content: &str| json!({ "type": "user_message", "content": content });
    // Before it is connected: they wait, and go by priority.
    ada.enqueue("3", chat("normal"), Priority::Normal);
    ada.enqueue("4", chat("low"), Priority::Low);
    ada.enqueue("2", chat("high"), Priority::High);
    ada.enqueue("1", chat("critical"), Priority::Critical);
    ada.enqueue("3", chat("twice"), Priority::Critical);
    drive(&mut [&mut ada], SOON, |all| all[0].messages_of("chat_message").len() == 4);
    let contents: Vec<_> =
        ada.messages_of("chat_message").iter().map(|event| event["payload"]["content"].clone()).collect();
    assert_eq!(contents, ["critical", "high", "normal", "low"]);
    assert_eq!(ada.states, [State::Connecting, State::Authenticating, State::Connected]);
    assert_eq!((ada.sockets, ada.metrics.sent), (1, 4));
    ada.check_connectivity();
    assert_eq!(ada.network, guide::Network::Online, "HEAD /api/health answers");
    assert!(ada.metrics.received >= 7);
}

#[test]
fn a_shipped_client_shows_who_writes_whatever_the_writer_calls_it() {
    let gateway = Gateway::start();
    let (mut ada, mut bob) = (connected(&gateway, "s", "ada"), connected(&gateway, "s", "bob"));
    let starts = ["chat_typing_start", "user_typing", "typing", "typing_start"];
    for (at, kind) in starts.into_iter().enumerate() {
        ada.send(kind, &json!({ "userId": "mallory", "sessionId": "s" }));
        drive(&mut [&mut ada, &mut bob], SOON, |all| all[1].events_of("chat_typing_start").len() == at + 1);
        // The last one is left to end by itself, after five seconds.
        if at + 1 < starts.len() {
            ada.send(["chat_typing_stop", "user_stop_typing", "typing_stop"][at], &json!({}));
        }
        drive(&mut [&mut ada, &mut bob], SOON, |all| all[1].events_of("chat_typing_stop").len() == at + 1);
    }
    for event in bob.events_of("chat_typing_start") {
        assert_eq!(event["payload"], json!({ "session_id": "s", "user_id": "ada" }));
    }
    assert!(ada.events_of("chat_typing_start").is_empty(), "nobody is told of itself");
}

#[test]
fn the_quick_start_of_seed_000_edits_a_trip_and_sees_who_comes() {
    let gateway = Gateway::start();
    let join = |user: &str| {
        let setup = guide::Setup::chat(gateway.address, "s", &gateway.token(user));
        Guide::connect(guide::Setup { path: "/ws/trips/t/collab".to_owned(), channels: Vec::new(), ..setup })
    };
    let mut ada = join("ada");
    drive(&mut [&mut ada], SOON, |all| !all[0].messages_of("trip_collaborator_presence").is_empty());
    let mut bob = join("bob");
    drive(&mut [&mut ada, &mut bob], SOON, |all| !all[0].messages_of("collaborator_joined").is_empty());
    // What its page reads is `lastMessage.data.user`.
    assert_eq!(ada.messages_of("collaborator_joined")[0]["data"]["user"]["id"], "bob");
    let update = json!({ "type": "trip_update", "data": { "field": "name", "value": "European Adventure 2025" } });
    ada.enqueue("1", update, Priority::Normal);
    drive(&mut [&mut ada, &mut bob], SOON, |all| !all[1].messages_of("trip_update_broadcast").is_empty());
    let seen = &bob.messages_of("trip_update_broadcast")[0]["payload"];
    assert_eq!((&seen["updated_by"], &seen["trip_id"]), (&json!("ada"), &json!("t")));
    assert_eq!(seen["changes"]["name"]["new_value"], "European Adventure 2025");
}
