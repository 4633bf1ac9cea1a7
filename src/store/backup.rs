//! The thread `store-backup`: gives a copy of everything that is committed to who asks for a backup, while the log goes on.
//!
//! It reads from a snapshot, a page at a time, and writes into the asker's socket, who writes the copy: the disk that it
//! goes to holds up neither this thread nor the store. Towards the writer it is a reader like the others: before the log
//! is closed it is asked to let go, and the backup ends. One backup at a time. Absent: who may ask.
//!
//! What goes over the socket: a [`Head`] as a line of JSON; each page behind its length (`u32`, little-endian); a length
//! of 0 behind the last, or of `u32::MAX` and the reason why there is no more. [`Given`] reads it.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded, select};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::directory::VERSION;
use super::fault::LogFault;
use super::reader::{Order, Reader};
use super::tables::Tables;
use crate::ledger::DiskFault;
use crate::ledger::copy::pages;
use crate::limits::{BACKUP_LOOK_MS, BACKUP_STALLED_MS, STORE_COMMIT_BYTES_MAX, STORE_FORMAT_BYTES_MAX};

/// What comes before the pages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The version of the directory that they make.
    pub version: String,
    /// The store's id, in hexadecimal digits.
    pub id: String,
    /// Bytes that the store has on the disk: the copy has about as many.
    pub disk_bytes: u64,
}

/// The length that stands before the reason why there is no more.
const ENDED: u32 = u32::MAX;

/// What is given, as the asker reads it.
#[derive(Debug)]
pub struct Given {
    from: BufReader<UnixStream>,
    page: Vec<u8>,
}

impl Given {
    /// Reads the head of what was asked for.
    ///
    /// # Errors
    /// Why nothing is given.
    pub fn begin(from: UnixStream) -> Result<(Self, Head), String> {
        from.set_read_timeout(Some(Duration::from_millis(BACKUP_STALLED_MS))).map_err(|error| error.to_string())?;
        let mut line = String::new();
        let mut from = BufReader::new(from);
        from.by_ref().take(STORE_FORMAT_BYTES_MAX).read_line(&mut line).map_err(|error| error.to_string())?;
        let told: Value = serde_json::from_str(&line).map_err(|_| "it has ended".to_owned())?;
        if let Some(error) = told["error"].as_str() {
            return Err(error.to_owned());
        }
        let head: Head = serde_json::from_value(told).map_err(|error| error.to_string())?;
        if head.version != VERSION {
            return Err(format!("its store is of version {}, and this release writes version {VERSION}", head.version));
        }
        Ok((Self { from, page: Vec::new() }, head))
    }

    /// The next page; `None` behind the last.
    ///
    /// # Errors
    /// Why there is no more.
    pub fn next_page(&mut self) -> Result<Option<&[u8]>, String> {
        let cut = |error: io::Error| format!("what it gave ends too soon: {error}");
        let mut length = [0; 4];
        self.from.read_exact(&mut length).map_err(cut)?;
        match u32::from_le_bytes(length) {
            0 => return Ok(None),
            ENDED => {
                let mut why = String::new();
                self.from.by_ref().take(STORE_FORMAT_BYTES_MAX).read_to_string(&mut why).map_err(cut)?;
                return Err(why);
            }
            length if length as usize <= STORE_COMMIT_BYTES_MAX => self.page.resize(length as usize, 0),
            length => return Err(format!("a page of {length} bytes is none")),
        }
        self.from.read_exact(&mut self.page).map_err(cut)?;
        Ok(Some(&self.page))
    }
}

/// Where backups are asked for.
#[derive(Clone, Debug)]
pub struct Backups(Sender<UnixStream>);

impl Backups {
    /// Has everything that is committed written into a socket.
    ///
    /// # Errors
    /// Another backup is under way, or the store has ended.
    pub fn begin(&self, to: UnixStream) -> Result<(), &'static str> {
        self.0.try_send(to).map_err(
            |error| {
                if error.is_full() { "another backup is under way" } else { "the store has ended" }
            },
        )
    }
}

/// Starts the thread.
pub(super) fn spawn(id: u128, tables: &Arc<Tables>) -> io::Result<(Backups, Reader)> {
    let ((orders, ordered), (asks, asked)) = (bounded(2), bounded(0));
    let mut state = State { id, tables: Some(Arc::clone(tables)), ordered };
    let thread = std::thread::Builder::new().name("store-backup".to_owned()).spawn(move || state.run(&asked))?;
    Ok((Backups(asks), Reader::new(orders, thread)))
}

struct State {
    id: u128,
    tables: Option<Arc<Tables>>,
    ordered: Receiver<Order>,
}

/// Why a backup ends before its end.
enum Halt {
    Disk(DiskFault),
    /// The log is to be closed.
    Ordered(Option<Order>),
    /// Who asked takes no more.
    Gone(io::Error),
}

impl From<DiskFault> for Halt {
    fn from(fault: DiskFault) -> Self {
        Self::Disk(fault)
    }
}

impl From<io::Error> for Halt {
    fn from(error: io::Error) -> Self {
        Self::Gone(error)
    }
}

impl State {
    fn run(&mut self, asked: &Receiver<UnixStream>) {
        let (ordered, mut asked) = (self.ordered.clone(), Some(asked));
        let never = crossbeam_channel::never();
        loop {
            select! {
                recv(ordered) -> order => match order {
                    Ok(order) => order.follow(&mut self.tables),
                    Err(_) => return,
                },
                recv(asked.unwrap_or(&never)) -> to => match to {
                    Ok(to) => {
                        if let Some(order) = self.back_up(&to) {
                            order.follow(&mut self.tables);
                        }
                    }
                    Err(_) => asked = None,
                },
            }
        }
    }

    /// Gives everything to who asked. Returns an order that came meanwhile: the snapshot is let go of by then.
    fn back_up(&self, to: &UnixStream) -> Option<Order> {
        let (order, why) = match self.try_back_up(to) {
            Ok(records) => {
                tracing::info!(records, "a backup was given");
                return None;
            }
            Err(Halt::Ordered(order)) => (order, "the store is being closed".to_owned()),
            Err(Halt::Disk(fault)) => (None, fault.to_string()),
            Err(Halt::Gone(error)) => (None, error.to_string()),
        };
        tracing::warn!(why, "a backup was cut short");
        order
    }

    fn try_back_up(&self, to: &UnixStream) -> Result<u64, Halt> {
        to.set_write_timeout(Some(Duration::from_millis(BACKUP_LOOK_MS)))?;
        let (tables, head) = match self.head() {
            Ok(begun) => begun,
            Err(fault) => {
                self.write(to, format!("{}\n", json!({ "error": fault.to_string() })).as_bytes())?;
                return Err(fault.into());
            }
        };
        let snapshot = tables.snapshot();
        self.write(to, format!("{head}\n").as_bytes())?;
        let given = pages(&snapshot, &mut |page| {
            let length = u32::try_from(page.len()).map_err(io::Error::other)?;
            self.write(to, &length.to_le_bytes())?;
            self.write(to, page)
        });
        if let Err(Halt::Disk(fault)) = &given {
            self.write(to, &[&ENDED.to_le_bytes(), fault.to_string().as_bytes()].concat())?;
        }
        let records = given?;
        self.write(to, &0_u32.to_le_bytes())?;
        Ok(records)
    }

    fn head(&self) -> Result<(&Tables, Value), DiskFault> {
        let closed = || DiskFault::Failed("the log is being opened again".to_owned());
        let tables = self.tables.as_deref().ok_or_else(closed)?;
        let disk_bytes = tables.disk_bytes().map_err(|LogFault { what, .. }| DiskFault::Failed(what))?;
        let head = Head { version: VERSION.to_owned(), id: format!("{:032x}", self.id), disk_bytes };
        let head = serde_json::to_value(head).map_err(|error| DiskFault::Failed(error.to_string()))?;
        Ok((tables, head))
    }

    /// Writes as fast as the asker takes it, and looks for orders meanwhile.
    fn write(&self, mut to: &UnixStream, mut bytes: &[u8]) -> Result<(), Halt> {
        let mut stalled_ms = 0;
        while !bytes.is_empty() {
            match self.ordered.try_recv() {
                Ok(order) => return Err(Halt::Ordered(Some(order))),
                Err(TryRecvError::Disconnected) => return Err(Halt::Ordered(None)),
                Err(TryRecvError::Empty) => {}
            }
            match to.write(bytes) {
                Ok(count) => (bytes, stalled_ms) = (&bytes[count..], 0),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && stalled_ms < BACKUP_STALLED_MS => {
                    stalled_ms += BACKUP_LOOK_MS;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
