//! Arguments of `checklist`.

use clap::{Args, Subcommand};

/// Show what is to be done after a rollback, tick items, or export the list
#[derive(Debug, Clone, Default, Args)]
pub struct ChecklistArgs {
    /// Identifier of the operation, as `operations` lists it
    #[arg(value_name = "OPERATION")]
    pub operation: Option<String>,
    /// The newest operation of this release
    #[arg(long, value_name = "RELEASE", conflicts_with = "operation")]
    pub release: Option<String>,
    /// What to do; show the list when left out
    #[command(subcommand)]
    pub command: Option<ChecklistCommand>,
}

/// What to do with a checklist.
#[derive(Debug, Clone, Subcommand)]
pub enum ChecklistCommand {
    /// Tick an item; who did it and when is kept with the operation
    Done {
        /// Identifier of the item, as the list shows it
        #[arg(value_name = "ITEM")]
        item: String,
        /// What came of it
        #[arg(long, value_name = "TEXT")]
        note: String,
    },
    /// Print the list as Markdown, for an issue
    Export,
}
