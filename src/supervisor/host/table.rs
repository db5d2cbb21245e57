//! `--probe`: what was found, for people.

use std::fmt::{self, Display};

use super::{Feature, Host};
use crate::supervisor::retirement::peer_names::PeerNames;
use crate::supervisor::steering::choice;

impl Display for Host {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(text, "Linux {}", self.release)?;
        let interception = self.interception.as_ref().err().map(ToString::to_string);
        let mechanism = "seccomp notifications (Linux 5.9)";
        row(
            text,
            "intercept bind and listen",
            mechanism,
            interception.as_deref(),
        )?;
        for feature in Feature::ALL {
            let why = self.missing(feature);
            row(text, feature.purpose(), feature.mechanism(), why)?;
            if why.is_some() {
                writeln!(text, "       {}; {}", feature.without(), feature.remedy())?;
            }
        }
        let obstacle = PeerNames::obstacle();
        let mechanism = "bpf and cgroup v2 (CAP_BPF, CAP_NET_ADMIN, Linux 5.8)";
        row(
            text,
            "name clients of other hosts",
            mechanism,
            obstacle.as_deref(),
        )?;
        if obstacle.is_some() {
            writeln!(
                text,
                "       their kept connections end with the workers that have them (--rescue-clients)"
            )?;
        }
        steering(text)
    }
}

fn row(
    text: &mut fmt::Formatter<'_>,
    purpose: &str,
    mechanism: &str,
    why: Option<&str>,
) -> fmt::Result {
    match why {
        None => writeln!(text, "  yes  {purpose:<28} {mechanism}"),
        Some(why) => writeln!(text, "  no   {purpose:<28} {mechanism}: {why}"),
    }
}

fn steering(text: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (ebpf, cbpf) = (choice::ebpf_obstacle(), choice::cbpf_obstacle());
    row(
        text,
        "steer by eBPF",
        "bpf (root or CAP_BPF)",
        ebpf.as_deref(),
    )?;
    row(
        text,
        "steer by classic BPF",
        "SO_ATTACH_REUSEPORT_CBPF",
        cbpf.as_deref(),
    )?;
    let auto = match (ebpf, cbpf) {
        (None, _) => "ebpf",
        (Some(_), None) => "cbpf",
        (Some(_), Some(_)) => "none: a reload can lose requests",
    };
    writeln!(text, "--steering auto is {auto}")
}
