//! The first faults of a run by name, as results tell them.

use std::fmt;
use std::mem::discriminant;

use serde::{Deserialize, Serialize};

use crate::checker::Finding;
use crate::limits::FINDINGS_COUNT_MAX;

/// A fault, and where the room is that it is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingReport {
    /// Group of the room.
    pub group: String,
    /// Path of the room.
    pub path: String,
    /// The fault; its room is numbered over the whole run.
    #[serde(flatten)]
    pub finding: Finding,
}

impl fmt::Display for FindingReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { group, path, finding: Finding { member, what, .. } } = self;
        write!(f, "{group}: member {member} of {path} {what}")
    }
}

/// Adds what another part of the run found; of each kind the first stay.
pub(crate) fn merge(one: &mut Vec<FindingReport>, other: Vec<FindingReport>) {
    for finding in other {
        let kind = discriminant(&finding.finding.what);
        if one.iter().filter(|kept| discriminant(&kept.finding.what) == kind).count() < FINDINGS_COUNT_MAX {
            one.push(finding);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::{Publish, What};

    const LATE: Publish = Publish { publisher: 0, number: 17 };

    fn report(what: What) -> FindingReport {
        let finding = Finding { room: 3, member: 2, what };
        FindingReport { group: "trips".to_owned(), path: "/ws/trips/a-00003/collab".to_owned(), finding }
    }

    #[test]
    fn each_fault_is_told_in_one_sentence_and_kept_in_files() {
        for (what, expected, json) in [
            (
                What::Lost { publisher: 1, first: 4, last: 4 },
                "never got publish 4 of member 1",
                r#""fault":"lost","publisher":1,"first":4,"last":4"#,
            ),
            (
                What::Lost { publisher: 1, first: 4, last: 9 },
                "never got publishes 4 to 9 of member 1",
                r#""first":4,"last":9"#,
            ),
            (
                What::Duplicated(LATE),
                "got publish 17 of member 0 again",
                r#""fault":"duplicated","publisher":0,"number":17"#,
            ),
            (
                What::OutOfOrder { late: LATE, after: 18 },
                "got publish 17 of member 0 after 18 of the same",
                r#""fault":"out_of_order","late":{"publisher":0,"number":17},"after":18"#,
            ),
            (
                What::Disputed { late: LATE, after: Publish { publisher: 1, number: 5 } },
                "got publish 17 of member 0 after publish 5 of member 1, which another member got the other way round",
                r#""fault":"disputed""#,
            ),
            (What::Corrupted, "got a body that is not what was published", r#""fault":"corrupted""#),
            (
                What::NeverSent(LATE),
                "got publish 17 of member 0, which was never sent",
                r#""fault":"never_sent","publisher":0,"number":17"#,
            ),
            (
                What::WrongRoom { connection: 123, number: 17 },
                "got publish 17 of connection 123, which does not publish in this room",
                r#""fault":"wrong_room","connection":123,"number":17"#,
            ),
            (
                What::SeqGap { before: 44, came: 46 },
                "got the server's number 46 after 44",
                r#""fault":"seq_gap","before":44,"came":46"#,
            ),
            (What::Json, "got a message that is no JSON with the body in it", r#""fault":"json""#),
        ] {
            let report = report(what);
            assert_eq!(report.to_string(), format!("trips: member 2 of /ws/trips/a-00003/collab {expected}"));
            let text = serde_json::to_string(&report).unwrap();
            assert!(text.contains(json) && text.contains(r#""room":3,"member":2"#), "{text}");
            assert_eq!(serde_json::from_str::<FindingReport>(&text).unwrap(), report);
        }
    }

    #[test]
    fn of_each_kind_the_first_stay() {
        let many = |what, count: usize| vec![report(what); count];
        let mut all = many(What::Corrupted, FINDINGS_COUNT_MAX - 1);
        merge(&mut all, many(What::Corrupted, 3));
        merge(&mut all, many(What::Json, 2));
        assert_eq!(all.len(), FINDINGS_COUNT_MAX + 2);
    }
}
