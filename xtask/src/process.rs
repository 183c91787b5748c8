//! Starting, recognising and ending processes by their id, never by their name.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::folders;

/// How much a Go program allocates before it collects garbage, in percent of what it keeps: memory for time. Without it the
/// control plane takes a quarter more of the processor.
pub const GARBAGE_PERCENT: &str = "400";

/// Cargo in the repository's folder, as a person would start it there. What cargo has set for this program would speak of
/// the wrong crate, and would change the environment that build scripts watch: dependencies were compiled anew each time.
pub fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(folders::repository());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
    command
}

/// Starts a program in the background with its output appended to `log`.
///
/// It gets a process group of its own, so that Ctrl-C in the terminal does not reach it.
pub fn start(command: &mut Command, log: &Path) -> Result<Child> {
    use std::os::unix::process::CommandExt as _;

    let output = File::options().create(true).append(true).open(log)?;
    command
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().display()))
}

/// The program that runs now, to start it once more.
///
/// Its file may be gone: `cargo xtask test` builds this very program anew. Linux still knows it then.
pub fn own_program() -> Result<PathBuf> {
    let kept = PathBuf::from(format!("/proc/{}/exe", std::process::id()));
    if kept.exists() { Ok(kept) } else { Ok(std::env::current_exe()?) }
}

/// Whether the process `id` runs and `mark` occurs in its command line.
///
/// A process id alone proves nothing: after a crash the system may have given it to somebody else.
pub fn is_ours(id: u32, mark: &str) -> bool {
    command_line(id).is_some_and(|line| line.contains(mark))
}

#[cfg(target_os = "linux")]
fn command_line(id: u32) -> Option<String> {
    let bytes = std::fs::read(format!("/proc/{id}/cmdline")).ok()?;
    Some(String::from_utf8_lossy(&bytes).replace('\0', " "))
}

#[cfg(not(target_os = "linux"))]
fn command_line(id: u32) -> Option<String> {
    let output = Command::new("ps").args(["-o", "command=", "-p", &id.to_string()]).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Asks the process to end (SIGTERM); a process that is gone already is no error.
pub fn terminate(id: u32) {
    signal(id, Signal::TERM);
}

/// Ends the process at once (SIGKILL); a process that is gone already is no error.
pub fn kill(id: u32) {
    signal(id, Signal::KILL);
}

fn signal(id: u32, signal: Signal) {
    if let Some(id) = i32::try_from(id).ok().and_then(Pid::from_raw) {
        _ = kill_process(id, signal);
    }
}

/// Waits until `condition` holds; false when `limit` passed first.
pub fn wait_until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    loop {
        if condition() {
            return true;
        }
        if started.elapsed() >= limit {
            return false;
        }
        sleep(Duration::from_millis(50));
    }
}

/// Runs a program to its end and returns what it wrote to standard output.
///
/// # Errors
/// When it cannot be started or ends with another code than 0; the message holds its error output.
pub fn output_of(command: &mut Command) -> Result<String> {
    let described = describe(command);
    let output = command.output().with_context(|| format!("cannot start {described}"))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!("{described} failed ({}): {}", output.status, complaint.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A command as it would be typed.
pub fn describe(command: &Command) -> String {
    let mut words = vec![command.get_program()];
    words.extend(command.get_args());
    words.into_iter().map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}
