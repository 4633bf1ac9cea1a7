//! Shows a run in the way that was asked for, or, when that is not possible any more, as lines.

use crate::live::keys::{self, Wish};
use crate::live::lines::{self, Lines};
use crate::live::screen::{self, Screen};
use crate::live::watcher::Picture;
use crate::live::{Stop, View};

/// How the run is shown now.
#[derive(Debug)]
pub(super) enum Show {
    Nothing,
    Lines(Lines),
    Screen(Box<Screen>),
}

impl Show {
    /// Begins to show.
    pub(super) fn new(view: View) -> Self {
        match view {
            View::Nothing => Self::Nothing,
            View::Lines => Self::Lines(Lines::new()),
            View::Screen => {
                Screen::open().map_or_else(|_| Self::Lines(Lines::new()), |screen| Self::Screen(Box::new(screen)))
            }
        }
    }

    /// A second is over.
    pub(super) fn on_second(&mut self, picture: &Picture) {
        if let Self::Lines(lines) = self {
            lines.show(picture);
        }
    }

    /// Looks at the keys and draws; gives the terminal back once the run is to end, so that a second signal finds it as
    /// it was.
    pub(super) fn look(&mut self, picture: &Picture, now_ns: u64, stop: &Stop) {
        let Self::Screen(screen) = self else { return };
        let drawn = screen.draw(picture, now_ns).and_then(|()| keys::look());
        match drawn {
            Ok(Wish::End) => stop.request(),
            Ok(Wish::Suspend { then_end }) => {
                screen::suspend();
                if then_end {
                    stop.request();
                }
            }
            Ok(Wish::Nothing) | Err(_) => {}
        }
        if stop.requested() || drawn.is_err() {
            *self = Self::Lines(Lines::new());
        }
        if stop.requested() {
            lines::tell("ending early: what is under way is waited for; once more to end at once");
        }
    }
}
