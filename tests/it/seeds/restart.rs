//! A server that ends and comes back, and connections that break: the seeds' clients find their way back.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::guide::{self, Guide};
use super::shipped::{Setup, Shipped};
use super::wire::{Turns, drive, rest};
use crate::gateway::{Directory, Gateway, SOON};

/// As in the documents, but in hundredths of their time.
const PACE: u32 = 100;

/// Ends the server, lets the clients notice, and starts another where it was.
fn restarted<T: Turns>(mut gateway: Gateway, clients: &mut [&mut T], gone: impl FnMut(&[&mut T]) -> bool) -> Gateway {
    let (address, directory) = (gateway.address.to_string(), Arc::clone(&gateway.directory));
    gateway.terminate();
    drive(clients, 2 * SOON, gone);
    gateway.wait(SOON);
    drop(gateway);
    Gateway::at(&address, &directory, &["--shards", "1"])
}

/// A server that can be started again where it was.
fn first() -> Gateway {
    Gateway::at(&Gateway::own_address(), &Directory::new(), &["--shards", "1"])
}

#[test]
fn the_shipped_client_is_back_after_a_restart_and_chats_on() {
    let gateway = first();
    let token = gateway.token("ada");
    // Five attempts in 31 of its seconds: slow enough that a server starts within them.
    let mut ada = Shipped::connect(Setup::chat(gateway.address, "s", &token).paced(10));
    drive(&mut [&mut ada], SOON, |all| all[0].is_connected());
    let gateway = restarted(gateway, &mut [&mut ada], |all| !all[0].closes.is_empty());
    assert_eq!(ada.closes[0], 1012);
    drive(&mut [&mut ada], SOON, |all| all[0].is_connected());
    assert!((2..=6).contains(&ada.sockets), "{}", ada.sockets);
    ada.send("chat_message", &json!({ "content": "again" }));
    drive(&mut [&mut ada], SOON, |all| all[0].contents().last() == Some(&"again"));
    drop(gateway);
}

#[test]
fn the_guides_class_is_back_after_a_restart_and_chats_on() {
    let gateway = first();
    let token = gateway.token("ada");
    let mut ada = Guide::connect(guide::Setup::chat(gateway.address, "s", &token).paced(4));
    drive(&mut [&mut ada], SOON, |all| all[0].is_connected());
    let gateway = restarted(gateway, &mut [&mut ada], |all| !all[0].closes.is_empty());
    drive(&mut [&mut ada], SOON, |all| all[0].is_connected());
    ada.enqueue("x", json!({ "type": "user_message", "content": "again" }), guide::Priority::Normal);
    drive(&mut [&mut ada], SOON, |all| !all[0].messages_of("chat_message").is_empty());
    drop(gateway);
}

#[test]
fn a_broken_connection_costs_each_client_one_socket_more() {
    let gateway = Gateway::start();
    let mut ada = Shipped::connect(Setup::chat(gateway.address, "s", &gateway.token("ada")).paced(PACE));
    let mut bob = Guide::connect(guide::Setup::chat(gateway.address, "s", &gateway.token("bob")).paced(PACE));
    for round in 1..=3 {
        drive(&mut [&mut ada], SOON, |all| all[0].is_connected());
        drive(&mut [&mut bob], SOON, |all| all[0].is_connected());
        assert_eq!((ada.sockets, bob.sockets), (round, round));
        ada.cut();
        bob.cut();
        drive(&mut [&mut ada], SOON, |all| !all[0].is_connected());
        drive(&mut [&mut bob], SOON, |all| !all[0].is_connected());
    }
    rest(&mut [&mut ada], Duration::from_millis(500));
    rest(&mut [&mut bob], Duration::from_millis(500));
    assert_eq!((ada.sockets, bob.sockets, &ada.closes[..]), (4, 4, &[1006; 3][..]));
}
