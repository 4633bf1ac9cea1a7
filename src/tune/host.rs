//! The machine's files below a root. With a root of its own nothing leads out of it: links are followed inside.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Dir, Mode, OFlags, ResolveFlags, openat, openat2};

use super::disk::Disk;
use super::parse;
use crate::limits::{HOST_FILE_BYTES_MAX, HOST_NAMES_MAX};
use crate::runtime::probe::Capability;

/// What no file tells: asked of the running system, and only of it.
#[derive(Clone, Debug)]
pub struct Live {
    /// Whether a ring can be built here, else why not and what to do.
    pub ring: Result<(), String>,
    /// Whether the kernel takes its clock for right; nothing if it does not tell.
    pub clock_is_kept: Option<bool>,
    /// What the disk with the gateway's data told; nothing if it has none.
    pub disk: Option<Disk>,
}

/// A machine as its files show it.
#[derive(Debug)]
pub struct Host {
    root: OwnedFd,
    path: PathBuf,
    /// What was asked of the running system; nothing for an image of another machine.
    pub live: Option<Live>,
    /// Where the gateway's data is, or would be made; nothing if it keeps none.
    pub data: Option<PathBuf>,
}

impl Host {
    /// The machine whose files are below `root`.
    ///
    /// # Errors
    /// The root is no directory that can be opened.
    pub fn new(root: &Path, live: Option<Live>) -> io::Result<Self> {
        let fd = openat(CWD, root, OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { root: fd, path: root.to_owned(), live, data: None })
    }

    /// The same, with the gateway's data there.
    #[must_use]
    pub fn with_data(self, data: Option<PathBuf>) -> Self {
        Self { data, ..self }
    }

    /// Where its files are.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a path as this machine would, from its own root.
    pub(super) fn open(&self, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC;
        if self.path == Path::new("/") {
            return Ok(openat(CWD, path, flags, Mode::empty())?);
        }
        Ok(openat2(self.root.as_fd(), path, flags, Mode::empty(), ResolveFlags::IN_ROOT)?)
    }

    /// The beginning of a file, without white space around it; `None` if it cannot be read.
    pub(super) fn read(&self, path: &str) -> Option<String> {
        self.read_whole(path).map(|text| text.trim().to_owned())
    }

    /// The beginning of a file as it is. No file of ours is longer.
    pub(super) fn read_whole(&self, path: &str) -> Option<String> {
        let file = File::from(self.open(path, OFlags::RDONLY | OFlags::NONBLOCK).ok()?);
        let mut bytes = Vec::new();
        file.take(HOST_FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The numbers in a file.
    pub(super) fn numbers(&self, path: &str) -> Option<Vec<u64>> {
        let numbers: Vec<u64> = self.read(path)?.split_whitespace().map_while(|word| word.parse().ok()).collect();
        (!numbers.is_empty()).then_some(numbers)
    }

    /// The first number in a file.
    pub(super) fn number(&self, path: &str) -> Option<u64> {
        self.numbers(path)?.first().copied()
    }

    /// A kernel setting's numbers.
    pub(super) fn sysctl(&self, key: &str) -> Option<Vec<u64>> {
        self.numbers(&sysctl_path(key))
    }

    /// The names in a directory, ascending; none if it cannot be read.
    pub(super) fn names(&self, path: &str) -> Vec<String> {
        let Ok(fd) = self.open(path, OFlags::RDONLY | OFlags::DIRECTORY) else { return Vec::new() };
        let Ok(entries) = Dir::read_from(fd) else { return Vec::new() };
        let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> = names.filter(|name| name != "." && name != "..").take(HOST_NAMES_MAX).collect();
        names.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
        names
    }

    /// Whether there is such a path.
    pub(super) fn has(&self, path: &str) -> bool {
        self.open(path, OFlags::PATH).is_ok()
    }

    /// A line of `/proc/self/status`.
    pub(super) fn status(&self, name: &str) -> Option<String> {
        let text = self.read("/proc/self/status")?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.trim().to_owned())
    }

    /// The soft and the hard limit of this name in `/proc/self/limits`; `u64::MAX` is none.
    pub(super) fn limit(&self, name: &str) -> Option<(u64, u64)> {
        parse::limit(&self.read("/proc/self/limits")?, name)
    }

    /// Whether this process has a capability that counts for the whole machine.
    pub(super) fn is_capable(&self, capability: Capability) -> bool {
        let users = self.read("/proc/self/uid_map").unwrap_or_default();
        capability.is_held(&self.status("CapEff").unwrap_or_default(), &users)
    }

    /// A control group's file of this name from the process's own group up to the top, each with its path. `v1` is
    /// the name of the controller in the first version, whose files have their own names.
    pub(super) fn control(&self, file: &str, v1: Option<&str>) -> Vec<(String, String)> {
        let groups = self.read("/proc/self/cgroup").unwrap_or_default();
        let Some(group) = parse::group(&groups, v1) else { return Vec::new() };
        let top = v1.map_or_else(|| "/sys/fs/cgroup".to_owned(), |controller| format!("/sys/fs/cgroup/{controller}"));
        let levels = Path::new(group).ancestors().map(|level| level.to_string_lossy().into_owned());
        let paths = levels.map(|level| format!("{top}{}/{file}", level.trim_end_matches('/')));
        paths.filter_map(|path| Some((path.clone(), self.read(&path)?))).collect()
    }

    /// Processors that this process may use and that are there: without a cpuset it is allowed those that are not.
    pub(super) fn cpus(&self) -> Option<Vec<usize>> {
        let online = self.read("/sys/devices/system/cpu/online").and_then(|list| parse::cpu_list(&list));
        let Some(allowed) = self.status("Cpus_allowed_list") else { return online };
        let mut cpus = parse::cpu_list(&allowed)?;
        if let Some(online) = online {
            cpus.retain(|cpu| online.contains(cpu));
        }
        Some(cpus)
    }

    /// The tightest time quota of its control groups: where, and thousandths of a processor.
    pub(super) fn quota(&self) -> Option<(String, u64)> {
        let second = self.control("cpu.max", None).into_iter().filter_map(|(path, text)| {
            let (quota, period) = text.split_once(' ')?;
            Some((path, quota.parse::<u64>().ok()?, period.trim().parse::<u64>().ok()?))
        });
        let first = self.control("cpu.cfs_quota_us", Some("cpu")).into_iter().filter_map(|(path, text)| {
            let period = self.number(&path.replace("cfs_quota_us", "cfs_period_us"))?;
            Some((path, text.parse::<u64>().ok()?, period))
        });
        let parts = second.chain(first).filter(|(_, _, period)| *period > 0);
        parts.map(|(path, quota, period)| (path, quota.saturating_mul(1000) / period)).min_by_key(|(_, share)| *share)
    }

    /// The memory that this process can have, in bytes, and where that is said.
    pub(super) fn memory(&self) -> Option<(String, u64)> {
        let text = self.read("/proc/meminfo")?;
        let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        let total =
            ("/proc/meminfo".to_owned(), total.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)?);
        let groups = [self.control("memory.max", None), self.control("memory.limit_in_bytes", Some("memory"))];
        let groups = groups.into_iter().flatten().filter_map(|(path, text)| Some((path, text.parse().ok()?)));
        groups.chain([total]).min_by_key(|(_, bytes)| *bytes)
    }
}

/// Where a kernel setting is read.
pub(super) fn sysctl_path(key: &str) -> String {
    format!("/proc/sys/{}", key.replace('.', "/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A root of a test's own, gone with it.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("waystation-host-{name}-{}", std::process::id()));
            std::fs::create_dir_all(path.join("d")).unwrap();
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _already_gone = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_file_is_read_up_to_its_bound() {
        let scratch = Scratch::new("file");
        let host = Host::new(&scratch.0, None).unwrap();
        for (bytes, read) in [
            (HOST_FILE_BYTES_MAX - 1, HOST_FILE_BYTES_MAX - 1),
            (HOST_FILE_BYTES_MAX, HOST_FILE_BYTES_MAX),
            (HOST_FILE_BYTES_MAX + 1, HOST_FILE_BYTES_MAX),
        ] {
            std::fs::write(scratch.0.join("f"), "x".repeat(usize::try_from(bytes).unwrap())).unwrap();
            assert_eq!(host.read("/f").map(|text| text.len() as u64), Some(read));
        }
        assert_eq!((host.read("/none"), host.read("/d")), (None, None));
    }

    #[test]
    fn so_many_names_of_a_directory_are_taken() {
        let scratch = Scratch::new("names");
        let host = Host::new(&scratch.0, None).unwrap();
        for name in 0..HOST_NAMES_MAX {
            std::fs::write(scratch.0.join(format!("d/{name}")), "").unwrap();
        }
        let names = host.names("/d");
        assert_eq!(
            (names.len(), &*names[0], &*names[10]),
            (HOST_NAMES_MAX, "0", "10"),
            "in the order of their numbers"
        );
        std::fs::write(scratch.0.join("d/more"), "").unwrap();
        assert_eq!(host.names("/d").len(), HOST_NAMES_MAX);
        assert!(host.names("/none").is_empty() && host.has("/d") && !host.has("/none"));
    }
}
