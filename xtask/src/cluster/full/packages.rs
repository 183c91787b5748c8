//! The programs of the operating system that a real node needs, installed when they are missing.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::process::output_of;
use crate::screen;

/// A program and the Debian package that has it.
const NEEDED: [(&str, &str); 8] = [
    ("/usr/bin/containerd", "containerd"),
    ("/usr/sbin/runc", "runc"),
    ("/usr/lib/cni/bridge", "containernetworking-plugins"),
    ("/usr/sbin/iptables", "iptables"),
    ("/usr/sbin/ip", "iproute2"),
    (super::images::BUSYBOX, "busybox-static"),
    (super::images::REGISTRY, "docker-registry"),
    ("/usr/bin/unshare", "util-linux"),
];

/// Installs the packages whose programs are missing, with apt-get.
pub fn ensure() -> Result<()> {
    let missing: Vec<&str> = NEEDED
        .into_iter()
        .filter(|(program, _)| !Path::new(program).exists())
        .map(|(_, package)| package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    screen::say(&format!("installing Debian packages: {}", missing.join(" ")));
    with_lists(|| {
        let mut command = Command::new("apt-get");
        // Two clusters may be started at once: the second waits for the first one's packages.
        command.args(["--option", "DPkg::Lock::Timeout=300"]);
        command.args(["install", "--yes", "--no-install-recommends"]).args(&missing);
        output_of(command.env("DEBIAN_FRONTEND", "noninteractive"))
    })
    .with_context(|| format!("mode full needs the Debian packages {}", missing.join(", ")))?;
    if let Some((program, package)) = NEEDED.into_iter().find(|(program, _)| !Path::new(program).exists()) {
        bail!("package {package} brought no {program}");
    }
    Ok(())
}

/// Does something with apt, once more with new lists of packages where it fails: they are missing in a fresh container, or
/// too old.
pub fn with_lists(work: impl Fn() -> Result<String>) -> Result<String> {
    if let Ok(done) = work() {
        return Ok(done);
    }
    output_of(Command::new("apt-get").arg("update"))?;
    work()
}
