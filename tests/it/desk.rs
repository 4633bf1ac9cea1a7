//! Proves what an operator sees of a running gateway over its Unix socket: what happened in its order, with names and
//! without content; who may ask; and that who reads slowly, asks too much or does not go away burdens nobody.

use std::fs;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use rustix::process::Signal;
use serde_json::{Value, json};
use waystation::limits::{DESK_CLIENTS_MAX, DESK_ORDER_BYTES_MAX};

use crate::client::Client;
use crate::gateway::{Directory, Gateway, IN_MEMORY, SOON, command, until};

fn socket(directory: &Arc<Directory>) -> PathBuf {
    directory.data().join("admin.sock")
}

/// The command line against a gateway.
fn run(gateway: &Gateway, arguments: &[&str]) -> Output {
    let mut command = command(arguments);
    command.arg("--data").arg(gateway.directory.data()).output().unwrap()
}

/// The records that a command line prints.
fn records(gateway: &Gateway, arguments: &[&str]) -> Vec<Value> {
    let output = run(gateway, &[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["done"].is_null()).collect()
}

/// A connection to the desk that has asked something, unless it was closed before that for want of a place.
fn ask(gateway: &Gateway, order: &str) -> UnixStream {
    let mut stream = UnixStream::connect(socket(&gateway.directory)).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    if let Err(error) = stream.write_all(order.as_bytes()) {
        assert!(matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{error}");
    }
    stream
}

/// All that is answered.
fn answer(mut stream: UnixStream) -> String {
    let mut text = String::new();
    let _cut_off = stream.read_to_string(&mut text);
    text
}

fn kinds(records: &[Value]) -> Vec<&str> {
    records.iter().map(|record| record["kind"].as_str().unwrap()).collect()
}

#[test]
fn what_happened_is_shown_in_its_order_with_names_and_without_content() {
    let gateway = Gateway::with(&["--shards", "2"]);
    let token = gateway.token("ann");
    let mut ann = Client::join_known(&gateway, "/ws/chat/plans", &token);
    let mut bob = Client::join(&gateway, "/ws/chat/other", &gateway.token("bob"));
    ann.send(&json!({ "type": "chat_message", "payload": { "content": "confidential" } }));
    ann.event_of("chat_message");
    bob.send(&json!({ "type": "confidential" }));
    bob.event_of("connection_error");
    ann.close();
    until("its end is recorded", SOON, || kinds(&records(&gateway, &["dump"])).contains(&"closed"));

    let stats: Value = serde_json::from_slice(&run(&gateway, &["stats"]).stdout).unwrap();
    for (state, expected) in [("config_generation", 1), ("keys_generation", 1), ("config_bad", 0), ("draining", 0)] {
        assert_eq!(stats["numbers"][format!("waystation_{state}")], expected, "{state} of two shards: {stats}");
    }

    let all = records(&gateway, &["dump"]);
    assert!(all.is_sorted_by_key(|record| record["micros"].as_u64()), "in the order of time");
    let plans = records(&gateway, &["dump", "--channel", "chat:plans"]);
    assert_eq!(kinds(&plans), ["channel", "joined", "sequenced", "left"]);
    assert!(plans.iter().all(|record| record["channel"] == "chat:plans"), "{plans:?}");
    assert_eq!(plans[2]["seq"], 1);

    let of_bob = records(&gateway, &["dump", "--user", "bob"]);
    assert_eq!(kinds(&of_bob)[..2], ["opened", "received"]);
    assert!(of_bob.iter().all(|record| record["user"] == "bob"), "{of_bob:?}");
    let refused = of_bob.iter().find(|record| record["kind"] == "refused").unwrap();
    assert_eq!(refused["code"], "UNKNOWN_TYPE");
    let name = of_bob[0]["connection"].as_str().unwrap();
    assert_eq!(records(&gateway, &["dump", "--connection", name]), of_bob);
    let received = records(&gateway, &["dump", "--user", "bob", "--kind", "received"]);
    assert_eq!(received.iter().map(|record| &record["type"]).collect::<Vec<_>>(), ["auth", "unknown"]);
    let of_ann = records(&gateway, &["dump", "--user", "ann"]);
    let closed = of_ann.iter().find(|record| record["kind"] == "closed").unwrap();
    assert_eq!((&closed["code"], &closed["reason"]), (&json!(1000), &json!("normal")));

    let shown = String::from_utf8(run(&gateway, &["dump"]).stdout).unwrap();
    // Meanwhile the gateway goes on to say once a second how it is.
    let of_clients = all.iter().filter(|record| record["channel"] != "system:stats").count();
    assert_eq!(shown.lines().filter(|line| !line.contains("channel=system:stats")).count(), of_clients);
    assert!(!shown.contains("confidential") && !shown.contains(&token), "{shown}");
    gateway.signal(Signal::USR1);
    let file = gateway.directory.data().join("recorder.jsonl");
    until("the recorder is written", SOON, || file.exists());
    let written = fs::read_to_string(&file).unwrap();
    assert!(written.lines().count() >= all.len());
    assert!(written.lines().all(|line| serde_json::from_str::<Value>(line).unwrap()["kind"].is_string()));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!written.contains("confidential"));
}

#[test]
fn what_happens_is_followed_and_who_reads_slowly_is_told_what_it_missed() {
    let gateway = Gateway::with(&["--shards", "1", "--limits", "unlimited", "--set", "recorder.bytes=8192"]);
    let mut slow = BufReader::new(ask(&gateway, "{\"command\":\"tail\"}\n"));
    let mut child = command(&["tail", "--user", "ann", "--data"]);
    let mut child = child.arg(gateway.directory.data()).stdout(Stdio::piped()).spawn().unwrap();
    let mut followed = BufReader::new(child.stdout.take().unwrap());
    // The first of its records may come before it follows; then there are more.
    let mut line = String::new();
    let mut ann = Client::join_known(&gateway, "/ws/chat/plans", &gateway.token("ann"));
    let (sender, seen) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        followed.read_line(&mut line).unwrap();
        sender.send(line).unwrap();
    });
    let mut id = 0;
    let line = loop {
        id += 1;
        ann.publish("chat:plans", &id.to_string(), &json!({}));
        ann.event_of("ack");
        match seen.recv_timeout(std::time::Duration::from_millis(20)) {
            Ok(line) => break line,
            Err(_) => assert!(id < 2000, "nothing is followed"),
        }
    };
    assert!(line.contains("user=ann") && line.contains("connection="), "{line}");
    child.kill().unwrap();
    child.wait().unwrap();

    // Nobody reads from `slow`; the sockets between hold some thousand lines.
    for _ in 0..1000 {
        id += 1;
        ann.publish("chat:plans", &id.to_string(), &json!({}));
    }
    ann.publish("chat:plans", "last", &json!({}));
    until("the last is answered", SOON, || ann.event_of("ack")["payload"]["id"] == "last");
    let mut line = String::new();
    let mut lost = 0;
    while lost == 0 {
        line.clear();
        assert!(slow.read_line(&mut line).unwrap() > 0, "it is not cut");
        lost = serde_json::from_str::<Value>(&line).unwrap()["lost"].as_u64().unwrap_or(0);
    }
    ann.publish("chat:plans", "after", &json!({}));
    until("it goes on with what happens now", SOON, || {
        line.clear();
        slow.read_line(&mut line).unwrap();
        line.contains("sequenced")
    });
}

#[test]
fn a_user_is_debugged_for_a_while_and_the_filter_and_numbers_are_at_hand() {
    let mut gateway = Gateway::with(&["--shards", "1", "--set", "store.window_ms=5"]);
    let debug = |arguments: &[&str]| {
        let output = run(&gateway, &[&["debug"][..], arguments].concat());
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let told = debug(&["--user", "ann", "on", "--for", "600"]);
    assert!(told.contains("user ann is debugged for 600 s") && told.contains("no connection of this name"), "{told}");
    gateway.until_logged("debugging begins whom=ann");
    let mut ann = Client::join(&gateway, "/ws/chat/plans", &gateway.token("ann"));
    let mut bob = Client::join(&gateway, "/ws/chat/plans", &gateway.token("bob"));
    for client in [&mut ann, &mut bob] {
        client.send(&json!({ "type": "chat_message", "payload": { "content": "confidential" } }));
        client.event_of("chat_message");
    }
    gateway.until_logged("DEBUG waystation::debug: received");
    gateway.until_logged("type=chat_message");
    let told = debug(&["--user", "ann", "on", "--for", "600"]);
    assert!(told.contains(": 1 connection is open now"), "{told}");
    assert_eq!(debug(&["--user", "ann", "off"]), "user ann is debugged no more\n");
    assert_eq!(debug(&["--user", "ann", "off"]), "user ann was not debugged\n");
    let counted: Value = serde_json::from_str(&debug(&["--user", "bob", "on", "--for", "1", "--json"])).unwrap();
    assert_eq!((&counted["connections"], &counted["debugged"]), (&json!(1), &json!(1)));
    gateway.until_logged("debugging ends whom=ann");
    gateway.until_logged("debugging ends whom=bob");
    let stats: Value = serde_json::from_slice(&run(&gateway, &["stats"]).stdout).unwrap();
    assert_eq!((&stats["numbers"]["waystation_connections"], &stats["shards"]), (&json!(2), &json!(1)));
    assert!(stats["numbers"]["waystation_store_queue_depth"].is_u64(), "{stats}");
    let wrong = run(&gateway, &["log", "waystation=loud"]);
    assert_eq!(wrong.status.code(), Some(2));
    for wrong in [&["dump", "--kind", "gaps"][..], &["tail", "--connection", "1-204-3"], &["debug", "--user", "", "on"]]
    {
        let output = run(&gateway, wrong);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
    }
    assert!(run(&gateway, &["log", "error"]).status.success());
    gateway.terminate();
    assert_eq!(gateway.wait(SOON).code(), Some(0));
    let log = gateway.log();
    assert!(!log.contains("drained") && !log.contains("confidential") && !log.contains("user=bob"), "{log}");
    assert!(!socket(&gateway.directory).exists(), "an end takes the socket away");
}

#[test]
fn the_desk_serves_so_many_at_a_time_and_takes_orders_up_to_a_length() {
    let mut gateway = Gateway::with(&["--shards", "1"]);
    let padded = |len: usize| {
        let order = "{\"command\":\"stats\"}";
        format!("{order}{}\n", " ".repeat(len - order.len() - 1))
    };
    for (order, told) in [
        (padded(DESK_ORDER_BYTES_MAX - 1), "\"done\":true"),
        (padded(DESK_ORDER_BYTES_MAX), "\"done\":true"),
        (padded(DESK_ORDER_BYTES_MAX + 1), "at most 8192 bytes"),
        ("{\"command\":\"stop\"}\n".to_owned(), "this is no order"),
        ("{\"command\":\"dump\",\"kind\":\"x\"}\n".to_owned(), "no kind of record"),
    ] {
        let answered = answer(ask(&gateway, &order));
        assert!(answered.contains(told), "{} bytes: {answered}", order.len());
    }
    let half = ask(&gateway, "{\"command\":\"tail\"}\n");
    half.shutdown(Shutdown::Write).unwrap();
    assert!(answer(half).contains("\"done\":true"), "who closes its writing half has seen enough, and is told the end");
    let mut tails: Vec<UnixStream> = (0..DESK_CLIENTS_MAX).map(|_| ask(&gateway, "{\"command\":\"tail\"}\n")).collect();
    let is_served = || answer(ask(&gateway, "{\"command\":\"stats\"}\n")).contains("done");
    until("all places are taken", SOON, || !is_served());
    tails.pop();
    until("a place is free again", SOON, is_served);
    gateway.terminate();
    assert_eq!(gateway.wait(SOON).code(), Some(0), "who follows holds up no end");
}

#[test]
fn a_socket_that_lives_is_not_taken_one_that_was_left_is_and_without_one_it_is_said() {
    let place = Directory::new();
    let mut first = Gateway::within(&place, &[&["--shards", "1"], &IN_MEMORY[..]].concat());
    assert_eq!(fs::metadata(socket(&place)).unwrap().permissions().mode() & 0o777, 0o600);
    let path = socket(&place);
    let given = format!("admin.socket={}", path.display());
    let data = place.data();
    let refused = command(&["serve", "--listen", "127.0.0.1:0", "--set", &given, "--data", data.to_str().unwrap()]);
    let refused = { refused }.output().unwrap();
    assert_eq!(refused.status.code(), Some(75), "the other may end");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is in use: stop the server that has it"));
    let nowhere = ["serve", "--listen", "127.0.0.1:0", "--set", "admin.socket=/nothing/there.sock", "--data"];
    let nowhere = command(&nowhere).arg(&data).output().unwrap();
    assert_eq!(nowhere.status.code(), Some(78), "no start will find a directory that is not made");
    first.signal(Signal::KILL);
    first.wait(SOON);
    assert!(path.exists());
    let second = Gateway::within(&place, &[&["--shards", "1"], &IN_MEMORY[..]].concat());
    assert!(run(&second, &["stats"]).status.success(), "what was left behind is replaced");
    let beside = Gateway::within(&place, &[&["--shards", "1"], &IN_MEMORY[..]].concat());
    beside.until_logged("there is no socket for dump");
    assert!(run(&second, &["stats"]).status.success());
    let off = Gateway::with(&["--shards", "1", "--set", "admin.socket=off"]);
    let asked = run(&off, &["dump"]);
    assert_eq!(asked.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&asked.stderr).contains("admin.socket"), "{asked:?}");
    let without = Gateway::with(&["--shards", "1", "--set", "recorder.bytes=0"]);
    assert_eq!(records(&without, &["dump"]), Vec::<Value>::new());
    let refused = run(&without, &["debug", "--user", "ann", "on"]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(78), "{told}");
    for part in ["the recorder is off", "  where: ", "/admin.sock", "  what to do: set recorder.bytes"] {
        assert!(told.contains(part), "{part}: {told}");
    }
}

#[test]
fn who_follows_a_gateway_that_stops_is_told_so_and_ends_with_75() {
    let mut gateway = Gateway::with(&["--shards", "1"]);
    let mut child = command(&["tail", "--kind", "opened", "--data"]);
    let child = child.arg(gateway.directory.data()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child.spawn().unwrap();
    let mut followed = BufReader::new(child.stdout.take().unwrap());
    let (sender, seen) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut line = String::new();
        while followed.read_line(&mut line).unwrap() > 0 {
            let _nobody_waits_any_more = sender.send(std::mem::take(&mut line));
        }
    });
    let token = gateway.token("ann");
    until("it follows", SOON, || {
        let _client = Client::join(&gateway, "/ws/chat/plans", &token);
        seen.try_recv().is_ok()
    });
    gateway.terminate();
    assert_eq!(gateway.wait(SOON).code(), Some(0));
    let output = child.wait_with_output().unwrap();
    reader.join().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(75), "{told}");
    assert!(told.contains("the gateway has stopped") && told.contains("what to do: ask again once it runs"), "{told}");
}

#[test]
fn another_user_is_sent_away_even_where_the_file_lets_it() {
    if !rustix::process::geteuid().is_root() {
        // Nobody else can be asked to try: `who_may_not_enter_is_told_why_and_so_is_who_finds_no_room` shows the rest.
        return;
    }
    let gateway = Gateway::start();
    let path = socket(&gateway.directory);
    for open in [gateway.directory.path().to_owned(), gateway.directory.data()] {
        fs::set_permissions(open, fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    let program = gateway.directory.path().join("waystation");
    fs::copy(command(&[]).get_program(), &program).unwrap();
    let mut other = Command::new("setpriv");
    other.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(&program);
    let output = other.args(["stats", "--socket"]).arg(&path).output().unwrap();
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        told.contains("only the user of the server and root") && told.contains("what to do: ask as root"),
        "{told}"
    );
    gateway.until_logged("uid=65534");
}
