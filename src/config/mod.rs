//! What the operator asked for, made usable.
//!
//! [`written::Written`] is the command line as it was typed; `read` judges what the file, the environment and `--set`
//! say against the one [`table`] of keys; [`layers::Settings`] lays them over each other and knows who set what;
//! [`file::File`] is that with types, and [`checked::Wanted`] what the rest of the program uses. [`load::Source`] goes
//! this way at the start and each time the configuration is read again; nothing below this floor ever sees an option
//! that was not checked. Environment and machine are arguments, so the tests need neither. Absent: any default that
//! depends on a clock, and when to read again, which is the server's.

pub mod checked;
pub mod desk;
pub mod file;
pub mod key;
pub mod layers;
pub mod load;
mod named;
mod read;
mod render;
pub mod table;
pub mod tuning;
mod units;
pub mod written;

use std::ffi::OsString;
use std::fmt;

use clap::{CommandFactory as _, Parser};

use crate::limits::CONFIG_FAULTS_TOLD_MAX;
use written::{ConfigVerb, Verb, Written};

pub use checked::{
    AuditTo, Auth, Environment, KeyFile, LimitsProfile, LogFormat, Logs, Machine, Serve, Store, StoreTask, StoreVerb,
    Token, Wanted,
};
pub use desk::{Asked, Showing};
pub use layers::{Change, Origin, Settings};
pub use load::Source;
pub use named::NamedFile;
pub use tuning::{Changing, Doctor, Planned, TuneVerb};

/// Why the program did not start. Told to the operator once, then the exit code is 78.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartError {
    /// What is wrong, naming the value and the bound.
    pub what: String,
    /// Where it was found: a flag, a variable, a file, a limit of the system.
    pub place: String,
    /// What to do about it.
    pub remedy: String,
    /// Whether it may pass by itself, so that another start is worth a try.
    pub passing: bool,
}

impl StartError {
    /// The process exit code: `EX_CONFIG` of sysexits, so that a supervisor can tell it from a crash.
    pub const EXIT_CODE: u8 = 78;
    /// The exit code of what may pass: `EX_TEMPFAIL`.
    pub const EXIT_CODE_PASSING: u8 = 75;

    /// Tells what is wrong, where, and what to do.
    #[must_use]
    pub fn new(what: impl Into<String>, place: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), place: place.into(), remedy: remedy.into(), passing: false }
    }
}

impl StartError {
    /// The same, found there.
    #[must_use]
    pub fn at(self, place: impl Into<String>) -> Self {
        Self { place: place.into(), ..self }
    }

    /// The same as something that may pass by itself.
    #[must_use]
    pub fn passing(self) -> Self {
        Self { passing: true, ..self }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "waystation: {}\n  where: {}\n  what to do: {}", self.what, self.place, self.remedy)
    }
}

/// Everything that is wrong, in the order of its places. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(pub Vec<StartError>);

impl From<StartError> for Faults {
    fn from(error: StartError) -> Self {
        Self(vec![error])
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().take(CONFIG_FAULTS_TOLD_MAX).enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            fault.fmt(f)?;
        }
        match self.0.len() {
            1 => Ok(()),
            count if count > CONFIG_FAULTS_TOLD_MAX => {
                write!(f, "\nwaystation: {count} faults, of which the first {CONFIG_FAULTS_TOLD_MAX} are told")
            }
            count => write!(f, "\nwaystation: {count} faults"),
        }
    }
}

/// Why there is nothing to run.
#[derive(Debug)]
pub enum Refusal {
    /// The command line does not parse, or asked for help or the version.
    Usage(Box<clap::Error>),
    /// It parses and cannot be done here.
    Start(Faults),
}

/// Reads the command line and makes it usable.
///
/// # Errors
/// [`Refusal`], also when help or the version was asked for.
pub fn read(
    args: impl IntoIterator<Item = OsString>,
    environment: &Environment,
    machine: &Machine,
) -> Result<Wanted, Refusal> {
    let written = Written::try_parse_from(args).map_err(|error| Refusal::Usage(Box::new(error)))?;
    let source = |args: Box<written::ServeArgs>| Source::new(*args, environment.clone(), machine.clone());
    match written.verb {
        Verb::Serve(args) => source(args).load().map(|serve| Wanted::Serve(Box::new(serve))).map_err(Refusal::Start),
        Verb::Token(args) => {
            checked::token(args, environment).map(Wanted::Token).map_err(|error| Refusal::Start(error.into()))
        }
        Verb::Config(ConfigVerb::Check(args)) => {
            source(args).load().map(|serve| Wanted::Check(Box::new(serve))).map_err(Refusal::Start)
        }
        Verb::Health(mut args) => {
            // Nothing is kept or read there, and who asks may have no home.
            args.data.get_or_insert_with(|| "/".into());
            source(args).load().map(|serve| Wanted::Health(Box::new(serve))).map_err(Refusal::Start)
        }
        Verb::Config(ConfigVerb::Show(args)) => {
            source(args).load().map(|serve| Wanted::Print(render::show(&serve.settings).into())).map_err(Refusal::Start)
        }
        Verb::Config(ConfigVerb::Default) => Ok(Wanted::Print(render::default_file().into())),
        Verb::Config(ConfigVerb::Doc) => Ok(Wanted::Print(render::document().into())),
        Verb::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Written::command(), "waystation", &mut script);
            Ok(Wanted::Print(script))
        }
        Verb::Store(verb) => {
            let (verb, args) = verb.usable();
            let task = |serve: Serve| {
                let socket = serve.admin_socket.map(desk::socket_to_ask);
                Wanted::Store(StoreTask { verb, store: serve.store, socket })
            };
            source(args).load().map(task).map_err(Refusal::Start)
        }
        Verb::Dump(records) => asked(records.usable("dump", environment)),
        Verb::Tail(records) => asked(records.usable("tail", environment)),
        Verb::Debug(debug) => asked(debug.usable(environment)),
        Verb::Log(log) => asked(log.usable(environment)),
        Verb::Stats(at) => asked(at.stats(environment)),
        Verb::Doctor(doctor) => Ok(Wanted::Doctor(doctor.usable(environment))),
        Verb::Tune(tune) => Ok(Wanted::Tune(tune.usable(environment))),
        Verb::Man { list: true, .. } => Ok(Wanted::Print(pages().into())),
        Verb::Man { page, .. } => manual(&page).map(Wanted::Print),
    }
}

fn asked(outcome: Result<Asked, StartError>) -> Result<Wanted, Refusal> {
    outcome.map(Wanted::Ask).map_err(|error| Refusal::Start(error.into()))
}

/// The words of every command that has a manual page, a command a line; the program's own page is not among them.
fn pages() -> String {
    fn below(command: &clap::Command, before: &str, out: &mut String) {
        for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
            let words = format!("{before}{}", inner.get_name());
            out.push_str(&format!("{words}\n"));
            below(inner, &format!("{words} "), out);
        }
    }
    let (mut whole, mut out) = (Written::command(), String::new());
    whole.build();
    below(&whole, "", &mut out);
    out
}

/// The manual page of a command, given by its words.
fn manual(page: &[String]) -> Result<Vec<u8>, Refusal> {
    let mut whole = Written::command();
    whole.build();
    let mut command = &whole;
    for word in page {
        let Some(inner) = command.find_subcommand(word) else {
            let what = format!("{word:?} is no command of {}", command.get_name());
            let names: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
            let remedy = format!("write one of {}", names.join(", "));
            return Err(Refusal::Start(StartError::new(what, "man", remedy).into()));
        };
        command = inner;
    }
    let mut rendered = Vec::new();
    match clap_mangen::Man::new(command.clone()).render(&mut rendered) {
        Ok(()) => Ok(rendered),
        Err(error) => Err(Refusal::Start(StartError::new(error.to_string(), "man", "report this").into())),
    }
}
