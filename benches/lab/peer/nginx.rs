//! nginx with a master and its own workers, answering by itself.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::Signal;

use super::process_tree::ProcessTree;
use super::tool::NGINX;
use super::{Peer, Place, Profile, Work};

/// nginx, with a queue for each worker or one for all.
#[derive(Clone, Copy, Debug)]
pub struct Nginx {
    /// `listen … reuseport`.
    pub reuse_port: bool,
}

impl Peer for Nginx {
    fn profile(&self) -> Profile {
        Profile {
            name: if self.reuse_port {
                "nginx, reuseport"
            } else {
                "nginx, shared"
            },
            work: Work::Static,
            needs: &[NGINX],
            configuration: "no access log, accept_mutex off (the default), keep-alive without end, a static answer by `return`",
            reload: "HUP to the master",
        }
    }

    fn start(&self, place: &Place) -> io::Result<ProcessTree> {
        let workers = format!("master_process on; worker_processes {};", place.workers);
        let file = configure(
            place,
            &workers,
            if self.reuse_port { " reuseport" } else { "" },
        )?;
        ProcessTree::of(place, Command::new(NGINX.word()).arg("-c").arg(file))
    }

    fn reload(&self, process_tree: &mut ProcessTree, _: &Place) -> io::Result<Option<Command>> {
        process_tree.signal(Signal::SIGHUP)?;
        Ok(None)
    }
}

/// Writes a configuration file.
///
/// # Errors
/// If it cannot be written.
pub fn configure(place: &Place, processes: &str, listen: &str) -> io::Result<PathBuf> {
    let (directory, address) = (place.directory.display(), place.address);
    // Its temporary folders are named because the built-in ones need root. Workers stay root where
    // the master is: our folder is not for others.
    let user = if nix::unistd::geteuid().is_root() {
        "user root;"
    } else {
        ""
    };
    let text = format!(
        "daemon off; {processes} {user}
pid {directory}/nginx.pid;
error_log stderr error;
worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    keepalive_requests 1000000000;
    keepalive_timeout 120s;
    server {{
        listen {address} backlog=4096{listen};
        location / {{
            add_header X-Worker $pid;
            return 200 \"hello\\n\";
        }}
    }}
}}
"
    );
    let file = place.file("nginx.conf");
    fs::write(&file, text)?;
    Ok(file)
}
