//! Carries out a plan: the only part, beside [`crate::helm::storage`], that writes to the cluster. It makes no choices:
//! what is done stands in the plan; what is decided here is only how to survive what comes in between.

mod answers;
pub mod apply;
pub mod database;
mod emergency;
pub mod hand_over;
pub mod hooks;
#[cfg(test)]
mod hooks_tests;
mod jobs;
pub mod managed_fields;
pub mod operation;
pub mod patches;
pub mod record;
pub mod rollback;
mod swap;
pub mod undo;
mod unstick;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::Duration;

use futures::future::{join_all, select_all};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::context::Context;
use crate::context::interrupt::Signal;
use crate::discover::Snapshot;
use crate::event::{EventKind, Phase, StageStatus};
use crate::plan::Plan;
use crate::plan::strategy::Strategy;
use crate::wait::{self, WaitEnd, WaitEvent, WaitRequest, WaitedWorkload};
use crate::words::counted;
use crate::workload::{WorkloadKind, WorkloadRef};

pub use database::DatabaseDone;
pub use emergency::{Swaps, start_halted, swap};
pub use hand_over::HandOver;
pub use managed_fields::FIELD_MANAGER;
pub use swap::Swapped;

/// How the operator wants it carried out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Options {
    /// `--stop-timeout`.
    pub stop_timeout: Option<Duration>,
    /// `--strict-stop`.
    pub strict_stop: bool,
    /// `--no-wait`.
    pub no_wait: bool,
}

/// What became of the workloads.
#[derive(Debug, Default)]
pub struct Execution {
    /// Each planned workload.
    pub workloads: Vec<Swapped>,
    /// Which workloads are ready; empty without a wait.
    pub ready: BTreeSet<WorkloadRef>,
    /// How the wait ended; `None` without one.
    pub wait: Option<WaitEnd>,
    /// When everything was ready.
    pub restored_at: Option<Timestamp>,
    /// The signal that ended it early.
    pub interrupted: Option<Signal>,
    /// What became of the database, where it was to go back.
    pub database: Option<DatabaseDone>,
}

impl Execution {
    /// Workloads whose images or replicas were written.
    pub fn written(&self) -> impl Iterator<Item = &Swapped> {
        self.workloads.iter().filter(|swapped| swapped.written)
    }

    /// Whether every workload was written and, unless that was not asked for, became ready.
    pub fn is_complete(&self, no_wait: bool) -> bool {
        self.workloads.iter().all(|swapped| swapped.written) && (no_wait || self.wait == Some(WaitEnd::Ready))
    }

    /// Whether the database is not where it was to go. A signal that came before that was begun is no failure of it.
    pub fn database_failed(&self) -> bool {
        let done = self.database.as_ref().filter(|done| !done.is_down());
        done.is_some_and(|done| done.was_begun() || self.interrupted.is_none())
    }

    /// Workloads left at zero by us.
    pub fn left_stopped(&self) -> impl Iterator<Item = &WorkloadRef> {
        self.workloads.iter().filter(|swapped| swapped.left_stopped).map(|swapped| &swapped.plan.workload)
    }
}

/// Why a step was not begun, in the words of every step.
fn not_begun(why: impl std::fmt::Display) -> String {
    format!("it was not begun: {why}")
}

/// Runs one phase: reports its begin and end with the message that `work` answers.
pub async fn phase<T>(
    context: &Context,
    stage: Phase,
    about: &str,
    work: impl Future<Output = (T, StageStatus, String)>,
) -> T {
    phase_of(context, stage, None, about, work).await
}

/// A phase that reports the progress of so many workloads.
async fn phase_of<T>(
    context: &Context,
    stage: Phase,
    total: Option<usize>,
    about: &str,
    work: impl Future<Output = (T, StageStatus, String)>,
) -> T {
    let begin = Instant::now();
    let stage_event = |status, elapsed: Duration, message: String| EventKind::Stage {
        stage,
        status,
        elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
        message,
        total,
    };
    context.emit(stage_event(StageStatus::Started, Duration::ZERO, about.to_owned()));
    let (value, status, message) = work.await;
    context.emit(stage_event(status, begin.elapsed(), message));
    value
}

/// Waits until what starts or rolls because of us is ready, and what is at the target already; deletes broken pods that
/// StatefulSets wait for.
pub async fn wait(context: &Context, plan: &Plan, execution: &mut Execution, snapshot: &Snapshot) {
    let mut waited: Vec<WaitedWorkload> = execution
        .workloads
        .iter()
        .filter(|swapped| swapped.is_under_way() && swapped.plan.workload.kind != WorkloadKind::CronJob)
        .map(|swapped| WaitedWorkload {
            workload: swapped.plan.workload.clone(),
            replicas: None,
            generation: swapped.generation,
        })
        .collect();
    for reference in plan.unchanged.iter().filter(|reference| reference.kind != WorkloadKind::CronJob) {
        let generation = snapshot.workload(reference).map(|workload| workload.generation);
        waited.push(WaitedWorkload { workload: reference.clone(), replicas: None, generation });
    }
    let stuck: Vec<WorkloadRef> = execution
        .written()
        // Also one whose pods were all Ready when it was planned: a pod that breaks before its turn comes is waited for just
        // the same. `OnDelete` and partitions are refused while planning.
        .filter(|swapped| {
            let is_rolled = swapped.plan.strategy == Strategy::Rolling;
            swapped.plan.unstick || (is_rolled && swapped.plan.workload.kind == WorkloadKind::StatefulSet)
        })
        .map(|swapped| swapped.plan.workload.clone())
        .collect();
    let Waited { end, ready } = wait_for(context, waited, &stuck).await;
    execution.ready = ready;
    execution.wait = Some(end);
    // What was started again as it was is ready, and not restored.
    if execution.is_complete(false) {
        execution.restored_at = Some(context.now());
    }
}

/// How a wait ended, and which workloads are ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waited {
    /// How it ended.
    pub end: WaitEnd,
    /// Those that are ready.
    pub ready: BTreeSet<WorkloadRef>,
}

/// Waits for workloads, as the phase of that name; broken pods of the `stuck` ones are deleted meanwhile.
pub async fn wait_for(context: &Context, waited: Vec<WaitedWorkload>, stuck: &[WorkloadRef]) -> Waited {
    let about = format!("0 of {} ready", counted(waited.len(), "workload"));
    let total = waited.len();
    phase_of(context, Phase::Wait, Some(total), &about, async {
        let unstick = join_all(stuck.iter().map(|workload| unstick::unstick(context, workload)));
        let waits = wait_per_namespace(context, waited);
        let outcomes = tokio::select! {
            outcomes = waits => outcomes,
            () = until_never(unstick, stuck.is_empty()) => Vec::new(),
        };
        let end = outcomes
            .iter()
            .map(|outcome| outcome.end)
            .max_by_key(|end| severity(*end))
            .unwrap_or(WaitEnd::Ready);
        let workloads = outcomes.iter().flat_map(|outcome| &outcome.workloads);
        let ready: BTreeSet<WorkloadRef> = workloads
            .filter(|workload| workload.progress.done)
            .map(|workload| workload.workload.clone())
            .collect();
        let status = if end == WaitEnd::Ready { StageStatus::Done } else { StageStatus::Failed };
        let (ready_now, total) = (ready.len(), counted(total, "workload"));
        let message = match end {
            WaitEnd::Ready => format!("{total} ready"),
            WaitEnd::NotReady => format!("{ready_now} of {total} ready, the others will not become ready"),
            WaitEnd::TimedOut => format!("{ready_now} of {total} ready when the time was up"),
            WaitEnd::Interrupted => format!("{ready_now} of {total} ready when it was interrupted"),
        };
        (Waited { end, ready }, status, message)
    })
    .await
}

/// Lets a background task run without ever ending the race that it is in.
async fn until_never(task: impl Future, is_empty: bool) {
    if !is_empty {
        task.await;
    }
    std::future::pending::<()>().await;
}

/// Passes on what happens while something is waited for.
fn report_wait(context: &Context, event: WaitEvent) {
    match event {
        WaitEvent::Progress(progress) => context.emit(EventKind::Progress(progress)),
        WaitEvent::Diagnosis(object, diagnosis) => context.emit(EventKind::Diagnosis { object, diagnosis }),
        WaitEvent::Notice(message) => context.warn(message),
    }
}

/// One wait for each namespace, side by side.
async fn wait_per_namespace(context: &Context, waited: Vec<WaitedWorkload>) -> Vec<wait::WaitOutcome> {
    let mut namespaces: BTreeMap<String, Vec<WaitedWorkload>> = BTreeMap::new();
    for workload in waited {
        namespaces.entry(workload.workload.namespace.clone()).or_default().push(workload);
    }
    let mut waits: Vec<_> = namespaces
        .into_values()
        .map(|workloads| {
            Box::pin(async move {
                let request = WaitRequest {
                    workloads,
                    deadline: context.deadline.end(),
                    started_at: context.now(),
                    crash_rule: wait::CrashRule::default(),
                    settle: Duration::ZERO,
                };
                let mut report = |event| report_wait(context, event);
                wait::wait_until_ready(&context.client, &request, context.interrupt.cancelled(), &mut report)
                    .await
            })
        })
        .collect();
    let mut outcomes = Vec::new();
    while !waits.is_empty() {
        let (outcome, _, rest) = select_all(waits).await;
        outcomes.push(outcome);
        waits = rest;
    }
    outcomes
}

fn severity(end: WaitEnd) -> u8 {
    match end {
        WaitEnd::Ready => 0,
        WaitEnd::TimedOut => 1,
        WaitEnd::NotReady => 2,
        WaitEnd::Interrupted => 3,
    }
}

/// Hands the fields of every written workload over to the release's writer; answers what could not be handed over, and
/// whom Helm 4 will conflict with.
pub async fn hand_over_all(
    context: &Context,
    execution: &Execution,
    snapshot: &Snapshot,
) -> (Vec<String>, Vec<String>) {
    let touched: Vec<&WorkloadRef> = execution
        .workloads
        .iter()
        .filter(|swapped| swapped.written || swapped.generation.is_some())
        .map(|swapped| &swapped.plan.workload)
        .collect();
    hand_over_workloads(context, &touched, snapshot).await
}

/// Hands the fields of workloads over.
pub async fn hand_over_workloads(
    context: &Context,
    workloads: &[&WorkloadRef],
    snapshot: &Snapshot,
) -> (Vec<String>, Vec<String>) {
    let nobody = BTreeMap::new();
    let answers = join_all(workloads.iter().map(|workload| async {
        let previous = snapshot.workload(workload).map_or(&nobody, |workload| &workload.image_managers);
        (*workload, hand_over::hand_over(context, workload, previous).await)
    }))
    .await;
    let mut problems = Vec::new();
    let mut foreign = Vec::new();
    for (workload, answer) in answers {
        match answer {
            HandOver::Done(managers) => {
                foreign.extend(managers.into_iter().map(|manager| format!("{workload}: {manager}")));
            }
            HandOver::Failed(why) => {
                problems.push(format!("{workload}: its fields could not be handed over: {why}"));
            }
        }
    }
    (problems, foreign)
}
