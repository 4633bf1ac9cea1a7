//! Members that read all the time, and come back to where they were after each kill.

use super::{Book, Event, Spot};
use crate::crash::faults::What;

/// Where a reader is in a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    spot: Spot,
    /// It had the event of this number, rather than only having been told the number.
    had: bool,
}

/// What a reader that came back was told, and what followed.
#[derive(Debug)]
pub(in crate::crash) struct Return<'a> {
    pub(in crate::crash) epoch: &'a str,
    pub(in crate::crash) seq: u64,
    pub(in crate::crash) recovered: bool,
    pub(in crate::crash) reason: &'a str,
    /// What came before anything new.
    pub(in crate::crash) events: Vec<Event>,
}

impl Book {
    /// A reader is in a channel for the first time, at this number.
    pub(in crate::crash) fn on_subscribed(&mut self, reader: usize, channel: usize, epoch: &str, seq: u64) {
        let spot = Spot { epoch: self.epoch(epoch), seq };
        self.positions[reader][channel] = Some(Position { spot, had: false });
    }

    /// Where a reader would go on.
    pub(in crate::crash) fn position(&self, reader: usize, channel: usize) -> Option<(String, u64)> {
        let place = self.place(self.positions[reader][channel]?.spot);
        Some((place.epoch, place.seq))
    }

    /// Somebody got an event of whom no position is kept.
    pub(in crate::crash) fn on_seen(&mut self, channel: usize, event: Event) {
        self.look(channel, event);
    }

    /// A reader got an event.
    pub(in crate::crash) fn on_live(&mut self, reader: usize, channel: usize, event: Event) {
        self.look(channel, event);
        let now = event.spot;
        let before = self.positions[reader][channel].replace(Position { spot: now, had: true });
        if let Some(Position { spot: before, .. }) = before
            && (now.seq <= before.seq || (now.epoch == before.epoch && now.seq != before.seq + 1))
        {
            let reader = u32::try_from(reader).unwrap_or(u32::MAX);
            self.found(channel, What::Live { reader, before: before.seq, came: now.seq });
        }
    }

    /// A reader was told that it will not get what comes up to `to_seq`.
    pub(in crate::crash) fn on_gap(&mut self, reader: usize, channel: usize, to_seq: u64) {
        let Some(position) = &mut self.positions[reader][channel] else { return };
        let before = position.spot.seq;
        *position = Position { spot: Spot { seq: to_seq, ..position.spot }, had: false };
        let reader = u32::try_from(reader).unwrap_or(u32::MAX);
        self.found(channel, What::Live { reader, before, came: to_seq.saturating_add(1) });
    }

    /// The number of the last event that a reader is owed when it comes back now, by the last reading: what it waits
    /// for.
    pub(in crate::crash) fn owed_up_to(&self, reader: usize, channel: usize, recovered: bool) -> Option<u64> {
        let last = self.channels[channel].history.last()?.spot.seq;
        let from = self.positions[reader][channel].filter(|_| recovered).map_or(0, |position| position.spot.seq);
        (last > from).then_some(last)
    }

    /// The last number of an event.
    pub(in crate::crash) fn seq_of(event: &Event) -> u64 {
        event.spot.seq
    }

    /// A reader came back to where it was: who was at a stored event must go on behind it, who was at one that is not
    /// stored must be told so, and either gets what the history has, no more and no less.
    pub(in crate::crash) fn on_return(&mut self, reader: usize, channel: usize, back: &Return<'_>) {
        let told = Position { spot: Spot { epoch: self.epoch(back.epoch), seq: back.seq }, had: false };
        let last = back.events.last().map(|event| Position { spot: event.spot, had: true });
        let position = self.positions[reader][channel];
        // Who missed nothing is where it was.
        let stays = position.filter(|_| back.recovered);
        self.positions[reader][channel] = last.or(stays).or(Some(told));
        let history = &self.channels[channel].history;
        let number = u32::try_from(reader).unwrap_or(u32::MAX);
        let mut faults = Vec::new();
        if let Some(Position { spot, had: true }) = position {
            let stored = history.iter().any(|event| event.spot == spot);
            let position = self.place(spot);
            if stored && !back.recovered {
                let reason = back.reason.to_owned();
                faults.push(What::NotRecovered { reader: number, position, reason });
            } else if !stored && back.recovered {
                faults.push(What::WronglyRecovered { reader: number, position });
            }
        }
        let after = position.filter(|_| back.recovered).map_or(0, |position| position.spot.seq);
        let owed: Vec<&Event> = history.iter().filter(|event| event.spot.seq > after).collect();
        let same = owed.iter().zip(&back.events).take_while(|(owed, came)| **owed == *came).count();
        if let Some(event) = owed.get(same) {
            faults.push(What::ResumeDiffers { reader: number, seq: event.spot.seq, stored: true });
        } else if let Some(event) = back.events.get(same) {
            faults.push(What::ResumeDiffers { reader: number, seq: event.spot.seq, stored: false });
        }
        faults.into_iter().for_each(|what| self.found(channel, what));
    }
}
