//! The command line: clap structs only. Doc comments here are the help text; what a flag means is decided where
//! its value is used.

mod checklist;
mod ci;
mod completion;
mod config;
mod connection;
mod database;
mod emergency;
mod history;
mod invocation;
mod list;
mod notify;
mod operations;
mod parse;
mod plan;
mod preflight;
mod protection;
mod reconcile;
mod registry;
mod repair;
mod report;
mod status;
mod tags;
mod to;
mod verify;

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

pub use checklist::{ChecklistArgs, ChecklistCommand};
pub use ci::CiArgs;
pub use completion::{CompletionArgs, CompletionTarget};
pub use config::{ConfigCommand, ConfigurationArgs};
pub use connection::ConnectionArgs;
pub use database::{DatabaseArgs, DatabaseCommand, DowngradeArgs, Goal, GoalArgs};
pub use emergency::{DryRun, EmergencyArgs, StrategyChoice, SwapArgs};
pub use history::HistoryArgs;
pub use invocation::foreign_command;
pub use list::ListArgs;
pub use notify::NotifyArgs;
pub use operations::{
    AbortArgs, OperationsArgs, OperationsCommand, OperationsListArgs, PruneArgs, ResumeArgs,
};
pub use parse::{ContainerSelector, GoDuration, ImageOverride, Moment, ReplicaOverride, WorkloadSelector};
pub use plan::PlanArgs;
pub use preflight::PreflightArgs;
pub use protection::ProtectionArgs;
pub use reconcile::ReconcileArgs;
pub use registry::RegistryArgs;
pub use repair::RepairArgs;
pub use report::ReportArgs;
pub use status::StatusArgs;
pub use tags::TagsArgs;
pub use to::{ChoiceArgs, DEFAULT_HOOK_TIMEOUT, DiffArgs, TargetArgs, ToArgs};
pub use verify::VerifyArgs;

/// Roll back Helm releases and workloads safely
///
/// Uses the current kubeconfig context; needs neither kubectl nor helm.
#[derive(Debug, Parser)]
#[command(name = "kubectl-rollback", version, propagate_version = true, disable_help_subcommand = true)]
pub struct Cli {
    /// How to reach the cluster.
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// How to reach registries.
    #[command(flatten)]
    pub registry: RegistryArgs,
    /// Where the configuration is.
    #[command(flatten)]
    pub configuration: ConfigurationArgs,
    /// How to speak to the operator.
    #[command(flatten)]
    pub output: OutputArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// The command line as others may see it: without credentials.
    #[arg(skip)]
    pub invocation: String,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Stop, swap images, start, wait, and make Helm's record true
    Emergency(Box<EmergencyArgs>),
    /// Roll a release back: the last good revision, or the one you name
    To(Box<ToArgs>),
    /// Run a deploy, watch it, and roll back when it fails: for pipelines
    ///
    /// Notes what runs, runs the deploy that stands behind `--` with its output as it comes, and looks at the
    /// new pods meanwhile: when they will not become ready, the deploy is stopped and the reason shown, where Helm would wait
    /// for its time limit. After a deploy that went well it waits until everything is ready and runs the checks of `verify`.
    /// Where any of that fails, the release goes back to the revision that was deployed before, as `to` does it; a deploy that
    /// changed nothing, or went back by itself, is left alone, and so is a first install.
    ///
    /// Without a deploy it is a job of its own after the one that deployed: the newest revision is checked, and rolled back where it
    /// failed or is not well.
    ///
    /// Nobody is asked: calling this is the consent. The exit code is the deploy's (1 where it had none of its own), or the
    /// rollback's where that failed too. The deploy with its checks, and the rollback, have `--timeout` each.
    Ci(Box<CiArgs>),
    /// Show the plan of a rollback: target, checks, differences, risks
    Plan(Box<PlanArgs>),
    /// Show what a rollback would change, against what runs
    Diff(Box<DiffArgs>),
    /// Run the checks of a rollback alone, and print the rights that it needs
    Preflight(Box<PreflightArgs>),
    /// Show a release against what runs: images, drift, readiness
    Status(StatusArgs),
    /// Show the revisions of a release: images, which were good, where a rollback would go
    #[command(alias = "hist")]
    History(HistoryArgs),
    /// Show the tags in the registry for the application's images, with those that were deployed
    Tags(TagsArgs),
    /// List the releases of a namespace
    #[command(alias = "ls")]
    List(Box<ListArgs>),
    /// Make Helm's record equal to what runs
    Reconcile(ReconcileArgs),
    /// Make the records of a stuck release true, so that Helm goes on
    Repair(RepairArgs),
    /// Look at a database's migrations, and take it back to what an older image knows
    ///
    /// Runs the program that keeps the migrations (Alembic, Django, Flyway, or commands of your own) where the application runs it:
    /// reads in a ready pod, else in a Job of its own; a downgrade always in a Job, made from the pod template of the workload
    /// with the image that runs, since an older one lacks the migrations that are to be undone. Which program and which
    /// workload stands in the configuration, or behind --adapter and --workload.
    #[command(subcommand)]
    Db(DatabaseCommand),
    /// Go on with an operation that was interrupted or failed
    ///
    /// Reads its journal from the cluster, so that it works from any machine; looks what of its plan is done already, and
    /// does the rest. Without OPERATION the only unfinished one of the namespace.
    Resume(ResumeArgs),
    /// Put back what was there before an operation
    ///
    /// Images, replicas and whole objects, in reverse order, and the owners of their fields; Helm's records say so. What
    /// somebody else has changed since is shown and left alone. Without OPERATION the only unfinished one of the namespace.
    Abort(AbortArgs),
    /// List operations, show what one did, or delete old journals
    #[command(alias = "ops")]
    Operations(OperationsArgs),
    /// Write the report of an operation: Markdown, HTML or JSON
    ///
    /// From its journal alone: who, why, from what to what, how long until everything was ready again, the phases, what
    /// was written, why workloads were not ready, the checks, and the next steps. `-o md` is the default, `-o html` is one
    /// file with a timeline as picture, `-o json` and `-o yaml` are for programs. Without OPERATION the newest of the
    /// namespace, finished or not.
    Report(ReportArgs),
    /// Show what is to be done after a rollback, tick items, or export the list
    ///
    /// What the operation's own checks have shown is ticked with its evidence; the rest is open, with the role that does
    /// it. Without OPERATION the newest of the namespace.
    Checklist(ChecklistArgs),
    /// Check that a release is well, as after a rollback
    Verify(VerifyArgs),
    /// Write the message that a rollback has begun, goes on, or is over
    Notify(Box<NotifyArgs>),
    /// Show or check the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print a completion script for a shell, or let kubectl complete what stands behind kubectl rollback
    Completion(CompletionArgs),
    /// Print the version
    Version,
}

/// How to speak to the operator.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Output format: the result goes to stdout, everything else to stderr
    #[arg(short, long, global = true, value_enum, default_value_t = OutputFormat::Table)]
    pub output: OutputFormat,
    /// Print only results and errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Say more (twice for even more)
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// When to use colour
    #[arg(long, global = true, value_enum, default_value_t = ColorChoice::Auto)]
    pub color: ColorChoice,
    /// Print plain lines instead of progress bars
    #[arg(long, global = true)]
    pub no_progress: bool,
    /// Do not ask; the plan is shown all the same
    #[arg(short, long, global = true)]
    pub yes: bool,
    /// Why this is done; kept in Helm's history and in the result
    #[arg(short = 'm', long, global = true, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Identifier of the incident, kept with the reason
    #[arg(long, global = true, value_name = "ID")]
    pub incident: Option<String>,
    /// Most requests to the API server at once
    #[arg(long, global = true, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub concurrency: u16,
    /// Time limit of the whole operation as a Go duration; 0 means none
    #[arg(long, global = true, value_name = "DURATION", default_value = "5m")]
    pub timeout: GoDuration,
}

/// Output formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// Tables for people.
    Table,
    /// Tables with more columns.
    Wide,
    /// One JSON object.
    Json,
    /// The same as YAML.
    Yaml,
    /// One event a line as JSON, while it happens.
    Jsonl,
    /// Names only.
    Name,
    /// Markdown: reports and checklists.
    #[value(hide = true)]
    Md,
    /// One HTML file: reports.
    #[value(hide = true)]
    Html,
}

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Cli {
    /// The command as users see it: every flag can also be given as `KUBECTL_ROLLBACK_<FLAG>`, and the usage
    /// lines say `kubectl rollback` when kubectl started us.
    pub fn command_for(program: &str) -> clap::Command {
        let command = with_environment(Self::command());
        if program.starts_with("kubectl-") { command.bin_name("kubectl rollback") } else { command }
    }

    /// Parses a command line; errors carry clap's own text and exit code.
    pub fn try_parse_arguments(arguments: Vec<OsString>) -> Result<Self, clap::Error> {
        let program = arguments
            .first()
            .map(|first| {
                std::path::Path::new(first).file_stem().unwrap_or_default().to_string_lossy().into_owned()
            })
            .unwrap_or_default();
        let invocation = invocation::without_credentials(&arguments);
        let mut command = Self::command_for(&program);
        let matches = command.try_get_matches_from_mut(arguments)?;
        let cli = Self::from_arg_matches(&matches)?;
        if let Some(refused) = cli.refused_format() {
            return Err(command.error(ErrorKind::InvalidValue, refused));
        }
        Ok(Self { invocation, ..cli })
    }
}

impl Cli {
    /// Why the output format does not go with the command: documents are what only few commands make.
    fn refused_format(&self) -> Option<String> {
        let (name, made_by) = match self.output.output {
            OutputFormat::Md => ("md", "`report` and `checklist export`"),
            OutputFormat::Html => ("html", "`report`"),
            _ => return None,
        };
        let is_made = match &self.command {
            Command::Report(_) => true,
            Command::Checklist(ChecklistArgs { command: Some(ChecklistCommand::Export), .. }) => {
                self.output.output == OutputFormat::Md
            }
            _ => false,
        };
        (!is_made).then(|| format!("-o {name} is a format of {made_by} only"))
    }
}

/// Gives every long flag of a command and its subcommands its environment variable.
fn with_environment(command: clap::Command) -> clap::Command {
    let command = command.mut_args(|argument| match argument.get_long() {
        Some(long) if !matches!(long, "help" | "version") => {
            let variable = format!("KUBECTL_ROLLBACK_{}", long.replace('-', "_").to_uppercase());
            argument.env(variable).hide_env(true)
        }
        _ => argument,
    });
    command.mut_subcommands(with_environment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command_for("kubectl-rollback").debug_assert();
    }

    #[test]
    fn global_flags_stand_behind_the_command_too() {
        let cli = Cli::try_parse_arguments(
            [
                "kubectl-rollback",
                "emergency",
                "todo-app",
                "--tag",
                "abc",
                "-n",
                "prod",
                "--timeout",
                "1h30m",
                "-y",
            ]
            .map(OsString::from)
            .to_vec(),
        )
        .unwrap();
        assert_eq!(cli.connection.namespace.as_deref(), Some("prod"));
        assert!(cli.output.yes);
        assert_eq!(cli.output.timeout.0.as_secs(), 5400);
    }

    #[test]
    fn usage_names_kubectl() {
        let help = Cli::command_for("kubectl-rollback").render_long_help().to_string();
        assert!(help.contains("kubectl rollback"), "{help}");
    }
}
