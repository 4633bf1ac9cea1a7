//! A process that is killed at any moment, and a hundred cuts of the power at that moment: what it said to be durable is
//! there in each, what it did not may be gone, and a process that says so too early is found out.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::time::Duration;

use crate::driver::record;
use crate::place::{Place, State};

const SEEDS: u64 = 100;

/// What the driver has said to be durable.
#[derive(Debug, Default)]
struct Said {
    log: Option<u64>,
    beside: Option<u64>,
    current: Option<u64>,
    made: BTreeSet<u64>,
    gone: BTreeSet<u64>,
}

impl Said {
    fn hear(&mut self, line: &str) {
        match line.split_once(' ').and_then(|(what, n)| Some((what, n.parse().ok()?))) {
            Some(("log", n)) => self.log = Some(n),
            Some(("beside", n)) => self.beside = Some(n),
            Some(("current", n)) => self.current = Some(n),
            Some(("made", n)) => _ = self.made.insert(n),
            Some(("gone", n)) => _ = self.gone.insert(n),
            _ => {}
        }
    }

    /// What a state lacks of it, or has too much.
    fn missing(&self, state: &State) -> Option<String> {
        let file = |name: &str| state.get(name).and_then(|bytes| bytes.as_deref());
        for (name, last) in [("log", self.log), ("beside", self.beside)] {
            let records: Vec<u8> = (0..last.map_or(0, |n| n + 1)).flat_map(record).collect();
            if last.is_some() && !file(name).is_some_and(|bytes| bytes.starts_with(&records)) {
                return Some(format!("{name} does not reach to {last:?}"));
            }
        }
        // It may be a newer one: between the rename and what is said of it.
        if let Some(n) = self.current
            && !(n..=n + 5).any(|n| file("current") == Some(&record(n)))
        {
            return Some(format!("current is not {n} or a newer one"));
        }
        for n in &self.made {
            let name = format!("made-{n}/inner");
            let going = self.made.last().is_some_and(|last| last - n >= 14);
            if !going && file(&name) != Some(&record(*n)) {
                return Some(format!("{name} is not what was made"));
            }
        }
        let back = self.gone.iter().find(|n| state.contains_key(&format!("made-{n}")));
        back.map(|n| format!("made-{n} is back"))
    }
}

/// Runs the driver in this manner and kills it some time after it has said so many lines; what it said until then.
fn killed(place: &Place, manner: &str, lines: usize) -> Said {
    let mut child = place.driver(&format!("work {manner}")).spawn().expect("it runs");
    let mut heard = BufReader::new(child.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    let mut said = Said::default();
    heard
        .by_ref()
        .filter(|line| line.contains(' ') && !line.starts_with("running"))
        .take(lines)
        .for_each(|line| said.hear(&line));
    rest(lines);
    child.kill().expect("it runs still");
    // What it said before it died counts.
    heard.for_each(|line| said.hear(&line));
    child.wait().expect("it is dead");
    said
}

/// A moment, another one for each number.
#[expect(clippy::disallowed_methods, reason = "a kill comes at no moment that the other process knows of")]
fn rest(number: usize) {
    std::thread::sleep(Duration::from_micros(number as u64 * 7_919 % 9_000));
}

#[test]
fn what_was_said_to_be_durable_survives_a_hundred_cuts_and_what_was_not_may_be_lost_or_torn() {
    let (mut lost, mut whole, mut torn, mut loose) = (0, 0, 0, BTreeSet::new());
    for lines in [3, 80, 250] {
        let place = Place::new(&format!("honest-{lines}"));
        let said = killed(&place, "honest", lines);
        let cut = place.cut();
        let newest = place.after(&cut, 1);
        for seed in 0..SEEDS {
            let state = place.after(&cut, seed);
            assert_eq!(said.missing(&state), None, "{lines} lines, seed {seed}: {said:?}");
            match state["plain"].as_deref() {
                None | Some([]) => lost += 1,
                Some(bytes) if newest["plain"].as_deref() == Some(bytes) => whole += 1,
                Some(_) => torn += 1,
            }
            let inner = state.iter().filter(|(name, _)| name.ends_with("loose"));
            loose
                .extend(inner.filter_map(|(_, bytes)| bytes.as_ref()).map(|bytes| bytes.iter().all(|byte| *byte == 0)));
        }
    }
    assert!(lost > 20 && whole > 20 && torn > 50, "never synced: {lost} lost, {whole} whole, {torn} torn");
    assert_eq!(loose.len(), 2, "a file whose directory alone was synced has its bytes or none");
}

#[test]
fn a_kill_at_any_moment_leaves_what_can_be_read() {
    for lines in 0..24 {
        let place = Place::new(&format!("moment-{lines}"));
        let said = killed(&place, "honest", lines);
        let cut = place.cut();
        for seed in [0, 5, 6] {
            assert_eq!(said.missing(&place.after(&cut, seed)), None, "{lines} lines, seed {seed}: {said:?}");
        }
    }
}

/// Counts the cuts until a driver that lies is found, and fails if it is not. Without the plain cases, which find it at
/// once if the kill came while something was not durable.
#[expect(clippy::print_stdout, reason = "the number is what the test is asked for")]
fn cuts_until_found(manner: &str) {
    let mut cuts = 0;
    for lines in 10..30 {
        let place = Place::new(&format!("{manner}-{lines}"));
        let said = killed(&place, manner, lines);
        let cut = place.cut();
        for seed in 5..5 + SEEDS {
            cuts += 1;
            if let Some(missing) = said.missing(&place.after(&cut, seed)) {
                println!("{manner}: found at cut {cuts}: {missing}");
                return;
            }
        }
    }
    panic!("{manner} was not found in {cuts} cuts");
}

#[test]
fn a_driver_that_says_so_before_the_sync_is_found() {
    cuts_until_found("early");
}

#[test]
fn a_driver_that_never_syncs_the_directory_is_found() {
    cuts_until_found("nameless");
}

#[test]
fn a_driver_that_renames_before_the_bytes_are_durable_is_found() {
    cuts_until_found("hasty");
}
