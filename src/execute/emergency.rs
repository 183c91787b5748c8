//! The critical section of an emergency: stop, take the database back, start. From the first stop to the last start it does
//! not end early: a signal or the deadline only keeps further workloads from being begun.

use futures::future::join_all;

use super::database::{self, DatabaseDone};
use super::swap::{self, Swapped};
use super::{Options, not_begun, phase};
use crate::context::Context;
use crate::event::{Phase, StageStatus};
use crate::plan::database::{DatabasePlan, Standing};
use crate::plan::strategy::Strategy;
use crate::plan::{Plan, WorkloadPlan};
use crate::words::counted;
use crate::workload::WorkloadRef;

/// What became of the workloads and of the database.
pub struct Swaps {
    /// Each planned workload.
    pub workloads: Vec<Swapped>,
    /// What became of the database, where it was to go back.
    pub database: Option<DatabaseDone>,
}

/// A workload that was stopped, or why it was not.
type Stopped = Result<WorkloadPlan, Swapped>;

/// Stops, swaps and starts the plan's workloads; the database goes back in between.
pub async fn swap(context: &Context, plan: &Plan, options: &Options) -> Swaps {
    let (to_stop, to_roll): (Vec<&WorkloadPlan>, Vec<&WorkloadPlan>) =
        plan.workloads.iter().partition(|workload| workload.strategy == Strategy::StopFirst);
    let stopped = if to_stop.is_empty() { Vec::new() } else { stop(context, &to_stop).await };
    let Some(step) = plan.database.as_deref() else {
        let workloads = start(context, stopped, to_roll, async |workload| {
            swap::barrier(context, &workload, options).await;
            swap::start_stopped(context, workload).await
        })
        .await;
        return Swaps { workloads, database: None };
    };
    let done = take_database_back(context, step, &stopped, options).await;
    let workloads = if done.is_down() {
        start(context, stopped, to_roll, async |workload| swap::start_stopped(context, workload).await).await
    } else {
        start_again(context, stopped, to_roll, step, &done).await
    };
    Swaps { workloads, database: Some(done) }
}

async fn stop(context: &Context, workloads: &[&WorkloadPlan]) -> Vec<Stopped> {
    let about = format!("stopping {}", counted(workloads.len(), "workload"));
    phase(context, Phase::Stop, &about, async {
        let stopped = join_all(workloads.iter().map(|workload| swap::stop(context, workload))).await;
        let failed = stopped.iter().filter(|answer| answer.is_err()).count();
        let status = if failed == 0 { StageStatus::Done } else { StageStatus::Failed };
        let message = format!("{} stopped{}", counted(stopped.len() - failed, "workload"), failures(failed));
        (stopped, status, message)
    })
    .await
}

/// Stops workloads and takes the database back, for a procedure that starts them itself; where that fails they are started
/// again as they were. Answers what became of the database, and of what was started again.
pub(super) async fn halt_for_database(
    context: &Context,
    step: &DatabasePlan,
    workloads: &[WorkloadPlan],
) -> (DatabaseDone, Vec<Swapped>) {
    let workloads: Vec<&WorkloadPlan> = workloads.iter().collect();
    let stopped = stop(context, &workloads).await;
    let done = take_database_back(context, step, &stopped, &Options::default()).await;
    if done.is_down() {
        return (done, Vec::new());
    }
    let started = start_again(context, stopped, Vec::new(), step, &done).await;
    (done, started)
}

/// Starts those of the stopped workloads that nothing else has started; answers what is left stopped.
pub async fn start_halted(context: &Context, workloads: &[WorkloadPlan]) -> Vec<WorkloadRef> {
    let starts = workloads.iter().map(|workload| swap::start_stopped(context, workload.clone()));
    left_stopped(&join_all(starts).await)
}

/// Those of the workloads that are left stopped.
pub(super) fn left_stopped(swapped: &[Swapped]) -> Vec<WorkloadRef> {
    let left = swapped.iter().filter(|swapped| swapped.left_stopped);
    left.map(|swapped| swapped.plan.workload.clone()).collect()
}

/// The database goes back only where everything that uses it was stopped.
async fn take_database_back(
    context: &Context,
    step: &DatabasePlan,
    stopped: &[Stopped],
    options: &Options,
) -> DatabaseDone {
    join_all(stopped.iter().flatten().map(|workload| swap::barrier(context, workload, options))).await;
    let runs_on = stopped.iter().filter_map(|stopped| stopped.as_ref().err());
    let runs_on: Vec<String> = runs_on
        .filter(|untouched| step.uses.contains(&untouched.plan.workload))
        .map(|untouched| {
            let why = untouched.problem.as_deref().unwrap_or_default();
            format!("{} was not stopped ({why})", untouched.plan.workload)
        })
        .collect();
    if runs_on.is_empty() {
        return database::downgrade(context, step).await;
    }
    DatabaseDone::not_begun(runs_on.join("; "))
}

/// Starts what was stopped, and writes what is rolled.
async fn start(
    context: &Context,
    stopped: Vec<Stopped>,
    to_roll: Vec<&WorkloadPlan>,
    start_one: impl AsyncFn(WorkloadPlan) -> Swapped,
) -> Vec<Swapped> {
    let about = format!("writing {}", counted(stopped.len() + to_roll.len(), "workload"));
    phase(context, Phase::Start, &about, async {
        let starts = stopped.into_iter().map(|answer| async {
            match answer {
                Ok(workload) => start_one(workload).await,
                Err(untouched) => untouched,
            }
        });
        let rolls = to_roll.into_iter().map(|workload| swap::roll(context, workload));
        let (started, rolled) = futures::join!(join_all(starts), join_all(rolls));
        let swapped: Vec<Swapped> = started.into_iter().chain(rolled).collect();
        for swapped in &swapped {
            if let Some(problem) = &swapped.problem {
                context.warn(format!("{}: {problem}", swapped.plan.workload));
            }
        }
        let failed = swapped.iter().filter(|swapped| swapped.problem.is_some()).count();
        let status = if failed == 0 { StageStatus::Done } else { StageStatus::Failed };
        let message = format!("{} written{}", counted(swapped.len() - failed, "workload"), failures(failed));
        (swapped, status, message)
    })
    .await
}

/// Starts what was stopped with the images that it had: they know where the database is, the target's do not.
async fn start_again(
    context: &Context,
    stopped: Vec<Stopped>,
    to_roll: Vec<&WorkloadPlan>,
    step: &DatabasePlan,
    done: &DatabaseDone,
) -> Vec<Swapped> {
    let why = match done.standing {
        Standing::Untouched => "the database was not taken back",
        Standing::HalfWay => {
            "the database went back only in part, and the target image does not know where it is"
        }
        _ => "nobody can tell where the database is",
    };
    let about = format!("starting {} again as they were", counted(stopped.len(), "workload"));
    phase(context, Phase::Start, &about, async {
        let starts = stopped.into_iter().map(|answer| async {
            let planned = match answer {
                Ok(planned) => planned,
                Err(untouched) => return untouched,
            };
            let unchanged = WorkloadPlan { containers: Vec::new(), ..planned.clone() };
            let started = swap::start_stopped(context, unchanged).await;
            let problem = started.problem.unwrap_or_else(|| {
                let image = if planned.workload == step.workload {
                    format!(" on {}", step.image)
                } else {
                    String::new()
                };
                format!("started again as it was{image}: {why}")
            });
            Swapped { plan: planned, written: false, problem: Some(problem), ..started }
        });
        let mut swapped = join_all(starts).await;
        let left = swapped.iter().filter(|swapped| swapped.left_stopped).count();
        let untouched =
            to_roll.into_iter().map(|workload| Swapped::untouched(workload.clone(), not_begun(why)));
        swapped.extend(untouched);
        let status = if left == 0 { StageStatus::Done } else { StageStatus::Failed };
        let message = if left == 0 {
            "nothing is left stopped".to_owned()
        } else {
            format!("{} left stopped", counted(left, "workload"))
        };
        (swapped, status, message)
    })
    .await
}

fn failures(failed: usize) -> String {
    if failed == 0 { String::new() } else { format!(", {failed} not") }
}
