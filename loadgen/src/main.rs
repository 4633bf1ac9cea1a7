//! Waystation's load generator.

fn main() {}
