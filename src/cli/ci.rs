//! Arguments of `ci`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::ProtectionArgs;

/// Run a deploy, watch it, and roll back when it fails
#[derive(Debug, Clone, Default, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct CiArgs {
    /// Name of the release; may be left out when the namespace holds one
    #[arg(value_name = "RELEASE")]
    pub release: Option<String>,
    /// Let the deploy run to its own end, also when its pods will not become ready
    #[arg(long)]
    pub no_fail_fast: bool,
    /// Do not check afterwards whether it is well
    #[arg(long)]
    pub no_verify: bool,
    /// Add a summary in Markdown to this file; without it to the one that GitHub's runner names
    #[arg(long, value_name = "FILE")]
    pub summary: Option<PathBuf>,
    /// Do not run the revision's rollback hooks
    #[arg(long)]
    pub no_hooks: bool,
    /// Revisions that stay in the release's history; 0 keeps all; without it Helm's own setting counts, else 10
    #[arg(long, value_name = "N")]
    pub history_max: Option<usize>,
    /// Roll back also where a check before the first write fails
    #[arg(long)]
    pub skip_preflight: bool,
    /// Go on where a deploy that is over, or another operation, left the release pending
    #[arg(long)]
    pub take_over: bool,
    /// The second confirmation.
    #[command(flatten)]
    pub protection: ProtectionArgs,
    /// The deploy, as it would be typed without us; it runs without a shell
    #[arg(last = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}
