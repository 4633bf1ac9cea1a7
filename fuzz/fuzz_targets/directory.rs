//! The data directory: see the check, which `cargo test` runs on the corpus.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../checks/directory.rs"]
mod directory;

fuzz_target!(|bytes: &[u8]| directory::check(bytes));
