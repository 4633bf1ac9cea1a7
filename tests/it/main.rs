//! The gateway as its users meet it: the built program, real sockets, real signals.
//!
//! Every test starts a server of its own on a free port with a directory of its own, and speaks to it
//! through `tungstenite` or, where bytes matter, through a bare socket: neither is the server's own codec.
//! Whatever is waited for has a deadline, and nothing is waited for by sleeping. Absent: rules that a table
//! beside the code shows already, and all that needs simulated time.

#![expect(clippy::unwrap_used, reason = "a test ends where its expectation fails")]
#![expect(clippy::disallowed_methods, reason = "deadlines of tests are on the real clock")]

mod api;
mod audit;
mod auth;
mod backpressure;
mod backup;
mod card;
mod client;
mod company;
mod counts;
mod crash;
mod cross_shard;
mod deadlines;
mod descriptors;
mod desk;
mod doctor;
mod drain;
mod durable;
mod event_stream;
mod examples;
mod expiry;
mod failing;
mod fields;
mod flipped;
mod floods;
mod frames;
mod gateway;
mod globetrotter;
mod http;
mod keys;
mod limits;
mod listeners;
mod liveness;
mod logs;
mod messages;
mod notify;
mod openapi;
mod opening;
mod origins;
mod places;
mod policy;
mod product;
mod rates;
mod raw;
mod reconnecting;
mod reload;
mod resume;
mod retention;
mod rooms;
mod secrets;
mod seeds;
mod services;
mod stalled;
mod start;
mod stats;
mod tokens;
mod tracing;
mod tune;
mod verbatim;
