//! Proves what a service manager is told, over a real datagram socket: ready once it answers, alive while it runs,
//! stopping when the drain begins, and nothing where nobody asks.

use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::time::Duration;

use crate::gateway::{Directory, Gateway, SOON, command};
use crate::raw;

/// A service manager's end of the socket.
struct Supervisor {
    place: Arc<Directory>,
    socket: UnixDatagram,
}

impl Supervisor {
    fn new() -> Self {
        let place = Directory::new();
        let socket = UnixDatagram::bind(place.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        Self { place, socket }
    }

    fn start(&self, watchdog_us: Option<&str>) -> Gateway {
        let mut command = command(&[]);
        command.env("NOTIFY_SOCKET", self.place.path().join("notify"));
        command.envs(watchdog_us.map(|us| ("WATCHDOG_USEC", us)));
        Gateway::launch(&self.place, command, &["--shards", "2"])
    }

    /// The next datagram's lines.
    fn hear(&self) -> Vec<String> {
        let mut bytes = [0; 1024];
        let count = self.socket.recv(&mut bytes).unwrap();
        std::str::from_utf8(&bytes[..count]).unwrap().lines().map(str::to_owned).collect()
    }
}

#[test]
fn a_manager_hears_ready_then_alive_then_stopping_and_the_end_is_clean() {
    let supervisor = Supervisor::new();
    let mut gateway = supervisor.start(Some("4000000"));
    let ready = supervisor.hear();
    assert_eq!(ready[0], "READY=1", "{ready:?}");
    assert!(ready[1].starts_with("STATUS=2 shards listen, room for "), "{ready:?}");
    assert_eq!(raw::get(&gateway, "GET", "/readyz").status, 200, "ready means that it answers");
    for _ in 0..2 {
        assert_eq!(supervisor.hear(), ["WATCHDOG=1", "STATUS=0 connections"]);
    }
    gateway.terminate();
    let stopping = std::iter::repeat_with(|| supervisor.hear()).find(|lines| lines[0] != "WATCHDOG=1").unwrap();
    assert_eq!(stopping, ["STOPPING=1", "STATUS=draining"]);
    assert_eq!(gateway.wait(SOON).code(), Some(0), "{}", gateway.log());
}

#[test]
fn a_manager_that_sets_no_watchdog_is_fed_none() {
    let supervisor = Supervisor::new();
    let mut gateway = supervisor.start(None);
    assert_eq!(supervisor.hear()[0], "READY=1");
    gateway.terminate();
    assert_eq!(supervisor.hear()[0], "STOPPING=1");
    assert_eq!(gateway.wait(SOON).code(), Some(0), "{}", gateway.log());
    supervisor.socket.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    assert!(supervisor.socket.recv(&mut [0; 16]).is_err(), "nothing else");
}

#[test]
fn a_watchdog_that_an_idle_shard_cannot_satisfy_is_refused() {
    let place = Directory::new();
    let data = place.data();
    let mut command = command(&["serve", "--listen", "127.0.0.1:0", "--data", data.to_str().unwrap()]);
    let output = command.env("WATCHDOG_USEC", "3999999").output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(78), "{error}");
    assert!(error.contains("WATCHDOG_USEC") && error.contains("WatchdogSec=4s"), "{error}");
}

#[test]
fn a_manager_that_is_gone_ends_nothing() {
    let supervisor = Supervisor::new();
    let mut gateway = supervisor.start(None);
    assert_eq!(supervisor.hear()[0], "READY=1");
    std::fs::remove_file(supervisor.place.path().join("notify")).unwrap();
    gateway.terminate();
    assert_eq!(gateway.wait(SOON).code(), Some(0), "{}", gateway.log());
    assert!(gateway.log().contains("cannot be told"), "{}", gateway.log());
}
