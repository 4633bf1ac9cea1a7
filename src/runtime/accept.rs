//! Doors: a listener of one shard and the state of its accept.
//!
//! A listener that is the shard's own accepts many with one operation. One that all shards share (a Unix socket: the
//! kernel spreads no connections over several of those) accepts one with each, since the kernel wakes the waiter that
//! came first: who has accepted waits again behind the others, and so each gets its share.
//!
//! A drain leaves the doors open for its window: who comes is told that the server is not ready, which a
//! probe needs to hear. When a listener is closed then, the kernel resets what waits in its queue; a client
//! takes that as a refused connection and comes back.

use std::os::fd::AsFd;

use rustix::io::Errno;

use super::listen::{Listener, Spread};
use super::ring::{Kind, Ring, Token};
use crate::limits::ACCEPT_BACKOFF_MS;
use crate::time::Millis;

/// A listener and its accept.
#[derive(Debug)]
pub(super) struct Door {
    token: Token,
    /// Open until the drain closed it.
    listener: Option<Listener>,
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
    pub(super) fn open(index: u32, listener: Listener, ring: &mut Ring) -> Self {
        let token = Token::new(Kind::Accept, index, 0);
        accept(&listener, token, ring);
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
            accept(listener, self.token, ring);
            self.state = State::Armed;
        }
    }
}

fn accept(listener: &Listener, token: Token, ring: &mut Ring) {
    match listener.spread {
        Spread::ByKernel => ring.accept(listener.socket.as_fd(), token),
        Spread::InTurns => ring.accept_one(listener.socket.as_fd(), token),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpStream};
    use std::time::Duration;

    use super::*;
    use crate::runtime::address::Address;
    use crate::runtime::listen::{Options, Sharing, listen};
    use crate::runtime::ring::RingSizes;

    fn one() -> Listener {
        let address = Address::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)));
        listen(&address, 1, Options { sharing: Sharing::Alone, mode: 0o600 }).unwrap().of_shards.remove(0)
    }

    fn address_of(listener: &Listener) -> SocketAddr {
        rustix::net::getsockname(&listener.socket).unwrap().try_into().unwrap()
    }

    #[test]
    fn a_door_pauses_when_something_is_lacking_and_goes_on_at_once_otherwise() {
        let mut ring = Ring::new(RingSizes::default()).unwrap();
        let listener = one();
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
        let listener = one();
        let address = address_of(&listener);
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
}
