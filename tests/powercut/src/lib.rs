//! What a cut of the power would have left of a directory.
//!
//! A process that is killed loses nothing that it has written: the kernel has it. A cut of the power loses what no fsync
//! has covered. `libpowercut.so` is preloaded into an unchanged program and records what it does below one directory;
//! once the process is dead, [`apply`] puts the directory into a state that a cut at that moment could have left, another
//! one for every seed. All that was durable is there in each of them.
//!
//! ```text
//! powercut begin data
//! LD_PRELOAD=target/debug/libpowercut.so POWERCUT_DIR=data waystation serve ... & kill -9 $!
//! powercut apply data --seed 7
//! ```
//!
//! The shim has the kernel hand it the calls (seccomp, `SIGSYS`), so it sees those of the C library and those that a
//! library makes itself. What each of them does:
//!
//! | call | is |
//! |---|---|
//! | write, pwrite, writev, pwritev, pwritev2, sendfile, splice, `copy_file_range` | a pending write of what then stands in the file |
//! | the same with `O_SYNC`, `O_DSYNC`, `RWF_SYNC`, `RWF_DSYNC` | a durable write; what came before it stays pending |
//! | ftruncate, truncate, open with `O_TRUNC`, fallocate | a pending change of size or to zeros |
//! | open with `O_CREAT`, mkdir, rename, link, unlink, rmdir, and their forms with `at` | a pending change of names |
//! | fsync, fdatasync | what of this file, or of the names in this directory, was there when it began is durable |
//! | sync, syncfs | all that was there when it began is durable |
//! | `sync_file_range`, msync, close | nothing: they promise nothing |
//! | `O_TMPFILE`, `FICLONE`, openat2, `io_submit` | answered as by a system that does not have them |
//! | a shared writable mapping, symlink, mknod, a rename that exchanges or crosses the border, fallocate that moves | ends the program: cannot be followed |
//! | `io_uring`, a mapping made writable later, another process | not seen; [`Cut::read`] finds that the directory differs and refuses |
//!
//! The shim is for x86-64 Linux and programs that glibc's loader starts. One process at a time may change the directory,
//! and each run is followed by [`apply`] or [`begin`] before the next. What the program starts must keep the environment:
//! the filter stays with it, and without the shim the first trapped call ends it. The log is as large as all that was
//! written. An fsync holds up nobody; everything else that changes the directory goes one after the other.
//!
//! A [`Stall`] makes the disk hang: each fsync, fdatasync, sync and syncfs that begins while it is there waits for its end,
//! and whatever else the program does goes on. It is the file `stall` beside the directory, so a shell can make one too.
//!
//! A [`Failing`] makes calls fail: of some kinds, on some files, with some error. A sync that fails loses what it was to
//! keep, as the kernel does: what was written stays readable, and no later sync makes it durable. It is the file `fail`
//! beside the directory. Reads are only looked at where `POWERCUT_READS` is set, since everybody reads.
//!
//! Bookkeeping goes to a file by plain writes, which the kernel keeps whenever the process dies; it follows the call,
//! so that what is lost between the two counts as not durable, and it precedes the return, so that an fsync that
//! returned counts. Modes are kept as at creation; owners, times, attributes and later modes are not.

mod content;
mod cut;
mod fail;
mod fate;
pub mod record;
mod replay;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod shim;
mod stall;

pub use cut::{Cut, Kept, apply, begin, beside};
pub use fail::{Call, Failing};
pub use replay::Metadata;
pub use stall::Stall;
