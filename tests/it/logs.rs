//! Proves that the log is nobody's burden: a reader that does not read holds up neither clients nor the end, and what is
//! logged can be changed while the server runs.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::Command;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::client::Client;
use crate::gateway::{Directory, Gateway, SOON, command, until};
use crate::raw;

/// A pipe with a name that is full, and the end from which it could be read.
fn full_pipe(place: &Directory) -> (std::path::PathBuf, File) {
    let path = place.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    // Open for both, so that neither end waits for another.
    let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap();
    let mut pipe = OpenOptions::new().read(true).write(true).custom_flags(nonblocking).open(&path).unwrap();
    while pipe.write(&[b'x'; 4096]).is_ok() {}
    while pipe.write(b"x").is_ok() {}
    (path, pipe)
}

#[test]
fn a_standard_error_that_nobody_reads_holds_up_neither_clients_nor_the_end() {
    let place = Directory::new();
    let (path, mut pipe) = full_pipe(&place);
    let mut gateway = Gateway::with_standard_error(&path, &["--shards", "1"]);
    let mut ann = Client::join(&gateway, "/ws/chat/s", &gateway.token("ann"));
    gateway.signal(Signal::HUP);
    ann.send(&json!({ "type": "chat_message", "payload": { "content": "hello" } }));
    ann.event_of("chat_message");
    assert_eq!(raw::get(&gateway, "GET", "/readyz").status, 200);
    gateway.terminate();
    assert_eq!(gateway.wait(SOON).code(), Some(0));
    let mut bytes = vec![0; 1 << 20];
    let count = pipe.read(&mut bytes).unwrap();
    assert!(bytes[..count].iter().all(|&byte| byte == b'x'), "nothing of it was written");
}

#[test]
fn who_reads_again_gets_what_was_said_meanwhile() {
    let place = Directory::new();
    let (path, mut pipe) = full_pipe(&place);
    let gateway = Gateway::with_standard_error(&path, &["--shards", "1"]);
    let (mut text, mut bytes) = (String::new(), vec![0; 1 << 20]);
    until("the first line comes", SOON, || {
        let count = pipe.read(&mut bytes).unwrap_or(0);
        text += &String::from_utf8_lossy(&bytes[..count]);
        text.contains("listening") && text.ends_with('\n')
    });
    assert_eq!(raw::get(&gateway, "GET", "/readyz").status, 200);
}

#[test]
fn what_is_debugged_takes_no_other_lines_room() {
    let place = Directory::new();
    let (path, mut pipe) = full_pipe(&place);
    let gateway = Gateway::with_standard_error(&path, &["--shards", "1", "--limits", "unlimited"]);
    assert!(
        command(&["debug", "--user", "ann", "on", "--data"]).arg(gateway.directory.data()).status().unwrap().success()
    );
    let mut ann = Client::join(&gateway, "/ws/chat/s", &gateway.token("ann"));
    until("more is debugged than has room", SOON, || {
        ann.send_at_once(&vec![json!({ "type": "ping" }); 100]);
        (0..100).for_each(|_| drop(ann.event_of("pong")));
        gateway.number("waystation_log_lost_total") > 0.0
    });
    gateway.signal(Signal::HUP);
    until("it is read again", SOON, || gateway.metric("waystation_config_generation", "") == 2);
    let (mut text, mut bytes) = (String::new(), vec![0; 1 << 20]);
    until("it is said all the same", SOON, || {
        let count = pipe.read(&mut bytes).unwrap_or(0);
        text += &String::from_utf8_lossy(&bytes[..count]);
        text.contains("the configuration was read again")
    });
    assert!(text.contains("waystation::debug: received"), "and of what is debugged what had room");
}

#[test]
fn every_line_of_a_log_in_json_is_an_object_and_the_filter_changes_with_the_configuration() {
    let place = Directory::new();
    let file = place.path().join("gateway.toml");
    std::fs::write(&file, "[log]\nformat = \"json\"\nfilter = \"info\"\n").unwrap();
    let gateway = Gateway::within(&place, &["--shards", "1", "--config", file.to_str().unwrap()]);
    gateway.until_logged("\"listening\"");
    std::fs::write(&file, "[log]\nformat = \"json\"\nfilter = \"warn\"\n").unwrap();
    gateway.signal(Signal::HUP);
    until("it is in force", SOON, || gateway.metric("waystation_config_generation", "") == 2);
    let lines: Vec<Value> = gateway.log().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().all(|line| line["level"] == "INFO" && line["target"].is_string()), "{lines:?}");
    // What a signal of any kind says at the end is less than a warning, and is not said any more.
    gateway.terminate();
    let mut gateway = gateway;
    assert_eq!(gateway.wait(SOON).code(), Some(0));
    assert!(!gateway.log().contains("drained"), "{}", gateway.log());
}
