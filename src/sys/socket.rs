//! Unix sockets in the file system: the control socket and the workers' `NOTIFY_SOCKET`.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, AtFlags, Flock, FlockArg};
use nix::sys::socket::{getsockopt, setsockopt, sockopt};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{Uid, fchownat};
use socket2::{Domain, SockAddr, Socket, Type};

/// The longest path of a Unix socket, in bytes (`sun_path` less its final NUL, unix(7)).
pub const MAX_PATH_LEN: usize = 107;

/// A socket in the file system that goes when its owner goes.
#[derive(Debug)]
pub struct Bound<T> {
    /// The socket.
    pub socket: T,
    path_guard: BoundPath,
}

impl<T> Bound<T> {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path_guard.path
    }

    /// Gives its file to a user, who may write to the socket then.
    ///
    /// # Errors
    /// Those of fchownat(2); `EPERM`: it takes `CAP_CHOWN`.
    pub fn give_to(&self, user: u32) -> io::Result<()> {
        // By its name: the mode and the owner of the socket itself count only when the file is made.
        let flags = AtFlags::AT_SYMLINK_NOFOLLOW;
        let user = Some(Uid::from_raw(user));
        Ok(fchownat(AT_FDCWD, self.path(), user, None, flags)?)
    }

    /// Whether its file is still there: then who looks for it there finds this socket.
    pub fn is_there(&self) -> bool {
        self.path_guard.is_there()
    }
}

/// A file that is removed on drop, if it is still ours: somebody may have put another file there.
#[derive(Debug)]
struct BoundPath {
    path: PathBuf,
    inode: u64,
}

impl BoundPath {
    fn is_there(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode)
    }
}

impl Drop for BoundPath {
    fn drop(&mut self) {
        if self.is_there()
            && let Err(error) = fs::remove_file(&self.path)
        {
            log::warn!("cannot remove the socket {}: {error}", self.path.display());
        }
    }
}

/// Why a socket could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody answers there.
    #[error("a supervisor answers on {} already; give this one another --name or --control", .0.display())]
    Live(PathBuf),
    /// There is a file of another kind.
    #[error("{} exists and is not a socket; remove it or give another --control", .0.display())]
    NotASocket(PathBuf),
    /// It is too long for the kernel.
    #[error("the socket path {} has {} bytes and a socket's path can have {MAX_PATH_LEN}; give a shorter --control", .0.display(), .0.as_os_str().len())]
    TooLong(PathBuf),
    /// The kernel said no.
    #[error("cannot {operation} {}: {source}; give a --control PATH in a directory that can be written", .path.display())]
    Os {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// A listening stream socket at `path`, mode 0600. A stale one there is replaced, a live one is
/// not.
///
/// # Errors
/// See [`BindError`].
pub fn bind_control(path: &Path) -> Result<Bound<UnixListener>, BindError> {
    let (socket, path_guard) = bind(path, Type::STREAM)?;
    socket.listen(128).map_err(|source| BindError::Os {
        operation: "listen on",
        path: path.to_owned(),
        source,
    })?;
    Ok(Bound {
        socket: std::os::fd::OwnedFd::from(socket).into(),
        path_guard,
    })
}

/// A datagram socket at `path`, mode 0600, whose messages say who sent them.
///
/// # Errors
/// See [`BindError`].
pub fn bind_notify(path: &Path) -> Result<Bound<UnixDatagram>, BindError> {
    let (socket, path_guard) = bind(path, Type::DGRAM)?;
    let result = setsockopt(&socket, sockopt::PassCred, &true);
    result.map_err(|errno| BindError::Os {
        operation: "set SO_PASSCRED on",
        path: path.to_owned(),
        source: errno.into(),
    })?;
    Ok(Bound {
        socket: std::os::fd::OwnedFd::from(socket).into(),
        path_guard,
    })
}

fn bind(path: &Path, kind: Type) -> Result<(Socket, BoundPath), BindError> {
    if path.as_os_str().as_bytes().len() > MAX_PATH_LEN {
        return Err(BindError::TooLong(path.to_owned()));
    }
    let fail = |operation| {
        move |source| BindError::Os {
            operation,
            path: path.to_owned(),
            source,
        }
    };
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    // Two that start at once must not both find the same stale socket and remove each other's.
    let _lock = File::open(directory)
        .and_then(lock)
        .map_err(fail("lock the directory of"))?;
    remove_stale(path)?;
    let socket = Socket::new(Domain::UNIX, kind.cloexec().nonblocking(), None)
        .map_err(fail("make the socket"))?;
    // The kernel gives the file the mode of the socket, so it is never open to others (unix(7)).
    fchmod(socket.as_fd(), Mode::S_IRUSR | Mode::S_IWUSR)
        .map_err(|errno| fail("set the mode of")(errno.into()))?;
    let address = SockAddr::unix(path).map_err(fail("name the socket"))?;
    socket
        .bind(&address)
        .map_err(fail("bind the control socket"))?;
    let inode = fs::symlink_metadata(path).map_err(fail("look at"))?.ino();
    Ok((
        socket,
        BoundPath {
            path: path.to_owned(),
            inode,
        },
    ))
}

fn lock(directory: File) -> io::Result<Flock<File>> {
    Flock::lock(directory, FlockArg::LockExclusive).map_err(|(_, errno)| errno.into())
}

fn remove_stale(path: &Path) -> Result<(), BindError> {
    use std::os::unix::fs::FileTypeExt;
    let fail = |operation, source| BindError::Os {
        operation,
        path: path.to_owned(),
        source,
    };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(fail("look at", error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(BindError::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        // A datagram socket of a live supervisor answers a stream with EPROTOTYPE.
        Ok(_) => Err(BindError::Live(path.to_owned())),
        Err(error) if error.raw_os_error() == Some(libc::EPROTOTYPE) => {
            Err(BindError::Live(path.to_owned()))
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(BindError::Live(path.to_owned()))
        }
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|error| fail("remove the stale socket", error))
        }
        Err(error) => Err(fail("connect to", error)),
    }
}

/// Who connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The process.
    pub pid: i32,
    /// Its user.
    pub user: u32,
}

/// Who is on the other side (`SO_PEERCRED`, unix(7)).
///
/// # Errors
/// Those of getsockopt(2).
pub fn peer(stream: &impl AsFd) -> io::Result<Peer> {
    let credentials = getsockopt(stream, sockopt::PeerCredentials)?;
    Ok(Peer {
        pid: credentials.pid(),
        user: credentials.uid(),
    })
}
