//! The log read again: what of the directory is durable, and what is pending.
//!
//! The bytes of a file are durable once an fsync of that file has covered them, its name once an fsync of the directory
//! has in which the name stands. So a file that was synced and whose directory was not may vanish, which is what POSIX
//! allows; `Metadata::Ordered` asks for no more than ext4 and XFS promise. A rename within a directory happens whole or
//! not at all; of one from a directory into another, each half is durable with its own directory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::content::Content;
use crate::record::{HEAD_BYTES, Head, Kind};

/// What makes a name durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Metadata {
    /// An fsync of its directory, and nothing else: what POSIX promises.
    #[default]
    Strict,
    /// Any fsync makes all names so that were changed before it: what the journals of ext4 and XFS do.
    Ordered,
}

/// A change of a file's bytes.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Write(u64, Vec<u8>),
    Resize(u64),
    Zero(u64, u64),
    Reach(u64),
}

impl Change {
    pub(crate) fn apply(&self, content: &mut Content) -> io::Result<()> {
        match self {
            Self::Write(at, bytes) => content.write(*at, bytes),
            Self::Resize(len) => content.resize(*len),
            Self::Zero(at, len) => content.zero(*at, *len),
            Self::Reach(len) => {
                content.reach(*len);
                Ok(())
            }
        }
    }
}

/// A change that no fsync has covered.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) index: u64,
    /// It was durable by itself (`O_DSYNC`), though what came before it may not be.
    pub(crate) durable: bool,
    /// A sync of it failed: it is durable never.
    pub(crate) spoiled: bool,
    pub(crate) change: Change,
}

/// The names of a directory, and what each of them is.
pub(crate) type Names = BTreeMap<String, usize>;

/// A file or a directory, whether it has a name or not.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) mode: u32,
    pub(crate) directory: bool,
    /// The names that are durable, and those that there are now.
    pub(crate) names: [Names; 2],
    pub(crate) content: Content,
    /// In order.
    pub(crate) pending: Vec<Pending>,
}

impl Node {
    pub(crate) fn new(mode: u32, directory: bool) -> Self {
        Self { mode, directory, names: [Names::new(), Names::new()], content: Content::default(), pending: Vec::new() }
    }
}

/// Half of a rename, or the whole of what else happens to a name.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) directory: usize,
    name: String,
    /// What the name is afterwards; without it, the name is gone if it still is `node`.
    put: bool,
    node: usize,
}

impl Step {
    pub(crate) fn apply(&self, names: &mut Names) {
        if self.put {
            names.insert(self.name.clone(), self.node);
        } else if names.get(&self.name) == Some(&self.node) {
            names.remove(&self.name);
        }
    }
}

/// A change of names of which something is not durable.
#[derive(Clone, Debug)]
pub(crate) struct Naming {
    pub(crate) index: u64,
    pub(crate) steps: Vec<Step>,
    /// The path, or the two of a rename.
    pub(crate) paths: String,
}

/// What is durable and what is pending.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    /// The first is the directory that is watched.
    pub(crate) nodes: Vec<Node>,
    pub(crate) namings: Vec<Naming>,
    /// What the kernel was asked for when the process ended: an inode, and paths.
    pub(crate) unfinished: Option<(usize, Vec<String>)>,
    /// Records that were read.
    pub(crate) records: u64,
    by_inode: BTreeMap<u64, usize>,
    metadata: Metadata,
}

/// The entries of a list that `begin` has written: an inode, its mode, whether it is a directory, a path.
pub(crate) struct Listed {
    pub(crate) inode: u64,
    pub(crate) mode: u32,
    pub(crate) directory: bool,
    pub(crate) path: String,
}

impl Replay {
    /// What was there at the beginning, all of it durable: the first entry is the directory itself.
    pub(crate) fn begin(list: &[Listed], base: &Path, metadata: Metadata) -> io::Result<Self> {
        let mut replay = Self { metadata, ..Self::default() };
        for entry in list {
            let mut node = Node::new(entry.mode, entry.directory);
            let before = replay.by_inode.get(&entry.inode).copied();
            if !entry.directory && before.is_none() {
                node.content = Content::of(&base.join(entry.inode.to_string()))?;
            }
            let id = before.unwrap_or_else(|| replay.add(entry.inode, node));
            if !entry.path.is_empty() {
                let (directory, name) = replay.place(&entry.path)?;
                for names in &mut replay.nodes[directory].names {
                    names.insert(name.clone(), id);
                }
            }
        }
        Ok(replay)
    }

    /// Everything that a log says. Its end may be torn, where the process was killed.
    pub(crate) fn read(&mut self, log: &Path) -> io::Result<()> {
        let mut log = match File::open(log) {
            Ok(file) => BufReader::with_capacity(1 << 20, file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut head = [0; HEAD_BYTES];
        while log.read_exact(&mut head).is_ok() {
            let record = Head::decode(&head).ok_or_else(|| fault(self.records, "is no record"))?;
            let mut text = Vec::new();
            log.by_ref().take(record.len).read_to_end(&mut text)?;
            if text.len() as u64 != record.len {
                break;
            }
            self.record(record, text)?;
            self.records += 1;
        }
        Ok(())
    }

    fn record(&mut self, head: Head, text: Vec<u8>) -> io::Result<()> {
        self.unfinished = None;
        let Head { kind, inode, a, b, .. } = head;
        match kind {
            Kind::Nothing => {}
            Kind::Begin => {
                let node = self.by_inode.get(&inode).copied().unwrap_or(usize::MAX);
                self.unfinished = Some((node, paths(&text)?));
            }
            Kind::Write => self.change(inode, b == 1, Change::Write(a, text))?,
            Kind::Resize => self.change(inode, false, Change::Resize(a))?,
            Kind::Zero => self.change(inode, false, Change::Zero(a, b))?,
            Kind::Reach => self.change(inode, false, Change::Reach(a))?,
            Kind::Create | Kind::MakeDirectory => {
                let mode = u32::try_from(a & 0o7777).unwrap_or(0o600);
                let id = self.add(inode, Node::new(mode, kind == Kind::MakeDirectory));
                self.name(&text, id)?;
            }
            Kind::Link => {
                let id = self.known(inode)?;
                self.name(&text, id)?;
            }
            Kind::Unlink => {
                let step = self.dropped(&text)?;
                self.naming(vec![step], &text);
            }
            Kind::Rename => {
                let both = paths(&text)?;
                let [from, to] = &both[..] else { return Err(fault(self.records, "names no two paths")) };
                let drop = self.dropped(from.as_bytes())?;
                let (directory, name) = self.place(to)?;
                let put = Step { directory, name, put: true, node: self.known(inode)? };
                self.naming(vec![drop, put], &text);
            }
            Kind::Sync => {
                let id = self.known(inode)?;
                self.sync(Some(id), a)?;
            }
            Kind::SyncAll => self.sync(None, a)?,
            Kind::Spoil => {
                let id = if inode == 0 { None } else { Some(self.known(inode)?) };
                self.spoil(id, a);
            }
            Kind::Unsupported => return Err(io::Error::other(String::from_utf8_lossy(&text).into_owned())),
        }
        Ok(())
    }

    /// What is before `start` of this node, or of all of them, is durable.
    fn sync(&mut self, node: Option<usize>, start: u64) -> io::Result<()> {
        let ids = node.map_or(0..self.nodes.len(), |id| id..id + 1);
        for node in &mut self.nodes[ids] {
            let covered = node.pending.partition_point(|pending| pending.index < start);
            if node.pending[..covered].iter().any(|pending| pending.spoiled) {
                // In their order, from the one on that is not durable.
                node.pending[..covered].iter_mut().for_each(|pending| pending.durable |= !pending.spoiled);
                continue;
            }
            for pending in node.pending.drain(..covered) {
                pending.change.apply(&mut node.content)?;
            }
        }
        let all = node.is_none() || self.metadata == Metadata::Ordered;
        for naming in self.namings.iter_mut().take_while(|naming| naming.index < start) {
            naming.steps.retain(|step| {
                let covered = all || node == Some(step.directory);
                if covered {
                    step.apply(&mut self.nodes[step.directory].names[0]);
                }
                !covered
            });
        }
        self.namings.retain(|naming| !naming.steps.is_empty());
        Ok(())
    }

    /// What was written before `start` to this node, or to all of them, has had its sync, which failed.
    fn spoil(&mut self, node: Option<usize>, start: u64) {
        let ids = node.map_or(0..self.nodes.len(), |id| id..id + 1);
        for pending in self.nodes[ids].iter_mut().flat_map(|node| &mut node.pending) {
            let written = matches!(pending.change, Change::Write(..));
            pending.spoiled |= written && !pending.durable && pending.index < start;
        }
    }

    fn add(&mut self, inode: u64, node: Node) -> usize {
        self.nodes.push(node);
        // The number of an inode is given out again once nobody has it.
        self.by_inode.insert(inode, self.nodes.len() - 1);
        self.nodes.len() - 1
    }

    fn known(&self, inode: u64) -> io::Result<usize> {
        self.by_inode.get(&inode).copied().ok_or_else(|| {
            fault(self.records, &format!("is about inode {inode}, which appeared in a way that was not seen"))
        })
    }

    fn change(&mut self, inode: u64, durable: bool, change: Change) -> io::Result<()> {
        let (id, index) = (self.known(inode)?, self.records);
        self.nodes[id].pending.push(Pending { index, durable, spoiled: false, change });
        Ok(())
    }

    fn name(&mut self, path: &[u8], node: usize) -> io::Result<()> {
        let (directory, name) = self.place(&paths(path)?.concat())?;
        self.naming(vec![Step { directory, name, put: true, node }], path);
        Ok(())
    }

    fn dropped(&self, path: &[u8]) -> io::Result<Step> {
        let (directory, name) = self.place(&paths(path)?.concat())?;
        let node = self.nodes[directory].names[1].get(&name).copied();
        let node = node.ok_or_else(|| fault(self.records, &format!("is about {name:?}, which was not there")))?;
        Ok(Step { directory, name, put: false, node })
    }

    fn naming(&mut self, steps: Vec<Step>, paths: &[u8]) {
        for step in &steps {
            step.apply(&mut self.nodes[step.directory].names[1]);
        }
        let paths = String::from_utf8_lossy(paths).replace('\0', " -> ");
        self.namings.push(Naming { index: self.records, steps, paths });
    }

    /// The directory of a path as the names are now, and the last part of the path.
    fn place(&self, path: &str) -> io::Result<(usize, String)> {
        let path = PathBuf::from(path);
        let mut at = 0;
        for part in path.parent().into_iter().flatten() {
            let next = part.to_str().and_then(|part| self.nodes[at].names[1].get(part));
            at = *next.ok_or_else(|| {
                fault(self.records, &format!("is in a directory that was not there: {}", path.display()))
            })?;
        }
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
        Ok((at, name.to_owned()))
    }
}

/// The paths of a record.
fn paths(text: &[u8]) -> io::Result<Vec<String>> {
    let parts = text.split(|&byte| byte == 0).map(|part| String::from_utf8(part.to_vec()));
    parts.collect::<Result<_, _>>().map_err(|error| io::Error::other(format!("a path is not UTF-8: {error}")))
}

fn fault(record: u64, what: &str) -> io::Error {
    io::Error::other(format!("record {record} of the log {what}"))
}
