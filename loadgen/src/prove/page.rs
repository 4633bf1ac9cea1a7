//! The proof as a page: what it comes to, how much of each bound is used, the table, the runs, the machine.

use std::fmt::Write as _;

use crate::page::{Axis, Forest, Page, Shape, Spot, Verdict as Said, begin_text, end, escaped, write_machine};
use crate::prove::{Extent, Proof, RunReport, TargetReport, Verdict};
use crate::report::shown;

/// More of a bound than this is drawn as this: a target that is missed by far must not hide how the others stand.
const USED_SHARE_MAX: f64 = 2.0;

impl Proof {
    /// The page. Runs are linked where their directories stand beside it.
    #[must_use]
    pub fn html(&self, linked: bool) -> String {
        let mut sections = String::new();
        self.write_bounds(&mut sections);
        self.write_targets(&mut sections);
        self.write_runs(&mut sections, linked);
        let (mut loadgen, mut started) = (env!("CARGO_PKG_VERSION"), "");
        if let Some(environment) = &self.environment {
            (loadgen, started) = (&environment.loadgen, &environment.started);
            write_machine(&mut sections, environment, None);
        }
        if !self.flags.is_empty() {
            let flags = escaped(&self.flags.join(" "));
            let _ = write!(sections, "<h2>Configuration</h2><p class=\"note\">loadgen {flags}</p>");
        }
        let (class, word) = match self.exit_code() {
            0 => ("good", "Met"),
            99 => ("bad", "Missed"),
            _ => ("warn", "Not judged"),
        };
        let meaning = format!("{}.", self.conclusion());
        let of_run = |run: &RunReport| -> Vec<String> {
            run.complaints().iter().map(|what| format!("run {}: {what}", run.name)).collect()
        };
        let reasons: Vec<String> = self.runs.iter().flat_map(of_run).collect();
        let page = Page {
            outcome: word,
            name: match self.extent {
                Extent::Full => "What the gateway promises",
                Extent::Short => "What the gateway promises, the short form",
            },
            kicker: &format!("loadgen {loadgen} prove, {started}"),
            verdict: Said { class, word, meaning: &meaning, reasons: &reasons },
            sections: &sections,
            origin: &format!("Made by loadgen {loadgen}."),
            script: None,
        };
        page.html()
    }

    /// How much of each bound is used, where that can be said.
    fn write_bounds(&self, out: &mut String) {
        let spots: Vec<Spot> = self.targets.iter().flat_map(TargetReport::spots).collect();
        let most = spots.iter().map(|spot| match spot.shape {
            Shape::Bar(used) | Shape::Spot(used, _) => used,
        });
        let high = 1.05 * most.fold(1.0, f64::max).min(USED_SHARE_MAX);
        let show = |share: f64| format!("{:.0} %", 100.0 * share);
        let forest = Forest {
            title: "How much of each bound is used",
            note: "Of an upper bound, what was measured; of a lower one, the bound by what was measured. The dashed line \
                   is the bound. Targets that allow nothing, such as losses, have no bar.",
            axis: Axis { low: 0.0, high, logarithmic: false, show: &show },
            mark: Some(1.0),
            band: None,
            spots,
        };
        forest.write(out);
    }

    fn write_targets(&self, out: &mut String) {
        begin_text(out, "Targets", &["target", "documents", "held to", "measured", "verdict"], &[1, 2]);
        for target in &self.targets {
            let TargetReport { what, documents, scaled, verdict, .. } = target;
            let asked = format!("{}{}", target.asked(), if *scaled { " (scaled)" } else { "" });
            let (class, word) = match verdict {
                Verdict::Met => ("met", "met"),
                Verdict::Missed => ("missed", "missed"),
                Verdict::Invalid => ("unsure", "not judged"),
            };
            let _ = write!(out, "<tr><th scope=\"row\" class=\"text\">{}</th>", escaped(what));
            for text in [documents, &asked] {
                let _ = write!(out, "<td class=\"text\">{}</td>", escaped(text));
            }
            let _ = write!(out, "<td>{}</td><td class=\"{class}\">{word}</td></tr>", escaped(&target.measured()));
        }
        end(out);
    }

    fn write_runs(&self, out: &mut String, linked: bool) {
        let columns = ["run", "scenario", "what the checks object to", "what made figures worse"];
        begin_text(out, "Runs", &columns, &[1, 2, 3]);
        for run in &self.runs {
            let name = escaped(&run.name);
            let name = match linked && is_plain(&run.name) {
                true => format!("<a href=\"{name}/report.html\">{name}</a>"),
                false => name,
            };
            let complaints = run.complaints();
            let complaints = if complaints.is_empty() { "nothing".to_owned() } else { complaints.join("; ") };
            let class = if run.complaints().is_empty() { "text" } else { "text missed" };
            let _ = write!(
                out,
                "<tr><th scope=\"row\">{name}</th><td class=\"text\">{}</td><td class=\"{class}\">{}</td><td \
                 class=\"text\">{}</td></tr>",
                escaped(&run.scenario),
                escaped(&complaints),
                escaped(&run.warnings.join("; "))
            );
        }
        end(out);
    }
}

/// Whether a name is one part of a path as it stands.
fn is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    !name.is_empty() && name.chars().all(plain)
}

impl TargetReport {
    /// A bar for each objective that has a bound to use, in each of its runs.
    fn spots(&self) -> Vec<Spot> {
        let bars = self.slos.iter().filter_map(|(_, slo)| {
            let (used, measured) = (slo.used?, slo.measured?);
            let class = match (self.verdict, slo.met) {
                (Verdict::Invalid, _) => "warn",
                (_, true) => "good",
                (_, false) => "bad",
            };
            let at = slo.slo.find(['<', '>', '=']).unwrap_or(slo.slo.len());
            let (name, bound) = slo.slo.split_at(at);
            let told = format!("{} ({bound})", shown(measured, &slo.unit));
            Some((name.trim(), Spot { name: self.what.clone(), told, class, shape: Shape::Bar(used) }))
        });
        let mut bars: Vec<(&str, Spot)> = bars.collect();
        // Of several objectives each has its own name.
        let several = bars.iter().any(|(name, _)| *name != bars[0].0);
        for (name, spot) in bars.iter_mut().filter(|_| several) {
            spot.name = format!("{}: {name}", spot.name);
        }
        bars.into_iter().map(|(_, spot)| spot).collect()
    }
}

impl RunReport {
    /// What the checks object to, and why the run says nothing if it does not.
    fn complaints(&self) -> Vec<String> {
        let invalid = self.invalid.iter().map(|reason| format!("invalid: {reason}"));
        self.objections.iter().cloned().chain(invalid).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::tests::{EVIL, check};
    use crate::prove::tests::proof;
    use crate::report::tests::sample;

    #[test]
    fn the_page_shows_the_verdict_the_bounds_the_targets_and_the_runs() {
        let mut proof = proof(&[Verdict::Met, Verdict::Missed, Verdict::Invalid]);
        for (target, used) in proof.targets.iter_mut().zip([Some(0.25), Some(1.5), None]) {
            target.slos[0].1.used = used;
        }
        let text = proof.html(true);
        check(&text);
        assert!(text.contains(
            "<div class=\"verdict bad\" role=\"status\"><strong>Missed</strong>1 of 3 targets met, 1 MISSED"
        ));
        assert!(text.contains("<li>run late: invalid: sends 9 ms late</li>"), "{text}");
        // The axis ends a twentieth behind the largest.
        for (class, share) in [("good", 0.25), ("bad", 1.5)] {
            let bar =
                format!("<rect class=\"fill {class}\" x=\"0\" y=\"6\" width=\"{:.2}%\"", 100.0 * share / (1.05 * 1.5));
            assert_eq!(text.matches(&bar).count(), 1, "{bar}\n{text}");
        }
        assert_eq!(text.matches("role=\"img\"").count(), 2);
        assert!(text.contains("<td class=\"met\">met</td>") && text.contains("<td class=\"missed\">missed</td>"));
        assert!(text.contains("<td class=\"unsure\">not judged</td>") && text.contains("errors==0 (scaled)"));
        assert!(text.contains("<a href=\"good/report.html\">good</a>"), "{text}");
        assert!(!proof.html(false).contains("href=\"good"));
    }

    #[test]
    fn the_verdict_has_the_colour_of_the_exit_code() {
        let colour = |verdicts: &[Verdict]| {
            let text = proof(verdicts).html(false);
            ["good", "bad", "warn"].into_iter().find(|class| text.contains(&format!("class=\"verdict {class}\"")))
        };
        assert_eq!(colour(&[Verdict::Met]), Some("good"));
        assert_eq!(colour(&[Verdict::Met, Verdict::Missed, Verdict::Invalid]), Some("bad"));
        assert_eq!(colour(&[Verdict::Met, Verdict::Invalid]), Some("warn"));
    }

    #[test]
    fn nothing_from_outside_is_taken_for_markup() {
        let mut proof = proof(&[Verdict::Missed]);
        let target = &mut proof.targets[0];
        (target.what, target.documents) = (EVIL.to_owned(), EVIL.to_owned());
        let slo = &mut target.slos[0].1;
        (slo.slo, slo.unit, slo.used) = (EVIL.to_owned(), EVIL.to_owned(), Some(0.5));
        for run in &mut proof.runs {
            (run.name, run.scenario) = (EVIL.to_owned(), EVIL.to_owned());
            (run.objections, run.warnings) = (vec![EVIL.to_owned()], vec![EVIL.to_owned()]);
        }
        proof.flags = vec![EVIL.to_owned()];
        let mut environment = sample().environment;
        (environment.loadgen, environment.started) = (EVIL.to_owned(), EVIL.to_owned());
        proof.environment = Some(environment);
        let text = proof.html(true);
        check(&text);
        assert!(!text.contains("href=\"&lt;"), "a name that is no plain one is no link");
    }

    #[test]
    fn only_a_plain_name_is_a_link() {
        for (name, plain) in [("a", true), ("a-b_9", true), ("", false), ("..", false), ("a/b", false), ("a b", false)]
        {
            assert_eq!(is_plain(name), plain, "{name:?}");
        }
    }
}
