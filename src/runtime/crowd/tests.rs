//! A host that is turned by hand, with real sockets: who is let in and out in which turn.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Crowd;
use crate::auth::token::{Key, Keys, TokenRequest, Verifier, mint};
use crate::census::addresses::AddressKey;
use crate::census::limits::Limits;
use crate::ids::ShardId;
use crate::limits::{
    ADOPTIONS_HELD_MAX, AUTH_DEADLINE_MS, DRAIN_SILENT_MS, HEAD_DEADLINE_MS, TURN_ARRIVALS_MAX, TURN_ARRIVALS_MIN,
    TURN_ARRIVALS_SHARE, TURN_LINE_LOOKS_MAX, TURN_PROBES_MAX,
};
use crate::mesh::{Capacities, Mesh, MeshEnd, Parcel};
use crate::metrics::{Metric, Metrics};
use crate::route::{self, HashKey};
use crate::runtime::address::Address;
use crate::runtime::clock::Clock;
use crate::runtime::listen::{self, Sharing, listen};
use crate::runtime::ring::RingSizes;
use crate::runtime::turn::Host;
use crate::runtime::{Options, Seat, host};
use crate::shard::{self, Shard};
use crate::wire::peer::Peer;

const KEY: HashKey = [5; 16];
const SECRET: &[u8] = b"a secret of more than thirty-two bytes";
/// More than some turns let in.
const CROWD: usize = 5 * TURN_ARRIVALS_MIN;
/// How long a clock stands that begins to count so much later.
const STANDING: Duration = Duration::from_secs(3600);

struct Bench {
    host: Host,
    address: SocketAddr,
    unix_s: u64,
}

struct Client {
    stream: TcpStream,
    heard: String,
}

impl Bench {
    fn new() -> Self {
        let [bench] = Self::several();
        bench
    }

    /// Hosts of the shards of one process, each with a listener of its own. Their clocks stand until a test waits, so
    /// that every turn takes no time and lets in as many as it must.
    fn several<const SHARDS: usize>() -> [Self; SHARDS] {
        Self::several_with(|_| ())
    }

    #[expect(clippy::disallowed_methods, reason = "the time from which the hosts count")]
    fn several_with<const SHARDS: usize>(change: impl FnOnce(&mut shard::Options)) -> [Self; SHARDS] {
        let shards = u16::try_from(SHARDS).unwrap();
        let mut mesh = Mesh::new(shards, Capacities::for_shards(SHARDS)).unwrap();
        let verifier = Verifier { keys: Keys::new(vec![Key::hs256(None, SECRET)]).unwrap(), ..Verifier::default() };
        let shipped = shard::Options::embedded(KEY, verifier);
        let mut options = shard::Options { shards, echo: true, unlimited: true, ..shipped };
        change(&mut options);
        let started = Instant::now() + STANDING;
        let mut ends = (0..shards).map(|id| (ShardId(id), mesh.take_end(ShardId(id)).unwrap()));
        std::array::from_fn(|_| Self::of(ends.next().unwrap(), options.clone(), started))
    }

    fn of((id, mesh): (ShardId, MeshEnd<Parcel>), options: shard::Options, started: Instant) -> Self {
        let sharing = Sharing::Alone;
        let address: Address = "127.0.0.1:0".parse().unwrap();
        let listening = listen(&address, 1, listen::Options { sharing, mode: 0o600 }).unwrap();
        let Address::Tcp(address) = listening.address else { panic!("another address than asked for") };
        let (metrics, now) = (Metrics::shared(), Clock::new(started).now());
        let sizes = RingSizes::default();
        let seat = Seat {
            options: Options { shard: id, cpu: None, spin_us: 0, sizes, started, sharing },
            listeners: listening.of_shards,
            mesh,
            admin: None,
            answers: None,
            audit: None,
            store: None,
            metrics: Arc::clone(&metrics),
        };
        let host = host(seat, Shard::new(id, options, metrics, now)).unwrap();
        Self { host, address, unix_s: now.unix_ms / 1000 }
    }

    fn read(&self, metric: Metric) -> usize {
        usize::try_from(self.host.metrics.read(metric)).unwrap()
    }

    /// Turns until it is so. Gives by how much a number rose in each turn.
    #[expect(clippy::disallowed_methods, reason = "a deadline of a test is on the real clock")]
    fn turn_until(&mut self, watched: Metric, mut is_so: impl FnMut(&Self) -> bool) -> Vec<usize> {
        let (since, mut rises) = (Instant::now(), Vec::new());
        while !is_so(self) {
            let rose = || rises.iter().filter(|rise| **rise > 0).collect::<Vec<_>>();
            assert!(since.elapsed() < Duration::from_secs(30), "{watched:?} rose by {:?} and no more", rose());
            let before = self.read(watched);
            self.host.turn().unwrap();
            rises.push(self.read(watched) - before);
        }
        rises
    }

    /// Turns as long as the host says that there is more to do.
    fn turn_until_it_rests(&mut self) {
        let rests = (0..10_000).any(|_| !self.host.turn().unwrap());
        assert!(rests, "it never does");
    }

    /// So many, accepted.
    fn connect(&mut self, count: usize) -> Vec<Client> {
        let all = self.read(Metric::Accepted) + count;
        let made = (0..count).map(|_| {
            let stream = TcpStream::connect(self.address).unwrap();
            stream.set_nonblocking(true).unwrap();
            Client { stream, heard: String::new() }
        });
        let made = made.collect();
        self.turn_until(Metric::Accepted, |bench| bench.read(Metric::Accepted) == all);
        made
    }

    /// So much later, as far as the host knows, whose clock goes from now on.
    #[expect(clippy::disallowed_methods, reason = "the time from which the host counts")]
    fn wait(&mut self, ms: u64) {
        self.host.clock = Clock::new(Instant::now() - Duration::from_millis(ms));
        self.host.now = self.host.clock.now();
    }

    /// So many who are upgraded and have yet to say who they are.
    fn upgraded(&mut self, count: usize) -> Vec<Client> {
        self.upgraded_at("/ws/chat/s", count)
    }

    fn upgraded_at(&mut self, path: &str, count: usize) -> Vec<Client> {
        let all = self.read(Metric::Upgraded) + count;
        let mut clients = self.connect(count);
        clients.iter_mut().for_each(|client| client.upgrade(path));
        self.turn_until(Metric::Upgraded, |bench| bench.read(Metric::Upgraded) == all);
        clients
    }

    fn token(&self, user: &str) -> String {
        let request = TokenRequest { user, ttl_s: 3600, role: None, caps: None };
        mint(&Key::hs256(None, SECRET), &request, self.unix_s).unwrap()
    }
}

impl Client {
    fn upgrade(&mut self, path: &str) {
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        self.stream.write_all(head.as_bytes()).unwrap();
    }

    fn say(&mut self, text: &str) {
        self.send(0x81, text);
    }

    fn ping(&mut self) {
        self.send(0x89, "");
    }

    fn send(&mut self, first: u8, text: &str) {
        self.stream.write_all(&Self::frame(first, text)).unwrap();
    }

    fn frame(first: u8, text: &str) -> Vec<u8> {
        let mut frame = vec![first];
        match u8::try_from(text.len()) {
            Ok(len @ ..=125) => frame.push(0x80 | len),
            _ => {
                frame.push(0x80 | 126);
                frame.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
            }
        }
        // A mask of zeros leaves the text as it is.
        frame.extend([0; 4]);
        frame.extend(text.as_bytes());
        frame
    }

    /// Whether it has heard all of these by now, in this order.
    fn has_heard(&mut self, texts: &[&str]) -> bool {
        let mut bytes = Vec::new();
        let read = self.stream.read_to_end(&mut bytes).map_err(|error| error.kind());
        assert!(matches!(read, Ok(_) | Err(ErrorKind::WouldBlock)), "{read:?}");
        self.heard += &String::from_utf8_lossy(&bytes);
        let mut rest = self.heard.as_str();
        texts.iter().all(|text| match rest.split_once(text) {
            Some((_, behind)) => {
                rest = behind;
                true
            }
            None => false,
        })
    }
}

fn some_a_turn(rises: &[usize], all: usize) {
    assert!(rises.iter().sum::<usize>() == all && rises.iter().max() <= Some(&TURN_ARRIVALS_MIN), "{rises:?}");
}

#[test]
fn a_crowd_is_let_in_some_a_turn_and_who_is_there_does_not_wait_for_it() {
    let mut bench = Bench::new();
    let mut live = bench.connect(1).remove(0);
    live.upgrade("/echo");
    let alone = bench.turn_until(Metric::Upgraded, |bench| bench.read(Metric::Upgraded) == 1);
    assert_eq!((alone.last(), bench.read(Metric::ArrivalsHeld)), (Some(&1), 0), "one alone does not wait");
    let mut crowd = bench.connect(CROWD);
    crowd.iter_mut().for_each(|client| client.upgrade("/echo"));
    live.say("still here");
    let mut rises = bench.turn_until(Metric::Upgraded, |_| live.has_heard(&["still here"]));
    let before = bench.read(Metric::Upgraded) - 1;
    assert!(before < CROWD, "all of the crowd was let in before");
    rises.extend(bench.turn_until(Metric::Upgraded, |bench| bench.read(Metric::Upgraded) == CROWD + 1));
    some_a_turn(&rises, CROWD);
    assert!(bench.read(Metric::ArrivalsHeld) > 0);
    bench.turn_until(Metric::Upgraded, |_| crowd.iter_mut().all(|client| client.has_heard(&["HTTP/1.1 101 "])));
}

#[test]
fn who_goes_stands_in_the_same_line() {
    let mut bench = Bench::new();
    let mut all = bench.connect(CROWD + 1);
    all.iter_mut().for_each(|client| client.upgrade("/echo"));
    bench.turn_until(Metric::Upgraded, |bench| bench.read(Metric::Upgraded) == CROWD + 1);
    let mut live = all.remove(0);
    drop(all);
    live.say("still here");
    let mut rises = bench.turn_until(Metric::ClosedGone, |_| live.has_heard(&["still here"]));
    assert!(rises.iter().sum::<usize>() < CROWD, "all of them were gone before");
    rises.extend(bench.turn_until(Metric::ClosedGone, |bench| bench.read(Metric::ClosedGone) == CROWD));
    some_a_turn(&rises, CROWD);
    bench.turn_until(Metric::Sockets, |bench| bench.read(Metric::Sockets) == 1);
}

/// What a write to them finds out is no other news than what a receive does.
#[test]
fn who_is_written_to_in_vain_stands_in_the_same_line() {
    let mut bench = Bench::new();
    let mut all = bench.connect(CROWD + 1);
    all.iter_mut().for_each(|client| client.upgrade("/ws/chat/s"));
    bench.turn_until(Metric::Upgraded, |bench| bench.read(Metric::Upgraded) == CROWD + 1);
    for (number, client) in all.iter_mut().enumerate() {
        client.say(&format!(r#"{{"token":"{}"}}"#, bench.token(&format!("user-{number}"))));
    }
    bench.turn_until(Metric::Turns, |_| all.iter_mut().all(|client| client.has_heard(&[r#""type":"subscribed""#])));
    let mut live = all.remove(0);
    let note = r#"{"type":"publish","payload":{"channel":"chat:s","type":"note","payload":{}}}"#;
    // Who closes with something unread resets the connection: a write fails, whoever has looked before.
    live.say(note);
    bench.turn_until(Metric::Turns, |_| live.has_heard(&[r#""type":"note""#]));
    drop(all);
    live.say(note);
    let rises = bench.turn_until(Metric::ClosedGone, |bench| bench.read(Metric::ClosedGone) == CROWD);
    some_a_turn(&rises, CROWD);
    assert!(bench.read(Metric::ClosedSlow) == 0 && live.has_heard(&[r#""type":"note""#, r#""type":"note""#]));
}

#[test]
fn what_somebody_in_line_sends_keeps_its_order() {
    let mut bench = Bench::new();
    let mut crowd = bench.upgraded(CROWD);
    for (number, client) in crowd.iter_mut().enumerate() {
        client.say(&format!(r#"{{"token":"{}"}}"#, bench.token(&format!("user-{number}"))));
    }
    let mut rises = bench.turn_until(Metric::Authenticated, |bench| bench.read(Metric::Authenticated) > 0);
    for (text, timestamp) in [("first", 1), ("second", 2)] {
        for client in &mut crowd {
            client.say(&format!(r#"{{"type":"ping","note":"{text}","payload":{{"timestamp":{timestamp}}}}}"#));
        }
        let before = bench.read(Metric::Authenticated);
        bench.host.turn().unwrap();
        rises.push(bench.read(Metric::Authenticated) - before);
    }
    rises.extend(bench.turn_until(Metric::Authenticated, |bench| bench.read(Metric::Authenticated) == CROWD));
    some_a_turn(&rises, CROWD);
    let order = [r#""success":true"#, r#""type":"subscribed""#, r#""timestamp":1"#, r#""timestamp":2"#];
    bench.turn_until(Metric::Turns, |_| crowd.iter_mut().all(|client| client.has_heard(&order)));
}

#[test]
fn bytes_that_decide_nothing_keep_nobody_who_comes_waiting() {
    let mut bench = Bench::new();
    let count = CROWD / 2;
    let mut pinging = bench.upgraded(count);
    let mut dribbling = bench.connect(count);
    let mut newcomer = bench.connect(1).remove(0);
    assert!(2 * count + 1 < TURN_LINE_LOOKS_MAX, "a turn is enough for what comes in it");
    let mut turn = |bench: &mut Bench| {
        pinging.iter_mut().for_each(Client::ping);
        dribbling.iter_mut().for_each(|client| client.stream.write_all(b"G").unwrap());
        bench.host.turn().unwrap();
    };
    (0..3).for_each(|_| turn(&mut bench));
    let before = bench.read(Metric::Upgraded);
    newcomer.upgrade("/ws/chat/s");
    (0..3).for_each(|_| turn(&mut bench));
    assert_eq!(bench.read(Metric::Upgraded) - before, 1, "the head is handled as it comes");
    newcomer.say(&format!(r#"{{"token":"{}"}}"#, bench.token("ada")));
    (0..3).for_each(|_| turn(&mut bench));
    assert_eq!(bench.read(Metric::Authenticated), 1, "and so is the token");
}

#[test]
fn a_turn_lets_some_in_and_more_when_it_takes_long_anyway() {
    let (long, share) = (1000 * TURN_ARRIVALS_SHARE, 1000);
    for (passed, took_us, rest_us, expected) in [
        (TURN_ARRIVALS_MIN - 1, u64::MAX, 0, true),
        (TURN_ARRIVALS_MIN, 0, 0, false),
        (TURN_ARRIVALS_MIN, share - 1, long, true),
        (TURN_ARRIVALS_MIN, share, long, false),
        (TURN_ARRIVALS_MAX - 1, share - 1, long, true),
        (TURN_ARRIVALS_MAX, 0, u64::MAX, false),
    ] {
        let may = |refused| Crowd { passed, refused, ..Crowd::default() }.may_pass(took_us, rest_us);
        assert_eq!(may(0), expected, "{passed} in {took_us} of {rest_us} microseconds");
        assert_eq!(may(TURN_ARRIVALS_MAX), passed < TURN_ARRIVALS_MIN, "with as many refused as a turn has time for");
    }
    let mut bench = Bench::new();
    let mut crowd = bench.connect(2 * TURN_ARRIVALS_MAX);
    crowd.iter_mut().for_each(|client| client.upgrade("/echo"));
    bench.host.turn().unwrap();
    // What one turn did not collect stands in line too.
    bench.host.on_completions().unwrap();
    bench.wait(60_000);
    for (began, expected) in [(u64::MAX, TURN_ARRIVALS_MIN), (0, TURN_ARRIVALS_MAX)] {
        let before = bench.read(Metric::Upgraded);
        assert!(bench.host.on_crowd(began), "more wait");
        assert_eq!(bench.read(Metric::Upgraded) - before, expected);
    }
}

#[test]
fn who_spoke_in_time_is_let_in_however_long_the_line_is() {
    let mut bench = Bench::new();
    let mut crowd = bench.connect(CROWD);
    crowd.iter_mut().for_each(|client| client.upgrade("/echo"));
    bench.host.turn().unwrap();
    bench.wait(HEAD_DEADLINE_MS + 1000);
    bench.host.on_time();
    bench.turn_until(Metric::Upgraded, |bench| bench.read(Metric::Upgraded) == CROWD);
    assert_eq!((bench.read(Metric::RefusedLate), bench.read(Metric::Connections)), (0, CROWD));
    let mut bench = Bench::new();
    let mut crowd = bench.upgraded(CROWD);
    for (number, client) in crowd.iter_mut().enumerate() {
        client.say(&format!(r#"{{"token":"{}"}}"#, bench.token(&format!("user-{number}"))));
    }
    bench.host.turn().unwrap();
    bench.wait(AUTH_DEADLINE_MS + 1000);
    bench.host.on_time();
    bench.turn_until(Metric::Authenticated, |bench| bench.read(Metric::Authenticated) == CROWD);
    assert_eq!((bench.read(Metric::RefusedLate), bench.read(Metric::Connections)), (0, CROWD));
}

#[test]
fn a_drain_answers_who_stands_in_line() {
    for window_ms in [60_000, 0] {
        let mut bench = Bench::new();
        let mut crowd = bench.connect(CROWD);
        crowd.iter_mut().for_each(|client| client.upgrade("/ws/chat/s"));
        bench.host.turn().unwrap();
        let before = bench.read(Metric::Upgraded);
        bench.wait(2 * DRAIN_SILENT_MS);
        bench.host.drain(window_ms);
        bench.host.apply();
        bench.turn_until(Metric::RefusedDraining, |bench| bench.read(Metric::RefusedDraining) == CROWD - before);
        let told = |client: &mut Client| client.has_heard(&["HTTP/1.1 503 "]) || client.has_heard(&["HTTP/1.1 101 "]);
        bench.turn_until(Metric::Turns, |_| crowd.iter_mut().all(told));
    }
}

#[test]
fn what_the_last_of_a_crowd_says_is_told_before_the_host_rests() {
    let note = r#"{"type":"publish","payload":{"channel":"chat:s","type":"note","payload":{}}}"#;
    let mut bench = Bench::new();
    let mut member = bench.upgraded(1).remove(0);
    member.say(&format!(r#"{{"token":"{}"}}"#, bench.token("ada")));
    bench.turn_until(Metric::Turns, |_| member.has_heard(&[r#""type":"subscribed""#]));
    // In no room, so that nobody is to be told who came.
    let mut crowd = bench.upgraded_at("/ws", CROWD);
    // Nothing else is under way, as a sweep would be.
    bench.turn_until_it_rests();
    for (number, client) in crowd.iter_mut().enumerate() {
        let token = format!(r#"{{"token":"{}"}}"#, bench.token(&format!("user-{number}")));
        client.stream.write_all(&[Client::frame(0x81, &token), Client::frame(0x81, note)].concat()).unwrap();
    }
    bench.turn_until_it_rests();
    assert_eq!(bench.read(Metric::Authenticated), crowd.len() + 1);
    member.has_heard(&[]);
    assert_eq!(member.heard.matches(r#""type":"note""#).count(), crowd.len());
}

#[test]
fn what_is_refused_at_its_first_byte_takes_nobodys_place_in_line() {
    let mut bench = Bench::new();
    let mut garbage = bench.connect(3 * TURN_ARRIVALS_MIN);
    let mut crowd = bench.connect(CROWD);
    crowd.iter_mut().for_each(|client| client.upgrade("/echo"));
    bench.host.turn().unwrap();
    let before = bench.read(Metric::Upgraded);
    garbage.iter_mut().for_each(|client| client.stream.write_all(&[0x16]).unwrap());
    bench.host.turn().unwrap();
    assert_eq!(bench.read(Metric::RefusedHead), garbage.len());
    assert_eq!(bench.read(Metric::Upgraded) - before, TURN_ARRIVALS_MIN);
}

/// The shard that counts an address may be late, and answers all that asked it together.
#[test]
fn whom_another_shard_lets_in_together_come_in_some_a_turn() {
    let count = 2 * TURN_ARRIVALS_MAX;
    let [first, second] = Bench::several_with(|options| {
        options.unlimited = false;
        options.limits = Limits { connections_per_address: 1 << 20, ..Limits::UNLIMITED };
    });
    let address = AddressKey::of(Peer::from(first.address));
    let (mut near, mut judge, near_id) = match route::address_home(&KEY, address.bytes(), 2) {
        ShardId(0) => (second, first, 1),
        _ => (first, second, 0),
    };
    let mut sessions = (0..).map(|number| format!("s{number}"));
    let is_near = |session: &String| route::home(&KEY, &format!("chat:{session}"), 2) == ShardId(near_id);
    let session = sessions.find(is_near).unwrap();
    let mut crowd = near.connect(count);
    crowd.iter_mut().for_each(|client| client.upgrade(&format!("/ws/chat/{session}")));
    near.turn_until(Metric::MeshSent, |near| near.read(Metric::MeshSent) >= count);
    assert_eq!(near.read(Metric::Upgraded), 0, "each is asked about");
    judge.turn_until(Metric::MeshReceived, |judge| judge.read(Metric::MeshReceived) >= count);
    judge.host.turn().unwrap();
    let rises = near.turn_until(Metric::Upgraded, |near| near.read(Metric::Upgraded) == count);
    assert_eq!(rises.iter().max(), Some(&TURN_ARRIVALS_MAX), "{rises:?}");
}

#[test]
fn a_crowd_keeps_no_probe_waiting_and_probes_keep_nobody() {
    let mut bench = Bench::new();
    let mut crowd = bench.connect(CROWD);
    let mut probes = bench.connect(TURN_PROBES_MAX + 1);
    // What is read from the moment on that it is accepted would come before what was read for longer.
    bench.host.turn().unwrap();
    crowd.iter_mut().for_each(|client| client.upgrade("/echo"));
    for (probe, path) in probes.iter_mut().zip(["/readyz", "/health?now", "/healthz"].into_iter().cycle()) {
        probe.stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).unwrap();
    }
    let all = probes.len();
    let rises = bench.turn_until(Metric::HttpRequests, |bench| bench.read(Metric::HttpRequests) == all);
    assert!(rises.iter().max() <= Some(&TURN_PROBES_MAX), "{rises:?}");
    assert!(
        (1..CROWD).contains(&bench.read(Metric::Upgraded)),
        "all of them before the crowd, and some of it beside them"
    );
    let well = |probe: &mut Client| probe.has_heard(&["HTTP/1.1 200 ", "{"]);
    bench.turn_until(Metric::Turns, |_| probes.iter_mut().all(well));
}

/// Two hosts, and so many clients with tokens that the first has let in and handed over to the second.
fn handed_over(count: usize) -> ([Bench; 2], Vec<Client>) {
    let mut benches = Bench::several();
    let [near, _] = &mut benches;
    let mut sessions = (0..).map(|number| format!("s{number}"));
    let session = sessions.find(|session| route::home(&KEY, &format!("chat:{session}"), 2) == ShardId(1)).unwrap();
    let mut clients = near.connect(count);
    for (number, client) in clients.iter_mut().enumerate() {
        let token = near.token(&format!("user-{number}"));
        client.upgrade(&format!("/ws/chat/{session}?token={token}"));
    }
    near.turn_until(Metric::HandedOver, |near| near.read(Metric::HandedOver) == count);
    (benches, clients)
}

#[test]
fn who_is_handed_over_with_a_token_stands_in_line_there_too() {
    let ([_near, mut home], mut crowd) = handed_over(CROWD);
    let rises = home.turn_until(Metric::Authenticated, |home| home.read(Metric::Authenticated) == CROWD);
    some_a_turn(&rises, CROWD);
    assert_eq!(home.read(Metric::ArrivalsHeld), CROWD - TURN_ARRIVALS_MIN);
    home.turn_until(Metric::Turns, |_| {
        crowd.iter_mut().all(|client| client.has_heard(&["HTTP/1.1 101 ", "subscribed"]))
    });
}

#[test]
fn so_many_who_are_handed_over_wait_and_a_drain_answers_them() {
    let ([_near, mut home], _clients) = handed_over(2);
    (home.host.crowd.adoptions, home.host.crowd.passed) = (ADOPTIONS_HELD_MAX - 1, TURN_ARRIVALS_MAX);
    home.host.turn().unwrap();
    assert_eq!(home.read(Metric::Authenticated), 1, "one has found its place in the line, the other none");
    let ([_near, mut home], mut clients) = handed_over(1);
    home.host.drain(60_000);
    home.host.crowd.passed = TURN_ARRIVALS_MAX;
    home.host.turn().unwrap();
    assert_eq!(home.host.untold, [ShardId(0)], "nobody is told that the last one is gone while one waits");
    home.turn_until(Metric::RefusedDraining, |_| clients[0].has_heard(&["HTTP/1.1 503 "]));
    drop(clients);
    home.turn_until(Metric::Turns, |home| home.host.untold.is_empty());
}

#[test]
fn who_is_let_in_from_the_line_and_says_no_more_is_answered() {
    // The line is empty behind the last of them, so that their ends do not wait.
    let (probes, others) = (TURN_PROBES_MAX + TURN_ARRIVALS_MIN, 2 * TURN_ARRIVALS_MIN);
    for (path, count, answer) in [("/health", probes, "HTTP/1.1 200 "), ("/ws/chat/s", others, "HTTP/1.1 4")] {
        let mut bench = Bench::new();
        let mut crowd = bench.connect(count);
        for client in &mut crowd {
            client.stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).unwrap();
            client.stream.shutdown(Shutdown::Write).unwrap();
        }
        bench.turn_until(Metric::Turns, |bench| bench.read(Metric::Sockets) == 0);
        assert!(bench.read(Metric::ArrivalsHeld) > 0);
        assert!(crowd.iter_mut().all(|client| client.has_heard(&[answer])), "somebody was not answered about {path}");
    }
}
