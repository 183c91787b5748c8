//! Broken pods of a StatefulSet's old revision: the controller waits for them for ever, so they are deleted once it has
//! seen the new template (Kubernetes calls this a forced rollback).

use std::time::Duration;

use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Preconditions};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use crate::context::Context;
use crate::discover::workload::PodSummary;
use crate::event::{EventKind, ObjectReference};
use crate::workload::WorkloadRef;

/// How often it is looked at.
const PERIOD: Duration = Duration::from_secs(2);

/// Deletes broken pods of the old revision, again and again, until dropped: run beside the wait.
pub async fn unstick(context: &Context, workload: &WorkloadRef) {
    let mut deleted: Vec<String> = Vec::new();
    loop {
        if let Ok(pods) = broken_pods(context, workload).await {
            for pod in pods.into_iter().filter(|pod| !pod.terminating) {
                if deleted.contains(&pod.uid) {
                    continue;
                }
                if delete(context, workload, &pod).await {
                    deleted.push(pod.uid);
                }
            }
        }
        tokio::time::sleep(PERIOD).await;
    }
}

/// Pods that are not Ready and not of the revision that the controller is rolling to; none while it has not seen our
/// write.
async fn broken_pods(context: &Context, workload: &WorkloadRef) -> Result<Vec<PodSummary>, kube::Error> {
    let sets: Api<DynamicObject> =
        Api::namespaced_with(context.client.clone(), &workload.namespace, &workload.kind.api_resource());
    let set = sets.get(&workload.name).await?;
    let observed = set.data.pointer("/status/observedGeneration").and_then(Value::as_i64);
    let update_revision = set.data.pointer("/status/updateRevision").and_then(Value::as_str);
    let (Some(observed), Some(update_revision)) = (observed, update_revision) else {
        return Ok(Vec::new());
    };
    if observed < set.metadata.generation.unwrap_or_default() {
        return Ok(Vec::new());
    }
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", "Pod"), "pods");
    let api: Api<DynamicObject> =
        Api::namespaced_with(context.client.clone(), &workload.namespace, &resource);
    let pods = api.list(&ListParams::default()).await?;
    let is_stuck = |pod: &PodSummary| {
        pod.controller == Some((workload.kind.to_string(), workload.name.clone()))
            && !pod.ready
            && pod.revision_hash.as_deref() != Some(update_revision)
    };
    Ok(pods.items.iter().map(PodSummary::read).filter(is_stuck).collect())
}

async fn delete(context: &Context, workload: &WorkloadRef, pod: &PodSummary) -> bool {
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", "Pod"), "pods");
    let api: Api<DynamicObject> =
        Api::namespaced_with(context.client.clone(), &workload.namespace, &resource);
    let parameters = DeleteParams {
        preconditions: Some(Preconditions { uid: Some(pod.uid.clone()), resource_version: None }),
        ..DeleteParams::default()
    };
    match api.delete(&pod.name, &parameters).await {
        Ok(_) => {
            context.emit(EventKind::Change {
                verb: "delete",
                object: ObjectReference {
                    kind: "Pod".to_owned(),
                    namespace: workload.namespace.clone(),
                    name: pod.name.clone(),
                },
                fields: Vec::new(),
                before: json!({"revision": pod.revision_hash}),
                after: Value::Null,
            });
            true
        }
        Err(error) => {
            context.warn(format!("{workload}: its broken pod {} could not be deleted: {error}", pod.name));
            true
        }
    }
}
