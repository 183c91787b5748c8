//! What a failed upgrade left goes, whoever stood in between; what people added stays. And where Helm's own merge goes
//! wrong, ours does not.

use serde_json::{Value, json};

use crate::harness::{Cluster, Test, owned};

/// A workload of one container; nothing of it needs to run.
fn manifest(test: &Test, container: Value) -> Value {
    let labels = json!({"app": "web"});
    let mut app = container;
    app["name"] = json!("app");
    let pod = json!({"containers": [app]});
    let object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {},
        "spec": {
            "replicas": 0, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    });
    owned(&object, "web", test.namespace())
}

/// What the release goes back to.
fn good(test: &Test) -> Value {
    manifest(
        test,
        json!({
            "image": "app:good", "env": [{"name": "KEEP", "value": "1"}],
            "readinessProbe": {"tcpSocket": {"port": 80}},
        }),
    )
}

/// What a failed upgrade wrote.
fn bad(test: &Test) -> Value {
    let mut object = manifest(
        test,
        json!({
            "image": "app:bad", "env": [{"name": "KEEP", "value": "2"}, {"name": "BAD", "value": "1"}],
            "readinessProbe": {"httpGet": {"path": "/new", "port": 80}}, "args": ["--new"],
        }),
    );
    object["spec"]["template"]["metadata"]["annotations"] = json!({"checksum": "new"});
    object
}

fn container(object: &Value) -> &Value {
    &object["spec"]["template"]["spec"]["containers"][0]
}

/// Somebody adds an environment variable and a label by hand.
fn edit_by_hand(cluster: &Cluster, object: &Value) {
    cluster.edit_as("kubectl-edit", object, |object| {
        let container = &mut object["spec"]["template"]["spec"]["containers"][0];
        let mut variables = container["env"].as_array().cloned().unwrap_or_default();
        variables.push(json!({"name": "HAND", "value": "made"}));
        container["env"] = json!(variables);
        object["metadata"]["labels"]["team"] = json!("shop");
        object["spec"]["template"]["metadata"]["annotations"]["restarted"] = json!("yes");
    });
}

/// Brings the object back and checks that the bad is gone, the hand-made still there, and that the release's writer
/// meets no conflict with its next apply.
#[track_caller]
fn assert_only_the_bad_goes(test: &Test) -> Value {
    let target = good(test);
    let after = test.cluster.bring_as_previewed(&target, &[bad(test)]);
    let app = container(&after);
    assert_eq!(app["image"], "app:good");
    assert_eq!(app["env"], json!([{"name": "KEEP", "value": "1"}, {"name": "HAND", "value": "made"}]));
    assert_eq!(app["readinessProbe"]["tcpSocket"], json!({"port": 80}));
    assert_eq!((&app["readinessProbe"]["httpGet"], &app["args"]), (&Value::Null, &Value::Null));
    assert_eq!(after["spec"]["template"]["metadata"]["annotations"], json!({"restarted": "yes"}));
    assert_eq!(after["metadata"]["labels"]["team"], "shop");
    let mut next = target;
    next["spec"]["template"]["spec"]["containers"][0]["image"] = json!("app:next");
    let managers = &after["metadata"]["managedFields"];
    let applied = test.cluster.apply_as("helm", false, &next);
    assert!(applied.is_ok(), "{}\n{managers:#}", applied.unwrap_err());
    after
}

/// Helm 3, or Helm 4 on a release that Helm 3 made.
fn upgrade_as(cluster: &Cluster, manager: &str, object: &Value) {
    let patch =
        json!({"metadata": {"annotations": object["metadata"]["annotations"]}, "spec": object["spec"]});
    cluster.patch_as(manager, "application/merge-patch+json", object, &patch).unwrap();
}

#[test]
fn an_upgrade_by_another_client_version() {
    let Some(test) = Test::begin() else { return };
    test.cluster.create_as("helm", &good(&test));
    upgrade_as(&test.cluster, "Go-http-client", &bad(&test));
    edit_by_hand(&test.cluster, &good(&test));
    assert_only_the_bad_goes(&test);
}

#[test]
fn an_upgrade_by_flux() {
    let Some(test) = Test::begin() else { return };
    test.cluster.create_as("helm", &bad(&test));
    test.cluster.apply_as("kustomize-controller", true, &bad(&test)).unwrap();
    edit_by_hand(&test.cluster, &good(&test));
    assert_only_the_bad_goes(&test);
}

#[test]
fn a_restored_backup() {
    let Some(test) = Test::begin() else { return };
    let cluster = &test.cluster;
    cluster.create_as("helm", &bad(&test));
    // Made by hand before the backup: afterwards it belongs to whoever restored it, like everything else.
    edit_by_hand(cluster, &bad(&test));
    cluster.restore(&bad(&test), |_| {});
    assert_only_the_bad_goes(&test);
}

#[test]
fn managed_fields_that_somebody_cleared() {
    let Some(test) = Test::begin() else { return };
    let cluster = &test.cluster;
    cluster.create_as("helm", &good(&test));
    upgrade_as(cluster, "helm", &bad(&test));
    let cleared = json!({"metadata": {"managedFields": [{}]}});
    edit_by_hand(cluster, &good(&test));
    cluster.patch_as("kubectl-patch", "application/merge-patch+json", &good(&test), &cleared).unwrap();
    assert!(cluster.live(&good(&test))["metadata"]["managedFields"].is_null());
    assert_only_the_bad_goes(&test);
}

#[test]
fn somebody_who_applies_the_same_object() {
    let Some(test) = Test::begin() else { return };
    let cluster = &test.cluster;
    cluster.apply_as("helm", false, &good(&test)).unwrap();
    cluster.apply_as("helm", false, &bad(&test)).unwrap();
    cluster.apply_as("kustomize-controller", false, &bad(&test)).unwrap();
    edit_by_hand(cluster, &good(&test));
    assert_only_the_bad_goes(&test);
}

#[test]
fn an_object_that_was_adopted() {
    let Some(test) = Test::begin() else { return };
    let cluster = &test.cluster;
    let mut bare = good(&test);
    bare["metadata"] = json!({"name": "web"});
    cluster.create_as("kubectl-create", &bare);
    cluster.patch_as("kubectl-annotate", "application/merge-patch+json", &bare, &json!({"metadata": {
        "annotations": {"meta.helm.sh/release-name": "todo", "meta.helm.sh/release-namespace": test.namespace(), "owner": "us"},
    }})).unwrap();
    upgrade_as(cluster, "helm", &bad(&test));
    edit_by_hand(cluster, &good(&test));
    let after = assert_only_the_bad_goes(&test);
    assert_eq!(after["metadata"]["annotations"]["owner"], "us");
}

#[test]
fn replicas_of_an_autoscaler_stay() {
    let Some(test) = Test::begin() else { return };
    let (mut target, mut newer) = (good(&test), bad(&test));
    target["spec"].as_object_mut().unwrap().remove("replicas");
    newer["spec"]["replicas"] = json!(1);
    let cluster = &test.cluster;
    cluster.apply_as("helm", false, &newer).unwrap();
    cluster.patch("deployments", "web/scale", "kube-controller-manager", &json!({"spec": {"replicas": 9}}));
    let after = cluster.bring_as_previewed(&target, &[newer]);
    assert_eq!(after["spec"]["replicas"], 9);
    // A number that the target does render is sent as the live one.
    let rendered = good(&test);
    let applied = cluster.with_target(&rendered, &[], Some(9), async |client, target| {
        kubectl_rollback::execute::apply::apply(client, target).await
    });
    assert_eq!(applied.unwrap().object["spec"]["replicas"], 9);
}

#[test]
fn an_env_that_the_target_lacks_leaves_what_people_added() {
    let Some(test) = Test::begin() else { return };
    let target = manifest(&test, json!({"image": "app:good"}));
    let cluster = &test.cluster;
    cluster.create_as("helm", &bad(&test));
    edit_by_hand(cluster, &target);
    let after = cluster.bring_as_previewed(&target, &[bad(&test)]);
    assert_eq!(container(&after)["env"], json!([{"name": "HAND", "value": "made"}]));
    assert_eq!(container(&after)["readinessProbe"], Value::Null);
}

#[test]
fn two_protocols_on_one_port() {
    let Some(test) = Test::begin() else { return };
    let ports = |names: [&str; 2]| {
        json!([
            {"containerPort": 53, "protocol": "UDP", "name": names[0]},
            {"containerPort": 53, "protocol": "TCP", "name": names[1]},
        ])
    };
    let newer = manifest(&test, json!({"image": "app:bad", "ports": ports(["dns-new", "dns-tcp-new"])}));
    let target = manifest(&test, json!({"image": "app:good", "ports": ports(["dns", "dns-tcp"])}));
    for (create, name) in
        [(Cluster::create_as as fn(&Cluster, &str, &Value) -> Value, "update"), (applied, "apply")]
    {
        let named = |object: &Value| owned(object, name, test.namespace());
        create(&test.cluster, "helm", &named(&newer));
        let after = test.cluster.bring_as_previewed(&named(&target), &[named(&newer)]);
        assert_eq!(container(&after)["ports"], ports(["dns", "dns-tcp"]), "{name}");
    }
}

fn applied(cluster: &Cluster, manager: &str, object: &Value) -> Value {
    cluster.apply_as(manager, false, object).unwrap()
}

#[test]
fn a_service_account_that_the_target_lacks() {
    let Some(test) = Test::begin() else { return };
    let mut newer = bad(&test);
    newer["spec"]["template"]["spec"]["serviceAccountName"] = json!("other");
    for (create, name) in
        [(Cluster::create_as as fn(&Cluster, &str, &Value) -> Value, "update"), (applied, "apply")]
    {
        let (newer, target) =
            (owned(&newer, name, test.namespace()), owned(&good(&test), name, test.namespace()));
        create(&test.cluster, "helm", &newer);
        let after = test.cluster.bring_as_previewed(&target, &[newer]);
        let pod = &after["spec"]["template"]["spec"];
        assert_eq!(
            (&pod["serviceAccountName"], &pod["serviceAccount"]),
            (&Value::Null, &Value::Null),
            "{name}"
        );
    }
}

#[test]
fn what_only_server_side_apply_refuses_in_a_manifest() {
    let Some(test) = Test::begin() else { return };
    let twice = |value: &str| json!({"image": "app:good", "env": [{"name": "A", "value": "0"}, {"name": "A", "value": value}]});
    let mut target = manifest(&test, twice("1"));
    target["spec"]["template"]["spec"]["notAField"] = json!(true);
    let mut newer = manifest(&test, twice("2"));
    newer["spec"]["template"]["spec"]["notAField"] = json!(false);
    newer["spec"]["template"]["spec"]["dnsPolicy"] = json!("Default");
    test.cluster.create_as("helm", &newer);
    let after = test.cluster.bring_as_previewed(&target, &[newer]);
    assert_eq!(container(&after)["env"], json!([{"name": "A", "value": "1"}]));
    assert_eq!(after["spec"]["template"]["spec"]["dnsPolicy"], "ClusterFirst");
}
