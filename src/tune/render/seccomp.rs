//! Docker's default seccomp profile with the three system calls of io_uring, which it has left out since version 25.

/// The default profile as Docker has it.
const DEFAULT: &str = include_str!("../../../tuning/docker/default.json");
/// What stands before the first group of system calls.
const GROUPS: &str = "\t\"syscalls\": [\n";
/// The group that is added.
const GROUP: &str = "\t\t{
\t\t\t\"names\": [
\t\t\t\t\"io_uring_enter\",
\t\t\t\t\"io_uring_register\",
\t\t\t\t\"io_uring_setup\"
\t\t\t],
\t\t\t\"action\": \"SCMP_ACT_ALLOW\",
\t\t\t\"comment\": \"Waystation reads its connections through io_uring\"
\t\t},
";

/// The profile.
pub(super) fn profile() -> String {
    DEFAULT.replacen(GROUPS, &format!("{GROUPS}{GROUP}"), 1)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_profile_is_the_default_one_and_one_group_of_three_calls() {
        let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let (mut ours, theirs) = (read(&profile()), read(DEFAULT));
        let added = ours["syscalls"].as_array_mut().unwrap().remove(0);
        assert_eq!(ours, theirs);
        assert_eq!(added["names"], serde_json::json!(["io_uring_enter", "io_uring_register", "io_uring_setup"]));
        assert_eq!(added["action"], "SCMP_ACT_ALLOW");
        assert!(!DEFAULT.contains("io_uring"), "it would not be needed");
    }
}
