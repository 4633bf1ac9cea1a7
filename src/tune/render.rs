//! The table written down: the files of `tuning/` and `docs/TUNING.md`.
//!
//! Values that depend on a plan are those of two: [`USUAL`], whose memory is not known, and [`MILLION`]. Files in
//! which nothing depends on anything are in `tuning/` themselves and only carried along.

mod nft;
mod page;
mod seccomp;
mod sysctl;
mod unit;

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::Plan;
use super::plan::SEND_BUFFER_DEFAULT;

pub(super) use sysctl::{conntrack_rule, limits, sysctl};

/// Good for most machines. No value depends on how much memory there is.
pub const USUAL: Plan =
    Plan { connections: 100_000, shards: 16, memory_bytes: 0, send_buffer_bytes: SEND_BUFFER_DEFAULT };
/// A machine for a million connections.
pub const MILLION: Plan = Plan { connections: 1_000_000, shards: 64, memory_bytes: 128 << 30, ..USUAL };

/// A file that is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// Where, from the root of the sources.
    pub path: &'static str,
    /// Its whole text.
    pub text: String,
    /// Whether it is a program.
    pub program: bool,
}

/// Every file.
#[must_use]
pub fn files() -> Vec<Rendered> {
    let file = |path, text: String| Rendered { path, text, program: false };
    let carried = |path, text: &str| file(path, text.to_owned());
    let script = carried("tuning/scripts/nic-affinity.sh", include_str!("../../tuning/scripts/nic-affinity.sh"));
    vec![
        file("docs/TUNING.md", page::page()),
        file("tuning/sysctl.d/60-waystation.conf", sysctl(&USUAL, &|_| Some(Vec::new()), sysctl::USUAL_HEAD)),
        file("tuning/sysctl.d/61-waystation-1m.conf", sysctl(&MILLION, &|_| Some(Vec::new()), sysctl::MILLION_HEAD)),
        file("tuning/limits.d/60-waystation.conf", limits(&MILLION, sysctl::LIMITS_HEAD)),
        file("tuning/systemd/waystation.service", unit::unit()),
        file("tuning/systemd/waystation@.service", unit::template()),
        carried("tuning/systemd/waystation-nic@.service", include_str!("../../tuning/systemd/waystation-nic@.service")),
        file("tuning/udev/60-waystation.rules", sysctl::conntrack_rule()),
        carried("tuning/udev/70-waystation-nic.rules", include_str!("../../tuning/udev/70-waystation-nic.rules")),
        Rendered { program: true, ..script },
        file("tuning/nftables/waystation-notrack.nft", nft::notrack()),
        file("tuning/tuned/waystation/tuned.conf", sysctl::tuned()),
        file("tuning/docker/seccomp-io-uring.json", seccomp::profile()),
    ]
}

/// Writes every file below `directory`.
///
/// # Errors
/// A file or its directory cannot be written.
pub fn write(directory: &Path) -> io::Result<()> {
    for file in files() {
        let path = directory.join(file.path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let mode = if file.program { 0o755 } else { 0o644 };
        let mut out = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&path)?;
        out.write_all(file.text.as_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_files_in_the_tree_are_what_the_table_says() {
        for file in files() {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file.path);
            let text = fs::read_to_string(&path).unwrap_or_default();
            assert!(text == file.text, "{} is out of date: run `waystation tune render .`", file.path);
            let runs = fs::metadata(&path).unwrap().permissions().mode() & 0o111 != 0;
            assert_eq!(runs, file.program, "{}", file.path);
        }
    }
}
