//! Arguments of `report`.

use std::path::PathBuf;

use clap::Args;

/// Write the report of an operation: Markdown, HTML or JSON
///
/// From its journal alone: who, why, from what to what, how long until everything was ready again, the phases, what was
/// written, why workloads were not ready, the checks, and the next steps. `-o md` is the default, `-o html` is one file with a
/// timeline as picture, `-o json` and `-o yaml` are for programs. Without OPERATION the newest of the namespace, finished or
/// not.
#[derive(Debug, Clone, Default, Args)]
pub struct ReportArgs {
    /// Identifier of the operation, as `operations` lists it
    #[arg(value_name = "OPERATION")]
    pub operation: Option<String>,
    /// The newest operation of this release
    #[arg(long, value_name = "RELEASE", conflicts_with = "operation")]
    pub release: Option<String>,
    /// Write it to a file; `-` is stdout
    #[arg(short, long, value_name = "PATH", default_value = "-")]
    pub file: PathBuf,
}
