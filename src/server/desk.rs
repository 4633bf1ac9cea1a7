//! Asking a running gateway over its Unix socket, and showing what it answers.

use std::fmt::Write as _;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;

use serde_json::Value;

use super::logs::form::{write_escaped, write_quoted};
use crate::config::{Asked, Showing, StartError};

/// Asks, and prints line by line until the answer ends.
pub(super) fn ask(asked: &Asked) -> Result<(), StartError> {
    let place = || asked.socket.display().to_string();
    let failed = |error: &io::Error| {
        let remedy = match error.kind() {
            io::ErrorKind::PermissionDenied => "ask as the gateway's user or as root",
            _ => "start the gateway, or name its socket with --socket (admin.socket in its configuration)",
        };
        StartError::new(format!("the gateway cannot be asked: {error}"), place(), remedy)
    };
    let mut stream = UnixStream::connect(&asked.socket).map_err(|error| failed(&error))?;
    match stream.write_all(format!("{}\n", asked.order).as_bytes()) {
        // Who is sent away is told why before it asks; what was told is there to be read.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(failed(&error)),
        _ => {}
    }
    let mut out = io::stdout().lock();
    // A line that cannot be read is the end too: the gateway was killed.
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        let answer: Value = serde_json::from_str(&line).unwrap_or(Value::Null);
        if answer["error"].is_string() {
            return Err(refused(&answer, place()));
        }
        let text = match &asked.showing {
            Showing::Json => line,
            Showing::Records => shown(&answer),
            Showing::Debugged(whom) => debugged(&answer, whom),
        };
        if !text.is_empty() && writeln!(out, "{text}").and_then(|()| out.flush()).is_err() {
            // Who reads has seen enough.
            return Ok(());
        }
        if answer["done"] == true {
            return Ok(());
        }
    }
    let what = "the gateway has stopped, or cut this off, before the end of what it says";
    Err(StartError::new(what, place(), "ask again once it runs; its log says why it stopped").passing())
}

/// What the gateway refuses, and its advice.
fn refused(answer: &Value, place: String) -> StartError {
    let text = |name: &str, otherwise: &str| {
        let mut told = String::new();
        write_escaped(answer[name].as_str().unwrap_or(otherwise), &mut told);
        told
    };
    let error = StartError::new(text("error", ""), place, text("remedy", "see the gateway's log"));
    if answer["passing"] == true { error.passing() } else { error }
}

/// What became of debugging somebody.
fn debugged(answer: &Value, whom: &str) -> String {
    let mut told = String::new();
    write_escaped(whom, &mut told);
    if let Some(ended) = answer["ended"].as_bool() {
        return if ended { format!("{told} is debugged no more") } else { format!("{told} was not debugged") };
    }
    let seconds = answer["seconds"].as_u64().unwrap_or(0);
    let now = match answer["connections"].as_u64() {
        None => "a shard does not say how many connections that are".to_owned(),
        Some(0) => "no connection of this name is open now".to_owned(),
        Some(1) => "1 connection is open now".to_owned(),
        Some(count) => format!("{count} connections are open now"),
    };
    let coming = if whom.starts_with("user ") { ", and those that come are followed too" } else { "" };
    format!("{told} is debugged for {seconds} s, in the gateway's log: {now}{coming}")
}

/// A record for people: when, where, what, then what it says.
fn shown(record: &Value) -> String {
    let Some(fields) = record.as_object() else { return String::new() };
    if record["done"] == true {
        return String::new();
    }
    if let Some(lost) = record["lost"].as_u64() {
        return format!("({lost} records were overwritten before they were read)");
    }
    let text = |name: &str| record[name].as_str().unwrap_or("?").to_owned();
    let mut line = format!("{} {:>2} {:<13}", text("time"), record["shard"].to_string(), text("kind"));
    for (name, value) in fields.iter().filter(|(name, _)| !HEAD.contains(&name.as_str())) {
        let _infallible = write!(line, " {name}=");
        match value.as_str() {
            // What steers a terminal, or turns a line around on it, may be in anybody's name.
            Some(text) => write_quoted(text, &mut line),
            None => line.push_str(&value.to_string()),
        }
    }
    line
}

/// What stands in front of each line.
const HEAD: [&str; 4] = ["time", "micros", "shard", "kind"];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn who_is_debugged_is_told_in_words() {
        let on = |connections: Value| json!({ "done": true, "seconds": 5, "debugged": 1, "connections": connections });
        for (answer, whom, expected) in [
            (on(json!(0)), "user ann", "no connection of this name is open now, and those that come are followed too"),
            (on(json!(1)), "user ann", "1 connection is open now, and"),
            (
                on(json!(2)),
                "user a\u{1b}nn",
                "user a\\u{1b}nn is debugged for 5 s, in the gateway's log: 2 connections",
            ),
            (on(json!(0)), "connection 0a", "no connection of this name is open now"),
            (on(Value::Null), "user ann", "a shard does not say"),
            (json!({ "done": true, "ended": true, "debugged": 0 }), "user ann", "user ann is debugged no more"),
            (json!({ "done": true, "ended": false, "debugged": 0 }), "user ann", "user ann was not debugged"),
        ] {
            let told = debugged(&answer, whom);
            assert!(told.contains(expected), "{told}");
        }
    }

    #[test]
    fn a_refusal_has_its_remedy_and_says_whether_it_may_pass() {
        let told = refused(&json!({ "error": "no\n", "remedy": "do", "passing": true }), "/s".to_owned());
        assert_eq!(told, StartError::new("no\\n", "/s", "do").passing());
        let old = refused(&json!({ "error": "no" }), "/s".to_owned());
        assert_eq!(old, StartError::new("no", "/s", "see the gateway's log"));
    }

    #[test]
    fn a_record_is_a_line() {
        for (record, expected) in [
            (
                json!({ "time": "T", "micros": 1, "shard": 3, "kind": "received", "bytes": 12, "user": "a \n\"b" }),
                "T  3 received      bytes=12 user=\"a \\n\\\"b\"",
            ),
            (
                json!({ "time": "T", "shard": 3, "kind": "opened", "user": "a\u{202e}b", "connection": "\u{1b}[2J" }),
                "T  3 opened        connection=\"\\u{1b}[2J\" user=\"a\\u{202e}b\"",
            ),
            (json!({ "lost": 7 }), "(7 records were overwritten before they were read)"),
            (json!({ "done": true, "lost": 7 }), ""),
            (json!("?"), ""),
        ] {
            assert_eq!(shown(&record), expected);
        }
    }
}
