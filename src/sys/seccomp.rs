//! Hearing of `bind` and `listen` in an unmodified program, before they happen; and of the `setsockopt` that would put
//! another program in the place of the one that steers.
//!
//! The order of events:
//! 1. The launcher [builds](build_filter) the filter, [installs](install) it on itself, sends the
//!    notification descriptor to the supervisor and executes the worker's command. The filter is
//!    inherited by every descendant; there is no way out of it.
//! 2. A trapped call stops its thread. The supervisor [receives](receive) the [`Notification`], looks at
//!    the thread's process, and asks whether the notification is [still valid](still_valid): only then
//!    was what it looked at really that process, and not one that was given the same pid.
//! 3. It does the call itself on a duplicate of the socket, or [puts another socket there](add_fd), and
//!    [answers](answer) with the result; or it lets the call [pass] as it is.
//!
//! The hazards: a notification may vanish at any moment, because a signal interrupted the call (which
//! is then made again) or the thread died; so every answer says whether it arrived, and a second `bind`
//! of one socket is to be expected. And the descriptor must outlive the workers: when the last one of
//! it is closed, `bind` and `listen` fail with `ENOSYS` in all of them. What is done through io_uring
//! (`IORING_OP_BIND`, Linux 6.11; `SOCKET_URING_OP_SETSOCKOPT`, 6.7) passes unseen.
//!
//! `SECCOMP_RET_USER_NOTIF` is in Linux since 5.0, passing a call on since 5.5, `SECCOMP_IOCTL_NOTIF_ADDFD` with a number since 5.9.

mod call;
mod filter;
mod notification;
mod support;

pub use call::{Call, decode_socketcall};
pub use filter::{build_filter, install};
pub use notification::{Notification, add_fd, answer, pass, receive, still_valid};
pub use support::{Unsupported, check_support};
