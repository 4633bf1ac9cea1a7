//! Several contests of the same two servers from one file: what the gateway promises beside a bare loop, row by row.

use std::fmt::{self, Write as _};
use std::io::Write;

use serde::{Deserialize, Serialize};

use crate::limits::{REPEATS_COUNT_MAX, REPEATS_COUNT_MIN, SUITE_ROWS_COUNT_MAX};
use crate::pair::{Comparison, Contest};
use crate::plan::Setting;
use crate::scenario::Scenario;

/// Rows as written.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suite {
    /// Pairs of each row.
    pub pairs: usize,
    /// The contests.
    pub row: Vec<Row>,
}

/// One contest.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// What is compared, for people.
    pub name: String,
    /// A scenario's name or file.
    pub scenario: String,
    /// Changes to it, as `--set` takes them.
    #[serde(default)]
    pub set: Vec<String>,
    /// What the upper 95 % bound of the median ratio must not exceed.
    pub bound: f64,
}

/// What came out of all rows.
#[derive(Debug, Serialize)]
pub struct SuiteResult {
    /// In the file's order.
    pub rows: Vec<RowResult>,
}

/// What came out of one.
#[derive(Debug, Serialize)]
pub struct RowResult {
    /// As asked for.
    #[serde(flatten)]
    pub row: Row,
    /// What was measured.
    pub comparison: Comparison,
}

impl Suite {
    /// Reads a suite.
    ///
    /// # Errors
    /// Says which key is wrong, and what it must be.
    pub fn parse(text: &str) -> Result<Self, String> {
        let suite: Self = toml::from_str(text).map_err(|error| format!("suite: {error}"))?;
        if suite.pairs < REPEATS_COUNT_MIN || suite.pairs > REPEATS_COUNT_MAX {
            return Err(format!("suite: pairs {} must be {REPEATS_COUNT_MIN} to {REPEATS_COUNT_MAX}", suite.pairs));
        }
        if suite.row.is_empty() || suite.row.len() > SUITE_ROWS_COUNT_MAX {
            return Err(format!("suite: {} rows: must be 1 to {SUITE_ROWS_COUNT_MAX}", suite.row.len()));
        }
        for (number, row) in suite.row.iter().enumerate() {
            if row.name.is_empty() || suite.row[..number].iter().any(|earlier| earlier.name == row.name) {
                return Err(format!("suite: row {number}: name {:?} must be there and stand once", row.name));
            }
            if !(row.bound > 0.0 && row.bound.is_finite()) {
                return Err(format!("suite: row {:?}: bound {} must be above 0", row.name, row.bound));
            }
        }
        Ok(suite)
    }

    /// Runs all rows with `changes` on top of each row's own, telling `progress` about each pair.
    ///
    /// # Errors
    /// A row's scenario is wrong, which is found before the first row runs; a server did not start, or a run could not
    /// be made.
    pub fn run(
        &self,
        contest: Contest<'_>,
        changes: &[String],
        settings: &mut [Setting; 2],
        progress: &mut dyn Write,
    ) -> Result<SuiteResult, String> {
        let scenarios = self.row.iter().map(|row| {
            let changes: Vec<String> = row.set.iter().chain(changes).cloned().collect();
            Scenario::load(&row.scenario, &changes).map_err(|error| format!("suite: row {:?}: {error}", row.name))
        });
        let scenarios: Vec<Scenario> = scenarios.collect::<Result<_, String>>()?;
        let contest = Contest { pairs: self.pairs, ..contest };
        let mut rows = Vec::new();
        for (row, scenario) in self.row.iter().zip(&scenarios) {
            // Progress that cannot be written is no reason to stop.
            let _ = writeln!(progress, "{}", row.name);
            let comparison = contest.run(scenario, settings, Some(row.bound), progress);
            let comparison = comparison.map_err(|error| format!("row {:?}: {error}", row.name))?;
            rows.push(RowResult { row: row.clone(), comparison });
        }
        Ok(SuiteResult { rows })
    }
}

impl SuiteResult {
    /// 0 good, 1 a run failed or was invalid, 3 a bound is not shown to be kept.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        let codes = || self.rows.iter().map(|row| row.comparison.exit_code());
        codes().find(|&code| code == 1).or_else(|| codes().max()).unwrap_or(0)
    }

    /// The table as markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut table = "| CPU per delivery, a / b | pairs | median | quartiles | upper 95 % bound | allowed | p | |\n\
                         |---|--:|--:|--:|--:|--:|--:|---|\n"
            .to_owned();
        for RowResult { row, comparison } in &self.rows {
            let verdict = &comparison.verdict;
            let [low, high] = verdict.quartiles;
            let upper = verdict.upper.map_or_else(|| "none".to_owned(), |upper| format!("{upper:.3}"));
            // Writing to a string cannot fail.
            let _ = writeln!(
                table,
                "| {} | {} | {:.3} | {low:.3} to {high:.3} | {upper} | {} | {:.3} | {} |",
                row.name,
                comparison.ratios.len(),
                verdict.median,
                row.bound,
                verdict.sign_p,
                comparison.word(),
            );
        }
        table
    }
}

impl fmt::Display for SuiteResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rows.iter().map(|row| row.row.name.chars().count()).max().unwrap_or(0).max(24);
        writeln!(f, "{:<width$}  median  quartiles      upper  allowed  p", "CPU per delivery, a / b")?;
        for RowResult { row, comparison } in &self.rows {
            let verdict = &comparison.verdict;
            let [low, high] = verdict.quartiles;
            let upper = verdict.upper.map_or_else(|| "none".to_owned(), |upper| format!("{upper:.3}"));
            writeln!(
                f,
                "{:<width$}  {:>6.3}  {low:>5.3} to {high:<5.3} {upper:>6}  {:>7}  {:<6.3} {}",
                row.name,
                verdict.median,
                row.bound,
                verdict.sign_p,
                comparison.word(),
            )?;
            comparison.write_parts(f)?;
        }
        for RowResult { row, comparison } in &self.rows {
            for objection in &comparison.objections {
                writeln!(f, "OBJECTION {}: {objection}", row.name)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pair::Parts;

    const ROW: &str = "[[row]]\nname = 'x'\nscenario = 'echo'\nbound = 1.1\n";

    #[test]
    fn the_suite_beside_the_floor_is_read_and_its_scenarios_too() {
        let suite = Suite::parse(include_str!("../../../benches/floor/pairs.toml")).unwrap();
        let bounds: Vec<f64> = suite.row.iter().map(|row| row.bound).collect();
        assert_eq!(bounds, [1.08, 1.15, 1.08, 1.15, 1.40, 1.20, 1.12, 1.20]);
        assert_eq!(suite.pairs, 15);
        for row in &suite.row {
            Scenario::load(&row.scenario, &row.set).unwrap();
        }
    }

    #[test]
    fn what_is_wrong_in_a_suite_is_named() {
        let check = |text: &str, word: &str| {
            let error = Suite::parse(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        };
        check(ROW, "pairs");
        check("pairs = 5\nrow = []", "0 rows");
        check(&format!("pairs = 4\n{ROW}"), "pairs 4 must be 5 to 1000");
        check(&format!("pairs = 1001\n{ROW}"), "pairs 1001");
        check(&format!("pairs = 5\n{ROW}{ROW}"), "stand once");
        check(&format!("pairs = 5\n{}", ROW.replace("'x'", "''")), "must be there");
        check(&format!("pairs = 5\n{}", ROW.replace("1.1", "0.0")), "bound 0 must");
        check(&format!("pairs = 5\n{}", ROW.replace("1.1", "inf")), "bound inf must");
        check(&format!("pairs = 5\n{ROW}what = 1"), "what");
        let many: String =
            (0..=SUITE_ROWS_COUNT_MAX).map(|number| ROW.replace("'x'", &format!("'{number}'"))).collect();
        check(&format!("pairs = 5\n{many}"), "65 rows");
        for pairs in [5, 1000] {
            Suite::parse(&format!("pairs = {pairs}\n{ROW}")).unwrap();
        }
    }

    fn result(name: &str, objections: &[&str], ratio: f64) -> RowResult {
        let ratios = vec![ratio; 5];
        let comparison = Comparison {
            verdict: crate::pair::Verdict::new(&ratios, Some(1.1)),
            parts_us_per_delivery: [Parts { user: 1.25, system: 4.0 }, Parts { user: 0.5, system: 4.125 }],
            ratios,
            objections: objections.iter().map(|&objection| objection.to_owned()).collect(),
            ..Comparison::default()
        };
        let row = Row { name: name.to_owned(), scenario: "echo".to_owned(), set: Vec::new(), bound: 1.1 };
        RowResult { row, comparison }
    }

    #[test]
    fn one_row_decides_the_code_and_a_failed_run_goes_before_a_bound() {
        let check = |rows: Vec<RowResult>, code: u8| {
            let result = SuiteResult { rows };
            assert_eq!(result.exit_code(), code, "{result}");
        };
        check(vec![result("x", &[], 1.1), result("y", &[], 1.0)], 0);
        check(vec![result("x", &[], 1.11), result("y", &[], 1.0)], 3);
        check(vec![result("x", &[], 1.11), result("y", &["late"], 1.0)], 1);
        check(vec![], 0);
    }

    #[test]
    fn both_tables_name_each_row_with_its_verdict() {
        let result = SuiteResult { rows: vec![result("rooms", &[], 1.0), result("echo", &["late"], 1.2)] };
        let text = result.to_string();
        assert!(text.contains("rooms") && text.contains("within") && text.contains("OBJECTION echo: late"), "{text}");
        assert!(text.contains("a 1.250 + 4.000 us  b 0.500 + 4.125 us  a - b +0.750 -0.125 us"), "{text}");
        let markdown = result.markdown();
        assert!(markdown.contains("| rooms | 5 | 1.000 | 1.000 to 1.000 | 1.000 | 1.1 | "), "{markdown}");
        assert!(markdown.contains("| failed |"), "{markdown}");
    }
}
