//! What a user or a service may do in a channel.
//!
//! Rows of a pattern and verbs, from the token's `caps` claim or, without one, from the policy. A pattern
//! names one channel or, with a trailing `*`, all that begin alike; `{user}` stands for the own id. The id is
//! compared as it is: one that ends in `*` or contains `{user}` opens nothing. An exact row beats every
//! wildcard, the longest wildcard beats the others, and what no row matches is denied.
//!
//! Channels come by their own names, never by an alias. A check allocates nothing.

use crate::limits;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Something that can be done in a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Join.
    Subscribe,
    /// Events, chat, typing, cancel.
    Publish,
    /// See members.
    Presence,
    /// Read what was.
    History,
    /// Trip fields and locks.
    Edit,
    /// Produce streams, speak as the assistant, report an agent's status.
    Stream,
    /// Answer requests.
    Register,
    /// Everything that is for operators.
    Admin,
}

impl Verb {
    /// Every verb with its name in claims and configuration.
    pub const ALL: [(Self, &'static str); 8] = [
        (Self::Subscribe, "subscribe"),
        (Self::Publish, "publish"),
        (Self::Presence, "presence"),
        (Self::History, "history"),
        (Self::Edit, "edit"),
        (Self::Stream, "stream"),
        (Self::Register, "register"),
        (Self::Admin, "admin"),
    ];

    /// The verb of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(verb, _)| *verb)
    }
}

/// A set of verbs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verbs(u8);

impl Verbs {
    /// No verb.
    pub const NONE: Self = Self(0);
    /// Every verb but `admin`: what a service may do unless its token says otherwise.
    pub const SERVICE: Self = Self(!(1 << Verb::Admin as u8));

    /// The set of these verbs.
    #[must_use]
    pub fn of(verbs: &[Verb]) -> Self {
        verbs.iter().fold(Self::NONE, |set, &verb| set.with(verb))
    }

    /// The set with one more.
    #[must_use]
    pub const fn with(self, verb: Verb) -> Self {
        Self(self.0 | 1 << verb as u8)
    }

    /// Whether the verb is in the set.
    #[must_use]
    pub const fn contains(self, verb: Verb) -> bool {
        self.0 & 1 << verb as u8 != 0
    }
}

impl<'de> Deserialize<'de> for Verbs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Verbs;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of verbs")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Verbs, A::Error> {
                let mut verbs = Verbs::NONE;
                // A verb of a later version grants nothing here; that is no reason to turn its holder away.
                while let Some(name) = seq.next_element::<String>()? {
                    verbs = Verb::parse(&name).map_or(verbs, |verb| verbs.with(verb));
                }
                Ok(verbs)
            }
        }
        deserializer.deserialize_seq(List)
    }
}

/// Which channels a row is about.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    /// What comes before `{user}`, or all of it.
    head: Box<str>,
    /// What comes after `{user}`, if the pattern has one.
    tail: Option<Box<str>>,
    wildcard: bool,
}

/// How well a pattern matches: a wildcard by the bytes it fixes, an exact one best of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Wildcard(usize),
    Exact,
}

impl Pattern {
    /// Reads a pattern; `None` if it has a `*` elsewhere than at its end, or more than one `{user}`.
    fn parse(text: &str) -> Option<Self> {
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

    fn fit(&self, channel: &str, user: &str) -> Option<Fit> {
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

/// Rows of a pattern and verbs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caps(Vec<(Pattern, Verbs)>);

impl Caps {
    /// The rows of a table.
    ///
    /// # Errors
    ///
    /// Names the first pattern that is none or stands there twice, or the bound on their number.
    pub fn new<'a>(rows: impl IntoIterator<Item = (&'a str, Verbs)>) -> Result<Self, String> {
        let mut caps = Self::default();
        for (pattern, verbs) in rows {
            caps.insert(pattern, verbs)?;
        }
        Ok(caps)
    }

    fn insert(&mut self, text: &str, verbs: Verbs) -> Result<(), String> {
        let Some(pattern) = Pattern::parse(text) else { return Err(format!("{text:?} is no channel pattern")) };
        if self.0.iter().any(|(earlier, _)| *earlier == pattern) {
            return Err(format!("{text:?} is given twice"));
        }
        if self.0.len() == limits::CAPS_PATTERNS_MAX {
            return Err(format!("more than {} channel patterns", limits::CAPS_PATTERNS_MAX));
        }
        self.0.push((pattern, verbs));
        Ok(())
    }

    /// What the rows grant `user` in `channel`.
    #[must_use]
    pub fn verbs(&self, channel: &str, user: &str) -> Verbs {
        let rows = self.0.iter().filter_map(|(pattern, verbs)| Some((pattern.fit(channel, user)?, *verbs)));
        // Two rows fit equally well only if one spells out the user's id: what both grant then counts.
        rows.reduce(|best, row| match row.0.cmp(&best.0) {
            std::cmp::Ordering::Less => best,
            std::cmp::Ordering::Equal => (best.0, Verbs(best.1.0 & row.1.0)),
            std::cmp::Ordering::Greater => row,
        })
        .map_or(Verbs::NONE, |(_, verbs)| verbs)
    }
}

impl<'de> Deserialize<'de> for Caps {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Rows;
        impl<'de> Visitor<'de> for Rows {
            type Value = Caps;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of channel patterns")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Caps, A::Error> {
                let mut caps = Caps::default();
                while let Some((pattern, verbs)) = map.next_entry::<String, Verbs>()? {
                    caps.insert(&pattern, verbs).map_err(A::Error::custom)?;
                }
                Ok(caps)
            }
        }
        deserializer.deserialize_map(Rows)
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Holder<'a> {
    /// The authenticated user.
    pub user: &'a str,
    /// Whether the token marks a backend.
    pub service: bool,
    /// What the token itself grants; then nothing else does.
    pub caps: Option<&'a Caps>,
}

/// What is allowed to those whose token does not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    rows: Caps,
    require_caps: bool,
}

impl Default for Policy {
    /// The table of protocol.md section 2.
    fn default() -> Self {
        use Verb::{Edit, History, Presence, Publish, Subscribe};
        let own = Verbs::of(&[Subscribe, History]);
        let chat = Verbs::of(&[Subscribe, Publish, Presence, History]);
        let listen = Verbs::of(&[Subscribe]);
        let rows = [
            ("user:{user}", own),
            ("agent:{user}", own),
            ("notifications:{user}", own),
            ("chat:*", chat),
            ("trip:*", chat.with(Edit)),
            ("general", listen),
            ("system_messages", listen),
        ];
        let rows = rows.into_iter().filter_map(|(text, verbs)| Some((Pattern::parse(text)?, verbs)));
        Self { rows: Caps(rows.collect()), require_caps: false }
    }
}

impl Policy {
    /// A policy with rows of the operator's.
    #[must_use]
    pub const fn new(rows: Caps) -> Self {
        Self { rows, require_caps: false }
    }

    /// The policy that denies users what no claim grants.
    #[must_use]
    pub fn requiring_caps(self) -> Self {
        Self { require_caps: true, ..self }
    }

    /// What `holder` may do in `channel`.
    #[must_use]
    pub fn verbs(&self, holder: &Holder<'_>, channel: &str) -> Verbs {
        match holder.caps {
            Some(caps) => caps.verbs(channel, holder.user),
            None if holder.service => Verbs::SERVICE,
            None if self.require_caps => Verbs::NONE,
            None => self.rows.verbs(channel, holder.user),
        }
    }

    /// Whether `holder` may do `verb` in `channel`.
    #[must_use]
    pub fn allows(&self, holder: &Holder<'_>, channel: &str, verb: Verb) -> bool {
        self.verbs(holder, channel).contains(verb)
    }
}

#[cfg(test)]
mod tests;
