//! A server that the program starts itself, and ends: by SIGTERM first, by SIGKILL when that is not heard.
//!
//! Only a server started here is ever signalled. One that is dropped while it runs is killed, so that a run that fails
//! leaves nothing behind. One that is started apart is a process group of its own, which can be stopped as a whole, and
//! which the terminal's keys do not reach: who started it ends it.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::clock::Clock;
use crate::limits::{ADDRESS_FREE_NS, READY_ACCEPTS_COUNT, READY_ANSWER_NS, SERVER_END_NS, SERVER_START_NS};

/// Time between two looks at a server that starts or ends.
const LOOK: Duration = Duration::from_millis(20);

/// Where a server is reached, and how it says that it is ready.
#[derive(Clone, Copy, Debug)]
pub struct Door<'a> {
    /// Where.
    pub address: SocketAddr,
    /// A path that is answered 200 once it is, and 503 before. A server that knows no such path, or has none, is taken to
    /// be ready when it goes on accepting.
    pub ready: Option<&'a str>,
}

/// What a look at a server's door tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// Nobody is there, or says that it is not ready, or says nothing.
    Closed,
    /// Somebody accepts, who cannot tell.
    Accepts,
    /// It says that it is ready.
    Ready,
}

impl Door<'_> {
    fn look(self) -> Seen {
        let Ok(stream) = TcpStream::connect(self.address) else { return Seen::Closed };
        // While nobody listens, a port of our own choice may be the very one: then we have reached ourselves.
        if stream.local_addr().is_ok_and(|own| own == self.address) {
            return Seen::Closed;
        }
        self.ready.map_or(Seen::Accepts, |path| ask(stream, path).unwrap_or(Seen::Closed))
    }
}

/// Asks for the path. Who has none may close, or answer anything.
fn ask(mut stream: TcpStream, path: &str) -> io::Result<Seen> {
    let patience = Some(Duration::from_nanos(READY_ANSWER_NS));
    stream.set_read_timeout(patience)?;
    stream.set_write_timeout(patience)?;
    let host = stream.peer_addr()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let mut line = [0; "HTTP/1.1 200".len()];
    match stream.write_all(request.as_bytes()).and_then(|()| stream.read_exact(&mut line)) {
        Ok(()) if line.ends_with(b" 200") => Ok(Seen::Ready),
        Ok(()) if line.ends_with(b" 503") => Ok(Seen::Closed),
        Ok(()) => Ok(Seen::Accepts),
        Err(error) => match error.kind() {
            ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Ok(Seen::Accepts),
            _ => Err(error),
        },
    }
}

/// A running server.
#[derive(Debug)]
pub struct Launched {
    child: Child,
    /// Whether it is a process group of its own.
    apart: bool,
}

impl Launched {
    /// Starts `command` by the shell, on one core if asked, and waits until it is ready at `door`.
    ///
    /// # Errors
    /// It does not start, ends at once, or is not ready in time; then nothing of it is left.
    pub fn start(command: &str, cpu: Option<usize>, door: Door<'_>) -> Result<Self, String> {
        wait_until_free(door.address)?;
        Self { child: spawn(&mut shell(command, cpu))?, apart: false }.wait_for(door)
    }

    /// The same in a process group of its own.
    ///
    /// # Errors
    /// As for `start`.
    pub fn start_apart(command: &str, cpu: Option<usize>, door: Door<'_>) -> Result<Self, String> {
        wait_until_free(door.address)?;
        Self { child: spawn(shell(command, cpu).process_group(0))?, apart: true }.wait_for(door)
    }

    /// Stops its group, if it was started apart, until its end or until somebody lets it go on.
    ///
    /// # Errors
    /// The kernel does not let us.
    pub fn stop(&self) -> Result<(), String> {
        let stopped = if self.apart { self.signal(Signal::STOP) } else { Ok(()) };
        stopped.map_err(|error| format!("cannot stop process {}: {error}", self.child.id()))
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it and waits for that.
    ///
    /// # Errors
    /// The kernel does not let us.
    pub fn end(mut self) -> Result<(), String> {
        self.try_end().map_err(|error| format!("cannot end process {}: {error}", self.child.id()))
    }

    /// Ends it by SIGKILL, as a crash would, with all that it started if it was started apart.
    ///
    /// # Errors
    /// It had ended already, or the kernel does not let us.
    pub fn kill(mut self) -> Result<(), String> {
        if let Some(status) = self.ended() {
            return Err(format!("process {} had ended by itself: {status}", self.child.id()));
        }
        let killed = self.signal(Signal::KILL).and_then(|()| self.child.wait().map(drop));
        killed.map_err(|error| format!("cannot kill process {}: {error}", self.child.id()))
    }

    fn wait_for(mut self, door: Door<'_>) -> Result<Self, String> {
        let clock = Clock::start();
        let mut in_a_row = 0;
        while clock.now_ns() < SERVER_START_NS {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("ended at once: {status}"));
            }
            in_a_row = match door.look() {
                Seen::Closed => 0,
                Seen::Accepts => in_a_row + 1,
                Seen::Ready => READY_ACCEPTS_COUNT,
            };
            if in_a_row >= READY_ACCEPTS_COUNT {
                return Ok(self);
            }
            Clock::sleep(LOOK);
        }
        Err(match door.ready {
            Some(path) => format!("does not accept connections on {}, or is not ready by GET {path}", door.address),
            None => format!("does not accept connections on {}", door.address),
        })
    }

    fn try_end(&mut self) -> io::Result<()> {
        if self.child.try_wait()?.is_none() {
            self.signal(Signal::TERM)?;
            if self.apart {
                // What is stopped hears nothing else before this.
                self.signal(Signal::CONT)?;
            }
        }
        let clock = Clock::start();
        while clock.now_ns() < SERVER_END_NS {
            if self.child.try_wait()?.is_some() {
                return Ok(());
            }
            Clock::sleep(LOOK);
        }
        self.signal(Signal::KILL)?;
        self.child.wait().map(drop)
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        Ok(if self.apart { rustix::process::kill_process_group(pid, signal) } else { kill_process(pid, signal) }?)
    }
}

fn shell(command: &str, cpu: Option<usize>) -> Command {
    // `exec` keeps the shell out of the way: the child's id is the server's.
    let command = match cpu {
        Some(cpu) => format!("exec taskset -c {cpu} {command}"),
        None => format!("exec {command}"),
    };
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(command).stdin(Stdio::null()).stdout(Stdio::null());
    shell
}

fn spawn(command: &mut Command) -> Result<Child, String> {
    command.spawn().map_err(|error| format!("cannot start {command:?}: {error}"))
}

/// A ring's listener may outlive its process for some milliseconds: the kernel closes it behind the program's back.
fn wait_until_free(address: SocketAddr) -> Result<(), String> {
    let clock = Clock::start();
    while TcpStream::connect(address).is_ok() {
        if clock.now_ns() >= ADDRESS_FREE_NS {
            return Err(format!("{address} is in use by another server: end it, or choose another port"));
        }
        Clock::sleep(LOOK);
    }
    Ok(())
}

impl Drop for Launched {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // A process that cannot be killed is no longer ours to end.
            let _ = self.signal(Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free_address() -> SocketAddr {
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    fn check(command: &str, word: &str) {
        let door = Door { address: free_address(), ready: None };
        let error = Launched::start(command, None, door).unwrap_err();
        assert!(error.contains(word), "{command}: {error}");
    }

    #[test]
    fn a_command_that_ends_or_does_not_exist_is_refused_with_its_status() {
        check("true", "exit status: 0");
        check("/nowhere/to/be/found", "127");
    }

    #[test]
    fn an_address_in_use_is_refused_before_anything_starts() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let door = Door { address: listener.local_addr().unwrap(), ready: None };
        let error = Launched::start("true", None, door).unwrap_err();
        assert!(error.contains("in use"), "{error}");
    }

    /// Answers one connection after another with these, and then with the last of them.
    fn answering(answers: &'static [&'static str]) -> SocketAddr {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let last = answers.last().into_iter().cycle();
            for answer in answers.iter().chain(last) {
                let Ok((mut stream, _)) = listener.accept() else { return };
                let mut head = [0; 512];
                let _nobody_minds = stream.read(&mut head).and_then(|_| stream.write_all(answer.as_bytes()));
            }
        });
        address
    }

    #[test]
    fn a_server_is_ready_when_it_says_so_and_who_cannot_tell_accepts() {
        use Seen::{Accepts, Closed, Ready};
        const NOT_YET: &str = "HTTP/1.1 503 Service Unavailable\r\n\r\n";
        let address =
            answering(&[NOT_YET, "", "HTTP", "HTTP/1.1 404 Not Found\r\n\r\n", NOT_YET, "HTTP/1.1 200 OK\r\n\r\n"]);
        let door = Door { address, ready: Some("/readyz") };
        let seen = [0; 7].map(|_| door.look());
        assert_eq!(seen, [Closed, Accepts, Accepts, Accepts, Closed, Ready, Ready]);
        assert_eq!(Door { ready: None, ..door }.look(), Accepts);
        assert_eq!(Door { address: free_address(), ..door }.look(), Closed);
    }

    #[test]
    fn who_accepts_and_never_answers_is_not_ready() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let door = Door { address: listener.local_addr().unwrap(), ready: Some("/readyz") };
        assert_eq!(door.look(), Seen::Closed);
    }

    #[test]
    fn a_server_that_cannot_be_asked_is_waited_for_until_it_goes_on_accepting() {
        let child = || Launched { child: spawn(&mut shell("sleep 60", None)).unwrap(), apart: false };
        let wait = |answers| child().wait_for(Door { address: answering(answers), ready: Some("/readyz") });
        let clock = Clock::start();
        assert!(wait(&[""]).is_ok());
        assert!(clock.now_ns() >= u64::from(READY_ACCEPTS_COUNT - 1) * 20_000_000, "one accept is not enough");
        assert!(wait(&["HTTP/1.1 503 Service Unavailable\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"]).is_ok());
    }

    #[test]
    fn an_address_that_becomes_free_soon_is_waited_for() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let closer = std::thread::spawn(move || {
            Clock::sleep(LOOK * 3);
            drop(listener);
        });
        assert_eq!(wait_until_free(address), Ok(()));
        closer.join().unwrap();
    }
}
