//! Every figure of a run under one flat name: what an objective is about and a comparison compares.
//!
//! A name is stable: it stands in objectives and in the reports of other programs. A figure that a run did not measure
//! has no value, which is never taken for 0. Times are microseconds, memory is bytes, shares are of 1. `table` has the
//! names; what they mean stands in docs/LOADGEN.md, which a test holds to it.

mod table;

use std::fmt;

use serde::Serialize;

use crate::report::Report;

pub use table::definitions;

/// What a figure is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Unit {
    /// Microseconds.
    #[serde(rename = "us")]
    Microseconds,
    /// Things.
    #[serde(rename = "count")]
    Count,
    /// Things a second.
    #[serde(rename = "1/s")]
    PerSecond,
    /// Bytes.
    #[serde(rename = "bytes")]
    Bytes,
    /// Of one; a share of a core may be more.
    #[serde(rename = "share")]
    Share,
}

/// Which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// Less is.
    Lower,
    /// More is.
    Higher,
    /// Neither: the scenario decides the figure.
    Neither,
}

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// The name.
    pub name: String,
    /// What it is counted in.
    pub unit: Unit,
    /// Which way is better.
    pub better: Better,
    /// What it is.
    pub meaning: String,
}

/// A name's figure in one run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Metric {
    /// The name.
    pub name: String,
    /// The figure, if the run measured it.
    pub value: Option<f64>,
    /// What it is counted in.
    pub unit: Unit,
    /// Which way is better.
    pub better: Better,
}

/// All figures of one run, in the table's order.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Metrics {
    all: Vec<Metric>,
}

impl Metrics {
    /// The figures of a run.
    #[must_use]
    pub fn new(report: &Report) -> Self {
        let groups: Vec<&str> = report.groups.iter().map(|group| group.name.as_str()).collect();
        let named = definitions(&groups).into_iter().zip(table::values(report));
        let all = named.map(|(Definition { name, unit, better, .. }, value)| Metric { name, value, unit, better });
        Self { all: all.collect() }
    }

    /// Some figures by name, as a second of a run has them.
    pub(crate) fn from_values<'a>(values: impl IntoIterator<Item = (&'a str, Unit, Option<f64>)>) -> Self {
        let named = values.into_iter().map(|(name, unit, value)| Metric {
            name: name.to_owned(),
            value,
            unit,
            better: Better::Neither,
        });
        Self { all: named.collect() }
    }

    /// The figure of this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Metric> {
        self.all.iter().find(|metric| metric.name == name)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Metric> {
        self.all.iter()
    }
}

impl Unit {
    /// The unit of this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        let all = [Self::Microseconds, Self::Count, Self::PerSecond, Self::Bytes, Self::Share];
        all.into_iter().find(|unit| unit.name() == name)
    }

    /// The unit's name in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Microseconds => "us",
            Self::Count => "count",
            Self::PerSecond => "1/s",
            Self::Bytes => "bytes",
            Self::Share => "share",
        }
    }

    /// A value of this unit as people read it.
    #[must_use]
    pub fn show(self, value: f64) -> Shown {
        Shown { unit: self, value }
    }
}

/// A value with its unit, four digits or so.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shown {
    unit: Unit,
    value: f64,
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const KIB: f64 = 1024.0;
        const MIB: f64 = KIB * KIB;
        let size = self.value.abs();
        let (scale, unit) = match self.unit {
            Unit::Microseconds if size >= 1e6 => (1e6, " s"),
            Unit::Microseconds if size >= 1e3 => (1e3, " ms"),
            Unit::Microseconds if size >= 1.0 || size == 0.0 => (1.0, " us"),
            Unit::Microseconds => (1e-3, " ns"),
            Unit::Bytes if size >= KIB * MIB => (KIB * MIB, " GiB"),
            Unit::Bytes if size >= MIB => (MIB, " MiB"),
            Unit::Bytes if size >= 10.0 * KIB => (KIB, " KiB"),
            Unit::Bytes => (1.0, " B"),
            Unit::PerSecond => (1.0, "/s"),
            Unit::Count => (1.0, ""),
            Unit::Share => (0.01, " %"),
        };
        let value = self.value / scale;
        let digits = match value.abs() {
            _ if self.unit == Unit::Count && value.fract() == 0.0 => 0,
            ..10.0 => 2,
            10.0..1000.0 => 1,
            _ => 0,
        };
        f.pad(&format!("{value:.digits$}{unit}"))
    }
}

#[cfg(test)]
mod tests;
