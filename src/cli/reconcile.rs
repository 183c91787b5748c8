//! Arguments of `reconcile`.

use clap::Args;

use super::{DryRun, ProtectionArgs};

/// Make Helm's record equal to what runs
///
/// Writes a new revision whose manifest and values name the images that the release's workloads have now, and
/// hands their fields over to Helm. Changes no workload.
#[derive(Debug, Clone, Default, Args)]
pub struct ReconcileArgs {
    /// Name of the release; may be left out when the namespace holds one
    #[arg(value_name = "RELEASE")]
    pub release: Option<String>,
    /// Go on where another operation left the release pending
    #[arg(long)]
    pub take_over: bool,
    /// Show what would be written and change nothing
    #[arg(long, value_enum, default_value_t = DryRun::None, default_missing_value = "client", num_args = 0..=1, require_equals = true)]
    pub dry_run: DryRun,
    /// The second confirmation.
    #[command(flatten)]
    pub protection: ProtectionArgs,
}
