//! `waystation store`: what an operator does with a store that no server runs.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::config::{StartError, StoreTask, StoreVerb};
use crate::envelope::event::uuid_text;
use crate::ledger::event::read_event;
use crate::ledger::survey::{Survey, channels, events_of, survey};
use crate::ledger::{ChannelNumber, DiskFault, Line};
use crate::store::{Offline, StartFault};
use crate::time::rfc3339;

/// Does it. The exit code of `check` is 1 if anything is not as it was written.
pub(super) fn run(task: &StoreTask) -> Result<ExitCode, StartError> {
    let Some(store) = &task.store else {
        let what = "this configuration keeps no history on a disk";
        return Err(StartError::new(what, "store.directory and --data", "name the directory as the gateway has it"));
    };
    let offline = Offline::open(&store.directory, store.cache_bytes).map_err(|fault| refused(&fault))?;
    let mut out = BufWriter::new(io::stdout().lock());
    let failed = |fault: DiskFault| {
        StartError::new(fault.to_string(), store.directory.display().to_string(), "see the disk's health").passing()
    };
    match task.verb {
        StoreVerb::Check => {
            let found = survey(offline.tables(), &mut |fault| say(&mut out, fault)).map_err(failed)?;
            say(&mut out, &format!("{} channels, {} events: {} faults", found.channels, found.events, found.faults));
            flush(out);
            Ok(if found.faults == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        StoreVerb::Stats => {
            let found = survey(offline.tables(), &mut |_| {}).map_err(failed)?;
            let bytes = offline.disk_bytes().map_err(|fault| refused(&fault))?;
            say(&mut out, &stats(&found, bytes));
            flush(out);
            Ok(ExitCode::SUCCESS)
        }
        StoreVerb::Compact => {
            let before = offline.disk_bytes().map_err(|fault| refused(&fault))?;
            offline.compact().map_err(|fault| refused(&fault))?;
            let after = offline.disk_bytes().map_err(|fault| refused(&fault))?;
            say(&mut out, &format!("{before} bytes before, {after} after"));
            flush(out);
            Ok(ExitCode::SUCCESS)
        }
        StoreVerb::Export => {
            let faults = export(&offline, &mut out).map_err(failed)?;
            flush(out);
            if faults > 0 {
                let _nobody_listens =
                    writeln!(io::stderr().lock(), "{faults} stretches of events cannot be read: store check");
            }
            Ok(if faults == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

/// Why a store is not opened, as the operator is told.
pub(super) fn refused(fault: &StartFault) -> StartError {
    let (what, place, remedy) = fault.parts();
    let error = StartError::new(what, place, remedy);
    if fault.may_pass() { error.passing() } else { error }
}

fn say(out: &mut impl Write, line: &str) {
    let _nobody_listens = writeln!(out, "{line}");
}

fn flush(mut out: impl Write) {
    let _nobody_listens = out.flush();
}

fn stats(found: &Survey, disk_bytes: u64) -> String {
    let Survey { channels, events, bytes, stubs, cursors, positions, faults } = *found;
    json!({
        "channels": channels, "events": events, "event_bytes": bytes, "operations_of_trimmed_events": stubs,
        "acknowledgements_of_users": cursors, "acknowledgements_of_groups": positions, "faults": faults,
        "disk_bytes": disk_bytes,
    })
    .to_string()
}

/// An event as it is printed.
#[derive(Serialize)]
struct Row<'a> {
    channel: &'a str,
    epoch: String,
    seq: u64,
    timestamp: &'a str,
    id: String,
    user_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    op_id: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    payload: Option<&'a RawValue>,
}

/// Every event that is retained, one JSON object a line, by channel. Returns how many stretches cannot be read.
fn export(offline: &Offline, out: &mut impl Write) -> Result<usize, DiskFault> {
    let mut all: Vec<(ChannelNumber, Line)> = Vec::new();
    channels(offline.tables(), &mut |channel, line| all.push((channel, line)))?;
    let mut faults = 0;
    for (channel, line) in &all {
        let damaged = events_of(offline.tables(), *channel, line, &mut |seq, record| {
            let Ok((epoch, event)) = read_event(*channel, seq, record) else { return };
            let timestamp = rfc3339(event.unix_ms);
            let row = Row {
                channel: &line.name,
                epoch: epoch.to_string(),
                seq: seq.0,
                timestamp: std::str::from_utf8(&timestamp).unwrap_or_default(),
                id: uuid_text(event.id),
                user_id: event.user,
                op_id: event.op_id,
                kind: event.kind,
                payload: serde_json::from_slice(event.payload).ok(),
            };
            if let Ok(text) = serde_json::to_string(&row) {
                say(out, &text);
            }
        })?;
        faults += damaged.len();
    }
    Ok(faults)
}
