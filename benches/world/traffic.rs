//! Rows of connections that are up: rooms in which is published, echoes, and nothing at all.

use waystation::ids::ConnId;
use waystation::ledger::Notice;
use waystation::limits::LOOK_AHEAD_COUNT;

use super::pure::UPDATE_BYTES;
use super::rows::Work;
use super::{World, head, text_frame, update};

/// Rooms alike, in each of which one member publishes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rooms {
    pub(crate) count: u32,
    pub(crate) members: u32,
    /// Publishes of a room before its members are visited.
    pub(crate) in_flight: u32,
}

/// The parts of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Station {
    /// From the bytes to events that have their numbers: stations 2 to 7 and the encoding.
    Publish,
    /// Who is owed something: station 8.
    Visit,
    /// From what is owed to what a system call would take: stations 9 and 10.
    Deliver,
    /// From the store's word that events are on its disk to the acknowledgements that a system call would take.
    Commit,
    /// All of them, one after another.
    Turn,
}

/// Turns of a shard whose rooms are published in.
pub(crate) struct Traffic {
    world: World,
    rooms: Rooms,
    /// What is counted; what comes before it in a turn is preparation.
    station: Station,
    /// One member of each room.
    publishers: Vec<ConnId>,
    /// Whether each publish has an id and asks for an acknowledgement.
    acked: bool,
    /// What the store says to what was published.
    notices: Vec<Notice>,
    /// What the next receive of each room's publisher brings.
    received: Vec<Vec<u8>>,
    operations: u64,
}

/// Turns until the histories of all rooms are as long as they become. With one operation in each, the next growth of
/// the tables of operations is at 224.
const ROUNDS: u32 = 130;

impl Traffic {
    fn new(world: World, rooms: Rooms, station: Station, acked: bool) -> Self {
        let world = world.with_members(rooms.count as usize, rooms.members as usize);
        let received = vec![Vec::new(); rooms.count as usize];
        let publishers = world.members.iter().step_by(rooms.members as usize).copied().collect();
        let notices = Vec::new();
        let mut traffic = Self { world, rooms, station, publishers, acked, notices, received, operations: 0 };
        for _ in 0..ROUNDS / rooms.in_flight + 2 {
            traffic.prepare();
            traffic.run();
        }
        traffic
    }

    pub(crate) fn boxed(rooms: Rooms, station: Station) -> Box<dyn Work> {
        Box::new(Self::new(World::new(), rooms, station, false))
    }

    pub(crate) fn acked(rooms: Rooms, station: Station) -> Box<dyn Work> {
        Box::new(Self::new(World::new(), rooms, station, true))
    }

    /// In rooms that are kept, where an acknowledgement waits for the store.
    pub(crate) fn durable(rooms: Rooms, station: Station) -> Box<dyn Work> {
        Box::new(Self::new(World::with_store(), rooms, station, true))
    }

    fn receive(&mut self) {
        let plain = update(UPDATE_BYTES);
        for bytes in &mut self.received {
            bytes.clear();
            for _ in 0..self.rooms.in_flight {
                if self.acked {
                    self.operations += 1;
                    let opening = format!(r#"{{"id":"op-{:08}","ack":true,"#, self.operations);
                    bytes.extend(text_frame(&plain.replacen('{', &opening, 1)));
                } else {
                    bytes.extend(text_frame(&plain));
                }
            }
        }
    }

    fn publish(&mut self) {
        for (place, bytes) in self.received.iter_mut().enumerate() {
            if place % LOOK_AHEAD_COUNT == 0 {
                self.world.shard.look_ahead(self.publishers[place..].iter().map(|conn| conn.slot));
            }
            self.world.say(self.publishers[place], bytes);
        }
    }

    fn work(&mut self, station: Station) {
        match station {
            Station::Publish => self.publish(),
            Station::Visit => self.world.visit(),
            Station::Deliver => self.world.deliver(),
            Station::Commit => {
                self.world.tell(&mut self.notices);
                self.world.visit();
                self.world.deliver();
            }
            Station::Turn => {
                self.publish();
                self.world.visit();
                self.world.deliver();
            }
        }
    }
}

impl Work for Traffic {
    fn prepare(&mut self) {
        self.world.settle();
        self.world.tick(1);
        self.receive();
        for station in [Station::Publish, Station::Visit, Station::Deliver] {
            if self.station != Station::Turn && station < self.station {
                self.work(station);
            }
        }
        if self.station == Station::Commit {
            self.notices = self.world.committed();
            debug_assert!(!self.notices.is_empty(), "the store has something to say");
        }
        if self.station == Station::Deliver {
            let owed = self.world.owed.len();
            assert_eq!(owed, self.world.members.len(), "each member is written to once a turn");
        }
    }

    fn run(&mut self) {
        self.work(self.station);
    }
}

/// Connections to `/echo`, each of which sends a message and gets it back.
pub(crate) struct Echoing {
    world: World,
    conns: Vec<ConnId>,
    received: Vec<Vec<u8>>,
    in_flight: usize,
}

impl Echoing {
    /// So many clients, of each of which so many messages come at once.
    pub(crate) fn new(clients: u32, in_flight: u32) -> Self {
        let mut world = World::new();
        let conns: Vec<ConnId> = (0..clients).map(|_| world.accept()).collect();
        for &conn in &conns {
            world.say(conn, &mut head("/echo"));
        }
        world.settle();
        let mut echoing = Self { world, conns, received: Vec::new(), in_flight: in_flight as usize };
        (0..3).for_each(|_| {
            echoing.prepare();
            echoing.run();
        });
        echoing
    }
}

impl Work for Echoing {
    fn prepare(&mut self) {
        self.world.tick(1);
        self.received = vec![text_frame(&update(UPDATE_BYTES)).repeat(self.in_flight); self.conns.len()];
    }

    fn run(&mut self) {
        for (&conn, bytes) in self.conns.iter().zip(&mut self.received) {
            self.world.say(conn, bytes);
        }
        let writes = self.world.settle();
        debug_assert_eq!(writes, self.conns.len(), "each client is answered");
    }
}

/// Members who say nothing but that they are there, for as long as lies between two pings.
pub(crate) struct Idling {
    world: World,
}

/// What a server waits between two pings.
const PING_EVERY_MS: u64 = 20_000;

impl Idling {
    pub(crate) fn new(count: u32, members: u32) -> Self {
        let mut world = World::with_rooms((count / members) as usize, members as usize);
        world.wait(2 * PING_EVERY_MS);
        Self { world }
    }
}

impl Work for Idling {
    fn run(&mut self) {
        self.world.wait(PING_EVERY_MS);
    }
}
