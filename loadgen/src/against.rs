//! The same scenario against several servers, in turn, side by side in one result.
//!
//! Runs are interleaved: each repeat goes once through all servers and begins with the next one, so that a machine that
//! drifts weighs on all alike. A server with a command is started for each of its runs and ended after it; nothing else
//! is ever ended. `figures` has each server's median and interval, and says which servers they do not tell apart;
//! `table` and `page` show the result.
//!
//! What is compared is what a server does with one client's traffic, not what it promises: a server that gives no order
//! or keeps no history has less to do. What it does not promise stands beside its figures.

mod figures;
mod page;
mod table;

use std::io::Write;
use std::net::TcpStream;

use serde::Serialize;

use crate::adapter::Adapter;
use crate::engine::Target;
use crate::launch::Launched;
use crate::limits::{ENTRANTS_COUNT_MAX, REPEATS_COUNT_MAX};
use crate::plan::{self, Setting};
use crate::process::Process;
use crate::report::Report;
use crate::scenario::Scenario;

pub use figures::Figure;

/// One server as it is named on the command line.
#[derive(Debug)]
pub struct Entrant {
    /// What tables call it.
    pub name: String,
    /// Where it is and how it is spoken to.
    pub setting: Setting,
    /// Command that starts it; none for a server that runs already.
    pub command: Option<String>,
}

/// What is compared.
#[derive(Debug)]
pub struct Against {
    /// The servers.
    pub entrants: Vec<Entrant>,
    /// How often each is run.
    pub repeats: usize,
    /// Core for the servers that are started.
    pub server_cpu: Option<usize>,
}

/// What came out.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// The scenario's name.
    pub scenario: String,
    /// How often each server was run.
    pub repeats: usize,
    /// The servers, as they were named.
    pub servers: Vec<ServerOutcome>,
}

/// What came out for one server.
#[derive(Debug, Serialize)]
pub struct ServerOutcome {
    /// What tables call it.
    pub name: String,
    /// How it was spoken to.
    pub adapter: String,
    /// What it says it is.
    pub version: Option<String>,
    /// Command that started it.
    pub command: Option<String>,
    /// What it does not do that others may.
    pub without: Vec<String>,
    /// Its figures over its runs.
    pub figures: Vec<Figure>,
    /// Its runs.
    pub runs: Vec<Report>,
}

impl ServerOutcome {
    fn new(name: String, adapter: String, command: Option<String>, without: Vec<String>, runs: Vec<Report>) -> Self {
        let version = runs.iter().find_map(|run| run.server_version.clone());
        Self { name, adapter, version, command, without, figures: figures::of_runs(&runs), runs }
    }
}

impl Entrant {
    /// Reads `name=adapter@ws://host:port`, with `,pid=N` or `,start=COMMAND` behind it. The command is all that
    /// follows, so that it may hold commas.
    ///
    /// # Errors
    /// Says what is missing or wrong.
    pub fn parse(text: &str, tokens: &[String]) -> Result<Self, String> {
        let wrong = |what: &str| format!("--target {text}: {what}");
        let form = "must be name=adapter@ws://host:port[,pid=N | ,start='COMMAND']";
        let (name, rest) = text.split_once('=').ok_or_else(|| wrong(form))?;
        let (adapter, rest) = rest.split_once('@').ok_or_else(|| wrong(form))?;
        let (url, origin) = rest.split_once(',').map_or((rest, None), |(url, origin)| (url, Some(origin)));
        if name.is_empty() || name.chars().any(|c| c.is_control() || c == '|') {
            return Err(wrong("the name must not be empty, and have no control characters and no |"));
        }
        let target = Target::parse(url).map_err(|error| wrong(&error))?;
        let adapter = Adapter::load(adapter).map_err(|error| wrong(&error))?;
        let (mut server, mut command) = (None, None);
        match origin.map(|origin| origin.split_once('=').unwrap_or((origin, ""))) {
            None => {}
            Some(("pid", number)) => {
                let pid = number.parse().map_err(|_| wrong("pid must be a number"))?;
                server = Some(Process::new(pid).map_err(|error| wrong(&error))?);
            }
            Some(("start", start)) => {
                let bare = start.strip_prefix('\'').and_then(|start| start.strip_suffix('\'')).unwrap_or(start);
                if bare.trim().is_empty() {
                    return Err(wrong("start must be a command"));
                }
                command = Some(bare.to_owned());
            }
            Some((key, _)) => return Err(wrong(&format!("{key}: must be pid or start"))),
        }
        let setting = Setting { adapter, tokens: tokens.to_vec(), server, ..Setting::new(target) };
        Ok(Self { name: name.to_owned(), setting, command })
    }

    fn run(&mut self, scenario: &Scenario, server_cpu: Option<usize>) -> Result<Report, String> {
        let address = self.setting.target.address;
        let Some(command) = &self.command else {
            TcpStream::connect(address).map_err(|error| format!("{address} does not accept: {error}"))?;
            return plan::run(scenario, &self.setting);
        };
        let launched = Launched::start(command, server_cpu, self.setting.door())?;
        let outcome = Process::new(launched.id()).and_then(|process| {
            self.setting.server = Some(process);
            plan::run(scenario, &self.setting)
        });
        self.setting.server = None;
        launched.end()?;
        outcome
    }
}

impl Against {
    /// Checks that the servers can be told apart.
    ///
    /// # Errors
    /// Too few or too many, two of one name, or repeats out of bounds.
    pub fn check(&self) -> Result<(), String> {
        let count = self.entrants.len();
        if !(1..=ENTRANTS_COUNT_MAX).contains(&count) {
            return Err(format!("{count} targets: must be 1 to {ENTRANTS_COUNT_MAX}"));
        }
        if !(1..=REPEATS_COUNT_MAX).contains(&self.repeats) {
            return Err(format!("--repeats {}: must be 1 to {REPEATS_COUNT_MAX}", self.repeats));
        }
        for (index, entrant) in self.entrants.iter().enumerate() {
            if self.entrants[..index].iter().any(|other| other.name == entrant.name) {
                return Err(format!("--target {}: named twice", entrant.name));
            }
        }
        Ok(())
    }

    /// Runs all servers, telling `progress` about each run.
    ///
    /// # Errors
    /// A server did not start, or a run could not be made.
    pub fn run(mut self, scenario: &Scenario, progress: &mut dyn Write) -> Result<Outcome, String> {
        self.check()?;
        let count = self.entrants.len();
        let mut runs: Vec<Vec<Report>> = self.entrants.iter().map(|_| Vec::new()).collect();
        for repeat in 0..self.repeats {
            for turn in 0..count {
                let which = (repeat + turn) % count;
                let entrant = &mut self.entrants[which];
                let report =
                    entrant.run(scenario, self.server_cpu).map_err(|error| format!("{}: {error}", entrant.name))?;
                // The last word is the table's; a progress line that cannot be written is no reason to stop.
                let _ = writeln!(progress, "repeat {}  {:<14}{}", repeat + 1, entrant.name, table::line(&report));
                let _ = progress.flush();
                runs[which].push(report);
            }
        }
        let servers = self.entrants.into_iter().zip(runs).map(|(entrant, runs)| {
            let adapter = entrant.setting.adapter;
            let without = adapter.without(scenario);
            ServerOutcome::new(entrant.name, adapter.name, entrant.command, without, runs)
        });
        let mut servers: Vec<_> = servers.collect();
        figures::tell_apart(&mut servers);
        Ok(Outcome { scenario: scenario.name.clone(), repeats: self.repeats, servers })
    }
}

impl Outcome {
    /// The exit code: 0 all passed, 1 a check failed, 3 the generator was too late for a run's figures to mean anything.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        let codes = || self.servers.iter().flat_map(|server| &server.runs).map(Report::exit_code);
        if codes().any(|code| code == 1) { 1 } else { codes().max().unwrap_or(0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str, word: &str) {
        let error = Entrant::parse(text, &[]).unwrap_err();
        assert!(error.contains(text) && error.contains(word), "{error}");
    }

    #[test]
    fn targets_are_read_with_what_starts_them() {
        let read = |text: &str| Entrant::parse(text, &["t".to_owned()]).unwrap();
        let plain = read("ours=waystation@ws://127.0.0.1:8000");
        assert_eq!((plain.name.as_str(), plain.setting.adapter.name.as_str()), ("ours", "waystation"));
        assert_eq!((plain.setting.target.address.port(), plain.command), (8000, None));
        assert_eq!((plain.setting.tokens.len(), plain.setting.server.is_some()), (1, false));
        for start in ["node ws.cjs 8000", "a --b=c,d=e@f"] {
            for quoted in [start.to_owned(), format!("'{start}'")] {
                let started = read(&format!("n=ws@ws://127.0.0.1:8000,start={quoted}"));
                assert_eq!(started.command.as_deref(), Some(start));
            }
        }
        let own = std::process::id();
        assert!(read(&format!("n=ws@ws://127.0.0.1:8000,pid={own}")).setting.server.is_some());
    }

    #[test]
    fn wrong_targets_are_refused_with_what_they_must_be() {
        refused("waystation@ws://127.0.0.1:8000", "must be name=adapter@");
        refused("ours=ws://127.0.0.1:8000", "must be name=adapter@");
        refused("=ws@ws://127.0.0.1:8000", "name must not be empty");
        refused("a|b=ws@ws://127.0.0.1:8000", "no |");
        refused("n=wss@ws://127.0.0.1:8000", "write ws?");
        refused("n=ws@http://127.0.0.1:8000", "must start with ws://");
        refused("n=ws@ws://127.0.0.1:8000,pid=x", "pid must be a number");
        refused("n=ws@ws://127.0.0.1:8000,pid=4294967295", "processor time of process");
        refused("n=ws@ws://127.0.0.1:8000,start=' '", "start must be a command");
        refused("n=ws@ws://127.0.0.1:8000,stop=x", "must be pid or start");
    }

    #[test]
    fn servers_are_told_apart_and_bounded() {
        let against = |names: &[String], repeats| {
            let entrants =
                names.iter().map(|name| Entrant::parse(&format!("{name}=ws@ws://127.0.0.1:8000"), &[]).unwrap());
            Against { entrants: entrants.collect(), repeats, server_cpu: None }.check()
        };
        let names = |count: usize| (0..count).map(|number| format!("s{number}")).collect::<Vec<_>>();
        assert_eq!(against(&names(ENTRANTS_COUNT_MAX), 1), Ok(()));
        assert_eq!(against(&names(1), REPEATS_COUNT_MAX), Ok(()));
        for (names, repeats, word) in [
            (names(0), 1, "0 targets"),
            (names(ENTRANTS_COUNT_MAX + 1), 1, "targets: must be"),
            (names(2), 0, "--repeats 0"),
            (names(2), REPEATS_COUNT_MAX + 1, "--repeats"),
            (vec!["a".to_owned(), "a".to_owned()], 1, "named twice"),
        ] {
            let error = against(&names, repeats).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }
}
