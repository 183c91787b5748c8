//! Arguments of `emergency`, and those of them that `plan` and `preflight` know too.

use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum};

use super::ProtectionArgs;
use super::parse::{self, ContainerSelector, GoDuration, ImageOverride, ReplicaOverride};

/// Stop, swap images, start, wait, and make Helm's record true
///
/// Finds the release's workloads, decides which containers carry the application's tag, shows the plan, and on
/// confirmation writes the images, waits until everything is ready, and leaves a Helm revision that says what
/// runs.
#[derive(Debug, Clone, Default, Args)]
#[command(group(ArgGroup::new("target").required(true).multiple(true).args(["tag", "digest", "to_revision", "image", "plan"])))]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct EmergencyArgs {
    /// Name of the release, or workloads as KIND/NAME; may be left out when the namespace holds one release
    #[arg(value_name = "RELEASE | KIND/NAME")]
    pub subjects: Vec<String>,
    /// Tag that the application's containers get
    #[arg(long, value_parser = parse::tag, conflicts_with_all = ["digest", "to_revision"])]
    pub tag: Option<String>,
    /// What else decides which images are swapped, and how.
    #[command(flatten)]
    pub swap: SwapArgs,
    /// Carry out a plan that `plan --save` wrote; refused when the cluster has moved since
    #[arg(long, value_name = "FILE", conflicts_with_all = ["subjects", "selector", "tag", "digest", "to_revision", "image", "container", "exclude", "strategy", "replicas"])]
    pub plan: Option<PathBuf>,

    /// How long to wait for stopped pods to be gone: at most 30s, or the pods' own grace period if that is shorter
    #[arg(long, value_name = "DURATION")]
    pub stop_timeout: Option<GoDuration>,
    /// Do not start a workload while its old pods are still there
    #[arg(long)]
    pub strict_stop: bool,
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
    /// Take the database back to the newest migration that the target image knows, before anything is started
    #[arg(long)]
    pub db_downgrade: bool,
    /// There is a backup of the database: with --db-downgrade nobody is asked
    #[arg(long, requires = "db_downgrade")]
    pub i_have_a_backup: bool,
    /// The second confirmation.
    #[command(flatten)]
    pub protection: ProtectionArgs,
}

/// Which images are swapped and how, beside the tag: what `emergency`, `plan` and `preflight` share
#[derive(Debug, Clone, Default, Args)]
pub struct SwapArgs {
    /// Workloads by label selector, in place of a release
    #[arg(short = 'l', long, value_name = "SELECTOR", conflicts_with = "subjects")]
    pub selector: Option<String>,
    /// Digest that the application's one image gets
    #[arg(long, value_parser = parse::digest, conflicts_with_all = ["tag", "to_revision"])]
    pub digest: Option<String>,
    /// Revision of the release whose images are taken (images only)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "tag")]
    pub to_revision: Option<u64>,
    /// Image for the containers of one repository (repeatable)
    #[arg(long, value_name = "REPO=REF")]
    pub image: Vec<ImageOverride>,
    /// Container that takes the tag (repeatable)
    #[arg(long, value_name = "KIND/NAME[/CONTAINER]")]
    pub container: Vec<ContainerSelector>,
    /// Container that keeps its image (repeatable)
    #[arg(long, value_name = "KIND/NAME[/CONTAINER]")]
    pub exclude: Vec<ContainerSelector>,
    /// How to change workloads: auto stops only what is already down
    #[arg(long, value_enum, default_value_t = StrategyChoice::Auto)]
    pub strategy: StrategyChoice,
    /// Number of pods of a workload, in place of the number found (repeatable)
    #[arg(long, value_name = "KIND/NAME=N")]
    pub replicas: Vec<ReplicaOverride>,
    /// Leave Helm's record alone; exit code 10 says that it is still open
    #[arg(long)]
    pub skip_reconcile: bool,
}

/// How to change workloads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum StrategyChoice {
    /// Rolling while a pod is Ready, stop-first when none is.
    #[default]
    Auto,
    /// One write of the image; Kubernetes replaces the pods.
    Rolling,
    /// Scale to zero, wait, write image and replicas.
    StopFirst,
}

/// What a dry run asks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum DryRun {
    /// No dry run.
    #[default]
    None,
    /// Plan only.
    Client,
    /// Plan, and ask the API server without persisting anything.
    Server,
}
