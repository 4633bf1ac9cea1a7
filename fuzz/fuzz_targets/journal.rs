//! The journals of the log: see the check, which `cargo test` runs on the corpus.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../checks/journal.rs"]
mod journal;

fuzz_target!(|bytes: &[u8]| journal::check(bytes));
