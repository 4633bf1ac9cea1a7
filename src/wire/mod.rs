//! WebSocket (RFC 6455) and as much HTTP/1.1 (RFC 9112) as opening one needs: bytes to values and back.
//!
//! Stations 1 and 2 of the walk on the way in, the frame around an event on the way out. Nothing here
//! reads a socket or keeps anything beyond one request head or one message; whoever drives it hands in
//! bytes and gets values that borrow from them. Header codec, accept key and close codes are
//! tungstenite's, the tokenising of a request head is httparse's; the strictness is ours.
//!
//! Absent: extensions (RFC 6455 section 9), so a reserved bit is always a violation; the client's side;
//! reading of HTTP bodies.

pub mod assembler;
pub mod cors;
pub mod encoder;
pub mod event_stream;
mod host;
pub mod http;
mod origin;
pub mod peer;
mod percent;
pub mod proxy;
mod response;
pub mod upgrade;
