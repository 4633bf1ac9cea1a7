//! The same as `tune apply`, and the running kernel's settings, as a shell script for a person to read.

use std::fmt::Write as _;

use super::apply::{MARK, SUM, wanted};
use super::check::spaced;
use super::words::{counted, wrapped};
use super::{Examined, Finding, Host};

/// The end of a file's text in the script. No text of ours has such a line.
const END: &str = "END_OF_WAYSTATION_FILE";

/// What `apply` does, with the same rules for what it finds: a file that is not ours, or was changed, is kept beside it.
const PUT: &str = r#"
root=${ROOT:-}
# shellcheck disable=SC2016  # The mark is compared as it stands.
ours() {
  [ "$(sed -n 1p "$1")" = 'MARK' ] && [ "$(sed -n 2p "$1")" = "SUM$(tail -n +3 "$1" | sha256sum | cut -c 1-64)" ]
}
same() {
  [ "$(stat -c %d:%i "$1")" = "$(stat -c %d:%i "$2")" ]
}
put() {
  directory=$root$1 path=$root$1/$2
  mkdir -p "$directory"
  if [ -L "$path" ] || { [ -e "$path" ] && [ ! -f "$path" ]; }; then
    echo "$path is a link or no file: remove it first" >&2
    exit 1
  fi
  (umask 022 && cat >"$path.new-waystation")
  if [ -e "$path" ] && ! ours "$path"; then
    ln "$path" "$path.before-waystation" || same "$path" "$path.before-waystation" || exit 1
  fi
  mv "$path.new-waystation" "$path"
}
"#;

/// The script for what was found on this machine.
#[must_use]
pub fn script(host: &Host, examined: &Examined) -> String {
    let plan = examined.plan;
    let mut out = format!(
        "#!/bin/sh\n# Sets this machine for {} on {}. Run it as root, after reading it.\n\
         # To go back: waystation tune revert, and the sysctl lines with the values in the comments.\nset -eu\n",
        counted(plan.connections, "connection"),
        counted(plan.shards, "shard")
    );
    out.push_str(&PUT.replace("MARK", MARK).replace("SUM", SUM));
    for (place, text) in wanted(host, &plan) {
        let _infallible = write!(out, "\nput /{} {} <<'{END}'\n{text}{END}\n", place.directory, place.name);
    }
    out.push_str("\n# The running kernel.\n");
    for finding in &examined.findings {
        let (Some(setting), Some(answer)) = (finding.row.setting, &finding.answer) else { continue };
        let Some(now) = host.sysctl(setting.key).filter(|_| answer.fault.is_some()) else { continue };
        let Some(value) = (setting.value)(&plan, &now).filter(|value| *value != now) else { continue };
        let (before, value) = (spaced(&now), spaced(&value));
        let _infallible = write!(out, "# Before: {before}\nsysctl -w {}='{value}'\n", setting.key);
    }
    let rest: Vec<String> = examined.findings.iter().filter_map(by_hand).collect();
    if !rest.is_empty() {
        out.push_str("\n# What is left to do by hand:\n");
        out.push_str(&rest.concat());
    }
    out
}

/// What no setting mends, as comments.
fn by_hand(finding: &Finding) -> Option<String> {
    let (severity, fix) = finding.answer.as_ref()?.fault.as_ref()?;
    if finding.row.setting.is_some() {
        return None;
    }
    let lines = wrapped(&format!("{} {}: {fix}", severity.word(), finding.row.name), 2);
    Some(lines.iter().map(|line| format!("# {line}\n")).collect())
}
