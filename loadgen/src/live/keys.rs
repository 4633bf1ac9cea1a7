//! Keys that were pressed, looked at without waiting and in bounded parts.
//!
//! The terminal is read here and not by the library that draws: its reader goes round for ever at the end of a terminal
//! that was closed, and with it the thread that shows the run and whoever waits for that thread.

use std::io::{self, stdin};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::limits::KEY_BYTES_PER_LOOK;

/// What the keys of a look ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Nothing,
    /// To end the run early.
    End,
    /// To stop the program until it is continued, and what was pressed behind that: to end the run then, or nothing.
    Suspend {
        then_end: bool,
    },
}

/// Looks at the keys.
///
/// # Errors
/// The terminal is gone.
pub(super) fn look() -> io::Result<Wish> {
    let gone = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let stdin = stdin();
    let mut ready = [PollFd::new(&stdin, PollFlags::IN)];
    let at_once = Timespec::try_from(Duration::ZERO).ok();
    if poll(&mut ready, at_once.as_ref())? == 0 {
        return Ok(Wish::Nothing);
    }
    if !ready[0].revents().contains(PollFlags::IN) {
        return Err(gone());
    }
    let mut bytes = [0; KEY_BYTES_PER_LOOK];
    match rustix::io::read(&stdin, &mut bytes)? {
        0 => Err(gone()),
        count => Ok(wish(bytes.get(..count).unwrap_or_default())),
    }
}

/// The first wish among these keys. A key that is no letter comes as Escape and more.
fn wish(bytes: &[u8]) -> Wish {
    let mut rest = bytes;
    while let Some((&first, after)) = rest.split_first() {
        rest = match (first, after) {
            (b'q' | CONTROL_C, _) | (ESCAPE, [] | [ESCAPE, ..]) => return Wish::End,
            (CONTROL_Z, behind) => return Wish::Suspend { then_end: asks_for_the_end(behind) },
            (ESCAPE, [b'[' | b'O', sequence @ ..]) => {
                let end = sequence.iter().position(|byte| (0x40..=0x7e).contains(byte));
                end.and_then(|end| sequence.get(end + 1..)).unwrap_or_default()
            }
            (ESCAPE, [_, with_alt @ ..]) => with_alt,
            _ => after,
        };
    }
    Wish::Nothing
}

/// Whether the run is to end by these keys, however often the program is to stop before.
fn asks_for_the_end(bytes: &[u8]) -> bool {
    matches!(wish(bytes), Wish::End | Wish::Suspend { then_end: true })
}

const CONTROL_C: u8 = 0x03;
const CONTROL_Z: u8 = 0x1a;
const ESCAPE: u8 = 0x1b;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_ask_for_something_are_told_from_others() {
        for (bytes, expected) in [
            (&b"q"[..], Wish::End),
            (b"\x1b", Wish::End),
            (b"\x03", Wish::End),
            (b"\x1a", Wish::Suspend { then_end: false }),
            (b"abq", Wish::End),
            (b"\x1aq", Wish::Suspend { then_end: true }),
            (b"\x1a\x1ax\x03", Wish::Suspend { then_end: true }),
            (b"\x1a\x1ax", Wish::Suspend { then_end: false }),
            (b"", Wish::Nothing),
            (b"Q\rc", Wish::Nothing),
            (b"\x1b[A", Wish::Nothing),
            (b"\x1bOP", Wish::Nothing),
            (b"\x1b[1;5Aq", Wish::End),
            (b"\x1b[15~\x1b[B", Wish::Nothing),
            (b"\x1bq", Wish::Nothing),
            (b"\x1b[", Wish::Nothing),
            (b"\x1b[12", Wish::Nothing),
            (b"\x1b[A\x1b", Wish::End),
            (b"\x1b\x1b", Wish::End),
            (b"\xd0\xb9\xff", Wish::Nothing),
        ] {
            assert_eq!(wish(bytes), expected, "{bytes:?}");
        }
        assert_eq!(wish(&[b'x'; KEY_BYTES_PER_LOOK]), Wish::Nothing);
    }
}
