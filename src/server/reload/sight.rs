//! Files that are looked at from time to time.
//!
//! A change counts once the file has looked the same twice: an editor that writes in place is not read half-way. One that
//! cannot be seen has not changed; it is being replaced, or a later look will tell.

use std::path::PathBuf;

use crate::server::keys::Look;

/// One file.
#[derive(Debug)]
struct Seen {
    path: PathBuf,
    /// As it was when it was last read.
    read: Option<Look>,
    /// As it looked last.
    last: Option<Look>,
}

/// The files that are looked at.
#[derive(Debug)]
pub(super) struct Sight(Vec<Seen>);

impl Sight {
    /// These, as they are now.
    pub(super) fn of(files: Vec<PathBuf>) -> Self {
        let seen = |path: PathBuf| {
            let look = Look::at(&path);
            Seen { path, read: look, last: look }
        };
        Self(files.into_iter().map(seen).collect())
    }

    /// They are about to be read.
    pub(super) fn look(&mut self) {
        for seen in &mut self.0 {
            let look = Look::at(&seen.path).or(seen.read);
            (seen.read, seen.last) = (look, look);
        }
    }

    /// These from now on, each once. Those that were followed before are as they were when they were read; the others
    /// as they are now, or not there yet.
    pub(super) fn follow(&mut self, files: Vec<PathBuf>) {
        let mut before = std::mem::take(&mut self.0);
        for path in files {
            if self.0.iter().any(|seen| seen.path == path) {
                continue;
            }
            let known = before.iter().position(|seen| seen.path == path);
            self.0.push(known.map_or_else(
                || {
                    let look = Look::at(&path);
                    Seen { path: path.clone(), read: look, last: look }
                },
                |known| before.swap_remove(known),
            ));
        }
    }

    /// Looks again. Whether one is another than was read, and has not changed since the last look.
    pub(super) fn has_changed(&mut self) -> bool {
        let mut changed = false;
        for seen in &mut self.0 {
            let look = Look::at(&seen.path);
            changed |= look.is_some() && look != seen.read && look == seen.last;
            seen.last = look;
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_change_counts_once_it_has_settled_and_only_once() {
        let path = std::env::temp_dir().join(format!("waystation-sight-{}", std::process::id()));
        fs::write(&path, "a").unwrap();
        let mut sight = Sight::of(vec![path.clone()]);
        assert!(!sight.has_changed() && !sight.has_changed());
        fs::write(&path, "ab").unwrap();
        assert_eq!([0; 3].map(|_| sight.has_changed()), [false, true, true]);
        sight.look();
        assert!(!sight.has_changed() && !sight.has_changed());
        fs::write(&path, "abc").unwrap();
        assert!(!sight.has_changed());
        fs::write(&path, "abcd").unwrap();
        assert_eq!([0; 2].map(|_| sight.has_changed()), [false, true], "it was still being written");
        sight.look();
        fs::remove_file(&path).unwrap();
        assert!(!sight.has_changed() && !sight.has_changed(), "it is being replaced");
        fs::write(&path, "a").unwrap();
        assert_eq!([0; 2].map(|_| sight.has_changed()), [false, true]);
        sight.look();
        sight.follow(vec![path.clone()]);
        assert!(!sight.has_changed());
        sight.follow(Vec::new());
        fs::remove_file(&path).unwrap();
        assert!(!sight.has_changed());
    }

    #[test]
    fn a_file_that_is_not_there_yet_has_changed_once_it_is() {
        let path = std::env::temp_dir().join(format!("waystation-sight-late-{}", std::process::id()));
        let mut sight = Sight::of(Vec::new());
        sight.follow(vec![path.clone(), path.clone()]);
        assert_eq!(sight.0.len(), 1);
        assert!(!sight.has_changed() && !sight.has_changed(), "nothing is there");
        fs::write(&path, "a").unwrap();
        assert_eq!([0; 2].map(|_| sight.has_changed()), [false, true]);
        sight.look();
        assert!(!sight.has_changed());
        fs::remove_file(&path).unwrap();
    }
}
