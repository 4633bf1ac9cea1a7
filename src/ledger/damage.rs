//! How far damage goes: a damaged block holds many records, and what lies behind it can be read.

use super::disk::DiskFault;
use crate::limits::DAMAGE_PROBES_MAX;

/// The first record behind damage that begins at a position; `None` if nothing up to `last` can be read. `probe` finds the
/// first record at or behind a position; where there is damage before it, it fails.
///
/// # Errors
/// The disk does not answer now.
pub(super) fn end_of_damage(
    from: u128,
    last: u128,
    mut probe: impl FnMut(u128) -> Result<Option<u128>, DiskFault>,
) -> Result<Option<u128>, DiskFault> {
    let left = last.saturating_sub(from);
    let (mut bad, mut step, mut found) = (0, left.min(1), None);
    for _ in 0..DAMAGE_PROBES_MAX {
        // Twice as far each time until something can be read, then between the last two.
        let by = match found {
            None if bad >= left => break,
            None => step,
            Some((good, _)) if good - bad <= 1 => break,
            Some((good, _)) => bad + (good - bad) / 2,
        };
        match probe(from + by) {
            Ok(next) => found = Some((by, next)),
            Err(DiskFault::Damaged(_)) => (bad, step) = (by, by.saturating_mul(2).min(left)),
            Err(failed) => return Err(failed),
        }
    }
    Ok(found.and_then(|(_, next)| next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_record_behind_damage_is_found_wherever_it_is_and_however_far() {
        let end = 1 << 127;
        for (first, damaged, behind) in
            [(0, 0, 1), (0, 1, 2), (3, 9, 10), (3, 1 << 70, 1 << 71), (5, end - 2, end), (0, 6, 50)]
        {
            let mut probes = 0;
            let found = end_of_damage(first, end, |at| {
                probes += 1;
                if at <= damaged { Err(DiskFault::Damaged("a block".to_owned())) } else { Ok(Some(at.max(behind))) }
            });
            assert_eq!(found, Ok(Some(behind)), "{first} {damaged}");
            assert!(probes <= DAMAGE_PROBES_MAX, "{probes}");
        }
        let damaged = |_| Err(DiskFault::Damaged("a block".to_owned()));
        assert_eq!(end_of_damage(5, end, damaged), Ok(None));
        assert_eq!(end_of_damage(5, 5, damaged), Ok(None));
        let failed = DiskFault::Failed("not now".to_owned());
        assert_eq!(end_of_damage(5, end, |_| Err(failed.clone())), Err(failed.clone()));
    }
}
