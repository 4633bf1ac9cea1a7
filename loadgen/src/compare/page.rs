//! A comparison as a page: what it comes to, each change with its interval, the table, where the runs came from.

use std::fmt::Write as _;

use crate::compare::{Comparison, Row, Verdict};
use crate::page::{Axis, Forest, Page, Shape, Spot, Verdict as Said, begin, begin_text, end, escaped};

/// A change of more than this is drawn at the edge, so that one figure does not press all others together.
const CHANGE_SHARE_MAX: f64 = 1.0;

impl Comparison {
    /// The page.
    #[must_use]
    pub fn html(&self) -> String {
        let mut sections = String::new();
        self.write_changes(&mut sections);
        self.write_figures(&mut sections);
        self.write_runs(&mut sections);
        let unsure = self.rows.iter().any(|row| row.judged && row.verdict == Verdict::Unknown);
        let (class, word) = match self.exit_code() {
            0 if unsure => ("warn", "Unknown"),
            0 => ("good", "No regression"),
            3 => ("bad", "Regression"),
            _ => ("bad", "Failed"),
        };
        let loadgen = env!("CARGO_PKG_VERSION");
        let page = Page {
            outcome: word,
            name: &format!("{}, compared", self.scenario),
            kicker: &format!("loadgen {loadgen} compare, a change within {:.1} % is none", 100.0 * self.tolerance),
            verdict: Said { class, word, meaning: &self.conclusion(), reasons: &self.objections },
            sections: &sections,
            origin: &format!("Made by loadgen {loadgen}."),
            script: None,
        };
        page.html()
    }

    /// The changes from a to b that are shares.
    fn write_changes(&self, out: &mut String) {
        let rows = || self.shown().filter(|row| row.relative);
        let ends = rows().flat_map(|row| {
            let interval = row.interval.map(|interval| [interval.low, interval.high]);
            interval.into_iter().flatten().chain([row.change])
        });
        let most = ends.map(f64::abs).filter(|end| end.is_finite()).fold(2.0 * self.tolerance, f64::max);
        let edge = (1.1 * most.max(0.01)).min(CHANGE_SHARE_MAX);
        let show = |share: f64| if share == 0.0 { "0 %".to_owned() } else { format!("{:+.0} %", 100.0 * share) };
        let finer = |share: f64| if share == 0.0 { "0 %".to_owned() } else { format!("{:+.1} %", 100.0 * share) };
        let spots = rows().map(Row::spot).collect();
        let forest = Forest {
            title: "Changes from a to b",
            note: "Medians, with the interval in which the change lies with 95 % certainty where there are runs enough. \
                   What is shaded is no difference; what is beyond an edge stands at it.",
            axis: Axis { low: -edge, high: edge, logarithmic: false, show: if edge < 0.08 { &finer } else { &show } },
            mark: Some(0.0),
            band: Some([-self.tolerance, self.tolerance]),
            spots,
        };
        forest.write(out);
    }

    fn write_figures(&self, out: &mut String) {
        begin(out, "Figures", &["figure", "a", "b", "change", "95 % interval", "verdict"]);
        for row in self.shown() {
            let [a, b] = row.medians.map(|value| row.unit.show(value));
            let judged = if row.judged { " <small>judged</small>" } else { "" };
            let class = match row.verdict {
                Verdict::Better => "met",
                Verdict::Regression => "missed",
                Verdict::Worse => "unsure",
                _ => "plain",
            };
            let _ = write!(
                out,
                "<tr><th scope=\"row\">{}{judged}</th><td>{a}</td><td>{b}</td><td>{}</td><td>{}</td><td \
                 class=\"{class}\">{}</td></tr>",
                escaped(&row.name),
                row.shown_change(),
                row.shown_interval(),
                row.verdict
            );
        }
        end(out);
    }

    fn write_runs(&self, out: &mut String) {
        begin_text(out, "Runs", &["side", "from"], &[1]);
        for (side, sources) in ["a", "b"].into_iter().zip(&self.sources) {
            let from = escaped(&sources.join(", "));
            let _ = write!(out, "<tr><th scope=\"row\">{side}</th><td class=\"text\">{from}</td></tr>");
        }
        end(out);
        if !self.warnings.is_empty() {
            *out += "<h3>What makes the sides less comparable</h3><ul>";
            for warning in &self.warnings {
                let _ = write!(out, "<li>{}</li>", escaped(warning));
            }
            *out += "</ul>";
        }
    }
}

impl Row {
    fn spot(&self) -> Spot {
        let class = match self.verdict {
            Verdict::Better => "good",
            Verdict::Regression => "bad",
            Verdict::Worse => "warn",
            Verdict::NoDifference | Verdict::Other | Verdict::Unknown => "plain",
        };
        let ends = self.interval.map(|interval| [interval.low, interval.high]);
        let told = match ends {
            Some(_) => format!("{} ({})", self.shown_change(), self.shown_interval()),
            None => self.shown_change(),
        };
        Spot { name: self.name.clone(), told, class, shape: Shape::Spot(self.change, ends) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::tests::{compare, side};
    use crate::page::tests::{EVIL, check};

    #[test]
    fn the_page_shows_each_change_with_its_interval_and_what_it_says() {
        let colour = |a: usize, b: usize, factor: f64| {
            let comparison = compare(&side("a", a, 1, 1.0), &side("b", b, 2, factor));
            let text = comparison.html();
            check(&text);
            assert!(text.contains(&escaped(&comparison.conclusion())), "{text}");
            let found = ["good", "bad", "warn"].map(|class| text.contains(&format!("class=\"verdict {class}\"")));
            let drawn = ["plain", "good", "bad"].map(|class| text.matches(&format!("class=\"ends {class}\"")).count());
            (found, drawn.map(|count| count > 0))
        };
        let (good, bad, warn) = ([true, false, false], [false, true, false], [false, false, true]);
        assert_eq!(colour(5, 5, 1.0), (good, [true, false, false]));
        assert_eq!(colour(5, 5, 1.3), (bad, [true, false, true]));
        assert_eq!(colour(5, 5, 0.7), (good, [true, true, false]));
        assert_eq!(colour(1, 1, 2.0), (warn, [false, false, false]));
    }

    #[test]
    fn the_axis_holds_the_largest_change_up_to_double() {
        let edge = |factor: f64| {
            let text = compare(&side("a", 1, 1, 1.0), &side("b", 1, 2, factor)).html();
            text.split("text-anchor=\"end\">").nth(1).map(|rest| rest.split('<').next().unwrap_or_default().to_owned())
        };
        assert_eq!(edge(5.0).as_deref(), Some("+100 %"), "a change of 400 % stands at the edge");
        assert_ne!(edge(1.2).as_deref(), Some("+100 %"));
    }

    #[test]
    fn what_is_judged_and_what_warns_stands_in_it() {
        let mut comparison = compare(&side("a", 5, 1, 1.0), &side("b", 5, 2, 1.0));
        comparison.warnings = vec!["machines differ".to_owned()];
        comparison.objections = vec!["b b1: deliveries are faulty".to_owned()];
        let text = comparison.html();
        check(&text);
        assert!(text.contains("<th scope=\"row\">delivery.p99 <small>judged</small></th>"), "{text}");
        assert!(
            text.contains("<li>machines differ</li>") && text.contains("<td class=\"text\">a1, a2, a3, a4, a5</td>")
        );
        assert!(text.contains("<strong>Failed</strong>FAILED: 1 objections to the runs themselves<ul><li>b b1: "));
    }

    #[test]
    fn nothing_from_outside_is_taken_for_markup() {
        let mut comparison = compare(&side("a", 1, 1, 1.0), &side("b", 1, 2, 1.0));
        comparison.scenario = EVIL.to_owned();
        comparison.sources = [vec![EVIL.to_owned()], vec![EVIL.to_owned()]];
        (comparison.warnings, comparison.objections) = (vec![EVIL.to_owned()], vec![EVIL.to_owned()]);
        for row in &mut comparison.rows {
            row.name = EVIL.to_owned();
        }
        check(&comparison.html());
    }
}
