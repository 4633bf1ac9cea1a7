//! What a browser's `WebSocket` is to the code above it: opened, told of texts, of one close, and of nothing else.

use std::collections::VecDeque;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;
use tungstenite::client::IntoClientRequest as _;
use tungstenite::protocol::CloseFrame;
use tungstenite::{Error, HandshakeError, Message, WebSocket};

use crate::gateway::SOON;

/// By what a client's own pauses are divided.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace(pub(super) u32);

impl Pace {
    /// As its document says.
    pub(super) const TRUE: Self = Self(1);

    /// A pause of the client's.
    pub(super) fn ms(self, ms: u64) -> Duration {
        Duration::from_millis(ms) / self.0
    }
}

/// What a browser tells.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Happened {
    Open,
    Text(String),
    /// `onerror`: it says nothing about why.
    Error,
    /// `onclose` with the server's code, 1005 without one, 1006 where the connection broke or never came to be.
    Closed(u16),
}

/// One socket.
#[derive(Debug)]
pub(super) struct Line {
    socket: Option<WebSocket<TcpStream>>,
    due: VecDeque<Happened>,
    /// The HTTP status of a refusal; a browser hides it from its client.
    pub(super) refusal: Option<u16>,
}

impl Line {
    /// `new WebSocket(url)`.
    pub(super) fn open(address: SocketAddr, path: &str) -> Self {
        let mut line = Self { socket: None, due: VecDeque::new(), refusal: None };
        match connect(address, path) {
            Ok(socket) => {
                line.socket = Some(socket);
                line.due.push_back(Happened::Open);
            }
            Err(refusal) => {
                line.refusal = refusal;
                line.due.extend([Happened::Error, Happened::Closed(1006)]);
            }
        }
        line
    }

    /// `readyState === WebSocket.OPEN`.
    pub(super) fn is_open(&self) -> bool {
        self.socket.as_ref().is_some_and(WebSocket::can_write)
    }

    /// `send`, where the socket is open; a browser swallows the rest.
    pub(super) fn send(&mut self, message: &Value) {
        self.send_text(&message.to_string());
    }

    /// The same with a text as it is.
    pub(super) fn send_text(&mut self, text: &str) {
        if let Some(socket) = self.socket.as_mut().filter(|socket| socket.can_write()) {
            let _told_by_its_close = socket.send(Message::text(text));
        }
    }

    /// `send` of bytes.
    pub(super) fn send_bytes(&mut self, bytes: &'static [u8]) {
        if let Some(socket) = self.socket.as_mut() {
            let _told_by_its_close = socket.send(Message::binary(bytes));
        }
    }

    /// `close`.
    pub(super) fn close(&mut self, code: u16, reason: &'static str) {
        if let Some(socket) = self.socket.as_mut() {
            let _closed_already = socket.close(Some(CloseFrame { code: code.into(), reason: reason.into() }));
        }
    }

    /// The network goes.
    pub(super) fn cut(&mut self) {
        if let Some(socket) = self.socket.as_mut() {
            let _gone_already = socket.get_ref().shutdown(Shutdown::Both);
        }
    }

    /// The next thing that happens, waited for a moment.
    pub(super) fn next(&mut self) -> Option<Happened> {
        if let Some(happened) = self.due.pop_front() {
            return Some(happened);
        }
        let socket = self.socket.as_mut()?;
        let happened = match socket.read() {
            Ok(Message::Text(text)) => return Some(Happened::Text(text.to_string())),
            Ok(Message::Close(frame)) => {
                // The answer to the close frame goes out with the next read; what it brings does not matter.
                let _ended = socket.read();
                Happened::Closed(frame.map_or(1005, |frame| frame.code.into()))
            }
            Ok(Message::Binary(_)) => panic!("a text endpoint sent a binary message"),
            Ok(_) => return None,
            Err(Error::Io(error)) if waits(&error) => return None,
            Err(_) => Happened::Closed(1006),
        };
        self.socket = None;
        Some(happened)
    }
}

/// signal(7): a read with a timeout is not restarted after the process was stopped.
fn waits(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}

fn connect(address: SocketAddr, path: &str) -> Result<WebSocket<TcpStream>, Option<u16>> {
    let stream = TcpStream::connect(address).map_err(|_| None)?;
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.set_write_timeout(Some(SOON)).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
    // What the seeds' pages are served from.
    request.headers_mut().insert("Origin", "http://localhost:3000".parse().unwrap());
    match tungstenite::client::client(request, stream) {
        Ok((socket, _)) => {
            socket.get_ref().set_read_timeout(Some(Duration::from_millis(2))).unwrap();
            Ok(socket)
        }
        Err(HandshakeError::Failure(Error::Http(response))) => Err(Some(response.status().as_u16())),
        Err(_) => Err(None),
    }
}

/// A client that is given its turns.
pub(super) trait Turns {
    /// Timers that are due, and the next thing that its socket brings.
    fn turn(&mut self);
}

/// Gives turns until something is so.
pub(super) fn drive<T: Turns>(clients: &mut [&mut T], within: Duration, mut until: impl FnMut(&[&mut T]) -> bool) {
    let start = Instant::now();
    while !until(clients) {
        assert!(start.elapsed() < within, "it does not come to that within {within:?}");
        for client in &mut *clients {
            client.turn();
        }
    }
}

/// Gives turns for a time.
pub(super) fn rest<T: Turns>(clients: &mut [&mut T], time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        for client in &mut *clients {
            client.turn();
            // A client without a socket does not wait by itself.
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }
}
