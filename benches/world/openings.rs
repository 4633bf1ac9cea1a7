//! Rows of connections that open: the upgrade, the token, joining, and coming back.

use std::hint::black_box;

use waystation::auth::token::Verifier;
use waystation::ids::ConnId;

use super::pure::UPDATE_BYTES;
use super::rows::Work;
use super::{START_UNIX_MS, World, auth, head, text_frame, token, update, verifier};

/// From accept to the 101.
pub(crate) struct Upgrading {
    world: World,
    conns: Vec<ConnId>,
    heads: Vec<Vec<u8>>,
}

impl Upgrading {
    pub(crate) fn new(count: u32) -> Self {
        let heads = (0..count).map(|room| head(&format!("/ws/trips/bench-{room}/collab"))).collect();
        let mut upgrading = Self { world: World::with_rooms(1, 3), conns: Vec::new(), heads };
        warm(&mut upgrading);
        upgrading
    }
}

impl Work for Upgrading {
    fn prepare(&mut self) {
        self.world.settle();
        let conns = std::mem::take(&mut self.conns);
        self.world.part(&conns);
        self.world.wait(PAUSE_MS);
        let rooms = 0..self.heads.len();
        self.heads = rooms.map(|room| head(&format!("/ws/trips/bench-{room}/collab"))).collect();
    }

    fn run(&mut self) {
        for head in &mut self.heads {
            let conn = self.world.accept();
            self.world.say(conn, head);
            self.conns.push(conn);
        }
        self.world.settle();
    }
}

/// A token's signature and claims.
pub(crate) struct Verifying {
    verifier: Verifier,
    token: String,
    count: u32,
}

impl Verifying {
    pub(crate) fn new(count: u32) -> Self {
        let mut verifying = Self { verifier: verifier(), token: token("load-0001"), count };
        warm(&mut verifying);
        verifying
    }
}

impl Work for Verifying {
    fn run(&mut self) {
        for _ in 0..self.count {
            assert!(self.verifier.verify(black_box(&self.token), START_UNIX_MS / 1000).is_ok());
        }
    }
}

/// First messages with a token, behind which a connection is a member of its room.
pub(crate) struct Joining {
    world: World,
    /// Rooms that are joined, one after another.
    rooms: usize,
    /// Whether what the others are told is counted, instead of the joining itself.
    telling: bool,
    tokens: Vec<String>,
    joiners: Vec<(ConnId, Vec<u8>)>,
}

impl Joining {
    /// So many join: a room each of so many members, or together one with a crowd.
    pub(crate) fn new(count: u32, members: u32, telling: bool) -> Self {
        let rooms = if members < count { count } else { 1 };
        let world = World::with_rooms(rooms as usize, members as usize);
        let tokens = (0..count).map(|number| token(&format!("late-{number:05}"))).collect();
        let mut joining = Self { world, rooms: rooms as usize, telling, tokens, joiners: Vec::new() };
        warm(&mut joining);
        joining
    }

    fn join(&mut self) {
        for (conn, bytes) in &mut self.joiners {
            self.world.say(*conn, bytes);
        }
    }
}

impl Work for Joining {
    fn prepare(&mut self) {
        self.world.settle();
        let conns: Vec<ConnId> = self.joiners.drain(..).map(|(conn, _)| conn).collect();
        self.world.part(&conns);
        // Longer than the others wait with telling that somebody is gone.
        self.world.wait(PAUSE_MS);
        for (number, token) in self.tokens.iter().enumerate() {
            let conn = self.world.connect(number % self.rooms);
            self.joiners.push((conn, text_frame(&auth(token))));
        }
        if self.telling {
            self.join();
            self.world.settle();
        }
    }

    fn run(&mut self) {
        if self.telling {
            self.world.wait(TELL_MS);
        } else {
            self.join();
            self.world.settle();
        }
    }
}

/// Members that come back to a room and get what they missed, written and all.
pub(crate) struct Resuming {
    world: World,
    epoch: String,
    missed_from: u64,
    tokens: Vec<String>,
    joiners: Vec<(ConnId, Vec<u8>)>,
}

impl Resuming {
    /// Events that each of them missed.
    pub(crate) const MISSED: u32 = 50;

    pub(crate) fn new(events: u32) -> Self {
        let mut world = World::with_rooms(1, 1);
        let listener = world.connect(0);
        world.heard = Some((listener, Vec::new()));
        world.say(listener, &mut text_frame(&auth(&token("listener"))));
        world.settle();
        let (_, heard) = world.heard.take().unwrap();
        let heard = String::from_utf8_lossy(&heard).into_owned();
        let epoch = heard.split(r#""epoch":""#).nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        world.part(&[listener]);
        let (publisher, total) = (world.members[0], 2 * u64::from(Self::MISSED));
        for _ in 0..total {
            world.say(publisher, &mut text_frame(&update(UPDATE_BYTES)));
            world.settle();
        }
        let tokens = (0..events / Self::MISSED).map(|number| token(&format!("late-{number:05}"))).collect();
        let missed_from = total - u64::from(Self::MISSED);
        let mut resuming = Self { world, epoch: epoch.to_owned(), missed_from, tokens, joiners: Vec::new() };
        warm(&mut resuming);
        resuming.check();
        resuming
    }

    /// Sees that one of them gets all that it missed.
    fn check(&mut self) {
        self.prepare();
        let (conn, _) = self.joiners[0];
        self.world.heard = Some((conn, Vec::new()));
        self.run();
        let (_, heard) = self.world.heard.take().unwrap();
        let events = String::from_utf8_lossy(&heard).matches("trip_update_broadcast").count();
        assert_eq!(events, Self::MISSED as usize);
    }
}

impl Work for Resuming {
    fn prepare(&mut self) {
        let conns: Vec<ConnId> = self.joiners.drain(..).map(|(conn, _)| conn).collect();
        self.world.part(&conns);
        self.world.wait(PAUSE_MS);
        let (epoch, seq) = (&self.epoch, self.missed_from);
        let resume = format!(r#","resume":[{{"channel":"trip:bench-0","epoch":"{epoch}","seq":{seq}}}]}}"#);
        for token in &self.tokens {
            let conn = self.world.connect(0);
            let text = auth(token);
            let text = text.strip_suffix('}').unwrap().to_owned() + &resume;
            self.joiners.push((conn, text_frame(&text)));
        }
    }

    fn run(&mut self) {
        for (conn, bytes) in &mut self.joiners {
            self.world.say(*conn, bytes);
        }
        self.world.settle();
    }
}

/// What passes before the next clients come: longer than a room remembers one that is gone.
const PAUSE_MS: u64 = 6_000;
/// Longer than a room waits with telling who has come.
const TELL_MS: u64 = 200;

/// Runs as often as it takes for tables to have their size.
fn warm(work: &mut impl Work) {
    for _ in 0..4 {
        work.prepare();
        work.run();
    }
}
