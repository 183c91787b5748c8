//! Quota and admission, the progress deadline, StatefulSets.

use serde_json::json;

use super::*;
use DiagnosisCode::{ProgressDeadline, QuotaOrAdmission, StatefulSetStuck};

const QUOTA: &str =
    "pods \"web-new-x7k2p\" is forbidden: exceeded quota: compute, requested: pods=1, used: pods=5";

fn refused(message: &str) -> Scene {
    let mut scene = Scene::deployment([]);
    scene.object["status"]["conditions"] =
        json!([{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}]);
    scene
}

#[test]
fn decisions_of_the_api_server_are_fatal_at_once() {
    for message in [
        QUOTA,
        "pods \"web-new-x\" is forbidden: violates PodSecurity \"restricted:latest\": runAsNonRoot != true",
        "admission webhook \"policy.example\" denied the request: no latest tags",
        "pods \"web-new-x\" is forbidden: maximum memory usage per Container is 1Gi, but limit is 2Gi",
    ] {
        let told = refused(message).only(0);
        assert_eq!((told.code, told.severity), (QuotaOrAdmission, F), "{message}");
        assert!(told.message.ends_with(message), "{}", told.message);
    }
    assert_eq!(refused(QUOTA).only(0).hint, "kubectl describe quota -n shop");
}

#[test]
fn trouble_of_a_webhook_is_fatal_after_20_s() {
    let mut scene =
        refused("Internal error occurred: failed calling webhook \"x\": context deadline exceeded");
    assert_eq!(scene.at(0), [(QuotaOrAdmission, W)]);
    assert_eq!(scene.at(19), [(QuotaOrAdmission, W)]);
    assert_eq!(scene.at(20), [(QuotaOrAdmission, F)]);
}

#[test]
fn a_quota_that_terminating_pods_still_use_up_may_become_free() {
    let mut scene = refused(QUOTA);
    let mut terminating = pod("old", &running_ready());
    terminating["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    scene.pods = vec![terminating];
    assert_eq!(scene.at(0), [(QuotaOrAdmission, W)]);
    scene.pods.clear();
    assert_eq!(scene.at(19), [(QuotaOrAdmission, W)]);
    assert_eq!(scene.at(20), [(QuotaOrAdmission, F)]);
}

#[test]
fn what_an_old_replica_set_is_refused_is_not_ours() {
    assert_eq!(refused("pods \"web-old-x7k2p\" is forbidden: exceeded quota: compute").at(0), []);
    // Nobody is named, and pods of ours exist: it is the old one's.
    let mut scene = refused("admission webhook \"x\" denied the request");
    scene.pods = vec![pod("a", &running_ready())];
    assert_eq!(scene.at(0), []);
    scene.push_event("web-new", "FailedCreate", "Error creating: admission webhook \"x\" denied the request");
    assert_eq!(scene.at(1), [(QuotaOrAdmission, F)]);
}

#[test]
fn the_event_comes_before_the_condition() {
    let mut scene =
        Scene::deployment([]).event("web-new", "FailedCreate", &format!("Error creating: {QUOTA}"));
    assert_eq!(scene.at(0), [(QuotaOrAdmission, F)]);
    scene.pods = vec![pod("a", &running_ready())];
    assert_eq!(scene.at(1), [], "created in the end");
}

#[test]
fn other_controllers_tell_by_events_while_pods_are_missing() {
    for (kind, field) in [(WorkloadKind::StatefulSet, "spec"), (WorkloadKind::DaemonSet, "status")] {
        let mut scene = Scene::new(kind);
        scene.object[field]["desiredNumberScheduled"] = json!(2);
        scene.push_event("web", "FailedCreate", "create Pod web-0 in StatefulSet web failed: exceeded quota");
        assert_eq!(scene.at(0), [(QuotaOrAdmission, F)], "{kind}");
        scene.pods = vec![pod("a", &running_ready()), pod("b", &running_ready())];
        assert_eq!(scene.at(1), [], "{kind}");
    }
}

fn deadline(stamp: &str) -> Value {
    json!([{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "lastUpdateTime": stamp,
        "message": "ReplicaSet \"web-new\" has timed out progressing."}])
}

#[test]
fn the_progress_deadline_is_fatal_at_once_when_it_passes_under_our_eyes() {
    let mut scene = Scene::deployment([]);
    assert_eq!(scene.at(0), []);
    scene.object["status"]["conditions"] = deadline("2026-01-01T00:10:00Z");
    assert_eq!(scene.at(1), [(ProgressDeadline, F)]);
}

#[test]
fn the_deadline_of_the_rollout_before_ours_is_not_believed_at_first() {
    let mut scene = Scene::deployment([]);
    scene.object["status"]["conditions"] = deadline("2026-01-01T00:00:00Z");
    assert_eq!(scene.at(0), []);
    assert_eq!(scene.at(19), []);
    assert_eq!(scene.at(20), [(ProgressDeadline, F)]);
    // Written anew, it is ours.
    let mut scene = Scene::deployment([]);
    scene.object["status"]["conditions"] = deadline("2026-01-01T00:00:00Z");
    scene.at(0);
    scene.object["status"]["conditions"] = deadline("2026-01-01T00:10:00Z");
    assert_eq!(scene.at(1), [(ProgressDeadline, F)]);
}

fn stuck() -> Scene {
    let mut scene = Scene::new(WorkloadKind::StatefulSet);
    let old = |name: &str, ready: &str| {
        let mut object = pod(name, &json!({"state": {"running": {}}}));
        object["metadata"]["labels"]["controller-revision-hash"] = json!("web-old");
        object["status"]["conditions"] = json!([{"type": "Ready", "status": ready}]);
        object
    };
    scene.pods = vec![old("web-0", "True"), old("web-1", "False")];
    scene
}

#[test]
fn a_stateful_set_behind_a_broken_old_pod_is_stuck_after_15_s() {
    let mut scene = stuck();
    assert_eq!(scene.at(0), [(StatefulSetStuck, W)]);
    assert_eq!(scene.at(14), [(StatefulSetStuck, W)]);
    let told = scene.only(15);
    assert_eq!((told.severity, told.pod.as_deref()), (F, Some("web-1")));
    assert!(told.hint.starts_with("kubectl delete pod -n shop web-1"), "{}", told.hint);
    scene.pods[1]["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    assert_eq!(scene.at(16), [], "it is being replaced");
}

#[test]
fn only_ordered_updates_get_stuck() {
    let mut parallel = stuck();
    parallel.object["spec"]["podManagementPolicy"] = json!("Parallel");
    assert_eq!(parallel.at(60), []);
    let mut on_delete = stuck();
    on_delete.object["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
    assert_eq!(on_delete.at(60), []);
    let mut ready = stuck();
    ready.pods[1]["status"]["conditions"][0]["status"] = json!("True");
    assert_eq!(ready.at(60), []);
}
