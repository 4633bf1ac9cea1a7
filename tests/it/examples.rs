//! The worked examples of `docs/PROTOCOL.md`, done as they stand: every block that is marked `exchange` is a script against
//! a server of its own.
//!
//! A block's lines are
//! `ada = /ws/chat/demo` (ada opens a WebSocket), `ada > {…}` (she sends a text), `ada < {…}` (the next text that she gets has
//! at least this), `ada < close 4001` (the server closes), `GET /path` or `POST /path {…}` as ada or as nobody, and
//! `200 {…}` (its answer). A string `<name>` stands for whatever comes, and for the same wherever it comes again; `<token of
//! ada>` is a token of hers; backend's is a service's, and admin's permits everything. Words after the mark are lines of
//! the configuration.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::client::{COMPANY, Client, Seen};
use crate::gateway::{Directory, Gateway};
use crate::raw;

/// The page as it was when this was built: the tests may be run where the tree is not.
const PROTOCOL: &str = include_str!("../../docs/PROTOCOL.md");

/// One block: the line where it begins, its configuration, its lines.
struct Script<'a> {
    line: usize,
    configuration: &'a str,
    steps: Vec<&'a str>,
}

fn scripts(text: &str) -> Vec<Script<'_>> {
    let mut all: Vec<Script<'_>> = Vec::new();
    let mut inside = false;
    for (index, line) in text.lines().enumerate() {
        match (inside, line.strip_prefix("```exchange")) {
            (false, Some(configuration)) => {
                all.push(Script { line: index + 1, configuration: configuration.trim(), steps: Vec::new() });
                inside = true;
            }
            (true, _) if line == "```" => inside = false,
            (true, _) => all.last_mut().unwrap().steps.push(line),
            (false, None) => {}
        }
    }
    assert!(!inside, "a block has no end");
    all
}

/// What a script is about while it goes on.
struct Stage {
    gateway: Gateway,
    clients: HashMap<String, Client>,
    /// What stands for what.
    bound: Map<String, Value>,
    answer: Option<(u16, String)>,
}

impl Stage {
    fn new(configuration: &str) -> Self {
        let directory = Directory::new();
        let mut args = vec!["--shards".to_owned(), "2".to_owned()];
        if let Some((section, setting)) = configuration.split_once('.') {
            let file = directory.path().join("gateway.toml");
            std::fs::write(&file, format!("[{section}]\n{setting}\n")).unwrap();
            args.extend(["--config".to_owned(), file.to_str().unwrap().to_owned()]);
        }
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let gateway = Gateway::within(&directory, &args);
        Self { gateway, clients: HashMap::new(), bound: Map::new(), answer: None }
    }

    fn token(&mut self, name: &str) -> String {
        let key = format!("token of {name}");
        if !self.bound.contains_key(&key) {
            let token = match name {
                "backend" => self.gateway.token_with(name, &["--role", "service"]),
                "admin" => self.gateway.master_token(name),
                _ => self.gateway.token(name),
            };
            self.bound.insert(key.clone(), Value::from(token));
        }
        self.bound[&key].as_str().unwrap().to_owned()
    }

    /// A text with everything in it that is known by now.
    fn filled(&mut self, text: &str) -> String {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('<') {
            let Some((name, after)) = after.split_once('>') else { break };
            if let Some(user) = name.strip_prefix("token of ") {
                self.token(user);
            }
            filled.push_str(before);
            match self.bound.get(name) {
                Some(Value::String(value)) => filled.push_str(value),
                _ => panic!("<{name}> is not known yet"),
            }
            rest = after;
        }
        filled + rest
    }

    fn step(&mut self, line: &str) {
        let (word, rest) = line.split_once(' ').unwrap();
        if matches!(word, "GET" | "HEAD" | "POST" | "DELETE") {
            return self.ask(word, rest);
        }
        if word.parse::<u16>().is_ok() {
            return self.answered(word, rest);
        }
        let (does, rest) = rest.split_once(' ').unwrap();
        match does {
            "=" => {
                let path = self.filled(rest);
                self.clients.insert(word.to_owned(), Client::open(&self.gateway, &path));
            }
            ">" => {
                let text = self.filled(rest);
                self.client(word).send_text(&text);
            }
            "<" => self.hears(word, rest),
            "POST" | "GET" | "DELETE" => {
                let token = self.token(word);
                self.ask_as(does, rest, &format!("Authorization: Bearer {token}\r\n"));
            }
            other => panic!("{other} is nothing that can be done"),
        }
    }

    fn client(&mut self, name: &str) -> &mut Client {
        self.clients.get_mut(name).unwrap()
    }

    fn hears(&mut self, name: &str, expected: &str) {
        if let Some(code) = expected.strip_prefix("close ") {
            return loop {
                match self.client(name).next() {
                    Seen::Close(seen, _) => break assert_eq!(seen, code.parse().ok()),
                    Seen::Ping | Seen::Pong(_) => {}
                    other => panic!("a close was expected: {other:?}"),
                }
            };
        }
        let expected: Value = serde_json::from_str(expected).unwrap();
        // Who is there is told when it is told: it is passed over where it is not expected, and waited for where it is.
        let kind = expected["type"].as_str().filter(|kind| COMPANY.contains(kind));
        let (text, seen) = loop {
            let text = self.client(name).text();
            let seen: Value = serde_json::from_str(&text).unwrap();
            let company = seen["type"].as_str().filter(|kind| COMPANY.contains(kind));
            if company == kind {
                break (text, seen);
            }
        };
        fits(&mut self.bound, &expected, &seen).unwrap_or_else(|why| panic!("{why}\nin {text}"));
    }

    fn ask(&mut self, method: &str, rest: &str) {
        self.ask_as(method, rest, "");
    }

    fn ask_as(&mut self, method: &str, rest: &str, headers: &str) {
        let (path, body) = rest.split_once(' ').unwrap_or((rest, ""));
        let (path, body) = (self.filled(path), self.filled(body));
        let length = if body.is_empty() {
            String::new()
        } else {
            format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len())
        };
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n{headers}{length}\r\n", self.gateway.address);
        let answer = raw::ask(&self.gateway, &format!("{head}{body}"));
        self.answer = Some((answer.status, answer.body));
    }

    fn answered(&mut self, status: &str, expected: &str) {
        let (seen, body) = self.answer.take().unwrap();
        assert_eq!(seen.to_string(), status, "{body}");
        let expected: Value = serde_json::from_str(expected).unwrap();
        let body: Value = serde_json::from_str(&body).unwrap();
        fits(&mut self.bound, &expected, &body).unwrap_or_else(|why| panic!("{why}\nin {body}"));
    }
}

/// Whether `seen` has at least what is `expected`; what stands for something is bound on the way.
fn fits(bound: &mut Map<String, Value>, expected: &Value, seen: &Value) -> Result<(), String> {
    match (expected, seen) {
        (Value::Object(expected), Value::Object(seen)) => expected.iter().try_for_each(|(key, value)| {
            let found = seen.get(key).ok_or_else(|| format!("there is no {key}"))?;
            fits(bound, value, found).map_err(|why| format!("{key}: {why}"))
        }),
        (Value::Array(expected), Value::Array(seen)) if expected.len() == seen.len() => {
            expected.iter().zip(seen).try_for_each(|(expected, seen)| fits(bound, expected, seen))
        }
        (Value::String(text), seen) if text.starts_with('<') && text.ends_with('>') => {
            let name = &text[1..text.len() - 1];
            let known = bound.entry(name).or_insert_with(|| seen.clone());
            if known == seen { Ok(()) } else { Err(format!("{name} was {known} and is {seen}")) }
        }
        _ if expected == seen => Ok(()),
        _ => Err(format!("{expected} was expected, and {seen} came")),
    }
}

#[test]
fn every_worked_example_of_the_protocol_goes_as_it_is_written() {
    let scripts = scripts(PROTOCOL);
    assert!(scripts.len() >= 12, "{} examples", scripts.len());
    for script in scripts {
        let mut stage = Stage::new(script.configuration);
        for (index, step) in script.steps.iter().enumerate() {
            let at = script.line + index + 1;
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| stage.step(step)));
            assert!(done.is_ok(), "docs/PROTOCOL.md, line {at}: {step}");
        }
    }
}

#[test]
fn an_example_that_does_not_hold_is_found() {
    let check = |expected: &str, seen: &str| {
        let read = |text: &str| serde_json::from_str(text).unwrap();
        fits(&mut Map::new(), &read(expected), &read(seen)).is_ok()
    };
    assert!(check(r#"{"a":"<x>","b":["<x>"]}"#, r#"{"a":1,"b":[1],"c":2}"#));
    assert!(!check(r#"{"a":"<x>","b":"<x>"}"#, r#"{"a":1,"b":2}"#));
    assert!(!check(r#"{"a":1}"#, r#"{"b":1}"#) && !check("[1]", "[1,2]") && !check(r#""a""#, r#""b""#));
    assert_eq!(scripts("x\n```exchange a.b\none\ntwo\n```\n```\nno\n```\n")[0].steps, ["one", "two"]);
}
