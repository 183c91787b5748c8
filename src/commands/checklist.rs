//! `checklist`: what is to be done after a rollback, and who did it.

use anyhow::anyhow;

use super::{Conclusion, Failure, Session, operation};
use crate::cli::{ChecklistArgs, ChecklistCommand};
use crate::config::Text;
use crate::execute::operation::checklist as kept;
use crate::execute::operation::store::StoreError;
use crate::outcome::{ExitCode, Outcome};
use crate::report::checklist::{self, LONGEST_NOTE, Mark};
use crate::report::incident;
use crate::ui;

fn failed(error: StoreError) -> Failure {
    Failure::new(
        ExitCode::Unexpected,
        Outcome::Failed,
        anyhow!(error).context("the checklist was not changed"),
    )
}

/// Runs the command.
pub async fn run(session: &Session, arguments: &ChecklistArgs) -> Result<Conclusion, Failure> {
    session.start(arguments.release.as_deref(), "checklist");
    let wanted = match &arguments.command {
        Some(ChecklistCommand::Done { item, note }) => Some(mark(session, item, note)?),
        _ => None,
    };
    let find = operation::newest(session, arguments.operation.as_deref(), arguments.release.as_deref());
    let (opened, loaded) = futures::join!(session.unless_interrupted(find), session.config());
    let (opened, owners) = (opened?, &loaded?.config.checklist.owners);
    let report = incident::assemble(&opened.journal, opened.state);
    let (client, namespace) = (&session.context.bare, report.namespace.as_str());
    let (marks, written) = match &wanted {
        Some(mark) => kept::keep(client, namespace, &report.operation, mark).await.map_err(failed)?,
        None => (kept::marks(client, namespace, &report.operation).await.map_err(failed)?, false),
    };
    let list = checklist::checklist(&report, &marks, |id| owners.get(id).map(Text::to_string));
    let text = match (&arguments.command, &wanted) {
        (Some(ChecklistCommand::Export), _) => checklist::markdown(&list),
        (_, Some(mark)) => {
            let what = if written { "done" } else { "was done already, with the same note" };
            format!("{} {what}; {} of {} done", mark.id, list.done, list.items.len())
        }
        _ => ui::checklist_screen(session.printer(), &list),
    };
    let own = serde_json::to_value(&list).map_err(anyhow::Error::from)?;
    let name = format!("operation/{}", report.operation);
    Ok(Conclusion { document: session.document(), text, name, own: Some(own) })
}

fn mark(session: &Session, item: &str, note: &str) -> Result<Mark, Failure> {
    let id = checklist::identifier(item).map_err(Failure::usage)?;
    if note.trim().is_empty() || note.chars().count() > LONGEST_NOTE {
        return Err(Failure::usage(format!("a note has between 1 and {LONGEST_NOTE} characters")));
    }
    let (by, at) = (session.context.actor.clone(), session.context.now());
    Ok(Mark { id: id.to_owned(), by, at, note: note.trim().to_owned() })
}
