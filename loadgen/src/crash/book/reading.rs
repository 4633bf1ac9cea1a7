//! The whole history of a channel, held against what was acknowledged and seen.

use super::{Acked, Book, Event, Operation, Spot, index};
use crate::crash::faults::What;

impl Book {
    /// Takes a whole history, in the order in which it came, read while nobody published.
    pub(in crate::crash) fn on_history(&mut self, channel: usize, events: Vec<Event>) {
        self.readings += 1;
        self.sums.read += u64::try_from(events.len()).unwrap_or(u64::MAX);
        let mut last_of = vec![0; self.publishers];
        let mut before: Option<Spot> = None;
        for &event in &events {
            if let Some(before) = before {
                self.check_numbers(channel, before, event.spot);
            }
            before = Some(event.spot);
            if let Some(number) = self.look(channel, event) {
                self.check_operation(number, event.spot, &mut last_of);
            }
        }
        let ends = events.first().zip(events.last()).map(|(first, last)| (first.spot.seq, last.spot.seq));
        self.check_missing(channel, ends);
        self.channels[channel].history = events;
    }

    /// How many events the last reading of a channel had.
    pub(in crate::crash) fn history_count(&self, channel: usize) -> usize {
        self.channels[channel].history.len()
    }

    fn check_numbers(&mut self, channel: usize, before: Spot, now: Spot) {
        let falls = now.seq <= before.seq;
        let leaps = now.epoch == before.epoch && now.seq > before.seq + 1;
        if (!falls && !leaps) || !self.channels[channel].wrong.insert(now.seq) {
            return;
        }
        self.found(
            channel,
            match falls {
                true => What::Reordered { publisher: None, late: now.seq, after: before.seq },
                false => What::Hole { before: before.seq, came: now.seq },
            },
        );
    }

    /// `last_of` has each publisher's last operation of this channel so far, plus one.
    fn check_operation(&mut self, number: u32, spot: Spot, last_of: &mut [u32]) {
        let reading = self.readings;
        let operation = &mut self.operations[index(number)];
        let Operation { publisher, channel, acked, stored, sent, .. } = *operation;
        if operation.read == reading {
            if !std::mem::replace(&mut operation.counted.doubled, true) {
                let places = [self.place(stored.unwrap_or(spot)), self.place(spot)];
                self.found(channel, What::Doubled { operation: number, places });
            }
            return;
        }
        (operation.read, operation.stored) = (reading, Some(spot));
        if !acked.is_so() && sent > 0 && !std::mem::replace(&mut operation.counted.kept, true) {
            self.sums.kept += 1;
        }
        if operation.refused && !std::mem::replace(&mut operation.counted.refused_kept, true) {
            self.found(channel, What::RefusedKept { operation: number });
        }
        let last = &mut last_of[index(publisher)];
        if number < *last {
            let after = u64::from(*last - 1);
            if !std::mem::replace(&mut self.operations[index(number)].counted.reordered, true) {
                let late = u64::from(number);
                self.found(channel, What::Reordered { publisher: Some(publisher), late, after });
            }
        } else {
            *last = number.saturating_add(1);
        }
        match acked {
            Acked::Not => {}
            // Found by its id, and from here on that is its place.
            Acked::Somewhere => self.operations[index(number)].acked = Acked::At(spot),
            Acked::At(acked) => self.check_moved(number, acked, spot),
        }
    }

    fn check_missing(&mut self, channel: usize, history: Option<(u64, u64)>) {
        let numbers = std::mem::take(&mut self.channels[channel].operations);
        for &number in &numbers {
            let operation = &mut self.operations[index(number)];
            if operation.read == self.readings {
                continue;
            }
            operation.stored = None;
            if operation.acked.is_so() && !std::mem::replace(&mut operation.counted.lost, true) {
                let acked = operation.acked.spot().map(|spot| self.place(spot));
                self.found(channel, What::Lost { operation: number, acked, history });
            }
        }
        self.channels[channel].operations = numbers;
    }
}
