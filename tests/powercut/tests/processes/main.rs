//! Real processes with the shim preloaded, and what a cut leaves of their directory.
//!
//! The processes are this binary once more: `driver::what_the_other_tests_run` does what the environment asks for.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![expect(clippy::expect_used, reason = "a test binary")]

mod calls;
mod cuts;
mod driver;
mod place;
