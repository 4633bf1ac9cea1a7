//! What the machine is to hold, and the arithmetic from that to what it must allow.

use super::Host;
use super::words::{grouped, size};
use crate::limits::{
    BUFFER_PAGES_PER_CONNECTION, DESCRIPTORS_PER_SHARD, DESCRIPTORS_RESERVED, KERNEL_BYTES_PER_CONNECTION,
    MEMLOCK_BYTES_MIN, PROCESS_BYTES, SEND_BUFFER_BYTES, SEND_BUFFER_CONNECTIONS, SHARDS_COUNT_MAX, SLOW_READER_SHARE,
    SOCKETS_SPARE_MAX, SOCKETS_SPARE_SHARE, STORE_BYTES, STORE_BYTES_PER_SHARD, USER_BYTES_PER_CONNECTION,
};
use crate::runtime::probe::memlock_bytes;
use crate::runtime::ring::RingSizes;

/// A page of the kernel.
pub(super) const PAGE: u64 = 4096;
/// The most that a send buffer grows to unless the kernel is told otherwise.
pub(super) const SEND_BUFFER_DEFAULT: u64 = 4 << 20;

/// What the machine is to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Connections at one time.
    pub connections: u64,
    /// Shards, a thread each.
    pub shards: u64,
    /// Memory that the process can have.
    pub memory_bytes: u64,
    /// Bytes that the kernel lets a send buffer grow to as it is set now.
    pub send_buffer_bytes: u64,
}

impl Plan {
    /// For so many connections on this machine: as many shards as `serve` would start, unless that is said.
    #[must_use]
    pub fn on(host: &Host, connections: u64, shards: Option<u16>) -> Self {
        let cpus = host.cpus().map_or(1, |cpus| cpus.len().max(1)).min(usize::from(SHARDS_COUNT_MAX)) as u64;
        let quota = host.quota().map_or(u64::MAX, |(_, share)| (share / 1000).max(1));
        let shards = shards.map_or_else(|| cpus.min(quota), u64::from);
        let send_buffer = host.sysctl("net.ipv4.tcp_wmem").and_then(|sizes| sizes.get(2).copied());
        Self {
            connections,
            shards,
            memory_bytes: host.memory().map_or(0, |(_, bytes)| bytes),
            send_buffer_bytes: send_buffer.unwrap_or(SEND_BUFFER_DEFAULT),
        }
    }

    /// Sockets, of which some are spare for those who find no place.
    #[must_use]
    pub fn sockets(&self) -> u64 {
        let share = (self.connections * SOCKETS_SPARE_SHARE).div_ceil(SOCKETS_SPARE_SHARE - 1);
        share.min(self.connections + SOCKETS_SPARE_MAX)
    }

    /// Descriptors of the process.
    #[must_use]
    pub fn descriptors(&self) -> u64 {
        self.sockets() + self.shards * DESCRIPTORS_PER_SHARD + DESCRIPTORS_RESERVED
    }

    /// The sum behind [`Self::descriptors`].
    pub(super) fn descriptors_told(&self) -> String {
        format!(
            "{} connections + {} spare sockets + {} shards x {DESCRIPTORS_PER_SHARD} + {DESCRIPTORS_RESERVED} = {}",
            grouped(self.connections),
            grouped(self.sockets() - self.connections),
            self.shards,
            grouped(self.descriptors())
        )
    }

    /// Bytes that must be lockable: by everybody the executor library's minimum, and by those who are not `free` by a
    /// capability what the kernel counts.
    pub(super) fn memlock(&self, free: bool) -> u64 {
        let shards = usize::try_from(self.shards).unwrap_or(usize::MAX);
        let counted = if free { 0 } else { memlock_bytes(shards, RingSizes::default()) };
        counted.max(MEMLOCK_BYTES_MIN)
    }

    /// Memory of everything but histories, the kernel's part and a store included.
    #[must_use]
    pub fn memory(&self) -> u64 {
        PROCESS_BYTES
            + STORE_BYTES
            + self.shards * STORE_BYTES_PER_SHARD
            + self.connections * (USER_BYTES_PER_CONNECTION + KERNEL_BYTES_PER_CONNECTION)
    }

    /// The sum behind [`Self::memory`].
    pub(super) fn memory_told(&self) -> String {
        format!(
            "{} connections x ({} of ours + {} of the kernel's) + {} shards x {} + {} of the store + {} = {}",
            grouped(self.connections),
            size(USER_BYTES_PER_CONNECTION),
            size(KERNEL_BYTES_PER_CONNECTION),
            grouped(self.shards),
            size(STORE_BYTES_PER_SHARD),
            size(STORE_BYTES),
            size(PROCESS_BYTES),
            size(self.memory())
        )
    }

    /// Bytes that a send buffer should grow to: many connections share what is owed in their rooms' histories instead.
    #[must_use]
    pub fn send_buffer(&self) -> u64 {
        if self.connections > SEND_BUFFER_CONNECTIONS {
            self.send_buffer_bytes.min(SEND_BUFFER_BYTES)
        } else {
            self.send_buffer_bytes
        }
    }

    /// Pages of socket buffers in a bad moment: everybody has something on the way both ways, and the slow readers'
    /// send buffers are full, at the size that they should have.
    #[must_use]
    pub fn tcp_pages(&self) -> u64 {
        let full = self.send_buffer().div_ceil(PAGE);
        self.connections * BUFFER_PAGES_PER_CONNECTION + self.connections.div_ceil(SLOW_READER_SHARE) * full
    }

    /// The sum behind [`Self::tcp_pages`].
    pub(super) fn tcp_told(&self) -> String {
        let pages = self.tcp_pages();
        format!(
            "{} connections x {BUFFER_PAGES_PER_CONNECTION} pages + {} slow readers x {} = {} pages ({})",
            grouped(self.connections),
            grouped(self.connections.div_ceil(SLOW_READER_SHARE)),
            grouped(self.send_buffer().div_ceil(PAGE)),
            grouped(pages),
            size(pages * PAGE)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: Plan =
        Plan { connections: 10_000, shards: 2, memory_bytes: 8 << 30, send_buffer_bytes: SEND_BUFFER_DEFAULT };

    #[test]
    fn sockets_leave_room_for_the_connections_once_the_spare_ones_are_taken_off() {
        let edge = SOCKETS_SPARE_MAX * (SOCKETS_SPARE_SHARE - 1);
        for connections in [1, 16, 1000, edge - 1, edge, edge + 1, 1 << 20] {
            let sockets = Plan { connections, ..PLAN }.sockets();
            let of = |sockets: u64| sockets - (sockets / SOCKETS_SPARE_SHARE).min(SOCKETS_SPARE_MAX);
            assert!(of(sockets) >= connections && of(sockets - 2) < connections, "{connections}: {sockets}");
        }
    }

    #[test]
    fn buffers_are_planned_with_the_size_that_they_should_have() {
        for (connections, now, bytes) in [
            (SEND_BUFFER_CONNECTIONS, 16 << 20, 16 << 20),
            (SEND_BUFFER_CONNECTIONS, 65_536, 65_536),
            (SEND_BUFFER_CONNECTIONS + 1, 16 << 20, SEND_BUFFER_BYTES),
            (SEND_BUFFER_CONNECTIONS + 1, 65_536, 65_536),
        ] {
            let plan = Plan { connections, send_buffer_bytes: now, ..PLAN };
            let slow = connections.div_ceil(SLOW_READER_SHARE);
            assert_eq!(plan.send_buffer(), bytes, "{connections} {now}");
            assert_eq!(plan.tcp_pages(), connections * BUFFER_PAGES_PER_CONNECTION + slow * bytes / PAGE);
        }
    }

    #[test]
    fn the_sums_are_what_the_text_says() {
        let plan = PLAN;
        assert_eq!(plan.descriptors(), 10_000 + 1_024 + 2 * DESCRIPTORS_PER_SHARD + DESCRIPTORS_RESERVED);
        assert_eq!(plan.descriptors_told(), "10,000 connections + 1,024 spare sockets + 2 shards x 16 + 64 = 11,120");
        assert_eq!(plan.tcp_pages(), 10_000 * BUFFER_PAGES_PER_CONNECTION + 10_000 / SLOW_READER_SHARE * 1024);
        assert_eq!(
            plan.tcp_told(),
            "10,000 connections x 2 pages + 100 slow readers x 1,024 = 122,400 pages (478 MiB)"
        );
        assert_eq!(
            plan.memory(),
            PROCESS_BYTES
                + STORE_BYTES
                + 2 * STORE_BYTES_PER_SHARD
                + 10_000 * (USER_BYTES_PER_CONNECTION + KERNEL_BYTES_PER_CONNECTION)
        );
        assert_eq!(
            plan.memory_told(),
            "10,000 connections x (2 KiB of ours + 4 KiB of the kernel's) + 2 shards x 64 MiB + 144 MiB of the store + 128 \
             MiB = 458 MiB"
        );
        assert!(plan.memlock(true) == MEMLOCK_BYTES_MIN && plan.memlock(false) > MEMLOCK_BYTES_MIN);
    }
}
