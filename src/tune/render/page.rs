//! `docs/TUNING.md`.

use std::fmt::Write as _;

use super::{MILLION, USUAL, unit};
use crate::tune::{Plan, TABLE};

const HEAD: &str = include_str!("page/head.md");
const TAIL: &str = include_str!("page/tail.md");

/// The whole page.
pub(super) fn page() -> String {
    let mut out = HEAD.to_owned();
    out.push_str("| name | read at | wanted | worst | why | costs | to undo |\n|---|---|---|---|---|---|---|\n");
    for row in TABLE.iter().copied().flatten() {
        let name = if row.setting.is_some() { format!("`{}` *", row.name) } else { row.name.to_owned() };
        let (worst, cells) = (row.severity.word(), [row.why, row.cost, row.undo].join(" | "));
        let _infallible = writeln!(out, "| {name} | {} | {} | {worst} | {cells} |", row.reads, row.wanted);
    }
    out.push_str("\n## The sums\n\nFor 10,000 connections on 4 shards, and for a million on 64:\n\n```text\n");
    for plan in [Plan { connections: 10_000, shards: 4, ..USUAL }, MILLION] {
        let told = [
            ("descriptors", plan.descriptors_told()),
            ("memory", plan.memory_told()),
            ("socket buffers", plan.tcp_told()),
        ];
        for (name, sum) in told {
            let _infallible = writeln!(out, "{name:<15} {sum}");
        }
    }
    out.push_str("```\n");
    out.push_str(TAIL);
    out.push_str("\n| directives | why |\n|---|---|\n");
    for group in unit::SERVICE.iter().chain([&unit::INSTANCE]) {
        let lines: Vec<String> = group.lines.iter().map(|line| format!("`{line}`")).collect();
        let _infallible = writeln!(out, "| {} | {} |", lines.join(" "), group.why);
    }
    out
}
