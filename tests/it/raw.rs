//! A client that sends any bytes and reads what comes, for where a proper one would be too polite.

use std::fmt::Display;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::gateway::{Gateway, SOON};

pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CONTINUATION: u8 = 0x0;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xA;
pub(crate) const FIN: u8 = 0x80;

/// A socket and what was read ahead of need.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
    ahead: Vec<u8>,
}

impl Raw {
    pub(crate) fn connect(gateway: &Gateway) -> Self {
        let stream = TcpStream::connect(gateway.address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream.set_write_timeout(Some(SOON)).unwrap();
        Self { stream, ahead: Vec::new() }
    }

    /// A WebSocket on `path`, with the 101 read.
    pub(crate) fn upgraded(gateway: &Gateway, path: &str) -> Self {
        let mut raw = Self::connect(gateway);
        raw.write(upgrade_head(gateway, path, "").as_bytes());
        let head = raw.head();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        raw
    }

    /// A WebSocket that a good token has opened; the welcome is not read.
    pub(crate) fn admitted(gateway: &Gateway, path: &str, token: &str) -> Self {
        Self::upgraded(gateway, &format!("{path}?token={token}"))
    }

    /// The same connection once more, to read here and write there.
    pub(crate) fn beside(other: &Self) -> Self {
        Self { stream: other.stream.try_clone().unwrap(), ahead: Vec::new() }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Up to and with the empty line that ends a head.
    pub(crate) fn head(&mut self) -> String {
        loop {
            if let Some(end) = self.ahead.windows(4).position(|four| four == b"\r\n\r\n") {
                let rest = self.ahead.split_off(end + 4);
                return String::from_utf8(std::mem::replace(&mut self.ahead, rest)).unwrap();
            }
            assert!(self.more(), "the connection ended before a whole head: {:?}", self.ahead);
        }
    }

    /// The next frame as first byte and payload; `None` where the connection ends.
    pub(crate) fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some((first, payload, used)) = whole_frame(&self.ahead) {
                self.ahead.drain(..used);
                return Some((first, payload));
            }
            if !self.more() {
                return None;
            }
        }
    }

    /// The next text; other frames on the way are passed over.
    pub(crate) fn text(&mut self) -> String {
        loop {
            let (first, payload) = self.frame().expect_frame();
            assert_ne!(first & 0xF, CLOSE, "closed: {payload:?}");
            if first & 0xF == TEXT {
                return String::from_utf8(payload).unwrap();
            }
        }
    }

    /// The code of the close frame that is to come; what comes before it is passed over.
    pub(crate) fn close_code(&mut self) -> u16 {
        loop {
            let (first, payload) = self.frame().expect_frame();
            if first & 0xF == CLOSE {
                return u16::from_be_bytes([payload[0], payload[1]]);
            }
        }
    }

    /// All bytes to the end of the connection.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self.more() {}
        std::mem::take(&mut self.ahead)
    }

    /// Reads once. `false` where the connection has ended.
    fn more(&mut self) -> bool {
        let mut bytes = [0; 16 * 1024];
        match self.stream.read(&mut bytes) {
            Ok(0) => false,
            Ok(count) => {
                self.ahead.extend_from_slice(&bytes[..count]);
                true
            }
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => false,
            // socket(7) and signal(7): a read with a timeout is not restarted after the process was stopped.
            Err(error) if error.kind() == ErrorKind::Interrupted => true,
            Err(error) => panic!("nothing more came in time: {error}"),
        }
    }

    /// Whether the server has ended the connection or sends nothing for `wait`.
    pub(crate) fn is_silent_for(&mut self, wait: Duration) -> bool {
        self.stream.set_read_timeout(Some(wait)).unwrap();
        let outcome = loop {
            match self.stream.read(&mut [0; 1]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                outcome => break outcome,
            }
        };
        self.stream.set_read_timeout(Some(SOON)).unwrap();
        matches!(outcome, Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
    }
}

trait ExpectFrame {
    fn expect_frame(self) -> (u8, Vec<u8>);
}

impl ExpectFrame for Option<(u8, Vec<u8>)> {
    fn expect_frame(self) -> (u8, Vec<u8>) {
        let Some(frame) = self else { panic!("the connection ended without the frame") };
        frame
    }
}

fn whole_frame(bytes: &[u8]) -> Option<(u8, Vec<u8>, usize)> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    assert_eq!(second & 0x80, 0, "RFC 6455 section 5.1: a server does not mask");
    let (len, start) = match second {
        126 => (usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap())), 4),
        127 => (usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap())).unwrap(), 10),
        short => (usize::from(short), 2),
    };
    Some((first, bytes.get(start..start + len)?.to_vec(), start + len))
}

/// A masked frame.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = frame_head(first, 0x80, payload.len());
    let mask = [0x1b, 0x2c, 0x3d, 0x4e];
    frame.extend_from_slice(&mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// A masked text message of one frame.
pub(crate) fn text_frame(text: &str) -> Vec<u8> {
    frame(FIN | TEXT, text.as_bytes())
}

/// A frame as only a server may send it.
pub(crate) fn unmasked_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = frame_head(first, 0, payload.len());
    frame.extend_from_slice(payload);
    frame
}

fn frame_head(first: u8, mask_bit: u8, len: usize) -> Vec<u8> {
    let mut head = vec![first];
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(short @ 0..=125), _) => head.push(mask_bit | short),
        (_, Ok(middle)) => {
            head.push(mask_bit | 126);
            head.extend_from_slice(&middle.to_be_bytes());
        }
        _ => {
            head.push(mask_bit | 127);
            head.extend_from_slice(&u64::try_from(len).unwrap().to_be_bytes());
        }
    }
    head
}

/// A proper request for a WebSocket; `extra` are whole header lines.
pub(crate) fn upgrade_head(gateway: &Gateway, path: &str, extra: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{extra}\r\n",
        gateway.address
    )
}

/// An HTTP answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Status line and headers.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }
}

/// Asks for a path and reads the whole answer.
pub(crate) fn get(gateway: &Gateway, method: &str, path: &str) -> Answer {
    ask(gateway, &format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n\r\n", gateway.address))
}

/// Sends a head as it is and reads the whole answer, which ends the connection.
pub(crate) fn ask(gateway: &Gateway, head: &str) -> Answer {
    let mut raw = Raw::connect(gateway);
    raw.write(head.as_bytes());
    let head = raw.head();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body = if status == 101 { String::new() } else { String::from_utf8(raw.rest()).unwrap() };
    Answer { status, head, body }
}

/// Sends a JSON body and reads the whole answer; `lines` are whole header lines.
pub(crate) fn send(gateway: &Gateway, (method, path): (&str, &str), lines: &str, body: impl Display) -> Answer {
    let body = body.to_string();
    let (address, len) = (gateway.address, body.len());
    ask(
        gateway,
        &format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\n{lines}Content-Type: application/json\r\n\
             Content-Length: {len}\r\n\r\n{body}"
        ),
    )
}

/// Posts a JSON body as whom a token says.
pub(crate) fn post(gateway: &Gateway, path: &str, token: &str, body: impl Display) -> Answer {
    send(gateway, ("POST", path), &bearer(token), body)
}

/// The header line of a token.
pub(crate) fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}
