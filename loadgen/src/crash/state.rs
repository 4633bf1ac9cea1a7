//! What a trial knows while it goes on: the book, who waits for what, and what came of each message.

use std::collections::HashMap;

use super::Trial;
use super::book::{Book, Event, Return};
use super::links::Came;
use super::wire::{Heard, Message};
use crate::stats::{Latency, Names};

/// Who is behind a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Publishes; some are members of the channels too.
    Publisher(usize),
    /// Reads all channels all the time.
    Reader(usize),
    /// Asks for histories.
    Asker,
}

/// What a reader that comes back was told of a channel, and what followed.
#[derive(Debug, Default)]
pub(super) struct Coming {
    pub(super) told: Option<Entered>,
    pub(super) events: Vec<Event>,
}

/// How a channel was entered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entered {
    pub(super) epoch: String,
    pub(super) seq: u64,
    pub(super) recovered: bool,
    pub(super) reason: String,
}

/// A part of a history.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) more: bool,
    pub(super) events: Vec<Event>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) book: Book,
    publishers: usize,
    readers: usize,
    channels: HashMap<String, usize>,
    /// When each operation was sent for the first time; 0 once it was answered or sent again.
    pub(super) sent_ns: Vec<u64>,
    /// By publisher: sends without an answer.
    pub(super) outstanding: Vec<usize>,
    /// By connection: let in, and in all channels.
    pub(super) let_in: Vec<bool>,
    pub(super) joined: Vec<bool>,
    /// By reader and channel while readers come back; empty otherwise.
    pub(super) coming: Vec<Vec<Coming>>,
    /// The answer to the last question for a history; `Some(None)` if it was refused.
    pub(super) part: Option<Option<Part>>,
    pub(super) ack_latency: Latency,
    pub(super) refusals: Names,
    pub(super) errors: Names,
    pub(super) closes: Names,
    pub(super) version: Option<String>,
    /// The server is being killed: an end is no fault.
    pub(super) ending: bool,
}

impl State {
    pub(super) fn new(trial: &Trial) -> Self {
        let Trial { publishers, readers, .. } = *trial;
        let names = trial.channel_names();
        let channels = names.iter().enumerate().map(|(number, name)| (name.clone(), number)).collect();
        let links = publishers + readers + 1;
        Self {
            book: Book::new(trial.seed, publishers, readers, &names),
            publishers,
            readers,
            channels,
            sent_ns: Vec::new(),
            outstanding: vec![0; publishers],
            let_in: vec![false; links],
            joined: vec![false; links],
            coming: Vec::new(),
            part: None,
            ack_latency: Latency::new(),
            refusals: Names::default(),
            errors: Names::default(),
            closes: Names::default(),
            version: None,
            ending: false,
        }
    }

    pub(super) fn links_count(&self) -> usize {
        self.publishers + self.readers + 1
    }

    pub(super) fn role(&self, link: usize) -> Role {
        match link {
            _ if link < self.publishers => Role::Publisher(link),
            _ if link < self.publishers + self.readers => Role::Reader(link - self.publishers),
            _ => Role::Asker,
        }
    }

    /// Whether the connection is to be a member of the channels: readers are, and every other publisher, since an
    /// answer waits for its author's own delivery only where it has one.
    pub(super) fn is_member(&self, link: usize) -> bool {
        match self.role(link) {
            Role::Publisher(number) => number % 2 == 1,
            Role::Reader(_) => true,
            Role::Asker => false,
        }
    }

    /// The connection on which histories are asked for.
    pub(super) fn asker(&self) -> usize {
        self.publishers + self.readers
    }

    /// The connection of a reader.
    pub(super) fn link_of(&self, reader: usize) -> usize {
        self.publishers + reader
    }

    /// All connections are gone.
    pub(super) fn on_all_gone(&mut self) {
        self.let_in.fill(false);
        self.joined.fill(false);
        self.outstanding.fill(0);
        self.part = None;
    }

    /// Something came at this time.
    pub(super) fn on_came(&mut self, link: usize, came: &Came<'_>, now_ns: u64) {
        match came {
            Came::Text(text) => match Message::parse(text) {
                Ok(message) => self.on_message(link, &message, now_ns),
                Err(error) => self.errors.add(&format!("unreadable: {error}")),
            },
            Came::Gone(_) if self.ending => {}
            Came::Gone(reason) => self.closes.add(reason),
        }
    }

    fn on_message(&mut self, link: usize, message: &Message<'_>, now_ns: u64) {
        match message.heard() {
            Heard::LetIn { version } => {
                self.let_in[link] = true;
                self.version = version.or_else(|| self.version.take());
            }
            Heard::Joined(true) => self.joined[link] = true,
            Heard::Joined(false) => self.errors.add("a channel could not be joined"),
            Heard::Ack { id, ack } => {
                let Some(number) = self.answered(link, id) else { return };
                let sent_ns = self.sent_ns.get_mut(number_index(number)).map_or(0, std::mem::take);
                if sent_ns > 0 {
                    self.ack_latency.record(now_ns.saturating_sub(sent_ns));
                }
                self.book.on_ack(number, &ack);
            }
            Heard::Nack { id, code, retryable } => {
                self.refusals.add(code);
                if let Some(number) = self.answered(link, id) {
                    self.book.on_nack(number, retryable);
                }
            }
            Heard::Event { channel, told } => {
                let Some(&channel) = self.channels.get(channel) else { return self.errors.add("event of elsewhere") };
                let event = self.book.event(&told);
                self.on_event(link, channel, event);
            }
            Heard::Subscribed { channel, epoch, seq, recovered, reason } => {
                let (Some(&channel), Role::Reader(reader)) = (self.channels.get(channel), self.role(link)) else {
                    return;
                };
                let (epoch, reason) = (epoch.to_owned(), reason.to_owned());
                match self.coming.get_mut(reader).and_then(|channels| channels.get_mut(channel)) {
                    Some(coming) => {
                        coming.told = Some(Entered { epoch, seq, recovered: recovered == Some(true), reason });
                    }
                    None => self.book.on_subscribed(reader, channel, &epoch, seq),
                }
            }
            Heard::Gap { channel, to_seq, lost } => {
                if let (Some(&channel), Role::Reader(reader), true) =
                    (self.channels.get(channel), self.role(link), lost)
                {
                    self.book.on_gap(reader, channel, to_seq);
                }
            }
            Heard::History { page } => {
                self.part = Some(page.map(|page| {
                    let events = page.events().map(|told| self.book.event(&told)).collect();
                    Part { more: page.more, events }
                }));
            }
            Heard::Error { code } => self.errors.add(code),
            Heard::Other => {}
        }
    }

    fn on_event(&mut self, link: usize, channel: usize, event: Event) {
        match self.role(link) {
            Role::Reader(reader) => match self.coming.get_mut(reader).and_then(|channels| channels.get_mut(channel)) {
                Some(coming) => coming.events.push(event),
                None => self.book.on_live(reader, channel, event),
            },
            Role::Publisher(_) | Role::Asker => self.book.on_seen(channel, event),
        }
    }

    /// The operation that an answer is about; one that names none is told as an error.
    fn answered(&mut self, link: usize, id: &str) -> Option<u32> {
        let number = self.book.operation(id);
        match (number, self.role(link)) {
            (Some(_), Role::Publisher(publisher)) => {
                self.outstanding[publisher] = self.outstanding[publisher].saturating_sub(1);
            }
            _ => self.errors.add("answer to nothing that was sent"),
        }
        number
    }

    /// Whether a reader that comes back has all that it is owed in a channel.
    pub(super) fn is_back(&self, reader: usize, channel: usize) -> bool {
        let Some(coming) = self.coming.get(reader).and_then(|channels| channels.get(channel)) else { return true };
        let Some(told) = &coming.told else { return false };
        match self.book.owed_up_to(reader, channel, told.recovered) {
            Some(last) => coming.events.last().is_some_and(|event| Book::seq_of(event) >= last),
            None => true,
        }
    }

    /// All readers are back, or are not waited for any longer: what they got is held against the history.
    pub(super) fn end_of_return(&mut self) {
        for (reader, channels) in std::mem::take(&mut self.coming).into_iter().enumerate() {
            for (channel, Coming { told, events }) in channels.into_iter().enumerate() {
                let Some(Entered { epoch, seq, recovered, reason }) = told else {
                    self.errors.add("a reader never came back");
                    continue;
                };
                let back = Return { epoch: &epoch, seq, recovered, reason: &reason, events };
                self.book.on_return(reader, channel, &back);
            }
        }
    }
}

fn number_index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
