//! The tables of all pages, and the one of the machine.

use std::fmt::Write as _;

use super::escaped;
use crate::metrics::Unit;
use crate::report::{Ailment, Doctor, Environment};
use crate::words::counted;

/// Begins a table of figures under a heading.
pub(crate) fn begin(out: &mut String, title: &str, columns: &[&str]) {
    begin_text(out, title, columns, &[]);
}

/// Begins a table under a heading, some of whose columns are text.
pub(crate) fn begin_text(out: &mut String, title: &str, columns: &[&str], texts: &[usize]) {
    if !title.is_empty() {
        let _ = write!(out, "<h2>{}</h2>", escaped(title));
    }
    let label = if title.is_empty() { "Settings".to_owned() } else { escaped(title) };
    let _ = write!(out, "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{label}\"><table>");
    if columns.iter().any(|column| !column.is_empty()) {
        *out += "<thead><tr>";
        for (number, column) in columns.iter().enumerate() {
            let class = if texts.contains(&number) { " class=\"text\"" } else { "" };
            let _ = write!(out, "<th scope=\"col\"{class}>{}</th>", escaped(column));
        }
        *out += "</tr></thead>";
    }
    *out += "<tbody>";
}

/// Ends it.
pub(crate) fn end(out: &mut String) {
    *out += "</tbody></table></div>";
}

/// The machine, and how the server was spoken to if that is known.
pub(crate) fn write_machine(out: &mut String, environment: &Environment, spoken_to: Option<&str>) {
    begin(out, "Environment", &["", ""]);
    let mut row = |name: &str, value: &str| {
        let _ =
            write!(out, "<tr><th scope=\"row\">{}</th><td class=\"text\">{}</td></tr>", escaped(name), escaped(value));
    };
    let bytes = |bytes: u64| Unit::Bytes.show(bytes as f64).to_string();
    row("server", &environment.url);
    if let Some(spoken_to) = spoken_to {
        row("adapter", spoken_to);
    }
    row("host", &environment.host);
    row("processor", &format!("{}, {}", environment.processor, counted(environment.cores_count, "core")));
    row("kernel", &environment.kernel);
    let (all, free) = (bytes(environment.memory_bytes), bytes(environment.memory_available_bytes));
    row("memory", &format!("{all}, {free} available"));
    row("governor", environment.governor.as_deref().unwrap_or("none"));
    let turbo = environment.turbo.map_or("unknown", |on| if on { "on" } else { "off" });
    row("turbo", turbo);
    if let Some([one, five, fifteen]) = environment.load_average {
        row("load average before", &format!("{one} {five} {fifteen}"));
    }
    if let Some(steal) = environment.steal {
        row("taken by the hypervisor", &Unit::Share.show(steal).to_string());
    }
    let descriptors = environment.descriptors_max.map_or_else(|| "unlimited".to_owned(), |most| most.to_string());
    row("descriptors", &descriptors);
    if let Some(revision) = &environment.revision {
        row("revision", &format!("{}{}", revision.commit, if revision.dirty { ", with changes" } else { "" }));
    }
    for warning in &environment.warnings {
        row("warning", warning);
    }
    let doctor = environment.doctor.as_ref();
    row("doctor", &doctor.map_or_else(|| "not asked".to_owned(), ToString::to_string));
    end(out);
    write_ailments(out, doctor.map_or(&[], Doctor::findings));
    *out += "<details><summary>Settings of the kernel</summary>";
    begin(out, "", &["", ""]);
    for (name, value) in &environment.sysctls {
        let _ =
            write!(out, "<tr><th scope=\"row\">{}</th><td class=\"text\">{}</td></tr>", escaped(name), escaped(value));
    }
    end(out);
    *out += "</details>";
}

/// What the doctor found.
fn write_ailments(out: &mut String, findings: &[Ailment]) {
    if findings.is_empty() {
        return;
    }
    let columns = ["", "severity", "is", "wanted", "why", "what to do"];
    begin_text(out, "What the doctor found", &columns, &[1, 2, 3, 4, 5]);
    for Ailment { name, severity, place, seen, wanted, why, fix } in findings {
        let class = if severity == "error" { "text missed" } else { "text" };
        let (name, severity) = (escaped(name), escaped(severity));
        let _ = write!(out, "<tr><th scope=\"row\" class=\"text\">{name}</th><td class=\"{class}\">{severity}</td>");
        let seen = format!("{seen} ({place})");
        for text in [&seen, wanted, why, fix.as_ref().unwrap_or(&String::new())] {
            let _ = write!(out, "<td class=\"text\">{}</td>", escaped(text));
        }
        *out += "</tr>";
    }
    end(out);
}
