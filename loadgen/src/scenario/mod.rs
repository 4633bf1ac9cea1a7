//! What a run is to do: read from TOML, changed by `--set`, checked once against the limits.

mod group;

use serde::{Deserialize, Serialize};

use crate::limits::{CHECKER_CELLS_COUNT_MAX, CONNECTIONS_COUNT_MAX, OPENING_S_MAX};
use crate::slo::{Objectives, Written};

pub(crate) use group::check_body;
pub use group::{Group, Mode, Share};

/// The scenarios that come with the program, by name.
pub const SHIPPED: [(&str, &str); 14] = [
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
    ("smoke", include_str!("../../scenarios/smoke.toml")),
    ("beside", include_str!("../../scenarios/beside.toml")),
    ("mix", include_str!("../../scenarios/mix.toml")),
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
    /// What a run must reach.
    #[serde(default)]
    pub slo: Written,
    /// The rooms.
    pub group: Vec<Group>,
}

fn drain_s() -> f64 {
    5.0
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

    /// Reads a scenario with changes of the form `key=value`: a scenario's key, a group's key (for all groups), or
    /// `group.N.key`.
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
        let mut cells = 0usize;
        for group in &self.group {
            let publishers = usize::try_from(group.publishers_count(u32::MAX)).unwrap_or(usize::MAX);
            let publishers = publishers.min(usize::try_from(group.members + group.spare).unwrap_or(usize::MAX));
            cells = cells.saturating_add(group.connections_count().saturating_mul(publishers));
            group.check()?;
        }
        if cells > CHECKER_CELLS_COUNT_MAX {
            return Err(format!("{cells} pairs of member and publisher: at most {CHECKER_CELLS_COUNT_MAX}"));
        }
        Objectives::new(self, &[("scenario's slo", &self.slo)])?;
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
    let groups = |table: &'_ mut toml::Table| match table.remove("group") {
        Some(toml::Value::Array(groups)) => Ok(groups),
        _ => Err("scenario: no [[group]]".to_owned()),
    };
    if let Some(rest) = key.strip_prefix("group.") {
        let mut all = groups(table)?;
        let place = rest.split_once('.').and_then(|(number, key)| Some((number.parse::<usize>().ok()?, key)));
        let (number, key) = place.ok_or_else(|| format!("--set {change}: must be group.N.key=value"))?;
        match all.get_mut(number) {
            Some(toml::Value::Table(group)) => drop(group.insert(key.to_owned(), value)),
            _ => return Err(format!("--set {change}: there is no group {number}")),
        }
        table.insert("group".to_owned(), toml::Value::Array(all));
    } else if SCENARIO_KEYS.contains(&key) {
        table.insert(key.to_owned(), value);
    } else {
        let mut all = groups(table)?;
        for group in all.iter_mut().filter_map(toml::Value::as_table_mut) {
            group.insert(key.to_owned(), value.clone());
        }
        table.insert("group".to_owned(), toml::Value::Array(all));
    }
    Ok(())
}

const SCENARIO_KEYS: [&str; 13] = [
    "name",
    "plan",
    "auth",
    "warmup_s",
    "duration_s",
    "drain_s",
    "hold_s",
    "ramp_per_s",
    "connecting_max",
    "opening_s",
    "lateness_p99_max_us",
    "spin",
    "steps",
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
    fn wrong_settings_are_refused_with_their_name() {
        for (change, word) in [
            ("rooms=8000", "connections"),
            ("payload_bytes=73", "73"),
            ("nonsense=1", "nonsense"),
            ("group.3.rate=1", "no group 3"),
            ("rate", "key=value"),
            ("rate=-1.0", "rate"),
            ("outstanding=4097", "outstanding"),
            ("opening_s=0", "opening_s"),
            ("opening_s=40.1", "opening_s"),
            ("kind=''", "either kind or mix"),
            ("mix=[{ kind = 'a', weight = 1 }]", "either kind or mix"),
            ("endpoint=x", "endpoint"),
        ] {
            let error = parse(&[change]).unwrap_err();
            assert!(error.contains(word), "{change}: {error}");
        }
        assert!(parse(&["payload_bytes=74"]).is_ok());
        assert!(parse(&["outstanding=4096", "opening_s=40"]).is_ok());
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
}
