//! The run on a terminal that can be drawn on: standard error, in the alternate screen, until the run ends.
//!
//! `q`, Escape and Ctrl-C end the run early, Ctrl-Z suspends it where a shell can continue it. The terminal is given back at
//! the end, at an error, at a panic of any thread, and as soon as a signal asks the run to end or to stop; from then on the
//! run is shown as lines. Keys are looked at and the size of the terminal is asked for at each drawing, so that nothing
//! waits for either.

use std::fs::File;
use std::io::{self, IsTerminal as _, Stderr, stderr, stdin};
use std::os::fd::AsFd as _;
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};

use rustix::process::{Signal, getpgrp, getsid, kill_current_process_group};

use crate::limits::SCREEN_CELLS_MAX;
use crate::live::painting::{self, Palette, Signs};
use crate::live::watcher::Picture;

/// Whether this process has the terminal in another mode than it found it in.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The terminal while it is drawn on.
#[derive(Debug)]
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<Stderr>>,
    palette: Palette,
    signs: Signs,
}

/// Whether standard error is a terminal that this process may draw on and read keys from.
pub(super) fn is_possible() -> bool {
    let dumb = std::env::var_os("TERM").is_none_or(|name| name.is_empty() || name == "dumb");
    // A process in the background would be stopped if it changed the terminal.
    let front = rustix::termios::tcgetpgrp(stdin()).is_ok_and(|group| group == getpgrp());
    // Some terminals that no person sits at have no size.
    !dumb && stdin().is_terminal() && stderr().is_terminal() && front && cells().is_ok_and(is_drawable)
}

/// Cells of the terminal as it is now.
fn cells() -> io::Result<u32> {
    let size = rustix::termios::tcgetwinsize(stderr())?;
    Ok(u32::from(size.ws_row) * u32::from(size.ws_col))
}

fn is_drawable(cells: u32) -> bool {
    (1..=SCREEN_CELLS_MAX).contains(&cells)
}

/// Stops this program and those that it started, as the terminal's own Ctrl-Z would, once the terminal is given back.
/// Nothing happens where no shell could continue it.
pub(super) fn suspend() {
    if is_job() {
        give_back();
        // Whoever started it may have asked for no such signal.
        let _ = kill_current_process_group(Signal::TSTP);
    }
}

/// Whether this is a job of a shell that controls jobs: another process group than that of the session's leader.
pub(super) fn is_job() -> bool {
    getsid(None).is_ok_and(|session| session != getpgrp())
}

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// It cannot be drawn on.
    pub(super) fn open() -> io::Result<Self> {
        give_back_at_panic();
        TAKEN.store(true, Ordering::SeqCst);
        // From here on whatever fails gives back what was taken.
        let opened = enable_raw_mode()
            .and_then(|()| execute!(stderr(), EnterAlternateScreen, Hide))
            .and_then(|()| Terminal::new(CrosstermBackend::new(stderr())));
        match opened {
            Ok(terminal) => Ok(Self { terminal, palette: Palette::of_environment(), signs: Signs::of_environment() }),
            Err(error) => {
                give_back();
                Err(error)
            }
        }
    }

    /// Draws what there is now, in the size that the terminal has now.
    ///
    /// # Errors
    /// The terminal is gone, or was given back.
    pub(super) fn draw(&mut self, picture: &Picture, now_ns: u64) -> io::Result<()> {
        if !TAKEN.load(Ordering::SeqCst) {
            return Err(io::Error::other("the terminal was given back"));
        }
        if cells()? > SCREEN_CELLS_MAX {
            return Err(io::Error::other("the terminal is too large to be drawn on"));
        }
        let (palette, signs) = (self.palette, self.signs);
        self.terminal.draw(|frame| painting::paint(frame, picture, now_ns, palette, signs)).map(drop)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Gives the terminal back as it was, once, whoever asks.
pub(super) fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        // A terminal that is gone needs nothing.
        let _ = disable_raw_mode();
        // By a handle of its own: the standard one is locked while a drawing waits for a slow terminal.
        if let Ok(mut handle) = stderr().as_fd().try_clone_to_owned().map(File::from) {
            let _ = execute!(handle, LeaveAlternateScreen, Show);
        }
    }
}

/// Lets a panic of any thread be read: the terminal is given back before it is told.
fn give_back_at_panic() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            give_back();
            before(panic);
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_of_no_size_or_an_absurd_one_is_not_drawn_on() {
        for (cells, expected) in [
            (0, false),
            (1, true),
            (80 * 24, true),
            (SCREEN_CELLS_MAX, true),
            (SCREEN_CELLS_MAX + 1, false),
            (u32::from(u16::MAX) * u32::from(u16::MAX), false),
        ] {
            assert_eq!(is_drawable(cells), expected, "{cells}");
        }
    }

    #[test]
    fn what_was_not_taken_is_not_given_back() {
        // Tests run without a terminal: this must write nothing and change no mode.
        give_back();
        assert!(!TAKEN.load(Ordering::SeqCst));
    }

    /// Says to this test that it is the program on the terminal.
    const ON_TERMINAL: &str = "LOADGEN_TEST_ON_TERMINAL";

    #[test]
    fn a_panic_of_any_thread_is_told_on_a_terminal_that_was_given_back() {
        if std::env::var_os(ON_TERMINAL).is_some() {
            let mut screen = Screen::open().unwrap();
            let picture = Picture::new("on a terminal".to_owned());
            screen.draw(&picture, 0).unwrap();
            std::thread::spawn(|| panic!("on purpose")).join().unwrap_err();
            assert!(screen.draw(&picture, 0).is_err(), "nothing is drawn on what was given back");
            return;
        }
        let test = std::env::current_exe().unwrap();
        let name = "live::screen::tests::a_panic_of_any_thread_is_told_on_a_terminal_that_was_given_back";
        let command = format!("stty rows 24 cols 80; {} --exact {name} --nocapture; stty -a", test.display());
        let mut script = std::process::Command::new("script");
        script.args(["-qec", &command, "/dev/null"]).env(ON_TERMINAL, "1").env("TERM", "xterm");
        let output = script.stdin(std::process::Stdio::piped()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let at = |words: &str| text.find(words).unwrap_or_else(|| panic!("no {words:?} in {text:?}"));
        assert!(at("\x1b[?1049h") < at("q or Ctrl-C ends"), "{text:?}");
        assert!(at("q or Ctrl-C ends") < at("\x1b[?1049l") && at("\x1b[?1049l") < at("on purpose"), "{text:?}");
        assert!(at("on purpose") < at("test result: ok. 1 passed"), "{text:?}");
        assert_eq!(text.matches("\x1b[?1049l").count(), 1, "{text:?}");
        let modes: Vec<&str> = text.rsplit("speed").next().unwrap_or("").split_whitespace().collect();
        assert!(["icanon", "echo", "isig"].iter().all(|mode| modes.contains(mode)), "{modes:?}");
    }
}
