//! Arguments of `plan`: those of `to`, or those of `emergency`.

use std::path::PathBuf;

use clap::{ArgGroup, Args};

use super::StrategyChoice;
use super::emergency::SwapArgs;
use super::to::{ChoiceArgs, TargetArgs};

/// Show the plan of a rollback: target, checks, differences, risks
///
/// Takes the arguments of `to`, or those of `emergency`, and reads only. With a tag that ran in no stored revision it is the
/// plan of an emergency. A saved plan is carried out by `to --plan` or `emergency --plan`, which refuse when the cluster has
/// moved since.
#[derive(Debug, Clone, Default, Args)]
#[command(group(ArgGroup::new("of_a_rollback").multiple(true).conflicts_with("of_an_emergency").args([
    "last_good", "before", "chart_version", "helm_compat", "allow_failed_revision", "keep_replicas", "allow_delete", "no_hooks",
    "restart", "force_replace",
])))]
#[command(group(ArgGroup::new("of_an_emergency").multiple(true).args([
    "selector", "digest", "to_revision", "image", "container", "exclude", "strategy", "replicas", "skip_reconcile",
])))]
pub struct PlanArgs {
    /// Name of the release and a revision, or workloads as KIND/NAME; may be left out when the namespace holds one release
    #[arg(value_name = "RELEASE [REVISION] | KIND/NAME")]
    pub subjects: Vec<String>,
    /// How the revision is chosen.
    #[command(flatten)]
    pub choice: ChoiceArgs,
    /// Write the plan to a file
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// What is asked of an emergency.
    #[command(flatten, next_help_heading = "Plan of an emergency")]
    pub swap: SwapArgs,
}

impl PlanArgs {
    /// Whether something is asked for that only an emergency does.
    pub fn is_of_an_emergency(&self) -> bool {
        let swap = &self.swap;
        let names_workloads = self.subjects.iter().any(|subject| subject.contains('/'));
        let has_lists = [swap.image.is_empty(), swap.container.is_empty(), swap.exclude.is_empty()];
        names_workloads
            || swap.selector.is_some()
            || swap.digest.is_some()
            || swap.to_revision.is_some()
            || has_lists.contains(&false)
            || swap.strategy != StrategyChoice::Auto
            || !swap.replicas.is_empty()
            || swap.skip_reconcile
    }

    /// Whether something is asked for that only a rollback to a stored revision does.
    pub fn is_of_a_rollback(&self) -> bool {
        let choice = &self.choice;
        choice.last_good
            || choice.before.is_some()
            || choice.chart_version.is_some()
            || choice.helm_compat
            || choice.allow_failed_revision
            || choice.keep_replicas
            || !choice.allow_delete.is_empty()
            || choice.no_hooks
            || choice.restart
            || choice.force_replace
    }

    /// The arguments as `to` has them; an error where the subjects are none of its.
    pub fn target(&self) -> Result<TargetArgs, String> {
        let (release, revision) = match self.subjects.as_slice() {
            [] => (None, None),
            [release] => (Some(release.clone()), None),
            [release, revision] => {
                let number = revision.parse().ok().filter(|number| *number > 0);
                let number = number.ok_or_else(|| {
                    format!(
                        "{revision:?} is no revision; give RELEASE and REVISION, or workloads as KIND/NAME"
                    )
                })?;
                (Some(release.clone()), Some(number))
            }
            _ => return Err("give RELEASE and REVISION, or workloads as KIND/NAME".to_owned()),
        };
        let choice = &self.choice;
        let is_chosen = choice.last_good
            || choice.tag.is_some()
            || choice.before.is_some()
            || choice.chart_version.is_some();
        if revision.is_some() && is_chosen {
            return Err("a revision that is named needs no flag that chooses one".to_owned());
        }
        Ok(TargetArgs { release, revision, choice: choice.clone() })
    }
}
