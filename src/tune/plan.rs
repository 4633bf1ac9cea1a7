//! What the machine is to hold, and the arithmetic from that to what it must allow.

use super::Host;
use super::words::{grouped, size};
use crate::limits::{
    BUFFER_PAGES_PER_CONNECTION, DESCRIPTORS_PER_SHARD, DESCRIPTORS_RESERVED, KERNEL_BYTES_PER_CONNECTION,
    MEMLOCK_BYTES_MIN, PROCESS_BYTES, SHARDS_COUNT_MAX, SLOW_READER_SHARE, SOCKETS_SPARE_MAX, SOCKETS_SPARE_SHARE,
    USER_BYTES_PER_CONNECTION,
};
use crate::runtime::probe::memlock_bytes;
use crate::runtime::ring::RingSizes;

/// A page of the kernel.
pub(super) const PAGE: u64 = 4096;

/// What the machine is to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Connections at one time.
    pub connections: u64,
    /// Shards, a thread each.
    pub shards: u64,
    /// Memory that the process can have.
    pub memory_bytes: u64,
}

impl Plan {
    /// For so many connections on this machine: as many shards as `serve` would start, unless that is said.
    #[must_use]
    pub fn on(host: &Host, connections: u64, shards: Option<u16>) -> Self {
        let cpus = host.cpus().map_or(1, |cpus| cpus.len().max(1)).min(usize::from(SHARDS_COUNT_MAX)) as u64;
        let quota = host.quota().map_or(u64::MAX, |(_, share)| (share / 1000).max(1));
        let shards = shards.map_or_else(|| cpus.min(quota), u64::from);
        Self { connections, shards, memory_bytes: host.memory().map_or(0, |(_, bytes)| bytes) }
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

    /// Memory of everything, the kernel's part included.
    #[must_use]
    pub fn memory(&self) -> u64 {
        PROCESS_BYTES + self.connections * (USER_BYTES_PER_CONNECTION + KERNEL_BYTES_PER_CONNECTION)
    }

    /// The sum behind [`Self::memory`].
    pub(super) fn memory_told(&self) -> String {
        format!(
            "{} connections x ({} of ours + {} of the kernel's) + {} = {}",
            grouped(self.connections),
            size(USER_BYTES_PER_CONNECTION),
            size(KERNEL_BYTES_PER_CONNECTION),
            size(PROCESS_BYTES),
            size(self.memory())
        )
    }

    /// Pages of socket buffers in a bad moment: everybody has something on the way both ways, and the slow readers'
    /// send buffers are full.
    #[must_use]
    pub fn tcp_pages(&self, send_buffer_bytes: u64) -> u64 {
        let full = send_buffer_bytes.div_ceil(PAGE);
        self.connections * BUFFER_PAGES_PER_CONNECTION + self.connections.div_ceil(SLOW_READER_SHARE) * full
    }

    /// The sum behind [`Self::tcp_pages`].
    pub(super) fn tcp_told(&self, send_buffer_bytes: u64) -> String {
        let pages = self.tcp_pages(send_buffer_bytes);
        format!(
            "{} connections x {BUFFER_PAGES_PER_CONNECTION} pages + {} slow readers x {} = {} pages ({})",
            grouped(self.connections),
            grouped(self.connections.div_ceil(SLOW_READER_SHARE)),
            grouped(send_buffer_bytes.div_ceil(PAGE)),
            grouped(pages),
            size(pages * PAGE)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn sockets_leave_room_for_the_connections_once_the_spare_ones_are_taken_off() {
        let edge = SOCKETS_SPARE_MAX * (SOCKETS_SPARE_SHARE - 1);
        for connections in [1, 16, 1000, edge - 1, edge, edge + 1, 1 << 20] {
            let sockets = Plan { connections, shards: 1, memory_bytes: GIB }.sockets();
            let of = |sockets: u64| sockets - (sockets / SOCKETS_SPARE_SHARE).min(SOCKETS_SPARE_MAX);
            assert!(of(sockets) >= connections && of(sockets - 2) < connections, "{connections}: {sockets}");
        }
    }

    #[test]
    fn the_sums_are_what_the_text_says() {
        let plan = Plan { connections: 10_000, shards: 2, memory_bytes: 8 * GIB };
        assert_eq!(plan.descriptors(), 10_000 + 1_024 + 2 * DESCRIPTORS_PER_SHARD + DESCRIPTORS_RESERVED);
        assert_eq!(plan.descriptors_told(), "10,000 connections + 1,024 spare sockets + 2 shards x 16 + 64 = 11,120");
        assert_eq!(plan.tcp_pages(4 << 20), 10_000 * BUFFER_PAGES_PER_CONNECTION + 10_000 / SLOW_READER_SHARE * 1024);
        assert_eq!(
            plan.tcp_told(4 << 20),
            "10,000 connections x 2 pages + 100 slow readers x 1,024 = 122,400 pages (478 MiB)"
        );
        assert_eq!(plan.memory(), PROCESS_BYTES + 10_000 * (USER_BYTES_PER_CONNECTION + KERNEL_BYTES_PER_CONNECTION));
        assert_eq!(
            plan.memory_told(),
            "10,000 connections x (2 KiB of ours + 4 KiB of the kernel's) + 128 MiB = 186 MiB"
        );
        assert!(plan.memlock(true) == MEMLOCK_BYTES_MIN && plan.memlock(false) > MEMLOCK_BYTES_MIN);
    }
}
