//! What is sent for an object, as plain JSON. Pure.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::ObjectTarget;

/// The target as it is applied: with its namespace, the replicas of an autoscaled workload, and without what only the
/// server may say.
pub fn desired(target: &ObjectTarget<'_>) -> Value {
    let mut object = clean(target.target);
    if let Some(namespace) = target.namespace {
        object["metadata"]["namespace"] = json!(namespace);
    }
    object["metadata"]["name"] = json!(target.name);
    if let (Some(number), Some(replicas)) = (target.replicas, object.pointer_mut("/spec/replicas"))
        && !replicas.is_null()
    {
        *replicas = json!(number);
    }
    object
}

/// A manifest without what only the server may say.
pub fn clean(manifest: &Value) -> Value {
    let mut object = manifest.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
        let metadata = fields.entry("metadata").or_insert_with(|| json!({}));
        if let Some(metadata) = metadata.as_object_mut() {
            for server_set in ["managedFields", "resourceVersion", "uid", "generation", "selfLink"] {
                metadata.remove(server_set);
            }
            metadata.remove("creationTimestamp");
        }
    }
    without_null_timestamps(&mut object);
    if object["kind"] == "Secret" && object["apiVersion"] == "v1" {
        encode_string_data(&mut object);
    }
    object
}

/// Writes `stringData` of a Secret as the `data` that it is stored as: a field that is never stored can be owned, but
/// not taken out again, so that a key dropped from it would stay.
fn encode_string_data(secret: &mut Value) {
    let Some(fields) = secret.as_object_mut() else { return };
    let Some(Value::Object(texts)) = fields.remove("stringData") else { return };
    let data = fields.entry("data").or_insert_with(|| json!({}));
    if data.is_null() {
        *data = json!({});
    }
    if let Some(data) = data.as_object_mut() {
        for (key, text) in texts {
            if let Some(text) = text.as_str() {
                data.insert(key, json!(STANDARD.encode(text)));
            }
        }
    }
}

/// Generators of manifests write `creationTimestamp: null` into the metadata of templates too.
fn without_null_timestamps(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut)
                && metadata.get("creationTimestamp").is_some_and(Value::is_null)
            {
                metadata.remove("creationTimestamp");
            }
            fields.values_mut().for_each(without_null_timestamps);
        }
        Value::Array(items) => items.iter_mut().for_each(without_null_timestamps),
        _ => {}
    }
}

/// Fields that no second object may have, by kind, each as the path of names to it; `*` is every item of a list.
const UNIQUE: [(&str, &[&str]); 7] = [
    ("Service", &["spec", "clusterIP"]),
    ("Service", &["spec", "clusterIPs"]),
    ("Service", &["spec", "loadBalancerIP"]),
    ("Service", &["spec", "healthCheckNodePort"]),
    ("Service", &["spec", "ports", "*", "nodePort"]),
    ("PersistentVolume", &["spec", "claimRef"]),
    ("PersistentVolumeClaim", &["spec", "volumeName"]),
];

/// The object under another name, without what cannot exist twice; and the paths in it that were left out, with the
/// index of the item in place of `*`.
pub fn scratch(object: &Value, name: &str) -> (Value, Vec<Vec<String>>) {
    let mut scratch = object.clone();
    scratch["metadata"]["name"] = json!(name);
    let kind = object["kind"].as_str().unwrap_or_default().to_owned();
    let mut left_out = Vec::new();
    for (_, path) in UNIQUE.iter().filter(|(of, _)| *of == kind) {
        take(&mut scratch, path, &mut Vec::new(), &mut left_out);
    }
    (scratch, left_out)
}

fn take(value: &mut Value, path: &[&str], walked: &mut Vec<String>, taken: &mut Vec<Vec<String>>) {
    let Some((name, rest)) = path.split_first() else { return };
    if *name == "*" {
        for (index, item) in value.as_array_mut().into_iter().flatten().enumerate() {
            walked.push(index.to_string());
            take(item, rest, walked, taken);
            walked.pop();
        }
        return;
    }
    walked.push((*name).to_owned());
    if rest.is_empty() {
        // A headless Service says so, and others may too.
        let is_free = |value: &Value| *value == json!("None") || *value == json!(["None"]);
        if let Some(fields) = value.as_object_mut()
            && fields.get(*name).is_some_and(|value| !is_free(value))
        {
            fields.remove(*name);
            taken.push(walked.clone());
        }
    } else if let Some(below) = value.get_mut(*name) {
        take(below, rest, walked, taken);
    }
    walked.pop();
}

/// The target as it replaces the live object (`--force-replace`): with what the server once set and lets nobody
/// change, and with what others need to find their object again.
pub fn replacement(desired: &Value, live: &Value) -> Value {
    let mut object = desired.clone();
    for name in ["uid", "resourceVersion", "creationTimestamp", "finalizers", "ownerReferences"] {
        carry(&mut object, live, &["metadata", name]);
    }
    carry_annotations(&mut object, live);
    carry(&mut object, live, &["status"]);
    carry(&mut object, live, &["spec", "replicas"]);
    match object["kind"].as_str().unwrap_or_default() {
        "Service" => carry_service(&mut object, live),
        "PersistentVolumeClaim" => {
            carry(&mut object, live, &["spec", "volumeName"]);
            carry(&mut object, live, &["spec", "storageClassName"]);
            carry(&mut object, live, &["spec", "volumeMode"]);
        }
        "PersistentVolume" => carry(&mut object, live, &["spec", "claimRef"]),
        "ServiceAccount" => carry(&mut object, live, &["secrets"]),
        "Job" => {
            carry(&mut object, live, &["spec", "selector"]);
            for label in JOB_LABELS {
                carry(&mut object, live, &["spec", "template", "metadata", "labels", label]);
            }
        }
        _ => {}
    }
    object
}

/// Labels by which a Job finds its pods.
const JOB_LABELS: [&str; 4] =
    ["batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name", "controller-uid", "job-name"];

/// Prefixes of annotations by which controllers remember what they did.
const CONTROLLER_ANNOTATIONS: [&str; 4] =
    ["deployment.kubernetes.io/", "pv.kubernetes.io/", "volume.kubernetes.io/", "volume.beta.kubernetes.io/"];

/// Takes a live value over where the object has none.
fn carry(object: &mut Value, live: &Value, path: &[&str]) {
    let Some(value) = path.iter().try_fold(live, |value, name| value.get(*name)) else { return };
    let Some((last, parents)) = path.split_last() else { return };
    let mut place = object;
    for name in parents {
        let Some(fields) = place.as_object_mut() else { return };
        place = fields.entry(*name).or_insert_with(|| json!({}));
    }
    if let Some(fields) = place.as_object_mut()
        && fields.get(*last).is_none_or(Value::is_null)
    {
        fields.insert((*last).to_owned(), value.clone());
    }
}

fn carry_annotations(object: &mut Value, live: &Value) {
    let annotations = live.pointer("/metadata/annotations").and_then(Value::as_object);
    for name in annotations.into_iter().flat_map(Map::keys) {
        if CONTROLLER_ANNOTATIONS.iter().any(|prefix| name.starts_with(prefix)) {
            carry(object, live, &["metadata", "annotations", name]);
        }
    }
}

fn carry_service(object: &mut Value, live: &Value) {
    let kind = |service: &Value| service["spec"]["type"].as_str().unwrap_or("ClusterIP").to_owned();
    let (before, after) = (kind(live), kind(object));
    if after == "ExternalName" || before == "ExternalName" {
        return;
    }
    let is_same_address =
        object["spec"].get("clusterIP").is_none_or(|address| *address == live["spec"]["clusterIP"]);
    if is_same_address {
        for name in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            carry(object, live, &["spec", name]);
        }
    }
    let has_node_ports = |kind: &str| matches!(kind, "NodePort" | "LoadBalancer");
    if !has_node_ports(&before) || !has_node_ports(&after) {
        return;
    }
    if object["spec"]["externalTrafficPolicy"] == "Local" {
        carry(object, live, &["spec", "healthCheckNodePort"]);
    }
    let live_ports = live["spec"]["ports"].as_array().cloned().unwrap_or_default();
    for port in object.pointer_mut("/spec/ports").and_then(Value::as_array_mut).into_iter().flatten() {
        let protocol = |port: &Value| port["protocol"].as_str().unwrap_or("TCP").to_owned();
        let same =
            live_ports.iter().find(|live| live["port"] == port["port"] && protocol(live) == protocol(port));
        if let Some(live) = same {
            carry(port, live, &["nodePort"]);
        }
    }
}

/// The body of an apply: the API server reads it as YAML 1.1, in which some signs that JSON leaves as they are break a
/// line, so that blanks beside them are lost, or may not stand at all. They only ever stand within strings, where an
/// escape means the same.
pub fn yaml_safe(body: Vec<u8>) -> Vec<u8> {
    let is_unsafe = |sign: char| {
        matches!(sign, '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
    };
    match std::str::from_utf8(&body) {
        Ok(text) if text.contains(is_unsafe) => {
            let mut safe = String::with_capacity(body.len());
            for sign in text.chars() {
                if is_unsafe(sign) {
                    let _ = write!(safe, "\\u{:04x}", u32::from(sign));
                } else {
                    safe.push(sign);
                }
            }
            safe.into_bytes()
        }
        _ => body,
    }
}

#[cfg(test)]
mod yaml_tests {
    use super::*;

    #[test]
    fn signs_that_yaml_breaks_lines_at_are_escaped() {
        let object = json!({"a": "ü \u{2028} 🦀 \u{2029} \u{85} \u{7f} \u{feff}", "b\u{2028}": "<&> \n"});
        let body = yaml_safe(serde_json::to_vec(&object).unwrap());
        let text = String::from_utf8(body.clone()).unwrap();
        assert!(text.contains("ü \\u2028 🦀 \\u2029 \\u0085 \\u007f \\ufeff"), "{text}");
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), object);
        let plain = serde_json::to_vec(&json!({"a": "ü 🦀"})).unwrap();
        assert_eq!(yaml_safe(plain.clone()), plain);
    }
}
