//! What the shim asks of the kernel: the program's own calls, carried out for it, and a few of its own. All `unsafe` of
//! the package is here and in `trap`.
//!
//! A call that the filter would trap carries a mark by which the filter knows it for the shim's: in the last argument,
//! which calls of fewer than six do not have, or in the upper half of a descriptor, which the kernel cuts off.
#![expect(unsafe_code, reason = "a shim stands between the program and the kernel, and calls the one for the other")]

use core::ffi::{CStr, c_int, c_long};
use core::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::path::DecInt;

/// What a call came to: its result, or the number of the error.
pub(crate) type Answer = Result<u64, i32>;

/// The mark of the shim's own calls.
pub(crate) const MARK: u32 = 0x7077_6375;

/// Where a call carries the mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Marked {
    /// In the sixth argument.
    Last,
    /// In the upper half of this argument, a descriptor.
    Upper(u8),
}

/// Where this call carries the mark.
pub(crate) const fn marked(number: c_long) -> Marked {
    match number {
        libc::SYS_mmap => Marked::Upper(4),
        libc::SYS_pwritev2 | libc::SYS_preadv2 | libc::SYS_copy_file_range | libc::SYS_splice => Marked::Upper(0),
        _ => Marked::Last,
    }
}

/// An argument that is a C `int`.
#[expect(clippy::cast_possible_truncation, reason = "as the kernel itself takes it: the lower half")]
pub(crate) const fn int(argument: u64) -> i32 {
    argument as u32 as i32
}

/// A C `int` as an argument.
pub(crate) fn argument(value: i32) -> u64 {
    i64::from(value).cast_unsigned()
}

fn answer(result: c_long) -> Answer {
    u64::try_from(result).map_err(|_| errno())
}

/// Carries out a call as the program asked for it, past the filter.
pub(crate) fn pass(number: c_long, mut args: [u64; 6]) -> Answer {
    match marked(number) {
        Marked::Last => args[5] = u64::from(MARK),
        Marked::Upper(at) => {
            let place = &mut args[usize::from(at)];
            *place = *place & u64::from(u32::MAX) | u64::from(MARK) << 32;
        }
    }
    let [a, b, c, d, e, f] = args;
    // SAFETY: the arguments are those with which the program itself was about to call the kernel, or point to what the
    // shim holds for as long as the call takes; the mark is in a place that the kernel does not look at.
    answer(unsafe { libc::syscall(number, a, b, c, d, e, f) })
}

/// The error of the last call of this thread.
pub(crate) fn errno() -> c_int {
    // SAFETY: it has no arguments.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: the address is valid for the life of the thread.
    unsafe { place.read() }
}

/// Puts back what the program sees as the error of its last call.
pub(crate) fn set_errno(value: c_int) {
    // SAFETY: it has no arguments.
    let place = unsafe { libc::__errno_location() };
    // SAFETY: the address is valid for the life of the thread.
    unsafe { place.write(value) }
}

/// A descriptor of the program's, or what stands for the current directory; nothing for a number that can be neither.
pub(crate) fn fd<'a>(number: i32) -> Option<BorrowedFd<'a>> {
    // SAFETY: the program gives it to the kernel in a call that has not returned yet. If it is none, the kernel says so.
    (number >= 0 || number == libc::AT_FDCWD).then(|| unsafe { BorrowedFd::borrow_raw(number) })
}

/// Creates a file that is not there yet, for writing.
pub(crate) fn create(path: &CStr) -> Result<i32, i32> {
    let flags = argument(libc::O_CREAT | libc::O_EXCL | libc::O_WRONLY | libc::O_CLOEXEC);
    let path = address(path.as_ptr().cast());
    pass(libc::SYS_openat, [argument(libc::AT_FDCWD), path, flags, 0o644, 0, 0]).map(int)
}

/// Opens a file that is there, to append to it.
pub(crate) fn open_to_append(path: &CStr) -> Result<i32, i32> {
    let flags = argument(libc::O_WRONLY | libc::O_APPEND | libc::O_CLOEXEC);
    pass(libc::SYS_openat, [argument(libc::AT_FDCWD), address(path.as_ptr().cast()), flags, 0, 0, 0]).map(int)
}

/// The beginning of a file, as far as the buffer goes; how many bytes it has.
pub(crate) fn read_file(path: &CStr, buffer: &mut [u8]) -> Result<usize, i32> {
    let flags = argument(libc::O_RDONLY | libc::O_CLOEXEC);
    let open = [argument(libc::AT_FDCWD), address(path.as_ptr().cast()), flags, 0, 0, 0];
    let fd = pass(libc::SYS_openat, open).map(int)?;
    let read = pass(libc::SYS_read, [argument(fd), address(buffer.as_mut_ptr()), buffer.len() as u64, 0, 0, 0]);
    close(fd);
    read.map(|count| usize::try_from(count).unwrap_or(0).min(buffer.len()))
}

/// Closes what was opened here.
pub(crate) fn close(fd: i32) {
    // Whatever it says, the descriptor is free.
    let _: Answer = pass(libc::SYS_close, [argument(fd), 0, 0, 0, 0, 0]);
}

/// Whether something has this name.
pub(crate) fn is_there(path: &CStr) -> bool {
    rustix::fs::access(path, rustix::fs::Access::EXISTS).is_ok()
}

/// Lets a little time pass.
pub(crate) fn rest(ms: u64) {
    // A signal may end it earlier: whoever rests looks again.
    let _: Answer = pass(libc::SYS_poll, [0, 0, ms, 0, 0, 0]);
}

/// The path that the kernel has for a descriptor.
pub(crate) fn path_of(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> Option<usize> {
    rustix::fs::readlinkat_raw(CWD, proc_path(fd).as_c_str()?, buffer).ok()
}

/// Opens once more, for reading, what a descriptor is open on.
pub(crate) fn reopen(fd: BorrowedFd<'_>) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, proc_path(fd).as_c_str()?, flags, Mode::empty()).ok()
}

/// `/proc/self/fd/` and the number, without an allocation.
struct ProcPath([u8; 32]);

impl ProcPath {
    fn as_c_str(&self) -> Option<&CStr> {
        CStr::from_bytes_until_nul(&self.0).ok()
    }
}

fn proc_path(fd: BorrowedFd<'_>) -> ProcPath {
    let mut path = [0; 32];
    for (place, byte) in path.iter_mut().zip(b"/proc/self/fd/".iter().chain(DecInt::from_fd(fd).as_bytes())) {
        *place = *byte;
    }
    ProcPath(path)
}

/// Appends all of these bytes, at where the descriptor stands.
pub(crate) fn append(fd: i32, mut bytes: &[u8]) -> Result<(), i32> {
    while !bytes.is_empty() {
        let args = [argument(fd), address(bytes.as_ptr()), bytes.len() as u64, 0, 0, 0];
        let count = pass(libc::SYS_write, args)?;
        bytes = &bytes[usize::try_from(count).map_err(|_| libc::EIO)?..];
    }
    Ok(())
}

/// Appends this stretch of a file.
pub(crate) fn append_from(fd: i32, from: i32, mut offset: u64, mut len: u64) -> Result<(), i32> {
    while len > 0 {
        let place = address((&raw mut offset).cast::<u8>());
        let args = [argument(fd), argument(from), place, len, 0, 0];
        match pass(libc::SYS_sendfile, args)? {
            0 => return Err(libc::EIO),
            count => len -= count,
        }
    }
    Ok(())
}

/// The address as an argument.
pub(crate) fn address(pointer: *const u8) -> u64 {
    pointer.expose_provenance() as u64
}

fn pointer<T>(address: u64) -> *const T {
    core::ptr::with_exposed_provenance(usize::try_from(address).unwrap_or(0))
}

/// A text that the program gives to the kernel; nothing if it gives none.
pub(crate) fn text<'a>(address: u64) -> Option<&'a CStr> {
    let start = pointer::<core::ffi::c_char>(address);
    // SAFETY: the program gives it to the kernel as a text with an end, and waits for the call.
    (!start.is_null()).then(|| unsafe { CStr::from_ptr(start) })
}

/// An offset that the program has in its memory; nothing if it gives none.
pub(crate) fn offset(address: u64) -> Option<u64> {
    let start = pointer::<u64>(address);
    // SAFETY: the kernel has just written there, so it can be read.
    (!start.is_null()).then(|| unsafe { start.read_unaligned() })
}

/// What the environment says under this name, to the end of the process.
pub(crate) fn variable(name: &CStr) -> Option<&'static CStr> {
    // SAFETY: the name ends; no thread of the program changes the environment yet.
    let value = unsafe { libc::getenv(name.as_ptr()) };
    // SAFETY: what it gives ends, and stays where it is.
    (!value.is_null()).then(|| unsafe { CStr::from_ptr(value) })
}

/// The file that this code was loaded from.
pub(crate) fn file_of(code: *const ()) -> Option<&'static [u8]> {
    let mut found = MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: the loader looks the address up and fills the struct.
    let known = unsafe { libc::dladdr(code.cast(), found.as_mut_ptr()) };
    // SAFETY: it was zero, which is a value of each of its fields, before it was filled.
    let name = unsafe { found.assume_init() }.dli_fname;
    // SAFETY: the loader's texts end, and stay as long as what was loaded.
    (known != 0 && !name.is_null()).then(|| unsafe { CStr::from_ptr(name) }.to_bytes())
}

/// Ends the process so that nobody overlooks it.
pub(crate) fn abort() -> ! {
    // SAFETY: it does not return.
    unsafe { libc::abort() }
}

/// While it lives no signal reaches this thread: its handler might write, and wait for what the thread itself holds.
pub(crate) struct Undisturbed(libc::sigset_t);

impl Undisturbed {
    pub(crate) fn begin() -> Self {
        let mut all = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: it fills the set.
        unsafe { libc::sigfillset(all.as_mut_ptr()) };
        let mut before = MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: one set is filled, the other is there to be filled.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) };
        // SAFETY: it was zero, which is a set, before it was filled.
        Self(unsafe { before.assume_init() })
    }
}

impl Drop for Undisturbed {
    fn drop(&mut self) {
        // SAFETY: the set is what the thread had before.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, core::ptr::null_mut()) };
    }
}
