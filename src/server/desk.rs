//! Asking a running gateway over its Unix socket, and showing what it answers.

use std::fmt::Write as _;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use serde_json::Value;

use super::logs::form::{write_escaped, write_quoted};
use crate::config::{Asked, StartError};

/// Asks, and prints line by line until the answer ends. The exit code is 1 if it is an error.
pub(super) fn ask(asked: &Asked) -> Result<ExitCode, StartError> {
    let failed = |error: &io::Error| {
        let remedy = match error.kind() {
            io::ErrorKind::PermissionDenied => "ask as the gateway's user or as root",
            _ => "start the gateway, or name its socket with --socket (admin.socket in its configuration)",
        };
        StartError::new(format!("the gateway cannot be asked: {error}"), asked.socket.display().to_string(), remedy)
    };
    let mut stream = UnixStream::connect(&asked.socket).map_err(|error| failed(&error))?;
    match stream.write_all(format!("{}\n", asked.order).as_bytes()) {
        // Who is sent away is told why before it asks; what was told is there to be read.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(failed(&error)),
        _ => {}
    }
    let (mut out, mut ended) = (io::stdout().lock(), false);
    for line in BufReader::new(stream).lines() {
        let line = line.map_err(|error| failed(&error))?;
        let answer: Value = serde_json::from_str(&line).unwrap_or(Value::Null);
        if let Some(error) = answer["error"].as_str() {
            let mut told = String::from("waystation: ");
            write_escaped(error, &mut told);
            let _nobody_listens = writeln!(io::stderr().lock(), "{told}");
            return Ok(ExitCode::FAILURE);
        }
        ended = answer["done"] == true;
        let text = if asked.json { line } else { shown(&answer) };
        if !text.is_empty() && writeln!(out, "{text}").and_then(|()| out.flush()).is_err() {
            // Who reads has seen enough.
            return Ok(ExitCode::SUCCESS);
        }
    }
    // Cut off: the gateway has ended, or was asked for too much at once.
    Ok(if ended { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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
