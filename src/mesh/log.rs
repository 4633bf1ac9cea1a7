//! The queue to the thread that writes the log: bounded, and whoever finds it full goes on without.
//!
//! What is said is put together here and given its form by the writer, so that it costs the thread that says it as little
//! as can be. Each shard has a queue of its own, so that none of them takes the others' room. What finds no room is
//! counted, and the writer tells the number as soon as it writes again. Absent: files, forms, filters.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::audit::Entry;

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Somebody must act.
    Error,
    /// Somebody should know.
    Warn,
    /// What happened.
    Info,
    /// What happened in detail.
    Debug,
    /// Everything.
    Trace,
}

/// What a field says.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A text.
    Text(Box<str>),
    /// A number.
    Number(u64),
    /// A number that may be below zero.
    Signed(i64),
    /// Any other number.
    Real(f64),
    /// Yes or no.
    Flag(bool),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

/// One line, without its form.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Wall clock.
    pub unix_ms: u64,
    /// How much it matters.
    pub level: Level,
    /// Where it comes from.
    pub target: &'static str,
    /// What happened.
    pub message: Box<str>,
    /// Names and values, in their order.
    pub fields: Vec<(&'static str, Value)>,
}

/// What goes through the queue.
#[derive(Debug)]
pub enum LogItem {
    /// A line to be written.
    Line(Box<Line>),
    /// Who came, was let in, refused, went or administered.
    Audit(Box<Entry>),
    /// Close the file and open it again under its name.
    Reopen,
    /// Give an item when everything before this is written.
    Flush(Sender<()>),
}

/// What was said and not written, over all queues of a writer.
#[derive(Debug, Default)]
pub struct Losses(AtomicU64);

impl Losses {
    /// So many more.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    /// All so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What was lost of either kind, over all writers.
#[derive(Clone, Debug, Default)]
pub struct Lost {
    /// Lines of the log.
    pub lines: Arc<Losses>,
    /// Entries of the audit, wherever they go.
    pub entries: Arc<Losses>,
}

impl Lost {
    /// Both.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.lines.count() + self.entries.count()
    }
}

/// The sending side.
#[derive(Clone, Debug)]
pub struct LogPost {
    queue: Sender<LogItem>,
    losses: Arc<Losses>,
}

/// Opens a queue with room for `capacity` items; what finds none counts in `losses`.
#[must_use]
pub fn log_queue(capacity: usize, losses: &Arc<Losses>) -> (LogPost, Receiver<LogItem>) {
    let (queue, items) = bounded(capacity);
    (LogPost { queue, losses: Arc::clone(losses) }, items)
}

impl LogPost {
    /// Says something, or counts that it was not said. Never waits.
    pub fn say(&self, line: Line) {
        if self.try_put(LogItem::Line(Box::new(line))).is_err() {
            self.losses.add(1);
        }
    }

    /// Keeps an entry, or counts that it was not kept. Never waits.
    pub fn keep(&self, entry: Entry) {
        if self.try_put(LogItem::Audit(Box::new(entry))).is_err() {
            self.losses.add(1);
        }
    }

    /// Puts an item, if there is room.
    ///
    /// # Errors
    /// The item, when the queue is full or nobody writes any more.
    pub fn try_put(&self, item: LogItem) -> Result<(), LogItem> {
        self.queue.try_send(item).map_err(TrySendError::into_inner)
    }

    /// What was said and not written.
    #[must_use]
    pub const fn losses(&self) -> &Arc<Losses> {
        &self.losses
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_is_counted_and_nobody_waits() {
        let line = |message: &str| Line {
            unix_ms: 0,
            level: Level::Info,
            target: "t",
            message: message.into(),
            fields: Vec::new(),
        };
        let losses = Arc::default();
        let (post, items) = log_queue(2, &losses);
        for text in ["a", "b", "c", "d"] {
            post.clone().say(line(text));
        }
        let said = items.try_iter().map(|item| match item {
            LogItem::Line(line) => line.message,
            other => panic!("{other:?}"),
        });
        assert_eq!(said.map(String::from).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(losses.count(), 2);
        drop(items);
        post.say(line("nobody writes"));
        assert_eq!(post.losses().count(), 3);
    }
}
