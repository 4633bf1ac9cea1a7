//! The directory before, at and after the cut: prepared for the shim, held against what the shim saw, and put into a
//! state that the cut could have left. Beside the directory `data` stands `data.powercut`, with a copy of what was
//! durable at the beginning, a list of it, and the log.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::content::Content;
use crate::fate::{self, Bytes, Dice};
use crate::replay::{Listed, Metadata, Names, Node, Replay};

/// A directory whose process has ended, with what is known of it.
#[derive(Debug)]
pub struct Cut {
    replay: Replay,
}

/// What a state has of what was pending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Changes of bytes that no fsync had covered, in files of any name.
    pub changes: usize,
    /// Files that had such changes.
    pub files: usize,
    /// Of these files, those that kept none of the changes.
    pub files_lost: usize,
    /// Of these files, those that kept some of it: torn, or zeros of the right length.
    pub files_torn: usize,
    /// Changes of names that no fsync had covered.
    pub names: usize,
    /// Of these changes, those that did not happen: the path, or the two of a rename.
    pub names_lost: Vec<String>,
}

/// Where the copy and the log of a directory are.
///
/// # Errors
/// If the directory is not there.
pub fn beside(directory: &Path) -> io::Result<PathBuf> {
    let mut path = fs::canonicalize(directory)?.into_os_string();
    path.push(".powercut");
    Ok(path.into())
}

/// Takes what is in a directory as durable, and makes it ready for a program to be watched in it.
///
/// # Errors
/// If the directory or what is beside it cannot be read or written, or holds what is neither file nor directory.
pub fn begin(directory: &Path) -> io::Result<()> {
    let beside = beside(directory)?;
    if beside.exists() {
        fs::remove_dir_all(&beside)?;
    }
    let base = beside.join("base");
    fs::create_dir_all(&base)?;
    let mut text = String::new();
    let mut copied = BTreeSet::new();
    for entry in list(directory)? {
        if !entry.directory && copied.insert(entry.inode) {
            let from = directory.join(&entry.path);
            Content::of(&from)?.save(&base.join(entry.inode.to_string()), 0o600)?;
        }
        text += &format!("{} {} {} {}\n", entry.inode, entry.mode, u8::from(entry.directory), entry.path);
    }
    // Whoever runs the program may not be who prepares it.
    fs::set_permissions(&beside, Permissions::from_mode(0o777))?;
    fs::write(beside.join("list"), text)
}

/// Puts a directory into a state that a cut could have left, and takes that as durable from here on.
///
/// # Errors
/// As [`Cut::read`], and if the directory cannot be written.
pub fn apply(directory: &Path, seed: u64, metadata: Metadata) -> io::Result<Kept> {
    let cut = Cut::read(directory, metadata)?;
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
    }
    let kept = cut.save(seed, directory)?;
    begin(directory)?;
    Ok(kept)
}

impl Cut {
    /// What is known of a directory once its process has ended, however it did.
    ///
    /// # Errors
    /// If the directory was not prepared, if the program did what cannot be followed, or if anything in the directory is
    /// not as it was seen to be written: then somebody wrote in a way that is not seen, and nothing is known.
    pub fn read(directory: &Path, metadata: Metadata) -> io::Result<Self> {
        let beside = beside(directory)?;
        let text = fs::read_to_string(beside.join("list"))
            .map_err(|error| io::Error::other(format!("{}: not prepared: {error}", directory.display())))?;
        let listed: Vec<Listed> = text.lines().filter_map(listed).collect();
        let mut replay = Replay::begin(&listed, &beside.join("base"), metadata)?;
        replay.read(&beside.join("log"))?;
        compare(&replay, directory)?;
        Ok(Self { replay })
    }

    /// How many calls were seen, with their beginnings.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.replay.records
    }

    /// Writes the state of a seed into an empty directory, or one that is yet to be.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save(&self, seed: u64, into: &Path) -> io::Result<Kept> {
        let mut kept = Kept { names: self.replay.namings.len(), ..Kept::default() };
        let mut names: Vec<Names> = self.replay.nodes.iter().map(|node| node.names[0].clone()).collect();
        let fates = fate::names(seed, &self.replay.namings);
        for (naming, stays) in self.replay.namings.iter().zip(fates) {
            kept.names_lost.extend((!stays).then(|| naming.paths.clone()));
            for step in naming.steps.iter().filter(|_| stays) {
                step.apply(&mut names[step.directory]);
            }
        }
        for (node, number) in self.replay.nodes.iter().zip(0..).filter(|(node, _)| !node.pending.is_empty()) {
            kept.changes += node.pending.len();
            kept.files += 1;
            match fate::bytes(seed, number) {
                Bytes::Lost => kept.files_lost += 1,
                Bytes::Kept => {}
                Bytes::Zeros | Bytes::Torn { .. } => kept.files_torn += 1,
            }
        }
        let mut saved = BTreeMap::new();
        self.save_node(0, seed, into, &names, &mut saved)?;
        Ok(kept)
    }

    fn save_node(
        &self,
        id: usize,
        seed: u64,
        path: &Path,
        names: &[Names],
        saved: &mut BTreeMap<usize, PathBuf>,
    ) -> io::Result<()> {
        let node = &self.replay.nodes[id];
        if let Some(first) = saved.get(&id) {
            // A directory has one name, even if a rename of it was kept by halves.
            return if node.directory { Ok(()) } else { fs::hard_link(first, path) };
        }
        saved.insert(id, path.to_owned());
        if !node.directory {
            return self.settled(id, seed)?.save(path, node.mode & 0o7777);
        }
        fs::create_dir_all(path)?;
        for (name, id) in &names[id] {
            self.save_node(*id, seed, &path.join(name), names, saved)?;
        }
        fs::set_permissions(path, Permissions::from_mode(node.mode & 0o7777))
    }

    /// The bytes that a seed gives a file.
    fn settled(&self, id: usize, seed: u64) -> io::Result<Content> {
        let node = &self.replay.nodes[id];
        let (mut content, number) = (node.content.clone(), id as u64);
        fate::settle(&mut content, &node.pending, fate::bytes(seed, number), Dice::new(!seed, number))?;
        Ok(content)
    }
}

/// Everything in a directory, itself first with an empty path.
fn list(directory: &Path) -> io::Result<Vec<Listed>> {
    let mut found = Vec::new();
    let mut waiting = vec![String::new()];
    while let Some(path) = waiting.pop() {
        let whole = if path.is_empty() { directory.to_owned() } else { directory.join(&path) };
        let metadata = fs::symlink_metadata(&whole)?;
        if path.contains('\n') || !(metadata.is_dir() || metadata.is_file()) {
            return Err(io::Error::other(format!("{}: only files and directories are supported", whole.display())));
        }
        if metadata.is_dir() {
            for entry in fs::read_dir(&whole)? {
                let name = entry?.file_name().into_string();
                let name = name.map_err(|name| io::Error::other(format!("{name:?} is not UTF-8")))?;
                waiting.push(if path.is_empty() { name } else { format!("{path}/{name}") });
            }
        }
        let (inode, mode, directory) = (metadata.ino(), metadata.mode() & 0o7777, metadata.is_dir());
        found.push(Listed { inode, mode, directory, path });
    }
    Ok(found)
}

/// A line of the list that `begin` writes.
fn listed(line: &str) -> Option<Listed> {
    let mut parts = line.splitn(4, ' ');
    let mut number = || parts.next()?.parse::<u64>().ok();
    let (inode, mode, directory) = (number()?, u32::try_from(number()?).ok()?, number()? == 1);
    Some(Listed { inode, mode, directory, path: parts.next()?.to_owned() })
}

/// Holds the directory against what was seen to happen in it, but for what was under way when the process ended.
fn compare(replay: &Replay, directory: &Path) -> io::Result<()> {
    let mut expected: BTreeMap<String, usize> = BTreeMap::new();
    let mut waiting = vec![(String::new(), 0)];
    while let Some((path, id)) = waiting.pop() {
        for (name, id) in &replay.nodes[id].names[1] {
            waiting.push((if path.is_empty() { name.clone() } else { format!("{path}/{name}") }, *id));
        }
        expected.insert(path, id);
    }
    let (under_way, paths) = replay.unfinished.clone().unwrap_or((usize::MAX, Vec::new()));
    let excused = |path: &str| paths.iter().any(|one| !one.is_empty() && path.starts_with(one.as_str()));
    for entry in list(directory)?.into_iter().filter(|entry| !excused(&entry.path)) {
        let Some(id) = expected.remove(&entry.path) else { return Err(unseen(&entry.path, "is there")) };
        let node = &replay.nodes[id];
        if node.directory != entry.directory {
            return Err(unseen(&entry.path, "is of another kind"));
        }
        if !node.directory && id != under_way && !newest(node)?.is_in(&directory.join(&entry.path))? {
            return Err(unseen(&entry.path, "has other bytes"));
        }
    }
    match expected.keys().find(|path| !excused(path)) {
        Some(path) => Err(unseen(path, "is not there")),
        None => Ok(()),
    }
}

/// The bytes of a file with all that is pending.
fn newest(node: &Node) -> io::Result<Content> {
    let mut content = node.content.clone();
    for pending in &node.pending {
        pending.change.apply(&mut content)?;
    }
    Ok(content)
}

fn unseen(path: &str, what: &str) -> io::Error {
    io::Error::other(format!(
        "{path:?} {what}, which was not seen to happen: it was changed through io_uring, through a mapping, or by another process"
    ))
}
