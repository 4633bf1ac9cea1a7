//! The configuration read again while the gateway runs: on SIGHUP, when its file or a key's file changes, and the JWK
//! set alone when only that changes.
//!
//! A thread of its own looks at the files, so that no shard ever touches a disk. What it reads is good as a whole or
//! refused as a whole: then what held before stays, a line of the log and a number say so, and it is tried again when one
//! of the files that it names is another, or is there at last. What is good goes to every shard as one set of rules with a higher number, and one of keys if those are
//! others than before; the differences are logged, and of those that wait for the next start it is said.

mod sight;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::key;
use super::keys::{KeyRing, warn_of_weak};
use super::logs::Log;
use super::notify::{self, Outcome};
use crate::auth::{Key, Policy, Verifier};
use crate::config::key::Effect;
use crate::config::{Faults, LimitsProfile, Serve, Settings, Source, StartError};
use crate::ids::ShardId;
use crate::limits::{CONFIG_FAULTS_TOLD_MAX, JWKS_LOOK_MS, MESH_RETRY_MS};
use crate::mesh::{HatchPost, Parcel, Post};
use crate::metrics::{Metric, Metrics};
use crate::shard::message::{Lane, MeshMessage};
use crate::shard::retaining::bounds_of;
use crate::shard::rules::Rules;
use crate::store::Retaining;
use sight::Sight;

/// What the thread is started with.
#[derive(Debug)]
pub(super) struct Start<'a> {
    /// What the gateway was started with.
    pub(super) wanted: &'a Serve,
    /// The log, whose filter may change.
    pub(super) log: Log,
    /// Its keys.
    pub(super) ring: KeyRing,
    /// What was made of them.
    pub(super) verifier: Arc<Verifier>,
    /// How many connections the descriptors allow.
    pub(super) connections: u64,
    /// The way to the shards.
    pub(super) post: Post<Parcel>,
    /// The way to the administration.
    pub(super) policies: HatchPost<Arc<Policy>>,
    /// The way to the store, if there is one.
    pub(super) retaining: Option<Retaining>,
    /// Where it is counted: numbers that no shard writes.
    pub(super) metrics: Arc<Metrics>,
}

/// News for every shard.
#[derive(Debug)]
struct News {
    message: fn(&Reloader) -> Option<MeshMessage>,
    /// Shards that have not been told of the latest, because their lane was full.
    untold: Vec<ShardId>,
}

#[derive(Debug)]
struct Reloader {
    source: Source,
    log: Log,
    data: Option<PathBuf>,
    /// As at the start: what waits for the next one is different from this.
    started: Settings,
    /// As it is in force.
    settings: Settings,
    /// Whether tokens are held against configured keys, not the development key.
    has_keys: bool,
    ring: KeyRing,
    /// The files of the configuration that holds.
    files: Vec<PathBuf>,
    sight: Sight,
    connections: u64,
    post: Post<Parcel>,
    policies: HatchPost<Arc<Policy>>,
    untold_policy: bool,
    retaining: Option<Retaining>,
    untold_store: bool,
    metrics: Arc<Metrics>,
    verifier: Arc<Verifier>,
    rules: Option<Arc<Rules>>,
    /// Counts the rules, from 1. That of the keys is the verifier's, and is another only for other keys: whoever was
    /// let in by these is not asked again.
    generation: u32,
    /// What was last said against the JWK set.
    told: Option<StartError>,
    /// Why the configuration as it stands is refused, if it is.
    refusal: Option<Faults>,
}

/// Starts the thread. Each item that is sent makes it read everything again; it ends when the sender is dropped.
///
/// # Errors
/// The thread cannot be started.
pub(super) fn spawn(start: Start<'_>) -> io::Result<(Sender<()>, JoinHandle<()>)> {
    // One that waits is as good as many.
    let (sender, orders) = bounded(1);
    let mut reloader = Reloader::new(start);
    let thread = thread::Builder::new().name("reload".to_owned()).spawn(move || reloader.run(&orders))?;
    Ok((sender, thread))
}

/// What the shards are told to do, of what the operator wants.
pub(super) fn connections_max(wanted: &Serve, connections: u64) -> usize {
    wanted.connections.unwrap_or(usize::MAX).min(usize::try_from(connections).unwrap_or(usize::MAX))
}

impl Reloader {
    fn new(start: Start<'_>) -> Self {
        let Start { wanted, log, ring, verifier, connections, post, policies, retaining, metrics } = start;
        Self {
            source: wanted.source.clone(),
            log,
            data: wanted.data.clone(),
            started: wanted.settings.clone(),
            settings: wanted.settings.clone(),
            has_keys: wanted.auth.has_keys(),
            sight: Sight::of(files(wanted)),
            files: files(wanted),
            ring,
            connections,
            post,
            policies,
            untold_policy: false,
            retaining,
            untold_store: false,
            metrics,
            verifier,
            rules: None,
            generation: 1,
            told: None,
            refusal: None,
        }
    }

    fn run(&mut self, orders: &Receiver<()>) {
        let message = |reloader: &Self| Some(MeshMessage::Keys(Arc::clone(&reloader.verifier)));
        let mut keys = News { message, untold: Vec::new() };
        let message = |reloader: &Self| reloader.rules.clone().map(MeshMessage::Rules);
        let mut rules = News { message, untold: Vec::new() };
        // Files are looked at as seldom while a shard's queue is full: what is being written needs its time.
        let mut since_look = 0;
        // What the service manager has not been told: it hears the end of a reload when every shard has.
        let mut outcome = None;
        loop {
            let quiet = keys.untold.is_empty() && rules.untold.is_empty() && self.has_told();
            let pause = if quiet { JWKS_LOOK_MS } else { MESH_RETRY_MS };
            let asked = match orders.recv_timeout(Duration::from_millis(pause)) {
                Ok(()) => Some(SIGNAL),
                Err(RecvTimeoutError::Timeout) => {
                    since_look += pause;
                    let due = since_look >= JWKS_LOOK_MS;
                    since_look = if due { 0 } else { since_look };
                    (due && self.sight.has_changed()).then_some("a file changed")
                }
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let before = self.verifier.generation;
            if let Some(cause) = asked {
                notify::reloading();
                outcome = Some(Outcome::Refused);
                if self.read_again(cause) {
                    rules.untold = self.shards();
                    (self.untold_policy, self.untold_store) = (true, self.retaining.is_some());
                    outcome = Some(Outcome::Applied);
                }
            } else if self.ring.set_has_changed() {
                self.read_set_again();
            }
            if self.verifier.generation != before {
                keys.untold = self.shards();
            }
            self.tell(&mut keys);
            self.tell(&mut rules);
            self.tell_administration();
            self.tell_store();
            let told = keys.untold.is_empty() && rules.untold.is_empty() && self.has_told();
            if told && let Some(outcome) = outcome.take() {
                notify::reloaded(outcome);
            }
        }
    }

    fn shards(&self) -> Vec<ShardId> {
        (0..u16::try_from(self.post.shards()).unwrap_or(u16::MAX)).map(ShardId).collect()
    }

    /// Reads everything again. Returns whether it is in force.
    fn read_again(&mut self, cause: &str) -> bool {
        match self.read() {
            Ok((wanted, ring, verifier)) => {
                self.generation += 1;
                if let Err(error) = self.log.set_filter(&wanted.logs.filter) {
                    tracing::error!(error, "the log's filter stays as it was");
                }
                self.tell_changes(cause, &wanted);
                self.rules = Some(Arc::new(self.rules_of(&wanted)));
                (self.ring, self.told) = (ring, None);
                self.take_keys(verifier);
                self.files = files(&wanted);
                self.sight.follow(self.files.clone());
                self.refusal = None;
                (self.settings, self.has_keys) = (wanted.settings, wanted.auth.has_keys());
                self.log.keep_configured("applied");
                self.metrics.count(Metric::ConfigApplied);
                self.metrics.set(Metric::ConfigBad, 0);
                true
            }
            Err(faults) => {
                self.refuse(cause, faults);
                false
            }
        }
    }

    /// What the files say now, as it would hold. Files are looked at before they are read: what is written meanwhile is
    /// a change. Those of keys are followed whatever comes of it, as many as a configuration may name.
    fn read(&mut self) -> Result<(Serve, KeyRing, Verifier), Faults> {
        self.sight.follow(self.files.clone());
        self.sight.look();
        self.whole_file()?;
        let wanted = self.source.load_again(&self.started)?;
        let named = files(&wanted).into_iter().chain(wanted.auth.jwks.iter().map(|file| file.path.clone()));
        self.sight.follow(self.files.iter().cloned().chain(named).collect());
        let mut ring = self.ring_of(&wanted)?;
        let verifier = ring.verifier(self.verifier.generation + 1)?;
        Ok((wanted, ring, verifier))
    }

    /// Whether the file is there to be read. One that is empty is being written, or was lost with a full disk; a pipe has
    /// been read at the start, and would be waited for.
    fn whole_file(&self) -> Result<(), StartError> {
        let Some(path) = self.source.file() else { return Ok(()) };
        let why = match std::fs::metadata(path) {
            Ok(meta) if !meta.is_file() => "this is no regular file, and is read at a start only",
            Ok(meta) if meta.len() == 0 => "the file is empty, which is taken for one that is being written",
            // What cannot be looked at cannot be read either, which says why.
            _ => return Ok(()),
        };
        Err(StartError::new(why, path.display().to_string(), "write it again, at best as another file renamed"))
    }

    fn ring_of(&self, wanted: &Serve) -> Result<KeyRing, Faults> {
        if wanted.auth.has_keys() {
            return KeyRing::read(&wanted.auth);
        }
        if self.has_keys {
            let why = "no keys are configured any more, and all tokens would be refused for the development key's";
            return Err(StartError::new(why, "[auth]", "configure keys or jwks_file, or start anew").into());
        }
        let key = key::obtain(self.data.as_deref())?;
        Ok(KeyRing::of(Key::hs256(None, key.secret()), &wanted.auth))
    }

    fn rules_of(&self, wanted: &Serve) -> Rules {
        Rules {
            generation: self.generation,
            policy: Arc::new(wanted.policy.clone()),
            origins: Arc::new(wanted.origins.clone()),
            limits: wanted.counts,
            unlimited: wanted.limits == LimitsProfile::Unlimited,
            connections_max: connections_max(wanted, self.connections),
            retention: wanted.retention,
            held: wanted.held,
        }
    }

    /// Logs what is different now, and what will be.
    fn tell_changes(&self, cause: &str, wanted: &Serve) {
        let now = self.settings.changes(&wanted.settings).into_iter().filter(|one| one.effect == Effect::Reload);
        let later = self.started.changes(&wanted.settings).into_iter().filter(|one| one.effect == Effect::Restart);
        let (now, later) = (now.collect::<Vec<_>>(), later.collect::<Vec<_>>());
        let generation = self.generation;
        tracing::info!(cause, generation, changed = now.len(), later = later.len(), "the configuration was read again");
        for change in &now {
            tracing::info!("changed: {change}");
        }
        for change in &later {
            tracing::warn!("not changed: {change}");
        }
    }

    /// What was said already is said again to who asks only: a file may change often and be wrong as before.
    fn refuse(&mut self, cause: &str, faults: Faults) {
        self.log.keep_configured("refused");
        self.metrics.count(Metric::ConfigRefused);
        self.metrics.set(Metric::ConfigBad, 1);
        if cause == SIGNAL || self.refusal.as_ref() != Some(&faults) {
            Self::tell_refusal(cause, &faults);
        }
        self.refusal = Some(faults);
    }

    fn tell_refusal(cause: &str, faults: &Faults) {
        let count = faults.0.len();
        tracing::error!(cause, faults = count, "the configuration is refused whole, what held before stays");
        for fault in faults.0.iter().take(CONFIG_FAULTS_TOLD_MAX) {
            tracing::error!(place = fault.place, remedy = fault.remedy, "{}", fault.what);
        }
    }

    /// Other keys hold from now on, unless they are those that hold.
    fn take_keys(&mut self, verifier: Verifier) {
        if !verifier.judges_like(&self.verifier) {
            warn_of_weak(&verifier);
            self.verifier = Arc::new(verifier);
        }
    }

    /// Reads the JWK set again.
    fn read_set_again(&mut self) {
        match self.ring.verifier(self.verifier.generation + 1) {
            Ok(verifier) => {
                self.take_keys(verifier);
                let (generation, keys) = (self.verifier.generation, self.verifier.keys.iter().count());
                tracing::info!(generation, keys, "the JWK set was read again");
                self.told = None;
            }
            // One that cannot be read is tried again each time, but it is the same news.
            Err(error) if self.told.as_ref() == Some(&error) => {}
            Err(error) => {
                let StartError { what, place, remedy, .. } = &error;
                tracing::error!(place, remedy, error = what, "the JWK set is refused, the keys before it stay");
                self.told = Some(error);
            }
        }
    }

    fn tell(&self, news: &mut News) {
        let News { message, untold } = news;
        untold.retain(|&shard| {
            let Some(message) = message(self) else { return false };
            let put = self.post.try_put(shard, Lane::Control, Parcel::Message(message)).is_ok();
            self.post.wake(shard);
            !put
        });
    }

    /// Whether everybody but the shards has heard of the latest.
    const fn has_told(&self) -> bool {
        !self.untold_policy && !self.untold_store
    }

    /// The store hears what it retains, also where that is as before: it looks once more at what is over it.
    fn tell_store(&mut self) {
        if let (Some(rules), Some(retaining), true) = (&self.rules, &self.retaining, self.untold_store) {
            let bounds = bounds_of(Arc::clone(&rules.policy), rules.retention);
            self.untold_store = retaining.try_put(bounds).is_err();
        }
    }

    fn tell_administration(&mut self) {
        if let Some(rules) = self.rules.as_ref().filter(|_| self.untold_policy) {
            self.untold_policy = self.policies.try_put(Arc::clone(&rules.policy)).is_err();
        }
    }
}

/// Why everything is read again when somebody asks for it.
const SIGNAL: &str = "SIGHUP";

/// The files that make everything to be read again: the configuration's, and those of keys.
fn files(wanted: &Serve) -> Vec<PathBuf> {
    let keys = wanted.auth.keys.iter().map(|key| key.file.path.clone());
    wanted.source.file().map(Into::into).into_iter().chain(keys).collect()
}

#[cfg(test)]
mod tests;
