//! How an operation is undone: for each object that it may have changed, what brings back what was there, and what somebody
//! else has changed since and is therefore left alone. Pure.

use serde_json::{Map, Value, json};

use super::WorkloadPlan;
use crate::discover::Workload;
use crate::discover::workload::{REPLICAS_BEFORE, SUSPEND_BEFORE};
use crate::execute::managed_fields::FIELD_MANAGER;
use crate::journal::restore::Restore;

/// What brings an object back.
#[derive(Debug, Clone, PartialEq)]
pub enum Undo {
    /// It is as it was.
    Nothing,
    /// A JSON Patch of a workload.
    Patch(Value),
    /// The object whole, over the version that was read.
    Write(Value),
    /// It was deleted: it is made again.
    Create(Value),
    /// It was made: it is deleted.
    Delete,
}

/// What is to be done, and what is left alone because somebody else has changed it since.
#[derive(Debug, Clone, PartialEq)]
pub struct Undoing {
    /// What brings it back.
    pub undo: Undo,
    /// What is left alone.
    pub foreign: Vec<String>,
}

/// Undoes what an emergency has written to a workload.
pub fn of_workload(planned: &WorkloadPlan, live: &Workload) -> Undoing {
    if live.uid != planned.uid {
        return foreign("it was deleted and made anew");
    }
    let mut operations = vec![json!({"op": "test", "path": "/metadata/uid", "value": planned.uid})];
    let mut left = Vec::new();
    for change in &planned.containers {
        let Some(container) = live.containers.iter().find(|container| container.name == change.name) else {
            left.push(format!("container {} is gone", change.name));
            continue;
        };
        if container.image == change.from {
            continue;
        }
        if container.image != change.to.to_string() {
            left.push(format!("container {} has image {}", change.name, container.image));
            continue;
        }
        let list = if container.init { "initContainers" } else { "containers" };
        let path = format!("{}/spec/{list}/{}", planned.workload.kind.template_pointer(), container.index);
        operations.extend([
            json!({"op": "test", "path": format!("{path}/name"), "value": container.name}),
            json!({"op": "test", "path": format!("{path}/image"), "value": container.image}),
            json!({"op": "replace", "path": format!("{path}/image"), "value": change.from}),
        ]);
    }
    operations.extend(replicas(planned, live, &mut left));
    let undo = if operations.len() > 1 { Undo::Patch(Value::Array(operations)) } else { Undo::Nothing };
    Undoing { undo, foreign: left }
}

fn replicas(planned: &WorkloadPlan, live: &Workload, left: &mut Vec<String>) -> Vec<Value> {
    let note = |name: &str| format!("/metadata/annotations/{}", name.replace('/', "~1"));
    let mut operations = Vec::new();
    if let Some(before) = live.annotations.get(SUSPEND_BEFORE) {
        operations.push(json!({"op": "add", "path": "/spec/suspend", "value": before == "true"}));
        operations.push(json!({"op": "remove", "path": note(SUSPEND_BEFORE)}));
    }
    let Some(replicas) = planned.replicas else { return operations };
    if let Some(before) = live.remembered_replicas() {
        // Stopped by us, or by a run before us: never left at zero.
        operations.push(json!({"op": "add", "path": "/spec/replicas", "value": before}));
        operations.push(json!({"op": "remove", "path": note(REPLICAS_BEFORE)}));
    } else if live.replicas == Some(replicas.after) && replicas.after != replicas.before {
        operations.push(json!({"op": "test", "path": "/spec/replicas", "value": replicas.after}));
        operations.push(json!({"op": "add", "path": "/spec/replicas", "value": replicas.before}));
    } else if live.replicas != Some(replicas.before) {
        let number = live.replicas.unwrap_or_default();
        left.push(format!("it has {number} replicas, where there were {}", replicas.before));
    }
    operations
}

fn foreign(why: &str) -> Undoing {
    Undoing { undo: Undo::Nothing, foreign: vec![why.to_owned()] }
}

/// Undoes what a rollback has done to an object. `was_sent` tells whether the operation may have deleted (or created) it,
/// `is_ours` whether the live object belongs to the release.
pub fn of_object(restore: &Restore, live: Option<&Value>, was_sent: bool, is_ours: bool) -> Undoing {
    let nothing = Undoing { undo: Undo::Nothing, foreign: Vec::new() };
    match (&restore.before, live) {
        (None, None) => nothing,
        (None, Some(_)) if !was_sent => nothing,
        (None, Some(_)) if !is_ours => foreign("it belongs to somebody else"),
        (None, Some(_)) => Undoing { undo: Undo::Delete, foreign: Vec::new() },
        (Some(_), None) if !was_sent => foreign("somebody else has deleted it"),
        (Some(before), None) => {
            let mut object = before.clone();
            if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
                for field in ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"] {
                    metadata.remove(field);
                }
            }
            if let Some(fields) = object.as_object_mut() {
                fields.remove("status");
            }
            Undoing { undo: Undo::Create(object), foreign: Vec::new() }
        }
        (Some(before), Some(live)) => {
            // Without a forecast there is nothing to tell ours from somebody else's by.
            let after = restore.after.as_ref().unwrap_or(live);
            let (object, foreign) = put_back(before, after, live);
            let undo = if object == *live { Undo::Nothing } else { Undo::Write(object) };
            Undoing { undo, foreign }
        }
    }
}

/// What the API server and controllers keep of an object themselves.
const BOOKKEEPING: [&str; 6] =
    ["managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink"];
/// Annotations that controllers write.
const CONTROLLERS: [&str; 1] = ["deployment.kubernetes.io/revision"];

/// The live object with everything that is as the operation left it put back to what it was before. Names the fields that
/// are neither.
pub fn put_back(before: &Value, after: &Value, live: &Value) -> (Value, Vec<String>) {
    let mut left = Vec::new();
    let merged = merge(Some(before), Some(after), Some(live), "", &mut left);
    (merged.unwrap_or_default(), left)
}

fn merge(
    before: Option<&Value>,
    after: Option<&Value>,
    live: Option<&Value>,
    path: &str,
    left: &mut Vec<String>,
) -> Option<Value> {
    if live == before {
        return live.cloned();
    }
    if let (Some(Value::Object(before)), Some(Value::Object(after)), Some(Value::Object(live))) =
        (before, after, live)
    {
        let mut keys: Vec<&String> = before.keys().chain(after.keys()).chain(live.keys()).collect();
        keys.sort();
        keys.dedup();
        let mut merged = Map::new();
        for key in keys {
            let is_theirs = match path {
                "" => key == "status" || key == "apiVersion",
                "metadata" => BOOKKEEPING.contains(&key.as_str()),
                "metadata.annotations" => CONTROLLERS.contains(&key.as_str()),
                _ => false,
            };
            let value = if is_theirs {
                live.get(key).cloned()
            } else {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                merge(before.get(key), after.get(key), live.get(key), &path, left)
            };
            if let Some(value) = value {
                merged.insert(key.clone(), value);
            }
        }
        return Some(Value::Object(merged));
    }
    if live == after {
        return before.cloned();
    }
    left.push(path.to_owned());
    live.cloned()
}

/// The managed fields of before on an object as it is now: status entries stay as they are, and so do those of managers
/// that came in since; ours goes.
pub fn managed_fields(before: &Value, live: &Value) -> Option<Value> {
    let entries = |object: &Value| {
        object.pointer("/metadata/managedFields").and_then(Value::as_array).cloned().unwrap_or_default()
    };
    let is_main = |entry: &Value| entry.get("subresource").is_none_or(|name| name == "");
    let saved = entries(before);
    if saved.is_empty() {
        return None;
    }
    let now = entries(live);
    let known = |entry: &Value| saved.iter().any(|old| old["manager"] == entry["manager"]);
    let mut restored: Vec<Value> = saved.iter().filter(|entry| is_main(entry)).cloned().collect();
    restored.extend(
        now.iter()
            .filter(|entry| !is_main(entry) || (!known(entry) && entry["manager"] != FIELD_MANAGER))
            .cloned(),
    );
    (restored != now).then_some(Value::Array(restored))
}
