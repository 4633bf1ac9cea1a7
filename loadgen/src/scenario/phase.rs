//! One stretch of a run: connections come, traffic goes on, swells, or is cut off.

use serde::{Deserialize, Serialize};

use crate::limits::DURATION_S_MAX;

/// What happens in a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PhaseKind {
    /// Connections are opened; those that are up have their traffic.
    Ramp,
    /// Traffic.
    Hold,
    /// Traffic at another rate.
    Burst,
    /// A share of the connections is cut and comes back.
    Storm,
}

/// One `[[phase]]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// Name in the result; the kind if there is none.
    #[serde(default)]
    pub name: Option<String>,
    /// What happens.
    pub kind: PhaseKind,
    /// Ramp: connections of the whole run that are up at its end.
    #[serde(default)]
    pub to: Option<usize>,
    /// Ramp: connections opened per second; `ramp_per_s` if not said.
    #[serde(default)]
    pub per_s: Option<f64>,
    /// Hold and burst: how long. Ramp and storm: at least so long, so that several processes keep step.
    #[serde(default)]
    pub duration_s: Option<f64>,
    /// Open loop: what rates are multiplied by; 1 if not said. A burst must say it.
    #[serde(default)]
    pub rate_factor: Option<f64>,
    /// Storm: share of the connections that is cut, above 0 and up to 1.
    #[serde(default)]
    pub share: Option<f64>,
    /// Storm: time over which those that were cut come back, each at a moment of its own; 0 for all at once.
    #[serde(default)]
    pub over_s: Option<f64>,
    /// Storm: shortest time that each of those stays away; 0 if not said.
    #[serde(default)]
    pub away_s: Option<f64>,
    /// Storm: those that are cut come back with where they were, and are owed what they missed. Who publishes stays.
    #[serde(default)]
    pub resume: bool,
    /// Whether its latencies are in the groups' ones; if not said, all but those of ramps are.
    #[serde(default)]
    pub measured: Option<bool>,
}

impl PhaseKind {
    /// As a scenario says it.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Ramp => "ramp",
            Self::Hold => "hold",
            Self::Burst => "burst",
            Self::Storm => "storm",
        }
    }
}

impl Phase {
    /// Name in the result.
    #[must_use]
    pub fn title(&self) -> &str {
        self.name.as_deref().unwrap_or_else(|| self.kind.title())
    }

    /// Whether its latencies are in the groups' ones.
    #[must_use]
    pub fn is_measured(&self) -> bool {
        self.measured.unwrap_or(self.kind != PhaseKind::Ramp)
    }

    pub(super) fn check(&self, number: usize, connections: usize) -> Result<(), String> {
        let wrong = |text: String| Err(format!("phase {number} ({}): {text}", self.title()));
        let keys = [
            ("to", self.to.is_some(), PhaseKind::Ramp, "ramp"),
            ("per_s", self.per_s.is_some(), PhaseKind::Ramp, "ramp"),
            ("share", self.share.is_some(), PhaseKind::Storm, "storm"),
            ("over_s", self.over_s.is_some(), PhaseKind::Storm, "storm"),
            ("away_s", self.away_s.is_some(), PhaseKind::Storm, "storm"),
            ("resume", self.resume, PhaseKind::Storm, "storm"),
        ];
        if let Some((key, _, _, title)) = keys.iter().find(|(_, given, kind, _)| *given && *kind != self.kind) {
            return wrong(format!("{key} belongs to a {title}"));
        }
        let timed = matches!(self.kind, PhaseKind::Hold | PhaseKind::Burst);
        match self.duration_s {
            None if timed => return wrong("duration_s is missing".to_owned()),
            Some(duration_s) if !(0.0..=DURATION_S_MAX).contains(&duration_s) || (timed && duration_s == 0.0) => {
                return wrong(format!("duration_s {duration_s}: must be above 0 and at most {DURATION_S_MAX}"));
            }
            _ => {}
        }
        match self.rate_factor {
            None if self.kind == PhaseKind::Burst => return wrong("rate_factor is missing".to_owned()),
            Some(factor) if !(0.0..=1000.0).contains(&factor) => {
                return wrong(format!("rate_factor {factor}: must be 0 to 1000"));
            }
            _ => {}
        }
        match (self.kind, self.to, self.share) {
            (PhaseKind::Ramp, Some(to), _) if to > 0 && to <= connections => {}
            (PhaseKind::Ramp, to, _) => {
                let to = to.map_or_else(|| "is missing".to_owned(), |to| to.to_string());
                return wrong(format!("to {to}: must be 1 to the {connections} connections of the groups"));
            }
            (PhaseKind::Storm, _, Some(share)) if share > 0.0 && share <= 1.0 => {}
            (PhaseKind::Storm, _, share) => {
                let share = share.map_or_else(|| "is missing".to_owned(), |share| share.to_string());
                return wrong(format!("share {share}: must be above 0 and at most 1"));
            }
            _ => {}
        }
        if self.per_s.is_some_and(|per_s| !(per_s > 0.0 && per_s <= 1e9)) {
            return wrong("per_s: must be above 0".to_owned());
        }
        for (key, given) in [("over_s", self.over_s), ("away_s", self.away_s)] {
            if given.is_some_and(|given| !(0.0..=DURATION_S_MAX).contains(&given)) {
                return wrong(format!("{key}: must be 0 to {DURATION_S_MAX}"));
            }
        }
        Ok(())
    }
}
