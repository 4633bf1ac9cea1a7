use super::*;
use crate::limits::SUITE_ROWS_COUNT_MAX;

const RUN: &str = "[[run]]\nname = 'small'\nscenario = 'smoke'\n";
const TARGET: &str = "[[target]]\nwhat = 'all is well'\ndocuments = 'none'\nruns = ['small']\nexpect = ['errors==0']\n";

fn prepare(text: &str) -> Result<Prepared, String> {
    Suite::parse(text)?.prepare(Extent::Full, &[])
}

#[test]
fn the_shipped_suite_is_understood_in_both_forms_and_says_what_it_scales() {
    let suite = Suite::parse(SHIPPED).unwrap();
    let full = suite.prepare(Extent::Full, &[]).unwrap();
    assert_eq!((full.connections_max(), full.targets.len()), (10_000, 9));
    assert!(full.targets.iter().all(|target| !target.scaled));
    let short = suite.prepare(Extent::Short, &[]).unwrap();
    assert_eq!(short.connections_max(), 1000);
    let scaled: Vec<&str> = short.targets.iter().filter(|of| of.scaled).map(|of| of.what.as_str()).collect();
    let expected = [
        "connections held at once",
        "resident memory with all connections and their traffic",
        "CPU of an idle connection in a second, its pings included",
    ];
    assert_eq!(scaled, expected);
    // A ping comes after 20 s without a word.
    for (prepared, rounds) in [(&full, 3.0), (&short, 2.0)] {
        let idle = &prepared.runs[3].scenario;
        let count = if rounds > 2.0 { 10_000 } else { 1000 };
        assert_eq!((idle.rest_s, idle.steps.as_slice()), (20.0 * rounds, &[count][..]));
    }
    // A tenth of the connections still makes 7,500 messages a second.
    let crowd = &short.runs[0].scenario;
    assert!(crowd.group[0].rate * 1000.0 > 7500.0 && crowd.duration_s <= 10.0);
}

#[test]
fn what_is_wrong_in_a_suite_is_named_before_anything_runs() {
    let check = |text: &str, word: &str| {
        let error = prepare(text).unwrap_err();
        assert!(error.starts_with("suite: ") && error.contains(word), "{error}");
    };
    check(TARGET, "run");
    check(&format!("target = []\n{RUN}"), "0 targets");
    check(&format!("{RUN}{RUN}{TARGET}"), "name of its own");
    check(&format!("{}{TARGET}", RUN.replace("'small'", "''")), "name of its own");
    check(&format!("{}{TARGET}", RUN.replace("'smoke'", "'nowhere'")), "run \"small\": scenario nowhere: ");
    check(&format!("{RUN}set = ['rate=-1']\n{TARGET}"), "rate -1");
    check(&format!("{RUN}{}", TARGET.replace("['small']", "['large']")), "there is no run \"large\"");
    check(&format!("{RUN}{}", TARGET.replace("['small']", "[]")), "must not be empty");
    check(&format!("{RUN}{}", TARGET.replace("['errors==0']", "[]")), "must not be empty");
    check(&format!("{RUN}{}", TARGET.replace("errors==0", "errors=0")), "character 7");
    check(&format!("{RUN}{TARGET}more = 1"), "more");
    let many = TARGET.repeat(SUITE_ROWS_COUNT_MAX + 1);
    check(&format!("{RUN}{many}"), "65 targets");
    assert!(prepare(&format!("{RUN}{}", TARGET.repeat(SUITE_ROWS_COUNT_MAX))).is_ok());
}

fn slo(run: &str, met: bool) -> (String, SloReport) {
    let slo = SloReport { slo: "errors==0".to_owned(), measured: Some(0.0), unit: "count".to_owned(), met, used: None };
    (run.to_owned(), slo)
}

fn run(name: &str, invalid: Option<&str>) -> RunReport {
    RunReport {
        name: name.to_owned(),
        scenario: "smoke".to_owned(),
        objections: Vec::new(),
        invalid: invalid.map(str::to_owned),
        warnings: Vec::new(),
    }
}

#[test]
fn a_target_is_missed_by_one_objective_of_a_valid_run_and_not_judged_by_an_invalid_one() {
    let runs = [run("good", None), run("late", Some("late"))];
    let check = |slos: &[(String, SloReport)], expected: Verdict| {
        assert_eq!(Verdict::new(slos, &runs), expected, "{slos:?}");
    };
    check(&[slo("good", true), slo("good", true)], Verdict::Met);
    check(&[slo("good", true), slo("good", false)], Verdict::Missed);
    check(&[slo("good", true), slo("late", true)], Verdict::Invalid);
    check(&[slo("good", true), slo("late", false)], Verdict::Invalid);
    check(&[slo("good", false), slo("late", true)], Verdict::Missed);
    check(&[], Verdict::Invalid);
}

pub(super) fn proof(verdicts: &[Verdict]) -> Proof {
    let target = |&verdict: &Verdict| TargetReport {
        what: "all is well".to_owned(),
        documents: "none".to_owned(),
        scaled: verdict == Verdict::Met,
        slos: vec![slo("good", verdict == Verdict::Met), slo("late", true)],
        verdict,
    };
    let runs = vec![run("good", None), run("late", Some("sends 9 ms late"))];
    let targets = verdicts.iter().map(target).collect();
    Proof { extent: Extent::Short, targets, runs, environment: None, flags: Vec::new() }
}

#[test]
fn one_missed_target_decides_the_code() {
    use Verdict::{Invalid, Met, Missed};
    for (verdicts, code) in
        [(&[Met, Met][..], 0), (&[Met, Invalid], 3), (&[Met, Invalid, Missed], 99), (&[Missed], 99), (&[], 0)]
    {
        assert_eq!(proof(verdicts).exit_code(), code, "{verdicts:?}");
    }
}

#[test]
fn the_tables_say_what_was_asked_what_was_measured_and_what_was_scaled() {
    let mut proof = proof(&[Verdict::Met, Verdict::Missed, Verdict::Invalid]);
    let text = proof.to_string();
    for part in [
        "✓ all is well  errors==0 (scaled)  0\n",
        "✗ all is well  errors==0           0\n",
        "? all is well",
        "scaled: all is well\n",
        "- run late is invalid: sends 9 ms late\n",
        "1 of 3 targets met, 1 MISSED, 1 not judged, since a run was invalid\n",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let markdown = proof.markdown();
    assert!(markdown.contains("| ✗ | all is well | none | `errors==0` | 0 |\n"), "{markdown}");
    assert!(
        markdown.ends_with("**1 of 3 targets met, 1 MISSED, 1 not judged, since a run was invalid**\n"),
        "{markdown}"
    );
    proof.environment = Some(crate::report::tests::sample().environment);
    proof.flags = vec!["prove".to_owned(), "--out".to_owned(), "a`b".to_owned()];
    let markdown = proof.markdown();
    let made = "**\n\n`loadgen prove --out a'b`, a processor, 2 cores, Linux 6.18.0, 2026-11-22T01:02:03Z.\n";
    assert!(markdown.ends_with(made), "{markdown}");
}
