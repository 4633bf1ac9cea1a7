//! Logs: structured lines on standard error, written by a thread of their own. What is logged is the start, the end, and
//! what an operator must act on; shards count instead. Never a token, never content.
//!
//! Whoever logs puts a line into a bounded queue and goes on: a standard error that nobody reads blocks neither a shard,
//! nor a drain, nor the message of a panic. The filter can be changed while the gateway runs.

pub(super) mod form;
mod writer;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::Cell;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, reload};

use super::flight::Flight;
use crate::admin::{SetFilter, unix_ms};
use crate::audit::Entry;
use crate::config::{AuditTo, LogFormat, Logs, StartError};
use crate::ids::ShardId;
use crate::limits::{LOG_FLUSH_LOOK_MS, LOG_FLUSH_MS, LOG_QUEUE_ITEMS};
use crate::mesh::{Level, Line, LogItem, LogPost, Lost, Value, log_queue};
use writer::{Sink, Writer};

/// The log of this process.
#[derive(Clone, Debug)]
pub(super) struct Log {
    /// The way to the writer, for threads that are no shard.
    post: LogPost,
    /// The same for what is debugged, with room of its own: it is much, and nobody would hear of the rest.
    debug: LogPost,
    filter: reload::Handle<EnvFilter, Registry>,
    /// What a panic writes besides, once there is something.
    flight: Arc<OnceLock<Flight>>,
    /// The ways to where it is kept who came, was let in and went: one for each shard, the last for everybody else. Empty
    /// where it is not.
    audit: Arc<[LogPost]>,
    lost: Lost,
}

/// Sends what this process logs to standard error from now on. `place` says who named the audit's file.
pub(super) fn start(logs: &Logs, shards: usize, place: &dyn Fn(&Path) -> String) -> Result<Log, StartError> {
    let filter = EnvFilter::try_new(&logs.filter).map_err(|error| {
        StartError::new(
            format!("{:?} are no log directives: {error}", logs.filter),
            "WAYSTATION_LOG",
            "write levels and targets, as in info,waystation=debug",
        )
    })?;
    let lost = Lost::default();
    let (post, items) = log_queue(LOG_QUEUE_ITEMS, &lost.lines);
    let (debug, debugged) = log_queue(LOG_QUEUE_ITEMS, &lost.lines);
    let (audit, mut queues) = match &logs.audit {
        AuditTo::Nowhere => (Vec::new(), Vec::new()),
        AuditTo::Log => audit_queues(shards, &lost),
        AuditTo::File(path) => (audit_file(path, shards, &lost, place)?, Vec::new()),
    };
    queues.extend([items, debugged]);
    // What is lost of a file's entries is told there.
    let told = if matches!(logs.audit, AuditTo::File(_)) { lines_of(&lost) } else { lost.clone() };
    let writer = Writer::new(queues, told, Sink::StandardError, logs.format);
    writer.spawn("log").map_err(|error| failed(&error))?;
    let (filter, handle) = reload::Layer::new(filter);
    let started = tracing_subscriber::registry().with(filter).with(Lines(post.clone())).try_init();
    // Refused only if logs were started before, which is as good.
    drop(started);
    let log = Log { post, debug, filter: handle, flight: Arc::default(), audit: audit.into(), lost };
    say_panics(log.clone());
    Ok(log)
}

/// Queues for each shard and for everybody else.
fn audit_queues(shards: usize, lost: &Lost) -> (Vec<LogPost>, Vec<Receiver<LogItem>>) {
    (0..=shards).map(|_| log_queue(LOG_QUEUE_ITEMS, &lost.entries)).unzip()
}

fn lines_of(lost: &Lost) -> Lost {
    Lost { lines: Arc::clone(&lost.lines), ..Lost::default() }
}

/// A writer of its own, so that a standard error that nobody reads keeps nothing from the file.
fn audit_file(
    path: &Path,
    shards: usize,
    lost: &Lost,
    place: &dyn Fn(&Path) -> String,
) -> Result<Vec<LogPost>, StartError> {
    let (posts, queues) = audit_queues(shards, lost);
    let sink = Sink::file(path.to_owned()).map_err(|error| {
        let remedy = "name a file in a directory that this user may write to, as audit.to";
        StartError::new(format!("the audit cannot be written: {error}"), place(path), remedy)
    })?;
    let told = Lost { entries: Arc::clone(&lost.entries), ..Lost::default() };
    Writer::new(queues, told, sink, LogFormat::Json).spawn("audit").map_err(|error| failed(&error))?;
    Ok(posts)
}

fn failed(error: &io::Error) -> StartError {
    StartError::new(format!("the log's thread cannot be started: {error}"), "the system", "see OPERATIONS.md, limits")
        .passing()
}

/// A panic's message goes the way of all lines: the usual way would wait for who does not read.
fn say_panics(log: Log) {
    std::panic::set_hook(Box::new(move |panic| {
        let thread = std::thread::current().name().unwrap_or("a thread without a name").to_owned();
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(thread, place, "panicked: {}", without_content(panic.payload_as_str().unwrap_or("no text")));
        // Captured only if `RUST_BACKTRACE` asks for it.
        let backtrace = Backtrace::capture();
        if backtrace.status() == BacktraceStatus::Captured {
            backtrace.to_string().lines().for_each(|line| tracing::error!("{line}"));
        }
        log.write_flight();
        log.flush();
    }));
}

/// A panic's message without the text that was to be cut at a wrong place, which the standard library quotes and which
/// may be a client's.
fn without_content(message: &str) -> &str {
    let quotes = message.contains("byte index") || message.contains("when slicing");
    message.find('`').filter(|_| quotes).map_or(message, |quoted| message[..quoted].trim_end())
}

impl Log {
    /// Logs by these directives from now on.
    ///
    /// # Errors
    /// What is wrong with them; then nothing is changed.
    pub(super) fn set_filter(&self, directives: &str) -> Result<(), String> {
        let filter = EnvFilter::try_new(directives).map_err(|error| error.to_string())?;
        self.filter.reload(filter).map_err(|error| error.to_string())
    }

    /// Waits until what was said is written, for a while: for the log and the audit together, of which one may be stuck.
    pub(super) fn flush(&self) {
        let waiters: Vec<_> = [Some(&self.post), self.audit.last()].into_iter().flatten().map(Waiter::new).collect();
        for _ in (0..LOG_FLUSH_MS).step_by(LOG_FLUSH_LOOK_MS as usize) {
            // Each look asks all of them.
            if waiters.iter().filter(|waiter| !waiter.is_done()).count() == 0 {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(LOG_FLUSH_LOOK_MS.into()));
        }
    }

    /// The way to the audit for a shard, if it is kept.
    pub(super) fn audit_of(&self, shard: ShardId) -> Option<LogPost> {
        self.audit.get(shard.index()).cloned()
    }

    /// The same for who is no shard.
    pub(super) fn audit(&self) -> Option<&LogPost> {
        self.audit.last()
    }

    /// Opens files again under their names: they may have been moved.
    pub(super) fn reopen(&self) {
        if let Some(post) = self.audit()
            && post.try_put(LogItem::Reopen).is_err()
        {
            tracing::error!("the audit is too far behind to be opened again: ask once more");
        }
    }

    /// Keeps that the configuration was read again.
    pub(super) fn keep_configured(&self, outcome: &str) {
        if let Some(post) = self.audit() {
            post.keep(Entry::new(unix_ms(), "configured", outcome));
        }
    }

    /// What is written at a panic and when somebody asks for it.
    pub(super) fn set_flight(&self, flight: Flight) {
        let _set_once = self.flight.set(flight);
    }

    /// Writes it.
    fn write_flight(&self) {
        self.flight.get().into_iter().for_each(Flight::write);
    }

    /// The same, on a thread of its own: who asks for it has signals to wait for, and a disk may be slow.
    pub(super) fn write_flight_aside(&self) {
        let log = self.clone();
        let thread = std::thread::Builder::new().name("recorder".to_owned());
        if let Err(error) = thread.spawn(move || log.write_flight()) {
            tracing::error!(%error, "the recorder cannot be written");
        }
    }

    /// The way to it for what is debugged.
    pub(super) const fn debug_post(&self) -> &LogPost {
        &self.debug
    }

    /// What changes the filter for who may not know of this log.
    pub(super) fn filter_setter(&self) -> SetFilter {
        let log = self.clone();
        Box::new(move |directives| log.set_filter(directives))
    }

    /// What was said and not written.
    pub(super) const fn lost(&self) -> &Lost {
        &self.lost
    }
}

/// One who waits for what was said to be written.
struct Waiter<'a> {
    post: &'a LogPost,
    /// Taken once it found room in the queue.
    flush: Cell<Option<Sender<()>>>,
    flushed: Receiver<()>,
}

impl<'a> Waiter<'a> {
    fn new(post: &'a LogPost) -> Self {
        let (flush, flushed) = bounded(1);
        Self { post, flush: Cell::new(Some(flush)), flushed }
    }

    /// Asks, if there is room for it. Whether it is written, or nobody writes any more.
    fn is_done(&self) -> bool {
        if let Some(flush) = self.flush.take()
            && let Err(LogItem::Flush(flush)) = self.post.try_put(LogItem::Flush(flush))
        {
            self.flush.set(Some(flush));
        }
        !matches!(self.flushed.try_recv(), Err(TryRecvError::Empty))
    }
}

/// Makes a line of each event.
struct Lines(LogPost);

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let meta = event.metadata();
        let mut reading = Reading::default();
        event.record(&mut reading);
        let level = match *meta.level() {
            tracing::Level::ERROR => Level::Error,
            tracing::Level::WARN => Level::Warn,
            tracing::Level::INFO => Level::Info,
            tracing::Level::DEBUG => Level::Debug,
            tracing::Level::TRACE => Level::Trace,
        };
        let Reading { message, fields } = reading;
        self.0.say(Line { unix_ms: unix_ms(), level, target: meta.target(), message: message.into(), fields });
    }
}

/// What an event says.
#[derive(Default)]
struct Reading {
    message: String,
    fields: Vec<(&'static str, Value)>,
}

impl Reading {
    fn put(&mut self, field: &Field, value: Value) {
        match value {
            Value::Text(text) if field.name() == "message" => self.message = text.into(),
            value => self.fields.push((field.name(), value)),
        }
    }
}

impl Visit for Reading {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, Value::Flag(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, Value::Number(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, Value::Signed(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, Value::Real(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }
}

#[cfg(test)]
impl Log {
    /// A log that nobody writes.
    pub(super) fn unheard() -> Self {
        Self {
            post: log_queue(1, &Arc::default()).0,
            debug: log_queue(1, &Arc::default()).0,
            filter: reload::Layer::new(EnvFilter::new("off")).1,
            flight: Arc::default(),
            audit: Arc::default(),
            lost: Lost::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use tracing::subscriber::with_default;

    #[test]
    fn directives_that_do_not_parse_are_told_with_their_variable() {
        let logs = Logs { format: LogFormat::Text, filter: "waystation=loud".to_owned(), audit: AuditTo::Nowhere };
        assert_eq!(start(&logs, 1, &|path| path.display().to_string()).unwrap_err().place, "WAYSTATION_LOG");
    }

    #[test]
    fn a_panic_tells_its_reason_and_not_the_text_that_was_cut() {
        let message = |range: std::ops::Range<usize>| {
            let text = std::hint::black_box("\u{e9} confidential");
            let panic = std::panic::catch_unwind(|| text[range].len()).unwrap_err();
            without_content(panic.downcast_ref::<String>().unwrap()).to_owned()
        };
        let range = |start, end| start..end;
        for (range, told) in
            [(range(1, 3), "byte index 1"), (range(0, 1), "byte index 1"), (range(0, 99), "99"), (range(3, 2), "3")]
        {
            let message = message(range);
            assert!(message.contains(told) && !message.contains("confidential"), "{message}");
        }
        for whole in ["index out of bounds: the len is 3 but the index is 3", "assertion `left == right` failed", ""] {
            assert_eq!(without_content(whole), whole);
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "it is about how long an end waits")]
    fn an_end_waits_for_all_writers_together_and_for_none_that_is_stuck() {
        let (post, items) = log_queue(1, &Arc::default());
        let (kept, entries) = log_queue(1, &Arc::default());
        let log = Log { post: post.clone(), audit: [kept.clone()].into(), ..Log::unheard() };
        for (stuck, other, other_index) in [(&items, &entries, 1), (&entries, &items, 0)] {
            // Neither has room.
            for post in [&post, &kept] {
                post.try_put(LogItem::Reopen).unwrap();
            }
            let waiters = [&post, &kept].map(Waiter::new);
            let look = || waiters.each_ref().map(Waiter::is_done);
            assert_eq!(look(), [false; 2]);
            assert!(matches!(other.recv().unwrap(), LogItem::Reopen));
            assert_eq!(look(), [false; 2], "asked, and not answered yet");
            let LogItem::Flush(done) = other.recv().unwrap() else { panic!("it was not asked") };
            done.send(()).unwrap();
            assert!(look()[other_index] && !look()[1 - other_index], "whatever becomes of one that is stuck");
            // It ends although one is never done, which has had its time.
            let begun = Instant::now();
            log.flush();
            assert!(begun.elapsed() >= Duration::from_millis(LOG_FLUSH_MS));
            stuck.try_iter().chain(other.try_iter()).for_each(drop);
        }
    }

    #[test]
    fn an_event_becomes_a_line_if_the_filter_lets_it_which_can_be_changed() {
        let losses = Arc::default();
        let (post, items) = log_queue(LOG_QUEUE_ITEMS, &losses);
        let (layer, handle) = reload::Layer::new(EnvFilter::new("info"));
        let log = Log {
            debug: post.clone(),
            post: post.clone(),
            filter: handle,
            flight: Arc::default(),
            audit: Arc::default(),
            lost: Lost::default(),
        };
        let subscriber = tracing_subscriber::registry().with(layer).with(Lines(post));
        with_default(subscriber, || {
            tracing::info!(count = 2, left = -1, quiet = false, error = %"none", "said {}", 1);
            tracing::debug!("not said");
            log.set_filter("off,waystation=debug").unwrap();
            tracing::debug!("said now");
            assert!(log.set_filter("waystation=loud").is_err());
            tracing::debug!("still said");
        });
        let lines: Vec<Line> = items
            .try_iter()
            .map(|item| match item {
                LogItem::Line(line) => *line,
                other => panic!("{other:?}"),
            })
            .collect();
        let messages: Vec<&str> = lines.iter().map(|line| &*line.message).collect();
        assert_eq!(messages, ["said 1", "said now", "still said"]);
        let fields = [
            ("count", Value::Signed(2)),
            ("left", Value::Signed(-1)),
            ("quiet", Value::Flag(false)),
            ("error", "none".into()),
        ];
        assert_eq!((lines[0].level, &*lines[0].fields), (Level::Info, &fields[..]));
    }
}
