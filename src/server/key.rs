//! The development key: a secret in the data directory that `serve` and `token` share.
//!
//! Made on first use, whole or not at all: it is written under another name and then linked to its own, or renamed where
//! there are no hard links, which succeeds once. Two processes that start together therefore end with one key. A key that others
//! could read or have put there is refused. Absent: configured keys, rotation.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::config::StartError;
use crate::limits::KEY_FILE_BYTES_MAX;

const NAME: &str = "development.key";
const SECRET_BYTES: usize = 32;

/// The key, and where it came from. Its debug form does not show it.
pub(super) struct DevelopmentKey {
    /// The file; `None` if it is kept nowhere.
    pub(super) path: Option<PathBuf>,
    /// Whether this process made it.
    pub(super) made: bool,
    secret: [u8; SECRET_BYTES],
}

impl DevelopmentKey {
    /// The bytes that tokens are signed with.
    pub(super) const fn secret(&self) -> &[u8] {
        &self.secret
    }
}

impl fmt::Debug for DevelopmentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DevelopmentKey").field("path", &self.path).field("made", &self.made).finish_non_exhaustive()
    }
}

/// Whose key may be used.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// This user's, or root's.
    Own,
    /// Beside that, for root, the user's that has the directory: a service of a user of its own.
    OfTheDirectory,
}

impl Whose {
    fn allows(self, us: u32, owner: u32, owner_of_directory: u32) -> bool {
        owner == us || owner == 0 || (self == Self::OfTheDirectory && us == 0 && owner == owner_of_directory)
    }

    /// Whether a key may be made where there is none. One that root makes in a service's directory could not be read by
    /// the service, which would start no more.
    fn may_make(self, us: u32, owner_of_directory: u32) -> bool {
        self == Self::Own || us != 0 || owner_of_directory == 0
    }
}

/// Reads the key in `directory`, or makes it; without one the key is this process's, and ends with it.
pub(super) fn obtain(directory: Option<&Path>) -> Result<DevelopmentKey, StartError> {
    static KEPT_NOWHERE: OnceLock<[u8; SECRET_BYTES]> = OnceLock::new();
    if let Some(directory) = directory {
        return obtain_of(directory, Whose::Own);
    }
    let mut secret = [0; SECRET_BYTES];
    getrandom::fill(&mut secret).map_err(|error| {
        StartError::new(format!("the development key cannot be made: {error}"), "the system", "start again")
    })?;
    Ok(DevelopmentKey { path: None, made: true, secret: *KEPT_NOWHERE.get_or_init(|| secret) })
}

/// The same for who signs tokens and lets nobody in: root may take the key of the service that has the directory, which
/// could sign the same tokens itself. Letting people in by another user's key would be that user's decision.
pub(super) fn obtain_to_sign(directory: &Path) -> Result<DevelopmentKey, StartError> {
    obtain_of(directory, Whose::OfTheDirectory)
}

fn obtain_of(directory: &Path, whose: Whose) -> Result<DevelopmentKey, StartError> {
    let path = directory.join(NAME);
    let read = |path: &Path| read(path, whose);
    if let Some(secret) = read(&path)? {
        return Ok(DevelopmentKey { path: Some(path), made: false, secret });
    }
    let (us, owner) = (geteuid().as_raw(), owner_of(directory));
    if !whose.may_make(us, owner) {
        let how = format!("is not there, and user {owner}, who has the directory, could not read one of root's");
        return Err(wrong(&path, &how, "start the gateway once, which makes it, or sign as that user"));
    }
    let made = make(directory, &path).map_err(|error| {
        StartError::new(
            format!("the development key cannot be made: {error}"),
            path.display().to_string(),
            "make the directory writable for this user, or give another with --data",
        )
    })?;
    // Read back, whoever made it: both of two processes go on with what is in the file.
    let Some(secret) = read(&path)? else {
        return Err(wrong(&path, "went away while it was read", "start again"));
    };
    Ok(DevelopmentKey { path: Some(path), made, secret })
}

/// The key in the file, or `None` if there is no file.
fn read(path: &Path, whose: Whose) -> Result<Option<[u8; SECRET_BYTES]>, StartError> {
    let elsewhere = "name another directory with --data, or remove it: a new one is then made";
    // A link could lead to a file that somebody else chose.
    let file = match OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(wrong(path, &format!("cannot be read: {error}"), elsewhere)),
    };
    let meta = file.metadata().map_err(|error| wrong(path, &format!("cannot be read: {error}"), elsewhere))?;
    let us = geteuid().as_raw();
    let owner = path.parent().map_or(us, owner_of);
    if !meta.is_file() || !whose.allows(us, meta.uid(), owner) {
        return Err(wrong(path, &format!("is no file of this user (owner {}, we are {us})", meta.uid()), elsewhere));
    }
    if meta.mode() & 0o077 != 0 {
        let how = format!("can be used by others (mode {:04o})", meta.mode() & 0o7777);
        return Err(wrong(path, &how, "chmod 600 it if nobody has read it, else remove it: a new one is then made"));
    }
    let mut text = String::new();
    let bound = u64::try_from(KEY_FILE_BYTES_MAX).unwrap_or(u64::MAX);
    let read = file.take(bound).read_to_string(&mut text);
    read.ok()
        .and_then(|_| decode(text.trim_end()))
        .map(Some)
        .ok_or_else(|| wrong(path, &format!("does not hold {} hexadecimal digits", 2 * SECRET_BYTES), elsewhere))
}

/// Who has a directory; this user, where that cannot be seen.
fn owner_of(directory: &Path) -> u32 {
    fs::metadata(directory).map_or_else(|_| geteuid().as_raw(), |meta| meta.uid())
}

/// Makes the key unless another process was faster. Returns whether it is ours.
fn make(directory: &Path, path: &Path) -> io::Result<bool> {
    let mut random = [0; SECRET_BYTES + 8];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let (secret, suffix) = random.split_at(SECRET_BYTES);
    let draft = directory.join(format!(".{NAME}.{}", encode(suffix)));
    let written = write_new(&draft, &encode(secret));
    let claimed = written.and_then(|()| claim(&draft, path, |draft, path| fs::hard_link(draft, path)));
    let removed = fs::remove_file(&draft).or_else(|error| match error.kind() {
        // It has the name now, by itself.
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    });
    let claimed = claimed?;
    removed?;
    File::open(directory)?.sync_all()?;
    Ok(claimed)
}

/// Gives the draft the name that only one can have. Returns whether it got it. Not every file system has hard links; one
/// that has none may rename what takes nobody's place.
fn claim(draft: &Path, path: &Path, link: impl Fn(&Path, &Path) -> io::Result<()>) -> io::Result<bool> {
    let without_links = [Errno::PERM, Errno::OPNOTSUPP, Errno::NOSYS, Errno::MLINK];
    let claimed = link(draft, path).or_else(|error| match Errno::from_io_error(&error) {
        Some(errno) if without_links.contains(&errno) => renameat_with(CWD, draft, CWD, path, RenameFlags::NOREPLACE)
            .map_err(|errno| match errno {
                Errno::EXIST => errno.into(),
                _ => io::Error::new(error.kind(), format!("the file system has no hard links ({error}, then {errno})")),
            }),
        _ => Err(error),
    });
    match claimed {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        other => other.map(|()| true),
    }
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{text}")?;
    file.sync_all()
}

fn wrong(path: &Path, how: &str, remedy: &str) -> StartError {
    StartError::new(format!("the development key {how}"), path.display().to_string(), remedy)
}

fn encode(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn decode(text: &str) -> Option<[u8; SECRET_BYTES]> {
    if text.len() != 2 * SECRET_BYTES || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut secret = [0; SECRET_BYTES];
    for (byte, digits) in secret.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(secret)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::server::doctor::scratch::Scratch;

    #[test]
    fn a_key_is_this_users_or_roots_and_root_signs_with_that_of_who_has_the_directory() {
        for (us, owner, directory, own, to_sign) in [
            (7, 7, 7, true, true),
            (7, 0, 7, true, true),
            (7, 8, 8, false, false),
            (0, 0, 8, true, true),
            (0, 8, 8, false, true),
            (0, 8, 9, false, false),
            (0, 8, 0, false, false),
        ] {
            let found = [Whose::Own, Whose::OfTheDirectory].map(|whose| whose.allows(us, owner, directory));
            assert_eq!(found, [own, to_sign], "{us} {owner} {directory}");
        }
    }

    #[test]
    fn root_makes_no_key_in_the_directory_of_a_service_that_could_not_read_it() {
        for (us, directory, own, to_sign) in
            [(7, 7, true, true), (7, 0, true, true), (0, 0, true, true), (0, 7, true, false)]
        {
            let found = [Whose::Own, Whose::OfTheDirectory].map(|whose| whose.may_make(us, directory));
            assert_eq!(found, [own, to_sign], "{us} {directory}");
        }
        if geteuid().is_root() {
            let scratch = Scratch::new();
            std::os::unix::fs::chown(scratch.path(), Some(65534), None).unwrap();
            let error = obtain_to_sign(scratch.path()).unwrap_err();
            assert!(error.remedy.contains("start the gateway once"), "{error}");
            assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn a_key_is_made_once_and_found_again_with_its_mode() {
        let scratch = Scratch::new();
        let first = obtain(Some(scratch.path())).unwrap();
        let second = obtain(Some(scratch.path())).unwrap();
        assert!(first.made && !second.made && first.secret == second.secret);
        assert_ne!(first.secret, [0; SECRET_BYTES]);
        assert_eq!(fs::metadata(first.path.as_ref().unwrap()).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1, "no draft is left");
        assert!(!format!("{first:?}").contains(&encode(&first.secret)));
    }

    #[test]
    fn a_key_that_is_kept_nowhere_is_one_and_the_same_for_the_process() {
        let (first, second) = (obtain(None).unwrap(), obtain(None).unwrap());
        assert!(first.path.is_none() && first.secret == second.secret && first.secret != [0; SECRET_BYTES]);
    }

    #[test]
    fn starts_at_the_same_time_share_one_key() {
        let scratch = Scratch::new();
        let keys: Vec<DevelopmentKey> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..16).map(|_| scope.spawn(|| obtain(Some(scratch.path())).unwrap())).collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect()
        });
        assert_eq!(keys.iter().filter(|key| key.made).count(), 1);
        assert!(keys.iter().all(|key| key.secret == keys[0].secret));
    }

    #[test]
    fn without_hard_links_a_key_gets_its_name_all_the_same_and_takes_no_others() {
        let scratch = Scratch::new();
        let [draft, path] = ["draft", NAME].map(|name| scratch.path().join(name));
        // link(2): how file systems say that they have none.
        for errno in [Errno::PERM, Errno::OPNOTSUPP, Errno::NOSYS, Errno::MLINK] {
            let claim = || claim(&draft, &path, |_, _| Err(errno.into()));
            write_new(&draft, "first").unwrap();
            assert!(claim().unwrap(), "{errno}");
            assert!(!draft.exists());
            write_new(&draft, "second").unwrap();
            assert!(!claim().unwrap(), "{errno}");
            assert_eq!(fs::read_to_string(&path).unwrap(), "first\n");
            fs::remove_file(&draft).unwrap();
            fs::remove_file(&path).unwrap();
            let nothing = claim().unwrap_err().to_string();
            assert!(nothing.contains("no hard links"), "{nothing}");
        }
        write_new(&draft, "first").unwrap();
        let full = claim(&draft, &path, |_, _| Err(Errno::NOSPC.into())).unwrap_err();
        assert!(full.kind() == io::ErrorKind::StorageFull && draft.exists(), "{full}");
    }

    #[test]
    fn a_key_that_others_can_reach_is_refused() {
        let scratch = Scratch::new();
        let path = obtain(Some(scratch.path())).unwrap().path.unwrap();
        for (mode, good) in
            [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o620, false), (0o601, false)]
        {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(obtain(Some(scratch.path())).is_ok(), good, "{mode:o}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused_and_told() {
        let digits = "0a".repeat(SECRET_BYTES);
        let over = "0".repeat(KEY_FILE_BYTES_MAX + 1);
        for (text, good) in [
            (digits.as_str(), true),
            (&format!("{digits}\n"), true),
            (&format!("{digits}0"), false),
            (&digits[1..], false),
            (&format!("+{}", &digits[1..]), false),
            (&digits.replacen('a', "g", 1), false),
            ("", false),
            (&over, false),
        ] {
            let scratch = Scratch::new();
            write_new(&scratch.path().join(NAME), text).unwrap();
            assert_eq!(obtain(Some(scratch.path())).is_ok(), good, "{text:?}");
        }
    }

    #[test]
    fn a_link_or_a_directory_is_no_key() {
        let scratch = Scratch::new();
        let path = obtain(Some(scratch.path())).unwrap().path.unwrap();
        let other = scratch.path().join("other");
        fs::rename(&path, &other).unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        assert!(obtain(Some(scratch.path())).is_err());
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(obtain(Some(scratch.path())).is_err());
    }
}
