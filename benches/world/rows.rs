//! The rows of every report: what is counted, of how many messages, joins or the like at once.
//!
//! A row is prepared and run in turns. Only the run is counted. By the time a row is handed out it has run often enough
//! that buffers, tables and histories have the size that they keep.

use super::closings::Closing;
use super::openings::{Joining, Resuming, Upgrading, Verifying};
use super::pure;
use super::traffic::{Echoing, Idling, Rooms, Station, Traffic};

/// Work that can be done again and again.
pub(crate) trait Work {
    /// Brings about what the run needs: bytes to read, events to write, clients that ask to join.
    fn prepare(&mut self) {}

    /// What is counted.
    fn run(&mut self);
}

/// A row of the reports.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// Unique; what a report compares by.
    pub(crate) name: &'static str,
    /// What the figures are for one of.
    pub(crate) unit: &'static str,
    /// How many of them a run does.
    pub(crate) units: u32,
    make: fn(u32) -> Box<dyn Work>,
}

/// Messages, and rooms, of a run in small rooms.
const MESSAGES: u32 = 64;
/// Members of a big room.
const CROWD: u32 = 1000;
/// Publishes that come before a visit where there are several.
const IN_FLIGHT: u32 = 4;
/// Messages to be echoed that come at once where there are several.
const ECHOES: u32 = 16;
/// Clients that connect in a run.
const ARRIVALS: u32 = 16;
/// Connections of an idle shard.
const IDLE: u32 = 999;
/// Members of a small room.
const MEMBERS: u32 = 3;

const fn small(messages: u32) -> Rooms {
    Rooms { count: messages, members: MEMBERS, in_flight: 1 }
}

const fn coalesced(messages: u32) -> Rooms {
    Rooms { count: messages / IN_FLIGHT, members: MEMBERS, in_flight: IN_FLIGHT }
}

const fn big(members: u32, in_flight: u32) -> Rooms {
    Rooms { count: 1, members, in_flight }
}

const fn row(name: &'static str, unit: &'static str, units: u32, make: fn(u32) -> Box<dyn Work>) -> Row {
    Row { name, unit, units, make }
}

impl Row {
    /// All of them, in the order of the walk.
    pub(crate) const ALL: &[Self] = &[
        row("upgrade", "connection", ARRIVALS, |count| Box::new(Upgrading::new(count))),
        row("verify", "token", ARRIVALS, |count| Box::new(Verifying::new(count))),
        row("join", "member", ARRIVALS, |count| Box::new(Joining::new(count, MEMBERS - 1, false))),
        row("join_crowd", "member", ARRIVALS, |count| Box::new(Joining::new(count, CROWD, false))),
        row("presence", "member", ARRIVALS, |count| Box::new(Joining::new(count, MEMBERS - 1, true))),
        row("resume", "event", ARRIVALS * Resuming::MISSED, |events| Box::new(Resuming::new(events))),
        row("assemble", "message", MESSAGES, |count| Box::new(pure::Assembling::new(count, pure::UPDATE_BYTES))),
        row("assemble_16k", "message", ARRIVALS, |count| Box::new(pure::Assembling::new(count, 16 * 1024))),
        row("parse", "message", MESSAGES, |count| Box::new(pure::Parsing::new(count))),
        row("authorise", "message", MESSAGES, |count| Box::new(pure::Authorising::new(count))),
        row("room", "message", MESSAGES, |count| Box::new(pure::Sequencing::new(count))),
        row("encode", "message", MESSAGES, |count| Box::new(pure::Encoding::new(count))),
        row("publish", "message", MESSAGES, |count| Traffic::boxed(small(count), Station::Publish)),
        row("publish_acked", "message", MESSAGES, |count| Traffic::acked(small(count), Station::Publish)),
        row("publish_durable", "message", MESSAGES, |count| Traffic::durable(small(count), Station::Publish)),
        row("publish_coalesced", "message", MESSAGES, |count| Traffic::boxed(coalesced(count), Station::Publish)),
        row("visit", "message", MESSAGES, |count| Traffic::boxed(small(count), Station::Visit)),
        row("visit_coalesced", "message", MESSAGES, |count| Traffic::boxed(coalesced(count), Station::Visit)),
        row("visit_big_room", "member", CROWD, |count| Traffic::boxed(big(count, 1), Station::Visit)),
        row("deliver", "message", MESSAGES, |count| Traffic::boxed(small(count), Station::Deliver)),
        row("deliver_acked", "message", MESSAGES, |count| Traffic::acked(small(count), Station::Deliver)),
        row("deliver_coalesced", "message", MESSAGES, |count| Traffic::boxed(coalesced(count), Station::Deliver)),
        row("deliver_big_room", "member", CROWD, |count| Traffic::boxed(big(count, 1), Station::Deliver)),
        row("deliver_big_room_coalesced", "member", CROWD, |count| {
            Traffic::boxed(big(count, 2 * IN_FLIGHT), Station::Deliver)
        }),
        row("commit_durable", "message", MESSAGES, |count| Traffic::durable(small(count), Station::Commit)),
        row("turn", "message", MESSAGES, |count| Traffic::boxed(small(count), Station::Turn)),
        row("turn_big_room", "member", CROWD, |count| Traffic::boxed(big(count, 1), Station::Turn)),
        row("echo", "message", MESSAGES, |count| Box::new(Echoing::new(count, 1))),
        row("echo_coalesced", "message", MESSAGES, |count| Box::new(Echoing::new(count / ECHOES, ECHOES))),
        row("close", "connection", MESSAGES / MEMBERS * MEMBERS, |count| Box::new(Closing::new(count, MEMBERS))),
        row("idle", "connection for 20 s", IDLE, |count| Box::new(Idling::new(count, MEMBERS))),
    ];

    /// The work, prepared.
    pub(crate) fn ready(self) -> Box<dyn Work> {
        let mut work = (self.make)(self.units);
        work.prepare();
        work
    }
}
