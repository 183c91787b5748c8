//! The writes of a rollback to objects: applied kind by kind, then deletions, then restarts. Each is repeated while the API
//! server is away; none is repeated where somebody else has changed what it rests on.

use std::time::Duration;

use futures::future::join_all;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::FIELD_MANAGER;
use super::super::apply::{self, Applied, ApplyError, ObjectTarget};
use super::{Done, Fault, Rollback, RollbackExecution, interrupted};
use crate::context::Context;
use crate::discover::object;
use crate::discover::rollback::{FoundObject, RollbackSnapshot};
use crate::discover::workload::REPLICAS_BEFORE;
use crate::event::{EventKind, ObjectReference};
use crate::plan::rollback::forecast::RESTARTED_AT;
use crate::plan::rollback::objects::{self, ObjectKey};
use crate::plan::rollback::{Action, ObjectStep};
use crate::workload::WorkloadRef;

/// How often a deletion looks again at an object that changes meanwhile.
const DELETE_ATTEMPTS: u32 = 8;

/// The milestone of restarts.
const RESTARTED: &str = "restarts";

/// How long the API server may be away while one object is written.
const LONGEST_OUTAGE: Duration = Duration::from_secs(120);

/// Writes the objects, those of one kind at the same time, kinds in the order of the plan; then deletes. A failure does
/// not keep the others from being tried, but nothing is deleted after one.
pub(super) async fn apply_all(
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
                    if let Some(workload) = step.workload() {
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
    let begin = Instant::now();
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

pub(super) fn report(context: &Context, key: &ObjectKey, done: &Done) {
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
    let applied = match step.action {
        Action::Replace => apply::replace(&context.client, &object).await,
        _ => apply::apply(&context.client, &object).await,
    }?;
    if step.forget {
        forget(context, step, found).await?;
    }
    Ok(applied)
}

/// Takes the note of an interrupted emergency off a workload that has its pods again.
async fn forget(context: &Context, step: &ObjectStep, found: &FoundObject) -> Result<(), ApplyError> {
    let namespace = step.key.namespace.as_deref().unwrap_or(&context.namespace);
    let api: Api<DynamicObject> = Api::namespaced_with(context.client.clone(), namespace, &found.resource);
    let patch = json!({"metadata": {"annotations": {REPLICAS_BEFORE: null}}});
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    api.patch_metadata(&step.key.name, &parameters, &Patch::Merge(patch)).await?;
    Ok(())
}

/// Deletes an object that is still the planned one and still belongs to the release. Controllers write its status
/// meanwhile: then it is looked at again.
pub(super) async fn delete(
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
        let live = object::read(&context.client, &found.resource, namespace, &key.name).await?;
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
pub(super) async fn restart(
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
    if planned.is_empty() || rollback.milestones.contains(RESTARTED) {
        return Ok(());
    }
    let now = context.now().to_string();
    let answers = join_all(planned.iter().map(|workload| async {
        let api: Api<DynamicObject> =
            Api::namespaced_with(context.client.clone(), &workload.namespace, &workload.kind.api_resource());
        let patch = json!({"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: now}}}}});
        let parameters =
            PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        api.patch(&workload.name, &parameters, &Patch::Merge(patch)).await
    }))
    .await;
    let mut failures = Vec::new();
    for (workload, answer) in planned.into_iter().zip(answers) {
        let key = ObjectKey {
            group: workload.kind.api_resource().group,
            kind: workload.kind.to_string(),
            namespace: Some(workload.namespace.clone()),
            name: workload.name.clone(),
        };
        match answer {
            Ok(_) => {
                execution.restarted.push(workload.clone());
                execution.set(&key, Done::Changed);
            }
            Err(error) => failures.push((key, format!("it could not be restarted: {error}"))),
        }
    }
    if !failures.is_empty() {
        return Err(Fault::Objects(failures));
    }
    context.guard.milestone(RESTARTED).await;
    Ok(())
}
