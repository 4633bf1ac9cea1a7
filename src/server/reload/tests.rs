//! Files that change while nobody but the reloading thread runs: what reaches the shards, and what does not.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Instant;

use super::*;
use crate::auth::Verifier;
use crate::config::{Environment, Machine, Wanted};
use crate::limits::BAD_TOKENS_PER_MINUTE_DEFAULT;
use crate::mesh::{Capacities, Hatch, Mesh, MeshEnd, hatch};
use crate::server::doctor::scratch::Scratch;
use crate::server::keys::tests::{set_of, token};

const SECRET: &[u8] = b"a secret of at least thirty-two bytes";
const SECOND: &[u8] = b"the second secret of at least thirty-two bytes";

/// How long is waited for what must come, whatever else the machine has to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// A reloading thread between a folder and two shards' inboxes.
struct Watched {
    scratch: Scratch,
    ends: [MeshEnd<Parcel>; 2],
    policies: Hatch<Arc<Policy>>,
    metrics: Arc<Metrics>,
    orders: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

fn put(path: &Path, text: &[u8], mode: u32) {
    let draft = path.with_extension("draft");
    fs::write(&draft, text).unwrap();
    fs::set_permissions(&draft, fs::Permissions::from_mode(mode)).unwrap();
    fs::rename(&draft, path).unwrap();
}

impl Watched {
    /// With these files in the folder, of which `gateway.toml` is the configuration.
    fn new(files: &[(&str, &[u8])]) -> Self {
        let scratch = Scratch::new();
        for (name, text) in files {
            put(&scratch.path().join(name), text, 0o600);
        }
        let config = scratch.path().join("gateway.toml");
        let line = ["waystation", "serve", "--config"].map(Into::into).into_iter().chain([config.into_os_string()]);
        let data = ["--data".into(), scratch.path().join("data").into_os_string()];
        let machine = Machine { cpus: vec![0], parallelism: 1 };
        let Ok(Wanted::Serve(wanted)) = crate::config::read(line.chain(data), &Environment::default(), &machine) else {
            panic!("the files are good");
        };
        let mut ring = KeyRing::read(&wanted.auth).unwrap();
        let verifier = Arc::new(ring.first().unwrap());
        // One place in each lane: what comes second has to wait for the first to be taken.
        let mut mesh = Mesh::new(2, Capacities { control: 1, data: 1 }).unwrap();
        let ends = [mesh.take_end(ShardId(0)).unwrap(), mesh.take_end(ShardId(1)).unwrap()];
        let (policies, changed) = hatch(1).unwrap();
        let metrics = Metrics::shared();
        let start = Start {
            log: crate::server::logs::Log::unheard(),
            wanted: &wanted,
            ring,
            verifier,
            connections: 1000,
            post: mesh.post(ShardId(2)),
            policies,
            retaining: None,
            metrics: Arc::clone(&metrics),
        };
        let (orders, thread) = spawn(start).unwrap();
        Self { scratch, ends, policies: changed, metrics, orders: Some(orders), thread: Some(thread) }
    }

    fn put(&self, name: &str, text: &[u8]) {
        put(&self.scratch.path().join(name), text, 0o600);
    }

    fn order(&self) {
        let _one_waits = self.orders.as_ref().unwrap().try_send(());
    }

    /// The next keys or rules that a shard is told.
    fn next(&self, end: usize) -> MeshMessage {
        let started = now();
        loop {
            match self.ends[end].inbox.try_take(Lane::Control) {
                Some((_, Parcel::Message(message))) => return message,
                Some(other) => panic!("{other:?}"),
                None => assert!(started.elapsed() < PATIENCE, "no news came"),
            }
            pause(5);
        }
    }

    fn keys(&self, end: usize) -> Arc<Verifier> {
        match self.next(end) {
            MeshMessage::Keys(verifier) => verifier,
            other => panic!("{other:?}"),
        }
    }

    /// What both shards are told after everything was read again, with other keys.
    fn all(&self) -> (Arc<Verifier>, Arc<Rules>) {
        let told = [0, 1].map(|end| {
            let mut told = [self.next(end), self.next(end)];
            told.sort_by_key(|message| matches!(message, MeshMessage::Rules(_)));
            match told {
                [MeshMessage::Keys(keys), MeshMessage::Rules(rules)] => (keys, rules),
                other => panic!("{other:?}"),
            }
        });
        assert!(Arc::ptr_eq(&told[0].0, &told[1].0) && Arc::ptr_eq(&told[0].1, &told[1].1));
        let [told, _] = told;
        told
    }

    /// The same, with the keys that hold.
    fn rules(&self) -> Arc<Rules> {
        let [told, other] = [0, 1].map(|end| match self.next(end) {
            MeshMessage::Rules(rules) => rules,
            other => panic!("{other:?}"),
        });
        assert!(Arc::ptr_eq(&told, &other));
        told
    }

    /// Waits until so many configurations were refused, and returns whether no other is and nobody is told of one.
    fn has_refused(&self, count: u64) -> bool {
        let started = now();
        while self.metrics.read(Metric::ConfigRefused) < count {
            assert!(started.elapsed() < PATIENCE, "it is not refused");
            pause(5);
        }
        let quiet = self.quiet();
        let bad = self.metrics.read(Metric::ConfigBad);
        quiet && (self.metrics.read(Metric::ConfigRefused), bad) == (count, 1)
    }

    /// Whether nothing comes in a time in which the files are looked at more than once, if the machine lets them.
    fn quiet(&self) -> bool {
        pause(JWKS_LOOK_MS * 3);
        self.ends.iter().all(|end| end.inbox.is_empty())
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the test waits for a thread")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "the test waits for a thread")]
fn pause(ms: u64) {
    thread::sleep(Duration::from_millis(ms));
}

#[test]
fn a_set_that_changes_reaches_every_shard_and_a_bad_one_none() {
    let set = set_of(&[SECRET]);
    let config = b"[auth]\njwks_file = \"jwks.json\"\n";
    let watched = Watched::new(&[("jwks.json", set.as_bytes()), ("gateway.toml", config)]);
    watched.put("jwks.json", set_of(&[SECRET, SECOND]).as_bytes());
    for end in [0, 1] {
        let verifier = watched.keys(end);
        assert!(verifier.generation == 2 && verifier.verify(&token(SECOND), 1001).is_ok());
    }
    watched.put("jwks.json", set_of(&[SECRET, SECOND]).as_bytes());
    assert!(watched.quiet(), "written anew with the same keys");
    watched.put("jwks.json", b"{\"keys\":[{");
    assert!(watched.quiet(), "half a file is no set");
    watched.put("jwks.json", set_of(&[SECOND]).as_bytes());
    for end in [0, 1] {
        let verifier = watched.keys(end);
        assert_eq!(verifier.generation, 3, "a refused set takes no number");
        assert!(verifier.verify(&token(SECRET), 1001).is_err() && verifier.verify(&token(SECOND), 1001).is_ok());
    }
    // Mended without being written anew.
    let path = watched.scratch.path().join("jwks.json");
    put(&path, set_of(&[SECRET]).as_bytes(), 0o644);
    assert!(watched.quiet(), "everybody can read the secrets");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert!([0, 1].iter().all(|end| watched.keys(*end).verify(&token(SECRET), 1001).is_ok()));
}

#[test]
fn a_file_that_changes_is_in_force_whole_or_not_at_all() {
    let config = |rest: &str| {
        format!("[auth]\nkeys = [{{ algorithm = \"HS256\", secret_file = \"a.key\" }}]\n{rest}").into_bytes()
    };
    let watched = Watched::new(&[("a.key", SECRET), ("b.key", SECOND), ("gateway.toml", &config(""))]);
    watched.put("gateway.toml", &config("require_caps = true\n[limits]\nconnections = 7\n"));
    let rules = watched.rules();
    assert_eq!((rules.generation, rules.connections_max), (2, 7));
    assert!(rules.policy == Arc::new(Policy::default().requiring_caps()));
    assert_eq!(rules.limits.bad_tokens.per_minute, BAD_TOKENS_PER_MINUTE_DEFAULT);
    assert_eq!(watched.policies.queue.recv_timeout(PATIENCE).unwrap(), rules.policy);
    let counted = |metric| watched.metrics.read(metric);
    assert_eq!((counted(Metric::ConfigApplied), counted(Metric::ConfigBad)), (1, 0));

    // One limit is good and one is not: neither holds, nor do the keys.
    watched.put("gateway.toml", &config("[limits]\nconnections = 8\nupgrades = \"x\"\n"));
    assert!(watched.has_refused(1), "and it is tried once");
    watched.put("gateway.toml", &config("jwks_file = \"nowhere.json\"\n"));
    assert!(watched.has_refused(2));
    watched.order();
    assert!(watched.has_refused(3), "who asks has it tried again");

    watched.put("gateway.toml", &config("[limits]\nprofile = \"unlimited\"\n"));
    let rules = watched.rules();
    assert_eq!((rules.generation, rules.connections_max), (3, 1000), "a refused one takes no number");
    assert!(rules.unlimited);
    assert_eq!(counted(Metric::ConfigBad), 0);
    watched.order();
    assert_eq!(watched.rules().generation, 4, "what holds is read again for who asks");

    // The file of a key.
    watched.put("a.key", SECRET);
    assert_eq!(watched.rules().generation, 5, "the key is the same");
    watched.put("a.key", SECOND);
    let (keys, rules) = watched.all();
    assert!(keys.verify(&token(SECOND), 1001).is_ok() && keys.verify(&token(SECRET), 1001).is_err());
    assert_eq!((keys.generation, rules.generation), (2, 6));
    // What a token must say beside its signature is judged as well.
    watched.put("gateway.toml", &config("issuer = \"them\"\n"));
    let (keys, _) = watched.all();
    assert_eq!((keys.generation, keys.verify(&token(SECOND), 1001).is_err()), (3, true));
}

#[test]
fn a_refused_configuration_is_tried_again_when_a_file_that_it_names_is_there() {
    let config =
        |name: &str| format!("[auth]\nkeys = [{{ algorithm = \"HS256\", secret_file = \"{name}\" }}]\n").into_bytes();
    let watched = Watched::new(&[("a.key", SECRET), ("gateway.toml", &config("a.key"))]);
    let counted = |metric| watched.metrics.read(metric);
    watched.put("gateway.toml", &config("late.key"));
    assert!(watched.has_refused(1), "and it is tried once");
    // There, but not as it should be; then mended without being written anew.
    let late = watched.scratch.path().join("late.key");
    put(&late, SECOND, 0o644);
    assert!(watched.has_refused(2));
    fs::set_permissions(&late, fs::Permissions::from_mode(0o600)).unwrap();
    let (keys, _) = watched.all();
    assert!(keys.verify(&token(SECOND), 1001).is_ok());
    assert_eq!((counted(Metric::ConfigRefused), counted(Metric::ConfigBad)), (2, 0));
    // A file that only refused ones have named is looked at no longer than they are there.
    watched.put("gateway.toml", b"[auth]\njwks_file = \"later.json\"\n");
    assert!(watched.has_refused(3));
    watched.put("gateway.toml", &config("late.key"));
    assert_eq!(watched.rules().generation, 3);
    watched.put("later.json", set_of(&[SECRET]).as_bytes());
    assert!(watched.quiet());
    watched.put("gateway.toml", b"[auth]\njwks_file = \"latest.json\"\n");
    assert!(watched.has_refused(4));
    watched.put("latest.json", set_of(&[SECRET]).as_bytes());
    let (keys, rules) = watched.all();
    assert!(keys.verify(&token(SECRET), 1001).is_ok() && rules.generation == 4);
}
