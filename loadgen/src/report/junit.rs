//! `junit.xml`: the run as a suite of tests, as continuous integration shows them.
//!
//! The run's validity, its checks and each of its objectives are a test. An invalid run is an error, not a failure.

use std::fmt::Write as _;

use crate::page::escaped;
use crate::report::Report;

/// The whole file.
pub(super) fn page(report: &Report) -> String {
    let objections = report.objections();
    let mut cases = vec![("the generator kept its own times".to_owned(), None, report.invalid.clone())];
    let checks = (!objections.is_empty()).then(|| objections.join("; "));
    cases.push(("every delivery and every connection is as it must be".to_owned(), checks, None));
    for slo in &report.slos {
        let measured = slo.measured.map_or_else(|| "not measured".to_owned(), |value| format!("{value} {}", slo.unit));
        cases.push((slo.slo.clone(), (!slo.met).then_some(measured), None));
    }
    let failures = cases.iter().filter(|case| case.1.is_some()).count();
    let errors = cases.iter().filter(|case| case.2.is_some()).count();
    let time: f64 = report.timeline.points.iter().map(|point| point.span_s).sum();
    let (name, started) = (escaped(&report.scenario.name), escaped(report.environment.started.trim_end_matches('Z')));
    let (host, count) = (escaped(&report.environment.host), cases.len());
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"loadgen\" tests=\"{count}\" \
         failures=\"{failures}\" errors=\"{errors}\" time=\"{time:.3}\">\n  <testsuite name=\"{name}\" tests=\"{count}\" \
         failures=\"{failures}\" errors=\"{errors}\" skipped=\"0\" time=\"{time:.3}\" timestamp=\"{started}\" \
         hostname=\"{host}\">\n"
    );
    for (case, failure, error) in &cases {
        let case = escaped(case);
        let _ = write!(text, "    <testcase name=\"{case}\" classname=\"{name}\" time=\"0\"");
        let _ = match (failure, error) {
            (Some(reason), _) => writeln!(text, "><failure message=\"{}\"/></testcase>", escaped(reason)),
            (None, Some(reason)) => writeln!(text, "><error message=\"{}\"/></testcase>", escaped(reason)),
            (None, None) => writeln!(text, "/>"),
        };
    }
    text += "  </testsuite>\n</testsuites>\n";
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::SloReport;
    use crate::report::tests::sample;

    #[test]
    fn a_passed_run_has_no_failure() {
        let text = page(&sample());
        assert!(text.contains("tests=\"3\" failures=\"0\" errors=\"0\""), "{text}");
        assert!(
            text.contains("<testcase name=\"delivery.p99&lt;100ms\" classname=\"a &lt;script&gt; &amp; &quot;more")
        );
        assert!(!text.contains("<failure") && !text.contains("<script"));
    }

    #[test]
    fn what_failed_says_why() {
        let mut report = sample();
        report.faults.lost = 2;
        report.invalid = Some("late & <slow>".to_owned());
        report.slos =
            vec![SloReport { slo: "x<1".to_owned(), measured: None, unit: "us".to_owned(), met: false, used: None }];
        let text = page(&report);
        assert!(text.contains("failures=\"2\" errors=\"1\""), "{text}");
        assert!(text.contains("<error message=\"late &amp; &lt;slow&gt;\"/>"));
        assert!(text.contains("<failure message=\"deliveries are faulty\"/>"));
        assert!(text.contains("<failure message=\"not measured\"/>"));
    }

    #[test]
    fn nothing_that_xml_means_something_by_is_left() {
        for (text, expected) in [
            ("<a b=\"c\" d='e'>&", "&lt;a b=&quot;c&quot; d=&#39;e&#39;&gt;&amp;"),
            ("a\u{0}\u{1b}\tb\u{ffff}", "a\tb"),
        ] {
            assert_eq!(escaped(text), expected);
        }
    }
}
