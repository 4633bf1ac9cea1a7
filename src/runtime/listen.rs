//! Listeners: who may have an address, and what each shard accepts on.
//!
//! All shards bind the same port and the kernel spreads the connections (`SO_REUSEPORT`). Since that
//! would also let a second server share the traffic unseen, the port is first bound without it. A Unix socket has one
//! listener, which the shards share (`accept`); its file is `socket_file`'s.
//!
//! Options, which accepted sockets inherit: `TCP_NODELAY`, since every turn writes once and what it
//! writes is meant to go; `SO_REUSEADDR`, so that a restart does not wait for old connections; `IPV6_V6ONLY`, so that
//! `[::]` means the same on every system. Sizes of socket buffers are left to the kernel's tuning, and keep-alive to the
//! protocol's pings.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, listen as start_listening};
use rustix::net::{socket_with, sockopt};

use super::address::Address;
use super::socket_file;
pub use super::socket_file::SocketFile;
use crate::limits::{ACCEPT_BACKLOG, PORT_WAIT_MS};

/// Why an address cannot be listened on.
#[derive(Debug)]
pub enum ListenError {
    /// Another server has it.
    InUse(Address),
    /// This user may not have it.
    Denied(Address),
    /// A file that is no socket stands at the path.
    NoSocket(Address),
    /// The directory of the path is not there.
    NoDirectory(Address),
    /// Anything else.
    Other(Address, io::Error),
}

impl ListenError {
    /// What a failed system call means for an address.
    pub(super) fn of(address: &Address, errno: Errno) -> Self {
        let address = address.clone();
        match errno {
            Errno::ADDRINUSE => Self::InUse(address),
            Errno::ACCESS | Errno::PERM => Self::Denied(address),
            Errno::NOENT | Errno::NOTDIR => Self::NoDirectory(address),
            errno => Self::Other(address, errno.into()),
        }
    }
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse(address @ Address::Tcp(_)) => {
                write!(f, "{address} is in use: stop the server that has it, or choose another port")
            }
            Self::InUse(address) => {
                write!(f, "{address} is in use: stop the server that has it, or choose another path")
            }
            Self::Denied(address @ Address::Tcp(_)) => {
                write!(
                    f,
                    "{address} may not be bound by this user: choose a port from 1024, or grant CAP_NET_BIND_SERVICE"
                )
            }
            Self::Denied(address) => {
                write!(f, "{address} may not be made by this user: choose a path in a directory that it may write to")
            }
            Self::NoSocket(address) => {
                write!(f, "{address} is a file and no socket, and stays: move it away, or choose another path")
            }
            Self::NoDirectory(address) => write!(
                f,
                "{address} cannot be made: there is no such directory; make it, or let the unit do so with RuntimeDirectory="
            ),
            Self::Other(address, error) => write!(f, "{address} cannot be listened on: {error}"),
        }
    }
}

impl std::error::Error for ListenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        if let Self::Other(_, error) = self { Some(error) } else { None }
    }
}

/// Who else may listen on the same addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Only the shards of this process; another server is an error.
    Alone,
    /// Other servers of the same user too, for a change of servers in which nobody is refused.
    WithOthers,
}

/// How a listener is made.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Who else may listen there.
    pub sharing: Sharing,
    /// Who may connect to a Unix socket, as the mode of its file.
    pub mode: u32,
}

/// How connections come to the shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spread {
    /// Each shard has a listener of its own, and the kernel chooses one.
    ByKernel,
    /// All have the same, and each accepts one and waits behind the others.
    InTurns,
}

/// What a shard accepts on.
#[derive(Debug)]
pub struct Listener {
    pub(super) socket: OwnedFd,
    pub(super) spread: Spread,
}

/// An address that is listened on.
#[derive(Debug)]
pub struct Listening {
    /// The address, in which port 0 is replaced by the one that was free.
    pub address: Address,
    /// One for each shard.
    pub of_shards: Vec<Listener>,
    /// The file of a Unix socket, which goes with this value.
    pub file: Option<SocketFile>,
}

/// Listens on an address: one listener a shard. With port 0 the kernel chooses one port for all.
///
/// # Errors
/// The address is taken, denied, or none of this machine's.
pub fn listen(address: &Address, shards: usize, options: Options) -> Result<Listening, ListenError> {
    match address {
        Address::Tcp(address) => listen_tcp(*address, shards, options.sharing),
        Address::Unix(path) => {
            let (file, socket) = socket_file::make(path, options)?;
            let other = |error| ListenError::Other(address.clone(), error);
            let again = || Ok(Listener { socket: socket.try_clone().map_err(other)?, spread: Spread::InTurns });
            let of_shards = (0..shards).map(|_| again()).collect::<Result<_, _>>()?;
            Ok(Listening { address: address.clone(), of_shards, file: Some(file) })
        }
    }
}

/// Makes a Unix socket for who accepts on it without a shard.
///
/// # Errors
/// Another server has it, or the file cannot be made.
pub fn listen_aside(path: &Path, options: Options) -> Result<(SocketFile, UnixListener), ListenError> {
    socket_file::make(path, options).map(|(file, socket)| (file, socket.into()))
}

fn listen_tcp(wanted: SocketAddr, shards: usize, sharing: Sharing) -> Result<Listening, ListenError> {
    let refused = |address, errno| ListenError::of(&Address::Tcp(address), errno);
    if sharing == Sharing::Alone && wanted.port() != 0 {
        // Closed at once; nobody can connect to a socket that does not listen, and a listening one refuses this bind.
        drop(soon(|| bound(wanted, Reuse::Address)).map_err(|errno| refused(wanted, errno))?);
    }
    let mut of_shards = Vec::new();
    let mut address = wanted;
    for _ in 0..shards {
        let socket = bound(address, Reuse::Port).map_err(|errno| refused(address, errno))?;
        let name = getsockname(&socket).map_err(|errno| refused(address, errno))?;
        address = name.try_into().map_err(|errno| refused(address, errno))?;
        of_shards.push(Listener { socket, spread: Spread::ByKernel });
    }
    // Only then: whoever gets through to one of them has all of them there.
    for listener in &of_shards {
        begin(&listener.socket).map_err(|errno| refused(address, errno))?;
    }
    Ok(Listening { address: Address::Tcp(address), of_shards, file: None })
}

/// Milliseconds between two looks at a taken address.
const PORT_STEP_MS: u32 = 50;

/// Tries, and gives a server that has just ended a moment: the kernel closes a dead process's ring, and with it the
/// listener that an accept of the ring still holds, a little after the process is gone.
#[expect(clippy::disallowed_methods, reason = "the start waits; no shard runs yet")]
pub(super) fn soon<T>(attempt: impl Fn() -> Result<T, Errno>) -> Result<T, Errno> {
    for _ in (0..PORT_WAIT_MS).step_by(PORT_STEP_MS as usize) {
        match attempt() {
            Err(Errno::ADDRINUSE) => std::thread::sleep(Duration::from_millis(PORT_STEP_MS.into())),
            other => return other,
        }
    }
    attempt()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reuse {
    Address,
    Port,
}

fn begin(socket: &OwnedFd) -> Result<(), Errno> {
    sockopt::set_tcp_nodelay(socket, true)?;
    start_listening(socket, ACCEPT_BACKLOG)
}

fn bound(address: SocketAddr, reuse: Reuse) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, reuse == Reuse::Port)?;
    bind(&socket, &address)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    const ALONE: Options = Options { sharing: Sharing::Alone, mode: 0o600 };
    const SHARED: Options = Options { sharing: Sharing::WithOthers, mode: 0o600 };

    fn any() -> Address {
        "127.0.0.1:0".parse().unwrap()
    }

    #[test]
    fn all_shards_listen_on_one_port_and_accepted_sockets_inherit_no_delay() {
        let all = listen(&any(), 3, ALONE).unwrap();
        let names = all.of_shards.iter().map(|listener| getsockname(&listener.socket).unwrap().try_into());
        assert!(names.map(Result::unwrap).all(|name: SocketAddr| Address::Tcp(name) == all.address));
        let mut one = listen(&any(), 1, ALONE).unwrap();
        let _client = TcpStream::connect(one.address.tcp().unwrap()).unwrap();
        let listener = TcpListener::from(one.of_shards.remove(0).socket);
        assert!(listener.accept().unwrap().0.nodelay().unwrap());
    }

    #[test]
    fn a_port_that_another_server_has_is_an_error_unless_sharing_was_asked_for() {
        let first = listen(&any(), 1, ALONE).unwrap();
        let address = &first.address;
        assert!(matches!(listen(address, 1, ALONE), Err(ListenError::InUse(taken)) if taken == *address));
        assert_eq!(listen(address, 2, SHARED).unwrap().of_shards.len(), 2);
    }

    #[test]
    fn a_port_that_is_given_back_in_time_is_waited_for() {
        let first = listen(&any(), 1, ALONE).unwrap();
        let address = first.address.clone();
        let waits = std::thread::spawn(move || listen(&address, 1, ALONE).is_ok());
        std::thread::park_timeout(Duration::from_millis(PORT_WAIT_MS / 4));
        drop(first);
        assert!(waits.join().unwrap());
    }

    #[test]
    fn an_unspecified_address_of_ipv6_leaves_the_port_of_ipv4_to_others() {
        let six = listen(&"[::]:0".parse().unwrap(), 1, ALONE).unwrap();
        let port = six.address.tcp().unwrap().port();
        assert!(TcpStream::connect(("::1", port)).is_ok());
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "IPv4 came in by an IPv6 address");
        assert!(listen(&format!("0.0.0.0:{port}").parse().unwrap(), 1, ALONE).is_ok());
    }

    #[test]
    fn an_address_of_another_machine_is_an_error_that_names_it() {
        let error = listen(&"192.0.2.1:0".parse().unwrap(), 1, ALONE).unwrap_err();
        assert!(matches!(error, ListenError::Other(..)) && error.to_string().contains("192.0.2.1"));
    }
}
