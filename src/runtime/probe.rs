//! What must be there before a shard can start: io_uring, and memory that may be locked for it.
//!
//! Called at start and by the doctor. Every error says what to do. Absent: changing anything.

use std::fmt;
use std::io;

use rustix::process::{Resource, getrlimit};

use super::ring::{Ring, RingSizes};
use crate::limits::{EXECUTOR_IO_BYTES, EXECUTOR_RING_DEPTH, MEMLOCK_BYTES_MIN, MEMLOCK_START_BYTES};

/// The first kernel with everything that a ring uses (deferred completions came last).
pub const KERNEL_MIN: (u32, u32) = (6, 1);

/// Why no ring can be built here.
#[derive(Debug)]
pub enum ProbeError {
    /// The kernel does not know io_uring, or a sandbox pretends that it does not.
    Missing,
    /// The kernel is too old; its release.
    TooOld(String),
    /// `kernel.io_uring_disabled` forbids it; its value.
    Disabled(u32),
    /// A sandbox, most often a container's seccomp profile, forbids it.
    Forbidden,
    /// The user may not lock enough memory.
    Memlock {
        /// Bytes needed in all.
        needed: u64,
        /// Bytes allowed; `None` if the limit is not what was in the way.
        allowed: Option<u64>,
    },
    /// Anything else.
    Other(io::Error),
}

impl ProbeError {
    /// What a failed set-up means on this machine.
    pub(super) fn of_setup(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::ENOSYS) => Self::Missing,
            Some(libc::EPERM | libc::EACCES) => match disabled() {
                Some(value) if value > 0 => Self::Disabled(value),
                _ => Self::Forbidden,
            },
            Some(libc::EINVAL) if is_too_old(&release()) => Self::TooOld(release()),
            Some(libc::ENOMEM) => {
                Self::Memlock { needed: memlock_bytes(1, RingSizes::default()), allowed: memlock_limit() }
            }
            _ => Self::Other(error),
        }
    }
}

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor) = KERNEL_MIN;
        match self {
            Self::Missing => {
                write!(f, "no io_uring here: use Linux {major}.{minor} or later, outside gVisor-like sandboxes")
            }
            Self::TooOld(release) => write!(f, "kernel {release} is too old: Linux {major}.{minor} or later is needed"),
            Self::Disabled(value) => {
                write!(f, "kernel.io_uring_disabled is {value}: set it to 0 (sysctl -w kernel.io_uring_disabled=0)")
            }
            Self::Forbidden => write!(
                f,
                "io_uring is forbidden by a sandbox: allow io_uring_setup, io_uring_enter and io_uring_register in the container's seccomp profile"
            ),
            Self::Memlock { needed, allowed } => {
                write!(f, "{needed} bytes of locked memory are needed")?;
                if let Some(allowed) = allowed {
                    write!(f, ", {allowed} are allowed")?;
                }
                write!(
                    f,
                    ": raise LimitMEMLOCK (systemd), --ulimit memlock (container) or ulimit -l, or start fewer shards"
                )
            }
            Self::Other(error) => write!(f, "the ring cannot be built: {error}"),
        }
    }
}

impl std::error::Error for ProbeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        if let Self::Other(error) = self { Some(error) } else { None }
    }
}

/// Builds a ring as a shard does and drops it.
///
/// # Errors
/// Why it could not, with what to do.
pub fn probe(sizes: RingSizes) -> Result<(), ProbeError> {
    Ring::new(sizes).map(drop)
}

/// What lifts a limit of the kernel, by its bit in a set of capabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// What this process locks is not counted.
    IpcLock = 14,
    /// `kernel.io_uring_disabled=1` does not hold.
    SysAdmin = 21,
}

impl Capability {
    /// Whether a process has it on the machine itself, by `CapEff` of its status and its `uid_map`. Root of a user
    /// namespace has every capability there and none here, and root of a container those that it was left.
    #[must_use]
    pub fn is_held(self, effective: &str, users: &str) -> bool {
        let set = u64::from_str_radix(effective.trim(), 16).unwrap_or(0);
        set >> (self as u32) & 1 == 1 && users.split_whitespace().eq(["0", "0", "4294967295"])
    }

    /// Whether this process has it.
    fn is_ours(self) -> bool {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let status = read("/proc/self/status");
        let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap_or_default();
        self.is_held(effective, &read("/proc/self/uid_map"))
    }
}

/// Whether the kernel takes its clock for right, which is set by who keeps it; `None` if a sandbox forbids the question.
#[must_use]
#[expect(unsafe_code, reason = "no library asks this without changing the clock")]
pub fn clock_is_kept() -> Option<bool> {
    // JUSTIFICATION: the kernel's own word needs no right to see a time service's files, nor its processes.
    // SAFETY: a struct of integers, for which zero is a value: `modes` of zero changes nothing.
    let mut timex = unsafe { std::mem::zeroed::<libc::timex>() };
    // JUSTIFICATION: as above.
    // SAFETY: it is ours and lives until the call is over.
    let state = unsafe { libc::adjtimex(&raw mut timex) };
    (state >= 0).then_some(timex.status & libc::STA_UNSYNC == 0)
}

/// Checks that this user may lock what `shards` shards need.
///
/// # Errors
/// The need and the limit.
pub fn probe_memlock(shards: usize, sizes: RingSizes) -> Result<(), ProbeError> {
    memlock_enough(memlock_limit(), Capability::IpcLock.is_ours(), memlock_bytes(shards, sizes))
}

/// Whether `counted` bytes may be locked. Who is `free`, by a capability, is not counted, but the executor library asks
/// everybody for its minimum.
fn memlock_enough(allowed: Option<u64>, free: bool, counted: u64) -> Result<(), ProbeError> {
    let needed = if free { MEMLOCK_BYTES_MIN } else { counted.max(MEMLOCK_BYTES_MIN) };
    match allowed {
        Some(limit) if limit < needed => Err(ProbeError::Memlock { needed, allowed }),
        _ => Ok(()),
    }
}

/// Bytes that count against the limit: each shard's own ring with its buffer ring (the buffers themselves
/// are not locked), and its executor's rings and registered memory.
#[must_use]
pub fn memlock_bytes(shards: usize, sizes: RingSizes) -> u64 {
    const PAGE: u64 = 4096;
    const EXECUTOR_RINGS: u64 = 3;
    let pages = |bytes: u64| bytes.div_ceil(PAGE) * PAGE;
    // The header of a queue and its index, 64 bytes a submission, 16 a completion or offered buffer.
    let ring =
        |submissions: u64, completions: u64| pages(PAGE + 4 * submissions + 16 * completions) + pages(64 * submissions);
    let depth = EXECUTOR_RING_DEPTH as u64;
    let own = ring(sizes.submissions.into(), sizes.completions.into()) + pages(16 * u64::from(sizes.buffers));
    let executor = EXECUTOR_RINGS * ring(depth, 2 * depth) + EXECUTOR_IO_BYTES as u64;
    MEMLOCK_START_BYTES + (own + executor) * shards as u64
}

fn memlock_limit() -> Option<u64> {
    getrlimit(Resource::Memlock).current
}

fn disabled() -> Option<u32> {
    std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?.trim().parse().ok()
}

fn release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// Whether a kernel release names a version below the one needed. A release that cannot be read is not.
fn is_too_old(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    matches!((numbers.next(), numbers.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) < KERNEL_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_too_old_below_the_version_and_not_at_it() {
        for (release, expected) in [
            ("5.15.0-91-generic", true),
            ("6.0.19", true),
            ("6.1.0", false),
            ("6.1-rc1", false),
            ("6.18.44-fc-v595", false),
            ("10.0", false),
            ("", false),
            ("linux", false),
        ] {
            assert_eq!(is_too_old(release), expected, "{release:?}");
        }
    }

    #[test]
    fn a_ring_can_be_built_here() {
        probe(RingSizes::default()).unwrap();
    }

    #[test]
    fn the_need_for_locked_memory_is_a_little_over_what_was_measured() {
        for (shards, measured_kib) in [(1, 512), (2, 684), (4, 1076)] {
            let computed = memlock_bytes(shards, RingSizes::default()) / 1024;
            assert!((measured_kib..measured_kib + 128).contains(&computed), "{shards} shards: {computed} KiB");
        }
    }

    #[test]
    fn locked_memory_must_hold_what_a_plain_user_is_counted_and_the_librarys_minimum() {
        let (counted, min) = (memlock_bytes(4, RingSizes::default()), MEMLOCK_BYTES_MIN);
        assert!(counted > min);
        for (allowed, free, counted, good) in [
            (None, false, u64::MAX, true),
            (Some(counted - 1), false, counted, false),
            (Some(counted), false, counted, true),
            (Some(counted + 1), false, counted, true),
            (Some(min - 1), true, counted, false),
            (Some(min), true, counted, true),
            (Some(min + 1), true, counted, true),
            (Some(min - 1), false, 1, false),
            (Some(min), false, 1, true),
        ] {
            assert_eq!(memlock_enough(allowed, free, counted).is_ok(), good, "{allowed:?} {free} {counted}");
        }
    }

    #[test]
    fn a_capability_counts_where_users_are_the_machines_own() {
        let (whole, own) = ("         0          0 4294967295\n", "         0     100000      65536\n");
        for (effective, users, lock, admin) in [
            ("000001ffffffffff", whole, true, true),
            // A container's root, as Docker leaves it.
            ("00000000a80425fb", whole, false, false),
            ("0000000000004000", whole, true, false),
            ("0000000000200000", whole, false, true),
            ("000001ffffffffff", own, false, false),
            ("000001ffffffffff", "0 0 1\n1 1 4294967294\n", false, false),
            ("000001ffffffffff", "", false, false),
            ("0000000000000000", whole, false, false),
            ("", whole, false, false),
        ] {
            let held = |capability: Capability| capability.is_held(effective, users);
            assert_eq!((held(Capability::IpcLock), held(Capability::SysAdmin)), (lock, admin), "{effective} {users}");
        }
    }

    #[test]
    fn the_clock_is_asked_and_not_changed() {
        // A sandbox may forbid it; two answers in a row are one.
        assert_eq!(clock_is_kept(), clock_is_kept());
    }

    #[test]
    fn every_error_says_what_to_do() {
        for (error, advice) in [
            (ProbeError::Missing, "6.1 or later"),
            (ProbeError::TooOld("5.4".into()), "6.1 or later"),
            (ProbeError::Disabled(2), "sysctl -w"),
            (ProbeError::Forbidden, "seccomp"),
            (ProbeError::Memlock { needed: 2, allowed: Some(1) }, "ulimit -l"),
        ] {
            assert!(error.to_string().contains(advice), "{error}");
        }
    }
}
