//! A pair in slices: both servers are up on the same core, and run in turn for some tens of milliseconds each.
//!
//! A core that is shared changes its speed from one second to the next. What runs second by second after one another
//! has different cores; what runs in slices has the same. Each side is a generator of its own, a process of this very
//! program, which hands the right to run to the other (`baton`): while one side runs, the other one's server is stopped
//! and its generator waits. Connections are opened by one side after the other; slices begin with the traffic, and each
//! side runs until it has had all of its own time, in which its server's processor time and its deliveries are counted.
//!
//! This process only starts, looks now and then, and ends: generators before servers, and no server stays stopped.

use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::baton::Place;
use crate::clock::Clock;
use crate::launch::Launched;
use crate::limits::{SIDE_ERROR_BYTES_MAX, SLICE_MS_MAX, SLICE_MS_MIN, SUMMARY_BYTES_MAX};
use crate::live::Stop;
use crate::pair::{Contest, name};
use crate::plan::{ENDED_EARLY, Setting};
use crate::report::Report;
use crate::scenario::Scenario;

/// Time between two looks at those who run: they need nobody for their slices.
const LOOK: Duration = Duration::from_millis(50);

/// How both sides of a pair are run in slices.
#[derive(Debug)]
pub struct Slicing {
    /// This program.
    pub program: PathBuf,
    /// Length of a slice.
    pub slice: Duration,
    /// What each generator is told besides its scenario and its server, as flags of `loadgen run`.
    pub flags: [Vec<String>; 2],
}

/// A generator at work; it is killed when it is dropped.
struct Generator(Child);

/// What the two generators read and write; gone with the pair.
struct Folder(PathBuf);

impl Slicing {
    /// Reads a slice's length; 0 is none.
    ///
    /// # Errors
    /// It is no time, or not within the bounds.
    pub fn parse(text: &str) -> Result<Duration, String> {
        let slice = humantime::parse_duration(text).map_err(|error| format!("{text:?}: {error}: must be as 100ms"))?;
        let bounds = Duration::from_millis(SLICE_MS_MIN)..=Duration::from_millis(SLICE_MS_MAX);
        match slice.is_zero() || bounds.contains(&slice) {
            true => Ok(slice),
            false => Err(format!("{text}: must be 0 for none, or {SLICE_MS_MIN}ms to {SLICE_MS_MAX}ms")),
        }
    }

    /// Runs one pair; `first` begins.
    ///
    /// # Errors
    /// A server did not start or ended, a run could not be made, or somebody wants the end.
    pub(super) fn run(
        &self,
        contest: &Contest<'_>,
        first: usize,
        scenario: &Scenario,
        settings: &[Setting; 2],
    ) -> Result<[Report; 2], String> {
        let folder = Folder::new()?;
        folder.write(scenario)?;
        let start = |which: usize| {
            let server = Launched::start_apart(contest.commands[which], contest.cpu, settings[which].door());
            // It runs when its generator lets it.
            let stopped = server.and_then(|server| server.stop().map(|()| server));
            stopped.map_err(|error| format!("server {}: {error}", name(which)))
        };
        let mut servers = in_order(first, start)?;
        let (one, other) = UnixStream::pair().map_err(|error| format!("cannot make a socket: {error}"))?;
        let mut lines = [Some(one), Some(other)];
        let generators = in_order(first, |which| {
            let place = if which == first { Place::First } else { Place::Second };
            // Each end is held by one generator alone: when one is gone, the other one hears of it.
            let line = lines[which].take().ok_or("the line is taken")?;
            self.start(which, place, line, &folder, servers[which].id())
        });
        // They are gone before the servers are, whatever happens.
        let statuses = wait(&mut generators?, &mut servers, &settings[0].stop)?;
        for (which, server) in servers.into_iter().enumerate() {
            server.end().map_err(|error| format!("server {}: {error}", name(which)))?;
        }
        in_order(0, |which| folder.read(which, statuses[which]))
    }

    /// Starts the generator of one side.
    fn start(
        &self,
        which: usize,
        place: Place,
        line: UnixStream,
        folder: &Folder,
        server: u32,
    ) -> Result<Generator, String> {
        let mut command = Command::new(&self.program);
        command.args(["run", "--quiet", "--place", place.word(), "--slice"]);
        command.arg(humantime::format_duration(self.slice).to_string().replace(' ', ""));
        command.args(["--pid", &server.to_string()]);
        command.arg("--scenario").arg(folder.scenario()).arg("--json").arg(folder.result(which));
        command.args(&self.flags[which]);
        command.stdin(Stdio::from(OwnedFd::from(line))).stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().map(Generator).map_err(|error| format!("cannot start {}: {error}", self.program.display()))
    }
}

impl Generator {
    /// How it ended, if it has.
    ///
    /// # Errors
    /// It has nothing to report.
    fn ended(&mut self) -> Result<Option<ExitStatus>, String> {
        let Ok(Some(status)) = self.0.try_wait() else { return Ok(None) };
        // What `run` ends with when there is a report, whatever stands in it.
        if matches!(status.code(), Some(0 | 1 | 3 | 99)) {
            return Ok(Some(status));
        }
        let mut said = String::new();
        if let Some(stderr) = self.0.stderr.take() {
            // What cannot be read is not told.
            let _ = stderr.take(SIDE_ERROR_BYTES_MAX).read_to_string(&mut said);
        }
        Err(format!("its generator failed ({status}): {}", said.trim().trim_start_matches("loadgen: ")))
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            // A process that cannot be killed is no longer ours to end.
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

/// Waits until both generators are done.
fn wait(generators: &mut [Generator; 2], servers: &mut [Launched; 2], stop: &Stop) -> Result<[ExitStatus; 2], String> {
    loop {
        if stop.requested() {
            return Err(ENDED_EARLY.to_owned());
        }
        let mut statuses = [None; 2];
        for (which, (generator, server)) in generators.iter_mut().zip(&mut *servers).enumerate() {
            let of_side = |error| format!("server {}: {error}", name(which));
            if let Some(status) = server.ended() {
                return Err(of_side(format!("ended while it was measured: {status}")));
            }
            statuses[which] = generator.ended().map_err(of_side)?;
        }
        if let [Some(a), Some(b)] = statuses {
            return Ok([a, b]);
        }
        Clock::sleep(LOOK);
    }
}

/// Makes both, the one of `first` first.
fn in_order<T>(first: usize, mut make: impl FnMut(usize) -> Result<T, String>) -> Result<[T; 2], String> {
    let one = make(first)?;
    let other = make(1 - first)?;
    Ok(if first == 0 { [one, other] } else { [other, one] })
}

impl Folder {
    fn new() -> Result<Self, String> {
        let number = Clock::of_machine_ns();
        let path = std::env::temp_dir().join(format!("loadgen-pair-{}-{number}", std::process::id()));
        fs::create_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self(path))
    }

    fn scenario(&self) -> PathBuf {
        self.0.join("scenario.toml")
    }

    fn result(&self, which: usize) -> PathBuf {
        self.0.join(format!("{}.json", name(which)))
    }

    fn write(&self, scenario: &Scenario) -> Result<(), String> {
        let text = toml::to_string(scenario).map_err(|error| format!("scenario: {error}"))?;
        fs::write(self.scenario(), text).map_err(|error| format!("{}: {error}", self.scenario().display()))
    }

    fn read(&self, which: usize, status: ExitStatus) -> Result<Report, String> {
        let path = self.result(which);
        let told = |error| format!("server {}: its generator's result ({status}): {error}", name(which));
        let text = read_whole(&path).map_err(|error| told(error.to_string()))?;
        Report::from_json(&text).map_err(told)
    }
}

fn read_whole(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?.take(SUMMARY_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is left to the system's cleaning of its temporary directory.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::SHIPPED;

    #[test]
    fn a_slice_is_a_time_within_its_bounds_or_none() {
        let check = |text: &str, expected: Option<u64>| {
            let found = Slicing::parse(text).ok();
            assert_eq!(found, expected.map(Duration::from_millis), "{text}");
        };
        check("0", Some(0));
        check("9ms", None);
        check("10ms", Some(SLICE_MS_MIN));
        check("100ms", Some(100));
        check("10s", Some(SLICE_MS_MAX));
        check("10001ms", None);
        check("100", None);
        check("", None);
    }

    #[test]
    fn every_scenario_is_the_same_when_it_was_handed_on() {
        for (name, text) in SHIPPED {
            let scenario = Scenario::parse(text, &[]).unwrap();
            let again = Scenario::parse(&toml::to_string(&scenario).unwrap(), &[]).unwrap();
            let json = |scenario: &Scenario| serde_json::to_string(scenario).unwrap();
            assert_eq!(json(&scenario), json(&again), "{name}");
        }
    }
}
