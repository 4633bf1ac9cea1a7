//! `waystation store backup`: a copy of a store, from the gateway that runs on it or, if none does, from its directory.
//!
//! The copy is written here in either case, by who asks for it: the gateway needs no right to write where it goes.

use std::io::{self, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::store::refused;
use crate::config::{StartError, Store};
use crate::ledger::DiskFault;
use crate::ledger::copy::pages;
use crate::limits::BACKUP_TOLD_BYTES;
use crate::store::{Copy, Given, Offline, StartFault, id_of};
use crate::tune::counted;

/// Makes the copy.
pub(super) fn run(store: &Store, socket: Option<&Path>, to: &Path) -> Result<(), StartError> {
    let bytes = match (Offline::open(&store.directory, store.cache_bytes), socket) {
        (Ok(offline), _) => of_directory(&offline, to)?,
        (Err(StartFault::InUse { .. }), Some(socket)) => of_gateway(&store.directory, socket, to)?,
        (Err(fault), _) => return Err(refused(&fault)),
    };
    let _nobody_listens = writeln!(io::stdout().lock(), "{} of records in {}", counted(bytes, "byte"), to.display());
    Ok(())
}

fn of_directory(offline: &Offline, to: &Path) -> Result<u64, StartError> {
    let disk_bytes = offline.disk_bytes().map_err(|fault| refused(&fault))?;
    let mut target = Target::begin(to, offline.id(), disk_bytes)?;
    pages(offline.tables(), &mut |page| target.take(page)).map_err(|halt| match halt {
        Halt::Disk(fault) => cut_short(&fault.to_string(), to),
        Halt::Copy(error) => error,
    })?;
    target.finish()
}

fn of_gateway(directory: &Path, socket: &Path, to: &Path) -> Result<u64, StartError> {
    let failed = |what: String| {
        let remedy = "name its socket as it has it, as admin.socket; or stop it, and run this again";
        StartError::new(format!("the gateway gives no backup: {what}"), socket.display().to_string(), remedy).passing()
    };
    let asked = UnixStream::connect(socket).and_then(|mut stream| {
        stream.write_all(b"{\"command\":\"backup\"}\n")?;
        Ok(stream)
    });
    let (mut given, head) = asked.map_err(|error| error.to_string()).and_then(Given::begin).map_err(failed)?;
    let id = id_of(directory).map_err(|fault| refused(&fault))?;
    if head.id != format!("{id:032x}") {
        return Err(failed(format!("it has another store than {}", directory.display())));
    }
    let mut target = Target::begin(to, id, head.disk_bytes)?;
    while let Some(page) = given.next_page().map_err(|why| cut_short(&why, to))? {
        target.take(page).map_err(|halt| match halt {
            Halt::Disk(fault) => cut_short(&fault.to_string(), to),
            Halt::Copy(error) => error,
        })?;
    }
    target.finish()
}

fn cut_short(why: &str, to: &Path) -> StartError {
    let what = format!("the backup is not whole, and nothing is left of it: {why}");
    StartError::new(what, to.display().to_string(), "see the gateway's log and store check, and run it again").passing()
}

/// Why a copy ends early.
enum Halt {
    Disk(DiskFault),
    Copy(StartError),
}

impl From<DiskFault> for Halt {
    fn from(fault: DiskFault) -> Self {
        Self::Disk(fault)
    }
}

/// The copy, and how far it is.
struct Target {
    copy: Copy,
    /// Bytes that the store has on the disk.
    about: u64,
    taken: u64,
}

impl Target {
    fn begin(to: &Path, id: u128, about: u64) -> Result<Self, StartError> {
        let copy = Copy::begin(to, id, about).map_err(|fault| refused(&fault))?;
        Ok(Self { copy, about, taken: 0 })
    }

    fn take(&mut self, page: &[u8]) -> Result<(), Halt> {
        self.copy.take(page).map_err(|fault| Halt::Copy(refused(&fault)))?;
        let before = self.taken / BACKUP_TOLD_BYTES;
        self.taken += page.len() as u64;
        if self.taken / BACKUP_TOLD_BYTES > before {
            let _nobody_listens = writeln!(io::stderr().lock(), "{} bytes of about {}", self.taken, self.about);
        }
        Ok(())
    }

    fn finish(self) -> Result<u64, StartError> {
        self.copy.finish().map_err(|fault| refused(&fault))?;
        Ok(self.taken)
    }
}
