//! `operations`: lists the operations that have a journal, shows what one did, deletes old journals.

use std::collections::BTreeMap;

use anyhow::anyhow;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::Value;

use super::operation::find;
use super::{Conclusion, Failure, Session};
use crate::cli::{OperationsArgs, OperationsCommand, OperationsListArgs, PruneArgs};
use crate::execute::operation::store::{self, Listed, StoreError};
use crate::journal::{Head, Journal, State};
use crate::outcome::{ExitCode, Outcome};
use crate::ui;
use crate::words::counted;

/// The list as `-o json` prints it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OperationList {
    api_version: &'static str,
    kind: &'static str,
    /// The newest first.
    pub operations: Vec<OperationRow>,
}

/// One operation of the list.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OperationRow {
    /// Its identifier.
    pub operation: String,
    /// The namespace.
    pub namespace: String,
    /// The release, where there is one.
    pub release: Option<String>,
    /// `emergency` or `to`.
    pub procedure: String,
    /// What it goes back to, in words.
    pub target: String,
    /// Where it stands.
    pub state: State,
    /// How its last process ended, where it ended in good order.
    pub outcome: Option<String>,
    /// Who began it.
    pub actor: String,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When its last process ended in good order.
    pub finished_at: Option<Timestamp>,
}

impl From<Listed> for OperationRow {
    fn from(listed: Listed) -> Self {
        Self {
            operation: listed.operation,
            namespace: listed.namespace,
            release: listed.release,
            procedure: listed.procedure,
            target: listed.target,
            state: listed.state,
            outcome: listed.outcome,
            actor: listed.actor,
            started_at: listed.started_at,
            finished_at: listed.finished_at,
        }
    }
}

/// One operation as `-o json` prints it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct OperationDocument<'a> {
    api_version: &'static str,
    kind: &'static str,
    state: State,
    #[serde(flatten)]
    head: &'a Head,
    entries: &'a [crate::journal::Entry],
}

/// Runs the command.
pub async fn run(session: &Session, arguments: &OperationsArgs) -> Result<Conclusion, Failure> {
    session.start(None, "operations");
    let everything = OperationsCommand::List(OperationsListArgs::default());
    match arguments.command.as_ref().unwrap_or(&everything) {
        OperationsCommand::List(arguments) => list(session, arguments).await,
        OperationsCommand::Show { operation } => show(session, operation).await,
        OperationsCommand::Prune(arguments) => prune(session, arguments).await,
    }
}

fn failed(error: StoreError) -> Failure {
    Failure::new(ExitCode::Unexpected, Outcome::Failed, anyhow!(error))
}

async fn read(session: &Session, all: bool, release: Option<&str>) -> Result<Vec<Listed>, Failure> {
    let namespace = (!all).then_some(session.context.namespace.as_str());
    session
        .unless_interrupted(async {
            store::list(&session.context.bare, namespace, release).await.map_err(failed)
        })
        .await
}

async fn list(session: &Session, arguments: &OperationsListArgs) -> Result<Conclusion, Failure> {
    let listed = read(session, arguments.all_namespaces, arguments.release.as_deref()).await?;
    let operations: Vec<OperationRow> = listed.into_iter().map(OperationRow::from).collect();
    let name =
        operations.iter().map(|row| format!("operation/{}", row.operation)).collect::<Vec<_>>().join("\n");
    let text = if operations.is_empty() {
        format!("namespace {} holds no journal of an operation", session.context.namespace)
    } else {
        ui::operations_table(&operations, arguments.all_namespaces, session.context.now())
    };
    let list = OperationList { api_version: crate::report::API_VERSION, kind: "OperationList", operations };
    let own = serde_json::to_value(&list).map_err(anyhow::Error::from)?;
    Ok(Conclusion { document: session.document(), text, name, own: Some(own) })
}

async fn show(session: &Session, operation: &str) -> Result<Conclusion, Failure> {
    let opened = session.unless_interrupted(find(session, Some(operation))).await?;
    let Journal { head, entries } = &opened.journal;
    let document = OperationDocument {
        api_version: crate::report::API_VERSION,
        kind: "Operation",
        state: opened.state,
        head,
        entries,
    };
    let own: Value = serde_json::to_value(&document).map_err(anyhow::Error::from)?;
    let text = ui::operation_screen(session.printer(), &opened.journal, opened.state, session.context.now());
    let name = format!("operation/{}", head.operation);
    Ok(Conclusion { document: session.document(), text, name, own: Some(own) })
}

async fn prune(session: &Session, arguments: &PruneArgs) -> Result<Conclusion, Failure> {
    let now = session.context.now();
    let listed = read(session, false, None).await?;
    let old = to_prune(listed, arguments, now);
    let mut deleted = Vec::new();
    for one in old {
        store::delete(&session.context.bare, &one.namespace, &one.operation).await.map_err(failed)?;
        deleted.push(OperationRow::from(one));
    }
    let names: Vec<&str> = deleted.iter().map(|row| row.operation.as_str()).collect();
    let text = match names.as_slice() {
        [] => "no journal is old enough; nothing was deleted".to_owned(),
        names => format!("deleted {}: {}", counted(names.len(), "journal"), names.join(", ")),
    };
    let name = names.iter().map(|name| format!("operation/{name} deleted")).collect::<Vec<_>>().join("\n");
    let list =
        OperationList { api_version: crate::report::API_VERSION, kind: "OperationList", operations: deleted };
    let own = serde_json::to_value(&list).map_err(anyhow::Error::from)?;
    Ok(Conclusion { document: session.document(), text, name, own: Some(own) })
}

/// The journals to delete: of each release all but the newest, and none that somebody may still need. `listed` is sorted,
/// the newest first.
fn to_prune(listed: Vec<Listed>, arguments: &PruneArgs, now: Timestamp) -> Vec<Listed> {
    let mut kept: BTreeMap<Option<String>, usize> = BTreeMap::new();
    let is_old = |listed: &Listed| {
        let Some(limit) = arguments.older_than else { return true };
        let ended = listed.finished_at.or(listed.started_at);
        let limit = SignedDuration::try_from(limit.0).unwrap_or(SignedDuration::MAX);
        ended.is_none_or(|ended| now.duration_since(ended) > limit)
    };
    listed
        .into_iter()
        .filter(|listed| {
            if listed.state.is_unfinished() && !arguments.unfinished {
                return false;
            }
            let count = kept.entry(listed.release.clone()).or_default();
            *count += 1;
            *count > arguments.keep && is_old(listed)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(operation: &str, release: &str, state: State, finished: &str) -> Listed {
        Listed {
            operation: operation.to_owned(),
            release: Some(release.to_owned()),
            state,
            finished_at: finished.parse().ok(),
            ..Listed::for_test()
        }
    }

    #[test]
    fn the_newest_of_each_release_and_the_unfinished_stay() {
        let all = vec![
            listed("5", "a", State::Finished, "2026-11-25T05:00:00Z"),
            listed("4", "a", State::Failed, "2026-11-25T04:00:00Z"),
            listed("3", "b", State::Finished, "2026-11-25T03:00:00Z"),
            listed("2", "a", State::Aborted, "2026-11-25T02:00:00Z"),
            listed("1", "a", State::Finished, "2026-11-25T01:00:00Z"),
        ];
        let now: Timestamp = "2026-11-25T06:00:00Z".parse().unwrap();
        let pruned = |arguments: &PruneArgs| {
            let pruned = to_prune(all.clone(), arguments, now);
            pruned.into_iter().map(|listed| listed.operation).collect::<Vec<_>>().join(" ")
        };
        let one = PruneArgs { keep: 1, ..PruneArgs::default() };
        assert_eq!(pruned(&one), "2 1");
        let old = PruneArgs { older_than: Some("4h30m".parse().unwrap()), ..one.clone() };
        assert_eq!(pruned(&old), "1");
        assert_eq!(pruned(&PruneArgs { unfinished: true, ..one }), "4 2 1");
    }
}
