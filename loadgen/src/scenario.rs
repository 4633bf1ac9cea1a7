//! What a run is to do: read from TOML, changed by `--set`, checked once against the limits.

use serde::{Deserialize, Serialize};

use crate::limits::{CHECKER_CELLS_COUNT_MAX, CONNECTIONS_COUNT_MAX, OUTSTANDING_COUNT_MAX};
use crate::marker::MARKER_BYTES;
use crate::slo::{Objectives, Written};

/// The scenarios that come with the program, by name.
pub const SHIPPED: [(&str, &str); 12] = [
    ("trips-10k", include_str!("../scenarios/trips-10k.toml")),
    ("one-room-10k", include_str!("../scenarios/one-room-10k.toml")),
    ("echo", include_str!("../scenarios/echo.toml")),
    ("echo-16", include_str!("../scenarios/echo-16.toml")),
    ("echo-64", include_str!("../scenarios/echo-64.toml")),
    ("single-1000", include_str!("../scenarios/single-1000.toml")),
    ("big-64k", include_str!("../scenarios/big-64k.toml")),
    ("storm", include_str!("../scenarios/storm.toml")),
    ("idle", include_str!("../scenarios/idle.toml")),
    ("room-closed", include_str!("../scenarios/room-closed.toml")),
    ("rooms-closed", include_str!("../scenarios/rooms-closed.toml")),
    ("smoke", include_str!("../scenarios/smoke.toml")),
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

/// Who decides when the next publish leaves.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The clock.
    #[default]
    Open,
    /// The server: so many outstanding, the next when one reached the whole room.
    Closed,
}

/// Rooms of one kind, with statistics of their own.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Name in the report.
    pub name: String,
    /// Path; `{room}` is the room's number in the group, five digits.
    pub endpoint: String,
    /// What a publish is: one of the adapter's kinds, or `echo`, the bare body on an endpoint that sends it back.
    pub kind: String,
    /// Channels asked for in the authentication frame; `{room}` as in `endpoint`.
    #[serde(default)]
    pub channels: Vec<String>,
    /// Rooms.
    #[serde(default = "one")]
    pub rooms: u32,
    /// Members of each.
    #[serde(default = "one")]
    pub members: u32,
    /// Further members of the last room.
    #[serde(default)]
    pub spare: u32,
    /// The first so many members of each room publish; 0 for all.
    #[serde(default)]
    pub publishers: u32,
    /// Open or closed loop.
    #[serde(default)]
    pub mode: Mode,
    /// Open loop: publishes a second, per publisher.
    #[serde(default)]
    pub rate: f64,
    /// Closed loop: publishes outstanding, per publisher.
    #[serde(default = "one")]
    pub outstanding: u32,
    /// Closed loop: hold half of the outstanding publishes back until the first delivery, so that the server has work
    /// while the room's last members read; what reaches a member at once is then half of `outstanding`.
    #[serde(default)]
    pub stagger: bool,
    /// Bytes of the body.
    #[serde(default = "body_bytes")]
    pub payload_bytes: usize,
    /// Bytes of the whole message instead, body and what is around it.
    #[serde(default)]
    pub total_bytes: Option<usize>,
    /// Publishes per publisher, then silence.
    #[serde(default)]
    pub messages: Option<u64>,
    /// Whether a publish carries an operation id.
    #[serde(default)]
    pub ids: bool,
    /// The server must refuse the publish and close with this code.
    #[serde(default)]
    pub expect_close: Option<u16>,
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

fn one() -> u32 {
    1
}
fn body_bytes() -> usize {
    128
}
fn drain_s() -> f64 {
    5.0
}
fn ramp_per_s() -> u32 {
    2000
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

impl Group {
    /// Connections of this group.
    #[must_use]
    pub fn connections_count(&self) -> usize {
        let count = u64::from(self.rooms) * u64::from(self.members) + u64::from(self.spare);
        usize::try_from(count).unwrap_or(usize::MAX)
    }

    /// Publishers in a room of so many members.
    #[must_use]
    pub fn publishers_count(&self, members: u32) -> u32 {
        if self.publishers == 0 { members } else { self.publishers.min(members) }
    }

    fn check(&self) -> Result<(), String> {
        let name = &self.name;
        if self.total_bytes.is_none() {
            check_body(self.payload_bytes).map_err(|error| format!("group {name}: {error}"))?;
        }
        if self.mode == Mode::Open && !(0.0..=1_000_000.0).contains(&self.rate) {
            return Err(format!("group {name}: rate {} must be 0 to 1000000", self.rate));
        }
        if self.outstanding == 0 || self.outstanding > OUTSTANDING_COUNT_MAX {
            return Err(format!("group {name}: outstanding must be 1 to {OUTSTANDING_COUNT_MAX}"));
        }
        if !self.endpoint.starts_with('/') || self.rooms == 0 || self.members == 0 {
            return Err(format!("group {name}: endpoint must start with / and rooms and members be above 0"));
        }
        Ok(())
    }
}

/// Whether a body of so many bytes holds its marker and fits the receive buffer.
///
/// # Errors
/// It does not; says what does.
pub(crate) fn check_body(bytes: usize) -> Result<(), String> {
    let most = crate::limits::RECEIVE_BYTES / 4;
    if (MARKER_BYTES..=most).contains(&bytes) {
        Ok(())
    } else {
        Err(format!("body of {bytes} bytes: must be {MARKER_BYTES} to {most}"))
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

const SCENARIO_KEYS: [&str; 12] = [
    "name",
    "plan",
    "auth",
    "warmup_s",
    "duration_s",
    "drain_s",
    "hold_s",
    "ramp_per_s",
    "connecting_max",
    "lateness_p99_max_us",
    "spin",
    "steps",
];

#[cfg(test)]
mod tests {
    use super::*;

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
            ("payload_bytes=67", "67"),
            ("nonsense=1", "nonsense"),
            ("group.3.rate=1", "no group 3"),
            ("rate", "key=value"),
            ("rate=-1.0", "rate"),
            ("outstanding=4097", "outstanding"),
            ("endpoint=x", "endpoint"),
        ] {
            let error = parse(&[change]).unwrap_err();
            assert!(error.contains(word), "{change}: {error}");
        }
        assert!(parse(&["payload_bytes=68"]).is_ok());
        assert!(parse(&["outstanding=4096"]).is_ok());
    }
}
