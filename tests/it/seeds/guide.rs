//! The connection class of seed 002, put together from the parts that its guide gives: connection, lifecycle,
//! exponential back-off with jitter, the network's state by `HEAD /api/health`, a message queue in four priorities, and
//! the identifiers of what was sent. Where the guide's own code is odd, so is this.

use std::collections::{HashMap, VecDeque};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::wire::{Happened, Line, Pace, Turns};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Disconnected,
    Connecting,
    Authenticating,
    Connected,
    Reconnecting,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Network {
    Online,
    Offline,
    Slow,
    Unstable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Priority {
    Critical,
    High,
    Normal,
    Low,
}

/// `ExponentialBackoffReconnection`. What its `config` holds is left to the user: three attempts as the pool's
/// connections have, from one second to thirty, with jitter, forgotten after a minute.
#[derive(Debug)]
struct Backoff {
    attempts: u32,
    last_success: Option<Instant>,
    pace: Pace,
    /// Of a small generator of our own: it need only differ.
    noise: u64,
}

const MAX_ATTEMPTS: u32 = 3;
const BASE_MS: u64 = 1000;
const MAX_MS: u64 = 30_000;
const RESET_AFTER_MS: u64 = 60_000;

impl Backoff {
    fn should_reconnect(&self) -> bool {
        self.attempts < MAX_ATTEMPTS
    }

    fn next_delay(&mut self) -> Duration {
        // The guide counts from the last success, which is 1970 before the first one: until then it starts anew with
        // each attempt, and never gives up.
        let reset_after = self.pace.ms(RESET_AFTER_MS);
        if self.last_success.is_none_or(|at| at.elapsed() > reset_after) {
            self.attempts = 0;
        }
        let delay = (BASE_MS << self.attempts.min(16)).min(MAX_MS);
        self.attempts += 1;
        self.noise = self.noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let random = self.noise >> 54;
        // × (0.5 to 1)
        self.pace.ms(delay / 2 + delay * random / 2048)
    }
}

/// `MessageDeduplicationManager`: five minutes each, swept once a minute.
#[derive(Debug, Default)]
struct Sent(HashMap<String, Instant>);

impl Sent {
    /// Whether this is new; it is remembered.
    fn record(&mut self, id: &str) -> bool {
        self.0.retain(|_, at| at.elapsed() < Duration::from_secs(300));
        self.0.insert(id.to_owned(), Instant::now()).is_none()
    }
}

#[derive(Debug, Default)]
pub(super) struct Metrics {
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) reconnects: u64,
}

/// What it is made with.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) address: SocketAddr,
    pub(super) path: String,
    pub(super) token: String,
    pub(super) session: String,
    pub(super) channels: Vec<String>,
    pub(super) pace: Pace,
}

impl Setup {
    pub(super) fn chat(address: SocketAddr, session: &str, token: &str) -> Self {
        Self {
            address,
            path: format!("/ws/chat/{session}"),
            token: token.to_owned(),
            session: session.to_owned(),
            channels: vec![format!("chat:{session}")],
            pace: Pace::TRUE,
        }
    }

    pub(super) fn paced(self, pace: u32) -> Self {
        Self { pace: Pace(pace), ..self }
    }
}

const HEARTBEAT_MS: u64 = 30_000;
const CONNECTIVITY_MS: u64 = 30_000;

/// The class.
#[derive(Debug)]
pub(super) struct Guide {
    setup: Setup,
    line: Option<Line>,
    pub(super) state: State,
    pub(super) states: Vec<State>,
    pub(super) network: Network,
    check_at: Instant,
    backoff: Backoff,
    reconnect_at: Option<Instant>,
    heartbeat_at: Option<Instant>,
    queues: [VecDeque<Value>; 4],
    sent: Sent,
    pub(super) metrics: Metrics,
    pub(super) sockets: u32,
    pub(super) closes: Vec<u16>,
    /// Everything that `message` listeners were told.
    pub(super) messages: Vec<Value>,
    pub(super) reply: Value,
}

impl Guide {
    pub(super) fn connect(setup: Setup) -> Self {
        let backoff = Backoff { attempts: 0, last_success: None, pace: setup.pace, noise: 0x9E37_79B9_7F4A_7C15 };
        let check_at = Instant::now() + setup.pace.ms(CONNECTIVITY_MS);
        let mut client = Self {
            setup,
            line: None,
            state: State::Disconnected,
            states: Vec::new(),
            network: Network::Online,
            check_at,
            backoff,
            reconnect_at: None,
            heartbeat_at: None,
            queues: Default::default(),
            sent: Sent::default(),
            metrics: Metrics::default(),
            sockets: 0,
            closes: Vec::new(),
            messages: Vec::new(),
            reply: Value::Null,
        };
        client.open();
        client
    }

    pub(super) fn is_connected(&self) -> bool {
        self.state == State::Connected
    }

    pub(super) fn has_stopped(&self) -> bool {
        self.state == State::Disconnected && self.reconnect_at.is_none()
    }

    /// `enqueue`: once for each id. What cannot be sent now stays in its queue.
    pub(super) fn enqueue(&mut self, id: &str, message: Value, priority: Priority) {
        if self.sent.record(id) {
            self.queues[priority as usize].push_back(message);
            self.process();
        }
    }

    /// `checkConnectivity`.
    pub(super) fn check_connectivity(&mut self) {
        let start = Instant::now();
        let answered = head_health(self.setup.address);
        self.network = match start.elapsed().as_millis() {
            _ if !answered => Network::Offline,
            5001.. => Network::Slow,
            1001.. => Network::Unstable,
            _ => Network::Online,
        };
    }

    /// What its code never sends: bytes.
    pub(super) fn send_bytes(&mut self, bytes: &'static [u8]) {
        if let Some(line) = self.line.as_mut() {
            line.send_bytes(bytes);
        }
    }

    pub(super) fn cut(&mut self) {
        if let Some(line) = &mut self.line {
            line.cut();
        }
    }

    pub(super) fn messages_of(&self, kind: &str) -> Vec<&Value> {
        self.messages.iter().filter(|message| message["type"] == kind).collect()
    }

    fn change(&mut self, state: State) {
        self.state = state;
        self.states.push(state);
    }

    fn open(&mut self) {
        self.sockets += 1;
        self.reconnect_at = None;
        self.change(State::Connecting);
        self.line = Some(Line::open(self.setup.address, &self.setup.path));
    }

    /// In the order of priority, while there is a connection.
    fn process(&mut self) {
        if !self.is_connected() {
            return;
        }
        let Some(line) = self.line.as_mut() else { return };
        while line.is_open()
            && let Some(message) = self.queues.iter_mut().find_map(VecDeque::pop_front)
        {
            line.send(&message);
            self.metrics.sent += 1;
        }
    }

    fn on_text(&mut self, text: &str) {
        self.metrics.received += 1;
        let message: Value = serde_json::from_str(text).unwrap();
        if message["success"] == true {
            self.backoff.last_success = Some(Instant::now());
            self.backoff.attempts = 0;
            self.reply = message.clone();
            self.change(State::Connected);
            self.process();
        }
        self.messages.push(message);
    }

    fn on_close(&mut self, code: u16) {
        self.closes.push(code);
        self.line = None;
        self.heartbeat_at = None;
        self.change(State::Disconnected);
        let may = match self.network {
            Network::Online => self.backoff.should_reconnect(),
            Network::Slow | Network::Unstable => true,
            Network::Offline => false,
        };
        // `shouldReconnect`: 1000 is normal closure.
        if code == 1000 || !may {
            return;
        }
        self.metrics.reconnects += 1;
        self.change(State::Reconnecting);
        let least = match self.network {
            Network::Slow => self.setup.pace.ms(5000),
            Network::Unstable => self.setup.pace.ms(2000),
            Network::Online | Network::Offline => Duration::ZERO,
        };
        self.reconnect_at = Some(Instant::now() + self.backoff.next_delay().max(least));
    }
}

impl Turns for Guide {
    fn turn(&mut self) {
        let now = Instant::now();
        if self.reconnect_at.is_some_and(|at| at <= now) {
            self.open();
        }
        if self.check_at <= now {
            self.check_at = now + self.setup.pace.ms(CONNECTIVITY_MS);
            self.check_connectivity();
        }
        let Some(line) = self.line.as_mut() else { return };
        if self.heartbeat_at.is_some_and(|at| at <= now) {
            self.heartbeat_at = Some(now + self.setup.pace.ms(HEARTBEAT_MS));
            line.send(&json!({ "type": "heartbeat" }));
        }
        match line.next() {
            Some(Happened::Open) => {
                let Setup { token, session, channels, .. } = &self.setup;
                line.send(&json!({ "token": token, "sessionId": session, "channels": channels }));
                self.heartbeat_at = Some(now + self.setup.pace.ms(HEARTBEAT_MS));
                self.change(State::Authenticating);
            }
            Some(Happened::Text(text)) => self.on_text(&text),
            Some(Happened::Closed(code)) => self.on_close(code),
            Some(Happened::Error) | None => {}
        }
    }
}

/// `fetch("/api/health", { method: "HEAD" })`: whether the answer was `ok`.
fn head_health(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else { return false };
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let asked = write!(stream, "HEAD /api/health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let mut answer = String::new();
    asked.is_ok() && stream.read_to_string(&mut answer).is_ok() && answer.starts_with("HTTP/1.1 2")
}
