//! What a scenario comes to: steps, one after the other, the same for every thread.

use crate::clock::seconds;
use crate::scenario::{Phase, PhaseKind, Plan, Scenario};

/// Time between the last join and the first publish, so that the two do not mix.
const SETTLE_S: f64 = 0.2;

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    /// What a run that is watched is said to be doing.
    pub(crate) stage: &'static str,
    /// What is done.
    pub(crate) kind: StepKind,
    /// Its phase, if there is traffic.
    pub(crate) phase: Option<StepPhase>,
    /// Not over before so long.
    pub(crate) at_least_ns: u64,
    /// What the server is weighed for at its end.
    pub(crate) weigh: Option<Weigh>,
}

/// What is done in a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum StepKind {
    /// Connections are opened until so many of the run are up; with `more` they are booked with those before.
    Ramp { to: usize, per_s: f64, more: bool },
    /// Nothing but time.
    Hold { ns: u64 },
    /// A share of the connections is cut and comes back.
    Storm(Storm),
    /// All connections are closed.
    Close,
}

/// Who is cut, for how long, and how they come back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Storm {
    /// Share of those that are up.
    pub(crate) share: f64,
    /// Shortest time that each stays away.
    pub(crate) away_ns: u64,
    /// Time after that over which they come back.
    pub(crate) over_ns: u64,
    /// They say where they were, and are owed what they missed; who publishes is not cut.
    pub(crate) resume: bool,
}

/// The traffic of a step.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StepPhase {
    /// Name in the result.
    pub(crate) name: String,
    /// Whether it counts for the groups' latencies.
    pub(crate) measured: bool,
    /// What the rates are multiplied by.
    pub(crate) factor: f64,
    /// The open loop intends nothing beyond so long from its beginning.
    pub(crate) intends_ns: u64,
}

/// What a weight is noted as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weigh {
    /// That of all connections.
    Connected,
    /// That of so many.
    Step,
    /// Not at all: the processor time that they take while nothing happens.
    Rest,
}

impl Step {
    /// Whether threads wait for one another at its end; only what has traffic ends at a time that all know.
    pub(crate) fn has_gate(&self) -> bool {
        self.phase.is_none() || !matches!(self.kind, StepKind::Hold { .. })
    }
}

/// The steps of a scenario.
pub(crate) fn steps(scenario: &Scenario) -> Vec<Step> {
    let all = scenario.connections_count();
    let ramp = |to, more| quiet("connect", StepKind::Ramp { to, per_s: f64::from(scenario.ramp_per_s), more }, None);
    let hold = |stage, weigh| quiet(stage, StepKind::Hold { ns: seconds(scenario.hold_s) }, weigh);
    let close = || quiet("close", StepKind::Close, None);
    match scenario.plan {
        _ if !scenario.phase.is_empty() => scenario.phase.iter().map(|phase| of_phase(phase, scenario)).collect(),
        Plan::Traffic => {
            let settle = quiet("settle", StepKind::Hold { ns: seconds(SETTLE_S) }, Some(Weigh::Connected));
            let warmup = (scenario.warmup_s > 0.0).then(|| loud("warm-up", scenario.warmup_s, false));
            let measured = loud("measure", scenario.duration_s, true);
            [ramp(all, false), settle].into_iter().chain(warmup).chain([measured]).collect()
        }
        Plan::Resume => {
            let settle = quiet("settle", StepKind::Hold { ns: seconds(SETTLE_S) }, Some(Weigh::Connected));
            let warmup = (scenario.warmup_s > 0.0).then(|| loud("warm-up", scenario.warmup_s, false));
            let away_ns = seconds(scenario.away_s);
            let storm = StepKind::Storm(Storm { share: 1.0, away_ns, over_ns: 0, resume: true });
            // What is missed must not depend on how long they take to come back.
            let phase = StepPhase { name: "resume".to_owned(), measured: true, factor: 1.0, intends_ns: away_ns };
            let round = Step { phase: Some(phase), ..quiet("resume", storm, None) };
            let rounds = seconds(scenario.duration_s).div_ceil(away_ns.max(1));
            [ramp(all, false), settle].into_iter().chain(warmup).chain((0..rounds).map(|_| round.clone())).collect()
        }
        Plan::Storm => {
            let wave = || [ramp(all, false), hold("hold", Some(Weigh::Connected)), close(), hold("gone", None)];
            wave().into_iter().chain(wave()).collect()
        }
        Plan::Idle => {
            let steps = scenario.steps.iter().zip(0..);
            let steps = steps.flat_map(|(&to, number)| [ramp(to, number > 0), hold("idle", Some(Weigh::Step))]);
            let rest = quiet("rest", StepKind::Hold { ns: seconds(scenario.rest_s) }, Some(Weigh::Rest));
            let rest = (scenario.rest_s > 0.0).then_some(rest);
            steps.chain(rest).chain([close(), hold("gone", None)]).collect()
        }
    }
}

fn quiet(stage: &'static str, kind: StepKind, weigh: Option<Weigh>) -> Step {
    Step { stage, kind, phase: None, at_least_ns: 0, weigh }
}

fn loud(name: &'static str, duration_s: f64, measured: bool) -> Step {
    let phase = StepPhase { name: name.to_owned(), measured, factor: 1.0, intends_ns: u64::MAX };
    Step { phase: Some(phase), ..quiet(name, StepKind::Hold { ns: seconds(duration_s) }, None) }
}

fn of_phase(phase: &Phase, scenario: &Scenario) -> Step {
    let duration_ns = seconds(phase.duration_s.unwrap_or(0.0));
    let kind = match phase.kind {
        PhaseKind::Ramp => {
            let per_s = phase.per_s.unwrap_or_else(|| f64::from(scenario.ramp_per_s));
            StepKind::Ramp { to: phase.to.unwrap_or(0), per_s, more: false }
        }
        PhaseKind::Hold | PhaseKind::Burst => StepKind::Hold { ns: duration_ns },
        PhaseKind::Storm => {
            let [away_ns, over_ns] = [phase.away_s, phase.over_s].map(|given| seconds(given.unwrap_or(0.0)));
            let share = phase.share.unwrap_or(0.0);
            StepKind::Storm(Storm { share, away_ns, over_ns, resume: phase.resume })
        }
    };
    let factor = phase.rate_factor.unwrap_or(1.0);
    let name = phase.title().to_owned();
    let of = StepPhase { name, measured: phase.is_measured(), factor, intends_ns: u64::MAX };
    Step { stage: phase.kind.title(), kind, phase: Some(of), at_least_ns: duration_ns, weigh: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::SHIPPED;

    fn check(name: &str, changes: &[&str], expected: &[&str]) {
        let changes: Vec<String> = changes.iter().map(|&change| change.to_owned()).collect();
        let (_, text) = SHIPPED.iter().find(|shipped| shipped.0 == name).unwrap();
        let found = steps(&Scenario::parse(text, &changes).unwrap());
        let told: Vec<String> = found
            .iter()
            .map(|step| {
                let kind = match step.kind {
                    StepKind::Ramp { to, more, .. } => format!("ramp {to}{}", if more { " more" } else { "" }),
                    StepKind::Hold { ns } => format!("hold {}", ns / 1_000_000),
                    StepKind::Storm(Storm { share, resume: true, away_ns, .. }) => {
                        format!("resume {share} {}", away_ns / 1_000_000)
                    }
                    StepKind::Storm(Storm { share, .. }) => format!("storm {share}"),
                    StepKind::Close => "close".to_owned(),
                };
                let phase = step.phase.as_ref().map_or_else(String::new, |phase| {
                    format!(" {} {}{}", phase.name, phase.factor, if phase.measured { " measured" } else { "" })
                });
                let weigh = step.weigh.map_or_else(String::new, |weigh| format!(" {weigh:?}"));
                format!("{kind}{phase}{weigh}{}", if step.has_gate() { " |" } else { "" })
            })
            .collect();
        assert_eq!(told, expected, "{name}");
    }

    #[test]
    fn every_course_is_a_list_of_steps() {
        check(
            "trips-10k",
            &[],
            &["ramp 10000 |", "hold 200 Connected |", "hold 5000 warm-up 1", "hold 60000 measure 1 measured"],
        );
        check("trips-10k", &["warmup_s=0"], &["ramp 10000 |", "hold 200 Connected |", "hold 60000 measure 1 measured"]);
        let wave = ["ramp 10000 |", "hold 2000 Connected |", "close |", "hold 2000 |"];
        check("storm", &[], &[wave, wave].concat());
        check(
            "idle",
            &["steps=[20, 61]"],
            &[
                "ramp 20 |",
                "hold 3000 Step |",
                "ramp 61 more |",
                "hold 3000 Step |",
                "hold 60000 Rest |",
                "close |",
                "hold 3000 |",
            ],
        );
        check("idle", &["steps=[20]", "rest_s=0"], &["ramp 20 |", "hold 3000 Step |", "close |", "hold 3000 |"]);
        check(
            "resume",
            &["duration_s=2.1", "away_s=1"],
            &[
                "ramp 1000 |",
                "hold 200 Connected |",
                "hold 2000 warm-up 1",
                "resume 1 1000 resume 1 measured |",
                "resume 1 1000 resume 1 measured |",
                "resume 1 1000 resume 1 measured |",
            ],
        );
        let phases = "phase=[{kind='ramp', to=90}, {kind='hold', duration_s=2, measured=false}, {kind='burst', \
                      name='rush', duration_s=1, rate_factor=3}, {kind='storm', share=0.5}]";
        check(
            "trips-10k",
            &["warmup_s=0", "duration_s=0", phases],
            &["ramp 90 ramp 1 |", "hold 2000 hold 1", "hold 1000 rush 3 measured", "storm 0.5 storm 1 measured |"],
        );
    }
}
