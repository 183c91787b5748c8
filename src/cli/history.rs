//! Arguments of `history`.

use clap::Args;

/// Show the revisions of a release: images, which were good, where a rollback would go
#[derive(Debug, Clone, Default, Args)]
pub struct HistoryArgs {
    /// Name of the release, or workloads as KIND/NAME; may be left out when the namespace holds one release
    #[arg(value_name = "RELEASE | KIND/NAME")]
    pub subjects: Vec<String>,
    /// Workloads by label selector, in place of a release
    #[arg(short = 'l', long, value_name = "SELECTOR", conflicts_with = "subjects")]
    pub selector: Option<String>,
    /// Most revisions to show, the newest; 0 shows all
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub max: usize,
}
