//! The two clients of seed 003: the hook of a page, which stays away once it is closed, and the class that comes back
//! after every close, and counts its attempts anew from each open.

use std::net::SocketAddr;
use std::time::Instant;

use serde_json::{Value, json};

use super::wire::{Happened, Line, Pace, Turns};

/// `useWebSocket(userId)`.
#[derive(Debug)]
pub(super) struct Hook {
    line: Line,
    pub(super) is_connected: bool,
    pub(super) messages: Vec<Value>,
}

impl Hook {
    pub(super) fn mount(address: SocketAddr, path: &str) -> Self {
        Self { line: Line::open(address, path), is_connected: false, messages: Vec::new() }
    }

    pub(super) fn send(&mut self, message: &Value) {
        self.line.send(message);
    }

    pub(super) fn join_trip(&mut self, trip: &str) {
        self.send(&json!({ "type": "join_trip", "trip_id": trip }));
    }

    pub(super) fn leave_trip(&mut self, trip: &str) {
        self.send(&json!({ "type": "leave_trip", "trip_id": trip }));
    }

    pub(super) fn unmount(&mut self) {
        self.line.close(1000, "");
    }

    pub(super) fn messages_of(&self, kind: &str) -> Vec<&Value> {
        self.messages.iter().filter(|message| message["type"] == kind).collect()
    }
}

impl Turns for Hook {
    fn turn(&mut self) {
        match self.line.next() {
            Some(Happened::Open) => self.is_connected = true,
            // The page breaks on what is no JSON.
            Some(Happened::Text(text)) => self.messages.push(serde_json::from_str(&text).unwrap()),
            Some(Happened::Closed(_)) => self.is_connected = false,
            Some(Happened::Error) | None => {}
        }
    }
}

const MAX_RETRIES: u32 = 5;

/// `ReconnectingWebSocket`.
#[derive(Debug)]
pub(super) struct Reconnecting {
    address: SocketAddr,
    path: String,
    pace: Pace,
    line: Option<Line>,
    retries: u32,
    connect_at: Option<Instant>,
    pub(super) sockets: u32,
    /// The HTTP status of each refusal, which a browser would not tell.
    pub(super) refusals: Vec<u16>,
    pub(super) messages: Vec<Value>,
}

impl Reconnecting {
    pub(super) fn connect(address: SocketAddr, path: &str, pace: Pace) -> Self {
        Self {
            address,
            path: path.to_owned(),
            pace,
            line: None,
            retries: 0,
            connect_at: Some(Instant::now()),
            sockets: 0,
            refusals: Vec::new(),
            messages: Vec::new(),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.line.as_ref().is_some_and(Line::is_open)
    }

    pub(super) fn has_stopped(&self) -> bool {
        self.line.is_none() && self.connect_at.is_none()
    }

    pub(super) fn send(&mut self, message: &Value) {
        self.send_text(&message.to_string());
    }

    pub(super) fn send_text(&mut self, text: &str) {
        if let Some(line) = &mut self.line {
            line.send_text(text);
        }
    }
}

impl Turns for Reconnecting {
    fn turn(&mut self) {
        if self.connect_at.is_some_and(|at| at <= Instant::now()) {
            self.connect_at = None;
            self.sockets += 1;
            let line = Line::open(self.address, &self.path);
            self.refusals.extend(line.refusal);
            self.line = Some(line);
        }
        match self.line.as_mut().and_then(Line::next) {
            Some(Happened::Open) => self.retries = 0,
            Some(Happened::Text(text)) => self.messages.push(serde_json::from_str(&text).unwrap()),
            Some(Happened::Closed(_)) => {
                self.line = None;
                if self.retries < MAX_RETRIES {
                    self.retries += 1;
                    self.connect_at = Some(Instant::now() + self.pace.ms(2000 * u64::from(self.retries)));
                }
            }
            Some(Happened::Error) | None => {}
        }
    }
}
