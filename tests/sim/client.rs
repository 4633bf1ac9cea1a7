//! A client: what it asked for, what it was told, and whether that is what it may be told.

mod channels;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::Value;

use super::backend::Backend;
use super::company::{Company, Pings};
use super::counts::{Counts, Kind};
use super::invariants::{Ledger, Place};
use super::wire::{Frame, take_frame};
use waystation::limits::TOKEN_WARNING_MS;

/// How far a connection has come, as its client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Not connected.
    Away,
    /// The request is sent.
    Opening,
    /// The 101 is there, the welcome is not.
    Upgraded,
    Open,
    /// A refusal is there.
    Refused,
    /// The gateway's close frame is there.
    Over,
}

/// A join that is not answered yet.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) position: Option<Place>,
    /// The position is one that the client really had.
    pub(crate) truthful: bool,
    /// A leave was sent in the same breath before it.
    pub(crate) after_leave: bool,
}

/// The client is in a channel.
#[derive(Clone, Debug)]
pub(crate) struct Joined {
    pub(crate) epoch: String,
    /// The next position that it has not had.
    pub(crate) expected: u64,
    /// How the channel is called in its events.
    name: String,
    /// It starts at `expected` or earlier, and has had nothing yet.
    unread: bool,
}

/// A client's part in a channel.
#[derive(Clone, Debug, Default)]
pub(crate) struct Part {
    pub(crate) ask: Option<Ask>,
    pub(crate) joined: Option<Joined>,
    pub(crate) leaving: bool,
}

/// A client and its present connection.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) user: String,
    pub(crate) known: bool,
    /// Counts connections of all clients; tells this one from earlier ones.
    pub(crate) serial: u64,
    pub(crate) phase: Phase,
    pub(crate) refreshed: bool,
    pub(crate) socket: Option<usize>,
    pub(crate) own: Option<String>,
    pub(crate) parts: BTreeMap<String, Part>,
    /// The names in each `subscribe` that is not answered.
    pub(crate) requests: VecDeque<Vec<String>>,
    /// Where it was in each channel.
    pub(crate) memory: BTreeMap<String, Place>,
    /// Operations that want an answer on this connection, with how many.
    pub(crate) awaited: BTreeMap<String, u32>,
    pub(crate) input: Vec<u8>,
    /// Bytes of whole frames, and of the head, that were read on this connection.
    read: u64,
    /// So many bytes had been given to its socket when an erasure was answered.
    pub(crate) given: u64,
    /// Payloads of the pings that it answers by itself.
    pub(crate) pongs: Vec<Vec<u8>>,
    /// Texts that it sends by itself.
    pub(crate) replies: Vec<String>,
    /// Requests that are not answered, by id, with what is to come back.
    pub(crate) asked: BTreeMap<String, String>,
    /// Events without a channel that have come.
    direct: BTreeSet<u64>,
    /// What it is if it is a service.
    pub(crate) backend: Option<Box<Backend>>,
    pub(crate) wake_micros: u64,
    /// Reads nothing before this time.
    pub(crate) asleep_until: u64,
    pub(crate) never_reads: bool,
    pub(crate) told_draining: bool,
    pub(crate) expires_ms: u64,
    /// It has told its name on this connection.
    pub(crate) named: bool,
    /// Its last token on this connection leaves out all trips.
    pub(crate) narrow: bool,
    pub(crate) company: Company,
    pub(crate) pings: Pings,
}

impl Client {
    pub(crate) fn new(user: String, known: bool) -> Self {
        Self {
            user,
            known,
            serial: 0,
            phase: Phase::Away,
            refreshed: false,
            socket: None,
            own: None,
            parts: BTreeMap::new(),
            requests: VecDeque::new(),
            memory: BTreeMap::new(),
            awaited: BTreeMap::new(),
            input: Vec::new(),
            read: 0,
            given: 0,
            pongs: Vec::new(),
            replies: Vec::new(),
            asked: BTreeMap::new(),
            direct: BTreeSet::new(),
            backend: None,
            wake_micros: 0,
            asleep_until: 0,
            never_reads: false,
            told_draining: false,
            expires_ms: 0,
            named: false,
            narrow: false,
            company: Company::default(),
            pings: Pings::default(),
        }
    }

    /// Forgets the connection, but not where it was in its channels.
    pub(crate) fn reset(&mut self) {
        (self.phase, self.socket) = (Phase::Away, None);
        self.parts.clear();
        self.requests.clear();
        self.awaited.clear();
        self.input.clear();
        (self.read, self.given) = (0, 0);
        self.asleep_until = 0;
        self.pongs.clear();
        self.replies.clear();
        self.asked.clear();
        self.direct.clear();
        if let Some(backend) = &mut self.backend {
            backend.reset();
        }
        (self.named, self.narrow) = (false, false);
        (self.company, self.pings) = (Company::default(), Pings::default());
        (self.never_reads, self.told_draining, self.refreshed) = (false, false, false);
    }

    pub(crate) fn part(&mut self, channel: &str) -> &mut Part {
        self.parts.entry(channel.to_owned()).or_default()
    }

    /// Reads what has come.
    pub(crate) fn read(&mut self, ledger: &mut Ledger, counts: &mut Counts) {
        if self.phase == Phase::Opening {
            let Some(end) = self.input.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { return };
            let head = String::from_utf8(self.input[..end].to_vec()).expect("a text head");
            if !head.starts_with("HTTP/1.1 101 ") {
                assert!(head.starts_with("HTTP/1.1 "), "{head}");
                counts.count(if head.contains(" 404 ") { Kind::Admin } else { Kind::Refused });
                self.phase = Phase::Refused;
                return;
            }
            self.input.drain(..end + 4);
            self.read = end as u64 + 4;
            self.phase = Phase::Upgraded;
        }
        if self.phase == Phase::Refused {
            return;
        }
        let mut before = self.input.len();
        while self.phase != Phase::Away
            && let Some(frame) = take_frame(&mut self.input)
        {
            self.on_frame(&frame, ledger, counts);
            self.read += (before - self.input.len()) as u64;
            before = self.input.len();
        }
    }

    fn on_frame(&mut self, frame: &Frame, ledger: &mut Ledger, counts: &mut Counts) {
        assert_ne!(self.phase, Phase::Over, "nothing follows a close frame: {frame:?}");
        match frame.opcode {
            0x1 => {
                let text = std::str::from_utf8(&frame.payload).expect("a text is UTF-8");
                let value: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
                self.on_text(&value, ledger, counts);
            }
            0x8 => self.on_close(&frame.payload, counts),
            0x9 => {
                counts.count(Kind::Pinged);
                self.on_ping(&frame.payload, ledger, counts);
            }
            0xa => counts.count(Kind::Pong),
            other => panic!("a frame with opcode {other}"),
        }
    }

    /// RFC 6455 section 5.5.3: a pong has the payload of its ping. It acknowledges what came before.
    fn on_ping(&mut self, payload: &[u8], ledger: &mut Ledger, counts: &mut Counts) {
        if let Some(place) = payload.strip_prefix(b"ack:") {
            let number = |at: usize| u64::from_be_bytes(place[at..at + 8].try_into().expect("eight bytes"));
            let (epoch, seq) = (format!("{:016x}", number(4)), number(12));
            let named = |part: &Part| part.joined.as_ref().is_some_and(|joined| joined.epoch == epoch);
            if let Some(channel) = self.parts.iter().find(|(_, part)| named(part)).map(|(channel, _)| channel) {
                counts.count(Kind::PongAck);
                ledger.user_acked(&self.user, channel, &epoch, seq);
            }
        }
        self.pongs.push(payload.to_vec());
    }

    /// The answer to a request: once, and what was asked for.
    fn on_response(&mut self, payload: &Value, ledger: &mut Ledger, counts: &mut Counts) {
        let id = text(payload, "id");
        let expected = self.asked.remove(id);
        let expected = expected.unwrap_or_else(|| panic!("an answer that nobody waits for: {payload}"));
        let Some(error) = payload.get("error") else {
            counts.count(Kind::Answered);
            assert!(payload["result"] == *expected || expected.is_empty(), "another's answer: {payload}");
            let asked = id.rsplit('-').next().and_then(|serial| serial.parse().ok());
            self.on_history(&payload["result"], asked.expect("a request has a number"), ledger, counts);
            return;
        };
        counts.count(Kind::Unanswered);
        let code = text(error, "code");
        counts.add(Kind::ProviderLost, u64::from(code == "SERVER_ERROR"));
        assert!(CODES_OF_ANSWERS.contains(&code), "{payload}");
    }

    fn on_close(&mut self, payload: &[u8], counts: &mut Counts) {
        self.phase = Phase::Over;
        if payload.is_empty() {
            return;
        }
        let code = u16::from_be_bytes([payload[0], payload[1]]);
        assert!(matches!(code, 1000..=1003 | 1007..=1012 | 4000..=4999), "close code {code}");
        std::str::from_utf8(&payload[2..]).expect("a close reason is UTF-8");
        match code {
            1012 => counts.count(Kind::ClosedInDrain),
            4001 => counts.count(Kind::TokenExpired),
            _ => {}
        }
    }

    fn on_text(&mut self, value: &Value, ledger: &mut Ledger, counts: &mut Counts) {
        if let Some(success) = value.get("success") {
            assert!(self.phase != Phase::Opening, "an answer before the 101");
            if *success == Value::Bool(false) {
                counts.count(Kind::BadToken);
            } else {
                assert_eq!(text(value, "user_id"), self.user);
            }
            return;
        }
        if value.get("seq").is_none() {
            self.pings.frame();
        }
        let payload = &value["payload"];
        match text(value, "type") {
            "connection_established" => {
                assert_eq!(self.phase, Phase::Upgraded, "one welcome");
                self.phase = Phase::Open;
            }
            "subscribe_response" => self.on_subscribe_response(payload, counts),
            "subscribed" => self.on_subscribed(payload, ledger, counts),
            "unsubscribed" => self.on_unsubscribed(payload, counts),
            "gap" => self.on_gap(payload, ledger, counts),
            "ack" => self.on_ack(payload, ledger, counts),
            "nack" => self.on_nack(payload, counts),
            "connection_error" => on_error(payload, counts),
            "response" => self.on_response(payload, ledger, counts),
            "register_response" => assert!(self.backend.is_some(), "only services offer: {value}"),
            "sim_direct" => {
                counts.count(Kind::Direct);
                assert!(value.get("channel").is_none() && value.get("seq").is_none(), "{value}");
                assert!(self.direct.insert(number(payload, "number")), "twice: {value}");
            }
            "request" => {
                let (id, params) = (text(payload, "id").to_owned(), text(&payload["params"], "echo").to_owned());
                self.backend.as_mut().expect("only services are asked").work.push((id, params));
            }
            "cancel" => {
                let id = text(payload, "id");
                self.backend.as_mut().expect("only services are asked").work.retain(|(other, _)| other != id);
            }
            "connection_heartbeat" => counts.count(Kind::Heartbeat),
            "draining" => {
                counts.count(Kind::Draining);
                self.told_draining = true;
            }
            "token_expiring" => {
                assert_eq!(self.phase, Phase::Open, "told before it was let in");
                assert!(number(payload, "expires_in_ms") <= TOKEN_WARNING_MS, "{payload}");
                counts.count(Kind::TokenExpiring);
            }
            "pong" => self.pings.answer(payload["timestamp"].as_u64().unwrap_or(0)),
            "connection_close" => {}
            _ if self.take_company(value, counts) => {}
            _ => self.on_event(value, ledger, counts),
        }
    }

    /// What is told of the others: only of channels that it is in.
    fn take_company(&mut self, value: &Value, counts: &mut Counts) -> bool {
        let parts = &self.parts;
        if self.backend.is_some() {
            // Its channels come and go by patterns; what others do there is not followed.
            return Company::knows(text(value, "type"));
        }
        let member = |channel: &str| parts.get(channel).is_some_and(|part| part.joined.is_some());
        self.company.take(value, &self.user, member, counts)
    }

    fn on_nack(&mut self, payload: &Value, counts: &mut Counts) {
        self.answered(text(payload, "id"));
        match text(payload, "code") {
            "ID_REUSED" => counts.count(Kind::IdReused),
            "OVERLOADED" => counts.count(Kind::Overloaded),
            "STORE_UNAVAILABLE" => counts.count(Kind::StoreRefused),
            "RATE_LIMIT_EXCEEDED" => counts.count(Kind::RateRefused),
            "PERMISSION_DENIED" => counts.count(Kind::PermissionDenied),
            other => panic!("a nack for {other}"),
        }
    }

    fn answered(&mut self, id: &str) {
        let count = self.awaited.get_mut(id).unwrap_or_else(|| panic!("an answer to {id}, which was not sent"));
        *count -= 1;
        if *count == 0 {
            self.awaited.remove(id);
        }
    }
}

/// Why a request has no result.
const CODES_OF_ANSWERS: [&str; 5] =
    ["UNKNOWN_TYPE", "OVERLOADED", "SERVER_ERROR", "DEADLINE_EXCEEDED", "STORE_UNAVAILABLE"];

fn on_error(payload: &Value, counts: &mut Counts) {
    match text(payload, "code") {
        "PERMISSION_DENIED" | "NOT_A_MEMBER" => counts.count(Kind::PermissionDenied),
        "UNKNOWN_TYPE" => counts.count(Kind::Unknown),
        "INVALID_JSON" | "INVALID_MESSAGE_FORMAT" => counts.count(Kind::Invalid),
        "RATE_LIMIT_EXCEEDED" => counts.count(Kind::RateRefused),
        "OVERLOADED" => counts.count(Kind::Overloaded),
        "STORE_UNAVAILABLE" => counts.count(Kind::StoreRefused),
        "ID_REUSED" => counts.count(Kind::IdReused),
        other => panic!("an error {other}: {payload}"),
    }
}

/// The channel that a client means by a name.
pub(crate) fn own_name(name: &str, user: &str) -> String {
    match name.split_once(':') {
        None if name == "notifications" => format!("notifications:{user}"),
        Some(("session", rest)) => format!("chat:{rest}"),
        _ => name.to_owned(),
    }
}

pub(crate) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} is a text in {value}"))
}

pub(crate) fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_else(|| panic!("{key} is a number in {value}"))
}
