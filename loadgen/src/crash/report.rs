//! What came out of a trial, as a file has it.

use serde::{Deserialize, Serialize};

use super::Trial;
use super::faults::{Counts, Finding};
use super::state::State;
use crate::report::{Environment, SCHEMA};
use crate::stats::{Latency, Names, Percentiles};

/// A whole trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CrashReport {
    /// Number of the form, that of all results.
    pub schema: u32,
    /// What kind of result it is: `crash`.
    pub kind: String,
    /// `passed`, `failed`, or `invalid` for one that was ended early.
    pub outcome: String,
    /// What the trial objects to; empty for one that passes.
    pub objections: Vec<String>,
    /// What the command line said, without its secrets.
    pub flags: Vec<String>,
    /// What chance began with: the same gives the same moments and the same contents.
    pub seed: u64,
    /// Where it ran.
    pub environment: Environment,
    /// What the server says it is.
    pub server_version: Option<String>,
    /// Connections that published.
    pub publishers: usize,
    /// Connections that read everything.
    pub readers: usize,
    /// Channels.
    pub channels: usize,
    /// Whether a command was run after each kill that takes from the disk what a power cut would.
    pub power_cut: bool,
    /// Kills that were wanted, and made.
    pub kills_wanted: u32,
    /// Kills that were made.
    pub kills: u32,
    /// Operations that were sent.
    pub sent: u64,
    /// Those that were to be acknowledged.
    pub acked_wanted: u64,
    /// Those that were.
    pub acked: u64,
    /// Those that a kill left without an answer.
    pub unanswered: u64,
    /// Those of them that were kept all the same.
    pub unacked_kept: u64,
    /// Those that were refused, by code.
    pub refused: Names,
    /// Sends of what had been sent before a kill.
    pub sent_again: u64,
    /// Answers to them that said `duplicate`.
    pub duplicates: u64,
    /// Events of all readings together.
    pub events_read: u64,
    /// What was found.
    pub faults: Counts,
    /// The first faults of each kind.
    pub findings: Vec<Finding>,
    /// What the server objected to, by code.
    pub errors: Names,
    /// Connections that ended though nobody killed the server.
    pub closes: Names,
    /// What ended the trial before its end.
    pub broken: Option<String>,
    /// From a start to being ready, looked at fifty times a second.
    pub restart: Percentiles,
    /// From a first send to its acknowledgement.
    pub ack_latency: Percentiles,
    /// The whole trial, in seconds.
    pub took_s: f64,
    /// The rounds, in order.
    pub rounds: Vec<RoundReport>,
}

/// One kill.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub struct RoundReport {
    /// Operations acknowledged since the one before.
    pub acked: u64,
    /// Operations that it left without an answer.
    pub unanswered: u64,
    /// Those of them that the history has.
    pub kept: u64,
    /// From the start to being ready.
    pub restart_s: f64,
    /// Events that were read back.
    pub events: u64,
    /// Faults of the trial so far.
    pub faults: u64,
}

impl CrashReport {
    pub(super) fn new(
        trial: &Trial,
        environment: Environment,
        state: State,
        restarts: &Latency,
        rounds: Vec<RoundReport>,
        broken: Option<String>,
        took_s: f64,
    ) -> Self {
        let State { book, ack_latency, refusals, errors, closes, version, .. } = state;
        let sums = book.sums;
        let mut report = Self {
            schema: SCHEMA,
            kind: KIND.to_owned(),
            outcome: String::new(),
            objections: Vec::new(),
            flags: Vec::new(),
            seed: trial.seed,
            environment,
            server_version: version,
            publishers: trial.publishers,
            readers: trial.readers,
            channels: trial.channels,
            power_cut: trial.power_cut.is_some(),
            kills_wanted: trial.kills,
            kills: u32::try_from(rounds.len()).unwrap_or(u32::MAX),
            sent: sums.sent,
            acked_wanted: trial.acked,
            acked: sums.acked,
            unanswered: sums.unanswered,
            unacked_kept: sums.kept,
            refused: refusals,
            sent_again: sums.again,
            duplicates: sums.duplicates,
            events_read: sums.read,
            faults: book.faults.counts,
            findings: book.faults.findings,
            errors,
            closes,
            broken,
            restart: restarts.percentiles(),
            ack_latency: ack_latency.percentiles(),
            took_s,
            rounds,
        };
        report.objections = report.objects_to(trial.stop.requested());
        report.outcome = match (report.objections.is_empty(), trial.stop.requested()) {
            (false, _) => "failed",
            (true, true) => "invalid",
            (true, false) => "passed",
        }
        .to_owned();
        report
    }

    /// `ended`: somebody ended it early, so that what was not reached is no fault.
    fn objects_to(&self, ended: bool) -> Vec<String> {
        let mut objections: Vec<String> = self.broken.iter().cloned().collect();
        let faults = self.faults.named().into_iter().filter(|(_, count)| *count > 0);
        objections.extend(faults.map(|(name, count)| format!("{count} {name}")));
        for (what, names) in [("objected to", &self.errors), ("connections ended", &self.closes)] {
            objections.extend(names.iter().map(|(name, count)| format!("{count} {what}: {name}")));
        }
        if self.acked < self.acked_wanted && self.broken.is_none() && !ended {
            objections.push(format!("{} of at least {} operations were acknowledged", self.acked, self.acked_wanted));
        }
        objections
    }

    /// 0 passed, 1 something is wrong, 3 it was ended early.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self.outcome.as_str() {
            "passed" => 0,
            "invalid" => 3,
            _ => 1,
        }
    }

    /// As the text of a file.
    ///
    /// # Errors
    /// A histogram cannot be written.
    pub fn to_json(&self) -> Result<String, String> {
        serde_json::to_string_pretty(self).map_err(|error| format!("summary.json: {error}"))
    }
}

/// What its results say that they are.
pub(crate) const KIND: &str = "crash";
