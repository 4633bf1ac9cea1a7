//! The layers, read and laid over each other, become a gateway that could be run. The same at the start and each time
//! the configuration is read again.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::Deserialize as _;
use toml::Value;

use super::checked::{
    AuditTo, Auth, Environment, KeyFile, LimitsProfile, LogFormat, Logs, Machine, NOWHERE, Serve, Store, data_directory,
};
use super::desk;
use super::file::{self, File, limits::Profile, log::Format};
use super::layers::{Entry, Origin, Settings};
use super::named::NamedFile;
use super::read::{self, Read};
use super::table;
use super::units::CpuList;
use super::written::{LimitsWritten, ServeArgs};
use super::{Faults, StartError};
use crate::auth::{Policy, PolicyRow};
use crate::limits::{
    LISTEN_COUNT_MAX, RECORDER_BYTES_DEFAULT, RECORDER_BYTES_MIN, SHARDS_COUNT_MAX, STORE_CACHE_BYTES_DEFAULT,
    STORE_READERS_DEFAULT, STORE_WINDOW_MS_DEFAULT,
};
use crate::room::history::{Held, Retention};
use crate::runtime::address::Address;
use crate::runtime::ring::RingSizes;
use crate::wire::proxy::Proxies;
use crate::wire::upgrade::Origins;

/// Where the configuration stands: what was typed, and what was around.
#[derive(Clone, Debug)]
pub struct Source {
    args: ServeArgs,
    environment: Environment,
    machine: Machine,
}

impl Source {
    pub(super) const fn new(args: ServeArgs, environment: Environment, machine: Machine) -> Self {
        Self { args, environment, machine }
    }

    /// The file, if there is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.args.config.as_deref()
    }

    /// Whether this runs within a unit of systemd, as its user and with the directories that it makes.
    #[must_use]
    pub const fn is_in_unit(&self) -> bool {
        self.environment.state_directory.is_some() || self.environment.runtime_directory.is_some()
    }

    /// Reads the configuration.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(&self) -> Result<Serve, Faults> {
        let (settings, mut faults) = self.layers()?;
        let file = file_of(&settings)?;
        let serve = Laid { source: self, settings: &settings, file, faults: &mut faults }.serve();
        match serve {
            Some(serve) if faults.is_empty() => Ok(Serve { settings, ..serve }),
            _ => Err(Faults(faults)),
        }
    }

    /// Reads the configuration for a gateway that runs since it was started with these settings. It has to be good for
    /// the next start, and so has what holds until then.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load_again(&self, started: &Settings) -> Result<Serve, Faults> {
        let serve = self.load()?;
        let (settings, mut faults) = (serve.settings.until_restart(started), Vec::new());
        let file = file_of(&settings)?;
        Laid { source: self, settings: &settings, file, faults: &mut faults }.contradictions();
        if faults.is_empty() {
            return Ok(serve);
        }
        for fault in &mut faults {
            fault.remedy +=
                "; what CONFIG.md marks \"start\" holds as it was at the start of the gateway until the next";
        }
        Err(Faults(faults))
    }

    fn layers(&self) -> Result<(Settings, Vec<StartError>), StartError> {
        let mut reads: Vec<Read> = Vec::new();
        if let Some(path) = self.file() {
            reads.push(read::file(&file::text(path)?, &path.display().to_string()));
        }
        reads.extend(self.variables());
        reads.extend(self.args.set.iter().map(|text| read::assignment(text)));
        let (mut settings, mut faults) = (Settings::default(), Vec::new());
        for read in reads {
            faults.extend(read.faults);
            read.entries.into_iter().for_each(|entry| settings.set(entry));
        }
        self.flags().into_iter().for_each(|entry| settings.set(entry));
        Ok((settings, faults))
    }

    fn variables(&self) -> Vec<Read> {
        let short = [("WAYSTATION_LOG", "log.filter", &self.environment.log)];
        let short = short.into_iter().chain([("WAYSTATION_LOG_FORMAT", "log.format", &self.environment.log_format)]);
        let short = short.filter_map(|(name, path, text)| {
            let text = text.as_deref()?.to_string_lossy();
            Some(read::value(table::find(path)?, &text, &Origin::Variable(name.to_owned())))
        });
        let ours = self.environment.settings.iter();
        let ours = ours.map(|(name, text)| read::variable(&name.to_string_lossy(), &text.to_string_lossy()));
        short.chain(ours).collect()
    }

    /// What has a flag of its own, which has judged it.
    fn flags(&self) -> Vec<Entry> {
        let args = &self.args;
        let profile = args.limits.map(|limits| match limits {
            LimitsWritten::Default => "default",
            LimitsWritten::Unlimited => "unlimited",
        });
        let text = |value: Option<String>| value.map(Value::String);
        let listen = || Value::Array(args.listen.iter().map(|at| Value::String(at.to_string())).collect());
        let number = |value: Option<i64>| value.map(Value::Integer);
        let all = [
            ("server.listen", "--listen", (!args.listen.is_empty()).then(listen)),
            ("server.data", "--data", text(args.data.as_ref().map(|data| data.to_string_lossy().into_owned()))),
            ("server.shards", "--shards", number(args.shards.map(i64::from))),
            ("server.cpus", "--cpus", text(args.cpus.clone())),
            ("server.echo", "--echo", args.echo.then_some(Value::Boolean(true))),
            ("server.spin_us", "--spin-us", number(args.spin_us.map(i64::from))),
            ("limits.profile", "--limits", text(profile.map(str::to_owned))),
        ];
        let entry = |(path, flag, value): (&str, &str, Option<Value>)| {
            let origin = Origin::Flag(flag.to_owned());
            Some(Entry { key: table::find(path)?, value: value?, origin, rows: Vec::new() })
        };
        all.into_iter().filter_map(entry).collect()
    }
}

/// The settings as a document of the file's form.
fn file_of(settings: &Settings) -> Result<File, StartError> {
    File::deserialize(Value::Table(settings.document())).map_err(|error| {
        StartError::new(error.to_string(), "the table of keys", "report this: the value was judged good before")
    })
}

/// All layers as one, and what is still found wrong with them.
struct Laid<'a> {
    source: &'a Source,
    settings: &'a Settings,
    file: File,
    faults: &'a mut Vec<StartError>,
}

impl Laid<'_> {
    /// `None` only if something is wrong.
    fn serve(mut self) -> Option<Serve> {
        self.contradictions();
        let policy = self.policy();
        let auth = self.auth();
        let keeps = self.file.server.data.as_deref() != Some(Path::new(NOWHERE));
        let data = keeps.then(|| self.data());
        let store = self.store(data.as_ref().and_then(Option::as_deref));
        let audit = self.audit();
        let admin_socket = self.admin_socket(data.as_ref().and_then(Option::as_deref));
        let shards = self.placed();
        let recorder_bytes = self.recorder();
        let listen = self.listen();
        self.one_socket_for_one_thing(listen.as_deref().unwrap_or_default(), admin_socket.as_ref());
        let origins = Origins::new(&self.file.origins.allowed);
        let mut origins = self.or_fault("origins.allowed", origins)?;
        origins.require_origin = self.file.origins.required;
        let proxies = Proxies::new(&self.file.proxies.trusted, self.file.proxies.protocol);
        let proxies = self.or_fault("proxies.trusted", proxies);
        let file = &self.file;
        let (retention, held) = (Retention::default(), Held::default());
        Some(Serve {
            listen: listen?,
            listen_options: file.server.listen_options(),
            data: match data {
                Some(found) => Some(found?),
                None => None,
            },
            store,
            shards: shards?,
            limits: match file.limits.profile {
                Some(Profile::Unlimited) => LimitsProfile::Unlimited,
                Some(Profile::Default) | None => LimitsProfile::Default,
            },
            echo: file.server.echo,
            spin_us: file.server.spin_us,
            ring: RingSizes::default(),
            logs: Logs {
                format: match file.log.format {
                    Some(Format::Json) => LogFormat::Json,
                    Some(Format::Logfmt) => LogFormat::Logfmt,
                    Some(Format::Text) | None => LogFormat::Text,
                },
                filter: file.log.filter.clone().unwrap_or_else(|| "info".to_owned()),
                audit: audit?,
            },
            auth: auth?,
            origins,
            policy: policy?,
            admin_loopback: file.admin.loopback,
            admin_socket,
            recorder_bytes: recorder_bytes?,
            retention: Retention {
                count: file.history.events.unwrap_or(retention.count),
                bytes: file.history.bytes.unwrap_or(retention.bytes),
                age_ms: file.history.age.map_or(retention.age_ms, |seconds| seconds * 1000),
            },
            held: Held {
                count: file.history.memory_events.unwrap_or(held.count),
                bytes: file.history.memory_bytes.unwrap_or(held.bytes),
            },
            globetrotter_open: file.globetrotter.open,
            proxies: proxies?,
            counts: file.limits.usable(),
            connections: file.limits.connections,
            source: self.source.clone(),
            settings: Settings::default(),
        })
    }

    fn fault(&mut self, what: impl Into<String>, place: impl Into<String>, remedy: impl Into<String>) {
        self.faults.push(StartError::new(what, place, remedy));
    }

    /// What the list of a key is together. Its entries were judged, so only their number could be wrong.
    fn or_fault<T>(&mut self, path: &str, outcome: Result<T, String>) -> Option<T> {
        let place = self.settings.origin(path).to_string();
        outcome.map_err(|what| self.fault(format!("`{path}`: {what}"), place, "mend the list")).ok()
    }

    /// Keys that are good alone and not together.
    fn contradictions(&mut self) {
        let (file, at) = (&self.file, |path| self.settings.origin(path));
        if file.globetrotter.open && file.auth.require_caps {
            let place = format!("{} and {}", at("globetrotter.open"), at("auth.require_caps"));
            let what = "`globetrotter.open` = true and `auth.require_caps` = true: \
                        who brings no token has no caps and could do nothing";
            return self.fault(what, place, "leave one of the two out");
        }
        let named = ["auth.issuer", "auth.audience"].into_iter().find(|path| at(path) != Origin::Default);
        let no_key = file.auth.keys.is_empty() && file.auth.jwks_file.is_none();
        // Keys with a fault of their own are missing here.
        if let Some(path) = named.filter(|_| no_key && self.faults.is_empty()) {
            let place = at(path).to_string();
            let what = format!("`{path}` is asked for, and the development key's tokens have none");
            self.fault(what, place, "configure auth.keys or auth.jwks_file, or take it out");
        }
    }

    fn policy(&mut self) -> Option<Policy> {
        let rows: Vec<PolicyRow> = self.file.policy.iter().map(file::policy::Row::usable).collect();
        match Policy::with_rows(&rows) {
            Ok(policy) => Some(if self.file.auth.require_caps { policy.requiring_caps() } else { policy }),
            Err(what) => {
                let twice = rows
                    .iter()
                    .enumerate()
                    .position(|(index, row)| rows.iter().take(index).any(|earlier| earlier.pattern == row.pattern));
                let place = self.settings.row("policy", twice.unwrap_or(0)).to_string();
                self.fault(format!("`policy`: {what}"), place, "make one row of the two");
                None
            }
        }
    }

    fn auth(&mut self) -> Option<Auth> {
        let file::auth::Auth { issuer, audience, keys, jwks_file, require_caps: _ } = self.file.auth.clone();
        let before = self.faults.len();
        let mut files = Vec::new();
        for (index, key) in keys.into_iter().enumerate() {
            let origin = self.settings.row("auth.keys", index);
            let name = if key.algorithm.is_shared() { "auth.keys.secret_file" } else { "auth.keys.public_key_file" };
            if let Some(file) = self.named(key.file, name, origin) {
                files.push(KeyFile { id: key.id, algorithm: key.algorithm, file });
            }
        }
        let origin = self.settings.origin("auth.jwks_file");
        let jwks = jwks_file.and_then(|path| self.named(path, "auth.jwks_file", origin));
        (self.faults.len() == before).then_some(Auth { issuer, audience, keys: files, jwks })
    }

    /// A file that is read for a key, with who named it.
    fn named(&mut self, written: PathBuf, key: &'static str, origin: Origin) -> Option<NamedFile> {
        let path = self.resolved(written.clone(), &origin)?;
        let file = NamedFile::new(path, key, origin);
        Some(if written.starts_with(CREDENTIALS) { file.written(written) } else { file })
    }

    /// Where a path leads: in a file it is relative to the file's directory, wherever the gateway is started.
    fn resolved(&mut self, path: PathBuf, origin: &Origin) -> Option<PathBuf> {
        if let Ok(name) = path.strip_prefix(CREDENTIALS) {
            let directory = self.source.environment.credentials_directory.as_deref();
            if directory.is_none() {
                let what = format!("{} is not there: the variable is not set", path.display());
                let remedy = "name the credential in the unit, as in LoadCredential=token.key:/etc/waystation/token.key, \
                              or write another path; outside of the unit say where its file is, as in \
                              CREDENTIALS_DIRECTORY=/etc/waystation waystation config check -c FILE";
                self.fault(what, origin.to_string(), remedy);
            }
            return directory.map(|directory| Path::new(directory).join(name));
        }
        Some(match origin {
            Origin::File { .. } => match self.source.file().and_then(Path::parent) {
                Some(directory) => directory.join(path),
                None => path,
            },
            _ => path,
        })
    }

    fn data(&mut self) -> Option<PathBuf> {
        let given = match self.file.server.data.clone() {
            Some(path) => Some(self.resolved(path, &self.settings.origin("server.data"))?),
            None => None,
        };
        data_directory(given, &self.source.environment).map_err(|error| self.faults.push(error)).ok()
    }

    /// What outlives the gateway: nothing, if that was asked for, or if nothing is kept and nobody said where.
    fn store(&mut self, data: Option<&Path>) -> Option<Store> {
        let file::store::Store { directory, window_ms, cache_bytes, readers } = self.file.store.clone();
        let directory = match directory {
            Some(path) if path == Path::new(NOWHERE) => return None,
            Some(path) => self.resolved(path, &self.settings.origin("store.directory"))?,
            None => data?.join("store"),
        };
        Some(Store {
            directory,
            window_ms: window_ms.unwrap_or(STORE_WINDOW_MS_DEFAULT),
            cache_bytes: cache_bytes.unwrap_or(STORE_CACHE_BYTES_DEFAULT),
            readers: readers.unwrap_or(STORE_READERS_DEFAULT),
        })
    }

    /// Where to listen. Two addresses that a connection could be for either of are a mistake: the second adds nothing.
    fn listen(&mut self) -> Option<Vec<Address>> {
        let Some(written) = &self.file.server.listen else { return Some(vec![LISTEN_DEFAULT]) };
        let outcome = written.iter().map(|text| text.parse::<Address>()).collect::<Result<Vec<_>, _>>();
        let listen = self.or_fault("server.listen", outcome)?;
        let place = self.settings.origin("server.listen").to_string();
        if listen.len() > LISTEN_COUNT_MAX {
            let what = format!("`server.listen`: {} addresses are over {LISTEN_COUNT_MAX}", listen.len());
            self.fault(what, place, "take some out");
            return None;
        }
        let mut pairs =
            listen.iter().enumerate().flat_map(|(at, one)| listen[..at].iter().map(move |other| (one, other)));
        if let Some((one, other)) = pairs.find(|(one, other)| one.overlaps(other)) {
            let what = format!("`server.listen`: {one} is for the same connections as {other}");
            self.fault(what, place, "leave one of the two out");
            return None;
        }
        Some(listen)
    }

    /// Where it is kept who came and went.
    fn audit(&mut self) -> Option<AuditTo> {
        match self.file.audit.to.clone() {
            None => Some(AuditTo::Nowhere),
            Some(path) if path == Path::new("off") => Some(AuditTo::Nowhere),
            Some(path) if path == Path::new("log") => Some(AuditTo::Log),
            Some(path) => self.resolved(path, &self.settings.origin("audit.to")).map(AuditTo::File),
        }
    }

    /// Where the administration's Unix socket is to be, and whether somebody has said so.
    fn admin_socket(&mut self, data: Option<&Path>) -> Option<(PathBuf, bool)> {
        match self.file.admin.socket.clone() {
            Some(path) if path == Path::new("off") => None,
            Some(path) => self.resolved(path, &self.settings.origin("admin.socket")).map(|path| (path, true)),
            None => Some((desk::usual_socket(data?, &self.source.environment), false)),
        }
    }

    /// The administration's socket is none that clients come by.
    fn one_socket_for_one_thing(&mut self, listen: &[Address], admin_socket: Option<&(PathBuf, bool)>) {
        let Some((admin, _)) = admin_socket else { return };
        if !listen.iter().any(|address| matches!(address, Address::Unix(path) if path == admin)) {
            return;
        }
        let at = |path| self.settings.origin(path);
        let place = format!("{} and {}", at("server.listen"), at("admin.socket"));
        let what = format!("`server.listen` and `admin.socket` are both {}", admin.display());
        self.fault(what, place, "give one of the two another path");
    }

    /// Bytes of a shard's recorder. What is neither none nor enough for one is no wish for none.
    fn recorder(&mut self) -> Option<usize> {
        let bytes = self.file.recorder.bytes.unwrap_or(RECORDER_BYTES_DEFAULT);
        if (1..RECORDER_BYTES_MIN).contains(&bytes) {
            let what = format!("`recorder.bytes` = {bytes}: this is too small for a recorder");
            let place = self.settings.origin("recorder.bytes").to_string();
            self.fault(what, place, format!("write at least {RECORDER_BYTES_MIN}, or 0 for none"));
            return None;
        }
        Some(bytes)
    }

    /// Which shard runs where.
    fn placed(&mut self) -> Option<Vec<Option<usize>>> {
        let cpus = self.file.server.cpus.as_deref().and_then(|text| text.parse::<CpuList>().ok()).map(|list| list.0);
        let places = ["server.shards", "server.cpus"].map(|path| self.settings.origin(path).to_string());
        let placed = placed(self.file.server.shards, cpus, &self.source.machine, &places);
        placed.map_err(|error| self.faults.push(error)).ok()
    }
}

/// What stands before the name of a credential.
const CREDENTIALS: &str = "$CREDENTIALS_DIRECTORY";
const LISTEN_DEFAULT: Address = Address::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8000));

/// Without a list of processors the shards are pinned only if there is one for each processor
/// and no quota: two gateways with fewer shards would otherwise sit on the same first processors.
fn placed(
    count: Option<u16>,
    cpus: Option<Vec<usize>>,
    machine: &Machine,
    [of_shards, of_cpus]: &[String; 2],
) -> Result<Vec<Option<usize>>, StartError> {
    if let Some(cpus) = cpus {
        if let Some(missing) = cpus.iter().find(|cpu| !machine.cpus.contains(cpu)) {
            return Err(StartError::new(
                format!("processor {missing} is not one that this process may use, which are {:?}", machine.cpus),
                of_cpus.clone(),
                "name others, or widen the affinity mask (taskset, AllowedCPUs=, cpuset)",
            ));
        }
        let count = count.map_or(cpus.len(), usize::from);
        if count != cpus.len() || count > usize::from(SHARDS_COUNT_MAX) {
            return Err(StartError::new(
                format!("{count} shards and a list of {} to pin them to", cpus.len()),
                format!("{of_shards} and {of_cpus}"),
                format!("give as many processors as shards, at most {SHARDS_COUNT_MAX}, or leave the shards out"),
            ));
        }
        return Ok(cpus.into_iter().map(Some).collect());
    }
    let count = count.map_or_else(|| machine.parallelism.min(usize::from(SHARDS_COUNT_MAX)), usize::from).max(1);
    if count == machine.cpus.len() && machine.parallelism == machine.cpus.len() {
        return Ok(machine.cpus.iter().copied().map(Some).collect());
    }
    Ok(vec![None; count])
}

#[cfg(test)]
mod tests;
