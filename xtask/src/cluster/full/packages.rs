//! The programs of the operating system that a real node needs, installed when they are missing.

use anyhow::Result;

use crate::packages;

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

/// Installs the packages whose programs are missing.
pub fn ensure() -> Result<()> {
    packages::ensure("mode full", &NEEDED)
}
