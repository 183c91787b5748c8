//! One object is brought to its target as Helm's own patch would bring it, on every kind that was recorded; where the
//! results differ, the reason why ours is right stands here.

use serde_json::{Value, json};

use crate::harness::{Cluster, Test, content, owned};

/// Recorded cases in which the object is another one than after Helm's patch.
const DIFFERENT: [(&str, &str); 2] = [
    ("secret stringData", "Helm leaves the key that was dropped from stringData in data"),
    ("custom resource drifted, manifest same", "Helm does not repair custom resources"),
];

/// The recorded cases with the release's own namespace in them.
fn cases(namespace: &str) -> Vec<Value> {
    let text = include_str!("../cases/rollback-patches.json");
    let text = text.replace(
        r#""meta.helm.sh/release-namespace": "default""#,
        &format!(r#""meta.helm.sh/release-namespace": "{namespace}""#),
    );
    let recorded: Value = serde_json::from_str(&text).unwrap();
    recorded["cases"].as_array().unwrap().clone()
}

/// How the newer revision was installed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Install {
    Update,
    Apply,
}

/// Creates the newer revision's object as Helm would, and lets somebody else bring it to what was found live.
fn make_live(cluster: &Cluster, case: &Value, name: &str, install: Install) {
    let newer = owned(&case["original"], name, &cluster.namespace);
    match install {
        Install::Update => drop(cluster.create_as("helm", &newer)),
        Install::Apply => drop(cluster.apply_as("helm", false, &newer).unwrap()),
    }
    let live = &case["live"];
    cluster.edit_as("kubectl-edit", &newer, |object| {
        for (field, value) in live.as_object().unwrap() {
            if !["apiVersion", "kind", "metadata", "status"].contains(&field.as_str()) {
                object[field] = value.clone();
            }
        }
        for field in ["labels", "annotations"] {
            object["metadata"][field] = live["metadata"][field].clone();
        }
    });
}

fn assert_as_helm(install: Install) {
    let Some(test) = Test::begin() else { return };
    let cluster = &test.cluster;
    let group = define_service_monitors(cluster);
    let mut problems = Vec::new();
    let mut compared = 0;
    for (index, mut case) in cases(test.namespace()).into_iter().enumerate() {
        let name = case["name"].as_str().unwrap().to_owned();
        if case["original"]["kind"] == "ServiceMonitor" {
            for manifest in ["original", "target", "live"] {
                case[manifest]["apiVersion"] = json!(format!("{group}/v1"));
            }
        }
        let (helms, ours) = (format!("c{index}-helm"), format!("c{index}-ours"));
        make_live(cluster, &case, &helms, install);
        make_live(cluster, &case, &ours, install);
        let manifest = owned(&case["target"], &helms, test.namespace());
        let theirs = if case["patch"].is_null() {
            Ok(cluster.live(&manifest))
        } else {
            cluster.patch_as("helm", case["patchType"].as_str().unwrap(), &manifest, &case["patch"])
        };
        let target = owned(&case["target"], &ours, test.namespace());
        let newer = owned(&case["original"], &ours, test.namespace());
        let newer = if newer == target { Vec::new() } else { vec![newer] };
        let Ok(theirs) = theirs else {
            let refused = cluster.preview(&target, &newer).unwrap_err();
            assert!(refused.is_immutable(), "{name}: {refused:?}");
            assert!(cluster.bring(&target, &newer).unwrap_err().is_immutable(), "{name}");
            continue;
        };
        let before = cluster.live(&target);
        let preview =
            cluster.preview(&target, &newer).unwrap_or_else(|error| panic!("{name}: preview: {error}"));
        let applied = cluster.bring(&target, &newer).unwrap_or_else(|error| panic!("{name}: {error}"));
        let after = content(&applied.object);
        if content(&preview.after) != after {
            problems.push(format!("{name}: preview {:#}\nresult {after:#}", content(&preview.after)));
        }
        let expected_change = content(&before) != after;
        if applied.changed != expected_change || preview.changed != expected_change || applied.created {
            problems.push(format!("{name}: {} {} {expected_change}", applied.changed, preview.changed));
        }
        if cluster.bring(&target, &newer).unwrap().changed {
            problems.push(format!("{name}: something was left to do"));
        }
        let differs = content(&theirs) != after;
        if differs != DIFFERENT.iter().any(|(different, _)| *different == name) {
            problems.push(format!("{name}: Helm {:#}\nours {after:#}", content(&theirs)));
        }
        compared += 1;
    }
    remove_service_monitors(cluster, &group);
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(compared > 30, "only {compared} cases were compared");
}

/// A kind of custom resource in a group of the test's own.
fn define_service_monitors(cluster: &Cluster) -> String {
    let group = format!("{}.test", cluster.namespace);
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("servicemonitors.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": {"plural": "servicemonitors", "singular": "servicemonitor", "kind": "ServiceMonitor"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object",
                "properties": {"spec": {"type": "object", "properties": {
                    "jobLabel": {"type": "string"},
                    "sampleLimit": {"type": "integer"},
                    "endpoints": {"type": "array", "items": {"type": "object", "properties": {
                        "port": {"type": "string"}, "interval": {"type": "string"},
                    }}},
                }}},
            }}}],
        },
    });
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    cluster.send(http::Method::POST, path, "application/json", &definition).unwrap();
    crate::harness::wait_for("the custom resource", std::time::Duration::from_secs(30), || {
        let path = format!("/apis/{group}/v1/namespaces/{}/servicemonitors", cluster.namespace);
        cluster.send(http::Method::GET, &path, "application/json", &Value::Null).ok()
    });
    group
}

fn remove_service_monitors(cluster: &Cluster, group: &str) {
    let path = format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/servicemonitors.{group}");
    cluster.send(http::Method::DELETE, &path, "application/json", &json!({})).unwrap();
}

#[test]
fn recorded_patches_after_a_client_side_install() {
    assert_as_helm(Install::Update);
}

#[test]
fn recorded_patches_after_a_server_side_install() {
    assert_as_helm(Install::Apply);
}
