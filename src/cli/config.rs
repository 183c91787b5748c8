//! Arguments of `config`, and where every command finds the configuration.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Where the configuration is.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Configuration")]
pub struct ConfigurationArgs {
    /// Path of the configuration; without it .kubectl-rollback.yaml in this folder or above, else the ConfigMap kubectl-rollback
    #[arg(long, global = true, value_name = "PATH")]
    pub config: Option<PathBuf>,
}

/// What to do with the configuration.
#[derive(Debug, Clone, Subcommand)]
pub enum ConfigCommand {
    /// Write a first configuration from what a release declares about itself
    Init {
        /// Name of the release; may be left out when the namespace holds one
        #[arg(value_name = "RELEASE")]
        release: Option<String>,
        /// Overwrite a file that is there
        #[arg(long)]
        force: bool,
    },
    /// Print the configuration that is in force; addresses of webhooks are hidden
    View,
    /// Check the configuration: unknown fields, values that cannot be meant, templates
    Validate,
}
