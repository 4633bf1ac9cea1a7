//! The program's verdicts as its callers see them, by exit code and by what it prints: what is proved is that each kind
//! of bad outcome has its own code, and that a good one has none of them.

#![expect(clippy::unwrap_used, reason = "a test binary: a panic is its report")]

#[path = "support/floor.rs"]
mod support;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use loadgen::report::Report;
use support::Server;
use tungstenite::Message;

/// A directory of the test's own.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("loadgen-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

/// The exit code and both outputs.
fn loadgen(arguments: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_loadgen")).args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

fn check(arguments: &[&str], code: i32, words: &[&str]) {
    let (found, text) = loadgen(arguments);
    assert_eq!(found, code, "{arguments:?}: {text}");
    for word in words {
        assert!(text.contains(word), "{word}: {text}");
    }
}

const SMALL: [&str; 10] = [
    "--scenario",
    "smoke",
    "--set",
    "duration_s=0.3",
    "--set",
    "warmup_s=0.1",
    "--set",
    // Tests share their cores with others: lateness is not what is proved here.
    "lateness_p99_max_us=10000000",
    "--set",
    "starved_max=1",
];

fn run(server: &Server, more: &[&str], code: i32, words: &[&str]) {
    check(&[&["run", "--url", &server.url][..], &SMALL, more].concat(), code, words);
}

#[test]
fn a_missed_objective_ends_with_99_and_a_met_one_with_0() {
    let server = Server::start();
    run(&server, &["--slo", "errors==0", "--slo", "connections==56"], 0, &["✓ errors==0 ", "✓ connections==56  56\n"]);
    run(&server, &["--slo", "errors==0", "--slo", "delivery.max<1ns"], 99, &["✗ delivery.max<1ns", "MISSED    1 of 2"]);
    run(&server, &["--slo", "server.rss<1GB"], 99, &["✗ server.rss<1GB  not measured"]);
    let directory = Directory::new("objectives");
    let file = directory.file("wanted.toml", "expect = ['delivered.rate>1000000000/s']");
    run(&server, &["--slo-file", &file], 99, &["✗ delivered.rate>1000000000/s"]);
    assert_eq!(server.end().connections, 4 * 56, "a missed objective is told of a whole run");
}

#[test]
fn a_late_generator_goes_before_a_missed_objective_and_a_failed_check_before_both() {
    let server = Server::start();
    let late = ["--set", "lateness_p99_max_us=0", "--slo", "delivery.max<1ns"];
    run(&server, &late, 3, &["INVALID", "✗ delivery.max<1ns"]);
    let url = server.url.clone();
    drop(server);
    let gone = [&["run", "--url", &url][..], &SMALL, &["--set", "drain_s=0.1", "--slo", "errors==0"]].concat();
    check(&gone, 1, &["FAILED", "✗ errors==0"]);
}

#[test]
fn a_run_is_ended_when_an_objective_is_broken_for_long() {
    let server = Server::start();
    let clock = loadgen::clock::Clock::start();
    let broken = ["--set", "duration_s=60", "--slo", "delivery.max<1ns", "--slo", "errors==0", "--slo-abort", "2"];
    run(
        &server,
        &broken,
        99,
        &["✗ delivery.max<1ns within 2 s", "✗ delivery.max<1ns  ", "✓ errors==0", "MISSED    2 of 3"],
    );
    assert!(clock.now_ns() < 30_000_000_000, "the run was not ended early");
}

#[test]
fn a_wrong_objective_is_refused_before_anything_is_connected() {
    let nobody = ["run", "--scenario", "smoke", "--url", "ws://127.0.0.1:1"];
    let wrong = |text: &str, word: &str| check(&[&nobody[..], &["--slo", text]].concat(), 2, &[word]);
    wrong("delivery.p99<100", "character 17: a unit is missing");
    wrong("delivry.p99<1ms", "did you mean \"delivery.p99\"?");
    check(&[&nobody[..], &["--slo-file", "/nowhere.toml"]].concat(), 2, &["/nowhere.toml"]);
    check(&["metrics"], 0, &["delivery.p99 ", "server.rss ", "<group>.delivery.p50 "]);
}

/// A run's summary, and five of it whose medians differ by a factor.
fn summaries(directory: &Directory, of: &Report, side: &str, factor: f64) -> Vec<String> {
    let one = |number: u32| {
        let mut report = of.clone();
        let server = report.server.as_mut().unwrap();
        server.cpu_s = 1.0;
        server.cpu_us_per_delivery = factor * (1.0 + 0.002 * f64::from(number));
        directory.file(&format!("{side}{number}/summary.json"), &report.to_json().unwrap())
    };
    (1..=5).map(one).collect()
}

#[test]
fn a_comparison_ends_with_3_when_the_second_side_is_worse_and_says_so_when_it_is_not() {
    let (server, directory) = (Server::start(), Directory::new("compare"));
    let first = directory.0.join("first.json").display().to_string();
    let own = std::process::id().to_string();
    run(&server, &["--json", &first, "--pid", &own], 0, &["passed"]);
    check(&["compare", &first, &first], 0, &["no interval can be given", "there are 1 and 1"]);
    let report = Report::load(Path::new(&first)).unwrap();
    let [a, b, c] =
        [("a", 1.0), ("b", 1.1), ("c", 1.001)].map(|(name, factor)| summaries(&directory, &report, name, factor));
    let sides = |a: &[String], b: &[String]| -> Vec<String> {
        let words = ["compare".to_owned(), "--judge".to_owned(), "server.cpu_us_per_delivery".to_owned()];
        let words = words.into_iter().chain(["--a".to_owned()]).chain(a.iter().cloned());
        words.chain(["--b".to_owned()]).chain(b.iter().cloned()).collect()
    };
    let judged = |a: &[String], b: &[String], code: i32, word: &str| {
        let words = sides(a, b);
        check(&words.iter().map(String::as_str).collect::<Vec<_>>(), code, &[word]);
    };
    judged(&a, &b, 3, "REGRESSION: server.cpu_us_per_delivery +");
    judged(&b, &a, 0, "better: server.cpu_us_per_delivery");
    judged(&a, &c, 0, "no difference in any of the 1 judged figures");
    // A run directory is as good as the file in it.
    let directories = |side: &[String]| side.iter().map(|path| path.replace("/summary.json", "")).collect::<Vec<_>>();
    judged(&directories(&a), &directories(&b), 3, "REGRESSION");
    check(&["compare", &first, "/nowhere"], 2, &["/nowhere"]);
    check(&["compare"], 2, &["name two results"]);
}

#[test]
fn two_processes_results_are_merged_and_judged_as_one() {
    let (server, directory) = (Server::start(), Directory::new("merge"));
    let files = ["one.json", "two.json"].map(|name| directory.0.join(name).display().to_string());
    let of_part = |part: &'static str, file: &String| {
        let (url, file) = (server.url.clone(), file.clone());
        let all = [
            &["run", "--url", &url, "--part", part, "--json", &file, "--set", "duration_s=1"][..],
            &SMALL[..2],
            &SMALL[4..],
        ];
        let all: Vec<String> = all.concat().iter().map(|&word| word.to_owned()).collect();
        std::thread::spawn(move || loadgen(&all.iter().map(String::as_str).collect::<Vec<_>>()))
    };
    let both = [of_part("1/2", &files[0]), of_part("2/2", &files[1])];
    for process in both {
        let (code, text) = process.join().unwrap();
        assert_eq!(code, 0, "{text}");
    }
    let out = directory.0.join("both").display().to_string();
    let merge = |more: &[&str], code: i32, words: &[&str]| {
        check(&[&["merge", &files[0], &files[1], "--out", &out, "--force"][..], more].concat(), code, words);
    };
    merge(&["--slo", "connections==56", "--slo", "errors==0"], 0, &["✓ connections==56  56", "56 of 56 joined"]);
    let reports: Vec<Report> = files.iter().map(|file| Report::load(Path::new(file)).unwrap()).collect();
    let merged = Report::load(Path::new(&out)).unwrap();
    assert!(Path::new(&out).join("report.html").is_file());
    check(&["merge", &files[0], &files[1], "--out", &out], 2, &["has a result"]);
    for (number, group) in merged.groups.iter().enumerate() {
        let sum = |of: fn(&loadgen::report::GroupReport) -> u64| {
            reports.iter().map(|part| of(&part.groups[number])).sum::<u64>()
        };
        assert_eq!((group.delivered, group.latency.count), (sum(|of| of.delivered), sum(|of| of.latency.count)));
    }
    let delivered = |report: &Report| report.timeline.points.iter().map(|point| point.delivered).sum::<u64>();
    assert_eq!(delivered(&merged), reports.iter().map(delivered).sum::<u64>());
    merge(&["--slo", "delivery.max<1ns"], 99, &["✗ delivery.max<1ns"]);
    check(&["merge", &files[0], &files[0], "--out", &out], 2, &["part 1/2 is there twice"]);
    check(&["merge", &files[0], "--out", &out], 2, &["must be 2 to 64"]);
}

/// A suite of one small run.
fn suite(directory: &Directory, scenario: &str, set: &str, expect: &str) -> String {
    let text = format!(
        "[[run]]\nname = 'small'\nscenario = '{scenario}'\nset = ['lateness_p99_max_us=10000000', 'starved_max=1', 'warmup_s=0', {set}]\n\
         [[target]]\nwhat = 'first'\ndocuments = 'a page: none'\nruns = ['small']\nexpect = ['errors==0', 'lost==0']\n\
         [[target]]\nwhat = 'second'\ndocuments = 'a page: some'\nruns = ['small']\nexpect = ['{expect}']\n"
    );
    directory.file("suite.toml", &text)
}

#[test]
fn a_proof_ends_with_0_when_all_targets_are_met_and_with_99_when_one_is_missed() {
    let (server, directory) = (Server::start(), Directory::new("prove"));
    let prove = |expect: &str, set: &str, code: i32, words: &[&str]| {
        let file = suite(&directory, "smoke", set, expect);
        let (json, markdown) = (directory.0.join("proof.json"), directory.0.join("proof.md"));
        let files = ["--json", json.to_str().unwrap(), "--markdown", markdown.to_str().unwrap()];
        let out = directory.0.join(format!("proof-{code}-{}", words.len()));
        let out = ["--out", out.to_str().unwrap()];
        check(&[&["prove", "--url", &server.url, "--suite", &file][..], &files, &out].concat(), code, words);
        let run = Report::load(&Path::new(out[1]).join("small")).unwrap();
        assert_eq!((run.slos.len(), run.exit_code()), (3, u8::try_from(code).unwrap()));
        assert!(Path::new(out[1]).join("proof.md").is_file() && Path::new(out[1]).join("small/report.html").is_file());
        let page = std::fs::read_to_string(Path::new(out[1]).join("proof.html")).unwrap();
        let class = ["good", "warn", "bad"][[0, 3, 99].iter().position(|&known| known == code).unwrap()];
        assert!(page.contains(&format!("<div class=\"verdict {class}\"")) && page.contains("a page: some"), "{page}");
        assert!(
            page.contains("<a href=\"small/report.html\">small</a>") && page.contains("<h2>Environment</h2>"),
            "{page}"
        );
        let json: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
        assert_eq!(
            json["targets"][1]["verdict"],
            if code == 0 {
                "met"
            } else if code == 3 {
                "invalid"
            } else {
                "missed"
            }
        );
        assert!(std::fs::read_to_string(markdown).unwrap().contains("| second | a page: some |"));
    };
    let short = "'duration_s=0.3'";
    prove("connections>=56", short, 0, &["✓ first ", "✓ second", "a page: some", "2 of 2 targets met\n"]);
    prove("connections>=57", short, 99, &["✓ first ", "✗ second", "1 of 2 targets met, 1 MISSED\n"]);
    prove("connections>=56", "'duration_s=0.3', 'lateness_p99_max_us=0'", 3, &["? first ", "is invalid"]);
}

/// One room with one member, who gets back all but the tenth of what it says.
fn lose_one(listener: &TcpListener) {
    let (stream, _) = listener.accept().unwrap();
    let mut socket = tungstenite::accept(stream).unwrap();
    let (mut count, mut seq) = (0, 0);
    while let Ok(message) = socket.read() {
        let Message::Text(text) = message else { continue };
        let answer = if text.contains("\"token\"") {
            socket.send(Message::text("{\"success\":true}")).unwrap();
            "{\"type\":\"subscribed\",\"payload\":{\"seq\":0}}".to_owned()
        } else {
            let body = text.split("\"value\":\"").nth(1).unwrap().split('"').next().unwrap();
            count += 1;
            if count == 10 {
                continue;
            }
            seq += 1;
            format!("{{\"type\":\"x\",\"seq\":{seq},\"payload\":{{\"value\":\"{body}\"}}}}")
        };
        socket.send(Message::text(answer)).unwrap();
    }
}

#[test]
fn a_server_that_loses_a_message_misses_its_target() {
    let directory = Directory::new("lose");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || lose_one(&listener));
    let set = "'messages=20', 'rate=200', 'duration_s=0.3', 'drain_s=0.1', 'spin=false'";
    let file = suite(&directory, "single-1000", set, "connections==1");
    check(
        &["prove", "--url", &url, "--suite", &file],
        99,
        &["✗ first ", "✓ second", "- run small: deliveries are faulty", "1 of 2 targets met, 1 MISSED"],
    );
    server.join().unwrap();
}
