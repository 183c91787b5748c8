//! Debian packages, installed when a file of theirs is missing.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::process::output_of;
use crate::screen;

/// Installs with apt-get the packages whose files are missing: pairs of a file and the package that has it.
/// `what` says who needs them.
pub fn ensure(what: &str, needed: &[(&str, &str)]) -> Result<()> {
    let is_missing = |(file, _): &&(&str, &str)| !Path::new(file).exists();
    let missing: Vec<&str> = needed.iter().filter(is_missing).map(|(_, package)| *package).collect();
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
    .with_context(|| format!("{what} needs the Debian packages {}", missing.join(", ")))?;
    if let Some((file, package)) = needed.iter().find(is_missing) {
        bail!("package {package} brought no {file}");
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
