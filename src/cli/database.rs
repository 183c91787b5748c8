//! Arguments of `db`.

use clap::{Args, Subcommand};

use super::ProtectionArgs;
use super::parse::{self, WorkloadSelector};
use crate::config::Adapter;

/// What to do with a database's migrations.
#[derive(Debug, Clone, Subcommand)]
pub enum DatabaseCommand {
    /// Say where the database is, as the image that runs knows it
    Current(DatabaseArgs),
    /// List the migrations that the image that runs knows, and which of them were applied
    History(DatabaseArgs),
    /// Show what a downgrade would undo, with its SQL where the program can print that
    Plan(GoalArgs),
    /// Stop what uses the database, take it back in the image that runs, start everything again
    ///
    /// It goes back to the newest migration that the target image knows, never just one. The images stay: what goes on from
    /// there is `emergency` or `to`, and `emergency --db-downgrade` does both in the right order.
    Downgrade(Box<DowngradeArgs>),
    /// Check that the database is at the newest migration of the image that runs
    Verify(DatabaseArgs),
}

/// Which database.
#[derive(Debug, Clone, Default, Args)]
pub struct DatabaseArgs {
    /// Name of the release, or workloads as KIND/NAME; may be left out when the namespace holds one release
    #[arg(value_name = "RELEASE | KIND/NAME")]
    pub subjects: Vec<String>,
    /// Workload in whose image and environment the program is run, in place of the configuration's
    #[arg(long, value_name = "KIND/NAME")]
    pub workload: Option<WorkloadSelector>,
    /// Container of it
    #[arg(long, value_name = "NAME", requires = "workload")]
    pub container: Option<String>,
    /// Program that keeps the migrations, in place of the configuration's
    #[arg(long, value_enum, value_name = "PROGRAM")]
    pub adapter: Option<Adapter>,
}

/// Where it is to go.
#[derive(Debug, Clone, Default, Args)]
pub struct GoalArgs {
    /// Which database.
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// Where it is to go.
    #[command(flatten)]
    pub goal: Goal,
}

/// Where it is to go.
#[derive(Debug, Clone, Default, Args)]
#[group(required = true, multiple = false)]
pub struct Goal {
    /// To the newest migration that the image of this tag knows
    #[arg(long, value_parser = parse::tag)]
    pub tag: Option<String>,
    /// To the newest migration that the image of this revision of the release knows
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub to_revision: Option<u64>,
    /// To this migration
    #[arg(long, value_name = "MIGRATION")]
    pub to: Option<String>,
}

/// A downgrade.
#[derive(Debug, Clone, Default, Args)]
pub struct DowngradeArgs {
    /// Which database, and where it is to go.
    #[command(flatten)]
    pub to: GoalArgs,
    /// There is a backup: with --yes nobody is asked
    #[arg(long)]
    pub i_have_a_backup: bool,
    /// Go on where another operation left the release pending
    #[arg(long)]
    pub take_over: bool,
    /// The second confirmation.
    #[command(flatten)]
    pub protection: ProtectionArgs,
}
