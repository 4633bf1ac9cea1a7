//! `doctor` and `tune`: the table of what matters on a host, held against this one or another root.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::admin::Finding;
use crate::config::{Changing, Doctor, Planned, StartError, TuneVerb};
use crate::runtime::probe;
use crate::runtime::ring::RingSizes;
use crate::tune::apply::{self, Done, How, Refused};
use crate::tune::disk::Disk;
use crate::tune::report::{self, Ink};
use crate::tune::{self, Examined, Host, Live, Plan, render, script};

/// Says what was found; the exit code is the worst of it.
pub(super) fn doctor(wanted: &Doctor) -> Result<ExitCode, StartError> {
    let examined = examined(wanted)?;
    say(&if wanted.json { format!("{:#}\n", report::json(&examined)) } else { report::text(&examined, ink()) });
    Ok(ExitCode::from(examined.exit_code(wanted.strict)))
}

/// What is wrong with this machine for so many connections, the worst first. A start has looked into its ring already,
/// and goes on whatever is found here.
pub(super) fn findings(connections: u64, shards: usize, store: Option<&Path>) -> Vec<Finding> {
    let Ok(host) = Host::new(Path::new("/"), None) else { return Vec::new() };
    let host = host.with_data(store.and_then(nearest));
    let plan = Plan::on(&host, connections, u16::try_from(shards).ok());
    let examined = tune::examine(&host, plan);
    let found = examined.findings.iter().filter_map(|finding| {
        let (severity, remedy) = finding.answer.as_ref()?.fault.clone()?;
        let (row, seen) = (finding.row, &finding.answer.as_ref()?.seen);
        let title = format!("{} is {seen}: {}", row.name, row.why);
        Some((severity, Finding { id: row.name.to_owned(), severity: severity.word(), title, remedy }))
    });
    let mut found: Vec<_> = found.collect();
    found.sort_by_key(|(severity, _)| std::cmp::Reverse(*severity));
    found.into_iter().map(|(_, finding)| finding).collect()
}

/// Does what is asked of `tune`.
pub(super) fn tune(verb: &TuneVerb) -> Result<ExitCode, StartError> {
    match verb {
        TuneVerb::List => say(&report::list()),
        TuneVerb::Explain { name } => match tune::row(name) {
            Some(row) => say(&report::explain(row)),
            None => return Err(unknown(name)),
        },
        TuneVerb::Check(wanted) => return doctor(wanted),
        TuneVerb::Apply(wanted) => changed(wanted, "then: sysctl --system\n", apply::apply)?,
        TuneVerb::Revert(wanted) => changed(wanted, "", |host, _, how| apply::revert(host, how))?,
        TuneVerb::Render { directory } => render::write(directory).map_err(|error| {
            StartError::new(
                error.to_string(),
                directory.display().to_string(),
                "name a directory that can be written to",
            )
        })?,
        TuneVerb::Script(planned) => {
            let host = host(planned)?;
            say(&script::script(&host, &tune::examine(&host, plan(&host, planned))));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn unknown(name: &str) -> StartError {
    // People leave out what a setting's name begins with.
    let likeness = |row: &tune::Row| {
        let short = row.name.rsplit('.').next().unwrap_or(row.name);
        strsim::jaro_winkler(row.name, name).max(strsim::jaro_winkler(short, name))
    };
    let rows = tune::TABLE.iter().copied().flatten();
    let nearest = rows.max_by(|a, b| likeness(a).total_cmp(&likeness(b))).map_or("", |row| row.name);
    let remedy = format!("see waystation tune list; perhaps you mean {nearest}");
    StartError::new(format!("{name:?} is not in the table"), "tune explain", remedy)
}

/// Changes files, or says which, and tells of each. What a dry run would write is shown whole.
fn changed(
    wanted: &Changing,
    then: &str,
    change: impl FnOnce(&Host, &Plan, How) -> Result<Vec<Done>, Refused>,
) -> Result<(), StartError> {
    let host = host(&wanted.planned)?;
    let how = if wanted.dry_run { How::Dry } else { How::Really };
    let done = change(&host, &plan(&host, &wanted.planned), how)
        .map_err(|refused| StartError::new(refused.what, host.path().display().to_string(), refused.remedy))?;
    if wanted.dry_run {
        say("nothing is changed: this is what would be done\n");
    }
    for file in &done {
        say(&format!("{}: {}\n", file.path, file.change.told()));
        if wanted.dry_run && file.change.writes() {
            say(&file.text);
        }
    }
    if done.iter().any(|file| file.change.writes()) && !wanted.dry_run {
        say(then);
    }
    Ok(())
}

fn plan(host: &Host, planned: &Planned) -> Plan {
    Plan::on(host, planned.connections.into(), planned.shards)
}

fn examined(wanted: &Doctor) -> Result<Examined, StartError> {
    let (planned, data) = (&wanted.planned, wanted.data.as_deref().filter(|data| *data != Path::new("none")));
    let mut host = host(planned)?;
    let is_here = host.live.is_some();
    let data = if is_here { data.and_then(nearest) } else { data.map(Path::to_owned) };
    if let Some(live) = &mut host.live {
        live.disk = data.as_deref().map(Disk::ask);
    }
    let host = host.with_data(data);
    Ok(tune::examine(&host, plan(&host, planned)))
}

/// The directory, or what there is of it already: its disk will be the same.
fn nearest(directory: &Path) -> Option<PathBuf> {
    let whole = std::path::absolute(directory).ok()?;
    whole.ancestors().find_map(|above| above.canonicalize().ok())
}

/// The machine that is meant. Only of the running one can more be asked than its files tell.
fn host(planned: &Planned) -> Result<Host, StartError> {
    let live = (planned.root == Path::new("/")).then(live);
    Host::new(&planned.root, live).map_err(|error| {
        let what = format!("the root cannot be read: {error}");
        StartError::new(what, format!("--root {}", planned.root.display()), "give a directory with proc and sys in it")
    })
}

fn live() -> Live {
    // As the start does, so that a low soft limit is not taken for what the hard one allows.
    let limit = getrlimit(Resource::Memlock);
    let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    let _as_it_is = setrlimit(Resource::Memlock, raised);
    Live {
        ring: probe::probe(RingSizes::default()).map_err(|error| error.to_string()),
        clock_is_kept: probe::clock_is_kept(),
        disk: None,
    }
}

/// Colours for a person at a terminal, unless `NO_COLOR` is set (<https://no-color.org>).
fn ink() -> Ink {
    let asked_not_to = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if io::stdout().is_terminal() && !asked_not_to { Ink::Colour } else { Ink::Plain }
}

/// Writes to standard output. A reader that has seen enough is no fault.
fn say(text: &str) {
    let mut out = io::stdout().lock();
    let _nobody_listens = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
