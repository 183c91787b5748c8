//! Undoing by tables.

use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::strategy::Strategy;
use super::undo::{Undo, managed_fields, of_object, of_workload, put_back};
use crate::discover::Workload;
use crate::discover::workload::REPLICAS_BEFORE;
use crate::execute::patches::tests::sample;
use crate::journal::restore::Restore;
use crate::plan::rollback::objects::ObjectKey;
use crate::workload::WorkloadKind;

fn object(image: &str, replicas: i32, annotations: &Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "n", "uid": "u", "annotations": annotations},
        "spec": {"replicas": replicas, "template": {"spec": {"containers": [
            {"name": "side", "image": "side:1"}, {"name": "web", "image": image}
        ]}}},
    })
}

fn undone(image: &str, replicas: i32, annotations: &Value) -> (Value, Vec<String>) {
    let mut object = object(image, replicas, annotations);
    let typed: DynamicObject = serde_json::from_value(object.clone()).unwrap();
    let live = Workload::read(WorkloadKind::Deployment, &typed);
    let undoing = of_workload(&sample(Strategy::StopFirst), &live);
    if let Undo::Patch(patch) = &undoing.undo {
        let patch: json_patch::Patch = serde_json::from_value(patch.clone()).unwrap();
        json_patch::patch(&mut object, &patch).unwrap();
    }
    (object, undoing.foreign)
}

#[test]
fn a_workload_comes_back_from_every_point_of_an_emergency() {
    let before = object("acme/web:bad", 2, &json!({}));
    for (image, replicas, annotations) in [
        ("acme/web:bad", 2, json!({})),
        ("acme/web:bad", 0, json!({REPLICAS_BEFORE: "2"})),
        ("acme/web:good", 2, json!({})),
    ] {
        assert_eq!(undone(image, replicas, &annotations), (before.clone(), Vec::new()), "{image} {replicas}");
    }
}

#[test]
fn what_somebody_else_has_set_stays_and_is_told() {
    let (object, foreign) = undone("acme/web:hotfix", 2, &json!({}));
    assert_eq!(object["spec"]["template"]["spec"]["containers"][1]["image"], "acme/web:hotfix");
    assert_eq!(foreign, ["container web has image acme/web:hotfix"]);
    let (object, foreign) = undone("acme/web:good", 5, &json!({}));
    assert_eq!(object["spec"]["replicas"], 5);
    assert_eq!(foreign, ["it has 5 replicas, where there were 2"]);
}

#[test]
fn only_what_the_operation_left_is_put_back() {
    let before = json!({"metadata": {"resourceVersion": "1"}, "data": {"a": "1", "b": "1", "gone": "1"}});
    let after = json!({"metadata": {"resourceVersion": "1"}, "data": {"a": "2", "b": "2", "new": "2"}});
    let live =
        json!({"metadata": {"resourceVersion": "9"}, "data": {"a": "2", "b": "3", "new": "2", "x": "3"}});
    let (object, foreign) = put_back(&before, &after, &live);
    assert_eq!(
        object,
        json!({"metadata": {"resourceVersion": "9"}, "data": {"a": "1", "b": "3", "gone": "1", "x": "3"}})
    );
    assert_eq!(foreign, ["data.b", "data.x"]);
}

#[test]
fn made_objects_go_and_deleted_ones_come_back() {
    let key = ObjectKey {
        group: String::new(),
        kind: "ConfigMap".into(),
        namespace: Some("n".into()),
        name: "c".into(),
    };
    let stored = json!({"metadata": {"name": "c", "uid": "u", "resourceVersion": "4"}, "data": {"a": "1"}});
    let restore = |before: Option<&Value>| Restore {
        key: key.clone(),
        api_version: "v1".into(),
        before: before.cloned(),
        after: None,
    };
    let made = restore(None);
    assert_eq!(of_object(&made, Some(&stored), true, true).undo, Undo::Delete);
    assert_eq!(of_object(&made, Some(&stored), false, true).undo, Undo::Nothing);
    assert_eq!(of_object(&made, Some(&stored), true, false).undo, Undo::Nothing);
    let deleted = restore(Some(&stored));
    let again = json!({"metadata": {"name": "c"}, "data": {"a": "1"}});
    assert_eq!(of_object(&deleted, None, true, true).undo, Undo::Create(again));
    assert_eq!(of_object(&deleted, None, false, true).foreign, ["somebody else has deleted it"]);
}

#[test]
fn owners_are_those_of_before_but_for_status_and_newcomers() {
    let entry = |manager: &str, subresource: Option<&str>, fields: &str| {
        let mut entry = json!({"manager": manager, "operation": "Update", "fieldsV1": {fields: {}}});
        if let Some(name) = subresource {
            entry["subresource"] = name.into();
        }
        entry
    };
    let before = json!({"metadata": {"managedFields": [
        entry("helm", None, "f:spec"), entry("kcm", Some("status"), "f:old"),
    ]}});
    let live = json!({"metadata": {"managedFields": [
        entry("helm", None, "f:other"), entry("kubectl-rollback", None, "f:spec"),
        entry("kcm", Some("status"), "f:new"), entry("keda", None, "f:x"),
    ]}});
    let expected = json!([
        entry("helm", None, "f:spec"),
        entry("kcm", Some("status"), "f:new"),
        entry("keda", None, "f:x"),
    ]);
    assert_eq!(managed_fields(&before, &live), Some(expected));
    assert_eq!(managed_fields(&before, &before), None);
}
