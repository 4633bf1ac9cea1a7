//! `waystation store`: what an operator does with a store that no server runs.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::backup;
use crate::config::{StartError, StoreTask, StoreVerb};
use crate::envelope::event::uuid_text;
use crate::ids::Seq;
use crate::ledger::event::read_event;
use crate::ledger::survey::{Survey, channels, events_of, survey};
use crate::ledger::{ChannelNumber, Disk, DiskFault, Line};
use crate::store::{Offline, StartFault};
use crate::time::rfc3339;
use crate::tune::counted;

/// Does it. The exit code of `check` and `export` is 1 if anything is not as it was written.
pub(super) fn run(task: &StoreTask) -> Result<ExitCode, StartError> {
    let Some(store) = &task.store else {
        let what = "this configuration keeps no history on a disk";
        return Err(StartError::new(what, "store.directory and --data", "name the directory as the gateway has it"));
    };
    if let StoreVerb::Backup(to) = &task.verb {
        return backup::run(store, task.socket.as_deref(), to).map(|()| ExitCode::SUCCESS);
    }
    let offline = Offline::open(&store.directory, store.cache_bytes).map_err(|fault| refused(&fault))?;
    let mut out = Printed::to(io::stdout().lock());
    let failed = |fault: DiskFault| {
        StartError::new(fault.to_string(), store.directory.display().to_string(), "see the disk's health").passing()
    };
    let disk_bytes = || offline.disk_bytes().map_err(|fault| refused(&fault));
    let whole = match &task.verb {
        StoreVerb::Check => {
            let found = survey(offline.tables(), &mut |fault| out.say(fault)).map_err(failed)?;
            let (channels, events) = (counted(found.channels, "channel"), counted(found.events, "event"));
            out.say(&format!("{channels}, {events}: {}", counted(found.faults, "fault")));
            found.faults == 0
        }
        StoreVerb::Stats => {
            let found = survey(offline.tables(), &mut |_| {}).map_err(failed)?;
            out.say(&stats(&found, disk_bytes()?));
            true
        }
        StoreVerb::Compact => {
            let before = disk_bytes()?;
            offline.compact().map_err(|fault| refused(&fault))?;
            out.say(&format!("{} before, {} after", counted(before, "byte"), disk_bytes()?));
            true
        }
        StoreVerb::Export => {
            let mut faults = 0_u64;
            export(offline.tables(), &mut out, &mut |fault| {
                faults += 1;
                warn(fault);
            })
            .map_err(failed)?;
            if faults > 0 {
                warn(&format!("{}: what is concerned was not printed", counted(faults, "fault")));
            }
            faults == 0
        }
        StoreVerb::Backup(_) => true,
    };
    out.end()?;
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Why a store is not opened, as the operator is told.
pub(super) fn refused(fault: &StartFault) -> StartError {
    let (what, place, remedy) = fault.parts();
    let error = StartError::new(what, place, remedy);
    if fault.may_pass() { error.passing() } else { error }
}

fn warn(what: &str) {
    let _nobody_listens = writeln!(io::stderr().lock(), "waystation: {what}");
}

/// What is printed, up to the first line that cannot be.
struct Printed<W: Write> {
    to: BufWriter<W>,
    failed: Option<io::Error>,
}

impl<W: Write> Printed<W> {
    fn to(out: W) -> Self {
        Self { to: BufWriter::new(out), failed: None }
    }

    fn say(&mut self, line: &str) {
        if self.failed.is_none() {
            self.failed = writeln!(self.to, "{line}").err();
        }
    }

    /// Whether everything was printed; who reads may have seen enough.
    fn end(mut self) -> Result<(), StartError> {
        let failed = self.failed.take().or_else(|| self.to.flush().err());
        match failed.filter(|error| error.kind() != io::ErrorKind::BrokenPipe) {
            None => Ok(()),
            Some(error) => {
                let what = format!("what was printed is not whole: {error}");
                Err(StartError::new(what, "standard output", "see that there is space, and run it again").passing())
            }
        }
    }
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

/// Why an export ends early.
enum Halt {
    Disk(DiskFault),
    /// Nobody takes more.
    Output,
}

impl From<DiskFault> for Halt {
    fn from(fault: DiskFault) -> Self {
        Self::Disk(fault)
    }
}

/// Every event that is retained, one JSON object a line, by channel. What cannot be read is told.
fn export<W: Write>(disk: &impl Disk, out: &mut Printed<W>, told: &mut dyn FnMut(&str)) -> Result<(), DiskFault> {
    let exported = channels(disk, &mut |found| match found {
        Err(why) => {
            told(&why);
            Ok(())
        }
        Ok((channel, line)) => events_of(disk, channel, &line, &mut |found| {
            let text = found.and_then(|(seq, record)| row(channel, &line, seq, record));
            match text {
                Ok(text) => out.say(&text),
                Err(why) => told(&why),
            }
            if out.failed.is_none() { Ok(()) } else { Err(Halt::Output) }
        }),
    });
    match exported {
        Ok(()) | Err(Halt::Output) => Ok(()),
        Err(Halt::Disk(fault)) => Err(fault),
    }
}

/// An event as a line, or why it is none.
fn row(channel: ChannelNumber, line: &Line, seq: Seq, record: &[u8]) -> Result<String, String> {
    let unreadable = |why: String| format!("channel {:?}: event {seq} cannot be read: {why}", line.name);
    let (epoch, event) = read_event(channel, seq, record).map_err(|broken| unreadable(broken.to_string()))?;
    let timestamp = rfc3339(event.unix_ms);
    let payload = (!event.payload.is_empty()).then(|| serde_json::from_slice(event.payload)).transpose();
    let row = Row {
        channel: &line.name,
        epoch: epoch.to_string(),
        seq: seq.0,
        timestamp: std::str::from_utf8(&timestamp).unwrap_or_default(),
        id: uuid_text(event.id),
        user_id: event.user,
        op_id: event.op_id,
        kind: event.kind,
        payload: payload.map_err(|error| unreadable(error.to_string()))?,
    };
    serde_json::to_string(&row).map_err(|error| unreadable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ids::{Epoch, ShardId};
    use crate::ledger::{Append, Event, Keep, Memory, Model, Notice, Open, Request, Space, State, Ticket, write_body};
    use crate::payload::Payload;

    /// Two channels with three events each.
    fn filled() -> Memory {
        let fresh = State { generation: 0, stopped: None, key: [7; 16], id: 42 };
        let keep = Keep { count: 100, bytes: 1 << 20, age_ms: 1 << 40 };
        let mut model = Model::start(Memory::default(), fresh, keep).unwrap();
        for (name, ticket) in [("chat:a", 1), ("chat:b", 10)] {
            let open = Open { channel: Arc::from(name), fresh: Epoch(9), tail_bytes: 0, tail_count: 0 };
            model.ask(ShardId(0), Ticket(ticket), Request::Open(open));
            let notices = model.commit(1, 5);
            let Some((_, Notice::Opened(_, Ok(past)))) = notices.into_iter().next() else { panic!("no answer") };
            for seq in 1..=3 {
                let payload = format!("{{\"n\":{seq}}}");
                let (user, op_id, kind, payload) = ("ann", "", "note", payload.as_bytes());
                let event = Event { unix_ms: 5, id: 1, operation: None, user, op_id, kind, payload };
                let mut body = Vec::new();
                write_body(&event, &mut body);
                let (channel, epoch, body) = (past.channel, past.start.epoch, Payload::copy_of(&body));
                let append = Append { channel, epoch, seq: Seq(seq), unix_ms: 5, body };
                model.ask(ShardId(0), Ticket(ticket + seq), Request::Append(append));
            }
            model.commit(3, 5);
        }
        model.crash()
    }

    fn exported(disk: &Memory) -> (Vec<String>, Vec<String>) {
        let (mut out, mut told) = (Printed::to(Vec::new()), Vec::new());
        export(disk, &mut out, &mut |fault| told.push(fault.to_owned())).unwrap();
        let text = String::from_utf8(out.to.into_inner().unwrap()).unwrap();
        (text.lines().map(ToOwned::to_owned).collect(), told)
    }

    #[test]
    fn what_cannot_be_read_is_told_and_the_rest_is_printed() {
        let disk = filled();
        let (whole, told) = exported(&disk);
        assert_eq!((whole.len(), told), (6, vec![]));
        assert!(whole[5].contains(r#""channel":"chat:b","epoch":"0000000000000009","seq":3"#), "{}", whole[5]);
        let places: Vec<(Space, Vec<u8>)> = disk.records().map(|(space, place, _)| (space, place.to_vec())).collect();
        let line = places.iter().find(|(_, place)| place.first() == Some(&b'l')).unwrap();
        let mut broken = disk.clone();
        broken.damage(line.0, &line.1, |value| value[12] ^= 1);
        let (rows, told) = exported(&broken);
        assert!(rows == whole[3..] && told.len() == 1 && told[0].contains("channel number 1"), "{rows:?} {told:?}");
        let event = places.iter().find(|(space, _)| *space == Space::Events).unwrap();
        let mut broken = disk;
        broken.damage(event.0, &event.1, |value| value[30] ^= 1);
        let (rows, told) = exported(&broken);
        assert!(
            rows == whole[1..] && told == ["channel \"chat:a\": events 1 to 1 cannot be read"],
            "{rows:?} {told:?}"
        );
    }

    /// Takes so many bytes and then none.
    struct Full(usize, io::ErrorKind);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0 == 0 {
                return Err(self.1.into());
            }
            let taken = bytes.len().min(self.0);
            self.0 -= taken;
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_cut_off_is_no_success_unless_the_reader_has_gone() {
        let disk = filled();
        let whole: usize = exported(&disk).0.iter().map(|row| row.len() + 1).sum();
        for (room, kind, expected) in [
            (whole, io::ErrorKind::StorageFull, Ok(())),
            (whole - 1, io::ErrorKind::StorageFull, Err(true)),
            (0, io::ErrorKind::StorageFull, Err(true)),
            (0, io::ErrorKind::BrokenPipe, Ok(())),
        ] {
            let mut out = Printed::to(Full(room, kind));
            export(&disk, &mut out, &mut |fault| panic!("{fault}")).unwrap();
            assert_eq!(out.end().map_err(|error| error.passing), expected, "{room} of {whole}, {kind}");
        }
    }
}
