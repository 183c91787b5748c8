//! One file a command: each strings the phases together. No API calls of their own.

mod abort;
mod carry_out;
mod checklist;
mod choose;
mod ci;
mod completion;
mod conclude;
mod config;
mod database;
mod db;
mod decide;
mod diff;
mod emergency;
mod facts;
mod failure;
mod file;
mod forbidden;
mod history;
mod list;
mod lock;
mod look;
mod notify;
mod operation;
mod operations;
mod plan;
mod preflight;
mod reconcile;
mod repair;
mod report;
mod resume;
mod rolled_back;
mod session;
mod status;
mod survey;
mod tags;
mod to;
mod verify;
mod version;

use std::ffi::OsString;

use crate::cli::{Cli, Command};
use crate::outcome::ExitCode;
use crate::ui::Printer;

pub use conclude::Conclusion;
pub use failure::Failure;
pub use history::{
    ContainerImage, HistoryDocument, HistoryRow, PastTemplate, WorkloadHistory, WorkloadHistoryDocument,
};
pub use list::{ListDocument, ListRow};
pub use operations::{OperationList, OperationRow};
pub use session::Session;
pub use status::{OpenRecord, StatusDocument};
pub use tags::{RepositoryAnswer, TagsDocument};

/// Runs a command line; answers the process's exit code. `lookup` reads the environment.
#[expect(clippy::too_many_lines, reason = "one arm a command")]
pub async fn run(arguments: Vec<OsString>, lookup: impl Fn(&str) -> Option<String>) -> u8 {
    if let Some((ask, words)) = arguments.get(1..).and_then(<[OsString]>::split_first)
        && ask == completion::ASK
    {
        Printer::standard(false, 0, crate::cli::ColorChoice::Never).result(&completion::answer(words));
        return ExitCode::Success.code();
    }
    let mut cli = match Cli::try_parse_arguments(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // clap decides where its text goes: help to stdout, errors to stderr.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::Usage.code() } else { ExitCode::Success.code() };
        }
    };
    cli.connection.fill_from_helm(&lookup);
    let printer = Printer::standard(cli.output.quiet, cli.output.verbose, cli.output.color);
    match &cli.command {
        Command::Version => version::version(&printer, cli.output.output),
        Command::Completion(arguments) => completion::run(&printer, &cli.output, arguments),
        Command::Config(command) => Box::pin(config::run(&cli, printer, lookup, command)).await,
        Command::Emergency(arguments) => {
            session::with(&cli, printer, lookup, "emergency", async |session| {
                Box::pin(emergency::run(session, arguments)).await
            })
            .await
        }
        Command::To(arguments) => {
            session::with(&cli, printer, lookup, "to", async |session| {
                Box::pin(to::run(session, arguments)).await
            })
            .await
        }
        Command::Ci(arguments) => {
            let pipeline = ci::Pipeline::of(&lookup);
            session::with(&cli, printer, lookup, "ci", async |session| {
                Box::pin(ci::run(session, arguments, &pipeline)).await
            })
            .await
        }
        Command::Db(command) => {
            session::with(&cli, printer, lookup, db::procedure(command), async |session| {
                Box::pin(db::run(session, command)).await
            })
            .await
        }
        Command::Plan(arguments) => {
            session::with(&cli, printer, lookup, "plan", async |session| {
                Box::pin(plan::run(session, arguments)).await
            })
            .await
        }
        Command::Diff(arguments) => {
            session::with(&cli, printer, lookup, "diff", async |session| {
                Box::pin(diff::run(session, arguments)).await
            })
            .await
        }
        Command::Preflight(arguments) => {
            session::with(&cli, printer, lookup, "preflight", async |session| {
                Box::pin(preflight::run(session, arguments)).await
            })
            .await
        }
        Command::Status(arguments) => {
            session::with(&cli, printer, lookup, "status", async |session| {
                status::run(session, arguments).await
            })
            .await
        }
        Command::History(arguments) => {
            session::with(&cli, printer, lookup, "history", async |session| {
                history::run(session, arguments).await
            })
            .await
        }
        Command::Tags(arguments) => {
            session::with(&cli, printer, lookup, "tags", async |session| {
                Box::pin(tags::run(session, arguments)).await
            })
            .await
        }
        Command::Notify(arguments) => {
            session::with(&cli, printer, lookup, "notify", async |session| {
                Box::pin(notify::run(session, arguments)).await
            })
            .await
        }
        Command::Verify(arguments) => {
            session::with(&cli, printer, lookup, "verify", async |session| {
                Box::pin(verify::run(session, arguments)).await
            })
            .await
        }
        Command::List(arguments) => {
            session::with(&cli, printer, lookup, "list", async |session| list::run(session, arguments).await)
                .await
        }
        Command::Reconcile(arguments) => {
            session::with(&cli, printer, lookup, "reconcile", async |session| {
                reconcile::run(session, arguments).await
            })
            .await
        }
        Command::Resume(arguments) => {
            session::with(&cli, printer, lookup, "resume", async |session| {
                Box::pin(resume::run(session, arguments)).await
            })
            .await
        }
        Command::Abort(arguments) => {
            session::with(&cli, printer, lookup, "abort", async |session| {
                Box::pin(abort::run(session, arguments)).await
            })
            .await
        }
        Command::Operations(arguments) => {
            session::with(&cli, printer, lookup, "operations", async |session| {
                operations::run(session, arguments).await
            })
            .await
        }
        Command::Report(arguments) => {
            session::with(&cli, printer, lookup, "report", async |session| {
                report::run(session, arguments).await
            })
            .await
        }
        Command::Checklist(arguments) => {
            session::with(&cli, printer, lookup, "checklist", async |session| {
                checklist::run(session, arguments).await
            })
            .await
        }
        Command::Repair(arguments) => {
            session::with(&cli, printer, lookup, "repair", async |session| {
                repair::run(session, arguments).await
            })
            .await
        }
    }
}
