//! The language of the TripSage clients: texts to commands, events to texts.
//!
//! Station 3 of the walk on the way in ([`json`], [`command`]), and what station 8 encodes once for all
//! members on the way out ([`event`], [`notice`], [`body`]). Payloads are opaque: they are checked once to
//! be JSON and passed on byte for byte. Nothing here knows a connection, a room or a permission, and no
//! state outlives a message but scratch memory.

pub mod body;
pub mod command;
pub mod company;
pub mod encoding;
pub mod event;
mod field;
pub mod globetrotter;
pub mod html;
pub mod json;
pub mod kinds;
mod marks;
pub mod notice;
mod plain;
mod scan;
pub mod trace;
pub mod tree;
pub mod tripsage;

pub use command::{
    AuthFrame, Batch, Change, Changes, Chat, Client, Command, Fields, Inbound, Params, Priority, Publish, Rejected,
    Request, Response, Typing,
};
pub use encoding::{Encoding, EncodingSet};
pub use event::{EventHead, write_event};
pub use json::Parser;
