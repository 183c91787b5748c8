//! What every command that changes a release wraps its work in: the lock and the journal before, how it ended after.

use std::collections::BTreeSet;

use anyhow::anyhow;
use k8s_openapi::api::core::v1::ObjectReference;

use super::lock::Standing;
use super::{Conclusion, Failure, Session};
use crate::execute::operation::lease::{Found, Holder, Takeable};
use crate::execute::operation::store::Listed;
use crate::execute::operation::{self as execute, Operation, OperationError, Start, lease, store};
use crate::helm::meta::RecordMeta;
use crate::journal::restore::Restore;
use crate::journal::{Head, State, VERSION, Work};
use crate::outcome::{ExitCode, Outcome};

/// The first part of a journal of this session.
pub fn head(
    session: &Session,
    release: Option<&str>,
    target: &str,
    metas: &[RecordMeta],
    work: Work,
) -> Head {
    let context = &session.context;
    Head {
        version: VERSION,
        operation: context.operation.clone(),
        procedure: session.procedure.to_owned(),
        context: context.context_name.clone(),
        namespace: context.namespace.clone(),
        release: release.map(str::to_owned),
        target: target.to_owned(),
        actor: context.actor.clone(),
        command: session.invocation.clone(),
        reason: session.output.reason.clone(),
        incident: session.output.incident.clone(),
        started_at: context.now(),
        driver: session.driver.plural().to_owned(),
        deployed_at: metas.iter().max_by_key(|meta| meta.revision).and_then(|newest| newest.created),
        statuses: metas.iter().map(|meta| (meta.revision, meta.status.to_string())).collect(),
        work,
    }
}

/// The object that holds a record of Helm's.
pub fn record_reference(session: &Session, release: &str, revision: u64) -> ObjectReference {
    execute::record_reference(session.driver, &session.context, release, revision)
}

fn start<'a>(session: &'a Session, takeable: &'a Takeable) -> Start<'a> {
    Start {
        bare: &session.context.bare,
        command: &session.invocation,
        takeable,
        local: session.local_folder.clone(),
    }
}

fn failure(session: &Session, head: &Head, error: OperationError) -> Failure {
    match error {
        OperationError::Held(holder) => held(session, head.release.as_deref(), &holder),
        error => Failure::new(ExitCode::Unexpected, Outcome::Failed, anyhow!(error))
            .hinted("nothing was changed; run the same command again"),
    }
}

/// What to do about a lock whose holder does nothing any more.
pub const TAKE_OVER: &str = "if nobody is at work there any more, run the same command with --take-over";

/// Refuses, because somebody holds the lock.
pub fn held(session: &Session, release: Option<&str>, holder: &Holder) -> Failure {
    let release = release.map(|name| format!("release {name}: ")).unwrap_or_default();
    let who = holder.describe(session.context.now());
    Failure::locked(format!("{release}{who}; nothing was changed")).hinted(TAKE_OVER)
}

/// Marks operations as left behind, because another one takes their release over.
pub async fn abandon(session: &Session, operations: &[Listed]) {
    for left in operations {
        if let Err(error) = store::abandon(&session.context.bare, left).await {
            let operation = &left.operation;
            session.context.warn(format!("operation {operation} could not be marked as taken over: {error}"));
        }
    }
}

/// Begins an operation, and takes over what stood in its way.
pub async fn begin(
    session: &Session,
    head: &Head,
    restore: &[Restore],
    standing: &Standing,
) -> Result<Operation, Failure> {
    let context = &session.context;
    let operation = Operation::begin(context, &start(session, &standing.takeable), head, restore)
        .await
        .map_err(|error| failure(session, head, error))?;
    abandon(session, &standing.operations).await;
    Ok(operation)
}

/// The operation that is meant: the one that was named, or the only unfinished one of the namespace.
pub async fn find(session: &Session, operation: Option<&str>) -> Result<store::Opened, Failure> {
    let (client, namespace) = (&session.context.bare, session.context.namespace.as_str());
    let list = format!("kubectl rollback operations list -n {namespace}");
    let operation = if let Some(operation) = operation {
        let is_name = !operation.is_empty()
            && operation.len() <= 32
            && operation.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        if !is_name {
            return Err(
                Failure::usage(format!("{operation:?} is not the identifier of an operation")).hinted(list)
            );
        }
        operation.to_owned()
    } else {
        let listed =
            store::list(client, Some(namespace), None).await.map_err(|error| unreadable(error, &list))?;
        match candidates(&listed).as_slice() {
            [] => {
                let text =
                    format!("namespace {namespace} holds no unfinished operation; nothing was changed");
                return Err(Failure::usage(text).hinted(list));
            }
            [only] => only.operation.clone(),
            several => {
                let names: Vec<String> = several
                    .iter()
                    .map(|one| format!("{} ({} {})", one.operation, one.procedure, one.target))
                    .collect();
                let text = format!("several operations are unfinished: {}; name one", names.join(", "));
                return Err(Failure::usage(text).hinted(list));
            }
        }
    };
    store::open(client, namespace, &operation).await.map_err(|error| unreadable(error, &list))
}

/// The unfinished operations that can be meant without being named: of each release only its newest, since whatever
/// failed before that has been left behind by it. `listed` is sorted, the newest first.
fn candidates(listed: &[Listed]) -> Vec<&Listed> {
    let mut seen = BTreeSet::new();
    let newest = |one: &&Listed| one.release.as_ref().is_none_or(|release| seen.insert(release.clone()));
    listed.iter().filter(newest).filter(|one| one.state.is_unfinished()).collect()
}

/// The operation that is meant: the one that was named, or the newest of the namespace or the release, ended or not.
pub async fn newest(
    session: &Session,
    operation: Option<&str>,
    release: Option<&str>,
) -> Result<store::Opened, Failure> {
    if operation.is_some() {
        return find(session, operation).await;
    }
    let (client, namespace) = (&session.context.bare, session.context.namespace.as_str());
    let list = format!("kubectl rollback operations list -n {namespace}");
    let listed =
        store::list(client, Some(namespace), release).await.map_err(|error| unreadable(error, &list))?;
    let Some(newest) = listed.first() else {
        let of = release.map(|release| format!(" on {release}")).unwrap_or_default();
        return Err(Failure::usage(format!("namespace {namespace} holds no operation{of}"))
            .hinted("kubectl rollback operations list -A"));
    };
    store::open(client, namespace, &newest.operation).await.map_err(|error| unreadable(error, &list))
}

fn unreadable(error: store::StoreError, list: &str) -> Failure {
    let (exit, outcome) = match &error {
        store::StoreError::NotFound { .. } => (ExitCode::Usage, Outcome::Refused),
        _ => (ExitCode::Unexpected, Outcome::Failed),
    };
    Failure::new(exit, outcome, anyhow!(error).context("nothing was changed")).hinted(list)
}

/// Refuses where a process is at work on the operation or its release. Answers whose lock may be taken.
pub async fn not_held(session: &Session, head: &Head, take_over: bool) -> Result<Takeable, Failure> {
    let context = &session.context;
    if take_over {
        return Ok(Takeable::Any);
    }
    let name = lease::name(head.release.as_deref(), &head.operation);
    let found = lease::look(&context.bare, &context.namespace, &name).await;
    // What cannot be looked at is found out when the lock is taken.
    Takeable::of(found.unwrap_or(Found::Free))
        .map_err(|holder| held(session, head.release.as_deref(), &holder))
}

/// Takes an operation up that was begun before, to go on with it or to undo it.
pub async fn take_up(
    session: &Session,
    opened: store::Opened,
    state: State,
    takeable: &Takeable,
) -> Result<(Operation, crate::journal::Journal), Failure> {
    let store::Opened { journal, store, .. } = opened;
    let operation = Operation::take_up(&session.context, &start(session, takeable), &journal, store, state)
        .await
        .map_err(|error| failure(session, &journal.head, error))?;
    Ok((operation, journal))
}

/// Ends an operation in good order, whatever came of it.
pub async fn conclude(
    session: &Session,
    operation: Operation,
    answer: Result<Conclusion, Failure>,
    success: State,
) -> Result<Conclusion, Failure> {
    let context = &session.context;
    let lost = context.guard.lost();
    let changed = context.reporter.collected().changed_workloads;
    let (state, outcome, exit_code, result) = match &answer {
        Ok(Conclusion { document, .. }) => {
            let state = if document.exit_code == 0 { success } else { State::Failed };
            let result = serde_json::to_value(document).unwrap_or_default();
            (state, document.outcome, document.exit_code, result)
        }
        Err(failure) => {
            // Refused after all, before anything of the plan was written: there is nothing to go on with.
            let state = if changed { State::Failed } else { State::Aborted };
            (state, failure.outcome, failure.exit.code(), serde_json::json!({"error": failure.describe()}))
        }
    };
    operation.finish(context, state, outcome, exit_code, result).await;
    if let Some(why) = lost {
        let done = if changed { "what was written until then stays as it is" } else { "nothing was changed" };
        let error = anyhow!(
            "this operation was stopped, because it does not hold the release any more: {why}; {done}"
        );
        return Err(Failure::new(ExitCode::Unexpected, Outcome::Failed, error).hinted(format!(
            "kubectl rollback status {}-n {}",
            release_of(&answer).map(|name| format!("{name} ")).unwrap_or_default(),
            context.namespace
        )));
    }
    let unfinished = matches!(&answer, Ok(conclusion) if conclusion.document.exit_code != 0);
    let mut answer = answer;
    if let Ok(conclusion) = &mut answer
        && unfinished
        && success == State::Finished
    {
        let (operation, namespace) = (&context.operation, &context.namespace);
        conclusion.document.next.push(format!(
            "kubectl rollback resume {operation} -n {namespace}   # or put back what was there: kubectl rollback abort {operation} -n {namespace}"
        ));
    }
    answer
}

fn release_of(answer: &Result<Conclusion, Failure>) -> Option<String> {
    Some(answer.as_ref().ok()?.document.release.as_ref()?.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_later_operation_has_left_behind_is_not_meant() {
        let listed = |operation: &str, release: &str, state| Listed {
            operation: operation.to_owned(),
            release: (!release.is_empty()).then(|| release.to_owned()),
            state,
            ..Listed::for_test()
        };
        let all = [
            listed("7", "web", State::Open),
            listed("6", "", State::Failed),
            listed("5", "", State::Open),
            listed("4", "web", State::Failed),
            listed("3", "shop", State::Finished),
            listed("2", "shop", State::Failed),
        ];
        let names: Vec<&str> = candidates(&all).iter().map(|one| one.operation.as_str()).collect();
        assert_eq!(names, ["7", "6", "5"]);
    }
}
