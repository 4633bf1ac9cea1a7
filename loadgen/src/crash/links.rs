//! All connections of a trial, and the one place that waits for them.

use std::io;

use super::link::Link;
use crate::limits::WAIT_NS_MAX;
use crate::socket::{Interest, Poll, Readiness};

/// What came on a connection.
#[derive(Debug)]
pub(super) enum Came<'a> {
    /// A message.
    Text(&'a [u8]),
    /// Its end, with the reason.
    Gone(String),
}

/// Connections by number; one that ended leaves its place free.
#[derive(Debug)]
pub(super) struct Links {
    poll: Poll,
    all: Vec<Option<Link>>,
    buf: Vec<u8>,
    ready: Vec<Readiness>,
    /// Those that may have a message already, since it came with the response to the upgrade.
    fresh: Vec<usize>,
}

impl Links {
    pub(super) fn new(count: usize) -> io::Result<Self> {
        let all = std::iter::repeat_with(|| None).take(count).collect();
        Ok(Self { poll: Poll::new()?, all, buf: Vec::new(), ready: Vec::new(), fresh: Vec::new() })
    }

    /// Puts a connection in its place.
    pub(super) fn put(&mut self, number: usize, link: Link) -> io::Result<()> {
        self.poll.add(link.fd(), number, Interest::Read)?;
        self.all[number] = Some(link);
        self.fresh.push(number);
        Ok(())
    }

    /// Ends all of them.
    pub(super) fn clear(&mut self) {
        self.all.iter_mut().for_each(|link| *link = None);
        self.fresh.clear();
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.all.iter().flatten().count()
    }

    /// Sends a text.
    ///
    /// # Errors
    /// The connection is over; its place is free then.
    pub(super) fn send(&mut self, number: usize, text: &str) -> Result<(), String> {
        let Some(link) = &mut self.all[number] else { return Err("not connected".to_owned()) };
        let waited = link.waits();
        let sent = link.send(text);
        if sent.is_ok() && !waited && link.waits() {
            return self.watch(number).map_err(|error| error.to_string());
        }
        if sent.is_err() {
            self.all[number] = None;
        }
        sent
    }

    /// Waits at most `timeout_ns`, and gives what came to `on_came`.
    ///
    /// # Errors
    /// The poll failed.
    pub(super) fn wait(&mut self, timeout_ns: u64, on_came: &mut dyn FnMut(usize, Came<'_>)) -> io::Result<()> {
        if self.fresh.is_empty() {
            let mut ready = std::mem::take(&mut self.ready);
            self.poll.wait(&mut ready, timeout_ns.min(WAIT_NS_MAX))?;
            for &Readiness { number, read, write } in &ready {
                if write {
                    self.flush(number, on_came)?;
                }
                if read {
                    self.read(number, on_came);
                }
            }
            self.ready = ready;
        }
        for number in std::mem::take(&mut self.fresh) {
            self.read(number, on_came);
        }
        Ok(())
    }

    fn read(&mut self, number: usize, on_came: &mut dyn FnMut(usize, Came<'_>)) {
        let Some(link) = &mut self.all[number] else { return };
        if let Err(reason) = link.read(&mut self.buf, &mut |text| on_came(number, Came::Text(text))) {
            self.all[number] = None;
            on_came(number, Came::Gone(reason));
        }
    }

    fn flush(&mut self, number: usize, on_came: &mut dyn FnMut(usize, Came<'_>)) -> io::Result<()> {
        let Some(link) = &mut self.all[number] else { return Ok(()) };
        if !link.waits() {
            return Ok(());
        }
        match link.flush() {
            Ok(()) => self.watch(number),
            // What it had sent before is read first.
            Err(_) => {
                self.read(number, on_came);
                Ok(())
            }
        }
    }

    fn watch(&self, number: usize) -> io::Result<()> {
        let Some(link) = &self.all[number] else { return Ok(()) };
        let interest = if link.waits() { Interest::ReadWrite } else { Interest::Read };
        self.poll.change(link.fd(), number, interest)
    }
}
