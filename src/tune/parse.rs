//! The kernel's text forms.

use std::collections::BTreeSet;
use std::path::Path;

use crate::limits::CPU_INDEX_MAX;

/// The soft and the hard limit of this name in the table of `/proc/PID/limits`; `u64::MAX` is none.
pub(super) fn limit(table: &str, name: &str) -> Option<(u64, u64)> {
    let row = table.lines().find_map(|line| line.strip_prefix(name))?;
    let mut values =
        row.split_whitespace().map(|word| if word == "unlimited" { Some(u64::MAX) } else { word.parse().ok() });
    Some((values.next()??, values.next()??))
}

/// The path of a process's group in `/proc/PID/cgroup`: in the second version, or that of a controller in the first.
pub(super) fn group<'a>(text: &'a str, v1: Option<&str>) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        match v1 {
            None => controllers.is_empty().then_some(path),
            Some(wanted) => controllers.split(',').any(|name| name == wanted).then_some(path),
        }
    })
}

/// Numbers and ranges with commas between, such as `0,2-3`. An empty list is one.
pub(super) fn cpu_list(text: &str) -> Option<Vec<usize>> {
    let mut cpus = BTreeSet::new();
    for part in text.trim().split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
        if first > last || last > CPU_INDEX_MAX {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus.into_iter().collect())
}

/// A kernel release's first two numbers.
pub(super) fn release(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// The choice in brackets of a list such as `always [madvise] never`.
pub(super) fn chosen(text: &str) -> Option<&str> {
    Some(text.split_once('[')?.1.split_once(']')?.0)
}

/// What is mounted where a path lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// The mount point.
    pub(super) at: String,
    /// The kind of file system.
    pub(super) kind: String,
    /// Options of the mount and of the file system.
    pub(super) options: Vec<String>,
}

/// The mount of `/proc/PID/mountinfo` that a path lies in: the deepest, and of several at one point the last.
pub(super) fn mount(table: &str, path: &Path) -> Option<Mount> {
    let lines = table.lines().filter_map(|line| {
        let (mount, file_system) = line.split_once(" - ")?;
        let (mut mount, mut file_system) = (mount.split(' ').skip(4), file_system.split(' '));
        let (at, options) = (unescaped(mount.next()?), mount.next()?);
        let (kind, _source) = (file_system.next()?, file_system.next()?);
        let options = options.split(',').chain(file_system.next().unwrap_or("").split(','));
        Some(Mount { at, kind: kind.to_owned(), options: options.map(str::to_owned).collect() })
    });
    lines.filter(|mount| path.starts_with(&mount.at)).max_by_key(|mount| mount.at.trim_end_matches('/').len())
}

/// A path as the kernel writes it: space, tab, newline and backslash are octal.
fn unescaped(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut out = parts.next().unwrap_or("").to_owned();
    for part in parts {
        match part.get(..3).and_then(|octal| u8::from_str_radix(octal, 8).ok()) {
            Some(byte) => {
                out.push(char::from(byte));
                out.push_str(&part[3..]);
            }
            None => {
                out.push('\\');
                out.push_str(part);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_the_kernel_writes_them() {
        let table = "Limit                     Soft Limit           Hard Limit           Units     \n\
                     Max open files            1024                 524288               files     \n\
                     Max locked memory         unlimited            unlimited            bytes     \n";
        assert_eq!(limit(table, "Max open files"), Some((1024, 524_288)));
        assert_eq!(limit(table, "Max locked memory"), Some((u64::MAX, u64::MAX)));
        assert_eq!(limit(table, "Max nothing"), None);
    }

    #[test]
    fn groups_of_both_versions_are_found() {
        let text = "12:cpu,cpuacct:/a\n4:memory:/b/c\n0::/system.slice/x.service\n";
        for (v1, expected) in [
            (None, Some("/system.slice/x.service")),
            (Some("cpu"), Some("/a")),
            (Some("memory"), Some("/b/c")),
            (Some("pids"), None),
        ] {
            assert_eq!(group(text, v1), expected, "{v1:?}");
        }
    }

    #[test]
    fn lists_of_processors_are_read_within_bounds() {
        for (text, expected) in
            [("0-1", Some(vec![0, 1])), ("3,1", Some(vec![1, 3])), ("", Some(Vec::new())), ("2-1", None), ("x", None)]
        {
            assert_eq!(cpu_list(text), expected, "{text}");
        }
        assert_eq!(cpu_list(&format!("{CPU_INDEX_MAX}")), Some(vec![CPU_INDEX_MAX]));
        assert_eq!(cpu_list(&format!("0-{}", CPU_INDEX_MAX + 1)), None);
    }

    #[test]
    fn releases_and_choices_are_read() {
        assert_eq!(release("6.18.44-fc-v595"), Some((6, 18)));
        assert_eq!(release("linux"), None);
        assert_eq!(chosen("always [madvise] never"), Some("madvise"));
        assert_eq!(chosen("none"), None);
    }

    #[test]
    fn a_path_lies_in_its_deepest_mount_and_the_last_one_there() {
        let table = "22 1 259:1 / / rw,relatime shared:1 - ext4 /dev/root rw,discard\n\
                     40 22 0:36 / /var/lib rw shared:9 master:2 - xfs /dev/sdb rw,nobarrier\n\
                     41 22 0:37 / /var/li rw - tmpfs tmpfs rw\n\
                     42 22 0:38 / /my\\040disk ro,nosuid - btrfs /dev/sdc rw\n\
                     43 40 0:39 / /var/lib/w rw - nfs4 host:/w rw\n\
                     44 40 0:40 / /var/lib/w rw - ext4 /dev/sdd rw\n\
                     not a mount\n";
        for (path, at, kind, option) in [
            ("/srv/w", "/", "ext4", "discard"),
            ("/var/lib/x", "/var/lib", "xfs", "nobarrier"),
            ("/var/library", "/", "ext4", "relatime"),
            ("/my disk/w", "/my disk", "btrfs", "ro"),
            ("/var/lib/w/store", "/var/lib/w", "ext4", "rw"),
        ] {
            let found = mount(table, Path::new(path)).unwrap();
            assert_eq!((&*found.at, &*found.kind), (at, kind), "{path}");
            assert!(found.options.iter().any(|set| set == option), "{found:?}");
        }
        assert_eq!(mount("", Path::new("/")), None);
        assert_eq!(unescaped(r"a\040b\134c\x"), r"a b\c\x");
    }
}
