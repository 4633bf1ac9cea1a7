//! The threads that run the gateway, as one thing that can be told to drain and waited for.

use std::fmt;
use std::io;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use super::flight::Flight;
use super::keys::KeyRing;
use super::logs::Log;
use super::notify;
use super::reload;
use super::store::refused;
use crate::admin::{self, GiveBackup, Tools};
use crate::auth::{Policy, Verifier};
use crate::config::{LimitsProfile, Serve, StartError};
use crate::ids::ShardId;
use crate::ledger::State;
use crate::limits::{
    ADMIN_QUESTIONS_MAX, ADMIN_QUEUED_COUNT_MAX, AUDIT_ENTRIES_PER_TURN_MAX, CHANNELS_PER_SHARD_MAX, DRAIN_PUT_TRIES,
    HISTORY_SHARD_BYTES_MAX, HOT_MEMBERS, REPLAY_BYTES_PER_TURN,
};
use crate::mesh::{AdminJob, Capacities, HatchPost, Mesh, Parcel, StoreLink, hatch};
use crate::metrics::Metrics;
use crate::metrics::store::StoreNumbers;
use crate::recorder::Ring;
use crate::runtime::listen::Listener;
use crate::runtime::{self, Seat};
use crate::shard::message::Lane;
use crate::shard::message::outside::Answered;
use crate::shard::retaining::bounds_of;
use crate::shard::{self, Shard};
use crate::store::{self, Backups, Retaining};
use crate::time::Now;

/// Waits for a thread's end; what went wrong in it, if anything did.
type Join = Box<dyn FnOnce() -> Result<(), String> + Send>;

/// Tells every shard to see its connections off within so many milliseconds, and lets go of what keeps
/// the watchdog waiting.
type Drain = Box<dyn FnOnce(u64) + Send>;

/// One thread of the engine.
pub(super) struct Member {
    /// What it is called in a log line.
    pub(super) name: String,
    /// Waits for its end.
    pub(super) join: Join,
    /// What it means if a drain is over and it goes on.
    pub(super) awaited: Awaited,
}

/// What it means if a thread goes on after the drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    /// That it hangs.
    ToTheEnd,
    /// That somebody else does not take what it has to say: its end is not waited for.
    InTime,
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Member").field(&self.name).finish()
    }
}

/// Everything that runs beside the main thread.
pub(super) struct Engine {
    /// The threads: shards, then what serves them.
    pub(super) members: Vec<Member>,
    /// To be called once.
    pub(super) drain: Drain,
    /// An item makes the configuration to be read again. To be dropped before the drain.
    pub(super) reload: Sender<()>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("members", &self.members).finish_non_exhaustive()
    }
}

/// What the shards are started with.
#[derive(Debug)]
pub(super) struct Start<'a> {
    /// What the operator asked for.
    pub(super) wanted: &'a Serve,
    /// Each shard's listeners, one for each address.
    pub(super) listeners: Vec<Vec<Listener>>,
    /// Whether all those addresses can be reached from this machine only.
    pub(super) loopback: bool,
    /// How many connections the process takes.
    pub(super) connections: u64,
    /// What tokens are held against.
    pub(super) verifier: Verifier,
    /// What it was made of.
    pub(super) keys: KeyRing,
    /// How many sockets its descriptors allow: more, so that it can answer who finds no place.
    pub(super) sockets: u64,
    /// What the doctor finds on this machine, the worst first.
    pub(super) findings: Vec<admin::Finding>,
    /// What is said.
    pub(super) log: &'a Log,
    /// Where the administration's Unix socket listens.
    pub(super) socket: Option<UnixListener>,
    /// How often the service manager wants to hear that every shard turns.
    pub(super) watchdog: Option<Duration>,
}

/// Starts every thread. What they need was checked before.
pub(super) fn start(start: Start<'_>) -> Result<Engine, StartError> {
    let metrics: Vec<Arc<Metrics>> = start.listeners.iter().map(|_| Metrics::shared()).collect();
    let count = u16::try_from(start.listeners.len()).unwrap_or(u16::MAX);
    let mesh = Mesh::new(count, Capacities::for_shards(start.listeners.len())).map_err(|error| failed(&error))?;
    let store = start_store(start.wanted, count, &mesh)?;
    let options = shard_options(&start, count, store.state.as_ref())?;
    let started = now();
    let (post, inbox) = hatch::<AdminJob>(ADMIN_QUEUED_COUNT_MAX).map_err(|error| failed(&error))?;
    let (answers, answered) = hatch::<Answered>(ADMIN_QUESTIONS_MAX).map_err(|error| failed(&error))?;
    let (policies, changed) = hatch::<Arc<Policy>>(1).map_err(|error| failed(&error))?;
    let rings = rings(start.wanted, start.listeners.len());
    let tools = desk_tools(&start, started, rings.clone().into(), store.backups);
    let admin = admin::Options {
        desk: start.socket.map(|socket| (socket, tools)),
        policies: changed,
        metrics: metrics.clone(),
        policy: Arc::clone(&options.policy),
        key: options.key,
        loopback: start.wanted.admin_loopback,
        lost: start.log.lost().clone(),
        audit: start.log.audit().cloned(),
        post: mesh.post(ShardId::OUTSIDE),
        known: admin::Known {
            started,
            cpus: start.wanted.shards.clone(),
            traffic: mesh.traffic(),
            findings: start.findings,
            store: store.numbers,
        },
    };
    let executor = admin::spawn(inbox, answered, admin).map_err(|error| failed(&error))?;
    let watchdog = start.watchdog;
    let again = reload::Start {
        wanted: start.wanted,
        log: start.log.clone(),
        ring: start.keys,
        verifier: Arc::clone(&options.verifier),
        connections: start.connections,
        // A number beyond the shards: this thread is none.
        post: mesh.post(ShardId(count)),
        policies,
        retaining: store.retaining,
        metrics: metrics.first().map_or_else(Metrics::shared, Arc::clone),
    };
    let (reload, reloading) = reload::spawn(again).map_err(|error| failed(&error))?;
    let shards = Shards {
        wanted: start.wanted,
        log: start.log,
        listeners: start.listeners,
        mesh,
        options,
        started,
        rings,
        links: store.links,
    };
    let (mut members, drain) = start_shards(shards, &metrics, (&post, &answers))?;
    members.extend(store.member);
    members.push(Member { name: "reload".to_owned(), join: joined(reloading), awaited: Awaited::ToTheEnd });
    let join: Join = Box::new(move || executor.join().map_err(|error| error.to_string()));
    members.push(Member { name: "admin".to_owned(), join, awaited: Awaited::InTime });
    let Some(period) = watchdog else { return Ok(Engine { members, drain, reload }) };
    let (keep_watching, watching) = notify::watch(period, metrics).map_err(|error| failed(&error))?;
    members.push(Member { name: "watchdog".to_owned(), join: joined(watching), awaited: Awaited::ToTheEnd });
    let drain: Drain = Box::new(move |window_ms| {
        drop(keep_watching);
        drain(window_ms);
    });
    Ok(Engine { members, drain, reload })
}

fn failed(error: &io::Error) -> StartError {
    StartError::new(format!("a thread cannot be started: {error}"), "the system", "see OPERATIONS.md, limits").passing()
}

/// What the shards are made of.
struct Shards<'a> {
    wanted: &'a Serve,
    log: &'a Log,
    listeners: Vec<Vec<Listener>>,
    mesh: Mesh<Parcel>,
    options: shard::Options,
    started: Instant,
    /// Empty without recorders.
    rings: Vec<Arc<Ring>>,
    /// Empty without a store.
    links: Vec<StoreLink>,
}

/// Starts the shards, each where it is placed, and gives the way to tell them to drain. A shard's post to
/// the administration goes with its thread.
fn start_shards(
    shards: Shards<'_>,
    metrics: &[Arc<Metrics>],
    (post, answers): (&HatchPost<AdminJob>, &HatchPost<Answered>),
) -> Result<(Vec<Member>, Drain), StartError> {
    let Shards { wanted, log, listeners, mut mesh, options, started, rings, links } = shards;
    let mut links = links.into_iter();
    let count = u16::try_from(listeners.len()).unwrap_or(u16::MAX);
    // A number beyond the shards: the main thread is none.
    let outside = mesh.post(ShardId(count));
    let mut members = Vec::new();
    let metrics_of_all = metrics;
    let seats = listeners.into_iter().zip(&wanted.shards).zip(metrics);
    for (id, ((listeners, cpu), metrics)) in (0..count).map(ShardId).zip(seats) {
        let Some(mesh) = mesh.take_end(id) else { continue };
        let seat = Seat {
            options: runtime::Options {
                shard: id,
                cpu: *cpu,
                spin_us: wanted.spin_us,
                sizes: wanted.ring,
                started,
                sharing: wanted.listen_options.sharing,
            },
            listeners,
            mesh,
            admin: Some(post.clone()),
            answers: Some(answers.clone()),
            audit: log.audit_of(id),
            store: links.next(),
            metrics: Arc::clone(metrics),
        };
        let (options, metrics, peers) = (options.clone(), Arc::clone(metrics), metrics_of_all.to_vec());
        let ring = rings.get(id.index()).map(Arc::clone);
        let build = move || {
            let mut shard = Shard::new(id, options, metrics, Now::default());
            shard.set_peers(peers);
            shard.set_recorder(ring);
            shard
        };
        let thread = runtime::spawn(seat, build).map_err(|error| failed(&error))?;
        let join: Join = Box::new(move || match thread.join() {
            Ok(ended) => ended.map_err(|error| error.to_string()),
            Err(_panicked) => Err("it panicked".to_owned()),
        });
        members.push(Member { name: format!("shard-{}", id.0), join, awaited: Awaited::ToTheEnd });
    }
    let drain: Drain = Box::new(move |window_ms| {
        for shard in (0..count).map(ShardId) {
            // A control lane that stays full belongs to a shard that no longer turns; the health check shows it.
            let put = (0..DRAIN_PUT_TRIES).any(|_| {
                let put = outside.try_put(shard, Lane::Control, Parcel::Drain { window_ms }).is_ok();
                outside.wake(shard);
                if !put {
                    std::thread::yield_now();
                }
                put
            });
            if !put {
                tracing::error!(shard = shard.0, "the shard takes no order to drain");
            }
        }
    });
    Ok((members, drain))
}

/// Waits for the end of a thread that cannot fail, only panic.
fn joined(thread: JoinHandle<()>) -> Join {
    Box::new(move || thread.join().map_err(|_panicked| "it panicked".to_owned()))
}

/// What there is of a store; nothing if there is none.
#[derive(Default)]
struct Kept {
    state: Option<State>,
    numbers: Option<Arc<StoreNumbers>>,
    backups: Option<Backups>,
    retaining: Option<Retaining>,
    links: Vec<StoreLink>,
    member: Option<Member>,
}

/// Opens the store, if there is to be one. A shard is woken for it as for the mesh.
fn start_store(wanted: &Serve, shards: u16, mesh: &Mesh<Parcel>) -> Result<Kept, StartError> {
    let Some(store) = &wanted.store else { return Ok(Kept::default()) };
    let options = store::Options {
        directory: store.directory.clone(),
        window: Duration::from_millis(store.window_ms),
        cache_bytes: store.cache_bytes,
        readers: store.readers,
        shards,
        bounds: bounds_of(Arc::new(wanted.policy.clone()), wanted.retention),
    };
    // A number beyond the shards: the store's threads are none.
    let post = mesh.post(ShardId(shards));
    let wake = Arc::new(move |shard| {
        let _was_asleep = post.wake(shard);
    });
    let mending = notify::mending().map_err(|error| failed(&error))?;
    let store = store::start(&options, wake).map_err(|fault| {
        let error = refused(&fault);
        let place = wanted.place("store.directory", &error.place);
        error.at(place)
    })?;
    drop(mending);
    let (state, numbers, backups) = (store.state, Arc::clone(&store.numbers), store.backups.clone());
    let retaining = Some(store.retaining.clone());
    let (links, ending) = store.split();
    // It ends when the last shard has, once everything that they put is on the disk.
    let join: Join = Box::new(move || ending.wait().map_err(|stopped| stopped.to_string()));
    let member = Member { name: "store".to_owned(), join, awaited: Awaited::ToTheEnd };
    Ok(Kept {
        state: Some(state),
        numbers: Some(numbers),
        backups: Some(backups),
        retaining,
        links,
        member: Some(member),
    })
}

/// What is asked for over the administration's socket, and the file that a signal asks for.
fn desk_tools(start: &Start<'_>, started: Instant, rings: Arc<[Arc<Ring>]>, backups: Option<Backups>) -> Tools {
    start.log.set_flight(Flight::new(Arc::clone(&rings), start.wanted.data.as_deref()));
    let (log, set_filter) = (start.log.debug_post().clone(), start.log.filter_setter());
    Tools { rings, started, log, set_filter, give_backup: give_backup(backups) }
}

fn give_backup(backups: Option<Backups>) -> GiveBackup {
    let none = "it keeps no history on a disk";
    Box::new(move |to| backups.as_ref().map_or(Err(none), |backups| backups.begin(to)).map_err(ToOwned::to_owned))
}

fn shard_options(start: &Start<'_>, shards: u16, store: Option<&State>) -> Result<shard::Options, StartError> {
    let mut key = [0; 16];
    getrandom::fill(&mut key).map_err(|error| failed(&io::Error::other(error)))?;
    Ok(shard::Options {
        shards,
        key,
        operations: store.map_or(key, |store| store.key),
        verifier: Arc::new(start.verifier.clone()),
        policy: Arc::new(start.wanted.policy.clone()),
        origins: Arc::new(start.wanted.origins.clone()),
        proxies: Arc::new(start.wanted.proxies.clone()),
        loopback: start.loopback,
        echo: start.wanted.echo,
        globetrotter_open: start.wanted.globetrotter_open,
        admin_loopback: start.wanted.admin_loopback,
        unlimited: start.wanted.limits == LimitsProfile::Unlimited,
        limits: start.wanted.counts,
        population: Arc::default(),
        connections_max: reload::connections_max(start.wanted, start.connections),
        sockets_max: usize::try_from(start.sockets).unwrap_or(usize::MAX),
        channels_max: CHANNELS_PER_SHARD_MAX,
        retention: start.wanted.retention,
        held: start.wanted.held,
        stores: store.is_some(),
        history_bytes_max: HISTORY_SHARD_BYTES_MAX,
        hot_members: HOT_MEMBERS,
        replay_bytes_per_turn: REPLAY_BYTES_PER_TURN,
        // Each is given one that others read too.
        recorder_bytes: 0,
        audit_max: if start.log.audit().is_some() { AUDIT_ENTRIES_PER_TURN_MAX } else { 0 },
    })
}

/// The shards' recorders; none if they are off.
fn rings(wanted: &Serve, shards: usize) -> Vec<Arc<Ring>> {
    (0..shards).filter_map(|_| Ring::with_bytes(wanted.recorder_bytes)).collect()
}

/// The start of the process, as all shards count time.
#[expect(clippy::disallowed_methods, reason = "the server hands the start of the clock to the hosts")]
fn now() -> Instant {
    Instant::now()
}
