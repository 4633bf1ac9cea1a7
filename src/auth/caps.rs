//! What a user or a service may do in a channel.
//!
//! Rows of a pattern and verbs, from the token's `caps` claim or, without one, from the policy; what no row
//! matches is denied. Channels come by their own names, never by an alias. A check allocates nothing.

use super::pattern::{Pattern, Table};
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

    /// What is left of the set in the gateway's own channels: who has `admin`, or a token that names them, may watch.
    /// Nobody does anything else there, and what a service may do everywhere does not reach them.
    fn of_system(self, by_token: bool) -> Self {
        let watch = Self::of(&[Verb::Subscribe, Verb::History]);
        if self.contains(Verb::Admin) {
            watch.with(Verb::Presence).with(Verb::Admin)
        } else if by_token && self.contains(Verb::Subscribe) {
            watch
        } else {
            Self::NONE
        }
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

/// Rows of a pattern and verbs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caps(Table<Verbs>);

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
        if self.0.len() == limits::CAPS_PATTERNS_MAX {
            return Err(format!("more than {} channel patterns", limits::CAPS_PATTERNS_MAX));
        }
        if self.0.insert(pattern, verbs) { Ok(()) } else { Err(format!("{text:?} is given twice")) }
    }

    /// What the rows grant `user` in `channel`.
    #[must_use]
    pub fn verbs(&self, channel: &str, user: &str) -> Verbs {
        granted(&self.0, channel, user)
    }
}

/// The verbs of the rows that match best. Two fit equally well only if one spells out the user's id: what both
/// grant then counts.
fn granted(rows: &Table<Verbs>, channel: &str, user: &str) -> Verbs {
    let matches = rows.matches(channel, user).map(|(fit, _, verbs)| (fit, *verbs));
    matches
        .reduce(|best, row| match row.0.cmp(&best.0) {
            std::cmp::Ordering::Less => best,
            std::cmp::Ordering::Equal => (best.0, Verbs(best.1.0 & row.1.0)),
            std::cmp::Ordering::Greater => row,
        })
        .map_or(Verbs::NONE, |(_, verbs)| verbs)
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

/// What becomes of HTML in chat messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Html {
    /// It passes: rendering is the client's duty.
    #[default]
    Off,
    /// Its special characters are escaped.
    Escape,
    /// The message is refused.
    Reject,
}

/// What an operator says of a pattern's channels. Each setting holds where this row is the best match among the
/// rows that have that setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRow {
    /// Which channels.
    pub pattern: Pattern,
    /// What users may do there whose token does not say.
    pub verbs: Option<Verbs>,
    /// The only event types that users may `publish` there.
    pub allowed_events: Option<Vec<String>>,
    /// Messages that a connection may send there.
    pub rate: Option<ChannelRate>,
    /// What becomes of HTML.
    pub html: Option<Html>,
    /// Where a member starts that names no position.
    pub deliver: Option<Deliver>,
    /// Whether its history outlives the process.
    pub durable: Option<bool>,
    /// How much of its history is kept.
    pub extent: Extent,
}

/// How much of a channel's history is kept, as far as rows say. What they do not say is as everywhere. All three bounds
/// hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Events.
    pub count: Option<usize>,
    /// Bytes of them.
    pub bytes: Option<usize>,
    /// Milliseconds.
    pub age_ms: Option<u64>,
}

impl Extent {
    /// With what another says where this one does not.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            count: self.count.or(other.count),
            bytes: self.bytes.or(other.bytes),
            age_ms: self.age_ms.or(other.age_ms),
        }
    }
}

impl PolicyRow {
    /// A row that says nothing yet.
    #[must_use]
    pub const fn new(pattern: Pattern) -> Self {
        let extent = Extent { count: None, bytes: None, age_ms: None };
        Self {
            pattern,
            verbs: None,
            allowed_events: None,
            rate: None,
            html: None,
            deliver: None,
            durable: None,
            extent,
        }
    }
}

/// Where a member starts that names no position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deliver {
    /// With what comes next.
    Live,
    /// After what its user has acknowledged, on whatever device.
    UntilAcked,
}

/// How many messages a connection may send to a pattern's channels together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelRate {
    /// Messages a minute.
    pub per_minute: u32,
    /// Messages at once.
    pub burst: u32,
}

/// What is allowed to those whose token does not say, and what holds in channels whoever is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    verbs: Table<Verbs>,
    allowed_events: Table<Vec<String>>,
    rates: Table<ChannelRate>,
    html: Table<Html>,
    deliver: Table<Deliver>,
    durable: Table<bool>,
    /// Each row with what those say that match all its channels less well.
    extents: Table<Extent>,
    require_caps: bool,
}

impl Default for Policy {
    /// The table of protocol.md section 2.
    fn default() -> Self {
        Self::empty().with_defaults()
    }
}

impl Policy {
    /// The default table with an operator's rows: one with the pattern of a default row takes its place.
    ///
    /// # Errors
    ///
    /// There are too many rows, or two with one pattern.
    pub fn with_rows(rows: &[PolicyRow]) -> Result<Self, String> {
        if rows.len() > limits::POLICY_ROWS_MAX {
            return Err(format!("{} policy rows, at most {} are allowed", rows.len(), limits::POLICY_ROWS_MAX));
        }
        let mut policy = Self::empty();
        for (index, row) in rows.iter().enumerate() {
            if rows.iter().take(index).any(|earlier| earlier.pattern == row.pattern) {
                return Err(format!("policy row {} has the pattern of an earlier one", index + 1));
            }
            policy.insert(row.clone());
        }
        policy.extents = policy.extents.inherited(Extent::or);
        Ok(policy.with_defaults())
    }

    fn empty() -> Self {
        Self {
            verbs: Table::default(),
            allowed_events: Table::default(),
            rates: Table::default(),
            html: Table::default(),
            deliver: Table::default(),
            durable: Table::default(),
            extents: Table::default(),
            require_caps: false,
        }
    }

    fn with_defaults(mut self) -> Self {
        for (text, verbs) in default_rows() {
            if let Some(pattern) = Pattern::parse(text) {
                self.verbs.insert(pattern, verbs);
            }
        }
        if let Some(pattern) = Pattern::parse("notifications:*") {
            self.deliver.insert(pattern, Deliver::UntilAcked);
        }
        for pattern in ["chat:*", "trip:*", "notifications:*"].into_iter().filter_map(Pattern::parse) {
            self.durable.insert(pattern, true);
        }
        self
    }

    fn insert(&mut self, row: PolicyRow) {
        let PolicyRow { pattern, verbs, allowed_events, rate, html, deliver, durable, extent } = row;
        if let Some(verbs) = verbs {
            self.verbs.insert(pattern.clone(), verbs);
        }
        if let Some(events) = allowed_events {
            self.allowed_events.insert(pattern.clone(), events);
        }
        if let Some(rate) = rate {
            self.rates.insert(pattern.clone(), rate);
        }
        if let Some(html) = html {
            self.html.insert(pattern.clone(), html);
        }
        if let Some(deliver) = deliver {
            self.deliver.insert(pattern.clone(), deliver);
        }
        if let Some(durable) = durable {
            self.durable.insert(pattern.clone(), durable);
        }
        if extent != Extent::default() {
            self.extents.insert(pattern, extent);
        }
    }

    /// The policy that denies users what no claim grants.
    #[must_use]
    pub fn requiring_caps(self) -> Self {
        Self { require_caps: true, ..self }
    }

    /// What `holder` may do in `channel`.
    #[must_use]
    pub fn verbs(&self, holder: &Holder<'_>, channel: &str) -> Verbs {
        let verbs = match holder.caps {
            Some(caps) => caps.verbs(channel, holder.user),
            None if holder.service => Verbs::SERVICE,
            None if self.require_caps => Verbs::NONE,
            None => granted(&self.verbs, channel, holder.user),
        };
        if is_system(channel) { verbs.of_system(holder.caps.is_some()) } else { verbs }
    }

    /// Whether `holder` may do `verb` in `channel`.
    #[must_use]
    pub fn allows(&self, holder: &Holder<'_>, channel: &str, verb: Verb) -> bool {
        self.verbs(holder, channel).contains(verb)
    }

    /// Whether `holder` may `publish` an event of this type in `channel`, provided it may publish at all. Services
    /// may publish any.
    #[must_use]
    pub fn allows_event(&self, holder: &Holder<'_>, channel: &str, kind: &str) -> bool {
        let row = self.allowed_events.best(channel, holder.user);
        holder.service || row.is_none_or(|(_, events)| events.iter().any(|event| event == kind))
    }

    /// The rate of `channel`, if there is one, with a number by which it is told from others.
    #[must_use]
    pub fn rate(&self, channel: &str, user: &str) -> Option<(usize, ChannelRate)> {
        self.rates.best(channel, user).map(|(place, rate)| (place, *rate))
    }

    /// Whether any channel has a rate.
    #[must_use]
    pub const fn has_rates(&self) -> bool {
        self.rates.len() > 0
    }

    /// Whether another policy has the same rates, under the same numbers.
    #[must_use]
    pub fn has_rates_of(&self, other: &Self) -> bool {
        self.rates == other.rates
    }

    /// Whether what happens in `channel` is delivered until it is acknowledged. That is so for all who are in it, so a
    /// pattern with `{user}` says nothing of it. It is never so in the gateway's own channels: whoever watches wants what
    /// comes, and asks for what was.
    #[must_use]
    pub fn until_acked(&self, channel: &str) -> bool {
        let row = self.deliver.best(channel, "");
        !is_system(channel) && row.is_some_and(|(_, deliver)| *deliver == Deliver::UntilAcked)
    }

    /// Whether the history of `channel` outlives the process, where there is a store. That is so for all who are in it, so
    /// a pattern with `{user}` says nothing of it. It is never so in the gateway's own channels: they tell of a disk that
    /// fails, and must not wait for it.
    #[must_use]
    pub fn durable(&self, channel: &str) -> bool {
        !is_system(channel) && self.durable.best(channel, "").is_some_and(|(_, durable)| *durable)
    }

    /// How much of the history of `channel` is kept, if a row says anything of it, with a number by which that is told from
    /// others. That is so for all who are in it, so a pattern with `{user}` says nothing of it.
    #[must_use]
    pub fn extent(&self, channel: &str) -> Option<(usize, Extent)> {
        self.extents.best(channel, "").map(|(place, extent)| (place, *extent))
    }

    /// All of these, in the order of their numbers.
    pub fn extents(&self) -> impl Iterator<Item = Extent> {
        self.extents.values().copied()
    }

    /// Whether another policy keeps as much of every channel, under the same numbers.
    #[must_use]
    pub fn has_extents_of(&self, other: &Self) -> bool {
        self.extents == other.extents
    }

    /// What becomes of HTML in `channel`.
    #[must_use]
    pub fn html(&self, channel: &str, user: &str) -> Html {
        self.html.best(channel, user).map_or(Html::Off, |(_, html)| *html)
    }
}

/// What the names of the gateway's own channels begin with.
const SYSTEM: &str = "system:";

/// Whether a channel is the gateway's own: it alone sends there.
#[must_use]
pub fn is_system(channel: &str) -> bool {
    channel.starts_with(SYSTEM)
}

/// What users may do whose token does not say, unless an operator's row says so.
fn default_rows() -> [(&'static str, Verbs); 7] {
    use Verb::{Edit, History, Presence, Publish, Subscribe};
    let own = Verbs::of(&[Subscribe, History]);
    let chat = Verbs::of(&[Subscribe, Publish, Presence, History]);
    let listen = Verbs::of(&[Subscribe]);
    [
        ("user:{user}", own),
        ("agent:{user}", own),
        ("notifications:{user}", own),
        ("chat:*", chat),
        ("trip:*", chat.with(Edit)),
        ("general", listen),
        ("system_messages", listen),
    ]
}

#[cfg(test)]
mod tests;
