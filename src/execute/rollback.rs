//! Carries out a rollback to a stored revision: hooks, objects in the plan's order, deletions, restarts, the wait. Makes no
//! choices; what goes wrong is collected, and ends as a `failed` record with the reason (design D7).

mod writes;

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::database::{DatabaseDone, MILESTONE};
use super::emergency::{halt_for_database, left_stopped, start_halted};
use super::hooks::{self, HookError, HookRun};
use super::jobs;
use super::record::OpenRecord;
use super::{Waited, phase, wait_for};
use crate::context::Context;
use crate::context::interrupt::Signal;
use crate::discover::rollback::RollbackSnapshot;
use crate::event::{Phase, StageStatus};
use crate::plan::rollback::objects::ObjectKey;
use crate::plan::rollback::{Action, HOOK_EVENTS, RollbackPlan};
use crate::wait::{WaitEnd, WaitedWorkload};
use crate::words::counted;
use crate::workload::{WorkloadKind, WorkloadRef};
use writes::{apply_all, delete, report, restart};

/// How the operator wants it carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Options {
    /// `--no-wait`.
    pub no_wait: bool,
    /// `--wait-for-jobs`.
    pub wait_for_jobs: bool,
    /// `--cleanup-on-fail`.
    pub cleanup_on_fail: bool,
    /// Time limit of each hook.
    pub hook_timeout: Duration,
}

/// What became of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// It was made.
    Created,
    /// It was changed.
    Changed,
    /// It was as it should be.
    Unchanged,
    /// It was deleted.
    Deleted,
    /// It was left alone, as planned.
    Kept,
    /// It could not be done.
    Failed(String),
    /// It was not begun.
    NotBegun,
}

/// Why a rollback did not come to its end.
#[derive(Debug)]
pub enum Fault {
    /// Objects could not be written or deleted.
    Objects(Vec<(ObjectKey, String)>),
    /// A hook failed.
    Hook(HookError),
    /// Workloads or Jobs are not ready.
    NotReady {
        /// How the wait ended.
        end: WaitEnd,
        /// What is not ready.
        what: Vec<String>,
    },
    /// The database is not where it should be, in a sentence.
    Database(String),
    /// A signal.
    Interrupted(Signal),
}

/// What was done.
#[derive(Debug, Default)]
pub struct RollbackExecution {
    /// Each object of the plan.
    pub objects: Vec<(ObjectKey, Done)>,
    /// Workloads that were restarted.
    pub restarted: Vec<WorkloadRef>,
    /// Whether hooks ran.
    pub hooks_ran: bool,
    /// What is ready; empty without a wait.
    pub ready: BTreeSet<WorkloadRef>,
    /// How the wait ended; `None` without one.
    pub wait: Option<WaitEnd>,
    /// When everything was ready.
    pub restored_at: Option<Timestamp>,
    /// What became of the database, where it was to go back.
    pub database: Option<DatabaseDone>,
    /// Workloads left at zero by us.
    pub left_stopped: Vec<WorkloadRef>,
    /// Why it did not come to its end.
    pub fault: Option<Fault>,
}

impl RollbackExecution {
    /// Whether anything but Helm's record was written.
    pub fn touched_the_cluster(&self) -> bool {
        self.hooks_ran
            || self.database.is_some()
            || self.objects.iter().any(|(_, done)| {
                matches!(done, Done::Created | Done::Changed | Done::Deleted | Done::Failed(_))
            })
    }

    fn set(&mut self, key: &ObjectKey, done: Done) {
        if let Some((_, slot)) = self.objects.iter_mut().find(|(found, _)| found == key) {
            *slot = done;
        }
    }
}

/// Everything that carrying out needs.
pub struct Rollback<'a> {
    /// What was found.
    pub snapshot: &'a RollbackSnapshot,
    /// What is to be done.
    pub plan: &'a RollbackPlan,
    /// How.
    pub options: &'a Options,
    /// What must not be done twice and was done before.
    pub milestones: &'a BTreeSet<String>,
}

/// Carries out the plan. The record is kept up to date while hooks run.
pub async fn run(context: &Context, rollback: &Rollback<'_>, open: &mut OpenRecord) -> RollbackExecution {
    let plan = rollback.plan;
    let objects = plan.objects.iter().map(|step| {
        let done = if step.action == Action::Keep { Done::Kept } else { Done::NotBegun };
        (step.key.clone(), done)
    });
    let mut execution = RollbackExecution { objects: objects.collect(), ..RollbackExecution::default() };
    let fault = carry_out(context, rollback, open, &mut execution).await.err();
    if fault.is_some() && rollback.options.cleanup_on_fail {
        clean_up(context, rollback, &mut execution).await;
    }
    execution.fault = fault;
    execution
}

async fn carry_out(
    context: &Context,
    rollback: &Rollback<'_>,
    open: &mut OpenRecord,
    execution: &mut RollbackExecution,
) -> Result<(), Fault> {
    take_database_back(context, rollback, execution).await?;
    let generations = phase(context, Phase::Start, "applying the revision", async {
        let answer = async {
            run_hooks(context, rollback, open, execution, HOOK_EVENTS[0]).await?;
            let generations = apply_all(context, rollback, execution).await?;
            restart(context, rollback, execution).await?;
            Ok(generations)
        }
        .await;
        // What was stopped is started, whatever became of the rest.
        execution.left_stopped = start_halted(context, &rollback.plan.stopped).await;
        let changed = execution
            .objects
            .iter()
            .filter(|(_, done)| matches!(done, Done::Created | Done::Changed | Done::Deleted))
            .count();
        let of = execution.objects.len();
        let (status, message) = match &answer {
            Ok(_) => (StageStatus::Done, format!("{changed} of {} changed", counted(of, "object"))),
            Err(fault) => (StageStatus::Failed, reason(fault)),
        };
        (answer, status, message)
    })
    .await?;
    if !rollback.options.no_wait {
        wait(context, rollback, execution, &generations).await?;
    }
    run_hooks(context, rollback, open, execution, HOOK_EVENTS[1]).await
}

/// Stops what uses the database and takes it back, where the plan says so and it was not done before.
async fn take_database_back(
    context: &Context,
    rollback: &Rollback<'_>,
    execution: &mut RollbackExecution,
) -> Result<(), Fault> {
    let plan = rollback.plan;
    let Some(step) = plan.database.as_deref().filter(|_| !rollback.milestones.contains(MILESTONE)) else {
        return Ok(());
    };
    interrupted(context)?;
    let (done, again) = halt_for_database(context, step, &plan.stopped).await;
    let fault = match context.interrupt.signal() {
        Some(signal) if !done.was_begun() => Some(Fault::Interrupted(signal)),
        _ => done.fault().map(Fault::Database),
    };
    execution.database = Some(done);
    execution.left_stopped = left_stopped(&again);
    if fault.is_some() && !rollback.options.no_wait && context.interrupt.signal().is_none() {
        let again: Vec<_> =
            again.into_iter().map(|swapped| (swapped.plan.workload, swapped.generation)).collect();
        let Waited { end, ready } = wait_for_all(context, rollback, &again, &[]).await;
        (execution.ready, execution.wait) = (ready, Some(end));
    }
    fault.map_or(Ok(()), Err)
}

async fn run_hooks(
    context: &Context,
    rollback: &Rollback<'_>,
    open: &mut OpenRecord,
    execution: &mut RollbackExecution,
    event: &'static str,
) -> Result<(), Fault> {
    let milestone = format!("{event} hooks");
    if !rollback.plan.hooks.iter().any(|hook| hook.event == event) || rollback.milestones.contains(&milestone)
    {
        return Ok(());
    }
    interrupted(context)?;
    execution.hooks_ran = true;
    let mut record = open.record().clone();
    let mut apis = rollback.snapshot.apis.clone();
    let run =
        HookRun { event, timeout: rollback.options.hook_timeout, namespace: &rollback.snapshot.namespace };
    let answer = hooks::run(context, &mut record, &mut apis, &run, async |record| {
        open.save(context, record.clone()).await
    })
    .await;
    // How the last hook ended stands in the record that closes the operation.
    open.note(record);
    if answer.is_ok() {
        context.guard.milestone(&milestone).await;
    }
    answer.map_err(|error| match error.signal() {
        Some(signal) => {
            context.warn(error.to_string());
            Fault::Interrupted(signal)
        }
        None => Fault::Hook(error),
    })
}

fn interrupted(context: &Context) -> Result<(), Fault> {
    context.interrupt.signal().map_or(Ok(()), |signal| Err(Fault::Interrupted(signal)))
}

async fn wait(
    context: &Context,
    rollback: &Rollback<'_>,
    execution: &mut RollbackExecution,
    generations: &[(WorkloadRef, Option<i64>)],
) -> Result<(), Fault> {
    let plan = rollback.plan;
    // Also those whose pods were all Ready when it was planned: one may break before its turn comes.
    let is_ordered = |workload: &&WorkloadRef| {
        let found = rollback.snapshot.workload(workload);
        workload.kind == WorkloadKind::StatefulSet
            && found.is_some_and(|found| !found.on_delete && found.partition == 0)
    };
    let stuck: Vec<WorkloadRef> = plan.waits.iter().filter(is_ordered).cloned().collect();
    let Waited { end, ready } = wait_for_all(context, rollback, generations, &stuck).await;
    let unready = plan.waits.iter().filter(|workload| !ready.contains(workload));
    let mut what: Vec<String> = unready.map(ToString::to_string).collect();
    execution.ready = ready;
    execution.wait = Some(end);
    let mut end = end;
    if end == WaitEnd::Ready && rollback.options.wait_for_jobs {
        let jobs = plan.objects.iter().filter(|step| step.key.kind == "Job" && step.action != Action::Delete);
        let keys: Vec<&ObjectKey> = jobs.map(|step| &step.key).collect();
        (end, what) = jobs::wait(context, &keys).await;
        execution.wait = Some(end);
    }
    match end {
        WaitEnd::Ready => {
            execution.restored_at = Some(context.now());
            Ok(())
        }
        WaitEnd::Interrupted => {
            Err(context.interrupt.signal().map_or(Fault::NotReady { end, what }, Fault::Interrupted))
        }
        _ => Err(Fault::NotReady { end, what }),
    }
}

/// Waits for everything that the plan waits for, from these generations on.
async fn wait_for_all(
    context: &Context,
    rollback: &Rollback<'_>,
    generations: &[(WorkloadRef, Option<i64>)],
    stuck: &[WorkloadRef],
) -> Waited {
    let generation_of =
        |workload| generations.iter().find(|(found, _)| found == workload).and_then(|(_, number)| *number);
    let waits = rollback.plan.waits.iter().map(|workload| WaitedWorkload {
        workload: workload.clone(),
        replicas: None,
        generation: generation_of(workload),
    });
    wait_for(context, waits.collect(), stuck).await
}

/// Deletes what this run has created; the reason why it failed stays the one that is told.
async fn clean_up(context: &Context, rollback: &Rollback<'_>, execution: &mut RollbackExecution) {
    let created: Vec<ObjectKey> = execution
        .objects
        .iter()
        .filter(|(_, done)| *done == Done::Created)
        .map(|(key, _)| key.clone())
        .collect();
    for key in created.iter().rev() {
        match delete(context, rollback, key, None).await {
            Ok(()) => {
                report(context, key, &Done::Deleted);
                execution.set(key, Done::Deleted);
            }
            Err(error) => {
                context.warn(format!("{key} was created by this run and could not be deleted: {error}"));
            }
        }
    }
}

/// A fault in a sentence, for Helm's record and for people.
pub fn reason(fault: &Fault) -> String {
    match fault {
        Fault::Objects(failures) => {
            failures.iter().map(|(key, why)| format!("{key}: {why}")).collect::<Vec<_>>().join(" && ")
        }
        Fault::Hook(error) => error.to_string(),
        Fault::NotReady { end: WaitEnd::TimedOut, what } => format!("not ready in time: {}", what.join(", ")),
        Fault::NotReady { what, .. } => format!("not ready: {}", what.join(", ")),
        Fault::Database(sentence) => sentence.clone(),
        Fault::Interrupted(signal) => format!("interrupted by {}", signal.name()),
    }
}
