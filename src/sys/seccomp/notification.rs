//! The notifications: receiving them, and answering.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::OnceLock;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::call::{Call, decode};

/// A thread that waits in a trapped call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notification {
    /// Names this one call, for [`answer`] and the others. Never reused.
    pub id: u64,
    /// The thread that waits, in our pid namespace; not its process, which
    /// [`tgid`](crate::sys::procfs::tgid) tells. 0 when it is in none that we see.
    pub thread: i32,
    /// What it asked for.
    pub call: Call,
}

/// The next notification, or none when none is pending. Never blocks, as long as nobody else receives
/// on the same listener: the kernel's own receiving call does, so we ask whether there is one first.
/// One that vanishes in between is passed over.
///
/// # Errors
/// Those of poll(2), and of `SECCOMP_IOCTL_NOTIF_RECV` in seccomp_unotify(2).
pub fn receive(listener: BorrowedFd<'_>) -> io::Result<Option<Notification>> {
    while is_pending(listener)? {
        let mut buffer = Buffer::<libc::seccomp_notif>::zeroed(sizes().seccomp_notif);
        match control(listener, libc::SECCOMP_IOCTL_NOTIF_RECV, buffer.pointer()) {
            Ok(_) => return Ok(Some(decoded(&buffer.get()))),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn is_pending(listener: BorrowedFd<'_>) -> io::Result<bool> {
    let mut fds = [PollFd::new(listener, PollFlags::POLLIN)];
    while let Err(error) = poll(&mut fds, PollTimeout::ZERO) {
        if error != nix::Error::EINTR {
            return Err(error.into());
        }
    }
    // Not POLLHUP: it says that all filtered threads are gone, and receiving would wait for ever.
    Ok(fds[0]
        .revents()
        .is_some_and(|events| events.contains(PollFlags::POLLIN)))
}

fn decoded(raw: &libc::seccomp_notif) -> Notification {
    Notification {
        id: raw.id,
        // A pid is positive and less than 2^22; the kernel's struct has it unsigned.
        thread: raw.pid as i32,
        call: decode(&raw.data),
    }
}

/// Whether the thread still waits in this call. What was read from /proc about the thread, or opened
/// by its pid, was the right process's if this is true *afterwards*.
pub fn still_valid(listener: BorrowedFd<'_>, id: u64) -> bool {
    let mut id = id;
    control(listener, libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &raw mut id).is_ok()
}

/// Ends the call with a value or an errno, without the kernel having done anything. False: the call was
/// interrupted meanwhile and the answer reached nobody; the thread may make the call again.
///
/// # Errors
/// `EINPROGRESS`: it has been answered before. Else those of `SECCOMP_IOCTL_NOTIF_SEND` in
/// seccomp_unotify(2).
pub fn answer(listener: BorrowedFd<'_>, id: u64, result: Result<i64, i32>) -> io::Result<bool> {
    let (val, error) = match result {
        Ok(value) => (value, 0),
        Err(errno) => (0, errno.saturating_neg()),
    };
    send(
        listener,
        libc::seccomp_notif_resp {
            id,
            val,
            error,
            flags: 0,
        },
    )
}

/// Lets the kernel do the call as it was made. False: as in [`answer`].
///
/// Nothing that was read from the thread's memory binds it: it may have changed it since.
///
/// # Errors
/// As in [`answer`].
pub fn pass(listener: BorrowedFd<'_>, id: u64) -> io::Result<bool> {
    // One bit; the field is 32 bits wide, the constant is as wide as a long.
    let flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
    send(
        listener,
        libc::seccomp_notif_resp {
            id,
            val: 0,
            error: 0,
            flags,
        },
    )
}

fn send(listener: BorrowedFd<'_>, response: libc::seccomp_notif_resp) -> io::Result<bool> {
    let mut buffer = Buffer::zeroed(sizes().seccomp_notif_resp);
    buffer.set(response);
    arrived(control(
        listener,
        libc::SECCOMP_IOCTL_NOTIF_SEND,
        buffer.pointer(),
    ))
}

/// Puts a duplicate of `source` in the place of the descriptor `target_fd` of the process that waits in
/// this call, which must still be [answered](answer). It works where fetching a descriptor is
/// forbidden. File status flags such as `O_NONBLOCK` belong to the socket: set them on `source` first.
/// False: as in [`answer`]; no descriptor was added.
///
/// # Errors
/// `EINVAL`: the kernel is older than 5.9. `EMFILE`: `target_fd` is above the process's limit. Else
/// those of `SECCOMP_IOCTL_NOTIF_ADDFD` in seccomp_unotify(2).
pub fn add_fd(
    listener: BorrowedFd<'_>,
    id: u64,
    source: BorrowedFd<'_>,
    target_fd: RawFd,
    close_on_exec: bool,
) -> io::Result<bool> {
    let number =
        |fd: RawFd| u32::try_from(fd).map_err(|_| io::Error::from_raw_os_error(libc::EBADF));
    let mut request = libc::seccomp_notif_addfd {
        id,
        // One bit; the field is 32 bits wide, the constant is as wide as a long.
        flags: libc::SECCOMP_ADDFD_FLAG_SETFD as u32,
        srcfd: number(source.as_raw_fd())?,
        newfd: number(target_fd)?,
        newfd_flags: if close_on_exec {
            libc::O_CLOEXEC as u32
        } else {
            0
        },
    };
    arrived(control(
        listener,
        libc::SECCOMP_IOCTL_NOTIF_ADDFD,
        &raw mut request,
    ))
}

/// False for `ENOENT`: the call does not wait any more.
fn arrived(result: io::Result<libc::c_int>) -> io::Result<bool> {
    match result {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// One ioctl on the listener, made again when a signal interrupts it.
fn control<T>(
    listener: impl AsFd,
    request: libc::Ioctl,
    argument: *mut T,
) -> io::Result<libc::c_int> {
    loop {
        // SAFETY: `argument` is, in all uses here, a live and exclusively borrowed object of the type
        // that `request` asks for, at least as large as this kernel has it.
        let result = unsafe { libc::ioctl(listener.as_fd().as_raw_fd(), request, argument) };
        if result >= 0 {
            return Ok(result);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// A struct that this kernel may have made longer than ours: zeros, and ours at the front.
struct Buffer<T> {
    words: Vec<u64>,
    front: std::marker::PhantomData<T>,
}

impl<T: Copy> Buffer<T> {
    /// At least `size` bytes, which is what the kernel says that it will read or write.
    fn zeroed(size: u16) -> Self {
        let size = usize::from(size).max(size_of::<T>());
        Self {
            words: vec![0; size.div_ceil(size_of::<u64>())],
            front: std::marker::PhantomData,
        }
    }

    fn pointer(&mut self) -> *mut T {
        const { assert!(align_of::<T>() <= align_of::<u64>()) };
        self.words.as_mut_ptr().cast()
    }

    fn set(&mut self, value: T) {
        // SAFETY: the buffer is ours alone, large enough for a T and aligned for it.
        unsafe { self.pointer().write(value) }
    }

    fn get(&mut self) -> T {
        // SAFETY: as above; T is one of the kernel's plain structs of integers, for which all bytes
        // are valid.
        unsafe { self.pointer().read() }
    }
}

/// How large this kernel's structs are.
fn sizes() -> &'static libc::seccomp_notif_sizes {
    static SIZES: OnceLock<libc::seccomp_notif_sizes> = OnceLock::new();
    SIZES.get_or_init(|| {
        let mut sizes = libc::seccomp_notif_sizes {
            seccomp_notif: 0,
            seccomp_notif_resp: 0,
            seccomp_data: 0,
        };
        // SAFETY: the kernel fills in the struct, which outlives the call. When it refuses, the sizes
        // stay 0 and ours are used, which were the first that there were.
        unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_GET_NOTIF_SIZES,
                0,
                &raw mut sizes,
            );
        }
        sizes
    })
}
