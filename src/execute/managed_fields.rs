//! The hand-over of field ownership (design D2), as a pure rewrite of `metadata.managedFields`: our image paths go to
//! the release's own writer, our entry goes away, `spec.replicas` belongs to nobody (neither to us nor to whoever last
//! ran `kubectl scale`). Afterwards `helm upgrade` and `helm rollback` meet no conflict that the emergency caused.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::discover::workload::field_path;
use crate::plan::fields::{FieldSet, release_entry};
use crate::workload::WorkloadKind;

/// The field manager of our writes to workloads.
pub const FIELD_MANAGER: &str = "kubectl-rollback";

/// What the rewrite gives.
#[derive(Debug, Clone, PartialEq)]
pub struct HandedOver {
    /// The new `metadata.managedFields`.
    pub managed_fields: Vec<Value>,
    /// Managers other than the release's writer that own fields of the spec still, with those fields: Helm 4 will
    /// conflict where its manifest says something else.
    pub foreign: Vec<String>,
}

/// Rewrites an object's `managedFields`; `None` where there is nothing of ours. `previous_managers` names, by
/// container, who owned the image before us: it gets the field back where no writer of a release is found.
pub fn hand_over(
    kind: WorkloadKind,
    managed_fields: &[Value],
    previous_managers: &BTreeMap<String, String>,
) -> Option<HandedOver> {
    let (ours, mut others): (Vec<Value>, Vec<Value>) = managed_fields.iter().cloned().partition(is_ours);
    if ours.is_empty() {
        return None;
    }
    let writer = release_entry(&others);
    let mut given: Vec<(Option<usize>, Value)> = Vec::new();
    for entry in &ours {
        for (container, image) in image_paths(kind, &entry["fieldsV1"]) {
            let receiver = writer.or_else(|| {
                let previous = previous_managers.get(&container)?;
                others.iter().position(|entry| entry["manager"] == **previous && !is_status(entry))
            });
            given.push((receiver, image));
        }
    }
    for (receiver, image) in given {
        if let Some(entry) = receiver.and_then(|index| others.get_mut(index)) {
            merge(&mut entry["fieldsV1"], &image);
        }
    }
    if let Some(writer) = writer {
        let writer = others[writer]["manager"].clone();
        others.iter_mut().filter(|entry| entry["manager"] != writer).for_each(disown_replicas);
        others.retain(|entry| entry["fieldsV1"].as_object().is_none_or(|fields| !fields.is_empty()));
        let foreign = foreign_managers(&others, &writer);
        return Some(HandedOver { managed_fields: others, foreign });
    }
    Some(HandedOver { managed_fields: others, foreign: Vec::new() })
}

fn is_ours(entry: &Value) -> bool {
    entry["manager"] == FIELD_MANAGER
}

fn is_status(entry: &Value) -> bool {
    entry["subresource"].as_str().is_some_and(|subresource| !subresource.is_empty())
}

/// The image paths in a field set, each as a field set of its own, with the container's name.
fn image_paths(kind: WorkloadKind, fields: &Value) -> Vec<(String, Value)> {
    let pod =
        field_path(kind).iter().try_fold(fields, |fields, key| fields.get(*key)).unwrap_or(&Value::Null);
    let mut paths = Vec::new();
    for list in ["f:containers", "f:initContainers"] {
        for (key, item) in pod.get(list).and_then(Value::as_object).into_iter().flatten() {
            let name = key.strip_prefix("k:").and_then(|key| serde_json::from_str::<Value>(key).ok());
            let Some(name) = name.as_ref().and_then(|key| key["name"].as_str()) else {
                continue;
            };
            if item.get("f:image").is_some() {
                let mut path = json!({list: {key: {"f:image": {}}}});
                for parent in field_path(kind).iter().rev() {
                    path = json!({*parent: path});
                }
                paths.push((name.to_owned(), path));
            }
        }
    }
    paths
}

/// Adds the fields of a set to an entry's.
fn merge(into: &mut Value, from: &Value) {
    let mut fields = FieldSet::from_value(into.take());
    fields.union(&FieldSet::from_value(from.clone()));
    *into = fields.into_value();
}

/// Takes `spec.replicas` out of an entry, and the `spec` with it where nothing else is left.
fn disown_replicas(entry: &mut Value) {
    let mut fields = FieldSet::from_value(entry["fieldsV1"].take());
    fields.without(&FieldSet::path(&["f:spec", "f:replicas"]));
    entry["fieldsV1"] = fields.into_value();
}

/// Who beside the release's writer owns fields of a live object that a target does not set, with the names of those fields:
/// they stay. `keeps_replicas` says that the number of pods stays although the target renders one.
pub fn foreign_owners(live: &Value, target: Option<&Value>, keeps_replicas: bool) -> Vec<String> {
    let entries =
        live.pointer("/metadata/managedFields").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let writer = crate::plan::fields::release_writer(entries).map_or(Value::Null, Value::from);
    let mut target = target.cloned().unwrap_or_default();
    if keeps_replicas && let Some(spec) = target.get_mut("spec").and_then(Value::as_object_mut) {
        spec.remove("replicas");
    }
    let mut owners: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| is_foreign(entry, &writer)) {
        for part in ["spec", "data"] {
            let Some(fields) = entry["fieldsV1"].get(format!("f:{part}")) else { continue };
            let names = owners.entry(entry["manager"].as_str().unwrap_or("?")).or_default();
            unrendered(fields, target.get(part), part, names);
        }
    }
    owners.retain(|_, names| !names.is_empty());
    owners.into_iter().map(|(manager, names)| format!("{manager} ({})", first_three(names))).collect()
}

fn is_foreign(entry: &Value, writer: &Value) -> bool {
    entry["manager"] != *writer && entry["subresource"] != "status"
}

fn first_three(mut names: Vec<String>) -> String {
    names.sort();
    names.dedup();
    let shown = names.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > 3 { format!("{shown} and {} more", names.len() - 3) } else { shown }
}

/// The fields of a set that a rendered value lacks, by the shortest name that tells them: `replicas`, `limits.memory`,
/// `env[HOTFIX]` for an item that is owned whole.
fn unrendered(fields: &Value, rendered: Option<&Value>, parent: &str, names: &mut Vec<String>) {
    for (key, below) in fields.as_object().into_iter().flatten().filter(|(key, _)| *key != ".") {
        let (name, rendered) = if let Some(field) = key.strip_prefix("f:") {
            let name = if matches!(parent, "spec" | "template") {
                field.to_owned()
            } else {
                format!("{}.{field}", parent.rsplit('.').next().unwrap_or_default())
            };
            (name, rendered.and_then(|rendered| rendered.get(field)))
        } else if let Some(item) = key.strip_prefix("k:") {
            let item: Value = serde_json::from_str(item).unwrap_or_default();
            let keys = item.as_object().into_iter().flatten();
            let name = keys.clone().next().map(|(_, value)| text_of(value)).unwrap_or_default();
            let is_it = |found: &&Value| keys.clone().all(|(key, value)| found.get(key) == Some(value));
            let found = rendered.and_then(Value::as_array).and_then(|items| items.iter().find(is_it));
            (format!("{}[{name}]", parent.rsplit('.').next().unwrap_or_default()), found)
        } else {
            continue;
        };
        let is_leaf = below.as_object().is_none_or(|below| below.keys().all(|key| key == "."));
        let is_whole = below.get(".").is_some() && rendered.is_none();
        if is_leaf || is_whole {
            if rendered.is_none() {
                names.push(name);
            }
        } else {
            unrendered(below, rendered, &name, names);
        }
    }
}

/// Managers beside the writer that own fields of the spec, with the names of those fields.
fn foreign_managers(entries: &[Value], writer: &Value) -> Vec<String> {
    entries
        .iter()
        .filter(|entry| is_foreign(entry, writer))
        .filter_map(|entry| {
            let mut leaves = Vec::new();
            leaf_names(entry.pointer("/fieldsV1/f:spec")?, "", &mut leaves);
            Some(format!("{} ({})", entry["manager"].as_str().unwrap_or("?"), first_three(leaves)))
        })
        .collect()
}

/// The names of the leaves below a field set, with their parent: `limits.memory`, `web.image`.
fn leaf_names(fields: &Value, parent: &str, names: &mut Vec<String>) {
    for (key, below) in fields.as_object().into_iter().flatten().filter(|(key, _)| *key != ".") {
        let name = match (key.strip_prefix("f:"), key.strip_prefix("k:")) {
            (Some(field), _) => field.to_owned(),
            (_, Some(item)) => {
                let item: Value = serde_json::from_str(item).unwrap_or_default();
                item.as_object().and_then(|item| item.values().next()).map(text_of).unwrap_or_default()
            }
            _ => key.clone(),
        };
        if below.as_object().is_none_or(|below| below.keys().all(|key| key == ".")) {
            names.push(if parent.is_empty() { name } else { format!("{parent}.{name}") });
        } else {
            leaf_names(below, &name, names);
        }
    }
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELEASE_NAME: &str = "f:meta.helm.sh/release-name";

    fn entry(manager: &str, operation: &str, fields: impl Into<Value>) -> Value {
        let fields: Value = fields.into();
        json!({"manager": manager, "operation": operation, "apiVersion": "apps/v1", "fieldsType": "FieldsV1", "fieldsV1": fields})
    }

    fn image(container: &str) -> Value {
        let key = format!("k:{{\"name\":\"{container}\"}}");
        json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {key: {"f:image": {}}}}}}})
    }

    fn helm_fields() -> Value {
        let mut fields = json!({
            "f:metadata": {"f:annotations": {RELEASE_NAME: {}}},
            "f:spec": {"f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"web\"}": {".": {}, "f:name": {}}}}}}
        });
        merge(&mut fields, &json!({"f:spec": {"f:selector": {}}}));
        fields
    }

    #[test]
    fn images_go_to_the_writer_and_replicas_to_nobody() {
        let mut ours = image("web");
        merge(&mut ours, &json!({"f:spec": {"f:replicas": {}}}));
        let entries = [entry("helm", "Apply", helm_fields()), entry(FIELD_MANAGER, "Update", ours)];
        let handed = hand_over(WorkloadKind::Deployment, &entries, &BTreeMap::new()).unwrap();
        assert_eq!(handed.managed_fields.len(), 1);
        let fields = &handed.managed_fields[0]["fieldsV1"];
        let container = &fields["f:spec"]["f:template"]["f:spec"]["f:containers"]["k:{\"name\":\"web\"}"];
        assert_eq!(*container, json!({".": {}, "f:name": {}, "f:image": {}}));
        assert_eq!(fields.pointer("/f:spec/f:replicas"), None);
        assert!(handed.foreign.is_empty());
    }

    #[test]
    fn an_apply_entry_is_the_writer_before_an_update_entry() {
        let entries = [
            entry("helm", "Update", helm_fields()),
            entry("helm", "Apply", helm_fields()),
            entry(FIELD_MANAGER, "Update", image("web")),
        ];
        let handed = hand_over(WorkloadKind::Deployment, &entries, &BTreeMap::new()).unwrap();
        assert_eq!(handed.managed_fields[0]["fieldsV1"], helm_fields());
        assert_ne!(handed.managed_fields[1]["fieldsV1"], helm_fields());
    }

    #[test]
    fn without_a_release_the_previous_owner_gets_its_image_back() {
        let entries = [
            entry("kubectl-client-side-apply", "Update", json!({})),
            entry(FIELD_MANAGER, "Update", image("web")),
        ];
        let previous = BTreeMap::from([("web".to_owned(), "kubectl-client-side-apply".to_owned())]);
        let handed = hand_over(WorkloadKind::Deployment, &entries, &previous).unwrap();
        assert_eq!(handed.managed_fields[0]["fieldsV1"], image("web"));
        let handed = hand_over(WorkloadKind::Deployment, &entries, &BTreeMap::new()).unwrap();
        assert_eq!(handed.managed_fields[0]["fieldsV1"], json!({}));
    }

    #[test]
    fn replicas_that_somebody_scaled_belong_to_nobody_either() {
        let mut scale = entry("kubectl", "Update", json!({"f:spec": {"f:replicas": {}}}));
        scale["subresource"] = json!("scale");
        let mut limits = image("side");
        merge(&mut limits, &json!({"f:spec": {"f:replicas": {}}}));
        let entries = [
            entry("helm", "Apply", helm_fields()),
            scale,
            entry("kubectl-set", "Update", limits),
            entry(FIELD_MANAGER, "Update", image("web")),
        ];
        let handed = hand_over(WorkloadKind::Deployment, &entries, &BTreeMap::new()).unwrap();
        let managers: Vec<&str> =
            handed.managed_fields.iter().filter_map(|entry| entry["manager"].as_str()).collect();
        assert_eq!(managers, ["helm", "kubectl-set"]);
        assert_eq!(handed.managed_fields[1]["fieldsV1"], image("side"));
        assert_eq!(handed.foreign, ["kubectl-set (side.image)"]);
    }

    #[test]
    fn what_the_target_does_not_set_stays_with_whoever_set_it() {
        let scaled = json!({"f:spec": {"f:replicas": {}}});
        let set = json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"web\"}": {
            "f:env": {"k:{\"name\":\"HOTFIX\"}": {".": {}, "f:name": {}, "f:value": {}}},
            "f:image": {}, "f:resources": {"f:limits": {"f:memory": {}}},
        }}}}}});
        let live = json!({"metadata": {"managedFields": [
            entry("helm", "Apply", helm_fields()), entry("kubectl", "Update", scaled), entry("kubectl-set", "Update", set),
        ]}});
        let target = json!({"spec": {"replicas": 2, "template": {"spec": {"containers": [{"name": "web", "image": "web:1"}]}}}});
        let stays = foreign_owners(&live, Some(&target), false);
        assert_eq!(stays, ["kubectl-set (env[HOTFIX], limits.memory)"]);
        let stays = foreign_owners(&live, Some(&target), true);
        assert_eq!(stays, ["kubectl (replicas)", "kubectl-set (env[HOTFIX], limits.memory)"]);
    }

    #[test]
    fn nothing_of_ours_means_nothing_to_do() {
        let entries = [entry("helm", "Apply", helm_fields())];
        assert_eq!(hand_over(WorkloadKind::Deployment, &entries, &BTreeMap::new()), None);
    }
}
