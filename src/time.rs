//! Time as a value that is passed in. Floors 0 to 5 never read a clock.

use std::num::NonZeroU64;
use std::time::Duration;

/// What the host's clocks said when a turn began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Monotonic microseconds since the host started.
    pub micros: u64,
    /// Wall clock, milliseconds since 1970-01-01 UTC.
    pub unix_ms: u64,
}

impl Now {
    /// Monotonic milliseconds, the unit of deadlines.
    #[must_use]
    pub const fn millis(self) -> Millis {
        Millis(self.micros / 1000)
    }

    /// Wall clock in whole seconds, the unit of token claims.
    #[must_use]
    pub const fn unix_seconds(self) -> u64 {
        self.unix_ms / 1000
    }
}

/// A monotonic instant in milliseconds since the host started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millis(pub u64);

impl Millis {
    /// The instant `ms` milliseconds later.
    #[must_use]
    pub const fn after(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` until this instant; 0 if it lies ahead.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// This instant as a span from the host's start.
    #[must_use]
    pub const fn as_duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

/// An instant that takes no more room where there may be none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment(NonZeroU64);

impl Moment {
    /// The instant to be kept.
    #[must_use]
    pub const fn of(at: Millis) -> Self {
        Self(NonZeroU64::MIN.saturating_add(at.0))
    }

    /// The instant that was kept.
    #[must_use]
    pub const fn millis(self) -> Millis {
        Millis(self.0.get() - 1)
    }
}

const _: () = assert!(size_of::<Option<Moment>>() == size_of::<Millis>());

/// Room for an RFC 3339 instant with milliseconds, as [`rfc3339`] writes it.
pub type Rfc3339 = [u8; 24];

/// Writes a wall-clock instant as RFC 3339 in UTC with milliseconds: `2026-11-21T14:23:05.123Z`.
#[must_use]
pub fn rfc3339(unix_ms: u64) -> Rfc3339 {
    let (days, ms_of_day) = (unix_ms / 86_400_000, unix_ms % 86_400_000);
    let (year, month, day) = civil(days);
    let mut out = *b"0000-00-00T00:00:00.000Z";
    let (seconds, ms) = (ms_of_day / 1000, ms_of_day % 1000);
    for (at, pair) in [
        (0, year / 100 % 100),
        (2, year % 100),
        (5, month),
        (8, day),
        (11, seconds / 3600),
        (14, seconds / 60 % 60),
        (17, seconds % 60),
        (20, ms / 10),
    ] {
        out[at..at + 2].copy_from_slice(&two_digits(pair));
    }
    out[22] = two_digits(ms)[1];
    out
}

/// Writes instants one after another. Those of one second differ in three digits, so the rest stays.
#[derive(Clone, Copy, Debug)]
pub struct Calendar {
    /// The second since 1970-01-01 UTC that `text` is of.
    second: u64,
    text: Rfc3339,
}

impl Default for Calendar {
    fn default() -> Self {
        Self { second: 0, text: rfc3339(0) }
    }
}

impl Calendar {
    /// What [`rfc3339`] says.
    pub fn rfc3339(&mut self, unix_ms: u64) -> Rfc3339 {
        let (second, ms) = (unix_ms / 1000, unix_ms % 1000);
        if second != self.second {
            *self = Self { second, text: rfc3339(unix_ms) };
        }
        let [.., hundreds, tens, ones, _] = &mut self.text;
        *hundreds = two_digits(ms / 100)[1];
        [*tens, *ones] = two_digits(ms);
        self.text
    }
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar. Counts in
/// 400-year eras that begin on 1 March, so that the leap day is the last of its year.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// The last two digits of a number.
const fn two_digits(number: u64) -> [u8; 2] {
    let [pair, ..] = (number % 100).to_le_bytes();
    [b'0' + pair / 10, b'0' + pair % 10]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_written_as_rfc_3339() {
        for (unix_ms, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_799_999, "2000-02-29T23:59:59.999Z"),
            (1_795_271_185_123, "2026-11-21T14:26:25.123Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(std::str::from_utf8(&rfc3339(unix_ms)).unwrap(), expected);
        }
    }

    #[test]
    fn instants_after_one_another_are_written_as_each_alone() {
        let mut calendar = Calendar::default();
        let around = |at: u64| [at, at + 9, at + 10, at + 99, at + 100, at + 998, at + 999, at + 1000, at - 1, at];
        for unix_ms in [0, 1].into_iter().chain([1000, 951_868_799_000, 1_795_271_185_123].into_iter().flat_map(around))
        {
            assert_eq!(calendar.rfc3339(unix_ms), rfc3339(unix_ms), "{unix_ms}");
        }
    }
}
