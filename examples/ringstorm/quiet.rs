//! Quiet connections that measure how long a wake takes, and what of it is the server's.
//!
//! A ping's way is longer than the server's part of it: the storm holds the server by its signals, and the
//! threads of both processes wait for a core that somebody else has. The kernel counts for each thread how
//! long it was ready to run and did not (`schedstat`), so the wait of the shard's thread and of this one
//! are taken off; so is the time of the holds. What is left has the shard asleep over work, or busy with
//! other work, which is what is limited.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::client::{Client, Field, Proof, Trouble, Weather};
use crate::counts::Counts;
use crate::gateway::Gateway;
use crate::tagged::Door;

/// Between two pings: long enough for the shard to sleep if nobody else keeps it awake.
const PAUSE: Duration = Duration::from_millis(7);
/// Connections that are opened at most to have one of each kind on every shard.
const TRIES: usize = 200;

/// A quiet connection and the shards that its messages pass.
pub(crate) struct Quiet {
    client: Client,
    shards: Vec<usize>,
    threads: Vec<i32>,
}

/// Opens one connection to each endpoint on every shard. Those to `/ws` have rooms at home on another, if there
/// is one, so that each of their pings wakes that shard and is answered by waking its own.
pub(crate) fn open(field: &Field<'_>, gateway: &Gateway) -> Result<Vec<Quiet>, Trouble> {
    let threads = gateway.shard_threads()?;
    let mut all: Vec<Quiet> = Vec::new();
    for door in [Door::Echo, Door::Chat, Door::Open] {
        let mut wanted: Vec<usize> = (0..threads.len()).collect();
        for _ in 0..TRIES {
            if wanted.is_empty() {
                break;
            }
            let before = gateway.metrics()?;
            let mut client = Client::open(field, door, Proof::Late)?;
            client.socket.set_nodelay(true)?;
            client.send(32)?;
            client.receive(client.sent, field.counts)?;
            let after = gateway.metrics()?;
            let rose = |name| after.by_shard(name).iter().zip(before.by_shard(name)).position(|(now, was)| *now > was);
            let (shard, home) = (rose("waystation_connections"), rose("waystation_published_total"));
            let crosses = door == Door::Open && threads.len() > 1;
            match wanted.iter().position(|wanted| Some(*wanted) == shard && !(crosses && home == shard)) {
                Some(at) => {
                    let mut shards = vec![wanted.swap_remove(at)];
                    shards.extend(home.filter(|_| crosses));
                    let threads = shards.iter().map(|shard| threads[*shard]).collect();
                    all.push(Quiet { client, shards, threads });
                }
                None => {
                    drop(client);
                    // The end is noticed soon; until then the numbers cannot be compared.
                    while gateway.metrics()?.sum("waystation_connections") > before.sum("waystation_connections") {
                        thread::sleep(Duration::from_millis(1));
                    }
                }
            }
        }
        if !wanted.is_empty() {
            return Err(Trouble::new(format!("no {door:?} connection came to live on shards {wanted:?}")));
        }
    }
    Ok(all)
}

/// What the kernel says of one thread.
struct Waited(File);

impl Waited {
    fn open(path: &str) -> io::Result<Self> {
        File::open(path).map(Self)
    }

    /// Microseconds that the thread was ready and did not run.
    fn micros(&self) -> io::Result<u64> {
        let mut text = [0; 96];
        let len = self.0.read_at(&mut text, 0)?;
        let text = String::from_utf8_lossy(&text[..len]);
        let nanos = text.split_whitespace().nth(1).and_then(|word| word.parse::<u64>().ok());
        nanos.map(|nanos| nanos / 1000).ok_or_else(|| io::Error::other("schedstat has no second number"))
    }
}

/// Pings, one small message at a time, and judges each wake. In a calm one connection after the other has its
/// turn: this is number `turn.0` of `turn.1`.
pub(crate) fn ping(
    field: &Field<'_>,
    gateway: &Gateway,
    mut quiet: Quiet,
    turn: (u128, u128),
    wake_ms: u64,
    until: Instant,
) -> Result<(), Trouble> {
    let counts = field.counts;
    let own = "/proc/thread-self/schedstat".to_owned();
    let theirs = quiet.threads.iter().map(|thread| format!("/proc/{}/task/{thread}/schedstat", gateway.pid()));
    let waited: Vec<Waited> = theirs.chain([own]).map(|path| Waited::open(&path)).collect::<io::Result<_>>()?;
    // Waits of a shard's thread for a core, then of this one's, then the holds: all that is no delay of the server.
    let lost = || -> io::Result<u64> {
        let waits = waited.iter().map(Waited::micros).sum::<io::Result<u64>>()?;
        Ok(waits + counts.held_us.load(Relaxed))
    };
    while Instant::now() < until {
        thread::sleep(PAUSE);
        let weather = field.weather();
        match weather {
            Weather::Storm => {}
            Weather::Calm(now) if now % turn.1 == turn.0 => {}
            Weather::Settling | Weather::Calm(_) => continue,
        }
        let before = lost()?;
        let sent = Instant::now();
        quiet.client.send(32)?;
        quiet.client.receive(quiet.client.sent, counts)?;
        let raw = micros_since(sent);
        if raw > wake_ms * 1000 {
            // A hold is added up after it is over.
            let round = counts.rounds.load(Relaxed);
            while counts.rounds.load(Relaxed) < round + 2 && Instant::now() < until {
                thread::sleep(Duration::from_millis(1));
            }
        }
        let excused = lost()?.saturating_sub(before);
        let micros = raw.saturating_sub(excused);
        counts.pings.fetch_add(1, Relaxed);
        counts.calm_pings.fetch_add(u64::from(weather != Weather::Storm), Relaxed);
        counts.worst_raw_us.fetch_max(raw, Relaxed);
        counts.worst_us.fetch_max(micros, Relaxed);
        if micros > wake_ms * 1000 {
            counts.slow.fetch_add(1, Relaxed);
            let (door, shards) = (quiet.client.door, &quiet.shards);
            println!("slow, {door:?} on shards {shards:?}: {raw} us in all, {micros} us of the server's own");
        }
    }
    Ok(())
}

/// Interrupts the server: every other round stops and continues it, which ends the waits of all its threads
/// at once; the others send each shard's thread a signal that it has a handler for.
pub(crate) fn interrupt(field: &Field<'_>, gateway: &Gateway, hz: u64, until: Instant) -> io::Result<()> {
    let (counts, threads) = (field.counts, gateway.shard_threads()?);
    let pause = Duration::from_micros(2_000_000 / hz.max(1));
    let mut next = Instant::now();
    while Instant::now() < until {
        thread::sleep(next.saturating_duration_since(Instant::now()));
        // Two signals a round; with two shards or more a round of handled ones has as many as there are shards.
        next += pause;
        if field.weather() != Weather::Storm {
            counts.rounds.fetch_add(1, Relaxed);
            continue;
        }
        if counts.rounds.fetch_add(1, Relaxed).is_multiple_of(2) {
            let stopped = Instant::now();
            gateway.signal(Signal::STOP)?;
            gateway.signal(Signal::CONT)?;
            counts.held_us.fetch_add(micros_since(stopped), Relaxed);
            counts.signals.fetch_add(2, Relaxed);
        } else {
            for thread in threads.iter().filter_map(|thread| Pid::from_raw(*thread)) {
                // kill(2) of a thread's number names its process, and the kernel prefers the thread.
                kill_process(thread, Signal::USR1)?;
                counts.signals.fetch_add(1, Relaxed);
            }
        }
    }
    Ok(())
}

/// Measures how late this machine wakes a thread that sleeps for a millisecond.
pub(crate) fn watch(counts: &Counts, until: Instant) {
    const NAP: Duration = Duration::from_millis(1);
    while Instant::now() < until {
        let began = Instant::now();
        thread::sleep(NAP);
        counts.worst_stall_us.fetch_max(micros_since(began).saturating_sub(1000), Relaxed);
    }
}

fn micros_since(instant: Instant) -> u64 {
    u64::try_from(instant.elapsed().as_micros()).unwrap_or(u64::MAX)
}
