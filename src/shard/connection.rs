//! What a shard keeps of one connection.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use crate::auth::token::Claims;
use crate::ids::{ConnectionName, Seq};
use crate::outbox::Outbox;
use crate::payload::Payload;
use crate::session::admit::Bucket;
use crate::session::endpoint::Door;
use crate::session::liveness::Liveness;
use crate::shard::rooms::RoomId;
use crate::time::Millis;
use crate::wire::assembler::Assembler;

/// How far a connection has come.
#[derive(Debug)]
pub(super) enum Stage {
    /// Reading the request head; these bytes of it have come.
    Head(Vec<u8>),
    /// Upgraded, and waiting for the first frame's token.
    Auth,
    /// Authenticated.
    Open,
    /// On `/echo`.
    Echo,
    /// The last frame or response is queued; once it is written the socket is closed.
    Ending,
    /// The host has been told to give the socket away; nothing is done until it answers.
    Leaving,
}

/// A connection's part in a channel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Membership {
    pub(super) room: RoomId,
    /// The place among the room's members.
    pub(super) place: u32,
}

/// An acknowledgement that waits until its author has been sent everything up to the event.
#[derive(Debug)]
pub(super) struct HeldAnswer {
    pub(super) room: RoomId,
    pub(super) seq: Seq,
    pub(super) frame: Payload,
}

/// Reading is paused because the client's rate is used up: what is still to be read.
#[derive(Debug)]
pub(super) struct Paused {
    /// The message that found no token.
    pub(super) message: String,
    /// Bytes that came after it.
    pub(super) rest: Vec<u8>,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stage: Stage,
    pub(super) door: Door,
    pub(super) peer: IpAddr,
    pub(super) accepted: Millis,
    pub(super) name: ConnectionName,
    /// The channel that the endpoint is about.
    pub(super) own: Option<Arc<str>>,
    /// Who this is; `None` until a token was good.
    pub(super) claims: Option<Claims>,
    /// Whether the client told its name: it knows more than the seeds' clients.
    pub(super) known: bool,
    pub(super) assembler: Assembler,
    pub(super) bucket: Bucket,
    pub(super) live: Liveness,
    pub(super) memberships: Vec<Membership>,
    pub(super) answers: VecDeque<HeldAnswer>,
    pub(super) outbox: Outbox,
    pub(super) paused: Option<Box<Paused>>,
    /// A write effect is under way; another would be a second send in one turn.
    pub(super) dirty: bool,
    /// Since when the socket takes no bytes.
    pub(super) blocked: Option<Millis>,
    /// Whether the wheel holds a look at `blocked`.
    pub(super) stuck_timer: bool,
    /// Whether the wheel holds the token's end.
    pub(super) expiry_timer: bool,
    /// Reading is paused because echoes have piled up.
    pub(super) choked: bool,
    /// Whether it counts among the open connections.
    pub(super) upgraded: bool,
    /// The last fill stopped for lack of room.
    pub(super) owed: bool,
    pub(super) invalid_in_a_row: u8,
    pub(super) refused_in_a_row: u8,
    /// When the client was last told that its rate is used up.
    pub(super) told_rate: Option<Millis>,
}

impl Connection {
    pub(super) fn new(now: Millis, peer: IpAddr, name: ConnectionName) -> Self {
        Self {
            stage: Stage::Head(Vec::new()),
            door: Door::Open,
            peer,
            accepted: now,
            name,
            own: None,
            claims: None,
            known: false,
            assembler: Assembler::default(),
            bucket: Bucket::default(),
            live: Liveness::new(now),
            memberships: Vec::new(),
            answers: VecDeque::new(),
            outbox: Outbox::default(),
            paused: None,
            dirty: false,
            blocked: None,
            stuck_timer: false,
            expiry_timer: false,
            choked: false,
            upgraded: false,
            owed: false,
            invalid_in_a_row: 0,
            refused_in_a_row: 0,
            told_rate: None,
        }
    }

    /// The authenticated user.
    pub(super) fn user(&self) -> Option<&Arc<str>> {
        self.claims.as_ref().map(|claims| &claims.user)
    }

    /// Whether the connection speaks WebSocket and has not begun to end.
    pub(super) const fn is_upgraded(&self) -> bool {
        matches!(self.stage, Stage::Auth | Stage::Open | Stage::Echo)
    }
}

const _: () = assert!(size_of::<Connection>() <= 512, "half of an idle connection's kibibyte");
