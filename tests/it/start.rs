//! Proves what the command promises at its edges: what it prints where, and how it ends.

use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Output;

use rustix::process::Signal;

use crate::server::{Place, Server, command};

fn run(arguments: &[&str]) -> Output {
    command(arguments).output().expect("a binary that runs")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

#[test]
fn bad_usage_ends_with_2_and_what_cannot_be_done_with_78() {
    let place = Place::new();
    let data = place.data();
    let data = data.to_str().expect("UTF-8");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().map(|address| (taken, address.to_string())).expect("its address");
    for (arguments, code, told) in [
        (&["--help"][..], 0, ""),
        (&["--version"], 0, ""),
        (&["serve", "--shards", "0"], 2, "--shards"),
        (&["token"], 2, "--user"),
        (&["serve", "--data", data, "--cpus", "1000"], 78, "--cpus"),
        (&["serve", "--data", data, "--listen", &taken.1], 78, "another port"),
        (&["serve", "--data", "/proc/nothing"], 78, "--data"),
        (&["token", "--user", "ada"], 78, "--data"),
    ] {
        let output = run(arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
        assert!(error.contains(told), "{arguments:?}: {error}");
        assert_eq!(output.stdout.is_empty(), code != 0, "{arguments:?}");
    }
}

#[test]
fn token_prints_one_token_a_line_and_nothing_else() {
    let place = Place::new();
    let data = place.data();
    let output = run(&["token", "--user", "u", "--count", "3", "--data", data.to_str().expect("UTF-8")]);
    let text = stdout(&output);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines.len(), output.status.code(), output.stderr.is_empty()), (3, Some(0), true));
    for (index, token) in lines.iter().enumerate() {
        let rules = &jsonwebtoken::dangerous::insecure_decode::<serde_json::Value>(token).expect("a token");
        assert_eq!(rules.claims["sub"], format!("u-{}", index + 1));
    }
}

#[test]
fn serve_greets_drains_on_a_signal_and_ends_with_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let place = Place::new();
        let server = Server::start(&place.data(), &["--shards", "1"]);
        let token = server.greeting.split("#token=").nth(1).and_then(|rest| rest.split_whitespace().next());
        let token = token.expect("a token in the greeting").to_owned();
        assert!(server.greeting.contains("made a development key"), "{}", server.greeting);
        assert!(server.greeting.contains("in memory only"), "{}", server.greeting);
        assert!(server.greeting.contains(&format!("http://{}/#token=", server.address)), "{}", server.greeting);
        server.signal(signal);
        let (status, log) = server.end();
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(log.contains("draining") && !log.contains(&token), "{log}");
        let again = Server::start(&place.data(), &["--shards", "1"]);
        assert!(again.greeting.contains("uses the development key"), "{}", again.greeting);
    }
}

#[test]
fn serve_warns_of_what_is_open() {
    let place = Place::new();
    let server = Server::start(&place.data(), &["--shards", "1", "--echo", "--limits", "unlimited"]);
    server.signal(Signal::TERM);
    let (status, log) = server.end();
    assert_eq!((status.code(), status.signal()), (Some(0), None));
    assert!(log.contains("/echo is served") && log.contains("rates are off"), "{log}");
}

#[test]
fn a_data_directory_that_is_a_file_is_refused() {
    let place = Place::new();
    let file = place.path().join("file");
    std::fs::write(&file, "").expect("a file");
    let output = run(&["serve", "--data", file.to_str().expect("UTF-8")]);
    assert_eq!(output.status.code(), Some(78));
}
