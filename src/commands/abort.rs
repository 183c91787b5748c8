//! `abort`: puts back what was there before an operation, in reverse: values, then who owned them, then Helm's records.

use anyhow::anyhow;
use futures::future::join_all;

use super::operation::{self, find};
use super::{Conclusion, Failure, Session};
use crate::cli::AbortArgs;
use crate::database::position;
use crate::discover::apis::Apis;
use crate::event::{Phase, StageStatus};
use crate::execute::operation::store::{self, Opened};
use crate::execute::{database, phase, record, start_halted, undo};
use crate::journal::restore::Restore;
use crate::journal::{Head, Journal, State, Work};
use crate::outcome::{ExitCode, Outcome};
use crate::plan::database::DatabasePlan;
use crate::plan::rollback::objects::ObjectKey;
use crate::report::ReleaseResult;
use crate::words::{age, counted};

/// What was put back, object by object.
type Undone = Vec<(String, undo::Undone)>;

/// Runs the command.
pub async fn run(session: &Session, arguments: &AbortArgs) -> Result<Conclusion, Failure> {
    let opened = session.unless_interrupted(find(session, arguments.operation.as_deref())).await?;
    let head = opened.journal.head.clone();
    let (id, namespace) = (&head.operation, &head.namespace);
    if !opened.state.is_unfinished() {
        let (state, next) = match opened.state {
            State::Finished => ("has done what it was meant to do", "history"),
            State::Aborted => ("was undone already", "status"),
            _ => ("was left, and another one took its release over", "status"),
        };
        let release = head.release.clone().unwrap_or_default();
        return Err(Failure::usage(format!("operation {id} {state}; nothing was changed"))
            .hinted(format!("kubectl rollback {next} {release} -n {namespace}")));
    }
    let own = session.of_operation(&head);
    own.start(head.release.as_deref(), "what was there before");
    let answer = Box::pin(undo_all(&own, arguments, opened)).await;
    // What was begun under the operation's name ends under it.
    Ok(answer.unwrap_or_else(|failure| Conclusion::of_failure(&own, &failure)))
}

async fn undo_all(own: &Session, arguments: &AbortArgs, opened: Opened) -> Result<Conclusion, Failure> {
    let head = opened.journal.head.clone();
    let (id, namespace) = (&head.operation, &head.namespace);
    let takeable = operation::not_held(own, &head, arguments.take_over).await?;
    let restore = own
        .unless_interrupted(async {
            if opened.journal.writes() == 0 {
                // It was killed before its first write, maybe before all of that was there.
                return Ok(Vec::new());
            }
            let read = store::open_restore(&own.context.bare, namespace, id).await;
            read.map_err(|error| Failure::from(anyhow!(error).context("nothing was changed")))
        })
        .await?;
    let begun = age(head.started_at, own.context.now());
    own.printer().talk(&format!(
        "ABORT  operation {id}: {} {} to {}, begun {begun} ago by {}, {} sent so far\n  what it changed is put back; what somebody else has changed since stays",
        head.procedure,
        head.release.as_deref().unwrap_or("workloads"),
        head.target,
        head.actor,
        counted(opened.journal.writes(), "write")
    ));
    let database = database_begun(own, &opened.journal).await?;
    if let Some((step, why)) = &database {
        let (from, to) = (position(&step.downgrade.from), position(&step.downgrade.to));
        own.context.warn(format!(
            "{why} to take the database back from {from} to {to}, which abort leaves as it is: the images that are put back may not fit; look with `kubectl rollback db current`, and take it forward with {}",
            step.image
        ));
    }
    let word = head.release.as_deref().unwrap_or("yes");
    own.confirm(&format!("Put back what was there before operation {id}?"), word).await?;
    if let Some((step, _)) = &database {
        own.unless_interrupted(Box::pin(database_let_alone(own, step))).await?;
    }
    let (operation, journal) = operation::take_up(own, opened, State::Aborting, &takeable).await?;
    let answer = Box::pin(put_back(own, &journal, &restore)).await;
    operation::conclude(own, operation, answer, State::Aborted).await
}

/// The database that the operation has begun to take back, with who says so. That is not undone: migrations that drop
/// something do not bring it back on the way forward.
async fn database_begun<'a>(
    own: &Session,
    journal: &'a Journal,
) -> Result<Option<(&'a DatabasePlan, String)>, Failure> {
    let step = match &journal.head.work {
        Work::Emergency(work) => work.plan.database.as_deref(),
        Work::Rollback(work) => work.plan.database.as_deref(),
    };
    let jobs = step.map(|step| format!("/apis/batch/v1/namespaces/{}/jobs", step.workload.namespace));
    let (Some(step), Some(true)) = (step, jobs.map(|jobs| journal.may_have_sent(&["POST"], &jobs))) else {
        return Ok(None);
    };
    let begun = own.unless_interrupted(async { Ok(database::has_begun(&own.context, step).await) }).await?;
    Ok(match begun {
        Ok(true) => Some((step, "the operation has begun".to_owned())),
        // Its Jobs stay for a day; the journal for longer.
        Ok(false) if journal.milestones().contains(database::MILESTONE) => {
            Some((step, "the operation was able".to_owned()))
        }
        Ok(false) => None,
        Err(why) => Some((step, format!("the operation may have begun (its Jobs cannot be seen: {why})"))),
    })
}

/// A Job that still runs is not interrupted, and nothing that uses the database is started beside it.
async fn database_let_alone(own: &Session, step: &DatabasePlan) -> Result<(), Failure> {
    database::let_end(&own.context, step).await.map_err(|why| {
        Failure::from(anyhow!(
            "what uses the database cannot be started while it may still be taken back: {why}; nothing was changed"
        ))
        .hinted(format!("kubectl rollback abort {} -n {}   # when it has ended", own.context.operation, own.context.namespace))
    })
}

async fn put_back(session: &Session, journal: &Journal, restore: &[Restore]) -> Result<Conclusion, Failure> {
    let context = &session.context;
    let head = &journal.head;
    let undone = phase(context, Phase::Start, "putting back what was there", async {
        let undone = match &head.work {
            Work::Emergency(work) => {
                join_all(work.plan.workloads.iter().map(|planned| async {
                    let key = ObjectKey::from(&planned.workload);
                    let saved = restore.iter().find(|restore| restore.key == key);
                    let saved = saved.and_then(|restore| restore.before.as_ref());
                    (planned.workload.to_string(), undo::workload(context, planned, saved).await)
                }))
                .await
            }
            Work::Rollback(work) => {
                // What was stopped for the database's sake is started before its objects are looked at.
                start_halted(context, &work.plan.stopped).await;
                objects(session, journal, restore, &work.plan.release).await
            }
        };
        let changed = undone.iter().filter(|(_, undone)| undone.changed).count();
        let failed = undone.iter().filter(|(_, undone)| undone.problem.is_some()).count();
        let status = if failed == 0 { StageStatus::Done } else { StageStatus::Failed };
        let of = counted(undone.len(), "object");
        (undone, status, format!("{changed} of {of} put back, {failed} not"))
    })
    .await;
    for (what, undone) in &undone {
        for foreign in &undone.foreign {
            context.warn(format!("{what}: left alone, somebody else has changed it since: {foreign}"));
        }
        if let Some(problem) = &undone.problem {
            context.warn(format!("{what}: could not be put back: {problem}"));
        }
    }
    let records = phase(context, Phase::Reconcile, "making Helm's records true", async {
        let answer = records(session, journal, &undone).await;
        let (status, message) = match &answer {
            Ok(Some(text)) => (StageStatus::Done, text.clone()),
            Ok(None) => (StageStatus::Skipped, "Helm's records were not touched".to_owned()),
            Err(error) => (StageStatus::Failed, error.describe()),
        };
        (answer, status, message)
    })
    .await;
    Ok(conclusion(session, head, &undone, &records))
}

/// Objects in reverse order, those of one kind at the same time.
async fn objects(session: &Session, journal: &Journal, restore: &[Restore], release: &str) -> Undone {
    let context = &session.context;
    let versions: std::collections::BTreeSet<&str> =
        restore.iter().map(|restore| restore.api_version.as_str()).collect();
    let apis = Apis::read(&context.client, versions).await;
    let reversed: Vec<&Restore> = restore.iter().rev().collect();
    let mut undone = Vec::new();
    for wave in reversed.chunk_by(|left, right| left.key.kind == right.key.kind) {
        let answers = join_all(wave.iter().map(|restore| async {
            match apis.resolve(&restore.api_version, &restore.key.kind) {
                Some((resource, _)) => undo::object(context, journal, restore, &resource, release).await,
                None => undo::unserved(restore),
            }
        }))
        .await;
        undone.extend(wave.iter().map(|restore| restore.key.to_string()).zip(answers));
    }
    undone
}

/// The records of Helm's: whoever was deployed is deployed again, and ours says that it was undone; where nothing was
/// written but the record itself, it goes.
async fn records(session: &Session, journal: &Journal, undone: &Undone) -> Result<Option<String>, Failure> {
    let head = &journal.head;
    let (Some(name), Some(ours)) = (&head.release, head.new_revision()) else { return Ok(None) };
    let touched = undone.iter().any(|(_, undone)| undone.changed || !undone.foreign.is_empty());
    let why = format!("undone by {} (operation {})", session.context.actor, head.operation);
    let answer =
        record::undo(&session.context, session.driver, name, ours, &head.statuses, touched, &why).await?;
    Ok(answer)
}

fn conclusion(
    session: &Session,
    head: &Head,
    undone: &Undone,
    records: &Result<Option<String>, Failure>,
) -> Conclusion {
    let problems = undone.iter().filter(|(_, undone)| undone.problem.is_some()).count();
    let changed = undone.iter().filter(|(_, undone)| undone.changed).count();
    let printer = session.printer();
    let error = records.as_ref().err().map(Failure::describe);
    let is_good = problems == 0 && error.is_none();
    let mut document = session.document();
    document.procedure = "abort";
    if !is_good {
        document.outcome = Outcome::Failed;
        document.exit_code = ExitCode::Unexpected.code();
        document.error =
            Some(error.unwrap_or_else(|| format!("{} could not be put back", counted(problems, "object"))));
        document
            .next
            .push(format!("kubectl rollback abort {} -n {}   # once more", head.operation, head.namespace));
    }
    document.release = head.release.clone().map(|name| ReleaseResult {
        name,
        from_revision: head.new_revision(),
        to_revision: head.new_revision().map(|revision| revision - 1),
        new_revision: None,
        tag: None,
    });
    let mut text = format!(
        "{} operation {}: {changed} of {} put back{}",
        if is_good { printer.good("✔") } else { printer.bad("✘") },
        head.operation,
        counted(undone.len(), "object"),
        document.timings.elapsed()
    );
    let lines = undone.iter().flat_map(|(what, undone)| {
        let foreign = undone.foreign.iter().map(move |why| format!("\n  ! {what}: left alone: {why}"));
        foreign.chain(undone.problem.iter().map(move |why| format!("\n  ✘ {what}: {why}")))
    });
    text.extend(lines);
    if let Ok(Some(records)) = records {
        text.push_str("\n  ");
        text.push_str(records);
    }
    Conclusion { document, text, name: format!("operation/{} aborted", head.operation), own: None }
}
