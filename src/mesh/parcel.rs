//! What goes from thread to thread, sockets included.
//!
//! A shard's message knows no socket; the host adds it here, so that passport and socket travel in
//! one parcel and neither can arrive without the other. A parcel that is dropped closes its socket.

use std::os::fd::OwnedFd;

use crate::shard::message::{AdminRequest, MeshMessage, Passport};

/// A connected socket with whatever stands between it and plain bytes.
///
/// One variant today. A second one for TLS in the kernel or in the process joins here, and every
/// place that must tell them apart then fails to compile.
#[derive(Debug)]
pub enum Transport {
    /// TCP, or a Unix socket, without encryption.
    Plain(OwnedFd),
}

/// One item in an inbox.
#[derive(Debug)]
pub enum Parcel {
    /// A message for the shard's rules.
    Message(MeshMessage),
    /// A connection that changes shards: what was learned of it, and its socket.
    Adopt(Box<Passport>, Transport),
    /// Take no more connections and see the present ones off within this many milliseconds.
    Drain {
        /// Time that the good-byes may be spread over.
        window_ms: u64,
    },
    /// The sender has seen all its connections off. It ends when nobody else needs its channels.
    Drained,
}

/// A connection whose request the administration executor answers. It owns the socket from here on,
/// which is in blocking mode.
#[derive(Debug)]
pub struct AdminJob {
    /// The socket.
    pub transport: Transport,
    /// What was read from it.
    pub request: Box<AdminRequest>,
}
