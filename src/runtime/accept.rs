//! Listeners: one per shard and address, and the state of its accept.
//!
//! All shards bind the same port and the kernel spreads the connections (`SO_REUSEPORT`). Since that
//! would also let a second server share the traffic unseen, the port is first bound without it.
//!
//! Options, which accepted sockets inherit: `TCP_NODELAY`, since every turn writes once and what it
//! writes is meant to go; `SO_REUSEADDR`, so that a restart does not wait for old connections. Sizes
//! of socket buffers are left to the kernel's tuning, and keep-alive to the protocol's pings.
//!
//! A drain leaves the doors open for its window: who comes is told that the server is not ready, which a
//! probe needs to hear. When a listener is closed then, the kernel resets what waits in its queue; a client
//! takes that as a refused connection and comes back.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};

use super::ring::{Kind, Ring, Token};
use crate::limits::{ACCEPT_BACKLOG, ACCEPT_BACKOFF_MS, PORT_WAIT_MS};
use crate::time::Millis;

/// Why an address cannot be listened on.
#[derive(Debug)]
pub enum ListenError {
    /// Another server has the port.
    InUse(SocketAddr),
    /// This user may not have it.
    Denied(SocketAddr),
    /// Anything else.
    Other(SocketAddr, io::Error),
}

impl ListenError {
    fn of(address: SocketAddr, errno: Errno) -> Self {
        match errno {
            Errno::ADDRINUSE => Self::InUse(address),
            Errno::ACCESS | Errno::PERM => Self::Denied(address),
            errno => Self::Other(address, errno.into()),
        }
    }
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse(address) => {
                write!(f, "{address} is in use: stop the server that has it, or choose another port")
            }
            Self::Denied(address) => {
                write!(
                    f,
                    "{address} may not be bound by this user: choose a port from 1024, or grant CAP_NET_BIND_SERVICE"
                )
            }
            Self::Other(address, error) => write!(f, "{address} cannot be listened on: {error}"),
        }
    }
}

impl std::error::Error for ListenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        if let Self::Other(_, error) = self { Some(error) } else { None }
    }
}

/// Who else may listen on the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Only the shards of this process; another server is an error.
    Alone,
    /// Other servers of the same user too, for a restart without a gap.
    WithOthers,
}

/// One listener per shard on `address`. With port 0 the kernel chooses one port for all.
///
/// # Errors
/// The port is taken, denied, or the address is none of this machine's.
pub fn listeners(address: SocketAddr, shards: usize, sharing: Sharing) -> Result<Vec<TcpListener>, ListenError> {
    if sharing == Sharing::Alone && address.port() != 0 {
        // Closed at once; nobody can connect to a socket that does not listen, and a listening one refuses this bind.
        drop(bound_soon(address).map_err(|errno| ListenError::of(address, errno))?);
    }
    let mut all = Vec::new();
    let mut address = address;
    for _ in 0..shards {
        let listener = open(address).map_err(|errno| ListenError::of(address, errno))?;
        address = listener.local_addr().map_err(|error| ListenError::Other(address, error))?;
        all.push(listener);
    }
    Ok(all)
}

/// Milliseconds between two looks at a taken port.
const PORT_STEP_MS: u32 = 50;

/// Binds, and gives a server that has just ended a moment: the kernel closes a dead process's ring, and with it the
/// listener that an accept of the ring still holds, a little after the process is gone.
#[expect(clippy::disallowed_methods, reason = "the start waits; no shard runs yet")]
fn bound_soon(address: SocketAddr) -> Result<OwnedFd, Errno> {
    for _ in (0..PORT_WAIT_MS).step_by(PORT_STEP_MS as usize) {
        match bound(address, Reuse::Address) {
            Err(Errno::ADDRINUSE) => std::thread::sleep(Duration::from_millis(PORT_STEP_MS.into())),
            other => return other,
        }
    }
    bound(address, Reuse::Address)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reuse {
    Address,
    Port,
}

fn open(address: SocketAddr) -> Result<TcpListener, Errno> {
    let socket = bound(address, Reuse::Port)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    listen(&socket, ACCEPT_BACKLOG)?;
    Ok(socket.into())
}

fn bound(address: SocketAddr, reuse: Reuse) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, reuse == Reuse::Port)?;
    bind(&socket, &address)?;
    Ok(socket)
}

/// A listener and its multishot accept.
#[derive(Debug)]
pub(super) struct Door {
    token: Token,
    /// Open until the drain closed it.
    listener: Option<TcpListener>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The accept is in flight.
    Armed,
    /// It ended for lack of something, and is armed again then.
    Backoff(Millis),
    /// It was cancelled, and the listener closes with its last completion.
    Closing,
    Closed,
}

impl Door {
    /// Begins to accept. `index` names the door in its completions.
    pub(super) fn open(index: u32, listener: TcpListener, ring: &mut Ring) -> Self {
        let token = Token::new(Kind::Accept, index, 0);
        ring.accept(listener.as_fd(), token);
        Self { token, listener: Some(listener), state: State::Armed }
    }

    /// The accept ended. Without an error, or with one of a connection that failed before it was
    /// accepted, it goes on at once. Any other leaves the connection in the queue, so that it goes on
    /// after a pause. Returns whether something was lacking.
    pub(super) fn on_end(&mut self, error: Option<Errno>, now: Millis, ring: &mut Ring) -> bool {
        if self.state == State::Closing {
            self.state = State::Closed;
            self.listener = None;
            return false;
        }
        match error {
            None | Some(Errno::CONNABORTED | Errno::INTR | Errno::AGAIN | Errno::PROTO | Errno::CANCELED) => {
                self.arm(ring);
                false
            }
            Some(_) => {
                self.state = State::Backoff(now.after(ACCEPT_BACKOFF_MS));
                true
            }
        }
    }

    /// When the door wants to be tried again.
    pub(super) const fn retry_at(&self) -> Option<Millis> {
        if let State::Backoff(at) = self.state { Some(at) } else { None }
    }

    /// Goes on after a pause that is over.
    pub(super) fn on_time(&mut self, now: Millis, ring: &mut Ring) {
        if self.retry_at().is_some_and(|at| at <= now) {
            self.arm(ring);
        }
    }

    /// Accepts no more.
    pub(super) fn close(&mut self, ring: &mut Ring) {
        match self.state {
            State::Armed => {
                ring.cancel(self.token);
                self.state = State::Closing;
            }
            State::Backoff(_) => {
                self.state = State::Closed;
                self.listener = None;
            }
            State::Closing | State::Closed => {}
        }
    }

    fn arm(&mut self, ring: &mut Ring) {
        if let Some(listener) = &self.listener {
            ring.accept(listener.as_fd(), self.token);
            self.state = State::Armed;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;
    use crate::runtime::ring::RingSizes;

    fn any() -> SocketAddr {
        "127.0.0.1:0".parse().unwrap()
    }

    #[test]
    fn all_shards_listen_on_one_port_and_accepted_sockets_inherit_no_delay() {
        let all = listeners(any(), 3, Sharing::Alone).unwrap();
        let address = all[0].local_addr().unwrap();
        assert!(all.iter().all(|listener| listener.local_addr().unwrap() == address));
        let one = listeners(any(), 1, Sharing::Alone).unwrap();
        let _client = TcpStream::connect(one[0].local_addr().unwrap()).unwrap();
        assert!(one[0].accept().unwrap().0.nodelay().unwrap());
    }

    #[test]
    fn a_port_that_another_server_has_is_an_error_unless_sharing_was_asked_for() {
        let first = listeners(any(), 1, Sharing::Alone).unwrap();
        let address = first[0].local_addr().unwrap();
        assert!(matches!(listeners(address, 1, Sharing::Alone), Err(ListenError::InUse(taken)) if taken == address));
        assert_eq!(listeners(address, 2, Sharing::WithOthers).unwrap().len(), 2);
    }

    #[test]
    fn a_port_that_is_given_back_in_time_is_waited_for() {
        let first = listeners(any(), 1, Sharing::Alone).unwrap();
        let address = first[0].local_addr().unwrap();
        let waits = std::thread::spawn(move || listeners(address, 1, Sharing::Alone).is_ok());
        std::thread::park_timeout(Duration::from_millis(PORT_WAIT_MS / 4));
        drop(first);
        assert!(waits.join().unwrap());
    }

    #[test]
    fn a_door_pauses_when_something_is_lacking_and_goes_on_at_once_otherwise() {
        let mut ring = Ring::new(RingSizes::default()).unwrap();
        let listener = listeners(any(), 1, Sharing::Alone).unwrap().remove(0);
        let mut door = Door::open(0, listener, &mut ring);
        for errno in [None, Some(Errno::CONNABORTED), Some(Errno::INTR)] {
            assert!(!door.on_end(errno, Millis(5), &mut ring) && door.retry_at().is_none(), "{errno:?}");
        }
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS, Errno::INVAL] {
            assert!(door.on_end(Some(errno), Millis(5), &mut ring), "{errno:?}");
            assert_eq!(door.retry_at(), Some(Millis(5 + ACCEPT_BACKOFF_MS)));
            door.on_time(Millis(4 + ACCEPT_BACKOFF_MS), &mut ring);
            assert!(door.retry_at().is_some(), "{errno:?}: a millisecond early");
            door.on_time(Millis(5 + ACCEPT_BACKOFF_MS), &mut ring);
            assert!(door.retry_at().is_none(), "{errno:?}");
        }
    }

    #[test]
    fn a_closed_door_lets_nobody_in_from_its_last_completion_on() {
        let mut ring = Ring::new(RingSizes::default()).unwrap();
        let listener = listeners(any(), 1, Sharing::Alone).unwrap().remove(0);
        let address = listener.local_addr().unwrap();
        let mut door = Door::open(0, listener, &mut ring);
        door.close(&mut ring);
        door.close(&mut ring);
        while door.state != State::Closed {
            ring.park(Duration::from_secs(5)).unwrap();
            let mut completions = Vec::new();
            ring.collect(&mut completions, 8).unwrap();
            for completion in completions.iter().filter(|completion| completion.token.kind == Kind::Accept) {
                door.on_end(completion.result.err(), Millis(0), &mut ring);
            }
        }
        let refused = (0..500).any(|_| TcpStream::connect(address).is_err());
        assert!(refused, "the kernel lets go of a listener once its operation is forgotten");
    }

    #[test]
    fn an_address_of_another_machine_is_an_error_that_names_it() {
        let foreign: SocketAddr = "192.0.2.1:0".parse().unwrap();
        let error = listeners(foreign, 1, Sharing::Alone).unwrap_err();
        assert!(matches!(error, ListenError::Other(..)) && error.to_string().contains("192.0.2.1"));
    }
}
