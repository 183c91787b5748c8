//! What a side looks like: every object that a scenario could have made, without what is never equal.

use std::collections::BTreeMap;

use http::Method;
use serde_json::{Map, Value, json};

use crate::harness::Cluster;

/// Lists of the kinds that live in namespaces. Events, endpoints and what controllers derive are no part of a release.
const NAMESPACED: [&str; 23] = [
    "api/v1/configmaps",
    "api/v1/secrets",
    "api/v1/services",
    "api/v1/serviceaccounts",
    "api/v1/persistentvolumeclaims",
    "api/v1/pods",
    "api/v1/limitranges",
    "api/v1/resourcequotas",
    "api/v1/replicationcontrollers",
    "apis/apps/v1/deployments",
    "apis/apps/v1/statefulsets",
    "apis/apps/v1/daemonsets",
    "apis/apps/v1/replicasets",
    "apis/batch/v1/jobs",
    "apis/batch/v1/cronjobs",
    "apis/autoscaling/v2/horizontalpodautoscalers",
    "apis/networking.k8s.io/v1/ingresses",
    "apis/networking.k8s.io/v1/networkpolicies",
    "apis/policy/v1/poddisruptionbudgets",
    "apis/rbac.authorization.k8s.io/v1/roles",
    "apis/rbac.authorization.k8s.io/v1/rolebindings",
    "apis/coordination.k8s.io/v1/leases",
    "apis/discovery.k8s.io/v1/endpointslices",
];

/// Lists of the kinds that live beside namespaces; those whose names hold the side's namespace are the side's.
pub const CLUSTER_SCOPED: [&str; 7] = [
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "/apis/scheduling.k8s.io/v1/priorityclasses",
    "/apis/storage.k8s.io/v1/storageclasses",
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
    "/api/v1/namespaces",
];

/// What [`NAMESPACED`] is called in the other texts, so that nothing tells the sides apart.
const ANY: &str = "NAMESPACE";

/// Every object of a side by kind and name, normalised.
pub fn read(cluster: &Cluster) -> BTreeMap<String, Value> {
    let own = cluster.namespace.as_str();
    let objects = as_they_are(cluster).into_iter().map(|object| {
        let namespace = text(&object["metadata"]["namespace"]).replace(own, ANY);
        let place =
            if namespace.is_empty() || namespace == ANY { String::new() } else { format!(" in {namespace}") };
        let key = format!("{}/{}{place}", text(&object["kind"]), name(&object).replace(own, ANY));
        (key, normalise(object, own))
    });
    objects.collect()
}

/// Every object of a side as the server has it; one that is on its way out counts as gone.
pub fn as_they_are(cluster: &Cluster) -> Vec<Value> {
    let own = cluster.namespace.as_str();
    let mut found = Vec::new();
    let mut namespaces = Vec::new();
    let mut lists: Vec<String> = Vec::new();
    for path in CLUSTER_SCOPED {
        let objects = list(cluster, path).into_iter().filter(|object| name(object).contains(own));
        for object in objects {
            match text(&object["kind"]) {
                "Namespace" => namespaces.push(name(&object).to_owned()),
                "CustomResourceDefinition" => lists.extend(list_of_custom(&object)),
                _ => {}
            }
            found.push(object);
        }
    }
    for namespace in &namespaces {
        let paths = NAMESPACED.iter().map(|path| (*path).to_owned()).chain(lists.iter().cloned());
        for path in paths {
            let (group, resource) = path.rsplit_once('/').unwrap();
            found.extend(list(cluster, &format!("/{group}/namespaces/{namespace}/{resource}")));
        }
    }
    found.retain(|object| is_of_a_release(object) && object["metadata"]["deletionTimestamp"].is_null());
    found
}

/// Where the objects of a definition are listed, without the namespace.
fn list_of_custom(definition: &Value) -> Option<String> {
    let spec = &definition["spec"];
    let versions = spec["versions"].as_array()?;
    let stored = versions.iter().find(|version| version["storage"] == true)?;
    let is_ready = definition["status"]["conditions"].as_array()?.iter();
    is_ready
        .filter(|condition| condition["type"] == "Established" && condition["status"] == "True")
        .count()
        .checked_sub(1)?;
    Some(format!(
        "apis/{}/{}/{}",
        text(&spec["group"]),
        text(&stored["name"]),
        text(&spec["names"]["plural"])
    ))
}

/// The objects of a list, with kind and apiVersion, which lists leave out of their items.
fn list(cluster: &Cluster, path: &str) -> Vec<Value> {
    let answer = match cluster.send(Method::GET, path, "application/json", &Value::Null) {
        Ok(answer) => answer,
        // A definition that is being deleted has no list any more.
        Err(kube::Error::Api(status)) if status.code == 404 => return Vec::new(),
        Err(error) => panic!("cannot list {path}: {error}"),
    };
    let kind = text(&answer["kind"]).trim_end_matches("List").to_owned();
    let version = answer["apiVersion"].clone();
    let mut items = answer["items"].as_array().cloned().unwrap_or_default();
    for item in &mut items {
        item["kind"] = json!(kind);
        item["apiVersion"] = version.clone();
    }
    items
}

/// Whether an object could come from a chart: not from the cluster, a controller, Helm's storage, or our lock and journal.
fn is_of_a_release(object: &Value) -> bool {
    let is_record = object["type"] == "helm.sh/release.v1" || object["metadata"]["labels"]["owner"] == "helm";
    let is_of_an_operation = name(object).starts_with("kubectl-rollback.")
        && object["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "kubectl-rollback";
    let is_derived = object["metadata"]["ownerReferences"].is_array();
    let is_of_the_cluster = matches!(
        (text(&object["kind"]), name(object)),
        ("ConfigMap", "kube-root-ca.crt") | ("ServiceAccount", "default")
    );
    !is_record && !is_of_an_operation && !is_derived && !is_of_the_cluster
}

/// An object without what differs between two sides that were treated alike, and with lists as maps where they are
/// lists of named things.
pub fn normalise(mut object: Value, namespace: &str) -> Value {
    let metadata = object["metadata"].as_object_mut().unwrap();
    for field in [
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "managedFields",
        "selfLink",
        "namespace",
    ] {
        metadata.remove(field);
    }
    // A Job takes its template's labels over, and with them its own uid; a Pod those of its node.
    if let Some(labels) = metadata.get_mut("labels").and_then(Value::as_object_mut) {
        labels.retain(|key, _| !key.ends_with("controller-uid") && !key.starts_with("topology."));
    }
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.retain(|key, _| !is_of_a_controller(key));
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
    }
    object.as_object_mut().unwrap().remove("status");
    let kind = text(&object["kind"]).to_owned();
    if let Some(spec) = object["spec"].as_object_mut() {
        normalise_spec(&kind, spec);
    }
    let text = object.to_string().replace(namespace, ANY);
    with_keyed_lists(serde_json::from_str(&text).unwrap())
}

/// Annotations in which others note something about an object.
pub fn is_of_a_controller(annotation: &str) -> bool {
    let prefixes = [
        "deployment.kubernetes.io/",
        "deprecated.daemonset.template.generation",
        "pv.kubernetes.io/",
        "volume.",
    ];
    annotation == "kubectl.kubernetes.io/last-applied-configuration"
        || prefixes.iter().any(|prefix| annotation.starts_with(prefix))
}

/// Fields of a specification that the server or a controller fills in.
pub fn server_set(kind: &str) -> &'static [&'static str] {
    match kind {
        "Service" => &["clusterIP", "clusterIPs", "healthCheckNodePort"],
        "PersistentVolumeClaim" => &["volumeName"],
        "Pod" => &["nodeName", "volumes", "tolerations"],
        "Namespace" => &["finalizers"],
        _ => &[],
    }
}

/// Whether a value was asked for, as a headless Service is, and not given.
pub fn is_asked_for(value: &Value) -> bool {
    *value == "None" || *value == json!(["None"])
}

fn normalise_spec(kind: &str, spec: &mut Map<String, Value>) {
    for field in server_set(kind) {
        if spec.get(*field).is_some_and(|value| !is_asked_for(value)) {
            spec.remove(*field);
        }
    }
    if kind == "Service" {
        for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
            port.as_object_mut().unwrap().remove("nodePort");
        }
    }
    if kind == "Job" {
        spec.remove("selector");
        if let Some(labels) = spec["template"]["metadata"]["labels"].as_object_mut() {
            labels.retain(|key, _| !key.ends_with("controller-uid"));
        }
    }
    if kind == "Pod" {
        for container in spec["containers"].as_array_mut().unwrap() {
            container.as_object_mut().unwrap().remove("volumeMounts");
        }
    }
    let restarted = "/template/metadata/annotations/kubectl.kubernetes.io~1restartedAt";
    let mut own = Value::Object(std::mem::take(spec));
    if let Some(time) = own.pointer_mut(restarted) {
        *time = json!("TIME");
    }
    spec.clone_from(own.as_object().unwrap());
}

/// The fields whose items are known by a key, and the key. Others are compared as they stand.
fn key_of(field: &str) -> &'static [&'static str] {
    match field {
        "containers" | "initContainers" | "env" | "volumes" | "imagePullSecrets" => &["name"],
        "volumeMounts" => &["mountPath"],
        "ports" => &["port", "containerPort", "protocol"],
        "hostAliases" => &["ip"],
        "topologySpreadConstraints" => &["topologyKey", "whenUnsatisfiable"],
        _ => &[],
    }
}

fn with_keyed_lists(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(field, value)| {
                let value = with_keyed_lists(value);
                let keyed = by_key(key_of(&field), &value);
                (field, keyed.unwrap_or(value))
            });
            Value::Object(fields.collect())
        }
        Value::Array(items) => items.into_iter().map(with_keyed_lists).collect(),
        other => other,
    }
}

/// A list as a map of its items; nothing where it has no key or one twice.
fn by_key(keys: &[&str], list: &Value) -> Option<Value> {
    let items = list.as_array().filter(|_| !keys.is_empty())?;
    let mut map = Map::new();
    for item in items {
        let words: Vec<String> = keys
            .iter()
            .filter_map(|key| item.get(key))
            .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            .collect();
        if map.insert(format!("[{}]", words.join("/")), item.clone()).is_some() {
            return None;
        }
    }
    Some(Value::Object(map))
}

fn name(object: &Value) -> &str {
    text(&object["metadata"]["name"])
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
