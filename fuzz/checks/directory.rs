//! What says whose a data directory is, and that it is damaged: any bytes in the file `format` are read as what they say or
//! refused, and whatever stands in the mark of damage, nothing starts on it.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use waystation::store::{Directory, StartFault, id_of};

/// A directory of this check's own, gone with it.
struct Place(PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.0);
    }
}

/// Whatever is there, nothing panics, and no damage is passed over.
pub(crate) fn check(bytes: &[u8]) {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let memory = Path::new("/dev/shm");
    let above = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let name = format!("waystation-directory-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
    let place = Place(above.join(name));
    DirBuilder::new().mode(0o700).create(&place.0).expect("a directory");
    let format = place.0.join("format");
    fs::write(&format, bytes).expect("written");
    if let Ok(id) = id_of(&place.0) {
        let text = String::from_utf8_lossy(bytes).to_lowercase();
        let said: Vec<&str> = text.lines().take(3).collect();
        assert_eq!(said, ["waystation store", "version 1", &format!("id {id:032x}")]);
        assert_eq!(Directory::take(&place.0).map(|directory| directory.id()), Ok(id));
    } else {
        let fault = Directory::take(&place.0).map(drop).expect_err("it does not say what it is");
        assert!(matches!(fault, StartFault::Damaged { .. } | StartFault::Version { .. }), "{fault}");
    }
    fs::write(&format, format!("waystation store\nversion 1\nid {:032x}\n", 42)).expect("written");
    fs::write(place.0.join("damaged"), bytes).expect("written");
    let fault = Directory::take(&place.0).map(drop).expect_err("it is marked");
    assert!(matches!(fault, StartFault::Damaged { .. }), "{fault}");
    assert_eq!(fs::read(place.0.join("damaged")).expect("the mark"), bytes, "the mark stays");
}
