//! What a run is to do: read from TOML, changed by `--set`, checked once against the limits.

mod group;
mod phase;
mod sizes;

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use crate::limits::{
    AWAY_S_MIN, CHECKER_CELLS_COUNT_MAX, CONNECTIONS_COUNT_MAX, DURATION_S_MAX, OPENING_S_MAX, PHASES_COUNT_MAX,
    ROUNDS_COUNT_MAX, SOURCE_ADDRESSES_COUNT, SOURCES_COUNT_MAX,
};
use crate::slo::{Objectives, Written};

pub(crate) use group::check_body;
pub use group::{Group, Mode, Share};
pub use phase::{Phase, PhaseKind};
pub use sizes::{Members, Rooms, SizeRange, Sizes, Weighted, Zipf};

/// The scenarios that come with the program, by name.
pub const SHIPPED: [(&str, &str); 21] = [
    ("trips-10k", include_str!("../../scenarios/trips-10k.toml")),
    ("one-room-10k", include_str!("../../scenarios/one-room-10k.toml")),
    ("echo", include_str!("../../scenarios/echo.toml")),
    ("echo-16", include_str!("../../scenarios/echo-16.toml")),
    ("echo-64", include_str!("../../scenarios/echo-64.toml")),
    ("single-1000", include_str!("../../scenarios/single-1000.toml")),
    ("big-64k", include_str!("../../scenarios/big-64k.toml")),
    ("storm", include_str!("../../scenarios/storm.toml")),
    ("idle", include_str!("../../scenarios/idle.toml")),
    ("room-closed", include_str!("../../scenarios/room-closed.toml")),
    ("rooms-closed", include_str!("../../scenarios/rooms-closed.toml")),
    ("acked", include_str!("../../scenarios/acked.toml")),
    ("resume", include_str!("../../scenarios/resume.toml")),
    ("resume-storm", include_str!("../../scenarios/resume-storm.toml")),
    ("smoke", include_str!("../../scenarios/smoke.toml")),
    ("beside", include_str!("../../scenarios/beside.toml")),
    ("product", include_str!("../../scenarios/product.toml")),
    ("mix", include_str!("../../scenarios/mix.toml")),
    ("chat-agents", include_str!("../../scenarios/chat-agents.toml")),
    ("trips-mixed", include_str!("../../scenarios/trips-mixed.toml")),
    ("soak", include_str!("../../scenarios/soak.toml")),
];

/// The course of a run.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Plan {
    /// Connect, warm up, measure, drain.
    #[default]
    Traffic,
    /// Connect all at once, hold, close all, and once again.
    Storm,
    /// Connect, warm up; then those that do not publish go and come back to where they were, again and again.
    Resume,
    /// Connect in steps and weigh the server at each.
    Idle,
}

/// How a connection shows who it is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Auth {
    /// Not at all.
    None,
    /// `?token=`.
    Query,
    /// `Authorization: Bearer`.
    Header,
    /// The first text frame.
    #[default]
    Frame,
}

/// A whole run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Name in the report.
    pub name: String,
    /// Course of the run.
    #[serde(default)]
    pub plan: Plan,
    /// How connections authenticate.
    #[serde(default)]
    pub auth: Auth,
    /// Traffic before anything is measured.
    #[serde(default)]
    pub warmup_s: f64,
    /// Measured time.
    #[serde(default)]
    pub duration_s: f64,
    /// Longest wait for what is missing at the end.
    #[serde(default = "drain_s")]
    pub drain_s: f64,
    /// Storm: time all are held; idle: time before the server is weighed.
    #[serde(default)]
    pub hold_s: f64,
    /// Idle: time after the last weighing in which the server's processor time is counted.
    #[serde(default)]
    pub rest_s: f64,
    /// Resume: time that each stays away.
    #[serde(default = "away_s")]
    pub away_s: f64,
    /// Connections opened per second.
    #[serde(default = "ramp_per_s")]
    pub ramp_per_s: u32,
    /// Connections being opened at the same time.
    #[serde(default = "connecting_max")]
    pub connecting_max: usize,
    /// Longest time in which no further connection comes up while some are being opened; then those have failed.
    #[serde(default = "opening_s")]
    pub opening_s: f64,
    /// The run is invalid above this lateness of sends.
    #[serde(default = "lateness_p99_max_us")]
    pub lateness_p99_max_us: u64,
    /// Poll without sleeping: the own core is fully used, sends are punctual.
    #[serde(default)]
    pub spin: bool,
    /// Idle: numbers of connections at which the server is weighed.
    #[serde(default)]
    pub steps: Vec<usize>,
    /// The run is invalid if one of the generator's threads had to wait for its core for more than this share of the
    /// measured time.
    #[serde(default = "starved_max")]
    pub starved_max: f64,
    /// Addresses that connections come from: how many of the loopback ones, or a list.
    #[serde(default)]
    pub sources: Sources,
    /// The course of the run, instead of `plan`, `warmup_s` and `duration_s`.
    #[serde(default)]
    pub phase: Vec<Phase>,
    /// What a run must reach.
    #[serde(default)]
    pub slo: Written,
    /// The rooms.
    pub group: Vec<Group>,
}

/// Addresses that connections come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Sources {
    /// So many loopback addresses, from 127.0.0.1 upwards; a server elsewhere is called from whatever address the
    /// kernel takes.
    Loopback(u8),
    /// These, in turn.
    Addresses(Vec<IpAddr>),
}

impl Default for Sources {
    fn default() -> Self {
        Self::Loopback(SOURCE_ADDRESSES_COUNT)
    }
}

impl Sources {
    /// Where the run's connection of this number comes from; `None` leaves it to the kernel.
    #[must_use]
    pub fn of(&self, number: u32, target: IpAddr) -> Option<IpAddr> {
        match self {
            Self::Loopback(count) if target.is_ipv4() && target.is_loopback() => {
                let last = u8::try_from(number % u32::from((*count).max(1))).unwrap_or(0) + 1;
                Some(Ipv4Addr::new(127, 0, 0, last).into())
            }
            Self::Loopback(_) => None,
            Self::Addresses(list) => {
                let count = u32::try_from(list.len().max(1)).unwrap_or(u32::MAX);
                list.get(usize::try_from(number % count).unwrap_or(0)).copied()
            }
        }
    }

    fn check(&self) -> Result<(), String> {
        let count = match self {
            Self::Loopback(count) => usize::from(*count),
            Self::Addresses(list) => list.len(),
        };
        if (1..=SOURCES_COUNT_MAX).contains(&count) {
            Ok(())
        } else {
            Err(format!("sources: {count} addresses: must be 1 to {SOURCES_COUNT_MAX}"))
        }
    }
}

fn drain_s() -> f64 {
    5.0
}
fn away_s() -> f64 {
    1.0
}
fn ramp_per_s() -> u32 {
    2000
}
fn opening_s() -> f64 {
    OPENING_S_MAX
}
fn connecting_max() -> usize {
    256
}
fn lateness_p99_max_us() -> u64 {
    1000
}
fn starved_max() -> f64 {
    0.25
}

impl Scenario {
    /// The scenario of this name that comes with the program, or else the one in this file, with changes as `parse`
    /// takes them.
    ///
    /// # Errors
    /// There is no such file, or the scenario is wrong.
    pub fn load(name: &str, changes: &[String]) -> Result<Self, String> {
        match SHIPPED.iter().find(|(shipped, _)| *shipped == name) {
            Some((_, text)) => Self::parse(text, changes),
            None => {
                let text = std::fs::read_to_string(name).map_err(|error| format!("scenario {name}: {error}"))?;
                Self::parse(&text, changes)
            }
        }
    }

    /// Reads a scenario with changes of the form `key=value`: a scenario's key, a group's key (for all groups),
    /// `group.N.key` or `phase.N.key`.
    ///
    /// # Errors
    /// Says which key is wrong, and what it must be.
    pub fn parse(text: &str, changes: &[String]) -> Result<Self, String> {
        let mut table: toml::Table = text.parse().map_err(|error| format!("scenario: {error}"))?;
        for change in changes {
            apply(&mut table, change)?;
        }
        let scenario: Self = table.try_into().map_err(|error| format!("scenario: {error}"))?;
        scenario.check()?;
        Ok(scenario)
    }

    /// Connections of all groups.
    #[must_use]
    pub fn connections_count(&self) -> usize {
        self.group.iter().map(Group::connections_count).sum()
    }

    /// Whether connections come back to where they were.
    #[must_use]
    pub fn resumes(&self) -> bool {
        self.plan == Plan::Resume || self.phase.iter().any(|phase| phase.resume)
    }

    fn check(&self) -> Result<(), String> {
        let connections = self.connections_count();
        if connections == 0 || connections > CONNECTIONS_COUNT_MAX {
            return Err(format!("{connections} connections: must be 1 to {CONNECTIONS_COUNT_MAX}"));
        }
        if self.ramp_per_s == 0 || self.connecting_max == 0 {
            return Err("ramp_per_s and connecting_max must be above 0".to_owned());
        }
        if !(self.opening_s > 0.0 && self.opening_s <= OPENING_S_MAX) {
            return Err(format!("opening_s {} must be above 0 and at most {OPENING_S_MAX}", self.opening_s));
        }
        if let Some(step) = self.steps.iter().find(|&&step| step > connections) {
            return Err(format!("steps: {step} is more than the {connections} connections of the groups"));
        }
        if !(0.0..=DURATION_S_MAX).contains(&self.rest_s) {
            return Err(format!("rest_s {}: must be 0 to {DURATION_S_MAX}", self.rest_s));
        }
        if self.rest_s > 0.0 && (self.plan != Plan::Idle || self.steps.is_empty()) {
            return Err("rest_s belongs to the plan idle with steps".to_owned());
        }
        if !(0.0..=1.0).contains(&self.starved_max) {
            return Err(format!("starved_max {}: must be 0 to 1", self.starved_max));
        }
        self.sources.check()?;
        self.check_phases(connections)?;
        self.check_resume()?;
        let mut cells = 0usize;
        for group in &self.group {
            group.check()?;
            cells = cells.saturating_add(group.cells_count());
        }
        if cells > CHECKER_CELLS_COUNT_MAX {
            return Err(format!("{cells} pairs of member and publisher: at most {CHECKER_CELLS_COUNT_MAX}"));
        }
        Objectives::new(self, &[("scenario's slo", &self.slo)])?;
        Ok(())
    }

    fn check_resume(&self) -> Result<(), String> {
        let (away_s, least) = (self.away_s, AWAY_S_MIN);
        if self.plan == Plan::Resume && !(least..=DURATION_S_MAX).contains(&away_s) {
            return Err(format!("away_s {away_s}: must be {least} to {DURATION_S_MAX}"));
        }
        if self.plan == Plan::Resume && self.duration_s / away_s > ROUNDS_COUNT_MAX {
            let longest = away_s * ROUNDS_COUNT_MAX;
            return Err(format!("duration_s {}: must be at most {longest} where away_s is {away_s}", self.duration_s));
        }
        if !self.resumes() {
            return Ok(());
        }
        if let Some(group) = self.group.iter().find(|group| group.limit().is_some()) {
            let bounds = "must be of the open loop without outstanding_max, which would wait for those that are away";
            return Err(format!("resume: group {}: {bounds}", group.name));
        }
        let goes = |group: &Group| group.sizes().iter().any(|&members| group.stays_count() < members);
        match self.group.iter().any(goes) {
            true => Ok(()),
            false => {
                Err("resume: who publishes stays, and all do: publishers and stay must be below the members".to_owned())
            }
        }
    }

    fn check_phases(&self, connections: usize) -> Result<(), String> {
        if self.phase.len() > PHASES_COUNT_MAX {
            return Err(format!("{} phases: at most {PHASES_COUNT_MAX}", self.phase.len()));
        }
        let Some(first) = self.phase.first() else { return Ok(()) };
        if self.plan != Plan::Traffic || self.warmup_s > 0.0 || self.duration_s > 0.0 {
            return Err("phase: plan, warmup_s and duration_s must be left out where there are phases".to_owned());
        }
        if first.kind != PhaseKind::Ramp {
            return Err(format!("phase 0 ({}): the first one must be a ramp", first.title()));
        }
        if let Some(group) = self.group.iter().find(|group| group.expect_close.is_some()) {
            return Err(format!("group {}: expect_close must be left out where there are phases", group.name));
        }
        let mut up = 0;
        for (number, phase) in self.phase.iter().enumerate() {
            phase.check(number, connections)?;
            let to = phase.to.unwrap_or(up);
            if to < up {
                return Err(format!("phase {number} ({}): to {to}: must not be below the {up} before", phase.title()));
            }
            up = to;
        }
        Ok(())
    }
}

fn apply(table: &mut toml::Table, change: &str) -> Result<(), String> {
    let (key, text) = change.split_once('=').ok_or_else(|| format!("--set {change}: must be key=value"))?;
    let value = format!("v = {text}")
        .parse::<toml::Table>()
        .ok()
        .and_then(|mut parsed| parsed.remove("v"))
        .unwrap_or_else(|| toml::Value::String(text.to_owned()));
    for name in ["group", "phase"] {
        let Some(rest) = key.strip_prefix(name).and_then(|rest| rest.strip_prefix('.')) else { continue };
        let place = rest.split_once('.').and_then(|(number, key)| Some((number.parse::<usize>().ok()?, key)));
        let (number, key) = place.ok_or_else(|| format!("--set {change}: must be {name}.N.key=value"))?;
        let Some(toml::Value::Table(one)) = tables(table, name).and_then(|all| all.get_mut(number)) else {
            return Err(format!("--set {change}: there is no {name} {number}"));
        };
        one.insert(key.to_owned(), value);
        return Ok(());
    }
    if SCENARIO_KEYS.contains(&key) {
        table.insert(key.to_owned(), value);
        return Ok(());
    }
    let all = tables(table, "group").ok_or("scenario: no [[group]]")?;
    for group in all.iter_mut().filter_map(toml::Value::as_table_mut) {
        group.insert(key.to_owned(), value.clone());
    }
    Ok(())
}

/// The tables `[[name]]`.
fn tables<'a>(table: &'a mut toml::Table, name: &str) -> Option<&'a mut Vec<toml::Value>> {
    table.get_mut(name)?.as_array_mut()
}

const SCENARIO_KEYS: [&str; 18] = [
    "name",
    "plan",
    "auth",
    "warmup_s",
    "duration_s",
    "drain_s",
    "hold_s",
    "rest_s",
    "away_s",
    "ramp_per_s",
    "connecting_max",
    "opening_s",
    "lateness_p99_max_us",
    "spin",
    "steps",
    "starved_max",
    "sources",
    "phase",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{MIX_COUNT_MAX, WEIGHT_MAX};

    fn parse(changes: &[&str]) -> Result<Scenario, String> {
        let changes: Vec<String> = changes.iter().map(|&change| change.to_owned()).collect();
        Scenario::parse(SHIPPED[0].1, &changes)
    }

    #[test]
    fn every_shipped_scenario_is_read() {
        for (name, text) in SHIPPED {
            assert_eq!(Scenario::parse(text, &[]).unwrap().name, name);
        }
    }

    #[test]
    fn trips_has_ten_thousand_connections() {
        let scenario = parse(&[]).unwrap();
        assert_eq!((scenario.connections_count(), scenario.group[0].rooms), (10_000, 3333));
    }

    #[test]
    fn a_set_reaches_scenario_all_groups_and_one_group() {
        let scenario = parse(&["duration_s=5.5", "rate=2.0", "group.0.rooms=7", "auth=query"]).unwrap();
        assert_eq!((scenario.duration_s, scenario.group[0].rate, scenario.group[0].rooms), (5.5, 2.0, 7));
        assert_eq!(scenario.auth, Auth::Query);
    }

    #[test]
    fn a_phase_is_changed_by_its_number() {
        let (_, text) = SHIPPED.iter().find(|shipped| shipped.0 == "soak").unwrap();
        let parse = |change: &str| Scenario::parse(text, &[change.to_owned()]);
        let scenario = parse("phase.1.duration_s=20").unwrap();
        let durations: Vec<Option<f64>> = scenario.phase.iter().map(|phase| phase.duration_s).collect();
        assert_eq!(durations, [None, Some(20.0), Some(60.0), Some(1740.0)]);
        for (change, word) in [
            ("phase.4.duration_s=1", "there is no phase 4"),
            ("phase.x.duration_s=1", "must be phase.N.key=value"),
            ("phase.1=2", "must be phase.N.key=value"),
            ("phase.1.length_s=2", "length_s"),
        ] {
            let error = parse(change).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn wrong_settings_are_refused_with_their_name() {
        for (change, word) in [
            ("rooms=400000", "connections"),
            ("payload_bytes=73", "73"),
            ("nonsense=1", "nonsense"),
            ("group.3.rate=1", "no group 3"),
            ("group.0=1", "must be group.N.key=value"),
            ("phase.0.to=1", "no phase 0"),
            ("rate", "key=value"),
            ("rate=-1.0", "rate"),
            ("outstanding=4097", "outstanding"),
            ("opening_s=0", "opening_s"),
            ("opening_s=40.1", "opening_s"),
            ("kind=''", "either kind or mix"),
            ("mix=[{ kind = 'a', weight = 1 }]", "either kind or mix"),
            ("endpoint=x", "endpoint"),
            ("slow_readers=1.1", "slow_readers"),
            ("slow_bytes_per_s=19", "slow_bytes_per_s"),
            ("starved_max=-0.1", "starved_max"),
            ("outstanding_max=0", "outstanding_max"),
            ("outstanding_max=4097", "outstanding_max"),
            ("sources=0", "sources"),
            ("sources=251", "sources"),
            ("sources=[]", "sources"),
            ("members=[{rooms=3, members=0}]", "members"),
            ("payload_bytes={min=100, max=99}", "payload_bytes"),
        ] {
            let error = parse(&[change]).unwrap_err();
            assert!(error.contains(word), "{change}: {error}");
        }
        for change in ["payload_bytes=74", "outstanding=4096", "opening_s=40", "sources=250", "slow_readers=1.0"] {
            assert!(parse(&[change]).is_ok(), "{change}");
        }
        assert!(parse(&["sources=['10.0.0.1', '10.0.0.2']"]).is_ok());
    }

    #[test]
    fn a_mix_is_bounded_and_has_each_kind_once() {
        let mixed = |shares: &[String]| parse(&["kind=''", &format!("mix=[{}]", shares.join(", "))]);
        let share = |kind: &str, rest: &str| format!("{{ kind = '{kind}', {rest} }}");
        let many = |count: usize| (0..count).map(|n| share(&n.to_string(), "weight = 1")).collect::<Vec<_>>();
        assert_eq!(mixed(&many(MIX_COUNT_MAX)).unwrap().group[0].shares().len(), MIX_COUNT_MAX);
        assert!(mixed(&[share("a", &format!("weight = {WEIGHT_MAX}"))]).is_ok());
        assert_eq!(parse(&[]).unwrap().group[0].shares()[0].kind, "trip_update");
        for (shares, word) in [
            (many(MIX_COUNT_MAX + 1), "at most 16"),
            (vec![share("a", "weight = 0")], "weight 0 must be 1 to"),
            (vec![share("a", &format!("weight = {}", WEIGHT_MAX + 1))], "must be 1 to 100000"),
            (vec![share("a", "weight = 1, payload_bytes = 73")], "mix: a: body of 73"),
            (vec![share("a", "weight = 1"), share("a", "weight = 2")], "a stands there twice"),
            (vec![share("echo", "weight = 1")], "echo needs an endpoint"),
            (vec![share("a", "wight = 1")], "wight"),
        ] {
            let error = mixed(&shares).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn phases_are_refused_with_their_number_and_key() {
        let check = |phases: &str, word: &str| {
            let error = parse(&["warmup_s=0", "duration_s=0", &format!("phase=[{phases}]")]).unwrap_err();
            assert!(error.contains(word), "{phases}: {error}");
        };
        let ramp = "{kind='ramp', to=100}";
        assert!(parse(&["warmup_s=0", "duration_s=0", &format!("phase=[{ramp}]")]).is_ok());
        check("{kind='hold', duration_s=1}", "phase 0 (hold): the first one must be a ramp");
        check("{kind='ramp'}", "to is missing");
        check("{kind='ramp', to=10001}", "to 10001: must be 1 to the 10000");
        check("{kind='ramp', to=0}", "to 0");
        check("{kind='ramp', to=5, share=0.5}", "share belongs to a storm");
        check("{kind='ramp', to=5, per_s=0}", "per_s");
        check("{kind='ramp', to=5, speed=1}", "speed");
        check(&format!("{ramp}, {{kind='hold'}}"), "phase 1 (hold): duration_s is missing");
        check(&format!("{ramp}, {{kind='hold', duration_s=0}}"), "duration_s 0");
        check(&format!("{ramp}, {{kind='hold', duration_s=604801}}"), "duration_s 604801");
        check(&format!("{ramp}, {{kind='hold', duration_s=1, to=4}}"), "to belongs to a ramp");
        check(&format!("{ramp}, {{kind='burst', duration_s=1}}"), "rate_factor is missing");
        check(&format!("{ramp}, {{kind='burst', duration_s=1, rate_factor=1001}}"), "rate_factor 1001");
        check(&format!("{ramp}, {{kind='storm'}}"), "share is missing");
        check(&format!("{ramp}, {{kind='storm', share=1.1}}"), "share 1.1");
        check(&format!("{ramp}, {{kind='storm', share=1, over_s=-1}}"), "over_s");
        check(&format!("{ramp}, {{kind='ramp', to=99}}"), "phase 1 (ramp): to 99: must not be below the 100");
        check(&[ramp; PHASES_COUNT_MAX + 1].join(","), "65 phases");
        let both = parse(&[&format!("phase=[{ramp}]")]).unwrap_err();
        assert!(both.contains("warmup_s"), "{both}");
        let most = [ramp; PHASES_COUNT_MAX].join(",");
        assert!(parse(&["warmup_s=0", "duration_s=0", &format!("phase=[{most}]")]).is_ok());
    }

    #[test]
    fn who_comes_back_must_have_something_to_miss_and_nobody_may_wait_for_it() {
        let check = |changes: &[&str], word: &str| {
            let (_, text) = SHIPPED.iter().find(|shipped| shipped.0 == "resume").unwrap();
            let changes: Vec<String> = changes.iter().map(|&change| change.to_owned()).collect();
            let outcome = Scenario::parse(text, &changes).map(drop);
            match outcome {
                Err(error) => assert!(!word.is_empty() && error.contains(word), "{changes:?}: {error}"),
                Ok(()) => assert_eq!(word, "", "{changes:?}"),
            }
        };
        check(&["away_s=0.1"], "");
        check(&["away_s=0.09"], "away_s 0.09: must be 0.1 to 604800");
        check(&["away_s=nan"], "away_s");
        check(&["duration_s=60"], "");
        check(&["duration_s=60.1"], "duration_s 60.1: must be at most 60 where away_s is 1");
        check(&["publishers=0"], "publishers and stay must be below the members");
        check(&["publishers=49"], "");
        check(&["publishers=50"], "publishers and stay must be below the members");
        check(&["mode=closed"], "group rooms: must be of the open loop");
        check(&["outstanding_max=3"], "group rooms: must be of the open loop");
        let storm = "phase=[{kind='ramp', to=9}, {kind='storm', share=1, resume=true, away_s=1}]";
        let phases = ["plan=traffic", "warmup_s=0", "duration_s=0"];
        check(&[&phases[..], &[storm]].concat(), "");
        check(&[&phases[..], &[storm, "publishers=0"]].concat(), "publishers and stay must be below");
        check(&[&phases[..], &["phase=[{kind='ramp', to=9, resume=true}]"]].concat(), "resume belongs to a storm");
        check(&[&phases[..], &["phase=[{kind='ramp', to=9, away_s=1}]"]].concat(), "away_s belongs to a storm");
        check(&[&phases[..], &[&storm.replace("away_s=1", "away_s=-1")]].concat(), "away_s: must be 0 to");
    }

    #[test]
    fn only_idle_connections_rest() {
        let idle = |changes: &[&str]| {
            let (_, text) = SHIPPED.iter().find(|shipped| shipped.0 == "idle").unwrap();
            let changes: Vec<String> = changes.iter().map(|&change| change.to_owned()).collect();
            Scenario::parse(text, &changes).map(|scenario| scenario.rest_s)
        };
        assert!(idle(&[]).unwrap() >= 60.0);
        assert_eq!((idle(&["rest_s=0"]), idle(&["rest_s=604800"])), (Ok(0.0), Ok(604_800.0)));
        for (changes, word) in [
            (&["rest_s=604801"][..], "rest_s 604801: must be 0 to 604800"),
            (&["rest_s=-1"], "rest_s -1"),
            (&["rest_s=nan"], "rest_s NaN"),
            (&["steps=[]"], "belongs to the plan idle"),
            (&["plan=storm"], "belongs to the plan idle"),
        ] {
            let error = idle(changes).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn sources_are_used_in_turn() {
        let (here, there): (IpAddr, IpAddr) = ("127.0.0.1".parse().unwrap(), "10.1.1.1".parse().unwrap());
        let source = |last| Some(IpAddr::from([127, 0, 0, last]));
        let loopback = Sources::Loopback(3);
        assert_eq!([0, 1, 2, 3].map(|number| loopback.of(number, here)), [1, 2, 3, 1].map(source));
        assert_eq!(loopback.of(0, there), None);
        let listed = Sources::Addresses(vec![here, there]);
        assert_eq!([0, 1, 2].map(|number| listed.of(number, there)), [here, there, here].map(Some));
    }
}
