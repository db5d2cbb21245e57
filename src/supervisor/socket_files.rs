//! The files of the control socket and of the workers' `NOTIFY_SOCKET`: where one is gone, it is made again.
//!
//! Cleaners of temporary directories remove them, and a supervisor without them cannot be asked for anything but by
//! signals. They are looked at when the kernel says that something has happened to them, at each reload by a signal,
//! and a minute after a look that could not mend what was wrong. Only where nothing can be watched is there a look
//! each minute.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::{Duration, Instant};

use log::{debug, info};
use mio::Interest;

use super::repeated::RepeatedWarning;
use super::sources::{Source, Sources};
use super::{StartError, Supervisor};
use crate::sys::file_watch::FileWatch;

/// How long after a look that could not mend what was wrong there is another.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct SocketFiles {
    /// None where inotify(7) refuses.
    watch: Option<FileWatch>,
    next_look: Option<Instant>,
    trouble: RepeatedWarning,
}

impl SocketFiles {
    pub(super) fn new(sources: &mut Sources, paths: [&Path; 2]) -> Self {
        let watch = watch(sources, paths);
        if let Err(error) = &watch {
            info!("the control socket is looked at each minute: it cannot be watched: {error}");
        }
        let watch = watch.ok();
        Self {
            next_look: watch.is_none().then(next_look),
            watch,
            trouble: RepeatedWarning::default(),
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let count = self.trouble.deadline();
        self.next_look.into_iter().chain(count).min()
    }
}

fn watch(sources: &mut Sources, paths: [&Path; 2]) -> io::Result<FileWatch> {
    let watch = FileWatch::new()?;
    for path in paths {
        watch.add(path)?;
    }
    sources.add(&watch, Source::SocketFiles, Interest::READABLE)?;
    Ok(watch)
}

fn next_look() -> Instant {
    Instant::now() + LOOK_INTERVAL
}

impl Supervisor {
    /// Something has happened to one of the files.
    pub(super) fn socket_files_ready(&mut self) {
        if let Some(watch) = &self.socket_files.watch {
            watch.clear();
        }
        self.look_at_socket_files();
    }

    pub(super) fn check_socket_files(&mut self) {
        let next = self.socket_files.next_look;
        if next.is_some_and(|at| at <= Instant::now()) {
            self.look_at_socket_files();
        }
        self.socket_files.trouble.check_time();
    }

    /// Makes again what is gone.
    pub(super) fn look_at_socket_files(&mut self) {
        let mended = self.restore_socket_files();
        let files = &mut self.socket_files;
        let is_watched = files.watch.is_some();
        files.next_look = (mended.is_err() || !is_watched).then(next_look);
        if let Err(error) = mended {
            let path = self.control.path().display();
            files.trouble.warn(format!(
                "a file of the control socket {path} is gone and cannot be made again: {error}; it is tried again \
                 each minute and at HUP"
            ));
        }
    }

    fn restore_socket_files(&mut self) -> Result<(), StartError> {
        if self.control.is_there() && self.notify.is_there() {
            return Ok(());
        }
        if let Some(directory) = self.control.path().parent() {
            restore_directory(directory, self.config.directory_mode());
        }
        // Those who came by the old files are still heard.
        self.control_ready();
        self.notify_ready();
        if self.control.restore(&mut self.sources)? {
            let path = self.control.path().display();
            info!("made the control socket {path} again: its file was gone");
        }
        if self.notify.restore(&mut self.sources)? {
            let path = self.notify.path().display();
            info!("made the socket {path} for workers' notifications again: its file was gone");
        }
        if let Some(watch) = &self.socket_files.watch {
            for path in [self.control.path(), self.notify.path()] {
                watch.add(path).map_err(|source| StartError::System {
                    operation: "watch the control socket",
                    source,
                })?;
            }
        }
        Ok(())
    }
}

/// As it was at the start. What is wrong with it is told by those who use it.
fn restore_directory(directory: &Path, mode: u32) {
    match DirBuilder::new().mode(mode).create(directory) {
        Ok(()) => info!("made the directory {} again", directory.display()),
        Err(error) => debug!("the directory {} is not made: {error}", directory.display()),
    }
}
