//! Kinds whose fields the server sets and lets nobody change, names that are not free, objects that are missing, and
//! what is refused.

use http::Method;
use kubectl_rollback::execute::apply::{self, ApplyError};
use serde_json::{Value, json};

use crate::harness::{Cluster, Test, content, owned, owners};

fn service(test: &Test, spec: impl Into<Value>) -> Value {
    let spec: Value = spec.into();
    owned(
        &json!({"apiVersion": "v1", "kind": "Service", "metadata": {}, "spec": spec}),
        "web",
        test.namespace(),
    )
}

fn claim(test: &Test, size: &str) -> Value {
    let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}});
    let object = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {}, "spec": spec});
    owned(&object, "data", test.namespace())
}

fn job(test: &Test, image: &str, label: &str) -> Value {
    let pod = json!({"restartPolicy": "Never", "containers": [
        {"name": "app", "image": image, "env": [{"name": "PASSWORD", "value": "hunter2"}]},
    ]});
    let object = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"labels": {"step": label}},
        "spec": {"suspend": true, "template": {"metadata": {"labels": {"app": "job"}}, "spec": pod}},
    });
    owned(&object, "job", test.namespace())
}

/// Brings an object to its target with `--force-replace`.
fn replaced(cluster: &Cluster, target: &Value) -> Result<apply::Applied, ApplyError> {
    cluster.with_target(target, &[], None, async |client, target| apply::replace(client, target).await)
}

#[test]
fn what_the_server_set_survives_a_restored_backup() {
    let Some(test) = Test::begin() else { return };
    let cluster = &test.cluster;
    let ports = json!([{"port": 80}]);
    let (old, new) = (
        service(&test, json!({"ports": ports, "selector": {"app": "a"}})),
        service(&test, json!({"ports": ports, "selector": {"app": "b"}})),
    );
    cluster.create_as("helm", &new);
    cluster.restore(&new, |_| {});
    let address = cluster.live(&new)["spec"]["clusterIP"].clone();
    let after = cluster.bring_as_previewed(&old, &[new]);
    assert_eq!((&after["spec"]["clusterIP"], &after["spec"]["selector"]), (&address, &json!({"app": "a"})));

    let claim = claim(&test, "1Gi");
    cluster.create_as("helm", &claim);
    let bound = || (cluster.live(&claim)["status"]["phase"] == "Bound").then_some(());
    crate::harness::wait_for("the volume", std::time::Duration::from_secs(60), bound);
    cluster.restore(&claim, |claim| {
        // As the server keeps it: the volume of before is gone with the claim of before.
        claim["spec"].as_object_mut().unwrap().remove("volumeName");
        claim["metadata"]["annotations"] = json!({"meta.helm.sh/release-name": "todo"});
    });
    crate::harness::wait_for("the volume", std::time::Duration::from_secs(60), bound);
    let mut target = claim.clone();
    target["metadata"]["labels"]["size"] = json!("small");
    let after = cluster.bring_as_previewed(&target, std::slice::from_ref(&claim));
    assert_eq!(after["spec"]["storageClassName"], cluster.live(&claim)["spec"]["storageClassName"]);
    assert_eq!(after["metadata"]["finalizers"], json!(["kubernetes.io/pvc-protection"]));

    let (old, new) = (job(&test, "app:1", "old"), job(&test, "app:1", "new"));
    cluster.create_as("helm", &new);
    cluster.restore(&new, |job| {
        job["spec"].as_object_mut().unwrap().remove("selector");
        job["spec"]["template"]["metadata"]["labels"] = json!({"app": "job"});
    });
    let after = cluster.bring_as_previewed(&old, &[new]);
    assert_eq!(after["metadata"]["labels"]["step"], "old");
}

#[test]
fn fixed_node_ports_are_the_targets() {
    let Some(test) = Test::begin() else { return };
    let cluster = &test.cluster;
    // Whatever number the server gave is free for this Service.
    let given =
        cluster.create_as("helm", &service(&test, json!({"type": "NodePort", "ports": [{"port": 80}]})));
    let number = given["spec"]["ports"][0]["nodePort"].clone();
    let ports = json!([{"port": 80, "nodePort": number, "name": "a"}, {"port": 81, "name": "b"}]);
    let newer = service(&test, json!({"type": "NodePort", "ports": ports, "sessionAffinity": "ClientIP"}));
    cluster
        .patch_as("helm", "application/merge-patch+json", &newer, &json!({"spec": newer["spec"]}))
        .unwrap();
    let target =
        service(&test, json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": number, "name": "a"}]}));
    let after = cluster.bring_as_previewed(&target, &[newer]);
    let ports = after["spec"]["ports"].as_array().unwrap();
    assert_eq!((ports.len(), &ports[0]["nodePort"]), (1, &number));
    assert_eq!(after["spec"]["sessionAffinity"], "None");
    let services = cluster.list("services");
    assert_eq!(services.len(), 1, "a probe left something behind: {services:?}");
}

#[test]
fn a_missing_object_is_created_as_previewed() {
    let Some(test) = Test::begin() else { return };
    let cluster = &test.cluster;
    let mut target = service(&test, json!({"ports": [{"port": 80}]}));
    target["metadata"]["creationTimestamp"] = Value::Null;
    target["status"] = json!({"loadBalancer": {}});
    let preview = cluster
        .with_target(&target, &[], None, async |client, target| apply::preview(client, target, None).await);
    let preview = preview.unwrap();
    assert!(cluster.find("services", "web").is_none());
    let applied = cluster.bring(&target, &[]).unwrap();
    assert!(preview.created && applied.created && applied.changed);
    assert_eq!(content(&preview.after), content(&applied.object));
    let entries = &applied.object["metadata"]["managedFields"];
    assert_eq!((&entries[0]["manager"], &entries[0]["operation"]), (&json!("helm"), &json!("Apply")));
    assert!(!cluster.bring(&target, &[]).unwrap().changed);
}

#[test]
fn names_that_are_not_free_are_probed_as_they_are() {
    let Some(test) = Test::begin() else { return };
    let cluster = &test.cluster;
    let group = format!("{}.test", test.namespace());
    let definition = |categories: Value, more: Value| {
        let mut object = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {},
            "spec": {
                "group": group, "scope": "Namespaced",
                "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "categories": categories},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}],
            },
        });
        object["spec"]["conversion"] = more;
        let mut object = owned(&object, &format!("widgets.{group}"), test.namespace());
        object["metadata"].as_object_mut().unwrap().remove("namespace");
        object
    };
    let newer = definition(json!(["new"]), json!({"strategy": "None"}));
    let mut target = definition(json!(["old"]), Value::Null);
    target["spec"].as_object_mut().unwrap().remove("conversion");
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    cluster.send(Method::POST, &format!("{path}?fieldManager=helm"), "application/json", &newer).unwrap();
    let result = cluster.with_cluster_target(&target, &[newer], async |client, target| {
        let live = cluster_object(client, path, target.name).await;
        let preview = apply::preview(client, target, Some(&live)).await?;
        Ok::<_, ApplyError>((preview, apply::apply(client, target).await?))
    });
    let name = target["metadata"]["name"].as_str().unwrap();
    cluster.send(Method::DELETE, &format!("{path}/{name}"), "application/json", &json!({})).unwrap();
    let (preview, applied) = result.unwrap();
    assert_eq!(applied.object["spec"]["names"]["categories"], json!(["old"]));
    assert_eq!(content(&preview.after), content(&applied.object));
}

async fn cluster_object(client: &kube::Client, path: &str, name: &str) -> Value {
    client.request(http::Request::get(format!("{path}/{name}")).body(Vec::new()).unwrap()).await.unwrap()
}

#[test]
fn fields_of_another_version_of_the_kind_go() {
    let Some(test) = Test::begin() else { return };
    let cluster = &test.cluster;
    let scaler = |version: &str, spec: &Value| {
        let mut object =
            json!({"apiVersion": version, "kind": "HorizontalPodAutoscaler", "metadata": {}, "spec": spec});
        object["spec"]["maxReplicas"] = json!(4);
        object["spec"]["scaleTargetRef"] =
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "none"});
        object
    };
    let memory = json!([{"type": "Resource", "resource": {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 50}}}]);
    let newer = scaler(
        "autoscaling/v2",
        &json!({"behavior": {"scaleDown": {"stabilizationWindowSeconds": 33}}, "metrics": memory}),
    );
    let target = scaler("autoscaling/v1", &json!({"targetCPUUtilizationPercentage": 70}));
    for name in ["apply", "update"] {
        let (newer, target) = (owned(&newer, name, test.namespace()), owned(&target, name, test.namespace()));
        if name == "apply" {
            cluster.apply_as("helm", false, &newer).unwrap();
            cluster.bring_as_previewed(&target, &[newer]);
        } else {
            cluster.create_as("helm", &newer);
            cluster.bring(&target, &[newer]).unwrap();
        }
        let spec = cluster.get("horizontalpodautoscalers", name)["spec"].clone();
        assert_eq!(spec["behavior"], Value::Null, "{name} {spec:#}");
        let metrics = spec["metrics"].as_array().unwrap();
        assert!(metrics.iter().any(|metric| metric["resource"]["name"] == "cpu"), "{name} {spec:#}");
    }
}

#[test]
fn what_cannot_be_changed_is_refused_without_a_trace() {
    let Some(test) = Test::begin() else { return };
    let cluster = &test.cluster;
    let (old, new) = (job(&test, "app:old", "old"), job(&test, "app:new", "new"));
    let live = cluster.create_as("helm", &new);
    let errors = [
        cluster.preview(&old, std::slice::from_ref(&new)).unwrap_err(),
        cluster.bring(&old, &[new]).unwrap_err(),
        replaced(cluster, &old).unwrap_err(),
    ];
    for error in errors {
        assert!(error.is_immutable(), "{error:?}");
        let text = format!("{error} {error:?}");
        assert!(text.contains("spec.template") && !text.contains("hunter2"), "{text}");
    }
    let after = cluster.live(&old);
    assert_eq!(owners(&after), owners(&live));
    assert_eq!(content(&after), content(&live));
}

#[test]
fn force_replace_keeps_what_the_server_set() {
    let Some(test) = Test::begin() else { return };
    let cluster = &test.cluster;
    let created = cluster.create_as(
        "helm",
        &service(&test, json!({"type": "NodePort", "ports": [{"port": 80}], "selector": {"app": "new"}})),
    );
    cluster
        .patch_as(
            "kubectl-edit",
            "application/merge-patch+json",
            &created,
            &json!({"metadata": {
                "labels": {"team": "shop"}, "finalizers": ["kubectl-rollback.test/keep"],
            }}),
        )
        .unwrap();
    let target =
        service(&test, json!({"type": "NodePort", "ports": [{"port": 80}], "selector": {"app": "old"}}));
    let applied = replaced(cluster, &target).unwrap();
    let after = &applied.object;
    assert!(applied.changed && !applied.created);
    for field in ["clusterIP", "clusterIPs", "ipFamilies", "ports"] {
        assert_eq!(after["spec"][field], created["spec"][field], "{field}");
    }
    assert_eq!(after["spec"]["selector"], json!({"app": "old"}));
    assert_eq!(after["metadata"]["uid"], created["metadata"]["uid"]);
    assert_eq!(after["metadata"]["labels"], json!({"app.kubernetes.io/managed-by": "Helm"}));
    assert_eq!(after["metadata"]["finalizers"], json!(["kubectl-rollback.test/keep"]));
    cluster
        .patch_as("x", "application/merge-patch+json", after, &json!({"metadata": {"finalizers": null}}))
        .unwrap();

    let claim = claim(&test, "1Gi");
    cluster.create_as("helm", &claim);
    crate::harness::wait_for("the volume", std::time::Duration::from_secs(60), || {
        (cluster.live(&claim)["status"]["phase"] == "Bound").then_some(())
    });
    let bound = cluster.live(&claim);
    let mut target = claim;
    target["metadata"]["labels"]["replaced"] = json!("yes");
    let after = replaced(cluster, &target).unwrap().object;
    assert_eq!(after["spec"], bound["spec"]);
    assert_eq!(after["metadata"]["labels"]["replaced"], "yes");
    assert_eq!(after["metadata"]["annotations"]["pv.kubernetes.io/bind-completed"], "yes");

    let (mut target, new) = (job(&test, "app:1", "old"), job(&test, "app:1", "new"));
    let created = cluster.create_as("helm", &new);
    target["spec"]["suspend"] = json!(true);
    let after = replaced(cluster, &target).unwrap().object;
    assert_eq!(after["spec"], created["spec"]);
    assert_eq!(after["metadata"]["labels"]["step"], "old");
}

#[test]
fn only_what_was_looked_at_is_deleted() {
    let Some(test) = Test::begin() else { return };
    let cluster = &test.cluster;
    let seen = cluster.create_as("helm", &service(&test, json!({"ports": [{"port": 80}]})));
    let delete = |object: &Value| {
        let text = |field: &str| object["metadata"][field].as_str().unwrap().to_owned();
        let (uid, version) = (text("uid"), text("resourceVersion"));
        cluster.with_target(object, &[], None, async |client, target| {
            apply::delete(client, target.resource, target.namespace, target.name, &uid, &version).await
        })
    };
    cluster.patch("services", "web", "kubectl-edit", &json!({"metadata": {"labels": {"now": "another"}}}));
    assert!(matches!(delete(&seen), Err(ApplyError::Conflict(_))));
    assert!(delete(&cluster.get("services", "web")).unwrap());
    assert!(!delete(&seen).unwrap());
}

#[test]
fn a_quota_on_objects_does_not_keep_the_server_from_answering() {
    let Some(test) = Test::begin() else { return };
    let cluster = &test.cluster;
    let (old, new) = (
        service(&test, json!({"ports": [{"port": 80}], "selector": {"app": "a"}})),
        service(
            &test,
            json!({"ports": [{"port": 80}], "selector": {"app": "b"}, "sessionAffinity": "ClientIP"}),
        ),
    );
    cluster.create_as("helm", &new);
    cluster.create(
        "resourcequotas",
        &json!({"metadata": {"name": "full"}, "spec": {"hard": {"count/services": "1", "services": "1"}}}),
    );
    crate::harness::wait_for("the quota", std::time::Duration::from_secs(30), || {
        (cluster.get("resourcequotas", "full")["status"]["used"]["services"] == "1").then_some(())
    });
    let after = cluster.bring_as_previewed(&old, &[new]);
    assert_eq!(
        (&after["spec"]["selector"], &after["spec"]["sessionAffinity"]),
        (&json!({"app": "a"}), &json!("None"))
    );
}
