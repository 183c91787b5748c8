//! How registries are reached.

use std::path::PathBuf;

use clap::Args;

use crate::registry::{Mirror, Settings};

/// How registries are reached.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Registries")]
pub struct RegistryArgs {
    /// Ask a registry at another address, as HOST=[SCHEME://]ADDRESS[/PREFIX] (repeatable, or separated by commas)
    #[arg(long, global = true, value_name = "HOST=ADDRESS", value_delimiter = ',')]
    pub registry_mirror: Vec<Mirror>,
    /// Path of certificates to trust for registries, beside the system's
    #[arg(long, global = true, value_name = "PATH")]
    pub registry_ca: Option<PathBuf>,
}

impl RegistryArgs {
    /// The settings; `lookup` reads the environment.
    pub fn settings(&self, lookup: impl Fn(&str) -> Option<String>) -> Settings {
        Settings {
            authority: self.registry_ca.clone(),
            mirrors: self.registry_mirror.clone(),
            docker_config: Settings::docker_config_folder(lookup),
        }
    }
}
