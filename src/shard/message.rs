//! What shards say to each other, and what travels with a socket that is handed over.

/// All that a shard learned of a connection before it handed the socket to the connection's home.
#[derive(Debug)]
pub struct Passport {
    /// Bytes that came after the head.
    pub leftover: Vec<u8>,
}

/// An HTTP request that the administration executor answers.
#[derive(Debug)]
pub struct AdminRequest {
    /// Bytes that came after the head.
    pub leftover: Vec<u8>,
}

/// Which of an inbox's two queues a message takes. Order holds per sender and lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Few and urgent: hand-overs, drain.
    Control,
    /// Everything that has an order with a channel's events.
    Data,
}

/// One message from a shard to another.
#[derive(Debug)]
pub enum MeshMessage {
    /// Take over a connection.
    Adopt(Box<Passport>),
}

impl MeshMessage {
    /// The lane that this message takes.
    #[must_use]
    pub const fn lane(&self) -> Lane {
        match self {
            Self::Adopt(_) => Lane::Control,
        }
    }
}
