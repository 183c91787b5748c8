//! Arguments of `tags`.

use clap::Args;

/// Show the tags in the registry for the application's images, with those that were deployed
///
/// Of a release's images those are asked for whose tag has changed from revision to revision; --repository asks for others.
/// Deployed tags come first, the newest on top, then what looks like a version, the highest on top.
#[derive(Debug, Clone, Default, Args)]
pub struct TagsArgs {
    /// Name of the release, or workloads as KIND/NAME; may be left out when the namespace holds one release
    #[arg(value_name = "RELEASE | KIND/NAME")]
    pub subjects: Vec<String>,
    /// Workloads by label selector, in place of a release
    #[arg(short = 'l', long, value_name = "SELECTOR", conflicts_with = "subjects")]
    pub selector: Option<String>,
    /// Repository to ask for, as it stands in the images, in place of the application's (repeatable)
    #[arg(long, value_name = "REPOSITORY")]
    pub repository: Vec<String>,
    /// Most tags to show; those that were deployed are always shown
    #[arg(long, value_name = "N", default_value_t = 20, conflicts_with = "all")]
    pub max: usize,
    /// Show every tag
    #[arg(long)]
    pub all: bool,
}
