//! The administration's Unix socket: who may come in.
//!
//! The file is its owner's alone, and of each who connects the kernel is asked who it is: this user or root. A thread of
//! its own accepts, which waits for nothing but the next one; the executor serves them. Absent: how the file is made.

use std::io::{self, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::Duration;

use rustix::net::sockopt::socket_peercred;
use rustix::process::geteuid;

use crate::limits::ACCEPT_BACKOFF_MS;
use crate::mesh::HatchPost;

/// Accepts from now on and hands on who may come in. The thread ends with the process.
///
/// # Errors
/// The thread cannot be started.
pub(super) fn open(listener: UnixListener, post: HatchPost<UnixStream>) -> io::Result<()> {
    let accept = move || {
        for stream in listener.incoming() {
            match stream {
                Ok(stream) => admit(stream, may_enter, &post),
                // Without descriptors an accept fails at once, and would again.
                Err(_) => thread::park_timeout(Duration::from_millis(ACCEPT_BACKOFF_MS)),
            }
        }
    };
    thread::Builder::new().name("admin-socket".to_owned()).spawn(accept).map(drop)
}

fn admit(stream: UnixStream, may_enter: fn(u32, u32) -> bool, post: &HatchPost<UnixStream>) {
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

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;
    use crate::mesh::hatch;

    #[test]
    fn the_own_user_and_root_may_enter_and_nobody_else() {
        for (peer, own, expected) in [(1000, 1000, true), (0, 1000, true), (1001, 1000, false), (1000, 0, false)] {
            assert_eq!(may_enter(peer, own), expected, "{peer} {own}");
        }
    }

    #[test]
    fn who_may_not_enter_is_told_why_and_so_is_who_finds_no_room() {
        let (post, hatch) = hatch(1).unwrap();
        let own = geteuid().as_raw();
        let told = |may_enter: fn(u32, u32) -> bool| {
            let (near, mut far) = UnixStream::pair().unwrap();
            admit(near, may_enter, &post);
            far.set_nonblocking(true).unwrap();
            let mut text = Vec::new();
            let ended = far.read_to_end(&mut text).is_ok();
            (text, ended)
        };
        assert_eq!(told(|_, _| false), (FORBIDDEN.to_vec(), true));
        assert!(hatch.queue.is_empty());
        assert_eq!(told(may_enter), (Vec::new(), false), "user {own} may, and waits for its answer");
        assert_eq!(told(|peer, own| peer == own), (BUSY.to_vec(), true));
        assert_eq!(hatch.queue.len(), 1);
    }
}
