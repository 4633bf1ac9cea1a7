//! The process that is watched: single calls, and a workload that says what it believes to be durable.
#![expect(unsafe_code, reason = "mappings are")]

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Seek, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::ptr;

use rustix::fs::{AtFlags, CWD, FallocateFlags, FileType, Mode, OFlags, RenameFlags};
use rustix::io::{Errno, ReadWriteFlags};
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags};

#[test]
fn what_the_other_tests_run() {
    let Ok(order) = std::env::var("POWERCUT_ORDER") else { return };
    let data = PathBuf::from(std::env::var("POWERCUT_DIR").expect("the directory"));
    let words: Vec<&str> = order.split(' ').collect();
    match words[..] {
        ["call", name] => drop(call(name, &data).unwrap_or_else(|error| panic!("{name}: {error}"))),
        ["call", name, "sync"] => {
            for file in call(name, &data).unwrap_or_else(|error| panic!("{name}: {error}")) {
                file.sync_all().expect("synced");
            }
        }
        ["work", manner] => work(manner, &data).expect("it works until it is killed"),
        _ => panic!("{order:?} is no order"),
    }
}

/// Makes one call; what is to be synced for it to be durable.
fn call(name: &str, data: &Path) -> io::Result<Vec<File>> {
    let path = data.join("file");
    let file = OpenOptions::new().read(true).write(true).open(&path)?;
    match name {
        "write" | "append" | "pwrite" | "writev" | "pwritev" | "pwritev2" => write(name, &path, file),
        "sendfile" | "splice" | "copy_file_range" | "copy" => copy(name, data, file),
        "shorter" | "longer" | "truncate" | "open-truncate" | "fallocate" | "punch" | "zero-range" => {
            size(name, &path, file)
        }
        "o-sync" | "o-dsync" | "rwf-dsync" | "sync" | "syncfs" | "sync-file-range" => sync(name, &path, &file),
        "map" | "symlink" | "mknod" | "exchange" | "move-out" | "collapse" | "map-later" => strange(name, data, &file),
        "absent" => absent(data),
        "sync-fails" | "writes-fail" | "reads-fail" => fails(name, data, &file),
        "elsewhere" => elsewhere(data),
        _ => names(name, data),
    }
}

fn write(name: &str, path: &Path, mut file: File) -> io::Result<Vec<File>> {
    let parts = [IoSlice::new(b"first "), IoSlice::new(b"second")];
    match name {
        "write" => {
            file.seek(io::SeekFrom::Start(4_000))?;
            file.write_all(&[b'n'; 9_000])?;
        }
        "append" => OpenOptions::new().append(true).open(path)?.write_all(b"appended")?,
        "pwrite" => file.write_all_at(&[b'n'; 700], 4_000)?,
        "writev" => _ = file.write_vectored(&parts)?,
        "pwritev" => _ = rustix::io::pwritev(&file, &parts, 12_300)?,
        _ => _ = rustix::io::pwritev2(&file, &parts, u64::MAX, ReadWriteFlags::APPEND)?,
    }
    Ok(vec![file])
}

fn copy(name: &str, data: &Path, mut file: File) -> io::Result<Vec<File>> {
    let from = File::open(data.with_file_name("outside"))?;
    match name {
        "sendfile" => {
            file.seek(io::SeekFrom::Start(5_000))?;
            rustix::fs::sendfile(&file, &from, None, 9_000)?;
        }
        "splice" => {
            let (read, write) = rustix::pipe::pipe()?;
            rustix::io::write(&write, b"through a pipe")?;
            rustix::pipe::splice(&read, None, &file, Some(&mut 77), 14, rustix::pipe::SpliceFlags::empty())?;
        }
        "copy_file_range" => _ = rustix::fs::copy_file_range(&from, Some(&mut 0), &file, Some(&mut 6_000), 8_000)?,
        _ => {
            fs::copy(data.with_file_name("outside"), data.join("file"))?;
        }
    }
    Ok(vec![file])
}

fn size(name: &str, path: &Path, file: File) -> io::Result<Vec<File>> {
    match name {
        "shorter" => file.set_len(5_000)?,
        "longer" => file.set_len(50_000)?,
        "truncate" => {
            let path = CString::new(path.as_os_str().as_bytes())?;
            // SAFETY: the path ends.
            assert_eq!(unsafe { libc::truncate(path.as_ptr(), 100) }, 0);
        }
        "open-truncate" => drop(File::create(path)?),
        "fallocate" => rustix::fs::fallocate(&file, FallocateFlags::empty(), 10_000, 20_000)?,
        "punch" => {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            rustix::fs::fallocate(&file, flags, 1_000, 9_000)?;
        }
        _ => rustix::fs::fallocate(&file, FallocateFlags::ZERO_RANGE, 11_000, 9_000)?,
    }
    Ok(vec![file])
}

/// The first page pending, the second durable by the call itself.
fn sync(name: &str, path: &Path, file: &File) -> io::Result<Vec<File>> {
    file.write_all_at(&[b'p'; 4_096], 0)?;
    let flags = match name {
        "o-sync" => libc::O_SYNC,
        "o-dsync" => libc::O_DSYNC,
        _ => 0,
    };
    let other = OpenOptions::new().write(true).custom_flags(flags).open(path)?;
    match name {
        "rwf-dsync" => {
            let part = [IoSlice::new(&[b'd'; 4_096])];
            rustix::io::pwritev2(&other, &part, 4_096, ReadWriteFlags::DSYNC)?;
        }
        _ => other.write_all_at(&[b'd'; 4_096], 4_096)?,
    }
    match name {
        "sync" => rustix::fs::sync(),
        "syncfs" => rustix::fs::syncfs(file)?,
        // SAFETY: it is given a descriptor and numbers.
        "sync-file-range" => assert_eq!(unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, 7) }, 0),
        _ => {}
    }
    Ok(Vec::new())
}

fn strange(name: &str, data: &Path, file: &File) -> io::Result<Vec<File>> {
    let map = |protection| {
        // SAFETY: the kernel chooses the place, and nobody else has it.
        unsafe { rustix::mm::mmap(ptr::null_mut(), 4_096, protection, MapFlags::SHARED, file, 0) }
    };
    let (one, other) = (data.join("file"), data.join("other"));
    match name {
        "map" => drop(map(ProtFlags::READ | ProtFlags::WRITE)?),
        "symlink" => std::os::unix::fs::symlink("file", data.join("link"))?,
        "mknod" => rustix::fs::mknodat(CWD, data.join("fifo"), FileType::Fifo, Mode::RUSR, 0)?,
        "exchange" => rustix::fs::renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?,
        "move-out" => fs::rename(one, data.with_file_name("moved"))?,
        "collapse" => rustix::fs::fallocate(file, FallocateFlags::COLLAPSE_RANGE, 0, 4_096)?,
        _ => {
            let place = map(ProtFlags::READ)?;
            // SAFETY: it is the mapping above.
            unsafe { rustix::mm::mprotect(place, 4_096, MprotectFlags::READ | MprotectFlags::WRITE) }?;
            // SAFETY: the mapping is writable now.
            unsafe { place.cast::<u8>().write(b'm') };
        }
    }
    Ok(Vec::new())
}

/// What is answered as if the system did not have it, and the ways of the standard library around it.
fn absent(data: &Path) -> io::Result<Vec<File>> {
    let nameless = rustix::fs::open(data, OFlags::TMPFILE | OFlags::RDWR, Mode::RUSR);
    assert_eq!(nameless.err(), Some(Errno::OPNOTSUPP));
    let (from, to) = (File::open(data.join("file"))?, File::create(data.join("clone"))?);
    assert_eq!(rustix::fs::ioctl_ficlone(&to, &from), Err(Errno::OPNOTSUPP));
    let how = rustix::fs::openat2(CWD, data, OFlags::RDONLY, Mode::empty(), rustix::fs::ResolveFlags::empty());
    assert_eq!(how.err(), Some(Errno::NOSYS));
    let elsewhere = rustix::fs::open(data.with_file_name(""), OFlags::TMPFILE | OFlags::RDWR, Mode::RUSR);
    assert!(elsewhere.is_ok(), "{elsewhere:?}");
    Ok(Vec::new())
}

/// What a disk that fails answers, and what it does once the other side's file is gone.
fn fails(name: &str, data: &Path, file: &File) -> io::Result<Vec<File>> {
    let error = |outcome: io::Result<()>| outcome.expect_err("it fails").raw_os_error();
    match name {
        "sync-fails" => {
            file.write_all_at(&[b'p'; 4_096], 0)?;
            assert_eq!(error(file.sync_data()), Some(libc::EIO));
            assert_eq!(fs::read(data.join("file"))?[..4_096], [b'p'; 4_096], "it is there until the power is cut");
            fs::remove_file(data.with_file_name("data.powercut").join("fail"))?;
            file.write_all_at(&[b'd'; 4_096], 4_096)?;
            file.sync_data()?;
        }
        "writes-fail" => {
            assert_eq!(error(file.write_all_at(b"new", 0)), Some(libc::ENOSPC));
            assert_eq!(
                error(OpenOptions::new().append(true).open(data.join("file"))?.write_all(b"n")),
                Some(libc::ENOSPC)
            );
            assert_eq!(error(File::create(data.join("new-file")).map(drop)), Some(libc::ENOSPC));
            assert_eq!(error(fs::create_dir(data.join("new-file"))), Some(libc::ENOSPC));
            file.sync_all()?;
            fs::write(data.join("other"), b"is written")?;
            drop(File::create(data.join("file"))?);
        }
        _ => {
            assert_eq!(error(fs::read(data.join("file")).map(drop)), Some(libc::EIO));
            assert_eq!(error(file.read_at(&mut [0; 3], 5).map(drop)), Some(libc::EIO));
            assert_eq!(fs::read(data.join("other"))?, b"other");
        }
    }
    Ok(Vec::new())
}

/// Everything beside the directory, a child, pipes, a thread, a shared mapping of nothing.
fn elsewhere(data: &Path) -> io::Result<Vec<File>> {
    let beside = data.with_file_name("elsewhere");
    fs::create_dir(&beside)?;
    fs::write(beside.join("a"), b"bytes")?;
    fs::rename(beside.join("a"), beside.join("b"))?;
    std::os::unix::fs::symlink("b", beside.join("c"))?;
    let file = OpenOptions::new().read(true).write(true).open(beside.join("b"))?;
    file.sync_all()?;
    for flags in [MapFlags::SHARED, MapFlags::PRIVATE] {
        // SAFETY: the kernel chooses the place, and nobody else has it.
        unsafe { rustix::mm::mmap(ptr::null_mut(), 5, ProtFlags::READ | ProtFlags::WRITE, flags, &file, 0) }?;
    }
    // SAFETY: as above.
    unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), 5, ProtFlags::WRITE, MapFlags::SHARED) }?;
    let child =
        Command::new("sh").arg("-c").arg("echo child > ../elsewhere/d && cat file").current_dir(data).output()?;
    assert!(child.status.success() && child.stdout.len() == 12_288, "{child:?}");
    for none in [-1, -7, 9_999] {
        // SAFETY: one byte can be read.
        assert_eq!(unsafe { libc::write(none, ptr::from_ref(&0_u8).cast(), 1) }, -1);
        assert_eq!(io::Error::last_os_error().raw_os_error(), Some(libc::EBADF));
    }
    let thread = std::thread::spawn(move || fs::remove_dir_all(beside));
    thread.join().expect("it ends")?;
    assert_eq!(File::open(data)?.set_len(3).map_err(|error| error.kind()), Err(io::ErrorKind::InvalidInput));
    assert!(fs::rename(data.join("none"), data.join("nothing")).is_err(), "an error is the program's to see");
    Ok(Vec::new())
}

fn names(name: &str, data: &Path) -> io::Result<Vec<File>> {
    let (file, other, folder) = (data.join("file"), data.join("other"), data.join("folder"));
    let mut synced = vec![File::open(data)?];
    match name {
        "create" => drop(File::create(data.join("new"))?),
        "mkdir" => fs::create_dir(folder.join("..").join("new"))?,
        "rename" => fs::rename(file, data.join("new"))?,
        "raw-rename" => rustix::fs::rename(file, data.join("new"))?,
        "replace" => rustix::fs::renameat(File::open(data)?.as_fd(), "file", CWD, other)?,
        "across" | "across-new" => {
            synced.push(File::open(&folder)?);
            synced.drain(..usize::from(name == "across-new"));
            fs::rename(file, folder.join("file"))?;
        }
        "link" => rustix::fs::linkat(CWD, file, CWD, data.join("new"), AtFlags::empty())?,
        "unlink" => fs::remove_file(file)?,
        "rename-beside" => {
            fs::rename(file, data.join("new"))?;
            File::open(other)?.sync_all()?;
        }
        "rmdir" => fs::remove_dir(data.join("empty"))?,
        _ => panic!("{name} is no call"),
    }
    Ok(synced)
}

/// Works until it is killed, and says what it believes to be durable: "log 7", "current 5", "made 14", "gone 7", and from
/// another thread "beside 2".
///
/// Manners: `honest`; `early` says so two records before the sync; `nameless` never syncs the directory; `hasty` renames before the
/// bytes are durable.
fn work(manner: &str, data: &Path) -> io::Result<()> {
    let mut log = OpenOptions::new().create(true).append(true).open(data.join("log"))?;
    let plain = File::create(data.join("plain"))?;
    let directory = File::open(data)?;
    let beside = OpenOptions::new().create(true).append(true).open(data.join("beside"))?;
    directory.sync_all()?;
    std::thread::spawn(move || append_beside(beside));
    for n in 0_u64.. {
        log.write_all(&record(n))?;
        plain.write_all_at(&record(n), n * 700)?;
        if n % 3 == 0 && manner != "early" || n % 3 == 2 && manner == "early" {
            log.sync_data()?;
        }
        if n % 3 == 0 {
            say("log", n);
        }
        if n % 5 == 0 {
            let (path, mut new) = (data.join("new"), File::create(data.join("new"))?);
            new.write_all(&record(n))?;
            if manner != "hasty" {
                new.sync_all()?;
            }
            rustix::fs::rename(path, data.join("current"))?;
            if manner != "nameless" {
                directory.sync_all()?;
            }
            say("current", n);
        }
        if n % 7 == 0 {
            let made = data.join(format!("made-{n}"));
            fs::create_dir(&made)?;
            fs::write(made.join("loose"), record(n))?;
            let mut inner = File::create(made.join("inner"))?;
            inner.write_all(&record(n))?;
            inner.sync_all()?;
            File::open(&made)?.sync_all()?;
            directory.sync_all()?;
            say("made", n);
        }
        if n % 7 == 0 && n >= 21 {
            fs::remove_dir_all(data.join(format!("made-{}", n - 21)))?;
            directory.sync_all()?;
            say("gone", n - 21);
        }
    }
    Ok(())
}

/// A log of another thread, synced at each record.
fn append_beside(mut log: File) -> io::Result<()> {
    for n in 0_u64.. {
        log.write_all(&record(n))?;
        log.sync_all()?;
        say("beside", n);
    }
    Ok(())
}

/// A record of its number, of another length each, that can be told from every other content.
pub(crate) fn record(n: u64) -> Vec<u8> {
    let filler = (0..n * 37 % 900).map(|at| char::from(b'a' + u8::try_from((n + at) % 26).expect("a letter")));
    format!("<{n}:{}>\n", filler.collect::<String>()).into_bytes()
}

fn say(what: &str, n: u64) {
    let line = format!("{what} {n}\n");
    rustix::io::write(rustix::stdio::stdout(), line.as_bytes()).expect("somebody listens");
}
