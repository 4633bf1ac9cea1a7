//! What is asked over the administration's Unix socket: one order a connection, as a line of JSON, answered in lines of
//! JSON, the last of which has `done` or `error`.
//!
//! `dump` shows what the recorders hold and `tail` follows them; `debug` has somebody's records logged for a while; `log`
//! changes the filter; `stats` tells the numbers; `backup` is answered by the store itself. Who reads slowly holds up nobody: the recorders go on, and it is told how
//! many records it has missed. Absent: who may ask, which was judged at the entrance.

mod debugging;
mod order;

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_lite::{AsyncReadExt as _, AsyncWriteExt as _, FutureExt as _};
use glommio::net::TcpStream;
use glommio::sync::Semaphore;
use glommio::timer::Timer;
use serde_json::{Map, Value as Json, json};

use super::trail::{Look, Shown, Trail, Wanted};
use super::{Office, clock, within};
use crate::audit::Entry;
use crate::limits::{DESK_CLIENTS_MAX, DESK_ORDER_BYTES_MAX, DESK_ORDER_DEADLINE_MS, TAIL_LOOK_MS};
use crate::mesh::{Hatch, LogPost, Lost};
use crate::metrics::Metric;
use crate::metrics::store::StoreNumber;
use crate::recorder::Ring;
use crate::time::rfc3339;
use debugging::Debugging;
use order::{Order, Refused};

/// Changes what is logged, or says why not.
pub type SetFilter = Box<dyn Fn(&str) -> Result<(), String> + Send>;

/// Has a backup of the store written into a socket, or says why not.
pub type GiveBackup = Box<dyn Fn(UnixStream) -> Result<(), String> + Send>;

/// What the desk works with.
pub struct Tools {
    /// The shards' recorders, in their order; empty if they are off.
    pub rings: Arc<[Arc<Ring>]>,
    /// From when records count time.
    pub started: Instant,
    /// The way to the log for what is debugged, which is much and takes no other's room.
    pub log: LogPost,
    /// Changes the log's filter.
    pub set_filter: SetFilter,
    /// Gives backups.
    pub give_backup: GiveBackup,
}

impl std::fmt::Debug for Tools {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tools").field("rings", &self.rings.len()).finish_non_exhaustive()
    }
}

/// What the desk keeps.
#[derive(Debug)]
pub(super) struct Desk {
    office: Rc<Office>,
    tools: Tools,
    debugging: Debugging,
}

impl Desk {
    pub(super) fn new(office: Rc<Office>, tools: Tools) -> Rc<Self> {
        Rc::new(Self { office, tools, debugging: Debugging::default() })
    }

    /// The wall clock of a record's time, in milliseconds.
    fn unix_ms(&self, micros: u64) -> u64 {
        let began = clock::unix().saturating_sub(self.tools.started.elapsed());
        clock::millis(began + Duration::from_micros(micros))
    }
}

/// Serves who was let in until nobody is left to let somebody in.
///
/// # Cancel safety
/// Who is served is cut off.
pub(super) async fn serve(entrance: Hatch<UnixStream>, desk: Rc<Desk>) {
    let places = Rc::new(Semaphore::new(DESK_CLIENTS_MAX as u64));
    super::take_all(entrance, async |stream| {
        // For a backup, which a thread of the store writes.
        let Ok(twin) = stream.set_nonblocking(false).and_then(|()| stream.try_clone()) else { return };
        let mut socket = TcpStream::from(socket2::Socket::from(OwnedFd::from(stream)));
        let (desk, place) = (Rc::clone(&desk), places.try_acquire_static_permit(1));
        glommio::spawn_local(async move {
            let Ok(_place) = place else {
                within(DESK_ORDER_DEADLINE_MS, async { socket.write_all(super::entrance::BUSY).await }).await;
                return;
            };
            let answered = desk.answer(&mut socket, twin).await;
            if let Err(Refused { what, remedy, passing }) = answered {
                let last = format!("{}\n", json!({ "error": what, "remedy": remedy, "passing": passing }));
                within(DESK_ORDER_DEADLINE_MS, async { socket.write_all(last.as_bytes()).await }).await;
            }
        })
        .detach();
    })
    .await;
}

impl Desk {
    /// # Cancel safety
    /// What was ordered may be done all the same, here and below.
    async fn answer(self: &Rc<Self>, socket: &mut TcpStream, twin: UnixStream) -> Result<(), Refused> {
        let order = read_order(socket).await?;
        if let Some(audit) = &self.office.audit {
            audit.keep(Entry::new(clock::unix_ms(), "administered", format!("socket: {order}")));
        }
        let done = match order {
            Order::Dump(wanted) => self.show(socket, wanted.usable()?, Showing::Dump).await,
            Order::Tail(wanted) => self.show(socket, wanted.usable()?, Showing::Tail).await,
            Order::Debug(order) => self.debug(order).await?,
            Order::Log { filter } => {
                (self.tools.set_filter)(&filter)?;
                tracing::warn!(filter, "the log's filter was changed until the next reload");
                json!({ "done": true, "filter": filter })
            }
            Order::Stats {} => self.stats(),
            Order::Backup {} => return Ok((self.tools.give_backup)(twin)?),
        };
        let last = format!("{done}\n");
        within(DESK_ORDER_DEADLINE_MS, async { socket.write_all(last.as_bytes()).await }).await;
        Ok(())
    }

    /// All numbers, of all shards together, and those of the store.
    fn stats(&self) -> Json {
        let mut numbers = Map::new();
        for metric in Metric::ALL.iter().filter(|metric| !matches!(metric, Metric::TickedAt)) {
            let row = metric.describe();
            let name =
                if row.labels.is_empty() { row.family.to_owned() } else { format!("{}{{{}}}", row.family, row.labels) };
            let all = self.office.metrics.iter().map(|metrics| metrics.read(*metric));
            numbers.insert(name, metric.together(all).into());
        }
        if let Some(store) = &self.office.known.store {
            let row = |number: &StoreNumber| (number.describe().family.to_owned(), store.read(*number).into());
            numbers.extend(StoreNumber::ALL.iter().map(row));
        }
        let recorded: Vec<u64> = self.tools.rings.iter().map(|ring| ring.head()).collect();
        let (shards, Lost { lines, entries }) = (self.office.metrics.len(), &self.office.lost);
        let (log, audit) = (lines.count(), entries.count());
        json!({
            "done": true, "shards": shards, "recorded": recorded, "log_lost": log, "audit_lost": audit, "numbers": numbers
        })
    }

    /// Writes what is wanted of the recorders. Ends with what is there, or with its reader.
    async fn show(&self, socket: &mut TcpStream, wanted: Wanted, showing: Showing) -> Json {
        let (asker, rings) = (&self.office.asker, &self.tools.rings);
        let follows = showing == Showing::Tail;
        let mut trail = Trail::begin(asker, &self.office.key, rings, wanted, follows).await;
        let heads: Vec<u64> = rings.iter().map(|ring| ring.head()).collect();
        let (mut count, mut lost) = (0, 0);
        loop {
            let Look { shown, lost: missed, more } = trail.look(asker).await;
            lost += if follows { missed } else { 0 };
            let mut text = String::new();
            if follows && missed > 0 {
                text += &format!("{}\n", json!({ "lost": missed }));
            }
            for record in &shown {
                text += &format!("{}\n", self.described(record));
            }
            count += shown.len();
            if !text.is_empty() && socket.write_all(text.as_bytes()).await.is_err() {
                break;
            }
            if !follows && trail.has_passed(&heads) {
                break;
            }
            // What is shown goes out at once as long as its reader keeps up: without this nobody else had a turn.
            glommio::executor().yield_now().await;
            if follows && is_gone(socket, if more { 0 } else { TAIL_LOOK_MS }).await {
                break;
            }
        }
        json!({ "done": true, "records": count, "lost": lost })
    }

    fn described(&self, shown: &Shown) -> Json {
        let time = String::from_utf8_lossy(&rfc3339(self.unix_ms(shown.micros))).into_owned();
        let mut object = shown.object();
        object.insert("time".into(), time.into());
        Json::Object(object)
    }
}

/// How the recorders are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Showing {
    /// What is there.
    Dump,
    /// What comes.
    Tail,
}

/// The one line that is asked.
async fn read_order(socket: &mut TcpStream) -> Result<Order, String> {
    let mut line = Vec::new();
    let read = async {
        let mut bytes = [0; 1024];
        while !line.contains(&b'\n') {
            let count = socket.read(&mut bytes).await?;
            line.extend_from_slice(&bytes[..count]);
            if count == 0 || line.len() > DESK_ORDER_BYTES_MAX {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        Ok(())
    };
    if within(DESK_ORDER_DEADLINE_MS, read).await.is_none() {
        return Err(format!("an order is one line of at most {DESK_ORDER_BYTES_MAX} bytes that comes at once"));
    }
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    serde_json::from_slice(line).map_err(|error| format!("this is no order: {error}"))
}

/// Waits so long for new records. Returns whether the reader has gone meanwhile. Who has closed only its writing half counts
/// as gone: the end of what it sends is all that tells, while nothing happens, that nobody is there any more, and a place
/// is held for each who follows.
///
/// # Cancel safety
/// Bytes that the reader sent may be lost; it has nothing more to say.
async fn is_gone(socket: &mut TcpStream, wait_ms: u64) -> bool {
    let mut byte = [0];
    let ended = async {
        let _ended_or_failed = socket.read(&mut byte).await;
        true
    };
    let waited = async {
        Timer::new(Duration::from_millis(wait_ms)).await;
        false
    };
    ended.or(waited).await
}
