//! The `waystation` command.

fn main() {}
