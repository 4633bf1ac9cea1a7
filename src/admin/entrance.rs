//! The administration's Unix socket: where it stands, and who may come in.
//!
//! The file is its owner's alone, and each who connects is asked for by the kernel: this user or root. A file that a server
//! left behind is replaced; one behind which a server answers is not. A thread of its own accepts, which waits for nothing
//! but the next one; the executor serves them.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fs::Mode;
use rustix::net::sockopt::socket_peercred;
use rustix::process::geteuid;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::mesh::HatchPost;

/// Makes the socket. Called before other threads make files: for a moment the process makes them for its user alone.
///
/// # Errors
/// `AddrInUse` where a server answers behind it already; any other where it cannot be made.
pub fn bind(path: &Path) -> io::Result<(UnixListener, Made)> {
    match fs::symlink_metadata(path) {
        Ok(meta) if !meta.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file is there that is no socket"));
        }
        Ok(_) => remove_abandoned(path)?,
        Err(_not_there) => {}
    }
    let before = rustix::process::umask(Mode::from_raw_mode(0o177));
    let bound = UnixListener::bind(path);
    rustix::process::umask(before);
    let listener = bound?;
    let made = Made { path: path.to_owned(), file: file_of(path)? };
    Ok((listener, made))
}

/// Removes a socket that a server has left behind when it ended without a drain: nobody listens. Whatever else the kernel
/// says, such as that it is of another kind or another's, somebody may have it; and who is too busy to answer lives.
fn remove_abandoned(path: &Path) -> io::Result<()> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?).map_err(|error| (error.kind(), error)) {
        Err((io::ErrorKind::ConnectionRefused, _)) => fs::remove_file(path),
        Err((io::ErrorKind::NotFound, _)) => Ok(()),
        Ok(()) | Err((io::ErrorKind::WouldBlock, _)) => {
            Err(io::Error::new(io::ErrorKind::AddrInUse, "a server answers there already"))
        }
        Err((_, error)) => Err(error),
    }
}

/// The socket's file that this process has made. It is removed with this, unless it was removed before and another has
/// made one of its own there.
#[derive(Debug)]
pub struct Made {
    path: PathBuf,
    /// Its device and number, which nobody else gets while the socket listens.
    file: (u64, u64),
}

impl Drop for Made {
    fn drop(&mut self) {
        if file_of(&self.path).is_ok_and(|file| file == self.file) {
            // Whoever finds it gone has lost nothing: nobody answers there any more.
            let _gone_already = fs::remove_file(&self.path);
        }
    }
}

fn file_of(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|meta| (meta.dev(), meta.ino()))
}

/// Accepts from now on and hands on who may come in. The thread ends with the process.
///
/// # Errors
/// The thread cannot be started.
pub(super) fn open(listener: UnixListener, post: HatchPost<UnixStream>) -> io::Result<()> {
    let accept = move || {
        for stream in listener.incoming() {
            match stream {
                Ok(stream) => admit(stream, &post),
                // Without descriptors an accept fails at once, and would again.
                Err(_) => thread::park_timeout(Duration::from_millis(PAUSE_MS)),
            }
        }
    };
    thread::Builder::new().name("admin-socket".to_owned()).spawn(accept).map(drop)
}

fn admit(stream: UnixStream, post: &HatchPost<UnixStream>) {
    let own = geteuid();
    let refused = match socket_peercred(&stream) {
        Ok(peer) if may_enter(peer.uid.as_raw(), own.as_raw()) => {
            post.try_put(stream).err().map(|stream| (stream, BUSY))
        }
        Ok(peer) => {
            tracing::warn!(uid = peer.uid.as_raw(), "a user who may not administer has tried to");
            Some((stream, FORBIDDEN))
        }
        Err(_) => None,
    };
    if let Some((mut stream, why)) = refused {
        let _gone = stream.set_nonblocking(true).and_then(|()| stream.write_all(why));
    }
}

const fn may_enter(peer: u32, own: u32) -> bool {
    peer == own || peer == 0
}

/// What who is sent away is told.
pub(super) const BUSY: &[u8] = b"{\"error\":\"too many programs ask at a time\"}\n";
const FORBIDDEN: &[u8] = b"{\"error\":\"only the user of the server and root may ask\"}\n";
const PAUSE_MS: u64 = 100;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_own_user_and_root_may_enter_and_nobody_else() {
        for (peer, own, expected) in [(1000, 1000, true), (0, 1000, true), (1001, 1000, false), (1000, 0, false)] {
            assert_eq!(may_enter(peer, own), expected, "{peer} {own}");
        }
    }

    #[test]
    fn who_is_too_busy_to_answer_lives_and_nobody_waits_for_it() {
        let path = std::env::temp_dir().join(format!("waystation-entrance-busy-{}", std::process::id()));
        let _not_there = fs::remove_file(&path);
        let socket = || Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        let (address, busy) = (SockAddr::unix(&path).unwrap(), socket());
        busy.bind(&address).unwrap();
        busy.listen(1).unwrap();
        let wait = || {
            let waiting = socket();
            waiting.set_nonblocking(true).unwrap();
            waiting.connect(&address).ok().map(|()| waiting)
        };
        let waiting: Vec<Socket> = (0..100).map_while(|_| wait()).collect();
        assert!((1..100).contains(&waiting.len()));
        assert_eq!(bind(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert!(path.exists());
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn what_was_left_behind_is_replaced_and_what_lives_or_is_no_socket_is_not() {
        let path = std::env::temp_dir().join(format!("waystation-entrance-{}", std::process::id()));
        let _not_there = fs::remove_file(&path);
        let (first, made) = bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(bind(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        fs::remove_file(&path).unwrap();
        let (_other, of_other) = bind(&path).unwrap();
        drop(made);
        assert!(path.exists(), "another's is not removed");
        drop(of_other);
        assert!(!path.exists(), "its own is");
        drop(first);
        let left = UnixListener::bind(&path).unwrap();
        drop(left);
        drop(bind(&path).unwrap());
        let datagrams = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
        assert!(bind(&path).is_err(), "it is another service's");
        assert!(path.exists());
        drop(datagrams);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "a file").unwrap();
        assert_eq!(bind(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        fs::remove_file(&path).unwrap();
        assert!(bind(&path.join("nowhere")).is_err());
    }
}
