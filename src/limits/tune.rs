//! Bounds of what is read of the machine, and what a connection is counted with there.

use super::{STORE_CACHE_BYTES_DEFAULT, STORE_MEMTABLE_BYTES, STORE_QUEUE_BYTES_MAX, STORE_SEALED_MEMTABLES_MAX};

// Floor 8: tune

/// Bytes read of one file of the system; the rest is not looked at. The longest that is read has a few hundred.
pub const HOST_FILE_BYTES_MAX: u64 = 64 * 1024;
/// Names taken of one directory of the system, in order; the others are not looked at. Processors, interrupts and
/// interfaces of a very large machine.
pub const HOST_NAMES_MAX: usize = 4096;
/// Connections that `doctor` and `tune` plan for if they are not told: what one machine is tested with.
pub const PLANNED_CONNECTIONS: u32 = 10_000;
/// Memory of the kernel that a connection is counted with. Socket, inode, file, directory entry and the ring's
/// request are 3,840 bytes on Linux 6.18, by its slab table.
pub const KERNEL_BYTES_PER_CONNECTION: u64 = 4096;
/// Our own memory that a connection is counted with: an idle one has half of it, the rest is for what it is owed.
pub const USER_BYTES_PER_CONNECTION: u64 = 2048;
/// Memory that the process is counted with beside its connections: code, rings, receive buffers, queues.
pub const PROCESS_BYTES: u64 = 128 * 1024 * 1024;
/// Memory that a store is counted with: its cache as it is unless told otherwise, and for each of its two trees what was
/// written last, the part in use and those that wait to be written to tables.
pub const STORE_BYTES: u64 =
    STORE_CACHE_BYTES_DEFAULT + 2 * (1 + STORE_SEALED_MEMTABLES_MAX as u64) * STORE_MEMTABLE_BYTES;
/// Memory that a shard is counted with for events that wait for a disk that stalls: all that may.
pub const STORE_BYTES_PER_SHARD: u64 = STORE_QUEUE_BYTES_MAX as u64;
/// Pages of socket buffers that every connection is counted with at once: one update on its way to everybody, and
/// everybody's answer.
pub const BUFFER_PAGES_PER_CONNECTION: u64 = 2;
/// Of so many connections one is counted as a slow reader, whose send buffer is full.
pub const SLOW_READER_SHARE: u64 = 100;
/// Connections above which the send buffer of a slow reader should be smaller than the kernel's default allows.
pub const SEND_BUFFER_CONNECTIONS: u64 = 100_000;
/// Bytes of a send buffer then. What a slow reader has not taken waits in its room's history, which it shares.
pub const SEND_BUFFER_BYTES: u64 = 256 * 1024;
/// Threads of each shard: its own, its executor's for calls that block, and one that waits for its end.
pub const THREADS_PER_SHARD: u64 = 3;
/// Threads beside the shards': administration, configuration, watchdog, signals, with room to spare.
pub const THREADS_BESIDE: u64 = 16;
/// Bytes that the file system of a store should have left: its journals many times over, and room for tables that are
/// written anew before the old ones go. The alert on a disk that fills begins there too.
pub const STORE_SPACE_BYTES_MIN: u64 = 2 * 1024 * 1024 * 1024;
/// Time of a sync over which the doctor warns: as long as the longest window that a commit may wait for.
pub const DISK_SYNC_SLOW_MS: u64 = 20;
/// Syncs that the doctor times; the middle one counts.
pub const DISK_SYNC_TRIES: usize = 3;
/// Time that the doctor waits for a disk's answers; over it the disk counts as one that hangs.
pub const DISK_SYNC_WAIT_MS: u64 = 3_000;
