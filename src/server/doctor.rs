//! What a start needs from the system, checked before anything runs. Each refusal says what to do.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::StartError;
use crate::limits::{
    CONNECTIONS_COUNT_MIN, DESCRIPTORS_PER_SHARD, DESCRIPTORS_RESERVED, SOCKETS_SPARE_MAX, SOCKETS_SPARE_SHARE,
};
use crate::runtime::address::Address;
use crate::runtime::listen::{self, Listening, Options};
use crate::runtime::probe;
use crate::runtime::ring::RingSizes;

/// Raises the soft limit of descriptors to the hard one and says how many sockets that allows.
pub(super) fn raise_descriptors(shards: usize) -> Result<u64, StartError> {
    connections_allowed(raise(Resource::Nofile).current, shards)
}

/// How many of the sockets may be connections: some are kept for those who are held or told that it is full, and for
/// the health check that wants to know why.
pub(super) fn connections_of(sockets: u64) -> u64 {
    sockets - (sockets / SOCKETS_SPARE_SHARE).min(SOCKETS_SPARE_MAX)
}

/// How many sockets `limit` descriptors allow (`None`: no limit).
fn connections_allowed(limit: Option<u64>, shards: usize) -> Result<u64, StartError> {
    let shards = u64::try_from(shards).unwrap_or(u64::MAX);
    let kept = shards.saturating_mul(DESCRIPTORS_PER_SHARD).saturating_add(DESCRIPTORS_RESERVED);
    let limit = limit.unwrap_or(u64::MAX);
    match limit.checked_sub(kept) {
        Some(connections) if connections >= CONNECTIONS_COUNT_MIN => Ok(connections),
        _ => Err(StartError::new(
            format!("{limit} descriptors leave none for connections: {kept} are kept for the server itself"),
            "RLIMIT_NOFILE",
            "raise the hard limit (ulimit -Hn, LimitNOFILE=, or a nofile line in limits.conf)",
        )),
    }
}

/// Raises the soft limit to the hard one, if the system lets us, and returns what then holds.
fn raise(resource: Resource) -> Rlimit {
    let limit = getrlimit(resource);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if limit.current != limit.maximum && setrlimit(resource, raised).is_err() {
        return limit;
    }
    getrlimit(resource)
}

/// Makes the data directory if it is absent, readable by its owner only, and checks that it can be used.
pub(super) fn check_directory(directory: &Path) -> Result<(), StartError> {
    let wrong = |what: String, remedy: &str| Err(StartError::new(what, directory.display().to_string(), remedy));
    if let Err(error) = fs::DirBuilder::new().recursive(true).mode(0o700).create(directory) {
        return wrong(format!("the data directory cannot be made: {error}"), "give another as server.data (--data)");
    }
    // A directory that others may write to lets them replace what is in it, whoever owns the files; with
    // the sticky bit it does not.
    let mode = fs::metadata(directory).map_or(0, |meta| meta.mode());
    if mode & 0o022 != 0 && mode & 0o1000 == 0 {
        let what = format!("others can write to the data directory (mode {:04o})", mode & 0o7777);
        return wrong(what, "chmod 700 it, or give another as server.data (--data)");
    }
    match try_writing(directory) {
        Ok(()) => Ok(()),
        Err(error) => {
            let remedy = "make it writable for this user, or give another as server.data (--data)";
            wrong(format!("the data directory cannot be written to: {error}"), remedy)
        }
    }
}

/// Asks the file system itself: permission bits say nothing of a read-only or full one. What is made is new: root signs
/// tokens in a service's directory, where a link of that service's would lead it to any file.
fn try_writing(directory: &Path) -> io::Result<()> {
    let probe = directory.join(format!(".probe.{}", std::process::id()));
    let make = || OpenOptions::new().write(true).create_new(true).mode(0o600).open(&probe);
    make().or_else(|error| match error.kind() {
        // Left by a process of the same number that was killed.
        io::ErrorKind::AlreadyExists => fs::remove_file(&probe).and_then(|()| make()),
        _ => Err(error),
    })?;
    // One of the same number in another container may have taken it away.
    fs::remove_file(probe).or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

/// Takes pages of 4 KiB only. The allocator would ask for huge ones, and then a small object in each of
/// many size classes makes 2 MiB resident: twice the memory of an idle connection.
pub(super) fn keep_pages_small() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::warn!(%error, "huge pages stay on: memory grows in steps of 2 MiB");
    }
}

/// Raises the soft limit of locked memory to the hard one, and checks that io_uring works here and that this
/// user may lock what `shards` shards need.
pub(super) fn check_ring(shards: usize, sizes: RingSizes) -> Result<(), StartError> {
    raise(Resource::Memlock);
    let probed = probe::probe(sizes).and_then(|()| probe::probe_memlock(shards, sizes));
    probed.map_err(|error| StartError::new("the shards cannot use io_uring", "the system", error.to_string()))
}

/// Where the kernel says which processors there are.
pub(super) const PROCESSORS: &str = "/sys/devices/system/cpu/online";

/// Checks that shards can be pinned: the executor library finds its processors there, and ends the process without.
pub(super) fn check_processors(shards: &[Option<usize>], processors: &Path) -> Result<(), StartError> {
    if shards.iter().all(Option::is_none) || fs::read(processors).is_ok() {
        return Ok(());
    }
    let remedy =
        "mount /sys, read-only is enough, or start with another number of shards than processors: those are not pinned";
    Err(StartError::new("the shards cannot be pinned to processors", processors.display().to_string(), remedy))
}

/// Listens on every address: one listener a shard on each.
/// The shards share their port by `SO_REUSEPORT`, which would let a second server of the same user take
/// part of the connections without a word; an address that any server has is therefore refused, unless the servers are
/// meant to share it. `place` says who named an address.
pub(super) fn listen(
    wanted: &[Address],
    shards: usize,
    options: Options,
    place: &dyn Fn(&Address) -> String,
) -> Result<Vec<Listening>, StartError> {
    let one = |address| {
        listen::listen(address, shards, options).map_err(|error| {
            let remedy = match address {
                Address::Tcp(_) => "see who has the port with ss -ltnp, or give another address as server.listen",
                Address::Unix(_) => "see who has the socket with ss -lxp, or give another path as server.listen",
            };
            StartError::new(format!("cannot listen: {error}"), place(address), remedy).passing()
        })
    };
    wanted.iter().map(one).collect()
}

#[cfg(test)]
pub(super) mod scratch {
    use std::path::{Path, PathBuf};
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    static NEXT: AtomicU64 = AtomicU64::new(0);

    /// A directory of a test's own, gone with it.
    #[derive(Debug)]
    pub(in crate::server) struct Scratch(PathBuf);

    impl Scratch {
        pub(in crate::server) fn new() -> Self {
            let name = format!("waystation-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
            let path = std::env::temp_dir().join(name);
            super::check_directory(&path).unwrap();
            Self(path)
        }

        pub(in crate::server) fn path(&self) -> &Path {
            &self.0
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _already_gone = std::fs::remove_dir_all(&self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::scratch::Scratch;
    use super::*;

    #[test]
    fn some_sockets_are_spare_and_never_too_many() {
        for (sockets, spare) in [
            (SOCKETS_SPARE_SHARE - 1, 0),
            (SOCKETS_SPARE_SHARE, 1),
            (SOCKETS_SPARE_SHARE * SOCKETS_SPARE_MAX - 1, SOCKETS_SPARE_MAX - 1),
            (SOCKETS_SPARE_SHARE * SOCKETS_SPARE_MAX, SOCKETS_SPARE_MAX),
            (u64::MAX, SOCKETS_SPARE_MAX),
        ] {
            assert_eq!(sockets - connections_of(sockets), spare, "{sockets}");
        }
    }

    #[test]
    fn descriptors_are_connections_less_what_the_server_keeps() {
        let kept = DESCRIPTORS_RESERVED + 2 * DESCRIPTORS_PER_SHARD;
        for (limit, expected) in [
            (Some(kept + CONNECTIONS_COUNT_MIN + 1), Some(CONNECTIONS_COUNT_MIN + 1)),
            (Some(kept + CONNECTIONS_COUNT_MIN), Some(CONNECTIONS_COUNT_MIN)),
            (Some(kept + CONNECTIONS_COUNT_MIN - 1), None),
            (Some(kept - 1), None),
            (None, Some(u64::MAX - kept)),
        ] {
            assert_eq!(connections_allowed(limit, 2).ok(), expected, "{limit:?}");
        }
    }

    #[test]
    fn a_directory_is_made_for_its_owner_only_and_one_that_others_write_to_is_refused() {
        let scratch = Scratch::new();
        let inner = scratch.path().join("a").join("b");
        check_directory(&inner).unwrap();
        assert_eq!(fs::metadata(&inner).unwrap().mode() & 0o7777, 0o700);
        for (mode, good) in [(0o755, true), (0o777, false), (0o770, false), (0o1777, true), (0o700, true)] {
            fs::set_permissions(&inner, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(check_directory(&inner).is_ok(), good, "{mode:o}");
        }
        assert_eq!(fs::read_dir(&inner).unwrap().count(), 0, "no probe is left");
    }

    #[test]
    fn no_link_in_a_directory_is_followed_and_what_a_killed_process_left_is_no_hindrance() {
        let scratch = Scratch::new();
        let (file, probe) =
            (scratch.path().join("file"), scratch.path().join(format!(".probe.{}", std::process::id())));
        fs::write(&file, "precious").unwrap();
        std::os::unix::fs::symlink(&file, &probe).unwrap();
        check_directory(scratch.path()).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"precious");
        fs::write(&probe, "left").unwrap();
        check_directory(scratch.path()).unwrap();
        assert!(!probe.exists());
    }

    #[test]
    fn a_directory_that_cannot_be_is_refused_with_its_path() {
        let scratch = Scratch::new();
        let file = scratch.path().join("file");
        fs::write(&file, "").unwrap();
        let error = check_directory(&file.join("below")).unwrap_err();
        assert!(error.place.ends_with("file/below") && error.remedy.contains("--data"), "{error}");
        assert!(check_directory(Path::new("/proc/self")).is_err(), "made, and not to be written to");
    }

    #[test]
    fn shards_are_pinned_only_where_the_processors_are_told() {
        let (here, nowhere) = (Path::new(PROCESSORS), Path::new("/nowhere/online"));
        for (shards, processors, good) in [
            (&[Some(0), Some(1)][..], here, true),
            (&[Some(0), Some(1)], nowhere, false),
            (&[None, None], nowhere, true),
        ] {
            assert_eq!(check_processors(shards, processors).is_ok(), good, "{shards:?} {}", processors.display());
        }
    }

    #[test]
    fn a_port_that_somebody_listens_on_is_refused_though_it_is_shared() {
        let options = Options { sharing: listen::Sharing::Alone, mode: 0o600 };
        let all =
            listen(&["127.0.0.1:0".parse().unwrap(), "[::1]:0".parse().unwrap()], 3, options, &ToString::to_string)
                .unwrap();
        assert!(all.iter().all(|one| one.address.tcp().unwrap().port() != 0 && one.of_shards.len() == 3));
        let address = all[0].address.clone();
        drop(all);
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_reuse_port(true).unwrap();
        socket.bind(&address.tcp().unwrap().into()).unwrap();
        socket.listen(1).unwrap();
        let error = listen(std::slice::from_ref(&address), 1, options, &ToString::to_string).unwrap_err();
        assert!(error.what.contains(&address.to_string()) && error.remedy.contains("another address"), "{error}");
        drop(socket);
        assert_eq!(
            listen(std::slice::from_ref(&address), 1, options, &ToString::to_string).unwrap()[0].address,
            address
        );
    }
}
