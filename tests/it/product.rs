//! Everything that the product's clients say, by the load generator's scenario `product` at small size, against the program
//! with its store: each kind of message is delivered or answered as it should be, in the flat dialect too, and what a
//! user has acknowledged on one device does not come again on another.

use loadgen::engine::Target;
use loadgen::plan::{self, Setting};
use loadgen::report::{KindReport, Report};
use loadgen::scenario::Scenario;
use serde_json::json;

use crate::client::Client;
use crate::gateway::{Gateway, command};

/// What the scenario's head asks for.
const CAPS: &str = r#"{"chat:*":["subscribe","publish","presence","history","stream"],"trip:*":["subscribe","publish","presence","history","edit"],"notifications:{user}":["subscribe","publish","history"],"user:{user}":["subscribe"]}"#;

const SMALL: [&str; 14] = [
    "warmup_s=0.2",
    "duration_s=2.0",
    "drain_s=60",
    "rate=20",
    // Whatever else the machine does, what comes is to be right.
    "lateness_p99_max_us=60000000",
    "starved_max=1.0",
    "opening_s=40",
    "group.0.rooms=3",
    "group.1.rooms=3",
    "group.2.rooms=2",
    "group.3.rooms=3",
    "group.4.rooms=2",
    "group.5.rooms=2",
    "group.3.rate=10",
];

fn run(gateway: &Gateway) -> (Report, Vec<String>) {
    let changes: Vec<String> = SMALL.iter().map(|&change| change.to_owned()).collect();
    let scenario = Scenario::load("product", &changes).unwrap();
    let count = scenario.connections_count().to_string();
    let mut token = command(&["token", "--data"]);
    token.arg(gateway.directory.data()).args(["--user", "u", "--count", &count, "--caps", CAPS]);
    let output = token.output().unwrap();
    let tokens: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    let target = Target::parse(&format!("ws://{}", gateway.address)).unwrap();
    let report = plan::run(&scenario, &Setting { tokens: tokens.clone(), ..Setting::new(target) }).unwrap();
    (report, tokens)
}

#[test]
fn all_that_the_products_clients_say_comes_once_in_order_and_is_answered() {
    let gateway = Gateway::with(&["--shards", "2", "--limits", "unlimited", "--set", "store.window_ms=2"]);
    let (report, tokens) = run(&gateway);
    assert_eq!(report.objections(), Vec::<String>::new(), "{report}");
    for group in &report.groups {
        assert!(group.published > 0 && group.delivered > 0, "{}: {report}", group.name);
        for KindReport { kind, published, delivered, answers, latency } in &group.kinds {
            let each = match kind.as_str() {
                // What only counts while it happens may be left out, and of some nothing comes back.
                "cursor" | "editing" | "typing" if group.name != "flat" => continue,
                "ping" => continue,
                _ if *answers => 1,
                _ => 3,
            };
            assert!(*published > 0, "{}: {kind}: {report}", group.name);
            assert_eq!(*delivered, each * published, "{}: {kind}: {report}", group.name);
            assert!(latency.count > 0, "{}: {kind}: {report}", group.name);
        }
    }
    let trips = &report.groups[0].kinds;
    assert!(trips.iter().all(|kind| ["typing", "ping"].contains(&&*kind.kind) || kind.delivered > 0), "{report}");
    let kinds = report.groups.iter().flat_map(|group| &group.kinds);
    let pings: u64 = kinds.filter(|kind| kind.kind == "ping").map(|kind| kind.published).sum();
    assert!(pings > 0 && report.events.count("pong") == pings, "{report}");
    assert_eq!(report.groups[3].delivered, 2 * report.groups[3].published, "two devices of each user: {report}");

    // The first connection of the first room of notifications is the one behind those of the groups before.
    let before: usize = report.scenario.group[..3].iter().map(loadgen::scenario::Group::connections_count).sum();
    let user = format!("u-{}", before + 1);
    let mut third = Client::join_known(&gateway, &format!("/ws/notifications/{user}"), &tokens[before]);
    assert!(third.subscribed["payload"]["seq"].as_u64().unwrap() > 0, "{}", third.subscribed);
    third.send(&json!({ "type": "request", "id": "q", "payload": { "method": "time" } }));
    let next = third.event();
    assert_eq!(next["type"], "response", "everything was acknowledged: {next}");
}
