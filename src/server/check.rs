//! `config check`: whether what is good as it is written could start here, as far as that is seen without changing
//! anything. What is sure to end a start is a fault; what depends on who will run is a doubt, told and passed.
//!
//! Looked at: the files of keys, and where files, directories and sockets are to be made. Absent: what only a start can
//! find out, such as who has an address by then, what the store holds, and what the kernel allows.

use std::fs;
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use rustix::fs::{Access, PROC_SUPER_MAGIC, access, statfs};
use rustix::io::Errno;

use super::keys::KeyRing;
use crate::config::{AuditTo, Faults, Serve, StartError};
use crate::runtime::address::Address;
use crate::store;
use crate::tune::counted;

/// Says whether it is good, and all that is wrong.
pub(super) fn check(wanted: &Serve) -> Result<(), Faults> {
    let (mut faults, mut keys) = (Vec::new(), 0);
    if wanted.auth.has_keys() {
        match KeyRing::read(&wanted.auth).and_then(|mut ring| Ok(ring.first()?)) {
            Ok(verifier) => keys = verifier.keys.iter().count(),
            Err(wrong) => faults = wrong.0,
        }
    }
    let Places { wrong, doubts } = Places::of(wanted);
    faults.extend(wrong);
    for StartError { what, place, remedy, .. } in doubts {
        let _nobody_listens =
            writeln!(io::stderr().lock(), "waystation: in doubt: {what}\n  where: {place}\n  what to do: {remedy}");
    }
    if !faults.is_empty() {
        return Err(Faults(faults));
    }
    let (shards, keys) = (counted(wanted.shards.len(), "shard"), counted(keys, "configured key"));
    let listen = wanted.listen.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let _nobody_listens = writeln!(io::stdout().lock(), "the configuration is good: {shards}, {keys}, on {listen}");
    Ok(())
}

/// What was found where something is to be made.
#[derive(Debug, Default)]
struct Places {
    wrong: Vec<StartError>,
    /// What is wrong unless another user runs the gateway, or the unit makes it.
    doubts: Vec<StartError>,
}

/// Why something cannot be made.
#[derive(Debug, PartialEq, Eq)]
struct Why {
    what: String,
    /// Whether it is only so for this user, and outside of the unit.
    only_here: bool,
}

impl Why {
    fn always(what: impl Into<String>) -> Self {
        Self { what: what.into(), only_here: false }
    }

    fn only_here(what: impl Into<String>) -> Self {
        Self { what: what.into(), only_here: true }
    }
}

impl Places {
    fn of(wanted: &Serve) -> Self {
        let mut places = Self::default();
        let sure = wanted.source.is_in_unit() || is_its_user(wanted);
        if let Some(data) = &wanted.data {
            let outcome = directory_to_be(data).and_then(|()| closed_to_others(data));
            let what =
                outcome.map_err(|why| Why { what: format!("the data directory cannot be used: {}", why.what), ..why });
            places.note(
                what,
                sure,
                || wanted.place("server.data", data.display()),
                "give another as server.data (--data)",
            );
        }
        // What is wrong with the data directory is wrong with the store in it, and is told once.
        let told = wanted.data.as_deref().filter(|_| !places.wrong.is_empty() || !places.doubts.is_empty());
        let directory = wanted.store.as_ref().map(|store| &store.directory);
        if let Some(directory) = directory.filter(|store| told.is_none_or(|data| !store.starts_with(data))) {
            let outcome = directory_to_be(directory).and_then(|()| store_to_be(directory));
            let what = outcome.map_err(|why| Why { what: format!("the store cannot be used: {}", why.what), ..why });
            let remedy = "give another as store.directory";
            places.note(what, sure, || wanted.place("store.directory", directory.display()), remedy);
        }
        if let AuditTo::File(path) = &wanted.logs.audit {
            let what = file_to_be(path)
                .map_err(|why| Why { what: format!("the audit cannot be written: {}", why.what), ..why });
            let remedy = "name a file in a directory that the gateway's user may write to (LogsDirectory= in the unit makes one)";
            places.note(what, sure, || wanted.place("audit.to", path.display()), remedy);
        }
        for address in &wanted.listen {
            let Address::Unix(path) = address else { continue };
            let what = socket_to_be(path).map_err(|why| Why { what: format!("cannot listen: {}", why.what), ..why });
            let remedy = "make the directory, have the unit make it (RuntimeDirectory=), or give another path";
            places.note(what, sure, || wanted.place("server.listen", address), remedy);
        }
        if let Some((path, true)) = &wanted.admin_socket {
            let what = socket_to_be(path).map_err(|why| Why {
                what: format!("the administration's socket cannot be made: {}", why.what),
                ..why
            });
            let remedy = "make the directory, or give another as admin.socket, or \"off\"";
            places.note(what, sure, || wanted.place("admin.socket", path.display()), remedy);
        }
        places
    }

    fn note(&mut self, outcome: Result<(), Why>, sure: bool, place: impl Fn() -> String, remedy: &str) {
        let Err(Why { what, only_here }) = outcome else { return };
        let list = if only_here && !sure { &mut self.doubts } else { &mut self.wrong };
        list.push(StartError::new(what, place(), remedy));
    }
}

/// Whether this user is the gateway's: its data or its store is there and belongs to it. Root's would be no sign, and
/// root has every right anyway.
fn is_its_user(wanted: &Serve) -> bool {
    let us = rustix::process::geteuid();
    let kept = wanted.data.as_deref().into_iter().chain(wanted.store.as_ref().map(|store| store.directory.as_path()));
    let owners = kept.filter_map(|path| fs::metadata(path).ok()).map(|meta| meta.uid());
    !us.is_root() && { owners }.any(|owner| owner == us.as_raw())
}

/// Whether a directory is there to be written to, or could be made with all that is missing above it.
fn directory_to_be(path: &Path) -> Result<(), Why> {
    for above in path.ancestors() {
        let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
        match fs::metadata(above) {
            // Something above it is a file, or is not there either.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            _ => return takes_files(above),
        }
    }
    takes_files(Path::new("/"))
}

/// Whether something can be made in a directory.
fn takes_files(directory: &Path) -> Result<(), Why> {
    let shown = directory.display();
    match fs::metadata(directory) {
        Ok(meta) if !meta.is_dir() => return Err(Why::always(format!("{shown} is no directory"))),
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            return Err(Why::only_here(format!("this user may not look into what is above {shown}")));
        }
        Err(error) if UNITS.iter().any(|unit| directory == Path::new(unit)) => {
            return Err(Why::only_here(format!("{shown} is not there ({error}), and no unit has made it")));
        }
        Err(error) => return Err(Why::always(format!("there is no directory {shown}: {error}"))),
    }
    // What permission bits do not say.
    if statfs(directory).is_ok_and(|system| KERNELS.contains(&system.f_type)) {
        return Err(Why::always(format!("{shown} is the kernel's own, and nothing can be made there")));
    }
    match access(directory, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) => Ok(()),
        Err(Errno::ROFS) => Err(Why::always(format!("{shown} can only be read here"))),
        Err(error) => Err(Why::only_here(format!("this user may not write to {shown}: {error}"))),
    }
}

/// The directories that the unit of `tuning/systemd` makes when it starts, or could: without it they are not there.
const UNITS: [&str; 3] = ["/run/waystation", "/var/lib/waystation", "/var/log/waystation"];

/// File systems whose files are the kernel's: `/proc` and `/sys`.
const KERNELS: [rustix::fs::FsWord; 2] = [PROC_SUPER_MAGIC, 0x6265_6572];

/// The directory that a file is made in. That of a name alone is where the gateway is started.
fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(directory) if directory.as_os_str().is_empty() => Path::new("."),
        directory => directory.unwrap_or_else(|| Path::new("/")),
    }
}

/// Others who may write to the data directory could replace what is in it. With the sticky bit they cannot.
fn closed_to_others(data: &Path) -> Result<(), Why> {
    match fs::metadata(data) {
        Ok(meta) if meta.mode() & 0o022 != 0 && meta.mode() & 0o1000 == 0 => {
            Err(Why::always(format!("others can write to it (mode {:04o}): chmod 700", meta.mode() & 0o7777)))
        }
        _ => Ok(()),
    }
}

fn store_to_be(directory: &Path) -> Result<(), Why> {
    store::look(directory).map_err(|fault| Why::always(fault.parts().0))
}

fn file_to_be(path: &Path) -> Result<(), Why> {
    match fs::metadata(path) {
        Ok(meta) if meta.is_dir() => Err(Why::always("this is a directory")),
        Ok(_) => access(path, Access::WRITE_OK).map_err(|error| match error {
            Errno::ROFS => Why::always("the file can only be read here"),
            error => Why::only_here(format!("this user may not write to the file: {error}")),
        }),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            Err(Why::only_here(format!("this user may not look at the file: {error}")))
        }
        Err(_) => takes_files(directory_of(path)),
    }
}

fn socket_to_be(path: &Path) -> Result<(), Why> {
    match fs::symlink_metadata(path) {
        Ok(meta) if !meta.file_type().is_socket() => {
            Err(Why::always(format!("{} is a file and no socket", path.display())))
        }
        _ => takes_files(directory_of(path)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;

    use super::*;
    use crate::server::doctor::scratch::Scratch;

    type Look = fn(&Path) -> Result<(), Why>;

    #[test]
    fn where_something_is_to_be_made_is_looked_at_and_nothing_is_made() {
        let scratch = Scratch::new();
        let at = |name: &str| scratch.path().join(name);
        fs::write(at("file"), "").unwrap();
        fs::create_dir(at("open")).unwrap();
        fs::set_permissions(at("open"), fs::Permissions::from_mode(0o777)).unwrap();
        fs::create_dir(at("others")).unwrap();
        fs::write(at("others/file"), "").unwrap();
        fs::set_permissions(at("others"), fs::Permissions::from_mode(0o700)).unwrap();
        let before = fs::read_dir(scratch.path()).unwrap().count();
        let data: Look = |path| directory_to_be(path).and_then(|()| closed_to_others(path));
        let kept: Look = |path| directory_to_be(path).and_then(|()| store_to_be(path));
        for (look, path, expected) in [
            (data, at("new/and/newer"), None),
            (data, at("file"), Some("file is no directory")),
            (data, at("file/below"), Some("file is no directory")),
            (data, at("open"), Some("others can write to it (mode 0777)")),
            (data, PathBuf::from("/proc/x"), Some("/proc is the kernel's own")),
            (data, PathBuf::from("/sys/kernel/x"), Some("/sys/kernel is the kernel's own")),
            (kept, at("new"), None),
            (kept, PathBuf::from("/proc/nope"), Some("/proc is the kernel's own")),
            (kept, at("open"), Some("others can look into the store (mode 0777)")),
            (kept, at("others"), Some("not the store's")),
            (file_to_be, at("audit.log"), None),
            (file_to_be, at("file"), None),
            (file_to_be, at("open"), Some("this is a directory")),
            (file_to_be, PathBuf::from("/proc/x/audit.log"), Some("there is no directory /proc/x")),
            (file_to_be, at("none/audit.log"), Some("none: No such file")),
            (socket_to_be, at("ws.sock"), None),
            (socket_to_be, at("file"), Some("is a file and no socket")),
            (socket_to_be, PathBuf::from("/nonexistent/ws.sock"), Some("there is no directory /nonexistent")),
            (socket_to_be, at("file/ws.sock"), Some("file is no directory")),
        ] {
            let found = look(&path).err();
            let told = found.as_ref().map(|why| why.what.as_str());
            let as_said = match expected {
                None => told.is_none(),
                Some(part) => told.is_some_and(|told| told.contains(part)),
            };
            assert!(as_said, "{}: {found:?}", path.display());
            assert!(found.is_none_or(|why| !why.only_here), "{}", path.display());
        }
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), before);
    }

    #[test]
    fn what_another_user_or_the_unit_may_have_is_a_doubt_unless_this_is_the_gateways_own() {
        let (mut places, why) = (Places::default(), || Err(Why::only_here("no right")));
        places.note(why(), false, || "there".to_owned(), "do this");
        assert_eq!((places.wrong.len(), places.doubts.len()), (0, 1));
        places.note(why(), true, || "there".to_owned(), "do this");
        places.note(Err(Why::always("never")), false, || "there".to_owned(), "do this");
        assert_eq!((places.wrong.len(), places.doubts.len()), (2, 1));
        // Where no unit runs, as in a test, nobody has made it.
        if !Path::new("/run/waystation").exists() {
            assert!(socket_to_be(Path::new("/run/waystation/ws.sock")).unwrap_err().only_here);
        }
        if !rustix::process::geteuid().is_root() {
            assert!(file_to_be(Path::new("/etc/waystation-audit.log")).unwrap_err().only_here);
        }
    }
}
