//! What the gateway's own `doctor` says of the machine: its findings stand beside the figures that they explain.
//!
//! The program is asked before a run, for as long and as much as `limits` allows. That it says nothing is told with the
//! reason and is no fault of the run. It looks at the machine that it runs on: the server's, if that is the same.

use std::fmt;
use std::io::{self, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::limits::{DOCTOR_BYTES_MAX, DOCTOR_NS};
use crate::words::counted;

/// What came of asking.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum Doctor {
    /// It said nothing that is understood.
    Silent {
        /// The program that was asked.
        program: String,
        /// Why nothing is known.
        reason: String,
    },
    /// It said what it found.
    Heard {
        /// The program that was asked.
        program: String,
        /// Connections that it planned for.
        connections: u64,
        /// How much is as it is wanted.
        well_count: usize,
        /// What is not, the worst first.
        findings: Vec<Ailment>,
        /// What this machine does not have.
        absent: Vec<String>,
    },
}

/// One thing that is not as it is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ailment {
    /// Its name in the doctor's table.
    pub name: String,
    /// How bad it is: `error`, `warning` or `note`.
    pub severity: String,
    /// Where it was read.
    pub place: String,
    /// What was read.
    pub seen: String,
    /// What is wanted.
    pub wanted: String,
    /// Why.
    pub why: String,
    /// What to do.
    #[serde(default)]
    pub fix: Option<String>,
}

/// The part of `doctor --json` that is read.
#[derive(Deserialize)]
struct Told {
    plan: Plan,
    checks: Vec<Ailment>,
    absent: Vec<String>,
}

#[derive(Deserialize)]
struct Plan {
    connections: u64,
}

/// The doctor's words for how bad something is, the worst first.
const SEVERITIES: [&str; 3] = ["error", "warning", "note"];
/// Its word for what is as it is wanted.
const WELL: &str = "ok";

impl Doctor {
    /// Asks the program about a machine for so many connections.
    #[must_use]
    pub fn ask(program: &Path, connections: usize) -> Self {
        let name = program.display().to_string();
        match answer(program, connections, DOCTOR_NS).and_then(|text| Told::parse(&text)) {
            Ok(told) => told.heard(name),
            Err(reason) => Self::Silent { program: name, reason },
        }
    }

    /// What is not as it is wanted, the worst first.
    #[must_use]
    pub fn findings(&self) -> &[Ailment] {
        match self {
            Self::Silent { .. } => &[],
            Self::Heard { findings, .. } => findings,
        }
    }
}

impl Told {
    fn parse(text: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(text).map_err(|error| format!("its answer is none that is understood: {error}"))
    }

    fn heard(self, program: String) -> Doctor {
        let count = self.checks.len();
        let mut findings: Vec<Ailment> = self.checks.into_iter().filter(|check| check.severity != WELL).collect();
        let well_count = count - findings.len();
        // A word of a later version stands behind those that are known.
        findings.sort_by_key(|finding| SEVERITIES.iter().position(|&word| word == finding.severity).unwrap_or(3));
        Doctor::Heard { program, connections: self.plan.connections, well_count, findings, absent: self.absent }
    }
}

/// What the program writes to standard output; it and all that it started are gone afterwards.
fn answer(program: &Path, connections: usize, limit_ns: u64) -> Result<Vec<u8>, String> {
    let mut command = Command::new(program);
    command.args(["doctor", "--json", "--connections", &connections.to_string()]);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0).spawn();
    let mut child = child.map_err(|error| format!("cannot be started: {error}"))?;
    let read = read(&mut child, limit_ns);
    // A group that has ended by itself is not there any more.
    let _ended =
        i32::try_from(child.id()).ok().and_then(Pid::from_raw).map(|group| kill_process_group(group, Signal::KILL));
    let status = child.wait().map_err(|error| format!("cannot be waited for: {error}"))?;
    let text = read?;
    // Findings have exit codes of their own.
    if text.is_empty() { Err(format!("it said nothing and ended with {status}")) } else { Ok(text) }
}

fn read(child: &mut Child, limit_ns: u64) -> Result<Vec<u8>, String> {
    let Some(stdout) = &mut child.stdout else { return Ok(Vec::new()) };
    let broken = |error: &dyn fmt::Display| format!("its answer cannot be read: {error}");
    let clock = Clock::start();
    let (mut text, mut buffer) = (Vec::new(), vec![0; 16 * 1024]);
    loop {
        let left_ns = limit_ns.saturating_sub(clock.now_ns());
        if left_ns == 0 {
            return Err(format!("no whole answer within {} s", limit_ns as f64 / 1e9));
        }
        let left = Timespec::try_from(std::time::Duration::from_nanos(left_ns)).map_err(|error| broken(&error))?;
        match poll(&mut [PollFd::new(stdout, PollFlags::IN)], Some(&left)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => continue,
            Ok(_) => {}
            Err(error) => return Err(broken(&error)),
        }
        match stdout.read(&mut buffer) {
            Ok(0) => return Ok(text),
            Ok(count) => text.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(broken(&error)),
        }
        if text.len() > DOCTOR_BYTES_MAX {
            return Err(format!("its answer is longer than {DOCTOR_BYTES_MAX} bytes"));
        }
    }
}

impl fmt::Display for Doctor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent { program, reason } => write!(f, "nothing is known from {program}: {reason}"),
            Self::Heard { program, connections, well_count, findings, absent } => {
                for word in SEVERITIES {
                    let count = findings.iter().filter(|finding| finding.severity == word).count();
                    write!(f, "{}, ", counted(count, word))?;
                }
                let absent = absent.len();
                let connections = counted(connections, "connection");
                write!(f, "{well_count} as wanted, {absent} not here, for {connections}, says {program}")
            }
        }
    }
}

impl fmt::Display for Ailment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, severity, seen, wanted, .. } = self;
        write!(f, "{severity}: {name} is {seen}, wanted {wanted}")
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;

    use super::*;

    /// A doctor that found one thing of each kind, in its own words.
    pub(crate) fn heard(word: &str) -> Doctor {
        let finding = |severity: &str| Ailment {
            name: format!("{severity} {word}"),
            severity: severity.to_owned(),
            place: word.to_owned(),
            seen: word.to_owned(),
            wanted: word.to_owned(),
            why: word.to_owned(),
            fix: Some(word.to_owned()),
        };
        let findings = SEVERITIES.map(finding).into();
        let absent = vec![word.to_owned()];
        Doctor::Heard { program: word.to_owned(), connections: 100, well_count: 7, findings, absent }
    }

    /// A program that is gone with the test.
    struct Program(PathBuf);

    impl Program {
        fn new(name: &str, script: &str) -> Self {
            let path = std::env::temp_dir().join(format!("loadgen-doctor-{name}-{}", std::process::id()));
            // Written under another name, or a fork of another test's may still have it open for writing.
            let made = path.with_extension("made");
            std::fs::write(&made, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&made, std::fs::Permissions::from_mode(0o700)).unwrap();
            std::fs::copy(&made, &path).unwrap();
            std::fs::remove_file(made).unwrap();
            Self(path)
        }
    }

    impl Drop for Program {
        fn drop(&mut self) {
            let _already_gone = std::fs::remove_file(&self.0);
        }
    }

    const ANSWER: &str = r#"{"plan":{"connections":9,"shards":2,"memory_bytes":1},"errors":1,"warnings":0,"notes":1,
        "checks":[{"name":"a","severity":"ok","place":"/p","seen":"1","wanted":"1","why":"w","fix":null},
        {"name":"b","severity":"note","place":"/p","seen":"1","wanted":"2","why":"w","fix":"f"},
        {"name":"c","severity":"error","place":"/p","seen":"1","wanted":"3","why":"w","fix":"f"}],"absent":["d"]}"#;

    #[test]
    fn findings_are_kept_the_worst_first_whatever_the_exit_code() {
        let program = Program::new(
            "heard",
            &format!("[ \"$*\" = 'doctor --json --connections 9' ] || exit 9\ncat <<'END'\n{ANSWER}\nEND\nexit 2"),
        );
        let found = Doctor::ask(&program.0, 9);
        let names: Vec<&str> = found.findings().iter().map(|finding| finding.name.as_str()).collect();
        assert_eq!(names, ["c", "b"], "{found}");
        let text = found.to_string();
        let expected = "1 error, 0 warnings, 1 note, 1 as wanted, 1 not here, for 9 connections, says /";
        assert!(text.starts_with(expected), "{text}");
        let json = serde_json::to_string(&found).unwrap();
        assert!(json.contains("\"state\":\"heard\""), "{json}");
        assert_eq!(serde_json::from_str::<Doctor>(&json).unwrap(), found);
    }

    #[test]
    fn a_doctor_that_says_nothing_is_told_with_the_reason() {
        let check = |path: &Path, word: &str| {
            let found = Doctor::ask(path, 9);
            let Doctor::Silent { reason, .. } = &found else { panic!("{found}") };
            assert!(reason.contains(word) && found.findings().is_empty(), "{reason}");
            assert!(found.to_string().starts_with(&format!("nothing is known from {}: ", path.display())), "{found}");
        };
        check(Path::new("/nowhere/waystation"), "cannot be started: ");
        check(&Program::new("mute", "exit 3").0, "it said nothing and ended with exit status: 3");
        check(&Program::new("other", "echo no such command").0, "its answer is none that is understood: ");
        let much = format!("head -c {} /dev/zero", DOCTOR_BYTES_MAX + 1);
        check(&Program::new("much", &much).0, "its answer is longer than ");
        check(&Program::new("most", &format!("head -c {DOCTOR_BYTES_MAX} /dev/zero")).0, "none that is understood");
    }

    #[test]
    fn a_doctor_that_does_not_end_is_ended_with_all_that_it_started() {
        // Its child has the same standard output, and tells its id by it.
        let program = Program::new("slow", "sleep 600 & echo $!; wait");
        let clock = Clock::start();
        let error = answer(&program.0, 1, 300_000_000).unwrap_err();
        assert!(error.contains("no whole answer within 0.3 s") && clock.now_ns() < 60_000_000_000, "{error}");
    }
}
