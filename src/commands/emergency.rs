//! `emergency`: procedure 3 of the runbook, from finding the workloads to a true Helm record.

use std::collections::BTreeMap;

use super::carry_out::{Run, carry_out};
use super::database::{self, DatabaseWish};
use super::facts::Facts;
use super::survey::{self, Assignment, Survey};
use super::verify::Restored;
use super::{Conclusion, Failure, Session, file, lock, operation};
use crate::cli::{DryRun, EmergencyArgs};
use crate::discover::Snapshot;
use crate::execute::{self, Execution, Options};
use crate::journal::restore::Restore;
use crate::journal::{EmergencyWork, State, Work};
use crate::plan::emergency::saved::PROCEDURE;
use crate::plan::rollback::objects::ObjectKey;
use crate::plan::{Plan, swaps};

/// Runs the command.
pub async fn run(session: &Session, arguments: &EmergencyArgs) -> Result<Conclusion, Failure> {
    let context = &session.context;
    let mut assignment = match &arguments.plan {
        Some(path) => {
            let saved = file::read(path, PROCEDURE)?;
            Assignment::of_saved(session, saved, arguments.swap.skip_reconcile)
        }
        None => Assignment::of(session, &arguments.subjects, arguments.tag.as_deref(), &arguments.swap)?,
    };
    assignment.extent.no_wait = arguments.no_wait;
    assignment.database = DatabaseWish::of(arguments.dry_run, arguments.db_downgrade);
    session.start(assignment.release(), &assignment.target());
    session.protect(&arguments.protection, arguments.dry_run).await?;

    let snapshot = Box::pin(survey::find(session, &assignment)).await?;
    let standing = nobody_else(session, &snapshot, arguments.take_over).await?;
    let asks_the_server = arguments.dry_run != DryRun::Client;
    let survey = Box::pin(survey::weigh(session, assignment, snapshot, asks_the_server)).await?;
    let Survey { plan, snapshot, findings, .. } = &survey;

    let swaps = swaps::if_all_written(plan, snapshot);
    let mut facts = survey.facts();
    if arguments.dry_run != DryRun::None {
        survey.show(session);
        return Ok(facts.planned(session));
    }
    let may_write_record = !facts.skip_reconcile && snapshot.release.is_some();
    if plan.workloads.is_empty() && swaps.is_empty() && (facts.record_is_deployed() || !may_write_record) {
        return Ok(watch(session, arguments, &facts).await);
    }
    survey.show(session);
    if survey.is_refused() && !arguments.skip_preflight {
        // Somebody who has begun meanwhile is a better answer than what a check met of their writes.
        nobody_else(session, snapshot, arguments.take_over).await?;
        return Ok(facts.refused(session));
    }
    let word = plan.release.as_ref().map_or("yes", |release| release.name.as_str());
    let place = format!("{}/{}", context.context_name, context.namespace);
    let mut question = format!("Go back to {} in {place}?", plan.target);
    if let Some(step) = &plan.database {
        database::consent(session, arguments.i_have_a_backup)?;
        question = database::question(step, &format!("go back to {}", plan.target), &place);
    }
    session.confirm(&question, word).await?;

    let options = Options {
        stop_timeout: arguments.stop_timeout.map(|limit| limit.0),
        strict_stop: arguments.strict_stop,
        no_wait: arguments.no_wait,
    };
    let work = EmergencyWork {
        plan: plan.clone(),
        findings: findings.clone(),
        options: options.clone(),
        writes_record: may_write_record,
        image_managers: image_managers(plan, snapshot),
        verify: !arguments.no_verify && !arguments.no_wait,
    };
    let metas = snapshot.release.as_ref().map_or(&[][..], |release| &release.metas);
    let work_is_verified = work.verify;
    let work = Work::Emergency(Box::new(work));
    let head = operation::head(session, snapshot.release_name.as_deref(), &plan.target, metas, work);
    let restore = restore_documents(plan, snapshot);
    let operation = operation::begin(session, &head, &restore, &standing).await?;
    let run = Run {
        remaining: plan,
        done: Vec::new(),
        options: &options,
        writes_record: may_write_record,
        verify: work_is_verified.then(|| Restored::of(survey.order.scope.clone(), plan)),
    };
    let answer = Box::pin(carry_out(session, &mut facts, run)).await;
    operation::conclude(session, operation, answer, State::Finished).await
}

/// Refuses where somebody else is at work on the release.
async fn nobody_else(
    session: &Session,
    snapshot: &Snapshot,
    take_over: bool,
) -> Result<lock::Standing, Failure> {
    let Some(name) = &snapshot.release_name else {
        return Ok(lock::Standing::without_release(take_over));
    };
    let metas = snapshot.release.as_ref().map_or(&[][..], |release| &release.metas);
    lock::check(session, name, metas, take_over).await
}

/// Who owns each container's image now, for handing the fields over later, by whomever.
fn image_managers(plan: &Plan, snapshot: &Snapshot) -> BTreeMap<String, BTreeMap<String, String>> {
    plan.workloads
        .iter()
        .filter_map(|planned| snapshot.workload(&planned.workload))
        .map(|workload| (workload.reference.to_string(), workload.image_managers.clone()))
        .collect()
}

/// What `abort` needs beside the plan: who owned which field of each workload.
pub(super) fn restore_documents(plan: &Plan, snapshot: &Snapshot) -> Vec<Restore> {
    plan.workloads
        .iter()
        .filter_map(|planned| snapshot.workload(&planned.workload))
        .map(|workload| Restore {
            key: ObjectKey::from(&workload.reference),
            api_version: workload.reference.kind.api_resource().api_version,
            before: Some(serde_json::json!({"metadata": {"managedFields": workload.managed_fields}})),
            after: None,
        })
        .collect()
}

/// Everything is at the target already, and nothing is to be written: only whether it is ready is left to say.
async fn watch(session: &Session, arguments: &EmergencyArgs, facts: &Facts<'_>) -> Conclusion {
    let mut execution = Execution::default();
    if facts.unchanged_are_ready() && facts.record_is_deployed() {
        return facts.unchanged(session);
    }
    if !arguments.no_wait {
        execute::wait(&session.context, facts.plan, &mut execution, facts.snapshot).await;
    }
    execution.interrupted =
        session.context.interrupt.signal().filter(|_| !execution.is_complete(arguments.no_wait));
    facts.watched(session, &execution)
}
