//! Rooms of one kind: who is in them, who publishes what and when.

use serde::{Deserialize, Serialize};

use crate::limits::{MIX_COUNT_MAX, OUTSTANDING_COUNT_MAX, WEIGHT_MAX};
use crate::marker::MARKER_BYTES;
use crate::scenario::{Members, Sizes};

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
    /// Path; `{room}` is the room's number in the group, five digits, and `{user}` the user that the token names.
    pub endpoint: String,
    /// What a publish is: one of the adapter's kinds, or `echo`, the bare body on an endpoint that sends it back.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Several kinds instead, by weight.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mix: Vec<Share>,
    /// What is spoken on these paths, if not what the adapter speaks itself: one of its dialects.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub dialect: String,
    /// All members of a room are connections of one user: of the one whose token is the first member's.
    #[serde(default, skip_serializing_if = "is_false")]
    pub one_user: bool,
    /// A member says how far it has read each time that it has had so many publishes; 0 for never.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub acknowledge_every: u32,
    /// Channels asked for in the authentication frame; `{room}` as in `endpoint`.
    #[serde(default)]
    pub channels: Vec<String>,
    /// Rooms, where all have the same size.
    #[serde(default = "one")]
    pub rooms: u32,
    /// Members of each, or how their numbers are distributed.
    #[serde(default = "one_each")]
    pub members: Members,
    /// Further members of the last room.
    #[serde(default)]
    pub spare: u32,
    /// The first so many members of each room publish; 0 for all.
    #[serde(default)]
    pub publishers: u32,
    /// The first so many members stay in a storm that the others come back from; those that publish do in any case.
    #[serde(default)]
    pub stay: u32,
    /// Open or closed loop.
    #[serde(default)]
    pub mode: Mode,
    /// Open loop: publishes a second, per publisher.
    #[serde(default)]
    pub rate: f64,
    /// Open loop: a publisher with so many outstanding waits before it sends the next, which still counts from the time
    /// that was intended.
    #[serde(default)]
    pub outstanding_max: Option<u32>,
    /// Closed loop: publishes outstanding, per publisher.
    #[serde(default = "one")]
    pub outstanding: u32,
    /// Closed loop: hold half of the outstanding publishes back until the first delivery, so that the server has work
    /// while the room's last members read; what reaches a member at once is then half of `outstanding`.
    #[serde(default)]
    pub stagger: bool,
    /// Bytes of the body, or how they are distributed.
    #[serde(default = "body_bytes")]
    pub payload_bytes: Sizes,
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
    /// Share of the connections that read slowly: a gap or an end is expected of them, and their deliveries are counted
    /// apart.
    #[serde(default)]
    pub slow_readers: f64,
    /// Bytes a second that each of those reads at most.
    #[serde(default = "slow_bytes_per_s")]
    pub slow_bytes_per_s: u32,
}

/// One kind of message and its share of a group's publishes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// One of the adapter's kinds.
    pub kind: String,
    /// So many of the sum of all weights.
    pub weight: u32,
    /// Bytes of the body, if not the group's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload_bytes: Option<Sizes>,
}

impl Group {
    /// The path of a room, by its number in the group, for people: a user's name stands for the room's number.
    #[must_use]
    pub fn path(&self, room: u32) -> String {
        self.path_of(room, &format!("(user of room {room:05})"))
    }

    /// The path of a room for a connection of this user.
    #[must_use]
    pub fn path_of(&self, room: u32, user: &str) -> String {
        filled(&self.endpoint, room, user)
    }

    /// What a connection of this user asks for with its token.
    #[must_use]
    pub fn channels_of(&self, room: u32, user: &str) -> Vec<String> {
        self.channels.iter().map(|channel| filled(channel, room, user)).collect()
    }

    /// The kinds of messages and their shares; one alone for a group without a mix.
    #[must_use]
    pub fn shares(&self) -> Vec<Share> {
        if self.mix.is_empty() {
            return vec![Share { kind: self.kind.clone(), weight: 1, payload_bytes: None }];
        }
        self.mix.clone()
    }

    /// Connections of this group.
    #[must_use]
    pub fn connections_count(&self) -> usize {
        let (count, _) = self.members.count(self.rooms);
        usize::try_from(count.saturating_add(u64::from(self.spare))).unwrap_or(usize::MAX)
    }

    /// Publishes that a publisher may have outstanding, if that is bounded.
    #[must_use]
    pub fn limit(&self) -> Option<u32> {
        match self.mode {
            Mode::Open => self.outstanding_max,
            Mode::Closed => Some(self.outstanding),
        }
    }

    /// Members of each room that stay in a storm with `resume`.
    #[must_use]
    pub fn stays_count(&self) -> u32 {
        // Where all publish, all stay.
        if self.publishers == 0 { u32::MAX } else { self.publishers.max(self.stay) }
    }

    /// Members of each room.
    #[must_use]
    pub fn sizes(&self) -> Vec<u32> {
        let mut sizes = self.members.sizes(self.rooms);
        if let Some(last) = sizes.last_mut() {
            *last = last.saturating_add(self.spare);
        }
        sizes
    }

    /// Whether the group's connection of this number reads slowly: spread evenly, and exactly the share of them.
    #[must_use]
    pub fn is_slow(&self, number: u32) -> bool {
        let upto = |count: u32| (f64::from(count) * self.slow_readers + 1e-9).floor();
        upto(number.saturating_add(1)) > upto(number)
    }

    /// The checker's cells, at most: one for each pair of a member and a publisher of its room.
    pub(super) fn cells_count(&self) -> usize {
        let (_, largest) = self.members.count(self.rooms);
        let publishers = self.publishers_count(largest.saturating_add(self.spare));
        self.connections_count().saturating_mul(usize::try_from(publishers).unwrap_or(usize::MAX))
    }

    /// Publishers in a room of so many members.
    #[must_use]
    pub fn publishers_count(&self, members: u32) -> u32 {
        if self.publishers == 0 { members } else { self.publishers.min(members) }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let name = &self.name;
        if self.total_bytes.is_none() {
            self.payload_bytes.check().map_err(|error| format!("group {name}: {error}"))?;
        }
        if self.mode == Mode::Open && !(0.0..=1_000_000.0).contains(&self.rate) {
            return Err(format!("group {name}: rate {} must be 0 to 1000000", self.rate));
        }
        if self.outstanding == 0 || self.outstanding > OUTSTANDING_COUNT_MAX {
            return Err(format!("group {name}: outstanding must be 1 to {OUTSTANDING_COUNT_MAX}"));
        }
        if let Some(most) = self.outstanding_max
            && (self.mode == Mode::Closed || !(1..=OUTSTANDING_COUNT_MAX).contains(&most))
        {
            let bounds = format!("must be 1 to {OUTSTANDING_COUNT_MAX}, and is of the open loop");
            return Err(format!("group {name}: outstanding_max {most}: {bounds}"));
        }
        if !self.endpoint.starts_with('/') {
            return Err(format!("group {name}: endpoint {}: must start with /", self.endpoint));
        }
        self.members.check(self.rooms).map_err(|error| format!("group {name}: {error}"))?;
        if !(0.0..=1.0).contains(&self.slow_readers) {
            return Err(format!("group {name}: slow_readers {}: must be 0 to 1", self.slow_readers));
        }
        if self.slow_readers > 0.0 && self.mode == Mode::Closed {
            return Err(format!("group {name}: slow_readers: must be 0 in the closed loop, which would wait for them"));
        }
        if !(20..=1 << 30).contains(&self.slow_bytes_per_s) {
            return Err(format!("group {name}: slow_bytes_per_s {}: must be 20 to 1073741824", self.slow_bytes_per_s));
        }
        self.check_mix().map_err(|error| format!("group {name}: {error}"))
    }

    fn check_mix(&self) -> Result<(), String> {
        if self.kind.is_empty() == self.mix.is_empty() {
            return Err("must have either kind or mix".to_owned());
        }
        if self.mix.len() > MIX_COUNT_MAX {
            return Err(format!("mix: {} kinds: at most {MIX_COUNT_MAX}", self.mix.len()));
        }
        for (at, share) in self.mix.iter().enumerate() {
            let kind = &share.kind;
            if kind == "echo" {
                return Err("mix: echo needs an endpoint of its own: make it the kind of a group".to_owned());
            }
            if self.mix[..at].iter().any(|other| other.kind == *kind) {
                return Err(format!("mix: {kind} stands there twice"));
            }
            if !(1..=WEIGHT_MAX).contains(&share.weight) {
                return Err(format!("mix: {kind}: weight {} must be 1 to {WEIGHT_MAX}", share.weight));
            }
            if let Some(sizes) = &share.payload_bytes {
                sizes.check().map_err(|error| format!("mix: {kind}: {error}"))?;
            }
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

fn filled(text: &str, room: u32, user: &str) -> String {
    text.replace("{room}", &format!("{room:05}")).replace("{user}", user)
}

fn is_false(value: &bool) -> bool {
    !*value
}
fn is_zero(value: &u32) -> bool {
    *value == 0
}
fn one() -> u32 {
    1
}
fn one_each() -> Members {
    Members::Each(1)
}
fn body_bytes() -> Sizes {
    Sizes::Fixed(128)
}
fn slow_bytes_per_s() -> u32 {
    1024
}

#[cfg(test)]
mod tests {
    use crate::scenario::Scenario;

    #[test]
    fn slow_readers_are_exactly_their_share_and_spread() {
        let text = "name='s'\n[[group]]\nname='g'\nendpoint='/'\nkind='echo'\nrooms=1000";
        for (share, expected) in [("0.0", 0u32), ("0.01", 10), ("0.1", 100), ("0.333", 333), ("1.0", 1000)] {
            let scenario = Scenario::parse(text, &[format!("slow_readers={share}")]).unwrap();
            let slow: Vec<u32> = (0..1000).filter(|&number| scenario.group[0].is_slow(number)).collect();
            assert_eq!(u32::try_from(slow.len()).unwrap(), expected, "{share}");
            let half = u32::try_from(slow.iter().filter(|&&number| number < 500).count()).unwrap();
            assert!(half.abs_diff(expected - half) <= 1, "{share}: {half}");
        }
    }
}
