//! House rules as tests: what the compiler and clippy cannot see, read from the sources as text.
//!
//! Each rule is a function from sources to complaints. One test runs it over the tree and expects none;
//! another runs it over planted faults and expects exactly those, so that no rule can go blind.
#![expect(clippy::expect_used, reason = "a test that cannot read its sources should say so and stop")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use waystation::metrics::store::{STORE_COMMIT, StoreNumber};
use waystation::metrics::{BUILD_INFO, Kind, MESH_DEPTH, Metric, Timing};

const LINES_MAX: usize = 600;
/// The lowest floor that may know sockets, threads and `async`.
const HOSTS_FLOOR: u32 = 7;
/// Words that say nothing of what a thing is.
const EMPTY_WORDS: [&str; 9] = ["manager", "handler", "helper", "helpers", "util", "utils", "common", "data", "info"];
/// Marks of unfinished work. Put together here, so that this file is clean of them.
const UNFINISHED: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
const DOCUMENTS: [&str; 9] = [
    "ARCHITECTURE",
    "PROTOCOL",
    "DECISIONS",
    "CONTRIBUTING",
    "OPERATIONS",
    "SECURITY",
    "BENCHMARKS",
    "PERFORMANCE",
    "TUNING",
];

/// Limits that no test names, each with the reason.
const LIMITS_WITHOUT_TEST: &[(&str, &str)] = &[
    ("ACCEPT_BACKLOG", "a size given to the kernel"),
    ("ADMIN_ANSWER_DEADLINE_MS", "a test waits it out: questions that nobody answers are late"),
    ("ADMIN_BODY_DEADLINE_MS", "a deadline like that of answers, by the same function, which a test waits out"),
    ("ADMIN_TALLY_MS", "an age up to which a count is good; tests ask for the first"),
    ("ADMIN_LIST_PORTION", "a pace: a longer page takes several questions, whose bound is tested"),
    ("ADMIN_QUESTIONS_MAX", "places in a queue; what finds none waits for its turn"),
    ("ADMIN_WRITE_DEADLINE_MS", "a test waits it out: a client that does not read is cut"),
    ("ADMIN_IO_MEMORY_BYTES", "a size given to the executor library"),
    ("ADMIN_RING_ENTRIES", "a size given to the executor library, which waits when it is reached"),
    ("BACKUP_LOOK_MS", "a pace of looks"),
    ("BACKUP_STALLED_MS", "a deadline, which a test waits out: who takes nothing is given no more"),
    ("BACKUP_TOLD_BYTES", "a pace of what is told"),
    ("BROWSE_READS_MAX", "reached only where a history goes on faster than the store reads, again and again"),
    ("BUSY_ANSWER_MS", "a deadline like that of answers, by the same function, which a test waits out"),
    ("COMMITS_TOLD_PER_TURN", "a pace: the rest is told in the next turn"),
    ("DRAIN_PUT_TRIES", "reached only by a shard that turns no more"),
    ("EXECUTOR_IO_BYTES", "a size given to the executor library"),
    ("EXECUTOR_RING_DEPTH", "a size given to the executor library, which waits when it is reached"),
    ("HEALTH_DEADLINE_MS", "a wait of a command that asks once"),
    ("LATE_OPENINGS_PER_LOOK", "a pace: the rest is looked at in the next second"),
    ("LOG_FLUSH_LOOK_MS", "a pace: how soon an end sees that the last lines are written"),
    ("DESK_ORDER_DEADLINE_MS", "a deadline like that of answers, by the same function, which a test waits out"),
    ("TAIL_LOOK_MS", "a pace of looks"),
    ("MEMLOCK_START_BYTES", "a part of the need that a test holds to what was measured"),
    ("MESH_RETRY_MS", "a sleep: what is kept leaves in order however long it is"),
    ("PARK_MS_MAX", "a sleep: whatever comes ends it early"),
    ("RECEIVE_BUFFERS", "a size given to the kernel; a test of the ring reaches a smaller one"),
    ("RECEIVE_BUFFERS_OFFERED", "the same; the_kernel_has_few_more_where_they_are_too_few_and_few_again"),
    ("RECEIVE_BUFFER_BYTES", "a size given to the kernel; a test of the ring reaches a smaller one"),
    ("REPLAYS_PER_SHARD_MAX", "a pace: what is wanted beyond is read when one of these is there"),
    ("RING_COMPLETIONS", "a size given to the kernel; a test of the ring reaches a smaller one"),
    ("RING_ENTRIES_PER_TURN_MAX", "the kernel decides how many completions an entry makes"),
    ("RING_SUBMISSIONS", "a size given to the kernel; a test of the ring reaches a smaller one"),
    ("SAMPLE_EVERY_MS", "a pace: each sample says over how long it is"),
    ("START_TOKEN_TTL_S", "a default within TOKEN_TTL_S_MAX, which is tested at its boundary"),
    ("WATCHDOG_LOOKS", "a pace: looks add up until the watchdog is fed, which is tested"),
    ("STORE_FILES_OPEN_MAX", "a size given to the library"),
    ("STORE_L0_TABLES_MAX", "reached only by a disk that does not keep up for gigabytes"),
    ("STORE_LOOK_MS", "a pace"),
    ("STORE_MEMTABLE_BYTES", "a size given to the library"),
    ("STORE_NOTICES_SPARE", "places beside those that are owed; who finds none is told later"),
    ("STORE_SEALED_MEMTABLES_MAX", "reached only by a disk that does not keep up for gigabytes"),
    ("STORE_SWEEP_MS", "a pace: the search itself is tested"),
    ("STORE_TABLE_MS_MAX", "a deadline of a disk that takes a minute for 16 MiB"),
    ("THREADS_PER_SHARD", "a count of our own threads, times the shards of a need"),
    ("THREADS_BESIDE", "a count of our own threads with room to spare, added to a need"),
    ("TURN_STORE_ITEMS_MAX", "a pace of the host: the rest waits in the link, whose bounds are tested"),
    ("TURN_MESH_ITEMS_MAX", "a pace of the host: the rest waits in the inbox, whose bounds are tested"),
];

struct Source {
    /// From the root, with `/`.
    path: String,
    text: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// `src/shard/home.rs` and `src/shard.rs` both belong to `shard`; a crate root belongs to none.
    fn module(&self) -> Option<&str> {
        let first = self.path.strip_prefix("src/")?.split('/').next()?;
        let name = first.strip_suffix(".rs").unwrap_or(first);
        (name != "lib" && name != "main").then_some(name)
    }
}

/// Every file below `folders` with one of these endings.
fn sources(folders: &[&str], endings: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    for folder in folders {
        collect(&root().join(folder), endings, &mut found);
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn collect(folder: &Path, endings: &[&str], found: &mut Vec<Source>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.expect("a readable folder").path()) {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && name != "node_modules" {
            collect(&path, endings, found);
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            let relative = path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
            found.push(Source { path: relative, text: fs::read_to_string(&path).expect("UTF-8 text") });
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The text with comments and literals blanked, line by line as it was.
fn code(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = comment_or_literal(rest, out.chars().next_back());
        if length == 0 {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            out.extend(rest[..length].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = &rest[length..];
        }
    }
    out
}

/// How many bytes of the comment or literal that `rest` begins with; 0 if it begins with neither.
fn comment_or_literal(rest: &str, before: Option<char>) -> usize {
    let to_end_of = |end: &str, from: usize| rest[from..].find(end).map_or(rest.len(), |at| from + at + end.len());
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return to_end_of("*/", 2);
    }
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let raw = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r')).filter(|_| !in_word);
    if let Some(raw) = raw {
        let hashes = raw.bytes().take_while(|&b| b == b'#').count();
        if raw[hashes..].starts_with('"') {
            return to_end_of(&format!("\"{}", "#".repeat(hashes)), rest.len() - raw.len() + hashes + 1);
        }
    }
    if let Some(inside) = rest.strip_prefix('"') {
        let mut escaped = false;
        let end = inside.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        return end.map_or(rest.len(), |at| at + 2);
    }
    // A lifetime has no closing quote after its first character; a character literal has one, or an escape.
    let mut characters = rest.char_indices().skip(1);
    match (rest.starts_with('\''), characters.next(), characters.next()) {
        (true, Some((_, '\\')), Some((at, c))) => to_end_of("'", at + c.len_utf8()),
        (true, Some(_), Some((at, '\''))) => at + 1,
        _ => 0,
    }
}

/// Each word of the code, with its line from 1 and what follows it.
fn words(code: &str) -> impl Iterator<Item = (usize, &str, &str)> {
    code.lines().enumerate().flat_map(|(index, line)| {
        line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty()).map(move |word| {
            let at = word.as_ptr() as usize - line.as_ptr() as usize;
            (index + 1, word, &line[at + word.len()..])
        })
    })
}

/// The floors that `lib.rs` shows: module to number.
fn floors(library: &str) -> Result<BTreeMap<String, u32>, String> {
    let (mut floors, mut current) = (BTreeMap::new(), None);
    for line in library.lines() {
        if let Some(rest) = line.strip_prefix("// Floor ") {
            let number = rest.split(':').next().and_then(|number| number.parse().ok());
            let number: u32 = number.ok_or_else(|| format!("no floor number in {line:?}"))?;
            if current.is_some_and(|before| before >= number) {
                return Err(format!("floor {number} stands after floor {current:?}"));
            }
            current = Some(number);
        } else if let Some(name) = line.strip_prefix("pub mod ").or_else(|| line.strip_prefix("mod ")) {
            let floor = current.ok_or_else(|| format!("{line:?} stands on no floor"))?;
            floors.insert(name.trim_end_matches(';').to_owned(), floor);
        }
    }
    Ok(floors)
}

/// A module names modules of lower floors and its own, one by one.
fn upward_imports(source: &Source, floors: &BTreeMap<String, u32>) -> Vec<String> {
    let Some(own) = source.module() else { return Vec::new() };
    let Some(own_floor) = floors.get(own) else { return vec![format!("{}: {own} stands on no floor", source.path)] };
    let code = code(&source.text);
    let mut complaints = Vec::new();
    for (line, _, rest) in words(&code).filter(|(_, word, rest)| *word == "crate" && rest.starts_with("::")) {
        let name = rest[2..].split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or("");
        let at = format!("{}:{line}", source.path);
        match floors.get(name) {
            None => complaints.push(format!("{at}: name one module after crate::, not {name:?}")),
            Some(floor) if name != own && floor >= own_floor => {
                complaints.push(format!("{at}: {own} (floor {own_floor}) imports {name} (floor {floor})"));
            }
            Some(_) => {}
        }
    }
    complaints
}

/// `async` stays on the hosts' floor and above, `unsafe` in `src/runtime`.
fn misplaced_keywords(source: &Source, floors: &BTreeMap<String, u32>) -> Vec<String> {
    let floor = source.module().and_then(|module| floors.get(module)).copied().unwrap_or(0);
    let code = code(&source.text);
    let misplaced = words(&code).filter(|(_, word, _)| match *word {
        "async" | "await" => floor < HOSTS_FLOOR,
        "unsafe" => source.module() != Some("runtime"),
        _ => false,
    });
    misplaced.map(|(line, word, _)| format!("{}:{line}: {word} does not belong here", source.path)).collect()
}

/// What no source may hold: detours, silenced lints, skipped tests, empty words, too many lines.
fn bad_habits(source: &Source) -> Vec<String> {
    let mut complaints = Vec::new();
    let lines = source.text.lines().count();
    if lines > LINES_MAX {
        complaints.push(format!("{}: {lines} lines, over {LINES_MAX}", source.path));
    }
    let code = code(&source.text);
    for (index, line) in code.lines().enumerate() {
        let attribute = line.contains("#[") || line.contains("#![");
        for (bad, found) in [
            ("super::super", line.contains("super::super")),
            ("allow(", attribute && words(line).any(|(_, word, rest)| word == "allow" && rest.starts_with('('))),
            ("a test that is skipped", line.contains(concat!("#[ig", "nore"))),
        ] {
            if found {
                complaints.push(format!("{}:{}: {bad}", source.path, index + 1));
            }
        }
    }
    let stem = source.path.rsplit('/').next().unwrap_or("").trim_end_matches(".rs");
    let mut names = vec![(0, stem)];
    let mut before = "";
    for (line, word, _) in words(&code) {
        if ["struct", "enum", "trait", "type", "union"].contains(&before) {
            names.push((line, word));
        }
        before = word;
    }
    for (line, name) in names {
        if parts(name).iter().any(|part| EMPTY_WORDS.contains(&part.as_str())) {
            complaints.push(format!("{}:{line}: {name} says nothing", source.path));
        }
    }
    complaints
}

/// The words of a name in either casing, in lower case.
fn parts(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for c in name.chars() {
        if c == '_' || c == '-' || c.is_uppercase() {
            parts.push(String::new());
        }
        if c.is_alphanumeric() {
            parts.last_mut().expect("never empty").extend(c.to_lowercase());
        }
    }
    parts
}

/// Marks of unfinished work, in code, comments and documents alike.
fn unfinished(source: &Source) -> Vec<String> {
    let marked = words(&source.text)
        .filter(|(_, word, rest)| UNFINISHED.contains(word) || (*word == concat!("to", "do") && rest.starts_with('!')));
    marked.map(|(line, word, _)| format!("{}:{line}: {word}", source.path)).collect()
}

/// The part of a source that is only compiled for tests.
fn tests_of(source: &Source) -> &str {
    let path = source.path.as_str();
    if path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs") {
        return &source.text;
    }
    source.text.find("#[cfg(test)]").map_or("", |at| &source.text[at..])
}

/// Every limit is used, and named by a test or excused.
fn idle_limits(limits: &str, others: &[Source], excused: &[(&str, &str)]) -> Vec<String> {
    let words_of = |text: &str| words(&code(text)).map(|(_, word, _)| word.to_owned()).collect::<Vec<_>>();
    let tested: Vec<String> = others.iter().flat_map(|source| words_of(tests_of(source))).collect();
    let used: Vec<String> =
        others.iter().filter(|source| source.path.starts_with("src/")).flat_map(|s| words_of(&s.text)).collect();
    let mut complaints = Vec::new();
    for line in code(limits).lines() {
        let Some(name) = line.strip_prefix("pub const ").and_then(|rest| rest.split(':').next()) else { continue };
        let excused = excused.iter().any(|(excuse, reason)| *excuse == name && !reason.is_empty());
        if !used.iter().any(|word| word == name) {
            complaints.push(format!("{name} bounds nothing"));
        } else if tested.iter().any(|word| word == name) == excused {
            let wrong = if excused { "is tested: take its excuse back" } else { "is named by no test" };
            complaints.push(format!("{name} {wrong}"));
        }
    }
    complaints
}

/// The README's two commands, each the one line of the first code block after its marker.
fn commands(readme: &str) -> Result<Vec<&str>, String> {
    let mut commands = Vec::new();
    for marker in ["<!-- command: run -->", "<!-- command: test -->"] {
        let mut lines = readme.lines().skip_while(|line| *line != marker).skip(1).skip_while(|line| line.is_empty());
        let block: Vec<&str> = lines.by_ref().skip(1).take_while(|line| !line.starts_with("```")).collect();
        match block[..] {
            [command] if !command.trim().is_empty() => commands.push(command),
            _ => return Err(format!("{marker}: not one line in one code block: {block:?}")),
        }
    }
    Ok(commands)
}

/// The table of metrics as OPERATIONS shows it.
fn metrics_table() -> String {
    let mut rows: Vec<(String, &str, Vec<&str>, &str)> = Vec::new();
    for row in Metric::ALL.iter().map(|metric| metric.describe()) {
        let kind = if row.kind == Kind::Counter { "counter" } else { "gauge" };
        match rows.last_mut().filter(|last| last.0 == row.family) {
            Some(last) => last.2.push(row.labels),
            None => rows.push((row.family.to_owned(), kind, vec![row.labels], row.help)),
        }
    }
    rows.push((MESH_DEPTH.family.to_owned(), "gauge", vec![""], MESH_DEPTH.help));
    rows.push((BUILD_INFO.family.to_owned(), "gauge", vec![BUILD_INFO.labels], BUILD_INFO.help));
    for (name, help) in Timing::ALL.iter().map(|timing| timing.describe()) {
        rows.push((name.replace("_micros", "_seconds"), "histogram", vec![""], help));
    }
    for row in StoreNumber::ALL.iter().map(|number| number.describe()) {
        let kind = if row.kind == Kind::Counter { "counter" } else { "gauge" };
        rows.push((row.family.to_owned(), kind, vec![""], row.help));
    }
    rows.push((STORE_COMMIT.0.to_owned(), "histogram", vec![""], STORE_COMMIT.1));
    let mut table = "| metric | kind | labels | meaning |\n|---|---|---|---|\n".to_owned();
    for (family, kind, help) in waystation::admin::process::FAMILIES {
        rows.push((family.to_owned(), kind, vec![""], help));
    }
    for (family, kind, labels, help) in rows {
        let labels: Vec<String> = labels.iter().filter(|l| !l.is_empty()).map(|l| format!("`{l}`")).collect();
        table += &format!("| `{family}` | {kind} | {} | {help} |\n", labels.join(" "));
    }
    table
}

/// Dependencies of a manifest that the decisions do not name.
fn undecided(manifest: &str, decisions: &str) -> Vec<String> {
    let section = manifest.split("[dependencies]\n").nth(1).unwrap_or("");
    let names = section.lines().take_while(|line| !line.starts_with('[')).filter_map(|line| line.split_once(" = "));
    names.filter(|(name, _)| !decisions.contains(&format!("`{name}`"))).map(|(name, _)| name.to_owned()).collect()
}

fn none(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

fn rust() -> Vec<Source> {
    sources(&["src", "loadgen", "schema", "tests", "benches"], &[".rs"])
}

fn library() -> BTreeMap<String, u32> {
    floors(&read("src/lib.rs")).expect("floors that ascend")
}

#[test]
fn modules_import_from_lower_floors_only() {
    let floors = library();
    none(sources(&["src"], &[".rs"]).iter().flat_map(|source| upward_imports(source, &floors)).collect());
}

#[test]
fn async_and_unsafe_stay_where_they_belong() {
    let floors = library();
    none(sources(&["src"], &[".rs"]).iter().flat_map(|source| misplaced_keywords(source, &floors)).collect());
}

#[test]
fn sources_keep_good_habits() {
    none(rust().iter().flat_map(bad_habits).collect());
}

#[test]
fn nothing_is_left_unfinished() {
    let folders = ["src", "loadgen", "schema", "tests", "benches", "docs", ".ci", ".github"];
    let endings = [".rs", ".md", ".toml", ".js", ".css", ".html", ".yml", ".py", "run", "report", "history"];
    none(sources(&folders, &endings).iter().flat_map(unfinished).collect());
}

#[test]
fn every_limit_is_used_and_tested() {
    let (limits, others): (Vec<Source>, Vec<Source>) =
        rust().into_iter().filter(|s| s.path != "tests/tidy.rs").partition(|s| s.path.starts_with("src/limits/"));
    let limits: String = limits.into_iter().map(|source| source.text).collect();
    assert!(limits.matches("pub const ").count() > 200, "every file of limits is read");
    none(idle_limits(&limits, &others, LIMITS_WITHOUT_TEST));
}

#[test]
fn the_documents_are_there_and_the_readme_has_its_two_commands() {
    for name in DOCUMENTS {
        assert!(read(&format!("docs/{name}.md")).starts_with("# "), "{name}");
    }
    assert_eq!(commands(&read("README.md")).expect("two commands").len(), 2);
}

#[test]
fn the_table_of_metrics_is_what_the_code_has() {
    let (begin, end) = ("<!-- metrics: begin -->\n", "<!-- metrics: end -->");
    let text = read("docs/OPERATIONS.md");
    let shown = text.split(begin).nth(1).and_then(|rest| rest.split(end).next()).expect("the markers");
    assert_eq!(shown, metrics_table(), "put this between the markers:\n{}", metrics_table());
}

#[test]
fn every_dependency_has_its_reason() {
    none(undecided(&read("Cargo.toml"), &read("docs/DECISIONS.md")));
}

#[test]
fn planted_imports_are_found() {
    let floors = floors("// Floor 0: a\npub mod low;\n// Floor 3: b\npub mod left;\npub mod right;\n").expect("good");
    for (text, complaints) in [
        ("use crate::low::X;", 0),
        ("use crate::left::Y;", 0),
        ("use crate::right::X;", 1),
        ("fn f() { crate::right::g() }", 1),
        ("use crate::{low, right};", 1),
        ("// crate::right\nlet a = \"crate::right\";", 0),
        ("let quote = '\"'; use crate::right;", 1),
        ("fn f<'a>(_: &'a str) { crate::right::g::<'a>() }", 1),
        ("let a = r#\"\"crate::right\"#; let b = '\\''; crate::right", 1),
    ] {
        assert_eq!(upward_imports(&Source::new("src/left/x.rs", text), &floors).len(), complaints, "{text}");
    }
    assert_eq!(upward_imports(&Source::new("src/low.rs", "use crate::left;"), &floors).len(), 1);
    assert_eq!(upward_imports(&Source::new("src/new.rs", ""), &floors).len(), 1);
    assert!(self::floors("pub mod early;\n// Floor 0: a").is_err());
    assert!(self::floors("// Floor 1: a\n// Floor 0: b").is_err());
}

#[test]
fn planted_keywords_are_found() {
    let shown = "// Floor 5: a\npub mod shard;\n// Floor 7: b\npub mod runtime;\npub mod admin;\n";
    let floors = floors(shown).expect("good");
    for (path, text, complaints) in [
        ("src/shard/a.rs", "async fn f() {}", 1),
        ("src/shard/a.rs", "// async\n#![deny(unsafe_code)]", 0),
        ("src/runtime/a.rs", "async fn f() { unsafe { g() } }", 0),
        ("src/admin/a.rs", "async fn f() { unsafe { g() } }", 1),
        ("src/main.rs", "unsafe fn f() {} async fn g() {}", 2),
    ] {
        assert_eq!(misplaced_keywords(&Source::new(path, text), &floors).len(), complaints, "{path} {text}");
    }
}

#[test]
fn planted_habits_are_found() {
    for (path, text, complaints) in [
        ("src/a.rs", "use super::X;", 0),
        ("src/a.rs", "use super::super::X;", 1),
        ("src/a.rs", "#[allow(dead_code)]", 1),
        ("src/a.rs", "#![cfg_attr(test, allow(dead_code))]", 1),
        ("src/a.rs", "fn f() { rules.allow(1) }\n#[expect(dead_code)]", 0),
        ("src/a.rs", concat!("#[ig", "nore = \"slow\"]"), 1),
        ("src/a.rs", "struct RoomManager; enum InfoKind {} type Database = u8;", 2),
        ("src/util.rs", "", 1),
        ("src/room_helpers.rs", "", 1),
        ("src/utility.rs", "", 0),
        ("src/a.rs", &"x\n".repeat(LINES_MAX), 0),
        ("src/a.rs", &"x\n".repeat(LINES_MAX + 1), 1),
    ] {
        let found = bad_habits(&Source::new(path, text));
        assert_eq!(found.len(), complaints, "{path} {text:.40} {found:?}");
    }
}

#[test]
fn planted_marks_of_unfinished_work_are_found() {
    for (text, complaints) in
        [(concat!("// TO", "DO: later"), 1), (concat!("to", "do!()"), 1), ("to do", 0), (concat!("FIX", "ME"), 1)]
    {
        assert_eq!(unfinished(&Source::new("src/a.rs", text)).len(), complaints, "{text}");
    }
}

#[test]
fn planted_idle_limits_are_found() {
    let limits = "/// doc\npub const ROOM_MAX: usize = 1;\n";
    let check = |sources: &[(&str, &str)], excused: &[(&str, &str)]| {
        let sources: Vec<Source> = sources.iter().map(|(path, text)| Source::new(path, text)).collect();
        idle_limits(limits, &sources, excused).concat()
    };
    let used = ("src/a.rs", "let a = ROOM_MAX;");
    let tested = ("tests/a.rs", "ROOM_MAX");
    let beside = ("src/b.rs", "ROOM_MAX\n#[cfg(test)]\nmod tests { ROOM_MAX }");
    let below = ("src/a/tests/b.rs", "ROOM_MAX");
    let named = ("src/a.rs", "// ROOM_MAX\nlet ROOM_MAX_2 = \"ROOM_MAX\";");
    let excuse: &[(&str, &str)] = &[("ROOM_MAX", "because")];
    assert_eq!(check(&[], &[]), "ROOM_MAX bounds nothing");
    assert_eq!(check(&[named, tested], &[]), "ROOM_MAX bounds nothing");
    assert_eq!(check(&[beside], &[]), "");
    assert_eq!(check(&[used, tested], &[]), "");
    assert_eq!(check(&[used, below], &[]), "");
    assert_eq!(check(&[used], &[]), "ROOM_MAX is named by no test");
    assert_eq!(check(&[used], &[("ROOM_MAX", "")]), "ROOM_MAX is named by no test");
    assert_eq!(check(&[used], excuse), "");
    assert_eq!(check(&[used, tested], excuse), "ROOM_MAX is tested: take its excuse back");
}

#[test]
fn planted_gaps_in_documents_are_found() {
    let good = "# A\n<!-- command: run -->\n```sh\nrun it\n```\n<!-- command: test -->\n\n```sh\ntest it\n```\n";
    assert_eq!(commands(good), Ok(vec!["run it", "test it"]));
    assert!(commands(&good.replace("run it", "run it\nagain")).is_err());
    assert!(commands(&good.replace("test it\n", "")).is_err());
    assert!(commands(&good.replace("command: test", "command: tests")).is_err());
    let manifest =
        "[package]\nname = \"x\"\n\n[dependencies]\none = \"1\"\ntwo = { version = \"2\" }\n\n[lints]\nx = 3\n";
    assert_eq!(undecided(manifest, "- `one`: why"), ["two"]);
}
