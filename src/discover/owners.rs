//! Who would undo us: Argo CD Applications, Flux `HelmRelease`s and `Kustomization`s that own the workloads. Fields as
//! in those projects' CRDs.

use std::collections::BTreeSet;

use kube::Client;
use kube::api::{Api, DynamicObject};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::Value;

use super::list::{is_forbidden, list_all};
use super::workload::{Autoscaler, Workload};
use crate::workload::WorkloadRef;

/// A controller's object that owns workloads of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// `Argo CD Application`, `Flux HelmRelease`, `Flux Kustomization`.
    pub kind: &'static str,
    /// `namespace/name`, or the name alone where the namespace is not known.
    pub name: String,
    /// What it will do.
    pub effect: Effect,
}

/// What an owner will do about our changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// It puts the old state back by itself.
    Reverts(String),
    /// It puts the old state back at its next change.
    RevertsLater(String),
    /// It is suspended.
    Paused,
    /// It could not be read.
    Unknown(String),
}

/// Which optional API groups the server has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is one API group")]
pub struct OptionalApis {
    /// `argoproj.io`.
    pub argo: bool,
    /// `helm.toolkit.fluxcd.io`.
    pub flux_helm: bool,
    /// `kustomize.toolkit.fluxcd.io`.
    pub flux_kustomize: bool,
    /// `keda.sh`.
    pub keda: bool,
}

/// Asks the server which optional API groups it has; none where it will not say.
pub async fn optional_apis(client: &Client) -> OptionalApis {
    let Ok(groups) = client.list_api_groups().await else {
        return OptionalApis::default();
    };
    let has = |name: &str| groups.groups.iter().any(|group| group.name == name);
    OptionalApis {
        argo: has("argoproj.io"),
        flux_helm: has("helm.toolkit.fluxcd.io"),
        flux_kustomize: has("kustomize.toolkit.fluxcd.io"),
        keda: has("keda.sh"),
    }
}

fn resource(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

/// Finds the owners of the workloads.
pub async fn find(client: &Client, apis: OptionalApis, workloads: &[Workload]) -> Vec<Owner> {
    let mut owners = Vec::new();
    if apis.argo {
        let names: BTreeSet<&str> = workloads
            .iter()
            .filter_map(|workload| workload.annotations.get("argocd.argoproj.io/tracking-id"))
            .filter_map(|id| id.split(':').next())
            .collect();
        owners.extend(argo_applications(client, &names).await);
        owners.extend(argo_by_label(client, workloads).await);
    }
    for (present, group, versions, kind, title, plural) in [
        (apis.flux_helm, "helm.toolkit.fluxcd.io", "v2", "HelmRelease", "Flux HelmRelease", "helmreleases"),
        (
            apis.flux_kustomize,
            "kustomize.toolkit.fluxcd.io",
            "v1",
            "Kustomization",
            "Flux Kustomization",
            "kustomizations",
        ),
    ] {
        if !present {
            continue;
        }
        let label =
            |workload: &Workload, field: &str| workload.labels.get(&format!("{group}/{field}")).cloned();
        let names: BTreeSet<(String, String)> = workloads
            .iter()
            .filter_map(|workload| Some((label(workload, "namespace")?, label(workload, "name")?)))
            .collect();
        for (namespace, name) in names {
            let api: Api<DynamicObject> =
                Api::namespaced_with(client.clone(), &namespace, &resource(group, versions, kind, plural));
            let effect = match api.get_opt(&name).await {
                Ok(Some(object)) => flux_effect(kind, &object.data),
                Ok(None) => continue,
                Err(error) => Effect::Unknown(short(&error)),
            };
            owners.push(Owner { kind: title, name: format!("{namespace}/{name}"), effect });
        }
    }
    owners
}

async fn argo_applications(client: &Client, names: &BTreeSet<&str>) -> Vec<Owner> {
    if names.is_empty() {
        return Vec::new();
    }
    let title = "Argo CD Application";
    let api: Api<DynamicObject> =
        Api::all_with(client.clone(), &resource("argoproj.io", "v1alpha1", "Application", "applications"));
    match api.list(&kube::api::ListParams::default()).await {
        Ok(applications) => applications
            .items
            .iter()
            .filter_map(|application| {
                let name = application.metadata.name.as_deref()?;
                let namespace = application.metadata.namespace.as_deref().unwrap_or_default();
                let is_ours = names.contains(name) || names.contains(format!("{namespace}_{name}").as_str());
                is_ours.then(|| Owner {
                    kind: title,
                    name: format!("{namespace}/{name}"),
                    effect: argo_effect(&application.data),
                })
            })
            .collect(),
        Err(error) => names
            .iter()
            .map(|name| Owner {
                kind: title,
                name: (*name).to_owned(),
                effect: Effect::Unknown(short(&error)),
            })
            .collect(),
    }
}

/// Applications that track by label. Charts set the same label, so that only an Application which lists one of the workloads
/// is an owner; what cannot be read was only a guess.
async fn argo_by_label(client: &Client, workloads: &[Workload]) -> Vec<Owner> {
    let labels = ["argocd.argoproj.io/instance", "app.kubernetes.io/instance"];
    let untracked = workloads
        .iter()
        .filter(|workload| !workload.annotations.contains_key("argocd.argoproj.io/tracking-id"));
    let names: BTreeSet<&String> = untracked
        .filter_map(|workload| labels.iter().find_map(|label| workload.labels.get(*label)))
        .collect();
    let api: Api<DynamicObject> = Api::namespaced_with(
        client.clone(),
        "argocd",
        &resource("argoproj.io", "v1alpha1", "Application", "applications"),
    );
    let found = futures::future::join_all(names.into_iter().map(|name| api.get_opt(name))).await;
    let applications = found.into_iter().filter_map(|answer| answer.ok().flatten());
    let owners = applications.filter(|application| lists_any(&application.data, workloads));
    let owner = |application: DynamicObject| Owner {
        kind: "Argo CD Application",
        name: format!("argocd/{}", application.metadata.name.as_deref().unwrap_or_default()),
        effect: argo_effect(&application.data),
    };
    owners.map(owner).collect()
}

/// Whether an Application's `status.resources` names one of the workloads.
fn lists_any(application: &Value, workloads: &[Workload]) -> bool {
    let listed = application.pointer("/status/resources").and_then(Value::as_array);
    listed.into_iter().flatten().any(|entry| {
        workloads.iter().any(|workload| {
            let WorkloadRef { kind, namespace, name } = &workload.reference;
            entry["kind"] == kind.as_str() && entry["namespace"] == **namespace && entry["name"] == **name
        })
    })
}

fn short(error: &kube::Error) -> String {
    if is_forbidden(error) { "reading it is forbidden".to_owned() } else { error.to_string() }
}

/// What an Argo CD Application will do: `spec.syncPolicy.automated`, unless its `enabled` is false.
fn argo_effect(application: &Value) -> Effect {
    if application.pointer("/status/operationState/phase").and_then(Value::as_str) == Some("Running") {
        return Effect::Reverts("it is syncing Git's state right now".to_owned());
    }
    match application.pointer("/spec/syncPolicy/automated") {
        Some(automated) if automated.is_object() && automated["enabled"] != false => {
            if automated["selfHeal"] == true {
                Effect::Reverts("selfHeal puts Git's state back within seconds".to_owned())
            } else {
                Effect::RevertsLater("auto-sync puts Git's state back at the next commit".to_owned())
            }
        }
        _ => Effect::Paused,
    }
}

/// What a Flux object will do, from `spec.suspend` and `spec.driftDetection.mode`.
fn flux_effect(kind: &str, object: &Value) -> Effect {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
    let interval = text("/spec/interval").unwrap_or("its interval");
    if object.pointer("/spec/suspend") == Some(&Value::Bool(true)) {
        Effect::Paused
    } else if kind == "Kustomization" {
        Effect::Reverts(format!("it applies Git's state again every {interval}"))
    } else if text("/spec/driftDetection/mode") == Some("enabled") {
        Effect::Reverts(format!("drift detection puts the declared release back every {interval}"))
    } else {
        Effect::RevertsLater("it upgrades to the declared version again at its next change".to_owned())
    }
}

/// KEDA's `ScaledObject`s of a namespace with the workload that each one scales; none where they cannot be read.
pub async fn scaled_objects(client: &Client, namespace: &str) -> Vec<(String, String, Autoscaler)> {
    let resource = resource("keda.sh", "v1alpha1", "ScaledObject", "scaledobjects");
    let objects = list_all(client, namespace, &resource, None).await.unwrap_or_default();
    objects.iter().filter_map(scaled_object).collect()
}

fn scaled_object(object: &DynamicObject) -> Option<(String, String, Autoscaler)> {
    let spec = object.data.get("spec")?;
    let target = spec.get("scaleTargetRef")?;
    let number = |field: &str, default| {
        spec.get(field)
            .and_then(Value::as_i64)
            .and_then(|number| i32::try_from(number).ok())
            .unwrap_or(default)
    };
    let annotations = object.metadata.annotations.as_ref();
    let autoscaler = Autoscaler {
        kind: "ScaledObject",
        name: object.metadata.name.clone().unwrap_or_default(),
        minimum: number("minReplicaCount", 0),
        maximum: number("maxReplicaCount", 100),
        paused: annotations.is_some_and(|annotations| {
            annotations.get("autoscaling.keda.sh/paused").is_some_and(|value| value != "false")
                || annotations.contains_key("autoscaling.keda.sh/paused-replicas")
        }),
        held: annotations
            .and_then(|annotations| annotations.get("autoscaling.keda.sh/paused-replicas")?.parse().ok()),
        limited: false,
    };
    let kind = target.get("kind").and_then(Value::as_str).unwrap_or("Deployment");
    Some((kind.to_owned(), target.get("name")?.as_str()?.to_owned(), autoscaler))
}

/// Reads a `HorizontalPodAutoscaler` (`autoscaling/v2`): the workload that it scales, and its bounds.
pub fn horizontal_pod_autoscaler(object: &DynamicObject) -> Option<(String, String, Autoscaler)> {
    let spec = object.data.get("spec")?;
    let target = spec.get("scaleTargetRef")?;
    let number =
        |field: &str| spec.get(field).and_then(Value::as_i64).and_then(|number| i32::try_from(number).ok());
    let autoscaler = Autoscaler {
        kind: "HorizontalPodAutoscaler",
        name: object.metadata.name.clone().unwrap_or_default(),
        minimum: number("minReplicas").unwrap_or(1),
        maximum: number("maxReplicas").unwrap_or(i32::MAX),
        paused: false,
        held: None,
        limited: is_at_maximum(&object.data),
    };
    Some((target.get("kind")?.as_str()?.to_owned(), target.get("name")?.as_str()?.to_owned(), autoscaler))
}

/// Whether an autoscaler would have more pods if its maximum let it: condition `ScalingLimited` with `TooManyReplicas`.
fn is_at_maximum(object: &Value) -> bool {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|condition| {
        condition["type"] == "ScalingLimited"
            && condition["status"] == "True"
            && condition["reason"] == "TooManyReplicas"
    })
}

/// Whether an autoscaler's target is a workload.
pub fn scales(target: &(String, String, Autoscaler), workload: &WorkloadRef) -> bool {
    target.0 == workload.kind.as_str() && target.1 == workload.name
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn argo_cd_reverts_with_self_heal_only() {
        for (policy, effect) in [
            (json!({}), "paused"),
            (json!({"automated": {"enabled": false, "selfHeal": true}}), "paused"),
            (json!({"automated": {}}), "later"),
            (json!({"automated": {"selfHeal": true}}), "now"),
        ] {
            let found = match argo_effect(&json!({"spec": {"syncPolicy": policy}})) {
                Effect::Paused => "paused",
                Effect::RevertsLater(_) => "later",
                Effect::Reverts(_) => "now",
                Effect::Unknown(_) => "unknown",
            };
            assert_eq!(found, effect, "{policy}");
        }
    }

    #[tokio::test]
    async fn a_label_counts_where_the_application_lists_the_workload() {
        use crate::context::tests::{context, exchange};
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "n", "labels": {"app.kubernetes.io/instance": "shop"}}, "spec": {}
        });
        let workload = Workload::read(
            crate::workload::WorkloadKind::Deployment,
            &serde_json::from_value(deployment).unwrap(),
        );
        let application = |name: &str| {
            json!({
                "apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": {"name": "shop", "namespace": "argocd"},
                "spec": {"syncPolicy": {"automated": {"selfHeal": true}}},
                "status": {"resources": [{"kind": "Deployment", "namespace": "n", "name": name}]},
            })
        };
        for (name, expected) in [("web", 1), ("other", 0)] {
            let path = "/namespaces/argocd/applications/shop";
            let answer = exchange(http::Method::GET, path, 200, application(name));
            let (context, script, _interrupter) = context(vec![answer]);
            let apis = OptionalApis { argo: true, ..OptionalApis::default() };
            let owners = find(&context.client, apis, std::slice::from_ref(&workload)).await;
            assert_eq!((owners.len(), script.left()), (expected, 0), "{owners:?}");
            assert!(owners.iter().all(|owner| matches!(owner.effect, Effect::Reverts(_))));
        }
        let syncing = json!({"spec": {}, "status": {"operationState": {"phase": "Running"}}});
        assert!(matches!(argo_effect(&syncing), Effect::Reverts(_)));
    }

    #[test]
    fn flux_reverts_unless_suspended() {
        assert_eq!(flux_effect("Kustomization", &json!({"spec": {"suspend": true}})), Effect::Paused);
        assert!(matches!(flux_effect("Kustomization", &json!({"spec": {}})), Effect::Reverts(_)));
        assert!(matches!(flux_effect("HelmRelease", &json!({"spec": {}})), Effect::RevertsLater(_)));
        let detects = json!({"spec": {"driftDetection": {"mode": "enabled"}, "interval": "5m"}});
        assert!(matches!(flux_effect("HelmRelease", &detects), Effect::Reverts(text) if text.contains("5m")));
    }

    #[test]
    fn an_autoscaler_at_its_maximum_says_so_itself() {
        for (reason, limited) in [("TooManyReplicas", true), ("TooFewReplicas", false)] {
            let object = json!({
                "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"},
                "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "web"}, "maxReplicas": 3},
                "status": {"conditions": [{"type": "ScalingLimited", "status": "True", "reason": reason}]},
            });
            let found = horizontal_pod_autoscaler(&serde_json::from_value(object).unwrap()).unwrap().2;
            assert_eq!((found.limited, found.minimum, found.maximum), (limited, 1, 3), "{reason}");
        }
    }

    #[test]
    fn keda_is_paused_by_either_annotation() {
        let object = |annotations: Value| -> DynamicObject {
            serde_json::from_value(json!({
                "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject",
                "metadata": {"name": "s", "annotations": annotations},
                "spec": {"scaleTargetRef": {"name": "web"}, "minReplicaCount": 2}
            }))
            .unwrap()
        };
        let (kind, name, autoscaler) = scaled_object(&object(json!({}))).unwrap();
        assert_eq!(
            (kind.as_str(), name.as_str(), autoscaler.minimum, autoscaler.paused),
            ("Deployment", "web", 2, false)
        );
        let held = scaled_object(&object(json!({"autoscaling.keda.sh/paused-replicas": "0"}))).unwrap().2;
        assert_eq!((held.paused, held.held), (true, Some(0)));
        assert!(!scaled_object(&object(json!({"autoscaling.keda.sh/paused": "false"}))).unwrap().2.paused);
    }
}
