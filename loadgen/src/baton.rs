//! The right to run, handed to and fro by the two sides of a pair.
//!
//! Each side is a generator and a server, two processes of its own. Only the side that has the baton runs: the other
//! one's server is stopped, and its generator waits. To hand over is to stop one's own server and write one message to
//! the other side; to take is to read it and let one's own server go on. Nobody stands between the two, so whoever
//! started them need not run for it, and has no core to wait for.
//!
//! Servers are signalled as groups, so that one with children stops as a whole. A side whose other one is gone has the
//! baton for good. One whose starter is gone ends its server: nothing stays stopped because somebody was killed. `server`
//! stops one and lets it go on.

mod server;

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::process::Pid;

use crate::clock::{Clock, nanoseconds};

use server::Server;

/// Which of the two begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// This one.
    First,
    /// The other one.
    Second,
}

/// One side's end.
#[derive(Debug)]
pub struct Baton {
    place: Place,
    line: UnixStream,
    server: Server,
    /// Who started this process.
    starter: Option<Pid>,
    slice_ns: u64,
}

/// What came of waiting for the baton.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is there, after so long on its way: from the end of the other's slice until the own server ran.
    After(u64),
    /// The other side is gone.
    ForGood,
}

impl Place {
    /// Reads `first` or `second`.
    ///
    /// # Errors
    /// It is neither.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "first" => Ok(Self::First),
            "second" => Ok(Self::Second),
            _ => Err(format!("{text:?}: must be first or second")),
        }
    }

    /// The word that is read.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Second => "second",
        }
    }
}

impl Baton {
    /// The end of a side whose server is the process group `server`, over a socket to the other side.
    ///
    /// # Errors
    /// There is no such process.
    pub fn new(place: Place, line: UnixStream, server: u32, slice: Duration) -> Result<Self, String> {
        Ok(Self {
            place,
            line,
            server: Server::new(server)?,
            starter: rustix::process::getppid(),
            slice_ns: nanoseconds(slice),
        })
    }

    /// The same with this process's standard input as the socket, which is how a starter hands it on.
    ///
    /// # Errors
    /// Standard input is closed, or there is no such process.
    pub fn from_stdin(place: Place, server: u32, slice: Duration) -> Result<Self, String> {
        let line = io::stdin().as_fd().try_clone_to_owned();
        let line = line.map_err(|error| format!("the line to the other side: {error}"))?;
        Self::new(place, UnixStream::from(line), server, slice)
    }

    /// Length of a slice.
    #[must_use]
    pub fn slice_ns(&self) -> u64 {
        self.slice_ns
    }

    /// Waits until this side may begin.
    ///
    /// # Errors
    /// The server or the line failed.
    pub fn begin(&self) -> Result<(), String> {
        match self.place {
            Place::First => self.server.go_on(),
            Place::Second => self.take().map(drop),
        }
    }

    /// Stops the own server and lets the other side run.
    ///
    /// # Errors
    /// The server is gone, the line failed, or the starter is gone.
    pub fn pass(&self) -> Result<(), String> {
        let since_ns = Clock::of_machine_ns();
        self.check_starter()?;
        self.server.stop()?;
        match (&self.line).write_all(&since_ns.to_le_bytes()) {
            Err(error) if !is_over(&error) => Err(format!("the line to the other side: {error}")),
            _ => Ok(()),
        }
    }

    /// Waits for the baton, however long the other side takes, and lets the own server go on.
    ///
    /// # Errors
    /// The server is gone, the line failed, or the starter is gone.
    pub fn take(&self) -> Result<Taken, String> {
        let mut since = [0; 8];
        let taken = match (&self.line).read_exact(&mut since) {
            Ok(()) => true,
            Err(error) if is_over(&error) => false,
            Err(error) => return Err(format!("the line to the other side: {error}")),
        };
        self.check_starter()?;
        self.server.go_on()?;
        let took_ns = Clock::of_machine_ns().saturating_sub(u64::from_le_bytes(since));
        Ok(if taken { Taken::After(took_ns) } else { Taken::ForGood })
    }

    /// Stops the own server when all is done; the other side has the baton when this process ends.
    ///
    /// # Errors
    /// The server or the starter is gone.
    pub fn rest(&self) -> Result<(), String> {
        self.check_starter()?;
        self.server.stop()
    }

    /// Whoever started this process ends the server; if nobody is left to do it, this process does.
    fn check_starter(&self) -> Result<(), String> {
        if rustix::process::getppid() == self.starter {
            return Ok(());
        }
        self.server.end()?;
        Err("who started the pair is gone".to_owned())
    }
}

/// Whether the other side closed its end.
fn is_over(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command};

    use super::*;

    /// A process that does nothing, in a group of its own.
    struct Sleeper(Child);

    impl Sleeper {
        fn start() -> Self {
            Self(Command::new("sleep").arg("60").process_group(0).spawn().unwrap())
        }

        /// Waits until the kernel says that it is stopped, or that it is not.
        fn check_stopped(&self, expected: bool) {
            let is_stopped = || {
                let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
                stat.rsplit_once(") ").unwrap().1.starts_with('T')
            };
            let clock = Clock::start();
            while is_stopped() != expected {
                assert!(clock.now_ns() < 10_000_000_000, "stopped: {}", is_stopped());
                Clock::sleep(Duration::from_millis(1));
            }
        }
    }

    impl Drop for Sleeper {
        fn drop(&mut self) {
            self.0.kill().unwrap();
            self.0.wait().unwrap();
        }
    }

    fn sides() -> [(Sleeper, Baton); 2] {
        let (one, other) = UnixStream::pair().unwrap();
        [(Place::First, one), (Place::Second, other)].map(|(place, line)| {
            let server = Sleeper::start();
            let baton = Baton::new(place, line, server.0.id(), Duration::from_millis(50)).unwrap();
            (server, baton)
        })
    }

    #[test]
    fn the_server_of_the_side_with_the_baton_runs_and_the_other_is_stopped() {
        let [(server_a, a), (server_b, b)] = sides();
        a.begin().unwrap();
        for _ in 0..3 {
            a.pass().unwrap();
            server_a.check_stopped(true);
            assert!(matches!(b.take(), Ok(Taken::After(_))));
            server_b.check_stopped(false);
            b.pass().unwrap();
            server_b.check_stopped(true);
            assert!(matches!(a.take(), Ok(Taken::After(_))));
            server_a.check_stopped(false);
        }
        a.rest().unwrap();
        server_a.check_stopped(true);
    }

    #[test]
    fn who_is_left_alone_has_the_baton_for_good() {
        let [(_, a), (server_b, b)] = sides();
        drop(a);
        assert_eq!(b.take(), Ok(Taken::ForGood));
        b.pass().unwrap();
        server_b.check_stopped(true);
        assert_eq!(b.take(), Ok(Taken::ForGood));
        server_b.check_stopped(false);
    }

    #[test]
    fn a_server_that_is_gone_and_a_place_that_is_none_are_refused() {
        let [(server, a), _other] = sides();
        drop(server);
        assert!(a.begin().unwrap_err().starts_with("server process"));
        assert!(a.pass().is_err() && a.rest().is_err());
        for place in [Place::First, Place::Second] {
            assert_eq!(Place::parse(place.word()), Ok(place));
        }
        assert!(Place::parse("third").unwrap_err().contains("must be first or second"));
        assert!(Baton::new(Place::First, UnixStream::pair().unwrap().0, 0, Duration::ZERO).is_err());
    }
}
