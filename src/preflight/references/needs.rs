//! The objects without which the pods of a template do not start. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use kube::core::{ApiResource, GroupVersionKind};
use serde_json::Value;

use crate::discover::Snapshot;
use crate::discover::rollback::RollbackSnapshot;
use crate::plan::Plan;
use crate::plan::rollback::{Action, RollbackPlan};

/// The kinds that pod templates refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `v1` Secret.
    Secret,
    /// `v1` ConfigMap.
    ConfigMap,
    /// `v1` `PersistentVolumeClaim`.
    PersistentVolumeClaim,
    /// `v1` `ServiceAccount`.
    ServiceAccount,
    /// `scheduling.k8s.io/v1` `PriorityClass`.
    PriorityClass,
    /// `node.k8s.io/v1` `RuntimeClass`.
    RuntimeClass,
}

impl Kind {
    /// Group, version, kind and plural.
    pub fn api_resource(self) -> ApiResource {
        let (group, kind, plural) = match self {
            Self::Secret => ("", "Secret", "secrets"),
            Self::ConfigMap => ("", "ConfigMap", "configmaps"),
            Self::PersistentVolumeClaim => ("", "PersistentVolumeClaim", "persistentvolumeclaims"),
            Self::ServiceAccount => ("", "ServiceAccount", "serviceaccounts"),
            Self::PriorityClass => ("scheduling.k8s.io", "PriorityClass", "priorityclasses"),
            Self::RuntimeClass => ("node.k8s.io", "RuntimeClass", "runtimeclasses"),
        };
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, "v1", kind), plural)
    }

    fn is_namespaced(self) -> bool {
        !matches!(self, Self::PriorityClass | Self::RuntimeClass)
    }
}

/// Which object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The kind.
    pub kind: Kind,
    /// The namespace; empty for what is in none.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.kind.api_resource().kind, self.name)
    }
}

/// What is wanted of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Need {
    /// Who needs it to start, by workload.
    pub users: BTreeSet<String>,
    /// Who pulls with it: the kubelet tries without.
    pub pullers: BTreeSet<String>,
    /// Keys that must be there, with who needs each.
    pub keys: BTreeMap<String, BTreeSet<String>>,
    /// Whether any pod that needs it is started now.
    pub starts: bool,
}

/// Everything that is needed, each object once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs(pub BTreeMap<Key, Need>);

impl Needs {
    fn need(&mut self, kind: Kind, namespace: &str, name: &str) -> &mut Need {
        let namespace = if kind.is_namespaced() { namespace.to_owned() } else { String::new() };
        self.0.entry(Key { kind, namespace, name: name.to_owned() }).or_default()
    }

    /// Adds what a pod spec refers to; `user` is the workload that has it.
    pub fn add(&mut self, user: &str, namespace: &str, pod_spec: &Value, starts: bool) {
        let mut add = |kind: Kind, name: Option<&str>, keys: Vec<&str>| {
            let Some(name) = name.filter(|name| !name.is_empty()) else { return };
            let need = self.need(kind, namespace, name);
            need.users.insert(user.to_owned());
            need.starts |= starts;
            for key in keys {
                need.keys.entry(key.to_owned()).or_default().insert(user.to_owned());
            }
        };
        for list in ["initContainers", "containers"] {
            for container in items(pod_spec, list) {
                environment(container, &mut add);
            }
        }
        for volume in items(pod_spec, "volumes") {
            of_volume(volume, &mut add);
        }
        add(
            Kind::ServiceAccount,
            text(pod_spec, "serviceAccountName").filter(|name| *name != "default"),
            vec![],
        );
        add(Kind::PriorityClass, text(pod_spec, "priorityClassName"), vec![]);
        add(Kind::RuntimeClass, text(pod_spec, "runtimeClassName"), vec![]);
        for secret in items(pod_spec, "imagePullSecrets") {
            if let Some(name) = text(secret, "name").filter(|name| !name.is_empty()) {
                let need = self.need(Kind::Secret, namespace, name);
                need.pullers.insert(user.to_owned());
                need.starts |= starts;
            }
        }
    }
}

fn items<'a>(value: &'a Value, list: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value.get(list).and_then(Value::as_array).into_iter().flatten()
}

fn text<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    value.get(field)?.as_str()
}

/// What is not optional.
fn required<'a>(source: &'a Value, field: &str) -> Option<&'a Value> {
    source.get(field).filter(|reference| reference.get("optional") != Some(&Value::Bool(true)))
}

fn environment<'a>(container: &'a Value, add: &mut impl FnMut(Kind, Option<&'a str>, Vec<&'a str>)) {
    for variable in items(container, "env") {
        let Some(source) = variable.get("valueFrom") else { continue };
        for (field, kind) in [("secretKeyRef", Kind::Secret), ("configMapKeyRef", Kind::ConfigMap)] {
            if let Some(reference) = required(source, field) {
                add(kind, text(reference, "name"), text(reference, "key").into_iter().collect());
            }
        }
    }
    for source in items(container, "envFrom") {
        for (field, kind) in [("secretRef", Kind::Secret), ("configMapRef", Kind::ConfigMap)] {
            if let Some(reference) = required(source, field) {
                add(kind, text(reference, "name"), Vec::new());
            }
        }
    }
}

fn of_volume<'a>(volume: &'a Value, add: &mut impl FnMut(Kind, Option<&'a str>, Vec<&'a str>)) {
    let keys = |source: &'a Value| items(source, "items").filter_map(|item| text(item, "key")).collect();
    if let Some(source) = required(volume, "secret") {
        add(Kind::Secret, text(source, "secretName"), keys(source));
    }
    if let Some(source) = required(volume, "configMap") {
        add(Kind::ConfigMap, text(source, "name"), keys(source));
    }
    for source in volume.get("projected").into_iter().flat_map(|projected| items(projected, "sources")) {
        for (field, kind) in [("secret", Kind::Secret), ("configMap", Kind::ConfigMap)] {
            if let Some(reference) = required(source, field) {
                add(kind, text(reference, "name"), keys(reference));
            }
        }
    }
    if let Some(claim) = volume.get("persistentVolumeClaim") {
        add(Kind::PersistentVolumeClaim, text(claim, "claimName"), Vec::new());
    }
    // Credentials of storage: each driver has its own place for the name.
    let named = |driver: &str, field: &str| text(volume.get(driver)?, field);
    let referred = |driver: &str, field: &str| text(volume.get(driver)?.get(field)?, "name");
    add(Kind::Secret, named("azureFile", "secretName"), Vec::new());
    add(Kind::Secret, referred("csi", "nodePublishSecretRef"), Vec::new());
    for driver in ["cephfs", "rbd", "iscsi", "flexVolume", "scaleIO", "storageos"] {
        add(Kind::Secret, referred(driver, "secretRef"), Vec::new());
    }
}

/// What the workloads of an emergency need.
pub fn of_plan(plan: &Plan, snapshot: &Snapshot) -> Needs {
    let mut needs = Needs::default();
    for planned in &plan.workloads {
        let Some(workload) = snapshot.workload(&planned.workload) else { continue };
        let starts = planned.replicas.is_none_or(|replicas| replicas.after > 0);
        let reference = &planned.workload;
        needs.add(&reference.to_string(), &reference.namespace, &workload.template()["spec"], starts);
    }
    needs
}

/// What the workloads of a rollback need.
pub fn of_rollback(plan: &RollbackPlan, snapshot: &RollbackSnapshot) -> Needs {
    let mut needs = Needs::default();
    for step in &plan.objects {
        let is_written = matches!(step.action, Action::Create | Action::Apply | Action::Replace);
        let Some(workload) = step.workload().filter(|_| is_written) else { continue };
        let found = snapshot.objects.iter().find(|found| found.history.key == step.key);
        let Some(target) = found.and_then(|found| found.history.target.as_ref()) else { continue };
        let pointer = workload.kind.template_pointer();
        let Some(spec) = target.pointer(pointer).and_then(|template| template.get("spec")) else { continue };
        let replicas = step.replicas.or_else(|| target.pointer("/spec/replicas").and_then(Value::as_i64));
        needs.add(&workload.to_string(), &workload.namespace, spec, replicas != Some(0));
    }
    needs
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(pod_spec: &Value) -> Vec<String> {
        let mut needs = Needs::default();
        needs.add("deploy/web", "n", pod_spec, true);
        let shown = |(key, need): (&Key, &Need)| {
            let keys: Vec<&str> = need.keys.keys().map(String::as_str).collect();
            let soft = if need.users.is_empty() { " (pulls)" } else { "" };
            format!("{}{soft}", format!("{key} {}", keys.join(",")).trim_end())
        };
        needs.0.iter().map(shown).collect()
    }

    #[test]
    fn every_way_of_referring_is_known_and_what_is_optional_is_not_needed() {
        let spec = json!({
            "serviceAccountName": "runner", "priorityClassName": "high", "runtimeClassName": "gvisor",
            "imagePullSecrets": [{"name": "pull"}],
            "initContainers": [{"envFrom": [{"configMapRef": {"name": "init"}}, {"secretRef": {"name": "maybe", "optional": true}}]}],
            "containers": [{"env": [
                {"name": "PLAIN", "value": "x"},
                {"name": "A", "valueFrom": {"secretKeyRef": {"name": "db", "key": "url"}}},
                {"name": "B", "valueFrom": {"secretKeyRef": {"name": "db", "key": "user", "optional": false}}},
                {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "x", "optional": true}}},
                {"name": "D", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            ]}],
            "volumes": [
                {"name": "1", "secret": {"secretName": "tls", "items": [{"key": "tls.crt", "path": "c"}]}},
                {"name": "2", "configMap": {"name": "files"}},
                {"name": "3", "projected": {"sources": [{"secret": {"name": "both"}}, {"configMap": {"name": "ca", "optional": true}}, {"serviceAccountToken": {"path": "t"}}]}},
                {"name": "4", "persistentVolumeClaim": {"claimName": "data"}},
                {"name": "5", "csi": {"driver": "x", "nodePublishSecretRef": {"name": "vault"}}},
                {"name": "6", "emptyDir": {}},
            ],
        });
        assert_eq!(
            found(&spec),
            [
                "Secret/both",
                "Secret/db url,user",
                "Secret/pull (pulls)",
                "Secret/tls tls.crt",
                "Secret/vault",
                "ConfigMap/files",
                "ConfigMap/init",
                "PersistentVolumeClaim/data",
                "ServiceAccount/runner",
                "PriorityClass/high",
                "RuntimeClass/gvisor",
            ]
        );
        assert_eq!(found(&json!({"serviceAccountName": "default"})), [""; 0]);
    }

    #[test]
    fn cluster_wide_kinds_are_in_no_namespace_and_users_add_up() {
        let mut needs = Needs::default();
        let spec = json!({"priorityClassName": "high"});
        needs.add("deploy/a", "n", &spec, false);
        needs.add("deploy/b", "m", &spec, true);
        let (key, need) = needs.0.iter().next().unwrap();
        assert_eq!((key.namespace.as_str(), need.users.len(), need.starts), ("", 2, true));
    }
}
