//! A disk that gives back another byte than was written: proves on the built program that it is told, whatever file it is
//! in, that nothing wrong is given out as good, and that all other channels go on.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::client::Client;
use crate::gateway::{Directory, Gateway, SOON, command};
use crate::raw;
use crate::stalled::KEEPING;

/// Events of each of two channels.
const COUNT: usize = 120;

/// What an event of a channel says.
fn text(channel: &str, n: usize) -> String {
    format!("{channel}-{n:04}-").repeat(40)
}

/// A store of two channels whose events are in tables; in a journal too, which a start reads.
fn left() -> std::sync::Arc<Directory> {
    let directory = Directory::new();
    let mut gateway = Gateway::within(&directory, &KEEPING);
    for channel in ["s", "t"] {
        let mut ada = Client::join(&gateway, &format!("/ws/chat/{channel}"), &gateway.token("ada"));
        for n in 0..COUNT {
            ada.publish(&format!("chat:{channel}"), &format!("op-{n}"), &json!({ "text": text(channel, n) }));
        }
        (0..COUNT).for_each(|_| drop(ada.event_of("ack")));
    }
    gateway.terminate();
    assert!(gateway.wait(SOON).success(), "{}", gateway.log());
    let compact = command(&["store", "compact", "--data"]).arg(directory.data()).output().unwrap();
    assert!(compact.status.success(), "{compact:?}");
    directory
}

/// Everything below a directory: files with their bytes, and directories.
fn tree(directory: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let (mut found, mut waiting) = (BTreeMap::new(), vec![directory.to_owned()]);
    while let Some(path) = waiting.pop() {
        for entry in fs::read_dir(&path).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap().is_dir() {
                true => waiting.push(entry.path()),
                false => drop(found.insert(entry.path(), Some(fs::read(entry.path()).unwrap()))),
            }
        }
        found.insert(path, None);
    }
    found
}

fn flip(path: &Path, at: usize, byte: u8) {
    fs::File::options().write(true).open(path).unwrap().write_all_at(&[byte ^ 0x01], at as u64).unwrap();
}

/// The table and the place in it where a text stands.
fn find(directory: &Directory, text: &str) -> (PathBuf, usize, u8) {
    let files = tree(&directory.data().join("store").join("log").join("keyspaces"));
    let found = files.iter().find_map(|(path, bytes)| {
        let bytes = bytes.as_ref()?;
        let at = bytes.windows(text.len()).position(|window| window == text.as_bytes())?;
        Some((path.clone(), at, bytes[at]))
    });
    found.unwrap()
}

/// Everything of a channel that a reader gets who comes back to its beginning: events by number, and what it is told that
/// it does not get.
fn read(gateway: &Gateway, channel: &str) -> (BTreeMap<u64, Value>, Vec<(u64, u64)>) {
    let path = format!("/ws/chat/{channel}");
    let epoch = Client::join(gateway, &path, &gateway.token("ada")).subscribed["payload"]["epoch"].clone();
    let resume = json!([{ "channel": format!("chat:{channel}"), "epoch": epoch, "seq": 0 }]);
    let auth = json!({ "token": gateway.token("ada"), "resume": resume, "client": { "name": "it", "version": "1" } });
    let mut reader = Client::join_with(gateway, &path, &auth);
    reader.publish(&format!("chat:{channel}"), "marker", &json!({}));
    let (mut events, mut lost) = (BTreeMap::new(), Vec::new());
    loop {
        let event = reader.event();
        if event["op_id"] == "marker" {
            return (events, lost);
        }
        let number = |name: &str| event["payload"][name].as_u64().unwrap();
        if event["type"] == "gap" {
            assert_eq!(event["payload"]["lost"], true, "{event}");
            lost.push((number("from_seq"), number("to_seq")));
        } else if event["type"] == "note" {
            let seq = event["seq"].as_u64().unwrap();
            let n = usize::try_from(seq).unwrap() - 1;
            assert_eq!(event["payload"]["text"], text(channel, n), "{seq} is not what was published");
            assert!(events.insert(seq, event).is_none(), "{seq} came twice");
        }
    }
}

/// Flips a byte of an event of `chat:s`, before the server starts or while it runs, and reads both channels.
fn is_told_and_the_rest_comes(directory: &std::sync::Arc<Directory>, flip_while_it_runs: Option<(PathBuf, usize, u8)>) {
    let gateway = Gateway::within(directory, &KEEPING);
    if let Some((path, at, byte)) = flip_while_it_runs {
        flip(&path, at, byte);
    }
    let (events, lost) = read(&gateway, "s");
    let missing: Vec<u64> = (1..=COUNT as u64).filter(|seq| !events.contains_key(seq)).collect();
    assert!(missing.contains(&61) && missing.len() < COUNT / 2, "{missing:?}");
    for seq in &missing {
        assert!(lost.iter().any(|(from, to)| (from..=to).contains(&seq)), "{seq} is missing and not told: {lost:?}");
    }
    let (events, lost) = read(&gateway, "t");
    assert_eq!((events.len(), lost), (COUNT, Vec::new()), "the other channel is whole");
    assert!(gateway.metric("waystation_store_damaged_total", "") > 0);
    assert_eq!(raw::get(&gateway, "GET", "/readyz").status, 200);
    drop(gateway);
    let check = command(&["store", "check", "--data"]).arg(directory.data()).output().unwrap();
    let told = String::from_utf8(check.stdout).unwrap();
    assert!(check.status.code() == Some(1) && told.contains("chat:s") && !told.contains("chat:t\""), "{told}");
}

#[test]
fn a_byte_that_flips_while_the_server_runs_is_told_and_never_given_out() {
    let directory = left();
    let place = find(&directory, &text("s", 60));
    is_told_and_the_rest_comes(&directory, Some(place));
}

#[test]
fn a_byte_that_flipped_before_the_start_is_told_and_never_given_out() {
    let directory = left();
    let (path, at, byte) = find(&directory, &text("s", 60));
    flip(&path, at, byte);
    is_told_and_the_rest_comes(&directory, None);
}

/// What an export of the whole store gives: by channel and number what was said.
fn exported(directory: &Directory) -> (Option<i32>, BTreeMap<(String, u64), String>, String) {
    let output = command(&["store", "export", "--data"]).arg(directory.data()).output().unwrap();
    let rows = String::from_utf8(output.stdout).unwrap();
    let row = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap();
        let word = |value: &Value| value.as_str().unwrap().to_owned();
        ((word(&row["channel"]), row["seq"].as_u64().unwrap()), word(&row["payload"]["text"]))
    };
    (output.status.code(), rows.lines().map(row).collect(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_flipped_byte_of_any_file_of_the_store_is_told_or_changes_nothing() {
    let directory = left();
    let (code, all, told) = exported(&directory);
    assert_eq!((code, all.len()), (Some(0), 2 * COUNT), "{told}");
    let whole = tree(&directory.data().join("store"));
    let put_back = || {
        fs::remove_dir_all(directory.data().join("store").join("log")).unwrap();
        for (path, bytes) in &whole {
            match bytes {
                None => fs::create_dir_all(path).unwrap(),
                Some(bytes) => fs::write(path, bytes).unwrap(),
            }
        }
    };
    let (mut refused, mut in_part) = (0, 0);
    let files = whole.iter().filter_map(|(path, bytes)| Some((path, bytes.as_ref()?)));
    for (path, bytes) in files.filter(|(path, _)| !path.ends_with("lock")) {
        let Some(last) = bytes.iter().rposition(|byte| *byte != 0) else { continue };
        // Its ends, and some places between.
        for at in [0, 1, last / 4, last / 2, last * 3 / 4, last.saturating_sub(9), last] {
            put_back();
            flip(path, at, bytes[at]);
            let (code, events, told) = exported(&directory);
            let place = format!("byte {at} of {}: {code:?} {told}", path.display());
            for (key, said) in &events {
                assert_eq!(all.get(key), Some(said), "{place}");
            }
            match code {
                Some(0) => assert_eq!(events.len(), all.len(), "{place}"),
                Some(1) => {
                    assert!(events.len() < all.len() && !told.is_empty(), "{place}");
                    in_part += 1;
                }
                Some(78) => {
                    let named = told.contains("damaged") || told.contains("of version");
                    assert!(events.is_empty() && named, "{place}");
                    refused += 1;
                }
                _ => panic!("{place}"),
            }
        }
    }
    assert!(refused > 0 && in_part > 0, "{refused} {in_part}");
}
