//! Arguments of `report`.

use std::path::PathBuf;

use clap::Args;

/// Write the report of an operation: Markdown, HTML or JSON
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
