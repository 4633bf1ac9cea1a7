//! Bounds of what can be configured, and the process as a whole.

// Floor 8: configuration

/// Largest limit of connections that can be configured; over it the start is refused.
pub const CONFIGURED_CONNECTIONS_MAX: u32 = 1 << 20;
/// Addresses of one process; over it the start is refused. Each is a listener on every shard, out of its descriptors.
pub const LISTEN_COUNT_MAX: usize = 8;
/// Shards of one process; over it: bad usage. Inboxes and per-peer tables grow with the square of it.
pub const SHARDS_COUNT_MAX: u16 = 128;
/// Highest processor number in `--cpus`; over it: bad usage. What the kernel's affinity mask of 1,024 bits holds.
pub const CPU_INDEX_MAX: usize = 1023;
/// Microseconds a shard may look for work before it sleeps; over it: bad usage. Longer only burns the core.
pub const SPIN_US_MAX: u32 = 1000;
/// Seconds that a token of the `token` command is good; over it: bad usage. A year: nothing development needs lasts longer.
pub const TOKEN_TTL_S_MAX: u64 = 366 * 86_400;
/// Tokens of one `token` command; over it: bad usage. Ten times the largest load that one machine is tested with.
pub const TOKEN_COUNT_MAX: u32 = 1_000_000;

/// Bytes of the configuration file; over it the start is refused. A thousand times the documented example.
pub const CONFIG_FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Origins in the configuration; over it the start is refused. Compared one by one with each upgrade.
pub const ORIGINS_COUNT_MAX: usize = 256;
/// Faults of a configuration that are told at once; those beyond are counted. A screenful or two.
pub const CONFIG_FAULTS_TOLD_MAX: usize = 64;
/// Characters of a value that a message about the configuration shows; the rest is cut.
pub const CONFIG_VALUE_SHOWN_MAX: usize = 80;
/// Event types that one policy row allows; over it the start is refused. Compared one by one with each publish.
pub const POLICY_EVENTS_MAX: usize = 64;
/// Messages a minute that a rate in the configuration may have; over it the start is refused. Ten thousand a
/// second is more than a connection can send.
pub const RATE_PER_MINUTE_MAX: u32 = 600_000;
/// Events that a channel's history may be configured to keep; over it the start is refused. A resume that long is
/// a page's worth of work for each of its members.
pub const HISTORY_COUNT_MAX: usize = 100_000;
/// Bytes that a channel's history may be configured to keep; over it the start is refused.
pub const HISTORY_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Seconds that a channel's history may be configured to reach back; over it the start is refused. Ten years.
pub const HISTORY_AGE_S_MAX: u64 = 3660 * 86_400;

// Floor 9: server

/// Seconds that the token which `serve` prints is good. A working day and a night.
pub const START_TOKEN_TTL_S: u64 = 86_400;
/// Bytes of a key file; over it the start is refused. Ours has 65, an RSA key of 8,192 bits about 1,500.
pub const KEY_FILE_BYTES_MAX: usize = 4096;
/// Bytes of a JWK set's file; over it the set is refused. Sixty-four keys with their certificates.
pub const JWKS_FILE_BYTES_MAX: usize = 512 * 1024;
/// Pause between two looks at a JWK set's file. A look is one system call.
pub const JWKS_LOOK_MS: u64 = 500;
/// Descriptors kept back for logs, keys, the files of Unix sockets, rings and the administration executor.
pub const DESCRIPTORS_RESERVED: u64 = 64;
/// Descriptors of a shard: its two rings, its listener, its eventfds, with room to spare.
pub const DESCRIPTORS_PER_SHARD: u64 = 16;
/// Connections that the descriptor limit must allow at least; under it the start is refused.
pub const CONNECTIONS_COUNT_MIN: u64 = 16;
/// Of so many sockets one is spare: it is there to be held until a connection's place is free, or to be told that
/// none is.
pub const SOCKETS_SPARE_SHARE: u64 = 8;
/// Spare sockets at most.
pub const SOCKETS_SPARE_MAX: u64 = 1024;
/// Time that a drain may take; at its end what is still open is cut.
pub const DRAIN_WINDOW_MS: u64 = 10_000;
/// From the first signal to the end of the process, whatever still goes on in it: threads that hang, and answers of the
/// HTTP interface that nobody takes. The window, what sockets linger, and as much again for who is late. Then the last
/// lines are waited for, at most `LOG_FLUSH_MS`.
pub const DRAIN_LATEST_MS: u64 = 12_000;
/// From the last line of the log to the end of a process on a busy machine: so much longer a service manager is asked to
/// wait than the end may take.
pub const STOP_SPARE_MS: u64 = 2_000;
/// Time that `health` waits for an answer; over it the gateway counts as not ready. Below the 5 s that a container's
/// check is given.
pub const HEALTH_DEADLINE_MS: u64 = 3_000;
/// Bytes that `health` reads in search of the line with the status; what is longer is no answer of ours.
pub const HEALTH_ANSWER_BYTES_MAX: usize = 4096;
/// Shortest watchdog of a service manager; under it the start is refused. Four sleeps of an idle shard.
pub const WATCHDOG_MS_MIN: u64 = 4_000;
/// Time for which a service manager is asked to wait on, each time that it is asked while a start mends what was left.
pub const START_EXTENDED_MS: u64 = 30_000;
/// Pause between two such requests: several are lost before the manager gives up.
pub const START_EXTEND_LOOK_MS: u64 = 5_000;
/// Such requests of one start; over it the manager waits no longer than it does by itself. Ten minutes read the journals
/// of a store many times over.
pub const START_EXTENSIONS_MAX: u32 = 120;
/// Looks at the shards in one period of the watchdog. One that misses a single feeding is not yet restarted.
pub const WATCHDOG_LOOKS: u32 = 4;
/// Tries to tell a shard to drain whose control lane is full; over it the fault is logged and the others drain.
pub const DRAIN_PUT_TRIES: u32 = 1_000_000;
