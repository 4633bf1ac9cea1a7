//! `doctor` and `tune`: the table of what matters on a host, held against this one or another root.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::config::{Doctor, Planned, StartError};
use crate::runtime::probe;
use crate::runtime::ring::RingSizes;
use crate::tune::report::{self, Ink};
use crate::tune::{self, Examined, Host, Live, Plan};

/// Says what was found; the exit code is the worst of it.
pub(super) fn doctor(wanted: &Doctor) -> Result<ExitCode, StartError> {
    let examined = examined(&wanted.planned)?;
    say(&if wanted.json { format!("{:#}\n", report::json(&examined)) } else { report::text(&examined, ink()) });
    Ok(ExitCode::from(examined.exit_code(wanted.strict)))
}

fn examined(planned: &Planned) -> Result<Examined, StartError> {
    let host = host(planned)?;
    Ok(tune::examine(&host, Plan::on(&host, planned.connections.into(), planned.shards)))
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
    Live { ring: probe::probe(RingSizes::default()).map_err(|error| error.to_string()) }
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
