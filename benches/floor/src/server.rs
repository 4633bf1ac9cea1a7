//! The floor's turn: wait, accept, read, then flush every room that got something.
//!
//! Invariants: a connection stands at the index of its descriptor; a member stands in its room once; a room's log
//! is empty between turns; a backlog is never overtaken by a later send.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};

use crate::Counts;
use crate::codec::{self, Envelope, FrameHead};
use crate::kept::Kept;

/// Bytes of the shared receive buffer; it grows when one `/echo` message is longer.
const RECEIVE_BYTES: usize = 256 * 1024;
/// Events of one wait.
const EVENTS_PER_TURN: usize = 1024;
/// Connections accepted in one turn, so that a storm does not starve the rooms.
const ACCEPTS_PER_TURN: usize = 256;
/// Bytes kept for a recipient that does not read; beyond it deliveries are dropped and counted.
const BACKLOG_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long a wait lasts at most, so that a stop is seen.
const WAIT_MAX: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// Length of the listen queue.
const LISTEN_BACKLOG: i32 = 4096;

/// The server. Dropping it closes everything.
pub struct Floor {
    epoll: OwnedFd,
    listener: OwnedFd,
    listener_index: u64,
    connections: Vec<Option<Connection>>,
    rooms: Rooms,
    receive: Vec<u8>,
    events: Vec<epoll::Event>,
    counts: Counts,
}

impl fmt::Debug for Floor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Floor").field("counts", &self.counts).finish_non_exhaustive()
    }
}

struct Connection {
    fd: OwnedFd,
    phase: Phase,
    /// The start of a head or a frame that is not whole.
    partial: Vec<u8>,
    /// What a short send left over.
    backlog: Vec<u8>,
}

#[derive(Clone, Copy)]
enum Phase {
    Opening,
    Echo,
    /// Upgraded, its authentication frame has not come.
    Unadmitted {
        room: usize,
    },
    Member {
        room: usize,
    },
}

struct Room {
    path: String,
    envelope: Envelope,
    members: Vec<usize>,
    seq: u64,
    /// Frames of this turn, the same bytes for every member.
    log: Vec<u8>,
    log_events: u64,
    /// The latest events, those of this turn too.
    kept: Kept,
}

struct Rooms {
    all: Vec<Room>,
    by_path: HashMap<String, usize>,
    dirty: Vec<usize>,
    user: String,
}

/// What became of a connection's bytes.
enum Verdict {
    Open,
    Dead,
}

impl Floor {
    /// Listens on `address`; `user` is the sender's name in all envelopes.
    ///
    /// # Errors
    /// The address is taken, or the kernel refuses a socket.
    pub fn bind(address: SocketAddr, user: &str) -> io::Result<Self> {
        // Ten thousand sockets need more than the usual soft limit.
        let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        limit.current = limit.maximum;
        rustix::process::setrlimit(rustix::process::Resource::Nofile, limit)?;
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let listener = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
        sockopt::set_socket_reuseaddr(&listener, true)?;
        rustix::net::bind(&listener, &address)?;
        rustix::net::listen(&listener, LISTEN_BACKLOG)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let listener_index = u64::try_from(listener.as_raw_fd()).unwrap_or(u64::MAX);
        epoll::add(&epoll, &listener, epoll::EventData::new_u64(listener_index), epoll::EventFlags::IN)?;
        Ok(Self {
            epoll,
            listener,
            listener_index,
            connections: Vec::new(),
            rooms: Rooms { all: Vec::new(), by_path: HashMap::new(), dirty: Vec::new(), user: user.to_owned() },
            receive: vec![0; RECEIVE_BYTES],
            events: Vec::with_capacity(EVENTS_PER_TURN),
            counts: Counts::default(),
        })
    }

    pub(crate) fn listener(&self) -> impl AsFd + '_ {
        self.listener.as_fd()
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    pub(crate) fn turn(&mut self) -> io::Result<()> {
        let mut events = mem::take(&mut self.events);
        events.clear();
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&WAIT_MAX)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut accept = false;
        for event in &events {
            let (flags, index) = (event.flags, event.data.u64());
            if index == self.listener_index {
                accept = true;
            } else if let Ok(index) = usize::try_from(index) {
                self.serve(index, flags);
            }
        }
        self.events = events;
        self.flush_rooms();
        // Accepting last keeps a descriptor closed in this turn from meeting its own old event.
        if accept {
            self.accept()?;
        }
        self.counts.turns += 1;
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        for _ in 0..ACCEPTS_PER_TURN {
            let fd = match rustix::net::accept_with(&self.listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok(fd) => fd,
                Err(Errno::AGAIN | Errno::MFILE | Errno::NFILE) => return Ok(()),
                Err(Errno::INTR | Errno::CONNABORTED) => continue,
                Err(error) => return Err(error.into()),
            };
            sockopt::set_tcp_nodelay(&fd, true)?;
            let Ok(index) = usize::try_from(fd.as_raw_fd()) else { continue };
            let data = epoll::EventData::new_u64(u64::try_from(index).unwrap_or(u64::MAX));
            epoll::add(&self.epoll, &fd, data, epoll::EventFlags::IN)?;
            if self.connections.len() <= index {
                self.connections.resize_with(index + 1, || None);
            }
            self.connections[index] =
                Some(Connection { fd, phase: Phase::Opening, partial: Vec::new(), backlog: Vec::new() });
        }
        Ok(())
    }

    fn serve(&mut self, index: usize, flags: epoll::EventFlags) {
        let Some(mut connection) = self.connections.get_mut(index).and_then(Option::take) else { return };
        let mut verdict = Verdict::Open;
        if flags.contains(epoll::EventFlags::OUT) {
            verdict = self.flush_backlog(index, &mut connection);
        }
        if matches!(verdict, Verdict::Open) && flags.intersects(!epoll::EventFlags::OUT) {
            verdict = self.read(index, &mut connection);
        }
        match verdict {
            Verdict::Open => self.connections[index] = Some(connection),
            Verdict::Dead => self.rooms.leave(index, connection.phase),
        }
    }

    fn read(&mut self, index: usize, connection: &mut Connection) -> Verdict {
        let kept = connection.partial.len();
        if self.receive.len() < kept + RECEIVE_BYTES / 2 {
            self.receive.resize(2 * self.receive.len(), 0);
        }
        let mut receive = mem::take(&mut self.receive);
        receive[..kept].copy_from_slice(&connection.partial);
        let verdict = match rustix::net::recv(&connection.fd, &mut receive[kept..], RecvFlags::empty()) {
            Ok((_, 0)) => Verdict::Dead,
            Ok((_, fresh)) => {
                connection.partial.clear();
                self.consume(index, connection, &mut receive[..kept + fresh])
            }
            Err(Errno::AGAIN | Errno::INTR) => Verdict::Open,
            Err(_) => Verdict::Dead,
        };
        self.receive = receive;
        verdict
    }

    /// Takes all whole frames out of `bytes`, keeps the rest, and sends what is owed to this connection alone.
    fn consume(&mut self, index: usize, connection: &mut Connection, bytes: &mut [u8]) -> Verdict {
        let mut at = 0;
        let mut own = Vec::new();
        if matches!(connection.phase, Phase::Opening) {
            let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n").map(|end| end + 4) else {
                connection.partial.extend_from_slice(bytes);
                return if bytes.len() > codec::HEAD_BYTES_MAX { Verdict::Dead } else { Verdict::Open };
            };
            if self.open(index, connection, &bytes[..end], &mut own).is_none() {
                return Verdict::Dead;
            }
            at = end;
        }
        let mut alive = true;
        while alive {
            match codec::decode_frame_head(&bytes[at..]) {
                Err(()) => return Verdict::Dead,
                Ok(None) => break,
                Ok(Some(head)) => {
                    if head.payload_bytes > message_bytes_max(connection.phase) {
                        codec::encode_frame(codec::OPCODE_CLOSE, &1009u16.to_be_bytes(), &mut own);
                        alive = false;
                        break;
                    }
                    let from = at + head.head_bytes;
                    let Some(payload) = bytes.get_mut(from..from + head.payload_bytes) else { break };
                    codec::unmask(payload, head.mask);
                    alive = self.on_frame(index, connection, head, payload, &mut own);
                    at = from + head.payload_bytes;
                }
            }
        }
        connection.partial.extend_from_slice(&bytes[at..]);
        let sent = if own.is_empty() { Verdict::Open } else { self.send(index, connection, &own) };
        if alive { sent } else { Verdict::Dead }
    }

    fn open(&mut self, index: usize, connection: &mut Connection, head: &[u8], own: &mut Vec<u8>) -> Option<()> {
        let opening = codec::decode_opening(head)?;
        own.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n");
        own.extend_from_slice(b"Sec-WebSocket-Accept: ");
        own.extend_from_slice(tungstenite::handshake::derive_accept_key(opening.key.as_bytes()).as_bytes());
        own.extend_from_slice(b"\r\n\r\n");
        self.counts.connections += 1;
        if opening.path == "/echo" {
            connection.phase = Phase::Echo;
            return Some(());
        }
        let room = self.rooms.intern(opening.path, opening.keep);
        connection.phase = Phase::Unadmitted { room };
        if opening.early_token {
            self.admit(index, connection, room, None, own);
        }
        Some(())
    }

    /// Makes a connection a member, with what it missed if its authentication frame says where it was.
    fn admit(
        &mut self,
        index: usize,
        connection: &mut Connection,
        room: usize,
        frame: Option<&[u8]>,
        own: &mut Vec<u8>,
    ) {
        let user = mem::take(&mut self.rooms.user);
        let place = &mut self.rooms.all[room];
        // What the room got earlier in this turn reaches the newcomer too, so its position is before that.
        let seq = place.seq - place.log_events;
        let from = frame.and_then(codec::resumed_from);
        let missed = from.and_then(|from| {
            // This turn's events are kept already, and come with the log.
            let run = place.kept.last(place.seq.checked_sub(from)?)?;
            run.get(..run.len().checked_sub(place.log.len())?)
        });
        let recovered = from.map(|_| missed.is_some());
        codec::encode_admission(&place.path, &user, (seq, recovered), frame.is_some(), own);
        own.extend_from_slice(missed.unwrap_or_default());
        place.members.push(index);
        self.rooms.user = user;
        connection.phase = Phase::Member { room };
    }

    /// Returns whether the connection lives on.
    fn on_frame(
        &mut self,
        index: usize,
        connection: &mut Connection,
        head: FrameHead,
        payload: &[u8],
        own: &mut Vec<u8>,
    ) -> bool {
        match (head.opcode, connection.phase) {
            (codec::OPCODE_PING, _) => codec::encode_frame(codec::OPCODE_PONG, payload, own),
            (codec::OPCODE_PONG, _) => {}
            (codec::OPCODE_CLOSE, _) => {
                codec::encode_frame(codec::OPCODE_CLOSE, payload, own);
                return false;
            }
            (codec::OPCODE_TEXT | codec::OPCODE_BINARY, Phase::Echo) if head.fin => {
                codec::encode_frame(head.opcode, payload, own);
                self.counts.messages += 1;
                self.counts.deliveries += 1;
            }
            (codec::OPCODE_TEXT, Phase::Unadmitted { room }) => self.admit(index, connection, room, Some(payload), own),
            (codec::OPCODE_TEXT, Phase::Member { room }) => {
                if let Some(body) = codec::published_body(payload) {
                    self.counts.messages += 1;
                    self.rooms.publish(room, codec::operation_id(payload), body);
                }
            }
            // Fragments and anything unknown: the load sends none.
            _ => return false,
        }
        true
    }

    fn flush_rooms(&mut self) {
        let mut dirty = mem::take(&mut self.rooms.dirty);
        for room in dirty.drain(..) {
            let log = mem::take(&mut self.rooms.all[room].log);
            let members = mem::take(&mut self.rooms.all[room].members);
            let events = mem::take(&mut self.rooms.all[room].log_events);
            let mut dead = Vec::new();
            for &member in &members {
                let Some(mut connection) = self.connections.get_mut(member).and_then(Option::take) else { continue };
                self.counts.deliveries += events;
                match self.send(member, &mut connection, &log) {
                    Verdict::Open => self.connections[member] = Some(connection),
                    Verdict::Dead => dead.push(member),
                }
            }
            let place = &mut self.rooms.all[room];
            place.members = members;
            place.members.retain(|member| !dead.contains(member));
            // The allocation is kept for the next turn.
            place.log = log;
            place.log.clear();
        }
        self.rooms.dirty = dirty;
    }

    fn send(&mut self, index: usize, connection: &mut Connection, bytes: &[u8]) -> Verdict {
        let mut rest = bytes;
        if connection.backlog.is_empty() {
            self.counts.sends += 1;
            match rustix::net::send(&connection.fd, bytes, SendFlags::NOSIGNAL) {
                Ok(sent) => rest = &bytes[sent..],
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(_) => return Verdict::Dead,
            }
            if rest.is_empty() {
                return Verdict::Open;
            }
            if self.watch(index, connection, epoll::EventFlags::IN | epoll::EventFlags::OUT).is_err() {
                return Verdict::Dead;
            }
        }
        if connection.backlog.len() + rest.len() > BACKLOG_BYTES_MAX {
            self.counts.dropped += 1;
            return Verdict::Dead;
        }
        connection.backlog.extend_from_slice(rest);
        Verdict::Open
    }

    fn flush_backlog(&mut self, index: usize, connection: &mut Connection) -> Verdict {
        match rustix::net::send(&connection.fd, &connection.backlog, SendFlags::NOSIGNAL) {
            Ok(sent) => drop(connection.backlog.drain(..sent)),
            Err(Errno::AGAIN | Errno::INTR) => return Verdict::Open,
            Err(_) => return Verdict::Dead,
        }
        if connection.backlog.is_empty() && self.watch(index, connection, epoll::EventFlags::IN).is_err() {
            return Verdict::Dead;
        }
        Verdict::Open
    }

    fn watch(&self, index: usize, connection: &Connection, flags: epoll::EventFlags) -> io::Result<()> {
        let data = epoll::EventData::new_u64(u64::try_from(index).unwrap_or(u64::MAX));
        Ok(epoll::modify(&self.epoll, &connection.fd, data, flags)?)
    }
}

impl Rooms {
    fn intern(&mut self, path: &str, keep: usize) -> usize {
        if let Some(&room) = self.by_path.get(path) {
            return room;
        }
        let room = self.all.len();
        let envelope = Envelope::new(path, &self.user);
        self.all.push(Room {
            path: path.to_owned(),
            envelope,
            members: Vec::new(),
            seq: 0,
            log: Vec::new(),
            log_events: 0,
            kept: Kept::new(keep),
        });
        self.by_path.insert(path.to_owned(), room);
        room
    }

    fn publish(&mut self, room: usize, op_id: Option<&[u8]>, body: &[u8]) {
        let place = &mut self.all[room];
        if place.log.is_empty() {
            self.dirty.push(room);
        }
        place.seq += 1;
        place.log_events += 1;
        let from = place.log.len();
        place.envelope.encode(place.seq, op_id, body, &mut place.log);
        place.kept.push(&place.log[from..]);
    }

    fn leave(&mut self, index: usize, phase: Phase) {
        if let Phase::Member { room } = phase {
            self.all[room].members.retain(|&member| member != index);
        }
    }
}

fn message_bytes_max(phase: Phase) -> usize {
    match phase {
        Phase::Echo => codec::ECHO_MESSAGE_BYTES_MAX,
        _ => codec::ROOM_MESSAGE_BYTES_MAX,
    }
}
