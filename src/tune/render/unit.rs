//! The systemd unit, every line of it with its reason.

use std::fmt::Write as _;

use super::sysctl::comment;
use crate::limits::{DRAIN_LATEST_MS, WATCHDOG_MS_MIN};

/// Seconds of the watchdog: several of the shortest that an idle shard can satisfy.
const WATCHDOG_S: u64 = 10;
/// Seconds that a stop may take beyond the drain before it is forced.
const STOP_SPARE_S: u64 = 8;
const _: () = assert!(WATCHDOG_S * 1000 > 2 * WATCHDOG_MS_MIN);

/// Directives that belong together, and why they are there.
pub(super) struct Group {
    /// Why.
    pub(super) why: &'static str,
    /// The lines.
    pub(super) lines: &'static [&'static str],
}

/// The section `[Service]`, but for what is computed.
pub(super) const SERVICE: &[Group] = &[
    Group {
        why: "The service runs once every shard listens, is restarted when one shard is stuck or the process fails, and not \
              when it refuses its configuration: a start checks that itself, since what fails before it would be tried \
              again. A reload is refused aloud if anything is wrong with what it would read",
        lines: &[
            "Type=notify",
            "NotifyAccess=main",
            "ExecStart=/usr/bin/waystation serve --config /etc/waystation/waystation.toml",
            "ExecReload=/usr/bin/waystation config check --config /etc/waystation/waystation.toml",
            r#"ExecReload=/bin/sh -c "kill -HUP $MAINPID""#,
            "Restart=on-failure",
            "RestartSec=1s",
            "RestartPreventExitStatus=2 78",
        ],
    },
    Group {
        why: "A user of its own that exists while it runs, its state in /var/lib/waystation, its sockets in \
              /run/waystation. Secrets come as credentials: name the file here, \
              and /run/credentials/waystation.service/token.key as secret_file in the configuration",
        lines: &[
            "DynamicUser=yes",
            "StateDirectory=waystation",
            "StateDirectoryMode=0700",
            "RuntimeDirectory=waystation",
            "#LoadCredential=token.key:/etc/waystation/token.key",
            "UMask=0077",
        ],
    },
    Group {
        why: "A descriptor for each connection, up to what the kernel allows one process, and rings that lock memory",
        lines: &["LimitNOFILE=1048576", "LimitMEMLOCK=infinity", "TasksMax=512", "OOMScoreAdjust=-500"],
    },
    Group {
        why: "Nothing but its state can be written, no device, other process or kernel setting be touched. ProcSubset stays \
              `all`: doctor reads /proc/sys",
        lines: &[
            "ProtectSystem=strict",
            "ProtectHome=yes",
            "PrivateTmp=yes",
            "PrivateDevices=yes",
            "PrivateUsers=yes",
            "ProtectProc=invisible",
            "ProtectKernelTunables=yes",
            "ProtectKernelModules=yes",
            "ProtectKernelLogs=yes",
            "ProtectControlGroups=yes",
            "ProtectClock=yes",
            "ProtectHostname=yes",
            "RemoveIPC=yes",
        ],
    },
    Group {
        why: "No privilege, and no way to one. For a port below 1024 add CAP_NET_BIND_SERVICE to AmbientCapabilities and \
              CapabilityBoundingSet, and take PrivateUsers out",
        lines: &[
            "NoNewPrivileges=yes",
            "CapabilityBoundingSet=",
            "AmbientCapabilities=",
            "RestrictSUIDSGID=yes",
            "RestrictNamespaces=yes",
            "RestrictRealtime=yes",
            "LockPersonality=yes",
            "MemoryDenyWriteExecute=yes",
            "KeyringMode=private",
        ],
    },
    Group {
        why: "The calls of a service. io_uring is in @aio, which @system-service has; @resources stays, as shards pin \
              themselves and the start raises its limits",
        lines: &[
            "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
            "SystemCallArchitectures=native",
            "SystemCallFilter=@system-service",
            "SystemCallFilter=~@privileged",
            "SystemCallErrorNumber=EPERM",
        ],
    },
];

/// The lines whose values follow from the server's own times.
fn times() -> Vec<String> {
    let stop_s = DRAIN_LATEST_MS / 1000 + STOP_SPARE_S;
    vec![format!("WatchdogSec={WATCHDOG_S}s"), format!("TimeoutStopSec={stop_s}s")]
}

/// The whole unit.
pub(super) fn unit() -> String {
    let mut out = comment(
        "A systemd unit, for systemd 247 and later. Put it into /etc/systemd/system and change it with `systemctl edit \
         waystation`, not here.",
    );
    out.push_str(
        "\n[Unit]\nDescription=Waystation, a real-time WebSocket gateway\n\
         After=network-online.target time-sync.target\nWants=network-online.target\nStartLimitIntervalSec=60\n\
         StartLimitBurst=5\n\n[Service]\n",
    );
    for (index, group) in SERVICE.iter().enumerate() {
        let _infallible = writeln!(out, "{}{}", comment(&format!("{}.", group.why)), group.lines.join("\n"));
        if index == 0 {
            let _infallible = writeln!(out, "{}", times().join("\n"));
        }
        out.push('\n');
    }
    out.push_str("[Install]\nWantedBy=multi-user.target\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{DRAIN_GRACE_MS, DRAIN_WINDOW_MS};

    #[test]
    fn a_stop_outlasts_a_drain_and_every_directive_stands_once() {
        let unit = unit();
        let value = |key: &str| {
            let line = unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).unwrap();
            line.trim_end_matches('s').parse::<u64>().unwrap()
        };
        assert!(value("TimeoutStopSec") * 1000 > DRAIN_LATEST_MS && DRAIN_LATEST_MS > DRAIN_WINDOW_MS + DRAIN_GRACE_MS);
        assert!(value("WatchdogSec") * 1000 >= WATCHDOG_MS_MIN);
        assert!(unit.contains("\nRestartPreventExitStatus=2 78\n"), "the exit codes of usage and of a refused start");
        let mut keys: Vec<&str> = unit
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| Some(line.split_once('=')?.0))
            .collect();
        let count = keys.len();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len() + 2, count, "but for the two filters, and a reload that is checked first");
        let reload: Vec<&str> = unit.lines().filter_map(|line| line.strip_prefix("ExecReload=")).collect();
        assert!(reload[0].contains(" config check --config ") && reload[1].ends_with("-HUP $MAINPID\""), "{reload:?}");
        let of = |word: &str| unit.lines().find(|line| line.contains(word)).and_then(|line| line.rsplit(' ').next());
        assert_eq!(of(" serve --config "), of(" config check --config "), "what is checked is what is read");
    }
}
