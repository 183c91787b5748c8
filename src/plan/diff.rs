//! The differences between two states of one object, field by field, as people speak of them: list items by their name,
//! secrets without their value. Pure.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Map, Value};

/// Fields that the server keeps by itself.
const KEPT_BY_THE_SERVER: [&str; 7] = [
    "managedFields",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "uid",
    "selfLink",
    "deletionTimestamp",
];

/// Annotations in which the server or a controller counts the versions of a workload's template.
const COUNTERS: [&str; 2] = ["deployment.kubernetes.io/revision", "deprecated.daemonset.template.generation"];

/// What names an item of a list, in the order in which it is tried.
const ITEM_KEYS: [&str; 7] = ["name", "mountPath", "containerPort", "port", "key", "ip", "type"];

/// Shown in place of a value that must not be seen.
pub const HIDDEN: &str = "(hidden)";

/// One field that will be different.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FieldChange {
    /// Where: `spec.template.spec.containers[todo-backend].image`.
    pub path: String,
    /// The value now; `null` where there is none.
    pub before: Value,
    /// The value after; `null` where there will be none.
    pub after: Value,
    /// Whether the revision that is deployed says something else than what runs: somebody changed it beside Helm.
    pub drift: bool,
}

/// The fields of `after` that differ from `before`. `current` is what the newest revision renders, by which drift is told.
pub fn fields(kind: &str, before: &Value, after: &Value, current: Option<&Value>) -> Vec<FieldChange> {
    let mut walk = Walk { kind, changes: Vec::new() };
    walk.compare(&mut Vec::new(), Some(before), Some(after), current);
    walk.changes
}

struct Walk<'a> {
    kind: &'a str,
    changes: Vec<FieldChange>,
}

impl Walk<'_> {
    fn compare(
        &mut self,
        path: &mut Vec<String>,
        before: Option<&Value>,
        after: Option<&Value>,
        current: Option<&Value>,
    ) {
        if before == after || is_kept_by_the_server(path) {
            return;
        }
        match (before, after) {
            (Some(Value::Object(old)), Some(Value::Object(new))) => {
                self.compare_maps(path, old, new, current);
            }
            (Some(Value::Array(old)), Some(Value::Array(new))) => match shared_key(old, new) {
                Some(key) => self.compare_items(path, key, old, new, current),
                None => self.push(path, before, after, current),
            },
            (None, Some(Value::Object(new))) if !new.is_empty() && path.len() < 2 => {
                self.compare_maps(path, &Map::new(), new, current);
            }
            (Some(Value::Object(old)), None) if !old.is_empty() && path.len() < 2 => {
                self.compare_maps(path, old, &Map::new(), current);
            }
            _ => self.push(path, before, after, current),
        }
    }

    fn compare_maps(
        &mut self,
        path: &mut Vec<String>,
        old: &Map<String, Value>,
        new: &Map<String, Value>,
        current: Option<&Value>,
    ) {
        let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for key in keys {
            path.push(key.clone());
            self.compare(path, old.get(key), new.get(key), current.and_then(|current| current.get(key)));
            path.pop();
        }
    }

    fn compare_items(
        &mut self,
        path: &mut Vec<String>,
        key: &str,
        old: &[Value],
        new: &[Value],
        current: Option<&Value>,
    ) {
        let find = |items: &[Value], name: &Value| items.iter().find(|item| item[key] == *name).cloned();
        let names = old.iter().chain(new).map(|item| &item[key]);
        let mut seen: Vec<&Value> = Vec::new();
        for name in names {
            if seen.contains(&name) {
                continue;
            }
            seen.push(name);
            let shown = name.as_str().map_or_else(|| name.to_string(), str::to_owned);
            let last = path.pop().unwrap_or_default();
            path.push(format!("{last}[{shown}]"));
            let current = current.and_then(Value::as_array).and_then(|items| find(items, name));
            self.compare(path, find(old, name).as_ref(), find(new, name).as_ref(), current.as_ref());
            path.pop();
            path.push(last);
        }
    }

    fn push(
        &mut self,
        path: &[String],
        before: Option<&Value>,
        after: Option<&Value>,
        current: Option<&Value>,
    ) {
        let hidden = is_secret(self.kind, path);
        let show = |value: Option<&Value>| match value {
            None | Some(Value::Null) => Value::Null,
            Some(_) if hidden => Value::from(HIDDEN),
            Some(value) => mask(value.clone()),
        };
        let drift = current.is_some() && current != before;
        self.changes.push(FieldChange {
            path: path.join("."),
            before: show(before),
            after: show(after),
            drift,
        });
    }
}

fn is_kept_by_the_server(path: &[String]) -> bool {
    match path {
        [first] => first == "status",
        [first, second] => first == "metadata" && KEPT_BY_THE_SERVER.contains(&second.as_str()),
        [first, second, third] => {
            first == "metadata" && second == "annotations" && COUNTERS.contains(&third.as_str())
        }
        _ => false,
    }
}

/// The key that tells the items of both lists apart.
fn shared_key(old: &[Value], new: &[Value]) -> Option<&'static str> {
    ITEM_KEYS.into_iter().find(|key| {
        [old, new].iter().all(|items| {
            let names: Vec<&Value> =
                items.iter().map(|item| item.get(*key).unwrap_or(&Value::Null)).collect();
            names.iter().enumerate().all(|(index, name)| !name.is_null() && !names[..index].contains(name))
        })
    })
}

/// Whether the value at a path must not be shown: contents of Secrets, copies of whole objects, values of variables with a
/// name that says so.
fn is_secret(kind: &str, path: &[String]) -> bool {
    let first = path.first().map(String::as_str);
    if kind == "Secret" && matches!(first, Some("data" | "stringData")) {
        return true;
    }
    if path.iter().any(|part| part == "kubectl.kubernetes.io/last-applied-configuration") {
        return true;
    }
    let is_named_so = |part: &String| crate::wait::redaction::is_secret_name(part);
    let is_variable = path.iter().any(|part| part.starts_with("env["));
    let is_data = kind == "ConfigMap" && matches!(first, Some("data" | "binaryData"));
    (is_variable || is_data) && path.iter().any(is_named_so) && !path.iter().any(|part| part == "valueFrom")
}

/// Masks what must not be shown inside of a value that is shown whole, such as an added container with its variables.
fn mask(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let names_a_secret =
                map.get("name").and_then(Value::as_str).is_some_and(crate::wait::redaction::is_secret_name);
            map.into_iter()
                .map(|(key, below)| {
                    let hide = key == "value" && names_a_secret && below.is_string();
                    let below = if hide { Value::from(HIDDEN) } else { mask(below) };
                    (key, below)
                })
                .collect::<Map<String, Value>>()
                .into()
        }
        Value::Array(items) => items.into_iter().map(mask).collect(),
        Value::String(text) => crate::wait::redaction::redact(&text).into(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn paths(kind: &str, before: &Value, after: &Value) -> Vec<String> {
        fields(kind, before, after, None)
            .into_iter()
            .map(|change| format!("{}: {} → {}", change.path, change.before, change.after))
            .collect()
    }

    fn container(name: &str, image: &str) -> Value {
        json!({"name": name, "image": image, "args": ["a", "b"]})
    }

    #[test]
    fn items_are_named_and_atomic_lists_are_shown_whole() {
        let before = json!({"metadata": {"generation": 1, "resourceVersion": "5"}, "status": {"x": 1},
            "spec": {"containers": [container("web", "web:1"), container("side", "s:1")]}});
        let mut after =
            json!({"metadata": {"generation": 2}, "spec": {"containers": [container("web", "web:2")]}});
        after["spec"]["containers"][0]["args"] = json!(["b"]);
        assert_eq!(
            paths("Deployment", &before, &after),
            [
                "spec.containers[web].args: [\"a\",\"b\"] → [\"b\"]",
                "spec.containers[web].image: \"web:1\" → \"web:2\"",
                "spec.containers[side]: {\"args\":[\"a\",\"b\"],\"image\":\"s:1\",\"name\":\"side\"} → null",
            ]
        );
    }

    #[test]
    fn what_is_only_counted_is_no_difference() {
        let counted =
            |annotation: &str, number: &str| json!({"metadata": {"annotations": {annotation: number}}});
        for annotation in COUNTERS {
            assert_eq!(fields("DaemonSet", &counted(annotation, "1"), &counted(annotation, "2"), None), []);
        }
        assert_eq!(fields("DaemonSet", &counted("release", "1"), &counted("release", "2"), None).len(), 1);
    }

    #[test]
    fn the_order_of_named_items_is_no_difference() {
        let before = json!({"spec": {"containers": [container("a", "1"), container("b", "1")]}});
        let after = json!({"spec": {"containers": [container("b", "1"), container("a", "1")]}});
        assert_eq!(fields("Deployment", &before, &after, None), []);
    }

    #[test]
    fn secrets_are_hidden_wherever_they_stand() {
        let shown = paths(
            "Secret",
            &json!({"data": {"password": "aHVudGVyMg=="}}),
            &json!({"data": {"password": "b3RoZXI=", "more": "eA=="}}),
        );
        assert_eq!(shown, ["data.more: null → \"(hidden)\"", "data.password: \"(hidden)\" → \"(hidden)\""]);
        let with_variable = |value: &str| json!({"spec": {"containers": [{"name": "web", "env": [{"name": "DB_PASSWORD", "value": value}]}]}});
        let shown = paths("Deployment", &with_variable("hunter2"), &with_variable("other"));
        assert_eq!(shown, ["spec.containers[web].env[DB_PASSWORD].value: \"(hidden)\" → \"(hidden)\""]);
        let none = json!({"spec": {"containers": []}});
        let shown = paths("Deployment", &none, &with_variable("hunter2")).join("\n");
        assert!(!shown.contains("hunter2") && shown.contains("DB_PASSWORD"), "{shown}");
        let applied = |text: &str| json!({"metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": text}}});
        let shown = paths("ConfigMap", &applied("hunter2"), &applied("x")).join("\n");
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn drift_is_what_the_newest_revision_did_not_say() {
        let object = |replicas: i64, image: &str| json!({"spec": {"replicas": replicas, "image": image}});
        let changes =
            fields("Deployment", &object(5, "web:2"), &object(2, "web:1"), Some(&object(2, "web:2")));
        let drift: Vec<(&str, bool)> =
            changes.iter().map(|change| (change.path.as_str(), change.drift)).collect();
        assert_eq!(drift, [("spec.image", false), ("spec.replicas", true)]);
    }
}
