//! Arguments of `status`.

use clap::Args;

/// Show a release against what runs: images, drift, readiness
#[derive(Debug, Clone, Default, Args)]
pub struct StatusArgs {
    /// Name of the release, or workloads as KIND/NAME; may be left out when the namespace holds one release
    #[arg(value_name = "RELEASE | KIND/NAME")]
    pub subjects: Vec<String>,
    /// Workloads by label selector, in place of a release
    #[arg(short = 'l', long, value_name = "SELECTOR", conflicts_with = "subjects")]
    pub selector: Option<String>,
}
