//! A directory of its own for each test, and the program that is run in it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use powercut::{Cut, Metadata, begin};

/// What is in a directory: every path, with the bytes of a file.
pub(crate) type State = BTreeMap<String, Option<Vec<u8>>>;

/// A place for one test; it is removed at the end.
pub(crate) struct Place(PathBuf);

impl Place {
    /// An empty one.
    pub(crate) fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        drop(fs::remove_dir_all(&path));
        fs::create_dir_all(path.join("data")).expect("a directory");
        Self(path)
    }

    /// The directory that is watched.
    pub(crate) fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    /// Beside it.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The driver, watched in what is there now, with its output on a pipe.
    pub(crate) fn driver(&self, order: &str) -> Command {
        begin(&self.data()).expect("it is there");
        self.command(order)
    }

    /// The same in a directory that is prepared, or is not.
    pub(crate) fn command(&self, order: &str) -> Command {
        let binary = std::env::current_exe().expect("this binary");
        let shim = binary.with_file_name("libpowercut.so");
        assert!(shim.exists(), "{} is built with the tests", shim.display());
        let mut command = Command::new(&binary);
        command.args(["driver::what_the_other_tests_run", "--exact", "--nocapture", "--test-threads", "1"]);
        command.env("LD_PRELOAD", shim).env("POWERCUT_DIR", self.data()).env("POWERCUT_ORDER", order);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// What is known once the process has ended.
    pub(crate) fn cut(&self) -> Cut {
        Cut::read(&self.data(), Metadata::Strict).expect("all of it was seen")
    }

    /// What a seed leaves.
    pub(crate) fn after(&self, cut: &Cut, seed: u64) -> State {
        let into = self.beside("after");
        drop(fs::remove_dir_all(&into));
        cut.save(seed, &into).expect("a state");
        state(&into)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// What is in a directory.
pub(crate) fn state(directory: &Path) -> State {
    let mut found = State::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(path) = waiting.pop() {
        for entry in fs::read_dir(&path).expect("a directory") {
            let path = entry.expect("an entry").path();
            let name = path.strip_prefix(directory).expect("below").to_string_lossy().into_owned();
            let bytes = path.is_file().then(|| fs::read(&path).expect("a file"));
            if path.is_dir() {
                waiting.push(path);
            }
            found.insert(name, bytes);
        }
    }
    found
}
