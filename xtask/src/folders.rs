//! Where things live: the repository, the cache of built tools, the runtime folders of clusters.
//!
//! Nothing is written into the work tree: binaries are cached by version and the state of a running
//! cluster is thrown away with it.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// Names the cache folder in place of the default below the user's cache folder.
pub const CACHE_VARIABLE: &str = "KUBECTL_ROLLBACK_CACHE";

/// The folder of the repository that this run belongs to.
///
/// Cargo says at run time which checkout it runs, so that several checkouts can share one build folder.
pub fn repository() -> PathBuf {
    let manifest = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest.parent().map_or_else(|| manifest.clone(), Path::to_path_buf)
}

/// The cargo that runs this program, so that the same toolchain is used again.
pub fn cargo() -> std::ffi::OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// The folder of everything that outlives a run: `$KUBECTL_ROLLBACK_CACHE`,
/// `$XDG_CACHE_HOME/kubectl-rollback` or `~/.cache/kubectl-rollback`; created when missing.
pub fn cache() -> Result<PathBuf> {
    let folder = if let Some(folder) = set_variable(CACHE_VARIABLE) {
        folder
    } else if let Some(folder) = set_variable("XDG_CACHE_HOME") {
        folder.join("kubectl-rollback")
    } else if let Some(home) = set_variable("HOME") {
        home.join(".cache/kubectl-rollback")
    } else {
        bail!("no cache folder: set {CACHE_VARIABLE} or HOME");
    };
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    folder.canonicalize().with_context(|| format!("cannot read {}", folder.display()))
}

/// The runtime folder of the cluster `name`; it exists exactly while the cluster does.
pub fn cluster(name: &str) -> Result<PathBuf> {
    let allowed = |character: char| character.is_ascii_alphanumeric() || character == '-' || character == '_';
    if name.is_empty() || name.len() > 40 || !name.chars().all(allowed) {
        bail!("{name:?} is no name for a cluster: use at most 40 letters, digits and dashes");
    }
    Ok(clusters()?.join(name))
}

/// The folder that holds the runtime folders of all clusters.
pub fn clusters() -> Result<PathBuf> {
    let folder = cache()?.join("run");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder)
}

/// The file whose lock is held while a cluster of this name is started or stopped.
pub fn cluster_lock(name: &str) -> Result<PathBuf> {
    let folder = cache()?.join("locks");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder.join(name))
}

fn set_variable(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}
