//! Arguments of `to`, and the choice of a target that `to`, `diff` and `plan` share.

use std::path::PathBuf;

use clap::Args;

use super::parse::{self, GoDuration, Moment};
use super::{DryRun, ProtectionArgs};

/// Which release, and which of its revisions
#[derive(Debug, Clone, Default, Args)]
pub struct TargetArgs {
    /// Name of the release; may be left out when the namespace holds one
    #[arg(value_name = "RELEASE")]
    pub release: Option<String>,
    /// Revision to go back to; without one the last good one is chosen
    #[arg(value_name = "REVISION", value_parser = clap::value_parser!(u64).range(1..), conflicts_with_all = ["last_good", "tag", "before", "chart_version"])]
    pub revision: Option<u64>,
    /// How it is chosen, and what else is asked for.
    #[command(flatten)]
    pub choice: ChoiceArgs,
}

/// How a revision is chosen that is not named, and what is done with it
#[derive(Debug, Clone, Default, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct ChoiceArgs {
    /// Choose the newest revision below the current one that really ran (the default)
    #[arg(long, conflicts_with_all = ["tag", "before", "chart_version", "helm_compat"])]
    pub last_good: bool,
    /// Choose the newest good revision that ran this image tag
    #[arg(long, value_parser = parse::tag, conflicts_with_all = ["before", "chart_version"])]
    pub tag: Option<String>,
    /// Choose the good revision that was deployed at this time: 2h ago, or an RFC 3339 time
    #[arg(long, value_name = "AGO | TIME", conflicts_with = "chart_version")]
    pub before: Option<Moment>,
    /// Choose the newest good revision of this chart version
    #[arg(long, value_name = "VERSION")]
    pub chart_version: Option<String>,
    /// Without a revision choose as Helm does: the last one minus one, whatever became of it
    #[arg(long)]
    pub helm_compat: bool,
    /// Go back to a revision that failed or never ran
    #[arg(long)]
    pub allow_failed_revision: bool,
    /// Keep the number of pods that every workload has now
    #[arg(long)]
    pub keep_replicas: bool,
    /// Delete this object of a newer revision although it may take data along: a CRD, a volume claim, a namespace (repeatable)
    #[arg(long, value_name = "KIND/NAME")]
    pub allow_delete: Vec<String>,
    /// Do not run the revision's rollback hooks
    #[arg(long)]
    pub no_hooks: bool,
    /// Restart workloads whose ConfigMaps or Secrets change while their pods would not
    #[arg(long)]
    pub restart: bool,
    /// Write whole objects in place of applying them: what Helm's --force-replace does
    #[arg(long)]
    pub force_replace: bool,
}

/// Roll a Helm release back to an earlier revision
///
/// Applies the stored manifest of a revision, deletes what newer revisions brought, runs the revision's hooks, waits until
/// everything is ready, and writes Helm's record. Without a revision the last one that really ran is chosen.
#[derive(Debug, Clone, Default, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct ToArgs {
    /// What to go back to.
    #[command(flatten)]
    pub target: TargetArgs,
    /// Carry out a plan that `plan --save` wrote; refused when the cluster has moved since
    #[arg(long, value_name = "FILE", conflicts_with_all = ["release", "revision", "last_good", "tag", "before", "chart_version", "helm_compat"])]
    pub plan: Option<PathBuf>,
    /// Delete the objects that this rollback has created when it fails
    #[arg(long)]
    pub cleanup_on_fail: bool,
    /// Wait for the release's Jobs too
    #[arg(long)]
    pub wait_for_jobs: bool,
    /// Revisions that stay in the release's history; 0 keeps all; without it Helm's own setting counts, else 10
    #[arg(long, value_name = "N")]
    pub history_max: Option<usize>,
    /// Description of the new revision, in place of «Rollback to N»
    #[arg(long, value_name = "TEXT", value_parser = parse::description)]
    pub description: Option<String>,
    /// Go on where a check before the first write fails
    #[arg(long)]
    pub skip_preflight: bool,
    /// Do not wait for readiness
    #[arg(long, overrides_with = "wait")]
    pub no_wait: bool,
    /// Wait for readiness (the default)
    #[arg(long, overrides_with = "no_wait")]
    pub wait: bool,
    /// Go on where another operation left the release pending
    #[arg(long)]
    pub take_over: bool,
    /// Show the plan and change nothing: client plans only, server also asks the API server
    #[arg(long, value_enum, default_value_t = DryRun::None, default_missing_value = "client", num_args = 0..=1, require_equals = true)]
    pub dry_run: DryRun,
    /// Do not check afterwards whether it is well
    #[arg(long)]
    pub no_verify: bool,
    /// Take the database back to the newest migration that the revision's image knows, before anything is applied
    #[arg(long)]
    pub db_downgrade: bool,
    /// There is a backup of the database: with --db-downgrade nobody is asked
    #[arg(long, requires = "db_downgrade")]
    pub i_have_a_backup: bool,
    /// The second confirmation.
    #[command(flatten)]
    pub protection: ProtectionArgs,
}

/// Show what a rollback would change, against what runs
///
/// The API server computes the result in dry runs; nothing is changed. Exit code 0 means no difference, 1 differences,
/// more an error, as with `kubectl diff`.
#[derive(Debug, Clone, Default, Args)]
pub struct DiffArgs {
    /// What to go back to.
    #[command(flatten)]
    pub target: TargetArgs,
    /// Lines of context around changed lines of long texts
    #[arg(short = 'C', long, value_name = "N", default_value_t = 3)]
    pub context_lines: usize,
}

/// Time limit of one hook when the operation has none.
pub const DEFAULT_HOOK_TIMEOUT: GoDuration = GoDuration(std::time::Duration::from_secs(300));
