//! The second confirmation that protected contexts want; every command that changes the cluster has it.

use clap::Args;

/// The second confirmation that protected contexts want.
#[derive(Debug, Clone, Default, Args)]
pub struct ProtectionArgs {
    /// Name of the kubeconfig context, where the configuration protects it; needed also with --yes
    #[arg(long, value_name = "NAME")]
    pub confirm_context: Option<String>,
}
