//! The program on a real terminal, which `script` makes and `vt100` reads as a person would: what is proved is that the
//! screen is drawn in every size and given back however the run ends, that keys and signals end the run early and keep
//! its result, and that standard output has the report and nothing else.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test binary: a panic is its report")]

#[path = "support/floor.rs"]
mod support;

use std::io::{Read as _, Write as _};
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use support::Server;

const ENTER_SCREEN: &str = "\x1b[?1049h";
const LEAVE_SCREEN: &str = "\x1b[?1049l";
/// Columns and rows.
const USUAL: (u16, u16) = (100, 24);

/// A run on a terminal of its own, its standard output in a file.
struct Session {
    child: Child,
    shown: Receiver<Vec<u8>>,
    /// All that the terminal was sent.
    text: String,
    /// What a person sees of it.
    terminal: vt100::Parser,
    stdout: PathBuf,
}

fn parser((columns, rows): (u16, u16)) -> vt100::Parser {
    let count = |count| NonZeroU16::new(count).unwrap_or(NonZeroU16::MIN);
    vt100::Parser::new(count(rows), count(columns), 0)
}

impl Session {
    /// Starts a run of two minutes.
    fn start(name: &str, server: &Server, size: (u16, u16), flags: &str) -> Self {
        let stdout = std::env::temp_dir().join(format!("loadgen-live-{name}-{}", std::process::id()));
        let program = env!("CARGO_BIN_EXE_loadgen");
        let (url, out, (columns, rows)) = (&server.url, stdout.display(), size);
        // After the program the terminal says how it was left. Ctrl-C is sent to the shell too, which is to go on.
        // As a job of a shell that controls jobs it can be stopped, and is then looked at and continued.
        let (jobs, resumed) =
            if name.starts_with("job") { ("set -m;", "echo stopped; stty -a; fg;") } else { ("", "") };
        let command = format!(
            "trap : INT; {jobs} stty rows {rows} cols {columns}; tty; echo $$; $BEFORE {program} run --scenario smoke \
             --set duration_s=120.0 --set lateness_p99_max_us=10000000 --set starved_max=1 --url {url} {flags} > {out}; \
             {resumed} echo code $?; stty -a"
        );
        // Whoever runs the tests may have told them to outlive a terminal, which the shell here is not to.
        let hangup = if name == "nohup" { "--ignore-signal=HUP" } else { "--default-signal=HUP" };
        let mut script = Command::new("env");
        script.args([hangup, "script", "-qec", &command, "/dev/null"]).env("SHELL", "/bin/sh");
        script.env("TERM", if name == "dumb" { "dumb" } else { "xterm" });
        script.env("LC_ALL", if name == "ascii" { "C" } else { "C.UTF-8" });
        script.env("BEFORE", if name == "plain" { "env NO_COLOR=1" } else { "env -u NO_COLOR" });
        let mut child = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("script, of util-linux");
        let mut from = child.stdout.take().unwrap();
        let (tell, shown) = channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = from.read(&mut bytes) {
                if tell.send(bytes[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self { child, shown, text: String::new(), terminal: parser(size), stdout }
    }

    /// Takes in what the terminal is sent until `done`.
    fn wait_until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        while !done(self) {
            let more = self.shown.recv_timeout(Duration::from_secs(60));
            let more = more.unwrap_or_else(|error| panic!("{what}: {error}: {}", self.screen()));
            self.terminal.process(&more);
            self.text += &String::from_utf8_lossy(&more);
        }
    }

    /// Waits until the terminal was sent these words.
    fn wait_for(&mut self, words: &str) {
        self.wait_until(words, |session| session.text.contains(words));
    }

    /// Waits until all these words stand on the screen.
    fn wait_to_see(&mut self, words: &[&str]) {
        self.wait_until(&words.join(", "), |session| {
            let screen = session.screen();
            words.iter().all(|words| screen.contains(words))
        });
    }

    fn screen(&self) -> String {
        self.terminal.screen().contents()
    }

    fn press(&mut self, keys: &str) {
        self.child.stdin.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    /// Another size, as when a window is drawn larger or smaller.
    fn resize(&mut self, (columns, rows): (u16, u16)) {
        let tty = self.text.split_whitespace().next().unwrap().to_owned();
        let (columns_text, rows_text) = (columns.to_string(), rows.to_string());
        // What is larger than any is not looked at, but in its text.
        if columns < u16::MAX {
            self.terminal = parser((columns, rows));
        }
        let stty = Command::new("stty").args(["-F", &tty, "cols", &columns_text, "rows", &rows_text]).status();
        assert!(stty.unwrap().success(), "{tty}");
    }

    /// The program's process: the shell's only child.
    fn program(&self) -> String {
        let shell = self.text.split_whitespace().nth(1).unwrap();
        let children = Command::new("ps").args(["-o", "pid=", "--ppid", shell]).output().unwrap();
        String::from_utf8(children.stdout).unwrap().trim().to_owned()
    }

    /// The end of the session: what the terminal was sent, and standard output.
    fn end(mut self) -> (String, String) {
        self.wait_for("lnext =");
        self.wait_for("echoctl");
        // Only our own child, and it only waits for more input.
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
        let stdout = std::fs::read_to_string(&self.stdout).unwrap();
        std::fs::remove_file(&self.stdout).unwrap();
        (std::mem::take(&mut self.text), stdout)
    }
}

fn kill(signal: &str, pid: &str) {
    assert!(Command::new("kill").args([signal, pid]).status().unwrap().success());
}

/// The terminal echoes and reads lines again, its cursor is shown, and what was taken was left.
fn check_terminal(text: &str, code: &str) {
    let modes = text.split(code).nth(1).unwrap_or_else(|| panic!("not {code}: {text:?}"));
    let modes: Vec<&str> = modes.split([' ', ';', '\r', '\n']).collect();
    assert!(["icanon", "echo", "isig", "opost"].iter().all(|mode| modes.contains(mode)), "{modes:?}");
    assert_eq!(text.matches(ENTER_SCREEN).count(), text.matches(LEAVE_SCREEN).count(), "{text:?}");
    assert!(text.rfind("\x1b[?25l") <= text.rfind("\x1b[?25h"), "{text:?}");
}

/// The terminal is as it was, and the run has said that it ended early.
fn check_end(text: &str, stdout: &str) {
    check_terminal(text, "code 3");
    assert!(stdout.starts_with("scenario  smoke") && stdout.contains("INVALID   ended early"), "{stdout}");
    assert!(!stdout.contains('\x1b'), "{stdout:?}");
}

#[test]
fn a_key_ends_the_run_and_its_result_is_kept() {
    let server = Server::start();
    let place = std::env::temp_dir().join(format!("loadgen-live-result-{}", std::process::id()));
    let mut session = Session::start("key", &server, USUAL, &format!("--out {}", place.display()));
    session.wait_to_see(&["measure  measured", "p99 of each second", "open 56 of 56", "measured, from actual"]);
    session.press("q");
    let (text, stdout) = session.end();
    let (entered, left) = (text.find(ENTER_SCREEN).unwrap(), text.find(LEAVE_SCREEN).unwrap());
    assert!(entered < left && text[left..].contains("ending early") && text[left..].contains("result in"), "{text:?}");
    check_end(&text, &stdout);
    let summary = std::fs::read_to_string(place.join("summary.json")).unwrap();
    assert!(summary.contains("ended early") && place.join("report.html").exists());
    std::fs::remove_dir_all(&place).unwrap();
    assert!(server.end().deliveries > 0);
}

#[test]
fn control_c_ends_the_run_on_the_screen_as_well() {
    let server = Server::start();
    let mut session = Session::start("control", &server, USUAL, "");
    session.wait_to_see(&["measure  measured"]);
    session.press("\u{3}");
    let (text, stdout) = session.end();
    check_end(&text, &stdout);
}

#[test]
fn a_signal_gives_the_terminal_back_too() {
    let server = Server::start();
    let mut session = Session::start("signal", &server, USUAL, "");
    session.wait_to_see(&["measure  measured"]);
    kill("-TERM", &session.program());
    let (text, stdout) = session.end();
    assert!(text.find(ENTER_SCREEN).unwrap() < text.find(LEAVE_SCREEN).unwrap());
    check_end(&text, &stdout);
}

#[test]
fn two_signals_at_once_end_the_program_and_give_the_terminal_back() {
    let server = Server::start();
    let mut session = Session::start("signals", &server, USUAL, "");
    session.wait_to_see(&["measure  measured"]);
    let program = session.program();
    // Stopped, so that both are there when it goes on, sooner than its next look at the screen.
    for signal in ["-STOP", "-TERM", "-HUP", "-CONT"] {
        kill(signal, &program);
    }
    session.wait_for("code 1");
    let (text, stdout) = session.end();
    assert!(text.contains("code 129") || text.contains("code 143"), "{text:?}");
    check_terminal(&text, "code 1");
    assert_eq!(stdout, "");
}

#[test]
fn an_error_is_told_on_a_terminal_that_was_given_back() {
    let server = Server::start();
    // The second thread's core is not there: the run fails after the screen is up.
    let session = Session::start("error", &server, USUAL, "--cpus 0,1023");
    let (text, stdout) = session.end();
    check_terminal(&text, "code 2");
    let error = text.find("loadgen: ").unwrap_or_else(|| panic!("{text:?}"));
    assert!(text.find(ENTER_SCREEN).unwrap() < text.find(LEAVE_SCREEN).unwrap());
    assert!(text.rfind(LEAVE_SCREEN).unwrap() < error, "{text:?}");
    assert_eq!(stdout, "");
}

#[test]
fn the_screen_follows_the_terminals_size() {
    let server = Server::start();
    let mut session = Session::start("resize", &server, (20, 5), "");
    session.wait_to_see(&["measure", "p99", "faults 0", "q ends the run"]);
    for (size, last) in [((60, 20), "keeps its result"), ((120, 40), "keeps its result"), ((20, 5), "q ends the run")] {
        session.resize(size);
        let words = if size.0 > 20 { "p99 of each second" } else { "faults 0" };
        session.wait_to_see(&[words, last]);
        let screen = session.screen();
        assert!(screen.lines().count() == usize::from(size.1) && screen.ends_with(last), "{size:?}\n{screen}");
    }
    session.resize((1, 1));
    session.resize(USUAL);
    session.wait_to_see(&["measured, from actual send", "p99 of each second", "keeps its result"]);
    session.press("q");
    let (text, stdout) = session.end();
    check_end(&text, &stdout);
}

#[test]
fn no_color_is_heeded() {
    let colored = |text: &str| ["\x1b[38;", "\x1b[36m", "\x1b[90m", "\x1b[31m"].iter().any(|code| text.contains(code));
    let server = Server::start();
    for (name, expected) in [("plain", false), ("colored", true)] {
        let mut session = Session::start(name, &server, USUAL, "");
        session.wait_to_see(&["measure  measured", "p99 of each second"]);
        session.press("q");
        let (text, stdout) = session.end();
        assert_eq!(colored(&text), expected, "{text:?}");
        check_end(&text, &stdout);
    }
}

#[test]
fn without_the_screen_there_are_lines_and_no_escapes() {
    let server = Server::start();
    let mut session = Session::start("lines", &server, USUAL, "--no-tui");
    session.wait_for("-- connect");
    session.wait_for("-- measure, measured");
    session.wait_for("measure  open 56/56");
    session.press("\u{3}");
    let (text, stdout) = session.end();
    assert!(!text.contains('\x1b'), "{text:?}");
    check_end(&text, &stdout);
}

#[test]
fn a_terminal_without_a_size_or_a_name_gets_lines() {
    let server = Server::start();
    for (name, size) in [("sizeless", (0, 0)), ("dumb", USUAL)] {
        let mut session = Session::start(name, &server, size, "");
        session.wait_for("-- measure, measured");
        session.press("\u{3}");
        let (text, stdout) = session.end();
        assert!(!text.contains('\x1b'), "{text:?}");
        check_end(&text, &stdout);
    }
}

#[test]
fn a_run_that_is_stopped_leaves_the_terminal_to_the_shell_and_goes_on_as_lines() {
    let server = Server::start();
    for name in ["job-key", "job-signal"] {
        let mut session = Session::start(name, &server, USUAL, "");
        session.wait_to_see(&["measure  measured"]);
        if name == "job-key" {
            session.press("\u{1a}")
        } else {
            kill("-TSTP", &session.program())
        }
        session.wait_for("stopped");
        session.wait_for("echoctl");
        check_terminal(&session.text, "stopped");
        let left = session.text.rfind(LEAVE_SCREEN).unwrap();
        session.wait_until("lines", |session| session.text[left..].contains("measure  open 56/56"));
        session.press("\u{3}");
        session.wait_until("the end", |session| session.text.matches("echoctl").count() == 2);
        let (text, stdout) = session.end();
        assert_eq!(text.matches(ENTER_SCREEN).count(), 1, "{text:?}");
        check_end(&text, &stdout);
    }
}

#[test]
fn a_run_that_no_shell_could_continue_is_not_stopped() {
    let server = Server::start();
    let mut session = Session::start("unstopped", &server, USUAL, "");
    session.wait_to_see(&["measure  measured"]);
    session.press("\u{1a}");
    kill("-TSTP", &session.program());
    let now = session.terminal.screen().contents();
    session.wait_until("another second", |session| session.screen() != now);
    session.press("q");
    let (text, stdout) = session.end();
    check_end(&text, &stdout);
}

#[test]
fn the_run_ends_with_its_result_when_the_terminal_is_closed() {
    let server = Server::start();
    let mut session = Session::start("closed", &server, USUAL, "");
    session.wait_to_see(&["measure  measured"]);
    let pid = session.program().parse().ok().and_then(rustix::process::Pid::from_raw).unwrap();
    let program = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
    session.child.kill().unwrap();
    session.child.wait().unwrap();
    let minute = rustix::event::Timespec { tv_sec: 60, tv_nsec: 0 };
    let mut ended = [rustix::event::PollFd::new(&program, rustix::event::PollFlags::IN)];
    assert_eq!(rustix::event::poll(&mut ended, Some(&minute)).unwrap(), 1, "it goes on for a terminal that is gone");
    let stdout = std::fs::read_to_string(&session.stdout).unwrap();
    std::fs::remove_file(&session.stdout).unwrap();
    assert!(stdout.contains("INVALID   ended early"), "{stdout}");
}

#[test]
fn a_run_that_is_to_outlive_its_terminal_does() {
    let server = Server::start();
    let mut session = Session::start("nohup", &server, USUAL, "");
    session.wait_to_see(&["measure  measured"]);
    let program = session.program();
    kill("-HUP", &program);
    session.child.kill().unwrap();
    session.child.wait().unwrap();
    let pid = program.parse().ok().and_then(rustix::process::Pid::from_raw).unwrap();
    let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
    let moment = rustix::event::Timespec { tv_sec: 2, tv_nsec: 0 };
    let mut ended = [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)];
    assert_eq!(rustix::event::poll(&mut ended, Some(&moment)).unwrap(), 0, "it ended with its terminal");
    kill("-TERM", &program);
    let minute = rustix::event::Timespec { tv_sec: 60, tv_nsec: 0 };
    assert_eq!(rustix::event::poll(&mut ended, Some(&minute)).unwrap(), 1, "it goes on when told to end");
    let stdout = std::fs::read_to_string(&session.stdout).unwrap();
    std::fs::remove_file(&session.stdout).unwrap();
    assert!(stdout.contains("INVALID   ended early"), "{stdout}");
}

#[test]
fn a_terminal_that_is_larger_than_any_gets_lines_from_then_on() {
    let server = Server::start();
    let mut session = Session::start("absurd", &server, USUAL, "");
    session.wait_to_see(&["measure  measured"]);
    session.resize((u16::MAX, u16::MAX));
    session.wait_for("measure  open 56/56");
    session.press("\u{3}");
    let (text, stdout) = session.end();
    check_end(&text, &stdout);
}

#[test]
fn in_a_locale_without_unicode_the_screen_is_ascii() {
    let server = Server::start();
    let mut session = Session::start("ascii", &server, USUAL, "");
    session.wait_to_see(&["measure  measured", "p99 of each second", "........"]);
    session.press("q");
    let (text, stdout) = session.end();
    assert!(text.is_ascii(), "{text:?}");
    check_end(&text, &stdout);
}
