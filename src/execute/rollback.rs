//! Carries out a rollback to a stored revision: hooks, objects in the plan's order, deletions, restarts, the wait. Makes no
//! choices; what goes wrong is collected, and ends as a `failed` record with the reason (design D7).

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};

use super::apply::{self, Applied, ApplyError, ObjectTarget};
use super::hooks::{self, HookError, HookRun};
use super::jobs;
use super::record::OpenRecord;
use super::{FIELD_MANAGER, Waited, phase, wait_for};
use crate::context::Context;
use crate::context::interrupt::Signal;
use crate::discover::rollback::{FoundObject, RollbackSnapshot, read_object};
use crate::event::{EventKind, ObjectReference, Phase, StageStatus};
use crate::plan::rollback::objects::{self, ObjectKey};
use crate::plan::rollback::{Action, HOOK_EVENTS, ObjectStep, RollbackPlan};
use crate::wait::{WaitEnd, WaitedWorkload};
use crate::words::counted;
use crate::workload::{WorkloadKind, WorkloadRef};

/// How often a deletion looks again at an object that changes meanwhile.
const DELETE_ATTEMPTS: u32 = 8;

/// How long the API server may be away while one object is written.
const LONGEST_OUTAGE: Duration = Duration::from_secs(120);

/// How the operator wants it carried out.
#[derive(Debug, Clone)]
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
    /// Why it did not come to its end.
    pub fault: Option<Fault>,
}

impl RollbackExecution {
    /// Whether anything but Helm's record was written.
    pub fn touched_the_cluster(&self) -> bool {
        self.hooks_ran
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
    let generations = phase(context, Phase::Start, "applying the revision", async {
        let answer = async {
            run_hooks(context, rollback, open, execution, HOOK_EVENTS[0]).await?;
            let generations = apply_all(context, rollback, execution).await?;
            restart(context, rollback, execution).await?;
            Ok(generations)
        }
        .await;
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

async fn run_hooks(
    context: &Context,
    rollback: &Rollback<'_>,
    open: &mut OpenRecord,
    execution: &mut RollbackExecution,
    event: &'static str,
) -> Result<(), Fault> {
    if !rollback.plan.hooks.iter().any(|hook| hook.event == event) {
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
    answer.map_err(|error| error.signal().map_or(Fault::Hook(error), Fault::Interrupted))
}

fn interrupted(context: &Context) -> Result<(), Fault> {
    context.interrupt.signal().map_or(Ok(()), |signal| Err(Fault::Interrupted(signal)))
}

/// Writes the objects, those of one kind at the same time, kinds in the order of the plan; then deletes. A failure does
/// not keep the others from being tried, but nothing is deleted after one.
async fn apply_all(
    context: &Context,
    rollback: &Rollback<'_>,
    execution: &mut RollbackExecution,
) -> Result<Vec<(WorkloadRef, Option<i64>)>, Fault> {
    let (writes, deletes): (Vec<&ObjectStep>, Vec<&ObjectStep>) = rollback
        .plan
        .objects
        .iter()
        .filter(|step| step.action != Action::Keep)
        .partition(|step| step.action != Action::Delete);
    let mut generations = Vec::new();
    let mut failures = Vec::new();
    for wave in writes.chunk_by(|left, right| left.key.kind == right.key.kind) {
        interrupted(context)?;
        let answers =
            join_all(wave.iter().map(|step| persist(context, || write(context, rollback, step)))).await;
        for (step, answer) in wave.iter().zip(answers) {
            let done = match answer {
                Ok(applied) => {
                    if let Some(workload) = workload_of(&step.key) {
                        generations.push((workload, generation(&applied.object)));
                    }
                    written(&applied)
                }
                Err(error) => {
                    failures.push((step.key.clone(), error.to_string()));
                    Done::Failed(error.to_string())
                }
            };
            report(context, &step.key, &done);
            execution.set(&step.key, done);
        }
    }
    if !failures.is_empty() {
        return Err(Fault::Objects(failures));
    }
    for wave in deletes.chunk_by(|left, right| left.key.kind == right.key.kind) {
        interrupted(context)?;
        let answers = join_all(
            wave.iter()
                .map(|step| persist(context, || delete(context, rollback, &step.key, step.uid.as_deref()))),
        )
        .await;
        for (step, answer) in wave.iter().zip(answers) {
            let done = match answer {
                Ok(()) => Done::Deleted,
                Err(error) => {
                    failures.push((step.key.clone(), error.to_string()));
                    Done::Failed(error.to_string())
                }
            };
            report(context, &step.key, &done);
            execution.set(&step.key, done);
        }
    }
    if failures.is_empty() { Ok(generations) } else { Err(Fault::Objects(failures)) }
}

/// Does something that may be done twice, again and again while the API server is not there; a signal or the time limit
/// ends that.
async fn persist<T>(
    context: &Context,
    mut work: impl AsyncFnMut() -> Result<T, ApplyError>,
) -> Result<T, ApplyError> {
    let begin = tokio::time::Instant::now();
    let mut pause = Duration::from_millis(300);
    loop {
        match work().await {
            Err(error)
                if error.is_transient()
                    && begin.elapsed() < LONGEST_OUTAGE
                    && !context.is_late()
                    && context.interrupt.signal().is_none() =>
            {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(3));
            }
            answer => return answer,
        }
    }
}

fn workload_of(key: &ObjectKey) -> Option<WorkloadRef> {
    let kind = WorkloadKind::from_api(&key.kind).filter(|kind| kind.api_resource().group == key.group)?;
    Some(WorkloadRef { kind, namespace: key.namespace.clone()?, name: key.name.clone() })
}

fn generation(object: &Value) -> Option<i64> {
    object.pointer("/metadata/generation").and_then(Value::as_i64)
}

fn written(applied: &Applied) -> Done {
    if applied.created {
        Done::Created
    } else if applied.changed {
        Done::Changed
    } else {
        Done::Unchanged
    }
}

fn report(context: &Context, key: &ObjectKey, done: &Done) {
    let verb = match done {
        Done::Created => "create",
        Done::Changed => "patch",
        Done::Deleted => "delete",
        Done::Failed(why) => {
            context.warn(format!("{key}: {why}"));
            return;
        }
        Done::Unchanged | Done::Kept | Done::NotBegun => return,
    };
    context.emit(EventKind::Change {
        verb,
        object: ObjectReference::from(key),
        fields: Vec::new(),
        before: Value::Null,
        after: Value::Null,
    });
}

fn found<'a>(snapshot: &'a RollbackSnapshot, key: &ObjectKey) -> Option<&'a FoundObject> {
    snapshot.objects.iter().find(|found| found.history.key == *key)
}

async fn write(context: &Context, rollback: &Rollback<'_>, step: &ObjectStep) -> Result<Applied, ApplyError> {
    let snapshot = rollback.snapshot;
    let found = found(snapshot, &step.key).expect("a plan speaks of the objects that were found");
    let target = snapshot.with_marks(found).expect("what is written has a target");
    let writer = snapshot.writer();
    let object = ObjectTarget {
        resource: &found.resource,
        namespace: step.key.namespace.as_deref(),
        name: &step.key.name,
        target: &target,
        newer: &found.history.newer,
        writer: &writer,
        replicas: step.replicas,
    };
    match step.action {
        Action::Replace => apply::replace(&context.client, &object).await,
        _ => apply::apply(&context.client, &object).await,
    }
}

/// Deletes an object that is still the planned one and still belongs to the release. Controllers write its status
/// meanwhile: then it is looked at again.
async fn delete(
    context: &Context,
    rollback: &Rollback<'_>,
    key: &ObjectKey,
    uid: Option<&str>,
) -> Result<(), ApplyError> {
    let snapshot = rollback.snapshot;
    let found = found(snapshot, key).expect("a plan speaks of the objects that were found");
    let namespace = key.namespace.as_deref();
    let mut attempt = 1;
    loop {
        let live = read_object(&context.client, &found.resource, namespace, &key.name).await?;
        let Some(live) = live else { return Ok(()) };
        let text = |pointer: &str| live.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        if !objects::belongs_to(&live, &snapshot.name, &snapshot.namespace)
            || uid.is_some_and(|uid| uid != text("/metadata/uid"))
        {
            return Err(ApplyError::Conflict(
                "it is another object now, or belongs to somebody else".to_owned(),
            ));
        }
        let (uid, version) = (text("/metadata/uid"), text("/metadata/resourceVersion"));
        match apply::delete(&context.client, &found.resource, namespace, &key.name, uid, version).await {
            Err(ApplyError::Conflict(_)) if attempt < DELETE_ATTEMPTS => attempt += 1,
            answer => return answer.map(drop),
        }
    }
}

/// Restarts workloads as `kubectl rollout restart` does.
async fn restart(
    context: &Context,
    rollback: &Rollback<'_>,
    execution: &mut RollbackExecution,
) -> Result<(), Fault> {
    let planned: Vec<&WorkloadRef> = rollback
        .plan
        .restarts
        .iter()
        .filter(|restart| restart.planned)
        .map(|restart| &restart.workload)
        .collect();
    let now = context.now().to_string();
    let answers = join_all(planned.iter().map(|workload| async {
        let api: Api<DynamicObject> = Api::namespaced_with(
            context.client.clone(),
            &workload.namespace,
            &workload.kind.api_resource(),
        );
        let patch = json!({"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": now}}}}});
        let parameters =
            PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        api.patch(&workload.name, &parameters, &Patch::Merge(patch)).await
    }))
    .await;
    let mut failures = Vec::new();
    for (workload, answer) in planned.into_iter().zip(answers) {
        match answer {
            Ok(_) => execution.restarted.push(workload.clone()),
            Err(error) => failures.push((
                ObjectKey {
                    group: workload.kind.api_resource().group,
                    kind: workload.kind.to_string(),
                    namespace: Some(workload.namespace.clone()),
                    name: workload.name.clone(),
                },
                format!("it could not be restarted: {error}"),
            )),
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(Fault::Objects(failures)) }
}

async fn wait(
    context: &Context,
    rollback: &Rollback<'_>,
    execution: &mut RollbackExecution,
    generations: &[(WorkloadRef, Option<i64>)],
) -> Result<(), Fault> {
    let plan = rollback.plan;
    let waited = plan
        .waits
        .iter()
        .map(|workload| WaitedWorkload {
            workload: workload.clone(),
            replicas: None,
            generation: generations
                .iter()
                .find(|(found, _)| found == workload)
                .and_then(|(_, number)| *number),
        })
        .collect();
    let Waited { end, ready } = wait_for(context, waited, &plan.unstick).await;
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
                context.warn(format!("{key} was created by this run and could not be deleted: {error}"))
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
        Fault::Interrupted(signal) => format!("interrupted by {}", signal.name()),
    }
}
