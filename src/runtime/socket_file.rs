//! The file of a Unix socket: made with its mode, put in the place of one that nobody listens on, and gone at the end.
//!
//! The file is there before anybody can connect, and has its mode by then: the kernel refuses connections to a socket
//! that does not listen yet. Whether somebody listens on a file that is there already is asked by connecting to it.
//! Between that question and the answer's use no other server of ours may ask, so the directory is locked for it.
//!
//! At the end the file is removed if it is still the one that was made. It is known by its number, which the file system
//! gives to no other as long as somebody has the file open, and so this value has: the listeners may be closed long
//! before. A process that is killed leaves the file, and the next start replaces it. Absent: making directories.

use std::fs::{self, File, Permissions};
use std::io::ErrorKind;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, Stat, flock, fstat, lstat, open};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with};

use super::address::Address;
use super::listen::{ListenError, Options, Sharing, soon};
use crate::limits::{ACCEPT_BACKLOG, SOCKET_PATH_BYTES_MAX};

/// A socket's file that this process made.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// The file itself, whose number is nobody else's meanwhile. It is neither read nor connected to by this.
    held: OwnedFd,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _lock = lock_directory(&self.path);
        if is_at(&self.held, &self.path) {
            let _already_gone = fs::remove_file(&self.path);
        }
    }
}

/// Makes a socket's file and listens on it.
pub(super) fn make(path: &Path, options: Options) -> Result<(SocketFile, OwnedFd), ListenError> {
    let address = Address::Unix(path.to_owned());
    let refused = |errno| ListenError::of(&address, errno);
    let _lock = lock_directory(path).map_err(refused)?;
    let found = fs::symlink_metadata(path).ok();
    if found.as_ref().is_some_and(|found| !found.file_type().is_socket()) {
        return Err(ListenError::NoSocket(address));
    }
    if found.is_some() && options.sharing == Sharing::Alone {
        soon(|| stale(path)).map_err(refused)?;
    }
    let followed = found.is_some() && options.sharing == Sharing::WithOthers;
    let at = if followed { beside(path) } else { path.to_owned() };
    match fs::remove_file(&at) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(refused(errno_of(&error))),
        _ => {}
    }
    let socket = bound(&at).map_err(refused)?;
    // From here on the file is ours, and goes with this value if anything below fails.
    let held = open(&at, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).map_err(refused)?;
    let mut file = SocketFile { path: at, held };
    set_mode(&file, options.mode).map_err(|error| refused(errno_of(&error)))?;
    listen(&socket, ACCEPT_BACKLOG).map_err(refused)?;
    fs::rename(&file.path, path).map_err(|error| refused(errno_of(&error)))?;
    path.clone_into(&mut file.path);
    Ok((file, socket))
}

/// Where the file of a server that follows another is made, to take the other's place in one step: whoever connects
/// meanwhile finds one of the two. A path that leaves no room for a second name is without a file for a moment.
fn beside(path: &Path) -> PathBuf {
    let other = path.with_file_name(format!(".{}", std::process::id()));
    if other.as_os_str().len() <= SOCKET_PATH_BYTES_MAX { other } else { path.to_owned() }
}

/// Whether nobody listens there: `ADDRINUSE` if somebody does, also with a queue so full that one would have to wait.
fn stale(path: &Path) -> Result<(), Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match connect(&socket, &SocketAddrUnix::new(path)?) {
        Err(Errno::CONNREFUSED | Errno::NOENT) => Ok(()),
        Err(errno @ (Errno::ACCESS | Errno::PERM)) => Err(errno),
        Ok(()) | Err(_) => Err(Errno::ADDRINUSE),
    }
}

fn bound(path: &Path) -> Result<OwnedFd, Errno> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

/// Gives the file its mode, and no other file: who has the directory could put a link in its place meanwhile.
fn set_mode(file: &SocketFile, mode: u32) -> std::io::Result<()> {
    let held = &file.held;
    if !is_at(held, &file.path) || !File::from(held.try_clone()?).metadata()?.file_type().is_socket() {
        return Err(ErrorKind::NotFound.into());
    }
    let mode = Permissions::from_mode(mode);
    // The only way to what is held so before Linux 6.6. Where nothing is mounted there, a root of its own is all there is.
    match fs::set_permissions(format!("/proc/self/fd/{}", held.as_raw_fd()), mode.clone()) {
        Err(error) if error.kind() == ErrorKind::NotFound => fs::set_permissions(&file.path, mode),
        done => done,
    }
}

/// Keeps other servers from making or removing files beside this one until it is dropped. Somebody who never lets go
/// counts as a server that has the address.
fn lock_directory(path: &Path) -> Result<File, Errno> {
    // A name alone is in the directory where the gateway was started.
    let directory = match path.parent() {
        Some(directory) if directory.as_os_str().is_empty() => Path::new("."),
        directory => directory.unwrap_or_else(|| Path::new("/")),
    };
    let directory = File::open(directory).map_err(|error| errno_of(&error))?;
    soon(|| {
        flock(&directory, FlockOperation::NonBlockingLockExclusive).map_err(|errno| match errno {
            Errno::WOULDBLOCK => Errno::ADDRINUSE,
            errno => errno,
        })
    })?;
    Ok(directory)
}

/// Whether a file still has this path.
fn is_at(file: &OwnedFd, path: &Path) -> bool {
    let numbers = |found: Stat| (found.st_dev, found.st_ino);
    fstat(file).is_ok_and(|held| lstat(path).is_ok_and(|found| numbers(found) == numbers(held)))
}

fn errno_of(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

    use super::*;

    const ALONE: Options = Options { sharing: Sharing::Alone, mode: 0o640 };
    const SHARED: Options = Options { sharing: Sharing::WithOthers, mode: 0o666 };

    /// A directory of the test's own.
    fn place(name: &str) -> PathBuf {
        let place = std::env::temp_dir().join(format!("waystation-socket-{}-{name}", std::process::id()));
        let _absent = fs::remove_dir_all(&place);
        fs::create_dir(&place).unwrap();
        place
    }

    #[test]
    fn a_file_has_its_mode_takes_connections_and_goes_with_its_server() {
        let path = place("goes").join("ws.sock");
        for options in [ALONE, SHARED] {
            let (file, socket) = make(&path, options).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, options.mode);
            assert!(UnixStream::connect(&path).is_ok());
            drop((file, socket));
            assert!(!path.exists());
        }
    }

    #[test]
    fn a_file_that_nobody_listens_on_is_replaced_and_a_live_one_is_not() {
        let path = place("stale").join("ws.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let first = make(&path, ALONE).unwrap();
        assert!(matches!(make(&path, ALONE), Err(ListenError::InUse(_))));
        assert!(UnixStream::connect(&path).is_ok(), "it is still there");
        drop(first);
        assert!(make(&path, ALONE).is_ok());
    }

    #[test]
    fn a_socket_of_another_kind_is_another_services_and_stays() {
        let path = place("datagrams").join("ws.sock");
        let datagrams = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
        assert!(matches!(make(&path, ALONE), Err(ListenError::InUse(_))));
        assert!(path.exists());
        drop(datagrams);
    }

    #[test]
    fn of_servers_that_start_at_once_over_one_that_was_left_exactly_one_has_it() {
        let path = place("at-once").join("ws.sock");
        for _ in 0..2 {
            drop(UnixListener::bind(&path).unwrap());
            let made: Vec<_> = std::thread::scope(|scope| {
                let starts: Vec<_> = (0..3).map(|_| scope.spawn(|| make(&path, ALONE))).collect();
                starts.into_iter().map(|start| start.join().unwrap()).collect()
            });
            assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 1, "{made:?}");
            assert!(UnixStream::connect(&path).is_ok(), "and who has it is found");
            drop(made);
            assert!(!path.exists());
        }
    }

    #[test]
    fn a_live_one_is_followed_if_sharing_was_asked_for_and_stays_when_the_first_ends() {
        let path = place("follow").join("ws.sock");
        let first = make(&path, SHARED).unwrap();
        let second = make(&path, SHARED).unwrap();
        drop(first);
        assert!(UnixStream::connect(&path).is_ok(), "the first has removed the second's file");
        drop(second);
        assert!(!path.exists());
    }

    #[test]
    fn whoever_connects_while_one_follows_another_finds_one_of_the_two() {
        let path = place("step").join("ws.sock");
        let mut current = make(&path, SHARED).unwrap();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let lost = scope.spawn(|| {
                let attempts = std::iter::from_fn(|| (!over.load(SeqCst)).then(|| UnixStream::connect(&path)));
                let lost = attempts.filter_map(Result::err).map(|error| error.kind());
                // Who has found the one before and knocks when it has just gone is refused, and finds the next.
                let again = |kind| kind == ErrorKind::ConnectionRefused && UnixStream::connect(&path).is_ok();
                lost.filter(|kind| !again(*kind)).collect::<Vec<_>>()
            });
            for _ in 0..200 {
                // The one before goes when this one has its place.
                current = make(&path, SHARED).unwrap();
            }
            over.store(true, SeqCst);
            assert_eq!(lost.join().unwrap(), []);
        });
        drop(current);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 0, "nothing is left beside it");
    }

    #[test]
    fn a_file_that_was_given_the_number_of_one_before_is_another() {
        let path = place("number").join("ws.sock");
        for _ in 0..20 {
            // The first one has closed its listener and not ended yet.
            let (first, socket) = make(&path, ALONE).unwrap();
            drop(socket);
            let _second = make(&path, ALONE).unwrap();
            drop(first);
            assert!(UnixStream::connect(&path).is_ok(), "the first has removed the second's file");
        }
    }

    #[test]
    fn a_path_without_room_for_a_second_name_is_followed_all_the_same() {
        let place = place("long");
        let rest = SOCKET_PATH_BYTES_MAX - place.as_os_str().len() - 4;
        let path = place.join("d".repeat(rest)).join("ab");
        fs::create_dir(path.parent().unwrap()).unwrap();
        assert_eq!((path.as_os_str().len(), beside(&path)), (SOCKET_PATH_BYTES_MAX, path.clone()));
        let first = make(&path, SHARED).unwrap();
        let _second = make(&path, SHARED).unwrap();
        drop(first);
        assert!(UnixStream::connect(&path).is_ok());
    }

    #[test]
    fn nobody_is_waited_for_who_listens_and_accepts_nobody() {
        let path = place("full").join("ws.sock");
        let hangs = bound(&path).unwrap();
        listen(&hangs, 0).unwrap();
        let _waits = UnixStream::connect(&path).unwrap();
        assert!(matches!(make(&path, ALONE), Err(ListenError::InUse(_))));
        drop(hangs);
        assert!(make(&path, ALONE).is_ok());
    }

    #[test]
    fn a_file_in_the_place_of_the_sockets_keeps_its_mode() {
        let place = place("swapped");
        let (path, other) = (place.join("ws.sock"), place.join("other"));
        let (file, _socket) = make(&path, ALONE).unwrap();
        fs::write(&other, "precious").unwrap();
        fs::set_permissions(&other, Permissions::from_mode(0o600)).unwrap();
        fs::remove_file(&path).unwrap();
        for swap in [std::os::unix::fs::symlink::<&Path, &Path>, |from, to| fs::hard_link(from, to)] {
            swap(&other, &path).unwrap();
            assert!(set_mode(&file, 0o666).is_err());
            assert_eq!(fs::metadata(&other).unwrap().mode() & 0o7777, 0o600);
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn what_is_no_socket_stays() {
        let place = place("file");
        let path = place.join("ws.sock");
        fs::write(&path, "precious").unwrap();
        assert!(matches!(make(&path, ALONE), Err(ListenError::NoSocket(_))));
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        // A link is not followed.
        let (link, target) = (place.join("link.sock"), place.join("target.sock"));
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert!(matches!(make(&link, ALONE), Err(ListenError::NoSocket(_))));
        assert!(matches!(make(&place.join("a/ws.sock"), ALONE), Err(ListenError::NoDirectory(_))));
    }

    #[test]
    fn a_directory_that_somebody_keeps_locked_is_an_error_and_not_a_wait_for_ever() {
        let path = place("locked").join("ws.sock");
        let held = lock_directory(&path).unwrap();
        assert!(matches!(make(&path, ALONE), Err(ListenError::InUse(_))));
        drop(held);
        assert!(make(&path, ALONE).is_ok());
    }

    #[test]
    fn a_name_alone_is_in_the_directory_where_the_gateway_was_started() {
        let held = lock_directory(Path::new("admin.sock")).unwrap();
        let (here, numbers) = (fs::metadata(".").unwrap(), fstat(&held).unwrap());
        assert_eq!((here.dev(), here.ino()), (numbers.st_dev, numbers.st_ino));
    }
}
