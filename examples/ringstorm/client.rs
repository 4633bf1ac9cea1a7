//! A client connection and how far its two tagged streams have come.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crate::counts::Counts;
use crate::gateway::Mint;
use crate::tagged::{Door, Heard, channel, frame, hear, is_error, message, name, parse, tag};

/// What a thread of the storm works with.
pub(crate) struct Field<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) mint: &'a Mint,
    pub(crate) counts: &'a Counts,
    /// Connections that one thread opens at once to exhaust the pools.
    pub(crate) crowd: u64,
    pub(crate) began: Instant,
}

/// A storm and what follows it, in milliseconds.
const DAY_MS: u128 = 30_000;
const STORM_MS: u128 = 25_000;
/// The storm and what its last closes leave: each wakes its shard once more when its time to linger is over.
const SETTLED_MS: u128 = 27_500;
/// How long one quiet connection has its turn in a calm.
const TURN_MS: u128 = 250;

/// What goes on. In a storm a wake that is lost is soon made good by the next, whatever that is for, and by
/// every signal; in a calm it is not.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weather {
    Storm,
    /// Everybody waits.
    Settling,
    /// Only one quiet connection moves, the one whose turn it is.
    Calm(u128),
}

impl Field<'_> {
    pub(crate) fn weather(&self) -> Weather {
        let now = self.began.elapsed().as_millis();
        match now % DAY_MS {
            0..STORM_MS => Weather::Storm,
            STORM_MS..SETTLED_MS => Weather::Settling,
            _ => Weather::Calm(now / TURN_MS),
        }
    }
}

/// How one connection's life came to an early end.
pub(crate) struct Trouble {
    /// A byte was wrong, which no connection's end excuses.
    pub(crate) misdelivered: bool,
    pub(crate) text: String,
}

impl Trouble {
    pub(crate) const fn new(text: String) -> Self {
        Self { misdelivered: false, text }
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::new(error.to_string())
    }
}

/// How the token comes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    /// In the path, so that it travels with the socket.
    Early,
    /// In the first frame.
    Late,
}

pub(crate) struct Client {
    pub(crate) socket: TcpStream,
    pub(crate) id: u64,
    pub(crate) door: Door,
    /// Bytes of an echo, messages of a chat.
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// Whether messages may come.
    joined: bool,
    /// The code of the server's close frame; 0 if it has none.
    pub(crate) closed: Option<u16>,
    /// Whether an error event is due: a rule was broken.
    pub(crate) defiant: bool,
    /// Read and not yet parsed.
    pending: Vec<u8>,
}

impl Client {
    /// A connection, and all that it has to say before its first message.
    pub(crate) fn connect(field: &Field<'_>, door: Door, proof: Proof) -> Result<(Self, Vec<u8>), Trouble> {
        let id = field.counts.next_id.fetch_add(1, Relaxed);
        let socket = TcpStream::connect(field.address)?;
        socket.set_read_timeout(Some(Duration::from_secs(20)))?;
        socket.set_write_timeout(Some(Duration::from_secs(20)))?;
        let token = field.mint.token(&name(id)).map_err(Trouble::new)?;
        let path = match (door, proof) {
            (Door::Echo, _) => "/echo".to_owned(),
            (Door::Chat, Proof::Early) => format!("/ws/chat/{}?token={token}", name(id)),
            (Door::Open, Proof::Early) => format!("/ws?token={token}"),
            (Door::Open, Proof::Late) => "/ws".to_owned(),
            (Door::Chat, Proof::Late) => format!("/ws/chat/{}", name(id)),
        };
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            field.address
        );
        let mut first = head.into_bytes();
        if door != Door::Echo && proof == Proof::Late {
            first.extend(frame(0x1, id, serde_json::json!({ "token": token }).to_string().as_bytes()));
        }
        if door == Door::Open {
            let wish = serde_json::json!({ "type": "subscribe", "payload": { "channels": [channel(id)] } });
            first.extend(frame(0x1, id, wish.to_string().as_bytes()));
        }
        let joined = door == Door::Echo;
        Ok((
            Self { socket, id, door, sent: 0, received: 0, joined, closed: None, defiant: false, pending: Vec::new() },
            first,
        ))
    }

    pub(crate) fn open(field: &Field<'_>, door: Door, proof: Proof) -> Result<Self, Trouble> {
        let (mut client, first) = Self::connect(field, door, proof)?;
        client.socket.write_all(&first)?;
        client.finish_opening(field.counts)?;
        Ok(client)
    }

    /// Reads up to the switch of protocols and, in a chat, to its position.
    pub(crate) fn finish_opening(&mut self, counts: &Counts) -> Result<(), Trouble> {
        let end = loop {
            if let Some(end) = self.pending.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            self.read()?;
        };
        let head = String::from_utf8_lossy(&self.pending[..end]).into_owned();
        self.pending.drain(..end);
        if !head.starts_with("HTTP/1.1 101") {
            return Err(Trouble::new(format!("refused: {}", head.lines().next().unwrap_or(""))));
        }
        while !self.joined {
            self.step(counts)?;
            self.refuse_close()?;
        }
        counts.opened(self.door).fetch_add(1, Relaxed);
        Ok(())
    }

    /// The frame of the next message, counted as sent.
    pub(crate) fn next_message(&mut self, len: u64) -> Vec<u8> {
        let from = self.sent;
        self.sent += if self.door == Door::Echo { len } else { 1 };
        message(self.door, self.id, from, len)
    }

    pub(crate) fn send(&mut self, len: u64) -> io::Result<()> {
        let frame = self.next_message(len);
        self.socket.write_all(&frame)
    }

    /// Receives until `until` came back, and checks each byte.
    pub(crate) fn receive(&mut self, until: u64, counts: &Counts) -> Result<(), Trouble> {
        while self.received < until {
            self.step(counts)?;
            self.refuse_close()?;
        }
        Ok(())
    }

    /// Checks what comes up to the end of the connection, however it ends.
    pub(crate) fn receive_to_the_end(&mut self, counts: &Counts) -> Result<(), Trouble> {
        loop {
            match self.step(counts) {
                Ok(()) => {}
                Err(trouble) if trouble.misdelivered => return Err(trouble),
                Err(trouble) if trouble.text == "timeout" => return Err(trouble),
                Err(_ended) => return Ok(()),
            }
        }
    }

    /// Takes one frame, or reads.
    fn step(&mut self, counts: &Counts) -> Result<(), Trouble> {
        let pending = std::mem::take(&mut self.pending);
        let parsed = parse(&pending).map(|(opcode, payload, len)| (self.check(opcode, payload, counts), len));
        self.pending = pending;
        match parsed {
            Some((checked, len)) => {
                self.pending.drain(..len);
                checked
            }
            None => Ok(self.read()?),
        }
    }

    fn refuse_close(&self) -> Result<(), Trouble> {
        match self.closed {
            Some(code) => Err(Trouble::new(format!("connection {} was closed: {code}", self.id))),
            None => Ok(()),
        }
    }

    fn check(&mut self, opcode: u8, payload: &[u8], counts: &Counts) -> Result<(), Trouble> {
        let checked = match (opcode, self.door) {
            (0x0 | 0x2, Door::Echo) => self.check_echo(payload),
            (0x1, Door::Chat | Door::Open) => self.check_event(payload),
            (0x8, _) => {
                self.closed = Some(payload.first_chunk().map_or(0, |code| u16::from_be_bytes(*code)));
                Ok(())
            }
            (0x9 | 0xa, _) => Ok(()),
            (0x1, Door::Echo) if self.defiant && is_error(payload) => Ok(()),
            (other, _) => {
                let payload = String::from_utf8_lossy(payload);
                Err((true, format!("connection {} got opcode {other:x}: {payload}", self.id)))
            }
        };
        counts.bytes.fetch_add(payload.len() as u64, Relaxed);
        checked.map_err(|(misdelivered, text)| {
            counts.misdelivered.fetch_add(u64::from(misdelivered), Relaxed);
            Trouble { misdelivered, text }
        })
    }

    fn check_echo(&mut self, payload: &[u8]) -> Result<(), (bool, String)> {
        for byte in payload {
            if *byte != tag(self.id, self.received) || self.received >= self.sent {
                return Err((true, format!("connection {} got byte {byte} at {}", self.id, self.received)));
            }
            self.received += 1;
        }
        Ok(())
    }

    fn check_event(&mut self, payload: &[u8]) -> Result<(), (bool, String)> {
        match hear(self.id, self.received, payload)? {
            Heard::Subscribed => self.joined = true,
            Heard::Message => self.received += 1,
            Heard::Admitted | Heard::Aside => {}
        }
        Ok(())
    }

    fn read(&mut self) -> io::Result<()> {
        let mut buffer = [0; 16_384];
        match self.socket.read(&mut buffer) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(len) => {
                self.pending.extend_from_slice(&buffer[..len]);
                Ok(())
            }
            // signal(7): not restarted if there is a deadline.
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(io::Error::other("timeout")),
            Err(error) => Err(error),
        }
    }

    /// The connection ends with a reset: nothing that is under way arrives.
    pub(crate) fn reset(self) -> Result<(), Trouble> {
        rustix::net::sockopt::set_socket_linger(&self.socket, Some(Duration::ZERO)).map_err(io::Error::from)?;
        drop(self);
        Ok(())
    }

    /// Nothing more is written.
    pub(crate) fn finish_writing(&self) -> io::Result<()> {
        self.socket.shutdown(Shutdown::Write)
    }
}
