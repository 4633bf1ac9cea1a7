//! The directory of a run: `summary.json`, and what is made from it for people and for other programs.
//!
//! Each file is written under another name and renamed, `summary.json` as the last: a directory that has one is whole.
//! Everything but `summary.json` can be made again from it.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::clock::Clock;
use crate::crash::CrashReport;
use crate::report::{Report, ci, html, intervals, junit, markdown, percentiles, rows};

/// The file that all others are made from.
const SUMMARY: &str = "summary.json";
/// The markdown file.
const MARKDOWN: &str = "report.md";

/// A directory for the result of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDirectory {
    path: PathBuf,
}

impl RunDirectory {
    /// A directory that may be written into; `auto` stands for one in `runs`, named by the scenario and the time.
    ///
    /// # Errors
    /// It cannot be made, or has a result and `force` is not given.
    pub fn prepare(wanted: &str, scenario: &str, force: bool) -> Result<Self, String> {
        let path = if wanted == "auto" { automatic(scenario) } else { PathBuf::from(wanted) };
        if path.join(SUMMARY).exists() && !force {
            return Err(format!("{} has a result: name another directory, or --force", path.display()));
        }
        fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self { path })
    }

    /// A directory that has a result.
    ///
    /// # Errors
    /// It has none.
    pub fn open(path: &Path) -> Result<Self, String> {
        if path.join(SUMMARY).is_file() {
            return Ok(Self { path: path.to_owned() });
        }
        Err(format!("{} has no {SUMMARY}: not the directory of a run", path.display()))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a whole result.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write(&self, report: &Report) -> Result<(), String> {
        let summary = report.to_json()? + "\n";
        // An older result must not stand beside newer files.
        match fs::remove_file(self.path.join(SUMMARY)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(format!("{}: {error}", self.path.join(SUMMARY).display()));
            }
            _ => {}
        }
        self.write_derived(report)?;
        self.put(SUMMARY, &summary)
    }

    /// Writes everything that follows from the result.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write_derived(&self, report: &Report) -> Result<(), String> {
        for (name, text) in derived(report)? {
            self.put(name, &text)?;
        }
        Ok(())
    }

    /// Writes the result of a trial, which is two files.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write_crash(&self, report: &CrashReport) -> Result<(), String> {
        self.put(MARKDOWN, &report.markdown())?;
        self.put(SUMMARY, &(report.to_json()? + "\n"))
    }

    fn put(&self, name: &str, text: &str) -> Result<(), String> {
        let (place, temporary) = (self.path.join(name), self.path.join(format!(".{name}.part")));
        let written = fs::write(&temporary, text).and_then(|()| fs::rename(&temporary, &place));
        written.map_err(|error| format!("{}: {error}", place.display()))
    }
}

/// Appends the markdown report to the summary of a job, if one is running: GitHub names the file.
///
/// # Errors
/// The file cannot be written.
pub fn append_step_summary(report: &Report, path: Option<&Path>) -> Result<(), String> {
    let Some(path) = path else { return Ok(()) };
    let file = OpenOptions::new().append(true).create(true).open(path);
    let written = file.and_then(|mut file| file.write_all(markdown::page(report).as_bytes()));
    written.map_err(|error| format!("{}: {error}", path.display()))
}

/// All files but the summary, by name.
fn derived(report: &Report) -> Result<Vec<(&'static str, String)>, String> {
    let (latency, uncorrected) = (report.latency(), report.latency_uncorrected());
    let mut files = vec![
        ("latency.hgrm", percentiles::page(&latency)),
        ("latency-uncorrected.hgrm", percentiles::page(&uncorrected)),
        ("latency.hlog", intervals::log(report)?),
        ("timeline.csv", rows::page(&report.timeline)),
        ("bmf.json", ci::bencher(report)?),
        ("gab.json", ci::smaller_is_better(report)?),
        ("gab-bigger.json", ci::bigger_is_better(report)?),
        ("junit.xml", junit::page(report)),
        (MARKDOWN, markdown::page(report)),
        ("report.html", html::page(report)?),
    ];
    if !report.openings.is_empty() {
        files.push(("opening.hgrm", percentiles::page(&report.latency_of_openings())));
    }
    Ok(files)
}

fn automatic(scenario: &str) -> PathBuf {
    let tame = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '-' };
    let name: String = scenario.chars().take(64).map(tame).collect();
    let time = humantime::format_rfc3339_seconds(Clock::today()).to_string().replace([':', '-'], "");
    PathBuf::from("runs").join(format!("{name}-{time}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;

    /// A directory that is gone after the test.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("loadgen-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            Self(path)
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(&self.0).unwrap();
            let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_run_has_all_its_files_and_they_can_be_made_again() {
        let place = Place::new("whole");
        let report = sample();
        let directory = RunDirectory::prepare(place.0.to_str().unwrap(), "x", false).unwrap();
        directory.write(&report).unwrap();
        let expected = [
            "bmf.json",
            "gab-bigger.json",
            "gab.json",
            "junit.xml",
            "latency-uncorrected.hgrm",
            "latency.hgrm",
            "latency.hlog",
            "opening.hgrm",
            "report.html",
            "report.md",
            "summary.json",
            "timeline.csv",
        ];
        assert_eq!(place.names(), expected);
        let before: Vec<String> = expected.map(|name| fs::read_to_string(place.0.join(name)).unwrap()).into();
        for name in expected.iter().filter(|&&name| name != SUMMARY) {
            fs::remove_file(place.0.join(name)).unwrap();
        }
        let read = Report::load(&place.0).unwrap();
        RunDirectory::open(&place.0).unwrap().write_derived(&read).unwrap();
        let after: Vec<String> = expected.map(|name| fs::read_to_string(place.0.join(name)).unwrap()).into();
        assert_eq!(after, before);
    }

    #[test]
    fn a_result_is_not_written_over_unless_that_is_wanted() {
        let place = Place::new("force");
        let wanted = place.0.to_str().unwrap();
        RunDirectory::prepare(wanted, "x", false).unwrap().write(&sample()).unwrap();
        let error = RunDirectory::prepare(wanted, "x", false).unwrap_err();
        assert!(error.contains("--force") && error.contains(wanted), "{error}");
        RunDirectory::prepare(wanted, "x", true).unwrap().write(&sample()).unwrap();
        // A directory without a result is free.
        fs::remove_file(place.0.join(SUMMARY)).unwrap();
        assert!(RunDirectory::prepare(wanted, "x", false).is_ok());
        let error = RunDirectory::open(&place.0).unwrap_err();
        assert!(error.contains("no summary.json"), "{error}");
        assert!(Report::load(&place.0).unwrap_err().contains(SUMMARY));
    }

    #[test]
    fn automatic_names_stay_in_their_directory() {
        let path = automatic("../../etc/pass wd\n");
        assert_eq!(path.parent(), Some(Path::new("runs")));
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("------etc-pass-wd--2") && name.ends_with('Z'), "{name}");
    }

    #[test]
    fn the_summary_of_a_job_is_appended_to() {
        let place = Place::new("step");
        fs::create_dir_all(&place.0).unwrap();
        let file = place.0.join("step.md");
        fs::write(&file, "before\n").unwrap();
        append_step_summary(&sample(), Some(&file)).unwrap();
        append_step_summary(&sample(), None).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("before\n") && text.ends_with(&markdown::page(&sample())));
        assert!(append_step_summary(&sample(), Some(&place.0)).is_err());
    }
}
