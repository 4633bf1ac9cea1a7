//! What happened, and how often it must have.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::tagged::Door;

/// Written by all threads.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) next_id: AtomicU64,
    echoes: AtomicU64,
    chats: AtomicU64,
    open: AtomicU64,
    /// Payload bytes that came and were checked.
    pub(crate) bytes: AtomicU64,
    pub(crate) misdelivered: AtomicU64,
    /// Connections that the server ended, or that timed out, where it should not have.
    pub(crate) failed: AtomicU64,
    pub(crate) clean: AtomicU64,
    pub(crate) resets: AtomicU64,
    pub(crate) cut: AtomicU64,
    pub(crate) half_shut: AtomicU64,
    pub(crate) dropped: AtomicU64,
    /// Closed by the server, for what the client did.
    pub(crate) refused: AtomicU64,
    pub(crate) signals: AtomicU64,
    /// Rounds of the signal storm, each of one hold at most.
    pub(crate) rounds: AtomicU64,
    /// How long the storm itself kept the server stopped.
    pub(crate) held_us: AtomicU64,
    pub(crate) pings: AtomicU64,
    /// Those of a connection that is the only one to move.
    pub(crate) calm_pings: AtomicU64,
    pub(crate) worst_raw_us: AtomicU64,
    pub(crate) worst_us: AtomicU64,
    pub(crate) slow: AtomicU64,
    /// The longest that a thread of this program overslept.
    pub(crate) worst_stall_us: AtomicU64,
}

impl Counts {
    pub(crate) const fn opened(&self, door: Door) -> &AtomicU64 {
        match door {
            Door::Echo => &self.echoes,
            Door::Chat => &self.chats,
            Door::Open => &self.open,
        }
    }
}

/// A kind of event and how often it came.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) count: u64,
    /// The least for each minute; `None` where nothing is asked.
    pub(crate) per_minute: Option<u64>,
}

/// Everything that the storm itself counted.
pub(crate) fn rows(counts: &Counts, signal_hz: u64) -> Vec<Row> {
    let row = |name, count: &AtomicU64, per_minute| Row { name, count: count.load(Relaxed), per_minute };
    vec![
        row("connections to /echo", &counts.echoes, Some(500)),
        row("connections to /ws/chat", &counts.chats, Some(500)),
        row("connections to /ws", &counts.open, Some(100)),
        row("bytes checked", &counts.bytes, Some(10_000_000)),
        row("clean closes", &counts.clean, Some(50)),
        row("resets by the client", &counts.resets, Some(50)),
        row("closes in the middle of a frame", &counts.cut, Some(50)),
        row("writing shut down", &counts.half_shut, Some(50)),
        row("dropped with answers under way", &counts.dropped, Some(50)),
        row("closed by the server", &counts.refused, Some(50)),
        // Nine in ten of those of the stormy part, which is five sixths.
        row("signals", &counts.signals, Some(signal_hz * 45)),
        row("pings", &counts.pings, Some(1000)),
        row("pings in a calm", &counts.calm_pings, Some(200)),
    ]
}
