//! The administration's Unix socket: where it stands, and who may come in.
//!
//! The file is its owner's alone, and each who connects is asked for by the kernel: this user or root. A file that a server
//! left behind is replaced; one behind which a server answers is not. A thread of its own accepts, which waits for nothing
//! but the next one; the executor serves them.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::fs::Mode;
use rustix::net::sockopt::socket_peercred;
use rustix::process::geteuid;

use crate::mesh::HatchPost;

/// Makes the socket. Called before other threads make files: for a moment the process makes them for its user alone.
///
/// # Errors
/// `AddrInUse` where a server answers behind it already; any other where it cannot be made.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    match fs::symlink_metadata(path) {
        Ok(meta) if !meta.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file is there that is no socket"));
        }
        Ok(_) if UnixStream::connect(path).is_ok() => {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "a server answers there already"));
        }
        // Left behind by one that ended without a drain.
        Ok(_) => fs::remove_file(path)?,
        Err(_not_there) => {}
    }
    let before = rustix::process::umask(Mode::from_raw_mode(0o177));
    let bound = UnixListener::bind(path);
    rustix::process::umask(before);
    bound
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
    fn what_was_left_behind_is_replaced_and_what_lives_or_is_no_socket_is_not() {
        let path = std::env::temp_dir().join(format!("waystation-entrance-{}", std::process::id()));
        let _not_there = fs::remove_file(&path);
        let first = bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(bind(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(first);
        drop(bind(&path).unwrap());
        fs::remove_file(&path).unwrap();
        fs::write(&path, "a file").unwrap();
        assert_eq!(bind(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        fs::remove_file(&path).unwrap();
        assert!(bind(&path.join("nowhere")).is_err());
    }
}
