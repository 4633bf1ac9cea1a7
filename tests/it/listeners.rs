//! Several addresses at once, IPv6 and Unix sockets: who is let in by which, on which shard it ends up, how it is counted,
//! and what becomes of a socket's file. Also the change from one server to the next on the same addresses.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;

use crate::gateway::{Directory, Gateway, IN_MEMORY, SOON, command, until};

/// A request and the whole answer, by any kind of stream.
fn exchange(mut stream: impl std::io::Read + std::io::Write, request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn ready(stream: impl std::io::Read + std::io::Write) -> bool {
    exchange(stream, "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n").starts_with("HTTP/1.1 200 ")
}

fn upgrade(path: &str, extra: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{extra}\r\n"
    )
}

/// A WebSocket by a Unix socket: the stream once the 101 is there, or the status that was there instead.
fn upgraded(path: &Path, before: &str, head: &str) -> Result<UnixStream, String> {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(format!("{before}{head}").as_bytes()).unwrap();
    let mut first = [0; 12];
    stream.read_exact(&mut first).unwrap();
    let status = String::from_utf8(first[9..].to_vec()).unwrap();
    if status == "101" { Ok(stream) } else { Err(status) }
}

fn socket_in(directory: &Arc<Directory>) -> (PathBuf, String) {
    let path = directory.path().join("ws.sock");
    let address = format!("unix:{}", path.display());
    (path, address)
}

/// The shards' counts of a metric, in their order.
fn by_shard(gateway: &Gateway, name: &str, shards: usize) -> Vec<u64> {
    (0..shards).map(|shard| gateway.metric(name, &format!("shard=\"{shard}\""))).collect()
}

#[test]
fn several_addresses_are_one_server() {
    let directory = Directory::new();
    let (path, unix) = socket_in(&directory);
    let arguments = ["--shards", "2", "--listen", "[::1]:0", "--listen", &unix, "--set", "limits.connections=100"];
    let gateway = Gateway::within(&directory, &arguments);
    assert!(gateway.greeting.contains("; room for 100 connections\n"), "{}", gateway.greeting);
    let also: Vec<&str> = gateway.greeting.lines().filter_map(|line| line.strip_prefix("  and on ")).collect();
    let [six, file] = also[..] else { panic!("{}", gateway.greeting) };
    assert_eq!(file, unix);
    let six: SocketAddr = six.strip_prefix("http://").unwrap().parse().unwrap();
    assert!(six.is_ipv6());
    assert!(ready(TcpStream::connect(gateway.address).unwrap()));
    assert!(ready(TcpStream::connect(six).unwrap()));
    assert!(ready(UnixStream::connect(&path).unwrap()));
    assert!(TcpStream::connect(("127.0.0.1", six.port())).is_err(), "an address of IPv6 is for IPv6 alone");
    let meta = fs::metadata(&path).unwrap();
    assert!(meta.file_type().is_socket());
    assert_eq!(meta.permissions().mode() & 0o7777, 0o660);
    // The page's link is to what a browser can open.
    let link = format!("http://{}/#token=", gateway.address);
    assert!(gateway.greeting.contains(&link), "{}", gateway.greeting);
}

#[test]
fn a_server_of_a_unix_socket_alone_says_how_to_reach_it() {
    let directory = Directory::new();
    let (path, unix) = socket_in(&directory);
    let log = fs::File::create(directory.path().join("log")).unwrap();
    let mut child =
        command(&["serve", "--shards", "1", "--listen", &unix, "--set", "server.socket_mode=0600", "--data"])
            .arg(directory.data())
            .stdout(fs::File::create(directory.path().join("out")).unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
    until("it listens", SOON, || UnixStream::connect(&path).is_ok_and(ready));
    // The shards answer a moment before the lines are printed.
    let greeting = || fs::read_to_string(directory.path().join("out")).unwrap();
    until("it has said where", SOON, || greeting().contains("  waystation token"));
    let greeting = greeting();
    assert!(greeting.contains(&format!("listens on {unix}\n")), "{greeting}");
    assert!(greeting.contains(&format!("ws+unix:{}:/ws/chat/demo?token=", path.display())), "{greeting}");
    assert!(!greeting.contains("browser:\n"), "{greeting}");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(path.exists(), "a killed server removes nothing");
}

#[test]
fn every_shard_gets_its_share_of_a_unix_sockets_connections() {
    const CONNECTIONS: u64 = 200;
    let directory = Directory::new();
    let (path, unix) = socket_in(&directory);
    let gateway = Gateway::within(&directory, &["--shards", "2", "--listen", &unix]);
    let before = by_shard(&gateway, "waystation_accepted_total", 2);
    for _ in 0..CONNECTIONS {
        assert!(ready(UnixStream::connect(&path).unwrap()));
    }
    let after = by_shard(&gateway, "waystation_accepted_total", 2);
    let shares: Vec<u64> = after.iter().zip(before).map(|(after, before)| after - before).collect();
    assert!(shares.iter().all(|share| *share >= CONNECTIONS / 4), "{shares:?}");
    // All at once: what one shard leaves in the queue the other takes.
    let held: Vec<UnixStream> = (0..CONNECTIONS).map(|_| UnixStream::connect(&path).unwrap()).collect();
    assert!(held.into_iter().all(ready));
}

#[test]
fn a_stale_file_is_replaced_a_live_one_is_not_and_it_goes_with_its_server() {
    let directory = Directory::new();
    let (path, unix) = socket_in(&directory);
    drop(UnixListener::bind(&path).unwrap());
    let mut gateway = Gateway::within(&directory, &["--shards", "1", "--listen", &unix]);
    assert!(ready(UnixStream::connect(&path).unwrap()));
    let data = directory.data();
    let second = command(&["serve", "--shards", "1", "--listen", &unix, "--data", data.to_str().unwrap()]);
    let output = { second }.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(75), "{told}");
    assert!(told.contains("is in use") && told.contains("ss -lxp"), "{told}");
    assert!(ready(UnixStream::connect(&path).unwrap()), "the first has its socket still");
    gateway.terminate();
    assert!(gateway.wait(SOON).success());
    assert!(!path.exists());
}

#[test]
fn clients_behind_a_unix_socket_are_told_apart_by_a_trusted_proxy_and_else_are_one() {
    let limit = ["--shards", "2", "--set", "limits.connections_per_address=1", "--listen"];
    let user = |gateway: &Gateway, user: &str| format!("/ws/chat/x?token={}", gateway.token(user));
    // Nobody says whose the sockets are: the second waits for the place of the first.
    let directory = Directory::new();
    let (path, unix) = socket_in(&directory);
    let gateway = Gateway::within(&directory, &[&limit[..], &[&unix]].concat());
    let first = upgraded(&path, "", &upgrade(&user(&gateway, "a"), "X-Forwarded-For: 203.0.113.1\r\n")).unwrap();
    let second = upgraded(&path, "", &upgrade(&user(&gateway, "b"), "X-Forwarded-For: 203.0.113.2\r\n"));
    assert_eq!(second.unwrap_err(), "503");
    drop(first);
    // A trusted proxy's word counts.
    let directory = Directory::new();
    let (path, unix) = socket_in(&directory);
    let gateway = Gateway::within(&directory, &[&limit[..], &[&unix, "--set", "proxies.trusted=unix"]].concat());
    let through = |name: &str, address: &str| {
        upgraded(&path, "", &upgrade(&user(&gateway, name), &format!("X-Forwarded-For: {address}\r\n")))
    };
    let _first = through("a", "203.0.113.1").unwrap();
    let _second = through("b", "203.0.113.2").unwrap();
    assert_eq!(through("c", "203.0.113.2").unwrap_err(), "503");
    // So does the PROXY protocol, and who begins without it is closed.
    let directory = Directory::new();
    let (path, unix) = socket_in(&directory);
    let protocol = ["--set", "proxies.trusted=unix", "--set", "proxies.protocol=true"];
    let gateway = Gateway::within(&directory, &[&limit[..], &[&unix], &protocol[..]].concat());
    let through = |name: &str, address: &str| {
        let line = format!("PROXY TCP4 {address} 10.0.0.1 1 2\r\n");
        upgraded(&path, &line, &upgrade(&user(&gateway, name), ""))
    };
    let _first = through("a", "203.0.113.1").unwrap();
    let _second = through("b", "203.0.113.2").unwrap();
    assert_eq!(through("c", "203.0.113.2").unwrap_err(), "503");
    let mut bare = UnixStream::connect(&path).unwrap();
    bare.write_all(upgrade("/ws", "").as_bytes()).unwrap();
    let answer = bare.read_to_end(&mut Vec::new());
    assert!(answer.is_ok_and(|bytes| bytes == 0), "it was answered");
    // A health check asks as the proxy does.
    let data = directory.data();
    let mut health = command(&["health", "--listen", &unix, "--data", data.to_str().unwrap()]);
    assert_eq!(health.output().unwrap().status.code(), Some(75), "without the header it is not answered");
    let output = health.args(protocol).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let listed = gateway.metrics();
    assert_eq!(listed.status, 200, "who comes by TCP is no proxy");
}

#[test]
fn a_drain_answers_on_a_unix_socket_until_its_end() {
    let directory = Directory::new();
    let (path, unix) = socket_in(&directory);
    let mut gateway = Gateway::within(&directory, &["--shards", "2", "--listen", &unix]);
    let token = gateway.token("a");
    let held = upgraded(&path, "", &upgrade(&format!("/ws/chat/x?token={token}"), "")).unwrap();
    gateway.terminate();
    until("it says that it is not ready", SOON, || UnixStream::connect(&path).is_ok_and(|stream| !ready(stream)));
    let output = command(&["health", "--listen", &unix]).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(75) && told.contains("not ready: HTTP/1.1 503"), "{told}");
    drop(held);
    assert!(gateway.wait(SOON).success());
    assert!(!path.exists());
}

/// Asks again and again for readiness until told to stop; gives how often that was answered, and what went wrong.
fn watch(connect: impl Fn() -> std::io::Result<Box<dyn Stream>>, over: &AtomicBool) -> (usize, Vec<String>) {
    let (mut good, mut bad) = (0, Vec::new());
    while !over.load(SeqCst) {
        let asked = connect().and_then(|mut stream| {
            stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        });
        match asked {
            Ok(answer) if answer.starts_with("HTTP/1.1 200 ") => good += 1,
            Ok(answer) => bad.push(answer.lines().next().unwrap_or("nothing").to_owned()),
            Err(error) => bad.push(format!("{:?}", error.kind())),
        }
    }
    (good, bad)
}

/// Says so also where an expectation fails: a scope waits for its threads.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

trait Stream: std::io::Read + std::io::Write {}
impl<S: std::io::Read + std::io::Write> Stream for S {}

#[test]
fn one_server_follows_another_on_the_same_addresses_and_nobody_is_refused() {
    let directory = Directory::new();
    let (path, unix) = socket_in(&directory);
    let address = Gateway::own_address();
    let desk = directory.path().join("admin.sock");
    let given = format!("admin.socket={}", desk.display());
    let args = ["--shards", "2", "--set", "server.share=true", "--set", &given, "--listen", &unix];
    let args = [&args[..], &IN_MEMORY].concat();
    let connections = || {
        let output = command(&["stats", "--socket"]).arg(&desk).output().unwrap();
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        told["numbers"]["waystation_connections"].as_u64()
    };
    let mut first = Gateway::at(&address, &directory, &args);
    let token = first.token("a");
    let held = upgraded(&path, "", &upgrade(&format!("/ws/chat/x?token={token}"), "")).unwrap();
    let over = AtomicBool::new(false);
    let (tcp, file) = thread::scope(|scope| {
        let over_at_the_end = Over(&over);
        let tcp = scope.spawn(|| watch(|| Ok(Box::new(TcpStream::connect(&address)?)), &over));
        let file = scope.spawn(|| watch(|| Ok(Box::new(UnixStream::connect(&path)?)), &over));
        assert_eq!(connections(), Some(1));
        let second = Gateway::at(&address, &directory, &args);
        assert_eq!(connections(), Some(0), "who follows answers the administration");
        first.terminate();
        until("new connections are the second's", SOON, || {
            // The first one closes its doors at once, and keeps whom it has.
            let before = second.metric("waystation_accepted_total", "");
            (0..8).all(|_| TcpStream::connect(&address).is_ok_and(ready))
                && second.metric("waystation_accepted_total", "") >= before + 8
        });
        drop(held);
        assert!(first.wait(SOON).success());
        assert!(path.exists() && desk.exists(), "the files are the second's");
        assert_eq!(connections(), Some(0));
        assert!(ready(UnixStream::connect(&path).unwrap()));
        drop(over_at_the_end);
        let seen = (tcp.join().unwrap(), file.join().unwrap());
        drop(second);
        seen
    });
    for (name, (good, bad)) in [("TCP", tcp), ("a Unix socket", file)] {
        // What waits in the queue of a listener that closes is reset by the kernel, and comes back; nobody finds no door.
        let refused = bad.iter().filter(|error| **error == format!("{:?}", ErrorKind::ConnectionRefused)).count();
        assert!(good > 10 && refused == 0 && bad.len() <= 2 + good / 50, "{name}: {good} good, {bad:?}");
    }
}
