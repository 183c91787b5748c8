//! The part of an emergency after its confirmation, the first time and when it is gone on with: swap, wait, hand the
//! fields over, make Helm's record true, tell.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::ObjectReference;

use super::facts::Facts;
use super::verify::{self, Restored};
use super::{Conclusion, Failure, Session};
use crate::discover::Snapshot;
use crate::event::{Phase, StageStatus};
use crate::execute::record::{self, Close, OpenRecord, Statement};
use crate::execute::{self, Execution, Options, Swapped, operation, phase};
use crate::helm::error::StorageError;
use crate::outcome::{ExitCode, Outcome};
use crate::plan::{Plan, swaps};
use crate::wait::WaitEnd;
use crate::workload::WorkloadKind;

/// What is left to do of an emergency.
pub struct Run<'a> {
    /// The plan with the workloads that are still to be written.
    pub remaining: &'a Plan,
    /// Those that were written before.
    pub done: Vec<Swapped>,
    /// How.
    pub options: &'a Options,
    /// Whether Helm's record is written.
    pub writes_record: bool,
    /// What is checked afterwards, if anything.
    pub verify: Option<Restored>,
}

/// Carries out what is left. An error means that nothing was written.
pub async fn carry_out(
    session: &Session,
    facts: &mut Facts<'_>,
    run: Run<'_>,
) -> Result<Conclusion, Failure> {
    let context = &session.context;
    let (plan, snapshot) = (facts.plan, facts.snapshot);
    let open = if run.writes_record { open_record(session, plan, snapshot, facts).await? } else { None };
    let mut execution = Execution { workloads: run.done, ..Execution::default() };
    let swaps = Box::pin(execute::swap(context, run.remaining, run.options)).await;
    execution.workloads.extend(swaps.workloads);
    execution.database = swaps.database;
    let no_wait = run.options.no_wait;
    if !no_wait && context.interrupt.signal().is_none() {
        execute::wait(context, plan, &mut execution, snapshot).await;
    }
    // A signal that came when everything was done already interrupted nothing.
    execution.interrupted = context.interrupt.signal().filter(|_| !execution.is_complete(no_wait));
    let closed = Box::pin(close(session, plan, snapshot, &execution, open)).await;
    tell(session, plan, snapshot, &execution).await;
    let mut conclusion = facts.executed(session, &execution, closed);
    if let Some(restored) = run.verify {
        verify::afterwards(session, &mut conclusion, restored).await?;
    }
    Ok(conclusion)
}

/// Kubernetes Events on what was written: who did what and why.
async fn tell(session: &Session, plan: &Plan, snapshot: &Snapshot, execution: &Execution) {
    let context = &session.context;
    let who = format!("operation {} by {}", context.operation, context.actor);
    let why = session.output.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let told: Vec<(ObjectReference, String)> = execution
        .written()
        .map(|swapped| {
            let images = swapped.plan.containers.iter();
            let images: Vec<String> =
                images.map(|change| format!("{} {} → {}", change.name, change.from, change.to)).collect();
            let workload = &swapped.plan.workload;
            let resource = workload.kind.api_resource();
            let reference = ObjectReference {
                api_version: Some(resource.api_version),
                kind: Some(resource.kind),
                namespace: Some(workload.namespace.clone()),
                name: Some(workload.name.clone()),
                uid: Some(swapped.plan.uid.clone()),
                ..ObjectReference::default()
            };
            (reference, format!("{who}, back to {}: {}{why}", plan.target, images.join(", ")))
        })
        .chain(plan.release.as_ref().filter(|_| snapshot.release.is_some()).map(|release| {
            let note = format!("{who}: {} back to {}{why}", release.name, plan.target);
            (super::operation::record_reference(session, &release.name, release.new_revision), note)
        }))
        .collect();
    operation::tell(context, &told, failure_reason(execution).is_none()).await;
}

/// Writes the pending record. Where it cannot be written, that is said and the emergency goes on; where somebody else
/// took the revision, it does not.
async fn open_record(
    session: &Session,
    plan: &Plan,
    snapshot: &Snapshot,
    facts: &mut Facts<'_>,
) -> Result<Option<OpenRecord>, Failure> {
    let (Some(release), Some(planned)) = (&snapshot.release, &plan.release) else {
        return Ok(None);
    };
    let description = session.description(&plan.target, planned.current_revision);
    let (context, revision) = (&session.context, planned.new_revision);
    if let Some(ours) = record::adopt(context, session.driver, &planned.name, revision).await? {
        return Ok(Some(ours));
    }
    let answer = record::open(context, session.driver, release, revision, &description).await;
    match answer {
        Ok(open) => Ok(open),
        Err(StorageError::Taken { .. }) => Err(Failure::locked(format!(
            "somebody else has just begun revision {} of {}; nothing was changed",
            planned.new_revision, planned.name
        ))
        .hinted(format!("kubectl rollback status {} -n {}", planned.name, session.context.namespace))),
        Err(error) => {
            session.context.warn(format!(
                "Helm's record cannot be written, so that a deploy could run into this: {error}"
            ));
            facts.skip_reconcile = true;
            Ok(None)
        }
    }
}

/// What became of Helm's record.
pub type ReconcileAnswer = Result<Option<crate::reconcile::Reconciled>, String>;

/// Hands the fields over and closes the record, whatever happened before: it names the images that run.
async fn close(
    session: &Session,
    plan: &Plan,
    snapshot: &Snapshot,
    execution: &Execution,
    open: Option<OpenRecord>,
) -> (Vec<String>, ReconcileAnswer) {
    let context = &session.context;
    Box::pin(phase(context, Phase::Reconcile, "making Helm's record true", async {
        let (mut problems, foreign) = execute::hand_over_all(context, execution, snapshot).await;
        for manager in &foreign {
            context.warn(format!("{manager}: somebody else's fields; the next Helm 4 upgrade conflicts where the chart says otherwise (--force-conflicts takes them)"));
        }
        let Some(open) = open else {
            let status = if problems.is_empty() { StageStatus::Skipped } else { StageStatus::Failed };
            return ((problems, Ok(None)), status, "Helm's record is not ours to write".to_owned());
        };
        let written: BTreeSet<_> = execution.written().map(|swapped| &swapped.plan.workload).collect();
        let nothing_written = written.is_empty() && !context.reporter.collected().changed_workloads;
        if nothing_written && !plan.workloads.is_empty() {
            let answer = open.withdraw(context).await.map(|()| None).map_err(|error| error.to_string());
            return (
                (problems, answer),
                StageStatus::Skipped,
                "nothing was written; the record was withdrawn".to_owned(),
            );
        }
        let release = snapshot.release.as_ref().expect("a record is opened only for a release that was read");
        let swaps = swaps::after(plan, snapshot, &written);
        let from = plan.release.as_ref().map_or(0, |release| release.current_revision);
        let description = session.description(&plan.target, from);
        let statement = Statement { release, swaps: &swaps, description: &description };
        let verdict = match failure_reason(execution) {
            None => Close::Deployed,
            Some(reason) => Close::Failed(reason),
        };
        let revision = open.meta.revision;
        let answer = open.close(context, statement, &verdict).await.map_err(|error| error.to_string());
        let (status, message) = match (&answer, &verdict) {
            (Ok(_), Close::Deployed) => (StageStatus::Done, format!("revision {revision} is deployed")),
            (Ok(_), Close::Failed(_)) => {
                (StageStatus::Done, format!("revision {revision} is failed, and names what runs"))
            }
            (Err(error), _) => (StageStatus::Failed, error.clone()),
        };
        if let Err(error) = &answer {
            problems.push(format!("Helm's record could not be closed: {error}"));
        }
        ((problems, answer), status, message)
    }))
    .await
}

/// Why the release is not what it should be, in a sentence for its record; `None` where it is.
fn failure_reason(execution: &Execution) -> Option<String> {
    if let Some(fault) = execution.database.as_ref().and_then(execute::DatabaseDone::fault) {
        return Some(fault);
    }
    if let Some(signal) = execution.interrupted {
        return Some(format!("interrupted by {}", signal.name()));
    }
    let unwritten: Vec<String> = execution
        .workloads
        .iter()
        .filter_map(|swapped| Some(format!("{}: {}", swapped.plan.workload, swapped.problem.as_ref()?)))
        .collect();
    if !unwritten.is_empty() {
        return Some(unwritten.join("; "));
    }
    let unready: Vec<String> = execution
        .written()
        .map(|swapped| &swapped.plan.workload)
        .filter(|workload| workload.kind != WorkloadKind::CronJob && !execution.ready.contains(workload))
        .map(ToString::to_string)
        .collect();
    match execution.wait {
        None | Some(WaitEnd::Ready) => None,
        Some(WaitEnd::TimedOut) => Some(format!("not ready in time: {}", unready.join(", "))),
        Some(_) => Some(format!("not ready: {}", unready.join(", "))),
    }
}

/// The exit code and outcome of what was carried out.
pub fn verdict(execution: &Execution, reconcile_open: bool) -> (ExitCode, Outcome) {
    if execution.database_failed() {
        return (ExitCode::DatabaseFailed, Outcome::DatabaseFailed);
    }
    if let Some(signal) = execution.interrupted {
        return (signal.exit_code(), Outcome::Interrupted);
    }
    if execution
        .workloads
        .iter()
        .any(|swapped| swapped.problem.is_some() && !swapped.written || swapped.left_stopped)
    {
        return (ExitCode::Unexpected, Outcome::Failed);
    }
    match execution.wait {
        Some(WaitEnd::NotReady) => (ExitCode::NotReady, Outcome::Failed),
        Some(WaitEnd::TimedOut) => (ExitCode::TimedOut, Outcome::TimedOut),
        _ if reconcile_open => (ExitCode::ReconcilePending, Outcome::ReconcilePending),
        _ => (ExitCode::Success, Outcome::Succeeded),
    }
}

impl Session {
    /// The description of the record that this operation writes.
    fn description(&self, target: &str, from: u64) -> String {
        let text = crate::reconcile::description(self.procedure, target, from, &self.context.operation);
        match (&self.output.reason, &self.output.incident) {
            (Some(reason), Some(incident)) => format!("{text}: {reason} ({incident})"),
            (Some(reason), None) => format!("{text}: {reason}"),
            (None, Some(incident)) => format!("{text} ({incident})"),
            (None, None) => text,
        }
    }
}
