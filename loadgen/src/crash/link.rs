//! One connection of a trial: opened and shown who it is while others wait, then read and written as the poll says.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::adapter::{Adapter, Values};
use crate::connection;
use crate::engine::Target;
use crate::frame::{self, Masks};
use crate::limits::{CRASH_ANSWER_NS, RECEIVE_BYTES, RESPONSE_HEAD_BYTES_MAX, UNSENT_BYTES_MAX};
use crate::scenario::Auth;
use crate::socket::{self, Progress};

/// A connection.
#[derive(Debug)]
pub(super) struct Link {
    fd: OwnedFd,
    /// What came and is not a whole frame.
    partial: Vec<u8>,
    /// What the socket did not take.
    unsent: Vec<u8>,
    masks: Masks,
}

impl Link {
    /// Connects, upgrades `/ws` with this token, and waits for the response.
    ///
    /// # Errors
    /// Nobody is there, or the server refuses.
    pub(super) fn open(target: &Target, adapter: &Adapter, token: &str, seed: u64) -> Result<Self, String> {
        let mut stream = connect(target.address).map_err(|error| format!("cannot connect: {error}"))?;
        let values = Values { endpoint: "/ws", token, ..Values::default() };
        let auth = if token.is_empty() { Auth::None } else { Auth::Header };
        let request = connection::request(&adapter.open, &target.host, auth, &values);
        let (head, partial) = exchange(&mut stream, &request).map_err(|error| format!("cannot upgrade: {error}"))?;
        connection::check_response(&head)
            .map_err(|reason| format!("cannot upgrade: {reason}: {}", String::from_utf8_lossy(&partial).trim()))?;
        stream.set_nonblocking(true).map_err(|error| format!("cannot connect: {error}"))?;
        Ok(Self { fd: stream.into(), partial, unsent: Vec::new(), masks: Masks::new(seed) })
    }

    /// What the poll watches.
    pub(super) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Whether something waits for the socket.
    pub(super) fn waits(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Sends a text; what the socket does not take waits.
    ///
    /// # Errors
    /// The connection is over, or the server reads nothing.
    pub(super) fn send(&mut self, text: &str) -> Result<(), String> {
        let mask = self.masks.next_key();
        let fill = |out: &mut Vec<u8>| out.extend_from_slice(text.as_bytes());
        frame::encode(frame::OPCODE_TEXT, text.len(), mask, &mut self.unsent, fill);
        self.flush()
    }

    /// Sends what waits.
    ///
    /// # Errors
    /// As for `send`.
    pub(super) fn flush(&mut self) -> Result<(), String> {
        match socket::write(&self.fd, &self.unsent) {
            Progress::Bytes(sent) => drop(self.unsent.drain(..sent)),
            Progress::Blocked => {}
            Progress::Gone(reason) => return Err(reason.to_owned()),
        }
        if self.unsent.len() > UNSENT_BYTES_MAX { Err("server does not read".to_owned()) } else { Ok(()) }
    }

    /// Reads once, giving each whole text to `on_text`; whether there was anything.
    ///
    /// # Errors
    /// The connection is over, or the server broke the protocol.
    pub(super) fn read(&mut self, buf: &mut Vec<u8>, on_text: &mut dyn FnMut(&[u8])) -> Result<bool, String> {
        let kept = self.partial.len();
        buf.clear();
        buf.append(&mut self.partial);
        buf.resize(RECEIVE_BYTES.max(kept + 1), 0);
        let came = match socket::read(&self.fd, &mut buf[kept..]) {
            Progress::Bytes(came) => came,
            Progress::Blocked => 0,
            Progress::Gone(reason) => return Err(reason.to_owned()),
        };
        let bytes = &buf[..kept + came];
        let mut at = 0;
        while let Some(head) = frame::decode_head(&bytes[at..]).map_err(|fault| format!("{fault:?}"))? {
            let from = at + head.head_bytes;
            let Some(payload) = bytes.get(from..from + head.payload_bytes) else { break };
            at = from + head.payload_bytes;
            match head.opcode {
                frame::OPCODE_TEXT => on_text(payload),
                frame::OPCODE_PING => self.answer(frame::OPCODE_PONG, payload)?,
                frame::OPCODE_CLOSE => {
                    let code = payload.get(..2).and_then(|raw| <[u8; 2]>::try_from(raw).ok()).map(u16::from_be_bytes);
                    return Err(code.map_or_else(|| "close without a code".to_owned(), |code| format!("close {code}")));
                }
                _ => {}
            }
        }
        self.partial.extend_from_slice(&bytes[at..]);
        Ok(came > 0)
    }

    fn answer(&mut self, opcode: u8, payload: &[u8]) -> Result<(), String> {
        let mask = self.masks.next_key();
        frame::encode(opcode, payload.len(), mask, &mut self.unsent, |out| out.extend_from_slice(payload));
        self.flush()
    }
}

/// A GET with a bearer token: the body of an answer 200.
///
/// # Errors
/// Nobody answers, or something else.
pub(super) fn get(target: &Target, path: &str, token: &str) -> Result<Vec<u8>, String> {
    let fault = |error: &dyn std::fmt::Display| format!("GET {path}: {error}");
    let mut stream = connect(target.address).map_err(|error| fault(&error))?;
    let host = &target.host;
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n");
    let (head, mut body) = exchange(&mut stream, &request).map_err(|error| fault(&error))?;
    let most = u64::try_from(RECEIVE_BYTES).unwrap_or(u64::MAX);
    stream.take(most).read_to_end(&mut body).map_err(|error| fault(&error))?;
    let status = String::from_utf8_lossy(&head);
    match status.split(' ').nth(1) {
        Some("200") => Ok(body),
        status => Err(fault(&format!("{} {}", status.unwrap_or("no status"), String::from_utf8_lossy(&body)))),
    }
}

fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let patience = Duration::from_nanos(CRASH_ANSWER_NS);
    let stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    Ok(stream)
}

/// Sends a request; the head of the response, and what came behind it.
fn exchange(stream: &mut TcpStream, request: &str) -> std::io::Result<(Vec<u8>, Vec<u8>)> {
    stream.write_all(request.as_bytes())?;
    let (mut bytes, mut part) = (Vec::new(), [0; 4096]);
    loop {
        if let Some(end) = memchr::memmem::find(&bytes, b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Ok((bytes, rest));
        }
        let came = stream.read(&mut part)?;
        if came == 0 || bytes.len() > RESPONSE_HEAD_BYTES_MAX {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&part[..came]);
    }
}
