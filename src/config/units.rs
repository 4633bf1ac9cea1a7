//! Text forms of durations and processor lists. An operator's typing, so every error names the text and
//! what would have been right.

use std::collections::BTreeSet;

use crate::limits::{CPU_INDEX_MAX, TOKEN_TTL_S_MAX};

/// Reads a duration such as `90s`, `1h` or `1h30m` as whole seconds, within the bounds of a token's life.
pub(super) fn token_ttl_s(text: &str) -> Result<u64, String> {
    let seconds = duration_s(text)?;
    if (1..=TOKEN_TTL_S_MAX).contains(&seconds) {
        return Ok(seconds);
    }
    Err(format!("{seconds} seconds is outside 1 to {TOKEN_TTL_S_MAX} (366d)"))
}

/// Reads one or more of number and unit, without spaces. The units are `s`, `m`, `h` and `d`, largest first.
pub(super) fn duration_s(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no duration: write a number and s, m, h or d, as in 90s or 1h30m");
    let mut rest = text;
    let (mut seconds, mut smaller_than) = (0u64, u64::MAX);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let unit = match tail.bytes().next() {
            Some(b's') => 1,
            Some(b'm') => 60,
            Some(b'h') => 3600,
            Some(b'd') => 86_400,
            _ => return Err(wrong()),
        };
        if unit >= smaller_than {
            return Err(wrong());
        }
        smaller_than = unit;
        seconds = number.checked_mul(unit).and_then(|part| seconds.checked_add(part)).ok_or_else(wrong)?;
        rest = &tail[1..];
    }
    if text.is_empty() { Err(wrong()) } else { Ok(seconds) }
}

/// Reads the mode of a file, in octal as chmod takes it.
pub(super) fn socket_mode(text: &str) -> Result<u32, String> {
    let octal = (3..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| octal && *mode <= 0o777);
    mode.ok_or_else(|| "this is no mode from 0000 to 0777".to_owned())
}

/// A list of processors, ascending, each once. A type of its own so that the command line's parser reads
/// the whole list from one argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CpuList(pub(super) Vec<usize>);

impl std::str::FromStr for CpuList {
    type Err = String;

    /// Reads numbers and ranges with commas between, such as `0,2-3`: the form of the kernel's own lists.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no list of processors: write numbers and ranges, as in 0,2-3");
        let number = |part: &str| {
            let plain = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            let value = part.parse::<usize>().ok().filter(|_| plain).ok_or_else(wrong)?;
            if value <= CPU_INDEX_MAX { Ok(value) } else { Err(format!("processor {value} is over {CPU_INDEX_MAX}")) }
        };
        let mut cpus = BTreeSet::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first)?, number(last)?);
            if first > last || (first..=last).any(|cpu| !cpus.insert(cpu)) {
                return Err(wrong());
            }
        }
        Ok(Self(cpus.into_iter().collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_octal_and_of_permissions_only() {
        for (text, expected) in [("0660", Some(0o660)), ("666", Some(0o666)), ("0000", Some(0)), ("0777", Some(0o777))]
        {
            assert_eq!(socket_mode(text).ok(), expected, "{text}");
        }
        for text in ["", "1777", "0888", "66", "00660", "+660", "rw-", "-660"] {
            assert!(socket_mode(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_numbers_with_units_and_nothing_else_is_one() {
        for (text, expected) in
            [("1s", 1), ("90s", 90), ("2m", 120), ("1h", 3600), ("1h30m", 5400), ("1d1h1m1s", 90_061), ("0s", 0)]
        {
            assert_eq!(duration_s(text), Ok(expected), "{text}");
        }
        for text in
            ["", "1", "h", "-1s", "+1s", "1.5h", "1 h", "1h ", "1m1h", "1h1h", "1w", "99999999999999999999s", "1H"]
        {
            assert!(duration_s(text).is_err(), "{text:?}");
        }
        assert!(duration_s("213503982334602d").is_err(), "a product over 64 bits");
    }

    #[test]
    fn a_token_lives_at_least_a_second_and_at_most_the_limit() {
        for (seconds, good) in
            [(0, false), (1, true), (TOKEN_TTL_S_MAX - 1, true), (TOKEN_TTL_S_MAX, true), (TOKEN_TTL_S_MAX + 1, false)]
        {
            assert_eq!(token_ttl_s(&format!("{seconds}s")).is_ok(), good, "{seconds}");
        }
    }

    #[test]
    fn processor_lists_are_read_as_the_kernel_writes_them() {
        for (text, expected) in [("0", &[0][..]), ("0,2-3", &[0, 2, 3]), ("3,1", &[1, 3]), ("5-5", &[5])] {
            assert_eq!(text.parse(), Ok(CpuList(expected.to_vec())), "{text}");
        }
        for text in ["", ",", "0,", "1-", "-1", "3-1", "0,0", "0-2,1", "a", "0 ,1", "+1", "99999999999999999999"] {
            assert!(text.parse::<CpuList>().is_err(), "{text:?}");
        }
        assert!(CPU_INDEX_MAX.to_string().parse::<CpuList>().is_ok());
        assert!(format!("0-{}", CPU_INDEX_MAX + 1).parse::<CpuList>().is_err());
    }
}
