//! The thread that writes what the others have said, to standard error or to a file.
//!
//! It alone waits for a reader that does not read or a disk that is slow; the queues fill meanwhile and what finds no room
//! is counted by who says it. What a full disk refuses is counted here. As soon as something is written again, the log
//! says how much is missing. One writer has one place to write to, so that one that is stuck does not hold up another.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::thread;

use crossbeam_channel::{Receiver, Select, Sender, TryRecvError};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

use super::form;
use crate::config::LogFormat;
use crate::limits::LOG_BATCH_ITEMS;
use crate::mesh::{Level, Line, LogItem, Lost, Value};

/// Where lines go.
#[derive(Debug)]
pub(super) enum Sink {
    /// Standard error. Never its lock: who is stuck in a write would keep it from a panic's message.
    StandardError,
    /// A file, opened again on request.
    File(PathBuf, File),
}

impl Sink {
    /// A file that only its owner writes and its group may read.
    pub(super) fn file(path: PathBuf) -> io::Result<Self> {
        let file = open(&path)?;
        Ok(Self::File(path, file))
    }

    fn reopen(&mut self) {
        if let Self::File(path, file) = self {
            match open(path) {
                Ok(opened) => *file = opened,
                Err(error) => {
                    // What is open stays: a line in a file that was moved is better than none.
                    tracing::error!(path = %path.display(), %error, "a log cannot be opened again");
                }
            }
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::StandardError => write_all(rustix::stdio::stderr(), bytes),
            Self::File(_, file) => write_all(file.as_fd(), bytes),
        }
    }
}

/// Writes it all and waits for room as long as it takes, also where whoever has the same pipe or terminal has made it one
/// that does not wait.
fn write_all(to: BorrowedFd<'_>, mut rest: &[u8]) -> io::Result<()> {
    while !rest.is_empty() {
        match rustix::io::write(to, rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => rest = &rest[written..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => match poll(&mut [PollFd::new(&to, PollFlags::OUT)], None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            },
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Opens it without waiting: a pipe with a name that nobody reads would hold up the start for ever.
fn open(path: &PathBuf) -> io::Result<File> {
    let file = OpenOptions::new().append(true).create(true).mode(0o640).custom_flags(libc::O_NONBLOCK).open(path);
    let file = file.map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::NXIO) => io::Error::new(error.kind(), "this is a pipe that nobody reads"),
        _ => error,
    })?;
    fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
    Ok(file)
}

/// What is written at once.
#[derive(Debug, Default)]
struct Batch {
    bytes: Vec<u8>,
    lines: u64,
    entries: u64,
}

/// What a writer is made of.
#[derive(Debug)]
pub(super) struct Writer {
    queues: Vec<Receiver<LogItem>>,
    lost: Lost,
    sink: Sink,
    form: LogFormat,
    /// How many of the losses were told.
    told: u64,
    /// The last write failed, perhaps in the middle of a line.
    broken: bool,
    /// Who waits for everything to be written.
    waiting: Vec<Sender<()>>,
}

impl Writer {
    /// A writer that tells of these losses, and counts in them what it cannot write.
    pub(super) const fn new(queues: Vec<Receiver<LogItem>>, lost: Lost, sink: Sink, form: LogFormat) -> Self {
        Self { queues, lost, sink, form, told: 0, broken: false, waiting: Vec::new() }
    }

    /// Starts the thread. It ends when no sender is left, and with the process: nobody waits for it.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(super) fn spawn(mut self, name: &str) -> io::Result<()> {
        thread::Builder::new().name(name.to_owned()).spawn(move || while self.turn() {}).map(drop)
    }

    /// Waits for something and writes what is there. Returns whether anybody may say more.
    fn turn(&mut self) -> bool {
        self.wait();
        let (mut batch, mut index) = (Batch::default(), 0);
        while index < self.queues.len() {
            if self.take_of(index, &mut batch) {
                index += 1;
            } else {
                self.queues.remove(index);
            }
        }
        self.write(&mut batch);
        self.tell_losses();
        self.answer_waiting();
        !self.queues.is_empty()
    }

    /// Waits until a queue has something or nobody is left to put something into it. May end for nothing.
    fn wait(&self) {
        let mut select = Select::new();
        for queue in &self.queues {
            select.recv(queue);
        }
        if !self.queues.is_empty() {
            select.ready();
        }
    }

    /// Takes a batch out of a queue. Returns whether anybody may put more into it.
    fn take_of(&mut self, index: usize, batch: &mut Batch) -> bool {
        for _ in 0..LOG_BATCH_ITEMS {
            match self.queues[index].try_recv() {
                Ok(LogItem::Line(line)) => {
                    form::write(&line, self.form, &mut batch.bytes);
                    batch.lines += 1;
                }
                Ok(LogItem::Audit(entry)) => {
                    form::write(&form::line_of(*entry), self.form, &mut batch.bytes);
                    batch.entries += 1;
                }
                Ok(LogItem::Reopen) => {
                    self.write(batch);
                    self.sink.reopen();
                }
                Ok(LogItem::Flush(done)) => self.waiting.push(done),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
        true
    }

    fn write(&mut self, batch: &mut Batch) {
        let Batch { bytes, lines, entries } = batch;
        if bytes.is_empty() {
            return;
        }
        if self.broken {
            // What was begun before is no line, and must not make one with this.
            bytes.insert(0, b'\n');
        }
        self.broken = self.sink.write(bytes).is_err();
        if self.broken {
            self.lost.lines.add(*lines);
            self.lost.entries.add(*entries);
        }
        bytes.clear();
        (*lines, *entries) = (0, 0);
    }

    /// Says how much was lost since it was last said.
    fn tell_losses(&mut self) {
        let lost = self.lost.count();
        if self.broken || lost == self.told {
            return;
        }
        let line = Line {
            unix_ms: super::unix_ms(),
            level: Level::Warn,
            target: module_path!(),
            message: "lines were said and are not here: they found no room, or could not be written".into(),
            fields: vec![("lost", Value::Number(lost - self.told))],
        };
        let mut bytes = Vec::new();
        form::write(&line, self.form, &mut bytes);
        self.broken = self.sink.write(&bytes).is_err();
        if !self.broken {
            self.told = lost;
        }
    }

    /// Answers who waits for everything to be written, once nothing is left.
    fn answer_waiting(&mut self) {
        if self.queues.iter().all(Receiver::is_empty) {
            for done in self.waiting.drain(..) {
                // Who waited may have given up.
                let _nobody_waits = done.try_send(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use super::*;
    use crate::audit::Entry;
    use crate::limits::LOG_QUEUE_ITEMS;
    use crate::mesh::{LogPost, log_queue};

    fn line(message: &str) -> Line {
        Line { unix_ms: 0, level: Level::Info, target: "t", message: message.into(), fields: Vec::new() }
    }

    fn writer(sink: Sink) -> (LogPost, LogPost, Writer) {
        let lost = Lost::default();
        let (one, first) = log_queue(LOG_QUEUE_ITEMS, &lost.lines);
        let (two, second) = log_queue(LOG_QUEUE_ITEMS, &lost.entries);
        (one, two, Writer::new(vec![first, second], lost, sink, LogFormat::Text))
    }

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("waystation-log-{}-{name}", std::process::id()));
        let _not_there = std::fs::remove_file(&path);
        path
    }

    fn read(path: &Path) -> Vec<String> {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().map(|line| line.rsplit_once(": ").unwrap_or(("", line)).1.to_owned()).collect()
    }

    #[test]
    fn what_is_said_is_written_in_order_and_a_full_queue_costs_the_newest_and_is_told() {
        let path = scratch("order");
        let (one, two, mut writer) = writer(Sink::file(path.clone()).unwrap());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        (0..=LOG_QUEUE_ITEMS).for_each(|n| one.say(line(&n.to_string())));
        two.say(line("the other"));
        assert!(writer.turn());
        let first = read(&path);
        assert_eq!(first[..LOG_BATCH_ITEMS], (0..LOG_BATCH_ITEMS).map(|n| n.to_string()).collect::<Vec<_>>());
        assert_eq!(first[LOG_BATCH_ITEMS], "the other", "a queue that is full keeps no other waiting");
        assert!(first[LOG_BATCH_ITEMS + 1].ends_with("lost=1"), "{:?}", first.last());
        let (done, flushed) = crossbeam_channel::bounded(1);
        one.try_put(LogItem::Flush(done)).unwrap();
        while flushed.try_recv().is_err() {
            assert!(writer.turn());
        }
        assert_eq!(read(&path).len(), LOG_QUEUE_ITEMS + 2, "everything that had room, and the loss told once");
        drop((one, two));
        assert!(!writer.turn(), "nobody is left to say anything");
        assert!(!writer.turn(), "and nobody is waited for");
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_file_that_was_moved_is_opened_again_on_request() {
        let (path, moved) = (scratch("rotated"), scratch("rotated.1"));
        let (one, _two, mut writer) = writer(Sink::file(path.clone()).unwrap());
        one.say(line("before"));
        writer.turn();
        std::fs::rename(&path, &moved).unwrap();
        one.say(line("still the old"));
        one.try_put(LogItem::Reopen).unwrap();
        one.say(line("after"));
        writer.turn();
        assert_eq!((read(&moved), read(&path)), (vec!["before".into(), "still the old".into()], vec!["after".into()]));
        for path in [path, moved] {
            std::fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn a_pipe_that_nobody_reads_is_no_file_and_one_that_does_not_wait_is_waited_for() {
        let path = scratch("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let error = Sink::file(path.clone()).unwrap_err();
        assert!(error.to_string().contains("nobody reads"), "{error}");
        let mut reader = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
        let opened = open(&path).unwrap();
        assert!(!fcntl_getfl(&opened).unwrap().contains(OFlags::NONBLOCK), "its writer waits in the write");
        fcntl_setfl(&opened, OFlags::NONBLOCK).unwrap();
        let long = vec![b'x'; 1 << 20];
        let count = long.len();
        let writing = thread::spawn(move || write_all(opened.as_fd(), &long));
        let (mut read, mut bytes) = (0, [0; 4096]);
        while read < count {
            read += std::io::Read::read(&mut reader, &mut bytes).unwrap_or(0);
        }
        writing.join().unwrap().unwrap();
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn what_a_full_disk_refuses_is_counted_and_told_when_it_takes_more() {
        // The kernel's own full disk.
        let (one, two, mut writer) = writer(Sink::file("/dev/full".into()).unwrap());
        two.keep(Entry::new(0, "closed", ""));
        for text in ["a", "b", "c"] {
            one.say(line(text));
        }
        writer.turn();
        assert_eq!((one.losses().count(), two.losses().count()), (3, 1));
        // Nothing else is said: the number of losses itself is what finds no room.
        writer.broken = false;
        one.try_put(LogItem::Reopen).unwrap();
        writer.turn();
        assert!(writer.broken, "it may have been begun");
        let path = scratch("freed");
        writer.sink = Sink::file(path.clone()).unwrap();
        one.say(line("d"));
        writer.turn();
        let lines = read(&path);
        assert_eq!(lines[..2], ["", "d"], "a line that was begun is ended first");
        assert!(lines[2].ends_with("lost=4"), "{lines:?}");
        std::fs::remove_file(path).unwrap();
    }
}
