//! A whole minute on the real clock, at the clients' own pace: their heartbeats keep them alive, the server's keep their
//! watchdogs quiet, and nobody is closed.

use std::thread;
use std::time::Duration;

use super::guide::{self, Guide};
use super::shipped::{Setup, Shipped};
use super::wire::rest;
use crate::gateway::Gateway;

/// A shipped hook closes its socket when it has heard nothing for so long.
const WATCHDOG: Duration = Duration::from_millis(31_000);

#[test]
fn heartbeats_keep_the_seeds_clients_connected_for_a_minute() {
    let gateway = Gateway::start();
    let minute = Duration::from_secs(62);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut ada = Shipped::connect(Setup::chat(gateway.address, "s", &gateway.token("ada")));
            let mut agent = Shipped::connect(Setup::agent(gateway.address, "ada", &gateway.token("ada")));
            rest(&mut [&mut ada, &mut agent], minute);
            for client in [&ada, &agent] {
                assert!(client.is_connected() && client.sockets == 1, "{:?}", client.closes);
                // Two answers to its own, and what the server says by itself every 20 s.
                assert!(client.events_of("connection_heartbeat").len() >= 4, "{:?}", client.events);
                assert!(client.silence < WATCHDOG, "it heard nothing for {:?}", client.silence);
                assert!(client.errors.is_empty() && !client.hook_fooled);
            }
        });
        scope.spawn(|| {
            let mut bob = Guide::connect(guide::Setup::chat(gateway.address, "s", &gateway.token("bob")));
            rest(&mut [&mut bob], minute);
            assert!(bob.is_connected() && bob.sockets == 1, "{:?}", bob.closes);
            assert!(bob.messages_of("connection_heartbeat").len() >= 4);
            assert_eq!(bob.network, guide::Network::Online, "two checks by HEAD /api/health");
        });
    });
}
