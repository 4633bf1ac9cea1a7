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
              /run/waystation, and in /var/log/waystation the audit, if the configuration has one. Secrets come as \
              credentials: name the file here, and secret_file = \"$CREDENTIALS_DIRECTORY/token.key\" in the configuration",
        lines: &[
            "DynamicUser=yes",
            "StateDirectory=waystation",
            "StateDirectoryMode=0700",
            "RuntimeDirectory=waystation",
            "LogsDirectory=waystation",
            "LogsDirectoryMode=0700",
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

/// What two instances have besides, that follow one another on the same addresses.
pub(super) const INSTANCE: Group = Group {
    why: "Two of these follow each other on the same addresses: both have one user, the directories of that user, and \
          no store, which one server has at a time. The sockets of the one that comes are not removed with the one that goes",
    lines: &[
        "User=waystation",
        "RuntimeDirectoryPreserve=yes",
        "Environment=WAYSTATION__SERVER__SHARE=true",
        "Environment=WAYSTATION__STORE__DIRECTORY=none",
    ],
};

/// The whole unit.
pub(super) fn unit() -> String {
    let head = "A systemd unit, for systemd 247 and later. Put it into /etc/systemd/system and change it with `systemctl \
                edit waystation`, not here.";
    written(head, "Waystation, a real-time WebSocket gateway", &mut SERVICE.iter())
}

/// The same as a template, of which one instance takes over from another.
pub(super) fn template() -> String {
    let head = "An example: in the place of waystation.service, two instances that take turns, for an upgrade in which \
                nobody is refused. OPERATIONS, Upgrade, has the commands; it needs what is said below, and channels \
                are in memory only.";
    let description = "Waystation, a real-time WebSocket gateway (%i)";
    written(head, description, &mut SERVICE.iter().chain([&INSTANCE]))
}

fn written(head: &str, description: &str, groups: &mut dyn Iterator<Item = &Group>) -> String {
    let mut out = comment(head);
    let _infallible = write!(
        out,
        "\n[Unit]\nDescription={description}\nAfter=network-online.target time-sync.target\n\
         Wants=network-online.target\nStartLimitIntervalSec=60\nStartLimitBurst=5\n\n[Service]\n",
    );
    for (index, group) in groups.enumerate() {
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
    #[test]
    fn a_credential_is_named_in_one_form_wherever_an_example_has_one() {
        let shipped = include_str!("../../../tuning/debian/waystation.toml");
        let told = include_str!("../../../docs/OPERATIONS.md");
        for text in [&unit(), shipped, told] {
            assert!(text.contains("LoadCredential=token.key:/etc/waystation/token.key"), "{text}");
            assert!(text.contains("secret_file = \"$CREDENTIALS_DIRECTORY/token.key\""), "{text}");
            assert!(!text.contains("/run/credentials/"), "the place of it is systemd's to choose");
        }
    }

    #[test]
    fn the_audit_of_the_documents_is_where_the_unit_may_write_and_logrotate_looks() {
        let unit = unit();
        let name = unit.lines().find_map(|line| line.strip_prefix("LogsDirectory=")).unwrap();
        let rotated = include_str!("../../../tuning/logrotate/waystation");
        assert!(rotated.contains(&format!("\n/var/log/{name}/*.json {{\n")), "{rotated}");
        // `reload` would not come that far where the configuration is not good, and a copy that is cut loses entries.
        assert!(rotated.contains("systemctl kill --signal=HUP") && !rotated.contains("copytruncate"), "{rotated}");
        let told = include_str!("../../../docs/OPERATIONS.md");
        assert!(told.contains(&format!("to = \"/var/log/{name}/audit.json\"")));
    }

    #[test]
    fn two_instances_have_what_the_unit_has_and_one_user_with_shared_addresses_and_no_store() {
        let (unit, template) = (unit(), template());
        let directives = |text: &str| -> Vec<String> {
            let lines = text.lines().filter(|line| !line.starts_with('#') && line.contains('='));
            lines.filter(|line| !line.starts_with("Description=")).map(str::to_owned).collect()
        };
        let (of_unit, mut of_both) = (directives(&unit), directives(&template));
        of_both.retain(|line| !INSTANCE.lines.contains(&line.as_str()));
        assert_eq!(of_unit, of_both);
        assert!(INSTANCE.lines.iter().all(|line| template.contains(&format!("\n{line}\n"))));
    }
}
