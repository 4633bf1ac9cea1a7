//! The kernel's text forms.

use std::collections::BTreeSet;

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
}
