//! Arguments of `repair`.

use clap::Args;

use super::{DryRun, ProtectionArgs};

/// Make the records of a stuck release true, so that Helm goes on
///
/// For a release that is pending because an operation was killed, that has no deployed revision, or several. Shows what
/// happened and what runs, and changes nothing but statuses and descriptions in Helm's records; no workload is touched.
#[derive(Debug, Clone, Default, Args)]
pub struct RepairArgs {
    /// Name of the release; may be left out when the namespace holds one
    #[arg(value_name = "RELEASE")]
    pub release: Option<String>,
    /// Go on although an operation was at work a few minutes ago
    #[arg(long)]
    pub take_over: bool,
    /// Show what would be written and change nothing
    #[arg(long, value_enum, default_value_t = DryRun::None, default_missing_value = "client", num_args = 0..=1, require_equals = true)]
    pub dry_run: DryRun,
    /// The second confirmation.
    #[command(flatten)]
    pub protection: ProtectionArgs,
}
