//! The network: queues for those who come, memory for what is on its way, and what counts connections.

use super::{Answer, Check, Row, Setting, Severity, at_least};
use crate::limits::{ACCEPT_BACKLOG, SEND_BUFFER_CONNECTIONS};
use crate::tune::check::spaced;
use crate::tune::plan::PAGE;
use crate::tune::words::{grouped, size};
use crate::tune::{Host, Plan};

/// Tracked connections that the kernel allows on a machine with 4 GiB or more.
const CONNTRACK_DEFAULT: u64 = 262_144;
const PORTS: &str = "net.ipv4.ip_local_port_range";

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "net.core.somaxconn",
        reads: "/proc/sys/net/core/somaxconn",
        wanted: "4096, the length of a shard's accept queue",
        severity: Severity::Warning,
        why: "the kernel cuts the queue to this; when all clients come back at once, those who find it full wait a second and more",
        cost: "a few hundred bytes for each who waits",
        undo: "sysctl -w net.core.somaxconn=4096, the kernel's default since 5.4; 128 before",
        check: Check::Setting,
        setting: Some(Setting { key: "net.core.somaxconn", value: backlog, optional: false }),
    },
    Row {
        name: "net.ipv4.tcp_max_syn_backlog",
        reads: "/proc/sys/net/ipv4/tcp_max_syn_backlog",
        wanted: "4096, as the accept queue",
        severity: Severity::Warning,
        why: "handshakes that are not finished yet; over it the kernel falls back to cookies, which lose TCP options",
        cost: "about 300 bytes for each that waits",
        undo: "the value before; the kernel's default grows with memory",
        check: Check::Setting,
        setting: Some(Setting { key: "net.ipv4.tcp_max_syn_backlog", value: backlog, optional: false }),
    },
    Row {
        name: "net.ipv4.tcp_slow_start_after_idle",
        reads: "/proc/sys/net/ipv4/tcp_slow_start_after_idle",
        wanted: "0",
        severity: Severity::Warning,
        why: "a connection that was quiet for a moment would send its next burst as slowly as a new one",
        cost: "a burst into a path that has changed meanwhile may be lost",
        undo: "sysctl -w net.ipv4.tcp_slow_start_after_idle=1, the kernel's default",
        check: Check::Setting,
        setting: Some(Setting {
            key: "net.ipv4.tcp_slow_start_after_idle",
            value: |_, _| Some(vec![0]),
            optional: false,
        }),
    },
    Row {
        name: "net.ipv4.tcp_wmem",
        reads: "/proc/sys/net/ipv4/tcp_wmem",
        wanted: "over 100,000 connections at most 256 KiB",
        severity: Severity::Warning,
        why: "what a slow reader has not taken waits in its own send buffer, up to this; in the room's history it would be shared",
        cost: "one connection over a long and fast path sends at most this much in a round trip",
        undo: "sysctl -w net.ipv4.tcp_wmem='4096 16384 4194304', the kernel's default",
        check: Check::Setting,
        setting: Some(Setting { key: "net.ipv4.tcp_wmem", value: send_buffer, optional: false }),
    },
    Row {
        name: "net.ipv4.tcp_mem",
        reads: "/proc/sys/net/ipv4/tcp_mem, tcp_wmem; MemTotal",
        wanted: "2 pages for each connection, and a full send buffer for one of a hundred, below the second number",
        severity: Severity::Warning,
        why: "above the second number the kernel shrinks everybody's buffers, above the third it drops packets and connections",
        cost: "so much memory may go to socket buffers",
        undo: "the values before; the kernel's defaults grow with memory",
        check: Check::Look(tcp_mem),
        setting: Some(Setting { key: "net.ipv4.tcp_mem", value: tcp_mem_value, optional: false }),
    },
    Row {
        name: "net.netfilter.nf_conntrack_max",
        reads: "/proc/sys/net/netfilter/nf_conntrack_max",
        wanted: "a fifth over the connections, or no conntrack",
        severity: Severity::Error,
        why: "a full table drops packets of new connections without a word to either side",
        cost: "about 320 bytes for each entry that is used",
        undo: "the value before; the kernel's default grows with memory",
        check: Check::Look(conntrack),
        setting: Some(Setting { key: "net.netfilter.nf_conntrack_max", value: conntrack_value, optional: true }),
    },
    Row {
        name: "local-ports",
        reads: "/proc/sys/net/ipv4/ip_local_port_range",
        wanted: "for a proxy or load generator on this machine: a port for each connection",
        severity: Severity::Note,
        why: "who connects from this machine needs a port for each connection to one address; the server itself needs none",
        cost: "services that listen on high ports may find theirs taken: reserve them",
        undo: "sysctl -w net.ipv4.ip_local_port_range='32768 60999', the kernel's default",
        check: Check::Look(local_ports),
        setting: None,
    },
];

fn backlog(_: &Plan, current: &[u64]) -> Option<Vec<u64>> {
    at_least(current, u64::from(ACCEPT_BACKLOG.unsigned_abs()))
}

fn send_buffer(plan: &Plan, current: &[u64]) -> Option<Vec<u64>> {
    let [least, default, most] = *current else {
        return (plan.connections > SEND_BUFFER_CONNECTIONS).then(|| vec![PAGE, 4 * PAGE, plan.send_buffer()]);
    };
    let most = most.min(plan.send_buffer());
    Some(vec![least.min(most), default.min(most), most])
}

/// The kernel's three numbers for this plan, each at least what it is now.
fn tcp_mem_value(plan: &Plan, current: &[u64]) -> Option<Vec<u64>> {
    let needed = plan.tcp_pages();
    if needed.saturating_mul(PAGE) > plan.memory_bytes / 2 {
        return None;
    }
    let wanted = tcp_mem_of(needed);
    Some(
        wanted
            .iter()
            .enumerate()
            .map(|(index, &wanted)| wanted.max(current.get(index).copied().unwrap_or(0)))
            .collect(),
    )
}

/// The three numbers where so many pages are where pressure begins.
const fn tcp_mem_of(pages: u64) -> [u64; 3] {
    [pages / 4 * 3, pages, pages / 2 * 3]
}

fn tcp_mem(host: &Host, plan: &Plan) -> Option<Answer> {
    let now = host.sysctl("net.ipv4.tcp_mem")?;
    let [low, pressure, high] = now[..] else { return None };
    let needed = plan.tcp_pages();
    let seen = format!(
        "{} {} {} pages ({} at most)",
        grouped(low),
        grouped(pressure),
        grouped(high),
        size(high.saturating_mul(PAGE))
    );
    let answer =
        Answer::new("/proc/sys/net/ipv4/tcp_mem", seen, format!("the second number at least {}", plan.tcp_told()));
    let half = plan.memory_bytes / 2;
    Some(answer.fault_if(needed > pressure, Severity::Warning, || {
        if needed.saturating_mul(PAGE) > half {
            format!("more than half of the memory ({}): plan fewer connections, or lower the last number of net.ipv4.tcp_wmem", size(half))
        } else {
            let wanted = tcp_mem_value(plan, &now).unwrap_or_default();
            format!("sysctl -w net.ipv4.tcp_mem='{}', or waystation tune apply", spaced(&wanted))
        }
    }))
}

fn conntrack_value(plan: &Plan, current: &[u64]) -> Option<Vec<u64>> {
    // Where it is not known what there is, not less than what the kernel takes on a machine of this kind.
    let least = if current.is_empty() { CONNTRACK_DEFAULT } else { 0 };
    at_least(current, (plan.connections.div_ceil(5) * 6).max(least))
}

fn conntrack(host: &Host, plan: &Plan) -> Option<Answer> {
    let most = host.number("/proc/sys/net/netfilter/nf_conntrack_max")?;
    let wanted = plan.connections.div_ceil(5) * 6;
    let severity = if most < plan.connections { Severity::Error } else { Severity::Warning };
    let told = format!("{} connections and a fifth: {}", grouped(plan.connections), grouped(wanted));
    let answer = Answer::new("/proc/sys/net/netfilter/nf_conntrack_max", grouped(most), told);
    Some(answer.fault_if(most < wanted, severity, || {
        format!("sysctl -w net.netfilter.nf_conntrack_max={wanted}, or tuning/nftables/waystation-notrack.nft")
    }))
}

fn local_ports(host: &Host, plan: &Plan) -> Option<Answer> {
    let [first, last] = host.sysctl(PORTS)?[..] else { return None };
    let count = (last + 1).saturating_sub(first);
    let seen = format!("{first} to {last}, {} ports", grouped(count));
    let wanted = format!("{} for a proxy here with one address", grouped(plan.connections));
    let answer = Answer::new("/proc/sys/net/ipv4/ip_local_port_range", seen, wanted);
    Some(answer.fault_if(count < plan.connections, Severity::Note, || {
        format!("let a proxy use several source addresses, or a Unix socket; or sysctl -w {PORTS}='10240 65535'")
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{BUFFER_PAGES_PER_CONNECTION, SEND_BUFFER_BYTES, SLOW_READER_SHARE};

    const PLAN: Plan = Plan { connections: 10_000, shards: 1, memory_bytes: 1 << 40, send_buffer_bytes: 4 << 20 };

    #[test]
    fn send_buffers_are_cut_above_so_many_connections_and_memory_for_them_is_planned_by_that() {
        for (connections, bytes) in [
            (SEND_BUFFER_CONNECTIONS - 1, 4 << 20),
            (SEND_BUFFER_CONNECTIONS, 4 << 20),
            (SEND_BUFFER_CONNECTIONS + 1, SEND_BUFFER_BYTES),
        ] {
            let plan = Plan { connections, ..PLAN };
            let sizes = send_buffer(&plan, &[PAGE, 4 * PAGE, 4 << 20]).unwrap();
            let pressure = tcp_mem_value(&plan, &[]).unwrap()[1];
            let slow = connections.div_ceil(SLOW_READER_SHARE);
            assert_eq!(sizes, [PAGE, 4 * PAGE, bytes], "{connections}");
            assert_eq!(pressure, connections * BUFFER_PAGES_PER_CONNECTION + slow * bytes / PAGE, "{connections}");
        }
    }

    #[test]
    fn more_than_half_of_the_memory_is_never_given_to_buffers() {
        let needed = PLAN.tcp_pages() * PAGE;
        assert_eq!(tcp_mem_value(&Plan { memory_bytes: needed * 2 - 1, ..PLAN }, &[]), None);
        assert!(tcp_mem_value(&Plan { memory_bytes: needed * 2, ..PLAN }, &[]).is_some());
    }
}
