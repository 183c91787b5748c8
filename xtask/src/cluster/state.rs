//! What is written down about a running cluster, so that another process can inspect and stop it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::Mode;
use crate::process::is_ours;

/// The state of one cluster, kept as JSON in its runtime folder.
#[derive(Serialize, Deserialize)]
pub struct State {
    pub mode: Mode,
    /// Occurs in the command line of every process of this cluster: the path of its runtime folder.
    pub mark: String,
    /// Process id of the supervisor.
    pub supervisor: u32,
    /// When the supervisor ends the cluster by itself.
    pub expires_at: SystemTime,
    /// In the order in which they were started.
    pub components: Vec<ComponentState>,
}

/// One process of the cluster.
#[derive(Serialize, Deserialize)]
pub struct ComponentState {
    pub name: String,
    /// Process id.
    pub id: u32,
    /// How often the supervisor found it ended and started it again.
    pub restarts: u32,
}

impl State {
    /// The state in `folder`; nothing when there is none or it cannot be read.
    pub fn read(folder: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(file(folder)).ok()?).ok()
    }

    /// Replaces the state in `folder` as a whole: a reader never sees half of it.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let unfinished = folder.join(".state.json");
        fs::write(&unfinished, serde_json::to_vec_pretty(self)?)
            .and_then(|()| fs::rename(&unfinished, file(folder)))
            .with_context(|| format!("cannot write {}", file(folder).display()))
    }

    /// Whether the supervisor still runs.
    pub fn supervisor_runs(&self) -> bool {
        is_ours(self.supervisor, &self.mark)
    }
}

fn file(folder: &Path) -> PathBuf {
    folder.join("state.json")
}

/// The administrator's kubeconfig in a runtime folder.
pub fn kubeconfig(folder: &Path) -> PathBuf {
    folder.join("kubeconfig")
}

/// The folder of the components' logs; created when missing.
pub fn log_folder(folder: &Path) -> Result<PathBuf> {
    let logs = folder.join("logs");
    fs::create_dir_all(&logs)?;
    Ok(logs)
}
