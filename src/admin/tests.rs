//! The executor with real sockets: what it promises of a connection, beyond the bytes of one answer.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream as Client};
use std::time::Duration;

use super::*;
use crate::ids::ShardId;
use crate::limits::ADMIN_QUEUED_COUNT_MAX;
use crate::mesh::{Capacities, HatchPost, Mesh, hatch};
use crate::wire::http::read_head;

fn request(method: &str, path: &str) -> AdminRequest {
    let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let (request, _) = read_head(head.as_bytes()).unwrap().unwrap();
    AdminRequest {
        peer: std::net::IpAddr::from([127, 0, 0, 1]).into(),
        request,
        allowed_origin: None,
        bearer: operator(),
        leftover: Vec::new(),
    }
}

/// Somebody who may ask for everything.
fn operator() -> Option<Arc<Claims>> {
    let caps = serde_json::from_str(r#"{"*":["admin"]}"#).unwrap();
    let (user, caps) = (Arc::from("ops"), Some(Arc::new(caps)));
    Some(Arc::new(Claims { user, service: false, caps, expires_at: 0, ties: None }))
}

/// A client whose request was read by a shard and posted.
fn posted(post: &HatchPost<AdminJob>, method: &str, path: &str) -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = Client::connect(listener.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let socket = listener.accept().unwrap().0.into();
    let request = request(method, path);
    post.try_put(AdminJob { transport: Transport::Plain(socket), request: Box::new(request) }).unwrap();
    client
}

/// Options for `shards` shards that nobody drives: what is asked of them is not answered.
#[expect(clippy::disallowed_methods, reason = "the executor's clock begins here")]
fn options(shards: u16) -> Options {
    let mesh = Mesh::new(shards, Capacities { control: 4, data: 4 }).unwrap();
    let metrics = (0..shards).map(|_| Metrics::shared()).collect();
    let policy = Arc::new(Policy::default());
    let (_, policies) = hatch(1).unwrap();
    let known = Known {
        started: std::time::Instant::now(),
        cpus: Vec::new(),
        traffic: Vec::new(),
        findings: Vec::new(),
        store: None,
    };
    Options {
        metrics,
        policy,
        policies,
        key: [0; 16],
        loopback: false,
        lost: Lost::default(),
        audit: None,
        post: mesh.post(ShardId::OUTSIDE),
        known,
        desk: None,
    }
}

fn start() -> (HatchPost<AdminJob>, ExecutorJoinHandle<()>) {
    start_with(options(1))
}

fn start_with(options: Options) -> (HatchPost<AdminJob>, ExecutorJoinHandle<()>) {
    let (post, inbox) = hatch(ADMIN_QUEUED_COUNT_MAX).unwrap();
    let (_, answers) = hatch(1).unwrap();
    (post, spawn(inbox, answers, options).unwrap())
}

#[test]
fn more_requests_than_are_answered_at_once_are_all_answered_and_then_it_ends() {
    let (post, executor) = start();
    for _ in 0..3 {
        let clients: Vec<Client> =
            (0..ADMIN_OPEN_COUNT_MAX / 2).map(|_| posted(&post, "GET", "/page/page.js")).collect();
        for mut client in clients {
            let mut text = String::new();
            client.read_to_string(&mut text).unwrap();
            assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        }
    }
    drop(post);
    executor.join().unwrap();
}

#[test]
#[expect(clippy::disallowed_methods, reason = "it measures how long real sockets wait")]
fn clients_that_never_close_keep_nobody_waiting() {
    // Both ends of each are this process's.
    let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let most = rustix::process::Rlimit { current: descriptors.maximum, ..descriptors };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, most).unwrap();
    let (post, executor) = start();
    let started = std::time::Instant::now();
    let mut open = Vec::new();
    // Twice as many as may linger and eight times as many as are answered at once, each of which would hold its place for the whole linger.
    for _ in 0..2 * ADMIN_LINGERING_COUNT_MAX / ADMIN_OPEN_COUNT_MAX {
        for _ in 0..ADMIN_OPEN_COUNT_MAX {
            open.push(posted(&post, "GET", "/page/page.js"));
        }
        let mut last = posted(&post, "GET", "/metrics");
        let mut text = String::new();
        last.read_to_string(&mut text).unwrap();
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    }
    let took = started.elapsed();
    assert!(took < Duration::from_millis(6 * ADMIN_LINGER_MS), "the last of 2056 was answered after {took:?}");
    drop(post);
    executor.join().unwrap();
    drop(open);
}

#[test]
fn an_answer_is_whole_though_the_client_still_sends() {
    let (post, executor) = start();
    let mut client = posted(&post, "GET", "/metrics");
    client.write_all(&vec![b'x'; ADMIN_LINGER_BYTES_MAX / 2]).unwrap();
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    assert!(text.contains("waystation_connections{shard=\"0\"} 0\n"));
    drop((client, post));
    executor.join().unwrap();
}

#[test]
fn a_client_that_floods_or_never_closes_is_cut() {
    let (post, executor) = start();
    let silent = posted(&post, "GET", "/");
    let mut flooding = posted(&post, "GET", "/");
    flooding.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    let flood = vec![b'x'; ADMIN_LINGER_BYTES_MAX];
    let cut = (0..10_000).any(|_| flooding.write_all(&flood).is_err());
    assert!(cut, "more than the bound was read");
    drop(post);
    // Ends although `silent` is still open: its linger is over after ADMIN_LINGER_MS.
    executor.join().unwrap();
    drop(silent);
}

#[test]
fn a_client_that_went_away_hurts_nobody() {
    let (post, executor) = start();
    drop(posted(&post, "GET", "/nothing"));
    let mut text = String::new();
    posted(&post, "GET", "/").read_to_string(&mut text).unwrap();
    assert!(text.ends_with("</html>\n"));
    drop(post);
    executor.join().unwrap();
}

#[test]
fn a_client_that_does_not_read_is_cut_at_the_deadline() {
    // Enough shards that their numbers do not fit into a connection's buffers, which are made small.
    let (post, executor) = start_with(options(64));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    client.set_recv_buffer_size(4096).unwrap();
    client.connect(&listener.local_addr().unwrap().into()).unwrap();
    let socket = listener.accept().unwrap().0;
    socket2::SockRef::from(&socket).set_send_buffer_size(4096).unwrap();
    let request = request("GET", "/metrics");
    post.try_put(AdminJob { transport: Transport::Plain(socket.into()), request: Box::new(request) }).unwrap();
    drop(post);
    executor.join().unwrap();
    let mut client = Client::from(client);
    let mut text = Vec::new();
    let _reset_or_end = client.read_to_end(&mut text);
    assert!(!text.is_empty() && text.len() < 256 * 1024, "{} bytes arrived", text.len());
}

#[test]
fn what_shards_do_not_answer_is_told_at_the_deadline_and_what_they_cannot_take_at_once() {
    let (post, executor) = start();
    // Four questions find room in the inbox, and then none.
    let mut late = posted(&post, "GET", "/api/ws/health");
    let mut text = String::new();
    late.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 503 ") && text.contains("\"unhealthy\""), "{text}");
    drop((late, post));
    executor.join().unwrap();
}
