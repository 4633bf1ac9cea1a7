//! Patterns of channel names, and tables that are looked up by them.
//!
//! A pattern names one channel or, with a trailing `*`, all that begin alike; `{user}` stands for the own id.
//! The id is compared as it is: one that ends in `*` or contains `{user}` opens nothing. An exact row beats
//! every wildcard, and the longest wildcard beats the others. A look-up allocates nothing.

use std::cmp::Reverse;

use crate::limits;

/// Which channels a row is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// What comes before `{user}`, or all of it.
    head: Box<str>,
    /// What comes after `{user}`, if the pattern has one.
    tail: Option<Box<str>>,
    wildcard: bool,
}

/// How well a pattern matches: a wildcard by the bytes it fixes, an exact one best of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fit {
    Wildcard(usize),
    Exact,
}

impl Pattern {
    /// Reads a pattern; `None` if it is empty or too long, or has control characters, a `*` elsewhere than at its
    /// end, or more than one `{user}`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (body, wildcard) = text.strip_suffix('*').map_or((text, false), |body| (body, true));
        let fits = body.len() <= limits::CHANNEL_NAME_BYTES_MAX && !text.is_empty();
        if !fits || body.contains('*') || body.chars().any(char::is_control) {
            return None;
        }
        let (head, tail) = body.split_once("{user}").map_or((body, None), |(head, tail)| (head, Some(tail)));
        if tail.is_some_and(|tail| tail.contains("{user}")) {
            return None;
        }
        Some(Self { head: head.into(), tail: tail.map(Into::into), wildcard })
    }

    /// Whether it stands for other channels of every user.
    #[must_use]
    pub const fn names_user(&self) -> bool {
        self.tail.is_some()
    }

    pub(super) fn fit(&self, channel: &str, user: &str) -> Option<Fit> {
        // Most rows of a table fail at their first byte.
        if self.head.as_bytes().first().is_some_and(|first| channel.as_bytes().first() != Some(first)) {
            return None;
        }
        let mut rest = channel.strip_prefix(&*self.head)?;
        if let Some(tail) = &self.tail {
            rest = rest.strip_prefix(user)?.strip_prefix(&**tail)?;
        }
        match self.wildcard {
            true => Some(Fit::Wildcard(channel.len() - rest.len())),
            false => rest.is_empty().then_some(Fit::Exact),
        }
    }
}

/// Rows of a pattern and what holds in its channels. No pattern stands there twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table<T>(Vec<(Pattern, T)>);

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Table<T> {
    /// Adds a row unless its pattern has one. Returns whether it was added.
    pub(super) fn insert(&mut self, pattern: Pattern, value: T) -> bool {
        let new = self.0.iter().all(|(earlier, _)| *earlier != pattern);
        if new {
            self.0.push((pattern, value));
        }
        new
    }

    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }

    /// What the rows say, in their order.
    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|(_, value)| value)
    }

    /// The same rows, each with what it has from those that match all of its channels, the best of them first. Of two
    /// rows that match one channel, neither with `{user}`, one matches all channels of the other, so what the best match
    /// says then is what all that match say together.
    pub(super) fn inherited(&self, or: impl Fn(T, T) -> T) -> Self
    where
        T: Copy,
    {
        let rows = self.0.iter().map(|(pattern, value)| {
            let wider = self.0.iter().filter_map(|(other, value)| match other.fit(&pattern.head, "") {
                Some(fit @ Fit::Wildcard(_)) if other != pattern => Some((fit, *value)),
                _ => None,
            });
            let mut wider: Vec<(Fit, T)> = wider.collect();
            wider.sort_by_key(|(fit, _)| Reverse(*fit));
            (pattern.clone(), wider.into_iter().fold(*value, |value, (_, other)| or(value, other)))
        });
        Self(rows.collect())
    }

    /// The rows that match, each with how well and its place in the table.
    pub(super) fn matches(&self, channel: &str, user: &str) -> impl Iterator<Item = (Fit, usize, &T)> {
        let rows = self.0.iter().enumerate();
        rows.filter_map(move |(place, (pattern, value))| Some((pattern.fit(channel, user)?, place, value)))
    }

    /// The row that matches best, with its place. Of two that fit equally well, of which one spells out the user's
    /// id, the first.
    pub(super) fn best(&self, channel: &str, user: &str) -> Option<(usize, &T)> {
        let best = self.matches(channel, user).reduce(|best, row| if row.0 > best.0 { row } else { best });
        best.map(|(_, place, value)| (place, value))
    }
}
