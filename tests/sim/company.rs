//! What a client is told of the others in its channels: who writes, who is there. It replays what it is told;
//! an end without its beginning, or a change that does not fit, is a violation.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::client::{number, own_name, text};
use super::counts::{Counts, Kind};

/// Who does what: channel, kind, user, field.
type Doing = (String, &'static str, String, String);

/// What one connection was told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Company {
    going_on: BTreeSet<Doing>,
    /// By channel, the name and user of each connection that is there; absent while it was not told.
    present: BTreeMap<String, BTreeMap<String, String>>,
    /// By trip, the users, as the seeds' clients are told.
    collaborators: BTreeMap<String, BTreeSet<String>>,
}

impl Company {
    /// Whether an event of this type is one of these.
    pub(crate) fn knows(kind: &str) -> bool {
        let families = ["chat_typing_", "user_", "trip_field_", "trip_collaborat", "collaborator_"];
        matches!(kind, "presence" | "cursor_update") || families.iter().any(|family| kind.starts_with(family))
    }

    /// Takes in an event, if it is one of these.
    pub(crate) fn take(
        &mut self,
        value: &Value,
        user: &str,
        member: impl Fn(&str) -> bool,
        counts: &mut Counts,
    ) -> bool {
        let (kind, begins) = match text(value, "type") {
            "presence" => {
                let channel = own_name(text(value, "channel"), user);
                assert!(member(&channel), "presence for a non-member: {value}");
                counts.count(Kind::PresenceTold);
                self.on_presence(channel, &value["payload"]);
                return true;
            }
            "trip_collaborator_presence" => {
                let all = value["payload"]["collaborators"].as_array().expect("collaborators");
                let users = all.iter().map(|one| text(one, "user_id").to_owned()).collect();
                self.collaborators.insert(text(value, "channel").to_owned(), users);
                return true;
            }
            kind @ ("collaborator_joined" | "collaborator_left") => {
                counts.count(Kind::CollaboratorTold);
                assert_eq!(value["data"], value["payload"]);
                let who = text(&value["payload"]["user"], "id").to_owned();
                let users = self.collaborators.get_mut(text(value, "channel")).expect("the whole comes first");
                let fits = if kind == "collaborator_joined" { users.insert(who) } else { users.remove(&who) };
                assert!(fits, "{value}");
                return true;
            }
            "chat_typing_start" | "user_typing" => ("typing", true),
            "chat_typing_stop" | "user_stop_typing" => ("typing", false),
            "trip_field_editing_start" => ("editing", true),
            "trip_field_editing_stop" => ("editing", false),
            "cursor_update" => ("cursor", true),
            _ => return false,
        };
        let channel = own_name(text(value, "channel"), user);
        let payload = &value["payload"];
        let who = text(payload, "user_id");
        assert!(value.get("seq").is_none() && who == text(value, "user_id") && who != user, "{value}");
        assert!(member(&channel), "told as a non-member: {value}");
        let field = payload["field"].as_str().or_else(|| payload["field_name"].as_str()).unwrap_or("");
        let doing = (channel, kind, who.to_owned(), field.to_owned());
        if begins {
            counts.count(Kind::GestureTold);
            self.going_on.insert(doing);
        } else {
            counts.count(Kind::GestureEnded);
            assert!(self.going_on.remove(&doing), "an end before its beginning: {value}");
        }
        true
    }

    fn on_presence(&mut self, channel: String, payload: &Value) {
        assert!(payload["version"].is_number() && payload["after_seq"].is_number(), "{payload}");
        let people = |key: &str| -> Vec<(String, String)> {
            let people = payload[key].as_array().expect("a list of people");
            people.iter().map(|one| (text(one, "connection_id").to_owned(), text(one, "user_id").to_owned())).collect()
        };
        if payload["full"] == Value::Bool(true) {
            self.present.insert(channel.clone(), BTreeMap::new());
        }
        let here = self.present.get_mut(&channel).unwrap_or_else(|| panic!("a change before the whole: {payload}"));
        for (name, user) in people("joined") {
            assert!(here.insert(name, user).is_none(), "joined twice: {payload}");
        }
        for (name, user) in people("left") {
            assert_eq!(here.remove(&name), Some(user), "left without having joined: {payload}");
        }
        assert_eq!(number(payload, "count"), here.len() as u64, "{payload} {here:?}");
    }

    /// It has left a channel.
    pub(crate) fn leave(&mut self, channel: &str) {
        self.going_on.retain(|(other, ..)| other != channel);
        self.present.remove(channel);
        self.collaborators.remove(channel);
    }

    /// Users of the connections in a channel, if it was told.
    pub(crate) fn users(&self, channel: &str) -> Option<Vec<&str>> {
        let mut users: Vec<&str> = self.present.get(channel)?.values().map(String::as_str).collect();
        users.sort_unstable();
        Some(users)
    }

    /// Users in a trip, each once, if it was told.
    pub(crate) fn collaborators(&self, channel: &str) -> Option<Vec<&str>> {
        self.collaborators.get(channel).map(|users| users.iter().map(String::as_str).collect())
    }

    /// Who is believed to write.
    pub(crate) fn writers(&self) -> Vec<&Doing> {
        self.going_on.iter().filter(|(_, kind, ..)| *kind == "typing").collect()
    }
}

/// A ping that is not answered.
#[derive(Clone, Debug)]
struct Ping {
    number: u64,
    /// The last frame before which the answer comes, once the gateway has read the ping.
    limit: Option<u64>,
    /// What had been dropped of the lowest lane anywhere when it was sent: an answer may be dropped.
    dropped: u64,
}

/// Pings whose answers take the lowest lane, and how many frames may come before each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pings {
    sent: u64,
    frames: u64,
    /// Heartbeats that were asked for, which take the same lane.
    beats: u64,
    waiting: Vec<Ping>,
}

impl Pings {
    /// The number of a ping that is sent now.
    pub(crate) fn send(&mut self, dropped: u64) -> u64 {
        self.sent += 1;
        self.waiting.push(Ping { number: self.sent, limit: None, dropped });
        self.sent
    }

    /// A heartbeat is asked for.
    pub(crate) fn beat(&mut self) {
        self.beats += 1;
    }

    /// Whether one has no bound yet.
    pub(crate) fn wait(&self) -> bool {
        self.waiting.iter().any(|ping| ping.limit.is_none())
    }

    /// A frame has come that is no event of a channel: of those one stretch may hold any number.
    pub(crate) fn frame(&mut self) {
        self.frames += 1;
    }

    /// An answer has come: not later than its lane's share allows. What an ending connection owed of that lane never
    /// comes.
    pub(crate) fn answer(&mut self, number: u64) {
        let late =
            self.waiting.iter().find(|ping| ping.number == number && ping.limit.is_some_and(|last| self.frames > last));
        assert!(late.is_none(), "the lowest lane starves: {late:?} after {} frames", self.frames);
        self.waiting.retain(|ping| ping.number > number);
    }

    /// The gateway has read all that was sent, and `under_way` frames are on their way back.
    pub(crate) fn read_by_gateway(&mut self, under_way: u64) {
        let ahead = under_way + FRAMES_BEGUN + FRAMES_OF_OTHERS * (self.waiting.len() as u64 + self.beats + 4);
        for ping in self.waiting.iter_mut().filter(|ping| ping.limit.is_none()) {
            ping.limit = Some(self.frames + ahead);
        }
    }

    /// Pings that were never answered although nothing was dropped.
    pub(crate) fn unanswered(&self, dropped: u64) -> bool {
        self.waiting.iter().any(|ping| ping.limit.is_some() && ping.dropped == dropped)
    }
}

/// Frames of other lanes that go with one of the lowest lane.
const FRAMES_OF_OTHERS: u64 = 23;
/// Frames of a write that was begun before, and of one that is filled.
const FRAMES_BEGUN: u64 = 2 * 64;
