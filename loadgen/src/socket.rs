//! Sockets of the load: non-blocking, bound to one of several loopback addresses, without Nagle's delay.
//!
//! On `rustix`: plain system calls behind safe types, one crate for sockets, epoll, limits and pinning, so that the
//! load generator has no `unsafe` and no second event loop underneath its own; `nix` for the one option it lacks.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};

use crate::limits::{DESCRIPTORS_SPARE_COUNT, EVENTS_PER_TURN};

/// What a read or write came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// So many bytes.
    Bytes(usize),
    /// Nothing now.
    Blocked,
    /// The peer is gone, with the error's text.
    Gone(&'static str),
}

/// Starts a connect to `target` from `source`; `receive_bytes` is what the kernel may keep for who reads slowly.
///
/// # Errors
/// No socket, no port, or the connect failed at once.
pub fn connect(target: SocketAddr, source: Option<IpAddr>, receive_bytes: Option<usize>) -> io::Result<OwnedFd> {
    let family = if target.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let fd = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_tcp_nodelay(&fd, true)?;
    if let Some(bytes) = receive_bytes {
        sockopt::set_socket_recv_buffer_size(&fd, bytes)?;
    }
    if let Some(source) = source {
        // Without it the kernel looks for a port that nobody has, not for one that is free towards the target: that
        // search dominates above some 14,000 connections from one address, and ends at 28,000.
        nix::sys::socket::setsockopt(&fd, nix::sys::socket::sockopt::IpBindAddressNoPort, &true)?;
        rustix::net::bind(&fd, &SocketAddr::new(source, 0))?;
    }
    match rustix::net::connect(&fd, &target) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(fd),
        Err(error) => Err(error.into()),
    }
}

/// How a started connect ended.
///
/// # Errors
/// The connect failed.
pub fn connected(fd: &OwnedFd) -> io::Result<()> {
    sockopt::socket_error(fd)?.map_err(io::Error::from)
}

/// Reads what is there.
pub fn read(fd: &OwnedFd, buf: &mut [u8]) -> Progress {
    match rustix::net::recv(fd, buf, RecvFlags::empty()) {
        Ok((_, 0)) => Progress::Gone("end of stream"),
        Ok((_, bytes)) => Progress::Bytes(bytes),
        Err(Errno::AGAIN | Errno::INTR) => Progress::Blocked,
        Err(error) => Progress::Gone(name_of(error)),
    }
}

/// Writes what fits.
pub fn write(fd: &OwnedFd, bytes: &[u8]) -> Progress {
    match rustix::net::send(fd, bytes, SendFlags::NOSIGNAL) {
        Ok(bytes) => Progress::Bytes(bytes),
        Err(Errno::AGAIN | Errno::INTR) => Progress::Blocked,
        Err(error) => Progress::Gone(name_of(error)),
    }
}

/// Closes at once, without leaving a port in `TIME_WAIT`: the next run needs it.
pub fn cut(fd: OwnedFd) {
    // A socket that cannot be told to reset is closed the slow way.
    let _ = sockopt::set_socket_linger(&fd, Some(Duration::ZERO));
}

fn name_of(error: Errno) -> &'static str {
    match error {
        Errno::CONNRESET => "connection reset",
        Errno::PIPE => "broken pipe",
        Errno::TIMEDOUT => "timed out",
        _ => "socket error",
    }
}

/// Raises the soft limit of descriptors to the hard one and checks that `connections` fit.
///
/// # Errors
/// They do not fit; the text says what would.
pub fn make_room(connections: usize) -> Result<(), String> {
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit)
        .map_err(|error| format!("cannot raise the descriptor limit: {error}"))?;
    let most = limit.maximum.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
    if connections + DESCRIPTORS_SPARE_COUNT > most {
        let fit = most.saturating_sub(DESCRIPTORS_SPARE_COUNT);
        return Err(format!("{connections} connections do not fit the hard descriptor limit {most}: at most {fit}"));
    }
    Ok(())
}

/// Binds the calling thread to one core.
///
/// # Errors
/// There is no such core.
pub fn pin(cpu: usize) -> Result<(), String> {
    let mut set = rustix::thread::CpuSet::new();
    set.set(cpu);
    rustix::thread::sched_setaffinity(None, &set).map_err(|error| format!("cannot run on core {cpu}: {error}"))
}

/// The poll: level-triggered, so that one read per event is enough.
pub struct Poll {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl fmt::Debug for Poll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poll").field("epoll", &self.epoll).finish_non_exhaustive()
    }
}

/// One socket that can go on.
#[derive(Debug, Clone, Copy)]
pub struct Readiness {
    /// The number it was registered under.
    pub number: usize,
    /// There is something to read, or an end.
    pub read: bool,
    /// There is room to write.
    pub write: bool,
}

impl Poll {
    /// An empty poll.
    ///
    /// # Errors
    /// The kernel has no descriptor left.
    pub fn new() -> io::Result<Self> {
        Ok(Self { epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?, events: Vec::with_capacity(EVENTS_PER_TURN) })
    }

    /// A poll for some sockets among those of this one, which says under `number` that there is something for them.
    ///
    /// # Errors
    /// The kernel has no descriptor left.
    pub fn nested(&self, number: usize) -> io::Result<Self> {
        let inner = Self::new()?;
        epoll::add(&self.epoll, &inner.epoll, data(number), epoll::EventFlags::IN)?;
        Ok(inner)
    }

    /// Watches a socket for reading and, if asked, writing.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn add(&self, fd: &OwnedFd, number: usize, interest: Interest) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, fd, data(number), interest.flags())?)
    }

    /// Changes what a socket is watched for.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn change(&self, fd: &OwnedFd, number: usize, interest: Interest) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, fd, data(number), interest.flags())?)
    }

    /// Waits at most `timeout_ns` and puts what is ready into `ready`.
    ///
    /// # Errors
    /// The poll itself failed.
    pub fn wait(&mut self, ready: &mut Vec<Readiness>, timeout_ns: u64) -> io::Result<()> {
        ready.clear();
        self.events.clear();
        let timeout = Timespec {
            tv_sec: i64::try_from(timeout_ns / 1_000_000_000).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(timeout_ns % 1_000_000_000).unwrap_or(0),
        };
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.events), Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        ready.extend(self.events.iter().map(|event| {
            let flags = event.flags;
            Readiness {
                number: usize::try_from(event.data.u64()).unwrap_or(usize::MAX),
                read: flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR),
                write: flags.intersects(epoll::EventFlags::OUT | epoll::EventFlags::HUP | epoll::EventFlags::ERR),
            }
        }));
        Ok(())
    }
}

/// What a socket is watched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Bytes to read.
    Read,
    /// Bytes to read, and room to write.
    ReadWrite,
    /// Room to write.
    Write,
    /// Nothing but the end.
    Nothing,
}

impl Interest {
    fn flags(self) -> epoll::EventFlags {
        match self {
            Self::Read => epoll::EventFlags::IN,
            Self::ReadWrite => epoll::EventFlags::IN | epoll::EventFlags::OUT,
            Self::Write => epoll::EventFlags::OUT,
            Self::Nothing => epoll::EventFlags::empty(),
        }
    }
}

fn data(number: usize) -> epoll::EventData {
    epoll::EventData::new_u64(u64::try_from(number).unwrap_or(u64::MAX))
}
