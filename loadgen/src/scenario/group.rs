//! Rooms of one kind: who is in them, who publishes what and when.

use serde::{Deserialize, Serialize};

use crate::limits::{MIX_COUNT_MAX, OUTSTANDING_COUNT_MAX, WEIGHT_MAX};
use crate::marker::MARKER_BYTES;

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
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Several kinds instead, by weight.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mix: Vec<Share>,
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
    pub payload_bytes: Option<usize>,
}

impl Group {
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
        let count = u64::from(self.rooms) * u64::from(self.members) + u64::from(self.spare);
        usize::try_from(count).unwrap_or(usize::MAX)
    }

    /// Publishers in a room of so many members.
    #[must_use]
    pub fn publishers_count(&self, members: u32) -> u32 {
        if self.publishers == 0 { members } else { self.publishers.min(members) }
    }

    pub(super) fn check(&self) -> Result<(), String> {
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
            if let Some(bytes) = share.payload_bytes {
                check_body(bytes).map_err(|error| format!("mix: {kind}: {error}"))?;
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

fn one() -> u32 {
    1
}
fn body_bytes() -> usize {
    128
}
