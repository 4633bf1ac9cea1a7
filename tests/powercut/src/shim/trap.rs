//! The filter by which the kernel hands calls to the shim, whoever makes them: the C library, a library that calls the
//! kernel itself (as `rustix` does, by which `tempfile` renames), or a program without either.
//!
//! seccomp is asked to raise `SIGSYS` for the calls in `ROWS`; the handler carries the call out and puts its result where
//! the program looks for it. Wrapping the C library's functions instead would miss every raw call.
#![expect(unsafe_code, reason = "a handler of signals, a filter of calls and what runs before main")]

use core::ffi::{c_int, c_long, c_void};
use core::mem::MaybeUninit;

use super::kernel::{MARK, Marked, argument, errno, marked, set_errno};
use super::{calls, die, kernel};

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const TRAP: u32 = libc::SECCOMP_RET_TRAP;
/// As a kernel would answer that does not have the call: whoever uses it has another way.
const ABSENT: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned();
const REFUSED: u32 = libc::SECCOMP_RET_ERRNO | libc::EOPNOTSUPP.cast_unsigned();

/// What an argument must be for the verdict; the others pass.
#[derive(Clone, Copy)]
enum Test {
    /// One of these bits.
    Some(u8, u32),
    /// None of these bits.
    None(u8, u32),
    Equal(u8, u32),
}

const CHANGES: u32 = (libc::O_CREAT | libc::O_TRUNC | libc::O_TMPFILE & !libc::O_DIRECTORY).cast_unsigned();
const SHARED: u32 = libc::MAP_SHARED.cast_unsigned();
const ANONYMOUS: u32 = libc::MAP_ANONYMOUS.cast_unsigned();
const WRITABLE: u32 = libc::PROT_WRITE.cast_unsigned();
const CLONE: u32 = 0x4004_9409;
const CLONE_RANGE: u32 = 0x4020_940D;

const ROWS: &[(c_long, &[Test], u32)] = &[
    (libc::SYS_write, &[], TRAP),
    (libc::SYS_pwrite64, &[], TRAP),
    (libc::SYS_writev, &[], TRAP),
    (libc::SYS_pwritev, &[], TRAP),
    (libc::SYS_pwritev2, &[], TRAP),
    (libc::SYS_sendfile, &[], TRAP),
    (libc::SYS_splice, &[], TRAP),
    (libc::SYS_copy_file_range, &[], TRAP),
    (libc::SYS_ftruncate, &[], TRAP),
    (libc::SYS_truncate, &[], TRAP),
    (libc::SYS_fallocate, &[], TRAP),
    (libc::SYS_openat, &[Test::Some(2, CHANGES)], TRAP),
    (libc::SYS_renameat2, &[], TRAP),
    (libc::SYS_renameat, &[], TRAP),
    (libc::SYS_unlinkat, &[], TRAP),
    (libc::SYS_mkdirat, &[], TRAP),
    (libc::SYS_linkat, &[], TRAP),
    (libc::SYS_symlinkat, &[], TRAP),
    (libc::SYS_mknodat, &[], TRAP),
    (libc::SYS_fsync, &[], TRAP),
    (libc::SYS_fdatasync, &[], TRAP),
    (libc::SYS_sync, &[], TRAP),
    (libc::SYS_syncfs, &[], TRAP),
    (libc::SYS_mmap, &[Test::Some(3, SHARED), Test::None(3, ANONYMOUS), Test::Some(2, WRITABLE)], TRAP),
    // Of the older kind.
    (libc::SYS_open, &[Test::Some(1, CHANGES)], TRAP),
    (libc::SYS_creat, &[], TRAP),
    (libc::SYS_rename, &[], TRAP),
    (libc::SYS_unlink, &[], TRAP),
    (libc::SYS_rmdir, &[], TRAP),
    (libc::SYS_mkdir, &[], TRAP),
    (libc::SYS_link, &[], TRAP),
    (libc::SYS_symlink, &[], TRAP),
    (libc::SYS_mknod, &[], TRAP),
    // There are other ways.
    (libc::SYS_openat2, &[], ABSENT),
    (libc::SYS_io_setup, &[], ABSENT),
    (libc::SYS_ioctl, &[Test::Equal(1, CLONE)], REFUSED),
    (libc::SYS_ioctl, &[Test::Equal(1, CLONE_RANGE)], REFUSED),
];

/// What is handed over only where it is asked for: a program reads all the time, and most of it is not of a disk.
const READS: &[(c_long, &[Test], u32)] = &[
    (libc::SYS_read, &[], TRAP),
    (libc::SYS_pread64, &[], TRAP),
    (libc::SYS_readv, &[], TRAP),
    (libc::SYS_preadv, &[], TRAP),
    (libc::SYS_preadv2, &[], TRAP),
];

const ARCHITECTURE: u32 = 0xC000_003E;

/// A call of the older kind as the newer that does the same.
pub(super) fn newer(number: c_long, args: [u64; 6]) -> (c_long, [u64; 6]) {
    let here = argument(libc::AT_FDCWD);
    let [a, b, c, ..] = args;
    match number {
        libc::SYS_open => (libc::SYS_openat, [here, a, b, c, 0, 0]),
        libc::SYS_creat => {
            (libc::SYS_openat, [here, a, argument(libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC), b, 0, 0])
        }
        libc::SYS_rename => (libc::SYS_renameat2, [here, a, here, b, 0, 0]),
        libc::SYS_renameat => (libc::SYS_renameat2, [a, b, c, args[3], 0, 0]),
        libc::SYS_unlink => (libc::SYS_unlinkat, [here, a, 0, 0, 0, 0]),
        libc::SYS_rmdir => (libc::SYS_unlinkat, [here, a, argument(libc::AT_REMOVEDIR), 0, 0, 0]),
        libc::SYS_mkdir => (libc::SYS_mkdirat, [here, a, b, 0, 0, 0]),
        libc::SYS_link => (libc::SYS_linkat, [here, a, here, b, 0, 0]),
        libc::SYS_symlink => (libc::SYS_symlinkat, [a, here, b, 0, 0, 0]),
        libc::SYS_mknod => (libc::SYS_mknodat, [here, a, b, c, 0, 0]),
        _ => (number, args),
    }
}

/// The filter's program, as long as it has come to be.
struct Program {
    steps: [libc::sock_filter; 512],
    len: u16,
}

impl Program {
    fn new() -> Self {
        Self { steps: [libc::sock_filter { code: 0, jt: 0, jf: 0, k: 0 }; 512], len: 0 }
    }

    fn step(&mut self, code: u32, k: u32, jt: u8, jf: u8) {
        let Some(place) = self.steps.get_mut(usize::from(self.len)) else { die("the filter is too long") };
        *place = libc::sock_filter { code: u16::try_from(code).unwrap_or(0), jt, jf, k };
        self.len += 1;
    }

    fn load(&mut self, offset: u32) {
        self.step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset, 0, 0);
    }

    fn end(&mut self, verdict: u32) {
        self.step(libc::BPF_RET | libc::BPF_K, verdict, 0, 0);
    }

    /// Allows the call unless the number that was loaded passes the comparison.
    fn allow_unless(&mut self, comparison: u32, value: u32, holds: bool) {
        self.step(libc::BPF_JMP | comparison | libc::BPF_K, value, u8::from(holds), u8::from(!holds));
        self.end(ALLOW);
    }

    fn row(&mut self, number: c_long, tests: &[Test], verdict: u32) {
        let lower = |at: u8| 16 + 8 * u32::from(at);
        let len = 4 + 3 * u8::try_from(tests.len()).unwrap_or(0);
        self.load(0);
        self.step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, u32::try_from(number).unwrap_or(0), 0, len);
        self.load(match marked(number) {
            Marked::Last => lower(5),
            Marked::Upper(at) => lower(at) + 4,
        });
        self.allow_unless(libc::BPF_JEQ, MARK, false);
        for test in tests {
            let (at, value, comparison, holds) = match *test {
                Test::Some(at, bits) => (at, bits, libc::BPF_JSET, true),
                Test::None(at, bits) => (at, bits, libc::BPF_JSET, false),
                Test::Equal(at, value) => (at, value, libc::BPF_JEQ, true),
            };
            self.load(lower(at));
            self.allow_unless(comparison, value, holds);
        }
        self.end(verdict);
    }
}

/// Has the kernel hand the calls over from here on, of every thread that will be.
pub(super) fn set() {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: zero is a value of each of its fields: no flags, an empty set, the default action.
    let action = unsafe { action.assume_init_mut() };
    let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = on_call;
    action.sa_sigaction = handler as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER | libc::SA_RESTART;
    // SAFETY: the handler has the form that these flags ask for.
    let handled = unsafe { libc::sigaction(libc::SIGSYS, action, core::ptr::null_mut()) };
    let mut program = Program::new();
    program.load(4);
    program.allow_unless(libc::BPF_JEQ, ARCHITECTURE, true);
    let reads = if kernel::variable(c"POWERCUT_READS").is_some() { READS } else { &[] };
    for (number, tests, verdict) in ROWS.iter().chain(reads) {
        program.row(*number, tests, *verdict);
    }
    program.end(ALLOW);
    let filter = libc::sock_fprog { len: program.len, filter: program.steps.as_mut_ptr() };
    // SAFETY: it changes what an exec may gain, and nothing else.
    let held = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    // SAFETY: the kernel takes a copy of a program that is as long as it says.
    let set = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const filter) };
    if (handled, held, set) != (0, 0, 0) {
        die("the kernel takes no filter of calls (seccomp)");
    }
}

extern "C" fn on_call(_: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    let before = errno();
    // SAFETY: the kernel hands its handler the state of the thread, which nobody else has now.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    let (number, args) = asked(context);
    let result = match calls::serve(number, args) {
        Ok(value) => value.cast_signed(),
        Err(error) => -i64::from(error),
    };
    answer(context, result);
    set_errno(before);
}

fn asked(context: &libc::ucontext_t) -> (c_long, [u64; 6]) {
    let registers = &context.uc_mcontext.gregs;
    let of = |index: c_int| registers[usize::try_from(index).unwrap_or(0)];
    let args = [libc::REG_RDI, libc::REG_RSI, libc::REG_RDX, libc::REG_R10, libc::REG_R8, libc::REG_R9];
    (of(libc::REG_RAX), args.map(|index| of(index).cast_unsigned()))
}

fn answer(context: &mut libc::ucontext_t, result: i64) {
    context.uc_mcontext.gregs[usize::try_from(libc::REG_RAX).unwrap_or(0)] = result;
}

/// Run by the loader before `main`. A program that merely links this library is left alone.
#[used]
#[unsafe(link_section = ".init_array")]
static START: extern "C" fn() = start;

extern "C" fn start() {
    let own = kernel::file_of(start as *const ());
    if own.is_some_and(|path| {
        path.rsplit(|&byte| byte == b'/').next().is_some_and(|name| name.starts_with(b"libpowercut"))
    }) && let Some(directory) = kernel::variable(c"POWERCUT_DIR")
    {
        super::watch(directory);
        set();
    }
}
