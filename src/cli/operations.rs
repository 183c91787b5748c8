//! Arguments of `resume`, `abort` and `operations`.

use clap::{Args, Subcommand};

use super::GoDuration;

/// Go on with an operation that was interrupted or failed
#[derive(Debug, Clone, Default, Args)]
pub struct ResumeArgs {
    /// Identifier of the operation, as `operations` lists it
    #[arg(value_name = "OPERATION")]
    pub operation: Option<String>,
    /// Go on although its lock is still held
    #[arg(long)]
    pub take_over: bool,
}

/// Put back what was there before an operation
#[derive(Debug, Clone, Default, Args)]
pub struct AbortArgs {
    /// Identifier of the operation, as `operations` lists it
    #[arg(value_name = "OPERATION")]
    pub operation: Option<String>,
    /// Put it back although its lock is still held
    #[arg(long)]
    pub take_over: bool,
}

/// List operations, show what one did, or delete old journals
#[derive(Debug, Clone, Default, Args)]
pub struct OperationsArgs {
    /// What to do; list when left out
    #[command(subcommand)]
    pub command: Option<OperationsCommand>,
}

/// What to do with operations.
#[derive(Debug, Clone, Subcommand)]
pub enum OperationsCommand {
    /// List the operations that have a journal, the newest first
    List(OperationsListArgs),
    /// Show what an operation planned, wrote and reported
    Show {
        /// Identifier of the operation
        #[arg(value_name = "OPERATION")]
        operation: String,
    },
    /// Delete the journals of operations that are finished
    Prune(PruneArgs),
}

/// Which operations to list.
#[derive(Debug, Clone, Default, Args)]
pub struct OperationsListArgs {
    /// Operations on this release only
    #[arg(value_name = "RELEASE")]
    pub release: Option<String>,
    /// Operations of all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
}

/// Which journals to delete.
#[derive(Debug, Clone, Default, Args)]
pub struct PruneArgs {
    /// Journals that stay for each release
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub keep: usize,
    /// Only journals of operations that ended longer ago than this
    #[arg(long, value_name = "DURATION")]
    pub older_than: Option<GoDuration>,
    /// Also journals of operations that failed or were left: they can be neither resumed nor aborted afterwards
    #[arg(long)]
    pub unfinished: bool,
}
