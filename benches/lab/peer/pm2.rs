//! PM2 in cluster mode, which is Node's cluster with round robin and a reload.

use std::fs;
use std::io;
use std::process::Command;

use super::process_tree::ProcessTree;
use super::tool::{NODE, PM2};
use super::{Peer, Place, Profile, Work, application};

/// PM2 in the foreground: its daemon would outlive the measurement.
#[derive(Clone, Copy, Debug)]
pub struct Pm2;

impl Pm2 {
    fn command(program: &str, place: &Place) -> Command {
        let mut command = Command::new(program);
        // A home of its own, or it would speak with the user's daemon.
        command.env("PM2_HOME", place.file("home"));
        command
    }
}

impl Peer for Pm2 {
    fn profile(&self) -> Profile {
        Profile {
            name: "pm2",
            work: Work::Node,
            needs: &[NODE, PM2],
            configuration: "exec_mode cluster; the application closes gracefully on SIGINT, with kill_timeout of 30 s instead of 1.6 s",
            reload: "pm2 reload",
        }
    }

    fn start(&self, place: &Place) -> io::Result<ProcessTree> {
        let file = place.file("ecosystem.config.json");
        let app = serde_json::json!({
            "name": "app",
            "script": application("http.js"),
            "args": [place.port(), place.host()],
            "exec_mode": "cluster",
            "instances": place.workers,
            // By default it kills after 1.6 s what is not done: that would be our doing.
            "kill_timeout": 30_000,
            "out_file": "/dev/null",
            "error_file": "/dev/null",
        });
        fs::write(&file, serde_json::json!({ "apps": [app] }).to_string())?;
        let mut command = Self::command(&PM2.word(), place);
        ProcessTree::of(place, command.arg("start").arg(file))
    }

    fn reload(&self, _: &mut ProcessTree, place: &Place) -> io::Result<Option<Command>> {
        let pm2 = PM2.word().replace("pm2-runtime", "pm2");
        let mut command = Self::command(&pm2, place);
        command.args(["reload", "app"]);
        Ok(Some(command))
    }
}
