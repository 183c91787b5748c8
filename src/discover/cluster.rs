//! The lists that a snapshot is made of: workloads, pods, earlier templates, autoscalers. All at once, and those that
//! are only evidence may fail.

use std::collections::BTreeMap;

use futures::future::{join_all, try_join_all};
use kube::api::DynamicObject;
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, Error};
use serde_json::Value;

use super::list::{list_all, words};
use super::owners::{OptionalApis, horizontal_pod_autoscaler, optional_apis, scaled_objects, scales};
use super::workload::{Autoscaler, PodSummary, Workload, images_of};
use crate::workload::WorkloadKind;

/// Everything of one namespace that may matter.
#[derive(Debug, Default)]
pub struct NamespaceState {
    /// Every workload of the known kinds, with pods, past and autoscaler filled in.
    pub workloads: Vec<Workload>,
    /// Which optional API groups the server has.
    pub apis: OptionalApis,
    /// What could not be read, and what follows from that.
    pub warnings: Vec<String>,
}

fn resource(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

/// Reads a namespace. Fails only where the workloads themselves cannot be read.
pub async fn read(client: &Client, namespace: &str, selector: Option<&str>) -> Result<NamespaceState, Error> {
    let kinds = try_join_all(WorkloadKind::ALL.map(|kind| async move {
        let objects = list_all(client, namespace, &kind.api_resource(), selector).await?;
        Ok::<Vec<Workload>, Error>(objects.iter().map(|object| Workload::read(kind, object)).collect())
    }));
    let evidence = [
        (resource("", "v1", "Pod", "pods"), "which pods are Ready is not known: everything counts as down"),
        (resource("apps", "v1", "ReplicaSet", "replicasets"), "images of earlier ReplicaSets are not known"),
        (
            resource("apps", "v1", "ControllerRevision", "controllerrevisions"),
            "images of earlier revisions are not known",
        ),
        (
            resource("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers"),
            "autoscalers are not known",
        ),
    ];
    let evidence = join_all(evidence.iter().map(|(resource, otherwise)| async move {
        let answer = list_all(client, namespace, resource, None).await;
        answer.map_err(|error| format!("cannot list {}: {}; {otherwise}", resource.plural, words(&error)))
    }));
    let (kinds, evidence, apis) = futures::join!(kinds, evidence, optional_apis(client));

    let mut state =
        NamespaceState { workloads: kinds?.into_iter().flatten().collect(), apis, warnings: Vec::new() };
    let mut lists = evidence.into_iter().map(|answer| match answer {
        Ok(objects) => objects,
        Err(warning) => {
            state.warnings.push(warning);
            Vec::new()
        }
    });
    let mut next = || lists.next().unwrap_or_default();
    let (pods, replica_sets, controller_revisions, autoscalers) = (next(), next(), next(), next());
    drop(lists);
    attach_pods(&mut state.workloads, &pods);
    attach_past(&mut state.workloads, &replica_sets, &controller_revisions);
    let mut targets: Vec<(String, String, Autoscaler)> =
        autoscalers.iter().filter_map(horizontal_pod_autoscaler).collect();
    if apis.keda {
        // Last, because a ScaledObject owns the HorizontalPodAutoscaler that KEDA makes for it.
        targets.extend(scaled_objects(client, namespace).await);
    }
    for workload in &mut state.workloads {
        let scaler = targets.iter().rev().find(|target| scales(target, &workload.reference));
        workload.autoscaler = scaler.map(|(_, _, autoscaler)| autoscaler.clone());
    }
    state.workloads.sort_by(|left, right| left.reference.cmp(&right.reference));
    Ok(state)
}

fn attach_pods(workloads: &mut [Workload], pods: &[DynamicObject]) {
    for pod in pods {
        let pod = PodSummary::read(pod);
        if let Some(owner) = workloads.iter_mut().find(|workload| workload.owns(&pod)) {
            owner.pods.push(pod);
        }
    }
}

/// Images of earlier pod templates, newest first: a Deployment's from its ReplicaSets, the others' from their
/// ControllerRevisions.
fn attach_past(
    workloads: &mut [Workload],
    replica_sets: &[DynamicObject],
    controller_revisions: &[DynamicObject],
) {
    type Template = (i64, BTreeMap<String, String>);
    let mut past: BTreeMap<String, Vec<Template>> = BTreeMap::new();
    let mut add = |object: &DynamicObject, number: i64, template: Option<&Value>| {
        let owner =
            object.metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
        if let (Some(owner), Some(pod_spec)) = (owner, template.and_then(|template| template.get("spec"))) {
            past.entry(owner.uid.clone()).or_default().push((number, images_of(pod_spec)));
        }
    };
    for replica_set in replica_sets {
        let annotations = replica_set.metadata.annotations.as_ref();
        let number = annotations.and_then(|all| all.get("deployment.kubernetes.io/revision")?.parse().ok());
        add(replica_set, number.unwrap_or(0), replica_set.data.pointer("/spec/template"));
    }
    for revision in controller_revisions {
        let number = revision.data.get("revision").and_then(Value::as_i64);
        add(revision, number.unwrap_or(0), revision.data.pointer("/data/spec/template"));
    }
    for workload in workloads {
        if let Some(mut templates) = past.remove(&workload.uid) {
            templates.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
            workload.past_images = templates.into_iter().map(|(_, images)| images).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> DynamicObject {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn past_images_come_newest_first_and_only_from_owned_templates() {
        let deployment = object(
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "uid": "d"}, "spec": {}}),
        );
        let mut workloads = [Workload::read(WorkloadKind::Deployment, &deployment)];
        let replica_set = |owner: &str, revision: &str, image: &str| {
            object(json!({
                "apiVersion": "apps/v1", "kind": "ReplicaSet",
                "metadata": {"name": "r", "annotations": {"deployment.kubernetes.io/revision": revision},
                    "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": owner, "controller": true}]},
                "spec": {"template": {"spec": {"containers": [{"name": "web", "image": image}]}}}
            }))
        };
        let sets = [
            replica_set("d", "9", "web:nine"),
            replica_set("d", "10", "web:ten"),
            replica_set("other", "11", "web:eleven"),
        ];
        attach_past(&mut workloads, &sets, &[]);
        let images: Vec<&str> =
            workloads[0].past_images.iter().map(|images| images["web"].as_str()).collect();
        assert_eq!(images, ["web:ten", "web:nine"]);
    }
}
