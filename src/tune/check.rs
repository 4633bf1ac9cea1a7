//! The table held against a machine.

use super::host::sysctl_path;
use super::table::Check;
use super::{Answer, Host, Plan, Row, Setting, Severity, TABLE};

/// What was found of one row.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What it is about.
    pub row: &'static Row,
    /// What was seen; nothing where the machine does not have it or does not tell.
    pub answer: Option<Answer>,
}

impl Finding {
    /// How bad it is, if anything is wrong.
    #[must_use]
    pub fn severity(&self) -> Option<Severity> {
        self.answer.as_ref()?.fault.as_ref().map(|(severity, _)| *severity)
    }
}

/// All that was found on one machine.
#[derive(Clone, Debug)]
pub struct Examined {
    /// What was planned for.
    pub plan: Plan,
    /// One for each row, in the table's order.
    pub findings: Vec<Finding>,
}

impl Examined {
    /// How many findings are this bad.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity() == Some(severity)).count()
    }

    /// The exit code: 2 with an error, 1 with a warning if that counts, else 0.
    #[must_use]
    pub fn exit_code(&self, strict: bool) -> u8 {
        match (self.count(Severity::Error), self.count(Severity::Warning)) {
            (0, 0) => 0,
            (0, _) => u8::from(strict),
            _ => 2,
        }
    }
}

/// Holds every row against a machine.
#[must_use]
pub fn examine(host: &Host, plan: Plan) -> Examined {
    let findings = TABLE.iter().copied().flatten().map(|row| Finding { row, answer: answer(host, &plan, row) });
    Examined { plan, findings: findings.collect() }
}

fn answer(host: &Host, plan: &Plan, row: &Row) -> Option<Answer> {
    match (row.check, &row.setting) {
        (Check::Look(look), _) => look(host, plan),
        (Check::Setting, Some(setting)) => set(host, plan, row, setting),
        (Check::Setting, None) => None,
    }
}

/// Whether a setting has its value.
fn set(host: &Host, plan: &Plan, row: &Row, setting: &Setting) -> Option<Answer> {
    let now = host.sysctl(setting.key)?;
    let wanted = (setting.value)(plan, &now).unwrap_or_else(|| now.clone());
    let fault = (wanted != now).then(|| {
        let (key, value) = (setting.key, spaced(&wanted));
        let value = if wanted.len() > 1 { format!("'{value}'") } else { value };
        (row.severity, format!("sysctl -w {key}={value}, or waystation tune apply"))
    });
    let wanted = if fault.is_some() { spaced(&wanted) } else { row.wanted.to_owned() };
    Some(Answer { place: sysctl_path(setting.key), seen: spaced(&now), wanted, fault })
}

/// Numbers as the kernel writes them.
pub(super) fn spaced(numbers: &[u64]) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_says_all_there_is_to_say_and_has_a_name_of_its_own() {
        let rows: Vec<&Row> = TABLE.iter().copied().flatten().collect();
        for (index, row) in rows.iter().enumerate() {
            let texts = [row.name, row.reads, row.wanted, row.why, row.cost, row.undo];
            assert!(
                texts.iter().all(|text| !text.is_empty() && !text.ends_with('.') && !text.contains('|')),
                "{row:?}"
            );
            assert!(rows[..index].iter().all(|other| other.name != row.name), "{} stands twice", row.name);
            assert!(
                row.reads.contains("/proc")
                    || row.reads.contains("/sys")
                    || row.reads.contains('.')
                    || row.reads.contains("/run")
            );
            assert_eq!(row.setting.map_or(row.name, |setting| setting.key), row.name, "a setting is a row of its name");
            assert!(matches!(row.check, Check::Look(_)) || row.setting.is_some(), "{} is never looked at", row.name);
        }
    }

    #[test]
    fn a_setting_never_makes_worse_what_is_and_stays_as_it_is_once_made() {
        let plan = Plan { connections: 1 << 20, shards: 64, memory_bytes: 1 << 40, send_buffer_bytes: 4 << 20 };
        for setting in TABLE.iter().copied().flatten().filter_map(|row| row.setting) {
            let Some(made) = (setting.value)(&plan, &[]) else { panic!("{} has no value", setting.key) };
            assert_eq!((setting.value)(&plan, &made), Some(made.clone()), "{}", setting.key);
        }
        for (key, now, wanted) in [
            ("net.core.somaxconn", [4095].as_slice(), [4096].as_slice()),
            ("net.core.somaxconn", &[4096], &[4096]),
            ("net.core.somaxconn", &[65_535], &[65_535]),
            ("vm.swappiness", &[60], &[10]),
            ("vm.swappiness", &[0], &[0]),
            ("net.ipv4.tcp_wmem", &[4096, 16_384, 4_194_304], &[4096, 16_384, 262_144]),
            ("net.ipv4.tcp_wmem", &[4096, 16_384, 65_536], &[4096, 16_384, 65_536]),
            ("fs.nr_open", &[1_048_576], &[2_097_152]),
        ] {
            let setting = crate::tune::row(key).and_then(|row| row.setting).unwrap();
            assert_eq!((setting.value)(&plan, now).as_deref(), Some(wanted), "{key}");
        }
    }

    #[test]
    fn the_exit_code_is_the_worst_finding() {
        let plan = Plan { connections: 1, shards: 1, memory_bytes: 1, send_buffer_bytes: 1 };
        let row = TABLE[0].first().unwrap();
        let of = |severities: &[Severity]| {
            let finding = |severity| Finding {
                row,
                answer: Some(Answer {
                    place: String::new(),
                    seen: String::new(),
                    wanted: String::new(),
                    fault: Some((severity, String::new())),
                }),
            };
            let examined = Examined { plan, findings: severities.iter().copied().map(finding).collect() };
            (examined.exit_code(false), examined.exit_code(true))
        };
        assert_eq!(of(&[]), (0, 0));
        assert_eq!(of(&[Severity::Note]), (0, 0));
        assert_eq!(of(&[Severity::Warning, Severity::Note]), (0, 1));
        assert_eq!(of(&[Severity::Warning, Severity::Error]), (2, 2));
    }
}
