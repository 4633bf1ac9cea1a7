//! Proves what a service manager is told, over a real datagram socket: to wait while a start mends, ready once it answers,
//! alive while it runs, when a configuration is read again and what came of it, stopping when the drain begins and how long
//! that takes, and nothing where nobody asks.

use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use sd_notify::NotifyState;
use waystation::limits::START_EXTEND_LOOK_MS;

use crate::gateway::{Directory, Gateway, IN_MEMORY, SOON, command};
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
        // With a store the manager is first asked to wait for that.
        self.start_with(watchdog_us, &[&["--shards", "2"], &IN_MEMORY[..]].concat())
    }

    fn start_with(&self, watchdog_us: Option<&str>, args: &[&str]) -> Gateway {
        let mut command = self.command(&[]);
        command.envs(watchdog_us.map(|us| ("WATCHDOG_USEC", us)));
        Gateway::launch(&self.place, command, args)
    }

    /// The program with this manager.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = command(args);
        command.env("NOTIFY_SOCKET", self.place.path().join("notify"));
        command
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
    assert_eq!(stopping, ["STOPPING=1", "EXTEND_TIMEOUT_USEC=15000000", "STATUS=draining"]);
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

/// Microseconds of the clock that a manager counts by.
fn monotonic_us() -> i128 {
    let NotifyState::MonotonicUsec(now) = NotifyState::monotonic_usec_now().unwrap() else { unreachable!() };
    now
}

#[test]
fn a_reload_is_told_when_it_begins_and_when_every_shard_knows_or_why_not() {
    let supervisor = Supervisor::new();
    let file = supervisor.place.path().join("c.toml");
    let path = file.to_str().unwrap().to_owned();
    for (before, after, status) in [
        (60, "upgrades = 61", "the configuration was read again"),
        (61, "upgrades = \"many\"", "the configuration is refused, the one before it holds: waystation config check"),
    ] {
        std::fs::write(&file, format!("[limits]\nupgrades = {before}\n")).unwrap();
        let mut gateway =
            supervisor.start_with(None, &[&["--shards", "2", "--config", &path], &IN_MEMORY[..]].concat());
        assert_eq!(supervisor.hear()[0], "READY=1");
        let asked = monotonic_us();
        std::fs::write(&file, format!("[limits]\n{after}\n")).unwrap();
        gateway.signal(Signal::HUP);
        let reloading = supervisor.hear();
        assert_eq!((&*reloading[0], reloading.len()), ("RELOADING=1", 2), "{reloading:?}");
        let when = reloading[1].strip_prefix("MONOTONIC_USEC=").and_then(|us| us.parse().ok());
        assert!(when.is_some_and(|when| asked <= when && when <= monotonic_us()), "{asked}: {reloading:?}");
        assert_eq!(supervisor.hear(), ["READY=1".to_owned(), format!("STATUS={status}")]);
        gateway.terminate();
        // The file that changed may have been seen besides.
        let stopping = std::iter::repeat_with(|| supervisor.hear()).find(|lines| lines[0] == "STOPPING=1");
        assert_eq!(stopping.unwrap().len(), 3);
        assert_eq!(gateway.wait(SOON).code(), Some(0), "{}", gateway.log());
    }
}

/// A program that ends with the test.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _ended_already = self.0.wait();
    }
}

#[test]
fn a_start_that_mends_asks_the_manager_to_wait_on() {
    let supervisor = Supervisor::new();
    let store = ["--shards", "1", "--set", "store.window_ms=2"];
    let mut gateway = supervisor.start_with(None, &store);
    let wait = ["EXTEND_TIMEOUT_USEC=30000000", "STATUS=opening the store"];
    assert_eq!(supervisor.hear(), wait);
    let ready = std::iter::repeat_with(|| supervisor.hear()).find(|lines| *lines != wait).unwrap();
    assert_eq!(ready[0], "READY=1");
    gateway.terminate();
    assert_eq!(gateway.wait(SOON).code(), Some(0), "{}", gateway.log());
    assert_eq!(supervisor.hear()[0], "STOPPING=1");
    // A journal that takes forever to read: a pipe that nobody writes to.
    let data = supervisor.place.data();
    let journal = data.join("store/log/4000000000.jnl");
    assert!(Command::new("mkfifo").arg(&journal).status().unwrap().success());
    let mut command = supervisor.command(&["serve", "--listen", "127.0.0.1:0", "--data", data.to_str().unwrap()]);
    let begun = Instant::now();
    let _mending = Started(command.args(store).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    for _ in 0..2 {
        assert_eq!(supervisor.hear(), wait);
    }
    assert!(begun.elapsed() >= Duration::from_millis(START_EXTEND_LOOK_MS), "no more often than it has to");
}
