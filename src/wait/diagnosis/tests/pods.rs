//! Nodes, volumes, readiness.

use serde_json::json;

use super::*;
use DiagnosisCode::{ReadinessStuck, Unschedulable, VolumeProblem};

fn unscheduled() -> Value {
    let mut object = pod("a", &json!({}));
    object["status"] = json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False",
        "reason": "Unschedulable", "message": "0/3 nodes are available: 3 Insufficient cpu."}]});
    object
}

#[test]
fn no_node_is_told_in_time_and_fatal_after_60_s() {
    let mut scene = Scene::deployment([unscheduled()]);
    assert_eq!(scene.at(0), []);
    assert_eq!(scene.at(9), []);
    assert_eq!(scene.at(10), [(Unschedulable, W)]);
    assert_eq!(scene.at(59), [(Unschedulable, W)]);
    let told = scene.only(60);
    assert!(told.severity == F && told.message.contains("3 Insufficient cpu"), "{told:?}");
}

#[test]
fn no_node_is_not_fatal_while_one_is_being_added() {
    let mut scene =
        Scene::deployment([unscheduled()]).event("a", "TriggeredScaleUp", "pod triggered scale-up");
    scene.at(0);
    assert_eq!(scene.at(600), [(Unschedulable, W)]);
}

#[test]
fn a_gated_pod_is_not_unschedulable() {
    let mut object = unscheduled();
    object["status"]["conditions"][0]["reason"] = json!("SchedulingGated");
    let mut scene = Scene::deployment([object]);
    scene.at(0);
    assert_eq!(scene.at(600), []);
}

#[test]
fn volumes_are_fatal_after_60_s_until_something_has_started() {
    for reason in ["FailedMount", "FailedAttachVolume"] {
        let mut scene = Scene::deployment([pod("a", &waiting("ContainerCreating", ""))]).event(
            "a",
            reason,
            "Multi-Attach error for volume \"pvc-1\"",
        );
        assert_eq!(scene.at(0), [(VolumeProblem, W)], "{reason}");
        assert_eq!(scene.at(59), [(VolumeProblem, W)]);
        let told = scene.only(60);
        assert_eq!(told.severity, F);
        assert_eq!(told.hint.contains("--strategy stop-first"), reason == "FailedAttachVolume", "{told:?}");
        scene.pods = vec![pod("a", &running_ready())];
        assert_eq!(scene.at(61), [], "it was mounted in the end");
    }
    let mut scene = Scene::deployment([pod("a", &waiting("ContainerCreating", ""))]).event(
        "a",
        "FailedMount",
        "failed to sync secret cache: timed out waiting for the condition",
    );
    assert_eq!(scene.at(60), []);
}

#[test]
fn readiness_is_fatal_only_at_the_timeout() {
    let runs = json!({"state": {"running": {}}, "started": true});
    let mut scene = Scene::deployment([pod("a", &runs)]).event(
        "a",
        "Unhealthy",
        "Readiness probe failed: HTTP probe failed with statuscode: 503",
    );
    assert_eq!(scene.at(0), []);
    assert_eq!(scene.at(11), []);
    assert_eq!(scene.at(12), [(ReadinessStuck, W)]);
    assert_eq!(scene.at(3600), [(ReadinessStuck, W)]);
    let told = scene.diagnoses(3601, true).remove(0);
    assert_eq!((told.code, told.severity), (ReadinessStuck, F));
    for part in ["HTTP GET :8080/ready every 5 s", "statuscode: 503"] {
        assert!(told.message.contains(part), "{part}: {}", told.message);
    }
    assert_eq!(told.hint, "kubectl logs -n shop a -c app");
    // At once, when the deadline comes early.
    assert_eq!(Scene::deployment([pod("a", &runs)]).at_timeout(1), [(ReadinessStuck, F)]);
    assert_eq!(Scene::deployment([pod("a", &running_ready())]).at_timeout(1), []);
}

#[test]
fn each_kind_of_probe_is_described() {
    for (probe, words) in [
        (json!({"tcpSocket": {"port": "grpc"}}), "readiness probe: TCP :grpc every 10 s"),
        (json!({"grpc": {"port": 9}, "initialDelaySeconds": 3}), "gRPC :9 every 10 s after 3 s"),
        (json!({"exec": {"command": ["cat", "/ready"]}}), "exec cat /ready"),
        (json!({"httpGet": {"port": 1, "scheme": "HTTPS"}}), "HTTPS GET :1/"),
        (Value::Null, "it has no readiness probe"),
    ] {
        let mut object = pod("a", &json!({"state": {"running": {}}}));
        object["spec"]["containers"][0]["readinessProbe"] = probe;
        let told = Scene::deployment([object]).diagnoses(1, true).remove(0);
        assert!(told.message.contains(words), "{words}: {}", told.message);
    }
    let mut starting = pod("a", &json!({"state": {"running": {}}, "started": false}));
    starting["spec"]["containers"][0]["startupProbe"] = json!({"tcpSocket": {"port": 5}});
    let told = Scene::deployment([starting]).diagnoses(1, true).remove(0);
    assert!(told.message.contains("startup probe: TCP :5"), "{}", told.message);
}

#[test]
fn a_withheld_readiness_gate_is_named() {
    let mut object = pod("a", &running_ready());
    object["spec"]["readinessGates"] = json!([{"conditionType": "target-health.example/x"}]);
    object["status"]["conditions"] =
        json!([{"type": "ContainersReady", "status": "True"}, {"type": "Ready", "status": "False"}]);
    let told = Scene::deployment([object]).diagnoses(1, true).remove(0);
    assert!(told.code == ReadinessStuck && told.message.contains("target-health.example/x"), "{told:?}");
}
