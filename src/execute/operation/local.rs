//! A copy of the journal on the operator's machine: what is left where the cluster takes none, and what can be read while
//! the API server is away. Best effort; it holds no value of a Secret.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::journal::Head;

/// The file of one operation, open for writing.
pub struct LocalCopy {
    file: Mutex<File>,
}

/// Where local copies are: `$XDG_STATE_HOME/kubectl-rollback`, else below the home folder; `None` without either.
pub fn folder(lookup: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let own = "kubectl-rollback";
    if let Some(state) = lookup("XDG_STATE_HOME") {
        return Some(PathBuf::from(state).join(own));
    }
    if let Some(local) = lookup("LOCALAPPDATA") {
        return Some(PathBuf::from(local).join(own));
    }
    lookup("HOME").map(|home| PathBuf::from(home).join(".local").join("state").join(own))
}

fn path(folder: &Path, operation: &str) -> PathBuf {
    folder.join(format!("{operation}.jsonl"))
}

impl LocalCopy {
    /// Begins a copy; nothing where the folder cannot be written.
    pub fn create(folder: &Path, head: &Head) -> Option<Self> {
        fs::create_dir_all(folder).ok()?;
        let mut file =
            private().create(true).truncate(true).write(true).open(path(folder, &head.operation)).ok()?;
        let line = serde_json::to_string(head).ok()?;
        writeln!(file, "{line}").ok()?;
        Some(Self { file: Mutex::new(file) })
    }

    /// Goes on with a copy, or begins one.
    pub fn resume(folder: &Path, head: &Head) -> Option<Self> {
        match private().append(true).open(path(folder, &head.operation)) {
            Ok(file) => Some(Self { file: Mutex::new(file) }),
            Err(_) => Self::create(folder, head),
        }
    }

    /// Adds lines. A full disk does not stop an emergency.
    pub fn append(&self, lines: &str) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = file.write_all(lines.as_bytes());
    }
}

/// Files that only their owner reads.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    restrict(&mut options);
    options
}

#[cfg(unix)]
fn restrict(options: &mut OpenOptions) {
    use std::os::unix::fs::OpenOptionsExt;
    options.mode(0o600);
}

#[cfg(not(unix))]
fn restrict(_options: &mut OpenOptions) {}
