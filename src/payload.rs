//! The one shareable buffer: frozen, counted, encoded once.
//!
//! Everything that is written to a socket is a `Payload`: a whole WebSocket frame (header and all) or
//! a whole HTTP response. Cloning one raises a count; the bytes are never copied again.

use std::ops::Deref;
use std::sync::Arc;

/// Frozen bytes with a count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload(Arc<[u8]>);

impl Payload {
    /// Freezes a copy of `bytes`.
    #[must_use]
    pub fn copy_of(bytes: &[u8]) -> Self {
        Self(Arc::from(bytes))
    }

    /// No bytes: what says nothing.
    #[must_use]
    pub fn none() -> Self {
        Self::copy_of(&[])
    }
}

impl Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}
