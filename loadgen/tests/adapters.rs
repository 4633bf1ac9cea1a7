//! Adapters against scripted servers on an independent WebSocket implementation: what is proved is that a hello goes its
//! steps and fails by name, that every delivery is found however it is packed and cut, and that what a server does not
//! promise is not held against it.

#![expect(clippy::unwrap_used, reason = "a test binary: a panic is its report")]
#![expect(clippy::disallowed_types, reason = "a small server with a thread a connection shares its rooms")]
#![expect(clippy::result_large_err, reason = "the form that tungstenite's callback has")]

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use loadgen::adapter::Adapter;
use loadgen::clock::Clock;
use loadgen::engine::Target;
use loadgen::limits::HELLO_MESSAGES_MAX;
use loadgen::plan::{self, Setting};
use loadgen::report::Report;
use loadgen::scenario::Scenario;
use tungstenite::{Message, WebSocket};

type Socket = WebSocket<TcpStream>;

/// What the connections of one server share: who is in which room.
#[derive(Default)]
struct Hub {
    members: Mutex<Vec<(String, TcpStream)>>,
}

impl Hub {
    fn join(&self, room: &str, socket: &Socket) {
        self.members.lock().unwrap().push((room.to_owned(), socket.get_ref().try_clone().unwrap()));
    }

    /// One frame to everybody in the room, or to all but one of its sockets; all members see one order.
    fn tell(&self, room: &str, opcode: u8, text: &str, but: Option<&Socket>) {
        let but = but.map(|socket| socket.get_ref().peer_addr().unwrap());
        let frame = frame(opcode, text);
        for (_, stream) in self.members.lock().unwrap().iter_mut().filter(|(own, _)| own == room) {
            // A member that ended is not told.
            if stream.peer_addr().is_ok_and(|peer| Some(peer) != but) {
                let _gone = stream.write_all(&frame);
            }
        }
    }
}

fn frame(opcode: u8, text: &str) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match text.len() {
        length @ 0..=125 => frame.push(u8::try_from(length).unwrap()),
        length => {
            frame.push(126);
            frame.extend_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
        }
    }
    frame.extend_from_slice(text.as_bytes());
    frame
}

/// Serves so many connections, each by `client` on a thread of its own; returns where.
fn serve(connections: usize, client: fn(&Hub, &str, &mut Socket)) -> Target {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = Target::parse(&format!("ws://{}", listener.local_addr().unwrap())).unwrap();
    std::thread::spawn(move || {
        let hub = Arc::new(Hub::default());
        for _ in 0..connections {
            let (stream, _) = listener.accept().unwrap();
            stream.set_nodelay(true).unwrap();
            let hub = Arc::clone(&hub);
            std::thread::spawn(move || {
                let mut path = String::new();
                let callback = |request: &tungstenite::handshake::server::Request, response| {
                    path = request.uri().to_string();
                    Ok(response)
                };
                let mut socket = tungstenite::accept_hdr(stream, callback).unwrap();
                client(&hub, &path, &mut socket);
            });
        }
    });
    target
}

fn next(socket: &mut Socket) -> Option<String> {
    loop {
        match socket.read().ok()? {
            Message::Text(text) => return Some(text.as_str().to_owned()),
            Message::Binary(bytes) => return Some(String::from_utf8(bytes.to_vec()).unwrap()),
            _ => {}
        }
    }
}

fn say(socket: &mut Socket, text: &str) {
    // The client may have given up.
    let _gone = socket.send(Message::text(text.to_owned()));
}

fn run(adapter: Adapter, target: Target, group: &str, changes: &[&str]) -> Report {
    let text = format!(
        "name = \"t\"\nduration_s = 0.4\ndrain_s = 0.3\nlateness_p99_max_us = 10000000\nstarved_max = 1.0\n[[group]]\n\
         name = \"g\"\nendpoint = \"/e\"\n{group}"
    );
    let changes: Vec<String> = changes.iter().map(|&change| change.to_owned()).collect();
    let scenario = Scenario::parse(&text, &changes).unwrap();
    plan::run(&scenario, &Setting { adapter, ..Setting::new(target) }).unwrap()
}

fn passed(report: &Report) {
    assert_eq!(report.objections(), Vec::<String>::new(), "{report}");
}

const ROOMS: &str = "kind = \"k\"\nrooms = 2\nmembers = 3\nrate = 30.0\nmessages = 10";

fn hello() -> Adapter {
    let text = "name = \"h\"\n[open]\npath = \"/\"\n[[hello]]\nwait = \"hello\"\n[[hello]]\nsend = \"join {room}\"\n\
                [[hello]]\nwait = \"joined\"\n[[keepalive]]\ntext = \"2\"\nanswer = \"3\"\n[publish.k]\n\
                text = \"<{body}>\"\n[deliver]\nafter = \">\"\n[events]\nrefused = [\"go away\"]\nnamed = { noise = \"noise\" }\n\
                [version]\nafter = \"v=\"\nuntil = \";\"";
    Adapter::parse(text, "h").unwrap()
}

fn hello_of(client: fn(&Hub, &str, &mut Socket)) -> Report {
    let target = serve(1, client);
    run(hello(), target, "kind = \"k\"\nrate = 20.0\nmessages = 3", &["opening_s=0.5"])
}

#[test]
fn a_hello_goes_its_steps_and_answers_keepalives() {
    let report = hello_of(|_, _, socket| {
        say(socket, "noise");
        say(socket, "hello v=1.2; to you");
        assert_eq!(next(socket).unwrap(), "join room-00000");
        say(socket, "2");
        assert_eq!(next(socket).unwrap(), "3");
        say(socket, "joined");
        while let Some(text) = next(socket) {
            say(socket, &text);
        }
    });
    passed(&report);
    assert_eq!((report.groups[0].delivered, report.events.count("noise"), report.events.sum()), (3, 1, 1), "{report}");
    assert_eq!((report.server_version.as_deref(), report.adapter.as_str()), (Some("1.2"), "h"));
}

#[test]
fn a_hello_fails_by_the_name_of_what_came_instead() {
    let failed = |client, name: &str| {
        let report = hello_of(client);
        assert_eq!((report.exit_code(), report.openings[0].failures.count(name)), (1, 1), "{name}: {report}");
        report
    };
    let refused = failed(
        |_, _, socket| {
            say(socket, "go away, you");
            while next(socket).is_some() {}
        },
        "refused",
    );
    assert_eq!(refused.refusals, ["go away, you"]);
    failed(|_, _, socket| while next(socket).is_some() {}, "timed out joining");
    failed(
        |_, _, socket| {
            say(socket, "hello");
            assert_eq!(next(socket).unwrap(), "join room-00000");
            for _ in 0..=HELLO_MESSAGES_MAX {
                say(socket, "noise");
            }
            while next(socket).is_some() {}
        },
        "hello step 3 never came",
    );
    failed(
        |_, _, socket| {
            socket.close(None).unwrap();
            while socket.read().is_ok() {}
        },
        "close without a code",
    );
}

#[test]
fn as_many_messages_as_may_come_before_the_awaited_one_do_no_harm() {
    let report = hello_of(|_, _, socket| {
        for _ in 0..HELLO_MESSAGES_MAX {
            say(socket, "noise");
        }
        say(socket, "hello");
        next(socket);
        say(socket, "joined");
        while let Some(text) = next(socket) {
            say(socket, &text);
        }
    });
    passed(&report);
    assert_eq!(report.events.count("noise"), u64::from(HELLO_MESSAGES_MAX));
}

#[test]
fn a_refusal_and_an_unasked_for_kind_of_frame_later_fail_the_run() {
    let report = hello_of(|_, _, socket| {
        say(socket, "hello");
        next(socket);
        say(socket, "joined");
        let first = next(socket).unwrap();
        say(socket, "go away now");
        socket.send(Message::binary(first.clone().into_bytes())).unwrap();
        say(socket, &first);
        while let Some(text) = next(socket) {
            say(socket, &text);
        }
    });
    let counts = (report.protocol_faults.count("refused"), report.protocol_faults.count("binary"));
    assert_eq!((report.exit_code(), counts, report.groups[0].delivered), (1, (1, 1), 3), "{report}");
}

/// What the public protocol description of Centrifugo says, for one connection; replies and pushes that are ready
/// together share a frame, one a line.
fn centrifugo(hub: &Hub, path: &str, socket: &mut Socket) {
    assert_eq!(path, "/connection/websocket");
    let mut pinged = false;
    while let Some(text) = next(socket) {
        for line in text.split('\n') {
            let command: serde_json::Value = serde_json::from_str(line).unwrap();
            let id = command["id"].as_u64();
            if command.as_object().unwrap().is_empty() {
                assert!(std::mem::take(&mut pinged), "a pong without a ping");
            } else if command["connect"].is_object() {
                let result = "\"client\":\"c\",\"version\":\"5.4.9\",\"ping\":25,\"pong\":true";
                say(socket, &format!("{{\"id\":{},\"connect\":{{{result}}}}}", id.unwrap()));
            } else if let Some(channel) = command["subscribe"]["channel"].as_str() {
                hub.join(channel, socket);
                pinged = true;
                say(socket, &format!("{{\"id\":{},\"subscribe\":{{}}}}\n{{}}", id.unwrap()));
            } else {
                let publish = &command["publish"];
                let (channel, data) = (publish["channel"].as_str().unwrap(), &publish["data"]);
                let push =
                    format!("{{\"push\":{{\"channel\":\"{channel}\",\"pub\":{{\"data\":{data},\"offset\":1}}}}}}");
                hub.tell(channel, 1, &push, Some(socket));
                let own = format!("{push}\n{{\"id\":{},\"publish\":{{}}}}", id.unwrap());
                socket.get_mut().write_all(&frame(1, &own)).unwrap();
            }
        }
    }
}

#[test]
fn centrifugos_protocol_is_spoken_as_its_description_says() {
    let adapter = Adapter::load("centrifugo").unwrap();
    let group = ROOMS.replace("\"k\"", "\"chat_message\"");
    // Each is told of its own publish in a frame of its own, so members agree on no order of two publishers.
    let report = run(adapter, serve(6, centrifugo), &group, &["publishers=1"]);
    passed(&report);
    let group = &report.groups[0];
    assert_eq!((group.published, group.delivered), (20, 60), "{report}");
    assert_eq!((report.events.count("ack"), report.events.sum()), (20, 20), "{report}");
    assert_eq!(report.server_version.as_deref(), Some("5.4.9"));
}

#[test]
fn a_refused_command_of_centrifugo_is_a_refusal() {
    let target = serve(1, |_, _, socket| {
        next(socket);
        say(socket, "{\"id\":1,\"error\":{\"code\":101,\"message\":\"unauthorized\"}}");
        while next(socket).is_some() {}
    });
    let group = "kind = \"chat_message\"\nrate = 1.0";
    let report = run(Adapter::load("centrifugo").unwrap(), target, group, &["opening_s=0.5"]);
    assert_eq!(report.openings[0].failures.count("refused"), 1, "{report}");
}

/// Waits for three publishes and answers with all of them in one frame, cut at the next byte each time.
fn in_threes(socket: &mut Socket, opcode: u8, one: fn(&str) -> String) {
    let mut cut = 0;
    loop {
        let bodies: Option<Vec<String>> = (0..3).map(|_| next(socket)).collect();
        let Some(bodies) = bodies else { return };
        let text: String = bodies.iter().map(|body| one(body)).collect();
        let frame = frame(opcode, &text);
        let (first, rest) = frame.split_at(cut % frame.len());
        cut += 1;
        socket.get_mut().write_all(first).unwrap();
        // Time for the first part to be read alone.
        Clock::sleep(Duration::from_micros(300));
        socket.get_mut().write_all(rest).unwrap();
    }
}

#[test]
fn several_deliveries_of_a_frame_are_found_wherever_it_is_cut() {
    let lines = "name = \"l\"\n[open]\npath = \"/\"\n[publish.k]\ntext = \"{body}\"\n[deliver]\nwhole = true\nbinary = true\n\
                 separator = \"\\r\\n\"\n[events]\nignore = [\"MSG\"]";
    let json = "name = \"j\"\n[open]\npath = \"/\"\n[publish.k]\ntext = \"{body}\"\n[deliver]\nafter = '\"'";
    for (adapter, client) in [
        (
            lines,
            (|_, _, socket| in_threes(socket, 2, |body| format!("MSG r 1 74\r\n{body}\r\n")))
                as fn(&Hub, &str, &mut Socket),
        ),
        (json, |_, _, socket| in_threes(socket, 1, |body| format!("[\"{body}\"]"))),
    ] {
        // More rounds than a frame has bytes, so that it is cut at each.
        let group = "kind = \"k\"\nrate = 3000.0\nmessages = 900\npayload_bytes = 74";
        let report = run(Adapter::parse(adapter, "a").unwrap(), serve(1, client), group, &["drain_s=3"]);
        passed(&report);
        assert_eq!((report.groups[0].delivered, report.events.sum()), (900, 0), "{report}");
    }
}

#[test]
fn a_body_that_stands_in_a_message_twice_is_one_delivery_only_where_the_adapter_says_so() {
    for (repeats, duplicated) in [(true, 0), (false, 3)] {
        let text = format!(
            "name = \"r\"\n[open]\npath = \"/\"\n[publish.k]\ntext = \"{{body}}\"\n[deliver]\nafter = '\"'\nrepeats = {repeats}"
        );
        let target = serve(1, |_, _, socket| {
            while let Some(body) = next(socket) {
                say(socket, &format!("{{\"message\":\"{body}\",\"content\":\"{body}\"}}"));
            }
        });
        let group = "kind = \"k\"\nrate = 20.0\nmessages = 3";
        let report = run(Adapter::parse(&text, "r").unwrap(), target, group, &[]);
        let faults = (report.faults.duplicated, report.faults.sum());
        assert_eq!((report.groups[0].delivered, faults), (3, (duplicated, duplicated)), "{report}");
    }
}

fn to_the_others(hub: &Hub, path: &str, socket: &mut Socket) {
    hub.join(path, socket);
    say(socket, "joined");
    while let Some(text) = next(socket) {
        hub.tell(path, 1, &text, Some(socket));
    }
}

fn by_path(deliver: &str) -> Adapter {
    let text = format!(
        "name = \"p\"\n[open]\npath = \"/{{room}}\"\n[[hello]]\nwait = \"joined\"\n[publish.k]\ntext = \"<{{body}}>\"\n\
         [deliver]\nafter = \">\"\n{deliver}"
    );
    Adapter::parse(&text, "p").unwrap()
}

#[test]
fn a_server_that_does_not_deliver_to_the_sender_loses_nothing() {
    for order in ["room", "publisher", "none"] {
        let adapter = by_path(&format!("to_sender = false\norder = \"{order}\""));
        // Threads of a server agree on no order of two publishers.
        let publishers = if order == "room" { "publishers=1" } else { "publishers=0" };
        let report = run(adapter, serve(6, to_the_others), ROOMS, &[publishers]);
        passed(&report);
        let published = if order == "room" { 20 } else { 60 };
        assert_eq!((report.groups[0].published, report.groups[0].delivered), (published, 2 * published), "{report}");
        assert_eq!((report.faults.order_unchecked, report.faults.owed_to_closed), (0, 0), "{report}");
    }
}

#[test]
fn its_closed_loop_goes_on_when_the_others_have_it() {
    let adapter = by_path("to_sender = false\norder = \"publisher\"");
    let group = "kind = \"k\"\nmode = \"closed\"\nrooms = 2\nmembers = 3\noutstanding = 2\nmessages = 50";
    let report = run(adapter, serve(6, to_the_others), group, &["duration_s=1"]);
    passed(&report);
    assert_eq!((report.groups[0].published, report.groups[0].delivered), (300, 600), "{report}");
}

#[test]
fn the_same_server_without_that_word_loses_one_delivery_a_publish() {
    let report = run(by_path(""), serve(6, to_the_others), ROOMS, &["publishers=1"]);
    assert_eq!((report.exit_code(), report.faults.lost, report.faults.sum()), (1, 20, 20), "{report}");
}

#[test]
fn a_server_that_does_deliver_to_the_sender_is_found_out() {
    let target = serve(6, |hub, path, socket| {
        hub.join(path, socket);
        say(socket, "joined");
        while let Some(text) = next(socket) {
            hub.tell(path, 1, &text, None);
        }
    });
    let report = run(by_path("to_sender = false"), target, ROOMS, &["publishers=1"]);
    assert_eq!((report.exit_code(), report.faults.duplicated, report.faults.sum()), (1, 20, 20), "{report}");
}

/// Passes on everything but pings, and of cursors only each second one.
fn mixed(hub: &Hub, path: &str, socket: &mut Socket) {
    hub.join(path, socket);
    say(socket, "{\"joined\":\"x\",\"version\":\"1\"}");
    let mut cursors = 0;
    while let Some(text) = next(socket) {
        if text.contains("cursor") {
            cursors += 1;
            if cursors % 2 == 0 {
                continue;
            }
        }
        hub.tell(path, 1, &text, None);
    }
}

const MIX: &str = "rooms = 2\nmembers = 3\npublishers = 1\nrate = 500.0\nmessages = 150\nmix = [\n\
                   { kind = \"edit\", weight = 5 }, { kind = \"cursor\", weight = 3, payload_bytes = 80 },\n\
                   { kind = \"typing\", weight = 1 }, { kind = \"ping\", weight = 1 } ]";

fn kinds(cursor: &str) -> Adapter {
    let text = format!(
        "name = \"m\"\n[open]\npath = \"/{{room}}\"\n[[hello]]\nwait = \"joined\"\n[publish.edit]\ntext = 'edit \"{{body}}\"'\n\
         [publish.cursor]\ntext = 'cursor \"{{body}}\"'\ndelivered = \"{cursor}\"\n[publish.typing]\ntext = \"typing\"\n\
         delivered = \"none\"\n[publish.ping]\nping = true\ndelivered = \"none\"\n[deliver]\nafter = '\"'\n\
         [events.named]\ntyping = \"typing\""
    );
    Adapter::parse(&text, "m").unwrap()
}

#[test]
fn each_kind_of_a_mix_is_held_to_what_it_promises() {
    let report = run(kinds("some"), serve(6, mixed), MIX, &["duration_s=0.6"]);
    passed(&report);
    let group = &report.groups[0];
    let [edit, cursor, typing, ping] = &group.kinds[..] else { panic!("{report}") };
    assert_eq!(group.kinds.iter().map(|kind| kind.published).sum::<u64>(), 300);
    assert!(group.kinds.iter().all(|kind| kind.published > 0), "{report}");
    assert_eq!((edit.delivered, typing.delivered, ping.delivered), (3 * edit.published, 0, 0), "{report}");
    // Half of each of the two publishers' cursors, rounded up, to three members.
    assert!(cursor.delivered.abs_diff(3 * cursor.published / 2) <= 3, "{report}");
    assert_eq!(report.events.count("typing"), 3 * typing.published);
    assert!((group.bytes_per_delivery - 128.0).abs() < 40.0 && cursor.latency.count > 0, "{report}");
    let again = run(kinds("some"), serve(6, mixed), MIX, &["duration_s=0.6"]);
    let published = |report: &Report| report.groups[0].kinds.iter().map(|kind| kind.published).collect::<Vec<_>>();
    assert_eq!(published(&again), published(&report), "the same seed, the same kinds");
}

#[test]
fn what_may_not_be_left_out_is_lost_and_what_is_for_nobody_must_not_come() {
    let report = run(kinds("every"), serve(6, mixed), MIX, &["duration_s=0.6"]);
    let cursor = &report.groups[0].kinds[1];
    assert_eq!(report.faults.lost, 3 * cursor.published - cursor.delivered, "{report}");
    assert!(report.faults.lost > 0);
    let report = run(kinds("none"), serve(6, mixed), MIX, &["duration_s=0.6"]);
    assert!(report.protocol_faults.count("delivery of what is delivered to nobody") > 0, "{report}");
    assert_eq!(report.faults.sum(), 0, "{report}");
}
