//! Stops and starts workloads: the critical section of the emergency (design D3). Whatever was stopped is started,
//! whatever comes in between: a signal, the deadline, somebody else's change.

mod change;

use std::time::Duration;

use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::Value;
use tokio::time::Instant;

use change::Change;

use super::patches::{self, Found};
use super::{FIELD_MANAGER, Options};
use crate::context::Context;
use crate::discover::Workload;
use crate::discover::list::is_not_found;
use crate::discover::workload::{REPLICAS_BEFORE, SUSPEND_BEFORE};
use crate::event::{EventKind, ObjectReference};
use crate::plan::{ReplicaPlan, WorkloadPlan};
use crate::wait;
use crate::workload::WorkloadKind;

/// The longest that stopped pods are waited for: finalizers and dead nodes keep pods Terminating for ever.
const LONGEST_STOP: Duration = Duration::from_secs(30);
/// How long a start is tried again while the API server does not answer; longer than its restart takes.
const START_PATIENCE: Duration = Duration::from_secs(180);

/// How long a write that stops or rolls a workload is tried again while the API server does not answer.
const WRITE_PATIENCE: Duration = Duration::from_secs(60);
/// Attempts to stop a workload, whatever came in between.
const MOST_WRITES: u32 = 40;

/// What became of one workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swapped {
    /// The plan as it was carried out: replicas may be newer than planned.
    pub plan: WorkloadPlan,
    /// Whether the images (or replicas) of the plan were written.
    pub written: bool,
    /// Whether it was stopped and not started again.
    pub left_stopped: bool,
    /// Why it was not written.
    pub problem: Option<String>,
    /// `metadata.generation` after our last write: what is older says nothing about it.
    pub generation: Option<i64>,
}

impl Swapped {
    /// A workload that was written by an earlier process of the operation.
    pub fn before(plan: WorkloadPlan, generation: i64) -> Self {
        Self { plan, written: true, left_stopped: false, problem: None, generation: Some(generation) }
    }

    /// Whether it starts or rolls because of us, on whichever images.
    pub fn is_under_way(&self) -> bool {
        !self.left_stopped && (self.written || self.generation.is_some())
    }

    /// A workload that was left as it was, and why.
    pub(super) fn untouched(plan: WorkloadPlan, problem: impl Into<String>) -> Self {
        Self { plan, written: false, left_stopped: false, problem: Some(problem.into()), generation: None }
    }
}

/// Why a write did not happen.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    /// A `test` operation failed: the object is not what the plan saw.
    #[error("somebody else changed it since the plan was made")]
    Changed,
    /// The object is gone.
    #[error("it was deleted meanwhile")]
    Gone,
    /// The server refuses the write and will go on refusing.
    #[error("the API server refused the write: {0}")]
    Refused(String),
    /// The release is not ours any more.
    #[error("{0}")]
    Lost(String),
    /// No usable answer.
    #[error("the API server did not answer: {0}")]
    NoAnswer(String),
}

impl From<kube::Error> for WriteError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if is_test_failure(&status) => Self::Changed,
            kube::Error::Api(status) if status.code == 404 => Self::Gone,
            kube::Error::Api(status) if status.code == super::operation::guard::LOST.as_u16() => {
                Self::Lost(status.message)
            }
            kube::Error::Api(status)
                if (400..500).contains(&status.code) && !matches!(status.code, 408 | 409 | 429) =>
            {
                Self::Refused(status.message)
            }
            error => Self::NoAnswer(error.to_string()),
        }
    }
}

/// A JSON Patch whose `test` fails is answered with 422 and no field causes; a refused value names its field.
fn is_test_failure(status: &kube::core::Status) -> bool {
    status.code == 422
        && (status.message.contains("test operation")
            || status.message.contains("testing value")
            || status.message.contains("the server rejected our request due to an error in our request"))
}

fn api(context: &Context, plan: &WorkloadPlan) -> Api<DynamicObject> {
    Api::namespaced_with(context.client.clone(), &plan.workload.namespace, &plan.workload.kind.api_resource())
}

/// Sends a patch; answers the object's new generation.
async fn write(
    context: &Context,
    plan: &WorkloadPlan,
    operations: &Value,
    change: Change,
) -> Result<Option<i64>, WriteError> {
    let patch: json_patch::Patch =
        serde_json::from_value(operations.clone()).map_err(|error| WriteError::Refused(error.to_string()))?;
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let after = api(context, plan).patch(&plan.workload.name, &parameters, &Patch::<()>::Json(patch)).await?;
    context.emit(EventKind::Change {
        verb: "patch",
        object: ObjectReference::from(&plan.workload),
        fields: change.fields,
        before: change.before,
        after: change.after,
    });
    Ok(after.metadata.generation)
}

/// Stops a workload. Answers the plan with the replicas that were really there, or why it was not stopped. A stop
/// whose answer never came counts as one: it may have arrived, and what was stopped must be started.
pub async fn stop(context: &Context, plan: &WorkloadPlan) -> Result<WorkloadPlan, Swapped> {
    let mut plan = plan.clone();
    let mut has_annotations = plan.has_annotations;
    let mut may_have_arrived = false;
    let mut patience = Patience::of(WRITE_PATIENCE);
    for _ in 0..MOST_WRITES {
        if let Some(why) = not_wanted_any_more(context, "stopped") {
            return if may_have_arrived { Ok(plan) } else { Err(Swapped::untouched(plan, why)) };
        }
        match write(context, &plan, &patches::stop(&plan, has_annotations), Change::stop(&plan)).await {
            Ok(_) => return Ok(plan),
            Err(WriteError::Changed) => {
                // Most often an autoscaler moved the replicas: take the number of this moment, and nothing else.
                let live = match read(context, &plan).await {
                    Ok(Some(live)) => live,
                    Ok(None) => return Err(Swapped::untouched(plan, WriteError::Gone.to_string())),
                    Err(_) if may_have_arrived => return Ok(plan),
                    Err(error) => return Err(Swapped::untouched(plan, error.to_string())),
                };
                if live.uid == plan.uid && has_been_stopped(&live, &plan) {
                    return Ok(plan);
                }
                if live.uid != plan.uid || !has_images_of(&live, &plan) {
                    return Err(Swapped::untouched(plan, changed_to(&live)));
                }
                has_annotations = !live.annotations.is_empty();
                if let (Some(replicas), Some(number)) = (&mut plan.replicas, live.replicas) {
                    let keeps_number = replicas.after == replicas.before;
                    *replicas = ReplicaPlan {
                        before: number,
                        after: if keeps_number { number } else { replicas.after },
                        live: number,
                    };
                }
            }
            Err(WriteError::NoAnswer(_)) => {
                may_have_arrived = true;
                if !patience.wait().await {
                    return Ok(plan);
                }
            }
            Err(error) => return Err(Swapped::untouched(plan, error.to_string())),
        }
    }
    if may_have_arrived {
        return Ok(plan);
    }
    Err(Swapped::untouched(plan, "it kept changing while we tried to stop it"))
}

/// Why a workload that was not begun is not begun any more.
fn not_wanted_any_more(context: &Context, what: &str) -> Option<String> {
    if context.interrupt.signal().is_some() {
        Some(format!("interrupted before it was {what}"))
    } else if context.is_late() {
        Some(format!("the time limit had passed before it was {what}"))
    } else {
        None
    }
}

/// Pauses between attempts, growing, until a time is over.
struct Patience {
    end: Instant,
    pause: Duration,
}

impl Patience {
    fn of(time: Duration) -> Self {
        Self { end: Instant::now() + time, pause: Duration::from_millis(300) }
    }

    /// Pauses; false, at once, when the time is over.
    async fn wait(&mut self) -> bool {
        if Instant::now() >= self.end {
            return false;
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(Duration::from_secs(5));
        true
    }
}

fn has_been_stopped(live: &Workload, plan: &WorkloadPlan) -> bool {
    match plan.replicas {
        Some(replicas) => live.replicas == Some(0) && live.remembered_replicas() == Some(replicas.before),
        None => live.suspended && live.annotations.contains_key(SUSPEND_BEFORE),
    }
}

async fn read(context: &Context, plan: &WorkloadPlan) -> Result<Option<Workload>, kube::Error> {
    match api(context, plan).get(&plan.workload.name).await {
        Ok(object) => Ok(Some(Workload::read(plan.workload.kind, &object))),
        Err(error) if is_not_found(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn has_images_of(live: &Workload, plan: &WorkloadPlan) -> bool {
    plan.containers.iter().all(|change| {
        live.containers
            .iter()
            .any(|container| container.name == change.name && container.image == change.from)
    })
}

fn changed_to(live: &Workload) -> String {
    let images: Vec<String> =
        live.containers.iter().map(|container| format!("{}={}", container.name, container.image)).collect();
    format!("somebody else changed it since the plan was made; it has {} now", images.join(", "))
}

/// Waits until the pods of a stopped workload are gone, as long as design D3 says. Pods that stay are a warning, or
/// with `--strict-stop` waited for until the operation's own deadline.
pub async fn barrier(context: &Context, plan: &WorkloadPlan, options: &Options) {
    if plan.workload.kind == WorkloadKind::CronJob {
        return;
    }
    let limit =
        options.stop_timeout.unwrap_or_else(|| Duration::from_secs(plan.grace_seconds).min(LONGEST_STOP));
    let deadline = match (options.strict_stop, context.deadline.end()) {
        (true, Some(deadline)) => deadline,
        (true, None) => Instant::now() + Duration::from_secs(24 * 3600),
        (false, deadline) => deadline.unwrap_or(Instant::now() + limit).min(Instant::now() + limit),
    };
    let gone =
        wait::wait_until_gone(&context.client, &plan.workload, deadline, context.interrupt.cancelled()).await;
    if gone.end == wait::GoneEnd::Deadline {
        let pods: Vec<&str> = gone.remaining.iter().map(|pod| pod.name.as_str()).collect();
        let why = gone.trouble.unwrap_or_else(|| format!("still there: {}", pods.join(", ")));
        context.warn(format!(
            "{}: its old pods did not go away in time ({why}); it is started all the same",
            plan.workload
        ));
    }
}

/// Starts what [`stop`] stopped, after the [`barrier`]. Never gives up on a signal or the deadline.
pub async fn start_stopped(context: &Context, plan: WorkloadPlan) -> Swapped {
    let give_up = Instant::now() + START_PATIENCE;
    let mut operations = patches::start(&plan, Found { remembered: true });
    let mut with_images = true;
    let mut problem = None;
    let mut pause = Duration::from_millis(300);
    loop {
        match write(context, &plan, &operations, Change::start(&plan, with_images)).await {
            Ok(generation) => {
                return Swapped { plan, written: with_images, left_stopped: false, problem, generation };
            }
            Err(WriteError::Gone) => return Swapped::untouched(plan, WriteError::Gone.to_string()),
            Err(WriteError::Lost(why)) => {
                // Whoever took the release over knows from the annotation what to start.
                return Swapped {
                    plan,
                    written: false,
                    left_stopped: true,
                    problem: Some(why),
                    generation: None,
                };
            }
            Err(error) => {
                match read(context, &plan).await {
                    Ok(Some(live)) if live.uid == plan.uid => match recover(&live, &plan) {
                        Recovery::Done => {
                            let generation = Some(live.generation);
                            return Swapped {
                                plan,
                                written: with_images,
                                left_stopped: false,
                                problem,
                                generation,
                            };
                        }
                        Recovery::Retry(patch) => operations = patch,
                        Recovery::OnlyReplicas(patch, why) => {
                            with_images = false;
                            problem = Some(why);
                            operations = patch;
                        }
                    },
                    Ok(_) => return Swapped::untouched(plan, WriteError::Gone.to_string()),
                    Err(_) => {}
                }
                if let WriteError::Refused(why) = &error
                    && with_images
                {
                    // The server takes these images no longer: what ran before is better than nothing.
                    with_images = false;
                    problem = Some(format!("the API server refused the new images: {why}"));
                    operations = patches::restart(&plan, Found { remembered: true });
                }
                if Instant::now() > give_up {
                    let problem = Some(error.to_string());
                    return Swapped { plan, written: false, left_stopped: true, problem, generation: None };
                }
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(5));
    }
}

/// What to do about a stopped workload whose start did not go through as planned.
enum Recovery {
    /// It is started already: our write arrived, only its answer did not.
    Done,
    /// The same write, fitted to the object as it is now.
    Retry(Value),
    /// Somebody else set images meanwhile: bring it back with theirs.
    OnlyReplicas(Value, String),
}

fn recover(live: &Workload, plan: &WorkloadPlan) -> Recovery {
    let remembered =
        live.annotations.contains_key(REPLICAS_BEFORE) || live.annotations.contains_key(SUSPEND_BEFORE);
    let images_are = |wanted: &dyn Fn(&crate::plan::ContainerChange) -> String| {
        plan.containers.iter().all(|change| {
            live.containers
                .iter()
                .any(|container| container.name == change.name && container.image == wanted(change))
        })
    };
    if !remembered && images_are(&|change| change.to.to_string()) {
        return Recovery::Done;
    }
    if images_are(&|change| change.from.clone()) {
        // Containers may have moved within the list.
        let mut fitted = plan.clone();
        for change in &mut fitted.containers {
            if let Some(container) = live.containers.iter().find(|container| container.name == change.name) {
                change.index = container.index;
                change.init = container.init;
            }
        }
        return Recovery::Retry(patches::start(&fitted, Found { remembered }));
    }
    Recovery::OnlyReplicas(patches::restart(plan, Found { remembered }), changed_to(live))
}

/// Writes a workload that is rolled: one write, nothing to undo.
pub async fn roll(context: &Context, plan: &WorkloadPlan) -> Swapped {
    let plan = plan.clone();
    let keeps_replicas = plan.replicas.is_none_or(|replicas| replicas.live == replicas.after);
    if plan.containers.is_empty() && keeps_replicas && !plan.forget {
        // Only its broken pods are in the way; they are deleted while it is waited for.
        return Swapped { plan, written: true, left_stopped: false, problem: None, generation: None };
    }
    let mut patience = Patience::of(WRITE_PATIENCE);
    loop {
        if let Some(why) = not_wanted_any_more(context, "written") {
            return Swapped::untouched(plan, why);
        }
        let operations = patches::start(&plan, Found { remembered: plan.forget });
        match write(context, &plan, &operations, Change::start(&plan, true)).await {
            Ok(generation) => {
                return Swapped { plan, written: true, left_stopped: false, problem: None, generation };
            }
            Err(WriteError::Changed) => match read(context, &plan).await {
                Ok(Some(live)) if matches!(recover(&live, &plan), Recovery::Done) => {
                    let generation = Some(live.generation);
                    return Swapped { plan, written: true, left_stopped: false, problem: None, generation };
                }
                Ok(Some(live)) => return Swapped::untouched(plan, changed_to(&live)),
                Ok(None) => return Swapped::untouched(plan, WriteError::Gone.to_string()),
                // Whether it was our own write that changed it is not known yet.
                Err(_) if patience.wait().await => {}
                Err(error) => return Swapped::untouched(plan, error.to_string()),
            },
            Err(error @ WriteError::NoAnswer(_)) => {
                if !patience.wait().await {
                    return Swapped::untouched(
                        plan,
                        format!("{error}; whether the write arrived is not known"),
                    );
                }
            }
            Err(error) => return Swapped::untouched(plan, error.to_string()),
        }
    }
}

#[cfg(test)]
#[path = "swap_tests.rs"]
mod tests;
