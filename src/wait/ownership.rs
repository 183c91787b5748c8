//! Whose pod is this, and is it a pod of the newest template? Only pods of the target say anything about the
//! target: the crashing pods that a rollback replaces must not be blamed on it.

use k8s_openapi::api::core::v1::{Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde_json::Value;

use crate::workload::{WorkloadKind, WorkloadRef};

/// The annotation by which a Deployment and its newest ReplicaSet know each other.
pub const REVISION_ANNOTATION: &str = "deployment.kubernetes.io/revision";
const TEMPLATE_HASH_LABEL: &str = "pod-template-hash";
const REVISION_HASH_LABEL: &str = "controller-revision-hash";

/// The ReplicaSet that carries a Deployment's newest template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetReplicaSet<'a> {
    /// Its name.
    Known(&'a str),
    /// Not seen yet, although ReplicaSets can be read: no pod can be the target's.
    NotYet,
    /// ReplicaSets cannot be read: pods are told apart by their images.
    Unreadable,
}

fn controller(pod: &Pod) -> Option<&OwnerReference> {
    pod.metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

fn label<'a>(pod: &'a Pod, name: &str) -> Option<&'a str> {
    pod.metadata.labels.as_ref()?.get(name).map(String::as_str)
}

/// The kind and name of the workload that the pod says it belongs to. A Deployment names its ReplicaSets after
/// itself and the hash of their template; the pods of a CronJob belong to its Jobs, which we neither start nor stop.
pub fn candidate_owner(pod: &Pod) -> Option<(WorkloadKind, &str)> {
    let owner = controller(pod)?;
    match owner.kind.as_str() {
        "ReplicaSet" => {
            let hash = label(pod, TEMPLATE_HASH_LABEL)?;
            let name = owner.name.strip_suffix(hash)?.strip_suffix('-')?;
            Some((WorkloadKind::Deployment, name))
        }
        "StatefulSet" => Some((WorkloadKind::StatefulSet, &owner.name)),
        "DaemonSet" => Some((WorkloadKind::DaemonSet, &owner.name)),
        _ => None,
    }
}

/// Whether the pod says that it belongs to a workload of this kind and name. Enough to throw foreign pods away
/// before the workload itself has been read.
pub fn looks_owned(workload: &WorkloadRef, pod: &Pod) -> bool {
    candidate_owner(pod) == Some((workload.kind, workload.name.as_str()))
}

/// Whether the pod belongs to the workload whose `metadata.uid` is `uid`, at whatever revision. A namesake that
/// was deleted and made anew has another uid.
pub fn owns(workload: &WorkloadRef, uid: &str, pod: &Pod) -> bool {
    looks_owned(workload, pod)
        && (workload.kind == WorkloadKind::Deployment
            || controller(pod).is_some_and(|owner| owner.uid == uid))
}

/// Whether an owned pod is made from the newest template of `object`, whose newest generation has been observed.
pub fn is_of_target(
    workload: &WorkloadRef,
    object: &Value,
    replica_set: TargetReplicaSet<'_>,
    pod: &Pod,
) -> bool {
    match (workload.kind, replica_set) {
        (WorkloadKind::Deployment, TargetReplicaSet::Known(name)) => {
            return controller(pod).is_some_and(|owner| owner.name == name);
        }
        (WorkloadKind::Deployment, TargetReplicaSet::NotYet) => return false,
        _ => {}
    }
    let field = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
    if workload.kind == WorkloadKind::StatefulSet
        && let (Some(update), Some(hash)) = (field("/status/updateRevision"), label(pod, REVISION_HASH_LABEL))
    {
        return update == hash;
    }
    if workload.kind == WorkloadKind::DaemonSet
        && let (Some(newest), Some(generation)) = (
            field("/metadata/annotations/deprecated.daemonset.template.generation"),
            label(pod, "pod-template-generation"),
        )
    {
        return newest == generation;
    }
    has_images_of(workload.kind, object, pod)
}

/// Whether the containers that the template names have the template's images. Containers that only the pod has
/// (injected sidecars) do not count.
fn has_images_of(kind: WorkloadKind, object: &Value, pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    template_containers(kind, object).all(|container| {
        let text = |field: &str| container.get(field).and_then(Value::as_str);
        image_in_pod(spec, text("name").unwrap_or_default()) == text("image")
    })
}

fn image_in_pod<'a>(spec: &'a PodSpec, name: &str) -> Option<&'a str> {
    spec.containers
        .iter()
        .chain(spec.init_containers.iter().flatten())
        .find(|container| container.name == name)?
        .image
        .as_deref()
}

/// The containers and init containers of the workload's pod template.
pub(super) fn template_containers(kind: WorkloadKind, object: &Value) -> impl Iterator<Item = &Value> {
    ["containers", "initContainers"].into_iter().flat_map(move |list| {
        object
            .pointer(&format!("{}/spec/{list}", kind.template_pointer()))
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(owner: (&str, &str, &str), labels: &Value, image: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"labels": labels, "ownerReferences": [{"apiVersion": "apps/v1", "kind": owner.0,
                "name": owner.1, "uid": owner.2, "controller": true}]},
            "spec": {"containers": [{"name": "app", "image": image}, {"name": "daprd", "image": "daprio/daprd:1"}]},
        }))
        .expect("a pod")
    }

    fn workload(kind: WorkloadKind) -> WorkloadRef {
        WorkloadRef { kind, namespace: "default".into(), name: "web".into() }
    }

    #[test]
    fn deployments_own_by_name_and_hash() {
        let deployment = workload(WorkloadKind::Deployment);
        let hash = json!({"pod-template-hash": "abc"});
        assert!(owns(&deployment, "u", &pod(("ReplicaSet", "web-abc", "r"), &hash, "web:1")));
        // The pods of the Deployment `web-abc`, and of a ReplicaSet of another make.
        let other = json!({"pod-template-hash": "xyz"});
        assert!(!owns(&deployment, "u", &pod(("ReplicaSet", "web-abc-xyz", "r"), &other, "web:1")));
        assert!(!owns(&deployment, "u", &pod(("ReplicaSet", "web-abc", "r"), &json!({}), "web:1")));
        assert!(!owns(&deployment, "u", &pod(("Job", "web-abc", "r"), &hash, "web:1")));
    }

    #[test]
    fn stateful_sets_own_by_uid() {
        let stateful = workload(WorkloadKind::StatefulSet);
        let mine = pod(("StatefulSet", "web", "u"), &json!({}), "web:1");
        assert!(owns(&stateful, "u", &mine));
        assert!(!owns(&stateful, "made-anew", &mine));
    }

    #[test]
    fn the_newest_template_is_known_by_its_hash_else_by_images() {
        let object =
            json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "web:2"}]}}}});
        let deployment = workload(WorkloadKind::Deployment);
        let old = pod(("ReplicaSet", "web-abc", "r"), &json!({"pod-template-hash": "abc"}), "web:1");
        let new = pod(("ReplicaSet", "web-def", "r"), &json!({"pod-template-hash": "def"}), "web:2");
        for (replica_set, expected) in [
            (TargetReplicaSet::Known("web-def"), [false, true]),
            (TargetReplicaSet::Known("web-abc"), [true, false]),
            (TargetReplicaSet::NotYet, [false, false]),
            (TargetReplicaSet::Unreadable, [false, true]),
        ] {
            let found = [&old, &new].map(|pod| is_of_target(&deployment, &object, replica_set, pod));
            assert_eq!(found, expected, "{replica_set:?}");
        }
        let stateful = workload(WorkloadKind::StatefulSet);
        let revisions = json!({"status": {"updateRevision": "web-2"}});
        let at = |revision: &str| {
            pod(("StatefulSet", "web", "u"), &json!({"controller-revision-hash": revision}), "web:1")
        };
        assert!(is_of_target(&stateful, &revisions, TargetReplicaSet::Unreadable, &at("web-2")));
        assert!(!is_of_target(&stateful, &revisions, TargetReplicaSet::Unreadable, &at("web-1")));
    }
}
