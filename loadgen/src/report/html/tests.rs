//! The page is whole by itself, lets nothing of the outside through, and its policy fits what stands in it.

use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use crate::checker::{Finding, What};
use crate::report::tests::sample;
use crate::report::{Doctor, FindingReport};

fn text() -> String {
    page(&sample()).unwrap()
}

/// A report in which everything that comes from outside would be a script.
fn hostile() -> Report {
    const EVIL: &str = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\" onload='x' {{data}}";
    let mut report = sample();
    report.scenario.name = EVIL.to_owned();
    report.adapter = EVIL.to_owned();
    report.server_version = Some(EVIL.to_owned());
    report.scenario.group[0].name = EVIL.to_owned();
    report.flags = vec![EVIL.to_owned()];
    report.groups[0].name = EVIL.to_owned();
    report.slos[0].slo = EVIL.to_owned();
    report.slos[0].unit = EVIL.to_owned();
    report.invalid = Some(EVIL.to_owned());
    let finding = Finding { room: 0, member: 0, what: What::Corrupted };
    report.findings = vec![FindingReport { group: EVIL.to_owned(), path: EVIL.to_owned(), finding }];
    report.refusals = vec![EVIL.to_owned()];
    for names in [&mut report.events, &mut report.closes, &mut report.protocol_faults] {
        names.add(EVIL);
    }
    for point in &mut report.timeline.points {
        point.stage = EVIL.to_owned();
    }
    let environment = &mut report.environment;
    for place in [
        &mut environment.url,
        &mut environment.started,
        &mut environment.host,
        &mut environment.loadgen,
        &mut environment.kernel,
        &mut environment.processor,
    ] {
        EVIL.clone_into(place);
    }
    environment.governor = Some(EVIL.to_owned());
    environment.sysctls.insert(EVIL.to_owned(), EVIL.to_owned());
    environment.warnings = vec![EVIL.to_owned()];
    environment.doctor = Some(crate::report::doctor::tests::heard(EVIL));
    environment.revision = Some(crate::report::Revision { commit: EVIL.to_owned(), dirty: true });
    report
}

#[test]
fn nothing_from_outside_is_taken_for_markup() {
    let text = page(&hostile()).unwrap();
    assert_eq!(text.matches("<script").count(), 3, "the data, the library and the plots");
    assert_eq!(text.matches("</script").count(), 3);
    assert!(!text.contains("<img") && !text.contains("alert(1)<"), "a tag came through");
    // In an attribute a quote would end the value.
    assert!(!text.contains("onload='x'"));
    assert_eq!(text.matches("id=\"data\">{\"").count(), 1);
    // A name that looks like a place of the page stays a name.
    assert!(text.contains("{{data}}</h1>"));
}

#[test]
fn the_page_asks_nothing_of_the_network() {
    let text = text();
    for word in [" src=", "@import", "url(", "<link", "<iframe", "fetch(", "XMLHttpRequest", "sendBeacon"] {
        assert!(!text.contains(word), "{word}");
    }
    // The only address is in the library's licence line.
    assert_eq!(text.matches("http://").count() + text.matches("https://").count(), 1);
    assert!(text.contains("default-src 'none'"));
}

#[test]
fn the_policy_lets_the_pages_own_parts_run_and_no_other() {
    let text = text();
    let hash = |part: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(part.as_bytes())));
    let between = |from: &str, to: &str| text.split(from).nth(1).unwrap().split(to).next().unwrap();
    let policy = between("Content-Security-Policy\" content=\"", "\">");
    assert!(policy.contains(&hash(between("<style>", "</style>"))), "{policy}");
    for script in text.split("<script>").skip(1) {
        assert!(policy.contains(&hash(script.split("</script>").next().unwrap())), "{policy}");
    }
    assert!(!policy.contains("unsafe") && !text.contains("style=\""));
}

#[test]
fn every_plot_has_a_label_and_a_table() {
    let text = text();
    for plot in ["percentiles", "latency", "throughput", "connections", "server", "lateness"] {
        assert_eq!(text.matches(&format!("data-plot=\"{plot}\" role=\"img\" aria-label=")).count(), 1, "{plot}");
        assert!(PLOTS.contains(&format!("    {plot}: () =>")), "{plot}");
    }
    assert!(text.contains("<th scope=\"row\">99.9 %</th>") && text.contains("<td>warm-up</td>"));
    // A run without traffic has no plots of it.
    let mut idle = sample();
    idle.groups.clear();
    let idle = page(&idle).unwrap();
    assert!(!idle.contains("data-plot=\"percentiles\"") && idle.contains("data-plot=\"connections\""));
}

#[test]
fn the_verdict_stands_first_with_its_reasons() {
    let check = |report: &Report, class: &str, words: &[&str]| {
        let text = page(report).unwrap();
        let at = text.find(&format!("class=\"verdict {class}\"")).unwrap();
        assert!(at < text.find("<main").unwrap());
        assert!(words.iter().all(|word| text[at..].contains(word)), "{words:?}");
    };
    check(&sample(), "good", &["Passed"]);
    let mut missed = sample();
    missed.slos[0].met = false;
    check(&missed, "bad", &["Missed", "<td class=\"missed\">missed</td>"]);
    let mut failed = sample();
    failed.faults.lost = 3;
    check(&failed, "bad", &["Failed", "deliveries are faulty", "<td class=\"missed\">3</td>"]);
    check(&Report { invalid: Some("ended early".to_owned()), ..sample() }, "warn", &["Invalid", "ended early"]);
}

#[test]
fn the_data_is_json_of_columns_of_one_length() {
    let text = text();
    let data = text.split("id=\"data\">").nth(1).unwrap().split("</script>").next().unwrap();
    let data: serde_json::Value = serde_json::from_str(data).unwrap();
    let length = |column: &serde_json::Value| column.as_array().unwrap().len();
    for column in
        ["p50", "p99", "max", "uncorrected_p99", "lateness", "delivered", "published", "open", "busy", "memory"]
    {
        assert_eq!(length(&data["time"][column]), 5, "{column}");
    }
    assert_eq!(data["time"]["measured"], serde_json::json!([[2.0, 5.0]]));
    let x = data["percentiles"]["x"].as_array().unwrap();
    assert!(x.is_sorted_by(|a, b| a.as_f64() < b.as_f64()) && x.len() > 40);
    assert_eq!((x.last().unwrap().as_f64(), length(&data["percentiles"]["corrected"])), (Some(20_000.0), x.len()));
}

#[test]
fn the_page_says_how_the_server_was_spoken_to() {
    let adapter = "<th scope=\"row\">adapter</th><td class=\"text\">waystation, the server says it is 1.0.0</td>";
    assert!(text().contains(adapter));
}

#[test]
fn the_page_has_the_doctors_findings_or_says_that_there_are_none() {
    let check = |doctor: Option<Doctor>, part: &str, table: bool| {
        let mut report = sample();
        report.environment.doctor = doctor;
        let text = page(&report).unwrap();
        assert!(text.contains(&format!("<th scope=\"row\">doctor</th><td class=\"text\">{part}")), "{part}");
        assert_eq!(text.contains("<h2>What the doctor found</h2>"), table, "{part}");
    };
    let heard = sample().environment.doctor;
    check(heard, "1 error, 1 warning, 1 note, 7 as wanted", true);
    check(None, "not asked</td>", false);
    let (program, reason) = ("w".to_owned(), "cannot be started".to_owned());
    check(Some(Doctor::Silent { program, reason }), "nothing is known from w: cannot be started</td>", false);
    let text = text();
    let row = "<th scope=\"row\" class=\"text\">error somaxconn</th><td class=\"text missed\">error</td><td class=\"text\">somaxconn (somaxconn)</td>";
    assert!(text.contains(row));
}

#[test]
fn counts_have_their_thousands_apart() {
    for (value, expected) in [(0.0, "0"), (999.4, "999"), (1000.0, "1,000"), (1_234_567.0, "1,234,567")] {
        assert_eq!(grouped(value), expected);
    }
}
