//! Two servers side by side: what is proved is that runs are interleaved and all kept, that the tables have a row for
//! each server with what it does not promise, and that a server that is not there is named.

#![expect(clippy::unwrap_used, reason = "a test binary: a panic is its report")]

#[path = "support/floor.rs"]
mod support;

use loadgen::against::{Against, Entrant};
use loadgen::scenario::Scenario;
use support::Server;

fn scenario() -> Scenario {
    let changes = ["group.0.rooms=3", "group.1.members=5", "group.1.publishers=2", "rate=20", "duration_s=0.4"];
    let changes = changes.iter().chain(&["warmup_s=0.1", "lateness_p99_max_us=10000000", "starved_max=1"]);
    Scenario::load("beside", &changes.map(|&change| change.to_owned()).collect::<Vec<_>>()).unwrap()
}

#[test]
fn servers_are_run_in_turn_and_stand_side_by_side() {
    let (first, second) = (Server::start(), Server::start());
    let own = std::process::id();
    let one = Entrant::parse(&format!("one=waystation@{},pid={own}", first.url), &[]).unwrap();
    let two = Entrant::parse(&format!("two=waystation@{}", second.url), &[]).unwrap();
    let against = Against { entrants: vec![one, two], repeats: 2, server_cpu: None };
    let mut told = Vec::new();
    let outcome = against.run(&scenario(), &mut told).unwrap();
    assert_eq!(outcome.exit_code(), 0, "{outcome}");
    let told = String::from_utf8(told).unwrap();
    let order: Vec<&str> = told.lines().map(|line| line.split_whitespace().nth(2).unwrap()).collect();
    assert_eq!(order, ["one", "two", "two", "one"], "{told}");
    assert!(told.lines().all(|line| line.ends_with("passed") && line.contains("small: p50")), "{told}");
    for server in &outcome.servers {
        assert_eq!((server.runs.len(), server.adapter.as_str()), (2, "waystation"));
        assert!(server.runs.iter().all(|run| run.groups.iter().all(|group| group.delivered > 0)));
    }
    let text = outcome.to_string();
    let rows = |name: &str| text.lines().filter(|line| line.starts_with(&format!("| {name} "))).collect::<Vec<_>>();
    for (name, cells) in [("one", 7), ("two", 7)] {
        let rows = rows(name);
        assert_eq!(rows.len(), 3, "{text}");
        assert_eq!(rows[0].matches('|').count(), cells + 1, "{text}");
        assert!(rows[2].ends_with("passed |"), "{text}");
    }
    // Only the first one's process is known.
    assert!(!rows("one")[2].contains(" - |") && rows("two")[2].contains(" - |"), "{text}");
    assert!(text.contains("Group big: 1 room of 5, 5 connections"), "{text}");
    serde_json::to_string(&outcome).unwrap();
    let page = outcome.html();
    for part in
        ["aria-label=\"one: ", "aria-label=\"two: ", "Group big: 1 room of 5, 5 connections", "2 runs of each in turn"]
    {
        assert!(page.contains(part), "{part}\n{page}");
    }
    first.end();
    second.end();
}

#[test]
fn a_server_that_is_not_there_or_does_not_start_is_named() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (origin, word) in [("", "does not accept"), (",start=true", "ended at once")] {
        let gone = Entrant::parse(&format!("gone=ws@ws://{free}{origin}"), &[]).unwrap();
        let against = Against { entrants: vec![gone], repeats: 1, server_cpu: None };
        let error = against.run(&scenario(), &mut Vec::new()).unwrap_err();
        assert!(error.starts_with("gone: ") && error.contains(word), "{error}");
    }
}
