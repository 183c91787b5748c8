//! Arguments of `preflight`.

use clap::Args;

use super::emergency::StrategyChoice;
use super::parse::{self, ContainerSelector, ImageOverride, ReplicaOverride};

/// Run the checks of a rollback alone, and print the rights that it needs
///
/// Without --tag, --digest, --image or --to-revision these are the checks of `to`, with one of them
/// those of `emergency`. Nothing is changed. Exit code 0 means that no check fails, 3 that one does.
#[derive(Debug, Clone, Default, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct PreflightArgs {
    /// Name of the release and a revision to go back to; or, with --tag and the like, a release or workloads as KIND/NAME
    #[arg(value_name = "RELEASE [REVISION] | KIND/NAME")]
    pub subjects: Vec<String>,
    /// Workloads by label selector, in place of a release
    #[arg(short = 'l', long, value_name = "SELECTOR", conflicts_with = "subjects")]
    pub selector: Option<String>,

    /// Tag that the application's containers would get
    #[arg(long, value_parser = parse::tag, conflicts_with_all = ["digest", "to_revision"])]
    pub tag: Option<String>,
    /// Digest that the application's one image would get
    #[arg(long, value_parser = parse::digest, conflicts_with = "to_revision")]
    pub digest: Option<String>,
    /// Revision of the release whose images would be taken (images only)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
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
    /// How workloads would be changed
    #[arg(long, value_enum, default_value_t = StrategyChoice::Auto)]
    pub strategy: StrategyChoice,
    /// Number of pods of a workload, in place of the number found (repeatable)
    #[arg(long, value_name = "KIND/NAME=N")]
    pub replicas: Vec<ReplicaOverride>,
    /// Without Helm's record
    #[arg(long)]
    pub skip_reconcile: bool,

    /// Allow a revision that failed or never ran
    #[arg(long)]
    pub allow_failed_revision: bool,
    /// Without the revision's rollback hooks
    #[arg(long)]
    pub no_hooks: bool,
    /// Without a wait for readiness
    #[arg(long)]
    pub no_wait: bool,

    /// Print a role and its binding with exactly the rights that this needs, as YAML (with -o json as JSON)
    #[arg(long)]
    pub print_role: bool,
    /// Service account that the role is bound to
    #[arg(long, value_name = "[NAMESPACE/]NAME", default_value = "kubectl-rollback")]
    pub service_account: String,
}

impl PreflightArgs {
    /// Whether the checks are those of an emergency.
    pub fn is_emergency(&self) -> bool {
        let has_images = self.tag.is_some() || self.digest.is_some() || !self.image.is_empty();
        has_images || self.to_revision.is_some() || self.selector.is_some()
    }
}
