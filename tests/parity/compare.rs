//! Where two sides differ: pure, from the two pictures to a list of paths with both values.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::process::Output;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::records;
use crate::side::Side;

/// One place that is not the same.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// What and where: `Deployment/web spec.replicas`, `record 3 info.status`, `exit`.
    pub path: String,
    /// Helm's side; nothing where it lacks it.
    pub helm: Option<Value>,
    /// Our side; nothing where it lacks it.
    pub ours: Option<Value>,
}

impl fmt::Display for Found {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |value: &Option<Value>| {
            let text = value.as_ref().map_or_else(|| "-".to_owned(), Value::to_string);
            if text.chars().count() > 300 { text.chars().take(300).collect::<String>() + "…" } else { text }
        };
        write!(formatter, "{}: Helm {}, ours {}", self.path, show(&self.helm), show(&self.ours))
    }
}

/// Everything about a side that is compared, by what it is.
pub fn picture(side: &Side, rollback: &Output) -> BTreeMap<String, Value> {
    let mut parts = crate::objects::read(&side.cluster);
    parts.insert("exit".to_owned(), json!(if rollback.status.success() { "success" } else { "failure" }));
    let records = records::read(&side.cluster);
    let first = records.first().map(|(_, body)| body["info"]["first_deployed"].clone());
    for (object, body) in &records {
        let mut record = record_body(body, first.as_ref());
        record["status"] = json!(records::status(object, body));
        record["labels"] = labels(object);
        record["type"] = object["type"].clone();
        let text = record.to_string().replace(side.namespace(), "NAMESPACE");
        parts.insert(format!("record {}", body["version"]), serde_json::from_str(&text).unwrap());
    }
    parts
}

fn labels(object: &Value) -> Value {
    let mut labels = object["metadata"]["labels"].clone();
    // The status is compared apart, together with that of the body.
    for label in ["createdAt", "modifiedAt", "status"] {
        labels.as_object_mut().unwrap().remove(label);
    }
    labels
}

/// A body without times. What is told apart is whether a time is the release's first, none, or another.
fn record_body(body: &Value, first: Option<&Value>) -> Value {
    let mut body = body.clone();
    let info = body["info"].as_object_mut().unwrap();
    info.remove("status");
    for (field, value) in info.iter_mut() {
        if ["first_deployed", "last_deployed", "deleted"].contains(&field.as_str()) {
            *value = json!(when(value, first));
        }
    }
    // Helm 3 writes an empty time where Helm 4 writes none.
    if info.get("deleted").is_some_and(|time| time == "NEVER") {
        info.remove("deleted");
    }
    // Why a rollback failed is said in words of one's own.
    if let Some((start, _)) = info["description"].as_str().and_then(|text| text.split_once(" failed: ")) {
        info["description"] = json!(format!("{start} failed"));
    }
    let mut hooks = Map::new();
    for mut hook in body["hooks"].as_array().cloned().unwrap_or_default() {
        if let Some(run) = hook["last_run"].as_object_mut() {
            for field in ["started_at", "completed_at"] {
                if let Some(time) = run.get_mut(field) {
                    *time = json!(when(time, None));
                }
            }
        }
        hooks.insert(format!("[{} {}]", hook["kind"], hook["name"]).replace('"', ""), hook);
    }
    if !hooks.is_empty() {
        body["hooks"] = Value::Object(hooks);
    }
    if let Some(chart) = body["chart"].as_object_mut() {
        chart.retain(|field, _| !field.ends_with("modtime"));
    }
    for list in ["templates", "files"] {
        for file in body["chart"][list].as_array_mut().into_iter().flatten() {
            file.as_object_mut().unwrap().remove("modtime");
            let plain = file["data"].as_str().and_then(|data| STANDARD.decode(data).ok());
            if let Some(text) = plain.and_then(|bytes| String::from_utf8(bytes).ok()) {
                file["data"] = json!(text);
            }
        }
    }
    body
}

fn when(time: &Value, first: Option<&Value>) -> &'static str {
    match time.as_str() {
        Some("" | "0001-01-01T00:00:00Z") => "NEVER",
        _ if Some(time) == first => "FIRST",
        _ => "TIME",
    }
}

/// Where two pictures differ, in the order of their paths.
pub fn differences(helm: &BTreeMap<String, Value>, ours: &BTreeMap<String, Value>) -> Vec<Found> {
    let names: BTreeSet<&String> = helm.keys().chain(ours.keys()).collect();
    let mut found = Vec::new();
    for name in names {
        walk(name, "", helm.get(name), ours.get(name), &mut found);
    }
    found
}

/// `head` is the object, `inner` the path of fields within it.
fn walk(head: &str, inner: &str, helm: Option<&Value>, ours: Option<&Value>, found: &mut Vec<Found>) {
    match (helm, ours) {
        (Some(Value::Object(left)), Some(Value::Object(right))) => {
            let fields: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
            for field in fields {
                let sign = if inner.is_empty() || field.starts_with('[') { "" } else { "." };
                walk(head, &format!("{inner}{sign}{field}"), left.get(field), right.get(field), found);
            }
        }
        (helm, ours) if helm == ours => {}
        (helm, ours) => {
            let path = if inner.is_empty() { head.to_owned() } else { format!("{head} {inner}") };
            found.push(Found { path, helm: helm.cloned(), ours: ours.cloned() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(object: Value) -> BTreeMap<String, Value> {
        BTreeMap::from([("Deployment/web".to_owned(), crate::objects::normalise(object, "ns-one"))])
    }

    fn paths(left: Value, right: Value) -> Vec<String> {
        differences(&picture(left), &picture(right)).into_iter().map(|found| found.path).collect()
    }

    fn deployment(containers: &Value) -> Value {
        json!({"kind": "Deployment", "metadata": {"name": "web"}, "spec": {"template": {"spec": {"containers": containers}}}})
    }

    #[test]
    fn order_of_named_things_does_not_matter_but_their_content_does() {
        let (a, b) = (json!({"name": "a", "image": "x"}), json!({"name": "b", "image": "y"}));
        assert_eq!(paths(deployment(&json!([a, b])), deployment(&json!([b, a]))), [""; 0]);
        let c = json!({"name": "b", "image": "z"});
        assert_eq!(
            paths(deployment(&json!([a, b])), deployment(&json!([a, c]))),
            ["Deployment/web spec.template.spec.containers[b].image"]
        );
        assert_eq!(
            paths(deployment(&json!([a, b])), deployment(&json!([a]))),
            ["Deployment/web spec.template.spec.containers[b]"]
        );
    }

    #[test]
    fn order_of_arguments_matters() {
        let with = |arguments: Value| deployment(&json!([{"name": "a", "args": arguments}]));
        assert_eq!(
            paths(with(json!(["x", "y"])), with(json!(["y", "x"]))),
            ["Deployment/web spec.template.spec.containers[a].args"]
        );
    }

    #[test]
    fn what_is_never_equal_is_left_out() {
        let object = |uid: &str, namespace: &str, annotation: &str| {
            json!({"kind": "Deployment", "metadata": {"name": "web", "uid": uid, "namespace": namespace,
                "annotations": {"deployment.kubernetes.io/revision": uid, "note": annotation}}, "spec": {}, "status": {"x": uid}})
        };
        assert_eq!(paths(object("1", "ns-one", "a"), object("2", "ns-one", "a")), [""; 0]);
        assert_eq!(
            paths(object("1", "ns-one", "a"), object("1", "ns-one", "b")),
            ["Deployment/web metadata.annotations.note"]
        );
        assert_eq!(paths(object("1", "ns-one", "in ns-one"), object("1", "ns-one", "in NAMESPACE")), [""; 0]);
    }

    #[test]
    fn records_and_places_are_named_before_their_fields() {
        let of = |key: &str, value: Value| BTreeMap::from([(key.to_owned(), value)]);
        let found = differences(
            &of("record 3", json!({"info": {"status": "a"}})),
            &of("record 3", json!({"info": {"status": "b"}})),
        );
        assert_eq!(found[0].to_string(), r#"record 3 info.status: Helm "a", ours "b""#);
        let found = differences(
            &of("ConfigMap/a in x", json!({"data": {"k": "1"}})),
            &of("ConfigMap/a in x", json!({"data": {}})),
        );
        assert_eq!(found[0].path, "ConfigMap/a in x data.k");
        let found = differences(&of("exit", json!("success")), &BTreeMap::new());
        assert_eq!(found[0].to_string(), r#"exit: Helm "success", ours -"#);
    }
}
