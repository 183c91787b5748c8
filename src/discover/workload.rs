//! One workload as it stands in the cluster: what of it matters for a rollback. Pure: reads objects that were
//! fetched elsewhere.

use std::collections::BTreeMap;

use kube::api::DynamicObject;
use serde_json::Value;

use crate::registry::ImageReference;
use crate::workload::{ContainerRef, WorkloadKind, WorkloadRef};

/// Annotation that the write which scales a workload to zero also sets: how many replicas it had.
pub const REPLICAS_BEFORE: &str = "rollback.kubectl.dev/replicas-before";
/// Annotation that the write which suspends a CronJob also sets: whether it was suspended already.
pub const SUSPEND_BEFORE: &str = "rollback.kubectl.dev/suspend-before";

/// A container of a pod template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// The image as it stands in the template.
    pub image: String,
    /// Whether it is an init container.
    pub init: bool,
    /// Its index in `containers` or `initContainers`.
    pub index: usize,
}

impl Container {
    /// The image, read; `None` where the text is no image reference.
    pub fn reference(&self) -> Option<ImageReference> {
        self.image.parse().ok()
    }
}

/// A pod, as far as a rollback cares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodSummary {
    /// Its name.
    pub name: String,
    /// Its UID: deletes name it, so that a successor of the same name is never hit.
    pub uid: String,
    /// Condition Ready is True and it is not being deleted.
    pub ready: bool,
    /// It is being deleted.
    pub terminating: bool,
    /// It ran to its end: neither holds quota nor counts as running.
    pub finished: bool,
    /// `spec.terminationGracePeriodSeconds`.
    pub grace_seconds: u64,
    /// Names of the images it runs, by container.
    pub images: BTreeMap<String, String>,
    /// Name and kind of its controller.
    pub controller: Option<(String, String)>,
    /// Label `pod-template-hash`, for pods of Deployments.
    pub template_hash: Option<String>,
    /// Label `controller-revision-hash`, for pods of StatefulSets and DaemonSets.
    pub revision_hash: Option<String>,
}

/// Who scales a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Autoscaler {
    /// `HorizontalPodAutoscaler` or `ScaledObject`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// Fewest replicas.
    pub minimum: i32,
    /// Most replicas.
    pub maximum: i32,
    /// Whether somebody paused it.
    pub paused: bool,
    /// The number at which a pause holds the workload.
    pub held: Option<i32>,
    /// Whether it wants more pods than its maximum lets it have.
    pub limited: bool,
}

/// A workload as it stands in the cluster.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a field of the object")]
pub struct Workload {
    /// Which one.
    pub reference: WorkloadRef,
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// Labels of the object.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the object.
    pub annotations: BTreeMap<String, String>,
    /// Containers of the pod template, init containers first.
    pub containers: Vec<Container>,
    /// `spec.replicas`; `None` for kinds without it.
    pub replicas: Option<i32>,
    /// `spec.suspend` of a CronJob.
    pub suspended: bool,
    /// `spec.paused` of a Deployment.
    pub paused: bool,
    /// `spec.updateStrategy.type` is `OnDelete`.
    pub on_delete: bool,
    /// `spec.updateStrategy.rollingUpdate.partition` of a StatefulSet.
    pub partition: i64,
    /// Pods start and stop one after the other (`podManagementPolicy: OrderedReady`).
    pub ordered: bool,
    /// Scaling a StatefulSet down deletes its volumes (`persistentVolumeClaimRetentionPolicy.whenScaled: Delete`).
    pub volumes_deleted_when_scaled: bool,
    /// Its pods.
    pub pods: Vec<PodSummary>,
    /// Images that earlier templates of it ran (ReplicaSets, ControllerRevisions), newest first.
    pub past_images: Vec<BTreeMap<String, String>>,
    /// Who scales it.
    pub autoscaler: Option<Autoscaler>,
    /// `metadata.managedFields`: who owns which field.
    pub managed_fields: Value,
    /// The whole object without `managedFields`, for the rules of readiness.
    pub object: Value,
    /// Field manager that owned each container's image when we looked, by container name.
    pub image_managers: BTreeMap<String, String>,
}

impl Workload {
    /// Whether broken pods of an earlier revision hold up a StatefulSet: its controller waits for them for ever.
    pub fn waits_for_broken_pods(&self) -> bool {
        let update_revision = self.object.pointer("/status/updateRevision").and_then(Value::as_str);
        let is_of_another_revision =
            |pod: &PodSummary| pod.revision_hash.is_some() && pod.revision_hash.as_deref() != update_revision;
        self.reference.kind == WorkloadKind::StatefulSet
            && update_revision.is_some()
            && self.live_pods().any(|pod| !pod.ready && is_of_another_revision(pod))
    }

    /// Reads an object of a known kind; pods and history are filled in later.
    pub fn read(kind: WorkloadKind, object: &DynamicObject) -> Self {
        let metadata = &object.metadata;
        let spec = object.data.get("spec").unwrap_or(&Value::Null);
        let template = object.data.pointer(kind.template_pointer()).unwrap_or(&Value::Null);
        let replicas = kind.has_replicas().then(|| {
            let number = spec.get("replicas").and_then(Value::as_i64).unwrap_or(1);
            i32::try_from(number).unwrap_or(i32::MAX)
        });
        let text = |pointer: &str| spec.pointer(pointer).and_then(Value::as_str);
        let flag = |field: &str| spec.get(field).and_then(Value::as_bool).unwrap_or(false);
        Self {
            reference: WorkloadRef {
                kind,
                namespace: metadata.namespace.clone().unwrap_or_default(),
                name: metadata.name.clone().unwrap_or_default(),
            },
            uid: metadata.uid.clone().unwrap_or_default(),
            generation: metadata.generation.unwrap_or_default(),
            labels: metadata.labels.clone().unwrap_or_default(),
            annotations: metadata.annotations.clone().unwrap_or_default(),
            containers: containers_of(template.get("spec").unwrap_or(&Value::Null)),
            replicas,
            suspended: flag("suspend"),
            paused: flag("paused"),
            on_delete: text("/updateStrategy/type") == Some("OnDelete"),
            partition: spec
                .pointer("/updateStrategy/rollingUpdate/partition")
                .and_then(Value::as_i64)
                .unwrap_or(0),
            ordered: kind == WorkloadKind::StatefulSet && text("/podManagementPolicy") != Some("Parallel"),
            volumes_deleted_when_scaled: text("/persistentVolumeClaimRetentionPolicy/whenScaled")
                == Some("Delete")
                && spec
                    .get("volumeClaimTemplates")
                    .and_then(Value::as_array)
                    .is_some_and(|claims| !claims.is_empty()),
            pods: Vec::new(),
            past_images: Vec::new(),
            autoscaler: None,
            managed_fields: serde_json::to_value(&object.metadata.managed_fields).unwrap_or_default(),
            object: without_managed_fields(object),
            image_managers: image_managers(object, kind),
        }
    }

    /// Names one of its containers.
    pub fn container_ref(&self, container: &Container) -> ContainerRef {
        ContainerRef { workload: self.reference.clone(), container: container.name.clone() }
    }

    /// The pod template; null where the object has none.
    pub fn template(&self) -> &Value {
        self.object.pointer(self.reference.kind.template_pointer()).unwrap_or(&Value::Null)
    }

    /// The number of replicas that an earlier, interrupted run remembered.
    pub fn remembered_replicas(&self) -> Option<i32> {
        self.annotations.get(REPLICAS_BEFORE)?.parse().ok()
    }

    /// Pods that are Ready now.
    pub fn ready_pods(&self) -> usize {
        self.pods.iter().filter(|pod| pod.ready).count()
    }

    /// Pods that exist and have not run to their end.
    pub fn live_pods(&self) -> impl Iterator<Item = &PodSummary> {
        self.pods.iter().filter(|pod| !pod.finished)
    }

    /// The longest grace period of its pods in seconds, or the template's where it has no pods.
    pub fn grace_seconds(&self) -> u64 {
        let of_template = || {
            self.template()
                .pointer("/spec/terminationGracePeriodSeconds")
                .and_then(Value::as_u64)
                .unwrap_or(30)
        };
        self.live_pods().map(|pod| pod.grace_seconds).max().unwrap_or_else(of_template)
    }

    /// Whether a pod belongs to this workload.
    pub fn owns(&self, pod: &PodSummary) -> bool {
        let Some((kind, name)) = &pod.controller else {
            return false;
        };
        match self.reference.kind {
            WorkloadKind::Deployment => {
                kind == "ReplicaSet"
                    && pod
                        .template_hash
                        .as_ref()
                        .is_some_and(|hash| *name == format!("{}-{hash}", self.reference.name))
            }
            WorkloadKind::StatefulSet | WorkloadKind::DaemonSet => {
                kind == self.reference.kind.as_str() && *name == self.reference.name
            }
            WorkloadKind::CronJob => false,
        }
    }

    /// Whether a pod runs the images of the present pod template.
    pub fn is_current(&self, pod: &PodSummary) -> bool {
        self.containers.iter().all(|container| pod.images.get(&container.name) == Some(&container.image))
    }
}

fn without_managed_fields(object: &DynamicObject) -> Value {
    let mut value = serde_json::to_value(object).unwrap_or(Value::Null);
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    value
}

/// The containers of a pod spec, init containers first.
pub fn containers_of(pod_spec: &Value) -> Vec<Container> {
    [("initContainers", true), ("containers", false)]
        .into_iter()
        .flat_map(|(field, init)| {
            let list = pod_spec.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            list.iter().enumerate().map(move |(index, container)| {
                let text =
                    |field: &str| container.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
                Container { name: text("name"), image: text("image"), init, index }
            })
        })
        .collect()
}

/// The images of a pod spec by container name.
pub fn images_of(pod_spec: &Value) -> BTreeMap<String, String> {
    containers_of(pod_spec).into_iter().map(|container| (container.name, container.image)).collect()
}

impl PodSummary {
    /// Reads a pod.
    pub fn read(pod: &DynamicObject) -> Self {
        let metadata = &pod.metadata;
        let status = pod.data.get("status").unwrap_or(&Value::Null);
        let conditions =
            status.get("conditions").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let ready =
            conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
        let terminating = metadata.deletion_timestamp.is_some();
        let label = |name: &str| metadata.labels.as_ref().and_then(|labels| labels.get(name).cloned());
        let controller = metadata
            .owner_references
            .iter()
            .flatten()
            .find(|owner| owner.controller == Some(true))
            .map(|owner| (owner.kind.clone(), owner.name.clone()));
        Self {
            name: metadata.name.clone().unwrap_or_default(),
            uid: metadata.uid.clone().unwrap_or_default(),
            ready: ready && !terminating,
            terminating,
            finished: matches!(status["phase"].as_str(), Some("Succeeded" | "Failed")),
            grace_seconds: pod
                .data
                .pointer("/spec/terminationGracePeriodSeconds")
                .and_then(Value::as_u64)
                .unwrap_or(30),
            images: images_of(pod.data.get("spec").unwrap_or(&Value::Null)),
            controller,
            template_hash: label("pod-template-hash"),
            revision_hash: label("controller-revision-hash"),
        }
    }
}

/// Which field manager owns each container's image, from `metadata.managedFields`.
fn image_managers(object: &DynamicObject, kind: WorkloadKind) -> BTreeMap<String, String> {
    let template_fields = field_path(kind);
    let mut managers = BTreeMap::new();
    for entry in object.metadata.managed_fields.iter().flatten() {
        let (Some(manager), Some(fields)) = (&entry.manager, &entry.fields_v1) else {
            continue;
        };
        let pod_fields = template_fields.iter().try_fold(&fields.0, |fields, key| fields.get(key));
        for list in ["f:containers", "f:initContainers"] {
            let Some(Value::Object(items)) = pod_fields.and_then(|fields| fields.get(list)) else {
                continue;
            };
            for (key, fields) in items {
                let name = key.strip_prefix("k:").and_then(|key| serde_json::from_str::<Value>(key).ok());
                if let Some(name) = name.as_ref().and_then(|key| key["name"].as_str())
                    && fields.get("f:image").is_some()
                {
                    managers.insert(name.to_owned(), manager.clone());
                }
            }
        }
    }
    managers
}

/// The keys in `fieldsV1` that lead to the pod spec of a kind.
pub fn field_path(kind: WorkloadKind) -> &'static [&'static str] {
    match kind {
        WorkloadKind::CronJob => &["f:spec", "f:jobTemplate", "f:spec", "f:template", "f:spec"],
        _ => &["f:spec", "f:template", "f:spec"],
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
    fn reads_what_decides_the_strategy() {
        let set = object(json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet",
            "metadata": {"name": "db", "namespace": "n", "uid": "u", "annotations": {REPLICAS_BEFORE: "3"}},
            "spec": {
                "replicas": 0,
                "persistentVolumeClaimRetentionPolicy": {"whenScaled": "Delete"},
                "volumeClaimTemplates": [{}],
                "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}},
                "template": {"spec": {"initContainers": [{"name": "i", "image": "a:1"}], "containers": [{"name": "c", "image": "b:2"}]}}
            }
        }));
        let workload = Workload::read(WorkloadKind::StatefulSet, &set);
        assert_eq!((workload.replicas, workload.remembered_replicas()), (Some(0), Some(3)));
        assert!(workload.volumes_deleted_when_scaled && workload.ordered);
        assert_eq!(workload.partition, 2);
        let names: Vec<_> = workload.containers.iter().map(|c| (c.name.as_str(), c.init, c.index)).collect();
        assert_eq!(names, [("i", true, 0), ("c", false, 0)]);
    }

    #[test]
    fn replicas_default_to_one_as_the_api_server_does() {
        let deployment = object(
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}, "spec": {}}),
        );
        assert_eq!(Workload::read(WorkloadKind::Deployment, &deployment).replicas, Some(1));
        assert_eq!(Workload::read(WorkloadKind::DaemonSet, &deployment).replicas, None);
    }

    #[test]
    fn a_pod_of_a_deployment_with_a_longer_name_is_not_ours() {
        let pod = |replica_set: &str| {
            PodSummary::read(&object(json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": "p", "labels": {"pod-template-hash": "abc"},
                    "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": replica_set, "uid": "u", "controller": true}]},
                "spec": {"containers": []}
            })))
        };
        let deployment = object(
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {}}),
        );
        let web = Workload::read(WorkloadKind::Deployment, &deployment);
        assert!(web.owns(&pod("web-abc")));
        assert!(!web.owns(&pod("web-canary-abc")));
    }

    #[test]
    fn image_owners_come_from_managed_fields() {
        let deployment = object(json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "managedFields": [{
                "manager": "helm", "operation": "Apply", "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
                "fieldsV1": {"f:spec": {"f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"web\"}": {".": {}, "f:image": {}}}}}}}
            }]},
            "spec": {}
        }));
        let workload = Workload::read(WorkloadKind::Deployment, &deployment);
        assert_eq!(workload.image_managers.get("web").map(String::as_str), Some("helm"));
    }
}
