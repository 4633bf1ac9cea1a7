//! What the documents promise about themselves: every test that a page names is in the tree, every message type and every
//! code stands in the protocol, and every message type has a test that holds it.

#![expect(clippy::expect_used, reason = "a test that cannot read the tree should say so and stop")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use waystation::admin::process;
use waystation::code::{CloseCode, ErrorCode};
use waystation::envelope::kinds::ROWS;
use waystation::limits::STORE_SPACE_BYTES_MIN;
use waystation::metrics::store::{STORE_COMMIT, StoreNumber};
use waystation::metrics::{BUILD_INFO, Kind, MESH_DEPTH, Metric, Timing};

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

/// The types in the first words of what stands in backticks in a table's rows.
fn types(table: &str) -> BTreeSet<&str> {
    let rows = table.lines().filter(|line| line.starts_with("| "));
    let quoted = rows.flat_map(quoted).filter_map(|text| text.split(' ').next());
    quoted.filter(|word| !word.starts_with('{') && *word != "null" && *word != "data").collect()
}

#[test]
fn every_flat_frame_of_the_protocol_is_in_the_vectors_and_the_other_way_round() {
    let text = page("PROTOCOL.md");
    let tables = text.split("| endpoint of a ").skip(1).map(|rest| rest.split("\n\n").next().unwrap_or(""));
    let mut told: BTreeSet<&str> = tables.flat_map(types).collect();
    told.insert("error");
    let vectors = fs::read_to_string(Path::new(ROOT).join("tests/vectors/flat.json")).expect("the vectors are there");
    let vectors: Vec<serde_json::Value> = serde_json::from_str(&vectors).expect("a list");
    let mut shown = BTreeSet::new();
    for vector in &vectors {
        let steps = vector["steps"].as_array().expect("a list");
        let flat: BTreeSet<&str> =
            steps.iter().filter(|step| step["as"] == "flat").filter_map(|step| step["open"].as_str()).collect();
        let said = steps.iter().filter(|step| step["say"].as_str().is_some_and(|who| flat.contains(who)));
        shown.extend(said.filter_map(|step| step["message"]["type"].as_str()));
        let heard = vector["expected"].as_object().expect("by who hears it").iter();
        let frames = heard.filter(|(who, _)| flat.contains(who.as_str())).filter_map(|(_, frames)| frames.as_array());
        shown.extend(frames.flatten().filter_map(|frame| frame["type"].as_str()));
    }
    // What the vectors' own clients make up.
    let own = ["note", "ack", "wink"];
    let shown: BTreeSet<&str> = shown.into_iter().filter(|kind| !own.contains(kind)).collect();
    assert_eq!(told, shown);
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

/// The rows between two marks, by their cells.
fn cells<'a>(text: &'a str, mark: &str) -> Vec<Vec<&'a str>> {
    let (_, after) = text.split_once(&format!("<!-- {mark}: begin -->")).expect("the table begins");
    let (table, _) = after.split_once(&format!("<!-- {mark}: end -->")).expect("the table ends");
    let rows = table.lines().filter(|line| line.starts_with("| ")).skip(1);
    rows.map(|line| line.trim_matches(['|', ' ']).split(" | ").collect()).collect()
}

/// Every constant of `src/limits`, and what it is said to be.
fn limits() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(Path::new(ROOT).join("src/limits")).expect("the folder is there") {
        let text = fs::read_to_string(entry.expect("it can be listed").path()).expect("source is text");
        for constant in text.split("\npub const ").skip(1) {
            let (name, rest) = constant.split_once(':').expect("a type");
            let (_, value) = rest.split_once('=').expect("a value");
            found.insert(name.to_owned(), value.split(';').next().unwrap_or("").trim().to_owned());
        }
    }
    found
}

/// What an expression comes to: sums and products of numbers and of other limits.
fn number(expression: &str, limits: &BTreeMap<String, String>) -> u64 {
    let of = |part: &str| number(part, limits);
    if let Some((left, right)) = expression.rsplit_once(" - ") {
        return of(left) - of(right);
    }
    let bare = expression.trim_matches(['(', ')']);
    if let Some((left, right)) = bare.split_once(" << ") {
        return of(left) << of(right);
    }
    if bare.contains(" * ") {
        return bare.split(" * ").map(of).product();
    }
    bare.replace('_', "").parse().unwrap_or_else(|_| of(limits.get(bare).expect("a limit")))
}

/// A limit as the tables show it: thousands apart, and the unit that its name has.
fn shown(name: &str, limits: &BTreeMap<String, String>) -> String {
    let digits = number(&limits[name], limits).to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    let unit = name.split('_').find_map(|word| match word {
        "BYTES" => Some(" bytes"),
        "MS" => Some(" ms"),
        "S" => Some(" s"),
        _ => None,
    });
    text + unit.unwrap_or("")
}

#[test]
fn every_bound_stands_in_one_table_with_its_value_and_a_test() {
    let (limits, protocol, architecture) = (limits(), page("PROTOCOL.md"), page("ARCHITECTURE.md"));
    assert!(limits.len() > 200, "every file is read");
    let mut tests = BTreeSet::new();
    for folder in ["src", "tests"] {
        functions(&Path::new(ROOT).join(folder), &mut tests);
    }
    let mut complaints = Vec::new();
    let mut tables: BTreeMap<&str, usize> = BTreeMap::new();
    for (page, row) in [("PROTOCOL", &protocol), ("ARCHITECTURE", &architecture)]
        .into_iter()
        .flat_map(|(name, text)| cells(text, "bounds").into_iter().map(move |row| (name, row)))
    {
        let name = quoted(row[0])[0];
        *tables.entry(name).or_default() += 1;
        let held = quoted(row[row.len() - 1]);
        if !limits.contains_key(name) {
            complaints.push(format!("{page}: there is no {name} any more"));
        } else if page == "PROTOCOL" && row[1] != shown(name, &limits) {
            complaints.push(format!("{page}: {name} is {}", shown(name, &limits)));
        } else if held.is_empty() || held.iter().any(|test| !tests.contains(*test)) {
            complaints.push(format!("{page}: {name} is held by no test: {held:?}"));
        }
    }
    // What no test can name has its reason there.
    let excused = fs::read_to_string(Path::new(ROOT).join("tests/tidy.rs")).expect("the rules are there");
    let missing = limits.keys().filter(|name| !tables.contains_key(name.as_str()));
    complaints.extend(missing.filter(|name| !excused.contains(&format!("(\"{name}\","))).map(|name| {
        let value = &limits[name.as_str()];
        format!(
            "{name} ({value}) needs a row between the marks of bounds: in PROTOCOL.md if a client can notice it, else in \
             ARCHITECTURE.md"
        )
    }));
    let twice = tables.iter().filter(|(_, count)| **count > 1);
    complaints.extend(twice.map(|(name, _)| format!("{name} stands in the tables twice")));
    assert_eq!(complaints, Vec::<String>::new());
}

#[test]
fn every_setting_of_limits_has_a_row_and_a_test() {
    let source = fs::read_to_string(Path::new(ROOT).join("src/config/file/limits.rs")).expect("the section is there");
    let fields = |name: &str| -> Vec<String> {
        let (_, rest) = source.split_once(&format!("pub struct {name} {{")).expect("the struct is there");
        let lines = rest.lines().take_while(|line| *line != "}").filter_map(|line| line.trim().strip_prefix("pub "));
        lines.filter_map(|line| line.split_once(':')).map(|(field, kind)| format!("{field}{kind}")).collect()
    };
    let mut expected: BTreeSet<String> = BTreeSet::new();
    for field in fields("Limits") {
        match field.strip_suffix(" Door,") {
            Some("chat") => {
                let of = fields("Door")
                    .into_iter()
                    .filter_map(|name| Some(format!("limits.chat.{}", name.split(' ').next()?)));
                expected.extend(of);
            }
            Some(_) => {}
            None => expected.extend(field.split(' ').next().map(|name| format!("limits.{name}"))),
        }
    }
    let mut tests = BTreeSet::new();
    for folder in ["src", "tests"] {
        functions(&Path::new(ROOT).join(folder), &mut tests);
    }
    let text = page("PROTOCOL.md");
    let rows = cells(&text, "settings");
    let named: BTreeSet<String> = rows.iter().map(|row| quoted(row[0])[0].to_owned()).collect();
    assert_eq!(named, expected);
    for row in &rows {
        let held = quoted(row[2]);
        assert!(!held.is_empty() && held.iter().all(|test| tests.contains(*test)), "{row:?}");
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

/// Every name under which Prometheus finds a number.
fn series() -> BTreeSet<String> {
    let histogram = |timing: &Timing| {
        let name = timing.describe().0.replace("_micros", "_seconds");
        ["_bucket", "_sum", "_count"].map(|suffix| name.clone() + suffix)
    };
    let mut names: BTreeSet<String> = Timing::ALL.iter().flat_map(histogram).collect();
    names.extend(Metric::ALL.iter().map(|metric| metric.describe().family.to_owned()));
    names.extend(process::FAMILIES.map(|(family, ..)| family.to_owned()));
    names.extend(StoreNumber::ALL.iter().map(|number| number.describe().family.to_owned()));
    names.extend(["_bucket", "_sum", "_count"].map(|suffix| STORE_COMMIT.0.to_owned() + suffix));
    names.extend([BUILD_INFO.family, MESH_DEPTH.family].map(str::to_owned));
    names
}

/// Families that neither the dashboard nor an alert asks for, and why not.
const NOT_SHOWN: [(&str, &str); 6] = [
    ("waystation_ticked_micros", "/healthz is made of it; WaystationShardStuck asks for turns"),
    ("waystation_ignored_total", "what old clients say and nobody needs is no sign of anything"),
    ("waystation_duplicates_total", "clients that publish again are what the window is for"),
    ("process_virtual_memory_bytes", "addresses are not memory"),
    ("process_threads", "their number follows from the configuration"),
    ("process_start_time_seconds", "for whoever asks when it was restarted"),
];

/// Every family, as it stands behind `# TYPE`.
fn families() -> BTreeSet<String> {
    let bare = |name: String| {
        let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
        of_histogram.map_or_else(|| name.clone(), str::to_owned)
    };
    series().into_iter().map(bare).collect()
}

/// Families that a text asks for by none of their names.
fn unasked<'a>(families: &'a BTreeSet<String>, texts: &[&str]) -> BTreeSet<&'a str> {
    let asked: BTreeSet<String> = texts.iter().flat_map(|text| metrics_of(text)).collect();
    let is_asked = |family: &str| {
        ["", "_bucket", "_sum", "_count"].iter().any(|suffix| asked.contains(&format!("{family}{suffix}")))
    };
    families.iter().map(String::as_str).filter(|family| !is_asked(family)).collect()
}

/// Words of a text that are names of metrics by their beginning.
fn metrics_of(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'));
    let named = |word: &&str| word.starts_with("waystation_") || word.starts_with("process_");
    words.filter(named).map(str::to_owned).collect()
}

#[test]
fn the_dashboard_and_the_alerts_ask_for_numbers_that_there_are() {
    let names = series();
    let file =
        |name: &str| fs::read_to_string(Path::new(ROOT).join("tuning/monitoring").join(name)).expect("it is there");
    let (dashboard, alerts, recorded) = (file("grafana-dashboard.json"), file("alerts.yml"), file("rules.yml"));
    let parsed: serde_json::Value = serde_json::from_str(&dashboard).expect("the dashboard is JSON");
    let asked: Vec<&str> =
        parsed["panels"].as_array().into_iter().flatten().filter_map(|p| p["title"].as_str()).collect();
    assert!(asked.len() > 20, "{asked:?}");
    for (what, text) in [("dashboard", &dashboard), ("alerts", &alerts), ("recording rules", &recorded)] {
        let found = metrics_of(text);
        assert!(found.len() >= 6, "{what}: {found:?}");
        let unknown: Vec<_> = found.difference(&names).collect();
        assert!(unknown.is_empty(), "{what}: {unknown:?}");
    }
    assert_eq!(
        metrics_of("rate(waystation_nothing_total[1m])").difference(&names).count(),
        1,
        "what is not there is found"
    );
    // Each reason that is asked for exists: an alert on a misspelt one never fires.
    let reasons: BTreeSet<&str> = Metric::ALL.iter().filter_map(|m| m.describe().labels.split('"').nth(1)).collect();
    for list in alerts.split("reason=").skip(1).filter_map(|rest| rest.split('"').nth(1)) {
        assert!(list.split('|').all(|reason| reasons.contains(reason)), "{list}");
    }
    // A rate is of what only grows.
    let gauges = Metric::ALL.iter().map(|m| m.describe()).filter(|row| row.kind != Kind::Counter);
    for gauge in gauges.map(|row| row.family) {
        let rated = |text: &&String| {
            // Up to the end of the name: counters begin with names of gauges.
            let call = format!("rate({gauge}");
            text.split(&call).skip(1).any(|rest| !rest.starts_with(|next: char| next == '_' || next.is_alphanumeric()))
        };
        assert!(![&dashboard, &alerts, &recorded].iter().any(rated), "{gauge} is a gauge");
    }
}

#[test]
fn every_number_is_shown_or_alerted_or_said_not_to_be() {
    let file =
        |name: &str| fs::read_to_string(Path::new(ROOT).join("tuning/monitoring").join(name)).expect("it is there");
    let families = families();
    let excused: BTreeSet<&str> = NOT_SHOWN.iter().map(|(name, _)| *name).collect();
    assert!(families.len() > 80, "{}", families.len());
    let missing = unasked(&families, &[&file("grafana-dashboard.json"), &file("alerts.yml")]);
    assert_eq!(missing, excused, "show it, or say in NOT_SHOWN why not; and nothing there that is shown");
    let planted: BTreeSet<String> =
        ["waystation_a_total", "waystation_b_seconds", "waystation_c"].map(Into::into).into();
    let left = unasked(&planted, &["rate(waystation_a_total[1m]) + waystation_b_seconds_bucket"]);
    assert_eq!(left.into_iter().collect::<Vec<_>>(), ["waystation_c"], "what is not asked for is found");
}

#[test]
fn every_alert_has_its_row_with_what_to_do_and_how_urgent_it_is() {
    let alerts = fs::read_to_string(Path::new(ROOT).join("tuning/monitoring/alerts.yml")).expect("it is there");
    let word = |rest: &str, end: char| rest.split(end).next().map(|word| word.trim().to_owned());
    let told: BTreeMap<String, String> = alerts
        .split("- alert: ")
        .skip(1)
        .map(|rule| {
            let severity = rule.split_once("severity: ").and_then(|(_, rest)| word(rest, '}')).expect("a severity");
            assert!(rule.contains("summary: ") && rule.contains("description: "), "{rule}");
            (word(rule, '\n').expect("a name"), severity)
        })
        .collect();
    let text = page("OPERATIONS.md");
    let (_, table) = text.split_once("## Alerts").expect("the section is there");
    let (table, _) = table.split_once("\n## ").expect("it ends");
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let rows: BTreeMap<String, String> = rows
        .map(|row| {
            let cells: Vec<&str> = row.trim_matches(['|', ' ']).split(" | ").collect();
            assert!(cells.len() == 3 && cells[2].len() > 20, "{row}");
            (quoted(cells[0])[0].to_owned(), cells[1].to_owned())
        })
        .collect();
    assert!(rows.len() > 10, "{rows:?}");
    assert_eq!(rows, told);
    assert!(
        alerts.contains(&format!("waystation_store_free_bytes < {STORE_SPACE_BYTES_MIN} ")),
        "as the doctor has it"
    );
}

#[test]
fn alerts_hold_for_samples_a_minute_apart_of_the_job_that_is_shipped_and_each_is_tried() {
    let read = |path: &str| fs::read_to_string(Path::new(ROOT).join(path)).expect("it is there");
    let (alerts, recorded) = (read("tuning/monitoring/alerts.yml"), read("tuning/monitoring/rules.yml"));
    // A rate needs two samples, however late one of them comes.
    for window in [&alerts, &recorded].iter().flat_map(|text| text.split('[').skip(1)) {
        let window = window.split(']').next().expect("it ends");
        let (count, minutes) = window.split_at(window.len() - 1);
        let unit = if minutes == "h" { 60 } else { 1 };
        assert!("mh".contains(minutes) && count.parse::<u64>().expect("a number") * unit >= 5, "[{window}]");
    }
    let scrape = read("tuning/monitoring/scrape.yml");
    let job = scrape.split("job_name: ").nth(1).and_then(|rest| rest.lines().next()).expect("a job");
    let asked: Vec<&str> = alerts.split("job=").skip(1).filter_map(|rest| rest.split('"').nth(1)).collect();
    assert!(asked.len() > 1 && asked.iter().all(|name| *name == job), "{asked:?}, and the job is {job}");
    assert!(page("OPERATIONS.md").contains("tuning/monitoring/scrape.yml"));
    let tried = read("tests/monitoring/alerts.test.yml");
    let names: Vec<&str> =
        alerts.split("- alert: ").skip(1).map(|rule| rule.lines().next().expect("a name").trim()).collect();
    for name in &names {
        let asked = tried.matches(&format!("ALERTS{{alertname=\"{name}\"")).count();
        assert!(asked >= 2, "{name} is tried {asked} times: it fires, and it does not");
    }
    assert!(names.len() > 15, "{names:?}");
}

/// Where the package puts which files of the tree, by what `Cargo.toml` says; a star stands for one name.
fn packed() -> BTreeMap<String, String> {
    let manifest: toml::Table =
        fs::read_to_string(Path::new(ROOT).join("Cargo.toml")).expect("it is there").parse().expect("it is TOML");
    let assets = manifest["package"]["metadata"]["deb"]["assets"].as_array().expect("a list");
    let mut found = BTreeMap::new();
    for asset in assets {
        let (from, to) = (asset[0].as_str().expect("a path"), asset[1].as_str().expect("a path"));
        let (folder, pattern) = from.rsplit_once('/').unwrap_or((".", from));
        let Some((start, end)) = pattern.split_once('*') else {
            let name = if to.ends_with('/') { pattern } else { "" };
            found.insert(format!("{to}{name}"), from.to_owned());
            continue;
        };
        // What a build makes is not in the tree.
        for entry in fs::read_dir(Path::new(ROOT).join(folder)).into_iter().flatten() {
            let name = entry.expect("it can be listed").file_name().into_string().expect("a name");
            if name.starts_with(start) && name.ends_with(end) {
                found.insert(format!("{to}{name}"), format!("{folder}/{name}"));
            }
        }
    }
    found
}

#[test]
fn what_the_packed_readme_links_to_and_shows_is_packed_where_it_says() {
    let packed = packed();
    let readme = fs::read_to_string(Path::new(ROOT).join("README.md")).expect("it is there");
    let place = "usr/share/doc/waystation/";
    assert_eq!(packed.get(&format!("{place}README.md")).map(String::as_str), Some("README.md"));
    let targets = readme.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
    let targets: Vec<&str> = targets.filter(|target| !target.is_empty() && !target.contains("://")).collect();
    assert!(targets.len() > 10, "{targets:?}");
    let there = |target: &&&str| {
        let path = format!("{place}{target}");
        packed.keys().any(|packed| *packed == path || packed.starts_with(&format!("{path}/")))
    };
    let missing: Vec<&&str> = targets.iter().filter(|target| !there(target)).collect();
    assert_eq!(missing, Vec::<&&str>::new());
}

#[test]
fn the_script_that_the_doctor_names_is_where_the_package_puts_it() {
    let packed = packed();
    let unit = fs::read_to_string(Path::new(ROOT).join("tuning/systemd/waystation-nic@.service")).expect("it is there");
    let started = unit.split("ExecStart=/").nth(1).and_then(|rest| rest.split(' ').next()).expect("a program");
    assert_eq!(packed.get(started).map(String::as_str), Some("tuning/scripts/nic-affinity.sh"));
    let rows: Vec<_> =
        waystation::tune::TABLE.iter().copied().flatten().filter(|row| row.undo.contains("nic-affinity")).collect();
    assert!(rows.len() == 2 && rows.iter().all(|row| row.undo.starts_with(&format!("/{started} "))), "{started}");
    assert!(page("TUNING.md").contains(&format!("`/{started} --dry-run`")));
}

#[test]
fn a_release_and_the_image_are_built_by_the_toolchain_that_the_manifest_asks_for() {
    let read = |path: &str| fs::read_to_string(Path::new(ROOT).join(path)).expect("it is there");
    let after = |path: &str, word: &str| -> String {
        let text = read(path);
        let (_, rest) = text.split_once(word).expect("a version");
        rest.chars().take_while(|digit| digit.is_ascii_digit() || *digit == '.').collect()
    };
    let wanted = after("Cargo.toml", "rust-version = \"");
    assert!(wanted.split('.').count() == 2, "{wanted}");
    assert_eq!(after("tuning/docker/Dockerfile", "FROM rust:"), wanted);
    let released = after(".github/workflows/release.yml", "RUSTUP_TOOLCHAIN: ");
    assert_eq!(released.rsplit_once('.').map(|(version, _)| version), Some(wanted.as_str()), "{released}");
}
