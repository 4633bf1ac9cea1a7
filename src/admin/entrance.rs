//! The administration's Unix socket: who may come in.
//!
//! The file is its owner's alone, and of each who connects the kernel is asked who it is: this user or root. A thread of
//! its own accepts, which waits for nothing but the next one; the executor serves them. Who is sent away is logged, some a
//! minute: a program that tries without end fills no log, and the next line says how many were left out. Absent: how the
//! file is made.

use std::io::{self, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::Duration;

use rustix::net::sockopt::socket_peercred;
use rustix::process::geteuid;

use super::clock::monotonic;
use crate::limits::{ACCEPT_BACKOFF_MS, FOREIGN_LINES_PER_MINUTE};
use crate::mesh::HatchPost;
use crate::rate::{Pace, Rate};
use crate::time::Millis;

/// Accepts from now on and hands on who may come in. The thread ends with the process.
///
/// # Errors
/// The thread cannot be started.
pub(super) fn open(listener: UnixListener, post: HatchPost<UnixStream>) -> io::Result<()> {
    let accept = move || {
        let (begun, mut foreign) = (monotonic(), Foreign::default());
        for stream in listener.incoming() {
            match stream {
                Ok(stream) => {
                    let now = Millis(u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX));
                    admit(stream, may_enter, &post, (&mut foreign, now));
                }
                // Without descriptors an accept fails at once, and would again.
                Err(_) => thread::park_timeout(Duration::from_millis(ACCEPT_BACKOFF_MS)),
            }
        }
    };
    thread::Builder::new().name("admin-socket".to_owned()).spawn(accept).map(drop)
}

/// How often it was logged that somebody was sent away.
#[derive(Debug, Default)]
struct Foreign {
    pace: Pace,
    /// Who was sent away since the last line without one.
    left_out: u64,
}

impl Foreign {
    /// Somebody is sent away: how many were before without a line, if there is to be one now.
    fn note(&mut self, now: Millis) -> Option<u64> {
        if self.pace.try_take(Rate::a_minute(FOREIGN_LINES_PER_MINUTE), now, 1).is_ok() {
            Some(std::mem::take(&mut self.left_out))
        } else {
            self.left_out += 1;
            None
        }
    }
}

fn admit(
    stream: UnixStream,
    may_enter: fn(u32, u32) -> bool,
    post: &HatchPost<UnixStream>,
    (foreign, now): (&mut Foreign, Millis),
) {
    let own = geteuid();
    let refused = match socket_peercred(&stream) {
        Ok(peer) if may_enter(peer.uid.as_raw(), own.as_raw()) => {
            post.try_put(stream).err().map(|stream| (stream, BUSY))
        }
        Ok(peer) => {
            if let Some(left_out) = foreign.note(now) {
                tracing::warn!(uid = peer.uid.as_raw(), left_out, "a user who may not administer has tried to");
            }
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
pub(super) const BUSY: &[u8] = b"{\"error\":\"too many programs ask at a time\",\
    \"remedy\":\"end one of them, such as a tail that nobody reads, and ask again\",\"passing\":true}\n";
const FORBIDDEN: &[u8] = b"{\"error\":\"only the user of the server and root may ask\",\
    \"remedy\":\"ask as root, or as that user\",\"passing\":false}\n";

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
    fn who_tries_without_end_has_so_many_lines_a_minute_and_the_next_one_says_how_many_are_left_out() {
        let mut foreign = Foreign::default();
        // A thousand a second, for three minutes: what is said, and what it says was left out.
        let said: Vec<(u64, u64)> =
            (0..180_000).filter_map(|ms| foreign.note(Millis(ms)).map(|left_out| (ms, left_out))).collect();
        let lines = u64::from(FOREIGN_LINES_PER_MINUTE);
        let first: u64 = said.iter().filter(|(ms, _)| *ms < 1_000).count() as u64;
        assert_eq!(first, lines, "as many as a minute has may come at once");
        let rest = said.len() as u64 - lines;
        assert!((2 * lines..=3 * lines).contains(&rest), "{said:?}");
        let left_out: u64 = said.iter().map(|(_, left_out)| left_out).sum();
        assert_eq!(said.len() as u64 + left_out + foreign.left_out, 180_000, "nobody is missing");
        assert!(said.iter().skip(usize::try_from(lines).unwrap()).all(|(_, left_out)| *left_out > 1_000), "{said:?}");
    }

    #[test]
    fn who_may_not_enter_is_told_why_and_so_is_who_finds_no_room() {
        let (post, hatch) = hatch(1).unwrap();
        let own = geteuid().as_raw();
        let told = |may_enter: fn(u32, u32) -> bool| {
            let (near, mut far) = UnixStream::pair().unwrap();
            admit(near, may_enter, &post, (&mut Foreign::default(), Millis(0)));
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
