//! What a server acknowledged must be there after it was killed: a trial kills the server it started, again and again,
//! and holds every history against every answer.
//!
//! Each round publishes under load with `ack`, kills the server with SIGKILL at a moment of chance, starts it again on
//! the same directory, reads every channel's whole history back, has readers come back to where they were, and sends
//! again what had no answer, under the same ids. `course` goes through that, on the connections of `links`; `wire` has
//! the messages, which are Waystation's own; `state` what came; `book` what must be so, and `faults` what was not.
//! `report` and `text` say what came out.
//!
//! What is absent: a load (`run` is for that). Here every message is read whole, and a thousand a second are enough.

mod book;
mod course;
mod faults;
mod link;
mod links;
mod report;
mod state;
mod text;
mod wire;

use std::io::Write;
use std::time::Duration;

use crate::adapter::Adapter;
use crate::engine::Target;
use crate::limits::{
    CRASH_CHANCE_S_MAX, CRASH_CONTENT_BYTES_MAX, CRASH_CONTENT_BYTES_MIN, CRASH_KILLS_COUNT_MAX,
    CRASH_PARTIES_COUNT_MAX, CRASH_RATE_MAX, CRASH_SENT_AGAIN_COUNT, CRASH_SENT_AGAIN_PER_CHANNEL_MAX,
    CRASH_WINDOW_COUNT_MAX,
};
use crate::live::Stop;

pub use faults::{Counts, Finding, Place, What};
pub use report::{CrashReport, RoundReport};

/// When in a round the server is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// While publishes are under way.
    Loaded,
    /// Once all have their answers.
    Idle,
}

/// What a trial is to do.
#[derive(Debug)]
pub struct Trial {
    /// Where the server listens once it is started.
    pub target: Target,
    /// How it is reached: its upgrade, and how it says that it is ready.
    pub adapter: Adapter,
    /// Command that starts it.
    pub command: String,
    /// Its core.
    pub cpu: Option<usize>,
    /// Command that is run between a kill and the next start: what takes from the disk what a power cut would.
    pub power_cut: Option<String>,
    /// Tokens, given out by connection: publishers, readers, the one that asks for histories.
    pub tokens: Vec<String>,
    /// A service's token; every other restart then reads histories by GET.
    pub service_token: Option<String>,
    /// Kills.
    pub kills: u32,
    /// Operations that are to be acknowledged in all, spread over the kills.
    pub acked: u64,
    /// Connections that publish.
    pub publishers: usize,
    /// Connections that read everything.
    pub readers: usize,
    /// Channels that every publisher publishes to in turn.
    pub channels: usize,
    /// Publishes a second, of each publisher.
    pub rate: f64,
    /// Publishes of one publisher without an answer.
    pub window: usize,
    /// Bytes of a content.
    pub content_bytes: usize,
    /// Shortest and longest time from the round's last wanted acknowledgement to the kill.
    pub chance: (Duration, Duration),
    /// When the kill comes.
    pub moment: Moment,
    /// What chance begins with, and what names the channels.
    pub seed: u64,
    /// The wish to end early.
    pub stop: Stop,
}

impl Trial {
    /// A trial of a server that `command` starts, with the usual numbers: 100 kills and 100,000 acknowledged
    /// operations.
    #[must_use]
    pub fn new(target: Target, command: &str, seed: u64) -> Self {
        Self {
            target,
            adapter: Adapter::waystation(),
            command: command.to_owned(),
            cpu: None,
            power_cut: None,
            tokens: Vec::new(),
            service_token: None,
            kills: 100,
            acked: 100_000,
            publishers: 8,
            readers: 2,
            channels: 4,
            rate: 200.0,
            window: 16,
            content_bytes: 128,
            chance: (Duration::from_millis(20), Duration::from_millis(800)),
            moment: Moment::Loaded,
            seed,
            stop: Stop::default(),
        }
    }

    /// Runs it, telling `progress` of each round. A server that fails in a round fails the trial: that is in the
    /// report.
    ///
    /// # Errors
    /// The trial is not possible as it is wanted, or the server does not start or serve at first.
    pub fn run(&self, progress: &mut dyn Write) -> Result<CrashReport, String> {
        self.check()?;
        course::run(self, progress)
    }

    /// The channels, which are this trial's own: a chat is kept by default.
    #[must_use]
    pub fn channel_names(&self) -> Vec<String> {
        (0..self.channels).map(|number| format!("chat:crash-{:016x}-{number}", self.seed)).collect()
    }

    /// Connections that need a token.
    #[must_use]
    pub fn connections_count(&self) -> usize {
        self.publishers + self.readers + 1
    }

    /// Says what is wrong with what is wanted.
    ///
    /// # Errors
    /// A number is out of its range; the text names it.
    pub fn check(&self) -> Result<(), String> {
        let within = |name: &str, value: usize, from: usize, to: usize| match (from..=to).contains(&value) {
            true => Ok(()),
            false => Err(format!("{name} {value}: must be {from} to {to}")),
        };
        let kills_max = usize::try_from(CRASH_KILLS_COUNT_MAX).unwrap_or(usize::MAX);
        within("kills", usize::try_from(self.kills).unwrap_or(usize::MAX), 1, kills_max)?;
        within("publishers", self.publishers, 1, CRASH_PARTIES_COUNT_MAX)?;
        within("readers", self.readers, 0, CRASH_PARTIES_COUNT_MAX)?;
        within("channels", self.channels, 1, CRASH_PARTIES_COUNT_MAX)?;
        within("window", self.window, 1, CRASH_WINDOW_COUNT_MAX)?;
        within("bytes", self.content_bytes, CRASH_CONTENT_BYTES_MIN, CRASH_CONTENT_BYTES_MAX)?;
        if !(self.rate > 0.0 && self.rate <= CRASH_RATE_MAX) {
            return Err(format!("rate {}: must be above 0 and at most {CRASH_RATE_MAX}", self.rate));
        }
        let (least, most) = self.chance;
        if least > most || most.as_secs_f64() > CRASH_CHANCE_S_MAX {
            return Err(format!("kill after {least:?} to {most:?}: must rise and be at most {CRASH_CHANCE_S_MAX} s"));
        }
        let answered = usize::try_from(CRASH_SENT_AGAIN_COUNT).unwrap_or(usize::MAX);
        let again = self.publishers * (self.window.div_ceil(self.channels) + answered);
        if again > CRASH_SENT_AGAIN_PER_CHANNEL_MAX {
            let most = CRASH_SENT_AGAIN_PER_CHANNEL_MAX;
            return Err(format!("{again} operations sent again into a channel: must be at most {most}: lower window"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial() -> Trial {
        let target = Target::parse("ws://127.0.0.1:1").unwrap();
        Trial { publishers: 1, ..Trial::new(target, "true", 7) }
    }

    #[test]
    fn the_usual_trial_is_possible() {
        let Trial { target, command, .. } = trial();
        let usual = Trial::new(target, &command, 7);
        assert_eq!(usual.check(), Ok(()));
        assert_eq!(usual.connections_count(), 11);
        assert_eq!(usual.channel_names()[1], "chat:crash-0000000000000007-1");
    }

    #[test]
    fn each_number_has_its_range() {
        let check = |change: &dyn Fn(&mut Trial, usize), word: &str, least: usize, most: usize| {
            for (value, good) in [(least, true), (most, true), (most + 1, false)] {
                let mut trial = trial();
                change(&mut trial, value);
                let checked = trial.check();
                assert_eq!(checked.is_ok(), good, "{word} {value}: {checked:?}");
                assert!(good || checked.unwrap_err().starts_with(&format!("{word} {value}: must be ")), "{word}");
            }
            if least > 0 {
                let mut trial = trial();
                change(&mut trial, least - 1);
                assert!(trial.check().is_err(), "{word} {}", least - 1);
            }
        };
        let kills_max = usize::try_from(CRASH_KILLS_COUNT_MAX).unwrap();
        check(&|trial, value| trial.kills = u32::try_from(value).unwrap(), "kills", 1, kills_max);
        check(&|trial, value| (trial.publishers, trial.window) = (value, 1), "publishers", 1, CRASH_PARTIES_COUNT_MAX);
        check(&|trial, value| trial.readers = value, "readers", 0, CRASH_PARTIES_COUNT_MAX);
        check(&|trial, value| trial.channels = value, "channels", 1, CRASH_PARTIES_COUNT_MAX);
        check(&|trial, value| trial.window = value, "window", 1, CRASH_WINDOW_COUNT_MAX);
        let (least, most) = (CRASH_CONTENT_BYTES_MIN, CRASH_CONTENT_BYTES_MAX);
        check(&|trial, value| trial.content_bytes = value, "bytes", least, most);
    }

    #[test]
    fn rates_and_moments_have_theirs_and_no_more_is_sent_again_than_is_remembered() {
        let check = |trial: Trial, expected: Result<(), &str>| match expected {
            Ok(()) => assert_eq!(trial.check(), Ok(())),
            Err(word) => assert!(trial.check().unwrap_err().contains(word), "{word}: {:?}", trial.check()),
        };
        check(Trial { rate: CRASH_RATE_MAX, ..trial() }, Ok(()));
        for rate in [0.0, -1.0, f64::NAN, CRASH_RATE_MAX * 1.01] {
            check(Trial { rate, ..trial() }, Err("rate "));
        }
        let most = Duration::from_secs_f64(CRASH_CHANCE_S_MAX);
        check(Trial { chance: (most, most), ..trial() }, Ok(()));
        check(Trial { chance: (Duration::ZERO, most + Duration::from_millis(1)), ..trial() }, Err("kill after"));
        check(Trial { chance: (most, Duration::ZERO), ..trial() }, Err("must rise"));
        // 32 publishers with 12 in each of their channels and the last four: 512.
        let again = |window| Trial { publishers: 32, channels: 2, window, ..trial() };
        assert_eq!(32 * (12 + CRASH_SENT_AGAIN_COUNT), u32::try_from(CRASH_SENT_AGAIN_PER_CHANNEL_MAX).unwrap());
        check(again(24), Ok(()));
        check(again(25), Err("544 operations sent again into a channel: must be at most 512"));
    }
}
