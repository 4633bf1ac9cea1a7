//! Puts it together: what was asked for becomes checked resources, threads and, in the end, an exit code.
//!
//! The order is fixed: logs, limits of the system, the key, the address, the threads, and only then the
//! lines that tell the operator where to go. Whatever cannot work is refused before the first thread
//! starts. Absent: rules of the gateway; they are all below.

mod backup;
mod check;
mod desk;
mod doctor;
mod drain;
mod engine;
mod flight;
mod greeting;
mod health;
mod key;
mod keys;
mod logs;
mod notify;
mod reload;
mod store;
mod token;
mod tuning;

use std::io::{self, Write as _};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::ExitCode;

use crate::admin;
use crate::auth::Key;
use crate::config::{Faults, Refusal, Serve, StartError, Token, Wanted};
use crate::limits::START_TOKEN_TTL_S;
use crate::runtime::address::Address;
use crate::runtime::listen::{ListenError, Listener, Listening, Options, SocketFile, listen_aside};
use keys::KeyRing;
use token::TokenRequest;

/// Does what is wanted and gives the process's exit code.
#[must_use]
pub fn run(wanted: Wanted) -> ExitCode {
    match wanted {
        Wanted::Serve(wanted) => serve(&wanted).unwrap_or_else(|faults| refuse(&Refusal::Start(faults))),
        Wanted::Token(wanted) => done(tokens(&wanted)),
        Wanted::Check(wanted) => done(check::check(&wanted)),
        Wanted::Health(wanted) => done(health::ask(&wanted)),
        Wanted::Print(text) => {
            let _nobody_listens = io::stdout().lock().write_all(&text);
            ExitCode::SUCCESS
        }
        Wanted::Ask(asked) => done(desk::ask(&asked)),
        Wanted::Doctor(wanted) => tuning::doctor(&wanted).unwrap_or_else(|error| refuse(&Refusal::Start(error.into()))),
        Wanted::Store(task) => store::run(&task).unwrap_or_else(|error| refuse(&Refusal::Start(error.into()))),
        Wanted::Tune(verb) => tuning::tune(&verb).unwrap_or_else(|error| refuse(&Refusal::Start(error.into()))),
    }
}

fn done(outcome: Result<(), impl Into<Faults>>) -> ExitCode {
    outcome.map_or_else(|error| refuse(&Refusal::Start(error.into())), |()| ExitCode::SUCCESS)
}

/// Tells why there is nothing to run. Help and version go to standard output with exit code 0, bad usage
/// to standard error with 2, what cannot be done here to standard error with 78, and with 75 if that may pass.
#[must_use]
pub fn refuse(refusal: &Refusal) -> ExitCode {
    match refusal {
        Refusal::Usage(error) => {
            let _nobody_listens = error.print();
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
        }
        Refusal::Start(error) => {
            let _nobody_listens = writeln!(io::stderr().lock(), "{error}");
            let passing = error.0.iter().all(|fault| fault.passing);
            ExitCode::from(if passing { StartError::EXIT_CODE_PASSING } else { StartError::EXIT_CODE })
        }
    }
}

fn serve(wanted: &Serve) -> Result<ExitCode, Faults> {
    let place = |path: &Path| wanted.place("audit.to", path.display());
    let log = logs::start(&wanted.logs, wanted.shards.len(), &place)?;
    serve_logged(wanted, &log).inspect_err(|_| log.flush())
}

fn serve_logged(wanted: &Serve, log: &logs::Log) -> Result<ExitCode, Faults> {
    doctor::keep_pages_small();
    doctor::check_ring(wanted.shards.len(), wanted.ring)?;
    doctor::check_processors(&wanted.shards, Path::new(doctor::PROCESSORS))?;
    let sockets = doctor::raise_descriptors(wanted.shards.len())?;
    let connections = doctor::connections_of(sockets);
    if let Some(data) = &wanted.data {
        doctor::check_directory(data).map_err(|wrong| wrong.at(wanted.place("server.data", data.display())))?;
    }
    let (admin_file, socket) = admin_socket(wanted)?.unzip();
    let place = |address: &Address| wanted.place("server.listen", address);
    let all = doctor::listen(&wanted.listen, wanted.shards.len(), wanted.listen_options, &place)?;
    let key = if wanted.auth.has_keys() { None } else { Some(key::obtain(wanted.data.as_deref())?) };
    let mut keys = match &key {
        Some(key) => KeyRing::of(Key::hs256(None, key.secret()), &wanted.auth),
        None => KeyRing::read(&wanted.auth)?,
    };
    let verifier = keys.first()?;
    let signals = drain::signals()?;
    let watchdog = notify::watchdog()?;
    let loopback = all.iter().all(|one| one.address.is_loopback());
    let Places { addresses, files, listeners } = Places::of(all, wanted.shards.len());
    let count = verifier.keys.iter().count();
    let room = reload::connections_max(wanted, connections) as u64;
    let kept = wanted.store.as_ref().map(|store| store.directory.as_path());
    let findings = tuning::findings(room, wanted.shards.len(), kept);
    let resources = engine::Start {
        wanted,
        listeners,
        loopback,
        connections,
        sockets,
        verifier,
        keys,
        findings,
        watchdog,
        log,
        socket,
    };
    let engine = engine::start(resources)?;
    let development = key.as_ref().map(|key| Ok::<_, StartError>((key, token_for_everything(key)?))).transpose()?;
    let keys = match &development {
        Some((key, token)) => greeting::Keys::Development(key, token),
        None => greeting::Keys::Configured(count),
    };
    let greeting =
        greeting::Greeting { addresses: &addresses, shards: &wanted.shards, connections: room, store: kept, keys };
    let _nobody_listens = write!(io::stdout().lock(), "{greeting}");
    warn(wanted, &addresses);
    let listen = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    tracing::info!(listen, shards = wanted.shards.len(), connections = room, echo = wanted.echo, "listening");
    notify::ready(wanted.shards.len(), room);
    let code = drain::wait(signals, engine, log);
    drop(files);
    drop(admin_file);
    Ok(code)
}

/// What is listened on, by shard.
struct Places {
    addresses: Vec<Address>,
    /// The files of Unix sockets, which are removed when these are dropped.
    files: Vec<SocketFile>,
    /// Each shard's, one for each address.
    listeners: Vec<Vec<Listener>>,
}

impl Places {
    fn of(all: Vec<Listening>, shards: usize) -> Self {
        let mut listeners: Vec<Vec<Listener>> = std::iter::repeat_with(Vec::new).take(shards).collect();
        let (mut addresses, mut files) = (Vec::new(), Vec::new());
        for Listening { address, of_shards, file } in all {
            addresses.push(address);
            files.extend(file);
            listeners.iter_mut().zip(of_shards).for_each(|(shard, listener)| shard.push(listener));
        }
        Self { addresses, files, listeners }
    }
}

/// The administration's Unix socket. One that was asked for must be; without the usual one there is no `dump`. Where
/// addresses are shared it is too: who follows takes it over.
fn admin_socket(wanted: &Serve) -> Result<Option<(SocketFile, UnixListener)>, StartError> {
    let Some((path, asked_for)) = &wanted.admin_socket else { return Ok(None) };
    match listen_aside(path, Options { mode: 0o600, ..wanted.listen_options }) {
        Ok(bound) => Ok(Some(bound)),
        Err(error) if *asked_for => {
            let what = format!("the administration's socket cannot be made: {error}");
            let refused = StartError::new(
                what,
                wanted.place("admin.socket", path.display()),
                "give another as admin.socket, or \"off\"",
            );
            Err(if matches!(error, ListenError::InUse(_)) { refused.passing() } else { refused })
        }
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "there is no socket for dump, tail and debug: set admin.socket");
            Ok(None)
        }
    }
}

/// A token for who tries the server out.
fn token_for_everything(key: &key::DevelopmentKey) -> Result<String, StartError> {
    let caps = Some(token::caps_for_everything());
    let request = TokenRequest { user: "developer", ttl_s: START_TOKEN_TTL_S, service: false, caps };
    token::mint(key, &request, admin::unix().as_secs())
}

/// What the operator should know before trusting this server with more than a test.
fn warn(wanted: &Serve, addresses: &[Address]) {
    if wanted.echo {
        tracing::warn!("/echo is served: anybody who reaches it may send 16 MiB messages without authentication");
    }
    if wanted.limits == crate::config::LimitsProfile::Unlimited {
        tracing::warn!("message rates are off");
    }
    if wanted.globetrotter_open {
        tracing::warn!(
            "globetrotter.open: anybody who reaches /api/v1/ws/ is let in without a token, as any user, and may write \
             to every trip"
        );
    }
    for address in addresses.iter().filter(|address| address.tcp().is_some() && !address.is_loopback()) {
        tracing::warn!(%address, "tokens and messages cross the network unencrypted unless a proxy ends TLS before it");
    }
}

/// Prints one token a line. A reader that has seen enough is no fault.
fn tokens(wanted: &Token) -> Result<(), StartError> {
    doctor::check_directory(&wanted.data)?;
    let key = key::obtain_to_sign(&wanted.data)?;
    if let (true, Some(path)) = (key.made, &key.path) {
        // Hardly what was meant where a gateway runs: it has a key, in another directory.
        let _nobody_listens = writeln!(io::stderr().lock(), "made a development key in {}", path.display());
    }
    let now = admin::unix().as_secs();
    let mut out = io::BufWriter::new(io::stdout().lock());
    for user in wanted.users.iter() {
        let request =
            TokenRequest { user: &user, ttl_s: wanted.ttl_s, service: wanted.service, caps: wanted.caps.clone() };
        let token = token::mint(&key, &request, now)?;
        if writeln!(out, "{token}").is_err() {
            return Ok(());
        }
    }
    let _nobody_listens = out.flush();
    Ok(())
}
