//! The real binary with real sockets, seen from outside. One module for each matter.
#![expect(clippy::expect_used, reason = "a test that cannot set its scene should say so and stop")]

mod server;
mod start;
