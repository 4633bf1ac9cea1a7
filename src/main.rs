//! The `waystation` command: the command line becomes a configuration, the configuration an exit code.

use std::process::ExitCode;

use waystation::config::{self, Environment, Machine};
use waystation::server;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match config::read(std::env::args_os(), &Environment::here(), &Machine::here()) {
        Ok(wanted) => server::run(wanted),
        Err(refusal) => server::refuse(&refusal),
    }
}
