//! What holds of field sets whatever the objects are.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

/// An object with structures, a list by name, a list that is replaced whole, labels and replicas.
fn object() -> impl Strategy<Value = Value> {
    let number = || proptest::option::of(0_u8..3);
    let variables = proptest::collection::btree_map("[A-E]", 0_u8..3, 0..4).prop_map(|map| {
        map.into_iter().map(|(name, value)| json!({"name": name, "value": value})).collect::<Vec<_>>()
    });
    let labels = proptest::collection::btree_map("[a-c]", 0_u8..3, 0..3);
    let arguments = proptest::option::of(proptest::collection::vec(0_u8..3, 1..3));
    (number(), (number(), number()), variables.prop_shuffle(), labels, arguments).prop_map(
        |(replicas, (path, period), variables, labels, arguments)| {
            let mut spec = Map::new();
            if let Some(replicas) = replicas {
                spec.insert("replicas".into(), json!(replicas));
            }
            let mut probe = Map::new();
            if let Some(path) = path {
                probe.insert("get".into(), json!({"path": path}));
            }
            if let Some(period) = period {
                probe.insert("period".into(), json!(period));
            }
            if !probe.is_empty() {
                spec.insert("probe".into(), Value::Object(probe));
            }
            if !variables.is_empty() {
                spec.insert("env".into(), Value::Array(variables));
            }
            if let Some(arguments) = arguments {
                spec.insert("args".into(), json!(arguments));
            }
            let mut object = json!({"spec": spec});
            if !labels.is_empty() {
                object["metadata"] = json!({"labels": labels});
            }
            object
        },
    )
}

/// The field set of such an object, as the server would give it.
fn fields_of(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (format!("f:{name}"), fields_of(value))).collect()
        }
        Value::Array(items) if items.iter().all(Value::is_object) => {
            let item = |item: &Value| {
                let mut fields = fields_of(item);
                fields["."] = json!({});
                (format!("k:{{\"name\":{}}}", item["name"]), fields)
            };
            items.iter().map(item).collect()
        }
        _ => json!({}),
    }
}

fn holding(entries: &[Value]) -> Value {
    json!({"metadata": {"managedFields": entries}})
}

fn set_of(object: &Value) -> FieldSet {
    FieldSet::from_value(fields_of(object))
}

fn variable<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    object["spec"]["env"].as_array()?.iter().find(|item| item["name"] == *name)
}

proptest! {
    #[test]
    fn union_is_idempotent_and_knows_no_order(a in object(), b in object()) {
        let (a, b) = (set_of(&a), set_of(&b));
        let (mut ab, mut ba) = (a.clone(), b.clone());
        ab.union(&b);
        ba.union(&a);
        prop_assert_eq!(&ab, &ba);
        let once = ab.clone();
        ab.union(&a);
        ab.union(&b);
        prop_assert_eq!(&ab, &once);
        let mut nothing = ab.clone();
        nothing.without(&removals(&[ab], &FieldSet::default()));
        // Only replicas are never taken out, nor the whole spec.
        let names = nothing.names();
        prop_assert!(names.iter().all(|name| name == "spec" || name == "spec.replicas"), "{:?}", names);
    }

    #[test]
    fn removals_take_nothing_of_the_target_and_never_replicas(newer in proptest::collection::vec(object(), 0..3), target in object()) {
        let sets: Vec<FieldSet> = newer.iter().map(set_of).collect();
        let fields = set_of(&target);
        let removed = removals(&sets, &fields);
        let mut left = fields.clone();
        left.without(&removed);
        prop_assert_eq!(left, fields);
        prop_assert!(!removed.touches(&["f:spec", "f:replicas"]) && !removed.contains(&["f:spec"]));
    }

    #[test]
    fn the_result_has_all_of_the_target_and_what_others_added(live in object(), newer in object(), target in object()) {
        let fields = set_of(&target);
        let removed = removals(&[set_of(&newer)], &fields);
        let mut known = set_of(&live);
        known.union(&set_of(&newer));
        let to_merge = fields.without_empty(&target, &known);
        let after = merged(&live, &target, &to_merge, &removed);
        // Every leaf of the target, and nothing changes any more.
        prop_assert_eq!(&merged(&after, &target, &to_merge, &removed), &after);
        prop_assert_eq!(&fields.within(&after), &fields);
        for (place, value) in [("/spec/replicas", &target["spec"]["replicas"]), ("/spec/args", &target["spec"]["args"])] {
            if !value.is_null() {
                prop_assert_eq!(after.pointer(place), Some(value));
            }
        }
        for name in ["A", "B", "C", "D", "E"] {
            match (variable(&live, name), variable(&newer, name), variable(&target, name)) {
                (_, _, Some(wanted)) => prop_assert_eq!(variable(&after, name), Some(wanted)),
                (_, Some(_), None) => prop_assert_eq!(variable(&after, name), None),
                (Some(foreign), None, None) => prop_assert_eq!(variable(&after, name), Some(foreign)),
                (None, None, None) => prop_assert_eq!(variable(&after, name), None),
            }
        }
        if target["spec"]["replicas"].is_null() {
            prop_assert_eq!(&after["spec"]["replicas"], &live["spec"]["replicas"]);
        }
        if target["spec"]["probe"].is_null() && !newer["spec"]["probe"].is_null() {
            prop_assert!(after["spec"]["probe"].is_null());
        }
    }

    #[test]
    fn after_the_rewrite_there_is_nothing_to_rewrite(old in object(), newer in object(), target in object(), foreign in object()) {
        let removed = removals(&[set_of(&newer)], &set_of(&target));
        let mut owned = set_of(&old);
        owned.union(&FieldSet::path(&["f:metadata", "f:annotations", "f:meta.helm.sh/release-name"]));
        let entry = |manager: &str, operation: &str, fields: &FieldSet| json!({
            "manager": manager, "operation": operation, "apiVersion": "apps/v1",
            "fieldsType": "FieldsV1", "fieldsV1": fields.as_value(),
        });
        let entries = [entry("helm", "Update", &owned), entry("helm", "Apply", &set_of(&newer)), entry("x", "Update", &set_of(&foreign))];
        let once = rewrite(&holding(&entries), "helm", &removed, &target);
        let twice = rewrite(&holding(&once.managed_fields), "helm", &removed, &target);
        prop_assert!(!twice.changed, "{:#?}\n{:#?}", once, twice);
        for entry in once.managed_fields.iter().filter(|entry| entry["manager"] != "helm") {
            let mut left = FieldSet::from_value(entry["fieldsV1"].clone());
            let before = left.clone();
            left.without(&removed);
            prop_assert_eq!(left, before);
        }
    }
}
