//! The documents and the program say the same: every key of a scenario stands in `docs/LOADGEN.md`.

#![expect(clippy::unwrap_used, reason = "a test binary: a panic is its report")]

use std::path::Path;

use loadgen::scenario::Scenario;

const GROUP: &str = "[[group]]\nname = 'g'\nendpoint = '/'\nkind = 'echo'\n";

/// The keys that a table may have, as the error about one that it may not have names them.
fn keys(text: &str) -> Vec<String> {
    let error = Scenario::parse(text, &[]).unwrap_err();
    let (_, list) = error.split_once("expected one of").unwrap_or_else(|| panic!("{error}"));
    // What stands behind the list names the table it is of.
    let list = list.split("\n").next().unwrap();
    list.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn section(title: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/LOADGEN.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (_, after) = page.split_once(&format!("{title}\n")).unwrap();
    let level = title.split(' ').next().unwrap();
    after.split(&format!("\n{level} ")).next().unwrap().to_owned()
}

fn check(title: &str, table: &str, least: usize) {
    let (section, keys) = (section(title), keys(table));
    assert!(keys.len() >= least, "{keys:?}");
    let missing: Vec<&String> = keys.iter().filter(|key| !section.contains(&format!("| `{key}` |"))).collect();
    assert_eq!(missing, Vec::<&String>::new(), "{title}");
}

#[test]
fn every_key_of_a_scenario_is_in_the_documents() {
    check("### The run", &format!("name = 'x'\nnot_a_key = 1\n{GROUP}"), 18);
    check("### Phases", &format!("name = 'x'\n[[phase]]\nkind = 'hold'\nnot_a_key = 1\n{GROUP}"), 9);
    check("### Groups", &format!("name = 'x'\n{GROUP}not_a_key = 1\n"), 24);
}

#[test]
fn every_example_of_the_documents_is_read() {
    let section = section("## Scenario file");
    let examples: Vec<&str> =
        section.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(!examples.is_empty());
    for example in examples {
        Scenario::parse(example, &[]).unwrap();
    }
    for change in [
        "members={ zipf = { max = 200, exponent = 0.9, total = 5000, min = 2 } }",
        "members=[{ rooms = 10, members = 50 }]",
        "payload_bytes={ min = 100, max = 4000 }",
        "payload_bytes=[{ bytes = 200, weight = 8 }]",
    ] {
        let (_, value) = change.split_once('=').unwrap();
        assert!(section.replace('\n', " ").contains(value.trim_matches(['[', ']'])), "{value}");
        Scenario::parse(&format!("name = 'x'\n{GROUP}"), &[change.to_owned()]).unwrap();
    }
}
