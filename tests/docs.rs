//! What the documents promise about themselves: every test that a page names is in the tree, every message type and every
//! code stands in the protocol, and every message type has a test that holds it.

#![expect(clippy::expect_used, reason = "a test that cannot read the tree should say so and stop")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use waystation::code::{CloseCode, ErrorCode};
use waystation::envelope::kinds::ROWS;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const HELD: [&str; 2] = ["<!-- held: begin -->", "<!-- held: end -->"];

fn page(name: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join("docs").join(name)).expect("the page is there")
}

/// Every function name that follows `fn ` in Rust files of these folders.
fn functions(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("it can be listed").path();
        if path.is_dir() {
            functions(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("source is text");
            found.extend(names(&text));
        }
    }
}

/// The tests of a source text.
fn names(text: &str) -> impl Iterator<Item = String> {
    text.split("#[test]").skip(1).filter_map(|after| {
        let (_, name) = after.split_once("fn ")?;
        Some(name.split_once('(')?.0.to_owned())
    })
}

/// The rows of the table between two marks: what is held, and the tests that hold it.
fn rows(text: &str) -> Vec<(&str, Vec<&str>)> {
    let (_, after) = text.split_once(HELD[0]).expect("the table begins");
    let (table, _) = after.split_once(HELD[1]).expect("the table ends");
    let rows = table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| what"));
    rows.map(|line| {
        let (what, tests) = line.trim_matches(['|', ' ']).rsplit_once(" | ").expect("two columns");
        (what, quoted(tests))
    })
    .collect()
}

/// What stands in backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// Rows that no test of the tree holds.
fn unheld(text: &str, tests: &BTreeSet<String>) -> Vec<String> {
    let mut missing = Vec::new();
    for (what, named) in rows(text) {
        if named.is_empty() {
            missing.push(format!("nothing holds: {what}"));
        }
        missing.extend(named.iter().filter(|name| !tests.contains(**name)).map(|name| format!("no such test: {name}")));
    }
    missing
}

#[test]
fn every_test_that_the_protocol_names_is_in_the_tree() {
    let mut tests = BTreeSet::new();
    for folder in ["src", "tests", "schema"] {
        functions(&Path::new(ROOT).join(folder), &mut tests);
    }
    assert_eq!(unheld(&page("PROTOCOL.md"), &tests), Vec::<String>::new());
}

#[test]
fn every_test_that_the_promises_name_is_in_the_tree() {
    let mut tests = BTreeSet::new();
    for folder in ["src", "tests", "schema", "loadgen"] {
        functions(&Path::new(ROOT).join(folder), &mut tests);
    }
    let text = page("SECURITY.md");
    let promises = text.split("| promise | test |").skip(1);
    let rows = promises.flat_map(|table| table.lines().skip(2).take_while(|line| line.starts_with('|')));
    let named: Vec<&str> = rows
        .filter_map(|row| row.trim_matches(['|', ' ']).rsplit_once(" | "))
        .flat_map(|(_, tests)| quoted(tests))
        // A fuzz target or a folder may hold a promise too.
        .filter(|name| name.contains('_'))
        .collect();
    assert!(named.len() > 50, "{} tests are named", named.len());
    let missing: Vec<&&str> = named.iter().filter(|name| !tests.contains(**name)).collect();
    assert_eq!(missing, Vec::<&&str>::new());
}

#[test]
fn every_message_type_has_a_row_that_says_what_holds_it() {
    let text = page("PROTOCOL.md");
    let held: BTreeSet<&str> = rows(&text).into_iter().flat_map(|(what, _)| quoted(what)).collect();
    let missing: Vec<&str> = ROWS.iter().map(|row| row.name).filter(|name| !held.contains(name)).collect();
    assert_eq!(missing, Vec::<&str>::new());
}

#[test]
fn every_event_of_the_vectors_stands_in_the_protocol() {
    let text = page("PROTOCOL.md");
    let vectors = fs::read_to_string(Path::new(ROOT).join("tests/vectors/out.json")).expect("the vectors are there");
    let vectors: serde_json::Value = serde_json::from_str(&vectors).expect("they are JSON");
    let mut kinds = BTreeSet::new();
    for vector in vectors.as_array().expect("a list") {
        let heard = vector["expected"].as_object().expect("by who hears it").values().filter_map(|all| all.as_array());
        kinds.extend(heard.flatten().filter_map(|frame| frame["type"].as_str()));
    }
    // What the vectors' own clients publish is no type of the gateway's.
    let own = ["note", "announcement", "notification", "system_message"];
    let missing: Vec<&str> =
        kinds.into_iter().filter(|kind| !own.contains(kind) && !text.contains(&format!("| `{kind}` |"))).collect();
    assert_eq!(missing, Vec::<&str>::new());
}

#[test]
fn every_code_stands_in_the_protocol_and_no_other() {
    let text = page("PROTOCOL.md");
    let missing = ErrorCode::ALL.iter().map(|code| code.name()).filter(|name| !text.contains(&format!("| `{name}` |")));
    assert_eq!(missing.collect::<Vec<_>>(), Vec::<&str>::new());
    for (CloseCode(number), _) in CloseCode::TABLE {
        assert!(text.contains(&format!("| {number} |")), "{number}");
    }
}

#[test]
fn a_row_without_a_test_and_a_test_that_is_gone_are_found() {
    let tests: BTreeSet<String> = names("#[test]\nfn there() {}\nfn helper() {}").collect();
    let table = |rows: &str| format!("{}\n| what | held by |\n|---|---|\n{rows}\n{}", HELD[0], HELD[1]);
    assert_eq!(unheld(&table("| `chat` | `there` |"), &tests), Vec::<String>::new());
    assert_eq!(unheld(&table("| a | `gone` |"), &tests), ["no such test: gone"]);
    assert_eq!(unheld(&table("| a | `helper` |"), &tests), ["no such test: helper"]);
    assert_eq!(unheld(&table("| a | soon |"), &tests), ["nothing holds: a"]);
}
