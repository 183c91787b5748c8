//! Arguments of `preflight`.

use clap::Args;

use super::emergency::SwapArgs;
use super::parse;

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
    /// Tag that the application's containers get
    #[arg(long, value_parser = parse::tag, conflicts_with_all = ["digest", "to_revision"])]
    pub tag: Option<String>,
    /// What else decides which images would be swapped, and how.
    #[command(flatten)]
    pub swap: SwapArgs,

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
        let swap = &self.swap;
        let has_images = self.tag.is_some() || swap.digest.is_some() || !swap.image.is_empty();
        has_images || swap.to_revision.is_some() || swap.selector.is_some()
    }
}
