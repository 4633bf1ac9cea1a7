//! What the fuzzer's corpus has of files that a disk gives back, through the same checks that the fuzz targets run, and some
//! thousand variations of it that follow from a seed; with a bound on the memory that any of them takes.
#![expect(clippy::expect_used, clippy::cast_possible_truncation, reason = "the checks are tests")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs;
use std::path::Path;

#[path = "../../fuzz/checks/directory.rs"]
mod directory;
#[path = "../../fuzz/checks/journal.rs"]
mod journal;
#[path = "../../fuzz/checks/ledger.rs"]
mod ledger;

/// What one input may have at a time. Its own bytes are some hundred, and the log that it changes some 20 KiB.
const HELD_BYTES_MAX: isize = 4 << 20;
/// The longest input that is made of others.
const INPUT_BYTES_MAX: usize = 400;

/// Counts what is held, each thread its own.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

fn hold(bytes: usize) {
    HELD.set(HELD.get() + bytes.cast_signed());
    MOST.set(MOST.get().max(HELD.get()));
}

fn give_back(bytes: usize) {
    HELD.set(HELD.get() - bytes.cast_signed());
}

#[expect(unsafe_code, reason = "an allocator is written in no other way")]
// JUSTIFICATION: what is held cannot be counted from outside.
// SAFETY: everything is the system's allocator's, whose answers are passed on as they are.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        hold(layout.size());
        // SAFETY: the caller's promises are the ones that are asked for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        give_back(layout.size());
        // SAFETY: as above; it came from there.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A stream of numbers from a seed (xorshift).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 8) as usize
    }

    /// A variation of one of these: a byte changed, a stretch left out, another's end put behind it.
    fn variation(&mut self, of: &[Vec<u8>]) -> Vec<u8> {
        let mut made = of[self.next() % of.len()].clone();
        for _ in 0..=self.next() % 4 {
            let at = self.next() % (made.len() + 1);
            match self.next() % 4 {
                0 if at < made.len() => made[at] = self.next() as u8,
                1 => drop(made.drain(at..(at + self.next() % 8).min(made.len()))),
                2 => made.insert(at, self.next() as u8),
                _ => {
                    let other = &of[self.next() % of.len()];
                    made.extend_from_slice(&other[self.next() % (other.len() + 1)..]);
                }
            }
        }
        made.truncate(INPUT_BYTES_MAX);
        made
    }
}

/// Runs a check on a corpus and on variations of it.
fn run(corpus: &str, variations: usize, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(corpus);
    let mut files: Vec<_> =
        fs::read_dir(folder).expect("a corpus").map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    let inputs: Vec<Vec<u8>> = files.iter().map(|path| fs::read(path).expect("a file")).collect();
    assert!(inputs.len() >= 3, "the corpus is checked in");
    let mut dice = Dice(0x5eed_0f5a_f1e1_d5ea);
    let varied: Vec<Vec<u8>> = (0..variations).map(|_| dice.variation(&inputs)).collect();
    check(&[]);
    for input in inputs.iter().chain(&varied) {
        let before = HELD.get();
        MOST.set(before);
        check(input);
        let most = MOST.get() - before;
        assert!(most <= HELD_BYTES_MAX, "{corpus} {input:?} takes {most} bytes");
    }
}

#[test]
fn whatever_stands_in_a_log_is_read_without_a_panic_and_within_its_memory() {
    run("ledger", 300, ledger::check);
}

#[test]
fn whatever_stands_in_journals_is_mended_or_refused_and_only_an_end_is_cut() {
    run("journal", 300, journal::check);
}

#[test]
fn whatever_says_whose_a_directory_is_is_read_or_refused_and_a_mark_of_damage_holds() {
    run("directory", 200, directory::check);
}
