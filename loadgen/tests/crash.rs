//! Trials of real processes that are killed: what is proved is that a server which keeps what it says passes, and that
//! each thing that one can do wrong is found under its own name with its own count.

#![expect(clippy::unwrap_used, reason = "a test binary: a panic is its report")]

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use loadgen::crash::{Counts, CrashReport, Moment, Trial};
use loadgen::engine::Target;

/// A directory and an address of a test's own.
struct Place {
    directory: PathBuf,
    address: String,
}

impl Place {
    fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("loadgen-crash-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        Self { directory, address }
    }

    /// The command of the model server with this fault.
    fn keeper(&self, fault: &str) -> String {
        let tests = std::env::current_exe().unwrap();
        let keeper = tests.parent().unwrap().parent().unwrap().join("examples/keeper");
        assert!(keeper.exists(), "{}: built by cargo test -p loadgen", keeper.display());
        format!("{} {} {} {fault}", keeper.display(), self.address, self.directory.display())
    }

    /// A small trial.
    fn trial(&self, fault: &str) -> Trial {
        let target = Target::parse(&format!("ws://{}", self.address)).unwrap();
        Trial {
            kills: 3,
            acked: 600,
            publishers: 3,
            channels: 2,
            window: 8,
            chance: (Duration::from_millis(1), Duration::from_millis(50)),
            service_token: Some("any".to_owned()),
            ..Trial::new(target, &self.keeper(fault), 1)
        }
    }

    fn run(trial: &Trial) -> CrashReport {
        let mut progress = Vec::new();
        let report = trial.run(&mut progress).unwrap();
        let lines = String::from_utf8(progress).unwrap();
        assert_eq!(lines.lines().count(), usize::try_from(report.kills).unwrap(), "{lines}");
        report
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.directory).unwrap();
    }
}

/// Kills while all is quiet, so that what a fault does can be counted: it must be found just so often.
fn check(fault: &str, expected: Counts) {
    let place = Place::new(fault);
    let report = Place::run(&Trial { moment: Moment::Idle, ..place.trial(fault) });
    assert_eq!(report.faults, expected, "{fault}: {report}");
    assert_eq!((report.kills, report.exit_code(), report.unanswered), (3, 1, 0), "{fault}: {report}");
    assert!(report.broken.is_none() && report.closes.sum() == 0 && report.errors.sum() == 0, "{fault}: {report}");
    let named: u64 = expected.named().iter().map(|(_, count)| *count.min(&8)).sum();
    assert_eq!(report.findings.len(), usize::try_from(named).unwrap(), "{fault}: {report}");
}

#[test]
fn a_server_that_keeps_what_it_says_passes_under_load() {
    let place = Place::new("none");
    let report = Place::run(&place.trial("none"));
    assert_eq!(report.objections, Vec::<String>::new(), "{report}");
    assert_eq!((report.outcome.as_str(), report.exit_code(), report.kills), ("passed", 0, 3));
    assert!(report.acked >= 600 && report.sent >= report.acked, "{report}");
    assert!(report.sent_again >= 3 * 3 * 4 && report.duplicates >= 3 * 3 * 4, "{report}");
    assert_eq!(report.restart.count, 3);
    // Each acknowledgement of a first send; what was only answered after a kill has no latency.
    assert!(report.ack_latency.count > 0 && report.ack_latency.count <= report.acked, "{report}");
    assert!(report.events_read > report.acked, "{report}");
    assert_eq!(report.server_version.as_deref(), Some("keeper 1"));
    let read: CrashReport = serde_json::from_str(&report.to_json().unwrap()).unwrap();
    assert_eq!(read, report);
    assert!(report.markdown().starts_with("## loadgen: crash passed\n"), "{}", report.markdown());
}

#[test]
fn a_server_that_answers_before_it_writes_is_found_out_under_load() {
    let place = Place::new("ack-early");
    let report = Place::run(&place.trial("ack-early"));
    assert!(report.faults.lost > 0, "{report}");
    assert_eq!((report.faults, report.exit_code()), (Counts { lost: report.faults.lost, ..Counts::default() }, 1));
    assert!(report.to_string().contains(&format!("FAILED    {} lost", report.faults.lost)), "{report}");
}

#[test]
fn what_is_lost_at_a_start_is_counted_to_the_event() {
    check("lose-last", Counts { lost: 3 * 5, ..Counts::default() });
}

#[test]
fn what_is_doubled_at_a_start_is_counted_to_the_event() {
    check("double", Counts { doubled: 3, ..Counts::default() });
}

#[test]
fn operations_that_change_places_are_found() {
    check("reorder", Counts { reordered: 3, ..Counts::default() });
}

#[test]
fn numbers_given_again_are_found_with_what_is_lost_by_it() {
    // Two loads follow a start, and two readers see numbers fall after each.
    check("reuse", Counts { reused: 2 * 3, lost: 2 * 3, live: 2 * 2, ..Counts::default() });
}

#[test]
fn duplicates_that_are_taken_for_new_are_found_and_so_are_their_copies() {
    let again = 3 * 3 * 4;
    check("forget", Counts { duplicate_as_first: again, doubled: again, ..Counts::default() });
    check("unflagged", Counts { duplicate_as_first: again, ..Counts::default() });
}

#[test]
fn a_server_that_keeps_nothing_has_lost_all_that_it_acknowledged() {
    let place = Place::new("memory");
    let report = Place::run(&Trial { moment: Moment::Idle, ..place.trial("memory") });
    assert_eq!((report.faults.lost, report.exit_code()), (report.acked, 1), "{report}");
    assert!(report.faults.reused > 0 && report.findings.len() >= 16, "{report}");
}

#[test]
fn a_server_that_does_not_come_back_fails_the_trial() {
    let place = Place::new("gone");
    let once = format!("test ! -e {0}/starts && exec {1}", place.directory.display(), place.keeper("none"));
    let trial = Trial { command: format!("sh -c '{once}'"), ..place.trial("none") };
    let report = Place::run(&trial);
    assert_eq!((report.kills, report.exit_code()), (1, 1), "{report}");
    assert!(report.broken.as_ref().unwrap().starts_with("the server did not start: ended at once"), "{report}");
}

#[test]
fn a_power_cut_is_made_between_kill_and_start_and_one_that_fails_ends_the_trial() {
    let place = Place::new("cut");
    let cuts = place.directory.join("cuts");
    // It takes the last line of what is kept, as a disk that forgot it would.
    let log = place.directory.join("log");
    let cut = format!("echo $LOADGEN_KILL >>{} && sed -i '$d' {}", cuts.display(), log.display());
    let trial = Trial { power_cut: Some(cut), moment: Moment::Idle, ..place.trial("none") };
    let report = Place::run(&trial);
    assert_eq!(std::fs::read_to_string(&cuts).unwrap(), "1\n2\n3\n");
    assert_eq!((report.faults, report.power_cut), (Counts { lost: 3, ..Counts::default() }, true), "{report}");
    let place = Place::new("no-cut");
    let report = Place::run(&Trial { power_cut: Some("exit 7".to_owned()), ..place.trial("none") });
    assert!(report.broken.as_ref().unwrap().contains("power cut: \"exit 7\" failed: exit status: 7"), "{report}");
}

#[test]
fn a_trial_that_cannot_be_is_refused_with_the_reason() {
    let place = Place::new("refused");
    let check = |trial: Trial, word: &str| {
        let error = trial.run(&mut Vec::new()).unwrap_err();
        assert!(error.contains(word), "{error}");
    };
    check(Trial { command: "true".to_owned(), ..place.trial("none") }, "ended at once");
    check(Trial { kills: 0, ..place.trial("none") }, "kills 0");
    // The channels of this seed have events of an earlier trial.
    Place::run(&Trial { kills: 1, acked: 1, ..place.trial("none") });
    check(place.trial("none"), "take another seed");
}

#[test]
fn the_program_writes_its_result_and_ends_with_its_verdict() {
    let place = Place::new("program");
    let out = place.directory.join("out");
    let run = |fault: &str, seed: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
        command.args(["crash", "--server-command", &place.keeper(fault), "--url", &format!("ws://{}", place.address)]);
        command.args(["--kills", "1", "--acked", "60", "--publishers", "3", "--channels", "2", "--idle", "--force"]);
        command.args(["--seed", seed, "--out"]).arg(&out).arg("--markdown").arg(place.directory.join("m.md"));
        let output = command.output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(text).unwrap())
    };
    let (code, text) = run("none", "1");
    assert!(code == 0 && text.contains("kill 1 of 1: ") && text.ends_with(&format!("{}\n", out.display())), "{text}");
    assert!(text.contains("\npassed\n") && text.contains("\nlost                        0\n"), "{text}");
    let (code, text) = run("lose-last", "2");
    assert!(
        code == 1 && text.contains("FAILED    5 lost\n") && text.contains(" is not in the history, which has "),
        "{text}"
    );
    let report: CrashReport =
        serde_json::from_str(&std::fs::read_to_string(out.join("summary.json")).unwrap()).unwrap();
    assert_eq!((report.kind.as_str(), report.faults.lost, report.findings.len()), ("crash", 5, 5));
    assert!(report.flags.contains(&"--idle".to_owned()), "{:?}", report.flags);
    let page = std::fs::read_to_string(out.join("report.md")).unwrap();
    assert_eq!(page, std::fs::read_to_string(place.directory.join("m.md")).unwrap());
    assert!(page.contains("| lost | 5 |") && page.contains("- 5 lost\n"), "{page}");
    let output = Command::new(env!("CARGO_BIN_EXE_loadgen")).arg("crash").output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && error.contains("an adapter with open.start"), "{error}");
    // It is no run's result.
    let output = Command::new(env!("CARGO_BIN_EXE_loadgen")).arg("report").arg(&out).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && error.contains("the result of crash"), "{error}");
}
