//! Who is this, and what may they do here.
//!
//! Station 5 of the walk. [`token`] turns a bearer token into [`token::Claims`], once for each connection and
//! refresh; [`caps`] answers, for every message, whether those claims allow a verb in a channel. Both are pure
//! decisions: keys, policy and the time are arguments. [`repeats`] tells who brings again what was refused. Deliberately absent: where keys come from, revocation,
//! and what is done about a refusal.

pub mod caps;
mod claims;
pub mod fault;
pub mod jwks;
pub mod key;
pub mod pattern;
pub mod repeats;
pub mod token;

pub use caps::{Caps, ChannelRate, Deliver, Extent, Holder, Html, Policy, PolicyRow, Verb, Verbs, is_system};
pub use fault::{KeyFault, SetFault};
pub use key::{Key, Keys, Signature};
pub use pattern::Pattern;
pub use repeats::Repeats;
pub use token::{Claims, TokenError, TokenRequest, Verifier, mint};
